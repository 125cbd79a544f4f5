"""Key blobs in their real byte layouts: the fourth layer of `provider.Provider`.

Source: https://learn.microsoft.com/windows/win32/seccrypto/base-provider-key-blobs
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Final

from csptrace.softcsp import keywrap, rsakeys
from csptrace.softcsp.algorithms import SPEC_OF_ALGID
from csptrace.softcsp.answers import Answer, answer
from csptrace.softcsp.ciphers import SESSION_ALGIDS
from csptrace.softcsp.constants import (
    AT_KEYEXCHANGE,
    CALG_RC2,
    CALG_RSA_KEYX,
    CALG_RSA_SIGN,
    CRYPT_DESTROYKEY,
    CRYPT_EXPORT,
    CRYPT_EXPORTABLE,
    CRYPT_IPSEC_HMAC_KEY,
    CRYPT_OAEP,
    CUR_BLOB_VERSION,
    ERROR_FILE_NOT_FOUND,
    NTE_BAD_ALGID,
    NTE_BAD_DATA,
    NTE_BAD_FLAGS,
    NTE_BAD_KEY,
    NTE_BAD_KEY_STATE,
    NTE_BAD_PUBLIC_KEY,
    NTE_BAD_TYPE,
    NTE_BAD_VER,
    NTE_NO_KEY,
    OPAQUEKEYBLOB,
    PLAINTEXTKEYBLOB,
    PRIVATEKEYBLOB,
    PUBLICKEYBLOB,
    SIMPLEBLOB,
    SYMMETRICWRAPKEYBLOB,
    szOID_RSA_RSA,
)
from csptrace.softcsp.errors import CspError, Profile
from csptrace.softcsp.keys import Keys, key_length
from csptrace.softcsp.objects import Context, Key

if TYPE_CHECKING:
    from csptrace.softcsp.ciphers import BlockCipher

_HEADER_SIZE: Final = 8
_WRAPPING_BLOCK: Final = 8
_SESSION_BLOBS: Final = (SIMPLEBLOB, PLAINTEXTKEYBLOB, OPAQUEKEYBLOB, SYMMETRICWRAPKEYBLOB)


class Blobs(Keys):
    """Writing keys as blobs and reading them."""

    # --- blobs ---------------------------------------------------------------------------------

    def CryptExportKey(
        self, hKey: int, hExpKey: int, dwBlobType: int, dwFlags: int, room: int | None
    ) -> Answer:
        """Write a key as a blob.

        CRYPT_DESTROYKEY with an OPAQUEKEYBLOB destroys *hKey* once the blob was handed out.

        Args:
            hKey: the key.
            hExpKey: what to encrypt the blob with; 0 for nothing.
            dwBlobType: PUBLICKEYBLOB, PRIVATEKEYBLOB, SIMPLEBLOB, PLAINTEXTKEYBLOB,
                SYMMETRICWRAPKEYBLOB or OPAQUEKEYBLOB.
            dwFlags: CRYPT_OAEP, CRYPT_DESTROYKEY or 0.
            room: how many bytes the caller has room for; None asks for the size.

        """
        key = self._find(Key, hKey)
        wrapper = self._find(Key, hExpKey) if hExpKey else None
        if dwFlags & ~(CRYPT_OAEP | CRYPT_DESTROYKEY):
            raise CspError(NTE_BAD_FLAGS)
        if dwFlags & CRYPT_DESTROYKEY and dwBlobType != OPAQUEKEYBLOB:
            raise CspError(NTE_BAD_FLAGS)
        body = self._blob_body(key, wrapper, dwBlobType, oaep=bool(dwFlags & CRYPT_OAEP))
        header = struct.pack("<BBHI", dwBlobType, CUR_BLOB_VERSION, 0, key.algid)
        item = answer(header + body, room)
        if dwFlags & CRYPT_DESTROYKEY and room is not None:
            self.CryptDestroyKey(hKey)
        return item

    def _blob_body(self, key: Key, wrapper: Key | None, dwBlobType: int, *, oaep: bool) -> bytes:
        if dwBlobType == PUBLICKEYBLOB:
            if wrapper is not None or key.rsa is None:
                raise CspError(NTE_BAD_KEY)
            return rsakeys.public_blob(key.rsa)
        if dwBlobType not in (PRIVATEKEYBLOB, *_SESSION_BLOBS):
            raise CspError(NTE_BAD_TYPE)
        if dwBlobType == SIMPLEBLOB and not _is_exchange_key(wrapper):
            raise CspError(NTE_BAD_PUBLIC_KEY)
        if (key.rsa is None) == (dwBlobType == PRIVATEKEYBLOB):
            raise CspError(NTE_BAD_KEY)
        if not key.permissions & CRYPT_EXPORT:
            raise CspError(NTE_BAD_KEY_STATE)
        if dwBlobType == PLAINTEXTKEYBLOB:
            return struct.pack("<I", len(key.material)) + bytes(key.material)
        if dwBlobType == OPAQUEKEYBLOB:
            return self._seal(key)
        if dwBlobType == SYMMETRICWRAPKEYBLOB:
            cipher = _wrapping_cipher(wrapper)
            wrapped = keywrap.wrap(key.algid, bytes(key.material), cipher)
            return struct.pack("<I", wrapper.algid if wrapper else 0) + wrapped
        if key.rsa is not None:
            if key.rsa.private is None:
                raise CspError(NTE_BAD_KEY)
            return _wrap(rsakeys.private_blob(key.rsa), wrapper)
        assert wrapper is not None  # noqa: S101 - checked above
        assert wrapper.rsa is not None  # noqa: S101 - checked above
        wrapped = wrapper.rsa.encrypt(bytes(key.material), oaep=oaep)
        return struct.pack("<I", wrapper.algid) + wrapped

    def _seal(self, key: Key) -> bytes:
        """Wrap a key so that only this process can take it back ("nontransferable")."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

        if not self._opaque_key:
            self._opaque_key = AESGCM.generate_key(128)
        nonce = os.urandom(12)
        plain = bytes(key.material) + bytes(key.salt)
        sealed = AESGCM(self._opaque_key).encrypt(nonce, plain, None)
        return struct.pack("<I", len(key.material)) + nonce + sealed

    def _unseal(self, body: bytes) -> tuple[bytes, bytes]:
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

        if not self._opaque_key or len(body) < 32:
            raise CspError(NTE_BAD_DATA)
        (length,) = struct.unpack_from("<I", body)
        try:
            plain = AESGCM(self._opaque_key).decrypt(body[4:16], body[16:], None)
        except InvalidTag:
            raise CspError(NTE_BAD_DATA) from None
        return plain[:length], plain[length:]

    def CryptImportKey(self, hProv: int, data: bytes, hPubKey: int, dwFlags: int) -> int:
        """Take a key from a blob; a PRIVATEKEYBLOB becomes the container's key pair.

        Args:
            hProv: the context.
            data: the blob.
            hPubKey: what decrypts the blob; 0 for nothing, or for the container's exchange pair.
            dwFlags: CRYPT_EXPORTABLE, CRYPT_OAEP, CRYPT_NO_SALT, CRYPT_IPSEC_HMAC_KEY.

        Returns:
            A handle, to be destroyed with CryptDestroyKey.

        """
        context = self._find(Context, hProv)
        wrapper = self._find(Key, hPubKey) if hPubKey else None
        if len(data) < _HEADER_SIZE:
            raise CspError(NTE_BAD_DATA)
        blob_type, version, _, algid = struct.unpack_from("<BBHI", data)
        if version != CUR_BLOB_VERSION:
            documented = self.profile is Profile.DOCUMENTED
            raise CspError(NTE_BAD_VER if documented else NTE_BAD_DATA)
        body = data[_HEADER_SIZE:]
        if dwFlags & CRYPT_IPSEC_HMAC_KEY and blob_type != PLAINTEXTKEYBLOB:
            raise CspError(NTE_BAD_FLAGS)
        if blob_type == PUBLICKEYBLOB:
            rsa = rsakeys.parse_public(body)
            if algid not in (CALG_RSA_KEYX, CALG_RSA_SIGN):
                raise CspError(NTE_BAD_ALGID)
            if rsa.declared_bits % 8:
                raise CspError(NTE_BAD_DATA)
            exportable = bool(dwFlags & CRYPT_EXPORTABLE)
            return self._issue_rsa(context, algid, rsa, exportable=exportable)
        if blob_type == PRIVATEKEYBLOB:
            return self._import_pair(context, algid, _unwrap(body, wrapper), dwFlags)
        if blob_type not in _SESSION_BLOBS:
            raise CspError(NTE_BAD_TYPE)
        salt: bytes | None = None
        if blob_type == SIMPLEBLOB:
            material = self._open_simple(context, wrapper, body, dwFlags)
        elif blob_type == SYMMETRICWRAPKEYBLOB:
            material = keywrap.unwrap(algid, body[4:], _wrapping_cipher(wrapper))
        elif blob_type == OPAQUEKEYBLOB:
            material, salt = self._unseal(body)
        else:
            material = _plaintext(body)
        if algid not in SESSION_ALGIDS:
            raise CspError(NTE_BAD_ALGID)
        _check_imported_length(context, algid, len(material), dwFlags)
        key = self._session_key(context, algid, material, dwFlags)
        if salt is not None:
            key.salt[:] = salt
        return self._issue_alive(context, key)

    def _import_pair(self, context: Context, algid: int, body: bytes, dwFlags: int) -> int:
        pair = rsakeys.parse_private(body)
        spec = SPEC_OF_ALGID.get(algid)
        if spec is None:
            raise CspError(NTE_BAD_ALGID)
        exportable = bool(dwFlags & CRYPT_EXPORTABLE)
        self._keep_pair(context, spec, pair, exportable)
        return self._issue_rsa(context, algid, pair, exportable=exportable)

    def _open_simple(
        self, context: Context, wrapper: Key | None, body: bytes, dwFlags: int
    ) -> bytes:
        try:
            rsa = wrapper.rsa if wrapper else self._pair(context, AT_KEYEXCHANGE)
        except CspError as error:
            if error.code != NTE_NO_KEY:
                raise
            rsa = None
        if rsa is None or rsa.private is None or (wrapper and wrapper.algid != CALG_RSA_KEYX):
            raise CspError(NTE_BAD_PUBLIC_KEY)
        if len(body) < 4 + rsa.size:
            raise CspError(NTE_BAD_DATA)
        (algid,) = struct.unpack_from("<I", body)
        if algid != CALG_RSA_KEYX:
            raise CspError(NTE_BAD_ALGID)
        return rsa.decrypt(body[4:], oaep=bool(dwFlags & CRYPT_OAEP))

    def CryptExportPublicKeyInfo(self, hProv: int, dwKeySpec: int) -> bytes:
        """Write the public half of a key pair of the container as DER (a crypt32 function).

        Args:
            hProv: the context.
            dwKeySpec: AT_KEYEXCHANGE or AT_SIGNATURE.

        Returns:
            RSAPublicKey, the content of CERT_PUBLIC_KEY_INFO.PublicKey.

        """
        return rsakeys.public_der(self._pair(self._find(Context, hProv), dwKeySpec))

    def CryptImportPublicKeyInfo(self, hProv: int, pszObjId: str, data: bytes) -> int:
        """Take a public key from its DER (a crypt32 function).

        Args:
            hProv: the context.
            pszObjId: CERT_PUBLIC_KEY_INFO.Algorithm.pszObjId; only RSA is known.
            data: RSAPublicKey.

        Returns:
            A handle, to be destroyed with CryptDestroyKey.

        """
        context = self._find(Context, hProv)
        if pszObjId != szOID_RSA_RSA:
            raise CspError(ERROR_FILE_NOT_FOUND)
        rsa = rsakeys.parse_public_der(data)
        return self._issue_rsa(context, CALG_RSA_KEYX, rsa, exportable=False)


