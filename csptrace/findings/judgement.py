"""The verdicts: which use or release is wrong, and which change of the graph is a finding.

One call may leak very many handles: the release of a context, a sweep, the end of a scope. Each of
them is counted, but only some of those that are alike are described: see `Leaks`.
"""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeAlias

from csptrace.clocks import CLOCKS
from csptrace.findings.catalogue import Code, Severity
from csptrace.findings.finding import Cause, Finding, HandleRef, Occurrence, Siblings
from csptrace.findings.fingerprint import fingerprint, names
from csptrace.findings.misuse import Misused
from csptrace.findings.text import remedy
from csptrace.graph.changes import Collected, Detached, Ended, Refused
from csptrace.graph.sites import COLLECTION
from csptrace.graph.states import INVALIDATED, LIVE, RELEASED, RELEASING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from csptrace.findings.misuse import Judged
    from csptrace.graph.handle import CallRecord, Departure, Handle
    from csptrace.stacks.frames import Frame
    from csptrace.stacks.resolved import ResolvedStack
    from csptrace.stacks.stack import Stack

__all__ = [
    "MOST_ALIKE",
    "MOST_DESCRIBED",
    "Descriptions",
    "Leaks",
    "Verdict",
    "findings_of",
    "held_too_long",
    "leaked_at_exit",
    "verdict_on_release",
    "verdict_on_use",
]

Resolve: TypeAlias = "Callable[[Stack | None], ResolvedStack | None]"
"""Settles once for a stack what is shown of it and whose code that is (`Ownership.resolve`)."""


class Explainer(Protocol):
    """What says why a handle was not released (`csptrace.causes`)."""

    def why(
        self,
        handle: Handle,
        code: Code,
        ended: CallRecord | None,
        departures: list[Departure] | None = None,
    ) -> Cause | None:
        """Return why a handle was not released, `None` if nothing is known.

        Args:
            handle: the handle.
            code: what the finding says.
            ended: the release of its parent, where that ended it.
            departures: how its functions were left, if that is not what the handle says.
        """

    def forget(self) -> None:
        """Let go of the handles that were last asked for."""


MOST_ALIKE: Final = 100
"""How many leaks that are alike are described when they are found at once; the rest is counted.

Describing one takes some 100 µs (cause, stacks, words, event), counting one 2 µs."""
MOST_DESCRIBED: Final = 1000
"""How many leaks that are found at once are described, unless there are more bugs than that."""
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
    change: Judged,
    resolve: Resolve,
    epoch: int,
    causes: Explainer | None = None,
    implied: str = "info",
) -> list[Finding]:
    """Judge what has happened.

    Args:
        change: a change of the graph.
        resolve: resolves the stacks of what is found.
        epoch: the graph's epoch; what was acquired in an earlier one is inherited.
        causes: says why handles leaked; without it, findings do not.
        implied: how bad it is to leave a release to the parent's where the API says that it does
            it: `ignore`, `info` or `warning`.

    Returns:
        The findings, in the order of acquisition.
    """
    match change:
        case Ended(_, _, invalidated):
            leaks = Leaks(resolve)
            for handle in invalidated:
                leaks.add_invalidated(handle, epoch, implied)
            return [finding for finding, _ in leaks.described(epoch, causes)]
        case Collected():
            leaks = Leaks(resolve)
            leaks.add_collected(change, epoch)
            return [finding for finding, _ in leaks.described(epoch, causes)]
        case Detached():
            leaks = Leaks(resolve)
            leaks.add_detached(change, epoch)
            return [finding for finding, _ in leaks.described(epoch, causes)]
        case Refused(handle, call_record):
            return [_finding(Code.FAILED_RELEASE, handle, resolve, epoch, misused=call_record)]
        case Misused(handle, call_record, code, culprit, reused_by, meanwhile):
            return [
                _finding(
                    code,
                    handle,
                    resolve,
                    epoch,
                    ended=(culprit or handle).ended,
                    misused=call_record,
                    culprit=culprit,
                    reused_by=reused_by,
                    last_use=meanwhile,
                )
            ]
    return []


