"""Python classes whose methods take and return numbers that belong to the object."""

from __future__ import annotations

import copy
import dataclasses
import gc
import importlib
import inspect
import sys
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

import csptrace
from csptrace.apis import registry
from csptrace.causes.exit_monitor import unavailable
from csptrace.errors import SpecError
from csptrace.findings.errors import DoubleRelease, UseAfterRelease
from csptrace.findings.text import as_text, explain
from csptrace.spec import (
    Binding,
    Call,
    Codec,
    Collects,
    Kind,
    Methods,
    Query,
    Spec,
    Success,
    acquires,
    exports,
    releases,
    shapes,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from csptrace import Tracer

CHIP = Kind("CHIP_CONTEXT", "chip context", params="chip", release="Chip_Finalize")
NONE = 0xFFF
OBJECT = Kind(
    "CHIP_TR",
    "chip object",
    under=CHIP,
    params="object",
    null=frozenset({NONE}),
    orderly=True,
    release="Chip_Flush",
)
row = exports("chip", CHIP, OBJECT)
SOURCE = '''
class ChipError(Exception):
    """A status of the chip."""


class TR(int):
    """A number with a method of its own."""

    def close(self, chip):
        chip.flush(self)


class Base:
    def get_random(self, count):
        self._alive()
        return bytes(count)


class Chip(Base):
    def __init__(self, tcti="", broken=False):
        self.open, self.known, self.last = not broken, set(), 0
        if broken:
            raise ChipError(tcti)

    def _alive(self):
        if not self.open:
            raise ChipError("closed")

    def create(self, parent, template=b"", count=1):
        """Make an object, and say what it is."""
        self._alive()
        self.last += 1
        self.known.add(self.last)
        return TR(self.last), template, count

    def load(self, parent, blob):
        self._alive()
        if not blob:
            return None
        self.last += 1
        self.known.add(self.last)
        return TR(self.last)

    def sign(self, object, digest=b""):
        self._alive()
        if object not in self.known:
            raise ChipError(object)
        return b"signature", type(object)

    def flush(self, object):
        self._alive()
        self.known.remove(object)

    def close(self):
        self.open = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Slotted:
    __slots__ = ("number",)

    def __init__(self, tcti=""):
        self.number = 1


class Opener:
    @classmethod
    def flush(cls, object):
        return cls

    def __init__(self, tcti=""):
        pass
'''


def spec(*bindings: Binding) -> Spec:
    """Return the spec of the chip."""
    return Spec(
        "chip",
        "chip",
        kinds=(CHIP, OBJECT),
        calls=(
            row("Chip_Initialize", "pchip tcti"),
            row("Chip_Create", "chip parent inPublic pobject"),
            row("Chip_Load", "chip parent blob pobject"),
            row("Chip_Sign", "chip object digest"),
            row("Chip_GetRandom", "chip count"),
            row("Chip_Flush", "chip object", releases(OBJECT, "object")),
            row("Chip_Finalize", "chip", releases(CHIP, "chip")),
        ),
        bindings=bindings,
    )


ROWS = {
    "Chip.__init__": "Chip_Initialize: self=pchip tcti=",
    "Chip.create": "Chip_Create: self=chip parent template=inPublic count= -> pobject, _, _",
    "Chip.load": "Chip_Load: self=chip parent blob -> pobject",
    "Chip.sign": "Chip_Sign: self=chip object digest",
    "Chip.get_random": "Chip_GetRandom: self=chip count",
    "Chip.flush": "Chip_Flush: self=chip object",
    "Chip.close": "Chip_Finalize: self=chip",
}


def binding(
    rows: dict[str, str] = ROWS,
    *,
    owner: str = "Chip",
    codec: Codec = Codec.NUMBERS,
    on_collect: Collects = Collects.NOTHING,
) -> Binding:
    """Return the binding of the module."""
    return Binding(
        "chipbinding",
        Methods(("chipbinding",), {owner: CHIP}),
        success=Success.NO_EXCEPTION,
        codec=codec,
        on_collect=on_collect,
        shapes=shapes(rows),
    )


class Traced(NamedTuple):
    """What a test has."""

    tracer: Tracer
    api: Any


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Make the module importable and its spec the only one; return the module, untraced."""
    (tmp_path / "chipbinding.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    described = spec(binding())
    registry.validate(described)
    monkeypatch.setattr(registry, "load", lambda *_: (described,))
    yield importlib.import_module("chipbinding")
    csptrace.stop()
    sys.modules.pop("chipbinding", None)


@pytest.fixture
def traced(module: Any, trace: Callable[..., Tracer]) -> Traced:
    """Return a tracer and the module, whose classes are patched."""
    return Traced(trace(), module)


def kinds(tracer: Tracer) -> list[str]:
    """Return the kinds of what is owed."""
    return [handle.kind for handle in tracer.live()]


def test_a_correct_program_is_clean(traced: Traced) -> None:
    """What the program gets is what the class returns, and nothing is said."""
    chip = traced.api.Chip("device")
    made = chip.create(1, b"rsa", count=3)
    assert made == (1, b"rsa", 3)
    assert type(made[0]) is traced.api.TR
    loaded = chip.load(parent=made[0], blob=b"x")
    assert (loaded, type(loaded)) == (2, traced.api.TR)
    assert kinds(traced.tracer) == ["CHIP_CONTEXT", "CHIP_TR", "CHIP_TR"]
    assert chip.sign(made[0]) == (b"signature", traced.api.TR)
    assert chip.get_random(4) == bytes(4)
    chip.flush(object=loaded)
    made[0].close(chip)
    chip.close()

    assert traced.tracer.check() == ()
    assert traced.tracer.live() == ()


def test_a_leak_is_found(traced: Traced) -> None:
    """An object that is there when its owner is closed is leaked, in the binding's words."""
    chip = traced.api.Chip()
    number = chip.create(1)[0]
    chip.close()

    (found,) = traced.tracer.check()
    assert (found.code.value, found.handle.kind) == ("leaked-at-release", "CHIP_TR")
    told = as_text(explain(found))
    assert "0x00000001" in told
    assert unavailable() or "flush" in told
    with pytest.raises(UseAfterRelease):
        chip.sign(number)


def test_the_same_number_in_two_objects_is_two_handles(traced: Traced) -> None:
    """What one owner has released is alive in the other."""
    first, second = traced.api.Chip(), traced.api.Chip()
    mine, its = first.create(1)[0], second.create(1)[0]
    assert mine == its
    first.flush(mine)

    second.sign(its)
    with pytest.raises(UseAfterRelease):
        first.sign(mine)
    assert len(traced.tracer.live()) == 3
    second.flush(its)
    first.close()
    second.close()
    assert [each.code.value for each in traced.tracer.check()] == ["use-after-release"]


@pytest.mark.parametrize("by_name", [False, True], ids=["by position", "by keyword"])
@pytest.mark.parametrize("plain", [False, True], ids=["own class", "int"])
def test_misuse_is_found_before_the_call(traced: Traced, by_name: bool, plain: bool) -> None:
    """A released number is known however it is passed, and whatever class it is of."""
    chip = traced.api.Chip()
    number = chip.create(1)[0]
    if plain:
        number = int(number)
    args, named = ((), {"object": number}) if by_name else ((number,), {})
    chip.flush(*args, **named)

    with pytest.raises(DoubleRelease):
        chip.flush(*args, **named)
    with pytest.raises(UseAfterRelease):
        chip.sign(*args, **named)
    chip.close()


def test_an_owner_that_is_closed_is_used_by_nobody(traced: Traced) -> None:
    """Each method needs its owner, the inherited ones too, and closing twice is wrong."""
    chip = traced.api.Chip()
    with chip:
        chip.get_random(1)

    with pytest.raises(UseAfterRelease):
        chip.get_random(1)
    with pytest.raises(UseAfterRelease):
        chip.create(1)
    with pytest.raises(DoubleRelease):
        chip.close()


def test_a_call_that_raises_acquires_and_releases_nothing(traced: Traced) -> None:
    """The exception is the program's, whether a method raises it or a constructor."""
    with pytest.raises(traced.api.ChipError, match="nobody"):
        traced.api.Chip("nobody", broken=True)
    chip = traced.api.Chip()
    chip.open = False
    with pytest.raises(traced.api.ChipError, match="closed"):
        chip.create(1)
    chip.open = True
    with pytest.raises(KeyError):
        chip.flush(77)
    assert chip.load(1, b"") is None

    assert kinds(traced.tracer) == ["CHIP_CONTEXT"]


def test_a_null_number_is_no_handle(traced: Traced) -> None:
    """A number that stands for nothing may be given in the place of any handle."""
    chip = traced.api.Chip()
    chip.last = NONE - 1
    assert chip.load(NONE, b"x") == NONE
    with pytest.raises(traced.api.ChipError):
        chip.sign(NONE + 1)

    assert kinds(traced.tracer) == ["CHIP_CONTEXT"]


@pytest.mark.parametrize("passed", [None, "text", 1.5, -1, 1 << 70, True, [1]])
def test_what_is_no_number_of_the_object_goes_to_the_method(traced: Traced, passed: object) -> None:
    """The method gets what the program passed, and its own error comes back."""
    chip = traced.api.Chip()
    with pytest.raises((traced.api.ChipError, TypeError)):
        chip.sign(passed)
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        chip.flush()
    with pytest.raises(TypeError, match="unexpected keyword argument 'color'"):
        chip.flush(1, color=2)

    assert traced.tracer.check() == ()


def test_a_subclass_of_the_programs_own(traced: Traced) -> None:
    """A class that is derived, with a constructor and a method of its own, is traced once."""

    class Mine(traced.api.Chip):
        def __init__(self, name: str) -> None:
            super().__init__(name)
            self.name = name

        def flush(self, object: int) -> None:  # noqa: A002 - the binding's name
            super().flush(object)

    chip = Mine("a")
    chip.flush(chip.create(1)[0])
    chip.create(1)
    assert kinds(traced.tracer) == ["CHIP_CONTEXT", "CHIP_TR"]
    chip.close()

    assert [each.code.value for each in traced.tracer.check()] == ["leaked-at-release"]


def test_an_owner_that_was_there_before_is_nobodys_leak(
    module: Any, trace: Callable[..., Tracer]
) -> None:
    """What was made before tracing is first seen in use; what is made with it now is owed."""
    chip = module.Chip()
    old = chip.create(1)[0]
    tracer = trace()
    chip.sign(old)
    chip.create(old)
    assert kinds(tracer) == ["CHIP_TR"]
    chip.flush(old)
    with pytest.raises(DoubleRelease):
        chip.flush(old)
    chip.close()

    assert [each.code.value for each in tracer.check()] == ["double-release", "leaked-at-release"]


def test_an_owner_that_is_collected_is_lost(traced: Traced) -> None:
    """Nobody can close it any more; it is said where the last reference went."""
    chip = traced.api.Chip()
    del chip
    gc.collect()

    (found,) = traced.tracer.check()
    assert (found.code.value, found.handle.kind) == ("lost", "CHIP_CONTEXT")


def test_a_destructor_that_releases_is_believed(
    module: Any, trace: Callable[..., Tracer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the binding says that collection closes, the owner is closed by it."""
    described = spec(binding(on_collect=Collects.RELEASES))
    monkeypatch.setattr(registry, "load", lambda *_: (described,))
    tracer = trace()
    chip = module.Chip()
    chip.create(1)
    del chip
    gc.collect()

    codes = [each.code.value for each in tracer.check()]
    assert codes == ["lost", "leaked-at-release"]
    assert tracer.live() == ()


def test_a_new_object_at_the_same_place_is_another(traced: Traced) -> None:
    """A thousand owners come and go, and none is taken for one that was closed before it."""
    for _ in range(1000):
        chip = traced.api.Chip()
        number = chip.create(1)[0]
        chip.sign(number)
        chip.flush(number)
        chip.close()
        del chip

    assert traced.tracer.check() == ()
    assert traced.tracer.live() == ()


def test_a_copy_is_an_object_of_its_own(traced: Traced) -> None:
    """Nothing is marked on the program's object, so a copy has nothing of the tracer's."""
    chip = traced.api.Chip()
    assert set(vars(chip)) == {"open", "known", "last"}
    twin = copy.copy(chip)
    twin.get_random(1)
    chip.close()
    twin.open = True
    twin.get_random(1)

    assert traced.tracer.check() == ()


def test_threads_share_an_owner(traced: Traced) -> None:
    """What many threads make with one object that was there before is counted once each."""
    chip = traced.api.Chip.__new__(traced.api.Chip)
    chip.open, chip.known, chip.last = True, set(), 0
    numbers = iter(range(1, 401))
    lock, start = threading.Lock(), threading.Barrier(4)

    def work() -> None:
        start.wait()
        for _ in range(100):
            with lock:
                chip.last = next(numbers)
                made = chip.load(1, b"x")
            chip.sign(made)
            chip.flush(made)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert traced.tracer.check() == ()
    assert traced.tracer.live() == ()


def test_introspection_sees_the_method(traced: Traced) -> None:
    """Name, signature and docstring are those of the class."""
    create = traced.api.Chip.create
    assert (create.__name__, create.__doc__) == ("create", "Make an object, and say what it is.")
    assert list(inspect.signature(create).parameters) == ["self", "parent", "template", "count"]


def test_the_class_is_as_before_afterwards(module: Any, trace: Callable[..., Tracer]) -> None:
    """After tracing each method is the class's own, and an inherited one is inherited again."""
    before = dict(vars(module.Chip))
    trace()
    assert vars(module.Chip)["flush"] is not before["flush"]
    assert "get_random" in vars(module.Chip)
    chip = module.Chip()
    flush = chip.flush
    number = chip.create(1)[0]
    csptrace.stop()

    assert dict(vars(module.Chip)) == before
    flush(number)
    assert chip.known == set(), "a method that was bound meanwhile goes on working"


@pytest.mark.parametrize(
    ("owner", "rows", "why"),
    [
        ("Slotted", {"__init__": "Chip_Initialize: self=pchip tcti="}, "no weak reference"),
        (
            "Opener",
            {
                "__init__": "Chip_Initialize: self=pchip tcti=",
                "flush": "Chip_Flush: self=chip object",
            },
            "called without an object",
        ),
    ],
)
def test_a_class_that_cannot_be_traced_is_named(
    module: Any,
    trace: Callable[..., Tracer],
    monkeypatch: pytest.MonkeyPatch,
    owner: str,
    rows: dict[str, str],
    why: str,
) -> None:
    """What cannot be told apart or has no object is said when tracing begins, and left alone."""
    own = {f"{owner}.{name}": text for name, text in rows.items()}
    described = spec(binding(own, owner=owner))
    monkeypatch.setattr(registry, "load", lambda *_: (described,))
    with pytest.raises(csptrace.errors.ActivationError, match=why):
        trace()

    assert vars(getattr(module, owner))["__init__"].__qualname__ == f"{owner}.__init__"


def of_keys(kind: Kind) -> tuple[Call, ...]:
    """Return the functions of one more kind."""
    return (
        row("Chip_Key", "chip phKey", acquires(kind, "phKey", under="chip")),
        row("Chip_FreeKey", "hKey", releases(kind, "hKey")),
    )


def without(name: str) -> dict[str, str]:
    """Return the rows but one."""
    return {key: text for key, text in ROWS.items() if key != name}


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: binding(without("Chip.__init__")), "Chip.__init__ needs a shape whose self="),
        (
            lambda: binding(ROWS | {"Chip.__init__": "Chip_GetRandom: self=chip tcti=count"}),
            "Chip.__init__ needs a shape whose self=",
        ),
        (lambda: binding(codec=Codec.OBJECTS), "codec 'objects' does not fit its target"),
        (lambda: binding(ROWS | {"Other.f": "Chip_Sign: self=chip object"}), "unknown class Other"),
        (lambda: binding(ROWS | {"open": "Chip_Initialize: tcti"}), "no method of a class"),
        (
            lambda: binding(ROWS | {"Chip.load": "Chip_Load: self=chip parent blob -> pobject*"}),
            "hands out one number, or several in a tuple",
        ),
        (
            lambda: binding(ROWS | {"Chip.sign": "Chip_Sign: self=object"}),
            "Chip_Sign takes no CHIP_CONTEXT in 'object'",
        ),
    ],
)
def test_what_cannot_be_true_is_refused(make: Callable[[], Binding], why: str) -> None:
    """A class whose objects come from nowhere, and a row that does not fit, are errors."""
    with pytest.raises(SpecError) as caught:
        registry.validate(spec(make()))

    assert why in str(caught.value)


def test_nothing_is_asked_about_a_number_without_its_object() -> None:
    """A query is given numbers alone, which here do not say whose they are."""
    described = spec(binding())
    limit = Query("builtins:max", "how many fit")
    asking = dataclasses.replace(OBJECT, name="CHIP_KEY", null=frozenset(), limit=limit)
    described = dataclasses.replace(
        described, kinds=(*described.kinds, asking), calls=(*described.calls, *of_keys(asking))
    )
    with pytest.raises(SpecError, match="mean nothing without their object"):
        registry.validate(described)
