"""The rules of the graph, one plain example each."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from csptrace.apis.cryptoapi.spec import HASH, KEY, PROV
from csptrace.graph.changes import (
    Acquired,
    Collected,
    Ended,
    HandedOver,
    RefChanged,
    Refused,
    Untracked,
)
from csptrace.graph.graph import Graph
from csptrace.graph.handle import CallRecord, Scope
from csptrace.graph.sites import CallSite, Thread
from csptrace.graph.states import INVALIDATED, LIVE, RELEASED, RELEASING, UNTRACKED
from csptrace.spec.kinds import Cascade, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from csptrace.graph.changes import Change
    from csptrace.graph.handle import Handle

PART = Kind("PART", "part", under=KEY, orderly=True)
COPY = Kind("COPY", "copy", under=PROV, cascade=Cascade.RETAIN)
TOKEN = Kind("TOKEN", "token", under=PROV, cascade=Cascade.DETACH)
FREE = Kind("FREE", "free thing", must_release=False)


def at(call: str = "Call", scope: Scope | None = None) -> CallRecord:
    """Return the record of a call at which nothing but the call is of interest."""
    return CallRecord(CallSite(call, "test", "ctypes"), None, Thread(1, "MainThread"), "", 0, scope)


def acquire(
    graph: Graph,
    kind: Kind,
    value: int,
    parent: Handle | None = None,
    *needs: Handle,
    scope: Scope | None = None,
) -> Handle:
    """Acquire a handle whose predecessors are all known to be gone."""
    handle, changes = graph.acquire(kind, value, parent, needs, at("Acquire", scope))
    assert [type(change) for change in changes] == [Acquired]
    return handle


def release(graph: Graph, handle: Handle) -> Change:
    """Release one reference; return the one change."""
    assert graph.begin_release(handle)
    (change,) = graph.settle_release(handle, at("Release"), released=True)
    return change


@pytest.fixture
def graph() -> Graph:
    """Return an empty graph."""
    return Graph()


# --- 1. identity -----------------------------------------------------------------------------


def test_a_value_that_is_acquired_again_is_a_new_generation(graph: Graph) -> None:
    """The table knows the new handle, and the dead one still knows where it died."""
    old = acquire(graph, KEY, 0x10)
    release(graph, old)
    new = acquire(graph, KEY, 0x10)
    assert (old.generation, new.generation) == (1, 2)
    assert (old.state, new.state) == (RELEASED, LIVE)
    assert graph.table(KEY) == {0x10: new}
    assert old.ended is not None
    assert old.ended.site.call == "Release"
    assert new.hid > old.hid


def test_the_same_value_in_two_spaces_is_two_handles(graph: Graph) -> None:
    """A kind without a shared space never disturbs another."""
    context = acquire(graph, PROV, 0x10)
    acquire(graph, FREE, 0x10)
    assert context.state == LIVE


def test_a_live_value_that_is_handed_out_again_has_vanished(graph: Graph) -> None:
    """An end that was not seen is written off without blame, children included."""
    context = acquire(graph, PROV, 0x10)
    key = acquire(graph, KEY, 0x20, context)
    _, changes = graph.acquire(PROV, 0x10, None, (), at())
    assert [type(change) for change in changes] == [Untracked, Untracked, Acquired]
    assert (context.state, key.state) == (UNTRACKED, UNTRACKED)
    assert not key.alert
    assert graph.live == 1


def test_a_live_value_that_becomes_another_kind_has_vanished(graph: Graph) -> None:
    """Heap addresses are shared: a hash at a key's address means that the key is gone."""
    key = acquire(graph, KEY, 0x10)
    _, changes = graph.acquire(HASH, 0x10, None, (), at())
    assert isinstance(changes[0], Untracked)
    assert changes[0].handle is key
    assert graph.other_kind(KEY, 0x10) is graph.table(HASH)[0x10]


