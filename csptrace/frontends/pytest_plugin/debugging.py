"""Where a debugger stops: in the program, not in the tracer that has raised something there.

pytest leaves the tracer's frames out of what it shows of a traceback. A debugger gets the traceback
itself, and stops at its end.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final

import pytest

import csptrace

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["end_in_program"]

_OWN: Final = os.path.join(os.path.dirname(os.path.abspath(str(csptrace.__file__))), "")
_PYTEST: Final = os.path.join(os.path.dirname(os.path.abspath(str(pytest.__file__))), "")
_BETWEEN: Final = os.path.join(os.path.dirname(_PYTEST.rstrip(os.sep)), "_pytest", "")


def end_in_program(error: BaseException) -> None:
    """Cut the frames off the end of a traceback that the program's last call into the tracer has.

    Args:
        error: what was raised; a doctest's example is looked into.
    """
    inner = getattr(error, "exc_info", None)  # of doctest.UnexpectedException
    if isinstance(inner, tuple) and len(inner) == 3 and isinstance(inner[1], BaseException):
        error = inner[1]
    last: TracebackType | None = None
    step, own = error.__traceback__, False
    while step is not None:
        file = step.tb_frame.f_code.co_filename
        if file.startswith(_OWN):
            own = True
        elif file != contextlib.__file__ and not file.startswith(_BETWEEN):
            last, own = step, False
        step = step.tb_next
    if last is not None and own:
        last.tb_next = None
