"""What is destroyed afterwards is another key, of another context."""

# want leaked-at-release HCRYPTKEY {key}
# why ! too late|came|comes
# why ! reached

from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, context, lib


def work():
    prov, key = context(), c_void_p()
    second, other = context(), c_void_p()
    lib.CryptGenKey(prov, AES, EXPORTABLE, byref(key))  # key
    lib.CryptGenKey(second, AES, EXPORTABLE, byref(other))
    lib.CryptReleaseContext(prov, 0)  # gone
    lib.CryptDestroyKey(other)
    lib.CryptReleaseContext(second, 0)


work()
