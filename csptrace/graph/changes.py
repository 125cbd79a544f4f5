"""What the graph says after a transition."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from csptrace.graph.handle import CallRecord, Handle

__all__ = [
    "Acquired",
    "Change",
    "Collected",
    "Detached",
    "Ended",
    "HandedOver",
    "RefChanged",
    "Refused",
    "ReleaseOutcome",
    "Untracked",
]


class ReleaseOutcome(enum.Enum):
    """What is known of a release after its call."""

    RELEASED = "released"
    """The provider has taken the reference away."""
    REFUSED = "refused"
    """The provider has refused, and the reference stands."""
    NOT_MADE = "not made"
    """The native call was never made."""
    UNKNOWN = "unknown"
    """An exception from outside arrived while the call was under way."""


class Acquired(NamedTuple):
    """A handle was acquired."""

    handle: Handle
    call_record: CallRecord


class RefChanged(NamedTuple):
    """A reference was added or taken away, and the handle lives on."""

    handle: Handle
    call_record: CallRecord
    added: bool = False


class HandedOver(NamedTuple):
    """The provider took over the release of the handle."""

    handle: Handle
    call_record: CallRecord


class Ended(NamedTuple):
    """The last reference was released.

    Attributes:
        handle: the released handle.
        call_record: the release.
        invalidated: the handles that it made invalid, parents before their children.
    """

    handle: Handle
    call_record: CallRecord
    invalidated: tuple[Handle, ...]


class Refused(NamedTuple):
    """The provider refused a release, and the handle lives on."""

    handle: Handle
    call_record: CallRecord


class Untracked(NamedTuple):
    """A value was handed out again although its last handle was not seen to end."""

    handle: Handle
    call_record: CallRecord


class Collected(NamedTuple):
    """The last Python reference to an unreleased handle object went away.

    Attributes:
        handle: the handle.
        call_record: when it was noticed.
        released: whether the object's destructor releases the handle.
        unreleased: whether somebody still had to release it.
    """

    handle: Handle
    call_record: CallRecord
    released: bool
    unreleased: bool


class Detached(NamedTuple):
    """A call has ended a handle and left what it stood for as it was.

    Attributes:
        handle: the handle, of which an `Ended` tells as well.
        call_record: the call.
        unreleased: whether somebody still had to release it.
    """

    handle: Handle
    call_record: CallRecord
    unreleased: bool


Change: TypeAlias = (
    Acquired | RefChanged | HandedOver | Ended | Refused | Untracked | Collected | Detached
)
