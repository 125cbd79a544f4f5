"""pywin32 (PyCRYPTHASH.cpp): a hash does not keep its provider alive.

The provider of a chained call is collected at once, and its destructor releases the context: the
hash is dead before its first use. A key object would have kept it.
"""

from __future__ import annotations

from typing import Any

from wincrypt import CALG_SHA1, CRYPT_VERIFYCONTEXT, PROV_RSA_AES


def program(win32crypt: Any, *, fixed: bool) -> str:
    """Hash something with a hash made in one chained call; return how it ended."""
    flags = CRYPT_VERIFYCONTEXT
    if fixed:
        provider = win32crypt.CryptAcquireContext(None, None, PROV_RSA_AES, flags)
        hashed = provider.CryptCreateHash(CALG_SHA1, None)
        hashed.CryptHashData(b"data")
        hashed.CryptDestroyHash()
        provider.CryptReleaseContext()
        return "hashed"
    provider = win32crypt.CryptAcquireContext(None, None, PROV_RSA_AES, flags)  # acquired: prov
    hashed = provider.CryptCreateHash(CALG_SHA1, None)  # acquired: hash
    del provider
    try:
        hashed.CryptHashData(b"data")
    except Exception as error:
        if getattr(error, "winerror", None) is None:  # not the provider's answer
            raise
        return str(error)
    return "hashed"
