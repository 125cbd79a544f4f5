"""A result is thrown away that was kept before, in place of which another one is kept now."""

# want leaked-at-release HCRYPTKEY {made}
# why ! threw|stays
# why ~ it was kept in cache\[name\] \(line \d+\), which outlives get\(\)$

from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, context, lib


def key(prov):
    made = c_void_p()
    lib.CryptGenKey(prov, AES, EXPORTABLE, byref(made))  # made
    return made


cache = {}


def get(prov, name):
    cache[name] = key(prov)
    return cache[name]


def main():
    prov = context()
    get(prov, "a")
    get(prov, "a")
    for k in cache.values():
        lib.CryptDestroyKey(k)
    cache.clear()
    lib.CryptReleaseContext(prov, 0)


main()
