"""Runs the programs of `programs/`: as a user would, with tracing on, or under a line tracer."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import windows_python
from conformance import softhsm
from demands import Demands, demands_of

HERE = Path(__file__).parent
FOLDER = HERE / "programs"
HELPERS = {"opening", "helping"}
PROGRAMS = {
    path.stem: demands_of(path) for path in sorted(FOLDER.glob("*.py")) if path.stem not in HELPERS
}
if sys.version_info < (3, 13):
    # Who gets what a context manager's generator yields is not seen there: the release behind the
    # yield is said not to be reached, which it is not when that is said, but is later.
    del PROGRAMS["late_with_a_generator"]


def environment(demands: Demands) -> dict[str, str]:
    """Return the environment that a program needs; skip if something is missing."""
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(windows_python.ROOT), str(FOLDER))),
    }
    if "softhsm" in demands.needs:
        softhsm.need("PyKCS11", "pkcs11")
        env |= softhsm.environment()
        env |= {"PKCS11_MODULE": softhsm.module(), "PKCS11_PIN": softhsm.PIN}
    return env


def findings(program: Path, demands: Demands, folder: Path) -> tuple[int, list[dict[str, Any]]]:
    """Run a program with tracing on.

    Args:
        program: the program.
        demands: what it needs.
        folder: where its log may be written.

    Returns:
        Its exit status, and the findings in its log.
    """
    env = environment(demands) | {
        "CSPTRACE": "1",
        "CSPTRACE_ON_MISUSE": "log",
        "CSPTRACE_STRICT": "1",
        "CSPTRACE_LOG": str(folder / "logs"),
        "SOFTCSP_HOME": str(folder / "home"),
    }
    done = subprocess.run(
        [sys.executable, str(program)],
        env=env,
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert "internal error" not in done.stderr, done.stderr
    (log,) = (folder / "logs").glob("*.jsonl")
    events = map(json.loads, log.read_text(encoding="utf-8").splitlines())
    return done.returncode, [event for event in events if event["event"] == "csptrace.finding"]


@functools.cache
def told(name: str) -> tuple[int, list[dict[str, Any]]]:
    """Return what a program's run with tracing on has given; it is run only once."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        return findings(FOLDER / f"{name}.py", PROGRAMS[name], Path(folder))


@functools.cache
def lines(*arguments: str) -> dict[str, list[tuple[str, list[int]]]]:
    """Return the runs of functions, as lines.py writes them down.

    Args:
        arguments: names of programs, or `leaks`.
    """
    demands = next((PROGRAMS[each] for each in arguments if each in PROGRAMS), Demands())
    places = [str(FOLDER / f"{each}.py") if each in PROGRAMS else each for each in arguments]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        out = Path(folder) / "lines.json"
        subprocess.run(
            [sys.executable, str(HERE / "lines.py"), str(out), *places],
            env=environment(demands),
            capture_output=True,
            timeout=120,
            check=True,
        )
        found: dict[str, list[tuple[str, list[int]]]] = json.loads(out.read_text("utf-8"))
    return found
