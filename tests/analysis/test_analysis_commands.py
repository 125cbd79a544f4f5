"""The commands: report, compare, compact, baseline, watch."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from golden_logs import AA, BB, CC, leaky
from golden_logs import write as write_golden
from logbook import Logbook

import csptrace
from csptrace.analysis import compaction, comparing, embedded, reading
from csptrace.analysis.cache import Cache
from csptrace.analysis.render import FORMATS
from csptrace.findings import baseline
from csptrace.frontends import cli, watch

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(csptrace.__file__).parents[1]


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def _leaks(times: dict[str, int], run: str = "aaaa", severity: str = "error") -> Logbook:
    """Return a run with findings: fingerprint letter → how many."""
    book = Logbook(run)
    book.started()
    book.acquire(1, 1, "HCRYPTKEY", 20)
    for letter, count in times.items():
        for _ in range(count):
            book.find(
                2,
                1,
                "leaked-at-exit",
                f"1:{letter * 16}",
                severity=severity,
                where="/src/app.py:20",
            )
    book.ended(3)
    return book


# --- report -------------------------------------------------------------------------------------


def test_report_shows_the_findings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without options a report is text for people."""
    leaky().write(tmp_path / "logs")

    assert cli.main(["report", str(tmp_path / "logs")]) == 0
    out, err = capsys.readouterr()
    assert "leaked-at-release" in out
    assert AA in out
    assert err == ""


def test_report_writes_a_file_all_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """--output replaces the file; if rendering fails, the old one stays and no scrap is left."""
    leaky().write(tmp_path / "logs")
    target = tmp_path / "report.json"
    target.write_text("old")
    arguments = ["report", str(tmp_path / "logs"), "--format", "json", "-o", str(target)]

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
        assert cli.main(arguments) == 2
    assert target.read_text() == "old"
    assert cli.main(arguments) == 0
    assert json.loads(target.read_text("utf-8"))["groups"][0]["fingerprint"] == AA
    assert {path.name for path in tmp_path.iterdir()} == {"logs", "report.json", "cache"}
    assert "cannot write" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["report", "compare", "baseline"])
def test_no_result_takes_the_place_of_a_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """-o onto a log of any form, or onto anything that is read, is refused before reading."""
    logs = tmp_path / "logs"
    plain = leaky().write(logs)
    compaction.compact([str(plain)], str(tmp_path / "archive"))
    (archived,) = (tmp_path / "archive").rglob("*.parquet")
    packed = tmp_path / "packed.log"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    torn = tmp_path / "torn.log"
    torn.write_bytes(b"no event\n" + plain.read_bytes()[:100])
    late = tmp_path / "late.log"
    late.write_bytes(b"no event\n" * 500_000 + plain.read_bytes())
    fresh = tmp_path / "just-opened.jsonl"
    fresh.write_bytes(b"")
    link = tmp_path / "link"
    link.symlink_to(plain)
    read = [str(logs), str(torn)]
    if command == "compare":
        read = [str(logs), str(tmp_path / "t*.log")]
    targets = [plain, archived, packed, torn, late, fresh, link]
    before = [target.read_bytes() for target in targets]

    for target in targets:
        assert cli.main([command, *read, "--no-cache", "-o", str(target)]) == 2
        assert f"{target} is a log and is not overwritten" in capsys.readouterr().err
    assert [target.read_bytes() for target in targets] == before
    assert link.is_symlink()


def test_a_result_replaces_an_older_one(tmp_path: Path) -> None:
    """A report of any form is no log, so the next one may take its place."""
    leaky().write(tmp_path / "logs")
    for name in FORMATS:
        target = tmp_path / f"report.{name}"
        for _ in range(2):
            arguments = ["report", str(tmp_path / "logs"), "--format", name, "-o", str(target)]
            assert cli.main(arguments) == 0


