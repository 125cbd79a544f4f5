"""A function of the program's own destroys the key, behind the context."""

# want leaked-at-release HCRYPTKEY {key}
# want out-of-order-release HCRYPTKEY 0
# why ~ destroy\(key\) at line {late} \(it calls CryptDestroyKey\) (comes|can only come) after that, too late
# why ! not reached|never reached|no path|not met|not entered
# fix ! finally
# fix ~ move destroy\(key\) \(line {late}\) in front of line {gone}

from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, context, lib


def destroy(handle):
    if handle:
        lib.CryptDestroyKey(handle)


def work():
    prov, key = context(), c_void_p()
    lib.CryptGenKey(prov, AES, EXPORTABLE, byref(key))  # key
    lib.CryptReleaseContext(prov, 0)  # gone
    destroy(key)  # late


work()
