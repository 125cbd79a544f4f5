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
from _pytest.outcomes import Failed
from _pytest.reports import CollectErrorRepr

from csptrace import process
from csptrace.errors import HandleLeak, LeakWarning
from csptrace.frontends.canary import catches_canary
from csptrace.frontends.pytest_plugin import reporting
from csptrace.frontends.pytest_plugin.attribution import (
    Attempt,
    Owner,
    Whereabouts,
    exception_of_call,
    raised_findings,
)
from csptrace.frontends.pytest_plugin.counting import may_be_withdrawn, uncounted
from csptrace.frontends.pytest_plugin.ledger import Ledger
from csptrace.frontends.pytest_plugin.policy import BadMarkerError, Policy, kinds_of
from csptrace.frontends.pytest_plugin.switches import Switches, refusal
from csptrace.model import RELEASED
from csptrace.terminal import escape

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from csptrace.frontends.pytest_plugin.attribution import Place
    from csptrace.frontends.pytest_plugin.fixture import Expectation
    from csptrace.model import Finding, Handle
    from csptrace.tracer import Tracer

__all__ = ["LeakError", "Watch", "switch_on"]

_FEW_FRAMES, _MANY_FRAMES = 4, 64
_INTERRUPTIONS = (KeyboardInterrupt, SystemExit, pytest.exit.Exception)
_LAUNCHERS = tuple(
    os.path.normcase(os.path.join(os.path.dirname(str(module.__file__)), ""))
    for module in (_pytest, pluggy)
)


class LeakError(Failed):
    """Fails a test at the end of its teardown; pytest shows its text and no traceback."""


def switch_on(config: pytest.Config) -> None:
    """Start tracing and register what follows the tests.

    Args:
        config: pytest's configuration; its conftest files are not loaded yet.

    Raises:
        pytest.UsageError: an option is wrong, or the tracer does not catch a leak that is planted.
    """
    switches = Switches.read(config)
    active = process.current()
    adopted = active is not None and active.reconfigure(switches.settings)
    if active is not None and not adopted:
        process.stop()
        active = None
    try:
        tracer = active or process.start(switches.settings)
    except Exception as error:
        raise refusal(f"cannot trace: {error}") from error
    failed = catches_canary(tracer)
    if failed:
        if not adopted:
            process.stop()
        raise refusal(f"self-test FAILED: {failed}")
    watch = Watch(config, switches, tracer, adopted=adopted)
    manager = config.pluginmanager
    manager.register(watch, "csptrace-watch")
    config.add_cleanup(watch.switch_off)
    manager.import_plugin("csptrace.softcsp.pytest_faults")


def _guarded(method: Callable[..., Any]) -> Callable[..., Any]:
    """Keep a bug of the plugin away from the tests: it is told at the end and fails the run."""

    @functools.wraps(method)
    def guarded(self: Watch, *args: Any, **kwargs: Any) -> Any:
        try:
            return method(self, *args, **kwargs)
        except Exception:  # noqa: BLE001 - whatever it is, it is not the test's
            self.errors.append(f"internal error in {method.__name__}:\n{traceback.format_exc()}")
            return None

    return guarded


class Courier:
    """Puts results into reports; it is registered when there are any for the first time.

    Args:
        config: pytest's configuration.

    Attributes:
        load: test → what its teardown's report is to carry, and a section for it.
    """

    def __init__(self, config: pytest.Config) -> None:
        self.load: dict[str, tuple[dict[str, Any], str]] = {}
        self._config = config

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> Generator[None, Any, Any]:
        """Load the report, before others read it, count it or send it on."""
        if report.when != "teardown" or report.nodeid not in self.load:
            return (yield)
        payload, section = self.load.pop(report.nodeid)
        self._put(report, payload, section)
        if payload["verdict"] and may_be_withdrawn(payload["own"]):
            with uncounted(self._config):
                return (yield)
        return (yield)

    @staticmethod
    def _put(report: pytest.TestReport, payload: dict[str, Any], section: str) -> None:
        if payload["verdict"] and hasattr(report, "wasxfail"):
            # The test was expected to fail, not to leak.
            report.outcome = "failed"
            del report.wasxfail
        if section:
            report.sections.append(("csptrace", section))
        report.csptrace = payload  # type: ignore[attr-defined]
        report.user_properties.extend(reporting.properties(payload["own"]))


