"""Threads and locks of the interpreter's own, beside gevent's and eventlet's."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest
import required
from conformance import softhsm

import csptrace
from csptrace import threads

ROOT = Path(csptrace.__file__).parents[1]

PROGRAM = """
import os, sys
GREEN, WHEN = os.environ["GREEN"], os.environ["WHEN"]

def patch():
    if GREEN == "gevent":
        import gevent.monkey
        gevent.monkey.patch_all()
    else:
        import warnings
        warnings.simplefilter("ignore")
        import eventlet
        eventlet.monkey_patch()

if WHEN == "start, then patch":
    import csptrace
    csptrace.start()
    patch()
else:
    patch()
    if WHEN == "patch, then start":
        import csptrace
        csptrace.start()

if GREEN == "gevent":
    import gevent, gevent.threadpool
    spawn, sleep, wait = gevent.spawn, gevent.sleep, gevent.joinall
    natively = gevent.get_hub().threadpool.apply
else:
    import eventlet, eventlet.tpool
    spawn, sleep = eventlet.spawn, eventlet.sleep
    def wait(jobs):
        for job in jobs:
            job.wait()
    def natively(function, args):
        return eventlet.tpool.execute(function, *args)

import threading
from ctypes import byref, c_size_t
from csptrace.softcsp import advapi32

order = []

def context():
    h = c_size_t()
    assert advapi32.CryptAcquireContextW(byref(h), None, None, 24, 0xF0000000)
    return h

def new_hash(prov):
    h = c_size_t()
    assert advapi32.CryptCreateHash(prov, 0x8004, 0, 0, byref(h))
    return h

def work(number):
    prov = context()
    sleep(0.01 * number)
    h = new_hash(prov)
    order.append(("has", number))
    sleep(0.01)
    if number % 2:
        assert advapi32.CryptDestroyHash(h)
    assert advapi32.CryptReleaseContext(prov, 0)
    order.append(("done", number))
    return number

class Local(threading.local):
    made = 0

def locked(lock, number):
    with lock:
        order.append(("in", number))
        sleep(0.01)
        order.append(("out", number))

wait([spawn(work, number) for number in range(6)])
lock = threading.RLock()
wait([spawn(locked, lock, number) for number in range(3)])
jobs = [spawn(natively, work, (number,)) for number in (7, 9)]
wait([*jobs, *[spawn(work, number) for number in (10, 12)]])
worker = threading.Thread(target=work, args=(14,))
worker.start()
worker.join()
print(sorted(order))
print([each.name for each in threading.enumerate()], threading.active_count())
END = os.environ["END"]
if END == "exit":
    sys.exit(3)
if END == "raise":
    raise ValueError("the program's own")
if END == "thread":
    late = threading.Thread(target=work, args=(16,))
    late.start()
