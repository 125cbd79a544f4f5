"""The tracer as a whole: starting and stopping, scopes, snapshots, reactions, its own bugs."""

from __future__ import annotations

import asyncio
import functools
import gc
import os
import signal
import sys
import threading
from ctypes import byref, c_void_p
from typing import TYPE_CHECKING, Any

import pytest

import csptrace
from csptrace.errors import ActivationError, CspTraceError
from csptrace.findings.errors import LeakWarning, MisuseWarning
from csptrace.graph.handle import CallRecord, Handle
from csptrace.settings import Settings
from csptrace.softcsp import advapi32
from csptrace.stacks.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from csptrace import Tracer

CALG_SHA_256 = 0x800C
CALG_AES_128 = 0x660E


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


def codes(tracer: Tracer) -> list[str]:
    """Return the finding codes so far."""
    return [finding.code.value for finding in tracer.check()]


# --- starting and stopping ------------------------------------------------------------------------


def test_start_without_settings_returns_the_active_tracer(trace: Callable[..., Tracer]) -> None:
    """A program that calls start() under CSPTRACE=1 gets the tracer that is there."""
    tracer = trace()

    assert csptrace.start() is tracer
    assert csptrace.current() is tracer


def test_start_with_other_settings_is_refused(trace: Callable[..., Tracer]) -> None:
    """Two tracers at once are an error that says what to do."""
    trace()
    with pytest.raises(ActivationError, match=r"call csptrace\.stop"):
        csptrace.start(level="full")


def test_start_takes_settings_in_one_form_only() -> None:
    """A Settings object and single settings together are an error."""
    with pytest.raises(ActivationError, match="give either"):
        csptrace.start(Settings(), level="full")


def test_a_failed_start_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """If patching raises, nothing stays patched and no tracer is active."""
    import ctypes

    from csptrace.install import targets

    def broken(*_arguments: object) -> None:
        raise RuntimeError("broken")

    before = vars(ctypes.CDLL)["__getitem__"]
    monkeypatch.setattr(targets.Installation, "_note_bound", broken)
    with pytest.raises(RuntimeError, match="broken"):
        csptrace.start(quiet=True)

    assert csptrace.current() is None
    assert vars(ctypes.CDLL)["__getitem__"] is before


def test_stop_without_a_tracer_does_nothing() -> None:
    """Stopping what is not running returns no findings."""
    assert csptrace.stop() == []


def test_stop_returns_what_leaked(trace: Callable[..., Tracer]) -> None:
    """What is still owed is reported once, at the end."""
    tracer = trace()
    context()
    (finding,) = csptrace.stop()

    assert finding.code == "leaked-at-exit"
    assert tracer.stop() == []


def test_a_stopped_tracer_remembers_no_handle(trace: Callable[..., Tracer]) -> None:
    """Dead handles and the stacks of their calls are for late uses, which nobody sees any more."""

    def remembered() -> int:
        return sum(type(each) in (Handle, CallRecord, Stack) for each in gc.get_objects())

    gc.collect()
    before = remembered()
    tracer = trace()
    hProv = context()
    assert advapi32.CryptReleaseContext(hProv, 0)
    during = remembered()
    csptrace.stop()

    assert before < during
    assert remembered() == before
    assert not tracer.active


def test_functions_kept_from_a_stopped_tracer_pass_through(trace: Callable[..., Tracer]) -> None:
    """A program may go on using a traced function after tracing has stopped."""
    trace()
    acquire, generate = advapi32.CryptAcquireContextW, advapi32.CryptGenRandom
    release = advapi32.CryptReleaseContext
    csptrace.stop()
    hProv = c_void_p()

    assert acquire(byref(hProv), None, None, 24, 0xF0000000)
    assert generate(hProv, 0, None)
    assert release(hProv, 0)
    assert not release(hProv, 0)


def test_public_names_resolve() -> None:
    """Every name of `csptrace.__all__` is there, and nothing else is."""
    for name in csptrace.__all__:
        assert getattr(csptrace, name) is not None
    assert set(csptrace.__all__) <= set(dir(csptrace))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = csptrace.nothing  # type: ignore[attr-defined]


