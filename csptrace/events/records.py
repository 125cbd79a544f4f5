"""From changes and findings to events: the allow-list in code form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from csptrace.graph.states import value_text

if TYPE_CHECKING:
    from csptrace.findings.finding import Cause, Finding
    from csptrace.findings.limits import Peak
    from csptrace.graph.handle import CallRecord, Handle
    from csptrace.stacks.frames import Frame
    from csptrace.stacks.resolved import ResolvedStack
    from csptrace.stacks.stack import Stack

__all__ = [
    "acquired",
    "finding_event",
    "invalidated",
    "peak_event",
    "released",
    "stack_event",
    "unheld",
]


def acquired(handle: Handle, call_record: CallRecord, live: int, *, redact: bool) -> dict[str, Any]:
    """Return the fields of `csptrace.handle_acquired`.

    Args:
        handle: the new handle.
        call_record: the call.
        live: how many handles are alive now.
        redact: replace the container's name.

    Returns:
        The fields.
    """
    fields = _where(call_record)
    fields.update(_handle(handle))
    fields["stack"] = _number(call_record.stack)
    fields["live"] = live
    parent = handle.parent
    while parent is not None and parent.kind.given:
        parent = parent.parent  # nobody has acquired it, so no event is about it
    if parent is not None:
        fields["parent"] = parent.hid
    if handle.needs:
        fields["needs"] = [need.hid for need in handle.needs]
    if handle.name:
        fields["name"] = "<redacted>" if redact else handle.name
    return fields


def released(handle: Handle, call_record: CallRecord, live: int, how: str) -> dict[str, Any]:
    """Return the fields of `csptrace.handle_released`.

    Args:
        handle: the handle.
        call_record: the call.
        live: how many handles are alive now.
        how: see the schema.

    Returns:
        The fields.
    """
    fields = _where(call_record)
    fields.update(_handle(handle))
    begin = handle.acquired
    fields["stack"] = _number(begin.stack) if begin is not None else 0
    fields["release_stack"] = _number(call_record.stack)
    fields["age_ns"] = call_record.time - begin.time if begin is not None else -1
    fields["live"] = live
    fields["how"] = how
    fields["uses"] = handle.uses
    return fields


def invalidated(handle: Handle, by: Handle, call_record: CallRecord, live: int) -> dict[str, Any]:
    """Return the fields of `csptrace.handle_invalidated`.

    Args:
        handle: the handle.
        by: the handle whose release did it.
        call_record: that release.
        live: how many handles are alive now.

    Returns:
        The fields.
    """
    begin = handle.acquired
    return {
        **_handle(handle),
        "stack": _number(begin.stack) if begin is not None else 0,
        "age_ns": call_record.time - begin.time if begin is not None else -1,
        "by": by.hid,
        "live": live,
        "uses": handle.uses,
    }


def stack_event(stack: ResolvedStack) -> dict[str, Any]:
    """Return the fields of `csptrace.stack`.

    Args:
        stack: the stack.

    Returns:
        The fields; the tracer's own frames are left out.
    """
    return {
        "stack": stack.number,
        "frames": [
            [frame.filename, frame.line, frame.qualname, frame.module, own]
            for frame, own in zip(stack.frames, stack.own, strict=True)
        ],
    }


def peak_event(peak: Peak) -> dict[str, Any]:
    """Return the fields of `csptrace.peak_reached`.

    Args:
        peak: the most handles of one kind under one parent.

    Returns:
        The fields.
    """
    fields = peak._asdict()
    fields["value"] = value_text(peak.value)
    return fields


def finding_event(finding: Finding, *, redact: bool) -> dict[str, Any]:
    """Return the fields of `csptrace.finding`.

    Args:
        finding: the finding.
        redact: replace the container's name.

    Returns:
        The fields.
    """
    handle, call_record = finding.handle, finding.call_record
    fields: dict[str, Any] = {
        "code": finding.code.value,
        "severity": finding.severity.value,
        "api": finding.api,
        "binding": call_record.site.binding if call_record is not None else "",
        "hid": handle.hid,
        "kind": handle.kind,
        "value": value_text(handle.value),
        "gen": handle.generation,
        "fingerprint": finding.fingerprint,
        "tid": call_record.thread.ident if call_record is not None else 0,
        "thread": call_record.thread.name if call_record is not None else "",
        "age_ns": finding.age,
        "uses": finding.uses,
        "inherited": finding.inherited,
        "remedy": finding.remedy,
    }
    if call_record is not None and call_record.task:
        fields["task"] = call_record.task
    if finding.scope:
        fields["scope"] = finding.scope
    if finding.times > 1:
        fields["times"] = finding.times
    if finding.found:
        fields["found"] = True
    if handle.name:
        fields["name"] = "<redacted>" if redact else handle.name
    if finding.parents:
        fields["parents"] = [parent.hid for parent in finding.parents]
    if finding.children:
        fields["children"] = dict(finding.children)
    for role, what in (
        ("acquired", finding.acquired),
        ("ended", finding.ended),
        ("misused", finding.misused),
        ("last_use", finding.last_use),
    ):
        if what is not None:
            fields[f"{role}_by"] = what.site.call
        if what is not None or role != "last_use":
            fields[f"{role}_stack"] = _number(what.stack) if what is not None else 0
    if finding.culprit is not None:
        fields["culprit"] = finding.culprit.hid
        fields["culprit_kind"] = finding.culprit.kind
    if finding.reused_by is not None:
        fields["reused_by"] = finding.reused_by.hid
        fields["reused_kind"] = finding.reused_by.kind
    about = finding.about
    first = about.stack.first if about is not None and about.stack is not None else None
    if first is not None:
        fields.update(_place("where", first))
        fields["where"] = f"{first.filename}:{first.line}"
    if finding.cause is not None:
        fields.update(_cause(finding.cause))
    if finding.harm:
        fields["harm"] = finding.harm
    siblings = finding.siblings
    if siblings is not None:
        fields["siblings_alike"] = siblings.alike
        fields["siblings_acquired"] = siblings.acquired
        fields["siblings_released"] = siblings.released
        if siblings.where is not None:
            fields.update(_place("siblings_where", siblings.where))
            fields["siblings_where_count"] = siblings.where_count
    return fields


def unheld(handle: Handle, call_record: CallRecord, live: int) -> dict[str, Any]:
    """Return the fields of `csptrace.handle_unheld`.

    Args:
        handle: the handle that had been reported as held too long.
        call_record: its release.
        live: how many handles are alive now.

    Returns:
        The fields.
    """
    fields = released(handle, call_record, live, "")
    del fields["how"]
    return fields


def _cause(cause: Cause) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "cause": cause.words,
        "cause_exit": cause.exit.value,
        "cause_pattern": cause.pattern.value,
        "cause_function": cause.function,
        **_place("cause_where", cause.at),
    }
    if cause.exception:
        fields["cause_exception"] = cause.exception
    if cause.raised is not None:
        fields["cause_raised_in"] = cause.raised.qualname
        fields.update(_place("cause_raised_where", cause.raised))
    if cause.caught is not None:
        fields["cause_caught_in"] = cause.caught.qualname
        fields.update(_place("cause_caught_where", cause.caught))
    if cause.moves:
        fields["cause_moves"] = [[each.filename, each.line, each.qualname] for each in cause.moves]
    if cause.skipped:
        fields["cause_skipped"] = [
            [frame.filename, frame.line, call] for call, frame in cause.skipped
        ]
    return fields


def _place(name: str, frame: Frame) -> dict[str, Any]:
    return {f"{name}_file": frame.filename, f"{name}_line": frame.line}


def _number(stack: Stack | ResolvedStack | None) -> int:
    return 0 if stack is None else stack.number


def _where(call_record: CallRecord) -> dict[str, Any]:
    site = call_record.site
    fields: dict[str, Any] = {
        "api": site.api,
        "binding": site.binding,
        "call": site.call,
        "tid": call_record.thread.ident,
        "thread": call_record.thread.name,
    }
    if call_record.task:
        fields["task"] = call_record.task
    if call_record.scope is not None:
        fields["scope"] = call_record.scope.name
    return fields


def _handle(handle: Handle) -> dict[str, Any]:
    return {
        "hid": handle.hid,
        "kind": handle.kind.name,
        "value": value_text(handle.value),
        "gen": handle.generation,
    }
