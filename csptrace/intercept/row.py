"""One row of a spec, ready for one binding: what is done before the native call, and after it."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from csptrace.graph.changes import ReleaseOutcome
from csptrace.graph.states import LIVE
from csptrace.intercept.arguments import Numbers, Parameters, item_of, newest_alive, place_of
from csptrace.intercept.contract import is_deliberate
from csptrace.spec.bindings import Success
from csptrace.spec.effects import (
    Acquires,
    AddsRef,
    Effect,
    Ends,
    Exposes,
    Finds,
    Reference,
    Releases,
    ReleasesAll,
    Sets,
    Uses,
)
from csptrace.spec.kinds import OWNER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import FrameType

    from csptrace.errors import ReactionError
    from csptrace.graph.handle import Handle
    from csptrace.graph.sites import CallSite
    from csptrace.intercept.arguments import (
        Locator,
        Predicate,
        Reader,
        Relative,
        Relatives,
        Signature,
    )
    from csptrace.intercept.codecs import Codec
    from csptrace.intercept.contract import (
        Arguments,
        Begin,
        Enter,
        Finder,
        Guards,
        Handles,
        Keywords,
        Monitor,
        Settle,
    )
    from csptrace.spec.calls import Call
    from csptrace.spec.kinds import Kind
    from csptrace.spec.queries import Query

__all__ = [
    "FAILED",
    "NOT_MADE",
    "UNKNOWN",
    "Acquisition",
    "Begun",
    "CompiledRow",
    "Named",
    "NoResult",
    "Release",
    "Released",
    "check",
    "meant",
]

__tracebackhide__ = is_deliberate

Named: TypeAlias = "tuple[int, Callable[[Any], Handle | None], Locator, Predicate | None, bool]"
"""A handle that a call names: where its number is among the arguments, if it is one, the table to
look it up in, else what finds it, the condition on which it is used, and whether it ever is."""
Released: TypeAlias = "tuple[Settle, list[Handle], bool]"
"""What settles a release, what was marked for it, and whether that is gone even on failure."""
Begun: TypeAlias = "Callable[[ReleaseOutcome, Any], ReactionError | None]"
"""What settles something that has been begun before the native call, by how that went."""


class Acquisition(NamedTuple):
    """A handle that a call hands out.

    Attributes:
        kind: its kind.
        enter: enters it.
        place: the C parameter that it comes in.
        out: gives its value.
        parent: gives what it lives under.
        needs: gives what else it depends on.
        when: the condition, as far as it depends on what the call has done.
        first: the condition, if it is known before the call.
        name: gives its name.
        shared: whether one that is known is handed out again, and not a new one.
    """

    kind: Kind
    enter: Enter
    place: str
    out: Callable[[Arguments, Keywords, Any], int | None]
    parent: Relative | None
    needs: Relatives | None
    when: Predicate | None
    first: Predicate | None
    name: Callable[[Arguments, Keywords], str] | None
    shared: bool


class _Find(NamedTuple):
    kind: Kind
    values: Callable[[Arguments, Keywords, Any], list[int]]
    beside: Callable[[Arguments, Keywords], Handle | None] | None
    under: Callable[[Arguments, Keywords], Handle | None] | None
    when: Predicate | None


class _Meaning(NamedTuple):
    """One of the kinds that a parameter takes.

    Attributes:
        kind: the kind.
        find: finds the handle in an argument, of whichever of the kinds it is.
        first: the kind that is meant if no handle is known.
    """

    kind: Kind
    find: Finder
    first: Kind

    def is_meant(self, argument: Any) -> bool:
        """Return whether an argument is a handle of this kind."""
        handle = self.find(argument)
        return (self.first if handle is None else handle.kind) is self.kind


class Release(NamedTuple):
    """A handle that a call releases.

    Attributes:
        kind: its kind.
        begin: judges and marks the release.
        settle: confirms it, or rolls it back.
        find: finds the handle in the argument.
        when: the condition.
        even_on_failure: the condition on which the handle is gone although the call has failed.
        again: whether the call may be made when the handle has been released already.
    """

    kind: Kind
    begin: Begin
    settle: Settle
    find: Finder
    when: Predicate | None
    even_on_failure: Predicate | None
    again: bool


class _Sweep(NamedTuple):
    kind: Kind
    under: Callable[[Arguments, Keywords], Handle | None] | None
    below: bool
    asking: Query | None
    when: Predicate | None


class CompiledRow:
    """A row of a spec with one binding.

    Args:
        call: the row.
        site: what the call is named in reports.
        signature: where the Python call carries C's parameters.
        success: how success is told from failure.
        codec: how numbers and out parameters are carried.
        monitor: what is reported to.
        handles: how handles are found in arguments.
        guards: what the call depends on without naming it.
        expose: is given the out argument behind which a table of functions was written, and
            whether they are to be traced.
        sites: what the call is named where it is about handles of these kinds.
    """

    def __init__(
        self,
        call: Call,
        site: CallSite,
        signature: Signature,
        success: Success,
        codec: Codec,
        monitor: Monitor,
        handles: Handles,
        guards: Guards,
        expose: Callable[[Any, bool], None] | None,
        sites: Mapping[Kind, CallSite],
    ) -> None:
        self.site = site
        self.signature = signature
        self.monitor = monitor
        self.handles = handles
        self.codec = codec
        self.guards = guards
        self.succeeded = _success(success, signature.status)
        self.parameters = Parameters(call, signature, codec, handles, monitor)
        self.named: list[Named] = []
        self.releases: list[tuple[Reader, int, list[Release]]] = []
        self.acquisitions: list[Acquisition] = []
        self._expose = expose
        self._sites = sites
        self._holds: list[Locator] = []
        self._refs: list[tuple[_Meaning, Reader]] = []
        self._hand_overs: list[tuple[_Meaning, Reader, Predicate, str]] = []
        self._finds: list[_Find] = []
        self._sweeps: list[_Sweep] = []
        self._ends: list[tuple[Ends, Reader, Predicate | None]] = []
        self._exposes: list[tuple[Reader, bool]] = []
        self._sets: list[tuple[Sets, Predicate | None]] = []
        self._used: dict[str, int] = {}
        self._releasing: dict[str, tuple[str, list[Release]]] = {}
        # The arguments first, since what is handed out refers to them.
        for effect in call.effects:
            if isinstance(effect, Uses | AddsRef | Releases):
                self._add_argument(effect)
        self._add_choices(call)
        self._add_releases()
        for effect in call.effects:
            self._add(effect)
        own = any(OWNER in (getattr(e, "out", ""), getattr(e, "param", "")) for e in call.effects)
        self.goes_through: Guards = () if signature.owner is None or own else guards[:1]
        # What a binding does only if it is to be done, it does not do without a library.
        self.idle_without_way = any(
            release.again for _, _, either in self.releases for release in either
        ) or any(acquisition.shared for acquisition in self.acquisitions)
        self.conditional = any(row.first is not None for row in self.acquisitions)
        self.has_more_before = bool(self._sweeps or self._ends)
        self.has_more_after = bool(
            self._refs
            or self._hand_overs
            or self._finds
            or self._sets
            or (expose is not None and self._exposes)
        )

    def _site_of(self, kind: Kind) -> CallSite:
        return self._sites.get(kind, self.site)

    def _add(self, effect: Effect) -> None:
        match effect:
            case Acquires():
                self._add_acquisition(effect)
            case Finds():
                self._add_find(effect)
            case ReleasesAll():
                self._add_sweep(effect)
            case Exposes():
                read = self.parameters.reader(effect.out)
                if read is not None:
                    self._exposes.append((read, effect.traced))
            case Ends():
                number = self.parameters.number(effect.param)
                if number is not None:
                    when = self.parameters.predicate(effect.when)
                    self._ends.append((effect, number, when))
            case Sets():
                self._sets.append((effect, self.parameters.predicate(effect.when)))
            case _:  # an argument
                pass

    def _add_acquisition(self, effect: Acquires) -> None:
        parameters, kind = self.parameters, effect.kind
        when = parameters.predicate(effect.when)
        late = effect.when is not None and effect.when.reads_result()
        under, needs = effect.under, effect.needs
        self.acquisitions.append(
            Acquisition(
                kind,
                self.monitor.acquirer(kind, self._site_of(kind)),
                effect.out,
                parameters.out(effect),
                parameters.parent(under, kind.under, self._index_of(under)) if under else None,
                parameters.needs(needs, self._index_of(needs)) if needs else None,
                when if late else None,
                None if late else when,
                parameters.text(effect.named),
                effect.shared,
            )
        )

    def _index_of(self, reference: Reference) -> int | None:
        return self._used.get(reference.param)

    def _add_find(self, effect: Finds) -> None:
        parameters, kind = self.parameters, effect.kind
        beside, under = effect.beside, effect.under
        self._finds.append(
            _Find(
                kind,
                parameters.listed(effect),
                parameters.one(Reference("parent", beside), kind.under) if beside else None,
                parameters.one(under, parameters.kinds[under.param][0]) if under else None,
                parameters.predicate(effect.when),
            )
        )

    def _add_sweep(self, effect: ReleasesAll) -> None:
        under = None
        if effect.under or effect.beside:
            how = "parent" if effect.beside else "param"
            reference = Reference(how, effect.beside or effect.under)
            under = self.parameters.one(reference, effect.kind.under)
            if under is None:
                return  # this binding does not say under which parent
        when = self.parameters.predicate(effect.when)
        below = bool(effect.beside)
        self._sweeps.append(_Sweep(effect.kind, under, below, effect.asking, when))

    def _add_argument(self, effect: Uses | AddsRef | Releases) -> None:
        parameters, place = self.parameters, place_of(effect)
        read, locate = parameters.reader(effect.param), parameters.locator(effect.param, place)
        if read is None or locate is None:
            return
        if not (isinstance(effect, Uses) and effect.waits):
            self._holds.append(locate)
        meaning = _Meaning(effect.kind, parameters.finder(place), parameters.kinds[place][0])
        if isinstance(effect, Releases):
            release = Release(
                effect.kind,
                *self.monitor.releaser(
                    effect.kind, self._site_of(effect.kind), detaches=effect.detaches
                ),
                self.handles.finder(effect.kind),
                parameters.predicate(effect.when),
                parameters.predicate(effect.even_on_failure),
                effect.again,
            )
            self._releasing.setdefault(place, (effect.param, []))[1].append(release)
            return
        when = None
        if isinstance(effect, Uses):
            when = parameters.predicate(effect.when)
            hands_over = parameters.predicate(effect.hands_over)
            if hands_over is not None:
                self._hand_overs.append((meaning, read, hands_over, effect.to))
        else:
            self._refs.append((meaning, read))
        if parameters.is_plain(place):
            self._name(effect.param, place, effect.kind, locate, when)

    def _name(
        self,
        param: str,
        place: str,
        kind: Kind | None,
        locate: Locator,
        when: Predicate | None,
        *,
        used: bool = True,
    ) -> int:
        """Note a handle that a call names; return its index among them."""
        index, get = self.parameters.number_at(param, kind)
        self._used.setdefault(place, len(self.named))
        self.named.append((index, get, locate, when, used))
        return len(self.named) - 1

    def _add_choices(self, call: Call) -> None:
        """Add the uses of parameters that take one of several kinds."""
        for param, kinds in self.parameters.kinds.items():
            used = {
                effect.kind: self.parameters.predicate(getattr(effect, "when", None))
                for effect in call.effects
                if isinstance(effect, Uses | AddsRef) and place_of(effect) == param
            }
            locate = self.parameters.chosen(param, used) if len(kinds) > 1 and used else None
            if locate is not None:
                self._name(param, f"one of {param}", None, locate, None)

    def _add_releases(self) -> None:
        for place, (param, choices) in self._releasing.items():
            read, at = self.parameters.reader(param), -1
            if len(choices) == 1:
                kind = choices[0].kind
                locate = self.parameters.locator_of(param, kind)
                if locate is not None:
                    at = self._name(param, place, kind, locate, None, used=False)
            if read is not None:
                self.releases.append((read, at, choices))

    def handles_in(self, args: Arguments, kwargs: Keywords) -> list[Handle | None]:
        """Return the handles that a call with these arguments is about."""
        return [locate(args, kwargs) for locate in self._holds]

    def is_idle(self) -> bool:
        """Return whether the binding will do nothing, as it has no library to do it with."""
        return any(
            (way := get(value)) is not None and way.alert for get, value in self.goes_through
        )

    def failure(self, error: BaseException) -> Any:
        """Return what an exception says of the native call.

        It was never made if the binding could not pass the arguments on. A Python API raises an
        error of its own when the call has failed. Anything else came from outside.
        """
        if _refuses_arguments(error):
            return NOT_MADE
        own = not isinstance(self.handles, Numbers) and isinstance(error, Exception)
        return FAILED if own else UNKNOWN

    def outcome_without_result(self, plain: NoResult) -> ReleaseOutcome:
        """Return what is known of the releases of a call that has not returned.

        Args:
            plain: `FAILED`, `NOT_MADE` or `UNKNOWN`.
        """
        if plain is NOT_MADE:
            return ReleaseOutcome.NOT_MADE
        return ReleaseOutcome.UNKNOWN if plain is UNKNOWN else ReleaseOutcome.REFUSED

    def begin_more(
        self, args: Arguments, kwargs: Keywords, frame: FrameType | None, begun: list[Begun]
    ) -> None:
        """Begin what a call ends besides the handles that it names.

        Args:
            args: the arguments of the call.
            kwargs: those by keyword.
            frame: the program's call.
            begun: gets what settles it.
        """
        monitor, site = self.monitor, self.site
        for sweep in self._sweeps:
            if sweep.when is not None and not sweep.when(args, kwargs):
                continue
            parent = None if sweep.under is None else sweep.under(args, kwargs)
            if parent is None and sweep.under is not None:
                continue
            swept = monitor.begin_sweep(
                sweep.kind, parent, site, frame, below=sweep.below, asking=sweep.asking
            )
            begun.append(
                lambda release_outcome, _plain, swept=swept: monitor.settle_sweep(  # type: ignore[misc]
                    swept, site, frame, released=release_outcome is ReleaseOutcome.RELEASED
                )
            )
        for end, number, when in self._ends:
            value = number(args, kwargs)
            operation = None if value is None else monitor.table(end.kind).get(value)
            if operation is not None and operation.state == LIVE:
                whole = end.on_success and (when is None or when(args, kwargs))
                begun.append(
                    functools.partial(self._completion, end, operation, whole=whole, frame=frame)
                )

    def _completion(
        self,
        end: Ends,
        operation: Handle,
        release_outcome: ReleaseOutcome,
        plain: Any,
        *,
        whole: bool,
        frame: FrameType | None,
    ) -> None:
        """Note that an operation is complete, if the result of the call says so."""
        if release_outcome is ReleaseOutcome.RELEASED:
            done = whole
        else:
            done = (
                release_outcome is ReleaseOutcome.REFUSED
                and end.on_failure
                and plain not in end.survives
            )
        if done:
            self.monitor.completed(operation, self.site, frame)

    def apply_more(
        self,
        args: Arguments,
        kwargs: Keywords,
        plain: Any,
        frame: FrameType | None,
        entered: dict[str, Handle],
        result: Any,
    ) -> Any:
        """Apply what a successful call does besides handing out handles.

        Args:
            args: the arguments of the call.
            kwargs: those by keyword.
            plain: what the native function returned.
            frame: the program's call.
            entered: C parameter → the handle that was handed out in it.
            result: what the program gets.

        Returns:
            What the program gets now.
        """
        monitor, site = self.monitor, self.site
        if self._expose is not None:
            for read, traced in self._exposes:
                self._expose(read(args, kwargs), traced)
        for meaning, read in self._refs:
            value = self.handles.value(meaning.kind, read(args, kwargs))
            if value is not None and meaning.is_meant(read(args, kwargs)):
                monitor.ref_added(monitor.borrowed(meaning.kind, value), site, frame)
        for meaning, read, when, to in self._hand_overs:
            value = self.handles.value(meaning.kind, read(args, kwargs))
            if value is not None and when(args, kwargs) and meaning.is_meant(read(args, kwargs)):
                owner = entered.get(to) or self.parameters.known_in(to, args, kwargs)
                handle = monitor.borrowed(meaning.kind, value)
                monitor.handed_over(handle, site, frame, owner)
        for find in self._finds:
            if find.when is not None and not find.when(args, kwargs):
                continue
            values = find.values(args, kwargs, plain)
            if not values:
                continue
            beside = None if find.beside is None else find.beside(args, kwargs)
            under = None if find.under is None else find.under(args, kwargs)
            for handle in monitor.found(find.kind, values, beside, site, frame, under):
                result = self.handles.adopt(result, handle, args)
        for flag, if_so in self._sets:
            handle_of = entered.get(flag.param) or self.parameters.known_in(
                flag.param, args, kwargs
            )
            if handle_of is not None and (if_so is None or if_so(args, kwargs)):
                monitor.flagged(handle_of, flag.flag, value=flag.value)
        return result

    def abandon(
        self,
        args: Arguments,
        kwargs: Keywords,
        frame: FrameType | None,
        released: list[Released],
        begun: list[Begun],
    ) -> None:
        """Leave nothing half done where the bookkeeping could not come to its end.

        Args:
            args: the arguments of the call.
            kwargs: those by keyword.
            frame: the program's call.
            released: the releases that are not settled.
            begun: what else is not.
        """
        # What has led here is reported already, or comes from outside.
        with contextlib.suppress(Exception):
            for settle, marks, _ in released:
                if marks:
                    settle(marks[0], frame, ReleaseOutcome.UNKNOWN)
            for each in begun:
                each(ReleaseOutcome.UNKNOWN, UNKNOWN)
        self.forget(args, kwargs)

    def forget(self, args: Arguments, kwargs: Keywords) -> None:
        """Forget the dead handles whose values may have been handed out again, unseen.

        Args:
            args: the arguments of the call.
            kwargs: those by keyword.
        """
        for row in self.acquisitions:
            # What has led here is reported already, or known to come from outside.
            with contextlib.suppress(Exception):
                self.monitor.forget(row.kind, row.out(args, kwargs, None))

    def is_known(self, kind: Kind, value: int) -> bool:
        """Return whether a handle with this value is alive."""
        known = self.monitor.table(kind).get(value)
        return known is not None and known.state == LIVE

    def enter_many(
        self,
        row: Acquisition,
        args: Arguments,
        kwargs: Keywords,
        found: list[Handle | None],
        results: Any,
        frame: FrameType | None,
    ) -> Any:
        """Enter each of several results of a call.

        Args:
            row: what is handed out.
            args: the arguments of the call.
            kwargs: those by keyword.
            found: the handles that the call uses.
            results: what the native function returned.
            frame: the program's call.

        Returns:
            The results as the program gets them.
        """
        parent = None if row.parent is None else row.parent(args, kwargs, found)
        adopted = []
        for item in results:
            value = row.out(args, kwargs, item)
            if value is not None:
                item = self.handles.adopt(item, row.enter(value, parent, (), "", frame), args)  # noqa: PLW2901
            adopted.append(item)
        return type(results)(adopted)


def meant(
    choices: list[Release], argument: Any, args: Arguments, kwargs: Keywords
) -> tuple[Release, Handle | None] | None:
    """Return which of several releases is made, by what is known of the handle.

    Args:
        choices: the releases, of handles of several kinds in one parameter.
        argument: what is in that parameter.
        args: the arguments of the call.
        kwargs: those by keyword.

    Returns:
        The release, and the handle if it is known; `None` if the call does not release this time.
    """
    choices = [row for row in choices if row.when is None or row.when(args, kwargs)]
    if not choices:
        return None
    found = [(row, row.find(argument)) for row in choices]
    if len(found) == 1:
        return found[0]
    handle = newest_alive(handle for _, handle in found)
    return next(pair for pair in found if pair[1] is handle) if handle else found[0]


class NoResult:
    """Stands for the result of a call that has none."""


FAILED: Any = NoResult()
NOT_MADE: Any = NoResult()
UNKNOWN: Any = NoResult()


def _refuses_arguments(error: BaseException) -> bool:
    """Return whether an exception says that a binding could not pass the arguments on.

    `ctypes.ArgumentError` is known by name: this module does not import ctypes.
    """
    return isinstance(error, TypeError | OverflowError) or type(error).__name__ == "ArgumentError"


def _success(success: Success, status: int | None) -> Callable[[Any], bool]:
    """Return what tells success by the result of a call, or by an item of it."""
    succeeded = _SUCCESS[success]
    if status is None:
        return succeeded
    return lambda result: succeeded(
        item_of(result, status) if isinstance(result, tuple) else result
    )


_SUCCESS: dict[Success, Callable[[Any], bool]] = {
    Success.NONZERO: bool,
    Success.ZERO: lambda result: result == 0,
    Success.NO_EXCEPTION: lambda _result: True,
}


def check(guards: Guards, monitor: Monitor, site: CallSite, frame: FrameType | None) -> None:
    """Judge a call that names no known handle by what it depends on.

    Args:
        guards: what that is.
        monitor: what is reported to.
        site: the call.
        frame: the program's call.
    """
    for get, value in guards:
        handle = get(value)
        if handle is not None and handle.alert:
            monitor.misused(handle, site, frame)
