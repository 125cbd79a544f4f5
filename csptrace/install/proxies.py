"""The wrapt proxies: around functions, around handle objects, around libraries.

All are transparent: `isinstance`, `repr`, equality, attributes and setting them, copies and pickles
work as on the wrapped object, and the class of a proxy passes for the wrapped object's. A proxy
never outlives what it wraps and never keeps more alive than the program does.
"""

from __future__ import annotations

import copy
import copyreg
import gc
import operator
import pickle
import sys
import threading
import types
import weakref
from functools import partial, update_wrapper
from itertools import compress
from typing import TYPE_CHECKING, Any

import wrapt

from csptrace.intercept.contract import Outcome, is_deliberate

if TYPE_CHECKING:
    from collections.abc import Callable

    from csptrace.graph.handle import Handle

__all__ = [
    "ForeignFunction",
    "HandleObject",
    "Proxy",
    "derived",
    "disguised",
    "function_proxy",
    "instances",
    "keep_for_ever",
    "module_function",
    "unwrap",
]


__tracebackhide__ = is_deliberate


_NAMED = (types.FunctionType, type)


class Proxy(wrapt.BaseObjectProxy):  # type: ignore[type-arg]
    """What all proxies have in common: how they are shown, copied and pickled."""

    def __repr__(self) -> str:
        """Return what the object itself says."""
        return repr(self.__wrapped__)

    def __copy__(self) -> Any:
        """Copy the object; what is its own copy (a function) gives this very proxy."""
        return self._self_or(copy.copy(self.__wrapped__))

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """Copy the object deeply; what is its own copy gives this very proxy."""
        return self._self_or(copy.deepcopy(self.__wrapped__, memo))

    def _self_or(self, copied: Any) -> Any:
        return self if copied is self.__wrapped__ else copied

    def __reduce__(self) -> Any:
        """Say what the object itself says to being pickled."""
        return self.__wrapped__.__reduce__()

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickle the object; a function by reference, as pickle does."""
        wrapped = self.__wrapped__
        reduced: Any
        reducer = copyreg.dispatch_table.get(type(wrapped))
        if isinstance(wrapped, _NAMED):
            reduced = wrapped.__qualname__  # pickle asks neither functions of Python nor classes
        elif reducer is not None:
            reduced = reducer(wrapped)
        elif not hasattr(wrapped, "__reduce_ex__"):  # of cffi, whose attributes are those of C
            reduced = pickle.dumps(wrapped, protocol)  # refuses, in the words of this version
        else:
            reduced = wrapped.__reduce_ex__(protocol)
        return _reference(self, wrapped, reduced) if isinstance(reduced, str) else reduced

    def __getstate__(self) -> Any:
        """Return the state of the object itself."""
        return self.__wrapped__.__getstate__()

    def __sizeof__(self) -> int:
        """Return what makes `sys.getsizeof`, which adds what is in front, say the object's size."""
        return sys.getsizeof(self.__wrapped__) - _IN_FRONT

    def __subclasscheck__(self, cls: type) -> bool:
        """Tell whether a class is derived from the wrapped one; classes of proxies as disguised."""
        return issubclass(_plain(cls), self.__wrapped__)


class _Nothing(Proxy):
    def __sizeof__(self) -> int:
        return 0


_IN_FRONT = sys.getsizeof(_Nothing(None))
"""The bytes that the interpreter keeps in front of each proxy."""


def _reference(own: Any, plain: Any, name: str) -> str | tuple[Any, ...]:
    """Return what pickle makes a reference of, which leads where the plain object's would.

    Pickle refuses to refer to what it does not find under its name. Where the plain object is (a
    module that defines what another one exports; tracing is over), or another tracer's proxy of it,
    the reference is written out as a call. Both sorts can be read by a process that traces, and by
    one that does not or has no csptrace.

    Args:
        own: what is pickled.
        plain: what it stands for.
        name: the qualified name to refer by.
    """
    from pkgutil import resolve_name  # noqa: PLC0415 - few programs pickle functions

    module = getattr(own, "__module__", None)
    try:
        # Of what names its module pickle of Python 3.14 wants to find this very object there.
        module = module or pickle.whichmodule(own, name)  # type: ignore[attr-defined] # not typed
        place = f"{module}:{name}"
        found = resolve_name(place)
    except Exception:  # noqa: BLE001 - pickle says better what is wrong
        return name
    if found is own:
        return name
    while issubclass(type(found), Proxy):
        found = found.__wrapped__
    return (resolve_name, (place,)) if found is plain else name


