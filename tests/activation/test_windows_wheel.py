"""The installed wheel on the genuine parts: Windows CPython and advapi32, under Wine."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

import pytest
import windows_python

if TYPE_CHECKING:
    from pathlib import Path

LEAKY = """
import ctypes, sys
from ctypes import byref, c_void_p

advapi32 = ctypes.WinDLL("advapi32", use_last_error=True)

def leak():
    hProv, hKey = c_void_p(), c_void_p()
    done = advapi32.CryptAcquireContextW(byref(hProv), None, None, 24, ctypes.c_uint32(0xF0000000))
    done += advapi32.CryptGenKey(hProv, 0x660E, 1, byref(hKey))
    done += advapi32.CryptReleaseContext(hProv, 0)
    if done != 3:
        raise OSError(ctypes.get_last_error())

leak()
print("arguments", sys.argv[1:])
"""


@pytest.fixture(scope="module")
def windows(wheel: Path) -> Any:
    """Return a Windows environment with the wheel; skip, or fail if it is required, without."""
    windows_python.need()
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    return windows_python.tool().install_wheels([wheel], f"test-wheel-{worker}")


def run(windows: Any, folder: Path, *arguments: str, **environ: str) -> Any:
    """Run Windows Python in a folder."""
    return windows.run(list(arguments), env={"PYTHONUTF8": "1", **environ}, cwd=folder, timeout=300)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a program that leaks one key."""
    (tmp_path / "leaky.py").write_text(LEAKY, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("way", ["environment", "command line"])
def test_wheel_traces_a_windows_program(windows: Any, folder: Path, way: str) -> None:
    """CSPTRACE=1 and `csptrace run` find the leak, and write the log where they say."""
    if way == "environment":
        environ = {"CSPTRACE": "1", "CSPTRACE_LOG": "log"}
        done = run(windows, folder, "leaky.py", "a", **environ)
    else:
        done = run(windows, folder, "-m", "csptrace", "run", "--log", "log", "leaky.py", "a")
    (log,) = (folder / "log").glob("*.jsonl")
    events = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    found = [event for event in events if event["event"] == "csptrace.finding"]

    assert done.returncode == 0, done.stderr
    assert done.stdout == "arguments ['a']\n"
    assert "leaked-at-release: HCRYPTKEY" in done.stderr
    assert "> leaky.py:10 in leak" in done.stderr
    assert log.name in done.stderr
    assert [(event["code"], event["kind"]) for event in found] == [
        ("leaked-at-release", "HCRYPTKEY")
    ]
    assert events[0]["platform"] == "win32"
    assert b"\r" not in log.read_bytes()


def test_colour_only_when_asked_for(windows: Any, folder: Path) -> None:
    """A pipe gets no escape sequences, unless FORCE_COLOR asks for them."""
    plain = run(windows, folder, "leaky.py", CSPTRACE="1")
    coloured = run(windows, folder, "leaky.py", CSPTRACE="1", FORCE_COLOR="1")

    assert "\x1b" not in plain.stderr
    assert "\x1b[" in coloured.stderr
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured.stderr).count("leaked-at-release") == 2


def test_doctor_and_demo(windows: Any, tmp_path: Path) -> None:
    """The doctor's canary is caught, and the demo finds its mistakes, on Windows."""
    doctor = run(windows, tmp_path, "-m", "csptrace", "doctor")
    demo = run(windows, tmp_path, "-m", "csptrace", "demo", "--log", "log")

    assert "canary: caught" in doctor.stdout, doctor.stdout + doctor.stderr
    assert doctor.returncode == 0
    assert "All 7 planted mistakes were found" in demo.stdout, demo.stderr
    assert demo.returncode == 0
