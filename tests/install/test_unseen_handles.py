"""A value that may have been handed out unseen is not called dead."""

from __future__ import annotations

import ctypes
import gc
import shutil
import subprocess
import sys
import textwrap
import types
from ctypes import byref, c_size_t, c_ubyte, c_ulong
from typing import TYPE_CHECKING, Any

import pytest
import required

import csptrace
from csptrace.findings.errors import DoubleRelease, UseAfterRelease

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from csptrace import Tracer

VERIFY = 0xF0000000


def acquire(function: Any) -> int:
    """Acquire a context through a function that was looked up somewhere."""
    box = c_size_t()
    assert function(byref(box), None, None, 24, VERIFY)
    return box.value


class Keeper:
    """Keeps a function as objects of programs do."""

    def __init__(self, function: Any) -> None:
        self.function = function


def in_a_module(function: Any) -> Any:
    """Keep a function under a module's own name for it."""
    module: Any = types.ModuleType("early_bird")
    module.function = function
    sys.modules["early_bird"] = module
    return module


def in_a_closure(function: Any) -> Any:
    """Keep a function in a cell of another one."""

    def call(*arguments: Any) -> Any:
        return function(*arguments)

    return types.SimpleNamespace(function=call)


KEEPERS: dict[str, Callable[[Any], Any]] = {
    "a module": in_a_module,
    "an attribute": Keeper,
    "a closure": in_a_closure,
}


@pytest.fixture(params=list(KEEPERS))
def early(request: pytest.FixtureRequest, lib: Any) -> Any:
    """Return what keeps a function that was looked up before tracing."""
    yield KEEPERS[request.param](lib.CryptAcquireContextW)
    sys.modules.pop("early_bird", None)


def test_a_value_from_a_function_bound_early_is_not_refused(
    early: Any, trace: Callable[..., Tracer], lib: Any
) -> None:
    """A context whose value died before, and which was acquired unseen, is used and released."""
    tracer = trace()
    assert any("CryptAcquireContextW" in name or "early_bird" in name for name in missed(tracer))
    first = acquire(lib.CryptAcquireContextW)
    assert lib.CryptReleaseContext(first, 0)
    again = acquire(early.function)
    assert again == first  # as providers do
    assert lib.CryptGenRandom(again, 4, (c_ubyte * 4)())
    key = c_size_t()
    assert lib.CryptGenKey(again, 0x6610, 1, byref(key))
    assert lib.CryptDestroyKey(key)
    assert lib.CryptReleaseContext(again, 0)
    assert tracer.check() == ()


def missed(tracer: Tracer) -> list[str]:
    """Return what the tracer says it does not see."""
    return tracer.installation.missed


def test_other_kinds_are_refused_as_ever(
    early: Any, trace: Callable[..., Tracer], lib: Any
) -> None:
    """A key can be acquired in no way that is unseen, so that a dead one is told."""
    trace()
    prov = acquire(lib.CryptAcquireContextW)
    key = c_size_t()
    assert lib.CryptGenKey(prov, 0x6610, 1, byref(key))
    assert lib.CryptDestroyKey(key)
    with pytest.raises(DoubleRelease):
        lib.CryptDestroyKey(key)
    assert lib.CryptReleaseContext(prov, 0)


def test_what_a_library_keeps_itself_is_traced(trace: Callable[..., Tracer], lib: Any) -> None:
    """A function that was only called before, and that nobody keeps, takes no certainty away."""
    prov = acquire(lib.CryptAcquireContextW)
    assert lib.CryptReleaseContext(prov, 0)
    tracer = trace()
    assert not any("CryptAcquireContextW" in name for name in missed(tracer))
    prov = acquire(lib.CryptAcquireContextW)
    assert lib.CryptReleaseContext(prov, 0)
    with pytest.raises(DoubleRelease):
        lib.CryptReleaseContext(prov, 0)


def test_an_earlier_tracer_leaves_nothing_that_keeps_a_function(
    trace: Callable[..., Tracer], lib: Any
) -> None:
    """Tracing that begins anew is as certain as the first was, without a garbage collection."""
    gc.collect()  # what other tests have left
    gc.disable()
    try:
        for _ in range(3):
            tracer = trace()
            assert missed(tracer) == []
            prov = acquire(lib.CryptAcquireContextW)
            assert lib.CryptReleaseContext(prov, 0)
            csptrace.stop()
    finally:
        gc.enable()


def test_a_function_of_an_earlier_tracer_takes_certainty_away(
    trace: Callable[..., Tracer], lib: Any
) -> None:
    """What was looked up while an earlier tracer ran reports to nobody."""
    trace()
    keeper = Keeper(lib.CryptAcquireContextW)
    csptrace.stop()
    tracer = trace()
    first = acquire(lib.CryptAcquireContextW)
    assert lib.CryptReleaseContext(first, 0)
    again = acquire(keeper.function)
    assert again == first
    assert lib.CryptGenRandom(again, 4, (c_ubyte * 4)())
    assert lib.CryptReleaseContext(again, 0)
    assert tracer.check() == ()


