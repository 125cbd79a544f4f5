"""Puts what was found about a test into its reports, which travel to where the results meet.

What is known when the teardown is over goes into its report. pytest holds the fixtures' values for
longer than that; what only their end decides is told behind it, in a further report of the teardown
that there is only if the test fails for it.
"""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from _pytest.outcomes import Failed

from csptrace.frontends.pytest_plugin import reporting
from csptrace.frontends.pytest_plugin.counting import may_be_withdrawn, uncounted
from csptrace.frontends.pytest_plugin.retention import has_let_go

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from csptrace.frontends.pytest_plugin.attribution import Attempt
    from csptrace.frontends.pytest_plugin.reporting import Record

__all__ = ["Content", "LeakError", "TeardownReports"]


class LeakError(Failed):
    """Fails the teardown of a test; pytest shows its text and no traceback.

    It is never raised out of a test, so that no debugger stops for it: there is nothing to see.
    """


@dataclasses.dataclass(slots=True)
class Content:
    """What the report of a test's teardown is to carry.

    Attributes:
        own: the records of the test.
        earlier: those of attempts that do not count.
        others: those of others whose time is over.
        failure: why the test fails, empty if it does not, or has failed in its teardown by itself.
        section: what is said of a test whose teardown has failed by itself.
        further: whether it comes behind the teardown's own report.
    """

    own: list[Record] = dataclasses.field(default_factory=list)
    earlier: list[Record] = dataclasses.field(default_factory=list)
    others: list[Record] = dataclasses.field(default_factory=list)
    failure: str = ""
    section: str = ""
    further: bool = False

    def payload(self) -> dict[str, Any]:
        """Return what is attached to the report: plain data."""
        return {
            "own": self.own,
            "earlier": self.earlier,
            "others": self.others,
            "verdict": reporting.verdict(self.own) if self.failure else "",
            "further": self.further,
        }


class Settling(Protocol):
    """What judges a test after pytest has let go of it."""

    def settle(self, attempt: Attempt) -> tuple[list[Record], str]:
        """Return the records that the test has got now, and why it fails for them, if it does."""

    def postpone(self, attempt: Attempt, records: Iterable[Record]) -> None:
        """Keep what the test's own reports can no longer tell."""


class TeardownReports:
    """Puts results into reports; it is registered when there may be any for the first time.

    Args:
        config: pytest's configuration.
        traced: judges what only the end of the fixtures' values decides.

    Attributes:
        load: test → what the report of its teardown is to carry.
        departing: the test whose fixtures' values pytest still holds, if that matters.
    """

    def __init__(self, config: pytest.Config, traced: Settling) -> None:
        self.load: dict[str, Content] = {}
        self.departing: Attempt | None = None
        self._config = config
        self._traced = traced
        self._report: pytest.TestReport | None = None
        self._is_out = False
        self._call: pytest.CallInfo[Any] | None = None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[Any]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Fail the teardown of a test that has leaked or misused something."""
        if call.when != "teardown":
            return (yield)
        content = self.load.get(item.nodeid)
        if content is not None and content.failure and call.excinfo is None:
            call.excinfo = _excinfo(content.failure)
            self._call = call
        self._report = report = yield
        self._is_out = False
        return report

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> Generator[None, Any, Any]:
        """Load the report, before others read it, count it or send it on."""
        if self.departing is not None and has_let_go(self.departing.item):
            self._depart()  # whoever reports a test as a whole does so behind its end
        if report.when != "teardown":
            return (yield)
        self._is_out = True
        try:
            content = self.load.pop(report.nodeid, None)
            if content is None:
                return (yield)
            payload = content.payload()
            self._put(report, payload, content.section)
            with contextlib.ExitStack() as stack:
                if payload["verdict"] and may_be_withdrawn(payload["own"]):
                    stack.enter_context(uncounted(self._config))
                return (yield)
        finally:
            if self._call is not None:
                self._call.excinfo = None
                self._call = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logfinish(self) -> None:
        """Tell what is known since pytest has let go of the test."""
        self._depart()

    def arrive(self, item: pytest.Item | None) -> None:
        """Settle what is left of the test before, whose time to report is over.

        Args:
            item: the test that begins, `None` at the end of the session.
        """
        if self.departing is not None:
            self.departing.superseded = self.departing.item is item
            self._depart(late=True)

    def _depart(self, *, late: bool = False) -> None:
        """Judge the test that pytest has let go of, and tell what that has decided."""
        attempt, self.departing = self.departing, None
        if attempt is None:
            return
        own, failure = self._traced.settle(attempt)
        report = self._report
        if report is not None and report.nodeid == attempt.nodeid and not self._is_out:
            self._amend(report, self.load.setdefault(attempt.nodeid, Content()), own, failure)
        elif report is not None and report.nodeid == attempt.nodeid and failure and not late:
            self.load[attempt.nodeid] = Content(own, failure=failure, further=True)
            attempt.item.ihook.pytest_runtest_logreport(report=_further(report, failure))
        else:
            self._traced.postpone(attempt, own)

    @staticmethod
    def _amend(
        report: pytest.TestReport, content: Content, own: list[Record], failure: str
    ) -> None:
        """Change a report that nobody has read yet."""
        content.own = content.own + own
        if not failure:
            return
        if report.outcome == "failed" and not content.failure:
            content.section = "\n\n".join(filter(None, (content.section, failure)))
            return
        content.failure = "\n\n".join(filter(None, (content.failure, failure)))
        report.outcome = "failed"
        report.longrepr = content.failure

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


def _excinfo(text: str) -> pytest.ExceptionInfo[BaseException]:
    try:
        raise LeakError(text, pytrace=False)  # noqa: TRY301 - pytest wants one with a traceback
    except LeakError:
        return pytest.ExceptionInfo.from_current()


def _further(report: pytest.TestReport, failure: str) -> pytest.TestReport:
    """Return a report of a failed teardown that comes behind the teardown's own."""
    return pytest.TestReport(
        nodeid=report.nodeid,
        location=report.location,
        keywords=report.keywords,
        outcome="failed",
        longrepr=failure,
        when="teardown",
        start=report.stop,
        stop=report.stop,
    )
