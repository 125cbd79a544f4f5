"""rich, with the door shut: what it shows is escaped, its own escape sequences excepted.

rich takes texts as they are; only a few control characters are dropped, and only by some of its
classes. Nothing else in the package imports its console or its `Text`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich import console as rich_console
from rich import text as rich_text
from rich.segment import Segment

from csptrace.terminal import escape

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import ConsoleOptions, RenderableType

__all__ = ["Console", "Text"]


class Text(rich_text.Text):
    """A text on one line, whoever has written it."""

    def __init__(self, text: str = "", *args: Any, **keywords: Any) -> None:
        super().__init__(escape(text), *args, **keywords)

    def append(self, text: rich_text.Text | str, *args: Any, **keywords: Any) -> Text:
        """Add a piece; its line ends are shown, not made.

        Args:
            text: the piece.
            args: as rich takes them.
            keywords: likewise.
        """
        super().append(escape(text) if isinstance(text, str) else text, *args, **keywords)
        return self


class Console(rich_console.Console):
    """A console on which only rich itself writes escape sequences."""

    def render_str(self, text: str, **keywords: Any) -> rich_text.Text:
        """Turn a plain string, such as a table's cell, into a text on one line.

        Args:
            text: the string; it holds no markup.
            keywords: as rich takes them.
        """
        return super().render_str(escape(text), **{**keywords, "markup": False, "emoji": False})

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Lay something out; everything that is shown comes by here, in pieces.

        Args:
            renderable: what is to be shown.
            options: as rich takes them.

        Yields:
            The pieces. Line ends between them are the layout's; the rest is escaped once more.
        """
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                text = "\n".join(map(escape, segment.text.split("\n")))
                yield Segment(text, segment.style)
