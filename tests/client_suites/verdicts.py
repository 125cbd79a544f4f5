"""What csptrace said about a process, held against what the native calls show."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import event_log
import oracle

if TYPE_CHECKING:
    from event_log import Finding, Said
    from oracle import Handle, History, StaleUse

KINDS = {
    "CK_SESSION_HANDLE": oracle.SESSION,
    "CK_OBJECT_HANDLE": oracle.OBJECT,
    "CRYPTOKI": oracle.LIBRARY,
    "CK_FUNCTION_LIST": oracle.LIBRARY,
    "CK_SLOT_ID": oracle.LIBRARY,
}

CLOCK = 0.001
"""How much too early pkcs11-spy may time a call, in seconds: it cuts off to milliseconds. The
clock is that of the event log, which notes an acquisition after its call and a misuse before."""

SOON = 2.0
"""Seconds within which the native call of a misuse that was let through follows its finding."""


@dataclasses.dataclass
class Verdict:
    """How many findings are right, and which are not.

    `false` are findings that the oracle refutes, `missed` what the oracle has and nobody told,
    `unjudged` findings about which the native calls say nothing.
    """

    leaks: int = 0
    left: int = 0
    misuses: int = 0
    false: list[str] = dataclasses.field(default_factory=list)
    missed: list[str] = dataclasses.field(default_factory=list)
    unjudged: list[str] = dataclasses.field(default_factory=list)

    def add(self, other: Verdict) -> None:
        """Add another process's."""
        self.leaks += other.leaks
        self.left += other.left
        self.misuses += other.misuses
        self.false += other.false
        self.missed += other.missed
        self.unjudged += other.unjudged


def judge(history: History, said: Said, *, raising: bool = False) -> Verdict:
    """Judge all that csptrace said about one process.

    Args:
        history: from the native calls of the same run.
        said: the findings.
        raising: whether misuses were stopped before their native call, which then says nothing;
            what is missing among the misuses is judged only where it was not.
    """
    verdict = Verdict()
    _judge_leaks(history, said, verdict)
    _judge_misuses(history, said, verdict, raising=raising)
    return verdict


# --- leaks ----------------------------------------------------------------------------------------


def _judge_leaks(history: History, said: Said, verdict: Verdict) -> None:
    sessions, objects = history.leaked_sessions(), history.left_objects()
    unreleased = {id(each): each for each in (*sessions, *objects)}
    told: set[int] = set()
    unnamed: list[Finding] = []
    for finding in said.findings:
        if finding.code not in event_log.LEAKS or finding.withdrawn:
            continue
        if finding.kind not in ("CK_SESSION_HANDLE", "CK_OBJECT_HANDLE"):
            verdict.unjudged.append(_told(finding))
            continue
        handle = _leaked(history, finding)
        if handle is None:
            unnamed.append(finding)
        elif id(handle) in unreleased:
            told.add(id(handle))
            unnamed += [finding] * (finding.times - 1)
        elif handle.token is None and not handle.found:
            verdict.unjudged.append(_told(finding))
        else:
            verdict.false.append(f"{_told(finding)}: {_fate(handle)}")
    untold = [each for key, each in unreleased.items() if key not in told]
    for finding in unnamed:
        # A handle that csptrace saw only as lost, or one of the many that a finding stands for.
        match = next(
            (
                each
                for each in untold
                if each.kind == KINDS[finding.kind] and each.began <= finding.at
            ),
            None,
        )
        if match is None:
            verdict.false.append(f"{_told(finding)}: there is no such handle")
        else:
            untold.remove(match)
    if said.ended:
        verdict.missed += [f"leak of {_fate(each)}" for each in untold]
    else:
        # Killed, or left by os._exit: what was alive then nobody could tell.
        verdict.missed += [f"leak of {_fate(each)}" for each in untold if each.ended]
    verdict.leaks = len([each for each in sessions if each not in untold])
    verdict.left = len([each for each in objects if each not in untold])


def _leaked(history: History, finding: Finding) -> Handle | None:
    """Return the handle that a leak is about; None if the finding does not name it."""
    if finding.value <= 0 or not finding.acquired:
        return None
    return next(
        (
            each
            for each in reversed(history.handles)
            if each.kind == KINDS[finding.kind]
            and each.value == finding.value
            and not each.found
            and each.began <= finding.acquired
        ),
        None,
    )


# --- misuses --------------------------------------------------------------------------------------


def _judge_misuses(history: History, said: Said, verdict: Verdict, *, raising: bool) -> None:
    told = [each for each in said.findings if each.code in event_log.MISUSES]
    for finding in told:
        right = _is_dead(history, finding, raising=raising)
        if right is None:
            verdict.unjudged.append(_told(finding))
        elif right:
            verdict.misuses += 1
        else:
            verdict.false.append(f"{_told(finding)}: it was valid")
    if not raising:
        verdict.missed += [
            f"{use.call.name} refused {use.kind} {use.value:#x} with {use.call.result}"
            for use in history.stale
            if not any(_concerns(finding, use) for finding in told)
        ]


def _is_dead(history: History, finding: Finding, *, raising: bool) -> bool | None:
    """Return whether a misuse is one; None if neither the provider nor the trace says so.

    What the provider answered to the call is the first witness, the model of lives the second.
    """
    kind = KINDS.get(finding.kind)
    if kind is None or finding.value < 0:
        return None
    answer = None if raising else _answer(history, kind, finding)
    if answer is not None:
        return answer == "refused"
    alive = history.alive(kind, finding.value, finding.at)
    return None if alive is None else not alive


def _answer(history: History, kind: str, finding: Finding) -> str | None:
    """Return what the provider said to the call that a misuse is about, None if there is none."""
    for call in history.calls:
        if not finding.at - CLOCK <= call.at < finding.at + SOON:
            continue
        if call.result in oracle.REFUSED[kind] and (
            kind == oracle.LIBRARY or (kind, finding.value) in oracle.handles_of(call)
        ):
            return "refused"
        if call.ok and call.at > finding.at and (kind, finding.value) in oracle.handles_of(call):
            return "accepted"
    return None


def _concerns(finding: Finding, use: StaleUse) -> bool:
    """Return whether a misuse tells of a stale use: of one of the call's handles, just before."""
    if not finding.at - CLOCK <= use.call.at < finding.at + SOON:
        return False
    kind = KINDS.get(finding.kind)
    return use.kind == oracle.LIBRARY or (kind, finding.value) in oracle.handles_of(use.call)


# --- words ----------------------------------------------------------------------------------------


def _told(finding: Finding) -> str:
    by = f" by {finding.by}" if finding.by else ""
    return f"{finding.code} {finding.kind} {finding.value:#x}{by} at {finding.at:.3f}"


def _fate(handle: Handle) -> str:
    life = "found" if handle.found else "stored on the token" if handle.token else "made"
    ended = f"{handle.ended} at {handle.ended_at:.3f}" if handle.ended else "never ended"
    return f"{handle.kind} {handle.value:#x}, {life} at {handle.began:.3f}, {ended}"
