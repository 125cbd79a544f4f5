"""mhammond/pywin32#2636 in CryptoAPI's terms: an object is released by the program twice.

The original frees a certificate context that a store function has freed already; here a key object
is destroyed by a clean-up that does not know that it was destroyed before.
"""

from __future__ import annotations

from typing import Any

from wincrypt import CALG_AES_128, CRYPT_VERIFYCONTEXT, PROV_RSA_AES


def program(win32crypt: Any, *, fixed: bool) -> None:
    """Destroy a key, and once more in the clean-up."""
    provider = win32crypt.CryptAcquireContext(None, None, PROV_RSA_AES, CRYPT_VERIFYCONTEXT)
    key = provider.CryptGenKey(CALG_AES_128, 0)  # acquired
    key.CryptDestroyKey()
    if not fixed:
        try:
            key.CryptDestroyKey()
        except Exception as error:
            if getattr(error, "winerror", None) is None:  # not the provider's answer
                raise
    provider.CryptReleaseContext()
