"""The release was reached in the rounds before."""

# want leaked-at-release HCRYPTKEY 0
# why ! never
# why ~ CryptDestroyKey at line \d+ was not reached in that round of the loop at line \d+

import contextlib
from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, Stop, context, fails, lib


def work(prov):
    for n in range(3):
        k = c_void_p()
        lib.CryptGenKey(prov, AES, EXPORTABLE, byref(k))
        if n == 2:
            fails()
        lib.CryptDestroyKey(k)


def main():
    prov = context()
    with contextlib.suppress(Stop):
        work(prov)
    lib.CryptReleaseContext(prov, 0)


main()
