"""Key containers on disk: one file per container, private to its owner, replaced atomically.

The files are in SOFTCSP_HOME or else in the platform's per-user data directory. A file holds the
container's name and its key pairs as PKCS #8, encrypted where a password (PP_KEYEXCHANGE_PIN,
PP_SIGNATURE_PIN) was set. A container outlives every context and every process, until it is
deleted with CRYPT_DELETEKEYSET:
https://learn.microsoft.com/windows/win32/seccrypto/cryptographic-service-provider-contexts

A crash at any moment leaves the old file or the new one. Changes of one directory are serialised
by a lock file, among processes and among threads.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from csptrace import forks
from csptrace.softcsp.constants import (
    AT_KEYEXCHANGE,
    AT_SIGNATURE,
    NTE_BAD_KEYSET,
    NTE_EXISTS,
    NTE_FAIL,
    NTE_KEYSET_ENTRY_BAD,
)
from csptrace.softcsp.errors import CspError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ENVIRONMENT_VARIABLE: Final = "SOFTCSP_HOME"

_FORMAT: Final = "softcsp container 1"
_LEFTOVER: Final = re.compile(r".+\.json\.[0-9a-f]{16}\.tmp")
"""What `_replace` leaves if it is killed; the user may keep other files in the folder."""
_SPECS: Final = {"AT_KEYEXCHANGE": AT_KEYEXCHANGE, "AT_SIGNATURE": AT_SIGNATURE}
_SPEC_NAMES: Final = {number: name for name, number in _SPECS.items()}

_thread_lock = forks.lock()


@dataclass(frozen=True, repr=False)
class StoredPair:
    """One key pair of a container as it is stored.

    Attributes:
        pem: PKCS #8, encrypted or not.
        exportable: whether the private half may be exported.

    """

    pem: str
    exportable: bool

    def __repr__(self) -> str:
        """Say nothing of the content."""
        return "<stored key pair>"


Pairs = dict[int, StoredPair]


def home() -> Path:
    """Say where containers are: SOFTCSP_HOME, or the platform's per-user data directory."""
    explicit = os.environ.get(ENVIRONMENT_VARIABLE)
    if explicit:
        return Path(explicit)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local") / "softcsp"
    if sys.platform == "darwin":
        return Path.home() / "Library/Application Support/softcsp"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "softcsp"


class ContainerFile:
    """One container: where its file is, and how it is read and replaced.

    Attributes:
        name: the container's name as the program gave it.
        path: its file.

    """

    __slots__ = ("_cached", "_stamp", "name", "path")

    def __init__(self, name: str, *, machine: bool = False) -> None:
        """Name a container; nothing is read or made yet.

        Args:
            name: any text. Case does not count, as with the vendor's providers.
            machine: a container of the machine (CRYPT_MACHINE_KEYSET), not of the user.

        """
        self.name = name
        folder = home() / ("machine" if machine else "user")
        # A name may hold anything, a file name may not: the digest tells names apart, the readable
        # part is for people.
        folded = name.lower().encode("utf-8", "surrogatepass")
        readable = re.sub(r"[^a-z0-9]+", "-", name.lower())[:32].strip("-")
        self.path = folder / f"{readable}.{hashlib.sha256(folded).hexdigest()[:32]}.json"
        self._stamp: tuple[int, int, int] | None = None
        self._cached: Pairs = {}

    def read(self) -> Pairs:
        """Read the key pairs, from memory if the file has not changed since.

        Raises:
            CspError: NTE_BAD_KEYSET, no such container; NTE_KEYSET_ENTRY_BAD, the file is damaged.

        """
        try:
            status = self.path.stat()
            stamp = (status.st_mtime_ns, status.st_ino, status.st_size)
            if stamp != self._stamp:
                self._cached = _decode(self.path.read_bytes())
                self._stamp = stamp
        except FileNotFoundError:
            raise CspError(NTE_BAD_KEYSET) from None
        except OSError:
            raise CspError(NTE_FAIL) from None
        return self._cached

    def create(self) -> None:
        """Make an empty container.

        Raises:
            CspError: NTE_EXISTS, it is there already; NTE_FAIL, the directory cannot be written.

        """
        with _changing(self.path.parent):
            if self.path.exists():
                raise CspError(NTE_EXISTS)
            self._replace({})

    def update(self, changes: Mapping[int, StoredPair]) -> None:
        """Replace key pairs, keeping the others.

        A container that was deleted meanwhile stays deleted: the context that still has it open
        works on in memory.

        Raises:
            CspError: NTE_KEYSET_ENTRY_BAD, the file is damaged; NTE_FAIL, it cannot be written.

        """
        with _changing(self.path.parent):
            try:
                pairs = _decode(self.path.read_bytes())
            except FileNotFoundError:
                return
            self._replace({**pairs, **changes})

    def delete(self) -> None:
        """Delete the container with its key pairs.

        Raises:
            CspError: NTE_BAD_KEYSET, there is none; NTE_FAIL, it cannot be deleted.

        """
        if not self.path.parent.is_dir():
            raise CspError(NTE_BAD_KEYSET)
        with _changing(self.path.parent):
            try:
                self.path.unlink()
            except FileNotFoundError:
                raise CspError(NTE_BAD_KEYSET) from None
            _flush_directory(self.path.parent)

    def _replace(self, pairs: Pairs) -> None:
        document = {
            "format": _FORMAT,
            "name": self.name,
            "pairs": {
                _SPEC_NAMES[spec]: {"exportable": pair.exportable, "pkcs8": pair.pem}
                for spec, pair in pairs.items()
            },
        }
        temporary = self.path.parent / f"{self.path.name}.{secrets.token_hex(8)}.tmp"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with os.fdopen(os.open(temporary, flags, 0o600), "wb") as file:
            file.write(json.dumps(document, indent=1).encode("ascii"))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path)
        _flush_directory(self.path.parent)


