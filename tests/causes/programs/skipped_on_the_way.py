"""The release was skipped by an exception that is on its way."""

# want leaked-at-release HCRYPTKEY {key}
# why ! too late|came|comes
# why ~ left by Stop raised in fails\(\) at line {left}; CryptDestroyKey at line {other} was never reached

from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, Stop, context, fails, lib


def work():
    prov, key = context(), c_void_p()
    try:
        lib.CryptGenKey(prov, AES, EXPORTABLE, byref(key))  # key
        fails()  # left
        lib.CryptDestroyKey(key)  # other
    finally:
        lib.CryptReleaseContext(prov, 0)  # gone


try:
    work()
except Stop:
    print("stopped")
