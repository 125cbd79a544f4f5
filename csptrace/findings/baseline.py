"""The baseline: known findings that are accepted for now, in a file that people review.

A TOML file with one `[[finding]]` table for each fingerprint::

    version = 1

    [[finding]]
    fingerprint = "1:8c1f03d2a5b94e70"
    count = 2
    code = "leaked-at-release"
    kind = "HCRYPTKEY"
    where = "app/keys.py in make_session"
    reason = "the cache of session keys, see the ticket"
    expires = 2027-01-31

`fingerprint` and `count` (how many of them are accepted in one run) are what is judged; `code`,
`kind` and `where` are there for the reader. The rest is optional.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from csptrace import tomlfile
from csptrace.errors import BaselineError
from csptrace.files import check_replaceable, replacing
from csptrace.tomlfile import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

__all__ = [
    "VERSION",
    "Entry",
    "Judgement",
    "Seen",
    "check_writable",
    "judge",
    "merge",
    "read",
    "render",
    "write",
]

VERSION: Final = 1
_FINGERPRINT: Final = re.compile(r"\d+:[0-9a-f]{16}")
_HEADER: Final = re.compile(r"\s*\[\[\s*finding\s*\]\]")
_PREFACE: Final = (
    "# Findings of csptrace that are accepted for now: at most `count` of each in one run.\n"
    "# Rewritten by `pytest --csptrace --csptrace-update-baseline`; `reason` and `expires` are\n"
    "# yours and are kept.\n"
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One accepted finding.

    Attributes:
        fingerprint: the finding's.
        count: how many are accepted in one run.
        code: the finding code, for the reader.
        kind: the kind of handle, for the reader.
        where: file and function, for the reader.
        reason: why it is accepted.
        expires: the last day on which it is accepted; `None` for ever.
    """

    fingerprint: str
    count: int
    code: str = ""
    kind: str = ""
    where: str = ""
    reason: str = ""
    expires: dt.date | None = None

    def is_expired(self, today: dt.date | None = None) -> bool:
        """Return whether it accepts nothing any more.

        Args:
            today: the date; the real one (UTC) if not given.
        """
        today = today or dt.datetime.now(tz=dt.UTC).date()
        return self.expires is not None and self.expires < today


