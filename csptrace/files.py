"""What csptrace writes for its users: folders of its own, and files whole or not at all.

Where csptrace chooses the name of a file (logs, archives, caches), only the owner may read it:
names of key containers and paths are in it. Where the user chose the name, the umask decides, as
with every other tool, and a file that is replaced keeps its permissions.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
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
    "only_regular",
    "replacing",
]

_ACCESS_LIST: Final = "system.posix_acl_access"
PRIVATE_FILE: Final = 0o600
PRIVATE_FOLDER: Final = 0o700
_OPEN: Final = re.compile(r"/proc/(?:\d+|self|thread-self)(?:/task/\d+)?/fd")
_MOST_LINKS: Final = 40
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


def only_regular(path: str, flags: int) -> int:
    """Open a regular file, and nothing else: an `opener` for `open`.

    Opening a FIFO would wait for ever, and opening a device does something.

    Args:
        path: the file.
        flags: how to open it.

    Returns:
        The descriptor.

    Raises:
        OSError: it cannot be opened, or it is something else.
    """
    _check_regular(path, os.stat(path))
    quick = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
    descriptor = os.open(path, flags | quick)
    try:
        _check_regular(path, os.fstat(descriptor))  # it may have been exchanged meanwhile
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _check_regular(path: str, about: os.stat_result) -> None:
    if not stat.S_ISREG(about.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file", path)


def check_replaceable(path: str | os.PathLike[str]) -> None:
    """See to it now that `replacing` can write a file later. Nothing is left behind.

    Args:
        path: the file.

    Raises:
        OSError: it could not.
    """
    there = _replaceable(path)
    if there is None or (stat.S_ISREG(there.st_mode) and not _is_open_here(path)):
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
    that it leads to is. What is no file (a pipe, a terminal) or is open already (`/dev/stdout`) is
    added to directly.

    Args:
        path: the file.
        mode: the permissions of a new file, less what the umask takes away.

    Yields:
        The binary file.

    Raises:
        OSError: it cannot be written. Then, and if the block raises, the old file is untouched.
    """
    there = _replaceable(path)
    if there is not None and (not stat.S_ISREG(there.st_mode) or _is_open_here(path)):
        with open(path, "ab") as file:
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
                _keep_permissions(waiting, there, target)
            os.fsync(file.fileno())
        os.replace(waiting, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(waiting)
        raise
    flush_folder(os.path.dirname(target))


def _is_open_here(path: str | os.PathLike[str]) -> bool:
    """Return whether a path means a file that this process has open: `/dev/stdout`, `/dev/fd/1`."""
    step = os.path.abspath(path)
    for _ in range(_MOST_LINKS):
        folder = os.path.realpath(os.path.dirname(step))
        if folder == "/dev/fd" or _OPEN.fullmatch(folder):
            return True
        try:
            step = os.path.join(folder, os.readlink(os.path.join(folder, os.path.basename(step))))
        except OSError:
            return False
    return False


def _waiting(target: str) -> str:
    """Return a name that nobody else has for what will be a file."""
    return os.path.join(os.path.dirname(target), f".csptrace-{os.urandom(8).hex()}")


def _keep_permissions(path: str, before: os.stat_result, shown: str) -> None:
    """Give a file the owner and permissions of another one, or less where that is not allowed."""
    mode = before.st_mode & 0o777
    if hasattr(os, "chown"):
        # The owner first, since changing it may take permissions away. Only root can give files
        # away; whoever may write a file of somebody else replaces it by one of his own.
        with contextlib.suppress(OSError):
            os.chown(path, before.st_uid, -1)
        with contextlib.suppress(OSError):
            os.chown(path, -1, before.st_gid)
        if os.stat(path).st_gid != before.st_gid:
            mode &= ~0o070  # they were another group's
        if not _keep_list(path, shown):
            mode &= ~0o070  # they were the mask of a list, which says more
    with contextlib.suppress(OSError):
        os.chmod(path, mode)


def _keep_list(path: str, shown: str) -> bool:
    """Give a file the access control list of another one; return whether that went well."""
    if not hasattr(os, "getxattr"):
        return True
    try:
        found = os.getxattr(shown, _ACCESS_LIST)
    except OSError:  # there is none
        return True
    try:
        os.setxattr(path, _ACCESS_LIST, found)
    except OSError:
        return False
    return True


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
