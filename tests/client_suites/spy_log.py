"""The log of pkcs11-spy as a sequence of native calls."""

from __future__ import annotations

import dataclasses
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_HEAD = re.compile(r"(\d+): (C_\w+)$")
_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}$")
_NUMBER = re.compile(r"\[(in|out)\] \*?(\w+) = (0x[0-9a-f]+)$")
_TEMPLATE = re.compile(r"\[(in|out)\] (\w*Template)\[\d+\]: ?$")
_ATTRIBUTE = re.compile(r"    (CKA_\S+(?: \(0x[0-9a-f]+\))?)\s+(.*?)\s*$")
_BUFFER = re.compile(r"\[out\] (\w+)\[.*\] (NULL|[0-9a-f]{16})\b")
_FOUND = re.compile(r"Object (0x[0-9a-f]+) matches$")
_RETURNED = re.compile(r"Returned:\s+\d+ (\S+)")


@dataclasses.dataclass
class Call:
    """One call.

    `result` is the name of the return code, empty if the call never returned. `overlapped` says
    that other calls were under way in other threads, so that the log, which names no threads,
    may have mixed up their lines.
    """

    number: int
    name: str
    at: float = 0.0
    numbers: dict[str, int] = dataclasses.field(default_factory=dict)
    templates: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict)
    buffers: dict[str, bool] = dataclasses.field(default_factory=dict)
    mechanism: bool = False
    found: list[int] = dataclasses.field(default_factory=list)
    result: str = ""
    overlapped: bool = False

    @property
    def ok(self) -> bool:
        """Whether it succeeded."""
        return self.result == "CKR_OK"


def read(path: Path) -> list[Call]:
    """Return the calls in a log file; dumps of data, most of a log, are passed over."""
    with path.open("rb") as log:
        kept = (
            line.decode("ascii", "replace").rstrip("\n")
            for line in log
            if line[:4] != b"    " or line[4:8] == b"CKA_"
        )
        return parse(kept)


def parse(lines: Iterable[str]) -> list[Call]:
    """Return the calls in the lines of a log, in the order in which they were entered.

    Args:
        lines: without their ends. Lines between a call's head and its `Returned` are its own;
            where calls of several threads overlap, an argument is taken for the latest
            call's, and a result for the earliest's that can have it.
    """
    calls: list[Call] = []
    pending: list[Call] = []
    template: dict[str, str] | None = None
    answering: Call | None = None
    for line in lines:
        if head := _HEAD.match(line):
            calls.append(Call(int(head[1]), head[2], overlapped=bool(pending)))
            for each in pending:
                each.overlapped = True
            pending.append(calls[-1])
            template = answering = None
        elif not pending:
            continue
        elif attribute := _ATTRIBUTE.match(line):
            if template is not None:
                template[attribute[1]] = attribute[2]
        elif returned := _RETURNED.match(line):
            done = _returning(pending, answering, returned[1])
            done.result = returned[1]
            pending.remove(done)
            template = answering = None
        elif begun := _TEMPLATE.match(line):
            template = pending[-1].templates.setdefault(f"{begun[1]} {begun[2]}", {})
        elif number := _NUMBER.match(line):
            owner = _answering(pending, number[2]) if number[1] == "out" else pending[-1]
            owner.numbers[number[2]] = int(number[3], 16)
            answering = owner if number[1] == "out" else answering
        elif buffer := _BUFFER.match(line):
            pending[-1].buffers[buffer[1]] = buffer[2] != "NULL"
        elif found := _FOUND.match(line):
            _answering(pending, "ulObjectCount").found.append(int(found[1], 16))
        elif line.startswith("[in] pMechanism->type"):
            pending[-1].mechanism = True
        elif _TIME.match(line) and not pending[-1].at:
            pending[-1].at = datetime.fromisoformat(line).replace(tzinfo=UTC).timestamp()
    return calls


_RESULTS = {
    "C_OpenSession": {"phSession"},
    "C_CreateObject": {"phObject"},
    "C_CopyObject": {"phNewObject"},
    "C_GenerateKey": {"hKey", "phKey"},
    "C_GenerateKeyPair": {"hPublicKey", "hPrivateKey", "phPublicKey", "phPrivateKey"},
    "C_UnwrapKey": {"hKey", "phKey"},
    "C_DeriveKey": {"hKey", "phKey"},
    "C_FindObjects": {"ulObjectCount"},
}


def _answering(pending: list[Call], name: str) -> Call:
    """Return the call under way that has a result of this name; the latest if none has."""
    return next((each for each in pending if name in _RESULTS.get(each.name, ())), pending[-1])


def _returning(pending: list[Call], answering: Call | None, result: str) -> Call:
    """Return the call under way that has just returned.

    It is the one whose results were the last lines; otherwise the latest that can have succeeded
    without results.
    """
    if answering in pending:
        return answering
    for each in reversed(pending):
        if result != "CKR_OK" or not _RESULTS.get(each.name, set()) - {"ulObjectCount"}:
            return each
    return pending[-1]
