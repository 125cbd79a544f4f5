"""What machines read: JUnit XML, annotations, SARIF, event logs; also from workers."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import jsonschema
import pytest

from csptrace.events.schema import shipped

if TYPE_CHECKING:
    from conftest import Run, Suite

SCHEMA = json.loads(
    (Path(__file__).parents[2] / "analysis" / "sarif-schema-2.1.0.json").read_text("utf-8")
)
LEAKY = """
def leak(): context()
def test_leaks(): leak()
def test_again(): leak()
def test_misuses(): misuse()
def test_key():
    prov = context()
    key(prov)
    release(prov)
@pytest.fixture(scope="module")
def wide(): context()
def test_wide(wide): pass
def test_clean(): tidy()
"""


def sarif(run: Run, name: str = "found.sarif") -> dict[str, Any]:
    """Return the one run in a SARIF file, which is valid."""
    log = run.json(name)
    jsonschema.Draft4Validator(SCHEMA).validate(log)
    (found,) = log["runs"]
    return dict(found)


def test_junit(suite: Suite) -> None:
    """The findings are properties of their test case, and the failure is an error with its text."""
    suite.write(test_it=LEAKY)
    run = suite.run("--junitxml", "junit.xml")
    root = ET.parse(run.folder / "junit.xml").getroot()  # our own file
    cases = {case.get("name"): case for case in root.iter("testcase")}

    properties = [(one.get("name"), one.get("value")) for one in cases["test_key"].iter("property")]
    assert properties[0] == ("csptrace.findings", "1")
    name, value = properties[1]
    assert name == "csptrace.leaked-at-release"
    assert value is not None
    assert value.startswith("HCRYPTKEY at csp.py:12 [1:")
    assert value.endswith("in call: fail")
    (error,) = cases["test_key"].iter("error")
    assert "leaked-at-release: HCRYPTKEY" in (error.text or "")
    assert not list(cases["test_clean"])
    assert "fixture wide (module)" in cases


def cases_of(run: Run) -> tuple[dict[str, str], dict[str, ET.Element]]:
    """Return the attributes of a JUnit file's suite, and its cases by name; each is there once."""
    root = ET.parse(run.folder / "junit.xml").getroot()
    (found,) = root.iter("testsuite")
    cases = list(found.iter("testcase"))
    names = {str(case.get("name")): case for case in cases}
    assert len(cases) == len(names) == int(found.get("tests", "0"))
    return dict(found.attrib), names


@pytest.mark.parametrize("workers", [(), ("-n1",)])
def test_junit_keeps_nothing_that_was_withdrawn(suite: Suite, workers: tuple[str, ...]) -> None:
    """What a later test has released is taken out: properties, errors, totals, cases of its own."""
    suite.write(
        test_it="""
        kept = []
        @pytest.fixture(scope="module")
        def wide(): kept.append(context())
        def test_acquires(): kept.append(context())
        def test_acquires_more():
            kept.append(context())
            context()
        def test_leaks(): context()
        def test_fails_too():
            kept.append(context())
            assert False
        def test_wide(wide): pass
        """,
        test_later="""
        def test_releases():
            import test_it
            for prov in test_it.kept: release(prov)
        """,
    )
    options = ("--junitxml", "junit.xml", "-o", "junit_family=xunit1")
    plugins = ["xdist"] if workers else []
    run = suite.spawn(*workers, *options, plugins=plugins)
    attributes, cases = cases_of(run)

    assert run.counts == {"failed": 1, "passed": 5, "withdrawn": 3, "leaked": 2}
    assert attributes["errors"] == "2"
    assert attributes["failures"] == "1"
    assert set(cases) == {
        *("test_acquires", "test_acquires_more", "test_leaks", "test_fails_too", "test_wide"),
        "test_releases",
    }
    properties = {
        name: [one.get("value") for one in case.iter("property")] for name, case in cases.items()
    }
    assert properties["test_acquires"] == []
    assert not list(cases["test_acquires"])
    assert [properties[name][0] for name in ("test_acquires_more", "test_leaks")] == ["1", "1"]
    (error,) = cases["test_acquires_more"].iter("error")
    assert "leaked 1 handle" in (error.text or "")
    assert "leaked 1 handle" in error.get("message", "")
    assert not list(cases["test_fails_too"].iter("error"))


