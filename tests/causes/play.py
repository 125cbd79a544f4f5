"""Plays functions of leaks.py and prints the causes that were found, as JSON.

    python play.py softcsp|windows [NAME…]      all without names

It needs no pytest, since it also runs under Windows Python.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import leaks  # noqa: E402 - found by the line above

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = [name.removesuffix("_mended") for name in vars(leaks) if name.endswith("_mended")]


def provide(provider: str) -> None:
    """Give the functions the provider's library and module."""
    if provider == "softcsp":
        from csptrace import softcsp

        leaks.lib, leaks.crypt = softcsp.advapi32, softcsp.win32crypt
        return
    importlib.import_module("pywintypes")
    leaks.lib = ctypes.WinDLL("advapi32")  # type: ignore[attr-defined]
    leaks.crypt = importlib.import_module("win32crypt")


def played(function: Callable[[Any], object]) -> list[dict[str, Any]]:
    """Play one function; return what its findings say."""
    import csptrace
    from csptrace.findings.text import explain

    with csptrace.tracing(quiet=True, strict=True, on_misuse="log") as tracer:
        prov = ctypes.c_size_t()
        assert leaks.lib.CryptAcquireContextW(ctypes.byref(prov), None, None, 24, 0xF0000000)
        leaks.lib.prov = prov
        with contextlib.suppress(Exception, SystemExit):
            function(prov)
        gc.collect()
        leaks.lib.CryptReleaseContext(prov, 0)
    for kept in leaks.kept:
        if hasattr(kept, "close"):
            kept.close()
    leaks.kept.clear()
    leaks.table.clear()
    found = []
    leaking = any(finding.code.is_leak for finding in tracer.findings)
    for finding in tracer.findings:
        if leaking and not finding.code.is_leak:
            continue  # it follows from the leak
        cause = finding.cause
        entry: dict[str, Any] = {"code": finding.code.value, "kind": finding.handle.kind}
        if cause is not None:
            entry |= {
                "exit": cause.exit.value,
                "pattern": cause.pattern.value,
                "function": cause.function,
                "line": cause.at.line,
                "exception": cause.exception,
                "raised": "" if cause.raised is None else cause.raised.qualname,
                "caught": 0 if cause.caught is None else cause.caught.line,
                "skipped": [[each.call, each.frame.line] for each in cause.skipped],
                "words": cause.words,
                "remedy": finding.remedy,
                "hints": list(explain(finding).hints),
            }
        found.append(entry)
    return found


def main(provider: str, names: list[str]) -> dict[str, dict[str, Any]]:
    """Play functions; return name → leaking and mended → findings."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.environ["SOFTCSP_HOME"] = os.path.join(folder, "home")
        provide(provider)
        return {
            name: {
                "leaking": played(getattr(leaks, name)),
                "mended": played(getattr(leaks, f"{name}_mended")),
            }
            for name in names or NAMES
        }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2:])))  # noqa: T201 - its output
