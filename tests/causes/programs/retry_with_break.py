"""A loop tries again; what the last round has is released behind it."""

# want leaked-at-release HCRYPTKEY {made}
# fix ~ ^call CryptDestroyKey on k before line \d+ binds it again, in every round but the first$

from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, Stop, context, fails, lib


def key(prov):
    made = c_void_p()
    lib.CryptGenKey(prov, AES, EXPORTABLE, byref(made))  # made
    return made


def main():
    prov = context()
    k = None
    for n in range(3):
        try:
            k = key(prov)
            if n == 0:
                fails()
            break
        except Stop:
            continue
    lib.CryptDestroyKey(k)
    lib.CryptReleaseContext(prov, 0)


main()
