"""Logs as partitioned Parquet: a thirtieth of the size, and twice as fast to analyse.

Every log becomes one archive, `day=…/machine=…/<name>-<hash>.parquet`: day (UTC) and machine are
those of its first event, the hash is that of the log's folder. Every field of every event is in
it, and what was no event is counted in it.

An archive only grows. It knows the digest of each file that it was made from, and what read it, so
that doing it again does nothing; of a log that has grown, or of which pieces have been cleaned
away, the events that are new are added to those it holds. The new archive takes the place of the
old one when it is complete and holds every event of the old one; at whatever moment the process is
killed, one of the two is there. Nothing else is ever deleted, but a log, if that is asked for.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson

from csptrace.analysis import embedded, queries, reading, writers
from csptrace.analysis.embedded import parquet_source
from csptrace.analysis.writers import Writer
from csptrace.errors import AnalysisError, MissingExtraError
from csptrace.events.schema import LONGEST_LINE
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
_DAY: Final = re.compile(r"day=(?:\d+-\d\d-\d\d|unknown)")
_READER: Final = hashlib.sha256(
    orjson.dumps([queries.COLUMNS, embedded.CONTRACT, LONGEST_LINE])
).hexdigest()[:16]
"""Changes with what a log's lines become."""
_IDENTITY: Final = ("run", "seq", "event", "ts", "mono", "pid")
"""What tells events apart: a process that was forked behind Python's back goes on with the numbers
of its parent."""


class _Piece(NamedTuple):
    """What an archive knows of one file that it was made from.

    Attributes:
        digest: of its content; empty if it changed while it was converted.
        reader: of what read it: the fields that were asked for, and what made a line an event.
        torn: lines of it whose end was never written.
        foreign: other lines of it that are no events.
        damage: why it could not be read to its end; empty if it could.
    """

    digest: str
    reader: str
    torn: int
    foreign: int
    damage: str

    @property
    def strays(self) -> reading.Strays:
        """What in the file was no event."""
        return reading.Strays(self.torn, self.foreign, self.damage)


