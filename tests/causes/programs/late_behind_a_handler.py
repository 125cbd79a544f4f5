"""The handler releases the context, and what stands behind it the key."""

# want leaked-at-release HCRYPTKEY {key}
# want out-of-order-release HCRYPTKEY 0
# why ~ CryptDestroyKey at line {late} (comes|can only come) after that, too late
# why ! not reached|never reached|no path|not met|not entered
# fix ! finally
# why ! left by
# fix ~ move CryptDestroyKey \(line {late}\) in front of line {try}

from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, Stop, context, fails, lib


def work():
    prov, key = context(), c_void_p()
    lib.CryptGenKey(prov, AES, EXPORTABLE, byref(key))  # key
    try:  # try
        fails()
    except Stop:
        lib.CryptReleaseContext(prov, 0)  # gone
    lib.CryptDestroyKey(key)  # late


work()
