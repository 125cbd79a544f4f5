"""Commands that change files, interrupted everywhere; what must hold afterwards.

    python interruptions.py SCENARIO kill|fail FOLDER EVERY

A program of its own, since it forks: no test runner's threads are about.
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1]))

import duckdb
import orjson
from golden_logs import leaky
from interrupted import at_every_operation
from logbook import Logbook, as_lines

from csptrace.analysis import cache_folder
from csptrace.events.log import EventLog
from csptrace.findings import baseline
from csptrace.frontends import cli

if TYPE_CHECKING:
    from collections.abc import Callable

    from logbook import Event

Key = tuple[str, int]


class Scenario:
    """Something to be interrupted.

    Args:
        home: a folder of its own, emptied before each attempt.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.logs = home / "logs"
        self.archive = home / "archive"

    def prepare(self) -> None:
        """Set everything up anew."""
        shutil.rmtree(self.home, ignore_errors=True)
        self.logs.mkdir(parents=True)
        self.fill()

    def fill(self) -> None:
        """Make what the command works on."""

    def resume(self) -> None:
        """Get ready to play what another process has prepared."""

    def play(self) -> int:
        """Run the command; return its exit status."""
        raise NotImplementedError

    def check(self, operation: str, status: int | None) -> None:
        """Judge what is left."""
        raise NotImplementedError


def run(*arguments: object) -> int:
    """Run csptrace without its output; a traceback is an error of its own."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        return cli.main([str(one) for one in arguments])


def events(run_id: str, count: int, *, ended: bool = True) -> list[Event]:
    """Return a run with so many events in the middle."""
    book = Logbook(run_id)
    book.started()
    for number in range(count):
        book.emit(number, "notice", code="x", message="y")
    if ended:
        book.ended(count)
    return book.events


class Compacting(Scenario):
    """A rotated log whose older piece was archived and cleaned away, and that has grown."""

    first = "csptrace-alpha-11-1.jsonl"
    second = "csptrace-alpha-11-1.1.jsonl"
    other = "csptrace-alpha-12-2.jsonl"

    def fill(self) -> None:
        """Archive a piece and a half, take one away and let the other grow."""
        all_events = events("aaaa", 30)
        (self.logs / self.first).write_bytes(as_lines(all_events[:10]))
        (self.logs / self.second).write_bytes(as_lines(all_events[10:15]) + b"torn{")
        assert run("compact", self.logs, "-o", self.archive) == 0
        (self.logs / self.first).unlink()
        (self.logs / self.second).write_bytes(as_lines(all_events[10:]))
        (self.logs / self.other).write_bytes(as_lines(events("bbbb", 5)))
        (self.archive / "notes.txt").write_text("precious")
        self.known = {(one["run"], one["seq"]) for one in [*all_events, *events("bbbb", 5)]}
        self.before = self.archived()

    def play(self) -> int:
        """Compact, and delete what is safe."""
        return run("compact", self.logs, "-o", self.archive, "--delete-logs")

    def archived(self) -> set[Key]:
        """Return the events in the archive; each file must be whole."""
        found: set[Key] = set()
        for path in self.archive.rglob("*.parquet"):
            if not path.name.startswith("."):
                query = "SELECT run, seq FROM read_parquet(?) WHERE stray IS NULL"
                found.update(duckdb.execute(query, [str(path)]).fetchall())
        return found

    def logged(self) -> set[Key]:
        """Return the events in the logs that are there."""
        lines = [line for path in self.logs.iterdir() for line in path.read_bytes().splitlines()]
        found = [orjson.loads(line) for line in lines if line.endswith(b"}")]
        return {(one["run"], one["seq"]) for one in found}

    def check(self, operation: str, status: int | None) -> None:
        """Nothing known is lost, and doing it again completes it without leaving scraps."""
        archived = self.archived()
        assert archived >= self.before, operation
        assert archived | self.logged() >= self.known, operation
        assert status in (0, 1, 2, None), operation
        if any(self.logs.iterdir()):
            assert self.play() == 0, operation
        assert self.archived() == self.known, operation
        assert not any(self.logs.iterdir()), operation
        assert (self.archive / "notes.txt").read_text() == "precious"
        if status is None:  # what a refused clean-up leaves, the next compact removes
            left = {path.name for path in self.archive.iterdir()}
            assert all(not name.startswith(".csptrace-new-") for name in left), operation


class Overlapping(Compacting):
    """Two archives of one log, as a kill between two steps of an older version left them."""

    def fill(self) -> None:
        """Put a copy of an archive beside it, under another day."""
        super().fill()
        (path,) = self.archive.rglob("*.parquet")
        copy = self.archive / "day=2020-01-01" / "machine=alpha" / path.name
        copy.parent.mkdir(parents=True)
        shutil.copyfile(path, copy)


class Caching(Scenario):
    """A report that keeps its answers, in a cache with something old in it."""

    def fill(self) -> None:
        """Make a log, and a folder of the user's beside the cache."""
        leaky().write(self.logs)
        (self.home / "work").mkdir()
        (self.home / "work" / "main.py").write_text("precious")

    def play(self) -> int:
        """Ask for a report."""
        return run(
            *("report", self.logs, "--cache", self.home / "cache", "--format", "json"),
            *("-o", self.home / "report.json"),
        )

    def check(self, operation: str, status: int | None) -> None:
        """A report is there whole or not at all, and asking again answers."""
        assert status in (0, 2, None), operation
        path = self.home / "report.json"
        if path.exists():
            report = orjson.loads(path.read_bytes())
            assert report["groups"] or report["sources"][0]["unreadable"], operation
        assert self.play() == 0, operation
        assert orjson.loads(path.read_bytes())["groups"], operation
        assert (self.home / "cache" / "CACHEDIR.TAG").read_bytes() == cache_folder._MARK
        assert (self.home / "work" / "main.py").read_text() == "precious"