# --- tracing() --------------------------------------------------------------------------------


def test_tracing_judges_its_block() -> None:
    """What the block leaves behind is leaked when it ends."""
    with csptrace.tracing(quiet=True) as tracer:
        context()

    assert codes(tracer) == ["leaked-at-exit"]
    assert csptrace.current() is None


def test_tracing_inside_a_traced_process_is_a_scope(trace: Callable[..., Tracer]) -> None:
    """Without settings it judges the block by itself and lets the tracer go on."""
    outer = trace()
    before = context()
    with csptrace.tracing() as inner:
        context()

    assert inner is outer
    assert [(f.code.value, f.scope) for f in outer.check()] == [("leaked-at-exit", "tracing")]
    assert advapi32.CryptReleaseContext(before, 0)
    assert csptrace.stop() == []


def test_tracing_raises_leaks_but_not_over_the_programs_exception() -> None:
    """With on_leak=raise a clean block raises its leak, a failing one its own exception."""
    with (
        pytest.raises(csptrace.HandleLeak, match="HCRYPTPROV"),
        csptrace.tracing(quiet=True, on_leak="raise"),
    ):
        context()
    with pytest.raises(KeyError), csptrace.tracing(quiet=True, on_leak="raise") as tracer:  # noqa: PT012
        context()
        raise KeyError

    assert codes(tracer) == ["leaked-at-exit"]


# --- scopes and snapshots -----------------------------------------------------------------------


def test_a_scope_reports_what_was_acquired_in_it_and_only_once(
    trace: Callable[..., Tracer],
) -> None:
    """What was there before is not its business, and the process does not report it again."""
    tracer = trace()
    outside = context()
    with tracer.scope("first"):
        inside = new_hash(outside)
    advapi32.CryptDestroyHash(inside)
    advapi32.CryptReleaseContext(outside, 0)

    assert [(f.code.value, f.handle.kind, f.scope) for f in tracer.check()] == [
        ("leaked-at-exit", "HCRYPTHASH", "first")
    ]
    assert csptrace.stop() == []


def test_scopes_follow_asyncio_tasks(trace: Callable[..., Tracer]) -> None:
    """Tasks that run interleaved are judged each by itself, and findings name the task."""
    tracer = trace()

    async def work(name: str, leak: bool, ready: asyncio.Event, go: asyncio.Event) -> None:
        with tracer.scope(name):
            hProv = context()
            ready.set()
            await go.wait()
            if not leak:
                advapi32.CryptReleaseContext(hProv, 0)

    async def main() -> None:
        events = [asyncio.Event() for _ in range(4)]
        clean = asyncio.create_task(work("clean", False, events[0], events[1]), name="a")
        leaky = asyncio.create_task(work("leaky", True, events[2], events[3]), name="b")
        await events[0].wait()
        await events[2].wait()
        events[1].set()
        events[3].set()
        await asyncio.gather(clean, leaky)

    asyncio.run(main())
    (finding,) = tracer.check()

    assert finding.scope == "leaky"
    assert finding.acquired is not None
    assert finding.acquired.task == "b"


def test_scopes_follow_threads(trace: Callable[..., Tracer]) -> None:
    """A scope in one thread has nothing to do with what another thread acquires."""
    tracer = trace()
    with tracer.scope("main"):
        thread = threading.Thread(target=context, name="elsewhere")
        thread.start()
        thread.join()

    assert codes(tracer) == []
    (finding,) = csptrace.stop()
    assert finding.acquired is not None
    assert finding.acquired.thread.name == "elsewhere"


def test_a_scope_raises_its_leak(trace: Callable[..., Tracer]) -> None:
    """With on_leak=raise the end of a scope raises, unless the block is failing already."""
    tracer = trace(on_leak="raise")
    with pytest.raises(csptrace.HandleLeak), tracer.scope("leaky"):
        context()
    with pytest.raises(KeyError), tracer.scope("failing"):  # noqa: PT012
        context()
        raise KeyError

    assert codes(tracer) == ["leaked-at-exit"] * 2


