"""Which handles may be released when objects are let go."""

from __future__ import annotations

import weakref
from ctypes import Structure, byref, c_uint32, c_void_p
from typing import TYPE_CHECKING, Any

import pytest

from csptrace.apis.pkcs11 import spec as pkcs11
from csptrace.frontends.pytest_plugin.retention import Retention
from csptrace.graph.handle import Handle
from csptrace.softcsp import advapi32

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from csptrace import Tracer

VALUE = 0x7F31_4159_2653


class Releasing:
    """Something that runs code when it goes."""

    def __init__(self, *known: Any) -> None:
        self.known: Any = known

    def __del__(self) -> None:
        """Release it, perhaps."""


class Keeping:
    """Something that does not."""

    def __init__(self, *known: Any) -> None:
        self.known = known


class Slotted:
    """Something that does not, without a dictionary."""

    __slots__ = ("__weakref__", "known")

    def __init__(self, known: Any) -> None:
        self.known = known


class Pair(Structure):
    """A handle beside something else."""

    _fields_ = (("number", c_uint32), ("handle", c_void_p))


class CK_SESSION_HANDLE:  # noqa: N801 - as PyKCS11 calls it
    """A number in a box, as SWIG makes them."""

    def value(self) -> int:
        """Return the number."""
        return VALUE


def _handle(value: int = VALUE) -> Handle:
    return Handle(pkcs11.SESSION, value, 1, 1, 0, None, (), None, "")


def _suspended(known: object) -> Iterator[object]:
    yield known


def _running(known: object) -> Iterator[object]:
    generator = _suspended(known)
    next(generator)
    return generator


def _closure(known: object) -> Callable[[], object]:
    return lambda: known


def _finalized(known: object) -> object:
    one = Slotted("nothing")
    weakref.finalize(one, len, known)
    return one


def _failed(known: object) -> BaseException:
    def work() -> None:
        made = known
        raise ValueError(made is None)

    try:
        work()
    except ValueError as error:
        return error
    raise AssertionError


@pytest.mark.parametrize(
    "known",
    [
        *(VALUE, [VALUE], {"in": (VALUE,)}, c_void_p(VALUE), Pair(1, VALUE), Slotted(VALUE)),
        *(Keeping(VALUE), CK_SESSION_HANDLE(), _closure(VALUE), (c_void_p * 3)(0, VALUE)),
    ],
)
def test_an_object_with_a_destructor_that_knows_the_number(known: object) -> None:
    """However the number is kept, the handle may be released when the object goes."""
    handle, other = _handle(), _handle(VALUE + 1)
    retention = Retention(())

    assert retention.releasable([Releasing(known)], [handle, other]) == {handle}
    assert retention.releasable([{"deep": [Keeping(Releasing(known))]}], [handle]) == {handle}
    assert retention.releasable([Releasing(), known], [handle]) == set()


def test_a_small_number_may_be_another() -> None:
    """One that is not the object's own attribute, or in data of C, says nothing."""
    handle, retention = _handle(3), Retention(())

    for known in (3, c_void_p(3), [c_uint32(3)]):
        one = Releasing()
        one.known = known
        assert retention.releasable([one], [handle]) == {handle}
    for known in ([3], {"retries": 3}, Pair(3, 3), Keeping(3)):
        assert retention.releasable([Releasing(known)], [handle]) == set()


@pytest.mark.parametrize("make", [_running, _finalized])
def test_what_else_runs_code_in_the_end(make: Callable[[object], object]) -> None:
    """A suspended generator and a finalizer are as good as a destructor."""
    handle = _handle()

    assert Retention(()).releasable([[make([VALUE])]], [handle]) == {handle}
    assert Retention(()).releasable([[make("other")]], [handle]) == set()


def test_what_cannot_release() -> None:
    """Containers, closures, finished generators and weak references run nothing."""
    finished = _running(VALUE)
    list(finished)
    seen = Slotted(VALUE)
    watched = weakref.WeakSet([seen])
    held = [[VALUE], {VALUE: c_void_p(VALUE)}, _closure(VALUE), finished, seen, Keeping(VALUE)]

    assert watched
    assert Retention(()).releasable(held, [_handle()]) == set()


def test_the_standard_library_releases_nothing(tmp_path: Any) -> None:
    """A file has a destructor, and no handle of a provider."""
    with (tmp_path / "file").open("w") as file:
        held = Keeping(file, VALUE)

        assert Retention(()).releasable([held], [_handle()]) == set()


def test_the_locals_of_a_failure() -> None:
    """A traceback holds what the functions that it leads through had."""
    handle = _handle()

    assert Retention(()).releasable([_failed(Releasing(VALUE))], [handle]) == {handle}
    assert Retention(()).releasable([_failed(c_void_p(VALUE))], [handle]) == set()


def test_too_much_to_look_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it would take too long, nothing is ruled out."""
    monkeypatch.setattr("csptrace.frontends.pytest_plugin.retention._MOST_OBJECTS", 10)
    handle = _handle()

    assert Retention(()).releasable([[[] for _ in range(20)]], [handle]) == {handle}


def test_cffi() -> None:
    """What ffi.gc() returns calls back when it goes; other data of cffi does not."""
    cffi = pytest.importorskip("cffi")
    ffi, handle = cffi.FFI(), _handle()
    plain = ffi.cast("void *", VALUE)

    assert Retention(()).releasable([ffi.gc(plain, lambda _: None)], [handle]) == {handle}
    assert Retention(()).releasable([plain], [handle]) == set()


def test_handle_objects(trace: Callable[..., Tracer]) -> None:
    """An object of a binding whose objects release when they go; a number is none."""
    pytest.importorskip("cryptography")
    from csptrace.softcsp import win32crypt

    tracer = trace()
    retention = Retention(tracer.installation.specs)
    store = win32crypt.CryptAcquireContext(None, None, 24, 0xF0000000)
    prov = c_void_p()
    advapi32.CryptAcquireContextW(byref(prov), None, None, 24, 0xF0000000)
    unreleased = tracer.graph.unreleased()

    assert retention.releasable([[store], prov], unreleased) == {store._self_handle}
    store.CryptReleaseContext()
    advapi32.CryptReleaseContext(prov, 0)
