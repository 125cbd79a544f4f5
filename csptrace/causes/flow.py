"""What can come after what in a function: its control flow, from the byte code.

There a `finally` stands once for each way into it, so that where a function stands says for which
of them it runs. Only what holds for every way that the instructions allow is taken for certain.
"""

from __future__ import annotations

import dis
import functools
from bisect import bisect_right
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import CodeType

__all__ = ["Flow", "Span", "Way", "flow_of"]

Span: TypeAlias = tuple[int, int, int, int]
"""First line and column, last line and column, as `ast` has them."""

_NOWHERE: Final[frozenset[int]] = frozenset()
_JUMPS: Final = frozenset((*dis.hasjrel, *dis.hasjabs))
_RETURNS: Final = frozenset({"RETURN_VALUE", "RETURN_CONST"})
_RAISES: Final = frozenset({"RERAISE", "RAISE_VARARGS"})
_TERMINATORS: Final = (
    _RETURNS
    | _RAISES
    | {"JUMP_FORWARD", "JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT", "JUMP_NO_INTERRUPT"}
)
_STORES: Final = frozenset(
    {"STORE_FAST", "STORE_NAME", "STORE_GLOBAL", "STORE_DEREF", "DELETE_FAST", "DELETE_NAME"}
    | {"DELETE_GLOBAL", "DELETE_DEREF", "STORE_FAST_STORE_FAST", "STORE_FAST_MAYBE_NULL"}
)
_PEACEFUL: Final = frozenset(
    # What raises nothing; anything else may.
    {"NOP", "CACHE", "EXTENDED_ARG", "NOT_TAKEN", "END_FOR", "PUSH_NULL", "POP_TOP"}
    | {"COPY", "SWAP", "LOAD_CONST", "LOAD_COMMON_CONSTANT", "LOAD_SMALL_INT"}
    | {"LOAD_FAST", "LOAD_FAST_BORROW"}
    | {"LOAD_FAST_LOAD_FAST", "LOAD_FAST_BORROW_LOAD_FAST_BORROW", "STORE_FAST", "PUSH_EXC_INFO"}
    | {"POP_EXCEPT", "JUMP_FORWARD", "JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT"}
    | {"STORE_FAST_LOAD_FAST", "STORE_FAST_STORE_FAST", "POP_ITER", "RETURN_VALUE", "RETURN_CONST"}
    | {"POP_JUMP_IF_TRUE", "POP_JUMP_IF_FALSE", "POP_JUMP_IF_NONE", "POP_JUMP_IF_NOT_NONE"}
)
_CONSTANTS: Final = frozenset({"LOAD_CONST", "LOAD_COMMON_CONSTANT"})
_LOOKUPS: Final = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "LOAD_ATTR"})
"""What raises only where a name is wrong."""


@functools.lru_cache(maxsize=64)
def flow_of(code: CodeType) -> Flow:
    """Return the control flow of a function."""
    return Flow(code)


