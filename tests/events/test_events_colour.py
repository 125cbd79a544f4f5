"""Colour on a terminal that wants it, plain text elsewhere."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from event_runs import GOLDEN, environment

from csptrace.events.terminal import Terminal
from csptrace.terminal import wants_colour

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from event_runs import Run

ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


@pytest.mark.skipif(sys.platform == "win32", reason="asks the console")
@pytest.mark.parametrize(
    ("environ", "screen", "expected"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"TERM": "xterm-256color"}, True, True),
        ({"TERM": "dumb"}, True, False),
        ({"NO_COLOR": "1"}, True, False),
        ({"NO_COLOR": ""}, True, True),
        ({"NO_COLOR": "0"}, True, False),
        ({"FORCE_COLOR": "1"}, False, True),
        ({"FORCE_COLOR": ""}, False, False),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, True, False),
        ({"FORCE_COLOR": "1", "TERM": "dumb"}, True, True),
    ],
)
def test_who_gets_colour(environ: dict[str, str], screen: object, expected: object) -> None:
    """NO_COLOR forbids, FORCE_COLOR asks, TERM=dumb forbids, else it is up to the stream."""
    assert wants_colour(Screen() if screen else io.StringIO(), environ) is expected


def test_streams_that_cannot_be_asked() -> None:
    """No stream, a closed one and one of another sort get no colour, and no exception."""
    closed = io.StringIO()
    closed.close()

    assert [wants_colour(stream, {}) for stream in (None, closed, object())] == [False] * 3


@pytest.mark.parametrize("code", ["leaked-at-release", "use-after-release", "lost"])
def test_colour_changes_nothing_but_the_colour(code: str, scenario: Callable[..., Run]) -> None:
    """Without its escape sequences the coloured text is the plain one; none is left open."""
    name = code.replace("-", "_")
    plain = scenario(name, logged=False).err
    coloured = scenario(name, logged=False, environ={"FORCE_COLOR": "1"}).err

    assert "\x1b" not in plain
    assert re.sub("0x[0-9a-f]{9,}", "", ESCAPE.sub("", coloured)) == re.sub(
        "0x[0-9a-f]{9,}", "", plain
    )
    for line in coloured.splitlines():
        codes = ESCAPE.findall(line)
        assert not codes or codes[-1] == "\x1b[0m", line
    assert f"\x1b[1m\x1b[{'31' if code.startswith('use') else '33'}m{code}: " in coloured


@pytest.mark.parametrize("variable", ["NO_COLOR", "TERM"])
def test_plain_where_it_is_forbidden(variable: str, scenario: Callable[..., Run]) -> None:
    """NO_COLOR wins over FORCE_COLOR; TERM=dumb alone makes the text plain."""
    environ = {"NO_COLOR": "1", "FORCE_COLOR": "1"} if variable == "NO_COLOR" else {"TERM": "dumb"}

    assert "\x1b" not in scenario("leaked_at_release", environ=environ).err


@pytest.mark.skipif(os.name == "nt", reason="needs a pseudo-terminal")
@pytest.mark.parametrize(("term", "coloured"), [("xterm", True), ("dumb", False)])
def test_real_terminal(term: str, coloured: object, tmp_path: Path) -> None:
    """On a terminal the text is coloured, unless the terminal is dumb."""
    ours, theirs = os.openpty()
    with subprocess.Popen(
        [sys.executable, "program.py", "leaked_at_release"],
        env={**environment(tmp_path), "TERM": term},
        cwd=GOLDEN,
        stderr=theirs,
    ) as child:
        os.close(theirs)
        text = b""
        try:
            while part := os.read(ours, 4096):
                text += part
        except OSError:  # what Linux says at the end
            pass
        os.close(ours)
    assert child.returncode == 0
    assert b"leaked-at-release" in text
    assert (b"\x1b[" in text) is coloured


def test_a_line_and_its_role() -> None:
    """A line carries the program's name; its role decides the colour, and no role means none."""
    screen = io.StringIO()
    Terminal(screen).line("all is well", "good")

    assert screen.getvalue() == "csptrace: all is well\n"


def test_quiet_terminal_writes_nothing() -> None:
    """A quiet one writes nothing to its stream."""
    screen = Screen()
    Terminal(screen, quiet=True).line("all is well", "good")

    assert screen.getvalue() == ""
