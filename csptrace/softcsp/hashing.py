"""Hashes and signatures: the second layer of `provider.Provider`."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from csptrace.softcsp import algorithms, digests
from csptrace.softcsp.answers import Answer, answer, dword
from csptrace.softcsp.constants import (
    ALG_CLASS_DATA_ENCRYPT,
    CALG_HMAC,
    CALG_MAC,
    CALG_SSL3_SHAMD5,
    CRYPT_LITTLE_ENDIAN,
    CRYPT_NOHASHOID,
    CRYPT_USERDATA,
    CRYPT_X931_FORMAT,
    ERROR_INVALID_PARAMETER,
    ERROR_MORE_DATA,
    HP_ALGID,
    HP_HASHSIZE,
    HP_HASHVAL,
    HP_HMAC_INFO,
    NTE_BAD_ALGID,
    NTE_BAD_FLAGS,
    NTE_BAD_HASH,
    NTE_BAD_HASH_STATE,
    NTE_BAD_KEY,
    NTE_BAD_SIGNATURE,
    NTE_BAD_TYPE,
)
from csptrace.softcsp.contexts import Contexts
from csptrace.softcsp.errors import CspError
from csptrace.softcsp.objects import Context, Hash, Key

if TYPE_CHECKING:
    from collections.abc import Callable


class Hashes(Contexts):
    """Hashes, MACs, HMACs; signing and verifying them."""

    # --- hashes --------------------------------------------------------------------------------

    def CryptCreateHash(self, hProv: int, Algid: int, hKey: int = 0, dwFlags: int = 0) -> int:
        """Start a hash, a MAC or an HMAC.

        Args:
            hProv: the context.
            Algid: CALG_* of a hash.
            hKey: the key of a MAC or HMAC, kept by reference; 0 otherwise.
            dwFlags: must be 0.

        Returns:
            A handle, to be destroyed with CryptDestroyHash.

        """
        context = self._find(Context, hProv)
        key = self._find(Key, hKey) if hKey else None
        if dwFlags:
            raise CspError(NTE_BAD_FLAGS)
        if context.entry.find(Algid) is None:
            raise CspError(NTE_BAD_ALGID)
        digest: digests.Digest | None
        if Algid in (CALG_MAC, CALG_HMAC):
            if key is None or key.rsa is not None:
                raise CspError(NTE_BAD_KEY)
            digest = None
            if Algid == CALG_MAC:
                digest = _mac(key)
                # Real providers start the key's own message again here.
                key.stream = None
        elif Algid in digests.DIGESTS:
            key = None
            digest = digests.DIGESTS[Algid]()
        elif Algid == CALG_SSL3_SHAMD5:
            # Takes no data: the program computes the value and sets it with HP_HASHVAL.
            key = digest = None
        else:
            raise CspError(NTE_BAD_ALGID)
        return self._issue_alive(context, Hash(context, Algid, digest, key))

    def CryptDuplicateHash(self, hHash: int, dwFlags: int = 0, *, reserved: bool = False) -> int:
        """Copy a hash with its state; the copy lives and dies on its own, with the same MAC key.

        Args:
            hHash: the hash.
            dwFlags: must be 0.
            reserved: whether the caller gave a pdwReserved; it must be NULL.

        """
        hash_ = self._find(Hash, hHash)
        if reserved or dwFlags:
            raise CspError(ERROR_INVALID_PARAMETER)
        return self._issue_alive(hash_.context, hash_.copy())

    def CryptHashData(self, hHash: int, data: bytes, dwFlags: int = 0) -> None:
        """Hash more data.

        Args:
            hHash: the hash; must not be finished.
            data: the data.
            dwFlags: 0, or CRYPT_USERDATA, which makes no difference.

        """
        hash_ = self._find(Hash, hHash)
        if dwFlags & ~CRYPT_USERDATA:
            raise CspError(NTE_BAD_FLAGS)
        self._update(hash_, data)

    def CryptHashSessionKey(self, hHash: int, hKey: int, dwFlags: int = 0) -> None:
        """Hash the bytes of a session key, which never leave the provider.

        Args:
            hHash: the hash; must not be finished.
            hKey: the session key.
            dwFlags: CRYPT_LITTLE_ENDIAN, or 0 for the reverse order.

        """
        hash_ = self._find(Hash, hHash)
        key = self._find(Key, hKey)
        if key.rsa is not None:
            raise CspError(NTE_BAD_KEY)
        if dwFlags & ~CRYPT_LITTLE_ENDIAN:
            raise CspError(NTE_BAD_FLAGS)
        material = bytes(key.material)
        self._update(hash_, material if dwFlags & CRYPT_LITTLE_ENDIAN else material[::-1])

    def CryptGetHashParam(self, hHash: int, dwParam: int, dwFlags: int, room: int | None) -> Answer:
        """Ask something of a hash.

        Args:
            hHash: the hash.
            dwParam: HP_ALGID, HP_HASHSIZE or HP_HASHVAL; handing out the last one (not asking
                for its size) finishes the hash.
            dwFlags: must be 0.
            room: how many bytes the caller has room for; None asks for the size.

        """
        hash_ = self._find(Hash, hHash)
        if dwFlags:
            raise CspError(NTE_BAD_FLAGS)
        if dwParam == HP_ALGID:
            return answer(dword(hash_.algid), room)
        if dwParam not in (HP_HASHSIZE, HP_HASHVAL):
            raise CspError(NTE_BAD_TYPE)
        size = _hash_size(hash_)
        if dwParam == HP_HASHSIZE:
            return answer(dword(size), room)
        if room is None:
            return size
        if room < size:
            raise CspError(ERROR_MORE_DATA, size)
        return self._finish(hash_)

    def CryptSetHashParam(
        self, hHash: int, dwParam: int, read: Callable[[int | None], bytes], dwFlags: int
    ) -> None:
        """Set a hash's value, or the hash inside an HMAC.

        Args:
            hHash: the hash.
            dwParam: HP_HASHVAL or HP_HMAC_INFO.
            read: reads that many bytes of the caller's data; for HP_HMAC_INFO, where the data is
                a structure with pointers, None reads it packed as by `pack_hmac_info`.
            dwFlags: must be 0.

        """
        hash_ = self._find(Hash, hHash)
        if dwFlags:
            raise CspError(NTE_BAD_FLAGS)
        if dwParam == HP_HASHVAL:
            hash_.value = read(_hash_size(hash_))
        elif dwParam == HP_HMAC_INFO:
            if hash_.algid != CALG_HMAC:
                raise CspError(NTE_BAD_HASH)
            key = _live_key(hash_)
            algid, inner, outer = _unpack_hmac_info(read(None))
            if algid not in algorithms.HASH_BLOCKS or not hash_.context.entry.find(algid):
                raise CspError(NTE_BAD_ALGID)
            hash_.inner_algid = algid
            hash_.digest = digests.Hmac(algid, bytes(key.material), inner, outer)
            hash_.value = None
        else:
            raise CspError(NTE_BAD_TYPE)

    def CryptDestroyHash(self, hHash: int) -> None:
        """Give a hash's handle back."""
        hash_ = self._find(Hash, hHash)
        if self.table.remove(hHash) is None:
            raise CspError(self._bad_handle(Hash, hHash, None))
        hash_.context.children.pop(hHash, None)

    def _update(self, hash_: Hash, data: bytes) -> None:
        if hash_.algid == CALG_SSL3_SHAMD5:
            raise CspError(NTE_BAD_ALGID)
        if hash_.value is not None:
            raise CspError(NTE_BAD_HASH_STATE)
        if hash_.key is not None:
            _live_key(hash_)
        if hash_.digest is None:
            raise CspError(NTE_BAD_HASH_STATE)
        hash_.digest.update(data)

    def _finish(self, hash_: Hash) -> bytes:
        if hash_.value is None:
            if hash_.key is not None:
                _live_key(hash_)
            if hash_.algid == CALG_SSL3_SHAMD5:
                hash_.value = bytes(_hash_size(hash_))
            elif hash_.digest is None:
                raise CspError(NTE_BAD_HASH_STATE)
            else:
                hash_.value = hash_.digest.digest()
        return hash_.value

    # --- signatures ----------------------------------------------------------------------------

    def CryptSignHash(
        self, hHash: int, dwKeySpec: int, sDescription: str | None, dwFlags: int, room: int | None
    ) -> Answer:
        """Sign a hash with a key pair of the container; finishes the hash.

        Args:
            hHash: the hash.
            dwKeySpec: AT_KEYEXCHANGE or AT_SIGNATURE.
            sDescription: text that is hashed in addition; obsolete, None.
            dwFlags: CRYPT_NOHASHOID, CRYPT_X931_FORMAT (the padding of ANSI X9.31) or 0.
            room: how many bytes the caller has room for; None asks for the size.

        """
        hash_ = self._find(Hash, hHash)
        if dwFlags & ~(CRYPT_NOHASHOID | CRYPT_X931_FORMAT):
            raise CspError(NTE_BAD_FLAGS)
        pair = self._pair(hash_.context, dwKeySpec)
        if room is None:
            return pair.size
        if room < pair.size:
            raise CspError(ERROR_MORE_DATA, pair.size)
        if dwFlags & CRYPT_X931_FORMAT:
            return pair.sign_x931(*self._x931(hash_, sDescription))
        return pair.sign(self._payload(hash_, sDescription, dwFlags))

    def CryptVerifySignature(
        self,
        hHash: int,
        signature: bytes | None,
        dwSigLen: int,
        hPubKey: int,
        sDescription: str | None,
        dwFlags: int,
    ) -> None:
        """Check a signature of a hash; finishes the hash. NTE_BAD_SIGNATURE if it does not fit.

        Args:
            hHash: the hash.
            signature: the signature, little-endian; None stands for a NULL pointer.
            dwSigLen: its length, which is checked before the pointer.
            hPubKey: the signer's public key.
            sDescription: as it was signed.
            dwFlags: as it was signed; without CRYPT_NOHASHOID both forms are accepted.

        """
        hash_ = self._find(Hash, hHash)
        key = self._find(Key, hPubKey)
        if dwFlags & ~(CRYPT_NOHASHOID | CRYPT_X931_FORMAT):
            raise CspError(NTE_BAD_FLAGS)
        if dwSigLen != (key.rsa.size if key.rsa else len(key.material)):
            raise CspError(NTE_BAD_SIGNATURE)
        if key.rsa is None:
            raise CspError(NTE_BAD_KEY)
        if signature is None:
            raise CspError(ERROR_INVALID_PARAMETER)
        if dwFlags & CRYPT_X931_FORMAT:
            if not key.rsa.verify_x931(signature, *self._x931(hash_, sDescription)):
                raise CspError(NTE_BAD_SIGNATURE)
            return
        payload = self._payload(hash_, sDescription, dwFlags)
        if key.rsa.verify(signature, payload):
            return
        if not dwFlags and key.rsa.verify(signature, self._finish(hash_)):
            return
        raise CspError(NTE_BAD_SIGNATURE)

    def _x931(self, hash_: Hash, sDescription: str | None) -> tuple[bytes, int]:
        trailer = algorithms.X931_TRAILERS.get(hash_.inner_algid)
        if trailer is None:
            raise CspError(NTE_BAD_ALGID)
        return self._described(hash_, sDescription), trailer

    def _described(self, hash_: Hash, sDescription: str | None) -> bytes:
        if sDescription is not None:
            self._update(hash_, sDescription.encode("utf-16-le", "surrogatepass"))
        return self._finish(hash_)

    def _payload(self, hash_: Hash, sDescription: str | None, dwFlags: int) -> bytes:
        value = self._described(hash_, sDescription)
        if dwFlags & CRYPT_NOHASHOID or hash_.algid == CALG_SSL3_SHAMD5:
            return value
        prefix = algorithms.DIGEST_INFO.get(hash_.inner_algid)
        if prefix is None:
            raise CspError(NTE_BAD_ALGID)
        return prefix + value


