"""What the system's loader has in memory. Nothing is ever loaded here, only looked up.

On Unix a handle of the loader is held only inside `loaded`: it counts as one more user.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["file_of", "foresee", "loaded", "symbol"]


def foresee() -> None:
    """Import what look-ups need, while modules can be imported; they may come at any time."""
    import ctypes  # noqa: F401, PLC0415 - a program may have no other use for it

    if sys.platform != "win32":
        _dladdr()


def file_of(name: str, exported: str) -> str:
    """Return the real path of a loaded library.

    Args:
        name: what it was loaded by: a path, or a name that the system's loader has searched for.
        exported: a function that the library exports.

    Returns:
        The path of its file, links resolved; `name` itself if the loader does not say.
    """
    if os.path.exists(name):
        return os.path.realpath(name)
    with loaded(name) as handle:
        address = symbol(handle, exported) if handle is not None and exported else 0
        found = _file_at(address) if address else ""
    return os.path.realpath(found) if found else name


if sys.platform == "win32":  # pragma: no cover - no PKCS#11 module for Windows here

    @contextlib.contextmanager
    def loaded(name: str) -> Iterator[int | None]:
        """Yield the loader's handle of a library that is loaded already, `None` if it is not."""
        import ctypes  # noqa: PLC0415 - as above

        find = ctypes.windll.kernel32.GetModuleHandleW
        find.restype = ctypes.c_void_p
        yield find(ctypes.c_wchar_p(name))

    def symbol(handle: int, name: str) -> int:
        """Return the address of what a loaded library exports under a name, 0 if nothing."""
        import ctypes  # noqa: PLC0415 - as above

        find = ctypes.windll.kernel32.GetProcAddress
        find.restype = ctypes.c_void_p
        return find(ctypes.c_void_p(handle), name.encode()) or 0

    def _file_at(_address: int) -> str:
        return ""

else:

    @contextlib.contextmanager
    def loaded(name: str) -> Iterator[int | None]:
        """Yield the loader's handle of a library that is loaded already, `None` if it is not."""
        import _ctypes  # noqa: PLC0415 - as above

        try:
            handle = _ctypes.dlopen(name, os.RTLD_NOLOAD | os.RTLD_NOW)
        except OSError:
            handle = 0
        if not handle:
            yield None
            return
        try:
            yield handle
        finally:
            _ctypes.dlclose(handle)

    def symbol(handle: int, name: str) -> int:
        """Return the address of what a loaded library exports under a name, 0 if nothing."""
        import _ctypes  # noqa: PLC0415 - as above

        try:
            return int(_ctypes.dlsym(handle, name))
        except OSError:
            return 0

    @functools.cache
    def _dladdr() -> Any:
        import ctypes  # noqa: PLC0415 - as above

        return getattr(ctypes.CDLL(None), "dladdr", None)

    def _file_at(address: int) -> str:
        """Return the file that the code at an address was loaded from, empty if unknown."""
        import ctypes  # noqa: PLC0415 - as above

        class Info(ctypes.Structure):
            _fields_ = (
                ("dli_fname", ctypes.c_char_p),
                ("dli_fbase", ctypes.c_void_p),
                ("dli_sname", ctypes.c_char_p),
                ("dli_saddr", ctypes.c_void_p),
            )

        dladdr, info = _dladdr(), Info()
        if dladdr is None or not dladdr(ctypes.c_void_p(address), ctypes.byref(info)):
            return ""
        return os.fsdecode(info.dli_fname or b"")
