"""What the graph says after a transition."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from csptrace.graph.handle import Handle, Moment

__all__ = [
    "Acquired",
    "Change",
    "Collected",
    "Detached",
    "Ended",
    "Fate",
    "HandedOver",
    "RefChanged",
    "Refused",
    "Vanished",
]


class Fate(enum.Enum):
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
    moment: Moment


class RefChanged(NamedTuple):
    """A reference was added or taken away, and the handle lives on."""

    handle: Handle
    moment: Moment
    added: bool = False


class HandedOver(NamedTuple):
    """The provider took over the release of the handle."""

    handle: Handle
    moment: Moment


class Ended(NamedTuple):
    """The last reference was released.

    Attributes:
        handle: the released handle.
        moment: the release.
        invalidated: the handles that it made invalid, parents before their children.
    """

    handle: Handle
    moment: Moment
    invalidated: tuple[Handle, ...]


class Refused(NamedTuple):
    """The provider refused a release, and the handle lives on."""

    handle: Handle
    moment: Moment


class Vanished(NamedTuple):
    """A value was handed out again although its last handle was not seen to end."""

    handle: Handle
    moment: Moment


class Collected(NamedTuple):
    """The last Python reference to an unreleased handle object went away.

    Attributes:
        handle: the handle.
        moment: when it was noticed.
        released: whether the object's destructor releases the handle.
        owed: whether somebody still had to release it.
    """

    handle: Handle
    moment: Moment
    released: bool
    owed: bool


class Detached(NamedTuple):
    """A call has ended a handle and left what it stood for as it was.

    Attributes:
        handle: the handle, of which an `Ended` tells as well.
        moment: the call.
        owed: whether somebody still had to release it.
    """

    handle: Handle
    moment: Moment
    owed: bool


Change: TypeAlias = (
    Acquired | RefChanged | HandedOver | Ended | Refused | Vanished | Collected | Detached
)
