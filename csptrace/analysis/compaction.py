"""Logs as partitioned Parquet: a twentieth of the size, and twice as fast to analyse.

Every log becomes one file, `day=…/machine=…/<name>-<hash>.parquet`: day (UTC) and machine are those
of its first event, the hash is that of the log's folder. The file knows the digest of the log that
it was made from, so that doing it again does nothing, and a log that has grown replaces its older
file.
Nothing is lost: every field of every event is in it, and what was no event is counted in it.
"""

from __future__ import annotations

import glob
import hashlib
import os
import re
import tempfile
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from csptrace.analysis import embedded, questions, reading
from csptrace.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from csptrace.analysis.reading import Log

__all__ = ["Compacted", "compact"]

_DIGEST: Final = "csptrace_digest"
_QUIET: Final = 24 * 3600
"""Seconds after which a run that never said that it ended is taken for a killed one."""


class Compacted(NamedTuple):
    """What became of one log.

    Attributes:
        paths: the log's files; several if it was rotated.
        target: the Parquet file, empty if there is none.
        events: how many events it holds.
        written: whether it was written now; false if it was there already.
        deleted: whether the log was deleted.
        kept: why the log was not deleted although that was asked for, or why nothing was written.
    """

    paths: tuple[str, ...]
    target: str
    events: int
    written: bool
    deleted: bool
    kept: str


def compact(
    names: Sequence[str],
    folder: str,
    *,
    delete: bool = False,
    memory: int = 1_000_000_000,
    tell: Callable[[Compacted], None] = lambda _done: None,
) -> list[Compacted]:
    """Convert logs to Parquet.

    Args:
        names: files, folders and patterns; Parquet files among them are left alone.
        folder: where the Parquet files go; made if it does not exist.
        delete: delete each log that is finished once it is safely converted.
        memory: how many bytes may be used.
        tell: is told of each log when it is done.

    Returns:
        What became of each log.

    Raises:
        AnalysisError: no such logs, or the folder cannot be written.
        MissingExtraError: DuckDB is not installed.
    """
    logs = [log for log in reading.find(names) if log.form != "parquet"]
    done = []
    with tempfile.TemporaryDirectory(prefix="csptrace-") as spill:
        compactor = _Compactor(spill, folder, memory)
        try:
            for family in reading.families(logs):
                done.append(compactor.convert(family, delete=delete))
                tell(done[-1])
        except OSError as error:
            name = error.filename or folder
            raise AnalysisError(f"cannot write {name}: {error.strerror or error}") from error
        finally:
            compactor.close()
    return done


