"""Everything as JSON, in the form that `report.schema.json` describes.

The field names are those of `csptrace.analysis.results`; pairs of a name and a count become
objects, and a place becomes three fields: its file, its line, and both as one text. `version` rises
when a field changes its meaning.
"""

from __future__ import annotations

import dataclasses
import json
from importlib import resources
from typing import TYPE_CHECKING, Any, Final, cast

import orjson

from csptrace.analysis.render.escaping import json_text
from csptrace.analysis.results import VERSION, Place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from csptrace.analysis.render import Options
    from csptrace.analysis.results import Comparison, Report

__all__ = ["as_data", "comparison", "encodable", "report", "schema"]

_NAMED: Final = ("name", "count")
_PAIRS: Final[dict[str, tuple[str, str]]] = {
    "scopes": _NAMED,
    "causes": _NAMED,
    "other_schema": ("schema", "count"),
    "findings": ("code", "count"),
    "under": ("kind", "count"),
    "timelines": ("run", "points"),
}


def report(report: Report, options: Options) -> str:
    """Render a report.

    Args:
        report: what to show.
        options: how to show it.
    """
    return _document("csptrace.report", report, options)


def comparison(comparison: Comparison, options: Options) -> str:
    """Render a comparison.

    Args:
        comparison: what to show.
        options: how to show it.
    """
    return _document("csptrace.comparison", comparison, options)


def schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of both documents, as it ships with the package."""
    file = resources.files("csptrace.analysis.render").joinpath("report.schema.json")
    return cast("dict[str, Any]", json.loads(file.read_text(encoding="utf-8")))


def as_data(value: Any, text: Callable[[str], str] = str) -> Any:
    """Return a result, or a part of one, as what JSON can hold.

    Args:
        value: of `csptrace.analysis.results`.
        text: what to do with each text.
    """
    if isinstance(value, str):
        return text(value)
    if isinstance(value, tuple):
        fields = getattr(value, "_fields", None)
        if fields is None:
            return [as_data(each, text) for each in value]
        return _object(zip(fields, value, strict=True), text)
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
        return _object(((name, getattr(value, name)) for name in names), text)
    return value


def _object(fields: Iterable[tuple[str, Any]], text: Callable[[str], str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in fields:
        if isinstance(value, Place):
            found |= {name: text(str(value)), f"{name}_file": text(value.file)}
            found[f"{name}_line"] = value.line
        elif name in _PAIRS:
            first, second = _PAIRS[name]
            found[name] = [{first: text(one), second: as_data(other, text)} for one, other in value]
        else:
            found[name] = as_data(value, text)
    return found


def _document(kind: str, value: Report | Comparison, options: Options) -> str:
    head = {"format": kind, "version": VERSION, "title": encodable(options.title)}
    if options.generated:
        head["generated"] = options.generated
    data = {**head, **as_data(value, encodable)}
    return json_text(orjson.dumps(data, option=orjson.OPT_INDENT_2).decode()) + "\n"


def encodable(text: str) -> str:
    """Return text that UTF-8 can hold: lone surrogates (from file names) are written out.

    Args:
        text: any text.
    """
    return text.encode("utf-8", "backslashreplace").decode()
