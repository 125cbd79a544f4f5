"""The release stands on the path that was not taken."""

# want leaked-at-release HCRYPTKEY {key}
# why ! too late|came|comes
# why ~ line {gone}.*CryptDestroyKey at line {other} was (never|not) reached
# fix ! move|in front
# fix ~ CryptDestroyKey before line {gone}

from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, context, lib


def work(document):
    prov, key = context(), c_void_p()
    lib.CryptGenKey(prov, AES, EXPORTABLE, byref(key))  # key
    if not document:  # condition
        lib.CryptReleaseContext(prov, 0)  # gone
        return False
    lib.CryptDestroyKey(key)  # other
    lib.CryptReleaseContext(prov, 0)
    return True


work(b"")
