"""TOML files of others: whatever they are, one line that names the file, and no waiting."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from csptrace import tomlfile
from csptrace.errors import BaselineError, CspTraceError, SettingsError
from csptrace.findings import baseline
from csptrace.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HEAD = b"[tool.csptrace]\n"
BAD: dict[str, tuple[bytes, str]] = {
    "nested lists": (b"x = " + b"[" * 100_000, "nested too deeply"),
    "nested lists, closed": (b"x = " + b"[" * 50_000 + b"]" * 50_000, "nested too deeply"),
    "nested tables": (b"x = " + b"{a=" * 50_000 + b"1" + b"}" * 50_000, "nested too deeply"),
    "long number": (b"x = " + b"9" * 5000, "a number in it is too large"),
    "negative number": (b"x = -" + b"9" * 5000, "a number in it is too large"),
    "not UTF-8": (b"x = 'caf\xe9'\n", ":2: not UTF-8"),
    "UTF-16": ("x = 1\n".encode("utf-16-le").replace(b"x", b"\xff"), ":2: not UTF-8"),
    "NUL": (b"x = 1\n\0\n", ":3: not a TOML file"),
    "NUL in a text": (b"x = 'a\0b'\n", ":2: not a TOML file"),
    "old Mac": (b"x = 1\ry = 2\r", ":2: not a TOML file"),
    "cut off": (b"x = '''\n", "not a TOML file"),
    "twice": (b"x = 1\nx = 2\n", "not a TOML file"),
}


def _settings(file: Path) -> object:
    return Settings.load({}, file.parent)


def _baseline(file: Path) -> object:
    return baseline.read(file)


READERS = pytest.mark.parametrize("read", [_settings, _baseline], ids=["settings", "baseline"])


@READERS
@pytest.mark.parametrize("name", BAD)
def test_files_that_cannot_be_understood(
    name: str, read: Callable[[Path], object], tmp_path: Path
) -> None:
    """Whatever is wrong with a file, it is one line that names the file, for every reader."""
    raw, words = BAD[name]
    file = tmp_path / "pyproject.toml"
    file.write_bytes(HEAD + raw)

    with pytest.raises(SettingsError if read is _settings else BaselineError) as caught:
        read(file)

    message = str(caught.value)
    assert message.startswith(f"{file}:")
    assert words in message
    assert "\n" not in message
    assert len(message) < 500


@pytest.mark.parametrize("value", ["0x" + "f" * 5000, "[[[0x" + "f" * 5000 + "]]]"])
def test_numbers_that_python_does_not_write_down(value: str, tmp_path: Path) -> None:
    """A hexadecimal number has no limit of digits, and its decimal form cannot be quoted."""
    file = tmp_path / "pyproject.toml"
    for name in ("depth", "level", "quiet", "held_too_long", "log", "apis"):
        file.write_text(f"[tool.csptrace]\n{name} = {value}\n")
        with pytest.raises(SettingsError, match="that is too large to show>: allowed"):
            Settings.load({}, tmp_path)
    for text in (
        f"version = {value}\n",
        f"version = 1\n[[finding]]\nfingerprint = {value}\ncount = 1\n",
        f'version = 1\n[[finding]]\nfingerprint = "1:{"a" * 16}"\ncount = [{value}]\n',
        f'version = 1\n[[finding]]\nfingerprint = "1:{"a" * 16}"\ncount = 1\nexpires = {value}\n',
    ):
        file.write_text(text)
        with pytest.raises(BaselineError, match="that is too large to show>; "):
            baseline.read(file)
    with pytest.raises(SettingsError, match="that is too large to show>: allowed"):
        Settings(depth=10**5000)


@READERS
def test_byte_order_mark_and_line_ends_of_windows(
    read: Callable[[Path], object], tmp_path: Path
) -> None:
    """What Windows editors write is understood."""
    file = tmp_path / "pyproject.toml"
    if read is _settings:
        file.write_bytes(b"\xef\xbb\xbf[tool.csptrace]\r\ndepth = 3\r\n")
        assert Settings.load({}, tmp_path).depth == 3
    else:
        file.write_bytes(b"\xef\xbb\xbfversion = 1\r\n")
        assert baseline.read(file) == ()


@READERS
def test_an_endless_file_is_not_read_to_its_end(
    read: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the bound nothing is read; the file is named."""
    file = tmp_path / "pyproject.toml"
    with file.open("wb") as sparse:
        sparse.write(HEAD)
        sparse.truncate(1 << 40)
    read_bytes = 0
    original = os.read

    def counted(descriptor: int, size: int) -> bytes:
        nonlocal read_bytes
        part = original(descriptor, size)
        read_bytes += len(part)
        return part

    monkeypatch.setattr(os, "read", counted)
    told: list[str] = []
    if read is _settings:
        assert Settings.load({}, tmp_path, told.append) == Settings()
    else:
        with pytest.raises(BaselineError) as caught:
            read(file)
        told.append(str(caught.value))

    (message,) = told
    assert message.startswith(str(file))
    assert "larger than 4 megabytes" in message
    assert read_bytes == tomlfile.MOST + 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no FIFOs in folders")
