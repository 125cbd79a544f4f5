"""DMTF/libspdm#303, found in review: a refused call returns before the context is released."""

from __future__ import annotations

from ctypes import byref
from typing import Any

from wincrypt import CALG_UNKNOWN, CRYPT_VERIFYCONTEXT, HCRYPTHASH, HCRYPTPROV, PROV_RSA_AES


def program(advapi32: Any, *, fixed: bool) -> bool:
    """Ask for what the provider refuses."""
    hProv, hHash, flags = HCRYPTPROV(), HCRYPTHASH(), CRYPT_VERIFYCONTEXT
    if not advapi32.CryptAcquireContextW(byref(hProv), None, None, PROV_RSA_AES, flags):  # acquired
        return False
    if not advapi32.CryptCreateHash(hProv, CALG_UNKNOWN, 0, 0, byref(hHash)):
        if fixed:
            advapi32.CryptReleaseContext(hProv, 0)
        return False
    advapi32.CryptDestroyHash(hHash)
    advapi32.CryptReleaseContext(hProv, 0)
    return True
