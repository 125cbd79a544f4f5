"""Writing keeps pace: many processes and threads at once, rotation, and what it says it cost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from ctypes import byref, c_void_p
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from event_runs import GOLDEN, environment, read_log

import csptrace
from csptrace.analysis import embedded, reading
from csptrace.events.log import EventLog
from csptrace.events.schema import LONGEST_LINE
from csptrace.softcsp import advapi32

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from event_runs import Event, Run

POSIX = pytest.mark.skipif(os.name == "nt", reason="POSIX only")
WORK = """
import sys, threading
import csptrace, program
from program import acquire, generate, advapi32

def work(times=1):
    for _ in range(times):
        context = acquire()
        advapi32.CryptDestroyKey(generate(context))
        advapi32.CryptReleaseContext(context, 0)

tracer = csptrace.start()
"""
THREADS = (
    WORK
    + """
ready = threading.Barrier(8)
def run():
    ready.wait(60)
    work(25)
threads = [threading.Thread(target=run) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""
)


def _pieces(folder: Path) -> list[Path]:
    """Return the files of a rotated log in the order in which they were written."""
    return sorted(folder.glob("*.jsonl"), key=lambda path: (len(path.name), path.name))


def test_eight_processes_of_eight_threads_lose_nothing(tmp_path: Path) -> None:
    """Logging at once into one folder, no event is lost, and none runs into another."""
    environ = environment(tmp_path, log=tmp_path / "logs")
    children = [
        subprocess.Popen(
            [sys.executable, "-c", THREADS],
            env={**environ, "SOFTCSP_HOME": str(tmp_path / f"home{number}")},
            cwd=GOLDEN,
        )
        for number in range(8)
    ]
    for child in children:
        assert child.wait(180) == 0
    logs = [read_log(path) for path in (tmp_path / "logs").iterdir()]

    assert len(logs) == 8
    assert len({log[0]["run"] for log in logs}) == 8
    for log in logs:
        assert [event["seq"] for event in log] == list(range(1, len(log) + 1))
        names = Counter(event["event"] for event in log)
        assert names["csptrace.handle_acquired"] == 8 * 25 * 2
        assert names["csptrace.handle_released"] == 8 * 25 * 2
        threads = {event["tid"] for event in log if event["event"] == "csptrace.handle_acquired"}
        assert len(threads) == 8
    report = embedded.analyse(reading.find([str(tmp_path / "logs")]))
    assert sum(run.acquired for run in report.runs) == 8 * 8 * 25 * 2
    assert {(run.finished, run.live) for run in report.runs} == {(True, 0)}


def test_a_log_goes_on_in_another_file(run: Callable[..., Run], tmp_path: Path) -> None:
    """With `log_rotate` a file ends after a whole event, and the next one goes on counting."""
    done = run("-c", WORK + "work(2000)", log_rotate=1)
    files = _pieces(tmp_path / "logs")
    first = files[0].name.removesuffix(".jsonl")
    events: list[Event] = [event for path in files for event in read_log(path)]

    assert done.status == 0, done.err
    assert len(files) >= 3
    assert [path.name for path in files[1:]] == [
        f"{first}.{number}.jsonl" for number in range(1, len(files))
    ]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    for path in files[:-1]:
        assert 1_000_000 <= path.stat().st_size < 1_010_000
    assert events[-1]["bytes"] == sum(path.stat().st_size for path in files) - len(
        json.dumps(events[-1], separators=(",", ":")) + "\n"
    )
    (one,) = embedded.analyse(reading.find([str(tmp_path / "logs")])).runs
    assert (one.acquired, one.live, one.finished) == (4000, 0, True)


