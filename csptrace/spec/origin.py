"""Where in a file of a spec a row stands, for messages."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["caller"]

_OWN: Final = os.path.dirname(__file__)


def caller() -> str:
    """Return the place in the spec that is being read: the nearest outside of this package.

    Returns:
        `"file:line"`; `"<unknown>"` if there is no such place.
    """
    frame: FrameType | None = sys._getframe(1)
    # "<string>": the constructor that dataclasses generates.
    while frame is not None and (
        frame.f_code.co_filename == "<string>" or os.path.dirname(frame.f_code.co_filename) == _OWN
    ):
        frame = frame.f_back
    return "<unknown>" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"
