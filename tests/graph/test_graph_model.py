"""The graph against a naive model of it, under random interleavings of every verb."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from csptrace.findings.catalogue import Code
from csptrace.findings.judgement import findings_of, verdict_on_release, verdict_on_use
from csptrace.graph.changes import Acquired, Collected, Ended, RefChanged, Refused, Untracked
from csptrace.graph.graph import Graph
from csptrace.graph.handle import CallRecord
from csptrace.graph.sites import CallSite, Thread
from csptrace.spec.kinds import Cascade, Fork, Kind
from csptrace.stacks.ownership import Ownership

if TYPE_CHECKING:
    from collections.abc import Iterator

    from csptrace.graph.changes import Change
    from csptrace.graph.handle import Handle

ROOT = Kind("ROOT", "root", space="address")
KEY = Kind("KEY", "key", under=ROOT, orderly=True, space="address")
PART = Kind("PART", "part", under=KEY, orderly=True, space="address")
MEMO = Kind("MEMO", "memo", under=KEY, must_release=False)
COPY = Kind("COPY", "copy", under=ROOT, cascade=Cascade.RETAIN, space="address", fork=Fork.ENDS)
LEAF = Kind("LEAF", "leaf", under=COPY, orderly=True)
TOKEN = Kind("TOKEN", "token", under=KEY, cascade=Cascade.DETACH)
KINDS = (ROOT, KEY, PART, MEMO, COPY, LEAF, TOKEN)
VALUES = (1, 2, 3)

CALL_RECORD = CallRecord(
    CallSite("Call", "test", "ctypes"), None, Thread(1, "MainThread"), "", 0, None
)
OWNERSHIP = Ownership()


@dataclasses.dataclass(eq=False)
class Twin:
    """What the model knows about one handle; `handle` is the graph's record of the same."""

    kind: Kind
    value: int
    generation: int
    parent: Twin | None
    needs: tuple[Twin, ...]
    must_release: bool
    borrowed: bool
    epoch: int
    order: int
    refs: int = 1
    pending: int = 0
    uses: int = 0
    state: str = "alive"
    found: bool = False
    doubt: bool = False
    ended_by: Twin | None = None
    handle: Handle | None = None

    @property
    def alive(self) -> bool:
        """Whether its end was not seen."""
        return self.state == "alive"

    @property
    def dead(self) -> bool:
        """Whether its end was seen."""
        return self.state in ("released", "invalidated")

    @property
    def releasing(self) -> bool:
        """Whether every reference is about to be released."""
        return self.alive and self.pending >= self.refs

    @property
    def doomed(self) -> bool:
        """Whether a release that is under way above will take it along."""
        return (
            self.kind.cascade is Cascade.INVALIDATE
            and self.parent is not None
            and self.parent.alive
            and (self.parent.releasing or self.parent.doomed)
        )


