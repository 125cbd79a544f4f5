"""A loop calls what a table says, in the wrong order: nothing is named."""

# want leaked-at-release HCRYPTKEY {key}
# want out-of-order-release HCRYPTKEY 0
# why ! not reached|never reached|no path|not met|not called
# fix ! finally

from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, context, lib


def work():
    prov, key = context(), c_void_p()
    lib.CryptGenKey(prov, AES, EXPORTABLE, byref(key))  # key
    for release, handle in (
        (lambda h: lib.CryptReleaseContext(h, 0), prov),
        (lib.CryptDestroyKey, key),
    ):
        release(handle)


work()
