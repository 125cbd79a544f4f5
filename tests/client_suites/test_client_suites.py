"""Test suites of others: the same outcomes with the tracer, and findings that the calls bear out.

What runs here is the quick part of each; `python reports/clients/make.py` runs all.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import event_log
import pytest
import sdists
import softhsm
import suite_runs
from suites import SKIPPED, SUITES
from verdicts import judge

if TYPE_CHECKING:
    from collections.abc import Callable

    from suites import Suite

REPORT = Path(__file__).parents[2] / "reports" / "clients" / "README.md"
QUICK = [each for each in SUITES if each.quick]


@functools.cache
def run_once(suite: Suite, mode: str) -> suite_runs.Run | str:
    """Return the run of the quick part of a suite, or why it cannot be had."""
    home = Path(tempfile.mkdtemp(prefix="csptrace-suite-"))
    try:
        return suite_runs.play(suite, mode, suite.quick, home)
    except sdists.Unavailable as reason:
        return f"{suite.name}'s own tests cannot be fetched: {reason}"
    finally:
        shutil.rmtree(home)


@pytest.fixture(params=QUICK, ids=[each.name for each in QUICK])
def play(request: pytest.FixtureRequest) -> Callable[[str], suite_runs.Run]:
    """Return a function that gives the run of the quick part of a suite in one mode."""
    suite: Suite = request.param
    softhsm.need(*suite.bindings, "spy")
    if not suite_runs.PROCESSES_ARE_TOLD_APART:
        pytest.skip("without /proc the logs of forks cannot be told apart")

    def run(mode: str) -> suite_runs.Run:
        played = run_once(suite, mode)
        if isinstance(played, str):
            pytest.skip(played)
        return played

    return run


def test_the_suite_runs_by_itself(play: Callable[[str], suite_runs.Run]) -> None:
    """Without the tracer the tests pass and the library is called: the comparison is about that."""
    plain = play("untraced")
    assert list(plain.outcomes.values()).count("passed") > 20, plain.output
    assert plain.calls() > 100


def test_outcomes_are_the_same_when_misuse_is_logged(play: Callable[[str], suite_runs.Run]) -> None:
    """With CSPTRACE=1 every test ends as it does without."""
    assert suite_runs.differences(play("untraced"), play("log")) == []


def test_outcomes_are_the_same_in_soft_mode(play: Callable[[str], suite_runs.Run]) -> None:
    """With the plugin, and `--csptrace-soft`, every test ends as it does without."""
    assert suite_runs.differences(play("untraced"), play("soft")) == []
    assert play("soft").status == play("untraced").status


def test_raised_misuse_changes_only_tests_that_misuse(
    play: Callable[[str], suite_runs.Run],
) -> None:
    """Where misuse raises, every test that does not misuse a handle ends as it does without."""
    changed = {
        each.split(": ")[0] for each in suite_runs.differences(play("untraced"), play("raise"))
    }
    assert changed <= suite_runs.misusing(play("soft"))


@pytest.mark.parametrize("mode", ["log", "soft", "raise"])
def test_findings_are_borne_out_by_the_calls(
    play: Callable[[str], suite_runs.Run], mode: str
) -> None:
    """No finding is refuted by the native calls, and no leak or stale use in them is missing."""
    verdict = play(mode).verdict(raising=mode == "raise")
    assert verdict.false == []
    assert verdict.missed == []
    assert verdict.leaks + verdict.left > 0


def test_a_wrong_and_a_missing_finding_would_be_noticed(
    play: Callable[[str], suite_runs.Run],
) -> None:
    """A leak that is taken out of a real run is missed, one that names another life is false."""
    run = play("log")
    pid, said = max(run.said.items(), key=lambda item: len(item[1].findings))
    first = next(each for each in said.findings if each.code in event_log.LEAKS and each.acquired)
    without = [each for each in said.findings if each is not first]
    verdict = judge(run.histories[pid], event_log.Said(without, ended=True))
    assert (len(verdict.missed), verdict.false) == (1, [])
    wrong = dataclasses.replace(first, value=0xDEAD)
    verdict = judge(run.histories[pid], event_log.Said([*said.findings, wrong], ended=True))
    assert (len(verdict.false), verdict.missed) == (1, [])


def test_an_unreachable_registry_is_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A suite that cannot be fetched is unavailable, with what pip said, and leaves nothing."""
    monkeypatch.setenv("CLIENT_SUITES_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    suite = next(each for each in SUITES if each.version)
    with pytest.raises(sdists.Unavailable, match=f"pip download {suite.name}==.*No matching"):
        sdists.source(suite)
    assert list((tmp_path / "cache").iterdir()) == []


def test_every_suite_is_in_the_report() -> None:
    """Each suite has a row; `python reports/clients/make.py` writes it."""
    if not REPORT.exists():
        pytest.skip("reports/ is not here")
    text = REPORT.read_text("utf-8")
    assert re.findall(r"^\| \[?([\w-]+)\]? \d", text, re.MULTILINE) == [
        each.name for each in SUITES
    ]
    for name in SKIPPED:
        assert f"- {name}: " in text
