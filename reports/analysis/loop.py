"""What a careful person would write instead: one Python loop over the lines.

    python reports/analysis/loop.py FOLDER

One process, the fastest JSON decoder (msgspec into a typed struct, which skips fields that nobody
asks for), dictionaries of live handles. It answers the questions of `csptrace report` except four
that would make it slower still: timelines, growth, the handle graph and the stories of examples.
"""

from __future__ import annotations

import heapq
import json
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

import msgspec


class Event(msgspec.Struct):
    """The fields that the answers need."""

    event: str
    run: str
    seq: int
    ts: int
    mono: int
    hid: int = 0
    kind: str = ""
    stack: int = 0
    release_stack: int = 0
    age_ns: int = -1
    live: int = 0
    how: str = ""
    by: int = 0
    fingerprint: str = ""
    code: str = ""
    scope: str = ""
    host: str = ""
    frames: msgspec.Raw = msgspec.Raw(b"")
    message: str = ""


def bucket(age: int) -> int:
    """Return the bucket of an age: 32 for each power of two."""
    return age if age < 64 else age >> (shift := age.bit_length() - 6) << shift


def answer(folder: Path) -> dict[str, object]:
    """Read every log in a folder and answer the questions."""
    decode = msgspec.json.Decoder(Event).decode
    acquired: Counter[tuple[str, str, int]] = Counter()
    released: Counter[tuple[str, str, int]] = Counter()
    lost: Counter[tuple[str, str, int]] = Counter()
    released_at: Counter[tuple[str, str, int, int]] = Counter()
    ages: dict[tuple[str, str, int], Counter[int]] = defaultdict(Counter)
    taken: dict[tuple[str, int], Counter[str]] = defaultdict(Counter)
    alive: dict[tuple[str, int], tuple[str, int, int]] = {}
    longest: list[tuple[int, str, int]] = [(-1, "", 0)] * 50
    stacks: dict[tuple[str, int], bytes] = {}
    peaks: Counter[str] = Counter()
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    hosts: dict[str, str] = {}
    groups: Counter[str] = Counter()
    seen: dict[str, list[int]] = {}
    where: dict[str, set[str]] = defaultdict(set)
    scopes: Counter[tuple[str, str]] = Counter()
    notices: Counter[str] = Counter()
    events = 0
    for path in sorted(folder.glob("*.jsonl")):
        with path.open("rb") as file:
            for line in file:
                try:
                    event = decode(line)
                except msgspec.DecodeError:
                    continue
                events += 1
                run, name = event.run, event.event
                if run not in first:
                    first[run] = event.mono
                last[run] = event.mono
                if name == "csptrace.handle_acquired":
                    key = (run, event.kind, event.stack)
                    acquired[key] += 1
                    alive[run, event.hid] = (event.kind, event.stack, event.mono)
                    peaks[run] = max(peaks[run], event.live)
                elif name == "csptrace.handle_released":
                    if event.how == "reference" or not alive.pop((run, event.hid), None):
                        continue
                    key = (run, event.kind, event.stack)
                    age = event.age_ns
                    if event.how == "released":
                        released[key] += 1
                        released_at[run, event.kind, event.stack, event.release_stack] += 1
                        ages[key][bucket(age)] += 1
                    elif event.how == "collected":
                        lost[key] += 1
                    if age > longest[0][0]:
                        heapq.heapreplace(longest, (age, run, event.hid))
                elif name == "csptrace.handle_invalidated":
                    taken[run, event.by][event.kind] += 1
                    if alive.pop((run, event.hid), None):
                        lost[run, event.kind, event.stack] += 1
                        if event.age_ns > longest[0][0]:
                            heapq.heapreplace(longest, (event.age_ns, run, event.hid))
                elif name == "csptrace.stack":
                    stacks[run, event.stack] = bytes(event.frames)
                elif name == "csptrace.finding":
                    fingerprint = event.fingerprint
                    groups[fingerprint] += 1
                    seen.setdefault(fingerprint, [event.ts, 0])[1] = event.ts
                    where[fingerprint].add(hosts.get(run, ""))
                    scopes[fingerprint, event.scope] += 1
                elif name == "csptrace.run_started":
                    hosts[run] = event.host
                elif name == "csptrace.notice":
                    notices[event.message] += 1
    for (run, hid), (kind, stack, since) in alive.items():
        lost[run, kind, stack] += 1
        age = last[run] - since
        if age > longest[0][0]:
            heapq.heapreplace(longest, (age, run, hid))
    places = {key: _place(frames) for key, frames in stacks.items()}
    sites: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    lives: dict[str, Counter[int]] = defaultdict(Counter)
    for number, counts in enumerate((acquired, released, lost)):
        for (run, kind, stack), times in counts.items():
            sites[f"{kind} {places.get((run, stack), '')}"][number] += times
    for (run, kind, stack), counts in ages.items():
        lives[f"{kind} {places.get((run, stack), '')}"].update(counts)
    return {
        "events": events,
        "sites": dict(sorted(sites.items())),
        "medians": {site: _quantile(counts, 50) for site, counts in sorted(lives.items())},
        "groups": dict(sorted(groups.items())),
        "longest": max(longest)[0],
        "contexts": len(taken),
        "peaks": dict(sorted(peaks.items())),
    }


def _place(frames: bytes) -> str:
    for file, line, _, _, user in msgspec.json.decode(frames):
        if user:
            return f"{file}:{line}"
    return ""


def _quantile(counts: Counter[int], percent: int) -> int:
    total, running = sum(counts.values()), 0
    for low, times in sorted(counts.items()):
        running += times
        if running * 100 >= total * percent:
            return low
    return 0


if __name__ == "__main__":
    begin = time.perf_counter()
    found = answer(Path(sys.argv[1]))
    json.dump({"seconds": time.perf_counter() - begin, "answer": found}, sys.stdout)
