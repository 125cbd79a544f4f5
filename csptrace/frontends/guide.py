"""`csptrace guide`: the pages that ship with the package, in a terminal."""

from __future__ import annotations

import io
import itertools
import shutil
import sys
from typing import TYPE_CHECKING, Final

from csptrace.guide import pages
from csptrace.terminal import pass_on, say, wants_colour

if TYPE_CHECKING:
    import argparse

    from csptrace.guide.pages import Page

__all__ = ["arguments", "main"]

_WIDEST: Final = 100
"""In columns; longer lines are hard to read."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("topic", nargs="?", help="which page (default: the table of topics)")


def main(options: argparse.Namespace) -> int:
    """Show a page of the guide, or the table of topics.

    Args:
        options: the parsed command line.

    Returns:
        0.

    Raises:
        GuideError: there is no such topic; names the nearest.
    """
    if options.topic is None:
        say(*_table())
        return 0
    page = pages.find(options.topic)
    if not (wants_colour(sys.stdout) and _show(page)):
        say(*pages.for_terminal(page).splitlines())
    return 0


def _table() -> list[str]:
    """Return the table of topics as lines."""
    contents = pages.contents()
    width = max(len(page.topic) for page in contents)
    lines = ["csptrace guide TOPIC shows a page:"]
    for section, below in itertools.groupby(contents, lambda page: page.section):
        titles = ((page.topic, page.title.removeprefix(f"{page.topic}: ")) for page in below)
        lines += ["", section, *(f"  {topic:<{width}}  {title}" for topic, title in titles)]
    return lines


def _show(page: Page) -> bool:
    """Lay a page out on the terminal with rich; return whether that is installed."""
    try:
        from rich.markdown import Markdown  # noqa: PLC0415 - an extra

        from csptrace.analysis.render.console import Console  # noqa: PLC0415 - likewise
    except ImportError:
        return False
    file = io.StringIO()
    console = Console(
        file=file,
        width=min(shutil.get_terminal_size().columns, _WIDEST),
        color_system="standard",
        force_terminal=True,
        legacy_windows=False,
        highlight=False,
    )
    console.print(Markdown(pages.for_terminal(page), hyperlinks=False))
    pass_on(file.getvalue(), sys.stdout)
    return True
