"""The composition root: the only module that knows every stage.

A `Tracer` is started and stopped once. It implements what the interceptor reports to, asks the
graph what follows, has that judged, and passes events and findings on. Its own bugs never reach
the program: the detector that broke is switched off, which is said once.
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import itertools
import os
import platform
import sys
import threading
import traceback
import uuid
import warnings
from collections import Counter, deque
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from csptrace import __version__
from csptrace.clocks import CLOCKS
from csptrace.detect.budget import Budget
from csptrace.detect.holding import Lookout, overdue
from csptrace.detect.judgement import (
    Descriptions,
    Leaks,
    findings_of,
    held_too_long,
    leaked_at_exit,
    verdict_on_release,
    verdict_on_use,
)
from csptrace.detect.ownership import Ownership
from csptrace.detect.wording import as_text, explain, summary, unheld
from csptrace.errors import (
    DoubleRelease,
    HandleError,
    HandleLeak,
    LeakWarning,
    MisuseWarning,
    OutOfOrderRelease,
    ReleaseWhileInUse,
    StaleDependency,
    UseAfterInvalidation,
    UseAfterRelease,
    WrongRelease,
)
from csptrace.events import records
from csptrace.events.terminal import Terminal
from csptrace.graph import Graph
from csptrace.model import (
    LIVE,
    RELEASING,
    VANISHED,
    Acquired,
    CallSite,
    Change,
    Code,
    Collected,
    Ended,
    Fate,
    Finding,
    Frame,
    HandedOver,
    Handle,
    HandleRef,
    KeepingScope,
    Misused,
    Moment,
    RefChanged,
    Scope,
    Severity,
    Stack,
    Thread,
    UnloadableSite,
    Vanished,
    frame_at,
)
from csptrace.patch.exits import INTERNAL, LAUNCHER, LIBRARY, USER, Exits
from csptrace.patch.interceptor import (
    DELIBERATE,
    THE_LIBRARY,
    Sheltered,
    Swept,
    in_flight,
    is_deliberate,
)
from csptrace.patch.questions import Answer, ask, ask_limit
from csptrace.patch.stacks import StackTable
from csptrace.patch.targets import Installation
from csptrace.specs import registry
from csptrace.terminal import escape
from csptrace.threads import sleep as _sleep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path
    from types import CodeType, FrameType

    from csptrace.detect.causes import Causes
    from csptrace.events.log import EventLog
    from csptrace.model import Departure, Stay
    from csptrace.patch.interceptor import Begin, Enter, Settle
    from csptrace.settings import Settings
    from csptrace.specs.vocabulary import Kind, Question

__all__ = ["Snapshot", "Tracer"]


__tracebackhide__ = is_deliberate
_ERRORS: dict[Code, type[HandleError]] = {
    Code(cls.code): cls
    for cls in (
        UseAfterRelease,
        UseAfterInvalidation,
        DoubleRelease,
        WrongRelease,
        OutOfOrderRelease,
        StaleDependency,
        ReleaseWhileInUse,
    )
}
_HARMLESS = (Acquired, RefChanged, HandedOver, Vanished)
_MOST_KEPT_FINDINGS = 10_000
_FEW = 64
"""How many handles may end in one call for all of that to be told at once."""
_STEP = 256
"""If there are more, of how many it is told until other threads may go on: some milliseconds."""
_FINDINGS_A_STEP = 16
_PAUSE = 50e-6
"""Seconds; a lock that is only let go of is taken again before another thread has woken up."""
_scope: contextvars.ContextVar[Scope | None] = contextvars.ContextVar("csptrace", default=None)
_new_moment = tuple.__new__


class _ThreadNames(threading.local):
    """The calling thread, looked up once for each thread."""

    def __init__(self) -> None:
        # threading.current_thread() would enter a dummy for a foreign thread.
        known = threading._active.get(threading.get_ident())  # type: ignore[attr-defined]
        self.thread = Thread(threading.get_ident(), known.name if known is not None else "foreign")


class Snapshot(NamedTuple):
    """What was alive at one time.

    Attributes:
        tracer: who took it.
        handles: the live handles, oldest first.
    """

    tracer: Tracer
    handles: tuple[HandleRef, ...]

    def diff(self) -> tuple[HandleRef, ...]:
        """Return the handles that are alive now and were not when the snapshot was taken."""
        known = {handle.hid for handle in self.handles}
        return tuple(handle for handle in self.tracer.snapshot().handles if handle.hid not in known)


class _Aftermath:
    """What is still to be told of changes that have happened.

    Attributes:
        changes: those of which nothing has been told yet.
        below: handles that the last one has made invalid.
        by: the last one.
        frame: the innermost frame of the call, while it is needed.
        running: see `Exits.observe`.
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
        self.running: dict[Stay, Departure] = {}
        self.leaks = leaks
        self.descriptions: Descriptions | None = None
        self.found: list[Finding] = []
        self.busy = False
        self.done = False

    def let_go(self) -> None:
        """Let go of the frames, which lead to all that the program holds, and to this object."""
        self.frame = None
        self.running = {}


