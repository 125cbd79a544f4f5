"""The log survives what happens to programs: kills, forks, threads, full disks, broken streams."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from event_runs import GOLDEN, check_log, check_stacks, environment, read_log, read_logs

if TYPE_CHECKING:
    from collections.abc import Callable

    from event_runs import Run

POSIX = pytest.mark.skipif(os.name == "nt", reason="POSIX only")
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="Linux only")
WORK = """
import os, shutil, sys, threading
from pathlib import Path
import csptrace, program
from program import acquire, generate, advapi32

def work(times=1):
    for _ in range(times):
        context = acquire()
        advapi32.CryptDestroyKey(generate(context))
        advapi32.CryptReleaseContext(context, 0)

tracer = csptrace.start()
folder = tracer.settings.log
"""


def _codes(done: Run) -> Counter[str]:
    return Counter(event["code"] for event in done.named("finding"))


# --- kills --------------------------------------------------------------------------------------

ENDLESS = (
    WORK
    + """
while True:
    work()
    os.write(1, b"%d\\n" % tracer.graph.acquired)
"""
)


@POSIX
@pytest.mark.parametrize("level", ["acquire", "full"])
@pytest.mark.parametrize("_attempt", range(4))
def test_kill_loses_nothing(level: str, _attempt: int, tmp_path: Path) -> None:
    """SIGKILL at any point loses no event whose write returned, and tears no line."""
    wanted = random.randrange(1, 400)
    child = subprocess.Popen(
        [sys.executable, "-c", ENDLESS],
        env=environment(tmp_path, log=tmp_path / "logs", level=level),
        cwd=GOLDEN,
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    told = 0
    for _ in range(wanted):
        told = int(child.stdout.readline())
    child.kill()
    rest = child.stdout.read().split(b"\n")[:-1]
    told = int(rest[-1]) if rest else told
    child.stdout.close()
    assert child.wait() == -signal.SIGKILL

    (log,) = read_logs(tmp_path / "logs")
    assert [event["seq"] for event in log] == list(range(1, len(log) + 1))
    sorts = Counter(event["event"] for event in log)
    assert sorts["csptrace.handle_acquired"] >= told >= 2 * wanted
    assert sorts["csptrace.handle_released"] >= told
    assert sorts["csptrace.run_ended"] == 0
    check_stacks(log)


# --- forks --------------------------------------------------------------------------------------


@POSIX
def test_fork_gives_the_child_a_log_of_its_own(scenario: Callable[..., Run]) -> None:
    """The child writes its own file, names its parent's run, and owes only what it acquired."""
    done = scenario("inherited")
    parent, child = done.logs

    check_log(parent)
    assert [event["seq"] for event in child] == list(range(1, len(child) + 1))
    assert child[0]["parent_run"] == parent[0]["run"]
    assert "parent_run" not in parent[0]
    assert child[0]["pid"] != parent[0]["pid"]
    assert child[0]["run"] != parent[0]["run"]
    assert {event["pid"] for event in child} == {child[0]["pid"]}
    findings = [event for event in child if event["event"] == "csptrace.finding"]
    assert [(e["code"], e["inherited"]) for e in findings] == [
        ("use-after-release", True),
        ("leaked-at-exit", False),
    ]
    assert not [event for event in parent if event["event"] == "csptrace.finding"]


@POSIX
def test_fork_defines_the_stacks_it_refers_to(scenario: Callable[..., Run]) -> None:
    """The child's log stands by itself: every stack that it refers to is in it."""
    check_stacks(scenario("inherited").logs[1])


@POSIX
def test_fork_counts_from_the_beginning(scenario: Callable[..., Run]) -> None:
    """The child's closing event counts what the child did, not what its parent had done."""
    child = scenario("inherited").logs[1]

    acquired = [event for event in child if event["event"] == "csptrace.handle_acquired"]
    assert child[-1]["acquired"] == len(acquired) == 2


@POSIX
def test_child_without_bugs_reports_none(run: Callable[..., Run]) -> None:
    """A child that lets inherited handles be has no findings, nor has its parent."""
    program = (
        WORK
        + """
context = acquire()
key = generate(context)
child = os.fork()
if child:
    assert os.waitpid(child, 0)[1] == 0
    advapi32.CryptDestroyKey(key)
    advapi32.CryptReleaseContext(context, 0)
else:
    work()
"""
    )
    done = run("-c", program)

    assert done.status == 0, done.err
    assert len(done.logs) == 2
    assert _codes(done) == {}


