"""The id of `sys.monitoring`: whose it is, when, and what other tools see of it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import csptrace
from csptrace.causes.exit_monitor import unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from csptrace import Tracer

ROOT = Path(csptrace.__file__).parents[1]
monitoring: Any = getattr(sys, "monitoring", None)
pytestmark = pytest.mark.skipif(bool(unavailable()), reason=unavailable() or "available")

BEGIN = """
import sys
from ctypes import byref, c_size_t
from csptrace.softcsp import advapi32
m = sys.monitoring

def context():
    h = c_size_t()
    assert advapi32.CryptAcquireContextW(byref(h), None, None, 24, 0xF0000000)
    return h

def new_hash(prov):
    h = c_size_t()
    assert advapi32.CryptCreateHash(prov, 0x8004, 0, 0, byref(h))
    return h

def leaking(prov):
    new_hash(prov)

def release(prov):
    assert advapi32.CryptReleaseContext(prov, 0)

def ids():
    return [number for number in range(6) if m.get_tool(number) == "csptrace"]

def returns(number, name):
    "Take an id and count the returns of a function by it."
    m.use_tool_id(number, name)
    seen = []
    m.register_callback(number, m.events.PY_RETURN, lambda code, at, value: seen.append(value))
    m.set_local_events(number, counted.__code__, m.events.PY_RETURN)
    return seen

def counted():
    return 7
