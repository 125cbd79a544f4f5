"""What the interceptor asks of others, and what it promises them.

`Monitor` is what it reports to, `Handles` how a binding finds handles in arguments, `LastError`
what the bookkeeping around a call must leave as it was. `Sheltered` keeps a bug of the tracer from
the program.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

from csptrace.errors import CspTraceWarning, ReactionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import FrameType

    from csptrace.graph.changes import ReleaseOutcome
    from csptrace.graph.handle import Handle
    from csptrace.graph.sites import CallSite
    from csptrace.spec.kinds import Kind
    from csptrace.spec.queries import Query

__all__ = [
    "DELIBERATE",
    "THE_LIBRARY",
    "Arguments",
    "Begin",
    "Enter",
    "Finder",
    "Guard",
    "Guards",
    "Handles",
    "Keywords",
    "LastError",
    "Monitor",
    "Outcome",
    "Settle",
    "Sheltered",
    "Swept",
    "is_deliberate",
    "note_bug",
]

Arguments: TypeAlias = tuple[Any, ...]
Keywords: TypeAlias = dict[str, Any]
Finder: TypeAlias = "Callable[[Any], Handle | None]"
Enter: TypeAlias = (
    "Callable[[int, Handle | None, tuple[Handle, ...], str, FrameType | None], Handle]"
)
Begin: TypeAlias = "Callable[[int, Handle | None, FrameType | None, list[Handle]], None]"
Settle: TypeAlias = "Callable[[Handle, FrameType | None, ReleaseOutcome], ReactionError | None]"
Guards: TypeAlias = "tuple[tuple[Callable[[int], Handle | None], int], ...]"
"""What a call depends on without naming it: look-up and value, the way in first, then the library.
A handle that is not known must come from the library, so it is dead when the library is."""

THE_LIBRARY = 1
"""The value of the one library of a realm."""

DELIBERATE = (ReactionError, CspTraceWarning)
"""What a tracer raises on purpose; anything else that comes out of it is its own bug."""


def is_deliberate(error: Any) -> bool:
    """Tell pytest to leave the tracer's frames out of the traceback of a misuse."""
    return isinstance(error.value, DELIBERATE)


class Guard(Protocol):
    """What is told of the tracer's own bugs."""

    def broken(self, site: CallSite, error: BaseException) -> None:
        """Note a bug of the tracer itself; the program goes on."""


class Monitor(Guard, Protocol):
    """What the interceptor reports to; implemented by the recorder.

    The methods that take a `frame` may raise one of `DELIBERATE`, and nothing else. The frame is
    the program's call, `None` if no Python code made it (`atexit`, a thread's own function).
    """

    active: bool
    touches: bool
    """Whether every use has to be recorded with its stack (level `full`)."""
    called: bool
    """Whether a traced call was made; every compiled function sets it."""

    def table(self, kind: Kind) -> dict[int, Handle]:
        """Return the live dictionary value → handle of a kind."""

    def misused(self, handle: Handle, site: CallSite, frame: FrameType | None) -> None:
        """Judge the use of a handle whose `alert` is set."""

    def touched(self, handle: Handle, site: CallSite, frame: FrameType | None) -> None:
        """Record a use."""

    def acquirer(self, kind: Kind, site: CallSite) -> Enter:
        """Return a function `(value, parent, needs, name, frame)` that enters a new handle."""

    def releaser(
        self, kind: Kind, site: CallSite, *, detaches: bool = False
    ) -> tuple[Begin, Settle]:
        """Return `begin(value, handle, frame, marks)` and `settle(handle, frame, outcome)`.

        The first judges a release, marks the handle and puts it into `marks`, but not if the
        release is wrong and is made all the same. The second confirms or rolls back, and returns
        the error to raise, if leaks raise. A call that `detaches` ends the handle only.
        """

    def flagged(self, handle: Handle, name: str, *, value: bool) -> None:
        """Note that a call has set a flag of a handle, or cleared it."""

    def unseen(self, handed_out: Iterable[Kind], released: Iterable[Kind] = ()) -> None:
        """Note which kinds of handles may be handed out or released without being seen."""

    def forget(self, kind: Kind, value: int | None) -> None:
        """Forget the dead or dying handle whose value may have been handed out again, unseen."""

    def borrowed(self, kind: Kind, value: int) -> Handle:
        """Return the handle with a value, entered as not to be released if unknown."""

    def found(
        self,
        kind: Kind,
        values: Iterable[int],
        beside: Handle | None,
        site: CallSite,
        frame: FrameType | None,
        under: Handle | None = None,
    ) -> list[Handle]:
        """Return the handles that a call has handed out and need not be released."""

    def ref_added(self, handle: Handle, site: CallSite, frame: FrameType | None) -> None:
        """Count one more reference."""

    def handed_over(
        self, handle: Handle, site: CallSite, frame: FrameType | None, owner: Handle | None = None
    ) -> None:
        """Note that the provider releases the handle from now on, with its new owner if known."""

    def completed(self, handle: Handle, site: CallSite, frame: FrameType | None) -> None:
        """Note that what a call had begun is complete."""

    def begin_sweep(
        self,
        kind: Kind,
        parent: Handle | None,
        site: CallSite,
        frame: FrameType | None,
        *,
        below: bool = False,
        asking: Query | None = None,
    ) -> Swept:
        """Mark every live handle of a kind; return those to be settled."""

    def settle_sweep(
        self, swept: Swept, site: CallSite, frame: FrameType | None, *, released: bool
    ) -> ReactionError | None:
        """Confirm or roll back the end of many handles; return the error to raise, if any."""


class Swept(NamedTuple):
    """What a call ends if it succeeds.

    Attributes:
        handles: what is certain, marked.
        doubtful: what the provider has not been asked about.
    """

    handles: list[Handle]
    doubtful: list[Handle]


class Sheltered:
    """Keeps a bug of the tracer from the program whose call, import or object led to it.

    For `with`: what is raised in the block is reported and goes no further, unless
    it is raised on purpose, is not the tracer's, or is no `Exception` (Ctrl-C).

    Args:
        guard: is told.
        site: what was done, as a complaint names it.
    """

    __slots__ = ("_guard", "_site")

    def __init__(self, guard: Guard, site: CallSite) -> None:
        self._guard = guard
        self._site = site

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(
        self, cls: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> bool:
        """Report what was raised; return whether it goes no further."""
        if not isinstance(error, Exception) or isinstance(error, DELIBERATE):
            return False
        note_bug(self._guard, self._site, error)
        return True


def note_bug(guard: Guard, site: CallSite, error: Exception) -> None:
    """Tell of a bug of the tracer, unless there is no room to.

    Args:
        guard: is told.
        site: what was done, as a complaint names it.
        error: what was raised.
    """
    if not isinstance(error, RecursionError):  # there is no room for a complaint
        guard.broken(site, error)


class LastError(Protocol):
    """Saves and restores the thread's last error around bookkeeping."""

    def save(self) -> int:
        """Return the thread's last error."""

    def restore(self, code: int) -> None:
        """Set it again."""


class Outcome(NamedTuple):
    """What the native function returned before a program's own `errcheck` made something of it."""

    result: Any


class Handles(Protocol):
    """How a binding finds the handle in an argument, and its value if it is unknown."""

    def finder(self, kind: Kind) -> Finder:
        """Return a function argument → handle, `None` for an unknown or null one."""

    def value(self, kind: Kind, argument: Any) -> int | None:
        """Return the value under which an unknown handle is entered, `None` for a null one."""

    def adopt(self, result: Any, handle: Handle, args: Arguments) -> Any:
        """Return what the program gets in place of a handle that a call returned."""
