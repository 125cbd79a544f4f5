"""How it is switched on, what it costs when it is not, and how one knows that it works."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import csptrace
from csptrace.frontends import canary

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Suite
    from csptrace import Tracer

LEAKY = "def test_it(): context()"


def test_off_by_default(suite: Suite) -> None:
    """Nothing is traced, said or failed unless somebody asks for it."""
    suite.write(test_it="import csptrace\ndef test_it(): assert csptrace.current() is None")
    run = suite.run(on=False)

    assert run.counts == {"passed": 1}
    assert "csptrace:" not in run.out


@pytest.mark.parametrize("way", ["option", "ini", "environment", "early plugin"])
def test_ways_to_switch_it_on(suite: Suite, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """--csptrace, the ini option and CSPTRACE=1 do the same, in time for the first conftest."""
    suite.write(
        conftest="import csp, csptrace\nassert csptrace.current() is not None\ncsp.tidy()",
        test_it=LEAKY,
    )
    if way == "ini":
        suite.ini("csptrace = true")
    if way == "environment":
        monkeypatch.setenv("CSPTRACE", "1")
    early = ("-p", "csptrace") if way == "early plugin" else ()
    run = suite.run(*early, on=way in ("option", "early plugin"))

    assert run.counts == {"passed": 1, "leaked": 1}
    assert csptrace.current() is None


@pytest.mark.parametrize("value", ["0", "", "no"])
def test_the_environment_may_say_no(
    suite: Suite, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CSPTRACE=0 is no request."""
    monkeypatch.setenv("CSPTRACE", value)
    suite.write(test_it=LEAKY)

    assert suite.run(on=False).counts == {"passed": 1}


def test_a_tracer_that_runs_already_is_adopted(suite: Suite, trace: Callable[..., Tracer]) -> None:
    """What CSPTRACE=1 has started at interpreter start is used, and goes on afterwards."""
    tracer = trace()
    suite.write(test_it=LEAKY)
    run = suite.run("--csptrace-log", "logs")

    assert run.counts == {"passed": 1, "leaked": 1}
    assert csptrace.current() is tracer
    assert tracer.reporter.observer is None
    assert [event["code"] for event in run.events() if event["event"] == "csptrace.finding"] == [
        "leaked-at-exit"
    ]


