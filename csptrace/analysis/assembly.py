"""From the rows of the merged answers to a `Report`; the same for every engine."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import orjson

from csptrace.analysis import queries
from csptrace.analysis.grouping import Occurrence, groups_of
from csptrace.analysis.results import (
    NOWHERE,
    Context,
    Cost,
    Frame,
    Group,
    Held,
    Lifetime,
    Node,
    Place,
    Point,
    Problem,
    Report,
    Run,
    Siblings,
    Site,
    Source,
)
from csptrace.findings.catalogue import Code

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Rows", "frames", "report"]

Rows = list[dict[str, Any]]

_SEVERITIES: Final = ("error", "warning", "info")
_LEAKS: Final = frozenset(code.value for code in Code if code.is_leak)


def report(answers: Mapping[str, Rows], sources: Iterable[Source]) -> Report:
    """Make a report of the merged answers.

    Args:
        answers: the rows of every merge in `queries.MERGES`.
        sources: the files.

    Returns:
        The report.
    """
    sites = tuple(_sites(answers))
    findings: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for row in answers["codes"]:
        findings[row["run"]].append((row["code"], row["times"]))
    graph = answers["graph"]
    nodes = tuple(
        Node(
            row["hid"],
            row["parent"],
            row["kind"],
            row["val"] or "",
            row["name"],
            row["at"],
            row["ended"],
            row["how"],
            _where(row["place"]),
            tuple(_array(row["needs"])),
        )
        for row in graph
    )
    cost = answers["costs"][0]
    return Report(
        sources=tuple(sorted(sources, key=lambda source: source.path)),
        runs=tuple(_run(row, tuple(sorted(findings[row["run"]]))) for row in answers["runs"]),
        groups=tuple(_groups(answers, sites)),
        sites=sites,
        timelines=_timelines(answers["timelines"]),
        held=tuple(
            Held(
                row["run"],
                row["hid"],
                row["kind"],
                row["val"] or "",
                row["name"],
                row["age"],
                row["how"],
                _where(row["place"]),
            )
            for row in answers["held"]
        ),
        contexts=_contexts(answers["contexts"]),
        graph_run=graph[0]["run"] if graph else "",
        graph=nodes,
        graph_cut=graph[0]["many"] - len(graph) if graph else 0,
        problems=tuple(
            Problem(row["code"] or "", row["message"] or "", row["times"])
            for row in answers["problems"]
        ),
        cost=Cost(cost["events"], cost["bytes"], cost["stacks"], cost["writing"]),
    )


def frames(text: str | None) -> tuple[Frame, ...]:
    """Return the frames of a stack as a log has them, none of what is no frame.

    Args:
        text: a JSON array of arrays.

    Returns:
        The frames, innermost first.
    """
    found = []
    for part in _array(text):
        match part:
            case [str(file), int(line), str(function), str(module), bool(user), *_]:
                found.append(Frame(file, line, function, module, user))
            case _:
                pass
    return tuple(found)


def _array(text: str | None) -> list[Any]:
    if not text:
        return []
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return []
    return value if isinstance(value, list) else []


def _where(place: str) -> Place:
    """Return a place as `queries` has it: `file:line`, the file as it is written in JSON."""
    file, _, line = place.rpartition(":")
    if "\\" in file:
        with suppress(orjson.JSONDecodeError):
            file = str(orjson.loads(f'"{file}"'))
    return Place(file, int(line)) if file else NOWHERE


def _run(row: dict[str, Any], findings: tuple[tuple[str, int], ...]) -> Run:
    return Run(
        run=row["run"],
        host=row["host"],
        pid=row["pid"],
        parent_run=row["parent_run"],
        program=row["program"],
        python=row["python"],
        platform=row["platform"],
        level=row["level"],
        started=row["started"],
        ended=row["ended"],
        finished=bool(row["finished"]),
        acquired=row["acquired"],
        peak=row["peak"],
        live=row["live"],
        findings=findings,
    )


def _sites(answers: Mapping[str, Rows]) -> Iterable[Site]:
    ages = {_key(row): row for row in answers["ages"]}
    releases = {_key(row): row for row in answers["releases"]}
    for row in answers["sites"]:
        age, release = ages.get(_key(row)), releases.get(_key(row))
        yield Site(
            api=row["api"],
            kind=row["kind"] or "",
            where=_where(row["place"]),
            stack=frames(row["frames"]),
            acquired=row["acquired"],
            released=row["released"],
            leaked=row["leaked"],
            live=row["live"],
            growth=row["growth"],
            lifetime=_lifetime(age) if age is not None else None,
            released_at=_where(release["released_at"]) if release is not None else NOWHERE,
            released_there=release["times"] if release is not None else 0,
        )


def _key(row: dict[str, Any]) -> tuple[str, str, str]:
    return row["api"], row["kind"], row["place"]


def _lifetime(row: dict[str, Any]) -> Lifetime:
    longest = row["longest"]
    p50, p90, p99 = (min(_middle(row[name]), longest) for name in ("p50", "p90", "p99"))
    return Lifetime(p50, p90, p99, longest)


def _middle(low: int) -> int:
    """Return the middle of the bucket that is named by its least age."""
    return low if low < 64 else low + (1 << low.bit_length() - 6) // 2


def _groups(answers: Mapping[str, Rows], sites: Sequence[Site]) -> Iterable[Group]:
    hosts, scopes, causes = (
        _by_fingerprint(answers[name], *columns)
        for name, columns in (
            ("group_hosts", ("host",)),
            ("group_scopes", ("scope", "times")),
            ("group_causes", ("cause", "times")),
        )
    )
    examples = {row["fingerprint"]: row for row in answers["examples"]}
    places = {(site.api, site.kind, site.where): site for site in sites}
    for row in answers["groups"]:
        fingerprint = row["fingerprint"]
        first = _first(examples[fingerprint])
        acquired_at = _where(examples[fingerprint]["acquired_place"] or "")
        site = places.get((first.api, first.kind, acquired_at))
        yield dataclasses.replace(
            first,
            severity=_SEVERITIES[row["severity"]],
            count=row["times"],
            runs=row["runs"],
            first_seen=row["first_seen"],
            last_seen=row["last_seen"],
            hosts=tuple(host for (host,) in hosts[fingerprint]),
            scopes=tuple(scopes[fingerprint]),
            causes=tuple(causes[fingerprint]),
            where=first.where or acquired_at,
            siblings=_siblings(site)
            if first.code in _LEAKS and site is not None
            else first.siblings,
        )


def _by_fingerprint(rows: Rows, *columns: str) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = defaultdict(list)
    for row in rows:
        found[row["fingerprint"]].append(tuple(row[column] for column in columns))
    return found


def _siblings(site: Site) -> Siblings:
    """Return what became of the handles that were acquired in one place."""
    return Siblings(
        site.acquired, site.released, site.released_at, site.released_there, site.where, ended=True
    )


def _first(row: dict[str, Any]) -> Group:
    """Return the group of the first finding alone."""
    event = {
        _FIELDS.get(column, column): value for column, value in row.items() if value is not None
    }
    stacks = {
        row[f"{role}_stack"]: frames(row[f"{role}_frames"])
        for role in ("acquired", "ended", "last_use", "misused")
        if row[f"{role}_stack"]
    }
    for field, empty in _REQUIRED.items():
        event.setdefault(field, empty)
    event["severity"] = row["severity"] if row["severity"] in _SEVERITIES else _SEVERITIES[0]
    (group,) = groups_of([Occurrence(event, stacks, row["run"], "")])
    return group


_FIELDS: Final = {
    column: field for column, field in queries.INPUTS["findings"][1].items() if field.isidentifier()
}
_REQUIRED: Final[dict[str, Any]] = {
    **dict.fromkeys(("code", "api", "kind", "remedy", "value", "thread"), ""),
    "gen": 0,
    "age_ns": -1,
    "uses": 0,
}
"""What a finding of another schema version may lack."""


def _timelines(rows: Rows) -> tuple[tuple[str, tuple[Point, ...]], ...]:
    found: dict[str, list[Point]] = {}
    for row in rows:
        found.setdefault(row["run"], []).append(Point(row["at"], row["live"]))
    return tuple((run, tuple(points)) for run, points in found.items())


def _contexts(rows: Rows) -> tuple[Context, ...]:
    found: dict[tuple[str, int], Context] = {}
    for row in rows:
        key = (row["run"], row["hid"])
        under = (row["under_kind"] or "", row["under_times"])
        known = found.get(key)
        if known is not None:
            found[key] = known._replace(under=(*known.under, under))
        else:
            found[key] = Context(
                row["run"],
                row["hid"],
                row["kind"],
                row["val"],
                row["name"],
                row["at"],
                _where(row["place"]),
                (under,),
            )
    return tuple(found.values())
