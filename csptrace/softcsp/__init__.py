"""A software CSP: Microsoft CryptoAPI's provider functions on any operating system.

For developing and testing programs that talk to CryptoAPI, on machines that have none. The answers
are those of the real thing, error codes included, and the cryptography is real (it comes from the
`cryptography` package); but keys are ordinary memory and ordinary files, so it protects nothing.

``advapi32``
    a `ctypes` library object whose attributes are true C function pointers.
``win32crypt``
    a module with the shape of pywin32's.
``install()``, ``uninstall()``
    make ``import win32crypt`` find it where there is no pywin32.
``inject_fault(...)``
    make a chosen function fail, to reach a program's error paths.

Environment: ``SOFTCSP_HOME`` (directory of the key containers), ``SOFTCSP_ERRORS`` (``windows`` or
``documented``), ``SOFTCSP_NEVER_REUSE`` (``1``: give out no handle value twice),
``SOFTCSP_FAULTS`` (faults to inject). A bad value is a ValueError at first use.

Importing this package costs nothing: everything is loaded at first use.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import types

    from csptrace.softcsp.errors import CspError
    from csptrace.softcsp.faults import Fault
    from csptrace.softcsp.faults import inject as inject_fault
    from csptrace.softcsp.installing import install, uninstall
    from csptrace.softcsp.library import SoftLibrary

    advapi32: SoftLibrary
    win32crypt: types.ModuleType

__all__ = [
    "CspError",
    "Fault",
    "advapi32",
    "inject_fault",
    "install",
    "never_reuse_handles",
    "uninstall",
    "win32crypt",
]

_HOMES = {
    "CspError": ("errors", "CspError"),
    "Fault": ("faults", "Fault"),
    "advapi32": ("library", "advapi32"),
    "inject_fault": ("faults", "inject"),
    "install": ("installing", "install"),
    "uninstall": ("installing", "uninstall"),
    "win32crypt": ("win32crypt", None),
}


def __getattr__(name: str) -> Any:
    """Load a public name at first use.

    Raises:
        AttributeError: there is no such name.
        ImportError: the `cryptography` package is missing; the message says how to get it.
        ValueError: an environment variable has a value that is not allowed.

    """
    home = _HOMES.get(name)
    if home is None:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    module_name, attribute = home
    if module_name in ("library", "win32crypt"):
        _prepare()
    module = importlib.import_module(f"{__name__}.{module_name}")
    value = module if attribute is None else getattr(module, attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted(__all__)


def _prepare() -> None:
    """Find out now, not inside a callback, whether the provider can work."""
    if importlib.util.find_spec("cryptography") is None:
        message = "softcsp needs the cryptography package: pip install csptrace[softcsp]"
        raise ImportError(message, name="cryptography")
    from csptrace.softcsp.provider import engine  # noqa: PLC0415

    engine()


def never_reuse_handles(enabled: bool = True) -> None:
    """Give out no handle value twice from now on, so that no stale handle is taken for a live one.

    Args:
        enabled: False goes back to recycling values at once, as real providers do.

    """
    from csptrace.softcsp.provider import engine  # noqa: PLC0415

    engine().table.never_reuse = enabled
