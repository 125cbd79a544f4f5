"""A generator that a loop has left goes on no more, so nothing in it comes too late."""

# want leaked-at-release HCRYPTKEY {made}
# why ! too late
# why ~ CryptDestroyKey at line \d+ was not reached
# fix ~ begin a try after .* CryptDestroyKey \(line \d+\) into its finally

from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, context, lib


def key(prov):
    made = c_void_p()
    lib.CryptGenKey(prov, AES, EXPORTABLE, byref(made))  # made
    return made


def keys(prov):
    for _ in range(3):
        k = key(prov)
        yield k
        lib.CryptDestroyKey(k)


def main():
    prov = context()
    for _ in keys(prov):
        break
    lib.CryptReleaseContext(prov, 0)


main()
