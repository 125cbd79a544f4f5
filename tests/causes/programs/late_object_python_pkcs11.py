"""A key is destroyed behind its session (python-pkcs11)."""

# needs softhsm
# want leaked-at-release CK_OBJECT_HANDLE {key}
# want use-after-release CK_SESSION_HANDLE 0
# want out-of-order-release CK_OBJECT_HANDLE 0
# why ~ destroy at line {late} (comes|can only come) after that, too late
# why ! not reached|never reached|no path|not met|not entered
# fix ~ destroy\b.*line {gone}

from opening import PIN, token
from pkcs11 import KeyType
from pkcs11.exceptions import PKCS11Error

session = token().open(user_pin=PIN, rw=True)
key = session.generate_key(KeyType.AES, 128)  # key
session.close()  # gone
try:
    key.destroy()  # late
except PKCS11Error:
    print("refused")
