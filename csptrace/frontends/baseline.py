"""`csptrace baseline`: accept what the logs show, for now."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from csptrace.errors import AnalysisError
from csptrace.files import PRIVATE_FILE
from csptrace.findings import baseline
from csptrace.findings.baseline import Seen
from csptrace.frontends import analysing
from csptrace.terminal import say

if TYPE_CHECKING:
    import argparse

    from csptrace.analysis.results import Group, Report

__all__ = ["arguments", "main"]

_DEFAULT = "csptrace-baseline.toml"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("logs", nargs="+", metavar="LOGS", help="log files, folders or patterns")
    parser.add_argument(
        "-o",
        "--output",
        default=_DEFAULT,
        metavar="FILE",
        help=f"the baseline file, written anew or updated (default {_DEFAULT})",
    )
    parser.add_argument(
        "--keep-unseen",
        action="store_true",
        help="keep entries of which the logs show nothing, because they do not cover everything",
    )
    analysing.add_engine(parser)


def main(options: argparse.Namespace) -> int:
    """Write the findings in some logs into a baseline file, or update one.

    Args:
        options: the parsed command line.

    Returns:
        The exit status.
    """
    status = [0]
    with analysing.interruptible(status):
        analysing.check_output(options.output, options.logs)
        path = Path(options.output)
        before = baseline.read(path)
        report = analysing.analyse(options, options.logs)
        seen = [_seen(group) for group in report.groups if group.severity != "info"]
        after = baseline.merge(before, seen, keep_unseen=options.keep_unseen)
        old = {entry.fingerprint for entry in before}
        new = {entry.fingerprint for entry in after}
        why = _unread(report) or (_incomplete(report) if old - new else "")
        if why and not options.keep_unseen:
            raise AnalysisError(
                f"{why}; entries and the reasons that somebody has written could be lost, so "
                "nothing was written: leave that log out if the others cover everything, or add "
                "--keep-unseen"
            )
        # The name that nobody chose gets the permissions of the logs.
        mode = PRIVATE_FILE if options.output == _DEFAULT else 0o666
        baseline.write(path, after, mode=mode)
        say(
            f"{len(new)} findings accepted ({len(new - old)} added, {len(old - new)} removed): "
            f"{options.output}"
        )
    return status[0]


def _unread(report: Report) -> str:
    """Return which source was not read, and why; empty if all were."""
    for source in report.sources:
        if source.unreadable:
            return f"{source.path}: {source.unreadable}"
    return ""


def _incomplete(report: Report) -> str:
    """Return why findings may be missing in what was read; empty if it seems to be whole.

    A finding that a log no longer shows is mended only if the log shows all of the program.
    """
    for source in report.sources:
        strays = source.torn + source.foreign
        if strays:
            return f"{source.path}: {strays} of its lines are no events"
        if not source.events and not source.repeated:
            return f"{source.path}: there is no event in it"
    for run in report.runs:
        if not run.finished:
            return (
                f"run {run.run} of {run.program or 'a program'} (process {run.pid} on {run.host}) "
                "was killed, still runs, or the end of its log is missing"
            )
    return ""


def _seen(group: Group) -> Seen:
    """Return a group as the pytest plugin writes it: file and function, without the line."""
    stacks = {step.role: step.stack for step in group.example.steps}
    frames = stacks.get("misused") or stacks.get("acquired", ())
    first = next((frame for frame in frames if frame.user), None)
    where = ""
    if first is not None:
        name = first.file.removeprefix(os.path.join(os.getcwd(), "")).replace(os.sep, "/")
        where = f"{name} in {first.function}"
    return Seen(group.fingerprint, group.count, group.code, group.kind, where)
