"""Findings in words a tired person understands. The one builder of every message.

`explain` says what leaked or was misused, where each thing happened and what to do about it, as a
structure; `as_lines` and `as_text` write it down. Everything that comes from the program is
escaped.
"""

from __future__ import annotations

import linecache
import os
from typing import TYPE_CHECKING, Final, NamedTuple

from csptrace import quoting
from csptrace.findings.catalogue import Code, Severity, Variant, guide, siblings
from csptrace.graph.sites import COLLECTION, FORK
from csptrace.graph.states import value_text
from csptrace.terminal import Span, escape, render

if TYPE_CHECKING:
    from collections.abc import Iterable

    from csptrace.findings.finding import Finding, HandleRef, Occurrence, Siblings
    from csptrace.graph.handle import Handle
    from csptrace.spec.kinds import Kind
    from csptrace.stacks.frames import Frame
    from csptrace.terminal import Line as Shown

__all__ = [
    "Explanation",
    "Line",
    "Place",
    "as_lines",
    "as_text",
    "explain",
    "remedy",
    "summary",
    "unheld",
]

_MOST_FRAMES = 4
_MOST_QUOTED = 64
_REDACTED = "<redacted>"


class Line(NamedTuple):
    """One frame, ready to be shown.

    Attributes:
        where: `file:line in function`.
        source: the source line, empty if it is not shown or not known.
        marked: whether it is the first frame of the user's own code.
    """

    where: str
    source: str
    marked: bool


class Place(NamedTuple):
    """One call, ready to be shown: a title and its frames, innermost first."""

    title: str
    lines: tuple[Line, ...]
    more: int


class Explanation(NamedTuple):
    """A finding, ready to be shown.

    Attributes:
        headline: code and handle.
        story: what happened, in a sentence or two.
        cause: why it was not released, empty if that is not known.
        places: the stacks, in the order of time.
        hints: what else is known.
        remedy: what to do.
        more: the command that shows the page about it.
        fingerprint: for a baseline.
    """

    headline: str
    story: str
    cause: str
    places: tuple[Place, ...]
    hints: tuple[str, ...]
    remedy: str
    more: str
    fingerprint: str


def explain(finding: Finding, *, redact: bool = False, frames: int = _MOST_FRAMES) -> Explanation:
    """Put a finding into words.

    Args:
        finding: the finding.
        redact: leave out the names of key containers, and the source lines that may quote them.
        frames: how many frames of each stack are shown.

    Returns:
        The explanation.
    """
    places = []
    if finding.acquired is not None:
        whose = "found" if finding.found else "acquired"
        places.append(_place(whose, finding.acquired, redact=redact, most=frames))
    lost = _lost(finding.code, finding.acquired, finding.ended)
    if finding.ended is not None and lost is not Variant.STILLBORN:
        whose = "released"
        if finding.culprit is not None:
            whose = f"{finding.culprit.title} released"
        elif finding.code is Code.LOST:
            whose = "collected" if lost is None else "ended"
        elif finding.code in _INVALIDATED:
            whose = "invalidated"
        places.append(_place(whose, finding.ended, redact=redact, most=frames))
    if finding.last_use is not None:
        verb = "in use" if finding.code is Code.RELEASE_WHILE_IN_USE else "last used"
        places.append(_place(verb, finding.last_use, redact=redact, most=frames))
    if finding.misused is not None:
        verb = "refused" if finding.code is Code.FAILED_RELEASE else "misused"
        places.append(_place(verb, finding.misused, redact=redact, most=frames))
    return Explanation(
        f"{finding.code.value}: {_name(finding.handle, redact=redact)}",
        _story(finding),
        "" if finding.cause is None else escape(finding.cause.words),
        tuple(places),
        tuple(_hints(finding)),
        escape(finding.remedy),
        guide(finding.code),
        finding.fingerprint,
    )


def as_lines(explanation: Explanation, headline: str = "headline") -> list[Shown]:
    """Write an explanation down as lines for `csptrace.terminal`.

    Args:
        explanation: the finding in words.
        headline: the tone of the first line.
    """
    lines: list[Shown] = [Span(explanation.headline, headline), f"  {explanation.story}"]
    if explanation.cause:
        lines.append(Span(f"  why: {explanation.cause}", "cause"))
    for place in explanation.places:
        lines.append(("  ", Span(place.title, "place")))
        for line in place.lines:
            text = f"    {'>' if line.marked else ' '} {line.where}"
            lines.append(Span(text, "mark" if line.marked else ""))
            if line.source:
                lines.append(("        ", Span(line.source, "source")))
        if place.more:
            plural = "s" if place.more > 1 else ""
            lines.append(Span(f"      … {place.more} more frame{plural}", "aside"))
    lines.extend(f"  {hint}" for hint in explanation.hints)
    lines.append(Span(f"  fix: {explanation.remedy}", "remedy"))
    lines.append(Span(f"  more: {explanation.more}", "aside"))
    lines.append(Span(f"  fingerprint: {explanation.fingerprint}", "aside"))
    return lines


