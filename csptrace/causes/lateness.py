"""Releases that stand behind the release of the parent, on the path that was taken.

At the moment at which a parent is released, the functions that do it are still running, and what
they come to afterwards comes too late. That is told from where each of them stands and from what
its control flow allows; whether they do come to it is not known yet, and not said.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, NamedTuple

from csptrace.causes.releases import Form, Tie, ties_of
from csptrace.causes.source import function_of, span
from csptrace.causes.stages import NOTHING, Met, Stage, releasing_function
from csptrace.graph.exits import Exit
from csptrace.graph.handle import Departure, Invocation
from csptrace.stacks.frames import frame_at

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType

    from csptrace.causes.release_names import Names
    from csptrace.causes.releases import Release
    from csptrace.causes.source import Function, Target
    from csptrace.graph.handle import CallRecord
    from csptrace.stacks.ownership import Ownership

__all__ = ["Late", "latest"]


class Late(NamedTuple):
    """Releases of a handle that come only after its parent's.

    Attributes:
        number: which stage is told with them.
        stage: the function in which they stand, as one that has the handle.
        direct: whether that function itself has released the parent.
        releases: they.
        certain: whether the function comes to them if nothing raises.
        loop: the line of the loop whose later round comes to them, 0 if it takes none.
        suspended: whether the function is a generator that waits at a `yield`.
        registered: the line at which the parent's release was registered, if both were.
    """

    number: int
    stage: Stage
    direct: bool
    releases: tuple[Release, ...]
    certain: bool = True
    loop: int = 0
    suspended: bool = False
    registered: int = 0

    @property
    def line(self) -> int:
        """The line at which the function stands."""
        return frame_at(self.stage.code, self.stage.departure.offset).line


def latest(
    stages: Sequence[Stage], ended: CallRecord, names: Names, ownership: Ownership
) -> Late | None:
    """Return the releases that come too late, those of the innermost function that has any.

    Args:
        stages: the functions that had the handle.
        ended: the release of its parent.
        names: what releases the handle.
        ownership: tells user code from library code.
    """
    found: list[Late] = []
    stack = ended.stack
    frames = [
        (code, offset)
        for code, offset in (zip(stack.codes, stack.offsets, strict=True) if stack else ())
        if not ownership.is_internal(frame_at(code, 0))
    ]
    users = [ownership.is_user(frame_at(code, 0)) for code, _ in frames]
    releasing = releasing_function(ended, ownership)
    index = max((n for n, stage in enumerate(stages) if stage.user), default=len(stages) - 1)
    carried = NOTHING
    for number in reversed(range(len(frames))):
        code, offset = frames[number]
        if not users[number]:
            carried = NOTHING
            continue
        own = _standing(stages, code, offset)
        if own is not None:
            index = stages.index(own)
        stage = own or _visited(stages, code, offset, carried, names)
        if stage is None:
            carried = NOTHING
            continue
        late = _late_in(stage, index, direct=code is releasing)
        if late is not None:
            found.append(late)
        carried = NOTHING
        if number and users[number - 1] and stage.source is not None:
            carried = _given(stage.source, stage.target, offset, frames[number - 1][0])
    if found:
        return found[-1]
    return _suspended(stages, index) or _registered(stages, ended)


def _standing(stages: Sequence[Stage], code: CodeType, offset: int) -> Stage | None:
    for stage in stages:
        if stage.running and stage.code is code and stage.departure.offset == offset:
            return stage
    return None


def _visited(
    stages: Sequence[Stage], code: CodeType, offset: int, carried: Target, names: Names
) -> Stage | None:
    """Return a running function that was not seen to have the handle, if it can get at it."""
    source = function_of(code)
    if source is None:
        return None
    target = carried if carried.text else _shared(stages, source)
    if not target.text:
        return None
    departure = Departure(Exit.RUNNING, Invocation(code, 0), offset)
    stage = Stage(departure, -1, None, passed=False, user=True, running=True)
    stage.target = target
    stage.read(names)
    return stage


def _shared(stages: Sequence[Stage], source: Function) -> Target:
    """Return what a handle is called in a function that shares its variable with a stage."""
    for stage in stages:
        if stage.source is None or not stage.target.text:
            continue
        targets = [stage.target]
        if not stage.target.outlives:
            kept = stage.source.kept_in(stage.target.text, stage.target.line)
            targets += [target for target, _ in kept]
        for target in targets:
            found = source.same_attribute(target, stage.source)
            if found is None and stage.source.code is not source.code:
                found = source.shared(target, stage.source)
            if found is not None:
                return found
    return NOTHING


def _given(source: Function, target: Target, offset: int, callee: CodeType) -> Target:
    """Return what a handle is called in a function that gets it by a call."""
    call = source.call_at(offset, 0)
    if call is None or not target.text:
        return NOTHING
    for name, tie in ties_of(source, target).items():
        if tie is Tie.SAME:
            found = source.passed_as(call, name, callee)
            if found:
                return target._replace(text=found, shown=found, form="parameter", outlives=True)
    return NOTHING


def _late_in(stage: Stage, index: int, *, direct: bool) -> Late | None:
    """Return what comes too late in a running function."""
    source = stage.source
    if source is None or stage.way is None:
        return None
    ahead = [r for r in stage.releases if stage.met(r) is Met.AHEAD]
    if ahead:
        places = [stage.offsets(release) for release in ahead]
        first = stage.way.first(places, frozenset())
        nearest = tuple(r for r, comes in zip(ahead, first, strict=True) if comes)
        offsets = frozenset().union(*map(stage.offsets, nearest))
        statements = [source.statement(release.node) for release in nearest]
        own = source.flow.inside(span(each) for each in statements if each is not None)
        return Late(index, stage, direct, nearest, stage.way.must_come(offsets, own))
    for release in stage.releases:
        loop = source.loop_around(release.node)
        if (
            loop is not None
            and release.form is Form.CALL
            and stage.met(release) is Met.NOW
            and stage.is_ahead(release)
        ):
            return Late(index, stage, direct, (release,), loop=loop.lineno)
    return None


def _suspended(stages: Sequence[Stage], index: int) -> Late | None:
    """Return what a generator comes to when it goes on, which had yielded the handle.

    CPython runs nothing of a generator that it closes at a `yield` outside of any `try`; so one
    that waits there may be gone, unless it is just what a loop or `with` goes on with.
    """
    for stage in stages:
        if stage.departure.exit is Exit.YIELDED and not stage.running:
            ahead = tuple(
                r for r in stage.releases if r.form is not Form.HANDED and stage.is_ahead(r)
            )
            if not ahead or index < 0 or stages[index] is stage:
                continue
            source = stage.source
            here = None if source is None else source.node_at(stage.departure.offset)
            guarded = source is not None and here is not None and source.is_guarded(here)
            used = _use(stages[index])
            if guarded or used is not None:
                certain = isinstance(used, ast.With | ast.AsyncWith)
                return Late(index, stage, False, ahead, certain, suspended=True)
    return None


def _use(stage: Stage) -> ast.stmt | None:
    """Return the loop or `with` in which a function stands and whose head gave it the handle."""
    source = stage.source
    here = None if source is None else source.node_at(stage.departure.offset)
    if source is None or here is None or not stage.running:
        return None
    for above, child in source.ancestors(here):
        if isinstance(above, ast.For | ast.AsyncFor) and child in above.body:
            heads: list[ast.expr] = [above.iter]
        elif isinstance(above, ast.With | ast.AsyncWith) and child in above.body:
            heads = [item.context_expr for item in above.items]
        else:
            continue
        if any(stage.entry in source.flow.inside([span(head)]) for head in heads):
            return above
    return None


def _registered(stages: Sequence[Stage], ended: CallRecord) -> Late | None:
    """Return what was registered before the parent's release, to be called after it."""
    for index, stage in enumerate(stages):
        if stage.source is None:
            continue
        for release in stage.releases:
            if release.form is not Form.HANDED or not isinstance(release.node, ast.Call):
                continue
            line = stage.source.registers_later(release.node, ended.site.call)
            if line and stage.met(release) is Met.RAN:
                return Late(index, stage, False, (release,), registered=line)
    return None
