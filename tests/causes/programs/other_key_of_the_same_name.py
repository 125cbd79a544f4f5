"""The variable has another key when it is destroyed."""

# want leaked-at-release HCRYPTKEY {key}
# why ! too late|came|comes
# why ! reached|no path
# fix ! move

from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, context, lib


def work():
    prov, key = context(), c_void_p()
    lib.CryptGenKey(prov, AES, EXPORTABLE, byref(key))  # key
    lib.CryptReleaseContext(prov, 0)  # gone
    prov = context()
    lib.CryptGenKey(prov, AES, EXPORTABLE, byref(key))
    lib.CryptDestroyKey(key)
    lib.CryptReleaseContext(prov, 0)


work()
