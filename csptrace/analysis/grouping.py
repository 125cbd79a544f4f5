"""From finding events to groups: what equal findings have in common, and the story of the first.

The events may come from a log file or straight from a traced process: the fields are the same, so
the groups are, too.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from csptrace.analysis.results import (
    NOWHERE,
    Example,
    Frame,
    Group,
    Place,
    Siblings,
    Step,
    place_in,
)
from csptrace.findings.catalogue import Code
from csptrace.findings.catalogue import siblings as siblings_in_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = ["Occurrence", "groups_of", "siblings_text"]

_RANK: Final = {"error": 0, "warning": 1, "info": 2}
_ROLES: Final = ("acquired", "exit", "ended", "last_use", "misused")


class Occurrence(NamedTuple):
    """One finding, with what its event leaves to other events.

    Attributes:
        event: the fields of `csptrace.finding`, `ts` among them.
        stacks: stack id → frames, as `csptrace.stack` events have them.
        run: the run's id.
        host: the machine's name.
    """

    event: Mapping[str, Any]
    stacks: Mapping[int, Sequence[Sequence[Any]]]
    run: str
    host: str


def groups_of(occurrences: Iterable[Occurrence]) -> tuple[Group, ...]:
    """Group findings by fingerprint.

    Args:
        occurrences: the findings, in any order.

    Returns:
        The groups: errors first, then by count, then by fingerprint.
    """
    found: dict[str, list[Occurrence]] = {}
    for occurrence in occurrences:
        found.setdefault(occurrence.event["fingerprint"], []).append(occurrence)
    groups = [_group(members) for members in found.values()]
    groups.sort(key=lambda group: (_RANK.get(group.severity, 3), -group.count, group.fingerprint))
    return tuple(groups)


def _group(members: list[Occurrence]) -> Group:
    members.sort(key=lambda member: member.event.get("ts", 0))
    first = members[0]
    event = first.event
    severity = min(
        (member.event["severity"] for member in members), key=lambda name: _RANK.get(name, 3)
    )
    return Group(
        fingerprint=event["fingerprint"],
        code=event["code"],
        severity=severity,
        api=event["api"],
        kind=event["kind"],
        count=sum(_times(member.event) for member in members),
        runs=len({member.run for member in members}),
        first_seen=event.get("ts", 0),
        last_seen=members[-1].event.get("ts", 0),
        hosts=tuple(sorted({member.host for member in members})),
        scopes=_counts((member.event.get("scope", ""), member.event) for member in members),
        causes=_counts((_cause(member.event), member.event) for member in members),
        where=place_in(event, "where"),
        remedy=event["remedy"],
        siblings=_siblings(members[-1].event),
        example=_example(first),
    )


def _cause(event: Mapping[str, Any]) -> str:
    """Return how the acquiring function was left, in two words, empty if it is not known."""
    return "/".join(filter(None, (event.get("cause_exit"), event.get("cause_pattern"))))


def _times(event: Mapping[str, Any]) -> int:
    """Return how many findings an event stands for."""
    return int(event.get("times", 1))


def _counts(
    texts: Iterable[tuple[str, Mapping[str, Any]]],
) -> tuple[tuple[str, int], ...]:
    counts = Counter[str]()
    for text, event in texts:
        if text:
            counts[text] += _times(event)
    return tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _example(occurrence: Occurrence) -> Example:
    event = occurrence.event
    return Example(
        run=occurrence.run,
        ts=event.get("ts", 0),
        value=event["value"],
        generation=event["gen"],
        name=event.get("name", ""),
        thread=event["thread"],
        task=event.get("task", ""),
        scope=event.get("scope", ""),
        age=event["age_ns"],
        uses=event["uses"],
        steps=tuple(_steps(occurrence)),
    )


def _steps(occurrence: Occurrence) -> Iterable[Step]:
    event = occurrence.event
    for role in _ROLES:
        call = event.get(f"{role}_by", "")
        number = event.get(f"{role}_stack", 0)
        if role == "exit" and event.get("cause"):
            yield Step(role, "", event["cause"], _exit(event))
        if not call and not number:
            continue
        stack = tuple(
            Frame(str(file), int(line), str(function), str(module), bool(user))
            for file, line, function, module, user in occurrence.stacks.get(number, ())
        )
        yield Step(role, call, _text(role, call, event), stack)


def _exit(event: Mapping[str, Any]) -> tuple[Frame, ...]:
    """Return the one frame of the place where the acquiring function was left."""
    place = place_in(event, "cause_where")
    if not place:
        return ()
    return (Frame(*place, event.get("cause_function", ""), "", user=True),)


def _text(role: str, call: str, event: Mapping[str, Any]) -> str:
    by = f" by {call}" if call else ""
    match role:
        case "acquired":
            return f"{event['kind']} acquired{by}"
        case "ended" if event["code"] == "lost":
            return f"{event['kind']} collected{by}"
        case "ended":
            return f"{event.get('culprit_kind', event['kind'])} released{by}"
        case "last_use":
            return f"{event['kind']} last used{by}"
        case _:
            verb = "refused" if event["code"] == Code.FAILED_RELEASE else "misused"
            return f"{event['kind']} {verb}{by}"


def _siblings(event: Mapping[str, Any]) -> Siblings:
    """Return what a finding tells of the other handles from the same place."""
    return Siblings(
        event.get("siblings_acquired", 0),
        event.get("siblings_released", 0),
        place_in(event, "siblings_where"),
        event.get("siblings_where_count", 0),
        NOWHERE,
        ended=False,
    )


def siblings_text(group: Group, where: Callable[[Place], str] = str) -> str:
    """Say what became of the other handles from the same place.

    Args:
        group: the findings with one fingerprint.
        where: turns a place into text.

    Returns:
        A sentence without its full stop; empty if nothing is known.
    """
    siblings = group.siblings
    if not siblings.acquired:
        return ""
    return siblings_in_words(
        siblings.acquired,
        siblings.released,
        at=f"at {where(siblings.at)}" if siblings.at else "there",
        released_at=where(siblings.released_at),
        released_there=siblings.released_there,
        so_far=not siblings.ended,
    )
