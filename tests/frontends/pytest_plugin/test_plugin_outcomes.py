"""What pytest says about tests is the same with and without csptrace, report by report.

Without leaks and wrong calls that holds for `--csptrace`; with them, for `--csptrace-soft`.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import plugin_suites
import pytest

if TYPE_CHECKING:
    from conftest import Run, Suite

OFF, ON, SOFT = ("-p", "no:csptrace"), ("--csptrace",), ("--csptrace", "--csptrace-soft")
SEEDS = range(int(os.environ.get("PLUGIN_SUITES", "3")))
"""How many random suites are run of each sort; each takes seconds."""
_CACHE = ("-p", "cacheprovider", "-p", "stepwise")


def _write(suite: Suite, **files: str) -> None:
    head = "from support import *\n"
    suite.write(
        conftest=plugin_suites.RECORDER,
        support=plugin_suites.SUPPORT,
        **{name: head + dedent(text) for name, text in files.items()},
    )


def _reports(suite: Suite) -> list[Any]:
    path = suite.path / "reports.jsonl"
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return [json.loads(line) for line in lines]


def _run(suite: Suite, *options: str, workers: bool = False, reruns: bool = False) -> Run:
    plugins = [*(["xdist"] if workers else []), *(["rerunfailures"] if reruns else [])]
    # In a process of its own: pytester keeps what it has called in this one.
    return suite.spawn("--tb=short", *options, on=False, plugins=plugins)


def _assert_same(
    suite: Suite, mode: tuple[str, ...], *options: str, ordered: bool = True, **how: bool
) -> None:
    """Assert that two runs agree in every report, their order, the totals and the exit status."""
    plain = _run(suite, *OFF, *options, **how)
    expected = _reports(suite)
    traced = _run(suite, *mode, *options, **how)
    found = _reports(suite)
    if not ordered:  # nor is what workers have said when
        expected = sorted((report[:6] for report in expected), key=str)
        found = sorted((report[:6] for report in found), key=str)

    assert expected
    assert [report[:4] for report in found] == [report[:4] for report in expected]
    assert found == expected
    assert _totals(traced) == _totals(plain)
    assert traced.status == plain.status


def _totals(run: Run) -> dict[str, int]:
    """Return what the last line counts; there is none where pytest itself has broken down."""
    try:
        return run.counts
    except ValueError:
        return {}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, ()) for name in plugin_suites.CLEAN),
        *(("test_outcomes", options) for options in (("-x",), ("--maxfail=3",), ("-W", "error"))),
    ],
)
@pytest.mark.parametrize("mode", [ON, SOFT])
def test_suites_that_do_nothing_wrong(
    suite: Suite, name: str, mode: tuple[str, ...], options: tuple[str, ...]
) -> None:
    """Every phase of every test has the same outcome, text and output, in the same order."""
    if name == "test_subtests":
        pytest.importorskip("_pytest.subtests", reason="this pytest has no subtests")
    _write(suite, **{name: plugin_suites.CLEAN[name]})

    _assert_same(suite, mode, *options)


@pytest.mark.parametrize("options", [(), ("-x",), ("--maxfail=2",), ("-W", "error")])
@pytest.mark.parametrize("name", plugin_suites.GUILTY)
def test_suites_that_leak_and_misuse(suite: Suite, name: str, options: tuple[str, ...]) -> None:
    """In soft mode leaks and wrong calls change nothing of it."""
    _write(suite, **{name: plugin_suites.GUILTY[name]})

    _assert_same(suite, SOFT, *options)


@pytest.mark.parametrize("seed", SEEDS)
def test_random_suites(suite: Suite, seed: int) -> None:
    """Any mixture of fixtures, outcomes and objects that release is left as it is."""
    _write(suite, test_random=plugin_suites.random_suite(seed))
    option = ("-x", "--maxfail=2", "-q", "-v")[seed % 4]

    _assert_same(suite, ON, option)


@pytest.mark.parametrize("seed", SEEDS)
def test_random_suites_in_soft_mode(suite: Suite, seed: int) -> None:
    """Any mixture of these with leaks and wrong calls is left as it is in soft mode."""
    _write(suite, test_random=plugin_suites.random_suite(seed, plugin_suites.WRONG))
    option = ("-x", "--maxfail=2", "-q", "-v")[seed % 4]

    _assert_same(suite, SOFT, option)


@pytest.mark.parametrize("seed", SEEDS)
def test_random_leaks_are_found(suite: Suite, seed: int) -> None:
    """Among objects that wait for pytest to let go, no leak is missed, and each is its test's."""
    _write(suite, test_random=plugin_suites.random_suite(seed, plugin_suites.LEAKS))
    run = _run(suite, *ON, "--csptrace-log", "logs")
    leaks = (suite.path / "leaks.txt").read_text("utf-8").splitlines()
    found: Counter[str] = Counter()
    for event in run.events():
        if event["event"] == "csptrace.finding":
            found[event["scope"]] += event.get("times", 1)

    assert found == Counter(leaks)
    assert "withdrawn" not in run.out


@pytest.mark.parametrize(
    ("mode", "options", "ordered"),
    [
        (ON, ("-n1",), True),
        (ON, ("-n2",), False),
        (ON, ("-n1", "--maxschedchunk=1", "--maxfail=1"), True),
        (SOFT, ("-n1",), True),
        (SOFT, ("-n2",), False),
    ],
)
def test_workers(
    suite: Suite, mode: tuple[str, ...], options: tuple[str, ...], *, ordered: bool
) -> None:
    """With pytest-xdist it is the same again, and the run stops behind the same test."""
    files = {"test_outcomes": plugin_suites.CLEAN["test_outcomes"]}
    if mode is SOFT:
        files |= plugin_suites.GUILTY
    _write(suite, **files)

    _assert_same(suite, mode, *options, ordered=ordered, workers=True)


@pytest.mark.parametrize("mode", [ON, SOFT])
def test_reruns(suite: Suite, mode: tuple[str, ...]) -> None:
    """pytest-rerunfailures runs the same tests again, as often."""
    _write(suite, test_reports=plugin_suites.CLEAN["test_reports"])

    _assert_same(suite, mode, "--reruns=2", reruns=True)


@pytest.mark.parametrize("option", ["--lf", "--ff", "--sw"])
@pytest.mark.parametrize("mode", [ON, SOFT])
def test_what_the_next_run_runs(suite: Suite, mode: tuple[str, ...], option: str) -> None:
    """What pytest remembers of a run selects the same tests in the next one."""
    files = {"test_reports": plugin_suites.CLEAN["test_reports"]}
    if mode is SOFT:
        files |= plugin_suites.GUILTY
    _write(suite, **files)
    found = []
    for each in (OFF, mode):
        for _ in range(3):
            run = suite.spawn(*_CACHE, *each, option, on=False)
            found.append(([report[:4] for report in _reports(suite)], run.counts, run.status))
        suite.forget()

    assert found[:3] == found[3:]
    assert found[0][0]
