"""The release is one side of a conditional expression."""

# want leaked-at-release HCRYPTKEY {made}
# fix ! move

from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, context, lib


def key(prov):
    made = c_void_p()
    lib.CryptGenKey(prov, AES, EXPORTABLE, byref(made))  # made
    return made


def work(prov, yes):
    k = key(prov)
    lib.CryptDestroyKey(k) if yes else None


def main():
    prov = context()
    work(prov, True)
    work(prov, False)
    lib.CryptReleaseContext(prov, 0)


main()
