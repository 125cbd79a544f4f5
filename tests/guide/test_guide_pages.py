"""The pages of the guide: each is listed once, leads somewhere, and says what the code says."""

from __future__ import annotations

import argparse
import dataclasses
import re
from pathlib import Path
from typing import Any

import generated
import pytest

import csptrace
from csptrace.errors import GuideError
from csptrace.findings import errors
from csptrace.findings.catalogue import Code, guide
from csptrace.frontends import pytest_plugin
from csptrace.guide import pages
from csptrace.settings import Settings

GUIDE = Path(csptrace.__file__).parent / "guide"
ROOT = GUIDE.parents[1]
POINTERS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]
EXCEPTIONS = {
    cls.code: name
    for name, cls in vars(errors).items()
    if isinstance(cls, type) and issubclass(cls, errors.HandleError) and hasattr(cls, "code")
}


def page(path: str) -> str:
    """Return the text of a page."""
    return (GUIDE / path).read_text("utf-8")


def rows(text: str, columns: int) -> list[list[str]]:
    """Return the cells of all rows of the tables with so many columns, heads included."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return [row for row in cells if len(row) == columns]


def test_contents_list_every_page_once() -> None:
    """Each file is in the table of contents once, under its own topic."""
    files = {path.relative_to(GUIDE).as_posix() for path in GUIDE.rglob("*.md")}
    contents = pages.contents()

    assert sorted(entry.path for entry in contents) == sorted(files - {"index.md"})
    assert len({entry.topic for entry in contents}) == len(contents)
    assert all(entry.topic == Path(entry.path).stem for entry in contents)


@pytest.mark.parametrize("entry", pages.contents(), ids=lambda entry: entry.topic)
def test_title_is_the_heading(entry: pages.Page) -> None:
    """A page begins with the title that the table of contents gives it, and says something."""
    first, *rest = pages.text(entry).splitlines()

    assert first == f"# {entry.title}"
    assert len("".join(rest)) > 100


def test_a_topic_is_found_in_any_case() -> None:
    """Case and blanks around a topic do not matter."""
    assert pages.find(" Leaked-At-Release ").path == "findings/leaked-at-release.md"


def test_unknown_topic_names_the_nearest() -> None:
    """An unknown topic is an error that says which one is nearest, and where all are."""
    with pytest.raises(GuideError, match=r"no topic 'leaked-at-relase'.*'leaked-at-release'.*All"):
        pages.find("leaked-at-relase")
    with pytest.raises(GuideError, match="'security' is no finding"):
        pages.of_finding("security")


@pytest.mark.parametrize("code", [code.value for code in Code])
def test_each_finding_has_its_page(code: str) -> None:
    """The page of a code says why, shows it, mends it, and names its exception and severity."""
    text = pages.text(pages.of_finding(code))
    facts = dict(rows(text, 2))

    assert facts["severity"].partition(";")[0] == Code(code).row.severity
    for heading in ("## Why it matters", "## Example", "## What to do"):
        assert heading in text
    assert f"csptrace: {code}: " in text
    assert f"]({code}.md)" in page("findings/findings.md")
    if code in EXCEPTIONS:
        assert f"`csptrace.{EXCEPTIONS[code]}`" in facts["raised"]
    else:
        assert ("HandleLeak" in facts["raised"]) is Code(code).is_leak


def test_a_finding_names_its_page() -> None:
    """The command in a finding shows the page; a code that is not known here has none."""
    for code in Code:
        assert guide(code) == f"csptrace guide {pages.of_finding(code).topic}"
    assert guide("a-newer-code") == ""


def test_no_page_is_about_a_finding_that_there_is_not() -> None:
    """Every page among the findings is about one, but for their table."""
    topics = {entry.topic for entry in pages.contents() if entry.path.startswith("findings/")}

    assert topics == {"findings", *(code.value for code in Code)}


def test_what_cannot_be_run_is_a_golden_text() -> None:
    """The finding that needs two threads at once is shown as the tests have it."""
    golden = ROOT / "tests" / "golden" / "release-while-in-use.txt"

    assert f"```text\n{golden.read_text('utf-8')}```" in page("findings/release-while-in-use.md")


def test_settings_are_all_there() -> None:
    """The table of settings has each one, in order, with its default."""
    table = [row for row in rows(page("reference/settings.md"), 4) if row[0].startswith("`")]
    defaults = {True: "yes", False: "no", None: "none", (): "none"}

    def shown(field: dataclasses.Field[Any]) -> str:
        value = field.default
        if isinstance(value, bool | tuple | None):
            return "all" if field.name == "apis" else defaults[value]
        return f"`{value}`" if isinstance(value, str) else f"{value:g}"

    assert [(name.strip("`"), default) for name, default, _, _ in table] == [
        (field.name, shown(field)) for field in dataclasses.fields(Settings)
    ]


def test_allowed_values_of_settings_are_allowed() -> None:
    """What the table allows, csptrace does, and nothing beside it."""
    for name, _, allowed, _ in rows(page("reference/settings.md"), 4)[1:]:
        if not name.startswith("`"):
            continue
        setting = name.strip("`")
        words = re.findall(r"`(\w+)`", allowed)
        bounds = re.search(r"(\d+) to (\d+)", allowed)
        if words:
            with pytest.raises(csptrace.SettingsError, match=f"allowed are {', '.join(words)}$"):
                Settings.load({}, **{setting: "impossible"})
        elif bounds is not None:
            least, most = map(int, bounds.groups())
            for number in (least, most):
                assert getattr(Settings.load({}, **{setting: number}), setting) == number
            for number in (least - 1, most + 1):
                with pytest.raises(csptrace.SettingsError):
                    Settings.load({}, **{setting: number})


def test_pytest_options_are_all_there() -> None:
    """The table of the plugin's options has each one, and no other."""
    table = [row[0].strip("`") for row in rows(page("reference/pytest-options.md"), 2)[1:]]

    class Options:
        def __init__(self) -> None:
            self.names: list[str] = []

        def getgroup(self, *_: object) -> Options:
            return self

        def addoption(self, name: str, *, metavar: str = "", **_: object) -> None:
            self.names.append(f"{name} {metavar}".strip())

        def addini(self, *_: object, **__: object) -> None:
            pass

    options: Any = Options()
    pytest_plugin.pytest_addoption(options)
    assert sorted(name for name in table if name.startswith("--")) == sorted(options.names)


