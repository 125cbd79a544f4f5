"""RSA key pairs: numbers, PKCS #1 v1.5 operations in CryptoAPI's byte order, and key blobs.

CryptoAPI writes every RSA number and every signature little-endian:
https://learn.microsoft.com/windows/win32/seccrypto/base-provider-key-blobs

Not for protecting anything: the PKCS #1 v1.5 decryption is plain Python arithmetic, because OpenSSL
answers bad padding with random bytes (implicit rejection) where CryptoAPI answers NTE_BAD_DATA.
Nor can Python overwrite an int, so the numbers of a pair stay in memory until it is collected.
"""

from __future__ import annotations

import os
import secrets
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from csptrace.softcsp.constants import NTE_BAD_DATA, NTE_BAD_LEN, NTE_FAIL, SCARD_W_WRONG_CHV
from csptrace.softcsp.errors import CspError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.padding import AsymmetricPadding
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

EXPONENT: Final = 65537
SMALLEST_OF_LIBRARY: Final = 1024  # the `cryptography` package generates nothing shorter

_RSA1: Final = b"RSA1"
_RSA2: Final = b"RSA2"


@dataclass(frozen=True, repr=False)
class PrivateNumbers:
    """The secret half of a pair, with the names of RFC 8017."""

    p: int
    q: int
    d: int
    dp: int
    dq: int
    qinv: int


@dataclass(frozen=True, repr=False)
class RsaKey:
    """A public key or a whole pair. Its repr says its length only.

    Attributes:
        n: the modulus.
        e: the public exponent.
        private: the rest; None for a public key.
        declared_bits: length as a blob or a generation said it.

    """

    n: int
    e: int
    private: PrivateNumbers | None
    declared_bits: int

    def __repr__(self) -> str:
        """Say what it is, not what is in it."""
        kind = "pair" if self.private else "public key"
        return f"<RSA {kind}, {self.declared_bits} bits>"

    @property
    def size(self) -> int:
        """Length of the modulus, of a block and of a signature, in bytes."""
        return (self.declared_bits + 7) // 8

    @property
    def library_key(self) -> RSAPrivateKey:
        """The pair as the `cryptography` package holds it; NTE_BAD_DATA if it is none."""
        # No functools.cached_property: CPython 3.11 makes it with a lock, which forks do not know.
        made: RSAPrivateKey | None = self.__dict__.get("_library_key")
        if made is None:
            made = self.__dict__["_library_key"] = self._make_library_key()
        return made

    def _make_library_key(self) -> RSAPrivateKey:
        from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415

        s = self.private
        if s is None:
            raise CspError(NTE_BAD_DATA)
        public = rsa.RSAPublicNumbers(self.e, self.n)
        try:
            return rsa.RSAPrivateNumbers(s.p, s.q, s.d, s.dp, s.dq, s.qinv, public).private_key()
        except ValueError:
            raise CspError(NTE_BAD_DATA) from None

    def public(self) -> RsaKey:
        """Give the public half."""
        return RsaKey(self.n, self.e, None, self.declared_bits)

    def sign(self, payload: bytes) -> bytes:
        """Sign *payload* (DigestInfo and hash value, or a bare hash value).

        Args:
            payload: what stands after the PKCS #1 v1.5 type 1 padding.

        Returns:
            The signature, little-endian.

        Raises:
            CspError: NTE_BAD_LEN, the key is too short for the payload.

        """
        block = self._type_1(payload)
        return self._private_power(int.from_bytes(block, "big")).to_bytes(self.size, "little")

    def verify(self, signature: bytes, payload: bytes) -> bool:
        """Check a little-endian *signature* of *payload*; the key may be public."""
        value = int.from_bytes(signature, "little")
        if len(signature) != self.size or value >= self.n:
            return False
        found = pow(value, self.e, self.n).to_bytes(self.size, "big")
        return secrets.compare_digest(found, self._type_1(payload))

    def sign_x931(self, value: bytes, trailer: int) -> bytes:
        """Sign a hash value with the padding of ANSI X9.31; the result is little-endian.

        Args:
            value: the hash value.
            trailer: the hash's number in ISO/IEC 10118.

        Raises:
            CspError: NTE_BAD_LEN, the key is too short for the value.

        """
        signed = self._private_power(self._x931(value, trailer))
        return min(signed, self.n - signed).to_bytes(self.size, "little")

    def verify_x931(self, signature: bytes, value: bytes, trailer: int) -> bool:
        """Check a little-endian signature that `sign_x931` made; the key may be public."""
        number = int.from_bytes(signature, "little")
        if len(signature) != self.size or number >= self.n:
            return False
        found = pow(number, self.e, self.n)
        return self._x931(value, trailer) in (found, self.n - found)

    def _x931(self, value: bytes, trailer: int) -> int:
        filler = self.size - len(value) - 4
        if filler < 0:
            raise CspError(NTE_BAD_LEN)
        block = b"\x6b" + b"\xbb" * filler + b"\xba" + value + bytes([trailer, 0xCC])
        return int.from_bytes(block, "big")

    def encrypt(self, data: bytes, *, oaep: bool = False) -> bytes:
        """Encrypt with the public key; the result is little-endian.

        Raises:
            CspError: NTE_BAD_LEN, *data* is too long for the key.

        """
        if oaep:
            from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415

            key = rsa.RSAPublicNumbers(self.e, self.n).public_key()
            try:
                return key.encrypt(data, _oaep())[::-1]
            except ValueError:
                raise CspError(NTE_BAD_LEN) from None
        filler = self.size - len(data) - 3
        if filler < 8:
            raise CspError(NTE_BAD_LEN)
        padding = bytes(secrets.choice(range(1, 256)) for _ in range(filler))
        block = b"\0\2" + padding + b"\0" + data
        value = pow(int.from_bytes(block, "big"), self.e, self.n)
        return value.to_bytes(self.size, "little")

    def decrypt(self, data: bytes, *, oaep: bool = False) -> bytes:
        """Decrypt little-endian *data* with the private key.

        Raises:
            CspError: NTE_BAD_DATA, wrong length or padding.

        """
        if len(data) != self.size:
            raise CspError(NTE_BAD_DATA)
        if oaep:
            try:
                return self.library_key.decrypt(data[::-1], _oaep())
            except ValueError:
                raise CspError(NTE_BAD_DATA) from None
        value = int.from_bytes(data, "little")
        if value >= self.n:
            raise CspError(NTE_BAD_DATA)
        block = self._private_power(value).to_bytes(self.size, "big")
        end = block.find(b"\0", 2)
        if block[:2] != b"\0\2" or end < 10:
            raise CspError(NTE_BAD_DATA)
        return block[end + 1 :]

    def _type_1(self, payload: bytes) -> bytes:
        filler = self.size - len(payload) - 3
        if filler < 8:
            raise CspError(NTE_BAD_LEN)
        return b"\0\1" + b"\xff" * filler + b"\0" + payload

    def _private_power(self, value: int) -> int:
        s = self.private
        if s is None:
            raise CspError(NTE_FAIL)
        m1 = pow(value, s.dp, s.p)
        m2 = pow(value, s.dq, s.q)
        return m2 + s.q * (s.qinv * (m1 - m2) % s.p)


