"""Signs settlement files."""

# ruff: noqa: ANN001, ANN201, ANN204

from ctypes import byref, c_void_p

from payments.provider import CALG_AES_256, CALG_SHA_256, api, check


class Signer:
    """Owns one provider context."""

    def __init__(self, container):
        """Open the container."""
        self.context = c_void_p()
        check(api.CryptAcquireContextW(byref(self.context), container, None, 24, 0))

    def session_key(self, rules):
        """Make the key that a settlement file is encrypted with."""
        key = c_void_p()
        check(api.CryptGenKey(self.context, CALG_AES_256, 0, byref(key)))
        rules.parse()  # raises RuleError: the key has no owner yet
        return key

    def digest(self, payload, key=None):
        """Hash a payload."""
        handle = c_void_p()
        check(api.CryptCreateHash(self.context, CALG_SHA_256, key or 0, 0, byref(handle)))
        check(api.CryptHashData(handle, payload, len(payload), 0))
        return handle

    def close(self):
        """Give the context back."""
        check(api.CryptReleaseContext(self.context, 0))
