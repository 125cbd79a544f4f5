"""Two are bound in one assignment: neither takes the other's place."""

# want leaked-at-release HCRYPTKEY {made}
# why ! was bound to|while the first lived
# why ~ stands behind the condition

from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, context, lib


def key(prov):
    made = c_void_p()
    lib.CryptGenKey(prov, AES, EXPORTABLE, byref(made))  # made
    return made


def main():
    prov = context()
    a, b = key(prov), key(prov)
    a, b = b, a
    lib.CryptDestroyKey(a)
    a = None
    if a:
        lib.CryptDestroyKey(b)
    lib.CryptReleaseContext(prov, 0)


main()
