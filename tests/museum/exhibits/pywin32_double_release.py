"""pywin32 (PyCRYPTPROV.cpp, PyCRYPTHASH.cpp): a destructor releases once more what was released.

The program is correct: it releases its context and acquires another one. The destructor of the
first object then releases the number again, which is the second context's by now.
"""

from __future__ import annotations

from typing import Any

from wincrypt import CRYPT_VERIFYCONTEXT, PROV_RSA_AES


def program(win32crypt: Any, *, fixed: bool) -> int:
    """Renew a context twenty times; return how many of the new ones work."""

    def acquire() -> Any:
        return win32crypt.CryptAcquireContext(None, None, PROV_RSA_AES, CRYPT_VERIFYCONTEXT)

    working = 0
    for _ in range(20):
        context = acquire()
        if fixed:  # the workaround: never let go of a released object
            kept.append(context)
        context.CryptReleaseContext()
        context = acquire()
        try:
            context.CryptGenRandom(8)
            working += 1
            context.CryptReleaseContext()
        except Exception as error:
            if getattr(error, "winerror", None) is None:  # not the provider's answer
                raise
        kept.append(context)
    return working


kept: list[Any] = []
