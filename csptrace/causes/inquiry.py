"""Why a handle was not released: from the ways in which functions were left to a reason.

The facts are the `Departure`s that a handle has gathered, and the call that ended its parent. The
source is read only here, when a finding is made, and what it says is kept for the next finding of
the same sort. The function that is held responsible is the innermost one that had the handle and
either has a release for it that was not reached, or let it go out of sight; before any of them, a
function that is about to release it when its parent has gone.
"""

from __future__ import annotations

from bisect import bisect_left
from operator import attrgetter
from typing import TYPE_CHECKING, Final, TypeVar

from csptrace.causes.lateness import Late, latest
from csptrace.causes.release_names import Vocabulary
from csptrace.causes.releases import (
    Form,
    Release,
    Tie,
    attribute_of,
    end_condition,
    names_none,
    releasers,
    shown_call,
)
from csptrace.causes.sentences import Again, Owner, Reason, cause_of
from csptrace.causes.source import last_name, span
from csptrace.causes.stages import BY_EXCEPTION, Met, Stage, inherited
from csptrace.findings.catalogue import Code
from csptrace.findings.finding import Cause, Pattern
from csptrace.graph.exits import Exit
from csptrace.graph.states import RELEASED
from csptrace.stacks.frames import frame_at

if TYPE_CHECKING:
    import ast
    from collections.abc import Callable, Iterable
    from types import CodeType

    from csptrace.causes.releases import EndCondition
    from csptrace.causes.source import Function, Target
    from csptrace.graph.handle import CallRecord, Departure, Handle, Invocation
    from csptrace.spec.bindings import Spec
    from csptrace.stacks.ownership import Ownership
    from csptrace.stacks.stack import Stack

__all__ = ["Causes"]

_K = TypeVar("_K")
_V = TypeVar("_V")
_MOVES: Final = frozenset({Exit.HANDED_ON, Exit.YIELDED})
_MOST_KEPT: Final = 1024
_MOST_RIVALS: Final = 16
_MOST_PLACED: Final = 16
_MOST_PEERS: Final = 64
_NO_STACKS: Final[frozenset[Stack]] = frozenset()


