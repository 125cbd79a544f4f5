"""A spec that cannot be true is refused when it loads, and the message says where and what."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from csptrace.apis.registry import validate
from csptrace.errors import SpecError
from csptrace.spec.bindings import Binding, Codec, Dll, Objects, Spec, Success, shapes
from csptrace.spec.calls import Call, call
from csptrace.spec.conditions import (
    Condition,
    either,
    every,
    flag,
    given,
    negation,
    nonzero,
    stored,
    stored_equals,
)
from csptrace.spec.effects import (
    Reference,
    acquires,
    adds_ref,
    needs_of,
    parent_of,
    releases,
    releases_all,
    uses,
)
from csptrace.spec.kinds import RETURN, Kind

ROOT = Kind("HROOT", "root", release="RootClose")
CHILD = Kind("HCHILD", "child", under=ROOT, orderly=True)
OTHER = Kind("HOTHER", "other")
ANY: Any = None  # for values that the type checker would refuse, too

Rows = Callable[[], object]


def row(params: str, *effects: Any, names: str = "Fn") -> Call:
    """Describe a function of a library."""
    return call(names, params, *effects, library="lib")


BAD_ROWS: dict[str, tuple[Rows, tuple[str, ...]]] = {
    "no name": (lambda: call("", "hRoot", library="lib"), ("at least one name",)),
    "no library": (lambda: call("Fn", "hRoot", library=""), ("Fn", "library=")),
    "comma in parameters": (lambda: row("hRoot, dwFlags"), ("Fn", "'hRoot,'", "blanks")),
    "comma in names": (lambda: row("hRoot", names="FnA, FnW"), ("FnA", "'FnA,'")),
    "prototype pasted": (lambda: row("HROOT *phRoot"), ("Fn", "'*phRoot'")),
    "parameter twice": (lambda: row("a b a"), ("Fn", "listed twice", "'a b a'")),
    "no effect": (lambda: row("hRoot", "hRoot"), ("Fn", "'hRoot' is not an effect")),
    "kind as effect": (lambda: row("hRoot", ROOT), ("Fn", "is not an effect")),
    "kind is text": (lambda: row("h", uses("HROOT", "h")), ("Fn", "Uses", "'HROOT'", "a Kind")),
    "acquires text": (
        lambda: row("p h", acquires("X", "p", under="h")),  # type: ignore[arg-type]
        ("Fn", "Acquires", "'X'", "not a Kind"),
    ),
    "unknown out": (
        lambda: row("hRoot", acquires(ROOT, "phRoot")),
        ("Fn", "Acquires", "unknown parameter 'phRoot' (out=)", "the call has: hRoot"),
    ),
    "unknown under": (
        lambda: row("p", acquires(CHILD, "p", under="hRoot")),
        ("Fn", "Acquires", "'hRoot' (under=)"),
    ),
    "unknown parent_of": (
        lambda: row("p", acquires(CHILD, "p", under=parent_of("hChild"))),
        ("Fn", "'hChild' (under=)"),
    ),
    "unknown needs": (
        lambda: row("p", acquires(ROOT, "p", needs="hKey")),
        ("Fn", "'hKey' (needs=)"),
    ),
    "unknown named": (
        lambda: row("p", acquires(ROOT, "p", named="szName")),
        ("Fn", "'szName' (named=)"),
    ),
    "unknown when": (
        lambda: row("p", acquires(ROOT, "p", when=nonzero("dwFlags"))),
        ("Fn", "'dwFlags' (when=)"),
    ),
    "unknown unless": (
        lambda: row("p", acquires(ROOT, "p", unless=flag("dwFlags", 1))),
        ("Fn", "'dwFlags' (when=)"),
    ),
    "unknown inside every": (
        lambda: row("h a", releases(ROOT, "h", when=every(nonzero("a"), given("b")))),
        ("Fn", "'b' (when=)"),
    ),
    "unknown uses": (lambda: row("", uses(ROOT, "h")), ("Fn", "Uses", "'h' (param=)", "none")),
    "unknown adds_ref": (lambda: row("a", adds_ref(ROOT, "h")), ("Fn", "AddsRef", "'h' (param=)")),
    "unknown releases": (lambda: row("a", releases(ROOT, "h")), ("Fn", "Releases", "'h' (param=)")),
    "unknown hands_over": (
        lambda: row("h", uses(ROOT, "h", hands_over=nonzero("x"))),
        ("Fn", "Uses", "'x' (hands_over=)"),
    ),
    "unknown even_on_failure": (
        lambda: row("h", releases(ROOT, "h", even_on_failure=nonzero("x"))),
        ("Fn", "Releases", "'x' (even_on_failure=)"),
    ),
    "unknown releases_all": (
        lambda: row("a", releases_all(CHILD, under="h")),
        ("Fn", "ReleasesAll", "'h' (under=)"),
    ),
    "return is no in parameter": (
        lambda: row("a", uses(ROOT, RETURN)),
        ("Fn", "Uses", "'return' (param=)"),
    ),
    "release depends on a result": (
        lambda: row("h p", releases(ROOT, "h", when=stored("p"))),
        ("Fn", "Releases", "when=*p is not 0", "before the call"),
    ),
    "hidden result": (
        lambda: row("h p", releases(ROOT, "h", unless=either(nonzero("h"), stored_equals("p", 5)))),
        ("Fn", "Releases", "*p is 0x5"),
    ),
    "hand-over depends on a result": (
        lambda: row("h p", uses(ROOT, "h", hands_over=negation(stored("p")))),
        ("Fn", "Uses", "hands_over=not (*p is not 0)"),
    ),
    "failure depends on a result": (
        lambda: row("h p", releases(ROOT, "h", even_on_failure=stored("p"))),
        ("Fn", "even_on_failure="),
    ),
    "condition is a lambda": (
        lambda: row("h", releases(ROOT, "h", when=lambda _: True)),  # type: ignore[arg-type]
        ("Fn", "Releases when=", "is not a condition"),
    ),
    "condition is a name": (
        lambda: row("h f", acquires(ROOT, "h", unless="f")),  # type: ignore[arg-type]
        ("Fn", "Acquires when=", "'f' is not a condition"),
    ),
    "condition of nothing": (
        lambda: row("h", releases(ROOT, "h", when=every())),
        ("Fn", "every() combines nothing"),
    ),
    "condition unknown": (
        lambda: row("h", releases(ROOT, "h", when=Condition("maybe", "h"))),
        ("Fn", "'maybe' is not one of the conditions"),
    ),
    "flag without a bit": (
        lambda: row("h f", releases(ROOT, "h", when=either(nonzero("f"), flag("f", 0)))),
        ("Fn", "flag('f', 0) names no bit"),
    ),
    "parent of a root": (
        lambda: row("h p", uses(OTHER, "h"), acquires(ROOT, "p", under="h")),
        ("Fn", "Acquires HROOT under='h'", "kind HROOT has no under="),
    ),
    "sweep of a root": (
        # It would end every handle of the kind, whosever they are.
        lambda: row("h", releases_all(ROOT, under="h")),
        ("Fn", "ReleasesAll HROOT under='h'", "kind HROOT has no under="),
    ),
    "parent of another kind": (
        lambda: row("h p", uses(OTHER, "h"), acquires(CHILD, "p", under="h")),
        ("Fn", "Acquires HCHILD under=param 'h'", "HROOT"),
    ),
    "sweep under another kind": (
        lambda: row("h", uses(OTHER, "h"), releases_all(CHILD, under="h")),
        ("Fn", "ReleasesAll HCHILD under=param 'h'", "HROOT"),
    ),
    "parent of a root handle": (
        lambda: row("h p", uses(ROOT, "h"), acquires(CHILD, "p", under=parent_of("h"))),
        ("Fn", "under=parent 'h'", "HROOT"),
    ),
    "parent of an unstated handle": (
        lambda: row("h p", acquires(CHILD, "p", under=parent_of("h"))),
        ("Fn", "under=parent 'h'"),
    ),
    "needs as a parent": (
        lambda: row("h p", uses(CHILD, "h"), acquires(CHILD, "p", under=needs_of("h"))),
        ("Fn", "only a parameter or parent_of()"),
    ),
    "parent as a need": (
        lambda: row("h p", uses(CHILD, "h"), acquires(ROOT, "p", needs=parent_of("h"))),
        ("Fn", "only a parameter or needs_of()"),
    ),
    "need of an unstated handle": (
        lambda: row("h p", acquires(ROOT, "p", needs="h")),
        ("Fn", "needs='h'", "add uses(KIND, 'h')"),
    ),
    "reference is a kind": (
        lambda: row("h p", acquires(CHILD, "p", under=ROOT)),  # type: ignore[arg-type]
        ("Fn", "Acquires under=<Kind HROOT>"),
    ),
}


@pytest.mark.parametrize("badness", BAD_ROWS)
def test_bad_row(badness: str) -> None:
    """A bad row is refused at once; the message names file, line, function and parameter."""
    make, words = BAD_ROWS[badness]
    with pytest.raises(SpecError) as caught:
        make()

    message = str(caught.value)
    file, line, rest = message.split(":", 2)
    assert file == __file__
    assert int(line) > 0
    for word in words:
        assert word in rest


def test_the_named_line_is_that_of_the_row() -> None:
    """The line in the message is where the row is written, not where the check is."""
    first = test_the_named_line_is_that_of_the_row.__code__.co_firstlineno
    with pytest.raises(SpecError) as caught:
        call("Fn", "a a", library="lib")

    assert f"{__file__}:{first + 4}: Fn" in str(caught.value)


BAD_KINDS: dict[str, tuple[Rows, tuple[str, ...]]] = {
    "orderly root": (lambda: Kind("HX", "x", orderly=True), ("HX", "orderly=True", "under=")),
    "no name": (lambda: Kind("", "x"), ("''", "C type")),
    "two words": (lambda: Kind("HX *", "x"), ("'HX *'", "C type")),
    "parent by name": (
        lambda: Kind("HX", "x", under="HROOT"),  # type: ignore[arg-type]
        ("HX", "under='HROOT' is not a Kind"),
    ),
    "cascade by name": (
        lambda: Kind("HX", "x", cascade="retain"),  # type: ignore[arg-type]
        ("HX", "cascade='retain' is not a Cascade"),
    ),
    "one null": (
        lambda: Kind("HX", "x", null=0),  # type: ignore[arg-type]
        ("HX", "null=0 is not a frozenset"),
    ),
}


@pytest.mark.parametrize("badness", BAD_KINDS)
def test_bad_kind(badness: str) -> None:
    """A kind that contradicts itself is refused; the message names file, line and kind."""
    make, words = BAD_KINDS[badness]
    with pytest.raises(SpecError) as caught:
        make()

    file, line, rest = str(caught.value).split(":", 2)
    assert file == __file__
    assert int(line) > 0
    assert all(word in rest for word in words)


BAD_SHAPES: dict[str, tuple[str, str, str]] = {
    "no function": ("f", "self=h Algid", "no 'CName:' in front"),
    "empty function": ("f", ": a b", "no 'CName:' in front"),
    "two functions": ("f", "Fn Gn: a", "no 'CName:' in front"),
    "three levels": ("A.b.c", "Fn: self=h", "neither 'function' nor 'Class.method'"),
    "no Python name": ("", "Fn: a", "neither 'function' nor 'Class.method'"),
    "method without its object": ("A.f", "Fn: a", "a method needs self=cname"),
    "object without a C name": ("A.f", "Fn: self= a", "'self='; self=cname stands first"),
    "object late": ("A.f", "Fn: a self=h", "'self=h'; self=cname stands first"),
    "object twice": ("A.f", "Fn: self=h self=g", "'self=g'; self=cname stands first"),
    "function with an object": ("f", "Fn: self=h", "has no self="),
    "argument twice": ("f", "Fn: a a=b", "'a' is listed twice"),
    "parameter twice": ("f", "Fn: a=x b=x", "'x' is listed twice"),
    "parameter and object": ("A.f", "Fn: self=x b=x", "'x' is listed twice"),
    "default value": ("f", "Fn: Flags=0", "'Flags=0' is not"),
    "comma": ("f", "Fn: a, b", "'a,' is not"),
    "two results": ("f", "Fn: a -> x y", "'x y' after '->' is not one C parameter"),
    "empty result": ("f", "Fn: a ->", "'' after '->' is not one C parameter"),
}


@pytest.mark.parametrize("badness", BAD_SHAPES)
def test_bad_shape(badness: str) -> None:
    """A shape that cannot be read is refused; the message names file, line and function."""
    python, text, words = BAD_SHAPES[badness]
    with pytest.raises(SpecError) as caught:
        shapes({"good": "Fn: a=b c= -> d", python: text})

    message = str(caught.value)
    assert message.startswith(f"{__file__}:")
    assert f": shape {python}: " in message
    assert words in message


def test_good_shape() -> None:
    """A row gives the names, the object's parameter, the unknown ones and the result."""
    shape = shapes({"A.f": "  Fn :  self=hRoot  Algid  Flags=dwFlags  KeyLen=  ->  phChild "})[
        "A.f"
    ]

    assert (shape.python, shape.call, shape.receiver, shape.result) == (
        "A.f",
        "Fn",
        "hRoot",
        "phChild",
    )
    assert shape.arguments == (("Algid", "Algid"), ("Flags", "dwFlags"), ("KeyLen", ""))


