"""What a failing test says, and what else decides about failing: -x, interrupts, other plugins."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from plugin_suites import BROKEN

if TYPE_CHECKING:
    from conftest import Suite


def test_the_report_is_what_a_person_needs(suite: Suite) -> None:
    """What leaked, acquired and released where with source lines, siblings, fix, fingerprint."""
    suite.write(
        test_it="""
        def test_good(): tidy()
        def test_bad():
            prov = context()
            key(prov)
            release(prov)  # too early
        """
    )
    run = suite.run()

    run.result.stdout.fnmatch_lines(
        [
            "test_it.py::test_bad LEAKED*",
            "leaked-at-release: HCRYPTKEY 0x*, a key",
            "  acquired by CryptGenKey",
            "    > csp.py:* in key",
            "        assert advapi32.CryptGenKey(hProv, ..., ..., byref(hKey))",
            "      test_it.py:8 in test_bad",
            "  provider context released by CryptReleaseContext",
            "      test_it.py:9 in test_bad",
            "  1 of 2 handles acquired there were released, at csp.py:16*",
            "  fix: *CryptDestroyKey*",
            "  more: csptrace guide leaked-at-release",
            "  fingerprint: 1:????????????????",
            "  in test_it.py::test_bad (call)",
        ]
    )
    assert "_pytest" not in run.out.partition("= csptrace =")[2]


def test_letters(suite: Suite) -> None:
    """A leak is an L, a misuse an M, beside the dots of the calls."""
    suite.write(
        test_it="""
        def test_a(): tidy()
        def test_b(): context()
        def test_c(): misuse()
        def test_d():
            misuse()
            context()
        """
    )
    run = suite.run("-q", "-q")  # -v and twice -q

    assert re.search(r"^\.\.L\.M\.M", run.out, re.MULTILINE), run.out


def test_swallowed_exception(suite: Suite) -> None:
    """A misuse fails the test although the program has swallowed the exception."""
    suite.write(test_it="def test_it(): misuse()")
    run = suite.run()

    assert run.counts == {"passed": 1, "misused": 1}
    assert "double-release: HCRYPTPROV" in run.out


def test_an_exception_that_is_raised_fails_once(suite: Suite) -> None:
    """A misuse that fails the test by itself does not fail it a second time."""
    suite.write(
        test_it="""
        def test_it():
            prov = context()
            release(prov)
            release(prov)
        def test_from():
            prov = context()
            release(prov)
            try: release(prov)
            except Exception as error: raise ValueError("other") from error
        @pytest.fixture
        def broken():
            prov = context()
            release(prov)
            release(prov)
        def test_setup(broken): pass
        """
    )
    run = suite.run()

    assert run.counts == {"failed": 2, "errors": 1}
    assert "interceptor.py" not in run.out  # the tracer's frames are hidden
    assert "3 double-release" in run.out


def test_failing_and_leaking(suite: Suite) -> None:
    """A failure keeps its traceback, and the leak is a second word about the test."""
    suite.write(
        test_it="""
        def test_it():
            context()
            assert 1 == 2
        """
    )
    run = suite.run()

    assert run.words["test_it"] == ["FAILED", "LEAKED"]
    assert "assert 1 == 2" in run.out


def test_a_broken_teardown_keeps_its_traceback(suite: Suite) -> None:
    """The teardown error is what is reported, with the leak in a section behind it."""
    suite.write(
        test_it="""
        @pytest.fixture
        def broken():
            yield
            raise ValueError("in the teardown")
        def test_it(broken): context()
        """
    )
    run = suite.run()

    assert run.counts == {"passed": 1, "errors": 1}
    assert "ValueError: in the teardown" in run.out
    assert "leaked 1 handle" in run.out
    assert "1 finding (1 leaked-at-exit)" in run.out


def test_equal_findings_are_grouped_and_counted(suite: Suite) -> None:
    """One text for one bug, with how often and in which tests; the totals and worst sites."""
    suite.write(
        test_it="""
        def leak(times):
            for _ in range(times): context()
        @pytest.mark.parametrize("times", [3, 4])
        def test_many(times): leak(times)
        def test_other(): key(context())
        """
    )
    run = suite.run()

    assert run.out.count("leaked-at-exit: HCRYPTPROV") == 2
    run.result.stdout.fnmatch_lines(
        [
            "leaked-at-exit: HCRYPTPROV *, a provider context (7 times)",
            "  in test_it.py::test_many[[]4] (call) (4 times)",
            "  in test_it.py::test_many[[]3] (call) (3 times)",
            "worst sites:",
            "     7  leaked-at-exit HCRYPTPROV  csp.py:*",
            "csptrace: 9 findings (9 leaked-at-exit) at 3 places in 3 tests or fixtures",
        ]
    )


def test_full_stacks_with_vv(suite: Suite) -> None:
    """-vv shows every frame up to the test; without it there are four."""
    suite.write(
        test_it="""
        def deep(levels):
            if levels: deep(levels - 1)
            else: context()
        def test_it(): deep(8)
        """
    )
    short, full = suite.run(), suite.run("-v")

    assert "… 7 more frames" in short.out
    assert "more frame" not in full.out
    assert "in test_it\n" in full.out.partition("= csptrace =")[2]


def test_quiet_summary(suite: Suite) -> None:
    """--tb=no leaves one line for each finding."""
    suite.write(test_it="def test_it(): context()")
    run = suite.run("--tb=no")

    assert "acquired by" not in run.out
    run.result.stdout.fnmatch_lines(["leaked-at-exit: HCRYPTPROV at csp.py:* [[]1:*]"])


@pytest.mark.parametrize(("option", "ran"), [("-x", 2), ("--maxfail=2", 3), ("--maxfail=9", 4)])
@pytest.mark.parametrize("workers", [(), ("-n1", "--maxschedchunk=1")])
def test_stopping_early(suite: Suite, option: str, ran: int, workers: tuple[str, ...]) -> None:
    """A leak that is certain counts as a failure for -x and --maxfail."""
    suite.write(
        test_it="""
        def leak():
            prov = context()
            key(prov)
            release(prov)
        def test_a(): tidy()
        def test_b(): leak()
        def test_c(): leak()
        def test_d(): tidy()
        """
    )
    if workers:
        suite.write(test_more="".join(f"def test_{number}(): pass\n" for number in range(30)))
        run = suite.spawn(*workers, option, plugins=["xdist"])
        assert (run.counts["passed"] < 20) is (ran < 4)
        assert run.status == (1 if ran == 4 else 2)
        return
    run = suite.run(option)

    assert run.counts["passed"] == ran
    assert run.status == 1


WITHDRAWN = """
kept = []
def test_acquires(): kept.append(context())
def test_also(): kept.append(context())
def test_releases():
    while kept: release(kept.pop())
