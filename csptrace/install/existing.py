"""What a program has already when tracing starts in the middle of it.

To find it, every object that there is has to be looked at. So everything is patched first, and what
was there before is looked for once, for all that is patched.
"""

from __future__ import annotations

import gc
import sys
import weakref
from collections import Counter
from types import FrameType, FunctionType
from typing import TYPE_CHECKING, Any, Final

from csptrace.install.proxies import derived, instances

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping
    from types import ModuleType

__all__ = ["Existing", "Imported"]

_NONE: Final[Mapping[int, int]] = {}


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
            found: the objects, as taken: the caller keeps no other reference to any. It is
                emptied.
            cached: the ids of those that a cache has, too.
        """
        left = _held(found, cached)
        for generation in (1, 2):
            if left and gc.isenabled():
                left = _held(_without_garbage(left, generation), cached)
        return _held(left, cached, _ours(left)) if left else left

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


def _held(found: list[Any], cached: Container[int], ours: Mapping[int, int] = _NONE) -> list[Any]:
    """Return those of some objects that somebody else refers to; empties the list."""
    held = [
        found[index]
        for index in range(len(found))
        if _is_held(found, index, (id(found[index]) in cached) + ours.get(id(found[index]), 0))
    ]
    found.clear()
    return held


def _ours(found: list[Any]) -> Mapping[int, int]:
    """Return how often what earlier tracers have left refers to objects, by their ids.

    The traceback of an error that was raised in a traced call (a notebook keeps the last one)
    keeps the functions that csptrace has made for it, and through them what they call. What the
    program can still call itself is a proxy, which is among the objects if there is one.
    """
    wanted = set(map(id, found))
    parts: set[int] = set()  # of functions and frames
    for each in instances(FunctionType, FrameType):
        if type(each) is FunctionType and _is_ours(each.__globals__):
            parts.update(map(id, each.__closure__ or ()))
        elif type(each) is FrameType and _is_ours(each.f_globals):
            parts.add(id(each))
            # Its `f_locals`, if somebody has asked for them, before CPython 3.13.
            parts.update(id(part) for part in gc.get_referents(each) if type(part) is dict)
    count: Counter[int] = Counter()
    for each in gc.get_referrers(*found):
        if id(each) in parts or _is_ours(type.__getattribute__(type(each), "__dict__")):
            count.update(one for one in map(id, gc.get_referents(each)) if one in wanted)
    return count


def _is_ours(namespace: Mapping[str, Any]) -> bool:
    """Return whether a module, or a class, is one of those that patch."""
    module = namespace.get("__name__", namespace.get("__module__"))
    return isinstance(module, str) and module.startswith(_PATCHING)


_PATCHING: Final = ("csptrace.causes.", "csptrace.install.", "csptrace.intercept.")


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


def _is_held(found: list[Any], index: int, others: int) -> bool:
    """Return whether somebody refers to an object in a list besides the list and some others."""
    # A function of a ctypes library refers to itself.
    own = sum(each is found[index] for each in gc.get_referents(found[index]))
    return _references(found, index) > _IN_A_LIST + others + own


def _references(found: list[Any], index: int) -> int:
    return sys.getrefcount(found[index])


_IN_A_LIST = _references([object()], 0)
