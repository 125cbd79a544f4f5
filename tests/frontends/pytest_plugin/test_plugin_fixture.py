"""The fixture `csptrace`: what a test can ask and expect while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Suite


def test_what_it_tells(suite: Suite) -> None:
    """findings, live() and snapshot().diff() are about this test and this moment."""
    suite.write(
        test_it="""
        @pytest.fixture(scope="module")
        def held():
            prov = context()
            yield prov
            release(prov)
        def test_live(held, csptrace):
            assert csptrace.live() == ()
            prov = context()
            assert [handle.kind for handle in csptrace.live()] == ["HCRYPTPROV"]
            release(prov)
            assert csptrace.live() == ()
        def test_snapshot(held, csptrace):
            before = csptrace.snapshot()
            prov = context()
            assert [handle.kind for handle in before.diff()] == ["HCRYPTPROV"]
            release(prov)
            assert before.diff() == ()
        def test_findings(csptrace):
            assert csptrace.findings == ()
            misuse()
            assert [finding.code.value for finding in csptrace.findings] == ["double-release"]
        """
    )
    run = suite.run()

    assert run.counts == {"passed": 3, "misused": 1}
    assert run.blamed == {"test_findings"}


def test_assert_no_leaks(suite: Suite) -> None:
    """It fails at once, where the test says so, and names the line that acquired."""
    suite.write(
        test_it="""
        def test_alive(csptrace):
            prov = context()
            try: csptrace.assert_no_leaks()
            finally: release(prov)
        def test_leaked(csptrace):
            prov = context()
            key(prov)
            release(prov)
            csptrace.assert_no_leaks()
        def test_clean(csptrace):
            tidy()
            csptrace.assert_no_leaks()
        """
    )
    run = suite.run()

    assert run.words["test_alive"] == ["FAILED"]
    assert run.words["test_leaked"] == ["FAILED", "LEAKED"]
    assert run.words["test_clean"] == ["PASSED"]
    run.result.stdout.fnmatch_lines(
        ["E *AssertionError: alive: HCRYPTPROV 0x*, a provider context, acquired at *csp.py:7"]
    )


def test_expected_misuse(suite: Suite) -> None:
    """What a test provokes on purpose does not count, whether it is raised or swallowed."""
    suite.write(
        test_it="""
        import csptrace as package
        def test_raised(csptrace):
            prov = context()
            release(prov)
            with csptrace.expect("double-release") as expected:
                release(prov)
            assert isinstance(expected.error, package.DoubleRelease)
            assert [finding.code.value for finding in expected.findings] == ["double-release"]
        def test_swallowed(csptrace):
            with csptrace.expect("double-release", kind="HCRYPTPROV", count=2) as expected:
                misuse()
                misuse()
            assert expected.error is None
        def test_leak_at_release(csptrace):
            prov = context()
            key(prov)
            with csptrace.expect("leaked-at-release", kind="HCRYPTKEY"):
                release(prov)
        def test_leak_at_exit(csptrace):
            with csptrace.expect("leaked-at-exit", count=2):
                key(context())
        def test_nested(csptrace):
            with csptrace.expect("double-release"), csptrace.expect("leaked-at-exit"):
                misuse()
                context()
        """
    )
    assert suite.run().counts == {"passed": 5}


def test_unexpected_things_in_an_expect_block(suite: Suite) -> None:
    """Another code, kind or number is not what was expected, and other exceptions go on."""
    suite.write(
        test_it="""
        def test_nothing(csptrace):
            with csptrace.expect("double-release"): tidy()
        def test_number(csptrace):
            with csptrace.expect("double-release", count=2): misuse()
        def test_kind(csptrace):
            with csptrace.expect("double-release", kind="HCRYPTKEY"): misuse()
        def test_code(csptrace):
            with csptrace.expect("double-release"):
                misuse()
                context()
        def test_leak_beside(csptrace):
            with csptrace.expect("leaked-at-exit", kind="HCRYPTKEY"): key(context())
        def test_exception(csptrace):
            with csptrace.expect("double-release"):
                misuse()
                raise ValueError("mine")
        """
    )
    run = suite.run()

    assert run.words == {
        "test_nothing": ["FAILED"],
        "test_number": ["FAILED"],
        "test_kind": ["FAILED", "MISUSED"],
        "test_code": ["PASSED", "LEAKED"],
        "test_leak_beside": ["PASSED", "LEAKED"],
        "test_exception": ["FAILED"],
    } | {name: words for name, words in run.words.items() if "::" in name or "-" in name}
    assert "expected at least one of: double-release; found none" in run.out
    assert "expected 2 of: double-release; found 1" in run.out
    assert "ValueError: mine" in run.out


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("csptrace.expect('leak')", "unknown code 'leak'; known are leaked-at-release"),
        ("csptrace.expect()", "which code? Known are leaked-at-release"),
        ("csptrace.expect('lost', kind='KEY')", "unknown kind 'KEY'; known are "),
    ],
)
def test_expecting_nonsense(suite: Suite, call: str, words: str) -> None:
    """An unknown code or kind names the known ones."""
    suite.write(test_it=f"def test_it(csptrace):\n    with {call}: pass")
    run = suite.run()

    assert run.counts == {"failed": 1}
    assert words in run.out


def test_fault_injection(suite: Suite) -> None:
    """An error path that leaks is reached by a fault, and the leak is found."""
    suite.write(
        test_it="""
        def make():
            prov = context()
            made = key(prov)
            destroy(made)
            release(prov)
        def test_error_path(csptrace):
            fault = csptrace.inject_fault("CryptGenKey", "NTE_NO_MEMORY")
            with pytest.raises(AssertionError): make()
            assert fault.failures == 1
        def test_fixture_of_softcsp(csp_faults):
            csp_faults("CryptGenKey", "NTE_NO_MEMORY")
            with pytest.raises(AssertionError): make()
        def test_behind(): make()
        """
    )
    run = suite.run()

    assert run.blamed == {"test_error_path", "test_fixture_of_softcsp"}
    assert run.counts == {"passed": 3, "leaked": 2}


def test_without_the_plugin_the_test_is_skipped(suite: Suite) -> None:
    """A test that asks for the fixture is skipped, with the reason, where csptrace is off."""
    suite.write(test_it="def test_it(csptrace): assert False")
    run = suite.run("-rs", on=False)

    assert run.counts == {"skipped": 1}
    assert "csptrace is off; run pytest --csptrace" in run.out
