"""VirusTotal/yara#1703: a hash that is begun and not finished is never destroyed.

Only `yr_md5_final` destroys the hash that `yr_md5_init` creates, and a function that returns in
between, as one that hashes a range of memory does when it meets a gap, never calls it. The context
is one for the whole library.
"""

from __future__ import annotations

from ctypes import byref, create_string_buffer
from typing import Any

from wincrypt import (
    CALG_SHA1,
    CRYPT_VERIFYCONTEXT,
    DWORD,
    HCRYPTHASH,
    HCRYPTPROV,
    HP_HASHVAL,
    PROV_RSA_AES,
)


def program(advapi32: Any, *, fixed: bool) -> list[bytes | None]:
    """Hash a range with a gap and one without, then shut the library down."""
    hProv, flags = HCRYPTPROV(), CRYPT_VERIFYCONTEXT

    def data_hash(blocks: list[bytes | None]) -> bytes | None:
        hHash, digest, size = HCRYPTHASH(), create_string_buffer(20), DWORD(20)
        advapi32.CryptCreateHash(hProv, CALG_SHA1, 0, 0, byref(hHash))  # acquired
        for block in blocks:
            if block is None:
                if fixed:
                    advapi32.CryptDestroyHash(hHash)
                return None
            advapi32.CryptHashData(hHash, block, len(block), 0)
        advapi32.CryptGetHashParam(hHash, HP_HASHVAL, digest, byref(size), 0)
        advapi32.CryptDestroyHash(hHash)
        return digest.raw

    advapi32.CryptAcquireContextW(byref(hProv), None, None, PROV_RSA_AES, flags)
    digests = [data_hash([b"one", None, b"two"]), data_hash([b"one", b"two"])]
    advapi32.CryptReleaseContext(hProv, 0)
    return digests
