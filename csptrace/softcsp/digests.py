"""Unkeyed hashes, HMAC and the block-cipher MAC behind CryptCreateHash.

MD2 and MD4 are written out here because neither `hashlib` nor `cryptography` has them; the rest is
`hashlib`. CALG_SSL3_SHAMD5 is missing on purpose: it takes no data, only a value (HP_HASHVAL).
"""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING, Final, Protocol

from csptrace.softcsp.algorithms import HASH_BLOCKS
from csptrace.softcsp.constants import (
    CALG_MD2,
    CALG_MD4,
    CALG_MD5,
    CALG_SHA,
    CALG_SHA_256,
    CALG_SHA_384,
    CALG_SHA_512,
)

if TYPE_CHECKING:
    from collections.abc import Callable


class Digest(Protocol):
    """What `hashlib` objects and the ones below have in common."""

    def update(self, data: bytes, /) -> None:
        """Hash more data."""

    def digest(self) -> bytes:
        """Give the value of what was hashed so far, without finishing."""

    def copy(self) -> Digest:
        """Make an independent copy."""


# RFC 1319, 3.2: a permutation of 0..255 made from the digits of pi.
_PI: Final = bytes.fromhex(
    "292e43c9a2d87c013d3654a1ecf0061362a705f3c0c7738c98932bd9bc4c82ca"
    "1e9b573cfdd4e01667426f188a17e512be4ec4d6da9ede49a0fbf58ebb2fee7a"
    "a968799115b2073f94c210890b225f21807f5d9a5a903227353ecce7bff79703"
    "ff1930b348a5b5d1d75e922aac56aac64fb838d296a47db676fc6be29c7404f1"
    "459d705964718720865bcf65e62da8021b6025adaeb0b9f61c46616934407e0f"
    "5547a323dd51af3ac35cf9cebac5ea262c530d6e85288409d3dfcdf441814d52"
    "6adc37c86cc1abfa24e17b080cbdb14a7888958be363e86de9cbd5fe3b001d39"
    "f2efb70e6658d0e4a67772f8eb754b0a314450b48fed1f1adb998d339f118314"
)


class Md2:
    """MD2 (RFC 1319)."""

    __slots__ = ("_buffer", "_checksum", "_state")

    def __init__(self) -> None:
        """Start a hash of nothing."""
        self._state = bytearray(48)
        self._checksum = bytearray(16)
        self._buffer = b""

    def update(self, data: bytes, /) -> None:
        """Hash more data."""
        self._buffer += data
        whole = len(self._buffer) & ~15
        for start in range(0, whole, 16):
            self._block(self._buffer[start : start + 16])
        self._buffer = self._buffer[whole:]

    def digest(self) -> bytes:
        """Give the value of what was hashed so far, without finishing."""
        final = self.copy()
        missing = 16 - len(final._buffer)
        final.update(bytes([missing]) * missing)
        final._block(bytes(final._checksum))
        return bytes(final._state[:16])

    def copy(self) -> Md2:
        """Make an independent copy."""
        twin = Md2()
        twin._state = self._state[:]
        twin._checksum = self._checksum[:]
        twin._buffer = self._buffer
        return twin

    def _block(self, block: bytes) -> None:
        last = self._checksum[15]
        for i in range(16):
            self._checksum[i] ^= _PI[block[i] ^ last]
            last = self._checksum[i]
        state = self._state
        for i in range(16):
            state[16 + i] = block[i]
            state[32 + i] = block[i] ^ state[i]
        t = 0
        for step in range(18):
            for i in range(48):
                t = state[i] = state[i] ^ _PI[t]
            t = (t + step) & 0xFF


_MASK: Final = 0xFFFFFFFF


