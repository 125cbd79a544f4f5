"""The embedded engine: DuckDB, in this process.

Logs are read in batches, one after another into memory, never all at once: a batch holds whole
logs, and its partial answer is written to a folder. In the end the partial answers are put
together. So the memory that is needed is that of the largest batch, however many there are.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections import Counter, defaultdict
from concurrent.futures import FIRST_COMPLETED, CancelledError, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from csptrace import forks
from csptrace.analysis import assembly, contract, queries, reading
from csptrace.analysis.enum_types import EnumTypes, in_sample
from csptrace.analysis.results import Source
from csptrace.errors import AnalysisError, MissingExtraError
from csptrace.events.schema import LONGEST_LINE, READABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from csptrace.analysis.cache import Cache
    from csptrace.analysis.reading import Log
    from csptrace.analysis.results import Report

__all__ = [
    "CONTRACT",
    "RARE",
    "TOO_BIG",
    "Progress",
    "Rows",
    "all_lines",
    "analyse",
    "connect",
    "escaped",
    "first_line",
    "interruptible",
    "json_lines",
    "json_source",
    "literal",
    "parquet_source",
    "raw_lines",
    "stored",
    "unreadable_lines",
]

_BATCH: Final = 48 << 20
"""Small logs are read together until they have this many bytes (of Parquet: a tenth)."""
_JOBS: Final = 2
_SILENT: Final = "SET enable_progress_bar = true; SET enable_progress_bar_print = false"
"""DuckDB draws a bar on stdout during long queries, and each cursor has to be told not to."""
_TICK: Final = 0.5
"""How often, in seconds, it is asked how far a big file has been read."""
_SOON: Final = 0.02
"""Seconds after which a job that is to end is interrupted again."""
_LOADING: Final = 0.7
"""How much of the time of a big file its reading takes; the rest are the answers."""
_SOURCES: Final = "sources.json"
_DAMAGE: Final = "damage: "
TOO_BIG: Final = "it does not fit into the memory that is allowed: see --memory-limit"
"""Why a log was not read."""
_LEAST_MEMORY: Final = 128 << 20
_THREAD_MEMORY: Final = 100 << 20
"""What a thread that reads JSON needs; with more threads than memory they would only wait."""


class Progress(NamedTuple):
    """How far an analysis has come.

    Attributes:
        files: files done.
        of_files: files in all.
        size: bytes done.
        of_size: bytes in all.
        events: events read so far; those of cached partial answers count.
    """

    files: int
    of_files: int
    size: int
    of_size: int
    events: int


class Batch(NamedTuple):
    """Logs that are read together: no run of theirs is in another batch."""

    logs: tuple[Log, ...]

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(log.size for log in self.logs)


def analyse(
    logs: Sequence[Log],
    *,
    run: str = "",
    memory: int = 1 << 30,
    cache: Cache | None = None,
    progress: Callable[[Progress], None] = lambda _progress: None,
) -> Report:
    """Answer every question.

    Args:
        logs: the files.
        run: whose handle graph is wanted; of the run with the most findings if empty.
        memory: how many bytes may be used.
        cache: keeps partial answers for next time; `None` keeps none.
        progress: is told how far it has come.

    Returns:
        The report.

    Raises:
        AnalysisError: the engine has failed, or `run` is in none of the logs.
        MissingExtraError: DuckDB is not installed.
    """
    with tempfile.TemporaryDirectory(prefix="csptrace-") as folder:
        analysis = _Analysis(folder, run, memory, cache, progress, logs)
        try:
            with interruptible():
                return analysis.report()
        except analysis.failures as error:
            raise AnalysisError(f"DuckDB: {first_line(error)}") from error
        except OSError as error:
            name = error.filename or folder
            raise AnalysisError(f"{name}: {error.strerror or error}") from error
        finally:
            analysis.close()


@contextmanager
def interruptible() -> Iterator[None]:
    """Let a Ctrl-C during a query of the main thread be one.

    Yields:
        Nothing.

    Raises:
        KeyboardInterrupt: in place of the `RuntimeError` that DuckDB makes of it.
    """
    try:
        yield
    except RuntimeError as error:
        if "nterrupt" in str(error):
            raise KeyboardInterrupt from error
        raise


def connect(folder: str, memory: int) -> Any:
    """Open a database in memory.

    Args:
        folder: where what does not fit into memory goes.
        memory: how many bytes the process may use.

    Returns:
        The connection.

    Raises:
        MissingExtraError: DuckDB is not installed.
    """
    try:
        import duckdb  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise MissingExtraError(
            "the analysis of logs needs DuckDB: pip install 'csptrace[report]'"
        ) from error
    # What the process itself and the readers of files take lies outside of DuckDB's limit.
    share = max(_LEAST_MEMORY, int(memory * 0.7))
    database = duckdb.connect(
        ":memory:",
        config={
            "memory_limit": f"{share // 1_000_000}MB",
            "temp_directory": os.path.join(folder, "spill"),
            "threads": max(1, min(os.cpu_count() or 1, share // _THREAD_MEMORY)),
            "preserve_insertion_order": False,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        },
    )
    database.execute(_SILENT)
    return database


def literal(text: str) -> str:
    """Return a text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def first_line(error: BaseException) -> str:
    """Return what an error says, without the query that DuckDB adds."""
    return str(error).strip().partition("\n")[0]


