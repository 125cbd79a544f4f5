"""The cache of partial answers removes what it has made, and nothing else."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path
from typing import Any

import pytest
from golden_logs import AA, leaky
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from csptrace.analysis import cache, cache_folder, embedded, reading
from csptrace.analysis.cache import Cache
from csptrace.frontends import cli

LONG_AGO = time.time() - 400 * 24 * 3600


def age(folder: Path) -> None:
    """Make everything in a folder look as if nobody had touched it for a year."""
    for path in (*folder.rglob("*"), folder):
        os.utime(path, (LONG_AGO, LONG_AGO), follow_symlinks=False)


def content(folder: Path) -> dict[str, Any]:
    """Return what is in a folder, at every depth: path → bytes, link target, or nothing."""
    return {
        str(path.relative_to(folder)): os.readlink(path)
        if path.is_symlink()
        else path.read_bytes()
        if path.is_file()
        else None
        for path in folder.rglob("*")
    }


def fill(cache: Path, logs: Path) -> None:
    """Have an answer kept."""
    leaky().write(logs)
    embedded.analyse(reading.find([str(logs)]), cache=Cache(str(cache)))


def test_a_repository_is_no_cache(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--cache .` in a folder of the user's is refused, and everything in it stays."""
    logs, home = tmp_path / "logs", tmp_path / "home"
    leaky().write(logs)
    for name in (".git/HEAD", "src/main.py", "hashes/keep", f"{'a' * 64}/notes.txt", ".new-x/y"):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(name)
    age(home)
    before = content(home)

    assert cli.main(["report", str(logs), "--cache", str(home)]) == 2
    assert content(home) == before
    err = capsys.readouterr().err
    assert f"no cache in {home}: there are files in it" in err
    assert "--no-cache" in err


@pytest.mark.parametrize(
    "mark",
    [
        b"Signature: 8a477f597d28d172789f06886806bc55\n# This file is a cache of pip.\n",
        b"something else",
        cache_folder._MARK + b"more",
    ],
)
def test_the_cache_of_another_tool_is_no_cache_of_ours(tmp_path: Path, mark: bytes) -> None:
    """A `CACHEDIR.TAG` that does not say csptrace's name is somebody else's."""
    (tmp_path / "CACHEDIR.TAG").write_bytes(mark)
    age(tmp_path)

    with pytest.raises(OSError, match="there are files in it"):
        Cache(str(tmp_path))
    assert content(tmp_path) == {"CACHEDIR.TAG": mark}


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
@pytest.mark.parametrize("name", ["hashes", "CACHEDIR.TAG"])
def test_links_inside_a_cache_are_not_followed(tmp_path: Path, name: str) -> None:
    """A cache has no links in it, so what they lead to is somebody's."""
    cache, other = tmp_path / "cache", tmp_path / "other"
    Cache(str(cache))
    other.mkdir()
    (other / ("a" * 64)).write_text("precious")
    (cache / name).unlink() if name != "hashes" else (cache / name).rmdir()
    (cache / name).symlink_to(other if name == "hashes" else other / ("a" * 64))
    age(other)

    with pytest.raises(OSError, match="is a link"):
        Cache(str(cache))
    assert (other / ("a" * 64)).read_text() == "precious"


@pytest.mark.parametrize("memo", [b"5", b"[]", b"null", b"", b"[1"])
def test_a_broken_memo_is_made_anew(tmp_path: Path, memo: bytes) -> None:
    """What a loss of power leaves of a hash is no reason to fail."""
    cache = tmp_path / "cache"
    fill(cache, tmp_path / "logs")
    (path,) = (cache / "hashes").iterdir()
    path.write_bytes(memo)
    again = Cache(str(cache))
    found = embedded.analyse(reading.find([str(tmp_path / "logs")]), cache=again)

    assert (again.hits, found.groups[0].fingerprint) == (1, AA)


@pytest.mark.parametrize("name", ["sources.json", "runs.parquet"])
@pytest.mark.parametrize("content", [b"", b"\0" * 4096, None])
def test_a_broken_answer_is_given_anew(tmp_path: Path, name: str, content: bytes | None) -> None:
    """Half an answer is none: the logs are read again."""
    cache = tmp_path / "cache"
    fill(cache, tmp_path / "logs")
    (path,) = cache.glob(f"*/{name}")
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    again = Cache(str(cache))
    found = embedded.analyse(reading.find([str(tmp_path / "logs")]), cache=again)

    assert (again.misses, found.groups[0].fingerprint) == (1, AA)
    embedded.analyse(reading.find([str(tmp_path / "logs")]), cache=again)
    assert again.hits == 1


def test_an_empty_folder_becomes_a_cache(tmp_path: Path) -> None:
    """A folder that is made, or was empty, is marked; so it is known the next time."""
    for name in ("new", "empty"):
        if name == "empty":
            (tmp_path / name).mkdir()
        for _ in range(2):
            Cache(str(tmp_path / name))
        assert (tmp_path / name / "CACHEDIR.TAG").read_bytes() == cache_folder._MARK


