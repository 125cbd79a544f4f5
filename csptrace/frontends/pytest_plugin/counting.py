"""Which failures count for `-x`, `--maxfail`, `--sw` and `--lf`: those that nothing can take back.

A handle that is alive when its test ends is a leak, but may be released by a later test, and then
the failure is withdrawn. Had the run been stopped for it, tests would be missing for nothing; were
it remembered, the next run with `--lf` would run that test without the one that releases. So such a
failure is counted, and remembered, at the end, when it is known whether it stands.
"""

from __future__ import annotations

import copy
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import pytest

    from csptrace.frontends.pytest_plugin.reporting import Record

__all__ = ["may_be_withdrawn", "remember", "uncounted", "unremembered"]

_STOPS = ("shouldfail", "shouldstop", "_shouldfail", "_shouldstop")  # by versions of pytest


def may_be_withdrawn(records: Iterable[Record]) -> bool:
    """Return whether a failure for these records stands on nothing but handles still alive."""
    failing = [record for record in records if record["verdict"] == "fail"]
    return bool(failing) and all(record["alive"] for record in failing)


@contextmanager
def uncounted(config: pytest.Config) -> Iterator[None]:
    """Have a report that is logged in the block neither counted nor remembered.

    Args:
        config: pytest's configuration.
    """
    manager, option = config.pluginmanager, config.option
    session: Any = manager.get_plugin("session")
    controller: Any = manager.get_plugin("dsession")
    failed = session.testsfailed
    stops = {name: vars(session)[name] for name in _STOPS if name in vars(session)}
    maxfail, option.maxfail = option.maxfail, 0
    try:
        with unremembered(config, "lfplugin", "stepwiseplugin"):
            yield
    finally:
        option.maxfail = maxfail
        session.testsfailed = failed
        vars(session).update(stops)
        if controller is not None:  # it counts what a worker has sent behind this block
            controller.countfailures -= 1


@contextmanager
def unremembered(config: pytest.Config, *plugins: str) -> Iterator[None]:
    """Have a report that is logged in the block not remembered for the next run.

    Args:
        config: pytest's configuration.
        plugins: which remember it.
    """
    known = [config.pluginmanager.get_plugin(name) for name in plugins]
    before = [
        (plugin, {name: _copy(value) for name, value in vars(plugin).items()})
        for plugin in known
        if plugin is not None
    ]
    try:
        yield
    finally:
        for plugin, state in before:
            vars(plugin).update(state)


def _copy(value: object) -> object:
    """Return a copy of what a plugin remembers, and what it works with as it is."""
    if isinstance(value, dict) or hasattr(value, "last_failed"):
        return copy.copy(value)
    return value


def remember(
    config: pytest.Config, session: pytest.Session, reports: Sequence[pytest.TestReport]
) -> None:
    """Remember failures that stand in the end, which were not remembered when they were logged.

    Args:
        config: pytest's configuration.
        session: the session, whose results are written already.
        reports: the failures, in the order of the tests.
    """
    last_failed: Any = config.pluginmanager.get_plugin("lfplugin")
    stepwise: Any = config.pluginmanager.get_plugin("stepwiseplugin")
    if not reports:
        return
    if last_failed is not None:
        for report in reports:
            last_failed.pytest_runtest_logreport(report)
        last_failed.pytest_sessionfinish(session)
    if stepwise is not None:
        stops = {name: vars(session)[name] for name in _STOPS if name in vars(session)}
        stepwise.pytest_runtest_logreport(reports[0])  # where the next run is to go on
        vars(session).update(stops)
        stepwise.pytest_sessionfinish()
