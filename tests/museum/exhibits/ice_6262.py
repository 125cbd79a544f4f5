"""zeroc-ice/ice#6262 (fixed by #6617): a failed import leaves the context and its key container.

The error path destroys the key and frees everything else, but never releases the context nor
deletes the key container that it made.
"""

from __future__ import annotations

import uuid
from ctypes import byref
from typing import Any

from wincrypt import (
    CRYPT_DELETEKEYSET,
    CRYPT_NEWKEYSET,
    HCRYPTKEY,
    HCRYPTPROV,
    KEY_BLOB,
    PROV_RSA_AES,
)


def program(advapi32: Any, *, fixed: bool) -> None:
    """Import a certificate that cannot be decoded."""
    hProv, hKey, name = HCRYPTPROV(), HCRYPTKEY(), f"csptrace-museum-{uuid.uuid4()}"

    def decode_certificate() -> None:
        raise ValueError

    try:
        flags = CRYPT_NEWKEYSET
        advapi32.CryptAcquireContextW(byref(hProv), name, None, PROV_RSA_AES, flags)  # acquired
        advapi32.CryptImportKey(hProv, KEY_BLOB, len(KEY_BLOB), 0, 0, byref(hKey))
        decode_certificate()
    except ValueError:
        advapi32.CryptDestroyKey(hKey)
        if fixed:
            advapi32.CryptReleaseContext(hProv, 0)
    # In the original the container stays, too; the museum cleans up after its exhibits.
    advapi32.CryptAcquireContextW(byref(hKey), name, None, PROV_RSA_AES, CRYPT_DELETEKEYSET)
