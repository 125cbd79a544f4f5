"""Whose exception it is: the user's Ctrl-C and the program's signals, or the code's that ran.

Code of others runs when tracing starts (a spec of another package, an import finder, a hook). What
it raises, of whatever type, is told and costs that spec or the tracing, never the interpreter.
What somebody outside has sent meanwhile belongs to the program and must not be lost.
"""

from __future__ import annotations

import functools
import signal
from opcode import opmap
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from types import CodeType

__all__ = ["came_by_signal", "told"]

_RAISING: Final = frozenset(opmap[name] for name in ("RAISE_VARARGS", "RERAISE"))


def came_by_signal(error: BaseException) -> bool:
    """Return whether a signal has raised an exception, and not the code that it came out of.

    A handler written in Python leaves its own frame in the traceback. The interpreter's handler of
    Ctrl-C leaves none: its bare `KeyboardInterrupt` appears between two instructions of whatever
    was running, or out of a call into C that waited, but never out of an instruction that raises.
    So code that says `raise KeyboardInterrupt` is told apart, and code that sends its own process
    SIGINT is not: that *is* a signal.

    Args:
        error: the exception, with its traceback.
    """
    handlers = _handlers()
    traceback, last = error.__traceback__, None
    while traceback is not None:
        last = traceback
        if last.tb_frame.f_code in handlers:
            return True
        traceback = last.tb_next
    if type(error) is not KeyboardInterrupt or error.args:
        return False
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return False
    return last is None or last.tb_frame.f_code.co_code[last.tb_lasti] not in _RAISING


def _handlers() -> set[CodeType]:
    """Return the code of the signal handlers that are written in Python."""
    found = set()
    for number in signal.valid_signals():
        handler: Any = signal.getsignal(number)
        while isinstance(handler, functools.partial):
            handler = handler.func
        handler = getattr(handler, "__func__", handler)
        code = getattr(handler, "__code__", None)
        if code is not None:
            found.add(code)
    return found


def told(error: BaseException) -> str:
    """Return type and text of an exception, whatever its own `__str__` does.

    Args:
        error: the exception.
    """
    name = type(error).__name__
    try:
        text = str(error)
    except BaseException as second:
        if came_by_signal(second):
            raise
        return f"{name} (which cannot be put into words)"
    return f"{name}: {text}" if text else name
