"""Findings for people, on stderr: coloured on a terminal, plain elsewhere."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from csptrace.events.sink import Sink
from csptrace.findings.judgement import occurrence, reference
from csptrace.findings.text import as_lines, explain, unheld
from csptrace.terminal import Rendered, Span, put, render, wants_colour

if TYPE_CHECKING:
    from collections.abc import Callable

    from csptrace.events.sink import Notice, Totals
    from csptrace.findings.finding import Finding
    from csptrace.findings.judgement import Resolve
    from csptrace.findings.text import Explanation
    from csptrace.graph.handle import CallRecord, Handle
    from csptrace.terminal import Line

__all__ = ["Terminal", "TerminalSink"]


class Terminal:
    """Writes findings to a stream through a structlog logger of its own.

    Args:
        stream: where to; `sys.stderr` as it is at that moment if not given.
        quiet: write nothing.

    Attributes:
        quiet: whether nothing is written.
    """

    def __init__(self, stream: Any = None, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self._stream = stream
        if quiet:
            return
        # Not at the first finding: it is made with the graph's lock held, in the middle of
        # whatever the program does, perhaps of an import.
        import structlog  # noqa: PLC0415 - it imports asyncio and rich, and quiet runs need none

        self._logger = structlog.wrap_logger(
            self,
            processors=[self._render],
            wrapper_class=structlog.make_filtering_bound_logger(0),
            context_class=dict,
        )

    def finding(self, explanation: Explanation, severity: str) -> None:
        """Write a finding.

        Args:
            explanation: the finding in words.
            severity: its severity, for the colour.
        """
        if self.quiet:
            return
        self._logger.info("finding", explanation=explanation, severity=severity)

    def line(self, text: str, role: str = "", *more: str) -> None:
        """Write one line with the program's name in front.

        Args:
            text: the line.
            role: what it is, for the colour: `good`, `bad` or nothing.
            more: lines that belong to it.
        """
        if self.quiet:
            return
        self._logger.info("line", text=text, role=role, more=more)

    def _render(self, _logger: Any, _method: str, event: Any) -> Rendered:
        lines: list[Line]
        if event["event"] == "line":
            texts = (f"csptrace: {event['text']}", *event["more"])
            lines = [Span(text, event["role"]) for text in texts]
        else:
            tone = "bad" if event["severity"] == "error" else "headline"
            first, *rest = as_lines(event["explanation"], tone)
            assert isinstance(first, Span)  # noqa: S101 - for the type checker
            lines = [("csptrace: ", first), *rest, ""]
        return render(lines, colour=wants_colour(self._target()))

    def info(self, text: Rendered) -> None:
        """Write rendered text; what structlog calls. A stream that cannot be written is ignored."""
        try:
            put(self._target(), text)
        except Exception:  # noqa: BLE001 - the program may have put anything in place of stderr
            # Closed, broken or of another sort: the event log has it, and the program must go on.
            return

    def _target(self) -> Any:
        return self._stream if self._stream is not None else getattr(sys, "stderr", None)


class TerminalSink(Sink):
    """Shows the first finding of each fingerprint, complaints, and the totals at the end.

    Equal ones are counted in the totals; each is in the log.

    Args:
        terminal: where to.
        resolve: puts a stack into words.
        redact: leave out the names of key containers.
        log_path: returns where the event log is, `None` if there is none.
        complain: is given complaints in place of the terminal.

    Attributes:
        terminal: as above.
        redact: as above.
        complain: as above.
    """

    def __init__(
        self,
        terminal: Terminal,
        resolve: Resolve,
        *,
        redact: bool,
        log_path: Callable[[], object],
        complain: Callable[[str], None] | None = None,
    ) -> None:
        self.terminal = terminal
        self.redact = redact
        self.complain = complain
        self._resolve = resolve
        self._log_path = log_path

    def found(self, finding: Finding, *, first: bool) -> None:
        """Show a finding if it is the first of its fingerprint."""
        if first and not self.terminal.quiet:
            self.terminal.finding(explain(finding, redact=self.redact), finding.severity.value)

    def unheld(self, handle: Handle, call_record: CallRecord, live: int) -> None:  # noqa: ARG002
        """Say that what was held too long was released."""
        self.terminal.line(
            unheld(reference(handle, self._resolve), occurrence(call_record, self._resolve)), "good"
        )

    def noticed(self, notice: Notice) -> None:
        """Say what csptrace says of itself."""
        if self.complain is not None:
            self.complain(notice.message)
        else:
            self.terminal.line(notice.line, "bad", *notice.more)

    def ended(self, totals: Totals) -> None:
        """Say how many handles and findings there were."""
        for peak in totals.peaks:
            self.terminal.line(peak.line(), "good")
        if totals.codes or totals.acquired:
            self.terminal.line(self._summary(totals), "bad" if totals.codes else "good")

    def _summary(self, totals: Totals) -> str:
        acquired = totals.acquired
        text = f"{acquired} handle{'s' if acquired != 1 else ''} acquired, "
        total = sum(totals.codes.values())
        if total:
            each = ", ".join(f"{count} {code}" for code, count in sorted(totals.codes.items()))
            text += f"{total} finding{'s' if total != 1 else ''} ({each})"
            if totals.places < total:
                text += f" at {totals.places} place{'s' if totals.places != 1 else ''}"
        else:
            text += "no findings"
        path = self._log_path()
        if path is not None:
            text += f"; log: {path}"
        return text
