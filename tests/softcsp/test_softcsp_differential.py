"""softcsp answers like the genuine advapi32, call by call; see `differential`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import differential
import pytest
import windows_python
from differential_scripts import SCRIPTS
from divergences import DIVERGENCES
from sampled import sampled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from differential_cases import Call
    from divergences import Divergence


@pytest.fixture(scope="module")
def genuine() -> Iterator[differential.Genuine]:
    """Give the client program under Windows Python, or skip where there is none."""
    windows_python.need()
    running = differential.Genuine()
    yield running
    running.close()


@pytest.fixture
def pair(genuine: differential.Genuine) -> differential.Pair:
    """Give softcsp and the genuine advapi32 side by side."""
    return differential.Pair(genuine)


def test_generated_sequences_have_the_same_results(pair: differential.Pair) -> None:
    """At least ten thousand generated calls have the same results on both, or a listed reason."""
    found = differential.generated(pair, differential.SEED, differential.LEAST_CALLS)
    assert sum(found.calls.values()) >= differential.LEAST_CALLS
    assert len(found.calls) > 30
    assert pair.genuine.restarts <= 2


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripted_sequences_have_the_same_results(pair: differential.Pair, name: str) -> None:
    """The documentation's examples have the same results on both, call by call."""
    calls: list[Call] = SCRIPTS[name]
    found = pair.compare(calls)
    assert found.unlisted is None, found.unlisted
    assert not found.seen


@pytest.mark.parametrize("known", sampled(DIVERGENCES, 2), ids=lambda known: known.name)
def test_listed_divergences_still_occur(pair: differential.Pair, known: Divergence) -> None:
    """The last call of a listed divergence's demonstration shows that divergence."""
    found = pair.compare(known.demonstration)
    assert found.unlisted is None, found.unlisted
    assert found.last == (len(known.demonstration) - 1, known.name)


def test_the_report_lists_what_the_test_knows() -> None:
    """The divergences in the written report are those of the list."""
    written = differential.REPORT.read_text(encoding="utf-8")
    stale = f"write it anew: {differential.COMMAND}"
    assert differential.table_of(written).strip() == differential.table().strip(), stale


def test_names_of_divergences_are_unique() -> None:
    """Every listed divergence has a name of its own and says why it is there."""
    assert len({known.name for known in DIVERGENCES}) == len(DIVERGENCES)
    assert all(known.reason and known.softcsp and known.genuine for known in DIVERGENCES)
