"""The engine: every function of the provider as a method, in terms of Python values.

Two faces stand before it and add nothing but their calling convention: `library` (a ctypes
library with the C signatures) and `win32crypt` (pywin32's objects). Methods carry the names and
parameter names of the C functions; a method either returns what the C function would hand out, or
raises `CspError` with the code that GetLastError would give.

Source of the rules: the wincrypt.h reference,
https://learn.microsoft.com/windows/win32/api/wincrypt/ ; where the documentation is silent or
differs from real advapi32, real advapi32 is followed (see `errors.Profile`). In each method the
handle is checked first, as there.
"""

from __future__ import annotations

from csptrace import forks
from csptrace.softcsp import faults
from csptrace.softcsp.messages import Messages


class Provider(Messages):
    """A cryptographic service provider with all its live objects.

    Made of layers, one per module: `contexts`, `hashing`, `keys`, `blobs`, `messages`. Every method
    named ``Crypt…`` raises `CspError`; the codes are those of the C function.
    """


_engine: Provider | None = None
_engine_lock = forks.lock()


def engine() -> Provider:
    """Give the provider that both faces of this process share, made at first need.

    Raises:
        ValueError: SOFTCSP_ERRORS, SOFTCSP_NEVER_REUSE or SOFTCSP_FAULTS has a value that is
            not allowed.

    """
    global _engine  # noqa: PLW0603 - one provider per process is the point
    if _engine is None:
        with _engine_lock:
            if _engine is None:
                faults.arm_from_environment()
                _engine = Provider()
    return _engine
