"""The same, through an ExitStack that has the context's release, too."""

# want leaked-at-release HCRYPTKEY {key}
# want out-of-order-release HCRYPTKEY 0
# why ! not reached|never reached|no path|not met|not called
# fix ! finally
# why ~ CryptDestroyKey at line {late} (comes|can only come) after that, too late

import contextlib
from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, context, lib


@contextlib.contextmanager
def generated(prov):
    key = c_void_p()
    lib.CryptGenKey(prov, AES, EXPORTABLE, byref(key))  # key
    try:
        yield key  # yields
    finally:
        lib.CryptDestroyKey(key)  # late


def work():
    with contextlib.ExitStack() as stack:
        prov = context()
        key = stack.enter_context(generated(prov))
        stack.callback(lib.CryptReleaseContext, prov, 0)  # gone
        print(bool(key))


work()
