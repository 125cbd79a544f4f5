"""lsh123/xmlsec#1183: a key is adopted, and the error path frees it once more.

The handle is handed to the key data; when the step after that fails, the clean-up destroys the key
data, and with it the handle, and then the handle itself. The original uses CNG; this is the same
program with CryptoAPI's functions.
"""

from __future__ import annotations

from ctypes import byref
from typing import Any

from wincrypt import CRYPT_VERIFYCONTEXT, HCRYPTKEY, HCRYPTPROV, KEY_BLOB, PROV_RSA_AES


def program(advapi32: Any, *, fixed: bool) -> None:
    """Read a key whose last parameter is refused."""
    hProv, hKey, flags = HCRYPTPROV(), HCRYPTKEY(), CRYPT_VERIFYCONTEXT
    data: dict[str, int] = {}

    def adopt_key(key: int) -> None:
        data["key"] = key

    def set_q() -> bool:
        return False

    advapi32.CryptAcquireContextW(byref(hProv), None, None, PROV_RSA_AES, flags)
    advapi32.CryptImportKey(hProv, KEY_BLOB, len(KEY_BLOB), 0, 0, byref(hKey))  # acquired
    adopt_key(hKey.value)
    if fixed:
        hKey.value = 0  # it belongs to the key data now
    if not set_q():
        advapi32.CryptDestroyKey(HCRYPTKEY(data["key"]))
        if hKey.value:
            advapi32.CryptDestroyKey(hKey)
    advapi32.CryptReleaseContext(hProv, 0)