def test_snapshot_diff(trace: Callable[..., Tracer]) -> None:
    """The difference is what has been acquired since and is still there."""
    tracer = trace()
    hProv = context()
    snapshot = tracer.snapshot()
    gone, left = new_hash(hProv), new_hash(hProv)
    advapi32.CryptDestroyHash(gone)

    assert [handle.value for handle in snapshot.diff()] == [left.value]
    assert [handle.value for handle in tracer.live()] == [hProv.value, left.value]
    advapi32.CryptDestroyHash(left)
    advapi32.CryptReleaseContext(hProv, 0)


# --- reactions and levels -----------------------------------------------------------------------


def test_full_level_tells_the_last_use(trace: Callable[..., Tracer]) -> None:
    """At level full a leak names the last call that used the handle, and how often it was."""
    tracer = trace(level="full")
    hProv = context()
    hHash = new_hash(hProv)
    for _ in range(3):
        advapi32.CryptHashData(hHash, b"x", 1, 0)
    advapi32.CryptReleaseContext(hProv, 0)
    (finding,) = tracer.check()

    assert finding.last_use is not None
    assert finding.last_use.site.call == "CryptHashData"
    assert finding.uses == 3
    assert "last used by CryptHashData" in tracer.explain(finding)


def test_count_level_has_no_stacks(trace: Callable[..., Tracer]) -> None:
    """At level count a leak is found and counted, but not located."""
    tracer = trace(level="count")
    hProv = context()
    new_hash(hProv)
    advapi32.CryptReleaseContext(hProv, 0)
    (finding,) = tracer.check()

    assert finding.code == "leaked-at-release"
    assert finding.acquired is not None
    assert finding.acquired.stack is None
    assert "acquired by CryptCreateHash" in tracer.explain(finding)


def test_warnings_point_at_the_program(trace: Callable[..., Tracer]) -> None:
    """With `warn` a misuse and a leak are warnings, issued at the program's own line."""
    trace(on_misuse="warn", on_leak="warn")
    hProv = context()
    hHash = new_hash(hProv)
    with pytest.warns(LeakWarning, match="leaked-at-release") as leaks:
        advapi32.CryptReleaseContext(hProv, 0)
    with pytest.warns(MisuseWarning, match="use-after-invalidation") as misuses:
        advapi32.CryptHashData(hHash, b"x", 1, 0)

    assert [warning.filename for warning in (*leaks, *misuses)] == [__file__] * 2


def test_include_and_exclude(trace: Callable[..., Tracer]) -> None:
    """Findings without code of the wanted packages are not reported."""
    tracer = trace(include=["somewhere.else"])
    context()
    assert csptrace.stop() == []
    assert codes(tracer) == []

    tracer = csptrace.start(quiet=True, exclude=["test_tracer"])
    context()
    assert csptrace.stop() == []
    assert codes(tracer) == []

    tracer = csptrace.start(quiet=True, include=["test_tracer"])
    context()
    csptrace.stop()
    assert codes(tracer) == ["leaked-at-exit"]


