"""Programs that run out of something, or give it up, before they look functions up."""

from __future__ import annotations

import importlib.util
import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import required
from sampled import sampled
from shortage import CLIENTS, SHORTAGES

import csptrace

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
PACKAGE = Path(csptrace.__file__).parent
CONFORMANCE = HERE.parent / "conformance"
SUPERUSER = hasattr(os, "geteuid") and os.geteuid() == 0
FINDINGS = {
    "softcsp-ctypes": ("double-release", "leaked-at-release", "out-of-order-release"),
    "softcsp-objects": ("leaked-at-release",),
}

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a folder on a disk of its own, which is soon full."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = shutil.which("mount")
    made = SUPERUSER and mount is not None
    if made:
        command = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(folder)]
        made = subprocess.run(command, capture_output=True, check=False).returncode == 0
    if not made:
        pytest.skip("no small disk can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def _softhsm(client: str) -> dict[str, str]:
    """Return the environment of a PKCS#11 client; skip where something is missing."""
    spec = importlib.util.spec_from_file_location("softhsm", CONFORMANCE / "softhsm.py")
    assert spec is not None
    assert spec.loader is not None
    softhsm = sys.modules.get("softhsm") or importlib.util.module_from_spec(spec)
    if "softhsm" not in sys.modules:
        sys.modules["softhsm"] = softhsm
        spec.loader.exec_module(softhsm)
    softhsm.need(*{"PyKCS11": ["PyKCS11"], "python-pkcs11": ["pkcs11"]}.get(client, []))
    return {**softhsm.environment(), "PKCS11_MODULE": softhsm.module()}


def _play(
    client: str, shortage: str, tmp_path: Path, *, traced: bool, **environ: str
) -> tuple[int, list[str], str]:
    """Run the program; return its status, its lines and what stands on stderr."""
    folder = tmp_path / f"empty{int(traced)}"
    folder.mkdir()
    # A copy that only its owner may read, beside what is installed.
    site = tmp_path / "site"
    if not site.exists():
        shutil.copytree(PACKAGE, site / "csptrace", ignore=shutil.ignore_patterns("__pycache__"))
        site.chmod(0o700)
    done = subprocess.run(
        [sys.executable, str(HERE / "shortage.py"), client, shortage, str(int(traced)), folder],
        env={
            **{n: v for n, v in os.environ.items() if not n.startswith(("CSPTRACE", "PYTHON"))},
            "CSPTRACE_LOG": str(tmp_path / "log"),
            "CSPTRACE_ON_MISUSE": "log",
            "CSPTRACE_ON_LEAK": "log",
            "SOFTCSP_HOME": str(tmp_path / "home"),
            "PYTHONPATH": str(site),
            **environ,
        },
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout.splitlines(), done.stderr


def _compare(client: str, shortage: str, tmp_path: Path, **environ: str) -> None:
    if not client.startswith("softcsp"):
        environ |= _softhsm(client)
    elif importlib.util.find_spec("cryptography") is None:
        required.missing("softcsp", "cryptography is not installed")
    (tmp_path / "log").mkdir(exist_ok=True)
    plain = _play(client, shortage, tmp_path, traced=False, **environ)
    traced = _play(client, shortage, tmp_path, traced=True, **environ)

    assert plain[2] == ""
    assert "now" in plain[1]
    assert traced[:2] == plain[:2], traced[2]
    assert "Traceback" not in traced[2]
    assert "Exception ignored" not in traced[2]
    assert "internal error" not in traced[2]
    if any("closed" in line or "warm" in line for line in plain[1]):
        for code in FINDINGS.get(client, ()):
            assert f"csptrace: {code}: " in traced[2]


@pytest.mark.parametrize(
    ("shortage", "client"),
    sampled(itertools.product([name for name in SHORTAGES if name != "disk"], CLIENTS), 2),
)
def test_a_shortage_changes_nothing_and_finds_all(
    client: str, shortage: str, tmp_path: Path
) -> None:
    """Whatever the program has run out of, it goes on as without csptrace, and is judged."""
    if shortage in ("root", "rights") and not SUPERUSER:
        pytest.skip("only the superuser may give up its root directory or its rights")

    _compare(client, shortage, tmp_path)


def test_a_full_disk_changes_nothing_and_finds_all(small_disk: Path, tmp_path: Path) -> None:
    """A disk that fills up ends the log and nothing else."""
    _compare("softcsp-ctypes", "disk", tmp_path, CSPTRACE_LOG=str(small_disk))
