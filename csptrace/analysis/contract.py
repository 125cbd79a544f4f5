"""What a line must hold to be an event: decided once, for every reader.

The event schema says which fields an event has; the questions say which of them are read. Both
together give the `NEEDS` of each event, and from these come the check of a parsed line
(`event_of`) and the condition in SQL (`condition`). A line that does not fit is *foreign*: it is
counted, and nothing of it is used.

* The fields that every event has must be there in every version of the schema: `event`, a text
  that starts with `csptrace.`, `run`, `seq`, `ts` and `mono`. `schema` is a number if it is there.
* Events of a readable version must have every field that the schema requires and the questions
  read. In events of other versions they may be missing; what is there must have its type.
* A place that version 1 has as `file:line` becomes the fields of version 2, here for a parsed line
  and in `queries.INPUTS` for SQL: nothing behind reads that text.
* Of an event whose name is unknown only the common fields are looked at, and fields that nobody
  reads, known or unknown, may hold anything.
* `null` is the same as nothing. Words of an enumeration that are not in it are a newer version's.

An integer is what DuckDB converts to one (its size: `_BITS`): a number (rounded to the even
neighbour), a boolean, or a text with a number in it. Telling `5` from `"5"` costs a tenth of the
time of reading a log (measured); so a text where an integer stands is converted by every reader
alike. Spark takes numbers only. Texts, lists and frames must be what they are called; Spark cannot
tell what stands where a text is expected.
"""

from __future__ import annotations

import math
import re
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from csptrace.analysis import queries
from csptrace.events.schema import EVENTS, READABLE, REPLACED

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

__all__ = ["COMMON", "NEEDS", "Need", "condition", "event_of", "integer", "is_ambiguous"]


class Need(NamedTuple):
    """What one field must hold.

    Attributes:
        sort: `integer`, `text`, `integers` (a list of numbers) or `frames`.
        required: whether events of this version of the schema must have it.
        least: the least integer allowed.
        most: the greatest.
    """

    sort: str
    required: bool
    least: int = 0
    most: int = 0


_BITS: Final = {"ts": 62, "mono": 61, "age_ns": 61}
"""Of how many bits nanoseconds may be, so that differences of two have 64: years until 2116, and
73 years of a machine's running. Other numbers have 53, so that thousands can be added up, and
JSON's readers in other languages keep them."""


def _integer(name: str, about: dict[str, Any], *, required: bool) -> Need:
    most = (1 << _BITS.get(name, 53)) - 1
    return Need("integer", required, about.get("minimum", -most), most)


def _need(name: str, about: dict[str, Any], *, required: bool) -> Need:
    match about:
        case {"type": "integer"}:
            return _integer(name, about, required=required)
        case {"type": "string"} | {"enum": _}:
            return Need("text", required)
        case {"type": "array", "items": {"type": "integer"}}:
            return Need("integers", required)
        case {"type": "array", "items": {"prefixItems": _}}:
            return Need("frames", required)
    raise NotImplementedError(f"a question reads a field of a type that nobody checks: {about}")


def _needs() -> dict[str, dict[str, Need]]:
    everywhere = queries.INPUTS["events"][1].values()
    found: dict[str, dict[str, Need]] = {}
    for event, parts in EVENTS.items():
        wanted = {"how", *everywhere, *queries.ASKED.get(event, ())} - COMMON.keys()
        found[event] = {
            name: _need(name, about, required=part is parts[0])
            for part in parts
            for name, about in part.items()
            if name in wanted
        }
        replaced = [name for name in REPLACED.get(event, ()) if f"{name}_file" in found[event]]
        found[event].update(dict.fromkeys(replaced, Need("text", False)))
        if "pid" in wanted:
            found[event]["pid"] = _integer("pid", {"minimum": 0}, required=True)
    return found


COMMON: Final = {
    "run": Need("text", True),
    "seq": _integer("seq", {"minimum": 0}, required=True),
    "ts": _integer("ts", {"minimum": 0}, required=True),
    "mono": _integer("mono", {}, required=True),
}
"""The fields that every event must have, whatever its version and name."""

NEEDS: Final = _needs()
"""Event → field → what it must hold: the fields that are read."""

