"""A clean-up that swallows errors."""

# want leaked-at-release HCRYPTKEY {key}
# want out-of-order-release HCRYPTKEY 0
# why ~ CryptDestroyKey at line {late} (comes|can only come) after that, too late
# why ! not reached|never reached|no path|not met|not entered
# fix ! finally
# fix ~ move lines {block} to {late} \(CryptDestroyKey\) in front of line {gone}

import contextlib
from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, context, lib


def work():
    prov, key = context(), c_void_p()
    lib.CryptGenKey(prov, AES, EXPORTABLE, byref(key))  # key
    lib.CryptReleaseContext(prov, 0)  # gone
    with contextlib.suppress(OSError):  # block
        lib.CryptDestroyKey(key)  # late


work()
