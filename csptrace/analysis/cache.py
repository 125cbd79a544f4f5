"""Partial answers kept from one analysis to the next, found again by the content of the logs.

A cache removes what is old, so it must never take somebody's folder for its own. It works only in
a folder that is empty or that holds its mark, a `CACHEDIR.TAG` (bford.info/cachedir) which says
that it is csptrace's; and of what is in there, it removes only what has a name that it gives.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import tempfile
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import orjson

from csptrace import __version__
from csptrace.analysis import queries
from csptrace.analysis.cache_folder import TAG, claim
from csptrace.files import PRIVATE_FILE, PRIVATE_FOLDER, make_folder

if TYPE_CHECKING:
    from collections.abc import Iterable

    from csptrace.analysis.reading import Log

__all__ = ["Cache"]

_FILES: Final = ("sources.json", *(f"{name}.parquet" for name in queries.KEPT))
"""Of what a partial answer consists; half of one is none."""
_KEEP: Final = 30 * 24 * 3600
"""Seconds for which an answer that nobody asks for is kept."""
_HASHES: Final = "hashes"
_ANSWER: Final = "answer"
_KEY: Final = re.compile(r"[0-9a-f]{64}")
_WAITING: Final = ".new-"


class Cache:
    """A folder of partial answers.

    A log is known by the hash of its content. So that an unchanged log need not be read to know
    that, the hash is kept beside the answers under path, size and time of the last change.

    Args:
        folder: the folder; made, for its owner alone, if it does not exist.

    Attributes:
        hits: how many answers were found so far.
        misses: how many were not.

    Raises:
        OSError: it cannot be made, or it holds other things than a cache of csptrace.
    """

    def __init__(self, folder: str) -> None:
        self.hits = 0
        self.misses = 0
        self._folder = folder
        self._hashes = os.path.join(folder, _HASHES)
        make_folder(folder)
        for name in (TAG, _HASHES):
            if os.path.islink(os.path.join(folder, name)):
                raise OSError(errno.ELOOP, f"{name} in it is a link, which csptrace does not make")
        claim(folder)
        make_folder(self._hashes)
        text = orjson.dumps([__version__, queries.PARTIALS, queries.INPUTS, queries.READ])
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
        if not _is_whole(folder):
            _remove_answer(folder)
            self.misses += 1
            return None
        self.hits += 1
        with suppress(OSError):
            os.utime(folder)
        return folder

    def put(self, key: str, folder: str, logs: Iterable[Log] = ()) -> str:
        """Keep a partial answer.

        Args:
            key: its key.
            folder: where it is.
            logs: what it is an answer to. If one of them has changed since it was found, the key
                is that of an older content, and the answer is not kept.

        Returns:
            Where it can be read: in the cache or, if that cannot be written, where it was.
        """
        target = os.path.join(self._folder, key)
        if not all(map(_is_unchanged, logs)):
            return folder
        try:
            # The rename makes it all there or not at all; it may come from another file system.
            waiting = tempfile.mkdtemp(prefix=_WAITING, dir=self._folder)
            whole = os.path.join(waiting, _ANSWER)
            os.mkdir(whole, PRIVATE_FOLDER)
            for name in _FILES:
                copy = os.path.join(whole, name)
                shutil.copyfile(os.path.join(folder, name), copy)
                os.chmod(copy, PRIVATE_FILE)
            with suppress(FileExistsError):
                os.rename(whole, target)
            _remove_waiting(waiting)
        except OSError:
            pass
        return target if _is_whole(target) else folder

    def _content(self, log: Log) -> str:
        """Return the hash of a log's content."""
        name = os.path.realpath(log.path).encode("utf-8", "surrogateescape")
        memo = os.path.join(self._hashes, hashlib.sha256(name).hexdigest())
        about: list[Any] = [log.size, log.mtime]
        with suppress(OSError, ValueError, TypeError):
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
            for entry in _old(self._folder, oldest):
                if _KEY.fullmatch(entry.name):
                    _remove_answer(entry.path)
                elif entry.name.startswith(_WAITING):
                    _remove_waiting(entry.path)
        with suppress(OSError):
            for entry in _old(self._hashes, oldest):
                if _KEY.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                    with suppress(OSError):
                        os.unlink(entry.path)


def _is_whole(folder: str) -> bool:
    """Return whether a partial answer is there, and every file of it to its end.

    A loss of power may leave a file empty, or with NUL bytes.
    """
    try:
        for name in _FILES:
            with open(os.path.join(folder, name), "rb") as file:
                file.seek(-4, os.SEEK_END)
                if file.read() != b"PAR1" if name.endswith(".parquet") else b"\0" in file.read():
                    return False
    except OSError:
        return False
    return True


def _is_unchanged(log: Log) -> bool:
    try:
        about = os.stat(log.path)
    except OSError:
        return False
    return (about.st_size, about.st_mtime_ns) == (log.size, log.mtime)


def _old(folder: str, oldest: float) -> list[os.DirEntry[str]]:
    """Return what in a folder is older than a time; links count for themselves."""
    with os.scandir(folder) as entries:
        return [one for one in entries if one.stat(follow_symlinks=False).st_mtime < oldest]


def _remove_answer(folder: str) -> None:
    """Remove an answer: the files it consists of, and the folder if nothing else is in it."""
    if os.path.islink(folder):
        return
    for name in _FILES:
        with suppress(OSError):
            os.unlink(os.path.join(folder, name))
    with suppress(OSError):
        os.rmdir(folder)


def _remove_waiting(folder: str) -> None:
    """Remove an answer that was never put in its place."""
    if os.path.islink(folder):
        return
    _remove_answer(os.path.join(folder, _ANSWER))
    with suppress(OSError):
        os.rmdir(folder)
