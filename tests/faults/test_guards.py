"""What keeps the tracer's own errors from the program, piece by piece."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from ctypes import byref, c_size_t
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

import csptrace
from csptrace.events.log import EventLog
from csptrace.graph.sites import CallSite
from csptrace.intercept.contract import Sheltered
from csptrace.terminal import escape, wants_colour

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from csptrace import Tracer

VERIFY = 0xF0000000
# What is raised in a file of the program is the program's own, and goes on to it.
OWN: dict[str, Any] = {}
exec(
    compile(
        "def broken(*arguments, **named):\n"
        "    1 / 0\n"
        "def break_in(shelter):\n"
        "    with shelter:\n"
        "        broken()\n"
        "def finding(find, breaking):\n"
        "    return lambda argument: broken() if breaking else find(argument)\n"
        "def without_files(size):\n"
        "    raise OSError(24, 'Too many open files')\n",
        "<broken>",
        "exec",
    ),
    OWN,
)
BROKEN = OWN["broken"]
SITE = CallSite("somewhere", "", "")


@pytest.fixture
def quiet(trace: Callable[..., Tracer]) -> Tracer:
    """Return a tracer that keeps its own errors, and raises at misuse."""
    return trace(strict=False)


@pytest.fixture
def lib() -> Any:
    """Return a softcsp library object that has handed out no function yet."""
    from csptrace.softcsp.library import SoftLibrary

    return SoftLibrary()


def _context(lib: Any) -> c_size_t:
    context = c_size_t()
    assert lib.CryptAcquireContextW(byref(context), None, None, 24, VERIFY)
    return context


def _notices(tracer: Tracer) -> list[str]:
    return tracer.diagnostics.complaints()


# --- the shelter --------------------------------------------------------------------------------


def test_an_error_of_the_tracer_is_noted_once(quiet: Tracer) -> None:
    """It goes no further, and is said once however often it happens."""
    for _ in range(3):
        OWN["break_in"](Sheltered(quiet.diagnostics, SITE))

    (notice,) = _notices(quiet)
    assert notice.startswith("internal error in somewhere")
    assert "ZeroDivisionError" in notice


class Interruption(Exception):
    """What a signal handler of the program raises."""


@pytest.mark.parametrize("error", [Interruption(), KeyboardInterrupt(), SystemExit(3)])
def test_an_exception_of_the_program_goes_on(quiet: Tracer, error: BaseException) -> None:
    """What a signal handler raises while the tracer is at work reaches the program as it is."""
    with pytest.raises(type(error)) as caught, Sheltered(quiet.diagnostics, SITE):
        raise error

    assert caught.value is error
    assert _notices(quiet) == []


def test_no_room_is_no_complaint(quiet: Tracer) -> None:
    """A recursion that went a step too deep in the tracer is passed over in silence."""
    with Sheltered(quiet.diagnostics, SITE):
        raise RecursionError

    assert _notices(quiet) == []


# --- after an error -----------------------------------------------------------------------------


def test_who_has_missed_something_refuses_nothing(quiet: Tracer, lib: Any) -> None:
    """After an internal error a misuse is logged, but neither raised nor counted as serious."""
    context, digest = _context(lib), c_size_t()
    assert lib.CryptCreateHash(context, 0x8004, None, 0, byref(digest))
    assert lib.CryptDestroyHash(digest)
    with pytest.raises(csptrace.DoubleRelease):
        lib.CryptDestroyHash(digest)
    before = quiet.reporter.serious
    OWN["break_in"](Sheltered(quiet.diagnostics, SITE))

    assert not lib.CryptDestroyHash(digest)  # the provider itself refuses it

    assert [finding.code.value for finding in quiet.check()] == ["double-release"] * 2
    assert (before, quiet.reporter.serious) == (1, 1)
    assert "nothing is raised any more" in _notices(quiet)[0]
    lib.CryptReleaseContext(context, 0)


def test_a_function_that_cannot_be_traced_makes_no_call_wrong(
    quiet: Tracer, lib: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The provider hands a value out again through the untraced function; its release is right."""
    context, digest = _context(lib), c_size_t()
    assert lib.CryptCreateHash(context, 0x8004, None, 0, byref(digest))
    first = digest.value
    assert lib.CryptDestroyHash(digest)
    with monkeypatch.context() as patch:
        patch.setattr(quiet.installation, "_foreign", BROKEN)
        create = lib["CryptCreateHash"]
    assert create(context, 0x8004, None, 0, byref(digest))
    assert digest.value == first

    assert lib.CryptDestroyHash(digest)
    lib.CryptReleaseContext(context, 0)


