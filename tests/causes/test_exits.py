"""Watching exits: what it must not change, what it gives back, and what it does without."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import textwrap
import threading
import weakref
from ctypes import byref, c_size_t
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import csptrace
from csptrace.causes import exit_monitor as exits
from csptrace.causes.exit_monitor import unavailable
from csptrace.findings.finding import Cause, Pattern
from csptrace.frontends import doctor
from csptrace.graph.exits import Exit
from csptrace.softcsp import advapi32

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from csptrace import Tracer

ROOT = Path(csptrace.__file__).parents[1]
monitoring: Any = getattr(sys, "monitoring", None)
needed = pytest.mark.skipif(bool(unavailable()), reason=unavailable() or "available")


def context() -> c_size_t:
    """Return a new context."""
    h = c_size_t()
    assert advapi32.CryptAcquireContextW(byref(h), None, None, 24, 0xF0000000)
    return h


def new_hash(prov: c_size_t) -> c_size_t:
    """Return a new hash."""
    h = c_size_t()
    assert advapi32.CryptCreateHash(prov, 0x8004, 0, 0, byref(h))
    return h


def leaking(prov: c_size_t) -> None:
    """Acquire and forget."""
    new_hash(prov)


def watching(tracer: Tracer) -> exits.ExitMonitor:
    """Return what watches, which must be at work."""
    assert tracer.exits is not None
    assert tracer.exits.watching
    return tracer.exits


def causes(tracer: Tracer) -> list[Cause]:
    """Return the causes found so far."""
    return [f.cause for f in tracer.check() if f.cause is not None]


# --- switched off, impossible, taken --------------------------------------------------------------


@needed
@pytest.mark.parametrize("settings", [{"causes": False}, {"level": "count"}])
def test_switched_off_nothing_is_watched(
    trace: Callable[..., Tracer], settings: dict[str, Any]
) -> None:
    """Without the setting, or without stacks, no tool id is taken and no cause is told."""
    tracer = trace(**settings)
    prov = context()
    leaking(prov)
    advapi32.CryptReleaseContext(prov, 0)

    assert tracer.exits is None
    assert [monitoring.get_tool(tool) for tool in (3, 4)] == [None, None]
    assert len(tracer.check()) == 1
    assert causes(tracer) == []


def test_without_monitoring_the_rest_works(
    trace: Callable[..., Tracer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Python 3.11 leaks are found as ever; only the cause is absent, and doctor says why."""
    monkeypatch.setattr(exits, "_monitoring", None)
    tracer = trace()
    prov = context()
    leaking(prov)
    advapi32.CryptReleaseContext(prov, 0)
    (finding,) = tracer.check()

    assert finding.cause is None
    assert finding.remedy.startswith("call CryptDestroyHash before CryptReleaseContext at ")
    csptrace.stop()
    assert doctor.examine()["causes"] == "no: sys.monitoring came with CPython 3.12"


@needed
def test_without_the_gil_it_is_off_with_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """A free-threaded interpreter is told about, and not watched."""
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)

    assert "without the GIL" in doctor.examine()["causes"]


@pytest.fixture
def others() -> Iterator[None]:
    """Have other tools hold both tool ids."""
    for tool in (3, 4):
        monitoring.use_tool_id(tool, f"tool {tool}")
    yield
    for tool in (3, 4):
        monitoring.free_tool_id(tool)


@needed
@pytest.mark.usefixtures("others")
def test_other_tools_keep_their_ids(capsys: pytest.CaptureFixture[str]) -> None:
    """Where no id is free, csptrace does without, says so once, and takes nobody's."""
    for _ in range(2):
        with csptrace.tracing(strict=True) as tracer:
            prov = context()
            leaking(prov)
            advapi32.CryptReleaseContext(prov, 0)

        assert [finding.cause for finding in tracer.findings] == [None]
        said = capsys.readouterr().err
        assert said.count("every free monitoring tool id is taken") == 1
        assert "3 by tool 3, 4 by tool 4" in said
    assert [monitoring.get_tool(tool) for tool in (3, 4)] == ["tool 3", "tool 4"]
    assert "taken (3 by tool 3" in doctor.examine()["causes"]


