"""Quoted source: names and operators, and nothing that could be a secret."""

from __future__ import annotations

import ast
import re
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from csptrace import quoting

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from csptrace import Tracer

TEXT = "hunterTwo"
LITERALS = {
    "1234": "1234",
    "12345678": "12345678",
    "1_234": "1_234",
    "0x4d2": "4d2",
    "0X4D2": "4D2",
    "0o2322": "2322",
    "0b10011010010": "10011010010",
    "1234.5": "1234",
    ".1234": "1234",
    "1e6": "1e6",
    "1234j": "1234",
    "-1234": "1234",
    "1234567890123456789012": "1234567890",
    "(12, 34)": "12",
    "[1, 2, 3, 4]": "2",
    "{1234: x}": "1234",
    "x[12:34]": "34",
    f"'{TEXT}'": TEXT,
    f'"{TEXT}"': TEXT,
    f"b'{TEXT}'": TEXT,
    f"rb'{TEXT}'": TEXT,
    f"f'{TEXT}{{x}}'": TEXT,
    f"f'a{{x!r:>{{1234}}}}{TEXT}'": TEXT,
    "f'{1234}'": "1234",
    "f'{x[1234]:04d}'": "1234",
    "f'a' 'b1234'": "1234",
    f"'''{TEXT}'''": TEXT,
    f"'''a\n{TEXT}\n   1234'''": TEXT,
    f"'a' \\\n  '{TEXT}'": TEXT,
    f"('a'\n # {TEXT}\n '{TEXT}')": TEXT,
}
"""Literal → what must not be seen of it."""
if sys.version_info >= (3, 14):
    LITERALS[f"t'{TEXT}{{x}}'"] = TEXT
    LITERALS["t'{x[1234]}'"] = "1234"
PLACES = (
    "PIN = {}",
    "PIN: int = {}",
    "pins[{}]",
    "pins[{}] = x",
    "pins[a:{}]",
    "pins[a]({})[b]",
    "login({})",
    "login(a, *b, pin={}, **c)",
    "login(a)(\n    {},\n    b,\n)",
    "x = a \\\n  if b else {}",
    "x = {{a: {}}}",
    "x = {{{}: a}}",
    "x = {{{}}}",
    "x = lambda pin={}: pin",
    "x = [{} for a in b if a != {}]",
    "x += {}; y = a",
    "assert x == {}, {}",
    "if (x := {}):\n    pass",
    "while x < {}: pass",
    "for x in {}: pass",
    "with login({}) as x, a: pass",
    "del x[{}]",
    "def f(a, pin={}, /, *, b={}) -> {}: return {}",
    "def f():\n    yield {}",
    "async def f():\n    await login({})",
    "@login({})\nclass A(b, pin={}): c = {}",
    "class A:\n    {}\n    b = a",
    "try:\n    raise A({})\nexcept A: login({})",
    "global_ = {}  # 1234 hunterTwo",
    "# 1234 hunterTwo\nx = {}",
    "print(a) ; print({})",
)
MATCHES = (
    "match x:\n    case {}: pass",
    "match x:\n    case [a, {}]: pass",
    "match x:\n    case A(pin={}): pass",
    "match x:\n    case a if a == {}: pass",
)


def valid(source: str) -> bool:
    """Return whether this is Python."""
    try:
        ast.parse(source)
    except SyntaxError:
        return False
    return True


def quoted(source: str) -> tuple[str, ...]:
    """Return the lines of a file as they may be quoted."""
    return quoting.lines(source.splitlines(keepends=True))


