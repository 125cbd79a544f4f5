"""Encryption and decryption: the fifth layer of `provider.Provider`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from csptrace.softcsp.blobs import Blobs, unpad
from csptrace.softcsp.constants import (
    CALG_RSA_KEYX,
    CRYPT_OAEP,
    ERROR_MORE_DATA,
    NTE_BAD_DATA,
    NTE_BAD_FLAGS,
    NTE_BAD_KEY,
    NTE_BAD_LEN,
)
from csptrace.softcsp.errors import CspError
from csptrace.softcsp.objects import Hash, Key

if TYPE_CHECKING:
    from csptrace.softcsp.answers import Answer


class Messages(Blobs):
    """Encrypting and decrypting."""

    # --- encryption ----------------------------------------------------------------------------

    def CryptEncrypt(
        self,
        hKey: int,
        hHash: int,
        Final: bool,
        dwFlags: int,
        data: bytes | None,
        dwDataLen: int,
        dwBufLen: int,
    ) -> Answer:
        """Encrypt a piece of a message, hashing the plaintext if asked.

        Args:
            hKey: the key.
            hHash: a hash that gets the data too; 0 for none.
            Final: whether this is the last piece; pads it and starts a new message.
            dwFlags: CRYPT_OAEP for RSA, else 0.
            data: the piece; None asks how long the result would be, and changes nothing.
            dwDataLen: its length.
            dwBufLen: how many bytes the caller has room for.

        """
        key = self._find(Key, hKey)
        hash_ = self._find(Hash, hHash) if hHash else None
        if dwFlags not in (0, CRYPT_OAEP):
            raise CspError(NTE_BAD_FLAGS)
        if hash_ is not None and data is not None:
            # First of all, as real providers do: a refused encryption has hashed its data.
            self._update(hash_, data)
        size = _encrypted_size(key, dwDataLen, final=Final)
        if data is None:
            return size
        if dwBufLen < size:
            raise CspError(ERROR_MORE_DATA, size)
        if key.rsa is not None:
            return key.rsa.encrypt(data, oaep=bool(dwFlags & CRYPT_OAEP))
        stream = key.going_on(encrypt=True)
        if Final and key.block:
            missing = key.block - len(data) % key.block
            data += bytes([missing]) * missing
        result = stream.update(data)
        key.stream = None if Final else stream
        return result

    def CryptDecrypt(
        self,
        hKey: int,
        hHash: int,
        Final: bool,
        dwFlags: int,
        data: bytes,
    ) -> bytes:
        """Decrypt a piece of a message, hashing the plaintext if asked.

        Args:
            hKey: the key.
            hHash: a hash that gets the plaintext too; 0 for none.
            Final: whether this is the last piece; removes its padding and starts a new message.
            dwFlags: CRYPT_OAEP for RSA, else 0.
            data: the piece.

        """
        key = self._find(Key, hKey)
        hash_ = self._find(Hash, hHash) if hHash else None
        if dwFlags not in (0, CRYPT_OAEP):
            raise CspError(NTE_BAD_FLAGS)
        if Final and not data:
            raise CspError(NTE_BAD_LEN)
        if key.rsa is not None:
            if key.rsa.private is None or key.algid != CALG_RSA_KEYX:
                raise CspError(NTE_BAD_KEY)
            result = key.rsa.decrypt(data, oaep=bool(dwFlags & CRYPT_OAEP))
        else:
            result = _decrypt_session(key, data, final=Final)
        if hash_ is not None:
            self._update(hash_, result)
        return result


def _encrypted_size(key: Key, length: int, *, final: bool) -> int:
    if key.rsa is not None:
        if key.algid != CALG_RSA_KEYX:
            raise CspError(NTE_BAD_KEY)
        return key.rsa.size
    if not key.block:
        return length
    if final:
        return (length // key.block + 1) * key.block
    if length % key.block:
        raise CspError(NTE_BAD_DATA)
    return length


def _decrypt_session(key: Key, data: bytes, *, final: bool) -> bytes:
    if key.block and len(data) % key.block:
        raise CspError(NTE_BAD_DATA)
    stream = key.going_on(encrypt=False)
    result = stream.update(data)
    key.stream = None if final else stream
    if final and key.block:
        return unpad(result, key.block)
    return result
