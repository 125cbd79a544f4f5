"""Source code as it may be quoted: without what could be a secret.

A line in which something leaked may have a PIN, a password or the name of a key container in it,
and whatever quotes the line goes to terminals, build logs and reports. So a quoted line consists of
names, keywords, operators and blanks; everything else is left out:

* Every text is replaced by `...`, bytes, f-strings with all that is in them, and docstrings too.
* A PIN has four digits or more. So numbers are shown only where all numbers of one statement
  together have three digits at most and are plain decimal ones (`keys[0]`, `f(h, 0, 24)`); else
  every number of the statement is replaced. Numbers that are not plain decimal (`0x4d2`, `1e3`,
  `2j`) are always replaced.
* Comments are dropped.

What cannot be taken apart for certain is not quoted at all: a file that is no Python (any more), is
larger than 300,000 characters (whoever asks waits for all of it, about a third of a second, and
with it every thread that acquires or releases), or has anything between its tokens but blanks.
"""

from __future__ import annotations

import ast
import copy
import re
import tokenize
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["MASK", "expression", "lines"]

MASK: Final = "..."
"""Stands for what is left out."""
_MOST_DIGITS: Final = 3
_LARGEST: Final = 300_000
"""Characters."""
_PLAIN: Final = re.compile(r"[0-9]+")
_BLANK: Final = re.compile(r"[ \t\f\\\r\n]*")
_OPENS: Final = ("FSTRING_START", "TSTRING_START")
_CLOSES: Final = ("FSTRING_END", "TSTRING_END")
"""Tokens of CPython 3.12 and 3.14; before, such a text is one token, as others are."""
_NOTHING: Final = ("NEWLINE", "NL", "INDENT", "DEDENT", "ENDMARKER")
_SHOWN: Final = ("NAME", "OP", "ASYNC", "AWAIT")


class _UnclearError(Exception):
    """A source cannot be taken apart for certain."""


def lines(source: Sequence[str]) -> tuple[str, ...]:
    """Return the lines of a file as they may be quoted.

    Args:
        source: the lines of the file, each with its newline.

    Returns:
        As many lines, without newlines; none at all if the file cannot be taken apart.
    """
    if sum(map(len, source)) > _LARGEST:
        return ()
    try:
        return _Quoted(source).result()
    except (
        _UnclearError,
        tokenize.TokenError,
        SyntaxError,
        ValueError,
        RecursionError,
        MemoryError,
    ):
        return ()


class _Quoted:
    """The lines of one file while they are taken apart.

    Args:
        source: its lines.
    """

    def __init__(self, source: Sequence[str]) -> None:
        self._source = source
        self._shown: list[list[str]] = [[] for _ in source]
        self._row, self._column = 1, 0
        self._numbers: list[tuple[int, int, str]] = []

    def result(self) -> tuple[str, ...]:
        """Return the lines as they may be quoted."""
        inside = 0
        begin = (1, 0)
        for token in tokenize.generate_tokens(iter(self._source).__next__):
            kind = tokenize.tok_name[token.type]
            if kind in _OPENS:
                if not inside:
                    begin = token.start
                inside += 1
            elif kind in _CLOSES:
                inside -= 1
                if not inside:
                    self._mask(begin, token.end)
            elif not inside:
                self._take(kind, token)
        if inside:
            raise _UnclearError
        self._settle()
        return tuple("".join(parts).rstrip() for parts in self._shown)

    def _take(self, kind: str, token: tokenize.TokenInfo) -> None:
        """Enter a token that is not part of a text."""
        if kind == "STRING":
            self._mask(token.start, token.end)
        elif kind == "COMMENT":
            self._go_to(token.start)
            self._row, self._column = token.end
        elif kind == "NUMBER":
            self._go_to(token.start)
            self._numbers.append((token.start[0], len(self._line(token.start[0])), token.string))
            self._put(token.start[0], token.string, token.end)
        elif kind in _SHOWN:
            self._go_to(token.start)
            self._put(token.start[0], token.string, token.end)
        elif kind not in _NOTHING:
            raise _UnclearError
        if kind == "NEWLINE":
            self._settle()

    def _line(self, row: int) -> list[str]:
        if not 1 <= row <= len(self._shown):
            raise _UnclearError
        return self._shown[row - 1]

    def _put(self, row: int, text: str, end: tuple[int, int]) -> None:
        self._line(row).append(text)
        if end != (row, self._column + len(text)):
            raise _UnclearError
        self._row, self._column = end

    def _go_to(self, place: tuple[int, int]) -> None:
        """Enter what stands before a token: blanks, and backslashes at the ends of lines."""
        row, column = place
        if place < (self._row, self._column):
            raise _UnclearError
        while self._row < row:
            self._blank(self._source[self._row - 1][self._column :])
            self._row, self._column = self._row + 1, 0
        self._blank(self._source[row - 1][self._column : column])
        self._column = column

    def _blank(self, text: str) -> None:
        if _BLANK.fullmatch(text) is None:
            raise _UnclearError
        self._line(self._row).append(text.rstrip("\r\n"))

    def _mask(self, start: tuple[int, int], end: tuple[int, int]) -> None:
        """Leave a text out, on each of its lines."""
        self._go_to(start)
        for row in range(start[0], end[0] + 1):
            self._line(row).append(MASK)
        self._row, self._column = end

    def _settle(self) -> None:
        """Leave out the numbers of a statement that could be a PIN, now that it has ended."""
        if not _harmless(text for _, _, text in self._numbers):
            for row, at, _ in self._numbers:
                self._line(row)[at] = MASK
        self._numbers.clear()


def _harmless(numbers: Iterable[str]) -> bool:
    """Return whether the numbers of one statement may be shown."""
    texts = list(numbers)
    return all(map(_PLAIN.fullmatch, texts)) and len("".join(texts)) <= _MOST_DIGITS


def _is_small(number: complex) -> bool:
    return isinstance(number, int) and 0 <= number < 10**_MOST_DIGITS


class _Masked(ast.NodeTransformer):
    """Replaces the literals in an expression.

    Args:
        harmless: whether its numbers may be shown.
    """

    def __init__(self, *, harmless: bool) -> None:
        self._harmless = harmless

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        """Replace one, but for True, False, None and numbers that may be shown."""
        shown = node.value is None or node.value is ... or isinstance(node.value, bool)
        if shown or (self._harmless and isinstance(node.value, int)):
            return node
        return ast.Constant(...)

    def visit_JoinedStr(self, _node: ast.JoinedStr) -> ast.expr:
        """Replace one with fields in it."""
        return ast.Constant(...)

    def visit_FormattedValue(self, _node: ast.FormattedValue) -> ast.expr:
        """Replace a field that stands alone."""
        return ast.Constant(...)

    def visit_TemplateStr(self, _node: ast.AST) -> ast.expr:
        """Replace one of CPython 3.14."""
        return ast.Constant(...)

    def visit_Interpolation(self, _node: ast.AST) -> ast.expr:
        """Replace a field of such a one that stands alone: it holds its source as a text."""
        return ast.Constant(...)


def expression(node: ast.expr) -> str:
    """Return an expression as it may be quoted.

    Args:
        node: the expression; it is not changed.
    """
    numbers = (
        str(each.value) if _is_small(each.value) else ""
        for each in ast.walk(node)
        if isinstance(each, ast.Constant)
        and isinstance(each.value, int | float | complex)
        and not isinstance(each.value, bool)
    )
    return ast.unparse(_Masked(harmless=_harmless(map(str, numbers))).visit(copy.deepcopy(node)))
