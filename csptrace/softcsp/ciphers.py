"""Symmetric ciphers behind CryptEncrypt and CryptDecrypt: block functions, modes, RC4.

AES and DES come from the `cryptography` package. RC2 is written out because of its effective key
length: the 40- and 56-bit RC2 keys of CryptoAPI are not what `cryptography` offers. RC4 falls back
to plain Python for the few key lengths that OpenSSL's binding refuses.

A `Stream` is one direction of one message: it keeps the chaining value between calls and can be
copied in the middle, which CryptDuplicateKey needs.
"""

from __future__ import annotations

import struct
import warnings
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from csptrace.softcsp.constants import (
    CALG_3DES,
    CALG_3DES_112,
    CALG_AES_128,
    CALG_AES_192,
    CALG_AES_256,
    CALG_DES,
    CALG_RC2,
    CALG_RC4,
    CRYPT_MODE_CBC,
    CRYPT_MODE_CFB,
    CRYPT_MODE_ECB,
    NTE_BAD_ALGID,
)
from csptrace.softcsp.errors import CspError

if TYPE_CHECKING:
    from collections.abc import Callable

BLOCK_SIZES: Final = {
    CALG_RC2: 8,
    CALG_DES: 8,
    CALG_3DES_112: 8,
    CALG_3DES: 8,
    CALG_AES_128: 16,
    CALG_AES_192: 16,
    CALG_AES_256: 16,
}
"""ALG_ID of a block cipher → length of a block in bytes. Other session keys are RC4."""


class BlockCipher(Protocol):
    """A keyed block function and, where the library has it, its CBC mode."""

    block: int

    def crypt(self, data: bytes, *, encrypt: bool) -> bytes:
        """Encipher or decipher whole blocks independently (ECB)."""

    def cbc(self, iv: bytes, *, encrypt: bool) -> Callable[[bytes], bytes]:
        """Start a CBC chain over whole blocks."""


class _LibraryCipher:
    """AES, DES and triple DES of the `cryptography` package."""

    __slots__ = ("_algorithm", "_decrypt", "_encrypt", "block")

    def __init__(self, algid: int, key: bytes) -> None:
        # Imported here, like everywhere in softcsp: importing the package must stay cheap.
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes  # noqa: PLC0415

        self.block = BLOCK_SIZES[algid]
        self._algorithm: Any
        if self.block == 16:
            self._algorithm = algorithms.AES(key)
        else:
            self._algorithm = _triple_des(key)
        ecb = Cipher(self._algorithm, modes.ECB())  # noqa: S305 - CryptoAPI has it
        self._encrypt = ecb.encryptor()
        self._decrypt = ecb.decryptor()

    def crypt(self, data: bytes, *, encrypt: bool) -> bytes:
        return (self._encrypt if encrypt else self._decrypt).update(data)

    def cbc(self, iv: bytes, *, encrypt: bool) -> Callable[[bytes], bytes]:
        from cryptography.hazmat.primitives.ciphers import Cipher, modes  # noqa: PLC0415

        cipher = Cipher(self._algorithm, modes.CBC(iv))
        return (cipher.encryptor() if encrypt else cipher.decryptor()).update