@POSIX
def test_fork_of_a_busy_process(run: Callable[..., Run]) -> None:
    """A fork while other threads trace leaves both logs whole and neither process stuck."""
    program = (
        WORK
        + """
threads = [threading.Thread(target=work, args=(60,)) for _ in range(4)]
for thread in threads:
    thread.start()
children = []
for _ in range(6):
    child = os.fork()
    if not child:
        work(5)
        tracer.stop(exiting=True)
        os._exit(0)
    children.append(child)
for thread in threads:
    thread.join()
assert all(os.waitpid(child, 0)[1] == 0 for child in children)
"""
    )
    # From Python 3.12 on a fork with threads warns; that is the program's decision.
    done = run("-W", "ignore::DeprecationWarning", "-c", program, environ={"PYTHONWARNINGS": ""})

    assert done.status == 0, done.err
    assert len(done.logs) == 7
    for log in done.logs:
        assert [event["seq"] for event in log] == list(range(1, len(log) + 1))
        assert log[-1]["event"] == "csptrace.run_ended"
    assert sum(event["event"] == "csptrace.handle_acquired" for event in done.logs[0]) == 480


# --- many at once -------------------------------------------------------------------------------

BUSY = (
    WORK
    + """
together = threading.Barrier(4)

def busy():
    together.wait()
    work(40)
    together.wait()

threads = [threading.Thread(target=busy) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
generate(acquire())
"""
)


def test_processes_and_threads_at_once(tmp_path: Path) -> None:
    """Four processes with four threads each log into one folder: four whole logs."""
    children = [
        subprocess.Popen(
            [sys.executable, "-c", BUSY],
            env=environment(tmp_path, log=tmp_path / "logs", strict=True, quiet=True),
            cwd=GOLDEN,
            stderr=subprocess.PIPE,
        )
        for _ in range(4)
    ]
    for child in children:
        _, errors = child.communicate(timeout=120)
        assert (child.returncode, errors) == (0, b"")
    logs = read_logs(tmp_path / "logs")

    assert {log[0]["pid"] for log in logs} == {child.pid for child in children}
    for log in logs:
        check_log(log)
        assert log[-1]["acquired"] == 4 * 40 * 2 + 2
        assert log[-1]["findings"] == {"leaked-at-exit": 2}
        assert len({event["tid"] for event in log if "tid" in event}) == 5


@POSIX
def test_complaints_of_other_threads_keep_the_order(run: Callable[..., Run]) -> None:
    """Lines stand in the order of `seq`, also when threads write what is no handle event."""
    program = (
        WORK
        + """
sys.setswitchinterval(1e-6)
def complain(name):
    for number in range(400):
        tracer.diagnostics.complain("test", f"{name} {number}")
threads = [threading.Thread(target=complain, args=(n,)) for n in range(3)]
for thread in threads:
    thread.start()
work(100)
for thread in threads:
    thread.join()
"""
    )
    done = run("-c", program, quiet=True)

    assert done.status == 0, done.err
    check_log(done.log)
    assert len(done.named("notice")) == 1200


@POSIX
def test_signal_handler_that_calls_the_provider(run: Callable[..., Run]) -> None:
    """A signal handler in the middle of a write does not mix up the order of the lines."""
    program = (
        WORK
        + """
import signal
work()
busy = []
def handler(number, frame):
    if not busy:
        busy.append(1)
        work()
        busy.clear()
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
work(500)
signal.setitimer(signal.ITIMER_REAL, 0)
"""
    )
    done = run("-c", program, quiet=True)

    assert done.status == 0, done.err
    assert [event["seq"] for event in done.log] == list(range(1, len(done.log) + 1))
    check_stacks(done.log)
    assert done.log[-1]["live"] == 0


# --- disks and folders --------------------------------------------------------------------------