@given(
    parts=st.lists(
        st.tuples(st.sampled_from((*PLACES, *MATCHES)), st.sampled_from(sorted(LITERALS))),
        min_size=1,
        max_size=4,
    ),
    indented=st.booleans(),
    windows=st.booleans(),
    ends=st.booleans(),
)
def test_no_literal_is_seen_wherever_it_stands(
    parts: list[tuple[str, str]], indented: bool, windows: bool, ends: bool
) -> None:
    """Of a file none of whose literals is harmless only names, operators and blanks are left."""
    source = "\n".join(place.format(*[literal] * place.count("{}")) for place, literal in parts)
    assume(valid(source))
    if indented and "'''" not in source:
        source = "if x:\n" + "\n".join("\t" + line for line in source.split("\n"))
        assume(valid(source))
    source = source.replace("\n", "\r\n" if windows else "\n") + ("\n" if ends else "")
    shown = quoted(source)

    assert len(shown) == source.count("\n") + (not ends)
    text = "\n".join(shown)
    for _, literal in parts:
        secret = LITERALS[literal]
        assert not re.search(rf"(?<![A-Za-z_]){re.escape(secret)}", text), text
    assert TEXT not in text
    assert "1234" not in text
    assert re.sub(r"\.\.\.", "", text) == re.sub(r"[0-9'\"#]", "", re.sub(r"\.\.\.", "", text))


@given(
    place=st.sampled_from((*PLACES, *MATCHES)),
    literal=st.sampled_from(sorted(LITERALS)),
    number=st.integers(0, 3),
)
def test_a_single_line_is_quoted_safely_or_not_at_all(
    place: str, literal: str, number: int
) -> None:
    """Also if it is only part of a statement or of a text, so that nobody knows what it is."""
    source = place.format(*[literal] * place.count("{}")).split("\n")
    line = source[number % len(source)]
    for text in quoted(line):
        assert "1234" not in text
        # What stands alone between the quotes of other lines looks like a name.
        assert TEXT not in text or line.strip() == TEXT


@given(
    place=st.sampled_from((*PLACES, *MATCHES)),
    literal=st.sampled_from(sorted(LITERALS)),
)
def test_no_literal_is_seen_in_a_quoted_expression(place: str, literal: str) -> None:
    """What is said of a handle's variable quotes expressions, in messages and in the log."""
    source = place.format(*[literal] * place.count("{}"))
    assume(valid(source))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.expr):
            text = quoting.expression(node)
            if len(LITERALS[literal]) > 3:  # a part of an expression has fewer digits than it
                assert LITERALS[literal] not in text
            assert TEXT not in text
            assert "1234" not in text


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("CryptReleaseContext(hProv, 0)", "CryptReleaseContext(hProv, 0)"),
        ("handles[0] = keys[-1][2]", "handles[0] = keys[-1][2]"),
        ("f(12, 34)", "f(..., ...)"),
        ("f(999)", "f(999)"),
        ("f(1000)", "f(...)"),
        ("f(0x1)", "f(...)"),
        ("f(1.5)", "f(...)"),
        ("f(True, None, x)", "f(True, None, x)"),
        ("f(key2, AES256)", "f(key2, AES256)"),
        ("f('a', b)  # why", "f(..., b)"),
        ("a[1]; b[2]; c[34]", "a[...]; b[...]; c[...]"),
    ],
)
def test_a_line_stays_useful(source: str, wanted: str) -> None:
    """Names and operators stay, and numbers of which no PIN can be made."""
    assert quoted(source) == (wanted,)


def test_statements_are_judged_one_by_one() -> None:
    """Three digits in each of two lines are six only if they belong together."""
    assert quoted("f(123)\ng(456)\n") == ("f(123)", "g(456)")
    assert quoted("f(123,\n  456)\n") == ("f(...,", "  ...)")
    assert quoted("f(1,\n  2)\n") == ("f(1,", "  2)")


def test_a_numeric_subscript_is_left_out_like_a_text() -> None:
    """In an expression as in a line."""
    for source in ("pins[123456]", "pins['hunterTwo']", "pins[0x4d2]", "pins[12][34]"):
        (line,) = quoted(source)
        assert quoting.expression(ast.parse(source, mode="eval").body) == line
        assert set(line) <= set("pins[].")
    assert quoting.expression(ast.parse("pins[12]", mode="eval").body) == "pins[12]"


@pytest.mark.parametrize(
    "source",
    [
        "x = 'hunterTwo\n",
        "x = '''hunterTwo\n",
        "x = (1234\n",
        "def f():\n  a\n b = 1234\n",
        "x = 1\0234\n",
        "x = 'a' \\",
        "x = '\ud800'\n",
        "<PIN>1234</PIN> don't\n",
    ],
)
def test_what_cannot_be_taken_apart_is_not_quoted(source: str) -> None:
    """A file that has changed, is damaged or is in another language."""
    for line in quoted(source):
        assert not re.search(r"1234|hunterTwo", line)


