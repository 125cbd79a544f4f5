"""Very many leaks in one test: the plugin's numbers are exact although not all are described."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from csptrace.findings import baseline

if TYPE_CHECKING:
    from conftest import Run, Suite

MANY = """
    kept = []
    def test_release():
        prov = context()
        for _ in range(250): key(prov)
        release(prov)
    def test_left():
        for _ in range(150): kept.append(context())
    """


def test_all_of_them_are_counted(suite: Suite) -> None:
    """In the failure, the properties, the totals, the worst sites and the baseline."""
    suite.write(test_it=MANY)
    run = suite.run("--junitxml", "junit.xml", "-o", "junit_family=xunit1")

    assert "test_release leaked 250 handles" in (run.folder / "junit.xml").read_text("utf-8")
    assert "(250 times)" in run.out
    assert "csptrace: 400 findings (150 leaked-at-exit, 250 leaked-at-release) at 2 places" in (
        run.out
    )
    assert "   250  leaked-at-release HCRYPTKEY" in run.out
    found = ET.parse(run.folder / "junit.xml").iter("property")
    assert [one.get("value") for one in found if one.get("name") == "csptrace.findings"] == [
        "250",
        "150",
    ]
    update = suite.run("--csptrace-baseline", "known.toml", "--csptrace-update-baseline")
    assert update.status == 0
    entries = baseline.read(suite.path / "known.toml")
    assert sorted(entry.count for entry in entries) == [150, 250]
    assert suite.run("--csptrace-baseline", "known.toml").counts == {"passed": 2}


def test_a_baseline_accepts_some_of_them(suite: Suite) -> None:
    """What is more than it accepts fails the test, and only that counts."""
    suite.write(test_it=MANY)
    suite.run("--csptrace-baseline", "known.toml", "--csptrace-update-baseline")
    path = suite.path / "known.toml"
    path.write_text(path.read_text("utf-8").replace("count = 250", "count = 200"), "utf-8")
    run = suite.run("--csptrace-baseline", "known.toml", "--junitxml", "junit.xml")

    assert run.counts == {"passed": 2, "leaked": 1}
    assert "test_release leaked 50 handles" in (run.folder / "junit.xml").read_text("utf-8")
    assert "csptrace: 50 findings (50 leaked-at-release)" in run.out
    assert "; 350 in the baseline" in run.out


@pytest.mark.parametrize(
    ("released", "left"), [("kept", 0), ("kept[100:]", 100), ("kept[:50]", 100)]
)
def test_what_a_later_test_releases_is_withdrawn(suite: Suite, released: str, left: int) -> None:
    """All of it or some: the rest goes on to fail the test that has left it."""
    suite.write(
        test_it=f"""
        kept = []
        def test_left():
            for _ in range(150): kept.append(context())
        def test_releases():
            for prov in {released}: release(prov)
        """
    )
    run = suite.run("--junitxml", "junit.xml", "-o", "junit_family=xunit1")

    assert run.counts == {"passed": 2, **({"leaked": 1} if left else {"withdrawn": 1})}
    assert run.status == bool(left)
    assert f"csptrace: {left} findings" in run.out
    assert f"; {150 - left} withdrawn" in run.out
    assert _properties(run) == ([str(left)] if left else [])
    if left:
        assert f"leaked {left} handles" in (run.folder / "junit.xml").read_text("utf-8")


def _properties(run: Run) -> list[str | None]:
    found = ET.parse(run.folder / "junit.xml").iter("property")
    return [one.get("value") for one in found if one.get("name") == "csptrace.findings"]


def test_a_block_that_expects_leaks_counts_all_of_them(suite: Suite) -> None:
    """`count` is a number of handles."""
    suite.write(
        test_it="""
        def test_expected(csptrace):
            prov = context()
            with csptrace.expect("leaked-at-release", count=250):
                for _ in range(250): key(prov)
                release(prov)
        """
    )
    assert suite.run().counts == {"passed": 1}