class Tracer:
    """One stretch of tracing.

    Args:
        settings: how to trace.
        complain: what to do with a complaint instead of writing it to stderr.

    Attributes:
        settings: how it traces.
        active: whether it traces.
        touches: whether every use is recorded with its stack (level `full`).
        called: whether a traced call was made so far, or since somebody has set it back.
        findings: what was found so far, oldest first; the first 10,000 are kept. One may stand
            for many, see `Finding.times`.
        counts: how many findings there were of each fingerprint.
        log_path: the event log of this process, `None` if there is none.
        graph: what is alive.
        installation: what is patched.
        serious: how many findings there were that are more than information and that the baseline
            does not accept.
        program_status: the exit status that the program asked for, where it is known.
        observer: is told of every finding, with the graph's lock held; `None` for nobody.
        unscoped: tells the scope of a call that is made in none, such as that of a thread.
        exits: watches how functions that have handles are left; `None` if it is not wanted.
    """

    def __init__(self, settings: Settings, complain: Callable[[str], None] | None = None) -> None:
        self.settings = settings
        self.active = False
        self.touches = settings.level == "full"
        self.called = False
        self.findings: list[Finding] = []
        self.counts: Counter[str] = Counter()
        self.codes: Counter[str] = Counter()
        self.graph = Graph(settings.tombstones)
        self._ownership = Ownership(settings.include, settings.exclude)
        self._stacks = StackTable(
            0 if settings.level == "count" else settings.depth,
            self._ownership.is_launcher,
            self._ownership.is_library,
        )
        self._terminal = Terminal(quiet=settings.quiet)
        self._complaint = complain
        self._complaints: dict[str, str] = {}
        self._log: EventLog | None = None
        self._threads = _ThreadNames()
        self._collected: deque[tuple[Handle, CallSite, bool]] = deque()
        self._aftermaths: list[_Aftermath] = []
        self._scopes = itertools.count(1)
        self._run = _new_run()
        self._broken: set[str] = set()
        self._doubtful = False
        self._nameless = -1
        self.program_status = 0
        self.serious = 0
        self._accepted = _accepted(settings.baseline)
        self.observer: Callable[[Finding], None] | None = None
        self.unscoped: Callable[[], Scope | None] = _in_no_scope
        self._capture = self._stacks.capture
        self._budget = Budget(settings.session_limit, settings.session_share, _limit)
        self.installation = Installation(
            registry.load(settings.apis, self._complain_of_spec), settings.libraries, self
        )
        self._roles: dict[str, int] = {}
        self._causes: Causes | None = None
        self.exits: Exits | None = None
        if settings.causes and settings.level != "count":
            self.exits = Exits(self._role, self._complain_of_exits, self._broken_exits)
        self._held: set[Handle] = set()
        self._lookout = Lookout(self._look) if settings.held_too_long else None

    # --- starting and stopping ----------------------------------------------------------------

    @property
    def log_path(self) -> os.PathLike[str] | None:
        """The event log of this process."""
        return None if self._log is None else self._log.path

    @property
    def doubtful(self) -> bool:
        """Whether an internal error may have made a correct call look wrong since."""
        return self._doubtful

    def complaints(self, code: str) -> list[str]:
        """Return what was complained of.

        Args:
            code: the sort of complaint; `internal` for internal errors.
        """
        return [message for message, known in list(self._complaints.items()) if known == code]

    def start(self) -> None:
        """Open the log and patch everything.

        Raises:
            Exception: whatever patching raised; then nothing stays patched.
        """
        if self.settings.log is not None:
            self._open_log(None)
        self.active = True
        try:
            self.installation.install()
            if self.exits is not None:
                self.exits.start()
            if self._lookout is not None:
                self._lookout.start()
        except BaseException:
            self.active = False
            if self.exits is not None:
                self.exits.stop()
            if self._log is not None:
                self._log.close()
            raise
        for missed in self.installation.missed:
            self.complain(
                "missed",
                f"{missed} was bound before tracing began and is not traced: what it hands out is "
                "not called dead, and what it releases is no leak; start earlier (CSPTRACE=1) or "
                "look the function up when it is called",
            )

    def stop(self, *, exiting: bool = False) -> list[Finding]:
        """Judge what is left, take every patch back, write the summary and close the log.

        Args:
            exiting: whether the interpreter is about to exit.

        Returns:
            The handles leaked at exit.
        """
        if not self.active:
            return []
        frame = _caller()
        leaked: list[Finding] = []
        try:
            with self._sheltered("asking what is left"):
                if self._lookout is not None:
                    self._lookout.stop()
                self._ask_about(self.graph.owed())
            with self.graph.lock:
                try:
                    leaked = self._judge_rest(frame)
                finally:
                    self.active = False
        finally:
            self._end(exiting=exiting)
        self._react_to_leaks(leaked, exiting=exiting)
        return leaked

    def _judge_rest(self, frame: FrameType | None) -> list[Finding]:
        """Report what is left when tracing ends."""
        with self._sheltered("judging what is left"):
            owed = self._owed(None)
            if self._lookout is not None:
                with self._sheltered("judging what is held too long"):
                    self._report_overdue(self._overdue(owed)[0])
            self._observe(owed, frame, {})
            return self._report(
                leaked_at_exit(
                    owed,
                    self._ownership,
                    self.graph.epoch,
                    "",
                    self._causes_known(),
                    self._broken_description,
                )
            )
        return []

    def _end(self, *, exiting: bool) -> None:
        """Leave the program alone, each step even if the program's own exception cuts one short."""
        self.active = False
        try:
            with self.graph.lock, self._sheltered("watching how functions are left"):
                if self.exits is not None:
                    self.exits.stop()
        finally:
            try:
                if not exiting:
                    with self._sheltered("taking the patches back"):
                        self._unpatch()
            finally:
                try:
                    with self.graph.lock, self._sheltered("writing the summary"):
                        self._write_end()
                finally:
                    if self._log is not None:
                        self._log.close()
                    with self.graph.lock, self._sheltered("letting go of the handles"):
                        self.graph.clear()
                        self._stacks.clear()

    def _unpatch(self) -> None:
        try:
            errors = self.installation.uninstall()
        except BaseException:
            self.installation.uninstall()  # what is left of it
            raise
        for error in errors:
            self._complain_of_bug(_SELF, error)

    def _open_log(self, parent_run: str | None) -> None:
        from csptrace.events.log import EventLog  # noqa: PLC0415 - imports structlog for a log

        assert self.settings.log is not None  # noqa: S101 - for the type checker
        first: dict[str, Any] = {
            "csptrace": __version__,
            "python": platform.python_version(),
            "platform": sys.platform,
            "host": platform.node(),
            "program": _program(getattr(sys, "argv", []), getattr(sys, "orig_argv", [])),
            "level": self.settings.level,
            "apis": [spec.name for spec in self.installation.specs],
        }
        if parent_run is not None:
            first["parent_run"] = parent_run
        with suppress(OSError):  # not everywhere
            first["pid_namespace"] = str(os.stat("/proc/self/ns/pid").st_ino)
        self._log = EventLog(
            self.settings.log,
            self._run,
            self.complain,
            first=("csptrace.run_started", first),
            deferred=parent_run is not None,
            rotate=self.settings.log_rotate * 1_000_000,
        )
        if parent_run is None:
            for message, code in list(self._complaints.items()):
                if code != "log":  # said while the specs were loaded
                    self._log.emit("csptrace.notice", code=code, message=message)

    def _write_end(self) -> None:
        for line in self._budget.lines():
            self._terminal.line(line, "good")
        if self.codes or self.graph.acquired:
            self._terminal.line(self._summary(), "bad" if self.codes else "good")
        if self._log is not None and not self._log.is_empty:
            self._log.rescue()
            for peak in self._budget.peaks():
                self._log.emit("csptrace.peak_reached", **records.peak_event(peak))
            self._log.emit(
                "csptrace.run_ended",
                acquired=self.graph.acquired,
                peak=self.graph.peak,
                live=self.graph.live,
                findings=dict(self.codes),
                **self._log.cost,
            )
            self._log.close()

    def _summary(self) -> str:
        acquired = self.graph.acquired
        text = f"{acquired} handle{'s' if acquired != 1 else ''} acquired, "
        total = sum(self.codes.values())
        if total:
            each = ", ".join(f"{count} {code}" for code, count in sorted(self.codes.items()))
            text += f"{total} finding{'s' if total != 1 else ''} ({each})"
            distinct = len(self.counts)
            if distinct < total:
                text += f" at {distinct} place{'s' if distinct != 1 else ''}"
        else:
            text += "no findings"
        if self._log is not None and self._log.path is not None:
            text += f"; log: {self._log.path}"
        return text

    # --- fork ---------------------------------------------------------------------------------

    def after_fork_in_child(self) -> None:
        """Start anew in the child: a log of its own, and no duty for the parent's handles."""
        with self._sheltered("going on after a fork"):
            self._go_on_in_child()
        if self._lookout is not None:
            try:
                self._lookout.start()
            except Exception as error:  # noqa: BLE001 - the system may allow no more threads
                self._complain_of_bug(CallSite("looking for handles held too long", "", ""), error)

    def _go_on_in_child(self) -> None:
        self.graph.forked()
        self._collected.clear()
        self._aftermaths.clear()
        self._held.clear()
        self._threads = _ThreadNames()
        self.findings = []
        self.counts = Counter()
        self.codes = Counter()
        self.serious = 0
        self._budget = Budget(self.settings.session_limit, self.settings.session_share, _limit)
        for stack in self._stacks:
            stack.logged = False
        if self.exits is not None:
            self.exits.forked()
        parent, self._run = self._run, _new_run()
        log, self._log = self._log, None
        if log is not None:
            log.abandon()
            self._open_log(parent)

    # --- what users ask -----------------------------------------------------------------------

    def check(self) -> tuple[Finding, ...]:
        """Return what was found so far; tracing goes on."""
        with self.graph.lock:
            self._drain()
            self._tell_rest()
            return tuple(self.findings)

    def live(self) -> tuple[HandleRef, ...]:
        """Return the handles that somebody still has to release, oldest first."""
        return self.snapshot().handles

    def snapshot(self) -> Snapshot:
        """Return what is alive now; `snapshot.diff()` tells later what has been added."""
        with self.graph.lock:
            self._drain()
            return Snapshot(
                self,
                tuple(
                    HandleRef(
                        handle.kind.name,
                        handle.kind.title,
                        handle.value,
                        handle.generation,
                        handle.hid,
                        handle.name,
                        handle.acquired,
                    )
                    for handle in self.graph.owed()
                ),
            )

    @contextmanager
    def scope(self, name: str) -> Iterator[Scope]:
        """Judge a stretch of the program by itself.

        What was acquired inside, in this thread or task, and is not released when the stretch
        ends is reported as `leaked-at-exit` of the scope.

        Args:
            name: what the scope is called in reports.

        Yields:
            The scope.

        Raises:
            HandleLeak: something leaked, `on_leak` is `raise`, and the block raised nothing.
        """
        scope = Scope(name, next(self._scopes), _scope.get())
        token = _scope.set(scope)
        failed = True
        try:
            yield scope
            failed = False
        finally:
            # An asynchronous generator may be closed in another context than it was opened in.
            with suppress(ValueError):
                _scope.reset(token)
            with self.graph.lock:
                found: list[Finding] = []
                with self._sheltered("judging a scope"):
                    if self.active:
                        self._ask_about(self.graph.owed(scope))
                        owed = self._owed(scope)
                        self._observe(owed, _caller(), {})
                        found = leaked_at_exit(
                            owed,
                            self._ownership,
                            self.graph.epoch,
                            name,
                            self._causes_known(),
                            self._broken_description,
                        )
                        for handle in owed:
                            handle.duty = False  # judged; the process must not report it again
                        if self.exits is not None:
                            self.exits.rest()
                        found = self._report(found)
                        if self._log is not None:
                            leaked = sum(finding.times for finding in found)
                            self._log.emit("csptrace.scope_ended", scope=name, leaked=leaked)
                scope.ended = True
            self._react_to_leaks(found, exiting=failed)

    def hide_launcher(self, *folders: str) -> None:
        """Show no frame of these folders, and none of what called them: they start the program."""
        self._ownership.add_launchers(*folders)
        self._roles.clear()
        self._stacks.ask_again()

    def new_scope(self, name: str) -> KeepingScope:
        """Return a scope whose end the caller finds and judges; see `set_scope` and `judge`."""
        return KeepingScope(name, next(self._scopes))

    @staticmethod
    def set_scope(scope: Scope | None) -> contextvars.Token[Scope | None]:
        """Make a scope the innermost one of this thread or task."""
        return _scope.set(scope)

    @staticmethod
    def reset_scope(token: contextvars.Token[Scope | None]) -> None:
        """Go back to the scope that was the innermost one before."""
        # An asynchronous generator may be closed in another context than it was opened in.
        with suppress(ValueError):
            _scope.reset(token)

    @staticmethod
    def scope_now() -> Scope | None:
        """Return the innermost scope of this thread or task."""
        return _scope.get()

    def owed_in(self, scopes: Iterable[KeepingScope]) -> list[Handle]:
        """Return what was acquired in these scopes and is still to be released, oldest first."""
        with self.graph.lock:
            self._drain()
            self._tell_rest()
            owed = [
                handle
                for scope in scopes
                for handle in scope.kept
                if handle.duty and handle.state == LIVE and handle.epoch == self.graph.epoch
            ]
            self._ask_about(owed)
            return [handle for handle in owed if handle.duty and handle.state == LIVE]

    def judge(self, handles: Iterable[Handle], name: str) -> list[tuple[Handle, Finding]]:
        """Report handles as leaked at the end of a scope, once and for all.

        Args:
            handles: what `owed_in` returned.
            name: the scope's name.

        Returns:
            The handles, each with the finding that is about it, or stands for it.
        """
        with self.graph.lock:
            leaks = Leaks(self._ownership)
            for handle in handles:
                leaks.add_owed(handle, name)
                handle.duty = False
            judged = [
                (handle, finding)
                for finding, alike in leaks.described(
                    self.graph.epoch, self._causes_known(), broken=self._broken_description
                )
                if self._report([finding])
                for handle in alike
            ]
            for handle, _ in judged:
                self._watch_no_more(handle)
            if judged and self._log is not None:
                self._log.emit("csptrace.scope_ended", scope=name, leaked=len(judged))
            return judged

    def excuse(self, handles: Iterable[Handle]) -> None:
        """Never report handles as leaked at the end: they have a holder that releases them."""
        with self.graph.lock:
            for handle in handles:
                handle.duty = False

    @contextmanager
    def rehearsal(self) -> Iterator[list[Finding]]:
        """Try the tracer out: what happens in the block is found, but neither counted nor logged.

        Other threads wait meanwhile. How functions are left is not watched.

        Yields:
            What is found in the block.
        """
        graph, found = self.graph, list[Finding]()
        with graph.lock:
            self._drain()  # what the program has let go of is not part of it,
            self._tell_rest()  # nor what another thread has not told to its end
            kept = (self._log, self._terminal, self.observer, self.findings, self.settings)
            exits, self.exits = self.exits, None
            called = self.called
            counts = (self.counts, self.codes, self.serious, graph.acquired, graph.peak)
            self._log, self._terminal, self.observer = None, Terminal(quiet=True), None
            self.findings, self.counts, self.codes = found, Counter(), Counter()
            self.settings = dataclasses.replace(
                self.settings, on_leak="log", on_misuse="log", level="acquire"
            )
            ownership, self._ownership = self._ownership, Ownership()
            token = _scope.set(None)
            try:
                yield found
                self._drain()
            finally:
                _scope.reset(token)
                self.exits, self.called = exits, called
                if exits is not None:
                    exits.sweep()
                self._ownership = ownership
                self._log, self._terminal, self.observer, self.findings, self.settings = kept
                self.counts, self.codes, self.serious, graph.acquired, graph.peak = counts

    def reconfigure(self, settings: Settings) -> bool:
        """Go on with other settings, as far as that is possible in the middle of tracing.

        Args:
            settings: the new settings.

        Returns:
            Whether it was possible; if not, nothing has changed. What is patched, how much is
            recorded and a log that has begun cannot be changed.
        """
        fixed = ("level", "depth", "apis", "libraries", "tombstones", "causes", "held_too_long")
        if any(getattr(settings, name) != getattr(self.settings, name) for name in fixed):
            return False
        if self._log is not None and settings.log != self.settings.log:
            return False
        self._ownership.change(settings.include, settings.exclude)
        self._roles.clear()
        self._terminal = Terminal(quiet=settings.quiet)
        self.settings = settings
        if self._log is None and settings.log is not None:
            self._open_log(None)
        return True

    def explain(self, finding: Finding, *, frames: int = 4) -> str:
        """Return a finding in words.

        Args:
            finding: the finding.
            frames: how many frames of each stack are shown.
        """
        redact = self.settings.redact_names
        return as_text(explain(finding, self._ownership, redact=redact, frames=frames))

    def event(self, finding: Finding) -> tuple[dict[str, Any], dict[int, Any]]:
        """Return a finding as the log has it.

        Args:
            finding: the finding.

        Returns:
            The fields of its event, `ts` among them, and the frames of its stacks by their ids.
        """
        fields = records.finding_event(finding, self._ownership, redact=self.settings.redact_names)
        fields["ts"] = finding.time
        moments = (finding.acquired, finding.ended, finding.misused, finding.last_use)
        stacks = [moment.stack for moment in moments if moment is not None]
        return fields, {
            stack.number: records.stack_event(stack, self._ownership)["frames"]
            for stack in stacks
            if stack is not None
        }

    @property
    def run(self) -> str:
        """The id of this process's run, as in the log."""
        return self._run

    def is_user_frame(self, frame: Frame) -> bool:
        """Return whether a frame is the user's own code."""
        return self._ownership.is_user(frame)

    def is_users(self, stack: Stack | None) -> bool:
        """Return whether a call came straight from the user's own code."""
        shown = self._ownership.shown(stack)
        return not shown or self._ownership.is_user(shown[0])

    def trace_library(self, library: Any, api: str) -> Any:
        """Trace a library object; see `csptrace.trace_library`."""
        return self.installation.trace_library(library, api)

    # --- Monitor: what the interceptor reports to ---------------------------------------------

    def table(self, kind: Kind) -> dict[int, Handle]:
        """Return the live dictionary value → handle of a kind."""
        return self.graph.table(kind)

    def misused(self, handle: Handle, site: CallSite, frame: FrameType | None) -> None:
        """Judge the use of a handle whose `alert` is set.

        Raises:
            HandleError: the use is wrong and `on_misuse` is `raise`.
        """
        if not self.active:  # an object may remember a handle for longer than it is traced
            return
        try:
            if self._collected:
                with self.graph.lock:
                    self._drain()
            if handle.doubt is not None:
                self._clear_up(handle)
            verdict = verdict_on_use(handle)
            if verdict is None:
                return
            found = self._misuse(handle, verdict.code, verdict.culprit, site, frame)
        except DELIBERATE:
            raise
        except RecursionError:
            return  # no room for a complaint
        except Exception as error:  # noqa: BLE001 - the tracer may break, the program may not
            self.broken(site, error)
            return
        self._react_to_misuse(found, handle, site)

    def touched(self, handle: Handle, site: CallSite, frame: FrameType | None) -> None:
        """Record a use."""
        try:
            handle.last_use = self._moment(site, frame)
        except RecursionError:
            pass  # no room for a complaint
        except Exception as error:  # noqa: BLE001 - as above
            self.broken(site, error)

    def acquirer(self, kind: Kind, site: CallSite) -> Enter:
        """Return a function `(value, parent, needs, name, frame)` that enters a new handle."""
        graph, collected, moment_of = self.graph, self._collected, self._moment_maker(site)
        exits = self.exits if kind.must_release else None
        self.graph.table(kind)
        own_name = os.path.basename(kind.realm) if kind.library else ""
        counted = kind.counted

        def acquired(
            value: int,
            parent: Handle | None,
            needs: tuple[Handle, ...],
            name: str,
            frame: FrameType | None,
        ) -> Handle:
            moment = moment_of(frame)
            stack = moment.stack
            with graph.lock:
                if collected:
                    self._drain()
                if stack is not None:
                    stack.acquired += 1
                handle, changes = graph.acquire(
                    kind, value, parent, needs, moment, name or own_name
                )
                scope = moment.scope
                if scope is not None and scope.keeper is not None:
                    scope.keeper.keep(handle)
                if self._log is not None or len(changes) > 1 or self._held:
                    self._publish(changes)
            if exits is not None and exits.watching and frame is not None and stack is not None:
                exits.watch(handle, stack, frame)
            if counted:
                self._count(handle)
            return handle

        return acquired

    def releaser(self, kind: Kind, site: CallSite) -> tuple[Begin, Settle]:
        """Return two functions, one for before the release of a handle and one for after it.

        Returns:
            `begin(value, handle, frame, marks)`, which judges the release, marks the handle and
            puts it into `marks`, but not if the release is wrong and is made all the same; it
            raises `HandleError` if the release is wrong and `on_misuse` is `raise`. And
            `settle(handle, frame, fate)`, which confirms or rolls back, and returns the error to
            raise if leaks raise.
        """
        graph, collected = self.graph, self._collected
        moment_of = self._moment_maker(site, self._stacks.capture_short)
        careful = self._begin_carefully(kind, site) if kind.exclusive else None

        def begin(
            value: int, handle: Handle | None, frame: FrameType | None, marks: list[Handle]
        ) -> None:
            with graph.lock:
                if collected:
                    self._drain()
                if handle is not None and handle.doubt is not None:
                    self._clear_up(handle)
                if handle is not None and handle.state == LIVE:
                    if careful is None:
                        graph.begin_release(handle, marks)
                    else:
                        careful(handle, frame, marks)
                    return
                found: Finding | None = None
                if handle is None or handle.state == VANISHED:
                    other = graph.other_kind(kind, value)
                    if other is not None and not graph.is_unseen(kind):
                        found = self._misuse(other, Code.WRONG_RELEASE, None, site, frame)
                    else:
                        handle = graph.borrow(kind, value)
                if handle is not None:
                    verdict = verdict_on_release(handle)
                    if verdict is None:
                        graph.begin_release(handle, marks)
                        return
                    found = self._misuse(handle, verdict.code, verdict.culprit, site, frame)
            self._react_to_misuse(found, handle, site)

        def settle(handle: Handle, frame: FrameType | None, fate: Fate) -> HandleLeak | None:
            if fate is Fate.NOT_MADE:
                with graph.lock:
                    graph.cancel_release(handle)
                return None
            moment = moment_of(frame)
            released = fate is Fate.RELEASED
            with graph.lock:
                if (
                    released
                    and self._log is None
                    and not self._held
                    and graph.settle_leaf(handle, moment)
                ):
                    self._count_release(handle, moment)
                    return None
                if fate is Fate.UNKNOWN:
                    changes = graph.lose_track(handle, moment)
                else:
                    changes = graph.settle_release(handle, moment, released=released)
                rest = self._begin_to_tell(changes, frame)
            if rest is None:
                return None
            leaked = self._tell_in_steps(rest)
            return self._react_to_leaks(leaked, deferred=True) if leaked else None

        return begin, settle

    def _begin_carefully(
        self, kind: Kind, site: CallSite
    ) -> Callable[[Handle, FrameType | None, list[Handle]], None]:
        """Return the beginning of a release that must not come while something else goes on."""
        graph = self.graph

        def begin(handle: Handle, frame: FrameType | None, marks: list[Handle]) -> None:
            found = self._while_in_use(handle, site, frame)
            if found is not None:
                # Made all the same, if that does not raise.
                self._react_to_misuse(found, handle, site)
            else:
                self._ask_below(kind, handle, site)
            if handle.state == LIVE:
                graph.begin_release(handle, marks)

        return begin

    def _while_in_use(
        self, handle: Handle, site: CallSite, frame: FrameType | None
    ) -> Finding | None:
        """Report that another thread is inside a call on a handle, or on something under it."""
        for ident, inside, call, used in in_flight():
            if any(handle in _lineage(each) for each in used):
                meanwhile = self._moment(call, inside.f_back)._replace(
                    thread=_thread_of(ident), task=""
                )
                return self._misuse(handle, Code.RELEASE_WHILE_IN_USE, None, site, frame, meanwhile)
        return None

    def _ask_below(self, kind: Kind, handle: Handle, site: CallSite) -> None:
        """Ask the provider which handles outlive their parent, before their parents end."""
        asked = [
            child
            for child in self.graph.below(handle)
            if child.kind.survives is not None and child.duty
        ]
        for child in asked:
            session = child.parent
            if session is None or child.kind.survives is None or session.state != LIVE:
                continue
            answer = ask(child.kind.survives, kind.realm, session.value, child.value)
            self._apply(answer, child, site)

    def _apply(self, answer: Answer, child: Handle, site: CallSite) -> None:
        if answer is Answer.YES:
            above = None if child.parent is None else child.parent.parent
            self.graph.move(child, self._home(child.kind, above))
        elif answer in (Answer.GONE, Answer.ORPHANED):
            self._publish(self.graph.forget(child, self._moment(site, None)))

    def _home(self, kind: Kind, above: Handle | None) -> Handle | None:
        """Return what a handle lives under that outlives its parent, or was only found.

        Args:
            kind: its kind.
            above: the parent of its parent, as far as that is known.
        """
        if kind.home is None:
            return None
        return self.borrowed(kind.home, _SOMEWHERE if above is None else above.value)

    def _clear_up(self, handle: Handle) -> None:
        """Ask the provider whether a handle is alive that a call may have ended."""
        with self.graph.lock:
            if handle.doubt is None or handle.state != LIVE:
                return
            answer = self._ask_anyone(handle)
            if answer is Answer.GONE:
                self._publish(self.graph.end_doubted(handle))
            elif answer is not Answer.ORPHANED:  # alive, or the provider does not tell
                self.graph.trust(handle)

    def _ask_anyone(self, handle: Handle) -> Answer:
        """Ask about a handle through any of what its home can be reached by, if there is any.

        The program is about to make a call of its own with the handle, so that whatever this call
        disturbs in another thread, that one does too.
        """
        kind, home = handle.kind, handle.parent
        if kind.survives is None or kind.under is None or home is None:
            return Answer.UNKNOWN
        if kind.under.under is None:
            return Answer.UNKNOWN
        if home.kind is kind.under:
            return self._ask_through(home, handle)
        slot = self.graph.table(kind.under.under).get(home.value)
        for each in list(slot.children or ()) if slot is not None else ():
            if each.kind is kind.under and each.state == LIVE:
                answer = self._ask_through(each, handle)
                if answer is not Answer.ORPHANED:
                    return answer
        return Answer.ORPHANED

    @staticmethod
    def _ask_through(session: Handle, handle: Handle) -> Answer:
        assert handle.kind.survives is not None  # noqa: S101 - for the type checker
        return ask(handle.kind.survives, handle.kind.realm, session.value, handle.value)

    def _ask_about(self, owed: Iterable[Handle]) -> None:
        """Ask about what would be reported as leaked at exit, if its library is at rest."""
        asked = [
            handle
            for handle in owed
            if handle.kind.survives is not None and handle.parent is not None
        ]
        if not asked or list(in_flight()):
            return
        with self.graph.lock:
            for handle in asked:
                ends = _lineage(handle)
                if all(each.state == LIVE for each in ends):
                    assert handle.kind.survives is not None  # noqa: S101 - for the type checker
                    answer = ask(
                        handle.kind.survives, handle.kind.realm, ends[1].value, handle.value
                    )
                    self._apply(answer, handle, _SELF)

    def _count(self, handle: Handle) -> None:
        """Note how many handles of a limited kind are open, and say so when it is too many."""
        message = self._budget.count(handle)
        if message is not None:
            self.complain("budget", message)

    def lost(
        self, kind: Kind, parent: Handle | None, site: CallSite, frame: FrameType | None
    ) -> None:
        """Report a handle that the provider has handed out and nobody was told the value of."""
        moment = self._moment(site, frame)
        with self.graph.lock:
            self._drain()
            if moment.stack is not None:
                moment.stack.acquired += 1
            self._nameless -= 1
            handle, changes = self.graph.acquire(kind, self._nameless, parent, (), moment)
            changes += self.graph.collect(handle, moment, released=False)
            self._publish(changes)
        if kind.counted:
            self._count(handle)

    def completed(self, handle: Handle, site: CallSite, frame: FrameType | None) -> None:
        """Note that what a call had begun is complete."""
        moment = self._moment(site, frame)
        with self.graph.lock:
            if handle.state == LIVE and self.graph.begin_release(handle):
                self._publish(self.graph.settle_release(handle, moment, released=True))

    def unseen(self, handed_out: Iterable[Kind], released: Iterable[Kind] = ()) -> None:
        """Note which kinds of handles may be handed out or released without being seen.

        What is handed out so is not called dead by its value, and what is released so is no leak.
        """
        with self.graph.lock:
            self.graph.unseen(handed_out)
            self.graph.released_unseen(released)

    def forget(self, kind: Kind, value: int | None) -> None:
        """Forget the dead or dying handle whose value may have been handed out again, unseen."""
        table = self.graph.table(kind)
        handle = None if value is None else table.get(value)
        if handle is not None and (handle.alert or handle.state == RELEASING):
            table.pop(handle.value, None)

    def borrowed(self, kind: Kind, value: int) -> Handle:
        """Return the handle with a value, entering it without a duty if it is unknown."""
        with self.graph.lock:
            return self.graph.borrow(kind, value, self._above(kind))

    def _above(self, kind: Kind) -> Handle | None:
        """Return what an unknown handle of a kind lives under, as far as that is certain."""
        above = kind.home or kind.under
        if above is None:
            return None
        if above.library:
            library = self.graph.borrow(above, THE_LIBRARY)
            library.name = library.name or os.path.basename(kind.realm)
            return library
        return self.borrowed(above, _SOMEWHERE) if above.given else None

    def found(
        self,
        kind: Kind,
        values: Iterable[int],
        beside: Handle | None,
        site: CallSite,
        frame: FrameType | None,
    ) -> list[Handle]:
        """Return the handles that a call has handed out without a duty, entering the unknown."""
        moment = self._moment(site, frame)
        handles = []
        with self.graph.lock:
            self._drain()
            home = self._home(kind, beside)
            for value in values:
                handle, changes = self.graph.find(kind, value, home, moment)
                handles.append(handle)
                self._publish(changes)
        return handles

    def ref_added(self, handle: Handle, site: CallSite, frame: FrameType | None) -> None:
        """Count one more reference."""
        with self.graph.lock:
            self._publish(self.graph.add_ref(handle, self._moment(site, frame)))

    def handed_over(self, handle: Handle, site: CallSite, frame: FrameType | None) -> None:
        """Note that the provider releases the handle from now on."""
        with self.graph.lock:
            self._publish(self.graph.hand_over(handle, self._moment(site, frame)))

    def begin_sweep(
        self,
        kind: Kind,
        parent: Handle | None,
        site: CallSite,
        frame: FrameType | None,
        *,
        below: bool = False,
        asking: Question | None = None,
    ) -> Swept:
        """Mark every live handle of a kind; return those to be settled."""
        with self.graph.lock:
            self._drain()
            chosen: list[Handle] | None = None
            doubtful: list[Handle] = []
            if below and parent is not None:
                chosen = [handle for handle in self.graph.below(parent) if handle.kind is kind]
            if asking is not None:
                chosen = [handle for handle in chosen or () if self._answers_yes(asking, handle)]
                home = self._home(kind, parent)
                doubtful = list(home.children or ()) if home is not None else []
            if kind.exclusive and parent is not None:
                for handle in self.graph.below(parent):
                    if handle.kind is kind and handle.state == LIVE:
                        found = self._while_in_use(handle, site, frame)
                        if found is not None:
                            self._react_to_misuse(found, handle, site)
                        else:
                            self._ask_below(kind, handle, site)
            return Swept(self.graph.begin_release_all(kind, parent, chosen), doubtful)

    def _answers_yes(self, asking: Question, handle: Handle) -> bool:
        session = handle.parent
        return (
            session is not None
            and handle.state == session.state == LIVE
            and ask(asking, handle.kind.realm, session.value, handle.value) is Answer.YES
        )

    def settle_sweep(
        self, swept: Swept, site: CallSite, frame: FrameType | None, *, released: bool
    ) -> HandleLeak | None:
        """Confirm or roll back the end of many handles."""
        moment = self._moment(site, frame)
        with self.graph.lock:
            changes = self.graph.settle_release_all(swept.handles, moment, released=released)
            if released:
                self.graph.doubt(swept.doubtful, moment)
            rest = self._begin_to_tell(changes, frame)
        leaked = None if rest is None else self._tell_in_steps(rest)
        return self._react_to_leaks(leaked, deferred=True) if leaked else None

    def collected(self, handle: Handle, site: CallSite, *, released: bool) -> None:
        """Note that a handle object is gone; called by a finalizer, at any point of any thread.

        Nothing is locked here: the collector may run in the middle of a change. The note is read
        before the next change, so before the value can be seen again.
        """
        try:
            self._observe((handle,), sys._getframe(), {})  # where it was let go
        except Exception as error:  # noqa: BLE001 - a finalizer has nobody to tell
            self._broken_exits(error)
        self._collected.append((handle, site, released))
        if released:
            # A use of what went with it must be looked at even before the note is read.
            for child in list(handle.children or ()):
                child.alert = True

    def quarantined(self, handle: Handle, site: CallSite) -> None:
        """Say once that a binding's destructor would release a second time."""
        self.complain(
            f"quarantine {site.binding}",
            f"{site.binding} objects release their handle again when they are collected, even "
            f"after {site.call}; csptrace keeps released ones alive so that the second release "
            f"does not hit another {handle.kind.title}",
        )

    def patching_failed(self, what: str, error: BaseException) -> None:
        """Note that a target could not be patched."""
        self._doubtful = True
        self._complain_of_bug(CallSite(f"patching {what}", "", ""), error)

    def foresee(self) -> None:
        """Import what findings need, before the first function of a provider is patched.

        Not earlier, since most runs have none. Not later either: when a finding is made, or a
        function is looked up, the program may have no file descriptors left, fewer rights or
        another root directory, and the graph's lock is held, perhaps in the middle of an import.
        """
        if self._causes is not None or self.exits is None:
            return
        try:
            from csptrace.detect.causes import Causes  # noqa: PLC0415 - it reads sources

            self._causes = Causes(self.installation.specs, self._ownership, self._broken_causes)
        except Exception as error:  # noqa: BLE001 - findings then have no cause
            self._broken_causes(error)

    def broken(self, site: CallSite, error: BaseException) -> None:
        """Note a bug of the tracer itself; the program goes on.

        What was missed may make a correct call look wrong. From here on, misuse and leaks are
        logged, but neither raised nor counted for the exit status.

        Raises:
            BaseException: the error itself, if it is not the tracer's own (the program's signal
                handler has raised while the tracer was at work), or with the setting `strict`.
        """
        if _is_foreign(error):
            raise error
        self._doubtful = True
        self._complain_of_bug(site, error)

    def _sheltered(self, what: str) -> Sheltered:
        return Sheltered(self, CallSite(what, "", ""))

    def _complain_of_bug(self, site: CallSite, error: BaseException) -> None:
        if self.settings.strict:
            raise error
        where = f"{site.binding}.{site.call}" if site.binding else site.call
        if where in self._broken:
            return
        self._broken.add(where)
        then = ""
        if self._doubtful and "raise" in (self.settings.on_misuse, self.settings.on_leak):
            then = ", and nothing is raised any more"
        self.complain(
            "internal",
            f"internal error in {where}; what it traces may be incomplete from here on{then}, the "
            "program is not affected:",
            *_trace_of(error).split("\n"),
        )

    # --- complaints ---------------------------------------------------------------------------

    def complain(self, code: str, line: str, *more: str) -> None:
        """Say once what csptrace cannot do, on stderr and in the log, as far as that is possible.

        Args:
            code: a short name of the sort of complaint.
            line: what happened, where, and what to do next.
            more: further lines.
        """
        message = "\n".join(map(escape, (line, *more)))
        if message in self._complaints:
            return
        self._complaints[message] = code
        try:
            if self._complaint is not None:
                self._complaint(message)
            else:
                self._terminal.line(line, "bad", *more)
            if self._log is not None and code != "log":
                self._log.emit("csptrace.notice", code=code, message=message)
        except Exception as error:
            if self.settings.strict or _is_foreign(error):
                raise

    def _complain_of_spec(self, message: str) -> None:
        self.complain("spec", message)

    # --- inside -------------------------------------------------------------------------------

    def _moment(self, site: CallSite, frame: FrameType | None) -> Moment:
        return self._moment_maker(site)(frame)

    def _moment_maker(
        self, site: CallSite, capture: Callable[[FrameType | None], Stack | None] | None = None
    ) -> Callable[[FrameType | None], Moment]:
        """Return a function that tells what happens now, at one call site."""
        threads, scope = self._threads, _scope.get
        capture = capture or self._capture

        def moment_of(frame: FrameType | None) -> Moment:
            return _new_moment(
                Moment,
                (
                    site,
                    capture(frame),
                    threads.thread,
                    _task_name() if "asyncio.events" in sys.modules else "",
                    CLOCKS.monotonic(),
                    scope() or self.unscoped(),
                ),
            )

        return moment_of

    def _misuse(
        self,
        handle: Handle,
        code: Code,
        culprit: Handle | None,
        site: CallSite,
        frame: FrameType | None,
        meanwhile: Moment | None = None,
    ) -> Finding | None:
        with self.graph.lock:
            newer = self.graph.table(handle.kind).get(handle.value)
            if newer is handle or newer is None:
                newer = self.graph.other_kind(handle.kind, handle.value)
            reused = newer if newer is not None and newer is not handle else None
            change = Misused(handle, self._moment(site, frame), code, culprit, reused, meanwhile)
            found = self._report(findings_of(change, self._ownership, self.graph.epoch))
            return found[0] if found else None

    def _drain(self) -> None:
        """Enter the objects that the collector has taken since the last change."""
        many = len(self._collected) > _FEW
        together: list[Change] = []
        while self._collected:
            handle, site, released = self._collected.popleft()
            with Sheltered(self, site):
                # A destructor has no caller of its own; where it runs is chance.
                changes = self.graph.collect(handle, self._moment(site, None), released=released)
                if many:
                    together += changes
                else:
                    self._publish(changes)
        with self._sheltered("entering what was collected"):
            self._publish(together)
        if self.exits is not None:
            self.exits.rest()

    def _owed(self, scope: Scope | None) -> list[Handle]:
        self._drain()
        self._tell_rest()
        return self.graph.owed(scope)

    def _publish(self, changes: list[Change]) -> None:
        """Pass changes on to the log and have them judged."""
        rest = self._begin_to_tell(changes, None)
        while rest is not None and not rest.done:
            self._tell(rest)

    def _begin_to_tell(self, changes: list[Change], frame: FrameType | None) -> _Aftermath | None:
        """Pass changes on to the log and have them judged, all of them if they are few.

        Args:
            changes: what has happened.
            frame: the innermost frame of the call.

        Returns:
            What is left to be told, if there was something to judge.
        """
        if len(changes) > _FEW:
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
                if below <= _FEW:
                    while not rest.done:
                        self._tell(rest)
                return rest
        return None

    def _aftermath(self, changes: list[Change], frame: FrameType | None) -> _Aftermath:
        rest = _Aftermath(changes, frame or sys._getframe(), Leaks(self._ownership))
        self._aftermaths.append(rest)
        return rest

    def _note(self, change: Change) -> bool:
        """Tell the log what has happened to one handle; return whether it is to be judged."""
        if (self._held or self._log is not None) and not change.handle.found:
            with self._sheltered("writing down what has happened"):
                if self._held:
                    self._note_unheld(change)
                if self._log is not None and self.settings.level != "count":
                    self._record(change)
        if isinstance(change, Ended):
            self._count_release(change.handle, change.moment)
            return bool(change.invalidated)
        if isinstance(change, HandedOver | Vanished):
            self._watch_no_more(change.handle)
        return not isinstance(change, _HARMLESS)

    def _judge(self, change: Change, rest: _Aftermath) -> None:
        if isinstance(change, Ended):
            rest.by = change
            rest.below.extend(change.invalidated)
        elif isinstance(change, Collected):
            rest.leaks.add_collected(change, self.graph.epoch)
        else:
            self._report(findings_of(change, self._ownership, self.graph.epoch))

    def _tell(self, rest: _Aftermath) -> None:
        """Tell a part of what is left; called with the graph's lock held.

        What the program's own exception cuts short is told when somebody asks next.
        """
        rest.busy = True
        cut_short = True
        try:
            with self._sheltered("telling what a call has ended"):
                self._tell_some(rest)
            cut_short = False
        finally:
            rest.busy = False
            if cut_short or not (rest.below or rest.changes):
                rest.let_go()
            if rest.done:
                with suppress(ValueError):  # a fork has forgotten it
                    self._aftermaths.remove(rest)
                if self.exits is not None:
                    self.exits.rest()

    def _tell_some(self, rest: _Aftermath) -> None:
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
                    self.graph.epoch, self._causes_known(), broken=self._broken_description
                )
            except Exception:
                rest.done = True  # else it would fail for ever
                raise
        for finding, _ in itertools.islice(rest.descriptions, _FINDINGS_A_STEP):
            reported = self._report([finding])
            if finding.code.is_leak and finding.severity is not Severity.INFO:
                rest.found += reported
        rest.done = not rest.descriptions

    def _tell_of_invalid(self, handle: Handle, rest: _Aftermath) -> None:
        """Tell of a handle that the release of another one has made invalid."""
        by = rest.by
        try:
            if by is not None and self._log is not None and self.settings.level != "count":
                self._record_invalid(handle, by)
            exits = self.exits
            if exits is not None and exits.watching and handle.duty and rest.frame is not None:
                exits.observe(handle, rest.frame, rest.running)
            else:
                self._watch_no_more(handle)
        finally:
            rest.leaks.add_invalidated(handle, self.graph.epoch, self.settings.implied)

    def _tell_in_steps(self, rest: _Aftermath) -> list[Finding]:
        """Tell all that is left, and let other threads go on in between; return the leaks."""
        try:
            while not rest.done:
                _sleep(_PAUSE)
                with self.graph.lock:
                    if not rest.done:
                        self._tell(rest)
        except BaseException:
            rest.let_go()
            raise
        return rest.found

    def _tell_rest(self) -> None:
        """Tell what other threads have not told to its end; called with the graph's lock held."""
        for rest in list(self._aftermaths):
            while not (rest.done or rest.busy):
                self._tell(rest)

    # --- why it leaked, and what is held too long ----------------------------------------------

    def _role(self, code: CodeType) -> int:
        """Return whose code this is; contextlib passes on what it gets, as the tracer does."""
        name = code.co_filename
        known = self._roles.get(name)
        if known is None:
            frame = frame_at(code, 0)
            if self._ownership.is_launcher(name):
                known = LAUNCHER
            elif name == _CONTEXTLIB or self._ownership.is_internal(frame):
                known = INTERNAL
            else:
                known = USER if self._ownership.is_user(frame) else LIBRARY
            self._roles[name] = known
        return known

    def _broken_causes(self, error: Exception) -> None:
        """Note a bug in working out why handles leak; what leaks is known all the same."""
        if _is_foreign(error):
            raise error
        self._complain_of_bug(CallSite("working out a cause", "", ""), error)

    def _broken_description(self, error: Exception) -> None:
        """Note a bug in describing a finding; it is reported with what is certain about it."""
        if not isinstance(error, RecursionError):
            self.broken(CallSite("describing a finding", "", ""), error)

    def _causes_known(self) -> Causes | None:
        return self._causes if self.exits is not None and self.exits.watching else None

    def _observe(
        self,
        handles: Iterable[Handle],
        frame: FrameType | None,
        running: dict[Stay, Departure],
    ) -> None:
        exits = self.exits
        if exits is not None and exits.watching:
            for handle in handles:
                if handle.duty:
                    exits.observe(handle, frame, running)

    def _watch_no_more(self, handle: Handle) -> None:
        if handle.stay is not None and self.exits is not None:
            self.exits.forget(handle)

    def _complain_of_exits(self, message: str) -> None:
        self.complain("causes", message)

    def _broken_exits(self, error: BaseException) -> None:
        """Note a bug in watching; never raise it, since it would come out of the program's code."""
        if _is_foreign(error):
            raise error
        self.complain(
            "internal",
            "internal error in watching how functions are left; why handles leak is not told from "
            f"here on, the program is not affected:\n{_trace_of(error)}",
        )

    def _look(self) -> float:
        """Report what is held too long; return the seconds until the next look."""
        try:
            with self.graph.lock:
                if not self.active:
                    return 60.0
                self._drain()
                handles = self.graph.known()
            # Other threads need not wait while all of them are looked at.
            late, wait = self._overdue(handles)
            if late:
                with self.graph.lock:
                    if self.active:
                        self._report_overdue(late)
            return wait / 1e9
        except Exception as error:  # noqa: BLE001 - the tracer may break, the program may not
            self._complain_of_bug(CallSite("looking for handles held too long", "", ""), error)
            return 60.0

    def _overdue(self, handles: Iterable[Handle]) -> tuple[list[Handle], int]:
        """Return what is held too long and was not reported yet, and when to look again."""
        threshold = int(self.settings.held_too_long * 1e9)
        epoch, held = self.graph.epoch, self._held
        fresh = [
            handle
            for handle in handles
            if handle.duty and handle.epoch == epoch and handle not in held
        ]
        return overdue(fresh, CLOCKS.monotonic(), threshold)

    def _report_overdue(self, late: Iterable[Handle]) -> None:
        epoch = self.graph.epoch
        late = [
            handle
            for handle in late
            if handle.state == LIVE and handle.epoch == epoch and handle not in self._held
        ]
        self._held.update(late)
        exits = self.exits
        glance = exits.glance if exits is not None and exits.watching else _see_nothing
        causes, broken = self._causes_known(), self._broken_description
        self._report(held_too_long(late, glance, self._ownership, epoch, causes, broken))

    def _note_unheld(self, change: Change) -> None:
        """Follow up on a handle that had been reported as held too long."""
        handle = change.handle
        if handle not in self._held:
            return
        if isinstance(change, Ended | HandedOver | Collected | Vanished):
            self._held.discard(handle)
        if isinstance(change, Ended):
            self._held.difference_update(change.invalidated)
            moment = change.moment
            if self._log is not None:
                self._define_both(handle, moment)
                self._log.emit(
                    "csptrace.handle_unheld", **records.unheld(handle, moment, self.graph.live)
                )
            self._terminal.line(unheld(handle, moment, self._ownership), "good")

    def _count_release(self, handle: Handle, moment: Moment) -> None:
        self._watch_no_more(handle)
        begin, where = handle.acquired, moment.stack
        stack = begin.stack if begin is not None else None
        if stack is None or where is None or handle.found:
            return
        stack.count_release(where)

    def _record(self, change: Change) -> None:
        """Write the handle events of one change."""
        log = self._log
        assert log is not None  # noqa: S101 - for the type checker
        live = self.graph.live
        match change:
            case Acquired(handle, moment):
                self._define(moment.stack)
                log.record(
                    "csptrace.handle_acquired",
                    records.acquired(handle, moment, live, redact=self.settings.redact_names),
                )
            case Ended(handle, moment):
                self._define_both(handle, moment)
                log.record(
                    "csptrace.handle_released", records.released(handle, moment, live, "released")
                )
            case (
                RefChanged(handle, moment, added=False)
                | HandedOver(handle, moment)
                | Vanished(handle, moment)
            ):
                how = {RefChanged: "reference", HandedOver: "handed-over", Vanished: "unseen"}
                self._define_both(handle, moment)
                log.record(
                    "csptrace.handle_released",
                    records.released(handle, moment, live, how[type(change)]),
                )
            case Collected(handle, moment, released=False):
                self._define_both(handle, moment)
                log.record(
                    "csptrace.handle_released",
                    records.released(handle, moment, live, "collected"),
                )

    def _record_invalid(self, handle: Handle, by: Ended) -> None:
        """Write the event of a handle that the release of another one has made invalid."""
        if self._log is not None and not (handle.found or handle.kind.given):
            self._define_both(handle, by.moment)
            self._log.record(
                "csptrace.handle_invalidated",
                records.invalidated(handle, by.handle, by.moment, self.graph.live),
            )

    def _define_both(self, handle: Handle, moment: Moment) -> None:
        # The acquisition of an inherited handle stands in the log of the parent process.
        if handle.acquired is not None:
            self._define(handle.acquired.stack)
        self._define(moment.stack)

    def _define(self, stack: Stack | None) -> None:
        """Write a stack before the first event that refers to it."""
        if stack is not None and not stack.logged and self._log is not None:
            stack.logged = True
            self._log.emit("csptrace.stack", **records.stack_event(stack, self._ownership))

    def _report(self, findings: list[Finding]) -> list[Finding]:
        """Keep, log and show findings; return those that are wanted."""
        wanted = []
        for finding in findings:
            moments = (finding.acquired, finding.ended, finding.misused, finding.last_use)
            stacks = [moment.stack for moment in moments if moment is not None]
            unwanted = False
            with self._sheltered("reporting a finding"):
                unwanted = not self._ownership.wanted(stacks)
            if unwanted:
                continue
            wanted.append(finding)
            if len(self.findings) < _MOST_KEPT_FINDINGS:
                self.findings.append(finding)
            first = not self.counts[finding.fingerprint]
            self.counts[finding.fingerprint] += finding.times
            self.codes[finding.code.value] += finding.times
            if finding.severity is not Severity.INFO:
                accepted = min(self._accepted[finding.fingerprint], finding.times)
                self._accepted[finding.fingerprint] -= accepted
                if not self._doubtful:
                    self.serious += finding.times - accepted
            with self._sheltered("reporting a finding"):
                self._show(finding, stacks, first=first)
        return wanted

    def _show(self, finding: Finding, stacks: list[Stack | None], *, first: bool) -> None:
        """Log a finding, pass it on, and show it if it is the first of its fingerprint."""
        redact = self.settings.redact_names
        if self._log is not None:
            for stack in stacks:
                self._define(stack)
            self._log.rescue()
            self._log.emit(
                "csptrace.finding", **records.finding_event(finding, self._ownership, redact=redact)
            )
        if self.observer is not None:
            self.observer(finding)
        if first and not self._terminal.quiet:
            # Equal ones are counted in the summary; each is in the log.
            self._terminal.finding(
                explain(finding, self._ownership, redact=redact), finding.severity.value
            )

    def _react_to_misuse(
        self, finding: Finding | None, handle: Handle | None, site: CallSite
    ) -> None:
        if finding is None or self.settings.on_misuse == "log" or self._doubtful:
            return
        if self.settings.on_misuse == "fatal" and not self._is_fatal(finding.code, handle, site):
            return
        text = self._in_words(finding)
        if self.settings.on_misuse != "warn":
            raise _ERRORS[finding.code](text, finding)
        warnings.warn(text, MisuseWarning, stacklevel=_stacklevel())

    @staticmethod
    def _is_fatal(code: Code, handle: Handle | None, site: CallSite) -> bool:
        """Return whether a wrong call crashes the process, as far as that is known.

        Args:
            code: what is wrong.
            handle: whose handle is wrong.
            site: the call.
        """
        if code is Code.RELEASE_WHILE_IN_USE:  # of the library that the other call is inside of
            return handle is not None and handle.kind.library
        return isinstance(site, UnloadableSite) and site.is_gone()

    def _in_words(self, *findings: Finding) -> str:
        """Return the message of an exception; without words, it is at least of the right sort."""
        try:
            return summary(findings, self._ownership, redact=self.settings.redact_names)
        except Exception as error:
            if _is_foreign(error):
                raise
            self._complain_of_bug(CallSite("putting findings into words", "", ""), error)
            return ", ".join(f"{each.code.value}: {each.handle.kind}" for each in findings)

    def _react_to_leaks(
        self, findings: list[Finding], *, exiting: bool = False, deferred: bool = False
    ) -> HandleLeak | None:
        if not findings or self.settings.on_leak == "log" or self._doubtful:
            return None
        text = self._in_words(*findings)
        if self.settings.on_leak == "warn":
            try:
                warnings.warn(text, LeakWarning, stacklevel=_stacklevel())
            except LeakWarning:  # a filter has made it an error
                if not exiting:
                    raise
            return None
        if exiting:
            return None
        error = HandleLeak(text, tuple(findings))
        if deferred:
            return error
        raise error


