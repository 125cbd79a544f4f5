"""Runs `player.py`, on this Python or under Wine, and reads what it wrote."""

from __future__ import annotations

import functools
import importlib.util
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from streams import Comparison, Run, compare, read

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
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
def windows() -> Any:
    """Return `.ci/windows.py` as a module."""
    path = ROOT / ".ci" / "windows.py"
    spec = importlib.util.spec_from_file_location("csptrace_ci_windows", path)
    if spec is None or spec.loader is None:
        raise ImportError(str(path))
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def unavailable() -> str | None:
    """Return why the genuine parts cannot be used here, `None` if they can."""
    if not (ROOT / ".ci" / "windows.py").exists():
        return "the Windows environment is set up by .ci/windows.py, which is not here"
    if os.name == "nt":
        return "Wine's trace of native calls needs a Linux host"
    reason: str | None = windows().available()
    return reason


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
        environment = windows().environment(project=ROOT)
        tracing = {
            "PYTHONUTF8": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "WINEDEBUG": "-all,+crypt",
        }
        command = [windows().windows_path(script), *arguments]
        done = environment.run(command, env=tracing, timeout=300)
    else:
        done = subprocess.run(
            [sys.executable, str(script), *arguments],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
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
