"""Why handles leak: watches how functions are left, and has it worked out for each finding."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from csptrace.causes.exit_monitor import ExitMonitor
from csptrace.causes.roles import INTERNAL, LAUNCHER, LIBRARY, USER
from csptrace.graph.sites import CallSite
from csptrace.recording.diagnostics import is_foreign, trace_of
from csptrace.stacks.frames import frame_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import CodeType, FrameType

    from csptrace.causes.inquiry import Causes
    from csptrace.graph.handle import Departure, Handle, Invocation
    from csptrace.recording.diagnostics import Diagnostics
    from csptrace.spec.bindings import Spec
    from csptrace.stacks.ownership import Ownership

__all__ = ["Explanations"]

_CONTEXTLIB = contextlib.contextmanager.__code__.co_filename


class Explanations:
    """What is known of the functions that have handles.

    Args:
        specs: what is traced.
        ownership: tells whose code a function is.
        diagnostics: is told of what does not work.
        wanted: whether functions are watched at all.

    Attributes:
        exits: watches how functions that have handles are left; `None` if it is not wanted.
    """

    def __init__(
        self,
        specs: Iterable[Spec],
        ownership: Ownership,
        diagnostics: Diagnostics,
        *,
        wanted: bool,
    ) -> None:
        self._specs = tuple(specs)
        self._ownership = ownership
        self._diagnostics = diagnostics
        self._roles: dict[str, int] = {}
        self._causes: Causes | None = None
        self.exits: ExitMonitor | None = None
        if wanted:
            self.exits = ExitMonitor(self._role, self._complain, self.broken)

    @property
    def causes(self) -> Causes | None:
        """What works out why a handle leaked, `None` while nothing is known."""
        return self._causes if self.exits is not None and self.exits.watching else None

    @property
    def glance(self) -> Callable[[Handle], list[Departure]]:
        """What says of a handle that lives on how the functions that had it were left."""
        exits = self.exits
        return exits.glance if exits is not None and exits.watching else _see_nothing

    def foresee(self) -> None:
        """Import what findings need, before the first function of a provider is patched.

        Not earlier, since most runs have none. Not later either: when a finding is made, or a
        function is looked up, the program may have no file descriptors left, fewer rights or
        another root directory, and the graph's lock is held, perhaps in the middle of an import.
        """
        if self._causes is not None or self.exits is None:
            return
        try:
            from csptrace.causes.inquiry import Causes  # noqa: PLC0415 - it reads sources

            self._causes = Causes(self._specs, self._ownership, self._broken_causes)
        except Exception as error:  # noqa: BLE001 - findings then have no cause
            self._broken_causes(error)

    def observe(
        self,
        handles: Iterable[Handle],
        frame: FrameType | None,
        running: dict[Invocation, Departure],
    ) -> None:
        """Note of handles which functions have them now; see `ExitMonitor.observe`."""
        exits = self.exits
        if exits is not None and exits.watching:
            for handle in handles:
                if handle.must_release:
                    exits.observe(handle, frame, running)

    def let_go(self, handle: Handle, frame: FrameType) -> None:
        """Note where a handle was let go of; see `ExitMonitor.let_go`."""
        exits = self.exits
        if exits is not None and exits.watching and handle.must_release:
            exits.let_go(handle, frame)

    def seen_to_let_go(self, handle: Handle, frame: FrameType) -> list[Departure]:
        """Return where it would be; see `ExitMonitor.seen_to_let_go`."""
        exits = self.exits
        return [] if exits is None or not exits.watching else exits.seen_to_let_go(handle, frame)

    def was_kept(self, handle: Handle, departures: list[Departure]) -> bool:
        """Return whether a handle was stored in something that outlives who stored it there."""
        return self.causes is not None and self.causes.was_kept(handle, departures)

    def watch_no_more(self, handle: Handle) -> None:
        """Forget which functions have a handle."""
        if handle.invocation is not None and self.exits is not None:
            self.exits.forget(handle)

    def rest(self) -> None:
        """Let go of what need not be watched any longer."""
        if self.exits is not None:
            self.exits.rest()

    def forget_roles(self) -> None:
        """Ask again whose code is whose, after that has changed."""
        self._roles.clear()

    def _role(self, code: CodeType) -> int:
        """Return whose code this is; contextlib passes on what it gets, as the tracer does."""
        name = code.co_filename
        known = self._roles.get(name)
        if known is None:
            frame = frame_at(code, 0)
            if self._ownership.is_launcher(name):
                known = LAUNCHER
            elif name == _CONTEXTLIB or self._ownership.is_internal(frame):
                known = INTERNAL
            else:
                known = USER if self._ownership.is_user(frame) else LIBRARY
            self._roles[name] = known
        return known

    def _complain(self, message: str) -> None:
        self._diagnostics.complain("causes", message)

    def _broken_causes(self, error: Exception) -> None:
        """Note a bug in working out why handles leak; what leaks is known all the same."""
        if is_foreign(error):
            raise error
        self._diagnostics.complain_of_bug(CallSite("working out a cause", "", ""), error)

    def broken(self, error: BaseException) -> None:
        """Note a bug in watching; never raise it, since it would come out of the program's code."""
        if is_foreign(error):
            raise error
        self._diagnostics.complain(
            "internal",
            "internal error in watching how functions are left; why handles leak is not told from "
            f"here on, the program is not affected:\n{trace_of(error)}",
        )


def _see_nothing(_handle: Handle) -> list[Departure]:
    """Return what is known of the functions that had a handle where they are not watched."""
    return []