# --- a spec as a whole --------------------------------------------------------------------------

OPEN = row("phRoot", acquires(ROOT, "phRoot"), names="RootOpen")
CLOSE = row("hRoot", releases(ROOT, "hRoot"), names="RootClose")
MAKE = row("hRoot phChild", uses(ROOT, "hRoot"), acquires(CHILD, "phChild", under="hRoot"))
USE = row("hChild dwFlags", uses(CHILD, "hChild"), names="ChildUse")
END = row("hChild", releases(CHILD, "hChild"), names="ChildEnd")
CTYPES = Binding("ctypes", Dll(("lib",)), success=Success.NONZERO, codec=Codec.CTYPES)
TARGET = Objects(("mod",), classes={"Root": ROOT, "Child": CHILD}, parents={"Child": "root"})
GOOD = Spec("good", "Good", (ROOT, CHILD), (OPEN, CLOSE, MAKE, USE, END), (CTYPES,))


def objects(target: Objects = TARGET, codec: Codec = Codec.OBJECTS, **rows: str) -> Binding:
    """Return a binding with handle objects; a name `Root__open` stands for `Root.open`."""
    table = {name.replace("__", "."): text for name, text in rows.items()}
    return Binding("mod", target, success=Success.NO_EXCEPTION, codec=codec, shapes=shapes(table))


