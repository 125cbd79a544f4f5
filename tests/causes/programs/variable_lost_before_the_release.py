"""The variable is bound to nothing before the release, which has a condition on it."""

# want leaked-at-release HCRYPTKEY {made}
# fix ! move|on k
# fix ~ ^see that CryptDestroyKey is called before the provider context is released

from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, context, lib


def key(prov):
    made = c_void_p()
    lib.CryptGenKey(prov, AES, EXPORTABLE, byref(made))  # made
    return made


def work(prov, n):
    k = key(prov)
    if n:
        k = None
    if k:
        lib.CryptDestroyKey(k)


def main():
    prov = context()
    work(prov, 0)
    work(prov, 1)
    lib.CryptReleaseContext(prov, 0)


main()
