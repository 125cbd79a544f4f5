"""Passes on what has happened, and has it judged: all at once, or in steps if it is much.

One call may end very many handles. They are told of in steps, between which other threads may take
the graph's lock; whoever asks for findings has the rest told first.
"""

from __future__ import annotations

import itertools
import sys
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from csptrace.findings.catalogue import Severity
from csptrace.findings.judgement import Leaks, findings_of
from csptrace.graph.changes import (
    Acquired,
    Collected,
    Detached,
    Ended,
    HandedOver,
    RefChanged,
    Untracked,
)
from csptrace.threads import sleep as _sleep

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import FrameType

    from csptrace.findings.finding import Finding
    from csptrace.findings.judgement import Descriptions
    from csptrace.findings.misuse import Judged
    from csptrace.graph.changes import Change
    from csptrace.graph.graph import Graph
    from csptrace.graph.handle import CallRecord, Departure, Handle, Invocation
    from csptrace.recording.diagnostics import Diagnostics
    from csptrace.recording.explanations import Explanations
    from csptrace.recording.overdue import OverdueWatcher
    from csptrace.recording.reporter import Reporter
    from csptrace.settings import Settings
    from csptrace.stacks.ownership import Ownership

__all__ = ["FEW", "Aftermath", "Publisher"]

_HARMLESS = (Acquired, RefChanged, HandedOver, Untracked)
FEW: Final = 64
"""How many handles may end in one call for all of that to be told at once."""
_STEP: Final = 256
"""If there are more, of how many it is told until other threads may go on: some milliseconds."""
_FINDINGS_A_STEP: Final = 16
_PAUSE: Final = 50e-6
"""Seconds; a lock that is only let go of is taken again before another thread has woken up."""


class Aftermath:
    """What is still to be told of changes that have happened.

    Attributes:
        changes: those of which nothing has been told yet.
        below: handles that the last one has made invalid.
        by: the last one.
        frame: the innermost frame of the call, while it is needed.
        running: see `ExitMonitor.observe`.
        leaks: what has leaked.
        descriptions: the findings that these become, once they are all known.
        found: the leaks among the findings that were reported.
        busy: whether it is being told, by this thread and below on its stack.
        done: whether everything is told.
    """

    __slots__ = (
        "below",
        "busy",
        "by",
        "changes",
        "descriptions",
        "done",
        "found",
        "frame",
        "leaks",
        "running",
    )

    def __init__(self, changes: Iterable[Change], frame: FrameType | None, leaks: Leaks) -> None:
        self.changes = deque(changes)
        self.below: deque[Handle] = deque()
        self.by: Ended | None = None
        self.frame = frame
        self.running: dict[Invocation, Departure] = {}
        self.leaks = leaks
        self.descriptions: Descriptions | None = None
        self.found: list[Finding] = []
        self.busy = False
        self.done = False

    def let_go(self) -> None:
        """Let go of the frames, which lead to all that the program holds, and to this object."""
        self.frame = None
        self.running = {}


