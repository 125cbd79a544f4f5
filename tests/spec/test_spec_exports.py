"""What follows for a row from the names of its parameters, and the words for operations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from csptrace.errors import SpecError
from csptrace.spec import (
    LIBRARY,
    Call,
    Kind,
    acquires,
    adds_ref,
    any_of,
    begins,
    call,
    cancels,
    ends,
    exports,
    exposes,
    finds,
    finishes,
    flag,
    given,
    needs_of,
    negation,
    parent_of,
    releases,
    releases_all,
    starts,
    updates,
    uses,
)

if TYPE_CHECKING:
    from collections.abc import Callable

STATE = Kind("STATE", "library", library=True, must_release=False)
SLOT = Kind("SLOT", "slot", under=STATE, params="slotID", must_release=False, given=True)
SESSION = Kind("SESSION", "session", under=SLOT, params="hSession hOther")
OBJECT = Kind("OBJECT", "object", under=SESSION, params="hKey hObject", space="s")
WORK = Kind("WORK", "work", under=SESSION, retries=(7, 8))
PROV = Kind("PROV", "provider", params="hProv", space="s")
KEY = Kind("KEY", "key", under=PROV, params="hKey hUserKey")

row = exports("token", STATE, SLOT, SESSION, OBJECT)
simple = exports("csp", PROV, KEY)


def of(described: Call) -> tuple[Any, ...]:
    """Return the effects of a row."""
    return described.effects


def test_a_row_knows_its_library_and_its_place() -> None:
    """What is made is what `call` makes, and says where it was written."""
    made = simple("FA FW", "hProv dwFlags")

    assert (made.names, made.params, made.library) == (("FA", "FW"), ("hProv", "dwFlags"), "csp")
    assert made.source.rpartition(":")[0] == __file__
    assert of(made) == of(call("FA", "hProv dwFlags", uses(PROV, "hProv"), library="csp"))


FOLLOWS: dict[str, tuple[Callable[[], Call], tuple[Any, ...]]] = {
    "a handle is used": (lambda: simple("F", "hProv dwFlags"), (uses(PROV, "hProv"),)),
    "each of several": (
        lambda: simple("F", "hKey hProv hUserKey"),
        (uses(KEY, "hKey"), uses(PROV, "hProv"), uses(KEY, "hUserKey")),
    ),
    "an out parameter acquires, under the parent": (
        lambda: simple("F", "hProv phKey"),
        (uses(PROV, "hProv"), acquires(KEY, "phKey", under="hProv")),
    ),
    "two of them": (
        lambda: simple("F", "phKey hProv phUserKey"),
        (
            uses(PROV, "hProv"),
            acquires(KEY, "phKey", under="hProv"),
            acquires(KEY, "phUserKey", under="hProv"),
        ),
    ),
    "a root lives under nothing": (lambda: simple("F", "phProv"), (acquires(PROV, "phProv"),)),
    "a duplicate lives beside the original": (
        lambda: simple("F", "hKey phKey"),
        (uses(KEY, "hKey"), acquires(KEY, "phKey", under=parent_of("hKey"))),
    ),
    "what is said of an acquisition stays, and its place follows": (
        lambda: simple("F", "hKey phKey", acquires(KEY, "phKey", needs=needs_of("hKey"))),
        (
            uses(KEY, "hKey"),
            acquires(KEY, "phKey", under=parent_of("hKey"), needs=needs_of("hKey")),
        ),
    ),
    "a place that is said stays": (
        lambda: simple("F", "hProv hKey phKey", acquires(KEY, "phKey", under=parent_of("hKey"))),
        (uses(PROV, "hProv"), uses(KEY, "hKey"), acquires(KEY, "phKey", under=parent_of("hKey"))),
    ),
    "what only comes out is no acquisition": (
        lambda: simple("F", "hProv phKey", finds(KEY, "phKey")),
        (uses(PROV, "hProv"), finds(KEY, "phKey")),
    ),
    "a release is no use": (
        lambda: simple("F", "hKey", releases(KEY, "hKey")),
        (releases(KEY, "hKey"),),
    ),
    "a release under a condition is": (
        lambda: simple("F", "hKey dw", releases(KEY, "hKey", when=flag("dw", 1))),
        (uses(KEY, "hKey"), releases(KEY, "hKey", when=flag("dw", 1))),
    ),
    "one more reference is no further use": (
        lambda: simple("F", "hKey", adds_ref(KEY, "hKey")),
        (adds_ref(KEY, "hKey"),),
    ),
    "a use on terms is not said again": (
        lambda: simple("F", "hProv dw", uses(PROV, "hProv", hands_over=flag("dw", 1))),
        (uses(PROV, "hProv", hands_over=flag("dw", 1)),),
    ),
    "a handle of another kind than the name says": (
        lambda: simple("F", "hKey", uses(OBJECT, "hKey")),
        (uses(OBJECT, "hKey"),),
    ),
    "one of several kinds": (
        lambda: row("F", "hObject", releases(any_of(OBJECT, PROV), "hObject")),
        (*releases(any_of(OBJECT, PROV), "hObject"),),  # type: ignore[misc]
    ),
    "what is given is not used, but something to live under": (
        lambda: row("F", "slotID phSession"),
        (uses(STATE, LIBRARY), acquires(SESSION, "phSession", under="slotID")),
    ),
    "without a handle the library is used": (
        lambda: row("F", "slotID", releases_all(SESSION, under="slotID")),
        (uses(STATE, LIBRARY), releases_all(SESSION, under="slotID")),
    ),
    "unless the row says something of it": (
        lambda: row("F", "ppList", exposes(STATE, "ppList")),
        (exposes(STATE, "ppList"),),
    ),
    "with a handle it is not": (lambda: row("F", "hSession pInfo"), (uses(SESSION, "hSession"),)),
    "nor where there is no kind for it": (lambda: simple("F", "pInfo"), ()),
    "an operation is one of the first handle of its parent": (
        lambda: row("F", "hSession hOther", begins(WORK), ends(WORK)),
        (
            uses(SESSION, "hSession"),
            uses(SESSION, "hOther"),
            begins(WORK, "hSession"),
            ends(WORK, "hSession"),
        ),
    ),
    "it starts or is cancelled": (
        lambda: row("F", "hSession p hKey", starts(WORK, uses(OBJECT, "hKey"), when=given("p"))),
        (
            uses(SESSION, "hSession"),
            uses(OBJECT, "hKey", when=given("p")),
            begins(WORK, "hSession", when=given("p")),
            ends(WORK, "hSession", when=negation(given("p")), on_failure=False),
        ),
    ),
    "it always starts": (
        lambda: row("F", "hSession hKey", starts(WORK, uses(OBJECT, "hKey"))),
        (uses(SESSION, "hSession"), uses(OBJECT, "hKey"), begins(WORK, "hSession")),
    ),
    "it goes on": (
        lambda: row("F", "hSession", updates(WORK, WORK)),
        (
            uses(SESSION, "hSession"),
            *[ends(WORK, "hSession", on_success=False, survives=(7, 8))] * 2,
        ),
    ),
    "it is completed with a result": (
        lambda: row("F", "hSession out", finishes(WORK, "out")),
        (uses(SESSION, "hSession"), ends(WORK, "hSession", when=given("out"), survives=(7, 8))),
    ),
    "it is completed without one": (
        lambda: row("F", "hSession", finishes(WORK)),
        (uses(SESSION, "hSession"), ends(WORK, "hSession")),
    ),
    "it is given up": (
        lambda: row("F", "hSession dw", cancels(WORK, flag("dw", 2))),
        (
            uses(SESSION, "hSession"),
            ends(WORK, "hSession", when=flag("dw", 2), on_failure=False),
        ),
    ),
}


@pytest.mark.parametrize("case", FOLLOWS)
def test_what_follows_from_the_names(case: str) -> None:
    """A row has what its parameters' names say, around what it says itself."""
    make, effects = FOLLOWS[case]

    assert of(make()) == effects


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: exports("l", OBJECT, KEY), "params= of kind KEY names 'hKey', and so does"),
        (lambda: row("F", "pInfo", begins(WORK)), "no parameter carries a SESSION"),
        (lambda: row("F", "hSession", uses(OBJECT, "hNone")), "unknown parameter 'hNone'"),
        (lambda: Kind("K", "k", params="hA, hB"), "'hA,', which is no C parameter"),
    ],
)
def test_what_cannot_be_told_is_refused(make: Callable[[], object], why: str) -> None:
    """Two kinds in one name, and an operation of nothing, are errors that say where."""
    with pytest.raises(SpecError, match=__file__) as caught:
        make()

    assert why in str(caught.value)
