"""Run a suite without the tracer and with it, each time on a new token and below pkcs11-spy."""

from __future__ import annotations

import atexit
import dataclasses
import functools
import os
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

import event_log
import oracle
import sdists
import softhsm
import spy_log
from verdicts import Verdict, judge

if TYPE_CHECKING:
    from event_log import Said
    from oracle import History
    from suites import Suite

# The plugin is not loaded in the modes without it: a program, not a test session, is traced.
MODES: Final[dict[str, tuple[dict[str, str], tuple[str, ...]]]] = {
    "untraced": ({}, ("-p", "no:csptrace")),
    "log": ({"CSPTRACE": "1", "CSPTRACE_ON_MISUSE": "log"}, ("-p", "no:csptrace")),
    "soft": ({}, ("--csptrace", "--csptrace-soft")),
    "raise": ({"CSPTRACE": "1"}, ("-p", "no:csptrace")),
}

PROCESSES_ARE_TOLD_APART: Final = os.path.isdir("/proc/self/fd")
"""Whether forks can be given a log of their own, see `spied/sitecustomize.py`."""


@dataclasses.dataclass
class Run:
    """What came of one run of a part of a suite.

    `status` is pytest's exit status, negative for the signal that ended the process.
    """

    outcomes: dict[str, str]
    status: int
    histories: dict[int, History]
    said: dict[int, Said]
    output: str

    def calls(self) -> int:
        """Return how many native calls were made."""
        return sum(len(each.calls) for each in self.histories.values())

    def verdict(self, *, raising: bool = False) -> Verdict:
        """Return how right the findings of all processes are."""
        total = Verdict()
        nothing = event_log.Said()
        for pid in sorted(self.histories.keys() | self.said.keys()):
            history = self.histories.get(pid, oracle.History())
            total.add(judge(history, self.said.get(pid, nothing), raising=raising))
        return total


def play(suite: Suite, mode: str, arguments: tuple[str, ...], home: Path) -> Run:
    """Run a part of a suite in one mode.

    Args:
        suite: which one.
        mode: of `MODES`.
        arguments: of pytest.
        home: a new folder for the token, the logs and a copy of the suite.

    Raises:
        sdists.Unavailable: the suite cannot be had.
    """
    for each in ("spy", "events"):
        (home / each).mkdir(parents=True)
    # By the name, suites recognise SoftHSM and know what it cannot do.
    module = home / Path(softhsm.module()).name
    module.symlink_to(softhsm.spy())
    where = home / "suite"
    _copy(suite, where)
    shutil.copytree(_filled(suite) / "tokens", home / "tokens")
    traced, options = MODES[mode]
    paths = (Path(__file__).with_name("spied"), sdists.requirements(suite))
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("CSPTRACE")},
        **softhsm.lead_to(home),
        **{name: _fill(value, suite, str(module)) for name, value in suite.variables},
        "PKCS11SPY": softhsm.module(),
        "SPY_LOGS": str(home / "spy"),
        "TZ": "UTC",  # pkcs11-spy writes local time
        "PYTHONPATH": os.pathsep.join(str(path) for path in paths if path is not None),
        "PYTHONDONTWRITEBYTECODE": "1",
        "CSPTRACE_LOG": str(home / "events"),
        "CSPTRACE_QUIET": "1",
        **traced,
    }
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", f"--junit-xml={home / 'junit.xml'}"),
            *("-p", "no:randomly", "-p", "no:cacheprovider", "-p", "no:xdist", *options),
            *(_fill(each, suite, str(module)) for each in arguments),
        ],
        cwd=where,
        env=environ,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=900,
        check=False,
    )
    return Run(
        _outcomes(home / "junit.xml"),
        done.returncode,
        histories(home / "spy"),
        event_log.read(home / "events"),
        done.stdout + done.stderr,
    )


def _copy(suite: Suite, where: Path) -> None:
    where.mkdir()
    for each in suite.copied:
        shutil.copytree(sdists.source(suite) / each, where / each)