def test_between(): pass
"""


@pytest.mark.parametrize("option", ["-x", "--maxfail=1", "--maxfail=2", "--maxfail=3"])
@pytest.mark.parametrize("workers", [(), ("-n1", "--maxschedchunk=1")])
@pytest.mark.parametrize("fails", [True, False])
def test_stopping_early_runs_what_it_would_run_without_withdrawn_leaks(
    suite: Suite, option: str, workers: tuple[str, ...], *, fails: bool
) -> None:
    """What may be taken back stops no run, so that every test that fails is run and counts."""
    suite.write(test_it=WITHDRAWN + ("def test_fails(): assert False" if fails else ""))
    run = suite.spawn(*workers, option, plugins=["xdist"]) if workers else suite.run(option)

    assert run.counts == {"passed": 4, "withdrawn": 2, **({"failed": 1} if fails else {})}
    assert (run.status != 0) is fails


@pytest.mark.parametrize("workers", [(), ("-n1",)])
def test_the_next_run_does_not_repeat_what_was_withdrawn(
    suite: Suite, workers: tuple[str, ...]
) -> None:
    """--lf selects tests whose leak stands, and no fixture, which it could not select."""
    suite.write(
        test_it=WITHDRAWN
        + """
@pytest.fixture(scope="module")
def wide():
    prov = context()
    key(prov)
    release(prov)
def test_leaks(): context()
def test_wide(wide): pass
def test_misuses(): misuse()
"""
    )
    cache = ("-p", "cacheprovider")
    run = suite.spawn(*cache, *workers, plugins=["xdist"])
    known = json.loads((run.folder / ".pytest_cache/v/cache/lastfailed").read_text("utf-8"))
    again = suite.spawn(*cache, "--lf")

    assert run.counts == {"passed": 7, "withdrawn": 2, "leaked": 2, "misused": 1}
    assert list(known) == ["test_it.py::test_misuses", "test_it.py::test_leaks"]
    assert again.counts == {"passed": 2, "leaked": 1, "misused": 1}


def test_stepwise(suite: Suite) -> None:
    """--sw stops for what nothing can take back, and goes on where the first failure stands."""
    suite.write(
        test_it=WITHDRAWN
        + """
