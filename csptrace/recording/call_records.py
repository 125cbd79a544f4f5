"""Where and when something happens: stack, thread, task, time and scope of a call."""

from __future__ import annotations

import contextvars
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from csptrace.clocks import CLOCKS
from csptrace.graph.handle import CallRecord
from csptrace.graph.sites import Thread

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from csptrace.graph.handle import Scope
    from csptrace.graph.sites import CallSite
    from csptrace.stacks.capture import StackTable

__all__ = ["CallRecords", "enter_scope", "innermost_scope", "leave_scope", "thread_of"]

_scope: contextvars.ContextVar[Scope | None] = contextvars.ContextVar("csptrace", default=None)
_new_call_record = tuple.__new__


def innermost_scope() -> Scope | None:
    """Return the innermost scope of this thread or task."""
    return _scope.get()


def enter_scope(scope: Scope | None) -> contextvars.Token[Scope | None]:
    """Make a scope the innermost one of this thread or task.

    Args:
        scope: the scope; `None` for none.

    Returns:
        What `leave_scope` needs to go back.
    """
    return _scope.set(scope)


def leave_scope(token: contextvars.Token[Scope | None]) -> None:
    """Go back to the scope that was the innermost one before.

    Args:
        token: what `enter_scope` has returned.
    """
    # An asynchronous generator may be closed in another context than it was opened in.
    with suppress(ValueError):
        _scope.reset(token)


class _Current(threading.local):
    """The calling thread, looked up once for each thread."""

    def __init__(self) -> None:
        # threading.current_thread() would enter a dummy for a foreign thread.
        self.thread = thread_of(threading.get_ident())


def thread_of(ident: int) -> Thread:
    """Return a thread by its identifier; one that Python has not started is `foreign`."""
    known = threading._active.get(ident)  # type: ignore[attr-defined]
    return Thread(ident, known.name if known is not None else "foreign")


class CallRecords:
    """Tells where and when something happens.

    Args:
        stacks: captures stacks.

    Attributes:
        unscoped: tells the scope of a call that is made in none, such as that of a thread.
    """

    def __init__(self, stacks: StackTable) -> None:
        self._stacks = stacks
        self._current = _Current()
        self.unscoped: Callable[[], Scope | None] = _in_no_scope

    def at(self, site: CallSite, frame: FrameType | None) -> CallRecord:
        """Return what happens now.

        Args:
            site: the call.
            frame: the frame that makes it; `None` if no Python code does.
        """
        return self.maker(site)(frame)

    def maker(
        self, site: CallSite, *, short: bool = False
    ) -> Callable[[FrameType | None], CallRecord]:
        """Return a function that tells what happens now at one call site.

        Args:
            site: the call.
            short: capture only as much of the stack as a release needs.
        """
        current, scope = self._current, _scope.get
        capture = self._stacks.capture_short if short else self._stacks.capture

        def record_of(frame: FrameType | None) -> CallRecord:
            return _new_call_record(
                CallRecord,
                (
                    site,
                    capture(frame),
                    current.thread,
                    _task_name() if "asyncio.events" in sys.modules else "",
                    CLOCKS.monotonic(),
                    scope() or self.unscoped(),
                ),
            )

        return record_of

    def forked(self) -> None:
        """Look the threads up anew, in the child of a fork."""
        self._current = _Current()


def _in_no_scope() -> None:
    """Return the scope of what is called in none, if nobody knows better."""


_running_loop: Callable[[], object] | None = None


def _task_name() -> str:
    """Return the name of the asyncio task that is running, empty outside one.

    Nothing is imported for it: while a program has not imported asyncio, no task runs.
    """
    global _running_loop  # noqa: PLW0603 - looked up once, not at every call
    if _running_loop is None:
        # Another thread may be in the middle of importing it.
        _running_loop = getattr(sys.modules.get("asyncio.events"), "_get_running_loop", None)
    if _running_loop is None or _running_loop() is None:
        return ""
    current_task = getattr(sys.modules.get("asyncio.tasks"), "current_task", None)
    task = None if current_task is None else current_task()
    return "" if task is None else str(task.get_name())
