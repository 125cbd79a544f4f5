"""The release stands in a handler only, which may still be entered."""

# want leaked-at-release HCRYPTKEY {key}
# why ! too late|came|comes
# why ! not met|no path
# fix ! move

from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, context, lib


def work():
    prov, key = context(), c_void_p()
    lib.CryptGenKey(prov, AES, EXPORTABLE, byref(key))  # key
    try:
        lib.CryptReleaseContext(prov, 0)  # gone
    except OSError:
        lib.CryptDestroyKey(key)  # other
        raise


work()
