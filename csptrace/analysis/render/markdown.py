"""A summary in GitHub's Markdown, short enough for a step summary (1 MiB at most)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from csptrace.analysis.render import mermaid, story, words
from csptrace.analysis.render.escaping import code_span, markdown
from csptrace.analysis.render.places import Places, frames_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from csptrace.analysis.render import Options
    from csptrace.analysis.results import Comparison, Group, Report

__all__ = ["LIMIT", "comparison", "report"]

LIMIT: Final = 1_048_576
"""Bytes that GitHub takes as the summary of one step; a longer one is refused as a whole."""

_ROWS: Final = 200
_TOLD: Final = 10
_SITES: Final = 20
_GRAPH: Final = 60
_SPARE: Final = 400
_MARKS: Final = {"error": "🔴", "warning": "🟠", "info": "🔵"}
_WHAT: Final = {"new": "🔴 new", "grown": "🟠 grown", "shrunk": "🔵 shrunk", "fixed": "🟢 fixed"}


def report(report: Report, options: Options) -> str:
    """Render a report.

    Args:
        report: what to show.
        options: the title; `verbosity` of 1 or more tells every finding, as far as there is room.
    """
    places = Places.of(report)
    totals = words.totals(report)
    paper = _Paper(options.title)
    if report.groups:
        paper.add(
            f"**{words.plural(totals.findings, 'finding')}** at "
            f"{words.plural(totals.places, 'place')}: {words.plural(totals.errors, 'error')}, "
            f"{words.plural(totals.warnings, 'warning')}, {words.plural(totals.infos, 'note')}. "
            f"{_scale(report)}\n"
        )
    else:
        paper.add(f"**No findings.** {_scale(report)}\n")
    _flaws(paper, report)
    _findings(paper, report.groups, places)
    _told(paper, report.groups, places, options)
    sites = [site for site in report.sites if site.leaked or site.growth > 0]
    paper.table(
        "Acquisition sites that leak or grow",
        ("Kind", "Where", "Acquired", "Released", "Leaked", "Growth"),
        "llrrrr",
        [
            (
                code_span(site.kind),
                code_span(places.where(site.where)),
                f"{site.acquired:,}",
                f"{site.released:,}",
                f"{site.leaked:,}",
                f"{site.growth:+,}",
            )
            for site in sites
        ],
        _SITES,
    )
    if report.graph:
        graph = mermaid.diagram(report, _GRAPH)
        paper.folded(
            f"Handle graph of run {code_span(report.graph_run)}", f"```mermaid\n{graph}```\n"
        )
    return paper.text()


def comparison(comparison: Comparison, options: Options) -> str:
    """Render a comparison.

    Args:
        comparison: what to show.
        options: the title.
    """
    places = Places(frames_of(change.group for change in comparison.changes))
    paper = _Paper(options.title)
    paper.add(
        f"**{words.summary(comparison)}** ({words.runs_text(comparison.old_runs)} before, "
        f"{words.runs_text(comparison.new_runs)} now)\n"
    )
    paper.table(
        "",
        ("Change", "Finding", "Kind", "Where", "Before", "Now", "Fingerprint"),
        "llllrrl",
        [
            (
                _WHAT.get(change.what, markdown(change.what)),
                code_span(change.group.code),
                code_span(change.group.kind),
                code_span(places.where(change.group.where)),
                f"{change.before:,}",
                f"{change.after:,}",
                code_span(change.group.fingerprint),
            )
            for change in comparison.changes
        ],
        _ROWS,
    )
    worse = [change.group for change in comparison.changes if change.what in ("new", "grown")]
    _told(paper, worse, places, options)
    return paper.text()


class _Paper:
    """Collects blocks as long as there is room, and counts the rest."""

    def __init__(self, title: str) -> None:
        self._blocks: list[str] = []
        self._room = LIMIT - _SPARE
        self._left_out = 0
        self.add(f"## {markdown(title) or 'csptrace'}\n")

    def add(self, block: str) -> bool:
        """Add a block, or count it as left out and return False."""
        size = len(block.encode()) + 1
        if size > self._room:
            self._left_out += 1
            return False
        self._room -= size
        self._blocks.append(block)
        return True

    def folded(self, summary: str, body: str) -> bool:
        """Add a block that is opened by a click."""
        return self.add(f"<details>\n<summary>\n\n{summary}\n\n</summary>\n\n{body}\n</details>\n")

    def table(
        self,
        title: str,
        heads: Sequence[str],
        sides: str,
        rows: Sequence[Sequence[str]],
        most: int,
    ) -> None:
        """Add a table of at most so many rows, and say how many there are more."""
        if not rows:
            return
        lines = [f"### {title}\n"] if title else []
        lines.append(_row(heads))
        lines.append(_row("---:" if side == "r" else "---" for side in sides))
        lines.extend(_row(row) for row in rows[:most])
        if len(rows) > most:
            lines.append(f"\n… and {len(rows) - most:,} more.")
        self.add("\n".join(lines) + "\n")

    def text(self) -> str:
        """Return the whole."""
        if self._left_out:
            self._blocks.append(
                f"… {words.plural(self._left_out, 'part')} left out: GitHub shows 1 MiB at most.\n"
            )
        return "\n".join(self._blocks)


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _scale(report: Report) -> str:
    totals = words.totals(report)
    return (
        f"{words.plural(totals.acquired, 'handle')} acquired in "
        f"{words.runs_text(len(report.runs))} on {words.plural(totals.hosts, 'host')}, at most "
        f"{totals.peak:,} alive at once."
    )


def _flaws(paper: _Paper, report: Report) -> None:
    lines = []
    for source in report.sources:
        faults = words.faults(source)
        if faults:
            lines.append(f"- {code_span(source.path)}: {markdown(faults)}")
    lines.extend(
        f"- {code_span(problem.code)}: {markdown(problem.message)} "
        f"({words.counted(problem.times, 'time')})"
        for problem in report.problems
    )
    if lines:
        shown = lines[:_SITES]
        if len(lines) > _SITES:
            shown.append(f"- … and {len(lines) - _SITES:,} more")
        paper.add("\n".join(("> [!WARNING]", *(f"> {line}" for line in shown))) + "\n")


def _findings(paper: _Paper, groups: Sequence[Group], places: Places) -> None:
    paper.table(
        "Findings",
        ("", "Finding", "Kind", "Where", "Count", "Runs", "Fingerprint"),
        "llllrrl",
        [
            (
                _MARKS.get(group.severity, ""),
                code_span(group.code),
                code_span(group.kind),
                code_span(places.where(group.where)),
                f"{group.count:,}",
                f"{group.runs:,}",
                code_span(group.fingerprint),
            )
            for group in groups
        ],
        _ROWS,
    )


def _told(paper: _Paper, groups: Sequence[Group], places: Places, options: Options) -> None:
    for group in groups if options.verbosity else groups[:_TOLD]:
        head = (
            f"{_MARKS.get(group.severity, '')} {code_span(group.code)} "
            f"{code_span(places.where(group.where))} — {words.plural(group.count, 'time')}"
        )
        lines = story.text(group, places).splitlines()
        body = "\n".join(f"    {line}" for line in lines)
        if not paper.folded(head, f"{body}\n"):
            return