class Baselining(Scenario):
    """A baseline that is written again, with reasons in it that somebody has written."""

    def fill(self) -> None:
        """Make a baseline and give a reason."""
        leaky().write(self.logs)
        self.resume()
        assert self.play() == 0
        text = self.path.read_text("utf-8").replace("count = 1", 'count = 1\nreason = "because"')
        self.path.write_text(text, "utf-8")

    def resume(self) -> None:
        """Say where it is."""
        self.path = self.home / "known.toml"

    def play(self) -> int:
        """Write it."""
        return run("baseline", self.logs, "--no-cache", "-o", self.path)

    def check(self, operation: str, status: int | None) -> None:
        """Every entry and every reason is there, before as after."""
        assert status in (0, 2, None), operation
        entries = baseline.read(self.path)
        assert [one.reason for one in entries] == ["because", "because"], operation
        assert self.play() == 0, operation
        left = {path.name for path in self.home.iterdir() if status is not None}
        assert left <= {"logs", self.path.name}, operation


class Logging(Scenario):
    """A process that writes a log in pieces, and notes which events were written."""

    def fill(self) -> None:
        """Make no folder yet."""
        self.logs.rmdir()
        self.resume()

    def resume(self) -> None:
        """Open what is acknowledged in."""
        self.notes = (self.home / "acknowledged").open("ab", buffering=0)

    def play(self) -> int:
        """Write events; beside each, an acknowledgement."""
        log = EventLog(self.logs, "aaaa", lambda *_: None, rotate=1500)
        for number in range(40):
            log.emit("csptrace.notice", code="x", message="y" * number)
            if log.path is not None and log._file >= 0:
                self.notes.write(b".")
        log.close()
        return 0

    def check(self, operation: str, status: int | None) -> None:
        """What was acknowledged is in the log: whole lines, in order, without a gap."""
        assert status in (0, None), operation
        self.notes.close()
        acknowledged = (self.home / "acknowledged").stat().st_size
        found = []
        for path in sorted(self.logs.glob("*"), key=lambda path: path.stat().st_mtime_ns):
            data = path.read_bytes()
            assert data.endswith(b"\n") or not data, operation
            found += [orjson.loads(line)["seq"] for line in data.splitlines()]
        assert sorted(found) == list(range(1, len(found) + 1)), operation
        assert len(found) >= acknowledged, operation


SCENARIOS: dict[str, Callable[[Path], Scenario]] = {
    "compact": Compacting,
    "overlap": Overlapping,
    "cache": Caching,
    "baseline": Baselining,
    "log": Logging,
}


def main(name: str, how: str, folder: str, every: str) -> None:
    """Interrupt a scenario at each so many-th operation and print how many there were."""
    tempfile.tempdir = str(Path(folder, "tmp"))
    Path(folder, "tmp").mkdir()
    home = Path(folder, "home")
    scenario = SCENARIOS[name](home)
    kill = str(home) if how == "kill" else ""
    count = at_every_operation(
        scenario.prepare,
        scenario.play,
        scenario.check,
        kill=kill,
        every=int(every),
    )
    print(count)  # noqa: T201 - the answer


if __name__ == "__main__":
    main(*sys.argv[1:])
