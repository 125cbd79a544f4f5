"""Capturing call stacks cheaply: code objects and instruction offsets now, text when it is read.

Measured on CPython 3.11 to 3.13 for 16 frames: 2 µs for this, against 22 to 30 µs for
`traceback.extract_stack(limit=16)`.
"""

from __future__ import annotations

import itertools
import operator
from typing import TYPE_CHECKING, Final

from csptrace.stacks.frames import module_name
from csptrace.stacks.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import CodeType, FrameType

__all__ = ["StackTable"]

_MOST_STACKS: Final = 65_536
_filename = operator.attrgetter("co_filename")


class StackTable:
    """Keeps one `Stack` object for each distinct call stack.

    Args:
        depth: how many frames are captured, innermost first; 0 captures none.
        is_launcher: tells by file name whether code starts programs or tests: a stack ends before
            its first frame, unless that is the innermost one.
        is_library: tells by file name whether code is installed, hence not the program's own.

    Attributes:
        capture: `capture(frame)` returns the stack that starts at `frame`.
        capture_short: the same with half as many frames, but eight at least; for releases, which
            are only shown beside the stack of something that went wrong.
    """

    def __init__(
        self,
        depth: int,
        is_launcher: Callable[[str], bool] = lambda _filename: False,
        is_library: Callable[[str], bool] = lambda _filename: False,
    ) -> None:
        self._is_launcher = is_launcher
        self._is_library = is_library
        self._ends: set[str] = set()
        self._others: set[str] = set()
        self._stacks: dict[tuple[int, ...], Stack] = {}
        self._latest: dict[tuple[int, ...], Stack] = {}
        self._sites: dict[tuple[int, int], list[Stack]] = {}
        self._numbers = itertools.count(1)
        self.capture: Callable[[FrameType | None], Stack | None] = self._compile(depth)
        self.capture_short = self._compile(max(min(depth, 8), depth // 2))

    def __iter__(self) -> Iterator[Stack]:
        """Yield every stack that is kept."""
        yield from list(self._stacks.values())

    def ask_again(self) -> None:
        """Ask anew which code starts programs: there are more launchers than before."""
        self._others = set()

    def clear(self) -> None:
        """Let go of every stack; what still refers to one keeps it."""
        self._stacks.clear()
        self._latest.clear()
        for peers in self._sites.values():
            peers.clear()  # each of them is its own peer: leave no cycles to the collector
        self._sites.clear()

    def _compile(self, depth: int) -> Callable[[FrameType | None], Stack | None]:
        if depth <= 0:
            return lambda _frame: None
        latest, levels, intern = self._latest, range(depth - 1), self._intern
        same, ends = operator.is_, self._ends

        # A code object's hash runs over its bytecode, so the offsets are the key, and what was seen
        # last with them is tried first. The code objects are compared by identity: those of two
        # copies of a file are equal, but not the same place.
        def capture(frame: FrameType | None) -> Stack | None:
            if frame is None:
                return None
            innermost = frame
            codes = [frame.f_code]
            offsets = [frame.f_lasti]
            frame = frame.f_back
            for _ in levels:
                if frame is None:
                    break
                code = frame.f_code
                if code.co_filename in ends:
                    break
                codes.append(code)
                offsets.append(frame.f_lasti)
                frame = frame.f_back
            key = tuple(offsets)
            found = latest.get(key)
            if found is not None and all(map(same, found.codes, codes)):
                return found
            return intern(key, tuple(codes), innermost)

        return capture

    def _intern(
        self,
        offsets: tuple[int, ...],
        codes: tuple[CodeType, ...],
        frame: FrameType | None = None,
    ) -> Stack:
        """Enter a stack that was not the last one seen with its offsets."""
        seen = offsets
        others = self._others  # another thread may make it a new one
        if not others.issuperset(map(_filename, codes[1:])):
            for index in range(1, len(codes)):
                filename = codes[index].co_filename
                if self._is_launcher(filename):
                    self._ends.add(filename)  # the next time the capture ends there
                    codes, offsets = codes[:index], offsets[:index]
                    break
                others.add(filename)
                if filename[:1] not in "</\\":
                    module_name(filename)  # a relative one, before the program goes elsewhere
        most = self._program(codes, frame)
        codes, offsets = codes[:most], offsets[:most]
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
        self._latest[seen] = kept
        return kept

    def _program(self, codes: tuple[CodeType, ...], frame: FrameType | None) -> int:
        """Return how many frames there are up to where the program begins: a file as `__main__`.

        What is further out has started it: a debugger, a profiler, `runpy`, somebody's launcher. A
        program that runs text or files in its own namespace goes on outside of these.
        """
        most, space = len(codes), None
        for index, code in enumerate(codes):
            if frame is None:
                break
            if code.co_name == "<module>":
                own = frame.f_globals
                name = dict.get(own, "__name__") if space is None else None
                begins = own is space or (type(name) is str and name == "__main__")
                filename = code.co_filename
                if begins and filename[:1] != "<" and not self._is_library(filename):
                    most, space = index + 1, own
            frame = frame.f_back
        return most
