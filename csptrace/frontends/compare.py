"""`csptrace compare`: what changed between two sets of logs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from csptrace.analysis import comparing
from csptrace.analysis.render import FORMATS
from csptrace.frontends import analysing

if TYPE_CHECKING:
    import argparse

__all__ = ["arguments", "main"]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("old", metavar="OLD", help="the logs of before: a file, folder or pattern")
    parser.add_argument("new", metavar="NEW", help="the logs of now")
    parser.add_argument(
        "--per-run",
        action="store_true",
        help="judge counts per run, if OLD and NEW do not hold equally many",
    )
    analysing.add_output(parser)
    analysing.add_engine(parser)


def main(options: argparse.Namespace) -> int:
    """Say which findings are new, fixed, grown or shrunk.

    Args:
        options: the parsed command line.

    Returns:
        The exit status.
    """
    status = [0]
    with analysing.interruptible(status):
        analysing.check_output(options.output, [options.old, options.new])
        comparison = comparing.compare(
            analysing.analyse(options, [options.old]),
            analysing.analyse(options, [options.new]),
            per_run=options.per_run,
        )
        form = FORMATS[options.format]
        analysing.show(form.comparison(comparison, analysing.form_options(options)), options.output)
        status[0] = int(comparing.is_regression(comparison))
    return status[0]