def test_a_complaint_that_cannot_be_made_is_kept(
    quiet: Tracer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When even saying it fails, the program is not told by an exception."""
    monkeypatch.setattr(quiet._terminal, "complain", BROKEN)

    quiet.diagnostics.broken(SITE, ZeroDivisionError())


def test_an_error_whose_sources_cannot_be_read_is_noted(
    quiet: Tracer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The complaint then names its type alone."""
    monkeypatch.setattr("csptrace.recording.diagnostics.traceback.format_tb", BROKEN)

    OWN["break_in"](Sheltered(quiet.diagnostics, SITE))

    assert _notices(quiet)[0].endswith(":\nZeroDivisionError")


def test_a_misuse_without_words_is_raised_all_the_same(
    quiet: Tracer, lib: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That the text cannot be made does not make the misuse uncertain."""
    context = _context(lib)
    lib.CryptReleaseContext(context, 0)
    monkeypatch.setattr("csptrace.recording.reactions.summary", BROKEN)

    with pytest.raises(csptrace.DoubleRelease, match=r"^double-release: HCRYPTPROV$"):
        lib.CryptReleaseContext(context, 0)


# --- entries ------------------------------------------------------------------------------------


def test_tracing_ends_whatever_breaks(
    quiet: Tracer, lib: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A judgement or a summary that breaks leaves no patch behind."""
    before = vars(ctypes.CDLL)["__getitem__"]
    context = _context(lib)
    monkeypatch.setattr("csptrace.tracer.leaked_at_exit", BROKEN)
    monkeypatch.setattr(quiet, "_totals", BROKEN)

    csptrace.stop()

    assert not quiet.active
    assert vars(ctypes.CDLL)["__getitem__"] is not before
    assert lib.CryptReleaseContext(context, 0)
    assert len(_notices(quiet)) == 2


def test_a_scope_ends_whatever_breaks(quiet: Tracer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The block's own exception is what comes out of it."""
    monkeypatch.setattr("csptrace.tracer.leaked_at_exit", BROKEN)

    with pytest.raises(LookupError, match="own"), quiet.scope("block"):
        raise LookupError("own")

    assert quiet.scope_now() is None


def test_a_child_that_gets_no_random_numbers_has_a_run_of_its_own(
    quiet: Tracer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without random numbers the identifier is made of time and process."""
    own = quiet.run
    monkeypatch.setattr(os, "urandom", OWN["without_files"])

    quiet.after_fork_in_child()

    assert len(quiet.run) == len(own) == 16
    assert quiet.run != own
    assert _notices(quiet) == []


def test_a_finder_that_breaks_changes_no_call(
    trace: Callable[..., Tracer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading the handle off an object may fail; the call is the program's."""
    from csptrace.install import targets
    from csptrace.softcsp import win32crypt

    finder, broken = targets._ObjectHandles.finder, list[bool]()

    def breaking(self: Any, kind: Any) -> Any:
        return OWN["finding"](finder(self, kind), broken)

    monkeypatch.setattr(targets._ObjectHandles, "finder", breaking)
    tracer = trace(strict=False)
    context = win32crypt.CryptAcquireContext(None, None, 24, VERIFY)
    digest = context.CryptCreateHash(0x8004)
    broken.append(True)
    digest.CryptHashData(b"data")

    assert len(digest.CryptGetHashParam(2)) == 20
    assert _notices(tracer)
    digest.CryptDestroyHash()
    context.CryptReleaseContext()


def test_a_console_that_cannot_be_asked_has_no_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows' console is switched by a library that may be out of reach by then."""
    monkeypatch.setattr("csptrace.terminal.sys", SimpleNamespace(platform="win32"))
    monkeypatch.setattr("csptrace.terminal._enable_ansi", BROKEN)
    stream = type("Console", (), {"isatty": lambda _self: True})()

    assert not wants_colour(stream, {})


# --- what is done without imports ---------------------------------------------------------------


def test_escapes_are_those_of_the_codec() -> None:
    """Every character that cannot be shown is written as `unicode_escape` writes it."""
    hidden = [c for c in map(chr, range(sys.maxunicode + 1)) if not c.isprintable()]
    wanted = [char.encode("unicode_escape").decode() for char in hidden]

    assert list(map(escape, hidden)) == wanted


def test_escaping_imports_nothing() -> None:
    """A codec that is imported in vain would be unknown to the program ever after."""
    program = (
        "import sys; from csptrace.terminal import escape; before = set(sys.modules);"
        "escape('\\x1b\\u200b\\ud800'); print(set(sys.modules) - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, encoding="utf-8", check=True
    )

    assert done.stdout == "set()\n"


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")
@pytest.mark.parametrize("call", ["fstat", "lseek"])
def test_a_log_that_cannot_be_adopted_keeps_no_descriptor(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program's next file gets the number that it would get without csptrace."""
    said: list[str] = []
    expected = os.open(os.devnull, os.O_RDONLY)
    os.close(expected)

    def refusing(*_arguments: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, refusing)
        log = EventLog(tmp_path, "run", lambda _code, message: said.append(message))
    log.emit("csptrace.notice", code="x", message="y")
    found = os.open(os.devnull, os.O_RDONLY)
    os.close(found)

    assert found == expected
    assert len(said) == 1
