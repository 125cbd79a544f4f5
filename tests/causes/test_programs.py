"""Whole programs in which a release stands behind that of the parent, or only seems to.

Each runs in a process of its own, as a user would run it, and says in its header what has to be
found, and what may and may not be said of it (`demands.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from corpus import FOLDER, PROGRAMS, findings, told
from mending import mended
from sampled import sampled

from csptrace.causes.exit_monitor import unavailable

if TYPE_CHECKING:
    from pathlib import Path

needed = pytest.mark.skipif(bool(unavailable()), reason=unavailable() or "available")


@needed
@pytest.mark.parametrize("name", PROGRAMS)
def test_what_is_said_of_it_is_what_it_demands(name: str) -> None:
    """The findings are those that the header wants, and are told as it demands."""
    status, found = told(name)

    assert status == PROGRAMS[name].status
    assert PROGRAMS[name].faults(found) == [], [each.get("cause") for each in found]


@needed
@pytest.mark.parametrize("name", sampled(PROGRAMS, 3))
def test_what_it_is_told_to_do_mends_it(name: str, tmp_path: Path) -> None:
    """A program that is changed as the remedy says, where that names lines, has no finding."""
    _, found = told(name)
    remedies = {each["remedy"] for each in found if each["code"].startswith("leaked")}
    assert len(remedies) == 1
    source = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    text = mended(source, remedies.pop())
    if text is None:
        return
    program = tmp_path / f"{name}.py"
    program.write_text(text, encoding="utf-8")
    _, left = findings(program, PROGRAMS[name], tmp_path)

    assert [(each["code"], each["remedy"]) for each in left] == [], text
