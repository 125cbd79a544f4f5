"""The finally is run for an exception."""

# want leaked-at-release HCRYPTKEY {key}
# want out-of-order-release HCRYPTKEY 0
# why ~ CryptDestroyKey at line {late} (comes|can only come) after that, too late
# why ! not reached|never reached|no path|not met|not entered
# fix ! finally
# fix ~ move CryptDestroyKey \(line {late}\) in front of line {gone}

from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, Stop, context, fails, lib


def work():
    prov, key = context(), c_void_p()
    try:
        lib.CryptGenKey(prov, AES, EXPORTABLE, byref(key))  # key
        fails()
    finally:
        lib.CryptReleaseContext(prov, 0)  # gone
        lib.CryptDestroyKey(key)  # late


try:
    work()
except Stop:
    print("stopped")