def names(*, machine: bool = False) -> list[str]:
    """List the containers of the user or of the machine, sorted; damaged files are left out."""
    found = []
    folder = home() / ("machine" if machine else "user")
    with contextlib.suppress(OSError):
        for path in folder.glob("*.json"):
            with contextlib.suppress(OSError, CspError):
                found.append(str(_document(path.read_bytes())["name"]))
    return sorted(found)


def _document(content: bytes) -> dict[str, Any]:
    try:
        document = json.loads(content)
    except ValueError:
        raise CspError(NTE_KEYSET_ENTRY_BAD) from None
    if not isinstance(document, dict) or document.get("format") != _FORMAT:
        raise CspError(NTE_KEYSET_ENTRY_BAD)
    return document


def _decode(content: bytes) -> Pairs:
    document = _document(content)
    try:
        return {
            _SPECS[name]: StoredPair(str(pair["pkcs8"]), bool(pair["exportable"]))
            for name, pair in document["pairs"].items()
        }
    except (KeyError, TypeError, AttributeError):
        raise CspError(NTE_KEYSET_ENTRY_BAD) from None


@contextlib.contextmanager
def _changing(folder: Path) -> Iterator[None]:
    """Hold the directory's lock; remove what a killed process left half written."""
    try:
        with _thread_lock:
            folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
            lock = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                lock_file(lock, wait=True)
                for leftover in folder.glob("*.tmp"):
                    if _LEFTOVER.fullmatch(leftover.name):
                        leftover.unlink(missing_ok=True)
                yield
            finally:
                # Closing a file gives its locks up, on every platform.
                os.close(lock)
    except OSError:
        raise CspError(NTE_FAIL) from None


def lock_file(descriptor: int, *, wait: bool) -> bool:
    """Lock an open file against other processes, until it is closed or the process ends.

    Args:
        descriptor: the open file.
        wait: wait for another process to give it up; otherwise try once.

    Returns:
        Whether the lock is ours now.

    """
    if sys.platform == "win32":
        import msvcrt  # noqa: PLC0415

        while True:
            try:
                msvcrt.locking(descriptor, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
            except OSError:
                if not wait:
                    return False
            else:
                return True
    import fcntl  # noqa: PLC0415

    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except (BlockingIOError, PermissionError):
        return False
    return True


def _flush_directory(folder: Path) -> None:
    """Make a rename or a deletion survive a power failure, where directories can be flushed."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
