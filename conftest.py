"""Fixtures for every test: no tracer left behind, no settings of the machine, a CSP of its own."""

from __future__ import annotations

import ctypes
import gc
import os
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import wrapt

import csptrace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from csptrace import Tracer

pytest_plugins = ["pytester"]

# wrapt puts its import finder into sys.meta_path once; pytester would take it out again if that
# happened during a run inside this process.
wrapt.register_post_import_hook(lambda _module: None, "csptrace_never_imported")


_TOGETHER = {
    "test_client_suites": "suites",  # the runs of a suite
    "causes/test_causes": "causes",  # the functions of leaks.py, played on each provider
    "causes/test_truth": "causes",
    "causes/test_programs": "causes",  # the runs of each program
    "museum/test_museum": "museum",  # all exhibits, played on each provider
}
"""Part of a file's path → the scope of its tests."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Send what shares something costly to one worker, so that it is made once."""
    if config.getoption("dist") != "load":
        return None
    from xdist.scheduler import LoadScopeScheduling  # noqa: PLC0415 - Windows Python has no xdist

    class LoadScheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file, _, name = nodeid.partition("::")
            if "spark" in name.rpartition("::")[2]:
                return "spark"  # a cluster
            return next((scope for start, scope in _TOGETHER.items() if start in file), nodeid)

    return LoadScheduling(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Take what pytest has collected out of the garbage collector's sight.

    There are 8,000 tests, of 20 objects each. A start of a tracer in the middle of a program looks
    at every object that there is, and so does each collection: both take half the time without
    them. `gc.freeze` would hide everything, also what a start has to find.
    """
    untrack = ctypes.pythonapi.PyObject_GC_UnTrack
    untrack.argtypes, untrack.restype = [ctypes.py_object], None
    waiting = [each for each in gc.get_objects() if _is_pytests(type(each))]
    while waiting:
        each = waiting.pop()
        if gc.is_tracked(each):
            untrack(each)
            waiting += filter(_is_part, gc.get_referents(each))


def _is_pytests(cls: type) -> bool:
    module = type.__getattribute__(cls, "__dict__").get("__module__")
    return isinstance(module, str) and module.startswith("_pytest.")


def _is_part(one: object) -> bool:
    """Return whether an object belongs to the one that refers to it, and is no namespace."""
    if type(one) is dict:
        return "__name__" not in one
    return type(one) in (list, set, tuple)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say why tests were skipped: one line for each reason, however many tests it concerns."""
    reasons = Counter(report.longrepr[2] for report in terminalreporter.stats.get("skipped", ()))
    for reason, count in sorted(reasons.items()):
        terminalreporter.write_line(f"{count} skipped: {reason.removeprefix('Skipped: ')}")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Give each test an environment of its own and see to it that it leaves no tracer behind."""
    for name in list(os.environ):
        if name.startswith(("CSPTRACE", "SOFTCSP")) and name not in (
            "CSPTRACE_REQUIRE",
            "CSPTRACE_WINE_CACHE",
        ):
            monkeypatch.delenv(name)
    monkeypatch.setenv("SOFTCSP_HOME", str(tmp_path / "softcsp"))
    yield
    if csptrace.current() is not None:
        csptrace.stop()
        pytest.fail("the test left a tracer running")


@pytest.fixture
def trace() -> Iterator[Callable[..., Tracer]]:
    """Return a function that starts a quiet, strict tracer, which is stopped after the test."""
    started: list[Tracer] = []

    def start(**settings: Any) -> Tracer:
        settings.setdefault("quiet", True)
        settings.setdefault("strict", True)
        tracer = csptrace.start(**settings)
        started.append(tracer)
        return tracer

    yield start
    if started and csptrace.current() is started[-1]:
        csptrace.stop()
