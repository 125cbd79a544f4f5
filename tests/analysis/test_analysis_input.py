"""Bad input: counted, named, never fatal, never silent, never a traceback."""

from __future__ import annotations

import os
import random
import sys
from typing import TYPE_CHECKING

import pytest
from golden_logs import leaky
from messy_logs import busy, write
from privileges import without_capabilities

from csptrace.analysis import embedded, reading
from csptrace.analysis.cache import Cache
from csptrace.errors import AnalysisError
from csptrace.frontends import cli

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from csptrace.analysis.results import Report, Source

EMPTY = {
    "events": 0,
    "torn": 0,
    "foreign": 0,
    "other_schema": (),
    "unreadable": "",
}


def analyse(*names: object) -> Report:
    """Answer every question with DuckDB, without a cache."""
    return embedded.analyse(reading.find([str(name) for name in names]))


def only(report: Report) -> Source:
    """Return the only source."""
    (source,) = report.sources
    return source


@pytest.fixture(scope="module")
def messy(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, dict[str, object]]]:
    """Return a folder of bad logs, and what has to be said of each."""
    folder = tmp_path_factory.mktemp("messy") / "logs"
    return folder, write(folder)


def test_every_bad_file_is_counted_and_named(
    messy: tuple[Path, dict[str, dict[str, object]]],
) -> None:
    """Torn and foreign lines, other versions and damage are said of the file they are in."""
    folder, names = messy
    report = analyse(folder)
    found = {os.path.relpath(source.path, folder): source for source in report.sources}

    assert found.keys() == names.keys()
    for name, expected in names.items():
        source = found[name]
        if name in ("junk.jsonl.gz", "not.parquet"):
            assert source.unreadable
            assert source.events == 0
            continue
        wanted = {**EMPTY, **expected}
        assert {field: getattr(source, field) for field in wanted} == wanted, name


def test_what_is_whole_in_bad_files_is_answered(
    messy: tuple[Path, dict[str, dict[str, object]]],
) -> None:
    """The runs of bad files are in the report; a copy of a log counts once."""
    report = analyse(messy[0])
    runs = {run.run: run for run in report.runs}
    copies = {source.path.rpartition("/")[2]: source.repeated for source in report.sources}

    assert runs.keys() == {
        *("aaaa", "one", "two", "three", "four", "five", "six", "seven", "eight"),
        *("nine", "ten", "eleven"),
    }
    for name in ("two", "three", "four", "five", "eight", "nine", "eleven"):
        assert (runs[name].acquired, runs[name].finished) == (11, True), name
    assert copies["copy.jsonl"] + copies["plain.jsonl"] == messy[1]["copy.jsonl"]["events"] == 1
    assert not runs["one"].finished


def test_junk_never_gives_a_traceback(tmp_path: Path) -> None:
    """Random bytes in front of, between and behind events cost at most the lines they touch."""
    source = random.Random(1)
    lines = busy("one", 1).lines().splitlines(keepends=True)
    for attempt in range(12):
        parts = list(lines)
        for _ in range(source.randrange(1, 5)):
            parts.insert(source.randrange(len(parts) + 1), source.randbytes(50) + b"\n")
        path = tmp_path / f"{attempt}.jsonl"
        path.write_bytes(b"".join(parts))
        found = only(analyse(path))

        assert found.events == len(lines)
        assert found.foreign + found.torn >= 1


def test_a_line_without_an_end_is_dropped(tmp_path: Path) -> None:
    """A line that is longer than any event is left out, and what follows is read."""
    path = tmp_path / "long.jsonl"
    path.write_bytes(leaky().lines() + b"x" * 20_000_000 + b"\n" + busy("one", 1).lines())
    found = only(analyse(path))

    assert found.events == len(leaky().events) + len(busy("one", 1).events)
    assert (found.torn, found.foreign) == (0, 1)


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    """What the system refuses to open is a source with the reason; a link to nothing, too."""
    leaky().write(tmp_path, "good.jsonl")
    (tmp_path / "gone.jsonl").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.jsonl")
    found = {
        source.path.rpartition("/")[2]: source.unreadable for source in analyse(tmp_path).sources
    }

    assert found == {
        "good.jsonl": "",
        "gone.jsonl": "No such file or directory",
        "pipe.jsonl": "not a file",
    }


def test_names_with_characters_that_mean_something_are_names(tmp_path: Path) -> None:
    """Brackets, stars, quotes and spaces in names of files and folders are read as they stand."""
    for number, name in enumerate(("a[1]b", "st*r", "it's", 'qu"ote', "sp ace", "$x{y}")):
        folder = tmp_path / name
        busy(f"run{number}", number).write(folder, f"{name}.jsonl")
    assert len(analyse(tmp_path).runs) == 6
    assert len(analyse(tmp_path / "a[1]b" / "a[1]b.jsonl").runs) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are Unicode")
def test_a_name_that_is_no_text_is_said(tmp_path: Path) -> None:
    """A file whose name is not UTF-8 is a source that cannot be read, not a traceback."""
    (tmp_path / os.fsdecode(b"caf\xe9.jsonl")).write_bytes(leaky().lines())

    assert "not UTF-8" in only(analyse(tmp_path)).unreadable


def test_a_log_that_goes_away_is_said(tmp_path: Path) -> None:
    """A file that is deleted after it was found is a source that cannot be read."""
    leaky().write(tmp_path, "stays.jsonl")
    going = busy("one", 1).write(tmp_path, "goes.jsonl")
    logs = reading.find([str(tmp_path)])
    going.unlink()
    found = {
        source.path.rpartition("/")[2]: source.unreadable
        for source in embedded.analyse(logs, cache=Cache(str(tmp_path / "kept"))).sources
    }

    assert found == {"stays.jsonl": "", "goes.jsonl": "No such file or directory"}


