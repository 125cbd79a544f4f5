"""What the graph does for handles of libraries: given ones, survivors, what ended unseen."""

from __future__ import annotations

import pytest

from csptrace.apis.pkcs11.spec import LIBRARY_STATE, OBJECT, SEARCH, SESSION, SLOT, SPEC
from csptrace.graph.changes import Acquired, Ended, Untracked
from csptrace.graph.graph import Graph
from csptrace.graph.handle import CallRecord
from csptrace.graph.sites import CallSite, Thread
from csptrace.graph.states import LIVE, UNTRACKED

CALL_RECORD = CallRecord(
    CallSite("C", "pkcs11", "test"), None, Thread(1, "MainThread"), "", 0, None
)


@pytest.fixture
def graph() -> Graph:
    """Return an empty graph."""
    return Graph()


def test_a_given_handle_is_never_dead(graph: Graph) -> None:
    """A slot that went with its library is a new one when it is named again."""
    library, _ = graph.acquire(LIBRARY_STATE, 1, None, (), CALL_RECORD)
    slot = graph.borrow(SLOT, 0, library)
    assert graph.borrow(SLOT, 0, library) is slot
    graph.begin_release(library)
    graph.settle_release(library, CALL_RECORD, released=True)
    again, _ = graph.acquire(LIBRARY_STATE, 1, None, (), CALL_RECORD)
    fresh = graph.borrow(SLOT, 0, again)
    assert fresh is not slot
    assert (fresh.state, fresh.generation, fresh.parent) == (LIVE, slot.generation + 1, again)
    assert (graph.live, graph.peak) == (1, 1), "what nobody has acquired is not counted"


def test_the_end_of_a_library_reaches_everything(graph: Graph) -> None:
    """Sessions, objects and operations go with the library that they are in, at every depth."""
    library, _ = graph.acquire(LIBRARY_STATE, 1, None, (), CALL_RECORD)
    slot = graph.borrow(SLOT, 7, library)
    session, _ = graph.acquire(SESSION, 1, slot, (), CALL_RECORD)
    object_, _ = graph.acquire(OBJECT, 2, session, (), CALL_RECORD)
    search, _ = graph.acquire(SEARCH, 1, session, (), CALL_RECORD)
    assert graph.below(library) == [slot, session, object_, search]
    graph.begin_release(library)
    (ended,) = graph.settle_release(library, CALL_RECORD, released=True)
    assert isinstance(ended, Ended)
    assert {*ended.invalidated} == {slot, session, object_, search}
    assert graph.live == 0


def test_a_survivor_outlives_its_parent_without_duty(graph: Graph) -> None:
    """What is moved to another parent lives on when its old one ends, and is owed by nobody."""
    library, _ = graph.acquire(LIBRARY_STATE, 1, None, (), CALL_RECORD)
    session, _ = graph.acquire(SESSION, 1, graph.borrow(SLOT, 7, library), (), CALL_RECORD)
    object_, _ = graph.acquire(OBJECT, 2, session, (), CALL_RECORD)
    graph.move(object_, library)
    graph.begin_release(session)
    (ended,) = graph.settle_release(session, CALL_RECORD, released=True)
    assert isinstance(ended, Ended)
    assert ended.invalidated == ()
    assert object_.state == LIVE
    assert object_ not in graph.unreleased()
    graph.begin_release(library)
    graph.settle_release(library, CALL_RECORD, released=True)
    assert object_.alert


def test_what_ended_unseen_is_written_off(graph: Graph) -> None:
    """A handle that turns out to be gone is no longer live, and a later use is no error."""
    session, _ = graph.acquire(SESSION, 1, None, (), CALL_RECORD)
    object_, _ = graph.acquire(OBJECT, 2, session, (), CALL_RECORD)
    assert graph.forget(object_, CALL_RECORD) == [Untracked(object_, CALL_RECORD)]
    assert object_.state == UNTRACKED
    assert not object_.alert
    assert graph.forget(object_, CALL_RECORD) == []
    assert graph.below(session) == []


def test_libraries_do_not_share_values(graph: Graph) -> None:
    """The same number in two libraries is two handles, and in one library it is one."""
    sessions = []
    for file in ("/one.so", "/two.so"):
        kinds = {kind.name: kind for kind in SPEC.within(file).kinds}
        handle, changes = graph.acquire(kinds["CK_SESSION_HANDLE"], 1, None, (), CALL_RECORD)
        assert [type(change) for change in changes] == [Acquired]
        sessions.append(handle)
    assert [session.generation for session in sessions] == [1, 1]
    again, changes = graph.acquire(sessions[0].kind, 1, None, (), CALL_RECORD)
    assert [type(change) for change in changes] == [Untracked, Acquired]
    assert again.generation == 2
    assert sessions[1].state == LIVE


def test_chosen_handles_end_together(graph: Graph) -> None:
    """A sweep of chosen handles ends those and no others, wherever they are."""
    one, _ = graph.acquire(SESSION, 1, None, (), CALL_RECORD)
    two, _ = graph.acquire(SESSION, 2, None, (), CALL_RECORD)
    objects = [
        graph.acquire(OBJECT, 3 + n, (one, two)[n % 2], (), CALL_RECORD)[0] for n in range(4)
    ]
    marked = graph.begin_release_all(OBJECT, None, objects[1:3])
    graph.settle_release_all(marked, CALL_RECORD, released=True)
    assert [each.state == LIVE for each in objects] == [True, False, False, True]