def test_a_tracer_that_does_not_fit_is_replaced(
    suite: Suite, trace: Callable[..., Tracer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """There are never two: what cannot be changed in the middle is started anew."""
    tracer = trace(depth=3)
    monkeypatch.setenv("CSPTRACE_DEPTH", "30")
    suite.write(test_it=LEAKY)
    run = suite.run()

    assert run.counts == {"passed": 1, "leaked": 1}
    assert not tracer.active


def test_in_a_process_of_its_own(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    """With CSPTRACE=1 an installed csptrace starts before pytest, and the plugin takes over."""
    monkeypatch.setenv("CSPTRACE", "1")
    suite.write(test_it=LEAKY)
    run = suite.spawn(on=False)

    assert run.counts == {"passed": 1, "leaked": 1}
    assert run.status == 1
    assert "csptrace" not in run.err


def test_a_project_that_makes_warnings_errors(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That csptrace was imported before pytest is worth no warning, which would end the run."""
    monkeypatch.setenv("CSPTRACE", "1")
    suite.write(test_it="def test_it(): tidy()")
    suite.ini("filterwarnings = error")
    run = suite.spawn(on=False)

    assert run.counts == {"passed": 1}
    assert run.status == 0
    assert "RewriteWarning" not in run.out + run.err


def test_the_header_says_what_is_watched(suite: Suite) -> None:
    """Calls, APIs, and that the self-test has passed; which leaves no trace in the results."""
    suite.write(test_it="def test_it(): pass")
    run = suite.run("--csptrace-log", "logs", "--csptrace-sarif", "found.sarif")

    run.result.stdout.re_match_lines(
        [r"csptrace: [1-9]\d* calls of \d+ APIs? patched, self-test passed"]
    )
    assert {event["event"] for event in run.events()} == {
        "csptrace.run_started",
        "csptrace.run_ended",
    }
    assert run.json("found.sarif")["runs"][0]["results"] == []
    assert "finding" not in run.out


def test_a_failing_self_test_stops_the_run(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    """A detector that does not catch the planted leak runs no test."""
    monkeypatch.setattr("csptrace.findings.judgement.Leaks.described", lambda *_, **__: ())
    suite.write(test_it=LEAKY)
    run = suite.run()

    assert run.status == pytest.ExitCode.USAGE_ERROR
    assert (
        "self-test FAILED: a handle was leaked on purpose, and this was found: nothing" in run.err
    )
    assert csptrace.current() is None


def test_the_canary_leaves_nothing_behind(trace: Callable[..., Tracer]) -> None:
    """Counts, findings and live handles are as before, also in the middle of real work."""
    from ctypes import byref, c_void_p

    from csptrace.softcsp import advapi32

    tracer = trace()
    hProv = c_void_p()
    assert advapi32.CryptAcquireContextW(byref(hProv), None, None, 24, 0xF0000000)
    before = (tracer.graph.acquired, tracer.graph.live, tracer.graph.peak, tracer.live())

    assert canary.catches_canary(tracer) == ""
    assert (tracer.graph.acquired, tracer.graph.live, tracer.graph.peak, tracer.live()) == before
    assert tracer.check() == ()
    assert not tracer.reporter.counts
    advapi32.CryptReleaseContext(hProv, 0)


def test_require(suite: Suite) -> None:
    """--csptrace-require fails a run in which no call was traced, and only such a run."""
    suite.write(test_it="def test_it(): pass")
    idle = suite.run("--csptrace-require")
    suite.write(test_it="def test_it(): tidy()")
    busy = suite.run("--csptrace-require")

    assert idle.status == 1
    assert "no traced call was made in the whole run" in idle.out
    assert busy.status == 0


@pytest.mark.parametrize(
    "call",
    [
        "not csp.advapi32.CryptAcquireContextW(byref(c_void_p()), None, None, 999, 0)",
        "not csp.advapi32.CryptReleaseContext(0, 0)",
        "not csp.advapi32.CryptDeriveKey(0, 0, 0, 0, byref(c_void_p()))",
        "not csp.advapi32.CryptGenRandom(12, 1, create_string_buffer(1))",
        "csp.advapi32.CryptContextAddRef(context(), None, 0) in (0, 1)",
    ],
)
def test_require_asks_for_calls_not_for_handles(suite: Suite, call: str) -> None:
    """A call that is refused, or knows none of its handles, was traced all the same."""
    suite.write(
        test_it=f"""
        from ctypes import byref, c_void_p, create_string_buffer
        @pytest.mark.csptrace(leaks="allow")
        def test_it(): assert {call}
        """
    )

    assert suite.run("--csptrace-require").status == 0


def test_a_rehearsal_takes_nothing_from_the_program(trace: Callable[..., Tracer]) -> None:
    """What the garbage collector took before it is found afterwards, not in it."""
    pytest.importorskip("cryptography")
    from csptrace.softcsp import win32crypt

    tracer = trace()
    store = win32crypt.CryptAcquireContext(None, None, 24, 0xF0000000)
    key = store.CryptGenKey(0x660E, 1)
    before = tracer.graph.live
    tracer.recorder.called = False
    del key

    assert canary.catches_canary(tracer) == ""
    assert not tracer.recorder.called
    tracer.check()
    assert tracer.graph.live == before - 1
    store.CryptReleaseContext()
    assert tracer.recorder.called


@pytest.mark.parametrize(("last", "cleaning"), [("tidy", "off"), ("context", "on")])
def test_when_tracing_ends(suite: Suite, last: str, cleaning: str) -> None:
    """It is on in a conftest's last hook; then it ends, or with the clean-up if something is left.

    pytest searches for garbage before its clean-up: what the tracer knows need not be searched,
    and what is left may be among it.
    """
    suite.write(
        conftest=f"""
        from pathlib import Path
        import csp, csptrace
        said = Path(__file__).with_name("said.txt")
        def say(where):
            on = "off" if csptrace.current() is None else "on"
            with said.open("a") as file:
                print(where, on, file=file)
        def pytest_configure(config):
            config.add_cleanup(lambda: say("clean-up"))
        def pytest_unconfigure():
            csp.{last}()
            say("hook")
        """,
        test_it="def test_it(): tidy()",
    )
    run = suite.run()

    assert (run.folder / "said.txt").read_text() == f"hook on\nclean-up {cleaning}\n"
    assert csptrace.current() is None


def test_what_a_run_without_findings_does_not_load(suite: Suite) -> None:
    """A suite that never touches a provider pays neither for logs, reports nor ctypes."""
    heavy = (
        *("csptrace.analysis", "csptrace.findings.baseline", "csptrace.causes.inquiry"),
        *("csptrace.events.log", "csptrace.intercept.codecs", "csptrace.softcsp.faults"),
        *("csptrace.frontends.pytest_plugin.junit", "cryptography", "ctypes", "orjson"),
        "structlog",
    )
    (suite.path / "test_it.py").write_text(
        f"import sys\ndef test_it(): assert not set({heavy}) & set(sys.modules)\n", "utf-8"
    )
    run = suite.spawn()

    assert run.counts == {"passed": 1}


def test_the_tracer_is_imported_as_it_is(suite: Suite) -> None:
    """Its assertions are not rewritten; those of the tests are, and the finder goes in the end."""
    (suite.path / "conftest.py").write_text(
        """
import atexit, sys

def finders():
    return [each for each in sys.meta_path if "csptrace" in getattr(each, "__module__", "")]

atexit.register(lambda: print("finders in the end:", *finders()))

def pytest_configure(config):
    config.add_cleanup(say)  # before that of the plugin

def say():
    import csptrace.findings.baseline  # late
    loaders = {
        name: type(module.__spec__.loader).__name__
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] in ("csptrace", "test_it")
    }
    rewritten = [name for name, loader in loaders.items() if "Rewriting" in loader]
    assert "csptrace.tracer" in loaders and "csptrace.findings.baseline" in loaders
    print("rewritten:", *set(rewritten) - {"csptrace", "csptrace.frontends"})
    print("finders before:", len(finders()))
""",
        "utf-8",
    )
    (suite.path / "test_it.py").write_text("def test_it(): pass\n", "utf-8")
    run = suite.spawn()

    (line,) = [line for line in run.result.outlines if line.startswith("rewritten:")]
    own = ("csptrace.frontends.pytest_plugin", "csptrace.frontends.pytest_plugin.importing")
    assert set(line.split()[1:]) - set(own) == {"test_it"}
    found = [line for line in run.result.outlines if line.startswith("finders")]
    assert found == ["finders before: 1", "finders in the end:"]


def test_an_idle_plugin_loads_nothing() -> None:
    """The entry point's module imports nothing of csptrace but its own packages."""
    program = (
        "import sys, pytest; before = set(sys.modules);"
        "import csptrace.frontends.pytest_plugin;"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True
    )

    assert done.stdout.split() == [
        "csptrace.frontends",
        "csptrace.frontends.pytest_plugin",
    ] or done.stdout.split() == [
        "csptrace",
        "csptrace.frontends",
        "csptrace.frontends.pytest_plugin",
    ]
