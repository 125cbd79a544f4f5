"""Where the results meet: verdicts, totals, the summary and the files.

It lives in the process that has the terminal: the only one, or the controller of pytest-xdist,
which gets the results of its workers in their reports and, at their end, in `workeroutput`.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, Protocol

import pytest

from csptrace import __version__
from csptrace.errors import CspTraceError
from csptrace.files import replacing
from csptrace.frontends.pytest_plugin import reporting
from csptrace.frontends.pytest_plugin.counting import (
    may_be_withdrawn,
    remember,
    uncounted,
    unremembered,
)
from csptrace.terminal import escape

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence

    from csptrace.analysis.results import Group
    from csptrace.findings.baseline import Judgement, Seen
    from csptrace.frontends.pytest_plugin.options import Options
    from csptrace.frontends.pytest_plugin.reporting import Record

__all__ = ["Absence", "Results"]

_STATUS: Final = {
    "leaked": ("leaked", "L", ("LEAKED", {"red": True})),
    "misused": ("misused", "M", ("MISUSED", {"red": True})),
}
_HEADINGS: Final = {
    "test": "",
    "fixture": "in fixtures of a wider scope",
    "collection": "in collection (import-time code, conftest files)",
    "session": "in the session itself",
}
_SHOWN: Final = ("fail", "raised", "noted")
_MOST_SITES: Final = 5
_MOST_ANNOTATIONS: Final = 10
_ANNOTATIONS: Final = {"error": "error", "warning": "warning", "info": "notice"}


class Tracing(Protocol):
    """What traces the tests of this process, as far as the results need it."""

    @property
    def header(self) -> list[str]:
        """The lines for the head of pytest's report."""

    def switch_off(self) -> None:
        """Stop tracing."""

    def results(self) -> dict[str, Any]:
        """Return what is known at the end, apart from what has travelled in reports."""


