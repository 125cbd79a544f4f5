"""Why it leaked: every kind of exit, nesting and move, on softcsp and on the genuine parts."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import windows_python
from expected import EXPECTED, Expected
from mending import mended
from sampled import sampled

from csptrace.causes.exit_monitor import unavailable

HERE = Path(__file__).parent
WORDS = tomllib.loads((HERE.parent / "golden" / "causes.toml").read_text(encoding="utf-8"))
SOURCE = (HERE / "leaks.py").read_text(encoding="utf-8").splitlines()

each = pytest.mark.parametrize("name", EXPECTED)


@functools.cache
def played(provider: str) -> dict[str, dict[str, Any]]:
    """Play everything in a process of its own; return name → leaking and mended → findings."""
    script = HERE / "play.py"
    if provider == "windows":
        done = windows_python.environment().run(
            [windows_python.tool().windows_path(script), provider],
            env={"PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1"},
            timeout=300,
        )
    else:
        done = subprocess.run(
            [sys.executable, str(script), provider],
            env={**os.environ, "PYTHONPATH": str(windows_python.ROOT)},
            capture_output=True,
            encoding="utf-8",
            timeout=300,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    results: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return results


@pytest.fixture(params=["softcsp", "windows"])
def play(request: pytest.FixtureRequest) -> dict[str, dict[str, Any]]:
    """Return what was found on one provider; skip, or fail if it is required."""
    if request.param == "softcsp":
        if unavailable():
            pytest.skip(unavailable())
        return played("softcsp")
    windows_python.need()
    return played("windows")


def marks() -> dict[str, list[int]]:
    """Return mark → lines."""
    found: dict[str, list[int]] = {}
    for number, line in enumerate(SOURCE, 1):
        match = re.search(r"  # ((?:[a-z]+ ?)+(?:, [a-z ]+)*)$", line)
        for mark in match[1].split(",") if match else ():
            found.setdefault(mark.strip().replace(" ", "_"), []).append(number)
    return found


def lines_of(name: str) -> dict[str, int]:
    """Return mark → line for one function: its own marks, and those that there are once."""
    start = next(n for n, line in enumerate(SOURCE, 1) if line.startswith(f"def {name}("))
    end = next(n for n, line in enumerate(SOURCE, 1) if line.startswith(f"def {name}_mended("))
    lines = {}
    for mark, all_ in marks().items():
        own = [number for number in all_ if start <= number < end]
        if own or len(all_) == 1:
            lines[mark] = (own or all_)[0]
    play = (HERE / "play.py").read_text(encoding="utf-8").splitlines()
    lines["played"] = next(n for n, line in enumerate(play, 1) if "CryptReleaseContext" in line)
    return lines


@each
def test_cause_is_the_right_one(name: str, play: dict[str, dict[str, Any]]) -> None:
    """Each leak is told with its exit, its lines and the skipped releases."""
    expected: Expected = EXPECTED[name]
    lines = lines_of(name)
    found = play[name]["leaking"]

    assert len(found) == expected.leaks
    for finding in found:
        assert (finding["exit"], finding["pattern"]) == (expected.exit, expected.pattern)
        assert finding["function"] == expected.function
        assert finding["line"] == lines[expected.at]
    wanted = [[call, lines[mark]] for call, mark in expected.skipped]
    assert found[0]["skipped"] == wanted


@each
def test_words_are_those_of_the_golden_file(name: str, play: dict[str, dict[str, Any]]) -> None:
    """The cause and the remedy read as the file says, word for word."""
    lines = lines_of(name)
    finding = play[name]["leaking"][0]

    assert finding["words"] == WORDS[name]["cause"].format_map(lines)
    assert finding["remedy"] == WORDS[name]["remedy"].format_map(lines)


@each
def test_mended_twin_is_silent(name: str, play: dict[str, dict[str, Any]]) -> None:
    """The corrected function has no finding."""
    assert play[name]["mended"] == []


@pytest.mark.skipif(bool(unavailable()), reason=unavailable() or "available")
@pytest.mark.parametrize("name", sampled(EXPECTED, 3))
def test_what_it_is_told_to_do_mends_it(name: str, tmp_path: Path) -> None:
    """A function that is changed as the remedy says, where that names lines, has no finding."""
    source = (HERE / "leaks.py").read_text(encoding="utf-8")
    text = mended(source, played("softcsp")[name]["leaking"][0]["remedy"])
    if text is None:
        return
    (tmp_path / "leaks.py").write_text(text, encoding="utf-8")
    shutil.copy(HERE / "play.py", tmp_path)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "play.py"), "softcsp", name],
        env={**os.environ, "PYTHONPATH": str(windows_python.ROOT)},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr

    assert json.loads(done.stdout)[name]["leaking"] == []


def test_exception_is_told_with_its_origin_and_its_handler(
    play: dict[str, dict[str, Any]],
) -> None:
    """The type, the function that raised it and the line that caught it are fields, too."""
    (finding,) = play["caught_two_above"]["leaking"]

    assert finding["exception"] == "Stop"
    assert finding["raised"] == "fails"
    assert finding["caught"] == lines_of("caught_two_above")["caught"]


def test_other_exits_of_the_site_are_counted(play: dict[str, dict[str, Any]]) -> None:
    """Where every other exit released, that is said with counts."""
    (finding,) = play["every_other_time"]["leaking"]

    assert finding["hints"][0].startswith("4 of 5 handles acquired there were released, at ")
    assert finding["hints"][0].endswith("; every other exit released")
    (finding,) = play["recursion"]["leaking"]
    assert finding["hints"][0].endswith("; every other exit released")


def test_every_exit_and_pattern_is_in_the_table() -> None:
    """No kind of exit and no reason is left without an example."""
    from csptrace.findings.finding import Pattern
    from csptrace.graph.exits import Exit

    assert {expected.pattern for expected in EXPECTED.values()} == set(Pattern)
    # A function that has yielded the handle is told as suspended, or by what it did afterwards.
    assert {expected.exit for expected in EXPECTED.values()} == set(Exit) - {Exit.YIELDED}


def test_table_and_functions_belong_together() -> None:
    """Each function has an entry, words and a twin, and each entry a function."""
    names = [line[4:].partition("(")[0] for line in SOURCE if line.startswith("def ")]
    twins = [name.removesuffix("_mended") for name in names if name.endswith("_mended")]

    assert sorted(EXPECTED) == sorted(WORDS) == sorted(twins)
    assert len(EXPECTED) >= 40
