"""The values that pass between the stages.

Most are frozen. Three are mutable on purpose and belong to one stage each: `Handle` (the graph's
record of one handle, mutated under its lock only), `Stack` (its text is computed on first
reading, its counters by the graph) and `Scope`.
"""

from __future__ import annotations

import dataclasses
import enum
import os
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType

    from csptrace.specs.vocabulary import Kind

__all__ = [
    "COLLECTION",
    "INVALIDATED",
    "LIVE",
    "RELEASED",
    "RELEASING",
    "STATE_NAMES",
    "VANISHED",
    "Acquired",
    "CallSite",
    "Cause",
    "Change",
    "Code",
    "Collected",
    "Departure",
    "Ended",
    "Exit",
    "Fate",
    "Finding",
    "Frame",
    "HandedOver",
    "Handle",
    "HandleRef",
    "KeepingScope",
    "Misused",
    "Moment",
    "Pattern",
    "RefChanged",
    "Refused",
    "Scope",
    "Severity",
    "Siblings",
    "Skipped",
    "Stack",
    "Stay",
    "Thread",
    "UnloadableSite",
    "Vanished",
]


# --- where and when ---------------------------------------------------------------------------


class Frame(NamedTuple):
    """One line of a stack.

    Attributes:
        filename: as the code object has it.
        line: line number, 0 if unknown.
        qualname: the function's qualified name.
        module: dotted module name derived from the file's place among packages, so that it is
            equal on every machine and for `app.py` as for `python -m app`.
    """

    filename: str
    line: int
    qualname: str
    module: str


_MOST_RELEASE_PLACES: Final = 7


class Stack:
    """A call stack, captured as code objects and instruction offsets, one object for each.

    Attributes:
        codes: code objects, innermost first.
        offsets: the instruction offset (`f_lasti`, bytes) in each.
        number: a small integer, unique within the process; the `stack` id of events.
        acquired: how many handles were acquired here.
        released: how many of those were released by the program.
        released_at: the first place where one of them was released.
        released_there: how many were released there.
        releases: the other places: release stack → count; `None` while there are none. Bounded.
        logged: whether the log holds this stack already.
        peers: every stack with the same innermost frame, this one included.
        owner: which frame is watched for its end: the innermost of the user's own code; -1 if that
            is not known yet.
        leaked: how the function was left by the leaks from here: exit → count. Bounded.
    """

    __slots__ = (
        "_frames",
        "acquired",
        "codes",
        "leaked",
        "logged",
        "number",
        "offsets",
        "owner",
        "peers",
        "released",
        "released_at",
        "released_there",
        "releases",
    )

    def __init__(self, codes: tuple[CodeType, ...], offsets: tuple[int, ...], number: int) -> None:
        self.codes = codes
        self.offsets = offsets
        self.number = number
        self.acquired = 0
        self.released = 0
        self.released_at: Stack | None = None
        self.released_there = 0
        self.releases: dict[Stack, int] | None = None
        self.logged = False
        self.peers: list[Stack] = []
        self.owner = -1
        self.leaked: dict[object, int] | None = None
        self._frames: tuple[Frame, ...] | None = None

    def count_release(self, at: Stack) -> None:
        """Count the release of a handle that was acquired here; called with the graph's lock held.

        Args:
            at: where it was released.
        """
        self.released += 1
        if self.released_at is at:
            self.released_there += 1
        elif self.released_at is None:  # most places have only one: it costs no dictionary
            self.released_at = at
            self.released_there = 1
        else:
            if self.releases is None:
                self.releases = {}
            if at in self.releases or len(self.releases) < _MOST_RELEASE_PLACES:
                self.releases[at] = self.releases.get(at, 0) + 1

    def release_places(self) -> list[tuple[Stack, int]]:
        """Return where handles that were acquired here were released, and how many each time."""
        if self.released_at is None:
            return []
        others = [] if self.releases is None else list(self.releases.items())
        return [(self.released_at, self.released_there), *others]

    @property
    def frames(self) -> tuple[Frame, ...]:
        """The stack as text, innermost first; computed on first reading."""
        if self._frames is None:
            self._frames = tuple(map(frame_at, self.codes, self.offsets))
        return self._frames


def frame_at(code: CodeType, offset: int) -> Frame:
    """Return the place of one instruction.

    Args:
        code: the code object.
        offset: of the instruction in it, in bytes.

    Returns:
        The place; the function's first line if that of the instruction is not known.
    """
    line = 0
    for start, end, at in code.co_lines():
        if start <= offset < end and at is not None:
            line = at
            break
    filename = code.co_filename
    return Frame(filename, line or code.co_firstlineno, code.co_qualname, module_name(filename))


_module_names: dict[str, str] = {}