@LINUX
@pytest.mark.parametrize("limit", [10_000, 10_001, 4096 * 3, 9_800])
def test_full_disk(limit: int, run: Callable[..., Run], tmp_path: Path) -> None:
    """On a full disk the log ends with a whole line and one complaint; the program goes on."""
    program = (
        WORK
        + f"""
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
work(50)
generate(acquire())
print("went on", tracer.graph.acquired)
"""
    )
    done = run("-c", program)

    assert (done.status, done.out) == (0, "went on 102\n"), done.err
    (file,) = (tmp_path / "logs").iterdir()
    assert limit - 1500 < file.stat().st_size <= limit
    assert [event["seq"] for event in done.log] == list(range(1, len(done.log) + 1))
    assert done.err.count("the event log ends here") == 1
    assert str(file) in done.err
    assert done.err.count("csptrace: leaked-at-exit: ") == 2, "people are still told"
    assert "internal error" not in done.err


@LINUX
def test_disk_full_from_the_start(run: Callable[..., Run]) -> None:
    """A disk on which not a byte fits costs the log and nothing else."""
    program = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        + WORK
        + "work()\nprint('went on')\n"
    )
    done = run("-c", program)

    assert (done.status, done.out) == (0, "went on\n"), done.err
    assert done.err.count("the event log ends here") == 1
    assert done.logs == [[]]


PLACES = ["a file", "below a file", "read-only"] + (["/proc"] if sys.platform == "linux" else [])


@pytest.mark.parametrize("place", PLACES)
def test_folder_that_cannot_be_written(place: str, run: Callable[..., Run], tmp_path: Path) -> None:
    """Where no log can be made there is one complaint with the path, and tracing goes on."""
    folder = Path("/proc") if place == "/proc" else tmp_path / "no\nlog"
    if place == "read-only":
        if os.name == "nt" or os.geteuid() == 0:
            pytest.skip("permissions do not hold the superuser")
        folder.mkdir(mode=0o500)
    elif place != "/proc":
        folder.write_text("")
    if place == "below a file":
        folder /= "logs"
    done = run("-c", WORK + "work()\ngenerate(acquire())\nprint('went on')\n", log=folder)

    assert (done.status, done.out) == (0, "went on\n"), done.err
    first = done.err.splitlines()[0]
    assert first.startswith(f"csptrace: no event log: {folder}: ".replace("\n", "\\n"))
    assert done.err.count("no event log") == 1
    assert "2 findings (2 leaked-at-exit)" in done.err
    assert not list(tmp_path.glob("**/*.jsonl"))


def test_folder_is_made_with_its_parents(run: Callable[..., Run], tmp_path: Path) -> None:
    """A folder that does not exist is made."""
    folder = tmp_path / "a" / "b" / "c"
    run("-c", WORK + "work()", log=folder)

    (log,) = read_logs(folder)
    check_log(log)


DELETIONS = {
    "folder": "shutil.rmtree(folder)",
    "file": "os.unlink(tracer.log_path)",
    "folder replaced": "shutil.rmtree(folder); folder.mkdir()",
    "file replaced": "p = tracer.log_path; os.unlink(p); Path(p).write_text('mine\\n')",
}


@POSIX
@pytest.mark.parametrize("until", ["finding", "end"])
@pytest.mark.parametrize("what", DELETIONS)
def test_deleted_log_is_restored(
    what: str, until: str, run: Callable[..., Run], tmp_path: Path
) -> None:
    """A log that was deleted is back, complete, at the next finding or else at the end."""
    program = WORK + f"work()\n{DELETIONS[what]}\nwork()\n"
    if until == "finding":
        program += """
context = acquire()
generate(context)
advapi32.CryptReleaseContext(context, 0)
assert Path(tracer.log_path).is_file()
assert '"leaked-at-release"' in Path(tracer.log_path).read_text()
"""
    program += "work()\n"
    if what == "file replaced":
        program += "assert Path(p).read_text() == 'mine\\n'; os.unlink(p)\n"
    done = run("-c", program)

    assert done.status == 0, done.err
    check_log(done.log)
    assert done.err.count("the event log was deleted") == 1
    assert str(next((tmp_path / "logs").iterdir())) in done.err


