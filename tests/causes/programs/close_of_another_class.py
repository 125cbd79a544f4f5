"""A method of the name was called; the one that releases is another class's."""

# want leaked-at-release HCRYPTKEY {made}
# why ! it calls
# why ~ s\.close\(\) at line \d+ .*ran and did not release it$
# fix ~ ^see that CryptDestroyKey is called before

from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, context, lib


def key(prov):
    made = c_void_p()
    lib.CryptGenKey(prov, AES, EXPORTABLE, byref(made))  # made
    return made


class Base:
    def __init__(self, prov):
        self.k = key(prov)

    def close(self):
        lib.CryptDestroyKey(self.k)


class Sub(Base):
    def close(self):
        self.closed = True


def main():
    prov = context()
    s = Sub(prov)
    s.close()
    lib.CryptReleaseContext(prov, 0)


main()
