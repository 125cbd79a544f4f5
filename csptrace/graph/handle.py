"""The graph's record of one handle, and the records that point at handles and are pointed at.

A `Handle` holds the `CallRecord`s of its life, a call record its `Scope`, and a scope or an
`Invocation`
the handles that are its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from csptrace.graph.states import LIVE, RELEASING, STATE_NAMES, value_text
from csptrace.stacks.frames import Frame, frame_at

if TYPE_CHECKING:
    from types import CodeType

    from csptrace.graph.exits import Exit
    from csptrace.graph.sites import CallSite, Thread
    from csptrace.spec.kinds import Kind
    from csptrace.stacks.stack import Stack

__all__ = ["CallRecord", "Departure", "Handle", "Invocation", "KeepingScope", "Scope"]


class CallRecord(NamedTuple):
    """One thing that happened to a handle: what, where and when.

    Attributes:
        site: the call.
        stack: where it was made; `None` at level `count`.
        thread: in which thread.
        task: the name of the asyncio task, empty outside one.
        time: monotonic nanoseconds.
        scope: the innermost scope, `None` outside any.
    """

    site: CallSite
    stack: Stack | None
    thread: Thread
    task: str
    time: int
    scope: Scope | None


class Scope:
    """A stretch of a program whose leaks are judged when it ends (`tracer.scope(name)`).

    Attributes:
        name: the name given.
        number: unique within the process.
        parent: the scope around it.
        keeper: the nearest scope around it, or itself, that keeps what is acquired in it.
        ended: whether it is over.
    """

    __slots__ = ("ended", "keeper", "name", "number", "parent")

    def __init__(self, name: str, number: int, parent: Scope | None) -> None:
        self.name = name
        self.number = number
        self.parent = parent
        self.keeper: KeepingScope | None = None if parent is None else parent.keeper
        self.ended = False

    def within(self, other: Scope) -> bool:
        """Return whether this scope is `other` or inside it."""
        scope: Scope | None = self
        while scope is not None:
            if scope is other:
                return True
            scope = scope.parent
        return False


class KeepingScope(Scope):
    """A scope that keeps the handles acquired in it, so that judging it costs no search.

    Attributes:
        kept: the handles, oldest first; dead ones are dropped now and then.
    """

    __slots__ = ("_limit", "kept")

    def __init__(self, name: str, number: int, parent: Scope | None = None) -> None:
        super().__init__(name, number, parent)
        self.keeper = self
        self.kept: list[Handle] = []
        self._limit = 256

    def keep(self, handle: Handle) -> None:
        """Remember a handle; called with the graph's lock held."""
        kept = self.kept
        kept.append(handle)
        if len(kept) > self._limit:
            kept[:] = [one for one in kept if one.state in (LIVE, RELEASING)]
            self._limit = max(256, 2 * len(kept))


