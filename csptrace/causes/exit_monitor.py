"""How functions that have live handles are left, seen through `sys.monitoring`.

A function that acquires a handle is watched while the handle lives: where it returned or yielded,
or which exception took it off its way. When it hands the handle on, its caller is watched in its
place. What is kept of an exit is a `Departure`: code objects, offsets and a type's name, no frame,
no exception and no value.

What it costs: returning and yielding are local events, switched on for the code objects that have
live handles and off again after they were left many times without one; nothing else pays for
them. An exception leaving a function is a global event, which cannot be local: it is switched on
with the first handle that is watched, and off with the last one.

A frame is known by its `id`, which is not used again before the frame is gone; its entry goes
with the event that says so. Nothing here runs code of the program: values are compared by exact
type, and what an object holds is asked of the garbage collector's own walk.

The tool id is taken with the first handle and given back with the last one. Whoever asks for that
very id gets it: then nothing more is known of the handles that are watched, and nothing is said of
how they were left.

This module and `toolid` are the only users of `sys.monitoring` (CPython 3.12 and later; without
it, nothing is watched).
"""

from __future__ import annotations

import gc
import sys
from contextlib import contextmanager
from functools import cache
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR
from types import (
    BuiltinFunctionType,
    CodeType,
    FrameType,
    FunctionType,
    ModuleType,
)
from typing import TYPE_CHECKING, Any, Final

from csptrace import forks
from csptrace.causes.letting_go import LettingGo
from csptrace.causes.roles import LAUNCHER, LIBRARY, USER
from csptrace.causes.tool_id import NAME, TOOLS, ToolId
from csptrace.clocks import CLOCKS
from csptrace.graph.exits import Exit
from csptrace.graph.handle import Departure, Handle, Invocation
from csptrace.graph.states import RELEASING
from csptrace.install.proxies import HandleObject
from csptrace.threads import get_ident

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from csptrace.stacks.stack import Stack

__all__ = ["ExitMonitor", "taken", "unavailable"]

_IDLE_EXITS: Final = 64
_IDLE_UNWINDS: Final = 4096
"""After so many exits that concern nobody, it is looked whether a handle has ended unseen."""
_MOST_DEPARTURES: Final = 8
_MOST_STEPS: Final = 1000
_MOST_OBJECTS: Final = 256
_DEEPEST: Final = 4
_MOST_SEARCHES: Final = 32
_SMALLEST_INSIDE: Final = 0x100
"""A smaller number inside an object says too little to be taken for a handle."""
_WRAPPED: Final = "async_generator_wrapped_value"
_RESUMABLE: Final = CO_GENERATOR | CO_COROUTINE | CO_ASYNC_GENERATOR
_SHORTEST_REST: Final = 50_000_000
"""Nanoseconds between two times that the tool id is given back: each time, the interpreter goes
over the code that runs next (0.2 µs for each function, CPython 3.12 and 3.13)."""
_PATIENCE: Final = 0.1
"""Seconds to wait for another thread that takes the tool id or gives it back, which takes some
microseconds, unless a destructor of the program comes in between that waits for this thread."""
_LONG: Final = 1.0
"""The same, where something else would be lost."""
_type_name: Any = type.__dict__["__qualname__"].__get__
_type_order: Any = type.__dict__["__mro__"].__get__
_type_module: Any = type.__dict__["__module__"].__get__
_traceback_of: Any = BaseException.__dict__["__traceback__"].__get__
_getframe = sys._getframe
_monitoring: Any = getattr(sys, "monitoring", None)  # CPython 3.12 and later


def unavailable() -> str:
    """Return why functions cannot be watched in this interpreter, empty if they can.

    A tool id may still be missing when it comes to it.
    """
    if _monitoring is None:
        return "sys.monitoring came with CPython 3.12"
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        return "it is not made for interpreters without the GIL"
    return ""


