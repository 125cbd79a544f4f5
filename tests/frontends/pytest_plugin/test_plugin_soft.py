"""--csptrace-soft reports, and changes neither the result of a test nor the exit status."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from plugin_suites import BROKEN

if TYPE_CHECKING:
    from conftest import Suite

SOFT = "--csptrace-soft"


def test_a_misuse_is_reported_and_the_call_is_made(suite: Suite) -> None:
    """The provider gives its own answer, which the test may be about."""
    suite.write(
        test_it="""
        from ctypes import c_void_p
        def test_double():
            prov = context()
            release(prov)
            assert not csp.advapi32.CryptReleaseContext(prov, 0)
        def test_orphan():
            prov = context()
            hKey = key(prov)
            release(prov)
            assert not csp.advapi32.CryptDestroyKey(hKey)
        def test_destructor():
            class Clumsy:
                def __init__(self): self.prov = context()
                def __del__(self):
                    csp.advapi32.CryptReleaseContext(self.prov, 0)
                    csp.advapi32.CryptReleaseContext(self.prov, 0)
            Clumsy()
        """
    )
    suite.ini("filterwarnings = error")
    run = suite.run(SOFT)

    assert run.counts == {"passed": 3}
    assert run.status == 0
    for code in ("2 double-release", "1 out-of-order-release", "1 leaked-at-release"):
        assert code in run.out


@pytest.mark.parametrize("reaction", ["raise", "warn", "log"])
def test_whatever_the_settings_say(
    suite: Suite, reaction: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The option wins over what misuse and leaks are to lead to otherwise."""
    monkeypatch.setenv("CSPTRACE_ON_MISUSE", reaction)
    monkeypatch.setenv("CSPTRACE_ON_LEAK", reaction)
    monkeypatch.setenv("CSPTRACE_EXIT_CODE", "3")
    monkeypatch.setenv("CSPTRACE", "1")
    suite.ini("filterwarnings = error")
    suite.write(
        test_it="""
        def test_it():
            prov = context()
            key(prov)
            release(prov)
            assert not csp.advapi32.CryptReleaseContext(prov, 0)
            context()
        """
    )
    run = suite.spawn(SOFT, on=False)

    assert run.counts == {"passed": 1}
    assert run.status == 0
    assert "3 findings" in run.out


def test_a_bug_of_csptrace(suite: Suite) -> None:
    """An internal error is told, and fails neither a test nor the run."""
    suite.write(
        test_it=BROKEN + "def test_leaks(): context()\ndef test_last(): pass",
    )
    run = suite.run(SOFT)

    assert run.counts == {"passed": 2}
    assert run.status == 0
    assert "internal error in _judge" in run.out
    assert "csptrace: csptrace itself has failed" in run.out
    assert "FAILED" not in run.out


def test_a_tracer_that_cannot_start(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run goes on without it, and says so; the fixture's tests are skipped."""
    monkeypatch.setattr("csptrace.findings.judgement.Leaks.described", lambda *_, **__: ())
    suite.write(test_it="def test_it(): context()\ndef test_fixture(csptrace): pass")
    run = suite.run(SOFT)

    assert run.counts == {"passed": 1, "skipped": 1}
    assert run.status == 0
    assert run.out.count("csptrace: nothing is traced: self-test FAILED") == 2


def test_a_marker_that_means_nothing(suite: Suite) -> None:
    """It is told, and the tests are run."""
    suite.write(
        test_it="""
        @pytest.mark.csptrace(leak="allow")
        def test_marked(): context()
        def test_other(): pass
        """
    )
    run = suite.run(SOFT)

    assert run.counts == {"passed": 2}
    assert run.status == 0
    assert "unknown argument 'leak'" in run.out


def test_files_that_cannot_be_written(suite: Suite) -> None:
    """What is wanted besides the results of the tests does not decide about them."""
    suite.write(
        test_it="""
        import os, shutil
        def test_it():
            context()
            shutil.rmtree("out")
            open("out", "w").close()
        """
    )
    run = suite.run(SOFT, "--csptrace-sarif", "out/found.sarif")

    assert run.counts == {"passed": 1}
    assert run.status == 0
    assert "cannot be written" in run.out


def test_what_is_asked_for_by_name_fails_all_the_same(suite: Suite) -> None:
    """A marker that forbids leaks, and --csptrace-require, say more than the option does."""
    suite.write(
        test_it="""
        @pytest.mark.csptrace(leaks="forbid")
        def test_it(): context()
        """
    )
    forbidden = suite.run(SOFT)
    suite.write(test_it="def test_it(): pass")
    required = suite.run(SOFT, "--csptrace-require")

    assert forbidden.counts == {"passed": 1, "leaked": 1}
    assert forbidden.status == required.status == 1