def _accepted(file: Path | None) -> Counter[str]:
    """Return how many findings of each fingerprint a baseline accepts."""
    if file is None:
        return Counter()
    from csptrace.detect import baseline  # noqa: PLC0415 - only where there is one

    return Counter(
        {entry.fingerprint: entry.count for entry in baseline.read(file) if not entry.is_expired()}
    )


def _new_run() -> str:
    """Return the identifier of a run."""
    try:
        return uuid.uuid4().hex[:16]
    except OSError:  # no random numbers, for a child that is short of everything
        return f"{CLOCKS.wall() % (1 << 40):010x}{os.getpid() % (1 << 24):06x}"


def _trace_of(error: BaseException) -> str:
    """Return where an exception came from, and its type.

    Not its text, which may quote what the program has passed.
    """
    name = type(error).__name__
    try:
        return "".join(traceback.format_tb(error.__traceback__)) + name
    except Exception:  # noqa: BLE001 - whatever is missing to read the sources
        return name


def _see_nothing(_handle: Handle) -> list[Departure]:
    """Return what is known of the functions that had a handle where they are not watched."""
    return []


def _in_no_scope() -> None:
    """Return the scope of what is called in none, if nobody knows better."""


_SELF = CallSite("csptrace", "", "")
_SOMEWHERE = -1
"""The value of a slot or home of which is not known which it is."""


