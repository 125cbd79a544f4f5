"""Python modules whose plain functions take and return numbers, with the status in a tuple."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

import csptrace
from csptrace.apis import registry
from csptrace.errors import SpecError
from csptrace.findings.errors import DoubleRelease, UseAfterInvalidation, UseAfterRelease
from csptrace.spec import (
    Binding,
    Codec,
    Functions,
    Kind,
    Spec,
    Success,
    exports,
    releases,
    shapes,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from csptrace import Tracer

CONTEXT = Kind("SCONTEXT", "context", params="hContext", release="CardRelease")
CARD = Kind("SHANDLE", "card", under=CONTEXT, params="hCard", orderly=True, release="CardLeave")
row = exports("cards", CONTEXT, CARD)
MODULES = ("cardreader._cards", "cardreader", "cardreader.tools")
SOURCE = """
known = {}
last = 100


def _new(parent):
    global last
    last += 1
    known[last] = parent
    return last


def CardEstablish(scope):
    if scope < 0:
        return 5, 0
    return 0, _new(None)


def CardConnect(context, name, mode=0):
    if context not in known:
        return 6, 0, 0
    return 0, _new(context), mode


def CardTwins(hcontext):
    if hcontext not in known:
        raise ValueError(hcontext)
    return 0, _new(hcontext), "ATR", _new(hcontext)


def CardStatus(card):
    return (0, "reader", 3) if card in known else (6,)


def CardLeave(card):
    return 0 if known.pop(card, None) else 6


def CardRelease(context):
    if known.pop(context, 0) is not None:
        return 6
    for each in [each for each, parent in known.items() if parent == context]:
        del known[each]
    return 0
