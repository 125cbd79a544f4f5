"""PKCS#11 programs in processes of their own: what would crash, and what must not change."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
import softhsm
from pkcs11_clients import BINDINGS, CRASHES

if TYPE_CHECKING:
    from collections.abc import Iterator

STORIES = Path(__file__).with_name("pkcs11_clients.py")
PYTHON_BINDINGS = ("PyKCS11", "python-pkcs11")


def play(
    binding: str, story: str, traced: str, *more: str, log: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Play a story of `pkcs11_clients.py` in a new process, below pkcs11-spy if `log` is given."""
    package, _ = BINDINGS[binding]
    softhsm.need(*([package] if package else []), *(["spy"] if log is not None else []))
    environ = {**os.environ, **softhsm.environment(), "PYTHONFAULTHANDLER": ""}
    module = softhsm.module()
    if log is not None:
        environ |= {"PKCS11SPY": module, "PKCS11SPY_OUTPUT": str(log)}
        module = softhsm.spy()
    return subprocess.run(
        [sys.executable, STORIES, binding, module, story, softhsm.PIN, traced, *more],
        capture_output=True,
        text=True,
        timeout=120,
        env=environ,
        check=False,
    )


# --- what would block -------------------------------------------------------------------------

COLLECTED = """
import faulthandler, gc, sys
faulthandler.dump_traceback_later(60, exit=True)
import PyKCS11, csptrace

class Cycle: pass

load = PyKCS11.PyKCS11Lib.load
csptrace.start(apis=["pkcs11"])
gc.set_threshold(1)  # wherever a collection may start, one does
for _ in range(5):
    for _ in range(50):
        cycle = Cycle()
        cycle.itself, cycle.library = cycle, PyKCS11.PyKCS11Lib()
    library = PyKCS11.PyKCS11Lib()
    library.load(sys.argv[1])
    library.load(sys.argv[1])
    library.unload()
csptrace.stop()
print("done", gc.isenabled(), PyKCS11.PyKCS11Lib.load is load)
"""


def test_finalizers_do_not_meet_their_own_lock() -> None:
    """A collection during load() or unload() would run PyKCS11's finalizer under its own lock."""
    softhsm.need("PyKCS11")
    done = subprocess.run(
        [sys.executable, "-c", COLLECTED, softhsm.module()],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **softhsm.environment()},
        check=False,
    )
    assert done.stdout == "done True True\n", done.stderr


# --- what would crash -------------------------------------------------------------------------


@pytest.mark.parametrize("what", CRASHES)
@pytest.mark.parametrize("binding", PYTHON_BINDINGS)
def test_use_after_unload_raises(binding: str, what: str) -> None:
    """Using anything of a library that was unloaded raises, where it would have crashed."""
    if (binding, what) == ("python-pkcs11", "initialize"):
        pytest.skip("without a function list initialize() does nothing")
    done = play(binding, "crash", "raise", what)
    assert done.returncode == 1, (done.returncode, done.stderr)
    assert re.search(r"^csptrace\.(Use|OutOf|Double)", done.stderr, re.MULTILINE), done.stderr


@pytest.mark.parametrize("binding", PYTHON_BINDINGS)
def test_use_after_unload_crashes_by_itself(binding: str) -> None:
    """Without the tracer the same program dies of a signal."""
    done = play(binding, "crash", "0", "key")
    assert done.returncode < 0


# --- pkcs11-spy: what reaches the library -------------------------------------------------------


class Call(NamedTuple):
    """One call in the log of pkcs11-spy."""

    name: str
    text: str
    result: str


def calls(log: Path) -> Iterator[Call]:
    """Yield the calls that pkcs11-spy has seen."""
    for block in re.split(r"\n(?=\d+: C_)", log.read_text(errors="replace")):
        head = re.match(r"\d+: (C_\w+)", block)
        result = re.search(r"Returned:\s+(\S+)", block)
        if head and result:
            yield Call(head[1], block, result[1])


def unclosed(log: Path) -> list[int]:
    """Return the sessions that pkcs11-spy has seen opened and not closed."""
    is_open: set[int] = set()
    for call in calls(log):
        if call.result != "0":
            continue
        if call.name == "C_OpenSession":
            is_open.add(int(re.findall(r"phSession = 0x([0-9a-f]+)", call.text)[-1], 16))
        elif call.name == "C_CloseSession":
            is_open.discard(int(re.findall(r"hSession = 0x([0-9a-f]+)", call.text)[-1], 16))
    return sorted(is_open)


def is_question(call: Call) -> bool:
    """Return whether a call is what csptrace asks of the token when a session is closed."""
    return call.name == "C_GetAttributeValue" and bool(
        re.search(r"(CKA_TOKEN|CKA_PRIVATE)\s+\S+ / 1\b", call.text)
    )


@pytest.mark.parametrize("binding", list(BINDINGS))
def test_sessions_that_the_spy_sees_open(binding: str, tmp_path: Path) -> None:
    """The sessions that pkcs11-spy sees unclosed are those that the tracer has as live or lost."""
    done = play(binding, "ordinary", "log", log=tmp_path / "spy")
    assert done.returncode == 0, done.stderr
    said = re.search(r"open sessions: \[([\d, ]*)\] and (\d+) lost", done.stderr)
    assert said is not None, done.stderr
    live = {int(value) for value in said[1].split(",") if value.strip()}
    seen = set(unclosed(tmp_path / "spy"))
    assert live <= seen
    assert len(seen) == len(live) + int(said[2])
    assert seen


@pytest.mark.parametrize("binding", list(BINDINGS))
def test_nothing_changes(binding: str, tmp_path: Path) -> None:
    """With the tracer a program prints the same, and the library sees the same calls.

    But for one thing: when a session is closed or logged out, the token is asked which of the
    objects made through it are its own (CKA_TOKEN) or private (CKA_PRIVATE).
    """
    plain = play(binding, "ordinary", "0", log=tmp_path / "plain")
    traced = play(binding, "ordinary", "log", log=tmp_path / "traced")
    assert plain.returncode == traced.returncode == 0, plain.stderr + traced.stderr
    assert traced.stdout == plain.stdout
    seen = list(calls(tmp_path / "traced"))
    queries = [call for call in seen if is_question(call)]
    asked_anyway = sum(is_question(call) for call in calls(tmp_path / "plain"))
    assert len(queries) > asked_anyway
    assert [(c.name, c.result) for c in seen if not is_question(c)] == [
        (c.name, c.result) for c in calls(tmp_path / "plain") if not is_question(c)
    ]