class _Alike(NamedTuple):
    """Leaks of which one description fits all, but for the handle.

    Attributes:
        code: the finding code.
        ended: the end of the object, that of the first; the end of a parent is the handle's own.
        severity: if it is not the usual one.
        scope: the scope that has ended, if that is what makes them leaks.
        handles: they themselves.
    """

    code: Code
    ended: CallRecord | None
    severity: Severity | None
    scope: str | None
    handles: list[Handle]


class Leaks:
    """Leaks that are found at once: each is counted, some are described.

    Alike are handles of one kind from one place that were left in the same way and belong to the
    same scope. Of those that are alike the first are described, of which the last one stands for
    all that are not: its finding says of how many. The very last is described as well, since what
    is said of it may differ (a loop overwrites all but the last). If there are more sorts than
    are to be described, all leaks of one fingerprint are alike.

    Args:
        resolve: resolves the stacks of what is found.
    """

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._alike: dict[tuple[object, ...], _Alike] = {}

    def add_invalidated(self, handle: Handle, epoch: int, implied: str) -> None:
        """Take in a handle that the release of another one has made invalid.

        Args:
            handle: the handle.
            epoch: the graph's epoch; what was acquired in an earlier one is no leak of this one.
            implied: see `findings_of`.
        """
        culprit = handle.ended_by
        if (
            not (handle.must_release and handle.kind.orderly and handle.epoch == epoch)
            or culprit is None
        ):
            return
        severity = None
        if _is_implied(handle, culprit):
            if implied == "ignore":
                return
            severity = Severity(implied)
        self._add(Code.LEAKED_AT_RELEASE, handle, severity=severity)

    def add_collected(self, change: Collected, epoch: int) -> None:
        """Take in a handle whose object the garbage collector has taken.

        Args:
            change: what happened to it.
            epoch: as above.
        """
        handle = change.handle
        if change.unreleased and handle.epoch == epoch:
            # A destructor that releases has cost nothing but the certainty of when it does.
            severity = Severity.INFO if change.released else None
            self._add(Code.LOST, handle, ended=change.call_record, severity=severity)

    def add_detached(self, change: Detached, epoch: int) -> None:
        """Take in a handle that a call has ended without releasing what it stood for.

        Args:
            change: what happened to it.
            epoch: as above.
        """
        if change.unreleased and change.handle.epoch == epoch:
            self._add(Code.LOST, change.handle, ended=change.call_record)

    def add_owed(self, handle: Handle, scope: str) -> None:
        """Take in a handle that is still to be released when a scope ends.

        Args:
            handle: the handle.
            scope: the scope's name.
        """
        if handle.state == LIVE:
            self._add(Code.LEAKED_AT_EXIT, handle, scope=scope)

    def add_late(self, handle: Handle) -> None:
        """Take in a handle that is held too long."""
        self._add(Code.HELD_TOO_LONG, handle)

    def _add(
        self,
        code: Code,
        handle: Handle,
        *,
        ended: CallRecord | None = None,
        severity: Severity | None = None,
        scope: str | None = None,
    ) -> None:
        begin = handle.acquired
        culprit, over = _end_of(handle, code, ended)
        way = _exit_of(handle)
        stack = owner = keeper = None
        if begin is not None:
            stack = begin.stack
            if begin.scope is not None:
                owner, keeper = begin.scope.name, begin.scope.keeper
            if way is not None and stack is not None and code is not Code.HELD_TOO_LONG:
                _count_exit(stack, way)
        key = (
            stack,
            handle.kind,
            code,
            severity,
            owner,
            keeper,
            None if culprit is None else culprit.kind,
            None if over is None else over.stack,
            way,
            None if handle.last_use is None else handle.last_use.stack,
        )
        alike = self._alike.get(key)
        if alike is None:
            alike = self._alike[key] = _Alike(code, ended, severity, scope, [])
        alike.handles.append(handle)

    def _by_fingerprint(self) -> list[_Alike]:
        """Put together what has one fingerprint and belongs to one scope."""
        bugs: dict[object, tuple[str, ...]] = {}
        found: dict[object, _Alike] = {}
        for key, alike in self._alike.items():
            begin = alike.handles[0].acquired
            stack = begin.stack if begin is not None else None
            if stack not in bugs:
                bugs[stack] = names(_users(self._resolve(stack)))
            known = found.setdefault((bugs[stack], *key[1:6]), alike)
            if known is not alike:
                known.handles.extend(alike.handles)
        return list(found.values())

    def _chosen(self) -> list[tuple[_Alike, list[Handle]]]:
        """Return what is described, in the order of acquisition, and what each stands for."""
        sorts = list(self._alike.values())
        if len(sorts) > MOST_DESCRIBED:
            sorts = self._by_fingerprint()
        most = min(MOST_ALIKE, MOST_DESCRIBED // max(1, len(sorts)))
        chosen: list[tuple[_Alike, list[Handle]]] = []
        for alike in sorts:
            handles = alike.handles
            if len(handles) == 1:
                chosen.append((alike, handles))
                continue
            handles.sort(key=_hid)
            if len(handles) <= most:
                chosen.extend((alike, [handle]) for handle in handles)
            elif most < 3:
                chosen.append((alike, handles))
            else:
                chosen.extend((alike, [handle]) for handle in handles[: most - 2])
                chosen.append((alike, handles[most - 2 : -1]))
                chosen.append((alike, handles[-1:]))
        if len(chosen) > 1:
            chosen.sort(key=lambda one: one[1][0].hid)
        return chosen

    def described(
        self,
        epoch: int,
        causes: Explainer | None = None,
        glance: Callable[[Handle], list[Departure]] | None = None,
        broken: Callable[[Exception], None] | None = None,
    ) -> Descriptions:
        """Describe leaks, in the order of acquisition; each is taken out.

        Args:
            epoch: the graph's epoch.
            causes: says why handles leaked; without it, findings do not.
            glance: says of a handle that lives on how the functions that had it were left.
            broken: is told of an error in describing; without it, errors are raised.
        """
        broken = broken or _raise
        try:
            chosen = self._chosen()
        except Exception as error:  # noqa: BLE001 - what has leaked is counted all the same
            broken(error)
            chosen = [(alike, alike.handles) for alike in self._alike.values()]
        self._alike = {}

        def describe(alike: _Alike, handles: list[Handle]) -> Finding:
            handle = handles[0]
            culprit, over = _end_of(handle, alike.code, alike.ended)
            try:
                return _finding(
                    alike.code,
                    handle,
                    self._resolve,
                    epoch,
                    ended=over,
                    culprit=culprit,
                    scope=alike.scope,
                    severity=alike.severity,
                    causes=causes,
                    departures=None if glance is None else glance(handle),
                    times=len(handles),
                )
            except Exception as error:  # noqa: BLE001 - what has leaked is counted all the same
                broken(error)
                return _least(alike, handle, over, epoch, len(handles))

        return Descriptions(chosen, describe, _nothing if causes is None else causes.forget)


class Descriptions:
    """Findings that are made one by one; it is true while there are any left.

    What an exception cuts short is the next one again.

    Args:
        chosen: what is to be described, and the handles that it stands for.
        describe: makes a finding of that.
        over: is called when the last one is made.
    """

    def __init__(
        self,
        chosen: Iterable[tuple[_Alike, list[Handle]]],
        describe: Callable[[_Alike, list[Handle]], Finding],
        over: Callable[[], None],
    ) -> None:
        self._chosen = deque(chosen)
        self._describe = describe
        self._over = over
        self._failed = False

    def __bool__(self) -> bool:
        """Return whether there are any left."""
        return bool(self._chosen)

    def __iter__(self) -> Iterator[tuple[Finding, list[Handle]]]:
        """Return itself."""
        return self

    def __next__(self) -> tuple[Finding, list[Handle]]:
        """Return a finding, and the handles that it stands for, the described one first."""
        if not self._chosen:
            raise StopIteration
        alike, handles = self._chosen[0]
        try:
            finding = self._describe(alike, handles)
        except Exception:
            if self._failed:  # what fails again would fail for ever
                self._chosen.popleft()
            self._failed = not self._failed
            raise
        self._chosen.popleft()
        if not self._chosen:
            self._over()
        return finding, handles


def _raise(error: Exception) -> None:
    raise error


def _nothing() -> None:
    pass


def _least(
    alike: _Alike, handle: Handle, ended: CallRecord | None, epoch: int, times: int
) -> Finding:
    """Return a finding about leaks that could not be described: what they are, and how many."""
    kind, begin = handle.kind, handle.acquired
    known = begin or ended
    text = f"{alike.code.value} {kind.name}"
    return Finding(
        code=alike.code,
        severity=alike.severity or alike.code.row.severity,
        api=known.site.api if known is not None else "",
        handle=reference(handle, _unresolved),
        parents=(),
        children=(),
        acquired=_if_any(begin, _unresolved),
        ended=_if_any(ended, _unresolved),
        misused=None,
        culprit=None,
        reused_by=None,
        scope=alike.scope or "",
        age=-1,
        uses=handle.uses,
        siblings=None,
        inherited=handle.epoch != epoch,
        last_use=_if_any(handle.last_use, _unresolved),
        remedy="",
        # Not by what may just have failed; of a form that a baseline takes.
        fingerprint=f"0:{hashlib.sha256(text.encode()).hexdigest()[:16]}",
        time=CLOCKS.wall(),
        times=times,
    )


def _unresolved(_stack: Stack | None) -> None:
    """Return nothing, where resolving may be what has just failed."""


_hid = attrgetter("hid")


def _end_of(
    handle: Handle, code: Code, ended: CallRecord | None
) -> tuple[Handle | None, CallRecord | None]:
    """Return which release has made a leak of a handle, and where that was."""
    if code is Code.LEAKED_AT_RELEASE:
        return handle.ended_by, handle.ended
    return None, ended


def leaked_at_exit(
    handles: Iterable[Handle],
    resolve: Resolve,
    epoch: int,
    scope: str,
    causes: Explainer | None = None,
    broken: Callable[[Exception], None] | None = None,
) -> list[Finding]:
    """Judge what is still owed when a scope ends.

    Args:
        handles: the live handles that somebody owes a release.
        resolve: resolves the stacks of what is found.
        epoch: the graph's epoch.
        scope: the name of the scope that has ended.
        causes: says why handles leaked; without it, findings do not.
        broken: see `Leaks.described`.

    Returns:
        The findings, in the order of acquisition.
    """
    leaks = Leaks(resolve)
    for handle in handles:
        leaks.add_owed(handle, scope)
    return [finding for finding, _ in leaks.described(epoch, causes, broken=broken)]


def held_too_long(
    handles: Iterable[Handle],
    glance: Callable[[Handle], list[Departure]],
    resolve: Resolve,
    epoch: int,
    causes: Explainer | None = None,
    broken: Callable[[Exception], None] | None = None,
) -> list[Finding]:
    """Say of live handles that they are older than they should be.

    Args:
        handles: the handles.
        glance: says of a handle what is known of the functions that had it.
        resolve: resolves the stacks of what is found.
        epoch: the graph's epoch.
        causes: says where the functions that have them stand; without it, findings do not.
        broken: see `Leaks.described`.

    Returns:
        The findings, in the order of acquisition.
    """
    leaks = Leaks(resolve)
    for handle in handles:
        leaks.add_late(handle)
    return [finding for finding, _ in leaks.described(epoch, causes, glance, broken)]


def _is_implied(leaked: Handle, ended: Handle) -> bool:
    """Return whether a release has destroyed what it destroys by specification.

    Not if the parent was itself taken away by the end of something else.
    """
    return leaked.kind.implied and leaked.parent is ended


def _count_exit(stack: Stack, way: object) -> None:
    """Count, for a site, in which ways the functions were left that leaked."""
    if stack.leaked is None:
        stack.leaked = {}
    if way in stack.leaked or len(stack.leaked) < _MOST_EXITS:
        stack.leaked[way] = stack.leaked.get(way, 0) + 1


def _finding(
    code: Code,
    handle: Handle,
    resolve: Resolve,
    epoch: int,
    *,
    ended: CallRecord | None = None,
    misused: CallRecord | None = None,
    culprit: Handle | None = None,
    reused_by: Handle | None = None,
    scope: str | None = None,
    severity: Severity | None = None,
    causes: Explainer | None = None,
    departures: list[Departure] | None = None,
    last_use: CallRecord | None = None,
    times: int = 1,
) -> Finding:
    call_record = misused or ended or handle.acquired
    about = misused or handle.acquired
    # A leak belongs to the place that acquired the handle, a misuse to the place that misused it.
    stack = about.stack if about is not None else None
    known = handle.acquired or call_record
    api = known.site.api if known is not None else ""
    if scope is None:
        whose = about or call_record
        scope = whose.scope.name if whose is not None and whose.scope is not None else ""
    now = CLOCKS.monotonic()
    cause = None
    if causes is not None and not _was_detached(handle, code, ended):
        cause = causes.why(handle, code, ended, departures)
    end = _if_any(ended, resolve)
    begin = _if_any(handle.acquired, resolve)
    advice = remedy(code, handle.kind, culprit, reused_by, begin, end)
    if cause is not None and code.is_leak:
        advice = cause.remedy
    costs = code.is_leak and severity is not Severity.INFO
    return Finding(
        code=code,
        severity=severity or code.row.severity,
        api=api,
        handle=reference(handle, resolve),
        parents=tuple(_parents(handle, resolve)),
        children=_count(handle),
        acquired=begin,
        ended=end,
        misused=_if_any(misused, resolve),
        culprit=None if culprit is None else reference(culprit, resolve),
        reused_by=None if reused_by is None else reference(reused_by, resolve),
        scope=scope,
        age=-1 if handle.acquired is None else now - handle.acquired.time,
        uses=handle.uses,
        siblings=_siblings(handle, resolve),
        inherited=handle.epoch != epoch,
        last_use=_if_any(last_use or handle.last_use, resolve),
        remedy=advice,
        fingerprint=fingerprint(code, handle.kind.name, api, _users(resolve(stack))),
        time=CLOCKS.wall(),
        cause=cause,
        harm=_harm(handle) if costs else "",
        times=times,
        found=handle.found,
        implied=code is Code.LEAKED_AT_RELEASE
        and culprit is not None
        and _is_implied(handle, culprit),
    )


def _was_detached(handle: Handle, code: Code, ended: CallRecord | None) -> bool:
    """Return whether it is the call which has ended a handle that is to blame."""
    if code is not Code.LOST or ended is None or ended.site.call == COLLECTION:
        return False
    return handle.state == RELEASED and ended is handle.ended


def _harm(handle: Handle) -> str:
    """Return what it costs that a handle is not released, with what its flags add."""
    flags = handle.kind.flags
    added = [harm for flag, harm in flags.items() if harm and flag in handle.flags]
    return "; ".join([harm for harm in (handle.kind.harm, *added) if harm])


def occurrence(call_record: CallRecord, resolve: Resolve) -> Occurrence:
    """Return what happened as a finding has it.

    Args:
        call_record: what happened.
        resolve: resolves its stack.
    """
    return Occurrence(
        call_record.site,
        resolve(call_record.stack),
        call_record.thread,
        call_record.task,
        call_record.time,
        call_record.scope,
    )


def _if_any(call_record: CallRecord | None, resolve: Resolve) -> Occurrence | None:
    return None if call_record is None else occurrence(call_record, resolve)


def reference(handle: Handle, resolve: Resolve) -> HandleRef:
    """Return a handle as a finding quotes it.

    Args:
        handle: the handle.
        resolve: resolves the stack of its acquisition.
    """
    return HandleRef(
        handle.kind.name,
        handle.kind.title,
        handle.value,
        handle.generation,
        handle.hid,
        handle.name,
        _if_any(handle.acquired, resolve),
    )


def _users(stack: ResolvedStack | None) -> tuple[Frame, ...]:
    return () if stack is None else stack.users


def _parents(handle: Handle, resolve: Resolve) -> Iterable[HandleRef]:
    parent = handle.parent
    while parent is not None:
        if not parent.kind.given:
            yield reference(parent, resolve)
        parent = parent.parent


def _count(handle: Handle) -> tuple[tuple[str, int], ...]:
    counts: dict[str, int] = {}
    for child in list(handle.children or ()):
        counts[child.kind.name] = counts.get(child.kind.name, 0) + 1
    return tuple(counts.items())


def _siblings(handle: Handle, resolve: Resolve) -> Siblings | None:
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
            place = resolve(release)
            if place is not None and place.first is not None:
                places[place.first] += count
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
