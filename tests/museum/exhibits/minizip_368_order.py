"""zlib-ng/minizip-ng#368, first bug: a hash is destroyed after its context was released.

`mz_crypt_pbkdf2` has three HMACs. Two have a context of their own; the third is a copy of the
second and shares its context. They are deleted in the order one, two, three. Found by Application
Verifier.
"""

from __future__ import annotations

from ctypes import byref
from dataclasses import dataclass, field
from typing import Any

from wincrypt import (
    CALG_MAC,
    CRYPT_VERIFYCONTEXT,
    HCRYPTHASH,
    HCRYPTKEY,
    HCRYPTPROV,
    KEY_BLOB,
    PROV_RSA_AES,
)


@dataclass
class Hmac:
    """What the library keeps for one HMAC."""

    provider: Any = field(default_factory=HCRYPTPROV)
    key: Any = field(default_factory=HCRYPTKEY)
    hash: Any = field(default_factory=HCRYPTHASH)


def program(advapi32: Any, *, fixed: bool) -> None:
    """Derive a key."""

    def hmac_init(hmac: Hmac) -> None:
        flags, out = CRYPT_VERIFYCONTEXT, byref(hmac.key)
        advapi32.CryptAcquireContextW(byref(hmac.provider), None, None, PROV_RSA_AES, flags)
        advapi32.CryptImportKey(hmac.provider, KEY_BLOB, len(KEY_BLOB), 0, 0, out)
        advapi32.CryptCreateHash(hmac.provider, CALG_MAC, hmac.key, 0, byref(hmac.hash))

    def hmac_copy(source: Hmac, target: Hmac) -> None:
        advapi32.CryptDuplicateHash(source.hash, None, 0, byref(target.hash))  # acquired

    def hmac_delete(hmac: Hmac) -> None:
        if hmac.hash.value:
            advapi32.CryptDestroyHash(hmac.hash)
        if hmac.key.value:
            advapi32.CryptDestroyKey(hmac.key)
        if hmac.provider.value:
            advapi32.CryptReleaseContext(hmac.provider, 0)

    hmac1, hmac2, hmac3 = Hmac(), Hmac(), Hmac()
    hmac_init(hmac1)
    hmac_init(hmac2)
    hmac_copy(hmac2, hmac3)
    for hmac in (hmac3, hmac1, hmac2) if fixed else (hmac1, hmac2, hmac3):
        hmac_delete(hmac)
