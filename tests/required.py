"""What a machine may lack: a test is skipped then, or fails where CSPTRACE_REQUIRE names it."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def missing(what: str, reason: str) -> NoReturn:
    """Skip the test, or fail it if it is required.

    Args:
        what: its name in CSPTRACE_REQUIRE.
        reason: what is missing.
    """
    if what in os.environ.get("CSPTRACE_REQUIRE", "").replace(",", " ").split():
        pytest.fail(f"CSPTRACE_REQUIRE asks for {what}: {reason}")
    pytest.skip(reason)
