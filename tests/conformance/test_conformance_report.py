"""The checked-in table of behaviours and bindings is about the suite as it is."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from clients import BINDINGS

HERE = Path(__file__).parent
REPORT = HERE.parents[1] / "reports" / "conformance" / "README.md"
GENUINE = {"windows-ctypes", "windows-cffi", "windows-win32crypt"}


def table() -> tuple[list[str], dict[str, list[str]]]:
    """Return the bindings, and test → results, as the report has them."""
    lines = [line for line in REPORT.read_text("utf-8").splitlines() if line.startswith("|")]
    heads, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    tests = {}
    for behaviour, *results in rows:
        named = re.search(r"\(`(\w+)`\)$", behaviour)
        assert named is not None, behaviour
        tests[named[1]] = results
    return heads[1:], tests


@pytest.fixture(scope="module")
def report() -> tuple[list[str], dict[str, list[str]]]:
    """Give the table; it is not part of an installed package."""
    if not REPORT.exists():
        pytest.skip("reports/ is not here")
    return table()


def test_every_behaviour_is_in_the_report(report: tuple[list[str], dict[str, list[str]]]) -> None:
    """Each behaviour of the suite has a row; `python reports/conformance/make.py` writes it."""
    stated = [
        node.name
        for path in sorted(HERE.glob("test_*behaviours.py"))
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
    assert list(report[1]) == stated


def test_every_binding_is_in_the_report(report: tuple[list[str], dict[str, list[str]]]) -> None:
    """Each binding of the suite has a column, the genuine ones included."""
    assert set(report[0]) >= {*BINDINGS, *GENUINE}


def test_no_behaviour_fails_and_every_reason_is_there(
    report: tuple[list[str], dict[str, list[str]]],
) -> None:
    """A behaviour holds on a binding, or the report says why the binding opted out."""
    reasons = set(re.findall(r"^(\d+)\. \S", REPORT.read_text("utf-8"), re.MULTILINE))
    for test, results in report[1].items():
        assert len(results) == len(report[0]), test
        assert {result for result in results if result} <= {"yes", *reasons}, test
