"""Why a handle was not released: from the ways in which functions were left to words.

The facts are the `Departure`s that a handle has gathered. The source is read only here, when a
finding is made, and what it says is kept for the next finding of the same sort. The function that
is held responsible is the innermost one that had the handle and either has a release for it that
was not reached, or let it go out of sight.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from csptrace.detect.source import Release, Target, function_of
from csptrace.model import (
    RELEASED,
    Cause,
    Code,
    Departure,
    Exit,
    Frame,
    Pattern,
    Skipped,
    frame_at,
)
from csptrace.specs.vocabulary import Acquires, Dll, Releases, ReleasesAll

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import CodeType

    from csptrace.detect.ownership import Ownership
    from csptrace.detect.source import Function
    from csptrace.model import Handle, Moment, Stack, Stay
    from csptrace.specs.vocabulary import Kind, Spec

__all__ = ["Causes"]

_K = TypeVar("_K")
_V = TypeVar("_V")
_MOVES: Final = frozenset({Exit.HANDED_ON, Exit.YIELDED})
_MOST_KEPT: Final = 1024
_MOST_RIVALS: Final = 16
_MOST_PLACED: Final = 16
_MOST_NAMED: Final = 3
_NO_STACKS: Final[frozenset[Stack]] = frozenset()
_BY_EXCEPTION: Final = frozenset({Exit.RAISED, Exit.CLOSED, Exit.CANCELLED})


class _Stage(NamedTuple):
    """One function that had the handle, from the one that acquired it outwards.

    Attributes:
        departure: how it was left in the end.
        passed: whether it had handed the handle to its caller.
        to: the caller it was handed to.
        entry: the offset of the call through which the handle came, -1 if that is not known.
        source: its source, `None` if there is none.
        call: the expression of that call.
        target: what the handle is bound to.
        releases: the releases in its source.
        user: whether it is the user's own code.
        spent: releases that were reached, for another handle that came together with this one.
    """

    departure: Departure
    passed: bool
    to: CodeType | None
    entry: int
    source: Function | None
    call: object
    target: Target
    releases: list[Release]
    user: bool
    spent: tuple[Release, ...] = ()


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
        self._releasing: dict[str, set[str]] = {}
        self._outs: dict[tuple[str, str, str], int] = {}
        self._placed: dict[Stay, tuple[int, dict[Handle, int]]] = {}
        self._spent: dict[Departure, frozenset[Stack]] = {}
        self._kept: dict[object, Cause | None] = {}
        for spec in specs:
            self._learn(spec)

    def _learn(self, spec: Spec) -> None:
        called: dict[str, set[str]] = {}
        for binding in spec.bindings:
            for shape in binding.shapes.values():
                called.setdefault(shape.call, set()).add(shape.python.rpartition(".")[2])
        rows = [*spec.calls, *(row for binding in spec.bindings for row in binding.rows)]
        for row in rows:
            for effect in row.effects:
                if isinstance(effect, ReleasesAll) or (
                    isinstance(effect, Releases) and effect.when is None
                ):
                    names = self._releasing.setdefault(effect.kind.name, set())
                    for name in row.names:
                        # A method is called by its own name, whatever holds it.
                        names.update({name.rpartition(".")[2]}, called.get(name, ()))
        for binding in spec.bindings:
            if not isinstance(binding.target, Dll):
                continue
            for row in spec.calls:
                for effect in row.effects:
                    if isinstance(effect, Acquires) and effect.out in row.params:
                        at = row.params.index(effect.out)
                        for name in row.names:
                            self._outs[name, spec.name, binding.name] = at

    def releasing(self, kind: Kind) -> frozenset[str]:
        """Return the names of the functions and methods that release a kind of handle."""
        return frozenset(self._releasing.get(kind.name, ()))

    # --- the cause ----------------------------------------------------------------------------

    def why(
        self,
        handle: Handle,
        code: Code,
        ended: Moment | None,
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
        rivals = self._rivals(handle, departures)
        key = (
            code,
            id(handle.kind),
            stack,
            None if ended is None else ended.stack,
            tuple(_key(departure) for departure in departures),
            tuple((other.acquired.stack, n) for other, n in rivals if other.acquired),
            tuple(map(self.spent, departures)),
        )
        if key not in self._kept:
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            try:
                cause = _Inquiry(self, handle, code, ended, departures, rivals).answer()
            except Exception as error:  # noqa: BLE001 - a source that is read may be of any shape
                self._broken(error)
                cause = None
            self._kept[key] = cause
        return self._kept[key]

    def _rivals(self, handle: Handle, departures: list[Departure]) -> list[tuple[Handle, int]]:
        """Return handles of the same kind that the same functions got later, the nearest ones."""
        found: dict[Handle, int] = {}
        for number, departure in enumerate(departures):
            handles = departure.stay.handles
            at = self.place(departure.stay, handle)
            if at < 0:
                continue
            for other in handles[at + 1 : at + 1 + _MOST_RIVALS]:
                if other.kind is handle.kind and other.hid > handle.hid:
                    found.setdefault(other, number)
        return list(found.items())

    def place(self, stay: Stay, handle: Handle) -> int:
        """Return where a handle stands in a function's list, -1 if it does not."""
        handles = stay.handles
        at = bisect_left(handles, handle.hid, key=_hid)
        if at < len(handles) and handles[at] is handle:
            return at  # most functions get their handles in the order of acquisition
        length, places = self._placed.pop(stay, (-1, {}))
        if length != len(handles):
            places = {each: number for number, each in enumerate(handles)}
        _keep(self._placed, stay, (len(handles), places))
        return places.get(handle, -1)

    def spent(self, departure: Departure) -> frozenset[Stack]:
        """Return where handles were released that went this way together with others."""
        if not departure.shared:
            return _NO_STACKS
        stacks = self._spent.pop(departure, None)
        if stacks is None:
            stacks = frozenset(
                other.ended.stack
                for other in departure.stay.handles
                if other.state == RELEASED
                and other.ended is not None
                and other.ended.stack is not None
                and any(each is departure for each in other.departures or ())
            )
        _keep(self._spent, departure, stacks)
        return stacks

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
        below: _Stage | None,
        *,
        passed: bool,
    ) -> _Stage:
        """Read what the source of one function says about the handle.

        Args:
            handle: the handle.
            departure: how the function was left.
            entry: the offset of the call through which the handle came.
            to: the caller that it was handed to.
            below: the function that had the handle before.
            passed: whether it was handed to the caller.
        """
        begin = handle.acquired
        assert begin is not None  # noqa: S101 - for the type checker
        code = departure.code
        source = function_of(code)
        user = self.ownership.is_user(frame_at(code, 0))
        call = None
        target = Target("", "unknown", False, 0)
        releases: list[Release] = []
        if source is not None:
            line = frame_at(code, entry).line if entry >= 0 else 0
            call = source.call_at(entry, line)
            stack = begin.stack
            direct = stack is not None and (stack.codes[0], stack.offsets[0]) == (code, entry)
            if call is not None:
                target = source.target(call, self.out_of(begin) if direct else None)
            given = "" if below is None or below.source is None else below.target.text
            if call is not None and given and not (below is not None and below.passed):
                assert below is not None  # noqa: S101 - for the type checker
                assert below.source is not None  # noqa: S101 - as above
                argument = below.source.parameter(given)
                if argument is not None:
                    target = source.argument(call, *argument) or target
            releases = source.releases(
                self.releasing(handle.kind), target if target.text else None, call
            )
        return _Stage(departure, passed, to, entry, source, call, target, releases, user)

    def out_of(self, moment: Moment) -> int | None:
        """Return the position of the parameter through which a call gave out a handle."""
        site = moment.site
        return self._outs.get((site.call, site.api, site.binding))


