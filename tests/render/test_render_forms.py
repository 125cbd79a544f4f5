"""What single forms promise, beyond their golden files."""

from __future__ import annotations

import dataclasses
import json
from xml.etree import ElementTree as ET

import jsonschema
import pytest
import sample_reports
from sample_reports import BUILT, SECOND, frame

from csptrace.analysis.render import FORMATS, Options
from csptrace.analysis.render.jsonform import schema
from csptrace.analysis.render.places import Places, own_first
from csptrace.analysis.render.tree import worst
from csptrace.analysis.render.words import (
    bytes_text,
    causes,
    counted,
    duration,
    moment,
    pairs,
    plural,
    since,
)
from csptrace.analysis.results import NOWHERE, Frame, Node, Place, Point

MINUTE = 60 * SECOND


def test_schema_is_a_schema() -> None:
    """The shipped JSON Schema is one, and refuses a document with a field too few or too many."""
    jsonschema.Draft202012Validator.check_schema(schema())
    check = jsonschema.Draft202012Validator(schema())
    data = json.loads(FORMATS["json"].report(sample_reports.small(), Options()))

    assert check.is_valid(data)
    assert not check.is_valid({**data, "more": 1})
    assert not check.is_valid({name: value for name, value in data.items() if name != "runs"})
    data["groups"][0]["example"]["steps"][0]["stack"][0]["line"] = "12"
    assert not check.is_valid(data)


def test_json_names_what_pairs_are() -> None:
    """Pairs of a name and a count are objects, in named tuples too."""
    data = json.loads(FORMATS["json"].report(sample_reports.small(), Options()))

    assert data["contexts"][0]["under"][0] == {"kind": "HCRYPTHASH", "count": 1}
    assert data["sources"][1]["other_schema"] == [{"schema": "2", "count": 7}]
    assert data["timelines"][0]["points"][1] == {"at": SECOND, "live": 2}
    assert "generated" not in data


def test_junit_names_are_stable() -> None:
    """The name of a test case does not change with the line, the count or the machine."""
    report = sample_reports.small()
    (group, *_) = report.groups
    moved = dataclasses.replace(
        group, where=group.where._replace(line=99), count=99, hosts=("other",)
    )

    def names(first: object) -> list[str | None]:
        text = FORMATS["junit"].report(dataclasses.replace(report, groups=(first,)), Options())
        return [case.get("name") for case in ET.fromstring(text).iter("testcase")]

    assert names(group) == names(moved)


def test_junit_of_a_comparison_fails_for_what_got_worse() -> None:
    """New and grown fingerprints fail, shrunk and fixed ones pass."""
    text = FORMATS["junit"].comparison(sample_reports.comparison(), Options())
    root = ET.fromstring(text)

    assert (root.get("tests"), root.get("failures")) == ("4", "2")


def test_sarif_of_a_comparison_holds_what_got_worse() -> None:
    """Code scanning is told what is new or has grown, nothing else."""
    log = json.loads(FORMATS["sarif"].comparison(sample_reports.comparison(), Options()))
    rules = [result["ruleId"] for run in log["runs"] for result in run["results"]]

    assert sorted(rules) == ["leaked-at-release", "stale-dependency"]


@pytest.mark.parametrize(("weight", "lines"), [("acquired", 6), ("leaked", 3), ("live", 2)])
def test_collapsed_weight(weight: str, lines: int) -> None:
    """The weight chooses what is counted, and sites without it are left out."""
    report = sample_reports.small()
    text = FORMATS["collapsed"].report(report, Options(weight=weight))  # type: ignore[arg-type]
    total = sum(int(line.rsplit(" ", 1)[1]) for line in text.splitlines())

    assert len(text.splitlines()) == lines
    assert total == sum(getattr(site, weight) for site in report.sites)


def test_perfetto_tracks() -> None:
    """Each handle of the shown run is a pair of events, each point of every run a counter's."""
    report = sample_reports.small()
    events = json.loads(FORMATS["perfetto"].report(report, Options()))["traceEvents"]
    begins = {event["args"]["hid"]: event for event in events if event["ph"] == "b"}
    ends = {int(event["id"], 16): event for event in events if event["ph"] == "e"}
    counters = [event for event in events if event["ph"] == "C"]

    assert begins.keys() == {node.hid for node in report.graph}
    assert begins[3]["args"]["needs"] == [2]
    assert (begins[2]["ts"], ends[2]["ts"]) == (1e6, 9e6)
    assert ends[4]["ts"] == 600e6, "a handle that never ended lasts to the end of its run"
    assert len(counters) == sum(len(points) for _, points in report.timelines)
    assert {event["pid"] for event in counters} == {1, 2}
    assert len({event["pid"] for event in events if event["ph"] in "be"}) == 1


def test_a_parent_that_was_cut_off_is_not_drawn() -> None:
    """A handle whose parent is not in the graph stands on its own."""
    lost = Node(9, 1000, "HCRYPTKEY", "0x1", "", 0, -1, "alive", Place("a.py", 1), (77,))
    report = dataclasses.replace(sample_reports.small(), graph=(lost,), graph_cut=3)

    for name in ("dot", "mermaid"):
        text = FORMATS[name].report(report, Options())
        assert "n1000" not in text
        assert "n77" not in text
        assert "3 more handles not shown" in text


def test_the_worst_handles_are_drawn_first() -> None:
    """Where there is no room for all, those that did not end well are drawn with their parents."""
    graph = tuple(
        Node(hid, 1 if hid == 9 else 0, "K", "0x1", "", 0, 1, how, NOWHERE, ())
        for hid, how in enumerate(["released"] * 7 + ["alive", "invalidated"], 1)
    )

    assert [node.hid for node in worst(graph, 3).nodes] == [1, 8, 9]
    assert [node.hid for node in worst(graph, 1).nodes] == [8]
    assert worst(graph, 9).left_out == 0


