"""The verdicts: which use or release is wrong, and which change of the graph is a finding."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from csptrace.detect.fingerprint import fingerprint
from csptrace.detect.wording import remedy
from csptrace.model import (
    INVALIDATED,
    LIVE,
    RELEASED,
    RELEASING,
    Code,
    Collected,
    Ended,
    Finding,
    Handle,
    HandleRef,
    Misused,
    Moment,
    Refused,
    Severity,
    Siblings,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from csptrace.detect.causes import Causes
    from csptrace.detect.ownership import Ownership
    from csptrace.model import Change, Departure, Frame

__all__ = [
    "Verdict",
    "findings_of",
    "held_too_long",
    "leaked_at_exit",
    "verdict_on_release",
    "verdict_on_use",
]

_MOST_EXITS = 16


class Verdict(NamedTuple):
    """What is wrong with a call that has not been made yet.

    Attributes:
        code: the finding code.
        culprit: the handle whose end made it wrong, if it is another one.
    """

    code: Code
    culprit: Handle | None


def verdict_on_use(handle: Handle) -> Verdict | None:
    """Judge the use of a handle.

    Args:
        handle: the handle.

    Returns:
        `None` if nothing is wrong.
    """
    if handle.state == RELEASED:
        return Verdict(Code.USE_AFTER_RELEASE, None)
    if handle.state == INVALIDATED:
        return Verdict(Code.USE_AFTER_INVALIDATION, handle.ended_by)
    for need in handle.needs:
        if need.state in (RELEASED, INVALIDATED):
            return Verdict(Code.STALE_DEPENDENCY, need)
    return None


def verdict_on_release(handle: Handle) -> Verdict | None:
    """Judge the release of a handle.

    Args:
        handle: the handle.

    Returns:
        `None` if nothing is wrong. A handle whose dependency is gone may be released.
    """
    if handle.state == RELEASED or (handle.state == RELEASING and handle.pending >= handle.refs):
        return Verdict(Code.DOUBLE_RELEASE, None)
    if handle.state == INVALIDATED:
        return Verdict(Code.OUT_OF_ORDER_RELEASE, handle.ended_by)
    return None


def findings_of(
    change: Change,
    ownership: Ownership,
    epoch: int,
    causes: Causes | None = None,
    implied: str = "info",
) -> list[Finding]:
    """Judge what has happened.

    Args:
        change: a change of the graph.
        ownership: tells user code from library code.
        epoch: the graph's epoch; what was acquired in an earlier one is inherited.
        causes: says why handles leaked; without it, findings do not.
        implied: how bad it is to leave a release to the parent's where the API says that it does
            it: `ignore`, `info` or `warning`.

    Returns:
        The findings, in the order of acquisition.
    """
    match change:
        case Ended(handle, moment, invalidated):
            leaks = [
                leaked
                for leaked in sorted(invalidated, key=lambda child: child.hid)
                if leaked.duty
                and leaked.kind.orderly
                and leaked.epoch == epoch
                and not (implied == "ignore" and _is_implied(leaked, handle))
            ]
            _count_exits(leaks)
            return [
                _finding(
                    Code.LEAKED_AT_RELEASE,
                    leaked,
                    ownership,
                    epoch,
                    ended=moment,
                    culprit=handle,
                    causes=causes,
                    severity=Severity(implied) if _is_implied(leaked, handle) else None,
                )
                for leaked in leaks
            ]
        case Refused(handle, moment):
            return [_finding(Code.FAILED_RELEASE, handle, ownership, epoch, misused=moment)]
        case Collected(handle, moment, released, owed) if owed and handle.epoch == epoch:
            # A destructor that releases has cost nothing but the certainty of when it does.
            severity = Severity.INFO if released else None
            _count_exits([handle])
            return [
                _finding(
                    Code.LOST,
                    handle,
                    ownership,
                    epoch,
                    ended=moment,
                    severity=severity,
                    causes=causes,
                )
            ]
        case Misused(handle, moment, code, culprit, reused_by, meanwhile):
            return [
                _finding(
                    code,
                    handle,
                    ownership,
                    epoch,
                    ended=(culprit or handle).ended,
                    misused=moment,
                    culprit=culprit,
                    reused_by=reused_by,
                    last_use=meanwhile,
                )
            ]
    return []


def _is_implied(leaked: Handle, ended: Handle) -> bool:
    """Return whether a release has destroyed what it destroys by specification.

    Not if the parent was itself taken away by the end of something else.
    """
    return leaked.kind.implied and leaked.parent is ended


def leaked_at_exit(
    handles: Iterable[Handle],
    ownership: Ownership,
    epoch: int,
    scope: str,
    causes: Causes | None = None,
) -> list[Finding]:
    """Judge what is still owed when a scope ends.

    Args:
        handles: the live handles that somebody owes a release.
        ownership: tells user code from library code.
        epoch: the graph's epoch.
        scope: the name of the scope that has ended.
        causes: says why handles leaked; without it, findings do not.

    Returns:
        One finding for each.
    """
    leaks = [handle for handle in handles if handle.state == LIVE]
    _count_exits(leaks)
    return [
        _finding(Code.LEAKED_AT_EXIT, handle, ownership, epoch, scope=scope, causes=causes)
        for handle in leaks
    ]


def held_too_long(
    handles: Iterable[Handle],
    departures: Iterable[list[Departure]],
    ownership: Ownership,
    epoch: int,
    causes: Causes | None = None,
) -> list[Finding]:
    """Say of live handles that they are older than they should be.

    Args:
        handles: the handles.
        departures: for each, what is known of the functions that had it.
        ownership: tells user code from library code.
        epoch: the graph's epoch.
        causes: says where the functions that have them stand; without it, findings do not.

    Returns:
        One finding for each.
    """
    return [
        _finding(
            Code.HELD_TOO_LONG, handle, ownership, epoch, causes=causes, departures=departures_of
        )
        for handle, departures_of in zip(handles, departures, strict=True)
    ]


def _count_exits(leaks: Iterable[Handle]) -> None:
    """Count, for each site, in which ways the functions were left that leaked."""
    for handle in leaks:
        stack = handle.acquired.stack if handle.acquired is not None else None
        way = _exit_of(handle)
        if stack is None or way is None:
            continue
        if stack.leaked is None:
            stack.leaked = {}
        if way in stack.leaked or len(stack.leaked) < _MOST_EXITS:
            stack.leaked[way] = stack.leaked.get(way, 0) + 1


_SEVERITY: dict[Code, Severity] = {
    Code.LEAKED_AT_RELEASE: Severity.WARNING,
    Code.LEAKED_AT_EXIT: Severity.WARNING,
    Code.LOST: Severity.WARNING,
    Code.FAILED_RELEASE: Severity.WARNING,
    Code.HELD_TOO_LONG: Severity.WARNING,
}


def _finding(
    code: Code,
    handle: Handle,
    ownership: Ownership,
    epoch: int,
    *,
    ended: Moment | None = None,
    misused: Moment | None = None,
    culprit: Handle | None = None,
    reused_by: Handle | None = None,
    scope: str | None = None,
    severity: Severity | None = None,
    causes: Causes | None = None,
    departures: list[Departure] | None = None,
    last_use: Moment | None = None,
) -> Finding:
    moment = misused or ended or handle.acquired
    about = misused if code.is_misuse or code is Code.FAILED_RELEASE else handle.acquired
    # A leak belongs to the place that acquired the handle, a misuse to the place that misused it.
    stack = about.stack if about is not None else None
    known = handle.acquired or moment
    api = known.site.api if known is not None else ""
    if scope is None:
        whose = about or moment
        scope = whose.scope.name if whose is not None and whose.scope is not None else ""
    now = time.monotonic_ns()
    cause = None if causes is None else causes.why(handle, code, ended, departures)
    advice = remedy(code, handle.kind, culprit, reused_by, ended, ownership)
    if cause is not None and code.is_leak:
        advice = cause.remedy
    costs = code.is_leak and severity is not Severity.INFO
    return Finding(
        code=code,
        severity=severity or _SEVERITY.get(code, Severity.ERROR),
        api=api,
        handle=_reference(handle),
        parents=tuple(_parents(handle)),
        children=_count(handle),
        acquired=handle.acquired,
        ended=ended,
        misused=misused,
        culprit=None if culprit is None else _reference(culprit),
        reused_by=None if reused_by is None else _reference(reused_by),
        scope=scope,
        age=-1 if handle.acquired is None else now - handle.acquired.time,
        uses=handle.uses,
        siblings=_siblings(handle, ownership),
        inherited=handle.epoch != epoch,
        last_use=last_use or handle.last_use,
        remedy=advice,
        fingerprint=fingerprint(code, handle.kind.name, api, ownership.users(stack)),
        time=time.time_ns(),
        cause=cause,
        harm=handle.kind.harm if costs else "",
    )


def _reference(handle: Handle) -> HandleRef:
    return HandleRef(
        handle.kind.name,
        handle.kind.title,
        handle.value,
        handle.generation,
        handle.hid,
        handle.name,
        handle.acquired,
    )


def _parents(handle: Handle) -> Iterable[HandleRef]:
    parent = handle.parent
    while parent is not None:
        if not parent.kind.given:
            yield _reference(parent)
        parent = parent.parent


def _count(handle: Handle) -> tuple[tuple[str, int], ...]:
    counts: dict[str, int] = {}
    for child in list(handle.children or ()):
        counts[child.kind.name] = counts.get(child.kind.name, 0) + 1
    return tuple(counts.items())


def _siblings(handle: Handle, ownership: Ownership) -> Siblings | None:
    """Count the handles from the same stack; from the same line, if there is no other."""
    stack = handle.acquired.stack if handle.acquired is not None else None
    if stack is None:
        return None
    stacks = [stack] if stack.acquired > 1 else list(stack.peers)
    acquired = sum(peer.acquired for peer in stacks)
    if acquired < 2:
        return None
    places: Counter[Frame] = Counter()
    for peer in stacks:
        for release, count in peer.release_places():
            frame = ownership.first(release)
            if frame is not None:
                places[frame] += count
    where, most = places.most_common(1)[0] if places else (None, 0)
    way = _exit_of(handle)
    alike = 0 if way is None else sum((peer.leaked or {}).get(way, 0) for peer in stacks)
    return Siblings(acquired, sum(peer.released for peer in stacks), where, most, alike)


def _exit_of(handle: Handle) -> object:
    """Return what distinguishes the way on which a handle was leaked from others of its site."""
    if not handle.departures:
        return None
    return tuple(
        (each.exit, id(each.code), each.offset, each.line, each.exception)
        for each in handle.departures
    )
