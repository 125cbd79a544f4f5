"""How a function that had a live handle was left."""

from __future__ import annotations

import enum

__all__ = ["Exit"]


class Exit(enum.StrEnum):
    """How a function that had a live handle was left."""

    RUNNING = "running"
    """Not at all: it was still running."""
    RETURNED = "returned"
    """It returned something else."""
    HANDED_ON = "handed-on"
    """It returned the handle, or an object that holds it."""
    YIELDED = "yielded"
    """It yielded the handle, or an object that holds it."""
    RAISED = "raised"
    """By an exception, or one is on its way through it."""
    SUSPENDED = "suspended"
    """It waits at a `yield` or `await` and was not resumed."""
    CLOSED = "closed"
    """It was a generator or coroutine that was closed, or dropped, before its end."""
    CANCELLED = "cancelled"
    """It was a coroutine whose task was cancelled."""
