"""`csptrace watch`: running processes, live."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any

from csptrace.analysis.tail import LogTail
from csptrace.errors import AnalysisError, MissingExtraError
from csptrace.terminal import say

if TYPE_CHECKING:
    import argparse

    from csptrace.analysis.tail import State

__all__ = ["arguments", "main"]

_PROCESSES = 12


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("folder", metavar="DIR", help="where traced processes write their logs")
    parser.add_argument(
        "--interval",
        type=float,
        default=0.5,
        metavar="SECONDS",
        help="how often to look (default 0.5)",
    )
    parser.add_argument(
        "--once", action="store_true", help="print how things stand as plain text, and end"
    )
    parser.add_argument(
        "--until-ended",
        action="store_true",
        help="end as soon as every process that was seen has ended, and print how things stand",
    )


def main(options: argparse.Namespace) -> int:
    """Follow running processes: live handles by kind, and the newest findings.

    Args:
        options: the parsed command line.

    Returns:
        The exit status.
    """
    if not os.path.isdir(options.folder):
        raise AnalysisError(
            f"no such folder: {options.folder}; start the programs with CSPTRACE=1 "
            "CSPTRACE_LOG=<folder> first"
        )
    if not 0 < options.interval <= 3600:
        raise AnalysisError(f"--interval {options.interval}: allowed are seconds up to 3600")
    follower = LogTail(options.folder)
    follower.poll()
    if options.once:
        say(*as_lines(follower.state()))
        return 0
    try:
        _follow(follower, options.interval, until_ended=options.until_ended)
    except KeyboardInterrupt:
        return 0
    if options.until_ended:
        say(*as_lines(follower.state()))
    return 0


def _follow(follower: LogTail, interval: float, *, until_ended: bool) -> None:
    if not sys.stdout.isatty():
        while not _is_over(follower.state(), until_ended=until_ended):
            time.sleep(interval)
            if follower.poll() and not until_ended:
                say(*as_lines(follower.state()), "")
        return
    try:
        from rich.live import Live  # noqa: PLC0415 - an extra

        from csptrace.analysis.render.console import Console  # noqa: PLC0415 - it needs rich
    except ImportError as error:
        raise MissingExtraError(
            "csptrace watch needs rich: pip install 'csptrace[report]'"
        ) from error
    screen = _screen(follower.state())
    with Live(screen, console=Console(), auto_refresh=False, screen=True) as live:
        while not _is_over(follower.state(), until_ended=until_ended):
            time.sleep(interval)
            follower.poll()
            live.update(_screen(follower.state()), refresh=True)


def _is_over(state: State, *, until_ended: bool) -> bool:
    seen = state.processes
    return until_ended and bool(seen) and all(process.ended for process in seen)


def as_lines(state: State) -> list[str]:
    """Return how things stand, line by line, to be escaped.

    Args:
        state: how things stand.

    Returns:
        The lines.
    """
    running = sum(not process.ended for process in state.processes)
    ended = len(state.processes) - running
    lines = [f"{running} running, {ended} ended, {state.events:,} events"]
    if state.skipped:
        lines[0] += f", {state.skipped} lines that are no events"
    lines += ["live handles:", *(f"  {count:>8,}  {kind}" for kind, count in state.kinds)]
    if not state.kinds:
        lines.append("  none")
    if state.counts:
        lines += ["findings:", *(f"  {count:>8,}  {code}" for code, count in state.counts)]
        lines.append("newest:")
        lines += [
            f"  {seen.code}: {seen.kind} {seen.value} {seen.where}".rstrip()
            for seen in state.findings[:10]
        ]
    else:
        lines.append("no findings")
    return lines


def _screen(state: State) -> Any:
    """Return what a terminal shows: kinds and processes side by side, findings below."""
    from rich.columns import Columns  # noqa: PLC0415 - an extra
    from rich.console import Group  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    from csptrace.analysis.render.console import Text  # noqa: PLC0415

    kinds = Table(title="live handles", title_justify="left")
    kinds.add_column("kind")
    kinds.add_column("live", justify="right")
    for kind, count in state.kinds:
        kinds.add_row(Text(kind), f"{count:,}")
    processes = Table(title="processes", title_justify="left")
    for name in ("host", "pid", "program"):
        processes.add_column(name)
    for name in ("live", "acquired", "findings"):
        processes.add_column(name, justify="right")
    for process in state.processes[:_PROCESSES]:
        processes.add_row(
            Text(process.host),
            str(process.pid),
            Text(process.program),
            f"{process.live:,}",
            f"{process.acquired:,}",
            f"{process.findings:,}",
            style="dim" if process.ended else "",
        )
    newest = Table(title="newest findings", title_justify="left", expand=True)
    for name in ("finding", "handle", "where"):
        newest.add_column(name)
    colours = {"error": "red", "warning": "yellow"}
    for seen in state.findings:
        newest.add_row(
            Text(seen.code, style=colours.get(seen.severity, "")),
            Text(f"{seen.kind} {seen.value}"),
            Text(str(seen.where)),
        )
    total = ", ".join(f"{count:,} {code}" for code, count in state.counts) or "no findings"
    return Group(
        Text(f"{state.events:,} events; {total}; Ctrl-C ends this"),
        Columns((kinds, processes)),
        newest,
    )
