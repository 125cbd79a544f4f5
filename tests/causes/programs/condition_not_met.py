"""The release stands in front of the context's, behind a condition."""

# want leaked-at-release HCRYPTKEY {key}
# why ! too late|came|comes
# why ~ CryptDestroyKey at line {other} stands behind the condition at line {condition}, which was not met

from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, context, lib


def work(wanted):
    prov, key = context(), c_void_p()
    lib.CryptGenKey(prov, AES, EXPORTABLE, byref(key))  # key
    if wanted:  # condition
        lib.CryptDestroyKey(key)  # other
    lib.CryptReleaseContext(prov, 0)  # gone


work(wanted=False)
