"""What people and other tools read: each renderer turns a result object into one text.

Renderers know nothing of engines: they are handed `csptrace.analysis.results` and nothing else. A
renderer is a module with a function `report(report, options)` and, if it can show what changed
between two sets of logs, `comparison(comparison, options)`. Adding one is a file and a line in
`FORMATS`. No renderer is imported before it is used, so that a missing extra hurts only those who
ask for it.
"""

from __future__ import annotations

import dataclasses
import importlib
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from csptrace.errors import CspTraceError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from csptrace.analysis.results import Comparison, Report

__all__ = ["FORMATS", "Format", "Options", "Weight"]

Weight: TypeAlias = Literal["acquired", "leaked", "live"]
"""What a stack weighs in a flame graph: the handles acquired, leaked or alive at the end."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to show a result. Every renderer takes all of them and uses what concerns it.

    Attributes:
        title: stands at the top.
        width: columns of a terminal.
        colour: whether a terminal shows colours; `NO_COLOR` is for the caller to respect.
        verbosity: 0 shows the worst of each sort, 1 all of it, 2 the frames of libraries too.
            Formats for programs always hold everything.
        source_root: a folder whose Python files may be quoted around the lines that frames name;
            empty to quote nothing.
        weight: what a stack weighs where a format can hold one number only.
        generated: when the report was made, nanoseconds since 1970-01-01 UTC; 0 leaves it out, so
            that equal results give equal texts.
    """

    title: str = "csptrace"
    width: int = 100
    colour: bool = False
    verbosity: int = 0
    source_root: str = ""
    weight: Weight = "leaked"
    generated: int = 0


class Format(NamedTuple):
    """One form of output.

    Attributes:
        name: what people type after `--format`.
        suffix: of a file in this form.
        about: what it is good for, in a line.
        module: the renderer, imported when it is first used.
        compares: whether it can show a comparison.
    """

    name: str
    suffix: str
    about: str
    module: str
    compares: bool

    def report(self, report: Report, options: Options) -> str:
        """Render a report.

        Args:
            report: what to show.
            options: how to show it.

        Returns:
            The text, to be written as UTF-8 with line ends as they are.

        Raises:
            MissingExtraError: the renderer needs a package that is not installed.
        """
        text: str = importlib.import_module(self.module).report(report, options)
        return text

    def comparison(self, comparison: Comparison, options: Options) -> str:
        """Render a comparison.

        Args:
            comparison: what to show.
            options: how to show it.

        Returns:
            The text, to be written as UTF-8 with line ends as they are.

        Raises:
            CspTraceError: this form cannot show one; the message names those that can.
            MissingExtraError: the renderer needs a package that is not installed.
        """
        if not self.compares:
            able = ", ".join(form.name for form in FORMATS.values() if form.compares)
            raise CspTraceError(
                f"the format {self.name!r} shows one set of logs and cannot show a comparison; "
                f"choose one of {able}"
            )
        text: str = importlib.import_module(self.module).comparison(comparison, options)
        return text


_HERE: Final = "csptrace.analysis.render"

FORMATS: Final[Mapping[str, Format]] = MappingProxyType(
    {
        form.name: form
        for form in (
            Format("terminal", ".txt", "for people, in a terminal", f"{_HERE}.terminal", True),
            Format("json", ".json", "everything, for programs", f"{_HERE}.jsonform", True),
            Format(
                "html", ".html", "one page to explore, without a network", f"{_HERE}.html", True
            ),
            Format("sarif", ".sarif", "GitHub code scanning", f"{_HERE}.sarif", True),
            Format("junit", ".xml", "test results for CI servers", f"{_HERE}.junit", True),
            Format("markdown", ".md", "a GitHub step summary", f"{_HERE}.markdown", True),
            Format("dot", ".dot", "the handle graph for Graphviz", f"{_HERE}.dot", False),
            Format("mermaid", ".mmd", "the handle graph for Mermaid", f"{_HERE}.mermaid", False),
            Format(
                "collapsed", ".folded", "stacks for flame-graph tools", f"{_HERE}.collapsed", False
            ),
            Format(
                "perfetto", ".json", "lifetimes for Perfetto and Chrome", f"{_HERE}.perfetto", False
            ),
        )
    }
)
"""The forms of output by name; the first is what people see if they ask for none."""
