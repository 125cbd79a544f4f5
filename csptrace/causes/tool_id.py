"""An id of `sys.monitoring`: taken while there is something to watch, and yielded to who asks.

There are six ids for all tools of a process, and two of them belong to nobody. From the first time
that csptrace takes one, `sys.monitoring.use_tool_id` is a proxy: it gives the id that csptrace has
to whoever wants that very one, as if it were free. `sys.monitoring.get_tool` tells the truth.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from csptrace.install.proxies import module_function

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import CodeType

__all__ = ["NAME", "TOOLS", "ToolId"]

NAME: Final = "csptrace"
TOOLS: Final = (4, 3)
"""The tool ids that nobody is told to use, in the order in which they are tried: 0, 1, 2 and 5
belong to debuggers, coverage, profilers and optimisers, and who looks for a free one begins with
the first."""


_holders: Final[list[ToolId]] = []
"""Who has to yield: one at most. A proxy may be kept for longer than it is in its place."""


class ToolId:
    """One of the ids that belong to nobody, or none.

    Args:
        callbacks: what is called for which event.
        wanted: is told which id is wanted, and by whom, and has to give it back if it is this one.

    Attributes:
        number: the id that is held, -1 for none.
    """

    def __init__(
        self,
        callbacks: Mapping[str, Callable[..., object]],
        wanted: Callable[[int, str], None],
    ) -> None:
        self.number = -1
        self._callbacks = dict(callbacks)
        self._wanted = wanted
        self._others: dict[int, Any] = {}
        self._asked_for: list[int] = []
        self._plain: Any = None
        self._proxy: Any = None

    def leave(self, monitoring: Any) -> None:
        """Hear no more who asks for an id."""
        if self in _holders:
            _holders.remove(self)
            if monitoring.use_tool_id is self._proxy:  # and not somebody else's wrapper around it
                monitoring.use_tool_id = self._plain

    def take(self, monitoring: Any) -> bool:
        """Take a free id, with the callbacks; return whether there was one."""
        if self not in _holders:
            self._listen(monitoring)
        for number in TOOLS:
            if number in self._asked_for or monitoring.get_tool(number) is not None:
                continue
            try:
                self._plain(number, NAME)
            except ValueError:  # another thread was faster
                continue
            self.number = number
            for name, callback in self._callbacks.items():
                event = getattr(monitoring.events, name)
                self._others[event] = monitoring.register_callback(number, event, callback)
            return True
        return False

    def is_held(self, monitoring: Any) -> bool:
        """Return whether the id is still held; anybody can free it, or give it to others."""
        return self.number >= 0 and monitoring.get_tool(self.number) == NAME

    def give_back(self, monitoring: Any, codes: Iterable[CodeType]) -> None:
        """Switch every event off and free the id.

        Args:
            monitoring: `sys.monitoring`.
            codes: where local events are switched on.
        """
        number, held = self.number, self.is_held(monitoring)
        self.number = -1
        others, self._others = self._others, {}
        if not held:
            return
        monitoring.set_events(number, 0)
        for code in codes:
            monitoring.set_local_events(number, code, 0)
        for event, callback in others.items():
            monitoring.register_callback(number, event, callback)
        monitoring.free_tool_id(number)

    def asked(self, number: int, name: str, grant: Callable[[], object]) -> object:
        """Let somebody else have an id; no other thread takes it again before they have it.

        Args:
            number: which one.
            name: who it is.
            grant: takes it for them.
        """
        self._asked_for.append(number)
        try:
            if number in TOOLS:
                self._wanted(number, name)
            return grant()
        finally:
            self._asked_for.remove(number)

    def _listen(self, monitoring: Any) -> None:
        """Hear from now on who asks for an id."""
        self._plain = monitoring.use_tool_id
        self._proxy = module_function(self._plain, _asking(self._plain))
        _holders.append(self)
        monitoring.use_tool_id = self._proxy


def _asking(plain: Callable[..., object]) -> Callable[..., object]:
    def use_tool_id(*args: Any, **kwargs: Any) -> object:
        if _holders and len(args) == 2 and not kwargs:
            number, name = args
            if isinstance(number, int) and isinstance(name, str):  # else it is refused anyway
                return _holders[0].asked(number, name, partial(plain, number, name))
        return plain(*args, **kwargs)

    return use_tool_id
