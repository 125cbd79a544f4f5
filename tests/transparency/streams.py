"""Reads what `player.py` and Wine's `+crypt` trace wrote, and compares two runs.

Addresses differ between any two runs, so each is replaced by what it stands for: a handle by the
slot it was acquired for, memory of the program by the order in which it was first seen.

One difference is deliberate. pywin32's destructors release a handle that is dead already: released
explicitly, or gone with its context. csptrace keeps such objects alive, so that this release does
not hit another handle. It is one native call, refused, in the step that drops the object, and the
last error that it leaves there: `compare` takes exactly that from the untraced run, and counts it.
"""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

_NATIVE: Final = re.compile(r"^[0-9a-f]+:trace:crypt:(Crypt\w+) \((.*)\)$")
_HANDLE: Final = re.compile(r"\b0x[0-9a-f]+\b")
_POINTER: Final = re.compile(r"\b[0-9A-F]{16}\b")
_CONTAINER: Final = re.compile(r"csptrace-transparency-[0-9a-f]{8}-[0-9a-f-]{27}")
_INNER: Final = ("CryptProtectData", "CryptUnprotectData")  # rsaenh keeps key pairs with these
_ANY: Final = "whatever"
_RELEASE_OF: Final = {"c": "CryptReleaseContext", "k": "CryptDestroyKey", "h": "CryptDestroyHash"}
_RELEASE_OPS: Final = ("release", "destroy_key", "destroy_hash")
_BAD_FLAGS: Final = "-2146893815"  # a release with flags fails, but it releases


@dataclass
class Event:
    """One thing that happened: a native call, or what the program saw of a step.

    Attributes:
        what: "program", "begin", "native", "end", "raised" or "between".
        text: everything that has to be equal in two runs.
        step: the number of the step.
        slot: the dropped slot, in a step that drops one; for a native call in such a step, too.
    """

    what: str
    text: str
    step: int = -1
    slot: str = ""


@dataclass
class Run:
    """What one run of the player wrote.

    Attributes:
        programs: the events of each program.
        findings: how many findings the tracer had.
        calls: how many native calls the trace holds.
        steps: how many steps were played.
        dead: in each program, the slots whose handle was dead when its object was dropped.
    """

    programs: list[list[Event]] = field(default_factory=list)
    findings: int = 0
    calls: int = 0
    steps: int = 0
    dead: list[set[str]] = field(default_factory=list)


class _Reader:
    def __init__(self, *, own_memory: bool) -> None:
        self.run = Run()
        self.own_memory = own_memory
        self.names: dict[int, str] = {}
        self.values: dict[str, int] = {}
        self.pointers: dict[str, str] = {}
        self.slots: list[str] = []
        self.op = ""
        self.step = -1
        self.position = 0
        self.ended: set[str] = set()
        self.parents: dict[str, str] = {}

    def bind(self, slot: str, value: int) -> None:
        self.values[slot] = value
        self.names[value] = slot

    def add(self, what: str, text: str) -> None:
        slot = self.slots[0] if self.op == "drop" and self.slots else ""
        self.run.programs[-1].append(Event(what, text, self.step, slot))

    def client(self, line: dict[str, Any]) -> None:
        if "program" in line:
            self.run.programs.append([])
            self.run.dead.append(set())
            self.ended, self.parents = set(), {}
            self.names, self.values, self.pointers = {}, {}, {}
            self.slots, self.op, self.step = [], "", -1
            self.add("program", "")
        elif "begin" in line:
            self.slots, self.op, self.step = line["slots"], line["op"], line["begin"]
            self.run.steps += 1
            if self.op == "drop" and self.ended & {self.slots[0], self.parents.get(self.slots[0])}:
                self.run.dead[-1].update(self.slots)
            self.add("begin", f"{self.op} {self.slots}")
        elif "end" in line:
            seen = line["seen"]
            if "value" in seen:
                self.bind(seen["new"], seen.pop("value"))
            if "new" in seen and self.slots:
                self.parents[seen["new"]] = self.parents.get(self.slots[0], self.slots[0])
            refused = "skipped" in seen or ("exception" in seen and _BAD_FLAGS not in str(seen))
            if self.op in _RELEASE_OPS and not refused:
                self.ended.update(self.slots)
            self.add("end", json.dumps([seen, line["errors"]], sort_keys=True))
        elif "raised" in line:
            self.add("raised", line["error"])
        elif "between" in line:
            self.slots, self.op, self.step = [], "between", -1
            self.add("between", "")
        elif "findings" in line:
            self.run.findings = line["findings"]

    def native(self, function: str, arguments: str) -> None:
        self.run.calls += 1

        def handle(match: re.Match[str]) -> str:
            value = int(match[0], 16)
            if value < 0x10000:  # NULL, an algorithm
                return match[0]
            # Objects do not show their value: it is learned where they are first passed.
            slot = self.slots[self.position] if self.position < len(self.slots) else ""
            self.position += 1
            if slot and slot not in self.values:
                self.bind(slot, value)
            if slot and self.values[slot] == value:
                return slot
            name = self.names.get(value, "")
            # A provider calls others while it works; their handles may have any value.
            return name if name in self.slots or self.op == "drop" else "another handle"

        def pointer(match: re.Match[str]) -> str:
            if not int(match[0], 16):
                return "null"
            if not self.own_memory or foreign:
                return "memory"
            return self.pointers.setdefault(match[0], f"memory {len(self.pointers)}")

        self.position = 0
        arguments = _HANDLE.sub(handle, arguments)
        foreign = "another handle" in arguments
        arguments = _POINTER.sub(pointer, arguments)
        arguments = _CONTAINER.sub("container", arguments)
        self.add("native", f"{function}({arguments})")


