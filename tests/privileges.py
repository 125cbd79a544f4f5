"""Being held by permissions in a test, also as root."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

_VERSION = 0x20080522
_CHOWN, _OVERRIDE, _SEARCH, _FOWNER = 0, 1, 2, 3


@contextmanager
def without_capabilities() -> Iterator[None]:
    """Have this thread do without what lets root pass over permissions (capabilities(7)).

    Where there are none to lay down and the user is root, or there are no permissions, the test
    is skipped.
    """
    if sys.platform == "win32":
        pytest.skip("permissions are POSIX's")
    if os.geteuid() != 0:
        yield
        return
    if sys.platform != "linux":
        pytest.skip("permissions do not hold root")
    library = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_VERSION, 0)
    before = (ctypes.c_uint32 * 6)()
    if library.capget(header, before):
        pytest.skip("permissions do not hold root")
    fewer = (ctypes.c_uint32 * 6)(*before)
    for number in (_CHOWN, _OVERRIDE, _SEARCH, _FOWNER):
        fewer[0] &= ~(1 << number)
    if library.capset(header, fewer):
        pytest.skip("permissions do not hold root")
    try:
        yield
    finally:
        library.capset(header, before)
