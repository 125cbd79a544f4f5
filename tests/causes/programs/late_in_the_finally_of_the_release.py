"""The context goes at the end of the try, the key in its finally."""

# want leaked-at-release HCRYPTKEY {key}
# want out-of-order-release HCRYPTKEY 0
# why ~ CryptDestroyKey at line {late} (comes|can only come) after that, too late
# why ! not reached|never reached|no path|not met|not entered
# fix ! into its finally
# fix ~ before line {gone}

from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, context, lib


def work():
    prov, key = context(), c_void_p()
    try:
        lib.CryptGenKey(prov, AES, EXPORTABLE, byref(key))  # key
        lib.CryptReleaseContext(prov, 0)  # gone
    finally:
        lib.CryptDestroyKey(key)  # late


work()
