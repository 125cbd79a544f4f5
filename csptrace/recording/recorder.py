"""What the interceptor reports to: each report becomes a transition of the graph.

The order of things within each report is the design: a use or release is judged before the native
call, a release is marked before it and settled after it, and what follows is told at last.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from typing import TYPE_CHECKING

from csptrace.findings.catalogue import Code
from csptrace.findings.judgement import verdict_on_release, verdict_on_use
from csptrace.findings.limits import OpenCounts
from csptrace.findings.misuse import Misused
from csptrace.graph.changes import ReleaseOutcome
from csptrace.graph.states import LIVE, RELEASING, UNTRACKED
from csptrace.intercept.contract import DELIBERATE, Sheltered, Swept, is_deliberate
from csptrace.intercept.in_flight import in_flight
from csptrace.recording.call_records import thread_of
from csptrace.recording.provider_queries import limit_of, lineage
from csptrace.recording.publisher import FEW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import FrameType

    from csptrace.errors import ReactionError
    from csptrace.findings.finding import Finding
    from csptrace.findings.limits import Peak
    from csptrace.graph.changes import Change
    from csptrace.graph.graph import Graph
    from csptrace.graph.handle import CallRecord, Departure, Handle, Scope
    from csptrace.graph.sites import CallSite
    from csptrace.intercept.contract import Begin, Enter, Settle
    from csptrace.recording.call_records import CallRecords
    from csptrace.recording.diagnostics import Diagnostics
    from csptrace.recording.explanations import Explanations
    from csptrace.recording.provider_queries import ProviderQueries
    from csptrace.recording.publisher import Publisher
    from csptrace.recording.reactions import Reactions
    from csptrace.settings import Settings
    from csptrace.spec.kinds import Kind
    from csptrace.spec.queries import Query

__all__ = ["Recorder"]

__tracebackhide__ = is_deliberate


class Recorder:
    """Turns what the interceptor reports into transitions of the graph.

    Args:
        settings: how it traces.
        graph: what is alive.
        call_records: tells where and when something happens.
        publisher: passes on what follows.
        reactions: what the program gets to see.
        diagnostics: is told of the tracer's bugs.
        explanations: watches how functions are left.
        queries: asks the provider.

    Attributes:
        active: whether anything is recorded.
        touches: whether every use is recorded with its stack (level `full`).
        called: whether a traced call was made so far, or since somebody has set it back.
    """

    def __init__(
        self,
        settings: Settings,
        graph: Graph,
        call_records: CallRecords,
        publisher: Publisher,
        reactions: Reactions,
        diagnostics: Diagnostics,
        explanations: Explanations,
        queries: ProviderQueries,
    ) -> None:
        self.active = False
        self.touches = settings.level == "full"
        self.called = False
        self._settings = settings
        self._graph = graph
        self._call_records = call_records
        self._publisher = publisher
        self._reactions = reactions
        self._diagnostics = diagnostics
        self._explanations = explanations
        self._queries = queries
        self._collected: deque[tuple[Handle, CallSite, bool, list[Departure]]] = deque()
        self._nameless = -1
        self._open_counts = self._new_open_counts()

    def _new_open_counts(self) -> OpenCounts:
        return OpenCounts(
            self._settings.session_limit,
            self._settings.session_share,
            limit_of,
            self._graph.has_siblings,
        )

    # --- uses ---------------------------------------------------------------------------------

    def table(self, kind: Kind) -> dict[int, Handle]:
        """Return the live dictionary value → handle of a kind."""
        return self._graph.table(kind)

    def misused(self, handle: Handle, site: CallSite, frame: FrameType | None) -> None:
        """Judge the use of a handle whose `alert` is set.

        Raises:
            HandleError: the use is wrong and `on_misuse` is `raise`.
        """
        if not self.active:  # an object may remember a handle for longer than it is traced
            return
        try:
            if self._collected:
                with self._graph.lock:
                    self.drain()
            if handle.doubt is not None:
                self._queries.clear_up(handle)
            verdict = verdict_on_use(handle)
            if verdict is None:
                return
            found = self._misuse(handle, verdict.code, verdict.culprit, site, frame)
        except DELIBERATE:
            raise
        except RecursionError:
            return  # no room for a complaint
        except Exception as error:  # noqa: BLE001 - the tracer may break, the program may not
            self.broken(site, error)
            return
        self._reactions.to_misuse(found, handle, site)

    def touched(self, handle: Handle, site: CallSite, frame: FrameType | None) -> None:
        """Record a use."""
        try:
            handle.last_use = self._call_records.at(site, frame)
        except RecursionError:
            pass  # no room for a complaint
        except Exception as error:  # noqa: BLE001 - as above
            self.broken(site, error)

    def _misuse(
        self,
        handle: Handle,
        code: Code,
        culprit: Handle | None,
        site: CallSite,
        frame: FrameType | None,
        meanwhile: CallRecord | None = None,
    ) -> Finding | None:
        with self._graph.lock:
            newer = self._graph.table(handle.kind).get(handle.value)
            if newer is handle or newer is None:
                newer = self._graph.other_kind(handle.kind, handle.value)
            reused = newer if newer is not None and newer is not handle else None
            call_record = self._call_records.at(site, frame)
            found = self._publisher.report(
                Misused(handle, call_record, code, culprit, reused, meanwhile)
            )
            return found[0] if found else None

    # --- acquisitions -------------------------------------------------------------------------

    def acquirer(self, kind: Kind, site: CallSite) -> Enter:
        """Return a function `(value, parent, needs, name, frame)` that enters a new handle."""
        graph, collected, publisher = self._graph, self._collected, self._publisher
        record_of = self._call_records.maker(site)
        exits = self._explanations.exits if kind.must_release else None
        self._graph.table(kind)
        own_name = os.path.basename(kind.realm) if kind.library else ""
        counted = bool(kind.limit)

        def acquired(
            value: int,
            parent: Handle | None,
            needs: tuple[Handle, ...],
            name: str,
            frame: FrameType | None,
        ) -> Handle:
            call_record = record_of(frame)
            stack = call_record.stack
            with graph.lock:
                if collected:
                    self.drain()
                if stack is not None:
                    stack.acquired += 1
                handle, changes = graph.acquire(
                    kind, value, parent, needs, call_record, name or own_name
                )
                scope = call_record.scope
                if scope is not None and scope.keeper is not None:
                    scope.keeper.keep(handle)
                if len(changes) > 1 or publisher.is_listened_to:
                    publisher.publish(changes)
            if exits is not None and exits.watching and frame is not None and stack is not None:
                exits.watch(handle, stack, frame)
            if counted:
                self._count(handle)
            return handle

        return acquired

    def _count(self, handle: Handle) -> None:
        """Note how many handles of a limited kind are open, and say so when it is too many."""
        message = self._open_counts.count(handle)
        if message is not None:
            self._diagnostics.complain("limit", message)

    def lost(
        self, kind: Kind, parent: Handle | None, site: CallSite, frame: FrameType | None
    ) -> None:
        """Report a handle that the provider has handed out and nobody was told the value of."""
        call_record = self._call_records.at(site, frame)
        with self._graph.lock:
            self.drain()
            if call_record.stack is not None:
                call_record.stack.acquired += 1
            self._nameless -= 1
            handle, changes = self._graph.acquire(kind, self._nameless, parent, (), call_record)
            changes += self._graph.collect(handle, call_record, released=False)
            self._publisher.publish(changes)
        if kind.limit:
            self._count(handle)

    def borrowed(self, kind: Kind, value: int) -> Handle:
        """Return the handle with a value, entered as not to be released if unknown."""
        return self._queries.borrowed(kind, value)

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
        call_record = self._call_records.at(site, frame)
        handles = []
        with self._graph.lock:
            self.drain()
            home = self._queries.home(kind, beside) if under is None else under
            for value in values:
                handle, changes = self._graph.find(kind, value, home, call_record)
                handles.append(handle)
                self._publisher.publish(changes)
        return handles

    def ref_added(self, handle: Handle, site: CallSite, frame: FrameType | None) -> None:
        """Count one more reference."""
        with self._graph.lock:
            self._publisher.publish(self._graph.add_ref(handle, self._call_records.at(site, frame)))

    def handed_over(
        self, handle: Handle, site: CallSite, frame: FrameType | None, owner: Handle | None = None
    ) -> None:
        """Note that the provider releases the handle from now on, with its new owner if known."""
        with self._graph.lock:
            self._publisher.publish(
                self._graph.hand_over(handle, self._call_records.at(site, frame))
            )
            # A further reference is the program's own, and keeps it alive when the owner ends.
            if owner is not None and handle.state == owner.state == LIVE and handle.refs == 1:
                self._graph.move(handle, owner)

    def unseen(self, handed_out: Iterable[Kind], released: Iterable[Kind] = ()) -> None:
        """Note which kinds of handles may be handed out or released without being seen.

        What is handed out so is not called dead by its value, and what is released so is no leak.
        """
        with self._graph.lock:
            self._graph.unseen(handed_out)
            self._graph.released_unseen(released)

    def forget(self, kind: Kind, value: int | None) -> None:
        """Forget the dead or dying handle whose value may have been handed out again, unseen."""
        table = self._graph.table(kind)
        handle = None if value is None else table.get(value)
        if handle is not None and (handle.alert or handle.state == RELEASING):
            table.pop(handle.value, None)

    # --- releases -----------------------------------------------------------------------------

    def flagged(self, handle: Handle, name: str, *, value: bool) -> None:
        """Note that a call has set a flag of a handle, or cleared it."""
        with self._graph.lock:
            self._graph.flag(handle, name, value=value)

    def releaser(
        self, kind: Kind, site: CallSite, *, detaches: bool = False
    ) -> tuple[Begin, Settle]:
        """Return two functions, one for before the release of a handle and one for after it.

        Args:
            kind: its kind.
            site: the call.
            detaches: whether the call leaves what the handle stands for as it is.

        Returns:
            `begin(value, handle, frame, marks)`, which judges the release, marks the handle and
            puts it into `marks`, but not if the release is wrong and is made all the same; it
            raises `HandleError` if the release is wrong and `on_misuse` is `raise`. And
            `settle(handle, frame, outcome)`, which confirms or rolls back, and returns the error to
            raise if leaks raise.
        """
        graph, collected, publisher = self._graph, self._collected, self._publisher
        record_of = self._call_records.maker(site, short=True)
        careful = self._begin_carefully(site) if kind.exclusive else None

        def begin(
            value: int, handle: Handle | None, frame: FrameType | None, marks: list[Handle]
        ) -> None:
            with graph.lock:
                if collected:
                    self.drain()
                if handle is not None and handle.doubt is not None:
                    self._queries.clear_up(handle)
                if handle is not None and handle.state == LIVE:
                    if careful is None:
                        graph.begin_release(handle, marks)
                    else:
                        careful(handle, frame, marks)
                    return
                found: Finding | None = None
                if handle is None or handle.state == UNTRACKED:
                    other = graph.other_kind(kind, value)
                    if other is not None and not graph.is_unseen(kind):
                        found = self._misuse(other, Code.WRONG_RELEASE, None, site, frame)
                    else:
                        handle = graph.borrow(kind, value)
                if handle is not None:
                    verdict = verdict_on_release(handle)
                    if verdict is None:
                        graph.begin_release(handle, marks)
                        return
                    found = self._misuse(handle, verdict.code, verdict.culprit, site, frame)
            self._reactions.to_misuse(found, handle, site)

        def settle(
            handle: Handle, frame: FrameType | None, release_outcome: ReleaseOutcome
        ) -> ReactionError | None:
            if release_outcome is ReleaseOutcome.NOT_MADE:
                with graph.lock:
                    graph.cancel_release(handle)
                return None
            call_record = record_of(frame)
            released = release_outcome is ReleaseOutcome.RELEASED
            with graph.lock:
                if (
                    released
                    and not (detaches or publisher.is_listened_to)
                    and graph.settle_leaf(handle, call_record)
                ):
                    publisher.count_release(handle, call_record)
                    return None
                if release_outcome is ReleaseOutcome.UNKNOWN:
                    changes = graph.lose_track(handle, call_record)
                else:
                    changes = graph.settle_release(
                        handle, call_record, released=released, detaches=detaches
                    )
                rest = publisher.begin_to_tell(changes, frame)
            if rest is None:
                return None
            return self._reactions.to_leaks(publisher.tell_in_steps(rest))

        return begin, settle

    def _begin_carefully(
        self, site: CallSite
    ) -> Callable[[Handle, FrameType | None, list[Handle]], None]:
        """Return the beginning of a release that must not come while something else goes on."""

        def begin(handle: Handle, frame: FrameType | None, marks: list[Handle]) -> None:
            self._look_below(handle, site, frame)
            if handle.state == LIVE:
                self._graph.begin_release(handle, marks)

        return begin

    def _look_below(self, handle: Handle, site: CallSite, frame: FrameType | None) -> None:
        """See what another thread does with a handle that is about to end, and what outlives it.

        Raises:
            HandleError: it is in use, and `on_misuse` is `raise`; otherwise it ends all the same.
        """
        for ident, inside, call, used in in_flight():
            if any(handle in lineage(each) for each in used):
                meanwhile = self._call_records.at(call, inside.f_back)._replace(
                    thread=thread_of(ident), task=""
                )
                found = self._misuse(
                    handle, Code.RELEASE_WHILE_IN_USE, None, site, frame, meanwhile
                )
                if found is not None:
                    self._reactions.to_misuse(found, handle, site)
                    return
                break
        self._queries.ask_below(handle, site)

    def completed(self, handle: Handle, site: CallSite, frame: FrameType | None) -> None:
        """Note that what a call had begun is complete."""
        call_record = self._call_records.at(site, frame)
        with self._graph.lock:
            if handle.state == LIVE and self._graph.begin_release(handle):
                self._publisher.publish(
                    self._graph.settle_release(handle, call_record, released=True)
                )

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
        graph = self._graph
        with graph.lock:
            self.drain()
            chosen: list[Handle] | None = None
            doubtful: list[Handle] = []
            if below and parent is not None:
                chosen = [handle for handle in graph.below(parent) if handle.kind is kind]
            if asking is not None:
                chosen = [each for each in chosen or () if self._queries.answers_yes(asking, each)]
                home = self._queries.home(kind, parent)
                doubtful = list(home.children or ()) if home is not None else []
            if kind.exclusive and parent is not None:
                for handle in graph.below(parent):
                    if handle.kind is kind and handle.state == LIVE:
                        self._look_below(handle, site, frame)
            return Swept(graph.begin_release_all(kind, parent, chosen), doubtful)

    def settle_sweep(
        self, swept: Swept, site: CallSite, frame: FrameType | None, *, released: bool
    ) -> ReactionError | None:
        """Confirm or roll back the end of many handles."""
        call_record = self._call_records.at(site, frame)
        with self._graph.lock:
            changes = self._graph.settle_release_all(swept.handles, call_record, released=released)
            if released:
                self._graph.doubt(swept.doubtful, call_record)
            rest = self._publisher.begin_to_tell(changes, frame)
        if rest is None:
            return None
        return self._reactions.to_leaks(self._publisher.tell_in_steps(rest))

    # --- objects ------------------------------------------------------------------------------

    def collected(self, handle: Handle, site: CallSite, *, released: bool) -> None:
        """Note that a handle object is gone; called by a finalizer, at any point of any thread.

        Nothing is locked here: the collector may run in the middle of a change. The note is read
        before the next change, so before the value can be seen again.
        """
        try:
            self._explanations.let_go(handle, sys._getframe())
        except Exception as error:  # noqa: BLE001 - a finalizer has nobody to tell
            self._explanations.broken(error)
        self._collected.append((handle, site, released, []))
        if released:
            # A use of what went with it must be looked at even before the note is read.
            for child in list(handle.children or ()):
                child.alert = True

    def let_go(self, handle: Handle, site: CallSite) -> None:
        """Note that an object with a handle's number is gone, like `collected`.

        The number may be known elsewhere, or the function that had it may just have ended. Where
        it had been stored and is taken out, nobody can release it any more.
        """
        if handle.state != LIVE or not handle.must_release:
            return
        try:
            departures = self._explanations.seen_to_let_go(handle, sys._getframe())
        except Exception as error:  # noqa: BLE001 - a finalizer has nobody to tell
            self._explanations.broken(error)
            return
        if departures:
            self._collected.append((handle, site, False, departures))

    def drain(self) -> None:
        """Enter the objects that the collector has taken since the last change.

        Called with the graph's lock held.
        """
        many = len(self._collected) > FEW
        together: list[Change] = []
        while self._collected:
            handle, site, released, departures = self._collected.popleft()
            with Sheltered(self._diagnostics, site):
                if departures:
                    if not self._explanations.was_kept(handle, departures):
                        continue
                    self._explanations.watch_no_more(handle)
                    handle.departures = departures
                # A destructor has no caller of its own; where it runs is chance.
                call_record = self._call_records.at(site, None)
                changes = self._graph.collect(handle, call_record, released=released)
                if many:
                    together += changes
                else:
                    self._publisher.publish(changes)
        with self._diagnostics.sheltered("entering what was collected"):
            self._publisher.publish(together)
        self._explanations.rest()

    def quarantined(self, handle: Handle, site: CallSite) -> None:
        """Say once that a binding's destructor would release a second time."""
        self._diagnostics.complain(
            f"quarantine {site.binding}",
            f"{site.binding} objects release their handle again when they are collected, even "
            f"after {site.call}; csptrace keeps released ones alive so that the second release "
            f"does not hit another {handle.kind.title}",
        )

    # --- what is left -------------------------------------------------------------------------

    def unreleased(self, scope: Scope | None) -> list[Handle]:
        """Return what is still to be released, oldest first; with the graph's lock held.

        Args:
            scope: only what was acquired in it; `None` for all.
        """
        self.drain()
        self._publisher.tell_rest()
        return self._graph.unreleased(scope)

    def peaks(self) -> list[Peak]:
        """Return the most of each limited kind that were open at once, one for each parent."""
        return self._open_counts.peaks()

    def forked(self) -> None:
        """Start anew, in the child of a fork."""
        self._collected.clear()
        self._open_counts = self._new_open_counts()

    # --- the tracer's own ---------------------------------------------------------------------

    def foresee(self) -> None:
        """Import what findings need; see `Explanations.foresee`."""
        self._explanations.foresee()

    def patching_failed(self, what: str, error: BaseException) -> None:
        """Note that a target could not be patched."""
        self._diagnostics.patching_failed(what, error)

    def broken(self, site: CallSite, error: BaseException) -> None:
        """Note a bug of the tracer itself; see `Diagnostics.broken`."""
        self._diagnostics.broken(site, error)