@given(st.text(alphabet="ab1'\"#\\\n\t (){}[]:=.f$?!\r\f\u00e9\u2028", max_size=40))
def test_whatever_a_file_holds_no_text_of_four_digits_is_seen(text: str) -> None:
    """No input raises anything, and nothing is shown but what may be."""
    for line in quoted(text.replace("1", "1234")):
        assert "1234" not in re.sub(r"[ab\u00e9f][ab1-4\u00e9f]*", "", line)


def test_a_very_large_file_is_not_quoted() -> None:
    """Nobody waits for that."""
    assert quoting.lines(["x = 1\n"] * 400_000) == ()


# --- everything that leaves the process -----------------------------------------------------------

PROGRAM = """\
from ctypes import byref, c_void_p
from csptrace.softcsp import advapi32
import csptrace

kept = {{}}


def login(pin, out, *more):
    assert advapi32.CryptAcquireContextW(byref(out), None, None, 24, 0xF0000000)


def run():
    kept[{0}] = c_void_p()
    login({0}, kept[{0}],  # the PIN is {0}
          {0})
    login({0}, c_void_p())
    prov = kept[{0}]
    kept[{0}] = c_void_p(); advapi32.CryptCreateHash(prov, 0x800C, 0, 0, byref(kept[{0}]))
    advapi32.CryptCreateHash(prov, 0x800C, 0, 0, byref(kept[{0}])); assert prov, {0}
    assert {{{0}: advapi32.CryptReleaseContext(prov, 0)}}
    try:
        [advapi32.CryptHashData(kept[{0}], None, 0, 0), {0}]
    except csptrace.HandleError as error:
        said.append(str(error) + repr(error) + repr(error.finding))
    try:
        advapi32.CryptReleaseContext(prov, {0} * 0)
    except csptrace.HandleError as error:
        said.append(str(error) + repr(error) + repr(error.finding))
"""


@pytest.mark.parametrize("secret", ["48151623", "'hunterTwo'", "0x2deb737", "b'hunterTwo'"])
def test_no_secret_of_a_source_leaves_the_process(
    secret: str,
    trace: Callable[..., Tracer],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Not in the log, on the terminal, in an exception or a repr, nor in any report of the log."""
    import csptrace
    from csptrace.analysis import embedded, reading
    from csptrace.analysis.render import FORMATS, Options
    from csptrace.causes.exit_monitor import unavailable

    path = tmp_path / "app.py"
    path.write_text(PROGRAM.format(secret), encoding="utf-8")
    said: list[str] = []
    names: dict[str, Any] = {"said": said}
    exec(compile(path.read_text("utf-8"), str(path), "exec"), names)
    tracer = trace(log=tmp_path / "logs", quiet=False)
    names["run"]()
    csptrace.stop()
    found = tracer.check()
    codes = {finding.code.value for finding in found}
    assert codes >= {
        *("leaked-at-release", "leaked-at-exit", "use-after-invalidation", "double-release"),
    }
    said += [repr(finding) + tracer.explain(finding, frames=64) for finding in found]
    said += [repr(tracer.event(finding)) for finding in found]
    log = b"".join(file.read_bytes() for file in (tmp_path / "logs").iterdir()).decode()
    out, err = capfd.readouterr()
    report = embedded.analyse(reading.find([str(tmp_path / "logs")]))
    options = Options(source_root=str(tmp_path))
    rendered = {name: form.report(report, options) for name, form in FORMATS.items()}

    assert len(said) >= 6
    assert re.search(r"assert \{\.\.\.: advapi32\.CryptReleaseContext\(prov, ", "".join(said))
    assert "kept[...]" in log or unavailable()
    assert "byref(kept[...])" in rendered["html"]
    for text in (*said, log, out, err, *rendered.values()):
        assert not re.search(r"48151623|hunterTwo|2deb737", text), text[:3000]
