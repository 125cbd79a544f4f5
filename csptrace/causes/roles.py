"""Whose code a function is, as far as it matters for who has a handle."""

from __future__ import annotations

from typing import Final

__all__ = ["INTERNAL", "LAUNCHER", "LIBRARY", "USER"]

INTERNAL: Final = 0
"""The tracer's own, or one that only passes on what it gets: it is looked through."""

LIBRARY: Final = 1
"""A library's."""

USER: Final = 2
"""The user's own."""

LAUNCHER: Final = 3
"""A test runner's, or of what else starts programs: nothing is followed into it."""
