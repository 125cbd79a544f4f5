"""A folder of logs in every form and every bad state, and what a report has to say of each."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import golden_logs
import zstandard
from logbook import Logbook, as_lines

from csptrace.analysis import compaction

if TYPE_CHECKING:
    from pathlib import Path

FOREIGN = (
    b'hello\n[1,2]\n123\n"text"\nnull\n{"level":"info","msg":"not ours"}\n{"event":5}\n'
    b'{"event":"csptrace.handle_acquired","ts":"abc"}\n{"event":"other.thing","run":"x"}\n'
    b"\xff\xfe broken\n"
)
FOREIGN_LINES = 10


def busy(run: str, number: int) -> Logbook:
    """Return a run with some acquisitions, releases, a leak and an end."""
    book = Logbook(run, f"host{number % 2}", 100 + number)
    book.started(number)
    book.acquire(10, 1, "HCRYPTPROV", 10, name="Schlüssel \u2028 'x' \"y\"")
    for hid in range(2, 12):
        book.acquire(10 + hid, hid, "HCRYPTKEY", 20 + hid % 3, parent=1)
        if hid % 4:
            book.release(20 + hid + number, hid, 30 + hid % 2)
    book.release(90, 1, 50)
    for hid in (4, 8):
        book.invalidate(90, hid, by=1)
        book.find(90, hid, "leaked-at-release", f"1:{hid:016x}", where="/src/app.py:20")
    book.ended(100 + number, bytes=5)
    return book


def write(folder: Path) -> dict[str, dict[str, object]]:
    """Write the logs.

    Returns:
        File name → what its `Source` must say besides events: only what is not zero or empty.
    """
    folder.mkdir(parents=True)
    names: dict[str, dict[str, object]] = {}

    def put(name: str, data: bytes, **expected: object) -> None:
        (folder / name).write_bytes(data)
        names[name] = expected

    golden = golden_logs.leaky()
    put("plain.jsonl", golden.lines(), events=len(golden.events))
    one = busy("one", 1)
    put("torn.jsonl", one.lines()[:-30], events=len(one.events) - 1, torn=1)
    two = busy("two", 2)
    foreign = FOREIGN + two.lines()
    put("foreign.jsonl", foreign, events=len(two.events), foreign=FOREIGN_LINES)
    three = busy("three", 3)
    put("blank.jsonl", b"\n\n" + three.lines() + b"\n  \n", events=len(three.events))
    four = busy("four", 4)
    nul = four.lines() + b"\0" * 500
    put("nul.jsonl", nul, events=len(four.events), torn=1)
    five = busy("five", 5)
    put("crlf.jsonl", five.lines().replace(b"\n", b"\r\n"), events=len(five.events))
    six = busy("six", 6)
    cut = gzip.compress(six.lines(), mtime=0)[:-8]
    reason = "the compressed stream is cut off"
    put("cut.jsonl.gz", cut, events=len(six.events), unreadable=reason)
    seven = busy("seven", 7)
    lines = seven.lines().splitlines(keepends=True)
    compressor = zstandard.ZstdCompressor()
    whole = compressor.compress(b"".join(lines[:8]))
    rest = compressor.compress(b"".join(lines[8:]))
    put("cut.jsonl.zst", whole + rest[:-20], events=8, unreadable=reason)
    eight = busy("eight", 8)
    newer = [{**event, "schema": 3, "colour": "red"} for event in eight.events]
    put(
        "newer.jsonl",
        as_lines(newer),
        events=len(newer),
        other_schema=(("3", len(newer)),),
    )
    nine = busy("nine", 9)
    older = [{name: event[name] for name in event if name != "schema"} for event in nine.events]
    put(
        "older.jsonl",
        as_lines(older),
        events=len(older),
        other_schema=(("none", len(older)),),
    )
    put("empty.jsonl", b"")
    put("copy.jsonl", golden.lines()[:400], torn=1)
    names["copy.jsonl"]["events"] = golden.lines()[:400].count(b"\n")
    put("junk.jsonl", bytes(range(11, 256)) * 4, foreign=1)
    put("junk.jsonl.gz", b"\x1f\x8b" + bytes(range(50)))
    put("not.parquet", b"PAR1 this is none PAR1")
    ten = busy("ten", 10)
    both = ten.lines()
    run_into = both[:200] + both
    put("mixed.jsonl", run_into, events=len(ten.events) - 1, torn=1)
    eleven = busy("eleven", 11)
    source = folder.parent / "compacted"
    source.mkdir()
    (source / "log.jsonl").write_bytes(b"foreign\n" + eleven.lines() + b'{"torn')
    (done,) = compaction.compact([str(source / "log.jsonl")], str(source / "out"))
    (folder / "day=2027-01-15").mkdir()
    target = "day=2027-01-15/eleven.parquet"
    (folder / target).write_bytes((source / done.target).read_bytes())
    names[target] = {"events": len(eleven.events), "torn": 1, "foreign": 1}
    return names
