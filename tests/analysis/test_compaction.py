"""Archives: they only grow, and no log goes that somebody may still write to or read."""

from __future__ import annotations

import gzip
import os
import platform
import random
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import filelock
import orjson
import pytest
from golden_logs import leaky
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from logbook import Logbook, as_lines

import csptrace
from csptrace.analysis import compaction, contract, embedded, queries, reading, writers
from csptrace.analysis.writers import Writer
from csptrace.frontends import cli

if TYPE_CHECKING:
    from collections.abc import Iterator

    from csptrace.analysis.compaction import Compacted

ROOT = Path(csptrace.__file__).parents[1]
posix = pytest.mark.skipif(os.name == "nt", reason="processes and permissions are POSIX's")
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
Key = tuple[str, int]


def keys(archive: Path) -> set[Key]:
    """Return run and number of every event in an archive."""
    found: set[Key] = set()
    for path in archive.rglob("*.parquet"):
        query = f"SELECT run, seq FROM {embedded.parquet_source(str(path))} WHERE stray IS NULL"
        found.update(duckdb.sql(query).fetchall())
    return found


def strays(archive: Path) -> int:
    """Return how many lines that were no events an archive counts."""
    paths = [str(path) for path in archive.rglob("*.parquet")]
    query = f"SELECT COUNT(*) FROM {embedded.parquet_source(*paths)} WHERE stray IS NOT NULL"
    ((count,),) = duckdb.sql(query).fetchall()
    return int(count)


def compact(logs: Path, archive: Path, **more: Any) -> list[Compacted]:
    """Compact every log in a folder."""
    return compaction.compact([str(logs)], str(archive), **more)


def long_run(count: int, run: str = "aaaa", *, ended: bool = True, **more: Any) -> list[Any]:
    """Return the events of a run."""
    book = Logbook(run, **more)
    book.started()
    for number in range(count):
        book.emit(number, "notice", code="x", message="y" * (number % 7))
    if ended:
        book.ended(count)
    return book.events


# --- archives only grow -------------------------------------------------------------------------


def test_a_piece_that_was_cleaned_away_stays_in_the_archive(tmp_path: Path) -> None:
    """What a rotated log no longer has is not what its archive no longer has."""
    events = long_run(6000)
    logs, archive = tmp_path / "logs", tmp_path / "archive"
    logs.mkdir()
    for number, start in enumerate(range(0, len(events), 2000)):
        suffix = f".{number}" if number else ""
        piece = as_lines(events[start : start + 2000])
        (logs / f"csptrace-alpha-11-1{suffix}.jsonl").write_bytes(piece)
    (first,) = compact(logs, archive)
    (logs / "csptrace-alpha-11-1.jsonl").unlink()
    (again,) = compact(logs, archive)
    (logs / "csptrace-alpha-11-1.1.jsonl").unlink()
    with (logs / "csptrace-alpha-11-1.3.jsonl").open("ab") as file:
        late = Logbook("aaaa")
        late.events = list(events)
        late.emit(9000, "notice", code="x", message="late")
        file.write(as_lines(late.events[-1:]))
    (grown,) = compact(logs, archive)

    assert (first.events, again.events, grown.events) == (6002, 6002, 6003)
    assert (again.written, grown.written) == (False, True)
    assert again.target == grown.target


def test_logs_of_one_name_on_two_machines_share_an_archive_and_lose_nothing(tmp_path: Path) -> None:
    """Containers have equal paths: what comes second is added, wherever its machine is."""
    archive = tmp_path / "archive"
    for host, run in (("alpha", "aaaa"), ("beta", "bbbb")):
        logs = tmp_path / "logs"
        shutil.rmtree(logs, ignore_errors=True)
        logs.mkdir()
        (logs / "trace.jsonl").write_bytes(as_lines(long_run(3, run, host=host)))
        compact(logs, archive)

    assert keys(archive) == {(run, seq) for run in ("aaaa", "bbbb") for seq in range(1, 6)}


