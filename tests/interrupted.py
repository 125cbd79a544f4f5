"""Play something that changes files, stopped or refused at every one of its file operations.

Each attempt runs in a child of its own, made by `os.fork` from a process that has played it before,
so that nothing is imported any more. Operations are seen by an audit hook (PEP 578), which CPython
calls before it makes them: what comes between two of them is not seen. Run it in a process without
threads.
"""

from __future__ import annotations

import errno
import gc
import os
import signal
import sys
import traceback
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

CHANGES: Final = frozenset(
    {
        *("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.chmod", "os.chown", "os.utime"),
        *("os.truncate", "os.link", "os.symlink", "fcntl.flock"),
    }
)
LOOKS: Final = frozenset({"open", "os.listdir", "os.scandir"})
_TO_WRITE: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_NOT_REACHED: Final = 77
_MOST: Final = 2000


def at_every_operation(
    prepare: Callable[[], None],
    play: Callable[[], int],
    check: Callable[[str, int | None], None],
    *,
    kill: str = "",
    every: int = 1,
) -> int:
    """Play again and again, each time up to one operation more.

    Args:
        prepare: sets everything up anew.
        play: what changes files; returns an exit status.
        check: is given the operation that was not made and the exit status, `None` for a killed
            process, and judges what is left.
        kill: kill the process before each operation that changes something in this folder. If
            it is empty, each operation and all later ones of its sort on the same file fail with
            EIO instead.
        every: leave out so many less one between two operations.

    Returns:
        How many operations there are, or up to `every` less one more.
    """
    prepare()
    assert play() == 0
    for number in range(0, _MOST, every):
        prepare()
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            _child(play, number, writer, kill)
        os.close(writer)
        with os.fdopen(reader) as pipe:
            operation = pipe.read()
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            assert kill, f"{operation}: killed by signal {os.WTERMSIG(status)}"
            assert os.WTERMSIG(status) == signal.SIGKILL, operation
            check(operation, None)
            continue
        code = os.WEXITSTATUS(status)
        if not operation:
            assert code == 0, "it fails although nothing was done to it"
            return number
        check(operation, code)
    raise AssertionError(f"more than {_MOST} operations")


def _child(play: Callable[[], int], number: int, writer: int, kill: str) -> None:
    seen = -1
    refused: list[tuple[str, Any]] = []

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        writes = event in CHANGES or (event == "open" and arguments[2] & _TO_WRITE)
        if not writes and (kill or event not in LOOKS):
            return
        if kill and not str(arguments[0]).startswith(kill):
            return
        what = (event, arguments[0] if arguments else None)
        seen += 1
        if seen == number:
            os.write(writer, f"{event} {arguments[:1]}".encode())
            if kill:
                os.kill(os.getpid(), signal.SIGKILL)
            refused.append(what)
        if what in refused:
            raise OSError(errno.EIO, "refused by the test")

    code = 1
    try:
        gc.disable()
        sys.addaudithook(hook)
        code = play()
    except BaseException:  # noqa: BLE001 - nothing of the parent's may run in the child
        traceback.print_exc()
    finally:
        os._exit(code)
