r"""Which `pyproject.toml` is the project's own: the search for `[tool.csptrace]`.

Settings steer where a process writes and what it says, so a file that somebody else has left in a
folder above (`/tmp`, `/home`, a shared disk) must not be taken for the project's. The rules, and
whose they are:

- The nearest file that has the table counts, alone; one without it is passed over (ruff, black,
  mypy, pytest).
- The search goes up no further than the root of the repository, which is where `.git` (a folder, or
  a file in worktrees and submodules), `.hg`, `.jj` or `.svn` lies (mypy since 1.15, ansible-lint,
  salt-lint); no further than the home folder (yamllint); and not onto another file system (git,
  GIT_DISCOVERY_ACROSS_FILESYSTEM: to ask an automounter for a name may take minutes). These three
  places themselves are looked into, except beyond the file system.
- The file must belong to the user whose rights the process has, the effective one, or to root: the
  rule of git since CVE-2022-24765 ("safe.directory"), which was made for just this. Where it is a
  symbolic link, the link must, too: its maker chooses the content. Unlike git, a user's file does
  not become root's under sudo (SUDO_UID), since csptrace can be given settings in other ways.
- Neither the modes of the file nor the folder around it are asked, as in git. ansible passes over a
  configuration in a folder that anybody may write to, and is known for it: containers of GitLab's
  runner (umask 0) and drives of Windows under WSL are such folders, and nobody attacks there. Who
  may write to a file of mine has been allowed to by me, and he could write to the program as well;
  in a folder of his he can only put a file of mine, with what I have written.
- Windows tells no owner (`st_uid` is 0). There a file above the working folder counts only if the
  search ended at a repository or at the home folder, so that none in `C:\` or on a shared drive
  does; who can plant a repository above the working folder can plant settings with it.

A file that would count but for these rules is named, if it mentions csptrace at all: by
`csptrace doctor`, and in one line when tracing starts.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from csptrace import tomlfile
from csptrace.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Found", "find"]

_NAME: Final = "pyproject.toml"
_ROOTS: Final = (".git", ".hg", ".jj", ".svn")


class Found(NamedTuple):
    """What the search has found.

    Attributes:
        file: the file whose table counts, `None` if there is none.
        table: its `[tool.csptrace]`; empty if there is none.
        passed: why other files that mention csptrace do not count, one text for each.
        last: the last folder that was looked into, `None` if there was none.
        why: why the search ended there.
    """

    file: Path | None
    table: Mapping[str, Any]
    passed: tuple[str, ...]
    last: Path | None
    why: str


def find(folder: Path | None = None) -> Found:
    """Search for the table in a folder and those above it.

    Args:
        folder: where to start; the working directory if not given.

    Returns:
        What was found.

    Raises:
        SettingsError: the file that would count cannot be understood.
    """
    try:
        start = (folder or Path.cwd()).absolute()
    except OSError:
        return Found(None, {}, (), None, "the working directory is gone")
    places, why, bounded = _reach(start)
    passed: list[str] = []
    for place in places:
        file = place / _NAME
        try:
            raw, stranger = _look(file, known=bounded or place == start)
        except OSError as error:
            if _is_own(file):  # whether it mentions csptrace cannot be known
                passed.append(f"{file} is passed over: {error.strerror or error}")
            continue
        if b"csptrace" not in raw:
            continue
        if stranger:
            passed.append(
                f"{file} is passed over: {stranger}; give its settings as CSPTRACE_… variables, "
                "or have it owned by whoever runs this"
            )
            continue
        table = _table(file, raw)
        if table is not None:
            return Found(file, table, tuple(passed), place, why)
    return Found(None, {}, tuple(passed), places[-1] if places else None, why)


def _reach(start: Path) -> tuple[list[Path], str, bool]:
    """Return the folders to look into, why they end, and whether that is at a known boundary."""
    home = _identity(os.path.expanduser("~"))
    places: list[Path] = []
    device = -1
    for place in (start, *start.parents):
        try:
            info = place.stat()
        except OSError:
            if places:
                return places, "the folder above cannot be looked at", False
            continue  # the first ones may not exist
        if places and info.st_dev != device:
            return places, "another file system begins above it", False
        device = info.st_dev
        places.append(place)
        if any(os.path.lexists(place / name) for name in _ROOTS):
            return places, "it is the root of a repository", True
        if (info.st_dev, info.st_ino) == home:
            return places, "it is the home folder", True
    return places, "there is none above it", False


def _identity(path: str) -> tuple[int, int] | None:
    try:
        info = os.stat(path)
    except (OSError, ValueError):
        return None
    return info.st_dev, info.st_ino


def _look(file: Path, *, known: bool) -> tuple[bytes, str]:
    """Return what is in a file, and whose it is if that is somebody else's.

    Args:
        file: the file.
        known: whether it lies where it counts without an owner.
    """
    link = file.lstat()
    with tomlfile.opened(file, follow=stat.S_ISLNK(link.st_mode)) as (descriptor, info):
        raw = tomlfile.contents(file, descriptor)
        return raw, _stranger({link.st_uid, info.st_uid}, known=known)


def _is_own(file: Path) -> bool:
    """Return whether there is a file that the user may have meant."""
    try:
        info = file.stat()
    except OSError:
        return False
    return stat.S_ISREG(info.st_mode) and not _stranger({info.st_uid}, known=True)


def _stranger(owners: set[int], *, known: bool) -> str:
    if not hasattr(os, "geteuid"):
        return "" if known else "it lies above the working folder, in no repository of its"
    user = os.geteuid()
    strangers = sorted(owners - {user, 0})
    if not strangers:
        return ""
    return f"it belongs to user {strangers[0]}, not to user {user} or root"


def _table(file: Path, raw: bytes) -> Mapping[str, Any] | None:
    _text, data = tomlfile.parse(file, raw, SettingsError)
    tool = data.get("tool")
    table = tool.get("csptrace") if isinstance(tool, dict) else None
    if table is None:
        return None
    if not isinstance(table, dict):
        raise SettingsError(f"{file}: [tool.csptrace] must be a table")
    return table