def test_an_archive_of_an_older_version_is_added_to(tmp_path: Path) -> None:
    """An archive without a list of pieces keeps its events, and what it counted, too."""
    events = long_run(20)
    logs, archive = tmp_path / "logs", tmp_path / "archive"
    logs.mkdir()
    path = logs / "csptrace-alpha-11-1.jsonl"
    path.write_bytes(as_lines(events[:12]) + b"foreign\n" * 3)
    (done,) = compact(logs, archive)
    old = tmp_path / "old.parquet"
    source = embedded.parquet_source(done.target)
    duckdb.sql(
        f"COPY (SELECT * FROM {source}) TO '{old}' (FORMAT parquet, "
        "KV_METADATA {csptrace_digest: 'abc'})"
    )
    shutil.copyfile(old, done.target)
    path.write_bytes(as_lines(events[10:]))
    (grown,) = compact(logs, archive)

    assert (grown.target, grown.events, strays(archive)) == (done.target, 22, 3)


def test_what_cannot_be_read_any_more_is_put_aside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A damaged archive is not overwritten: somebody may still get something out of it."""
    path = leaky().write(tmp_path / "logs")
    (first,) = compact(tmp_path / "logs", tmp_path / "archive")
    whole = Path(first.target).read_bytes()
    for damage in (
        whole[:100],
        whole[:4] + b"\0" * (len(whole) // 2) + whole[4 + len(whole) // 2 :],
    ):
        Path(first.target).write_bytes(damage)
        assert cli.main(["compact", str(path), "-o", str(tmp_path / "archive")]) == 0
        aside = capsys.readouterr().err.strip().rpartition(" ")[2]
        assert Path(aside).read_bytes() == damage
        assert len(keys(tmp_path / "archive")) == first.events
    assert len(list((tmp_path / "archive").rglob("*.damaged*"))) == 2


def test_links_to_folders_of_the_archive_are_not_followed(tmp_path: Path) -> None:
    """One archive under two names is one archive, and stays."""
    logs, archive = tmp_path / "logs", tmp_path / "archive"
    path = leaky().write(logs)
    (first,) = compact(logs, archive)
    (day,) = archive.glob("day=*")
    (archive / "day=latest").symlink_to(day.name)
    (archive / "day=2000-01-01").symlink_to(day.name)
    (day / "machine=old").symlink_to("machine=alpha")
    for _ in range(2):
        with path.open("ab") as file:
            file.write(as_lines(long_run(1, f"run {path.stat().st_size}")))
        compact(logs, archive)
        assert len(keys(day)) > first.events


def test_copies_of_an_archive_are_left_alone(tmp_path: Path) -> None:
    """What somebody has copied is his, wherever it lies; the archive itself goes on."""
    logs, archive = tmp_path / "logs", tmp_path / "archive"
    path = leaky().write(logs)
    (first,) = compact(logs, archive)
    (day,) = archive.glob("day=*")
    copies = [archive / f"{day.name}.bak", archive / "day=2000-01-01", archive / "day=2000-copy"]
    for copy in copies:
        shutil.copytree(day, copy)
    before = [sorted(keys(copy)) for copy in copies]
    with path.open("ab") as file:
        file.write(as_lines(long_run(1, "bbbb")))
    (grown,) = compact(logs, archive)
    (again,) = compact(logs, archive)

    assert (grown.events, again.written, again.target) == (first.events + 3, False, grown.target)
    others = [number for number in range(3) if copies[number] not in Path(grown.target).parents]
    assert [sorted(keys(copies[number])) for number in others] == [before[n] for n in others]


def test_what_could_not_be_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A log that failed once is told and no log that is done, although it has not changed."""
    path = leaky().write(tmp_path / "logs")
    arguments = ["compact", str(path), "-o", str(tmp_path / "archive")]
    with monkeypatch.context() as patched:
        patched.setattr(reading, "unreadable", lambda _log: "input/output error")
        assert cli.main([*arguments, "--delete-logs"]) == 1
    assert "could not be read: input/output error" in capsys.readouterr().err
    assert path.exists()
    assert cli.main(arguments) == 0
    assert "22 events" in capsys.readouterr().out
    assert len(keys(tmp_path / "archive")) == 22


