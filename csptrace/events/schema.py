"""The schema of the event log: the only contract between traced processes and analysis.

One JSON object a line, flat, one file per process: `csptrace-<host>-<pid>-<start>.jsonl`. Event
names are past participles, every event carries `schema`, and only the fields listed here are ever
written: handle metadata, never arguments, key material, PINs or plaintext.

`hid` (handle) and `seq` (event) are monotonic per process. A stack is written once, as
`csptrace.stack`, before the first event that refers to it. What analysis would have to join is
repeated: `live` on acquisition, `kind`, `stack` and `age_ns` on release.

What can be lost: each event is one `write` to a file opened with `O_APPEND`, nothing is buffered
in the process. A killed process loses nothing whose write had returned, at any level; only its
`csptrace.run_ended` is missing then. A machine that loses power may lose what the system had not
yet written out. The levels differ in what is recorded at all:

* `count`: run, scope and finding events; no handle events, no stacks.
* `acquire`: also handle events, with the stacks of acquisition and release.
* `full`: also the last use of a handle, in findings.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import Any, Final, cast

__all__ = [
    "EVENTS",
    "LONGEST_LINE",
    "READABLE",
    "REPLACED",
    "SCHEMA",
    "json_schema",
    "shipped",
]

LONGEST_LINE: Final = 256 << 10
"""In bytes. A writer shortens what would be longer (the outer frames of a very deep stack), and for
a reader a longer line is no event, so that the memory it needs is bounded."""

SCHEMA: Final = 2
"""The version written into every event. It rises when a field changes its meaning.

