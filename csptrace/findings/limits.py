"""How many handles of a limited kind are open at once, and how near that comes to the limit.

A token allows so many sessions and no more: a program that comes near it will one day be refused.
What is counted is what lives under one parent (the sessions of a slot).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple

from csptrace.graph.states import LIVE, RELEASING, value_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from csptrace.graph.handle import Handle
    from csptrace.spec.kinds import Kind

__all__ = ["ASKED_FROM", "OpenCounts", "Peak"]

ASKED_FROM: Final = 8
"""The provider is asked for its limit when so many are open: none that can be asked is known to
allow fewer, and a program that never comes so far is never the reason for an extra native call."""


class Peak(NamedTuple):
    """The most handles of one kind that were open at once under one parent, or in the process.

    Attributes:
        kind: the kind of what was counted.
        parent_kind: the kind of the parent; empty for a root.
        value: the parent's value; 0 for a root.
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

    def line(self) -> str:
        """Return it as a line for people."""
        of = f" of {self.limit}" if self.limit else ""
        under = f" under {self.parent_kind} {value_text(self.value)}" if self.parent_kind else ""
        library = f" ({self.library})" if self.library else ""
        return f"at most {self.peak}{of} {self.kind} open at once{under}{library}"


class OpenCounts:
    """Counts what is open, and says once for each parent when it comes near the limit.

    Args:
        limit: the limit of what the provider is asked about, where the user has given one; 0 asks.
        share: percentage of the limit from which on it is said; 0 never says it.
        ask: asks how many of a kind may live under a parent, 0 if that is not limited.
        has_siblings: tells whether others live under the parents of a kind, too.
    """

    def __init__(
        self,
        limit: int,
        share: int,
        ask: Callable[[Kind, Handle], int],
        has_siblings: Callable[[Kind], bool],
    ) -> None:
        self._limit = limit
        self._share = share
        self._ask = ask
        self._has_siblings = has_siblings
        self._peaks: dict[tuple[Kind, Kind | None, int], list[int]] = {}
        self._roots: dict[Kind, list[Handle]] = {}

    def count(self, handle: Handle) -> str | None:
        """Note a new handle.

        Args:
            handle: the handle.

        Returns:
            What to say about it, the first time that a parent has too many; otherwise `None`.
        """
        kind, parent, declared = handle.kind, handle.parent, handle.kind.limit
        if parent is None and kind.under is not None:
            return None
        limit = declared if isinstance(declared, int) else self._limit
        place = (None, 0) if parent is None else (parent.kind, parent.value)
        known = self._peaks.setdefault((kind, *place), [0, limit, 0])
        count = (
            self._count_root(handle) if parent is None else self._count_below(parent, kind, known)
        )
        if count <= known[0]:
            return None
        known[0] = count
        if not self._share or known[2]:
            return None
        if not known[1] and count == ASKED_FROM and parent is not None:
            known[1] = self._ask(kind, parent)
        limit = known[1]
        if not limit or count * 100 < limit * self._share:
            return None
        known[2] = 1
        of = "" if parent is None else f" of {parent.kind.title} {value_text(parent.value)}"
        where = f" ({os.path.basename(kind.realm)})" if kind.realm else ""
        setting = "session_share" if isinstance(declared, int) else "session_limit or session_share"
        return (
            f"{count} of {limit} {kind.title}s{of}{where} are open at once; close each with "
            f"{kind.release or 'its release function'} when it is no longer needed, or raise "
            f"{setting} if that is intended"
        )

    def _count_below(self, parent: Handle, kind: Kind, known: list[int]) -> int:
        """Return how many of a kind live under a parent, or fewer if they were more before."""
        children = parent.children or ()
        count = len(children)
        if count > known[0] and self._has_siblings(kind):
            count = sum(child.kind is kind for child in list(children))
        return count

    def _count_root(self, handle: Handle) -> int:
        """Return how many of a kind without a parent are alive, or fewer as above."""
        kind = handle.kind
        alive = [*self._roots.get(kind, ()), handle]
        if len(alive) > self._peaks[kind, None, 0][0]:
            alive = [each for each in alive if each.state in (LIVE, RELEASING)]
        self._roots[kind] = alive
        return len(alive)

    def peaks(self) -> list[Peak]:
        """Return the highest counts so far, one for each parent."""
        return [
            Peak(
                kind.name,
                "" if parent is None else parent.name,
                value,
                os.path.basename(kind.realm),
                peak,
                limit,
            )
            for (kind, parent, value), (peak, limit, _) in self._peaks.items()
        ]
