"""What running processes do, from the logs they are writing: read on, never from the beginning."""

from __future__ import annotations

import os
from collections import Counter, deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from csptrace.analysis import contract, reading
from csptrace.analysis.results import place_in
from csptrace.events.schema import LONGEST_LINE
from csptrace.files import only_regular

if TYPE_CHECKING:
    from collections.abc import Iterator

    from csptrace.analysis.results import Place

__all__ = ["LogTail", "Process", "Seen", "State"]

_SUFFIXES: Final = (".jsonl", ".ndjson")
_CHUNK: Final = 1 << 20
_BEGINNING: Final = 100
_NEWEST: Final = 50


class Seen(NamedTuple):
    """One finding as it came in."""

    ts: int
    run: str
    code: str
    severity: str
    kind: str
    value: str
    fingerprint: str
    where: Place


class Process(NamedTuple):
    """One traced process: `live` handles, and whether it `ended`."""

    run: str
    host: str
    pid: int
    program: str
    live: int
    acquired: int
    findings: int
    ended: bool


class State(NamedTuple):
    """All processes at one moment.

    Attributes:
        kinds: live handles of the processes that have not ended, by kind, most first.
        processes: those that have not ended first, then by live handles.
        findings: the newest findings, newest first; one may stand for many.
        counts: all findings by code, most first.
        events: events read.
        skipped: lines that are no events.
    """

    kinds: tuple[tuple[str, int], ...]
    processes: tuple[Process, ...]
    findings: tuple[Seen, ...]
    counts: tuple[tuple[str, int], ...]
    events: int
    skipped: int


class LogTail:
    """Follows every log in a folder, also those that appear later.

    Args:
        folder: the folder; it may not exist yet.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._files: dict[str, _File] = {}
        self._runs: dict[str, _Run] = {}
        self._findings: deque[Seen] = deque(maxlen=_NEWEST)
        self._counts = Counter[str]()
        self._events = 0
        self._skipped = 0

    def poll(self) -> bool:
        """Read what was written since last time.

        Returns:
            Whether there was anything.
        """
        before = self._events, self._skipped
        for path in reading.walk(self._folder):
            if path.endswith(_SUFFIXES):
                for line in self._files.setdefault(path, _File(path)).lines():
                    self._take(line)
        return (self._events, self._skipped) != before

    def state(self) -> State:
        """Return how things stand."""
        kinds = Counter[str]()
        for run in self._runs.values():
            if not run.ended:
                kinds.update(run.live.values())
        processes = sorted(
            (
                Process(
                    run.run,
                    run.host,
                    run.pid,
                    run.program,
                    len(run.live),
                    run.acquired,
                    run.findings,
                    run.ended,
                )
                for run in self._runs.values()
            ),
            key=lambda process: (process.ended, -process.live, process.run),
        )
        return State(
            tuple(sorted(kinds.items(), key=lambda item: (-item[1], item[0]))),
            tuple(processes),
            tuple(reversed(self._findings)),
            tuple(sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))),
            self._events,
            self._skipped,
        )

    def _take(self, line: bytes) -> None:
        if not line.strip(b"\0 \t\r"):
            return
        try:
            event = contract.event_of(reading.parse(line.strip(b" \t\r")))
        except ValueError:
            event = None
        if event is None:
            self._skipped += 1
            return
        self._events += 1
        run = self._runs.get(event["run"])
        if run is None:
            run = self._runs[event["run"]] = _Run(event["run"])
        run.take(event)
        if event["event"] == "csptrace.finding":
            self._counts[str(event.get("code", ""))] += _times(event)
            self._findings.append(_seen(event))


def _seen(event: dict[str, Any]) -> Seen:
    code, severity, kind, value, fingerprint = (
        str(event.get(name, "")) for name in ("code", "severity", "kind", "value", "fingerprint")
    )
    where = place_in(event, "where")
    return Seen(event["ts"], event["run"], code, severity, kind, value, fingerprint, where)


def _times(event: dict[str, Any]) -> int:
    """Return how many findings an event stands for."""
    times = event.get("times", 1)
    return times if isinstance(times, int) else 1


class _Run:
    """What is known of one run."""

    def __init__(self, run: str) -> None:
        self.run = run
        self.host = ""
        self.pid = 0
        self.program = ""
        self.live: dict[int, str] = {}
        self.acquired = 0
        self.findings = 0
        self.ended = False

    def take(self, event: dict[str, Any]) -> None:
        """Enter one event."""
        match event["event"]:
            case "csptrace.handle_acquired":
                self.acquired += 1
                self.live[event.get("hid", 0)] = str(event.get("kind", ""))
            case "csptrace.handle_released" if event.get("how") != "reference":
                self.live.pop(event.get("hid", 0), None)
            case "csptrace.handle_invalidated":
                self.live.pop(event.get("hid", 0), None)
            case "csptrace.finding":
                self.findings += _times(event)
            case "csptrace.run_started":
                self.host = str(event.get("host", ""))
                self.program = str(event.get("program", ""))
            case "csptrace.run_ended":
                self.ended = True
        self.pid = contract.integer(event.get("pid")) or 0


class _File:
    """One log and how far it has been read."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._position = 0
        self._rest = b""
        self._skipping = False

    def lines(self) -> Iterator[bytes]:
        """Yield the whole lines that have been added; half a line waits for its end.

        Of a line that is too long only the beginning is given, as soon as that is known.
        """
        try:
            with open(self._path, "rb", opener=only_regular) as file:
                if os.fstat(file.fileno()).st_size < self._position:  # it was replaced
                    self._position, self._rest, self._skipping = 0, b"", False
                file.seek(self._position)
                # What is written meanwhile is for next time, or this would never end.
                left = os.fstat(file.fileno()).st_size - self._position
                while chunk := file.read(min(_CHUNK, left)):
                    self._position += len(chunk)
                    left -= len(chunk)
                    yield from self._take(chunk)
        except OSError:
            return  # deleted or not ours; it may come back

    def _take(self, chunk: bytes) -> Iterator[bytes]:
        *lines, rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            if not self._skipping:
                yield line[: LONGEST_LINE + 1]
            self._skipping = False
        self._rest = b"" if self._skipping else rest
        if len(self._rest) > LONGEST_LINE:
            yield self._rest[:_BEGINNING]
            self._skipping, self._rest = True, b""
