"""The table of forms: lazy, friendly, and complete in what is installed."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import sample_reports

import csptrace
from csptrace.analysis.render import FORMATS, Options
from csptrace.errors import CspTraceError

PACKAGE = Path(csptrace.__file__).parent
NAMES = list(FORMATS)
COMPARING = [name for name in NAMES if FORMATS[name].compares]


def python(program: str) -> subprocess.CompletedProcess[str]:
    """Run a program in an interpreter of its own."""
    return subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def test_importing_the_table_imports_no_renderer() -> None:
    """Asking which forms there are loads neither rich nor any renderer."""
    done = python(
        "import sys, csptrace.analysis.render as r; list(r.FORMATS.values());"
        "print(*sorted(n for n in sys.modules if n == 'rich' or n.startswith(r.__name__ + '.')))"
    )

    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def test_without_rich_the_error_names_the_extra() -> None:
    """Where rich is not installed, the form for terminals says what to install instead."""
    done = python(
        "import sys; sys.modules['rich'] = None; sys.modules['rich.console'] = None\n"
        "from csptrace.analysis.render import FORMATS, Options\n"
        "from csptrace.errors import MissingExtraError\n"
        "try: FORMATS['terminal'].report(None, Options())\n"
        "except MissingExtraError as error: print(error)\n"
    )

    assert "pip install 'csptrace[report]'" in done.stdout, done.stderr


@pytest.mark.parametrize("name", [name for name in NAMES if name != "terminal"])
def test_other_forms_need_no_extra(name: str) -> None:
    """Every form but the one for terminals works with the core dependencies alone."""
    done = python(
        "import sys; sys.modules['rich'] = None; sys.modules['jinja2'] = None\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import sample_reports\n"
        "from csptrace.analysis.render import FORMATS, Options\n"
        f"print(len(FORMATS[{name!r}].report(sample_reports.small(), Options())))\n"
    )

    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 20


@pytest.mark.parametrize("name", [name for name in NAMES if name not in COMPARING])
def test_a_form_that_cannot_compare_says_which_can(name: str) -> None:
    """A comparison in a form that cannot show one is an error that lists the others."""
    with pytest.raises(CspTraceError) as caught:
        FORMATS[name].comparison(sample_reports.comparison(), Options())

    assert repr(name) in str(caught.value)
    for able in COMPARING:
        assert able in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_every_form_is_described(name: str) -> None:
    """Each form has a name, a suffix and a line for the help."""
    form = FORMATS[name]

    assert form.name == name
    assert form.suffix.startswith(".")
    assert form.about
    assert "\n" not in form.about


@pytest.mark.parametrize("name", NAMES)
def test_a_text_ends_its_last_line_and_is_utf8(name: str) -> None:
    """What a form returns can be written as UTF-8 and ends with a line end."""
    for report in (sample_reports.small(), sample_reports.hostile()):
        text = FORMATS[name].report(report, Options())

        assert text.endswith("\n")
        assert text.encode("utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_equal_results_give_equal_texts(name: str) -> None:
    """Rendering twice gives the same text, so that reports can be compared and cached."""
    texts = {FORMATS[name].report(sample_reports.small(), Options()) for _ in range(2)}

    assert len(texts) == 1


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_report_is_rendered(name: str) -> None:
    """A report of no logs is a report; only collapsed stacks have nothing to say."""
    text = FORMATS[name].report(sample_reports.empty(), Options())

    assert text == "" if name == "collapsed" else text.strip()


@pytest.mark.parametrize("name", COMPARING)
def test_a_comparison_without_changes_is_rendered(name: str) -> None:
    """Two equal sets of logs are worth saying so."""
    assert FORMATS[name].comparison(sample_reports.nothing_changed(), Options()).strip()


def test_the_wheel_has_what_renderers_read(tmp_path: Path) -> None:
    """The wheel holds the schema and every asset of the page."""
    pytest.importorskip("hatchling")
    build = (
        "import os, sys; os.chdir(sys.argv[1]); from hatchling.build import build_wheel;"
        "print(build_wheel(sys.argv[2]))"
    )
    root = PACKAGE.parent
    if not (root / "pyproject.toml").exists():
        pytest.skip("the package does not lie in its source tree")
    done = subprocess.run(
        [sys.executable, "-c", build, str(root), str(tmp_path)],
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=True,
    )
    names = set(zipfile.ZipFile(tmp_path / done.stdout.split()[-1]).namelist())
    folder = PACKAGE / "analysis" / "render"
    expected = {
        file.relative_to(root).as_posix()
        for file in (*folder.glob("assets/*"), *folder.glob("*.json"))
    }

    assert len(expected) >= 12
    assert expected <= names
