"""A call that is about to be made with a handle that must not be used so."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from csptrace.graph.changes import Change

if TYPE_CHECKING:
    from csptrace.findings.catalogue import Code
    from csptrace.graph.handle import CallRecord, Handle

__all__ = [
    "Judged",
    "Misused",
]


class Misused(NamedTuple):
    """A call was about to be made with a handle that must not be used so.

    Attributes:
        handle: the handle.
        call_record: the misuse.
        code: the finding code.
        culprit: the handle whose end made the use wrong (the parent, the dependency), if any.
        reused_by: the live handle that has the same value now, if any.
        meanwhile: the call that another thread is inside of, if that is what makes it wrong.
    """

    handle: Handle
    call_record: CallRecord
    code: Code
    culprit: Handle | None
    reused_by: Handle | None
    meanwhile: CallRecord | None = None


Judged: TypeAlias = Change | Misused
"""What is judged: a change of the graph, or a call that changes nothing because it is wrong."""
