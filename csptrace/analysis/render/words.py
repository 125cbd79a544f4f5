"""Numbers, times and places in words, the same in every renderer."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from csptrace.analysis.results import (
        Comparison,
        Example,
        Group,
        Report,
        Run,
        Source,
        Step,
    )

__all__ = [
    "CHANGES",
    "ROLES",
    "Total",
    "about",
    "bytes_text",
    "causes",
    "counted",
    "duration",
    "faults",
    "handle",
    "moment",
    "pairs",
    "plural",
    "runs_text",
    "since",
    "span",
    "summary",
    "title",
    "totals",
]

CHANGES: Final = ("new", "grown", "shrunk", "fixed")
"""What can become of a fingerprint, worst first."""

ROLES: Final = {
    "acquired": "acquired",
    "ended": "ended",
    "exit": "left",
    "last_use": "last used",
    "misused": "misused",
}
"""The moments of a finding, in the order of time, and the word for each."""

_CAUSE: Final = re.compile(r"([\w-]+)/([\w-]+)", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_STEPS: Final = ((86_400_000_000_000, "d"), (3_600_000_000_000, "h"), (60_000_000_000, "min"))
_SMALL: Final = ((1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "µs"))
_BINARY: Final = ("bytes", "KiB", "MiB", "GiB", "TiB")


def plural(number: int, noun: str, more: str = "") -> str:
    """Return a number with its noun: `1 handle`, `2,000 handles`.

    Args:
        number: how many.
        noun: for one.
        more: for several, if it is not the noun with an `s`.
    """
    return f"{number:,} {noun if number == 1 else more or noun + 's'}"


def duration(nanoseconds: int) -> str:
    """Return a span of time with three digits at most: `1.5 s`, `2 h 5 min`, `unknown`.

    Args:
        nanoseconds: how long; negative if it is not known.
    """
    if nanoseconds < 0:
        return "unknown"
    for index, (size, unit) in enumerate(_STEPS):
        if nanoseconds >= size:
            whole, rest = divmod(nanoseconds, size)
            smaller, name = (*_STEPS, _SMALL[0])[index + 1]
            part = rest // smaller
            return f"{whole:,} {unit}" + (f" {part} {name}" if part else "")
    for size, unit in _SMALL:
        if nanoseconds >= size:
            value = nanoseconds / size
            digits = 2 if value < 10 else 1 if value < 100 else 0
            text = f"{value:.{digits}f}"
            return f"{text.rstrip('0').rstrip('.') if digits else text} {unit}"
    return f"{nanoseconds} ns"


def moment(ts: int) -> str:
    """Return a wall-clock time in UTC, to the second, or `unknown`.

    Args:
        ts: nanoseconds since 1970-01-01 UTC.
    """
    if ts <= 0:
        return "unknown"
    try:
        when = _EPOCH + timedelta(microseconds=ts // 1000)
    except OverflowError:  # a log that was tampered with
        return "unknown"
    return f"{when:%Y-%m-%d %H:%M:%S} UTC"


def since(first: int, last: int) -> str:
    """Return a stretch of wall-clock time, the day named once if it is the same.

    Args:
        first: nanoseconds since 1970-01-01 UTC.
        last: likewise.
    """
    start, end = moment(first), moment(last)
    if end in (start, "unknown"):
        return start
    if start[:10] == end[:10]:
        return f"{start.removesuffix(' UTC')} to {end[11:]}"
    return f"{start.removesuffix(' UTC')} to {end}"


def bytes_text(number: int) -> str:
    """Return a size: `12 bytes`, `3.4 MiB`.

    Args:
        number: bytes.
    """
    size = float(number)
    for unit in _BINARY:
        if size < 1024 or unit == _BINARY[-1]:
            return f"{number} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"
        size /= 1024
    raise AssertionError  # pragma: no cover - the last unit takes everything


def pairs(counts: Iterable[tuple[str, int]], most: int = 3) -> str:
    """Return names with counts: `test_a 3, test_b 2, 5 more`.

    Args:
        counts: names with counts, most first.
        most: how many to name.
    """
    every = [(name, count) for name, count in counts if name]
    text = ", ".join(f"{name} {count:,}" for name, count in every[:most])
    return f"{text}, {len(every) - most} more" if len(every) > most else text


def causes(group: Group) -> tuple[tuple[str, int], ...]:
    """Return why the handles leaked, in words, with counts.

    A log has `exit/pattern` (`raised/exception`, `returned/early-return`): how the acquiring
    function was left, and the mistake that this looks like.

    Args:
        group: the findings with one fingerprint.
    """
    return tuple((_cause(name), count) for name, count in group.causes)


def _cause(text: str) -> str:
    known = _CAUSE.fullmatch(text)
    if known is None:
        return text
    exit_, pattern = (part.replace("-", " ") for part in known.groups())
    return pattern if exit_ == pattern else f"{pattern} ({exit_})"


def handle(example: Example, kind: str) -> str:
    """Return a handle by kind and value, with its generation and container if it has them.

    Args:
        example: the finding that it is in.
        kind: its kind.
    """
    text = f"{kind} {example.value}".rstrip()
    if example.generation > 1:
        text += f" (#{example.generation} with this value)"
    return f"{text} {example.name!r}" if example.name else text


def title(step: Step) -> str:
    """Return the head line of one moment: its own words, else its role and function.

    Args:
        step: the moment.
    """
    if step.text:
        return step.text
    word = ROLES.get(step.role, step.role)
    return f"{word} by {step.call}" if step.call else word


def about(group: Group) -> str:
    """Say in one line how often a finding was seen, and where.

    Args:
        group: the findings with one fingerprint.
    """
    text = f"{counted(group.count, 'time')} in {runs_text(group.runs)}"
    if group.hosts:
        named = ", ".join(group.hosts[:3])
        more = len(group.hosts) - 3
        text += f" on {named}" + (f" and {plural(more, 'other host')}" if more > 0 else "")
    return text


def counted(number: int, noun: str) -> str:
    """Return how often: `once`, `twice`, `12 times`.

    Args:
        number: how often.
        noun: for one.
    """
    return {1: "once", 2: "twice"}.get(number) or plural(number, noun)


def runs_text(number: int) -> str:
    """Return a number of runs: `1 run`, `3 runs`.

    Args:
        number: how many.
    """
    return plural(number, "run")


def span(runs: Iterable[Run]) -> tuple[int, int]:
    """Return when the first run started and the last one ended, 0 if there are none.

    Args:
        runs: traced processes.
    """
    every = tuple(runs)
    starts = [run.started for run in every if run.started > 0]
    return min(starts, default=0), max((run.ended for run in every), default=0)


class Total(NamedTuple):
    """The sums that head every report.

    Attributes:
        findings: how many.
        places: distinct fingerprints.
        errors: findings with this severity.
        warnings: likewise.
        infos: likewise.
        acquired: handles acquired in all runs.
        leaked: handles leaked, as the sites have it.
        peak: most handles alive at once in one process.
        live: handles alive at the end of their runs.
        hosts: machines.
        events: events read.
    """

    findings: int
    places: int
    errors: int
    warnings: int
    infos: int
    acquired: int
    leaked: int
    peak: int
    live: int
    hosts: int
    events: int


def totals(report: Report) -> Total:
    """Add up what a report holds.

    Args:
        report: the report.
    """
    severity = {"error": 0, "warning": 0, "info": 0}
    for group in report.groups:
        severity[group.severity] = severity.get(group.severity, 0) + group.count
    return Total(
        findings=sum(group.count for group in report.groups),
        places=len(report.groups),
        errors=severity["error"],
        warnings=severity["warning"],
        infos=severity["info"],
        acquired=sum(run.acquired for run in report.runs),
        leaked=sum(site.leaked for site in report.sites),
        peak=max((run.peak for run in report.runs), default=0),
        live=sum(run.live for run in report.runs),
        hosts=len({run.host for run in report.runs}),
        events=sum(source.events for source in report.sources),
    )


def summary(comparison: Comparison) -> str:
    """Say in one line what changed.

    Args:
        comparison: two sets of logs.
    """
    counts = dict.fromkeys(CHANGES, 0)
    for change in comparison.changes:
        counts[change.what] = counts.get(change.what, 0) + 1
    parts = [f"{count} {what}" for what, count in counts.items()]
    return ", ".join((*parts, f"{comparison.unchanged} unchanged"))


def faults(source: Source) -> str:
    """Say what was wrong with a log file; empty if nothing was.

    Args:
        source: the file.
    """
    parts = []
    if source.torn:
        parts.append(f"{plural(source.torn, 'line')} cut off by a kill")
    if source.foreign:
        parts.append(f"{plural(source.foreign, 'foreign line')}")
    parts.extend(
        f"{plural(count, 'event')} of schema {schema}" for schema, count in source.other_schema
    )
    if source.repeated:
        parts.append(f"{plural(source.repeated, 'event')} that stand twice, counted once")
    if source.unreadable:
        parts.append(f"not read to its end: {source.unreadable}")
    return ", ".join(parts)
