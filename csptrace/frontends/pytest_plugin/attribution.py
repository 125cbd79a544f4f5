"""Whose handle it is: scopes for tests, fixtures, collection, and what lies between.

A handle belongs to the scope that is the innermost one where it is acquired. Scopes are carried by
a ContextVar, so an asyncio task belongs to the test that has started it, even if it outlives the
test. A thread starts without context; it belongs to the test that has started it, too, except for
the workers of thread pools, which work for whoever is running.
"""

from __future__ import annotations

import functools
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any, NamedTuple

from csptrace.findings.catalogue import Code
from csptrace.graph.handle import KeepingScope
from csptrace.graph.states import RELEASING

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import pytest

    from csptrace.findings.finding import Finding
    from csptrace.graph.handle import Handle, Scope
    from csptrace.tracer import Tracer

__all__ = [
    "Attempt",
    "Attribution",
    "Owner",
    "Place",
    "PlacedFinding",
    "exception_of_call",
    "raised_findings",
]

_POOLS = ("concurrent.futures.thread", "multiprocessing.pool")


class Place(NamedTuple):
    """Where in the life of a test something happened.

    Attributes:
        phase: `setup`, `call`, `teardown`, or empty.
        fixture: the fixture that was being set up, empty if none was.
    """

    phase: str
    fixture: str


_place = functools.lru_cache(1024)(Place)  # a test acquires many handles in one place


class PlacedFinding(NamedTuple):
    """A finding, and where in the life of its owner it belongs."""

    finding: Finding
    place: Place


class Owner(KeepingScope):
    """Somebody to whom findings belong.

    Attributes:
        kind: `test`, `fixture`, `collection` or `session`.
        nodeid: the node that ends the owner's time.
        finds: its findings that are not judged yet.
        leaks: the handles that are left when its time is over, with their findings.
        records: its judged findings, in a form that travels between processes.
    """

    __slots__ = ("finds", "kind", "leaks", "nodeid", "records")

    def __init__(self, kind: str, name: str, number: int, nodeid: str) -> None:
        super().__init__(name, number)
        self.kind = kind
        self.nodeid = nodeid
        self.finds: list[PlacedFinding] = []
        self.leaks: list[tuple[Handle, Finding]] = []
        self.records: list[dict[str, Any]] = []

    @property
    def is_clean(self) -> bool:
        """Whether there is nothing to judge."""
        return not self.kept and not self.finds

    def take(self, finding: Finding) -> None:
        """Add a finding."""
        self.finds.append(PlacedFinding(finding, self.place_of(finding)))

    def place_of(self, finding: Finding) -> Place:  # noqa: ARG002 - only tests know places
        """Return where a finding belongs."""
        return Place("", "")