class Publisher:
    """Passes changes of the graph on to the reporter and to the judge.

    Everything is called with the graph's lock held, except `tell_in_steps`.

    Args:
        settings: the setting `implied`.
        graph: what is alive.
        ownership: resolves stacks.
        reporter: is told of changes and findings.
        diagnostics: keeps the program from the tracer's bugs.
        explanations: says why handles leaked.
        overdue: knows what was reported as held too long.

    Attributes:
        settings: as above.
        aftermaths: what was not told to its end yet.
    """

    def __init__(
        self,
        settings: Settings,
        graph: Graph,
        ownership: Ownership,
        reporter: Reporter,
        diagnostics: Diagnostics,
        explanations: Explanations,
        overdue: OverdueWatcher,
    ) -> None:
        self.settings = settings
        self.aftermaths: list[Aftermath] = []
        self._graph = graph
        self._resolve = ownership.resolve
        self._reporter = reporter
        self._diagnostics = diagnostics
        self._explanations = explanations
        self._overdue = overdue

    @property
    def is_listened_to(self) -> bool:
        """Whether anybody wants to know of each change."""
        return self._reporter.records or bool(self._overdue.held)

    def publish(self, changes: Sequence[Change]) -> None:
        """Pass changes on and have them judged, to the end."""
        rest = self.begin_to_tell(changes, None)
        while rest is not None and not rest.done:
            self._tell(rest)

    def report(self, change: Judged) -> list[Finding]:
        """Have something judged; report what is wrong with it and return that."""
        return self._reporter.report(findings_of(change, self._resolve, self._graph.epoch))

    def begin_to_tell(self, changes: Sequence[Change], frame: FrameType | None) -> Aftermath | None:
        """Pass changes on and have them judged, all of them if they are few.

        Args:
            changes: what has happened.
            frame: the innermost frame of the call.

        Returns:
            What is left to be told, if there was something to judge.
        """
        if len(changes) > FEW:
            return self._aftermath(changes, frame)
        for number, change in enumerate(changes, 1):
            if self._note(change):
                # The rest of them comes behind what this one has led to.
                rest = self._aftermath(changes[number:], frame)
                try:
                    self._judge(change, rest)
                except BaseException:
                    rest.let_go()
                    raise
                below = sum(len(each.invalidated) for each in changes if isinstance(each, Ended))
                if below <= FEW:
                    while not rest.done:
                        self._tell(rest)
                return rest
        return None

    def _aftermath(self, changes: Sequence[Change], frame: FrameType | None) -> Aftermath:
        rest = Aftermath(changes, frame or sys._getframe(), Leaks(self._resolve))
        self.aftermaths.append(rest)
        return rest

    def _note(self, change: Change) -> bool:
        """Pass on what has happened to one handle; return whether it is to be judged."""
        if self.is_listened_to and not change.handle.found:
            with self._diagnostics.sheltered("writing down what has happened"):
                self._overdue.note(change)
                self._reporter.changed(change, self._graph.live)
        if isinstance(change, Ended):
            self.count_release(change.handle, change.call_record)
            return bool(change.invalidated)
        if isinstance(change, HandedOver | Untracked):
            self._explanations.watch_no_more(change.handle)
        return not isinstance(change, _HARMLESS)

    def count_release(self, handle: Handle, call_record: CallRecord) -> None:
        """Count a release for the place where the handle was acquired."""
        self._explanations.watch_no_more(handle)
        begin, where = handle.acquired, call_record.stack
        stack = begin.stack if begin is not None else None
        if stack is None or where is None or handle.found:
            return
        stack.count_release(where)

    def _judge(self, change: Change, rest: Aftermath) -> None:
        if isinstance(change, Ended):
            rest.by = change
            rest.below.extend(change.invalidated)
        elif isinstance(change, Collected):
            rest.leaks.add_collected(change, self._graph.epoch)
        elif isinstance(change, Detached):
            rest.leaks.add_detached(change, self._graph.epoch)
        else:
            self.report(change)

    def _tell(self, rest: Aftermath) -> None:
        """Tell a part of what is left.

        What the program's own exception cuts short is told when somebody asks next.
        """
        rest.busy = True
        cut_short = True
        try:
            with self._diagnostics.sheltered("telling what a call has ended"):
                self._tell_some(rest)
            cut_short = False
        finally:
            rest.busy = False
            if cut_short or not (rest.below or rest.changes):
                rest.let_go()
            if rest.done:
                with suppress(ValueError):  # a fork has forgotten it
                    self.aftermaths.remove(rest)
                self._explanations.rest()

    def _tell_some(self, rest: Aftermath) -> None:
        for _ in range(_STEP):
            if rest.below:
                self._tell_of_invalid(rest.below.popleft(), rest)
            elif rest.changes:
                change = rest.changes.popleft()
                if self._note(change):
                    self._judge(change, rest)
            else:
                break
        else:
            return
        if rest.descriptions is None:
            try:
                rest.descriptions = rest.leaks.described(
                    self._graph.epoch,
                    self._explanations.causes,
                    broken=self._diagnostics.broken_description,
                )
            except Exception:
                rest.done = True  # else it would fail for ever
                raise
        for finding, _ in itertools.islice(rest.descriptions, _FINDINGS_A_STEP):
            reported = self._reporter.report([finding])
            if finding.code.is_leak and finding.severity is not Severity.INFO:
                rest.found += reported
        rest.done = not rest.descriptions

    def _tell_of_invalid(self, handle: Handle, rest: Aftermath) -> None:
        """Tell of a handle that the release of another one has made invalid."""
        by = rest.by
        try:
            if by is not None and self._reporter.records:
                self._reporter.invalidated(handle, by, self._graph.live)
            exits = self._explanations.exits
            if (
                exits is not None
                and exits.watching
                and handle.must_release
                and rest.frame is not None
            ):
                exits.observe(handle, rest.frame, rest.running)
            else:
                self._explanations.watch_no_more(handle)
        finally:
            rest.leaks.add_invalidated(handle, self._graph.epoch, self.settings.implied)

    def tell_in_steps(self, rest: Aftermath) -> list[Finding]:
        """Tell all that is left, and let other threads go on in between; return the leaks."""
        try:
            while not rest.done:
                _sleep(_PAUSE)
                with self._graph.lock:
                    if not rest.done:
                        self._tell(rest)
        except BaseException:
            rest.let_go()
            raise
        return rest.found

    def tell_rest(self) -> None:
        """Tell what other threads have not told to its end."""
        for rest in list(self.aftermaths):
            while not (rest.done or rest.busy):
                self._tell(rest)