class _Analysis:
    def __init__(
        self,
        folder: str,
        run: str,
        memory: int,
        cache: Cache | None,
        progress: Callable[[Progress], None],
        logs: Sequence[Log],
    ) -> None:
        self._folder = folder
        self._run = run
        self._database = connect(folder, memory)
        import duckdb  # noqa: PLC0415 - connect() has said what to do if it is missing

        self.failures = (duckdb.Error,)
        (self._threads,) = self._database.execute("SELECT current_setting('threads')").fetchone()
        self._cache = cache
        self._progress = progress
        self._logs = logs
        self._done = Counter[str]()
        self._cursors: dict[Any, tuple[Batch, float]] = {}
        self._over = False
        self._lock = forks.lock()

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    # --- batches ------------------------------------------------------------------------------

    def report(self) -> Report:
        """Answer every question."""
        sources = [
            Source(
                path=log.path,
                events=0,
                torn=0,
                foreign=0,
                other_schema=(),
                unreadable=log.error,
            )
            for log in self._logs
            if log.error
        ]
        answers = self._all([Batch(logs) for logs in _batches(self._logs)])
        shared = self._shared(answers)
        if shared:
            apart = [batch for batch in answers if batch not in shared]
            whole = [
                Batch(tuple(log for batch in group for log in batch.logs))
                for group in _connected(shared)
            ]
            answers = {batch: answers[batch] for batch in apart} | self._all(whole)
        for batch, folder in answers.items():
            with open(os.path.join(folder, _SOURCES), "rb") as file:
                for log, found in zip(batch.logs, orjson.loads(file.read()), strict=True):
                    found["other_schema"] = tuple(map(tuple, found["other_schema"]))
                    sources.append(Source(path=log.path, **found))
        return assembly.report(self._merge(list(answers.values())), sources)

    def _all(self, batches: list[Batch]) -> dict[Batch, str]:
        """Return the folder of each batch's partial answer; several batches are read at once."""
        answers: dict[Batch, str] = {}
        jobs = min(_JOBS, self._threads)  # of which each needs the memory of one
        pool = ThreadPoolExecutor(jobs, "csptrace-report")
        try:
            self._divide(jobs)
            waiting = {pool.submit(self._partial, batch): batch for batch in batches}
            while waiting:
                if len(waiting) < jobs:
                    jobs = len(waiting)
                    self._divide(jobs)
                done, _ = wait(waiting, _TICK, return_when=FIRST_COMPLETED)
                for future in done:
                    batch = waiting.pop(future)
                    answers[batch] = future.result()
                    self._count(batch, answers[batch])
                self._tell()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            self._end_jobs()
            raise
        finally:
            pool.shutdown()
        return {batch: answers[batch] for batch in batches}

    def _end_jobs(self) -> None:
        """Have all jobs end, and wait for it.

        The pool does not know, and so does not wait for, a job during whose submission there was
        a Ctrl-C. What comes between two queries of a job interrupts neither.
        """
        with self._lock:
            self._over = True
        while True:
            with self._lock:
                if not self._cursors:
                    return
                for cursor in self._cursors:
                    cursor.interrupt()
            time.sleep(_SOON)

    def _divide(self, jobs: int) -> None:
        """Divide the processors among jobs, each of which is a thread of its own already.

        With more threads than processors two jobs on two processors took a tenth longer.
        """
        self._database.execute(f"SET threads = {max(1, self._threads - jobs + 1)}")

    def _count(self, batch: Batch, folder: str) -> None:
        with open(os.path.join(folder, _SOURCES), "rb") as file:
            self._done["events"] += sum(found["events"] for found in orjson.loads(file.read()))
        self._done["files"] += len(batch.logs)
        self._done["size"] += batch.size

    def _tell(self) -> None:
        of_size = sum(log.size for log in self._logs)
        # What shares a run with another batch is read twice; nothing is taken back.
        size = min(self._done["size"] + self._halfway(), of_size)
        self._done["told"] = max(self._done["told"], size)
        self._progress(
            Progress(
                min(self._done["files"], len(self._logs)),
                len(self._logs),
                self._done["told"],
                of_size,
                self._done["events"],
            )
        )

    def _halfway(self) -> int:
        """Return how many bytes of the files that are being read count as done."""
        size = 0.0
        with self._lock:
            for cursor, (batch, known) in self._cursors.items():
                # The queries that follow the reading begin at nothing again; -1 is not known.
                share = max(known, min(cursor.query_progress(), 100.0))
                self._cursors[cursor] = batch, share
                if len(batch.logs) == 1:
                    size += batch.size * _LOADING * share / 100
        return int(size)

    def _partial(self, batch: Batch) -> str:
        key = ""
        if self._cache is not None:
            key = self._cache.key(batch.logs, self._run + CONTRACT)
            known = self._cache.get(key)
            if known is not None:
                return known
        folder = tempfile.mkdtemp(prefix="partial-", dir=self._folder)
        with self._lock:
            if self._over:
                raise CancelledError
            cursor = self._database.cursor()
            cursor.execute(_SILENT)
            self._cursors[cursor] = batch, 0.0
        try:
            sources = _Reader(cursor, folder).read(batch.logs)
            with self._lock:
                self._cursors[cursor] = batch, 100.0
            choice = f"run = {literal(self._run)}" if self._run else "TRUE"
            for name, sql in queries.PARTIALS.items():
                text = sql.replace("{choice}", choice)
                cursor.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {text}")
            for name in queries.KEPT:
                target = literal(os.path.join(folder, f"{name}.parquet"))
                cursor.execute(f"COPY {name} TO {target} (FORMAT parquet, COMPRESSION zstd)")
        finally:
            with self._lock:
                cursor.close()
                del self._cursors[cursor]
        with open(os.path.join(folder, _SOURCES), "wb") as file:
            file.write(orjson.dumps(sources))
        # What could not be read now may be readable next time.
        if self._cache is not None and not any(source["unreadable"] for source in sources):
            return self._cache.put(key, folder, batch.logs)
        return folder

    # --- putting together ---------------------------------------------------------------------

    def _shared(self, answers: dict[Batch, str]) -> dict[Batch, set[str]]:
        """Return the batches with a run that another one has, too, and those runs."""
        if len(answers) < 2:
            return {}
        self._union("runs", list(answers.values()), "run, filename")
        rows = self._database.execute(
            "SELECT run, filename FROM runs WHERE run IN "
            "(SELECT run FROM runs GROUP BY run HAVING COUNT(*) > 1)"
        ).fetchall()
        runs = defaultdict(set)
        for run, path in rows:
            runs[os.path.dirname(path)].add(run)
        return {batch: runs[folder] for batch, folder in answers.items() if folder in runs}

    def _union(self, name: str, folders: list[str], columns: str = "*") -> None:
        files = (os.path.join(escaped(folder), f"{name}.parquet") for folder in folders)
        paths = ", ".join(map(literal, files))
        self._database.execute(
            f"CREATE OR REPLACE TEMP VIEW {name} AS "
            f"SELECT {columns} FROM read_parquet([{paths}], filename = {columns != '*'})"
        )

    def _merge(self, folders: list[str]) -> dict[str, assembly.Rows]:
        if not folders:  # nothing could be read at all
            folders = [self._partial(Batch(()))]
        for name in queries.KEPT:
            self._union(name, folders)
        answers = {}
        for name, sql in queries.MERGES.items():
            result = self._database.execute(sql)
            columns = [about[0] for about in result.description]
            answers[name] = [dict(zip(columns, row, strict=True)) for row in result.fetchall()]
        if self._run and not answers["graph"]:
            known = any(row["run"] == self._run for row in answers["runs"])
            if not known:
                raise AnalysisError(f"no run {self._run!r} in these logs")
        return answers


