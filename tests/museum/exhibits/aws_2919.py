"""aws/aws-sdk-cpp#2919: the hash of a calculation is overwritten by the next one.

A hash object is made anew for each calculation, and only the last one is destroyed with its owner.
The original uses CNG; this is the same program with CryptoAPI's functions.
"""

from __future__ import annotations

from ctypes import byref
from typing import Any

from wincrypt import CALG_SHA_256, CRYPT_VERIFYCONTEXT, HCRYPTHASH, HCRYPTPROV, PROV_RSA_AES


def program(advapi32: Any, *, fixed: bool) -> None:
    """Sign three requests with one hash implementation."""
    hProv, hHash, flags = HCRYPTPROV(), HCRYPTHASH(), CRYPT_VERIFYCONTEXT

    def calculate(text: bytes) -> None:
        if fixed and hHash.value:
            advapi32.CryptDestroyHash(hHash)
        advapi32.CryptCreateHash(hProv, CALG_SHA_256, 0, 0, byref(hHash))  # acquired
        advapi32.CryptHashData(hHash, text, len(text), 0)

    advapi32.CryptAcquireContextW(byref(hProv), None, None, PROV_RSA_AES, flags)
    for request in (b"GET", b"PUT", b"DELETE"):
        calculate(request)
    advapi32.CryptDestroyHash(hHash)
    advapi32.CryptReleaseContext(hProv, 0)
