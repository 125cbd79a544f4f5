"""A result is thrown away in front of a release of another one, which is not reached."""

# want leaked-at-exit HCRYPTPROV {made}
# want leaked-at-exit HCRYPTPROV {made}
# why ~ work\(\), which threw the result away at line {thrown}$
# fix ~ ^keep the result of line {thrown} and call CryptReleaseContext on it$

from ctypes import byref, c_void_p

from opening import lib


def acquire():
    prov = c_void_p()
    lib.CryptAcquireContextW(byref(prov), None, None, 24, 0xF0000000)  # made
    return prov


def work(early):
    acquire()  # thrown
    if early:
        return
    mine = acquire()
    lib.CryptReleaseContext(mine, 0)


work(False)
work(True)