class Handle:
    """The graph's record of one handle: one value in one generation.

    Attributes:
        kind: its kind.
        value: the number that the provider gave out; negative for an object without a number.
        generation: 1 for the first handle with this value, then counted up.
        hid: unique within the process.
        epoch: how many forks this process had behind it when the handle was acquired.
        parent: the handle it lives under.
        children: live handles under it, in order of acquisition; `None` while there are none.
        refs: references held.
        pending: releases that have begun and are not settled.
        state: `LIVE`, `RELEASING`, `RELEASED`, `INVALIDATED` or `UNTRACKED` (its value was handed
            out again, so its end was not seen).
        alert: whether a use has to be looked at: it is dead, or a handle it needs is gone.
        uses: how often it was used. Exact without concurrent uses; threads may lose counts.
        needs: handles it depends on without being their child.
        dependents: handles that depend on it.
        acquired: where it was acquired; `None` if it was first seen in use.
        ended: where it was released, or where its parent was.
        ended_by: the handle whose release invalidated it.
        must_release: whether somebody still owes its release: acquired here, not handed over.
        name: the object's name (key container), if any.
        last_use: the last use seen; recorded at level `full` only.
        invocation: the running function that has it now, if that is watched.
        departures: how the functions that had it were left, oldest first; `None` for none.
        found: whether a call handed it out without acquiring it; `acquired` is that call, and it
            does not count among the handles that are alive.
        doubt: a call that may have ended it, whatever the provider says when it is asked.
        flags: which of its kind's flags are set, as far as calls that set them were seen.
    """

    __slots__ = (
        "acquired",
        "alert",
        "children",
        "departures",
        "dependents",
        "doubt",
        "ended",
        "ended_by",
        "epoch",
        "flags",
        "found",
        "generation",
        "hid",
        "invocation",
        "kind",
        "last_use",
        "must_release",
        "name",
        "needs",
        "parent",
        "pending",
        "refs",
        "state",
        "uses",
        "value",
    )

    def __init__(
        self,
        kind: Kind,
        value: int,
        generation: int,
        hid: int,
        epoch: int,
        parent: Handle | None,
        needs: tuple[Handle, ...],
        acquired: CallRecord | None,
        name: str,
    ) -> None:
        self.kind = kind
        self.value = value
        self.generation = generation
        self.hid = hid
        self.epoch = epoch
        self.parent = parent
        self.children: dict[Handle, None] | None = None
        self.refs = 1
        self.pending = 0
        self.state = LIVE
        self.alert = False
        self.uses = 0
        self.needs = needs
        self.dependents: dict[Handle, None] | None = None
        self.acquired = acquired
        self.ended: CallRecord | None = None
        self.ended_by: Handle | None = None
        self.must_release = acquired is not None and kind.must_release
        self.name = name
        self.last_use: CallRecord | None = None
        self.invocation: Invocation | None = None
        self.departures: list[Departure] | None = None
        self.found = False
        self.doubt: CallRecord | None = None
        self.flags: frozenset[str] = frozenset()

    def __deepcopy__(self, _memo: object) -> Handle:
        """Return the handle itself, which may be noted on an object of the program's."""
        return self

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        """Pickle nothing: a handle stands for something in its own process only."""
        return type(None), ()

    def __repr__(self) -> str:
        """Return kind, value, generation and state."""
        return (
            f"<{self.kind.name} {value_text(self.value)} #{self.generation} "
            f"{STATE_NAMES[self.state]}>"
        )


class Invocation:
    """One run of a function that has live handles.

    Attributes:
        code: the function.
        key: the `id` of its frame, which is not used again before the frame is gone.
        handles: what was acquired in it or handed to it, in that order, some of it dead.
        limit: how long `handles` may grow before the dead are dropped.
        waiting: the offset of the `yield` or `await` at which it was last suspended, -1 if it
            never was.
    """

    __slots__ = ("code", "handles", "key", "limit", "waiting")

    def __init__(self, code: CodeType, key: int) -> None:
        self.code = code
        self.key = key
        self.handles: list[Handle] = []
        self.limit = 16
        self.waiting = -1


class Departure:
    """How one function was left while it had a live handle. It keeps no frame and no exception.

    Attributes:
        exit: how.
        invocation: the run of the function.
        code: the function.
        offset: of the instruction that left it, -1 if that is not known.
        line: where the traceback says that the exception passed; 0 if the offset tells the line.
        exception: the exception's type, empty without one.
        raised: the function that raised it, `None` if that is not known.
        raised_line: and the line there.
        caught: the caller that the exception did not leave, `None` if there is none.
        caught_offset: where that caller was.
        to: the caller that got the handle, `None` if none was seen.
        to_offset: where that caller was.
        shared: whether several handles went this way at once.
        lets_go: whether it did not have the handle, but let go of the object that stands for it.
    """

    # Most of them have nothing but the first four: the rest stands on the class until it is set.
    line = 0
    exception = ""
    raised: CodeType | None = None
    raised_line = 0
    caught: CodeType | None = None
    caught_offset = -1
    to: CodeType | None = None
    to_offset = -1
    shared = False
    lets_go = False

    def __init__(self, exit_: Exit, invocation: Invocation, offset: int) -> None:
        self.exit = exit_
        self.invocation = invocation
        self.code = invocation.code
        self.offset = offset

    @property
    def frame(self) -> Frame:
        """Where the function was left."""
        frame = frame_at(self.code, self.offset)
        return frame._replace(line=self.line) if self.line else frame
