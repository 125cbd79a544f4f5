"""The baseline file: what is accepted, how it is read, and how it is written again."""

from __future__ import annotations

import datetime as dt
import os
import tomllib
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from csptrace.errors import BaselineError
from csptrace.findings.baseline import (
    Entry,
    Seen,
    check_writable,
    judge,
    merge,
    read,
    render,
    write,
)

if TYPE_CHECKING:
    from pathlib import Path

TODAY = dt.date(2026, 11, 22)
A, B, C = (f"1:{digit * 16}" for digit in "abc")
HEAD = "version = 1\n\n[[finding]]\n"

FINGERPRINTS = st.integers(0, 2**64 - 1).map(lambda number: f"1:{number:016x}")
TEXTS = st.text(st.characters(codec="utf-8"), max_size=30)
ENTRIES = st.builds(
    Entry,
    fingerprint=FINGERPRINTS,
    count=st.integers(1, 10**9),
    code=st.sampled_from(["lost", "leaked-at-exit"]),
    kind=TEXTS,
    where=TEXTS,
    reason=TEXTS,
    expires=st.none() | st.dates(),
)
BASELINES = st.lists(ENTRIES, max_size=4, unique_by=lambda entry: entry.fingerprint)


def entry(name: str, count: int = 1, **more: object) -> Entry:
    """Return an entry."""
    return Entry(fingerprint=name, count=count, **more)  # type: ignore[arg-type]


def file(folder: Path, text: str) -> Path:
    """Write a baseline file."""
    path = folder / "known.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_judgement() -> None:
    """What is unknown is new, what is more than accepted exceeds, what is missing is stale."""
    entries = [
        entry(A, 2),
        entry(B, 1),
        entry(C, 5, expires=dt.date(2026, 11, 21)),
        entry("1:0000000000000000"),
    ]
    judgement = judge(entries, {A: 2, B: 3, C: 1, "1:1111111111111111": 1}, TODAY)

    assert judgement.known == (A,)
    assert judgement.exceeded == {B: (1, 3)}
    assert judgement.new == (C, "1:1111111111111111")
    assert [one.fingerprint for one in judgement.expired] == [C]
    assert [one.fingerprint for one in judgement.stale] == ["1:0000000000000000"]


def test_last_day() -> None:
    """An entry is accepted on the day it expires, and not on the next."""
    known = entry(A, expires=TODAY)

    assert not known.is_expired(TODAY)
    assert known.is_expired(TODAY + dt.timedelta(days=1))
    assert not entry(A).is_expired()


def test_merging_keeps_reasons_and_drops_what_is_gone() -> None:
    """The new baseline accepts exactly what was seen; `keep_unseen` keeps the rest."""
    old = [
        entry(A, 9, reason="old", expires=TODAY, where="z"),
        entry(B, reason="gone", where="a"),
    ]
    seen = [Seen(A, 2, "lost", "KEY", "m"), Seen(C, 1, "lost", "KEY", "b"), Seen(B, 0)]

    assert merge(old, seen) == (
        entry(C, 1, code="lost", kind="KEY", where="b"),
        entry(A, 2, code="lost", kind="KEY", where="m", reason="old", expires=TODAY),
    )
    kept = merge(old, seen, keep_unseen=True)
    assert [one.fingerprint for one in kept] == [B, C, A]
    assert kept[2].count == 9


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(BASELINES, BASELINES)
def test_what_was_merged_accepts_what_was_seen(old: list[Entry], new: list[Entry]) -> None:
    """Whatever the old baseline said, the new one has nothing to complain about (but dates)."""
    seen = [Seen(one.fingerprint, one.count, one.code, one.kind, one.where) for one in new]
    merged = merge(old, seen)
    judgement = judge(merged, {one.fingerprint: one.count for one in new}, dt.date.min)

    assert (judgement.new, judgement.exceeded, judgement.stale) == ((), {}, ())
    assert merge(merged, seen) == merged


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(BASELINES)
def test_a_file_says_what_was_written(entries: list[Entry]) -> None:
    """Every text survives, and the order of the file does not depend on that of the entries."""
    text = render(entries)
    data = tomllib.loads(text)

    assert render(reversed(entries)) == text
    found = data.get("finding", [])
    assert len(found) == len(entries)
    by_name = {one.fingerprint: one for one in entries}
    for table in found:
        one = by_name[table["fingerprint"]]
        for name in ("count", "code", "kind", "where", "reason", "expires"):
            assert table.get(name) == (getattr(one, name) or None)


def test_reading_and_writing(tmp_path: Path) -> None:
    """A written file is read again; it can be reviewed line by line."""
    entries = (
        entry(B, 3, where="a.py in f", reason='with "quotes"\nand lines', expires=TODAY),
        entry(A, 1, code="lost", kind="HCRYPTKEY", where="b.py in g"),
    )
    path = tmp_path / "known.toml"
    write(path, reversed(entries))

    assert read(path) == entries
    assert path.read_text("utf-8").splitlines()[3:] == [
        "version = 1",
        "",
        "[[finding]]",
        f'fingerprint = "{B}"',
        "count = 3",
        'where = "a.py in f"',
        'reason = "with \\"quotes\\"\\nand lines"',
        "expires = 2026-11-22",
        "",
        "[[finding]]",
        f'fingerprint = "{A}"',
        "count = 1",
        'code = "lost"',
        'kind = "HCRYPTKEY"',
        'where = "b.py in g"',
    ]
    assert [one.name for one in tmp_path.iterdir()] == ["known.toml"]


