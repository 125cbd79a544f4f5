"""The one exception of the engine, and the two ways of choosing its code.

Real advapi32 answers ERROR_INVALID_PARAMETER for every bad handle; the documentation of the same
functions promises a separate code for each reason. Both are useful, so the choice is a *profile*:

``windows``
    what real advapi32 answers (the default; what differential tests compare).
``documented``
    each documented code has its own trigger.

Source: the "Return value" section of
https://learn.microsoft.com/windows/win32/api/wincrypt/nf-wincrypt-cryptreleasecontext
"""

from __future__ import annotations

import enum
import os
from typing import Final

from csptrace.softcsp import constants

ENVIRONMENT_VARIABLE: Final = "SOFTCSP_ERRORS"

NAMES: Final[dict[int, str]] = {
    value: name
    for name, value in vars(constants).items()
    if name.startswith(("ERROR_", "NTE_", "SCARD_W_"))
}
"""Error code → its C name, for messages."""


class CspError(Exception):
    """A call that the provider refused.

    Never carries arguments of the call: they may be secret.

    Attributes:
        code: the Windows error code, unsigned.
        needed: for ERROR_MORE_DATA, the number of bytes the caller must make room for.
    """

    def __init__(self, code: int, needed: int | None = None) -> None:
        """Make the error for *code*, unsigned; *needed* goes with ERROR_MORE_DATA."""
        self.code = code
        self.needed = needed
        super().__init__(code)

    def __str__(self) -> str:
        """Give the C name of the code where it has one."""
        return NAMES.get(self.code, f"error {self.code:#x}")


class Profile(enum.Enum):
    """Which codes bad handles and busy containers get."""

    WINDOWS = "windows"
    DOCUMENTED = "documented"

    @classmethod
    def parse(cls, text: str) -> Profile:
        """Read a profile's name.

        Args:
            text: ``windows`` or ``documented``, any case; empty means the default.

        Raises:
            ValueError: *text* is no profile; the message lists the allowed names.

        """
        if not text:
            return cls.WINDOWS
        try:
            return cls(text.lower())
        except ValueError:
            allowed = ", ".join(profile.value for profile in cls)
            message = f"{ENVIRONMENT_VARIABLE}={text!r} is not one of: {allowed}"
            raise ValueError(message) from None

    @classmethod
    def from_environment(cls) -> Profile:
        """Read SOFTCSP_ERRORS; raises ValueError as `parse` does."""
        return cls.parse(os.environ.get(ENVIRONMENT_VARIABLE, ""))
