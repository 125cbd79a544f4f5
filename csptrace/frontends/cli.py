"""The command line: one table of commands; `manual` has what their help says."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from typing import TYPE_CHECKING, Any, Final, NoReturn

from csptrace import __version__
from csptrace.errors import CspTraceError, ReactionError
from csptrace.frontends import (
    baseline,
    compact,
    compare,
    demo,
    doctor,
    guide,
    report,
    run,
    specs,
    watch,
)
from csptrace.frontends.completion import SHELLS, PrintCompletion
from csptrace.frontends.manual import MANUAL
from csptrace.terminal import complain, say

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
    "guide": (guide.arguments, guide.main),
}


_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


class _Parser(argparse.ArgumentParser):
    """Writes through `csptrace.terminal`; its errors quote what was typed."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self.color = False  # of Python 3.14; its escape sequences would be shown as such

    def _print_message(self, message: str, file: Any = None) -> None:
        speak = say if file is sys.stdout else complain
        speak(*message.removesuffix("\n").split("\n"))

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the command line, in one line under the usage, and end.

        Args:
            message: what is wrong.
        """
        self.print_usage(sys.stderr)
        complain(f"{self.prog}: error: {message}")
        sys.exit(2)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    top = _Parser(
        prog="csptrace",
        description="Trace cryptographic provider handles: log what leaks, raise on stale ones.",
    )
    top.add_argument("--version", action="version", version=f"csptrace {__version__}")
    top.add_argument(
        "--print-completion",
        action=PrintCompletion,
        choices=SHELLS,
        metavar="SHELL",
        help=f"print a script that completes csptrace in a shell: {', '.join(SHELLS)}",
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (arguments, command) in COMMANDS.items():
        page = MANUAL[name]
        sub = commands.add_parser(
            name,
            help=page.summary,
            description=page.description(),
            epilog=page.epilog(),
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
        if options.run is not run.main:  # a program's own unwritten output is not reported
            sys.stdout.flush()
    except ReactionError as error:  # several lines, which csptrace has made
        complain(*f"csptrace: {error}".split("\n"))
        return 2
    except CspTraceError as error:
        complain(f"csptrace: {error}")
        return 2
    except BrokenPipeError:  # the reader (head, less) has seen enough
        _write_no_more()
        return 1
    except OSError as error:
        if error.errno not in _FULL:
            raise
        what = error.filename or "the output could not be written"
        complain(f"csptrace: {what}: {error.strerror}")
        _write_no_more()
        return 2
    return status


def _write_no_more() -> None:
    """Keep the interpreter from trying again, and complaining, at exit."""
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - lives until exit
