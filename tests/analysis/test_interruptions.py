"""Killed or refused at any file operation, a command loses nothing and can be run again.

Every eighth operation is tried; `CSPTRACE_TESTS=all` tries each.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sampled import ALL

HERE = Path(__file__).parent
EVERY = 1 if ALL else 8


@pytest.mark.skipif(not hasattr(os, "fork"), reason="each attempt is a forked process")
@pytest.mark.parametrize("how", ["kill", "fail"])
@pytest.mark.parametrize("scenario", ["compact", "overlap", "cache", "baseline", "log"])
def test_nothing_is_lost_on_the_way(tmp_path: Path, scenario: str, how: str) -> None:
    """Killed before a change, or with an operation refused: all is still there."""
    done = subprocess.run(
        [sys.executable, str(HERE / "interruptions.py"), scenario, how, str(tmp_path), str(EVERY)],
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=280,
    )

    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert int(done.stdout) > 2
