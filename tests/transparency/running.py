"""Runs `player.py`, on this Python or under Wine, and reads what it wrote."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import windows_python
from streams import Comparison, Run, compare, read

HERE: Final = Path(__file__).parent
SEED: Final = 1
COUNT: Final = 40
SOFT: Final = ("softcsp-ctypes", "softcsp-win32crypt")
GENUINE: Final = ("ctypes", "cffi", "win32crypt")
MODES: Final = {
    "log": "everything is logged, nothing raised",
    "full": "as `log`, at level `full` and with an event log",
    "raise": "misuse and leaks raise; compared up to the first raise of each program",
}


@functools.cache
def play(binding: str, mode: str, repetition: int = 0) -> Run:
    """Play all programs through one binding.

    Args:
        binding: one of `SOFT` or `GENUINE`.
        mode: "off", or one of `MODES`.
        repetition: another number is another run of the same programs.

    Raises:
        RuntimeError: the player failed.
    """
    status, errors = _process(binding, mode, repetition)
    if status:
        raise RuntimeError(f"{binding} {mode}: exit status {status}\n{errors[-4000:]}")
    return read(errors.splitlines(), own_memory=binding != "win32crypt")


@functools.cache
def _process(binding: str, mode: str, _repetition: int) -> tuple[int, str]:
    script, arguments = HERE / "player.py", [binding, mode, str(SEED), str(COUNT)]
    if binding in GENUINE:
        tracing = {
            "PYTHONUTF8": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "WINEDEBUG": "-all,+crypt",
        }
        command = [windows_python.tool().windows_path(script), *arguments]
        done = windows_python.environment().run(command, env=tracing, timeout=300)
    else:
        done = subprocess.run(
            [sys.executable, str(script), *arguments],
            env={**os.environ, "PYTHONPATH": str(windows_python.ROOT)},
            capture_output=True,
            encoding="utf-8",
            timeout=300,
            check=False,
        )
    return done.returncode, done.stderr


def judge(binding: str, mode: str) -> Comparison:
    """Compare an untraced run with a traced one."""
    with ThreadPoolExecutor() as pool:
        plain, traced = pool.map(lambda each: play(binding, each), ("off", mode))
    return compare(plain, traced, quarantine=binding == "win32crypt")