def test_a_callback_in_the_middle_of_a_call_is_traced(trace: Callable[..., Tracer]) -> None:
    """A signal handler that calls the provider while a call is being traced does not dead-lock."""
    if sys.platform == "win32":
        pytest.skip("Windows has no interval timer")
    tracer = trace()
    handled = []

    def handler(_signal: int, _frame: object) -> None:
        hProv = context()
        advapi32.CryptReleaseContext(hProv, 0)
        handled.append(1)

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        while len(handled) < 50:
            hProv = context()
            advapi32.CryptDestroyHash(new_hash(hProv))
            advapi32.CryptReleaseContext(hProv, 0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

    assert codes(tracer) == []
    assert tracer.live() == ()


# --- its own bugs -----------------------------------------------------------------------------


def test_a_bug_of_the_tracer_is_said_once_and_the_program_goes_on(
    trace: Callable[..., Tracer],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An internal error never reaches the program; its text may quote data and is left out."""
    tracer = trace(strict=False, quiet=False)

    # Builtins, because what raises from code that is not csptrace's is the program's own.
    monkeypatch.setattr(tracer.graph, "acquire", functools.partial(int, "a secret"))
    monkeypatch.setattr(tracer.graph, "begin_release", functools.partial(int, "a secret"))
    for _ in range(3):
        hProv = context()
        assert advapi32.CryptReleaseContext(hProv, 0)
    error = capsys.readouterr().err

    assert error.count("internal error in ctypes.CryptAcquireContextW") == 1
    assert error.count("internal error in ctypes.CryptReleaseContext") == 1
    assert "TypeError" in error
    assert "a secret" not in error


class Alarm(Exception):
    """The program's own exception."""


@pytest.mark.parametrize(
    ("part", "step"),
    [("_queries", "ask_about"), ("recorder", "unreleased"), ("_terminal", "ended"), ("", "stop")],
)
def test_a_signal_in_the_middle_of_stopping(
    part: str,
    step: str,
    trace: Callable[..., Tracer],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Its exception comes out, and nothing stays active, patched or open that cannot be stopped."""
    tracer = trace(log=tmp_path)
    advapi32.CryptReleaseContext(context(), 0)

    def strike(*_arguments: object, **_keywords: object) -> Any:
        raise Alarm

    monkeypatch.setattr(type(getattr(tracer, part) if part else tracer), step, strike)
    with pytest.raises(Alarm):
        csptrace.stop()
    monkeypatch.undo()
    if step == "stop":
        assert csptrace.current() is tracer
        csptrace.stop()

    assert csptrace.current() is None
    assert not tracer.active
    assert len(tracer.installation.journal) == 0
    assert tracer.exits is None or not tracer.exits.watching
    assert tracer._log is not None
    log: Any = tracer._log.log
    assert log._file == -1


def test_a_signal_while_patches_are_taken_back(
    trace: Callable[..., Tracer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The patches that are left are taken back all the same."""
    tracer = trace()
    undone: list[str] = []

    def strike() -> None:
        if not undone:
            undone.append("cut short")
            raise KeyboardInterrupt
        undone.append("done")

    tracer.installation.journal.add("first", lambda: undone.append("first"))
    tracer.installation.journal.add("struck", strike)
    with pytest.raises(KeyboardInterrupt):
        csptrace.stop()

    assert undone == ["cut short", "done", "first"]
    assert len(tracer.installation.journal) == 0


def test_strict_lets_its_bugs_out(
    trace: Callable[..., Tracer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the setting strict an internal error is raised, for the tests of the tracer."""
    tracer = trace()

    def broken(*_arguments: object, **_keywords: object) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(tracer.graph, "acquire", broken)
    with pytest.raises(ZeroDivisionError):
        context()


# --- fork ---------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_owes_nothing_for_its_parents_handles(trace: Callable[..., Tracer]) -> None:
    """In the child of a fork a parent's handle is no leak, but its misuse is found."""
    tracer = trace(on_misuse="log")
    hProv, dead = context(), context()
    advapi32.CryptReleaseContext(dead, 0)
    pid = os.fork()
    if not pid:
        status = 1
        try:
            advapi32.CryptGenRandom(dead, 0, None)
            advapi32.CryptGenRandom(hProv, 0, None)
            (finding,) = tracer.check()
            ours = context()
            if finding.inherited and finding.code == "use-after-release":
                status = 0
            if [handle.value for handle in tracer.live()] != [ours.value]:
                status = 2
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    assert codes(tracer) == []
    advapi32.CryptReleaseContext(hProv, 0)


def test_errors_are_one_family() -> None:
    """Whoever catches CspTraceError catches everything that csptrace raises."""
    for name in ("HandleError", "HandleLeak", "SettingsError", "UseAfterRelease"):
        assert issubclass(getattr(csptrace, name), CspTraceError)