def test_leaks(): context()
def test_misuses(): misuse()
def test_last(): pass
"""
    )
    cache = ("-p", "cacheprovider", "-p", "stepwise", "--sw")
    run, again = suite.spawn(*cache), suite.spawn(*cache)

    assert run.counts == {"passed": 6, "withdrawn": 2, "leaked": 1, "misused": 1}
    assert again.counts == {"passed": 2, "leaked": 1, "misused": 1}


@pytest.mark.parametrize("reason", ["pytest.exit('enough', 0)", "request.session.shouldstop = 'x'"])
def test_a_run_that_is_cut_short_keeps_its_exit_status(suite: Suite, reason: str) -> None:
    """Who ends the run early has the last word on its status, whatever was withdrawn."""
    suite.write(test_it=WITHDRAWN + f"def test_ends(request): {reason}\ndef test_z(): assert False")
    run = suite.run("-x")
    plain = suite.run("-x", on=False)

    assert run.status == plain.status
    assert "withdrawn" in run.out


@pytest.mark.parametrize("workers", [(), ("-n1",)])
def test_a_leak_that_stands_fails_the_run(suite: Suite, workers: tuple[str, ...]) -> None:
    """What does not stop a run fails it in the end, in a test as in a fixture."""
    suite.write(
        test_it="""
        @pytest.fixture(scope="module")
        def wide(): context()
        def test_a(): context()
        def test_b(wide): pass
        """
    )
    run = suite.spawn("-x", *workers, plugins=["xdist"]) if workers else suite.run("-x")

    assert run.counts == {"passed": 2, "leaked": 2}
    assert run.status == 1


def test_stopping_early_with_a_wide_fixture(suite: Suite) -> None:
    """After -x a module's fixture is torn down at the end of the session, and judged then."""
    suite.write(
        test_it="""
        @pytest.fixture(scope="module")
        def good():
            prov = context()
            yield
            release(prov)
        @pytest.fixture(scope="module")
        def bad(): context()
        def test_a(good, bad): assert False
        def test_b(good): pass
        """
    )
    run = suite.run("-x")

    assert run.counts == {"failed": 1, "leaked": 1}
    assert "in fixture bad (module)" in run.out
    assert "fixture good" not in run.out


def test_keyboard_interrupt(suite: Suite) -> None:
    """What was interrupted is not judged, and what was found before is reported."""
    suite.write(
        test_it="""
        @pytest.fixture(scope="module")
        def prov():
            prov = context()
            yield prov
            release(prov)
        def test_a(prov): key(prov)
        def test_b(prov):
            context()
            raise KeyboardInterrupt
        """
    )
    run = suite.spawn()

    assert run.status == 2
    assert "KeyboardInterrupt" in run.out
    assert run.blamed == {"test_a"}
    assert "1 finding (1 leaked-at-exit)" in run.out


def test_rerunfailures(suite: Suite) -> None:
    """Earlier attempts do not count, whichever phase failed, but are shown."""
    suite.write(
        test_it="""
        attempts = []
        def test_leaks_at_first():
            attempts.append(1)
            prov = context()
            if len(attempts) == 3: release(prov)
        failed = []
        def test_fails_and_leaks_at_first():
            failed.append(1)
            prov = context()
            assert len(failed) == 3
            release(prov)
        def test_always_leaks(): context()
        def test_never(): tidy()
        """
    )
    run = suite.run("--reruns", "2", plugins=["rerunfailures"])

    assert run.blamed == {"test_always_leaks"}
    assert run.words["test_leaks_at_first"][-1] == "PASSED"
    # How many phases of one attempt are counted as reruns depends on the plugin's version.
    assert run.counts == {"passed": 8, "leaked": 1, "rerun": run.counts["rerun"]}
    assert run.out.count("in an earlier attempt: ") == 3
    assert "1 finding (1 leaked-at-exit) at 1 place in 1 test or fixture" in run.out
    assert "6 in earlier attempts" in run.out


def test_a_plugin_that_reports_the_last_attempt_only(suite: Suite) -> None:
    """What an attempt has found that was never reported does not count for the next one."""
    suite.write(
        conftest="""
        from _pytest.runner import runtestprotocol
        def pytest_runtest_protocol(item, nextitem):
            for _ in range(2): reports = runtestprotocol(item, nextitem=nextitem, log=False)
            for report in reports: item.ihook.pytest_runtest_logreport(report=report)
            return True
        """,
        test_it="""
        attempts = []
        def test_leaks_at_first():
            attempts.append(1)
            prov = context()
            if len(attempts) == 2: release(prov)
        def test_clean(): tidy()
        """,
    )
    run = suite.run()

    assert run.counts == {"passed": 2}
    assert "1 in earlier attempts" in run.out


