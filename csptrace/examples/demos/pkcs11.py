"""PKCS#11, on a token of SoftHSM."""

from __future__ import annotations

import ctypes
import functools
import os
import secrets
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

from csptrace.errors import ActivationError, MissingExtraError
from csptrace.examples import token_service

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["EXAMPLE", "INTRODUCTION", "prepare"]

EXAMPLE: Final = token_service
INTRODUCTION: Final = "A small service runs on a token of SoftHSM."
_SOFTHSM: Final = (
    "/usr/lib/softhsm/libsofthsm2.so",
    *(f"/usr/lib/{cpu}-linux-gnu/softhsm/libsofthsm2.so" for cpu in ("x86_64", "aarch64")),
    *(f"/usr/lib{bits}/pkcs11/libsofthsm2.so" for bits in ("", "64")),
    "/usr/local/lib/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
)
"""Where Debian, Fedora and Homebrew install SoftHSM's module."""


def prepare(home: str) -> tuple[str, str, Callable[[], object]]:
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

    # No function of its own, which would stand in every stack that the demo shows.
    play = functools.partial(token_service.main, ctypes.CDLL(module), pin.encode())
    return "SOFTHSM2_CONF", str(conf), play