def test_junit_keeps_nothing_that_was_withdrawn_in_soft_mode(suite: Suite) -> None:
    """Where findings fail nothing, those that were withdrawn are no properties either."""
    suite.write(
        test_it="""
        kept = []
        def test_acquires(): kept.append(context())
        def test_leaks(): context()
        def test_releases(): release(kept.pop())
        """
    )
    run = suite.run("--csptrace-soft", "--junitxml", "junit.xml")
    attributes, cases = cases_of(run)

    assert attributes["errors"] == "0"
    assert not list(cases["test_acquires"])
    assert [one.get("name") for one in cases["test_leaks"].iter("property")] == [
        "csptrace.findings",
        "csptrace.leaked-at-exit",
    ]


@pytest.mark.parametrize("workers", [(), ("-n1",)])
def test_junit_has_what_is_found_at_the_end(suite: Suite, workers: tuple[str, ...]) -> None:
    """Findings of collection and of the session are cases of their own, with text and totals."""
    suite.write(
        conftest="""
        import csp
        prov = csp.context()
        def pytest_sessionfinish(): csp.misuse()
        """,
        test_it="def test_it(): tidy()",
    )
    if workers:  # the controller has a session of its own, in which nothing is traced
        (suite.path / "conftest.py").write_text("import csp\nprov = csp.context()\n", "utf-8")
    plugins = ["xdist"] if workers else []
    run = suite.spawn(*workers, "--junitxml", "junit.xml", plugins=plugins)
    attributes, cases = cases_of(run)

    expected = {"collection"} if workers else {"collection", "pytest session"}
    assert set(cases) == {"test_it", *expected}
    assert attributes["errors"] == str(len(expected))
    for name in expected:
        (error,) = cases[name].iter("error")
        assert f"csptrace: {name}" in (error.text or "")
        assert cases[name].find("properties/property") is not None


def test_user_properties_for_other_plugins(suite: Suite) -> None:
    """Any plugin finds them on the report of the teardown."""
    suite.write(
        conftest="""
        def pytest_runtest_logreport(report):
            if report.when == "teardown":
                print("\\nPROPERTIES", report.nodeid, dict(report.user_properties))
        """,
        test_it="def test_a(): context()\ndef test_b(): tidy()",
    )
    run = suite.run("-s")

    run.result.stdout.fnmatch_lines_random(
        [
            "PROPERTIES test_it.py::test_a {'csptrace.findings': '1', 'csptrace.leaked-at-exit': *",
            "PROPERTIES test_it.py::test_b {}",
        ]
    )


def test_sarif(suite: Suite) -> None:
    """Valid, relative to the root, with fingerprints and the path of the handle as a code flow."""
    suite.write(test_it=LEAKY)
    run = suite.run("--csptrace-sarif", "out/found.sarif")
    found = sarif(run, "out/found.sarif")
    results = {
        result["message"]["text"].split(" in test_it")[0]: result for result in found["results"]
    }
    key = next(result for result in found["results"] if result["ruleId"] == "leaked-at-release")

    assert len(results) == 5
    assert key["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "csp.py", "uriBaseId": "%SRCROOT%"},
        "region": {"startLine": 12},
    }
    assert key["partialFingerprints"]["primaryLocationLineHash"].endswith(":1")
    flow = key["codeFlows"][0]["threadFlows"][0]["locations"]
    texts = [step["location"]["message"]["text"] for step in flow if step["kinds"] != ["exit"]]
    assert ("exit" in [step["kinds"][0] for step in flow]) is (sys.version_info >= (3, 12))
    assert texts == [
        "called in test_key",
        "HCRYPTKEY acquired by CryptGenKey in key",
        "called in test_key",
        "HCRYPTPROV released by CryptReleaseContext in release",
    ]
    double = next(result for result in found["results"] if result["ruleId"] == "double-release")
    assert double["level"] == "error"
    assert [step["kinds"][0] for step in double["codeFlows"][0]["threadFlows"][0]["locations"]][
        ::3
    ] == ["acquired", "ended", "misused"]


def test_sarif_marks_what_the_baseline_accepts(suite: Suite) -> None:
    """Accepted findings are there as suppressed results, so that their alerts do not close."""
    suite.write(test_it="def test_it(): context()")
    base = ("--csptrace-baseline", "known.toml")
    suite.run(*base, "--csptrace-update-baseline")
    (result,) = sarif(suite.run(*base, "--csptrace-sarif", "found.sarif"))["results"]

    assert result["suppressions"][0]["kind"] == "external"


