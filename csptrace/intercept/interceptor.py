"""The one wrapper: read arguments, check, call, judge success, apply effects.

`compile_call` turns one row of a spec and one binding into one function, once, when a function is
patched. A call that only uses handles costs one dictionary look-up for each; everything else is
decided before the first call.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeAlias

from csptrace.graph.changes import ReleaseOutcome
from csptrace.intercept import in_flight
from csptrace.intercept.arguments import Numbers, Parameters, Signature
from csptrace.intercept.contract import DELIBERATE, is_deliberate, note_bug
from csptrace.intercept.row import (
    NOT_MADE,
    UNKNOWN,
    CompiledRow,
    NoResult,
    check,
    meant,
)
from csptrace.spec.effects import Uses
from csptrace.spec.kinds import LIBRARY, OWNER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import FrameType

    from csptrace.errors import ReactionError
    from csptrace.graph.handle import Handle
    from csptrace.graph.sites import CallSite
    from csptrace.intercept.arguments import Locator
    from csptrace.intercept.codecs import Codec
    from csptrace.intercept.contract import Guards, Handles, LastError, Monitor, Outcome
    from csptrace.intercept.row import Acquisition, Begun, Released
    from csptrace.spec.bindings import Success
    from csptrace.spec.calls import Call
    from csptrace.spec.kinds import Kind

Use: TypeAlias = "tuple[int, Callable[[Any], Handle | None], Locator]"
"""The index of a handle's number among the arguments, the table it is in, else what finds it."""

__all__ = ["compile_call", "compile_own_use", "only_uses"]

__tracebackhide__ = is_deliberate


def compile_call(
    call: Call,
    site: CallSite,
    native: Callable[..., Any],
    signature: Signature,
    success: Success,
    codec: Codec,
    monitor: Monitor,
    *,
    handles: Handles | None = None,
    last_error: LastError | None = None,
    outcome: Callable[[bool], Outcome | None] | None = None,
    guards: Guards = (),
    expose: Callable[[Any, bool], None] | None = None,
    sites: Mapping[Kind, CallSite] | None = None,
) -> Callable[..., Any]:
    """Compile one row of a spec into the function that replaces a native one.

    Args:
        call: the row.
        site: what the call is named in reports.
        native: calls the provider.
        signature: where the Python call carries C's parameters.
        success: how success is told from failure.
        codec: how numbers and out parameters are carried.
        monitor: what is reported to.
        handles: how handles are found in arguments; by number if not given.
        last_error: saves the thread's last error around bookkeeping, where there is one.
        outcome: returns and forgets the raw result of the last native call in this thread, where
            the program can put its own check in between; is told whether the call returned.
        guards: what the call depends on without naming it.
        expose: is given the out argument behind which a table of functions was written, and
            whether they are to be traced.
        sites: what the call is named where it is about handles of these kinds, which are another
            API's.

    Returns:
        A function with the signature of `native`.
    """
    handles = handles or Numbers(codec, monitor)
    used = only_uses(call)
    if used:
        parameters = Parameters(call, signature, codec, handles, monitor)
        uses: list[Use] = []
        for effect in used:
            locate = parameters.locator(effect.param, effect.param)
            if locate is not None:
                uses.append((*parameters.number_at(effect.param, effect.kind), locate))
        return _compile_uses(uses, site, native, codec, monitor, guards)
    row = CompiledRow(
        call,
        site,
        signature,
        success,
        codec,
        monitor,
        handles,
        guards,
        expose,
        sites or {},
    )
    return _compile_row(row, native, last_error, outcome)


def only_uses(call: Call) -> list[Uses]:
    """Return the uses of a row that does nothing else and asks nothing, empty for any other.

    One whose parameter takes one of several kinds is another.
    """
    plain = [effect for effect in call.effects if isinstance(effect, Uses) and _plain_use(effect)]
    params = {effect.param for effect in plain}
    return plain if len(params) == len(call.effects) else []


def _plain_use(effect: object) -> bool:
    return (
        isinstance(effect, Uses)
        and effect.hands_over is None
        and effect.when is None
        and not effect.waits
        and effect.param not in (LIBRARY, OWNER)
    )


