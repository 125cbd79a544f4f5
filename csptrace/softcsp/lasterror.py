"""What a failed call leaves behind: the thread's last error, and tracebacks of our own bugs.

The last error lives in the provider, not in the operating system: vendor CSPs on Unix export their
own GetLastError and SetLastError. A successful call leaves it alone.
Source: https://learn.microsoft.com/windows/win32/api/errhandlingapi/nf-errhandlingapi-getlasterror
"""

from __future__ import annotations

import threading
import traceback
from typing import Final

from csptrace.softcsp.constants import NTE_FAIL


class LastError(threading.local):
    """One code per thread; 0 in a thread that has not failed yet."""

    code = 0


last_error: Final = LastError()

internal_errors: Final[list[str]] = []
"""Tracebacks of bugs of our own, newest last. A traceback holds source lines, never values."""

_MOST_KEPT: Final = 20


def keep_traceback() -> int:
    """Keep the traceback of the exception being handled; return the code its call fails with."""
    internal_errors.append(traceback.format_exc())
    del internal_errors[:-_MOST_KEPT]
    last_error.code = NTE_FAIL
    return NTE_FAIL
