"""Locks that a fork leaves usable.

A fork copies every lock as it is, but only the thread that forks. A lock that another thread holds
at that moment is never released in the child, and what it guards may be half written there. So the
forking thread waits first until nobody is inside of any lock of this module, and in the child every
lock is free that the forking thread does not hold itself.

The locks are not held until the fork: hooks that others have registered come in between, which take
locks of their own (logging's does), and a thread that holds one of these may wait for one of ours.
While the forking thread has the GIL from there on, nobody gets inside again; where such a hook
waits, or without a GIL, a thread may, and then the child sees what it was just changing.

Nor does a fork wait for ever: a thread that is inside may wait for something that the forking
thread holds, a lock of the program's. Then it goes on all the same.
"""

from __future__ import annotations

import itertools
import os
import weakref
from typing import TYPE_CHECKING, Final

from csptrace import threads
from csptrace.clocks import CLOCKS

if TYPE_CHECKING:
    import threading

__all__ = ["adopted", "lock", "locks"]

_PATIENCE: Final = 30.0
"""Seconds that a fork waits at most."""

_known: Final[weakref.WeakValueDictionary[int, threading.RLock]] = weakref.WeakValueDictionary()
_numbers: Final = itertools.count()


def lock() -> threading.RLock:
    """Return a new reentrant lock that no thread is inside of when the process forks."""
    return adopted(threads.reentrant_lock())


def adopted(theirs: threading.RLock) -> threading.RLock:
    """Treat a lock that somebody else has made like those of `lock`.

    Args:
        theirs: a reentrant lock.

    Returns:
        The lock.
    """
    _known[next(_numbers)] = theirs
    return theirs


def locks() -> list[threading.RLock]:
    """Return the locks that exist now."""
    found = (reference() for reference in _known.valuerefs())
    return [each for each in found if each is not None]


def _is_ours(each: threading.RLock) -> bool:
    return bool(each._is_owned())  # type: ignore[attr-defined] # as threading.Condition does


def _take(wanted: list[threading.RLock], taken: list[threading.RLock]) -> None:
    """Take locks, waiting for one only while none is held."""
    deadline = CLOCKS.monotonic() + _PATIENCE * 1e9
    busy: threading.RLock | None = None
    while True:
        left = max(0.0, deadline - CLOCKS.monotonic()) / 1e9
        if busy is not None and busy.acquire(timeout=left):
            taken.append(busy)
        for each in wanted:
            if each is busy:
                continue
            if each.acquire(blocking=False):
                taken.append(each)
            elif left:
                busy = each
                break
        else:
            return
        _give_back(taken)


def _give_back(taken: list[threading.RLock]) -> None:
    while taken:
        taken.pop().release()


def _before() -> None:
    taken: list[threading.RLock] = []
    try:
        # Where this thread is inside already, nobody else is, and it will find its way out itself.
        _take([each for each in locks() if not _is_ours(each)], taken)
    finally:
        _give_back(taken)


def _after_in_child() -> None:
    for each in locks():
        if not _is_ours(each):
            # Releasing is not enough: other threads may be in the middle of waiting for it.
            each._at_fork_reinit()  # type: ignore[attr-defined] # as the standard library does


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_child=_after_in_child)