@pytest.mark.parametrize("scope", ["function", "module"])
def test_pytest_asyncio(suite: Suite, scope: str) -> None:
    """Coroutine tests and fixtures are followed like others, also on a loop that tests share."""
    suite.write(
        test_it=f"""
        import asyncio, pytest_asyncio
        pytestmark = pytest.mark.asyncio(loop_scope={scope!r})
        @pytest_asyncio.fixture(loop_scope={scope!r})
        async def leaky():
            await asyncio.sleep(0)
            yield context()
        @pytest_asyncio.fixture(loop_scope={scope!r}, scope={scope!r})
        async def held():
            prov = context()
            yield prov
            await asyncio.sleep(0)
            release(prov)
        async def leak(): context()
        async def test_a(held): tidy()
        async def test_b(held): await asyncio.create_task(leak())
        async def test_c(held): destroy(key(held))
        async def test_d(leaky): pass
        async def test_e(): tidy()
        """
        if _modern_asyncio()
        else """
        import asyncio, pytest_asyncio
        pytestmark = pytest.mark.asyncio
        @pytest_asyncio.fixture
        async def leaky():
            await asyncio.sleep(0)
            yield context()
        async def leak(): context()
        async def test_b(): await asyncio.create_task(leak())
        async def test_d(leaky): pass
        async def test_e(): tidy()
        """
    )
    run = suite.run("-o", "asyncio_default_fixture_loop_scope=function", plugins=["asyncio"])

    assert run.blamed == {"test_b", "test_d"}
    assert "(setup, fixture leaky)" in run.out


def _modern_asyncio() -> bool:
    import pytest_asyncio

    return int(pytest_asyncio.__version__.partition(".")[0]) >= 1


@pytest.mark.parametrize("name", ["terminal", "junitxml", "doctest", "unraisableexception"])
def test_other_plugins_may_be_missing(suite: Suite, name: str) -> None:
    """`-p no:…` of one of pytest's own plugins takes nothing away but that plugin."""
    suite.write(test_it="def test_a(): context()\ndef test_b(): tidy()")
    loud = () if name == "terminal" else ("-v",)
    run = suite.run("-p", f"no:{name}", "--csptrace-sarif", "found.sarif", loud=loud)

    assert run.status == 1
    (result,) = run.json("found.sarif")["runs"][0]["results"]
    assert result["properties"]["scopes"] == ["test_it.py::test_a"]


def test_the_plugin_itself_may_be_blocked(suite: Suite) -> None:
    """`-p no:csptrace` is as if it were not installed."""
    suite.write(test_it="def test_a(): context()")
    run = suite.run("-p", "no:csptrace", on=False)

    assert run.counts == {"passed": 1}
    assert "csptrace:" not in run.out


def test_a_bug_of_the_plugin_hides_nothing(suite: Suite) -> None:
    """An internal error is told with its traceback, fails the run, and leaves failures alone."""
    suite.write(
        test_it=BROKEN + "def test_leaks(): context()\ndef test_fails(): assert 1 == 2",
    )
    run = suite.run()

    assert run.status == 1
    assert run.words["test_fails"] == ["FAILED"]
    assert "assert 1 == 2" in run.out
    assert "internal error in _judge" in run.out
    assert "csptrace: FAILED: csptrace itself has failed" in run.out


def test_a_bug_of_the_tracer_fails_the_run_and_no_test(suite: Suite) -> None:
    """What the tracer finds after an internal error is shown only; the error is told once."""
    suite.write(
        test_it="""
        import dataclasses
        import functools
        import csptrace
        def test_sabotaged(monkeypatch):
            tracer = csptrace.current()
            diagnostics = tracer.diagnostics
            diagnostics.settings = dataclasses.replace(diagnostics.settings, strict=False)
            broken = functools.partial(int, "no number")
            monkeypatch.setattr(tracer.graph, "acquire", broken)
            context()
        def test_leaks(): context()
        """,
    )
    run = suite.run()

    assert run.status == 1
    assert run.counts == {"passed": 2}
    assert "leaked-at-exit" in run.out
    assert run.out.count("csptrace had an internal error; no finding fails a test since") == 1
    assert "internal error in ctypes.CryptAcquireContext" in run.out
    assert "csptrace: FAILED: csptrace itself has failed" in run.out


def test_a_test_that_stops_the_tracer(suite: Suite) -> None:
    """A run whose tracer was stopped halfway is not taken for a clean one."""
    suite.write(
        test_it="""
        import csptrace
        def test_a(): csptrace.stop()
        def test_b(): context()
        """
    )
    run = suite.run()

    assert run.status == 1
    assert "the tracer was stopped in test_it.py::test_a" in run.out