def test_a_child_that_outlives_its_parent_vanishes_as_others_do(graph: Graph) -> None:
    """A value is not excused by a parent's release that will not take its holder along."""
    context = acquire(graph, PROV, 0x10)
    copy = acquire(graph, COPY, 0x20, context)
    graph.begin_release(context)
    graph.acquire(COPY, 0x20, None, (), at())
    assert copy.state == UNTRACKED
    graph.settle_release(context, at(), released=True)
    assert graph.live == 1


def test_a_child_of_a_dead_parent_vanishes_as_others_do(graph: Graph) -> None:
    """Only a parent that is itself alive can take a child along when its own parent goes."""
    context = acquire(graph, PROV, 0x10)
    key = acquire(graph, KEY, 0x20, context)
    release(graph, key)
    part = acquire(graph, PART, 0x30, key)
    graph.begin_release(context)
    graph.acquire(PART, 0x30, None, (), at())
    assert part.state == UNTRACKED


def test_a_child_under_a_written_off_value_gets_a_parent_that_can_be_released(
    graph: Graph,
) -> None:
    """What was written off is replaced by an unowned handle, whose release takes the child."""
    context = acquire(graph, PROV, 0x10)
    graph.acquire(KEY, 0x10, None, (), at())
    assert context.state == UNTRACKED
    hash_, _ = graph.acquire(HASH, 0x20, context, (), at())
    assert hash_.parent is graph.table(PROV)[0x10]
    assert hash_.parent is not context
    assert hash_.parent.generation == 2
    ended = release(graph, hash_.parent)
    assert isinstance(ended, Ended)
    assert ended.invalidated == (hash_,)


# --- 2. unowned ------------------------------------------------------------------------------


def test_a_handle_first_seen_in_use_is_unowned(graph: Graph) -> None:
    """Nobody owes its release, and it counts as alive."""
    handle = graph.borrow(KEY, 0x10)
    assert (handle.state, handle.must_release, handle.acquired) == (LIVE, False, None)
    assert graph.borrow(KEY, 0x10) is handle
    assert graph.unreleased() == []
    assert graph.live == 1


def test_a_refused_release_of_an_unknown_value_leaves_nothing_behind(graph: Graph) -> None:
    """Garbage that the provider refuses does not fill the table."""
    handle = graph.borrow(KEY, 0xBAD)
    assert graph.begin_release(handle)
    assert graph.settle_release(handle, at(), released=False) == []
    assert 0xBAD not in graph.table(KEY)
    assert graph.live == 0


def test_an_unowned_handle_of_which_something_is_known_is_kept(graph: Graph) -> None:
    """A refused release does not drop what has children, uses or further references."""
    parent = graph.borrow(PROV, 0x10)
    acquire(graph, KEY, 0x20, parent)
    shared = graph.borrow(PROV, 0x30)
    graph.add_ref(shared, at())
    graph.begin_release(shared)
    for handle in (parent, shared):
        assert graph.begin_release(handle)
        assert graph.settle_release(handle, at(), released=False) == []
        assert graph.table(PROV)[handle.value] is handle


def test_a_kind_without_duty_owes_nothing(graph: Graph) -> None:
    """`must_release=False` means that nobody has to release it."""
    assert not acquire(graph, FREE, 0x10).must_release
    assert graph.unreleased() == []


# --- 3. references and cascades --------------------------------------------------------------


def test_children_die_at_the_last_release_of_their_parent(graph: Graph) -> None:
    """As many releases are needed as there are references."""
    context = acquire(graph, PROV, 0x10)
    key = acquire(graph, KEY, 0x20, context)
    assert isinstance(graph.add_ref(context, at())[0], RefChanged)
    assert isinstance(release(graph, context), RefChanged)
    assert key.state == LIVE
    ended = release(graph, context)
    assert isinstance(ended, Ended)
    assert ended.invalidated == (key,)
    assert (key.state, key.ended_by) == (INVALIDATED, context)
    assert key.ended is ended.call_record
    assert graph.live == 0


def test_invalidation_reaches_grandchildren_parents_first(graph: Graph) -> None:
    """Whatever lives below goes with the root, and the root is the culprit of each."""
    context = acquire(graph, PROV, 0x10)
    key = acquire(graph, KEY, 0x20, context)
    part = acquire(graph, PART, 0x30, key)
    ended = release(graph, context)
    assert isinstance(ended, Ended)
    assert ended.invalidated == (key, part)
    assert part.ended_by is context