class Model:
    """Every handle there ever was in one list; each question is answered by searching it."""

    def __init__(self) -> None:
        self.all: list[Twin] = []
        self.epoch = 0
        self.entered = 0

    def newest(self, kind: Kind, value: int) -> Twin | None:
        """Return the handle that a value stands for."""
        same = [twin for twin in self.all if twin.kind is kind and twin.value == value]
        return same[-1] if same else None

    def others(self, kind: Kind, value: int) -> Iterator[Twin]:
        """Yield the newest handles of other kinds that cannot share a live value."""
        for other in KINDS:
            twin = self.newest(other, value)
            if twin is not None and other is not kind and kind.space and other.space == kind.space:
                yield twin

    def children(self, parent: Twin) -> list[Twin]:
        """Return what lives under a handle."""
        return [twin for twin in self.all if twin.parent is parent and twin.alive]

    def enter(
        self, kind: Kind, value: int, parent: Twin | None, needs: tuple[Twin, ...], *, owned: bool
    ) -> Twin:
        """Add a handle to the list."""
        before = self.newest(kind, value)
        self.entered += 1
        twin = Twin(
            kind,
            value,
            1 if before is None else before.generation + 1,
            parent,
            needs,
            owned and kind.must_release,
            not owned,
            self.epoch,
            self.entered,
        )
        self.all.append(twin)
        return twin

    def acquire(
        self, kind: Kind, value: int, parent: Twin | None, needs: tuple[Twin, ...]
    ) -> tuple[Twin, set[Twin]]:
        """Return the new handle, and those that were written off."""
        if parent is not None and parent.state == "untracked":
            parent = self.borrow(parent.kind, parent.value)
        untracked: set[Twin] = set()
        for old in [self.newest(kind, value), *self.others(kind, value)]:
            if old is not None and old.alive and not old.releasing and not old.doomed:
                self.untrack(old, untracked)
        return self.enter(kind, value, parent, needs, owned=True), untracked

    def find(self, kind: Kind, value: int, home: Twin | None) -> tuple[Twin, set[Twin]]:
        """Return the known handle, or a new one of nobody's, and those that were written off."""
        known = self.newest(kind, value)
        if known is not None and known.alive and not known.releasing and not known.doomed:
            known.doubt = False
            return known, set()
        twin, untracked = self.acquire(kind, value, home, ())
        twin.found, twin.must_release = True, False
        return twin, untracked

    def borrow(self, kind: Kind, value: int) -> Twin:
        """Return the known handle or an unowned new one."""
        twin = self.newest(kind, value)
        if twin is None or twin.state == "untracked":
            twin = self.enter(kind, value, None, (), owned=False)
        return twin

    def untrack(self, twin: Twin, untracked: set[Twin]) -> None:
        """Write a handle off, and what was under it."""
        twin.state = "untracked"
        untracked.add(twin)
        for child in self.children(twin):
            if child.kind.cascade is Cascade.INVALIDATE:
                self.untrack(child, untracked)
            elif child.kind.cascade is Cascade.DETACH:
                child.parent = None

    def end(self, twin: Twin) -> set[Twin]:
        """End a handle; return what that invalidates."""
        twin.state = "released"
        invalidated: set[Twin] = set()
        pending = [twin]
        while pending:
            for child in self.children(pending.pop()):
                if child.kind.cascade is Cascade.INVALIDATE:
                    child.state, child.ended_by = "invalidated", twin
                    invalidated.add(child)
                    pending.append(child)
                elif child.kind.cascade is Cascade.DETACH:
                    child.parent = None
        return invalidated

    def displaced(self, twin: Twin) -> bool:
        """Return whether a newer live handle has its value."""
        return self.newest(twin.kind, twin.value) is not twin or any(
            other.alive and other.order > twin.order for other in self.others(twin.kind, twin.value)
        )

    def refuse(self, twin: Twin) -> set[Twin]:
        """Roll a last release back; return what lost its value in between."""
        untracked: set[Twin] = set()

        def look(kept: Twin) -> None:
            if self.displaced(kept):
                self.untrack(kept, untracked)
            else:
                for child in self.children(kept):
                    look(child)

        look(twin)
        if (
            twin.alive
            and twin.borrowed
            and twin.refs == 1
            and not twin.uses
            and not self.children(twin)
        ):
            twin.state = "untracked"
            if twin.generation == 1:
                self.all.remove(twin)
        return untracked


