"""Findings for people, on stderr: coloured on a terminal, plain elsewhere."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from csptrace.detect.wording import as_lines
from csptrace.terminal import Rendered, Span, put, render, wants_colour

if TYPE_CHECKING:
    from csptrace.detect.wording import Explanation
    from csptrace.terminal import Line

__all__ = ["Terminal"]


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
