"""A call stack as it is captured: code objects and instruction offsets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from csptrace.stacks.frames import Frame, frame_at

if TYPE_CHECKING:
    from types import CodeType

    from csptrace.stacks.resolved import ResolvedStack

__all__ = [
    "Stack",
]

_MOST_RELEASE_PLACES: Final = 7


class Stack:
    """A call stack, captured as code objects and instruction offsets, one object for each.

    Attributes:
        codes: code objects, innermost first.
        offsets: the instruction offset (`f_lasti`, bytes) in each.
        number: a small integer, unique within the process; the `stack` id of events.
        acquired: how many handles were acquired here.
        released: how many of those were released by the program.
        released_at: the first place where one of them was released.
        released_there: how many were released there.
        releases: the other places: release stack → count; `None` while there are none. Bounded.
        resolved: what `Ownership.resolve` has settled, and by which rules.
        peers: every stack with the same innermost frame, this one included.
        owner: which frame is watched for its end: the innermost of the user's own code; -1 if that
            is not known yet.
        leaked: how the function was left by the leaks from here: exit → count. Bounded.
    """

    __slots__ = (
        "_frames",
        "acquired",
        "codes",
        "leaked",
        "number",
        "offsets",
        "owner",
        "peers",
        "released",
        "released_at",
        "released_there",
        "releases",
        "resolved",
    )

    def __init__(self, codes: tuple[CodeType, ...], offsets: tuple[int, ...], number: int) -> None:
        self.codes = codes
        self.offsets = offsets
        self.number = number
        self.acquired = 0
        self.released = 0
        self.released_at: Stack | None = None
        self.released_there = 0
        self.releases: dict[Stack, int] | None = None
        self.resolved: tuple[object, ResolvedStack] | None = None
        self.peers: list[Stack] = []
        self.owner = -1
        self.leaked: dict[object, int] | None = None
        self._frames: tuple[Frame, ...] | None = None

    def count_release(self, at: Stack) -> None:
        """Count the release of a handle that was acquired here; called with the graph's lock held.

        Args:
            at: where it was released.
        """
        self.released += 1
        if self.released_at is at:
            self.released_there += 1
        elif self.released_at is None:  # most places have only one: it costs no dictionary
            self.released_at = at
            self.released_there = 1
        else:
            if self.releases is None:
                self.releases = {}
            if at in self.releases or len(self.releases) < _MOST_RELEASE_PLACES:
                self.releases[at] = self.releases.get(at, 0) + 1

    def release_places(self) -> list[tuple[Stack, int]]:
        """Return where handles that were acquired here were released, and how many each time."""
        if self.released_at is None:
            return []
        others = [] if self.releases is None else list(self.releases.items())
        return [(self.released_at, self.released_there), *others]

    @property
    def frames(self) -> tuple[Frame, ...]:
        """The stack as text, innermost first; computed on first reading."""
        if self._frames is None:
            self._frames = tuple(map(frame_at, self.codes, self.offsets))
        return self._frames
