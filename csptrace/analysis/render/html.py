"""One HTML page that holds everything: it opens from a disk, and asks no network for anything.

The page is a skeleton with our own style sheet and scripts, and the result as JSON in a block that
browsers do not execute. A content security policy allows just these, by their hashes. Every text
is put into the page by `textContent`; nothing of a log is ever parsed as HTML or as code.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
from html import escape
from importlib import resources
from string import Template
from typing import TYPE_CHECKING, Any, Final

import orjson

from csptrace.analysis.grouping import siblings_text
from csptrace.analysis.render import words
from csptrace.analysis.render.escaping import shortened
from csptrace.analysis.render.excerpts import Excerpts
from csptrace.analysis.render.jsonform import as_data
from csptrace.analysis.render.places import Places, frames_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from csptrace.analysis.render import Options
    from csptrace.analysis.results import Change, Comparison, Frame, Group, Point, Report

__all__ = ["comparison", "report"]

_SCRIPTS: Final = (
    "elements.js",
    "rows.js",
    "detail.js",
    "findings.js",
    "timeline.js",
    "flame.js",
    "handles.js",
    "tables.js",
    "page.js",
)
_POINTS: Final = 1200
_EXCERPTS: Final = 4000
_STATIC: Final = 500
_LONGEST: Final = 2000


def report(report: Report, options: Options) -> str:
    """Render a report.

    Args:
        report: what to show.
        options: the title; `source_root` is where excerpts are read from.
    """
    places = Places.of(report)
    stacks = _Stacks(places, Excerpts(options.source_root))
    start, end = words.span(report.runs)
    data = {
        **_head(options, "report"),
        "totals": words.totals(report)._asdict(),
        "when": words.since(start, end) if start else "",
        "groups": [_group(group, stacks, places) for group in report.groups],
        "sites": [
            {
                **_texts(dataclasses.replace(site, stack=())),
                "where": _text(places.where(site.where)),
                "released_at": _text(places.where(site.released_at)),
                "stack": stacks.number(site.stack, quoted=False),
            }
            for site in report.sites
        ],
        "runs": [
            {**_texts(run), "started": run.started // 1_000_000, "ended": run.ended // 1_000_000}
            for run in report.runs
        ],
        "timelines": [
            {"run": _text(run), "points": _thinned(points)} for run, points in report.timelines
        ],
        "graph_run": _text(report.graph_run),
        "graph_cut": report.graph_cut,
        "graph": [
            {**_texts(node), "where": _text(places.where(node.where))} for node in report.graph
        ],
        "held": [
            {**_texts(held), "where": _text(places.where(held.where))} for held in report.held
        ],
        "contexts": [
            {
                **_texts(context._replace(under=())),
                "at": context.at // 1_000_000,
                "under": [[_text(kind), number] for kind, number in context.under],
                "where": _text(places.where(context.where)),
            }
            for context in report.contexts
        ],
        "sources": [
            {
                "path": _text(source.path),
                "events": source.events,
                "faults": _text(words.faults(source)),
            }
            for source in report.sources
        ],
        "problems": [_texts(problem) for problem in report.problems],
        "cost": report.cost._asdict(),
        **stacks.tables(),
    }
    return _page(data, options, [(group, None) for group in report.groups], places)


def comparison(comparison: Comparison, options: Options) -> str:
    """Render a comparison.

    Args:
        comparison: what to show.
        options: as for a report.
    """
    places = Places(frames_of(change.group for change in comparison.changes))
    stacks = _Stacks(places, Excerpts(options.source_root))
    data = {
        **_head(options, "comparison"),
        "old_runs": comparison.old_runs,
        "new_runs": comparison.new_runs,
        "unchanged": comparison.unchanged,
        "groups": [
            {
                **_group(change.group, stacks, places),
                "what": _text(change.what),
                "before": change.before,
                "after": change.after,
            }
            for change in comparison.changes
        ],
        **stacks.tables(),
    }
    rows = [(change.group, change) for change in comparison.changes]
    return _page(data, options, rows, places)


class _Stacks:
    """The stacks of a page, each distinct frame and each distinct stack once."""

    def __init__(self, places: Places, excerpts: Excerpts) -> None:
        self._places = places
        self._excerpts = excerpts
        self._frames: dict[Frame, int] = {}
        self._stacks: dict[tuple[int, ...], int] = {}
        self._quotes: dict[int, list[Any]] = {}
        self._asked: set[int] = set()

    def number(self, stack: Sequence[Frame], *, quoted: bool) -> int:
        """Return the number of a stack; its user frames are quoted if they can be."""
        numbers = tuple(self._frames.setdefault(frame, len(self._frames)) for frame in stack)
        if quoted:
            for frame, number in zip(stack, numbers, strict=True):
                if frame.user and number not in self._asked and len(self._asked) < _EXCERPTS:
                    self._asked.add(number)
                    excerpt = self._excerpts.around(frame)
                    if excerpt is not None:
                        self._quotes[number] = [excerpt.first, list(excerpt.lines)]
        return self._stacks.setdefault(numbers, len(self._stacks))

    def tables(self) -> dict[str, Any]:
        """Return frames as `[place, function, user, path]`, stacks as numbers, and excerpts."""
        files: dict[str, int] = {}
        frames = [
            [
                files.setdefault(frame.file, len(files)),
                frame.line,
                _text(frame.function),
                int(frame.user),
            ]
            for frame in self._frames
        ]
        return {
            "files": [[_text(self._places.file(file)), _text(file)] for file in files],
            "frames": frames,
            "stacks": [list(stack) for stack in self._stacks],
            "quotes": {str(number): quote for number, quote in self._quotes.items()},
        }


def _text(text: str) -> str:
    return shortened(text, _LONGEST)


def _texts(value: Any) -> dict[str, Any]:
    """Return a result's fields; of a place only the text, whose file the page shows shortened."""
    data = as_data(value, _text)
    return {name: each for name, each in data.items() if not name.endswith(_PLACES)}