def test_a_log_that_a_newer_version_reads_better_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fields that an older version did not know come into the archive before the log may go."""
    path = leaky().write(tmp_path / "logs")
    with monkeypatch.context() as older:
        columns = {name: sort for name, sort in queries.COLUMNS.items() if name != "inherited"}
        older.setattr(queries, "COLUMNS", columns)
        older.setattr(compaction, "_READER", "older")
        (first,) = compact(tmp_path / "logs", tmp_path / "archive")
    (done,) = compact(tmp_path / "logs", tmp_path / "archive", delete=True)

    assert (done.written, done.deleted, done.events) == (True, True, first.events)
    source = embedded.parquet_source(done.target)
    assert duckdb.sql(f"SELECT COUNT(inherited) FROM {source}").fetchall()[0][0] > 0
    assert not path.exists()


def test_events_of_one_number_that_differ_are_all_kept(tmp_path: Path) -> None:
    """A process that C code has forked goes on counting where its parent does."""
    logs, archive = tmp_path / "logs", tmp_path / "archive"
    logs.mkdir()
    path = logs / "trace.jsonl"
    path.write_bytes(as_lines(long_run(3, ended=False)))
    compact(logs, archive)
    with path.open("ab") as file:
        file.write(as_lines(long_run(6, pid=12)))
    (done,) = compact(logs, archive, delete=True, gone=["*"])

    assert done.events == 4 + 8
    assert done.deleted


class Archiving(RuleBasedStateMachine):
    """Logs are written, rotated, packed, truncated and cleaned away between compactions."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(_home)
        shutil.rmtree(self.home, ignore_errors=True)
        self.logs, self.archive = self.home / "logs", self.home / "archive"
        self.logs.mkdir(parents=True)
        self.seq = 0
        self.piece = 0
        self.known: set[Key] = set()
        self.strays = 0

    def path(self) -> Path:
        """Return the piece that is written to."""
        suffix = f".{self.piece}" if self.piece else ""
        return self.logs / f"csptrace-alpha-11-1{suffix}.jsonl"

    @rule(count=st.integers(1, 20), stray=st.sampled_from([b"", b"foreign\n", b'{"torn\n']))
    def write(self, count: int, stray: bytes) -> None:
        """Add some events, and perhaps a line that is none."""
        events = []
        for _ in range(count):
            self.seq += 1
            event = {"event": "csptrace.notice", "schema": 1, "run": "aaaa", "pid": 11}
            event |= {"seq": self.seq, "ts": 10**18 + self.seq, "mono": self.seq}
            events.append({**event, "code": "x", "message": "y"})
        with self.path().open("ab") as file:
            file.write(as_lines(events) + stray)

    @rule()
    def rotate(self) -> None:
        """Go on in the next file."""
        self.piece += 1

    @precondition(lambda self: any(self.logs.iterdir()))
    @rule(data=st.data())
    def clean(self, data: st.DataObject) -> None:
        """Take a piece away."""
        data.draw(st.sampled_from(sorted(self.logs.iterdir()))).unlink()

    @precondition(lambda self: any(self.logs.glob("*.jsonl")))
    @rule(data=st.data())
    def pack(self, data: st.DataObject) -> None:
        """Compress a piece."""
        path = data.draw(st.sampled_from(sorted(self.logs.glob("*.jsonl"))))
        if path != self.path():
            path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()

    @precondition(lambda self: any(self.logs.glob("*.jsonl")))
    @rule(data=st.data())
    def shorten(self, data: st.DataObject) -> None:
        """Lose the end of a piece, or its beginning."""
        path = data.draw(st.sampled_from(sorted(self.logs.glob("*.jsonl"))))
        content = path.read_bytes()
        cut = data.draw(st.integers(0, len(content)))
        path.write_bytes(data.draw(st.sampled_from([content[:cut], content[cut:]])))

    @precondition(lambda self: any(self.logs.iterdir()))
    @rule(delete=st.booleans())
    def compact(self, *, delete: bool) -> None:
        """Compact: the archive holds what it held and what is there now."""
        for path in self.logs.iterdir():
            data = path.read_bytes()
            for line in (gzip.decompress(data) if path.suffix == ".gz" else data).splitlines():
                try:
                    event = contract.event_of(orjson.loads(line))
                except orjson.JSONDecodeError:
                    continue
                if event is not None:
                    self.known.add((event["run"], event["seq"]))
        compact(self.logs, self.archive, delete=delete, gone=["*"])

    @invariant()
    def nothing_is_lost(self) -> None:
        """Every event that was ever compacted is in the archive; what was counted stays counted."""
        if self.archive.exists():
            assert keys(self.archive) == self.known
            now = strays(self.archive)
            assert now >= self.strays
            self.strays = now


