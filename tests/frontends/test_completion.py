"""Completion in a real shell, by the script that `csptrace --print-completion` prints."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from csptrace.frontends.completion import SHELLS

if TYPE_CHECKING:
    from pathlib import Path

BASH = shutil.which("bash")
ASK = """
source "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_shtab_csptrace
printf '%s\\n' "${COMPREPLY[@]}"
"""


def csptrace(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run csptrace."""
    return subprocess.run(
        [sys.executable, "-m", "csptrace", *arguments],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


@pytest.mark.skipif(BASH is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("re",), {"report"}),
        (("guide", "leaked-at-r"), {"leaked-at-release"}),
        (("report", "--form"), {"--format"}),
        (("report", "--format", "ma"), {"markdown"}),
        (("run", "--held"), {"--held-too-long"}),
        (("run", "--log", "lo"), {"logs"}),
        (("report", "lo"), {"logs", "log.jsonl"}),
        (("run", "--baseline", "lo"), {"logs", "log.jsonl"}),
    ],
)
def test_bash_completes(words: tuple[str, ...], wanted: set[str], tmp_path: Path) -> None:
    """Commands, options, their values, topics of the guide, folders and files."""
    script = tmp_path / "complete.sh"
    script.write_text(csptrace("--print-completion", "bash").stdout, encoding="utf-8")
    here = tmp_path / "here"
    (here / "logs").mkdir(parents=True)
    (here / "log.jsonl").touch()

    assert BASH is not None
    done = subprocess.run(
        [BASH, "-c", ASK, "bash", str(script), "csptrace", *words],
        cwd=here,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )

    assert done.stderr == ""
    assert set(done.stdout.splitlines()) == wanted


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_gets_a_script(shell: str) -> None:
    """Each shell that is offered has a script that knows the commands."""
    done = csptrace("--print-completion", shell)

    assert (done.returncode, done.stderr) == (0, "")
    assert "compact" in done.stdout
    assert "leaked-at-release" in done.stdout


def test_without_shtab(tmp_path: Path) -> None:
    """The error says what to install."""
    (tmp_path / "shtab.py").write_text("raise ImportError\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "csptrace", "--print-completion", "bash"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )

    assert done.returncode == 2
    assert "pip install 'csptrace[completion]'" in done.stderr
