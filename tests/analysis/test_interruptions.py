"""Killed or refused at any file operation, a command loses nothing and can be run again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.skipif(not hasattr(os, "fork"), reason="each attempt is a forked process")
@pytest.mark.parametrize("how", ["kill", "fail"])
@pytest.mark.parametrize("scenario", ["compact", "overlap", "cache", "baseline", "log"])
def test_nothing_is_lost_on_the_way(tmp_path: Path, scenario: str, how: str) -> None:
    """Before every change the process is killed; every operation is refused: all is still there."""
    done = subprocess.run(
        [sys.executable, str(HERE / "interruptions.py"), scenario, how, str(tmp_path)],
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=280,
    )

    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert int(done.stdout) > 2