_home = ""


def test_an_archive_never_shrinks(tmp_path: Path) -> None:
    """Whatever becomes of logs between compactions, an archive is the union of what there was."""
    from hypothesis.stateful import run_state_machine_as_test

    globals()["_home"] = str(tmp_path / "home")
    run_state_machine_as_test(
        Archiving,
        settings=settings(
            max_examples=12,
            stateful_step_count=12,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


# --- what is deleted ----------------------------------------------------------------------------


@pytest.fixture
def service(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Return a traced process that acquires a hash for each line it is given."""
    program = (
        "import sys, ctypes, csptrace\n"
        "from csptrace.softcsp import advapi32 as a\n"
        "csptrace.start(log=sys.argv[1], quiet=True)\n"
        "prov, h = ctypes.c_void_p(), ctypes.c_void_p()\n"
        "a.CryptAcquireContextW(ctypes.byref(prov), None, None, 24, 0xF0000000)\n"
        "print('ready', flush=True)\n"
        "for line in sys.stdin:\n"
        "    a.CryptCreateHash(prov, 0x800c, None, 0, ctypes.byref(h))\n"
        "    print('done', flush=True)\n"
    )
    environ = {name: text for name, text in os.environ.items() if not name.startswith("CSPTRACE")}
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "logs")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**environ, "PYTHONPATH": str(ROOT)},
        encoding="utf-8",
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    with process:
        yield process
        process.kill()


def ask(service: subprocess.Popen[str]) -> None:
    """Have the service do something."""
    assert service.stdin is not None
    assert service.stdout is not None
    service.stdin.write("\n")
    service.stdin.flush()
    assert service.stdout.readline() == "done\n"


def idle_for_days(logs: Path) -> Path:
    """Make the only log look as if nothing had been written for two days."""
    (path,) = logs.iterdir()
    past = time.time() - 2 * 24 * 3600
    os.utime(path, (past, past))
    return path


@posix
@pytest.mark.parametrize("lease", [True, False])
def test_the_log_of_a_service_that_runs_is_never_deleted(
    tmp_path: Path,
    service: subprocess.Popen[str],
    monkeypatch: pytest.MonkeyPatch,
    *,
    lease: bool,
) -> None:
    """A service that is idle for days has its log when it goes on, with and without locks."""
    import fcntl

    if not lease:
        monkeypatch.setattr(fcntl, "flock", lambda *_: (_ for _ in ()).throw(OSError(95, "none")))
        monkeypatch.setattr(filelock, "FileLock", filelock.SoftFileLock)
    logs, archive = tmp_path / "logs", tmp_path / "archive"
    ask(service)
    path = idle_for_days(logs)
    (done,) = compact(logs, archive, delete=True, gone=["*"])
    assert done.kept == f"a run in it has not ended, and process {service.pid} still runs"
    assert path.exists()
    ask(service)
    ask(service)
    assert service.stdin is not None
    service.stdin.close()
    assert service.wait(60) == 0

    written = {
        (one["run"], one["seq"]) for one in map(orjson.loads, path.read_bytes().splitlines())
    }
    (done,) = compact(logs, archive, delete=True)
    assert (done.kept, done.deleted, path.exists()) == ("", True, False)
    assert keys(archive) == written


@posix
def test_a_lock_is_enough_to_keep_a_log(
    tmp_path: Path, service: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the process cannot be seen (another container), its open log can: it holds a lock."""
    ask(service)
    path = idle_for_days(tmp_path / "logs")
    monkeypatch.setattr(platform, "node", lambda: "elsewhere")
    (done,) = compact(tmp_path / "logs", tmp_path / "archive", delete=True)
    assert f"whether it still runs on {os.uname().nodename} is not known" in done.kept
    (done,) = compact(tmp_path / "logs", tmp_path / "archive", delete=True, gone=["*"])
    assert done.kept == "a process has it open to write"
    assert path.exists()

    service.kill()
    service.wait()
    (done,) = compact(tmp_path / "logs", tmp_path / "archive", delete=True, gone=["*"])
    assert (done.kept, path.exists()) == ("", False)


@posix
def test_the_log_of_a_killed_process_may_go(tmp_path: Path, service: subprocess.Popen[str]) -> None:
    """A run that never ended is over when its process is no longer there."""
    ask(service)
    service.send_signal(signal.SIGKILL)
    service.wait()
    (path,) = (tmp_path / "logs").iterdir()
    (done,) = compact(tmp_path / "logs", tmp_path / "archive", delete=True)

    assert (done.kept, path.exists()) == ("", False)


@posix
def test_the_lock_survives_rotation_forks_and_closed_descriptors(tmp_path: Path) -> None:
    """Whatever file a process writes to at the moment is the one that it has locked."""
    from csptrace.events.log import EventLog

    log = EventLog(tmp_path, "aaaa", lambda *_: None, rotate=2000)
    seen = []
    for _ in range(40):
        log.emit("csptrace.notice", code="x", message="y" * 100)
        assert log.path is not None
        seen.append(log.path)
        for path in tmp_path.iterdir():
            with writers.held([str(path)]) as free:
                assert free is (path != log.path)
    assert len(set(seen)) > 2
    os.close(log._file)
    log.emit("csptrace.notice", code="x", message="recovered")
    with writers.held([str(log.path)]) as free:
        assert not free
    child = subprocess.run([sys.executable, "-c", "pass"], close_fds=False, check=True)
    assert child.returncode == 0
    log.close()
    with writers.held([str(log.path)]) as free:
        assert free


@linux
def test_a_process_that_has_the_number_of_a_dead_one_is_another(tmp_path: Path) -> None:
    """Numbers are given out again: what began after the run did is not the run's process."""
    here, now, mono = platform.node(), time.time_ns(), time.monotonic_ns()
    own = Writer(here, os.getpid(), now, mono)
    gone = Writer(here, 2**22 + 1, now, mono)

    assert writers.may_write(own).endswith(f"process {os.getpid()} still runs")
    assert writers.may_write(gone) == ""
    assert writers.may_write(own._replace(mono=1)) == ""
    assert writers.may_write(own._replace(ts=10**18)) == ""


@linux
def test_another_container_of_this_machine_is_another_machine() -> None:
    """Its processes have numbers that mean others here, or none."""
    own = Writer(platform.node(), 2**22 + 1, time.time_ns(), time.monotonic_ns())
    namespace = writers.pid_namespace()

    assert namespace.isdecimal()
    assert writers.may_write(own._replace(namespace=namespace)) == ""
    other = own._replace(namespace="1")
    assert "in another container" in writers.may_write(other, ["*"])
    assert writers.may_write(other, [platform.node()]) == ""


@linux
def test_a_process_of_an_unknown_machine_is_looked_for_here() -> None:
    """`--gone-host '*'` says nothing of this machine, from which such a log may be."""
    unknown = Writer("", os.getpid(), time.time_ns(), time.monotonic_ns())

    assert writers.may_write(unknown, ["*"]) != ""
    assert writers.may_write(unknown._replace(pid=2**22 + 1), ["*"]) == ""


@pytest.mark.parametrize(
    ("gone", "host", "kept"),
    [
        ((), "beta", True),
        (("alpha",), "beta", True),
        (("alpha", "beta"), "beta", False),
        (("*",), "beta", False),
        ((), "", True),
        (("beta",), "", True),
        (("*",), "", False),
    ],
)
def test_other_machines_are_asked_about(gone: tuple[str, ...], host: str, kept: bool) -> None:
    """Of a run on another machine only the user can say that its process is gone."""
    assert bool(writers.may_write(Writer(host, 7, 1, 1), gone)) is kept


def test_a_log_that_only_its_name_describes(tmp_path: Path) -> None:
    """The name tells the machine and the process if the first piece is no longer there."""
    assert writers.written_by("csptrace-a-b.c-12-3456.jsonl") == ("a-b.c", 12)
    assert writers.written_by("csptrace-a-12-3456.7.jsonl.gz") == ("a", 12)
    assert writers.written_by("trace.jsonl") == ("", 0)
    (tmp_path / "logs").mkdir()
    events = long_run(4, ended=False)[1:]
    (tmp_path / "logs" / "csptrace-beta-11-1.1.jsonl").write_bytes(as_lines(events))
    (done,) = compact(tmp_path / "logs", tmp_path / "archive", delete=True)

    assert "still runs on beta is not known" in done.kept


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        (b"2026-11-25 12:00 started\n", "1 lines in it are no events and would be lost"),
        (b'{"level": "info"}\n', "1 lines in it are no events and would be lost"),
        (None, "it has a field that this version does not know, or not so: colour"),
    ],
)
def test_what_is_not_in_the_archive_is_not_deleted(
    tmp_path: Path, extra: bytes | None, reason: str
) -> None:
    """A log that holds more than events of this version is more than its archive."""
    events = long_run(3)
    if extra is None:
        events[1]["colour"] = "red"
    (tmp_path / "logs").mkdir()
    path = tmp_path / "logs" / "trace.jsonl"
    path.write_bytes(as_lines(events) + (extra or b""))
    (done,) = compact(tmp_path / "logs", tmp_path / "archive", delete=True)

    assert (done.kept, path.exists(), done.deleted) == (reason, True, False)


@pytest.mark.parametrize(
    "line",
    [
        b"{0}{0}\n",
        b'{"event":"csptrace.x","run":"a{0}\n',
        b"\0\0{0}\n",
        b"{0} # my note\n",
        b"{'mine': True}\n",
        b'{"torn\n',
        b'{"torn\n{"torn',
    ],
)
def test_only_what_a_killed_process_was_writing_may_be_torn(tmp_path: Path, line: bytes) -> None:
    """A line that is torn in the middle of a log, or holds more than an event, keeps the log."""
    logs = tmp_path / "logs"
    path = leaky().write(logs)
    event = as_lines(long_run(1, "bbbb")[:1]).strip()
    with path.open("ab") as file:
        file.write(line.replace(b"{0}", event))
    (done,) = compact(logs, tmp_path / "archive", delete=True)

    assert "would be lost" in done.kept
    assert path.exists()


@pytest.mark.parametrize("end", [b'{"event":"csptrace.not', b"\0" * 100])
def test_a_torn_end_is_no_reason_to_keep_a_log(tmp_path: Path, end: bytes) -> None:
    """The line that a killed process was just writing is in no archive and nobody's loss."""
    path = leaky().write(tmp_path / "logs")
    with path.open("ab") as file:
        file.write(end)
    (done,) = compact(tmp_path / "logs", tmp_path / "archive", delete=True)

    assert (done.kept, done.deleted) == ("", True)


@pytest.mark.parametrize(
    "change", [{"tid": 1.5}, {"uses": [1]}, {"thread": 5}, {"inherited": "yes"}, {"name": True}]
)
def test_a_value_that_no_column_takes_keeps_a_log(tmp_path: Path, change: dict[str, Any]) -> None:
    """What an archive would have in another form, or not at all, is not in it."""
    book = leaky()
    book.emit(2000, "other", **change)
    path = book.write(tmp_path / "logs")
    (done,) = compact(tmp_path / "logs", tmp_path / "archive", delete=True)

    (name,) = change
    assert done.kept == f"it has a field that this version does not know, or not so: {name}"
    assert path.exists()


def test_a_member_that_stands_twice_keeps_a_log(tmp_path: Path) -> None:
    """Only one of two members of a name is in the archive."""
    path = leaky().write(tmp_path / "logs")
    path.write_bytes(path.read_bytes().replace(b'"gen":1,', b'"gen":1,"gen":2,', 1))
    (done,) = compact(tmp_path / "logs", tmp_path / "archive", delete=True)

    assert done.kept.endswith("not so: gen")


def test_a_link_to_a_log_is_kept(tmp_path: Path) -> None:
    """Neither the link nor what it leads to is deleted."""
    path = leaky().write(tmp_path / "elsewhere")
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / path.name).symlink_to(path)
    (done,) = compact(tmp_path / "logs", tmp_path / "archive", delete=True)

    assert done.kept == "it is a link"
    assert (tmp_path / "logs" / path.name).is_symlink()
    assert path.exists()


