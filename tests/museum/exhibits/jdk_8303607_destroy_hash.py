"""JDK-8303607 (openjdk/jdk#12891): a key is freed with the function of another kind of handle.

The original passes a CNG key to CryptReleaseContext, which cannot free it; here it is a CryptoAPI
key that is passed to CryptDestroyHash.
"""

from __future__ import annotations

from ctypes import byref
from typing import Any

from wincrypt import CALG_AES_128, CRYPT_VERIFYCONTEXT, HCRYPTKEY, HCRYPTPROV, PROV_RSA_AES


def program(advapi32: Any, *, fixed: bool) -> None:
    """Generate a key and free it."""
    hProv, hKey, flags = HCRYPTPROV(), HCRYPTKEY(), CRYPT_VERIFYCONTEXT
    advapi32.CryptAcquireContextW(byref(hProv), None, None, PROV_RSA_AES, flags)
    advapi32.CryptGenKey(hProv, CALG_AES_128, 0, byref(hKey))  # acquired
    if fixed:
        advapi32.CryptDestroyKey(hKey)
    else:
        advapi32.CryptDestroyHash(hKey)
    advapi32.CryptReleaseContext(hProv, 0)
