"""Exceptions that come from outside while the tracer is at work: signal handlers, Ctrl-C."""

from __future__ import annotations

import ctypes
import gc
import signal
import sys
import time
from ctypes import byref, c_void_p
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from csptrace import Tracer

ROUNDS = 400


class Timeout(Exception):
    """What a program's timer raises."""


@pytest.fixture(autouse=True)
def unmeasured() -> Iterator[None]:
    """Pause what else runs in this thread and could be hit.

    An exception out of coverage's line tracer leaves its lock held for good; one out of a callback
    of the garbage collector (Hypothesis has one), or out of a destructor that it calls, is
    swallowed.
    """
    tracer, callbacks = sys.gettrace(), list(gc.callbacks)
    sys.settrace(None)
    gc.collect()
    gc.disable()
    gc.callbacks.clear()
    try:
        yield
    finally:
        gc.callbacks.extend(callbacks)
        gc.enable()
        sys.settrace(tracer)


@pytest.fixture
def library(fakecsp: ModuleType, trace: Callable[..., Tracer]) -> tuple[Tracer, Any]:
    """Return a tracer, and a compiled library that a signal cannot enter."""
    if sys.platform == "win32":
        pytest.skip("Windows has no interval timer")
    tracer = trace(strict=False, libraries=(fakecsp.LIBRARY,))
    lib = ctypes.CDLL(str(fakecsp.library()))
    hProv = c_void_p()
    assert lib.CryptAcquireContextA(byref(hProv), None, None, 24, 0xF0000000)
    lib.hProv = hProv
    return tracer, lib


def interrupted(lib: Any, exception: type[BaseException], loop: Callable[[c_void_p], None]) -> Any:
    """Run a loop again and again until a timer stops it; return raised and seen."""
    raised, seen = [0], 0

    def handler(_signal: int, _frame: object) -> None:
        raised[0] += 1
        raise exception

    # A function of its own: CPython 3.13.0 lets an exception at the head of a loop slip past the
    # try around it.
    def once(turn: int, handle: c_void_p) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.00002 + 0.000003 * (turn % 50))
        while raised[0] == turn:
            loop(handle)

    before = signal.signal(signal.SIGALRM, handler)
    try:
        for turn in range(ROUNDS):
            handle = c_void_p()
            try:
                once(turn, handle)
            except exception:
                seen += 1
            if handle.value:
                lib.CryptDestroyHash(handle)  # what a careful program does, wherever it was hit
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return raised[0], seen


@pytest.mark.parametrize("exception", [Timeout, KeyboardInterrupt])
def test_the_program_gets_every_exception_of_its_own(
    library: tuple[Tracer, Any], exception: type[BaseException]
) -> None:
    """None is swallowed as an error of the tracer, and no careful clean-up is called wrong."""
    tracer, lib = library
    create, destroy = lib.CryptCreateHash, lib.CryptDestroyHash

    def loop(handle: c_void_p) -> None:
        create(lib.hProv, 0x8004, None, 0, byref(handle))
        copy = c_void_p(handle.value)
        handle.value = None
        destroy(copy)

    raised, seen = interrupted(lib, exception, loop)

    assert raised == seen == ROUNDS
    assert tracer.check() == ()
    tracer.graph.clear()  # what was cut off between the two calls is leaked indeed


def test_a_release_that_was_cut_off_can_be_made_again(library: tuple[Tracer, Any]) -> None:
    """A mark never outlives its call: the retry of a release that did not happen is no misuse."""
    tracer, lib = library
    create, destroy = lib.CryptCreateHash, lib.CryptDestroyHash
    wrong, hit, stopped = [], [], 0
    before = signal.getsignal(signal.SIGALRM)

    def handler(_signal: int, _frame: object) -> None:
        hit.append(1)
        raise Timeout

    def once(turn: int, handle: c_void_p) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.000002 + 0.0000005 * (turn % 40))
        destroy(handle)
        while len(hit) == turn:
            # Letting the interpreter lock go makes a signal that another thread received seen.
            time.sleep(0)

    signal.signal(signal.SIGALRM, handler)
    try:
        for turn in range(ROUNDS):
            handle = c_void_p()
            assert create(lib.hProv, 0x8004, None, 0, byref(handle))
            made = lib.fake_calls(b"CryptDestroyHash")
            try:
                once(turn, handle)
            except Timeout:
                stopped += 1
            if lib.fake_calls(b"CryptDestroyHash") == made:  # it did not get that far
                try:
                    destroy(handle)
                except Exception as error:  # noqa: BLE001 - collected
                    wrong.append(error)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

    assert wrong == []
    assert stopped == ROUNDS
    assert tracer.check() == ()
