"""Install and uninstall from one journal: what was done is undone, last first."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from csptrace import forks

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Entry", "Journal"]


class Entry(NamedTuple):
    """One thing that was patched.

    Attributes:
        what: its name, for `csptrace doctor`.
        undo: puts the original back; does nothing if somebody else has patched on top, since
            taking the place back would throw away their patch.
    """

    what: str
    undo: Callable[[], None]


class Journal:
    """What was patched, in order."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._lock = forks.lock()

    def __len__(self) -> int:
        """Return how many things are patched."""
        return len(self._entries)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """What is patched now, oldest first."""
        with self._lock:
            return tuple(self._entries)

    def add(self, what: str, undo: Callable[[], None]) -> None:
        """Note a patch that has just been made.

        Args:
            what: its name.
            undo: puts the original back.
        """
        with self._lock:
            self._entries.append(Entry(what, undo))

    def undo(self, down_to: int = 0) -> list[BaseException]:
        """Undo the newest patches; every one is attempted.

        Args:
            down_to: how many entries to leave.

        Returns:
            What the undo functions raised.
        """
        with self._lock:
            undone, self._entries[down_to:] = self._entries[down_to:], []
        errors: list[BaseException] = []
        try:
            while undone:
                try:
                    undone[-1].undo()
                except Exception as error:  # noqa: BLE001 - the other patches must be undone too
                    errors.append(error)
                undone.pop()
        finally:
            if undone:  # cut short by Ctrl-C
                with self._lock:
                    self._entries[down_to:down_to] = undone
        return errors
