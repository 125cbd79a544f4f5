"""Another thread destroys the key, after this one released the context."""

# want leaked-at-release HCRYPTKEY {key}
# want out-of-order-release HCRYPTKEY 0
# why ! not reached|never reached|no path|not met|not called
# fix ! finally

import threading
from ctypes import byref, c_void_p

from opening import AES, EXPORTABLE, context, lib

prov, key = context(), c_void_p()
gone = threading.Event()


def work():
    lib.CryptGenKey(prov, AES, EXPORTABLE, byref(key))  # key
    made.set()
    gone.wait(60)
    lib.CryptDestroyKey(key)  # late


made = threading.Event()
thread = threading.Thread(target=work)
thread.start()
made.wait(60)
lib.CryptReleaseContext(prov, 0)  # gone
gone.set()
thread.join(60)
