"""Test results for CI servers: each distinct finding is a failed test case.

JUnit's XML has no formal specification; what is written here is what Jenkins, GitLab and GitHub
actions read: suites with counts, cases with `classname` and `name`, failures with `message` and
`type`, properties. The name of a case is stable across runs and machines, so that servers
recognise it.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from csptrace.analysis.render import story, words
from csptrace.analysis.render.escaping import shortened
from csptrace.analysis.render.places import Places, frames_of
from csptrace.terminal import escape

if TYPE_CHECKING:
    from collections.abc import Iterable

    from csptrace.analysis.render import Options
    from csptrace.analysis.results import Comparison, Group, Report, Run

__all__ = ["comparison", "report"]


def report(report: Report, options: Options) -> str:
    """Render a report: findings are failures, those of severity `info` pass and say so.

    A log that could not be read to its end is a skipped case: named, but no reason to fail.

    Args:
        report: what to show.
        options: the title.
    """
    places = Places.of(report)
    suite = _suite(options)
    totals = words.totals(report)
    _properties(
        suite,
        {
            "csptrace.runs": len(report.runs),
            "csptrace.events": totals.events,
            "csptrace.acquired": totals.acquired,
            "csptrace.findings": totals.findings,
            "csptrace.leaks": totals.leaked,
            "csptrace.peak_live": totals.peak,
        },
    )
    for group in report.groups:
        case = _case(suite, group, places)
        if group.severity == "info":
            _note(case, group, places)
        else:
            _failure(case, group, places, story.headline(group, places))
    if not report.groups:
        _fine(suite, f"no finding in {words.runs_text(len(report.runs))}")
    for source in report.sources:
        if source.unreadable:
            case = ET.SubElement(
                suite, "testcase", classname="csptrace.log", name=shortened(source.path), time="0"
            )
            skipped = ET.SubElement(case, "skipped")
            skipped.set("message", f"not read to its end: {shortened(source.unreadable)}")
    return _document(suite, report.runs)


def comparison(comparison: Comparison, options: Options) -> str:
    """Render a comparison: what is new or has grown fails, what shrank or was fixed passes.

    Args:
        comparison: what to show.
        options: the title.
    """
    groups = [change.group for change in comparison.changes]
    places = Places(frames_of(groups))
    suite = _suite(options)
    _properties(
        suite,
        {"csptrace.old_runs": comparison.old_runs, "csptrace.new_runs": comparison.new_runs}
        | {
            f"csptrace.{what}": sum(change.what == what for change in comparison.changes)
            for what in words.CHANGES
        },
    )
    for change in comparison.changes:
        case = _case(suite, change.group, places)
        if change.what in ("new", "grown") and change.group.severity != "info":
            message = (
                f"{change.what}: {change.before} before, {change.after} now: "
                f"{story.headline(change.group, places)}"
            )
            _failure(case, change.group, places, message)
        else:
            _note(case, change.group, places, f"{change.what}: {change.before} → {change.after}")
    if not comparison.changes:
        _fine(suite, f"nothing changed, {comparison.unchanged} known")
    return _document(suite, ())


def _suite(options: Options) -> ET.Element:
    return ET.Element("testsuite", name=shortened(options.title) or "csptrace")


def _properties(suite: ET.Element, values: dict[str, int]) -> None:
    group = ET.SubElement(suite, "properties")
    for name, value in values.items():
        ET.SubElement(group, "property", name=name, value=str(value))


def _case(suite: ET.Element, group: Group, places: Places) -> ET.Element:
    where = places.file(group.where.file)
    return ET.SubElement(
        suite,
        "testcase",
        classname=shortened(f"csptrace.{group.api}.{group.kind}"),
        name=shortened(f"{group.code} {where} [{group.fingerprint}]".replace("  ", " ")),
        time="0",
    )


def _failure(case: ET.Element, group: Group, places: Places, message: str) -> None:
    failure = ET.SubElement(case, "failure", type=f"csptrace.{escape(group.code)}")
    failure.set("message", shortened(message))
    failure.text = story.text(group, places)


def _note(case: ET.Element, group: Group, places: Places, before: str = "") -> None:
    note = ET.SubElement(case, "system-out")
    note.text = (f"{before}\n" if before else "") + story.text(group, places)


def _fine(suite: ET.Element, name: str) -> None:
    ET.SubElement(suite, "testcase", classname="csptrace", name=name, time="0")


def _document(suite: ET.Element, runs: Iterable[Run]) -> str:
    counts = Counter(part.tag for case in suite.iter("testcase") for part in case)
    total = sum(1 for _ in suite.iter("testcase"))
    start, end = words.span(runs)
    seconds = f"{max(0, end - start) / 1e9:.3f}" if start else "0"
    top = ET.Element("testsuites", name=suite.get("name", ""))
    for element in (top, suite):
        element.set("tests", str(total))
        element.set("failures", str(counts["failure"]))
        element.set("errors", "0")
        element.set("skipped", str(counts["skipped"]))
        element.set("time", seconds)
    top.append(suite)
    ET.indent(top)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ET.tostring(top, encoding="unicode")}\n'