class _Compactor:
    def __init__(self, spill: str, folder: str, memory: int) -> None:
        self._spill = spill
        self._folder = folder
        self._database = embedded.connect(spill, memory)

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def convert(self, family: Sequence[Log], *, delete: bool) -> Compacted:
        """Convert one log."""
        import duckdb  # noqa: PLC0415 - connect() has said what to do if it is missing

        paths = tuple(log.path for log in family)
        bad = next((log for log in family if log.error), None)
        if bad is not None:
            return Compacted(paths, "", 0, False, False, f"{bad.path}: {bad.error}")
        digest = _digest(family)
        name = _name(family)
        places = os.path.join(glob.escape(self._folder), "day=*", "machine=*", name)
        known = glob.glob(places)
        for target in known:
            if self._known_digest(target) == digest:
                done = Compacted(paths, target, self._events(target), False, False, "")
                break
        else:
            try:
                target, events = self._write(family, name, digest)
            except duckdb.Error as error:
                raise AnalysisError(f"{paths[0]}: DuckDB: {embedded.first_line(error)}") from error
            for old in known:
                if old != target:
                    os.unlink(old)
            done = Compacted(paths, target, events, True, False, "")
        if not delete:
            return done
        kept = self._delete(family, done.target)
        return done._replace(deleted=not kept, kept=kept)

    def _delete(self, family: Sequence[Log], target: str) -> str:
        """Delete a log that is safely converted; return why not."""
        if not self._is_finished(target) and any(
            time.time() - log.mtime / 1e9 < _QUIET for log in family
        ):
            return "a run in it has not ended, and it was written to within the last day"
        for log in family:
            about = os.stat(log.path)
            if (about.st_size, about.st_mtime_ns) != (log.size, log.mtime):
                return "it has changed while it was converted"
        for log in family:
            os.unlink(log.path)
        return ""

    # --- writing ------------------------------------------------------------------------------

    def _write(self, family: Sequence[Log], name: str, digest: str) -> tuple[str, int]:
        with tempfile.TemporaryDirectory(dir=self._spill) as folder:
            pieces = []
            strays: list[tuple[str, int]] = []
            for number, log in enumerate(family):
                piece = os.path.join(folder, f"{number}.parquet")
                strays += self._piece(log, piece)
                pieces.append(piece)
            source = f"read_parquet([{', '.join(map(embedded.literal, pieces))}])"
            first = self._database.execute(
                f"SELECT MIN(ts), MIN_BY(host, ts) FROM {source} WHERE stray IS NULL"
            ).fetchone()
            place = os.path.join(
                self._folder, f"day={_date(first[0])}", f"machine={_host(first[1])}"
            )
            os.makedirs(place, exist_ok=True)
            target = os.path.join(place, name)
            # Half-written files begin with a dot, which no analysis reads.
            waiting = os.path.join(place, f".{os.getpid()}-{name}")
            rows = " UNION ALL BY NAME ".join(
                (
                    f"SELECT * FROM {source} WHERE stray IS NULL",
                    *(
                        f"SELECT {embedded.literal(sort)} AS stray FROM range({times})"
                        for sort, times in strays
                        if times
                    ),
                )
            )
            try:
                # Rare events first: whoever looks for them need not read the file to its end.
                self._copy(f"{rows} ORDER BY NOT {embedded.RARE}, run, seq", waiting, digest)
                os.replace(waiting, target)
            finally:
                if os.path.exists(waiting):
                    os.unlink(waiting)
        return target, self._events(target)

    def _piece(self, log: Log, target: str) -> list[tuple[str, int]]:
        """Convert one file; return what in it was no event, and how often."""
        import duckdb  # noqa: PLC0415 - an extra, there by now

        known: reading.Strays | None = None
        try:
            self._copy(_rows(log.path), target, "")
        except (duckdb.InvalidInputException, duckdb.IOException, duckdb.ConversionException):
            copy = os.path.join(self._spill, "salvaged.jsonl")
            with open(copy, "wb") as file:
                known = reading.salvage(log, file)
            self._copy(_rows(copy), target, "")
            os.unlink(copy)
        (count,) = self._database.execute(
            f"SELECT COUNT(*) FROM read_parquet({embedded.literal(target)}) WHERE stray IS NOT NULL"
        ).fetchone()
        if known is None and (count or reading.is_cut_off(log)):
            known = reading.inspect(log, count)
        if known is None:
            return []
        damage = [(f"damage: {known.damage}", 1)] if known.damage else []
        return [("torn", known.torn), ("foreign", known.foreign), *damage]

    def _copy(self, query: str, target: str, digest: str) -> None:
        # A file without a digest is only on its way, and read again at once.
        about = f"zstd, KV_METADATA {{{_DIGEST}: '{digest}'}}" if digest else "snappy"
        self._database.execute(
            f"COPY ({query}) TO {embedded.literal(target)} (FORMAT parquet, COMPRESSION {about})"
        )

    # --- reading back -------------------------------------------------------------------------

    def _known_digest(self, target: str) -> str:
        import duckdb  # noqa: PLC0415 - an extra, there by now

        try:
            row = self._database.execute(
                f"SELECT value FROM parquet_kv_metadata({embedded.literal(target)}) "
                f"WHERE key = '{_DIGEST}'"
            ).fetchone()
        except duckdb.Error:
            return ""  # damaged: it is written again
        return "" if row is None else bytes(row[0]).decode("ascii", "replace")

    def _events(self, target: str) -> int:
        (events,) = self._database.execute(
            f"SELECT COUNT(*) FROM read_parquet({embedded.literal(target)}) WHERE stray IS NULL"
        ).fetchone()
        return int(events)

    def _is_finished(self, target: str) -> bool:
        row = self._database.execute(
            "SELECT COUNT(DISTINCT run) = COUNT(DISTINCT CASE WHEN event = 'csptrace.run_ended' "
            f"THEN run END) FROM read_parquet({embedded.literal(target)}) WHERE stray IS NULL"
        ).fetchone()
        return bool(row[0])


def _rows(path: str) -> str:
    """Return the SQL of a log's rows: every field, and `stray` where a line is no event."""
    fields = ", ".join(
        f'CASE WHEN {embedded.IS_EVENT} THEN "{name}" END AS "{name}"' for name in questions.COLUMNS
    )
    return (
        f"SELECT {fields}, CASE WHEN NOT COALESCE({embedded.IS_EVENT}, FALSE) THEN 'foreign' END "
        f"AS stray FROM {embedded.json_source(path, questions.COLUMNS)}"
    )


def _digest(family: Sequence[Log]) -> str:
    digest = hashlib.sha256()
    for log in family:
        with open(log.path, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


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