_VERSION: Final = _integer("schema", {}, required=False)
_PREFIX: Final = "csptrace."
_LEAST: Final = -(1 << 63)
_MOST: Final = (1 << 63) - 1
_SHORT: Final = 10**15
"""Numbers in lists are less than this, so that their digits can be counted."""
_TEXT: Final = r'"(?:[^"\\]|\\.)*"'
_FRAME: Final = rf"\[{_TEXT},[0-9]{{1,15}},{_TEXT},{_TEXT},(?:true|false)\]"
_FORMS: Final = {
    "integers": r"\[(?:[0-9]{1,15}(?:,[0-9]{1,15})*)?\]",
    "frames": rf"\[(?:{_FRAME}(?:,{_FRAME})*)?\]",
}
"""Lists as JSON without blanks."""


# --- a parsed line --------------------------------------------------------------------------------


def event_of(line: Any) -> dict[str, Any] | None:
    """Return the event that a parsed line holds, `None` if it is foreign.

    Args:
        line: a parsed line.

    Returns:
        The event, with every integer that was looked at converted.
    """
    if not isinstance(line, dict):
        return None
    name = line.get("event")
    if not isinstance(name, str) or not name.startswith(_PREFIX):
        return None
    event = dict(line)
    if not _settle(event, "schema", _VERSION, required=False):
        return None
    strict = event.get("schema") in READABLE
    for field, need in COMMON.items():
        if not _settle(event, field, need, required=True):
            return None
    for field, need in NEEDS.get(name, {}).items():
        if not _settle(event, field, need, required=need.required and strict):
            return None
    for field in REPLACED.get(name, ()):
        _replace(event, field)
    return event


_PLACE: Final = re.compile("(.*):([0-9]{1,15})")


def _replace(event: dict[str, Any], field: str) -> None:
    """Put the fields of this version in the place of one of version 1."""
    place = event.pop(field, None)
    match = _PLACE.fullmatch(place) if isinstance(place, str) else None
    if match is not None:
        event.setdefault(f"{field}_file", match[1])
        event.setdefault(f"{field}_line", int(match[2]))


def _settle(event: dict[str, Any], field: str, need: Need, *, required: bool) -> bool:
    """Convert a field that is an integer; return whether the field fits."""
    value = event.get(field)
    if value is None:
        event.pop(field, None)
        return not required
    match need.sort:
        case "integer":
            number = event[field] = integer(value)
            return number is not None and need.least <= number <= need.most
        case "text":
            return isinstance(value, str)
        case "integers":
            return isinstance(value, list) and all(map(_is_short, value))
        case _:
            return isinstance(value, list) and all(map(_is_frame, value))


def _is_short(value: Any) -> bool:
    return type(value) is int and 0 <= value < _SHORT


def _is_frame(value: Any) -> bool:
    match value:
        case [str(), line, str(), str(), bool()]:
            return _is_short(line)
    return False


_NUMBER: Final = re.compile(
    r"[ \t\n\v\f\r]*(?P<number>[+-]?(?:\d+(?:_\d+)*(?:\.(?:\d+(?:_\d+)*)?)?|\.\d+(?:_\d+)*)"
    r"(?:[eE][+-]?\d+)?)[ \t\n\v\f\r]*",
    re.ASCII,
)
_BASES: Final = re.compile(
    r"[ \t\n\v\f\r]*0(?:[xX](?P<hex>[0-9a-fA-F]+(?:_[0-9a-fA-F]+)*)|[bB](?P<bits>[01]+(?:_[01]+)*))"
    r"[ \t\n\v\f\r]*"
)


def integer(value: Any) -> int | None:
    """Return the 64-bit integer that a value of JSON stands for, as DuckDB converts it.

    Args:
        value: a parsed value.

    Returns:
        The integer, `None` if it stands for none.
    """
    match value:
        case bool() | int():
            number = int(value)
        case float() if math.isfinite(value) and value > _LEAST:  # which is what was too small
            number = round(value)
        case str() if (found := _from_text(value)) is not None:
            number = found
        case _:
            return None
    return number if _LEAST <= number <= _MOST else None


