"""The handle graph for Graphviz: contexts on the left, what lives under them to the right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from csptrace.analysis.render.escaping import dot_string
from csptrace.analysis.render.places import Places
from csptrace.analysis.render.tree import label, worst
from csptrace.analysis.render.words import duration, plural

if TYPE_CHECKING:
    from csptrace.analysis.render import Options
    from csptrace.analysis.results import Node, Report

__all__ = ["report"]

_MOST: Final = 2000
_COLOURS: Final = {
    "released": ("#e8f5e9", "#2e7d32"),
    "handed-over": ("#e8f5e9", "#2e7d32"),
    "invalidated": ("#ffebee", "#c62828"),
    "collected": ("#fff3e0", "#e65100"),
    "alive": ("#fff3e0", "#e65100"),
}
_OTHER: Final = ("#f5f5f5", "#616161")


def report(report: Report, options: Options) -> str:
    """Render the handle graph of a report.

    Args:
        report: what to show.
        options: the title.

    Returns:
        A directed graph: solid edges lead from parent to child, dashed ones to what is needed.
    """
    places = Places.of(report)
    shown = worst(report.graph, _MOST)
    cut = shown.left_out + report.graph_cut
    head = f"{options.title}: handles of run {report.graph_run}" if report.graph else options.title
    title = dot_string(head) + (rf"\n{plural(cut, 'more handle')} not shown" if cut else "")
    lines = [
        "digraph handles {",
        f'  graph [label="{title}", labelloc=t, rankdir=LR, fontname="Helvetica"]',
        '  node [shape=box, style="rounded,filled", fontname="Helvetica", fontsize=10]',
        '  edge [color="#90a4ae"]',
    ]
    present = {node.hid for node in shown.nodes}
    lines.extend(_box(node, places) for node in shown.nodes)
    for node in shown.nodes:
        if node.parent in present:
            lines.append(f"  n{node.parent} -> n{node.hid}")
        lines.extend(
            f'  n{node.hid} -> n{needed} [style=dashed, constraint=false, label="needs"]'
            for needed in node.needs
            if needed in present
        )
    return "\n".join((*lines, "}")) + "\n"


def _box(node: Node, places: Places) -> str:
    fill, line = _COLOURS.get(node.how, _OTHER)
    age = f" after {duration(node.ended - node.acquired)}" if node.ended >= 0 else ""
    rows = (label(node), f"{node.how}{age}", places.where(node.where))
    text = r"\n".join(dot_string(row) for row in rows if row)
    return f'  n{node.hid} [label="{text}", fillcolor="{fill}", color="{line}"]'