class Causes:
    """Works out why handles were not released.

    Args:
        specs: the APIs; they say which functions acquire and release.
        ownership: tells user code from library code.
        broken: what to do with an error of this module; then a finding has no cause.
    """

    def __init__(
        self,
        specs: Iterable[Spec],
        ownership: Ownership,
        broken: Callable[[Exception], None],
    ) -> None:
        self._broken = broken
        self.ownership = ownership
        self.vocabulary = Vocabulary(specs, ownership)
        self._placed: dict[Invocation, tuple[int, dict[Handle, int]]] = {}
        self._spent: dict[Departure, frozenset[Stack]] = {}
        self._kept: dict[object, Cause | None] = {}

    def why(
        self,
        handle: Handle,
        code: Code,
        ended: CallRecord | None,
        departures: list[Departure] | None = None,
    ) -> Cause | None:
        """Return why a handle was not released.

        Args:
            handle: the handle; what is known of its functions is in its `departures`.
            code: what the finding says.
            ended: the release of its parent, where that ended it.
            departures: what is known of its functions, if not what the handle says.

        Returns:
            `None` if nothing is known.
        """
        begin = handle.acquired
        departures = departures or handle.departures
        if begin is None or begin.stack is None or not departures:
            return None
        stack = begin.stack
        later_handles = self._later_handles(handle, departures)
        key = (
            code,
            id(handle.kind),
            stack,
            None if ended is None else ended.stack,
            tuple(_key(departure) for departure in departures),
            tuple((other.acquired.stack, n) for other, n in later_handles if other.acquired),
            tuple(map(self.released_together, departures)),
            self.released(stack),
        )
        if key not in self._kept:
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            try:
                cause = _Inquiry(self, handle, code, ended, departures, later_handles).answer()
            except Exception as error:  # noqa: BLE001 - a source that is read may be of any shape
                self._broken(error)
                cause = None
            self._kept[key] = cause
        return self._kept[key]

    def was_kept(self, handle: Handle, departures: list[Departure]) -> bool:
        """Return whether a function has stored a handle in something that outlives it.

        Args:
            handle: the handle.
            departures: what is known of the functions that had it.
        """
        begin = handle.acquired
        if begin is None or begin.stack is None or not departures:
            return False
        try:
            return _Inquiry(self, handle, Code.LOST, None, departures, []).was_kept()
        except Exception as error:  # noqa: BLE001 - a source that is read may be of any shape
            self._broken(error)
            return False

    def _later_handles(
        self, handle: Handle, departures: list[Departure]
    ) -> list[tuple[Handle, int]]:
        """Return handles of the same kind that the same functions got later, the nearest ones."""
        found: dict[Handle, int] = {}
        for number, departure in enumerate(departures):
            handles = departure.invocation.handles
            at = self.place(departure.invocation, handle)
            if at < 0:
                continue
            for other in handles[at + 1 : at + 1 + _MOST_RIVALS]:
                if other.kind is handle.kind and other.hid > handle.hid:
                    found.setdefault(other, number)
        return list(found.items())

    def place(self, invocation: Invocation, handle: Handle) -> int:
        """Return where a handle stands in a function's list, -1 if it does not."""
        handles = invocation.handles
        at = bisect_left(handles, handle.hid, key=_hid)
        if at < len(handles) and handles[at] is handle:
            return at  # most functions get their handles in the order of acquisition
        length, places = self._placed.pop(invocation, (-1, {}))
        if length != len(handles):
            places = {each: number for number, each in enumerate(handles)}
        _keep(self._placed, invocation, (len(handles), places))
        return places.get(handle, -1)

    def released_together(self, departure: Departure) -> frozenset[Stack]:
        """Return where handles were released that went this way together with others."""
        if not departure.shared:
            return _NO_STACKS
        stacks = self._spent.pop(departure, None)
        if stacks is None:
            stacks = frozenset(
                other.ended.stack
                for other in departure.invocation.handles
                if other.state == RELEASED
                and other.ended is not None
                and other.ended.stack is not None
                and any(each is departure for each in other.departures or ())
            )
        _keep(self._spent, departure, stacks)
        return stacks

    def released(
        self, stack: Stack, through: tuple[CodeType, int] | None = None
    ) -> frozenset[Stack]:
        """Return where others were released that were acquired at the same place.

        Args:
            stack: the place.
            through: a call, as a function and an offset, that they have come through, too.
        """
        return frozenset(
            place
            for peer in (stack, *stack.peers[:_MOST_PEERS])
            if through is None or through in zip(peer.codes, peer.offsets, strict=True)
            for place, _ in peer.release_places()
        )

    def forget(self) -> None:
        """Let go of the handles that were last asked for."""
        self._placed.clear()
        self._spent.clear()

    def stage(
        self,
        handle: Handle,
        departure: Departure,
        entry: int,
        to: CodeType | None,
        below: Stage | None,
        *,
        passed: bool,
        running: bool,
    ) -> Stage:
        """Read what the source of one function says about the handle.

        Args:
            handle: the handle.
            departure: how the function was left.
            entry: the offset of the call through which the handle came.
            to: the caller that it was handed to.
            below: the function that had the handle before.
            passed: whether it was handed to the caller.
            running: whether it still runs in this thread.
        """
        begin = handle.acquired
        assert begin is not None  # noqa: S101 - for the type checker
        user = self.ownership.is_user(frame_at(departure.code, 0))
        stage = Stage(departure, entry, to, passed=passed, user=user, running=running)
        if stage.source is None:
            return stage
        stage.call = call = stage.source.call_at(entry, stage.entry_line)
        if call is not None:
            stack = begin.stack
            direct = stack is not None and (stack.codes[0], stack.offsets[0]) == (
                stage.code,
                entry,
            )
            if direct or below is None or below.passed:
                out = self.vocabulary.out_of(begin) if direct else None
                stage.target = stage.source.target(call, out)
                stage.wrapped = out is None and stage.source.is_wrapped(call)
            else:
                stage.target = inherited(stage.source, call, below)
            if below is not None and below.passed and not direct:
                stage.wrapped |= below.wrapped or not below.returns_itself
        stage.read(self.vocabulary.of(handle.kind, begin))
        return stage


