"""Runs `tour.py`, on this Python or under Wine, and judges what it printed."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import windows_python

if TYPE_CHECKING:
    from catalogue import Exhibit

HERE: Final = Path(__file__).parent
PROVIDERS: Final = {
    "softcsp": "softcsp",
    "windows": "Windows CPython, pywin32 and advapi32 under Wine",
}

Result: TypeAlias = dict[str, Any]


def unavailable(provider: str) -> str | None:
    """Return why a provider cannot be used here, `None` if it can."""
    return None if provider == "softcsp" else windows_python.unavailable()


def visit(provider: str) -> dict[str, dict[str, Result]]:
    """Run every exhibit in one process; return exhibit → run → what happened.

    Raises:
        RuntimeError: the process failed.
    """
    status, output, errors = _process(provider)
    if status:
        raise RuntimeError(f"{provider}: exit status {status}\n{errors[-4000:]}")
    results: dict[str, dict[str, Result]] = json.loads(output)
    return results


@functools.cache
def _process(provider: str) -> tuple[int, str, str]:
    script = HERE / "tour.py"
    if provider == "windows":
        utf8 = {"PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        arguments = [windows_python.tool().windows_path(script), provider]
        done = windows_python.environment().run(arguments, env=utf8, timeout=300)
    else:
        done = subprocess.run(
            [sys.executable, str(script), provider],
            env={**os.environ, "PYTHONPATH": str(windows_python.ROOT)},
            capture_output=True,
            encoding="utf-8",
            timeout=300,
            check=False,
        )
    return done.returncode, done.stdout, done.stderr


class Verdict(NamedTuple):
    """How one exhibit fared on one provider.

    Attributes:
        caught: how many of the expected findings there were.
        missed: the expected findings that were not there.
        false_alarms: findings that were not expected, those of the fixed twin included.
    """

    caught: int
    missed: list[tuple[str, ...]]
    false_alarms: list[tuple[str, ...]]


def verdict(exhibit: Exhibit, provider: str) -> Verdict:
    """Compare what was found with the catalogue."""
    runs = visit(provider)[exhibit.name]
    expected = Counter(tuple(finding) for finding in exhibit.findings)
    found = Counter(tuple(finding) for finding in runs["log"]["findings"])
    twin = [tuple(f) for how in ("log", "raise") for f in runs[f"fixed {how}"]["findings"]]
    return Verdict(
        (expected & found).total(),
        list((expected - found).elements()),
        [*(found - expected).elements(), *twin],
    )
