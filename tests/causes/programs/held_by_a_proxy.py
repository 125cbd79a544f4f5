"""A variable is bound to an object that is made of it."""

# want leaked-at-release HCRYPTKEY {made}
# fix ~ on what b holds

from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, context, lib


def key(prov):
    made = c_void_p()
    lib.CryptGenKey(prov, AES, EXPORTABLE, byref(made))  # made
    return made


class Proxy:
    def __init__(self, k):
        self.k = k

    def __getattr__(self, name):
        return lambda: lib.CryptDestroyKey(self.k)


def main():
    prov = context()
    a, b = Proxy(key(prov)), Proxy(key(prov))
    a.anything()
    print(b.k)
    lib.CryptReleaseContext(prov, 0)


main()
