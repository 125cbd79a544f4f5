"""The caller's caller calls what destroys the key, after what released the context."""

# want leaked-at-release HCRYPTKEY {key}
# want out-of-order-release HCRYPTKEY 0
# why ! not reached|never reached|no path|not met|not called
# fix ! finally

from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, context, lib

prov, key = context(), c_void_p()
lib.CryptGenKey(prov, AES, EXPORTABLE, byref(key))  # key
lib.CryptReleaseContext(prov, 0)  # gone


def clean_up():
    try:
        lib.CryptDestroyKey(key)
    except OSError:
        print("too late")


clean_up()  # late
