"""The engines: DuckDB, and one real Spark master and worker for all tests that ask for it."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import golden_logs
import pytest
import required

from csptrace.analysis import distributed, embedded, reading

if TYPE_CHECKING:
    from collections.abc import Iterator

    from csptrace.analysis.results import Report

PATIENCE = 180
"""Seconds for a JVM to say that it is ready."""


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Return a session on a standalone cluster: a master and a worker on the loopback device."""
    missing = ""
    if importlib.util.find_spec("pyspark") is None:
        missing = "pyspark is not installed: pip install 'csptrace[spark]'"
    elif shutil.which("java") is None:
        missing = "Spark needs Java: apt install openjdk-17-jre-headless"
    if missing:
        required.missing("spark", missing)
    folder = tmp_path_factory.mktemp("spark")
    with _cluster(folder) as master, distributed.session(master) as session:
        # Small logs: planning is what takes time.
        session.conf.set("spark.sql.adaptive.enabled", "false")
        session.conf.set("spark.sql.shuffle.partitions", "1")
        session.conf.set("spark.sql.codegen.wholeStage", "false")
        yield session


@contextlib.contextmanager
def _cluster(folder: Path) -> Iterator[str]:
    import pyspark

    home = Path(pyspark.__file__).parent
    environ = {
        **os.environ,
        "SPARK_HOME": str(home),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_DAEMON_MEMORY": "512m",
    }
    port, web, other = _ports(3)
    master = f"spark://127.0.0.1:{port}"
    commands = (
        (
            "Master",
            ["--host", "127.0.0.1", "--port", str(port), "--webui-port", str(web)],
            "New state: ALIVE",
        ),
        (
            "Worker",
            [
                *("--host", "127.0.0.1", "--webui-port", str(other)),
                *("-c", "1", "-m", "1g", "-d", str(folder / "work"), master),
            ],
            "Successfully registered with master",
        ),
    )
    with contextlib.ExitStack() as stack:
        for name, arguments, ready in commands:
            log = folder / f"{name}.log"
            with log.open("wb") as out:
                child = subprocess.Popen(
                    [
                        home / "bin" / "spark-class",
                        f"org.apache.spark.deploy.{name.lower()}.{name}",
                        *arguments,
                    ],
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    env=environ,
                )
            stack.callback(_end, child)
            _wait(child, log, ready)
        os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
        try:
            yield master
        finally:
            del os.environ["SPARK_LOCAL_IP"]


def _ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _wait(child: subprocess.Popen[bytes], log: Path, ready: str) -> None:
    end = time.monotonic() + PATIENCE
    while ready not in (text := log.read_text("utf-8", "replace")):
        assert child.poll() is None, text
        assert time.monotonic() < end, text
        time.sleep(0.1)  # the JVM offers no other sign


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(30)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


@pytest.fixture(scope="session")
def golden_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the golden logs."""
    folder = tmp_path_factory.mktemp("golden") / "logs"
    golden_logs.write(folder)
    return folder


@pytest.fixture(scope="session")
def _answered() -> dict[str, Report]:
    return {}


@pytest.fixture(params=["duckdb", "spark"])
def golden(
    request: pytest.FixtureRequest, golden_folder: Path, _answered: dict[str, Report]
) -> Report:
    """Return the report on the golden logs, by each engine; each is asked once."""
    engine = request.param
    session = request.getfixturevalue("spark") if engine == "spark" else None
    if engine not in _answered:
        names = [str(golden_folder)]
        if session is None:
            _answered[engine] = embedded.analyse(reading.find(names))
        else:
            _answered[engine] = distributed.analyse(names, spark=session)
    return _answered[engine]
