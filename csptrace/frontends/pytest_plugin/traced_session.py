"""In the process that runs tests: starts the tracer, follows the tests, and judges them."""

from __future__ import annotations

import contextlib
import functools
import gc
import itertools
import os
import platform
import traceback
from typing import TYPE_CHECKING, Any

import _pytest
import pluggy
import pytest
from _pytest.reports import CollectErrorRepr

from csptrace import process
from csptrace.findings.errors import HandleLeak, LeakWarning
from csptrace.frontends.canary import catches_canary
from csptrace.frontends.pytest_plugin import reporting
from csptrace.frontends.pytest_plugin.attribution import (
    Attempt,
    Attribution,
    Owner,
    exception_of_call,
    raised_findings,
)
from csptrace.frontends.pytest_plugin.debugging import end_in_program
from csptrace.frontends.pytest_plugin.options import Options, refusal
from csptrace.frontends.pytest_plugin.policy import BadMarkerError, Policy, kinds_of
from csptrace.frontends.pytest_plugin.results import Absence, Results
from csptrace.frontends.pytest_plugin.retention import Retention, failures, held_of
from csptrace.frontends.pytest_plugin.teardown_reports import Content, TeardownReports
from csptrace.graph.states import RELEASED
from csptrace.terminal import escape

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from csptrace.findings.finding import Finding
    from csptrace.frontends.pytest_plugin.attribution import Place
    from csptrace.frontends.pytest_plugin.expectation import Expectation
    from csptrace.frontends.pytest_plugin.reporting import Record
    from csptrace.graph.handle import Handle
    from csptrace.tracer import Tracer

__all__ = ["TracedSession", "switch_on"]

_FEW_FRAMES, _MANY_FRAMES = 4, 64
_INTERRUPTIONS = (KeyboardInterrupt, SystemExit, pytest.exit.Exception)
_LAUNCHERS = tuple(
    os.path.normcase(os.path.join(os.path.dirname(str(module.__file__)), ""))
    for module in (_pytest, pluggy)
)


def switch_on(config: pytest.Config) -> None:
    """Start tracing and register what follows the tests.

    Args:
        config: pytest's configuration; its conftest files are not loaded yet.

    Raises:
        pytest.UsageError: an option is wrong; or, unless findings are only reported, it cannot be
            traced, or the tracer does not catch a leak that is planted.
    """
    options = Options.read(config)
    manager = config.pluginmanager
    try:
        tracer, adopted = _traced(options)
    except _NotTracingError as error:
        if not options.soft:
            raise refusal(str(error)) from error
        manager.register(Absence(str(error)), "csptrace-absence")
        return
    traced = TracedSession(config, options, tracer, adopted=adopted)
    manager.register(traced, "csptrace-session")
    config.add_cleanup(traced.switch_off)
    manager.import_plugin("csptrace.softcsp.pytest_faults")


class _NotTracingError(Exception):
    """It cannot be traced; the message says why."""


def _traced(options: Options) -> tuple[Tracer, bool]:
    """Return a running tracer that works, and whether somebody else has started it."""
    active = process.current()
    adopted = active is not None and active.reconfigure(options.settings)
    if active is not None and not adopted:
        process.stop()
        active = None
    try:
        tracer = active or process.start(options.settings)
    except Exception as error:
        raise _NotTracingError(f"cannot trace: {error}") from error
    failed = catches_canary(tracer)
    if failed:
        if not adopted:
            process.stop()
        raise _NotTracingError(f"self-test FAILED: {failed}")
    return tracer, adopted


def _guarded(method: Callable[..., Any]) -> Callable[..., Any]:
    """Keep a bug of the plugin away from the tests: it is told at the end and fails the run."""

    @functools.wraps(method)
    def guarded(self: TracedSession, *args: Any, **kwargs: Any) -> Any:
        try:
            return method(self, *args, **kwargs)
        except Exception:  # noqa: BLE001 - whatever it is, it is not the test's
            self.errors.append(f"internal error in {method.__name__}:\n{traceback.format_exc()}")
            return None

    return guarded