def _compile_uses(
    uses: list[Use],
    site: CallSite,
    native: Callable[..., Any],
    codec: Codec,
    monitor: Monitor,
    guards: Guards,
) -> Callable[..., Any]:
    """Compile the hot path: a call that needs valid handles and changes nothing.

    A handle value that is out of range for the arguments, of a foreign type or unknown is left to
    the provider. While tracing is stopped the tables are empty, so that nothing is found.
    """
    misused, touches, touched = monitor.misused, monitor.touches, monitor.touched
    simple, value_of = codec.simple, codec.value

    def traced(*args: Any, **kwargs: Any) -> Any:
        monitor.called = True
        count = len(args)
        for index, get, locate in uses:
            if index < count:
                value = args[index]
                cls = type(value)
                if cls is not int:
                    value = value.value if cls in simple else value_of(value)
                elif value < 0:  # passed on as unsigned
                    value = value_of(value)
                handle = get(value)
            else:
                try:
                    handle = locate(args, kwargs)
                except Exception as error:  # noqa: BLE001 - the tracer may break, the program may not
                    note_bug(monitor, site, error)
                    continue
            if handle is not None:
                if handle.alert:
                    misused(handle, site, _caller())
                handle.uses += 1
                if touches:
                    touched(handle, site, _caller())
            elif guards:
                check(guards, monitor, site, _caller())
        return native(*args, **kwargs)

    in_flight.register(traced, _located_again)
    return traced


def _located_again(local: Mapping[str, Any]) -> Iterable[Handle | None]:
    return [locate(local["args"], local["kwargs"]) for _, _, locate in local["uses"]]


def compile_own_use(
    site: CallSite,
    handle: Handle,
    native: Callable[..., Any],
    unwrap: Callable[[Any], Any],
    monitor: Monitor,
) -> Callable[..., Any]:
    """Compile the hot path of one wrapped object: a method that only uses its own handle.

    Args:
        site: what the call is named in reports.
        handle: the object's handle.
        native: the method of the wrapped object, bound to it.
        unwrap: takes the proxies out of an argument that is no plain value.
        monitor: what is reported to.

    Returns:
        A function for the proxy itself, in place of its class's method: it saves the binding.
    """
    misused = monitor.misused

    def traced_own(*args: Any, **kwargs: Any) -> Any:
        monitor.called = True
        if handle.alert:
            misused(handle, site, _caller())
        handle.uses += 1
        for argument in args:
            if type(argument) not in _PLAIN:
                args = tuple(map(unwrap, args))
                break
        return native(*args, **(unwrap(kwargs) if kwargs else kwargs))

    in_flight.register(traced_own, _own_handle)
    return traced_own


def _own_handle(local: Mapping[str, Any]) -> Iterable[Handle | None]:
    return (local.get("handle"),)


_PLAIN = frozenset({int, str, bytes, type(None), bool, float})


