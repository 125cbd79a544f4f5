"""A finding: one thing that is wrong, with everything a person needs to mend it."""

from __future__ import annotations

import dataclasses
import enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from csptrace.findings.catalogue import Code, Severity
    from csptrace.graph.exits import Exit
    from csptrace.graph.handle import Scope
    from csptrace.graph.sites import CallSite, Thread
    from csptrace.stacks.frames import Frame
    from csptrace.stacks.resolved import ResolvedStack

__all__ = [
    "Cause",
    "Finding",
    "HandleRef",
    "Occurrence",
    "Pattern",
    "Siblings",
    "Skipped",
]


class Occurrence(NamedTuple):
    """One thing that happened to a handle, as findings have it: what, where and when.

    Attributes:
        site: the call.
        stack: where it was made; `None` at level `count`.
        thread: in which thread.
        task: the name of the asyncio task, empty outside one.
        time: monotonic nanoseconds.
        scope: the innermost scope, `None` outside any.
    """

    site: CallSite
    stack: ResolvedStack | None
    thread: Thread
    task: str
    time: int
    scope: Scope | None


class HandleRef(NamedTuple):
    """A handle as a finding quotes it: no link into the graph, so that nothing is kept alive."""

    kind: str
    title: str
    value: int
    generation: int
    hid: int
    name: str
    acquired: Occurrence | None


class Siblings(NamedTuple):
    """What became of the other handles that were acquired at the same place.

    Attributes:
        acquired: how many were acquired there, this one included.
        released: how many of them the program released.
        where: the frame that released most of them.
        where_count: how many that frame released.
        alike: how many leaked in the way that this one did, 0 if that is not known.
    """

    acquired: int
    released: int
    where: Frame | None
    where_count: int
    alike: int = 0


class Pattern(enum.StrEnum):
    """Why the release was missed."""

    EXCEPTION = "exception"
    """An exception, a close or a cancellation passed the release by."""
    EARLY_RETURN = "early-return"
    """The function returned before it."""
    BRANCH = "branch"
    """The release stands on another path of the function."""
    ORDER = "order"
    """The release stands behind that of the parent."""
    NEVER_RELEASED = "never-released"
    """No path of the function releases it."""
    OVERWRITTEN = "overwritten"
    """The variable was bound to a second handle while the first lived."""
    LOOP = "loop"
    """Each round of a loop binds the variable anew."""
    STORED = "stored"
    """It was stored in something that outlives the function, and nobody released it there."""
    DISCARDED = "discarded"
    """The call's result was thrown away."""
    HANDED_ON = "handed-on"
    """It was handed to the caller, and what became of it there was not seen."""
    SUSPENDED = "suspended"
    """The generator or coroutine that has it was not resumed."""


class Skipped(NamedTuple):
    """A release that stands in the source and was not reached: the call and its place."""

    call: str
    frame: Frame


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Why a handle was not released.

    Attributes:
        exit: how the function that should have released it was left.
        pattern: why the release was missed.
        function: that function's qualified name.
        at: where it was left; where it stood, if it was not.
        exception: the exception's type, empty without one.
        raised: where it was raised.
        caught: where a caller caught it, `None` if that is not known or nobody did.
        moves: the functions that handed it on before, from the one that acquired it.
        skipped: the releases that this path missed.
        words: all of it in words.
        remedy: what to do about it, in words.
    """

    exit: Exit
    pattern: Pattern
    function: str
    at: Frame
    exception: str
    raised: Frame | None
    caught: Frame | None
    moves: tuple[Frame, ...]
    skipped: tuple[Skipped, ...]
    words: str
    remedy: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong, with everything a person needs to mend it.

    Attributes:
        code: what is wrong.
        severity: how bad it is.
        api: the spec's name.
        handle: the handle it is about.
        parents: the handle's parents, nearest first.
        children: live handles under it at that time, as kind → count.
        acquired: where it was acquired.
        ended: where it was released, or where the handle in `culprit` was.
        misused: the call that was wrong or refused.
        culprit: the handle whose end made this one useless.
        reused_by: the live handle that has the same value now.
        scope: the scope that has ended, or the innermost one in which a leaked handle was acquired
            or another one misused.
        age: nanoseconds from acquisition to the finding, -1 if unknown.
        uses: how often the handle was used.
        siblings: what became of the others from the same place.
        inherited: whether the handle was acquired by the parent process before a fork.
        last_use: the last use, at level `full`; the call of another thread that is under way, for
            `release-while-in-use`.
        remedy: what to do about it.
        fingerprint: equal for the same bug across machines and runs.
        time: wall-clock nanoseconds since the epoch.
        cause: why it was not released, where that is known.
        harm: what such a leak costs; empty for a finding that is no leak.
        times: how many handles it stands for, this one included: more than one for leaks of
            which very many were found at once. The others are alike: of the same kind, from the
            same place, left in the same way.
        found: whether the handle was only found: `acquired` is where, and nobody owes its release.
        implied: whether the parent's release has destroyed it, as the API says that it does.
    """

    code: Code
    severity: Severity
    api: str
    handle: HandleRef
    parents: tuple[HandleRef, ...]
    children: tuple[tuple[str, int], ...]
    acquired: Occurrence | None
    ended: Occurrence | None
    misused: Occurrence | None
    culprit: HandleRef | None
    reused_by: HandleRef | None
    scope: str
    age: int
    uses: int
    siblings: Siblings | None
    inherited: bool
    last_use: Occurrence | None
    remedy: str
    fingerprint: str
    time: int
    cause: Cause | None = None
    harm: str = ""
    times: int = 1
    found: bool = False
    implied: bool = False

    @property
    def call_record(self) -> Occurrence | None:
        """What the finding is about: the misuse, else the end, else the acquisition."""
        return self.misused or self.ended or self.acquired

    @property
    def about(self) -> Occurrence | None:
        """Whose place is blamed: the misuse or the refusal, else the acquisition."""
        return self.misused or self.acquired

    @property
    def stacks(self) -> tuple[ResolvedStack, ...]:
        """Every stack that it has, in the order of time."""
        call_records = (self.acquired, self.ended, self.misused, self.last_use)
        stacks = (call_record.stack for call_record in call_records if call_record is not None)
        return tuple(stack for stack in stacks if stack is not None)