Version 2 gives places as file and line, where version 1 had one text of both.
"""

READABLE: Final = (1, SCHEMA)
"""The versions whose every field analysis understands."""

REPLACED: Final[dict[str, tuple[str, ...]]] = {
    "csptrace.finding": (
        "where",
        "siblings_where",
        "cause_where",
        "cause_raised_where",
        "cause_caught_where",
    ),
}
"""Event → fields of version 1 that hold a place as `file:line`. Since version 2 it has a field for
the file, whose name ends in `_file`, and one for the line, whose name ends in `_line`; `where`
alone is still written, for people and for scripts that search logs."""

_TEXT: Final = {"type": "string"}
_COUNT: Final = {"type": "integer", "minimum": 0}
_INT: Final = {"type": "integer"}
_FLAG: Final = {"type": "boolean"}
_COUNTS: Final = {"type": "object", "additionalProperties": _COUNT}
_HIDS: Final = {"type": "array", "items": _COUNT}

_COMMON: Final[dict[str, dict[str, Any]]] = {
    "event": _TEXT,
    "schema": {"const": SCHEMA},
    "run": {**_TEXT, "description": "unique to the process's run"},
    "pid": _COUNT,
    "seq": {**_COUNT, "description": "monotonic per process"},
    "ts": {**_COUNT, "description": "wall clock, nanoseconds since 1970-01-01 UTC"},
    "mono": {**_INT, "description": "monotonic clock, nanoseconds"},
}
_WHERE: Final[dict[str, dict[str, Any]]] = {
    "api": _TEXT,
    "binding": _TEXT,
    "call": _TEXT,
    "tid": _COUNT,
    "thread": _TEXT,
}
_HANDLE: Final[dict[str, dict[str, Any]]] = {
    "hid": {**_COUNT, "description": "the handle, unique within the process"},
    "kind": _TEXT,
    "value": {**_TEXT, "description": "hexadecimal; `object 0x…` for an object without a number"},
    "gen": {**_COUNT, "description": "counts the handles with this value"},
}
_STACK: Final = {**_COUNT, "description": "id of a csptrace.stack event; 0 if none was captured"}
_AGE: Final = {**_INT, "description": "nanoseconds since acquisition; -1 if unknown"}


def _place(name: str, description: str = "") -> dict[str, dict[str, Any]]:
    """Return the two fields of a place."""
    about = {"description": description} if description else {}
    return {f"{name}_file": {**_TEXT, **about}, f"{name}_line": _COUNT}


def _places(description: str) -> dict[str, Any]:
    """Return a field with places, each with a name."""
    item = {"type": "array", "prefixItems": [_TEXT, _COUNT, _TEXT], "minItems": 3, "maxItems": 3}
    return {"type": "array", "items": item, "description": description}


_FRAME: Final = {
    "type": "array",
    "description": "file, line, qualified name, module, whether it is the user's code",
    "prefixItems": [_TEXT, _COUNT, _TEXT, _TEXT, _FLAG],
    "minItems": 5,
    "maxItems": 5,
}

# event → (required fields, optional fields)
EVENTS: Final[dict[str, tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]]] = {
    "csptrace.run_started": (
        {
            "csptrace": {**_TEXT, "description": "version of csptrace"},
            "python": _TEXT,
            "platform": _TEXT,
            "host": _TEXT,
            "program": {**_TEXT, "description": "file name of the program, without arguments"},
            "level": _TEXT,
            "apis": {"type": "array", "items": _TEXT},
        },
        {
            "parent_run": {**_TEXT, "description": "the run this process was forked from"},
            "pid_namespace": {
                **_TEXT,
                "description": "in which of the machine's namespaces of processes `pid` counts "
                "(Linux: the inode of /proc/self/ns/pid, which containers have of their own)",
            },
        },
    ),
    "csptrace.handle_acquired": (
        {**_WHERE, **_HANDLE, "stack": _STACK, "live": _COUNT},
        {"parent": _COUNT, "needs": _HIDS, "name": _TEXT, "task": _TEXT, "scope": _TEXT},
    ),
    "csptrace.handle_released": (
        {
            **_WHERE,
            **_HANDLE,
            "stack": _STACK,
            "release_stack": _STACK,
            "age_ns": _AGE,
            "live": _COUNT,
            "how": {
                "enum": ["released", "reference", "handed-over", "collected", "unseen"],
                "description": "`reference`: references remain; `unseen`: the value was handed "
                "out again although no release was seen",
            },
        },
        {"uses": _COUNT, "task": _TEXT, "scope": _TEXT},
    ),
    "csptrace.handle_unheld": (
        {
            **_WHERE,
            **_HANDLE,
            "stack": _STACK,
            "release_stack": _STACK,
            "age_ns": _AGE,
            "live": _COUNT,
        },
        {"uses": _COUNT, "task": _TEXT, "scope": _TEXT},
    ),
    "csptrace.handle_invalidated": (
        {
            **_HANDLE,
            "stack": _STACK,
            "age_ns": _AGE,
            "by": {**_COUNT, "description": "hid of the handle whose release did it"},
            "live": _COUNT,
        },
        {"uses": _COUNT},
    ),
    "csptrace.finding": (
        {
            **_HANDLE,
            "code": _TEXT,
            "severity": {"enum": ["error", "warning", "info"]},
            "api": _TEXT,
            "binding": _TEXT,
            "fingerprint": _TEXT,
            "tid": _COUNT,
            "thread": _TEXT,
            "age_ns": _AGE,
            "uses": _COUNT,
            "inherited": _FLAG,
            "remedy": _TEXT,
            "acquired_stack": _STACK,
            "ended_stack": _STACK,
            "misused_stack": _STACK,
        },
        {
            "name": _TEXT,
            "parents": _HIDS,
            "children": _COUNTS,
            "acquired_by": _TEXT,
            "ended_by": _TEXT,
            "misused_by": _TEXT,
            "culprit": _COUNT,
            "culprit_kind": _TEXT,
            "reused_by": _COUNT,
            "reused_kind": _TEXT,
            "last_use_stack": _STACK,
            "last_use_by": _TEXT,
            **_place("where", "the first frame of user code"),
            "where": {**_TEXT, "description": "both as one text, for people: file:line"},
            "task": _TEXT,
            "scope": _TEXT,
            "siblings_acquired": _COUNT,
            "siblings_released": _COUNT,
            **_place("siblings_where", "what released most of them"),
            "siblings_where_count": _COUNT,
            "siblings_alike": {
                **_COUNT,
                "description": "how many from there leaked in the same way; 0 if not known",
            },
            "times": {
                **_COUNT,
                "minimum": 1,
                "description": "how many handles it stands for, this one included; 1 if missing",
            },
            "found": {
                "type": "boolean",
                "description": "it was only found by the call in acquired_by, and owes no release",
            },
            "harm": {**_TEXT, "description": "what such a leak costs"},
            "cause": {**_TEXT, "description": "why it was not released, in words"},
            "cause_exit": {
                "enum": [
                    "running",
                    "returned",
                    "handed-on",
                    "yielded",
                    "raised",
                    "suspended",
                    "closed",
                    "cancelled",
                ],
                "description": "how the function that should have released it was left",
            },
            "cause_pattern": {
                "enum": [
                    "exception",
                    "early-return",
                    "branch",
                    "order",
                    "never-released",
                    "overwritten",
                    "loop",
                    "stored",
                    "discarded",
                    "handed-on",
                    "suspended",
                ],
                "description": "why the release was missed",
            },
            "cause_function": {**_TEXT, "description": "its qualified name"},
            **_place("cause_where", "where it was left, or stood"),
            "cause_exception": {**_TEXT, "description": "the exception's type"},
            "cause_raised_in": _TEXT,
            **_place("cause_raised_where"),
            "cause_caught_in": _TEXT,
            **_place("cause_caught_where"),
            "cause_moves": _places(
                "file, line and name of the functions that handed it on, the acquiring one first"
            ),
            "cause_skipped": _places("file, line and call of the releases that were not reached"),
        },
    ),
    "csptrace.stack": ({"stack": _COUNT, "frames": {"type": "array", "items": _FRAME}}, {}),
    "csptrace.scope_ended": ({"scope": _TEXT, "leaked": _COUNT}, {}),
    "csptrace.notice": (
        {"code": _TEXT, "message": {**_TEXT, "description": "what csptrace could not do, and why"}},
        {},
    ),
    "csptrace.peak_reached": (
        {
            "kind": _TEXT,
            "parent_kind": {**_TEXT, "description": "a C type, as in the spec"},
            "value": {**_TEXT, "description": "the parent's value, hexadecimal"},
            "library": {**_TEXT, "description": "file name of the library"},
            "peak": {**_COUNT, "description": "the most that were open at once in this run"},
            "limit": {**_COUNT, "description": "how many there may be; 0 if unknown or unlimited"},
        },
        {},
    ),
    "csptrace.run_ended": (
        {
            "acquired": _COUNT,
            "peak": _COUNT,
            "live": _COUNT,
            "findings": _COUNTS,
        },
        {
            "bytes": {**_COUNT, "description": "length of the log before this event"},
            "writing_ns": {
                **_COUNT,
                "description": "time spent in writing events, estimated from every 64th",
            },
        },
    ),
}


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of one line of a log."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"csptrace event, version {SCHEMA}",
        "type": "object",
        "required": list(_COMMON),
        "oneOf": [
            {
                "properties": {**_COMMON, **required, **optional, "event": {"const": event}},
                "required": list(required),
                "additionalProperties": False,
            }
            for event, (required, optional) in EVENTS.items()
        ],
    }


def shipped() -> dict[str, Any]:
    """Return the schema file that ships in the package; equal to `json_schema()`."""
    text = resources.files("csptrace.events").joinpath("schema.json").read_text("utf-8")
    return cast("dict[str, Any]", json.loads(text))
