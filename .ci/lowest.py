"""Print constraints that hold every direct dependency at its declared lower bound.

python .ci/lowest.py test >lowest.txt; python -m pip install -c lowest.txt -e '.[test]'
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

_OWN = re.compile(r"([\w.-]+)\[([\w,.-]+)\]")
_BOUNDED = re.compile(r"([\w.-]+)(?:\[[\w,.-]+\])?\s*>=\s*([\w.]+)")


def bounds(project: dict[str, Any], extras: list[str]) -> dict[str, str]:
    """Return what is needed, each with its lower bound.

    Args:
        project: the table `project` of pyproject.toml.
        extras: names of extras; those of the project that they name in turn are followed.

    Raises:
        SystemExit: a dependency has no lower bound, or there is no such extra.
    """
    known = project["optional-dependencies"]
    waiting: list[str] = [*project["dependencies"]]
    found: dict[str, str] = {}
    for extra in extras:
        if extra not in known:
            sys.exit(f"lowest.py: there is no extra {extra}; there are {', '.join(sorted(known))}")
        waiting += known[extra]
    for requirement in waiting:  # it grows
        own = _OWN.fullmatch(requirement)
        if own is not None and own[1] == project["name"]:
            for extra in own[2].split(","):
                waiting += [each for each in known[extra] if each not in waiting]
            continue
        bounded = _BOUNDED.match(requirement)
        if bounded is None:
            sys.exit(f"lowest.py: {requirement} has no lower bound in pyproject.toml")
        found[bounded[1]] = bounded[2]
    return found


if __name__ == "__main__":
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    for name, version in sorted(bounds(tomllib.loads(text)["project"], sys.argv[1:]).items()):
        print(f"{name}=={version}")
