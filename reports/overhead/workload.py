"""What the overhead benchmark calls: a library with the CryptoAPI names and next to no work.

The functions are true C function pointers, looked up through `ctypes.CDLL.__getitem__` as those of
a DLL are, so that what is measured is the interception and not a provider.
"""

from __future__ import annotations

import _thread
import atexit
import ctypes
import shutil
import tempfile
import traceback
from ctypes import CFUNCTYPE, POINTER, byref, c_int, c_size_t, c_uint32, c_void_p
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_next = [0x10000000]
_free: list[int] = []


@CFUNCTYPE(c_int, c_void_p, c_uint32, c_void_p, c_uint32, POINTER(c_size_t))
def _create(_hProv: Any, _algorithm: int, _hKey: Any, _flags: int, out: Any) -> int:
    if _free:
        out[0] = _free.pop()
    else:
        _next[0] += 64
        out[0] = _next[0]
    return 1


@CFUNCTYPE(c_int, c_size_t)
def _destroy(handle: int) -> int:
    _free.append(handle)
    return 1


@CFUNCTYPE(c_int, POINTER(c_size_t), c_void_p, c_void_p, c_uint32, c_uint32)
def _acquire(out: Any, _container: Any, _provider: Any, _type: int, _flags: int) -> int:
    _next[0] += 64
    out[0] = _next[0]
    return 1


@CFUNCTYPE(c_int, c_size_t, c_uint32)
def _release(_handle: int, _flags: int) -> int:
    return 1


def _address(callback: Any) -> int:
    return ctypes.cast(callback, c_void_p).value or 0


# abs() is in every C library and ignores the further arguments of a CryptoAPI function.
_C = ctypes.CDLL("msvcrt") if hasattr(ctypes, "WinDLL") else ctypes.CDLL(None)
_ADDRESSES = {
    "CryptHashData": _address(_C.abs),
    "CryptCreateHash": _address(_create),
    "CryptDestroyHash": _address(_destroy),
    "CryptAcquireContextW": _address(_acquire),
    "CryptReleaseContext": _address(_release),
}


class Library(ctypes.CDLL):
    """A library that loads nothing and exports the functions above."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._handle = 0
        pointer = type("_FuncPtr", (ctypes._CFuncPtr,), {"_flags_": 1, "_restype_": c_int})
        self._FuncPtr = lambda what: pointer(_ADDRESSES[what[0]])


def handmade(create: Any, destroy: Any) -> tuple[Callable[..., int], Callable[..., int]]:
    """Return what people write by hand: wrappers that keep `extract_stack()` in a dict."""
    live: dict[int, Any] = {}

    def traced_create(*args: Any) -> int:
        result: int = create(*args)
        if result:
            live[args[4]._obj.value] = traceback.extract_stack()
        return result

    def traced_destroy(handle: Any) -> int:
        live.pop(handle.value, None)
        result: int = destroy(handle)
        return result

    return traced_create, traced_destroy


def at_depth(depth: int, function: Callable[[], Any]) -> Any:
    """Call a function below `depth` frames."""
    if depth > 1:
        return at_depth(depth - 1, function)
    return function()


def alone(below: Callable[[int, Callable[[], Any]], Any], function: Callable[[], Any]) -> Any:
    """Call a function in a thread of its own, so that 16 frames lie above what it calls.

    One is the function's own, one starts the thread, and 14 come from `below`.
    """
    results: list[Any] = []
    done = _thread.allocate_lock()
    done.acquire()

    def body() -> None:
        try:
            results.append(below(14, function))
        finally:
            done.release()

    _thread.start_new_thread(body, ())
    done.acquire()
    return results[0]


def acquire_context(library: Any) -> Any:
    """Return a context as most programs keep it."""
    hProv = c_void_p()
    library.CryptAcquireContextW(byref(hProv), None, None, 24, 0)
    return hProv


_FILES: list[Any] = []


def through_files(depth: int, function: Callable[[], Any]) -> Any:
    """Call a function below `depth` frames, nearly each from a source file of its own."""
    if not _FILES:
        folder = Path(tempfile.mkdtemp(prefix="csptrace-frames-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        for number in range(16):
            path = folder / f"frame{number}.py"
            path.write_text("def call(rest, function):\n    return rest[0](rest[1:], function)\n")
            namespace: dict[str, Any] = {}
            exec(compile(path.read_text(), str(path), "exec"), namespace)
            _FILES.append(namespace["call"])
    # This frame and the last one count, too.
    chain = [*_FILES[: depth - 2], lambda _rest, last: last()]
    return chain[0](chain[1:], function)
