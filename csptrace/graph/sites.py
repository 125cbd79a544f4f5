"""Which function was called, through what, and in which thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable


__all__ = [
    "COLLECTION",
    "FORK",
    "CallSite",
    "Thread",
    "UnloadableSite",
]

COLLECTION: Final = "garbage collection"

"""What stands for the call where an object was collected."""


FORK: Final = "os.fork"
"""What stands for the call in the child of a fork, where that has ended a handle."""


class CallSite(NamedTuple):
    """Which function of which API was called through which binding."""

    call: str
    api: str
    binding: str


class UnloadableSite(CallSite):
    """A call into code that may be gone, so that it crashes the process.

    Attributes:
        is_gone: tells whether it is.
    """

    is_gone: Callable[[], bool]


class Thread(NamedTuple):
    """A thread, as identifier and name."""

    ident: int
    name: str
