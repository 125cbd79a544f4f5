"""Source excerpts: read only from below the folder that was given, only where the line fits."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from sample_reports import BUILT, PROJECT, frame, huge

from csptrace.analysis.render import FORMATS, Options
from csptrace.analysis.render.excerpts import Excerpts
from csptrace.analysis.results import Frame

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = """\
import secrets


class Box:
    @property
    def key(self):
        def inner():
            return [x for x in self.items]  # here

        return inner()


TOP = Box()
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder with a package in it, and something beside it that nobody may read."""
    folder = tmp_path / "root"
    (folder / "app").mkdir(parents=True)
    (folder / "app" / "box.py").write_text(SOURCE, encoding="utf-8")
    (tmp_path / "outside.py").write_text("SECRET = 'hunter2'\n", encoding="utf-8")
    (folder / "secret.env").write_text("PIN=1234\n", encoding="utf-8")
    return folder


def own(file: str, line: int, function: str = "<module>") -> Frame:
    """Return a frame of the user's."""
    return Frame(file, line, function, "app.box", True)


@pytest.mark.parametrize(
    ("line", "function"),
    [
        (8, "Box.key.<locals>.inner"),
        (8, "Box.key.<locals>.inner.<locals>.<listcomp>"),
        (10, "Box.key"),
        (13, "<module>"),
    ],
)
def test_a_line_that_fits_is_quoted(root: Path, line: int, function: str) -> None:
    """A file of another machine's folder is found by the end of its path, and quoted."""
    excerpt = Excerpts(str(root)).around(own("/build/17/app/box.py", line, function))

    assert excerpt is not None
    first, lines = excerpt
    shown = dict(enumerate(lines, first))
    assert shown[line].strip() == SOURCE.splitlines()[line - 1].partition("#")[0].strip()
    assert len(lines) <= 7


@pytest.mark.parametrize(
    ("line", "function"),
    [(8, "Box.key"), (8, "Box.other.<locals>.inner"), (13, "main"), (99, "<module>"), (0, "f")],
)
def test_a_line_that_does_not_fit_is_left_out(root: Path, line: int, function: str) -> None:
    """Where the frame's function is not at that line, the file has changed or is another one."""
    assert Excerpts(str(root)).around(own("/build/17/app/box.py", line, function)) is None


@pytest.mark.parametrize(
    "name",
    [
        "../outside.py",
        "/x/../../outside.py",
        "/etc/passwd",
        "secret.env",
        "app",
        "app/box.pyc",
        "",
        "a\0.py",
        "<string>",
        "app/missing.py",
    ],
)
def test_nothing_else_is_read(root: Path, name: str) -> None:
    """A name that leads outside, or to something that is no Python source, is not followed."""
    assert Excerpts(str(root)).around(own(name, 1)) is None


def test_a_link_that_leads_outside_is_not_followed(root: Path) -> None:
    """A symbolic link below the folder does not open what is not below it."""
    try:
        os.symlink(root.parent / "outside.py", root / "linked.py")
    except OSError:
        pytest.skip("this user may not make symbolic links")

    assert Excerpts(str(root)).around(own("linked.py", 1)) is None
    assert Excerpts(str(root)).around(own(str(root.parent / "outside.py"), 1)) is None


def test_the_file_itself_is_preferred(root: Path) -> None:
    """A file below the folder is quoted by its whole path even if a shorter one fits, too."""
    (root / "box.py").write_text("OTHER = 1\n" * 20, encoding="utf-8")
    excerpt = Excerpts(str(root)).around(own(str(root / "app" / "box.py"), 13))

    assert excerpt is not None
    assert "TOP = Box()" in excerpt.lines


def test_a_file_that_is_not_python_any_more_is_left_out(root: Path) -> None:
    """Syntax errors, foreign encodings and huge files are no reason to fail."""
    (root / "broken.py").write_text("def f(:\n", encoding="utf-8")
    (root / "bytes.py").write_bytes(b"# coding: utf-8\nx = '\xff\xfe'\n")
    (root / "null.py").write_bytes(b"x = 1\0\n")
    (root / "huge.py").write_text("x = 1\n" * 400_000, encoding="utf-8")

    for name in ("broken.py", "bytes.py", "null.py", "huge.py"):
        assert Excerpts(str(root)).around(own(name, 1)) is None


def test_long_and_odd_lines_are_shown_safely(root: Path) -> None:
    """A line of an excerpt is cut and made visible like every other text."""
    (root / "odd.py").write_text(f"x = 1  # \x1b[31m{'y' * 999}\n", encoding="utf-8")
    excerpt = Excerpts(str(root)).around(own("odd.py", 1))

    assert excerpt is not None
    assert len(excerpt.lines[0]) <= 160
    assert "\x1b" not in excerpt.lines[0]


def test_without_a_folder_nothing_is_quoted() -> None:
    """The default reads no file at all."""
    place = frame("payments/signing.py", "Signer.close", "CryptReleaseContext")

    assert place.file.startswith(BUILT)
    assert Excerpts("").around(place) is None
    assert Excerpts(str(PROJECT)).around(place) is not None


def test_a_page_quotes_only_lines_that_frames_name(root: Path) -> None:
    """A report whose files are not there has a page without excerpts."""
    text = FORMATS["html"].report(huge(3), Options(source_root=str(root)))

    assert '"quotes":{}' in text
    assert "hunter2" not in text
