"""What a program has already when tracing starts in the middle of it.

To find it, every object that there is has to be looked at. So everything is patched first, and what
was there before is looked for once, for all that is patched.
"""

from __future__ import annotations

import gc
import sys
import weakref
from typing import TYPE_CHECKING, Any

from csptrace.patch.proxy import derived, instances

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable
    from types import ModuleType

__all__ = ["Existing", "Imported", "is_held"]


class Existing:
    """The objects of the program that exist, of the classes that somebody has asked for."""

    def __init__(self) -> None:
        self._expected: list[Callable[[], Iterable[type]]] = []
        self._found: list[Any] | None = None

    def expect(self, classes: Callable[[], Iterable[type]]) -> None:
        """Look for objects of classes, too.

        Args:
            classes: returns them; asked each time that is looked.
        """
        self._expected.append(classes)

    def of(self, *classes: type) -> list[Any]:
        """Return the objects of classes that are expected, and of those derived from them."""
        wanted = derived(*classes)
        return [each for each in self._all() if id(type(each)) in wanted]

    def take(self, *classes: type) -> list[Any]:
        """Return the objects of classes, and keep no reference to them."""
        wanted = derived(*classes)
        found = self.of(*classes)
        self._found = [each for each in self._all() if id(type(each)) not in wanted]
        return found

    def held(self, found: list[Any], cached: Container[int]) -> list[Any]:
        """Return those of some objects that the program has, and not only the garbage collector.

        Args:
            found: the objects, as taken: the caller keeps no other reference to any.
            cached: the ids of those that a cache has, too.
        """
        found = _held(found, cached)
        for generation in (1, 2):
            if found and gc.isenabled():
                found = _without_garbage(found, generation)
                found = _held(found, cached)
        return found

    def _all(self) -> list[Any]:
        if self._found is None:
            self._found = instances(*(cls for classes in self._expected for cls in classes()))
        return self._found


class Imported(Existing):
    """What a module that has just been imported has made itself: all that can exist of it.

    Args:
        module: the module.
    """

    def __init__(self, module: ModuleType) -> None:
        super().__init__()
        self._found = list(vars(module).values())

    def held(self, found: list[Any], cached: Container[int]) -> list[Any]:  # noqa: ARG002
        """Return what the program has already: nothing."""
        return []


def _held(found: list[Any], cached: Container[int]) -> list[Any]:
    return [
        found[index]
        for index in range(len(found))
        if is_held(found, index, cached=id(found[index]) in cached)
    ]


def _without_garbage(found: list[Any], generation: int) -> list[Any]:
    """Return what is left of objects when garbage has been collected; empties the list."""
    known = [_loosely(each) for each in found]
    found.clear()
    gc.collect(generation)
    return [each for get in known if (each := get()) is not None]


def _loosely(one: Any) -> Callable[[], Any]:
    try:
        return weakref.ref(one)
    except TypeError:  # what leads to it goes all the same, if it is garbage
        return lambda: one


def is_held(found: list[Any], index: int, *, cached: bool) -> bool:
    """Return whether somebody besides a list, and a cache, refers to one of the objects in it.

    Args:
        found: the list, the only one that the caller has of the object.
        index: where the object is in it.
        cached: whether it is in a cache, too.
    """
    # A function of a ctypes library refers to itself.
    own = sum(each is found[index] for each in gc.get_referents(found[index]))
    return _references(found, index) > _IN_A_LIST + cached + own


def _references(found: list[Any], index: int) -> int:
    return sys.getrefcount(found[index])


_IN_A_LIST = _references([object()], 0)
