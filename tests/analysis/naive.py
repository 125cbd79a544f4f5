"""The answers by the simplest means: Python, one event after another. What engines are held to."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from typing import Any

Event = dict[str, Any]


def place(frames: list[list[Any]]) -> tuple[str, int]:
    """Return the first frame of user code, else the innermost one."""
    for file, line, _, _, user in frames:
        if user:
            return file, line
    return tuple(frames[0][:2]) if frames else ("", 0)


def bucket(age: int) -> int:
    """Return the middle of the bucket of an age: 32 buckets for each power of two."""
    if age < 64:
        return age
    width = 2 ** (int(math.log2(age)) - 5) if age < 2**40 else 1 << age.bit_length() - 6
    return age // width * width + width // 2


class Process:
    """One run, replayed.

    Args:
        events: its events in order, each once.
    """

    def __init__(self, events: list[Event]) -> None:
        self.run = events[0]["run"]
        self.first = min(event["mono"] for event in events)
        self.last = max(event["mono"] for event in events)
        self.started = min(event["ts"] for event in events)
        self.ended = max(event["ts"] for event in events)
        self.stacks = {
            event["stack"]: event["frames"]
            for event in events
            if event["event"] == "csptrace.stack"
        }
        self.handles: dict[int, Event] = {}
        self.ends: dict[int, Event] = {}
        self.findings = [event for event in events if event["event"] == "csptrace.finding"]
        self.finished = any(event["event"] == "csptrace.run_ended" for event in events)
        self.live = 0
        self.peak = 0
        self.points: dict[int, int] = {}
        self.taken: dict[int, Counter[str]] = defaultdict(Counter)
        width = (self.last - self.first) // 120 + 1
        for event in events:
            if "live" in event:
                self.live = event["live"]
                self.peak = max(self.peak, self.live)
                at = (event["mono"] - self.first) // width * width
                self.points[at] = max(self.points.get(at, 0), self.live)
            name, hid = event["event"], event.get("hid")
            if name == "csptrace.handle_acquired":
                self.handles[hid] = event
            elif name == "csptrace.handle_invalidated":
                self.taken[event["by"]][event["kind"]] += 1
                self._end(event, "invalidated")
            elif name == "csptrace.handle_released" and event["how"] != "reference":
                self._end(event, event["how"])

    def _end(self, event: Event, how: str) -> None:
        if event["hid"] in self.handles:
            self.ends.setdefault(event["hid"], {**event, "how": how})

    def where(self, number: int) -> tuple[str, int]:
        """Return the place of a stack."""
        return place(self.stacks[number]) if number in self.stacks else ("", 0)


def sites(processes: list[Process]) -> dict[tuple[str, str], dict[str, Any]]:
    """Return what is known of each kind and place."""
    found: dict[tuple[str, str], dict[str, Any]] = defaultdict(
        lambda: {
            **dict.fromkeys(("acquired", "released", "leaked", "live", "growth"), 0),
            "ages": [],
            "at": Counter(),
        }
    )
    for process in processes:
        for hid, handle in process.handles.items():
            site = found[handle["kind"], process.where(handle["stack"])]
            end = process.ends.get(hid)
            how = end["how"] if end is not None else "alive"
            site["acquired"] += 1
            site["released"] += how == "released"
            site["leaked"] += how in ("invalidated", "collected", "alive")
            site["live"] += how == "alive"
            half = process.first + process.last
            site["growth"] += 2 * handle["mono"] > half
            if end is not None:
                site["growth"] -= 2 * end["mono"] > half
            if end is not None and how == "released":
                site["ages"].append(end["age_ns"])
                site["at"][process.where(end["release_stack"])] += 1
    return dict(found)


def quantiles(ages: list[int]) -> tuple[int, int, int, int] | None:
    """Return the middles of the buckets of the median, 90 % and 99 %, and the longest age."""
    if not ages:
        return None
    ages = sorted(ages)
    found = [bucket(ages[-(-len(ages) * percent // 100) - 1]) for percent in (50, 90, 99)]
    return (*(min(one, ages[-1]) for one in found), ages[-1])


def held(processes: list[Process]) -> list[tuple[str, int, int, str]]:
    """Return run, handle, age and end of everything that was held, longest first."""
    found = []
    for process in processes:
        for hid, handle in process.handles.items():
            end = process.ends.get(hid)
            if end is None:
                found.append((process.run, hid, process.last - handle["mono"], "alive"))
            else:
                found.append((process.run, hid, end["age_ns"], end["how"]))
    return sorted(found, key=lambda one: (-one[2], one[0], one[1]))