class Watch:
    """Follows the tests of one process.

    Args:
        config: pytest's configuration.
        switches: the options.
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
        self, config: pytest.Config, switches: Switches, tracer: Tracer, *, adopted: bool
    ) -> None:
        self.tracer = tracer
        self.attempt: Attempt | None = None
        self.expected: list[Expectation] = []
        self.errors: list[str] = []
        self._config = config
        self._switches = switches
        self._adopted = adopted
        specs = tracer.installation.specs
        self.kinds = kinds_of(specs)
        self._policy = Policy(switches, self.kinds)
        self._numbers = itertools.count(1)
        self._ids = itertools.count(1)
        self._session = self._owner("session", "pytest session", "")
        self._collection = self._owner("collection", "collection", "")
        self._fixtures: dict[Owner, pytest.Item | pytest.Collector] = {}
        self._narrow_fixtures = False
        self._stragglers: dict[Attempt, None] = {}
        self._last: Attempt | None = None
        self._earlier: dict[str, list[dict[str, Any]]] = {}
        self._leaks: list[tuple[Handle, str]] = []
        self._late: list[dict[str, Any]] = []
        self._courier: Courier | None = None
        self._raised: set[int] = set()
        tracer.called = False
        self._interrupted = False
        self._stopped_in = ""
        calls = sum(len(spec.by_name()) for spec in specs)
        apis = f"{len(specs)} API{'s' if len(specs) != 1 else ''}"
        header = f"{calls} calls of {apis} patched, self-test passed"
        self.header = [escape(f"csptrace: {line}") for line in (header, *switches.passed)]
        tracer.hide_launcher(*_LAUNCHERS)
        self.where = Whereabouts(tracer, self._session)
        self.where.enter(self._collection)
        self._given_back = (tracer.observer, tracer.unscoped)
        tracer.observer = self.observe
        tracer.unscoped = self.where.of_stranger

    def switch_off(self) -> None:
        """Stop tracing; called when pytest lets go of its configuration."""
        tracer = self.tracer
        tracer.observer, tracer.unscoped = self._given_back
        tracer.set_scope(None)
        if not self._adopted and process.current() is tracer:
            with contextlib.suppress(HandleLeak, LeakWarning):
                process.stop()

    def _owner(self, kind: str, name: str, nodeid: str) -> Owner:
        return Owner(kind, name, next(self._numbers), nodeid)

    def pytest_configure(self, config: pytest.Config) -> None:
        """Let the results meet here, unless this is a worker of pytest-xdist."""
        if not hasattr(config, "workerinput"):
            self._switches.check_files()
            config.pluginmanager.register(Ledger(config, self._switches, self), "csptrace-ledger")

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
        before = self.attempt or self._last
        if before is not None and (
            before.item is item or self._courier is not None or self.attempt is not None
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

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(
        self, nextitem: pytest.Item | None
    ) -> Generator[None, object, object]:
        """Follow the teardown, and give the verdict behind it.

        Raises:
            LeakError: the test has leaked or misused something, and its teardown has not failed.
        """
        attempt = self.attempt
        if attempt is None:
            return (yield)
        attempt.phase = "teardown"
        try:
            result = yield
        except _INTERRUPTIONS:
            raise
        except BaseException:
            # The report of pytest's own error gets the text as a section.
            self._close(attempt, nextitem, failed=True)
            raise
        failure = self._close(attempt, nextitem, failed=False)
        if failure:
            raise LeakError(failure, pytrace=False)
        return result

    def _close(self, attempt: Attempt, nextitem: pytest.Item | None, *, failed: bool) -> str:
        """End an attempt; return why it fails, empty if it does not."""
        failure = ""
        tracer = self.tracer
        if not (
            attempt.is_settled(tracer.graph.lock)
            and tracer.active
            and not self._stragglers
            and not self._earlier
            and not self._late
            and not (self._fixtures and self._may_end_fixtures(attempt.item, nextitem))
        ):
            failure = self._judge_attempt(attempt, nextitem, failed=failed) or ""
        attempt.end()
        if attempt.kept or attempt.finds:  # by one of its threads, a moment before it has ended
            self._stragglers[attempt] = None
        self.attempt = None
        self._last = attempt
        self.where.enter(self._session)
        return failure

    @_guarded
    def _judge_attempt(
        self, attempt: Attempt, nextitem: pytest.Item | None, *, failed: bool
    ) -> str:
        failure: str = self._judge(attempt) or ""
        attempt.end()
        self._end_fixtures(nextitem)
        for straggler in list(self._stragglers):
            self._late.extend(self._records(straggler))
        if not self.tracer.active and not self._stopped_in:
            self._stopped_in = attempt.nodeid
        earlier = self._earlier.pop(attempt.nodeid, [])
        if attempt.records or earlier or self._late:
            late, self._late = self._late, []
            verdict = reporting.verdict(attempt.records) if failure and not failed else ""
            self._send(
                attempt.nodeid,
                {"own": attempt.records, "earlier": earlier, "others": late, "verdict": verdict},
                section=failure if failed else "",
            )
        return failure

    def _send(self, nodeid: str, payload: dict[str, Any], *, section: str) -> None:
        """Have results put into the report of the test's teardown, in which they travel."""
        if self._courier is None:
            self._courier = Courier(self._config)
            self._config.pluginmanager.register(self._courier, "csptrace-courier")
            ledger = self._config.pluginmanager.get_plugin("csptrace-ledger")
            if ledger is not None:
                ledger.listen()
        self._courier.load[nodeid] = (payload, section)

    def _leave_behind(self, before: Attempt, item: pytest.Item) -> None:
        """Keep what was never reported; an earlier attempt of the same test does not count."""
        load = self._courier.load if self._courier is not None else {}
        for payload, _ in load.values():
            self._late.extend(payload["others"])
            self._earlier.setdefault(before.nodeid, []).extend(payload["earlier"])
        if before.item is item:
            known = self._earlier.setdefault(item.nodeid, [])
            known.extend({**record, "verdict": "earlier"} for record in before.records)
            if not known:
                del self._earlier[item.nodeid]
        elif before is self.attempt or before.nodeid in load:
            self._late.extend(before.records)
        load.clear()
        before.end()
        self._last = None

    # --- fixtures -----------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: Any
    ) -> Generator[None, object, object]:
        """Say that what is acquired belongs to the fixture; a wide one is an owner of its own."""
        attempt = self.attempt
        if attempt is None:
            return (yield)
        if fixturedef.scope == "function":
            before, attempt.fixture = attempt.fixture, fixturedef.argname
            try:
                return (yield)
            finally:
                attempt.fixture = before
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
        try:
            return (yield)
        finally:
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

    def pytest_exception_interact(self, call: pytest.CallInfo[Any]) -> None:
        """Note what a test raises by itself: it fails already and must not fail twice."""
        if call.excinfo is not None:
            self._raised |= raised_findings(call.excinfo.value)

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
        """Find what an owner has left behind."""
        tracer = self.tracer
        if owner.kept and tracer.active:
            if tracer.owed_in((owner,)):
                # Objects in reference cycles, or in the frames that an exception keeps, would be
                # taken for leaks. Only a test that would fail pays for the collection.
                gc.collect()
                owner.leaks.extend(tracer.judge(tracer.owed_in((owner,)), owner.name))
            owner.kept.clear()

    def _judge_late(self, owner: Owner) -> None:
        """Judge somebody who has no report of its own, or none any more."""
        if not owner.is_clean:
            count = len(owner.records)
            self._judge(owner)
            self._late.extend(owner.records[count:])

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
            mine = self.tracer.is_users(about.stack if about is not None else None)
            left = handles.get(id(finding), [])
            doubtful = self.tracer.doubtful
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
        if self.tracer.doubtful:
            said = "\n".join(self.tracer.complaints("internal"))
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
            "withdrawn": withdrawn,
            "called": self.tracer.called,
            "errors": list(self.errors),
        }

    @_guarded
    def _judge_rest(self) -> None:
        if self._interrupted:
            return
        if self.attempt is not None:
            self._late.extend(self.attempt.records)
            self._judge_late(self.attempt)
        for payload, _ in self._courier.load.values() if self._courier is not None else ():
            self._late.extend((*payload["own"], *payload["others"]))
        for owner in (
            *self._stragglers,
            *self._fixtures,
            self._collection,
            self._session,
        ):
            self._judge_late(owner)
