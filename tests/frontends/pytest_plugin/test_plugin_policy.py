"""What counts: markers, severities, packages, soft mode, the baseline."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING

import pytest

from csptrace.findings import baseline

if TYPE_CHECKING:
    from conftest import Suite

LEAKY = """
def leak(): context()
def test_leaks(): leak()
def test_misuses(): misuse()
def test_clean(): tidy()
"""


def test_marker_allows(suite: Suite) -> None:
    """`leaks="allow"` accepts leaks, names the reason, and says nothing about misuses."""
    suite.write(
        test_it="""
        @pytest.mark.csptrace(leaks="allow", reason="kept on purpose")
        def test_allowed(): context()
        @pytest.mark.csptrace(leaks="allow")
        def test_misuse(): misuse()
        @pytest.mark.csptrace(leaks="allow")
        class TestAll:
            def test_inherits(self): context()
            @pytest.mark.csptrace(leaks="forbid")
            def test_closest_wins(self): context()
        """
    )
    run = suite.run("--strict-markers")

    assert run.blamed == {"test_misuse", "test_closest_wins"}
    run.result.stdout.fnmatch_lines(["allowed: *in test_it.py::test_allowed: kept on purpose"])
    assert "2 allowed" in run.out


@pytest.mark.parametrize(
    ("arguments", "blamed"),
    [
        ("leaks='allow', kinds='HCRYPTKEY'", True),
        ("leaks='allow', kinds=['HCRYPTPROV', 'HCRYPTKEY']", False),
        ("leaks='allow', codes='lost'", True),
        ("leaks='allow', codes=('leaked-at-exit', 'lost')", False),
        ("leaks='allow', codes='leaked-at-exit', kinds='HCRYPTHASH'", True),
    ],
)
def test_marker_is_narrowed(suite: Suite, arguments: str, blamed: bool) -> None:
    """`codes` and `kinds` narrow down what a marker is about."""
    suite.write(
        test_it=f"""
        @pytest.mark.csptrace({arguments})
        def test_it(): key(context())
        """
    )
    assert bool(suite.run().blamed) is blamed


def test_marker_allows_a_misuse_that_it_names(suite: Suite) -> None:
    """A code that is no leak is accepted if the marker names it."""
    suite.write(
        test_it="""
        @pytest.mark.csptrace(leaks="allow", codes="double-release")
        def test_it(): misuse()
        """
    )
    assert suite.run().counts == {"passed": 1}


def test_marker_forbids_in_soft_mode(suite: Suite) -> None:
    """`leaks="forbid"` fails the test whatever else is configured; soft mode reports the rest."""
    suite.write(
        test_it="""
        def test_soft(): context()
        @pytest.mark.csptrace(leaks="forbid")
        def test_strict(): context()
        """
    )
    run = suite.run("--csptrace-soft")

    assert run.blamed == {"test_strict"}
    assert "2 leaked-at-exit" in run.out
    assert "in test_it.py::test_soft (call)" in run.out


def test_soft_mode_passes(suite: Suite) -> None:
    """Everything is reported and nothing fails."""
    suite.write(test_it=LEAKY)
    run = suite.run("--csptrace-soft")

    assert run.status == 0
    assert run.counts == {"passed": 3}
    assert "2 findings (1 double-release, 1 leaked-at-exit)" in run.out


def test_only_mine(suite: Suite) -> None:
    """`only-mine` overlooks what an installed library acquires, and fails on what the test does."""
    suite.write(
        **{
            "site-packages/library": """
            from ctypes import byref, c_void_p
            from csptrace.softcsp import advapi32
            def acquire():
                hProv = c_void_p()
                advapi32.CryptAcquireContextW(byref(hProv), None, None, 24, 0xF0000000)
            """,
            "test_it": """
            import library
            @pytest.mark.csptrace(leaks="only-mine")
            def test_theirs(): library.acquire()
            @pytest.mark.csptrace(leaks="only-mine")
            def test_mine(): context()
            def test_unmarked(): library.acquire()
            """,
        }
    )
    suite.pytester.syspathinsert(suite.path / "site-packages")
    run = suite.run()

    assert run.blamed == {"test_mine", "test_unmarked"}
    assert "acquired by an installed library" in run.out


def test_ini_default_policy(suite: Suite) -> None:
    """csptrace_leaks is the policy of tests without a marker."""
    suite.ini("csptrace = true", "csptrace_leaks = allow")
    suite.write(
        test_it="""
        def test_unmarked(): context()
        @pytest.mark.csptrace(leaks="forbid")
        def test_marked(): context()
        """
    )
    assert suite.run(on=False).blamed == {"test_marked"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("leaks='alow'", "leaks='alow': allowed are allow, forbid, only-mine"),
        ("codes='leak'", "unknown code 'leak'; known are leaked-at-release, leaked-at-exit, lost"),
        ("kinds=['KEY']", "unknown kind 'KEY'; known are "),
        ("kinds=3", "kinds=3: a name, or several"),
        ("leak='allow'", "unknown argument 'leak'; known are leaks, codes, kinds, reason"),
        ("'allow'", "takes keywords only (leaks, codes, kinds, reason), not 'allow'"),
        ("reason=3", "reason=3: must be a text"),
    ],
)
def test_bad_marker_is_a_collection_error(suite: Suite, arguments: str, words: str) -> None:
    """What a marker cannot mean is refused before any test runs, and the error says what it can."""
    suite.write(
        test_it=f"@pytest.mark.csptrace({arguments})\ndef test_it(): pass",
        test_other="def test_other(): pass",
    )
    run = suite.run()

    assert run.counts == {"errors": 1}
    assert "ERROR collecting" in run.out
    assert words in run.out


@pytest.mark.parametrize(
    "text",
    [
        "pytestmark = {mark}\ndef test_it(): pass",
        "class TestIt:\n    pytestmark = [{mark}]\n    def test_it(self): pass",
        "import unittest\nclass T(unittest.TestCase):\n    @{mark}\n    def test_it(self): pass",
        "@pytest.mark.parametrize('a', [pytest.param(1, marks={mark})])\ndef test_it(a): pass",
    ],
)
def test_bad_markers_in_other_places(suite: Suite, text: str) -> None:
    """Modules, classes, unittest methods and parameters can be marked wrongly, too."""
    suite.write(test_it=text.format(mark="pytest.mark.csptrace(leaks='alow')"))
    run = suite.run()

    assert run.counts == {"errors": 1}
    assert "leaks='alow': allowed are allow, forbid, only-mine" in run.out


def test_severity_that_fails(suite: Suite) -> None:
    """With --csptrace-fail-on=error a leak, which is a warning, is reported only."""
    suite.write(test_it=LEAKY)
    run = suite.run("--csptrace-fail-on", "error")

    assert run.blamed == {"test_misuses"}
    assert "1 leaked-at-exit" in run.out


@pytest.mark.parametrize("way", ["option", "ini"])
def test_include_and_exclude(suite: Suite, way: str) -> None:
    """Only what touches an included package is found; excluded code is never blamed."""
    suite.write(
        **{
            "app/__init__": "import csp\ndef leak(): csp.context()",
            "test_it": "import app\ndef test_app(): app.leak()\ndef test_other(): context()",
        }
    )
    if way == "option":
        run = suite.run("--csptrace-include", "app")
    else:
        suite.ini("csptrace = yes", "csptrace_include = app")
        run = suite.run(on=False)
    assert run.blamed == {"test_app"}

    suite.ini("csptrace = yes")
    none = suite.run("--csptrace-exclude", "test_it", "--csptrace-exclude", "csp")
    assert none.blamed == {"test_app"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--csptrace-fail-on", "loud"], "'loud': allowed are error, warning, info"),
        (["-o", "csptrace_leaks=maybe"], "'maybe': allowed are allow, forbid, only-mine"),
        (["--csptrace-update-baseline"], "which file? Add --csptrace-baseline FILE"),
        (["--csptrace-baseline", "no.toml"], "no.toml does not exist; make it with"),
        (["--csptrace-sarif", "."], "cannot be written: it is a folder"),
        (["--csptrace-sarif", "old.jsonl"], "cannot be written: it is a log and"),
        (["--csptrace-log", "csp.py"], "cannot be written: File exists"),
        (["--csptrace-sarif", "csp.py/x.sarif"], "cannot be written: "),
        (["--csptrace-baseline", "no/b.toml", "--csptrace-update-baseline"], "cannot be written: "),
    ],
)
def test_bad_options_are_errors_at_start(suite: Suite, arguments: list[str], words: str) -> None:
    """A value that means nothing, or a file that cannot be written, stops the run at once."""
    suite.write(test_it="def test_it(): pass")
    event = {"event": "csptrace.x", "run": "a", "seq": 1, "ts": 1, "mono": 1}
    (suite.path / "old.jsonl").write_text(json.dumps(event) + "\n")
    run = suite.run(*arguments)

    assert run.status == pytest.ExitCode.USAGE_ERROR
    assert words in run.err + run.out
    assert "test_it.py" not in run.out


# --- the baseline -------------------------------------------------------------------------------


def test_baseline_life(suite: Suite) -> None:
    """Written, accepted; a new finding fails; a gone one is stale; rewriting keeps reasons."""
    suite.write(test_it=LEAKY)
    path = suite.path / "known.toml"
    base = ("--csptrace-baseline", "known.toml")

    first = suite.run(*base, "--csptrace-update-baseline")
    assert first.status == 0
    assert "known.toml accepts 2 findings now" in first.out
    entries = baseline.read(path)
    assert {(entry.code, entry.kind, entry.where) for entry in entries} == {
        ("double-release", "HCRYPTPROV", "csp.py in release"),
        ("leaked-at-exit", "HCRYPTPROV", "csp.py in context"),
    }
    text = path.read_text("utf-8")
    path.write_text(text.replace("count = 1\n", 'count = 1\nreason = "old bug"\n', 1), "utf-8")

    second = suite.run(*base)
    assert second.status == 0
    assert second.counts == {"passed": 3}
    assert "old bug" in second.out
    assert "2 in the baseline" in second.out

    suite.write(test_it=LEAKY + "def test_new(): key(context())\n")
    third = suite.run(*base)
    assert third.blamed == {"test_new"}

    suite.write(test_it="def test_leaks(): pass\ndef test_misuses(): misuse()")
    fourth = suite.run(*base)
    assert fourth.status == 0
    assert "stale: " in fourth.out
    assert suite.run(*base, "--csptrace-strict-baseline").status == 1

    fifth = suite.run(*base, "--csptrace-update-baseline")
    assert "known.toml accepts 1 finding now" in fifth.out
    again = path.read_text("utf-8")
    assert again.count("[[finding]]") == 1
    suite.run(*base, "--csptrace-update-baseline")
    assert path.read_text("utf-8") == again


def test_baseline_counts(suite: Suite) -> None:
    """More than the accepted number fails: the test that has one too many."""
    suite.write(
        test_it="""
        @pytest.mark.parametrize("number", range(3))
        def test_it(number): context()
        """
    )
    base = ("--csptrace-baseline", "known.toml")
    suite.run(*base, "--csptrace-update-baseline", "-k", "0 or 1")
    assert baseline.read(suite.path / "known.toml")[0].count == 2
    run = suite.run(*base)

    assert run.blamed == {"test_it[2]"}
    assert "more than the 2 that the baseline accepts" in run.out


def test_baseline_expires(suite: Suite) -> None:
    """An entry accepts nothing any more after its date."""
    suite.write(test_it=LEAKY)
    base = ("--csptrace-baseline", "known.toml")
    suite.run(*base, "--csptrace-update-baseline")
    path = suite.path / "known.toml"
    text = path.read_text("utf-8")
    yesterday = dt.datetime.now(tz=dt.UTC).date() - dt.timedelta(days=1)
    path.write_text(
        text.replace("count = 1\n", f"count = 1\nexpires = {yesterday}\n"), encoding="utf-8"
    )
    run = suite.run(*base)

    assert run.blamed == {"test_leaks", "test_misuses"}
    assert f"expired on {yesterday}" in run.out


def test_a_narrowed_run_removes_nothing_from_the_baseline(suite: Suite) -> None:
    """Entries that did not occur because their tests were not run are kept and are not stale."""
    suite.write(test_it=LEAKY)
    base = ("--csptrace-baseline", "known.toml")
    suite.run(*base, "--csptrace-update-baseline")
    narrow = suite.run(*base, "-k", "clean")
    suite.run(*base, "--csptrace-update-baseline", "-k", "clean")

    assert "stale" not in narrow.out
    assert len(baseline.read(suite.path / "known.toml")) == 2


def test_broken_baseline_names_file_line_and_field(suite: Suite) -> None:
    """The error says where to look, before any test runs."""
    suite.write(test_it=LEAKY)
    (suite.path / "known.toml").write_text(
        'version = 1\n\n[[finding]]\nfingerprint = "1:0123456789abcdef"\ncount = "two"\n',
        encoding="utf-8",
    )
    run = suite.run("--csptrace-baseline", "known.toml")

    assert run.status == pytest.ExitCode.USAGE_ERROR
    assert "known.toml:5: finding 1: count = 'two'; must be a whole number from 1" in run.err
