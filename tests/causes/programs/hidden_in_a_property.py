"""A property destroys the key under a condition."""

# want leaked-at-release HCRYPTKEY {key}
# why ! too late|came|comes
# why ! no path|not called

from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, context, lib


class Key:
    def __init__(self, prov):
        self.handle = c_void_p()
        lib.CryptGenKey(prov, AES, EXPORTABLE, byref(self.handle))  # key
        self.wanted = False

    @property
    def ended(self):
        if self.wanted:
            lib.CryptDestroyKey(self.handle)
        return self.wanted


def work():
    prov = context()
    key = Key(prov)
    print(key.ended)
    lib.CryptReleaseContext(prov, 0)  # gone


work()