def taken() -> str:
    """Return who has every monitoring tool id that nobody is told to use, empty if one is free."""
    if _monitoring is None:
        return ""
    holders = {tool: _monitoring.get_tool(tool) for tool in sorted(TOOLS)}
    if None in holders.values() or NAME in holders.values():
        return ""
    names = ", ".join(f"{tool} by {holder}" for tool, holder in holders.items())
    return f"every free monitoring tool id is taken ({names})"


class _Watched:
    """A code object whose returns are events."""

    __slots__ = ("code", "idle", "patience")

    def __init__(self, code: CodeType) -> None:
        self.code = code  # keeps its id from being used again
        self.idle = 0
        self.patience = _IDLE_EXITS


_UNSEEN: Final = Invocation(_getframe().f_code, -1)
"""Stands for the run of a function with a handle of which not everything was seen."""


class _Propagating:
    """An exception on its way up, known by ids only."""

    __slots__ = ("departures", "error", "frame", "trace")

    def __init__(self, error: int, trace: int, frame: int, departures: list[Departure]) -> None:
        self.error = error
        self.trace = trace
        self.frame = frame
        self.departures = departures


class ExitMonitor:
    """Watches the functions that have live handles.

    Args:
        role: tells code that is passed over (the tracer's own) from a library's, the user's, and a
            launcher's (a test runner's), by code object. Nothing is followed into a launcher: what
            a fixture hands to its test runner, the fixture has to release.
        say: what to do with a message that watching is not possible.
        broken: what to do with an error of this module; lets out what is not its own.

    Attributes:
        watching: whether functions are watched that acquire a handle.
    """

    def __init__(
        self,
        role: Callable[[CodeType], int],
        say: Callable[[str], None],
        broken: Callable[[BaseException], None],
    ) -> None:
        self.watching = False
        self._role = role
        self._letting_go = LettingGo(role)
        self._say = say
        self._complain = broken
        self._id = ToolId(
            {
                "PY_RETURN": self._returned,
                "PY_YIELD": self._yielded,
                "PY_START": self._started,
                "PY_UNWIND": self._unwound,
            },
            self._yield_to,
        )
        self._lock = forks.lock()
        self._changing = False
        self._live: set[Handle] = set()
        self._invocations: dict[int, Invocation] = {}
        self._codes: dict[int, _Watched] = {}
        self._propagating: dict[int, _Propagating] = {}
        self._idle = 0
        self._most_stays = 1024
        self._searches = 0
        self._rested = float("-inf")
        self._losses = 0
        self._said = False

    # --- on and off ---------------------------------------------------------------------------

    def start(self) -> None:
        """Watch from now on, as far as it is possible; a tool id is taken with the first handle."""
        self.watching = not unavailable()
        if self.watching:
            self._letting_go.start()

    def stop(self) -> None:
        """Switch every event off and give the tool id back."""
        self.watching = False
        self._letting_go.stop()
        with self._change(_LONG):  # and even if another thread does not come to an end
            self._live.clear()
            self._switch_off(self._forget_runs())
        if _monitoring is not None:
            self._id.leave(_monitoring)

    def rest(self) -> None:
        """Let go of what is known, and give the tool id back, if no handle is watched any more."""
        # Another thread may be about to enter a handle. It puts the handle into `_live` first and
        # looks last whether what it relies on still stands; here it is the other way round.
        if self._live or (self._tool < 0 and not self._invocations):
            return
        invocations, self._invocations = self._invocations, {}
        if self._live:
            self._invocations = {**invocations, **self._invocations}
            return
        if self._tool < 0 or CLOCKS.monotonic() - self._rested < _SHORTEST_REST:
            return
        with self._change(0) as may:
            if not may:
                return
            codes, self._codes = self._codes, {}
            if self._live:
                self._codes = codes
                return
            self._switch_off(codes)
            self._rested = CLOCKS.monotonic()

    def sweep(self) -> None:
        """Drop what has no live handle any more."""
        for handle in list(self._live):
            if not _alive(handle):
                self._live.discard(handle)
        for key, invocation in list(self._invocations.items()):
            if not any(map(_alive, invocation.handles)):
                self._invocations.pop(key, None)
                if any(map(_alive, invocation.handles)):  # see `rest`
                    self._invocations[key] = invocation
        self._most_stays = max(1024, 2 * len(self._invocations))
        self.rest()

    def forked(self) -> None:
        """Forget, in the child of a fork, what is the parent's: its threads and its handles."""
        self._changing = False  # the lock is free, whoever had it
        self._propagating.clear()
        self._live.clear()
        self.rest()

    def _yield_to(self, tool: int, name: str) -> None:
        """Leave a tool id to somebody who asks for it."""
        try:
            self._lose_all(tool, f"{name} has asked for monitoring tool id {tool} and got it")
        except Exception as error:  # noqa: BLE001 - it would come out of the program's own call
            self._broken(error)

    def _lose_all(self, tool: int, why: str) -> None:
        """Go without a tool id, and without what is known of the handles that are watched by it."""
        with self._change(_LONG) as may:
            if not may or tool != self._tool:
                return
            self._losses += 1
            codes, watched = self._forget_runs(), list(self._live)
            for handle in watched:
                self._lose(handle)
            self._switch_off(codes)
        if watched:
            self._say_once(f"why handles leak that live now is not told: {why}")

    def _lose(self, handle: Handle) -> None:
        """Say nothing of how functions with this handle are left: some of it was not seen."""
        handle.invocation = _UNSEEN
        handle.departures = None
        self._live.discard(handle)

    def _forget_runs(self) -> dict[int, _Watched]:
        self._invocations = {}
        codes, self._codes = self._codes, {}
        return codes

    def _switch_off(self, codes: dict[int, _Watched]) -> None:
        self._propagating.clear()
        if self._tool >= 0:
            self._id.give_back(_monitoring, [entry.code for entry in codes.values()])

    @contextmanager
    def _change(self, patience: float) -> Iterator[bool]:
        """Keep other threads from changing what the interpreter is to tell.

        Args:
            patience: how many seconds to wait for one.

        Yields:
            Whether it may be changed. It may not if another thread does not come to an end with
            it, or if this one is at it further up its stack, where a destructor has come between.
        """
        if not self._lock.acquire(timeout=patience):
            yield False
            return
        try:
            if self._changing:
                yield False
                return
            self._changing = True
            try:
                yield True
            finally:
                self._changing = False
        finally:
            self._lock.release()

    @property
    def _tool(self) -> int:
        return self._id.number

    def _say_once(self, message: str) -> None:
        if not self._said:
            self._said = True
            self._say(message)

    def _broken(self, error: Exception) -> None:
        """Stop watching because of an error of this module; let out any other."""
        self._complain(error)
        self.stop()

    # --- what the tracer says -----------------------------------------------------------------

    def watch(self, handle: Handle, stack: Stack, frame: FrameType) -> None:
        """Watch the function that has just acquired a handle.

        Args:
            handle: the handle.
            stack: the stack of the acquisition.
            frame: its innermost frame.
        """
        try:
            index = stack.owner
            if index < 0:
                index = self._owner(stack)
            at: FrameType | None = frame
            while index and at is not None:
                at = at.f_back
                index -= 1
            if at is not None:
                self._enter(handle, at)
        except RecursionError:
            pass  # no room to note it
        except Exception as error:  # noqa: BLE001 - the handle is acquired all the same
            self._broken(error)

    def _owner(self, stack: Stack) -> int:
        owner = -1
        for index, code in enumerate(stack.codes):
            role = self._role(code)
            if role == USER:
                owner = index
                break
            if role == LIBRARY and owner < 0:
                owner = index
        stack.owner = max(owner, 0)
        return stack.owner

    def _enter(self, handle: Handle, frame: FrameType) -> None:
        """Note that a running function has a handle from now on."""
        if handle.invocation is _UNSEEN:
            return
        losses = self._losses
        self._live.add(handle)
        key, code = id(frame), frame.f_code
        while True:
            invocations = self._invocations
            invocation = invocations.get(key)
            if invocation is None or invocation.code is not code:
                if id(code) not in self._codes:
                    if not self._listen(code):
                        self._lose(handle)
                        return
                    continue
                invocation = invocations[key] = Invocation(code, key)
            elif len(invocation.handles) >= invocation.limit:
                invocation.handles = [known for known in invocation.handles if _alive(known)]
                invocation.limit = max(16, 2 * len(invocation.handles))
            if handle.invocation is not invocation:
                invocation.handles.append(handle)
                handle.invocation = invocation
            if self._losses != losses:
                self._lose(handle)
                return
            if self._invocations.get(key) is invocation and id(code) in self._codes:
                break  # else another thread has just let go of it, see `rest`
        if len(invocations) > self._most_stays:
            self.sweep()

    def _listen(self, code: CodeType) -> bool:
        """Have it told how a function is left; return whether that is possible."""
        self._notice_loss()
        with self._change(_PATIENCE) as may:
            if not may or not self.watching:
                return False
            if self._tool >= 0 or self._id.take(_monitoring):
                if id(code) not in self._codes:
                    self._switch_on(code)
                return True
        self._say_once(
            f"why handles leak is not told: {taken()}; end the other tool, or set causes=no to "
            "be rid of this message"
        )
        return False

    def _switch_on(self, code: CodeType) -> None:
        events = _monitoring.events
        wanted = events.PY_RETURN | events.PY_YIELD
        if code.co_flags & _RESUMABLE:
            wanted |= events.PY_START
        if not self._codes:
            self._idle = 0
            _monitoring.set_events(self._tool, events.PY_UNWIND)
        _monitoring.set_local_events(self._tool, code, wanted)
        self._codes[id(code)] = _Watched(code)

    def glance(self, handle: Handle) -> list[Departure]:
        """Return what `observe` would note, in whichever thread, for a handle that lives on.

        Args:
            handle: the handle.

        Returns:
            How the functions that had it were left, and where the one that has it stands.
        """
        self._notice_loss()
        known = list(handle.departures or ())
        invocation = handle.invocation
        if invocation is not None and invocation is not _UNSEEN:
            now: Departure | None = None
            for frame in sys._current_frames().values():
                if self._find(frame, invocation) >= 0:
                    now = self._now(handle, invocation, frame)
                    break
            else:
                now = self._now(handle, invocation, None)
            if now is not None:
                _add(known, now)
        return known

    def let_go(self, handle: Handle, frame: FrameType) -> None:
        """Note that the object which stands for a handle is gone, and so is the handle.

        Args:
            handle: the handle.
            frame: the innermost frame of the finalizer.
        """
        where = self._letting_go.where(handle, frame)
        self.observe(handle, frame, {})
        if where is not None:
            self._append(handle, where)

    def seen_to_let_go(self, handle: Handle, frame: FrameType) -> list[Departure]:
        """Return what `let_go` would note, empty if no function of the user's lets go of it.

        Args:
            handle: the handle.
            frame: the innermost frame of the finalizer.
        """
        where = self._letting_go.where(handle, frame)
        if where is None:
            return []
        known = self.glance(handle)
        _add(known, where)
        return known

    @staticmethod
    def _find(frame: FrameType | None, invocation: Invocation) -> int:
        """Return where a function is that runs below a frame, -1 if it does not."""
        steps = 0
        while frame is not None and steps < _MOST_STEPS:
            if id(frame) == invocation.key and frame.f_code is invocation.code:
                return frame.f_lasti
            frame = frame.f_back
            steps += 1
        return -1

    def observe(
        self, handle: Handle, frame: FrameType | None, running: dict[Invocation, Departure]
    ) -> None:
        """Note, because a finding is about to be made, what the function that has it does now.

        Args:
            handle: the handle.
            frame: the innermost frame of this thread.
            running: what is known already of functions that have not ended, for all handles that
                are observed at once.
        """
        self._notice_loss()
        invocation = handle.invocation
        if invocation is None:
            return
        handle.invocation = None  # the last entry
        self._live.discard(handle)
        if invocation is _UNSEEN:
            handle.departures = None
            return
        departure = running.get(invocation)
        if departure is None:
            departure = self._now(handle, invocation, frame)
            if departure is None:
                return
            if self._invocations.get(invocation.key) is invocation:
                running[invocation] = departure
        self._append(handle, departure)

    def forget(self, handle: Handle) -> None:
        """Let go of what is known of a handle that the program has released.

        What it shared with others tells later that they were handed on together.
        """
        handle.invocation = None
        self._live.discard(handle)
        known = handle.departures
        if known is not None:
            handle.departures = None
            for each in known:
                if each.shared:
                    handle.departures = [each for each in known if each.shared]
                    break
        if not self._live:
            self.rest()

    def _notice_loss(self) -> None:
        """Notice that somebody has freed the tool id, which anybody can."""
        tool = self._tool
        if tool >= 0 and not self._id.is_held(_monitoring):
            self._lose_all(tool, "somebody has freed the monitoring tool id that csptrace had")

    def _now(
        self, handle: Handle, invocation: Invocation, frame: FrameType | None
    ) -> Departure | None:
        """Return where the function that has a handle stands, `None` if it has ended."""
        key = invocation.key
        if self._invocations.get(key) is not invocation:
            if invocation.waiting < 0 or _departed(handle, invocation):
                return None
            return Departure(Exit.CLOSED, invocation, invocation.waiting)
        offset = self._find(frame, invocation)
        if offset < 0 and invocation.waiting >= 0:
            if self._is_gone(invocation):
                self._invocations.pop(key, None)
                self._end(invocation)
                return Departure(Exit.CLOSED, invocation, invocation.waiting)
            return Departure(Exit.SUSPENDED, invocation, invocation.waiting)
        departure = Departure(Exit.RUNNING, invocation, offset)
        error = sys.exception()
        trace = None if error is None else _traceback_of(error)
        steps = 0
        while trace is not None and steps < _MOST_STEPS:
            if id(trace.tb_frame) == key and trace.tb_frame.f_code is invocation.code:
                _describe(departure, error, trace)
                break
            trace = trace.tb_next
            steps += 1
        return departure

    def _is_gone(self, invocation: Invocation) -> bool:
        """Return whether a suspended function has ended without an event.

        CPython 3.13 and later close a generator that has nothing to do at its end silently.
        """
        if self._searches >= _MOST_SEARCHES:
            return False
        self._searches += 1
        for candidate in gc.get_objects():
            cls = type(candidate)
            if cls is _Generator:
                frame = candidate.gi_frame
            elif cls is _Coroutine:
                frame = candidate.cr_frame
            elif cls is _AsyncGenerator:
                frame = candidate.ag_frame
            else:
                continue
            if (
                frame is not None
                and id(frame) == invocation.key
                and frame.f_code is invocation.code
            ):
                return False
        return True

    # --- what the interpreter says ------------------------------------------------------------

    def _returned(self, code: CodeType, offset: int, value: object) -> None:
        try:
            frame = _getframe(1)
            invocation = self._invocations.pop(id(frame), None)
            if invocation is None:
                self._idle_exit(code)
            elif invocation.code is code:
                live = [handle for handle in invocation.handles if handle.state <= RELEASING]
                if live:
                    self._left(frame, invocation, offset, live, value, Exit.HANDED_ON)
                else:
                    invocation.handles = []  # so that no cycle is left for the collector
            if not self._live:
                self.rest()
        except RecursionError:
            pass  # no room to note it
        except Exception as error:  # noqa: BLE001 - an exception here would be the program's
            self._broken(error)

    def _yielded(self, code: CodeType, offset: int, value: object) -> None:
        try:
            frame = _getframe(1)
            invocation = self._invocations.get(id(frame))
            if invocation is None:
                self._idle_exit(code)
            elif invocation.code is code:
                invocation.waiting = offset
                cls = type(value)
                flags = code.co_flags
                if cls in _PLAIN or flags & CO_COROUTINE:
                    return  # what a coroutine yields is for the event loop
                if flags & CO_ASYNC_GENERATOR and cls.__name__ != _WRAPPED:
                    return
                if cls is int and all(handle.value != value for handle in invocation.handles):
                    return
                live = [handle for handle in invocation.handles if handle.state <= RELEASING]
                if live:
                    self._left(frame, invocation, offset, live, value, Exit.YIELDED)
        except RecursionError:
            pass
        except Exception as error:  # noqa: BLE001 - as above
            self._broken(error)

    def _started(self, _code: CodeType, _offset: int) -> None:
        """Drop what is known of a generator that had the same frame before, and is gone."""
        try:
            invocation = self._invocations.pop(id(_getframe(1)), None)
            if invocation is not None:
                self._end(invocation)
        except RecursionError:
            pass
        except Exception as error:  # noqa: BLE001 - as above
            self._broken(error)

    def _unwound(self, code: CodeType, offset: int, error: BaseException) -> None:
        try:
            frame = _getframe(1)
            key = id(frame)
            invocation = self._invocations.pop(key, None)
            if invocation is not None and invocation.code is not code:
                invocation = None
            passing = None
            if self._propagating:
                passing = self._propagating.pop(get_ident(), None)
                if passing is not None and (passing.error != id(error) or passing.frame != key):
                    passing = None  # that one was caught
            if invocation is None and passing is None:
                self._idle += 1
                if self._idle >= _IDLE_UNWINDS:
                    self._idle = 0
                    self.sweep()
                elif not self._live:
                    self.rest()
                return
            self._idle = 0
            self._passes(frame, invocation, offset, error, passing)
        except RecursionError:
            pass
        except Exception as bug:  # noqa: BLE001 - as above
            self._broken(bug)

    # --- inside -------------------------------------------------------------------------------

    def _left(
        self,
        frame: FrameType,
        invocation: Invocation,
        offset: int,
        live: list[Handle],
        value: object,
        moved: Exit,
    ) -> None:
        """Note that a function has returned or yielded."""
        held = _held(value, live)
        if held:
            caller = self._caller(frame, LIBRARY)
            departure = Departure(moved, invocation, offset)
            if len(held) > 1:
                departure.shared = True
            if caller is not None:
                departure.to, departure.to_offset = caller.f_code, caller.f_lasti
            for handle in held:
                self._append(handle, departure)
                if caller is not None and self._role(caller.f_code) != LAUNCHER:
                    self._enter(handle, caller)
        if moved is Exit.YIELDED:
            return  # what it has not yielded it still has
        if len(held) == len(live):
            self._end(invocation)
            return
        handed = set(held)
        rest = [handle for handle in live if handle not in handed] if held else live
        departure = Departure(Exit.RETURNED, invocation, offset)
        above = self._above(frame)
        for handle in rest:
            self._append(handle, departure)
            if above is not None and handle.invocation is invocation:
                self._enter(handle, above)
        self._end(invocation)

    def _end(self, invocation: Invocation) -> None:
        """Let go of the handles that nobody is seen to have after the end of this function."""
        for handle in invocation.handles:
            if handle.invocation is invocation:
                self._live.discard(handle)

    def _passes(
        self,
        frame: FrameType,
        invocation: Invocation | None,
        offset: int,
        error: BaseException,
        passing: _Propagating | None,
    ) -> None:
        """Note that an exception has left a function."""
        caller = frame.f_back
        departures = [] if passing is None else passing.departures
        trace = _traceback_of(error)
        live = [] if invocation is None else [h for h in invocation.handles if h.state <= RELEASING]
        if invocation is not None and live:
            departure = Departure(Exit.RAISED, invocation, offset)
            _describe(departure, error, trace)
            departures.append(departure)
            above = self._above(frame)
            for handle in live:
                if handle.invocation is not invocation:
                    # Yielded to a caller, who has it now; this end of it may matter all the same.
                    self._append(handle, departure)
                    continue
                self._append(handle, departure)
                if above is not None:
                    self._enter(handle, above)
            self._end(invocation)
        if not departures:
            return
        for departure in departures:
            departure.caught = None if caller is None else caller.f_code
            departure.caught_offset = -1 if caller is None else caller.f_lasti
        if caller is not None:
            self._propagating[get_ident()] = _Propagating(
                id(error), id(trace), id(caller), departures[-_MOST_DEPARTURES:]
            )

    def _append(self, handle: Handle, departure: Departure) -> None:
        if handle.invocation is _UNSEEN:
            return
        known = handle.departures
        if known is None:
            handle.departures = [departure]
        else:
            _add(known, departure)

    def _caller(self, frame: FrameType, least: int) -> FrameType | None:
        """Return the nearest caller of this role at least."""
        caller = frame.f_back
        steps = 0
        while caller is not None and self._role(caller.f_code) < least:
            caller = caller.f_back
            steps += 1
            if steps >= _MOST_STEPS:
                return None
        return caller

    def _above(self, frame: FrameType) -> FrameType | None:
        """Return the user's function that goes on when this one has ended without handing on.

        What resumes a coroutine, or a generator in a library's hands, is not its caller.
        """
        if frame.f_code.co_flags & _RESUMABLE:
            caller = self._caller(frame, LIBRARY)
        else:
            caller = self._caller(frame, USER)
        return caller if caller is not None and self._role(caller.f_code) == USER else None

    def _idle_exit(self, code: CodeType) -> None:
        """Count an exit that concerns nobody; after many of them, stop listening."""
        entry = self._codes.get(id(code))
        if entry is None:
            return
        entry.idle += 1
        if entry.idle < entry.patience:
            return
        entry.idle = 0
        with self._change(0) as may:
            if not may or self._codes.pop(id(code), None) is not entry:
                return
            for key, invocation in list(self._invocations.items()):
                if invocation.code is code:
                    if any(map(_alive, invocation.handles)):
                        entry.patience *= 2
                        self._codes[id(code)] = entry
                        return
                    self._invocations.pop(key, None)
            if self._id.is_held(_monitoring):
                _monitoring.set_local_events(self._tool, code, 0)