def _lineage(handle: Handle) -> list[Handle]:
    """Return a handle and its parents, nearest first."""
    found = [handle]
    while found[-1].parent is not None:
        found.append(found[-1].parent)
    return found


def _limit(kind: Kind, value: int) -> int:
    return ask_limit(kind.realm, value)


def _thread_of(ident: int) -> Thread:
    known = threading._active.get(ident)  # type: ignore[attr-defined]
    return Thread(ident, known.name if known is not None else "foreign")


def _is_foreign(error: BaseException) -> bool:
    """Return whether an exception comes from code that is neither csptrace nor what it calls."""
    if isinstance(error, RecursionError):
        return False  # wherever it is noticed, it was the tracer that went a step too deep
    root = type(error).__module__.partition(".")[0]
    if root not in ("csptrace", "orjson", "structlog") and root not in sys.stdlib_module_names:
        return True  # set from another thread, it has no frame of its own
    own = (_HERE, *filter(None, map(_folder_of, ("structlog", "wrapt"))))
    frame = error.__traceback__
    while frame is not None:
        name = frame.tb_frame.f_code.co_filename
        if not name.startswith(own) and ("site-packages" in name or not name.startswith(_STANDARD)):
            return True
        frame = frame.tb_next
    return False


_HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "")
_EXAMPLES = os.path.join(_HERE, "examples", "")


