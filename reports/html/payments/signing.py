"""Signs settlement files."""

from ctypes import byref, c_void_p

from payments.provider import CALG_AES_256, CALG_HMAC, CALG_SHA_256, api, check, use_sha1
from payments.rules import Rules


class Signer:
    """Owns one provider context."""

    def __init__(self, container: str) -> None:
        """Open the container."""
        self.context = c_void_p()
        check(api.CryptAcquireContextW(byref(self.context), container, None, 24, 0))

    def session_key(self, rules: Rules) -> c_void_p:
        """Make the key that a settlement file is encrypted with."""
        key = c_void_p()
        check(api.CryptGenKey(self.context, CALG_AES_256, 0, byref(key)))
        rules.parse()  # raises RuleError: the key has no owner yet
        return key

    def digest(self, payload: bytes) -> c_void_p:
        """Hash a payload."""
        handle = c_void_p()
        check(api.CryptCreateHash(self.context, CALG_SHA_256, 0, 0, byref(handle)))
        check(api.CryptHashData(handle, payload, len(payload), 0))
        return handle

    def mac(self, payload: bytes, key: c_void_p) -> c_void_p:
        """Begin a message authentication code."""
        handle = c_void_p()
        check(api.CryptCreateHash(self.context, CALG_HMAC, key, 0, byref(handle)))
        use_sha1(handle)
        check(api.CryptHashData(handle, payload, len(payload), 0))
        return handle

    def close(self) -> None:
        """Give the context back."""
        check(api.CryptReleaseContext(self.context, 0))
