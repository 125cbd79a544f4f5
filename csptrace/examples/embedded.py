"""The embedded software CSP, as the examples reach it."""

from __future__ import annotations

from typing import Any

from csptrace.errors import MissingExtraError

__all__ = ["leak_a_key", "library"]


def library() -> Any:
    """Return the software CSP's ctypes face.

    Raises:
        MissingExtraError: the `cryptography` package is not installed.
    """
    try:
        from csptrace.softcsp import advapi32  # noqa: PLC0415 - an extra, only needed here
    except ImportError as error:
        raise MissingExtraError(
            f"the software CSP needs a package that is not installed ({error.name}); "
            "install it with: pip install 'csptrace[softcsp]'"
        ) from error
    return advapi32


def leak_a_key() -> bool:
    """Leak a key on purpose.

    Returns:
        Whether the software CSP has made all calls.

    Raises:
        MissingExtraError: as above.
    """
    import ctypes  # noqa: PLC0415 - a program that is traced may have no other use for it

    advapi32 = library()
    hProv, hKey = ctypes.c_void_p(), ctypes.c_void_p()
    return bool(
        advapi32.CryptAcquireContextW(ctypes.byref(hProv), None, None, 24, 0xF0000000)
        and advapi32.CryptGenKey(hProv, 0x660E, 1, ctypes.byref(hKey))
        and advapi32.CryptReleaseContext(hProv, 0)
    )
