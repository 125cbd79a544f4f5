"""Which containers this process uses, so that other processes can tell (documented profile).

CryptReleaseContext is documented to fail with ERROR_BUSY while "the key context specified by hProv
is currently in use by another process", and CryptAcquireContext with CRYPT_DELETEKEYSET likewise.
Real advapi32 was never seen to do so; the ``documented`` profile does, by this rule:

The process that opened a container first owns it. Another process may open and use it too, but
cannot release it before the owner has released it or ended. The owner can always release, so
nobody waits for ever.

The lock is one on a file beside the container's, held by the operating system and therefore given
up even by a killed process.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from csptrace import forks
from csptrace.softcsp.store import lock_file

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class _Use:
    descriptor: int
    owned: bool
    contexts: int
    pid: int


_uses: Final[dict[Path, _Use]] = {}
_guard = forks.lock()


def enter(path: Path) -> None:
    """Count one more context on the container at *path*, and own it if nobody else does."""
    with _guard:
        use = _current(path)
        if use is None:
            use = _uses[path] = _Use(_open(path), owned=False, contexts=0, pid=os.getpid())
        use.contexts += 1
        use.owned = use.owned or lock_file(use.descriptor, wait=False)


def leave(path: Path) -> bool:
    """Count one context less.

    Returns:
        False, and nothing changes, if another process owns the container.

    """
    with _guard:
        use = _current(path)
        if use is None:
            return True
        use.owned = use.owned or lock_file(use.descriptor, wait=False)
        if not use.owned:
            return False
        use.contexts -= 1
        if not use.contexts:
            os.close(use.descriptor)
            del _uses[path]
        return True


def used_elsewhere(path: Path) -> bool:
    """Say whether another process owns the container at *path*."""
    with _guard:
        use = _current(path)
        if use is not None:
            use.owned = use.owned or lock_file(use.descriptor, wait=False)
            return not use.owned
        if not path.parent.is_dir():
            return False
        descriptor = _open(path)
        try:
            return not lock_file(descriptor, wait=False)
        finally:
            os.close(descriptor)


def _current(path: Path) -> _Use | None:
    """Give our entry, unless it was inherited by a fork: the lock stayed with the parent."""
    use = _uses.get(path)
    if use is not None and use.pid != os.getpid():
        os.close(use.descriptor)
        del _uses[path]
        return None
    return use


def _open(path: Path) -> int:
    return os.open(path.with_suffix(".use"), os.O_RDWR | os.O_CREAT, 0o600)