@needed
def test_one_taken_id_leaves_the_other(trace: Callable[..., Tracer]) -> None:
    """Another tool on one id does not matter."""
    monitoring.use_tool_id(3, "other")
    try:
        watching(trace())
        _ = context()
        assert monitoring.get_tool(4) == "csptrace"
        csptrace.stop()
        assert (monitoring.get_tool(3), monitoring.get_tool(4)) == ("other", None)
    finally:
        monitoring.free_tool_id(3)


# --- given back -----------------------------------------------------------------------------------


@needed
def test_stopping_gives_everything_back(trace: Callable[..., Tracer]) -> None:
    """After stop() there is no tool, no callback and no event of csptrace."""
    for tool in (3, 4):  # CPython 3.12 keeps the callbacks of an id that a test has freed
        monitoring.use_tool_id(tool, "a look")
        for event in (monitoring.events.PY_RETURN, monitoring.events.PY_UNWIND):
            monitoring.register_callback(tool, event, None)
        monitoring.free_tool_id(tool)
    trace()
    prov = context()
    leaking(prov)
    code = leaking.__code__
    tool = next(tool for tool in (3, 4) if monitoring.get_tool(tool) == "csptrace")
    assert monitoring.get_local_events(tool, code)
    advapi32.CryptReleaseContext(prov, 0)
    csptrace.stop()

    assert monitoring.get_tool(tool) is None
    monitoring.use_tool_id(tool, "a look")
    try:
        assert monitoring.get_events(tool) == 0
        assert monitoring.get_local_events(tool, code) == 0
        assert monitoring.register_callback(tool, monitoring.events.PY_RETURN, None) is None
        assert monitoring.register_callback(tool, monitoring.events.PY_UNWIND, None) is None
    finally:
        monitoring.free_tool_id(tool)


@needed
def test_events_end_when_nothing_needs_them(trace: Callable[..., Tracer]) -> None:
    """A function that is left again and again without a handle is no longer listened to."""
    tracer = trace()
    watch = watching(tracer)
    prov = context()

    def sometimes(acquire: bool) -> None:
        if acquire:
            advapi32.CryptDestroyHash(new_hash(prov))

    def listened() -> int:
        return int(monitoring.get_local_events(watch._tool, sometimes.__code__))

    sometimes(True)
    assert listened()
    for _ in range(100):
        sometimes(False)
    assert not listened()
    sometimes(True)
    assert listened()
    advapi32.CryptReleaseContext(prov, 0)


@needed
def test_events_stay_while_a_live_handle_needs_them(trace: Callable[..., Tracer]) -> None:
    """However often others leave the function, the run that has a handle is waited for."""
    tracer = trace()
    prov = context()

    def steps(acquire: bool) -> Any:
        h = new_hash(prov) if acquire else None
        yield 1
        yield h is None

    holding = steps(True)
    next(holding)
    for _ in range(300):
        list(steps(False))
    holding.close()
    del holding
    advapi32.CryptReleaseContext(prov, 0)

    assert causes(tracer)[0].exit is Exit.CLOSED


@needed
def test_exceptions_are_not_listened_to_for_ever(trace: Callable[..., Tracer]) -> None:
    """The global event goes with the last handle that is watched, and returns with the next."""
    tracer = trace()
    watch = watching(tracer)

    def fails() -> None:
        raise ValueError

    prov = context()
    assert monitoring.get_events(watch._tool)
    advapi32.CryptReleaseContext(prov, 0)
    assert [monitoring.get_tool(tool) for tool in (3, 4)] == [None, None]
    prov = context()
    assert monitoring.get_events(watch._tool)

    def leaves() -> None:
        h = new_hash(prov)
        fails()
        advapi32.CryptDestroyHash(h)

    with pytest.raises(ValueError):
        leaves()
    advapi32.CryptReleaseContext(prov, 0)
    cause = causes(tracer)[0]
    assert cause.exception == "ValueError"
    assert cause.raised is not None
    assert cause.raised.qualname.endswith(".fails")


# --- nothing of the program changes ---------------------------------------------------------------


class Local:
    """Something whose end can be seen."""


