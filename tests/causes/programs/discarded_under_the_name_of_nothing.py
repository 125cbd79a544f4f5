"""A result is bound to `_`, which is bound to something else afterwards."""

# want leaked-at-release HCRYPTKEY {made}
# why ~ acquired it at line {made} and returned it to work\(\)
# why ! was passed by|reached|met|entered|ran and
# fix ! on _|line {again}
# fix ~ ^see that CryptDestroyKey is called before the provider context is released

from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, context, lib


def key(prov):
    made = c_void_p()
    lib.CryptGenKey(prov, AES, EXPORTABLE, byref(made))  # made
    return made


def work(prov):
    mine = key(prov)
    lib.CryptDestroyKey(mine)  # release
    _ = key(prov)
    for _ in range(3):  # again
        print("working")


def main():
    prov = context()
    work(prov)
    lib.CryptReleaseContext(prov, 0)


main()
