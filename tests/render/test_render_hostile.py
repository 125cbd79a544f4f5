"""Texts of traced programs are untrusted: what each form makes of hostile ones."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest
import required
import sample_reports
from markdown_it import MarkdownIt

from csptrace.analysis.render import FORMATS, Options
from csptrace.analysis.render.escaping import (
    code_span,
    markdown,
    mermaid_label,
    shortened,
)
from csptrace.terminal import escape

HOSTILE = sample_reports.HOSTILE
CONTROL = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufe00-\ufe0f\ufeff"
    "\ufffe\ud800-\udfff]"
)
"""What no text of ours may hold; a line end is ours."""


def rendered(name: str) -> list[str]:
    """Return the texts of one form for everything hostile."""
    form = FORMATS[name]
    options = Options(title=HOSTILE[1], verbosity=2, width=80, generated=1)
    texts = [form.report(sample_reports.hostile(), options)]
    if form.compares:
        texts.append(form.comparison(sample_reports.hostile_comparison(), options))
    return texts


@pytest.mark.parametrize("name", FORMATS)
def test_no_control_characters(name: str) -> None:
    """Nothing that moves a cursor, changes a colour or turns the direction of text comes through.

    JSON and SARIF hold the texts as they are, with JSON's own escapes.
    """
    for text in rendered(name):
        assert CONTROL.search(text) is None


def test_terminal_colours_are_ours_alone() -> None:
    """With colours on, every escape sequence is one of a few attributes, and none is the log's."""
    text = FORMATS["terminal"].report(sample_reports.hostile(), Options(colour=True, verbosity=2))

    assert "\x1b[" in text
    assert re.sub(r"\x1b\[[0-9;]*m", "", text).count("\x1b") == 0
    assert r"\x1b[31mred" in text


def test_terminal_shows_markup_as_text() -> None:
    """What looks like rich's markup or an emoji's name is text."""
    for verbosity in (0, 1):
        options = Options(width=20_000, verbosity=verbosity)
        text = FORMATS["terminal"].report(sample_reports.hostile(), options)

        assert "[bold red]markup[/bold red] :skull:" in text
        assert re.findall(r"(?<!\[bold red\])markup|markup(?!\[/bold red\] :skull:)", text) == []


def test_terminal_takes_nothing_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Width and colour are those of the options, whatever the variables of the machine say."""
    form, report = FORMATS["terminal"], sample_reports.small()
    plain = form.report(report, Options(width=80))
    coloured = form.report(report, Options(width=80, colour=True))
    for name, value in (("COLUMNS", "33"), ("FORCE_COLOR", "1"), ("TERM", "dumb")):
        monkeypatch.setenv(name, value)
    assert form.report(report, Options(width=80)) == plain
    monkeypatch.delenv("FORCE_COLOR")
    monkeypatch.setenv("NO_COLOR", "1")
    assert form.report(report, Options(width=80, colour=True)) == coloured


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_terminal_lines_are_as_wide_as_asked(width: int) -> None:
    """No line is wider than the terminal (at least 40 columns), whatever the names."""
    from rich.cells import cell_len

    for report in (sample_reports.hostile(), sample_reports.fleet()):
        text = FORMATS["terminal"].report(report, Options(width=width, verbosity=2))

        assert max(cell_len(line) for line in text.splitlines()) <= max(width, 40)


class Page(HTMLParser):
    """Collects the elements of a page, and the text of its scripts."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.scripts: list[str] = []
        self.title = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect a tag."""
        self.tags.append(tag)
        self.attributes.extend(attrs)

    def handle_data(self, data: str) -> None:
        """Collect the text of scripts and of the title."""
        if self.tags and self.tags[-1] == "script":
            self.scripts.append(data)
        elif self.tags and self.tags[-1] == "title":
            self.title += data


def test_html_holds_no_element_of_the_log() -> None:
    """The page has its own two scripts, no image, no event handler and no foreign address."""
    for text in rendered("html"):
        page = Page()
        page.feed(text)

        assert page.tags.count("script") == 2
        assert "img" not in page.tags
        assert "iframe" not in page.tags
        assert not [name for name, _ in page.attributes if name.startswith("on") or name == "style"]
        links = [value for name, value in page.attributes if name in ("href", "src", "action")]
        assert all(link is not None and link.startswith(("data:", "#")) for link in links)
        assert HOSTILE[1] in page.title


def test_html_data_survive_as_they_are_meant() -> None:
    """The JSON of the page parses, and its texts are the log's with control characters shown."""
    (text, _) = rendered("html")
    page = Page()
    page.feed(text)
    block = next(script for script in page.scripts if '"groups"' in script)
    data = json.loads(block)

    assert not set("<>&") & set(block), "nothing in it can end the element or begin a comment"

    codes = {group["code"] for group in data["groups"]}
    assert HOSTILE[0] in codes
    assert not [code for code in codes if CONTROL.search(code)]


