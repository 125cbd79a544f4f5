"""What people read: the plain text of each finding, word for word."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING

import pytest
from event_runs import GOLDEN

from csptrace.causes.exit_monitor import unavailable
from csptrace.findings.catalogue import Code

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from event_runs import Run

CAUSE = re.compile(r"(?m)^  (why|fix): .*\n|; every other exit released")
CODES = [code.value for code in Code]

FURTHER = ["siblings", "reused", "nothing", "inherited"]
NEEDS_FORK = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def normalised(text: str) -> str:
    """Replace handle values by letters in their order, and what differs between machines."""
    values: dict[str, str] = {}

    def name(match: re.Match[str]) -> str:
        return values.setdefault(match[0], f"0x<{chr(ord('A') + len(values))}>")

    text = re.sub(r"\d+\.\d seconds", "<age> seconds", text)
    text = re.sub(r"program\.py:\d+ in <module>", "program.py:<end> in <module>", text)
    text = re.sub(r"\S+[\\/](threading\.py):\d+", r"<lib>/\1:<line>", text)
    return re.sub(r"0x[0-9a-f]{8,16}", name, text)


def check(name: str, text: str) -> None:
    """Compare a text with its golden file; `UPDATE_GOLDEN=1` writes it instead."""
    file = GOLDEN / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(text, encoding="utf-8")
    wanted = file.read_text(encoding="utf-8")
    if unavailable():  # Python 3.11 does not say why, and recommends what fits every cause
        text, wanted = (CAUSE.sub("", each) for each in (text, wanted))
    assert text == wanted, (
        f"the text of {name!r} has changed; if that is right: "
        f"UPDATE_GOLDEN=1 {os.path.basename(sys.executable)} -m pytest {__file__}"
    )


@pytest.mark.parametrize("code", CODES)
def test_text_of_each_finding(code: str, scenario: Callable[..., Run]) -> None:
    """Each sort of finding is told as in its golden file."""
    done = scenario(code.replace("-", "_"), logged=False)

    assert f"csptrace: {code}: " in done.err
    check(code, normalised(done.err))


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=NEEDS_FORK) if n == "inherited" else n for n in FURTHER]
)
def test_text_of_hints(name: str, scenario: Callable[..., Run]) -> None:
    """Siblings, reuse and inheritance are told; a program without bugs gets one line."""
    check(name, normalised(scenario(name, logged=False).err))


def test_text_with_odd_names(scenario: Callable[..., Run]) -> None:
    """Control characters in the names of containers and threads are made visible."""
    done = scenario("named", logged=False, depth=1)

    assert "\x1b" not in done.err
    check("named", normalised(done.err))


def test_text_with_redacted_names(scenario: Callable[..., Run]) -> None:
    """With `redact_names` the container's name is left out."""
    done = scenario("named", logged=False, depth=1, redact_names=True)

    assert "ller" not in done.err
    check("redacted", normalised(done.err))


def test_text_without_stacks(scenario: Callable[..., Run]) -> None:
    """At level `count` a finding has no stacks, and is told all the same."""
    check("count", normalised(scenario("use_after_invalidation", logged=False, level="count").err))


def test_text_with_last_use(scenario: Callable[..., Run]) -> None:
    """At level `full` a finding also tells the last use."""
    check("full", normalised(scenario("used", logged=False, level="full").err))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_every_golden_file_is_used() -> None:
    """No golden file is left over from a text that there is no more."""
    expected = {*CODES, *FURTHER, "named", "redacted", "count", "full"}

    assert {file.stem for file in GOLDEN.glob("*.txt")} == expected


def test_equal_findings_are_told_once(run: Callable[..., Run]) -> None:
    """The same finding from the same place is told once, and counted in the closing line."""
    done = run("program.py", *["leaked_at_release"] * 3, logged=False)

    assert done.err.count("csptrace: leaked-at-release: ") == 1
    last = done.err.splitlines()[-1]
    assert last == ("csptrace: 6 handles acquired, 3 findings (3 leaked-at-release) at 1 place")


def test_closing_line_names_the_log(run: Callable[..., Run], tmp_path: Path) -> None:
    """The closing line says how much there was and where the log is."""
    done = run("program.py", "nothing", "failed_release", "wrong_release")
    (log,) = (tmp_path / "logs").iterdir()

    assert done.err.splitlines()[-1] == (
        f"csptrace: 6 handles acquired, 2 findings (1 failed-release, 1 wrong-release); log: {log}"
    )


def test_closing_line_of_one_handle(run: Callable[..., Run]) -> None:
    """One handle is not several."""
    done = run("program.py", "leaked_at_exit", logged=False)

    assert done.err.splitlines()[-1] == (
        "csptrace: 1 handle acquired, 1 finding (1 leaked-at-exit)"
    )


def test_nothing_is_written_where_nothing_happened(run: Callable[..., Run]) -> None:
    """A program that touches no provider gets no closing line."""
    done = run("-c", "import csptrace; csptrace.start()", logged=False)

    assert (done.status, done.out, done.err) == (0, "", "")


def test_quiet(scenario: Callable[..., Run]) -> None:
    """With `quiet` nothing is written to stderr, and everything to the log."""
    done = scenario("leaked_at_release", quiet=True)

    assert done.err == ""
    assert len(done.named("finding")) == 1