def test_a_retained_child_survives_with_what_is_under_it(graph: Graph) -> None:
    """RETAIN: the child keeps the parent's object alive, and stays valid and owed."""
    context = acquire(graph, PROV, 0x10)
    copy = acquire(graph, COPY, 0x20, context)
    ended = release(graph, context)
    assert isinstance(ended, Ended)
    assert ended.invalidated == ()
    assert (copy.state, copy.parent) == (LIVE, context)
    assert graph.unreleased() == [copy]
    assert isinstance(release(graph, copy), Ended)


def test_a_detached_child_lives_on_without_a_parent(graph: Graph) -> None:
    """DETACH: the child has no parent any more, however the parent went."""
    released, untracked = acquire(graph, PROV, 0x10), acquire(graph, PROV, 0x11)
    tokens = [acquire(graph, TOKEN, 0x20, released), acquire(graph, TOKEN, 0x21, untracked)]
    release(graph, released)
    graph.acquire(PROV, 0x11, None, (), at())
    assert [(token.state, token.parent) for token in tokens] == [(LIVE, None)] * 2


def test_a_released_child_is_its_parents_no_more(graph: Graph) -> None:
    """Only what is alive is a child."""
    context = acquire(graph, PROV, 0x10)
    first, second = (acquire(graph, KEY, value, context) for value in (0x20, 0x30))
    release(graph, first)
    assert list(context.children or ()) == [second]


def test_a_reference_cannot_be_added_to_the_dead(graph: Graph) -> None:
    """A dead handle stays dead."""
    key = acquire(graph, KEY, 0x10)
    release(graph, key)
    assert graph.add_ref(key, at()) == []
    assert key.state == RELEASED


def test_release_all_ends_one_kind_under_one_parent(graph: Graph) -> None:
    """Only live handles of that kind, and only those of that parent, are ended."""
    mine, other = acquire(graph, PROV, 0x10), acquire(graph, PROV, 0x11)
    keys = [acquire(graph, KEY, value, mine) for value in (0x20, 0x21)]
    kept = [acquire(graph, HASH, 0x30, mine), acquire(graph, KEY, 0x31, other)]
    changes = graph.settle_release_all(graph.begin_release_all(KEY, mine), at(), released=True)
    assert [change.handle for change in changes] == keys
    assert {handle.state for handle in kept} == {LIVE}
    assert graph.begin_release_all(KEY, None) == kept[1:]


def test_release_all_spares_what_is_acquired_while_it_runs(graph: Graph) -> None:
    """A value that another thread is handed during the call belongs to a new, live handle."""
    context = acquire(graph, PROV, 0x10)
    old = acquire(graph, KEY, 0x20, context)
    begun = graph.begin_release_all(KEY, context)
    new = acquire(graph, KEY, 0x20, context)
    changes = graph.settle_release_all(begun, at(), released=True)
    assert [change.handle for change in changes] == [old]
    assert new.state == LIVE
    assert graph.table(KEY)[0x20] is new


def test_a_refused_release_all_changes_nothing(graph: Graph) -> None:
    """When the provider refuses, every handle lives on, with all its references."""
    context = acquire(graph, PROV, 0x10)
    key = acquire(graph, KEY, 0x20, context)
    graph.add_ref(key, at())
    begun = graph.begin_release_all(KEY, context)
    assert graph.settle_release_all(begun, at(), released=False) == []
    assert (key.state, key.refs, key.pending) == (LIVE, 2, 0)


def test_a_cancelled_release_leaves_no_mark(graph: Graph) -> None:
    """A release whose native call was not made leaves the handle as it was, and is no finding."""
    key = acquire(graph, KEY, 0x20, acquire(graph, PROV, 0x10))
    graph.begin_release(key)
    graph.cancel_release(key)
    assert (key.state, key.pending) == (LIVE, 0)


