"""pywin32 (PyCRYPTKEY.cpp): the destructor of a key lets go of the provider before the key.

If the key holds the last reference, the context is released first, and the key is never freed. The
program only forgot to release; the wrong order is the library's, and is not reported as the
program's.
"""

from __future__ import annotations

from typing import Any

from wincrypt import CALG_AES_128, CRYPT_VERIFYCONTEXT, PROV_RSA_AES


def program(win32crypt: Any, *, fixed: bool) -> None:
    """Generate a key and forget it."""
    flags = CRYPT_VERIFYCONTEXT
    provider = win32crypt.CryptAcquireContext(None, None, PROV_RSA_AES, flags)  # acquired: prov
    key = provider.CryptGenKey(CALG_AES_128, 0)  # acquired: key
    if fixed:
        key.CryptDestroyKey()
        provider.CryptReleaseContext()
    del provider
    del key
