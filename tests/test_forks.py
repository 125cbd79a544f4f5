"""A fork at any moment, in any thread, leaves a child that can go on."""

from __future__ import annotations

import ast
import ctypes
import gc
import os
import signal
import subprocess
import sys
import threading
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import csptrace
from csptrace import forks, threads
from csptrace.install import collector
from csptrace.recording.provider_queries import ProviderQueries
from csptrace.softcsp import advapi32, faults, objects, provider, store, uselocks, win32crypt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from csptrace import Tracer

PACKAGE = Path(csptrace.__file__).parent
LIMIT = 60
"""Seconds after which a child that hangs is killed."""

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")

CRYPT_VERIFYCONTEXT = 0xF0000000
CRYPT_NEWKEYSET = 8
CRYPT_DELETEKEYSET = 16
PROV_RSA_AES = 24
CALG_AES_128 = 0x660E
FORKS = 25


# --- no lock is forgotten -------------------------------------------------------------------------

MAKERS = {
    *("Lock", "RLock", "Condition", "Semaphore", "BoundedSemaphore", "Barrier", "Event"),
    *("allocate_lock", "Queue", "LifoQueue", "PriorityQueue", "SimpleQueue", "synchronized"),
    *("cached_property", "ThreadPoolExecutor", "ProcessPoolExecutor", "Timer"),
    *("lock", "reentrant_lock"),
}
SOURCES = {
    *("threading", "_thread", "queue", "_queue", "functools", "concurrent.futures", "wrapt"),
    *("multiprocessing", "multiprocessing.synchronize", "asyncio"),
    *("threads", "csptrace.threads", "_own"),
}
ALLOWED = {
    ("csptrace.forks", "reentrant_lock"): "these are the locks",
    ("csptrace.forks", "RLock"): "their type",
    ("csptrace.threads", "allocate_lock"): "what makes them",
    ("csptrace.threads", "RLock"): "as above, and how they are known",
    ("csptrace.threads", "Lock"): "the type",
    ("csptrace.recording.overdue", "lock"): "the child's look-out starts with new ones",
    ("csptrace.recording.overdue", "Lock"): "the type",
    ("csptrace.causes.source", "cached_property"): "without one since Python 3.12, as causes need",
    ("csptrace.causes.stages", "cached_property"): "as above",
    ("csptrace.softcsp.library", "Timer"): "nobody waits for it",
    ("csptrace.analysis.embedded", "ThreadPoolExecutor"): "of one report, which waits for it",
}


def _made() -> Iterator[tuple[str, str]]:
    for path in PACKAGE.rglob("*.py"):
        module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        for node in nodes:
            if isinstance(node, ast.ImportFrom) and node.module in SOURCES:
                yield from ((module, alias.name) for alias in node.names if alias.name in MAKERS)
            elif (
                isinstance(node, ast.Attribute)
                and node.attr in MAKERS
                and ast.unparse(node.value) in SOURCES
            ):
                yield module, node.attr


def test_no_other_module_makes_locks() -> None:
    """Whatever blocks threads is made where forks know of it, or says here why it need not be."""
    assert set(_made()) == set(ALLOWED)


def _is_ours(thing: object) -> bool:
    return str(getattr(thing, "__module__", "")).partition(".")[0] == "csptrace"


def _owned_by_the_package() -> Iterator[Any]:
    """Yield everything that the package's modules hold, through objects of its own classes."""
    waiting: list[Any] = []
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "csptrace":
            waiting += vars(module).values()
    waiting += [each for each in gc.get_objects() if _is_ours(type(each))]
    seen: set[int] = set()
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        looked_into = isinstance(each, dict | list | tuple | set | types.CellType)
        code = isinstance(each, types.FunctionType | type) and _is_ours(each)
        if looked_into or code or _is_ours(type(each)):
            waiting += gc.get_referents(each)


def test_every_lock_of_the_package_is_known(trace: Callable[..., Tracer], tmp_path: Path) -> None:
    """Every lock that modules and objects of the package hold is one that forks take."""
    tracer = trace(log=tmp_path, held_too_long=1000)
    _round_trip("every")
    known = {id(each) for each in forks.locks()}
    kinds = (type(threading.Lock()), type(threading.RLock()), type(threads.reentrant_lock()))
    found = {id(each) for each in _owned_by_the_package() if isinstance(each, kinds)}

    assert {id(tracer.graph.lock), id(store._thread_lock), id(provider.engine()._lock)} <= found
    assert found - known == set()