def _compile_row(  # noqa: C901 - everything is decided here, once, to be fast later
    row: CompiledRow,
    native: Callable[..., Any],
    last_error: LastError | None,
    outcome: Callable[[bool], Outcome | None] | None,
) -> Callable[..., Any]:
    """Compile a call that changes the graph.

    An acquisition and its release are what a traced program pays for most, so that what they do
    stands in the function itself; what few rows do is in methods of the row.
    """
    monitor, site, handles, guards = row.monitor, row.site, row.handles, row.guards
    named, releases, acquisitions = row.named, row.releases, row.acquisitions
    touches, getframe = monitor.touches, sys._getframe
    simple, value_of = row.codec.simple, row.codec.value
    goes_through, many = row.goes_through, row.signature.many
    is_idle = row.is_idle if row.idle_without_way else None
    begin_more = row.begin_more if row.has_more_before else None
    apply_more = row.apply_more if row.has_more_after else None
    conditional = row.conditional
    adopt = None if isinstance(handles, Numbers) else handles.adopt
    succeeded, done, refused, lost = (
        row.succeeded,
        ReleaseOutcome.RELEASED,
        ReleaseOutcome.REFUSED,
        ReleaseOutcome.UNKNOWN,
    )

    def traced(*args: Any, **kwargs: Any) -> Any:  # noqa: C901 - as above
        if not monitor.active:
            return native(*args, **kwargs)
        monitor.called = True
        code = 0 if last_error is None else last_error.save()
        frame: FrameType | None = None
        count = len(args)
        found: list[Handle | None] = []
        released: list[Released] = []
        begun: list[Begun] = []
        excluded: list[Acquisition] = []
        plain = NOT_MADE
        result: Any = None
        leak: ReactionError | None = None
        # An exception from outside (Ctrl-C, a signal handler's) may arrive at any point: what was
        # marked is settled in any case.
        try:
            try:
                try:
                    frame = getframe(1)
                except ValueError:  # no Python code made the call
                    frame = None
                if is_idle is not None and is_idle():
                    excluded = acquisitions
                else:
                    if conditional:
                        excluded = [
                            each
                            for each in acquisitions
                            if each.first is not None and not each.first(args, kwargs)
                        ]
                    for index, get, locate, when, used in named:
                        if index < count:
                            number: Any = args[index]
                            cls = type(number)
                            if cls is not int:
                                number = number.value if cls in simple else value_of(number)
                            elif number < 0:  # passed on as unsigned
                                number = value_of(number)
                            handle = get(number)
                        else:
                            handle = locate(args, kwargs)
                        found.append(handle)
                        if not used:
                            continue
                        if handle is None:
                            if guards:
                                check(guards, monitor, site, frame)
                        elif when is None or when(args, kwargs):
                            if handle.alert:
                                monitor.misused(handle, site, frame)
                            handle.uses += 1
                            if touches:
                                monitor.touched(handle, site, frame)
                    if goes_through and not releases:
                        check(goes_through, monitor, site, frame)
                    for read, at, choices in releases:
                        # One that does not release this time is an ordinary use, checked above.
                        if at < 0:
                            chosen = meant(choices, read(args, kwargs), args, kwargs)
                            if chosen is None:
                                continue
                            release, handle = chosen
                        else:
                            release = choices[0]
                            if release.when is not None and not release.when(args, kwargs):
                                continue
                            handle = found[at]
                        kind, begin, settle, _, _, anyway, again = release
                        if again and (handle is None or handle.alert):
                            continue
                        if handle is not None:
                            value = handle.value
                            if goes_through and not handle.alert:
                                check(goes_through, monitor, site, frame)
                        else:
                            if guards:
                                check(guards, monitor, site, frame)
                            unknown = handles.value(kind, read(args, kwargs))
                            if unknown is None:
                                continue
                            value = unknown
                        marks: list[Handle] = []
                        gone = anyway is not None and anyway(args, kwargs)
                        released.append((settle, marks, gone))
                        begin(value, handle, frame, marks)
                    if begin_more is not None:
                        begin_more(args, kwargs, frame, begun)
            except DELIBERATE:
                raise
            except Exception as error:  # noqa: BLE001 - the tracer may break, the program may not
                note_bug(monitor, site, error)
                found += [None] * (len(named) - len(found))
            if last_error is not None:
                last_error.restore(code)
            plain = UNKNOWN
            result = plain = native(*args, **kwargs)
        except BaseException as error:
            if plain is UNKNOWN:
                plain = row.failure(error)
            raise
        finally:
            try:
                if last_error is not None:
                    code = last_error.save()
                # The program's own errcheck may have raised after a call that succeeded.
                raw = None if outcome is None else outcome(type(plain) is not NoResult)
                if raw is not None:
                    plain = raw.result
                if type(plain) is NoResult:
                    release_outcome = row.outcome_without_result(plain)
                else:
                    release_outcome = done if succeeded(plain) else refused
                while released:
                    settle, marks, gone = released.pop(0)
                    if marks:
                        made = done if gone and release_outcome is refused else release_outcome
                        leak = settle(marks[0], frame, made) or leak
                while begun:
                    leak = begun.pop(0)(release_outcome, plain) or leak
                if release_outcome is done:
                    entered: dict[str, Handle] = {}
                    for each in acquisitions:
                        kind, enter, place, out, parent, needs, when, _, name, shared = each
                        if excluded and each in excluded:
                            continue
                        if when is not None and not when(args, kwargs):
                            continue
                        if many:
                            result = row.enter_many(each, args, kwargs, found, plain, frame)
                            continue
                        given = out(args, kwargs, plain)
                        if given is None or (shared and row.is_known(kind, given)):
                            continue
                        handle = enter(
                            given,
                            None if parent is None else parent(args, kwargs, found),
                            () if needs is None else needs(args, kwargs, found),
                            "" if name is None else name(args, kwargs),
                            frame,
                        )
                        if adopt is not None:
                            result = adopt(result, handle, args)
                        if apply_more is not None:
                            entered[place] = handle
                    if apply_more is not None:
                        result = apply_more(args, kwargs, plain, frame, entered, result)
                elif release_outcome is lost:
                    # It came from outside, perhaps after the provider had handed out a handle.
                    row.forget(args, kwargs)
            except DELIBERATE:
                raise
            except BaseException as error:
                row.abandon(args, kwargs, frame, released, begun)
                if not isinstance(error, Exception):
                    raise
                note_bug(monitor, site, error)
            if last_error is not None:
                last_error.restore(code)
        if leak is not None:
            try:
                raise leak
            finally:
                leak = None  # it holds this frame
        return result

    in_flight.register(traced, _held_inside)
    return traced


def _held_inside(local: Mapping[str, Any]) -> Iterable[Handle | None]:
    if local.get("plain") is not UNKNOWN:  # it is before or after the native call
        return ()
    row: CompiledRow = local["row"]
    return row.handles_in(local["args"], local["kwargs"])


def _caller() -> Any:
    """Return the frame that called our caller, `None` if no Python code did."""
    try:
        return sys._getframe(2)
    except ValueError:
        return None
