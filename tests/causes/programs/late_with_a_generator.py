"""The body of a with releases the context, its generator the key afterwards."""

# want leaked-at-release HCRYPTKEY {key}
# want out-of-order-release HCRYPTKEY 0
# why ! not reached|never reached|no path|not met|not called
# fix ! finally
# why ~ CryptDestroyKey at line {late} (comes|can only come) after that, too late
# why ! suspended

import contextlib
from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, context, lib


@contextlib.contextmanager
def generated(prov):
    key = c_void_p()
    lib.CryptGenKey(prov, AES, EXPORTABLE, byref(key))  # key
    yield key  # yields
    lib.CryptDestroyKey(key)  # late


def work():
    prov = context()
    with generated(prov) as key:  # outer
        print(bool(key))
        lib.CryptReleaseContext(prov, 0)  # gone


work()