class Results:
    """Collects what was found and draws the conclusions.

    Args:
        config: pytest's configuration.
        options: the options.
        traced: what follows the tests of this process.

    Attributes:
        config: pytest's configuration.
    """

    def __init__(self, config: pytest.Config, options: Options, traced: Tracing) -> None:
        self.config = config
        self._options = options
        self._traced: Tracing | None = traced
        self._header = traced.header
        self._records: dict[str, Record] = {}
        self._earlier: dict[str, Record] = {}
        self._released: dict[str, dict[str, int]] = {}
        self._withdrawn: dict[str, str] = {}
        self._reports: list[tuple[pytest.TestReport, Sequence[Record]]] = []
        self._entries: list[tuple[pytest.TestReport, Sequence[Record]]] = []
        self._excused: list[dict[str, str]] = []
        self._called = False
        self._errors: list[str] = []
        self._reasons: list[str] = []
        self._faults: list[str] = []
        self._notes: list[str] = []
        self._groups: tuple[Group, ...] = ()
        self._deselected = 0
        self._closed = False
        self._session: pytest.Session | None = None

    # --- what arrives -------------------------------------------------------------------------

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Leave the tracing to the workers, if there are any."""
        self._session = session
        traced = self._traced
        if traced is not None and self.config.pluginmanager.has_plugin("dsession"):
            self._traced = None
            self.listen()
            self.config.pluginmanager.unregister(traced)
            traced.switch_off()

    def pytest_report_header(self) -> list[str]:
        """Say that it works, and how one knows."""
        return self._header

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """Note that not everything is run, so that a missing finding means nothing."""
        self._deselected += len(items)

    def listen(self) -> None:
        """Read reports from now on; before the first finding that would cost for nothing."""
        manager = self.config.pluginmanager
        if not manager.has_plugin("csptrace-listener"):
            manager.register(_Listener(self), "csptrace-listener")

    def read(self, report: pytest.TestReport) -> None:
        """Take the results out of a report."""
        payload: dict[str, Any] | None = report.__dict__.get("csptrace")
        if payload is None or "owner" in payload:
            return
        own = payload["own"]
        self._entries.append((report, own))
        if report.outcome == "rerun":  # type: ignore[comparison-overlap]  # of a plugin
            self._take_earlier(own)
        else:
            self._take(own)
            if payload["verdict"]:
                self._reports.append((report, own))
        self._take_earlier(payload["earlier"])
        self._take_others(payload["others"])

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take what a worker says at its end; a worker that has crashed says nothing."""
        results = getattr(node, "workeroutput", {}).get("csptrace")
        if results is not None:
            self._take_results(results)

    def _take_results(self, results: dict[str, Any]) -> None:
        self._released.update(results["withdrawn"])
        self._called |= results["called"]
        self._excused += results["excused"]
        self._errors += [error for error in results["errors"] if error not in self._errors]
        self._take_earlier(results["earlier"])
        self._take_others(results["others"])

    def _take(self, records: Iterable[Record]) -> None:
        for record in records:
            self._records[record["id"]] = record

    def _take_earlier(self, records: Iterable[Record]) -> None:
        for record in records:
            self._earlier[record["id"]] = record

    def _take_others(self, records: Sequence[Record]) -> None:
        """Take findings that are nobody's in the running test, and fail their owner for them."""
        self._take(records)
        owners: dict[str, list[Record]] = {}
        for record in records:
            owners.setdefault(record["owner"], []).append(record)
        for name, theirs in owners.items():
            text = reporting.failure(name, theirs)
            if text:
                self._fail(name, theirs, text)

    def _fail(self, name: str, records: Sequence[Record], text: str) -> None:
        """Report a failure of an owner that is no running test."""
        first = records[0]
        nodeid = first["nodeid"]
        of_test = first["kind"] == "test"
        if not of_test:
            short = name.partition(" of ")[0]  # the rest is the node
            nodeid = f"{nodeid}::{short}" if nodeid else short
        report = pytest.TestReport(
            nodeid=nodeid,
            location=(nodeid.partition("::")[0], None, nodeid.rpartition("::")[2]),
            keywords={},
            outcome="failed",
            longrepr=text,
            when="teardown",
            user_properties=reporting.properties(records),
            csptrace={"verdict": reporting.verdict(records), "owner": name},
        )
        self._reports.append((report, records))
        self._entries.append((report, records))
        if not self._closed:
            if self._session is not None and not of_test:
                self._session.testscollected += 1  # else the progress would go beyond 100 %
            workers = self.config.pluginmanager.get_plugin("dsession")
            with contextlib.ExitStack() as stack:
                if may_be_withdrawn(records):
                    stack.enter_context(uncounted(self.config))
                elif not of_test:  # --lf could select no such test
                    stack.enter_context(unremembered(self.config, "lfplugin"))
                self.config.hook.pytest_runtest_logreport(report=report)
            if workers is not None:  # it counts only what a worker has sent, for -x
                workers._handlefailures(report)

    # --- the end ------------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, Any, Any]:
        """Draw the conclusions, before the terminal prints its summary."""
        try:
            return (yield)
        finally:
            self._finish(session)

    def _finish(self, session: pytest.Session) -> None:
        self._closed = True
        before = len(self._reports)
        if self._traced is not None:
            self._take_results(self._traced.results())
        self._set_withdrawn_apart()
        terminal = self.config.pluginmanager.get_plugin("terminalreporter")
        for report, records in self._reports[before:]:  # too late for the usual way
            session.testsfailed += not may_be_withdrawn(records)
            if terminal is not None:
                terminal._add_stats(report.__dict__["csptrace"]["verdict"], [report])
        self._settle(session, terminal)
        remember(self.config, session, self._unremembered(before))
        self._amend_junit([report for report, _ in self._reports[before:]])
        for name in self._earlier:
            self._records.pop(name, None)
        counting = [
            record
            for record in self._records.values()
            if record["verdict"] != "allowed" and record["id"] not in self._withdrawn
        ]
        self._groups = reporting.groups(counting)
        self._judge_baseline(counting, session)
        if self._options.require and not self._called and not session.config.option.collectonly:
            self._reasons.append(
                "--csptrace-require: no traced call was made in the whole run; is the provider "
                "imported before tracing starts? See: csptrace doctor"
            )
        if self._errors:
            self._faults.append("csptrace itself has failed, see above")
        if self._options.sarif is not None:
            self._write_sarif()
        # What the user has asked to fail for fails the run in any case.
        (self._notes if self._options.soft else self._reasons).extend(self._faults)
        self._set_exit_status(session)

    def _set_withdrawn_apart(self) -> None:
        """Give what was released after all, and in which test, records of its own."""
        for name, times in self._released.items():
            record = self._records.pop(name, None)
            if record is None or name in self._earlier:  # does not count anyway
                self._withdrawn[name] = next(iter(times))
                continue
            left = self._left_of(record)
            if left is not None:
                self._records[name] = left
            elif len(times) == 1:
                self._records[name] = record
            for later, count in times.items():
                if left is not None or len(times) > 1:
                    part = f"{name} {later}"
                    self._records[part] = reporting.part(record, part, count)
                    self._withdrawn[part] = later
            if left is None:
                self._withdrawn[name] = later

    def _left_of(self, record: Record) -> Record | None:
        """Return a record without what was released after all, `None` if nothing is left."""
        released = sum(self._released.get(record["id"], {}).values())
        if not released:
            return record
        count = reporting.times((record,)) - released
        return reporting.part(record, record["id"], count) if count > 0 else None

    def _settle(self, session: pytest.Session, terminal: Any) -> None:
        """Count the failures that could have been taken back, or take them back."""
        for report, records in self._reports:
            if not may_be_withdrawn(records):
                continue
            if self._stands(records):
                session.testsfailed += 1
            elif terminal is not None:
                # A handle was released after all, in a later test.
                category = report.__dict__["csptrace"]["verdict"]
                listed = terminal.stats.get(category, [])
                if report in listed:
                    listed.remove(report)
                    if not listed:
                        del terminal.stats[category]
                    terminal._add_stats("withdrawn", [report])

    def _stands(self, records: Iterable[Record]) -> bool:
        """Return whether a failure for these records was not taken back."""
        return any(
            record["verdict"] == "fail" and record["id"] not in self._withdrawn
            for record in records
        )

    def _unremembered(self, before: int) -> list[pytest.TestReport]:
        """Return the failures of tests that stand and that nobody has remembered.

        Args:
            before: how many reports came before the end.
        """
        return [
            report
            for number, (report, records) in enumerate(self._reports)
            if (number >= before or may_be_withdrawn(records))
            and records[0]["kind"] == "test"
            and self._stands(records)
        ]

    def _amend_junit(self, late: Sequence[pytest.TestReport]) -> None:
        path = getattr(self.config.option, "xmlpath", None)  # without -p no:junitxml
        further = any(report.__dict__["csptrace"].get("further") for report, _ in self._entries)
        if not path or not (late or further or self._withdrawn):
            return
        from csptrace.frontends.pytest_plugin import junit  # noqa: PLC0415 - rarely needed

        entries = [
            junit.Entry(
                report,
                payload.get("owner", report.nodeid),
                records,
                fails=bool(payload["verdict"]),
                alone="owner" in payload,
                further=payload.get("further", False),
            )
            for report, records in self._entries
            for payload in (report.__dict__["csptrace"],)
        ]
        try:
            junit.amend(self.config.pluginmanager, entries, self._left_of, late)
        except OSError as error:
            self._faults.append(f"{path}: cannot be written: {error.strerror or error}")

    def _judge_baseline(self, records: Sequence[Record], session: pytest.Session) -> None:
        options = self._options
        if options.baseline is None:
            return
        from csptrace.findings import baseline  # noqa: PLC0415 - only where there is one

        seen = self._counts(records)
        counts = {name: one.count for name, one in seen.items()}
        judgement = baseline.judge(options.entries, counts)
        if options.update_baseline:
            self._update_baseline(list(seen.values()), session)
            return
        for name, (accepted, count) in judgement.exceeded.items():
            if any(
                record["verdict"] == "known" and record["event"]["fingerprint"] == name
                for record in records
            ) and not self._is_failing(name, records):
                # Each worker has stayed below the limit by itself.
                self._faults.append(
                    f"{name} occurred {count} times; the baseline accepts {accepted}"
                )
        self._report_stale(judgement, session)

    def _is_failing(self, fingerprint: str, records: Sequence[Record]) -> bool:
        return any(
            record["verdict"] == "fail" and record["event"]["fingerprint"] == fingerprint
            for record in records
        )

    def _report_stale(self, judgement: Judgement, session: pytest.Session) -> None:
        stale = judgement.stale
        if not stale:
            return
        strict = self._options.strict_baseline
        if self._is_narrowed(session) and not strict:
            return
        for entry in stale:
            self._notes.append(
                f"stale: {entry.fingerprint} {entry.code} {entry.kind} {entry.where}".rstrip()
                + " did not occur; remove it from the baseline"
            )
        if strict:
            self._reasons.append(
                f"--csptrace-strict-baseline: {len(stale)} entr{'ies' if len(stale) > 1 else 'y'} "
                f"of {self._options.baseline} did not occur"
            )

    def _update_baseline(self, seen: list[Seen], session: pytest.Session) -> None:
        from csptrace.findings import baseline  # noqa: PLC0415 - as above

        path = self._options.baseline
        assert path is not None  # noqa: S101 - for the type checker
        keep = self._is_narrowed(session)
        entries = baseline.merge(self._options.entries, seen, keep_unseen=keep)
        try:
            baseline.write(path, entries)
        except CspTraceError as error:
            self._faults.append(str(error))
            return
        plural = "s" if len(entries) != 1 else ""
        kept = " (entries that did not occur were kept: not everything was run)" if keep else ""
        self._notes.append(f"baseline: {path} accepts {len(entries)} finding{plural} now{kept}")

    def _counts(self, records: Iterable[Record]) -> dict[str, Seen]:
        """Count findings as a baseline does: alike with and without workers.

        A test runs in one worker, but each worker imports the modules and sets wide fixtures up,
        so of those the worker with the most counts.
        """
        from csptrace.findings.baseline import Seen  # noqa: PLC0415 - as above

        tests: Counter[str] = Counter()
        others: dict[str, Counter[str]] = {}
        first: dict[str, Record] = {}
        for record in records:
            name = record["event"]["fingerprint"]
            first.setdefault(name, record)
            times = reporting.times((record,))
            if record["kind"] == "test":
                tests[name] += times
            else:
                others.setdefault(name, Counter())[record["run"]] += times
        return {
            name: Seen(
                name,
                tests[name] + max(others.get(name, Counter()).values(), default=0),
                record["event"]["code"],
                record["event"]["kind"],
                self._function(record),
            )
            for name, record in first.items()
        }

    def _function(self, record: Record) -> str:
        """Return file and function of a finding, without the line, which changes every day."""
        event = record["event"]
        leak = record["leak"] or not event["misused_stack"]
        frames = record["stacks"].get(str(event["acquired_stack" if leak else "misused_stack"]), ())
        for file, _line, function, _module, user in frames:
            if user:
                path = reporting.relative(file, str(self.config.rootpath)).replace(os.sep, "/")
                return f"{path} in {function}"
        return ""

    def _is_narrowed(self, session: pytest.Session) -> bool:
        """Return whether the run does not cover all tests: then what is missing means nothing."""
        option = self.config.option
        return bool(
            self._deselected
            or option.keyword
            or option.markexpr
            or getattr(option, "lf", False)
            or session.shouldstop
            or session.shouldfail
            or session.exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
            or any("::" in arg or not os.path.isdir(arg) for arg in self.config.args)
        )

    def _write_sarif(self) -> None:
        from csptrace.analysis import sarif  # noqa: PLC0415 - only where a file is wanted

        path = self._options.sarif
        assert path is not None  # noqa: S101 - for the type checker
        known = {
            record["event"]["fingerprint"]
            for record in self._records.values()
            if record["verdict"] == "known"
        }
        log = sarif.log(
            self._groups,
            version=__version__,
            root=_repository(self.config),
            category="pytest",
            suppressed=known,
        )
        try:
            with replacing(path) as file:
                file.write(json.dumps(log, indent=1).encode() + b"\n")
        except OSError as error:
            self._faults.append(f"{path}: cannot be written: {error.strerror or error}")
        else:
            self._notes.append(f"SARIF: {path}")

    def _set_exit_status(self, session: pytest.Session) -> None:
        passed = (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
        if session.exitstatus in passed and (self._reasons or session.testsfailed):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    # --- the summary --------------------------------------------------------------------------

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show what was found, the worst sites, and the totals."""
        terminal = _Lines(terminalreporter)
        records = list(self._records.values())
        held = self._held()
        if records or self._earlier or held or self._notes or self._reasons or self._errors:
            terminal.section("csptrace", sep="=")
        quiet = self.config.option.tbstyle == "no" or self.config.get_verbosity() < 0
        for kind, heading in _HEADINGS.items():
            shown = [
                record
                for record in records
                if record["kind"] == kind
                and record["verdict"] in _SHOWN
                and record["id"] not in self._withdrawn
            ]
            if shown and heading:
                terminal.section(heading, sep="-")
            for equal in reporting.by_fingerprint(shown):
                self._show(terminal, equal, quiet=quiet)
        self._show_overlooked(terminal, records)
        for line, count in held.items():
            terminal.line(line + (f" ({count} times)" if count > 1 else ""))
        self._show_totals(terminal, records)
        for note in self._notes:
            terminal.line(f"csptrace: {note}")
        for error in self._errors:
            for line in error.rstrip().splitlines():
                terminal.line(line, red=True)
        for reason in self._reasons:
            terminal.line(f"csptrace: FAILED: {reason}", red=True)
        self._annotate(terminal)

    def _show(self, terminal: _Lines, equal: Sequence[Record], *, quiet: bool) -> None:
        first = equal[0]
        count = reporting.times(equal)
        times = f" ({count} times)" if count > 1 else ""
        if quiet:
            terminal.line(f"{reporting.headline(first)}{times}", red=True)
        else:
            head, _, rest = first["text"].partition("\n")
            terminal.line("")
            terminal.line(f"{head}{times}", red=True, bold=True)
            for line in rest.split("\n"):
                terminal.line(line)
        for reason in dict.fromkeys(record["reason"] for record in equal if record["reason"]):
            terminal.line(f"  note: {reason}")
        listed = reporting.places(equal)
        most = len(listed) if self.config.get_verbosity() > 0 else 5
        for name, count in listed[:most]:
            terminal.line(f"  in {name}" + (f" ({count} times)" if count > 1 else ""))
        if len(listed) > most:
            terminal.line(f"  … and in {len(listed) - most} more")

    def _show_overlooked(self, terminal: _Lines, records: Sequence[Record]) -> None:
        """Name what does not count, and why."""
        lines: Counter[str] = Counter()
        for record in records:
            times = reporting.times((record,))
            name = record["owner"]
            reason = f": {record['reason']}" if record.get("reason") else ""
            if record["id"] in self._withdrawn:
                later = self._withdrawn[record["id"]]
                lines[
                    f"withdrawn: {reporting.headline(record)} of {name}: released after all in "
                    f"{later}"
                ] += times
            elif record["verdict"] == "known":
                lines[f"in the baseline: {reporting.headline(record)} in {name}{reason}"] += times
            elif record["verdict"] == "allowed":
                lines[f"allowed: {reporting.headline(record)} in {name}{reason}"] += times
        for record in self._earlier.values():
            line = f"in an earlier attempt: {reporting.headline(record)} in {record['owner']}"
            lines[line] += reporting.times((record,))
        for line, count in lines.items():
            terminal.line(line + (f" ({count} times)" if count > 1 else ""))

    def _held(self) -> Counter[str]:
        """Say what is alive and no leak, because its holder releases it when it goes.

        That pytest holds the objects whose methods the tests are is so in each run.
        """
        owners: dict[str, Counter[str]] = {}
        for one in self._excused:
            where = reporting.relative(one["where"], os.getcwd())
            what = f"{one['kind']} acquired at {where}" if where else one["kind"]
            if one["by"] != "pytest":
                line = f"held by {one['by']}: {what}"
            elif self.config.get_verbosity() > 0:
                line = f"held by pytest until the session is over: {what}"
            else:
                continue
            owners.setdefault(line, Counter())[one["owner"]] += 1
        lines: Counter[str] = Counter()
        for line, counts in owners.items():
            of = next(iter(counts)) if len(counts) == 1 else f"{len(counts)} tests or fixtures"
            lines[f"{line} in {of}"] = counts.total()
        return lines

    def _show_totals(self, terminal: _Lines, records: Sequence[Record]) -> None:
        worst = [group for group in self._groups if group.where][:_MOST_SITES]
        if len(self._groups) > 1 and worst:
            terminal.line("")
            terminal.line("worst sites:")
            for group in sorted(worst, key=lambda group: -group.count):
                where = reporting.relative(str(group.where), str(self.config.rootpath))
                terminal.line(f"{group.count:>6}  {group.code} {group.kind}  {where}")
        counted = [record for record in records if record["verdict"] in _SHOWN]
        counted = [record for record in counted if record["id"] not in self._withdrawn]
        times = reporting.times
        others = Counter(
            {
                "allowed": times(one for one in records if one["verdict"] == "allowed"),
                "in the baseline": times(one for one in records if one["verdict"] == "known"),
                "withdrawn": times(one for one in records if one["id"] in self._withdrawn),
                "in earlier attempts": times(self._earlier.values()),
            }
        )
        if not counted and not +others:
            return
        codes: Counter[str] = Counter()
        for record in counted:
            codes[record["event"]["code"]] += times((record,))
        total = codes.total()
        text = f"csptrace: {total} finding{'s' if total != 1 else ''}"
        if codes:
            text += f" ({', '.join(f'{count} {code}' for code, count in sorted(codes.items()))})"
            sites = len({record["event"]["fingerprint"] for record in counted})
            owners = len({record["owner"] for record in counted})
            text += f" at {sites} place{'s' if sites != 1 else ''} in {owners} owner"
            text = text.removesuffix(" owner") + f" test{'s' if owners != 1 else ''} or fixture"
            text += "s" if owners != 1 else ""
        text += "".join(f"; {count} {name}" for name, count in others.items() if count)
        terminal.line("")
        terminal.line(text, red=bool(counted), green=not counted)

    def _annotate(self, terminal: _Lines) -> None:
        """Point GitHub at the acquiring lines (docs.github.com, "Workflow commands")."""
        if os.environ.get("GITHUB_ACTIONS") != "true":
            return
        known = {
            record["event"]["fingerprint"]
            for record in self._records.values()
            if record["verdict"] == "known"
        }
        root = _repository(self.config)
        shown = [group for group in self._groups if group.fingerprint not in known]
        for group in shown[:_MOST_ANNOTATIONS]:
            file = reporting.relative(group.where.file, root).replace(os.sep, "/")
            where = f"file={_property(file)},line={group.where.line}," if file else ""
            title = _property(f"csptrace: {group.code} {group.kind}")
            tests = ", ".join(name for name, _ in group.scopes[:5])
            times = f"{group.count} times " if group.count > 1 else ""
            text = f"{times}in {tests}\nfix: {group.remedy}\n[{group.fingerprint}]"
            terminal.ensure_newline()
            terminal.line(f"::{_ANNOTATIONS[group.severity]} {where}title={title}::{_data(text)}")


class Absence:
    """Stands in for the results where nothing can be traced, and that is no reason to fail.

    Args:
        reason: why.
    """

    def __init__(self, reason: str) -> None:
        self._line = f"csptrace: nothing is traced: {reason}"

    def pytest_report_header(self) -> str:
        """Say it where a run says what it works with."""
        return escape(self._line)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say it once more where findings would stand."""
        _Lines(terminalreporter).line(self._line, yellow=True)


class _Lines:
    """Writes lines to pytest's terminal, each escaped as a whole."""

    def __init__(self, reporter: pytest.TerminalReporter) -> None:
        self._reporter = reporter
        self.ensure_newline = reporter.ensure_newline

    def section(self, title: str, sep: str) -> None:
        """Begin a section."""
        self._reporter.section(escape(title), sep=sep)

    def line(self, text: str, **markup: bool) -> None:
        """Write a line in a colour of pytest's."""
        self._reporter.write_line(escape(text), **markup)


class _Listener:
    """Reads reports for the results."""

    def __init__(self, results: Results) -> None:
        self._results = results

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> Generator[None, Any, Any]:
        """Take the results out of a report, after the terminal reporter."""
        payload: dict[str, Any] = report.__dict__.get("csptrace", {})  # from a worker
        if payload.get("verdict") and may_be_withdrawn(payload.get("own", ())):
            with uncounted(self._results.config):
                result = yield
        else:
            result = yield
        if "csptrace" in report.__dict__:
            self._results.read(report)
        return result

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(
        self, report: pytest.TestReport
    ) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
        """Give a leak a letter of its own."""
        payload: dict[str, Any] | None = report.__dict__.get("csptrace")
        if payload is None or report.outcome != "failed":
            return None
        return _STATUS.get(payload["verdict"])


def _repository(config: pytest.Config) -> str:
    """Return the folder that paths are made relative to."""
    return os.environ.get("GITHUB_WORKSPACE") or str(config.rootpath)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