def _batches(logs: Sequence[Log]) -> Iterator[tuple[Log, ...]]:
    """Put small logs together, the same ones again when logs are added."""
    batch: list[Log] = []
    size = 0
    for family in reading.families(log for log in logs if not log.error):
        for log in family:
            batch.append(log)
            size += log.size * (10 if log.form != "json" else 1)
        # A boundary that depends on the name: an added log changes one batch, not all behind it.
        name = os.path.basename(family[0].path).encode("utf-8", "surrogateescape")
        if size >= _BATCH or hashlib.blake2b(name, digest_size=1).digest()[0] < 4:
            yield tuple(batch)
            batch, size = [], 0
    if batch:
        yield tuple(batch)


def _connected(shared: dict[Batch, set[str]]) -> list[list[Batch]]:
    """Return the batches in groups; each group has runs of its own."""
    groups: list[tuple[list[Batch], set[str]]] = []
    for batch, runs in shared.items():
        joined = [group for group in groups if group[1] & runs]
        groups = [group for group in groups if not group[1] & runs]
        members = [member for group in joined for member in group[0]]
        groups.append(([*members, batch], runs.union(*(group[1] for group in joined))))
    return [members for members, _ in groups]


class _Reader:
    """Reads a batch of logs into the relations that the questions ask."""

    def __init__(self, cursor: Any, folder: str) -> None:
        self._cursor = cursor
        self._folder = folder

    def read(self, logs: Sequence[Log]) -> list[dict[str, Any]]:
        """Make the temporary tables of `queries.INPUTS`; return what each file held."""
        self._begin(logs)
        sources = [self._load(number, log) for number, log in enumerate(logs)]
        self._drop_repeated(sources)
        self._put_aside(logs, sources)
        for name, (event, columns) in queries.INPUTS.items():
            if event is not None:
                chosen = ", ".join(
                    f"{_column(field)} AS {column}" for column, field in columns.items()
                )
                self._cursor.execute(
                    f"CREATE OR REPLACE TEMP TABLE {name} AS "
                    f"SELECT {chosen} FROM sides lines WHERE event = {literal(event)}"
                )
        return sources

    def _put_aside(self, logs: Sequence[Log], sources: list[dict[str, Any]]) -> None:
        """Make `sides`: the rarer events with all that is asked of any of them."""
        fields = ", ".join(map(_quoted, queries.READ))
        self._cursor.execute(
            f"CREATE OR REPLACE TEMP TABLE sides AS SELECT {fields} FROM (SELECT "
            f"{_parsed('side', _SIDE_TYPES)} FROM events WHERE side IS NOT NULL)"
        )
        for number, (log, source) in enumerate(zip(logs, sources, strict=True)):
            if log.form == "parquet" and source["events"]:
                query = (
                    f"SELECT {fields} FROM {_complete(log.path)} WHERE {RARE} AND {_STORED_FITS}"
                )
                if source["repeated"]:
                    query += (
                        f" AND (run, seq) IN (SELECT (run, seq) FROM events WHERE file = {number})"
                    )
                self._cursor.execute(f"INSERT INTO sides BY NAME {query}")

    def _begin(self, logs: Sequence[Log]) -> None:
        self._enum_types = EnumTypes(self._cursor, self._expected(logs))
        # The shape of the table is that of an empty file.
        empty = os.path.join(self._folder, "empty.jsonl")
        with open(empty, "wb"):
            pass
        self._cursor.execute(
            "CREATE OR REPLACE TEMP TABLE events AS "
            f"{self._enum_types.select(_select(json_lines(empty), 0))} LIMIT 0"
        )

    def _expected(self, logs: Sequence[Log]) -> dict[str, set[str]]:
        """Return the symbols that logs seem to have."""
        import duckdb  # noqa: PLC0415 - an extra, there by now

        texts: dict[str, set[str]] = {name: set() for name in queries.ENUMS}
        for log in logs:
            if log.form == "parquet":
                query = " UNION ALL ".join(
                    # With the name inside of the DISTINCT it would take four times as long.
                    f"SELECT '{name}', text FROM "
                    f"(SELECT DISTINCT {name} AS text FROM {parquet_source(log.path)})"
                    for name in texts
                )
                # What is wrong with the file is told when it is read.
                with suppress(duckdb.Error):
                    for name, text in self._cursor.execute(query).fetchall():
                        if text is not None:
                            texts[name].add(text)
            else:
                for name, found in in_sample(log).items():
                    texts[name] |= found
        return texts

    def _load(self, number: int, log: Log) -> dict[str, Any]:
        import duckdb  # noqa: PLC0415 - an extra, there by now

        try:
            if log.form == "parquet":
                return self._insert(number, stored(log.path))
            return self._load_lines(number, log)
        except duckdb.OutOfMemoryException:
            reason = TOO_BIG
        except duckdb.Error as error:
            if log.form != "parquet":
                raise
            reason = f"not a file of csptrace compact: {first_line(error)}"
        self._cursor.execute(f"DELETE FROM events WHERE file = {number}")
        return _source(unreadable=reason)

    def _load_lines(self, number: int, log: Log) -> dict[str, Any]:
        reason = reading.unreadable(log)
        if reason:
            return _source(unreadable=reason)
        try:
            counted = self._insert(number, json_lines(log.path))
            strays = counted["foreign"]
            if not strays and not reading.is_cut_off(log):
                return counted
            known = reading.inspect(log, strays)
            if known.torn + known.foreign == strays:
                found = {"torn": known.torn, "foreign": known.foreign, "unreadable": known.damage}
                return {**counted, **found}
        except unreadable_lines():
            pass
        self._cursor.execute(f"DELETE FROM events WHERE file = {number}")
        copy = os.path.join(self._folder, "salvaged.jsonl")
        try:
            with open(copy, "wb") as file:
                known = reading.salvage(log, file)
            counted = self._insert(number, json_lines(copy))
        finally:
            os.unlink(copy)
        foreign = known.foreign + counted["foreign"]
        return {**counted, "torn": known.torn, "foreign": foreign, "unreadable": known.damage}

    def _insert(self, number: int, rows: Rows) -> dict[str, Any]:
        """Add a file's rows; return what was in it, every stray line as foreign."""
        cursor = self._cursor
        closer = rows.closer or rows
        if not self._enum_types.ambiguous:
            self._add(number, rows)
        if self._enum_types.ambiguous:
            cursor.execute(f"DELETE FROM events WHERE file = {number}")
            self._add(number, closer)
        if rows.closer is not None:
            # The rarer events have more fields than the table.
            cursor.execute(
                "UPDATE events SET run = NULL, version = NULL, side = NULL WHERE rowid IN ("
                f"SELECT place FROM (SELECT rowid AS place, {_parsed('side', _SIDE_TYPES)}, "
                f"{_sorts('side')} FROM events WHERE file = {number} AND side IS NOT NULL) "
                f"WHERE NOT {_FITS_RARE})"
            )
        counted = cursor.execute(
            "SELECT version, run IS NULL, COUNT(*) FROM events WHERE file = ? GROUP BY ALL",
            [number],
        ).fetchall()
        versions = Counter[str]()
        counts = Counter[str]()
        damage = ""
        for version, stray, times in counted:
            if stray and version is not None and version.startswith(_DAMAGE):
                damage = version.removeprefix(_DAMAGE)
            elif stray:
                counts[version or "foreign"] += times
            else:
                counts["events"] += times
                if version is not None:
                    versions[version] += times
        if counts["torn"] or counts["foreign"] or damage:
            cursor.execute("DELETE FROM events WHERE file = ? AND run IS NULL", [number])
        return _source(
            events=counts["events"],
            torn=counts["torn"],
            foreign=counts["foreign"],
            other_schema=sorted(versions.items()),
            unreadable=damage,
        )

    def _add(self, number: int, rows: Rows) -> None:
        query = self._enum_types.select(_select(rows, number))
        self._cursor.execute(f"INSERT INTO events BY NAME {query}")
        self._enum_types.settle("events")

    def _drop_repeated(self, sources: list[dict[str, Any]]) -> None:
        """Keep one of the events that are there twice: a log and its copy, or its Parquet."""
        cursor = self._cursor
        cursor.execute(
            "CREATE OR REPLACE TEMP VIEW pieces AS "
            "SELECT run, seq, file, rowid AS place FROM events"
        )
        cursor.execute(f"CREATE OR REPLACE TEMP TABLE doubtful AS {queries.DOUBTFUL}")
        if not cursor.execute("SELECT COUNT(*) FROM doubtful").fetchone()[0]:
            return
        cursor.execute(
            "CREATE OR REPLACE TEMP TABLE gone AS "
            f"SELECT place, file FROM ({queries.RANKED}) WHERE nth > 1"
        )
        for number, times in cursor.execute(
            "SELECT file, COUNT(*) FROM gone GROUP BY file"
        ).fetchall():
            sources[number]["repeated"] = times
        cursor.execute("DELETE FROM events WHERE rowid IN (SELECT place FROM gone)")