"""


def spec(*bindings: Binding) -> Spec:
    """Return the spec of the cards."""
    return Spec(
        "cards",
        "cards",
        kinds=(CONTEXT, CARD),
        calls=(
            row("CardEstablish", "dwScope phContext"),
            row("CardConnect", "hContext szName dwMode phCard pdwMode"),
            row("CardTwins", "hContext phCard"),
            row("CardStatus", "hCard pbAtr"),
            row("CardLeave", "hCard", releases(CARD, "hCard")),
            row("CardRelease", "hContext", releases(CONTEXT, "hContext")),
        ),
        bindings=bindings,
    )


def binding(modules: tuple[str, ...] = MODULES, codec: Codec = Codec.NUMBERS) -> Binding:
    """Return the binding of the module."""
    return Binding(
        "cardreader",
        Functions(modules),
        success=Success.ZERO,
        codec=codec,
        shapes=shapes(
            {
                "CardEstablish": "CardEstablish: scope=dwScope -> ?, phContext",
                "CardConnect": (
                    "CardConnect: context=hContext name=szName mode=dwMode -> ?, phCard, _"
                ),
                "CardTwins": "CardTwins: hcontext=hContext -> ?, phCard, _, _",
                "CardStatus": "CardStatus: card=hCard -> ?, _, _",
                "CardLeave": "CardLeave: card=hCard",
                "CardRelease": "CardRelease: context=hContext",
            }
        ),
    )


class Cards(NamedTuple):
    """What a test has."""

    tracer: Tracer
    api: Any


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make the module importable, with the copies of its functions that its package has."""
    package = tmp_path / "cardreader"
    package.mkdir()
    (package / "_cards.py").write_text(SOURCE)
    (package / "__init__.py").write_text("from cardreader._cards import *\n")
    (package / "tools.py").write_text("from cardreader import *\n")
    (tmp_path / "client_of_cards.py").write_text("from cardreader import CardEstablish\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    described = spec(binding())
    registry.validate(described)
    monkeypatch.setattr(registry, "load", lambda *_: (described,))
    yield
    for name in (*MODULES, "client_of_cards"):
        sys.modules.pop(name, None)


@pytest.fixture(params=[*MODULES, "imported before"])
def cards(
    request: pytest.FixtureRequest, packages: None, trace: Callable[..., Tracer]
) -> Iterator[Cards]:
    """Return a tracer and the API, through each module that has the functions."""
    del packages
    if request.param == "imported before":
        api = importlib.import_module("cardreader.tools")
        tracer = trace()
    else:
        tracer = trace()
        importlib.import_module("cardreader.tools")
        api = importlib.import_module(request.param)
    yield Cards(tracer, api)
    csptrace.stop()


def kinds(tracer: Tracer) -> list[str]:
    """Return the kinds of what is owed."""
    return [handle.kind for handle in tracer.live()]


def test_a_correct_program_is_clean(cards: Cards) -> None:
    """Handles come in tuples behind the status, and what the program gets is unchanged."""
    status, context = cards.api.CardEstablish(0)
    assert (status, context) == (0, 101)
    result = cards.api.CardConnect(context, "reader", 2)
    assert result == (0, 102, 2)
    assert kinds(cards.tracer) == ["SCONTEXT", "SHANDLE"]
    assert cards.api.CardStatus(102) == (0, "reader", 3)
    assert cards.api.CardLeave(102) == 0
    assert cards.api.CardRelease(context) == 0

    assert cards.tracer.check() == ()
    assert cards.tracer.live() == ()


def test_a_failure_is_told_by_the_status(cards: Cards) -> None:
    """Nothing is acquired and nothing released by a call that returns another status."""
    assert cards.api.CardEstablish(-1) == (5, 0)
    assert cards.api.CardConnect(999, "x") == (6, 0, 0)
    assert cards.api.CardStatus(999) == (6,)
    assert cards.tracer.live() == ()
    context = cards.api.CardEstablish(0)[1]
    card = cards.api.CardConnect(context, "x")[1]
    sys.modules["cardreader._cards"].known.pop(card)
    assert cards.api.CardLeave(card) == 6

    assert kinds(cards.tracer) == ["SCONTEXT", "SHANDLE"]
    assert [each.code.value for each in cards.tracer.check()] == ["failed-release"]


def test_an_exception_of_the_api_acquires_nothing(cards: Cards) -> None:
    """A function that raises has handed out nothing, and the exception is the program's."""
    with pytest.raises(ValueError, match="999"):
        cards.api.CardTwins(999)

    assert cards.tracer.live() == ()


@pytest.mark.parametrize("by_name", [False, True], ids=["by position", "by keyword"])
def test_misuse_is_found(cards: Cards, by_name: bool) -> None:
    """A handle that has died is known by its number, however it is passed."""
    context = cards.api.CardEstablish(scope=0)[1]
    card = cards.api.CardConnect(name="reader", context=context)[1]
    passed = {"card": card} if by_name else {}
    args = () if by_name else (card,)
    cards.api.CardLeave(*args, **passed)

    with pytest.raises(DoubleRelease):
        cards.api.CardLeave(*args, **passed)
    with pytest.raises(UseAfterRelease):
        cards.api.CardStatus(*args, **passed)
    cards.api.CardRelease(context)


def test_a_leak_is_found(cards: Cards) -> None:
    """A card that is connected when its context goes is leaked, and dead."""
    context = cards.api.CardEstablish(0)[1]
    card = cards.api.CardConnect(context, "reader")[1]
    cards.api.CardRelease(context)

    (found,) = cards.tracer.check()
    assert (found.code.value, found.handle.kind) == ("leaked-at-release", "SHANDLE")
    with pytest.raises(UseAfterInvalidation):
        cards.api.CardStatus(card)


def test_every_copy_is_taken_back(packages: None, trace: Callable[..., Tracer]) -> None:
    """After tracing each module has its own functions again."""
    del packages
    modules = [importlib.import_module(name) for name in MODULES]
    before = [dict(vars(module)) for module in modules]
    trace()
    assert all(
        vars(module)["CardLeave"] is not original["CardLeave"]
        for module, original in zip(modules, before, strict=True)
    )
    csptrace.stop()

    for module, original in zip(modules, before, strict=True):
        assert all(vars(module)[name] is original[name] for name in binding().shapes)


def test_a_copy_of_the_programs_own_is_named(packages: None, trace: Callable[..., Tracer]) -> None:
    """Who has imported a function before tracing is told, and a dead number is nobody's then."""
    del packages
    client = importlib.import_module("client_of_cards")
    tracer = trace()
    assert tracer.installation.missed == ["client_of_cards.CardEstablish"]
    api = importlib.import_module("cardreader")
    context = api.CardEstablish(0)[1]
    api.CardRelease(context)
    sys.modules["cardreader._cards"].last = context - 1
    assert client.CardEstablish(0) == (0, context), "the number is handed out again, unseen"
    api.CardConnect(context, "reader")

    assert tracer.check() == ()


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: shapes({"f": "F: a -> ?, ?"}), "'?' once for the status"),
        (lambda: shapes({"f": "F: a -> ?, b c"}), "not a list of C parameters"),
        (lambda: registry.validate(spec(binding(()))), "names no module"),
        (
            lambda: registry.validate(spec(binding(codec=Codec.OBJECTS))),
            "codec 'objects' does not fit its target",
        ),
        (
            lambda: registry.validate(
                spec(
                    Binding(
                        "x",
                        Functions(("x",)),
                        success=Success.ZERO,
                        codec=Codec.NUMBERS,
                        shapes=shapes({"CardLeave": "CardLeave: card=hCard -> ?, hCard"}),
                    )
                )
            ),
            "CardLeave hands out nothing in 'hCard'",
        ),
    ],
)
def test_what_cannot_be_true_is_refused(make: Callable[[], object], why: str) -> None:
    """A tuple of which nobody could say what is in it, and a target without a place."""
    with pytest.raises(SpecError) as caught:
        make()

    assert why in str(caught.value)