class _Archive(NamedTuple):
    """A Parquet file of ours: where it is, and what it was made from, by file name."""

    path: str
    pieces: Mapping[str, _Piece]

    @property
    def is_current(self) -> bool:
        """Whether all of it was read as logs are read now."""
        return all(piece.reader == _READER for piece in self.pieces.values())


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
        strays: what in the log is no event.
    """

    paths: tuple[str, ...]
    target: str
    events: int
    written: bool
    deleted: bool
    kept: str
    aside: str = ""
    strays: reading.Strays = reading.Strays(0, 0, "")


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
            more: every run in it has ended, or its process is no longer there. What only a link
            leads to, out of `names`, is left where it is.
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
    if not logs:
        raise AnalysisError("there is nothing to convert; Parquet files are left alone")
    done = []
    with tempfile.TemporaryDirectory(prefix="csptrace-") as spill:
        folder = os.path.abspath(folder)
        compactor = _Compactor(spill, folder, memory, names)
        try:
            with embedded.interruptible(), _alone_in(folder):
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
    def __init__(self, spill: str, folder: str, memory: int, names: Sequence[str]) -> None:
        self._spill = spill
        self._folder = folder
        self._names = names
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
        try:
            taken = {log.path: _Content.of(log.path) for log in family}
        except OSError as error:
            reason = f"cannot be read: {error.filename}: {error.strerror or error}"
            return Compacted(paths, "", 0, False, False, reason)
        name = _name(family)
        try:
            known, damaged = self._known(name)
            fresh = [log for log in family if not _is_known(log, taken[log.path], known)]
            archive = known
            aside = ""
            if known is None or fresh:
                archive, aside = self._write(fresh, name, taken, known, damaged)
            assert archive is not None  # noqa: S101 - for the type checker
            events = self._events(archive.path)
            found = [archive.pieces[os.path.basename(log.path)].strays for log in family]
            strays = reading.Strays(
                sum(one.torn for one in found),
                sum(one.foreign for one in found),
                next((one.damage for one in found if one.damage), ""),
            )
            written = archive is not known
            done = Compacted(paths, archive.path, events, written, False, "", aside, strays)
            kept = self._delete(family, taken, archive, gone) if delete else ""
        except duckdb.Error as error:
            raise AnalysisError(f"{paths[0]}: DuckDB: {embedded.first_line(error)}") from error
        return done._replace(deleted=delete and not kept, kept=kept)

    # --- deleting -----------------------------------------------------------------------------

    def _delete(
        self,
        family: Sequence[Log],
        taken: Mapping[str, _Content],
        archive: _Archive,
        gone: Sequence[str],
    ) -> str:
        """Delete a log that is safely converted; return why not."""
        paths = [log.path for log in family]
        if any(map(os.path.islink, paths)):
            return "it is a link"
        if not all(reading.lies_within(path, self._names) for path in paths):
            return "a link leads to it, out of what was named"
        reason = self._would_be_lost(family, archive) or self._may_go_on(family, archive, gone)
        if reason:
            return reason
        with writers.held(paths) as free:
            if not free:
                return "a process has it open to write"
            if not all(content.is_still_in(path) for path, content in taken.items()):
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
            if not piece.digest:
                return "it has changed while it was converted"
            if piece.damage:
                return f"a part of it could not be read: {piece.damage}"
            if piece.foreign:
                return f"{piece.foreign} lines in it are no events and would be lost"
            if piece.torn and not (piece.torn == 1 and reading.ends_torn(log)):
                return f"{piece.torn} lines in the middle of it are torn and would be lost"
            # Of events that another version has written, or that another tool has added to; and
            # values that a column does not take.
            try:
                odd = self._database.execute(_ODD_FIELDS.format(embedded.raw_lines(log.path)))
                (field,) = odd.fetchone()
            except duckdb.Error as error:
                return f"a part of it could not be read: {embedded.first_line(error)}"
            if field is not None:
                return f"it has a field that this version does not know, or not so: {field}"
        return ""

    def _may_go_on(self, family: Sequence[Log], archive: _Archive, gone: Sequence[str]) -> str:
        """Return why a process may still write to a log."""
        rows = self._database.execute(
            "SELECT MAX(host), MAX(pid), MIN(ts), MIN(mono), MAX(pid_namespace) FROM "
            f"{parquet_source(archive.path)} WHERE stray IS NULL GROUP BY run "
            "HAVING NOT BOOL_OR(event = 'csptrace.run_ended') ORDER BY ALL"
        ).fetchall()
        host, pid = writers.written_by(os.path.basename(family[0].path))
        for known_host, known_pid, ts, mono, namespace in rows:
            writer = Writer(known_host or host, known_pid or pid, ts, mono, namespace or "")
            reason = writers.may_write(writer, gone)
            if reason:
                return reason
        return "" if self._events(archive.path) else "there is no event in it"

    # --- writing ------------------------------------------------------------------------------

    def _write(
        self,
        fresh: Sequence[Log],
        name: str,
        taken: Mapping[str, _Content],
        known: _Archive | None,
        damaged: str,
    ) -> tuple[_Archive, str]:
        """Write the archive of what is known and what is new.

        Returns:
            The archive, in its place, and where a damaged one that was there has gone.
        """
        pieces = dict(known.pieces) if known is not None else {}
        aside = ""
        with tempfile.TemporaryDirectory(dir=self._spill) as folder:
            parts = []
            for number, log in enumerate(fresh):
                parts.append(os.path.join(folder, f"{number}.parquet"))
                found = self._piece(log, parts[-1])
                content = taken[log.path]
                digest = content.digest if content.is_still_in(log.path) else ""
                pieces[os.path.basename(log.path)] = _Piece(digest, _READER, *found)
            sources = [parquet_source(*parts)]
            if known is not None:
                # What an archive holds stays in it as it is; but what an older version has read
                # may have more in it now.
                sources.insert(0 if known.is_current else 1, parquet_source(known.path))
            rows = [_events_of(source, sources[:number]) for number, source in enumerate(sources)]
            strays = self._strays(pieces, known)
            if known is not None:
                target = known.path
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
                if damaged == target:
                    # Somebody may still get something out of it, so it is not replaced.
                    aside = _free_name(damaged + _DAMAGED)
                    os.rename(damaged, aside)
                os.replace(half, target)
            finally:
                _remove_waiting(waiting)
        day = os.path.dirname(os.path.dirname(target))
        for changed in (os.path.dirname(target), day, self._folder):
            flush_folder(changed)
        return _Archive(target, pieces), aside

    def _strays(self, pieces: Mapping[str, _Piece], known: _Archive | None) -> Mapping[str, int]:
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
        if known is not None and known.is_current:
            for sort, times in self._database.execute(
                f"SELECT stray, COUNT(*) FROM {parquet_source(known.path)} "
                "WHERE stray IS NOT NULL AND NOT starts_with(stray, 'damage') GROUP BY stray"
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

    def _known(self, name: str) -> tuple[_Archive | None, str]:
        """Return the archive of this name, and one in a place of ours that cannot be read any more.

        Of several (somebody has copied one) it is the one with the most events; the others are left
        alone, and what they hold counts once in every report.

        Raises:
            OSError: there is one that may not be read.
        """
        found: list[tuple[int, str, _Archive]] = []
        damaged = ""
        for path in self._places(name):
            with open(path, "rb"):
                pass
            pieces = self._pieces(path)
            if pieces is None:
                damaged = path
            else:
                found.append((self._events(path), path, _Archive(path, pieces)))
        if found:
            return max(found)[2], ""
        return None, damaged

    def _places(self, name: str) -> Iterator[str]:
        """Yield where there are archives of a name: in folders of ours, links left out."""
        for day in sorted(_folders_in(self._folder)):
            if _DAY.fullmatch(os.path.basename(day)):
                for machine in sorted(_folders_in(day)):
                    path = os.path.join(machine, name)
                    if os.path.basename(machine).startswith("machine=") and os.path.isfile(path):
                        yield path

    def _pieces(self, path: str) -> dict[str, _Piece] | None:
        """Return what an archive was made from, `None` if it is damaged."""
        import duckdb  # noqa: PLC0415 - an extra, there by now

        name = embedded.literal(embedded.escaped(path))
        try:
            row = self._database.execute(
                f"SELECT value FROM parquet_kv_metadata({name}) WHERE key = '{_PIECES}'"
            ).fetchone()
            # Every column of every row, since damage may be anywhere.
            self._database.execute(
                f"SELECT BIT_XOR(HASH(one)), COUNT(stray) FROM {parquet_source(path)} AS one"
            )
        except duckdb.OutOfMemoryException:
            raise
        except duckdb.Error:
            return None
        try:
            known = orjson.loads(bytes(row[0])) if row is not None else {}
            return {base: _Piece(**piece) for base, piece in known.items()}
        except (ValueError, TypeError, AttributeError):
            return {"": _Piece("", "", 0, 0, "")}  # another version has made it

    def _events(self, target: str) -> int:
        (events,) = self._database.execute(
            f"SELECT COUNT(*) FROM {parquet_source(target)} WHERE stray IS NULL"
        ).fetchone()
        return int(events)


class _Content(NamedTuple):
    """What is in a file, and by what one sees that it still is."""

    digest: str
    about: tuple[int, ...]

    @classmethod
    def of(cls, path: str) -> _Content:
        """Return what is in a file now."""
        about = _about(path)
        with open(path, "rb") as file:
            return cls(hashlib.file_digest(file, "sha256").hexdigest(), about)

    def is_still_in(self, path: str) -> bool:
        """Return whether a file was not changed since."""
        try:
            return _about(path) == self.about
        except OSError:
            return False


def _about(path: str) -> tuple[int, ...]:
    found = os.stat(path)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _is_known(log: Log, content: _Content, known: _Archive | None) -> bool:
    """Return whether a file is in an archive, read to its end as it would be read now."""
    piece = known.pieces.get(os.path.basename(log.path)) if known is not None else None
    return (
        piece is not None
        and piece.digest == content.digest
        and piece.reader == _READER
        and not piece.damage
    )


def _folders_in(folder: str) -> list[str]:
    with os.scandir(folder) as entries:
        return [one.path for one in entries if one.is_dir(follow_symlinks=False)]


def _events_of(source: str, others: Sequence[str] = ()) -> str:
    """Return the SQL of the events in a source that are in none of some others."""
    query = f"(SELECT * FROM {source} WHERE stray IS NULL) AS mine"
    for number, other in enumerate(others):
        same = " AND ".join(
            f"mine.{name} IS NOT DISTINCT FROM other{number}.{name}" for name in _IDENTITY
        )
        query += (
            f" ANTI JOIN (SELECT * FROM {other} WHERE stray IS NULL) AS other{number} ON {same}"
        )
    return f"SELECT * FROM {query}"


_SORTS: Final = {
    "BIGINT": ("BIGINT", "UBIGINT"),
    "BOOLEAN": ("BOOLEAN",),
    "VARCHAR": ("VARCHAR", "ARRAY", "OBJECT"),
}
"""Column type → what may stand in a line for it, as DuckDB's `json_type` names it."""
_ODD_FIELDS: Final = (
    "SELECT MIN(name) FROM (SELECT json, UNNEST(json_keys(json)) AS name FROM {}) WHERE CASE "
    + " ".join(
        f"WHEN name = {embedded.literal(name)} THEN json_type(json, '$.\"{name}\"') NOT IN "
        f"('NULL', {', '.join(map(embedded.literal, _SORTS[sort]))})"
        for name, sort in queries.COLUMNS.items()
    )
    + " ELSE TRUE END OR len(list_filter(json_keys(json), lambda one: one = name)) > 1"
)


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
    fields = ", ".join(f'CASE WHEN fits THEN "{name}" END AS "{name}"' for name in queries.COLUMNS)
    return (
        f"SELECT {fields}, CASE WHEN NOT fits THEN 'foreign' END AS stray "
        f"FROM (SELECT *, {lines.fits} AS fits FROM {lines.source})"
    )


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