def _source(**given: Any) -> dict[str, Any]:
    """Return what a file held, for `Source`."""
    return {
        "events": 0,
        "torn": 0,
        "foreign": 0,
        "other_schema": [],
        "unreadable": "",
        "repeated": 0,
        **given,
    }


_FREQUENT: Final = {
    name: sort
    for name, sort in queries.READ.items()
    if name in {"event", "schema", "how", *queries.INPUTS["events"][1].values()}
}
_SIDE_TYPES: Final = queries.READ


class Rows(NamedTuple):
    """How a file is read.

    Attributes:
        source: SQL of rows with the fields of events.
        fits: SQL of whether a row is an event.
        stray: SQL of what a row is that is none: `torn`, `foreign` or damage; NULL if not known.
        side: SQL of a line that has to be read again for its other fields, else NULL.
        closer: how to read it if some text may be none, see `contract.is_ambiguous`.
    """

    source: str
    fits: str
    stray: str
    side: str
    closer: Rows | None = None


def json_source(path: str, fields: Mapping[str, str] = queries.READ) -> str:
    """Return the SQL that reads a file of JSON lines; a line that is no object is all NULL.

    Args:
        path: the file, plain or compressed.
        fields: which fields, with their types.
    """
    columns = ", ".join(f"{literal(name)}: '{sort}'" for name, sort in fields.items())
    return f"read_json({_opened(path)}, format = 'newline_delimited', columns = {{{columns}}})"