def _oaep() -> AsymmetricPadding:
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import padding  # noqa: PLC0415

    # CryptoAPI's OAEP is the one of PKCS #1 v2.0: SHA-1 throughout, no label.
    sha1 = hashes.SHA1()  # noqa: S303
    return padding.OAEP(mgf=padding.MGF1(sha1), algorithm=sha1, label=None)


def generate(bits: int) -> RsaKey:
    """Generate a pair of *bits* bits (384 to 16384, a multiple of 8) with exponent 65537."""
    if bits >= SMALLEST_OF_LIBRARY:
        from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415

        return from_library(rsa.generate_private_key(EXPONENT, bits))
    # OpenSSL refuses to generate the export-grade lengths that old CryptoAPI programs ask for.
    while True:
        p, q = _prime(bits - bits // 2), _prime(bits // 2)
        if p != q and (p * q).bit_length() == bits:
            return _from_primes(p, q)


def _from_primes(p: int, q: int) -> RsaKey:
    d = pow(EXPONENT, -1, (p - 1) * (q - 1))
    numbers = PrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p))
    return RsaKey(p * q, EXPONENT, numbers, (p * q).bit_length())


def _prime(bits: int) -> int:
    while True:
        candidate = int.from_bytes(os.urandom((bits + 7) // 8), "big") >> (-bits % 8)
        # Both top bits set, so that the product of two has its full length.
        candidate |= (3 << (bits - 2)) | 1
        if candidate % EXPONENT != 1 and _probably_prime(candidate):
            return candidate


def _probably_prime(n: int) -> bool:
    """Miller-Rabin with 40 random bases: wrong less than once in 2**80."""
    if any(n % small == 0 for small in (3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47)):
        return False
    odd, twos = n - 1, 0
    while odd % 2 == 0:
        odd //= 2
        twos += 1
    for _ in range(40):
        x = pow(secrets.randbelow(n - 3) + 2, odd, n)
        if x in (1, n - 1):
            continue
        for _ in range(twos - 1):
            x = x * x % n
            if x == n - 1:
                break
        else:
            return False
    return True


def from_library(key: RSAPrivateKey) -> RsaKey:
    """Take a pair over from the `cryptography` package."""
    s = key.private_numbers()
    public = s.public_numbers
    numbers = PrivateNumbers(s.p, s.q, s.d, s.dmp1, s.dmq1, s.iqmp)
    return RsaKey(public.n, public.e, numbers, public.n.bit_length())


def to_pem(key: RsaKey, password: bytes | None) -> str:
    """Write a pair as PKCS #8 PEM, encrypted if there is a *password*."""
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
        BestAvailableEncryption,
        Encoding,
        KeySerializationEncryption,
        NoEncryption,
        PrivateFormat,
    )

    encryption: KeySerializationEncryption = NoEncryption()
    if password:
        encryption = BestAvailableEncryption(password)
    pem = key.library_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    return pem.decode("ascii")


def is_encrypted(pem: str) -> bool:
    """Say whether a pair written by `to_pem` needs a password."""
    return pem.startswith("-----BEGIN ENCRYPTED")


def from_pem(pem: str, password: bytes | None) -> RsaKey:
    """Read what `to_pem` wrote.

    Raises:
        CspError: SCARD_W_WRONG_CHV, the password is wrong; NTE_BAD_DATA, not an RSA pair.

    """
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    secret = password if is_encrypted(pem) else None
    try:
        key = load_pem_private_key(pem.encode("ascii"), secret)
    except (ValueError, TypeError):
        raise CspError(SCARD_W_WRONG_CHV if secret else NTE_BAD_DATA) from None
    if not isinstance(key, RSAPrivateKey):
        raise CspError(NTE_BAD_DATA)
    return from_library(key)


# --- blobs: what stands after the BLOBHEADER ---------------------------------------------------


def public_blob(key: RsaKey) -> bytes:
    """Write RSAPUBKEY and the modulus (the body of a PUBLICKEYBLOB)."""
    return _RSA1 + struct.pack("<II", key.declared_bits, key.e) + key.n.to_bytes(key.size, "little")


def private_blob(key: RsaKey) -> bytes:
    """Write RSAPUBKEY and all numbers (the body of a PRIVATEKEYBLOB).

    Raises:
        CspError: NTE_BAD_DATA, *key* is a public key.

    """
    s = key.private
    if s is None:
        raise CspError(NTE_BAD_DATA)
    half = (key.declared_bits + 15) // 16
    numbers = b"".join(n.to_bytes(half, "little") for n in (s.p, s.q, s.dp, s.dq, s.qinv))
    head = _RSA2 + struct.pack("<II", key.declared_bits, key.e)
    return head + key.n.to_bytes(key.size, "little") + numbers + s.d.to_bytes(key.size, "little")


def parse_public(body: bytes) -> RsaKey:
    """Read the body of a PUBLICKEYBLOB; raises CspError(NTE_BAD_DATA).

    A length that is no multiple of 8 bits is left to the caller to refuse.
    """
    bits, exponent = _parse_head(body, _RSA1)
    if len(body) < 12 + bits // 8:
        raise CspError(NTE_BAD_DATA)
    modulus = int.from_bytes(body[12 : 12 + (bits + 7) // 8], "little")
    if not modulus:
        raise CspError(NTE_BAD_DATA)
    return RsaKey(modulus, exponent, None, bits)


def parse_private(body: bytes) -> RsaKey:
    """Read the body of a PRIVATEKEYBLOB, from which the private exponent may be missing.

    Real providers work it out from the primes; some programs write their blobs without.

    Raises:
        CspError: NTE_BAD_DATA, too short or not an RSA pair.

    """
    bits, exponent = _parse_head(body, _RSA2)
    size, half = (bits + 7) // 8, (bits + 15) // 16
    if len(body) < 12 + size + 5 * half:
        raise CspError(NTE_BAD_DATA)
    place = 12
    numbers = []
    for length in (size, half, half, half, half, half):
        numbers.append(int.from_bytes(body[place : place + length], "little"))
        place += length
    n, p, q, dp, dq, qinv = numbers
    if not n or p * q != n:
        raise CspError(NTE_BAD_DATA)
    if len(body) >= place + size:
        d = int.from_bytes(body[place : place + size], "little")
    else:
        try:
            d = pow(exponent, -1, (p - 1) * (q - 1))
        except ValueError:
            raise CspError(NTE_BAD_DATA) from None
    return RsaKey(n, exponent, PrivateNumbers(p, q, d, dp, dq, qinv), bits)


def public_der(key: RsaKey) -> bytes:
    """Write the public half as the RSAPublicKey of RFC 8017, A.1.1 (what X.509 carries)."""
    from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
        Encoding,
        PublicFormat,
    )

    public = rsa.RSAPublicNumbers(key.e, key.n).public_key()
    return public.public_bytes(Encoding.DER, PublicFormat.PKCS1)


def parse_public_der(data: bytes) -> RsaKey:
    """Read what `public_der` wrote; raises CspError(NTE_BAD_DATA)."""
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_der_public_key  # noqa: PLC0415

    try:
        key = load_der_public_key(data)
    except ValueError:
        raise CspError(NTE_BAD_DATA) from None
    if not isinstance(key, RSAPublicKey):
        raise CspError(NTE_BAD_DATA)
    numbers = key.public_numbers()
    return RsaKey(numbers.n, numbers.e, None, numbers.n.bit_length())


def _parse_head(body: bytes, magic: bytes) -> tuple[int, int]:
    if len(body) < 12 or body[:4] != magic:
        raise CspError(NTE_BAD_DATA)
    bits, exponent = struct.unpack_from("<II", body, 4)
    if not 0 < bits <= 16384:
        raise CspError(NTE_BAD_DATA)
    return bits, exponent
