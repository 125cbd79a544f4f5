"""Handles that are held too long, told even if the program never calls the provider again.

With the setting `held_too_long` a thread of csptrace's own looks at what is alive. Without it there
is no such thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from csptrace import threads
from csptrace.clocks import CLOCKS
from csptrace.findings.judgement import held_too_long
from csptrace.findings.overdue import overdue
from csptrace.graph.changes import Collected, Ended, HandedOver, Untracked
from csptrace.graph.sites import CallSite
from csptrace.graph.states import LIVE

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable

    from csptrace.graph.changes import Change
    from csptrace.graph.graph import Graph
    from csptrace.graph.handle import Handle
    from csptrace.recording.diagnostics import Diagnostics
    from csptrace.recording.explanations import Explanations
    from csptrace.recording.reporter import Reporter
    from csptrace.stacks.ownership import Ownership

__all__ = ["OverdueWatcher"]

_SHORTEST: Final = 0.02
"""Seconds between two looks at least."""
_LONGEST: Final = 3600.0
_IDLE: Final = 60.0
"""Seconds until the next look where this one could not be had."""


class OverdueWatcher:
    """Looks at what is alive from time to time, and reports what is older than it may be.

    Args:
        threshold: seconds that a handle may be held; 0 for as long as it likes.
        graph: what is alive.
        ownership: resolves stacks.
        reporter: is told.
        diagnostics: is told of the tracer's bugs.
        explanations: says where the functions that have a handle stand.

    Attributes:
        held: what was reported and is still alive.
        refresh: is called with the graph's lock held before each look, and says whether there is
            anything to look at.
    """

    def __init__(
        self,
        threshold: float,
        graph: Graph,
        ownership: Ownership,
        reporter: Reporter,
        diagnostics: Diagnostics,
        explanations: Explanations,
    ) -> None:
        self.held: set[Handle] = set()
        self.refresh: Callable[[], bool] = _always
        self._threshold = int(threshold * 1e9)
        self._graph = graph
        self._resolve = ownership.resolve
        self._reporter = reporter
        self._diagnostics = diagnostics
        self._explanations = explanations
        self._thread = _Periodic(self.look) if threshold else None

    def start(self) -> None:
        """Start the thread; called again in the child of a fork, where there is none."""
        if self._thread is not None:
            self._thread.start()

    def stop(self) -> None:
        """End the thread and wait for it."""
        if self._thread is not None:
            self._thread.stop()

    def restart(self) -> None:
        """Start the thread again in the child of a fork, if the system allows one more."""
        try:
            self.start()
        except Exception as error:  # noqa: BLE001 - the system may allow no more threads
            self._complain(error)

    def look(self) -> float:
        """Report what is held too long; return the seconds until the next look."""
        try:
            with self._graph.lock:
                if not self.refresh():
                    return _IDLE
                handles = self._graph.known()
            # Other threads need not wait while all of them are looked at.
            late, wait = self.overdue(handles)
            if late:
                with self._graph.lock:
                    if self.refresh():
                        self.report(late)
            return wait / 1e9
        except Exception as error:  # noqa: BLE001 - the tracer may break, the program may not
            self._complain(error)
            return _IDLE

    def overdue(self, handles: Iterable[Handle]) -> tuple[list[Handle], int]:
        """Return what is held too long and was not reported yet, and when to look again.

        Args:
            handles: what is alive.

        Returns:
            The handles, and nanoseconds.
        """
        epoch, held = self._graph.epoch, self.held
        fresh = [
            handle
            for handle in handles
            if handle.must_release and handle.epoch == epoch and handle not in held
        ]
        return overdue(fresh, CLOCKS.monotonic(), self._threshold)

    def report(self, late: Iterable[Handle]) -> None:
        """Report handles as held too long, those that still are; with the graph's lock held."""
        epoch = self._graph.epoch
        late = [
            handle
            for handle in late
            if handle.state == LIVE and handle.epoch == epoch and handle not in self.held
        ]
        self.held.update(late)
        self._reporter.report(
            held_too_long(
                late,
                self._explanations.glance,
                self._resolve,
                epoch,
                self._explanations.causes,
                self._diagnostics.broken_description,
            )
        )

    def report_last(self, unreleased: Iterable[Handle]) -> None:
        """Report what is held too long when tracing ends; with the graph's lock held."""
        if self._thread is not None:
            self.report(self.overdue(unreleased)[0])

    def note(self, change: Change) -> None:
        """Follow up on a handle that had been reported."""
        handle = change.handle
        if handle not in self.held:
            return
        if isinstance(change, Ended | HandedOver | Collected | Untracked):
            self.held.discard(handle)
        if isinstance(change, Ended):
            self.held.difference_update(change.invalidated)
            self._reporter.unheld(handle, change.call_record, self._graph.live)

    def _complain(self, error: Exception) -> None:
        self._diagnostics.complain_of_bug(
            CallSite("looking for handles held too long", "", ""), error
        )


def _always() -> bool:
    return True


class _Periodic:
    """A thread that does something from time to time.

    Args:
        look: does it, and returns the seconds until it is to be done again.
    """

    def __init__(self, look: Callable[[], float]) -> None:
        self._look = look
        self._wait: threading.Lock | None = None
        self._end: threading.Lock | None = None
        self._thread = 0

    def start(self) -> None:
        """Start the thread."""
        wait, end = threads.lock(), threads.lock()
        wait.acquire()
        end.acquire()
        threads.start(self._run, wait, end)
        self._wait, self._end = wait, end

    def stop(self) -> None:
        """End the thread and wait for it."""
        wait, self._wait = self._wait, None
        if wait is None:
            return
        wait.release()
        if self._end is not None and self._thread != threads.get_ident():
            self._end.acquire(timeout=5)

    def _run(self, wait: threading.Lock, end: threading.Lock) -> None:
        self._thread = threads.get_ident()
        try:
            seconds = _SHORTEST
            while not wait.acquire(timeout=seconds):
                seconds = min(max(_SHORTEST, self._look()), _LONGEST)
        finally:
            end.release()