"""


def run(code: str, *, traced: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "program.py")  # causes are read from a file
        script.write_text(BEGIN + textwrap.dedent(code))
        return _run(script, CSPTRACE="1", CSPTRACE_STRICT="1") if traced else _run(script)


def _run(script: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def ok(code: str) -> str:
    """Run a traced program that has to succeed, and return what it and csptrace have said."""
    done = run(code)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


# --- when it is taken -----------------------------------------------------------------------------


def test_no_id_is_held_before_the_first_handle_nor_after_the_last() -> None:
    """The last free id is taken with the first handle, and given back with the last release."""
    said = ok(
        """
        assert ids() == []
        assert type(m.use_tool_id) is type(m.get_tool)
        first, second = context(), context()
        assert ids() == [4]
        release(first)
        assert ids() == [4]
        release(second)
        assert ids() == [], ids()
        """
    )
    assert "no findings" in said


def test_a_finding_gives_it_back_too() -> None:
    """What leaked is watched no more when it has been told."""
    said = ok(
        """
        import csptrace
        prov = context()
        leaking(prov)
        release(prov)
        assert ids() == [], ids()
        with csptrace.current().scope("one"):
            prov = context()
        assert csptrace.current().exits._live == set()
        """
    )
    assert said.count("threw the result away") == 1


def test_a_handle_that_no_running_function_has_is_not_watched() -> None:
    """What an ended thread has left in a list needs no id; why it leaked is known all the same."""
    said = ok(
        """
        import threading
        kept = []
        def work():
            prov = context()
            kept.append(prov)
            leaking(prov)
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert ids() == [], ids()
        release(kept[0])
        """
    )
    assert "threw the result away" in said


def test_the_id_is_not_taken_again_for_each_of_many_handles() -> None:
    """A program that acquires and releases all the time takes it a few times, not each time."""
    ok(
        """
        import time
        taken = 0
        plain = m.register_callback
        def counting(number, event, callback):
            global taken
            taken += callback is not None and event == m.events.PY_RETURN
            return plain(number, event, callback)
        m.register_callback = counting
        begin = time.monotonic()
        for _ in range(500):
            release(context())
        assert 1 <= taken <= 3 + (time.monotonic() - begin) / 0.05, taken
        """
    )


# --- others who want it ---------------------------------------------------------------------------


def test_a_program_that_wants_every_id_gets_them() -> None:
    """Before, while and after handles live, a program may take any id; csptrace says so once."""
    for when in ("before", "while", "after"):
        done = run(
            f"""
            when = {when!r}
            prov = context() if when != "before" else None
            if when == "after":
                release(prov)
            seen = {{number: returns(number, f"tool {{number}}") for number in (3, 4)}}
            prov = prov if when == "while" else context()
            leaking(prov)
            counted()
            release(prov)
            assert [seen[number] for number in (3, 4)] == [[7], [7]]
            assert [m.get_tool(number) for number in (3, 4)] == ["tool 3", "tool 4"]
            """
        )
        assert done.returncode == 0, (when, done.stderr)
        assert done.stderr.count("is not told") == 1, (when, done.stderr)
        assert "leaked-at-release" in done.stderr
        assert "threw the result away" not in done.stderr


def test_an_id_that_nobody_needed_is_yielded_silently() -> None:
    """Where no handle is watched, a program that takes an id is nothing to speak of."""
    done = run(
        """
        for _ in range(3):
            release(context())
        m.use_tool_id(4, "mine")
        m.free_tool_id(4)
        """
    )
    assert done.returncode == 0, done.stderr
    assert "not told" not in done.stderr


def test_another_free_id_is_taken_after_one_was_yielded() -> None:
    """New handles are watched with the other id; of those that lived, no cause is told."""
    done = run(
        """
        prov = context()
        leaking(prov)
        m.use_tool_id(4, "mine")
        assert ids() == []
        def later():
            for _ in range(2):
                new_hash(prov)
        later()
        assert ids() == [3]
        release(prov)
        assert m.get_tool(4) == "mine"
        """
    )
    assert done.returncode == 0, done.stderr
    assert "mine has asked for monitoring tool id 4 and got it" in done.stderr
    assert done.stderr.count("threw the result away") == 1
    assert "to later(), which threw the result away" in done.stderr
    assert "3 leaked-at-release) at 2 places" in done.stderr


@pytest.mark.parametrize("arguments", ["4, 5", '1, "mine"', '9, "mine"', "4", '4, "mine", 1'])
def test_a_refusal_is_the_interpreters(arguments: str) -> None:
    """What is refused without the tracer is refused with it, in the same words."""
    code = f"""
        prov = context()
        held = ids()
        m.use_tool_id(1, "other")
        try:
            m.use_tool_id({arguments})
        except Exception as error:
            print(type(error).__name__, error)
        assert ids() == held
    """
    plain, traced = run(code, traced=False), run(code)
    assert traced.stdout == plain.stdout != ""
    assert "not told" not in traced.stderr


def test_an_id_that_somebody_frees_is_noticed() -> None:
    """Whoever frees and takes an id that is not theirs keeps it, and no cause is made up."""
    done = run(
        """
        early = m.use_tool_id
        prov = context()
        def careless():
            leaking(prov)
            m.free_tool_id(4)
            early(4, "thief")
            new_hash(prov)
        careless()
        release(prov)
        assert m.get_tool(4) == "thief"
        m.set_events(4, m.events.LINE)
        """
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("somebody has freed") == 1
    assert "internal" not in done.stderr


def test_stopping_restores_the_function(trace: Callable[..., Tracer]) -> None:
    """After stop(), with handles alive, `use_tool_id` is the interpreter's own again."""
    plain = monitoring.use_tool_id
    trace()
    from ctypes import byref, c_size_t

    from csptrace.softcsp import advapi32

    h = c_size_t()
    assert advapi32.CryptAcquireContextW(byref(h), None, None, 24, 0xF0000000)
    assert monitoring.use_tool_id is not plain
    assert repr(monitoring.use_tool_id) == repr(plain)
    assert isinstance(monitoring.use_tool_id, type(plain))
    csptrace.stop()
    assert monitoring.use_tool_id is plain
    advapi32.CryptReleaseContext(h, 0)


def test_a_function_that_somebody_put_in_its_place_stays() -> None:
    """A tool that wraps `use_tool_id` while handles live keeps its wrapper, which works on."""
    ok(
        """
        prov = context()
        ours, calls = m.use_tool_id, []
        def wrapping(*args):
            calls.append(args)
            return ours(*args)
        m.use_tool_id = wrapping
        release(prov)
        assert m.use_tool_id is wrapping
        for number in (3, 4):
            prov = context()
            m.use_tool_id(number, "mine")
            assert m.get_tool(number) == "mine"
            release(prov)
            m.free_tool_id(number)
        """
    )


# --- threads and forks ----------------------------------------------------------------------------