def test_event_log(suite: Suite) -> None:
    """Events are valid, findings name the test they belong to, and nothing of the self-test."""
    suite.write(test_it=LEAKY)
    run = suite.run("--csptrace-log", "logs")
    events = run.events()
    for event in events:
        jsonschema.validate(event, shipped())
    found = [event for event in events if event["event"] == "csptrace.finding"]

    assert [event["scope"] for event in found] == [
        "test_it.py::test_leaks",
        "test_it.py::test_again",
        "test_it.py::test_misuses",
        "test_it.py::test_key",
        "fixture wide (module) of test_it.py",
    ]
    assert not any("CANARY" in str(event) for event in events)


def test_annotations_only_on_github(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    """On GitHub Actions each finding points at the acquiring line; elsewhere there are none."""
    suite.write(test_it=LEAKY)
    assert "::warning" not in suite.run().out
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(suite.path.parent))
    run = suite.run()
    lines = [line for line in run.result.outlines if line.startswith("::")]

    assert len(lines) == 5
    assert any(
        line.startswith(
            f"::warning file={suite.path.name}/csp.py,line=7,"
            "title=csptrace%3A leaked-at-exit HCRYPTPROV::in test_it.py::test_"
        )
        for line in lines
    )
    assert any(line.startswith("::error ") and "double-release" in line for line in lines)
    assert all("%0A" in line for line in lines)


