"""A wrapped ctypes function is to the program the function that it wraps."""

from __future__ import annotations

import _thread
import contextlib
import ctypes
import gc
import os
import subprocess
import sys
import textwrap
import threading
import weakref
from ctypes import byref, c_size_t, c_uint32, c_void_p
from typing import TYPE_CHECKING, Any

import pytest

import csptrace
from csptrace.findings.errors import DoubleRelease, HandleLeak, UseAfterRelease

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from csptrace import Tracer

VERIFY = 0xF0000000


class CryptError(Exception):
    """What the program makes of a failure."""


def acquire(lib: Any) -> int:
    """Acquire a context."""
    box = c_size_t()
    lib.CryptAcquireContextW(byref(box), None, None, 24, VERIFY)
    return box.value


def codes(tracer: Tracer) -> list[str]:
    """Return the codes of the findings so far."""
    return [finding.code.value for finding in tracer.check()]


# --- errcheck -----------------------------------------------------------------------------------


def raising(result: int, _function: Any, _arguments: Any) -> int:
    """Raise for a failure, as most programs do."""
    if not result:
        raise CryptError
    return result


CHECKS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "raises": raising,
    "returns None": lambda _result, _function, _arguments: None,
    "inverts": lambda result, _function, _arguments: not result,
    "returns the arguments": lambda _result, _function, arguments: arguments,
    "returns an object": lambda _result, _function, _arguments: object(),
    "returns the handle": lambda _result, _function, arguments: arguments[0],
}


@pytest.mark.parametrize("before", [True, False], ids=["set before tracing", "set while tracing"])
@pytest.mark.parametrize("check", list(CHECKS))
def test_success_is_judged_by_the_raw_result(
    lib: Any, trace: Callable[..., Tracer], check: str, before: bool
) -> None:
    """Whatever errcheck makes of the result, what succeeded is entered and what failed is not."""
    names = ("CryptAcquireContextW", "CryptGenKey", "CryptDestroyKey", "CryptReleaseContext")

    def prepare() -> None:
        for name in names:
            getattr(lib, name).errcheck = CHECKS[check]

    if before:
        prepare()
    tracer = trace()
    prepare()
    box, key = c_size_t(), c_size_t()
    lib.CryptAcquireContextW(byref(box), None, None, 24, VERIFY)
    lib.CryptGenKey(box, 0x660E, 0, byref(key))
    assert [unreleased.value for unreleased in tracer.live()] == [box.value, key.value]
    unset = c_size_t()
    try:
        lib.CryptGenKey(box, 0xFFFF, 0, byref(unset))
    except CryptError:
        assert check == "raises"
    assert len(tracer.live()) == 2
    lib.CryptDestroyKey(key)
    lib.CryptReleaseContext(box, 0)
    assert tracer.live() == ()
    assert codes(tracer) == []


def test_errcheck_that_raises_after_success(lib: Any, trace: Callable[..., Tracer]) -> None:
    """A release that succeeded is a release although the program's errcheck raises."""

    def broken(_result: Any, _function: Any, _arguments: Any) -> Any:
        raise CryptError

    tracer = trace()
    value = acquire(lib)
    lib.CryptReleaseContext.errcheck = broken
    with pytest.raises(CryptError) as caught:
        lib.CryptReleaseContext(value, 0)
    assert caught.value.__context__ is None
    assert tracer.live() == ()
    with pytest.raises(DoubleRelease):
        lib.CryptReleaseContext(value, 0)


def test_errcheck_that_raises_after_acquisition(lib: Any, trace: Callable[..., Tracer]) -> None:
    """A handle is owed although the program's errcheck raises after the call."""

    def broken(_result: Any, _function: Any, _arguments: Any) -> Any:
        raise CryptError

    tracer = trace()
    lib.CryptAcquireContextW.errcheck = broken
    box = c_size_t()
    with pytest.raises(CryptError) as caught:
        lib.CryptAcquireContextW(byref(box), None, None, 24, VERIFY)
    assert [unreleased.value for unreleased in tracer.live()] == [box.value]
    assert caught.value.__context__ is None


