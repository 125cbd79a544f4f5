"""Fail every operation of csptrace in turn, in every program, and compare with the program alone.

    python reports/robustness/faults.py

Plays what tests/faults plays a sample of, in full. Writes faults.json beside this file.
"""

from __future__ import annotations

import json
import platform
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT / "tests" / "faults"), str(ROOT / "tests")]

import pytest  # noqa: E402 - behind the paths
import test_injected_faults as suite  # noqa: E402 - found there
from traced_programs import PROGRAMS  # noqa: E402 - found there

SWEEPS = {
    "an import, from the Nth on": ("import", suite.LOGGING, list(PROGRAMS)),
    "a system call, from the Nth on": ("EMFILE", suite.LOGGING, list(PROGRAMS)),
    "memory in these places": ("memory", suite.LOGGING, list(PROGRAMS)),
    "a function of csptrace": ("bug", suite.LOGGING, list(PROGRAMS)),
    "a system call, misuse raises": ("ENOSPC", suite.RAISING, ["misusing", "recycling", "objects"]),
    "a function of csptrace, misuse raises": ("bug", suite.RAISING, ["misusing", "recycling"]),
    "an import at start": ("import", {}, ["clean"]),
    "a system call at start": ("EMFILE", {}, ["clean"]),
}


def main() -> None:
    """Measure and write."""
    suite.ALL = True
    rows = {}
    for what, (sort, settings, programs) in SWEEPS.items():
        total = {"programs": 0, "runs": 0, "failed": 0, "deviations": 0}
        for name in programs:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, "run")
                path.mkdir()
                try:
                    found = suite._sweep(name, sort, path, 0, dict(settings))
                except pytest.skip.Exception as reason:
                    print(f"{name}: {reason}", file=sys.stderr)
                    continue
            total["programs"] += 1
            for field in ("runs", "failed"):
                total[field] += found[field]
            total["deviations"] += len(found["deviations"])
            for deviation in found["deviations"]:
                print(name, deviation, file=sys.stderr)
        rows[what] = total
        print(what, total, flush=True)
    rows["machine"] = (
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    )
    (HERE / "faults.json").write_text(json.dumps(rows, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
