"""Texts of traced programs, made safe for where they are shown.

A log may come from anywhere: file names, function names, container names and messages in it are
whatever the traced program, or somebody else, made them. Each function here is for one place.
"""

from __future__ import annotations

import re
from typing import Final

from csptrace.terminal import escape

__all__ = ["code_span", "dot_string", "json_text", "markdown", "mermaid_label", "shortened"]

_LONGEST: Final = 400
_MARKDOWN: Final = re.compile(r"([\\`*_{}\[\]<>()#+!|~&$@-])")
_BEYOND: Final = re.compile("[\x7f-\U0010ffff]+")
_MERMAID: Final = re.compile(r"""[^\w .,:/()+=*-]""")


def json_text(document: str) -> str:
    """Return a JSON document in which everything that is not to be seen is spelled out.

    JSON's own rules leave some of it as it is: C1 controls, which some terminals obey, and marks
    that turn the direction of writing. Both stand in strings only, where an escape says the same
    (RFC 8259, 7).

    Args:
        document: a JSON document.
    """
    return _BEYOND.sub(lambda run: escape(run[0], _in_json), document)


def _in_json(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))


def shortened(text: str, most: int = _LONGEST) -> str:
    """Return escaped text, its middle left out if it is longer than `most` characters.

    Args:
        text: any text.
        most: characters.
    """
    text = escape(text)
    if len(text) <= most:
        return text
    head = (most - 1) // 2
    return f"{text[:head]}…{text[len(text) - (most - 1 - head) :]}"


def markdown(text: str) -> str:
    """Return text that Markdown shows as it is, also in a table's cell.

    Args:
        text: any text.
    """
    return _MARKDOWN.sub(r"\\\1", shortened(text))


def code_span(text: str) -> str:
    """Return text as code in Markdown, also in a table's cell.

    The fence is longer than any run of backticks inside (CommonMark 6.1); a bar is escaped, which
    tables take away again (GitHub Flavored Markdown 4.10).

    Args:
        text: any text; if there is none, a dash is returned.
    """
    text = shortened(text)
    if not text.strip():
        return "—"
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    space = " " if text[0] in " `" or text[-1] in " `" else ""
    return f"{fence}{space}{text}{space}{fence}".replace("|", r"\|")


def dot_string(text: str) -> str:
    r"""Return text as a quoted string of Graphviz, in which `\n` stays a line end.

    Args:
        text: any text; its own line ends are made visible, so give lines one by one.
    """
    return shortened(text).replace("\\", "\\\\").replace('"', '\\"')


def mermaid_label(text: str) -> str:
    """Return text for a quoted label of Mermaid, whose entities look like `#35;`.

    Args:
        text: any text.
    """
    return _MERMAID.sub(lambda match: f"#{ord(match[0])};", shortened(text, 120))
