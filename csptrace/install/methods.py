"""Python classes whose methods take and return numbers that belong to the object.

The same number in two objects is two handles, so the tables know a number together with the serial
number of its object. The engine sees a method as the C function that it stands for, with such
numbers in place of the arguments; the method itself gets what the program passed.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import weakref
from typing import TYPE_CHECKING, Any, Final

from csptrace.errors import ActivationError
from csptrace.graph.sites import COLLECTION, CallSite
from csptrace.graph.states import LIVE, NUMBER_BITS
from csptrace.intercept.arguments import Signature
from csptrace.intercept.contract import Sheltered, is_deliberate
from csptrace.intercept.interceptor import compile_call
from csptrace.intercept.object_codecs import ObjectCodec
from csptrace.spec.bindings import Collects

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from csptrace.graph.handle import Handle
    from csptrace.intercept.contract import Arguments, Finder, LastError
    from csptrace.spec.bindings import Binding, Methods, Shape, Spec
    from csptrace.spec.kinds import Kind

__all__ = ["MethodsPatcher"]

__tracebackhide__ = is_deliberate

_MASK: Final = (1 << NUMBER_BITS) - 1


class _Number:
    """A number of one object: the key that the tables know it by, and what the program has."""

    __slots__ = ("key", "number", "own")

    def __init__(self, key: int, number: int, own: Any) -> None:
        self.key = key
        self.number = number
        self.own = own


class _Items(tuple[Any, ...]):  # noqa: SLOT001 - a subclass of tuple can have none
    """What a method has returned, with keys for the handles that are among it."""

    own: Any

    @classmethod
    def of(cls, items: list[Any], own: Any) -> _Items:
        """Return the items, with the tuple that the program gets."""
        made = cls(items)
        made.own = own
        return made


class _Codec(ObjectCodec):
    """Reads the arguments: conditions are about the program's numbers."""

    def value(self, argument: Any) -> int | None:
        """Return an int argument, 0 for `None`."""
        return argument.number if type(argument) is _Number else super().value(argument)

    def stored(self, argument: Any) -> int | None:
        """Return the key of the object that a constructor has initialised."""
        return argument.key if type(argument) is _Number else None


class _Keys:
    """Finds handles by the keys of numbers."""

    def __init__(self, monitor: Any) -> None:
        self._monitor = monitor

    def finder(self, kind: Kind) -> Finder:
        """Return a function argument → handle."""
        get = self._monitor.table(kind).get
        return lambda argument: get(argument.key) if type(argument) is _Number else None

    def value(self, kind: Kind, argument: Any) -> int | None:
        """Return the key, `None` for a null number or what is none."""
        if type(argument) is not _Number or argument.number in kind.null:
            return None
        return argument.key

    def adopt(self, result: Any, handle: Handle, args: Arguments) -> Any:  # noqa: ARG002
        """Return the result as it is."""
        return result


class _Owners:
    """Numbers the objects of one class, without a mark on them, and notes when they are gone.

    Args:
        gone: is given the serial number of an object whose last reference went.
    """

    def __init__(self, gone: Callable[[int], None]) -> None:
        self._gone = gone
        self._serials = itertools.count(1)
        self._known: dict[int, tuple[weakref.ref[Any], int]] = {}

    def serial(self, owner: Any) -> int:
        """Return the number of an object, the same as long as it exists."""
        where = id(owner)
        known = self._known.get(where)
        if known is None:
            serial = next(self._serials)
            reference = weakref.ref(owner, functools.partial(self._forget, where, serial))
            # Another thread may have been faster; then its number holds.
            known = self._known.setdefault(where, (reference, serial))
        return known[1]

    def _forget(self, where: int, serial: int, _reference: object) -> None:
        self._known.pop(where, None)
        self._gone(serial)


