"""The event log: JSON Lines through structlog and orjson, one file and one `write` per event.

Measured: one fused processor, orjson and one `os.write` per event cost 6.8 µs, against 13 to 77 µs
for other structlog chains.
"""

from __future__ import annotations

import os
import re
import socket
import sys
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import orjson
import structlog

from csptrace import forks
from csptrace.clocks import CLOCKS
from csptrace.events.schema import LONGEST_LINE, SCHEMA
from csptrace.files import PRIVATE_FILE, make_folder
from csptrace.terminal import escape

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

if sys.platform != "win32":
    import fcntl

__all__ = ["EventLog"]

_AGAIN: Final = (
    os.O_RDWR
    | os.O_APPEND
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_NOINHERIT", 0)
)
_NEW: Final = _AGAIN | os.O_CREAT | os.O_EXCL
_CHUNK: Final = 1 << 20
_EVERY: Final = 63
"""Of 64 events, how long one takes is measured."""
_LESS: Final = (20_000, 2_000, 500, 200, 100, 50, 20)
"""How much is left of the texts and lists of an event that is too long, one after another."""
_NEWLINE: Final = orjson.OPT_APPEND_NEWLINE
# Looked up once: each of these is called for every event.
_seek, _write_out, _dumps = os.lseek, os.write, orjson.dumps


class _Direct(structlog.BoundLoggerBase):
    """A bound logger without a context and with one processor.

    structlog's own ones copy the fields four times on the way, which costs more than rendering
    and writing them.
    """

    def write(self, name: str, fields: dict[str, Any]) -> None:
        """Pass an event on; `fields` becomes the event."""
        fields["event"] = name
        (fuse,) = self._processors
        self._logger.info(fuse(self._logger, name, fields))