@pytest.mark.parametrize("pattern", ["", "*", "*/*.jsonl"])
def test_a_log_behind_a_linked_folder_is_kept(tmp_path: Path, pattern: str) -> None:
    """It is converted, but nothing is deleted outside the folder that was named."""
    path = leaky().write(tmp_path / "elsewhere")
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "linked").symlink_to(path.parent)
    (done,) = compact(tmp_path / "logs" / pattern, tmp_path / "archive", delete=True)

    assert done.written
    assert done.kept == "a link leads to it, out of what was named"
    assert path.exists()


@pytest.mark.parametrize("pattern", ["", "*.jsonl"])
def test_a_folder_that_is_named_by_a_link_is_cleared(tmp_path: Path, pattern: str) -> None:
    """Whoever names a link to a folder means that folder."""
    path = leaky().write(tmp_path / "elsewhere")
    (tmp_path / "logs").symlink_to(path.parent)
    (done,) = compact(tmp_path / "logs" / pattern, tmp_path / "archive", delete=True)

    assert done.deleted
    assert not path.exists()


def test_a_log_that_vanishes_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else may clean up at the same time; the others are converted."""
    gone = leaky().write(tmp_path / "logs")
    other = Logbook("zzzz", pid=99)
    other.started()
    other.write(tmp_path / "logs")
    before = reading.families

    def families(logs: Any) -> Any:
        gone.unlink()
        return before(logs)

    monkeypatch.setattr(reading, "families", families)
    first, second = compact(tmp_path / "logs", tmp_path / "archive")

    assert "cannot be read" in first.kept
    assert (first.target, second.events) == ("", 1)


def test_a_log_that_is_swapped_while_it_is_converted_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A digest belongs to what was converted, or to nothing: the log stays, and is read again."""
    path = leaky().write(tmp_path / "logs")
    whole = path.read_bytes()
    before = compaction._Compactor._piece

    def piece(self: Any, log: Any, target: str) -> Any:
        path.write_bytes(whole[:1000])
        found = before(self, log, target)
        path.write_bytes(whole)
        os.utime(path, ns=(log.mtime, log.mtime))
        return found

    with monkeypatch.context() as patched:
        patched.setattr(compaction._Compactor, "_piece", piece)
        (done,) = compact(tmp_path / "logs", tmp_path / "archive", delete=True)
        assert done.kept == "it has changed while it was converted"
    (done,) = compact(tmp_path / "logs", tmp_path / "archive", delete=True)
    assert (done.deleted, done.events) == (True, 22)


