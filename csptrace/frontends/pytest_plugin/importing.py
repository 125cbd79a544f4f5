"""Importing csptrace as it is, past the rewriting of assertions.

pytest rewrites the assertions of every module of a distribution that has a plugin. That is meant
for plugins that assert something about tests. csptrace does not, and its modules would only be
imported more slowly: pytest reads their byte code from files of its own, object by object
(with CPython 3.13.0 and pytest 9.2.0 that was 35 % of the instructions that a run of one test took
more with the plugin on, counted by callgrind).
"""

from __future__ import annotations

import sys
from contextlib import suppress
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    import pytest

__all__ = ["import_unchanged"]


class _Unchanged:
    """A finder of csptrace's own modules, as the interpreter itself finds them."""

    @staticmethod
    def find_spec(
        fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a module of csptrace; leave any other to the finders behind this one."""
        if fullname.startswith("csptrace."):
            return PathFinder.find_spec(fullname, path, target)
        return None


def import_unchanged(config: pytest.Config) -> None:
    """Import modules of csptrace without rewriting until pytest lets go of its configuration.

    Args:
        config: pytest's configuration.
    """
    sys.meta_path.insert(0, _Unchanged)
    config.add_cleanup(_undo)


def _undo() -> None:
    with suppress(ValueError):  # somebody has put back a list of before
        sys.meta_path.remove(_Unchanged)