def with_binding(target: Objects = TARGET, codec: Codec = Codec.OBJECTS, **rows: str) -> Spec:
    """Return the good spec with one binding."""
    return dataclasses.replace(GOOD, bindings=(objects(target, codec, **rows),))


def with_library(*names: str) -> Spec:
    """Return the good spec with one binding to these libraries."""
    return dataclasses.replace(GOOD, bindings=(dataclasses.replace(CTYPES, target=Dll(names)),))


NAMESAKE = Kind("HCHILD", "namesake")
BAD_SPECS: dict[str, tuple[Spec, tuple[str, ...]]] = {
    "no binding": (dataclasses.replace(GOOD, bindings=()), ("no binding",)),
    "function twice": (
        dataclasses.replace(GOOD, calls=(*GOOD.calls, USE)),
        ("ChildUse is described twice",),
    ),
    "name twice in one row": (
        dataclasses.replace(GOOD, calls=(*GOOD.calls, row("a", names="Twin Twin"))),
        ("Twin is described twice",),
    ),
    "child before parent": (
        dataclasses.replace(GOOD, kinds=(CHILD, ROOT)),
        ("kind HCHILD stands before its parent",),
    ),
    "kind twice": (dataclasses.replace(GOOD, kinds=(ROOT, ROOT, CHILD)), ("are named HROOT",)),
    "namesake": (
        dataclasses.replace(GOOD, kinds=(ROOT, CHILD, NAMESAKE)),
        ("two kinds are named HCHILD",),
    ),
    "nothing acquires": (
        dataclasses.replace(GOOD, calls=(OPEN, CLOSE, USE, END)),
        ("no call acquires a HCHILD",),
    ),
    "nothing releases": (
        dataclasses.replace(GOOD, calls=(OPEN, CLOSE, MAKE, USE)),
        ("no call releases a HCHILD",),
    ),
    "release function unknown": (
        dataclasses.replace(
            GOOD,
            kinds=(kind := Kind("HX", "x", release="XClsoe"),),
            calls=(
                row("p", acquires(kind, "p"), names="XOpen"),
                row("h", releases(kind, "h"), names="XClose"),
            ),
        ),
        ("kind HX", "unknown function 'XClsoe'"),
    ),
    "kind not listed": (
        dataclasses.replace(GOOD, calls=(*GOOD.calls, row("h", uses(OTHER, "h"), names="Odd"))),
        ("Odd names the kind HOTHER", "kinds="),
    ),
    "binding twice": (dataclasses.replace(GOOD, bindings=(CTYPES, CTYPES)), ("'ctypes'", "twice")),
    "no library": (with_library(), ("'ctypes'", "names no library")),
    "library with suffix": (with_library("ok", "lib.dll"), ("'ctypes'", "'lib.dll'")),
    "library with version": (with_library("x.so.4"), ("'x.so.4'",)),
    "library in capitals": (with_library("ADVAPI32"), ("'ADVAPI32'", "lower case")),
    "library with folder": (with_library("opt/lib"), ("'opt/lib'",)),
    "library without name": (with_library(""), ("library ''",)),
    "codec of the other sort": (
        with_binding(codec=Codec.CTYPES),
        ("'mod'", "codec 'ctypes' does not fit"),
    ),
    "codec of objects": (
        dataclasses.replace(GOOD, bindings=(dataclasses.replace(CTYPES, codec=Codec.OBJECTS),)),
        ("'ctypes'", "codec 'objects' does not fit"),
    ),
    "no module": (with_binding(Objects((), classes={"Root": ROOT})), ("names no module",)),
    "class of no kind": (
        with_binding(Objects(("mod",), classes={"Other": OTHER})),
        ("class Other", "kinds="),
    ),
    "parent class unknown": (
        with_binding(Objects(("mod",), classes={"Root": ROOT}, parents={"Chidl": "root"})),
        ("parents= names the unknown class Chidl",),
    ),
    "shape of no function": (
        with_binding(make="Fm: hRoot -> phChild"),
        ("shape make", "unknown function Fm"),
    ),
    "shape of no class": (
        with_binding(Boot__make="Fn: self=hRoot -> phChild"),
        ("shape Boot.make", "unknown class Boot"),
    ),
    "shape argument unknown": (
        with_binding(Child__use="ChildUse: self=hChild Flags=dwFlasg"),
        ("shape Child.use", "ChildUse has no parameter 'dwFlasg'", "hChild dwFlags"),
    ),
    "shape object unknown": (
        with_binding(Child__use="ChildUse: self=hKey"),
        ("shape Child.use", "ChildUse has no parameter 'hKey'"),
    ),
    "shape result unknown": (
        with_binding(Root__make="Fn: self=hRoot -> phKey"),
        ("shape Root.make", "Fn has no parameter 'phKey'"),
    ),
    "shape returns nothing acquired": (
        with_binding(Child__use="ChildUse: self=hChild -> dwFlags"),
        ("shape Child.use", "ChildUse hands out nothing in 'dwFlags'"),
    ),
    "shape returns what is not returned": (
        with_binding(Child__use="ChildUse: self=hChild -> return"),
        ("shape Child.use", "ChildUse hands out nothing in 'return'"),
    ),
    "shape of another class": (
        with_binding(Root__use="ChildUse: self=hChild"),
        ("shape Root.use", "ChildUse takes no HROOT in 'hChild'"),
    ),
    "shape returns no class": (
        with_binding(
            Objects(("mod",), classes={"Root": ROOT}), Root__make="Fn: self=hRoot -> phChild"
        ),
        ("shape Root.make", "no class stands for the HCHILD"),
    ),
}


