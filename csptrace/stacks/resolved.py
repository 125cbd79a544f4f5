"""A stack as findings have it: in words, with whose code each frame is."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from csptrace.stacks.frames import Frame

__all__ = ["ResolvedStack"]


@dataclasses.dataclass(slots=True)
class ResolvedStack:
    """A stack for which has been settled what is shown of it and whose code that is.

    Attributes:
        number: the stack's number, unique within the process; the `stack` id of events.
        frames: what is shown, innermost first: neither the tracer's own frames nor what started
            the program.
        own: of each of them, whether it is the user's own code.
        written: the event log that has it already.
    """

    number: int
    frames: tuple[Frame, ...]
    own: tuple[bool, ...]
    written: object = dataclasses.field(default=None, compare=False, repr=False)

    def __hash__(self) -> int:
        """Hash by the number: cheaper than the frames."""
        return self.number

    @property
    def users(self) -> tuple[Frame, ...]:
        """The user's frames, innermost first; all of them if none is the user's."""
        pairs = zip(self.frames, self.own, strict=True)
        return tuple(frame for frame, own in pairs if own) or self.frames

    @property
    def first(self) -> Frame | None:
        """The innermost frame of the user's own code; the innermost of all if none is."""
        users = self.users
        return users[0] if users else None

    @property
    def is_users(self) -> bool:
        """Whether the call came straight from the user's own code, or from nowhere."""
        return not self.own or self.own[0]