def test_html_policy_allows_no_network() -> None:
    """The content security policy starts from nothing, and allows images in data only."""
    (text, _) = rendered("html")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)

    assert policy is not None
    parts = dict(part.strip().split(" ", 1) for part in policy[1].split(";"))
    assert parts["default-src"] == "'none'"
    assert parts["img-src"] == "data:"
    assert re.fullmatch(r"'sha256-[\w+/]+=*'", parts["script-src"])
    assert re.fullmatch(r"'sha256-[\w+/]+=*'", parts["style-src"])


def test_junit_is_xml() -> None:
    """An XML parser reads back the texts as they are meant."""
    for text in rendered("junit"):
        root = ET.fromstring(text)
        messages = [failure.get("message") or "" for failure in root.iter("failure")]

        assert [message for message in messages if HOSTILE[0] in message]
        assert int(root.get("failures", "")) == len(messages)
        assert int(root.get("tests", "")) == len(list(root.iter("testcase")))


def test_markdown_has_no_html_and_no_links_of_the_log() -> None:
    """A CommonMark parser with tables finds our `details` elements and nothing else."""
    parser = MarkdownIt("gfm-like", {"linkify": False})
    for text in rendered("markdown"):
        tokens = parser.parse(text)
        inner = [child for token in tokens for child in token.children or ()]
        blocks = [token.content for token in tokens if token.type == "html_block"]

        assert not [token for token in inner if token.type in ("html_inline", "image", "link_open")]
        assert all(
            re.fullmatch(r"</?(details|summary)>(\n<summary>)?", block.strip()) for block in blocks
        )
        fences = [token for token in tokens if token.type == "fence"]
        assert all(fence.info == "mermaid" for fence in fences)
        headings = [token for token in tokens if token.type == "heading_open"]
        assert all(heading.tag in ("h2", "h3") for heading in headings)


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_code_is_the_text(text: str) -> None:
    """As code in a table's cell, a text is shown as it is."""
    rows = f"| a | b |\n| --- | --- |\n| {code_span(text)} | x |\n"
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(rows)
    cells = [token for token in tokens if token.type == "inline"]

    assert len(cells) == 4
    if text.strip():
        (code,) = cells[2].children or ()
        assert (code.type, code.content) == ("code_inline", shortened(text))


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_prose_is_the_text(text: str) -> None:
    """Escaped for prose, a text is shown as it is."""
    (_, inline, _) = MarkdownIt("commonmark").parse(f"x{markdown(text)}")
    shown = "".join(child.content for child in inline.children or ())

    assert shown == f"x{shortened(text)}".rstrip()


def test_markdown_of_a_huge_report_stays_below_githubs_limit() -> None:
    """A report of 5,000 findings is cut off below 1 MiB, and says so."""
    text = FORMATS["markdown"].report(sample_reports.huge(5000), Options(verbosity=1))

    assert len(text.encode()) <= 1_048_576
    assert "left out" in text


def test_dot_draws_it() -> None:
    """Graphviz itself reads the graph and finds every handle."""
    dot = shutil.which("dot")
    if dot is None:
        required.missing("dot", "graphviz is not installed")
    for report in (sample_reports.hostile(), sample_reports.fleet(), sample_reports.empty()):
        text = FORMATS["dot"].report(report, Options())
        done = subprocess.run(
            [dot, "-Tplain"],
            input=text,
            capture_output=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )

        assert (done.returncode, done.stderr) == (0, "")
        drawn = [line for line in done.stdout.splitlines() if line.startswith("node ")]
        assert len(drawn) == len(report.graph)


def test_mermaid_labels_hold_no_syntax() -> None:
    """Inside a label nothing is left that Mermaid reads as its own, or as HTML."""
    for text in HOSTILE:
        assert (
            re.search(r"""["'<>`\[\]{}|%;&\\](?!\d)""", re.sub(r"#\d+;", "", mermaid_label(text)))
            is None
        )
    (text,) = rendered("mermaid")
    lines = text.splitlines()
    assert lines[0] == "flowchart LR"
    for line in lines[1:]:
        assert re.fullmatch(
            r'  (n\d+\["[^"]*"\]:::\w+|more\["[^"]*"\]:::other|n\d+ (-->|-\. needs \.->) n\d+'
            r"|classDef \w+ [\w:#,]+)",
            line,
        )


def test_collapsed_stacks_are_a_stack_and_a_number() -> None:
    """Every line is entries separated by semicolons, a space and a number."""
    (text,) = rendered("collapsed")
    report = sample_reports.hostile()

    assert text
    for line in text.splitlines():
        stack, weight = line.rsplit(" ", 1)
        assert int(weight) > 0
        depths = {len(site.stack) + 1 for site in report.sites}
        assert stack.count(";") + 1 in depths


@pytest.mark.parametrize("text", HOSTILE)
def test_visible_text_is_printable(text: str) -> None:
    """Whatever a text holds, made visible it is one printable line that UTF-8 can hold."""
    assert escape(text).isprintable()
    assert escape(text).encode().decode() == escape(text)
    assert len(shortened(text, 60)) <= 60
