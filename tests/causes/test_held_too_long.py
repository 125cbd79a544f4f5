"""Handles that are held too long: reported once, with a follow-up, by a thread only if asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from ctypes import byref, c_size_t
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import csptrace
from csptrace.causes.exit_monitor import unavailable
from csptrace.findings.finding import Pattern
from csptrace.findings.overdue import overdue
from csptrace.graph.exits import Exit
from csptrace.recording.overdue import _Periodic
from csptrace.softcsp import advapi32

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from csptrace import Tracer

ROOT = Path(csptrace.__file__).parents[1]
SECOND = 10**9


def context() -> c_size_t:
    """Return a new context."""
    h = c_size_t()
    assert advapi32.CryptAcquireContextW(byref(h), None, None, 24, 0xF0000000)
    return h


def until_reported(tracer: Tracer, count: int) -> None:
    """Wait, without a call of the provider, until so many are reported as held too long."""
    pause = threading.Event()
    for _ in range(6000):
        if tracer.reporter.codes["held-too-long"] >= count:
            return
        pause.wait(0.01)
    pytest.fail("not reported within a minute")


def has_lookouts(count: int) -> bool:
    """Wait until so many threads of csptrace's own run: they start and end beside the others."""
    pause = threading.Event()
    for _ in range(6000):
        if _lookouts() == count:
            return True
        pause.wait(0.01)
    return False


def _lookouts() -> int:
    found = 0
    for frame in sys._current_frames().values():
        at: FrameType | None = frame
        while at is not None and at.f_code is not _Periodic._run.__code__:
            at = at.f_back
        found += at is not None
    return found


def events(tracer: Tracer, name: str) -> list[dict[str, Any]]:
    """Return the events of one sort in the log."""
    with open(str(tracer.log_path), encoding="utf-8") as log:
        found = [json.loads(line) for line in log]
    return [event for event in found if event["event"] == f"csptrace.{name}"]


def test_it_is_reported_once_and_followed_up(trace: Callable[..., Tracer], tmp_path: Path) -> None:
    """One finding with stack and last use, no call needed; one event when it is released."""
    tracer = trace(held_too_long=0.05, log=tmp_path, level="full")
    prov = context()
    buffer = (c_size_t * 2)()
    assert advapi32.CryptGenRandom(prov, 8, buffer)
    until_reported(tracer, 1)
    threading.Event().wait(0.2)  # time in which it could be reported again
    advapi32.CryptReleaseContext(prov, 0)
    csptrace.stop()

    (finding,) = events(tracer, "finding")
    assert (finding["code"], finding["severity"]) == ("held-too-long", "warning")
    assert finding["acquired_by"] == "CryptAcquireContextW"
    assert finding["last_use_by"] == "CryptGenRandom"
    assert finding["acquired_stack"]
    assert finding["age_ns"] >= 0.05 * SECOND
    (unheld,) = events(tracer, "handle_unheld")
    assert unheld["hid"] == finding["hid"]
    assert unheld["age_ns"] > finding["age_ns"]
    assert unheld["call"] == "CryptReleaseContext"


@pytest.mark.skipif(bool(unavailable()), reason=unavailable() or "available")
def test_it_says_where_the_function_stands(trace: Callable[..., Tracer]) -> None:
    """The function that has the handle, in whichever thread, is told with its line."""
    tracer = trace(held_too_long=0.05)
    go, done = threading.Event(), threading.Event()

    def work() -> None:
        prov = context()
        done.set()
        go.wait(60)
        advapi32.CryptReleaseContext(prov, 0)

    thread = threading.Thread(target=work)
    thread.start()
    assert done.wait(60)
    until_reported(tracer, 1)
    go.set()
    thread.join(60)

    (finding,) = tracer.check()
    assert finding.cause is not None
    line = work.__code__.co_firstlineno + 3
    cause = finding.cause
    assert (cause.exit, cause.function, cause.at.line) == (Exit.RUNNING, work.__qualname__, line)
    assert finding.remedy.startswith("call CryptReleaseContext as soon as the handle is not")


def test_a_leak_is_still_a_leak_with_its_cause(trace: Callable[..., Tracer]) -> None:
    """What was held too long and leaks all the same has both findings."""
    tracer = trace(held_too_long=0.05)

    def forgets() -> None:
        h = context()
        until_reported(tracer, 1)
        h.value += 0

    forgets()
    csptrace.stop()

    held, leaked = tracer.findings
    assert (held.code.value, leaked.code.value) == ("held-too-long", "leaked-at-exit")
    if not unavailable():
        assert leaked.cause is not None
        assert leaked.cause.pattern is Pattern.NEVER_RELEASED


def test_without_the_setting_there_is_no_thread(trace: Callable[..., Tracer]) -> None:
    """Nothing of csptrace's own runs, and nothing is reported."""
    tracer = trace()
    prov = context()

    assert _lookouts() == 0
    advapi32.CryptReleaseContext(prov, 0)
    assert tracer.check() == ()


def test_the_thread_ends_with_tracing(trace: Callable[..., Tracer]) -> None:
    """stop() ends it; the program's `threading` does not know it."""
    known = threading.enumerate()
    trace(held_too_long=1000)
    assert has_lookouts(1)
    assert threading.enumerate() == known
    csptrace.stop()

    assert has_lookouts(0)


EXITING = """
import csptrace, ctypes, threading
from csptrace.softcsp import advapi32
csptrace.start(held_too_long={threshold}, log={log!r}, quiet=True, strict=True)
h = ctypes.c_size_t()
advapi32.CryptAcquireContextW(ctypes.byref(h), None, None, 24, 0xF0000000)
threading.Event().wait(0.2)
"""


def test_at_exit_it_is_reported_beside_the_leak(tmp_path: Path) -> None:
    """A program that ends is told of what it held too long, and ends at once."""
    subprocess.run(
        [sys.executable, "-c", EXITING.format(threshold=0.1, log=str(tmp_path))],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        timeout=60,
    )
    (file,) = tmp_path.glob("*.jsonl")
    found = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    codes = [event["code"] for event in found if event["event"] == "csptrace.finding"]

    assert codes == ["held-too-long", "leaked-at-exit"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_looks_out_for_itself(trace: Callable[..., Tracer]) -> None:
    """The child of a fork has a thread of its own and reports its own handles only."""
    tracer = trace(held_too_long=0.05)
    mine = context()
    child = os.fork()
    if not child:
        status = 1
        try:
            theirs = context()
            until_reported(tracer, 1)
            found = [finding.handle.value for finding in tracer.check()]
            status = 0 if found == [theirs.value] and has_lookouts(1) else 2
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    advapi32.CryptReleaseContext(mine, 0)


def test_only_handles_older_than_the_threshold_are_overdue(trace: Callable[..., Tracer]) -> None:
    """The boundary is the threshold itself, and the next look is when the next one reaches it."""
    tracer = trace()
    prov = context()
    (handle,) = tracer.graph.unreleased()
    assert handle.acquired is not None
    begun = handle.acquired.time

    assert overdue([handle], begun + 5, 5) == ([], 0)
    assert overdue([handle], begun + 6, 5) == ([handle], 5)
    assert overdue([handle], begun + 2, 5) == ([], 3)
    assert overdue([], 0, 5) == ([], 5)
    advapi32.CryptReleaseContext(prov, 0)
