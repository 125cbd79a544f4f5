"""`csptrace report`: what the logs say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from csptrace.analysis.render import FORMATS
from csptrace.frontends import analysing

if TYPE_CHECKING:
    import argparse

__all__ = ["arguments", "main"]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "logs", nargs="+", metavar="LOGS", help="log files, folders or patterns ('logs/**/*.zst')"
    )
    parser.add_argument(
        "--run",
        dest="graph_run",  # `run` is the command itself
        default="",
        metavar="ID",
        help="whose handle graph to show (default: the run with the most findings)",
    )
    analysing.add_output(parser)
    analysing.add_engine(parser)


def main(options: argparse.Namespace) -> int:
    """Turn the logs of traced processes into answers.

    Reads event logs (JSON lines, plain, gzip or zstd; Parquet from `csptrace compact`) of any
    number of runs and hosts. What cannot be read is counted and named, never left out silently.
    Answers for unchanged logs are kept in a cache, so that asking again is quick.

    Exit status: 0, whatever was found; 2 if there was nothing to read; 130 after Ctrl-C.

    Args:
        options: the parsed command line.

    Returns:
        The exit status.
    """
    status = [0]
    with analysing.interruptible(status):
        analysing.check_output(options.output, options.logs)
        report = analysing.analyse(options, options.logs, options.graph_run)
        text = FORMATS[options.format].report(report, analysing.form_options(options))
        analysing.show(text, options.output)
    return status[0]