_OF_THE_PLAIN = frozenset(
    {
        *("__init__", "__del__", "__init_subclass__", "__class_getitem__", "__subclasshook__"),
        *("__reduce__", "__reduce_ex__", "__getstate__", "__dict__", "__doc__", "__module__"),
        *("__weakref__", "__slots__", "__class__"),
        *("__annotations__", "__annotate__", "__firstlineno__", "__static_attributes__"),
        *("__wrapped__", "__annotations_cache__", "__annotate_func__"),
    }
)
"""What classes say of themselves, or what makes and unmakes objects, to which nobody passes one."""


class _Guise(type(wrapt.BaseObjectProxy)):  # type: ignore[misc]
    """The class of proxy classes that pass for the class of what they wrap.

    What a program reads from such a class, sets on it, makes with it, derives from it or asks of it
    is read, set, made, derived or asked of the wrapped object's class. It equals that class, so
    that a table by types has it, but for the classes that pickle has in a table for what it refers
    to by name; see `Proxy.__reduce_ex__`.
    """

    def __new__(
        cls, name: str, bases: tuple[type, ...], members: dict[str, Any], **how: Any
    ) -> Any:
        if not any(type(base) is _Guise for base in bases):
            return super().__new__(cls, name, bases, members)
        plain = tuple(map(_plain, bases))
        return types.new_class(name, plain, how, lambda space: space.update(members))

    def __getattribute__(cls, name: str) -> Any:
        own = super().__getattribute__
        if name.startswith("_self_"):
            return own(name)
        plain = own("_self_type")
        if name == "__signature__":
            from inspect import signature  # noqa: PLC0415 - few programs ask for it

            return signature(plain)
        if name == "__new__":
            return partial(_new, plain.__new__)
        if name in ("__copy__", "__deepcopy__"):  # asked of classes, and passed the proxy
            return own(name)
        if name in own("_self_methods") and hasattr(plain, name):
            return own(name)  # a method of C refuses a proxy
        return getattr(plain, name)

    def __setattr__(cls, name: str, value: Any) -> None:
        setattr(cls._self_type, name, value)

    def __delattr__(cls, name: str) -> None:
        delattr(cls._self_type, name)

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return cls._self_type(*args, **kwargs)

    def __instancecheck__(cls, instance: Any) -> bool:
        wanted = cls._self_type
        return isinstance(instance, wanted) or any(
            issubclass(_plain(each), wanted)
            for each in (type(instance), instance.__class__)  # which a stand-in may have taken over
            if type(each) is _Guise
        )

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(_plain(subclass), cls._self_type)

    def __eq__(cls, other: object) -> bool:
        plain = cls._self_type
        if type(other) is _Guise:
            return bool(plain == other._self_type)
        return not issubclass(plain, _NAMED) and bool(plain == other)

    def __ne__(cls, other: object) -> bool:
        return not cls == other

    def __hash__(cls) -> int:
        return hash(cls._self_type)

    def __repr__(cls) -> str:
        return repr(cls._self_type)

    def __dir__(cls) -> list[str]:
        return dir(cls._self_type)


def _new(plain: Callable[..., Any], cls: type, *args: Any, **kwargs: Any) -> Any:
    return plain(_plain(cls), *args, **kwargs)


def _plain(cls: type) -> type:
    return cls._self_type if type(cls) is _Guise else cls


@partial(copyreg.pickle, _Guise)
def _pickled(guise: _Guise) -> str | tuple[Any, ...]:
    return _reference(guise, guise._self_type, guise.__qualname__)


def _document(proxy: Any, text: Any) -> None:
    proxy.__wrapped__.__doc__ = text


def _forget_document(proxy: Any) -> None:
    del proxy.__wrapped__.__doc__


# What documents the class may be what its objects are asked for it with: of a built-in function.
_documented = property(operator.attrgetter("__wrapped__.__doc__"), _document, _forget_document)


def disguised(proxy: type[Proxy], wrapped: type, members: dict[str, Any]) -> Callable[..., Any]:
    """Return what makes proxies whose class passes for another one.

    Args:
        proxy: the class of proxies to derive from.
        wrapped: the class of what is wrapped.
        members: what the class has besides; functions come to look like those they stand for.

    Returns:
        A function that takes what the class of proxies takes, and makes one.
    """
    for name, member in members.items():
        original = getattr(wrapped, name, None)
        if isinstance(member, types.FunctionType) and original is not None:
            update_wrapper(member, original)
            member.__module__ = getattr(original, "__module__", None)  # type: ignore[assignment]
    guise = _Guise(
        wrapped.__name__,
        (proxy,),
        {
            **members,
            "__module__": wrapped.__module__,
            "__qualname__": wrapped.__qualname__,
            "__doc__": _documented,
            "_self_type": wrapped,
            "_self_methods": frozenset(members).union(*map(vars, proxy.__mro__[:-1]))
            - _OF_THE_PLAIN,
        },
    )
    return partial(type.__call__, guise)


