"""What became of a handle in one function that had it: what was observed, read with the source.

A `Stage` joins the two: the departure that was seen, and the places of the source that release
what the handle is bound to. Of each such place it says whether this run of the function reached
it, as far as that is certain from the control flow.
"""

from __future__ import annotations

import ast
import enum
from functools import cached_property
from typing import TYPE_CHECKING, Final

from csptrace.causes.flow import Way
from csptrace.causes.releases import Form, Tie, releases_in, stores_of
from csptrace.causes.source import Target, callers_of, function_of, is_cast, plain, span
from csptrace.graph.exits import Exit
from csptrace.stacks.frames import frame_at

if TYPE_CHECKING:
    from types import CodeType

    from csptrace.causes.release_names import Names
    from csptrace.causes.releases import Release
    from csptrace.causes.source import Function
    from csptrace.graph.handle import CallRecord, Departure
    from csptrace.stacks.ownership import Ownership

__all__ = ["BY_EXCEPTION", "NOTHING", "Met", "Stage", "inherited", "releasing_function"]

BY_EXCEPTION: Final = frozenset({Exit.RAISED, Exit.CLOSED, Exit.CANCELLED})
_CONSTRUCTORS: Final = frozenset(
    {"__init__", "__new__", "__post_init__", "__enter__", "__aenter__"}
)
NOTHING: Final = Target("", "unknown", False, 0)


class Met(enum.Enum):
    """What a run of a function has had to do with a place of its source."""

    MISSED = "missed"
    """No way that it can have taken leads past it."""
    DODGED = "dodged"
    """It took a way around it: otherwise the handle would not be there any more."""
    RAN = "ran"
    """Every way that it can have taken leads past it."""
    NOW = "now"
    """It is there now."""
    AHEAD = "ahead"
    """It still runs, and can come there without anything being raised."""
    UNKNOWN = "unknown"
    """That cannot be told."""


