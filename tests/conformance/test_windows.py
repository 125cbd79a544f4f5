"""The same suites on the real thing: genuine Windows CPython, ctypes, cffi and pywin32 under Wine.

Set `CSPTRACE_REQUIRE=wine` to have a missing Windows Python fail the test instead of skipping it.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from native_calls import END

ROOT = Path(__file__).parents[2]
TOOL = ROOT / ".ci" / "windows.py"
HERE = "tests/conformance"


@pytest.fixture(scope="module")
def windows() -> Any:
    """Return the Windows environment; skip, or fail if it is required, where there is none."""
    reason: str | None = "this is Windows"
    if os.name != "nt":
        reason = f"{TOOL.name} is missing"
        if TOOL.exists():
            spec = importlib.util.spec_from_file_location("csptrace_ci_windows", TOOL)
            assert spec is not None
            assert spec.loader is not None
            tool = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = tool
            spec.loader.exec_module(tool)
            reason = tool.available()
            if reason is None:
                return tool.environment(project=ROOT)
    if "wine" in os.environ.get("CSPTRACE_REQUIRE", ""):
        pytest.fail(f"CSPTRACE_REQUIRE asks for Windows Python: {reason}")
    pytest.skip(str(reason))


def run_pytest(windows: Any, *arguments: str) -> str:
    """Run pytest under Windows Python in the project's folder and return what it printed."""
    done = windows.run(
        ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", *arguments],
        env={"PYTHONUTF8": "1", "PYTEST_ADDOPTS": "", "PYTEST_XDIST_WORKER": ""},
        cwd=ROOT,
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
    printed = run_pytest(windows, *(f"tests/patch/test_{name}.py" for name in names))
    passed = re.search(r"(\d+) passed", printed)
    assert passed is not None
    assert int(passed[1]) > 300


@pytest.mark.parametrize("binding", ["windows-ctypes", "windows-cffi", "windows-win32crypt"])
def test_native_calls(windows: Any, binding: str) -> None:
    """Wine's own trace counts the same native calls with the tracer; no misuse reaches it."""

    def calls(traced: str) -> Counter[str]:
        done = windows.run(
            [windows_path(Path(__file__).with_name("native_calls.py")), binding, traced],
            env={"PYTHONUTF8": "1", "WINEDEBUG": "-all,+crypt"},
            cwd=ROOT,
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


def windows_path(path: Path) -> str:
    r"""Return the name of a host path under Wine: `Z:\a\b` for `/a/b`."""
    return "Z:" + str(path.resolve()).replace("/", "\\")
