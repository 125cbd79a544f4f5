"""Where findings and changes go: what a sink may be told of.

A new way out is one class: it overrides what it is interested in. All of it is called with the
graph's lock held, so that a sink must not call the provider or wait for another thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from csptrace.terminal import escape

if TYPE_CHECKING:
    from collections.abc import Mapping

    from csptrace.findings.finding import Finding
    from csptrace.findings.limits import Peak
    from csptrace.graph.changes import Change, Ended
    from csptrace.graph.handle import CallRecord, Handle

__all__ = ["Notice", "Sink", "Totals"]


class Notice(NamedTuple):
    """What csptrace says of itself.

    Attributes:
        code: a short name of the sort of complaint.
        line: what happened, where, and what to do next.
        more: further lines.
    """

    code: str
    line: str
    more: tuple[str, ...] = ()

    @property
    def message(self) -> str:
        """All of it, escaped."""
        return "\n".join(map(escape, (self.line, *self.more)))


class Totals(NamedTuple):
    """What is known when tracing ends.

    Attributes:
        acquired: how many handles were acquired.
        peak: the most that were alive at once.
        live: how many are alive.
        codes: finding code → how many.
        places: how many findings differ.
        peaks: the most of each limited kind under one parent.
    """

    acquired: int
    peak: int
    live: int
    codes: Mapping[str, int]
    places: int
    peaks: tuple[Peak, ...]


class Sink:
    """Told of what happens; ignores what it does not override.

    Attributes:
        records: whether it wants to know of each change, not only of findings.
    """

    records = False

    def changed(self, change: Change, live: int) -> None:
        """Take in what has happened to one handle.

        Args:
            change: what has happened.
            live: how many handles are alive now.
        """

    def invalidated(self, handle: Handle, by: Ended, live: int) -> None:
        """Take in that the release of one handle has made another one invalid.

        Args:
            handle: the other one.
            by: the release.
            live: how many handles are alive now.
        """

    def unheld(self, handle: Handle, call_record: CallRecord, live: int) -> None:
        """Take in that a handle was released which had been found to be held too long.

        Args:
            handle: the handle.
            call_record: its release.
            live: how many handles are alive now.
        """

    def found(self, finding: Finding, *, first: bool) -> None:
        """Take in a finding.

        Args:
            finding: the finding.
            first: whether it is the first with its fingerprint.
        """

    def noticed(self, notice: Notice) -> None:
        """Take in what csptrace says of itself."""

    def scope_ended(self, name: str, leaked: int) -> None:
        """Take in that a scope was judged.

        Args:
            name: the scope's name.
            leaked: how many handles it has leaked.
        """

    def ended(self, totals: Totals) -> None:
        """Take in that tracing ends; nothing comes after it."""
