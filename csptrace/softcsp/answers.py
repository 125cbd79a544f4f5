"""How the provider hands out bytes: all of them, their number, or "more room, please"."""

from __future__ import annotations

from csptrace.softcsp.constants import ERROR_MORE_DATA
from csptrace.softcsp.errors import CspError

Answer = bytes | int
"""Bytes to hand out, or (for a size query) how many there would be."""


def answer(data: bytes, room: int | None) -> Answer:
    """Answer a caller who has *room* for so many bytes; None asks for the size.

    Raises:
        CspError: ERROR_MORE_DATA, too little room; it says how much is needed.

    """
    if room is None:
        return len(data)
    if room < len(data):
        raise CspError(ERROR_MORE_DATA, len(data))
    return data


def dword(number: int) -> bytes:
    """Write a DWORD."""
    return number.to_bytes(4, "little")


def c_string(text: str) -> bytes:
    """Write text with a closing NUL, in the encoding of the A functions."""
    return text.encode("utf-8", "surrogateescape") + b"\0"
