"""The one reader of TOML files: never hangs, never reads without end, fails with one line.

A file that a user or somebody else has written may be no file at all (opening a FIFO waits for
ever, opening a device does something), of any size, in any encoding, and nested more deeply than
a recursive parser can follow. Each of these is one error that names the file.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from csptrace.errors import CspTraceError

__all__ = ["MOST", "contents", "opened", "parse", "shown"]

MOST: Final = 4_000_000
"""Bytes of a file that are read at most: a hundred times what is usual."""

_FLAGS: Final = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_BINARY", 0)
)


@contextmanager
def opened(
    path: str | os.PathLike[str], *, follow: bool = True
) -> Iterator[tuple[int, os.stat_result]]:
    """Open a regular file, and nothing else.

    It is looked at before, since opening alone does something to a device, and again when it is
    open, since it may have been exchanged meanwhile.

    Args:
        path: the file.
        follow: whether it may be a symbolic link.

    Yields:
        A descriptor to read from, and what the system says of what is open.

    Raises:
        OSError: there is no such file, it cannot be opened, or it is something else.
    """
    _check(path, os.stat(path, follow_symlinks=follow))
    descriptor = os.open(path, _FLAGS if follow else _FLAGS | getattr(os, "O_NOFOLLOW", 0))
    try:
        info = os.fstat(descriptor)
        _check(path, info)
        yield descriptor, info
    finally:
        os.close(descriptor)


def _check(path: str | os.PathLike[str], info: os.stat_result) -> None:
    if not stat.S_ISREG(info.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file", os.fspath(path))


def contents(path: str | os.PathLike[str], descriptor: int) -> bytes:
    """Read what is open, as far as is sensible.

    Args:
        path: the file, for the error.
        descriptor: as `opened` yields it.

    Raises:
        OSError: it cannot be read, or it is larger than `MOST` bytes.
    """
    parts = []
    left = MOST + 1
    while left and (part := os.read(descriptor, min(left, 1 << 20))):
        parts.append(part)
        left -= len(part)
    if not left:
        text = f"it is larger than {MOST // 1_000_000} megabytes"
        raise OSError(errno.EFBIG, text, os.fspath(path))
    return b"".join(parts)


def parse(
    path: str | os.PathLike[str], raw: bytes, error: type[CspTraceError]
) -> tuple[str, dict[str, Any]]:
    """Parse the contents of a file.

    A byte order mark, which some editors write, is overlooked.

    Args:
        path: the file, for the error.
        raw: its contents.
        error: what to raise.

    Returns:
        The text and what it says.

    Raises:
        CspTraceError: of the type `error`: not UTF-8, not TOML, nested too deeply, or a number
            that is too large; names the file and, where it is known, the line.
    """
    import tomllib  # noqa: PLC0415 - most processes read none

    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as bad:
        line = raw.count(b"\n", 0, bad.start) + 1
        raise error(f"{os.fspath(path)}:{line}: not UTF-8") from bad
    try:
        return text, tomllib.loads(text)
    except tomllib.TOMLDecodeError as bad:
        found = re.search(r"at line (\d+)", str(bad))
        line = int(found[1]) if found else text.count("\n") + 1
        raise error(f"{os.fspath(path)}:{line}: not a TOML file: {bad}") from bad
    except RecursionError:
        # Without its cause, whose traceback has a thousand frames.
        raise error(f"{os.fspath(path)}: not a TOML file: it is nested too deeply") from None
    except ValueError as bad:  # int() refuses thousands of digits
        raise error(f"{os.fspath(path)}: not a TOML file: a number in it is too large") from bad


def shown(value: object) -> str:
    """Return a value as messages quote it, also one that Python refuses to write down.

    Args:
        value: what a file or a caller has given.
    """
    try:
        return repr(value)
    except (RecursionError, ValueError):  # nested too deeply; a number of thousands of digits
        return f"<{type(value).__name__} that is too large to show>"
