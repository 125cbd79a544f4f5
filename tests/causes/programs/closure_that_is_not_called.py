"""A closure that releases was called for another one only."""

# want leaked-at-release HCRYPTKEY {made}
# why ! no path|reached|met
# why ~ a\(\) at line \d+ .* released another handle, not this one$
# fix ~ ^call CryptDestroyKey on what b holds before

from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, context, lib


def key(prov):
    made = c_void_p()
    lib.CryptGenKey(prov, AES, EXPORTABLE, byref(made))  # made
    return made


def make(prov):
    k = key(prov)

    def close():
        lib.CryptDestroyKey(k)

    return close


def main():
    prov = context()
    a = make(prov)
    b = make(prov)
    a()
    lib.CryptReleaseContext(prov, 0)
    del b


main()
