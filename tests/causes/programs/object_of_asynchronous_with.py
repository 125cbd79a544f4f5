"""Two `async with` bind one variable to two objects, of which the first is not closed."""

# want leaked-at-release HCRYPTKEY {made}
# why ! bound o to it
# why ~ bound o to what holds it

import asyncio
from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, context, fails, lib


def key(prov):
    made = c_void_p()
    lib.CryptGenKey(prov, AES, EXPORTABLE, byref(made))  # made
    return made


class Owner:
    def __init__(self, prov):
        self.prov = prov

    async def __aenter__(self):
        self.k = key(self.prov)
        return self

    async def __aexit__(self, kind, *rest):
        if not kind:
            lib.CryptDestroyKey(self.k)
        return True


async def main():
    prov = context()
    async with Owner(prov) as o:
        fails()
    async with Owner(prov) as o:
        print(o)
    lib.CryptReleaseContext(prov, 0)


asyncio.run(main())
