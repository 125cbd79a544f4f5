"""The provider that the program uses: a software CSP, so that it runs anywhere."""

from ctypes import Structure, byref, c_char_p, c_uint32

from csptrace.softcsp import advapi32 as api

CALG_AES_256, CALG_SHA_256, CALG_SHA1, CALG_HMAC = 0x6610, 0x800C, 0x8004, 0x8009
CRYPT_NEWKEYSET, HP_HMAC_INFO = 8, 5


class ProviderError(Exception):
    """A call of the provider failed."""


class HMAC_INFO(Structure):  # noqa: N801 - as in wincrypt.h
    """Which hash a message authentication code is made with."""

    _fields_ = (
        ("HashAlgid", c_uint32),
        ("pbInnerString", c_char_p),
        ("cbInnerString", c_uint32),
        ("pbOuterString", c_char_p),
        ("cbOuterString", c_uint32),
    )


def check(succeeded: int) -> None:
    """Raise if a call failed."""
    if not succeeded:
        raise ProviderError(f"{api.GetLastError() & 0xFFFFFFFF:#x}")


def use_sha1(mac: object) -> None:
    """Make a message authentication code with SHA-1."""
    check(api.CryptSetHashParam(mac, HP_HMAC_INFO, byref(HMAC_INFO(HashAlgid=CALG_SHA1)), 0))
