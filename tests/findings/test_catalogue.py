"""The catalogue has everything that is said of a finding code in general."""

from __future__ import annotations

import string

import pytest

import csptrace
from csptrace.findings.catalogue import CATALOGUE, Code, Row, Severity, Sort


def test_every_code_has_one_row() -> None:
    """In the order in which they are documented, and no two say the same."""
    assert set(CATALOGUE) == set(Code)
    assert len({row.title for row in CATALOGUE.values()}) == len(CATALOGUE)
    assert len({row.meaning for row in CATALOGUE.values()}) == len(CATALOGUE)


@pytest.mark.parametrize("code", Code)
def test_a_row_says_what_is_wrong_and_what_to_do(code: Code) -> None:
    """Titles have no full stop, advice is sentences, and the weakness has a number."""
    row = code.row
    assert row.title[0].isupper()
    assert not row.title.endswith(".")
    assert row.advice.endswith(".")
    assert row.cwe > 0
    assert row.severity is not Severity.INFO
    assert (row.sort is Sort.MISUSE) == (row.severity is Severity.ERROR)


@pytest.mark.parametrize("code", Code)
def test_templates_are_sentences(code: Code) -> None:
    """A story ends with a full stop, and a remedy, which something may follow, does not."""
    row: Row = code.row
    for story, remedy in ((row.story, row.remedy), *row.variants.values()):
        assert story.endswith(".")
        assert not remedy.endswith(".")
        for template in (story, remedy):
            for _, field, form, conversion in string.Formatter().parse(template):
                assert field is None or field.isidentifier()
                assert not form
                assert not conversion


def test_every_misuse_is_an_exception_that_is_named_after_it() -> None:
    """`use-after-release` is raised as `csptrace.UseAfterRelease`."""
    for code in Code:
        name = code.value.title().replace("-", "")
        if code.is_misuse:
            assert getattr(csptrace, name).code is code
        else:
            assert not hasattr(csptrace, name)