@needed
def test_no_frame_local_or_exception_is_kept_alive(trace: Callable[..., Tracer]) -> None:
    """What a function had goes when the function is left, although its handle lives on."""
    trace()
    prov = context()
    seen: list[weakref.ref[Any]] = []

    class Failure(Exception):
        pass

    def leaves(how: str) -> Any:
        local = Local()
        seen.append(weakref.ref(local))
        h = new_hash(prov)
        if how == "raise":
            error = Failure()
            seen.append(weakref.ref(error))
            raise error
        if how == "hand on":
            found = Local()
            found.h = h  # type: ignore[attr-defined]
            seen.append(weakref.ref(found))
            return found
        return None

    gc.disable()
    try:
        leaves("return")
        leaves("hand on")
        try:
            leaves("raise")
        except Failure as error:
            error.__traceback__ = None
        assert [each() for each in seen] == [None] * len(seen)
    finally:
        gc.enable()
    advapi32.CryptReleaseContext(prov, 0)


class SpyType(type):
    """Tells when its class is asked for something."""

    def __getattribute__(cls, name: str) -> Any:
        """Tell of it."""
        if name != "calls":
            Spy.calls.append(f"class {name}")
        return type.__getattribute__(cls, name)


class Spy(metaclass=SpyType):
    """Its every method tells that it was called."""

    calls: list[str] = []  # noqa: RUF012 - what a test collects

    def __init__(self, h: object) -> None:
        object.__setattr__(self, "h", h)

    def __getattribute__(self, name: str) -> Any:
        """Tell of it."""
        Spy.calls.append(name)
        return object.__getattribute__(self, name)

    def __eq__(self, _other: object) -> bool:
        """Tell of it."""
        Spy.calls.append("==")
        return True

    def __hash__(self) -> int:
        """Tell of it."""
        Spy.calls.append("hash")
        return 1

    def __iter__(self) -> Iterator[Any]:
        """Tell of it."""
        Spy.calls.append("iter")
        return iter(())

    def __bool__(self) -> bool:
        """Tell of it."""
        Spy.calls.append("bool")
        return False

    def __repr__(self) -> str:
        """Tell of it."""
        Spy.calls.append("repr")
        return ""


class SpyNumber(int):
    """A number that tells, too."""

    def __eq__(self, _other: object) -> bool:
        """Tell of it."""
        Spy.calls.append("int ==")
        return True

    def __hash__(self) -> int:
        """Tell of it."""
        Spy.calls.append("int hash")
        return 1


class SpyError(Exception):
    """An exception that tells."""

    def __getattribute__(self, name: str) -> Any:
        """Tell of it."""
        Spy.calls.append(name)
        return object.__getattribute__(self, name)

    def __str__(self) -> str:
        """Tell of it."""
        Spy.calls.append("str")
        return ""


@needed
def test_no_code_of_the_program_runs(trace: Callable[..., Tracer]) -> None:
    """Returned, yielded and raised objects are looked into without asking them anything."""
    tracer = trace()
    prov = context()

    def returns(make: Callable[[Any], Any]) -> Any:
        return make(new_hash(prov))

    def yields() -> Any:
        yield Spy(new_hash(prov))

    def raises() -> None:
        new_hash(prov)
        raise SpyError

    Spy.calls.clear()
    found = [
        returns(Spy),
        returns(lambda h: [Spy(h)]),
        returns(lambda h: {1: (Spy(h),)}),
        returns(lambda h: SpyNumber(h.value)),
        next(yields()),
    ]
    try:
        raises()
    except SpyError:
        found.append(None)

    assert Spy.calls == []
    assert len(found) == 6
    advapi32.CryptReleaseContext(prov, 0)
    told = causes(tracer)
    assert sum(len(each.moves) > 0 for each in told) >= 3
    assert Spy.calls == []


