"""Which algorithms each provider offers, and the key lengths it takes: data only.

The names, numbers and key lengths are what the providers' PP_ENUMALGS and PP_ENUMALGS_EX
enumerate, see
https://learn.microsoft.com/windows/win32/seccrypto/microsoft-cryptographic-service-providers

One deliberate difference: RSA pairs are 2048 bits long where no length is asked for (as Windows
does since 2012), and every provider takes them from 384 to 16384 bits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from csptrace.softcsp.constants import (
    AT_KEYEXCHANGE,
    AT_SIGNATURE,
    CALG_3DES,
    CALG_3DES_112,
    CALG_AES_128,
    CALG_AES_192,
    CALG_AES_256,
    CALG_DES,
    CALG_HMAC,
    CALG_MAC,
    CALG_MD2,
    CALG_MD4,
    CALG_MD5,
    CALG_RC2,
    CALG_RC4,
    CALG_RSA_KEYX,
    CALG_RSA_SIGN,
    CALG_SHA,
    CALG_SHA_256,
    CALG_SHA_384,
    CALG_SHA_512,
    CALG_SSL3_SHAMD5,
    CRYPT_FLAG_IPSEC,
    CRYPT_FLAG_PCT1,
    CRYPT_FLAG_SIGNING,
    CRYPT_FLAG_SSL2,
    CRYPT_FLAG_SSL3,
    CRYPT_FLAG_TLS1,
    MS_DEF_PROV,
    MS_DEF_RSA_SCHANNEL_PROV,
    MS_ENH_RSA_AES_PROV,
    MS_ENH_RSA_AES_PROV_XP,
    MS_ENHANCED_PROV,
    MS_STRONG_PROV,
    PROV_RSA_AES,
    PROV_RSA_FULL,
    PROV_RSA_SCHANNEL,
)


@dataclass(frozen=True)
class Algorithm:
    """One line of PP_ENUMALGS_EX. Lengths are in bits; for a hash, of its value."""

    algid: int
    default: int
    smallest: int
    largest: int
    name: str
    long_name: str
    protocols: int = 0


_SIGNING: Final = CRYPT_FLAG_SIGNING | CRYPT_FLAG_IPSEC
_CHANNEL: Final = CRYPT_FLAG_PCT1 | CRYPT_FLAG_SSL2 | CRYPT_FLAG_SSL3 | CRYPT_FLAG_TLS1

_RC2_WEAK: Final = Algorithm(CALG_RC2, 40, 40, 56, "RC2", "RSA Data Security's RC2")
_RC4_WEAK: Final = Algorithm(CALG_RC4, 40, 40, 56, "RC4", "RSA Data Security's RC4")
_RC2: Final = Algorithm(CALG_RC2, 128, 40, 128, "RC2", "RSA Data Security's RC2")
_RC4: Final = Algorithm(CALG_RC4, 128, 40, 128, "RC4", "RSA Data Security's RC4")
_DES: Final = Algorithm(CALG_DES, 56, 56, 56, "DES", "Data Encryption Standard (DES)")
_3DES_112: Final = Algorithm(CALG_3DES_112, 112, 112, 112, "3DES TWO KEY", "Two Key Triple DES")
_3DES: Final = Algorithm(CALG_3DES, 168, 168, 168, "3DES", "Three Key Triple DES")
_AES: Final = (
    Algorithm(CALG_AES_128, 128, 128, 128, "AES-128", "Advanced Encryption Standard (AES-128)"),
    Algorithm(CALG_AES_192, 192, 192, 192, "AES-192", "Advanced Encryption Standard (AES-192)"),
    Algorithm(CALG_AES_256, 256, 256, 256, "AES-256", "Advanced Encryption Standard (AES-256)"),
)
_SHA: Final = Algorithm(
    CALG_SHA, 160, 160, 160, "SHA-1", "Secure Hash Algorithm (SHA-1)", CRYPT_FLAG_SIGNING
)
_SHA2: Final = (
    Algorithm(
        CALG_SHA_256,
        256,
        256,
        256,
        "SHA-256",
        "Secure Hash Algorithm (SHA-256)",
        CRYPT_FLAG_SIGNING,
    ),
    Algorithm(
        CALG_SHA_384,
        384,
        384,
        384,
        "SHA-384",
        "Secure Hash Algorithm (SHA-384)",
        CRYPT_FLAG_SIGNING,
    ),
    Algorithm(
        CALG_SHA_512,
        512,
        512,
        512,
        "SHA-512",
        "Secure Hash Algorithm (SHA-512)",
        CRYPT_FLAG_SIGNING,
    ),
)
_MD2: Final = Algorithm(
    CALG_MD2, 128, 128, 128, "MD2", "Message Digest 2 (MD2)", CRYPT_FLAG_SIGNING
)
_MD4: Final = Algorithm(
    CALG_MD4, 128, 128, 128, "MD4", "Message Digest 4 (MD4)", CRYPT_FLAG_SIGNING
)
_MD5: Final = Algorithm(
    CALG_MD5, 128, 128, 128, "MD5", "Message Digest 5 (MD5)", CRYPT_FLAG_SIGNING
)
_SHAMD5: Final = Algorithm(CALG_SSL3_SHAMD5, 288, 288, 288, "SSL3 SHAMD5", "SSL3 SHAMD5")
_MAC: Final = Algorithm(CALG_MAC, 0, 0, 0, "MAC", "Message Authentication Code")
_HMAC: Final = Algorithm(CALG_HMAC, 0, 0, 0, "HMAC", "Hugo's MAC (HMAC)")
_RSA: Final = (
    Algorithm(CALG_RSA_SIGN, 2048, 384, 16384, "RSA_SIGN", "RSA Signature", _SIGNING),
    Algorithm(CALG_RSA_KEYX, 2048, 384, 16384, "RSA_KEYX", "RSA Key Exchange", _SIGNING),
)


def _for_channel(a: Algorithm) -> Algorithm:
    """Give an algorithm with the protocols that the schannel-type provider says it serves."""
    return replace(a, protocols=a.protocols & ~CRYPT_FLAG_IPSEC | _CHANNEL)


_CLASSIC_HASHES: Final = (_SHA, _MD2, _MD4, _MD5, _SHAMD5, _MAC)
_CLASSIC_CIPHERS: Final = (_RC2, _RC4, _DES, _3DES_112, _3DES)

BASE: Final = (_RC2_WEAK, _RC4_WEAK, _DES, *_CLASSIC_HASHES, *_RSA, _HMAC)
STRONG: Final = (*_CLASSIC_CIPHERS, *_CLASSIC_HASHES, *_RSA, _HMAC)
AES: Final = (*_CLASSIC_CIPHERS, *_AES, _SHA, *_SHA2, *_CLASSIC_HASHES[1:], *_RSA, _HMAC)
SCHANNEL: Final = (
    *(_for_channel(cipher) for cipher in _CLASSIC_CIPHERS),
    _for_channel(_SHA),
    _for_channel(_MD5),
    _SHAMD5,
    _MAC,
    *(_for_channel(pair) for pair in _RSA),
    _HMAC,
)


@dataclass(frozen=True)
class ProviderType:
    """One type of provider: its number, its name, and the provider a program gets by default."""

    number: int
    name: str
    default: str


@dataclass(frozen=True)
class ProviderEntry:
    """One installed provider: its name, its type's number, and what it can do."""

    name: str
    type: int
    algorithms: tuple[Algorithm, ...]

    def find(self, algid: int) -> Algorithm | None:
        """Look an algorithm up by its ALG_ID; None if this provider does not have it."""
        for algorithm in self.algorithms:
            if algorithm.algid == algid:
                return algorithm
        return None


