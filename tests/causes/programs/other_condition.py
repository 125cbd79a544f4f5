"""The release stands behind that of the context, under the opposite of a condition that holds."""

# want leaked-at-release HCRYPTKEY {key}
# why ! too late|comes?
# why ~ CryptDestroyKey at line {other} was not reached
# fix ! move

from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, context, lib


def work(quick):
    prov, key = context(), c_void_p()
    lib.CryptGenKey(prov, AES, EXPORTABLE, byref(key))  # key
    if quick:
        lib.CryptReleaseContext(prov, 0)  # gone
    print("worked")
    if not quick:
        lib.CryptDestroyKey(key)  # other
        lib.CryptReleaseContext(prov, 0)


work(quick=True)
