"""What is thrown away is an object that holds it."""

# want leaked-at-release HCRYPTKEY {made}
# fix ~ call CryptDestroyKey on what it holds$

from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, context, lib


def key(prov):
    made = c_void_p()
    lib.CryptGenKey(prov, AES, EXPORTABLE, byref(made))  # made
    return made


class Owner:
    def __init__(self, k):
        self.k = k

    @classmethod
    def open(cls, prov):
        return cls(key(prov))

    def __enter__(self):
        return self

    def __exit__(self, *rest):
        lib.CryptDestroyKey(self.k)


def main():
    prov = context()
    with Owner.open(prov):
        pass
    Owner.open(prov)
    lib.CryptReleaseContext(prov, 0)


main()
