"""Findings for people, on stderr: coloured on a terminal, plain elsewhere."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final

from csptrace.detect.wording import as_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from csptrace.detect.wording import Explanation

__all__ = ["Terminal", "wants_colour"]

_RESET: Final = "\x1b[0m"
_BOLD: Final = "\x1b[1m"
_DIM: Final = "\x1b[2m"
_RED: Final = "\x1b[31m"
_GREEN: Final = "\x1b[32m"
_YELLOW: Final = "\x1b[33m"
_CYAN: Final = "\x1b[36m"
_TONES: Final[Mapping[str, str]] = {
    "headline": _BOLD + _YELLOW,
    "place": _CYAN,
    "mark": _BOLD,
    "source": _DIM,
    "remedy": _GREEN,
    "aside": _DIM,
    "good": _GREEN,
    "bad": _BOLD + _RED,
}


def wants_colour(stream: Any, environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether to colour what goes to a stream.

    Args:
        stream: the stream.
        environ: `NO_COLOR` (no-color.org) forbids, `FORCE_COLOR` asks for it, `TERM=dumb` forbids.
    """
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR"):
        return True
    if environ.get("TERM") == "dumb":
        return False
    try:
        terminal = bool(stream.isatty())
    except Exception:  # noqa: BLE001 - the program may have put anything in place of stderr
        return False
    return terminal and (sys.platform != "win32" or _enable_ansi())


def _enable_ansi() -> bool:  # pragma: no cover - needs a Windows console
    """Let a Windows console understand escape sequences (Windows 10 and later)."""
    import ctypes  # noqa: PLC0415 - Windows only

    kernel32 = ctypes.WinDLL("kernel32")  # type: ignore[attr-defined,unused-ignore]
    console = kernel32.GetStdHandle(-12)
    mode = ctypes.c_uint32()
    if not kernel32.GetConsoleMode(console, ctypes.byref(mode)):
        return False
    return bool(kernel32.SetConsoleMode(console, mode.value | 0x4))


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

    def line(self, text: str, role: str = "") -> None:
        """Write one line with the program's name in front.

        Args:
            text: the line, already escaped.
            role: what it is, for the colour: `good`, `bad` or nothing.
        """
        if self.quiet:
            return
        self._logger.info("line", text=text, role=role)

    def _render(self, _logger: Any, _method: str, event: Any) -> str:
        stream = self._target()
        tones = _TONES if wants_colour(stream) else None
        if event["event"] == "line":
            return _painter(tones)(f"csptrace: {event['text']}", event["role"])
        if tones is not None and event["severity"] == "error":
            tones = {**tones, "headline": _BOLD + _RED}
        return "csptrace: " + as_text(event["explanation"], _painter(tones)) + "\n"

    def info(self, text: str) -> None:
        """Write rendered text; what structlog calls. A stream that cannot be written is ignored."""
        stream = self._target()
        if stream is None:
            return
        try:
            try:
                stream.write(text + "\n")
            except UnicodeEncodeError:
                stream.write(text.encode("ascii", "backslashreplace").decode() + "\n")
            stream.flush()
        except Exception:  # noqa: BLE001 - the program may have put anything in place of stderr
            # Closed, broken or of another sort: the event log has it, and the program must go on.
            return

    def _target(self) -> Any:
        return self._stream if self._stream is not None else getattr(sys, "stderr", None)


def _painter(tones: Mapping[str, str] | None) -> Callable[[str, str], str]:
    if tones is None:
        return lambda text, _role: text

    def paint(text: str, role: str) -> str:
        code = tones.get(role, "")
        return f"{code}{text}{_RESET}" if code else text

    return paint