def _triple_des(key: bytes) -> Any:
    """Make triple DES from 8 (DES), 16 (two keys: K1 K2 K1) or 24 bytes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES  # noqa: PLC0415
        except ImportError:
            from cryptography.hazmat.primitives.ciphers.algorithms import (  # noqa: PLC0415
                TripleDES,
            )
        return TripleDES((key * 3)[:24])


# RFC 2268, 2: a permutation of 0..255 made from the digits of pi.
_PITABLE: Final = bytes.fromhex(
    "d978f9c419ddb5ed28e9fd794aa0d89dc67e37832b76538e624c6488448bfba2"
    "179a59f587b34f1361456d8d09817d32bd8f40eb86b77b0bf09521225c6b4e82"
    "54d66593ce60b21c7356c014a78cf1dc1275ca1f3bbee4d1423dd430a33cb626"
    "6fbf0eda4669075727f21d9bbc944303f811c7f690ef3ee706c3d52fc8661ed7"
    "08e8eade8052eef784aa72ac354d6a2a961ad2715a1549744b9fd05e0418a4ec"
    "c2e0416e0f51cbcc2491af50a1f47039997c3a8523b8b47afc02365b25559731"
    "2d5dfa98e38a92ae05df2910676cbac9d300e6cfe19ea82c6316013f58e289a9"
    "0d38341bab33ffb0bb480c5fb9b1cd2ec5f3db47e5a59c770aa62068fe7fc1ad"
)


class Rc2:
    """RC2 with an effective key length (RFC 2268)."""

    __slots__ = ("_words", "block")

    def __init__(self, key: bytes, effective_bits: int) -> None:
        """Expand a key.

        Args:
            key: 1 to 128 bytes.
            effective_bits: the parameter T1 of the RFC, 1 to 1024.

        """
        self.block = 8
        table = bytearray(key)
        length = len(key)
        for i in range(length, 128):
            table.append(_PITABLE[(table[i - 1] + table[i - length]) & 0xFF])
        t8 = (effective_bits + 7) // 8
        mask = 0xFF >> (8 * t8 - effective_bits)
        table[128 - t8] = _PITABLE[table[128 - t8] & mask]
        for i in range(127 - t8, -1, -1):
            table[i] = _PITABLE[table[i + 1] ^ table[i + t8]]
        self._words = struct.unpack("<64H", table)

    def crypt(self, data: bytes, *, encrypt: bool) -> bytes:
        """Encipher or decipher whole blocks independently (ECB)."""
        one = self._encrypt_block if encrypt else self._decrypt_block
        return b"".join(one(data[i : i + 8]) for i in range(0, len(data), 8))

    def cbc(self, iv: bytes, *, encrypt: bool) -> Callable[[bytes], bytes]:
        """Start a CBC chain over whole blocks."""
        chain = int.from_bytes(iv, "big")

        def step(data: bytes) -> bytes:
            nonlocal chain
            out = bytearray()
            for i in range(0, len(data), 8):
                block = data[i : i + 8]
                if encrypt:
                    mixed = (int.from_bytes(block, "big") ^ chain).to_bytes(8, "big")
                    done = self._encrypt_block(mixed)
                    chain = int.from_bytes(done, "big")
                else:
                    plain = int.from_bytes(self._decrypt_block(block), "big") ^ chain
                    done = plain.to_bytes(8, "big")
                    chain = int.from_bytes(block, "big")
                out += done
            return bytes(out)

        return step

    def _encrypt_block(self, block: bytes) -> bytes:
        k = self._words
        r0, r1, r2, r3 = struct.unpack("<4H", block)
        for step in range(16):
            j = 4 * step
            r0 = (r0 + k[j] + (r3 & r2) + (~r3 & r1)) & 0xFFFF
            r0 = ((r0 << 1) | (r0 >> 15)) & 0xFFFF
            r1 = (r1 + k[j + 1] + (r0 & r3) + (~r0 & r2)) & 0xFFFF
            r1 = ((r1 << 2) | (r1 >> 14)) & 0xFFFF
            r2 = (r2 + k[j + 2] + (r1 & r0) + (~r1 & r3)) & 0xFFFF
            r2 = ((r2 << 3) | (r2 >> 13)) & 0xFFFF
            r3 = (r3 + k[j + 3] + (r2 & r1) + (~r2 & r0)) & 0xFFFF
            r3 = ((r3 << 5) | (r3 >> 11)) & 0xFFFF
            if step in (4, 10):
                r0 = (r0 + k[r3 & 63]) & 0xFFFF
                r1 = (r1 + k[r0 & 63]) & 0xFFFF
                r2 = (r2 + k[r1 & 63]) & 0xFFFF
                r3 = (r3 + k[r2 & 63]) & 0xFFFF
        return struct.pack("<4H", r0, r1, r2, r3)

    def _decrypt_block(self, block: bytes) -> bytes:
        k = self._words
        r0, r1, r2, r3 = struct.unpack("<4H", block)
        for step in range(15, -1, -1):
            j = 4 * step
            if step in (4, 10):
                r3 = (r3 - k[r2 & 63]) & 0xFFFF
                r2 = (r2 - k[r1 & 63]) & 0xFFFF
                r1 = (r1 - k[r0 & 63]) & 0xFFFF
                r0 = (r0 - k[r3 & 63]) & 0xFFFF
            r3 = ((r3 >> 5) | (r3 << 11)) & 0xFFFF
            r3 = (r3 - k[j + 3] - (r2 & r1) - (~r2 & r0)) & 0xFFFF
            r2 = ((r2 >> 3) | (r2 << 13)) & 0xFFFF
            r2 = (r2 - k[j + 2] - (r1 & r0) - (~r1 & r3)) & 0xFFFF
            r1 = ((r1 >> 2) | (r1 << 14)) & 0xFFFF
            r1 = (r1 - k[j + 1] - (r0 & r3) - (~r0 & r2)) & 0xFFFF
            r0 = ((r0 >> 1) | (r0 << 15)) & 0xFFFF
            r0 = (r0 - k[j] - (r3 & r2) - (~r3 & r1)) & 0xFFFF
        return struct.pack("<4H", r0, r1, r2, r3)


def block_cipher(algid: int, key: bytes, effective_bits: int) -> BlockCipher:
    """Key a block cipher.

    Args:
        algid: one of `BLOCK_SIZES`.
        key: the key bytes, salt included.
        effective_bits: effective key length; only RC2 looks at it.

    """
    if algid == CALG_RC2:
        return Rc2(key, effective_bits)
    return _LibraryCipher(algid, key)


class Stream(Protocol):
    """One message, in one direction at a time."""

    def update(self, data: bytes) -> bytes:
        """Encipher or decipher the next piece; whole blocks for block ciphers."""

    def copy(self) -> Stream:
        """Make an independent copy that goes on from the same point."""

    def turned(self, mode: int, *, encrypt: bool) -> Stream:
        """Give the stream that goes on from this point in a mode and a direction.

        A program may change both in the middle of a message; the chaining value stays.
        """


class _BlockStream:
    """What the modes of block ciphers have in common.

    Attributes:
        register: the chaining value.

    """

    __slots__ = ("_cipher", "_encrypt", "register")

    mode = 0

    def __init__(self, cipher: BlockCipher, iv: bytes, *, encrypt: bool) -> None:
        """Start a message with the chaining value *iv*."""
        self._cipher = cipher
        self._encrypt = encrypt
        self.register = iv

    def copy(self) -> Stream:
        """Make an independent copy."""
        return block_stream(self._cipher, self.mode, self.register, encrypt=self._encrypt)

    def turned(self, mode: int, *, encrypt: bool) -> Stream:
        """Give the stream that goes on from this point in a mode and a direction."""
        if mode == self.mode and encrypt == self._encrypt:
            return cast("Stream", self)
        return block_stream(self._cipher, mode, self.register, encrypt=encrypt)


class EcbStream(_BlockStream):
    """Electronic code book: no chaining."""

    __slots__ = ()

    mode = CRYPT_MODE_ECB

    def update(self, data: bytes) -> bytes:
        """Encipher or decipher whole blocks."""
        return self._cipher.crypt(data, encrypt=self._encrypt)


class CbcStream(_BlockStream):
    """Cipher block chaining."""

    __slots__ = ("_step",)

    mode = CRYPT_MODE_CBC

    def __init__(self, cipher: BlockCipher, iv: bytes, *, encrypt: bool) -> None:
        """Start a message with the chaining value *iv*."""
        super().__init__(cipher, iv, encrypt=encrypt)
        self._step: Callable[[bytes], bytes] | None = None

    def update(self, data: bytes) -> bytes:
        """Encipher or decipher whole blocks."""
        if not data:
            return b""
        if self._step is None:
            self._step = self._cipher.cbc(self.register, encrypt=self._encrypt)
        out = self._step(data)
        self.register = (out if self._encrypt else data)[-self._cipher.block :]
        return out


class CfbStream(_BlockStream):
    """Cipher feedback with 8-bit segments, CryptoAPI's default for KP_MODE_BITS."""

    __slots__ = ()

    mode = CRYPT_MODE_CFB

    def update(self, data: bytes) -> bytes:
        """Encipher or decipher any number of bytes."""
        register = self.register
        crypt = self._cipher.crypt
        out = bytearray()
        for byte in data:
            result = byte ^ crypt(register, encrypt=True)[0]
            out.append(result)
            register = register[1:] + bytes([result if self._encrypt else byte])
        self.register = register
        return bytes(out)


