"""The handler releases the context; the release of the key was skipped."""

# want leaked-at-release HCRYPTKEY {key}
# why ! too late|came|comes
# why ~ CryptDestroyKey at line {other} was passed by on the way to the handler at line {handler}
# why ! left by

from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, Stop, context, fails, lib


def work():
    prov, key = context(), c_void_p()
    lib.CryptGenKey(prov, AES, EXPORTABLE, byref(key))  # key
    try:
        fails()
        lib.CryptDestroyKey(key)  # other
    except Stop:  # handler
        lib.CryptReleaseContext(prov, 0)  # gone
        return
    lib.CryptReleaseContext(prov, 0)


work()
