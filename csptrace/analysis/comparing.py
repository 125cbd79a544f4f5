"""What changed between two sets of logs, by fingerprint.

A fingerprint holds no line numbers, addresses or machine names, so it stays the same when code
around the bug is edited and when another machine runs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from csptrace.analysis.results import Change, Comparison

if TYPE_CHECKING:
    from csptrace.analysis.results import Group, Report

__all__ = ["compare", "is_regression"]

_ORDER = ("new", "grown", "shrunk", "fixed")


def compare(old: Report, new: Report, *, per_run: bool = False) -> Comparison:
    """Compare two reports.

    Args:
        old: what was.
        new: what is.
        per_run: judge counts per run, for sets of logs with different numbers of runs; a finding
            that every run has is unchanged then.

    Returns:
        What changed. The counts are those of the logs in either case.
    """
    before = {group.fingerprint: group for group in old.groups}
    after = {group.fingerprint: group for group in new.groups}
    # Cross-multiplied: exact, and no division by a set without runs.
    old_weight = max(1, len(new.runs)) if per_run else 1
    new_weight = max(1, len(old.runs)) if per_run else 1
    changes = []
    unchanged = 0
    for fingerprint in before.keys() | after.keys():
        was, now = before.get(fingerprint), after.get(fingerprint)
        what = _what(was, now, old_weight, new_weight)
        group = now or was
        assert group is not None  # noqa: S101 - for the type checker
        if what:
            changes.append(Change(what, was.count if was else 0, now.count if now else 0, group))
        else:
            unchanged += 1
    changes.sort(
        key=lambda change: (
            _ORDER.index(change.what),
            -max(change.before, change.after),
            change.group.fingerprint,
        )
    )
    return Comparison(
        old_runs=len(old.runs), new_runs=len(new.runs), changes=tuple(changes), unchanged=unchanged
    )


def _what(was: Group | None, now: Group | None, old_weight: int, new_weight: int) -> str:
    if was is None:
        return "new"
    if now is None:
        return "fixed"
    before, after = was.count * old_weight, now.count * new_weight
    return "" if after == before else "grown" if after > before else "shrunk"


def is_regression(comparison: Comparison) -> bool:
    """Return whether something got worse: a new or grown fingerprint that is not information."""
    return any(
        change.what in ("new", "grown") and change.group.severity != "info"
        for change in comparison.changes
    )
