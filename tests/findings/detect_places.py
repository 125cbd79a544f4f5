"""Frames of different functions and lines, some of which have one fingerprint."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["FRAMES"]


def _one(*, early: bool) -> FrameType:
    if early:
        return sys._getframe()
    return sys._getframe()


def _two() -> FrameType:
    return sys._getframe()


FRAMES = [_one(early=True), _one(early=False), _two()]
"""The first two differ by their lines only."""
