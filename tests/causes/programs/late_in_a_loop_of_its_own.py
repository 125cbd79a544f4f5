"""The keys are destroyed in a loop behind the context."""

# want leaked-at-release HCRYPTKEY {key}
# want leaked-at-release HCRYPTKEY {key}
# want out-of-order-release HCRYPTKEY 0
# want out-of-order-release HCRYPTKEY 0
# why ~ CryptDestroyKey at line {late} (comes|can only come) after that, too late
# why ! not reached|never reached|no path|not met|not entered
# fix ! finally
# fix ~ move lines {block} to {late} \(CryptDestroyKey\) in front of line {gone}

from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, context, lib


def work():
    prov, keys = context(), []
    for _ in range(2):
        key = c_void_p()
        lib.CryptGenKey(prov, AES, EXPORTABLE, byref(key))  # key
        keys.append(key)
    lib.CryptReleaseContext(prov, 0)  # gone
    for each in keys:  # block
        lib.CryptDestroyKey(each)  # late


work()