_PLACES: Final = ("where_file", "where_line", "released_at_file", "released_at_line")


def _head(options: Options, kind: str) -> dict[str, Any]:
    made = words.moment(options.generated) if options.generated else ""
    return {"kind": kind, "title": _text(options.title), "generated": made}


def _group(group: Group, stacks: _Stacks, places: Places) -> dict[str, Any]:
    example = group.example
    return {
        "fingerprint": _text(group.fingerprint),
        "code": _text(group.code),
        "severity": _text(group.severity),
        "api": _text(group.api),
        "kind": _text(group.kind),
        "count": group.count,
        "runs": group.runs,
        "first": group.first_seen // 1_000_000,
        "last": group.last_seen // 1_000_000,
        "about": _text(words.about(group)),
        "hosts": [_text(host) for host in group.hosts],
        "scopes": [[_text(name), count] for name, count in group.scopes],
        "causes": [[_text(name), count] for name, count in words.causes(group)],
        "where": _text(places.where(group.where)),
        "remedy": _text(places.prose(group.remedy)),
        "siblings": _text(siblings_text(group, places.where)),
        "handle": _text(words.handle(example, group.kind)),
        "run": _text(example.run),
        "thread": _text(example.thread),
        "task": _text(example.task),
        "scope": _text(example.scope),
        "age": example.age,
        "uses": example.uses,
        "steps": [
            {
                "role": _text(step.role),
                "title": _text(places.prose(words.title(step))),
                "stack": stacks.number(step.stack, quoted=True),
            }
            for step in example.steps
        ],
    }


def _thinned(points: Sequence[Point]) -> list[int]:
    """Return `at, live, at, live, …` in microseconds, the highest and last of each stretch kept."""
    if len(points) > _POINTS:
        size = -(-len(points) // (_POINTS // 2))
        kept: dict[Point, None] = {points[0]: None}
        for start in range(0, len(points), size):
            stretch = points[start : start + size]
            highest = max(range(len(stretch)), key=lambda index: stretch[index].live)
            kept[stretch[highest]] = None
            kept[stretch[-1]] = None
        points = list(kept)
    return [number for point in points for number in (point.at // 1000, point.live)]


# --- the page ---------------------------------------------------------------------------------


def _page(
    data: dict[str, Any],
    options: Options,
    rows: Sequence[tuple[Group, Change | None]],
    places: Places,
) -> str:
    style = _asset("page.css")
    inner = "".join(_asset(name) for name in _SCRIPTS)
    script = f'(() => {{\n"use strict";\n{inner}}})();\n'
    policy = (
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; "
        f"style-src '{_hash(style)}'; script-src '{_hash(script)}'"
    )
    return Template(_asset("page.html")).substitute(
        title=escape(shortened(options.title)),
        policy=policy,
        style=style,
        script=script,
        data=_json(data),
        table=_static(rows, places),
    )


def _asset(name: str) -> str:
    file = resources.files("csptrace.analysis.render").joinpath("assets", name)
    return file.read_text(encoding="utf-8")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _json(data: dict[str, Any]) -> str:
    r"""Return JSON that cannot end its element: `<` only ever occurs in texts, as `\u003c` then."""
    text = orjson.dumps(data).decode()
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _static(rows: Sequence[tuple[Group, Change | None]], places: Places) -> str:
    """Return the findings as a plain table, for browsers that run no scripts."""
    heads: tuple[str, ...] = (
        "Finding",
        "Severity",
        "Kind",
        "Where",
        "Count",
        "Runs",
        "Fix",
        "Fingerprint",
    )
    if rows and rows[0][1] is not None:
        heads = ("Change", *heads)
    lines = ["<tr>", *(f'<th scope="col">{head}</th>' for head in heads), "</tr>"]
    for group, change in rows[:_STATIC]:
        cells = [
            group.code,
            group.severity,
            group.kind,
            places.where(group.where),
            f"{group.count:,}",
            f"{group.runs:,}",
            places.prose(group.remedy),
            group.fingerprint,
        ]
        if change is not None:
            cells.insert(0, f"{change.what}: {change.before:,} → {change.after:,}")
        lines.append(f"<tr>{''.join(f'<td>{escape(shortened(cell))}</td>' for cell in cells)}</tr>")
    text = f"<table><caption>Findings</caption>{''.join(lines)}</table>"
    more = len(rows) - _STATIC
    return text + (f"<p>… and {more:,} more</p>" if more > 0 else "")
