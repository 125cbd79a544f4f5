"""Capturing call stacks cheaply: code objects and instruction offsets now, text when it is read.

Measured on CPython 3.11 to 3.13 for 16 frames: 2 µs for this, against 22 to 30 µs for
`traceback.extract_stack(limit=16)`.
"""

from __future__ import annotations

import itertools
import operator
from typing import TYPE_CHECKING, Final

from csptrace.model import Stack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import CodeType, FrameType

__all__ = ["StackTable"]

_MOST_STACKS: Final = 65_536


class StackTable:
    """Keeps one `Stack` object for each distinct call stack.

    Args:
        depth: how many frames are captured, innermost first; 0 captures none.

    Attributes:
        capture: `capture(frame)` returns the stack that starts at `frame`.
        capture_short: the same with half as many frames, but eight at least; for releases, which
            are only shown beside the stack of something that went wrong.
    """

    def __init__(self, depth: int) -> None:
        self._stacks: dict[tuple[int, ...], Stack] = {}
        self._latest: dict[tuple[int, ...], Stack] = {}
        self._sites: dict[tuple[int, int], list[Stack]] = {}
        self._numbers = itertools.count(1)
        self.capture: Callable[[FrameType | None], Stack | None] = self._compile(depth)
        self.capture_short = self._compile(max(min(depth, 8), depth // 2))

    def __iter__(self) -> Iterator[Stack]:
        """Yield every stack that is kept."""
        yield from list(self._stacks.values())

    def _compile(self, depth: int) -> Callable[[FrameType | None], Stack | None]:
        if depth <= 0:
            return lambda _frame: None
        latest, levels, intern = self._latest, range(depth), self._intern
        same = operator.is_

        # A code object's hash runs over its bytecode, so the offsets are the key, and what was seen
        # last with them is tried first. The code objects are compared by identity: those of two
        # copies of a file are equal, but not the same place.
        def capture(frame: FrameType | None) -> Stack | None:
            if frame is None:
                return None
            codes = []
            offsets = []
            for _ in levels:
                if frame is None:
                    break
                codes.append(frame.f_code)
                offsets.append(frame.f_lasti)
                frame = frame.f_back
            key = tuple(offsets)
            found = latest.get(key)
            if found is not None and all(map(same, found.codes, codes)):
                return found
            return intern(key, tuple(codes))

        return capture

    def _intern(self, offsets: tuple[int, ...], codes: tuple[CodeType, ...]) -> Stack:
        """Enter a stack that was not the last one seen with its offsets."""
        # The stack keeps its code objects, hence their ids are not used again.
        key = (*offsets, *map(id, codes))
        kept = self._stacks.get(key)
        if kept is None:
            fresh = Stack(codes, offsets, next(self._numbers))
            if len(self._stacks) >= _MOST_STACKS:
                return fresh
            kept = self._stacks.setdefault(key, fresh)
            if kept is fresh:
                kept.peers = self._sites.setdefault((id(codes[0]), offsets[0]), [])
                kept.peers.append(kept)
        self._latest[offsets] = kept
        return kept
