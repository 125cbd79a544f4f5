"""Very many leaks in one call: all are counted, and other threads go on meanwhile."""

from __future__ import annotations

import functools
import gc
import itertools
import json
import os
import signal
import sys
import threading
import time
import weakref
from collections import Counter
from ctypes import byref, c_void_p
from typing import TYPE_CHECKING, Any

import pytest

import csptrace
from csptrace.clocks import CLOCKS
from csptrace.findings.errors import HandleLeak, UseAfterInvalidation
from csptrace.findings.judgement import MOST_ALIKE
from csptrace.softcsp import advapi32, win32crypt

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from csptrace import Tracer

CALG_SHA_256 = 0x800C
MANY = 700


def context() -> c_void_p:
    """Return a new context."""
    hProv = c_void_p()
    assert advapi32.CryptAcquireContextW(byref(hProv), None, None, 24, 0xF0000000)
    return hProv


def new_hash(hProv: c_void_p) -> c_void_p:
    """Return a new hash."""
    hHash = c_void_p()
    assert advapi32.CryptCreateHash(hProv, CALG_SHA_256, 0, 0, byref(hHash))
    return hHash


def hashes(hProv: c_void_p, count: int = MANY) -> list[c_void_p]:
    """Return so many hashes, acquired in one place."""
    return [new_hash(hProv) for _ in range(count)]


def events(folder: Path) -> list[dict[str, Any]]:
    """Return the events of every log in a folder, in the order of each."""
    return [
        json.loads(line)
        for path in sorted(folder.glob("*.jsonl"))
        for line in path.read_bytes().splitlines()
    ]


def total(found: list[dict[str, Any]]) -> int:
    """Return how many findings these events stand for."""
    return sum(event.get("times", 1) for event in found)


def test_all_leaks_of_a_release_are_counted(trace: Callable[..., Tracer], tmp_path: Path) -> None:
    """Some are described; each has its event, and every total is exact."""
    tracer = trace(log=tmp_path / "logs")
    prov = context()
    hashes(prov)
    advapi32.CryptReleaseContext(prov, 0)

    found = tracer.check()
    assert len(found) == MOST_ALIKE
    assert sum(finding.times for finding in found) == MANY
    assert dict(tracer.reporter.codes) == {"leaked-at-release": MANY}
    assert tracer.reporter.counts.total() == tracer.reporter.serious == MANY
    csptrace.stop()
    written = events(tmp_path / "logs")
    named = [event for event in written if event["event"] == "csptrace.finding"]
    assert len(named) == MOST_ALIKE
    assert total(named) == MANY
    invalid = [event for event in written if event["event"] == "csptrace.handle_invalidated"]
    assert len({event["hid"] for event in invalid}) == len(invalid) == MANY
    assert written[-1]["findings"] == {"leaked-at-release": MANY}
    assert [event["seq"] for event in written] == list(range(1, len(written) + 1))


def test_each_stale_handle_is_refused_afterwards(trace: Callable[..., Tracer]) -> None:
    """Also those that are only counted, and those beyond the number of remembered handles."""
    trace(tombstones=50, causes=False)
    prov = context()
    stale = hashes(prov)
    advapi32.CryptReleaseContext(prov, 0)

    for handle in stale:
        with pytest.raises(UseAfterInvalidation):
            advapi32.CryptHashData(handle, b"", 0, 0)


def test_no_more_is_remembered_for_long_than_is_wanted(trace: Callable[..., Tracer]) -> None:
    """What ends later takes the place of a release that was larger than the limit."""
    tracer = trace(tombstones=50, causes=False)
    prov = context()
    hashes(prov)
    advapi32.CryptReleaseContext(prov, 0)
    other = context()
    for _ in range(MANY):
        advapi32.CryptDestroyHash(new_hash(other))

    assert len(tracer.graph._tombstones) == 50
    advapi32.CryptReleaseContext(other, 0)


def test_an_error_for_leaks_counts_all_of_them(trace: Callable[..., Tracer]) -> None:
    """`on_leak=raise` raises one error, whose text has the number."""
    trace(on_leak="raise")
    prov = context()
    hashes(prov)
    with pytest.raises(HandleLeak, match=rf"^{MANY} handles were leaked\n") as raised:
        advapi32.CryptReleaseContext(prov, 0)

    assert sum(finding.times for finding in raised.value.findings) == MANY