def test_a_folder_called_like_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`~` that the shell has not expanded is a folder of that name, not somebody's home."""
    home, here = tmp_path / "home", tmp_path / "here"
    leaky().write(home / "logs", "csptrace-a-1-1.jsonl")
    other = Logbook("mine", pid=99)
    other.started()
    other.ended(1)
    path = other.write(here / "~" / "logs", "csptrace-a-1-1.jsonl")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)
    (done,) = compaction.compact(["~/logs"], "~/archive", delete=True)

    assert (done.deleted, path.exists()) == (True, False)
    assert keys(here / "~" / "archive") == {("mine", 1), ("mine", 2)}
    assert len(list((home / "logs").iterdir())) == 1


@pytest.mark.parametrize("form", ["plain", "gz", "empty"])
def test_a_file_that_is_no_log_is_not_deleted(tmp_path: Path, form: str) -> None:
    """A file named by mistake stays, whatever is in it."""
    path = tmp_path / "README.md"
    text = b"" if form == "empty" else b"# read me\n"
    path.write_bytes(gzip.compress(text)[:-4] if form == "gz" else text)
    (done,) = compaction.compact([str(path)], str(tmp_path / "archive"), delete=True)

    assert done.kept
    assert path.exists()


def test_a_log_that_changes_meanwhile_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written after the conversion is not in the archive yet."""
    path = leaky().write(tmp_path / "logs")
    before = compaction._Compactor._write

    def write(*args: Any) -> Any:
        done = before(*args)
        with path.open("ab") as file:
            file.write(b"{}\n")
        return done

    monkeypatch.setattr(compaction._Compactor, "_write", write)
    (done,) = compact(tmp_path / "logs", tmp_path / "archive", delete=True)

    assert done.kept == "it has changed while it was converted"
    assert path.exists()


# --- the folder ---------------------------------------------------------------------------------


def test_other_files_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    """An archive may be made in any folder, also that of the logs, and nothing there is touched."""
    home = tmp_path / "home"
    leaky().write(home)
    foreign = {
        "notes.txt": b"n",
        "day=2027-01-15/machine=alpha/other.parquet": b"PAR1",
        ".csptrace-new-mine/notes.txt": b"n",
        ".hidden/x": b"x",
    }
    for name, data in foreign.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_bytes(data)
    (home / ".csptrace-new-dead").mkdir()
    (home / ".csptrace-new-dead" / ".half.parquet").write_bytes(b"half")
    for _ in range(2):
        compaction.compact([str(home / "csptrace-alpha-11-aaaa.jsonl")], str(home))

    assert {name: (home / name).read_bytes() for name in foreign} == foreign
    assert not (home / ".csptrace-new-dead").exists()


def test_archives_alone_are_nothing_to_convert(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who names an archive is not left believing that it was copied."""
    leaky().write(tmp_path / "logs")
    compact(tmp_path / "logs", tmp_path / "archive")

    assert cli.main(["compact", str(tmp_path / "archive"), "-o", str(tmp_path / "new")]) == 2
    assert "Parquet files are left alone" in capsys.readouterr().err


