"""Stage 3: what is alive, and whose child it is.

The graph holds one `Handle` for each value that was seen. Each verb takes what happened and
returns the changes that follow from it; what is *wrong* is decided elsewhere. The rules:

* Identity is (kind, value, generation): providers hand a value out again at once, so a value that
  is acquired again is a new handle. The dead one stays as a tombstone until then.
* References are counted; children die at the last release of their parent.
* A release is marked before the native call and settled after it, by handle and not by value, so
  that another thread which is handed the same value in between gets a new handle.
* A handle first seen in use is no leak and never an error. Only what was seen to end is dead.
* A value of a kind that may be handed out unseen, and the address of an object, tell nothing once
  the handle is dead: somebody else may have it. Objects that carry their handle tell it.
* What was found is known, and no leak. Where a call may have ended it, it is in doubt until
  the provider was asked.
* After a fork the child owes nothing for what its parent acquired.

Every verb must be called with `lock` held; `table` may be read without it.
"""

from __future__ import annotations

from collections import deque
from itertools import chain
from typing import TYPE_CHECKING

from csptrace import forks
from csptrace.graph.changes import (
    Acquired,
    Change,
    Collected,
    Detached,
    Ended,
    HandedOver,
    RefChanged,
    Refused,
    Untracked,
)
from csptrace.graph.handle import Handle
from csptrace.graph.states import INVALIDATED, LIVE, RELEASED, RELEASING, UNTRACKED
from csptrace.spec.kinds import Cascade, Fork, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from csptrace.graph.handle import CallRecord, Scope

__all__ = ["Graph"]