"""
SETTINGS = {
    "plain": {},
    "held for long": {"CSPTRACE_HELD_TOO_LONG": "60"},
    "held too long": {"CSPTRACE_HELD_TOO_LONG": "0.02"},
}


WHEN = ("start, then patch", "patch, then start", "at start-up", "csptrace run")


def need(green: str) -> None:
    """Skip without a library; fail if `CSPTRACE_REQUIRE=green` asks for it."""
    if importlib.util.find_spec(green) is None:
        required.missing("green", f"{green} is not installed (pip install {green})")


@functools.cache
def untraced(green: str, end: str = "") -> subprocess.CompletedProcess[str]:
    """Run the program without the tracer; skip without the library."""
    need(green)
    with tempfile.TemporaryDirectory() as folder:
        return run(Path(folder), green, "", end)


def run(
    folder: Path, green: str, when: str, end: str = "", **settings: str
) -> subprocess.CompletedProcess[str]:
    """Run the program, or another one in its place."""
    script = folder / "program.py"
    if not script.exists():
        script.write_text(PROGRAM)
    return subprocess.run(
        [sys.executable, *settings.pop("through", "").split(), str(script)],
        env={
            # eventlet does not complain of locks that it cannot replace where pytest runs.
            **{name: value for name, value in os.environ.items() if name[:6] != "PYTEST"},
            "PYTHONPATH": str(ROOT),
            "GREEN": green,
            "WHEN": when,
            "END": end,
            **settings,
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def findings(log: Path) -> list[dict[str, Any]]:
    """Return the findings in the logs of a folder."""
    events = [
        json.loads(line)
        for file in sorted(log.glob("*.jsonl"))
        for line in file.read_text(encoding="utf-8").splitlines()
    ]
    return [event for event in events if event["event"] == "csptrace.finding"]


@pytest.mark.parametrize(
    ("when", "settings"),
    [
        *((when, "held too long") for when in WHEN),
        *((when, "plain") for when in ("at start-up", "csptrace run")),
        ("at start-up", "held for long"),
    ],
)
@pytest.mark.parametrize("green", ["gevent", "eventlet"])
def test_green_programs_run_as_without_the_tracer(
    green: str, when: str, settings: str, tmp_path: Path
) -> None:
    """Whichever comes first, what is printed is what it is without, and the leaks are found."""
    plain = untraced(green)
    assert plain.returncode == 0, plain.stderr
    log = tmp_path / "log"
    given = {
        **SETTINGS[settings],
        "CSPTRACE_QUIET": "1",
        "CSPTRACE_STRICT": "1",
        "CSPTRACE_LOG": str(log),
    }
    if when == "at start-up":
        given["CSPTRACE"] = "1"
    elif when == "csptrace run":
        given["through"] = "-m csptrace run"
    traced = run(tmp_path, green, when, **given)

    assert (traced.returncode, traced.stderr) == (0, plain.stderr)
    assert traced.stdout == plain.stdout
    codes = [finding["code"] for finding in findings(log)]
    assert codes.count("leaked-at-release") == 6
    assert set(codes) <= {"leaked-at-release", "held-too-long"}
    assert ("held-too-long" in codes) == (settings == "held too long")


@pytest.mark.parametrize("end", ["exit", "raise", "thread"])
@pytest.mark.parametrize("green", ["gevent", "eventlet"])
def test_green_programs_end_as_without_the_tracer(green: str, end: str, tmp_path: Path) -> None:
    """Status and words at the end are the program's, with a thread of csptrace's own, too."""
    plain = untraced(green, end)
    log = tmp_path / "log"
    traced = run(
        tmp_path,
        green,
        "at start-up",
        end,
        CSPTRACE="1",
        CSPTRACE_QUIET="1",
        CSPTRACE_STRICT="1",
        CSPTRACE_HELD_TOO_LONG="60",
        CSPTRACE_LOG=str(log),
    )

    def said(done: subprocess.CompletedProcess[str]) -> tuple[int, str, list[str]]:
        return done.returncode, done.stdout, done.stderr.splitlines()[-1:]

    assert said(traced) == said(plain)
    assert traced.stderr.count("\n") == plain.stderr.count("\n")
    assert len(findings(log)) == (7 if end == "thread" else 6)


TOKEN = """
import gevent.monkey
gevent.monkey.patch_all()
import csptrace, gevent, os
if os.environ["WHEN"] == "patch, then start":
    csptrace.start()
import PyKCS11

library = PyKCS11.PyKCS11Lib()
library.load(os.environ["MODULE"])
slot = library.getSlotList(tokenPresent=True)[0]

def work(number):
    session = library.openSession(slot)
    gevent.sleep(0.01)
    assert len(session.generateRandom(4)) == 4
    gevent.sleep(0.01)
    session.closeSession()

gevent.joinall([gevent.spawn(work, number) for number in range(4)], raise_error=True)
gevent.get_hub().threadpool.map(work, range(4))
print("done")
"""


@pytest.mark.parametrize("when", ["patch, then start", "at start-up"])
def test_a_session_that_a_greenlet_closes_is_in_nobodys_use(when: str, tmp_path: Path) -> None:
    """The thread that closes a session is not taken for another one that is inside a call on it."""
    need("gevent")
    softhsm.need("PyKCS11")
    (tmp_path / "program.py").write_text(TOKEN)
    done = run(
        tmp_path,
        "gevent",
        when,
        MODULE=softhsm.module(),
        CSPTRACE_STRICT="1",
        CSPTRACE_LOG=str(tmp_path / "log"),
        **softhsm.environment(),
        **({"CSPTRACE": "1"} if when == "at start-up" else {}),
    )

    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
    assert findings(tmp_path / "log") == []


# --- by themselves --------------------------------------------------------------------------------


def test_no_lock_is_one_that_others_look_for() -> None:
    """A lock is neither of the type that `threading` gives, nor seen as one by isinstance."""
    theirs = type(threading.RLock())
    ours = threads.reentrant_lock()

    assert not isinstance(ours, theirs)
    with ours, ours:
        assert ours._is_owned()  # type: ignore[attr-defined]
    assert not ours._is_owned()  # type: ignore[attr-defined]


def test_a_thread_is_not_known_to_the_program() -> None:
    """What is started runs beside the others, in a thread that `threading` does not list."""
    known, seen = threading.enumerate(), []
    done = threads.lock()
    done.acquire()

    def work(number: int) -> None:
        seen.append((number, threads.get_ident(), threading.enumerate()))
        done.release()

    threads.start(work, 7)
    assert done.acquire(timeout=60)
    assert [(number, listed) for number, _, listed in seen] == [(7, known)]
    assert seen[0][1] != threads.get_ident() == threading.get_ident()


def test_sleeping_lets_others_go_on() -> None:
    """A thread that waits for another one by sleeping gets to see what it does."""
    seen: list[int] = []
    threads.start(seen.append, 1)
    for _ in range(60_000):
        if seen:
            break
        threads.sleep(0.001)
    assert seen == [1]