def test_two_at_a_time_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another process that adds to the same archive would overwrite what this one has added."""
    path = leaky().write(tmp_path / "logs")
    archive = tmp_path / "archive"
    archive.mkdir()
    with filelock.FileLock(archive / ".csptrace-lock"):
        assert cli.main(["compact", str(path), "-o", str(archive), "--delete-logs"]) == 2
    assert "another csptrace compact is writing into" in capsys.readouterr().err
    assert path.exists()
    assert cli.main(["compact", str(path), "-o", str(archive)]) == 0


@posix
def test_archives_are_as_private_as_logs(tmp_path: Path) -> None:
    """Whatever the umask is, only the owner may read archives and enter folders made for them."""
    leaky().write(tmp_path / "logs")
    before = os.umask(0)
    try:
        compact(tmp_path / "logs", tmp_path / "new" / "archive")
    finally:
        os.umask(before)
    made = [tmp_path / "new", *(tmp_path / "new").rglob("*")]

    assert {path.name for path in made} > {"archive", "day=2027-01-15", "machine=alpha"}
    for path in made:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_names_with_pattern_characters(tmp_path: Path) -> None:
    """Brackets, stars and quotes in names mean themselves."""
    random.seed(1)
    logs, archive = tmp_path / "lo[g]s'", tmp_path / "ar[ch]i've"
    path = leaky().write(logs)
    for _ in range(2):
        (done,) = compact(logs, archive, delete=False)
        with path.open("ab") as file:
            file.write(b"\n")
    (done,) = compact(logs, archive, delete=True)

    assert done.deleted
    assert len(list(archive.rglob("*.parquet"))) == 1
