"""The transcript in the README is what its suite says."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Suite

README = Path(__file__).parents[3] / "README.md"


def _section() -> str:
    text = README.read_text("utf-8")
    return text.partition("\n## pytest\n")[2].partition("\n## ")[0]


def _comparable(line: str) -> str:
    """Return a line without what differs from run to run: values, versions, durations, folders."""
    line = re.sub(r"0x[0-9a-f]+( \(#\d+ with this value\))?", "0x…", line)
    line = re.sub(r"^(platform|rootdir:) .*", r"\1", line)
    line = re.sub(r"\d+ calls of \d+ APIs?", "calls of APIs", line)
    return re.sub(r"=+ (.*) in [\d.]+s.*", r"\1", line).strip()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python 3.11 cannot tell why")
def test_transcript(suite: Suite) -> None:
    """The README's suite, run as the README says, prints what stands there."""
    section = _section()
    for text in re.findall(r"```py\n(.*?)```", section, re.DOTALL)[:2]:
        name = re.match(r"# (\w+\.py)\n", text)
        assert name is not None
        (suite.path / name[1]).write_text(text, encoding="utf-8")
    (suite.path / "csp.py").unlink()
    run = suite.run(loud=())
    (transcript,) = re.findall(r"```text\n(.*?)```", section, re.DOTALL)
    expected = [_comparable(line) for line in transcript.splitlines()]
    found = [_comparable(line) for line in run.result.outlines if not line.startswith("plugins:")]

    assert list(filter(None, found)) == list(filter(None, expected))
