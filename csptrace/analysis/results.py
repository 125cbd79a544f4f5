"""What an analysis found: frozen values that engines fill and renderers show.

Every number of time is in nanoseconds; `ts` values count from 1970-01-01 UTC, `mono` values and
ages from nowhere in particular. Texts come from traced programs and are not escaped: a renderer
escapes what it shows.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "NOWHERE",
    "VERSION",
    "Change",
    "Comparison",
    "Context",
    "Cost",
    "Example",
    "Frame",
    "Group",
    "Held",
    "Lifetime",
    "Node",
    "Place",
    "Point",
    "Problem",
    "Report",
    "Run",
    "Siblings",
    "Site",
    "Source",
    "Step",
    "place_in",
]

VERSION: Final = 2
"""The version of this form in JSON output. It rises when a field changes its meaning.

Version 2 has siblings as numbers, where version 1 had a sentence.
"""


class Place(NamedTuple):
    """A line of a file.

    Attributes:
        file: path on the machine that ran the program; empty if nothing is known.
        line: line number, from 1; 0 if it is not known.
    """

    file: str
    line: int

    def __bool__(self) -> bool:
        """Return whether anything is known."""
        return bool(self.file)

    def __str__(self) -> str:
        """Return `file:line`, empty if nothing is known."""
        return f"{self.file}:{self.line}" if self.file else ""


NOWHERE: Final = Place("", 0)


def place_in(event: Mapping[str, Any], name: str) -> Place:
    """Return a place that an event may have.

    Args:
        event: an event of the log, in the fields of the newest version.
        name: what the names of its two fields begin with, such as `where`.
    """
    file = event.get(f"{name}_file")
    return Place(file, event.get(f"{name}_line", 0)) if file else NOWHERE


class Frame(NamedTuple):
    """One frame of a stack, as the log has it.

    Attributes:
        file: path on the machine that ran the program.
        line: line number, from 1.
        function: qualified name.
        module: the module's name.
        user: whether it is the user's own code.
    """

    file: str
    line: int
    function: str
    module: str
    user: bool


class Step(NamedTuple):
    """One moment in a finding's story: acquired, released, misused, …, innermost frame first.

    Attributes:
        role: `acquired`, `ended`, `exit` (how the acquiring function was left), `last_use` or
            `misused`.
        call: the C function, empty if none was called.
        text: the moment in words.
        stack: the frames, innermost first; empty if none was captured.
    """

    role: str
    call: str
    text: str
    stack: tuple[Frame, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One finding of a group, whole: the first one that was seen.

    Attributes:
        run: the run's id.
        ts: when.
        value: the handle's value, hexadecimal.
        generation: counts the handles with this value.
        name: the container, empty if it has none.
        thread: the thread's name.
        task: the asyncio task's name, empty if there was none.
        scope: the innermost scope or test.
        age: nanoseconds from acquisition, -1 if unknown.
        uses: how often it was used.
        steps: what happened to it, in the order of time.
    """

    run: str
    ts: int
    value: str
    generation: int
    name: str
    thread: str
    task: str
    scope: str
    age: int
    uses: int
    steps: tuple[Step, ...]


class Siblings(NamedTuple):
    """What became of the handles that were acquired in the same place.

    Attributes:
        acquired: how many were acquired there, the leaked ones included; 0 if nothing is known.
        released: how many of them the program released.
        released_at: what released most of them.
        released_there: how many that was.
        at: where they were acquired, if it is another place than the finding's own story tells.
        ended: whether these are the numbers of whole runs, and not of one up to the finding.
    """

    acquired: int
    released: int
    released_at: Place
    released_there: int
    at: Place
    ended: bool


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """All findings with one fingerprint.

    Attributes:
        fingerprint: equal for the same bug across machines and runs.
        code: the finding code.
        severity: `error`, `warning` or `info`.
        api: the spec's name.
        kind: the kind of handle.
        count: how many findings.
        runs: how many runs had it.
        first_seen: `ts` of the first.
        last_seen: `ts` of the last.
        hosts: the hosts, sorted.
        scopes: the scopes or tests that had it, with counts, most first.
        causes: how the acquiring function was left, with counts, most first; empty if not known.
        where: the user's code that it is about.
        remedy: what to do about it.
        siblings: what became of the other handles from the same place.
        example: the first finding.
    """

    fingerprint: str
    code: str
    severity: str
    api: str
    kind: str
    count: int
    runs: int
    first_seen: int
    last_seen: int
    hosts: tuple[str, ...]
    scopes: tuple[tuple[str, int], ...]
    causes: tuple[tuple[str, int], ...]
    where: Place
    remedy: str
    siblings: Siblings
    example: Example


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One log file and what was in it.

    Attributes:
        path: as it was found.
        events: events read.
        torn: lines cut off by a kill (at most one in a file that one process wrote).
        foreign: lines that are not events of csptrace.
        other_schema: events of another schema version, as version → count; they are read as far
            as their fields are known.
        unreadable: why the file could not be read to its end; empty if it could.
        repeated: events that another file, or this one, has as well; they count once.
    """

    path: str
    events: int
    torn: int
    foreign: int
    other_schema: tuple[tuple[str, int], ...]
    unreadable: str
    repeated: int = 0


class Problem(NamedTuple):
    """A `csptrace.notice`: something a traced process could not do, and how often it said so."""

    code: str
    message: str
    times: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One traced process.

    Attributes:
        run: its id.
        host: the machine's name.
        pid: the process.
        parent_run: the run it was forked from, empty if none.
        program: file name of the program.
        python: version.
        platform: operating system.
        level: how much was recorded.
        started: `ts` of its first event.
        ended: `ts` of its last event.
        finished: whether it said that it ended; a killed process does not.
        acquired: handles acquired.
        peak: most handles alive at once.
        live: handles alive at its last event.
        findings: counts by code, sorted by code.
    """

    run: str
    host: str
    pid: int
    parent_run: str
    program: str
    python: str
    platform: str
    level: str
    started: int
    ended: int
    finished: bool
    acquired: int
    peak: int
    live: int
    findings: tuple[tuple[str, int], ...]


