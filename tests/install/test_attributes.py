"""Handle objects that hand out further ones when an attribute of theirs is read."""

from __future__ import annotations

import gc
import importlib
import sys
from typing import TYPE_CHECKING, Any

import pytest

import csptrace
from csptrace.apis import registry
from csptrace.errors import SpecError
from csptrace.findings.errors import DoubleRelease, UseAfterRelease
from csptrace.spec import (
    RETURN,
    Binding,
    Codec,
    Kind,
    LibraryObjects,
    Objects,
    Spec,
    Success,
    acquires,
    call,
    releases,
    shapes,
    uses,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from csptrace import Tracer

PAPER = Kind("PAPER", "paper", release="PaperFree")
SHELF = Kind("SHELF", "shelf", release="ShelfClose")
SOURCE = """
reads = []


class Shelf:
    def close(self): pass
    def size(self): return 3


class Paper:
    @property
    def Shelf(self):
        reads.append(self)
        if len(reads) > 100:
            raise OSError("no more")
        return Shelf()
    title = "a title"
    def free(self): pass


def open_paper(): return Paper()
"""
ROWS = {
    "open_paper": "PaperOpen: -> return",
    "Paper.Shelf": "get PaperShelf: self=hPaper -> return",
    "Paper.free": "PaperFree: self=hPaper",
    "Shelf.close": "ShelfClose: self=hShelf",
    "Shelf.size": "ShelfSize: self=hShelf",
}


def spec(rows: dict[str, str], target: Any = None) -> Spec:
    """Return the spec of the papers."""
    return Spec(
        "papers",
        "papers",
        kinds=(PAPER, SHELF),
        calls=(
            call("PaperOpen", "", acquires(PAPER, RETURN), library="papers"),
            call(
                "PaperShelf",
                "hPaper",
                uses(PAPER, "hPaper"),
                acquires(SHELF, RETURN),
                library="papers",
            ),
            call("PaperFree", "hPaper", releases(PAPER, "hPaper"), library="papers"),
            call("ShelfClose", "hShelf", releases(SHELF, "hShelf"), library="papers"),
            call("ShelfSize", "hShelf", uses(SHELF, "hShelf"), library="papers"),
        ),
        bindings=(
            Binding(
                "papers",
                target or Objects(("papers_module",), {"Paper": PAPER, "Shelf": SHELF}),
                success=Success.NO_EXCEPTION,
                codec=Codec.OBJECTS,
                shapes=shapes(rows),
            ),
        ),
    )


@pytest.fixture
def papers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trace: Callable[..., Tracer]
) -> Iterator[tuple[Tracer, Any]]:
    """Return a tracer and the module."""
    (tmp_path / "papers_module.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    described = spec(ROWS)
    registry.validate(described)
    monkeypatch.setattr(registry, "load", lambda *_: (described,))
    tracer = trace()
    yield tracer, importlib.import_module("papers_module")
    csptrace.stop()
    sys.modules.pop("papers_module")


def test_each_reading_acquires(papers: tuple[Tracer, Any]) -> None:
    """What is read is a handle of its own, which has to be released; others are as they were."""
    tracer, module = papers
    paper = module.open_paper()
    first, second = paper.Shelf, paper.Shelf
    assert paper.title == "a title"
    assert first.size() == 3
    assert [each.kind for each in tracer.live()] == ["PAPER", "SHELF", "SHELF"]
    first.close()
    with pytest.raises(UseAfterRelease):
        first.size()
    with pytest.raises(DoubleRelease):
        first.close()
    second.close()
    paper.free()

    assert len(module.reads) == 2
    assert tracer.live() == ()


def test_what_was_read_and_dropped_is_lost(papers: tuple[Tracer, Any]) -> None:
    """A store that is asked for on the way, and never closed, is the classic leak of its kind."""
    tracer, module = papers
    paper = module.open_paper()
    assert paper.Shelf.size() == 3
    gc.collect()
    paper.free()

    (finding,) = tracer.check()
    assert (finding.code.value, finding.handle.kind) == ("lost", "SHELF")
    assert finding.acquired is not None
    assert finding.acquired.site.call == "Shelf"


def test_a_dead_object_is_not_read(papers: tuple[Tracer, Any]) -> None:
    """Reading it is a use of the object: it is refused before the attribute is touched."""
    _, module = papers
    paper = module.open_paper()
    paper.free()
    with pytest.raises(UseAfterRelease):
        paper.Shelf  # noqa: B018 - reading is what is tested

    assert module.reads == []


def test_what_raises_acquires_nothing(papers: tuple[Tracer, Any]) -> None:
    """The program's exception comes out unchanged."""
    tracer, module = papers
    module.reads.extend([None] * 100)
    paper = module.open_paper()
    with pytest.raises(OSError, match="no more"):
        paper.Shelf  # noqa: B018 - as above

    assert [each.kind for each in tracer.live()] == ["PAPER"]


@pytest.mark.parametrize(
    "row",
    [
        "get PaperShelf: self=hPaper n=nothing -> return",
        "get PaperShelf: self=hPaper",
        "get PaperShelf: self=hPaper -> ?, return",
        "get PaperShelf: self=hPaper -> (Shelf)",
        "get PaperShelf: self=hPaper self.x=hShelf -> return",
    ],
)
def test_a_row_of_an_attribute_has_one_form(row: str) -> None:
    """An attribute has no arguments and hands out one handle."""
    with pytest.raises(SpecError, match="reading an attribute takes self=cname alone"):
        shapes({"Paper.Shelf": row})


def test_only_objects_have_attributes() -> None:
    """Functions and classes that are patched in place have none that is a call."""
    with pytest.raises(SpecError, match="a function of a module has no self="):
        shapes({"shelf": "get PaperShelf: self=hPaper -> return"})
    target = LibraryObjects(("x",), "Paper", {"Paper": PAPER, "Shelf": SHELF}, "file")
    with pytest.raises(SpecError, match="of the classes of Objects alone"):
        registry.validate(spec({"Paper.Shelf": ROWS["Paper.Shelf"]}, target))
