"""Whatever an engine may fill in, each form makes a text of it that its readers can read."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any
from xml.etree import ElementTree as ET

import jsonschema
import pytest
import sample_reports
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from csptrace.analysis import results
from csptrace.analysis.render import FORMATS, Options
from csptrace.analysis.render.jsonform import schema
from csptrace.analysis.render.tree import BAD, worst

TEXT = st.text(max_size=12) | st.sampled_from(sample_reports.HOSTILE)
COUNT = st.integers(0, 2**53)
TS = st.integers(0, 2**62)
PAIRS = st.lists(st.tuples(TEXT, COUNT), max_size=3).map(tuple)
SEVERITY = st.sampled_from(["error", "warning", "info"])
ROLE = st.sampled_from(["acquired", "ended", "exit", "last_use", "misused"])
HOW = st.sampled_from(["released", "invalidated", "collected", "handed-over", "unseen", "alive"])


def tuples(strategy: st.SearchStrategy[Any], size: int = 3) -> st.SearchStrategy[Any]:
    """Return tuples of what a strategy makes."""
    return st.lists(strategy, max_size=size).map(tuple)


PLACE = st.builds(results.Place, TEXT, st.integers(0, 10**6))
SIBLINGS = st.builds(results.Siblings, COUNT, COUNT, PLACE, COUNT, PLACE, st.booleans())
FRAMES = tuples(st.builds(results.Frame, TEXT, st.integers(0, 10**6), TEXT, TEXT, st.booleans()))
STEPS = tuples(st.builds(results.Step, ROLE, TEXT, TEXT, FRAMES))
EXAMPLE = st.builds(
    results.Example,
    run=TEXT,
    ts=TS,
    value=TEXT,
    generation=COUNT,
    name=TEXT,
    thread=TEXT,
    task=TEXT,
    scope=TEXT,
    age=st.integers(-1, 2**62),
    uses=COUNT,
    steps=STEPS,
)
GROUP = st.builds(
    results.Group,
    fingerprint=TEXT,
    code=TEXT.filter(bool),
    severity=SEVERITY,
    api=TEXT,
    kind=TEXT,
    count=COUNT,
    runs=COUNT,
    first_seen=TS,
    last_seen=TS,
    hosts=tuples(TEXT, 5),
    scopes=PAIRS,
    causes=PAIRS,
    where=PLACE,
    remedy=TEXT,
    siblings=SIBLINGS,
    example=EXAMPLE,
)
SOURCE = st.builds(
    results.Source,
    path=TEXT,
    events=COUNT,
    torn=COUNT,
    foreign=COUNT,
    other_schema=PAIRS,
    unreadable=TEXT,
    repeated=COUNT,
)
RUN = st.builds(
    results.Run,
    run=TEXT,
    host=TEXT,
    pid=COUNT,
    parent_run=TEXT,
    program=TEXT,
    python=TEXT,
    platform=TEXT,
    level=TEXT,
    started=TS,
    ended=TS,
    finished=st.booleans(),
    acquired=COUNT,
    peak=COUNT,
    live=COUNT,
    findings=PAIRS,
)
LIFETIME = st.builds(results.Lifetime, TS, TS, TS, TS)
SITE = st.builds(
    results.Site,
    api=TEXT,
    kind=TEXT,
    where=PLACE,
    stack=FRAMES,
    acquired=COUNT,
    released=COUNT,
    leaked=COUNT,
    live=COUNT,
    growth=st.integers(-(2**53), 2**53),
    lifetime=st.none() | LIFETIME,
    released_at=PLACE,
    released_there=COUNT,
)
NODE = st.builds(
    results.Node,
    st.integers(1, 9),
    st.integers(0, 9),
    TEXT,
    TEXT,
    TEXT,
    TS,
    st.integers(-1, 2**62),
    HOW,
    PLACE,
    tuples(st.integers(1, 9)),
)
REPORT = st.builds(
    results.Report,
    sources=tuples(SOURCE),
    runs=tuples(RUN),
    groups=tuples(GROUP),
    sites=tuples(SITE),
    timelines=tuples(st.tuples(TEXT, tuples(st.builds(results.Point, TS, COUNT)))),
    held=tuples(st.builds(results.Held, TEXT, COUNT, TEXT, TEXT, TEXT, TS, HOW, PLACE)),
    contexts=tuples(st.builds(results.Context, TEXT, COUNT, TEXT, TEXT, TEXT, TS, PLACE, PAIRS)),
    graph_run=TEXT,
    graph=st.lists(NODE, max_size=9, unique_by=lambda node: node.hid).map(tuple),
    graph_cut=COUNT,
    problems=tuples(st.builds(results.Problem, TEXT, TEXT, COUNT)),
    cost=st.builds(results.Cost, COUNT, COUNT, COUNT, st.integers(-1, 2**62)),
)
COMPARISON = st.builds(
    results.Comparison,
    old_runs=COUNT,
    new_runs=COUNT,
    changes=tuples(
        st.builds(
            results.Change,
            st.sampled_from(["new", "grown", "shrunk", "fixed"]),
            COUNT,
            COUNT,
            GROUP,
        )
    ),
    unchanged=COUNT,
)
OPTIONS = st.builds(
    Options,
    title=TEXT,
    width=st.integers(0, 200),
    colour=st.booleans(),
    verbosity=st.integers(0, 2),
    weight=st.sampled_from(["acquired", "leaked", "live"]),
    generated=TS,
)
SOME = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def read_json(text: str) -> None:
    """Read a document as its schema says."""
    jsonschema.Draft202012Validator(schema()).validate(json.loads(text))


def read_trace(text: str) -> None:
    """Read a trace: each handle begins once and ends once, not before it began."""
    events = json.loads(text)["traceEvents"]
    begins = {event["id"]: event for event in events if event["ph"] == "b"}
    ends = [event for event in events if event["ph"] == "e"]
    assert len(begins) == len(ends) == sum(event["ph"] == "b" for event in events)
    for end in ends:
        begin = begins[end["id"]]
        assert end["ts"] >= begin["ts"]
        assert (end["cat"], end["name"], end["pid"]) == (
            begin["cat"],
            begin["name"],
            begin["pid"],
        )


READERS = {
    "json": read_json,
    "junit": ET.fromstring,
    "markdown": MarkdownIt("gfm-like", {"linkify": False}).parse,
    "perfetto": read_trace,
    "sarif": json.loads,
}


@pytest.mark.parametrize("name", list(FORMATS))
@given(report=REPORT, options=OPTIONS)
@SOME
def test_any_report(name: str, report: results.Report, options: Options) -> None:
    """Any report becomes a text that UTF-8 holds and that a parser of its form reads."""
    text = FORMATS[name].report(report, options)

    assert text.encode().decode() == text
    READERS.get(name, len)(text)


@pytest.mark.parametrize("name", [name for name in FORMATS if FORMATS[name].compares])
@given(comparison=COMPARISON, options=OPTIONS)
@SOME
def test_any_comparison(name: str, comparison: results.Comparison, options: Options) -> None:
    """Any comparison becomes a text that UTF-8 holds and that a parser of its form reads."""
    text = FORMATS[name].comparison(comparison, options)

    assert text.encode().decode() == text
    READERS.get(name, len)(text)


@given(report=REPORT)
@SOME
def test_json_holds_everything(report: results.Report) -> None:
    """No count is lost on the way into JSON: every number of the report is there as often."""

    def numbers(value: Any) -> Counter[int]:
        if isinstance(value, bool | None):
            return Counter()
        if isinstance(value, int):
            return Counter([value])
        if isinstance(value, dict):
            return sum((numbers(each) for each in value.values()), Counter())
        if isinstance(value, list | tuple):
            return sum((numbers(each) for each in value), Counter())
        if hasattr(value, "__dataclass_fields__"):
            fields = value.__dataclass_fields__
            return sum((numbers(getattr(value, name)) for name in fields), Counter())
        return Counter()

    data = json.loads(FORMATS["json"].report(report, Options()))
    del data["version"]

    assert numbers(data) == numbers(report)


@given(
    graph=st.lists(NODE, max_size=9, unique_by=lambda node: node.hid).map(tuple),
    most=st.integers(0, 9),
)
def test_the_worst_handles_keep_what_is_above_them(
    graph: tuple[results.Node, ...], most: int
) -> None:
    """Of a graph that is too large the worst are kept, each with its line of parents, in order."""
    nodes, left_out = worst(graph, most)
    kept = {node.hid for node in nodes}

    assert len(nodes) <= most or len(graph) <= most
    assert len(nodes) + left_out == len(graph)
    assert [node for node in graph if node.hid in kept] == list(nodes)
    present = {node.hid for node in graph}
    for node in nodes:
        assert node.parent in kept or node.parent not in present
    if len(graph) > most and not any(node.parent in present for node in graph):
        bad = sum(node.how in BAD for node in graph)
        assert sum(node.how in BAD for node in nodes) == min(bad, most)
