"""AzureAD/azure-activedirectory-identitymodel-extensions-for-dotnet#1578: a stale cache entry.

"Safe handle has been closed": the signature provider stays in a cache when the key it signs with is
disposed, so that every second token fails, in CryptCreateHash.
"""

from __future__ import annotations

from ctypes import byref
from typing import Any

from wincrypt import CALG_SHA_256, CRYPT_VERIFYCONTEXT, HCRYPTHASH, HCRYPTPROV, PROV_RSA_AES


def program(advapi32: Any, *, fixed: bool) -> None:
    """Create two tokens, disposing of the key after each."""
    cache: dict[str, Any] = {}

    def signer() -> Any:
        if "signer" not in cache:
            hProv, flags = HCRYPTPROV(), CRYPT_VERIFYCONTEXT
            advapi32.CryptAcquireContextW(byref(hProv), None, None, PROV_RSA_AES, flags)  # acquired
            cache["signer"] = hProv
        return cache["signer"]

    def create_token() -> None:
        hHash, hProv = HCRYPTHASH(), signer()
        if advapi32.CryptCreateHash(hProv, CALG_SHA_256, 0, 0, byref(hHash)):
            advapi32.CryptDestroyHash(hHash)

    create_token()
    advapi32.CryptReleaseContext(signer(), 0)  # dispose
    if fixed:
        del cache["signer"]
    create_token()
    if fixed:
        advapi32.CryptReleaseContext(signer(), 0)
