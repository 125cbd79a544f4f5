"""Putting patches in and taking them out: everything or nothing, lazily, in any order."""

from __future__ import annotations

import ctypes
import functools
import os
import subprocess
import sys
import textwrap
import types
from ctypes import byref, c_size_t
from typing import TYPE_CHECKING, Any

import pytest

import csptrace
from csptrace.errors import ActivationError
from csptrace.install import targets
from csptrace.install.journal import Journal
from csptrace.settings import Settings
from csptrace.tracer import Tracer as Root

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from csptrace import Tracer

VERIFY = 0xF0000000


def acquire(lib: Any) -> int:
    """Acquire a context."""
    box = c_size_t()
    assert lib.CryptAcquireContextW(byref(box), None, None, 24, VERIFY)
    return box.value


def run(tmp_path: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program in an interpreter of its own."""
    file = tmp_path / "program.py"
    file.write_text(textwrap.dedent(program))
    return subprocess.run(
        [sys.executable, *arguments, str(file)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def state() -> dict[str, Any]:
    """Return everything that tracing may replace, by identity."""
    from csptrace.softcsp import advapi32, win32crypt

    found: dict[str, Any] = {f"CDLL.{name}": value for name, value in vars(ctypes.CDLL).items()}
    found |= {f"win32crypt.{name}": value for name, value in vars(win32crypt).items()}
    found |= {f"advapi32.{name}": value for name, value in vars(advapi32).items()}
    try:
        import cffi
    except ImportError:
        return found
    return found | {f"FFI.{name}": value for name, value in vars(cffi.FFI).items()}


def assert_same(before: dict[str, Any]) -> None:
    """Compare with an earlier state, by identity."""
    after = state()
    assert {name for name in before if after.get(name) is not before[name]} == set()
    assert set(after) - set(before) <= {name for name in after if name.startswith("advapi32.")}


# --- again and again ------------------------------------------------------------------------------


def test_start_and_stop_leave_no_trace(trace: Callable[..., Tracer]) -> None:
    """Ten starts and stops leave libraries and modules exactly as they were."""
    from csptrace.softcsp import advapi32, win32crypt

    acquire(advapi32)
    before = state()
    for _ in range(10):
        tracer = trace()
        acquire(advapi32)
        win32crypt.CryptAcquireContext(None, None, 24, VERIFY)
        # Not what is alive: the functions in `before` might have released it unseen.
        assert tracer.graph.acquired == 2
        csptrace.stop()
    assert_same(before)


def test_callbacks_do_not_pile_up(trace: Callable[..., Tracer]) -> None:
    """Import hooks of stopped tracers are forgotten."""
    trace()
    csptrace.stop()
    before = {name: len(callbacks) for name, callbacks in targets._callbacks.items()}
    for _ in range(10):
        trace()
        csptrace.stop()
    assert {name: len(callbacks) for name, callbacks in targets._callbacks.items()} == before


def test_starting_twice(trace: Callable[..., Tracer]) -> None:
    """A second start without settings gives the active tracer; with settings it is an error."""
    tracer = trace()
    before = state()
    assert csptrace.start() is tracer
    with pytest.raises(ActivationError):
        csptrace.start(quiet=True)
    assert_same(before)
    assert csptrace.current() is tracer


def test_two_installations_on_top_of_each_other(lib: Any) -> None:
    """Two tracers that patch at once each see every call once, and come off in any order."""
    before = state()
    for order in ((0, 1), (1, 0)):
        tracers = [Root(Settings(quiet=True, strict=True)) for _ in range(2)]
        for tracer in tracers:
            tracer.start()
        library = type(lib)()
        acquire(library)
        assert sum(tracer.graph.acquired for tracer in tracers) >= 1
        for index in order:
            tracers[index].stop()
        acquire(type(lib)())
    ctypes.CDLL.__getitem__ = before["CDLL.__getitem__"]  # type: ignore[method-assign]


def test_two_installations_on_wrapped_classes() -> None:
    """A second tracer starts where a first one has put a function in the place of a class."""
    module = pytest.importorskip("pkcs11._pkcs11", reason="no python-pkcs11 here")
    before = dict(vars(module))
    tracers = [Root(Settings(quiet=True, strict=True)) for _ in range(2)]
    for tracer in tracers:
        tracer.start()
    for tracer in reversed(tracers):
        tracer.stop()
    assert vars(module) == before


# --- foreign patches ------------------------------------------------------------------------------


def test_foreign_patch_below(lib: Any, trace: Callable[..., Tracer]) -> None:
    """A patch that was there first is called, and is what is left afterwards."""
    original = ctypes.CDLL.__getitem__
    seen: list[Any] = []

    @functools.wraps(original)
    def foreign(self: Any, name: Any) -> Any:
        # Libraries of earlier tests that are still alive are asked what they are at the start.
        if self is lib:
            seen.append(name)
        return original(self, name)

    ctypes.CDLL.__getitem__ = foreign  # type: ignore[method-assign]
    try:
        tracer = trace()
        acquire(lib)
        assert seen == ["CryptAcquireContextW"]
        assert len(tracer.live()) == 1
        csptrace.stop()
        assert vars(ctypes.CDLL)["__getitem__"] is foreign
    finally:
        ctypes.CDLL.__getitem__ = original  # type: ignore[method-assign]


def test_foreign_patch_on_top(lib: Any, trace: Callable[..., Tracer]) -> None:
    """A patch put on top stays in its place; ours below it passes through and traces no more."""
    plain = ctypes.CDLL.__getitem__
    tracer = trace()
    ours = vars(ctypes.CDLL)["__getitem__"]
    seen: list[Any] = []

    def foreign(self: Any, name: Any) -> Any:
        seen.append(name)
        return ours.__get__(self)(name)

    ctypes.CDLL.__getitem__ = foreign  # type: ignore[method-assign]
    try:
        acquire(lib)
        csptrace.stop()
        assert vars(ctypes.CDLL)["__getitem__"] is foreign
        fresh = type(lib)()
        acquire(fresh)
        assert type(fresh.CryptAcquireContextW) is fresh._FuncPtr
        again = trace()
        last = type(lib)()
        acquire(last)
        assert len(again.live()) == 1
        csptrace.stop()
        assert vars(ctypes.CDLL)["__getitem__"] is foreign
    finally:
        ctypes.CDLL.__getitem__ = plain  # type: ignore[method-assign]
    assert len(tracer.check()) == 1


def test_foreign_patch_on_a_module_function(trace: Callable[..., Tracer]) -> None:
    """A patch on top of ours in a module stays, and works through us before and after stop."""
    from csptrace.softcsp import win32crypt

    plain = win32crypt.CryptAcquireContext
    tracer = trace()
    ours = win32crypt.CryptAcquireContext
    foreign = functools.partial(ours)
    try:
        win32crypt.CryptAcquireContext = foreign
        kept = [win32crypt.CryptAcquireContext(None, None, 24, VERIFY)]
        assert len(tracer.live()) == 1
        csptrace.stop()
        assert win32crypt.CryptAcquireContext is foreign
        kept.append(win32crypt.CryptAcquireContext(None, None, 24, VERIFY))
        assert type(kept[1]) is type(kept[0].__wrapped__)
    finally:
        win32crypt.CryptAcquireContext = plain


# --- all or nothing -------------------------------------------------------------------------------


@pytest.mark.parametrize("failing", ["_patch_ctypes", "_note_bound", "_find_imported", "_replace"])
def test_failing_start_leaves_nothing_patched(
    monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    """If one target cannot be patched, starting raises and everything is as it was."""
    from csptrace.softcsp import advapi32, win32crypt

    assert win32crypt
    acquire(advapi32)
    before = state()
    hooks = {name: len(callbacks) for name, callbacks in targets._callbacks.items()}
    done: list[int] = []
    original = getattr(targets.Installation, failing)

    def broken(self: Any, *arguments: Any) -> Any:
        if failing == "_replace" and len(done) < 3:
            done.append(1)
            return original(self, *arguments)
        raise ZeroDivisionError("cannot be patched")

    with monkeypatch.context() as patch:
        patch.setattr(targets.Installation, failing, broken)
        with pytest.raises(ZeroDivisionError):
            csptrace.start(quiet=True)
    assert csptrace.current() is None
    assert_same(before)
    left = {name: len(callbacks) for name, callbacks in targets._callbacks.items()}
    assert {name: count for name, count in left.items() if count} == {
        name: count for name, count in hooks.items() if count
    }


def test_failure_at_import_does_not_break_the_import(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A module that cannot be patched when it is imported is imported all the same."""
    done = run(
        tmp_path,
        """
        import sys, csptrace
        from csptrace.install import targets

        def broken(self, *arguments):
            raise ZeroDivisionError("cannot be patched")

        csptrace.start()
        targets.Installation._find_imported = targets.Installation._replace = broken
        from csptrace.softcsp import win32crypt
        prov = win32crypt.CryptAcquireContext(None, None, 24, 0xF0000000)
        print(type(prov).__module__, win32crypt.CryptAcquireContext)
        csptrace.stop()
        """,
    )
    assert done.returncode == 0
    assert done.stdout.startswith("builtins <function CryptAcquireContext")
    assert "internal error in patching" in done.stderr
    assert "cannot be patched" in done.stderr


def test_journal_undoes_everything_it_can() -> None:
    """Undoing goes backwards, goes on after an error, and returns what went wrong."""
    journal = Journal()
    order: list[str] = []

    def fail() -> None:
        order.append("fails")
        raise ZeroDivisionError

    journal.add("first", lambda: order.append("first"))
    journal.add("fails", fail)
    journal.add("last", lambda: order.append("last"))
    assert [entry.what for entry in journal.entries] == ["first", "fails", "last"]
    errors = journal.undo(down_to=1)
    assert order == ["last", "fails"]
    assert [type(error) for error in errors] == [ZeroDivisionError]
    assert len(journal) == 1
    assert journal.undo() == []
    assert journal.undo() == []
    assert order == ["last", "fails", "first"]


# --- lazily ---------------------------------------------------------------------------------------


def test_starting_imports_no_binding(tmp_path: Path) -> None:
    """Starting imports neither ctypes nor cffi nor a module with handle objects."""
    done = run(
        tmp_path,
        """
        import sys, csptrace
        csptrace.start(quiet=True)
        print(sorted({"ctypes", "_ctypes", "cffi", "_cffi_backend", "win32crypt", "cryptography",
                      "csptrace.softcsp", "pytest"} & set(sys.modules)))
        print(csptrace.current().installation.pending)
        csptrace.stop()
        """,
    )
    assert done.stderr == ""
    first, second = done.stdout.splitlines()
    # On Windows structlog's colours import ctypes, which is a part of no binding by itself.
    assert first == ("['_ctypes', 'ctypes']" if os.name == "nt" else "[]")
    assert all(name in second for name in ("ctypes", "cffi.api", "win32crypt"))


@pytest.mark.skipif(os.name == "nt", reason="pywin32 is installed here; softcsp takes no place")
def test_import_finder_that_was_taken_out_is_put_back(
    trace: Callable[..., Tracer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What restores sys.meta_path after wrapt was first used does not blind later tracers."""
    others = [each for each in sys.meta_path if type(each).__name__ != "ImportHookFinder"]
    monkeypatch.setattr(sys, "meta_path", others)
    trace()
    assert type(sys.meta_path[0]).__name__ == "ImportHookFinder"


def test_import_finder_stands_before_those_that_came_later(tmp_path: Path) -> None:
    """A finder that was put in front since, such as pytest's, does not hide imports from a hook."""
    done = run(
        tmp_path,
        """
        import importlib.machinery, sys, csptrace
        csptrace.start(quiet=True)
        csptrace.stop()
        class Greedy:
            find_spec = staticmethod(importlib.machinery.PathFinder.find_spec)
        sys.meta_path.insert(0, Greedy)
        csptrace.start(quiet=True)
        import ctypes
        print(type(vars(ctypes.CDLL)["__getitem__"]).__name__)
        print([type(each).__name__ for each in sys.meta_path].count("ImportHookFinder"))
        csptrace.stop()
        """,
    )
    assert done.stderr == ""
    assert done.stdout.split() == ["FunctionWrapper", "1"]


def test_modules_imported_later_are_patched(tmp_path: Path) -> None:
    """ctypes, cffi and win32crypt are patched when the program imports them, under any name."""
    done = run(
        tmp_path,
        """
        import csptrace
        tracer = csptrace.start(quiet=True, strict=True)
        from csptrace import softcsp
        softcsp.install()
        import win32crypt
        kept = [win32crypt.CryptAcquireContext(None, None, 24, 0xF0000000)]
        from csptrace.softcsp.win32crypt import CryptAcquireContext as named
        kept.append(named(None, None, 24, 0xF0000000))
        import ctypes
        box = ctypes.c_size_t()
        softcsp.advapi32.CryptAcquireContextW(ctypes.byref(box), None, None, 24, 0xF0000000)
        print([handle.acquired.site.binding for handle in tracer.live()])
        print(tracer.installation.missed, len(csptrace.stop()))
        """,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["['win32crypt', 'win32crypt', 'ctypes']", "[] 3"]


def test_early_bindings_are_reported(trace: Callable[..., Tracer], lib: Any) -> None:
    """Functions that a module bound before tracing began are listed as missed, by name."""
    from csptrace.softcsp import win32crypt

    module: Any = types.ModuleType("early_bird")
    module.CryptAcquireContext = win32crypt.CryptAcquireContext
    module.generate = lib.CryptGenKey
    module.harmless = lib.GetLastError
    sys.modules["early_bird"] = module
    said: list[str] = []
    tracer = Root(Settings(quiet=True, strict=True), said.append)
    try:
        tracer.start()
        missed = set(tracer.installation.missed)
    finally:
        tracer.stop()
        del sys.modules["early_bird"]
    assert {"early_bird.CryptAcquireContext", "early_bird.generate"} <= missed
    assert "early_bird.harmless" not in missed
    assert not any(name.startswith("csptrace.softcsp") for name in missed)
    assert any("early_bird.generate was bound before tracing began" in message for message in said)


def test_bindings_of_an_earlier_tracer_are_reported(trace: Callable[..., Tracer], lib: Any) -> None:
    """A function bound while an earlier tracer ran reports to nobody; the next one says so."""
    module: Any = types.ModuleType("early_bird")
    sys.modules["early_bird"] = module
    try:
        trace()
        module.generate = lib.CryptGenKey
        csptrace.stop()
        tracer = trace()
        assert "early_bird.generate" in tracer.installation.missed
    finally:
        del sys.modules["early_bird"]


def test_patches_are_named_in_the_journal(trace: Callable[..., Tracer]) -> None:
    """The journal names every patch by module and attribute."""
    from csptrace.softcsp import win32crypt

    assert win32crypt
    tracer = trace()
    names = [entry.what for entry in tracer.installation.journal.entries]
    assert "ctypes.CDLL.__getitem__" in names
    assert "csptrace.softcsp.win32crypt.CryptAcquireContext" in names
    csptrace.stop()
    assert len(tracer.installation.journal) == 0
