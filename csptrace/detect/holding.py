"""Handles that are held too long: which they are, and when to look again.

With the setting `held_too_long` a thread of csptrace's own looks at what is alive, so that a
program is told even if it never calls the provider again. Without it there is no such thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from csptrace import threads
from csptrace.model import LIVE

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable

    from csptrace.model import Handle

__all__ = ["Lookout", "overdue"]

_SHORTEST: Final = 0.02
"""Seconds between two looks at least."""
_LONGEST: Final = 3600.0


def overdue(handles: Iterable[Handle], now: int, threshold: int) -> tuple[list[Handle], int]:
    """Tell which handles are older than they may be.

    Args:
        handles: handles that somebody has to release.
        now: monotonic nanoseconds.
        threshold: the age in nanoseconds that is still allowed.

    Returns:
        Those that are older, and in how many nanoseconds the next one will be, if nothing changes;
        the threshold if there is none.
    """
    late, wait = [], threshold
    for handle in handles:
        if handle.acquired is None or handle.state != LIVE:
            continue
        left = handle.acquired.time + threshold - now
        if left < 0:
            late.append(handle)
        else:
            wait = min(wait, left)
    return late, wait


class Lookout:
    """A thread that looks at what is alive from time to time.

    Args:
        look: looks, and returns the seconds until it has to look again.
    """

    def __init__(self, look: Callable[[], float]) -> None:
        self._look = look
        self._wait: threading.Lock | None = None
        self._end: threading.Lock | None = None
        self._thread = 0

    def start(self) -> None:
        """Start the thread; called again in the child of a fork, where there is none."""
        wait, end = threads.lock(), threads.lock()
        wait.acquire()
        end.acquire()
        threads.start(self._run, wait, end)
        self._wait, self._end = wait, end

    def stop(self) -> None:
        """End the thread and wait for it."""
        wait, self._wait = self._wait, None
        if wait is None:
            return
        wait.release()
        if self._end is not None and self._thread != threads.get_ident():
            self._end.acquire(timeout=5)

    def _run(self, wait: threading.Lock, end: threading.Lock) -> None:
        self._thread = threads.get_ident()
        try:
            seconds = _SHORTEST
            while not wait.acquire(timeout=seconds):
                seconds = min(max(_SHORTEST, self._look()), _LONGEST)
        finally:
            end.release()
