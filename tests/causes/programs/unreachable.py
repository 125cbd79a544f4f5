"""The release stands behind a return."""

# want leaked-at-release HCRYPTKEY {key}
# why ! too late|came|comes
# fix ! move

from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, context, lib


def work():
    prov, key = context(), c_void_p()
    lib.CryptGenKey(prov, AES, EXPORTABLE, byref(key))  # key
    lib.CryptReleaseContext(prov, 0)  # gone
    return
    lib.CryptDestroyKey(key)  # other


work()
