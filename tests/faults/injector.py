"""Makes operations fail that csptrace itself issues, from the Nth on; the program's own go well.

`sweep.py` compiles this file under a name in angle brackets, like frozen modules of the standard
library have, so that what fails seems to fail in the standard library and not in code of the
program. It must be installed before csptrace is imported, which binds some functions by name.

With the sort `bug` no operation fails, but csptrace itself: a function of it that another one of it
calls raises at once, the Nth of those that differ in caller or function.

An operation is csptrace's if the innermost frame that belongs to neither the standard library nor a
library that csptrace calls is one of csptrace's (softcsp counts as the program's).
"""

from __future__ import annotations

import _thread
import builtins
import errno
import functools
import io
import os
import socket
import sys
import threading

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(sys.argv[0]))))
PACKAGE = os.path.join(ROOT, "csptrace", "")
PROVIDERS = (os.path.join(PACKAGE, "softcsp", ""), os.path.join(PACKAGE, "examples", ""))
STANDARD = (os.path.join(os.path.dirname(os.path.abspath(os.__file__)), ""), "<")
CALLED = tuple(f"{os.sep}{name}{os.sep}" for name in ("wrapt", "structlog", "orjson"))
ERRORS = {
    "EMFILE": errno.EMFILE,
    "EACCES": errno.EACCES,
    "ENOENT": errno.ENOENT,
    "ENOSPC": errno.ENOSPC,
    "EIO": errno.EIO,
}
FILES = (
    *("open", "read", "write", "lseek", "ftruncate", "fstat", "stat", "lstat", "mkdir", "unlink"),
    *("listdir", "scandir", "readlink", "getcwd", "access", "chmod", "link", "rename", "dup"),
    *("urandom", "close", "fsync", "utime", "replace", "rmdir", "chdir", "statvfs", "kill"),
)


class Faults:
    """The switch.

    Attributes:
        count: how many operations of the wanted sort csptrace has issued since it was armed.
        fired: how many of them have failed.
        first: what failed first.
    """

    def __init__(self) -> None:
        self.count = self.fired = 0
        self.first = ""
        self._sort = ""
        self._at = sys.maxsize
        self._last = sys.maxsize

    def arm(self, sort: str, at: int, *, lasting: bool) -> None:
        """Let the operation number `at` fail, and with `lasting` all that follow it.

        Args:
            sort: `import`; the name of an error of the system, for what is asked of it; `memory`
                for both; or `bug`.
            at: the first one is number 1; 0 lets none fail and counts.
            lasting: whether the later ones fail, too.
        """
        self.count = self.fired = 0
        self.first = ""
        self._sort = sort
        self._at = at or sys.maxsize
        self._last = sys.maxsize if lasting else self._at
        if sort == "bug":
            self._seen = set()
            threading.setprofile(self._profile)
            sys.setprofile(self._profile)

    def disarm(self) -> None:
        """Let nothing fail any more."""
        if self._sort == "bug":
            threading.setprofile(None)
            sys.setprofile(None)
        self._sort = ""

    def _profile(self, frame: object, event: str, _argument: object) -> None:
        """Raise in the place of a function; an error of a profiler comes out of what it watches."""
        if event != "call" or frame.f_back is None or not is_own(frame):
            return
        pair = (frame.f_code, frame.f_back.f_code)
        outer = frame.f_code.co_qualname.partition(".<locals>")[0].rpartition(".")[2]
        if pair in self._seen or not is_own(frame.f_back) or {outer, frame.f_code.co_name} & TOTAL:
            return
        if os.path.basename(frame.f_code.co_filename) in SHARED:
            return
        if frame.f_back.f_code.co_name in ASKED:
            return
        self._seen.add(pair)
        self.count += 1
        if self.count == self._at:
            self.fired += 1
            self.first = f"{frame.f_back.f_code.co_qualname} -> {frame.f_code.co_qualname}"
            raise ZeroDivisionError("injected")

    def strike(self, what: str, *, imports: bool = False) -> None:
        """Raise if it is the turn of this operation."""
        sort = self._sort
        if not sort or (imports != (sort == "import") and sort != "memory") or not issued():
            return
        self.count += 1
        if self._at <= self.count <= self._last:
            self.fired += 1
            self.first = self.first or what
            if sort == "memory":
                raise MemoryError
            if imports:
                raise ModuleNotFoundError(f"No module named {what!r} (injected)", name=what)
            raise OSError(ERRORS[sort], os.strerror(ERRORS[sort]) + " (injected)")


SHARED = frozenset({"forks.py", "threads.py"})
"""What the software CSP uses, too: there it is the program that breaks."""
TOTAL = frozenset(
    {
        # They keep their errors to themselves, or have none: a flag is read, a type is asked for.
        *("_caller", "misused", "touched", "_check", "value", "of", "broken", "outcome"),
        *("after", "failure", "_refuses_arguments", "_react_to_misuse", "_react_to_leaks"),
        *("_note", "__len__", "after_fork_in_child"),
        *("stop", "guarded", "_collected", "_at_exit", "_go_on_in_child"),
        # They are what keeps errors.
        *("sheltered", "_sheltered", "__init__", "__enter__", "__exit__"),
        # They pass a call of the program on.
        *("traced", "traced_one", "traced_object", "traced_objects", "traced_own", "native"),
        *(
            "unwrap",
            "losing",
            "marking",
            "handing_out",
            "method",
            "call",
            "_unwrapping",
            "_advance",
        ),
        *("handed", "run", "_finish", "trace", "_namespace"),
    }
)
"""Functions that nothing is gained by not letting begin."""
ASKED = frozenset({"scope", "check", "snapshot", "diff", "live"})
"""What the program asks csptrace for by name; it cannot do without the answer."""


def is_own(frame: object) -> bool:
    """Return whether a frame is csptrace's."""
    name = frame.f_code.co_filename
    return name.startswith(PACKAGE) and not name.startswith(PROVIDERS)


def issued() -> bool:
    """Return whether csptrace issues the operation that is under way."""
    frame = sys._getframe(2)
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(PACKAGE):
            return not name.startswith(PROVIDERS)
        if not name.startswith(STANDARD) and not any(part in name for part in CALLED):
            return False
        if "site-packages" in name and not any(part in name for part in CALLED):
            return False
        frame = frame.f_back
    return False


faults = Faults()


def wrap(owner: object, name: str, what: str) -> None:
    """Let a function of a module fail when it is its turn."""
    original = getattr(owner, name, None)
    if original is None:
        return

    @functools.wraps(original)
    def failing(*args: object, **kwargs: object) -> object:
        if name == "close":
            original(*args, **kwargs)
            return faults.strike(what)
        faults.strike(what)
        return original(*args, **kwargs)

    setattr(owner, name, failing)


class Finder:
    """Stands first in `sys.meta_path`; only modules that are not there yet come by here."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        """Fail, or leave it to the other finders."""
        faults.strike(name, imports=True)


def install() -> None:
    """Put the injector in place."""
    for name in FILES:
        wrap(os, name, f"os.{name}")
    for owner in (builtins, io):
        wrap(owner, "open", "open")
    wrap(io, "open_code", "open")
    wrap(socket, "gethostname", "socket.gethostname")
    try:
        import fcntl
    except ImportError:
        pass
    else:
        wrap(fcntl, "fcntl", "fcntl")
    for name in ("_start_joinable_thread", "_start_new_thread"):
        wrap(threading, name, "thread")
    for name in ("start_joinable_thread", "start_new_thread"):
        wrap(_thread, name, "thread")
    sys.meta_path.insert(0, Finder)
