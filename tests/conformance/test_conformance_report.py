"""The checked-in table of behaviours and bindings is about the suite as it is."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TypeAlias

import pytest
from clients import BINDINGS
from pkcs11_clients import BINDINGS as PKCS11_BINDINGS

HERE = Path(__file__).parent
REPORT = HERE.parents[1] / "reports" / "conformance" / "README.md"
Report: TypeAlias = dict[str, tuple[list[str], dict[str, list[str]]]]
GENUINE = {"windows-ctypes", "windows-cffi", "windows-win32crypt"}


def tables() -> dict[str, tuple[list[str], dict[str, list[str]]]]:
    """Return for each table its bindings, and test → results, as the report has them."""
    found = {}
    for part in REPORT.read_text("utf-8").split("\n## ")[1:]:
        lines = [line for line in part.splitlines() if line.startswith("|")]
        if not lines:
            continue
        heads, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
        tests = {}
        for behaviour, *results in rows:
            named = re.search(r"\(`(\w+)`\)$", behaviour)
            assert named is not None, behaviour
            tests[named[1]] = results
        found[part.splitlines()[0]] = (heads[1:], tests)
    return found


@pytest.fixture(scope="module")
def report() -> Report:
    """Give the tables; they are not part of an installed package."""
    if not REPORT.exists():
        pytest.skip("reports/ is not here")
    return tables()


@pytest.mark.parametrize(
    ("title", "file"), [("CryptoAPI", "test_behaviours"), ("PKCS#11", "test_behaviours_pkcs11")]
)
def test_every_behaviour_is_in_the_report(report: Report, title: str, file: str) -> None:
    """Each behaviour of the suites has a row; `python reports/conformance/make.py` writes it."""
    stated = [
        node.name
        for node in ast.parse((HERE / f"{file}.py").read_text("utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
    assert list(report[title][1]) == stated


def test_every_binding_is_in_the_report(report: Report) -> None:
    """Each binding of the suites has a column, the genuine ones included."""
    assert set(report["CryptoAPI"][0]) >= {*BINDINGS, *GENUINE}
    assert report["PKCS#11"][0] == list(PKCS11_BINDINGS)


def test_no_behaviour_fails_and_every_reason_is_there(report: Report) -> None:
    """A behaviour holds on a binding, or the report says why the binding opted out."""
    reasons = set(re.findall(r"^(\d+)\. \S", REPORT.read_text("utf-8"), re.MULTILINE))
    for bindings, tests in report.values():
        for test, results in tests.items():
            assert len(results) == len(bindings), test
            assert {result for result in results if result} <= {"yes", *reasons}, test
