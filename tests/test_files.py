"""What csptrace writes for its users: nothing of theirs is lost, nothing is shown to others."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from csptrace import files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

posix = pytest.mark.skipif(sys.platform == "win32", reason="permissions are POSIX's")


def mode(path: Path) -> int:
    """Return the permissions of a file or folder."""
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o022, 0o077, 0o002])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """Return a umask that holds meanwhile."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@posix
def test_a_new_file_gets_what_the_umask_leaves(tmp_path: Path, umask: int) -> None:
    """Under a name that the user chose a file is as open as any other tool would make it."""
    with files.replacing(tmp_path / "report.html") as file:
        file.write(b"x")

    assert mode(tmp_path / "report.html") == 0o666 & ~umask


@posix
def test_a_file_of_our_own_is_private(tmp_path: Path, umask: int) -> None:
    """Under a name that csptrace chose only the owner may read."""
    with files.replacing(tmp_path / "own", mode=files.PRIVATE_FILE) as file:
        file.write(b"x")

    assert mode(tmp_path / "own") == 0o600


@posix
def test_a_replaced_file_keeps_its_permissions(tmp_path: Path, umask: int) -> None:
    """Replacing makes a file neither more nor less open, not even while it is written."""
    path = tmp_path / "report.html"
    path.write_bytes(b"old")
    path.chmod(0o640)
    with files.replacing(path) as file:
        (waiting,) = (one for one in tmp_path.iterdir() if one != path)
        assert mode(waiting) == 0o600
        file.write(b"new")

    assert (mode(path), path.read_bytes()) == (0o640, b"new")


@posix
def test_a_link_stays_a_link(tmp_path: Path) -> None:
    """What is replaced is the file that a symbolic link leads to, also if it is new."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real" / "report.html")
    for content in (b"one", b"two"):
        with files.replacing(tmp_path / "link") as file:
            file.write(content)
        assert (tmp_path / "real" / "report.html").read_bytes() == content

    assert (tmp_path / "link").is_symlink()
    assert [one.name for one in (tmp_path / "real").iterdir()] == ["report.html"]


@pytest.mark.parametrize("error", [OSError(28, "full"), KeyboardInterrupt(), RuntimeError()])
def test_the_old_file_stays_if_writing_fails(tmp_path: Path, error: BaseException) -> None:
    """Whatever goes wrong on the way, the file is as before and no scrap is left."""
    path = tmp_path / "report.html"
    path.write_bytes(b"old")

    def attempt() -> None:
        with files.replacing(path) as file:
            file.write(b"new")
            raise error

    with pytest.raises(type(error)):
        attempt()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "attempt", [files.check_replaceable, lambda p: files.replacing(p).__enter__()]
)
def test_folders_and_read_only_files_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attempt: object
) -> None:
    """Neither a folder nor a file that its owner has protected is replaced."""
    assert callable(attempt)
    with pytest.raises(IsADirectoryError, match="it is a folder"):
        attempt(tmp_path)
    path = tmp_path / "known.toml"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everything
    with pytest.raises(PermissionError, match="it is read-only"):
        attempt(path)
    assert path.read_bytes() == b"old"


def test_checking_leaves_nothing_behind(tmp_path: Path) -> None:
    """What can be written later is found out without making the file or touching it."""
    files.check_replaceable(tmp_path / "new")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError):
        files.check_replaceable(tmp_path / "nowhere" / "new")


@posix
def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    """What is no file is not replaced by one."""
    os.mkfifo(tmp_path / "pipe")
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    files.check_replaceable(tmp_path / "pipe")
    with files.replacing(tmp_path / "pipe") as file:
        file.write(b"text")
    reader.join()

    assert read == [b"text"]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


@posix
def test_folders_that_are_made_are_private(tmp_path: Path, umask: int) -> None:
    """A folder that had to be made is for its owner alone; one that was there stays as it is."""
    (tmp_path / "there").mkdir()
    before = mode(tmp_path / "there")
    files.make_folder(tmp_path / "there" / "a" / "b")
    files.make_folder(tmp_path / "there" / "a" / "b")

    assert mode(tmp_path / "there") == before
    assert [mode(tmp_path / "there" / name) for name in ("a", "a/b")] == [0o700, 0o700]


def test_a_file_in_the_way_of_a_folder_is_an_error(tmp_path: Path) -> None:
    """Nothing is moved aside to make a folder."""
    (tmp_path / "file").write_bytes(b"x")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match="file"):
            files.make_folder(path)
    assert (tmp_path / "file").read_bytes() == b"x"


@posix
@pytest.mark.skipif(sys.platform != "linux", reason="other systems name open files otherwise")
@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"])
def test_what_is_open_already_is_added_to(tmp_path: Path, name: str) -> None:
    """Where stdout goes to a file, `-o /dev/stdout` adds to it; nothing there is replaced."""
    target = tmp_path / "all.txt"
    target.write_text("precious\n")
    (tmp_path / "link").symlink_to("/dev/stdout")
    program = (
        "import sys; from csptrace import files; files.check_replaceable(sys.argv[1])\n"
        "with files.replacing(sys.argv[1]) as file: file.write(b'more\\n')\n"
    )
    with target.open("ab") as stdout:
        subprocess.run(
            [sys.executable, "-c", program, name], cwd=tmp_path, stdout=stdout, check=True
        )

    assert target.read_text() == "precious\nmore\n"
    assert {one.name for one in tmp_path.iterdir()} == {"all.txt", "link"}


@posix
def test_permissions_of_another_group_are_not_given_to_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the group cannot be kept, what it was allowed is allowed to nobody."""
    path = tmp_path / "report.html"
    path.write_bytes(b"old")
    path.chmod(0o664)
    found = os.stat(path)

    def other_group(_path: object) -> os.stat_result:
        return os.stat_result((*found[:5], found.st_gid + 1, *found[6:]))

    monkeypatch.setattr(os, "chown", lambda *_: (_ for _ in ()).throw(PermissionError()))
    monkeypatch.setattr(files, "_replaceable", other_group)
    with files.replacing(path) as file:
        file.write(b"new")

    assert mode(path) == 0o604


@pytest.mark.skipif(sys.platform != "linux", reason="the lists of Linux")
def test_access_control_lists_are_kept(tmp_path: Path) -> None:
    """A list that is not kept would leave its mask as the group's permissions."""
    path = tmp_path / "report.html"
    path.write_bytes(b"old")
    entries = ((1, 6, -1), (2, 4, 1005), (4, 0, -1), (16, 4, -1), (32, 0, -1))
    data = (2).to_bytes(4, "little") + b"".join(
        tag.to_bytes(2, "little")
        + rights.to_bytes(2, "little")
        + (who & 0xFFFFFFFF).to_bytes(4, "little")
        for tag, rights, who in entries
    )
    try:
        os.setxattr(path, "system.posix_acl_access", data)
    except OSError as error:
        pytest.skip(f"no access control lists here: {error}")
    with files.replacing(path) as file:
        file.write(b"new")

    assert os.getxattr(path, "system.posix_acl_access") == data
