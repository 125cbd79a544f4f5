"""Partial answers kept from one analysis to the next, found again by the content of the logs."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import orjson

from csptrace import __version__
from csptrace.analysis import questions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from csptrace.analysis.reading import Log

__all__ = ["Cache", "default_folder"]

_FILES: Final = ("sources.json", *(f"{name}.parquet" for name in questions.KEPT))
"""Of what a partial answer consists; half of one is none."""
_KEEP: Final = 30 * 24 * 3600
"""Seconds for which an answer that nobody asks for is kept."""


def default_folder() -> str:
    """Return where partial answers are kept: the cache folder of the system's convention."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or os.path.expanduser(r"~\AppData\Local")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(base, "csptrace", "partials")


class Cache:
    """A folder of partial answers.

    A log is known by the hash of its content. So that an unchanged log need not be read to know
    that, the hash is kept beside the answers under path, size and time of the last change.

    Args:
        folder: the folder; made if it does not exist. Only the owner may read it.

    Attributes:
        hits: how many answers were found so far.
        misses: how many were not.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, folder: str) -> None:
        self.hits = 0
        self.misses = 0
        self._folder = folder
        self._hashes = os.path.join(folder, "hashes")
        os.makedirs(self._hashes, mode=0o700, exist_ok=True)
        text = orjson.dumps([__version__, questions.PARTIALS, questions.INPUTS, questions.READ])
        self._version = hashlib.sha256(text).hexdigest()
        self._prune()

    def key(self, logs: Iterable[Log], run: str) -> str:
        """Return the key of the partial answer for some logs.

        Args:
            logs: the files.
            run: whose handle graph is wanted.

        Returns:
            Equal for equal contents in the same order, and the same questions.
        """
        parts = [self._version, run, *(self._content(log) for log in logs)]
        return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()

    def get(self, key: str) -> str | None:
        """Return the folder of a partial answer, `None` if there is none."""
        folder = os.path.join(self._folder, key)
        if not all(os.path.isfile(os.path.join(folder, name)) for name in _FILES):
            shutil.rmtree(folder, ignore_errors=True)
            self.misses += 1
            return None
        self.hits += 1
        with suppress(OSError):
            os.utime(folder)
        return folder

    def put(self, key: str, folder: str) -> str:
        """Keep a partial answer.

        Args:
            key: its key.
            folder: where it is; it is moved away from there.

        Returns:
            Where it is now: in the cache or, if that cannot be written, where it was.
        """
        target = os.path.join(self._folder, key)
        try:
            # The rename makes it all there or not at all; it may come from another file system.
            waiting = tempfile.mkdtemp(prefix=".new-", dir=self._folder)
            whole = os.path.join(waiting, "answer")
            shutil.copytree(folder, whole)
            with suppress(FileExistsError):
                os.rename(whole, target)
            shutil.rmtree(waiting)
        except OSError:
            return target if os.path.isdir(target) else folder
        return target

    def _content(self, log: Log) -> str:
        """Return the hash of a log's content."""
        name = os.path.realpath(log.path).encode("utf-8", "surrogateescape")
        memo = os.path.join(self._hashes, hashlib.sha256(name).hexdigest())
        about: list[Any] = [log.size, log.mtime]
        with suppress(OSError, ValueError):
            with open(memo, "rb") as file:
                *known, digest = orjson.loads(file.read())
            if known == about:
                with suppress(OSError):
                    os.utime(memo)
                return str(digest)
        try:
            with open(log.path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:  # it has gone since it was found; what it held is not kept
            return os.urandom(16).hex()
        with suppress(OSError), open(memo, "wb") as file:
            file.write(orjson.dumps([*about, digest]))
        return digest

    def _prune(self) -> None:
        """Remove what nobody has asked for in a long time."""
        oldest = time.time() - _KEEP
        with suppress(OSError):
            for folder in (self._folder, self._hashes):
                for entry in os.scandir(folder):
                    if entry.path == self._hashes or entry.stat().st_mtime >= oldest:
                        continue
                    if entry.is_dir():
                        shutil.rmtree(entry.path, ignore_errors=True)
                    else:
                        os.unlink(entry.path)
