"""An ExitStack calls the context's release first, which was registered last."""

# want leaked-at-release HCRYPTKEY {key}
# want out-of-order-release HCRYPTKEY 0
# why ! not reached|never reached|no path|not met|not called
# fix ! finally
# why ~ line {late} .*line {gone}
# fix ~ \(line {late}\) behind line {gone}

import contextlib
from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, context, lib


def work():
    prov, key = context(), c_void_p()
    with contextlib.ExitStack() as stack:
        lib.CryptGenKey(prov, AES, EXPORTABLE, byref(key))  # key
        stack.callback(lib.CryptDestroyKey, key)  # late
        stack.callback(lib.CryptReleaseContext, prov, 0)  # gone


work()