# --- the module itself ----------------------------------------------------------------------------


def _child(job: Callable[[], object]) -> int:
    """Fork; do a job in the child and return its exit status, negative if it was killed."""
    pid = os.fork()
    if not pid:
        status = 1
        try:
            signal.alarm(LIMIT)
            if job() is not False:
                status = 0
        except BaseException as error:  # noqa: BLE001 - the parent judges
            os.write(2, f"in the child: {error!r}\n".encode())
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class Thread(threading.Thread):
    """A thread whose error is raised where it is joined."""

    def __init__(self, job: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._job = job
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        """Do the job."""
        try:
            self._job()
        except BaseException as error:  # noqa: BLE001 - raised by done()
            self._error = error

    def done(self) -> None:
        """Wait for the end."""
        self.join(LIMIT)
        assert not self.is_alive()
        if self._error is not None:
            raise self._error


@pytest.fixture
def leave(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Return an event that is set when a fork finds a lock taken."""
    found = threading.Event()
    give_back = forks._give_back

    def noting(taken: Any) -> None:
        found.set()
        give_back(taken)

    monkeypatch.setattr(forks, "_give_back", noting)
    return found


@needs_fork
def test_a_fork_waits_for_whoever_is_inside(leave: threading.Event) -> None:
    """The child sees what a lock guards before or after a change, and finds the lock free."""
    lock = forks.lock()
    inside = threading.Event()
    state = [0, 0]

    def change() -> None:
        with lock:
            state[0] = 1
            inside.set()
            leave.wait()
            state[1] = 1

    thread = Thread(change)
    inside.wait()

    def look() -> bool:
        with lock:
            return state == [1, 1]

    status = _child(look)
    leave.set()
    thread.done()
    assert status == 0
    with lock:
        assert state == [1, 1]


@needs_fork
def test_what_the_forking_thread_holds_stays_its_own() -> None:
    """Parent and child leave a section that the fork came in, and other threads may enter then."""
    lock = forks.lock()

    def other_thread_gets_it() -> bool:
        got: list[bool] = []
        Thread(lambda: got.append(lock.acquire(blocking=False) and not lock.release())).done()
        return got[0]

    with lock, lock:
        pid = os.fork()
        if not pid:
            signal.alarm(LIMIT)
        before = other_thread_gets_it()
    after = other_thread_gets_it()
    if not pid:
        os._exit(0 if (before, after) == (False, True) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert (before, after) == (False, True)


class Scripted:
    """A lock that tells what is done with it, and that is busy for a while."""

    def __init__(self, log: list[tuple[str, str]], name: str, busy: int) -> None:
        self.log, self.name, self.busy = log, name, busy
        self.held = False

    def _is_owned(self) -> bool:
        return False

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take it, if need be by waiting."""
        self.log.append(("wait" if blocking else "try", self.name))
        if self.busy and not blocking:
            self.busy -= 1
            return False
        self.held = True
        return True

    def release(self) -> None:
        """Give it back."""
        assert self.held
        self.held = False

    def _at_fork_reinit(self) -> None:
        self.held = False


@pytest.mark.parametrize("busy", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (2, 3, 1)])
def test_nothing_is_held_while_a_fork_waits(
    busy: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever takes the locks in another order can go on, and in the end all were free at once."""
    log: list[tuple[str, str]] = []
    scripted = [Scripted(log, name, count) for name, count in zip("abc", busy, strict=True)]
    wait = Scripted.acquire

    def acquire(self: Scripted, blocking: bool = True, timeout: float = -1) -> bool:
        if blocking:
            assert not any(each.held for each in scripted)
        return wait(self, blocking, timeout)

    monkeypatch.setattr(Scripted, "acquire", acquire)
    give_back, most = forks._give_back, [0]

    def noting(taken: Any) -> None:
        most[0] = max(most[0], sum(each.held for each in scripted))
        give_back(taken)

    monkeypatch.setattr(forks, "locks", lambda: scripted)
    monkeypatch.setattr(forks, "_give_back", noting)
    forks._before()
    assert most == [3]
    assert not any(each.held for each in scripted)


@needs_fork
def test_a_fork_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that waits, inside, for what the forking thread holds does not block the fork."""
    monkeypatch.setattr(forks, "_PATIENCE", 0.01)
    lock, inside, theirs = forks.lock(), threading.Event(), threading.Event()

    def wait_inside() -> None:
        with lock:
            inside.set()
            theirs.wait()

    thread = Thread(wait_inside)
    inside.wait()
    status = _child(lambda: lock.acquire(blocking=False))
    theirs.set()
    thread.done()
    assert status == 0


LATE_HOOK = """
import ctypes, os, signal, sys, threading
theirs = threading.RLock()
os.register_at_fork(
    before=theirs.acquire, after_in_parent=theirs.release, after_in_child=theirs.release
)
from csptrace.softcsp import advapi32
if sys.argv[1] == "traced":
    import csptrace
    csptrace.start(quiet=True)
context = ctypes.c_void_p()
advapi32.CryptAcquireContextW(ctypes.byref(context), None, None, 24, 0xF0000000)
inside, over = threading.Event(), False

def work():
    while not over:
        with theirs:
            inside.set()
            hash = ctypes.c_void_p()
            advapi32.CryptCreateHash(context, 0x800C, None, 0, ctypes.byref(hash))
            advapi32.CryptDestroyHash(hash)

thread = threading.Thread(target=work)
thread.start()
inside.wait()
for _ in range(200):
    pid = os.fork()
    if not pid:
        signal.alarm(30)
        hash = ctypes.c_void_p()
        os._exit(not advapi32.CryptCreateHash(context, 0x800C, None, 0, ctypes.byref(hash)))
    assert os.waitpid(pid, 0)[1] == 0
over = True
thread.join()
print("done")
"""


@needs_fork
@pytest.mark.parametrize("how", ["traced", "untraced"])
def test_hooks_that_others_have_registered_before(how: str) -> None:
    """A thread that holds a lock of theirs and waits for one of ours blocks no fork."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LATE_HOOK, how],
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        encoding="utf-8",
        timeout=LIMIT,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


@needs_fork
def test_an_exception_in_the_middle_leaves_no_lock_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a signal handler raises while a fork waits is lost, as in every hook; no lock is."""
    lock, inside, leave = forks.lock(), threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            inside.set()
            leave.wait(LIMIT)

    def raising(*_: object) -> None:
        raise TimeoutError("the program's own")

    thread = Thread(hold)
    inside.wait()
    before = signal.signal(signal.SIGALRM, raising)
    unraised: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", unraised.append)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        assert _child(lambda: lock.acquire(blocking=False)) == 0
    finally:
        signal.signal(signal.SIGALRM, before)
        leave.set()
        thread.done()
    assert len(unraised) == 1
    for each in forks.locks():
        got: list[bool] = []
        Thread(
            lambda each=each, got=got: got.append(each.acquire(timeout=5) and not each.release())
        ).done()
        assert got == [True]


@needs_fork
def test_a_fork_that_python_was_not_told_of() -> None:
    """An embedding program may only say that it is the child, after a fork of its own."""
    lock, owned = forks.lock(), forks.lock()

    def job() -> bool:
        inside = threading.Event()
        Thread(lambda: (lock.acquire(), inside.set()))
        inside.wait()
        with owned:
            forks._after_in_child()
        return bool(lock.acquire(blocking=False))

    assert _child(job) == 0


def test_a_lock_goes_with_its_owner() -> None:
    """Locks of objects that are gone are not taken any more."""
    before = len(forks.locks())
    lock = forks.lock()
    assert len(forks.locks()) == before + 1
    del lock
    assert len(forks.locks()) == before


# --- every critical section -----------------------------------------------------------------------


def _round_trip(name: str) -> bool:
    """Use both faces of the provider, containers included."""
    context = ctypes.c_size_t()
    key = ctypes.c_size_t()
    for flags in (CRYPT_NEWKEYSET, 0):
        assert advapi32.CryptAcquireContextA(
            ctypes.byref(context), name.encode(), None, PROV_RSA_AES, flags
        )
        assert advapi32.CryptGenKey(context, CALG_AES_128, 0, ctypes.byref(key))
        assert advapi32.CryptDestroyKey(key)
        assert advapi32.CryptReleaseContext(context, 0)
    win32crypt.CryptAcquireContext(name, None, PROV_RSA_AES, CRYPT_DELETEKEYSET)
    return True


def _fork_while(
    inside: threading.Event,
    leave: threading.Event,
    action: Callable[[], object],
    look: Callable[[], object],
) -> int:
    """Fork while a thread is inside; return how a child ended that looked and then worked on."""
    thread = Thread(action)
    assert inside.wait(LIMIT)
    status = _child(lambda: look() is not False and _round_trip("child"))
    leave.set()
    thread.done()
    return status


@needs_fork
def test_a_child_works_on_whatever_another_thread_holds(
    trace: Callable[..., Tracer], tmp_path: Path, leave: threading.Event
) -> None:
    """With any one of the locks held at the fork the child traces, logs and writes containers."""
    trace(log=tmp_path / "log")
    _round_trip("first")
    held = forks.locks()
    assert len(held) > 10
    for lock in held:
        inside = threading.Event()
        leave.clear()

        def hold(lock: Any = lock, inside: threading.Event = inside) -> None:
            with lock:
                inside.set()
                leave.wait(LIMIT)

        assert _fork_while(inside, leave, hold, lambda: csptrace.current() is not None) == 0
    assert len(list((tmp_path / "log").iterdir())) == 1 + len(held)


class Park:
    """Stands for a function; the first thread that is told to waits in it.

    Args:
        owner: whose function it is.
        name: its name.
    """

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, leave: threading.Event, owner: Any, name: str
    ) -> None:
        self.inside = threading.Event()
        original = getattr(owner, name)

        def park(*args: Any, **kwargs: Any) -> Any:
            if not self.inside.is_set() and threading.current_thread() is not _MAIN:
                self.inside.set()
                leave.wait(LIMIT)
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, park)


