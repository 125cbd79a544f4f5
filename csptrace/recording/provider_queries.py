"""What is asked of the provider itself, and what follows for the graph.

Only where the answer decides what is a leak or dead, and never in the middle of a call of another
thread that it could disturb.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from csptrace.graph.sites import CallSite
from csptrace.graph.states import LIVE
from csptrace.intercept.contract import THE_LIBRARY
from csptrace.intercept.in_flight import in_flight
from csptrace.spec.queries import Answer, Query

if TYPE_CHECKING:
    from collections.abc import Iterable

    from csptrace.graph.graph import Graph
    from csptrace.graph.handle import Handle
    from csptrace.recording.call_records import CallRecords
    from csptrace.recording.publisher import Publisher
    from csptrace.spec.kinds import Kind

__all__ = ["ProviderQueries", "limit_of", "lineage"]

_SELF: Final = CallSite("csptrace", "", "")
_SOMEWHERE: Final = -1
"""The value of a slot or home of which is not known which it is."""


class ProviderQueries:
    """Asks about handles, and enters the answers.

    Args:
        graph: what is alive.
        call_records: tells when it is.
        publisher: passes on what follows.
    """

    def __init__(self, graph: Graph, call_records: CallRecords, publisher: Publisher) -> None:
        self._graph = graph
        self._call_records = call_records
        self._publisher = publisher

    def ask_below(self, handle: Handle, site: CallSite) -> None:
        """Ask which handles outlive their parent, before their parents end.

        Args:
            handle: what is about to end, with everything below it.
            site: the call that ends it.
        """
        asked = [
            child
            for child in self._graph.below(handle)
            if child.kind.survives is not None and child.must_release
        ]
        for child in asked:
            session = child.parent
            if session is None or child.kind.survives is None or session.state != LIVE:
                continue
            answer = _ask_through(session, child, child.kind.survives)
            self._apply(answer, child, site)

    def _apply(self, answer: Answer, child: Handle, site: CallSite) -> None:
        if answer is Answer.YES:
            above = None if child.parent is None else child.parent.parent
            self._graph.move(child, self.home(child.kind, above))
        elif answer in (Answer.GONE, Answer.ORPHANED):
            self._publisher.publish(self._graph.forget(child, self._call_records.at(site, None)))

    def home(self, kind: Kind, above: Handle | None) -> Handle | None:
        """Return what a handle lives under that outlives its parent, or was only found.

        Args:
            kind: its kind.
            above: the parent of its parent, as far as that is known.
        """
        if kind.home is None:
            return None
        return self.borrowed(kind.home, _SOMEWHERE if above is None else above.value)

    def borrowed(self, kind: Kind, value: int) -> Handle:
        """Return the handle with a value, entered as not to be released if unknown."""
        with self._graph.lock:
            return self._graph.borrow(kind, value, self._above(kind))

    def _above(self, kind: Kind) -> Handle | None:
        """Return what an unknown handle of a kind lives under, as far as that is certain."""
        above = kind.home or kind.under
        if above is None:
            return None
        if above.library:
            library = self._graph.borrow(above, THE_LIBRARY)
            library.name = library.name or os.path.basename(kind.realm)
            return library
        return self.borrowed(above, _SOMEWHERE) if above.given else None

    def clear_up(self, handle: Handle) -> None:
        """Ask whether a handle is alive that a call may have ended."""
        with self._graph.lock:
            if handle.doubt is None or handle.state != LIVE:
                return
            answer = self._ask_anyone(handle)
            if answer is Answer.GONE:
                self._publisher.publish(self._graph.end_doubted(handle))
            elif answer is not Answer.ORPHANED:  # alive, or the provider does not tell
                self._graph.trust(handle)

    def _ask_anyone(self, handle: Handle) -> Answer:
        """Ask about a handle through any of what its home can be reached by, if there is any.

        The program is about to make a call of its own with the handle, so that whatever this call
        disturbs in another thread, that one does too.
        """
        kind, home = handle.kind, handle.parent
        if kind.survives is None or kind.under is None or home is None:
            return Answer.UNKNOWN
        if kind.under.under is None:
            return Answer.UNKNOWN
        if home.kind is kind.under:
            return _ask_through(home, handle, kind.survives)
        slot = self._graph.table(kind.under.under).get(home.value)
        for each in list(slot.children or ()) if slot is not None else ():
            if each.kind is kind.under and each.state == LIVE:
                answer = _ask_through(each, handle, kind.survives)
                if answer is not Answer.ORPHANED:
                    return answer
        return Answer.ORPHANED

    def ask_about(self, unreleased: Iterable[Handle]) -> None:
        """Ask about what would be reported as leaked at exit, if its library is at rest."""
        asked = [
            (handle, handle.kind.survives)
            for handle in unreleased
            if handle.kind.survives is not None and handle.parent is not None
        ]
        if not asked or list(in_flight()):
            return
        with self._graph.lock:
            for handle, query in asked:
                ends = lineage(handle)
                if all(each.state == LIVE for each in ends):
                    answer = _ask_through(ends[1], handle, query)
                    self._apply(answer, handle, _SELF)

    def answers_yes(self, query: Query, handle: Handle) -> bool:
        """Return whether the provider answers yes to a query about a handle."""
        session = handle.parent
        return (
            session is not None
            and handle.state == session.state == LIVE
            and _ask_through(session, handle, query) is Answer.YES
        )


def _ask_through(parent: Handle, handle: Handle, query: Query) -> Answer:
    answer: Answer = query.ask(handle.kind.realm, parent.value, handle.value)
    return answer


def lineage(handle: Handle) -> list[Handle]:
    """Return a handle and its parents, nearest first."""
    found = [handle]
    while found[-1].parent is not None:
        found.append(found[-1].parent)
    return found


def limit_of(kind: Kind, parent: Handle) -> int:
    """Ask how many handles may live under one parent; 0 if that is not limited or not known.

    Args:
        kind: their kind.
        parent: the parent.
    """
    return int(kind.limit.ask(kind.realm, parent.value)) if isinstance(kind.limit, Query) else 0
