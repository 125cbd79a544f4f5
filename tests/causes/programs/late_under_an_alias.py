"""What is destroyed is what a function made of the pointer."""

# want leaked-at-release HCRYPTKEY {key}
# want out-of-order-release HCRYPTKEY 0
# why ! not reached|never reached|no path|not met|not entered
# fix ! finally

from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, context, lib


def unwrap(pointer):
    return pointer.value


def work():
    prov, pointer = context(), c_void_p()
    lib.CryptGenKey(prov, AES, EXPORTABLE, byref(pointer))  # key
    key = unwrap(pointer)
    lib.CryptReleaseContext(prov, 0)  # gone
    lib.CryptDestroyKey(c_void_p(key))  # late


work()
