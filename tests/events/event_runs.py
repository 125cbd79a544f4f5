"""Running traced programs in processes of their own, and reading the logs they leave behind."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import csptrace
from csptrace.settings import Settings

ROOT = Path(csptrace.__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden"

Event = dict[str, Any]


@dataclasses.dataclass
class Run:
    """A traced program that has ended.

    Attributes:
        status: its exit status.
        out: its standard output.
        err: its standard error output.
        logs: its log files, oldest first.
    """

    status: int
    out: str
    err: str
    logs: list[list[Event]]

    @property
    def log(self) -> list[Event]:
        """The events of its only log file."""
        (log,) = self.logs
        return log

    def named(self, name: str) -> list[Event]:
        """Return the events of one sort, of all files."""
        return [e for log in self.logs for e in log if e["event"] == f"csptrace.{name}"]


def read_log(path: Path) -> list[Event]:
    """Read a log; a torn line is an error."""
    data = path.read_bytes()
    assert data.endswith(b"\n") or not data, f"{path} ends in a torn line: {data[-200:]!r}"
    return [json.loads(line) for line in data.splitlines()]


def read_logs(folder: Path) -> list[list[Event]]:
    """Read every log in a folder, oldest first."""
    logs = [read_log(path) for path in folder.glob("csptrace-*.jsonl")]
    return sorted(logs, key=lambda log: log[0]["ts"] if log else 0)


def environment(folder: Path, **settings: Any) -> dict[str, str]:
    """Return an environment in which a child traces with these settings."""
    keep = {n: v for n, v in os.environ.items() if not n.startswith(("CSPTRACE", "SOFTCSP"))}
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "PYTHONIOENCODING"):
        keep.pop(name, None)
    variables = Settings.load({}, ROOT.parent, **settings).environment()
    del variables["CSPTRACE"]  # the program starts the tracer itself
    return {
        **keep,
        **variables,
        "PYTHONPATH": str(ROOT),
        "PYTHONUTF8": "1",
        "PYTHONWARNINGS": "error",
        "SOFTCSP_HOME": str(folder / "home"),
    }


def execute(
    folder: Path,
    *arguments: str,
    cwd: Path = GOLDEN,
    environ: dict[str, str] | None = None,
    logged: bool = True,
    **settings: Any,
) -> Run:
    """Run Python with arguments and settings, and collect the logs.

    Args:
        folder: where the logs and the containers go.
        arguments: what follows `python`.
        cwd: the working directory.
        environ: further environment variables.
        logged: whether to write logs, to `logs` unless the settings say where.
        settings: of the tracer.

    Returns:
        What became of it.
    """
    settings.setdefault("strict", True)
    if logged:
        settings.setdefault("log", folder / "logs")
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**environment(folder, **settings), **(environ or {})},
        cwd=cwd,
        capture_output=True,
        check=False,
        timeout=120,
    )
    return Run(
        done.returncode,
        done.stdout.decode(),
        done.stderr.decode(errors="backslashreplace"),
        read_logs(folder / "logs"),
    )


def check_log(log: list[Event]) -> None:
    """Check what must hold in every whole log of a process that began without handles.

    Args:
        log: its events.
    """
    assert [event["seq"] for event in log] == list(range(1, len(log) + 1))
    assert len({(event["run"], event["pid"], event["schema"]) for event in log}) == 1
    times = [event["mono"] for event in log]
    assert times == sorted(times)
    assert log[0]["event"] == "csptrace.run_started"
    assert log[-1]["event"] == "csptrace.run_ended"
    check_stacks(log)
    handles = _check_handles(log)
    codes: dict[str, int] = {}
    for event in log:
        if event["event"] == "csptrace.finding":
            codes[event["code"]] = codes.get(event["code"], 0) + 1
    assert log[-1]["findings"] == codes
    if log[0]["level"] != "count":
        assert log[-1]["acquired"] == handles["acquired"]
        assert log[-1]["peak"] == handles["peak"]
        assert log[-1]["live"] == handles["live"]


def check_stacks(log: list[Event]) -> None:
    """Check that each stack stands in the log once, and before the first reference to it."""
    defined: set[int] = set()
    for event in log:
        if event["event"] == "csptrace.stack":
            assert event["stack"] not in defined, "a stack stands in the log twice"
            assert event["frames"]
            defined.add(event["stack"])
            continue
        for field, value in event.items():
            if field == "stack" or field.endswith("_stack"):
                assert value in defined or value == 0, f"{event['event']}: {field}={value}"


def _check_handles(log: list[Event]) -> dict[str, int]:
    """Follow every handle through the log; return how many there were, at most, and at the end."""
    known: dict[int, Event] = {}
    live: set[int] = set()
    peak = 0
    for number, event in enumerate(log):
        sort = event["event"].removeprefix("csptrace.")
        hid = event.get("hid", 0)
        if sort == "handle_acquired":
            assert not known or hid > max(known)
            known[hid] = event
            live.add(hid)
            assert event["live"] == len(live)
            peak = max(peak, len(live))
            assert event.get("parent") is None or event["parent"] in known
        elif sort in ("handle_released", "handle_invalidated"):
            begin = known[hid]
            for field in ("kind", "value", "gen", "stack"):
                assert event[field] == begin[field]
            assert 0 <= event["age_ns"] <= event["mono"] - log[0]["mono"]
            assert hid in live
            if event.get("how") in ("reference", "handed-over", "collected"):
                continue
            live.remove(hid)
            if sort == "handle_released" and event["how"] == "released":
                rest = [e for e in log[number + 1 :] if e.get("by") == hid]
                assert event["live"] == len(live) - len(rest)
    return {"acquired": len(known), "peak": peak, "live": len(live)}
