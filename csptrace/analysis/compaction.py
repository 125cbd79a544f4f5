"""Logs as partitioned Parquet: a twentieth of the size, and twice as fast to analyse.

Every log becomes one archive, `day=…/machine=…/<name>-<hash>.parquet`: day (UTC) and machine are
those of its first event, the hash is that of the log's folder. Every field of every event is in
it, and what was no event is counted in it.

An archive only grows. It knows the digest of each file that it was made from, so that doing it
again does nothing; of a log that has grown, or of which pieces have been cleaned away, the events
that are new (by run and seq) are added to those it holds. The new archive takes the place of the
old one when it is complete and holds every event of the old one; at whatever moment the process is
killed, one of the two is there.
"""

from __future__ import annotations

import glob
import hashlib
import os
import re
import tempfile
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson

from csptrace.analysis import embedded, questions, reading, writers
from csptrace.analysis.embedded import parquet_source
from csptrace.analysis.writers import Writer
from csptrace.errors import AnalysisError, MissingExtraError
from csptrace.files import PRIVATE_FILE, flush_folder, make_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from csptrace.analysis.reading import Log

__all__ = ["Compacted", "compact"]

_PIECES: Final = "csptrace_pieces"
_LOCK: Final = ".csptrace-lock"
_WAITING: Final = ".csptrace-new-"
_HALF: Final = ".half.parquet"
"""What is half-written begins with a dot, which no analysis reads."""
_DAMAGED: Final = ".damaged"


class _Piece(NamedTuple):
    """What an archive knows of one file that it was made from.

    Attributes:
        digest: of its content.
        torn: lines of it whose end was never written.
        foreign: other lines of it that are no events.
        damage: why it could not be read to its end; empty if it could.
    """

    digest: str
    torn: int
    foreign: int
    damage: str


class _Archive(NamedTuple):
    """A Parquet file of ours: where it is, and what it was made from, by file name."""

    path: str
    pieces: Mapping[str, _Piece]


class Compacted(NamedTuple):
    """What became of one log.

    Attributes:
        paths: the log's files; several if it was rotated.
        target: the archive, empty if there is none.
        events: how many events it holds, those among them that the log no longer has.
        written: whether it was written now; false if all was there already.
        deleted: whether the log was deleted.
        kept: why the log was not deleted although that was asked for, or why nothing was written.
        aside: where an archive went that cannot be read any more, empty if there was none.
    """

    paths: tuple[str, ...]
    target: str
    events: int
    written: bool
    deleted: bool
    kept: str
    aside: str = ""


def compact(
    names: Sequence[str],
    folder: str,
    *,
    delete: bool = False,
    gone: Sequence[str] = (),
    memory: int = 1_000_000_000,
    tell: Callable[[Compacted], None] = lambda _done: None,
) -> list[Compacted]:
    """Convert logs to Parquet.

    Args:
        names: files, folders and patterns; Parquet files among them are left alone.
        folder: where the archives go; made, for its owner alone, if it does not exist. What else
            is in it is left alone.
        delete: delete each log that is safely converted and to which no process can write any
            more: every run in it has ended, or its process is no longer there.
        gone: machines of which is known that no traced process runs there any more; `*` for all.
        memory: how many bytes may be used.
        tell: is told of each log when it is done.

    Returns:
        What became of each log.

    Raises:
        AnalysisError: no such logs, the folder cannot be written, or another process is just
            writing into it.
        MissingExtraError: DuckDB or filelock is not installed.
    """
    logs = [log for log in reading.find(names) if log.form != "parquet"]
    done = []
    with tempfile.TemporaryDirectory(prefix="csptrace-") as spill:
        compactor = _Compactor(spill, folder, memory)
        try:
            with _alone_in(folder):
                for family in reading.families(logs):
                    done.append(compactor.convert(family, delete=delete, gone=gone))
                    tell(done[-1])
        except OSError as error:
            name = error.filename or folder
            raise AnalysisError(f"cannot write {name}: {error.strerror or error}") from error
        finally:
            compactor.close()
    return done


@contextmanager
def _alone_in(folder: str) -> Iterator[None]:
    """Keep other processes from changing the same archives, and clear up what killed ones left."""
    try:
        import filelock  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise MissingExtraError(
            "csptrace compact needs filelock: pip install 'csptrace[report]'"
        ) from error
    make_folder(folder)
    lock = filelock.FileLock(os.path.join(folder, _LOCK), timeout=0, mode=PRIVATE_FILE)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise AnalysisError(
            f"another csptrace compact is writing into {folder}; wait for its end"
        ) from error
    try:
        with os.scandir(folder) as entries:
            left = [one.path for one in entries if one.name.startswith(_WAITING)]
        for one in left:
            _remove_waiting(one)
        yield
    finally:
        lock.release()


