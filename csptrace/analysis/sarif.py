"""SARIF 2.1.0, for code scanning: one result for each group of equal findings.

What GitHub makes of a SARIF file, and its limits: docs.github.com, "SARIF support for code
scanning". Of the fingerprints it uses `primaryLocationLineHash` alone; of the locations the first.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from csptrace.analysis.grouping import siblings_text
from csptrace.findings.catalogue import CATALOGUE, guide

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from csptrace.analysis.results import Frame, Group, Place, Step

__all__ = ["SCHEMA_URI", "log"]

SCHEMA_URI: Final = "https://json.schemastore.org/sarif-2.1.0.json"
_MOST_RESULTS: Final = 25_000
_MOST_STEPS: Final = 1_000
_MOST_FRAMES: Final = 64
_ROOT: Final = "%SRCROOT%"
_LEVELS: Final = {"error": "error", "warning": "warning", "info": "note"}
_DRIVE: Final = re.compile(r"[A-Za-z]:[\\/]")
_ROWS: Final = {code.value: row for code, row in CATALOGUE.items()}


def log(
    groups: Iterable[Group],
    *,
    version: str,
    root: str = "",
    category: str = "",
    suppressed: Iterable[str] = (),
) -> dict[str, Any]:
    """Return groups of findings as a SARIF log.

    Args:
        groups: the groups, the most important first: what is beyond the limit of 25,000 results is
            left out, and a notification says so.
        version: the version of csptrace.
        root: the folder that paths are made relative to, where the repository lies; files outside
            it, and all files without a root, are named in full.
        category: tells one run of the tool from another (`pytest/linux`); GitHub keeps the alerts
            of categories apart.
        suppressed: fingerprints that a baseline accepts; their results are marked as suppressed.

    Returns:
        The log, ready for `json.dump`.
    """
    given = list(groups)
    kept = given[:_MOST_RESULTS]
    accepted = frozenset(suppressed)
    codes = list(dict.fromkeys(group.code for group in kept))
    places = _Places(root)
    run: dict[str, Any] = {
        "tool": {
            "driver": {
                "name": "csptrace",
                "semanticVersion": version,
                "rules": [_rule(code) for code in codes],
            }
        },
        "columnKind": "unicodeCodePoints",
        "results": [
            _result(group, codes.index(group.code), places, group.fingerprint in accepted)
            for group in kept
        ],
    }
    if category:
        run["automationDetails"] = {"id": f"csptrace/{category.strip('/')}/"}
    if len(given) > len(kept):
        text = f"{len(given) - len(kept)} of {len(given)} results are left out: the limit is "
        run["invocations"] = [
            {
                "executionSuccessful": True,
                "toolExecutionNotifications": [
                    {"level": "warning", "message": {"text": f"{text}{_MOST_RESULTS:,}"}}
                ],
            }
        ]
    return {"$schema": SCHEMA_URI, "version": "2.1.0", "runs": [run]}


def _rule(code: str) -> dict[str, Any]:
    code = code or "unknown"
    row = _ROWS.get(code)  # a log may be of a newer csptrace
    short, text, cwe = (row.title, row.advice, row.cwe) if row is not None else (code, code, 0)
    help_text, help_markdown = text, text
    if guide(code):
        help_text += f" More: {guide(code)}"
        help_markdown += f" More: `{guide(code)}`"
    tags = ["reliability", "resource-leak"]
    if cwe:
        tags += ["security", f"external/cwe/cwe-{cwe:03}"]
    return {
        "id": code,
        "name": code.title().replace("-", ""),
        "shortDescription": {"text": f"{short}."},
        "fullDescription": {"text": f"{short}. {text}"},
        "help": {"text": help_text, "markdown": help_markdown},
        "properties": {"tags": tags, "precision": "very-high"},
    }


def _result(group: Group, rule: int, places: _Places, accepted: bool) -> dict[str, Any]:
    flow = [location for step in group.example.steps for location in places.of(step)]
    times = f" ({group.count} times)" if group.count > 1 else ""
    lines = [f"{group.kind}: {_short(group)}{times}. Fix: {group.remedy}."]
    siblings = siblings_text(group)
    if siblings:
        lines.append(f"{siblings[0].upper()}{siblings[1:]}.")
    if group.scopes:
        named = ", ".join(name for name, _ in group.scopes[:5])
        more = len(group.scopes) - 5
        lines.append(f"In {named}{f' and {more} more' if more > 0 else ''}.")
    result: dict[str, Any] = {
        "ruleId": group.code or "unknown",
        "ruleIndex": rule,
        "level": _LEVELS.get(group.severity, "warning"),
        "message": {"text": "\n".join(lines)},
        "partialFingerprints": {
            # Only the part behind the version of the algorithm may hold no colon: GitHub reads
            # what follows one as a counter.
            "primaryLocationLineHash": f"{group.fingerprint.rpartition(':')[2]}:1",
            "csptrace/v1": group.fingerprint,
        },
        "occurrenceCount": group.count,
        "properties": {
            "api": group.api,
            "kind": group.kind,
            "runs": group.runs,
            "scopes": [name for name, _ in group.scopes[:100]],
        },
    }
    if group.causes:
        result["properties"]["causes"] = [name for name, _ in group.causes]
    where = places.at(group.where) or _first(flow)
    if where is not None:
        result["locations"] = [{"physicalLocation": where}]
    if flow:
        result["codeFlows"] = [
            {
                "message": {"text": "What happened to the handle"},
                "threadFlows": [{"locations": flow[:_MOST_STEPS]}],
            }
        ]
    if accepted:
        result["suppressions"] = [{"kind": "external", "justification": "in the baseline"}]
    return result


def _short(group: Group) -> str:
    row = _ROWS.get(group.code)
    text = row.title if row is not None else group.code
    return text[:1].lower() + text[1:]


def _first(flow: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    for step in flow:
        found: dict[str, Any] | None = step["location"].get("physicalLocation")
        if found is not None:
            return found
    return None


class _Places:
    """Turns files of the traced machine into artifact locations.

    Args:
        root: the folder that paths are made relative to.
    """

    def __init__(self, root: str) -> None:
        self._root = root

    def at(self, place: Place) -> dict[str, Any] | None:
        """Return the location of a place, `None` if it names no file."""
        if not place or place.file.startswith("<"):
            return None
        return self._physical(place.file, place.line)

    def of(self, step: Step) -> Iterable[dict[str, Any]]:
        """Yield the frames of a step, outermost first, as the locations of a thread flow."""
        if not step.stack:
            yield {"location": {"message": {"text": step.text}}, "kinds": [step.role]}
            return
        user = [frame for frame in step.stack if frame.user] or list(step.stack)
        for frame in reversed(step.stack[:_MOST_FRAMES]):
            last = frame is user[0]
            text = f"called in {frame.function}"
            if last:  # an exit names its function by itself
                text = step.text if step.role == "exit" else f"{step.text} in {frame.function}"
            location: dict[str, Any] = {
                "message": {"text": text},
                "logicalLocations": [
                    {
                        "fullyQualifiedName": f"{frame.module}.{frame.function}",
                        "kind": "function",
                    }
                ],
            }
            physical = self._of_frame(frame)
            if physical is not None:
                location["physicalLocation"] = physical
            yield {
                "location": location,
                "kinds": [step.role],
                "importance": "essential"
                if last
                else ("important" if frame.user else "unimportant"),
            }

    def _of_frame(self, frame: Frame) -> dict[str, Any] | None:
        return None if frame.file.startswith("<") else self._physical(frame.file, frame.line)

    def _physical(self, file: str, line: int) -> dict[str, Any]:
        found: dict[str, Any] = {"artifactLocation": self._artifact(file)}
        if line > 0:
            found["region"] = {"startLine": line}
        return found

    def _artifact(self, file: str) -> dict[str, str]:
        windows = bool(_DRIVE.match(file)) or file.startswith("\\\\")
        path = PureWindowsPath(file) if windows else PurePosixPath(file)
        root = PureWindowsPath(self._root) if windows else PurePosixPath(self._root)
        if not path.is_absolute():
            return {"uri": _quoted(path.as_posix()), "uriBaseId": _ROOT}
        if self._root and path.is_relative_to(root):
            return {"uri": _quoted(path.relative_to(root).as_posix()), "uriBaseId": _ROOT}
        return {"uri": _file_uri(path)}


def _file_uri(path: PurePosixPath | PureWindowsPath) -> str:
    """Return the URI of an absolute path (RFC 8089, with its appendix E for Windows).

    `as_uri` of pure paths is deprecated since Python 3.14.
    """
    text = path.as_posix()
    if len(path.drive) == 2:  # a letter and a colon; of a share it is longer
        return f"file:///{path.drive}{_quoted(text[2:])}"
    if path.drive:
        return f"file:{_quoted(text)}"
    return f"file://{_quoted(text)}"


def _quoted(path: str) -> str:
    return quote(path.encode("utf-8", "backslashreplace"), safe="/@!$&'()*+,;=~")
