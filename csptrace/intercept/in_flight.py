"""Calls that are under way.

Which thread is inside which call is not noted, since that would cost something at every call: the
stacks of the threads say it when somebody asks, which only the release of what must not be
released in between does.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeAlias

from csptrace.threads import get_ident

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import CodeType, FrameType

    from csptrace.graph.handle import Handle
    from csptrace.graph.sites import CallSite

__all__ = ["in_flight", "register"]

Readable: TypeAlias = "Callable[[Mapping[str, Any]], Iterable[Handle | None]]"

_TRACED: dict[CodeType, Readable] = {}
_MOST_FRAMES_INSIDE = 12
"""How many frames a binding has between the compiled function and the native call, at most."""


def register(function: Callable[..., Any], handles: Readable) -> None:
    """Let the calls of a compiled function be found while they are under way.

    Args:
        function: a Python function with a local variable `site`. All that have its code are meant.
        handles: reads the handles that a call is about off its local variables.
    """
    _TRACED[function.__code__] = handles


def in_flight() -> Iterable[tuple[int, FrameType, CallSite, list[Handle]]]:
    """Return the calls that other threads are inside of.

    Returns:
        For each: the thread, the frame of the compiled function, the call, and the handles that
        it uses. Nothing without a GIL, where a running frame of another thread cannot be read.
    """
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        return []
    frames = sys._current_frames()
    # A frame that refers to itself keeps what all its callers have, until the next collection.
    del frames[get_ident()]
    found = []
    for ident, top in frames.items():
        frame: FrameType | None = top
        for _ in range(_MOST_FRAMES_INSIDE):
            if frame is None:
                break
            read = _TRACED.get(frame.f_code)
            if read is not None:
                local = frame.f_locals
                used = [handle for handle in read(local) if handle is not None]
                if used:
                    found.append((ident, frame, local["site"], used))
                break
            frame = frame.f_back
    return found