_MAIN = threading.main_thread()


@pytest.fixture
def park(monkeypatch: pytest.MonkeyPatch, leave: threading.Event) -> Callable[..., int]:
    """Return a function that forks while an action is parked in the middle of a section."""

    def fork(
        owner: Any, name: str, action: Callable[[], object], look: Callable[[], object]
    ) -> int:
        parked = Park(monkeypatch, leave, owner, name)
        return _fork_while(parked.inside, leave, action, look)

    return fork


@needs_fork
def test_a_container_is_being_written(park: Callable[..., int]) -> None:
    """The child finds it whole, and writes containers of its own."""
    container = store.ContainerFile("parked")
    folder = container.path.parent

    def look() -> bool:
        assert not list(folder.glob("*.tmp"))
        if os.path.isdir("/proc/self/fd"):  # no lock file is open that another thread had opened
            opened = [
                os.path.realpath(f"/proc/self/fd/{each}") for each in os.listdir("/proc/self/fd")
            ]
            assert str(folder / ".lock") not in opened
        return container.read() == {}

    assert park(store, "_flush_directory", container.create, look) == 0


@needs_fork
def test_a_container_is_being_entered(park: Callable[..., int], tmp_path: Path) -> None:
    """The child counts its own uses, and closes what it has inherited."""

    def look() -> bool:
        uselocks.enter(tmp_path / "other")
        assert uselocks.used_elsewhere(tmp_path / "parked")
        return uselocks.leave(tmp_path / "other")

    assert park(uselocks, "lock_file", lambda: uselocks.enter(tmp_path / "parked"), look) == 0
    assert uselocks.leave(tmp_path / "parked")