@POSIX
def test_a_kill_while_rotating_loses_nothing(tmp_path: Path) -> None:
    """SIGKILL between two files loses no event whose write returned."""
    child = subprocess.Popen(
        [
            *(sys.executable, "-c"),
            WORK + "while True:\n    work()\n    print(tracer.graph.acquired, flush=True)\n",
        ],
        env=environment(tmp_path, log=tmp_path / "logs", log_rotate=1),
        cwd=GOLDEN,
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    told = 0
    for line in child.stdout:
        told = int(line)
        if told > 800 and len(list((tmp_path / "logs").iterdir())) > 1:
            break
    child.kill()
    child.stdout.close()
    assert child.wait(60) == -signal.SIGKILL
    events = [event for path in _pieces(tmp_path / "logs") for event in read_log(path)]

    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    names = Counter(event["event"] for event in events)
    assert names["csptrace.handle_acquired"] >= told


def test_a_taken_name_ends_rotation_and_not_the_log(
    run: Callable[..., Run], tmp_path: Path
) -> None:
    """If the next file cannot be made, the log goes on in the old one with one complaint."""
    program = (
        WORK
        + "path = tracer.log_path\npath.with_suffix('.1.jsonl').write_text('')\nwork(900)\n"
        + "print('went on')\n"
    )
    done = run("-c", program, log_rotate=1)
    (log,) = (path for path in (tmp_path / "logs").iterdir() if path.stat().st_size)
    events = read_log(log)

    assert (done.status, done.out) == (0, "went on\n"), done.err
    assert done.err.count("whatever its size") == 1
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert log.stat().st_size > 1_000_000


def test_the_end_says_what_writing_cost(run: Callable[..., Run], tmp_path: Path) -> None:
    """The closing event has the bytes before it and an estimate of the time, below a second."""
    done = run("-c", WORK + "work(20)")
    (path,) = (tmp_path / "logs").iterdir()
    lines = path.read_bytes().splitlines(keepends=True)
    end = done.log[-1]

    assert end["bytes"] == sum(map(len, lines[:-1]))
    assert 0 < end["writing_ns"] < 1_000_000_000


@pytest.mark.parametrize(
    "fields",
    [
        {"frames": [["/a/very/long/folder" * 20, 7, "inner" * 50, "module" * 20, True]] * 1000},
        {"message": "ä" * 1_000_000},
        {"findings": {f"code {number}": number for number in range(20)}, "name": "\x01" * 300_000},
        {"frames": [["\ud800" * 2000, 1, "f", "m", True]] * 300},
    ],
)
def test_no_line_is_longer_than_readers_take(tmp_path: Path, fields: dict[str, Any]) -> None:
    """What would be too long is written with less in it, so that it stays an event."""
    log = EventLog(tmp_path, "aaaa", lambda *_: None)
    log.emit("csptrace.other", **fields)
    log.emit("csptrace.other")
    log.close()
    assert log.path is not None
    first, second = log.path.read_bytes().splitlines()

    assert len(first) < LONGEST_LINE
    event = orjson.loads(first)
    assert event["seq"] == 1
    assert orjson.loads(second)["seq"] == 2
    assert event.keys() >= fields.keys()
    if "frames" in fields:
        assert event["frames"][0][1] == fields["frames"][0][1]


def test_a_program_that_stops_its_clocks_does_not_stop_those_of_the_log(
    trace: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events have the real times while every name of a clock, in any module, stands still."""
    clocks = ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns")
    real = {id(getattr(time, name)) for name in clocks}
    before = time.time_ns(), time.monotonic_ns()
    trace(log=tmp_path / "logs")
    with monkeypatch.context() as frozen:
        for module in list(sys.modules.values()):
            for name, value in list(vars(module).items()):
                if id(value) in real:
                    frozen.setattr(module, name, lambda: 1)
        assert time.time() == time.monotonic_ns() == 1
        advapi32.CryptAcquireContextW(byref(c_void_p()), None, None, 24, 0xF0000000)
        csptrace.stop()
    after = time.time_ns(), time.monotonic_ns()
    (log,) = (tmp_path / "logs").glob("*.jsonl")
    events = read_log(log)
    assert {"csptrace.handle_acquired", "csptrace.run_ended"} <= {each["event"] for each in events}
    for event in events:
        assert before[0] <= event["ts"] <= after[0], event
        assert before[1] <= event["mono"] <= after[1], event
