"""A small service that keeps its keys on a PKCS#11 token, with the mistakes people make.

It is written against the C interface, through ctypes, as it would be for any module. Nothing in it
knows that it is being traced. The mistakes:

1. `encrypt` leaves its session open when the data is refused (an exception path).
2. `encrypt` leaves its session key to the close of the session.
3. `checksum` closes its session in the middle of a digest.
4. `Service.status` is asked of a session that was closed already.
5. `Service.stop` closes that session a second time.
6. A worker goes on with its session after the service has finalised the library.
"""

from __future__ import annotations

import ctypes
from ctypes import byref, c_char_p, c_ubyte, c_ulong, c_void_p, create_string_buffer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

CKF_SERIAL_SESSION = 4
CKF_RW_SESSION = 2
CKU_USER = 1
CKA_VALUE_LEN = 0x161
CKA_ENCRYPT = 0x104
CKM_AES_KEY_GEN = 0x1080
CKM_AES_ECB = 0x1081
CKM_SHA256 = 0x250

MISTAKES = (
    "leaked-at-release",
    "leaked-at-release",
    "leaked-at-release",
    "leaked-at-release",
    "leaked-at-release",
    "use-after-release",
    "double-release",
    "use-after-invalidation",
)
"""The finding codes of the mistakes: a key left behind twice, once with its session."""


class ServiceError(Exception):
    """A call of the module failed, or a request was refused."""


class CK_MECHANISM(ctypes.Structure):  # noqa: N801 - the name in pkcs11t.h
    """What an operation is done with (pkcs11t.h)."""

    _fields_ = (("mechanism", c_ulong), ("pParameter", c_void_p), ("ulParameterLen", c_ulong))


class CK_ATTRIBUTE(ctypes.Structure):  # noqa: N801 - the name in pkcs11t.h
    """One attribute of an object (pkcs11t.h)."""

    _fields_ = (("type", c_ulong), ("pValue", c_void_p), ("ulValueLen", c_ulong))


class Service:
    """Encrypts with keys of a token.

    Args:
        module: the PKCS#11 module.
        pin: the user's PIN.
    """

    def __init__(self, module: Any, pin: bytes) -> None:
        self.api = module
        self.check(self.api.C_Initialize(None))
        count, slots = c_ulong(1), (c_ulong * 1)()
        self.check(self.api.C_GetSlotList(c_ubyte(1), None, byref(count)))
        slots = (c_ulong * count.value)()
        self.check(self.api.C_GetSlotList(c_ubyte(1), slots, byref(count)))
        self.slot = c_ulong(slots[0])
        self.session = self.open()
        self.check(self.api.C_Login(self.session, c_ulong(CKU_USER), c_char_p(pin), len(pin)))

    @staticmethod
    def check(result: int) -> None:
        """Raise if a call failed."""
        if result:
            raise ServiceError(f"{result & 0xFFFFFFFF:#x}")

    def open(self) -> c_ulong:
        """Open a session."""
        hSession = c_ulong()
        flags = c_ulong(CKF_SERIAL_SESSION | CKF_RW_SESSION)
        self.check(self.api.C_OpenSession(self.slot, flags, None, None, byref(hSession)))
        return hSession

    def new_key(self, hSession: c_ulong) -> c_ulong:
        """Make a session key."""
        length, yes, hKey = c_ulong(16), c_ubyte(1), c_ulong()
        template = (CK_ATTRIBUTE * 2)(
            CK_ATTRIBUTE(CKA_VALUE_LEN, ctypes.addressof(length), ctypes.sizeof(length)),
            CK_ATTRIBUTE(CKA_ENCRYPT, ctypes.addressof(yes), ctypes.sizeof(yes)),
        )
        mechanism = CK_MECHANISM(CKM_AES_KEY_GEN, None, 0)
        self.check(
            self.api.C_GenerateKey(hSession, byref(mechanism), template, c_ulong(2), byref(hKey))
        )
        return hKey

    def encrypt(self, data: bytes) -> bytes:
        """Encrypt whole blocks with a key of their own."""
        hSession = self.open()
        hKey = self.new_key(hSession)
        if len(data) % 16:
            raise ServiceError("not whole blocks")  # mistake 1: the session stays open
        mechanism, size = CK_MECHANISM(CKM_AES_ECB, None, 0), c_ulong(len(data))
        self.check(self.api.C_EncryptInit(hSession, byref(mechanism), hKey))
        out = create_string_buffer(len(data))
        self.check(self.api.C_Encrypt(hSession, c_char_p(data), size, out, byref(size)))
        self.check(self.api.C_CloseSession(hSession))  # mistake 2: the key is still there
        return out.raw

    def checksum(self, data: bytes) -> None:
        """Begin a digest."""
        hSession = self.open()
        mechanism = CK_MECHANISM(CKM_SHA256, None, 0)
        self.check(self.api.C_DigestInit(hSession, byref(mechanism)))
        self.check(self.api.C_DigestUpdate(hSession, c_char_p(data), c_ulong(len(data))))
        self.check(self.api.C_CloseSession(hSession))  # mistake 3: C_DigestFinal is missing

    def pause(self, _data: bytes) -> None:
        """Close the service's own session."""
        self.check(self.api.C_CloseSession(self.session))

    def status(self, _data: bytes) -> None:
        """Ask for the state of the service's own session."""
        info = create_string_buffer(64)
        self.check(self.api.C_GetSessionInfo(self.session, info))  # mistake 4: pause() closed it

    def stop(self, _data: bytes) -> None:
        """Close the service's own session."""
        self.check(self.api.C_CloseSession(self.session))  # mistake 5: pause() closed it

    def finalize(self, _data: bytes) -> None:
        """Finalise the library."""
        self.check(self.api.C_Finalize(None))


def main(module: Any, pin: bytes) -> list[str]:
    """Run the service through a busy day.

    Args:
        module: the PKCS#11 module, a `ctypes.CDLL`, with a token in its first slot.
        pin: the token's user PIN.

    Returns:
        The names of the exceptions that its requests ended with.
    """
    service = Service(module, pin)
    worker = service.open()
    info = create_string_buffer(64)
    requests: list[tuple[Callable[[bytes], object], bytes]] = [
        (service.encrypt, b"sixteen bytes it" * 2),
        (service.encrypt, b"no whole block"),
        (service.checksum, b"a document"),
        (service.pause, b""),
        (service.status, b""),
        (service.stop, b""),
        (service.finalize, b""),
        (lambda _: module.C_GetSessionInfo(worker, info), b""),  # mistake 6: after C_Finalize
    ]
    failed: list[str] = []
    for request, data in requests:
        try:
            request(data)
        except Exception as error:  # noqa: BLE001 - a service survives a failed request
            failed.append(type(error).__name__)
    return failed
