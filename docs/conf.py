"""Settings of Sphinx for the static site: the same pages as `csptrace guide`.

Built by: python -m sphinx -W --keep-going -c docs csptrace/guide site
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import csptrace
from csptrace.guide import pages

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "csptrace"
author = "The csptrace authors"
copyright = f"2026, {author}"  # noqa: A001 - the name that Sphinx reads
version = release = csptrace.__version__

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
root_doc = "index"
exclude_patterns = ["**/__pycache__"]
myst_heading_anchors = 3
# Dashes in front of options are no dashes of a text.
smartquotes = False
# The console blocks hold output, in which no lexer knows its way.
highlight_language = "none"
nitpicky = True

html_theme = "furo"
html_title = f"csptrace {release}"
html_copy_source = False
html_show_sourcelink = False


def setup(app: Sphinx) -> None:
    """Register what follows with Sphinx."""
    app.connect("source-read", add_contents)


def add_contents(_app: Sphinx, name: str, source: list[str]) -> None:
    """Add the sections of the table of contents to the first page, for the side bar.

    Args:
        _app: the application.
        name: the page's name.
        source: its text, as the only item; replaced.
    """
    if name != root_doc:
        return
    for section, below in itertools.groupby(pages.contents(), lambda page: page.section):
        names = "\n".join(page.path.removesuffix(".md") for page in below)
        source[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {section}\n\n{names}\n```\n"
