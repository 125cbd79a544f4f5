"""Why a handle was not released, in words: the one place that makes them, from a `Reason` alone.

Every sentence stands for something that a `Reason` holds: an exit that was observed, or a place of
the source and what the control flow says about it. What is not in it is not said.
"""

from __future__ import annotations

import ast
import os
from inspect import CO_COROUTINE
from typing import TYPE_CHECKING, Final, NamedTuple

from csptrace import quoting
from csptrace.causes.releases import Form
from csptrace.causes.source import function_of, last_name
from csptrace.causes.stages import BY_EXCEPTION, releasing_function
from csptrace.findings.catalogue import Code
from csptrace.findings.finding import Cause, Pattern, Skipped
from csptrace.graph.exits import Exit
from csptrace.stacks.frames import Frame, frame_at

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import CodeType

    from csptrace.causes.lateness import Late
    from csptrace.causes.release_names import Names
    from csptrace.causes.releases import EndCondition, Release
    from csptrace.causes.source import Definition, Target
    from csptrace.causes.stages import Stage
    from csptrace.graph.handle import CallRecord, Handle
    from csptrace.stacks.ownership import Ownership

__all__ = ["Again", "Owner", "Reason", "cause_of"]

_MOST_NAMED: Final = 3


class Again(NamedTuple):
    """How a variable was bound to a second handle while the first lived.

    Attributes:
        first: the line at which it was bound.
        second: the line at which it was bound again.
        loop: the loop that did it, `None` if none did.
        sites: how many places of the loop leak.
        lost: how many handles of this place have leaked.
    """

    first: int
    second: int
    loop: ast.For | ast.AsyncFor | ast.While | None
    sites: int
    lost: int

    @property
    def after(self) -> int:
        """The line behind which a release is for the last handle only."""
        return self.second if self.loop is None else self.loop.end_lineno or 0


class Owner(NamedTuple):
    """What the class of an object does about a handle that the object keeps.

    Attributes:
        home: the class.
        kept: the attribute with the handle.
        closers: its methods that release the handle, each with the line of the release.
        forgets: the method that releases another one but not this; its name of the release, line.
    """

    home: ast.ClassDef
    kept: Target
    closers: tuple[tuple[Definition, int], ...]
    forgets: tuple[Definition, str, int] | None = None


class Reason(NamedTuple):
    """Why one handle leaked: what is certain, and from what.

    Attributes:
        handle: the handle.
        code: what the finding says.
        ended: the release of its parent, where that ended it.
        names: what releases it.
        stages: the functions that had it.
        number: which of them is held responsible.
        pattern: why the release was missed.
        told: the releases that the run has not reached, or comes to too late.
        guard: what has kept it from the first of them, and the lines of that.
        ran: releases that it has run, without an effect on this handle.
        handed: releases that it has handed to something that may call them.
        foreign: releases that were seen to release other handles in this run.
        late: the releases that come too late, if any do.
        again: how the variable was bound again, if it was.
        owner: what its owner does about it, if it has one.
        kept: what it is stored in that outlives the function.
        silent: whether it is certain that no path of the function releases it.
        gives: whether another path of the function gives it away, and must not release it.
        unborn: whether the object that keeps it was not made after all.
        end: on what condition the end of a `with` releases, where that was not met.
        closed_others: whether its owner was seen to release others from the same place.
    """

    handle: Handle
    code: Code
    ended: CallRecord | None
    names: Names
    stages: list[Stage]
    number: int
    pattern: Pattern
    told: tuple[Release, ...]
    guard: tuple[str, tuple[int, ...]]
    ran: tuple[Release, ...]
    handed: tuple[Release, ...]
    foreign: tuple[Release, ...]
    late: Late | None
    again: Again | None
    owner: Owner | None
    kept: Target | None
    silent: bool
    gives: bool
    unborn: bool
    end: EndCondition | None
    closed_others: bool

    @property
    def stage(self) -> Stage:
        """The function that is held responsible."""
        return self.stages[self.number]


def cause_of(reason: Reason, ownership: Ownership) -> Cause:
    """Put a reason into words.

    Args:
        reason: the reason.
        ownership: tells user code from library code.
    """
    return _Telling(reason, ownership).cause()


