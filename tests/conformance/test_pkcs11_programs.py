"""Random programs over PKCS#11 against a reference model and SoftHSM's own answers.

A program has one to three clients (ctypes exports, a function list, PyKCS11, python-pkcs11, and
functions that were looked up before tracing) that load, finalise and unload the library, open and
close sessions, log in and out, make, find, use and destroy objects, fork, and stop and begin again
to trace. `pkcs11_programs` draws it, `pkcs11_player` plays it in a process of its own,
`pkcs11_model` says what is valid after each step, and `pkcs11_rules` what must have been told.

    PKCS11_PROGRAMS=5000 pytest -n 0 tests/conformance/test_pkcs11_programs.py

plays so many programs, new ones each time (or those of `--hypothesis-seed`), where by default the
same few are played, with the same hashes.
"""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import pytest
import softhsm
from hypothesis import HealthCheck, given, settings
from pkcs11_programs import programs
from pkcs11_rules import judge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PLAYER: Final = Path(__file__).with_name("pkcs11_player.py")
MANY: Final = os.environ.get("PKCS11_PROGRAMS")

Play: TypeAlias = "Callable[[dict[str, Any]], dict[str, Any]]"


@pytest.fixture(scope="module")
def play(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Play]:
    """Return a function that plays a program and returns what the player reports."""
    softhsm.need("PyKCS11", "pkcs11")
    home = tmp_path_factory.mktemp("player")
    # A token of its own: other tests leave objects on theirs, which a search would find.
    environment = softhsm.make_token(home, softhsm.LABEL, softhsm.PIN, softhsm.SO_PIN)
    tokens, errors = home / "tokens", home / "stderr"
    with (
        errors.open("w") as stderr,
        subprocess.Popen(
            [sys.executable, PLAYER, softhsm.module(), tokens],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env={**os.environ, **environment, **({} if MANY else {"PYTHONHASHSEED": "0"})},
        ) as player,
    ):
        asked, said = player.stdin, player.stdout
        assert asked is not None
        assert said is not None

        def ask(program: dict[str, Any]) -> dict[str, Any]:
            asked.write(json.dumps(program) + "\n")
            asked.flush()
            answer = said.readline()
            assert answer, errors.read_text()
            report: dict[str, Any] = json.loads(answer)
            return report

        yield ask
        asked.close()


def test_whatever_a_program_does_the_tracer_is_right(play: Play) -> None:
    """What is called dead is dead, what is dead and used is told, and leaks are those there are."""
    checked: Counter[str] = Counter()

    def try_out(program: dict[str, Any]) -> None:
        verdict = judge(program, play(program))
        checked.update(verdict.checked)
        for reason in verdict.unknowable:
            checked[f"nothing told: {reason}"] += 1
        assert not verdict.faults, "\n".join([*map(str, verdict.faults), json.dumps(program)])

    if MANY:
        patient = settings(
            max_examples=int(MANY),
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        patient(given(programs())(try_out))()
    else:
        for program in _same_programs(200):
            try_out(program)
    least = checked["programs"] // 5
    assert all(checked[what] > least for what in ("misuses told", "refusals told", "leaks told"))


def _same_programs(count: int) -> list[dict[str, Any]]:
    """Return programs that are the same ones each time, drawn in a process of their own."""
    drawn = subprocess.run(
        [sys.executable, PLAYER.with_name("pkcs11_programs.py"), str(count)],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return [json.loads(line) for line in drawn.stdout.splitlines()]


ONCE_WRONG: Final = {
    "a search through a library object that is unloaded": {
        "clients": ["python-pkcs11", "ctypes exports"],
        "reaction": "log",
        "steps": [
            *(["load", 0], ["load", 1], ["unload", 0], ["load", 1]),
            *(["open", 0, True], ["find", 0, 0]),
        ],
    },
    "a stored object of a session that was opened unseen": {
        "clients": ["ctypes exports"],
        "reaction": "log",
        "steps": [
            *(["load", 0], ["stop"], ["open", 0, True], ["resume"], ["create", 0, 0, True, True]),
            *(["close_all", 0], ["open", 0, True], ["use_object", 0, 0, 0]),
        ],
    },
}
"""Programs about which the tracer, or the model, was wrong."""


@pytest.mark.parametrize("program", ONCE_WRONG.values(), ids=ONCE_WRONG)
def test_what_was_once_wrong_is_right(play: Play, program: dict[str, Any]) -> None:
    """A program that has shown a fault is told right."""
    assert judge(program, play(program)).faults == []


PROGRAM: Final = {
    "clients": ["ctypes exports"],
    "reaction": "log",
    "steps": [
        ["load", 0],
        ["open", 0, True],
        ["create", 0, 0, False, True],
        ["use_object", 0, 0, 0],
        ["logout", 0, 0],
        ["use_object", 0, 0, 0],
        ["finalize", 0],
    ],
}


def _forget(report: dict[str, Any], code: str) -> None:
    """Take away what was told."""
    report["said"] = [line for line in report["said"] if line.get("finding", [""])[0] != code]


def _invent(report: dict[str, Any], place: str, *finding: Any) -> None:
    """Have something told at a step."""
    at = report["said"].index({"begins": place, "step": PROGRAM["steps"][int(place)]})
    report["said"].insert(at + 1, {"finding": [*finding, 1]})


FALSIFIED: Final[dict[str, Callable[[dict[str, Any]], None]]] = {
    "silent": lambda report: _forget(report, "use-after-release"),
    "no leak": lambda report: _forget(report, "leaked-at-release"),
    "leak": lambda report: _invent(
        report, "4", "leaked-at-exit", "warning", "CK_SESSION_HANDLE", 1
    ),
    "false": lambda report: _invent(
        report, "3", "use-after-release", "error", "CK_OBJECT_HANDLE", 2
    ),
}


@pytest.mark.parametrize("rule", FALSIFIED)
def test_a_wrong_report_breaks_its_rule(play: Play, rule: str) -> None:
    """The rules find what is missing from a report of a real program, and what is too much."""
    report = play(PROGRAM)
    assert judge(PROGRAM, report).faults == []
    falsified = copy.deepcopy(report)
    FALSIFIED[rule](falsified)
    assert [fault.rule for fault in judge(PROGRAM, falsified).faults] == [rule]