def module_name(filename: str) -> str:
    """Return the dotted module name of a source file, from the packages it lies in.

    The name does not depend on `sys.path` or on how the program was started, so a fingerprint is
    equal across machines.

    Args:
        filename: a code object's `co_filename`.

    Returns:
        `"pkg.sub.mod"`; the stem for a file outside any package; the name itself, without digits,
        for code that has no file (`<stdin>`).
    """
    known = _module_names.get(filename)
    if known is not None:
        return known
    if filename.startswith("<"):
        name = "".join(c for c in filename.split("-", 1)[0] if not c.isdigit())
        name = name if name.endswith(">") else name + ">"
    else:
        path, _ = os.path.splitext(filename.replace("\\", "/"))
        folder, _, stem = path.rpartition("/")
        parts = [] if stem == "__init__" else [stem]
        while folder and os.path.exists(f"{folder}/__init__.py"):
            folder, _, package = folder.rpartition("/")
            parts.append(package)
        name = ".".join(reversed(parts)) or stem
    _module_names[filename] = name
    return name


COLLECTION: Final = "garbage collection"
"""What stands for the call where an object was collected."""


class CallSite(NamedTuple):
    """Which function of which API was called through which binding."""

    call: str
    api: str
    binding: str


class UnloadableSite(CallSite):
    """A call into code that may be gone, so that it crashes the process.

    Attributes:
        is_gone: tells whether it is.
    """

    is_gone: Callable[[], bool]


class Thread(NamedTuple):
    """A thread, as identifier and name."""

    ident: int
    name: str


class Moment(NamedTuple):
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


# --- handles ----------------------------------------------------------------------------------

LIVE: Final = 0
RELEASING: Final = 1
RELEASED: Final = 2
INVALIDATED: Final = 3
VANISHED: Final = 4
STATE_NAMES: Final = ("live", "releasing", "released", "invalidated", "vanished")


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
        state: `LIVE`, `RELEASING`, `RELEASED`, `INVALIDATED` or `VANISHED` (its value was handed
            out again, so its end was not seen).
        alert: whether a use has to be looked at: it is dead, or a handle it needs is gone.
        uses: how often it was used. Exact without concurrent uses; threads may lose counts.
        needs: handles it depends on without being their child.
        dependents: handles that depend on it.
        acquired: where it was acquired; `None` if it was first seen in use.
        ended: where it was released, or where its parent was.
        ended_by: the handle whose release invalidated it.
        duty: whether somebody still owes its release: acquired here, not handed over.
        name: the object's name (key container), if any.
        last_use: the last use seen; recorded at level `full` only.
        stay: the running function that has it now, if that is watched.
        departures: how the functions that had it were left, oldest first; `None` for none.
        found: whether a call handed it out without a duty; `acquired` is that call, and it counts
            for none of the handles that are alive.
        doubt: a call that may have ended it, whatever the provider says when it is asked.
    """

    __slots__ = (
        "acquired",
        "alert",
        "children",
        "departures",
        "dependents",
        "doubt",
        "duty",
        "ended",
        "ended_by",
        "epoch",
        "found",
        "generation",
        "hid",
        "kind",
        "last_use",
        "name",
        "needs",
        "parent",
        "pending",
        "refs",
        "state",
        "stay",
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
        acquired: Moment | None,
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
        self.ended: Moment | None = None
        self.ended_by: Handle | None = None
        self.duty = acquired is not None and kind.must_release
        self.name = name
        self.last_use: Moment | None = None
        self.stay: Stay | None = None
        self.departures: list[Departure] | None = None
        self.found = False
        self.doubt: Moment | None = None

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


def value_text(value: int) -> str:
    """Return a handle's value as people write it: `0x00a01040`, or `object 0x…`."""
    return f"0x{value:08x}" if value >= 0 else f"object 0x{~value:x}"


# --- how functions are left ---------------------------------------------------------------------


class Exit(enum.StrEnum):
    """How a function that had a live handle was left."""

    RUNNING = "running"
    """Not at all: it was still running."""
    RETURNED = "returned"
    """It returned something else."""
    HANDED_ON = "handed-on"
    """It returned the handle, or an object that holds it."""
    YIELDED = "yielded"
    """It yielded the handle, or an object that holds it."""
    RAISED = "raised"
    """By an exception, or one is on its way through it."""
    SUSPENDED = "suspended"
    """It waits at a `yield` or `await` and was not resumed."""
    CLOSED = "closed"
    """It was a generator or coroutine that was closed, or dropped, before its end."""
    CANCELLED = "cancelled"
    """It was a coroutine whose task was cancelled."""


class Stay:
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
        stay: the run of the function.
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

    def __init__(self, exit_: Exit, stay: Stay, offset: int) -> None:
        self.exit = exit_
        self.stay = stay
        self.code = stay.code
        self.offset = offset

    @property
    def frame(self) -> Frame:
        """Where the function was left."""
        frame = frame_at(self.code, self.offset)
        return frame._replace(line=self.line) if self.line else frame


