"""The sink that writes the event log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from csptrace.events import records
from csptrace.events.sink import Sink
from csptrace.graph.changes import Acquired, Collected, Ended, HandedOver, RefChanged, Untracked

if TYPE_CHECKING:
    from collections.abc import Callable

    from csptrace.events.log import EventLog
    from csptrace.events.sink import Notice, Totals
    from csptrace.findings.finding import Finding
    from csptrace.graph.changes import Change
    from csptrace.graph.handle import CallRecord, Handle
    from csptrace.stacks.resolved import ResolvedStack
    from csptrace.stacks.stack import Stack

__all__ = ["EventLogSink"]

_HOW = {RefChanged: "reference", HandedOver: "handed-over", Untracked: "unseen"}


class EventLogSink(Sink):
    """Writes an event for each change and finding, and each stack before the first that needs it.

    Args:
        log: the log.
        resolve: puts a stack into words.
        redact: leave out the names of key containers.
        every: whether each change is written (not at level `count`).

    Attributes:
        log: as above.
        redact: as above.
    """

    records = True

    def __init__(
        self,
        log: EventLog,
        resolve: Callable[[Stack | None], ResolvedStack | None],
        *,
        redact: bool,
        every: bool,
    ) -> None:
        self.log = log
        self.redact = redact
        self._every = every
        self._resolve = resolve

    def changed(self, change: Change, live: int) -> None:
        """Write the event of one change."""
        if not self._every:
            return
        match change:
            case Acquired(handle, call_record):
                self._define(call_record.stack)
                self.log.record(
                    "csptrace.handle_acquired",
                    records.acquired(handle, call_record, live, redact=self.redact),
                )
            case Ended(handle, call_record):
                self._released(handle, call_record, live, "released")
            case (
                RefChanged(handle, call_record, added=False)
                | HandedOver(handle, call_record)
                | Untracked(handle, call_record)
            ):
                self._released(handle, call_record, live, _HOW[type(change)])
            case Collected(handle, call_record, released=False):
                self._released(handle, call_record, live, "collected")

    def _released(self, handle: Handle, call_record: CallRecord, live: int, how: str) -> None:
        self._define_both(handle, call_record)
        self.log.record(
            "csptrace.handle_released", records.released(handle, call_record, live, how)
        )

    def invalidated(self, handle: Handle, by: Ended, live: int) -> None:
        """Write that the release of another handle has made one invalid."""
        if self._every and not (handle.found or handle.kind.given):
            self._define_both(handle, by.call_record)
            self.log.record(
                "csptrace.handle_invalidated",
                records.invalidated(handle, by.handle, by.call_record, live),
            )

    def unheld(self, handle: Handle, call_record: CallRecord, live: int) -> None:
        """Write that what was held too long was released."""
        self._define_both(handle, call_record)
        self.log.emit("csptrace.handle_unheld", **records.unheld(handle, call_record, live))

    def found(self, finding: Finding, *, first: bool) -> None:  # noqa: ARG002
        """Write a finding, whichever it is of its fingerprint."""
        for stack in finding.stacks:
            self._write_stack(stack)
        self.log.rescue()
        self.log.emit("csptrace.finding", **records.finding_event(finding, redact=self.redact))

    def noticed(self, notice: Notice) -> None:
        """Write what csptrace says of itself, but not that the log cannot be written."""
        if notice.code != "log":
            self.log.emit("csptrace.notice", code=notice.code, message=notice.message)

    def scope_ended(self, name: str, leaked: int) -> None:
        """Write that a scope was judged."""
        self.log.emit("csptrace.scope_ended", scope=name, leaked=leaked)

    def ended(self, totals: Totals) -> None:
        """Write the summary, if there is anything to sum up, and close the log."""
        if not self.log.is_empty:
            self.log.rescue()
            for peak in totals.peaks:
                self.log.emit("csptrace.peak_reached", **records.peak_event(peak))
            self.log.emit(
                "csptrace.run_ended",
                acquired=totals.acquired,
                peak=totals.peak,
                live=totals.live,
                findings=dict(totals.codes),
                **self.log.cost,
            )
            self.log.close()

    def _define_both(self, handle: Handle, call_record: CallRecord) -> None:
        # The acquisition of an inherited handle stands in the log of the parent process.
        if handle.acquired is not None:
            self._define(handle.acquired.stack)
        self._define(call_record.stack)

    def _define(self, stack: Stack | None) -> None:
        """Write a stack before the first event that refers to it."""
        resolved = self._resolve(stack)
        if resolved is not None:
            self._write_stack(resolved)

    def _write_stack(self, stack: ResolvedStack) -> None:
        if stack.written is not self.log:
            stack.written = self.log
            self.log.emit("csptrace.stack", **records.stack_event(stack))