@pytest.mark.parametrize("kind", ["fifo", "socket", "device", "folder", "link to a fifo", "loop"])
def test_what_is_no_file_is_not_opened(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A FIFO, socket, device or folder by the name of the file never makes anybody wait."""
    import socket

    file = tmp_path / "pyproject.toml"
    if kind == "fifo":
        os.mkfifo(file)
    elif kind == "socket":
        server = socket.socket(socket.AF_UNIX)
        request.addfinalizer(server.close)
        monkeypatch.chdir(tmp_path)
        server.bind("pyproject.toml")
    elif kind == "device":
        file.symlink_to("/dev/zero")
    elif kind == "folder":
        file.mkdir()
    elif kind == "link to a fifo":
        os.mkfifo(tmp_path / "fifo")
        file.symlink_to("fifo")
    else:
        file.symlink_to("pyproject.toml")
    code = (
        "import pathlib, sys\n"
        "from csptrace.settings import Settings\n"
        "from csptrace.findings import baseline\n"
        "assert Settings.load({}, pathlib.Path(sys.argv[1])) == Settings()\n"
        "try:\n"
        "    baseline.read(pathlib.Path(sys.argv[1], 'pyproject.toml'))\n"
        "except Exception as error:\n"
        "    print(type(error).__name__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, "BaselineError\n"), done.stderr


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no FIFOs in folders")
def test_what_is_no_file_is_not_even_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opening alone does something to a device (a tape rewinds), so it is looked at before."""
    os.mkfifo(tmp_path / "known.toml")
    opened: list[object] = []
    monkeypatch.setattr(os, "open", lambda *arguments: opened.append(arguments))

    with pytest.raises(BaselineError, match="cannot be read: it is not a regular file"):
        baseline.read(tmp_path / "known.toml")
    assert opened == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no FIFOs in folders")
def test_a_file_that_is_exchanged_after_it_was_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is open is looked at again: a FIFO in its place is not waited for."""
    file = tmp_path / "known.toml"
    file.write_text("version = 1\n")
    original = os.open

    def exchanged(path: object, flags: int) -> int:
        file.unlink()
        os.mkfifo(file)
        return original(file, flags)

    monkeypatch.setattr(os, "open", exchanged)
    with pytest.raises(OSError, match="not a regular file"), tomlfile.opened(file):
        pass


def test_descriptors_are_closed(tmp_path: Path) -> None:
    """Reading leaves nothing open, whether it succeeds or not."""
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("needs /proc")
    file = tmp_path / "pyproject.toml"
    before = len(os.listdir("/proc/self/fd"))
    for raw, _words in (*BAD.values(), (b"", "")):
        file.write_bytes(HEAD + raw)
        for read in (_settings, _baseline):
            with contextlib.suppress(CspTraceError):
                read(file)

    assert len(os.listdir("/proc/self/fd")) == before