@needs_fork
def test_a_context_is_being_released(park: Callable[..., int]) -> None:
    """The child sees the context with all its keys, or without any."""
    context, key = ctypes.c_size_t(), ctypes.c_size_t()
    assert advapi32.CryptAcquireContextA(
        ctypes.byref(context), None, None, PROV_RSA_AES, CRYPT_VERIFYCONTEXT
    )
    for _ in range(2):
        assert advapi32.CryptGenKey(context, CALG_AES_128, 0, ctypes.byref(key))

    def look() -> bool:
        live = provider.engine().table.live
        return context.value not in live and key.value not in live

    assert park(objects.Key, "wipe", lambda: advapi32.CryptReleaseContext(context, 0), look) == 0


@needs_fork
def test_a_fault_is_being_counted(park: Callable[..., int]) -> None:
    """The child counts on."""
    with faults.inject("CryptGenRandom", 5, nth=100) as fault:
        assert (
            park(
                faults.Fault,
                "strikes",
                lambda: faults.check("CryptGenRandom"),
                lambda: faults.check("CryptGenRandom") or fault.calls == 2,
            )
            == 0
        )


@needs_fork
def test_the_provider_is_being_made(
    park: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child has the provider that is being made."""
    monkeypatch.setattr(provider, "_engine", None)
    status = park(
        faults, "arm_from_environment", provider.engine, lambda: provider._engine is not None
    )
    assert status == 0


@needs_fork
def test_a_handle_is_being_entered(park: Callable[..., int], trace: Callable[..., Tracer]) -> None:
    """The child's graph counts what is in its tables."""
    tracer = trace()

    def look() -> bool:
        return tracer.graph.live == sum(1 for _ in tracer.graph.handles()) == 1

    kept: list[Any] = []
    status = park(tracer.graph, "_enter", lambda: kept.append(_context()), look)
    kept.clear()
    assert status == 0


def _context() -> Any:
    return win32crypt.CryptAcquireContext(None, None, PROV_RSA_AES, CRYPT_VERIFYCONTEXT)


@needs_fork
def test_an_event_is_being_written(
    park: Callable[..., int], trace: Callable[..., Tracer], tmp_path: Path
) -> None:
    """The child writes a log of its own."""
    tracer = trace(log=tmp_path / "log")
    assert tracer._log is not None
    log: Any = tracer._log.log
    status = park(log, "_write", _context, lambda: tracer.log_path is None)
    assert status == 0
    assert len(list((tmp_path / "log").iterdir())) == 2


@needs_fork
def test_a_module_is_being_patched(park: Callable[..., int], trace: Callable[..., Tracer]) -> None:
    """The child has it patched, and patches others."""
    installation = trace().installation
    module = types.ModuleType("csptrace_parked")

    class Patch:
        done = 0

        def __call__(self, _module: ModuleType) -> None:
            self.add()

        def add(self) -> None:
            self.done += 1

    patch, other = Patch(), Patch()

    def look() -> bool:
        installation._guarded("csptrace_other", other)(module)
        return (patch.done, other.done) == (1, 1)

    assert park(patch, "add", lambda: installation._guarded("", patch)(module), look) == 0


@needs_fork
def test_collections_are_being_paused(park: Callable[..., int]) -> None:
    """The child collects, and pauses collections itself."""
    paused = collector.without_collections(gc.isenabled)
    assert park(gc, "disable", paused, lambda: not paused() and gc.isenabled()) == 0
    assert gc.isenabled()


@needs_fork
def test_tracing_is_being_started(
    park: Callable[..., int], trace: Callable[..., Tracer], tmp_path: Path
) -> None:
    """The child is traced from the beginning, in a run of its own."""

    def look() -> bool:
        tracer = csptrace.current()
        return tracer is not None and tracer.graph.epoch == 1

    assert park(csptrace.Tracer, "start", lambda: trace(log=tmp_path), look) == 0


@needs_fork
def test_a_tracer_is_being_stopped(
    trace: Callable[..., Tracer], park: Callable[..., int], tmp_path: Path
) -> None:
    """The child has no half of it: nothing is traced there, and nothing writes into the log."""
    tracer = trace(log=tmp_path / "log")

    def look() -> bool:
        return csptrace.current() is None and not tracer.active

    assert park(ProviderQueries, "ask_about", csptrace.stop, look) == 0
    (log,) = (tmp_path / "log").iterdir()
    assert b"run_ended" in log.read_bytes()


@needs_fork
def test_forks_among_busy_threads(trace: Callable[..., Tracer], tmp_path: Path) -> None:
    """While threads trace, log, write and delete containers, every child works."""
    tracer = trace(log=tmp_path / "log", on_misuse="log")
    _round_trip("first")  # imports what is imported at first use
    over = threading.Event()

    def work(number: int) -> None:
        turn = 0
        while not over.is_set():
            turn += 1
            _round_trip(f"{number} {turn}")

    def look() -> bool:
        # One whose value was handed out again while it was being released is in no table any more.
        assert tracer.graph.live >= sum(1 for _ in tracer.graph.handles())
        return _round_trip("child")

    threads = [Thread(lambda number=number: work(number)) for number in range(4)]
    try:
        statuses = [_child(look) for _ in range(FORKS)]
    finally:
        over.set()
        for thread in threads:
            thread.done()
    assert statuses == [0] * FORKS
    assert tracer.check() == ()
