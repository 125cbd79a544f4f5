"""Every example of the guide and the README runs, and prints what stands there."""

from __future__ import annotations

import re
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import required
from guide_examples import commands, files, matches, run_page

import csptrace

GUIDE = Path(csptrace.__file__).parent / "guide"
README = GUIDE.parents[1] / "README.md"
PAGES = [README, *sorted(GUIDE.rglob("*.md"))]
NEEDS = (
    ("hsm", "softhsm2-util", "softhsm", "SoftHSM is not installed (Debian: softhsm2)"),
    ("hsm", "pkcs11", "pkcs11", "python-pkcs11 is not installed (the extra pkcs11)"),
    ("new-api", "cc", "cc", "no C compiler (cc)"),
    ("spark", "java", "spark", "Java is not installed (Debian: openjdk-17-jre-headless)"),
    ("spark", "pyspark", "spark", "pyspark is not installed (the extra spark)"),
)
"""Topic, a program or module that its examples need, its name in CSPTRACE_REQUIRE, what to say."""
UNTRIED = ("apt-get install ", "pip install ", "python3 -m venv ", "python -m pip install ")
"""What command lines that no test runs begin with: what installs something, and …"""
ELSEWHERE = ("$env:", "python .ci/windows.py ", "csptrace report s3a://", "git ")
"""… what needs another system, a cluster or a repository."""


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python 3.11 cannot tell why")
@pytest.mark.skipif(sys.platform == "win32", reason="the command lines are a shell's")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_examples_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The programs of a page run, and its command lines print what the page shows."""
    for topic, part, name, reason in NEEDS:
        if page.stem == topic and not shutil.which(part) and find_spec(part) is None:
            required.missing(name, reason)
    folder = tmp_path / "page"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    before = set(sys.modules)
    try:
        run_page(page)
    finally:
        for name in set(sys.modules) - before:
            if getattr(sys.modules[name], "__file__", None) == str(folder / f"{name}.py"):
                del sys.modules[name]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_is_not_run_cannot_be(page: Path) -> None:
    """A block of a language that no test runs holds an installation, or needs another machine."""
    for block in re.findall(
        r"^```shell\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE
    ):
        for line in block.splitlines():
            assert line.startswith((*UNTRIED, *ELSEWHERE, "#")), line


def test_console_block_is_taken_apart() -> None:
    """Each `$` begins a command line, and what follows it is its output."""
    block = "$ one --two\nout\n\nmore\n$ three\n"

    assert list(commands(block)) == [("one --two", "out\n\nmore\n"), ("three", "")]


def test_file_has_its_name_in_the_first_line() -> None:
    """A block that begins with a comment of a file name is a file, any other is not."""
    assert files("# a/b.py\nx = 1\n") == ("a/b.py", "# a/b.py\nx = 1\n")
    assert files("x = 1\n# b.py\n") is None


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("a\nb\n", "a\nb\n", True),
        ("a\nb\n", "a\n", False),
        ("a\n", "a\nb\n", False),
        ("a\n…\nd\n", "a\nb\nc\nd\n", True),
        ("a\n…\nd\n", "a\nd\n", True),
        ("a\n…\nd\n", "a\nb\n", False),
        ("in … s\n", "in 0.25 s\n", True),
        ("in … s\n", "in\ns\n", False),
        ("KEY 0x00a3\n", "KEY 0xdeadbeef\n", True),
        ("KEY 0x00a3\n", "KEY none\n", False),
        ("for 0.1 seconds\n", "for 12 seconds\n", True),
        ("for 0.1 seconds\n", "for no seconds\n", False),
        ("===== x =====\n", "=== x ====\n", True),
    ],
)
def test_output_is_compared(shown: str, printed: str, *, same: bool) -> None:
    """What is left out and what differs from run to run does not count; all the rest does."""
    assert matches(shown, printed) is same
