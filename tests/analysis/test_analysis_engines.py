"""Two engines, one answer: whatever DuckDB says of some logs, Spark says as well."""

from __future__ import annotations

import dataclasses
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from golden_logs import leaky
from messy_logs import write

from csptrace.analysis import distributed, embedded, engines, reading
from csptrace.analysis.results import Report
from csptrace.errors import AnalysisError, MissingExtraError
from csptrace.events.schema import EVENTS

if TYPE_CHECKING:
    from pathlib import Path


def test_spark_agrees_on_bad_logs(tmp_path: Path, spark: Any) -> None:
    """Torn, foreign, damaged, doubled, compressed and compacted: every field is the same."""
    folder = tmp_path / "logs"
    write(folder)
    names = [str(folder)]

    embedded_report = embedded.analyse(reading.find(names), run="one")
    spark_report = distributed.analyse(names, run="one", spark=spark)

    for field in dataclasses.fields(Report):
        if field.name == "sources":
            continue
        wanted = getattr(embedded_report, field.name)
        assert getattr(spark_report, field.name) == wanted, field.name
    for one, other in zip(embedded_report.sources, spark_report.sources, strict=True):
        # Each engine has its own words for what it cannot read.
        assert bool(one.unreadable) == bool(other.unreadable)
        assert dataclasses.replace(one, unreadable="") == dataclasses.replace(other, unreadable="")


def test_a_field_has_one_type_in_every_event() -> None:
    """A log is one table: two events cannot mean a number and a text by one name."""
    types: dict[str, set[str]] = {}
    for required, optional in EVENTS.values():
        for name, about in {**required, **optional}.items():
            types.setdefault(name, set()).add(about.get("type", "string"))

    assert {name: found for name, found in types.items() if len(found) > 1} == {}


def test_missing_java_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Java the error names the package; a wrong JAVA_HOME is named, too."""
    pytest.importorskip("pyspark")
    leaky().write(tmp_path)
    monkeypatch.setattr(shutil, "which", lambda _name, path=None: None)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(MissingExtraError, match=r"Java 17 or later.*openjdk-17-jre-headless"):
        engines.analyse([str(tmp_path)], engine="spark")

    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    with pytest.raises(MissingExtraError, match=r"/nowhere \(JAVA_HOME\) has no bin/java"):
        engines.analyse([str(tmp_path)], engine="spark")


def test_missing_packages_name_their_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without DuckDB or PySpark the error says what to install."""
    leaky().write(tmp_path)
    for module in ("duckdb", "pyspark", "pyspark.errors", "pyspark.sql"):
        monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'csptrace\[report\]'"):
        engines.analyse([str(tmp_path)])
    with pytest.raises(MissingExtraError, match=r"pip install 'csptrace\[spark\]'"):
        engines.analyse([str(tmp_path)], engine="spark")


@pytest.mark.parametrize(
    ("text", "size"),
    [("1GB", 10**9), ("512MiB", 512 << 20), ("1.5g", 1_500_000_000), ("300000000", 300_000_000)],
)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    """`GB` counts thousands, `GiB` 1024s."""
    assert engines.size(text) == size


def test_sizes_that_are_none_are_refused() -> None:
    """A word is no size."""
    with pytest.raises(AnalysisError, match="'a lot' is no size"):
        engines.size("a lot")
