"""CryptoAPI, on the embedded software CSP."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

from csptrace.examples import signing_service
from csptrace.examples.embedded import library

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["EXAMPLE", "INTRODUCTION", "prepare"]

EXAMPLE: Final = signing_service
INTRODUCTION: Final = "A small signing service runs on the embedded software CSP."


def prepare(home: str) -> tuple[str, str, Callable[[], object]]:
    """Return the variable that names the containers' folder, its value, and what to run.

    Raises:
        MissingExtraError: the `cryptography` package is not installed.
    """
    # No function of its own, which would stand in every stack that the demo shows.
    return "SOFTCSP_HOME", home, functools.partial(signing_service.main, library())