def _from_text(text: str) -> int | None:
    based = _BASES.fullmatch(text)
    if based is not None:
        return int(based["hex"], 16) if based["hex"] else int(based["bits"], 2)
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    try:
        number = Decimal(match["number"].replace("_", ""))
        if number and number.adjusted() > 30:
            return None
        return int(number.to_integral_value(ROUND_HALF_UP))
    except (InvalidOperation, OverflowError):
        return None


# --- SQL ------------------------------------------------------------------------------------------


def condition(
    events: Callable[[str], bool],
    sort_of: Callable[[str], str] | None = None,
    trusted: Collection[str] = (),
    matches: str = "regexp_full_match({}, '{}')",
    quote: str = '"',
) -> str:
    """Return the SQL condition for the fields of a line to fit.

    Args:
        events: whether an event of this name is to be looked at closely; of others only the common
            fields are.
        sort_of: field → the SQL of the type that it has in JSON, as DuckDB's `json_type` names
            it; evaluated only where the converted column leaves a doubt. `None` where the columns
            come from a place in which all has been checked before.
        trusted: fields whose texts are known to be texts, see `is_ambiguous`.
        matches: the SQL of whether a column matches a regular expression from end to end.
        quote: stands around the name of a column.

    Returns:
        A condition on columns that are called like the fields, which is never NULL. Integers are
        BIGINT, everything else is VARCHAR.
    """

    def holds(field: str, need: Need, may_lack: str) -> str:
        sort = sort_of(field) if sort_of is not None else ""
        column = f"{quote}{field}{quote}"
        return _holds(column, need, may_lack, sort, matches, sure=field in trusted)

    parts = [f"event LIKE '{_PREFIX}%'"]
    parts += [holds(field, need, "FALSE") for field, need in COMMON.items()]
    parts.append(holds("schema", _VERSION, "TRUE"))
    cases = ""
    for event, needs in NEEDS.items():
        if needs and events(event):
            closely = " AND ".join(
                holds(field, need, _OTHER_VERSION if need.required else "TRUE")
                for field, need in needs.items()
            )
            cases += f" WHEN '{event}' THEN {closely}"
    if cases:
        parts.append(f"CASE event{cases} ELSE TRUE END")
    return f"COALESCE({' AND '.join(parts)}, FALSE)"


_OTHER_VERSION: Final = f"COALESCE(schema, 0) NOT IN {READABLE}"


def _holds(column: str, need: Need, may_lack: str, sort: str, matches: str, *, sure: bool) -> str:
    """Return the condition for one field; where `may_lack` is true, it may be missing.

    Only CASE looks at nothing but the rows that are left.
    """
    lacks = may_lack
    if need.sort == "integer":
        if sort and may_lack != "FALSE":  # NULL may also be what could not be converted
            lacks = f"({may_lack} AND {_is_nothing(sort)})"
        fits = f"{column} BETWEEN {need.least} AND {need.most}"
        return f"CASE WHEN {column} IS NULL THEN {lacks} ELSE {fits} END"
    if need.sort == "text":
        fits = "TRUE"
        if sort and not sure:
            # What starts so is nothing else: most values of handles need not be asked about.
            plain = f"{column} LIKE '0x%' OR {column} LIKE 'object %'"
            fits = f"CASE WHEN {plain} THEN TRUE ELSE {sort} = 'VARCHAR' END"
    else:
        fits = matches.format(column, _FORMS[need.sort])
        if sort:
            fits = f"({fits} AND {sort} = 'ARRAY')"
    return f"CASE WHEN {column} IS NULL THEN {lacks} ELSE {fits} END"


def _is_nothing(sort: str) -> str:
    return f"COALESCE({sort}, 'NULL') = 'NULL'"


_OTHER: Final = re.compile(
    r"[\[{].*|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|-?(?:nan|inf|infinity)|true|false",
    re.ASCII | re.IGNORECASE | re.DOTALL,
)


def is_ambiguous(text: str) -> bool:
    """Return whether a text could also be what DuckDB makes of something in JSON that is no text.

    Args:
        text: such as `[1]`, which is both a list and a text.
    """
    return _OTHER.fullmatch(text) is not None
