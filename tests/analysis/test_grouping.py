"""Equal findings become one group, from whichever process they come."""

from __future__ import annotations

from typing import Any

import jsonschema

from csptrace.analysis.grouping import Occurrence, groups_of, siblings_text
from csptrace.analysis.results import NOWHERE, Frame, Place
from csptrace.events.schema import shipped

FRAMES = [["/src/app.py", 7, "make", "app", True], ["/lib/x.py", 3, "run", "x", False]]
FINDING: dict[str, Any] = {
    "event": "csptrace.finding",
    "schema": 2,
    "run": "r1",
    "pid": 1,
    "seq": 5,
    "ts": 1000,
    "mono": 1,
    "code": "leaked-at-release",
    "severity": "warning",
    "api": "cryptoapi",
    "binding": "ctypes",
    "hid": 3,
    "kind": "HCRYPTKEY",
    "value": "0x00000010",
    "gen": 1,
    "fingerprint": "1:0123456789abcdef",
    "tid": 1,
    "thread": "MainThread",
    "age_ns": 5,
    "uses": 2,
    "inherited": False,
    "remedy": "call CryptDestroyKey",
    "acquired_by": "CryptGenKey",
    "acquired_stack": 1,
    "ended_by": "CryptReleaseContext",
    "ended_stack": 2,
    "misused_stack": 0,
    "culprit": 2,
    "culprit_kind": "HCRYPTPROV",
    "where_file": "/src/app.py",
    "where_line": 7,
}


def seen(run: str = "r1", **fields: Any) -> Occurrence:
    """Return a finding."""
    return Occurrence({**FINDING, **fields}, {1: FRAMES, 2: FRAMES[1:]}, run, f"host-{run}")


def test_the_event_is_a_real_one() -> None:
    """The event that these tests start from is one that the schema knows."""
    jsonschema.validate(FINDING, shipped())


def test_equal_findings_are_counted() -> None:
    """Count, runs, hosts, times and scopes of all; the story of the first."""
    (group,) = groups_of(
        [
            seen("r2", ts=3000, scope="b"),
            seen("r1", ts=1000, scope="a", task="t"),
            seen("r2", ts=2000, scope="b"),
        ]
    )

    assert (group.count, group.runs, group.hosts) == (3, 2, ("host-r1", "host-r2"))
    assert (group.first_seen, group.last_seen) == (1000, 3000)
    assert group.scopes == (("b", 2), ("a", 1))
    assert (group.example.run, group.example.scope, group.example.task) == ("r1", "a", "t")
    assert group.where == Place("/src/app.py", 7)


def test_the_story_is_in_the_order_of_time() -> None:
    """Acquired, left, ended, last used, misused; each with its frames."""
    (group,) = groups_of(
        [
            seen(
                misused_by="CryptEncrypt",
                misused_stack=2,
                last_use_by="CryptEncrypt",
                last_use_stack=1,
                cause="make raised ValueError",
                cause_exit="raised",
                cause_pattern="exception",
                cause_where_file="/src/app.py",
                cause_where_line=9,
                cause_function="make",
            )
        ]
    )

    assert [(step.role, step.text) for step in group.example.steps] == [
        ("acquired", "HCRYPTKEY acquired by CryptGenKey"),
        ("exit", "make raised ValueError"),
        ("ended", "HCRYPTPROV released by CryptReleaseContext"),
        ("last_use", "HCRYPTKEY last used by CryptEncrypt"),
        ("misused", "HCRYPTKEY misused by CryptEncrypt"),
    ]
    assert group.example.steps[0].stack[0] == Frame("/src/app.py", 7, "make", "app", user=True)
    assert group.example.steps[1].stack == (Frame("/src/app.py", 9, "make", "", user=True),)
    assert group.causes == (("raised/exception", 1),)


def test_without_stacks() -> None:
    """At level `count` there are calls and no frames."""
    bare = {**FINDING, "acquired_stack": 0, "ended_stack": 0}
    del bare["where_file"], bare["where_line"]
    (group,) = groups_of([Occurrence(bare, {}, "r", "h")])

    assert [step.stack for step in group.example.steps] == [(), ()]
    assert group.where == NOWHERE


def test_lost_and_refused() -> None:
    """What the collector took was not released by anybody, and a refused call is no misuse."""
    lost, refused = groups_of(
        [
            seen(code="lost", fingerprint="1:" + "1" * 16),
            seen(
                code="failed-release",
                fingerprint="1:" + "2" * 16,
                ended_by="",
                ended_stack=0,
                misused_by="CryptDestroyKey",
                misused_stack=1,
            ),
        ]
    )

    assert lost.example.steps[1].text == "HCRYPTKEY collected by CryptReleaseContext"
    assert refused.example.steps[-1].text == "HCRYPTKEY refused by CryptDestroyKey"


def test_errors_come_first_then_the_most() -> None:
    """The order of the groups is that of importance, and the same in every run."""
    names = [f"1:{digit * 16}" for digit in "0123"]
    found = groups_of(
        [
            seen(fingerprint=names[3]),
            seen(fingerprint=names[2]),
            seen(fingerprint=names[1]),
            seen(fingerprint=names[1]),
            seen(fingerprint=names[0], severity="error"),
        ]
    )

    assert [group.fingerprint for group in found] == [names[0], names[1], names[2], names[3]]


def test_hints() -> None:
    """What became of the others from the same place, as the last finding knows it."""

    def hint(**fields: Any) -> str:
        return siblings_text(groups_of([seen(**fields)])[0])

    assert hint() == ""
    assert hint(siblings_acquired=4, siblings_released=0) == (
        "none of the 4 handles acquired there was released so far"
    )
    assert hint(siblings_acquired=4, siblings_released=3) == (
        "3 of 4 handles acquired there were released"
    )
    where = {
        "siblings_where_file": "/src/app.py",
        "siblings_where_line": 9,
        "siblings_where_count": 2,
    }
    assert hint(siblings_acquired=4, siblings_released=3, **where) == (
        "3 of 4 handles acquired there were released, 2 at /src/app.py:9"
    )
