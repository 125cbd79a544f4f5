"""An object is destroyed behind its session (ctypes)."""

# needs softhsm
# want leaked-at-release CK_OBJECT_HANDLE {key}
# want use-after-release CK_SESSION_HANDLE 0
# want out-of-order-release CK_OBJECT_HANDLE 0
# why ~ C_DestroyObject at line {late} (comes|can only come) after that, too late
# why ! not reached|never reached|no path|not met|not entered
# fix ~ move C_DestroyObject \(line {late}\) in front of line {gone}

import os
from ctypes import CDLL, Structure, byref, c_ubyte, c_ulong, c_void_p, cast, pointer

PIN = os.environ["PKCS11_PIN"].encode()
lib = CDLL(os.environ["PKCS11_MODULE"])


class Attribute(Structure):
    _fields_ = (("type", c_ulong), ("value", c_void_p), ("length", c_ulong))


def attribute(kind, value, size):
    return Attribute(kind, cast(pointer(value), c_void_p), size)


VALUE = (c_ubyte * 16)()
TEMPLATE = (Attribute * 4)(
    attribute(0x000, c_ulong(4), 8),
    attribute(0x100, c_ulong(0x1F), 8),
    attribute(0x001, c_ubyte(0), 1),
    attribute(0x011, VALUE, 16),
)


def check(code):
    assert code == 0, hex(code)


def work(slot):
    session, key = c_ulong(), c_ulong()
    check(lib.C_OpenSession(slot, 6, None, None, byref(session)))
    check(lib.C_Login(session, c_ulong(1), PIN, c_ulong(len(PIN))))
    check(lib.C_CreateObject(session, TEMPLATE, c_ulong(4), byref(key)))  # key
    lib.C_CloseSession(session)  # gone
    lib.C_DestroyObject(session, key)  # late


count = c_ulong(8)
slots = (c_ulong * 8)()
check(lib.C_Initialize(None))
check(lib.C_GetSlotList(c_ubyte(1), slots, byref(count)))
work(c_ulong(slots[0]))
check(lib.C_Finalize(None))