def test_errcheck_exception_is_freed_at_once(lib: Any, trace: Callable[..., Tracer]) -> None:
    """The tracer leaves no reference cycle around an exception that passes through it."""

    class Precious(CryptError):
        pass

    alive: list[weakref.ref[Precious]] = []

    def check(_result: Any, _function: Any, _arguments: Any) -> Any:
        error = Precious()
        alive.append(weakref.ref(error))
        try:
            raise error
        finally:
            del error

    def call(name: str, *arguments: Any) -> None:
        function = getattr(lib, name)
        function.errcheck = check
        with contextlib.suppress(Precious):
            function(*arguments)

    trace()
    gc.disable()
    try:
        call("CryptAcquireContextW", byref(c_size_t()), None, None, 24, VERIFY)
        call("CryptReleaseContext", 0, 0)
        call("CryptExportKey", 0, 0, 8, 4, None, None)
        call("CryptGenRandom", 0, 0, None)
    finally:
        gc.enable()
    assert [reference() for reference in alive] == [None] * 4


def test_errcheck_sees_the_function_of_the_program(lib: Any, trace: Callable[..., Tracer]) -> None:
    """The `func` argument of errcheck is the object that the program calls."""
    trace()
    seen: list[Any] = []
    lib.CryptReleaseContext.errcheck = lambda result, function, _arguments: (
        seen.append(function) or result
    )
    lib.CryptReleaseContext(0, 0)
    assert seen[0] is lib.CryptReleaseContext


def test_errcheck_that_calls_the_function_again(lib: Any, trace: Callable[..., Tracer]) -> None:
    """Calls made inside errcheck, of the same function, do not mix up results."""
    tracer = trace()
    extra = c_size_t()

    def again(result: int, function: Any, arguments: Any) -> int:
        if not extra.value:
            extra.value = 1
            function(byref(extra), None, None, 24, VERIFY)
            function(byref(c_size_t()), "no such container", None, 24, 0)
        return result

    lib.CryptAcquireContextW.errcheck = again
    box = c_size_t()
    assert lib.CryptAcquireContextW(byref(box), None, None, 24, VERIFY) == 1
    assert {unreleased.value for unreleased in tracer.live()} == {box.value, extra.value}


def test_logged_misuse_leaves_no_result_behind(lib: Any, trace: Callable[..., Tracer]) -> None:
    """After a misuse that was logged only, the next call is judged by its own result."""
    tracer = trace(on_misuse="log")
    value = acquire(lib)
    lib.CryptReleaseContext.errcheck = lambda result, _function, _arguments: result
    assert lib.CryptReleaseContext(value, 0) == 1
    assert lib.CryptReleaseContext(value, 0) == 0
    other = acquire(lib)
    assert lib.CryptReleaseContext(other, 0) == 1
    assert tracer.live() == ()
    lib.CryptReleaseContext.argtypes = [c_size_t, c_uint32]
    third = acquire(lib)
    with pytest.raises(ctypes.ArgumentError):
        lib.CryptReleaseContext(third, "no number")
    assert [unreleased.value for unreleased in tracer.live()] == [third]
    assert lib.CryptReleaseContext(third, 0) == 1
    assert tracer.live() == ()


def test_errcheck_can_be_read_set_and_deleted(lib: Any, trace: Callable[..., Tracer]) -> None:
    """Reading errcheck gives the program's own; deleting it takes it away."""
    trace()
    function = lib.CryptReleaseContext
    assert function.errcheck is None
    function.errcheck = raising
    assert function.errcheck is raising
    with pytest.raises(TypeError):
        function.errcheck = 5
    assert function.errcheck is raising
    with pytest.raises(CryptError):
        function(0, 0)
    del function.errcheck
    assert function.errcheck is None
    assert function(0, 0) == 0


