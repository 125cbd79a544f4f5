"""The distributed engine: Apache Spark, for logs that outgrow one machine.

The same questions as in the embedded engine, word for word, on all logs at once. Spark reads
whatever it can reach (`hdfs://…`, `s3a://…`, a file system that all workers share); local names
are found, checked and listed as the embedded engine does it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from csptrace.analysis import assembly, contract, queries, reading
from csptrace.analysis.results import Source
from csptrace.errors import AnalysisError, MissingExtraError
from csptrace.events.schema import READABLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from csptrace.analysis.results import Report

__all__ = ["analyse", "session"]

_TYPES: Final = {"BIGINT": "BIGINT", "BOOLEAN": "BOOLEAN", "VARCHAR": "STRING"}
_CORRUPT: Final = "_corrupt_record"
_LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")


def _is_event() -> str:
    """Return the SQL of whether a line is an event.

    Spark leaves NULL where a number is none, also where DuckDB converts a text or a fraction, and
    keeps the line; where a text is expected, it takes anything.
    """
    fits = contract.condition(
        lambda _event: True, matches="COALESCE({} RLIKE r'^{}$', FALSE)", quote="`"
    )
    cases = "".join(
        f" WHEN '{event}' THEN {' AND '.join(map(_is_not_lost, optional))}"
        for event, needs in contract.NEEDS.items()
        if (optional := [f for f, n in needs.items() if n.sort == "integer" and not n.required])
    )
    return f"({fits} AND ({_CORRUPT} IS NULL OR CASE event{cases} ELSE TRUE END))"


def _is_not_lost(field: str) -> str:
    return f"(`{field}` IS NOT NULL OR GET_JSON_OBJECT({_CORRUPT}, '$.{field}') IS NULL)"


@contextmanager
def session(master: str) -> Iterator[Any]:
    """Open a session, and end it.

    Args:
        master: `spark` for a local one, or `spark://host:port`.

    Yields:
        The `SparkSession`.

    Raises:
        MissingExtraError: PySpark or Java is not installed; says what to install.
        AnalysisError: the cluster cannot be reached.
    """
    try:
        from pyspark.errors import PySparkException  # noqa: PLC0415 - an extra
        from pyspark.sql import SparkSession  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError(
            "the Spark engine needs PySpark: pip install 'csptrace[spark]'"
        ) from error
    home = os.environ.get("JAVA_HOME", "")
    if not shutil.which("java", path=os.path.join(home, "bin") if home else None):
        place = f"{home} (JAVA_HOME) has no bin/java" if home else "there is no java on the PATH"
        raise MissingExtraError(
            f"Spark needs Java 17 or later, and {place}; install it (on Debian: apt install "
            "openjdk-17-jre-headless) or set JAVA_HOME"
        )
    builder = (
        SparkSession.builder.appName("csptrace report")
        .master("local[*]" if master == "spark" else master)
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.log.level", "ERROR")
        .config("spark.sql.ansi.enabled", "true")
        .config("spark.sql.files.ignoreCorruptFiles", "false")
    )
    if master == "spark" or urlsplit(master).hostname in _LOOPBACK:
        builder = builder.config("spark.driver.host", "127.0.0.1")
        builder = builder.config("spark.driver.bindAddress", "127.0.0.1")
    try:
        spark = builder.getOrCreate()
    except (PySparkException, OSError) as error:
        raise AnalysisError(f"no Spark at {master}: {_first_line(error)}") from error
    except Exception as error:
        if type(error).__module__.startswith("py4j"):
            raise AnalysisError(f"no Spark at {master}: {_first_line(error)}") from error
        raise
    try:
        # Small answers are not worth the 200 tasks of the default.
        parallel = spark.sparkContext.defaultParallelism
        spark.conf.set("spark.sql.shuffle.partitions", str(max(2, 2 * parallel)))
        yield spark
    finally:
        spark.stop()


def analyse(
    names: Sequence[str], *, master: str = "spark", run: str = "", spark: Any = None
) -> Report:
    """Answer every question.

    Args:
        names: files, folders and patterns, local or with a scheme that Spark knows.
        master: `spark` for a local one, or `spark://host:port`.
        run: whose handle graph is wanted; of the run with the most findings if empty.
        spark: a session to use; one is opened and ended if not given.

    Returns:
        The report; the same as the embedded engine's.

    Raises:
        AnalysisError: no such logs, or Spark has failed.
        MissingExtraError: PySpark or Java is not installed.
    """
    logs = reading.find([name for name in names if "://" not in name])
    remote = [name for name in names if "://" in name]
    if spark is None:
        with session(master) as opened:
            return analyse(names, master=master, run=run, spark=opened)
    from py4j.protocol import Py4JJavaError  # noqa: PLC0415 - comes with PySpark
    from pyspark.errors import PySparkException  # noqa: PLC0415 - session() has said if missing

    with tempfile.TemporaryDirectory(prefix="csptrace-") as folder:
        try:
            return _Analysis(spark, folder, logs, remote, run).report()
        except (PySparkException, Py4JJavaError) as error:
            raise AnalysisError(f"Spark: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return next((line for line in lines if "Exception" in line or "[" in line), lines[0])


class _Analysis:
    def __init__(
        self,
        spark: Any,
        folder: str,
        logs: Sequence[reading.Log],
        remote: Sequence[str],
        run: str,
    ) -> None:
        self._spark = spark
        self._folder = folder
        self._logs = logs
        self._remote = remote
        self._run = run
        self._kept: list[Any] = []
        self._strays: dict[str, reading.Strays] = {}
        self._names: dict[str, str] = {}

    def report(self) -> Report:
        """Answer every question."""
        try:
            lines = self._keep(self._lines(), "lines")
            sources = self._sources(lines)
            self._inputs(lines, sources)
            choice = "TRUE"
            if self._run:
                choice = "run = '" + self._run.replace("'", "").replace("\\", "") + "'"
            for name, sql in queries.PARTIALS.items():
                self._answer(sql.replace("{choice}", choice), name)
            answers = {
                name: [row.asDict() for row in self._spark.sql(sql).collect()]
                for name, sql in queries.MERGES.items()
            }
        finally:
            for kept in self._kept:
                kept.unpersist()
        if self._run and not any(row["run"] == self._run for row in answers["runs"]):
            raise AnalysisError(f"no run {self._run!r} in these logs")
        return assembly.report(answers, [Source(path=path, **s) for path, s in sources.items()])

    def _keep(self, frame: Any, name: str) -> Any:
        """Give a relation a name, and keep its rows: several questions ask for them."""
        frame = frame.persist()
        frame.createOrReplaceTempView(name)
        self._kept.append(frame)
        return frame

    def _answer(self, sql: str, name: str) -> None:
        """Answer a question, so that those after it see rows and not the whole way to them."""
        frame = self._spark.sql(sql).localCheckpoint(eager=True)
        frame.createOrReplaceTempView(name)

    # --- reading ------------------------------------------------------------------------------

    def _lines(self) -> Any:
        """Return every line of every file as a row: fields, `stray`, and `path`."""
        from pyspark.sql import functions as sql  # noqa: PLC0415 - an extra

        plain, parquet = [], []
        for log in self._logs:
            if log.error:
                continue
            if log.form == "parquet":
                if self._is_ours(log):
                    parquet.append(os.path.abspath(log.path))
            else:
                plain.append(self._readable(log))
        for name in self._remote:
            (parquet if name.endswith(".parquet") else plain).append(name)
        schema = ", ".join(f"{name} {_TYPES[sort]}" for name, sort in queries.READ.items())
        reader = self._spark.read
        text = sql.col(_CORRUPT)
        stray = (
            sql.when(sql.expr(_is_event()), None)
            .when(text.isNull() | sql.try_parse_json(text).isNotNull(), "foreign")
            .when(text.rlike('^[\\x00\\s]*(\\{".*)?$'), "torn")
            .otherwise("foreign")
        )
        frames = [
            # Without a file there is still a relation with these columns.
            reader.schema(f"{schema}, {_CORRUPT} STRING")
            .json(self._spark.sparkContext.emptyRDD())
            .withColumn("path", sql.lit(""))
            .withColumn("stray", stray)
        ]
        if plain:
            frames.append(
                reader.schema(f"{schema}, {_CORRUPT} STRING")
                .option("mode", "PERMISSIVE")
                .option("columnNameOfCorruptRecord", _CORRUPT)
                .option("lineSep", "\n")
                .option("recursiveFileLookup", "true")
                .json([_uri(name) for name in plain])
                .withColumn("path", sql.col("_metadata.file_path"))
                .withColumn("stray", stray)
            )
        if parquet:
            frames.append(
                reader.schema(f"{schema}, stray STRING")
                .option("recursiveFileLookup", "true")
                .parquet(*[_uri(name) for name in parquet])
                .withColumn("path", sql.col("_metadata.file_path"))
                .withColumn(_CORRUPT, sql.lit(None).cast("STRING"))
            )
        columns = [*queries.READ, "stray", "path"]
        lines = frames[0].select(columns)
        for frame in frames[1:]:
            lines = lines.unionByName(frame.select(columns))
        return lines

    def _readable(self, log: reading.Log) -> str:
        """Return the name of a file that Spark can read to its end."""
        path = os.path.abspath(log.path)
        damaged = log.form == "gz" and bool(reading.inspect(log, 0).damage)
        if damaged or reading.is_cut_off(log):
            path = os.path.join(self._folder, f"{len(self._strays)}.jsonl")
            with open(path, "wb") as file:
                self._strays[log.path] = reading.salvage(log, file)
        self._names[os.path.realpath(path)] = log.path
        return path

    def _is_ours(self, log: reading.Log) -> bool:
        """Return whether a Parquet file was written by `csptrace compact` and has its end."""
        from py4j.protocol import Py4JJavaError  # noqa: PLC0415 - comes with PySpark
        from pyspark.errors import PySparkException  # noqa: PLC0415 - an extra

        try:
            names = self._spark.read.parquet(_uri(os.path.abspath(log.path))).columns
        except (PySparkException, Py4JJavaError):
            names = []
        if {"event", "stray"} <= set(names):
            return True
        self._strays[log.path] = reading.Strays(0, 0, "not a file of csptrace compact")
        return False

    def _sources(self, lines: Any) -> dict[str, dict[str, Any]]:
        found = {log.path: _source(unreadable=log.error) for log in self._logs}
        for log in self._logs:
            self._names.setdefault(os.path.realpath(log.path), log.path)
        lines.createOrReplaceTempView("lines")
        versions: dict[str, Counter[str]] = {}
        for row in self._spark.sql(
            f"""
            SELECT path, stray, CASE WHEN stray IS NOT NULL OR schema IN {READABLE} THEN ''
                ELSE COALESCE(CAST(schema AS STRING), 'none') END AS version, COUNT(*) AS times
            FROM lines GROUP BY 1, 2, 3
            """
        ).collect():
            source = found.setdefault(self._name(row["path"]), _source())
            stray = row["stray"]
            if stray is None:
                source["events"] += row["times"]
                if row["version"]:
                    counts = versions.setdefault(self._name(row["path"]), Counter())
                    counts[row["version"]] += row["times"]
            elif stray.startswith("damage: "):
                source["unreadable"] = stray.removeprefix("damage: ")
            else:
                source[stray] += row["times"]
        for path, counts in versions.items():
            found[path]["other_schema"] = tuple(sorted(counts.items()))
        for path, strays in self._strays.items():
            found[path].update(torn=strays.torn, foreign=strays.foreign, unreadable=strays.damage)
        return found

    def _name(self, uri: str) -> str:
        """Return the name under which a file was given."""
        if not uri.startswith("file:"):
            return uri
        path = unquote(urlsplit(uri).path)
        return self._names.get(os.path.realpath(path), path)

    def _inputs(self, lines: Any, sources: dict[str, dict[str, Any]]) -> None:
        """Make the relations that the questions ask."""
        fields = lines.where("stray IS NULL")
        fields.createOrReplaceTempView("fields")
        self._spark.sql("SELECT *, path AS file FROM fields").createOrReplaceTempView("pieces")
        doubtful = self._spark.sql(queries.DOUBTFUL)
        if doubtful.count():
            doubtful.createOrReplaceTempView("doubtful")
            self._keep(self._spark.sql(queries.RANKED), "ranked")
            for row in self._spark.sql(
                "SELECT file, COUNT(*) AS times FROM ranked WHERE nth > 1 GROUP BY file"
            ).collect():
                sources[self._name(row["file"])]["repeated"] = row["times"]
            fields = self._spark.sql("SELECT * FROM ranked WHERE nth = 1")
            fields.createOrReplaceTempView("fields")
        for name, (event, columns) in queries.INPUTS.items():
            chosen = ", ".join(f"{field} AS {column}" for column, field in columns.items())
            where = f" WHERE event = '{event}'" if event else ""
            self._keep(self._spark.sql(f"SELECT {chosen} FROM fields lines{where}"), name)


def _source(**given: Any) -> dict[str, Any]:
    return {
        "events": 0,
        "torn": 0,
        "foreign": 0,
        "other_schema": (),
        "unreadable": "",
        "repeated": 0,
        **given,
    }


def _uri(name: str) -> str:
    """Return a name in which Spark takes no character for a pattern."""
    if "://" in name:
        return name
    return "file://" + "".join(f"\\{char}" if char in "*?[]{}\\" else char for char in name)
