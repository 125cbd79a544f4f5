"""The same suites on the real thing: genuine Windows CPython, ctypes, cffi and pywin32 under Wine.

Set `CSPTRACE_REQUIRE=wine` to have a missing Windows Python fail the test instead of skipping it.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import windows_python
from native_calls import END

HERE = "tests/conformance"


@pytest.fixture(scope="module")
def windows() -> Any:
    """Return the Windows environment; skip, or fail if it is required, where there is none."""
    windows_python.need()
    return windows_python.environment()


def run_pytest(windows: Any, *arguments: str) -> str:
    """Run pytest under Windows Python in the project's folder and return what it printed."""
    done = windows.run(
        ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", *arguments],
        env={"PYTHONUTF8": "1", "PYTEST_ADDOPTS": "", "PYTEST_XDIST_WORKER": ""},
        cwd=windows_python.ROOT,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return str(done.stdout)


@pytest.mark.parametrize("binding", ["windows-ctypes", "windows-cffi", "windows-win32crypt"])
def test_behaviours(windows: Any, binding: str) -> None:
    """Every behaviour of the suite holds for the genuine binding."""
    printed = run_pytest(windows, f"{HERE}/test_behaviours.py", "-k", binding)
    passed = re.search(r"(\d+) passed", printed)
    assert passed is not None
    assert int(passed[1]) > 30
    sys.stdout.write(printed)  # the skipped cases and their reasons


def test_interception(windows: Any) -> None:
    """What is promised about ctypes arguments, functions and the last error holds on Windows."""
    names = ("ctypes_arguments", "ctypes_functions", "handle_objects", "last_error")
    printed = run_pytest(windows, *(f"tests/install/test_{name}.py" for name in names))
    passed = re.search(r"(\d+) passed", printed)
    assert passed is not None
    assert int(passed[1]) > 200


@pytest.mark.parametrize("binding", ["windows-ctypes", "windows-cffi", "windows-win32crypt"])
def test_native_calls(windows: Any, binding: str) -> None:
    """Wine's own trace counts the same native calls with the tracer; no misuse reaches it."""

    def calls(traced: str) -> Counter[str]:
        program = Path(__file__).with_name("native_calls.py")
        done = windows.run(
            [windows_python.tool().windows_path(program), binding, traced],
            env={"PYTHONUTF8": "1", "WINEDEBUG": "-all,+crypt"},
            cwd=windows_python.ROOT,
            timeout=300,
        )
        lines = done.stderr.splitlines()
        # What follows is the trace; an ordinary line is the program's own error.
        assert done.returncode == 0, [line for line in lines if ":crypt:" not in line]
        if traced == "1":
            assert done.stdout.split() == ["30", "findings"]
        story, end, _ = done.stderr.partition(END)
        assert end
        return Counter(re.findall(r":crypt:(Crypt(?!Enum)\w+) \(", story))

    without, traced = calls("0"), calls("1")
    assert without["CryptHashData"] == without["CryptGenKey"] == 3
    assert traced == without
