"""The callback is registered on a stack that is never closed."""

# want leaked-at-release HCRYPTKEY {key}
# why ! too late|came|comes
# why ! not reached|never reached
# why ~ line {registered}
# fix ! into its finally|begin a try

import contextlib
from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, context, lib


def work(prov):
    with contextlib.ExitStack() as stack:
        key = c_void_p()
        lib.CryptGenKey(prov, AES, EXPORTABLE, byref(key))  # key
        stack.callback(lib.CryptDestroyKey, key)  # registered
        return stack.pop_all()


prov = context()
stack = work(prov)
lib.CryptReleaseContext(prov, 0)  # gone
