"""Leaks that are found at once: each is counted, and some of those that are alike are described."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from detect_places import FRAMES
from hypothesis import given
from hypothesis import strategies as st

from csptrace.apis.cryptoapi.spec import HASH, KEY, PROV
from csptrace.findings import judgement
from csptrace.findings.judgement import Leaks, leaked_at_exit
from csptrace.graph.exits import Exit
from csptrace.graph.graph import Graph
from csptrace.graph.handle import CallRecord, Departure, Invocation, Scope
from csptrace.graph.sites import CallSite, Thread
from csptrace.stacks.capture import StackTable
from csptrace.stacks.ownership import Ownership

if TYPE_CHECKING:
    import pytest

    from csptrace.graph.handle import Handle
    from csptrace.spec.kinds import Kind

SITE = CallSite("CryptCreateHash", "cryptoapi", "advapi32")
THREAD = Thread(1, "MainThread")
SCOPES = (None, Scope("one", 1, None), Scope("two", 2, None))
WAYS = (None, Exit.RETURNED, Exit.RAISED)
LEAKS = st.lists(
    st.tuples(
        st.sampled_from((KEY, HASH)),
        st.integers(0, len(FRAMES) - 1),
        st.sampled_from(SCOPES),
        st.sampled_from(WAYS),
        st.integers(1, 6),
    ),
    max_size=12,
)


def world(leaks: list[tuple[Kind, int, Scope | None, Exit | None, int]]) -> list[Handle]:
    """Return live handles, acquired in turn in the places of the leaks."""
    graph, table = Graph(), StackTable(8)
    queue = [list(leak) for leak in leaks]
    handles = []
    while any(leak[4] for leak in queue):
        for leak in queue:
            kind, place, scope, way, left = leak
            if not left:
                continue
            leak[4] = left - 1
            stack = table.capture(FRAMES[place])
            assert stack is not None
            call_record = CallRecord(SITE, stack, THREAD, "", 0, scope)
            handle, _ = graph.acquire(kind, 1 + len(handles), None, (), call_record)
            if way is not None:
                code = FRAMES[place].f_code
                handle.departures = [Departure(way, Invocation(code, 1), 0)]
            handles.append(handle)
    return handles


def detail(handle: Handle) -> tuple[object, ...]:
    """Return what distinguishes a leak from others, told in another way than the judge's."""
    assert handle.acquired is not None
    scope = handle.acquired.scope
    way = handle.departures[0].exit if handle.departures else None
    return handle.kind, handle.acquired.stack, scope.name if scope else "", way


@given(leaks=LEAKS, alike=st.integers(3, 5), described=st.integers(1, 30))
def test_each_leak_belongs_to_one_finding_that_describes_one_like_it(
    leaks: list[tuple[Kind, int, Scope | None, Exit | None, int]], alike: int, described: int
) -> None:
    """Nothing is lost or counted twice, whatever the bounds are."""
    handles = world(leaks)
    judge = Leaks(Ownership().resolve)
    for handle in handles:
        judge.add_owed(handle, "")
    before = judgement.MOST_ALIKE, judgement.MOST_DESCRIBED
    judgement.MOST_ALIKE, judgement.MOST_DESCRIBED = alike, described  # type: ignore[misc]
    try:
        found = list(judge.described(0))
    finally:
        judgement.MOST_ALIKE, judgement.MOST_DESCRIBED = before  # type: ignore[misc]

    stood_for = [handle for _, some in found for handle in some]
    assert sorted(handle.hid for handle in stood_for) == [handle.hid for handle in handles]
    assert all(finding.times == len(some) for finding, some in found)
    assert all(finding.handle.hid == some[0].hid for finding, some in found)
    firsts = [some[0].hid for _, some in found]
    assert firsts == sorted(firsts)
    sorts = Counter(map(detail, handles))
    if len(sorts) <= described:
        assert all(len({detail(handle) for handle in some}) == 1 for _, some in found)
        assert len(found) <= min(described, alike * len(sorts))
        described_of = Counter(detail(some[0]) for _, some in found)
        assert set(described_of) == set(sorts)
    else:
        bugs = {(finding.fingerprint, _scope(finding.acquired)) for finding, _ in found}
        assert len(found) <= max(described, len(bugs))
    prints = Counter[str]()
    for finding, _ in found:
        prints[finding.fingerprint] += finding.times
    assert prints == Counter(_fingerprints(handles))


def _scope(call_record: CallRecord | None) -> str:
    return (
        call_record.scope.name if call_record is not None and call_record.scope is not None else ""
    )


def _fingerprints(handles: list[Handle]) -> list[str]:
    """Return the fingerprint of each handle, judged alone."""
    return [
        finding.fingerprint
        for handle in handles
        for finding in leaked_at_exit((handle,), Ownership().resolve, 0, "")
    ]


def test_of_many_that_are_alike_the_first_and_the_last_are_described() -> None:
    """The last one may have another cause, and one of the others stands for the rest."""
    handles = world([(KEY, 0, None, None, 1000)])
    found = leaked_at_exit(handles, Ownership().resolve, 0, "")

    assert [finding.times for finding in found] == [1] * 98 + [901, 1]
    assert [finding.handle.hid for finding in found] == [*range(1, 100), 1000]


def test_few_leaks_are_all_described() -> None:
    """A hundred from one place are a hundred findings."""
    found = leaked_at_exit(world([(KEY, 0, None, None, 100)]), Ownership().resolve, 0, "")
    assert [finding.times for finding in found] == [1] * 100


def test_as_many_descriptions_are_made_as_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many handles and places there are, the work for findings has a bound."""
    made = []
    make = judgement._finding

    def counted(*args: object, **kwargs: object) -> object:
        made.append(1)
        return make(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(judgement, "_finding", counted)
    leaks = [(KEY, place, scope, way, 1000) for place in (0, 1) for scope in SCOPES for way in WAYS]
    found = leaked_at_exit(world(leaks), Ownership().resolve, 0, "")

    assert sum(finding.times for finding in found) == 18_000
    assert len(made) == 18 * (1000 // 18)


def test_what_one_finding_stands_for_is_said() -> None:
    """Its text has the number, and so does the head line of several."""
    from csptrace.findings.text import as_text, explain, summary

    context, *_ = world([(PROV, 0, None, None, 1)])
    found = leaked_at_exit(
        [context, *world([(KEY, 0, None, None, 5000)])], Ownership().resolve, 0, ""
    )
    many = next(finding for finding in found if finding.times > 1)

    assert "it stands for 4,901 handles from there that were left in the same way" in as_text(
        explain(many)
    )
    assert "it stands for" not in as_text(explain(found[0]))
    assert summary(found).startswith("5001 handles were leaked\n")
