"""dotnet/corefx#6210 (and #6211, #6366): a key is freed after the provider it was made with.

Both handles are left to their finalisers, which run in any order; freeing the key fails then. The
fix makes the key's handle hold its provider's.
"""

from __future__ import annotations

from ctypes import byref
from typing import Any

from wincrypt import CALG_AES_128, CRYPT_VERIFYCONTEXT, HCRYPTKEY, HCRYPTPROV, PROV_RSA_AES


class SafeProvHandle:
    """Releases a context when its last holder lets go of it."""

    def __init__(self, advapi32: Any) -> None:
        """Acquire a context."""
        self.advapi32, self.handle, self.holders = advapi32, HCRYPTPROV(), 1
        out, flags = byref(self.handle), CRYPT_VERIFYCONTEXT
        advapi32.CryptAcquireContextW(out, None, None, PROV_RSA_AES, flags)

    def release(self) -> None:
        """Let go of the context."""
        self.holders -= 1
        if not self.holders:
            self.advapi32.CryptReleaseContext(self.handle, 0)


class SafeKeyHandle:
    """Destroys a key."""

    def __init__(self, provider: SafeProvHandle, *, holds: bool) -> None:
        """Generate a key."""
        self.provider, self.holds, self.handle = provider, holds, HCRYPTKEY()
        provider.holders += holds
        advapi32, hProv, out = provider.advapi32, provider.handle, byref(self.handle)
        advapi32.CryptGenKey(hProv, CALG_AES_128, 0, out)  # acquired

    def release(self) -> None:
        """Destroy the key."""
        self.provider.advapi32.CryptDestroyKey(self.handle)
        if self.holds:
            self.provider.release()


def program(advapi32: Any, *, fixed: bool) -> None:
    """Make a provider and a key; the finaliser of the provider runs first."""
    provider = SafeProvHandle(advapi32)
    key = SafeKeyHandle(provider, holds=fixed)
    provider.release()
    key.release()
