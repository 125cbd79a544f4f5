"""The composition root: wires the stages together, starts and stops them, and judges scopes.

From a native call to a line of the log it goes one way: interceptor → recorder → graph →
publisher → judge → reporter → sinks. What happens in between is not here.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import platform
import sys
import uuid
from collections import Counter
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from csptrace import __version__
from csptrace.apis import registry
from csptrace.clocks import CLOCKS
from csptrace.events import records
from csptrace.events.sink import Totals
from csptrace.events.terminal import Terminal, TerminalSink
from csptrace.findings.judgement import Leaks, leaked_at_exit, reference
from csptrace.findings.text import as_text, explain
from csptrace.graph.graph import Graph
from csptrace.graph.handle import KeepingScope, Scope
from csptrace.graph.sites import FORK, CallSite
from csptrace.graph.states import LIVE
from csptrace.install.targets import Installation
from csptrace.intercept.contract import is_deliberate
from csptrace.recording.call_records import CallRecords, enter_scope, innermost_scope, leave_scope
from csptrace.recording.diagnostics import Diagnostics
from csptrace.recording.explanations import Explanations
from csptrace.recording.overdue import OverdueWatcher
from csptrace.recording.provider_queries import ProviderQueries
from csptrace.recording.publisher import Publisher
from csptrace.recording.reactions import Reactions
from csptrace.recording.recorder import Recorder
from csptrace.recording.reporter import Reporter
from csptrace.stacks.capture import StackTable
from csptrace.stacks.ownership import Ownership
from csptrace.stacks.resolved import ResolvedStack

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path
    from types import FrameType

    from csptrace.causes.exit_monitor import ExitMonitor
    from csptrace.events.log_sink import EventLogSink
    from csptrace.events.sink import Notice
    from csptrace.findings.finding import Finding, HandleRef
    from csptrace.graph.handle import Handle
    from csptrace.settings import Settings
    from csptrace.stacks.frames import Frame

__all__ = ["Snapshot", "Tracer"]


__tracebackhide__ = is_deliberate


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


class Tracer:
    """One stretch of tracing.

    Args:
        settings: how to trace.
        complain: what to do with a complaint instead of writing it to stderr.

    Attributes:
        settings: how it traces.
        graph: what is alive.
        installation: what is patched.
        recorder: what the interceptor reports to.
        reporter: what was found, and whom it tells.
        diagnostics: what csptrace says of itself.
        call_records: where and when something happens.
        overdue: looks for what is held too long.
        program_status: the exit status that the program asked for, where it is known.
    """

    def __init__(self, settings: Settings, complain: Callable[[str], None] | None = None) -> None:
        self.settings = settings
        self.program_status = 0
        self._run = _new_run()
        self._scopes = itertools.count(1)
        self._log: EventLogSink | None = None
        self._ownership = Ownership(settings.include, settings.exclude)
        self._stacks = StackTable(
            0 if settings.level == "count" else settings.depth,
            self._ownership.is_launcher,
            self._ownership.is_library,
        )
        self._terminal = TerminalSink(
            Terminal(quiet=settings.quiet),
            self._ownership.resolve,
            redact=settings.redact_names,
            log_path=lambda: self.log_path,
            complain=complain,
        )
        self.graph = Graph(settings.tombstones)
        self.call_records = CallRecords(self._stacks)
        self.diagnostics = Diagnostics(settings, self._tell_terminal)
        self.reporter = Reporter(
            self.diagnostics, self._ownership.wanted, _accepted(settings.baseline)
        )
        self.reporter.send_to(self._terminal)
        self.diagnostics.tell = self.reporter.notice
        specs = registry.load(settings.apis, self._complain_of_spec)
        self._explanations = Explanations(
            specs,
            self._ownership,
            self.diagnostics,
            wanted=settings.causes and settings.level != "count",
        )
        self.overdue = OverdueWatcher(
            settings.held_too_long,
            self.graph,
            self._ownership,
            self.reporter,
            self.diagnostics,
            self._explanations,
        )
        self._publisher = Publisher(
            settings,
            self.graph,
            self._ownership,
            self.reporter,
            self.diagnostics,
            self._explanations,
            self.overdue,
        )
        self._queries = ProviderQueries(self.graph, self.call_records, self._publisher)
        self._reactions = Reactions(settings, self.diagnostics)
        self.recorder = Recorder(
            settings,
            self.graph,
            self.call_records,
            self._publisher,
            self._reactions,
            self.diagnostics,
            self._explanations,
            self._queries,
        )
        self.overdue.refresh = self._refresh
        self.installation = Installation(specs, settings.libraries, self.recorder)

    def _tell_terminal(self, notice: Notice) -> None:
        self._terminal.noticed(notice)

    def _complain_of_spec(self, message: str) -> None:
        self.diagnostics.complain("spec", message)

    # --- what it is about ---------------------------------------------------------------------

    @property
    def active(self) -> bool:
        """Whether it traces."""
        return self.recorder.active

    @property
    def findings(self) -> list[Finding]:
        """What was found so far, oldest first; see `Reporter.findings`."""
        return self.reporter.findings

    @property
    def exits(self) -> ExitMonitor | None:
        """What watches how functions that have handles are left; `None` if it is not wanted."""
        return self._explanations.exits

    @property
    def log_path(self) -> os.PathLike[str] | None:
        """The event log of this process, `None` if there is none."""
        return None if self._log is None else self._log.log.path

    @property
    def run(self) -> str:
        """The id of this process's run, as in the log."""
        return self._run

    # --- starting and stopping ----------------------------------------------------------------

    def start(self) -> None:
        """Open the log and patch everything.

        Raises:
            Exception: whatever patching raised; then nothing stays patched.
        """
        if self.settings.log is not None:
            self._open_log(None)
        self.recorder.active = True
        try:
            self.installation.install()
            if self.exits is not None:
                self.exits.start()
            self.overdue.start()
        except BaseException:
            self.recorder.active = False
            if self.exits is not None:
                self.exits.stop()
            if self._log is not None:
                self._log.log.close()
            raise
        for missed in self.installation.missed:
            self.diagnostics.complain(
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

        Raises:
            HandleLeak: something leaked, `on_leak` is `raise`, and the interpreter does not exit.
        """
        if not self.active:
            return []
        frame = _caller()
        leaked: list[Finding] = []
        try:
            with self.diagnostics.sheltered("asking what is left"):
                self.overdue.stop()
                self._queries.ask_about(self.graph.unreleased())
            with self.graph.lock:
                try:
                    leaked = self._judge_rest(frame)
                finally:
                    self.recorder.active = False
        finally:
            self._end(exiting=exiting)
        self._react_to_leaks(leaked, exiting=exiting)
        return leaked

    def _judge_rest(self, frame: FrameType | None) -> list[Finding]:
        """Report what is left when tracing ends."""
        with self.diagnostics.sheltered("judging what is left"):
            unreleased = self.recorder.unreleased(None)
            with self.diagnostics.sheltered("judging what is held too long"):
                self.overdue.report_last(unreleased)
            self._explanations.observe(unreleased, frame, {})
            return self.reporter.report(self._leaked(unreleased, ""))
        return []

    def _leaked(self, unreleased: Iterable[Handle], scope: str) -> list[Finding]:
        return leaked_at_exit(
            unreleased,
            self._ownership.resolve,
            self.graph.epoch,
            scope,
            self._explanations.causes,
            self.diagnostics.broken_description,
        )

    def _end(self, *, exiting: bool) -> None:
        """Leave the program alone, each step even if the program's own exception cuts one short."""
        self.recorder.active = False
        sheltered = self.diagnostics.sheltered
        try:
            with self.graph.lock, sheltered("watching how functions are left"):
                if self.exits is not None:
                    self.exits.stop()
        finally:
            try:
                if not exiting:
                    with sheltered("taking the patches back"):
                        self._unpatch()
            finally:
                try:
                    with self.graph.lock, sheltered("writing the summary"):
                        self.reporter.end(self._totals())
                finally:
                    if self._log is not None:
                        self._log.log.close()
                    with self.graph.lock, sheltered("letting go of the handles"):
                        self.graph.clear()
                        self._stacks.clear()

    def _totals(self) -> Totals:
        return Totals(
            acquired=self.graph.acquired,
            peak=self.graph.peak,
            live=self.graph.live,
            codes=self.reporter.codes,
            places=len(self.reporter.counts),
            peaks=tuple(self.recorder.peaks()),
        )

    def _unpatch(self) -> None:
        try:
            errors = self.installation.uninstall()
        except BaseException:
            self.installation.uninstall()  # what is left of it
            raise
        for error in errors:
            self.diagnostics.complain_of_bug(_SELF, error)

    def _open_log(self, parent_run: str | None) -> None:
        from csptrace.events.log import EventLog  # noqa: PLC0415 - imports structlog for a log
        from csptrace.events.log_sink import EventLogSink  # noqa: PLC0415 - as above

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
        log = EventLog(
            self.settings.log,
            self._run,
            self.diagnostics.complain,
            first=("csptrace.run_started", first),
            deferred=parent_run is not None,
            rotate=self.settings.log_rotate * 1_000_000,
        )
        self._log = EventLogSink(
            log,
            self._ownership.resolve,
            redact=self.settings.redact_names,
            every=self.settings.level != "count",
        )
        self.reporter.send_to(self._log, self._terminal)
        if parent_run is None:
            for notice in self.diagnostics.notices():  # said while the specs were loaded
                self._log.noticed(notice)

    # --- fork ---------------------------------------------------------------------------------

    def after_fork_in_child(self) -> None:
        """Start anew in the child: a log of its own, and nothing to release of the parent's."""
        with self.diagnostics.sheltered("going on after a fork"):
            self._go_on_in_child()
        self.overdue.restart()

    def _go_on_in_child(self) -> None:
        self.call_records.forked()
        self.graph.forked(self.call_records.at(_FORKED, None))
        self.recorder.forked()
        self._publisher.aftermaths.clear()
        self.overdue.held.clear()
        self.reporter.forked()
        if self.exits is not None:
            self.exits.forked()
        parent, self._run = self._run, _new_run()
        log, self._log = self._log, None
        self.reporter.send_to(self._terminal)
        if log is not None:
            log.log.abandon()
            self._open_log(parent)

    # --- what users ask -----------------------------------------------------------------------

    def check(self) -> tuple[Finding, ...]:
        """Return what was found so far; tracing goes on."""
        with self.graph.lock:
            self._catch_up()
            return tuple(self.reporter.findings)

    def live(self) -> tuple[HandleRef, ...]:
        """Return the handles that somebody still has to release, oldest first."""
        return self.snapshot().handles

    def snapshot(self) -> Snapshot:
        """Return what is alive now; `snapshot.diff()` tells later what has been added."""
        with self.graph.lock:
            self.recorder.drain()
            resolve = self._ownership.resolve
            return Snapshot(
                self, tuple(reference(each, resolve) for each in self.graph.unreleased())
            )

    def explain(self, finding: Finding, *, frames: int = 4) -> str:
        """Return a finding in words.

        Args:
            finding: the finding.
            frames: how many frames of each stack are shown.
        """
        return as_text(explain(finding, redact=self.settings.redact_names, frames=frames))

    def event(self, finding: Finding) -> tuple[dict[str, Any], dict[int, Any]]:
        """Return a finding as the log has it.

        Args:
            finding: the finding.

        Returns:
            The fields of its event, `ts` among them, and the frames of its stacks by their ids.
        """
        fields = records.finding_event(finding, redact=self.settings.redact_names)
        fields["ts"] = finding.time
        return fields, {
            stack.number: records.stack_event(stack)["frames"] for stack in finding.stacks
        }

    def place_of(self, handle: Handle | HandleRef) -> Frame | None:
        """Return where a handle was acquired: the innermost frame of the user's own code.

        Args:
            handle: the handle, or what a finding or snapshot says of it.

        Returns:
            `None` if it is not known.
        """
        begin = handle.acquired
        stack = begin.stack if begin is not None else None
        resolved = stack if isinstance(stack, ResolvedStack) else self._ownership.resolve(stack)
        return None if resolved is None else resolved.first

    def trace_library(self, library: Any, api: str) -> Any:
        """Trace a library object; see `csptrace.trace_library`."""
        return self.installation.trace_library(library, api)

    def _catch_up(self) -> None:
        """Tell what has happened and was not told to its end; with the graph's lock held."""
        self.recorder.drain()
        self._publisher.tell_rest()

    def _refresh(self) -> bool:
        """Enter what has happened; return whether anything is traced."""
        if self.active:
            self.recorder.drain()
        return self.active

    # --- scopes -------------------------------------------------------------------------------

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
        scope = Scope(name, next(self._scopes), innermost_scope())
        token = enter_scope(scope)
        failed = True
        try:
            yield scope
            failed = False
        finally:
            leave_scope(token)
            with self.graph.lock:
                found: list[Finding] = []
                with self.diagnostics.sheltered("judging a scope"):
                    if self.active:
                        self._queries.ask_about(self.graph.unreleased(scope))
                        unreleased = self.recorder.unreleased(scope)
                        self._explanations.observe(unreleased, _caller(), {})
                        leaked = self._leaked(unreleased, name)
                        for handle in unreleased:
                            handle.must_release = (
                                False  # judged; the process must not report it again
                            )
                        self._explanations.rest()
                        found = self.reporter.report(leaked)
                        self.reporter.scope_ended(name, sum(each.times for each in found))
                scope.ended = True
            self._react_to_leaks(found, exiting=failed)

    def _react_to_leaks(self, findings: list[Finding], *, exiting: bool) -> None:
        error = self._reactions.to_leaks(findings, exiting=exiting)
        if error is not None:
            raise error

    def new_scope(self, name: str) -> KeepingScope:
        """Return a scope whose end the caller finds and judges; see `set_scope` and `judge`."""
        return KeepingScope(name, next(self._scopes))

    @staticmethod
    def set_scope(scope: Scope | None) -> contextvars.Token[Scope | None]:
        """Make a scope the innermost one of this thread or task."""
        return enter_scope(scope)

    @staticmethod
    def reset_scope(token: contextvars.Token[Scope | None]) -> None:
        """Go back to the scope that was the innermost one before."""
        leave_scope(token)

    @staticmethod
    def scope_now() -> Scope | None:
        """Return the innermost scope of this thread or task."""
        return innermost_scope()

    def unreleased_in(self, scopes: Iterable[KeepingScope]) -> list[Handle]:
        """Return what was acquired in these scopes and is still to be released, oldest first."""
        with self.graph.lock:
            self._catch_up()
            unreleased = [
                handle
                for scope in scopes
                for handle in scope.kept
                if handle.must_release and handle.state == LIVE and handle.epoch == self.graph.epoch
            ]
            self._queries.ask_about(unreleased)
            return [handle for handle in unreleased if handle.must_release and handle.state == LIVE]

    def judge(self, handles: Iterable[Handle], name: str) -> list[tuple[Handle, Finding]]:
        """Report handles as leaked at the end of a scope, once and for all.

        Args:
            handles: what `unreleased_in` returned.
            name: the scope's name.

        Returns:
            The handles, each with the finding that is about it, or stands for it.
        """
        with self.graph.lock:
            leaks = Leaks(self._ownership.resolve)
            for handle in handles:
                leaks.add_owed(handle, name)
                handle.must_release = False
            judged = [
                (handle, finding)
                for finding, alike in leaks.described(
                    self.graph.epoch,
                    self._explanations.causes,
                    broken=self.diagnostics.broken_description,
                )
                if self.reporter.report([finding])
                for handle in alike
            ]
            for handle, _ in judged:
                self._explanations.watch_no_more(handle)
            if judged:
                self.reporter.scope_ended(name, len(judged))
            return judged

    def excuse(self, handles: Iterable[Handle]) -> None:
        """Never report handles as leaked at the end: they have a holder that releases them."""
        with self.graph.lock:
            for handle in handles:
                handle.must_release = False

    # --- in the middle of tracing -------------------------------------------------------------

    def hide_launcher(self, *folders: str) -> None:
        """Show no frame of these folders, and none of what called them: they start the program."""
        self._ownership.add_launchers(*folders)
        self._explanations.forget_roles()
        self._stacks.ask_again()

    @contextmanager
    def rehearsal(self) -> Iterator[list[Finding]]:
        """Try the tracer out: what happens in the block is found, but neither counted nor logged.

        Other threads wait meanwhile. How functions are left is not watched.

        Yields:
            What is found in the block.
        """
        graph, explanations, recorder = self.graph, self._explanations, self.recorder
        with graph.lock:
            self._catch_up()  # what the program has let go of, and what was not told, is not of it
            exits, explanations.exits = explanations.exits, None
            called, acquired, peak = recorder.called, graph.acquired, graph.peak
            settings = self.settings
            self._apply(
                dataclasses.replace(
                    settings, on_leak="log", on_misuse="log", include=(), exclude=()
                )
            )
            token = enter_scope(None)
            try:
                with self.reporter.apart() as found:
                    yield found
                    recorder.drain()
            finally:
                leave_scope(token)
                explanations.exits, recorder.called = exits, called
                if exits is not None:
                    exits.sweep()
                self._apply(settings)
                graph.acquired, graph.peak = acquired, peak

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
        self._apply(settings)
        self._terminal.terminal = Terminal(quiet=settings.quiet)
        if self._log is None and settings.log is not None:
            self._open_log(None)
        return True

    def _apply(self, settings: Settings) -> None:
        """Have other settings hold from now on, for all that may change."""
        self.settings = self.diagnostics.settings = settings
        self._reactions.settings = self._publisher.settings = settings
        self._terminal.redact = settings.redact_names
        if self._log is not None:
            self._log.redact = settings.redact_names
        self._ownership.change(settings.include, settings.exclude)
        self._explanations.forget_roles()


def _accepted(file: Path | None) -> Counter[str]:
    """Return how many findings of each fingerprint a baseline accepts."""
    if file is None:
        return Counter()
    from csptrace.findings import baseline  # noqa: PLC0415 - only where there is one

    return Counter(
        {entry.fingerprint: entry.count for entry in baseline.read(file) if not entry.is_expired()}
    )


def _new_run() -> str:
    """Return the identifier of a run."""
    try:
        return uuid.uuid4().hex[:16]
    except OSError:  # no random numbers, for a child that is short of everything
        return f"{CLOCKS.wall() % (1 << 40):010x}{os.getpid() % (1 << 24):06x}"


_SELF = CallSite("csptrace", "", "")
_FORKED = CallSite(FORK, "", "")


def _program(argv: Sequence[str], original: Sequence[str]) -> str:
    """Return the program's file name, of `python -m` the module's, never an argument.

    While start-up files run, `sys.argv` begins with `-m` or `-c`.
    """
    name = os.path.basename(argv[0]) if argv else ""
    if name == "-m" and "-m" in original[:-1]:
        name = original[original.index("-m") + 1]
    return name


def _caller() -> FrameType | None:
    """Return the frame of our caller's caller."""
    try:
        return sys._getframe(2)
    except ValueError:
        return None