def test_falsy_errcheck_is_an_errcheck(lib: Any, trace: Callable[..., Tracer]) -> None:
    """A callable that is false in itself is read back and called."""

    class Checks(list[Any]):
        def __call__(self, result: Any, _function: Any, _arguments: Any) -> Any:
            return ("checked", result)

    trace()
    check = Checks()
    lib.CryptReleaseContext.errcheck = check
    assert lib.CryptReleaseContext.errcheck is check
    assert lib.CryptReleaseContext(0, 0) == ("checked", 0)


# --- restype ------------------------------------------------------------------------------------


def test_restype_may_be_a_callable(lib: Any, trace: Callable[..., Tracer]) -> None:
    """A Python restype converts for the program; the tracer judges by the raw result."""
    tracer = trace()
    lib.CryptAcquireContextW.restype = lambda result: not result
    lib.CryptReleaseContext.restype = lambda result: not result
    box = c_size_t()
    assert lib.CryptAcquireContextW(byref(box), None, None, 24, VERIFY) is False
    assert [unreleased.value for unreleased in tracer.live()] == [box.value]
    assert lib.CryptReleaseContext(0, 0) is True
    assert lib.CryptReleaseContext(box, 0) is False
    assert tracer.live() == ()


def test_restype_and_errcheck_together(lib: Any, trace: Callable[..., Tracer]) -> None:
    """An errcheck gets what restype made, and the tracer judges by the raw result."""
    tracer = trace()
    lib.CryptAcquireContextW.restype = lambda result: "" if result else "failed"
    lib.CryptAcquireContextW.errcheck = lambda result, _function, _arguments: [result]
    box = c_size_t()
    assert lib.CryptAcquireContextW(byref(box), None, None, 24, VERIFY) == [""]
    failed = c_size_t()
    assert lib.CryptAcquireContextW(byref(failed), "none", None, 24, 0) == ["failed"]
    assert [unreleased.value for unreleased in tracer.live()] == [box.value]


@pytest.mark.parametrize("restype", [ctypes.c_int, ctypes.c_bool, c_uint32, ctypes.c_byte])
def test_restype_may_be_any_type(lib: Any, trace: Callable[..., Tracer], restype: type) -> None:
    """Zero is failure in every integer type, in subclasses of them, too."""

    class Own(restype):  # type: ignore[misc]
        """ctypes does not convert the result of a subclass."""

    tracer = trace()
    for chosen in (restype, Own):
        lib.CryptAcquireContextW.restype = lib.CryptReleaseContext.restype = chosen
        value = acquire(lib)
        assert [unreleased.value for unreleased in tracer.live()] == [value]
        failed = c_size_t()
        lib.CryptAcquireContextW(byref(failed), "none", None, 24, 0)
        lib.CryptReleaseContext(value, 0)
        assert tracer.live() == ()
    assert codes(tracer) == []


def test_restype_none_believes_the_out_parameter(lib: Any, trace: Callable[..., Tracer]) -> None:
    """A program that throws the result away is believed to succeed."""
    tracer = trace()
    lib.CryptAcquireContextW.restype = lib.CryptReleaseContext.restype = None
    value = acquire(lib)
    assert [unreleased.value for unreleased in tracer.live()] == [value]
    assert lib.CryptReleaseContext(value, 0) is None
    assert tracer.live() == ()


def test_restype_none_and_a_call_that_was_not_made(lib: Any, trace: Callable[..., Tracer]) -> None:
    """With restype None, an argument that ctypes refuses releases nothing."""
    tracer = trace()
    value = acquire(lib)
    lib.CryptReleaseContext.restype = None
    lib.CryptReleaseContext.argtypes = [c_size_t, c_uint32]
    with pytest.raises(ctypes.ArgumentError):
        lib.CryptReleaseContext(value, "no number")
    assert [unreleased.value for unreleased in tracer.live()] == [value]


def test_restype_can_be_read_set_and_deleted(lib: Any, trace: Callable[..., Tracer]) -> None:
    """Reading restype gives the program's own, also after a bad value was refused."""
    trace()
    function = lib.CryptReleaseContext
    assert function.restype is ctypes.c_int
    function.restype = raises = str
    function.restype = own = lambda result: [result]
    assert function.restype is own
    assert raises is str
    with pytest.raises(TypeError):
        function.restype = 5
    assert function.restype is own
    assert function(0, 0) == [0]
    function.restype = ctypes.c_bool
    assert function.restype is ctypes.c_bool
    assert function(0, 0) is False
    del function.restype
    assert function.restype is ctypes.c_int


