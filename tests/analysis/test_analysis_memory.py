"""`--memory-limit` holds for every input, however much a few bytes of it become."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import zlib
from typing import TYPE_CHECKING

import pytest
import zstandard
from golden_logs import leaky
from hypothesis import given, settings
from hypothesis import strategies as st

from csptrace.analysis import reading
from csptrace.analysis.tail import LogTail
from csptrace.events.schema import LONGEST_LINE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MB = 1_000_000
LIMIT = 256 * MB
OVERHEAD = 130 * MB
"""What an interpreter with DuckDB and its code takes (90 MB were measured), and room."""
GOOD = leaky().lines()
EVENTS = len(leaky().events)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the peak is asked of Unix")

PROGRAM = """
import re, resource, sys
from csptrace.frontends import cli
status = cli.main(sys.argv[1:])
if sys.platform == "linux":  # ru_maxrss begins with the peak of the process that has started it
    peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
else:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print("PEAK", peak * (1 if sys.platform == "darwin" else 1024), file=sys.stderr)
sys.exit(status)
"""


def run(*arguments: object) -> tuple[str, int]:
    """Run a command in a process of its own; return its output and its peak memory in bytes."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)],
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    *_, last = done.stderr.splitlines()
    assert last.startswith("PEAK "), done.stderr
    assert done.returncode in (0, 1), done.stderr
    return done.stdout, int(last.split()[1])


def gzipped(size: int, byte: bytes) -> bytes:
    """Return a log in which a long stretch of one byte stands between two copies of events."""
    stream = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = byte * (1 << 20)
    parts = [stream.compress(GOOD), *(stream.compress(block) for _ in range(size >> 20))]
    return b"".join((*parts, stream.compress(b"\n" + GOOD), stream.flush()))


def zstandard_of(size: int, window: int = 21) -> bytes:
    """Return the same, of NUL bytes and with zstd."""
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=window)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    block = bytes(1 << 20)
    parts = [stream.compress(GOOD), *(stream.compress(block) for _ in range(size >> 20))]
    return b"".join((*parts, stream.compress(b"\n" + GOOD), stream.flush()))


def plain(target: Path, size: int) -> None:
    """Write events and a line of NUL bytes that takes no room on the disk."""
    with target.open("wb") as file:
        file.write(GOOD)
        file.truncate(size)


def nested() -> bytes:
    """Return events and lines that are nested as deeply as they are long."""
    head = b'{"event":"csptrace.x","run":"deep","ts":1,"mono":1,"seq":%d,"x":'
    deep = b"[" * 120_000 + b"]" * 120_000
    return GOOD + b"".join(head % number + deep + b"}\n" for number in range(20))


WRITERS: dict[str, tuple[Callable[[Path], object], dict[str, int]]] = {
    "zeros.jsonl.gz": (
        lambda path: path.write_bytes(gzipped(600 * MB, b"\0")),
        {"events": 2 * EVENTS, "torn": 1},
    ),
    "empty-lines.jsonl.gz": (
        lambda path: path.write_bytes(gzipped(64 * MB, b"\n")),
        {"events": 2 * EVENTS},
    ),
    "members.jsonl.gz": (
        lambda path: path.write_bytes(gzip.compress(GOOD) + gzip.compress(b"x", mtime=0) * 50_000),
        {"events": EVENTS, "foreign": 1},
    ),
    "zeros.jsonl.zst": (
        lambda path: path.write_bytes(zstandard_of(600 * MB)),
        {"events": 2 * EVENTS, "torn": 1},
    ),
    "window.jsonl.zst": (lambda path: path.write_bytes(zstandard_of(200 * MB, 27)), {}),
    "nul.jsonl": (lambda path: plain(path, 600 * MB), {"events": EVENTS, "torn": 1}),
    "long.jsonl": (
        lambda path: path.write_bytes(GOOD + b"x" * 100 * MB + b"\n" + GOOD),
        {"events": 2 * EVENTS, "foreign": 1},
    ),
    "nested.jsonl": (lambda path: path.write_bytes(nested()), {"events": EVENTS + 20}),
}


@pytest.fixture(scope="module")
def bombs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of logs that are much more than they seem."""
    folder = tmp_path_factory.mktemp("bombs")
    for name, (write, _) in WRITERS.items():
        write(folder / name)
    return folder


def test_a_report_stays_within_the_limit(bombs: Path) -> None:
    """No log takes more memory than is allowed, and each one's events are counted."""
    out, peak = run(
        *("report", bombs, "--memory-limit", "256MB", "--no-cache", "--format", "json"),
    )
    sources = {os.path.basename(one["path"]): one for one in json.loads(out)["sources"]}

    assert peak < LIMIT + OVERHEAD
    for name, (_, expected) in WRITERS.items():
        source = sources[name]
        wanted = {"events": 0, "torn": 0, "foreign": 0, **expected}
        assert {key: source[key] for key in wanted} == wanted, name
        assert ("window of 128 MiB" in source["unreadable"]) == (name == "window.jsonl.zst")


@pytest.mark.parametrize("command", ["compact", "compare", "baseline", "watch"])
def test_every_command_stays_within_the_limit(command: str, bombs: Path, tmp_path: Path) -> None:
    """Commands other than the report hold the limit, too."""
    limit = ("--memory-limit", "256MB")
    arguments: dict[str, tuple[object, ...]] = {
        "compact": (bombs, "-o", tmp_path / "parquet", *limit),
        "compare": (bombs / "zeros.jsonl.gz", bombs / "nested.jsonl", "--no-cache", *limit),
        "baseline": (bombs / "zeros.jsonl.zst", "-o", tmp_path / "b.json", "--no-cache", *limit),
        "watch": (bombs, "--once"),
    }
    out, peak = run(command, *arguments[command])

    assert out
    assert peak < LIMIT + OVERHEAD


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([b"", b"x", b"line\n", b"\n\n", b"y" * 40_000, b"\0" * 9])),
    st.integers(0, 3),
)
def test_members_are_decompressed_as_gzip_does_it(parts: list[bytes], padding: int) -> None:
    """Members of every size, with and without padding behind them, give the same lines."""
    data = b"".join(gzip.compress(part, mtime=0) + b"\0" * padding for part in parts)
    damage: list[str] = []
    pieces = list(reading._inflate(io.BytesIO(data), damage))

    assert b"".join(pieces) == b"".join(parts)
    assert damage == []


@pytest.mark.parametrize("piece", [7, 1000, 1 << 20])
def test_a_follower_holds_no_more_than_a_line(piece: int, tmp_path: Path) -> None:
    """A line that never ends is counted once, and what follows it is read."""
    path = tmp_path / "csptrace-log.jsonl"
    follower = LogTail(str(tmp_path))
    long = b"x" * (LONGEST_LINE + 5)
    for start in range(0, len(long), max(piece, len(long) // 20)):
        with path.open("ab") as file:
            file.write(long[start : start + max(piece, len(long) // 20)])
        follower.poll()
    assert (follower.state().events, follower.state().skipped) == (0, 1)

    with path.open("ab") as file:
        file.write(b"tail\n" + GOOD)
    follower.poll()
    assert (follower.state().events, follower.state().skipped) == (EVENTS, 1)
