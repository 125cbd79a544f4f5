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
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured.stderr).count("leaked-at-release: ") == 1


def test_doctor_and_demo(windows: Any, tmp_path: Path) -> None:
    """The doctor's canary is caught, and the demo finds its mistakes, on Windows."""
    doctor = run(windows, tmp_path, "-m", "csptrace", "doctor")
    demo = run(windows, tmp_path, "-m", "csptrace", "demo", "--log", "log")

    assert "canary: caught" in doctor.stdout, doctor.stdout + doctor.stderr
    assert doctor.returncode == 0
    assert "All 7 planted mistakes were found" in demo.stdout, demo.stderr
    assert demo.returncode == 0


SUITE = """
import gc

import pytest
import win32crypt


@pytest.fixture(autouse=True)
def collect():
    yield
    gc.collect()  # an object of pywin32 that dies later would release another test's handle


def context():
    return win32crypt.CryptAcquireContext(None, None, 24, 0xF0000000)


def test_clean():
    prov = context()
    key = prov.CryptGenKey(0x660E, 1, 0)
    key.CryptDestroyKey()
    prov.CryptReleaseContext(0)


kept = []


def test_leaks():
    prov = context()
    kept.append(prov.CryptGenKey(0x660E, 1, 0))
    prov.CryptReleaseContext(0)


def test_lost():
    context()


def test_swallows():
    prov = context()
    prov.CryptReleaseContext(0)
    try:
        prov.CryptReleaseContext(0)
    except Exception:
        pass


def test_behind():
    prov = context()
    prov.CryptReleaseContext(0)
"""


def test_pytest_plugin(windows: Any, tmp_path: Path) -> None:
    """The plugin of the installed wheel fails exactly the tests that leak genuine pywin32 handles.

    What a destructor has released is reported as information and fails nothing.
    """
    (tmp_path / "test_suite.py").write_text(SUITE, encoding="utf-8")
    done = run(
        windows,
        tmp_path,
        *("-m", "pytest", "-v", "--csptrace", "-p", "no:cacheprovider"),
        *("--csptrace-sarif", "found.sarif", "--csptrace-log", "logs"),
        "--csptrace-require",
    )
    bad = re.findall(r"^test_suite\.py::(\w+) (LEAKED|MISUSED)", done.stdout, re.MULTILINE)
    (sarif_run,) = json.loads((tmp_path / "found.sarif").read_text("utf-8"))["runs"]
    uris = {
        result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        for result in sarif_run["results"]
    }

    assert bad == [("test_leaks", "LEAKED"), ("test_swallows", "MISUSED")], done.stdout
    assert "self-test passed" in done.stdout
    assert "5 passed, 1 leaked, 1 misused" in done.stdout
    assert "lost: HCRYPTPROV" in done.stdout
    assert uris == {"test_suite.py"}
    assert list((tmp_path / "logs").glob("*.jsonl"))
    assert done.returncode == 1
