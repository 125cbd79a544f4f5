"""Fixtures: a library object of one's own, the object face, a fake shared library."""

from __future__ import annotations

import ctypes
import gc
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

VERIFY = 0xF0000000
FAKE = Path(__file__).parents[1] / "conformance" / "fakecsp.py"


@pytest.fixture
def lib() -> Any:
    """Return a softcsp library object that has handed out no function yet."""
    from csptrace.softcsp.library import SoftLibrary

    return SoftLibrary()


@pytest.fixture
def prov(lib: Any) -> int:
    """Return a context that was acquired before any tracing; it stays unowned."""
    from csptrace.softcsp.library import SoftLibrary

    box = ctypes.c_size_t()
    other = SoftLibrary()
    assert other.CryptAcquireContextW(ctypes.byref(box), None, None, 24, VERIFY)
    return box.value


@pytest.fixture
def win32crypt() -> Iterator[ModuleType]:
    """Return the object face; fault rules are disarmed afterwards."""
    from csptrace.softcsp import faults, win32crypt

    yield win32crypt
    faults.disarm()
    gc.collect()  # a destructor releases its value again, which by then may be a later test's


@pytest.fixture(scope="session")
def fakecsp() -> ModuleType:
    """Return the builder of the fake shared library; skip without a compiler."""
    known = sys.modules.get("fakecsp")
    if known is None:
        spec = importlib.util.spec_from_file_location("fakecsp", FAKE)
        assert spec is not None
        assert spec.loader is not None
        known = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(known)
        sys.modules["fakecsp"] = known
    known.need()
    return known
