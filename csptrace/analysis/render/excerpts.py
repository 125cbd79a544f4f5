"""Source lines around a frame, read when the report is made, if this machine has the file.

A log names files of the machine that ran the program, and may name anything at all. So a file is
only read if it is Python source below the folder that the user gave (links resolved), and a line is
only quoted if it lies in a function with the frame's name: otherwise the file has changed since, or
is another one. What could be a secret is left out of it.
"""

from __future__ import annotations

import ast
import io
import os
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from csptrace import quoting
from csptrace.analysis.render.escaping import shortened

if TYPE_CHECKING:
    from collections.abc import Iterator

    from csptrace.analysis.results import Frame

__all__ = ["Excerpt", "Excerpts"]

_AROUND: Final = 3
_LONGEST: Final = 160
_LARGEST: Final = 2_000_000
_SUFFIXES: Final = (".py", ".pyw")


class Excerpt(NamedTuple):
    """Some lines of a file.

    Attributes:
        first: the number of the first line, from 1.
        lines: the lines, without the indentation that all of them share.
    """

    first: int
    lines: tuple[str, ...]


class _File(NamedTuple):
    lines: tuple[str, ...]
    functions: tuple[tuple[int, int, str], ...]
    """First line, last line and name; enclosing ones before enclosed ones."""


class Excerpts:
    """Quotes lines from below one folder.

    Args:
        root: the folder; empty to quote nothing.
    """

    def __init__(self, root: str) -> None:
        self._root = os.path.realpath(root) if root else ""
        self._load = lru_cache(maxsize=256)(self._read)

    def around(self, frame: Frame) -> Excerpt | None:
        """Return the lines around a frame, None if they cannot be had or do not fit.

        Args:
            frame: of a log.
        """
        if not self._root:
            return None
        for path in self._candidates(frame.file):
            file = self._load(path)
            if file is not None:
                return _quoted(file, frame)
        return None

    def _candidates(self, name: str) -> Iterator[str]:
        """Yield the places below the root at which a file could be, the most exact one first."""
        parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
        if not parts or ".." in parts or not parts[-1].endswith(_SUFFIXES) or "\0" in name:
            return
        inside = os.path.join(self._root, "")
        whole = os.path.realpath(name) if os.path.isabs(name) else ""
        if whole.startswith(inside):
            yield whole
        for start in range(len(parts)):
            path = os.path.realpath(os.path.join(self._root, *parts[start:]))
            if path.startswith(inside):
                yield path

    def _read(self, path: str) -> _File | None:
        try:
            if not os.path.isfile(path) or os.path.getsize(path) > _LARGEST:
                return None
            with open(path, "rb") as file:
                source = file.read()
            tree = ast.parse(source)
            with io.TextIOWrapper(io.BytesIO(source), _encoding(source)) as stream:
                lines = quoting.lines(stream.readlines())
        except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
            return None  # unreadable, another language, or not what it was: nothing to quote
        functions = [
            (min((line.lineno for line in node.decorator_list), default=node.lineno), node)
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        ]
        spans = sorted((first, -(node.end_lineno or first), node.name) for first, node in functions)
        return _File(lines, tuple((a, -b, name) for a, b, name in spans))


def _encoding(source: bytes) -> str:
    import tokenize  # noqa: PLC0415 - likewise

    return tokenize.detect_encoding(io.BytesIO(source).readline)[0]


def _quoted(file: _File, frame: Frame) -> Excerpt | None:
    if not 1 <= frame.line <= len(file.lines) or not _fits(file, frame):
        return None
    first = max(1, frame.line - _AROUND)
    last = min(len(file.lines), frame.line + _AROUND)
    lines = [line.expandtabs(4) for line in file.lines[first - 1 : last]]
    while not lines[-1].strip() and first + len(lines) - 1 > frame.line:
        lines.pop()
    while not lines[0].strip() and first < frame.line:
        lines.pop(0)
        first += 1
    indents = [len(line) - len(line.lstrip(" ")) for line in lines if line.strip()]
    shared = min(indents, default=0)
    return Excerpt(first, tuple(shortened(line[shared:].rstrip(), _LONGEST) for line in lines))


def _fits(file: _File, frame: Frame) -> bool:
    """Return whether the line lies where the frame says: in the functions of its name."""
    expected = [
        part
        for part in frame.function.split(".")
        if part and not (part.startswith("<") and part.endswith(">"))
    ]
    around = [name for first, last, name in file.functions if first <= frame.line <= last]
    return around == expected
