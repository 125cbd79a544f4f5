"""`csptrace compact`: logs as partitioned Parquet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from csptrace.analysis import compaction, engines
from csptrace.frontends import analysing
from csptrace.terminal import complain, say

if TYPE_CHECKING:
    import argparse

    from csptrace.analysis.compaction import Compacted

__all__ = ["arguments", "main"]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("logs", nargs="+", metavar="LOGS", help="log files, folders or patterns")
    parser.add_argument(
        "-o", "--output", required=True, metavar="DIR", help="where the Parquet files go"
    )
    parser.add_argument(
        "--delete-logs",
        action="store_true",
        help="delete each log once it is converted, if no process can write to it any more",
    )
    parser.add_argument(
        "--gone-host",
        action="append",
        default=[],
        metavar="HOST",
        help="with --delete-logs: a machine on which no traced process runs any more, so that logs "
        "of runs which were killed there may go; '*' for all other machines",
    )
    parser.add_argument(
        "--memory-limit", default="1GB", metavar="SIZE", help="memory to use (default 1GB)"
    )


def main(options: argparse.Namespace) -> int:
    """Convert logs to Parquet, partitioned by date and host.

    Args:
        options: the parsed command line.

    Returns:
        The exit status.
    """
    status = [0]
    with analysing.interruptible(status):
        done = compaction.compact(
            options.logs,
            options.output,
            delete=options.delete_logs,
            gone=options.gone_host,
            memory=engines.memory(options.memory_limit),
            tell=_tell,
        )
        written = sum(one.written for one in done)
        same = sum(bool(one.target) and not one.written for one in done)
        failed = sum(not one.target or bool(one.strays.damage) for one in done)
        text = f"{written} written, {same} unchanged"
        if options.delete_logs:
            text += f", {sum(one.deleted for one in done)} logs deleted"
        if failed:
            text += f", {failed} unreadable"
        say(f"{text}: {options.output}")
        status[0] = int(bool(failed))
    return status[0]


def _tell(one: Compacted) -> None:
    name = one.paths[0]
    if len(one.paths) > 1:
        name += f" and {len(one.paths) - 1} more"
    if one.written:
        say(f"{name}: {one.events:,} events → {one.target}")
    strays = one.strays
    if strays.damage:
        complain(f"csptrace: {name}: a part of it could not be read: {strays.damage}")
    if strays.torn or strays.foreign:
        counts = f"{strays.foreign} lines are no events, {strays.torn} are torn"
        complain(f"csptrace: {name}: {counts}; they are counted, and not in the archive")
    if one.aside:
        complain(
            f"csptrace: {name}: its archive cannot be read any more and was put aside: {one.aside}"
        )
    if one.kept:
        complain(f"csptrace: {name} is kept: {one.kept}")
