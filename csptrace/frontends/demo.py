"""`csptrace demo`: a small signing service with the mistakes people make, traced."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

from csptrace import process
from csptrace.errors import ActivationError, MissingExtraError
from csptrace.examples import signing_service, token_service
from csptrace.settings import Settings
from csptrace.terminal import say

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from types import ModuleType

__all__ = ["arguments", "library", "main"]

_SOFTHSM: Final = (
    "/usr/lib/softhsm/libsofthsm2.so",
    *(f"/usr/lib/{cpu}-linux-gnu/softhsm/libsofthsm2.so" for cpu in ("x86_64", "aarch64")),
    *(f"/usr/lib{bits}/pkcs11/libsofthsm2.so" for bits in ("", "64")),
    "/usr/local/lib/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
)
"""Where Debian, Fedora and Homebrew install SoftHSM's module."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "--api",
        choices=("cryptoapi", "pkcs11"),
        default="cryptoapi",
        help="which API: cryptoapi on the embedded software CSP (default), or pkcs11 on SoftHSM",
    )
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

    Args:
        options: the parsed command line.

    Returns:
        0 if exactly the planted mistakes were found, 1 otherwise.
    """
    if process.current() is not None:
        process.stop()
    example: ModuleType
    if options.api == "pkcs11":
        example, prepare = token_service, _on_softhsm
        say("A small service runs on a token of SoftHSM.")
    else:
        example, prepare = signing_service, _on_softcsp
        say("A small signing service runs on the embedded software CSP.")
    with tempfile.TemporaryDirectory(prefix="csptrace-demo-") as home:
        variable, value, play = prepare(home)
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


def _on_softcsp(home: str) -> tuple[str, str, Callable[[], object]]:
    """Return the variable that names the containers' folder, its value, and what to run."""
    advapi32 = library()
    return "SOFTCSP_HOME", home, lambda: signing_service.main(advapi32)


def _on_softhsm(home: str) -> tuple[str, str, Callable[[], object]]:
    """Make a token; return the variable that leads to it, its value, and what to run.

    Raises:
        MissingExtraError: SoftHSM is not installed.
        ActivationError: the token could not be made.
    """
    module = next((path for path in _SOFTHSM if os.path.exists(path)), None)
    tool = shutil.which("softhsm2-util")
    if module is None or tool is None:
        raise MissingExtraError(
            "demo --api pkcs11 needs SoftHSM, which is not installed; "
            "on Debian: apt-get install softhsm2"
        )
    pin, conf = secrets.token_hex(4), Path(home, "softhsm2.conf")
    Path(home, "tokens").mkdir()
    conf.write_text(f"directories.tokendir = {home}/tokens\n", encoding="utf-8")
    made = subprocess.run(  # noqa: S603 - what `which` has found
        [tool, "--init-token", "--free", "--label", "demo", "--so-pin", pin, "--pin", pin],
        env={**os.environ, "SOFTHSM2_CONF": str(conf)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if made.returncode:
        raise ActivationError(f"demo: softhsm2-util made no token: {made.stderr.strip()}")

    def play() -> None:
        import ctypes  # noqa: PLC0415 - the other demo brings its own

        token_service.main(ctypes.CDLL(module), pin.encode())

    return "SOFTHSM2_CONF", str(conf), play
