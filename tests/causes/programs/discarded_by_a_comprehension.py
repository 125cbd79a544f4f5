"""A comprehension makes some, and the list of them is thrown away."""

# want leaked-at-release HCRYPTKEY {made}
# want leaked-at-release HCRYPTKEY {made}
# why ~ acquired it at line {made} and returned it to work\(\)
# why ! was passed by|reached|met|entered|ran and
# fix ! line {release}

from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, context, lib


def key(prov):
    made = c_void_p()
    lib.CryptGenKey(prov, AES, EXPORTABLE, byref(made))  # made
    return made


def work(prov):
    mine = key(prov)
    lib.CryptDestroyKey(mine)  # release
    [key(prov) for _ in range(2)]


def main():
    prov = context()
    work(prov)
    lib.CryptReleaseContext(prov, 0)


main()
