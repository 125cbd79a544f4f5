"""Where the program lets go of the object that stands for a handle.

An object that is in no cycle ends with its last reference, in the middle of a statement of the
program: of the function that has taken it out of a cache, or has put another one in its place.
Where the garbage collector has found it says nothing, so that is not told.
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

from csptrace.causes.roles import INTERNAL, USER
from csptrace.graph.exits import Exit
from csptrace.graph.handle import Departure, Invocation
from csptrace.threads import get_ident

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType

    from csptrace.graph.handle import Handle

__all__ = ["LettingGo"]


class LettingGo:
    """Finds the function that has let go of an object.

    Args:
        role: tells whose code a function is, as for `ExitMonitor`.
    """

    def __init__(self, role: Callable[[CodeType], int]) -> None:
        self._role = role
        self._collecting = 0

    def start(self) -> None:
        """Notice from now on when the garbage collector runs."""
        if self._collects not in gc.callbacks:
            gc.callbacks.append(self._collects)

    def stop(self) -> None:
        """Notice it no more."""
        if self._collects in gc.callbacks:
            gc.callbacks.remove(self._collects)

    def _collects(self, phase: str, _info: dict[str, Any]) -> None:
        self._collecting = get_ident() if phase == "start" else 0

    def where(self, handle: Handle, frame: FrameType | None) -> Departure | None:
        """Return where an object is let go of.

        Args:
            handle: the object's handle.
            frame: the innermost frame of the finalizer.

        Returns:
            `None` if the collector has found it, if no function of the user's own is at it, or if
            that is one which is watched for this handle anyway.
        """
        if self._collecting == get_ident():
            return None
        while frame is not None and self._role(frame.f_code) == INTERNAL:
            frame = frame.f_back
        if frame is None or self._role(frame.f_code) != USER:
            return None
        has_it = handle.invocation
        if has_it is not None and has_it.key == id(frame):
            return None
        departure = Departure(Exit.RUNNING, Invocation(frame.f_code, -1), frame.f_lasti)
        departure.lets_go = True
        return departure
