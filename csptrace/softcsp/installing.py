"""`install` and `uninstall`: make ``import win32crypt`` find this provider.

The modules are found through the import system, not put into `sys.modules`, so that import hooks
of other tools see them being imported like any other module.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

MODULES: Final = {
    "win32crypt": "csptrace.softcsp.win32crypt",
    "win32cryptcon": "csptrace.softcsp.win32cryptcon",
    "pywintypes": "csptrace.softcsp.pywintypes",
}
"""Name a program imports → our module, which it gets."""


class _Loader(importlib.abc.Loader):
    """Loads one of our modules under its pywin32 name: the same module object."""

    def __init__(self, name: str, real_name: str) -> None:
        self._name = name
        self._real_name = real_name
        self._real_spec: importlib.machinery.ModuleSpec | None = None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:  # noqa: ARG002
        module = importlib.import_module(self._real_name)
        self._real_spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # Executed already, under our own name; only its labels change. Import hooks know a module
        # by its __name__, which therefore has to be the one that was imported.
        module.__name__ = self._name
        module.__spec__ = self._real_spec


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> importlib.machinery.ModuleSpec | None:
        real_name = MODULES.get(fullname)
        if real_name is None:
            return None
        return importlib.machinery.ModuleSpec(
            fullname, _Loader(fullname, real_name), origin="softcsp"
        )


_finder: Final = _Finder()


def install() -> None:
    """Make ``win32crypt``, ``win32cryptcon`` and ``pywintypes`` importable; harmless if repeated.

    Raises:
        ImportError: one of them exists already, so that a real pywin32 would be shadowed; nothing
            was changed.

    """
    if _finder in sys.meta_path:
        return
    for name in MODULES:
        if _exists(name):
            message = (
                f"softcsp: a module {name!r} is installed already (pywin32?); refusing to shadow "
                "it. Use csptrace.softcsp.win32crypt directly."
            )
            raise ImportError(message, name=name)
    sys.meta_path.append(_finder)
    importlib.invalidate_caches()


def uninstall() -> None:
    """Undo `install`: later imports do not find the modules any more; harmless if repeated."""
    if _finder in sys.meta_path:
        sys.meta_path.remove(_finder)
    for name, real_name in MODULES.items():
        module = sys.modules.get(name)
        if module is not None and module is sys.modules.get(real_name):
            del sys.modules[name]
            module.__name__ = real_name


def _exists(name: str) -> bool:
    if name in sys.modules:
        return True
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False
