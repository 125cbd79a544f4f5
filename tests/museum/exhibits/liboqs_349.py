"""open-quantum-safe/liboqs#349: every call acquires a context and returns without releasing it."""

from __future__ import annotations

from ctypes import byref, create_string_buffer
from typing import Any

from wincrypt import CRYPT_VERIFYCONTEXT, HCRYPTPROV, PROV_RSA_AES


def program(advapi32: Any, *, fixed: bool) -> None:
    """Draw random bytes twice."""

    def randombytes_system(size: int) -> bytes:
        hProv, buffer, flags = HCRYPTPROV(), create_string_buffer(size), CRYPT_VERIFYCONTEXT
        advapi32.CryptAcquireContextW(byref(hProv), None, None, PROV_RSA_AES, flags)  # acquired
        advapi32.CryptGenRandom(hProv, size, buffer)
        if fixed:
            advapi32.CryptReleaseContext(hProv, 0)
        return buffer.raw

    randombytes_system(16)
    randombytes_system(16)