class Attempt(Owner):
    """One run of one test, from its setup to the end of its teardown.

    Args:
        item: the test.
        number: unique within the process.
        stragglers: takes the attempt when one of its threads or tasks acquires something or is
            found out after its end.

    Attributes:
        item: the test.
        phase: the phase that is running.
        fixture: the fixture of function scope that is being set up.
        failed: whether the test has failed by itself.
        superseded: whether the test is run again, so that this attempt does not count.
    """

    __slots__ = ("_places", "_stragglers", "failed", "fixture", "item", "phase", "superseded")

    def __init__(self, item: pytest.Item, number: int, stragglers: dict[Attempt, None]) -> None:
        super().__init__("test", item.nodeid, number, item.nodeid)
        self.item = item
        self.phase = "setup"
        self.fixture = ""
        self.failed = False
        self.superseded = False
        self._stragglers = stragglers
        self._places: dict[int, Place] = {}

    def keep(self, handle: Handle) -> None:
        """Remember a handle and where it was acquired."""
        super().keep(handle)
        if self.ended:
            self._stragglers[self] = None
        places = self._places
        places[handle.hid] = _place(self.phase, self.fixture)
        if len(places) > 2 * len(self.kept) + 512:
            alive = {one.hid for one in self.kept}
            for hid in [hid for hid in places if hid not in alive]:
                del places[hid]

    def take(self, finding: Finding) -> None:
        """Add a finding."""
        super().take(finding)
        if self.ended:
            self._stragglers[self] = None

    def is_settled(self, lock: AbstractContextManager[object]) -> bool:
        """Return whether there is nothing to judge, since what was acquired is released.

        Args:
            lock: the graph's lock.
        """
        if self.finds:
            return False
        if self.kept:
            with lock:
                # What the garbage collector has taken is alive until that is entered.
                if any(handle.state <= RELEASING for handle in self.kept):
                    return False
                self.kept.clear()  # a handle knows its scope: leave no cycle to the collector
                self._places.clear()
        return True

    def end(self) -> None:
        """Note that the test is over; what its threads and tasks still do is said to be late."""
        self.ended = True
        self.phase = "after the test"

    def place_of(self, finding: Finding) -> Place:
        """Return where a finding belongs: a leak to its acquisition, a misuse to itself."""
        if finding.code.is_leak:
            known = self._places.get(finding.handle.hid)
            if known is not None:
                return known
        return Place(self.phase, self.fixture)


class Attribution:
    """Follows who is running.

    Args:
        tracer: the tracer.
        session: whom everything belongs to that is nobody else's.

    Attributes:
        current: whose code is running in the main thread.
        tracer: the tracer; another one after it had to be started anew.
    """

    def __init__(self, tracer: Tracer, session: Owner) -> None:
        self.tracer = tracer
        self.current: Owner = session
        self._session = session
        self._homes: weakref.WeakKeyDictionary[threading.Thread, Owner] = (
            weakref.WeakKeyDictionary()
        )
        self._set = tracer.set_scope

    def enter(self, owner: Owner) -> None:
        """Note that code of this owner runs from now on."""
        if len(_threads) > 1:
            self._settle_threads()
        self.current = owner
        self._set(owner)

    def _settle_threads(self) -> None:
        """Enter the threads that were started under the owner whose time is over."""
        homes, main = self._homes, threading.main_thread()
        for thread in list(_threads.values()):
            if thread is not main and thread not in homes and not _is_pooled(thread):
                homes[thread] = self.current

    def of_stranger(self) -> Scope | None:
        """Return the scope of a call that is made in a thread without context."""
        thread = _threads.get(threading.get_ident())
        if thread is not None:
            home = self._homes.get(thread)
            if home is not None:
                return home
        return self.current

    def owner_of(self, finding: Finding) -> Owner:
        """Return to whom a finding belongs.

        A leak is the acquirer's, whoever released the context; anything else is the caller's.
        """
        by_acquirer = finding.code.is_leak or finding.code is Code.HELD_TOO_LONG
        call_record = finding.acquired if by_acquirer else finding.misused or finding.acquired
        scope = call_record.scope if call_record is not None else None
        keeper = scope.keeper if scope is not None else None
        return keeper if isinstance(keeper, Owner) else self._session


_threads: dict[int, threading.Thread] = threading._active  # type: ignore[attr-defined]
"""The running threads; `threading.enumerate` takes a lock and makes a list for each question."""


def _is_pooled(thread: threading.Thread) -> bool:
    target = getattr(thread, "_target", None)
    return getattr(target, "__module__", "") in _POOLS


def raised_findings(error: BaseException | None) -> set[int]:
    """Return the identities of the findings that an exception, or what led to it, carries."""
    found: set[int] = set()
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        finding = getattr(one, "finding", None)
        if finding is not None:
            found.add(id(finding))
        found.update(id(finding) for finding in getattr(one, "findings", None) or ())
        waiting += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions
    return found


def exception_of_call() -> BaseException | None:
    """Return what the test function has raised, also if it was expected to (xfail)."""
    return getattr(sys, "last_value", None)
