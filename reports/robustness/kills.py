"""Kill commands between any two of their system calls, and count what is lost.

    python reports/robustness/kills.py [SCENARIO …]

`strace` (Debian: apt-get install strace) sends SIGKILL to a process at the Nth of its calls that
change files, for every N until the process ends by itself; what must hold afterwards is that of
tests/analysis/interruptions.py. Writes kills.json beside this file.
"""

from __future__ import annotations

import json
import platform
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
PLACES = [str(HERE.parents[1] / "tests"), str(HERE.parents[1] / "tests" / "analysis")]
sys.path[:0] = PLACES

import interruptions  # noqa: E402 - found there

CALLS = (
    *("write", "pwrite64", "writev", "rename", "renameat", "renameat2", "unlink", "unlinkat"),
    *("mkdir", "mkdirat", "rmdir", "fsync", "fdatasync", "ftruncate", "chmod", "fchmod"),
    *("fchmodat", "link", "linkat", "symlink", "flock", "utimensat"),
)
PLAY = (
    "import sys; sys.path[:0] = sys.argv[3:]; import interruptions; from pathlib import Path;"
    "scenario = interruptions.SCENARIOS[sys.argv[1]](Path(sys.argv[2])); scenario.resume();"
    "sys.exit(scenario.play())"
)


def kills(name: str) -> dict[str, int]:
    """Return at how many calls of each sort a scenario was killed; nothing may be lost at any."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        tempfile.tempdir = folder
        scenario = interruptions.SCENARIOS[name](Path(folder, "home"))
        for call in CALLS:  # strace counts each sort of call by itself
            number = 1
            while killed(scenario, name, call, number):
                number += 1
            if number > 1:
                found[call] = number - 1
        tempfile.tempdir = None
    return found


def killed(scenario: interruptions.Scenario, name: str, call: str, number: int) -> bool:
    """Play a scenario up to the Nth call of a sort; return whether it came that far."""
    scenario.prepare()
    done = subprocess.run(
        [
            *("strace", "-f", "-qqq", "-o", "/dev/null", "-e", f"trace={call}"),
            *("-e", f"inject={call}:signal=SIGKILL:when={number}"),
            *(sys.executable, "-c", PLAY, name, str(scenario.home), *PLACES),
        ],
        stdout=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL):
        scenario.check(f"{call} {number}", None)
        return True
    assert done.returncode == 0, done.returncode
    scenario.check("none", 0)
    return False


def main(names: list[str]) -> None:
    """Measure and write."""
    path = HERE / "kills.json"
    found = json.loads(path.read_text("utf-8")) if path.exists() else {}
    for name in names or interruptions.SCENARIOS:
        counts = kills(name)  # raises if anything is lost
        found[name] = {"killed": sum(counts.values()), "lost": 0, "calls": counts}
        print(name, found[name], flush=True)
        found["machine"] = (
            f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
        )
        path.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