def _remove_waiting(folder: str) -> None:
    """Remove what was not completed, and nothing else that may be there."""
    if not os.path.islink(folder):
        with suppress(OSError):
            os.unlink(os.path.join(folder, _HALF))
        with suppress(OSError):
            os.rmdir(folder)


class _Compactor:
    def __init__(self, spill: str, folder: str, memory: int) -> None:
        self._spill = spill
        self._folder = folder
        self._database = embedded.connect(spill, memory)

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def convert(self, family: Sequence[Log], *, delete: bool, gone: Sequence[str]) -> Compacted:
        """Convert one log."""
        import duckdb  # noqa: PLC0415 - connect() has said what to do if it is missing

        paths = tuple(log.path for log in family)
        bad = next((log for log in family if log.error), None)
        if bad is not None:
            return Compacted(paths, "", 0, False, False, f"{bad.path}: {bad.error}")
        digests = {os.path.basename(log.path): _digest(log) for log in family}
        name = _name(family)
        places = os.path.join(glob.escape(self._folder), "day=*", "machine=*", name)
        known, aside = self._known(sorted(glob.glob(places)))
        fresh = [
            log
            for log in family
            if not any(
                (piece := one.pieces.get(os.path.basename(log.path))) is not None
                and piece.digest == digests[os.path.basename(log.path)]
                for one in known
            )
        ]
        written = bool(fresh) or len(known) > 1
        try:
            if written:
                archive = self._write(fresh, name, digests, known)
            else:
                (archive,) = known
            done = Compacted(
                paths, archive.path, self._events(archive.path), written, False, "", aside
            )
            kept = self._delete(family, archive, gone) if delete else ""
        except duckdb.Error as error:
            raise AnalysisError(f"{paths[0]}: DuckDB: {embedded.first_line(error)}") from error
        return done._replace(deleted=delete and not kept, kept=kept)

    # --- deleting -----------------------------------------------------------------------------

    def _delete(self, family: Sequence[Log], archive: _Archive, gone: Sequence[str]) -> str:
        """Delete a log that is safely converted; return why not."""
        reason = self._would_be_lost(family, archive) or self._may_go_on(family, archive, gone)
        if reason:
            return reason
        paths = [log.path for log in family]
        with writers.held(paths) as free:
            if not free:
                return "a process has it open to write"
            for log in family:
                about = os.stat(log.path)
                if (about.st_size, about.st_mtime_ns) != (log.size, log.mtime):
                    return "it has changed while it was converted"
            for path in paths:
                try:
                    os.unlink(path)
                except PermissionError:
                    if os.name != "nt":
                        raise
                    return "a process has it open"
        for folder in {os.path.dirname(os.path.abspath(path)) for path in paths}:
            flush_folder(folder)
        return ""

    def _would_be_lost(self, family: Sequence[Log], archive: _Archive) -> str:
        """Return what of a log is not in its archive."""
        import duckdb  # noqa: PLC0415 - an extra, there by now

        for log in family:
            piece = archive.pieces[os.path.basename(log.path)]
            if piece.foreign:
                return f"{piece.foreign} lines in it are no events and would be lost"
            if piece.damage:
                return f"a part of it could not be read: {piece.damage}"
            known = ", ".join(map(embedded.literal, questions.COLUMNS))
            # Of events that another version has written, or that another tool has added to.
            try:
                (unknown,) = self._database.execute(
                    "SELECT MIN(name) FROM (SELECT UNNEST(json_keys(json)) AS name FROM "
                    f"{embedded.raw_lines(log.path)}) WHERE name NOT IN ({known})"
                ).fetchone()
            except duckdb.Error as error:
                return f"a part of it could not be read: {embedded.first_line(error)}"
            if unknown is not None:
                return f"it has a field that this version does not know: {unknown}"
        return ""

    def _may_go_on(self, family: Sequence[Log], archive: _Archive, gone: Sequence[str]) -> str:
        """Return why a process may still write to a log."""
        rows = self._database.execute(
            "SELECT MAX(host), MAX(pid), MIN(ts), MIN(mono) FROM "
            f"{parquet_source(archive.path)} WHERE stray IS NULL GROUP BY run "
            "HAVING NOT BOOL_OR(event = 'csptrace.run_ended') ORDER BY ALL"
        ).fetchall()
        host, pid = writers.written_by(os.path.basename(family[0].path))
        for known_host, known_pid, ts, mono in rows:
            reason = writers.may_write(Writer(known_host or host, known_pid or pid, ts, mono), gone)
            if reason:
                return reason
        return "" if self._events(archive.path) else "there is no event in it"

    # --- writing ------------------------------------------------------------------------------

    def _write(
        self,
        fresh: Sequence[Log],
        name: str,
        digests: Mapping[str, str],
        known: Sequence[_Archive],
    ) -> _Archive:
        """Write the archive of what is known and what is new; return it when it is in its place."""
        pieces: dict[str, _Piece] = {}
        for one in known:
            for base, piece in one.pieces.items():
                if base not in pieces or piece.digest == digests.get(base):
                    pieces[base] = piece
        with tempfile.TemporaryDirectory(dir=self._spill) as folder:
            parts = []
            for number, log in enumerate(fresh):
                parts.append(os.path.join(folder, f"{number}.parquet"))
                found = self._piece(log, parts[-1])
                base = os.path.basename(log.path)
                pieces[base] = _Piece(digests[base], found.torn, found.foreign, found.damage)
            # What an archive holds stays in it. Of the rest, what is in none before it comes along.
            sources = [parquet_source(one.path) for one in known]
            sources += [parquet_source(*parts)] if parts else []
            rows = [_events_of(source, sources[:number]) for number, source in enumerate(sources)]
            strays = self._strays(pieces, known)
            if known:
                target = known[0].path
            else:
                first = self._database.execute(
                    f"SELECT MIN(ts), MIN_BY(host, ts) FROM ({rows[0]})"
                ).fetchone()
                place = f"day={_date(first[0])}", f"machine={_host(first[1])}"
                target = os.path.join(self._folder, *place, name)
            rows += [
                f"SELECT {embedded.literal(sort)} AS stray FROM range({times})"
                for sort, times in strays.items()
                if times
            ]
            waiting = tempfile.mkdtemp(prefix=_WAITING, dir=self._folder)
            half = os.path.join(waiting, _HALF)
            try:
                # Rare events first: whoever looks for them need not read the file to its end.
                query = " UNION ALL BY NAME ".join(rows)
                self._copy(f"{query} ORDER BY NOT {embedded.RARE}, run, seq", half, pieces)
                self._check(half, sources)
                _settle(half)
                make_folder(os.path.dirname(target))
                os.replace(half, target)
            finally:
                _remove_waiting(waiting)
        flush_folder(os.path.dirname(target))
        for one in known[1:]:  # what they held is in the first one now
            os.unlink(one.path)
        return _Archive(target, pieces)

    def _strays(self, pieces: Mapping[str, _Piece], known: Sequence[_Archive]) -> Mapping[str, int]:
        """Return how many rows of each sort stand for what was no event; never fewer than before.

        A file that was compressed meanwhile is the same file.
        """
        counts: dict[tuple[str, str], int] = {}
        for base, piece in pieces.items():
            plain = re.sub(r"\.(gz|zst)$", "", base)
            damage = {f"damage: {piece.damage}": 1} if piece.damage else {}
            for sort, times in {"torn": piece.torn, "foreign": piece.foreign, **damage}.items():
                place = sort, "" if sort in damage else plain
                counts[place] = max(counts.get(place, 0), times)
        total: dict[str, int] = {}
        for (sort, _), times in counts.items():
            total[sort] = total.get(sort, 0) + times
        for one in known:
            for sort, times in self._database.execute(
                f"SELECT stray, COUNT(*) FROM {parquet_source(one.path)} "
                "WHERE stray IS NOT NULL GROUP BY stray"
            ).fetchall():
                total[sort] = max(total.get(sort, 0), times)
        return total

    def _check(self, half: str, sources: Sequence[str]) -> None:
        """See to it that a new archive holds every event of what it is made from.

        Raises:
            AnalysisError: it does not, so nothing is replaced.
        """
        for source in sources:
            (lost,) = self._database.execute(
                f"SELECT COUNT(*) FROM ({_events_of(source, [parquet_source(half)])})"
            ).fetchone()
            if lost:
                raise AnalysisError(
                    f"{lost} events were not written into {self._folder}; nothing was replaced or "
                    "deleted"
                )

    def _piece(self, log: Log, target: str) -> reading.Strays:
        """Convert one file; return what in it was no event."""
        import duckdb  # noqa: PLC0415 - an extra, there by now

        reason = reading.unreadable(log)
        try:
            if not reason:
                return self._read(log, target)
        except duckdb.OutOfMemoryException:
            reason = embedded.TOO_BIG
        empty = os.path.join(self._spill, "empty.jsonl")
        with open(empty, "wb"):
            pass
        self._copy(_rows(empty), target)
        return reading.Strays(0, 0, reason)

    def _read(self, log: Log, target: str) -> reading.Strays:
        try:
            self._copy(_rows(log.path), target)
            (count,) = self._database.execute(
                f"SELECT COUNT(*) FROM {parquet_source(target)} WHERE stray IS NOT NULL"
            ).fetchone()
            if not count and not reading.is_cut_off(log):
                return reading.Strays(0, 0, "")
            known = reading.inspect(log, count)
            if known.torn + known.foreign == count:
                return known
        except embedded.unreadable_lines():
            pass
        copy = os.path.join(self._spill, "salvaged.jsonl")
        with open(copy, "wb") as file:
            known = reading.salvage(log, file)
        self._copy(_rows(copy), target)
        os.unlink(copy)
        return known

    def _copy(self, query: str, target: str, pieces: Mapping[str, _Piece] | None = None) -> None:
        about = "snappy"  # on its way, and read again at once
        if pieces is not None:
            text = orjson.dumps({base: piece._asdict() for base, piece in pieces.items()}).decode()
            about = f"zstd, KV_METADATA {{{_PIECES}: {embedded.literal(text)}}}"
        self._database.execute(
            f"COPY ({query}) TO {embedded.literal(target)} (FORMAT parquet, COMPRESSION {about})"
        )

    # --- reading back -------------------------------------------------------------------------

    def _known(self, paths: Sequence[str]) -> tuple[list[_Archive], str]:
        """Return the archives at some places, and where one went that cannot be read any more."""
        known, aside = [], ""
        for path in paths:
            pieces = self._pieces(path)
            if pieces is None:
                # Somebody may still get something out of it, so it is not replaced.
                aside = _free_name(path + _DAMAGED)
                os.rename(path, aside)
            else:
                known.append(_Archive(path, pieces))
        return known, aside

    def _pieces(self, path: str) -> dict[str, _Piece] | None:
        """Return what an archive was made from, `None` if it cannot be read."""
        import duckdb  # noqa: PLC0415 - an extra, there by now

        name = embedded.literal(embedded.escaped(path))
        name = embedded.literal(embedded.escaped(path))
        try:
            row = self._database.execute(
                f"SELECT value FROM parquet_kv_metadata({name}) WHERE key = '{_PIECES}'"
            ).fetchone()
            # Every column of every row, since damage may be anywhere.
            self._database.execute(
                f"SELECT BIT_XOR(HASH(one)), COUNT(stray) FROM {parquet_source(path)} AS one"
            )
            if row is None:
                return {}  # an older version has made it
            return {base: _Piece(**piece) for base, piece in orjson.loads(bytes(row[0])).items()}
        except (duckdb.Error, ValueError, TypeError, AttributeError):
            return None

    def _events(self, target: str) -> int:
        (events,) = self._database.execute(
            f"SELECT COUNT(*) FROM {parquet_source(target)} WHERE stray IS NULL"
        ).fetchone()
        return int(events)


