"""What is still held of a test that is over, and which handles may be released with it.

pytest holds the values of a test's fixtures until the test's last report is out, the object whose
method the test is for as long as the session goes on, and the traceback of a failure until the next
test runs; plugins hold more. An object among these that releases a handle when it goes (by a
destructor, a finalizer, a suspended generator) is no leak of the program.

So what is asked here about a live handle is whether something is held that runs code when it goes,
and leads to the handle. Whether that releases it is seen when the object is gone; where nobody will
see that, nothing is said against the program.
"""

from __future__ import annotations

import gc
import os
import sys
import weakref
from types import (
    AsyncGeneratorType,
    CodeType,
    CoroutineType,
    FrameType,
    FunctionType,
    GeneratorType,
    ModuleType,
    TracebackType,
)
from typing import TYPE_CHECKING, Any, Final

import pytest
from _pytest import runner

from csptrace.graph.handle import Handle
from csptrace.install.proxies import HandleObject
from csptrace.intercept.object_codecs import BoxedCodec
from csptrace.spec.bindings import Collects, Objects

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from csptrace.spec.bindings import Spec

__all__ = ["Retention", "failures", "has_let_go", "held_of"]

_MOST_OBJECTS: Final = 300_000
"""How many objects are looked at; where there are more, anything may be released with them."""
_LAUNCHERS: Final = frozenset({"pytest", "_pytest", "pluggy"})
_PROGRAMS: Final = ("softcsp", "examples")
"""The parts of csptrace that a program may have objects of."""
_TRANSPARENT: Final = (
    *(pytest.CallInfo, pytest.ExceptionInfo, pytest.Stash),
    *(pytest.CollectReport, pytest.TestReport),
)
"""What of pytest's own may be held by chance, and is looked into. The rest is alive anyway."""
_WEAK_COLLECTIONS: Final = ("weakref", "_weakrefset")
_WORD: Final = 8
_FEW: Final = 1 << 16
"""Below, a number may well be something else: sessions are counted, and so are other things."""
_PYTEST: Final = os.path.join(os.path.dirname(runner.__file__), "")
_UNITTEST: Final = os.path.join(os.path.dirname(os.__file__), "unittest", "")

# As they are, whatever a metaclass of the program says.
_mro: Final = type.__dict__["__mro__"].__get__
_members: Final = type.__dict__["__dict__"].__get__
_module: Final = type.__dict__["__module__"].__get__
_traceback: Final = BaseException.__dict__["__traceback__"].__get__


def has_let_go(item: pytest.Item) -> bool:
    """Return whether pytest has let go of a test's fixtures.

    `_pytest.runner.runtestprotocol` does so when the last report of the test is out.
    """
    return not getattr(item, "_request", None)


def held_of(item: pytest.Item) -> list[object]:
    """Return what pytest and its plugins hold of a test.

    The values of fixtures that go on behind the test are left out.
    """
    held = dict(vars(item))
    values: dict[str, object] = held.pop("funcargs", None) or {}
    running = getattr(held.pop("_request", None), "_fixture_defs", {})
    over = [
        value
        for name, value in values.items()
        if getattr(running.get(name), "cached_result", None) is None
    ]
    return [*held.values(), *over, *_held_for_classes(item)]


def _held_for_classes(item: pytest.Item) -> Iterator[object]:
    """Yield what is held by the class of a test, and by pytest's own fixtures for classes.

    Before 8.2, those that call `setUpClass` and its kin held the object whose method the first test
    of the class is.
    """
    cls = _class_of(item)
    if cls is not None:
        yield from _members(cls).values()
    info = getattr(item, "_fixtureinfo", None)
    for name, fixtures in getattr(info, "name2fixturedefs", {}).items():
        if name.startswith(("_unittest_", "_xunit_")):
            for fixture in fixtures:
                yield getattr(fixture, "_finalizers", None)