_ARC4_SIZES: Final = (5, 7, 8, 10, 16, 20, 24, 32)


class Rc4Stream:
    """RC4; both directions are the same."""

    __slots__ = ("_done", "_key", "_step")

    def __init__(self, key: bytes) -> None:
        """Start a message with a key of 1 to 256 bytes."""
        self._key = key
        self._done = 0
        self._step = _rc4(key)

    def update(self, data: bytes) -> bytes:
        """Encipher or decipher any number of bytes."""
        self._done += len(data)
        return self._step(data)

    def copy(self) -> Rc4Stream:
        """Make an independent copy: OpenSSL's state cannot be copied, so it is run again."""
        twin = Rc4Stream(self._key)
        twin.update(bytes(self._done))
        return twin

    def turned(self, mode: int, *, encrypt: bool) -> Rc4Stream:  # noqa: ARG002
        """Go on: a stream cipher has no modes, and both directions are the same."""
        return self


def _rc4(key: bytes) -> Callable[[bytes], bytes]:
    if len(key) in _ARC4_SIZES:
        from cryptography.hazmat.primitives.ciphers import Cipher  # noqa: PLC0415

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                from cryptography.hazmat.decrepit.ciphers.algorithms import (  # noqa: PLC0415
                    ARC4,
                )
            except ImportError:
                from cryptography.hazmat.primitives.ciphers.algorithms import (  # noqa: PLC0415
                    ARC4,
                )
            return Cipher(ARC4(key), None).encryptor().update  # noqa: S304 - CryptoAPI has it
    state = list(range(256))
    j = 0
    for i in range(256):
        j = (j + state[i] + key[i % len(key)]) & 0xFF
        state[i], state[j] = state[j], state[i]
    x = y = 0

    def step(data: bytes) -> bytes:
        nonlocal x, y
        out = bytearray()
        for byte in data:
            x = (x + 1) & 0xFF
            y = (y + state[x]) & 0xFF
            state[x], state[y] = state[y], state[x]
            out.append(byte ^ state[(state[x] + state[y]) & 0xFF])
        return bytes(out)

    return step


