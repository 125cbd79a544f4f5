"""Keys and their parameters: the third layer of `provider.Provider`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from csptrace.softcsp import digests, rsakeys
from csptrace.softcsp.algorithms import RSA_OF_SPEC, SPEC_OF_ALGID
from csptrace.softcsp.answers import Answer, answer, dword
from csptrace.softcsp.ciphers import SESSION_ALGIDS
from csptrace.softcsp.constants import (
    CALG_3DES,
    CALG_3DES_112,
    CALG_AES_128,
    CALG_DES,
    CALG_RC2,
    CALG_RC4,
    CRYPT_ARCHIVABLE,
    CRYPT_CREATE_SALT,
    CRYPT_EXPORT,
    CRYPT_EXPORTABLE,
    CRYPT_NO_SALT,
    ERROR_INVALID_PARAMETER,
    KP_ALGID,
    KP_BLOCKLEN,
    KP_EFFECTIVE_KEYLEN,
    KP_IV,
    KP_KEYLEN,
    KP_MODE,
    KP_MODE_BITS,
    KP_PADDING,
    KP_PERMISSIONS,
    KP_SALT,
    KP_SALT_EX,
    MS_DEF_PROV,
    MS_ENHANCED_PROV,
    MS_STRONG_PROV,
    NTE_BAD_ALGID,
    NTE_BAD_DATA,
    NTE_BAD_FLAGS,
    NTE_BAD_HASH,
    NTE_BAD_KEY,
    NTE_BAD_TYPE,
    NTE_NO_KEY,
    PKCS5_PADDING,
)
from csptrace.softcsp.errors import CspError
from csptrace.softcsp.hashing import Hashes
from csptrace.softcsp.objects import Context, Hash, Key

if TYPE_CHECKING:
    from collections.abc import Callable


_FIXED_LENGTHS: Final = {
    # With and without the parity bits.
    CALG_DES: {56: 8, 64: 8},
    CALG_3DES_112: {112: 16, 128: 16},
    CALG_3DES: {168: 24, 192: 24},
}
_ROOM_FOR_KEY_AND_SALT: Final = 16
_LARGEST_SALT: Final = 24
_SALT_OF_PARAMETER: Final = 11
_LARGEST_EFFECTIVE: Final = 1024
_BASE_EFFECTIVE: Final = 40


class Keys(Hashes):
    """Making keys and key pairs, their parameters, copying and destroying them."""

    # --- keys ----------------------------------------------------------------------------------

    def CryptGenKey(self, hProv: int, Algid: int, dwFlags: int) -> int:
        """Generate a session key, or a key pair that becomes the container's.

        Args:
            hProv: the context.
            Algid: CALG_* of a cipher, or AT_KEYEXCHANGE or AT_SIGNATURE.
            dwFlags: length in bits in the upper half (0 is the default length); CRYPT_EXPORTABLE,
                CRYPT_CREATE_SALT, CRYPT_NO_SALT and so on in the lower.

        Returns:
            A handle, to be destroyed with CryptDestroyKey.

        """
        context = self._find(Context, hProv)
        spec = SPEC_OF_ALGID.get(Algid)
        exportable = bool(dwFlags & (CRYPT_EXPORTABLE | CRYPT_ARCHIVABLE))
        if spec is not None:
            algid = RSA_OF_SPEC[spec]
            pair = rsakeys.generate(_rsa_bits(context, algid, dwFlags >> 16))
            self._keep_pair(context, spec, pair, exportable)
            return self._issue_rsa(context, algid, pair, exportable=exportable)
        if Algid not in SESSION_ALGIDS:
            raise CspError(NTE_BAD_ALGID)
        length = key_length(context, Algid, dwFlags >> 16)
        salt = os.urandom(_ROOM_FOR_KEY_AND_SALT)
        key = self._session_key(context, Algid, os.urandom(length), dwFlags, salt)
        return self._issue_alive(context, key)

    def _session_key(
        self, context: Context, algid: int, material: bytes, dwFlags: int, salt: bytes = b""
    ) -> Key:
        key = Key(context, algid, exportable=bool(dwFlags & CRYPT_EXPORTABLE))
        key.material[:] = material
        if algid in (CALG_RC2, CALG_RC4):
            length = _salt_length(context, len(material), dwFlags)
            if dwFlags & CRYPT_CREATE_SALT:
                key.salt[:] = salt[:length].ljust(length, b"\0")
            else:
                key.salt[:] = bytes(length)
        return key

    def _issue_rsa(
        self, context: Context, algid: int, rsa: rsakeys.RsaKey, *, exportable: bool
    ) -> int:
        key = Key(context, algid, exportable=exportable)
        key.rsa = rsa
        return self._issue_alive(context, key)

    def CryptDeriveKey(self, hProv: int, Algid: int, hBaseData: int, dwFlags: int) -> int:
        """Make a session key from a hash value; finishes the hash.

        Args:
            hProv: the context.
            Algid: CALG_* of a cipher.
            hBaseData: the hash.
            dwFlags: as for CryptGenKey.

        Returns:
            A handle, to be destroyed with CryptDestroyKey.

        """
        context = self._find(Context, hProv)
        base = self._find(Hash, hBaseData)
        if Algid not in SESSION_ALGIDS:
            raise CspError(NTE_BAD_ALGID)
        length = key_length(context, Algid, dwFlags >> 16)
        value = self._finish(base)
        # Documented for all of AES, but real providers expand a long enough value only here.
        expand = Algid == CALG_AES_128 and len(value) in (16, 20)
        if expand or len(value) < length:
            if base.inner_algid not in digests.DIGESTS:
                raise CspError(NTE_BAD_HASH)
            value = digests.expand(base.inner_algid, value)
            salt = b""
        else:
            salt = value[length:]
        material = value[:length].ljust(length, b"\0")
        key = self._session_key(context, Algid, material, dwFlags, salt)
        return self._issue_alive(context, key)

    def CryptGetUserKey(self, hProv: int, dwKeySpec: int) -> int:
        """Give a new handle on a key pair of the container; NTE_NO_KEY if it has none."""
        context = self._find(Context, hProv)
        algid = RSA_OF_SPEC.get(dwKeySpec)
        if algid is None:
            raise CspError(NTE_NO_KEY)
        pair = self._pair(context, dwKeySpec)
        exportable = context.stored[dwKeySpec].exportable
        return self._issue_rsa(context, algid, pair, exportable=exportable)

    def CryptDuplicateKey(self, hKey: int, dwFlags: int = 0, *, reserved: bool = False) -> int:
        """Copy a key with its state; the copy lives and dies on its own.

        Args:
            hKey: the key.
            dwFlags: must be 0.
            reserved: whether the caller gave a pdwReserved; it must be NULL.

        """
        key = self._find(Key, hKey)
        if reserved or dwFlags:
            raise CspError(ERROR_INVALID_PARAMETER)
        return self._issue_alive(key.context, key.copy())

    def CryptDestroyKey(self, hKey: int) -> None:
        """Give a key's handle back and overwrite its bytes; a container's pair stays."""
        key = self._find(Key, hKey)
        if self.table.remove(hKey) is None:
            raise CspError(self._bad_handle(Key, hKey, None))
        key.context.children.pop(hKey, None)
        key.wipe()

    def CryptGetKeyParam(self, hKey: int, dwParam: int, dwFlags: int, room: int | None) -> Answer:
        """Ask something of a key.

        Args:
            hKey: the key.
            dwParam: a KP_* constant.
            dwFlags: must be 0.
            room: how many bytes the caller has room for; None asks for the size.

        """
        key = self._find(Key, hKey)
        if dwFlags:
            raise CspError(NTE_BAD_FLAGS)
        return answer(_key_param(key, dwParam), room)

    def CryptSetKeyParam(
        self, hKey: int, dwParam: int, read: Callable[[int | None], bytes], dwFlags: int
    ) -> None:
        """Tell a key something: mode, initialization vector, salt and so on.

        Args:
            hKey: the key.
            dwParam: a KP_* constant.
            read: reads that many bytes of the caller's data; for KP_SALT_EX, where the data is a
                structure with its own length, None reads what it points to.
            dwFlags: must be 0.

        """
        key = self._find(Key, hKey)
        if dwFlags:
            raise CspError(NTE_BAD_FLAGS)
        if dwParam == KP_SALT_EX:
            _set_salt(key, read(None))
        elif dwParam == KP_SALT:
            if key.algid not in (CALG_RC2, CALG_RC4):
                raise CspError(NTE_BAD_KEY)
            salt = read(_SALT_OF_PARAMETER)
            # Only the Base and the Strong provider keep what they are told here.
            kept = key.context.entry.name in (MS_DEF_PROV, MS_STRONG_PROV)
            _set_salt(key, salt if kept else b"")
        elif dwParam == KP_IV:
            if key.rsa:
                raise CspError(NTE_BAD_TYPE)
            key.iv = read(key.block)
            key.stream = None
        elif dwParam in (KP_PADDING, KP_MODE, KP_MODE_BITS, KP_PERMISSIONS, KP_EFFECTIVE_KEYLEN):
            _set_key_number(key, dwParam, int.from_bytes(read(4), "little"))
        else:
            raise CspError(NTE_BAD_TYPE)


def _rsa_bits(context: Context, algid: int, bits: int) -> int:
    algorithm = context.entry.find(algid)
    if algorithm is None:
        raise CspError(NTE_BAD_ALGID)
    bits = bits or algorithm.default
    if not algorithm.smallest <= bits <= algorithm.largest or bits % 8:
        raise CspError(NTE_BAD_FLAGS)
    return bits


def key_length(context: Context, algid: int, bits: int) -> int:
    """Turn a length in bits, 0 for the default, into the length of the key in bytes."""
    algorithm = context.entry.find(algid)
    if algorithm is None:
        raise CspError(NTE_BAD_ALGID)
    bits = bits or algorithm.default
    fixed = _FIXED_LENGTHS.get(algid)
    if fixed is not None:
        if bits not in fixed:
            raise CspError(NTE_BAD_FLAGS)
        return fixed[bits]
    if not algorithm.smallest <= bits <= algorithm.largest or bits % 8:
        raise CspError(NTE_BAD_FLAGS)
    return bits // 8


def _salt_length(context: Context, length: int, dwFlags: int) -> int:
    """Say how many bytes of salt a new RC2 or RC4 key of *length* bytes gets."""
    weak = length == 5
    if dwFlags & CRYPT_CREATE_SALT:
        # "For compatibility reasons" the Enhanced provider leaves 40-bit keys without.
        wanted = not (weak and context.entry.name == MS_ENHANCED_PROV)
    else:
        wanted = weak and not dwFlags & CRYPT_NO_SALT
    return max(0, _ROOM_FOR_KEY_AND_SALT - length) if wanted else 0


def _key_param(key: Key, dwParam: int) -> bytes:
    bits = key.rsa.declared_bits if key.rsa else len(key.material) * 8
    if dwParam == KP_ALGID:
        return dword(key.algid)
    if dwParam == KP_KEYLEN:
        return dword(bits)
    if dwParam == KP_BLOCKLEN:
        return dword(bits if key.rsa else key.block * 8)
    if dwParam == KP_PERMISSIONS:
        return dword(key.permissions)
    if dwParam == KP_EFFECTIVE_KEYLEN:
        return dword(bits if key.rsa else key.effective)
    if dwParam == KP_PADDING:
        return dword(key.padding)
    if dwParam == KP_MODE:
        return dword(key.mode)
    if dwParam == KP_MODE_BITS:
        return dword(key.mode_bits)
    if key.rsa is None:
        if dwParam == KP_IV:
            return key.iv
        if dwParam == KP_SALT and key.algid in (CALG_RC2, CALG_RC4):
            return bytes(key.salt)
    raise CspError(NTE_BAD_KEY if dwParam == KP_SALT else NTE_BAD_TYPE)


def _set_salt(key: Key, salt: bytes) -> None:
    if key.algid not in (CALG_RC2, CALG_RC4):
        raise CspError(NTE_BAD_KEY)
    if len(salt) > _LARGEST_SALT:
        raise CspError(NTE_BAD_DATA)
    key.salt[:] = salt
    key.rekey()


def _set_key_number(key: Key, dwParam: int, number: int) -> None:
    if dwParam == KP_PERMISSIONS:
        if number & CRYPT_EXPORT and not key.permissions & CRYPT_EXPORT:
            raise CspError(NTE_BAD_DATA)
        # Taking the permission to export away is accepted and ignored by real providers.
        key.permissions = number | key.permissions & CRYPT_EXPORT
    elif dwParam == KP_PADDING:
        if number != PKCS5_PADDING:
            raise CspError(NTE_BAD_DATA)
        key.padding = number
    elif dwParam == KP_MODE:
        # Any number is accepted; encrypting with a mode that is not there fails (NTE_BAD_ALGID).
        key.mode = number
    elif dwParam == KP_MODE_BITS:
        key.mode_bits = number
    else:
        if key.algid != CALG_RC2:
            raise CspError(NTE_BAD_TYPE)
        if not 0 < number <= _LARGEST_EFFECTIVE:
            raise CspError(NTE_BAD_DATA)
        fixed = key.context.entry.name == MS_DEF_PROV and number != _BASE_EFFECTIVE
        key.effective_bits = _BASE_EFFECTIVE if fixed else number
        key.rekey()
        if fixed:
            # The Base provider sets its own length and fails all the same.
            raise CspError(NTE_BAD_DATA)