def test_missing_file(tmp_path: Path) -> None:
    """No file is an empty baseline."""
    assert read(tmp_path / "none.toml") == ()


def test_hand_written_file(tmp_path: Path) -> None:
    """Comments, a byte order mark, quoted keys and a date in quotes are fine."""
    path = file(
        tmp_path,
        f'\ufeff# ours\nversion = 1\n[[ finding ]] # one\n"fingerprint" = "{A}"\ncount=2\n'
        'expires = "2027-01-31"\n',
    )

    assert read(path) == (entry(A, 2, expires=dt.date(2027, 1, 31)),)


GOOD = f'fingerprint = "{A}"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("version = 1\n[[finding]\n", "known.toml:2: not a TOML file"),
        ("", "known.toml:1: version is missing; this csptrace reads version 1"),
        ("\nversion = 2\n", "known.toml:2: version = 2; this csptrace reads version 1"),
        ("version = true\n", "known.toml:1: version = True"),
        ("version = 1\n\nother = 2\n", "known.toml:3: other unknown field"),
        ("version = 1\n\n[finding]\na = 1\n", "known.toml:3: finding must be written as"),
        (HEAD + "count = 1\n", "known.toml:3: finding 1: fingerprint is missing"),
        (HEAD + GOOD, "known.toml:3: finding 1: count is missing"),
        (HEAD + GOOD + "count = 0\n", "known.toml:5: finding 1: count = 0; must be a whole number"),
        (HEAD + GOOD + "count = true\n", "known.toml:5: finding 1: count = True"),
        (HEAD + GOOD + "count = 1.5\n", "known.toml:5: finding 1: count = 1.5"),
        (HEAD + 'count = 1\nfingerprint = "x"\n', "known.toml:5: finding 1: fingerprint = 'x'"),
        (HEAD + "count = 1\nfingerprint = 7\n", "known.toml:5: finding 1: fingerprint = 7"),
        (HEAD + GOOD + "count = 1\nreason = 3\n", "known.toml:6: finding 1: reason = 3"),
        (HEAD + GOOD + "count = 1\nexpires = 3\n", "known.toml:6: finding 1: expires = 3"),
        (
            HEAD + GOOD + "count = 1\nexpires = 'soon'\n",
            "known.toml:6: finding 1: expires = soon; must be a date such as 2027-01-31",
        ),
        (
            HEAD + GOOD + "count = 1\nexpires = 2027-01-31T00:00:00\n",
            "known.toml:6: finding 1: expires = 2027-01-31 00:00:00",
        ),
        (HEAD + GOOD + "count = 1\nuntil = 3\n", "known.toml:6: finding 1: until unknown field"),
        (
            HEAD + GOOD + "count = 1\n\n[[finding]]\ncount = 1\n" + GOOD,
            "known.toml:9: finding 2: fingerprint is the same as on line 4",
        ),
    ],
)
def test_a_broken_file_names_file_line_and_field(tmp_path: Path, text: str, words: str) -> None:
    """Each error says where it is and what is allowed there."""
    with pytest.raises(BaselineError) as caught:
        read(file(tmp_path, text))

    assert str(caught.value).startswith(str(tmp_path / words))


def test_a_file_in_another_encoding(tmp_path: Path) -> None:
    """The line that is not UTF-8 is named."""
    path = tmp_path / "known.toml"
    path.write_bytes(b"version = 1\n# caf\xe9\n")

    with pytest.raises(BaselineError, match=r"known\.toml:2: not UTF-8"):
        read(path)


def test_unreadable_and_unwritable(tmp_path: Path) -> None:
    """A folder in its place, and a folder that does not exist, are errors with the path."""
    with pytest.raises(BaselineError, match="cannot be read"):
        read(tmp_path)
    with pytest.raises(BaselineError, match="cannot be written: it is a folder"):
        check_writable(tmp_path)
    with pytest.raises(BaselineError, match="cannot be written"):
        check_writable(tmp_path / "no" / "known.toml")
    with pytest.raises(BaselineError, match="cannot be written"):
        write(tmp_path / "no" / "known.toml", ())
    check_writable(tmp_path / "known.toml")
    assert list(tmp_path.iterdir()) == []


def test_read_only_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read-only file is noticed before the run."""
    path = file(tmp_path, "version = 1\n")
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everything

    with pytest.raises(BaselineError, match="read-only"):
        check_writable(path)


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is replaced whole or not at all."""
    path = file(tmp_path, "version = 1\n")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))

    with pytest.raises(BaselineError, match="full"):
        write(path, [entry(A)])
    assert path.read_text("utf-8") == "version = 1\n"
    assert [one.name for one in tmp_path.iterdir()] == ["known.toml"]