def test_long_timelines_keep_their_peaks() -> None:
    """A timeline of many points is thinned for the page without losing its highest and last."""
    points = tuple(Point(at, 5000 if at == 77_777 else at % 9) for at in range(100_000))
    report = dataclasses.replace(sample_reports.small(), timelines=(("run-1", points),))
    text = FORMATS["html"].report(report, Options())
    data = json.loads(text.partition('id="data">')[2].partition("</script>")[0])
    numbers = data["timelines"][0]["points"]

    assert len(numbers) <= 2 * 1300
    assert max(numbers[1::2]) == 5000
    assert numbers[-1] == 99_999 % 9
    assert numbers[::2] == sorted(numbers[::2])


# --- places and words -------------------------------------------------------------------------


def test_files_are_named_within_their_packages() -> None:
    """The part of a path that is a machine's own is left out."""
    places = Places(
        [
            Frame("/srv/x/payments/signing.py", 1, "f", "payments.signing", True),
            Frame("/srv/x/payments/__init__.py", 1, "<module>", "payments", True),
            Frame("C:\\work\\app.py", 1, "<module>", "app", True),
            Frame("<string>", 1, "<module>", "", True),
            Frame("/srv/x/odd.py", 1, "f", "other.name", True),
        ]
    )

    assert places.where(Place("/srv/x/payments/signing.py", 17)) == "payments/signing.py:17"
    assert places.file("/srv/x/payments/__init__.py") == "payments/__init__.py"
    assert places.where(Place("C:\\work\\app.py", 3)) == "app.py:3"
    assert places.where(Place("<string>", 3)) == "<string>:3"
    assert places.file("/srv/x/odd.py") == "/srv/x/odd.py"
    assert places.where(Place("/never/seen.py", 1)) == "/never/seen.py:1"
    assert places.where(NOWHERE) == ""
    assert places.prose("released, 3 at /srv/x/payments/signing.py:17; see x:3, (C:9)") == (
        "released, 3 at payments/signing.py:17; see x:3, (C:9)"
    )


def test_equal_short_names_are_not_used() -> None:
    """Two files that would be called the same keep their paths."""
    places = Places(
        [
            Frame("/a/app.py", 1, "f", "app", True),
            Frame("/b/app.py", 1, "f", "app", True),
            Frame("/c/app.py", 1, "f", "app", True),
        ]
    )

    assert [places.file(f"/{x}/app.py") for x in "abc"] == ["/a/app.py", "/b/app.py", "/c/app.py"]


def test_a_stack_is_split_at_the_users_code() -> None:
    """What libraries did inside comes first, the user's innermost frame heads the rest."""
    own = frame("payments/signing.py", "Signer.close", "CryptReleaseContext")
    other = Frame(f"{BUILT}/lib.py", 1, "f", "lib", False)

    assert own_first((other, own, other)) == ((other,), (own, other))
    assert own_first((other, other)) == ((), (other, other))
    assert own_first(()) == ((), ())


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (-1, "unknown"),
        (0, "0 ns"),
        (999, "999 ns"),
        (1_000, "1 µs"),
        (1_234, "1.23 µs"),
        (12_345_678, "12.3 ms"),
        (123 * SECOND // 100, "1.23 s"),
        (59 * SECOND, "59 s"),
        (MINUTE, "1 min"),
        (90 * SECOND, "1 min 30 s"),
        (61 * MINUTE, "1 h 1 min"),
        (49 * 60 * MINUTE, "2 d 1 h"),
    ],
)
def test_durations(nanoseconds: int, text: str) -> None:
    """Times are told with the digits that matter."""
    assert duration(nanoseconds) == text


def test_moments() -> None:
    """Wall-clock times are in UTC; one that cannot be is unknown."""
    start = sample_reports.START

    assert moment(start) == "2025-11-24 16:00:00 UTC"
    assert moment(0) == moment(2**70) == "unknown"
    assert since(start, start + MINUTE) == "2025-11-24 16:00:00 to 16:01:00 UTC"
    assert since(start, start) == "2025-11-24 16:00:00 UTC"
    assert since(start, start + 24 * 60 * MINUTE) == (
        "2025-11-24 16:00:00 to 2025-11-25 16:00:00 UTC"
    )


def test_causes() -> None:
    """What a log says of how a function was left becomes words; anything else stays as it is."""
    names = ("raised/exception", "returned/early-return", "suspended/suspended", "a/b c", "")
    group = sample_reports.group(causes=tuple((name, 1) for name in names))

    assert [name for name, _ in causes(group)] == [
        "exception (raised)",
        "early return (returned)",
        "suspended",
        "a/b c",
        "",
    ]


def test_numbers() -> None:
    """Counts, sizes and lists of counts read as people say them."""
    assert (plural(1, "handle"), plural(2000, "handle")) == ("1 handle", "2,000 handles")
    assert plural(2, "process", "processes") == "2 processes"
    assert [counted(n, "time") for n in (0, 1, 2, 3)] == ["0 times", "once", "twice", "3 times"]
    assert (bytes_text(12), bytes_text(1536), bytes_text(2**50)) == (
        "12 bytes",
        "1.5 KiB",
        "1,024.0 TiB",
    )
    assert pairs([("a", 3), ("", 9), ("b", 2), ("c", 1), ("d", 1)]) == "a 3, b 2, c 1, 1 more"
