"""Wrapping a session key with another one: what SYMMETRICWRAPKEYBLOB holds.

Source: RFC 3217, Triple-DES and RC2 Key Wrapping (the algorithm of CMS).
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Final

from csptrace.softcsp.constants import (
    CALG_3DES,
    CALG_3DES_112,
    CALG_RC2,
    NTE_BAD_DATA,
    NTE_BAD_KEY,
)
from csptrace.softcsp.errors import CspError

if TYPE_CHECKING:
    from csptrace.softcsp.ciphers import BlockCipher

_BLOCK: Final = 8
_CHECKSUM: Final = 8
_SECOND_IV: Final = bytes.fromhex("4adda22c79e82105")
_TRIPLE_DES: Final = (CALG_3DES, CALG_3DES_112)
_LONGEST_RC2: Final = 128


def wrap(
    algid: int, material: bytes, cipher: BlockCipher, *, iv: bytes = b"", padding: bytes = b""
) -> bytes:
    """Wrap a key.

    Args:
        algid: the algorithm of the key to wrap: triple DES or RC2.
        material: its bytes.
        cipher: what wraps it, of the same algorithm.
        iv: the initialization vector; random if not given.
        padding: what fills an RC2 key up to whole blocks; random if not given.

    Raises:
        CspError: NTE_BAD_KEY, a key of another algorithm.

    """
    if algid in _TRIPLE_DES:
        # Two-key triple DES is wrapped with its first key again as the third.
        plain = _odd_parity((material * 2)[:24])
    elif algid == CALG_RC2:
        missing = -(len(material) + 1) % _BLOCK
        plain = bytes([len(material)]) + material + (padding or os.urandom(missing))[:missing]
    else:
        raise CspError(NTE_BAD_KEY)
    iv = iv or os.urandom(_BLOCK)
    first = cipher.cbc(iv, encrypt=True)(plain + _checksum(plain))
    return cipher.cbc(_SECOND_IV, encrypt=True)((iv + first)[::-1])


def unwrap(algid: int, wrapped: bytes, cipher: BlockCipher) -> bytes:
    """Take a key out of what `wrap` made.

    Args:
        algid: the algorithm of the wrapped key.
        wrapped: the wrapped key.
        cipher: what wrapped it.

    Raises:
        CspError: NTE_BAD_DATA, it was not wrapped with this key, or it was changed; NTE_BAD_KEY, a
            key of another algorithm.

    """
    if algid not in (*_TRIPLE_DES, CALG_RC2):
        raise CspError(NTE_BAD_KEY)
    if len(wrapped) % _BLOCK or len(wrapped) < 3 * _BLOCK:
        raise CspError(NTE_BAD_DATA)
    both = cipher.cbc(_SECOND_IV, encrypt=False)(wrapped)[::-1]
    checked = cipher.cbc(both[:_BLOCK], encrypt=False)(both[_BLOCK:])
    plain = checked[:-_CHECKSUM]
    if checked[-_CHECKSUM:] != _checksum(plain):
        raise CspError(NTE_BAD_DATA)
    if algid == CALG_RC2:
        length = plain[0]
        if length > len(plain) - 1 or length > _LONGEST_RC2:
            raise CspError(NTE_BAD_DATA)
        return plain[1 : 1 + length]
    if len(plain) != 24 or _odd_parity(plain) != plain:
        raise CspError(NTE_BAD_DATA)
    return plain if algid == CALG_3DES else plain[:16]


def _checksum(key: bytes) -> bytes:
    return hashlib.sha1(key, usedforsecurity=False).digest()[:_CHECKSUM]


def _odd_parity(key: bytes) -> bytes:
    return bytes(byte & 0xFE | (byte >> 1).bit_count() + 1 & 1 for byte in key)
