"""The release is in the `else` of a loop that is left by `break`."""

# want leaked-at-release HCRYPTKEY {made}
# why ! condition|met
# why ~ CryptDestroyKey at line \d+ was not reached$

from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, context, lib


def key(prov):
    made = c_void_p()
    lib.CryptGenKey(prov, AES, EXPORTABLE, byref(made))  # made
    return made


def work(prov, stop):
    k = key(prov)
    n = 0
    while n < 3:
        n += 1
        if n == stop:
            break
    else:
        lib.CryptDestroyKey(k)


def main():
    prov = context()
    work(prov, 2)
    work(prov, 9)
    lib.CryptReleaseContext(prov, 0)


main()
