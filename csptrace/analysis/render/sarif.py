"""SARIF 2.1.0 for code scanning, by the same producer that the pytest plugin uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from csptrace import __version__
from csptrace.analysis import sarif
from csptrace.analysis.render.escaping import json_text
from csptrace.analysis.render.jsonform import encodable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from csptrace.analysis.render import Options
    from csptrace.analysis.results import Comparison, Group, Report

__all__ = ["comparison", "report"]


def report(report: Report, options: Options) -> str:
    """Render the findings of a report.

    Args:
        report: what to show.
        options: `source_root` is the folder that file names are made relative to.
    """
    return _document(report.groups, options)


def comparison(comparison: Comparison, options: Options) -> str:
    """Render what is new or has grown.

    Args:
        comparison: what to show.
        options: as for a report.
    """
    worse = (change.group for change in comparison.changes if change.what in ("new", "grown"))
    return _document(worse, options)


def _document(groups: Iterable[Group], options: Options) -> str:
    log = sarif.log(groups, version=__version__, root=options.source_root)
    document = orjson.dumps(_encodable(log), option=orjson.OPT_INDENT_2).decode()
    return json_text(document) + "\n"


def _encodable(value: object) -> object:
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, dict):
        return {key: _encodable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_encodable(each) for each in value]
    return value