def json_lines(path: str) -> Rows:
    """Return how a file of JSON lines is read: the fields that every event is asked for.

    A line with what only rarer events have is parsed again later. Reading those columns for all
    lines would take longer (measured: 60 columns for every line, 2.1 s for 1.25 million events;
    this, 1.9 s).

    Args:
        path: the file, plain or compressed.
    """
    lines = raw_lines(path)
    parsed = f"SELECT json, {_parsed('json', _FREQUENT)}"
    side = f"CASE WHEN {RARE} THEN json END"
    closer = Rows(
        f"({parsed}, {_sorts('json')} FROM {lines})", _fits(_is_frequent, _sort), "NULL", side
    )
    return Rows(f"({parsed} FROM {lines})", _FITS_FREQUENT, "NULL", side, closer)


def raw_lines(path: str) -> str:
    """Return the SQL that reads the lines of a file, plain or compressed, as the column `json`.

    Args:
        path: the file.
    """
    return f"read_ndjson_objects({_opened(path)})"


def all_lines(path: str) -> Rows:
    """Return how a file of JSON lines is read with all fields of all events, checked closely.

    Args:
        path: the file, plain or compressed.
    """
    return Rows(
        f"(SELECT {_parsed('json', queries.COLUMNS)}, {_sorts('json')} "
        f"FROM read_ndjson_objects({_opened(path)}))",
        _fits(lambda _event: True, _sort),
        "NULL",
        "NULL",
    )


