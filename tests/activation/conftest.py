"""A virtual environment with csptrace installed from its own wheel, built once per session."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]


class Result(NamedTuple):
    """What a program left behind."""

    status: int
    out: str
    err: str


class Installed(NamedTuple):
    """An environment in which csptrace is installed."""

    python: Path

    def run(
        self, *arguments: str | Path, environ: dict[str, str] | None = None, cwd: Path | None = None
    ) -> Result:
        """Run its interpreter with nothing of ours in the environment but what is given."""
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("CSPTRACE", "PYTHON", "COV_", "COVERAGE"))
        }
        done = subprocess.run(
            [self.python, *arguments],
            env={**clean, **(environ or {})},
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)


def _dependencies() -> str:
    """Return where this interpreter finds csptrace's dependencies."""
    import wrapt

    return str(Path(wrapt.__file__).parents[1])


def _environment(folder: Path, install: Callable[[Path], None]) -> Installed:
    venv.create(folder, with_pip=False)
    scripts = "Scripts" if sys.platform == "win32" else "bin"
    python = folder / scripts / ("python.exe" if sys.platform == "win32" else "python")
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    if not site.is_dir():  # pragma: no cover - a scheme of a distributor
        pytest.fail(f"no site directory at {site}")
    # The dependencies of the running interpreter, without a network: appended to the path, and
    # named so that the file is read before csptrace's own.
    (site / "aa_dependencies.pth").write_text(_dependencies() + "\n", encoding="utf-8")
    install(site)
    return Installed(python)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy of the tree."""
    folder = tmp_path_factory.mktemp("wheel")
    return _build(folder, "build_wheel")


def _build(folder: Path, target: str) -> Path:
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "conftest.py"):
        shutil.copy(ROOT / name, source / name)
    shutil.copytree(
        ROOT / "csptrace", source / "csptrace", ignore=shutil.ignore_patterns("__pycache__")
    )
    made = folder / "dist"
    made.mkdir()
    subprocess.run(
        [
            sys.executable,
            "-c",
            f"from hatchling import build; build.{target}({str(made)!r})",
        ],
        cwd=source,
        check=True,
        capture_output=True,
    )
    (path,) = made.iterdir()
    return path


def _unpack(wheel: Path) -> Callable[[Path], None]:
    return lambda site: shutil.unpack_archive(wheel, site, "zip")


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Return an environment with the wheel installed."""
    return _environment(tmp_path_factory.mktemp("installed") / "env", _unpack(wheel))


@pytest.fixture(scope="session")
def editable(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Return an environment with an editable install."""
    wheel = _build(tmp_path_factory.mktemp("editable-wheel"), "build_editable")
    return _environment(tmp_path_factory.mktemp("editable") / "env", _unpack(wheel))


LEAKY = """
import ctypes, sys
from ctypes import byref, c_void_p
from csptrace.softcsp import advapi32

def leak():
    hProv, hKey = c_void_p(), c_void_p()
    done = advapi32.CryptAcquireContextW(byref(hProv), None, None, 24, 0xF0000000)
    done += advapi32.CryptGenKey(hProv, 0x660E, 1, byref(hKey))
    done += advapi32.CryptReleaseContext(hProv, 0)
    if done != 3:
        raise OSError(advapi32.GetLastError())
"""


@pytest.fixture
def leakage(tmp_path: Path) -> Path:
    """Return a folder with a module `leakage` whose function `leak` leaks one key."""
    (tmp_path / "leakage.py").write_text(LEAKY, encoding="utf-8")
    return tmp_path


@pytest.fixture
def leaky(tmp_path: Path) -> Path:
    """Return a program that leaks one key and prints its arguments."""
    program = tmp_path / "leaky.py"
    program.write_text(LEAKY + "\nleak()\nprint('arguments', sys.argv[1:])\n", encoding="utf-8")
    return program