def _folder_of(module: str) -> str:
    """Return the folder of a package that is imported, empty for one that is not."""
    file = getattr(sys.modules.get(module), "__file__", None)
    return os.path.join(os.path.dirname(os.path.abspath(file)), "") if file else ""


_CONTEXTLIB = contextlib.contextmanager.__code__.co_filename
_STANDARD = (os.path.join(os.path.dirname(os.path.abspath(os.__file__)), ""), "<")


def _program(argv: Sequence[str], original: Sequence[str]) -> str:
    """Return the program's file name, of `python -m` the module's, never an argument.

    While start-up files run, `sys.argv` begins with `-m` or `-c`.
    """
    name = os.path.basename(argv[0]) if argv else ""
    if name == "-m" and "-m" in original[:-1]:
        name = original[original.index("-m") + 1]
    return name


def _stacklevel() -> int:
    """Return the `stacklevel` with which a warning points at the program's own line."""
    level = 1
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        with suppress(OSError):  # the working directory is gone
            name = os.path.abspath(name)
        if not name.startswith(_HERE) or name.startswith(_EXAMPLES):
            return level
        level += 1
        frame = frame.f_back
    return 1


def _caller() -> FrameType | None:
    """Return the frame of our caller's caller."""
    try:
        return sys._getframe(2)
    except ValueError:
        return None


_running_loop: Callable[[], object] | None = None


def _task_name() -> str:
    """Return the name of the asyncio task that is running, empty outside one.

    Nothing is imported for it: while a program has not imported asyncio, no task runs.
    """
    global _running_loop  # noqa: PLW0603 - looked up once, not at every call
    if _running_loop is None:
        # Another thread may be in the middle of importing it.
        _running_loop = getattr(sys.modules.get("asyncio.events"), "_get_running_loop", None)
    if _running_loop is None or _running_loop() is None:
        return ""
    current_task = getattr(sys.modules.get("asyncio.tasks"), "current_task", None)
    task = None if current_task is None else current_task()
    return "" if task is None else str(task.get_name())
