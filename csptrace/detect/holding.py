"""Handles that are held too long: which they are, and when to look again.

With the setting `held_too_long` a thread of csptrace's own looks at what is alive, so that a
program is told even if it never calls the provider again. Without it there is no such thread.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from csptrace.model import LIVE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from csptrace.model import Handle

__all__ = ["Lookout", "overdue"]

_SHORTEST: Final = 0.02
"""Seconds between two looks at least."""


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
    """A daemon thread that looks at what is alive from time to time.

    Args:
        look: looks, and returns the seconds until it has to look again.
    """

    def __init__(self, look: Callable[[], float]) -> None:
        self._look = look
        self._done = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread; called again in the child of a fork, where there is none."""
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="csptrace-lookout", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread and wait for it."""
        thread, self._thread = self._thread, None
        self._done.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(5)

    def _run(self) -> None:
        done = self._done
        wait = _SHORTEST
        while not done.wait(wait):
            wait = max(_SHORTEST, self._look())
