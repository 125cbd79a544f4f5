"""An inner function has the release, and nobody calls it."""

# want leaked-at-release HCRYPTKEY {key}
# why ! too late|came|comes
# why ! no path|reached

from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, context, lib


def work():
    prov, key = context(), c_void_p()
    lib.CryptGenKey(prov, AES, EXPORTABLE, byref(key))  # key

    def end():
        lib.CryptDestroyKey(key)

    lib.CryptReleaseContext(prov, 0)  # gone
    return end


work()