class EventLog:
    """The log file of one process.

    A log that cannot be written is switched off with one complaint; the program goes on.

    Args:
        folder: where the file goes; made if it does not exist.
        run: the run's identifier.
        complain: is told once when the log cannot be written.
        first: name and fields of the event that every log begins with.
        deferred: make the file only when a second event is written. The child of a fork may be
            about to become another program.
        rotate: go on in another file, `….1.jsonl`, `….2.jsonl`, when one has so many bytes; 0 for
            never. Files are never renamed: whoever reads one can read on.

    Attributes:
        path: the file, `None` while there is none; the newest of several.
    """

    def __init__(
        self,
        folder: Path,
        run: str,
        complain: Callable[[str, str], None],
        *,
        first: tuple[str, dict[str, Any]] | None = None,
        deferred: bool = False,
        rotate: int = 0,
    ) -> None:
        self.path: Path | None = None
        self._folder = folder
        self._run = run
        self._complain = complain
        self._file = -1
        self._identity = (0, 0)
        self._size = 0
        self._rotate = rotate
        self._pieces = 0
        self._earlier = 0
        self._samples = 0
        self._sampled = 0
        self._seq = 0
        self._pid = os.getpid()
        # A logger of our own: structlog's global configuration belongs to the application.
        self._logger = structlog.wrap_logger(
            self,
            processors=[self._fuse],
            wrapper_class=_Direct,
        )
        self._write: Callable[[str, dict[str, Any]], None] = self._logger.write
        self._lock = forks.lock()
        self._waiting: deque[tuple[str, dict[str, Any]]] = deque()
        self._writing = False
        self._first = first
        self._deferred = deferred
        if not deferred:
            self._begin()

    @property
    def is_empty(self) -> bool:
        """Whether there is no file yet."""
        return self._deferred

    @property
    def cost(self) -> dict[str, int]:
        """What writing has cost so far, as fields of `csptrace.run_ended`."""
        fields = {"bytes": self._earlier + self._size}
        if self._samples:
            fields["writing_ns"] = self._sampled * self._seq // self._samples
        return fields

    def _begin(self) -> None:
        self._deferred = False
        self._open()
        if self._first is not None:
            name, fields = self._first
            self._write(name, dict(fields))

    def _open(self) -> None:
        try:
            self._create()
        except OSError as error:
            self._fail(f"no event log: {escape(str(self._folder))}: {error.strerror or error}")

    def _create(self) -> None:
        """Create the file and write to it from now on; with a new name if the old one is taken."""
        make_folder(self._folder)
        host = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname()) or "localhost"
        path = self.path
        for _ in range(100):
            if path is None:
                start = CLOCKS.wall() // 1000
                path = self._folder / f"csptrace-{host}-{self._pid}-{start}.jsonl"
            try:
                file = os.open(path, _NEW, PRIVATE_FILE)
            except FileExistsError:
                path = None
            else:
                self._adopt(file, path)
                return
        raise FileExistsError(f"no free name in {self._folder}")

    def _adopt(self, file: int, path: Path) -> None:
        """Write to a file from now on."""
        if file < 3 and sys.platform != "win32":
            # The program runs without standard streams. Whatever writes to number 2 all the same
            # must not write into the log.
            low = file
            try:
                file = _dup_above(low)
            finally:
                _close(low)
        _lease(file)
        try:
            found, size = os.fstat(file), os.lseek(file, 0, os.SEEK_END)
        except OSError:
            _close(file)
            raise
        self._file, self.path = file, path
        self._identity = (found.st_dev, found.st_ino)
        self._size = size

    def _is_ours(self) -> bool:
        """Return whether the descriptor is still the log.

        A program that detaches itself closes every descriptor it finds, and the next file that it
        opens gets the same number.
        """
        try:
            found = os.fstat(self._file)
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self._identity

    def _recover(self) -> None:
        """Open the log again if the program has closed its descriptor."""
        if self._is_ours():  # somebody has shortened the file
            self._size = os.lseek(self._file, 0, os.SEEK_CUR)
            return
        self._file = -1  # a descriptor of the program now, if it is one
        assert self.path is not None  # noqa: S101 - for the type checker
        identity = self._identity
        self._adopt(os.open(self.path, _AGAIN), self.path)
        if self._identity != identity:
            raise FileNotFoundError("it was replaced by another file")

    def _fail(self, message: str) -> None:
        self.close()
        self._complain("log", message)

    # --- writing ------------------------------------------------------------------------------

    def emit(self, event: str, **fields: Any) -> None:
        """Write one event.

        Args:
            event: its name.
            fields: its fields, see the schema.
        """
        self.record(event, fields)

    def record(self, event: str, fields: dict[str, Any]) -> None:
        """Write one event. Lines stand in the order of `seq`, whoever writes them.

        Args:
            event: its name.
            fields: its fields, see the schema; the dictionary becomes the log's own.
        """
        with self._lock:
            if self._writing:
                # A signal handler or a destructor of the program has interrupted a write.
                self._waiting.append((event, fields))
                return
            self._writing = True
            try:
                if self._deferred:
                    self._begin()
                if self._seq & _EVERY == 8:
                    begin = CLOCKS.precise()
                    self._write(event, fields)
                    self._sampled += CLOCKS.precise() - begin
                    self._samples += 1
                else:
                    self._write(event, fields)
                while self._waiting:
                    self._write(*self._waiting.popleft())
            finally:
                self._writing = False

    def _fuse(self, _logger: Any, _name: str, event: Any) -> bytes:
        """Stamp an event and render it; the only processor of the chain."""
        self._seq = seq = self._seq + 1
        event["schema"] = SCHEMA
        event["run"] = self._run
        event["pid"] = self._pid
        event["seq"] = seq
        event["ts"] = CLOCKS.wall()
        event["mono"] = CLOCKS.monotonic()
        # Text from the program may hold lone surrogates (undecodable file names).
        try:
            line = _dumps(event, None, _NEWLINE)
        except (TypeError, orjson.JSONEncodeError):
            event = _clean(event)
            line = _dumps(event, None, _NEWLINE)
        return line if len(line) <= LONGEST_LINE else _shortened(event)

    def info(self, line: bytes) -> None:
        """Append one rendered event; what structlog calls.

        Args:
            line: the event as JSON, with its newline.
        """
        file = self._file
        if file < 0:
            return
        try:
            try:
                position = _seek(file, 0, 1)
            except OSError:
                position = -1
            if position != self._size:
                self._recover()
                file = self._file
            written = _write_out(file, line)
            if written != len(line):
                # A nearly full disk takes part of a line: take it back, so that none is torn.
                _take_back(file, written)
                written = os.write(file, line)
                if written != len(line):
                    _take_back(file, written)
                    self._fail(
                        f"the event log ends here, the disk is full: {escape(str(self.path))}"
                    )
                    return
        except OSError as error:
            self._fail(
                f"the event log ends here: {escape(str(self.path))}: {error.strerror or error}"
            )
            return
        self._size += written
        if self._rotate and self._size >= self._rotate:
            self._turn()

    def _turn(self) -> None:
        """Go on in the next file."""
        assert self.path is not None  # noqa: S101 - for the type checker
        stem = re.sub(rf"\.{self._pieces}$", "", self.path.stem) if self._pieces else self.path.stem
        path = self.path.with_name(f"{stem}.{self._pieces + 1}.jsonl")
        full, size = self._file, self._size
        try:
            self._adopt(os.open(path, _NEW, PRIVATE_FILE), path)
        except OSError as error:
            self._rotate = 0
            self._complain(
                "log",
                f"the event log goes on in {escape(str(self.path))}, whatever its size: "
                f"{escape(str(path))}: {error.strerror or error}",
            )
            return
        _close(full)
        self._pieces += 1
        self._earlier += size

    def rescue(self) -> None:
        """Put the file back if the program has deleted it; nothing already logged is lost."""
        if self._file < 0 or self.path is None:
            return
        name = escape(str(self.path))
        try:
            if _position(self._file) != self._size:
                self._recover()
            if os.fstat(self._file).st_nlink or sys.platform == "win32":
                return
            lost = self._file
            self._create()
            try:
                _copy(lost, self._file)
                self._size = os.lseek(self._file, 0, os.SEEK_END)
            finally:
                _close(lost)
        except OSError as error:
            self._fail(
                f"the event log was deleted and cannot be restored: {name}: "
                f"{error.strerror or error}"
            )
        else:
            self._complain(
                "log",
                f"the event log was deleted: {name}; it is restored: {escape(str(self.path))}",
            )

    def close(self) -> None:
        """Close the file; later events are dropped."""
        if self._file >= 0 and self._is_ours():
            _close(self._file)
        self._file = -1

    def abandon(self) -> None:
        """Close the child's copy of the descriptor after a fork, without touching the file."""
        self.close()


