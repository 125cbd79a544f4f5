"""What the helper does with the key is not in this file."""

# want leaked-at-release HCRYPTKEY {key}
# why ! too late|came|comes
# why ! no path

from ctypes import byref, c_void_p

from helping import maybe_destroy
from opening import AES, EXPORTABLE, context, lib

prov, key = context(), c_void_p()
lib.CryptGenKey(prov, AES, EXPORTABLE, byref(key))  # key
maybe_destroy(key, wanted=False)
lib.CryptReleaseContext(prov, 0)  # gone
