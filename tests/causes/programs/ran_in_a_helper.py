"""The function that destroys ran, and the key had been taken out of its list."""

# want leaked-at-release HCRYPTKEY {key}
# why ! too late|came|comes
# why ! reached|not met
# why ~ destroy\(keys\) at line {ran} .*ran and did not release it
# fix ! into its finally

from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, context, lib


def destroy(handles):
    while handles:
        lib.CryptDestroyKey(handles.pop())


def work():
    prov, keys = context(), []
    for _ in range(3):
        key = c_void_p()
        lib.CryptGenKey(prov, AES, EXPORTABLE, byref(key))  # key
        keys.append(key)
    del keys[0]
    destroy(keys)  # ran
    lib.CryptReleaseContext(prov, 0)  # gone


work()
