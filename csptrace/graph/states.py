"""The states of a handle, and how its value is written."""

from __future__ import annotations

from typing import Final

__all__ = [
    "INVALIDATED",
    "LIVE",
    "NUMBER_BITS",
    "RELEASED",
    "RELEASING",
    "STATE_NAMES",
    "UNTRACKED",
    "value_text",
]

LIVE: Final = 0

RELEASING: Final = 1

RELEASED: Final = 2

INVALIDATED: Final = 3

UNTRACKED: Final = 4

STATE_NAMES: Final = ("live", "releasing", "released", "invalidated", "untracked")

NUMBER_BITS: Final = 64
"""How long a number is at most; above it stands whose number it is, if it belongs to an object."""


def value_text(value: int) -> str:
    """Return a handle's value as people write it: `0x00a01040`, or `object 0x…`."""
    if value < 0:
        return f"object 0x{~value:x}"
    return f"0x{value & ((1 << NUMBER_BITS) - 1):08x}"