class _Inquiry:
    """The search for the cause of one leak."""

    def __init__(
        self,
        causes: Causes,
        handle: Handle,
        code: Code,
        ended: Moment | None,
        departures: list[Departure],
        rivals: list[tuple[Handle, int]],
    ) -> None:
        self.causes = causes
        self.handle = handle
        self.code = code
        self.ended = ended
        self.rivals = rivals
        begin = handle.acquired
        assert begin is not None  # noqa: S101 - for the type checker
        assert begin.stack is not None  # noqa: S101 - as above
        self.stack: Stack = begin.stack
        self.release = handle.kind.release or "its release function"
        self.departures = departures
        self.stages = self._stages(departures)

    def _stages(self, departures: list[Departure]) -> list[_Stage]:
        order: dict[Stay, list[Departure]] = {}
        for departure in departures:
            order.setdefault(departure.stay, []).append(departure)
        stages: list[_Stage] = []
        after = max(self.stack.owner, 0)
        came: tuple[CodeType, int] | None = None
        for number, (stay, own) in enumerate(order.items()):
            last = own[-1]
            handed = next((d for d in own if d.exit in (Exit.HANDED_ON, Exit.YIELDED)), None)
            entry = -1
            if number == 0 and self.stack.codes[after] is stay.code:
                entry = self.stack.offsets[after]
            elif came is not None and came[0] is stay.code:
                entry = came[1]
            else:
                for index in range(after, len(self.stack.codes)):
                    if self.stack.codes[index] is stay.code:
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
            )
            stages.append(self._unspent(stage))
        return stages

    def _unspent(self, stage: _Stage) -> _Stage:
        """Set the releases apart that were reached, for handles that came with this one."""
        source = stage.source
        if source is None or not stage.releases:
            return stage
        lines = {
            frame_at(code, offset).line
            for departure in self.departures
            for stack in self.causes.spent(departure)
            for code, offset in zip(stack.codes, stack.offsets, strict=True)
            if code is stage.departure.code
        }
        # In a loop one round may be this one's.
        spent = tuple(
            release
            for release in stage.releases
            if release.line in lines and source.loop_around(release.node) is None
        )
        if not spent:
            return stage
        left = [release for release in stage.releases if release not in spent]
        return stage._replace(releases=left, spent=spent)

    # --- who should have released it ----------------------------------------------------------

    def answer(self) -> Cause | None:
        """Return the cause."""
        for stage in self.stages:
            found = self._overwritten(stage)
            if found is not None:
                return found
        index, pattern = self._responsible()
        stage = self.stages[index]
        return self._tell(index, stage, pattern)

    def _responsible(self) -> tuple[int, Pattern]:
        fallback: tuple[int, Pattern] | None = None
        for index, stage in enumerate(self.stages):
            if not stage.user and len(self.stages) > 1:
                continue
            departure = stage.departure
            later = self.stages[index + 1 :]
            if stage.passed and departure.exit in (Exit.HANDED_ON, Exit.YIELDED):
                if any(each.user for each in later):
                    continue
                # Nobody of the user's own was seen to have it after that.
                if departure.exit is Exit.YIELDED and stage.releases:
                    return index, Pattern.SUSPENDED
                fallback = fallback or (index, Pattern.HANDED_ON)
                continue
            if stage.passed and not stage.releases and any(each.user for each in later):
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
                return index, self._passed_by(stage)
            if kept is None and stage.source is not None and departure.exit is not Exit.RUNNING:
                if departure.exit is Exit.SUSPENDED:
                    return index, Pattern.SUSPENDED
                if stage.target.form == "discarded":
                    return index, Pattern.DISCARDED
                return index, Pattern.NEVER_RELEASED
            if fallback is None:
                fallback = index, self._without_release(stage, kept)
        if fallback is not None:
            return fallback
        return len(self.stages) - 1, Pattern.HANDED_ON

    def _without_release(self, stage: _Stage, kept: Target | None) -> Pattern:
        if kept is not None:
            return Pattern.STORED
        if stage.target.form == "discarded":
            return Pattern.DISCARDED
        if stage.departure.exit is Exit.SUSPENDED:
            return Pattern.SUSPENDED
        return Pattern.NEVER_RELEASED

    def _kept(self, stage: _Stage) -> Target | None:
        """Return what the handle is stored in that outlives the function."""
        target = stage.target
        if target.outlives and target.text:
            if stage.departure.code.co_name == "<module>" and target.form == "global":
                return None
            return target
        if stage.source is None or not target.text:
            return None
        return stage.source.kept_in(target.text, target.line)

    def _passed_by(self, stage: _Stage) -> Pattern:
        """Return how a function with a release for the handle got past it."""
        departure = stage.departure
        if departure.exit is Exit.SUSPENDED:
            return Pattern.SUSPENDED
        if departure.exit in _BY_EXCEPTION:
            missed = self._missed(stage, self._line(stage))
            return Pattern.EXCEPTION if missed else Pattern.BRANCH
        line = self._line(stage)
        behind = self._behind(stage, line)
        if departure.exit is Exit.RUNNING and not self._pending(stage):
            return Pattern.ORDER if behind and self._ends_here(stage) else Pattern.BRANCH
        explicit = stage.source is not None and stage.source.is_return(line)
        return Pattern.EARLY_RETURN if behind and explicit else Pattern.BRANCH

    def _missed(self, stage: _Stage, line: int) -> list[Release]:
        """Return the releases that a clean-up does not reach in any case."""
        source = stage.source
        if source is None:
            return stage.releases
        return [r for r in stage.releases if not source.runs_anyway(r.node, line)]

    def _behind(self, stage: _Stage, line: int) -> list[Release]:
        """Return the releases that stand behind a line, or on it in a loop."""
        source = stage.source
        return [
            release
            for release in self._missed(stage, line)
            if release.line > line
            or (
                release.line == line
                and stage.departure.exit is Exit.RUNNING
                and source is not None
                and source.loop_around(release.node) is not None
            )
        ]

    def _ends_here(self, stage: _Stage) -> bool:
        """Return whether the parent was released from within this function."""
        stack = self.ended.stack if self.ended is not None else None
        return stack is not None and any(code is stage.departure.code for code in stack.codes)

    def _title_of_the_ended(self) -> str:
        """Return what was released over the handle's head: its parent, or that one's."""
        ended = self.handle.ended_by or self.handle.parent
        return "parent" if ended is None else ended.kind.title

    def _pending(self, stage: _Stage) -> int:
        """Return the line of the `return` for which a clean-up is under way, 0 if there is none."""
        departure = stage.departure
        if departure.exit is not Exit.RUNNING or stage.source is None or departure.offset < 0:
            return 0
        return stage.source.return_behind(departure.offset)

    def _line(self, stage: _Stage) -> int:
        """Return the line at which a function was left, or stood."""
        departure = stage.departure
        if (
            departure.exit in (Exit.RETURNED, Exit.HANDED_ON)
            and stage.source is not None
            and departure.offset >= 0
        ):
            return stage.source.return_behind(departure.offset) or departure.frame.line
        return self._pending(stage) or departure.frame.line

    # --- overwritten --------------------------------------------------------------------------

    def _overwritten(self, stage: _Stage) -> Cause | None:
        """Return the cause if the variable was bound to a second handle while this one lived."""
        source, target = stage.source, stage.target
        if source is None or not target.text or stage.entry < 0 or stage.call is None:
            return None
        if target.form == "item" or not stage.user:
            return None
        code = stage.departure.code
        outer = stage is not self.stages[0]
        if outer and not self.stages[self.stages.index(stage) - 1].passed:
            return None  # it was not this call that bound it
        for other, _ in self.rivals:
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
            out = self.causes.out_of(begin)
            bound = source.target(call, out if direct else None)
            if bound.text != target.text:
                continue
            first, second = frame_at(code, stage.entry), frame_at(code, again)
            loop = source.loop_around(call) if again == stage.entry and same_run else None
            if again == stage.entry and same_run and (loop is None or self._together(other)):
                continue  # both came out of one call
            start, end = first.line, second.line
            if loop is not None:
                start, end = loop.lineno, (loop.end_lineno or 0) + 1  # type: ignore[attr-defined]
            if any(start < r.line < end for r in stage.releases):
                continue
            if source.copied(target.text, start, end - 1):
                continue
            return self._tell_overwritten(stage, first, second, loop)
        return None

    def _together(self, other: Handle) -> bool:
        """Return whether two handles were handed on at once."""
        mine = {id(each) for each in self.departures if each.exit in _MOVES}
        return any(id(each) in mine for each in other.departures or ())

    def _same_run(self, other: Handle, stage: _Stage) -> bool:
        stay = stage.departure.stay
        return all(self.causes.place(stay, handle) >= 0 for handle in (other, self.handle))

    def _shares(self, stage: _Stage, other: Handle) -> bool:
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
        code = caller.departure.code
        again = next(
            (o for c, o in zip(begin.stack.codes, begin.stack.offsets, strict=True) if c is code),
            -1,
        )
        return again >= 0 and caller.source.same_receiver(caller.entry, again)

    # --- words --------------------------------------------------------------------------------

    def _tell_overwritten(self, stage: _Stage, first: Frame, second: Frame, loop: object) -> Cause:
        name, target = _called(stage.departure.code), stage.target.shown
        at = stage.departure.frame
        if loop is not None:
            start = loop.lineno  # type: ignore[attr-defined]
            sites, lost = self._in_loop(stage)
            each = "one handle" if sites == 1 else f"{sites} handles"
            words = (
                f"{name} binds {target} anew at line {first.line} in each round of the loop at "
                f"line {start}, {each} a round, while the one before still lives"
            )
            if lost > 1:
                words += f"; {lost} were not released"
            after = [r for r in stage.releases if r.line > (loop.end_lineno or 0)]  # type: ignore[attr-defined]
            if after:
                words += f"; {after[0].name} at line {after[0].line} gets the last one only"
            remedy = (
                f"call {self.release} at the end of each round of the loop at line {start}, in a "
                "try/finally"
            )
            pattern = Pattern.LOOP
        else:
            after = [r for r in stage.releases if r.line > second.line]
            pattern = Pattern.OVERWRITTEN
            if first.line == second.line:
                words = (
                    f"{target} was bound to it at line {first.line} in {name}, and by the next "
                    "call to a second handle, while the first lived"
                )
                remedy = f"call {self.release} on {target} before line {first.line} binds it again"
            else:
                words = (
                    f"{name} bound {target} to it at line {first.line}, and at line {second.line} "
                    "to a second handle, while the first lived"
                )
                remedy = (
                    f"call {self.release} on {target} (bound at line {first.line}) before line "
                    f"{second.line} binds it again, or use two variables"
                )
        return self._cause(stage, pattern, at, words, remedy, self._skipped(stage, after))

    def _in_loop(self, stage: _Stage) -> tuple[int, int]:
        """Return how many places of the loop leak, and how many handles of this place."""
        mine = [
            other
            for other in stage.departure.stay.handles
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
            loop = source.loop_around(stage.call)  # type: ignore[arg-type]
        places = {self.stack}
        if loop is not None:
            for other in mine:
                stack = other.acquired.stack if other.acquired is not None else None
                if stack is None or stage.departure.code not in stack.codes:
                    continue
                line = stack.frames[stack.codes.index(stage.departure.code)].line
                if loop.lineno <= line <= (loop.end_lineno or 0):  # type: ignore[attr-defined]
                    places.add(stack)
        return len(places), len(same)

    def _tell(self, index: int, stage: _Stage, pattern: Pattern) -> Cause:
        departure = stage.departure
        line = self._line(stage)
        at = departure.frame._replace(line=line)
        words = self._beginning(index, stage) + self._end(index, stage, line)
        behind = [r for r in self._missed(stage, line) if r.line >= line]
        releases = behind or self._missed(stage, line) or stage.releases
        if pattern is Pattern.BRANCH and stage.source is not None:
            guarded = [r for r in stage.releases if stage.source.guard(r.node, stage.call)[0]]  # type: ignore[arg-type]
            releases = guarded or releases
        kept = self._kept(stage)
        missed = _and([_shown(r) for r in releases[:_MOST_NAMED]])
        was = "was" if len(releases) == 1 else "were"
        if self.code is Code.HELD_TOO_LONG:
            pass
        elif pattern in (Pattern.EXCEPTION, Pattern.EARLY_RETURN) and releases:
            words += f"; {missed} {was} never reached"
        elif pattern is Pattern.ORDER:
            words += f"; {missed} came too late"
        elif pattern is Pattern.SUSPENDED and releases:
            words += f"; {missed} {was} not reached"
        elif pattern is Pattern.BRANCH:
            words += f"; {self._branch(stage, releases)}"
        elif kept is not None and pattern is Pattern.STORED:
            place = f"{kept.shown} (line {kept.line})"
            words += f"; it stays in {place}, which outlives {_called(departure.code)}"
            also = []
            if stage.source is not None:
                also = stage.source.releasers(self.causes.releasing(self.handle.kind), kept)
            if also:
                words += (
                    f", and {also[0][0]}(), which releases it at line {also[0][1]}, was not called"
                )
        elif pattern is Pattern.DISCARDED:
            words = self._beginning(index, stage) + self._thrown_away(index, stage)
        elif pattern is Pattern.HANDED_ON:
            words += ", where it was not released"
        elif stage.spent and not stage.releases:
            spent = _and([_shown(r) for r in stage.spent[:_MOST_NAMED]])
            words += f"; {spent} released what came together with it, not this one"
        elif stage.source is not None and not stage.releases:
            words += f"; no path of {_called(departure.code)} calls {self.release}"
        if self.handle.refs > 1:
            words += f"; {self.handle.refs} references to it were left"
        remedy = self._remedy(stage, pattern, line, releases, kept)
        return self._cause(stage, pattern, at, words, remedy, self._skipped(stage, releases))

    def _beginning(self, index: int, stage: _Stage) -> str:
        first = self.stages[0]
        line = frame_at(first.departure.code, first.entry).line
        name = _called(first.departure.code)
        if index == 0:
            return f"{name} acquired it at line {line}"
        text = f"{name} acquired it at {_at(frame_at(first.departure.code, first.entry), stage)}"
        told = [each for each in self.stages[:index] if each.passed]
        for each in told:
            verb = "yielded" if _is_generator(each.departure.code) else "returned"
            giver = "" if each is first else f"{_called(each.departure.code)} "
            to = f" to {_called(each.to)}" if each.to is not None else ""
            text += f" and {giver}{verb} it{to}"
        if told and told[-1].to is stage.departure.code:
            return f"{text}, which"
        return f"{text}; {_called(stage.departure.code)}"

    def _thrown_away(self, index: int, stage: _Stage) -> str:
        line = frame_at(stage.departure.code, stage.entry).line if stage.entry >= 0 else 0
        return f"{' and' if index == 0 else ''} threw the result away at line {line}"

    def _end(self, index: int, stage: _Stage, line: int) -> str:
        departure = stage.departure
        joint = " and " if index == 0 else " "
        match departure.exit:
            case Exit.RAISED:
                return f"{joint}{self._raised(stage, line)}"
            case Exit.CLOSED:
                return f"{joint}was closed at line {line}"
            case Exit.CANCELLED:
                return f"{joint}was cancelled at line {line}"
            case Exit.SUSPENDED:
                return f"{joint}was left suspended at line {line}"
            case Exit.HANDED_ON | Exit.YIELDED:
                verb = "returned" if departure.exit is Exit.HANDED_ON else "yielded"
                to = "" if stage.to is None else f" to {_called(stage.to)}"
                return f"{joint}{verb} it at line {line}{to}"
            case Exit.RETURNED:
                if departure.code.co_name == "<module>":
                    return f"{joint}ended at line {line}"
                if stage.source is not None and not stage.source.is_return(line):
                    return f"{joint}ran to its end at line {line}"
                return f"{joint}returned at line {line}"
        if self._pending(stage):
            return f"{joint}returns at line {line}"
        if departure.offset >= 0 and self._ends_here(stage):
            over = self._title_of_the_ended()
            stack = self.ended.stack if self.ended is not None else None
            ownership = self.causes.ownership
            codes = () if stack is None else stack.codes
            caller = next((c for c in codes if not ownership.is_internal(frame_at(c, 0))), None)
            if caller is departure.code:
                return f"{joint}released the {over} at line {line}"
            return f"{joint}had the {over} released at line {line}"
        if self.code is Code.LOST and departure.offset >= 0:
            return f"{joint}let go of it at line {line}"
        still = "is" if self.code is Code.HELD_TOO_LONG else "was"
        at = f", at line {line}" if departure.offset >= 0 else ""
        return f"{joint}{still} still running{at}"

    def _raised(self, stage: _Stage, line: int) -> str:
        departure = stage.departure
        text = f"was left by {departure.exception}"
        if departure.raised is not None and departure.raised is not departure.code:
            text += f" raised in {_called(departure.raised)}"
        text += f" at line {line}"
        caught = self._caught(stage)
        if caught is not None:
            text += f" (caught in {_short(caught.qualname)} at {_at(caught, stage)})"
        return text

    def _caught(self, stage: _Stage) -> Frame | None:
        """Return where a caller caught the exception, if its source says that it could."""
        departure = stage.departure
        if departure.caught is None:
            return None
        frame = frame_at(departure.caught, departure.caught_offset)
        if not self.causes.ownership.is_user(frame):
            return None
        source = function_of(departure.caught)
        line = 0 if source is None else source.catches(frame.line)
        return frame._replace(line=line) if line else None

    def _is_user(self, code: CodeType) -> bool:
        return self.causes.ownership.is_user(frame_at(code, 0))

    def _branch(self, stage: _Stage, releases: list[Release]) -> str:
        release = releases[0]
        text = _shown(release)
        guard, line = "", 0
        if stage.source is not None:
            guard, line = stage.source.guard(release.node, stage.call)  # type: ignore[arg-type]
        if guard == "condition":
            return f"{text} stands behind the condition at line {line}, which was not met"
        if guard == "handler":
            return f"{text} stands in the handler at line {line}, which was not entered"
        if guard == "handled":
            return f"{text} was passed by on the way to the handler at line {line}"
        return f"{text} was not reached"

    def _remedy(
        self,
        stage: _Stage,
        pattern: Pattern,
        line: int,
        releases: list[Release],
        kept: Target | None,
    ) -> str:
        name, release = _called(stage.departure.code), self.release
        start = frame_at(stage.departure.code, stage.entry).line if stage.entry >= 0 else 0
        where = f"line {releases[0].line}" if releases else ""
        call = releases[0].name if releases else release
        begin = f"begin a try after line {start}" if start else "begin a try after the acquisition"
        match pattern:
            case Pattern.EXCEPTION:
                return (
                    f"{begin} and move {call} ({where}) into its finally, or use a context manager"
                )
            case Pattern.EARLY_RETURN:
                return (
                    f"call {call} before the return at line {line} too, or {begin} and move it "
                    f"({where}) into its finally"
                )
            case Pattern.BRANCH:
                return f"call {call} on every path: {begin} and move it ({where}) into its finally"
            case Pattern.ORDER:
                loop = None
                if stage.source is not None and releases and releases[0].line == line:
                    loop = stage.source.loop_around(releases[0].node)
                if loop is not None:
                    parent = self._title_of_the_ended()
                    return (
                        f"reorder the loop at line {loop.lineno}: "  # type: ignore[attr-defined]
                        f"{release} has to be called before the {parent} is released"
                    )
                return f"move {call} ({where}) in front of line {line}"
            case Pattern.SUSPENDED:
                if releases:
                    return (
                        f"{begin}, move {call} ({where}) into its finally, and exhaust or close "
                        f"{name}"
                    )
                return f"{begin}, call {release} in its finally, and exhaust or close {name}"
            case Pattern.STORED if kept is not None:
                return (
                    f"call {release} on {kept.shown} when its owner is done with it: give the "
                    "owner a close(), and call that in a finally"
                )
            case Pattern.DISCARDED:
                return f"keep the result of line {start} and call {release} on it"
            case Pattern.HANDED_ON:
                if stage.to is not None and not self._is_user(stage.to):
                    return (
                        f"{name} hands the handle to {_called(stage.to)}, which is not your code: "
                        f"call {release} before it returns, or hand the handle over in another way"
                    )
                to = "its caller" if stage.to is None else _called(stage.to)
                return f"call {release} in {to}, which gets the handle from {name}"
        what = f" on {stage.target.shown}" if stage.target.shown else ""
        return f"call {release}{what} in {name}: {begin} and release in its finally"

    def _skipped(self, stage: _Stage, releases: list[Release]) -> tuple[Skipped, ...]:
        frame = frame_at(stage.departure.code, 0)
        return tuple(Skipped(r.name, frame._replace(line=r.line)) for r in releases)

    def _cause(
        self,
        stage: _Stage,
        pattern: Pattern,
        at: Frame,
        words: str,
        remedy: str,
        skipped: tuple[Skipped, ...],
    ) -> Cause:
        departure = stage.departure
        raised = None
        if departure.raised is not None:
            raised = frame_at(departure.raised, 0)._replace(line=departure.raised_line)
        exit_ = departure.exit
        if exit_ is Exit.RUNNING and self._pending(stage):
            exit_ = Exit.RETURNED
        moves = []
        for each in self.stages:
            if each is stage:
                break
            if each.passed:
                moves.append(each.departure.frame._replace(line=self._line(each)))
        return Cause(
            exit=exit_,
            pattern=pattern,
            function=departure.code.co_qualname,
            at=at,
            exception=departure.exception,
            raised=raised,
            caught=self._caught(stage),
            moves=tuple(moves),
            skipped=skipped,
            words=words,
            remedy=remedy,
        )


# --- parts ----------------------------------------------------------------------------------------

_hid = attrgetter("hid")


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


def _shown(release: Release) -> str:
    through = f" (it calls {release.through})" if release.through else ""
    return f"{release.name} at line {release.line}{through}"


def _at(frame: Frame, stage: _Stage) -> str:
    """Return a line, with its file if that is another one than the function's."""
    if frame.filename == stage.departure.code.co_filename:
        return f"line {frame.line}"
    return f"{os.path.basename(frame.filename)}:{frame.line}"


def _and(parts: list[str]) -> str:
    if len(parts) < 2:
        return "".join(parts)
    return ", ".join(parts[:-1]) + " and " + parts[-1]