def failures(item: pytest.Item | None) -> list[object]:
    """Return what was raised in a test and its traceback, if anybody still holds them.

    `sys.last_value` does, and a debugger or a plugin may.

    Args:
        item: the test, `None` for any.
    """
    found: list[object] = []
    for one in gc.get_objects():
        cls = type(one)
        if cls is TracebackType:
            if _is_of(one.tb_frame, item):
                found.append(one)
        elif issubclass(cls, BaseException):
            step = _traceback(one)
            while step is not None and not _is_of(step.tb_frame, item):
                step = step.tb_next
            if step is not None:
                found.append(one)
    return found


def _is_of(frame: FrameType, item: pytest.Item | None) -> bool:
    """Return whether a frame is of a test or of what runs it.

    pytest's own frames have the test, or the request of a fixture of it; those of the standard
    library's runner, which catches what is raised and hands it to pytest, the object whose method
    it is. What ends a part of a test (`subtests`) is caught in the test's own function.
    """
    code = frame.f_code
    if not code.co_filename.startswith((_PYTEST, _UNITTEST)):
        return item is not None and code is _code_of(item)
    return item is None or any(_stands_for(part, item) for part in gc.get_referents(frame))


def _stands_for(part: object, item: pytest.Item) -> bool:
    cls = type(part)
    if issubclass(cls, pytest.FixtureRequest):
        return getattr(part, "_pyfuncitem", None) is item
    return part is item or (
        cls is _class_of(item)
        and getattr(part, "__dict__", {}).get("_testMethodName")
        == getattr(item, "originalname", None)
    )


def _class_of(item: pytest.Item) -> type | None:
    """Return the class that a test is in, `None` if it is in none."""
    found = vars(item.parent).get("_obj") if item.parent is not None else None
    return found if isinstance(found, type) else None


def _code_of(item: pytest.Item) -> CodeType | None:
    """Return the code of a test's function, where it is known without asking for it."""
    function: Any = vars(item).get("_obj")
    function = getattr(function, "__func__", function)
    return function.__code__ if type(function) is FunctionType else None


class Retention:
    """Tells which handles may be released when objects are let go.

    Args:
        specs: the APIs that are traced.
    """

    def __init__(self, specs: Iterable[Spec]) -> None:
        self._self_releasing = {
            (spec.name, binding.name)
            for spec in specs
            for binding in spec.bindings
            if isinstance(binding.target, Objects) and binding.on_collect is Collects.RELEASES
        }

    def releasable(self, held: Iterable[object], handles: Iterable[Handle]) -> set[Handle]:
        """Return the handles that may be released when objects are let go.

        Args:
            held: the objects.
            handles: live handles.

        Returns:
            Those to which something leads that runs code when it goes; all of them if there is
            too much to look through.
        """
        wanted = set(handles)
        if not wanted:
            return wanted
        try:
            last_words = [one for one in _reach(held) if self._has_last_words(one)]
            near = [part for one in last_words for part in _attributes(one)]
            return set(_handles_among(_reach(last_words), near, wanted))
        except _TooManyError:
            return wanted

    def _has_last_words(self, one: object) -> bool:
        """Return whether code runs when an object goes."""
        cls = type(one)
        if issubclass(cls, HandleObject):
            call_record = one._self_handle.acquired  # type: ignore[attr-defined]
            site = None if call_record is None else call_record.site
            return site is not None and (site.api, site.binding) in self._self_releasing
        frame = _FRAMES.get(cls)
        if frame is not None:
            return getattr(one, frame) is not None
        return any(map(_destructs, _mro(cls))) or any(True for _ in _callbacks(one))


class _TooManyError(Exception):
    """There is more to look through than is worth it."""


# --- what is held ---------------------------------------------------------------------------------


def _reach(held: Iterable[object]) -> Iterator[object]:
    """Yield what is held by objects, themselves included, as far as nobody else is sure to."""
    waiting = list(held)
    seen: dict[int, object] = {}
    while waiting:
        one = waiting.pop()
        if id(one) in seen or _is_held_anyway(type(one)):
            continue
        if gc.is_tracked(one):  # the others are no part of a cycle, and mostly numbers and texts
            seen[id(one)] = one  # kept, else another object might get its id
            if len(seen) > _MOST_OBJECTS:
                raise _TooManyError
        waiting += _parts(one)
        yield one