def _events_of(source: str, others: Sequence[str] = ()) -> str:
    """Return the SQL of the events in a source that are in none of some others."""
    query = f"(SELECT * FROM {source} WHERE stray IS NULL) AS mine"
    for number, other in enumerate(others):
        query += (
            f" ANTI JOIN (SELECT run, seq FROM {other} WHERE stray IS NULL) AS other{number} "
            "USING (run, seq)"
        )
    return f"SELECT * FROM {query}"


def _settle(path: str) -> None:
    """Make a file private, and have the system write it out."""
    os.chmod(path, PRIVATE_FILE)
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _free_name(path: str) -> str:
    """Return a path that nobody uses."""
    number, free = 1, path
    while os.path.lexists(free):
        number += 1
        free = f"{path}-{number}"
    return free


def _rows(path: str) -> str:
    """Return the SQL of a log's rows: every field, and `stray` where a line is no event."""
    lines = embedded.all_lines(path)
    fields = ", ".join(
        f'CASE WHEN fits THEN "{name}" END AS "{name}"' for name in questions.COLUMNS
    )
    return (
        f"SELECT {fields}, CASE WHEN NOT fits THEN 'foreign' END AS stray "
        f"FROM (SELECT *, {lines.fits} AS fits FROM {lines.source})"
    )


def _digest(log: Log) -> str:
    with open(log.path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _name(family: Sequence[Log]) -> str:
    """Return the name of the Parquet file of a log, the same one every time."""
    folder, name = os.path.split(os.path.realpath(family[0].path))
    stem = re.sub(r"(\.\d+)?\.(jsonl|ndjson)(\.gz|\.zst)?$", "", name)
    text = os.path.join(folder, stem).encode("utf-8", "surrogateescape")
    safe = re.sub(r"[^A-Za-z0-9._-]", "-", stem).lstrip(".") or "log"
    return f"{safe}-{hashlib.sha256(text).hexdigest()[:8]}.parquet"


def _date(ts: int | None) -> str:
    if ts is None:
        return "unknown"
    moment = datetime.fromtimestamp(min(ts, 250_000_000_000 * 10**9) / 1e9, tz=UTC)
    return moment.date().isoformat()


def _host(host: str | None) -> str:
    return re.sub(r"[^A-Za-z0-9.-]", "-", host or "").strip(".") or "unknown"