class GraphMachine(RuleBasedStateMachine):
    """Drives the graph and the model with the same calls."""

    @initialize()
    def start(self) -> None:
        """Begin with an empty graph."""
        self.graph = Graph()
        self.model = Model()
        self.flying: list[Twin] = []
        self.twins: dict[Handle, Twin] = {}

    # --- helpers ------------------------------------------------------------------------------

    def candidates(self) -> list[Twin]:
        """Return what a caller can name: the newest handle of each kind and value."""
        found = (self.model.newest(kind, value) for kind in KINDS for value in VALUES)
        return [twin for twin in found if twin is not None]

    def alive(self) -> list[Twin]:
        """Return the live ones among them."""
        return [twin for twin in self.candidates() if twin.alive]

    def bind(self, twin: Twin, handle: Handle) -> None:
        """Note that the graph's handle and the model's twin are the same."""
        assert twin.handle in (None, handle)
        twin.handle = handle
        self.twins[handle] = twin

    def as_twins(self, changes: list[Change], kind: type) -> set[Twin]:
        """Return the handles of one kind of change."""
        return {self.twins[change.handle] for change in changes if isinstance(change, kind)}

    def check_end(self, change: Change, twin: Twin, invalidated: set[Twin]) -> None:
        """Compare one `Ended`, and the leaks that are found in it, with the model."""
        assert isinstance(change, Ended)
        assert change.handle is twin.handle
        assert {self.twins[handle] for handle in change.invalidated} == invalidated
        assert len(change.invalidated) == len(invalidated)
        found = findings_of(change, OWNERSHIP.resolve, self.graph.epoch)
        leaked = sorted(
            child.order
            for child in invalidated
            if child.must_release and child.kind.orderly and child.epoch == self.model.epoch
        )
        assert [finding.handle.hid for finding in found] == leaked
        assert {finding.code for finding in found} <= {Code.LEAKED_AT_RELEASE}

    # --- verbs --------------------------------------------------------------------------------

    @rule(data=st.data(), kind=st.sampled_from(KINDS), value=st.sampled_from(VALUES))
    def acquire(self, data: st.DataObject, kind: Kind, value: int) -> None:
        """Acquire a value, often one that was just released or is about to be."""
        parents = [twin for twin in self.candidates() if twin.kind is kind.under]
        parent = data.draw(st.sampled_from([None, *parents]))
        needed = st.lists(st.sampled_from(self.candidates() or [None]), max_size=2, unique=True)
        needs = tuple(twin for twin in data.draw(needed) if twin is not None)
        self.graph_acquire(kind, value, parent, needs)

    @rule(data=st.data(), kind=st.sampled_from((KEY, PART, COPY, TOKEN)))
    @precondition(lambda self: self.alive())
    def acquire_under_live(self, data: st.DataObject, kind: Kind) -> None:
        """Acquire a child of something that is alive, so that families grow."""
        parents = [twin for twin in self.alive() if twin.kind is kind.under]
        if parents:
            parent = data.draw(st.sampled_from(parents))
            value = data.draw(st.sampled_from([value for value in VALUES if value != parent.value]))
            self.graph_acquire(kind, value, parent, ())

    def graph_acquire(
        self, kind: Kind, value: int, parent: Twin | None, needs: tuple[Twin, ...]
    ) -> None:
        """Acquire in both."""
        above = None if parent is None else parent.handle
        handle, changes = self.graph.acquire(
            kind, value, above, tuple(need.handle for need in needs if need.handle), CALL_RECORD
        )
        twin, untracked = self.model.acquire(kind, value, parent, needs)
        if twin.parent is not None and handle.parent is not None:
            self.bind(twin.parent, handle.parent)
        self.bind(twin, handle)
        assert isinstance(changes[-1], Acquired)
        assert changes[-1].handle is handle
        assert self.as_twins(changes, Untracked) == untracked

    @rule(data=st.data(), kind=st.sampled_from(KINDS), value=st.sampled_from(VALUES))
    def find(self, data: st.DataObject, kind: Kind, value: int) -> None:
        """Find a handle that somebody else has made, in a home or in none."""
        homes = [twin for twin in self.alive() if twin.kind is ROOT and kind is not ROOT]
        home = data.draw(st.sampled_from([None, *homes]))
        twin, untracked = self.model.find(kind, value, home)
        handle, changes = self.graph.find(
            kind, value, None if home is None else home.handle, CALL_RECORD
        )
        self.bind(twin, handle)
        assert self.as_twins(changes, Untracked) == untracked
        assert len(changes) == len(untracked)
        assert handle.found == twin.found

    @rule(data=st.data())
    @precondition(lambda self: self.alive())
    def doubt(self, data: st.DataObject) -> None:
        """Make a call that may have ended some handles."""
        twins = data.draw(st.lists(st.sampled_from(self.alive()), unique=True))
        self.graph.doubt([twin.handle for twin in twins if twin.handle is not None], CALL_RECORD)
        for twin in twins:
            twin.doubt = twin.doubt or not twin.releasing

    @rule(data=st.data(), gone=st.booleans())
    @precondition(lambda self: any(twin.doubt for twin in self.alive()))
    def clear_up(self, data: st.DataObject, *, gone: bool) -> None:
        """Learn whether a handle that is in doubt has ended."""
        twin = data.draw(st.sampled_from([twin for twin in self.alive() if twin.doubt]))
        assert twin.handle is not None
        if not gone:
            self.graph.trust(twin.handle)
            twin.doubt = False
        elif twin.releasing:
            assert self.graph.end_doubted(twin.handle) == []
        else:
            (change,) = self.graph.end_doubted(twin.handle)
            self.check_end(change, twin, self.model.end(twin))
            twin.state = "invalidated"

    @rule(kind=st.sampled_from(KINDS), value=st.sampled_from(VALUES))
    def borrow(self, kind: Kind, value: int) -> None:
        """See a value in use, known or not."""
        self.bind(self.model.borrow(kind, value), self.graph.borrow(kind, value))

    @rule(data=st.data())
    @precondition(lambda self: self.candidates())
    def use(self, data: st.DataObject) -> None:
        """Use a handle."""
        twin = data.draw(st.sampled_from(self.candidates()))
        assert twin.handle is not None
        twin.uses += 1
        twin.handle.uses += 1

    @rule(data=st.data())
    @precondition(lambda self: self.candidates())
    def add_ref(self, data: st.DataObject) -> None:
        """Add a reference; to a dead handle that changes nothing."""
        twin = data.draw(st.sampled_from(self.candidates()))
        assert twin.handle is not None
        changes = self.graph.add_ref(twin.handle, CALL_RECORD)
        twin.refs += twin.alive
        assert [type(change) for change in changes] == [RefChanged] * twin.alive

    @rule(data=st.data())
    @precondition(lambda self: self.alive())
    def hand_over(self, data: st.DataObject) -> None:
        """Let the provider take over the release."""
        twin = data.draw(st.sampled_from(self.alive()))
        assert twin.handle is not None
        assert len(self.graph.hand_over(twin.handle, CALL_RECORD)) == twin.must_release
        twin.must_release = False

    @rule(data=st.data())
    @precondition(lambda self: self.candidates())
    def begin(self, data: st.DataObject) -> None:
        """Mark a release; the native call and whatever other threads do come after it."""
        twin = data.draw(st.sampled_from(self.candidates()))
        assert twin.handle is not None
        verdict = verdict_on_release(twin.handle)
        if twin.releasing or twin.state == "released":
            assert verdict == (Code.DOUBLE_RELEASE, None)
        elif twin.state == "invalidated":
            by = None if twin.ended_by is None else twin.ended_by.handle
            assert verdict == (Code.OUT_OF_ORDER_RELEASE, by)
        elif twin.alive:
            assert verdict is None
            assert self.graph.begin_release(twin.handle)
            twin.pending += 1
            self.flying.append(twin)
        if not twin.alive:
            assert not self.graph.begin_release(twin.handle)

    @rule(data=st.data(), released=st.booleans())
    @precondition(lambda self: self.flying)
    def settle(self, data: st.DataObject, *, released: bool) -> None:
        """Let one of the releases under way come back, in any order."""
        twin = data.draw(st.sampled_from(self.flying))
        self.flying.remove(twin)
        assert twin.handle is not None
        was_releasing, unreleased = twin.releasing, twin.must_release
        changes = self.graph.settle_release(twin.handle, CALL_RECORD, released=released)
        twin.pending -= 1
        if not twin.alive:
            assert changes == []
        elif released:
            twin.refs -= 1
            (change,) = changes
            if twin.refs:
                assert isinstance(change, RefChanged)
            else:
                self.check_end(change, twin, self.model.end(twin))
        else:
            untracked: set[Twin] = set()
            if was_releasing and not twin.releasing:
                untracked = self.model.refuse(twin)
            assert self.as_twins(changes, Untracked) == untracked
            refused = unreleased and twin not in untracked
            assert sum(isinstance(change, Refused) for change in changes) == refused

    @rule(data=st.data())
    @precondition(lambda self: self.alive())
    def release(self, data: st.DataObject) -> None:
        """Release a handle with nothing in between, so that values recycle often."""
        twin = data.draw(st.sampled_from(self.alive()))
        if not twin.releasing:
            assert twin.handle is not None
            assert self.graph.begin_release(twin.handle)
            (change,) = self.graph.settle_release(twin.handle, CALL_RECORD, released=True)
            twin.refs -= 1
            if not twin.refs:
                self.check_end(change, twin, self.model.end(twin))

    @rule(data=st.data(), kind=st.sampled_from((ROOT, KEY, PART)))
    def release_all(self, data: st.DataObject, kind: Kind) -> None:
        """Release every handle of a kind, of all parents or of one."""
        parents = [twin for twin in self.alive() if twin.kind is kind.under]
        parent = data.draw(st.sampled_from([None, *parents]))
        above = None if parent is None else parent.handle
        begun = self.graph.begin_release_all(kind, above)
        changes = self.graph.settle_release_all(begun, CALL_RECORD, released=True)
        pool = self.alive() if parent is None else self.model.children(parent)
        wanted = {twin for twin in pool if twin.kind is kind}
        assert self.as_twins(changes, Ended) == wanted
        assert len(changes) == len(wanted)
        for change in changes:
            twin = self.twins[change.handle]
            self.check_end(change, twin, self.model.end(twin))

    @rule(data=st.data(), released=st.booleans())
    @precondition(lambda self: self.candidates())
    def collect(self, data: st.DataObject, *, released: bool) -> None:
        """Let the last Python reference to a handle object go."""
        twin = data.draw(st.sampled_from(self.candidates()))
        assert twin.handle is not None
        changes = self.graph.collect(twin.handle, CALL_RECORD, released=released)
        if not twin.alive:
            assert changes == []
            return
        first, *rest = changes
        assert isinstance(first, Collected)
        lost = findings_of(first, OWNERSHIP.resolve, self.graph.epoch)
        unreleased = twin.must_release and twin.epoch == self.model.epoch
        assert [finding.code for finding in lost] == [Code.LOST] * unreleased
        if not released:
            twin.must_release = False
            assert rest == []
            return
        twin.refs -= 1
        if twin.refs:
            assert [type(change) for change in rest] == [RefChanged]
        else:
            self.check_end(rest[0], twin, self.model.end(twin))

    @rule()
    def fork(self) -> None:
        """Go on as the child of a fork: the other threads and their releases are gone."""
        self.graph.forked(CALL_RECORD)
        self.model.epoch += 1
        self.flying.clear()
        for twin in self.alive():
            twin.pending = 0
        for twin in self.alive():
            if twin.kind.fork is Fork.ENDS and twin.alive:
                self.model.end(twin)
                twin.state = "invalidated"

    # --- what always holds --------------------------------------------------------------------

    @invariant()
    def states_agree(self) -> None:
        """Each handle is in the state that the model says, under the parent that it says."""
        for twin in self.model.all:
            handle = twin.handle
            assert handle is not None
            state = "releasing" if twin.releasing else "live" if twin.alive else twin.state
            assert repr(handle).endswith(f"#{twin.generation} {state}>")
            assert handle.hid == twin.order
            assert handle.refs == twin.refs or not twin.alive
            assert handle.pending == twin.pending
            assert handle.must_release == twin.must_release
            assert handle.parent is (None if twin.parent is None else twin.parent.handle)
            assert handle.ended_by is (None if twin.ended_by is None else twin.ended_by.handle)
            if twin.alive:
                assert list(handle.children or ()) == [
                    child.handle for child in self.model.children(twin)
                ]

    @invariant()
    def a_value_is_its_newest_handle(self) -> None:
        """The table maps each value to its newest generation, and generations count up."""
        for kind in KINDS:
            table = self.graph.table(kind)
            for value in VALUES:
                twin = self.model.newest(kind, value)
                assert table.get(value) is (None if twin is None else twin.handle)
                same = [t for t in self.model.all if t.kind is kind and t.value == value]
                assert [t.generation for t in same] == list(range(1, len(same) + 1))
            assert set(table) <= set(VALUES)

    @invariant()
    def counts_agree(self) -> None:
        """The live count is the number of live handles, and what is owed is owed."""
        assert self.graph.live == sum(twin.alive and not twin.found for twin in self.model.all)
        assert self.graph.live <= self.graph.peak <= self.model.entered
        unreleased = [
            twin for twin in self.alive() if twin.must_release and twin.epoch == self.model.epoch
        ]
        unreleased.sort(key=lambda twin: twin.order)
        assert self.graph.unreleased() == [twin.handle for twin in unreleased]

    @invariant()
    def alerts_and_verdicts_agree(self) -> None:
        """A handle is alerted if and only if a use of it is wrong, and the verdict says why."""
        for twin in self.model.all:
            handle = twin.handle
            assert handle is not None
            if twin.state == "untracked":
                assert not handle.alert
                continue
            stale = [need.handle for need in twin.needs if need.dead]
            assert handle.alert == (twin.dead or bool(stale) or twin.doubt)
            verdict = verdict_on_use(handle)
            if twin.state == "released":
                assert verdict == (Code.USE_AFTER_RELEASE, None)
            elif twin.state == "invalidated":
                by = None if twin.ended_by is None else twin.ended_by.handle
                assert verdict == (Code.USE_AFTER_INVALIDATION, by)
            elif stale:
                assert verdict == (Code.STALE_DEPENDENCY, stale[0])
            else:
                assert verdict is None


GraphMachine.TestCase.settings = settings(
    max_examples=120,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestGraphMachine = GraphMachine.TestCase