class Flow:
    """The control flow of one function; an instruction is known by its offset in bytes.

    Args:
        code: the function's code object.

    Attributes:
        lines: offset → line.
        columns: whether the instructions know their columns, without which (`-X no_debug_ranges`)
            no expression can be found.
    """

    def __init__(self, code: CodeType) -> None:
        found: Any = dis.Bytecode(code)
        self._all = _merged(found)
        self._offsets = [each.offset for each in self._all]
        self.lines: dict[int, int | None] = {}
        self.columns = False
        self._after: dict[int, list[int]] = {}
        self._before: dict[int, list[int]] = {}
        self._caught: dict[int, list[int]] = {}
        self._covered: dict[int, list[int]] = {}
        self._raised: dict[int, list[int]] = {}
        self._thrown: set[int] = set()
        self._returned: set[int] = set()
        previous: dis.Instruction | None = None
        for each in self._all:
            at = each.offset
            positions = each.positions
            self.lines[at] = None if positions is None else positions.lineno
            self.columns |= positions is not None and positions.col_offset is not None
            if previous is not None and previous.opname not in _TERMINATORS:
                self._link(previous.offset, at)
            if each.opcode in _JUMPS and isinstance(each.argval, int):
                self._link(at, each.argval)
            if each.opname in _RAISES:
                self._thrown.add(at)
            elif each.opname in _RETURNS:
                self._returned.add(at)
            previous = each
        for entry in found.exception_entries:
            for each in self._all[self._index(entry.start) : self._index(entry.end - 1) + 1]:
                if entry.start > each.offset:
                    continue
                self._covered[each.offset] = [entry.target]
                if each.opname == "RAISE_VARARGS":
                    self._link(each.offset, entry.target)
                if each.opname not in _PEACEFUL:
                    self._caught[each.offset] = [entry.target]
                    self._raised.setdefault(entry.target, []).append(each.offset)

    def _link(self, one: int, other: int) -> None:
        self._after.setdefault(one, []).append(other)
        self._before.setdefault(other, []).append(one)

    def _index(self, offset: int) -> int:
        return max(0, bisect_right(self._offsets, offset) - 1)

    def at(self, offset: int) -> int:
        """Return the instruction that an offset belongs to."""
        return self._offsets[self._index(offset)]

    def span_at(self, offset: int) -> Span:
        """Return what an instruction stands for."""
        return _span(self._all[self._index(offset)])

    def straight_before(self, offset: int) -> list[int]:
        """Return the instructions that can come directly before one, if nothing raises."""
        return self._before.get(offset, [])

    # --- ways -----------------------------------------------------------------------------------

    def after(
        self,
        starts: Iterable[int],
        without: frozenset[int] = _NOWHERE,
        *,
        raising: bool = True,
        settled: bool = False,
    ) -> set[int]:
        """Return what can come after some instructions.

        Args:
            starts: the instructions; they are among the result only if they can come again.
            without: what no way leads through.
            raising: whether something may raise on the way, which its handler catches.
            settled: whether the instructions themselves have not raised.
        """
        caught = self._caught if raising else None
        if not settled:
            return self._walk(starts, self._after, caught, without)
        first = {each for at in starts for each in self._after.get(at, ()) if each not in without}
        return first | self._walk(first, self._after, caught, without)

    def reachable(self, start: int, without: frozenset[int] = _NOWHERE) -> set[int]:
        """Return what can come after an instruction in any case, be it that a signal raises."""
        return self._walk([start], self._after, self._covered, without)

    def before(
        self, ends: Iterable[int], without: frozenset[int] = _NOWHERE, *, raising: bool = True
    ) -> set[int]:
        """Return what can come before some instructions; the arguments are those of `after`."""
        return self._walk(ends, self._before, self._raised if raising else None, without)

    @staticmethod
    def _walk(
        starts: Iterable[int],
        steps: Mapping[int, list[int]],
        raised: Mapping[int, list[int]] | None,
        without: frozenset[int],
    ) -> set[int]:
        seen: set[int] = set()
        todo = list(starts)
        while todo:
            at = todo.pop()
            beyond = list(steps.get(at, ()))
            if raised is not None:
                beyond += raised.get(at, ())
            for each in beyond:
                if each not in seen and each not in without:
                    seen.add(each)
                    todo.append(each)
        return seen

    def handler(self, offset: int) -> int | None:
        """Return where a function goes on when an instruction raises, `None` if it is left."""
        return next(iter(self._caught.get(offset, ())), None)

    def raising(self, line: int) -> frozenset[int]:
        """Return the instructions of a line that may raise."""
        return frozenset(
            each.offset
            for each in self._all
            if self.lines[each.offset] == line and each.opname not in _PEACEFUL
        )

    def returns(self, offsets: set[int]) -> set[int]:
        """Return which instructions are those of a `return`, or of the function's end."""
        return offsets & self._returned

    def is_safe(self, offsets: set[int]) -> bool:
        """Return whether none of some instructions may raise, or leaves the function."""
        return not any(
            each.offset in offsets and each.opname not in _PEACEFUL - _RETURNS | _LOOKUPS
            for each in self._all
        )

    def throws(self, offsets: set[int]) -> set[int]:
        """Return which instructions let an exception out of the function."""
        return {at for at in offsets & self._thrown if at not in self._caught}

    # --- what stands where ----------------------------------------------------------------------

    def calls(self, span: Span) -> frozenset[int]:
        """Return the instructions that make the call which stands there."""
        return frozenset(
            each.offset
            for each in self._all
            if each.opname.startswith("CALL")
            and not self._is_begin_of_with(each.offset)
            and not self._is_end_of_with(each.offset)
            and _span(each)[2:] == span[2:]
            and _span(each)[:2] >= span[:2]
        )

    def ends_of_with(self, items: list[Span], whole: Span, index: int) -> frozenset[int]:
        """Return the instructions that end one item of a `with`.

        Args:
            items: the places of all its context expressions.
            whole: the place of the statement.
            index: which item.
        """
        calls, raised = [], []
        for each in self._all:
            # CPython 3.12 gives the ends of all items the place of the statement.
            if _span(each) in (items[index], whole):
                if each.opname == "WITH_EXCEPT_START":
                    raised.append(each)
                elif self._is_end_of_with(each.offset):
                    calls.append(each)
        return frozenset(
            each.offset
            for ends in (calls, raised)
            for number, each in enumerate(ends)
            if _span(each) == items[index] or number % len(items) == len(items) - 1 - index
        )

    def _is_begin_of_with(self, offset: int) -> bool:
        """Return whether an instruction calls an `__enter__`, as it does from CPython 3.14 on."""
        index = self._index(offset)
        return index > 0 and self._all[index - 1].opname == "LOAD_SPECIAL"

    def _is_end_of_with(self, offset: int) -> bool:
        """Return whether an instruction calls an `__exit__`: with three times `None`."""
        index = self._index(offset)
        before = self._all[max(0, index - 3) : index]
        return (
            self._all[index].opname.startswith("CALL")
            and len(before) == 3
            and all(each.opname in _CONSTANTS and each.argval is None for each in before)
            and len({_span(each) for each in (*before, self._all[index])}) == 1
        )

    def inside(self, spans: Iterable[Span]) -> frozenset[int]:
        """Return the instructions of what stands there."""
        spans = list(spans)
        return frozenset(
            each.offset
            for each in self._all
            for span in spans
            if span[:2] <= _span(each)[:2] and (0, 0) < _span(each)[2:] <= span[2:]
        )

    def stores(self, name: str) -> frozenset[int]:
        """Return the instructions that bind a variable, or an attribute `….name`, anew."""
        attribute = name.rpartition(".")[2] if "." in name else None
        return frozenset(
            each.offset
            for each in self._all
            if (
                each.argval == attribute
                if attribute is not None and each.opname in ("STORE_ATTR", "DELETE_ATTR")
                else attribute is None and name in _stored(each)
            )
        )


