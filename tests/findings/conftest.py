"""A bench on which stories about handles are told without any provider."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from csptrace.findings.judgement import findings_of
from csptrace.findings.misuse import Misused
from csptrace.graph.graph import Graph
from csptrace.graph.handle import CallRecord
from csptrace.graph.sites import COLLECTION, CallSite, Thread
from csptrace.stacks.capture import StackTable
from csptrace.stacks.ownership import Ownership

if TYPE_CHECKING:
    from types import FrameType

    from csptrace.findings.catalogue import Code
    from csptrace.findings.finding import Finding
    from csptrace.graph.handle import Handle, Scope
    from csptrace.spec.kinds import Kind

CREATORS = {
    "HCRYPTPROV": "CryptAcquireContextW",
    "HCRYPTKEY": "CryptGenKey",
    "HCRYPTHASH": "CryptCreateHash",
}


class Bench:
    """A graph, a stack table and the judge; each method is a call of the test's own code."""

    def __init__(self) -> None:
        self.graph = Graph()
        self.stacks = StackTable(16)
        self.ownership = Ownership()
        self.thread = Thread(1, "MainThread")
        self.task = ""
        self.scope: Scope | None = None

    def call_record(self, call: str, frame: FrameType | None, time: int = 0) -> CallRecord:
        """Return the record of a call at which `frame` calls `call`."""
        site = CallSite(call, "cryptoapi", "ctypes")
        return CallRecord(
            site, self.stacks.capture(frame), self.thread, self.task, time, self.scope
        )

    def acquire(
        self, kind: Kind, value: int, parent: Handle | None = None, *needs: Handle, name: str = ""
    ) -> Handle:
        """Acquire a handle where the caller stands."""
        call_record = self.call_record(CREATORS[kind.name], sys._getframe(1))
        if call_record.stack is not None:
            call_record.stack.acquired += 1
        return self.graph.acquire(kind, value, parent, needs, call_record, name)[0]

    def release(self, handle: Handle, *, released: bool = True) -> list[Finding]:
        """Release a handle, or be refused; return what is wrong with that."""
        call_record = self.call_record(handle.kind.release, sys._getframe(1))
        assert self.graph.begin_release(handle)
        changes = self.graph.settle_release(handle, call_record, released=released)
        return [finding for change in changes for finding in self.judge(change)]

    def collect(self, handle: Handle, *, released: bool) -> list[Finding]:
        """Let the object of a handle be collected; return what is wrong with that."""
        changes = self.graph.collect(handle, self.call_record(COLLECTION, None), released=released)
        return [finding for change in changes for finding in self.judge(change)]

    def misuse(
        self,
        handle: Handle,
        code: Code,
        call: str,
        culprit: Handle | None = None,
        reused_by: Handle | None = None,
    ) -> Finding:
        """Call something that must not be called now."""
        call_record = self.call_record(call, sys._getframe(1))
        (finding,) = self.judge(Misused(handle, call_record, code, culprit, reused_by))
        return finding

    def judge(self, change: object) -> list[Finding]:
        """Judge a change."""
        return findings_of(change, self.ownership.resolve, self.graph.epoch)  # type: ignore[arg-type]


@pytest.fixture
def bench() -> Bench:
    """Return a bench with an empty graph."""
    return Bench()
