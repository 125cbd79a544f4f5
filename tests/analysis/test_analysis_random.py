"""Random traces: DuckDB answers what a naive replay in Python answers."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import naive
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from logbook import Logbook, as_lines
from traces import books

from csptrace.analysis import embedded, reading

if TYPE_CHECKING:
    from logbook import Event

    from csptrace.analysis.results import Report

RANK = ("error", "warning", "info")


def _check(report: Report, written: list[Logbook]) -> None:
    processes = [naive.Process(book.events) for book in written]
    by_run = {process.run: process for process in processes}

    assert {(site.kind, site.where) for site in report.sites} == set(naive.sites(processes))
    for site in report.sites:
        wanted = naive.sites(processes)[site.kind, site.where]
        for name in ("acquired", "released", "leaked", "live", "growth"):
            assert getattr(site, name) == wanted[name], (site.where, name)
        assert site.lifetime == naive.quantiles(wanted["ages"])
        if wanted["at"]:
            most = max(wanted["at"].values())
            assert (site.released_at, site.released_there) == (
                min(place for place, times in wanted["at"].items() if times == most),
                most,
            )
    assert [(one.run, one.hid, one.age, one.ended) for one in report.held] == naive.held(processes)[
        :50
    ]
    assert {run.run for run in report.runs} == set(by_run)
    for run in report.runs:
        process = by_run[run.run]
        assert (run.started, run.ended) == (process.started, process.ended)
        assert (run.finished, run.peak, run.live) == (
            process.finished,
            process.peak,
            process.live,
        )
        assert run.acquired == len(process.handles)
        assert dict(run.findings) == _count("code", process.findings)
    for name, points in report.timelines:
        assert dict(points) == by_run[name].points
        assert [point.at for point in points] == sorted(by_run[name].points)
    assert {name for name, _ in report.timelines} == {
        process.run for process in processes if process.handles
    }
    _check_groups(report, processes)
    taken = {
        (process.run, by): tuple(sorted(kinds.items()))
        for process in processes
        for by, kinds in process.taken.items()
    }
    assert {(one.run, one.hid): one.under for one in report.contexts} == taken
    if report.graph_run:
        process = by_run[report.graph_run]
        assert _count("code", process.findings).total() == max(
            _count("code", other.findings).total() for other in processes
        )
        assert {node.hid: node.how for node in report.graph} == {
            hid: process.ends[hid]["how"] if hid in process.ends else "alive"
            for hid in process.handles
        }
    assert report.cost.events == sum(len(book.events) for book in written)


def _count(field: str, findings: list[Event]) -> Counter[str]:
    """Count findings by a field; an event may stand for several."""
    counts = Counter[str]()
    for event in findings:
        if field in event:
            counts[event[field]] += event.get("times", 1)
    return counts


def _check_groups(report: Report, processes: list[naive.Process]) -> None:
    findings = [event for process in processes for event in process.findings]
    assert {group.fingerprint for group in report.groups} == {
        event["fingerprint"] for event in findings
    }
    for group in report.groups:
        same = [event for event in findings if event["fingerprint"] == group.fingerprint]
        first = min(same, key=lambda event: (event["ts"], event["run"], event["seq"]))
        assert group.count == _count("fingerprint", same).total()
        assert group.runs == len({event["run"] for event in same})
        assert group.severity == min((event["severity"] for event in same), key=RANK.index)
        assert group.first_seen == first["ts"]
        assert group.last_seen == max(event["ts"] for event in same)
        assert dict(group.scopes) == _count("scope", same)
        assert group.example.run == first["run"]
        assert group.example.value == first["value"]


def test_quantiles_are_nearest_ranks(tmp_path: Path) -> None:
    """Of lifetimes of 1 to 60 ns the 30th, the 54th and the 60th; so short, they are exact."""
    book = Logbook("aaaa")
    book.started()
    for hid in range(1, 61):
        book.acquire(hid, hid, "HCRYPTKEY", 20)
        book.release(hid, hid, 30, age_ns=hid)
    book.write(tmp_path)
    (site,) = embedded.analyse(reading.find([str(tmp_path)])).sites

    assert site.lifetime == (30, 54, 60, 60)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
@given(written=books(), data=st.data())
def test_random_traces_are_answered_as_a_naive_replay_does(
    written: list[Logbook], data: st.DataObject
) -> None:
    """Whatever a tracer can write, and however it is spread over files, the answers are right."""
    folder = Path(tempfile.mkdtemp())
    try:
        # Every event into one of some files: runs are cut up, mixed, and stand twice.
        files = data.draw(st.integers(1, 3))
        copies = data.draw(st.booleans())
        lines: list[list[bytes]] = [[] for _ in range(files)]
        for book in written:
            cut = data.draw(st.integers(0, len(book.events)))
            one, other = (data.draw(st.integers(0, files - 1)) for _ in range(2))
            lines[one].append(as_lines(book.events[:cut]))
            lines[other].append(as_lines(book.events[cut:]))
            if copies:
                lines[other].append(as_lines(book.events[:cut]))
        for number, parts in enumerate(lines):
            (folder / f"log{number}.jsonl").write_bytes(b"".join(parts))

        with pytest.MonkeyPatch.context() as patch:
            # Of a long log the sample may miss anything.
            if data.draw(st.booleans()):
                patch.setattr(reading, "sample", lambda _log: iter(()))
            report = embedded.analyse(reading.find([str(folder)]))

        _check(report, written)
        events = sum(len(book.events) for book in written)
        assert sum(one.events - one.repeated for one in report.sources) == events
    finally:
        shutil.rmtree(folder)