def _merged(instructions: Iterable[dis.Instruction]) -> list[dis.Instruction]:
    """Return instructions, each call as one: CPython 3.11 has two, either of which makes it."""
    merged: list[dis.Instruction] = []
    for each in instructions:
        if merged and merged[-1].opname == "PRECALL":
            merged[-1] = each._replace(offset=merged[-1].offset)
        else:
            merged.append(each)
    return merged


def _span(instruction: dis.Instruction) -> Span:
    positions = instruction.positions
    if positions is None or positions.end_lineno is None or positions.end_col_offset is None:
        return (0, 0, 0, 0)
    return (
        positions.lineno or 0,
        positions.col_offset or 0,
        positions.end_lineno,
        positions.end_col_offset,
    )


def _stored(instruction: dis.Instruction) -> tuple[object, ...]:
    if instruction.opname == "STORE_FAST_LOAD_FAST":
        return tuple(instruction.argval[:1])
    if instruction.opname not in _STORES:
        return ()
    argval = instruction.argval
    return argval if isinstance(argval, tuple) else (argval,)


class Way:
    """What one run of a function can have passed, and what can still come.

    Args:
        flow: the function's control flow.
        start: where the handle came into it, an offset; negative if that is not known.
        end: where it was left, or stands, an offset.
        raised: the line at which an exception was raised in it, or passed it, that has left it or
            that it handles now; -1 if there is one whose line is not known; 0 for none.
        left: whether the exception has left it.
        once: whether it has come to the start only once.
        settled: whether what stands at the start has not raised.
    """

    def __init__(
        self,
        flow: Flow,
        start: int,
        end: int,
        *,
        raised: int = 0,
        left: bool = False,
        once: bool = False,
        settled: bool = False,
    ) -> None:
        self._flow = flow
        self._settled = settled
        self._start = flow.at(max(start, 0))
        self._end = flow.at(end)
        self._left = left
        self._once = frozenset({self._start} if once else ())
        self._raised = _NOWHERE
        if raised:
            here = raised < 0 or flow.lines.get(self._end) == raised
            self._raised = frozenset({self._end}) if left and here else flow.raising(raised)
        self._known: dict[frozenset[int], frozenset[int]] = {}

    @property
    def start(self) -> int:
        """The instruction with which the handle came."""
        return self._start

    @property
    def end(self) -> int:
        """The instruction that left the function, or at which it stands."""
        return self._end

    def passed(self, without: frozenset[int] = _NOWHERE) -> frozenset[int]:
        """Return the instructions of all ways from the start to the end.

        Args:
            without: what no way leads through.

        Returns:
            The instructions, start and end among them; empty if there is no such way.
        """
        if without not in self._known:
            self._known[without] = self._passed(without)
        return self._known[without]

    def _passed(self, without: frozenset[int]) -> frozenset[int]:
        if not self._raised:
            return self._between(self._start, {self._end}, without)
        # First to what has raised, then over its handler to the end.
        raised = self._between(self._start, set(self._raised - without), without)
        behind: set[int] = set()
        for handler in {self._flow.handler(at) for at in self._raised & raised}:
            if handler is None and self._left:
                return raised
            # A handler on the same line (that of an `await`) raises again itself.
            if handler is None or handler in without or handler in self._raised:
                continue
            ends = {self._end}
            if self._left and not self._flow.throws(ends):  # left by way of clean-ups
                ends = self._flow.throws({handler} | self._flow.after([handler]))
            behind |= self._between(handler, ends, without)
        return raised | behind if behind else _NOWHERE

    def _between(self, start: int, ends: set[int], without: frozenset[int]) -> frozenset[int]:
        without |= self._once
        settled = self._settled and start == self._start
        forward = self._flow.after([start], without, settled=settled) | {start}
        reached = ends & forward
        if not reached:
            return _NOWHERE
        backward = self._flow.before(reached, without) | reached
        return frozenset(forward & (backward | (self._once & {start})))

    def round(self, without: frozenset[int] = _NOWHERE) -> frozenset[int]:
        """Return the instructions of all ways that lead back to the start, like `passed`."""
        without |= {self._start}
        forward = self._flow.after([self._start], without)
        between = forward & self._flow.before([self._start], without)
        return frozenset(between | {self._start}) if between else _NOWHERE

    def ahead(self, without: frozenset[int] = _NOWHERE, *, raising: bool = False) -> set[int]:
        """Return what can still come; the arguments are those of `Flow.after`."""
        return self._flow.after([self._end], without, raising=raising)

    def can_return(self) -> bool:
        """Return whether the function can come to its end, if nothing raises."""
        return bool(self._flow.returns(self.ahead()))

    def must_come(self, offsets: frozenset[int], own: frozenset[int]) -> bool:
        """Return whether the function comes to one of these next, and to nothing that may raise.

        Args:
            offsets: these.
            own: what belongs to the same statements, and may come before.
        """
        return self._flow.is_safe(self.ahead(offsets) - own)

    def first(self, places: list[frozenset[int]], without: frozenset[int]) -> list[bool]:
        """Return which of some places can come before any of the others.

        Args:
            places: the places.
            without: what no way leads through.
        """
        return [
            bool(each & self.ahead(without | frozenset().union(*places) - each)) for each in places
        ]
