"""The same with an asynchronous one."""

# want leaked-at-release HCRYPTKEY {made}
# why ! too late
# why ~ CryptDestroyKey at line \d+ was not reached$

import asyncio
from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, context, lib


def key(prov):
    made = c_void_p()
    lib.CryptGenKey(prov, AES, EXPORTABLE, byref(made))  # made
    return made


async def keys(prov):
    for _ in range(3):
        k = key(prov)
        yield k
        lib.CryptDestroyKey(k)


async def main():
    prov = context()
    async for _ in keys(prov):
        break
    lib.CryptReleaseContext(prov, 0)


asyncio.run(main())
