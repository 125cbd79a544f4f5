"""Does what a remedy says to a source, word by word, where it says it with lines."""

from __future__ import annotations

import ast
import re

_MOVE = re.compile(
    r"move (?:lines (\d+) to (\d+) \(.*\)|.* \(line (\d+)\)) in front of line (\d+)$"
)
_REGISTER = re.compile(r"register \w+ \(line (\d+)\) behind line (\d+): ")
_TRY = re.compile(
    r"begin a try (after|in front of) line (\d+) and move .*? \(lines? (\d+)(?: to \d+)?\) into"
)


def mended(source: str, remedy: str) -> str | None:
    """Return a source as a remedy says that it should be.

    Args:
        source: the source.
        remedy: what to do.

    Returns:
        `None` if the remedy does not say it with the lines that have to be moved.
    """
    lines = source.splitlines(keepends=True)
    if match := _MOVE.search(remedy):
        first, last = (match[1], match[2]) if match[1] else (match[3], match[3])
        return _move(source, lines, int(first), int(last), int(match[4]))
    if match := _REGISTER.search(remedy):
        return _move(source, lines, int(match[1]), int(match[1]), int(match[2]) + 1)
    if match := _TRY.search(remedy):
        return _guard(source, lines, int(match[2]), int(match[3]), before=match[1] != "after")
    return None


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _statement(source: str, line: int) -> tuple[ast.stmt, list[ast.stmt]]:
    """Return the innermost statement that begins on a line or spans it, and its block."""
    best: tuple[ast.stmt, list[ast.stmt]] | None = None
    for node in ast.walk(ast.parse(source)):
        for field in ("body", "orelse", "finalbody"):
            block = getattr(node, field, None)
            for each in block if isinstance(block, list) else ():
                if each.lineno <= line <= (each.end_lineno or 0):
                    best = each, block
    assert best is not None
    return best


def _shifted(lines: list[str], before: str, after: str) -> list[str]:
    return [after + line.removeprefix(before) if line.strip() else line for line in lines]


def _move(source: str, lines: list[str], first: int, last: int, before: int) -> str:
    """Move lines in front of another one, to whose block they belong then."""
    moved = lines[first - 1 : last]
    statement, block = _statement(source, first)
    if len(block) == 1 and (statement.lineno, statement.end_lineno) == (first, last):
        left = [f"{_indent(moved[0])}pass\n"]  # nothing else stands there
    else:
        left = []
    target = lines[before - 1] if before <= len(lines) else lines[before - 2]
    moved = _shifted(moved, _indent(moved[0]), _indent(target))
    if before > first:
        return "".join(
            lines[: first - 1] + left + lines[last : before - 1] + moved + lines[before - 1 :]
        )
    return "".join(
        lines[: before - 1] + moved + lines[before - 1 : first - 1] + left + lines[last:]
    )


def _guard(source: str, lines: list[str], start: int, release: int, *, before: bool) -> str:
    """Put what follows a line, up to a release, into a try, and the release into its finally."""
    opening, block = _statement(source, start)
    inside = block[block.index(opening) + (not before) :]
    if isinstance(opening, ast.For | ast.With) and not before:
        inside = opening.body
    first = inside[0].lineno
    holder = next(
        (each for each in inside if each.lineno <= release <= (each.end_lineno or 0)), None
    )
    last = (holder or inside[-1]).end_lineno or 0
    statement, own = _statement(source, release)
    gone = range(statement.lineno - 1, statement.end_lineno or 0)
    released = [lines[number] for number in gone]
    outer = _indent(lines[first - 1])
    body = [
        line for number, line in enumerate(lines[first - 1 : last], first - 1) if number not in gone
    ]
    if len(own) == 1 or not "".join(body).strip():
        body.append(f"{_indent(released[0])}pass\n")
    return "".join(
        [
            *lines[: first - 1],
            f"{outer}try:\n",
            *_shifted(body, "", "    "),
            f"{outer}finally:\n",
            *_shifted(released, _indent(released[0]), outer + "    "),
            *lines[last:],
        ]
    )
