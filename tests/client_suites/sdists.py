"""Source distributions from the package registry, with what their tests need."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from suites import Suite


class Unavailable(Exception):
    """A suite cannot be had here; the text is the reason."""


def cache() -> Path:
    """Return the folder in which downloads are kept between runs."""
    chosen = os.environ.get("CLIENT_SUITES_CACHE")
    return Path(chosen) if chosen else Path.home() / ".cache" / "csptrace-suites"


def version(suite: Suite) -> str:
    """Return which version of a suite is run.

    Raises:
        Unavailable: it is the installed one, and none is.
    """
    if suite.version:
        return suite.version
    try:
        return importlib.metadata.version(suite.name)
    except importlib.metadata.PackageNotFoundError:
        raise Unavailable(f"{suite.name} is not installed") from None


def source(suite: Suite) -> Path:
    """Return the unpacked source distribution of a suite, fetching it once.

    Raises:
        Unavailable: the registry does not answer or has none.
    """
    wanted = version(suite)
    home = cache() / f"{suite.name}-{wanted}"
    if not home.exists():
        with tempfile.TemporaryDirectory(dir=_made(cache())) as scratch:
            # pip builds its metadata, too, for which what it builds with may come as wheels.
            _pip(
                "download",
                *("--no-deps", "--no-binary", suite.name, "--dest", scratch),
                f"{suite.name}=={wanted}",
            )
            (archive,) = Path(scratch).glob("*.tar.gz")
            unpacked = Path(scratch) / "unpacked"
            with tarfile.open(archive) as packed:
                packed.extractall(unpacked, filter="data")
            (root,) = unpacked.iterdir()
            root.rename(home)
    return home


def requirements(suite: Suite) -> Path | None:
    """Return a folder with what a suite's tests need, installing it once; None if nothing.

    Raises:
        Unavailable: the registry does not answer or lacks something.
    """
    needs = (*suite.needs, *([f"{suite.name}=={version(suite)}"] if suite.itself else []))
    if not needs:
        return None
    tag = f"{sys.implementation.cache_tag}-{suite.name}-{version(suite)}-needs"
    home = cache() / tag
    if not home.exists():
        with tempfile.TemporaryDirectory(dir=_made(cache())) as scratch:
            target = Path(scratch) / "needs"
            _pip("install", "--target", str(target), *needs)
            target.rename(home)
    return home


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _pip(*arguments: str) -> None:
    try:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"),
                *("--retries", "1", "--timeout", "15", *arguments),
            ],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"pip {arguments[0]} {arguments[-1]}: no answer in time") from None
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise Unavailable(
            f"pip {arguments[0]} {arguments[-1]}: {said[-1] if said else done.stderr[-200:]}"
        )
