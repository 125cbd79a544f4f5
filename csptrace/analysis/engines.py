"""Which engine answers: DuckDB in this process, or Spark where logs outgrow one machine."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from csptrace.analysis import distributed, embedded, reading
from csptrace.analysis.cache import Cache
from csptrace.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from csptrace.analysis.embedded import Progress
    from csptrace.analysis.results import Report

__all__ = ["LEAST_MEMORY", "analyse", "memory", "size"]

LEAST_MEMORY = 256_000_000
"""In bytes. An interpreter with DuckDB and its code takes 90 MB (measured) before it reads."""
_UNITS = {"": 1, "k": 1, "m": 2, "g": 3, "t": 4}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([kmgt])(i?)b?|b?)", re.IGNORECASE)
_SPARK = re.compile(r"spark(?:://[^/\s]+:\d+(?:,[^/\s]+:\d+)*)?")


def size(text: str) -> int:
    """Return a number of bytes.

    Args:
        text: `1GB`, `512 MiB`, `1.5g` or a number of bytes.

    Returns:
        The bytes; `GB` is 1000 ** 3, `GiB` 1024 ** 3.

    Raises:
        AnalysisError: it is no size.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise AnalysisError(f"{text!r} is no size; write 1GB, 512MiB or a number of bytes")
    unit = (match[2] or "").lower()
    power = _UNITS[unit] if unit else 0
    return int(float(match[1]) * (1024 if match[3] else 1000) ** power)


def memory(text: str) -> int:
    """Return a memory limit in bytes.

    Args:
        text: as for `size`.

    Raises:
        AnalysisError: it is no size, or too low.
    """
    limit = size(text)
    if limit < LEAST_MEMORY:
        raise AnalysisError(
            f"a memory limit of {limit} bytes is too low; {LEAST_MEMORY // 1_000_000} MB are needed"
        )
    return limit


def analyse(
    names: Sequence[str],
    *,
    engine: str = "duckdb",
    run: str = "",
    memory: int = 1_000_000_000,
    cache: str = "",
    progress: Callable[[Progress], None] = lambda _progress: None,
) -> Report:
    """Answer every question to some logs.

    Args:
        names: files, folders and patterns; with Spark also whatever else it can read
            (`hdfs://…`, `s3a://…`).
        engine: `duckdb`, `spark` (a local one) or `spark://host:port`.
        run: whose handle graph is wanted; of the run with the most findings if empty.
        memory: how many bytes the embedded engine may use.
        cache: the folder in which the embedded engine keeps partial answers; empty for none.
        progress: is told how far the embedded engine has come.

    Returns:
        The report.

    Raises:
        AnalysisError: no such logs or engine, too little memory, or the engine has failed.
        MissingExtraError: a package that the engine needs is not installed.
    """
    if _SPARK.fullmatch(engine):
        return distributed.analyse(names, master=engine, run=run)
    if engine != "duckdb":
        raise AnalysisError(f"unknown engine {engine!r}; choose duckdb, spark or spark://host:port")
    if memory < LEAST_MEMORY:
        raise AnalysisError(
            f"a memory limit of {memory} bytes is too low; "
            f"{LEAST_MEMORY // 1_000_000} MB are needed"
        )
    logs = reading.find(names)
    store = None
    if cache:
        try:
            store = Cache(cache)
        except OSError as error:
            raise AnalysisError(
                f"no cache in {cache}: {error.strerror}; name an empty or a new folder with "
                "--cache, or use none with --no-cache"
            ) from error
    return embedded.analyse(logs, run=run, memory=memory, cache=store, progress=progress)
