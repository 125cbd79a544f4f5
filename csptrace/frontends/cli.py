"""The command line: one table of commands, whose docstrings are the help."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from typing import TYPE_CHECKING, Final

from csptrace import __version__
from csptrace.errors import CspTraceError
from csptrace.frontends import baseline, compact, compare, demo, doctor, report, run, specs, watch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["main"]

COMMANDS: Final[
    dict[
        str,
        tuple[Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace], int]],
    ]
] = {
    "run": (run.arguments, run.main),
    "demo": (demo.arguments, demo.main),
    "doctor": (doctor.arguments, doctor.main),
    "specs": (specs.arguments, specs.main),
    "report": (report.arguments, report.main),
    "compare": (compare.arguments, compare.main),
    "baseline": (baseline.arguments, baseline.main),
    "compact": (compact.arguments, compact.main),
    "watch": (watch.arguments, watch.main),
}


_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    top = argparse.ArgumentParser(
        prog="csptrace",
        description="Trace cryptographic provider handles: log what leaks, raise on stale ones.",
    )
    top.add_argument("--version", action="version", version=f"csptrace {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (arguments, command) in COMMANDS.items():
        text = (command.__doc__ or "").strip()
        sub = commands.add_parser(
            name,
            help=text.splitlines()[0].rstrip("."),
            description=text.partition("\n\n    Args:")[0].replace("\n    ", "\n"),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        arguments(sub)
        sub.set_defaults(run=command)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: the arguments without the program's name; those of the process if not given.

    Returns:
        The exit status: 0, 1 for a negative answer, 2 for a wrong command line or setting and for
        output that cannot be written.
    """
    options = parser().parse_args(argv)
    try:
        status: int = options.run(options)
        if options.run is not run.main:  # what a program leaves unwritten is the program's affair
            sys.stdout.flush()
    except CspTraceError as error:
        print(f"csptrace: {error}", file=sys.stderr)  # noqa: T201 - this is the command line
        return 2
    except BrokenPipeError:  # the reader (head, less) has seen enough
        _write_no_more()
        return 1
    except OSError as error:
        if error.errno not in _FULL:
            raise
        what = error.filename or "the output could not be written"
        print(f"csptrace: {what}: {error.strerror}", file=sys.stderr)  # noqa: T201 - as above
        _write_no_more()
        return 2
    return status


def _write_no_more() -> None:
    """Keep the interpreter from trying again, and complaining, at exit."""
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - lives until exit
