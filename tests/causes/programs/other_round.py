"""A round that ends early; the release at the end belongs to the next one."""

# want leaked-at-release HCRYPTKEY {key}
# why ! too late|came|comes
# fix ! move

from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, context, lib


def work():
    for number in range(2):
        prov, key = context(), c_void_p()
        lib.CryptGenKey(prov, AES, EXPORTABLE, byref(key))  # key
        if number == 0:
            lib.CryptReleaseContext(prov, 0)  # gone
            continue
        lib.CryptDestroyKey(key)  # other
        lib.CryptReleaseContext(prov, 0)


work()
