"""The object is closed behind the context that was taken from it."""

# want leaked-at-release HCRYPTKEY {key}
# want out-of-order-release HCRYPTKEY 0
# why ~ key\.close\(\) at line {late} \(it calls CryptDestroyKey\) (comes|can only come) after that, too late
# why ! not called|not reached|never reached|no path|not met|not entered
# fix ! finally
# fix ~ move key\.close\(\) \(line {late}\) in front of line {gone}

from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, context, lib


class Key:
    def __init__(self, prov):
        self.handle = c_void_p()
        lib.CryptGenKey(prov, AES, EXPORTABLE, byref(self.handle))  # key

    def close(self):
        lib.CryptDestroyKey(self.handle)


def work():
    prov = context()
    key = Key(prov)
    lib.CryptReleaseContext(prov, 0)  # gone
    key.close()  # late


work()
