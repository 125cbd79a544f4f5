"""Python modules whose objects stand for loaded libraries, and for what is in them.

Handles are numbers of the library here, carried by objects: an object that a traced call handed
out knows its handle, so that it is told from a newer one with the same number; any other is found
by its number. Classes that can be patched are patched in place, those of C extension types are
wrapped when they are handed out.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import operator
import sys
import types
import weakref
from typing import TYPE_CHECKING, Any, Final, Protocol

from csptrace.graph.sites import COLLECTION, CallSite, UnloadableSite
from csptrace.graph.states import LIVE, RELEASED, UNTRACKED
from csptrace.install.proxies import HandleObject, disguised, keep_for_ever, module_function, unwrap
from csptrace.intercept.arguments import Signature
from csptrace.intercept.contract import THE_LIBRARY, Guards, Sheltered, is_deliberate
from csptrace.intercept.interceptor import compile_call, compile_own_use, only_uses
from csptrace.loader import file_of
from csptrace.spec.bindings import LibraryObjects
from csptrace.spec.effects import Acquires
from csptrace.spec.kinds import OWNER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType, ModuleType

    from csptrace.graph.handle import Handle
    from csptrace.install.existing import Existing
    from csptrace.intercept.codecs import Codec as ArgumentCodec
    from csptrace.intercept.contract import Arguments, Finder
    from csptrace.spec.bindings import Binding, Shape, Spec
    from csptrace.spec.calls import Call
    from csptrace.spec.kinds import Kind

__all__ = ["LibraryMonitor", "LibraryPatcher"]

__tracebackhide__ = is_deliberate

_HANDLE: Final = "_csptrace_handle"
_WAY: Final = "_csptrace_way"
_DONE: Final = object()
_PLAIN: Final = frozenset({int, str, bytes, type(None), bool})
_serials = itertools.count(1)


class _Belongs(tuple[Any, ...]):
    """A note on an object of the program's: the way that it came, and what keeps that open.

    It goes with copies of the object, and stands for nothing in another process.
    """

    __slots__ = ()

    def __deepcopy__(self, _memo: dict[int, Any]) -> _Belongs:
        return self

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        return type(None), ()


class LibraryMonitor(Protocol):
    """What patched library objects report besides calls."""

    def collected(self, handle: Handle, site: CallSite, *, released: bool) -> None:
        """Note, from a finalizer and without taking a lock, that an object is gone."""

    def let_go(self, handle: Handle, site: CallSite) -> None:
        """Note, as `collected`, that an object is gone which carries the number of a handle."""

    def lost(
        self, kind: Kind, parent: Handle | None, site: CallSite, frame: FrameType | None
    ) -> None:
        """Report a handle of which nobody was told the value."""


class LibraryPatcher:
    """Patches one module with library objects.

    Args:
        spec: the API.
        binding: how this module reaches it.
        target: the binding's target.
        monitor: what the patched functions report to.
        codec: how numbers are carried.
        scoped: gives the spec as it holds for one library.
        replace: sets an attribute and notes how to take it back.
        note: notes something else to be undone.
    """

    def __init__(
        self,
        spec: Spec,
        binding: Binding,
        target: LibraryObjects,
        monitor: Any,
        codec: ArgumentCodec,
        scoped: Callable[[Spec, str], Spec],
        replace: Callable[[Any, str, Any], None],
        note: Callable[[str, Callable[[], None]], None],
    ) -> None:
        self.spec = spec
        self.binding = binding
        self.target = target
        self.monitor: Any = monitor
        self.codec = codec
        self.functions = 0
        self._scoped = scoped
        self._replace = replace
        self._note = note
        self._owners: weakref.WeakKeyDictionary[Any, _Way] = weakref.WeakKeyDictionary()
        self._number = {
            name: operator.attrgetter(path) for name, path in self.target.values.items()
        }

    def patch(self, module: ModuleType) -> None:
        """Patch a module."""
        self.module = module
        self.functions += sum("." in name for name in self.binding.shapes)
        if self.target.owner in self.target.proxied:
            self._patch_constructor(module)
            self._patch_classes(module)
            for name in self.target.unwrapped_for:
                self._patch_taker(getattr(module, name))
        else:
            self._patch_loaders(getattr(module, self.target.owner))
            self._note(f"{module.__name__}.{self.target.owner} objects", self._restore_owners)

    def holders(self) -> tuple[type, ...]:
        """Return the classes of what knows which files the existing owners load."""
        where, _, rest = self.target.finds.partition(".")
        holder = getattr(sys.modules.get(where), rest.partition(".")[0], None)
        return () if holder is None else (holder,)

    def adopt(self, existing: Existing) -> None:
        """Patch the libraries that were loaded through the module before.

        Args:
            existing: what there is.
        """
        if self.target.owner in self.target.proxied:
            self._adopt_registry()
        else:
            self._adopt_found(existing)

    def way(self, file: str, serial: int | None = None) -> _Way:
        """Return a way into a library.

        Args:
            file: the name that it was loaded by.
            serial: the number of the object that is the way; a new one if not given.
        """
        spec = self._scoped(self.spec, file_of(file, self.spec.marker))
        binding = next(each for each in spec.bindings if each.name == self.binding.name)
        return _Way(self, spec, binding, next(_serials) if serial is None else serial)

    def sheltered(self, what: str) -> Sheltered:
        """Return what keeps a bug of the tracer from the program.

        Args:
            what: what is done, as a complaint names it.
        """
        return Sheltered(self.monitor, CallSite(what, self.spec.name, self.binding.name))

    # --- owners that can be patched -----------------------------------------------------------

    def _patch_loaders(self, owner: type) -> None:
        for name in self.target.loads:
            original = vars(owner)[name]
            self._replace(owner, name, self._loader(name, original))
        for name in self.target.copies:
            original = vars(owner)[name]
            self._replace(owner, name, self._copier(original))

    def _loader(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        shape = self.binding.shapes[f"{self.target.owner}.{name}"]
        at = [own for own, _ in shape.arguments].index(self.target.file)

        def load(owner: Any, *args: Any, **kwargs: Any) -> Any:
            result = original(owner, *args, **kwargs)
            if self.monitor.active:
                with self.sheltered(name):
                    file = args[at] if len(args) > at else kwargs.get(self.target.file)
                    way = self.way(str(file))
                    way.compile(shape, lambda *_args, **_kwargs: result)(owner, *args, **kwargs)
                    self._install(owner, way)
            return result

        return functools.update_wrapper(load, original)

    def _copier(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def copy(owner: Any, other: Any) -> Any:
            result = original(owner, other)
            with self.sheltered("copy"):
                way = self._owners.get(other)
                if way is not None and self.monitor.active:
                    self._install(owner, way)
            return result

        return functools.update_wrapper(copy, original)

    def _install(self, owner: Any, way: _Way) -> None:
        """Give one owner functions of its own, which know its library without looking.

        They call the class's functions with what SWIG takes for the object, not with the object,
        which would keep itself alive.
        """
        self._owners[owner] = way
        cls, inner = type(owner), owner.this
        for shape in self.binding.shapes.values():
            name = shape.python.rpartition(".")[2]
            if name not in (*self.target.loads, *self.target.copies) and hasattr(cls, name):
                native = functools.partial(getattr(cls, name), inner)
                vars(owner)[name] = _without_receiver(way, shape, native)

    def _restore_owners(self) -> None:
        for owner in list(self._owners):
            for shape in self.binding.shapes.values():
                vars(owner).pop(shape.python.rpartition(".")[2], None)

    def _adopt_found(self, existing: Existing) -> None:
        """Install on the owners that exist already, where something knows which file they load."""
        attribute, _, file = self.target.finds.partition(".")[2].partition(".")[2].partition(".")
        for found in existing.of(*self.holders()):
            name = getattr(found, file, None)
            if name:
                way = self.way(name)
                way.borrow()
                self._install(getattr(found, attribute), way)

    # --- owners that are wrapped --------------------------------------------------------------

    def _patch_constructor(self, module: ModuleType) -> None:
        name = self.target.owner
        original = vars(module)[name]
        shape = self.binding.shapes[name]

        def construct(*args: Any, **kwargs: Any) -> Any:
            raw = original(*args, **kwargs)
            if not self.monitor.active:
                return raw
            with self.sheltered(name):
                way = self.way(getattr(raw, self.target.file))
                return way.compile(shape, lambda *_args, **_kwargs: raw)(*args, **kwargs)
            return raw

        self._replace(module, name, module_function(original, construct))

    def _patch_classes(self, module: ModuleType) -> None:
        """Patch the Python classes in place; each object says which library it belongs to."""
        for shape in self.binding.shapes.values():
            owner, dot, method = shape.python.partition(".")
            if not dot or owner in self.target.proxied or not hasattr(module, owner):
                continue
            cls = getattr(module, owner)
            if method not in vars(cls):  # another version of the binding
                continue
            self._replace(cls, method, self._dispatcher(shape.python, vars(cls)[method]))

    def _patch_taker(self, cls: Any) -> None:
        """Let the constructor of a class take wrapped objects, and mark what it makes."""
        original = cls.__init__

        def construct(target: Any, *args: Any, **kwargs: Any) -> None:
            original(target, *map(unwrap, args), **unwrap(kwargs))
            with self.sheltered(cls.__name__):
                for argument in args:
                    way = getattr(argument, "_self_way", None)
                    if way is not None:
                        way._mark(target, None, (argument,))

        cls.__init__ = functools.update_wrapper(construct, original)

        def undo() -> None:
            if vars(cls).get("__init__") is construct:
                del cls.__init__

        self._note(f"{cls.__module__}.{cls.__qualname__}.__init__", undo)

    def _dispatcher(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        monitor = self.monitor

        def dispatch(target: Any, *args: Any, **kwargs: Any) -> Any:
            way = target.__dict__.get(_WAY)
            if way is None or not monitor.active:
                return original(target, *args, **kwargs)
            traced = way[0].methods.get(name)
            if traced is None:
                traced = plain = _unwrapping(original)
                with self.sheltered(name):
                    traced = way[0].method(way[0].binding.shapes[name], plain)
                way[0].methods[name] = traced
            return traced(target, *args, **kwargs)

        return functools.update_wrapper(dispatch, original)

    def _adopt_registry(self) -> None:
        """Wrap the owners that a dictionary of the module keeps, and take them out again."""
        where, _, name = self.target.registry.rpartition(".")
        registry = getattr(sys.modules.get(where), name, None)
        if not registry and registry is None:
            self._note(f"{self.target.registry}", self._restore_registry)
            return
        for key, raw in list(registry.items()):
            way = self.way(getattr(raw, self.target.file))
            way.borrow()
            registry[key] = way.wrap(raw, self.target.owner)
        self._note(f"{self.target.registry}", self._restore_registry)

    def _restore_registry(self) -> None:
        where, _, name = self.target.registry.rpartition(".")
        for key, value in list(getattr(sys.modules.get(where), name, {}).items()):
            if issubclass(type(value), HandleObject):
                value._self_collected = None
                getattr(sys.modules[where], name)[key] = value.__wrapped__


def _calling_module() -> str:
    """Return the name of the module of the innermost function that is not of csptrace."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if name.partition(".")[0] != "csptrace":
            return name
        frame = frame.f_back
    return __name__