def as_text(explanation: Explanation) -> str:
    """Write an explanation down as plain, escaped lines, without an end of the last.

    Args:
        explanation: the finding in words.
    """
    return str(render(as_lines(explanation))).removesuffix("\n")


def summary(findings: Iterable[Finding], *, redact: bool = False) -> str:
    """Name several leaks in one message, for `HandleLeak` and warnings.

    Args:
        findings: the findings.
        redact: leave out the names of key containers, and the source lines that may quote them.

    Returns:
        A head line with the number of handles, and the text of each finding.
    """
    findings = list(findings)
    texts = [as_text(explain(finding, redact=redact)) for finding in findings]
    if len(texts) == 1:
        return texts[0]
    count = sum(finding.times for finding in findings)
    return "\n".join((f"{count} handles were leaked", *texts))


def unheld(handle: HandleRef, call_record: Occurrence) -> str:
    """Say that a handle which had been reported as held too long was released after all.

    Args:
        handle: the handle.
        call_record: its release.

    Returns:
        One line.
    """
    begin = handle.acquired
    age = f" after {_seconds(call_record.time - begin.time)}" if begin is not None else ""
    return (
        f"unheld: {handle.kind} {value_text(handle.value)}, which was held too long, was "
        f"released by {call_record.site.call}{_at(call_record)}{age}"
    )


def remedy(
    code: Code,
    kind: Kind,
    culprit: Handle | None,
    reused_by: Handle | None,
    acquired: Occurrence | None,
    ended: Occurrence | None,
) -> str:
    """Say what to do about a finding.

    Args:
        code: the finding code.
        kind: the handle's kind.
        culprit: the handle whose end made it wrong, if any.
        reused_by: the live handle that has the same value now, if any.
        acquired: where the handle was acquired.
        ended: where the handle, or the culprit, was released.

    Returns:
        One or two sentences.
    """
    release = kind.release or "its release function"
    over = gone = (culprit.kind.release if culprit is not None else "") or "the parent's release"
    if ended is None:
        gone = release
    elif ended.site.call:
        over = gone = ended.site.call
    if gone in ("__exit__", "__aexit__"):
        over = gone = "the end of the with"
    newer = ""
    if reused_by is not None:
        newer = (
            f". If the newer {reused_by.kind.title} with this value was meant, release it with "
            f"{reused_by.kind.release or 'its own function'}"
        )
    there = _at(ended)
    variant = _variant(code, acquired, ended, is_orphan=culprit is None)
    _, template = code.row.variants.get(variant, ("", "")) if variant else ("", "")
    return (template or code.row.remedy).format(
        release=release,
        over_call=over,
        gone=gone,
        there=there,
        there_or_above=there or " shown above",
        newer=newer,
        ended_by="" if ended is None else ended.site.call,
        ends_all=_ends_all(kind),
        needed=culprit.kind.title if culprit is not None else "handle it depends on",
        title=kind.title,
    )


# --- parts ------------------------------------------------------------------------------------


_INVALIDATED: Final = (Code.USE_AFTER_INVALIDATION, Code.OUT_OF_ORDER_RELEASE)
"""The codes of handles that nobody has released, if no other handle's release was it."""


def _variant(
    code: Code,
    acquired: Occurrence | None,
    ended: Occurrence | None,
    *,
    is_orphan: bool,
    is_destroyed: bool = False,
    is_implied: bool = False,
) -> Variant | None:
    """Return which of the stories of a code it is, `None` for the usual one."""
    lost = _lost(code, acquired, ended)
    if lost is not None:
        return lost
    if ended is not None and ended.site.call == FORK:
        return Variant.FORKED
    if is_destroyed:
        return Variant.DESTROYED
    if is_implied:
        return Variant.IMPLIED
    return Variant.PARENTLESS if is_orphan else None


def _at(call_record: Occurrence | None) -> str:
    """Return " at " and the user's place of a call, empty if it is not known."""
    frame = None if call_record is None or call_record.stack is None else call_record.stack.first
    return "" if frame is None else f" at {_position(frame)}"


def _lost(code: Code, acquired: Occurrence | None, ended: Occurrence | None) -> Variant | None:
    """Return how a handle was lost, if not by the end of its object."""
    if code is not Code.LOST or ended is None or ended.site.call == COLLECTION:
        return None
    # The call that has acquired it has failed, and given it to nobody.
    is_stillborn = acquired is not None and acquired.time == ended.time
    return Variant.STILLBORN if is_stillborn else Variant.DETACHED


