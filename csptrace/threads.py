"""Threads and locks of the interpreter's own, whatever a program puts in their place.

gevent and eventlet replace what the modules `_thread`, `threading` and `time` have by what switches
between green threads, and look through the whole process for locks that were made before, to
replace them, too. csptrace cannot use such locks: it would let other code of the program run in the
middle of a call that does not do that without the tracer, and native threads are also about.

So what is here comes from a `_thread` of csptrace's own: a second instance of the built-in module,
which nobody else has in their hands. No thread that it starts is known to `threading`.
"""

from __future__ import annotations

import _thread
import importlib.util
from importlib.machinery import BuiltinImporter
from typing import TYPE_CHECKING, Any, Final, TypeGuard

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

__all__ = ["get_ident", "is_reentrant_lock", "lock", "reentrant_lock", "sleep", "start"]


def _instance() -> Any:
    spec = BuiltinImporter.find_spec("_thread")
    if spec is None or spec.loader is None:
        return _thread
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_own: Final = _instance()
get_ident: Final[Callable[[], int]] = _own.get_ident
"""Return the number of this thread, by which `sys._current_frames` knows it, too."""


def lock() -> threading.Lock:
    """Return a new lock."""
    made: threading.Lock = _own.allocate_lock()
    return made


def reentrant_lock() -> threading.RLock:
    """Return a new lock that the thread that has it may take again."""
    made: threading.RLock = _own.RLock()
    return made


def is_reentrant_lock(thing: object) -> TypeGuard[threading.RLock]:
    """Return whether something is such a lock, or one that was made before any replacement."""
    return isinstance(thing, (_own.RLock, _thread.RLock))


_never: Final = lock()
_never.acquire()


def sleep(seconds: float) -> None:
    """Let other threads go on for a while."""
    _never.acquire(timeout=seconds)


def start(function: Callable[..., object], *args: object) -> None:
    """Start a thread, which ends with the process at the latest.

    Raises:
        RuntimeError: the system allows no more threads, or the interpreter is shutting down.
    """
    _own.start_new_thread(function, args)