def test_patterns_find_files_at_any_depth(tmp_path: Path) -> None:
    """`**` reaches into folders; a file that two names find is read once."""
    leaky().write(tmp_path / "x" / "y", "log.jsonl")
    names = [f"{tmp_path}/**/*.jsonl", str(tmp_path), str(tmp_path / "x" / "y" / "log.jsonl")]

    assert only(analyse(*names)).repeated == 0


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Path]:
    """Return a folder of logs, one of them in a folder `closed` that nobody may read."""
    folder = tmp_path / "logs"
    leaky().write(folder / "open", "log.jsonl")
    busy("one", 1).write(folder / "closed", "log.jsonl")
    (folder / "closed").chmod(0)
    with without_capabilities():
        yield folder
    (folder / "closed").chmod(0o700)


def test_a_folder_that_may_not_be_read_is_said(closed: Path, tmp_path: Path) -> None:
    """It is a source that cannot be read, however it was come by; alone it is an error."""
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "in").symlink_to(closed / "closed" / "deeper")
    patterns = [str(closed), f"{closed}/**/*.jsonl", f"{closed}/*/*.jsonl", str(tmp_path)]
    for name in patterns:
        found = {log.path: log.error for log in reading.find([name, str(closed)])}
        assert found.pop(str(closed / "open" / "log.jsonl")) == ""
        assert found.pop(str(closed / "closed")) == "Permission denied"
        assert set(found.values()) <= {"Permission denied"}
    (linked,) = reading.find([str(tmp_path / "linked")])
    assert linked.error == "Permission denied"
    with pytest.raises(AnalysisError, match=r"cannot read .*closed: Permission denied"):
        reading.find([str(closed / "closed")])
    assert cli.main(["compact", str(closed), "-o", str(tmp_path / "archive")]) == 1


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_folders_behind_links_are_searched_once(tmp_path: Path) -> None:
    """A link to a folder is followed, each folder once, and a circle ends."""
    logs, other = tmp_path / "logs", tmp_path / "other"
    leaky().write(logs / "b", "log.jsonl")
    busy("one", 1).write(other, "log.jsonl")
    (logs / "a").symlink_to(logs / "b")
    (logs / "b" / "up").symlink_to(logs)
    (logs / "more").symlink_to(other)
    (other / "back").symlink_to(logs / "b")

    assert [log.path for log in reading.find([str(logs)])] == [
        str(logs / "b" / "log.jsonl"),
        str(logs / "more" / "log.jsonl"),
    ]


def test_a_cache_among_logs_is_no_log(tmp_path: Path) -> None:
    """Answers that are kept below the folder of the logs are not read as logs."""
    log = leaky().write(tmp_path, "log.jsonl")
    cache = Cache(str(tmp_path / "cache"))
    embedded.analyse(reading.find([str(tmp_path)]), cache=cache)
    assert list((tmp_path / "cache").rglob("*.parquet"))

    for name in (str(tmp_path), f"{tmp_path}/**", f"{tmp_path}/**/*.*"):
        assert [one.path for one in reading.find([name])] == [str(log)]


def test_half_written_files_are_not_searched_for(tmp_path: Path) -> None:
    """A folder's files with a leading dot are somebody's unfinished work."""
    leaky().write(tmp_path, "log.jsonl")
    leaky().write(tmp_path, ".log.jsonl")

    assert only(analyse(tmp_path)).path.endswith("/log.jsonl")


def test_names_that_name_nothing_are_said(tmp_path: Path) -> None:
    """No such file, a pattern without a match and a folder without a log are errors."""
    for name in ("nothing", "*.jsonl", "a\0b"):
        with pytest.raises(AnalysisError, match="no such file or folder"):
            reading.find([str(tmp_path / name)])
    with pytest.raises(AnalysisError, match=r"no logs in .*CSPTRACE_LOG"):
        reading.find([str(tmp_path)])


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["report", "missing"], "no such file or folder: missing"),
        (["report", "log.jsonl", "--memory-limit", "lots"], "'lots' is no size"),
        (["report", "log.jsonl", "--memory-limit", "1MB"], "too low; 256 MB are needed"),
        (["report", "log.jsonl", "--engine", "excel"], "unknown engine 'excel'"),
        (["report", "log.jsonl", "--run", "nobody"], "no run 'nobody' in these logs"),
        (["report", "log.jsonl", "--output", "no/where"], "cannot write no/where"),
        (["report", "log.jsonl", "--output", "."], "cannot write .: it is a folder"),
        (["report", "log.jsonl", "--cache", "log.jsonl"], "no cache in log.jsonl"),
        (["compare", "log.jsonl", "missing"], "no such file or folder: missing"),
        (["compact", "missing", "-o", "out"], "no such file or folder: missing"),
        (["compact", "log.jsonl", "-o", "log.jsonl"], "log.jsonl: File exists"),
        (["baseline", "missing"], "no such file or folder: missing"),
        (["watch", "missing"], "no such folder: missing"),
        (["watch", ".", "--interval", "-1"], "--interval -1.0: allowed are"),
    ],
)
def test_wrong_command_lines_say_what_is_wrong(
    arguments: list[str],
    text: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Every wrong argument is one line on stderr and status 2, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    leaky().write(tmp_path, "log.jsonl")
    before = {path for path in tmp_path.rglob("*") if "cache" not in path.parts}

    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert text in err
    assert err.startswith("csptrace: ")
    assert "Traceback" not in err
    assert out == ""
    assert {path for path in tmp_path.rglob("*") if "cache" not in path.parts} <= before | {
        tmp_path / "out"
    }