def test_a_baseline_accepts_some_of_what_one_finding_stands_for(
    trace: Callable[..., Tracer], tmp_path: Path
) -> None:
    """The exit status depends on the rest."""

    def leaky(**settings: Any) -> Tracer:
        tracer = trace(**settings)
        prov = context()
        hashes(prov)
        advapi32.CryptReleaseContext(prov, 0)
        csptrace.stop()
        return tracer

    (fingerprint,) = leaky().reporter.counts
    file = tmp_path / "baseline.toml"
    for count in (50, MANY - 50, MANY):
        table = f'[[finding]]\nfingerprint = "{fingerprint}"\ncount = {count}\n'
        file.write_text(f"version = 1\n{table}")
        assert leaky(baseline=file).reporter.serious == MANY - count


def test_what_is_left_at_exit_and_in_a_scope_is_counted(
    trace: Callable[..., Tracer], tmp_path: Path
) -> None:
    """The same bound holds for the end of a scope and for that of the program."""
    tracer = trace(log=tmp_path / "logs")
    prov = context()
    with tracer.scope("request"):
        hashes(prov)
    assert len(tracer.check()) == MOST_ALIKE
    assert tracer.reporter.codes["leaked-at-exit"] == MANY
    hashes(prov, MANY + 100)
    left = csptrace.stop()

    assert len(left) == MOST_ALIKE + 1
    assert sum(finding.times for finding in left) == MANY + 100 + 1
    written = events(tmp_path / "logs")
    (ended,) = (event for event in written if event["event"] == "csptrace.scope_ended")
    assert ended["leaked"] == MANY
    assert written[-1]["findings"] == {"leaked-at-exit": 2 * MANY + 101}


def test_a_sweep_counts_what_all_that_it_ends_has_leaked(trace: Callable[..., Tracer]) -> None:
    """One call may end many parents, each of which has leaked something."""
    from csptrace.apis.cryptoapi.spec import PROV
    from csptrace.graph.sites import CallSite

    tracer = trace()
    for prov in [context() for _ in range(300)]:
        new_hash(prov)
    site, frame = CallSite("EndAll", "cryptoapi", "advapi32"), sys._getframe()
    ended = tracer.recorder.begin_sweep(PROV, None, site, frame)
    tracer.recorder.settle_sweep(ended, site, frame, released=True)

    found = tracer.check()
    assert len(found) == MOST_ALIKE
    assert sum(finding.times for finding in found) == 300
    assert len({finding.culprit.value for finding in found if finding.culprit}) == MOST_ALIKE
    assert tracer.graph.live == 0


def test_objects_that_are_collected_together_are_counted(trace: Callable[..., Tracer]) -> None:
    """The garbage collector may take very many at once."""
    tracer = trace()
    prov = win32crypt.CryptAcquireContext(None, None, 24, 0xF0000000)
    kept = [prov.CryptCreateHash(CALG_SHA_256, None, 0) for _ in range(300)]
    kept.clear()
    gc.collect()

    found = [finding for finding in tracer.check() if finding.code.value == "lost"]
    assert len(found) == MOST_ALIKE
    assert sum(finding.times for finding in found) == tracer.reporter.codes["lost"] == 300
    prov.CryptReleaseContext(0)


