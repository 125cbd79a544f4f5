"""All output to terminals: it is escaped here, and colours are made here.

Much of what csptrace shows was named by others: the traced program (files, functions, threads,
containers), whoever wrote a log or a spec, whoever typed an argument. Such text may hold escape
sequences that move the cursor, change the window's title or write to the clipboard (OSC 52), and
marks that show it in another order than it has (Trojan Source, CVE-2021-42574). So nothing else in
the package writes to a standard stream, and nothing has to remember to escape:

- `say` and `complain` take *lines*. Each is escaped as a whole; a line end inside one is shown, not
  made, so that no text can pretend to be another line.
- Colour is asked for with a `Span`, by the name of a tone. Escape sequences stand in this module
  only and no text can spell one.
- `pass_on` writes what is not to be changed: documents in a format that has escaped for itself
  (JSON, HTML, …; `csptrace.analysis.render`), and what the traced program says itself.

The standard library is all it needs, since it is there before anything is traced.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = [
    "Line",
    "Rendered",
    "Span",
    "complain",
    "escape",
    "pass_on",
    "put",
    "render",
    "say",
    "wants_colour",
]

_UNSEEN: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]"
)
"""What Python calls printable although nothing is to be seen: the letters and marks among Unicode's
Default_Ignorable_Code_Point (DerivedCoreProperties.txt), that is fillers, joiners and variation
selectors. The rest of that property is format characters, which are not printable."""

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


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a line that has a tone.

    Attributes:
        text: the piece, as it is; it is escaped when it is written.
        tone: what it is: `headline`, `place`, `mark`, `source`, `remedy`, `aside`, `good` or
            `bad`. Any other word means no colour.
    """

    text: str
    tone: str = ""


Line: TypeAlias = "str | Span | tuple[str | Span, ...]"
"""One line, without its end: a text, a piece of one tone, or several of both."""


class Rendered(str):
    """Lines that `render` has made: the only text that `put` takes."""

    __slots__ = ()


def escape(text: str, spell: Callable[[str], str] | None = None) -> str:
    r"""Return text on one line with everything that is not to be seen spelled out.

    Letters, marks, digits, punctuation and symbols of every script stay as they are. Spelled out
    (`\x1b`, `\u202e`) are: control characters, C0 and C1, among them line ends; format characters,
    which are the marks for the direction of writing (U+202A to U+202E, U+2066 to U+2069, U+200E,
    U+200F, U+061C: those of Trojan Source) and what has no width (U+200B to U+200D, U+FEFF, tags);
    variation selectors and fillers, since two names that look the same must be told apart; every
    blank but the plain one; lone surrogates, private and unassigned characters. That a joiner is
    spelled out inside a Persian word or an emoji is the price: the rest of it stays readable.
    What is written from right to left is left to the terminal, and so are letters that look alike.

    Escaping twice changes nothing: what is spelled out is plain.

    Args:
        text: any text.
        spell: spells a character out; as Python does if not given.
    """
    if text.isprintable() and (text.isascii() or _UNSEEN.search(text) is None):
        return text
    spell = spell or _spelled
    return "".join(
        char if char.isprintable() and _UNSEEN.match(char) is None else spell(char) for char in text
    )


def _spelled(char: str) -> str:
    if char.isprintable():  # which Python does not spell out
        number = ord(char)
        return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
    # Not by the codec "unicode_escape": a codec is imported when it is used for the first time, and
    # if that fails, it stays unknown to the program.
    return repr(char)[1:-1]


def render(lines: Iterable[Line], *, colour: bool = False) -> Rendered:
    """Return lines as they are written, each with its end.

    Args:
        lines: the lines.
        colour: whether spans are coloured.
    """
    return Rendered("".join(f"{_line(line, colour=colour)}\n" for line in lines))


def _line(line: Line, *, colour: bool) -> str:
    pieces = line if isinstance(line, tuple) else (line,)
    return "".join(_piece(piece, colour=colour) for piece in pieces)


def _piece(piece: str | Span, *, colour: bool) -> str:
    if not isinstance(piece, Span):
        return escape(piece)
    code = _TONES.get(piece.tone, "") if colour else ""
    text = escape(piece.text)
    return f"{code}{text}{_RESET}" if code else text


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
        return bool(stream.isatty()) and (sys.platform != "win32" or _enable_ansi())
    except Exception:  # noqa: BLE001 - the program may have put anything in place of stderr
        return False


def _enable_ansi() -> bool:  # pragma: no cover - needs a Windows console
    """Let a Windows console understand escape sequences (Windows 10 and later)."""
    import ctypes  # noqa: PLC0415 - Windows only

    kernel32 = ctypes.WinDLL("kernel32")  # type: ignore[attr-defined,unused-ignore]
    console = kernel32.GetStdHandle(-12)
    mode = ctypes.c_uint32()
    if not kernel32.GetConsoleMode(console, ctypes.byref(mode)):
        return False
    return bool(kernel32.SetConsoleMode(console, mode.value | 0x4))


def say(*lines: Line) -> None:
    """Write lines to stdout, without colour.

    Args:
        lines: what to say.

    Raises:
        OSError: stdout cannot be written, which a command has to notice.
    """
    put(sys.stdout, render(lines))


def complain(*lines: Line) -> None:
    """Write lines to stderr, without colour; if that cannot be done, there is nobody to tell.

    Args:
        lines: what to say.
    """
    try:
        put(sys.stderr, render(lines))
    except Exception:  # noqa: BLE001 - it is closed, or the program has put anything in its place
        return


def put(stream: Any, text: Rendered) -> None:
    """Write rendered lines to a stream.

    Args:
        stream: the stream; `None`, as under pythonw, is nowhere.
        text: what `render` has made.

    Raises:
        Exception: whatever the stream raises.
    """
    pass_on(text, stream)


def pass_on(text: str, stream: Any) -> None:
    """Write text as it is: a document that its format has escaped, or the program's own words.

    What the stream's character set lacks is spelled out.

    Args:
        text: the text.
        stream: where to; `None` is nowhere.

    Raises:
        Exception: whatever the stream raises.
    """
    if stream is None:
        return
    try:
        stream.write(text)
    except UnicodeEncodeError:
        known = getattr(stream, "encoding", None) or "ascii"
        stream.write(text.encode(known, "backslashreplace").decode(known))
    stream.flush()