def test_report_shows_the_graph_of_a_chosen_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--run chooses whose handles the graph shows."""
    write_golden(tmp_path / "logs")

    assert cli.main(["report", str(tmp_path / "logs"), "--run", "bbbb", "--format", "json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["graph_run"] == "bbbb"
    assert [node["hid"] for node in report["graph"]] == [1, 2, 3, 4, 5]


def test_report_of_an_empty_log_is_a_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A log without a line, and only such ones, is not an error."""
    (tmp_path / "empty.jsonl").write_bytes(b"")

    assert cli.main(["report", str(tmp_path), "--format", "json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["runs"] == []
    assert report["sources"][0]["events"] == 0


@pytest.mark.skipif(os.name == "nt", reason="POSIX only")
def test_interrupted_report_leaves_nothing_half_written(tmp_path: Path) -> None:
    """Ctrl-C in the middle of reading ends with status 130, one line, and no output file."""
    sys.path.insert(0, str(ROOT / "reports" / "analysis"))
    try:
        import generate
    finally:
        sys.path.pop(0)
    folder = tmp_path / "logs"
    folder.mkdir()
    generate.write(folder / "csptrace-big-1-0.jsonl", 400_000, 1)
    target = tmp_path / "report.txt"
    # By a thread of its own, which runs as soon as the reading waits for DuckDB: from outside it
    # might come when all is read.
    program = (
        "import os, signal, sys, threading\n"
        "from csptrace.analysis import embedded\n"
        "read = embedded._Reader.read\n"
        "def reading(self, logs):\n"
        "    stop = lambda: os.kill(os.getpid(), signal.SIGINT)\n"
        "    threading.Thread(target=stop).start()\n"
        "    return read(self, logs)\n"
        "embedded._Reader.read = reading\n"
        "from csptrace.frontends import cli\n"
        f"sys.exit(cli.main(['report', {str(folder)!r}, '--no-cache', '-o', {str(target)!r}]))\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program],
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
    )
    _, err = child.communicate(timeout=60)

    assert child.returncode == 130, err
    assert err == b"csptrace: interrupted; nothing was written\n"
    assert {path.name for path in tmp_path.iterdir()} <= {"logs", "softcsp", "cache"}


@pytest.mark.skipif(os.name == "nt", reason="POSIX only")
@pytest.mark.parametrize("where", ["while a job is submitted", "in a query of the main thread"])
def test_ctrl_c_at_an_awkward_moment_is_one(tmp_path: Path, where: str) -> None:
    """Neither a job that the pool does not know nor DuckDB's own answer makes a traceback of it."""
    write_golden(tmp_path / "logs")
    target = tmp_path / "report.txt"
    strike = {
        "while a job is submitted": (
            "def submit(self, job, batch):\n"
            "    threading.Thread(target=job, args=(batch,)).start()\n"
            "    assert begun.wait(60)\n"
            "    raise KeyboardInterrupt\n"
            "embedded.ThreadPoolExecutor.submit = submit\n"
        ),
        "in a query of the main thread": (
            "def divide(self, jobs):\n"
            "    def strike():\n"
            "        while self._database.query_progress() <= 0:\n"
            "            pass\n"
            "        signal.raise_signal(signal.SIGINT)\n"
            "    threading.Thread(target=strike).start()\n"
            "    self._database.execute('SELECT sum(sqrt(range)) FROM range(400000000)')\n"
            "embedded._Analysis._divide = divide\n"
        ),
    }[where]
    program = (
        "import signal, sys, threading\n"
        "from csptrace.analysis import embedded\n"
        "begun = threading.Event()\n"
        "def reading(self, logs):\n"
        "    begun.set()\n"
        "    self._cursor.execute('SELECT sum(sqrt(range)) FROM range(20000000000)')\n"
        "embedded._Reader.read = reading\n"
        f"{strike}"
        "threading.excepthook = lambda _: None\n"
        "from csptrace.frontends import cli\n"
        f"sys.exit(cli.main(['report', {str(tmp_path / 'logs')!r}, '--no-cache', "
        f"'-o', {str(target)!r}]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
    )

    assert (done.returncode, done.stderr) == (
        130,
        b"csptrace: interrupted; nothing was written\n",
    )
    assert not target.exists()


@pytest.mark.skipif(os.name == "nt", reason="POSIX only")
def test_progress_is_shown_on_a_terminal_only(tmp_path: Path) -> None:
    """On a terminal stderr says how far it is; the report on stdout is the same either way."""
    write_golden(tmp_path / "logs")
    command = [sys.executable, "-m", "csptrace", "report", str(tmp_path / "logs"), "--no-cache"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "100"}
    quiet = subprocess.run(command, env=environ, capture_output=True, check=True, timeout=120)
    main, terminal = os.openpty()
    shown = b""
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=terminal) as child:
        os.close(terminal)
        assert child.stdout is not None
        out = child.stdout.read()
        with contextlib.suppress(OSError):  # the other end is closed
            while part := os.read(main, 4096):
                shown += part
    os.close(main)

    assert out == quiet.stdout
    assert quiet.stderr == b""
    assert b"4 of 4 files" in shown
    assert b"events" in shown


def test_progress_goes_on_within_a_big_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one big log it is said how far it has been read; nothing is ever taken back."""
    log = tmp_path / "big.jsonl"
    lines = leaky().lines()
    log.write_bytes(lines * (8_000_000 // len(lines)))
    monkeypatch.setattr(embedded, "_TICK", 0.001)
    said: list[embedded.Progress] = []

    embedded.analyse(reading.find([str(log)]), progress=said.append)

    sizes = [progress.size for progress in said]
    assert sizes == sorted(sizes)
    assert 0 < sizes[len(sizes) // 2] < sizes[-1] == log.stat().st_size


def test_a_poor_character_set_gives_no_traceback(tmp_path: Path) -> None:
    """What stdout cannot show is escaped."""
    leaky().write(tmp_path / "logs")
    done = subprocess.run(
        [sys.executable, "-m", "csptrace", "report", str(tmp_path / "logs"), "--no-cache"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
        capture_output=True,
        check=False,
        timeout=120,
    )

    assert (done.returncode, done.stderr) == (0, b"")
    assert b"leaked-at-release" in done.stdout


# --- cache --------------------------------------------------------------------------------------


def test_unchanged_logs_are_not_read_again(tmp_path: Path) -> None:
    """Partial answers are found by content: under another name, too, but not after a change."""
    folder = tmp_path / "logs"
    path = leaky().write(folder)
    other = Logbook("zzzz", pid=99)
    other.started()
    second = other.write(folder)

    def report() -> tuple[embedded.Report, int, int]:
        cache = Cache(str(tmp_path / "kept"))
        found = embedded.analyse(reading.find([str(folder)]), cache=cache)
        return found, cache.hits, cache.misses

    first, hits, misses = report()
    assert hits == 0
    again, hits_again, misses_again = report()
    assert (hits_again, misses_again) == (misses, 0)
    assert again == first
    with second.open("ab") as file:
        file.write(leaky().lines()[:-1].rpartition(b"\n")[2] + b"\n")
    changed, _, misses_changed = report()
    assert misses_changed >= 1
    assert sum(one.events for one in changed.sources) == (
        sum(one.events for one in first.sources) + 1
    )
    assert path.exists()


def test_what_could_not_be_read_is_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log that fails once, and one that changes while it is read, are read again next time."""
    path = leaky().write(tmp_path / "logs")
    cache = str(tmp_path / "kept")

    def groups() -> int:
        logs = reading.find([str(path)])
        return len(embedded.analyse(logs, cache=Cache(cache)).groups)

    def refuse(name: str, *arguments: str) -> Any:
        if name == str(path):
            raise OSError(5, "input/output error")
        return open(name, *arguments)

    found = reading.find([str(path)])
    with monkeypatch.context() as patched:
        patched.setattr(reading, "open", refuse, raising=False)
        patched.setattr(embedded, "open", refuse, raising=False)
        report = embedded.analyse(found, cache=Cache(cache))
    assert (report.groups, report.sources[0].unreadable) == ((), "input/output error")
    with monkeypatch.context() as patched:
        before = embedded._Reader.read

        def read(*arguments: object) -> object:
            found = before(*arguments)  # type: ignore[arg-type]
            os.utime(path, (1, 1))
            return found

        patched.setattr(embedded._Reader, "read", read)
        assert groups() == 2
    assert not any(len(one.name) == 64 for one in Path(cache).iterdir())
    assert groups() == 2
    assert any(len(one.name) == 64 for one in Path(cache).iterdir())


def test_no_cache_keeps_nothing(tmp_path: Path) -> None:
    """With --no-cache no folder is made; with --cache it is the given one."""
    leaky().write(tmp_path / "logs")

    assert cli.main(["report", str(tmp_path / "logs"), "--no-cache"]) == 0
    assert not (tmp_path / "cache").exists()
    assert cli.main(["report", str(tmp_path / "logs"), "--cache", str(tmp_path / "mine")]) == 0
    assert (tmp_path / "mine").is_dir()
    assert (tmp_path / "mine").stat().st_mode & 0o777 == 0o755 or os.name != "nt"


# --- compare ------------------------------------------------------------------------------------


def test_compare_tells_new_grown_shrunk_and_fixed(tmp_path: Path) -> None:
    """Changes are judged by fingerprint and ordered by how bad they are."""
    old = _leaks({"a": 2, "b": 3, "c": 1, "d": 5}).write(tmp_path / "old")
    new = _leaks({"a": 4, "b": 1, "d": 5, "e": 1}, run="bbbb").write(tmp_path / "new")
    reports = [embedded.analyse(reading.find([str(path)])) for path in (old, new)]
    comparison = comparing.compare(*reports)

    assert [
        (change.what, change.before, change.after, change.group.fingerprint)
        for change in comparison.changes
    ] == [
        ("new", 0, 1, f"1:{'e' * 16}"),
        ("grown", 2, 4, AA),
        ("shrunk", 3, 1, BB),
        ("fixed", 1, 0, CC),
    ]
    assert (comparison.unchanged, comparison.old_runs, comparison.new_runs) == (1, 1, 1)


@pytest.mark.parametrize(
    ("old", "new", "severity", "status"),
    [
        ({"a": 1}, {"a": 1}, "error", 0),
        ({"a": 2}, {"a": 1}, "error", 0),
        ({"a": 1}, {}, "error", 0),
        ({"a": 1}, {"a": 2}, "error", 1),
        ({}, {"a": 1}, "warning", 1),
        ({}, {"a": 1}, "info", 0),
    ],
)
def test_compare_ends_with_a_status_for_ci(
    old: dict[str, int], new: dict[str, int], severity: str, status: int, tmp_path: Path
) -> None:
    """1 if something other than information is new or grown, else 0."""
    before = _leaks(old, severity=severity).write(tmp_path / "old")
    after = _leaks(new, "bbbb", severity).write(tmp_path / "new")

    assert cli.main(["compare", str(before), str(after), "--no-cache"]) == status


def test_compare_per_run_forgives_more_runs(tmp_path: Path) -> None:
    """A finding that every run has is unchanged per run, and grown in total."""
    _leaks({"a": 1}).write(tmp_path / "old")
    for number in range(3):
        _leaks({"a": 1}, f"run{number}").write(tmp_path / "new")
    arguments = ["compare", str(tmp_path / "old"), str(tmp_path / "new"), "--no-cache"]

    assert cli.main(arguments) == 1
    assert cli.main([*arguments, "--per-run"]) == 0


# --- compact ------------------------------------------------------------------------------------


def test_compacted_logs_give_the_same_report(tmp_path: Path) -> None:
    """Parquet answers every question as the logs do."""
    folder = tmp_path / "logs"
    write_golden(folder)
    plain = embedded.analyse(reading.find([str(folder)]))
    compaction.compact([str(folder)], str(tmp_path / "out"))
    compacted = embedded.analyse(reading.find([str(tmp_path / "out")]))

    for name in ("runs", "groups", "sites", "timelines", "held", "contexts", "graph", "cost"):
        assert getattr(compacted, name) == getattr(plain, name), name
    assert sum(one.events for one in compacted.sources) == sum(one.events for one in plain.sources)
    # Both together: everything stands twice and counts once.
    both = embedded.analyse(reading.find([str(folder), str(tmp_path / "out")]))
    assert both.groups == plain.groups
    assert sum(one.repeated for one in both.sources) == sum(one.events for one in plain.sources)


def test_parquet_may_lack_what_was_added_later(tmp_path: Path) -> None:
    """A file of an older csptrace has no column for a newer field of the schema."""
    import duckdb

    folder = tmp_path / "logs"
    write_golden(folder)
    plain = embedded.analyse(reading.find([str(folder)]))
    compaction.compact([str(folder)], str(tmp_path / "new"))
    (tmp_path / "old").mkdir()
    for number, path in enumerate((tmp_path / "new").rglob("*.parquet")):
        target = tmp_path / "old" / f"{number}.parquet"
        duckdb.sql(
            f"COPY (SELECT * EXCLUDE (times) FROM read_parquet('{path}', "
            f"hive_partitioning = false)) TO '{target}' (FORMAT parquet)"
        )
    old = embedded.analyse(reading.find([str(tmp_path / "old")]))

    assert old.groups == plain.groups
    assert [one.unreadable for one in old.sources if one.unreadable] == [
        one.unreadable for one in plain.sources if one.unreadable
    ]


def test_compact_puts_a_log_under_its_day_and_machine(tmp_path: Path) -> None:
    """A rotated log becomes one file, in the folder of the day and the host of its first event."""
    write_golden(tmp_path / "logs")
    done = compaction.compact([str(tmp_path / "logs")], str(tmp_path / "out"))
    places = {
        tuple(Path(path).name for path in one.paths): Path(one.target).relative_to(tmp_path)
        for one in done
    }

    rotated = places["csptrace-alpha-11-1.1.jsonl.gz", "csptrace-alpha-11-1.jsonl"]
    assert rotated.parts[:3] == ("out", "day=2027-01-15", "machine=alpha")
    assert rotated.name.startswith("csptrace-alpha-11-1-")
    assert len(places) == 3


def test_compacting_again_does_only_what_is_new(tmp_path: Path) -> None:
    """An unchanged log is left alone; one that has grown replaces its Parquet file."""
    book = leaky()
    path = book.write(tmp_path / "logs")
    (first,) = compaction.compact([str(path)], str(tmp_path / "out"))
    stamp = os.stat(first.target).st_mtime_ns
    (again,) = compaction.compact([str(path)], str(tmp_path / "out"))
    assert (again.written, again.target, again.events) == (False, first.target, first.events)
    assert os.stat(first.target).st_mtime_ns == stamp

    book.emit(2000, "notice", code="x", message="y")
    book.write(tmp_path / "logs")
    (grown,) = compaction.compact([str(path)], str(tmp_path / "out"))
    assert (grown.written, grown.target, grown.events) == (True, first.target, first.events + 1)
    assert len(list((tmp_path / "out").rglob("*.parquet"))) == 1
    assert path.exists()


def test_a_damaged_parquet_file_is_written_again(tmp_path: Path) -> None:
    """What was cut off by a crash is not taken for done."""
    path = leaky().write(tmp_path / "logs")
    (first,) = compaction.compact([str(path)], str(tmp_path / "out"))
    Path(first.target).write_bytes(Path(first.target).read_bytes()[:100])
    (again,) = compaction.compact([str(path)], str(tmp_path / "out"))

    assert again.written
    assert len(embedded.analyse(reading.find([again.target])).runs) == 1


def test_compact_deletes_only_finished_logs_and_only_when_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--delete-logs spares the log of a run that may still be going on, for all that is known."""
    finished = leaky().write(tmp_path / "logs")
    going = Logbook("bbbb", "beta", pid=12)
    going.started()
    running = going.write(tmp_path / "logs")
    gone = Logbook("cccc", "gamma", pid=13)
    gone.started()
    killed = gone.write(tmp_path / "logs")
    for path in (running, killed):
        os.utime(path, (1, 1))
    arguments = ["compact", str(tmp_path / "logs"), "-o", str(tmp_path / "out")]

    assert cli.main(arguments) == 0
    assert finished.exists()
    assert cli.main([*arguments, "--delete-logs"]) == 0
    assert (finished.exists(), running.exists(), killed.exists()) == (False, True, True)
    out, err = capsys.readouterr()
    assert "0 written, 3 unchanged, 1 logs deleted" in out
    assert "whether it still runs on beta is not known; if it does not: --gone-host beta" in err
    assert cli.main([*arguments, "--delete-logs", "--gone-host", "gamma"]) == 0
    assert (running.exists(), killed.exists()) == (True, False)
    report = embedded.analyse(reading.find([str(tmp_path / "out")]))
    assert {run.run for run in report.runs} == {"aaaa", "bbbb", "cccc"}


# --- baseline -----------------------------------------------------------------------------------


def test_baseline_accepts_what_the_logs_show(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file has a fingerprint, a count and a place for each finding; reasons are kept."""
    _leaks({"a": 2}).write(tmp_path / "logs")
    _leaks({"f": 1}, "info", "info").write(tmp_path / "logs")
    target = tmp_path / "known.toml"
    arguments = ["baseline", str(tmp_path / "logs"), "-o", str(target), "--no-cache"]

    assert cli.main(arguments) == 0
    (entry,) = baseline.read(target)
    assert (entry.fingerprint, entry.count) == (AA, 2)
    assert entry.where == "/src/app.py in step20"
    target.write_text(target.read_text() + 'reason = "known"\n')
    _leaks({"b": 1}, "bbbb").write(tmp_path / "logs")
    assert cli.main(arguments) == 0
    assert {one.fingerprint: one.reason for one in baseline.read(target)} == {
        AA: "known",
        BB: "",
    }
    assert "2 findings accepted (1 added, 0 removed)" in capsys.readouterr().out


def test_a_baseline_is_not_written_without_a_log_that_cannot_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is not read is not gone: entries and their reasons stay, unless the user says so."""
    _leaks({"a": 2}).write(tmp_path / "logs")
    other = _leaks({"b": 1}, "bbbb").write(tmp_path / "logs")
    target = tmp_path / "known.toml"
    arguments = ["baseline", str(tmp_path / "logs"), "-o", str(target), "--no-cache"]
    assert cli.main(arguments) == 0
    before = target.read_bytes()
    other.write_bytes(gzip.compress(other.read_bytes())[:60])

    assert cli.main(arguments) == 2
    assert target.read_bytes() == before
    err = capsys.readouterr().err
    assert f"{other}: the compressed stream is cut off" in err
    assert "add --keep-unseen" in err
    assert cli.main([*arguments, "--keep-unseen"]) == 0
    assert {one.fingerprint for one in baseline.read(target)} == {AA, BB}


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda data: b"", "there is no event in it"),
        (lambda data: b"Traceback:\n  no event\n", "2 of its lines are no events"),
        (lambda data: data[: len(data) // 3], "1 of its lines are no events"),
        (lambda data: data[: data.rindex(b"\n", 0, -1) + 1], "run bbbb of app.py"),
        (lambda data: b"".join(data.splitlines(keepends=True)[:2]), "run bbbb of app.py"),
    ],
)
def test_no_entry_goes_because_of_an_incomplete_log(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[bytes], bytes],
    why: str,
) -> None:
    """A log without its end may lack findings; it may add entries, but takes none away."""
    _leaks({"a": 2}).write(tmp_path / "logs")
    other = _leaks({"b": 1}, "bbbb").write(tmp_path / "logs")
    whole = other.read_bytes()
    target = tmp_path / "known.toml"
    arguments = ["baseline", str(tmp_path / "logs"), "-o", str(target), "--no-cache"]
    assert cli.main(arguments) == 0
    target.write_text(target.read_text() + 'reason = "known"\n')
    if b"finding" in spoil(whole):  # all that is left to miss is what was there no more
        other.write_bytes(spoil(whole))
        assert cli.main(arguments) == 0
        other.write_bytes(spoil(_leaks({"c": 1}, "bbbb").lines()))
    else:
        other.write_bytes(spoil(whole))
    before = target.read_bytes()
    capsys.readouterr()

    assert cli.main(arguments) == 2
    assert target.read_bytes() == before
    err = capsys.readouterr().err
    assert why in err
    assert "add --keep-unseen" in err
    assert cli.main([*arguments, "--keep-unseen"]) == 0
    assert {AA, BB} <= {one.fingerprint for one in baseline.read(target)}


# --- watch --------------------------------------------------------------------------------------


def test_watch_shows_what_is_alive(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--once prints the live handles of running processes by kind, and the newest findings."""
    book = Logbook("aaaa")
    book.started()
    book.acquire(1, 1, "HCRYPTPROV", 10)
    book.acquire(2, 2, "HCRYPTKEY", 20)
    book.acquire(3, 3, "HCRYPTKEY", 20)
    book.release(4, 3, 30)
    book.find(5, 2, "double-release", AA, where="/src/\x1b[31mapp.py:20")
    path = book.write(tmp_path)
    with path.open("ab") as file:
        file.write(b'not one of ours\n{"half')

    assert cli.main(["watch", str(tmp_path), "--once"]) == 0
    out = capsys.readouterr().out
    assert "1 running, 0 ended" in out
    assert "1 lines that are no events" in out
    assert "1  HCRYPTKEY" in out
    assert "1  HCRYPTPROV" in out
    assert "double-release: HCRYPTKEY 0x00000002 /src/\\x1b[31mapp.py:20" in out


@pytest.mark.skipif(os.name == "nt", reason="there are no FIFOs")
def test_watch_waits_for_no_pipe(tmp_path: Path) -> None:
    """What has the name of a log and is none is passed over, not waited for."""
    leaky().write(tmp_path)
    os.mkfifo(tmp_path / "pipe.jsonl")
    command = [sys.executable, "-m", "csptrace", "watch", "--once", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)

    assert f"0 running, 1 ended, {len(leaky().events)} events" in done.stdout


def test_watch_reads_on(tmp_path: Path) -> None:
    """What is added is read, half a line when its end is there; a new log is found."""
    from csptrace.analysis.tail import LogTail

    book = leaky()
    path = tmp_path / "log.jsonl"
    data = book.lines()
    path.write_bytes(data[:700])
    follower = LogTail(str(tmp_path))
    assert follower.poll()
    before = follower.state().events
    assert not follower.poll()
    with path.open("ab") as file:
        file.write(data[700:])
    assert follower.poll()
    state = follower.state()
    assert before < state.events == len(book.events)
    assert state.skipped == 0
    assert state.counts == (("leaked-at-release", 2),)
    assert [process.ended for process in state.processes] == [True]
    other = Logbook("bbbb", pid=12)
    other.started()
    other.write(tmp_path)
    assert follower.poll()
    assert len(follower.state().processes) == 2


def test_watch_follows_a_program_to_its_end(tmp_path: Path) -> None:
    """A real program that is traced at the same time is seen from its start to its end."""
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("CSPTRACE")},
        "PYTHONPATH": str(ROOT),
        "SOFTCSP_HOME": str(tmp_path / "home"),
    }
    (tmp_path / "logs").mkdir()
    watcher = subprocess.Popen(
        [sys.executable, "-m", "csptrace", "watch", str(tmp_path / "logs"), "--until-ended"],
        stdout=subprocess.PIPE,
        env=environ,
        encoding="utf-8",
    )
    demo = [sys.executable, "-m", "csptrace", "demo", "--log", str(tmp_path / "logs")]
    subprocess.run(demo, env=environ, check=True, capture_output=True, timeout=120)
    out, _ = watcher.communicate(timeout=120)

    assert watcher.returncode == 0
    assert "0 running, 1 ended" in out
    assert "3  leaked-at-release" in out


def test_watch_screen_holds_the_same(tmp_path: Path) -> None:
    """The picture for a terminal names kinds, processes and findings, and escapes them."""
    from rich.console import Console

    from csptrace.analysis.tail import LogTail

    book = leaky()
    book.events[-1]["event"] = "csptrace.other"  # it goes on
    book.find(900, 4, "double-release", AA, where="[bold]app.py\x07:1")
    book.write(tmp_path)
    follower = LogTail(str(tmp_path))
    follower.poll()
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(watch._screen(follower.state()))
    text = console.export_text()

    assert "leaked-at-release" in text
    assert "alpha" in text
    assert "[bold]app.py\\x07:1" in text