class Stage:
    """One function that had the handle.

    Args:
        departure: how it was left in the end, or where it stands.
        passed: whether it had handed the handle to its caller.
        to: the caller it was handed to.
        entry: the offset of the call through which the handle came, -1 if that is not known.
        user: whether it is the user's own code.
        running: whether it is still running, in this thread.

    Attributes:
        settled: whether the call through which the handle came has not raised.
        lapped: whether it came again to the call through which the handle came, for another one.
        wrapped: whether what it was given need not be the handle itself, but may hold it.
        source: its source, `None` if there is none.
        call: the expression of the call through which the handle came.
        target: what the handle is bound to.
        releases: the places in its source that release that.
        released_together: those that were reached, for a handle that came with this one.
        others: those that can only get another handle, to which its variable is bound later.
    """

    def __init__(
        self,
        departure: Departure,
        entry: int,
        to: CodeType | None,
        *,
        passed: bool,
        user: bool,
        running: bool,
    ) -> None:
        self.departure = departure
        self.code = departure.code
        self.passed = passed
        self.to = to
        self.entry = entry
        self.user = user
        self.running = running
        self.source: Function | None = function_of(departure.code)
        self.call: ast.Call | None = None
        self.target = NOTHING
        self.releases: list[Release] = []
        self.released_together: tuple[Release, ...] = ()
        self.others: list[Release] = []
        self.lapped = self.settled = self.wrapped = False

    @property
    def entry_line(self) -> int:
        """The line of the call through which the handle came, 0 if that is not known."""
        return frame_at(self.code, self.entry).line if self.entry >= 0 else 0

    def read(self, names: Names) -> None:
        """Find the places that release what the handle is bound to."""
        if self.source is None:
            return
        for each in releases_in(self.source, names, self.target):
            if each.node is self.call and each.form is Form.CALL:
                continue  # it was running when the handle came out of it
            (self.releases if self._may_get(each) else self.others).append(each)

    def _may_get(self, release: Release) -> bool:
        """Return whether a place can get this handle, or is reached by nothing."""
        assert self.source is not None  # noqa: S101 - for the type checker
        flow = self.source.flow
        offsets = self.offsets(release)
        start = flow.at(max(self.entry, 0))
        others = release.rebinding - self._binding
        if not offsets:  # the compiler has left it out: nothing can reach it
            return not others & flow.reachable(start) and release.line >= self.entry_line
        return start in offsets or bool(offsets & flow.reachable(start, others))

    @cached_property
    def _binding(self) -> frozenset[int]:
        """The instructions that may bind the variable to this handle."""
        if self.source is None or self.call is None:
            return frozenset()
        flow = self.source.flow
        line = {at for at, each in flow.lines.items() if each == self.call.lineno}
        statement = self.source.statement(self.call)
        return frozenset(line) | (flow.inside([span(statement)]) if statement else frozenset())

    @cached_property
    def _rebinding(self) -> frozenset[int]:
        """The instructions behind the acquisition that bind its variable to another thing."""
        if self.source is None or not self.target.text.isidentifier():
            return frozenset()
        flow = self.source.flow
        behind = flow.after([flow.at(max(self.entry, 0))])
        return (stores_of(self.source, self.target.text) - self._binding) & behind

    @property
    def may_lose(self) -> bool:
        """Whether its variable may be bound to another thing on some way from there on."""
        return bool(self._rebinding)

    @property
    def rebound(self) -> int:
        """The line at which it certainly has bound its variable to another thing, or 0."""
        way = self._straight_way
        if self.source is None or way is None:
            return 0
        certain = [at for at in self._lost if not way.passed(frozenset({at}))]
        return min(filter(None, map(self.source.flow.lines.get, certain)), default=0)

    @property
    def may_have_lost(self) -> bool:
        """Whether it may have bound its variable to another thing on the way it took."""
        return bool(self._lost)

    @property
    def _lost(self) -> frozenset[int]:
        way = self._straight_way
        return frozenset() if way is None else self._rebinding & way.passed()

    @property
    def returns_itself(self) -> bool:
        """Whether all that it returns or yields is the handle, and nothing that holds it."""
        if self.source is None:
            return False
        for node in self.source.own:
            given = node.value if isinstance(node, ast.Return | ast.Yield) else None
            if given is None or isinstance(given, ast.Constant):
                continue
            inner = plain(given)
            if inner is not self.call and ast.unparse(inner) != self.target.text:
                return False
            if isinstance(given, ast.Call) and given is not inner and not is_cast(given):
                return False
        return True

    # --- where it was left ----------------------------------------------------------------------

    @property
    def pending(self) -> int:
        """The line of the `return` for which a clean-up is under way, 0 if there is none."""
        departure = self.departure
        if departure.exit is not Exit.RUNNING or self.source is None or departure.offset < 0:
            return 0
        return self.source.return_behind(departure.offset)

    @property
    def line(self) -> int:
        """The line at which it was left, or stood."""
        departure = self.departure
        if (
            departure.exit in (Exit.RETURNED, Exit.HANDED_ON)
            and self.source is not None
            and departure.offset >= 0
        ):
            return self.source.return_behind(departure.offset) or departure.frame.line
        return self.pending or departure.frame.line

    @property
    def is_handling(self) -> bool:
        """Whether an exception is not on its way out of it: a handler of its own is running."""
        way = self.way
        if not self.running or self.departure.exit not in BY_EXCEPTION or way is None:
            return False
        return way.can_return()

    @property
    def is_unborn(self) -> bool:
        """Whether it is a constructor that failed: nobody has got its object."""
        return (
            self.code.co_name in _CONSTRUCTORS
            and self.departure.exit in BY_EXCEPTION
            and not self.running
        )

    def may_precede(self, release: Release) -> bool:
        """Return whether it may have come to a release before it had the handle."""
        if self.source is None or self.entry < 0:
            return False
        flow = self.source.flow
        return bool(self.offsets(release) & flow.before([flow.at(self.entry)]))

    def has_passed(self, statement: ast.stmt) -> bool:
        """Return whether this run certainly has come to a statement since it had the handle."""
        way, source = self.way, self.source
        if way is None or source is None or not source.flow.columns:
            return True
        offsets = source.flow.inside([span(statement)])
        return bool(offsets & way.passed()) and not way.passed(offsets - {way.start, way.end})

    # --- what the run has met -------------------------------------------------------------------

    @cached_property
    def way(self) -> Way | None:
        """What it can have passed between the acquisition and its end; `None` if not known."""
        return self._find_way(once=False)

    @cached_property
    def _straight_way(self) -> Way | None:
        """The same without what would lead past the acquisition again."""
        return self._find_way(once=True)

    def _find_way(self, *, once: bool) -> Way | None:
        departure = self.departure
        if self.source is None or departure.offset < 0:
            return None
        thrown = departure.exit in BY_EXCEPTION
        return Way(
            self.source.flow,
            self.entry,
            departure.offset,
            raised=(departure.line or -1) if thrown else 0,
            left=thrown and not self.running,
            once=once,
            settled=self.settled,
        )

    def _ways(self, release: Release, without: frozenset[int]) -> frozenset[int]:
        """Return the ways on which a place would have got this handle, like `Way.passed`."""
        way = self._straight_way if release.certain and not self.lapped else self.way
        if way is None:
            return frozenset()
        if self.lapped and release.tie is not Tie.PART:
            return way.round(without)  # behind that it gets another one
        return way.passed(without)

    def offsets(self, release: Release) -> frozenset[int]:
        """Return the instructions that make a release."""
        assert self.source is not None  # noqa: S101 - for the type checker
        return offsets_of(self.source, release)

    def met(self, release: Release) -> Met:
        """Return what this run has had to do with a release."""
        way, source = self.way, self.source
        if way is None or source is None or not source.flow.columns:
            return Met.UNKNOWN
        offsets = self.offsets(release)
        if not offsets:  # the compiler leaves out what cannot be reached
            return Met.UNKNOWN if release.line in source.flow.lines.values() else Met.MISSED
        if way.end in offsets:
            return Met.NOW if self.running else Met.RAN
        passed = self._ways(release, frozenset())
        if not passed:
            return Met.UNKNOWN
        if not self._ways(release, offsets):
            return Met.RAN
        if not offsets & passed:
            return self._not_passed(release) if self.running else Met.MISSED
        if release.certain and not self._rebound(release, passed):
            return Met.DODGED
        return Met.UNKNOWN

    def _not_passed(self, release: Release) -> Met:
        """Return what a run that goes on has still to do with a release."""
        if self.is_ahead(release):
            return Met.AHEAD
        assert self.way is not None  # noqa: S101 - for the type checker
        if self._is_excluded(release):
            return Met.MISSED
        again = frozenset({self.way.start} if self.entry >= 0 else ())
        # It may come there for another handle, or by an exception; but not in this round.
        comes = self.offsets(release) & self.way.ahead(again, raising=True)
        return Met.UNKNOWN if comes else Met.MISSED

    def is_ahead(self, release: Release) -> bool:
        """Return whether a release can still come, for this handle, if nothing raises."""
        way = self.way
        alone = release.tie is not Tie.PART
        if way is None or self.source is None or (self.lapped and alone):
            return False
        start = {way.start} if self.entry >= 0 and alone else set()
        without = release.rebinding | start
        comes = self.offsets(release) & way.ahead(without)
        return bool(comes) and not self._is_excluded(release)

    def _is_excluded(self, release: Release) -> bool:
        """Return whether a condition that holds where it stands keeps it from a release."""
        if self.source is None or self.way is None:
            return False
        here = self.source.node_at(self.way.end)
        return here is not None and self.source.excludes(here, release.node)

    def _rebound(self, release: Release, passed: frozenset[int]) -> bool:
        """Return whether a variable may have another value when a place is reached."""
        assert self.source is not None  # noqa: S101 - for the type checker
        before = self.source.flow.before(self.offsets(release))
        return bool(release.rebinding & passed & before - self._binding)

    def guard(self, release: Release) -> tuple[str, tuple[int, ...]]:
        """Return what has certainly kept this run from a release that it did not reach.

        Returns:
            `condition` (with the lines of those that were not all met), `handler` (it stands in
            one that was not entered), `try` (passed by on the way to a handler of it) or empty.
        """
        way, source = self.way, self.source
        if way is None or source is None or self.met(release) not in (Met.MISSED, Met.DODGED):
            return "", ()
        offsets = self.offsets(release)
        flow = source.flow
        around = self._ways(release, offsets)
        own = source.statement(release.node)
        mine = flow.inside([span(own)]) if own is not None else frozenset()
        lines: list[int] = []
        for guard in source.guards(release.node, self.call):
            branch = flow.inside(map(span, guard.branch))
            if guard.sort == "condition":
                tests = flow.inside(map(span, guard.tests))
                if not tests:
                    continue  # it decides nothing
                if not lines and (branch - mine) & around:
                    return "", ()
                lines.append(guard.line)
                if not self._ways(release, offsets | tests):
                    return "condition", tuple(reversed(lines))
            elif lines:
                return "", ()
            elif guard.sort == "handler":
                return ("", ()) if (branch - mine) & around else ("handler", (guard.line,))
            elif not guard.several and not self._ways(release, offsets | branch):
                return "try", (guard.line,)
        return "", ()