@POSIX
def test_log_deleted_again_and_again(run: Callable[..., Run]) -> None:
    """Each deletion is mended, nothing is lost."""
    program = (
        WORK
        + """
for _ in range(5):
    work()
    shutil.rmtree(folder)
    context = acquire()
    generate(context)
    advapi32.CryptReleaseContext(context, 0)
shutil.rmtree(folder)
"""
    )
    done = run("-c", program)

    assert done.status == 0, done.err
    check_log(done.log)
    assert done.log[-1]["findings"] == {"leaked-at-release": 5}


@LINUX
def test_deleted_log_and_a_full_disk(run: Callable[..., Run], tmp_path: Path) -> None:
    """What does not fit when a deleted log is restored is cut off after a whole line."""
    program = (
        WORK
        + """
import resource
work(20)
size = Path(tracer.log_path).stat().st_size
os.unlink(tracer.log_path)
resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, size))
csptrace.stop()
print("went on")
"""
    )
    done = run("-c", program)

    assert (done.status, done.out) == (0, "went on\n"), done.err
    assert done.err.count("cannot be restored") == 1
    assert len(done.log) > 20
    assert [event["seq"] for event in done.log] == list(range(1, len(done.log) + 1))
    assert not list((tmp_path / "logs").glob("*.tmp"))


DETACHING = {
    "closed": "os.closerange(3, 256)",
    "closed twice": "os.closerange(3, 256); work(); os.closerange(3, 256)",
}


@POSIX
@pytest.mark.parametrize("how", DETACHING)
def test_descriptors_closed_by_the_program(
    how: str, run: Callable[..., Run], tmp_path: Path
) -> None:
    """A program that closes every descriptor keeps its next file to itself, and the log goes on."""
    mine = tmp_path / "mine.txt"
    program = (
        WORK
        + f"""
work()
{DETACHING[how]}
files = [os.open({str(mine)!r} + str(n), os.O_RDWR | os.O_CREAT | os.O_EXCL) for n in range(20)]
for file in files:
    os.write(file, b"mine ")
work()
context = acquire()
generate(context)
advapi32.CryptReleaseContext(context, 0)
csptrace.stop()
for file in files:
    os.write(file, b"still mine")
"""
    )
    done = run("-c", program)

    assert done.status == 0, done.err
    for number in range(20):
        assert Path(f"{mine}{number}").read_bytes() == b"mine still mine"
    check_log(done.log)


@POSIX
def test_descriptor_that_became_somebody_elses_in_a_forked_child(
    run: Callable[..., Run], tmp_path: Path
) -> None:
    """A daemon forks, closes every descriptor and opens its own: none of them is touched."""
    mine = tmp_path / "mine.txt"
    program = (
        WORK
        + f"""
work()
if os.fork():
    os._exit(os.waitstatus_to_exitcode(os.wait()[1]))
os.setsid()
os.closerange(3, 256)
file = os.open({str(mine)!r}, os.O_RDWR | os.O_CREAT)
os.write(file, b"mine ")
work()
if not os.fork():
    os.write(file, b"child's ")
    os._exit(0)
assert os.wait()[1] == 0
os.write(file, b"still mine")
"""
    )
    done = run("-c", program)

    assert done.status == 0, done.err
    assert mine.read_bytes() == b"mine child's still mine"
    assert sum(e["event"] == "csptrace.handle_acquired" for e in done.logs[1]) == 2


@POSIX
def test_log_shortened_by_somebody(run: Callable[..., Run]) -> None:
    """A log that is emptied from outside goes on after that, without a gap of zero bytes."""
    done = run("-c", WORK + "work()\nos.truncate(tracer.log_path, 0)\nwork(2)\n")

    assert done.status == 0, done.err
    seqs = [event["seq"] for event in done.log]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
    assert done.log[-1]["event"] == "csptrace.run_ended"


@POSIX
@pytest.mark.parametrize("closed", ["0", "2", "0 1 2"])
def test_program_without_standard_streams(closed: str, tmp_path: Path) -> None:
    """Where standard streams are closed the log does not take their numbers."""
    # What else has the number may be anything: newer libffi keeps its own library open there.
    program = WORK + "work()\ntry: os.write(2, b'x')\nexcept OSError: pass\nwork()"
    redirections = " ".join(f"{number}>&-" for number in closed.split())
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" -c "$1" {redirections}', sys.executable, program],
        env=environment(tmp_path, log=tmp_path / "logs"),
        cwd=GOLDEN,
        check=False,
        capture_output=True,
    )

    assert done.returncode == 0, done.stderr
    (log,) = read_logs(tmp_path / "logs")
    check_log(log)