PROVIDER_TYPES: Final = {
    entry.number: entry
    for entry in (
        ProviderType(PROV_RSA_FULL, "RSA Full (Signature and Key Exchange)", MS_STRONG_PROV),
        ProviderType(PROV_RSA_SCHANNEL, "RSA SChannel", MS_DEF_RSA_SCHANNEL_PROV),
        ProviderType(PROV_RSA_AES, "RSA Full and AES", MS_ENH_RSA_AES_PROV),
    )
}
"""Type number → type, in the order CryptEnumProviderTypes gives them."""

PROVIDERS: Final = {
    entry.name: entry
    for entry in (
        ProviderEntry(MS_DEF_PROV, PROV_RSA_FULL, BASE),
        ProviderEntry(MS_ENH_RSA_AES_PROV, PROV_RSA_AES, AES),
        ProviderEntry(MS_ENH_RSA_AES_PROV_XP, PROV_RSA_AES, AES),
        ProviderEntry(MS_ENHANCED_PROV, PROV_RSA_FULL, STRONG),
        ProviderEntry(MS_DEF_RSA_SCHANNEL_PROV, PROV_RSA_SCHANNEL, SCHANNEL),
        ProviderEntry(MS_STRONG_PROV, PROV_RSA_FULL, STRONG),
    )
}
"""Provider name → provider, in the order CryptEnumProviders gives them."""