class ForeignFunction(Proxy):
    """A proxy around a foreign function. `function_proxy` makes them."""

    def __init__(self, wrapped: Any) -> None:
        super().__init__(wrapped)
        self._self_outcomes: threading.local | None = None
        self._self_errcheck: Any = None
        self._self_check_shim: Any = None
        self._self_restype: Any = None
        self._self_restype_shim: Any = None

    @property
    def _as_parameter_(self) -> Any:
        """The function pointer itself, so that the proxy can be cast and passed to C."""
        return self.__wrapped__

    # ctypes calls errcheck and a Python restype with the raw result, and what they return or
    # raise says nothing reliable about success. A shim notes the raw result first.

    @property
    def errcheck(self) -> Any:
        """The program's own `errcheck`."""
        found = self.__wrapped__.errcheck
        return self._self_errcheck if found is self._self_check_shim else found

    @errcheck.setter
    def errcheck(self, check: Any) -> None:
        if not callable(check):
            self.__wrapped__.errcheck = check  # ctypes says what is wrong with it
            return
        outcomes = self._self_noting()

        def noting(result: Any, _function: Any, arguments: Any) -> Any:
            # A Python restype has converted the result; its shim has just noted the raw one.
            raw = result if self._self_restype is None else outcomes.result
            try:
                return check(result, self, arguments)
            finally:  # the check may have called this very function
                outcomes.result, outcomes.noted = raw, True

        self.__wrapped__.errcheck = noting
        self._self_errcheck, self._self_check_shim = check, noting

    @errcheck.deleter
    def errcheck(self) -> None:
        del self.__wrapped__.errcheck
        self._self_errcheck = self._self_check_shim = None

    @property
    def restype(self) -> Any:
        """The program's own `restype`."""
        found = self.__wrapped__.restype
        return self._self_restype if found is self._self_restype_shim else found

    @restype.setter
    def restype(self, restype: Any) -> None:
        if isinstance(restype, type) or not callable(restype):
            self.__wrapped__.restype = restype
            self._self_restype = self._self_restype_shim = None
            return
        outcomes = self._self_noting()

        def noting(result: int) -> Any:
            outcomes.result, outcomes.noted = result, True
            return restype(result)

        self.__wrapped__.restype = noting
        self._self_restype, self._self_restype_shim = restype, noting

    @restype.deleter
    def restype(self) -> None:
        del self.__wrapped__.restype
        self._self_restype = self._self_restype_shim = None

    def _self_noting(self) -> threading.local:
        if self._self_outcomes is None:
            self._self_outcomes = threading.local()
        return self._self_outcomes

    def _self_restore(self) -> Any:
        """Take the shims off the wrapped function and return it; calls go there from now on."""
        function = self.__wrapped__
        # Who keeps the proxy keeps nothing of the tracer, and nobody else keeps the function.
        type.__setattr__(type(self), "__call__", _passed_on)
        if self._self_check_shim is not None and function.errcheck is self._self_check_shim:
            function.errcheck = self._self_errcheck
        if self._self_restype_shim is not None and function.restype is self._self_restype_shim:
            function.restype = self._self_restype
        self._self_check_shim = self._self_restype_shim = None
        return function


def _passed_on(proxy: ForeignFunction, *args: Any, **kwargs: Any) -> Any:
    return proxy.__wrapped__(*args, **kwargs)