def stored(path: str) -> Rows:
    """Return how a Parquet file of `csptrace compact` is read.

    Args:
        path: the file.
    """
    return Rows(_complete(path), _STORED_FITS, "stray", "CAST(NULL AS VARCHAR)")


def unreadable_lines() -> tuple[type[Exception], ...]:
    """Return what is raised for a file that DuckDB cannot read to its end as lines of JSON."""
    import duckdb  # noqa: PLC0415 - an extra, there by now

    return (
        duckdb.InvalidInputException,
        duckdb.IOException,
        duckdb.ConversionException,
        duckdb.OutOfMemoryException,  # a line that takes much memory may be none that counts
        OSError,  # it has gone since it was found
    )


def _opened(path: str) -> str:
    return (
        f"{literal(escaped(path))}, ignore_errors = true, compression = '{_compression(path)}', "
        f"maximum_object_size = {LONGEST_LINE}"
    )


def _compression(path: str) -> str:
    return "gzip" if _starts(path, b"\x1f\x8b") else "zstd" if _starts(path, _ZSTD) else "none"


_PREFIX: Final = literal(queries.HANDLE_EVENT)
_BEHIND: Final = literal(queries.HANDLE_EVENT[:-1] + chr(ord(queries.HANDLE_EVENT[-1]) + 1))
RARE: Final = f"(event < {_PREFIX} OR event >= {_BEHIND})"
"""Whether an event is none of the frequent ones, in a form for which parts of Parquet files can be
skipped."""


