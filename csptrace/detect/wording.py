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
from csptrace.model import COLLECTION, Code, Moment, Severity, value_text
from csptrace.terminal import Span, escape, render

if TYPE_CHECKING:
    from collections.abc import Iterable

    from csptrace.detect.ownership import Ownership
    from csptrace.model import Finding, Frame, Handle, HandleRef
    from csptrace.specs.vocabulary import Kind
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
    """One moment, ready to be shown: a title and its frames, innermost first."""

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
        fingerprint: for a baseline.
    """

    headline: str
    story: str
    cause: str
    places: tuple[Place, ...]
    hints: tuple[str, ...]
    remedy: str
    fingerprint: str


def explain(
    finding: Finding, ownership: Ownership, *, redact: bool = False, frames: int = _MOST_FRAMES
) -> Explanation:
    """Put a finding into words.

    Args:
        finding: the finding.
        ownership: tells user code from library code.
        redact: leave out the names of key containers, and the source lines that may quote them.
        frames: how many frames of each stack are shown.

    Returns:
        The explanation.
    """
    places = []
    if finding.acquired is not None:
        whose = "found" if finding.found else "acquired"
        places.append(_place(whose, finding.acquired, ownership, redact=redact, most=frames))
    if finding.ended is not None and not _is_stillborn(finding.code, finding.ended):
        whose = "released"
        if finding.culprit is not None:
            whose = f"{finding.culprit.title} released"
        elif finding.code is Code.LOST:
            whose = "collected"
        elif finding.code in _INVALIDATED:
            whose = "invalidated"
        places.append(_place(whose, finding.ended, ownership, redact=redact, most=frames))
    if finding.last_use is not None:
        verb = "in use" if finding.code is Code.RELEASE_WHILE_IN_USE else "last used"
        places.append(_place(verb, finding.last_use, ownership, redact=redact, most=frames))
    if finding.misused is not None:
        verb = "refused" if finding.code is Code.FAILED_RELEASE else "misused"
        places.append(_place(verb, finding.misused, ownership, redact=redact, most=frames))
    return Explanation(
        f"{finding.code.value}: {_name(finding.handle, redact=redact)}",
        _story(finding),
        "" if finding.cause is None else escape(finding.cause.words),
        tuple(places),
        tuple(_hints(finding)),
        escape(finding.remedy),
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
    lines.append(Span(f"  fingerprint: {explanation.fingerprint}", "aside"))
    return lines


def as_text(explanation: Explanation) -> str:
    """Write an explanation down as plain, escaped lines, without an end of the last.

    Args:
        explanation: the finding in words.
    """
    return str(render(as_lines(explanation))).removesuffix("\n")


def summary(findings: Iterable[Finding], ownership: Ownership, *, redact: bool = False) -> str:
    """Name several leaks in one message, for `HandleLeak` and warnings.

    Args:
        findings: the findings.
        ownership: tells user code from library code.
        redact: leave out the names of key containers, and the source lines that may quote them.

    Returns:
        A head line with the number of handles, and the text of each finding.
    """
    findings = list(findings)
    texts = [as_text(explain(finding, ownership, redact=redact)) for finding in findings]
    if len(texts) == 1:
        return texts[0]
    count = sum(finding.times for finding in findings)
    return "\n".join((f"{count} handles were leaked", *texts))


def unheld(handle: Handle, moment: Moment, ownership: Ownership) -> str:
    """Say that a handle which had been reported as held too long was released after all.

    Args:
        handle: the handle.
        moment: its release.
        ownership: tells user code from library code.

    Returns:
        One line.
    """
    begin = handle.acquired
    age = f" after {_seconds(moment.time - begin.time)}" if begin is not None else ""
    frame = ownership.first(moment.stack)
    there = f" at {_position(frame)}" if frame is not None else ""
    return (
        f"unheld: {handle.kind.name} {value_text(handle.value)}, which was held too long, was "
        f"released by {moment.site.call}{there}{age}"
    )


def remedy(
    code: Code,
    kind: Kind,
    culprit: Handle | None,
    reused_by: Handle | None,
    ended: Moment | None,
    ownership: Ownership,
) -> str:
    """Say what to do about a finding.

    Args:
        code: the finding code.
        kind: the handle's kind.
        culprit: the handle whose end made it wrong, if any.
        reused_by: the live handle that has the same value now, if any.
        ended: where the handle, or the culprit, was released.
        ownership: tells user code from library code.

    Returns:
        One or two sentences.
    """
    release = kind.release or "its release function"
    over = (culprit.kind.release if culprit is not None else "") or "the parent's release"
    there, gone = "", release
    if ended is not None:
        call = ended.site.call or over
        over = gone = "the end of the with" if call in ("__exit__", "__aexit__") else call
        frame = ownership.first(ended.stack)
        there = f" at {_position(frame)}" if frame is not None else ""
    match code:
        case Code.LEAKED_AT_RELEASE:
            return (
                f"call {release} before {over}{there}, also when an exception is raised in "
                "between (try/finally or a context manager)"
            )
        case Code.LEAKED_AT_EXIT:
            return f"call {release} when the handle is no longer needed (try/finally)"
        case Code.LOST if ended is not None and _is_stillborn(code, ended):
            return (
                f"{ended.site.call} failed{there} and gave out nothing to release: "
                f"{_ends_all(kind)} frees it; see that the call does not fail there"
            )
        case Code.LOST:
            return (
                f"call {release} yourself; do not leave it to garbage collection, whose order is "
                "not yours"
            )
        case Code.USE_AFTER_RELEASE:
            return f"do not use the handle after {gone}{there}; acquire a new one, or release later"
        case Code.USE_AFTER_INVALIDATION | Code.OUT_OF_ORDER_RELEASE if culprit is None:
            return f"use it before {gone}{there}, or look it up anew afterwards"
        case Code.USE_AFTER_INVALIDATION:
            return (
                f"use it before {over}{there}, or keep the context open for as long as it is needed"
            )
        case Code.DOUBLE_RELEASE:
            text = f"remove one of the two releases; the first is{there or ' shown above'}"
            if reused_by is not None:
                text += (
                    f". If the newer {reused_by.kind.title} with this value was meant, release it "
                    f"with {reused_by.kind.release or 'its own function'}"
                )
            return text
        case Code.WRONG_RELEASE:
            return f"release it with {release}"
        case Code.OUT_OF_ORDER_RELEASE:
            return f"move {release} in front of {over}{there}"
        case Code.STALE_DEPENDENCY:
            needed = culprit.kind.title if culprit is not None else "handle it depends on"
            return f"keep the {needed} until this {kind.title} is finished"
        case Code.HELD_TOO_LONG:
            return (
                f"call {release} as soon as the handle is not needed, or set held_too_long higher "
                "if it is meant to live this long"
            )
        case Code.RELEASE_WHILE_IN_USE:
            return f"wait for the other thread (join it) before {release}"
        case Code.FAILED_RELEASE:
            return f"check the result of {release} and why the provider refused"


# --- parts ------------------------------------------------------------------------------------


_INVALIDATED: Final = (Code.USE_AFTER_INVALIDATION, Code.OUT_OF_ORDER_RELEASE)
"""The codes of handles that nobody has released, if no other handle's release was it."""


