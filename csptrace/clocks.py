"""The clocks of the system, also while a program has them stand still.

What freezes the time for a test (freezegun) puts other functions into `time`, and wherever a module
has a name for one of its functions. Events with such times would stand years before their run, ages
would be wrong, and a wait for a deadline would never end.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CLOCKS"]


class _Clocks(NamedTuple):
    """The functions of `time`, under names that no module has.

    Attributes:
        wall: returns nanoseconds since 1970, UTC.
        monotonic: returns nanoseconds since some moment; never goes back.
        precise: returns nanoseconds since some moment, to measure what takes little time.
    """

    wall: Callable[[], int]
    monotonic: Callable[[], int]
    precise: Callable[[], int]


CLOCKS: Final = _Clocks(time.time_ns, time.monotonic_ns, time.perf_counter_ns)
