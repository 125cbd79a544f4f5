"""Texts of traced programs, made safe for where they are shown.

A log may come from anywhere: file names, function names, container names and messages in it are
whatever the traced program, or somebody else, made them. Each function here is for one place.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["code_span", "dot_string", "markdown", "mermaid_label", "shortened", "visible"]

_LONGEST: Final = 400
_MARKDOWN: Final = re.compile(r"([\\`*_{}\[\]<>()#+!|~&$@-])")
_MERMAID: Final = re.compile(r"""[^\w .,:/()+=*-]""")


def visible(text: str) -> str:
    """Return text on one line with everything that does not print made visible.

    That is control characters (so no escape sequence reaches a terminal), line ends, marks that
    turn the direction of writing, and lone surrogates, which no encoding takes.

    Args:
        text: any text.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def shortened(text: str, most: int = _LONGEST) -> str:
    """Return visible text, its middle left out if it is longer than `most` characters.

    Args:
        text: any text.
        most: characters.
    """
    text = visible(text)
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