@POSIX
def test_log_is_not_inherited_by_other_programs(run: Callable[..., Run]) -> None:
    """A program that is started by the traced one does not get the log's descriptor."""
    program = (
        WORK
        + """
import subprocess
work()
listing = "import os; print([os.path.realpath(f'/dev/fd/{n}') for n in range(64)])"
done = subprocess.run([sys.executable, "-S", "-c", listing], close_fds=False,
                      capture_output=True, text=True)
print("jsonl" in done.stdout)
"""
    )
    assert run("-c", program).out == "False\n"


# --- streams ------------------------------------------------------------------------------------

STREAMS = {
    "closed": "sys.stderr.close()",
    "none": "sys.stderr = None",
    "deleted": "del sys.stderr",
    "without flush": "sys.stderr = type('Tee', (), {'write': lambda self, text: None})()",
    "without write": "sys.stderr = object()",
    "raising": (
        "class Broken:\n"
        "    def write(self, text): raise RuntimeError('broken')\n"
        "    def isatty(self): raise RuntimeError('broken')\n"
        "    def flush(self): raise OSError('broken')\n"
        "sys.stderr = Broken()"
    ),
    "descriptor closed": "os.close(2)",
    "full": "sys.stderr = open('/dev/full', 'w')" if os.path.exists("/dev/full") else "",
}


@pytest.mark.parametrize("sort", STREAMS)
def test_broken_stderr(sort: str, run: Callable[..., Run]) -> None:
    """Whatever became of stderr, the program goes on and the log has every finding."""
    program = (
        WORK
        + STREAMS[sort]
        + """
context = acquire()
key = generate(context)
advapi32.CryptReleaseContext(context, 0)
try:
    advapi32.CryptDestroyKey(key)
except csptrace.OutOfOrderRelease:
    print("went on")
csptrace.stop()
sys.stderr = None
"""
    )
    done = run("-c", program)

    assert (done.status, done.out) == (0, "went on\n"), done.err
    assert _codes(done) == {"leaked-at-release": 1, "out-of-order-release": 1}


def test_stderr_that_works_again(run: Callable[..., Run]) -> None:
    """A stream that failed once does not silence its successor."""
    program = (
        WORK
        + """
good, sys.stderr = sys.stderr, None
acquire()
class Broken:
    def write(self, text): raise OSError("broken")
    def flush(self): pass
sys.stderr = Broken()
context = acquire()
generate(context)
advapi32.CryptReleaseContext(context, 0)
sys.stderr = good
"""
    )
    assert "csptrace: leaked-at-exit: " in run("-c", program).err


@pytest.mark.parametrize("encoding", ["ascii:strict", "latin-1:strict", "cp1252", "cp437"])
def test_stderr_of_another_encoding(encoding: str, scenario: Callable[..., Run]) -> None:
    """Letters that the stream does not have are written as escapes."""
    environ = {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    done = scenario("named", environ=environ, depth=1, logged=False)

    assert "leaked-at-exit" in done.err
    expected = "M\\xfcller" if encoding != "cp437" else "M\\x81ller"
    assert expected in done.err, "a byte that is not UTF-8 is shown like an escape here"


def test_findings_reach_an_ascii_stream_of_the_program(run: Callable[..., Run]) -> None:
    """A stream that refuses a letter gets the same text with escapes."""
    program = (
        WORK
        + """
sys.stderr = open(2, "w", encoding="ascii", errors="strict", closefd=False)
thread = threading.Thread(target=acquire, name="w\\xf6rker \\N{GRINNING FACE}")
thread.start()
thread.join()
"""
    )
    err = run("-c", program, depth=1).err

    assert "in thread w\\xf6rker \\U0001f600" in err
    assert err.isascii()


# --- a log by itself ----------------------------------------------------------------------------


def test_torn_line_is_seen(tmp_path: Path) -> None:
    """The reader of these tests does notice a torn line."""
    (tmp_path / "a.jsonl").write_bytes(json.dumps({"seq": 1}).encode() + b'\n{"seq": ')

    with pytest.raises(AssertionError, match="torn line"):
        read_log(tmp_path / "a.jsonl")
