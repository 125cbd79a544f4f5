"""The context goes in the else of a try."""

# want leaked-at-release HCRYPTKEY {key}
# want out-of-order-release HCRYPTKEY 0
# why ~ CryptDestroyKey at line {late} (comes|can only come) after that, too late
# why ! not reached|never reached|no path|not met|not entered
# fix ! finally
# fix ~ move CryptDestroyKey \(line {late}\) in front of line {try}

from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, context, lib


def work():
    prov, key = context(), c_void_p()
    lib.CryptGenKey(prov, AES, EXPORTABLE, byref(key))  # key
    try:  # try
        number = int("1")
    except ValueError:
        number = 0
    else:
        lib.CryptReleaseContext(prov, 0)  # gone
    lib.CryptDestroyKey(key)  # late
    return number


work()