def test_threads_may_take_and_free_ids_while_others_acquire() -> None:
    """With threads that acquire, leak and release, and others that take ids, nothing goes wrong."""
    ok(
        """
        import csptrace, threading
        sys.setswitchinterval(1e-5)
        tracer = csptrace.current()
        done = threading.Event()
        failures = []
        def working():
            try:
                for number in range(300):
                    prov = context()
                    if number % 10 == 0:
                        leaking(prov)
                    release(prov)
            except BaseException as error:
                failures.append(error)
        def taking(number):
            try:
                while not done.is_set():
                    seen = returns(number, "mine")
                    counted()
                    assert seen == [7], seen
                    m.set_local_events(number, counted.__code__, 0)
                    m.register_callback(number, m.events.PY_RETURN, None)
                    m.free_tool_id(number)
            except BaseException as error:
                failures.append(error)
        workers = [threading.Thread(target=working) for _ in range(4)]
        takers = [threading.Thread(target=taking, args=(4,))]
        for thread in workers + takers:
            thread.start()
        for thread in workers:
            thread.join()
        done.set()
        for thread in takers:
            thread.join()
        assert failures == [], failures
        assert tracer.exits.watching
        found = tracer.check()
        assert sum(finding.times for finding in found) == 120
        for finding in found:
            assert finding.cause is None or finding.cause.pattern == "discarded", finding
        csptrace.stop()
        assert ids() == []
        """
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_holds_no_id_for_its_parents_handles() -> None:
    """The child gives back what the parent's handles needed, and takes one for its own."""
    ok(
        """
        import csptrace, os
        prov = context()
        child = os.fork()
        if not child:
            status = 1
            try:
                assert ids() == [], ids()
                m.use_tool_id(4, "the child's")
                own = context()
                assert ids() == [3]
                leaking(own)
                release(own)
                (finding,) = csptrace.current().check()
                assert finding.cause.pattern == "discarded"
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        assert ids() == [4]
        release(prov)
        """
    )


# --- real tools -----------------------------------------------------------------------------------

TOOLS = {
    "coverage": """
        import coverage
        cov = coverage.Coverage(config_file=False, data_file=None, include=[__file__])
        cov.start()
        def end():
            cov.stop()
            print(sorted(cov.get_data().lines(__file__)))
    """,
    "cProfile": """
        import cProfile, io, pstats
        profile = cProfile.Profile()
        profile.enable()
        def end():
            profile.disable()
            calls = pstats.Stats(profile, stream=io.StringIO()).stats
            print(sorted((k[2], v[0]) for k, v in calls.items() if k[0] == __file__))
    """,
    "settrace": """
        lines = []
        def tracing(frame, event, arg):
            if frame.f_code.co_filename == __file__:
                lines.append((frame.f_code.co_name, event, frame.f_lineno))
                return tracing
        sys.settrace(tracing)
        def end():
            sys.settrace(None)
            print(lines)
    """,
}
WORK = """
def passing(number):
    try:
        counted()
        raise ValueError(number)
    except ValueError:
        return number

def work():
    for number in range(3):
        prov = context()
        passing(number)
        if number == 1:
            leaking(prov)
        release(prov)
"""


@pytest.mark.parametrize("order", ["tool first", "handle first", "tool between"])
@pytest.mark.parametrize("tool", TOOLS)
def test_other_tools_see_what_they_see_without_the_tracer(
    tool: str, order: str, tmp_path: Path
) -> None:
    """Coverage on sys.monitoring, a profiler and a tracer work beside it, whichever comes first."""
    begin = textwrap.dedent(TOOLS[tool])
    program = BEGIN + WORK
    if order == "tool first":
        program += begin + "work()\nend()\n"
    elif order == "handle first":
        program += "first = context()\n" + begin + "work()\nend()\nrelease(first)\n"
    else:
        program += "work()\n" + begin + "work()\nend()\nwork()\n"
    script = tmp_path / "program.py"
    script.write_text(program)
    outputs = []
    for traced in ({}, {"CSPTRACE": "1", "CSPTRACE_STRICT": "1", "CSPTRACE_QUIET": "1"}):
        done = _run(script, COVERAGE_CORE="sysmon", **traced)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        outputs.append(done.stdout)
    assert outputs[0] == outputs[1] != ""
