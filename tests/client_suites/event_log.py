"""What csptrace said, read from its event logs as plain JSON."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

LEAKS = frozenset({"leaked-at-release", "leaked-at-exit", "lost"})
MISUSES = frozenset(
    {
        "use-after-release",
        "use-after-invalidation",
        "double-release",
        "out-of-order-release",
        "stale-dependency",
        "wrong-release",
    }
)


@dataclasses.dataclass(frozen=True)
class Finding:
    """One finding, with the time of the acquisition of its handle, 0 if that is not in the log.

    It is `withdrawn` if a scope ended with the handle alive, and the program released it later.
    """

    code: str
    kind: str
    value: int
    at: float
    acquired: float = 0.0
    severity: str = "error"
    by: str = ""
    scope: str = ""
    times: int = 1
    inherited: bool = False
    withdrawn: bool = False


@dataclasses.dataclass
class Said:
    """All that one process said."""

    findings: list[Finding] = dataclasses.field(default_factory=list)
    ended: bool = False


def read(folder: Path) -> dict[int, Said]:
    """Return what each process said, by its pid."""
    said: dict[int, Said] = {}
    for path in sorted(folder.glob("csptrace-*.jsonl")):
        with path.open("rb") as log:
            events = [json.loads(line) for line in log if line.endswith(b"\n")]
        if events:
            said[events[0]["pid"]] = parse(events)
    return said


def parse(events: Iterable[dict[str, Any]]) -> Said:
    """Return what is said by the events of one process."""
    events = _in_real_time(list(events))
    said = Said()
    acquired: dict[int, float] = {}
    released = {
        event["hid"]: event["ts"]
        for event in events
        if event["event"] == "csptrace.handle_released" and event["how"] == "released"
    }
    for event in events:
        name = event["event"]
        if name == "csptrace.handle_acquired":
            acquired[event["hid"]] = event["ts"] / 1e9
        elif name == "csptrace.run_ended":
            said.ended = True
        elif name == "csptrace.finding":
            said.findings.append(
                Finding(
                    code=event["code"],
                    kind=event["kind"],
                    value=_number(event["value"]),
                    at=event["ts"] / 1e9,
                    acquired=acquired.get(event["hid"], 0.0),
                    severity=event["severity"],
                    by=event.get("misused_by", ""),
                    scope=event.get("scope", ""),
                    times=event.get("times", 1),
                    inherited=event["inherited"],
                    withdrawn=event["code"] == "leaked-at-exit"
                    and released.get(event["hid"], 0) > event["ts"],
                )
            )
    return said


def _in_real_time(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return events with the times that a test's frozen clock gave them put right.

    What lies outside the run, or after what was written later, gets the time of what follows.
    """
    if not events:
        return events
    first, following = events[0]["ts"], events[-1]["ts"]
    real = []
    for event in reversed(events):
        following = event["ts"] if first <= event["ts"] <= following else following
        real.append({**event, "ts": following})
    return real[::-1]


def _number(value: str) -> int:
    try:
        return int(value, 16)
    except ValueError:
        return -1  # `object 0x…`: it has no number
