"""What the programs of this folder share: contexts of softcsp, SoftHSM and its first token."""

import os
from ctypes import byref, c_void_p

from csptrace.softcsp import advapi32 as lib

AES = 0x6610
EXPORTABLE = 1
PIN = os.environ.get("PKCS11_PIN", "")


class Stop(Exception):
    """What the programs raise."""


def fails():
    raise Stop


def context():
    prov = c_void_p()
    lib.CryptAcquireContextW(byref(prov), None, None, 24, 0xF0000000)
    return prov


def cryptoki():
    import PyKCS11

    library = PyKCS11.PyKCS11Lib()
    library.load(os.environ["PKCS11_MODULE"])
    return library, library.getSlotList(tokenPresent=True)[0]


def token():
    import pkcs11

    return next(iter(pkcs11.lib(os.environ["PKCS11_MODULE"]).get_tokens()))
