"""Write event logs of any size that look like those of real runs, without running any.

    python reports/analysis/generate.py FOLDER --events 1000000 --files 8

Every file holds four processes. A process works in rounds: a context, a Zipf-distributed mix of
keys and hashes under it at 105 sites (420 stacks), each released after a while; one in a thousand
is forgotten and leaks when its context goes. Every fourth process ends as if by SIGKILL. The
events are those of the schema, field for field; the same seed gives the same bytes.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
from pathlib import Path

import orjson

KINDS = (
    ("HCRYPTKEY", "CryptGenKey", "CryptDestroyKey"),
    ("HCRYPTHASH", "CryptCreateHash", "CryptDestroyHash"),
)
SITES = 105
CALLERS = 4
PROCESSES = 4
START = 1_790_000_000_000_000_000
LEAKS_IN = 1000


def write(path: Path, events: int, number: int) -> int:
    """Write one file of about `events` events.

    Args:
        path: the file.
        events: how many events.
        number: the number of the file; the seed.

    Returns:
        How many events were written.
    """
    total = 0
    with path.open("wb", buffering=1 << 20) as file:
        for process in range(PROCESSES):
            killed = process == 3
            total += Process(file.write, number * PROCESSES + process, killed=killed).go(
                events // PROCESSES
            )
    return total


class Process:
    """One process's log.

    Args:
        write: takes the lines.
        number: its number, from which everything about it follows.
        killed: whether it ends without a word.
    """

    def __init__(self, write, number: int, *, killed: bool) -> None:  # noqa: ANN001
        self.write = write
        self.random = random.Random(number)
        self.killed = killed
        self.run = f"{number:016x}"
        self.pid = 1000 + number
        self.host = f"host{number % 5}"
        self.now = 0
        self.begin = START + number * 1_000_000_000
        self.seq = 0
        self.hid = 0
        self.live = 0
        self.peak = 0
        self.known: set[int] = set()
        self.codes: dict[str, int] = {}
        weights = [1 / (rank + 1) for rank in range(SITES * CALLERS)]
        order = list(range(SITES * CALLERS))
        self.choices = iter(())
        self.draw = lambda: self.random.choices(order, weights, k=4096)

    def emit(self, event: str, fields: dict[str, object]) -> None:
        """Write one event."""
        self.seq += 1
        self.now += 3000
        fields["event"] = event
        fields["schema"] = 1
        fields["run"] = self.run
        fields["pid"] = self.pid
        fields["seq"] = self.seq
        fields["ts"] = self.begin + self.now
        fields["mono"] = self.now
        self.write(orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE))

    def stack(self, number: int) -> int:
        """Write a stack before its first use."""
        if number not in self.known:
            self.known.add(number)
            site, caller = divmod(number, CALLERS)
            frames = [
                [
                    f"/srv/app/signing/part{site % 7}.py",
                    100 + site,
                    f"Part.step{site}",
                    "app.part",
                    True,
                ],
                [
                    f"/srv/app/signing/calls{caller}.py",
                    10 + caller,
                    f"call{caller}",
                    "app.calls",
                    True,
                ],
            ]
            frames += [
                [f"/srv/lib/frame{depth}.py", depth, f"frame{depth}", f"lib.frame{depth}", False]
                for depth in range(10)
            ]
            self.emit("csptrace.stack", {"stack": number, "frames": frames})
        return number

    def acquire(self, kind: str, call: str, stack: int, parent: int) -> tuple[int, str, int]:
        """Write an acquisition; return the handle, its value and its time."""
        self.stack(stack)
        self.hid += 1
        self.live += 1
        self.peak = max(self.peak, self.live)
        value = f"0x{0x00A30000 + self.live * 64:08x}"
        fields: dict[str, object] = {
            "api": "cryptoapi",
            "binding": "ctypes",
            "call": call,
            "tid": 139718896221056,
            "thread": "MainThread",
            "hid": self.hid,
            "kind": kind,
            "value": value,
            "gen": 1 + self.hid // 100,
            "stack": stack,
            "live": self.live,
        }
        if parent:
            fields["parent"] = parent
        else:
            fields["name"] = "container"
        self.emit("csptrace.handle_acquired", fields)
        return self.hid, value, self.now

    def release(self, handle: tuple[int, str, int], kind: str, call: str, stack: int) -> None:
        """Write a release."""
        where = self.stack(SITES * CALLERS + stack // CALLERS)
        self.live -= 1
        hid, value, since = handle
        self.emit(
            "csptrace.handle_released",
            {
                "api": "cryptoapi",
                "binding": "ctypes",
                "call": call,
                "tid": 139718896221056,
                "thread": "MainThread",
                "hid": hid,
                "kind": kind,
                "value": value,
                "gen": 1 + hid // 100,
                "stack": stack,
                "release_stack": where,
                "age_ns": self.now - since + self.random.randrange(1_000_000),
                "live": self.live,
                "how": "released",
                "uses": 3,
            },
        )

    def leak(self, handle: tuple[int, str, int], kind: str, stack: int, context: int) -> None:
        """Write what a context took with it."""
        self.live -= 1
        hid, value, since = handle
        about: dict[str, object] = {"hid": hid, "kind": kind, "value": value, "gen": 1}
        age = self.now - since
        self.emit(
            "csptrace.handle_invalidated",
            {**about, "stack": stack, "age_ns": age, "by": context, "live": self.live, "uses": 3},
        )
        site = stack // CALLERS
        self.codes["leaked-at-release"] = self.codes.get("leaked-at-release", 0) + 1
        self.emit(
            "csptrace.finding",
            {
                **about,
                "code": "leaked-at-release",
                "severity": "error",
                "api": "cryptoapi",
                "binding": "ctypes",
                "fingerprint": f"1:{stack:016x}",
                "tid": 139718896221056,
                "thread": "MainThread",
                "age_ns": age,
                "uses": 3,
                "inherited": False,
                "remedy": "call CryptDestroyKey before CryptReleaseContext",
                "scope": f"tests/test_part.py::test_{site % 20}",
                "acquired_by": "CryptGenKey",
                "acquired_stack": stack,
                "ended_by": "CryptReleaseContext",
                "ended_stack": SITES * CALLERS + SITES,
                "misused_stack": 0,
                "culprit": context,
                "culprit_kind": "HCRYPTPROV",
                "where": f"/srv/app/signing/part{site % 7}.py:{100 + site}",
            },
        )

    def go(self, events: int) -> int:
        """Write the whole log; return how many events it has."""
        self.emit(
            "csptrace.run_started",
            {
                "csptrace": "0.1.0",
                "python": "3.13.0",
                "platform": "linux",
                "host": self.host,
                "program": "service.py",
                "level": "acquire",
                "apis": ["cryptoapi"],
            },
        )
        top = SITES * CALLERS
        while self.seq < events - 10:
            context = self.acquire("HCRYPTPROV", "CryptAcquireContextW", top, 0)
            held: list[tuple[tuple[int, str, int], int]] = []
            for _ in range(self.random.randrange(20, 400)):
                stack = next(self.choices, None)
                if stack is None:
                    self.choices = iter(self.draw())
                    stack = next(self.choices)
                kind, call, _ = KINDS[stack % 2]
                held.append((self.acquire(kind, call, stack, context[0]), stack))
                while len(held) > 8 or (held and self.random.random() < 0.4):
                    handle, stack = held.pop(self.random.randrange(len(held)))
                    if self.random.randrange(LEAKS_IN):
                        self.release(handle, KINDS[stack % 2][0], KINDS[stack % 2][2], stack)
                    else:
                        held.insert(0, (handle, stack))
                        break
            lost = [one for one in held if not self.random.randrange(LEAKS_IN)]
            for handle, stack in held:
                if (handle, stack) not in lost:
                    self.release(handle, KINDS[stack % 2][0], KINDS[stack % 2][2], stack)
            if self.killed and self.seq >= events - 10:
                break
            self.release(context, "HCRYPTPROV", "CryptReleaseContext", top)
            for handle, stack in lost:
                self.leak(handle, KINDS[stack % 2][0], stack, context[0])
        if not self.killed:
            self.emit(
                "csptrace.run_ended",
                {
                    "acquired": self.hid,
                    "peak": self.peak,
                    "live": self.live,
                    "findings": self.codes,
                },
            )
        return self.seq


def generate(folder: Path, events: int, files: int) -> int:
    """Write a folder of logs.

    Args:
        folder: where; made if it does not exist.
        events: about how many events in all.
        files: in how many files.

    Returns:
        How many events were written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    work = [
        (folder / f"csptrace-job{number}-{1000 + number}-0.jsonl", events // files, number)
        for number in range(files)
    ]
    with multiprocessing.Pool(min(files, multiprocessing.cpu_count())) as pool:
        return sum(pool.starmap(write, work))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--files", type=int, default=8)
    given = parser.parse_args()
    print(f"{generate(given.folder, given.events, given.files)} events")