# --- changes: what the graph says after a transition ------------------------------------------


class Fate(enum.Enum):
    """What is known of a release after its call."""

    RELEASED = "released"
    """The provider has taken the reference away."""
    REFUSED = "refused"
    """The provider has refused, and the reference stands."""
    NOT_MADE = "not made"
    """The native call was never made."""
    UNKNOWN = "unknown"
    """An exception from outside arrived while the call was under way."""


class Acquired(NamedTuple):
    """A handle was acquired."""

    handle: Handle
    moment: Moment


class RefChanged(NamedTuple):
    """A reference was added or taken away, and the handle lives on."""

    handle: Handle
    moment: Moment
    added: bool = False


class HandedOver(NamedTuple):
    """The provider took over the release of the handle."""

    handle: Handle
    moment: Moment


class Ended(NamedTuple):
    """The last reference was released.

    Attributes:
        handle: the released handle.
        moment: the release.
        invalidated: the handles that it made invalid, parents before their children.
    """

    handle: Handle
    moment: Moment
    invalidated: tuple[Handle, ...]


class Refused(NamedTuple):
    """The provider refused a release, and the handle lives on."""

    handle: Handle
    moment: Moment


class Vanished(NamedTuple):
    """A value was handed out again although its last handle was not seen to end."""

    handle: Handle
    moment: Moment


class Collected(NamedTuple):
    """The last Python reference to an unreleased handle object went away.

    Attributes:
        handle: the handle.
        moment: when it was noticed.
        released: whether the object's destructor releases the handle.
        owed: whether somebody still had to release it.
    """

    handle: Handle
    moment: Moment
    released: bool
    owed: bool


class Misused(NamedTuple):
    """A call was about to be made with a handle that must not be used so.

    Attributes:
        handle: the handle.
        moment: the misuse.
        code: the finding code.
        culprit: the handle whose end made the use wrong (the parent, the dependency), if any.
        reused_by: the live handle that has the same value now, if any.
        meanwhile: the call that another thread is inside of, if that is what makes it wrong.
    """

    handle: Handle
    moment: Moment
    code: Code
    culprit: Handle | None
    reused_by: Handle | None
    meanwhile: Moment | None = None


Change: TypeAlias = (
    Acquired | RefChanged | HandedOver | Ended | Refused | Vanished | Collected | Misused
)


# --- findings ---------------------------------------------------------------------------------


class Code(enum.StrEnum):
    """What is wrong. The values are what events, baselines and markers use."""

    LEAKED_AT_RELEASE = "leaked-at-release"
    LEAKED_AT_EXIT = "leaked-at-exit"
    LOST = "lost"
    USE_AFTER_RELEASE = "use-after-release"
    USE_AFTER_INVALIDATION = "use-after-invalidation"
    DOUBLE_RELEASE = "double-release"
    WRONG_RELEASE = "wrong-release"
    OUT_OF_ORDER_RELEASE = "out-of-order-release"
    STALE_DEPENDENCY = "stale-dependency"
    FAILED_RELEASE = "failed-release"
    HELD_TOO_LONG = "held-too-long"
    RELEASE_WHILE_IN_USE = "release-while-in-use"

    @property
    def is_leak(self) -> bool:
        """Whether it says that something was not released (`on_leak`)."""
        return self in _LEAKS

    @property
    def is_misuse(self) -> bool:
        """Whether it says that a call was wrong (`on_misuse`)."""
        return self not in _LEAKS and self not in (Code.FAILED_RELEASE, Code.HELD_TOO_LONG)


_LEAKS: Final = frozenset({Code.LEAKED_AT_RELEASE, Code.LEAKED_AT_EXIT, Code.LOST})


class Severity(enum.StrEnum):
    """How bad a finding is."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class HandleRef(NamedTuple):
    """A handle as a finding quotes it: no link into the graph, so that nothing is kept alive."""

    kind: str
    title: str
    value: int
    generation: int
    hid: int
    name: str
    acquired: Moment | None


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
    """

    code: Code
    severity: Severity
    api: str
    handle: HandleRef
    parents: tuple[HandleRef, ...]
    children: tuple[tuple[str, int], ...]
    acquired: Moment | None
    ended: Moment | None
    misused: Moment | None
    culprit: HandleRef | None
    reused_by: HandleRef | None
    scope: str
    age: int
    uses: int
    siblings: Siblings | None
    inherited: bool
    last_use: Moment | None
    remedy: str
    fingerprint: str
    time: int
    cause: Cause | None = None
    harm: str = ""
    times: int = 1
    found: bool = False

    @property
    def moment(self) -> Moment | None:
        """The moment that the finding is about: the misuse, else the end, else the acquisition."""
        return self.misused or self.ended or self.acquired
