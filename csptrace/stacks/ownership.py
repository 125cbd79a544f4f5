"""Whose code a frame is: the user's, a library's, or the tracer's own."""

from __future__ import annotations

import os
import sys
import sysconfig
from typing import TYPE_CHECKING, Final

import wrapt

import csptrace
from csptrace.stacks.frames import module_name
from csptrace.stacks.resolved import ResolvedStack

if TYPE_CHECKING:
    from collections.abc import Iterable

    from csptrace.stacks.frames import Frame
    from csptrace.stacks.stack import Stack

__all__ = ["Ownership"]


def _folder(path: str | None) -> str:
    return os.path.normcase(os.path.dirname(os.path.abspath(path or ""))) + os.sep


_OWN: Final = _folder(csptrace.__file__)
_EXAMPLES: Final = _OWN + "examples" + os.sep
_FRONTENDS: Final = _OWN + "frontends" + os.sep
_WRAPT: Final = _folder(wrapt.__file__)
_LIBRARIES: Final = tuple(
    {
        os.path.normcase(path) + os.sep
        for name, path in sysconfig.get_paths().items()
        if name in ("stdlib", "platstdlib", "purelib", "platlib")
    }
)
_ZIPPED: Final = not os.path.isabs(sysconfig.get_paths.__code__.co_filename)
"""Whether the standard library's own paths are relative, as in Windows' embeddable package."""
_SITE: Final = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


class Ownership:
    """Tells user code from library code.

    Args:
        include: packages that count as the user's although they are installed like a library.
        exclude: packages that never count as the user's.
    """

    def __init__(self, include: Iterable[str] = (), exclude: Iterable[str] = ()) -> None:
        self._launchers: tuple[str, ...] = ()
        self.add_launchers(_FRONTENDS)
        self.change(include, exclude)

    def change(self, include: Iterable[str], exclude: Iterable[str]) -> None:
        """Tell other packages apart from now on; the arguments are those of the class."""
        self._include = tuple(include)
        self._exclude = tuple(exclude)
        self._rules = object()
        self._internal: dict[str, bool] = {}
        self._library: dict[str, bool] = {}

    def add_launchers(self, *folders: str) -> None:
        """Take the code of these folders for one that starts programs, from now on."""
        self._launchers += folders
        self._launching: dict[str, bool] = {}
        self._rules = object()

    def is_internal(self, frame: Frame) -> bool:
        """Return whether the frame belongs to csptrace or wrapt, and is not shown."""
        known = self._internal.get(frame.filename)
        if known is None:
            path = os.path.normcase(frame.filename)
            known = path.startswith(_WRAPT) or (
                path.startswith(_OWN) and not path.startswith(_EXAMPLES)
            )
            self._internal[frame.filename] = known
        return known

    def is_user(self, frame: Frame) -> bool:
        """Return whether the frame is the user's own code."""
        if self.is_internal(frame) or _within(frame.module, self._exclude):
            return False
        if _within(frame.module, self._include):
            return True
        return not self.is_library(frame.filename)

    def is_library(self, filename: str) -> bool:
        """Return whether a file lies where Python and its packages are installed."""
        known = self._library.get(filename)
        if known is None:
            path = os.path.normcase(filename)
            known = not path.startswith(_EXAMPLES) and (
                path.startswith(("<frozen ", *_LIBRARIES))
                or any(site in path for site in _SITE)
                or (_ZIPPED and _standard(path))
            )
            self._library[filename] = known
        return known

    def is_launcher(self, filename: str) -> bool:
        """Return whether a file's code starts programs: neither it nor what called it is shown."""
        launching = self._launching  # another thread may add launchers meanwhile
        known = launching.get(filename)
        if known is None:
            known = launching[filename] = os.path.normcase(filename).startswith(self._launchers)
        return known

    def resolve(self, stack: Stack | None) -> ResolvedStack | None:
        """Settle what is shown of a stack and whose code that is, once for each stack.

        The tracer's own frames are left out, and so is what started the program (`python -m`).

        Args:
            stack: the stack; `None` where none was captured.
        """
        if stack is None:
            return None
        rules, known = self._rules, stack.resolved
        if known is not None and known[0] is rules:
            return known[1]
        frames = list(stack.frames)
        for index, frame in enumerate(frames):
            if self.is_launcher(frame.filename):
                del frames[index:]  # `csptrace run` or a test runner, and what called it
                break
        while frames and (self.is_internal(frames[-1]) or frames[-1].filename == "<frozen runpy>"):
            frames.pop()  # `python -m`
        shown = tuple(frame for frame in frames if not self.is_internal(frame))
        resolved = ResolvedStack(stack.number, shown, tuple(map(self.is_user, shown)))
        stack.resolved = (rules, resolved)
        return resolved

    def wanted(self, stacks: Iterable[ResolvedStack | None]) -> bool:
        """Return whether a finding with these stacks is to be reported.

        Args:
            stacks: the stacks of the finding.

        Returns:
            False if `include` is given and no frame lies in it, or if every frame of user code
            that there would be is excluded. A finding without any stack is always wanted.
        """
        known = [stack for stack in stacks if stack is not None]
        frames = [frame for stack in known for frame in stack.frames]
        if not frames:
            return True
        if self._include:
            return any(_within(frame.module, self._include) for frame in frames)
        if self._exclude and any(_within(frame.module, self._exclude) for frame in frames):
            return any(own for stack in known for own in stack.own)
        return True


def _standard(path: str) -> bool:
    """Return whether a relative path names a module of the standard library."""
    root = path.replace("\\", "/").partition("/")[0]
    return root.removesuffix(".pyc").removesuffix(".py") in sys.stdlib_module_names


def _within(module: str, packages: tuple[str, ...]) -> bool:
    if "__main__" in packages and module == _main_module():
        return True
    return any(module == package or module.startswith(package + ".") for package in packages)


def _main_module() -> str:
    """Return the name by which frames of the program's own file are known."""
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    return "" if file is None else module_name(file)
