"""An inner function of the one that has the key releases both."""

# want leaked-at-release HCRYPTKEY {key}
# want out-of-order-release HCRYPTKEY 0
# why ~ CryptDestroyKey at line {late} (comes|can only come) after that, too late
# why ! not reached|never reached|no path|not met|not entered
# fix ! finally
# fix ~ move CryptDestroyKey \(line {late}\) in front of line {gone}

from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, context, lib


def work():
    prov, key = context(), c_void_p()

    def end():
        lib.CryptReleaseContext(prov, 0)  # gone
        lib.CryptDestroyKey(key)  # late

    lib.CryptGenKey(prov, AES, EXPORTABLE, byref(key))  # key
    end()


work()
