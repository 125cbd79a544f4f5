"""Each release of the finally has a condition, and both are met."""

# want leaked-at-release HCRYPTKEY {key}
# want out-of-order-release HCRYPTKEY 0
# why ~ CryptDestroyKey at line {late} (comes|can only come) after that, too late
# why ! not reached|never reached|no path|not met|not entered
# fix ! finally
# fix ~ move lines {block} to {late} \(CryptDestroyKey\) in front of line {condition}

from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, context, lib


def work():
    prov, key = context(), c_void_p()
    try:
        lib.CryptGenKey(prov, AES, EXPORTABLE, byref(key))  # key
        return True
    finally:
        if prov:  # condition
            lib.CryptReleaseContext(prov, 0)  # gone
        if key:  # block
            lib.CryptDestroyKey(key)  # late


work()