@functools.cache
def _filled(suite: Suite) -> Path:
    """Return a folder with a suite's tokens as they are before each run."""
    home = Path(tempfile.mkdtemp(prefix="csptrace-token-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    variables = softhsm.make_token(home, suite.label, suite.pin, suite.so_pin)
    _copy(suite, home / "suite")
    for command in suite.prepared:
        subprocess.run(
            [_fill(each, suite, softhsm.module()) for each in command],
            cwd=home / "suite",
            env={**os.environ, **variables, "PYTHONPATH": str(sdists.requirements(suite) or "")},
            check=True,
            capture_output=True,
            timeout=120,
        )
    return home


def _fill(text: str, suite: Suite, module: str) -> str:
    values = {"label": suite.label, "pin": suite.pin, "so_pin": suite.so_pin}
    return text.format(**values, module=module, python=sys.executable)


def histories(folder: Path) -> dict[int, History]:
    """Return the history of each process that pkcs11-spy saw, from `spy-<pid>-<parent>`.

    A fork begins with what its parent had made of its handles by then: its calls are counted on
    from the parent's.
    """
    calls = {}
    parents = {}
    for path in folder.iterdir():
        _, pid, parent = path.name.split("-")
        calls[int(pid)], parents[int(pid)] = spy_log.read(path), int(parent)
    found: dict[int, History] = {}
    for pid, own in calls.items():
        before = None
        if parents[pid] in calls and own:
            first = own[0].number
            before = oracle.replay(call for call in calls[parents[pid]] if call.number < first)
        found[pid] = oracle.replay(own, before)
    return found


def _outcomes(report: Path) -> dict[str, str]:
    """Return what became of each test: passed, or the kinds of elements in its report."""
    if not report.exists():
        return {}
    found: dict[str, str] = {}
    for case in ET.parse(report).getroot().iter("testcase"):
        kinds = sorted(
            each.get("type") or each.tag
            for each in case
            if each.tag in ("failure", "error", "skipped")
        )
        name = f"{case.get('classname')}::{case.get('name')}"
        found[name] = " ".join(filter(None, (found.get(name, ""), *kinds))) or "passed"
    return found


def differences(plain: Run, traced: Run) -> list[str]:
    """Return what became of tests otherwise with the tracer than without it."""
    return [
        f"{name}: {plain.outcomes.get(name, 'not run')} → {traced.outcomes.get(name, 'not run')}"
        for name in sorted(plain.outcomes.keys() | traced.outcomes.keys())
        if plain.outcomes.get(name) != traced.outcomes.get(name)
    ]


def other_calls(plain: Run, traced: Run) -> list[str]:
    """Return which native calls are made more or less often with the tracer, by their result.

    What it documents as its questions to the token is left out.
    """
    before, after = _counted(plain), _counted(traced)
    return [
        f"{name} {result}: {before[name, result]} → {after[name, result]}"
        for name, result in sorted(before.keys() | after.keys())
        if before[name, result] != after[name, result]
    ]


def _counted(run: Run) -> Counter[tuple[str, str]]:
    return Counter(
        (call.name, call.result)
        for history in run.histories.values()
        for call in history.calls
        if not oracle.is_question(call) and call.name != "C_GetTokenInfo"
    )


def misusing(run: Run) -> set[str]:
    """Return the tests that misuse a handle, as outcomes name them, from a run with the plugin."""
    return {
        _name(finding.scope)
        for each in run.said.values()
        for finding in each.findings
        if finding.code in event_log.MISUSES and "::" in finding.scope
    }


def _name(nodeid: str) -> str:
    path, bracket, parameters = nodeid.partition("[")
    file, *classes, test = path.split("::")
    module = file.removesuffix(".py").replace("/", ".")
    return f"{'.'.join([module, *classes])}::{test}{bracket}{parameters}"
