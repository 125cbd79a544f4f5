"""The words for libraries: what they refuse, and what they make of a row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from csptrace.apis import registry
from csptrace.errors import SpecError
from csptrace.spec.bindings import Binding, Codec, Dll, LibraryObjects, Spec, Success, shapes
from csptrace.spec.calls import call
from csptrace.spec.conditions import always, given
from csptrace.spec.effects import (
    Reference,
    acquires,
    begins,
    ends,
    exposes,
    releases,
    releases_all,
    uses,
)
from csptrace.spec.kinds import LIBRARY, OWNER, Kind
from csptrace.spec.queries import Query

if TYPE_CHECKING:
    from collections.abc import Callable

STATE = Kind("STATE", "library", must_release=False, library=True)
SLOT = Kind("SLOT", "slot", under=STATE, must_release=False, given=True)
SESSION = Kind("SESSION", "session", under=SLOT, release="Close")
SEARCH = Kind("SEARCH", "search", under=SESSION, release="Final")
OTHER = Kind("OTHER", "other")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Kind("A", "a", given=True), "given=True"),
        (lambda: Kind("A", "a", implied=True), "speak of a parent"),
        (lambda: Kind("A", "a", limit=Query("m:f", "x")), "asks about a parent"),
        (lambda: Kind("A", "a", under=STATE, limit=-1), "neither a number nor a Query"),
        (lambda: Kind("A", "a", under=STATE, limit=True), "neither a number nor a Query"),
        (
            lambda: Kind("A", "a", under=SLOT, survives=Query("m:f", "yes")),
            "nothing above it is",
        ),
        (lambda: Query("module.function", "yes"), "'package.module:function'"),
        (lambda: Kind("A", "a", under=STATE, survives=1), "not a Query"),  # type: ignore[arg-type]
        (lambda: call("F", "h", uses(OTHER, LIBRARY), library="l"), "unknown parameter 'library'"),
        (lambda: call("F", "h", ends(SEARCH, "x"), library="l"), "unknown parameter 'x'"),
        (lambda: call("F", "h", begins(SEARCH, "x"), library="l"), "unknown parameter 'x'"),
        (lambda: call("F", "h", exposes(STATE, "p"), library="l"), "unknown parameter 'p'"),
        (
            lambda: call("F", "h", releases_all(SESSION, beside="x"), library="l"),
            "unknown parameter 'x'",
        ),
        (
            lambda: call("F", "h", uses(SLOT, "h"), begins(SEARCH, "h"), library="l"),
            "does not say that a SESSION",
        ),
        (lambda: shapes({"f": "A..B: x"}), "Start..Step..End"),
        (lambda: shapes({"f": "A: x -> (y z)"}), "not one C parameter"),
        (lambda: shapes({"C.f": "A: self=h self.=x"}), "is not 'name'"),
    ],
)
def test_what_cannot_be_true_is_refused(make: Callable[[], object], words: str) -> None:
    """A word that contradicts itself or its row is refused, and the message says where."""
    with pytest.raises(SpecError, match=words.replace("(", "\\(")) as caught:
        make()
    assert "test_spec_words.py" in str(caught.value)


def test_an_operation_shares_its_parents_value() -> None:
    """What is begun lives under the parameter that it is begun on, and takes its value."""
    effect = begins(SEARCH, "hSession", when=given("p"))
    assert (effect.out, effect.valued) == ("hSession", True)
    assert effect.under == Reference("param", "hSession")
    row = call("F", "hSession p", uses(SESSION, "hSession"), effect, library="l")
    plain = registry.covered_effects(row)[1]
    assert plain["effect"] == "begins"
    assert plain["when"] == "p is not NULL"


def test_rows_of_shapes() -> None:
    """A shape tells generators, what is handed out without being acquired, and attributes."""
    parsed = shapes(
        {
            "C.all": "Init..Next..Final: self=h self.inner=g x= -> (C)*",
            "C.one": "F: self=h -> out",
            "C.pair": "F: self=h -> out*",
        }
    )
    each = parsed["C.all"]
    assert (each.call, each.steps, each.returns, each.many) == (
        "Init",
        ("Next", "Final"),
        "C",
        True,
    )
    assert (each.result, each.attributes, each.arguments) == ("", (("inner", "g"),), (("x", ""),))
    assert (parsed["C.one"].result, parsed["C.one"].many) == ("out", False)
    assert (parsed["C.pair"].result, parsed["C.pair"].many) == ("out", True)


def _spec(*bindings: Binding) -> Spec:
    rows = (
        call("Start", "", acquires(STATE, LIBRARY), library="l"),
        call("Stop", "", releases(STATE, LIBRARY, even_on_failure=always()), library="l"),
        call("Open", "slot p", acquires(SESSION, "p", under="slot"), library="l"),
        call("Close", "h", releases(SESSION, "h"), library="l"),
        call("Init", "h", uses(SESSION, "h"), begins(SEARCH, "h"), library="l"),
        call("Final", "h", uses(SESSION, "h"), ends(SEARCH, "h"), library="l"),
    )
    return Spec("s", "S", (STATE, SLOT, SESSION, SEARCH), rows, bindings, scoped=True)


def test_a_library_is_known_by_a_marker() -> None:
    """A binding may name no library but a function that tells them; not neither."""
    fine = Binding("c", Dll(marker="Start"), Success.ZERO, Codec.CTYPES)
    registry.validate(_spec(fine))
    assert registry.places(fine) == ["any library that exports Start"]
    with pytest.raises(SpecError, match="names no library"):
        registry.validate(_spec(Binding("c", Dll(), Success.ZERO, Codec.CTYPES)))


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("Nothing: self=owner", "unknown function Nothing"),
        ("Init..Nothing..Final: self=h", "unknown function Nothing"),
        ("Close: self=x", "no parameter 'x'"),
        ("Init: self=h -> (Nothing)", "unknown class Nothing"),
        ("Open: self=owner x=slot -> (C", "not one C parameter"),
    ],
)
def test_shapes_of_library_objects_are_checked(row: str, words: str) -> None:
    """A shape for an unknown function, parameter or class is refused."""
    target = LibraryObjects(("m",), "L", {"L": STATE, "C": SESSION}, "file")
    with pytest.raises(SpecError, match=words.replace("(", "\\(")):
        registry.validate(
            _spec(Binding("b", target, Success.ZERO, Codec.BOXED, shapes=shapes({"C.f": row})))
        )


def test_locked_functions_are_named_in_full() -> None:
    """A function that holds a lock is named with its class and module."""
    target = LibraryObjects(
        ("m",), "L", {"L": STATE, "C": SESSION}, "file", locked=("m.L.load", "L.unload")
    )
    with pytest.raises(SpecError, match=r"module\.Class\.method, not 'L\.unload'"):
        registry.validate(_spec(Binding("b", target, Success.ZERO, Codec.BOXED)))


def test_within_keeps_what_is_foreign() -> None:
    """Kinds of other specs stay shared; the kinds of the spec itself become the library's own."""
    row = call("F", "h x", uses(SESSION, "h"), uses(OTHER, "x"), library="l")
    spec = Spec("s", "S", (STATE, SLOT, SESSION), (row,), (), foreign=(OTHER,), scoped=True)
    local = spec.within("/lib.so")
    session, other = (effect.kind for effect in local.calls[0].effects)
    assert other is OTHER
    assert session is not SESSION
    assert (session.name, session.realm, session.source) == ("SESSION", "/lib.so", SESSION.source)
    assert local.library is local.kinds[0]
    assert OWNER != LIBRARY
