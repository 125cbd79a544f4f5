"""Each branch has its own end, and one forgets the key."""

# want leaked-at-release HCRYPTKEY {key}
# why ! too late|came|comes
# fix ! move|in front

from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, context, lib


def work(quick):
    prov, key = context(), c_void_p()
    lib.CryptGenKey(prov, AES, EXPORTABLE, byref(key))  # key
    if quick:
        lib.CryptReleaseContext(prov, 0)  # gone
    else:
        lib.CryptDestroyKey(key)  # other
        lib.CryptReleaseContext(prov, 0)


work(quick=True)
