"""What a machine may lack: a test is skipped then, or fails where CSPTRACE_REQUIRE names it."""

from __future__ import annotations

from typing import NoReturn

import pytest
import windows_python


def missing(what: str, reason: str) -> NoReturn:
    """Skip the test, or fail it if it is required.

    Args:
        what: its name in CSPTRACE_REQUIRE.
        reason: what is missing.
    """
    if windows_python.required(what):
        pytest.fail(f"CSPTRACE_REQUIRE asks for {what}: {reason}")
    pytest.skip(reason)
