"""Counts what is found, and hands it to the sinks."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from csptrace.findings.catalogue import Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from csptrace.events.sink import Notice, Sink, Totals
    from csptrace.findings.finding import Finding
    from csptrace.graph.changes import Change, Ended
    from csptrace.graph.handle import CallRecord, Handle
    from csptrace.recording.diagnostics import Diagnostics
    from csptrace.stacks.resolved import ResolvedStack

__all__ = ["Reporter"]

_MOST_KEPT: Final = 10_000


class Reporter:
    """What was found so far, and whom to tell.

    Args:
        diagnostics: is told of sinks that break.
        wanted: tells by its stacks whether a finding is to be reported.
        accepted: fingerprint → how many findings the baseline accepts.

    Attributes:
        findings: what was found so far, oldest first; the first 10,000 are kept. One may stand
            for many, see `Finding.times`.
        counts: how many findings there were of each fingerprint.
        codes: how many findings there were of each code.
        serious: how many findings there were that are more than information and that the baseline
            does not accept.
        observer: is told of every finding, with the graph's lock held; `None` for nobody.
        records: whether any sink wants to know of each change.
    """

    def __init__(
        self,
        diagnostics: Diagnostics,
        wanted: Callable[[Iterable[ResolvedStack | None]], bool],
        accepted: Counter[str],
    ) -> None:
        self.findings: list[Finding] = []
        self.counts: Counter[str] = Counter()
        self.codes: Counter[str] = Counter()
        self.serious = 0
        self.observer: Callable[[Finding], None] | None = None
        self.records = False
        self._sinks: tuple[Sink, ...] = ()
        self._diagnostics = diagnostics
        self._wanted = wanted
        self._accepted = accepted

    def send_to(self, *sinks: Sink | None) -> None:
        """Tell these sinks from now on, in this order, and no others.

        Args:
            sinks: the sinks; `None` stands for none.
        """
        self._sinks = tuple(sink for sink in sinks if sink is not None)
        self.records = any(sink.records for sink in self._sinks)

    def report(self, findings: Iterable[Finding]) -> list[Finding]:
        """Keep, count and pass on findings.

        Args:
            findings: the findings.

        Returns:
            Those that are wanted.
        """
        wanted = []
        for finding in findings:
            unwanted = False
            with self._diagnostics.sheltered("reporting a finding"):
                unwanted = not self._wanted(finding.stacks)
            if unwanted:
                continue
            wanted.append(finding)
            if len(self.findings) < _MOST_KEPT:
                self.findings.append(finding)
            first = not self.counts[finding.fingerprint]
            self.counts[finding.fingerprint] += finding.times
            self.codes[finding.code.value] += finding.times
            if finding.severity is not Severity.INFO:
                accepted = min(self._accepted[finding.fingerprint], finding.times)
                self._accepted[finding.fingerprint] -= accepted
                if not self._diagnostics.doubtful:
                    self.serious += finding.times - accepted
            for sink in self._sinks:
                with self._diagnostics.sheltered("reporting a finding"):
                    sink.found(finding, first=first)
            if self.observer is not None:
                with self._diagnostics.sheltered("reporting a finding"):
                    self.observer(finding)
        return wanted

    def changed(self, change: Change, live: int) -> None:
        """Pass on what has happened to one handle; see `Sink.changed`."""
        for sink in self._sinks:
            sink.changed(change, live)

    def invalidated(self, handle: Handle, by: Ended, live: int) -> None:
        """Pass on that a release has made a handle invalid; see `Sink.invalidated`."""
        for sink in self._sinks:
            sink.invalidated(handle, by, live)

    def unheld(self, handle: Handle, call_record: CallRecord, live: int) -> None:
        """Pass on that what was held too long was released; see `Sink.unheld`."""
        for sink in self._sinks:
            sink.unheld(handle, call_record, live)

    def notice(self, notice: Notice) -> None:
        """Pass on what csptrace says of itself."""
        for sink in self._sinks:
            sink.noticed(notice)

    def scope_ended(self, name: str, leaked: int) -> None:
        """Pass on that a scope was judged; see `Sink.scope_ended`."""
        for sink in self._sinks:
            sink.scope_ended(name, leaked)

    def end(self, totals: Totals) -> None:
        """Pass on that tracing ends."""
        for sink in self._sinks:
            sink.ended(totals)

    def forked(self) -> None:
        """Start to count anew, in the child of a fork; `send_to` says where to."""
        self.findings, self.counts, self.codes = [], Counter(), Counter()
        self.serious = 0

    @contextmanager
    def apart(self) -> Iterator[list[Finding]]:
        """Tell nobody and count nothing of what is found in the block.

        Yields:
            What is found in the block.
        """
        kept = (self._sinks, self.records, self.observer, self.findings)
        counts = (self.counts, self.codes, self.serious)
        found: list[Finding] = []
        self._sinks, self.records, self.observer, self.findings = (), False, None, found
        self.counts, self.codes = Counter(), Counter()
        try:
            yield found
        finally:
            self._sinks, self.records, self.observer, self.findings = kept
            self.counts, self.codes, self.serious = counts
