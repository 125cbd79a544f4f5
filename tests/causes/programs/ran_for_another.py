"""The release ran, but the key had been taken out of the list before."""

# want leaked-at-release HCRYPTKEY {key}
# why ! too late|came|comes
# why ! reached|not met

from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, context, lib


def work():
    prov, keys = context(), []
    for _ in range(3):
        key = c_void_p()
        lib.CryptGenKey(prov, AES, EXPORTABLE, byref(key))  # key
        keys.append(key)
    del keys[0]
    while keys:
        lib.CryptDestroyKey(keys.pop())  # ran
    lib.CryptReleaseContext(prov, 0)  # gone


work()