@dataclasses.dataclass(frozen=True, slots=True)
class Seen:
    """How often a finding occurred, and what it is.

    Attributes:
        fingerprint: the finding's.
        count: how many there were in one run.
        code: the finding code.
        kind: the kind of handle.
        where: file and function, without a line number, so that the file changes with the bug only.
    """

    fingerprint: str
    count: int
    code: str = ""
    kind: str = ""
    where: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a run looks like against a baseline.

    Attributes:
        new: fingerprints that no entry accepts.
        exceeded: fingerprint → (accepted, seen), where there were more than accepted.
        known: fingerprints that are accepted.
        expired: entries that would accept something but are past their date.
        stale: entries of which nothing was seen.
    """

    new: tuple[str, ...]
    exceeded: Mapping[str, tuple[int, int]]
    known: tuple[str, ...]
    expired: tuple[Entry, ...]
    stale: tuple[Entry, ...]


def judge(
    entries: Iterable[Entry], seen: Mapping[str, int], today: dt.date | None = None
) -> Judgement:
    """Hold a run against a baseline.

    Args:
        entries: the baseline.
        seen: fingerprint → how often it occurred.
        today: the date that entries expire against; the real one if not given.

    Returns:
        The judgement, each part in the order of `entries` and `seen`.
    """
    given = list(entries)
    valid = {entry.fingerprint: entry for entry in given if not entry.is_expired(today)}
    return Judgement(
        new=tuple(name for name, count in seen.items() if count and name not in valid),
        exceeded={
            name: (valid[name].count, count)
            for name, count in seen.items()
            if name in valid and count > valid[name].count
        },
        known=tuple(
            name for name, count in seen.items() if name in valid and count <= valid[name].count
        ),
        expired=tuple(
            entry for entry in given if entry.is_expired(today) and seen.get(entry.fingerprint)
        ),
        stale=tuple(entry for entry in given if not seen.get(entry.fingerprint)),
    )


def merge(
    entries: Iterable[Entry], seen: Iterable[Seen], *, keep_unseen: bool = False
) -> tuple[Entry, ...]:
    """Return the baseline that accepts exactly what was seen.

    Args:
        entries: the old baseline; reasons and dates are taken from it.
        seen: what occurred.
        keep_unseen: keep the entries of which nothing was seen, because the run did not cover
            everything.

    Returns:
        The new entries, in the order in which they are written.
    """
    old = {entry.fingerprint: entry for entry in entries}
    fresh: dict[str, Entry] = dict(old) if keep_unseen else {}
    for what in seen:
        if not what.count:
            continue
        before = old.get(what.fingerprint)
        fresh[what.fingerprint] = Entry(
            fingerprint=what.fingerprint,
            count=max(what.count, before.count) if keep_unseen and before else what.count,
            code=what.code,
            kind=what.kind,
            where=what.where,
            reason=before.reason if before else "",
            expires=before.expires if before else None,
        )
    return tuple(sorted(fresh.values(), key=_order))


def _order(entry: Entry) -> tuple[str, str, str, str]:
    return (entry.where, entry.code, entry.kind, entry.fingerprint)


# --- the file -----------------------------------------------------------------------------------


def read(path: Path) -> tuple[Entry, ...]:
    """Read a baseline file.

    Args:
        path: the file.

    Returns:
        The entries, in the order of the file; none if there is no such file.

    Raises:
        BaselineError: the file cannot be read or says something that is not allowed; names the
            file, the line and the field.
    """
    try:
        with tomlfile.opened(path) as (descriptor, _info):
            raw = tomlfile.contents(path, descriptor)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise BaselineError(f"{path}: cannot be read: {error.strerror or error}") from error
    text, data = tomlfile.parse(path, raw, BaselineError)
    return _Reader(path, text).entries(data)


class _Reader:
    """Checks what a file says, and knows on which line it says it."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._lines = text.splitlines()
        self._starts = [number for number, line in enumerate(self._lines, 1) if _HEADER.match(line)]

    def entries(self, data: dict[str, Any]) -> tuple[Entry, ...]:
        for name in data:
            if name not in ("version", "finding"):
                raise self._error(0, name, "unknown field; known are version and [[finding]]")
        version = data.get("version")
        if version != VERSION or isinstance(version, bool):
            what = "is missing" if version is None else f"= {shown(version)}"
            raise self._error(0, "version", f"{what}; this csptrace reads version {VERSION}")
        tables = data.get("finding", [])
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            raise self._error(0, "finding", "must be written as [[finding]] tables")
        found: dict[str, int] = {}
        entries = []
        for index, table in enumerate(tables, 1):
            entry = self._entry(index, table)
            if entry.fingerprint in found:
                where = self._line(found[entry.fingerprint], "fingerprint")
                raise self._error(index, "fingerprint", f"is the same as on line {where}")
            found[entry.fingerprint] = index
            entries.append(entry)
        return tuple(entries)

    def _entry(self, index: int, table: dict[str, Any]) -> Entry:
        known = [field.name for field in dataclasses.fields(Entry)]
        for name in table:
            if name not in known:
                raise self._error(index, name, f"unknown field; known are {', '.join(known)}")
        for name in ("fingerprint", "count"):
            if name not in table:
                raise self._error(index, name, "is missing")
        for name in ("fingerprint", "code", "kind", "where", "reason"):
            if not isinstance(table.get(name, ""), str):
                raise self._error(index, name, f"= {shown(table[name])}; must be a text")
        if not _FINGERPRINT.fullmatch(table["fingerprint"]):
            raise self._error(
                index,
                "fingerprint",
                f"= {table['fingerprint']!r}; must look like '1:0123456789abcdef'",
            )
        count = table["count"]
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise self._error(index, "count", f"= {shown(count)}; must be a whole number from 1")
        expires = table.get("expires")
        if isinstance(expires, str):
            with suppress(ValueError):  # refused below, as any other value that is no date
                expires = dt.date.fromisoformat(expires)
        if expires is not None and type(expires) is not dt.date:
            value = table["expires"]
            written = str(value) if isinstance(value, str | dt.date) else shown(value)
            text = f"= {written}; must be a date such as 2027-01-31"
            raise self._error(index, "expires", text)
        return Entry(**{**table, "expires": expires})

    def _error(self, index: int, field: str, text: str) -> BaselineError:
        line = self._line(index, field)
        what = f"finding {index}: " if index else ""
        return BaselineError(f"{self._path}:{line}: {what}{field} {text}")

    def _line(self, index: int, field: str) -> int:
        """Return the line of a field of the finding with this number, 0 for the file's own."""
        ends = [*self._starts, len(self._lines) + 1]
        start = self._starts[index - 1] if 0 < index <= len(self._starts) else 1
        end = ends[min(index, len(ends) - 1)]
        named = re.compile(
            rf"""\s*["']?{re.escape(field)}["']?\s*[=.]|\s*\[+\s*{re.escape(field)}"""
        )
        for number in range(start, end):
            if named.match(self._lines[number - 1]):
                return number
        return start


def render(entries: Iterable[Entry]) -> str:
    """Return the text of a baseline file, in a stable order."""
    parts = [f"{_PREFACE}version = {VERSION}\n"]
    for entry in sorted(entries, key=_order):
        lines = ["", "[[finding]]", f"fingerprint = {_quoted(entry.fingerprint)}"]
        lines.append(f"count = {entry.count}")
        lines.extend(
            f"{name} = {_quoted(getattr(entry, name))}"
            for name in ("code", "kind", "where", "reason")
            if getattr(entry, name)
        )
        if entry.expires is not None:
            lines.append(f"expires = {entry.expires.isoformat()}")
        parts.append("\n".join(lines) + "\n")
    return "".join(parts)


def _quoted(text: str) -> str:
    """Return a TOML basic string (toml.io, v1.0.0, "String")."""
    escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
    out = []
    for char in text.encode("utf-8", "backslashreplace").decode():
        number = ord(char)
        if char in escapes:
            out.append(escapes[char])
        elif number < 0x20 or number == 0x7F:
            out.append(f"\\u{number:04x}")
        else:
            out.append(char)
    return f'"{"".join(out)}"'


def check_writable(path: Path) -> None:
    """See to it now that the baseline can be written later.

    Args:
        path: the file.

    Raises:
        BaselineError: it could not be.
    """
    try:
        check_replaceable(path)
    except OSError as error:
        raise BaselineError(f"{path}: cannot be written: {error.strerror or error}") from error


def write(path: Path, entries: Iterable[Entry], *, mode: int = 0o666) -> None:
    """Write a baseline file, whole or not at all.

    Args:
        path: the file; replaced if it exists.
        entries: what it is to say.
        mode: the permissions of a new file, less what the umask takes away.

    Raises:
        BaselineError: it cannot be written.
    """
    try:
        with replacing(path, mode=mode) as file:
            file.write(render(entries).encode("utf-8"))
    except OSError as error:
        raise BaselineError(f"{path}: cannot be written: {error.strerror or error}") from error
