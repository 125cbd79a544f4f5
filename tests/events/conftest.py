"""Fixtures that run traced programs in processes of their own."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pytest
from event_runs import execute

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from event_runs import Run


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Run]:
    """Return a function that runs Python with arguments and settings and collects the logs."""
    return functools.partial(execute, tmp_path)


@pytest.fixture
def scenario(tmp_path: Path) -> Callable[..., Run]:
    """Return a function that runs scenarios of tests/golden/program.py."""

    def play(*names: str, **options: Any) -> Run:
        if "held_too_long" in names:
            options.setdefault("held_too_long", 0.05)
        done = execute(tmp_path, "program.py", *names, **options)
        assert done.status == 0, done.err
        return done

    return play