@pytest.mark.parametrize("badness", BAD_SPECS)
def test_bad_spec(badness: str) -> None:
    """A spec that does not hold together is refused; the message names file and culprit."""
    spec, words = BAD_SPECS[badness]
    with pytest.raises(SpecError) as caught:
        validate(spec)

    message = str(caught.value)
    assert message.startswith(f"{__file__}:")
    for word in words:
        assert word in message


def test_good_specs_are_accepted() -> None:
    """What is right is not refused: every effect, reference and condition together."""
    linked = row(
        "hRoot hChild phChild dwFlags",
        uses(ROOT, "hRoot", hands_over=flag("dwFlags", 1)),
        uses(CHILD, "hChild"),
        acquires(
            CHILD,
            RETURN,
            under="hRoot",
            needs="hChild",
            when=every(nonzero("dwFlags"), given("phChild")),
            unless=stored_equals("phChild", 1),
            named="dwFlags",
        ),
        acquires(CHILD, "phChild", under=parent_of("hChild"), needs=needs_of("hChild")),
        names="LinkA LinkW",
    )
    sweep = row("hRoot", adds_ref(ROOT, "hRoot"), releases_all(CHILD, under="hRoot"), names="Sweep")
    all_of = row("", releases_all(CHILD), names="SweepAll")
    prev = row("hRoot hPrev", releases(CHILD, "hPrev"), acquires(CHILD, RETURN, under="hRoot"))
    shape = objects(
        open="RootOpen: -> phRoot",
        Root__make="Fn: self=hRoot -> phChild",
        Child__use="ChildUse: self=hChild Flags=dwFlags Extra=",
        Child__link="LinkA: self=hChild root=hRoot -> return",
    )
    spec = dataclasses.replace(
        GOOD, calls=(*GOOD.calls, linked, sweep, all_of), bindings=(CTYPES, shape)
    )

    validate(spec)

    assert prev.params == ("hRoot", "hPrev")
    assert spec.by_name()["LinkA"] is spec.by_name()["LinkW"] is linked


def test_conditions_in_words() -> None:
    """Every condition can be read aloud, for messages and for `csptrace specs`."""
    condition = every(
        negation(either(flag("f", 0x10), nonzero("n"))),
        given("p"),
        stored("q"),
        stored_equals("r", 255),
    )

    assert str(condition) == (
        "(not ((f has 0x10 or n is not 0)) and p is not NULL and *q is not 0 and *r is 0xff)"
    )
    assert list(condition.params()) == ["f", "n", "p", "q", "r"]
    assert condition.reads_result()
    assert not every(flag("f", 1), given("p")).reads_result()


def test_kinds_are_told_apart_by_identity() -> None:
    """Two kinds with the same words are two kinds."""
    assert Kind("HX", "x") != Kind("HX", "x")
    assert repr(ROOT) == "<Kind HROOT>"
    assert Reference("param", "h") == Reference("param", "h")
