"""The one door to a terminal: what is escaped, what stays readable, and what colour may do."""

from __future__ import annotations

import io
import json
import re
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csptrace.analysis.render.escaping import json_text
from csptrace.errors import AnalysisError, CspTraceError
from csptrace.terminal import Span, complain, escape, pass_on, put, render, say, wants_colour

ANYTHING = st.text(st.characters(codec=None))
NASTY = (
    *(
        "\x1b[31m",
        "\x1b]52;c;b3duZWQ=\x07",
        "\x9b31m",
        "\x9d0;t\x9c",
        "\x00",
        "\x07",
        "\x08",
        "\x7f",
    ),
    *("\n", "\r", "\r\n", "\x0b", "\x0c", "\x85", "\u2028", "\u2029", "\t", "\xa0", "\xad"),
    *("\u202a", "\u202b", "\u202c", "\u202d", "\u202e", "\u2066", "\u2067", "\u2068", "\u2069"),
    *("\u200e", "\u200f", "\u061c", "\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\ufff9"),
    *("\ufe00", "\ufe0f", "\U000e0100", "\U000e0041", "\u180e", "\u180b", "\u034f", "\u115f"),
    *("\u3164", "\uffa0", "\ud800", "\udcff", "\ue000", "\ufffe"),
)
HARMLESS = (
    *("plain.py", "C:\\Users\\x", "naïve café", "Ключи/подпись.py", "密钥.py", "キー生成", "열쇠"),
    *("מפתח", "مفتاح", "कुंजी", "กุญแจ", "clé→✓", "x²", "\N{KEY}\N{GRINNING FACE}", "o\u0308"),
)


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


@pytest.mark.parametrize("text", NASTY)
def test_what_is_not_to_be_seen_is_spelled_out(text: str) -> None:
    """Controls, marks of direction, joiners, selectors, fillers and surrogates become letters."""
    shown = escape(f"a{text}b")

    assert shown.isascii()
    assert shown.isprintable()
    assert shown.startswith("a\\")
    assert shown.endswith("b")


@pytest.mark.parametrize("text", HARMLESS)
def test_ordinary_text_of_every_script_stays(text: str) -> None:
    """Letters, marks, digits and symbols are shown as they are, whatever the script."""
    assert escape(text) == text


@given(ANYTHING)
def test_escaped_text_is_one_visible_line(text: str) -> None:
    """Whatever it was, it is one line of visible characters, and stays so when escaped again."""
    shown = escape(text)

    assert len(f"{shown}|".splitlines()) == 1
    assert not [
        char
        for char in shown
        if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
    ]
    assert escape(shown) == shown
    shown.encode()


@given(st.characters(codec=None))
def test_spelling_names_the_character(char: str) -> None:
    """What is spelled out can be read back."""
    shown = escape(char)

    assert char == shown or shown.encode().decode("unicode_escape") == char


@given(
    st.lists(st.one_of(ANYTHING, st.builds(Span, ANYTHING, st.sampled_from(["bad", "mark", ""]))))
)
def test_rendered_lines_are_as_many_as_given(lines: list[str | Span]) -> None:
    """No text makes a line of its own, and colour is the module's alone."""
    plain = render(lines)
    coloured = render(lines, colour=True)

    assert plain.count("\n") == len(plain.splitlines()) == len(lines)
    assert "\x1b" not in plain
    assert re.sub(r"\x1b\[[0-9]+m", "", coloured) == plain


def test_colour_is_a_tone_and_ends_with_the_piece() -> None:
    """A piece of a tone is coloured where colour is wanted; an unknown tone has none."""
    line = ("a ", Span("b", "good"), Span("c", "nothing"))

    assert render([line]) == "a bc\n"
    assert render([line], colour=True) == "a \x1b[32mb\x1b[0mc\n"


def test_say_and_complain_write_escaped_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """One goes to stdout, the other to stderr; each argument is a line."""
    say("one\ntwo", "three\x1b[0m")
    complain("four\u202e")

    assert capsys.readouterr() == ("one\\ntwo\nthree\\x1b[0m\n", "four\\u202e\n")


@pytest.mark.parametrize("stream", [None, io.StringIO(), object(), 3])
def test_complaining_to_nobody(stream: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stderr that is missing, closed or something else takes nothing away from the program."""
    if isinstance(stream, io.StringIO):
        stream.close()
    monkeypatch.setattr(sys, "stderr", stream)

    complain("x")


def test_stdout_that_cannot_be_written_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command must not end as if it had said what nobody got; without a stdout nothing is."""

    class Full(io.StringIO):
        def flush(self) -> None:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys, "stdout", Full())
    with pytest.raises(OSError, match="No space"):
        say("x")
    monkeypatch.setattr(sys, "stdout", None)
    say("x")


@pytest.mark.parametrize(
    ("encoding", "expected"), [("ascii", b"\\u2192 \\xe9\n"), ("latin-1", b"\\u2192 \xe9\n")]
)
def test_what_the_character_set_lacks_is_spelled_out(encoding: str, expected: bytes) -> None:
    """A terminal of another character set gets all lines."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding, newline="\n")
    put(stream, render(["→ é"]))

    assert raw.getvalue() == expected


def test_documents_pass_unchanged() -> None:
    """What a format has escaped is written as it is; a lone surrogate is spelled out."""
    screen = io.StringIO()
    pass_on("<b>\x1b[1m\n", screen)
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, "utf-8")
    pass_on("\udc80", stream)

    assert screen.getvalue() == "<b>\x1b[1m\n"
    assert raw.getvalue() == b"\\udc80"


JSON = st.recursive(
    st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
)


@given(JSON, st.sampled_from([None, 2]))
def test_json_is_escaped_by_its_own_rules(value: object, indent: int | None) -> None:
    """A document says the same as before, on as many lines, and holds nothing invisible."""
    before = json.dumps(value, ensure_ascii=False, indent=indent)
    after = json_text(before)

    assert json.loads(after) == value
    assert after.count("\n") == before.count("\n")
    assert all(escape(line) == line for line in after.split("\n"))


def test_errors_show_no_control_characters() -> None:
    """What nobody catches is shown by the interpreter, which escapes nothing."""
    error = AnalysisError("no such file: \x1b[31m\u202e\udc80\n  hint")

    assert str(error) == "no such file: \\x1b[31m\\u202e\\udc80\n  hint"
    assert str(CspTraceError()) == ""


def test_a_stream_that_lies_gets_no_colour() -> None:
    """A stream whose answer is an exception is no terminal."""

    class Odd:
        def isatty(self) -> bool:
            raise RuntimeError

    assert wants_colour(Odd(), {}) is False
    assert wants_colour(Screen(), {"NO_COLOR": "1"}) is False