def _position(file: int) -> int:
    """Return the position in a file; -1 if it has none, or if there is no such file."""
    try:
        return os.lseek(file, 0, os.SEEK_CUR)
    except OSError:
        return -1


def _take_back(file: int, written: int) -> None:
    """Take back what was just written, unless somebody else has written behind it."""
    end = os.lseek(file, 0, os.SEEK_CUR)
    if os.fstat(file).st_size == end:
        os.ftruncate(file, end - written)


def _shorten(file: int, count: int) -> None:
    """Take the last bytes off a file."""
    os.ftruncate(file, os.fstat(file).st_size - count)


def _lease(file: int) -> None:
    """Show for as long as this process has a file open that it may still write to it.

    `csptrace compact` deletes no log that it cannot lock. The lock goes with the last descriptor,
    so with the process, however it ends; Windows deletes no file that is open anyway.
    """
    if sys.platform != "win32":
        with suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)


def _close(file: int) -> None:
    # The descriptor is free in any case; what could not be written is lost by now.
    with suppress(OSError):
        os.close(file)


def _dup_above(file: int) -> int:
    """Return a copy of a descriptor whose number is none of the standard streams'."""
    return fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, 3)


def _copy(source: int, target: int) -> None:
    """Copy a whole log; what does not fit is cut off after a line."""
    os.lseek(source, 0, os.SEEK_SET)
    try:
        while chunk := os.read(source, _CHUNK):
            rest = memoryview(chunk)
            while rest:
                rest = rest[os.write(target, rest) :]
    except OSError:
        end = os.lseek(target, 0, os.SEEK_END)
        os.lseek(target, max(0, end - _CHUNK), os.SEEK_SET)
        tail = os.read(target, _CHUNK)
        _shorten(target, len(tail) - tail.rfind(b"\n") - 1)
        raise


def _shortened(event: dict[str, Any]) -> bytes:
    """Render an event that is too long for a line with less of its texts and lists."""
    line = b""
    for most in _LESS:
        line = _dumps(_cut(event, most), None, _NEWLINE)
        if len(line) <= LONGEST_LINE:
            break
    return line


def _cut(value: Any, most: int) -> Any:
    """Return a value with so many characters of its texts, and so many items of its lists."""
    if isinstance(value, str):
        return value if len(value) <= most else f"{value[:most]}…"
    if isinstance(value, dict):
        return {_cut(key, most): _cut(item, most) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_cut(item, most) for item in value[:most]]
    return value


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    return value
