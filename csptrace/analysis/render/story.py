"""One finding told in plain lines, for forms that have room for text and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from csptrace.analysis.grouping import siblings_text
from csptrace.analysis.render import words
from csptrace.analysis.render.escaping import shortened
from csptrace.analysis.render.places import own_first

if TYPE_CHECKING:
    from csptrace.analysis.render.places import Places
    from csptrace.analysis.results import Group

__all__ = ["headline", "text"]


def headline(group: Group, places: Places) -> str:
    """Return code, kind, place and count in a line.

    Args:
        group: the findings with one fingerprint.
        places: short names of files.
    """
    where = f" at {places.where(group.where)}" if group.where else ""
    return shortened(f"{group.code}: {group.kind}{where}, {words.about(group)}")


def text(group: Group, places: Places) -> str:
    """Return everything about a finding, line by line, escaped.

    Args:
        group: the findings with one fingerprint.
        places: short names of files.
    """
    example = group.example
    lines = [
        headline(group, places),
        f"first seen {words.moment(group.first_seen)}, last {words.moment(group.last_seen)}",
        f"example: {shortened(words.handle(example, group.kind))}, "
        f"age {words.duration(example.age)}, used {words.counted(example.uses, 'time')}"
        if example.uses
        else f"example: {shortened(words.handle(example, group.kind))}, "
        f"age {words.duration(example.age)}, never used",
    ]
    if group.scopes:
        lines.append(f"in: {shortened(words.pairs(group.scopes))}")
    if group.causes:
        lines.append(f"why: {shortened(words.pairs(words.causes(group)))}")
    for step in example.steps:
        lines.append(shortened(places.prose(words.title(step))))
        inner, own = own_first(step.stack)
        for mark, frame in (*((" ", f) for f in inner), *((">", f) for f in own[:1])):
            lines.append(f"  {mark} {_frame(places.frame(frame), frame.function)}")
        lines.extend(f"    {_frame(places.frame(f), f.function)}" for f in own[1:])
    siblings = siblings_text(group, places.where)
    if siblings:
        lines.append(shortened(siblings))
    lines.append(f"fix: {shortened(places.prose(group.remedy))}")
    lines.append(f"fingerprint: {shortened(group.fingerprint)}")
    return "\n".join(lines)


def _frame(where: str, function: str) -> str:
    return shortened(f"{where} in {function}")
