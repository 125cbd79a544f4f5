"""What can come after what in a function, as its byte code has it."""

from __future__ import annotations

import ast
import contextlib
import inspect
from typing import TYPE_CHECKING, Any

import pytest

from csptrace.causes.flow import Way, flow_of
from csptrace.causes.source import span

if TYPE_CHECKING:
    from collections.abc import Callable


def start() -> None:
    """Stand for an acquisition."""


def goal() -> None:
    """Stand for a release."""


def end() -> None:
    """Stand for where a function was left."""


def other() -> None:
    """Stand for anything else."""


def offsets(function: Callable[..., object], name: str) -> list[int]:
    """Return the instructions that call something, in order."""
    source = inspect.getsource(function)
    tree = ast.increment_lineno(ast.parse(source), function.__code__.co_firstlineno - 1)
    flow = flow_of(function.__code__)
    return sorted(
        at
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == name
        for at in flow.calls(span(node))
    )


def way(function: Callable[..., object], which: int = 0, **how: Any) -> Way:
    """Return the way from `start()` to the n-th instruction that calls `end()`."""
    (first,) = offsets(function, "start")
    return Way(flow_of(function.__code__), first, offsets(function, "end")[which], **how)


def straight() -> None:  # noqa: D103
    start()
    goal()
    end()


def branched(which: bool) -> None:  # noqa: D103
    start()
    if which:
        goal()
    end()


def returned(which: bool) -> None:  # noqa: D103
    start()
    if which:
        end()
        return
    goal()


def looped() -> None:  # noqa: D103
    for _ in range(2):
        start()
        end()
        goal()


def finished() -> int:  # noqa: D103
    start()
    try:
        if start:
            return 1
        goal()
    finally:
        end()
    return 2


def handled() -> None:  # noqa: D103
    start()
    try:
        other()
        goal()
    except ValueError:
        end()


def suppressed() -> None:  # noqa: D103
    start()
    with contextlib.suppress(ValueError):
        other()
        goal()
    end()
    for _ in range(2):  # too long for the compiler to copy it for each way
        other()


@pytest.mark.parametrize(
    ("function", "may", "must"),
    [
        (straight, True, True),
        (branched, True, False),
        (returned, False, False),
        (suppressed, True, False),
        (handled, True, False),
    ],
)
def test_what_was_passed(function: Callable[..., object], may: bool, must: bool) -> None:
    """A place is on no way, on some, or on all of them."""
    path, places = way(function), frozenset(offsets(function, "goal"))

    assert bool(places & path.passed()) is may
    assert (not path.passed(places)) is must


def test_each_way_into_a_finally_is_one_of_its_own() -> None:
    """Where a function stands in a `finally` says what it runs for."""
    places = frozenset(offsets(finished, "goal"))
    passed = [
        bool(places & way(finished, which).passed())
        for which in range(len(offsets(finished, "end")))
    ]

    assert (min(passed), max(passed)) == (False, True)  # for the return, and for no reason


def test_an_exception_is_followed_from_the_line_that_raised() -> None:
    """What stands behind that line was not passed on the way to the handler."""
    places = frozenset(offsets(handled, "goal"))
    line = handled.__code__.co_firstlineno + 3

    assert places & way(handled).passed()  # it may have raised itself
    assert not places & way(handled, raised=line).passed()


@pytest.mark.parametrize(
    ("function", "comes"),
    [(straight, False), (branched, False), (returned, False), (looped, True)],
)
def test_what_can_still_come(function: Callable[..., object], comes: bool) -> None:
    """Only what the function can come to from where it stands is ahead."""
    places = frozenset(offsets(function, "goal"))

    assert bool(places & way(function).ahead()) is comes


def test_once_round_a_loop_nothing_is_passed_twice() -> None:
    """A way that comes to its start only once does not lead round the loop."""
    places = frozenset(offsets(looped, "goal"))

    assert places & way(looped).passed()
    assert not places & way(looped, once=True).passed()
    assert places & way(looped).round()


def test_the_end_of_a_with_is_found() -> None:
    """It is a call with three times None, or that of an exception."""
    source = ast.increment_lineno(
        ast.parse(inspect.getsource(suppressed)), suppressed.__code__.co_firstlineno - 1
    )
    (statement,) = [node for node in ast.walk(source) if isinstance(node, ast.With)]
    where = span(statement.items[0].context_expr)
    flow = flow_of(suppressed.__code__)

    ends = flow.ends_of_with([where], span(statement), 0)
    assert len(ends) == 2
    assert not ends & flow.calls(where)
    assert len(flow.calls(where)) == 1


def disturbed() -> None:  # noqa: D103
    start()
    end()
    other()
    goal()


def undisturbed() -> None:  # noqa: D103
    start()
    end()
    goal()


@pytest.mark.parametrize(("function", "certain"), [(undisturbed, True), (disturbed, False)])
def test_what_must_come_next_is_disturbed_by_nothing(
    function: Callable[..., object], certain: bool
) -> None:
    """Something in between that may raise leaves it open."""
    places = frozenset(offsets(function, "goal"))

    assert way(function).must_come(places, frozenset()) is certain
