"""Texts kept as numbers: whatever a sample of a log shows, the answers are those of its texts."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest
from golden_logs import leaky
from logbook import Logbook, as_lines
from messy_logs import write

from csptrace.analysis import compaction, embedded, queries, reading
from csptrace.analysis.enum_types import EnumTypes

if TYPE_CHECKING:
    from pathlib import Path

    from csptrace.analysis.results import Report


def analyse(folder: Path) -> Report:
    """Analyse a folder."""
    return embedded.analyse(reading.find([str(folder)]))


@pytest.mark.parametrize("form", ["json", "parquet"])
def test_what_the_sample_misses_is_answered_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """With and without knowing any text in advance every field of the report is the same."""
    write(tmp_path / "logs")
    leaky().write(tmp_path / "logs")
    folder = tmp_path / "logs"
    if form == "parquet":
        folder = tmp_path / "compact"
        compaction.compact([str(tmp_path / "logs")], str(folder))
    wanted = analyse(folder)
    monkeypatch.setattr(embedded._Reader, "_expected", lambda _self, _logs: {})

    assert analyse(folder) == wanted
    assert wanted.groups


def test_a_kind_that_comes_once_in_a_long_log_is_counted(tmp_path: Path) -> None:
    """A kind in the middle of a long log, of which no sample has it, has its site and its text."""
    book = Logbook("aaaa")
    book.started()
    odd = 'A\0kind, "quoted"'
    for hid in range(1, 4001):
        book.acquire(hid, hid, odd if hid == 2001 else "HCRYPTKEY", 20)
        book.release(hid, hid, 30)
    book.write(tmp_path)
    (log,) = reading.find([str(tmp_path)])
    sampled = b"".join(reading.sample(log))
    assert len(sampled) < log.size
    assert b"quoted" not in sampled

    report = analyse(tmp_path)

    assert {site.kind: site.acquired for site in report.sites} == {"HCRYPTKEY": 3999, odd: 1}


def test_a_second_run_in_a_file_is_a_run(tmp_path: Path) -> None:
    """Of two processes in one file that no sample tells apart, each has its own handles."""
    first, second = Logbook("aaaa", pid=1), Logbook("bbbb", pid=2)
    for book, handles in ((first, 3), (second, 2)):
        book.started()
        for hid in range(1, handles + 1):
            book.acquire(hid, hid, "HCRYPTKEY", 20)
    lines = as_lines(first.events) + as_lines(second.events)
    # The sample of a compressed log is its beginning.
    padding = as_lines([{"event": "noise", "text": "x" * 1000}] * 300)
    path = tmp_path / "log.jsonl.gz"
    path.write_bytes(gzip.compress(padding + lines))
    (log,) = reading.find([str(path)])
    assert b"aaaa" not in b"".join(reading.sample(log))

    report = embedded.analyse([log])

    assert {run.run: run.acquired for run in report.runs} == {"aaaa": 3, "bbbb": 2}
    (source,) = report.sources
    assert (source.events, source.foreign) == (len(first.events) + len(second.events), 300)


def test_numbers_are_in_the_order_of_the_texts(tmp_path: Path) -> None:
    """Whatever comes later: sorting by numbers is sorting by texts, so that engines agree."""
    database = embedded.connect(str(tmp_path), 1 << 28)
    enum_types = EnumTypes(database, {"kind": {"m"}})
    source = (
        "SELECT * FROM (VALUES (1, 'm'), (2, 'z'), (3, 'a'), (4, NULL), (5, 'Z'), (6, 'ä')) "
        "v(nth, kind) CROSS JOIN (SELECT 'r' AS run, 'released' AS how, 'cryptoapi' AS api)"
    )
    query = enum_types.select(source)
    database.execute(f"CREATE TEMP TABLE these AS {query}")

    enum_types.settle("these")

    rows = database.execute("SELECT kind, how FROM these ORDER BY kind NULLS LAST").fetchall()
    assert [kind for kind, _ in rows] == ["Z", "a", "m", "z", "ä", None]
    assert {how for _, how in rows} == {"released"}
    (sort,) = database.execute("SELECT DISTINCT typeof(kind) FROM these").fetchone()
    assert sort.startswith("ENUM")
    database.close()


def test_every_symbol_is_a_column_of_the_events() -> None:
    """What is kept as numbers is asked for by the questions, as a text."""
    columns = queries.INPUTS["events"][1]

    assert set(queries.ENUMS) <= set(columns)
    for name in set(queries.ENUMS) - {"how"}:
        assert queries.COLUMNS[columns[name]] == "VARCHAR"
