"""The thread's last error is the program's: the tracer reads and writes files in between."""

from __future__ import annotations

import ctypes
import os
from ctypes import byref, c_size_t, c_uint32
from typing import TYPE_CHECKING, Any

import pytest

import csptrace
from csptrace.findings.errors import DoubleRelease

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from csptrace import Tracer

VERIFY = 0xF0000000
NTE_BAD_FLAGS = 0x80090009
NTE_NO_KEY = 0x8009000D
INVALID_PARAMETER = 87
SENTINEL = 0x1234

windows = pytest.mark.skipif(os.name != "nt", reason="Windows keeps a last error for each thread")


def story(lib: Any, last_errors: Callable[[], Any], preset: Callable[[int], Any]) -> list[Any]:
    """Run calls of every sort that succeed and fail, and note the last errors after each."""
    seen: list[Any] = []
    box, key, other, hashed = c_size_t(), c_size_t(), c_size_t(), c_size_t()
    size = c_uint32()

    def note(result: Any) -> None:
        seen.append((result, last_errors()))

    def call(name: str, *arguments: Any) -> None:
        preset(SENTINEL)
        note(getattr(lib, name)(*arguments))

    call("CryptAcquireContextW", byref(box), None, None, 24, VERIFY)
    call("CryptAcquireContextW", byref(other), "csptrace no such container", None, 24, 0)
    call("CryptGetUserKey", box, 1, byref(other))
    call("CryptGenKey", box, 0x660E, 1, byref(key))
    call("CryptGenKey", box, 0x660E, 1, byref(other))
    call("CryptCreateHash", box, 0x8004, c_size_t(), 0, byref(hashed))
    call("CryptExportKey", key, c_size_t(), 8, 0, None, byref(size))
    call("CryptHashData", hashed, b"data", 4, 0)
    call("CryptDestroyKey", c_size_t(0))
    call("CryptContextAddRef", box, None, 0)
    call("CryptReleaseContext", box, 0)
    call("CryptDestroyHash", hashed)
    call("CryptDestroyKey", other)
    call("CryptReleaseContext", box, 1)  # leaks a key: findings are written
    return seen


def compare(
    lib: Any,
    trace: Callable[..., Tracer],
    tmp_path: Path,
    last_errors: Callable[[], Any],
    preset: Callable[[int], Any],
) -> list[Any]:
    """Compare what the program sees without tracing and with a log being written."""
    without = story(lib, last_errors, preset)
    for level in ("count", "acquire", "full"):
        tracer = trace(log=str(tmp_path), level=level)
        assert story(lib, last_errors, preset) == without
        assert [finding.code.value for finding in tracer.check()] == ["leaked-at-release"]
        csptrace.stop()
    assert story(lib, last_errors, preset) == without
    return without


def test_softcsp(lib: Any, trace: Callable[..., Tracer], tmp_path: Path) -> None:
    """The last error of softcsp is what it is without tracing."""
    seen = compare(
        lib, trace, tmp_path, lib.GetLastError, lambda code: lib.SetLastError(c_uint32(code))
    )
    codes = [code & 0xFFFFFFFF for _, code in seen]
    assert codes[0] == SENTINEL
    assert codes[2] == NTE_NO_KEY
    assert codes[-1] == NTE_BAD_FLAGS


@windows
@pytest.mark.parametrize("private", [True, False], ids=["use_last_error", "plain"])
def test_windows(trace: Callable[..., Tracer], tmp_path: Path, private: bool) -> None:
    """The private copy of ctypes, ctypes.GetLastError and kernel32's own are undisturbed."""
    windows_ctypes: Any = ctypes
    lib = windows_ctypes.WinDLL("advapi32", use_last_error=private)
    kernel32 = windows_ctypes.WinDLL("kernel32")
    kernel32.GetLastError.restype = c_uint32

    def last_errors() -> tuple[int, int, int]:
        own = kernel32.GetLastError() & 0xFFFFFFFF
        return (
            own,
            windows_ctypes.get_last_error() & 0xFFFFFFFF,
            windows_ctypes.GetLastError() & 0xFFFFFFFF,
        )

    def preset(code: int) -> None:
        windows_ctypes.set_last_error(code)
        kernel32.SetLastError(code)

    seen = compare(lib, trace, tmp_path, last_errors, preset)
    where = 1 if private else 0
    assert seen[2][1][where] == NTE_NO_KEY
    assert seen[0][1][1 - where] == SENTINEL


@windows
def test_windows_error_of_an_errcheck(trace: Callable[..., Tracer], tmp_path: Path) -> None:
    """An errcheck that raises leaves the last error behind for the handler to read."""
    windows_ctypes: Any = ctypes
    lib = windows_ctypes.WinDLL("advapi32")
    kernel32 = windows_ctypes.WinDLL("kernel32")
    kernel32.GetLastError.restype = c_uint32

    def check(result: int, _function: Any, _arguments: Any) -> int:
        if not result:
            raise OSError(kernel32.GetLastError())
        return result

    trace(log=str(tmp_path))
    box, key = c_size_t(), c_size_t()
    for name in ("CryptAcquireContextW", "CryptGenKey", "CryptReleaseContext"):
        getattr(lib, name).errcheck = check
    lib.CryptAcquireContextW(byref(box), None, None, 24, VERIFY)
    lib.CryptGenKey(box, 0x660E, 0, byref(key))
    with pytest.raises(OSError, match="2148073481"):
        lib.CryptReleaseContext(box, 1)
    assert kernel32.GetLastError() == NTE_BAD_FLAGS


@windows
def test_windows_cffi(trace: Callable[..., Tracer], tmp_path: Path) -> None:
    """ffi.getwinerror() tells what it tells without tracing."""
    import cffi

    ffi: Any = cffi.FFI()
    ffi.cdef(
        "int CryptAcquireContextA(uintptr_t *, char *, char *, uint32_t, uint32_t);"
        "int CryptReleaseContext(uintptr_t, uint32_t);"
        "int CryptGetUserKey(uintptr_t, uint32_t, uintptr_t *);"
        "int CryptGenKey(uintptr_t, uint32_t, uint32_t, uintptr_t *);"
    )
    lib = ffi.dlopen("advapi32.dll")

    def run() -> list[int]:
        box, key = ffi.new("uintptr_t *"), ffi.new("uintptr_t *")
        seen = []
        for call in (
            lambda: lib.CryptAcquireContextA(box, ffi.NULL, ffi.NULL, 24, VERIFY),
            lambda: lib.CryptGetUserKey(box[0], 1, key),
            lambda: lib.CryptGenKey(box[0], 0x660E, 0, key),
            lambda: lib.CryptReleaseContext(box[0], 1),
            lambda: lib.CryptReleaseContext(0, 0),
        ):
            result = call()
            seen.append((result, ffi.getwinerror()[0] & 0xFFFFFFFF if not result else 0))
        return seen

    without = run()
    assert [code for _, code in without] == [0, NTE_NO_KEY, 0, NTE_BAD_FLAGS, INVALID_PARAMETER]
    trace(log=str(tmp_path))
    assert run() == without


def test_misuse_sets_no_last_error(lib: Any, trace: Callable[..., Tracer], tmp_path: Path) -> None:
    """A call that is not made leaves the provider's last error alone."""
    trace(log=str(tmp_path))
    box = c_size_t()
    lib.CryptAcquireContextW(byref(box), None, None, 24, VERIFY)
    lib.CryptReleaseContext(box, 0)
    lib.SetLastError(SENTINEL)
    with pytest.raises(DoubleRelease):
        lib.CryptReleaseContext(box, 0)
    assert lib.GetLastError() == SENTINEL
