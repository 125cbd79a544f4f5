"""What comes before the release of the context needs the key: it cannot be moved there."""

# want leaked-at-release HCRYPTKEY {key}
# want out-of-order-release HCRYPTKEY 0
# why ~ CryptDestroyKey at line {late} (comes|can only come) after that, too late
# fix ! move
# fix ~ call CryptDestroyKey before line {gone}

from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, context, lib


def work():
    prov, key = context(), c_void_p()
    lib.CryptGenKey(prov, AES, EXPORTABLE, byref(key))  # key
    if prov:
        print(bool(key.value))
        lib.CryptReleaseContext(prov, 0)  # gone
    lib.CryptDestroyKey(key)  # late


work()