def read(lines: Iterable[str], *, own_memory: bool = True) -> Run:
    """Read the stderr of one run.

    Args:
        lines: its lines.
        own_memory: whether the memory that is passed to native functions is the program's, which
            it allocates once; a binding may use its stack instead.
    """
    reader = _Reader(own_memory=own_memory)
    for line in lines:
        if line.startswith("client "):
            reader.client(json.loads(line[len("client ") :]))
        elif (match := _NATIVE.match(line.rstrip())) and match[1] not in _INNER:
            reader.native(match[1], match[2])
    return reader.run


@dataclass
class Comparison:
    """How two runs compare.

    Attributes:
        differences: the first difference of each program that has one, in words.
        calls: how many native calls were compared.
        steps: how many steps were compared, each with its results and last errors.
        second_releases: how many second releases of destructors the quarantine took away.
        raised: how many programs the tracer stopped by raising.
    """

    differences: list[str] = field(default_factory=list)
    calls: int = 0
    steps: int = 0
    second_releases: int = 0
    raised: int = 0


def compare(plain: Run, traced: Run, *, quarantine: bool) -> Comparison:
    """Compare every program of two runs, up to the first raise of the tracer.

    Args:
        plain: without the tracer.
        traced: with it.
        quarantine: whether the binding's objects are quarantined.
    """
    result = Comparison()
    if len(plain.programs) != len(traced.programs):
        result.differences.append(f"{len(plain.programs)} programs, {len(traced.programs)} traced")
    for number, (old, new) in enumerate(zip(plain.programs, traced.programs, strict=False)):
        expected, second = _without_second_releases(old, plain.dead[number] if quarantine else ())
        last = _compare_program(number, expected, new, result)
        result.second_releases += sum(step <= last for step in second)
    return result


def _without_second_releases(
    events: list[Event], dead: Collection[str]
) -> tuple[list[Event], list[int]]:
    """Return the events without the second releases, and the steps that had one."""
    kept: list[Event] = []
    gone: list[int] = []
    for event in events:
        second = f"{_RELEASE_OF.get(event.slot[:1], '')}({event.slot}"
        if (
            event.what == "native"
            and event.slot in dead
            and event.text.startswith((second + ")", second + ","))
            and event.step not in gone
        ):
            gone.append(event.step)
        elif event.what == "end" and event.step in gone:
            kept.append(dataclasses.replace(event, text=_ANY))
        else:
            kept.append(event)
    return kept, gone


def _equal(old: Event, new: Event) -> bool:
    return old.what == new.what and old.text in (new.text, _ANY)


def _compare_program(number: int, old: list[Event], new: list[Event], result: Comparison) -> int:
    """Compare one program; return the number of its last step that was compared."""
    last = -1
    for index, event in enumerate(new):
        if event.what == "raised":
            result.raised += 1
            if event.text != "HandleLeak" and new[index - 1].what != "begin":
                result.differences.append(f"program {number}: {event} after the native call")
            break
        if event.what == "between":
            if index < len(old) and old[index].what != "between":
                result.differences.append(f"program {number}: ends early, at {old[index]}")
            break
        if index >= len(old) or not _equal(old[index], event):
            was = old[index] if index < len(old) else None
            result.differences.append(f"program {number}: {was}\n  traced: {event}")
            break
        result.calls += event.what == "native"
        result.steps += event.what == "end"
        last = event.step if event.what == "end" else last
    return last
