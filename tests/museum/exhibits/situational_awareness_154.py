"""trustedsec/CS-Situational-Awareness-BOF#154: a child is used after the release of its context.

Only the class of this bug is re-enacted: a tidy-up that releases the context too early, and a last
use of a key behind it.
"""

from __future__ import annotations

from ctypes import byref
from typing import Any

from wincrypt import (
    CALG_AES_128,
    CRYPT_VERIFYCONTEXT,
    DWORD,
    HCRYPTKEY,
    HCRYPTPROV,
    KP_KEYLEN,
    PROV_RSA_AES,
)


def program(advapi32: Any, *, fixed: bool) -> None:
    """Print the properties of a key."""
    hProv, hKey, flags = HCRYPTPROV(), HCRYPTKEY(), CRYPT_VERIFYCONTEXT
    bits, size = DWORD(), DWORD(4)
    advapi32.CryptAcquireContextW(byref(hProv), None, None, PROV_RSA_AES, flags)
    advapi32.CryptGenKey(hProv, CALG_AES_128, 0, byref(hKey))  # acquired
    if not fixed:
        advapi32.CryptReleaseContext(hProv, 0)
    advapi32.CryptGetKeyParam(hKey, KP_KEYLEN, byref(bits), byref(size), 0)
    if fixed:
        advapi32.CryptDestroyKey(hKey)
        advapi32.CryptReleaseContext(hProv, 0)
