"""Where a debugger stops, and what tracebacks show: the program, not the tracer."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING

import pytest

import csptrace

if TYPE_CHECKING:
    from conftest import Suite

OWN = os.path.dirname(csptrace.__file__)
CONFTEST = """
import pytest
from csp import context, release
@pytest.fixture
def fails(): raise ValueError("in a fixture")
@pytest.fixture(scope="module")
def fails_widely(): raise ValueError("in a wide fixture")
@pytest.fixture
def fails_later():
    yield
    raise ValueError("in a teardown")
@pytest.fixture
def misuses():
    prov = context()
    release(prov)
    release(prov)
"""
TESTS = """
def test_fails(): assert False
def test_misuses():
    prov = context()
    release(prov)
    release(prov)
def test_uses():
    from ctypes import create_string_buffer
    prov = context()
    release(prov)
    csp.advapi32.CryptGenRandom(prov, 1, create_string_buffer(1))
def test_object():
    from csptrace.softcsp import win32crypt
    prov = win32crypt.CryptAcquireContext(None, None, 24, 0xF0000000)
    prov.CryptReleaseContext()
    prov.CryptReleaseContext()
def test_setup(fails): pass
def test_wide_setup(fails_widely): pass
def test_teardown(fails_later): pass
def test_setup_misuses(misuses): pass
def test_expects_in_vain(csptrace):
    with csptrace.expect("double-release"): pass
def test_asserts(csptrace):
    prov = context()
    try: csptrace.assert_no_leaks()
    finally: release(prov)
"""
STOPS = {
    "test_fails": "test_it.py",
    "test_misuses": "csp.py",
    "test_uses": "test_it.py",
    "test_object": "test_it.py",
    "test_setup": "conftest.py",
    "test_wide_setup": "conftest.py",
    "test_teardown": "conftest.py",
    "test_setup_misuses": "csp.py",
    "test_expects_in_vain": "test_it.py",
    "test_asserts": "test_it.py",
}


def _debugged(suite: Suite, *options: str) -> list[str]:
    """Return the files and functions in which the debugger has stopped."""
    found = suite.pytester.run(
        *(sys.executable, "-m", "pytest", "--csptrace", "--pdb", "-p", "no:randomly"),
        *("-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:rerunfailures", *options),
        stdin=b"continue\n" * 40,
        timeout=240,
    )
    return [
        f"{os.path.relpath(match[1], suite.path)} {match[2]}"
        for line in found.outlines
        if (match := re.match(r"> (.+)\(\d+\)(\w+)\(", line))
    ]


def test_a_debugger_stops_in_the_program(suite: Suite) -> None:
    """For each failure it stops once, where the program has raised or made the wrong call."""
    pytest.importorskip("cryptography")
    suite.write(conftest=CONFTEST, test_it=TESTS)
    stops = _debugged(suite)

    assert [stop.split()[0] for stop in stops] == list(STOPS.values())
    assert stops[1] == stops[7] == "csp.py release"
    assert stops[8] == "test_it.py test_expects_in_vain"


def test_a_debugger_does_not_stop_for_a_leak(suite: Suite) -> None:
    """When it is known there is nothing left to look at, in the test or its fixtures."""
    suite.write(
        test_it="""
        class Hoarder:
            def __init__(self): self.handle = context()
            def __del__(self): pass
        @pytest.fixture
        def value(): return Hoarder()
        def test_a(): context()
        def test_b(): misuse()
        def test_c(value): pass
        def test_d():
            prov = context()
            key(prov)
            release(prov)
        """
    )

    assert _debugged(suite) == []


@pytest.mark.parametrize("style", ["auto", "long", "short", "line"])
def test_tracebacks_do_not_show_the_tracer(suite: Suite, style: str) -> None:
    """Whatever fails, no style but that of the interpreter itself shows a frame of csptrace."""
    pytest.importorskip("cryptography")
    suite.write(conftest=CONFTEST, test_it=TESTS)
    run = suite.spawn(f"--tb={style}")

    assert run.counts == {"failed": 6, "errors": 4, "passed": 1}
    assert OWN not in run.out
    assert "entries are hidden" not in run.out


def test_the_whole_traceback_for_who_asks(suite: Suite) -> None:
    """--full-trace hides nothing, of pytest as of csptrace."""
    suite.write(test_it="def test_it(): release(prov := context()), release(prov)")
    run = suite.run("--full-trace")

    assert os.path.join(OWN, "recording", "recorder.py") in run.out
