"""The handle graph for Mermaid, as GitHub draws it in Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from csptrace.analysis.render.escaping import mermaid_label
from csptrace.analysis.render.places import Places
from csptrace.analysis.render.tree import label, worst
from csptrace.analysis.render.words import plural

if TYPE_CHECKING:
    from csptrace.analysis.render import Options
    from csptrace.analysis.results import Node, Report

__all__ = ["diagram", "report"]

_MOST: Final = 200
"""Mermaid refuses more than 500 edges or 50,000 characters unless it is configured otherwise."""
_STYLES: Final = {
    "good": "fill:#e8f5e9,stroke:#2e7d32,color:#1b1f24",
    "bad": "fill:#ffebee,stroke:#c62828,color:#1b1f24",
    "left": "fill:#fff3e0,stroke:#e65100,color:#1b1f24",
    "other": "fill:#f5f5f5,stroke:#616161,color:#1b1f24",
}
_CLASSES: Final = {
    "released": "good",
    "handed-over": "good",
    "invalidated": "bad",
    "collected": "left",
    "alive": "left",
}


def report(report: Report, options: Options) -> str:
    """Render the handle graph of a report.

    Args:
        report: what to show.
        options: none of them matters here.
    """
    del options
    return diagram(report, _MOST)


def diagram(report: Report, most: int) -> str:
    """Return the handle graph, the worst handles first if there is not room for all.

    Args:
        report: what to show.
        most: how many handles to draw.
    """
    places = Places.of(report)
    shown = worst(report.graph, most)
    present = {node.hid for node in shown.nodes}
    lines = ["flowchart LR"]
    lines.extend(f"  {_box(node, places)}" for node in shown.nodes)
    needs = 0
    for node in shown.nodes:
        if node.parent in present:
            lines.append(f"  n{node.parent} --> n{node.hid}")
        for needed in node.needs:
            if needed in present and needs < most:
                needs += 1
                lines.append(f"  n{node.hid} -. needs .-> n{needed}")
    cut = shown.left_out + report.graph_cut
    if cut or not shown.nodes:
        text = f"{plural(cut, 'more handle')} not shown" if cut else "no handles"
        lines.append(f'  more["{text}"]:::other')
    lines.extend(f"  classDef {name} {style}" for name, style in _STYLES.items())
    return "\n".join(lines) + "\n"


def _box(node: Node, places: Places) -> str:
    rows = (label(node), node.how, places.where(node.where))
    text = "<br/>".join(mermaid_label(row) for row in rows if row)
    return f'n{node.hid}["{text}"]:::{_CLASSES.get(node.how, "other")}'