HASH_SIZES: Final = {
    CALG_MD2: 16,
    CALG_MD4: 16,
    CALG_MD5: 16,
    CALG_SHA: 20,
    CALG_SHA_256: 32,
    CALG_SHA_384: 48,
    CALG_SHA_512: 64,
    CALG_SSL3_SHAMD5: 36,
}
"""Unkeyed hash → length of its value in bytes."""

HASH_BLOCKS: Final = {
    CALG_MD2: 64,
    CALG_MD4: 64,
    CALG_MD5: 64,
    CALG_SHA: 64,
    CALG_SHA_256: 64,
    CALG_SHA_384: 128,
    CALG_SHA_512: 128,
}
"""Hash → what HMAC pads its key to, in bytes: the block length (RFC 2104).

MD2 has blocks of 16 bytes, but CryptoAPI pads to 64 all the same: HMAC_INFO's "default inner string
is defined as the byte 0x36 repeated 64 times".
"""

DIGEST_INFO: Final = {
    CALG_MD2: bytes.fromhex("3020300c06082a864886f70d020205000410"),
    CALG_MD4: bytes.fromhex("3020300c06082a864886f70d020405000410"),
    CALG_MD5: bytes.fromhex("3020300c06082a864886f70d020505000410"),
    CALG_SHA: bytes.fromhex("3021300906052b0e03021a05000414"),
    CALG_SHA_256: bytes.fromhex("3031300d060960864801650304020105000420"),
    CALG_SHA_384: bytes.fromhex("3041300d060960864801650304020205000430"),
    CALG_SHA_512: bytes.fromhex("3051300d060960864801650304020305000440"),
}
"""Hash → the DER that stands before its value in a signature (RFC 8017, 9.2, note 1)."""

X931_TRAILERS: Final = {
    CALG_SHA: 0x33,
    CALG_SHA_256: 0x34,
    CALG_SHA_512: 0x35,
    CALG_SHA_384: 0x36,
}
"""Hash → its number in ISO/IEC 10118, which ends the padding of ANSI X9.31."""

RSA_OF_SPEC: Final = {AT_KEYEXCHANGE: CALG_RSA_KEYX, AT_SIGNATURE: CALG_RSA_SIGN}
"""Key spec of a container's pair → algorithm of its keys."""

SPEC_OF_ALGID: Final = {
    AT_KEYEXCHANGE: AT_KEYEXCHANGE,
    CALG_RSA_KEYX: AT_KEYEXCHANGE,
    AT_SIGNATURE: AT_SIGNATURE,
    CALG_RSA_SIGN: AT_SIGNATURE,
}
"""What CryptGenKey and blobs call a pair → its key spec."""
