"""Library objects that the program names itself, and everything about cffi."""

from __future__ import annotations

import ctypes
import importlib
import sys
from typing import TYPE_CHECKING, Any

import pytest

import csptrace
from csptrace.errors import ActivationError
from csptrace.findings.errors import UseAfterRelease

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from csptrace import Tracer

VERIFY = 0xF0000000


class Session:
    """One FFI and one library object of the fake provider."""

    def __init__(self, fakecsp: ModuleType, *, extra: str = "") -> None:
        import cffi

        self.ffi = cffi.FFI()
        self.ffi.cdef(fakecsp.FAKE_DECLARATIONS + extra)
        self.path = str(fakecsp.library())
        self.lib = self.ffi.dlopen(self.path)

    def acquire(self, lib: Any = None) -> int:
        """Acquire a context."""
        box = self.ffi.new("HCRYPTPROV *")
        null = self.ffi.NULL
        assert (lib or self.lib).CryptAcquireContextA(box, null, null, 24, VERIFY)
        return int(box[0])


@pytest.fixture
def session(fakecsp: ModuleType) -> Session:
    """Return a library that was loaded before tracing."""
    return Session(fakecsp)


@pytest.fixture
def compiled(fakecsp: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return a compiled cffi module around the same code."""
    monkeypatch.syspath_prepend(str(fakecsp.extension("_fakecsp_compiled")))
    importlib.invalidate_caches()
    return importlib.import_module("_fakecsp_compiled")


def outcome(function: Callable[..., Any], *arguments: Any) -> tuple[Any, ...]:
    """Return what a call did: its result, or its exception."""
    try:
        return ("returned", function(*arguments))
    except Exception as error:  # noqa: BLE001 - compared
        return ("raised", type(error), str(error))


# --- cffi, ABI mode -------------------------------------------------------------------------------


def test_cffi_library_loaded_before_and_after(
    fakecsp: ModuleType, session: Session, trace: Callable[..., Tracer]
) -> None:
    """A named library is traced whether it was loaded before tracing or while it traced."""
    early = session.lib.CryptAcquireContextA
    tracer = trace(libraries=(fakecsp.LIBRARY,))
    session.acquire()
    later = Session(fakecsp)
    later.acquire()
    later.acquire(later.ffi.dlopen(name=later.path))
    assert len(tracer.live()) == 3
    csptrace.stop()
    assert session.lib.CryptAcquireContextA is early
    for one in (session, later):
        one.acquire()
        assert isinstance(one.lib.CryptReleaseContext, one.ffi.CData)
        assert type(one.lib.CryptReleaseContext).__module__ == "_cffi_backend"
    assert len(tracer.check()) == 3


def test_cffi_unnamed_library_is_not_traced(session: Session, trace: Callable[..., Tracer]) -> None:
    """A library that nobody named stays untouched."""
    tracer = trace()
    session.acquire()
    assert tracer.live() == ()
    assert type(session.lib.CryptReleaseContext).__module__ == "_cffi_backend"


def test_cffi_start_and_stop_leave_no_trace(
    fakecsp: ModuleType, session: Session, trace: Callable[..., Tracer]
) -> None:
    """Five starts and stops leave the class and the functions of a library as they were."""
    session.acquire()
    function, look_up = session.lib.CryptAcquireContextA, type(session.lib).__getattr__
    for _ in range(5):
        tracer = trace(libraries=(fakecsp.LIBRARY,))
        session.acquire()
        assert len(tracer.live()) == 1
        csptrace.stop()
    assert session.lib.CryptAcquireContextA is function
    assert type(session.lib).__getattr__ is look_up


def test_cffi_first_look_up_is_traced_in_every_thread(
    fakecsp: ModuleType, trace: Callable[..., Tracer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that looks a function up while another does so for the first time is traced."""
    tracer = trace(libraries=(fakecsp.LIBRARY,))
    session = Session(fakecsp)
    cls = type(session.lib)
    plain = cls.__getattr__
    seen: list[Any] = []

    def other_thread_comes_first(self: Any, name: str) -> Any:
        found = plain(self, name)
        seen.append(name)
        return found

    monkeypatch.setattr(cls, "__getattr__", other_thread_comes_first)
    assert all(
        hasattr(function, "__wrapped__")
        for name, function in vars(session.lib).items()
        if name.startswith("Crypt")
    )
    session.acquire()
    assert "CryptAcquireContextA" not in seen
    assert len(tracer.live()) == 1


class Number:
    """What cffi takes for an integer."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __int__(self) -> int:
        """Return the number."""
        return self.value


IN: dict[str, Callable[[Any, int], Any]] = {
    "int": lambda _ffi, value: value,
    "cdata": lambda ffi, value: ffi.cast("HCRYPTPROV", value),
    "other integer type": lambda ffi, value: ffi.cast("uint64_t", value),
    "signed": lambda ffi, value: ffi.cast("int64_t", value),
    "__int__": lambda _ffi, value: Number(value),
}


@pytest.mark.parametrize("form", list(IN))
def test_cffi_handles_in(
    fakecsp: ModuleType, session: Session, trace: Callable[..., Tracer], form: str
) -> None:
    """A handle is recognised in every form that cffi takes for an integer."""
    tracer = trace(libraries=(fakecsp.LIBRARY,))
    value = session.acquire()
    make, ffi, lib = IN[form], session.ffi, session.lib
    buffer = ffi.new("unsigned char[4]")
    assert lib.CryptGenRandom(make(ffi, value), 4, buffer)
    assert lib.CryptReleaseContext(make(ffi, value), 0)
    assert tracer.live() == ()
    with pytest.raises(UseAfterRelease):
        lib.CryptGenRandom(make(ffi, value), 4, buffer)


OUT: dict[str, Callable[[Any], tuple[Any, Any]]] = {
    "pointer": lambda ffi: (box := ffi.new("HCRYPTPROV *"), box),
    "array": lambda ffi: (box := ffi.new("HCRYPTPROV[2]"), box),
    "second element": lambda ffi: (box := ffi.new("HCRYPTPROV[2]"), box + 1),
    "field": lambda ffi: (box := ffi.new("struct holder *"), ffi.addressof(box, "handle")),
    "void *": lambda ffi: (box := ffi.new("HCRYPTPROV *"), ffi.cast("void *", box)),
    "cast bytes": lambda ffi: (
        box := ffi.new("unsigned char[8]"),
        ffi.cast("HCRYPTPROV *", box),
    ),
    "void * to bytes": lambda ffi: (box := ffi.new("char[8]"), ffi.cast("void *", box)),
    "void * to struct": lambda ffi: (box := ffi.new("struct first *"), ffi.cast("void *", box)),
}


@pytest.mark.parametrize("form", list(OUT))
def test_cffi_places(fakecsp: ModuleType, trace: Callable[..., Tracer], form: str) -> None:
    """A new handle is read from every place that cffi can pass."""
    session = Session(
        fakecsp,
        extra="struct holder { int size; HCRYPTPROV handle; }; struct first { HCRYPTPROV h; };",
    )
    tracer = trace(libraries=(fakecsp.LIBRARY,))
    ffi, null = session.ffi, session.ffi.NULL
    keep, place = OUT[form](ffi)
    assert session.lib.CryptAcquireContextA(place, null, null, 24, VERIFY)
    written = int(ffi.cast("HCRYPTPROV *", ffi.cast("void *", place))[0])
    assert [unreleased.value for unreleased in tracer.live()] == [written]
    assert session.lib.CryptReleaseContext(written, 0)
    assert csptrace.stop() == []
    del keep


@pytest.mark.parametrize("wrong", [1.5, "x", None, object(), -1, 1 << 70, [1], b"1"])
def test_cffi_wrong_types_fail_as_without_tracing(
    fakecsp: ModuleType, session: Session, trace: Callable[..., Tracer], wrong: Any
) -> None:
    """What cffi refuses is refused with the same exception."""
    names = ("CryptReleaseContext", "CryptContextAddRef", "CryptDestroyKey", "CryptGenRandom")

    def all_of_them() -> list[Any]:
        null = session.ffi.NULL
        return [
            outcome(session.lib.CryptReleaseContext, wrong, 0),
            outcome(session.lib.CryptContextAddRef, wrong, null, 0),
            outcome(session.lib.CryptDestroyKey, wrong),
            outcome(session.lib.CryptGenRandom, wrong, 0, null),
            outcome(session.lib.CryptAcquireContextA, wrong, null, null, 24, VERIFY)[:2]
            if wrong is not None
            else None,
            outcome(session.lib.CryptReleaseContext),
        ]

    without = all_of_them()
    tracer = trace(libraries=(fakecsp.LIBRARY,))
    assert all(hasattr(getattr(session.lib, name), "__wrapped__") for name in names)
    assert all_of_them() == without
    assert tracer.live() == ()


def test_cffi_attributes_that_are_not_functions(
    fakecsp: ModuleType, session: Session, trace: Callable[..., Tracer]
) -> None:
    """Unknown names raise what they raise without tracing, and other functions stay plain."""
    with pytest.raises(AttributeError) as without:
        _ = session.lib.CryptNothing
    trace(libraries=(fakecsp.LIBRARY,))
    with pytest.raises(AttributeError) as traced:
        _ = session.lib.CryptNothing
    assert str(traced.value) == str(without.value)
    assert type(session.lib.fake_calls).__module__ == "_cffi_backend"
    assert isinstance(session.lib.CryptGenKey, session.ffi.CData)


# --- trace_library --------------------------------------------------------------------------------


def test_ctypes_library_of_any_name(lib: Any, trace: Callable[..., Tracer]) -> None:
    """A ctypes library is traced in place and restored, also what it has cached before."""
    library = type(lib)()
    library._name = "vendor"
    plain = library.CryptAcquireContextW
    tracer = trace()
    assert csptrace.trace_library(library, "cryptoapi") is library
    box = ctypes.c_size_t()
    assert library.CryptAcquireContextW(ctypes.byref(box), None, None, 24, VERIFY)
    assert len(tracer.live()) == 1
    assert library.CryptReleaseContext(box, 0)
    assert tracer.live() == ()
    csptrace.stop()
    assert library.CryptAcquireContextW is plain
    assert type(library.CryptReleaseContext) is library._FuncPtr


def test_cffi_library_of_any_name(session: Session, trace: Callable[..., Tracer]) -> None:
    """A cffi ABI-mode library is traced in place, once however often it is named."""
    tracer = trace()
    for _ in range(3):
        assert csptrace.trace_library(session.lib, "cryptoapi") is session.lib
    value = session.acquire()
    assert len(tracer.live()) == 1
    assert session.lib.CryptReleaseContext(value, 0)
    assert tracer.live() == ()
    assert tracer.graph.acquired == 1
    look_up = type(session.lib).__getattr__
    csptrace.stop()
    assert type(session.lib).__getattr__ is not look_up
    assert type(session.lib.CryptReleaseContext).__module__ == "_cffi_backend"


def test_compiled_library(compiled: Any, trace: Callable[..., Tracer]) -> None:
    """A compiled cffi library is traced through a proxy that has everything the library has."""
    ffi, null = compiled.ffi, compiled.ffi.NULL
    tracer = trace()
    lib = csptrace.trace_library(compiled.lib, "cryptoapi")
    assert lib is not compiled.lib
    assert lib.__class__ is compiled.lib.__class__
    assert repr(lib) == repr(compiled.lib)
    assert dir(lib) == dir(compiled.lib)
    assert lib.fake_calls is compiled.lib.fake_calls
    assert lib.CryptGenKey is lib.CryptGenKey
    box, key = ffi.new("HCRYPTPROV *"), ffi.new("HCRYPTKEY *")
    assert lib.CryptAcquireContextA(box, null, null, 24, VERIFY)
    assert lib.CryptGenKey(box[0], 0x660E, 0, key)
    assert lib.CryptReleaseContext(box[0], 0)
    assert [(f.code.value, f.handle.value) for f in tracer.check()] == [
        ("leaked-at-release", key[0])
    ]
    with pytest.raises(AttributeError) as traced:
        _ = lib.CryptNothing
    with pytest.raises(AttributeError) as plain:
        _ = compiled.lib.CryptNothing
    assert str(traced.value) == str(plain.value)


def test_compiled_library_named_again(compiled: Any, trace: Callable[..., Tracer]) -> None:
    """A proxy of an earlier tracer passes through, and may be named to the next one."""
    ffi, null = compiled.ffi, compiled.ffi.NULL

    def acquire(lib: Any) -> None:
        box = ffi.new("HCRYPTPROV *")
        assert lib.CryptAcquireContextA(box, null, null, 24, VERIFY)

    trace()
    old = csptrace.trace_library(compiled.lib, "cryptoapi")
    acquire(old)
    csptrace.stop()
    acquire(old)
    tracer = trace()
    acquire(old)
    assert tracer.live() == ()
    new = csptrace.trace_library(old, "cryptoapi")
    acquire(new)
    acquire(csptrace.trace_library(new, "cryptoapi"))
    assert len(tracer.live()) == 2


def test_untraced_library_is_returned_as_it_is(lib: Any) -> None:
    """While nothing is traced, trace_library gives back what it got."""
    assert csptrace.trace_library(lib, "cryptoapi") is lib


@pytest.mark.parametrize("wrong", [None, 5, "advapi32", sys, object(), ctypes.c_int()])
def test_what_is_no_library_is_refused(trace: Callable[..., Tracer], wrong: Any) -> None:
    """Something else is refused with what would be right."""
    trace()
    with pytest.raises(ActivationError, match=r"is no library object; pass a ctypes\.CDLL"):
        csptrace.trace_library(wrong, "cryptoapi")


def test_unknown_api_is_refused(lib: Any, trace: Callable[..., Tracer]) -> None:
    """An unknown API is refused with the known ones."""
    trace()
    with pytest.raises(ActivationError, match=r"unknown api 'capi'; known: .*cryptoapi"):
        csptrace.trace_library(lib, "capi")