def test_argtypes_can_be_read_set_and_deleted(lib: Any, trace: Callable[..., Tracer]) -> None:
    """The argtypes of the wrapper are those of the function."""
    trace()
    function = lib.CryptReleaseContext
    assert function.argtypes is None
    function.argtypes = (c_size_t, c_uint32)
    assert function.argtypes == (c_size_t, c_uint32)
    assert function.__wrapped__.argtypes == (c_size_t, c_uint32)
    with pytest.raises(ctypes.ArgumentError):
        function("x", 0)
    del function.argtypes
    assert function.argtypes is None


# --- the function as an object --------------------------------------------------------------------


def test_function_looks_like_the_function(lib: Any, trace: Callable[..., Tracer]) -> None:
    """Type, name, representation and identity are those that programs rely on."""
    plain = lib["CryptReleaseContext"]
    trace()
    function = lib.CryptReleaseContext
    assert function is lib.CryptReleaseContext
    assert isinstance(function, type(plain))
    assert isinstance(function, ctypes._CFuncPtr)  # type: ignore[attr-defined]
    assert function.__name__ == "CryptReleaseContext"
    assert repr(function).partition(" at ")[0] == repr(plain).partition(" at ")[0]
    assert bool(function) is bool(plain) is True
    function.remark = "mine"
    assert function.__wrapped__.remark == "mine"


def test_function_can_be_cast_and_passed_to_c(lib: Any, trace: Callable[..., Tracer]) -> None:
    """`ctypes.cast` and c_void_p take the wrapper for the function pointer."""
    plain = ctypes.cast(lib["CryptReleaseContext"], c_void_p).value
    trace()
    assert ctypes.cast(lib.CryptReleaseContext, c_void_p).value == plain
    prototype = ctypes.CFUNCTYPE(ctypes.c_int, c_size_t, c_uint32)
    assert ctypes.cast(lib.CryptReleaseContext, prototype)(0, 0) == 0


def test_index_and_attribute_are_both_traced(lib: Any, trace: Callable[..., Tracer]) -> None:
    """`lib["Name"]` and `lib.Name` give traced functions; each index gives a new one."""
    tracer = trace()
    box = c_size_t()
    first, second = lib["CryptAcquireContextW"], lib["CryptAcquireContextW"]
    assert first is not second
    assert first(byref(box), None, None, 24, VERIFY)
    assert len(tracer.live()) == 1
    assert lib["CryptReleaseContext"](box, 0)
    assert tracer.live() == ()


def test_other_functions_are_not_wrapped(lib: Any, trace: Callable[..., Tracer]) -> None:
    """A function without a row in a spec, and a library that is not traced, stay as they are."""
    trace()
    assert type(lib.GetLastError) is lib._FuncPtr
    assert type(ctypes.pythonapi.Py_IncRef).__name__ == "_FuncPtr"


def test_unknown_function_is_an_attribute_error(lib: Any, trace: Callable[..., Tracer]) -> None:
    """An unknown name raises the same AttributeError as without tracing."""

    def message(look_up: Callable[[], Any]) -> str:
        with pytest.raises(AttributeError) as caught:
            look_up()
        return str(caught.value)

    without = [message(lambda: lib.CryptNothing), message(lambda: lib["CryptNothing"])]
    trace()
    assert [message(lambda: lib.CryptNothing), message(lambda: lib["CryptNothing"])] == without
    for name in ("__csptrace__", "__nothing__"):
        with pytest.raises(AttributeError):
            getattr(lib, name)


