"""SoftHSM with a token directory of this process's own."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import required

PIN = "48151623"
SO_PIN = "42108976"
LABEL = "csptrace tests"
_PLACES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
)
_SPIES = ("/usr/lib/x86_64-linux-gnu/pkcs11-spy.so", "/usr/lib/aarch64-linux-gnu/pkcs11-spy.so")


def module() -> str:
    """Return the path of SoftHSM's module, empty if it is not installed."""
    return next((place for place in _PLACES if os.path.exists(place)), "")


def spy() -> str:
    """Return the path of pkcs11-spy, empty if it is not installed."""
    return next((place for place in _SPIES if os.path.exists(place)), "")


def need(*packages: str) -> None:
    """Skip where something is missing; fail if `CSPTRACE_REQUIRE=softhsm` asks for it."""
    reasons = []
    if not module() or not shutil.which("softhsm2-util"):
        reasons.append("SoftHSM is not installed (Debian: softhsm2)")
    if "spy" in packages and not spy():
        reasons.append("pkcs11-spy is not installed (Debian: opensc-pkcs11)")
    for package in packages:
        if package != "spy":
            try:
                __import__(package)
            except ImportError:
                reasons.append(f"{package} is not installed")
    if not reasons:
        return
    required.missing("softhsm", "; ".join(reasons))


@functools.cache
def environment() -> dict[str, str]:
    """Make a token in a directory of this process and return the variables that lead to it."""
    home = Path(tempfile.mkdtemp(prefix="csptrace-softhsm-"))
    atexit.register(_remove, home, os.getpid())
    return make_token(home, LABEL, PIN, SO_PIN)


def make_token(home: Path, label: str, pin: str, so_pin: str) -> dict[str, str]:
    """Make a token in a folder and return the variables that lead to it."""
    (home / "tokens").mkdir()
    found = lead_to(home)
    subprocess.run(
        [
            *("softhsm2-util", "--init-token", "--free", "--label", label),
            *("--so-pin", so_pin, "--pin", pin),
        ],
        check=True,
        capture_output=True,
        timeout=60,
        env={**os.environ, **found},
    )
    return found


def lead_to(home: Path) -> dict[str, str]:
    """Return the variables that lead to the tokens below a folder."""
    conf = home / "softhsm2.conf"
    conf.write_text(f"directories.tokendir = {home / 'tokens'}\nobjectstore.backend = file\n")
    return {"SOFTHSM2_CONF": str(conf)}


def _remove(home: Path, pid: int) -> None:
    if os.getpid() == pid:  # not in a forked child, whose parent still needs it
        shutil.rmtree(home, ignore_errors=True)
