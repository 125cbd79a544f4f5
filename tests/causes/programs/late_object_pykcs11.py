"""An object is destroyed behind its session (PyKCS11)."""

# needs softhsm
# want leaked-at-release CK_OBJECT_HANDLE {key}
# want use-after-release CK_SESSION_HANDLE 0
# ends 1
# want out-of-order-release CK_OBJECT_HANDLE 0
# why ~ destroyObject at line {late} (comes|can only come) after that, too late
# why ! not reached|never reached|no path|not met|not entered
# fix ~ move destroyObject \(line {late}\) in front of line {gone}

import PyKCS11
from opening import PIN, cryptoki

library, slot = cryptoki()
TEMPLATE = [
    (PyKCS11.CKA_CLASS, PyKCS11.CKO_SECRET_KEY),
    (PyKCS11.CKA_KEY_TYPE, PyKCS11.CKK_AES),
    (PyKCS11.CKA_TOKEN, PyKCS11.CK_FALSE),
    (PyKCS11.CKA_VALUE_LEN, 16),
]


session = library.openSession(slot, PyKCS11.CKF_SERIAL_SESSION | PyKCS11.CKF_RW_SESSION)
session.login(PIN)
key = session.generateKey(TEMPLATE, PyKCS11.MechanismAESGENERATEKEY)  # key
session.closeSession()  # gone
session.destroyObject(key)  # late