def test_what_a_function_bound_early_may_release_is_no_leak(
    trace: Callable[..., Tracer], lib: Any
) -> None:
    """A context that is released unseen is not called leaked; a key beside it is."""
    keeper = Keeper(lib.CryptReleaseContext)
    trace()
    prov = acquire(lib.CryptAcquireContextW)
    assert keeper.function(prov, 0)
    other, key = acquire(lib.CryptAcquireContextW), c_size_t()
    assert lib.CryptGenKey(other, 0x6610, 1, byref(key))
    assert [finding.handle.kind for finding in csptrace.stop()] == ["HCRYPTKEY"]
    assert lib.CryptDestroyKey(key)
    assert lib.CryptReleaseContext(other, 0)


def test_garbage_keeps_nothing(trace: Callable[..., Tracer], lib: Any) -> None:
    """A function that only garbage refers to takes no certainty away."""
    keeper: Any = Keeper(lib.CryptAcquireContextW)
    keeper.itself = keeper
    del keeper
    tracer = trace()
    assert missed(tracer) == []


# --- libraries of one vendor --------------------------------------------------------------------

MODULE = """
    static unsigned long next = 0;
    unsigned long C_GetFunctionList(void **list) { return 0; }
    unsigned long C_Initialize(void *args) { return 0; }
    unsigned long C_OpenSession(unsigned long slot, unsigned long flags, void *a, void *b,
                                unsigned long *session) { *session = 7; return 0; }
    unsigned long C_CloseSession(unsigned long session) { return 0; }
    unsigned long C_GetSessionInfo(unsigned long session, void *info) { return 0; }
    unsigned long C_GetInterface(void *name, void *version, void **found, unsigned long flags)
                                { return 0; }
    unsigned long CA_OpenSession(unsigned long slot, unsigned long *session)
                                { *session = 7; return 0; }
"""


@pytest.fixture
def vendor(tmp_path: Path) -> Any:
    """Return a PKCS#11 module with one number for every session and a function of its own."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        required.missing("cc", "no C compiler (cc or gcc)")
    source, library = tmp_path / "vendor.c", tmp_path / "vendor.so"
    source.write_text(textwrap.dedent(MODULE))
    subprocess.run([compiler, "-shared", "-fPIC", str(source), "-o", str(library)], check=True)
    return str(library)


def opened(lib: Any) -> c_ulong:
    """Open a session."""
    session = c_ulong()
    assert lib.C_OpenSession(c_ulong(0), c_ulong(4), None, None, byref(session)) == 0
    return session


def test_a_session_that_is_closed_is_refused(trace: Callable[..., Tracer], vendor: str) -> None:
    """Where every way to a session is seen, a closed one is refused."""
    trace()
    lib = ctypes.CDLL(vendor)
    lib.C_Initialize(None)
    session = opened(lib)
    lib.C_CloseSession(session)
    with pytest.raises(UseAfterRelease):
        lib.C_GetSessionInfo(session, None)


def test_a_function_that_only_its_library_keeps_takes_no_certainty_away(
    trace: Callable[..., Tracer], vendor: str
) -> None:
    """Tracing that begins in the middle of a program is certain, too, of a library's functions."""
    lib = ctypes.CDLL(vendor)
    lib.C_Initialize(None)
    lib.C_CloseSession(opened(lib))
    tracer = trace()
    assert missed(tracer) == []
    session = opened(lib)
    lib.C_CloseSession(session)
    with pytest.raises(UseAfterRelease):
        lib.C_GetSessionInfo(session, None)
    opened(lib)
    (leak,) = csptrace.stop()
    assert leak.handle.kind == "CK_SESSION_HANDLE"


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_function_of_the_vendors_own_takes_certainty_away(
    trace: Callable[..., Tracer], vendor: str, when: str
) -> None:
    """A session that may come from a function which nobody has described is not refused."""
    tracer = trace()
    lib = ctypes.CDLL(vendor)
    if when == "before":
        assert lib.CA_OpenSession
    lib.C_Initialize(None)
    session = opened(lib)
    lib.C_CloseSession(session)
    again = c_ulong()
    assert lib.CA_OpenSession(c_ulong(0), byref(again)) == 0
    assert lib.C_GetSessionInfo(again, None) == 0
    assert lib.C_CloseSession(again) == 0
    assert [finding.code for finding in tracer.check()] == []


def test_an_interface_takes_certainty_away(trace: Callable[..., Tracer], vendor: str) -> None:
    """The functions of an interface of version 3 are not traced, so its sessions are not known."""
    tracer = trace()
    lib = ctypes.CDLL(vendor)
    lib.C_Initialize(None)
    session = opened(lib)
    lib.C_CloseSession(session)
    assert lib.C_GetInterface(None, None, byref(ctypes.c_void_p()), c_ulong(0)) == 0
    assert lib.C_GetSessionInfo(session, None) == 0
    assert tracer.check() == ()


@pytest.mark.parametrize("kept", ["pointer", "table"])
def test_a_table_from_before_takes_certainty_away(
    trace: Callable[..., Tracer], vendor: str, kept: str
) -> None:
    """The functions of a table that was handed out before tracing are not traced."""

    class Table(ctypes.Structure):
        _fields_ = (("C_OpenSession", ctypes.c_void_p),)

    table = Table()
    held: Any = table if kept == "table" else ctypes.pointer(table)
    tracer = trace()
    lib = ctypes.CDLL(vendor)
    lib.C_Initialize(None)
    session = opened(lib)
    lib.C_CloseSession(session)
    assert lib.C_GetSessionInfo(session, None) == 0
    assert tracer.check() == ()
    assert held
