"""libtom/libtommath#519: the context of the random number source is never released.

`s_read_wincsp` acquires a context at first use and keeps it in a static variable. Version 1.1.0
released it when the application ended; the new version did not.
"""

from __future__ import annotations

from ctypes import byref, create_string_buffer
from typing import Any

from wincrypt import CRYPT_VERIFYCONTEXT, HCRYPTPROV, PROV_RSA_AES


def program(advapi32: Any, *, fixed: bool) -> None:
    """Draw random numbers three times, then end."""
    hProv = HCRYPTPROV()  # static

    def s_read_wincsp(size: int) -> bytes:
        if not hProv.value:
            flags = CRYPT_VERIFYCONTEXT
            advapi32.CryptAcquireContextW(byref(hProv), None, None, PROV_RSA_AES, flags)  # acquired
        buffer = create_string_buffer(size)
        advapi32.CryptGenRandom(hProv, size, buffer)
        return buffer.raw

    for size in (8, 16, 32):
        s_read_wincsp(size)
    if fixed:
        advapi32.CryptReleaseContext(hProv, 0)  # at exit
