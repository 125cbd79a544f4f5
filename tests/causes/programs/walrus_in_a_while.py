"""The last round of a `while` acquires and does not go in."""

# want leaked-at-release HCRYPTKEY {made}
# why ~ CryptDestroyKey at line \d+ was not reached after that$

from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, context, lib


def key(prov):
    made = c_void_p()
    lib.CryptGenKey(prov, AES, EXPORTABLE, byref(made))  # made
    return made


def main():
    prov = context()
    n = 0
    while (k := key(prov)) and n < 2:
        n += 1
        lib.CryptDestroyKey(k)
    lib.CryptReleaseContext(prov, 0)


main()
