"""A call in a loop throws its results away; the release in the loop is another one's."""

# want leaked-at-release HCRYPTKEY {made}
# want leaked-at-release HCRYPTKEY {made}
# why ~ work\(\), which threw the result away at line {thrown}$
# fix ~ ^keep the result of line {thrown}

from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, context, lib


def key(prov):
    made = c_void_p()
    lib.CryptGenKey(prov, AES, EXPORTABLE, byref(made))  # made
    return made


def work(prov):
    for number in range(2):
        mine = key(prov)
        key(prov)  # thrown
        if number < 5:
            lib.CryptDestroyKey(mine)


def main():
    prov = context()
    work(prov)
    lib.CryptReleaseContext(prov, 0)


main()
