"""A lie detector: what causes claim is held against what a line tracer sees, and the source.

Every program and every function of the corpus runs a second time, without csptrace, under a line
tracer. A line that is said not to have been reached must not be among those that the run of that
function came to, and so on.
"""

from __future__ import annotations

import ast
import functools
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import windows_python
from corpus import FOLDER, PROGRAMS, lines, told
from expected import EXPECTED
from sampled import sampled
from test_causes import played

from csptrace.causes.exit_monitor import unavailable

LEAKS = Path(__file__).parent / "leaks.py"
_MISSED = re.compile(
    r"; ([^;]*?) (?:was|were) (?:never|not) reached|"
    r"; ([^;]*?) stands behind the condition|"
    r"; ([^;]*?) stands in the handler|"
    r"; ([^;]*?) was passed by"
)
_RAN = re.compile(r"; ([^;]*?) ran and did not release it")
_LATE = re.compile(
    r"line (\d+)(?:, in [^;]*? at line (\d+))?; "
    r"([^;]*?) (comes?|can only come) after that, too late"
)
_ROUND = " in that round of the loop"
_AFTER = re.compile(r" (reached|met|entered) after that")
_CONDITION = re.compile(r"behind the condition at line (\d+)")
_LINE = re.compile(r"at line (\d+)")
_SILENT = re.compile(r"; no path of (.*) calls (\w+)")

needed = pytest.mark.skipif(bool(unavailable()), reason=unavailable() or "available")


class Told(NamedTuple):
    """What one leak was told, and what the line tracer saw.

    Attributes:
        words: the cause.
        function: the function that is held responsible, by its qualified name.
        line: where it was left.
        path: the file.
        runs: the runs of all functions of the file, in order.
    """

    words: str
    function: str
    line: int
    path: Path
    runs: list[tuple[str, list[int]]]

    def lies(self) -> list[str]:
        """Return what of it is not true."""
        runs = [run for name, run in self.runs if name == self.function]
        return [
            *self._reached([run for run in runs if self.line in run] or runs),
            *self._not_late(),
            *self._named(),
        ]

    def _reached(self, own: list[list[int]]) -> list[str]:
        lies = []
        for match in _MISSED.finditer(self.words):
            missed = {int(line) for line in _LINE.findall(next(filter(None, match.groups())))}
            assert missed
            # The run may come to it in another one.
            one_round = _ROUND in self.words or _AFTER.search(self.words)
            if missed <= {int(line) for line in _CONDITION.findall(self.words)}:
                continue  # lines do not tell the two apart
            if not one_round and all(missed & set(run) for run in own):
                lies.append(f"reached: {match[0]}")
        for match in _RAN.finditer(self.words):
            ran = {int(line) for line in re.findall(r"line (\d+)", match[1])}
            if not any(ran <= set(run) for run in own):
                lies.append(f"did not run: {match[0]}")
        return lies

    def _not_late(self) -> list[str]:
        lies = []
        for match in _LATE.finditer(self.words):
            gone = int(match[2] or match[1])
            for line in map(int, _LINE.findall(match[3])):
                order = [at for _, run in self.runs for at in run if at in (gone, line)]
                runs = [run for _, run in self.runs if {gone, line} <= set(run)]
                orders = [[at for at in run if at in (gone, line)] for run in runs] or [order]
                orders = [each for each in orders if gone in each]
                if match[4] == "can only come":
                    true = any(line not in each[: each.index(gone)] for each in orders)
                else:
                    true = any(line in each[each.index(gone) :] for each in orders)
                if not true:
                    lies.append(f"does not come after {gone}: {line}")
        return lies

    def _named(self) -> list[str]:
        name = self.function.rpartition(".")[2]
        return [
            match[0]
            for match in _SILENT.finditer(self.words)
            for node in ast.walk(_tree(self.path))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and node.name == name
            and any(
                getattr(each, "attr", getattr(each, "id", "")) == match[2]
                for each in ast.walk(node)
            )
        ]


@functools.cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@needed
@pytest.mark.parametrize("name", sampled(PROGRAMS, 2))
def test_nothing_false_is_said_of_a_program(name: str) -> None:
    """What is claimed of lines and names is so in a traced run of the program."""
    runs = lines(name)[name]
    _, found = told(name)
    for each in found:
        if "cause" in each:
            told_ = Told(
                each["cause"],
                each["cause_function"],
                each["cause_where_line"],
                FOLDER / f"{name}.py",
                [(function, run) for function, run in runs],
            )
            assert told_.lies() == [], each["cause"]


@needed
@pytest.mark.parametrize("name", EXPECTED)
def test_nothing_false_is_said_of_a_function(name: str) -> None:
    """The same for the functions of leaks.py."""
    runs: list[tuple[str, list[int]]] = lines("leaks")[name]
    findings: list[dict[str, Any]] = played("softcsp")[name]["leaking"]
    for each in findings:
        told_ = Told(each["words"], each["function"], each["line"], LEAKS, runs)
        assert told_.lies() == [], each["words"]


@needed
@pytest.mark.parametrize("first", sampled(range(0, 200, 40), 3))
def test_nothing_false_is_said_of_random_functions(first: int, tmp_path: Path) -> None:
    """The same for functions whose releases stand anywhere."""
    out = tmp_path / "told.json"
    subprocess.run(
        [
            sys.executable,
            str(LEAKS.parent / "random_programs.py"),
            str(first),
            str(first + 39),
            out,
        ],
        env={**os.environ, "PYTHONPATH": str(windows_python.ROOT)},
        timeout=300,
        check=True,
    )
    found = json.loads(out.read_text(encoding="utf-8"))
    assert len(found) > 10
    for number, each in enumerate(found):
        path = tmp_path / f"{number}.py"
        path.write_text(each["text"], encoding="utf-8")
        runs = [(function, run) for function, run in each["runs"]]
        told_ = Told(each["words"], each["function"], each["line"], path, runs)
        assert told_.lies() == [], f"{each['words']}\n{each['text']}"


@needed
def test_a_false_claim_is_found() -> None:
    """The detector knows the claims: each of these is refuted."""
    runs = [("f", [1, 2, 3, 5])]
    for words in (
        "f() acquired it at line 1 and returned at line 5; g at line 3 was never reached",
        "f() acquired it at line 1; g at line 2 and h() at line 3 (it calls g) were not reached",
        "f() acquired it; g at line 3 stands behind the condition at line 2, which was not met",
        "f() acquired it; g at line 3 stands in the handler at line 2, which was not entered",
        "f() acquired it; g at line 3 was passed by on the way to the handler at line 4",
        "f() acquired it; g at line 4 ran and did not release it",
        "f() released the parent at line 3; g at line 2 comes after that, too late",
        "f() released the parent at line 3; g at line 2 can only come after that, too late",
    ):
        assert Told(words, "f", 5, LEAKS, runs).lies(), words
    words = "never() acquired it at line 1; no path of never() calls CryptCreateHash"
    assert Told(words, "never", 5, LEAKS, [("never", [5])]).lies()
