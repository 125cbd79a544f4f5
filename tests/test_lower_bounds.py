"""What continuous integration installs to test the declared lower bounds."""

from __future__ import annotations

import runpy
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
BOUNDS = runpy.run_path(str(ROOT / ".ci" / "lowest.py"))["bounds"]


def test_extras_are_followed() -> None:
    """What an extra needs through another one is held at its bound, too."""
    project: dict[str, Any] = {
        "name": "it",
        "dependencies": ["a>=1"],
        "optional-dependencies": {"x": ["it[y,z]", "b>=2.1"], "y": ["c[more]>=3"], "z": ["it[y]"]},
    }

    assert BOUNDS(project, []) == {"a": "1"}
    assert BOUNDS(project, ["x"]) == {"a": "1", "b": "2.1", "c": "3"}


@pytest.mark.parametrize("requirement", ["d", "d<2", "d==1.*; python_version<'4'"])
def test_a_dependency_needs_a_lower_bound(requirement: str) -> None:
    """One without is an error that names it."""
    project = {"name": "it", "dependencies": [requirement], "optional-dependencies": {}}

    with pytest.raises(SystemExit, match="has no lower bound"):
        BOUNDS(project, [])


@pytest.mark.parametrize("extra", PROJECT["optional-dependencies"])
def test_every_dependency_has_one(extra: str) -> None:
    """Whatever is declared in this project can be held at its lower bound."""
    assert BOUNDS(PROJECT, [extra])
