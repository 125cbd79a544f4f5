"""A session is closed behind its library (PyKCS11)."""

# needs softhsm
# want leaked-at-release CK_SESSION_HANDLE {key}
# want out-of-order-release CK_SESSION_HANDLE 0
# why ~ closeSession at line {late} (comes|can only come) after that, too late
# why ! not reached|never reached|no path|not met|not entered
# fix ~ closeSession\b.*line {gone}
# fix ! C_CloseSession

import PyKCS11
from opening import cryptoki

library, slot = cryptoki()


def work():
    session = library.openSession(slot)  # key
    print(len(session.digest(b"x")))
    library.lib.C_Finalize()  # gone
    try:
        session.closeSession()  # late
    except PyKCS11.PyKCS11Error:
        print("refused")


work()
