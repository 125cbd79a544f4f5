"""How many handles of a limited kind are open at once, and how near that comes to the limit.

A token allows so many sessions and no more (16 on a YubiHSM): a program that comes near it will
one day be refused. What is counted is what lives under one parent (the sessions of a slot).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple

from csptrace.model import value_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from csptrace.model import Handle
    from csptrace.specs.vocabulary import Kind

__all__ = ["ASKED_FROM", "Budget", "Peak"]

ASKED_FROM: Final = 8
"""The token is asked for its limit when so many are open: no token is known that allows fewer,
and a program that never comes so far is never the reason for an extra native call."""


class Peak(NamedTuple):
    """The most handles of one kind that were open at once under one parent.

    Attributes:
        kind: the kind of what was counted.
        parent_kind: the kind of the parent.
        value: the parent's value.
        library: the file name of the library.
        peak: the highest count.
        limit: how many there may be; 0 if unknown or unlimited.
    """

    kind: str
    parent_kind: str
    value: int
    library: str
    peak: int
    limit: int


class Budget:
    """Counts what is open, and says once for each parent when it comes near the limit.

    Args:
        limit: the limit, where the user has given one; 0 asks.
        share: percentage of the limit from which on it is said; 0 never says it.
        ask: returns the limit of a parent of this kind and value, 0 if it has none.
    """

    def __init__(self, limit: int, share: int, ask: Callable[[Kind, int], int]) -> None:
        self._limit = limit
        self._share = share
        self._ask = ask
        self._peaks: dict[tuple[Kind, Kind, int], list[int]] = {}

    def count(self, handle: Handle) -> str | None:
        """Note a new handle.

        Args:
            handle: the handle.

        Returns:
            What to say about it, the first time that a parent has too many; otherwise `None`.
        """
        parent = handle.parent
        if parent is None:
            return None
        count = len(parent.children or ())
        known = self._peaks.setdefault(
            (handle.kind, parent.kind, parent.value), [0, self._limit, 0]
        )
        if count <= known[0]:
            return None
        known[0] = count
        if not self._share or known[2]:
            return None
        if not known[1] and count == ASKED_FROM:
            known[1] = self._ask(parent.kind, parent.value)
        limit = known[1]
        if not limit or count * 100 < limit * self._share:
            return None
        known[2] = 1
        return (
            f"{count} of {limit} {handle.kind.title}s of {parent.kind.title} "
            f"{value_text(parent.value)} ({os.path.basename(parent.kind.realm)}) are open at once; "
            f"close each with {handle.kind.release} when it is no longer needed, or raise "
            "session_limit or session_share if that is intended"
        )

    def lines(self) -> list[str]:
        """Return the highest counts as lines for people."""
        return [
            f"at most {peak.peak}{f' of {peak.limit}' if peak.limit else ''} {peak.kind} open at "
            f"once under {peak.parent_kind} {value_text(peak.value)} ({peak.library})"
            for peak in self.peaks()
        ]

    def peaks(self) -> list[Peak]:
        """Return the highest counts so far, one for each parent."""
        return [
            Peak(kind.name, parent.name, value, os.path.basename(kind.realm), peak, limit)
            for (kind, parent, value), (peak, limit, _) in self._peaks.items()
        ]
