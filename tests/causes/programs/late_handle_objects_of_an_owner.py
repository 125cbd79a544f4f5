"""An object that owns both releases them in the wrong order."""

# want leaked-at-release HCRYPTKEY {key}
# ends 1
# want out-of-order-release HCRYPTKEY 0
# why ~ CryptDestroyKey at line {late} (comes|can only come) after that, too late
# why ! not reached|never reached|no path|not met|not entered
# fix ~ move CryptDestroyKey \(line {late}\) in front of line {gone}

from csptrace.softcsp import win32crypt


class Signer:
    def __init__(self):
        self.prov = win32crypt.CryptAcquireContext(None, None, 24, 0xF0000000)
        self.key = self.prov.CryptGenKey(0x6610, 1, 0)  # key

    def release(self):
        self.prov.CryptReleaseContext(0)  # gone
        self.key.CryptDestroyKey()  # late


Signer().release()