def _is_held_anyway(cls: type) -> bool:
    """Return whether objects of a class are held by others too: code, modules, what runs tests."""
    if issubclass(cls, (type, ModuleType, CodeType)):
        return True
    if cls is Handle:
        return False
    root, _, rest = str(_module(cls)).partition(".")
    if root == "csptrace":
        return not rest.startswith(_PROGRAMS)
    return root in _LAUNCHERS and not issubclass(cls, _TRANSPARENT)


def _parts(one: Any) -> list[object]:
    cls = type(one)
    if cls is FunctionType:  # not the module that it is from
        return [one.__closure__, one.__defaults__, one.__kwdefaults__, one.__dict__]
    if cls is Handle:  # it leads to all others
        return []
    if issubclass(cls, HandleObject):  # what is wrapped may lead to all that a provider has
        return [one._self_handle, one._self_parent]
    parts = gc.get_referents(one)
    if cls is FrameType:  # neither its caller, which may be running, nor its function
        return [part for part in parts if type(part) not in (FrameType, FunctionType)]
    for callback in _callbacks(one):
        parts.append(callback)
        if type(callback) is weakref.finalize:
            parts.append(callback.peek())
    return parts


# --- what runs code when it goes ------------------------------------------------------------------

_FRAMES: Final = {
    GeneratorType: "gi_frame",
    CoroutineType: "cr_frame",
    AsyncGeneratorType: "ag_frame",
}


def _destructs(cls: type) -> bool:
    """Return whether a class runs code of the program's when an object of it goes.

    What the standard library does then (closing a file, a warning) releases no handle.
    """
    module = str(_module(cls))
    if (module, cls.__name__) == ("_cffi_backend", "__CDataGCP"):  # what ffi.gc() returns
        return True
    return "__del__" in _members(cls) and module.partition(".")[0] not in sys.stdlib_module_names


def _callbacks(one: object) -> Iterator[Callable[..., object]]:
    """Yield what is called when an object goes; weak collections only tidy up then."""
    for reference in weakref.getweakrefs(one):
        callback: Any = reference.__callback__
        if callback is not None and (
            type(callback) is weakref.finalize
            or getattr(callback, "__module__", "") not in _WEAK_COLLECTIONS
        ):
            yield callback


# --- what leads to a handle -----------------------------------------------------------------------


def _handles_among(
    objects: Iterable[Any], near: Iterable[Any], wanted: set[Handle]
) -> Iterator[Handle]:
    """Yield the handles that are among objects, as the tracer's record or as a number.

    Args:
        objects: the objects.
        near: those among which a small number counts, too.
        wanted: the handles.
    """
    numbers: dict[int, list[Handle]] = {}
    for handle in wanted:
        numbers.setdefault(handle.value, []).append(handle)
    for one in near:
        if issubclass(type(one), int):
            yield from numbers.get(int.__int__(one), ())
    boxes = {handle.kind.name for handle in wanted}
    unboxed = BoxedCodec().value
    ctypes: Any = sys.modules.get("ctypes")
    memory = () if ctypes is None else (ctypes._SimpleCData.__base__,)
    for one in objects:
        cls: type = type(one)
        if issubclass(cls, int):
            number = int.__int__(one)
            if number >= _FEW:
                yield from numbers.get(number, ())
        elif cls is Handle:
            if one in wanted:
                yield one
        elif _module(cls) == "_cffi_backend":  # what is in its data cannot be read
            yield from wanted
        elif issubclass(cls, memory):
            content = memoryview(one).tobytes()
            for number, handles in numbers.items():
                if _is_in(number, content):
                    yield from handles
        elif cls.__name__ in boxes:
            yield from numbers.get(unboxed(one) or 0, ())


def _is_in(number: int, content: bytes) -> bool:
    if len(content) <= _WORD:
        return int.from_bytes(content, sys.byteorder) == number
    return _FEW <= number < 1 << 8 * _WORD and number.to_bytes(_WORD, sys.byteorder) in content


def _attributes(one: object) -> Iterator[Any]:
    """Yield what an object itself has, however it keeps its attributes."""
    for part in _parts(one):
        yield part
        if type(part) is dict:
            yield from part.values()
