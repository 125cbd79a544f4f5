"""Whether the process that wrote a log may still write to it.

A traced process locks its log for as long as it has it open (`events.log`), so a lock that is not
to be had is proof; but locks are missing on some file systems, and a program that closes all
descriptors gives its lock up for a while. So the process itself is looked for, too. Of processes
on other machines nothing can be known from here.
"""

from __future__ import annotations

import errno
import os
import platform
import re
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Writer", "held", "log_host", "may_write", "pid_namespace", "written_by"]

_NAME: Final = re.compile(r"csptrace-(?P<host>.*)-(?P<pid>\d+)-\d+(?:\.\d+)?\.")
_NO_LOCKS: Final = frozenset({errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.ENOSYS})
"""What a file system without locks says."""
_SLACK: Final = 60
"""Seconds by which clocks may differ."""


class Writer(NamedTuple):
    """The process behind one run.

    Attributes:
        host: its machine, empty if that is not known.
        pid: its number there, 0 if that is not known.
        ts: when it wrote its first event, in nanoseconds since 1970.
        mono: the same on the machine's monotonic clock.
        namespace: in which of the machine's namespaces of processes (a container's), empty if that
            is not known.
    """

    host: str
    pid: int
    ts: int
    mono: int
    namespace: str = ""


def written_by(name: str) -> tuple[str, int]:
    """Return host and process as the name of a log tells them, empty and 0 if it does not."""
    match = _NAME.match(name)
    return ("", 0) if match is None else (match["host"], int(match["pid"]))


def log_host(name: str) -> str:
    """Return a machine's name as it stands in the names of logs."""
    return re.sub(r"[^A-Za-z0-9.-]", "-", name) or "localhost"


def may_write(writer: Writer, gone: Sequence[str] = ()) -> str:
    """Return why a process whose run has not ended may still write, empty if it cannot.

    Args:
        writer: the process.
        gone: machines of which somebody knows that no traced process runs there any more; `*` for
            all but this one.
    """
    still = bool(writer.pid) and _runs(writer.pid) and not _began_later(writer)
    if not writer.host or not writer.pid:
        if still or "*" not in gone:
            return "it does not tell which process wrote it"
        return ""
    here = platform.node()
    if writer.host not in (here, log_host(here)):
        if writer.host in gone or "*" in gone:
            return ""
        return (
            f"a run in it has not ended, and whether it still runs on {writer.host} is not known; "
            f"if it does not: --gone-host {writer.host}"
        )
    if writer.namespace and writer.namespace != pid_namespace() and writer.host not in gone:
        return (
            "a run in it has not ended, and whether it still runs in another container of "
            f"{writer.host} is not known; if it does not: --gone-host {writer.host}"
        )
    if still:
        return f"a run in it has not ended, and process {writer.pid} still runs"
    return ""


def pid_namespace() -> str:
    """Return what tells this namespace of processes from others, empty where there are none."""
    try:
        return str(os.stat("/proc/self/ns/pid").st_ino)
    except OSError:
        return ""


def _runs(pid: int) -> bool:
    """Return whether there is such a process; if that cannot be told, there is."""
    if sys.platform == "win32":  # os.kill would end it; and no file is deleted that it has open
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _began_later(writer: Writer) -> bool:
    """Return whether the process that has the number now began after the run did.

    Linux tells when a process began in ticks since the machine was started (proc_pid_stat(5),
    starttime), which count while it sleeps; `mono` does not. Only whether the machine was started
    since is asked of the clock that can be set.
    """
    try:
        with open(f"/proc/{writer.pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        began = int(fields[19]) / os.sysconf("SC_CLK_TCK")
        now, awake = time.clock_gettime(time.CLOCK_BOOTTIME), time.monotonic()
    except (OSError, ValueError, IndexError, AttributeError):
        return False  # another system than Linux
    if writer.ts / 1e9 < time.time() - now - _SLACK:
        return True  # the machine was started since
    return began - (now - awake) > writer.mono / 1e9 + 1


@contextmanager
def held(paths: Sequence[str]) -> Iterator[bool]:
    """Lock some logs, so that nobody who opens them to write goes unnoticed.

    Args:
        paths: the logs.

    Yields:
        Whether they are locked; false if a process has one of them open to write.

    Raises:
        OSError: one of them cannot be opened.
    """
    if sys.platform == "win32":
        yield True
        return
    import fcntl  # noqa: PLC0415 - not on Windows

    handles = []
    try:
        free = True
        for path in paths:
            # Over NFS, an exclusive lock needs a descriptor that may write.
            how = os.O_RDWR if os.access(path, os.W_OK) else os.O_RDONLY
            handles.append(os.open(path, how))
            try:
                fcntl.flock(handles[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                free = free and error.errno in _NO_LOCKS
        yield free
    finally:
        for handle in handles:
            with suppress(OSError):
                os.close(handle)