def test_ordinals_reach_the_library(trace: Callable[..., Tracer]) -> None:
    """A look-up by ordinal is passed on as it is."""
    seen: list[Any] = []

    class Library(ctypes.CDLL):
        def __init__(self) -> None:
            self._name = "advapi32"
            self._handle = 0
            self._FuncPtr = lambda what: seen.append(what) or ctypes.CFUNCTYPE(ctypes.c_int)()

    trace()
    library: Any = Library()
    library[7]
    assert [what[0] for what in seen] == [7]


def test_prototypes_are_not_traced(lib: Any, trace: Callable[..., Tracer]) -> None:
    """A function made from an address by a prototype is not seen; its handles are unowned."""
    tracer = trace()
    prototype = ctypes.CFUNCTYPE(
        ctypes.c_int, c_void_p, c_void_p, c_void_p, ctypes.c_uint32, ctypes.c_uint32
    )
    acquire_pointer = ctypes.cast(lib.CryptAcquireContextW, c_void_p).value
    assert acquire_pointer is not None
    box = c_size_t()
    assert prototype(acquire_pointer)(byref(box), None, None, 24, VERIFY)
    assert tracer.live() == ()
    assert lib.CryptReleaseContext(box, 0)
    assert codes(tracer) == []


def test_vendor_library_is_named_in_the_settings(
    trace: Callable[..., Tracer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library with another name is traced if it is named, with or without path and suffix."""
    from csptrace.softcsp.library import SoftLibrary

    for loaded, named in (
        ("libcapi20.so.4", "capi20"),
        ("/opt/csp/lib/libcapi20.so", "libcapi20.so"),
        ("C:\\Windows\\CAPI20.DLL", "capi20.dll"),
    ):
        library = SoftLibrary()
        library._name = loaded
        tracer = trace()
        acquire(library)
        assert tracer.live() == ()
        csptrace.stop()
        tracer = trace(libraries=(named,))
        acquire(library)
        assert len(tracer.live()) == 1
        csptrace.stop()


# --- calls that no Python code makes --------------------------------------------------------------


def test_thread_that_starts_with_the_function(lib: Any, trace: Callable[..., Tracer]) -> None:
    """A release that is a thread's own function, without a Python caller, is made and seen."""
    tracer = trace()
    value = acquire(lib)
    done = threading.Event()
    lib.CryptReleaseContext.errcheck = lambda result, _function, _arguments: done.set() or result
    _thread.start_new_thread(lib.CryptReleaseContext, (value, 0))
    assert done.wait(10)
    while tracer.live():  # settled after the native call
        pass
    assert codes(tracer) == []


def test_calls_at_exit(tmp_path: Path) -> None:
    """Functions registered with atexit, which no Python code calls, are made and seen."""
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(
            """
            import atexit, ctypes
            import csptrace
            from csptrace.softcsp import advapi32

            csptrace.start(quiet=False, strict=True)
            box, key = ctypes.c_size_t(), ctypes.c_size_t()
            advapi32.CryptAcquireContextW(ctypes.byref(box), None, None, 24, 0xF0000000)
            atexit.register(advapi32.CryptReleaseContext, box.value, 0)
            atexit.register(advapi32.CryptDestroyKey, key)
            atexit.register(advapi32.CryptGenRandom, box.value, 0, None)
            atexit.register(advapi32.CryptGenKey, box.value, 0x660E, 0, ctypes.byref(key))
            """
        )
    )
    done = subprocess.run(
        [sys.executable, str(program)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0
    assert done.stderr.splitlines() == ["csptrace: 2 handles acquired, no findings"]


@pytest.mark.parametrize("name", ["CryptGenRandom", "CryptReleaseContext", "CryptGenKey"])
def test_misuse_that_no_python_code_makes(
    lib: Any, trace: Callable[..., Tracer], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A misuse in a thread's own function is a finding, and the error of that thread."""
    tracer = trace()
    value = acquire(lib)
    lib.CryptReleaseContext(value, 0)
    caught: list[Any] = []
    done = threading.Event()

    def hook(unraisable: Any) -> None:
        caught.append(unraisable.exc_type)
        done.set()

    monkeypatch.setattr(sys, "unraisablehook", hook)
    _thread.start_new_thread(getattr(lib, name), (value, 0, None, None)[: 2 if "R" in name else 4])
    assert done.wait(10)
    assert codes(tracer) == [caught[0].code]
    assert caught[0] in (UseAfterRelease, DoubleRelease)


# --- before, while and after tracing --------------------------------------------------------------


def test_functions_looked_up_before_are_replaced_and_restored(
    lib: Any, trace: Callable[..., Tracer]
) -> None:
    """What the library has cached is traced from the start on, and afterwards as it was."""
    plain = lib.CryptAcquireContextW
    plain.argtypes = [c_void_p, c_void_p, c_void_p, c_uint32, c_uint32]
    plain.errcheck = raising
    release = lib.CryptReleaseContext
    release.restype = own = lambda result: [result]
    tracer = trace()
    assert lib.CryptAcquireContextW is not plain
    assert lib.CryptAcquireContextW.argtypes is plain.argtypes
    assert lib.CryptAcquireContextW.errcheck is raising
    value = acquire(lib)
    assert tracer.graph.acquired == tracer.graph.live == 1
    assert lib.CryptReleaseContext(value, 0) == [1]
    assert tracer.graph.live == 0
    csptrace.stop()
    assert lib.CryptAcquireContextW is plain
    assert plain.errcheck is raising
    assert (lib.CryptReleaseContext, release.restype) == (release, own)


def test_new_functions_are_restored(lib: Any, trace: Callable[..., Tracer]) -> None:
    """What the library caches while it is traced is plain afterwards, with what was set on it."""
    trace()
    lib.CryptReleaseContext.errcheck = raising
    lib.CryptReleaseContext.argtypes = [c_size_t, c_uint32]
    csptrace.stop()
    function = lib.CryptReleaseContext
    assert type(function) is lib._FuncPtr
    assert function.errcheck is raising
    assert function.argtypes == [c_size_t, c_uint32]
    with pytest.raises(CryptError):
        function(0, 0)


def test_settings_behind_the_back_of_the_tracer_survive(
    lib: Any, trace: Callable[..., Tracer]
) -> None:
    """The errcheck and restype set through another reference are seen, and kept after tracing."""
    plain = lib.CryptReleaseContext
    plain.errcheck = raising
    plain.restype = one = lambda result: [result]
    trace()
    assert (lib.CryptReleaseContext.errcheck, lib.CryptReleaseContext.restype) == (raising, one)
    plain.errcheck = later = lambda result, _function, _arguments: (result,)
    plain.restype = two = lambda result: {result}
    assert (lib.CryptReleaseContext.errcheck, lib.CryptReleaseContext.restype) == (later, two)
    csptrace.stop()
    assert (plain.errcheck, plain.restype) == (later, two)
    assert lib.CryptReleaseContext(0, 0) == ({0},)


def test_function_kept_by_the_program_works_after_tracing(
    lib: Any, trace: Callable[..., Tracer]
) -> None:
    """A traced function that the program has kept calls straight through after stop."""
    tracer = trace()
    acquiring, release = lib["CryptAcquireContextW"], lib["CryptReleaseContext"]
    release.errcheck = raising
    csptrace.stop()
    box = c_size_t()
    assert acquiring(byref(box), None, None, 24, VERIFY)
    assert release(box, 0) == 1
    with pytest.raises(CryptError):
        release(box, 0)
    assert tracer.live() == ()
    assert codes(tracer) == []


def test_native_result_is_returned_unless_leaks_raise(
    lib: Any, trace: Callable[..., Tracer]
) -> None:
    """With on_leak=raise the leak is raised after the release; the errcheck has run."""
    trace(on_leak="raise")
    seen: list[int] = []
    value, key = acquire(lib), c_size_t()
    lib.CryptGenKey(c_size_t(value), 0x660E, 0, byref(key))
    lib.CryptReleaseContext.errcheck = lambda result, _function, _arguments: (
        seen.append(result) or result
    )
    with pytest.raises(HandleLeak):
        lib.CryptReleaseContext(value, 0)
    assert seen == [1]
