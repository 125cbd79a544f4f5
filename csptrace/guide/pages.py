"""The pages of the guide: what there is, which page a topic names, and its text for a terminal.

The table of contents is `index.md`: each heading begins a section, and each item of its lists is a
link to one page. Everything that lists pages (`csptrace guide`, the static site, the tests) reads
it, so that the order of the pages is said once.
"""

from __future__ import annotations

import difflib
import re
from functools import cache
from importlib import resources
from typing import Final, NamedTuple

from csptrace.errors import GuideError

__all__ = ["Page", "contents", "find", "for_terminal", "of_finding", "text"]

_INDEX: Final = "index.md"
_FINDINGS: Final = "findings/"
_SECTION: Final = re.compile(r"## (?P<title>.+)")
_ITEM: Final = re.compile(r"- \[(?P<title>[^\]]+)\]\((?P<path>[\w/-]+\.md)\)")
_LINK: Final = re.compile(
    r"\[(?P<words>[^\]]+)\]\((?:[\w./-]*/)?(?P<topic>[\w-]+)\.md(?:#[\w-]+)?\)"
)
_COMMENT: Final = re.compile(r"<!--.*?-->\n*", re.DOTALL)


class Page(NamedTuple):
    """One page of the guide.

    Attributes:
        topic: what it is asked for by; the name of its file.
        title: its heading.
        section: the heading of the table of contents under which it stands.
        path: where it lies below the guide's folder, with forward slashes.
    """

    topic: str
    title: str
    section: str
    path: str


@cache
def contents() -> tuple[Page, ...]:
    """Return all pages in the order of the table of contents, without that table itself."""
    section, pages = "", []
    for line in _read(_INDEX).splitlines():
        heading, item = _SECTION.fullmatch(line), _ITEM.match(line)
        if heading is not None:
            section = heading["title"]
        elif item is not None:
            topic = item["path"].rpartition("/")[2].removesuffix(".md")
            pages.append(Page(topic, item["title"], section, item["path"]))
    return tuple(pages)


def find(topic: str) -> Page:
    """Return the page of a topic.

    Args:
        topic: its name, in any case.

    Returns:
        The page.

    Raises:
        GuideError: there is no such topic; names the nearest.
    """
    topics = {page.topic: page for page in contents()}
    wanted = topic.strip().lower()
    if wanted in topics:
        return topics[wanted]
    close = difflib.get_close_matches(wanted, topics, n=1, cutoff=0.0)
    raise GuideError(
        f"guide: there is no topic {topic!r}; the nearest is {close[0]!r}. "
        "All of them: csptrace guide"
    )


def of_finding(code: str) -> Page:
    """Return the page of a finding code.

    Args:
        code: the code (`"leaked-at-release"`).

    Returns:
        The page.

    Raises:
        GuideError: there is no such finding; names the nearest topic.
    """
    page = find(code)
    if not page.path.startswith(_FINDINGS):
        raise GuideError(f"guide: {code!r} is no finding. All of them: csptrace guide findings")
    return page


def text(page: Page) -> str:
    """Return the Markdown of a page.

    Args:
        page: the page.
    """
    return _read(page.path)


def for_terminal(page: Page) -> str:
    """Return the Markdown of a page as a terminal shows it, where nothing can be clicked.

    A link to another page says the command that shows it; comments are left out.

    Args:
        page: the page.
    """
    plain = _COMMENT.sub("", text(page))
    return _LINK.sub(lambda link: f"{link['words']} (`csptrace guide {link['topic']}`)", plain)


def _read(path: str) -> str:
    return resources.files("csptrace.guide").joinpath(*path.split("/")).read_text("utf-8")
