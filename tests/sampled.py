"""Which of many cases of one kind are tried, where each takes a second or more.

A sample is, spread over all of them; `CSPTRACE_TESTS=all` tries each.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

ALL = os.environ.get("CSPTRACE_TESTS") == "all"
Case = TypeVar("Case")


def sampled(cases: Iterable[Case], every: int) -> list[Case]:
    """Return every so many-th case, or all.

    Args:
        cases: the cases.
        every: 2 for the first, the third, the fifth.
    """
    return list(cases) if ALL else list(cases)[::every]