def block_stream(cipher: BlockCipher, mode: int, iv: bytes, *, encrypt: bool) -> Stream:
    """Start a message of a block cipher.

    Args:
        cipher: the keyed block function.
        mode: CRYPT_MODE_CBC, CRYPT_MODE_ECB or CRYPT_MODE_CFB.
        iv: the initialization vector.
        encrypt: the direction.

    Raises:
        CspError: NTE_BAD_ALGID, another mode. CryptSetKeyParam takes any number, and real
            providers fail only here.

    """
    if mode == CRYPT_MODE_CBC:
        return CbcStream(cipher, iv, encrypt=encrypt)
    if mode == CRYPT_MODE_ECB:
        return EcbStream(cipher, iv, encrypt=encrypt)
    if mode == CRYPT_MODE_CFB:
        return CfbStream(cipher, iv, encrypt=encrypt)
    raise CspError(NTE_BAD_ALGID)


def rc4_stream(key: bytes) -> Stream:
    """Start a message of CALG_RC4."""
    return Rc4Stream(key)


STREAM_CIPHERS: Final = (CALG_RC4,)
"""ALG_IDs of stream ciphers."""

SESSION_ALGIDS: Final = (*BLOCK_SIZES, *STREAM_CIPHERS)
"""ALG_IDs of session keys."""