def _alive(handle: Handle) -> bool:
    return handle.state <= RELEASING


def _add(known: list[Departure], departure: Departure) -> None:
    """Put the end of a function's run behind the others, or in the place of an earlier one."""
    for index, earlier in enumerate(known):
        if earlier.invocation is departure.invocation:  # a generator goes on after it has yielded
            if earlier.exit is Exit.YIELDED and departure.exit is not Exit.YIELDED:
                break
            known[index] = departure
            return
    if len(known) >= _MOST_DEPARTURES:
        del known[_MOST_DEPARTURES // 2]
    known.append(departure)


def _departed(handle: Handle, invocation: Invocation) -> bool:
    return any(departure.invocation is invocation for departure in handle.departures or ())


def _describe(departure: Departure, error: Any, trace: Any) -> None:
    """Note what an exception says of itself, without asking code of the program."""
    departure.exit = Exit.RAISED
    cls = type(error)
    departure.exception = _type_name(cls)
    resumable = departure.code.co_flags & _RESUMABLE
    if cls is GeneratorExit and resumable:
        departure.exit = Exit.CLOSED
    elif resumable & ~CO_GENERATOR and any(
        base.__name__ == "CancelledError" for base in _type_order(cls)
    ):
        departure.exit = Exit.CANCELLED
    if trace is None:
        return
    departure.line = trace.tb_lineno or 0
    steps = 0
    while trace.tb_next is not None and steps < _MOST_STEPS:
        trace = trace.tb_next
        steps += 1
    departure.raised = trace.tb_frame.f_code
    departure.raised_line = trace.tb_lineno or 0


# --- what an object holds -----------------------------------------------------------------------

_PLAIN: Final = frozenset({str, bytes, float, bool, type(None), complex, bytearray})
_OPAQUE: Final = (type, ModuleType, CodeType, FrameType, BuiltinFunctionType)


def _generator() -> Any:
    yield


async def _coroutine() -> None: ...


async def _async_generator() -> Any:
    yield


_Generator: Final = type(_generator())
_AsyncGenerator: Final = type(_async_generator())


def _coroutine_type() -> type:
    coroutine = _coroutine()
    coroutine.close()
    return type(coroutine)


_Coroutine: Final = _coroutine_type()


def _held(value: object, handles: list[Handle]) -> list[Handle]:
    """Return which handles an object is or holds.

    Nothing of the program runs: numbers are taken from exact types and C structures, and what an
    object refers to is asked of `gc.get_referents`, to a bounded depth and number.

    Args:
        value: what a function returns.
        handles: live handles.

    Returns:
        Those that the caller has in its hands now.
    """
    cls = type(value)
    if cls in _PLAIN:
        return []
    if len(handles) == 1:  # most functions hand on one, as it is
        if cls is int:
            return handles if value == handles[0].value else []
        if _is_ctypes(cls) and _ctypes_codecs().plain_number(value, cls) == handles[0].value:
            return handles
    numbers = {handle.value: handle for handle in handles if handle.value >= 0}
    wanted = set(handles)
    found: dict[Handle, None] = {}
    seen = {id(value)}
    level: list[object] = [value]
    left = max(_MOST_OBJECTS, 4 * len(handles))
    for depth in range(_DEEPEST + 1):
        below: list[object] = []
        for each in level:
            cls = type(each)
            if issubclass(cls, HandleObject):
                handle = each._self_handle  # type: ignore[attr-defined]
                if handle in wanted:
                    found[handle] = None
                continue
            if cls is Handle:  # noted on an object of the binding's, which stands for it
                if each in wanted:
                    found[each] = None
                continue
            for number in _numbers(each, cls, inside=depth > 0):
                known = numbers.get(number & _MASK if number < 0 else number)
                if known is not None:
                    found[known] = None
            if len(found) == len(wanted):
                return list(found)
            if cls is int or depth == _DEEPEST:
                continue
            for part in _parts(each, cls):
                if type(part) in _PLAIN or id(part) in seen:
                    continue
                left -= 1
                if left <= 0:
                    return list(found)
                seen.add(id(part))
                below.append(part)
        if not below:
            break
        level = below
    return list(found)


_MASK: Final = (1 << 64) - 1


def _numbers(value: object, cls: type, *, inside: bool) -> tuple[int, ...]:
    """Return the numbers that an object is or has in its memory."""
    if cls is int:
        number: Any = value
        small = inside and -_SMALLEST_INSIDE < number < _SMALLEST_INSIDE
        return () if small else (number,)
    if _is_ctypes(cls) or _type_name(cls) == "CArgObject":
        numbers: tuple[int, ...] = _ctypes_codecs().plain_numbers(value)
        return numbers
    if _type_module(cls) == "_cffi_backend":
        return _cffi_numbers(value)
    return ()


def _is_ctypes(cls: type) -> bool:
    order = _type_order(cls)
    return len(order) > 1 and _type_module(order[-2]) == "_ctypes"


@cache
def _ctypes_codecs() -> Any:
    from csptrace.intercept import codecs  # noqa: PLC0415 - imports ctypes, which is in use by now

    return codecs


def _cffi_numbers(value: Any) -> tuple[int, ...]:
    """Return the number in a cffi object: an integer, or what an owned pointer points at."""
    backend = sys.modules.get("_cffi_backend")
    if backend is None:
        return ()
    try:
        kind = backend.typeof(value)
        if kind.kind == "primitive":
            return (int(value),)
        if kind.kind != "pointer":
            return ()
        if "owning" in repr(value):  # `ffi.new("HCRYPTKEY *")`
            return (int(backend.cast(backend.new_primitive_type("uintptr_t"), value[0])),)
        return (int(backend.cast(backend.new_primitive_type("uintptr_t"), value)),)
    except (TypeError, ValueError, RuntimeError, AttributeError):
        return ()


def _parts(value: object, cls: type) -> Iterable[object]:
    """Return what an object refers to, without what every object of its sort refers to."""
    if cls is FunctionType:
        return [
            cell.cell_contents
            for cell in value.__closure__ or ()  # type: ignore[attr-defined]
            if _is_full(cell)
        ]
    if any(opaque in _type_order(cls) for opaque in _OPAQUE):
        return ()
    return gc.get_referents(value)


def _is_full(cell: Any) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True