PROGRAM = """
import sys, traceback, asyncio, contextlib
from ctypes import byref, c_size_t
from csptrace.softcsp import advapi32 as lib

def new(prov):
    h = c_size_t()
    lib.CryptCreateHash(prov, 0x8004, 0, 0, byref(h))
    return h

def fails(depth):
    if depth:
        fails(depth - 1)
    raise ValueError(depth)

def leaves(prov):
    h = new(prov)
    fails(3)
    lib.CryptDestroyHash(h)

def numbers(prov):
    h = new(prov)
    for number in range(3):
        yield number
    lib.CryptDestroyHash(h)

@contextlib.contextmanager
def hashing(prov):
    h = new(prov)
    try:
        yield h
    finally:
        lib.CryptDestroyHash(h)

async def waits(prov):
    h = new(prov)
    await asyncio.sleep(0)
    if h.value:
        return 1
    lib.CryptDestroyHash(h)

def program():
    prov = c_size_t()
    lib.CryptAcquireContextW(byref(prov), None, None, 24, 0xF0000000)
    texts = []
    try:
        leaves(prov)
    except ValueError:
        texts.append(traceback.format_exc())
    for number in numbers(prov):
        if number == 1:
            break
    try:
        with hashing(prov):
            fails(1)
    except ValueError as error:
        texts.append("".join(traceback.format_exception(error)))
    asyncio.run(waits(prov))
    with contextlib.suppress(StopIteration):
        next(iter(()))
    lib.CryptReleaseContext(prov, 0)
    return texts
"""

TRACEBACKS = """
import os, csptrace
exec(compile(open("program.py").read(), "program.py", "exec"))
with csptrace.tracing(quiet=True, strict=True, causes={causes}) as tracer:
    print("\\n".join(program()))
assert len(tracer.findings) == 3, tracer.findings
assert all((f.cause is not None) == {causes} for f in tracer.findings)
"""

SETTRACE = """
import sys, csptrace
exec(compile(open("program.py").read(), "program.py", "exec"))
events = []
def tracing(frame, event, arg):
    if frame.f_code.co_filename == "program.py":
        what = type(arg).__name__ if event != "exception" else arg[0].__name__
        events.append((event, frame.f_code.co_name, frame.f_lineno, what))
    return tracing
with csptrace.tracing(quiet=True, strict=True, causes={causes}) as tracer:
    sys.settrace(tracing)
    program()
    sys.settrace(None)
    profiled = []
    sys.setprofile(lambda frame, event, arg: profiled.append((event, frame.f_code.co_name))
                   if frame.f_code.co_filename == "program.py" else None)
    program()
    sys.setprofile(None)
print(len(events), *events, *profiled, sep="\\n")
"""

COVERAGE = """
import sys, csptrace, coverage, json
measured = coverage.Coverage(branch=True, data_file=None, include=["*/program.py"])
tracer = csptrace.start(quiet=True, strict=True, causes={causes})
measured.start()
import program
program.program()
program.program()
measured.stop()
csptrace.stop()
core = [value for name, value in measured.sys_info() if name == "core"]
data = measured.get_data()
(name,) = data.measured_files()
print(core, sorted(data.lines(name)), sorted(data.arcs(name) or ()), sep="\\n")
"""


