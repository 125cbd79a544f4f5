"""The end of a with has the wrong order."""

# want leaked-at-release HCRYPTKEY {key}
# want out-of-order-release HCRYPTKEY 0
# why ~ CryptDestroyKey at line {late} (comes|can only come) after that, too late
# why ! not reached|never reached|no path|not met|not entered
# fix ! finally
# why ! not called
# fix ~ move CryptDestroyKey \(line {late}\) in front of line {gone}

from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, context, lib


class Signer:
    def __init__(self):
        self.prov, self.key = context(), c_void_p()
        lib.CryptGenKey(self.prov, AES, EXPORTABLE, byref(self.key))  # key

    def __enter__(self):
        return self

    def __exit__(self, *error):
        lib.CryptReleaseContext(self.prov, 0)  # gone
        lib.CryptDestroyKey(self.key)  # late


def work():
    with Signer() as signer:
        print(bool(signer.key))


work()
