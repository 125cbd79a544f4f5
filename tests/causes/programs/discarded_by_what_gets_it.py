"""A result is given to a function that does nothing with it."""

# want leaked-at-release HCRYPTKEY {made}
# why ~ acquired it at line {made} and returned it to work\(\)
# why ! was passed by|reached|met|entered|ran and|no path
# fix ! line {release}

from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, context, lib


def key(prov):
    made = c_void_p()
    lib.CryptGenKey(prov, AES, EXPORTABLE, byref(made))  # made
    return made


def ignore(thing):
    return 0


def work(prov):
    mine = key(prov)
    if mine:
        lib.CryptDestroyKey(mine)  # release
    ignore(key(prov))


def main():
    prov = context()
    work(prov)
    lib.CryptReleaseContext(prov, 0)


main()