def _without_receiver(way: _Way, shape: Shape, native: Callable[..., Any]) -> Callable[..., Any]:
    return way.compile(shape, native, receiver=False)


def _unwrapping(function: Callable[..., Any]) -> Callable[..., Any]:
    def native(*args: Any, **kwargs: Any) -> Any:
        if kwargs:
            kwargs = unwrap(kwargs)
        return function(*[a if type(a) in _PLAIN else unwrap(a) for a in args], **kwargs)

    return native


def _calling(method: str) -> Callable[..., Any]:
    def native(proxy: HandleObject, *args: Any, **kwargs: Any) -> Any:
        if kwargs:
            kwargs = unwrap(kwargs)
        # Never an unbound method of an extension type: a wrong receiver crashes it.
        return getattr(proxy.__wrapped__, method)(
            *[a if type(a) in _PLAIN else unwrap(a) for a in args], **kwargs
        )

    return native


class _Way:
    """One way into one library: its handles, its guards, and what is compiled for it."""

    def __init__(self, patcher: LibraryPatcher, spec: Spec, binding: Binding, serial: int) -> None:
        self.patcher = patcher
        self.spec = spec
        self.binding = binding
        self.monitor: Any = patcher.monitor
        self.serial = serial
        target = binding.target
        assert isinstance(target, LibraryObjects)  # noqa: S101 - for the type checker
        self.target = target
        self.module_kind = target.classes[target.owner]
        self.library = spec.library
        self.guards: Guards = ((self.monitor.table(self.module_kind).get, serial),)
        if self.library is not None:
            self.guards += ((self.monitor.table(self.library).get, THE_LIBRARY),)
        self.methods: dict[str, Callable[..., Any]] = {}
        self._rows = {
            **spec.by_name(),
            **{name: row for row in binding.rows for name in row.names},
        }
        self._proxies: weakref.WeakValueDictionary[int, HandleObject] = (
            weakref.WeakValueDictionary()
        )
        self._getters: dict[type, Callable[[Any], Any] | None] = {}
        self._boxes: dict[int, weakref.ref[Any]] = {}
        self._members = {name: self._methods(name) for name in target.proxied}
        self._makers: dict[tuple[str, type], Callable[..., Any]] = {}
        self._own = {name: self._own_uses(name) for name in target.proxied}

    def borrow(self) -> None:
        """Enter the module and the library, which were loaded before tracing began."""
        self.monitor.borrowed(self.module_kind, self.serial)
        if self.library is not None:
            self.monitor.borrowed(self.library, THE_LIBRARY)

    # --- Handles protocol ---------------------------------------------------------------------

    def finder(self, kind: Kind) -> Finder:
        """Return a function argument → handle: by the object if it knows, by number if not."""
        get, number = self.monitor.table(kind).get, self._number_of
        proxied = any(self.target.classes[name] is kind for name in self.target.proxied)

        if proxied:

            def find_proxy(argument: Any) -> Handle | None:
                if issubclass(type(argument), HandleObject):
                    handle: Handle = argument._self_handle
                    if handle.kind is kind:
                        return handle
                return get(number(argument))  # type: ignore[no-any-return]

            return find_proxy

        def find(argument: Any) -> Handle | None:
            try:
                handle: Handle | None = argument.__dict__.get(_HANDLE)
            except AttributeError:
                handle = None
            if handle is not None and handle.kind is kind and handle.state != UNTRACKED:
                return handle
            return get(number(argument))  # type: ignore[no-any-return]

        return find

    def value(self, kind: Kind, argument: Any) -> int | None:
        """Return the number that an argument carries, `None` for a null one."""
        number = self._number_of(argument)
        return None if number is None or number in kind.null else number

    def _number_of(self, argument: Any) -> int | None:
        cls = type(argument)
        if issubclass(cls, HandleObject):
            argument = argument.__wrapped__
            cls = type(argument)
        if cls is int:
            return int(argument)
        if not self.target.values:
            return self.patcher.codec.value(argument)
        try:
            getter = self._getters[cls]
        except KeyError:
            getter = self._getters[cls] = self._getter(cls)
        if getter is not None:
            return int(getter(argument))
        return self.patcher.codec.value(argument)

    def _getter(self, cls: type) -> Callable[[Any], Any] | None:
        for name, getter in self.patcher._number.items():
            known = getattr(self.patcher.module, name, None)
            if isinstance(known, type) and issubclass(cls, known):
                return getter
        return None

    def adopt(self, result: Any, handle: Handle, args: Arguments) -> Any:
        """Return what the program gets for an object that stands for a new handle."""
        for name in self.target.proxied:
            if self.target.classes[name] is handle.kind and type(result).__name__ == name:
                proxy = self._proxy(name, result, handle)
                proxy._self_way = self
                for method, site in self._own[name].items():
                    native = getattr(result, method, None)
                    if native is not None:
                        own = compile_own_use(site, handle, native, unwrap, self.monitor)
                        setattr(proxy, method, own)
                return proxy
        if self.target.proxied:
            return result if handle.kind is self.library else self._mark(result, handle, args)
        for argument in args:  # a box that was passed for the result
            known = self.target.classes.get(type(argument).__name__)
            if known is handle.kind and self._number_of(argument) == handle.value:
                argument.__dict__[_HANDLE] = handle
                if handle.must_release and not handle.kind.implied:
                    self._watch_box(argument, handle)
        return result

    def _watch_box(self, box: Any, handle: Handle) -> None:
        """Notice when an object is gone that a call has filled with the number of a handle."""
        where, boxes, monitor = id(box), self._boxes, self.monitor
        site = CallSite(COLLECTION, self.spec.name, self.binding.name)

        def gone(_reference: object) -> None:
            boxes.pop(where, None)
            if monitor.active:
                with Sheltered(monitor, site):
                    monitor.let_go(handle, site)

        boxes[where] = weakref.ref(box, gone)

    def _mark(self, result: Any, handle: Handle | None, args: Arguments) -> Any:
        """Write on a Python object which library, session and handle it belongs to."""
        marks: dict[str, Any] | None = getattr(result, "__dict__", None)
        if marks is None:
            return result
        if type(result).__module__ == __name__:  # a class made on the fly, by whoever calls
            type(result).__module__ = _calling_module()
        keeper = args[0] if args else None
        if keeper is not None and not isinstance(keeper, HandleObject):
            keeper = (keeper.__dict__.get(_WAY) or (None, None))[1]
        marks[_WAY] = _Belongs((self, keeper))  # the object keeps the session alive anyway
        if handle is not None:
            marks[_HANDLE] = handle
        return result

    # --- wrapping -----------------------------------------------------------------------------

    def wrap(self, raw: Any, name: str, args: Arguments = ()) -> Any:
        """Return what the program gets for an object that was not acquired by the call."""
        if name not in self.target.proxied:
            return self._mark(raw, None, args)
        if args and isinstance(args[0], HandleObject) and args[0].__wrapped__ is raw:
            return args[0]
        known = self._proxies.get(id(raw))
        if known is not None and known.__wrapped__ is raw:
            return known
        kind = self.target.classes[name]
        if name == self.target.owner:
            handle = self.monitor.table(kind).get(self.serial)
        else:
            handle = None
            number = self._number_of(raw)
            if number is not None:
                handle = self.monitor.borrowed(kind, number)
        if handle is None:
            return raw
        proxy = self._proxy(name, raw, handle)
        self._proxies[id(raw)] = proxy
        return proxy

    def _proxy(self, name: str, raw: Any, handle: Handle) -> HandleObject:
        key = name, type(raw)
        make = self._makers.get(key)
        if make is None:
            make = self._makers[key] = disguised(HandleObject, type(raw), self._members[name])
        proxy: HandleObject = make(raw, handle, None, self._collected)
        return proxy

    def _methods(self, name: str) -> dict[str, Any]:
        members: dict[str, Any] = {}
        for shape in self.binding.shapes.values():
            owner, dot, method = shape.python.partition(".")
            if dot and owner == name:
                own = getattr(getattr(self.patcher.module, name), method, None)
                if shape.python in self.target.inline and isinstance(own, types.FunctionType):
                    members[method] = own
                    continue
                members[method] = traced = self.method(shape, _calling(method))
                traced.__name__, traced.__qualname__ = method, shape.python
        for link, cls in self.target.links.items():
            owner, _, attribute = link.partition(".")
            if owner == name:
                members[attribute] = property(functools.partial(self._linked, attribute, cls))
        return members

    def _own_uses(self, name: str) -> dict[str, CallSite]:
        """Return the methods of a class that only use the object's own handle."""
        if self.monitor.touches:
            return {}
        return {
            method: self._site(shape)
            for shape in self.binding.shapes.values()
            for owner, _, method in (shape.python.partition("."),)
            if owner == name
            and not (shape.returns or shape.steps or method.startswith("__"))
            and [use.param for use in only_uses(self._rows[shape.call])] == [shape.receiver]
        }

    def _linked(self, attribute: str, cls: str, proxy: HandleObject) -> Any:
        found = getattr(proxy.__wrapped__, attribute)
        with self.patcher.sheltered(f"{cls}.{attribute}"):
            return self.wrap(found, cls)
        return found

    def _collected(self, proxy: HandleObject) -> None:
        """Report that the last reference to a wrapped object is gone."""
        monitor, handle = self.monitor, proxy._self_handle
        if not monitor.active:
            return
        site = CallSite(COLLECTION, self.spec.name, self.binding.name)
        with Sheltered(monitor, site):
            if handle.kind is self.module_kind:
                if handle.state != LIVE:  # unloaded: the library that is there is another life's
                    return
                # Its destructor finalises and unloads.
                for get, value in reversed(self.guards):
                    known = get(value)
                    if known is not None and known.state == LIVE:
                        monitor.collected(known, site, released=True)
            elif handle.must_release:
                monitor.collected(handle, site, released=False)

    # --- compiling ----------------------------------------------------------------------------

    def _site(self, shape: Shape) -> CallSite:
        """Return what a callable is named in reports, and what tells whether its code is there.

        The owner knows whether it is unloaded. The other objects call the code where it was when
        they were made, and there it is as long as anybody has loaded it.
        """
        owner, _, name = shape.python.rpartition(".")
        site = UnloadableSite(name, self.spec.name, self.binding.name)
        modules, serial = self.monitor.table(self.module_kind), self.serial

        def is_gone() -> bool:
            if owner == self.target.owner:
                own = modules.get(serial)
                return own is not None and own.state in (RELEASED, UNTRACKED)
            return bool(modules) and all(
                each.state in (RELEASED, UNTRACKED) for each in list(modules.values())
            )

        site.is_gone = is_gone
        return site

    def compile(
        self, shape: Shape, native: Callable[..., Any], row: str = "", *, receiver: bool = True
    ) -> Callable[..., Any]:
        """Compile one Python callable.

        Args:
            shape: how it maps onto C.
            native: calls it.
            row: the function that it stands for, if not the shape's.
            receiver: whether the object it is called on is the first argument.
        """
        call: Call = self._rows[row or shape.call]
        first = [("self", shape.receiver)] if shape.receiver and receiver else []
        arguments = [*first, *shape.arguments]
        signature = Signature(
            {c_name: at for at, (_, c_name) in enumerate(arguments) if c_name and c_name != OWNER},
            {c_name: own for own, c_name in arguments if c_name},
            shape.result,
            shape.many and bool(shape.result),
            {c_name: own for own, c_name in shape.attributes},
            self.serial,
        )
        return compile_call(
            call,
            self._site(shape),
            native,
            signature,
            self.binding.success,
            self.patcher.codec,
            self.monitor,
            handles=self,
            guards=self.guards,
        )

    def method(self, shape: Shape, native: Callable[..., Any]) -> Callable[..., Any]:
        """Compile one method, with what its shape says about what it hands out."""
        if shape.steps:
            return self._generator(shape, native)
        traced = self.compile(shape, native)
        lost = self.binding.lost_on.get(shape.python)
        if lost is not None:
            traced = self._losing(shape, traced, lost)
        if shape.result and not shape.many:
            traced = self._marking(shape, traced)
        if not shape.returns:
            return traced
        name, many, wrap = shape.returns, shape.many, self.wrap

        def handing_out(*args: Any, **kwargs: Any) -> Any:
            result = traced(*args, **kwargs)
            if not self.monitor.active:
                return result
            with self.patcher.sheltered(shape.python):
                if many:
                    return type(result)([wrap(each, name, args) for each in result])
                return wrap(result, name, args)
            return result

        return handing_out

    def _marking(self, shape: Shape, traced: Callable[..., Any]) -> Callable[..., Any]:
        """Mark a result that turned out to stand for no handle, but may hand some out later."""

        def marking(*args: Any, **kwargs: Any) -> Any:
            result = traced(*args, **kwargs)
            if self.monitor.active:
                with self.patcher.sheltered(shape.python):
                    return self._marked(result, args)
            return result

        return marking

    def _marked(self, result: Any, args: Arguments) -> Any:
        if _WAY not in getattr(result, "__dict__", (_WAY,)):
            self._mark(result, None, args)
        return result

    def _losing(
        self, shape: Shape, traced: Callable[..., Any], lost: frozenset[str]
    ) -> Callable[..., Any]:
        """Report what a call had acquired before it raised, and did not return."""
        acquired = [e for e in self._rows[shape.call].effects if isinstance(e, Acquires)]
        site = CallSite(shape.python.rpartition(".")[2], self.spec.name, self.binding.name)
        monitor = self.monitor
        beginnings = {name: text for name, _, text in (each.partition(": ") for each in lost)}

        def losing(*args: Any, **kwargs: Any) -> Any:
            try:
                return traced(*args, **kwargs)
            except Exception as error:
                beginning = beginnings.get(type(error).__name__)
                if monitor.active and beginning is not None:
                    with Sheltered(monitor, site):
                        for effect in acquired if str(error).startswith(beginning) else ():
                            monitor.lost(effect.kind, args[0]._self_handle, site, sys._getframe(1))
                raise

        return losing

    def _generator(self, shape: Shape, native: Callable[..., Any]) -> Callable[..., Any]:
        """Trace a generator: its first step begins what its end, whenever that is, completes."""
        advance = self._advance
        single = dataclasses.replace(shape, many=False)  # each step hands out one
        start = self.compile(single, advance)
        step = self.compile(single, advance, shape.steps[0])
        begun = [e for e in self._rows[shape.call].effects if isinstance(e, Acquires)]
        held_as = {c_name: own for own, c_name in shape.attributes}
        attribute = held_as.get(begun[0].out, "") if begun else ""
        table = self.monitor.table(begun[0].kind) if begun else {}

        def handed(item: Any, target: Any) -> Any:
            with self.patcher.sheltered(shape.python):
                if shape.returns:
                    return self.wrap(item, shape.returns, (target,))
                return self._marked(item, (target,)) if shape.result else item
            return item

        def run(target: Any, inner: Any) -> Iterator[Any]:
            number: int | None = None
            operation: Handle | None = None
            item: Any = None
            with self.patcher.sheltered(shape.python):
                holder = getattr(target, attribute) if attribute else target
                number = self._number_of(holder) if begun else None
            try:
                item = start(target, inner)
                if number is not None:
                    operation = table.get(number)
                while item is not _DONE:
                    yield handed(item, target)
                    item = step(target, inner)
            finally:
                self._finish(inner, operation, shape, over=item is _DONE)

        def generator(target: Any, *args: Any, **kwargs: Any) -> Any:
            inner = native(target, *args, **kwargs)
            return run(target, inner) if self.monitor.active else inner

        return generator

    @staticmethod
    def _advance(_target: Any, inner: Iterator[Any]) -> Any:
        return next(inner, _DONE)

    def _finish(self, inner: Any, operation: Handle | None, shape: Shape, *, over: bool) -> None:
        """Complete what a generator has begun, and close it unless that would crash the process.

        Args:
            inner: the generator.
            operation: what it has begun, `None` if nothing is known of it.
            shape: what it is.
            over: whether it has come to its end by itself, and calls nothing any more.
        """
        # Tracing may be over: what the operation itself knows of its end stays true.
        ended_by = None if operation is None else operation.ended_by
        if not over and (
            (ended_by is not None and ended_by.kind is self.library)
            or any((known := get(value)) is not None and known.alert for get, value in self.guards)
        ):
            with self.patcher.sheltered(shape.python):
                keep_for_ever(inner)  # its own end would call into a library that is gone
        elif operation is None or operation.state == LIVE:
            try:
                inner.close()
            finally:
                if operation is not None:
                    site = CallSite(shape.steps[1], self.spec.name, self.binding.name)
                    with Sheltered(self.monitor, site):
                        self.monitor.completed(operation, site, sys._getframe(1))
