"""One bad field never stops a command: every reader decides alike what is an event."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import duckdb
import golden_logs
import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from logbook import Logbook

from csptrace.analysis import (
    compaction,
    comparing,
    contract,
    distributed,
    embedded,
    queries,
    reading,
)
from csptrace.analysis.render import FORMATS, Options
from csptrace.analysis.tail import LogTail
from csptrace.events.schema import EVENTS
from csptrace.frontends import cli

if TYPE_CHECKING:
    from pathlib import Path

    from csptrace.analysis.results import Report

DEEP = b"[" * 5000 + b"]" * 5000
ABSENT = b""
TWICE = b"twice"
VALUES = {
    "absent": ABSENT,
    "null": b"null",
    "list": b"[1]",
    "empty list": b"[]",
    "texts": b'["a"]',
    "object": b'{"a":1}',
    "true": b"true",
    "number": b"7",
    "number as text": b'"7"',
    "fraction": b"2.5",
    "negative": b"-3",
    "64 bits": b"9223372036854775807",
    "63 bits": b"4611686018427387903",
    "65 bits": b"9223372036854775808",
    "-65 bits": b"-9223372036854775809",
    "70 bits": b"1180591620717411303424",
    "huge": b"1e400",
    "long": b"1" * 5000,
    "NaN": b"NaN",
    "infinity": b"-Infinity",
    "deep": DEEP,
    "lone surrogate": b'"\\ud800"',
    "NUL": b'"a\\u0000b"',
    "text": b'"\xc3\xa9 \\" \\\\ \\u2028"',
    "list as text": b'"[1]"',
    "frames of lists": b'[["a",1,"b","c",1]]',
    "twice": TWICE,
}
INTEGERS = {
    *("true", "number", "number as text", "fraction", "absent", "null"),
    *("negative", "64 bits", "63 bits"),
}
TEXTS = {"number as text", "NUL", "text", "list as text", "absent", "null"}
LISTS = {"list", "empty list", "absent", "null"}
NO_JSON = {"lone surrogate"}
"""What no reader takes for JSON, in whichever field it stands."""


def examples() -> dict[str, dict[str, Any]]:
    """Return an event of every name, with every field."""
    fill = {"integer": 5, "string": "text", "boolean": True, "array": [], "object": {}}
    found = {}
    for event, (required, optional) in EVENTS.items():
        fields = {
            name: about["enum"][0] if "enum" in about else fill[about["type"]]
            for name, about in {**required, **optional}.items()
        }
        fields |= {
            "event": event,
            "schema": 1,
            "run": "run",
            "pid": 3,
            "seq": 1,
            "ts": 5,
            "mono": 5,
        }
        found[event] = fields
    return found


EXAMPLES = examples()
FIELDS = [(event, field) for event, fields in EXAMPLES.items() for field in fields]


def mutated(event: str, field: str, run: str, value: bytes) -> bytes:
    """Return the line of an event of a run with another value in a field."""
    fields = {**EXAMPLES[event], "run": run}
    if value == TWICE:
        text = json.dumps(fields[field], ensure_ascii=False).encode()
        value = text + b"," + json.dumps(field).encode() + b":[[1]]"
    fields.pop(field)
    line = orjson.dumps(fields)
    if value == ABSENT:
        return line
    # In front: of two members of one name the first counts.
    return b"{" + orjson.dumps(field) + b":" + value + b"," + line[1:]


def expected(event: str, field: str, name: str) -> bool:
    """Return whether a mutated line is an event, by the words of the documentation."""
    if name in NO_JSON:
        return False
    if name == "twice":
        return True
    if field == "event":
        return False
    if field == "schema":
        return name in INTEGERS - {"63 bits", "64 bits"}
    need = contract.COMMON.get(field) or contract.NEEDS[event].get(field)
    if need is None:
        return True
    if name in ("absent", "null"):
        return not need.required
    if need.sort == "integer":
        if name == "negative":
            return need.least < 0
        bits = 64 if name == "64 bits" else 62 if name == "63 bits" else 0
        return name in INTEGERS and need.most.bit_length() >= bits
    return name in {"text": TEXTS, "integers": LISTS, "frames": {"empty list"}}[need.sort]


def write(folder: Path, name: str) -> tuple[Path, set[str], int]:
    """Write a log in which each line has one field changed.

    Returns:
        The log; the runs whose line is an event; how many lines there are in it. Each line has a
        run of its own, unless that is what is changed.
    """
    book = Logbook("whole")
    book.started()
    lines = book.lines().splitlines()
    runs = {"whole"}
    for number, (event, field) in enumerate(FIELDS):
        if field == "run":
            continue
        run = f"run-{number}"
        lines.append(mutated(event, field, run, VALUES[name]))
        if expected(event, field, name):
            runs.add(run)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "csptrace-log.jsonl"
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path, runs, len(lines)


def named(runs: set[str]) -> set[str]:
    """Return the fields behind runs, for a message that says what is wrong."""
    return {".".join(FIELDS[int(run[4:])]) if run[4:].isdecimal() else run for run in runs}


def check(report: Report, runs: set[str], lines: int) -> None:
    """Check that these runs were found and that nothing was lost uncounted."""
    (source,) = report.sources
    assert named({run.run for run in report.runs}) == named(runs)
    assert source.events == len(runs)
    assert source.events + source.foreign + source.torn == lines
    assert source.unreadable == ""


@pytest.mark.parametrize("name", VALUES)
def test_all_readers_agree_on_what_is_foreign(name: str, tmp_path: Path) -> None:
    """A wrong value in any field makes the line foreign for each reader, or for none of them."""
    path, runs, lines = write(tmp_path / "logs", name)
    (log,) = reading.find([str(path)])
    report = embedded.analyse([log])
    check(report, runs, lines)

    follower = LogTail(str(path.parent))
    follower.poll()
    state = follower.state()
    assert named({process.run for process in state.processes}) == named(runs)
    assert state.events + state.skipped == lines

    copy = tmp_path / "salvaged.jsonl"
    with copy.open("wb") as file:
        strays = reading.salvage(log, file)
    assert strays.torn + strays.foreign == lines - len(runs)
    check(embedded.analyse(reading.find([str(copy)])), runs, len(runs))

    (done,) = compaction.compact([str(path)], str(tmp_path / "parquet"))
    assert done.events == len(runs)
    check(embedded.analyse(reading.find([done.target])), runs, lines)

    for form in FORMATS.values():
        assert isinstance(form.report(report, Options()), str)
        if form.compares:
            assert form.comparison(comparing.compare(report, report), Options())


@pytest.mark.parametrize("name", VALUES)
def test_a_wrong_run_is_foreign_for_all_readers(name: str, tmp_path: Path) -> None:
    """What has no usable run is counted, whichever event it is."""
    lines = [mutated(event, "run", "x", VALUES[name]) for event in EXAMPLES]
    path = tmp_path / "csptrace-log.jsonl"
    path.write_bytes(b"\n".join(lines) + b"\n")
    whole = len(lines) if name == "twice" or name in TEXTS - {"absent", "null"} else 0
    report = embedded.analyse(reading.find([str(path)]))
    follower = LogTail(str(tmp_path))
    follower.poll()

    assert report.sources[0].events == whole
    assert report.sources[0].foreign + report.sources[0].torn == len(lines) - whole
    assert (follower.state().events, follower.state().skipped) == (whole, len(lines) - whole)


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """Return a folder with one log that has every wrong value in every field, and its lines."""
    folder = tmp_path_factory.mktemp("everything")
    lines = golden_logs.leaky().lines().splitlines()
    lines += [
        mutated(event, field, "aaaa" if number % 2 else f"run-{number}", value)
        for number, (event, field) in enumerate(FIELDS)
        for value in VALUES.values()
    ]
    (folder / "csptrace-log.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    return folder, len(lines)


@pytest.mark.parametrize(
    "command",
    [
        *(["report", "LOGS", "--format", name, "-v", "-v"] for name in FORMATS),
        ["compare", "LOGS", "LOGS"],
        ["baseline", "LOGS", "-o", "baseline.json"],
        ["compact", "LOGS", "-o", "parquet"],
        ["report", "parquet"],
        ["watch", "LOGS", "--once"],
    ],
    ids=lambda command: "-".join((command[0], *command[3:4])),
)
def test_no_command_is_stopped_by_bad_fields(
    command: list[str],
    everything: tuple[Path, int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """Every command and every format ends as for a log with foreign lines, without a traceback."""
    folder, _ = everything
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder.parent / "cache"))
    if command == ["report", "parquet"]:
        assert cli.main(["compact", str(folder), "-o", "parquet"]) == 0
    arguments = [str(folder) if word == "LOGS" else word for word in command]

    assert cli.main(arguments) in ({0} if command[0] != "report" else {0, 1})
    out, err = capsys.readouterr()
    assert out
    assert "Traceback" not in err


def test_every_field_that_is_read_is_checked() -> None:
    """Whatever a question reads of an event stands in the contract of that event."""
    for event, columns in queries.INPUTS.values():
        if event is None:
            continue
        fields = set(columns.values()) & {*EVENTS[event][0], *EVENTS[event][1]}
        assert fields <= contract.NEEDS[event].keys()


def test_events_of_a_newer_csptrace_are_counted_as_before(tmp_path: Path) -> None:
    """Unknown events, unknown fields and fields that a version no longer has are no fault."""
    base = {"run": "new", "pid": 1, "ts": 1, "mono": 1}
    lines = [
        {
            **base,
            "event": "csptrace.handle_frozen",
            "schema": 1,
            "seq": 1,
            "kind": ["K"],
            "hid": {},
        },
        {**base, "event": "csptrace.weather", "schema": 1, "seq": 2, "code": 5, "frames": 1},
        {**base, "event": "csptrace.finding", "schema": 3, "seq": 3, "colour": [1]},
        {**base, "event": "csptrace.handle_acquired", "schema": 3, "seq": 4, "kind": "K"},
        {**base, "event": "csptrace.handle_acquired", "schema": 3, "seq": 5, "kind": ["K"]},
    ]
    path = tmp_path / "csptrace-log.jsonl"
    path.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    (source,) = embedded.analyse(reading.find([str(path)])).sources
    follower = LogTail(str(tmp_path))
    follower.poll()

    assert (source.events, source.foreign, source.other_schema) == (4, 1, (("3", 2),))
    assert (follower.state().events, follower.state().skipped) == (4, 1)


CONVERT = duckdb.connect()


def converted(text: str) -> int | None:
    """Return what DuckDB makes of a value of JSON where an integer stands."""
    query = 'SELECT from_json(CAST(? AS JSON), \'{"x": "BIGINT"}\').x'
    (found,) = CONVERT.execute(query, [f'{{"x": {text}}}']).fetchone()
    return found


@settings(max_examples=400, deadline=None)
@given(
    st.one_of(
        st.integers(-(2**66), 2**66),
        st.floats(allow_nan=False, allow_infinity=False),
        st.floats(-100, 100).map(lambda number: round(number * 2) / 2),
        st.booleans(),
        st.from_regex(r"\A ?[+-]?[0-9]{0,20}(\.[0-9]{0,3})? ?\Z"),
    )
)
@example("9223372036854775807.4")
@example("-9223372036854775808")
def test_integers_are_converted_as_duckdb_converts_them(value: object) -> None:
    """A number, a boolean or a text becomes the same integer in Python as in DuckDB, or none."""
    assert contract.integer(orjson.loads(json.dumps(value))) == converted(json.dumps(value))


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=8), st.sampled_from(['{"a":1}', "[1]", "5", "-1.5", "true", "NaN", "1e9"]))
def test_a_text_that_could_be_something_else_is_noticed(text: str, other: str) -> None:
    """Everything that DuckDB turns into a text, though it is none, is ambiguous."""
    query = 'SELECT from_json(CAST(? AS JSON), \'{"x": "VARCHAR"}\').x'
    (found,) = CONVERT.execute(query, [f'{{"x": {other}}}']).fetchone()

    assert contract.is_ambiguous(found)
    assert not contract.is_ambiguous(f"K{text}")


def test_spark_agrees(spark: Any, tmp_path: Path) -> None:
    """Where both engines convert alike, Spark calls foreign what DuckDB calls foreign."""
    book = Logbook("whole")
    book.started()
    lines = book.lines().splitlines()
    for name in ("absent", "null", "65 bits", "object", "empty list", "deep"):
        for number, (event, field) in enumerate(FIELDS):
            need = contract.COMMON.get(field) or contract.NEEDS[event].get(field)
            if need is not None and (need.sort != "text" or name in ("absent", "null")):
                lines.append(mutated(event, field, f"run-{name}-{number}", VALUES[name]))
    path = tmp_path / "csptrace-log.jsonl"
    path.write_bytes(b"\n".join(lines) + b"\n")
    local = embedded.analyse(reading.find([str(path)]))
    remote = distributed.analyse([str(path)], spark=spark)

    assert named({run.run for run in remote.runs}) == named({run.run for run in local.runs})
    (ours,), (theirs,) = local.sources, remote.sources
    assert (theirs.events, theirs.foreign + theirs.torn) == (ours.events, ours.foreign + ours.torn)


@pytest.mark.parametrize("name", ["list", "empty list", "65 bits", "number"])
def test_a_single_wrong_field_in_a_log_is_noticed(name: str, tmp_path: Path) -> None:
    """The engine itself sees a wrong field where nothing else in the log makes it look closer."""
    wrong = {}
    for number, (event, field) in enumerate(FIELDS):
        if field in ("event", "run") or expected(event, field, name):
            continue
        line = mutated(event, field, f"run-{number}", VALUES[name])
        path = tmp_path / f"{number}.jsonl"
        path.write_bytes(line + b"\n")
        wrong[str(path)] = (event, field)
    sources = embedded.analyse(reading.find([str(tmp_path)])).sources

    assert {wrong[source.path] for source in sources if source.foreign != 1} == set()
    assert {source.events for source in sources} == {0}
