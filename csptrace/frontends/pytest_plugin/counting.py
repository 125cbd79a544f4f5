"""Which failures count for `-x` and `--maxfail`: those that nothing can take back.

A handle that is alive when its test ends is a leak, but may be released by a later test, and then
the failure is withdrawn. Had the run been stopped for it, tests would be missing for nothing. So
such a failure is counted at the end, when it is known whether it stands.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pytest

    from csptrace.frontends.pytest_plugin.reporting import Record

__all__ = ["may_be_withdrawn", "uncounted"]


def may_be_withdrawn(records: Iterable[Record]) -> bool:
    """Return whether a failure for these records stands on nothing but handles still alive."""
    failing = [record for record in records if record["verdict"] == "fail"]
    return bool(failing) and all(record["alive"] for record in failing)


@contextmanager
def uncounted(config: pytest.Config) -> Iterator[None]:
    """Have a report that is logged in the block counted neither by pytest nor by pytest-xdist.

    Args:
        config: pytest's configuration.
    """
    manager, option = config.pluginmanager, config.option
    session: Any = manager.get_plugin("session")
    controller: Any = manager.get_plugin("dsession")
    failed = session.testsfailed
    maxfail, option.maxfail = option.maxfail, 0
    try:
        yield
    finally:
        option.maxfail = maxfail
        session.testsfailed = failed
        if controller is not None:  # it counts what a worker has sent behind this block
            controller.countfailures -= 1
