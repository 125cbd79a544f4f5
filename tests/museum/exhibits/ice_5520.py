"""zeroc-ice/ice#5520: each connection adds a reference that nobody takes back.

The original duplicates a CERT_CONTEXT for each connection and discards the result; this is the same
program with the reference count of a CryptoAPI context.
"""

from __future__ import annotations

from ctypes import byref
from typing import Any

from wincrypt import CRYPT_VERIFYCONTEXT, HCRYPTPROV, PROV_RSA_AES


def program(advapi32: Any, *, fixed: bool) -> None:
    """Serve two connections, then close the engine."""
    hProv, flags = HCRYPTPROV(), CRYPT_VERIFYCONTEXT
    advapi32.CryptAcquireContextW(byref(hProv), None, None, PROV_RSA_AES, flags)  # acquired
    for _connection in range(2):
        advapi32.CryptContextAddRef(hProv, None, 0)
        if fixed:
            advapi32.CryptReleaseContext(hProv, 0)
    advapi32.CryptReleaseContext(hProv, 0)
