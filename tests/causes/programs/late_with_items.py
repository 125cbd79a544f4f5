"""The items of one with are closed from the last to the first."""

# want leaked-at-release HCRYPTKEY {key}
# want out-of-order-release HCRYPTKEY 0
# why ! not reached|never reached|no path|not met|not called
# fix ! finally
# why ~ (the with of line {outer}.*|CryptDestroyKey at line {late} )comes after that, too late

from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, context, lib


class Key:
    def __init__(self):
        self.handle = c_void_p()

    def __enter__(self):
        return self

    def generate(self, prov):
        lib.CryptGenKey(prov, AES, EXPORTABLE, byref(self.handle))  # key

    def __exit__(self, *error):
        lib.CryptDestroyKey(self.handle)  # late


class Context:
    def __enter__(self):
        self.prov = context()
        return self.prov

    def __exit__(self, *error):
        lib.CryptReleaseContext(self.prov, 0)  # gone


def work():
    with Key() as key, Context() as prov:  # outer
        key.generate(prov)


work()