def _wrapping_cipher(wrapper: Key | None) -> BlockCipher:
    """Give the cipher of a SYMMETRICWRAPKEYBLOB's key, which must have blocks of 8 bytes."""
    if wrapper is None or wrapper.block != _WRAPPING_BLOCK:
        raise CspError(NTE_BAD_KEY)
    return wrapper.cipher()


def _is_exchange_key(key: Key | None) -> bool:
    return key is not None and key.rsa is not None and key.algid == CALG_RSA_KEYX


def _check_imported_length(context: Context, algid: int, length: int, dwFlags: int) -> None:
    if algid == CALG_RC2 and dwFlags & CRYPT_IPSEC_HMAC_KEY:
        # The documented way in for HMAC keys of any length: they come as over-long RC2 keys.
        if not length:
            raise CspError(NTE_BAD_DATA)
        return
    if context.entry.find(algid) is None:
        raise CspError(NTE_BAD_ALGID)
    if not length:
        raise CspError(NTE_BAD_DATA)
    try:
        expected = key_length(context, algid, length * 8)
    except CspError:
        raise CspError(NTE_BAD_DATA) from None
    if expected != length:
        raise CspError(NTE_BAD_DATA)


def _plaintext(body: bytes) -> bytes:
    if len(body) < 4:
        raise CspError(NTE_BAD_DATA)
    (length,) = struct.unpack_from("<I", body)
    if len(body) < 4 + length:
        raise CspError(NTE_BAD_DATA)
    return body[4 : 4 + length]


def _wrap(body: bytes, wrapper: Key | None) -> bytes:
    """Encrypt a private key blob's body with a session key, as one message."""
    if wrapper is None:
        return body
    if wrapper.rsa is not None:
        raise CspError(NTE_BAD_KEY)
    if wrapper.block:
        missing = wrapper.block - len(body) % wrapper.block
        body += bytes([missing]) * missing
    return wrapper.start(encrypt=True).update(body)


def _unwrap(body: bytes, wrapper: Key | None) -> bytes:
    if wrapper is None:
        return body
    if wrapper.rsa is not None:
        raise CspError(NTE_BAD_KEY)
    if wrapper.block and len(body) % wrapper.block:
        raise CspError(NTE_BAD_DATA)
    plain = wrapper.start(encrypt=False).update(body)
    return unpad(plain, wrapper.block) if wrapper.block else plain


def unpad(data: bytes, block: int) -> bytes:
    """Remove PKCS #5 padding; raises CspError(NTE_BAD_DATA) where it is none."""
    count = data[-1] if data else 0
    if not 0 < count <= block or data[-count:] != bytes([count]) * count:
        raise CspError(NTE_BAD_DATA)
    return data[:-count]
