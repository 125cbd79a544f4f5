"""The handle table: how objects get the numbers that programs hold.

Handles look like what real advapi32 hands out, addresses of small heap blocks, and are recycled
like heap blocks: the value that was freed last is given out first, to whatever is created next.
Programs that go on using a released handle therefore hit somebody else's object here, as they do
there. Values stay below 2**31, so that a ctypes client that passes a handle without declaring
argtypes (as a C int) still works.
"""

from __future__ import annotations

import itertools
import os
from typing import Final, Generic, TypeVar

from csptrace.softcsp.constants import NTE_NO_MEMORY
from csptrace.softcsp.errors import CspError

ENVIRONMENT_VARIABLE: Final = "SOFTCSP_NEVER_REUSE"

# A usual place for a heap and a usual block size; nothing depends on either.
_FIRST: Final = 0x00A31000
_STEP: Final = 0x40
_LAST: Final = 0x7FFFFFC0

T = TypeVar("T")


class HandleTable(Generic[T]):
    """Live handles and the free values between them.

    Every operation is one atomic step on a dict or a list, without a lock of our own: destructors
    run inside other operations (the garbage collector chooses when), where taking a lock again
    could stop the program.

    Attributes:
        live: handle value → object. Read it directly: looking a handle up must cost one step,
            however many are live.
        never_reuse: give out every value once only, so that a stale handle can never be taken
            for a live one. For debugging; starts as SOFTCSP_NEVER_REUSE says.
    """

    __slots__ = ("_free", "_fresh", "live", "never_reuse")

    def __init__(self, *, never_reuse: bool = False) -> None:
        """Make an empty table."""
        self.live: dict[int, T] = {}
        self.never_reuse = never_reuse
        self._free: list[int] = []
        self._fresh = itertools.count(_FIRST, _STEP)

    def add(self, item: T) -> int:
        """Give *item* a handle and return it; raises CspError(NTE_NO_MEMORY) when all are used."""
        value = 0
        if not self.never_reuse:
            try:
                value = self._free.pop()
            except IndexError:
                value = 0
        if not value:
            value = next(self._fresh)
            if value > _LAST:
                raise CspError(NTE_NO_MEMORY)
        self.live[value] = item
        return value

    def remove(self, value: int) -> T | None:
        """Take a handle back; return what it stood for, None if it is not live."""
        item = self.live.pop(value, None)
        if item is not None and not self.never_reuse:
            self._free.append(value)
        return item


def never_reuse_from_environment() -> bool:
    """Read SOFTCSP_NEVER_REUSE: 1 turns reuse off, 0 or nothing leaves it on.

    Raises:
        ValueError: any other value.

    """
    text = os.environ.get(ENVIRONMENT_VARIABLE, "")
    if text in ("", "0"):
        return False
    if text == "1":
        return True
    message = f"{ENVIRONMENT_VARIABLE}={text!r} is not one of: 0, 1"
    raise ValueError(message)
