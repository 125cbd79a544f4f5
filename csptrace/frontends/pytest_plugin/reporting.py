"""Records of findings in words: for a failing test, its properties, and the summary.

A *record* is a finding as it travels between processes, plain data: the fields of its event, the
stacks, its text, whose it is, and the verdict.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, Any, TypeAlias

from csptrace.terminal import escape

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from csptrace.analysis.results import Group

__all__ = [
    "Record",
    "failure",
    "groups",
    "headline",
    "part",
    "place",
    "places",
    "properties",
    "relative",
    "times",
    "verdict",
]

Record: TypeAlias = "dict[str, Any]"


def verdict(records: Iterable[Record]) -> str:
    """Return the category of a test that fails on these records."""
    failing = [record for record in records if record["verdict"] == "fail"]
    return "leaked" if all(record["leak"] for record in failing) else "misused"


def times(records: Iterable[Record]) -> int:
    """Return how many findings these are; a record may stand for many that are alike."""
    return sum(record["event"].get("times", 1) for record in records)


def part(record: Record, name: str, count: int) -> Record:
    """Return a record that stands for some of the findings that another one stands for.

    Args:
        record: the other one.
        name: the id of the part.
        count: how many.
    """
    return {**record, "id": name, "event": {**record["event"], "times": count}}


def by_fingerprint(records: Iterable[Record]) -> list[list[Record]]:
    """Return equal findings together, in the order of their first."""
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(record["event"]["fingerprint"], []).append(record)
    return list(found.values())


def failure(name: str, records: Sequence[Record]) -> str:
    """Say why a test fails.

    Args:
        name: the test.
        records: its findings; those that do not fail it are left out.

    Returns:
        The text, empty if nothing fails it.
    """
    failing = [record for record in records if record["verdict"] == "fail"]
    if not failing:
        return ""
    leaks = times(record for record in failing if record["leak"])
    parts = []
    if leaks:
        parts.append(f"leaked {leaks} handle{'s' if leaks > 1 else ''}")
    count = times(failing) - leaks
    if count:
        parts.append(f"misused {count} handle{'s' if count > 1 else ''}")
    lines = [f"csptrace: {name} {' and '.join(parts)}"]
    for equal in by_fingerprint(failing):
        first = equal[0]
        many = times(equal)
        often = f"  ({many} times)" if many > 1 else ""
        lines += ["", f"in {place(first)}{often}", *first["text"].split("\n")]
        if first["reason"]:
            lines.append(f"  note: {first['reason']}")
    return "\n".join(map(escape, lines))


def place(record: Record) -> str:
    """Say where in the life of its owner a finding belongs: `call`, `setup, fixture key`."""
    if record["kind"] != "test":
        return str(record["owner"])
    fixture = f", fixture {record['fixture']}" if record["fixture"] else ""
    return f"{record['phase']}{fixture}"


def places(records: Iterable[Record]) -> list[tuple[str, int]]:
    """Return who had these findings, with counts, most first."""
    counts: Counter[str] = Counter()
    for record in records:
        of = f" ({place(record)})" if record["kind"] == "test" else ""
        counts[f"{record['owner']}{of}"] += times((record,))
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def headline(record: Record) -> str:
    """Return a finding in one line: code, kind, place, fingerprint."""
    event = record["event"]
    file = event.get("where_file", "")
    at = f" at {escape(relative(file, os.getcwd()))}:{event['where_line']}" if file else ""
    return f"{event['code']}: {event['kind']}{at} [{event['fingerprint']}]"


def properties(records: Iterable[Record]) -> list[tuple[str, str]]:
    """Return the findings of a test as properties, which JUnit files and other plugins show."""
    given = list(records)
    if not given:
        return []
    found = [("csptrace.findings", str(times(given)))]
    for record in given:
        event = record["event"]
        text = f"{headline(record).partition(': ')[2]} in {place(record)}: {record['verdict']}"
        if times((record,)) > 1:
            text += f" ({times((record,))} times)"
        found.append((f"csptrace.{event['code']}", text))
    return found


def groups(records: Sequence[Record]) -> tuple[Group, ...]:
    """Return findings as the groups that analysis knows."""
    if not records:
        return ()
    from csptrace.analysis.grouping import (  # noqa: PLC0415 - only where there are findings
        Occurrence,
        groups_of,
    )

    return groups_of(
        Occurrence(
            record["event"],
            {int(number): frames for number, frames in record["stacks"].items()},
            record["run"],
            record["host"],
        )
        for record in records
    )


def relative(path: str, folder: str) -> str:
    """Return a path relative to a folder if it lies in it."""
    start = os.path.join(folder, "")
    return path.removeprefix(start) if path.startswith(start) else path