class Md4:
    """MD4 (RFC 1320)."""

    __slots__ = ("_buffer", "_length", "_state")

    def __init__(self) -> None:
        """Start a hash of nothing."""
        self._state = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476)
        self._length = 0
        self._buffer = b""

    def update(self, data: bytes, /) -> None:
        """Hash more data."""
        self._length += len(data)
        self._buffer += data
        whole = len(self._buffer) & ~63
        for start in range(0, whole, 64):
            self._block(self._buffer[start : start + 64])
        self._buffer = self._buffer[whole:]

    def digest(self) -> bytes:
        """Give the value of what was hashed so far, without finishing."""
        final = self.copy()
        bits = struct.pack("<Q", (self._length * 8) & 0xFFFFFFFFFFFFFFFF)
        final.update(b"\x80" + bytes(-(len(final._buffer) + 9) % 64) + bits)
        return struct.pack("<4I", *final._state)

    def copy(self) -> Md4:
        """Make an independent copy."""
        twin = Md4()
        twin._state = self._state
        twin._length = self._length
        twin._buffer = self._buffer
        return twin

    def _block(self, block: bytes) -> None:
        x = struct.unpack("<16I", block)
        a, b, c, d = self._state
        for i in range(16):
            a = (a + ((b & c) | (~b & d)) + x[i]) & _MASK
            shift = (3, 7, 11, 19)[i % 4]
            a, b, c, d = d, ((a << shift) | (a >> (32 - shift))) & _MASK, b, c
        for i in range(16):
            a = (a + ((b & c) | (b & d) | (c & d)) + x[(i % 4) * 4 + i // 4] + 0x5A827999) & _MASK
            shift = (3, 5, 9, 13)[i % 4]
            a, b, c, d = d, ((a << shift) | (a >> (32 - shift))) & _MASK, b, c
        for i in range(16):
            k = (0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15)[i]
            a = (a + (b ^ c ^ d) + x[k] + 0x6ED9EBA1) & _MASK
            shift = (3, 9, 11, 15)[i % 4]
            a, b, c, d = d, ((a << shift) | (a >> (32 - shift))) & _MASK, b, c
        old = self._state
        self._state = (
            (old[0] + a) & _MASK,
            (old[1] + b) & _MASK,
            (old[2] + c) & _MASK,
            (old[3] + d) & _MASK,
        )


def _md5() -> Digest:
    return hashlib.md5(usedforsecurity=False)


def _sha1() -> Digest:
    return hashlib.sha1(usedforsecurity=False)


DIGESTS: Final[dict[int, Callable[[], Digest]]] = {
    CALG_MD2: Md2,
    CALG_MD4: Md4,
    CALG_MD5: _md5,
    CALG_SHA: _sha1,
    CALG_SHA_256: hashlib.sha256,
    CALG_SHA_384: hashlib.sha384,
    CALG_SHA_512: hashlib.sha512,
}
"""ALG_ID of an unkeyed hash → what makes one."""


class Hmac:
    """HMAC (RFC 2104) with the pad strings that HMAC_INFO may replace."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, algid: int, key: bytes, inner: bytes = b"", outer: bytes = b"") -> None:
        """Key an HMAC.

        Args:
            algid: the hash to use; must be in `HASH_BLOCKS`.
            key: the key; hashed first when it is longer than a block.
            inner: replaces the block of 0x36 unless empty.
            outer: replaces the block of 0x5c unless empty.

        """
        make = DIGESTS[algid]
        block = HASH_BLOCKS[algid]
        if len(key) > block:
            shortened = make()
            shortened.update(key)
            key = shortened.digest()
        self._inner = make()
        self._inner.update(_xor_pad(inner or b"\x36" * block, key))
        self._outer = make()
        self._outer.update(_xor_pad(outer or b"\x5c" * block, key))

    def update(self, data: bytes, /) -> None:
        """Hash more data."""
        self._inner.update(data)

    def digest(self) -> bytes:
        """Give the value of what was hashed so far, without finishing."""
        outer = self._outer.copy()
        outer.update(self._inner.digest())
        return outer.digest()

    def copy(self) -> Hmac:
        """Make an independent copy."""
        twin = Hmac.__new__(Hmac)
        twin._inner = self._inner.copy()
        twin._outer = self._outer.copy()
        return twin


def _xor_pad(pad: bytes, key: bytes) -> bytes:
    padded = key[: len(pad)].ljust(len(pad), b"\0")
    return bytes(a ^ b for a, b in zip(pad, padded, strict=True))


class Mac:
    """CALG_MAC: the last block of the CBC encryption of the padded data (FIPS 113 with PKCS #5)."""

    __slots__ = ("_block", "_buffer", "_chain", "_encrypt")

    def __init__(self, encrypt: Callable[[bytes], bytes], block: int, iv: bytes) -> None:
        """Start a MAC.

        Args:
            encrypt: enciphers one block with the key.
            block: length of a block in bytes.
            iv: the key's initialization vector.

        """
        self._encrypt = encrypt
        self._block = block
        self._chain = iv
        self._buffer = b""

    def update(self, data: bytes, /) -> None:
        """Hash more data."""
        data = self._buffer + data
        size = self._block
        whole = len(data) - len(data) % size
        chain = self._chain
        for start in range(0, whole, size):
            block = data[start : start + size]
            chain = self._encrypt(bytes(a ^ b for a, b in zip(block, chain, strict=True)))
        self._chain = chain
        self._buffer = data[whole:]

    def digest(self) -> bytes:
        """Give the value of what was hashed so far, without finishing."""
        final = self.copy()
        missing = self._block - len(self._buffer)
        final.update(bytes([missing]) * missing)
        return final._chain

    def copy(self) -> Mac:
        """Make an independent copy."""
        twin = Mac(self._encrypt, self._block, self._chain)
        twin._buffer = self._buffer
        return twin


def expand(algid: int, value: bytes) -> bytes:
    """Make a longer value from a hash value that is too short for a key, as CryptDeriveKey does.

    Source: the Remarks of
    https://learn.microsoft.com/windows/win32/api/wincrypt/nf-wincrypt-cryptderivekey

    Args:
        algid: the hash that gave *value*; the expansion hashes with it again.
        value: the hash value.

    Returns:
        Twice as many bytes as the hash has.

    """
    expanded = b""
    for filler in (b"\x36", b"\x5c"):
        digest = DIGESTS[algid]()
        digest.update(_xor_pad(filler * 64, value))
        expanded += digest.digest()
    return expanded
