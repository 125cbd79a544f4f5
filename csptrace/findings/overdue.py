"""Handles that are held too long: which they are, and when to look again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from csptrace.graph.states import LIVE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from csptrace.graph.handle import Handle

__all__ = ["overdue"]


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
