"""What the vocabulary can say beyond CryptoAPI, on a library made for it."""

from __future__ import annotations

import ctypes
from ctypes import CFUNCTYPE, POINTER, byref, c_int, c_size_t, c_void_p
from typing import TYPE_CHECKING, Any

import pytest

import csptrace
from csptrace.apis import registry
from csptrace.spec.bindings import Binding, Codec, Dll, Spec, Success
from csptrace.spec.calls import call
from csptrace.spec.conditions import either, equals, negation, nonzero, stored
from csptrace.spec.effects import acquires, adds_ref, releases, releases_all, uses
from csptrace.spec.kinds import RETURN, Cascade, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from csptrace import Tracer

SLOT = Kind("SLOT", "slot")
SESSION = Kind("SESSION", "session", under=SLOT)
OBJECT = Kind("OBJECT", "object", under=SESSION, must_release=False)
TOKEN = Kind("TOKEN", "token object", under=SESSION, cascade=Cascade.DETACH)

CALLS = (
    call("Open", "", acquires(SLOT, RETURN), library="toy"),
    call(
        "Start",
        "slot out",
        uses(SLOT, "slot"),
        acquires(SESSION, "out", under="slot"),
        library="toy",
    ),
    call("Close", "slot", releases(SLOT, "slot"), library="toy"),
    call("Stop", "session", releases(SESSION, "session"), library="toy"),
    call("StopAll", "slot", releases_all(SESSION, under="slot"), library="toy"),
    call("Finish", "", releases_all(SESSION), library="toy"),
    call("Share", "session", adds_ref(SESSION, "session"), library="toy"),
    call(
        "Make",
        "session lasting out",
        uses(SESSION, "session"),
        acquires(OBJECT, "out", under="session", unless=nonzero("lasting")),
        acquires(TOKEN, "out", under="session", when=nonzero("lasting")),
        library="toy",
    ),
    call("Drop", "object", releases(TOKEN, "object"), library="toy"),
    call(
        "Give",
        "session how",
        uses(
            SESSION,
            "session",
            when=negation(equals("how", 9)),
            hands_over=either(equals("how", 1), equals("how", 2)),
        ),
        library="toy",
    ),
    call("Lend", "out yours", acquires(SLOT, "out", when=stored("yours")), library="toy"),
)
TOY = Spec(
    "toy",
    "a toy",
    kinds=(SLOT, SESSION, OBJECT, TOKEN),
    calls=CALLS,
    bindings=(Binding("ctypes", Dll(("toy",)), success=Success.NONZERO, codec=Codec.CTYPES),),
)


class Toy(ctypes.CDLL):
    """A library that hands out numbers and always agrees, unless told to refuse."""

    def __init__(self) -> None:
        self._name = "toy"
        self._handle = 0
        self.next = 0x100
        self.answer = 1
        pointer = type("_FuncPtr", (ctypes._CFuncPtr,), {"_flags_": 1, "_restype_": c_int})  # type: ignore[misc]
        self.callbacks = {
            "Open": CFUNCTYPE(c_int)(self._new),
            "Start": CFUNCTYPE(c_int, c_size_t, POINTER(c_size_t))(self._fill),
            "Make": CFUNCTYPE(c_int, c_size_t, c_size_t, POINTER(c_size_t))(self._make),
            "Lend": CFUNCTYPE(c_int, POINTER(c_size_t), POINTER(c_int))(self._lend),
            **{
                name: CFUNCTYPE(c_int, c_size_t)(lambda _handle: self.answer)
                for name in ("Close", "Stop", "StopAll", "Share", "Drop")
            },
            "Give": CFUNCTYPE(c_int, c_size_t, c_size_t)(lambda *_: self.answer),
            "Finish": CFUNCTYPE(c_int)(lambda: self.answer),
        }
        self._FuncPtr = lambda what: pointer(ctypes.cast(self.callbacks[what[0]], c_void_p).value)
        self.lent = 0

    def _new(self) -> int:
        self.next += 16
        return self.next

    def _fill(self, _above: int, out: Any) -> int:
        out[0] = self._new()
        return 1

    def _make(self, _session: int, _lasting: int, out: Any) -> int:
        return self._fill(0, out)

    def _lend(self, out: Any, yours: Any) -> int:
        yours[0] = self.lent
        return self._fill(0, out)


