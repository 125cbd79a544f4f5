"""curl/curl#19176 (and #22221): when the second hash of an HMAC cannot be begun, the first leaks.

Each hash context has a CryptoAPI context and a hash. `Curl_HMAC_init` returns as soon as one of the
two fails, and nobody ends the other.
"""

from __future__ import annotations

from ctypes import byref
from dataclasses import dataclass, field
from typing import Any

from wincrypt import (
    CALG_SHA_256,
    CALG_UNKNOWN,
    CRYPT_VERIFYCONTEXT,
    HCRYPTHASH,
    HCRYPTPROV,
    PROV_RSA_AES,
)


@dataclass
class HashContext:
    """What the library keeps for one hash."""

    hCryptProv: Any = field(default_factory=HCRYPTPROV)
    hHash: Any = field(default_factory=HCRYPTHASH)


def program(advapi32: Any, *, fixed: bool) -> bool:
    """Begin an HMAC whose second hash is refused."""

    def init(ctx: HashContext, algorithm: int) -> bool:
        out, flags = byref(ctx.hCryptProv), CRYPT_VERIFYCONTEXT
        advapi32.CryptAcquireContextW(out, None, None, PROV_RSA_AES, flags)  # acquired: prov
        out = byref(ctx.hHash)
        if advapi32.CryptCreateHash(ctx.hCryptProv, algorithm, 0, 0, out):  # acquired: hash
            return True
        advapi32.CryptReleaseContext(ctx.hCryptProv, 0)
        return False

    def final(ctx: HashContext) -> None:
        advapi32.CryptDestroyHash(ctx.hHash)
        advapi32.CryptReleaseContext(ctx.hCryptProv, 0)

    inner, outer = HashContext(), HashContext()
    if not init(inner, CALG_SHA_256):
        return False
    if not init(outer, CALG_UNKNOWN):
        if fixed:
            final(inner)
        return False
    final(outer)
    final(inner)
    return True
