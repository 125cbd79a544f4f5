"""The folder of a cache: where it is by default, and the mark by which it is known.

The mark is a `CACHEDIR.TAG` (bford.info/cachedir) which says that the folder is csptrace's.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import Final

from csptrace.files import only_regular

__all__ = ["TAG", "claim", "default_folder", "is_cache"]

TAG: Final = "CACHEDIR.TAG"
_MARK: Final = (
    b"Signature: 8a477f597d28d172789f06886806bc55\n"
    b"# This folder is a cache of csptrace: answers to questions about event logs.\n"
    b"# All of it may be deleted at any time. See https://bford.info/cachedir/\n"
)


def default_folder() -> str:
    """Return where partial answers are kept: the cache folder of the system's convention."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or os.path.expanduser(r"~\AppData\Local")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(base, "csptrace", "answers")


def is_cache(folder: str) -> bool:
    """Return whether a folder carries the mark of a cache of csptrace.

    Args:
        folder: the folder.
    """
    try:
        with open(os.path.join(folder, TAG), "rb", opener=only_regular) as file:
            return file.read(len(_MARK) + 1) == _MARK
    except OSError:
        return False


def claim(folder: str) -> None:
    """Mark a folder as a cache of csptrace.

    Args:
        folder: the folder; what carries the mark already stays as it is.

    Raises:
        OSError: something else is in it.
    """
    tag = os.path.join(folder, TAG)
    try:
        with open(tag, "rb") as file:
            mark = file.read(len(_MARK) + 1)
    except FileNotFoundError:
        mark = None
    if mark == _MARK:
        return
    # Half a mark and nothing else: another process is just writing it, or was killed meanwhile.
    inside = set(os.listdir(folder))
    if mark is not None and _MARK.startswith(mark):
        inside.discard(TAG)
    if inside:
        raise OSError(
            errno.ENOTEMPTY, f"there are files in it, and no {TAG} that makes it csptrace's"
        )
    with open(tag, "wb") as file:
        file.write(_MARK)
