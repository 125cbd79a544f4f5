"""`csptrace demo`: a small signing service with the mistakes people make, traced."""

from __future__ import annotations

import importlib
import os
import pkgutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

from csptrace import process
from csptrace.errors import ActivationError
from csptrace.examples import demos
from csptrace.settings import Settings
from csptrace.terminal import say

if TYPE_CHECKING:
    import argparse

__all__ = ["arguments", "main"]

_DEMOS: Final = tuple(sorted(module.name for module in pkgutil.iter_modules(demos.__path__)))


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "--api",
        choices=_DEMOS,
        default=_DEMOS[0],
        help=f"which API: {' or '.join(_DEMOS)} (default: {_DEMOS[0]})",
    )
    parser.add_argument(
        "--log", metavar="DIR", help="folder for the event log (default: a new temporary one)"
    )


def main(options: argparse.Namespace) -> int:
    """Run a signing service that makes the usual mistakes, and show what is found.

    Args:
        options: the parsed command line.

    Returns:
        0 if exactly the planted mistakes were found, 1 otherwise.
    """
    if process.current() is not None:
        process.stop()
    chosen = importlib.import_module(f"{demos.__name__}.{options.api}")
    example = chosen.EXAMPLE
    say(chosen.INTRODUCTION)
    with tempfile.TemporaryDirectory(prefix="csptrace-demo-") as home:
        variable, value, play = chosen.prepare(home)
        folder = Path(options.log or tempfile.mkdtemp(prefix="csptrace-demo-"))
        source = os.path.relpath(str(example.__file__))
        say(f"It makes {len(example.MISTAKES)} mistakes ({source}):", "")
        before = os.environ.get(variable)
        os.environ[variable] = value
        try:
            settings = Settings(log=folder.absolute())
            active = process.start(settings)
            play()
            process.stop()
        finally:
            if process.current() is not None:
                process.stop()
            if before is None:
                del os.environ[variable]
            else:
                os.environ[variable] = before
    if active.log_path is None:
        raise ActivationError(f"demo: the event log could not be written into {folder}")
    found = Counter(finding.code.value for finding in active.findings)
    planted = Counter(example.MISTAKES)
    if found != planted:
        say("", f"Expected {dict(planted)}, found {dict(found)}.")
        return 1
    say(
        "",
        f"All {sum(planted.values())} planted mistakes were found, and nothing else.",
        f"The event log, one JSON object a line: {active.log_path}",
        "Trace your own program with: csptrace run program.py",
    )
    return 0
