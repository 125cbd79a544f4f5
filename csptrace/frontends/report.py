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
