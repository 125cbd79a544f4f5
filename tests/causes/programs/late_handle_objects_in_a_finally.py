"""The same in a finally."""

# want leaked-at-release HCRYPTKEY {key}
# ends 1
# want out-of-order-release HCRYPTKEY 0
# why ~ CryptDestroyKey at line {late} (comes|can only come) after that, too late
# why ! not reached|never reached|no path|not met|not entered
# fix ~ move CryptDestroyKey \(line {late}\) in front of line {gone}

from csptrace.softcsp import win32crypt


def work():
    prov = win32crypt.CryptAcquireContext(None, None, 24, 0xF0000000)
    try:
        key = prov.CryptGenKey(0x6610, 1, 0)  # key
        return bool(key)
    finally:
        prov.CryptReleaseContext(0)  # gone
        key.CryptDestroyKey()  # late


work()
