"""The JUnit file, put right at the end: pytest has written it by then.

It is written before the session's fixtures are torn down, so what is found after that is not in it;
what a later test has released after all is still in it; and what only the end of a test's fixtures
has decided is in it as if the test had been run twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple
from xml.etree import ElementTree as ET

from _pytest.junitxml import LogXML, bin_xml_escape, mangle_test_address

from csptrace.frontends.pytest_plugin import reporting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import pytest

    from csptrace.frontends.pytest_plugin.reporting import Record

__all__ = ["Entry", "amend"]


class Entry(NamedTuple):
    """What was found, as far as it stands in one report.

    Attributes:
        report: the report.
        name: whose it is.
        records: the findings.
        fails: whether it is they that have failed the report.
        alone: whether the report was made for them: it is a test case by itself.
        further: whether it is a further report of the teardown of a test.
    """

    report: pytest.TestReport
    name: str
    records: Sequence[Record]
    fails: bool
    alone: bool
    further: bool


def amend(
    manager: pytest.PytestPluginManager,
    entries: Iterable[Entry],
    left_of: Callable[[Record], Record | None],
    late: Sequence[pytest.TestReport],
) -> None:
    """Take out of the JUnit file what was withdrawn, add what came late, and write it again.

    What a further report says of a test that has not failed before is put into its test case.

    Args:
        manager: knows what writes the file, if one is wanted.
        entries: what is in it.
        left_of: returns what counts of a record, the record itself if all of it does.
        late: reports of failures that came after it was written.

    Raises:
        OSError: it cannot be written.
    """
    changed = []
    further = []
    for entry in entries:
        if entry.further:
            further.append(entry)
        left = [left_of(record) for record in entry.records]
        if any(rest is not record for rest, record in zip(left, entry.records, strict=True)):
            changed.append((entry, [record for record in left if record is not None]))
    if not changed and not late and not further:
        return
    for xml in manager.get_plugins():
        if isinstance(xml, LogXML):
            for report in late:
                xml.pytest_runtest_logreport(report)
            for entry in further:
                _join(xml, entry)
            for entry, rest in changed:
                _withdraw(xml, entry, rest)
            # Each version of pytest counts a test that fails twice in a way of its own.
            xml.cnt_double_fail_tests = sum(xml.stats.values()) - len(xml.node_reporters_ordered)
            xml.pytest_sessionfinish()


def _join(xml: LogXML, entry: Entry) -> None:
    """Put what a further report says of a test into the test case of the test."""
    before = None
    for reporter, case in _alike(xml, entry):
        if _is_of(case, entry):
            if before is not None:
                _set_properties(before, reporting.properties(entry.records))
                before.extend(case.findall("error"))
                xml.node_reporters_ordered.remove(reporter)
            return
        fails = case.find("failure") is not None or case.find("error") is not None
        before = None if fails or _own_properties(case) else case


def _is_of(case: ET.Element, entry: Entry) -> bool:
    text = bin_xml_escape(str(entry.report.longrepr))
    return any(error.text == text for error in case.findall("error"))


def _alike(xml: LogXML, entry: Entry) -> list[tuple[Any, ET.Element]]:
    """Return the test cases of the name that an entry has."""
    *places, name = mangle_test_address(entry.report.nodeid)
    classname = ".".join([xml.prefix, *places] if xml.prefix else places)
    return [
        (reporter, case)
        for reporter in xml.node_reporters_ordered
        if (case := reporter.to_xml()).get("classname") == classname
        and case.get("name") == bin_xml_escape(name)
    ]


def _withdraw(xml: LogXML, entry: Entry, rest: Sequence[Record]) -> None:
    """Leave of one entry only some of its findings."""
    alike = _alike(xml, entry)
    given = reporting.properties(entry.records)
    for reporter, case in alike:
        if _own_properties(case) != given:
            continue  # of another attempt, or of the call that has failed by itself
        _set_properties(case, reporting.properties(rest))
        text = reporting.failure(entry.name, rest)
        if not entry.fails:
            return
        for error in case.findall("error"):
            if error.text != bin_xml_escape(str(entry.report.longrepr)):
                continue
            if text:
                error.text = bin_xml_escape(text)
                error.set("message", f'failed on teardown with "{text.partition(chr(10))[0]}"')
                return
            xml.stats["error"] -= 1
            case.remove(error)
            # The teardown of a test that has failed before is a test case by itself, too.
            if entry.alone or any(other.find("failure") is not None for _, other in alike):
                xml.node_reporters_ordered.remove(reporter)
            return
        return


def _own_properties(case: ET.Element) -> list[tuple[str | None, str | None]]:
    return [
        (one.get("name"), one.get("value"))
        for one in case.iterfind("properties/property")
        if (one.get("name") or "").startswith("csptrace.")
    ]


def _set_properties(case: ET.Element, properties: Iterable[tuple[str, str]]) -> None:
    """Replace the findings among the properties of a test case."""
    parent = case.find("properties")
    if parent is None:
        parent = ET.Element("properties")
        case.insert(0, parent)
    for one in list(parent):
        if (one.get("name") or "").startswith("csptrace."):
            parent.remove(one)
    for name, value in properties:
        ET.SubElement(parent, "property", name=name, value=bin_xml_escape(value))
    if not len(parent):
        case.remove(parent)
