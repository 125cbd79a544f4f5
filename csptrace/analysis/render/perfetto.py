"""Lifetimes of handles in Chrome's trace event format, for ui.perfetto.dev and chrome://tracing.

Complete and begin/end events must nest within a thread; lifetimes overlap. So each handle is a pair
of asynchronous events (`b`, `e`) with an id of its own, and live handles are a counter track. Times
are microseconds since the start of the run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from csptrace.analysis.render.escaping import json_text, shortened
from csptrace.analysis.render.places import Places
from csptrace.analysis.render.tree import label

if TYPE_CHECKING:
    from csptrace.analysis.render import Options
    from csptrace.analysis.results import Node, Report

__all__ = ["report"]


def report(report: Report, options: Options) -> str:
    """Render the handles of one run and the live handles of all.

    Args:
        report: what to show.
        options: the title.

    Returns:
        A JSON object with `traceEvents`. Handles that never ended last to the end of their run.
    """
    places = Places.of(report)
    runs = {run.run: run for run in report.runs}
    names = list(dict.fromkeys((report.graph_run, *runs, *(name for name, _ in report.timelines))))
    tracks = {name: number for number, name in enumerate((n for n in names if n), 1)}
    events: list[dict[str, Any]] = []
    for name, track in tracks.items():
        run = runs.get(name)
        text = f"{run.program} on {run.host}, process {run.pid}" if run else f"run {name}"
        events.append(_named("process_name", track, name=shortened(text)))
        events.append(_named("process_sort_index", track, sort_index=track))
    for name, points in report.timelines:
        events.extend(
            {
                "ph": "C",
                "name": "live handles",
                "pid": tracks.get(name, 0),
                "ts": _micro(point.at),
                "args": {"live": point.live},
            }
            for point in points
        )
    shown = runs.get(report.graph_run)
    last = max(
        shown.ended - shown.started if shown else 0,
        0,
        *(max(node.acquired, node.ended) for node in report.graph),
    )
    for node in report.graph:
        events.extend(_pair(node, tracks.get(report.graph_run, 0), last, places))
    data = {
        "displayTimeUnit": "ns",
        "otherData": {"title": shortened(options.title), "handles left out": report.graph_cut},
        "traceEvents": events,
    }
    return json_text(orjson.dumps(data).decode()) + "\n"


def _named(what: str, track: int, **args: Any) -> dict[str, Any]:
    return {"ph": "M", "name": what, "pid": track, "ts": 0, "args": args}


def _pair(node: Node, track: int, last: int, places: Places) -> tuple[dict[str, Any], ...]:
    same = {
        "cat": "handle",
        "id": f"0x{node.hid:x}",
        "name": shortened(label(node)),
        "pid": track,
        "tid": track,
    }
    args = {"hid": node.hid, "how": node.how, "acquired at": shortened(places.where(node.where))}
    if node.parent:
        args["under"] = node.parent
    if node.needs:
        args["needs"] = list(node.needs)
    end = node.ended if node.ended >= 0 else last
    return (
        {**same, "ph": "b", "ts": _micro(node.acquired), "args": args},
        {**same, "ph": "e", "ts": _micro(max(end, node.acquired))},
    )


def _micro(nanoseconds: int) -> float:
    return nanoseconds / 1000
