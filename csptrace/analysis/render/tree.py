"""The handles of a run as a forest, for every renderer that draws it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from csptrace.analysis.results import Node

__all__ = ["BAD", "Excerpt", "label", "worst"]

BAD: Final = ("invalidated", "collected", "alive")
"""The ends that a handle should not come to."""


class Excerpt(NamedTuple):
    """Part of a handle graph.

    Attributes:
        nodes: parents before children.
        left_out: how many were left out.
    """

    nodes: tuple[Node, ...]
    left_out: int


def worst(graph: Iterable[Node], most: int) -> Excerpt:
    """Choose the handles to draw where there is no room for all.

    Those that did not end well come first, each with everything above it, then the others in their
    order as far as there is room.

    Args:
        graph: parents before children.
        most: how many to keep; a handle and what is above it are kept together, so that it may be
            a few less.
    """
    every = tuple(graph)
    if len(every) <= most:
        return Excerpt(every, 0)
    by_hid = {node.hid: node for node in every}
    kept: set[int] = set()
    for node in sorted(every, key=lambda node: node.how not in BAD):
        line: list[int] = []
        above = node
        while above.hid not in kept and above.hid not in line:
            line.append(above.hid)
            if above.parent not in by_hid:
                break
            above = by_hid[above.parent]
        if len(kept) + len(line) <= most:
            kept.update(line)
    nodes = tuple(node for node in every if node.hid in kept)
    return Excerpt(nodes, len(every) - len(nodes))


def label(node: Node) -> str:
    """Return kind, value and container of a handle.

    Args:
        node: the handle.
    """
    text = f"{node.kind} {node.value}".rstrip()
    return f"{text} {node.name!r}" if node.name else text