def test_public_names_are_all_there() -> None:
    """The page of the Python API names every public name."""
    text = page("reference/python-api.md")

    for name in csptrace.__all__:
        assert re.search(rf"`csptrace\.{name}\b", text), name


@pytest.mark.parametrize("name", generated.PAGES)
def test_generated_parts_are_up_to_date(name: str) -> None:
    """What is made from the code is what the code makes."""
    assert page(name) == generated.wanted(name), (
        f"{name} is out of date: python tests/guide/generated.py"
    )


def test_generated_tables_escape_what_would_end_a_cell() -> None:
    """A bar in a help text does not begin another column."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--flag", metavar="a|b", help="one\n  or | other")

    assert list(generated._options(parser)) == [r"| `--flag a\|b` | one or \| other |"]


@pytest.mark.parametrize("path", [*POINTERS, *GUIDE.rglob("*.md")], ids=lambda path: path.stem)
def test_links_lead_somewhere(path: Path) -> None:
    """A relative link leads to a file; all others are absolute and encrypted."""
    text = re.sub(r"```.*?```", "", path.read_text("utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if ":" in target:
            assert target.startswith("https://"), target
        else:
            assert (path.parent / target.partition("#")[0]).is_file(), target


@pytest.mark.parametrize("path", [*POINTERS, *GUIDE.rglob("*.md")], ids=lambda path: path.stem)
def test_files_of_the_project_are_there(path: Path) -> None:
    """A file or folder of the source tree that a page names exists."""
    text = re.sub(r"```.*?```", "", path.read_text("utf-8"), flags=re.DOTALL)
    for name in re.findall(r"`((?:csptrace|tests|reports|docs)/[\w./-]*)`", text):
        assert (ROOT / name).exists(), name


def test_the_house_has_every_package() -> None:
    """The table of packages leaves none out."""
    named = re.findall(r"\| `csptrace/(\w+)/` \|", page("project/contributing.md"))
    packages = {path.parent.name for path in GUIDE.parent.glob("*/__init__.py")}

    assert sorted(named) == sorted(packages)


def test_readme_is_one_screen() -> None:
    """The README has less than a hundred lines, and the two commands stand in it."""
    lines = POINTERS[0].read_text("utf-8").splitlines()
    start = "$ python3 -m venv .venv && .venv/bin/python -m pip install"

    assert len(lines) < 100
    assert f"{start} '.[softcsp]' && .venv/bin/csptrace demo" in lines
    assert f"{start} -e '.[test]' && .venv/bin/python -m pytest -n 2" in lines


def test_hooks_are_checks_of_continuous_integration() -> None:
    """What runs before a commit is what runs first in CI."""
    entries = re.findall(r"entry: (.+)", (ROOT / ".pre-commit-config.yaml").read_text("utf-8"))
    ci = (ROOT / ".ci" / "run").read_text("utf-8")

    assert len(entries) == 3
    for entry in entries:
        tool, *words = entry.replace(" --force-exclude", "").split()
        assert re.search(rf'/{tool}" ?{" ".join(words)}', ci), entry
