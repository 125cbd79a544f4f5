"""dotnet/corefx#2229: the handle classes have a release method that does nothing."""

from __future__ import annotations

from ctypes import byref
from typing import Any

from wincrypt import (
    CALG_AES_128,
    CALG_SHA1,
    CRYPT_VERIFYCONTEXT,
    HCRYPTHASH,
    HCRYPTKEY,
    HCRYPTPROV,
    PROV_RSA_AES,
)


def program(advapi32: Any, *, fixed: bool) -> None:
    """Use one handle of each sort, and dispose of it."""
    hProv, hKey, hHash, flags = HCRYPTPROV(), HCRYPTKEY(), HCRYPTHASH(), CRYPT_VERIFYCONTEXT

    def release_handle(function: str, *arguments: Any) -> None:
        if fixed:
            getattr(advapi32, function)(*arguments)

    advapi32.CryptAcquireContextW(byref(hProv), None, None, PROV_RSA_AES, flags)  # acquired: prov
    advapi32.CryptGenKey(hProv, CALG_AES_128, 0, byref(hKey))  # acquired: key
    advapi32.CryptCreateHash(hProv, CALG_SHA1, 0, 0, byref(hHash))  # acquired: hash
    release_handle("CryptDestroyHash", hHash)
    release_handle("CryptDestroyKey", hKey)
    release_handle("CryptReleaseContext", hProv, 0)