@pytest.fixture
def toy(
    monkeypatch: pytest.MonkeyPatch, trace: Callable[..., Tracer]
) -> Iterator[tuple[Tracer, Toy]]:
    """Return a tracer of the toy API and the library."""
    registry.validate(TOY)
    monkeypatch.setattr(registry, "load", lambda *_: (TOY,))
    yield trace(on_misuse="log"), Toy()
    csptrace.stop()


def out(function: Any, *arguments: Any) -> int:
    """Call a function with an out parameter; return what it stored."""
    handle = c_size_t()
    assert function(*arguments, byref(handle))
    return handle.value


def kinds(tracer: Tracer) -> list[str]:
    """Return the kinds of what is owed."""
    return [handle.kind for handle in tracer.live()]


def test_a_returned_handle_is_acquired(toy: tuple[Tracer, Toy]) -> None:
    """A handle may be the return value; 0 is none."""
    tracer, library = toy
    slot = library.Open()

    assert [handle.value for handle in tracer.live()] == [slot]
    library.Close(slot)
    assert tracer.live() == ()


def test_releases_all_under_one_parent(toy: tuple[Tracer, Toy]) -> None:
    """Every session of that slot ends, with all its references; the other slot's live on."""
    tracer, library = toy
    mine, other = library.Open(), library.Open()
    first, _, kept = out(library.Start, mine), out(library.Start, mine), out(library.Start, other)
    library.Share(first)
    library.StopAll(mine)

    assert [handle.value for handle in tracer.live()] == [mine, other, kept]
    library.Finish()
    assert [handle.value for handle in tracer.live()] == [mine, other]


def test_a_refused_releases_all_ends_nothing(toy: tuple[Tracer, Toy]) -> None:
    """If the call fails, everything lives on."""
    tracer, library = toy
    slot = library.Open()
    session = out(library.Start, slot)
    library.answer = 0
    library.StopAll(slot)
    library.Finish()

    assert [handle.value for handle in tracer.live()] == [slot, session]
    assert tracer.check() == ()


def test_releases_all_under_nothing_ends_nothing(toy: tuple[Tracer, Toy]) -> None:
    """A null parent does not stand for every parent."""
    tracer, library = toy
    session = out(library.Start, library.Open())
    library.StopAll(0)

    assert session in [handle.value for handle in tracer.live()]


def test_children_without_a_duty_die_silently(toy: tuple[Tracer, Toy]) -> None:
    """An object that owes no release is no leak when its session ends, but its use is wrong."""
    tracer, library = toy
    session = out(library.Start, library.Open())
    out(library.Make, session, 0)
    library.Stop(session)

    assert tracer.check() == ()


def test_detached_children_survive(toy: tuple[Tracer, Toy]) -> None:
    """A token object lives on after its session, and still has to be dropped."""
    tracer, library = toy
    session = out(library.Start, library.Open())
    token = out(library.Make, session, 1)
    library.Stop(session)

    assert kinds(tracer) == ["SLOT", "TOKEN"]
    library.Drop(token)
    assert kinds(tracer) == ["SLOT"]
    assert tracer.check() == ()


def test_handing_over_under_a_condition(toy: tuple[Tracer, Toy]) -> None:
    """Who has handed a handle over owes nothing; under another condition it is only used."""
    tracer, library = toy
    kept, given = (out(library.Start, library.Open()) for _ in range(2))
    library.Give(kept, 3)
    library.Give(given, 2)

    values = [handle.value for handle in tracer.live()]
    assert kept in values
    assert given not in values


def test_a_use_under_a_condition(toy: tuple[Tracer, Toy]) -> None:
    """A parameter that carries something else this time is not judged."""
    tracer, library = toy
    session = out(library.Start, library.Open())
    library.Stop(session)
    library.Give(session, 9)
    assert tracer.check() == ()

    library.Give(session, 0)
    assert [finding.code.value for finding in tracer.check()] == ["use-after-release"]


@pytest.mark.parametrize("yours", [0, 1])
def test_a_borrowed_result(toy: tuple[Tracer, Toy], yours: int) -> None:
    """Whether the caller owes a release is known only after the call."""
    tracer, library = toy
    library.lent = yours
    handle, owner = c_size_t(), c_int()
    library.Lend(byref(handle), byref(owner))

    assert len(tracer.live()) == yours
