"""The garbage collector waits while a function of the program's libraries holds its lock.

A collection may start wherever an object is made, and runs finalizers there. One that takes a
lock which the same thread holds blocks for ever; what the tracer does under such a lock would make
that likely.
"""

from __future__ import annotations

import functools
import gc
import os
from typing import TYPE_CHECKING, Any

from csptrace import forks
from csptrace.threads import get_ident

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["without_collections"]


class _Pause:
    """Keeps collections from starting while any thread is inside; the process has one switch."""

    def __init__(self) -> None:
        # A finalizer may come between any two steps here, and go through both of them itself.
        self._lock = forks.lock()
        self._inside: list[int] = []  # threads, as often as each is inside
        self._enabled = False

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._enabled = gc.isenabled()
            self._inside.append(get_ident())
            gc.disable()

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside.remove(get_ident())
            if not self._inside and self._enabled:
                gc.enable()

    def forked(self) -> None:
        """In the child of a fork, leave for the threads that are not there."""
        was, self._inside = self._inside, [each for each in self._inside if each == get_ident()]
        if was and not self._inside and self._enabled:
            gc.enable()


_pause = _Pause()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pause.forked)


def without_collections(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function during which no collection starts, in any thread.

    Args:
        function: a function, or a method of a Python class.

    Returns:
        A function that takes and returns the same. If collections were switched off before, they
        stay so. Objects whose last reference goes are finalized as ever.
    """

    def call(*args: Any, **kwargs: Any) -> Any:
        with _pause:
            return function(*args, **kwargs)

    return functools.update_wrapper(call, function)