def test_a_handed_over_handle_owes_nothing(graph: Graph) -> None:
    """The provider releases it from now on; saying so twice changes nothing."""
    context = acquire(graph, PROV, 0x10)
    assert [type(change) for change in graph.hand_over(context, at())] == [HandedOver]
    assert graph.hand_over(context, at()) == []
    assert graph.unreleased() == []
    assert graph.live == 1


# --- 4. mark first, call second --------------------------------------------------------------


def test_another_thread_may_be_handed_the_value_during_the_native_call(graph: Graph) -> None:
    """The release settles the handle that was marked, not the one that has its value now."""
    old = acquire(graph, PROV, 0x10)
    assert graph.begin_release(old)
    assert old.state == RELEASING
    new = acquire(graph, PROV, 0x10)
    ended = graph.settle_release(old, at(), released=True)
    assert [change.handle for change in ended] == [old]
    assert (new.state, graph.table(PROV)[0x10]) == (LIVE, new)
    assert graph.live == 1


def test_another_thread_may_be_handed_a_leaked_childs_value(graph: Graph) -> None:
    """A child of a context that is just being released is leaked, although its value lives on."""
    context = acquire(graph, PROV, 0x10)
    leaked = acquire(graph, KEY, 0x20, context)
    part = acquire(graph, PART, 0x30, leaked)
    graph.begin_release(context)
    new_key, new_hash = acquire(graph, KEY, 0x20), acquire(graph, HASH, 0x30)
    (ended,) = graph.settle_release(context, at(), released=True)
    assert isinstance(ended, Ended)
    assert ended.invalidated == (leaked, part)
    assert (new_key.state, new_hash.state) == (LIVE, LIVE)


def test_a_refused_release_is_rolled_back(graph: Graph) -> None:
    """The handle lives on, is still owed, and can be released later."""
    key = acquire(graph, KEY, 0x10)
    graph.begin_release(key)
    assert [type(c) for c in graph.settle_release(key, at(), released=False)] == [Refused]
    assert (key.state, graph.unreleased()) == (LIVE, [key])
    assert isinstance(release(graph, key), Ended)


def test_a_refused_release_writes_off_what_lost_its_value_in_between(graph: Graph) -> None:
    """Two live handles never share a value, at no depth and of no kind of the space."""
    context = acquire(graph, PROV, 0x10)
    key = acquire(graph, KEY, 0x20, context)
    hash_ = acquire(graph, HASH, 0x21, context)
    part = acquire(graph, PART, 0x30, acquire(graph, KEY, 0x22, context))
    kept = acquire(graph, KEY, 0x23, context)
    graph.begin_release(context)
    for kind, value in ((KEY, 0x20), (KEY, 0x21), (PART, 0x30)):
        acquire(graph, kind, value)
    changes = graph.settle_release(context, at(), released=False)
    assert {change.handle for change in changes if isinstance(change, Untracked)} == {
        key,
        hash_,
        part,
    }
    assert isinstance(changes[-1], Refused)
    assert kept.state == LIVE
    assert graph.live == len(list(graph.handles()))


def test_a_refused_release_of_a_value_that_is_taken_writes_the_handle_off(graph: Graph) -> None:
    """The provider contradicts itself then, and nobody is to blame."""
    old = acquire(graph, PROV, 0x10)
    graph.begin_release(old)
    acquire(graph, PROV, 0x10)
    changes = graph.settle_release(old, at(), released=False)
    assert [type(change) for change in changes] == [Untracked]
    assert graph.live == 1


def test_releases_of_several_references_settle_in_any_order(graph: Graph) -> None:
    """The last one to be confirmed ends the handle."""
    context = acquire(graph, PROV, 0x10)
    graph.add_ref(context, at())
    assert graph.begin_release(context)
    assert context.state == LIVE
    assert graph.begin_release(context)
    assert context.state == RELEASING
    first = graph.settle_release(context, at(), released=True)
    second = graph.settle_release(context, at(), released=True)
    assert [type(change) for change in (*first, *second)] == [RefChanged, Ended]


