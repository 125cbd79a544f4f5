"""lsh123/xmlsec#1195: the clean-up releases the context only if there is none.

In `xmlSecMSCryptoKeyDataRsaRead` the check before the release is the wrong way round, so that the
context leaks when the import of a malformed key fails.
"""

from __future__ import annotations

from ctypes import byref
from typing import Any

from wincrypt import CRYPT_VERIFYCONTEXT, HCRYPTKEY, HCRYPTPROV, MALFORMED_BLOB, PROV_RSA_AES


def program(advapi32: Any, *, fixed: bool) -> bool:
    """Read a key value that is malformed."""
    hProv, hKey, flags, blob = HCRYPTPROV(), HCRYPTKEY(), CRYPT_VERIFYCONTEXT, MALFORMED_BLOB
    try:
        advapi32.CryptAcquireContextW(byref(hProv), None, None, PROV_RSA_AES, flags)  # acquired
        return bool(advapi32.CryptImportKey(hProv, blob, len(blob), 0, 0, byref(hKey)))
    finally:  # done:
        if hKey.value:
            advapi32.CryptDestroyKey(hKey)
        if (hProv.value != 0) if fixed else (hProv.value == 0):
            advapi32.CryptReleaseContext(hProv, 0)