def _is_stillborn(code: Code, ended: Moment) -> bool:
    """Return whether the call that acquired a handle failed, and gave it to nobody."""
    return code is Code.LOST and ended.site.call != COLLECTION


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
    call = finding.misused.site.call if finding.misused is not None else ""
    over = f"{culprit.kind} {value_text(culprit.value)}" if culprit is not None else "its parent"
    match finding.code:
        case Code.LEAKED_AT_RELEASE:
            return (
                f"It was still alive when {over} was released. It is invalid now and nothing can "
                "free it any more."
            )
        case Code.LEAKED_AT_EXIT:
            what = f"scope {finding.scope!r}" if finding.scope else "the program"
            return f"It was still alive when {what} ended."
        case Code.LOST if finding.ended is not None and _is_stillborn(finding.code, finding.ended):
            call = finding.ended.site.call
            return f"{call} acquired it and then failed, so that nobody has got it."
        case Code.LOST:
            text = "The last Python reference to it went away before it was released"
            if finding.severity is Severity.INFO:
                return f"{text}; its destructor released it."
            return f"{text}."
        case Code.USE_AFTER_RELEASE:
            return f"{call} was called with it after it had been released."
        case Code.USE_AFTER_INVALIDATION | Code.OUT_OF_ORDER_RELEASE if culprit is None:
            by = finding.ended.site.call if finding.ended is not None else "a call"
            return f"{call} was called with it, but {by} had made it invalid."
        case Code.USE_AFTER_INVALIDATION:
            return f"{call} was called with it, but the release of {over} had made it invalid."
        case Code.DOUBLE_RELEASE:
            return f"{call} was called with it, but it had been released already."
        case Code.WRONG_RELEASE:
            return (
                f"{call} was called with it, which does not release {_article(handle.title)} "
                f"{handle.title}."
            )
        case Code.OUT_OF_ORDER_RELEASE:
            return (
                f"{call} was called only after {over} had been released; it frees nothing any "
                "more, and the handle stays leaked."
            )
        case Code.STALE_DEPENDENCY:
            return f"{call} was called with it, but {over}, which it depends on, is gone."
        case Code.HELD_TOO_LONG:
            return f"It has been alive for {_seconds(finding.age)} and was not released yet."
        case Code.RELEASE_WHILE_IN_USE:
            other = finding.last_use
            where = f" in {other.site.call}" if other is not None else ""
            return (
                f"{call} was called while another thread was{where}, which uses it or something "
                f"under it; the {finding.handle.title} would be taken away from under that call."
            )
        case Code.FAILED_RELEASE:
            return f"{call} failed, and the handle stays alive."


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
    siblings = finding.siblings
    if siblings is not None and siblings.released:
        text = f"{siblings.released} of {siblings.acquired} handles acquired there were released"
        if siblings.where is not None:
            most = "" if siblings.where_count == siblings.released else "most "
            text += f", {most}at {_position(siblings.where)}"
        if finding.cause is not None and siblings.alike + siblings.released == siblings.acquired:
            text += "; every other exit released"
        yield text
    elif siblings is not None:
        yield f"none of the {siblings.acquired} handles acquired there was released so far"
    if finding.harm:
        yield f"cost: {finding.harm}"
    if finding.inherited:
        yield "it was acquired by the parent process, before a fork"


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


def _place(verb: str, moment: Moment, ownership: Ownership, *, redact: bool, most: int) -> Place:
    frames = ownership.shown(moment.stack)
    first = ownership.first(moment.stack)
    start = frames.index(first) if first is not None and first in frames else 0
    kept = frames[start : start + most]
    lines = tuple(
        Line(
            f"{_position(frame)} in {escape(frame.qualname)}",
            _source(frame) if index == 0 and not redact else "",
            index == 0,
        )
        for index, frame in enumerate(kept)
    )
    title = f"{verb} by {moment.site.call}"
    if moment.thread.name != "MainThread":
        title += f" in thread {escape(moment.thread.name)}"
    if moment.task:
        title += f" in task {escape(moment.task)}"
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
