"""A result is thrown away where another one was acquired and released before.

The release is that one's, whatever the path to it was.
"""

# want leaked-at-exit HCRYPTPROV {made}
# why ~ work\(\), which threw the result away at line {thrown}$
# fix ~ ^keep the result of line {thrown} and call CryptReleaseContext on it$

from ctypes import byref, c_void_p

from opening import Stop, fails, lib


def acquire():
    prov = c_void_p()
    lib.CryptAcquireContextW(byref(prov), None, None, 24, 0xF0000000)  # made
    return prov


def work():
    mine = acquire()
    try:
        lib.CryptReleaseContext(mine, 0)
        fails()
    except Stop:
        acquire()  # thrown


work()