def test_a_release_of_one_of_two_references_that_is_refused_says_so(graph: Graph) -> None:
    """A refused release is told even where another reference would have kept the handle alive."""
    context = acquire(graph, PROV, 0x10)
    graph.add_ref(context, at())
    graph.begin_release(context)
    assert [type(c) for c in graph.settle_release(context, at(), released=False)] == [Refused]
    assert context.refs == 2


def test_a_reference_added_during_a_release_keeps_the_handle(graph: Graph) -> None:
    """Only as many references are taken away as there are releases."""
    context = acquire(graph, PROV, 0x10)
    graph.begin_release(context)
    graph.add_ref(context, at())
    assert context.state == LIVE
    assert isinstance(graph.settle_release(context, at(), released=True)[0], RefChanged)
    assert context.state == LIVE


def test_a_collected_reference_leaves_the_last_release_marked(graph: Graph) -> None:
    """What is left is about to be released, so its value may be handed out."""
    context = acquire(graph, PROV, 0x10)
    graph.add_ref(context, at())
    graph.begin_release(context)
    graph.collect(context, at(), released=True)
    assert context.state == RELEASING
    acquire(graph, PROV, 0x10)
    (ended,) = graph.settle_release(context, at(), released=True)
    assert isinstance(ended, Ended)


def test_a_reference_added_while_as_many_releases_are_under_way_changes_no_mark(
    graph: Graph,
) -> None:
    """A handle is marked as long as there are no more references than releases."""
    context = acquire(graph, PROV, 0x10)
    graph.add_ref(context, at())
    graph.begin_release(context)
    graph.begin_release(context)
    graph.collect(context, at(), released=True)
    graph.add_ref(context, at())
    assert (context.refs, context.pending, context.state) == (2, 2, RELEASING)


def test_a_handle_that_ended_during_its_release_settles_silently(graph: Graph) -> None:
    """Somebody else's release of the parent came first."""
    context = acquire(graph, PROV, 0x10)
    key = acquire(graph, KEY, 0x20, context)
    graph.begin_release(key)
    release(graph, context)
    assert graph.settle_release(key, at(), released=True) == []
    assert key.state == INVALIDATED


def test_the_dead_cannot_begin_a_release(graph: Graph) -> None:
    """There is nothing to settle then."""
    key = acquire(graph, KEY, 0x10)
    release(graph, key)
    assert not graph.begin_release(key)


# --- 5. what a use has to look at ------------------------------------------------------------


def test_only_the_dead_and_what_needs_them_is_alerted(graph: Graph) -> None:
    """A use costs one flag; it is set where a use is wrong."""
    context = acquire(graph, PROV, 0x10)
    key = acquire(graph, KEY, 0x20, context)
    hmac = acquire(graph, HASH, 0x30, context, key)
    assert not any(handle.alert for handle in (context, key, hmac))
    release(graph, key)
    assert (context.alert, key.alert, hmac.alert) == (False, True, True)
    late = acquire(graph, HASH, 0x40, context, key)
    assert late.alert


def test_what_a_vanished_handle_was_needed_for_is_not_alerted(graph: Graph) -> None:
    """Only what was seen to end is dead."""
    key = acquire(graph, KEY, 0x20)
    hmac = acquire(graph, HASH, 0x30, None, key)
    graph.acquire(KEY, 0x20, None, (), at())
    assert not hmac.alert


def test_a_dependency_is_not_a_parent(graph: Graph) -> None:
    """The end of a dependency invalidates nothing, and the dependent forgets nobody."""
    key = acquire(graph, KEY, 0x20)
    hmac = acquire(graph, HASH, 0x30, None, key)
    release(graph, hmac)
    assert not key.dependents
    ended = release(graph, key)
    assert isinstance(ended, Ended)
    assert ended.invalidated == ()


# --- 6. leaked for good ----------------------------------------------------------------------


def test_a_leaked_child_stays_leaked(graph: Graph) -> None:
    """A release afterwards is not one, and who ended it does not change."""
    context = acquire(graph, PROV, 0x10)
    key = acquire(graph, KEY, 0x20, context)
    release(graph, context)
    assert not graph.begin_release(key)
    assert (key.state, key.ended_by) == (INVALIDATED, context)


