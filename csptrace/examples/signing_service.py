"""A small signing service with the mistakes people make.

It is written as such services are: against the C interface of a CryptoAPI library, through
ctypes. Nothing in it knows that it is being traced. The mistakes:

1. `sign` leaves its hash behind when the document is empty (an exception path).
2. `seal` never destroys its session key.
3. `authenticate` destroys the HMAC's key before the HMAC is finished.
4. `Service.handle` destroys a hash that was destroyed already.
5. `Service.last_digest` is asked for after its hash was destroyed.
6. A worker still has a hash of its own when the service releases its context.
7. The worker goes on using that hash afterwards.
"""

from __future__ import annotations

import ctypes
from ctypes import byref, c_uint32, c_void_p, create_string_buffer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

PROV_RSA_AES = 24
CRYPT_NEWKEYSET = 0x8
CRYPT_DELETEKEYSET = 0x10
AT_SIGNATURE = 2
CALG_SHA_256 = 0x800C
CALG_SHA1 = 0x8004
CALG_HMAC = 0x8009
CALG_AES_128 = 0x660E
HP_HASHVAL = 2
HP_HMAC_INFO = 5

MISTAKES = (
    "leaked-at-release",
    "leaked-at-release",
    "leaked-at-release",
    "stale-dependency",
    "double-release",
    "use-after-release",
    "use-after-invalidation",
)
"""The finding codes of the mistakes."""


class ServiceError(Exception):
    """A call of the provider failed, or a request was refused."""


class HMAC_INFO(ctypes.Structure):  # noqa: N801 - the name in wincrypt.h
    """The parameter of HP_HMAC_INFO (wincrypt.h)."""

    _fields_ = (
        ("HashAlgid", c_uint32),
        ("pbInnerString", c_void_p),
        ("cbInnerString", c_uint32),
        ("pbOuterString", c_void_p),
        ("cbOuterString", c_uint32),
    )


class Service:
    """Signs documents with the key of one container.

    Args:
        advapi32: the CryptoAPI library.
        container: the key container's name.
    """

    def __init__(self, advapi32: Any, container: str) -> None:
        self.api = advapi32
        self.container = container
        self.hProv = c_void_p()
        self.hHash = c_void_p()
        self.check(
            advapi32.CryptAcquireContextW(
                byref(self.hProv), container, None, PROV_RSA_AES, CRYPT_NEWKEYSET
            )
        )
        hKey = c_void_p()
        self.check(advapi32.CryptGenKey(self.hProv, AT_SIGNATURE, 1024 << 16, byref(hKey)))
        self.check(advapi32.CryptDestroyKey(hKey))

    def check(self, succeeded: int) -> None:
        """Raise if a call failed."""
        if not succeeded:
            raise ServiceError(f"error {self.api.GetLastError() & 0xFFFFFFFF:#x}")

    def create_hash(self, algorithm: int, hKey: Any = 0) -> c_void_p:
        """Return a new hash."""
        hHash = c_void_p()
        self.check(self.api.CryptCreateHash(self.hProv, algorithm, hKey, 0, byref(hHash)))
        return hHash

    def sign(self, document: bytes) -> bytes:
        """Return the signature of a document."""
        hHash = self.create_hash(CALG_SHA_256)
        if not document:
            raise ServiceError("nothing to sign")  # mistake 1: hHash is still alive
        self.check(self.api.CryptHashData(hHash, document, len(document), 0))
        length = c_uint32()
        self.check(self.api.CryptSignHashW(hHash, AT_SIGNATURE, None, 0, None, byref(length)))
        signature = create_string_buffer(length.value)
        self.check(self.api.CryptSignHashW(hHash, AT_SIGNATURE, None, 0, signature, byref(length)))
        self.check(self.api.CryptDestroyHash(hHash))
        return signature.raw

    def seal(self, document: bytes) -> bytes:
        """Return a document encrypted with a fresh session key."""
        hKey = c_void_p()
        self.check(self.api.CryptGenKey(self.hProv, CALG_AES_128, 1, byref(hKey)))
        buffer = create_string_buffer(document, len(document) + 16)
        length = c_uint32(len(document))
        self.check(self.api.CryptEncrypt(hKey, 0, 1, 0, buffer, byref(length), len(document) + 16))
        return buffer.raw[: length.value]  # mistake 2: hKey is never destroyed

    def authenticate(self, message: bytes) -> None:
        """Compute an HMAC of a message."""
        hKey = c_void_p()
        self.check(self.api.CryptGenKey(self.hProv, CALG_AES_128, 1, byref(hKey)))
        hHash = self.create_hash(CALG_HMAC, hKey)
        try:
            info = HMAC_INFO(HashAlgid=CALG_SHA1)
            self.check(self.api.CryptSetHashParam(hHash, HP_HMAC_INFO, byref(info), 0))
            self.check(self.api.CryptDestroyKey(hKey))  # mistake 3: the HMAC still needs it
            self.check(self.api.CryptHashData(hHash, message, len(message), 0))
        finally:
            self.api.CryptDestroyHash(hHash)

    def handle(self, document: bytes) -> None:
        """Take the digest of a document and keep its hash for `last_digest`."""
        self.hHash = self.create_hash(CALG_SHA_256)
        try:
            self.check(self.api.CryptHashData(self.hHash, document, len(document), 0))
            self.check(self.api.CryptDestroyHash(self.hHash))
        finally:
            self.api.CryptDestroyHash(self.hHash)  # mistake 4: destroyed already

    def last_digest(self) -> bytes:
        """Return the digest of the document handled last."""
        digest = create_string_buffer(32)
        length = c_uint32(32)
        self.check(  # mistake 5: handle() has destroyed the hash
            self.api.CryptGetHashParam(self.hHash, HP_HASHVAL, digest, byref(length), 0)
        )
        return digest.raw

    def close(self) -> None:
        """Release the context and delete the container."""
        self.check(self.api.CryptReleaseContext(self.hProv, 0))
        self.check(
            self.api.CryptAcquireContextW(
                byref(c_void_p()), self.container, None, PROV_RSA_AES, CRYPT_DELETEKEYSET
            )
        )


def main(advapi32: Any, container: str = "csptrace demo") -> list[str]:
    """Run the service through a busy day.

    Args:
        advapi32: the CryptoAPI library.
        container: the name of the key container, which is made and deleted again.

    Returns:
        The names of the exceptions that its requests ended with.
    """
    service = Service(advapi32, container)
    worker = service.create_hash(CALG_SHA_256)
    documents = [b"a contract", b"an invoice", b"a licence", b"a will", b""]
    requests: list[tuple[Callable[..., object], bytes]] = [
        *((service.sign, document) for document in documents),
        (service.seal, b"a secret document"),
        (service.authenticate, b"a message"),
        (service.handle, b"another document"),
        (service.last_digest, b""),
        (service.close, b""),
        (lambda: advapi32.CryptHashData(worker, b"late", 4, 0), b""),
    ]
    failed: list[str] = []
    for request, document in requests:
        try:
            if document or request == service.sign:
                request(document)
            else:
                request()
        except Exception as error:  # noqa: BLE001 - a service survives a failed request
            failed.append(type(error).__name__)
    return failed