@pytest.mark.parametrize("length", range(len(cache_folder._MARK)))
def test_a_mark_that_was_cut_off_is_completed(tmp_path: Path, length: int) -> None:
    """A process that was killed while it made a cache leaves one that can be used."""
    (tmp_path / "CACHEDIR.TAG").write_bytes(cache_folder._MARK[:length])
    Cache(str(tmp_path))
    assert (tmp_path / "CACHEDIR.TAG").read_bytes() == cache_folder._MARK


def test_old_answers_are_removed_and_nothing_else(tmp_path: Path) -> None:
    """Of what is old in a cache, answers, hashes and what was never finished go."""
    cache = tmp_path / "cache"
    fill(cache, tmp_path / "logs")
    own = content(cache)
    outside = tmp_path / "outside"
    (outside / "hashes").mkdir(parents=True)
    (outside / "sources.json").write_text("precious")
    foreign = {
        "notes.txt": b"n",
        "b" * 63: b"short name",
        f"hashes/{'c' * 63}": b"h",
        f"{'d' * 64}/letter.txt": b"in a folder with a name like ours",
        f"{'d' * 64}/sources.json": None,
        ".new-e/answer/letter.txt": b"l",
    }
    for name, data in foreign.items():
        (cache / name).parent.mkdir(parents=True, exist_ok=True)
        (cache / name).write_bytes(data or b"ours")
    for name in ("f" * 64, ".new-link"):
        (cache / name).symlink_to(outside, target_is_directory=True)
    age(cache)
    age(outside)
    Cache(str(cache))

    left = content(cache)
    assert {name for name, data in left.items() if data is not None} == {
        "CACHEDIR.TAG",
        *(name for name, data in foreign.items() if data is not None),
        "f" * 64,
        ".new-link",
    }
    assert any(len(name) == 64 for name in own)
    assert (outside / "sources.json").read_text() == "precious"


def test_what_was_asked_for_lately_stays(tmp_path: Path) -> None:
    """An answer that is used is kept, however long ago it was made."""
    cache = tmp_path / "cache"
    fill(cache, tmp_path / "logs")
    age(cache)
    for name in content(cache):
        if len(name) == 64:
            os.utime(cache / name)
    again = Cache(str(cache))
    found = embedded.analyse(reading.find([str(tmp_path / "logs")]), cache=again)

    assert (again.hits, again.misses) == (1, 0)
    assert found.groups[0].fingerprint == AA


@pytest.mark.skipif(os.name == "nt", reason="permissions are POSIX's")
def test_answers_are_for_their_owner_alone(tmp_path: Path) -> None:
    """Names of key containers are in the answers, whatever the folder's own permissions are."""
    cache = tmp_path / "cache"
    cache.mkdir()
    cache.chmod(0o777)
    before = os.umask(0)
    try:
        fill(cache, tmp_path / "logs")
    finally:
        os.umask(before)

    for path in cache.rglob("*"):
        if path.name != "CACHEDIR.TAG" and path.parent.name != "hashes":
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


NAMES = st.sampled_from(
    [
        *("a" * 64, "0f" * 32, "A" * 64, "a" * 65, "g" * 64, ".new-", ".new-abc", ".newer"),
        *("hashes", "CACHEDIR.TAG", "answer", "sources.json", "runs.parquet", "x", ".git"),
    ]
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(paths=st.lists(st.lists(NAMES, min_size=1, max_size=3), max_size=8), marked=st.booleans())
def test_no_file_goes_that_could_be_somebodys(
    tmp_path_factory: pytest.TempPathFactory, paths: list[list[str]], *, marked: bool
) -> None:
    """In any tree, whatever disappears is old and an answer's own file in an answer's own place."""
    home = tmp_path_factory.mktemp("home")
    for parts in paths:
        path = home.joinpath(*parts)
        if not any(one.is_file() for one in (*path.parents, path)) and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
    if marked and not (home / "CACHEDIR.TAG").is_dir():
        (home / "CACHEDIR.TAG").write_bytes(cache_folder._MARK)
    age(home)
    before = {name for name, data in content(home).items() if data is not None}
    try:
        Cache(str(home))
    except OSError:
        gone = before - content(home).keys()
        assert gone == set()
        return
    gone = before - content(home).keys()
    assert marked or before in (set(), {"CACHEDIR.TAG"})
    for name in gone:
        parts = Path(name).parts
        key = cache._KEY.fullmatch
        assert (
            (len(parts) == 2 and key(parts[0]) and parts[1] in cache._FILES)
            or (len(parts) == 2 and parts[0] == "hashes" and key(parts[1]))
            or (
                len(parts) == 3
                and parts[0].startswith(".new-")
                and parts[1] == "answer"
                and parts[2] in cache._FILES
            )
        ), name
