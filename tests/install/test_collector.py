"""The garbage collector waits while a library holds a lock that finalizers take."""

from __future__ import annotations

import gc
import inspect
import os
import threading
from typing import TYPE_CHECKING

import pytest

from csptrace.install.collector import without_collections

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from csptrace import Tracer


@pytest.fixture(autouse=True)
def enabled() -> Iterator[None]:
    """Leave collections switched on."""
    gc.enable()
    yield
    gc.enable()


def test_collections_wait() -> None:
    """None starts inside, however deep, and they go on after the outermost call."""

    @without_collections
    def inside(depth: int) -> list[bool]:
        before = gc.isenabled()
        below = inside(depth - 1) if depth else []
        return [before, *below, gc.isenabled()]

    assert inside(2) == [False] * 6
    assert gc.isenabled()


def test_collections_go_on_after_an_exception() -> None:
    """A call that raises switches them on again."""

    @without_collections
    def broken() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        broken()
    assert gc.isenabled()


def test_collections_that_were_off_stay_off() -> None:
    """A program that has switched collections off finds them so."""
    gc.disable()
    without_collections(lambda: None)()
    assert not gc.isenabled()


@pytest.fixture
def inside() -> Iterator[Callable[[], None]]:
    """Have another thread inside; return a function that waits until it has left."""
    entered, leave = threading.Event(), threading.Event()

    @without_collections
    def held() -> None:
        entered.set()
        leave.wait(60)

    thread = threading.Thread(target=held)
    thread.start()
    assert entered.wait(60)

    def end() -> None:
        leave.set()
        thread.join(60)

    yield end
    end()


def test_the_last_thread_switches_on(inside: Callable[[], None]) -> None:
    """Collections wait until no thread is inside any more."""
    without_collections(lambda: None)()
    assert not gc.isenabled()
    inside()
    assert gc.isenabled()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process")
@pytest.mark.usefixtures("inside")
def test_the_child_of_a_fork_collects(trace: Callable[..., Tracer]) -> None:
    """A child that was forked while another thread was inside is not left without collections."""
    trace()
    child = os.fork()
    if not child:
        os._exit(0 if gc.isenabled() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process")
def test_a_fork_inside_goes_on_inside() -> None:
    """The child of a thread that forked inside collects once it has left, and pauses again."""

    def fork() -> int:
        child = os.fork()
        return child or -gc.isenabled()

    child = without_collections(fork)()
    if child <= 0:
        inside = without_collections(gc.isenabled)()
        os._exit(0 if (child, inside, gc.isenabled()) == (0, False, True) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_it_looks_like_the_function() -> None:
    """Name, documentation and signature are the function's."""

    def load(self: object, name: str) -> None:
        """Load."""

    paused = without_collections(load)
    assert (paused.__name__, paused.__doc__) == ("load", "Load.")
    assert inspect.signature(paused) == inspect.signature(load)
