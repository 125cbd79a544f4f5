"""The same with lambdas."""

# want leaked-at-release HCRYPTKEY {key}
# want out-of-order-release HCRYPTKEY 0
# why ! not reached|never reached|no path|not met|not called
# fix ! finally

import contextlib
from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, context, lib


def work():
    prov, key = context(), c_void_p()
    with contextlib.ExitStack() as stack:
        lib.CryptGenKey(prov, AES, EXPORTABLE, byref(key))  # key
        stack.callback(lambda: lib.CryptDestroyKey(key))  # late
        stack.callback(lambda: lib.CryptReleaseContext(prov, 0))  # gone


work()