def test_what_is_held_too_long_is_counted(
    trace: Callable[..., Tracer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each handle is reported once, however many threads look, and each release is noted."""
    tracer = trace(log=tmp_path / "logs", held_too_long=3600)
    prov = context()
    held = hashes(prov, 300)
    now = time.monotonic_ns() + 7200 * 10**9
    monkeypatch.setattr("csptrace.recording.overdue.CLOCKS", CLOCKS._replace(monotonic=lambda: now))
    late, _ = tracer.overdue.overdue(tracer.graph.known())
    tracer.overdue.look()
    with tracer.graph.lock:  # another thread has looked at the same time
        tracer.overdue.report(late)
    monkeypatch.undo()
    for handle in held:
        advapi32.CryptDestroyHash(handle)
    advapi32.CryptReleaseContext(prov, 0)
    csptrace.stop()

    written = events(tmp_path / "logs")
    late = [event for event in written if event.get("code") == "held-too-long"]
    assert len(late) == MOST_ALIKE + 1
    assert total(late) == 301
    unheld = [event for event in written if event["event"] == "csptrace.handle_unheld"]
    assert len(unheld) == 301


# --- other threads --------------------------------------------------------------------------------


class Watched:
    """A lock that counts what is done while it is held.

    Args:
        lock: the lock.
    """

    def __init__(self, lock: Any) -> None:
        self._lock = lock
        self._depth = 0
        self.done: Counter[str] = Counter()
        self.most: Counter[str] = Counter()

    def __enter__(self) -> bool:
        """Take it."""
        entered: bool = self._lock.__enter__()
        self._depth += 1
        return entered

    def __exit__(self, *about: object) -> None:
        """Let go of it."""
        self._depth -= 1
        if not self._depth:
            self.most |= self.done
            self.done.clear()
        self._lock.__exit__(*about)


def test_other_threads_need_not_wait_for_all_of_it(
    trace: Callable[..., Tracer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the lock is held, a bounded number of events is written and of findings made."""
    tracer = trace(log=tmp_path)
    prov = context()
    hashes(prov, 5 * MANY)
    watched = Watched(tracer.graph.lock)
    monkeypatch.setattr(tracer.graph, "lock", watched)
    record = type(tracer._log.log).record

    def counted(self: Any, event: str, fields: dict[str, Any]) -> None:
        watched.done[event] += 1
        record(self, event, fields)

    monkeypatch.setattr(type(tracer._log.log), "record", counted)
    advapi32.CryptReleaseContext(prov, 0)
    monkeypatch.undo()

    assert watched.most["csptrace.handle_invalidated"] <= 256
    assert watched.most["csptrace.finding"] <= 16
    assert tracer.reporter.codes.total() == 5 * MANY


@pytest.fixture
def halfway(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Let a release that tells of its leaks step by step stop behind the first step.

    Returns:
        What is set when it has stopped, and what lets it go on.
    """
    stopped, go_on = threading.Event(), threading.Event()

    def pause(_seconds: float) -> None:
        stopped.set()
        assert go_on.wait(60)

    monkeypatch.setattr("csptrace.recording.publisher._sleep", pause)
    return stopped, go_on


@pytest.mark.parametrize("ask", ["check", "stop"])
def test_what_is_not_told_yet_is_told_when_somebody_asks(
    trace: Callable[..., Tracer],
    tmp_path: Path,
    halfway: tuple[threading.Event, threading.Event],
    ask: str,
) -> None:
    """Another thread that asks or stops in the middle of a release gets and writes everything."""
    tracer = trace(log=tmp_path)
    prov = context()
    hashes(prov)
    thread = threading.Thread(target=advapi32.CryptReleaseContext, args=(prov, 0))
    thread.start()
    stopped, go_on = halfway
    assert stopped.wait(60)
    try:
        if ask == "check":
            assert sum(finding.times for finding in tracer.check()) == MANY
        else:
            csptrace.stop()
    finally:
        go_on.set()
        thread.join()

    assert sum(finding.times for finding in tracer.findings) == MANY
    if csptrace.current() is not None:
        csptrace.stop()
    written = events(tmp_path)
    assert total([event for event in written if event["event"] == "csptrace.finding"]) == MANY
    assert written[-1]["event"] == "csptrace.run_ended"
    assert written[-1]["findings"] == {"leaked-at-release": MANY}


def test_other_threads_make_calls_in_the_middle_of_it(
    trace: Callable[..., Tracer], halfway: tuple[threading.Event, threading.Event]
) -> None:
    """They acquire, release and are refused stale handles before it is all told."""
    trace()
    prov, other = context(), context()
    stale = hashes(prov)
    thread = threading.Thread(target=advapi32.CryptReleaseContext, args=(prov, 0))
    thread.start()
    stopped, go_on = halfway
    assert stopped.wait(60)
    try:
        handle = new_hash(other)
        assert advapi32.CryptDestroyHash(handle)
        dead = [value for value in stale if value.value != handle.value]
        with pytest.raises(UseAfterInvalidation):
            advapi32.CryptHashData(dead[-1], b"", 0, 0)
        assert advapi32.CryptReleaseContext(other, 0)
    finally:
        go_on.set()
        thread.join()


class Held:
    """What the program has in a variable of a function that releases."""


def test_ctrl_c_in_the_middle_of_it_keeps_no_frame_and_loses_no_leak(
    trace: Callable[..., Tracer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the function had goes away with it, and whoever asks next gets all that has leaked."""
    tracer = trace()
    prov = context()
    hashes(prov)
    pauses = itertools.count(1)

    def pause(_seconds: float) -> None:
        if next(pauses) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("csptrace.recording.publisher._sleep", pause)

    def release() -> weakref.ref[Held]:
        held = Held()
        with pytest.raises(KeyboardInterrupt):
            advapi32.CryptReleaseContext(prov, 0)
        return weakref.ref(held)

    gc.disable()
    try:
        assert release()() is None
    finally:
        gc.enable()
    assert sum(finding.times for finding in tracer.check()) == MANY
    assert tracer._publisher.aftermaths == []


@pytest.mark.parametrize("count", [1, 3, MANY])
@pytest.mark.parametrize(
    "broken",
    [
        "csptrace.findings.judgement.remedy",
        "csptrace.findings.judgement.fingerprint",
        "csptrace.findings.judgement.Leaks._chosen",
        "csptrace.stacks.ownership.Ownership.wanted",
        "csptrace.events.records.finding_event",
        "csptrace.events.records.invalidated",
        "csptrace.causes.exit_monitor.ExitMonitor.observe",
    ],
)
def test_a_bug_in_telling_loses_no_leak(
    broken: str,
    count: int,
    trace: Callable[..., Tracer],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What could not be described or written is counted all the same, and nothing is kept."""
    tracer = trace(log=tmp_path, strict=False)
    prov = context()
    hashes(prov, count)
    # A builtin, because what raises from code that is not csptrace's is the program's own.
    monkeypatch.setattr(broken, functools.partial(int, "no number"))
    assert advapi32.CryptReleaseContext(prov, 0)
    monkeypatch.undo()

    assert dict(tracer.reporter.codes) == {"leaked-at-release": count}
    assert tracer.reporter.counts.total() == count
    assert tracer._publisher.aftermaths == []
    assert sum(finding.times for finding in tracer.check()) == count


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_in_the_middle_of_it_leaves_it_to_the_parent(
    trace: Callable[..., Tracer],
    tmp_path: Path,
    halfway: tuple[threading.Event, threading.Event],
) -> None:
    """The child tells nothing of it, and the parent all."""
    tracer = trace(log=tmp_path)
    prov = context()
    hashes(prov)
    thread = threading.Thread(target=advapi32.CryptReleaseContext, args=(prov, 0))
    thread.start()
    stopped, go_on = halfway
    assert stopped.wait(60)
    try:
        child = os.fork()
        if not child:
            signal.alarm(60)
            status = 1
            try:
                status = len(tracer.check())
                advapi32.CryptReleaseContext(context(), 0)  # so that there is something to log
                csptrace.stop()
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
    finally:
        go_on.set()
        thread.join()

    csptrace.stop()
    told = ("csptrace.finding", "csptrace.handle_invalidated")
    written = events(tmp_path)
    assert {event["pid"] for event in written} == {os.getpid(), child}
    assert {event["pid"] for event in written if event["event"] in told} == {os.getpid()}
    found = [event for event in written if event["event"] == "csptrace.finding"]
    assert total(found) == MANY


def test_a_look_at_what_is_held_waits_for_nobody(
    trace: Callable[..., Tracer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is alive is not gone through while the lock is held."""
    tracer = trace(held_too_long=3600)
    watched = Watched(tracer.graph.lock)
    monkeypatch.setattr(tracer.graph, "lock", watched)
    asked = []
    monkeypatch.setattr(
        "csptrace.recording.overdue.overdue",
        lambda handles, *_: asked.append((watched._depth, list(handles))) or ([], 10**9),
    )
    prov = context()
    tracer.overdue.look()
    monkeypatch.undo()

    assert [depth for depth, _ in asked] == [0]
    assert [handle.value for handle in asked[0][1]] == [prov.value]
    advapi32.CryptReleaseContext(prov, 0)
