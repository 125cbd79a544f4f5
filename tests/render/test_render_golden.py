"""What people and tools read of a report made by hand, word for word."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import sample_reports

from csptrace.analysis.render import FORMATS, Options

GOLDEN = Path(__file__).with_name("golden")
OPTIONS = Options(title="payments", width=80, generated=sample_reports.START)
TEXTS = [name for name in FORMATS if name not in ("html", "sarif")]
"""The page is tested in a browser, SARIF with its one producer."""


def check(name: str, text: str) -> None:
    """Compare a text with its golden file; `UPDATE_GOLDEN=1` writes it instead."""
    file = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8", newline="")
    assert text == file.read_text(encoding="utf-8"), (
        f"the text of {name!r} has changed; if that is right: "
        f"UPDATE_GOLDEN=1 {os.path.basename(sys.executable)} -m pytest {__file__}"
    )


@pytest.mark.parametrize("name", TEXTS)
def test_text_of_a_report(name: str) -> None:
    """Each form tells the small report as in its golden file."""
    form = FORMATS[name]

    check(f"report-{name}{form.suffix}", form.report(sample_reports.small(), OPTIONS))


@pytest.mark.parametrize("name", [name for name in TEXTS if FORMATS[name].compares])
def test_text_of_a_comparison(name: str) -> None:
    """Each form that compares tells the changes as in its golden file."""
    form = FORMATS[name]

    check(f"comparison-{name}{form.suffix}", form.comparison(sample_reports.comparison(), OPTIONS))


def test_text_of_a_long_report() -> None:
    """A fleet's report on a terminal shows the worst, and says how much more there is."""
    check("fleet-terminal.txt", FORMATS["terminal"].report(sample_reports.fleet(), OPTIONS))


def test_text_of_an_empty_report() -> None:
    """No logs and no findings are said in a few lines."""
    check("empty-terminal.txt", FORMATS["terminal"].report(sample_reports.empty(), OPTIONS))


def test_every_golden_file_is_used() -> None:
    """No golden file is left over from a text that there is no more."""
    expected = {f"report-{name}{FORMATS[name].suffix}" for name in TEXTS}
    expected |= {
        f"comparison-{name}{FORMATS[name].suffix}" for name in TEXTS if FORMATS[name].compares
    }

    assert {file.name for file in GOLDEN.iterdir()} == {
        *expected,
        "fleet-terminal.txt",
        "empty-terminal.txt",
    }
