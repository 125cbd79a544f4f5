"""SARIF: valid by the published schema, and what GitHub's code scanning needs of it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from csptrace.analysis import sarif
from csptrace.analysis.results import NOWHERE, Example, Frame, Group, Place, Siblings, Step
from csptrace.findings.catalogue import Code

SCHEMA = json.loads(Path(__file__).with_name("sarif-schema-2.1.0.json").read_text("utf-8"))
VALIDATOR = jsonschema.Draft4Validator(SCHEMA)

APP = Frame("/repo/src/my app.py", 7, "make", "app", user=True)
MAIN = Frame("/repo/main.py", 3, "main", "main", user=True)
LIB = Frame("/usr/lib/python3/runpy.py", 88, "run", "runpy", user=False)
STEPS = (
    Step("acquired", "CryptGenKey", "HCRYPTKEY acquired by CryptGenKey", (APP, MAIN, LIB)),
    Step("exit", "", "make returned", (APP._replace(line=9),)),
    Step("ended", "CryptReleaseContext", "HCRYPTPROV released by CryptReleaseContext", (MAIN,)),
    Step("misused", "CryptEncrypt", "HCRYPTKEY misused by CryptEncrypt", ()),
)
EXAMPLE = Example(
    run="r",
    ts=1,
    value="0x10",
    generation=1,
    name="",
    thread="MainThread",
    task="",
    scope="test",
    age=1,
    uses=0,
    steps=STEPS,
)
GROUP = Group(
    fingerprint="1:0123456789abcdef",
    code="leaked-at-release",
    severity="warning",
    api="cryptoapi",
    kind="HCRYPTKEY",
    count=3,
    runs=2,
    first_seen=1,
    last_seen=2,
    hosts=("h",),
    scopes=(("test_a", 2), ("test_b", 1)),
    causes=(("raised/exception", 3),),
    where=Place("/repo/src/my app.py", 7),
    remedy="call CryptDestroyKey first",
    siblings=Siblings(5, 2, NOWHERE, 0, NOWHERE, ended=False),
    example=EXAMPLE,
)


def changed(**fields: Any) -> Group:
    """Return the group with other fields."""
    return dataclasses.replace(GROUP, **fields)


def run_of(*groups: Group, **how: Any) -> dict[str, Any]:
    """Return the one run of a log, which is valid."""
    made = sarif.log(groups, version="1.2.3", **{"root": "/repo", **how})
    VALIDATOR.validate(json.loads(json.dumps(made)))
    assert made["version"] == "2.1.0"
    (run,) = made["runs"]
    return dict(run)


def test_the_schema_can_refuse() -> None:
    """The schema that the tests validate against notices a wrong field."""
    made = sarif.log([GROUP], version="1")
    made["runs"][0]["results"][0]["level"] = "severe"

    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate(made)


def test_what_code_scanning_needs() -> None:
    """Rule with texts, message, first location relative to the root, fingerprint, level."""
    run = run_of(GROUP)
    (result,) = run["results"]
    (rule,) = run["tool"]["driver"]["rules"]

    assert rule["id"] == result["ruleId"] == "leaked-at-release"
    assert {"shortDescription", "fullDescription"} <= set(rule)
    assert rule["help"]["text"].endswith(" More: csptrace guide leaked-at-release")
    assert rule["help"]["markdown"].endswith(" More: `csptrace guide leaked-at-release`")
    assert len(rule["properties"]["tags"]) <= 20
    assert result["level"] == "warning"
    assert result["locations"] == [
        {
            "physicalLocation": {
                "artifactLocation": {"uri": "src/my%20app.py", "uriBaseId": "%SRCROOT%"},
                "region": {"startLine": 7},
            }
        }
    ]
    assert result["partialFingerprints"]["primaryLocationLineHash"] == "0123456789abcdef:1"
    assert result["occurrenceCount"] == 3
    assert "call CryptDestroyKey first" in result["message"]["text"]
    assert "In test_a, test_b." in result["message"]["text"]


def test_the_path_of_the_handle() -> None:
    """Acquire, exit, release, misuse as one thread flow, each stack from the outside in."""
    (result,) = run_of(GROUP)["results"]
    flow = result["codeFlows"][0]["threadFlows"][0]["locations"]
    steps = [
        (
            step["kinds"][0],
            step["location"].get("physicalLocation", {}).get("region", {}).get("startLine"),
            step.get("importance"),
        )
        for step in flow
    ]

    assert steps == [
        ("acquired", 88, "unimportant"),
        ("acquired", 3, "important"),
        ("acquired", 7, "essential"),
        ("exit", 9, "essential"),
        ("ended", 3, "essential"),
        ("misused", None, None),
    ]


@pytest.mark.parametrize(
    ("file", "root", "uri", "based"),
    [
        ("/repo/a.py", "/repo", "a.py", True),
        ("/repo/a.py", "/repo/", "a.py", True),
        ("/repository/a.py", "/repo", "file:///repository/a.py", False),
        ("/repo/ü #?.py", "/repo", "%C3%BC%20%23%3F.py", True),
        ("a/b.py", "/repo", "a/b.py", True),
        ("C:\\work\\a b.py", "C:\\work", "a%20b.py", True),
        ("c:\\work\\x\\a.py", "C:\\Work", "x/a.py", True),
        ("D:\\other\\a.py", "C:\\work", "file:///D:/other/a.py", False),
        ("\\\\server\\share\\a.py", "", "file://server/share/a.py", False),
        ("D:\\ü b.py", "", "file:///D:/%C3%BC%20b.py", False),
        ("/repo/a.py", "", "file:///repo/a.py", False),
        ("/repo/ü #?.py", "", "file:///repo/%C3%BC%20%23%3F.py", False),
        ("/repo/\udc80.py", "", "file:///repo/%5Cudc80.py", False),
    ],
)
def test_uris(file: str, root: str, uri: str, based: bool) -> None:
    """Relative below the root, whichever system the log comes from; full elsewhere."""
    (result,) = run_of(changed(where=Place(file, 4)), root=root)["results"]
    found = result["locations"][0]["physicalLocation"]["artifactLocation"]

    assert found["uri"] == uri
    assert ("uriBaseId" in found) is based


def test_every_code_has_a_rule() -> None:
    """No finding code falls back to a rule that only repeats its name."""
    for code in Code:
        (rule,) = run_of(changed(code=code.value))["tool"]["driver"]["rules"]
        assert rule["shortDescription"]["text"] != f"{code.value}.", code


@pytest.mark.parametrize("code", ["", "something-new"])
def test_unknown_codes(code: str) -> None:
    """A code of another version, or none at all, gets a rule of its own."""
    (result,) = run_of(changed(code=code, severity="dreadful"))["results"]

    assert result["ruleId"] == (code or "unknown")
    assert result["level"] == "warning"


def test_rules_are_shared() -> None:
    """Two groups of one code refer to one rule by its index."""
    run = run_of(GROUP, changed(code="lost"), changed(severity="error"), changed(severity="info"))

    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["leaked-at-release", "lost"]
    assert [result["ruleIndex"] for result in run["results"]] == [0, 1, 0, 0]
    assert [result["level"] for result in run["results"]] == ["warning", "warning", "error", "note"]


def test_without_a_stack_there_is_no_location() -> None:
    """At level `count` a result has no place, and the file is still valid."""
    bare = dataclasses.replace(EXAMPLE, steps=(Step("acquired", "CryptGenKey", "acquired", ()),))
    (result,) = run_of(changed(where=NOWHERE, example=bare))["results"]

    assert "locations" not in result


def test_made_up_files_have_no_location() -> None:
    """`<stdin>` is no file of the repository."""
    frame = Frame("<stdin>", 1, "<module>", "<stdin>", user=True)
    example = dataclasses.replace(EXAMPLE, steps=(Step("acquired", "f", "acquired", (frame,)),))
    (result,) = run_of(changed(where=Place("<stdin>", 1), example=example))["results"]

    assert "locations" not in result


def test_suppressed_and_category() -> None:
    """What a baseline accepts is suppressed; a category tells runs of the tool apart."""
    run = run_of(GROUP, suppressed=[GROUP.fingerprint], category="pytest/linux")

    assert run["results"][0]["suppressions"][0]["kind"] == "external"
    assert run["automationDetails"]["id"] == "csptrace/pytest/linux/"


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is beyond GitHub's limits is left out, and the file says how much."""
    monkeypatch.setattr(sarif, "_MOST_RESULTS", 3)
    run = run_of(*[changed(fingerprint=f"1:{number:016x}") for number in range(5)])
    deep = dataclasses.replace(
        EXAMPLE, steps=tuple(Step("acquired", "f", "t", (APP,) * 1000) for _ in range(40))
    )
    (result,) = run_of(changed(example=deep))["results"]

    assert len(run["results"]) == 3
    note = run["invocations"][0]["toolExecutionNotifications"][0]
    assert note["message"]["text"] == "2 of 5 results are left out: the limit is 3"
    assert len(result["codeFlows"][0]["threadFlows"][0]["locations"]) == 1000


TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
FRAMES = st.builds(Frame, TEXT, st.integers(0, 10**6), TEXT, TEXT, st.booleans())
PLACES = st.builds(Place, TEXT, st.integers(0, 10**6))
ROLES = st.sampled_from(["acquired", "exit", "ended", "last_use", "misused"])
EXAMPLES = st.builds(
    dataclasses.replace,
    st.just(EXAMPLE),
    steps=st.lists(
        st.builds(Step, ROLES, TEXT, TEXT, st.lists(FRAMES, max_size=4).map(tuple)), max_size=4
    ).map(tuple),
)


@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    where=PLACES,
    kind=TEXT,
    remedy=TEXT,
    example=EXAMPLES,
    root=TEXT,
)
def test_any_text_makes_a_valid_log(
    where: Place, kind: str, remedy: str, example: Example, root: str
) -> None:
    """Paths and names come from traced programs and may hold anything."""
    run_of(changed(where=where, kind=kind, remedy=remedy, example=example), root=root)
