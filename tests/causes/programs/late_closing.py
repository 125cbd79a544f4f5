"""contextlib.closing is around the with of the context."""

# want leaked-at-release HCRYPTKEY {key}
# want out-of-order-release HCRYPTKEY 0
# why ! not reached|never reached|no path|not met|not called
# fix ! finally

import contextlib
from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, context, lib


class Key:
    def __init__(self):
        self.handle = c_void_p()

    def generate(self, prov):
        lib.CryptGenKey(prov, AES, EXPORTABLE, byref(self.handle))  # key

    def close(self):
        lib.CryptDestroyKey(self.handle)  # late


def work():
    key = Key()
    with contextlib.closing(key):
        prov = context()
        key.generate(prov)
        lib.CryptReleaseContext(prov, 0)  # gone


work()
