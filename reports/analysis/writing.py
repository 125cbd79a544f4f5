"""What one event costs: the log against bare `orjson.dumps` and a buffered write, in one run.

    python reports/analysis/writing.py

Both write the same event, a released handle as the tracer logs it, to files in one folder. The
rounds take turns, so that a busy machine disturbs both alike; the best round of each counts.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import orjson

from csptrace.events.log import EventLog

EVENTS = 40_000
ROUNDS = 15
FIELDS = {
    "api": "cryptoapi",
    "binding": "ctypes",
    "call": "CryptDestroyHash",
    "tid": 139718896221056,
    "thread": "MainThread",
    "hid": 4,
    "kind": "HCRYPTHASH",
    "value": "0x00a31080",
    "gen": 1,
    "stack": 5,
    "release_stack": 6,
    "age_ns": 1639827,
    "live": 2,
    "how": "released",
    "uses": 3,
}
STAMPS = {
    "event": "csptrace.handle_released",
    "schema": 1,
    "run": "cfbd8737f9ee43aa",
    "pid": 11387,
    "seq": 13,
    "ts": 1795382507443996700,
    "mono": 16945413346006,
}


def bare(folder: Path) -> float:
    """Return the seconds per event of the least that writes JSON lines."""
    event = {**FIELDS, **STAMPS}
    dumps, option = orjson.dumps, orjson.OPT_APPEND_NEWLINE
    with (folder / "bare.jsonl").open("wb") as file:
        write = file.write
        begin = time.perf_counter()
        for _ in range(EVENTS):
            write(dumps(event, option=option))
        return (time.perf_counter() - begin) / EVENTS


def logged(folder: Path) -> float:
    """Return the seconds per event of the tracer's log: one unbuffered `write` for each."""
    log = EventLog(folder, "cfbd8737f9ee43aa", lambda *_: None)
    record = log.record
    begin = time.perf_counter()
    for _ in range(EVENTS):
        record("csptrace.handle_released", FIELDS.copy())
    spent = (time.perf_counter() - begin) / EVENTS
    log.close()
    return spent


def measure() -> dict[str, object]:
    """Return the costs in microseconds, and their ratio."""
    best = {"bare": 1.0, "log": 1.0}
    ratios = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as name:
            one, other = bare(Path(name)), logged(Path(name))
        best = {"bare": min(best["bare"], one), "log": min(best["log"], other)}
        ratios.append(other / one)
    return {
        "bare_us": round(best["bare"] * 1e6, 2),
        "log_us": round(best["log"] * 1e6, 2),
        "ratio_of_best": round(best["log"] / best["bare"], 2),
        "ratio_median_round": round(sorted(ratios)[len(ratios) // 2], 2),
        "python": sys.version.split()[0],
        "events_per_round": EVENTS,
        "rounds": ROUNDS,
    }


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
