"""A coroutine does it in its finally."""

# want leaked-at-release HCRYPTKEY {key}
# want out-of-order-release HCRYPTKEY 0
# why ~ CryptDestroyKey at line {late} (comes|can only come) after that, too late
# why ! not reached|never reached|no path|not met|not entered
# fix ! finally
# fix ~ move CryptDestroyKey \(line {late}\) in front of line {gone}

import asyncio
from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, context, lib


async def work():
    prov, key = context(), c_void_p()
    try:
        lib.CryptGenKey(prov, AES, EXPORTABLE, byref(key))  # key
        await asyncio.sleep(0)
    finally:
        lib.CryptReleaseContext(prov, 0)  # gone
        lib.CryptDestroyKey(key)  # late


asyncio.run(work())