def test_redacted_names_and_source(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    """With redact_names neither the container's name nor a source line that quotes it is shown."""
    monkeypatch.setenv("CSPTRACE_REDACT_NAMES", "1")
    suite.write(
        test_it="""
        def test_it():
            prov = csp.c_void_p()
            assert csp.advapi32.CryptAcquireContextW(csp.byref(prov), "sesame", None, 24, 8)
        """
    )
    run = suite.run("--csptrace-sarif", "found.sarif", "--junitxml", "junit.xml", "--tb=short")

    assert run.counts == {"passed": 1, "leaked": 1}
    written = [run.out, *(path.read_text("utf-8") for path in run.folder.glob("*.[sx]*"))]
    assert len(written) >= 3
    assert not any("sesame" in text for text in written)


# --- pytest-xdist -------------------------------------------------------------------------------

XDIST = """
import os, pytest
from csp import context, key, destroy, release, misuse, tidy
@pytest.fixture(scope="module", autouse=True)
def wide():
    prov = context()
    yield
    release(prov)
@pytest.mark.parametrize("number", range(6))
def test_{name}(number):
    if number == 3: context()
    elif number == 4: misuse()
    else: tidy()
"""


@pytest.mark.parametrize("dist", ["load", "loadgroup", "loadscope", "worksteal", "each"])
def test_workers(suite: Suite, dist: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four workers, any distribution: the same verdicts, one summary, merged files."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    suite.write(test_a=XDIST.format(name="a"), test_b=XDIST.format(name="b"))
    workers = ("--dist", "each", "--tx", "2*popen") if dist == "each" else ("-n4", "--dist", dist)
    run = suite.spawn(
        *workers,
        *("--csptrace-sarif", "found.sarif", "--csptrace-log", "logs", "--junitxml", "junit.xml"),
        plugins=["xdist"],
    )
    times = 2 if dist == "each" else 1

    assert run.blamed == {"test_a[3]", "test_b[3]", "test_a[4]", "test_b[4]"}
    assert run.counts == {"passed": 12 * times, "leaked": 2 * times, "misused": 2 * times}
    assert run.out.count("APIs patched, self-test passed") == 1
    assert (
        f"{4 * times} findings ({2 * times} double-release, {2 * times} leaked-at-exit)" in run.out
    )
    results = sarif(run)["results"]
    assert sorted(result["occurrenceCount"] for result in results) == [times] * 4
    assert run.out.count("::error ") + run.out.count("::warning ") == 4
    found = [event for event in run.events() if event["event"] == "csptrace.finding"]
    assert len(found) == 4 * times
    assert len({event["run"] for event in run.events()}) >= (2 if dist == "each" else 3)
    root = ET.parse(run.folder / "junit.xml").getroot()
    assert len(list(root.iter("property"))) == 8 * times


def test_workers_and_what_they_share(suite: Suite) -> None:
    """Collection, wide fixtures, late releases, the baseline: counted alike with workers."""
    suite.write(
        conftest="import csp\nprov = csp.context()",
        test_order="""
        class TestOrder:
            kept = []
            def test_acquires(self): self.kept.append(context())
            def test_releases(self): release(self.kept.pop())
        """,
        **{
            f"test_{name}": """
            from shared import leak
            @pytest.fixture(scope="session", autouse=True)
            def wide(): context()
            @pytest.mark.parametrize("number", range(4))
            def test_many(number): leak()
            """
            for name in "ab"
        },
    )
    # Deep enough for both files to have the same fingerprint.
    deep = "\n".join(f"def leak{n}(): leak{n - 1}()" for n in range(1, 6))
    suite.write(shared=f"import csp\ndef leak0(): csp.context()\n{deep}\nleak = leak5")
    base = ("--csptrace-baseline", "known.toml")
    alone = suite.spawn(*base, "--csptrace-update-baseline")
    text = (suite.path / "known.toml").read_text("utf-8")
    workers = ("-n4", "--dist", "loadfile")
    merged = suite.spawn(*base, "--csptrace-update-baseline", *workers, plugins=["xdist"])

    assert alone.status == merged.status == 0
    assert (suite.path / "known.toml").read_text("utf-8") == text
    assert "released after all in test_order.py::TestOrder::test_releases" in merged.out
    accepted = suite.spawn(*base, *workers, "--csptrace-require", plugins=["xdist"])
    assert accepted.status == 0, accepted.out
    assert "stale" not in accepted.out
    (suite.path / "known.toml").write_text(text.replace("count = 8", "count = 7"), "utf-8")
    exceeded = suite.spawn(*base, *workers, plugins=["xdist"])
    assert exceeded.status == 1
    assert "occurred 8 times; the baseline accepts 7" in exceeded.out


def test_workers_obey_a_blocked_plugin(suite: Suite) -> None:
    """`-p no:csptrace` blocks it in the workers too, which pytest-xdist does not do by itself."""
    suite.ini("csptrace = true")
    suite.write(test_it="def test_it(): context()")
    run = suite.spawn("-n1", "-p", "no:csptrace", on=False, plugins=["xdist"])

    assert run.counts == {"passed": 1}


def test_workers_require(suite: Suite) -> None:
    """--csptrace-require counts what the workers saw, not what the controller did."""
    suite.write(test_it="def test_it(): pass")
    run = suite.spawn("-n2", "--csptrace-require", plugins=["xdist"])

    assert run.status == 1
    assert "no traced call" in run.out


def test_workers_stop_early_and_rerun(suite: Suite) -> None:
    """-x and reruns mean the same in workers."""
    suite.write(
        test_it="""
        attempts = []
        def test_flaky():
            attempts.append(1)
            prov = context()
            if len(attempts) == 2: release(prov)
        def test_leaks(): context()
        """
    )
    run = suite.spawn("-n2", "--reruns", "1", plugins=["xdist", "rerunfailures"])
    stopped = suite.spawn("-n1", "-x", plugins=["xdist"])

    assert run.blamed == {"test_leaks"}
    assert "2 in earlier attempts" in run.out
    assert stopped.status != 0
    assert "test_leaks PASSED" not in stopped.out


def test_workers_stop_early_for_a_wide_fixture(suite: Suite) -> None:
    """The leak of a module's fixture counts for -x in workers as it does without them."""
    suite.write(
        test_a="""
        @pytest.fixture(scope="module")
        def wide():
            prov = context()
            key(prov)
            yield
            release(prov)
        def test_first(wide): pass
        """,
        test_b="".join(f"def test_{number}(): pass\n" for number in range(30)),
    )
    alone = suite.run("-x")
    # A worker has two tests at hand, and gets another one when the controller has seen a result.
    stopped = suite.spawn("-n1", "--maxschedchunk=1", "-x", plugins=["xdist"])

    assert alone.blamed == {"fixture wide (module)"}
    assert alone.counts["passed"] == 1
    assert stopped.blamed == {"fixture wide (module)"}
    assert "stopping after 1 failures" in stopped.out
    assert stopped.counts["passed"] < 10


def test_a_worker_that_dies(suite: Suite) -> None:
    """What a crashed worker has reported before is kept."""
    suite.write(
        test_it="""
        import os
        def test_a(): context()
        def test_b(): os._exit(3)
        def test_c(): tidy()
        """
    )
    run = suite.spawn("-n1", plugins=["xdist"])

    assert run.blamed == {"test_a"}
    assert "crashed" in run.out
    assert run.status == 1
