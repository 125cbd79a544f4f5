"""Give each process a log of pkcs11-spy's of its own; it stands first on the path of every run.

pkcs11-spy writes neither pids nor threads and appends to one file. A process is told another file
before anything can load the library; a fork, which shares the open file, has its descriptor
replaced. The name says who it is and whose fork: `spy-<pid>-<parent, 0 for none>`.
"""

from __future__ import annotations

import os

_FOLDER = os.environ["SPY_LOGS"]


def _log_to(parent: int) -> str:
    path = os.path.join(_FOLDER, f"spy-{os.getpid()}-{parent}")
    os.environ["PKCS11SPY_OUTPUT"] = path
    return path


def _forked() -> None:
    before = os.environ["PKCS11SPY_OUTPUT"]
    after = _log_to(int(os.path.basename(before).split("-")[1]))
    for each in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{each}") != before:
                continue
        except OSError:
            continue
        opened = os.open(after, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(opened, int(each))
        os.close(opened)


_log_to(0)
os.register_at_fork(after_in_child=_forked)