def _mac(key: Key) -> digests.Mac:
    if not key.block or key.algid & ALG_CLASS_DATA_ENCRYPT != ALG_CLASS_DATA_ENCRYPT:
        raise CspError(NTE_BAD_KEY)
    cipher = key.cipher()
    return digests.Mac(lambda block: cipher.crypt(block, encrypt=True), key.block, key.iv)


def _live_key(hash_: Hash) -> Key:
    """Give the key of a MAC or HMAC; NTE_BAD_KEY once it was destroyed, as documented."""
    if hash_.key is None or not hash_.key.alive:
        raise CspError(NTE_BAD_KEY)
    return hash_.key


def _hash_size(hash_: Hash) -> int:
    if hash_.algid == CALG_MAC:
        return hash_.key.block if hash_.key else 0
    return algorithms.HASH_SIZES.get(hash_.inner_algid, 0)


def pack_hmac_info(algid: int, inner: bytes = b"", outer: bytes = b"") -> bytes:
    """Pack an HMAC_INFO without pointers, for `Provider.CryptSetHashParam`."""
    return struct.pack("<II", algid, len(inner)) + inner + outer


def _unpack_hmac_info(packed: bytes) -> tuple[int, bytes, bytes]:
    algid, length = struct.unpack_from("<II", packed)
    return algid, packed[8 : 8 + length], packed[8 + length :]