def test_a_handle_under_a_dead_parent_is_owed_until_the_end(graph: Graph) -> None:
    """A provider that hands out a key of a released context leaves it to be judged at exit."""
    context = acquire(graph, PROV, 0x10)
    release(graph, context)
    key = acquire(graph, KEY, 0x20, context)
    assert graph.unreleased() == [key]
    assert isinstance(release(graph, key), Ended)


# --- 7. locking ------------------------------------------------------------------------------


def test_tables_are_the_same_object_for_ever(graph: Graph) -> None:
    """A compiled wrapper keeps the dictionary it was given and reads it without the lock."""
    table = graph.table(KEY)
    acquire(graph, KEY, 0x10)
    graph.clear()
    assert graph.table(KEY) is table
    assert table == {}


def test_a_table_can_be_asked_for_by_many_threads_at_once(graph: Graph) -> None:
    """Everybody gets the same one."""
    kinds = [Kind(f"K{index}", "thing", space="address") for index in range(20)]
    barrier = threading.Barrier(4)
    found: list[list[dict[int, Handle]]] = []

    def ask() -> None:
        barrier.wait()
        found.append([graph.table(kind) for kind in kinds])

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({tuple(map(id, tables)) for tables in found}) == 1
    assert len(found) == 4


def test_the_lock_is_reentrant(graph: Graph) -> None:
    """A signal handler may call the provider while its thread holds the lock."""
    with graph.lock, graph.lock:
        acquire(graph, KEY, 0x10)


# --- scopes, collection, forks ---------------------------------------------------------------


def test_owed_is_asked_for_by_scope_oldest_first(graph: Graph) -> None:
    """A scope holds what was acquired in it or in a scope inside it."""
    outer = Scope("outer", 1, None)
    inner, other = Scope("inner", 2, outer), Scope("other", 3, None)
    a = acquire(graph, KEY, 0x10, scope=outer)
    b = acquire(graph, PROV, 0x20, scope=inner)
    c = acquire(graph, KEY, 0x30, scope=other)
    d = acquire(graph, KEY, 0x40)
    assert graph.unreleased(outer) == [a, b]
    assert graph.unreleased(inner) == [b]
    assert graph.unreleased() == [a, b, c, d]


@pytest.mark.parametrize("released", [True, False])
def test_collection_says_whether_a_release_was_owed(graph: Graph, *, released: bool) -> None:
    """The note says whether it was leaked; the handle does not say so afterwards."""
    unreleased, handed_over = acquire(graph, PROV, 0x10), acquire(graph, PROV, 0x20)
    graph.hand_over(handed_over, at())
    found = [graph.collect(handle, at(), released=released) for handle in (unreleased, handed_over)]
    assert [changes[0] for changes in found] == [
        Collected(unreleased, at(), released, unreleased=True),
        Collected(handed_over, at(), released, unreleased=False),
    ]
    assert graph.unreleased() == []
    assert unreleased.state == (RELEASED if released else LIVE)


def test_collection_of_the_dead_is_nothing(graph: Graph) -> None:
    """An object that was released properly goes silently."""
    key = acquire(graph, KEY, 0x10)
    release(graph, key)
    assert graph.collect(key, at(), released=True) == []


def test_a_forked_child_owes_only_what_it_acquires_itself(graph: Graph) -> None:
    """The parent's handles are alive in the child and are the parent's to release."""
    before = acquire(graph, KEY, 0x10)
    graph.forked(at("os.fork"))
    after = acquire(graph, KEY, 0x20)
    assert graph.unreleased() == [after]
    assert before.state == LIVE


def test_a_forked_child_knows_no_release_of_other_threads(graph: Graph) -> None:
    """What another thread was releasing at the fork can be released in the child."""
    key = acquire(graph, KEY, 0x10)
    graph.begin_release(key)
    graph.forked(at("os.fork"))
    assert (key.state, key.pending) == (LIVE, 0)
    assert isinstance(release(graph, key), Ended)