class _Telling:
    """One reason while it is put into words."""

    def __init__(self, reason: Reason, ownership: Ownership) -> None:
        self._reason = reason
        self._ownership = ownership
        self._stage = reason.stage
        self._name = _called(self._stage.code)
        self._word = reason.names.word
        ended = reason.handle.ended_by or reason.handle.parent
        self._parent = "parent" if ended is None else ended.kind.title

    def cause(self) -> Cause:
        """Return the cause."""
        reason, stage = self._reason, self._stage
        departure = stage.departure
        at = departure.frame
        if reason.again is not None:
            words, remedy = self._again(reason.again)
        else:
            at = at._replace(line=stage.line)
            words, remedy = self._words(), self._remedy()
        raised = None
        if departure.raised is not None:
            raised = frame_at(departure.raised, 0)._replace(line=departure.raised_line)
        exit_ = departure.exit
        if exit_ is Exit.RUNNING and stage.pending:
            exit_ = Exit.RETURNED
        elif stage.is_handling:
            exit_ = Exit.RUNNING
        moves = []
        for each in reason.stages:
            if each is stage:
                break
            if each.passed:
                moves.append(each.departure.frame._replace(line=each.line))
        place = stage.code if reason.late is None else reason.late.stage.code
        frame = frame_at(place, 0)
        return Cause(
            exit=exit_,
            pattern=reason.pattern,
            function=stage.code.co_qualname,
            at=at,
            exception=departure.exception,
            raised=raised,
            caught=self._caught(),
            moves=tuple(moves),
            skipped=tuple(Skipped(r.name, frame._replace(line=r.line)) for r in reason.told),
            words=words,
            remedy=remedy,
        )

    # --- what happened --------------------------------------------------------------------------

    def _words(self) -> str:
        reason = self._reason
        if reason.pattern is Pattern.DISCARDED:
            joint = " and" if reason.number == 0 else ""
            text = f"{self._beginning()}{joint} threw the result away at line "
            text += str(self._stage.entry_line)
        else:
            text = self._beginning() + self._end()
            if reason.code is not Code.HELD_TOO_LONG:
                text += self._claim()
        if reason.handle.refs > 1:
            text += f"; {reason.handle.refs} references to it were left"
        return text

    def _beginning(self) -> str:
        stages, stage, index = self._reason.stages, self._stage, self._reason.number
        first = stages[0]
        frame = frame_at(first.code, first.entry)
        name = _called(first.code)
        if index == 0:
            return f"{name} acquired it at line {frame.line}"
        text = f"{name} acquired it at {self._at(frame)}"
        told = [each for each in stages[:index] if each.passed]
        for each in told:
            verb = "yielded" if _is_generator(each.code) else "returned"
            giver = "" if each is first else f"{_called(each.code)} "
            to = f" to {_called(each.to)}" if each.to is not None else ""
            text += f" and {giver}{verb} it{to}"
        if stage.departure.lets_go and stage.code is first.code:
            return f"{text}; a later call"
        if told and told[-1].to is stage.code:
            return f"{text}, which"
        return f"{text}; {self._name}"

    def _end(self) -> str:
        stage = self._stage
        departure, line = stage.departure, stage.line
        joint = " and " if self._reason.number == 0 else " "
        if stage.is_handling:
            return self._ended(joint)
        match departure.exit:
            case Exit.RAISED:
                return f"{joint}{self._raised(line)}{self._on_the_way()}"
            case Exit.CLOSED:
                return f"{joint}was closed at line {line}"
            case Exit.CANCELLED:
                return f"{joint}was cancelled at line {line}{self._on_the_way()}"
            case Exit.SUSPENDED:
                return f"{joint}was left suspended at line {line}"
            case Exit.HANDED_ON | Exit.YIELDED:
                verb = "returned" if departure.exit is Exit.HANDED_ON else "yielded"
                to = "" if stage.to is None else f" to {_called(stage.to)}"
                if self._reason.pattern is Pattern.SUSPENDED:
                    return f"{joint}{verb} it{to} and was left suspended at line {line}"
                return f"{joint}{verb} it at line {line}{to}"
            case Exit.RETURNED:
                if departure.code.co_name == "<module>":
                    return f"{joint}ended at line {line}"
                if stage.source is not None and not stage.source.is_return(line):
                    return f"{joint}ran to its end at line {line}"
                return f"{joint}returned at line {line}"
        if stage.pending:
            return f"{joint}returns at line {line}{self._on_the_way()}"
        return self._ended(joint)

    def _ended(self, joint: str) -> str:
        """Say where a function stands that is still running."""
        stage, code = self._stage, self._reason.code
        line = frame_at(stage.code, stage.departure.offset).line
        if stage.departure.offset >= 0 and self._ends_here():
            return f"{joint}{self._released(line)}"
        if code is Code.LOST and stage.departure.offset >= 0:
            return f"{joint}let go of it at line {line}"
        still = "is" if code is Code.HELD_TOO_LONG else "was"
        at = f", at line {line}" if stage.departure.offset >= 0 else ""
        return f"{joint}{still} still running{at}"

    def _released(self, line: int) -> str:
        """Say at which line a function has released the parent, or had it released."""
        ended = self._reason.ended
        assert ended is not None  # noqa: S101 - for the type checker
        if releasing_function(ended, self._ownership) is self._stage.code:
            return f"released the {self._parent} at line {line}"
        return f"had the {self._parent} released at line {line}"

    def _on_the_way(self) -> str:
        """Say, of a function that is being left, where it has released the parent meanwhile."""
        stage, late = self._stage, self._reason.late
        if late is None or not stage.running or not self._ends_here():
            return ""
        line = frame_at(stage.code, stage.departure.offset).line
        return f", and on the way {self._released(line)}"

    def _raised(self, line: int) -> str:
        departure = self._stage.departure
        text = f"was left by {departure.exception}"
        if departure.raised is not None and departure.raised is not departure.code:
            text += f" raised in {_called(departure.raised)}"
        text += f" at line {line}"
        caught = self._caught()
        if caught is not None:
            text += f" (caught in {_short(caught.qualname)} at {self._at(caught)})"
        return text

    def _caught(self) -> Frame | None:
        """Return where a caller caught the exception, if its source says that it could."""
        departure = self._stage.departure
        if departure.caught is None:
            return None
        frame = frame_at(departure.caught, departure.caught_offset)
        if not self._ownership.is_user(frame):
            return None
        source = function_of(departure.caught)
        line = 0 if source is None else source.catches(frame.line)
        return frame._replace(line=line) if line else None

    def _ends_here(self) -> bool:
        """Return whether the parent was released from within this function."""
        ended = self._reason.ended
        stack = ended.stack if ended is not None else None
        return stack is not None and any(code is self._stage.code for code in stack.codes)

    # --- what is claimed of its releases --------------------------------------------------------

    def _claim(self) -> str:
        reason, stage = self._reason, self._stage
        pattern = reason.pattern
        missed = _and([_shown(r) for r in reason.told[:_MOST_NAMED]])
        was = "was" if len(reason.told) == 1 else "were"
        if reason.late is not None:
            return self._too_late(reason.late)
        if pattern in (Pattern.EXCEPTION, Pattern.EARLY_RETURN) and reason.told:
            never = f"not reached {turn}" if (turn := self._round()) else "never reached"
            return f"; {missed} {was} {never}"
        if pattern is Pattern.SUSPENDED and reason.told:
            return f"; {missed} {was} not reached"
        if pattern is Pattern.BRANCH and reason.told:
            return f"; {self._guarded()}"
        if reason.owner is not None and reason.owner.forgets is not None:
            return self._forgotten(reason.owner, reason.owner.forgets)
        if pattern is Pattern.STORED and reason.kept is not None:
            return self._stored(reason.kept)
        if pattern is Pattern.HANDED_ON:
            return ", where it was not released"
        if reason.handed:
            release = reason.handed[0]
            return f"; {_shown(release)} only hands the release on, and it was not called for this"
        if reason.end is not None:
            return (
                f"; {reason.end.method}(), which the with of line {reason.ran[0].line} ends with, "
                f"calls {self._word} at line {reason.end.line} only behind the condition at line "
                f"{reason.end.condition}, which looks at the exception"
            )
        if reason.ran:
            ran = _and([_shown(r, sure=False) for r in reason.ran[:_MOST_NAMED]])
            return f"; {ran} ran and did not release it"
        if stage.released_together and not stage.releases:
            released_together = _and([_shown(r) for r in stage.released_together[:_MOST_NAMED]])
            return f"; {released_together} released what came together with it, not this one"
        if reason.foreign:
            foreign = _and([_shown(r) for r in reason.foreign[:_MOST_NAMED]])
            return f"; {foreign} released another handle, not this one"
        if reason.unborn:
            return ", before anybody had the object that keeps it"
        unkept = self._not_kept_yet()
        if unkept:
            return unkept
        if reason.silent:
            return f"; no path of {self._name} calls {self._calls()}"
        return ""

    def _not_kept_yet(self) -> str:
        """Say that an exception came before the function had put the handle where it belongs."""
        stage, source = self._stage, self._stage.source
        if stage.departure.exit is not Exit.RAISED or source is None or stage.running:
            return ""
        for target, statement in source.kept_in(stage.target.text, stage.target.line):
            if not stage.has_passed(statement) and statement.lineno > stage.line:
                return f", before {target.shown} was bound to it at line {statement.lineno}"
        return ""

    def _calls(self) -> str:
        owner = self._reason.owner
        if owner is None or not owner.closers:
            return self._word
        definition, line = owner.closers[0]
        return f"{self._word} or {definition.name}(), which does it at line {line}"

    def _too_late(self, late: Late) -> str:
        """Say which releases come after that of the parent, and where that was."""
        stage = late.stage
        missed = _and([_shown(r) for r in late.releases[:_MOST_NAMED]])
        text = ""
        if late.registered:
            return (
                f"; {missed} registers the release before line {late.registered} registers that "
                f"of the {self._parent}: what was registered first is called last, too late"
            )
        if stage is not self._stage and not late.suspended:
            at = self._at(frame_at(stage.code, stage.departure.offset))
            if self._ends_here():
                text = f", in {_called(stage.code)} at {at}"
            else:
                verb = "released" if late.direct else "had"
                end = "" if late.direct else " released"
                text = f"; {_called(stage.code)} {verb} the {self._parent}{end} at {at}"
        if late.loop:
            return (
                f"{text}; {missed} can come to it only in a later round of the loop at line "
                f"{late.loop}, too late"
            )
        comes = "comes" if len(late.releases) == 1 else "come"
        if not late.certain:
            comes = "can only come"
        return f"{text}; {missed} {comes} after that, too late"

    def _round(self) -> str:
        """Say that only one round of a loop is meant, if others may have come to the releases."""
        loop = self._loop_of_round()
        if loop:
            return f"in that round of the loop at line {loop}"
        return "after that" if any(map(self._stage.may_precede, self._reason.told)) else ""

    def _loop_of_round(self) -> int:
        """Return the line of the loop whose other rounds may have come to the releases, or 0."""
        stage, source = self._stage, self._stage.source
        if source is None or stage.call is None:
            return 0
        loop = source.loop_around(stage.call)
        if loop is None:
            return 0
        if all(loop.lineno < r.line <= (loop.end_lineno or 0) for r in self._reason.told):
            return loop.lineno
        return 0

    def _guarded(self) -> str:
        """Say what has kept the function from a release."""
        release = self._reason.told[0]
        text = _shown(release)
        sort, lines = self._reason.guard
        turn = f" {turn}" if (turn := self._round()) else ""
        if sort == "condition" and len(lines) == 1:
            return f"{text} stands behind the condition at line {lines[0]}, which was not met{turn}"
        if sort == "condition":
            where = _and([str(line) for line in lines])
            behind = f"{text} stands behind the conditions at lines {where}"
            return f"{behind}, which were not all met{turn}"
        if sort == "handler":
            return f"{text} stands in the handler at line {lines[0]}, which was not entered{turn}"
        if sort == "try":
            return f"{text} was passed by on the way to the handler at line {lines[0]}{turn}"
        return f"{text} was not reached{turn}"

    def _stored(self, kept: Target) -> str:
        if self._stage.departure.lets_go:
            return f"; it had been kept in {kept.shown} (line {kept.line})"
        text = f"; it was kept in {kept.shown} (line {kept.line}), which outlives {self._name}"
        owner = self._reason.owner
        if self._reason.closed_others:
            definition, line = owner.closers[0]  # type: ignore[union-attr]
            text += f"; {definition.name}() at line {line} released others, not this one"
        elif owner is not None and owner.closers:
            definition, line = owner.closers[0]
            text += f", and {definition.name}() did not come to line {line}, which releases it"
        return text

    def _forgotten(self, owner: Owner, forgets: tuple[Definition, str, int]) -> str:
        definition, release, line = forgets
        return (
            f"; it was kept in {owner.kept.shown}, and {owner.home.name}.{definition.name}(), "
            f"which calls {release} at line {line}, does nothing about that"
        )

    # --- what to do -----------------------------------------------------------------------------

    def _remedy(self) -> str:
        reason, stage = self._reason, self._stage
        first = reason.told[0] if reason.told else None
        match reason.pattern:
            case Pattern.ORDER if reason.late is not None:
                return self._reorder(reason.late)
            case Pattern.EXCEPTION | Pattern.EARLY_RETURN | Pattern.BRANCH | Pattern.SUSPENDED:
                if first is not None:
                    return self._not_missing(first)
            case Pattern.STORED if stage.departure.lets_go:
                return (
                    f"in {self._name}, call {self._word} on it before line {stage.line} lets go "
                    "of it"
                )
            case Pattern.STORED if reason.kept is not None:
                return self._by_its_owner(reason.kept)
            case Pattern.DISCARDED:
                what = "what it holds" if stage.wrapped else "it"
                return f"keep the result of line {stage.entry_line} and call {self._word} on {what}"
            case Pattern.HANDED_ON:
                return self._after_handing_on()
        if reason.handed:
            return self._have_it_called(reason.handed[0])
        if reason.handle.refs > 1:
            return f"call {self._word} once for each reference to it"
        if reason.end is not None:
            return (
                f"call {self._word} in {reason.end.method}() whether there was an exception or not"
            )
        if reason.ran:
            if reason.ran[0].through and reason.code is Code.LEAKED_AT_RELEASE:
                return self._somehow(self._word)
            if reason.ran[0].through:
                return (
                    f"see that {_shown(reason.ran[0], sure=False)} releases this one, too, or "
                    f"call {self._word} where it is taken out of what that releases"
                )
            return f"make sure that {_shown(reason.ran[0])} gets this handle too"
        begin = self._begin()
        if begin and reason.pattern is Pattern.SUSPENDED:
            return f"{begin}, call {self._word} in its finally, and {self._finish()}"
        if begin and reason.gives and stage.departure.exit is Exit.RAISED:
            return self._in_an_except(begin)
        if begin and reason.owner is not None and reason.owner.closers:
            definition, _ = reason.owner.closers[0]
            return self._close_it(definition.name, begin)
        if begin and reason.silent and not reason.gives and stage.user:
            what = self._on_target()
            if stage.rebound:
                return f"call {self._word}{what} before line {stage.rebound} lets go of it"
            if self._is_late():
                return self._before_the_parent(f"{self._word}{what}")
            if stage.may_lose:
                return self._somehow(self._word)
            return f"call {self._word}{what} in {self._name}: {begin} and release in its finally"
        if stage.released_together and not stage.releases:
            gets = _shown(stage.released_together[0])
            every = f"all that comes at line {stage.entry_line}"
            return f"release {every}, and not only what {gets} gets"
        return self._somehow(self._word)

    def _on_target(self) -> str:
        """Say on what a release has to be called, if the function has a name for it."""
        shown = self._stage.target.shown
        if not shown or shown[0] in "([":  # one of several, of which it is not known which
            return ""
        return f" on what {shown} holds" if self._stage.wrapped else f" on {shown}"

    def _somehow(self, call: str) -> str:
        """Say no more than what has to be the case in the end."""
        if self._reason.code is Code.LEAKED_AT_RELEASE:
            return f"see that {call} is called before {self._release_of_parent()}"
        if not self._stage.user:
            return f"call {call} when the handle is not needed any more, in a finally"
        return f"see that {call} is called on every path of {self._name}{self._behind()}"

    def _not_missing(self, release: Release) -> str:
        """Say how a release is not to be missed."""
        reason, stage, source = self._reason, self._stage, self._stage.source
        pattern, call = reason.pattern, release.name
        line = self._ready_line()
        if release.form is Form.HANDED:
            return f"move {call} (line {release.line}) to directly behind line {line}"
        if release.form is Form.WITH:
            return f"enter the with of line {release.line} directly behind line {line}"
        if release.by == {stage.target.text} and not stage.lapped and stage.may_have_lost:
            if stage.rebound:
                return f"call {call}{self._on_target()} before line {stage.rebound} lets go of it"
            return self._somehow(call)
        if self._is_late():
            loop = self._loop_of_round()
            if loop:  # where the parent is released, the next round's has taken its place
                return f"call {call} on every path through the loop at line {loop}"
            return f"{self._before_the_parent(call)} on this path, too"
        if source is not None and source.is_in_an_expression(release.node):
            return self._somehow(call)
        if source is not None and source.is_in_finally(release.node):
            if pattern is Pattern.SUSPENDED:
                return self._finish()
            return self._in_its_finally(release)
        begin = self._begin()
        if pattern is Pattern.EARLY_RETURN:
            text = f"call {call} before the return at line {stage.line} too"
            if reason.gives or not begin:
                return text
            return f"{text}, or {begin} and {self._moved(release, 'it')} its finally"
        if not begin:
            return self._somehow(call)
        if pattern is Pattern.SUSPENDED:
            moved = self._moved(release, call)
            return f"{begin}, {moved} its finally, and {self._finish()}"
        if pattern is Pattern.EXCEPTION:
            if reason.gives:
                return self._in_an_except(begin)
            return f"{begin} and {self._moved(release, call)} its finally, or use a context manager"
        if reason.gives:
            return f"call {call} on this path, too, before it leaves {self._name}"
        return f"call {call} on every path: {begin} and {self._moved(release, 'it')} its finally"

    def _before_the_parent(self, call: str) -> str:
        line = frame_at(self._stage.code, self._stage.departure.offset).line
        return f"call {call} before line {line} releases the {self._parent}"

    def _finish(self) -> str:
        """Say that a suspended function has to come to its end."""
        before = ""
        if self._reason.code is Code.LEAKED_AT_RELEASE:
            before = f" before {self._release_of_parent()}"
        if self._stage.code.co_flags & CO_COROUTINE:
            return f"await {self._name}, or cancel and await it,{before}".rstrip(",")
        return f"exhaust or close {self._name}{before}"

    def _in_its_finally(self, release: Release) -> str:
        sort, lines = self._reason.guard
        if sort == "condition":
            whether = f"whether or not the condition at line {lines[0]} holds"
            return f"call {release.name} (line {release.line}) {whether}"
        where = f"the finally around line {release.line}"
        return f"call {release.name} on every path through {where}"

    def _is_late(self) -> bool:
        """Return whether the function itself has released the parent, other than in a clean-up.

        Then a `finally` would come too late for this path.
        """
        return self._stage.running and self._ends_here() and not self._is_cleaning_up()

    def _ready_line(self) -> int:
        """Return the line behind which all is bound that the release needs."""
        stage, told = self._stage, self._reason.told
        if not told or stage.source is None or not stage.entry_line:
            return stage.entry_line
        last = min(told[0].line, stage.line)
        return stage.source.bound_line(told[0].by, stage.entry_line, last)

    def _begin(self) -> str:
        """Say where a `try` has to begin, empty if it cannot."""
        stage, told = self._stage, self._reason.told
        if stage.source is None or stage.call is None:
            return ""
        node = told[0].node if told else None
        loop = stage.source.loop_between(stage.call, node) if node is not None else 0
        if loop:
            return f"begin a try in front of line {loop}"
        if not stage.source.may_try_after(stage.call, node):
            return ""
        if stage.departure.exit in BY_EXCEPTION and stage.line == stage.entry_line:
            return f"begin a try in front of line {stage.entry_line}"  # which has raised itself
        return f"begin a try after line {self._ready_line()}"

    def _moved(self, release: Release, call: str) -> str:
        """Say what has to be moved into something, or put there in the place of several."""
        stage = self._stage
        lines = sorted({r.line for r in stage.releases if r.form is Form.CALL})
        if len(lines) > 1:
            return f"put one in place of those at lines {_and(map(str, lines))} into"
        first = last = release.line
        if stage.source is not None:
            met = self._reason.pattern is not Pattern.BRANCH
            first, last = stage.source.whole(release.node, stage.call, stage.line, guarded=met)
        if first == last:
            return f"move {call} (line {first}) into"
        return f"move {call} (lines {first} to {last}) into"

    def _release_of_parent(self) -> str:
        """Say where the parent is released."""
        ended = self._reason.ended
        stack = None if ended is None else self._ownership.resolve(ended.stack)
        own = stack is not None and any(stack.own)
        at = f" at {self._at(stack.first)}" if own and stack and stack.first else ""
        return f"the {self._parent} is released{at}"

    def _behind(self) -> str:
        line = self._stage.entry_line
        return f" behind line {line}" if line else ""

    def _in_an_except(self, begin: str) -> str:
        on = "" if self._stage.may_lose else self._on_target()
        return (
            f"in {self._name}, {begin}, call {self._word}{on} in its except, and raise the "
            "exception again"
        )

    def _close_it(self, closer: str, begin: str) -> str:
        """Say how to have an object closed by the function that has it."""
        owner = self._stage.target.shown.rpartition(".")[0]
        if closer in ("__exit__", "__aexit__"):
            return f"enter {owner or 'the object'} with a with in {self._name}"
        if closer.startswith("__") or not owner:
            return f"see that {closer}() is called on every path of {self._name}{self._behind()}"
        return f"in {self._name}, {begin} and call {owner}.{closer}() in its finally"

    def _is_cleaning_up(self) -> bool:
        """Return whether the function stands in a `finally` around the acquisition."""
        stage, source = self._stage, self._stage.source
        if source is None or stage.call is None:
            return False
        return source.is_cleaned_up_at(
            stage.call, frame_at(stage.code, stage.departure.offset).line
        )

    def _reorder(self, late: Late) -> str:
        release = late.releases[0]
        source = late.stage.source
        if late.registered:
            return (
                f"register {release.through} (line {release.line}) behind line {late.registered}: "
                "what is registered last is called first"
            )
        if late.loop:
            return (
                f"reorder the loop at line {late.loop}: {self._word} has to be called before the "
                f"{self._parent} is released"
            )
        if late.suspended:
            line = frame_at(self._stage.code, self._stage.departure.offset).line
            return (
                f"let {_called(late.stage.code)} come to {_shown(release)} before line {line} "
                f"releases the {self._parent}"
            )
        line = late.line
        if release.form is Form.WITH:
            return self._with_inside(release, line)
        if source is not None:
            movable = source.movable(release.node, line, release.by)
            if movable is not None:
                first, last, before = movable
                if first == last:
                    return f"move {release.name} (line {first}) in front of line {before}"
                return f"move lines {first} to {last} ({release.name}) in front of line {before}"
        return (
            f"call {release.name} before line {line} releases the {self._parent}, not behind that "
            f"at line {release.line}"
        )

    def _with_inside(self, release: Release, line: int) -> str:
        """Say how a `with` has to end before that of the parent, or before its release."""
        stage = self._stage
        offset = stage.departure.offset
        if stage.source is None or stage.source.with_at(offset) is None:
            return (
                f"let the with of line {release.line} end before line {line} releases the "
                f"{self._parent}"
            )
        if release.line == line:
            return (
                f"name what calls {release.through} behind what releases the {self._parent} in "
                f"the with of line {line}: the last one ends first"
            )
        return f"open the with of line {release.line} inside that of line {line}, to end it first"

    def _by_its_owner(self, kept: Target) -> str:
        owner = self._reason.owner
        if owner is not None and owner.forgets is not None:
            definition, _, _ = owner.forgets
            return (
                f"call {self._word} on {kept.shown} in {owner.home.name}.{definition.name}(), too"
            )
        on = f"on {kept.shown}"
        if kept.form == "item" and not kept.shown.endswith("]"):
            on = f"on what {kept.shown} holds"
        if self._reason.closed_others:
            return f"call {self._word} before it is replaced in {kept.shown} or taken out of there"
        if owner is not None and owner.closers:
            definition, _ = owner.closers[0]
            return (
                f"see that {owner.home.name}.{definition.name}() is called when the object is not "
                "needed any more, in a finally or by a with"
            )
        source = self._stage.source
        if source is not None and source.is_own(kept.text):
            end = source.end_of_home()
            if end:
                return f"call {self._word} {on} in {end}()"
            return (
                f"call {self._word} {on} when its owner is done with it: give the owner a close(), "
                "and call that in a finally"
            )
        return (
            f"call {self._word} {on} when the program is done with it, at the latest in a function "
            "that is registered with atexit"
        )

    def _have_it_called(self, release: Release) -> str:
        function = getattr(release.node, "func", None)
        called = last_name(function) if function is not None else ""
        if called in ("callback", "push") and isinstance(function, ast.Attribute):
            stack = quoting.expression(function.value)
            return (
                f"close {stack} (line {release.line}), or what its callbacks were moved to, in a "
                "finally or by a with"
            )
        if self._reason.code is Code.LEAKED_AT_RELEASE:
            before = self._release_of_parent()
            return f"see that what {_shown(release)} hands on is called before {before}"
        return f"see that what {_shown(release)} hands on is called for this handle"

    def _after_handing_on(self) -> str:
        stage = self._stage
        if stage.to is not None and not self._ownership.is_user(frame_at(stage.to, 0)):
            return (
                f"{self._name} hands the handle to {_called(stage.to)}, which is not your code: "
                f"call {self._word} before it returns, or hand the handle over in another way"
            )
        to = "its caller" if stage.to is None else _called(stage.to)
        return f"call {self._word} in {to}, which gets the handle from {self._name}"

    # --- bound again ----------------------------------------------------------------------------

    def _again(self, again: Again) -> tuple[str, str]:
        name, target, on = self._name, self._stage.target.shown, self._on_target()
        it, second = "it", "a second handle"
        if self._stage.wrapped:
            it, second = "what holds it", "what holds a second handle"
        if again.loop is not None:
            start = again.loop.lineno
            each = "one handle" if again.sites == 1 else f"{again.sites} handles"
            words = (
                f"{name} binds {target} anew at line {again.first} in each round of the loop at "
                f"line {start}, {each} a round, while the one before still lives"
            )
            if again.lost > 1:
                words += f"; {again.lost} were not released"
            if self._reason.told:
                release = self._reason.told[0]
                words += f"; {release.name} at line {release.line} gets the last one only"
            remedy = (
                f"call {self._word} at the end of each round of the loop at line {start}, in a "
                "try/finally"
            )
            if self._reason.gives or self._reason.told:
                # What the last round has bound is released or given away behind the loop.
                remedy = (
                    f"call {self._word}{on} before line {again.first} binds it again, in every "
                    "round but the first"
                )
            return words, remedy
        if again.first == again.second:
            words = (
                f"{target} was bound to {it} at line {again.first} in {name}, and by the next "
                f"call to {second}, while the first lived"
            )
            return words, f"call {self._word}{on} before line {again.first} binds it again"
        words = (
            f"{name} bound {target} to {it} at line {again.first}, and at line {again.second} "
            f"to {second}, while the first lived"
        )
        remedy = (
            f"call {self._word}{on} (bound at line {again.first}) before line "
            f"{again.second} binds it again, or use two variables"
        )
        return words, remedy

    def _at(self, frame: Frame) -> str:
        """Return a line, with its file if that is another one than the function's."""
        if frame.filename == self._stage.code.co_filename:
            return f"line {frame.line}"
        return f"{os.path.basename(frame.filename)}:{frame.line}"


# --- parts ----------------------------------------------------------------------------------------


def _called(code: CodeType) -> str:
    return _short(code.co_qualname)


def _short(qualname: str) -> str:
    """Return a function's name as people say it."""
    if qualname == "<module>":
        return "the module"
    name = qualname.rpartition("<locals>.")[2]
    return name if name.endswith(">") else f"{name}()"


def _is_generator(code: CodeType) -> bool:
    return bool(code.co_flags & 0x220)


def _shown(release: Release, *, sure: bool = True) -> str:
    calls = "calls" if sure and release.sure else "may call"
    through = f" (it {calls} {release.through})" if release.through else ""
    if release.form is Form.WITH:
        return f"{release.name} of line {release.line}{through}"
    if release.form is Form.HANDED:
        return f"{release.name} at line {release.line}"
    return f"{release.name} at line {release.line}{through}"


def _and(parts: Iterable[str]) -> str:
    parts = list(parts)
    if len(parts) < 2:
        return "".join(parts)
    return ", ".join(parts[:-1]) + " and " + parts[-1]