def _ends_all(kind: Kind) -> str:
    """Return what releases the nearest thing that a kind of handle lives under."""
    above = kind.under
    while above is not None and not above.release:
        above = above.under
    return "the end of the process" if above is None else above.release


def _name(handle: HandleRef, *, redact: bool) -> str:
    text = f"{handle.kind} {value_text(handle.value)}"
    if handle.generation > 1:
        text += f" (#{handle.generation} with this value)"
    if handle.name:
        text += f" {_REDACTED if redact else repr(handle.name)}"
    return f"{text}, {_article(handle.title)} {handle.title}"


def _article(title: str) -> str:
    return "an" if title[:1] in "aeiou" else "a"


def _story(finding: Finding) -> str:
    handle, culprit = finding.handle, finding.culprit
    other = finding.last_use
    variant = _variant(
        finding.code,
        finding.acquired,
        finding.ended,
        is_orphan=culprit is None,
        is_destroyed=finding.severity is Severity.INFO and not finding.implied,
        is_implied=finding.implied,
    )
    template, _ = finding.code.row.variants.get(variant, ("", "")) if variant else ("", "")
    return (template or finding.code.row.story).format(
        call=finding.misused.site.call if finding.misused is not None else "",
        over=f"{culprit.kind} {value_text(culprit.value)}" if culprit is not None else "its parent",
        scope=f"scope {finding.scope!r}" if finding.scope else "the program",
        ended_by=finding.ended.site.call if finding.ended is not None else "a call",
        title=handle.title,
        a_title=f"{_article(handle.title)} {handle.title}",
        age=_seconds(finding.age),
        inside=f" in {other.site.call}" if other is not None else "",
    )


def _hints(finding: Finding) -> Iterable[str]:
    if finding.reused_by is not None:
        reused = finding.reused_by
        yield (
            f"the value belongs to another handle now: {reused.kind} "
            f"#{reused.generation}, {_article(reused.title)} {reused.title}"
        )
    if finding.children:
        yield "under it: " + ", ".join(f"{count} {kind}" for kind, count in finding.children)
    if finding.times > 1:
        yield f"it stands for {finding.times:,} handles from there that were left in the same way"
    others = finding.siblings
    if others is not None and others.released:
        text = _siblings_text(others)
        if finding.cause is not None and others.alike + others.released == others.acquired:
            text += "; every other exit released"
        yield text
    elif others is not None:
        yield _siblings_text(others)
    if finding.harm:
        yield f"cost: {finding.harm}"
    if finding.inherited:
        yield "it was acquired by the parent process, before a fork"


def _siblings_text(of: Siblings) -> str:
    released_at = "" if of.where is None else _position(of.where)
    return siblings(
        of.acquired, of.released, released_at=released_at, released_there=of.where_count
    )


def _seconds(nanoseconds: int) -> str:
    seconds = nanoseconds / 1e9
    return f"{seconds:.1f} seconds" if seconds < 10 else f"{seconds:,.0f} seconds"


_quoted: dict[str, tuple[list[str], tuple[str, ...]]] = {}


def _source(frame: Frame) -> str:
    """Return the line of a frame as it may be quoted, empty if it cannot be had."""
    source = linecache.getlines(frame.filename)
    known = _quoted.get(frame.filename)
    if known is None or known[0] is not source:
        if len(_quoted) >= _MOST_QUOTED:
            _quoted.clear()
        known = _quoted[frame.filename] = source, quoting.lines(source)
    lines = known[1]
    return escape(lines[frame.line - 1].strip()) if 1 <= frame.line <= len(lines) else ""


def _place(verb: str, call_record: Occurrence, *, redact: bool, most: int) -> Place:
    stack = call_record.stack
    frames = stack.frames if stack is not None else ()
    start = stack.own.index(True) if stack is not None and True in stack.own else 0
    kept = frames[start : start + most]
    lines = tuple(
        Line(
            f"{_position(frame)} in {escape(frame.qualname)}",
            _source(frame) if index == 0 and not redact else "",
            index == 0,
        )
        for index, frame in enumerate(kept)
    )
    title = f"{verb} by {call_record.site.call}"
    if call_record.thread.name != "MainThread":
        title += f" in thread {escape(call_record.thread.name)}"
    if call_record.task:
        title += f" in task {escape(call_record.task)}"
    return Place(title, lines, len(frames) - start - len(kept))


def _position(frame: Frame) -> str:
    """Return file and line; the file relative to the working directory if it lies below it."""
    name = frame.filename
    try:
        here = os.path.join(os.getcwd(), "")
    except OSError:  # the working directory is gone
        here = ""
    if here and name.startswith(here):
        name = name.removeprefix(here)
    return f"{escape(name)}:{frame.line}"
