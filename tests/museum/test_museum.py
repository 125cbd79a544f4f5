"""Real bugs, each re-enacted as a small program: what is reported, and that its fix is clean."""

from __future__ import annotations

import pytest
import windows_python
from catalogue import EXHIBITS, NOT_REENACTED, Exhibit
from visits import HERE, PROVIDERS, Result, unavailable, visit

from csptrace.causes.exit_monitor import unavailable as unavailable_causes

MISUSES = (
    "use-after-release",
    "use-after-invalidation",
    "double-release",
    "wrong-release",
    "out-of-order-release",
    "stale-dependency",
)
LEAKS = ("leaked-at-release", "leaked-at-exit", "lost")
"""Bugs that are not caught yet: exhibit → why."""

each = pytest.mark.parametrize("exhibit", EXHIBITS, ids=lambda exhibit: exhibit.name)


@pytest.fixture(params=list(PROVIDERS))
def provider(request: pytest.FixtureRequest) -> str:
    """Return the name of a provider that can be used here; skip, or fail if it is required."""
    reason = unavailable(request.param)
    if reason is not None:
        windows_python.need()
    return str(request.param)


@pytest.fixture
def runs(exhibit: Exhibit, provider: str) -> dict[str, Result]:
    """Return what happened to one exhibit."""
    return visit(provider)[exhibit.name]


@each
def test_bug_is_reported_as_what_it_is(exhibit: Exhibit, runs: dict[str, Result]) -> None:
    """The findings are those of the catalogue: codes, kinds, acquisition lines; and no others."""
    found = [tuple(finding) for finding in runs["log"]["findings"]]
    assert found == list(exhibit.findings)


@each
def test_leak_has_the_right_cause(exhibit: Exhibit, provider: str, runs: dict[str, Result]) -> None:
    """Each leak is told with why it happened: the pattern, the function and the line."""
    leaks = [finding for finding in exhibit.findings if finding.code in LEAKS]
    assert len(exhibit.causes) == len(leaks)
    if provider == "softcsp" and unavailable_causes():
        pytest.skip(unavailable_causes())
    assert len(runs["log"]["causes"]) == len(leaks)
    for found, expected in zip(runs["log"]["causes"], exhibit.causes, strict=True):
        assert found[:2] == list(expected[:2])
        assert found[2].startswith(expected[2])


@each
def test_misuse_is_raised_and_leaks_are_not(exhibit: Exhibit, runs: dict[str, Result]) -> None:
    """By default the first misuse raises, with everything before it found already."""
    codes = [finding.code for finding in exhibit.findings]
    first = next((index for index, code in enumerate(codes) if code in MISUSES), None)
    if first is None:
        assert runs["raise"]["raised"] == ""
        assert runs["raise"]["findings"] == runs["log"]["findings"]
        return
    assert runs["raise"]["raised"] == codes[first]
    until = [tuple(finding) for finding in runs["raise"]["until"]]
    assert until == list(exhibit.findings[: first + 1])


@each
@pytest.mark.parametrize("how", ["log", "raise"])
def test_fixed_twin_is_clean(how: str, exhibit: Exhibit, runs: dict[str, Result]) -> None:
    """The corrected program has no finding, and nothing is raised."""
    assert runs[f"fixed {how}"]["findings"] == []
    assert runs[f"fixed {how}"]["raised"] == ""


@each
def test_program_ends_as_without_the_tracer(exhibit: Exhibit, runs: dict[str, Result]) -> None:
    """A program returns what it returns untraced, unless the tracer saves it from its library."""
    assert runs["fixed log"]["returned"] == runs["fixed untraced"]["returned"]
    if exhibit.rescued:
        assert runs["log"]["returned"] == exhibit.rescued != runs["untraced"]["returned"]
    else:
        assert runs["log"]["returned"] == runs["untraced"]["returned"]


@each
def test_defect_of_the_library_is_a_notice(exhibit: Exhibit, runs: dict[str, Result]) -> None:
    """What the library does wrong is said in a notice, and is no finding of the program."""
    if exhibit.notice:
        assert exhibit.notice in runs["log"]["notices"]
    if exhibit.binding == "ctypes":
        assert runs["log"]["notices"] == []


# --- the collection itself ------------------------------------------------------------------------


def test_catalogue_lists_every_exhibit() -> None:
    """Each file has an entry and each entry a file, and none is entered twice."""
    files = sorted(path.stem for path in (HERE / "exhibits").glob("*.py"))
    assert sorted(exhibit.name for exhibit in EXHIBITS) == files


@each
def test_exhibit_names_its_report_and_its_lines(exhibit: Exhibit) -> None:
    """The header says where the bug was reported; each marked acquisition is one line."""
    text = (HERE / "exhibits" / f"{exhibit.name}.py").read_text(encoding="utf-8")
    header = text.partition('"""\n\n')[0]
    assert exhibit.report.partition(" (")[0].partition("…")[0].partition(",")[0] in header
    for finding in exhibit.findings:
        assert sum(line.endswith(f"# {finding.mark}") for line in text.splitlines()) == 1


def test_misuse_codes_are_all_on_show() -> None:
    """Every misuse that has a field report is shown at least once."""
    shown = {finding.code for exhibit in EXHIBITS for finding in exhibit.findings}
    assert set(MISUSES) - shown == {"stale-dependency"}
    assert {"leaked-at-release", "leaked-at-exit", "lost"} <= shown
    assert all(NOT_REENACTED.values())
