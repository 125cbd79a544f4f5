"""`csptrace run`: trace a program, in this process and in the children it starts."""

from __future__ import annotations

import argparse
import dataclasses
import io
import os
import runpy
import sys
import types
from importlib.machinery import SourceFileLoader
from typing import TYPE_CHECKING, Any, Final

from csptrace import process, terminal
from csptrace.errors import ActivationError
from csptrace.settings import Settings

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["arguments", "execute", "main"]

_HELP: Final[dict[str, dict[str, tuple[str | None, str]]]] = {
    "the event log": {
        "log": ("DIR", "write an event log, one file per process, into this folder"),
        "log_rotate": ("MB", "begin another log file after so many megabytes (default: never)"),
        "level": ("LEVEL", "count, acquire (default) or full"),
        "redact_names": (None, "do not write the names of key containers"),
    },
    "what is traced": {
        "apis": ("NAMES", "specs to trace, separated by commas (default: all)"),
        "libraries": ("NAMES", "further libraries that export traced functions"),
        "depth": ("N", "frames of a stack to keep (default 16)"),
        "tombstones": ("N", "how many ended handles to remember"),
        "causes": ("yes|no", "say why handles leaked (default yes; needs Python 3.12)"),
    },
    "what is a finding": {
        "include": ("PACKAGES", "report only findings that touch one of these packages"),
        "exclude": ("PACKAGES", "never count these packages as your code"),
        "baseline": ("FILE", "findings that are accepted for now and do not count for --exit-code"),
        "held_too_long": ("SECONDS", "report handles that live longer (default 0: off)"),
        "implied": (
            "SEVERITY",
            "of leaks that the parent's release implies: ignore, info, warning",
        ),
        "session_limit": ("N", "sessions that a token allows (default: ask the token)"),
        "session_share": (
            "PERCENT",
            "of that limit at which to complain (default 80, 0: never)",
        ),
    },
    "what happens then": {
        "on_leak": ("ACTION", "log (default), warn or raise"),
        "on_misuse": ("ACTION", "log, warn, fatal (raise what would crash) or raise (default)"),
        "exit_code": (
            "N",
            "exit status if there were findings and the program itself ended with 0",
        ),
        "quiet": (None, "write nothing to stderr"),
        "strict": (None, "let internal errors out (for tests of csptrace itself)"),
    },
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add one option for each setting, and the program."""
    for title, settings in _HELP.items():
        group = parser.add_argument_group(title)
        for name, (metavar, text) in settings.items():
            option = "--" + name.replace("_", "-")
            if metavar is None:
                group.add_argument(option, dest=name, action="store_const", const=True, help=text)
            else:
                group.add_argument(option, dest=name, metavar=metavar, help=text)
    parser.usage = (
        "csptrace run [options] program.py [argument ...]\n"
        "       csptrace run [options] -m module [argument ...]"
    )
    parser.add_argument("-m", dest="module", nargs=argparse.REMAINDER, help="run a module")
    parser.add_argument(
        "program", nargs=argparse.REMAINDER, metavar="PROGRAM", help=argparse.SUPPRESS
    )


def main(options: argparse.Namespace) -> int:
    """Trace a program and the Python processes that it starts.

    Args:
        options: the parsed command line.

    Returns:
        The exit status, if the program does not end by itself.
    """
    target: list[str] = options.module or options.program
    if not target:
        raise ActivationError(
            "run: which program? Try: csptrace run program.py, or csptrace run -m module"
        )
    given = {field.name: getattr(options, field.name) for field in dataclasses.fields(Settings)}
    given = {name: value for name, value in given.items() if value is not None}
    active = process.current()
    if active is not None and given:
        # CSPTRACE=1 has started one already, but the command line asks for something else.
        process.stop()
        active = None
    if active is None:
        sys.argv = list(target)  # the log names the program
        active = process.start(**given)
    os.environ.update(active.settings.environment())
    status = execute(target, module=bool(options.module))
    active.program_status = status
    return status


def execute(target: list[str], *, module: bool) -> int:
    """Run a program as the interpreter would, as `__main__` of this process.

    Args:
        target: the program or module, and its arguments.
        module: whether it is a module's name.

    Returns:
        The exit status that the program asked for.

    Raises:
        ActivationError: the program cannot be read, or there is no such module.
    """
    try:
        if module:
            sys.argv = list(target)
            sys.path[0] = os.getcwd()
            runpy.run_module(target[0], run_name="__main__", alter_sys=True)
        else:
            _script(target)
    except SystemExit as end:
        return _status(end.code)
    except (ActivationError, GeneratorExit):
        raise
    except BaseException as error:  # noqa: BLE001 - shown as the interpreter shows it
        _show(error)
        return 130 if isinstance(error, KeyboardInterrupt) else 1
    return 0


def _script(target: list[str]) -> None:
    path = target[0]
    if os.path.isdir(path) or path.endswith((".zip", ".pyz")):
        sys.argv = list(target)
        sys.path.pop(0)
        runpy.run_path(path, run_name="__main__")
        return
    try:
        with io.open_code(os.path.abspath(path)) as file:
            source = file.read()
    except OSError as error:
        raise ActivationError(f"run: cannot read {path}: {error.strerror}") from error
    sys.argv = list(target)
    full = os.path.abspath(path)
    sys.path[0] = os.path.dirname(full)
    # Unlike runpy.run_path this leaves __main__ in place, so that pickling, multiprocessing and
    # exit handlers of the program find it.
    program: Any = types.ModuleType("__main__")
    program.__file__ = full
    program.__loader__ = SourceFileLoader("__main__", full)
    if sys.version_info < (3, 15):
        program.__cached__ = None
    program.__builtins__ = __builtins__
    sys.modules["__main__"] = program
    exec(compile(source, path, "exec", dont_inherit=True), program.__dict__)  # noqa: S102


def _status(code: object) -> int:
    """Return the status for the argument of `sys.exit`, as the interpreter derives it."""
    if code is None:
        return 0
    if isinstance(code, int):
        return code
    terminal.pass_on(f"{code}\n", sys.stderr)  # as the interpreter does: it is the program's word
    return 1


def _show(error: BaseException) -> None:
    """Show an uncaught exception without the frames that ran the program.

    Raises:
        ActivationError: there are no others, since what -m names is not there.
    """
    traceback: TracebackType | None = error.__traceback__
    own = os.path.dirname(os.path.abspath(__file__))
    while traceback is not None:
        name = traceback.tb_frame.f_code.co_filename
        if not name.startswith((own, "<frozen runpy>")) and "runpy" not in name:
            break
        traceback = traceback.tb_next
    if traceback is None and isinstance(error, ImportError):
        raise ActivationError(f"run: {error}") from None
    sys.excepthook(type(error), error.with_traceback(traceback), traceback)
