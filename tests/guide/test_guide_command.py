"""`csptrace guide`: what it shows, with rich and without, and what it never lets through."""

from __future__ import annotations

import re
import sys

import pytest

from csptrace.frontends import cli
from csptrace.guide import pages
from csptrace.terminal import escape

ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
NASTY = "pLaNt\x1b]52;c;b3duZWQ=\x07\x9b31m\u202e"


@pytest.fixture(name="nasty")
def _nasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every page hold what a terminal would obey."""
    monkeypatch.setattr(pages, "text", lambda _page: f"# Title\n\nText {NASTY}\n\n    {NASTY}\n")


def test_without_a_topic_it_lists_all(capsys: pytest.CaptureFixture[str]) -> None:
    """The table has every topic with its title, under the heading of its section."""
    assert cli.main(["guide"]) == 0
    out = capsys.readouterr().out

    for page in pages.contents():
        assert re.search(rf"(?m)^{re.escape(page.section)}$", out)
        title = page.title.removeprefix(f"{page.topic}: ")
        assert re.search(rf"(?m)^  {page.topic} +{re.escape(title)}$", out)


@pytest.mark.parametrize("page", pages.contents(), ids=lambda page: page.topic)
def test_page_as_plain_text(page: pages.Page, capsys: pytest.CaptureFixture[str]) -> None:
    """Where no terminal is, a page is its Markdown, whose links are commands."""
    assert cli.main(["guide", page.topic]) == 0
    out, err = capsys.readouterr()

    assert out.startswith(f"# {page.title}\n")
    assert ".md)" not in out
    assert "<!--" not in out
    assert err == ""


def test_link_names_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    """A link to another page says how to read that."""
    cli.main(["guide", "wrong-release"])
    assert "guide leaked-at" not in capsys.readouterr().out
    cli.main(["guide", "out-of-order-release"])
    assert "leak at release (`csptrace guide leaked-at-release`)" in capsys.readouterr().out


def test_page_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a terminal a page is laid out by rich, in colour, within its width."""
    pytest.importorskip("rich")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("COLUMNS", "60")
    assert cli.main(["guide", "limits"]) == 0
    out = capsys.readouterr().out

    assert ESCAPES.search(out)
    lines = ESCAPES.sub("", out).splitlines()
    assert max(map(len, lines)) <= 60
    assert "Limits" in [line.strip(" ┃") for line in lines]
    assert "# Limits" not in out


def test_page_on_a_terminal_without_rich(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the extra a page is shown all the same."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setitem(sys.modules, "rich.markdown", None)

    assert cli.main(["guide", "limits"]) == 0
    assert capsys.readouterr().out.startswith("# Limits\n")


def test_unknown_topic(capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown topic is one line that names the nearest, and status 2."""
    assert cli.main(["guide", "leaks-at-exit"]) == 2
    assert "no topic 'leaks-at-exit'; the nearest is 'leaked-at-exit'" in capsys.readouterr().err
    assert cli.main(["guide", NASTY]) == 2
    err = capsys.readouterr().err
    assert escape(err.rstrip("\n")) == err.rstrip("\n")


@pytest.mark.usefixtures("nasty")
@pytest.mark.parametrize("forced", ["", "1"], ids=["plain", "rich"])
def test_nothing_reaches_the_terminal_raw(
    forced: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Control characters in a page are spelled out; only rich's own colours are left."""
    monkeypatch.setenv("FORCE_COLOR", forced)
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert cli.main(["guide", "lost"]) == 0
    out = capsys.readouterr().out
    rest = ESCAPES.sub("", out) if forced else out

    assert "pLaNt" in out
    assert [char for char in rest if char != "\n" and escape(char) != char] == []