class TracedSession:
    """Follows the tests of one process.

    Args:
        config: pytest's configuration.
        options: the options.
        tracer: a running tracer.
        adopted: whether somebody else has started it, and stops it.

    Attributes:
        tracer: the tracer.
        where: whose code is running.
        attempt: the test that is running, `None` between tests.
        expected: the `expect` blocks that are open.
        errors: what went wrong with the plugin itself.
        header: what the header says.
    """

    def __init__(
        self, config: pytest.Config, options: Options, tracer: Tracer, *, adopted: bool
    ) -> None:
        self.tracer = tracer
        self.attempt: Attempt | None = None
        self.expected: list[Expectation] = []
        self.errors: list[str] = []
        self._config = config
        self._options = options
        self._adopted = adopted
        specs = tracer.installation.specs
        self.kinds = kinds_of(specs)
        self._policy = Policy(options, self.kinds)
        self._numbers = itertools.count(1)
        self._ids = itertools.count(1)
        self._session = self._owner("session", "pytest session", "")
        self._collection = self._owner("collection", "collection", "")
        self._fixtures: dict[Owner, pytest.Item | pytest.Collector] = {}
        self._narrow_fixtures = False
        self._stragglers: dict[Attempt, None] = {}
        self._retention = Retention(specs)
        self._waiting: dict[Owner, bool] = {}  # whether a traceback holds what is theirs
        self._retained: dict[Owner, None] = {}
        self._excused: list[dict[str, Any]] = []
        self._last: Attempt | None = None
        self._earlier: dict[str, list[dict[str, Any]]] = {}
        self._leaks: list[tuple[Handle, str]] = []
        self._late: list[dict[str, Any]] = []
        self._reports: TeardownReports | None = None
        self._raised: set[int] = set()
        tracer.recorder.called = False
        self._interrupted = False
        self._stopped_in = ""
        calls = sum(len(spec.by_name()) for spec in specs)
        apis = f"{len(specs)} API{'s' if len(specs) != 1 else ''}"
        header = f"{calls} calls of {apis} patched, self-test passed"
        self.header = [escape(f"csptrace: {line}") for line in (header, *options.passed)]
        tracer.hide_launcher(*_LAUNCHERS)
        self.where = Attribution(tracer, self._session)
        self.where.enter(self._collection)
        self._given_back = (tracer.reporter.observer, tracer.call_records.unscoped)
        tracer.reporter.observer = self.observe
        tracer.call_records.unscoped = self.where.of_stranger

    def switch_off(self) -> None:
        """Stop tracing; called when pytest lets go of its configuration."""
        tracer = self.tracer
        tracer.reporter.observer, tracer.call_records.unscoped = self._given_back
        tracer.set_scope(None)
        if not self._adopted and process.current() is tracer:
            with contextlib.suppress(HandleLeak, LeakWarning):
                process.stop()

    def _owner(self, kind: str, name: str, nodeid: str) -> Owner:
        return Owner(kind, name, next(self._numbers), nodeid)

    def pytest_configure(self, config: pytest.Config) -> None:
        """Let the results meet here, unless this is a worker of pytest-xdist."""
        if not hasattr(config, "workerinput"):
            self._options.check_files()
            config.pluginmanager.register(Results(config, self._options, self), "csptrace-results")

    # --- findings -----------------------------------------------------------------------------

    def observe(self, finding: Finding) -> None:
        """Take a finding from the tracer; called with the graph's lock held, in any thread."""
        for expectation in reversed(self.expected):
            if expectation.takes(finding):
                return
        self.where.owner_of(finding).take(finding)

    # --- collection ---------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Refuse tests whose marker means nothing, as a collection error."""
        report = yield
        if report.outcome == "passed":
            node: pytest.Item | pytest.Collector = collector
            try:
                self._policy.check_markers(collector)
                for node in report.result:
                    if node.own_markers and isinstance(node, pytest.Item):
                        self._policy.check_markers(node)
            except BadMarkerError as error:
                if self._options.soft:
                    self.errors.append(f"{node.nodeid}: {error}")
                    return report
                report.outcome = "failed"
                report.longrepr = CollectErrorRepr(f"{node.nodeid}: {error}")
                report.result = []
        return report

    def pytest_collection_finish(self) -> None:
        """Go on as the session itself."""
        self.where.enter(self._session)

    # --- running tests ------------------------------------------------------------------------
    # As few hooks as possible, and as plain as possible: every test pays for them.

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Begin an attempt."""
        if self._reports is not None:
            self._reports.arrive(item)
        before = self.attempt or self._last
        if before is not None and (
            before.item is item or self._reports is not None or self.attempt is not None
        ):
            self._leave_behind(before, item)
        self.attempt = attempt = Attempt(item, next(self._numbers), self._stragglers)
        self.where.enter(attempt)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self) -> None:
        """Go on to the test function."""
        attempt = self.attempt
        if attempt is not None:
            attempt.phase = "call"

    # Of the old style, through which no exception passes: a traceback has no frame of it.
    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_teardown(
        self, nextitem: pytest.Item | None
    ) -> Generator[None, pluggy.Result[object], None]:
        """Follow the teardown, and judge behind it what it has decided."""
        attempt = self.attempt
        if attempt is None:
            yield
            return
        attempt.phase = "teardown"
        error = (yield).exception
        if isinstance(error, _INTERRUPTIONS):
            return
        # The report of pytest's own error gets the text as a section.
        attempt.failed = attempt.failed or error is not None
        self._close(attempt, nextitem, failed=error is not None)

    def _close(self, attempt: Attempt, nextitem: pytest.Item | None, *, failed: bool) -> None:
        """End an attempt, as far as its teardown ends it."""
        tracer = self.tracer
        if not (
            attempt.is_settled(tracer.graph.lock)
            and tracer.active
            and not self._stragglers
            and not self._waiting
            and not self._earlier
            and not self._late
            and not (self._fixtures and self._may_end_fixtures(attempt.item, nextitem))
        ):
            self._judge_attempt(attempt, nextitem, failed=failed)
        self.attempt = None
        self._last = attempt
        if self._waiting:
            self._listening().departing = attempt  # what its end releases is still in its scope
        else:
            self._leave(attempt)

    def _leave(self, attempt: Attempt) -> None:
        """Go on as the session, from where on a test is over."""
        attempt.end()
        if attempt.finds or (attempt.kept and attempt not in self._retained):
            # By one of its threads, a moment before it has ended.
            self._stragglers[attempt] = None
        self.where.enter(self._session)

    @_guarded
    def _judge_attempt(
        self, attempt: Attempt, nextitem: pytest.Item | None, *, failed: bool
    ) -> None:
        waiting = [owner for owner in self._waiting if owner is not attempt]
        if waiting:  # pytest drops the traceback of a failure when the next test is called
            gc.collect()
        for owner in waiting:
            self._judge_late(owner)
            self._retain(owner)
        failure: str = self._judge(attempt) or ""
        if attempt not in self._waiting:
            attempt.end()
        self._end_fixtures(nextitem)
        for straggler in list(self._stragglers):
            self._late.extend(self._records(straggler))
        if not self.tracer.active and not self._stopped_in:
            self._stopped_in = attempt.nodeid
        earlier = self._earlier.pop(attempt.nodeid, [])
        if attempt.records or earlier or self._late:
            others, self._late = self._late, []
            content = Content(list(attempt.records), earlier, others)
            content.section, content.failure = (failure, "") if failed else ("", failure)
            self._listening().load[attempt.nodeid] = content

    def settle(self, attempt: Attempt) -> tuple[list[Record], str]:
        """Judge whoever has waited for pytest to let go of a test.

        Returns:
            The records that the test has got now, and why it fails for them, if it does.
        """
        count = len(attempt.records)
        failure: str = self._judge_waiting(attempt) or ""
        self._leave(attempt)
        return attempt.records[count:], failure

    @_guarded
    def _judge_waiting(self, attempt: Attempt) -> str:
        failure = ""
        for owner in list(self._waiting):
            if owner is attempt:
                failure = self._judge(attempt) or ""
            else:
                self._judge_late(owner)
            if not self._waiting.get(owner):
                self._retain(owner)
        return failure

    def postpone(self, attempt: Attempt, records: Iterable[Record]) -> None:
        """Keep what a test's own reports can no longer tell."""
        if attempt.superseded:
            known = self._earlier.setdefault(attempt.nodeid, [])
            known.extend({**record, "verdict": "earlier"} for record in records)
        else:
            self._late.extend(records)

    def _retain(self, owner: Owner) -> None:
        """Wait for the end with what is still alive of an owner, if anything is."""
        if owner in self._waiting:
            del self._waiting[owner]
            self._retained[owner] = None

    def _listening(self) -> TeardownReports:
        """Return what puts results into reports; it listens from now on."""
        if self._reports is None:
            self._reports = TeardownReports(self._config, self)
            self._config.pluginmanager.register(self._reports, "csptrace-teardown-reports")
            results = self._config.pluginmanager.get_plugin("csptrace-results")
            if results is not None:
                results.listen()
        return self._reports

    def _pending(self) -> dict[str, Content]:
        """Return what no report has carried yet, by test."""
        return {} if self._reports is None else self._reports.load

    def _leave_behind(self, before: Attempt, item: pytest.Item) -> None:
        """Keep what was never reported; an earlier attempt of the same test does not count."""
        pending = self._pending()
        for content in pending.values():
            self._late.extend(content.others)
            self._earlier.setdefault(before.nodeid, []).extend(content.earlier)
        if before.item is item:
            before.superseded = True
            self.postpone(before, before.records)
            if not self._earlier[item.nodeid]:
                del self._earlier[item.nodeid]
        elif before is self.attempt or before.nodeid in pending:
            self._late.extend(before.records)
        pending.clear()
        before.end()
        self._last = None

    # --- fixtures -----------------------------------------------------------------------------

    @pytest.hookimpl(hookwrapper=True)  # as above
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: Any
    ) -> Generator[None, pluggy.Result[object], None]:
        """Say that what is acquired belongs to the fixture; a wide one is an owner of its own."""
        attempt = self.attempt
        if attempt is None:
            yield
            return
        if fixturedef.scope == "function":
            before, attempt.fixture = attempt.fixture, fixturedef.argname
            yield
            attempt.fixture = before
            return
        owner = self._wide(fixturedef, request)
        around: list[Owner] = []

        def enter() -> None:
            around.append(self.where.current)
            self.where.enter(owner)

        def leave() -> None:
            if around:
                self.where.enter(around.pop())

        def begin_teardown() -> None:
            # The fixtures of the test itself are gone. What it has left is found now: whether it
            # is the last test under a context must not make another finding of it.
            if self.attempt is not None and self.attempt.phase == "teardown":
                self._find_leaks(self.attempt)
            enter()

        fixturedef.addfinalizer(leave)  # the first finalizer runs last
        enter()
        yield
        leave()
        fixturedef.addfinalizer(begin_teardown)

    def _wide(self, fixturedef: pytest.FixtureDef[Any], request: Any) -> Owner:
        name = fixturedef.argname
        if name.startswith(("_xunit_", "_unittest_")):  # setup_module, setUpClass and their kin
            name = name.removeprefix("_xunit_").removeprefix("_unittest_").partition("_fixture")[0]
        if hasattr(request, "param"):
            name += f"[{request.param_index}]"
        node = request.node
        of = node.nodeid or "the session"
        owner = self._owner("fixture", f"fixture {name} ({fixturedef.scope}) of {of}", node.nodeid)
        self._fixtures[owner] = node
        if isinstance(node, pytest.Item):  # class scope, for a test that is in no class
            self._narrow_fixtures = True
        return owner

    def _may_end_fixtures(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool:
        """Return whether a fixture of a wider scope may be over behind a test."""
        return self._narrow_fixtures or nextitem is None or nextitem.parent is not item.parent

    def _end_fixtures(self, nextitem: pytest.Item | None) -> None:
        """Judge the fixtures whose scope is over: their node is not among the next test's."""
        if not self._fixtures:
            return
        self._narrow_fixtures = False
        staying = set(nextitem.listchain()) if nextitem is not None else set()
        for owner, node in list(self._fixtures.items()):
            if node not in staying:
                del self._fixtures[owner]
                self._judge_late(owner)

    # --- judging ------------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_exception_interact(self, call: pytest.CallInfo[Any]) -> None:
        """Note what a test raises by itself: it fails already and must not fail twice."""
        if call.excinfo is not None:
            self._raised |= raised_findings(call.excinfo.value)
            end_in_program(call.excinfo.value)
            if self.attempt is not None:
                self.attempt.failed = True

    @_guarded
    def _judge(self, owner: Owner) -> str:
        """Judge what an owner has left behind; return the failure in words, empty if it is none."""
        self._find_leaks(owner)
        if isinstance(owner, Attempt) and any(find.finding.code.is_misuse for find in owner.finds):
            self._raised |= raised_findings(exception_of_call())
        fresh = self._records(owner)
        owner.records.extend(fresh)
        return reporting.failure(owner.name, fresh)

    @_guarded
    def _find_leaks(self, owner: Owner) -> None:
        """Find what an owner has left behind, but for what may still go with what is held of it."""
        tracer = self.tracer
        if not owner.kept or not tracer.active:
            return
        unreleased = tracer.unreleased_in((owner,))
        staying, by_failure = self._staying(owner, unreleased)
        if len(staying) < len(unreleased):
            # Objects in reference cycles would be taken for leaks. Only a test that would fail
            # pays for the collection.
            gc.collect()
            unreleased = tracer.unreleased_in((owner,))
            staying, by_failure = self._staying(owner, unreleased)
            gone = [handle for handle in unreleased if handle not in staying]
            owner.leaks.extend(tracer.judge(gone, owner.name))
        with tracer.graph.lock:
            owner.kept[:] = [handle for handle in unreleased if handle in staying]
        if staying:
            self._waiting[owner] = by_failure
        else:
            self._waiting.pop(owner, None)

    def _staying(self, owner: Owner, unreleased: list[Handle]) -> tuple[set[Handle], bool]:
        """Return which handles may still go with what is held, and whether a traceback holds it."""
        held = self._held(owner)
        staying = self._retention.releasable(held, unreleased)
        if len(staying) == len(unreleased):
            return staying, False
        more = self._retention.releasable([*held, *self._failures(owner)], unreleased)
        return more, len(more) > len(staying)

    def _held(self, owner: Owner) -> list[object]:
        """Return what pytest holds that may be an owner's."""
        if isinstance(owner, Attempt):
            return held_of(owner.item)
        if owner.kind != "fixture":
            return []
        session: Any = self._config.pluginmanager.get_plugin("session")
        return [one for item in session.items for one in held_of(item)]

    @staticmethod
    def _failures(owner: Owner) -> list[object]:
        """Return what was raised that may hold what is an owner's."""
        if isinstance(owner, Attempt):
            return failures(owner.item)
        return failures(None) if owner.kind == "fixture" else []

    def _judge_late(self, owner: Owner) -> None:
        """Judge somebody who has no report of its own, or none any more."""
        if not owner.is_clean:
            count = len(owner.records)
            self._judge(owner)
            fresh = owner.records[count:]
            if isinstance(owner, Attempt):
                self.postpone(owner, fresh)
            else:
                self._late.extend(fresh)

    def _records(self, owner: Owner) -> list[dict[str, Any]]:
        """Judge the findings of an owner and put them into a form that travels."""
        item = owner.item if isinstance(owner, Attempt) else None
        try:
            rules = self._policy.rules(item)
        except BadMarkerError as error:  # added while the test ran
            rules = ()
            self.errors.append(f"{owner.name}: {error}")
        handles: dict[int, list[Handle]] = {}
        for handle, finding in owner.leaks:
            handles.setdefault(id(finding), []).append(handle)
        records = []
        for finding, place in owner.finds:
            record = self.record(finding, owner, place)
            about = finding.acquired if finding.code.is_leak else finding.misused
            mine = about is None or about.stack is None or about.stack.is_users
            left = handles.get(id(finding), [])
            doubtful = self.tracer.diagnostics.doubtful
            rulings = self._policy.rule_on(finding, rules, mine=mine, doubtful=doubtful)
            for ruling, times in rulings:
                raised = ruling.verdict == "fail" and id(finding) in self._raised
                verdict = "raised" if raised else ruling.verdict
                name = record["id"] if len(rulings) == 1 else f"{record['id']} {verdict}"
                part = record if len(rulings) == 1 else reporting.part(record, name, times)
                ruled = {"verdict": verdict, "reason": ruling.reason, "alive": bool(left)}
                records.append({**part, **ruled})
                self._leaks.extend((handle, name) for handle in left[:times])
                del left[:times]
        owner.finds.clear()
        owner.leaks.clear()
        return records

    def record(self, finding: Finding, owner: Owner, place: Place) -> dict[str, Any]:
        """Return a finding in a form that travels between processes: plain data only."""
        event, stacks = self.tracer.event(finding)
        many = getattr(self._config.option, "verbose", 0) >= 2  # without -p no:terminal
        return {
            "id": f"{self.tracer.run}:{next(self._ids)}",
            "run": self.tracer.run,
            "host": platform.node(),
            "event": event,
            "stacks": {
                str(number): [list(frame) for frame in frames] for number, frames in stacks.items()
            },
            "text": self.tracer.explain(finding, frames=_MANY_FRAMES if many else _FEW_FRAMES),
            "leak": finding.code.is_leak,
            "owner": owner.name,
            "kind": owner.kind,
            "nodeid": owner.nodeid,
            "phase": place.phase,
            "fixture": place.fixture,
        }

    # --- the end ------------------------------------------------------------------------------

    def pytest_unconfigure(self) -> None:
        """Stop at once if nothing is left.

        pytest and the interpreter search for garbage several times from here on, each time through
        everything that the tracer remembers of the handles of the whole run. What is left may be
        part of that garbage: then the tracer stops behind it.
        """
        if not self.tracer.live():
            self.switch_off()

    def pytest_keyboard_interrupt(self) -> None:
        """Do not judge what was interrupted: it had no chance to tidy up."""
        self._interrupted = True

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self) -> Generator[None, Any, Any]:
        """Judge what is left when everybody has tidied up, and send it to the controller."""
        try:
            return (yield)
        finally:
            output = getattr(self._config, "workeroutput", None)
            if output is not None:
                output["csptrace"] = self.results()

    def results(self) -> dict[str, Any]:
        """Return what is known at the end, apart from what has travelled in reports."""
        self._judge_rest()
        withdrawn: dict[str, dict[str, int]] = {}
        for handle, name in self._leaks:
            if handle.state == RELEASED:
                scope = handle.ended.scope if handle.ended is not None else None
                keeper = scope.keeper if scope is not None else None
                later = keeper.name if keeper is not None else self._session.name
                times = withdrawn.setdefault(name, {})
                times[later] = times.get(later, 0) + 1
        late, self._late = self._late, []
        earlier, self._earlier = self._earlier, {}
        if self.tracer.diagnostics.doubtful:
            said = "\n".join(self.tracer.diagnostics.complaints("internal"))
            error = f"csptrace had an internal error; no finding fails a test since:\n{said}"
            if error not in self.errors:
                self.errors.append(error)
        if not self.tracer.active:
            where = f" in {self._stopped_in}" if self._stopped_in else ""
            self.errors.append(
                f"the tracer was stopped{where}, and nothing after that was traced; a test must "
                "not call csptrace.stop() while the plugin is on"
            )
        return {
            "others": late,
            "earlier": [record for records in earlier.values() for record in records],
            "excused": self._excused,
            "withdrawn": withdrawn,
            "called": self.tracer.recorder.called,
            "errors": list(self.errors),
        }

    @_guarded
    def _judge_rest(self) -> None:
        if self._interrupted:
            return
        if self._reports is not None:
            self._reports.arrive(None)
        if self.attempt is not None:
            self._late.extend(self.attempt.records)
            self._judge_late(self.attempt)
        for content in self._reports.load.values() if self._reports is not None else ():
            self._late.extend((*content.own, *content.others))
        if self._waiting or self._retained:
            gc.collect()
        for owner in (
            *self._waiting,
            *self._retained,
            *self._stragglers,
            *self._fixtures,
            self._collection,
            self._session,
        ):
            self._judge_late(owner)
        for owner in self._waiting:
            self._excuse(owner)

    def _excuse(self, owner: Owner) -> None:
        """Note of whom pytest or a traceback still holds what may release it."""
        self.tracer.excuse(owner.kept)
        by_failure = self._waiting[owner] or (isinstance(owner, Attempt) and owner.failed)
        for handle in owner.kept:
            user = self.tracer.place_of(handle)
            self._excused.append(
                {
                    "owner": owner.name,
                    "kind": handle.kind.name,
                    "where": f"{user.filename}:{user.line}" if user is not None else "",
                    "by": "the failure's traceback" if by_failure else "pytest",
                }
            )
