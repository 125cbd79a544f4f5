"""Four small runs; what the tests expect of them is worked out by hand."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import zstandard
from logbook import Logbook, as_lines

if TYPE_CHECKING:
    from pathlib import Path

AA, BB, CC = (f"1:{letter * 16}" for letter in "abc")


def leaky() -> Logbook:
    """A context that takes a key and a hash with it; two other keys are released in order."""
    book = Logbook("aaaa", "alpha", 11, schema=1)
    book.started()
    book.acquire(0, 1, "HCRYPTPROV", 10, name="box")
    book.acquire(100, 2, "HCRYPTKEY", 20, parent=1)
    book.acquire(200, 3, "HCRYPTKEY", 20, parent=1)
    book.acquire(300, 4, "HCRYPTKEY", 20, below=2, parent=1)
    book.release(400, 2, 30)
    book.release(450, 3, 30, "reference")
    book.release(500, 3, 31)
    book.acquire(550, 5, "HCRYPTHASH", 40, parent=1, needs=[4])
    book.release(600, 1, 50)
    book.invalidate(600, 4, by=1)
    book.invalidate(600, 5, by=1)
    more = {"ended_stack": 500, "ended_by": "Release", "culprit": 1, "culprit_kind": "HCRYPTPROV"}
    why = {
        "cause": "step20() left it when it raised",
        "cause_exit": "raised",
        "cause_pattern": "exception",
        "cause_where": "/src/app.py:22",
        "cause_function": "step20",
    }
    about = {**more, **why, "where": "/src/app.py:20", "scope": "test_one"}
    book.find(600, 4, "leaked-at-release", AA, **about)
    book.find(600, 5, "leaked-at-release", BB, **more, where="/src/app.py:40", scope="test_one")
    book.ended(1000, bytes=1000, writing_ns=50)
    return book


def killed() -> Logbook:
    """Keys pile up until the process is killed."""
    book = Logbook("bbbb", "beta", 12, shift=5000)
    book.started()
    book.acquire(0, 1, "HCRYPTPROV", 10)
    for at, hid in ((100, 2), (800, 3), (900, 4), (1000, 5)):
        book.acquire(at, hid, "HCRYPTKEY", 60, parent=1)
    return book


def forked() -> Logbook:
    """A child that releases what its parent acquired, hands one key over and loses another."""
    book = Logbook("cccc", "alpha", 13)
    book.started(2000, parent_run="aaaa")
    book.acquired_at[3] = (200, "HCRYPTKEY", book.stack(2100, 20))
    book.live = 1
    book.release(2100, 3, 31)
    book.acquire(2200, 10, "HCRYPTKEY", 20)
    book.release(2300, 10, 70, "handed-over")
    book.release(2400, 10, 71, "unseen")
    book.acquire(2500, 11, "HCRYPTKEY", 20)
    book.release(2600, 11, 72, "collected")
    book.find(2600, 11, "lost", CC, severity="info", where="/src/app.py:20")
    book.release(2700, 11, 71, "unseen")
    book.emit(2800, "notice", code="missed", message="x was bound too early")
    book.ended(3000)
    return book


def counted() -> Logbook:
    """A run at level `count`: findings and totals, no handles."""
    book = Logbook("dddd", "beta", 14)
    book.started(4000, level="count")
    book.acquired_at[9] = (4100, "HCRYPTKEY", 0)
    book.find(4200, 9, "leaked-at-release", AA, where="/src/app.py:21", scope="test_two")
    book.ended(4500, acquired=7, peak=3, live=1, bytes=500)
    return book


def write(folder: Path) -> None:
    """Write the four runs: one in two pieces, of which one is compressed; two in one file."""
    folder.mkdir(parents=True)
    first = leaky().events
    (folder / "csptrace-alpha-11-1.jsonl").write_bytes(as_lines(first[:9]))
    (folder / "csptrace-alpha-11-1.1.jsonl.gz").write_bytes(gzip.compress(as_lines(first[9:])))
    compressed = zstandard.ZstdCompressor().compress(killed().lines())
    (folder / "csptrace-beta-12-1.jsonl.zst").write_bytes(compressed)
    (folder / "together.jsonl").write_bytes(forked().lines() + counted().lines())