def function_proxy(
    wrapped: Any,
    compiled: Callable[[Callable[[bool], Outcome | None] | None], Callable[..., Any]],
) -> ForeignFunction:
    """Wrap a foreign function in a proxy whose call goes straight to a compiled function.

    The compiled function stands as a static method on a class of the proxy's own, which saves
    half of the cost of a call against a look-up through the instance (0.33 instead of 0.70 of
    what a bare `wrapt.FunctionWrapper` adds; CPython 3.11 to 3.13).

    Args:
        wrapped: the foreign function (ctypes function pointer, cffi function).
        compiled: gets the accessor of raw results (`None` where the binding has no errcheck) and
            returns the function to be called.

    Returns:
        The proxy.
    """
    probe: list[weakref.ref[ForeignFunction]] = []
    has_errcheck = hasattr(wrapped, "errcheck")

    def outcome(returned: bool) -> Outcome | None:
        """Return and forget the raw result of this thread's last call, if a shim noted it.

        Args:
            returned: whether the call returned instead of raising.
        """
        proxy = probe[0]()
        if proxy is None:
            return None
        outcomes = proxy._self_outcomes
        if outcomes is not None and getattr(outcomes, "noted", False):
            outcomes.noted = False
            return Outcome(outcomes.result)
        if returned and proxy.__wrapped__.restype is None:
            # The program threw the result away: believe the out parameter.
            return Outcome(1)
        return None

    call = compiled(outcome if has_errcheck else None)
    proxy: ForeignFunction = _calling(call, wrapped)
    probe.append(weakref.ref(proxy))
    if has_errcheck:
        errcheck, restype = wrapped.errcheck, wrapped.restype
        if errcheck is not None:
            proxy.errcheck = errcheck
        if restype is not None and not isinstance(restype, type):
            proxy.restype = restype
    return proxy


class HandleObject(Proxy):
    """A proxy around a handle object of a Python API. Subclasses carry the traced methods."""

    def __init__(
        self,
        wrapped: Any,
        handle: Handle,
        parent: HandleObject | None,
        collected: Callable[[HandleObject], None],
    ) -> None:
        super().__init__(wrapped)
        self._self_handle = handle
        self._self_parent: HandleObject | None = parent
        self._self_held = False
        self._self_way: Any = None
        self._self_collected: Callable[[HandleObject], None] | None = collected

    def __eq__(self, other: object) -> bool:
        """Compare as the wrapped objects do."""
        return bool(self.__wrapped__ == unwrap(other))

    def __ne__(self, other: object) -> bool:
        """Compare as the wrapped objects do."""
        return bool(self.__wrapped__ != unwrap(other))

    def __hash__(self) -> int:
        """Hash as the wrapped object does."""
        return hash(self.__wrapped__)

    def __del__(self) -> None:
        """Report that the program's last reference is gone."""
        collected = getattr(self, "_self_collected", None)
        if collected is not None:
            collected(self)


def module_function(wrapped: Any, call: Callable[..., Any]) -> Any:
    """Wrap a function of a Python module in a proxy that calls a compiled function instead."""
    return _calling(call, wrapped)


def _calling(call: Callable[..., Any], wrapped: Any) -> Any:
    make = disguised(ForeignFunction, type(wrapped), {"__call__": staticmethod(call)})
    return make(wrapped)


def instances(*classes: type) -> list[Any]:
    """Return the objects of classes, and of those derived from them, that exist now.

    It looks at every object that there is; ask for all classes at once.
    """
    # The exact type is compared, not isinstance asked: that asks objects for __class__, which
    # wakes lazy proxies of the program.
    wanted = derived(*classes)
    everything = gc.get_objects()
    return list(compress(everything, map(wanted.__contains__, map(id, map(type, everything)))))


def derived(*classes: type) -> dict[int, type]:
    """Return classes and all classes that are derived from them now, by their ids.

    A metaclass of the program may have taken the hash from its classes.
    """
    found: dict[int, type] = {}
    waiting = list(classes)
    while waiting:
        one = waiting.pop()
        if id(one) not in found:
            found[id(one)] = one
            waiting += type.__subclasses__(one)
    return found


def keep_for_ever(wrapped: Any) -> None:
    """Keep an object alive until the process ends, so that its destructor never runs."""
    # A list would be emptied at interpreter shutdown, and the destructors would run after all.
    import ctypes  # noqa: PLC0415 - only where a quarantine is needed

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(wrapped))


_PLAIN = frozenset({int, str, bytes, type(None), float})


def unwrap(argument: Any) -> Any:
    """Return an argument with every handle proxy replaced by its object.

    Args:
        argument: anything; dicts, lists and tuples are searched at every depth, and copied only
            if a proxy is found inside.

    Returns:
        The argument itself if no proxy is in it.
    """
    cls = type(argument)
    if cls in _PLAIN:
        return argument
    if issubclass(cls, HandleObject):
        return argument.__wrapped__
    if issubclass(cls, dict):
        if any(unwrap(value) is not value for value in argument.values()):
            return {key: unwrap(value) for key, value in argument.items()}
    elif issubclass(cls, list | tuple) and any(unwrap(value) is not value for value in argument):
        return (list if issubclass(cls, list) else tuple)(map(unwrap, argument))
    return argument