def offsets_of(source: Function, release: Release) -> frozenset[int]:
    """Return the instructions of a function that make a release."""
    if release.form is Form.WITH:
        return source.ends_of(release.node)
    return source.flow.calls(span(release.node))


def releasing_function(ended: CallRecord, ownership: Ownership) -> CodeType | None:
    """Return the function that made a call of the API, itself or by the binding's own functions.

    Args:
        ended: the call.
        ownership: tells a binding's functions from the user's.
    """
    called = ended.site.call
    for code in ended.stack.codes if ended.stack is not None else ():
        frame = frame_at(code, 0)
        if ownership.is_internal(frame):
            continue
        if ownership.is_user(frame):
            return code
        if code.co_name not in callers_of(code.co_filename, frozenset({called})):
            return None
        called = code.co_name
    return None


def inherited(source: Function, call: ast.Call, below: Stage) -> Target:
    """Return what a handle is bound to in a function that was not given it, but whose callee was.

    Args:
        source: the function.
        call: its call.
        below: the callee, which is over without having handed the handle on.
    """
    target = below.target
    if not target.text or below.source is None:
        return NOTHING
    argument = below.source.parameter(target.text)
    if argument is None:
        for kept, statement in below.source.kept_in(target.text, target.line):
            if below.has_passed(statement) and below.source.parameter(kept.text):
                argument = below.source.parameter(kept.text)
                target = kept._replace(form="item")
                break
    if argument is not None:
        given = source.argument(call, *argument)
        if given is None or not given.text or given.text.startswith("("):
            return NOTHING
        part = target.text[len(argument[0]) :]
        shown = target.shown[len(argument[0]) :]
        form = "item" if target.form == "item" else given.form
        return given._replace(text=given.text + part, shown=given.shown + shown, form=form)
    return source.shared(target, below.source) or NOTHING
