"""zlib-ng/minizip-ng#368, second bug: the handle in the target of a copy is overwritten.

`mz_crypt_hmac_copy` did not destroy the hash that its target held already. Found by Application
Verifier.
"""

from __future__ import annotations

from ctypes import byref
from typing import Any

from wincrypt import CALG_SHA1, CRYPT_VERIFYCONTEXT, HCRYPTHASH, HCRYPTPROV, PROV_RSA_AES


def program(advapi32: Any, *, fixed: bool) -> None:
    """Hash two blocks, each beginning with a copy of the same state."""
    hProv, source, target = HCRYPTPROV(), HCRYPTHASH(), HCRYPTHASH()

    def hmac_copy() -> None:
        if fixed and target.value:
            advapi32.CryptDestroyHash(target)
        advapi32.CryptDuplicateHash(source, None, 0, byref(target))  # acquired

    flags = CRYPT_VERIFYCONTEXT
    advapi32.CryptAcquireContextW(byref(hProv), None, None, PROV_RSA_AES, flags)
    advapi32.CryptCreateHash(hProv, CALG_SHA1, 0, 0, byref(source))
    for block in (b"one", b"two"):
        hmac_copy()
        advapi32.CryptHashData(target, block, len(block), 0)
    advapi32.CryptDestroyHash(target)
    advapi32.CryptDestroyHash(source)
    advapi32.CryptReleaseContext(hProv, 0)
