"""Writing logs by hand: the events of a process, with times in milliseconds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from csptrace.events.schema import REPLACED, SCHEMA

if TYPE_CHECKING:
    from pathlib import Path

Event = dict[str, Any]
MS = 1_000_000
EPOCH = 1_800_000_000_000_000_000
"""`ts` of millisecond 0."""


class Logbook:
    """One process and the events it has written.

    Args:
        run: its id.
        host: the machine.
        pid: the process.
        shift: how many milliseconds after the others its monotonic clock was started.
        schema: the version that it writes.
    """

    def __init__(
        self,
        run: str,
        host: str = "alpha",
        pid: int = 11,
        shift: int = 0,
        schema: int = SCHEMA,
    ) -> None:
        self.schema = schema
        self.run = run
        self.host = host
        self.pid = pid
        self.events: list[Event] = []
        self.live = 0
        self.acquired_at: dict[int, tuple[int, str, int]] = {}
        self._shift = shift
        self._stacks: set[int] = set()

    def emit(self, at: int, name: str, /, **fields: Any) -> Event:
        """Write one event at a millisecond."""
        event = {
            **fields,
            "event": f"csptrace.{name}",
            "schema": self.schema,
            "run": self.run,
            "pid": self.pid,
            "seq": len(self.events) + 1,
            "ts": EPOCH + at * MS,
            "mono": (at + self._shift) * MS,
        }
        self.events.append(event)
        return event

    def started(self, at: int = 0, **more: Any) -> None:
        """Begin."""
        about = {"csptrace": "0.1.0", "python": "3.13.0", "platform": "linux", "program": "app.py"}
        about |= {"host": self.host, "level": "acquire", "apis": ["cryptoapi"], **more}
        self.emit(at, "run_started", **about)

    def stack(self, at: int, line: int, file: str = "app.py", below: int = 0) -> int:
        """Write the stack whose user frame is at a line, once; return its id.

        `below` frames of a library lie below it.
        """
        number = line * 10 + below
        if number not in self._stacks:
            self._stacks.add(number)
            frames: list[Any] = [
                [f"/lib/binding{depth}.py", depth, "call", "binding", False]
                for depth in range(below)
            ]
            frames.append([f"/src/{file}", line, f"step{line}", "app", True])
            frames.append(["/src/main.py", 1, "main", "main", True])
            self.emit(at, "stack", stack=number, frames=frames)
        return number

    def acquire(
        self, at: int, hid: int, kind: str, line: int, *, below: int = 0, **more: Any
    ) -> None:
        """Acquire a handle at a line of app.py."""
        stack = self.stack(at, line, below=below)
        self.live += 1
        self.acquired_at[hid] = (at, kind, stack)
        fields = {**self._where("Acquire"), **self._handle(hid), "stack": stack, "live": self.live}
        self.emit(at, "handle_acquired", **{**fields, **more})

    def release(self, at: int, hid: int, line: int, how: str = "released", **more: Any) -> None:
        """Release a handle at a line of app.py; `how` as in the schema."""
        where = self.stack(at, line)
        self.live -= how in ("released", "unseen")
        since, _, stack = self.acquired_at[hid]
        fields = {
            **self._where("Release"),
            **self._handle(hid),
            "stack": stack,
            "release_stack": where,
            "age_ns": (at - since) * MS,
            "live": self.live,
            "how": how,
            "uses": 1,
        }
        self.emit(at, "handle_released", **{**fields, **more})

    def invalidate(self, at: int, hid: int, by: int, **more: Any) -> None:
        """Lose a handle to the release of another one."""
        self.live -= 1
        since, _, stack = self.acquired_at[hid]
        fields = {**self._handle(hid), "stack": stack, "age_ns": (at - since) * MS}
        fields |= {"by": by, "live": self.live, "uses": 1}
        self.emit(at, "handle_invalidated", **{**fields, **more})

    def find(self, at: int, hid: int, code: str, fingerprint: str, **more: Any) -> None:
        """Report a finding; a place is given as `file:line`, which version 1 writes as it is."""
        if self.schema > 1:
            for name in REPLACED["csptrace.finding"]:
                if name in more:
                    file, _, line = more.pop(name).rpartition(":")
                    more |= {f"{name}_file": file, f"{name}_line": int(line)}
        since, _, stack = self.acquired_at[hid]
        fields = {
            **self._handle(hid),
            "code": code,
            "severity": "error",
            "api": "cryptoapi",
            "binding": "ctypes",
            "fingerprint": fingerprint,
            "tid": 1,
            "thread": "MainThread",
            "age_ns": (at - since) * MS,
            "uses": 1,
            "inherited": False,
            "remedy": f"do not {code}",
            "acquired_by": "Acquire",
            "acquired_stack": stack,
            "ended_stack": 0,
            "misused_stack": 0,
        }
        self.emit(at, "finding", **{**fields, **more})

    def ended(self, at: int, **more: Any) -> None:
        """End in an orderly way."""
        acquired = sum(event["event"] == "csptrace.handle_acquired" for event in self.events)
        peak = max((event.get("live", 0) for event in self.events), default=0)
        fields = {"acquired": acquired, "peak": peak, "live": self.live, "findings": {}, **more}
        self.emit(at, "run_ended", **fields)

    def lines(self) -> bytes:
        """Return the log."""
        return as_lines(self.events)

    def write(self, folder: Path, name: str = "") -> Path:
        """Write the log into a folder under the name that the tracer would give it."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / (name or f"csptrace-{self.host}-{self.pid}-{self.run}.jsonl")
        path.write_bytes(self.lines())
        return path

    def _where(self, call: str) -> Event:
        return {
            "api": "cryptoapi",
            "binding": "ctypes",
            "call": call,
            "tid": 1,
            "thread": "MainThread",
        }

    def _handle(self, hid: int) -> Event:
        kind = self.acquired_at[hid][1]
        return {"hid": hid, "kind": kind, "value": f"0x{hid:08x}", "gen": 1}


def as_lines(events: list[Event]) -> bytes:
    """Return events as the lines of a log."""
    return b"".join(json.dumps(event, separators=(",", ":")).encode() + b"\n" for event in events)
