"""tbuktu/libntru#15: the second return of the initialiser leaves the context behind."""

from __future__ import annotations

from ctypes import byref, create_string_buffer
from typing import Any

from wincrypt import CRYPT_VERIFYCONTEXT, HCRYPTPROV, PROV_RSA_AES

MOST = 64


def program(advapi32: Any, *, fixed: bool) -> list[bool]:
    """Initialise the generator once in vain and once with success."""

    def rand_wincrypt_init(size: int) -> bool:
        hProv, flags = HCRYPTPROV(), CRYPT_VERIFYCONTEXT
        out = byref(hProv)
        if not advapi32.CryptAcquireContextW(out, None, None, PROV_RSA_AES, flags):  # acquired
            return False
        if size > MOST:
            if fixed:
                advapi32.CryptReleaseContext(hProv, 0)
            return False
        buffer = create_string_buffer(size)
        done = advapi32.CryptGenRandom(hProv, size, buffer)
        advapi32.CryptReleaseContext(hProv, 0)
        return bool(done)

    return [rand_wincrypt_init(MOST + 1), rand_wincrypt_init(MOST)]
