"""The provider at which the canary lives: handle objects like pywin32's, with nothing behind them.

`csptrace.frontends.canary` has it traced, as any module with handle objects is; it touches nothing
of the program's and imports nothing.
"""

from __future__ import annotations

__all__ = ["Canary", "CanaryContext", "open_canary_context"]


class Canary:
    """What is leaked on purpose."""


class CanaryContext:
    """A context: what is in it is lost when it closes."""

    def add_canary(self) -> Canary:
        """Acquire a canary."""
        return Canary()

    def close(self) -> None:
        """Release the context."""


def open_canary_context() -> CanaryContext:
    """Acquire a context."""
    return CanaryContext()
