"""What csptrace writes for its users: folders of its own, and files whole or not at all.

Where csptrace chooses the name of a file (logs, archives, caches), only the owner may read it:
names of key containers and paths are in it. Where the user chose the name, the umask decides, as
with every other tool, and a file that is replaced keeps its permissions.
"""

from __future__ import annotations

import contextlib
import os
import stat
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "PRIVATE_FILE",
    "PRIVATE_FOLDER",
    "check_replaceable",
    "flush_folder",
    "make_folder",
    "replacing",
]

PRIVATE_FILE: Final = 0o600
PRIVATE_FOLDER: Final = 0o700
_NEW: Final = (
    os.O_WRONLY
    | os.O_CREAT
    | os.O_EXCL
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NOINHERIT", 0)
)


def make_folder(path: str | os.PathLike[str]) -> None:
    """Make a folder, and those above it, unless they exist; only the owner may enter what is made.

    Args:
        path: the folder.

    Raises:
        OSError: it cannot be made.
    """
    folder = os.fspath(path)
    missing = []
    while folder and not os.path.isdir(folder):
        missing.append(folder)
        above = os.path.dirname(folder)
        if above == folder:
            break
        folder = above
    for one in reversed(missing):
        try:
            os.mkdir(one, PRIVATE_FOLDER)
        except FileExistsError:  # another process was faster; or there is a file in the way
            if not os.path.isdir(one):
                raise


def check_replaceable(path: str | os.PathLike[str]) -> None:
    """See to it now that `replacing` can write a file later. Nothing is left behind.

    Args:
        path: the file.

    Raises:
        OSError: it could not.
    """
    there = _replaceable(path)
    if there is None or stat.S_ISREG(there.st_mode):
        attempt = _waiting(os.path.realpath(path))
        os.close(os.open(attempt, _NEW, PRIVATE_FILE))
        os.unlink(attempt)


def _replaceable(path: str | os.PathLike[str]) -> os.stat_result | None:
    """Return what is there, `None` for nothing.

    Raises:
        OSError: it may not be replaced.
    """
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(there.st_mode):
        raise IsADirectoryError(0, "it is a folder", os.fspath(path))
    if not os.access(path, os.W_OK):
        raise PermissionError(0, "it is read-only", os.fspath(path))
    return there


@contextmanager
def replacing(path: str | os.PathLike[str], *, mode: int = 0o666) -> Iterator[IO[bytes]]:
    """Open a file for writing that appears under its name only when it is complete.

    A file that is there is replaced, with its permissions kept; through a symbolic link the file
    that it leads to is. What is no file (a pipe, a terminal) is written to directly.

    Args:
        path: the file.
        mode: the permissions of a new file, less what the umask takes away.

    Yields:
        The binary file.

    Raises:
        OSError: it cannot be written. Then, and if the block raises, the old file is untouched.
    """
    there = _replaceable(path)
    if there is not None and not stat.S_ISREG(there.st_mode):
        with open(path, "wb") as file:
            yield file
        return
    target = os.path.realpath(path)
    waiting = _waiting(target)
    handle = os.open(waiting, _NEW, mode if there is None else PRIVATE_FILE)
    try:
        with open(handle, "wb") as file:
            yield file
            file.flush()
            if there is not None:
                _keep_permissions(waiting, there)
            os.fsync(file.fileno())
        os.replace(waiting, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(waiting)
        raise
    flush_folder(os.path.dirname(target))


def _waiting(target: str) -> str:
    """Return a name that nobody else has for what will be a file."""
    return os.path.join(os.path.dirname(target), f".csptrace-{os.urandom(8).hex()}")


def _keep_permissions(path: str, before: os.stat_result) -> None:
    # The owner first, since changing it may take permissions away. Only root can give files away;
    # whoever may write a file of somebody else replaces it by one of his own.
    if hasattr(os, "chown"):
        with contextlib.suppress(OSError):
            os.chown(path, before.st_uid, before.st_gid)
    with contextlib.suppress(OSError):
        os.chmod(path, before.st_mode & 0o777)


def flush_folder(folder: str | os.PathLike[str]) -> None:
    """Make what was renamed or deleted in a folder survive a loss of power, where that is possible.

    Args:
        folder: the folder.
    """
    if os.name == "nt":  # folders cannot be opened there
        return
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