class Graph:
    """The handles of one process.

    Args:
        tombstones: how many ended handles are remembered. The oldest are forgotten first, and a
            use of a forgotten handle is no longer recognised as wrong. What one release has ended
            is remembered as a whole, however much it is, and made up for by what ends later.

    Attributes:
        lock: held by every caller of a verb. Reentrant, because a signal handler of the program
            may call the provider while the interrupted thread holds it.
        live: how many handles are alive now, borrowed ones included.
        peak: the highest `live` so far.
        acquired: how many handles this process has acquired so far.
        epoch: how many forks this process has behind it.
    """

    def __init__(self, tombstones: int = 65_536) -> None:
        self.lock = forks.lock()
        self.live = 0
        self.peak = 0
        self.acquired = 0
        self._last = 0
        self.epoch = 0
        self._tables: dict[Kind, dict[int, Handle]] = {}
        self._neighbours: dict[Kind, tuple[dict[int, Handle], ...]] = {}
        self._limit = tombstones
        self._tombstones: deque[Handle] = deque()
        self._unseen: set[str] = set()
        self._released_unseen: set[str] = set()

    # --- reading ------------------------------------------------------------------------------

    @property
    def seen(self) -> int:
        """How many handles were ever seen: acquired, or first met in use."""
        return self._last

    def table(self, kind: Kind) -> dict[int, Handle]:
        """Return the live view value → newest handle of one kind; reading it needs no lock.

        Args:
            kind: the kind.

        Returns:
            The graph's own dictionary, the same object at every call.
        """
        table = self._tables.get(kind)
        if table is None:
            with self.lock:
                table = self._tables.setdefault(kind, {})
                self._neighbours = {
                    own: tuple(
                        self._tables[other]
                        for other in self._tables
                        if other is not own
                        and own.space
                        and (other.space, other.realm) == (own.space, own.realm)
                    )
                    for own in self._tables
                }
        return table

    def handles(self) -> Iterator[Handle]:
        """Yield every live handle, in no particular order."""
        for table in list(self._tables.values()):
            for handle in list(table.values()):
                if handle.state in (LIVE, RELEASING):
                    yield handle

    def known(self) -> list[Handle]:
        """Return every handle that has a value of its own, alive or dead, as fast as possible."""
        return list(chain.from_iterable(table.values() for table in self._tables.values()))

    def is_unseen(self, kind: Kind) -> bool:
        """Return whether handles of a kind may be handed out without being seen."""
        return kind.name in self._unseen

    def unreleased(self, scope: Scope | None = None) -> list[Handle]:
        """Return the live handles that somebody still has to release, oldest first.

        Args:
            scope: only those acquired inside this scope.

        Returns:
            The handles of this process; what a fork has inherited is the parent's.
        """
        found = [
            handle
            for handle in self.handles()
            if handle.must_release
            and handle.epoch == self.epoch
            and handle.acquired is not None
            and (
                scope is None
                or (handle.acquired.scope is not None and handle.acquired.scope.within(scope))
            )
        ]
        found.sort(key=lambda handle: handle.hid)
        return found

    def has_siblings(self, kind: Kind) -> bool:
        """Return whether handles of further kinds may live under what this one lives under."""
        return any(other.under is kind.under and other is not kind for other in list(self._tables))

    def other_kind(self, kind: Kind, value: int) -> Handle | None:
        """Return the live handle of another kind of the same value space with this value."""
        for table in self._neighbours.get(kind, ()):
            other = table.get(value)
            if other is not None and other.state == LIVE:
                return other
        return None

    # --- verbs --------------------------------------------------------------------------------

    def acquire(
        self,
        kind: Kind,
        value: int,
        parent: Handle | None,
        needs: tuple[Handle, ...],
        call_record: CallRecord,
        name: str = "",
    ) -> tuple[Handle, list[Change]]:
        """Enter a handle that the provider has just handed out.

        Args:
            kind: its kind.
            value: its value.
            parent: the handle it lives under.
            needs: the handles it depends on.
            call_record: the call.
            name: the object's name, if any.

        Returns:
            The new handle, and the changes.
        """
        changes: list[Change] = []
        if parent is not None and parent.state == UNTRACKED:
            parent = self.borrow(parent.kind, parent.value)
        table = self._tables.get(kind)
        if table is None:
            table = self.table(kind)
        generation = self._make_room(kind, value, table, call_record, changes)
        handle = self._enter(kind, value, generation, parent, needs, call_record, name)
        if self._released_unseen and kind.name in self._released_unseen:
            handle.must_release = False
        table[value] = handle
        self.acquired += 1
        changes.append(_change(Acquired, (handle, call_record)))
        return handle, changes

    def find(
        self, kind: Kind, value: int, home: Handle | None, call_record: CallRecord
    ) -> tuple[Handle, list[Change]]:
        """Enter a handle that the provider has handed out and that nobody owes the release of.

        Args:
            kind: its kind.
            value: its value.
            home: what it lives under. As many are remembered there as tombstones.
            call_record: the call.

        Returns:
            The handle, which is the known one if that is alive, and the changes.
        """
        changes: list[Change] = []
        table = self.table(kind)
        handle = table.get(value)
        if handle is not None and handle.state == LIVE and not _ending(handle):
            self.trust(handle)
            return handle, changes
        generation = self._make_room(kind, value, table, call_record, changes)
        counted = self.live, self.peak
        handle = self._enter(kind, value, generation, home, (), call_record, "")
        self.live, self.peak = counted
        handle.found, handle.must_release = True, False
        table[value] = handle
        if home is not None and home.children is not None and len(home.children) > self._limit:
            oldest = next(child for child in home.children if child.found)
            self._lose_sight(oldest)
        return handle, changes

    def unseen(self, kinds: Iterable[Kind]) -> None:
        """Note that handles of some kinds may be handed out without being seen, from now on.

        Args:
            kinds: the kinds; those of other realms with the same names are meant, too.
        """
        fresh = {kind.name for kind in kinds} - self._unseen
        self._unseen |= fresh
        for kind, table in self._tables.items():
            if kind.name in fresh:
                for handle in list(table.values()):
                    if handle.state in (RELEASED, INVALIDATED):
                        self._drop(handle)

    def released_unseen(self, kinds: Iterable[Kind]) -> None:
        """Note that handles of some kinds may be released without being seen, from now on.

        Args:
            kinds: the kinds; nobody is said to owe the release of one.
        """
        self._released_unseen.update(kind.name for kind in kinds)

    def doubt(
        self, handles: Iterable[Handle], call_record: CallRecord, *, afresh: bool = False
    ) -> None:
        """Note that a call may have ended handles: their next use has to be looked at.

        Args:
            handles: the handles; those that are alive are in doubt from now on.
            call_record: the call.
            afresh: whether it ends all that an earlier call may have ended.
        """
        for handle in handles:
            if handle.state == LIVE and (afresh or handle.doubt is None):
                handle.doubt = call_record
                handle.alert = True

    def trust(self, handle: Handle) -> None:
        """Note that a handle which was in doubt is alive."""
        if handle.doubt is not None:
            handle.doubt = None
            handle.alert = any(need.state in (RELEASED, INVALIDATED) for need in handle.needs)

    def end_doubted(self, handle: Handle) -> list[Change]:
        """Note that a handle was ended by the call that has cast doubt on it.

        Args:
            handle: the handle.

        Returns:
            `Ended`; nothing if it is not in doubt or has ended meanwhile.
        """
        call_record = handle.doubt
        if call_record is None or handle.state != LIVE:
            return []
        ended = self._end(handle, call_record)
        handle.state = INVALIDATED  # nobody has released it
        self._forget_oldest(1 + len(ended.invalidated))
        return [ended]

    def borrow(self, kind: Kind, value: int, parent: Handle | None = None) -> Handle:
        """Return the handle with this value, entered as not to be released if unknown.

        Args:
            kind: its kind.
            value: its value.
            parent: the handle it lives under, if it is new.

        Returns:
            The known handle, dead or alive, or a new one that was first seen in use. One of a
            kind that callers name without having acquired it is never dead.
        """
        table = self.table(kind)
        handle = table.get(value)
        if handle is None or handle.state == UNTRACKED or (kind.given and handle.alert):
            generation = 1 if handle is None else handle.generation + 1
            counted = self.live, self.peak
            handle = self._enter(kind, value, generation, parent, (), None, "")
            if kind.given:  # nobody has it, so it is none of the handles that are alive
                self.live, self.peak = counted
            table[value] = handle
        return handle

    def move(self, handle: Handle, parent: Handle | None) -> None:
        """Put a live handle under another parent, and nobody owes its release any more.

        Args:
            handle: a handle that outlives its parent (an object that is stored on a token).
            parent: the handle it lives under from now on.
        """
        if handle.parent is not None and handle.parent.children is not None:
            handle.parent.children.pop(handle, None)
        handle.must_release = False
        handle.parent = parent
        if parent is not None:
            if parent.children is None:
                parent.children = {}
            parent.children[handle] = None

    def forget(self, handle: Handle, call_record: CallRecord) -> list[Change]:
        """Write off a handle that turned out to have ended without being seen to.

        Args:
            handle: the handle.
            call_record: when it was noticed.

        Returns:
            `Untracked`, for the handle and what was under it; nothing if it had ended already.
        """
        changes: list[Change] = []
        if handle.state == LIVE:
            self._untrack(handle, call_record, changes)
        return changes

    def add_ref(self, handle: Handle, call_record: CallRecord) -> list[Change]:
        """Count one more reference to a live handle."""
        if handle.state not in (LIVE, RELEASING):
            return []
        handle.refs += 1
        if handle.pending < handle.refs:
            handle.state = LIVE
        return [RefChanged(handle, call_record, added=True)]

    def hand_over(self, handle: Handle, call_record: CallRecord) -> list[Change]:
        """Note that the provider releases the handle from now on."""
        if not handle.must_release:
            return []
        handle.must_release = False
        return [HandedOver(handle, call_record)]

    def flag(self, handle: Handle, name: str, *, value: bool) -> None:
        """Set a flag of a handle, or clear it."""
        handle.flags = handle.flags | {name} if value else handle.flags - {name}

    def begin_release(self, handle: Handle, marks: list[Handle] | None = None) -> bool:
        """Mark a release before the native call is made.

        Args:
            handle: the handle that is about to be released.
            marks: gets the handle as soon as it is marked, so that the mark can be taken back
                even if an exception from outside (a signal handler's) arrives at any point.

        Returns:
            Whether the release must be settled: false if the handle is dead already.
        """
        if handle.state not in (LIVE, RELEASING):
            return False
        handle.pending += 1
        if handle.pending >= handle.refs:
            handle.state = RELEASING
        # No call, and hence no signal handler, comes between the mark and this.
        if marks is not None:
            marks.append(handle)
        return True

    def settle_release(
        self, handle: Handle, call_record: CallRecord, *, released: bool, detaches: bool = False
    ) -> list[Change]:
        """Confirm or roll back a release after the native call.

        Args:
            handle: the handle given to `begin_release`.
            call_record: the call.
            released: whether the provider has taken the reference away.
            detaches: whether what the handle stood for stays as it is.

        Returns:
            The changes: `RefChanged`, `Ended` (behind `Detached`) or `Refused`; none if another
            thread has ended the handle in the meantime.
        """
        pending = handle.pending
        handle.pending = pending - 1 if pending else 0
        if handle.state not in (LIVE, RELEASING):
            return []
        if not released:
            if handle.state == RELEASING and handle.pending < handle.refs:
                handle.state = LIVE
                changes: list[Change] = []
                self._untrack_displaced(handle, call_record, changes)
                if handle.state == UNTRACKED:
                    return changes
                if handle.must_release:
                    changes.append(Refused(handle, call_record))
                else:
                    self._forget_unknown(handle)
                return changes
            return [Refused(handle, call_record)] if handle.must_release else []
        handle.refs -= 1
        if handle.refs > 0:
            return [RefChanged(handle, call_record)]
        ended = self._end(handle, call_record)
        self._forget_oldest(1 + len(ended.invalidated))
        return [Detached(handle, call_record, handle.must_release), ended] if detaches else [ended]

    def settle_leaf(self, handle: Handle, call_record: CallRecord) -> bool:
        """Confirm the last release of a handle that nothing else hangs on.

        This is what `settle_release` does for the commonest case, without the changes that it
        would have to describe.

        Args:
            handle: the handle given to `begin_release`.
            call_record: the call.

        Returns:
            Whether it was such a case; if not, nothing has been done.
        """
        if (
            handle.state != RELEASING
            or handle.refs != 1
            or handle.children
            or handle.dependents
            or handle.needs
            or handle.found
        ):
            return False
        handle.pending -= 1
        handle.refs = 0
        handle.state = RELEASED
        handle.alert = True
        handle.ended = call_record
        parent = handle.parent
        if parent is not None and parent.children is not None:
            parent.children.pop(handle, None)
            if not parent.children and handle.kind.opens is not None:
                self._close_home(handle.kind.opens, parent, call_record)
        self.live -= 1
        self._tombstones.append(handle)
        if handle.value < 0 or (self._unseen and handle.kind.name in self._unseen):
            self._drop(handle)
        if len(self._tombstones) > self._limit:
            self._forget_oldest(1)
        return True

    def cancel_release(self, handle: Handle) -> None:
        """Take back the mark of a release whose native call was not made after all."""
        if handle.pending:
            handle.pending -= 1
        if handle.state == RELEASING and handle.pending < handle.refs:
            handle.state = LIVE
            self._forget_unknown(handle)

    def lose_track(self, handle: Handle, call_record: CallRecord) -> list[Change]:
        """Write off a handle of which nobody knows whether its release has happened.

        Args:
            handle: the handle given to `begin_release`.
            call_record: the call.

        Returns:
            `Untracked`, for the handle and what was under it.
        """
        changes: list[Change] = []
        handle.pending = max(handle.pending - 1, 0)
        if handle.state in (LIVE, RELEASING):
            self._untrack(handle, call_record, changes)
        return changes

    def below(self, handle: Handle) -> list[Handle]:
        """Return the live handles under a handle, at every depth, parents before their children."""
        found: list[Handle] = []
        going = [handle]
        while going:
            for child in list(going.pop().children or ()):
                if child.state in (LIVE, RELEASING):
                    found.append(child)
                    if child.children:
                        going.append(child)
        return found

    def begin_release_all(
        self, kind: Kind, parent: Handle | None, chosen: Iterable[Handle] | None = None
    ) -> list[Handle]:
        """Mark every live handle of a kind before the call that ends them all.

        What another thread acquires while the call is under way is not among them.

        Args:
            kind: the kind.
            parent: only those under this handle; `None` for all.
            chosen: only these, wherever they are.

        Returns:
            The handles to be settled.
        """
        pool: Iterable[Handle] = parent.children or () if parent else self.table(kind).values()
        if chosen is not None:
            pool = chosen
        handles = [
            handle
            for handle in list(pool)
            if handle.kind is kind and handle.state in (LIVE, RELEASING)
        ]
        for handle in handles:
            handle.pending += handle.refs
            handle.state = RELEASING
        return handles

    def settle_release_all(
        self, handles: Iterable[Handle], call_record: CallRecord, *, released: bool
    ) -> list[Change]:
        """Confirm or roll back the end of many handles.

        Args:
            handles: what `begin_release_all` returned.
            call_record: the call.
            released: whether the provider has ended them.

        Returns:
            One `Ended` for each that another thread has not ended in the meantime.
        """
        changes: list[Change] = []
        fresh = 0
        for handle in handles:
            handle.pending = max(handle.pending - handle.refs, 0)
            if handle.state not in (LIVE, RELEASING):
                continue
            if released:
                ended = self._end(handle, call_record)
                fresh += 1 + len(ended.invalidated)
                changes.append(ended)
            elif handle.pending < handle.refs:
                handle.state = LIVE
                self._untrack_displaced(handle, call_record, changes)
        self._forget_oldest(fresh)
        return changes

    def collect(self, handle: Handle, call_record: CallRecord, *, released: bool) -> list[Change]:
        """Note that the last Python reference to a handle object went away.

        Args:
            handle: its handle.
            call_record: when it was noticed.
            released: whether the object's destructor releases the handle.

        Returns:
            The changes, none if the handle was dead already.
        """
        if handle.state not in (LIVE, RELEASING):
            return []
        changes: list[Change] = [Collected(handle, call_record, released, handle.must_release)]
        if released:
            handle.refs -= 1
            if handle.refs <= 0:
                ended = self._end(handle, call_record)
                self._forget_oldest(1 + len(ended.invalidated))
                changes.append(ended)
            else:
                if handle.pending >= handle.refs:
                    handle.state = RELEASING
                changes.append(RefChanged(handle, call_record))
        else:
            handle.must_release = False
        return changes

    def forked(self, call_record: CallRecord) -> None:
        """Start a new epoch, and to count anew, in the child of a fork.

        What is alive is the parent's. What a fork ends is dead from now on, with everything
        under it.

        Args:
            call_record: the fork.
        """
        self.epoch += 1
        ending = []
        for handle in self.handles():  # the threads that were releasing are not in the child
            handle.pending = 0
            handle.state = LIVE
            if handle.kind.fork is Fork.ENDS:
                ending.append(handle)
        for handle in ending:
            if handle.state == LIVE:
                self._end(handle, call_record)
                handle.state = INVALIDATED  # nobody has released it
        self.acquired = 0
        self.peak = self.live

    def clear(self) -> None:
        """Forget everything; the tables stay the same objects."""
        for handle in self.handles():
            handle.state = UNTRACKED  # a release that is still under way changes nothing any more
        for table in self._tables.values():
            table.clear()
        self._tombstones.clear()
        self._unseen.clear()
        self._released_unseen.clear()
        self.live = 0

    # --- inside -------------------------------------------------------------------------------

    def _make_room(
        self,
        kind: Kind,
        value: int,
        table: dict[int, Handle],
        call_record: CallRecord,
        changes: list[Change],
    ) -> int:
        """Write off what has a value that was just handed out; return the next generation."""
        old = table.get(value)
        generation = 1
        if old is not None:
            generation = old.generation + 1
            if old.state == LIVE and not _ending(old):
                self._untrack(old, call_record, changes)
        for neighbour in self._neighbours[kind]:
            other = neighbour.get(value)
            if other is not None and other.state == LIVE and not _ending(other):
                self._untrack(other, call_record, changes)
        return generation

    def _enter(
        self,
        kind: Kind,
        value: int,
        generation: int,
        parent: Handle | None,
        needs: tuple[Handle, ...],
        call_record: CallRecord | None,
        name: str,
    ) -> Handle:
        self._last = hid = self._last + 1
        handle = Handle(kind, value, generation, hid, self.epoch, parent, needs, call_record, name)
        if parent is not None:
            children = parent.children
            if children is None:
                parent.children = {handle: None}
            else:
                children[handle] = None
        if needs:
            for need in needs:
                if need.state in (RELEASED, INVALIDATED):
                    handle.alert = True
                elif need.dependents is None:
                    need.dependents = {handle: None}
                else:
                    need.dependents[handle] = None
        self.live = live = self.live + 1
        if live > self.peak:  # noqa: PLR1730 - max() costs a call on the hot path
            self.peak = live
        return handle

    def _end(self, handle: Handle, call_record: CallRecord) -> Ended:
        """End a handle and everything that goes with it; cost is that of its own children."""
        self._bury(handle, RELEASED, call_record, None)
        parent = handle.parent
        if parent is not None and parent.children is not None:
            parent.children.pop(handle, None)
            if not parent.children and handle.kind.opens is not None:
                self._close_home(handle.kind.opens, parent, call_record)
        if not handle.children:
            return _change(Ended, (handle, call_record, ()))
        invalidated: list[Handle] = []
        going = [handle]
        while going:
            gone = going.pop()
            children, gone.children = gone.children, None
            for child in children or ():
                if child.state not in (LIVE, RELEASING):
                    continue
                if child.kind.cascade is Cascade.INVALIDATE:
                    self._bury(child, INVALIDATED, call_record, handle)
                    invalidated.append(child)
                    if child.children:
                        going.append(child)
                elif child.kind.cascade is Cascade.DETACH:
                    child.parent = None
        return _change(Ended, (handle, call_record, tuple(invalidated)))

    def _bury(
        self, handle: Handle, state: int, call_record: CallRecord, ended_by: Handle | None
    ) -> None:
        handle.state = state
        handle.alert = True
        handle.ended = call_record
        handle.ended_by = ended_by
        if handle.needs or handle.dependents:
            self._unlink(handle)
        else:
            self.live -= 1
        if handle.found or handle.kind.given:
            self.live += 1
        self._tombstones.append(handle)
        if handle.value < 0 or handle.kind.name in self._unseen:
            self._drop(handle)

    def _close_home(self, kind: Kind, parent: Handle, call_record: CallRecord) -> None:
        """Doubt what lives in a home whose last way in has ended."""
        home = self.table(kind).get(parent.value)
        if home is not None and home.children:
            self.doubt(home.children, call_record, afresh=True)

    def _lose_sight(self, handle: Handle) -> None:
        """Forget a handle that nobody owes the release of; its uses are unknown from now on."""
        handle.state = UNTRACKED
        handle.alert = False
        self._unlink(handle)
        if handle.found:
            self.live += 1
        if handle.parent is not None and handle.parent.children is not None:
            handle.parent.children.pop(handle, None)
        self._drop(handle)

    def _remember(self, handle: Handle) -> None:
        """Keep a dead handle for a while, and forget the one that has been dead for longest."""
        self._tombstones.append(handle)
        self._forget_oldest(1)

    def _forget_oldest(self, fresh: int) -> None:
        """Forget what has been dead for longest: two for each that is fresh, not the fresh ones."""
        tombstones, limit = self._tombstones, self._limit
        many = min(len(tombstones) - limit, 2 * fresh)
        if limit:
            many = min(many, len(tombstones) - fresh)
        for _ in range(many):
            self._drop(tombstones.popleft())

    def _unlink(self, handle: Handle) -> None:
        self.live -= 1
        for need in handle.needs:
            if need.dependents is not None:
                need.dependents.pop(handle, None)
        if handle.dependents is not None:
            if handle.state != UNTRACKED:
                for dependent in handle.dependents:
                    dependent.alert = True
            handle.dependents = None

    def _untrack(self, handle: Handle, call_record: CallRecord, changes: list[Change]) -> None:
        """Write off a handle whose end was not seen, and what was under it."""
        pending = [handle]
        if handle.parent is not None and handle.parent.children is not None:
            handle.parent.children.pop(handle, None)
        while pending:
            gone = pending.pop()
            gone.state = UNTRACKED
            gone.alert = False
            gone.ended = call_record
            self._unlink(gone)
            if gone.found or gone.kind.given:
                self.live += 1
            self._remember(gone)
            changes.append(Untracked(gone, call_record))
            children, gone.children = gone.children, None
            for child in children or ():
                if child.kind.cascade is Cascade.INVALIDATE:
                    pending.append(child)
                elif child.kind.cascade is Cascade.DETACH:
                    child.parent = None

    def _untrack_displaced(
        self, handle: Handle, call_record: CallRecord, changes: list[Change]
    ) -> None:
        """After a refused release, write off what lost its value to a newer handle meanwhile."""
        pending = [handle]
        while pending:
            kept = pending.pop()
            if self._displaced(kept):
                self._untrack(kept, call_record, changes)
            else:
                pending.extend(kept.children or ())

    def _displaced(self, handle: Handle) -> bool:
        """Return whether a newer live handle has this one's value."""
        if self._tables[handle.kind].get(handle.value) is not handle:
            return True
        others = (table.get(handle.value) for table in self._neighbours[handle.kind])
        return any(
            other is not None and other.state in (LIVE, RELEASING) and other.hid > handle.hid
            for other in others
        )

    def _forget_unknown(self, handle: Handle) -> None:
        """Drop a borrowed handle of which nothing is known after all."""
        if handle.acquired is not None or handle.refs > 1 or handle.children or handle.uses:
            return
        handle.state = UNTRACKED
        self._unlink(handle)
        if handle.generation == 1:
            self._drop(handle)
        else:
            self._remember(handle)  # so that the generations go on counting
        if handle.parent is not None and handle.parent.children is not None:
            handle.parent.children.pop(handle, None)

    def _drop(self, handle: Handle) -> None:
        table = self._tables[handle.kind]
        if table.get(handle.value) is handle:
            del table[handle.value]


_change = tuple.__new__  # what a NamedTuple's own constructor does, at a third of the cost


def _ending(handle: Handle) -> bool:
    """Return whether a parent's release is under way, which will take this handle with it."""
    while handle.parent is not None and handle.kind.cascade is Cascade.INVALIDATE:
        handle = handle.parent
        if handle.state != LIVE:
            return handle.state == RELEASING
    return False
