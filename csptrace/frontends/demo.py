"""`csptrace demo`: a small signing service with the mistakes people make, traced."""

from __future__ import annotations

import os
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from csptrace import tracer
from csptrace.errors import ActivationError, MissingExtraError
from csptrace.examples import signing_service
from csptrace.settings import Settings

if TYPE_CHECKING:
    import argparse

__all__ = ["arguments", "library", "main"]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "--log", metavar="DIR", help="folder for the event log (default: a new temporary one)"
    )


def library() -> object:
    """Return the software CSP's ctypes face.

    Raises:
        MissingExtraError: the `cryptography` package is not installed.
    """
    try:
        from csptrace.softcsp import advapi32  # noqa: PLC0415 - an extra, only needed here
    except ImportError as error:
        raise MissingExtraError(
            f"the software CSP needs a package that is not installed ({error.name}); "
            "install it with: pip install 'csptrace[softcsp]'"
        ) from error
    return advapi32


def main(options: argparse.Namespace) -> int:
    """Run a signing service that makes the usual mistakes, and show what is found.

    It runs on the embedded software CSP, in a few seconds. Its key container is made in a
    temporary folder and removed again; the event log stays.

    Args:
        options: the parsed command line.

    Returns:
        0 if exactly the planted mistakes were found, 1 otherwise.
    """
    if tracer.current() is not None:
        tracer.stop()
    advapi32 = library()
    folder = Path(options.log or tempfile.mkdtemp(prefix="csptrace-demo-"))
    source = os.path.relpath(signing_service.__file__)
    _print("A small signing service runs on the embedded software CSP.")
    _print(f"It makes {len(signing_service.MISTAKES)} mistakes ({source}):\n")
    with tempfile.TemporaryDirectory(prefix="csptrace-demo-") as home:
        before = os.environ.get("SOFTCSP_HOME")
        os.environ["SOFTCSP_HOME"] = home
        try:
            settings = Settings(log=folder.absolute())
            active = tracer.start(settings)
            signing_service.main(advapi32)
            tracer.stop()
        finally:
            if tracer.current() is not None:
                tracer.stop()
            if before is None:
                del os.environ["SOFTCSP_HOME"]
            else:
                os.environ["SOFTCSP_HOME"] = before
    if active.log_path is None:
        raise ActivationError(f"demo: the event log could not be written into {folder}")
    found = Counter(finding.code.value for finding in active.findings)
    planted = Counter(signing_service.MISTAKES)
    if found != planted:
        _print(f"\nExpected {dict(planted)}, found {dict(found)}.")
        return 1
    _print(
        f"\nAll {sum(planted.values())} planted mistakes were found, and nothing else.\n"
        f"The event log, one JSON object a line: {active.log_path}\n"
        "Trace your own program with: csptrace run program.py"
    )
    return 0


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
