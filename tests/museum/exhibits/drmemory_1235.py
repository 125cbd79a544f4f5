"""DynamoRIO/drmemory#1235 (and #475): reports under CryptAcquireContext about correct programs.

There is no bug in this one: the twins do the same, and neither may be reported.
"""

from __future__ import annotations

from ctypes import byref, create_string_buffer
from typing import Any

from wincrypt import CRYPT_VERIFYCONTEXT, HCRYPTPROV, PROV_RSA_AES


def program(advapi32: Any, *, fixed: bool) -> None:
    """Draw random numbers, correctly; again and again, or with one context."""
    buffer, flags = create_string_buffer(16), CRYPT_VERIFYCONTEXT
    for _ in range(1 if fixed else 20):
        hProv = HCRYPTPROV()
        advapi32.CryptAcquireContextW(byref(hProv), None, None, PROV_RSA_AES, flags)
        advapi32.CryptGenRandom(hProv, 16, buffer)
        advapi32.CryptReleaseContext(hProv, 0)