def outputs(folder: Path, text: str, **environ: str) -> list[str]:
    """Run a program with and without causes; return what both print."""
    (folder / "program.py").write_text(textwrap.dedent(PROGRAM), encoding="utf-8")
    found = []
    for causes in (True, False):
        done = subprocess.run(
            [sys.executable, "-c", text.format(causes=causes)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0", **environ},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found.append(done.stdout)
    return found


@needed
def test_tracebacks_are_the_same(tmp_path: Path) -> None:
    """A program's tracebacks have the same lines with and without."""
    with_causes, without = outputs(tmp_path, TRACEBACKS)

    assert with_causes.count("ValueError") >= 2
    assert with_causes == without


@needed
def test_trace_and_profile_functions_see_the_same(tmp_path: Path) -> None:
    """`sys.settrace` and `sys.setprofile` get the same events with and without."""
    with_causes, without = outputs(tmp_path, SETTRACE)

    assert int(with_causes.partition("\n")[0]) > 80
    assert with_causes == without


@needed
@pytest.mark.parametrize("core", ["ctrace", "sysmon"])
def test_coverage_is_the_same(core: str, tmp_path: Path) -> None:
    """Line and branch coverage are the same with and without, whatever measures it."""
    pytest.importorskip("coverage")
    with_causes, without = outputs(tmp_path, COVERAGE, COVERAGE_CORE=core)

    assert len(with_causes) > 500
    assert with_causes == without


@needed
def test_recursion_limit_is_no_end_of_watching(trace: Callable[..., Tracer]) -> None:
    """A program that runs into the recursion limit gets its error, and causes are told after it."""
    tracer = trace()
    prov = context()

    def deep() -> None:
        deep()

    def leaves() -> None:
        h = new_hash(prov)
        deep()
        advapi32.CryptDestroyHash(h)

    for _ in range(3):
        with pytest.raises(RecursionError, match="maximum recursion depth"):
            leaves()
    watching(tracer)
    advapi32.CryptReleaseContext(prov, 0)

    found = [(each.exception, each.raised and each.raised.qualname) for each in causes(tracer)]
    assert [(error, (where or "").rpartition(".")[2]) for error, where in found] == [
        ("RecursionError", "deep")
    ] * 3


@needed
def test_an_error_of_its_own_ends_it_and_not_the_program(
    trace: Callable[..., Tracer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug in a callback is said once; the program and the other findings go on."""
    tracer = trace()
    watch = watching(tracer)

    monkeypatch.setattr(exits, "_held", None)
    prov = context()
    leaking(prov)
    leaking(prov)
    advapi32.CryptReleaseContext(prov, 0)

    assert not watch.watching
    assert len(tracer.check()) == 2
    said = [m for m in tracer.diagnostics.complaints() if "watching how functions are left" in m]
    assert len(said) == 1
    assert monitoring.get_tool(3) is None


# --- threads, forks, recycled frames --------------------------------------------------------------


@needed
def test_threads_do_not_mix(trace: Callable[..., Tracer]) -> None:
    """Each of many threads that raise and catch at the same time gets its own cause."""
    tracer = trace()
    prov = context()
    barrier = threading.Barrier(8)

    def fails(number: int) -> None:
        raise (ValueError, KeyError, OSError, EOFError)[number % 4]

    def work(number: int) -> None:
        h = new_hash(prov)
        barrier.wait(60)
        fails(number)
        advapi32.CryptDestroyHash(h)

    def guarded(number: int) -> None:
        try:
            work(number)
        except (ValueError, KeyError, OSError, EOFError):
            return

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    advapi32.CryptReleaseContext(prov, 0)
    found = causes(tracer)
    errors = ["ValueError", "KeyError", "OSError", "EOFError"]
    assert sorted(each.exception for each in found) == sorted(errors * 2)
    assert all(each.caught is not None for each in found)


@needed
def test_a_recycled_generator_frame_is_another_run(trace: Callable[..., Tracer]) -> None:
    """A generator at the address of a dropped one does not get its handles, nor the reverse."""
    tracer = trace()
    prov = context()

    def blocks(release: bool) -> Any:
        h = new_hash(prov)
        yield 1
        if release:
            advapi32.CryptDestroyHash(h)

    for number in range(20):
        running = blocks(number != 7)
        next(running)
        if number != 7:
            assert list(running) == []
        del running
    advapi32.CryptReleaseContext(prov, 0)

    (cause,) = causes(tracer)
    assert cause.exit is Exit.CLOSED


def both(prov: c_size_t) -> tuple[c_size_t, c_size_t]:
    """Return two new hashes at once."""
    return new_hash(prov), new_hash(prov)


def half(prov: c_size_t) -> None:
    """Release one of two that come in the only round of a loop."""
    pair = (c_size_t(), c_size_t())
    for _ in range(1):
        pair = both(prov)
    advapi32.CryptDestroyHash(pair[1])


@needed
def test_what_came_at_once_was_not_bound_again(trace: Callable[..., Tracer]) -> None:
    """Of two handles from one call, the released one is not taken for a second round of a loop."""
    tracer = trace()
    prov = context()
    half(prov)
    advapi32.CryptReleaseContext(prov, 0)
    (finding,) = tracer.check()

    assert finding.cause is not None
    assert finding.cause.pattern not in (Pattern.LOOP, Pattern.OVERWRITTEN)


@needed
@pytest.mark.parametrize("launches", [True, False])
def test_nothing_is_followed_into_a_launcher(trace: Callable[..., Tracer], launches: bool) -> None:
    """A test runner that gets a handle from a fixture is not listened to, a library is.

    It may be named when code of it has been seen already.
    """
    tracer = trace()
    name = os.path.join(os.sep, "runner", "run.py")
    space: dict[str, Any] = {}
    for run in ("run", "again"):
        text = f"def {run}(function, *args):\n    return function(*args)\n"
        exec(compile(text, name, "exec"), space)
    prov = context()
    advapi32.CryptDestroyHash(space["run"](new_hash, prov))
    if launches:
        tracer.hide_launcher(os.path.normcase(name))
    h = space["again"](new_hash, prov)
    tool = next(tool for tool in (3, 4) if monitoring.get_tool(tool) == "csptrace")
    assert (monitoring.get_local_events(tool, space["again"].__code__) == 0) is launches
    advapi32.CryptDestroyHash(h)
    advapi32.CryptReleaseContext(prov, 0)
    assert tracer.check() == ()


@needed
def test_nothing_is_kept_of_the_way_of_a_released_handle(trace: Callable[..., Tracer]) -> None:
    """Who had a handle is forgotten when the program releases it."""
    tracer = trace()
    prov = context()
    h = new_hash(prov)
    handle = next(each for each in tracer.graph.handles() if each.value == h.value)
    assert (handle.invocation, handle.departures) != (None, None)
    advapi32.CryptDestroyHash(h)

    assert (handle.invocation, handle.departures) == (None, None)


@needed
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_tells_causes_too(trace: Callable[..., Tracer]) -> None:
    """In the child of a fork exits are watched as before."""
    tracer = trace()
    child = os.fork()
    if not child:
        status = 1
        try:
            prov = context()
            leaking(prov)
            advapi32.CryptReleaseContext(prov, 0)
            status = 0 if causes(tracer)[0].pattern is Pattern.DISCARDED else 2
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


@needed
def test_many_leaks_of_one_function_take_no_time_to_speak_of(
    trace: Callable[..., Tracer],
) -> None:
    """The work for a finding does not grow with the number of findings."""
    tracer = trace()
    prov = context()
    h = c_size_t()
    for _ in range(3000):
        advapi32.CryptCreateHash(prov, 0x8004, 0, 0, byref(h))
    asked = []

    class Counted(list):  # type: ignore[type-arg]
        def __iter__(self) -> Iterator[Any]:
            asked.append(1)
            return super().__iter__()

    invocations = list(watching(tracer)._invocations.values())
    for invocation in invocations:
        invocation.handles = Counted(invocation.handles)
    advapi32.CryptReleaseContext(prov, 0)

    assert sum(finding.times for finding in tracer.check()) == 3000
    assert len(asked) < 100
    assert "2999" in causes(tracer)[0].words or "3000" in causes(tracer)[0].words


@needed
def test_many_leaks_that_a_function_got_from_another_one_take_no_longer(
    trace: Callable[..., Tracer],
) -> None:
    """Each of them came from a run of its own, and the list of those that got all is not read."""
    tracer = trace()
    prov = context()

    def made() -> c_size_t:
        h = c_size_t()
        advapi32.CryptCreateHash(prov, 0x8004, 0, 0, byref(h))
        return h

    _kept = [made() for _ in range(3000)]
    asked = []

    class Counted(list):  # type: ignore[type-arg]
        def __iter__(self) -> Iterator[Any]:
            asked.append(1)
            return super().__iter__()

    for invocation in watching(tracer)._invocations.values():
        invocation.handles = Counted(invocation.handles)
    advapi32.CryptReleaseContext(prov, 0)

    assert sum(finding.times for finding in tracer.check()) == 3000
    assert len(asked) < 5


@needed
def test_handles_are_followed_after_modules_were_forgotten(
    trace: Callable[..., Tracer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was imported during a test that puts `sys.modules` back is used all the same."""
    tracer = trace()
    prov = context()
    monkeypatch.delitem(sys.modules, "csptrace.intercept.codecs")
    exits._ctypes_codecs.cache_clear()
    leaking(prov)
    advapi32.CryptReleaseContext(prov, 0)

    assert causes(tracer)[0].pattern is Pattern.DISCARDED


@needed
def test_a_container_name_in_the_source_is_not_quoted(trace: Callable[..., Tracer]) -> None:
    """A text in the program's source stays out of the words."""
    tracer = trace()
    found: dict[str, Any] = {}

    def keeps(keys: dict[str, Any]) -> None:
        keys["container of Müller"] = context()

    keeps(found)
    csptrace.stop()

    (finding,) = tracer.findings
    assert finding.cause is not None
    assert "keys[...]" in finding.cause.words
    assert "Müller" not in finding.cause.words + finding.remedy