def test_the_forking_threads_own_release_settles_in_the_child(graph: Graph) -> None:
    """A fork in the middle of a native call does not upset the count."""
    key = acquire(graph, KEY, 0x10)
    graph.begin_release(key)
    graph.forked(at("os.fork"))
    assert isinstance(graph.settle_release(key, at(), released=True)[0], Ended)
    assert (key.pending, graph.live) == (0, 0)


def test_a_release_that_outlasts_the_tracer_changes_nothing(graph: Graph) -> None:
    """After `clear` a late settlement finds no handle to end and no child to call leaked."""
    context = acquire(graph, PROV, 0x10)
    acquire(graph, KEY, 0x20, context)
    graph.begin_release(context)
    graph.clear()
    assert graph.settle_release(context, at(), released=True) == []
    assert graph.live == 0


# --- bounds and costs ------------------------------------------------------------------------


def test_tombstones_are_bounded_and_the_oldest_go_first() -> None:
    """A process that acquires ever new values does not remember all of them."""
    graph = Graph(tombstones=3)
    for value in range(1, 11):
        release(graph, acquire(graph, KEY, value))
    assert sorted(graph.table(KEY)) == [8, 9, 10]


def test_written_off_handles_are_bounded_like_tombstones() -> None:
    """A child whose value never comes back is forgotten, however it went."""
    graph = Graph(tombstones=3)
    for value in range(1, 11):
        context, _ = graph.acquire(PROV, 1, None, (), at())
        acquire(graph, KEY, 100 + value, context)
    assert len(graph.table(KEY)) <= 4
    assert graph.live == 2


def test_a_tombstone_that_is_forgotten_never_drops_its_successor() -> None:
    """The value's newest handle stays although an older one's tombstone goes."""
    graph = Graph(tombstones=1)
    release(graph, acquire(graph, KEY, 0x10))
    new = acquire(graph, KEY, 0x10)
    release(graph, acquire(graph, KEY, 0x20))
    assert graph.table(KEY)[0x10] is new


def test_an_unused_unowned_value_does_not_restart_the_generations(graph: Graph) -> None:
    """What is dropped as garbage takes no known history with it."""
    acquire(graph, KEY, 0x10)
    graph.acquire(HASH, 0x10, None, (), at())
    borrowed = graph.borrow(KEY, 0x10)
    graph.begin_release(borrowed)
    graph.settle_release(borrowed, at(), released=False)
    graph.acquire(KEY, 0x10, None, (), at())
    assert graph.table(KEY)[0x10].generation == 3


class _Counting(dict[Any, Any]):
    """A dictionary that counts the entries that are read one after another."""

    read = 0

    def __iter__(self) -> Iterator[Any]:
        for key in super().__iter__():
            type(self).read += 1
            yield key

    def values(self) -> Any:
        type(self).read += len(self)
        return super().values()

    def items(self) -> Any:
        type(self).read += len(self)
        return super().items()


@pytest.mark.parametrize("bystanders", [10, 1000])
def test_the_cost_of_a_release_is_that_of_its_own_children(
    graph: Graph, bystanders: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many other handles live, a release touches itself and what is under it."""
    monkeypatch.setattr(_Counting, "read", 0)
    for kind in (PROV, KEY, HASH):
        graph._tables[kind] = _Counting()
    graph.table(PART)  # builds the neighbours anew
    crowd, mine = acquire(graph, PROV, 1), acquire(graph, PROV, 2)
    crowd.children = _Counting()
    for value in range(bystanders):
        acquire(graph, KEY, 1000 + value, crowd)
    mine.children = _Counting()
    keys = [acquire(graph, KEY, value, mine) for value in (10, 11, 12)]
    buried: list[Handle] = []
    bury = graph._bury

    def noting(handle: Handle, *rest: Any) -> None:
        buried.append(handle)
        bury(handle, *rest)

    monkeypatch.setattr(graph, "_bury", noting)
    release(graph, mine)
    assert buried == [mine, *keys]
    assert _Counting.read == len(keys)
