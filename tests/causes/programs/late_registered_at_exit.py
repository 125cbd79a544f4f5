"""What was registered last is called first when the program ends."""

# want leaked-at-release HCRYPTKEY {key}
# want out-of-order-release HCRYPTKEY 0
# why ! not reached|never reached|no path|not met|not called
# fix ! finally

import atexit
from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, context, lib

prov, key = context(), c_void_p()
lib.CryptGenKey(prov, AES, EXPORTABLE, byref(key))  # key
atexit.register(lib.CryptDestroyKey, key)  # late
atexit.register(lib.CryptReleaseContext, prov, 0)  # gone