class Lifetime(NamedTuple):
    """Quantiles of the ages at which handles of one site were released, in nanoseconds.

    `longest` is exact, the others are within 2 %: ages are counted in buckets, 32 for each power
    of two, so that the answers for many files can be put together.
    """

    p50: int
    p90: int
    p99: int
    longest: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One place that acquires handles of one kind.

    Attributes:
        api: the spec's name.
        kind: the kind of handle.
        where: the first frame of user code, else the innermost frame.
        stack: one example, innermost frame first.
        acquired: how many.
        released: how many were released by the program.
        leaked: how many were invalidated by a parent's release, collected, or never ended.
        live: how many were alive at the end of their runs.
        growth: live handles of this site at the end of the runs, less those at half time: a site
            whose live count rises from start to end is positive.
        lifetime: of the released ones; None if there are none.
        released_at: what released most of them.
        released_there: how many it released.
    """

    api: str
    kind: str
    where: Place
    stack: tuple[Frame, ...]
    acquired: int
    released: int
    leaked: int
    live: int
    growth: int
    lifetime: Lifetime | None
    released_at: Place
    released_there: int


class Point(NamedTuple):
    """Most live handles in one stretch of time, which begins `at` nanoseconds after the start.

    A stretch in which nothing was acquired or released has no point; the last number holds on.
    """

    at: int
    live: int


class Held(NamedTuple):
    """One handle that was held long: `age` in nanoseconds; `ended` is how, or `alive`."""

    run: str
    hid: int
    kind: str
    value: str
    name: str
    age: int
    ended: str
    where: Place


class Context(NamedTuple):
    """One released handle that took others with it: `under` is kind → count, sorted.

    `at` is the `ts` of its release, 0 if it was not seen.
    """

    run: str
    hid: int
    kind: str
    value: str
    name: str
    at: int
    where: Place
    under: tuple[tuple[str, int], ...]


class Node(NamedTuple):
    """One handle in the graph of a run.

    Attributes:
        hid: the handle.
        parent: `hid` of the handle it lives under, 0 if none. That handle may be missing from
            the graph: cut off, or acquired before a fork.
        kind: its kind.
        value: hexadecimal.
        name: the container, empty if it has none.
        acquired: nanoseconds since the run's start.
        ended: nanoseconds since the run's start, -1 if it never ended.
        how: `released`, `invalidated`, `collected`, `handed-over`, `unseen` or `alive`.
        where: the acquisition.
        needs: handles it depends on.
    """

    hid: int
    parent: int
    kind: str
    value: str
    name: str
    acquired: int
    ended: int
    how: str
    where: Place
    needs: tuple[int, ...]


class Cost(NamedTuple):
    """What the tracer itself cost: events and bytes written, distinct stacks, and its own time.

    `bytes` and `writing` (the time spent in writing events, in nanoseconds, -1 if no run recorded
    it) are what the runs said when they ended; a killed run says nothing.
    """

    events: int
    bytes: int
    stacks: int
    writing: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The answers to every question.

    Attributes:
        sources: the files, sorted by path.
        runs: the processes, sorted by start.
        groups: the findings by fingerprint: errors first, then by count.
        sites: the acquisition sites, those that leak most first.
        timelines: live handles over time, as run → points, of the runs with the highest peaks.
        held: the handles held longest, longest first.
        contexts: the releases that took other handles with them, worst first.
        graph_run: the run that `graph` shows, empty if there is none.
        graph: the handles of that run, parents before children; cut off at a limit.
        graph_cut: how many handles of that run `graph` leaves out.
        problems: what traced processes could not do.
        cost: what the tracer cost.
    """

    sources: tuple[Source, ...]
    runs: tuple[Run, ...]
    groups: tuple[Group, ...]
    sites: tuple[Site, ...]
    timelines: tuple[tuple[str, tuple[Point, ...]], ...]
    held: tuple[Held, ...]
    contexts: tuple[Context, ...]
    graph_run: str
    graph: tuple[Node, ...]
    graph_cut: int
    problems: tuple[Problem, ...]
    cost: Cost


class Change(NamedTuple):
    """One fingerprint in two sets of logs: `what` is `new`, `fixed`, `grown` or `shrunk`."""

    what: str
    before: int
    after: int
    group: Group


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What changed between two sets of logs.

    Attributes:
        old_runs: runs in the old logs.
        new_runs: runs in the new logs.
        changes: new first, then grown, shrunk, fixed; within each by count.
        unchanged: fingerprints with the same count on both sides.
    """

    old_runs: int
    new_runs: int
    changes: tuple[Change, ...]
    unchanged: int