# --- what is an event ---


def _parsed(line: str, types: Mapping[str, str]) -> str:
    """Return the SQL of a line's fields as columns."""
    return f"UNNEST(from_json({line}, {literal(orjson.dumps(types).decode())}))"


_PLACES: Final = {name: place for place, name in enumerate(queries.READ, 1)}


def _sorts(line: str) -> str:
    """Return the SQL of the types that a line's fields have in JSON, as a column `sorts`."""
    paths = ", ".join(literal(f'$."{name}"') for name in _PLACES)
    return f"json_type({line}, [{paths}]) AS sorts"


def _sort(field: str) -> str:
    return f"sorts[{_PLACES[field]}]"


def _is_frequent(event: str) -> bool:
    return event.startswith(queries.HANDLE_EVENT)


def _fits(
    events: Callable[[str], bool],
    sort_of: Callable[[str], str] | None = None,
    trusted: Collection[str] = (),
) -> str:
    return contract.condition(events, sort_of, trusted)


_FITS_FREQUENT: Final = _fits(
    _is_frequent, lambda field: f"json_type(json, '$.\"{field}\"')", queries.ENUMS
)
CONTRACT: Final = hashlib.sha256(_FITS_FREQUENT.encode()).hexdigest()
"""Changes with what is an event."""
_FITS_RARE: Final = _fits(lambda event: not _is_frequent(event), _sort)
_STORED_FITS: Final = (
    f"(CASE WHEN {RARE} THEN {_fits(lambda event: not _is_frequent(event))} "
    f"ELSE {_fits(lambda _event: False)} END)"
)
"""The fields of frequent events were checked when the file was written; doing it again takes a
tenth of the time of reading one (measured)."""


def parquet_source(*paths: str) -> str:
    """Return the SQL that reads Parquet files together; the folders they are in mean nothing."""
    names = ", ".join(literal(escaped(path)) for path in paths)
    return f"read_parquet([{names}], union_by_name = true, hive_partitioning = false)"


def _complete(path: str) -> str:
    """Return the SQL that reads one of our Parquet files; an older one lacks newer columns."""
    columns = ", ".join(
        f"CAST(NULL AS {sort}) AS {_quoted(name)}" for name, sort in queries.COLUMNS.items()
    )
    return f"(SELECT {columns} WHERE FALSE UNION ALL BY NAME SELECT * FROM {parquet_source(path)})"


_ZSTD: Final = b"\x28\xb5\x2f\xfd"


def _starts(path: str, magic: bytes) -> bool:
    with open(path, "rb") as file:
        return file.read(len(magic)) == magic


def escaped(path: str) -> str:
    """Return a path of which DuckDB takes nothing for a pattern, a home folder or a scheme."""
    path = os.path.abspath(path)
    return "".join(f"[{char}]" if char in "*?[" else char for char in path)


def _select(rows: Rows, number: int) -> str:
    """Return the SQL that turns the fields of events into the columns of `events`."""
    columns = [
        f"{_column(field)} AS {column}"
        for column, field in queries.INPUTS["events"][1].items()
        if column != "run"
    ]
    return (
        f"SELECT CASE WHEN fits THEN run END AS run, {', '.join(columns)}, "
        f"CASE WHEN NOT fits THEN {rows.stray} "
        f"WHEN schema IN {READABLE} THEN NULL "
        "ELSE COALESCE(CAST(schema AS VARCHAR), 'none') END AS version, "
        f"CASE WHEN fits THEN {rows.side} END AS side, CAST({number} AS INTEGER) AS file "
        f"FROM (SELECT *, {rows.fits} AS fits FROM {rows.source})"
    )


def _column(field: str) -> str:
    """Return the SQL of a column of `queries.INPUTS`: a field, or an expression."""
    return _quoted(field) if field.isidentifier() else field


def _quoted(name: str) -> str:
    return f'"{name}"'
