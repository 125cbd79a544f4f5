"""Every operation of csptrace fails in turn, and no program notices.

Every import and every system call is tried. Of the functions of csptrace itself, and of memory,
a sample is, spread over all of them; `CSPTRACE_TESTS=all` tries each.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import required
from sampled import ALL
from traced_programs import PROGRAMS

if TYPE_CHECKING:
    from types import ModuleType

HERE = Path(__file__).parent
CONFORMANCE = HERE.parent / "conformance"
LOGGING = {"quiet": True, "on_misuse": "log"}
RAISING = {"quiet": False, "on_misuse": "raise"}

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="each run is a fork")


def _builder(name: str) -> ModuleType:
    """Return a module of the conformance suite that brings a provider."""
    known = sys.modules.get(name)
    if known is None:
        spec = importlib.util.spec_from_file_location(name, CONFORMANCE / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        known = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(known)
    return known


def _sweep(
    name: str, sort: str, tmp_path: Path, most: int, settings: dict[str, Any]
) -> dict[str, Any]:
    """Play a program with a fault in each place; return what `sweep.py` says."""
    needs, environ, module = PROGRAMS[name].needs, {}, ""
    for need in needs:
        if need == "softhsm":
            softhsm = _builder("softhsm")
            softhsm.need(*(each for each in needs if each != "softhsm"))
            environ |= softhsm.environment()
            module = softhsm.module()
        elif need == "fakecsp":
            fakecsp = _builder("fakecsp")
            fakecsp.need()
            environ["FAKECSP"] = str(fakecsp.library())
            settings = {**settings, "libraries": [fakecsp.LIBRARY]}
        elif "softhsm" not in needs and importlib.util.find_spec(need) is None:
            required.missing(need, f"{need} is not installed")
    if settings:
        settings = {"strict": False, "log": str(tmp_path / "log"), **settings}
    done = subprocess.run(
        [
            *(sys.executable, str(HERE / "sweep.py"), name, sort, module, json.dumps(settings)),
            str(100_000 if ALL else most),
        ],
        env={
            **{n: v for n, v in os.environ.items() if not n.startswith(("CSPTRACE", "PYTHON"))},
            "PYTHONPATH": str(HERE.parents[1]),
            "PYTHONPYCACHEPREFIX": str(tmp_path.parent / "compiled"),
            "PYTHONWARNINGS": "ignore::DeprecationWarning",  # of forks beside threads
            "SOFTCSP_HOME": str(tmp_path / "home"),
            "CSPTRACE_LOG": str(tmp_path / "log"),
            **environ,
        },
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        timeout=1800 if ALL else 120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _check(found: dict[str, Any]) -> None:
    assert found["deviations"] == []
    assert found["operations"] > 0
    assert found["failed"] >= found["runs"] - 4, "a run in which nothing has failed says nothing"


@pytest.mark.parametrize("name", [name for name in PROGRAMS if name != "adopted"])
def test_imports_that_fail(name: str, tmp_path: Path) -> None:
    """From any import on, csptrace finds no module any more, and the program sees no difference."""
    _check(_sweep(name, "import", tmp_path, 100, LOGGING))


def test_no_import_is_left_for_later(tmp_path: Path) -> None:
    """What was there when tracing began is traced and judged without a further import."""
    assert _sweep("adopted", "import", tmp_path, 100, LOGGING)["operations"] == 0


@pytest.mark.parametrize("name", PROGRAMS)
def test_system_calls_that_fail(name: str, tmp_path: Path) -> None:
    """From any call on, the system refuses csptrace everything: files, threads, random numbers."""
    _check(_sweep(name, "EMFILE", tmp_path, 250, LOGGING))


@pytest.mark.parametrize("sort", ["EACCES", "ENOENT", "ENOSPC", "memory"])
@pytest.mark.parametrize("name", ["misusing", "recycling", "objects"])
def test_faults_where_misuse_raises(name: str, sort: str, tmp_path: Path) -> None:
    """Misuse is refused or let through, and nothing is refused that is none."""
    _check(_sweep(name, sort, tmp_path, 6, RAISING))


@pytest.mark.parametrize("name", PROGRAMS)
def test_errors_of_csptrace_itself(name: str, tmp_path: Path) -> None:
    """Any function of csptrace may break where another one calls it."""
    _check(_sweep(name, "bug", tmp_path, 8, LOGGING))


@pytest.mark.parametrize("name", ["misusing", "recycling"])
def test_errors_of_csptrace_where_misuse_raises(name: str, tmp_path: Path) -> None:
    """A tracer that has missed something refuses nothing any more."""
    _check(_sweep(name, "bug", tmp_path, 12, RAISING))


@pytest.mark.parametrize("sort", ["import", "EMFILE", "memory"])
def test_a_start_that_fails(sort: str, tmp_path: Path) -> None:
    """Wherever activation from the environment fails, the program runs untraced."""
    _check(_sweep("clean", sort, tmp_path, 8, {}))