class _Inquiry:
    """The search for the cause of one leak."""

    def __init__(
        self,
        causes: Causes,
        handle: Handle,
        code: Code,
        ended: CallRecord | None,
        departures: list[Departure],
        later_handles: list[tuple[Handle, int]],
    ) -> None:
        self.causes = causes
        self.handle = handle
        self.code = code
        self.ended = ended
        self.later_handles = later_handles
        begin = handle.acquired
        assert begin is not None  # noqa: S101 - for the type checker
        assert begin.stack is not None  # noqa: S101 - as above
        self.stack: Stack = begin.stack
        self.names = causes.vocabulary.of(handle.kind, begin)
        self.departures = departures
        self.stages = self._stages(departures)

    # --- the functions that had it --------------------------------------------------------------

    def _stages(self, departures: list[Departure]) -> list[Stage]:
        order: dict[Invocation, list[Departure]] = {}
        for departure in departures:
            order.setdefault(departure.invocation, []).append(departure)
        stages: list[Stage] = []
        after = max(self.stack.owner, 0)
        came: tuple[CodeType, int] | None = None
        for number, (invocation, own) in enumerate(order.items()):
            last = own[-1]
            handed = next((d for d in own if d.exit in _MOVES), None)
            entry = -1
            if number == 0 and self.stack.codes[after] is invocation.code:
                entry = self.stack.offsets[after]
            elif came is not None and came[0] is invocation.code:
                entry = came[1]
            else:
                for index in range(after, len(self.stack.codes)):
                    if self.stack.codes[index] is invocation.code:
                        entry, after = self.stack.offsets[index], index
                        break
            came = None
            if handed is not None and handed.to is not None:
                came = (handed.to, handed.to_offset)
            stage = self.causes.stage(
                self.handle,
                last,
                entry,
                None if handed is None else handed.to,
                stages[-1] if stages else None,
                passed=handed is not None,
                running=self._runs(last),
            )
            below = stages[-1] if stages else None
            stage.lapped = self._laps(stage, below)
            stage.settled = below is None or below.departure.exit not in BY_EXCEPTION
            self._add_seen(stage)
            self._sort_out(stage)
            stages.append(stage)
        return stages

    def _laps(self, stage: Stage, below: Stage | None) -> bool:
        """Return whether a function has come again to the call through which it got the handle.

        Not if that call brought several: they were in one run of the callee.
        """
        invocation = stage.departure.invocation
        within = None if below is None else below.departure.invocation
        for other in invocation.handles[max(0, self.causes.place(invocation, self.handle)) :]:
            stack = other.acquired.stack if other.acquired is not None else None
            if within is not None and self.causes.place(within, other) >= 0:
                continue
            if other.hid > self.handle.hid and stack is not None and not self._together(other):
                for code, offset in zip(stack.codes, stack.offsets, strict=True):
                    if code is stage.code and offset == stage.entry:
                        return True
        return False

    def _runs(self, departure: Departure) -> bool:
        """Return whether a function still runs in this thread, an exception on its way or not."""
        if departure.offset < 0:
            return False
        if departure.exit is Exit.RUNNING:
            return True
        stack = self.ended.stack if self.ended is not None else None
        return (
            departure.exit in BY_EXCEPTION
            and departure.caught is None
            and stack is not None
            and (departure.code, departure.offset) in zip(stack.codes, stack.offsets, strict=True)
        )

    def _add_seen(self, stage: Stage) -> None:
        """Add the places at which others were released that came through the same call.

        What came into the function by another call is bound to something else.
        """
        source = stage.source
        if source is None:
            return
        for stack in self.causes.released(self.stack, (stage.code, stage.entry)):
            if stage.code not in stack.codes:
                continue
            at = source.flow.at(stack.offsets[stack.codes.index(stage.code)])
            known = next((r for r in stage.releases if at in stage.offsets(r)), None)
            if known is not None:
                stage.releases[stage.releases.index(known)] = known._replace(seen=True)
                continue
            call = source.call_at(at, 0)
            if call is None or at not in source.flow.calls(span(call)):
                continue
            if any(call is other.node for other in stage.others):
                continue
            name, through = last_name(call.func), ""
            if name not in self.names.functions | self.names.methods:
                name, through = shown_call(call, name), self.names.word
            seen = Release(name, through, call.lineno, call, tie=Tie.PART, seen=True)
            stage.releases.append(seen)
        stage.releases.sort(key=_line)

    def _sort_out(self, stage: Stage) -> None:
        """Set those releases apart that are another handle's."""
        source = stage.source
        if source is None or not stage.releases:
            return
        lines = {
            frame_at(code, offset).line
            for departure in self.departures
            for stack in self.causes.released_together(departure)
            for code, offset in zip(stack.codes, stack.offsets, strict=True)
            if code is stage.code
        }
        # In a loop one round may be this one's.
        stage.released_together = tuple(
            release
            for release in stage.releases
            if release.line in lines and source.loop_around(release.node) is None
        )
        stage.releases = [
            release
            for release in stage.releases
            if release not in stage.released_together
            and not any(self._acquired_at(stage, call) for call in release.made)
        ]

    def _acquired_at(self, stage: Stage, call: ast.Call) -> bool:
        """Return whether a call has acquired another handle in this run of the function."""
        assert stage.source is not None  # noqa: S101 - for the type checker
        offsets = stage.source.flow.calls(span(call))
        for other in stage.departure.invocation.handles[-_MOST_PEERS:]:
            stack = other.acquired.stack if other.acquired is not None else None
            if other is not self.handle and stack is not None:
                for code, offset in zip(stack.codes, stack.offsets, strict=True):
                    if code is stage.code and stage.source.flow.at(offset) in offsets:
                        return True
        return False

    # --- who should have released it ------------------------------------------------------------

    def answer(self) -> Cause | None:
        """Return the cause."""
        for stage in self.stages:
            again = self._overwritten(stage)
            if again is not None:
                index = self.stages.index(stage)
                pattern = Pattern.OVERWRITTEN if again.loop is None else Pattern.LOOP
                return self._cause(self._reason(index, pattern, again=again))
        late = None
        if self.code is Code.LEAKED_AT_RELEASE and self.ended is not None:
            late = latest(self.stages, self.ended, self.names, self.causes.ownership)
        if late is not None:
            return self._cause(self._reason(late.number, Pattern.ORDER, late=late))
        if self.stages[-1].departure.lets_go:
            keeper = next((each for each in self.stages if self._has_kept(each)), None)
            if keeper is not None:
                last = len(self.stages) - 1
                return self._cause(self._reason(last, Pattern.STORED, keeper=keeper))
        index, pattern, owner = self._responsible()
        return self._cause(self._reason(index, pattern, owner=owner))

    def was_kept(self) -> bool:
        """Return whether one of the functions has stored it in something that outlives that."""
        return any(map(self._has_kept, self.stages))

    def _has_kept(self, stage: Stage) -> bool:
        return stage.user and self._kept(stage) is not None

    def _cause(self, reason: Reason) -> Cause:
        return cause_of(reason, self.causes.ownership)

    def _responsible(self) -> tuple[int, Pattern, Owner | None]:
        fallback: tuple[int, Pattern, Owner | None] | None = None
        stored: tuple[int, Pattern, Owner | None] | None = None
        for index, stage in enumerate(self.stages):
            if not stage.user and len(self.stages) > 1:
                continue
            departure = stage.departure
            later = self.stages[index + 1 :]
            if stage.passed and departure.exit in _MOVES:
                seen = any(each.user for each in later)
                waits = departure.exit is Exit.YIELDED and not stage.running
                # What would have released it when it went on is its owner still.
                if waits and any(map(stage.is_ahead, stage.releases) if seen else stage.releases):
                    return index, Pattern.SUSPENDED, None
                if seen:
                    stored = stored or self._stored(index)
                    continue
                # Nobody of the user's own was seen to have it after that.
                fallback = fallback or (index, Pattern.HANDED_ON, None)
                continue
            if stage.passed and not stage.releases and any(each.user for each in later):
                stored = stored or self._stored(index)
                continue
            kept = self._kept(stage)
            if stage.releases:
                elsewhere = (
                    departure.exit is Exit.RETURNED
                    and kept is not None
                    and any(each.releases for each in later if each.user)
                )
                if elsewhere:
                    continue
                return index, self._passed_by(stage), None
            if stored is not None and kept is None:
                return stored  # who keeps it for longer need not have it released
            if kept is None and stage.source is not None and departure.exit is not Exit.RUNNING:
                if departure.exit is Exit.SUSPENDED:
                    return index, Pattern.SUSPENDED, None
                if stage.target.form == "discarded":
                    return index, Pattern.DISCARDED, None
                if fallback is not None and fallback[2] is not None and fallback[2].forgets:
                    return fallback
                owner = None if fallback is None else fallback[2]
                return index, Pattern.NEVER_RELEASED, owner
            if fallback is None:
                owner = None if kept is None else self._owner(stage, kept)
                fallback = index, self._without_release(stage, kept), owner
        if fallback is not None:
            return fallback
        return len(self.stages) - 1, Pattern.HANDED_ON, None

    def _stored(self, index: int) -> tuple[int, Pattern, Owner | None] | None:
        """Return where a function that has handed the handle on has kept it, too, if it has."""
        kept = self._kept(self.stages[index])
        if kept is None:
            return None
        return index, Pattern.STORED, self._owner(self.stages[index], kept)

    def _without_release(self, stage: Stage, kept: Target | None) -> Pattern:
        if kept is not None:
            return Pattern.STORED
        if stage.target.form == "discarded":
            return Pattern.DISCARDED
        if stage.departure.exit is Exit.SUSPENDED:
            return Pattern.SUSPENDED
        return Pattern.NEVER_RELEASED

    def _owner(self, stage: Stage, kept: Target) -> Owner | None:
        """Return what the class does about a handle that an object of it keeps for itself."""
        source = stage.source
        if source is None or source.home is None or not source.is_own(kept.text):
            return None
        closers = releasers(source, self.names, kept)
        if closers:
            return Owner(source.home, kept, tuple(closers))
        attribute = attribute_of(kept.text)
        forgets = source.forgetful(attribute, self.names.functions | self.names.methods)
        stack = self.ended.stack if self.ended is not None else None
        running = {code.co_name for code in stack.codes} if stack is not None else set()
        chosen = [each for each in forgets if each[0].name in running] or forgets
        if len(chosen) != 1:
            return None
        return Owner(source.home, kept, (), chosen[0])

    def _kept(self, stage: Stage) -> Target | None:
        """Return what the handle is stored in that outlives the function."""
        target, source = stage.target, stage.source
        if target.outlives and target.text:
            if stage.code.co_name == "<module>" and target.form == "global":
                return None
            if source is not None and source.is_own(target.text) and self._is_unborn(stage):
                return None
            return target
        if source is None or not target.text:
            return None
        for found, statement in source.kept_in(target.text, target.line):
            if stage.has_passed(statement):
                return found
        return None

    def _is_unborn(self, stage: Stage) -> bool:
        """Return whether the exception that left a method has left its object's constructor, too.

        Then nobody has got the object that keeps the handle.
        """
        if stage.departure.exit not in BY_EXCEPTION:
            return False
        later = self.stages[self.stages.index(stage) :]
        failed = [each for each in later if each.is_unborn and each.source is not None]
        if not failed:
            return False
        last = later.index(failed[-1])
        own = [each.source is not None and each.source.is_own(each.target.text) for each in later]
        # A subclass's constructor that goes on has the object.
        return all(own[: last + 1]) and not any(own[last + 1 : last + 2])

    def _passed_by(self, stage: Stage) -> Pattern:
        """Return how a function with a release for the handle got past it."""
        departure = stage.departure
        if departure.exit is Exit.SUSPENDED:
            return Pattern.SUSPENDED
        missed = [
            release
            for release in stage.releases
            if stage.met(release) is Met.MISSED and not stage.guard(release)[0]
        ]
        if departure.exit in BY_EXCEPTION:
            return Pattern.EXCEPTION if missed else Pattern.BRANCH
        if departure.exit is Exit.RUNNING and not stage.pending:
            return Pattern.BRANCH
        line = stage.line
        explicit = stage.source is not None and stage.source.is_return(line)
        behind = any(release.line > line for release in missed)
        return Pattern.EARLY_RETURN if behind and explicit else Pattern.BRANCH

    # --- overwritten ----------------------------------------------------------------------------

    def _overwritten(self, stage: Stage) -> Again | None:
        """Return how the variable was bound to a second handle while this one lived, if it was."""
        source, target = stage.source, stage.target
        if source is None or not target.text or stage.entry < 0 or stage.call is None:
            return None
        if target.form == "item" or not stage.user:
            return None
        code = stage.code
        outer = stage is not self.stages[0]
        if outer and not self.stages[self.stages.index(stage) - 1].passed:
            return None  # it was not this call that bound it
        for other, _ in self.later_handles:
            begin = other.acquired
            if begin is None or begin.stack is None:
                continue
            stack = begin.stack
            at = next((i for i, each in enumerate(stack.codes) if each is code), -1)
            if at < 0:
                continue
            again = stack.offsets[at]
            same_run = self._same_run(other, stage)
            if not same_run and (outer or not target.outlives or not self._shares(stage, other)):
                continue
            call = source.call_at(again, frame_at(code, again).line)
            if call is None:
                continue
            direct = stack.codes[0] is code
            out = self.causes.vocabulary.out_of(begin)
            bound = source.target(call, out if direct else None)
            if bound.text != target.text:
                continue
            if same_run and again != stage.entry and _together_in(source, call, stage.call):
                continue  # they are bound at once
            first, second = frame_at(code, stage.entry), frame_at(code, again)
            loop = source.loop_around(call) if again == stage.entry and same_run else None
            if again == stage.entry and same_run and (loop is None or self._together(other)):
                continue  # both came out of one call
            start, end = first.line, second.line
            if loop is not None:
                start, end = loop.lineno, (loop.end_lineno or 0) + 1
            if any(start < r.line < end for r in stage.releases):
                continue
            if source.copied(target.text, start, end - 1):
                continue
            sites, lost = self._in_loop(stage)
            return Again(first.line, second.line, loop, sites, lost)
        return None

    def _together(self, other: Handle) -> bool:
        """Return whether two handles were handed on at once."""
        mine = {id(each) for each in self.departures if each.exit in _MOVES}
        return any(id(each) in mine for each in other.departures or ())

    def _same_run(self, other: Handle, stage: Stage) -> bool:
        invocation = stage.departure.invocation
        return all(self.causes.place(invocation, handle) >= 0 for handle in (other, self.handle))

    def _shares(self, stage: Stage, other: Handle) -> bool:
        """Return whether two calls of a function bind the same variable of theirs."""
        form = stage.target.form
        if form in ("closure", "global"):
            return True
        if form != "attribute" or len(self.stages) < 2:
            return False
        if not stage.target.text.startswith("self."):
            return False
        caller = self.stages[1]
        begin = other.acquired
        if caller.source is None or begin is None or begin.stack is None or caller.entry < 0:
            return False
        code = caller.code
        again = next(
            (o for c, o in zip(begin.stack.codes, begin.stack.offsets, strict=True) if c is code),
            -1,
        )
        return again >= 0 and caller.source.same_receiver(caller.entry, again)

    def _in_loop(self, stage: Stage) -> tuple[int, int]:
        """Return how many places of the loop leak, and how many handles of this place."""
        mine = [
            other
            for other in stage.departure.invocation.handles
            if other.kind is self.handle.kind and other.state != RELEASED and other.acquired
        ]
        same = [
            other
            for other in mine
            if other.acquired is not None and other.acquired.stack is self.stack
        ]
        source = stage.source
        loop = None
        if source is not None and stage.call is not None:
            loop = source.loop_around(stage.call)
        places = {self.stack}
        if loop is not None:
            for other in mine:
                stack = other.acquired.stack if other.acquired is not None else None
                if stack is None or stage.code not in stack.codes:
                    continue
                line = stack.frames[stack.codes.index(stage.code)].line
                if loop.lineno <= line <= (loop.end_lineno or 0):
                    places.add(stack)
        return len(places), len(same)

    # --- the reason -----------------------------------------------------------------------------

    def _reason(
        self,
        index: int,
        pattern: Pattern,
        *,
        again: Again | None = None,
        late: Late | None = None,
        owner: Owner | None = None,
        keeper: Stage | None = None,
    ) -> Reason:
        stage = self.stages[index]
        met = {
            sort: [release for release in stage.releases if stage.met(release) is sort]
            for sort in Met
        }
        missed = [r for r in met[Met.MISSED] if r.seen or r.tie in (Tie.SAME, Tie.PART)]
        told: list[Release] = []
        guard: tuple[str, tuple[int, ...]] = "", ()
        if late is not None:
            told = list(late.releases)
        elif again is not None:
            every = sorted([*stage.releases, *stage.others], key=_line)
            told = [release for release in every if release.line > again.after]
        elif pattern is Pattern.BRANCH:
            told = sorted([*missed, *met[Met.DODGED]], key=_line)
            guarded = [release for release in told if stage.guard(release)[0]]
            told = guarded or told
            guard = stage.guard(told[0]) if told else guard
        elif stage.releases:
            told = [r for r in missed if r.line >= stage.line] or missed
        ran = met[Met.RAN]
        foreign = tuple(self._foreign(stage))
        return Reason(
            handle=self.handle,
            code=self.code,
            ended=self.ended,
            names=self.names,
            stages=self.stages,
            number=index,
            pattern=pattern,
            told=tuple(told),
            guard=guard,
            ran=tuple(r for r in ran if r.form is not Form.HANDED),
            handed=tuple(r for r in ran if r.form is Form.HANDED),
            foreign=foreign,
            late=late,
            again=again,
            owner=owner,
            kept=self._kept(keeper or stage),
            silent=stage.user and self._is_silent(stage, owner, foreign),
            gives=self._gives(stage),
            unborn=self._is_unborn(stage),
            end=self._end(stage, ran),
            closed_others=owner is not None and self._has_closed_others(stage, owner),
        )

    def _end(self, stage: Stage, ran: list[Release]) -> EndCondition | None:
        """Return why the end of a `with` has not released it, if an exception was to blame."""
        if stage.source is None or stage.departure.exit not in BY_EXCEPTION:
            return None
        ends = [release for release in ran if release.form is Form.WITH]
        return end_condition(stage.source, self.names, stage.target, ends[0]) if ends else None

    def _has_closed_others(self, stage: Stage, owner: Owner) -> bool:
        """Return whether its owner was seen to release others from the same place."""
        places = {(each.name, line) for each, line in owner.closers}
        return any(
            code.co_filename == stage.code.co_filename
            and (code.co_name, frame_at(code, offset).line) in places
            for stack in self.causes.released(self.stack)
            for code, offset in zip(stack.codes, stack.offsets, strict=True)
        )

    def _foreign(self, stage: Stage) -> list[Release]:
        """Return releases in a function that were seen to release another handle in this run."""
        source = stage.source
        found: dict[ast.Call, Release] = {}
        if source is None or stage.releases or stage.released_together:
            return []
        for other in stage.departure.invocation.handles[-_MOST_PEERS:]:
            stack = other.ended.stack if other.ended is not None else None
            if other.state != RELEASED or other.kind is not self.handle.kind or stack is None:
                continue
            for code, offset in zip(stack.codes, stack.offsets, strict=True):
                call = source.call_at(offset, 0) if code is stage.code else None
                if call is None or source.flow.at(offset) not in source.flow.calls(span(call)):
                    continue
                name, through = last_name(call.func), ""
                if name not in self.names.functions | self.names.methods:
                    name, through = shown_call(call, name), self.names.word
                found[call] = Release(name, through, call.lineno, call)
        return sorted(found.values(), key=_line)

    def _is_silent(self, stage: Stage, owner: Owner | None, foreign: tuple[Release, ...]) -> bool:
        """Return whether it is certain that no path of a function releases the handle."""
        source = stage.source
        if source is None or stage.releases:
            return False
        names = self.names
        if owner is not None:
            closers = frozenset(definition.name for definition, _ in owner.closers)
            names = names._replace(functions=names.functions | closers)
        return names_none(source, names, stage.target, [each.node for each in foreign])

    def _gives(self, stage: Stage) -> bool:
        """Return whether a function would have given the handle away on another path."""
        source, target = stage.source, stage.target
        if source is None or not target.text:
            return False
        if self._is_unborn(stage) and source.is_own(target.text):
            return True
        if source.hands_on(target.text, yields=not stage.releases):
            return True
        return bool(source.kept_in(target.text, target.line))


# --- parts ----------------------------------------------------------------------------------------

_hid = attrgetter("hid")
_line = attrgetter("line")


def _together_in(source: Function, one: ast.Call, other: ast.Call) -> bool:
    """Return whether two calls stand in one statement, so that their results are bound at once."""
    statement = source.statement(one)
    return statement is not None and statement is source.statement(other)


def _keep(known: dict[_K, _V], key: _K, value: _V) -> None:
    """Keep what was last asked for in place of what was not asked for for longest.

    One function may have very many handles, each of which came from a run of another one.
    """
    if len(known) >= _MOST_PLACED:
        del known[next(iter(known))]
    known[key] = value


def _key(departure: Departure) -> object:
    return (
        departure.exit,
        id(departure.code),
        departure.offset,
        departure.line,
        departure.exception,
        id(departure.raised),
        departure.raised_line,
        id(departure.caught),
        departure.caught_offset,
    )
