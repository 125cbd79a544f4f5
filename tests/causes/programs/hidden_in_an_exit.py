"""The end of a with destroys the key under a condition."""

# want leaked-at-release HCRYPTKEY {key}
# why ! too late|came|comes
# why ! no path|not called

from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, context, lib


class Key:
    def __init__(self, prov):
        self.handle = c_void_p()
        lib.CryptGenKey(prov, AES, EXPORTABLE, byref(self.handle))  # key

    def __enter__(self):
        return self

    def __exit__(self, error, *rest):
        if error:
            lib.CryptDestroyKey(self.handle)


def work():
    prov = context()
    with Key(prov) as key:
        print(bool(key.handle))
    lib.CryptReleaseContext(prov, 0)  # gone


work()