class MethodsPatcher:
    """Patches the classes of one module, in place.

    Args:
        spec: the API.
        binding: how this module reaches it.
        target: the binding's target.
        monitor: what the patched methods report to.
        last_error: saves the thread's last error, where there is one.
        note: notes how to take something back.
    """

    def __init__(
        self,
        spec: Spec,
        binding: Binding,
        target: Methods,
        monitor: Any,
        last_error: LastError | None,
        note: Callable[[str, Callable[[], None]], None],
    ) -> None:
        self._spec = spec
        self._binding = binding
        self._target = target
        self._monitor = monitor
        self._last_error = last_error
        self._note = note
        self._calls = spec.by_name() | {name: row for row in binding.rows for name in row.names}
        self._codec = _Codec()
        self._keys = _Keys(monitor)
        self._made: list[Callable[..., Any]] = []

    @property
    def functions(self) -> int:
        """How many methods are patched."""
        return len(self._made)

    def patch(self, module: ModuleType) -> None:
        """Patch the methods that a module's classes have.

        Args:
            module: the module.

        Raises:
            ActivationError: objects of a class cannot be told from others.
        """
        for name, kind in self._target.classes.items():
            cls = getattr(module, name, None)
            if cls is None:  # another version of the binding
                continue
            if not cls.__weakrefoffset__:
                raise ActivationError(
                    f"{module.__name__}.{name}: its objects allow no weak reference, so that it "
                    "could not be noticed when one is gone; a binding with Methods needs that"
                )
            owners = _Owners(functools.partial(self._gone, kind))
            for shape in self._binding.shapes.values():
                owner, _, method = shape.python.partition(".")
                original = inspect.getattr_static(cls, method, None) if owner == name else None
                # An inherited method of another class here is traced already.
                if original is None or original in self._made:
                    continue
                if isinstance(original, staticmethod | classmethod):
                    raise ActivationError(
                        f"{module.__name__}.{shape.python} is called without an object; Methods "
                        "trace what is called on one"
                    )
                self._replace(cls, method, self._traced(shape, original, owners))

    def _replace(self, cls: type, name: str, replacement: Callable[..., Any]) -> None:
        """Set a method, which may be inherited, and note how to take it back."""
        own = vars(cls).get(name)
        setattr(cls, name, replacement)
        self._made.append(replacement)

        def undo() -> None:
            # Somebody may have patched on top; then ours stays below theirs and passes through.
            if vars(cls).get(name) is replacement:
                if own is None:
                    delattr(cls, name)
                else:
                    setattr(cls, name, own)

        self._note(f"{cls.__module__}.{cls.__qualname__}.{name}", undo)

    def _traced(
        self, shape: Shape, original: Callable[..., Any], owners: _Owners
    ) -> Callable[..., Any]:
        monitor, keyed = self._monitor, frozenset(own for own, c_name in shape.arguments if c_name)
        places = [own in keyed for own, _ in shape.arguments]
        method = shape.python.rpartition(".")[2]
        site = CallSite(method, self._spec.name, self._binding.name)
        outs = [item not in ("?", "_") for item in shape.items]

        def native(target: _Number, *args: Any, **kwargs: Any) -> Any:
            result = original(
                target.own,
                *[each.own if type(each) is _Number else each for each in args],
                **{
                    name: each.own if type(each) is _Number else each
                    for name, each in kwargs.items()
                },
            )
            if shape.result:
                return _within(target.key, result)
            if outs and isinstance(result, tuple):
                items = list(result)
                for at, is_out in enumerate(outs[: len(items)]):
                    if is_out:
                        items[at] = _within(target.key, items[at])
                return _Items.of(items, result)
            return result

        compiled = compile_call(
            self._calls[shape.call],
            site,
            native,
            Signature.of_shape(shape),
            self._binding.success,
            self._codec,
            monitor,
            handles=self._keys,
            last_error=self._last_error,
        )

        def call(target: Any, *args: Any, **kwargs: Any) -> Any:
            serial = 0
            if monitor.active:
                with Sheltered(monitor, site):
                    serial = owners.serial(target)
            if not serial:
                return original(target, *args, **kwargs)
            result = compiled(
                _Number(serial, serial, target),
                *[
                    _within(serial, each) if at < len(places) and places[at] else each
                    for at, each in enumerate(args)
                ],
                **{
                    name: _within(serial, each) if name in keyed else each
                    for name, each in kwargs.items()
                },
            )
            return result.own if type(result) in (_Number, _Items) else result

        return functools.update_wrapper(call, original)

    def _gone(self, kind: Kind, serial: int) -> None:
        """Report that the last reference to an object is gone."""
        monitor = self._monitor
        if not monitor.active:
            return
        site = CallSite(COLLECTION, self._spec.name, self._binding.name)
        with Sheltered(monitor, site):
            handle = monitor.table(kind).get(serial)
            if handle is not None and handle.state == LIVE:
                released = self._binding.on_collect is Collects.RELEASES
                monitor.collected(handle, site, released=released)


def _within(serial: int, value: Any) -> Any:
    """Return a number as one of an object's, anything else as it is."""
    if issubclass(type(value), int):
        number = int.__and__(value, _MASK)
        return _Number(serial << NUMBER_BITS | number, number, value)
    return value
