"""A helper gets it and releases on a condition."""

# want leaked-at-release HCRYPTKEY {made}
# why ! it calls|reached
# why ~ maybe\(k, yes\) at line \d+ \(it may call CryptDestroyKey\) ran and did not release it$
# fix ! gets this handle

from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, context, lib


def key(prov):
    made = c_void_p()
    lib.CryptGenKey(prov, AES, EXPORTABLE, byref(made))  # made
    return made


def maybe(k, yes):
    if yes:
        lib.CryptDestroyKey(k)


def work(prov, yes):
    k = key(prov)
    maybe(k, yes)


def main():
    prov = context()
    work(prov, True)
    work(prov, False)
    lib.CryptReleaseContext(prov, 0)


main()
