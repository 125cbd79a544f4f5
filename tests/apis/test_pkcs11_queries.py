"""What the token is asked, and that a library which is not loaded is never loaded for it."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

import pytest

from csptrace.apis.pkcs11.queries import is_on_token, is_private, sessions_allowed
from csptrace.loader import file_of
from csptrace.spec.queries import Answer

SOFTHSM = Path("/usr/lib/softhsm/libsofthsm2.so")
pytestmark = pytest.mark.skipif(os.name == "nt", reason="the loader is asked otherwise there")


def test_a_library_that_is_not_loaded_is_not_asked(tmp_path: Path) -> None:
    """No answer comes of a library that is not in memory, or not one."""
    missing = str(tmp_path / "missing.so")
    assert is_on_token(missing, 1, 1) is Answer.UNKNOWN
    assert sessions_allowed(missing, 0) == 0
    text = tmp_path / "text.so"
    text.write_text("no library")
    assert is_on_token(str(text), 1, 1) is Answer.UNKNOWN


def test_a_library_without_the_functions_is_not_asked() -> None:
    """A library that is loaded but is no PKCS#11 module gives no answer."""
    import _ctypes

    assert is_on_token(_ctypes.__file__, 1, 1) is Answer.UNKNOWN


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="names of glibc")
def test_a_name_is_traced_to_its_file() -> None:
    """A library that was loaded by name alone is known by its file; links are followed."""
    assert file_of("libc.so.6", "C_GetFunctionList") == "libc.so.6", "it exports no such function"
    assert file_of("libc.so.6", "getpid") == os.path.realpath(file_of("libc.so.6", "getpid"))
    assert os.path.isabs(file_of("libc.so.6", "getpid"))
    assert file_of(__file__, "") == os.path.realpath(__file__)


@pytest.mark.skipif(not SOFTHSM.exists(), reason="SoftHSM is not installed (Debian: softhsm2)")
def test_an_uninitialised_library_does_not_know() -> None:
    """A module that refuses the question leaves it unanswered."""
    ctypes.CDLL(str(SOFTHSM))
    assert is_on_token(str(SOFTHSM), 1, 1) is Answer.UNKNOWN
    assert is_private(str(SOFTHSM), 1, 1) is Answer.UNKNOWN
    assert sessions_allowed(str(SOFTHSM), 0) == 0
