"""Collapsed stacks: `outermost;…;innermost weight`, for flame-graph tools and speedscope."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from csptrace.analysis.render.escaping import shortened
from csptrace.analysis.render.places import Places

if TYPE_CHECKING:
    from csptrace.analysis.render import Options
    from csptrace.analysis.results import Frame, Report

__all__ = ["report"]


def report(report: Report, options: Options) -> str:
    """Render the acquisition sites of a report.

    Args:
        report: what to show.
        options: `weight` chooses what is counted; sites that count nothing are left out.

    Returns:
        A line for each distinct stack, sorted. The innermost entry is the kind of handle.
    """
    places = Places.of(report)
    counts: Counter[str] = Counter()
    for site in report.sites:
        weight = getattr(site, options.weight)
        if weight > 0:
            frames = [_entry(frame, places) for frame in reversed(site.stack)]
            counts[";".join((*frames, _part(site.kind)))] += weight
    return "".join(f"{stack} {weight}\n" for stack, weight in sorted(counts.items()))


def _entry(frame: Frame, places: Places) -> str:
    return _part(f"{frame.function} ({places.file(frame.file)}:{frame.line})")


def _part(text: str) -> str:
    """Return text without what separates entries."""
    return shortened(text).replace(";", ":") or "?"
