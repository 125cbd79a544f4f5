"""Where a finding happened, from the log to the answer: any file, any line, either version."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from logbook import Logbook, as_lines

from csptrace.analysis import contract, embedded, reading
from csptrace.analysis.results import Place
from csptrace.analysis.tail import LogTail
from csptrace.events.schema import EVENTS, REPLACED

if TYPE_CHECKING:
    from collections.abc import Sequence

FILES = st.sampled_from(
    [
        "C:\\Program Files\\app.py",
        "C:app.py",
        "/srv/a b/c:9.py",
        "/srv/x:1:2",
        "<string>",
        "<frozen runpy>",
        "/srv/größe/鍵.py",
        '/srv/"quoted"\\.py',
        "\\\\share\\x.py",
    ]
) | st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), min_size=1, max_size=20)
PLACES = st.lists(st.tuples(FILES, st.integers(1, 10**6)), min_size=1, max_size=8, unique=True)


def book(run: str, places: Sequence[tuple[str, int]], schema: int, pid: int = 11) -> Logbook:
    """Return a log with a finding at each place, without stacks."""
    found = Logbook(run, pid=pid, schema=schema)
    found.started()
    found.acquire(1, 1, "HCRYPTKEY", 20)
    for number, (file, line) in enumerate(places):
        name = f"1:{number:016x}"
        found.find(2, 1, "double-release", name, where=f"{file}:{line}", cause="c", **cause(file))
    found.ended(3)
    return found


def cause(file: str) -> dict[str, Any]:
    """Return a second place that a finding has."""
    return {"cause_where": f"{file}:3", "siblings_where": f"{file}:4", "siblings_where_count": 1}


def places_of(folder: Path) -> list[Place]:
    """Return where the findings in a folder are, in the order of their fingerprints."""
    groups = embedded.analyse(reading.find([str(folder)])).groups
    return [group.where for group in sorted(groups, key=lambda group: group.fingerprint)]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(places=PLACES, schema=st.sampled_from([1, 2]))
def test_any_place_survives(places: list[tuple[str, int]], schema: int) -> None:
    """What was a place when it was written is the same place in the report."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "csptrace-a-1-1.jsonl").write_bytes(as_lines(book("a", places, schema).events))

        assert places_of(Path(folder)) == places


@given(places=PLACES)
def test_an_event_of_version_1_is_read_as_one_of_version_2(places: list[tuple[str, int]]) -> None:
    """A reader of parsed lines gets the same fields of both, but for the version itself."""
    old, new = (
        [contract.event_of(orjson.loads(line)) for line in as_lines(log.events).splitlines()]
        for log in (book("a", places, 1), book("a", places, 2))
    )

    assert [{**each, "schema": 0} for each in old if each] == [
        {**each, "schema": 0} for each in new if each
    ]
    assert len(old) == len(places) + 4


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nowhere",
        "a.py:",
        ":7",
        "a.py:x",
        "a.py:-1",
        f"a.py:{10**15}",
        "a\n.py:7",
        "\u0667:\u0667",
    ],
)
def test_what_is_no_place_is_none(text: str, tmp_path: Path) -> None:
    """A text of version 1 without a file and a line leaves the place where it was acquired."""
    log = book("a", [("x.py", 1)], 1)
    for event in log.events:
        if "where" in event:
            event["where"] = text
    (tmp_path / "csptrace-a-1-1.jsonl").write_bytes(as_lines(log.events))

    assert places_of(tmp_path) == [Place("/src/app.py", 20)]


def test_both_versions_lie_in_one_folder(tmp_path: Path) -> None:
    """The same bug in a log of each version is one bug, in the report and while it is watched."""
    place = ("/srv/app.py", 7)
    for run, schema, pid in (("a", 1, 11), ("b", 2, 12)):
        log = book(run, [place], schema, pid)
        (tmp_path / f"csptrace-a-{pid}-1.jsonl").write_bytes(as_lines(log.events))

    report = embedded.analyse(reading.find([str(tmp_path)]))
    (group,) = report.groups
    tail = LogTail(str(tmp_path))
    tail.poll()

    assert (group.count, group.runs, group.where) == (2, 2, place)
    assert group.siblings.released_at == ("/srv/app.py", 4)
    assert [source.other_schema for source in report.sources] == [(), ()]
    assert [seen.where for seen in tail.state().findings] == [place, place]


def test_only_one_place_is_written_as_text_too() -> None:
    """What version 2 has of the fields of version 1 is `where`, for people."""
    _, optional = EVENTS["csptrace.finding"]
    assert [name for name in REPLACED["csptrace.finding"] if name in optional] == ["where"]
