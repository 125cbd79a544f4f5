"""Where the functions are: loaded libraries (ctypes, cffi) and modules with handle objects.

Everything is patched lazily, by a hook that runs when the module in question is imported, and
noted in one journal. What was bound before tracing began cannot be patched; it is listed in
`Installation.missed`.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import weakref
from typing import TYPE_CHECKING, Any, Final, Protocol

import wrapt
from wrapt import importer  # type: ignore[attr-defined]

from csptrace import forks, loader, threads
from csptrace.errors import ActivationError
from csptrace.graph.sites import COLLECTION, CallSite
from csptrace.graph.states import INVALIDATED, LIVE, RELEASED
from csptrace.install import collector
from csptrace.install.existing import Existing, Imported
from csptrace.install.journal import Journal
from csptrace.install.libraries import LibraryMonitor, LibraryPatcher
from csptrace.install.methods import MethodsPatcher
from csptrace.install.proxies import (
    ForeignFunction,
    HandleObject,
    Proxy,
    derived,
    disguised,
    function_proxy,
    keep_for_ever,
    module_function,
    unwrap,
)
from csptrace.install.rows import LibraryRows, Row
from csptrace.intercept.arguments import Signature
from csptrace.intercept.contract import (
    THE_LIBRARY,
    Guards,
    Monitor,
    Outcome,
    Sheltered,
    is_deliberate,
)
from csptrace.intercept.interceptor import compile_call
from csptrace.intercept.object_codecs import BoxedCodec, ObjectCodec
from csptrace.spec.bindings import (
    Binding,
    Codec,
    Collects,
    Dll,
    Functions,
    LibraryObjects,
    Methods,
    Objects,
    Shape,
    Spec,
)
from csptrace.spec.effects import Acquires, Ends, Finds, Releases, ReleasesAll
from csptrace.spec.kinds import OWNER, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import ModuleType

    from csptrace.graph.handle import Handle
    from csptrace.install.tables import FunctionTables
    from csptrace.intercept.codecs import Codec as ArgumentCodec
    from csptrace.intercept.contract import LastError
    from csptrace.spec.calls import Call

__all__ = ["Installation", "ObjectMonitor", "when_imported"]

__tracebackhide__ = is_deliberate


class ObjectMonitor(Monitor, LibraryMonitor, Protocol):
    """What patched handle objects report besides calls."""

    def quarantined(self, handle: Handle, site: CallSite) -> None:
        """Note that a released object is kept alive because its destructor would release again."""

    def patching_failed(self, what: str, error: BaseException) -> None:
        """Note that a target could not be patched; it stays as it was."""

    def foresee(self) -> None:
        """Import what findings need: from now on they may come, and files be out of reach."""


def handed_out(calls: Iterable[Call]) -> set[Kind]:
    """Return the kinds of which these functions hand out handles.

    Args:
        calls: rows of a spec.
    """
    effects = [effect for call in calls for effect in call.effects]
    return {
        effect.kind
        for effect in effects
        if isinstance(effect, Acquires | Finds) and effect.out != OWNER
    }


def released(calls: Iterable[Call]) -> set[Kind]:
    """Return the kinds of which these functions release handles.

    Args:
        calls: rows of a spec.
    """
    effects = [effect for call in calls for effect in call.effects]
    return {effect.kind for effect in effects if isinstance(effect, Releases | ReleasesAll | Ends)}


# wrapt keeps a post-import hook for ever, so one hook a module serves every installation.
_callbacks: Final[dict[str, list[Callable[[ModuleType], None]]]] = {}
_registered: Final[set[str]] = set()
_hook_lock: Final = forks.lock()
# Every import of the program passes through wrapt's finder, which takes this one.
_finder_lock: Final = getattr(importer, "_post_import_hooks_lock", None)
if threads.is_reentrant_lock(_finder_lock):
    forks.adopted(_finder_lock)


def when_imported(name: str, callback: Callable[[ModuleType], None]) -> Callable[[], None]:
    """Call back when a module is imported, at once if it is already.

    Args:
        name: the module's name.
        callback: is given the module.

    Returns:
        A function that cancels it.
    """
    with _hook_lock:
        callbacks = _callbacks.setdefault(name, [])
        callbacks.append(callback)
        module = sys.modules.get(name)
        register = module is None and name not in _registered
        if register:
            _registered.add(name)

    def cancel() -> None:
        with _hook_lock:
            if callback in callbacks:
                callbacks.remove(callback)

    if register:
        wrapt.register_post_import_hook(functools.partial(_imported, name), name)
    if module is None:
        _keep_finder()
    else:
        try:
            callback(module)
        except BaseException:
            cancel()
            raise
    return cancel


def _keep_finder() -> None:
    """Put wrapt's import finder first in `sys.meta_path`, and back if it was taken out.

    wrapt puts it there once for each process. Finders that come later stand before it, and what
    they find (pytest's does, for the modules whose assertions it rewrites) it does not see;
    pytest's pytester restores the list after each run inside the process.
    """
    finders = sys.meta_path
    if not (finders and isinstance(finders[0], importer.ImportHookFinder)):
        own = next((each for each in finders if isinstance(each, importer.ImportHookFinder)), None)
        # In this order: another thread that looks meanwhile finds it at least once.
        finders.insert(0, own or importer.ImportHookFinder())
        if own is not None:
            del finders[len(finders) - 1 - finders[::-1].index(own)]


def _imported(name: str, module: ModuleType) -> None:
    with _hook_lock:
        _registered.discard(name)
        callbacks = list(_callbacks.get(name, ()))
    for callback in callbacks:
        callback(module)


class Installation:
    """Patches every target of a set of specs, and takes the patches back.

    Args:
        specs: the APIs to trace.
        libraries: further library names that export their functions (a vendor's CSP).
        monitor: what the patched functions report to.

    Attributes:
        journal: what is patched.
        specs: the APIs.
        missed: what was bound before tracing began and stays untraced, by name.
        functions: how many functions are patched.
    """

    def __init__(
        self, specs: Iterable[Spec], libraries: Iterable[str], monitor: ObjectMonitor
    ) -> None:
        self.journal = Journal()
        self.missed: list[str] = []
        self.functions = 0
        self.specs = tuple(specs)
        self._library_rows = LibraryRows(self.specs, libraries)
        self._monitor = monitor
        self._cancel: list[Callable[[], None]] = []
        self._waiting: dict[str, None] = {}
        self._cdlls: weakref.WeakSet[Any] = weakref.WeakSet()
        self._named: weakref.WeakKeyDictionary[Any, tuple[Spec, ...]] = weakref.WeakKeyDictionary()
        self._patched: dict[tuple[int, object], ModuleType] = {}
        self._lock = forks.lock()
        self._codecs: dict[Codec, ArgumentCodec] = {}
        self._existing: Existing | None = None  # while it is being installed
        self._adoptions: list[Callable[[Existing], None]] = []
        self._scoped: dict[tuple[Spec, str], Spec] = {}
        self._scoped_rows: weakref.WeakKeyDictionary[Any, dict[str, Row]] = (
            weakref.WeakKeyDictionary()
        )
        self._undescribed: weakref.WeakSet[Any] = weakref.WeakSet()
        self._tables: FunctionTables | None = None

    # --- installing ---------------------------------------------------------------------------

    @property
    def pending(self) -> tuple[str, ...]:
        """The modules that are waited for."""
        return tuple(self._waiting)

    def install(self) -> None:
        """Register the hooks; patches what is imported already at once.

        Raises:
            Exception: whatever patching raised; then nothing stays patched.
        """
        # Libraries are patched once for all specs, a module with handle objects once for each.
        wanted: dict[tuple[str, object], Callable[[ModuleType], None]] = {}
        for spec in self.specs:
            for binding in spec.bindings:
                if binding.codec is Codec.CTYPES:
                    wanted["ctypes", None] = self._patch_ctypes
                elif binding.codec is Codec.CFFI:
                    wanted["cffi.api", None] = self._patch_cffi
                elif isinstance(binding.target, Objects):
                    patch = self._object_patcher(spec, binding, binding.target)
                    for name in binding.target.modules:
                        wanted[name, spec] = patch
                elif isinstance(binding.target, Functions):
                    patch = self._function_patcher(spec, binding, binding.target)
                    for name in binding.target.modules:
                        wanted[name, spec] = patch
                elif isinstance(binding.target, Methods):
                    patch = self._methods_patcher(spec, binding, binding.target)
                    for name in binding.target.modules:
                        wanted[name, spec] = patch
                elif isinstance(binding.target, LibraryObjects):
                    patch = self._library_patcher(spec, binding, binding.target)
                    for name in binding.target.modules:
                        wanted[name, spec] = patch
                    for path in binding.target.locked:
                        module, cls, method = path.rsplit(".", 2)
                        wanted[module, path] = self._pausing(cls, method)
        existing = self._existing = Existing()
        try:
            for (name, _), patch in wanted.items():
                self._waiting[name] = None
                self._cancel.append(when_imported(name, self._guarded(name, patch)))
            # Behind the last patch: from here on nothing comes into being unseen.
            for adopt in self._adoptions:
                adopt(existing)
        except BaseException:
            self.uninstall()
            raise
        finally:
            self._existing = None
            self._adoptions.clear()

    def uninstall(self) -> list[BaseException]:
        """Take every patch back, last first.

        Returns:
            What went wrong, empty if all is as before.
        """
        for cancel in self._cancel:
            cancel()
        self._cancel.clear()
        self._waiting.clear()
        errors = self.journal.undo()
        self._patched.clear()
        return errors

    def _guarded(
        self, name: str, patch: Callable[[ModuleType], None]
    ) -> Callable[[ModuleType], None]:
        """Patch one module all or nothing; a failure never breaks the program's import."""

        def guarded(module: ModuleType) -> None:
            with self._lock:
                if (id(module), patch) in self._patched:
                    return  # one module under two names
                mark = len(self.journal)
                try:
                    self._monitor.foresee()
                    patch(module)
                    self._patched[id(module), patch] = module
                    self._waiting.pop(name, None)
                except Exception as error:
                    self.journal.undo(mark)
                    if self._existing is not None:
                        raise
                    self._monitor.patching_failed(name, error)

        return guarded

    def _codec(self, codec: Codec) -> ArgumentCodec:
        known = self._codecs.get(codec)
        if known is None:
            known = self._codecs[codec] = _new_codec(codec)
        return known

    def _foreign(self, name: str, row: Row, function: Any) -> ForeignFunction:
        """Return the proxy for one function of a library."""
        if _is_proxy(function):
            return function  # type: ignore[no-any-return]
        site = row.site(name)

        def compiled(outcome: Callable[[bool], Outcome | None] | None) -> Callable[..., Any]:
            return compile_call(
                row.call,
                site,
                function,
                Signature.of(row.call),
                row.binding.success,
                self._codec(row.binding.codec).of(function),
                self._monitor,
                last_error=_last_error(),
                outcome=outcome,
                guards=tuple(guard for spec in row.specs for guard in self._guards(spec)),
                expose=functools.partial(self._expose, row.specs),
                sites=row.sites(name),
            )

        self.functions += 1
        return function_proxy(function, compiled)

    # --- specs whose values belong to one library ---------------------------------------------

    def scoped(self, spec: Spec, realm: str) -> Spec:
        """Return a spec as it holds for one library, the same at every call.

        Args:
            spec: the spec.
            realm: the real path of the library's file.
        """
        known = self._scoped.get((spec, realm))
        if known is None:
            known = self._scoped.setdefault((spec, realm), spec.within(realm))
        return known

    def _guards(self, spec: Spec) -> Guards:
        if spec.library is None:
            return ()
        return ((self._monitor.table(spec.library).get, THE_LIBRARY),)

    def _row_of(self, library: Any, name: str, lookup: Callable[[str], Any]) -> Row | None:
        """Return what a function of a ctypes library does, `None` if no spec describes it there.

        Args:
            library: the library.
            name: the function, which some spec describes.
            lookup: looks a function of the library up.
        """
        specs = tuple(
            spec
            for row in self._described[name]
            for spec in row.specs
            if self._describes(spec, library, lookup)
        )
        if not specs:
            return None
        if specs[0].scoped:
            return self._rows_within(library, specs).get(name)
        return self._library_rows.of(specs, Codec.CTYPES).get(name)

    def _describes(self, spec: Spec, library: Any, lookup: Callable[[str], Any]) -> bool:
        """Return whether a spec describes a ctypes library."""
        if spec in self._named.get(library, ()):
            return True
        if self._library_rows.names(spec, Codec.CTYPES, library._name):
            return True
        markers = [
            binding.target.marker
            for binding in spec.bindings
            if binding.codec is Codec.CTYPES and isinstance(binding.target, Dll)
        ]
        for marker in filter(None, markers):
            with contextlib.suppress(AttributeError):
                lookup(marker)
                return True
        return False

    def _rows_within(self, library: Any, specs: tuple[Spec, ...]) -> dict[str, Row]:
        """Return the rows of scoped specs as they hold for one ctypes library."""
        rows = self._scoped_rows.get(library)
        if rows is None:
            realm = loader.file_of(str(library._name), specs[0].marker)
            local = tuple(self.scoped(spec, realm) for spec in specs)
            rows = self._library_rows.of(local, Codec.CTYPES)
            self._scoped_rows[library] = rows
            if library in self._undescribed:
                self._note_undescribed(library)
        return rows

    def _note_undescribed(self, library: Any) -> None:
        """Note that a function was looked up in a library of which no spec knows what it does."""
        try:
            rows = self._scoped_rows.get(library)
        except TypeError:  # an object of the program's own class, which is not hashable
            return
        if rows is None:
            self._undescribed.add(library)  # what it is may turn out later
        else:  # one of the vendor's own, in a library that is there for nothing else
            kinds = handed_out(row.call for row in rows.values())
            self._monitor.unseen(kind for kind in kinds if not kind.library)

    def _expose(self, specs: tuple[Spec, ...], argument: Any, traced: bool) -> None:
        """Trace the functions of a table that a call has handed out, as far as it is possible."""
        if not traced:
            if argument is not None:
                self._monitor.unseen(handed_out(call for spec in specs for call in spec.calls))
            return
        rows = self._library_rows.of(specs, Codec.CTYPES)

        def trace(name: str, function: Any) -> Any:
            row = rows[name]
            # Made here: what `Row.site` raised would not be kept from the program.
            site = CallSite(name, row.specs[0].name, row.binding.name)
            with Sheltered(self._monitor, site):
                return self._foreign(name, row, function)
            return function

        assert self._tables is not None  # noqa: S101 - for the type checker
        self._tables.adopt(argument, trace, rows)

    def _library_patcher(
        self, spec: Spec, binding: Binding, target: LibraryObjects
    ) -> Callable[[ModuleType], None]:
        def patch(module: ModuleType) -> None:
            loader.foresee()
            wrapped = [
                _plain(getattr(module, name)) for name in target.proxied if hasattr(module, name)
            ]
            patcher = LibraryPatcher(
                spec,
                binding,
                target,
                self._monitor,
                self._codec(binding.codec),
                self.scoped,
                self._replace,
                self.journal.add,
            )
            patcher.patch(module)
            self.functions += patcher.functions

            def adopt(existing: Existing) -> None:
                if existing.held(existing.take(*wrapped), self._registered(target)):
                    self._monitor.unseen(handed_out(spec.calls))
                patcher.adopt(existing)

            self._adopt(module, lambda: (*wrapped, *patcher.holders()), adopt)

        return patch

    def _adopt(
        self,
        module: ModuleType,
        classes: Callable[[], Iterable[type]],
        adopt: Callable[[Existing], None],
    ) -> None:
        """Take over what exists already of a module that has been patched.

        Args:
            module: the module.
            classes: returns the classes of what may exist.
            adopt: takes it over.
        """
        if self._existing is None:
            adopt(Imported(module))
        else:
            self._existing.expect(classes)
            self._adoptions.append(adopt)

    @staticmethod
    def _registered(target: LibraryObjects) -> set[int]:
        """Return the ids of the objects that a binding itself has in its registry."""
        where, _, name = target.registry.rpartition(".")
        return set(map(id, getattr(sys.modules.get(where), name, {}).values()))

    def _pausing(self, cls: str, method: str) -> Callable[[ModuleType], None]:
        def patch(module: ModuleType) -> None:
            owner = getattr(module, cls, None)
            if method in vars(owner or object):  # not in every version
                self._replace(owner, method, collector.without_collections(vars(owner)[method]))

        return patch

    # --- ctypes -------------------------------------------------------------------------------

    def _patch_ctypes(self, module: ModuleType) -> None:
        """Patch `CDLL.__getitem__`, which every attribute look-up of every library goes through."""
        CDLL = module.CDLL
        described = self._described = self._library_rows.described(Codec.CTYPES)
        # Not when a function is looked up: by then the program may have no file descriptors left,
        # fewer rights or another root directory.
        from csptrace.install.tables import FunctionTables  # noqa: PLC0415 - imports ctypes

        self._codec(Codec.CTYPES)
        _last_error()
        if self._tables is None:
            self._tables = FunctionTables(self.journal)

        def getitem(
            wrapped: Callable[..., Any], library: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
        ) -> Any:
            function = wrapped(*args, **kwargs)
            if not self._monitor.active:
                return function
            name = args[0] if args else None
            if not isinstance(name, str) or name not in described:
                with Sheltered(self._monitor, CallSite("look-up", "", "ctypes")):
                    self._note_undescribed(library)
                return function
            first = described[name][0]
            site = CallSite(name, first.specs[0].name, first.binding.name)
            with Sheltered(self._monitor, site):
                row = self._row_of(library, name, wrapped)
                if row is None:
                    return function
                traced = self._foreign(name, row, function)
                self._cdlls.add(library)
                return traced
            return function

        self._replace(
            CDLL, "__getitem__", wrapt.FunctionWrapper(vars(CDLL)["__getitem__"], getitem)
        )
        self.journal.add("functions cached by ctypes libraries", self._restore_cdlls)
        self._adopt(
            module,
            lambda: (
                *(CDLL, module._CFuncPtr, ForeignFunction),
                *self._tables_in(module).values(),
            ),
            lambda existing: self._adopt_ctypes(existing, module),
        )

    def _adopt_ctypes(self, existing: Existing, module: ModuleType) -> None:
        libraries = existing.of(module.CDLL)
        # A library keeps what was looked up as an attribute, which is patched there.
        cached = {id(function) for each in libraries for function in vars(each).values()}
        held = existing.held(self._handed_out(existing, module), cached)
        functions = derived(module._CFuncPtr, ForeignFunction)
        bound = [each for each in held if id(type(each)) in functions]
        if len(bound) < len(held):
            rows = [row for each in self._described.values() for row in each]
            self._monitor.unseen(handed_out(row.call for row in rows if row.scoped))
        for library in libraries:
            self._adopt_cdll(library)
        self._note_bound([(function.__name__, function) for function in bound], self._described)

    def _adopt_cdll(self, library: Any) -> None:
        """Patch the functions that a library has handed out and cached already."""
        for name, function in list(vars(library).items()):
            if name in self._described and callable(function) and not _is_proxy(function):
                row = self._row_of(library, name, library.__getitem__)
                if row is not None:
                    self._cdlls.add(library)
                    vars(library)[name] = self._foreign(name, row, function)

    def _restore_cdlls(self) -> None:
        for library in list(self._cdlls):
            for name, function in list(vars(library).items()):
                if _is_proxy(function):
                    vars(library)[name] = function._self_restore()

    def _handed_out(self, existing: Existing, module: ModuleType) -> list[Any]:
        """Take the functions that somebody has looked up already, and the tables of functions.

        A proxy is one of an earlier tracer, which nothing reports to any more.
        """
        functions = existing.take(module._CFuncPtr, ForeignFunction)
        tables = existing.take(*self._tables_in(module).values())
        described = self._described
        return tables + [each for each in functions if getattr(each, "__name__", None) in described]

    def _tables_in(self, module: ModuleType) -> dict[int, type]:
        """Return the classes of the program's tables of functions, and of the pointers to such."""
        tables = {
            key: cls
            for key, cls in derived(module.Structure).items()
            for field, *_ in vars(cls).get("_fields_", ())
            if any(row.scoped for row in self._described.get(field, ()))
        }
        pointers = {
            key: cls
            for key, cls in (derived(module._Pointer) if tables else {}).items()
            if id(getattr(cls, "_type_", None)) in tables
        }
        return derived(*tables.values(), *pointers.values())

    def _note_bound(self, bound: list[tuple[str, Any]], described: dict[str, list[Row]]) -> None:
        """List functions that were looked up before, by the names that modules have for them.

        Args:
            bound: the functions, each with the name that it has in C.
            described: what these do.
        """
        if not bound:
            return
        ids = {id(function) for _, function in bound}
        named: set[int] = set()
        for where, module in list(sys.modules.items()):
            for name, value in list(_namespace(module).items()):
                if id(value) in ids:
                    named.add(id(value))
                    self.missed.append(f"{where}.{name}")
        kept = sorted(name for name, function in bound if id(function) not in named)
        self.missed += [f"{name} (kept in an object)" for name in kept]
        calls = [row.call for name, _ in bound for row in described[name]]
        self._monitor.unseen(handed_out(calls), released(calls))

    # --- cffi ---------------------------------------------------------------------------------

    def _patch_cffi(self, module: ModuleType) -> None:
        """Patch `FFI.dlopen`; functions are wrapped when the library first hands them out."""

        def dlopen(
            wrapped: Callable[..., Any], _ffi: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
        ) -> Any:
            library = wrapped(*args, **kwargs)
            if self._monitor.active:
                with Sheltered(self._monitor, CallSite("dlopen", "", "cffi")):
                    self._adopt_cffi(library, args[0] if args else kwargs.get("name"))
            return library

        FFI = module.FFI
        self._codec(Codec.CFFI)  # now, as for ctypes
        _last_error()
        self._replace(FFI, "dlopen", wrapt.FunctionWrapper(vars(FFI)["dlopen"], dlopen))
        self._adopt(module, lambda: (FFI,), lambda existing: self._adopt_cffis(existing, FFI))

    def _adopt_cffis(self, existing: Existing, FFI: type) -> None:
        """Patch the libraries that were loaded through cffi before."""
        found = [
            (library, type(library).__name__.partition("_")[2])
            for ffi in existing.of(FFI)
            for library in ffi._libraries
        ]
        libraries = [
            (library, name)
            for library, name in found
            if self._library_rows.covering(Codec.CFFI, name)
        ]
        described = self._library_rows.described(Codec.CFFI)
        cached = [each for library, _ in libraries for each in vars(library).items()]
        names = {id(function): name for name, function in cached if name in described}
        functions = [function for name, function in cached if name in described]
        cached.clear()
        bound = existing.held(functions, names)
        self._note_bound([(names[id(function)], function) for function in bound], described)
        for library, name in libraries:
            self._adopt_cffi(library, name)

    def _adopt_cffi(self, library: Any, name: object) -> None:
        """Wrap what an in-line ABI-mode library hands out, if a spec describes it."""
        specs = self._library_rows.covering(Codec.CFFI, name)
        if specs:
            self._wrap_cffi(library, self._library_rows.of(specs, Codec.CFFI))

    def _wrap_cffi(self, library: Any, rows: dict[str, Row]) -> None:
        """Wrap what an in-line ABI-mode library hands out; each has a class of its own."""
        cls = type(library)
        original = vars(cls)["__getattr__"]
        reference = weakref.ref(library)

        def wrap(found: Any, name: str) -> Any:
            row = rows.get(name)
            if row is None or not self._monitor.active:
                return found
            site = CallSite(name, row.specs[0].name, row.binding.name)
            with Sheltered(self._monitor, site):
                proxy = self._foreign(name, row, found)
                vars(library_of())[name] = proxy
                return proxy
            return found

        def library_of() -> Any:
            return reference()

        def lookup(self: Any, name: str) -> Any:
            return wrap(original(self, name), name)

        def restore() -> None:
            if vars(cls).get("__getattr__") is lookup:
                cls.__getattr__ = original
            alive = reference()
            if alive is not None:
                for name, function in list(vars(alive).items()):
                    if _is_proxy(function):
                        vars(alive)[name] = function._self_restore()

        cls.__getattr__ = lookup
        self.journal.add(f"cffi library {cls.__name__}", restore)
        for name, function in list(vars(library).items()):
            if name in rows and not _is_proxy(function):
                wrap(function, name)
        # What is declared is wrapped now: between cffi's caching of a function and our replacing
        # it, another thread could find the plain one and make a call that nobody sees.
        for name in rows.keys() & set(dir(library)):
            with contextlib.suppress(Exception):  # it will be raised when the program looks it up
                getattr(library, name)

    # --- modules with handle objects ----------------------------------------------------------

    def _object_patcher(
        self, spec: Spec, binding: Binding, target: Objects
    ) -> Callable[[ModuleType], None]:
        def patch(module: ModuleType) -> None:
            if binding.quarantine:
                loader.foresee()
            _last_error()
            handles = _ObjectHandles(spec, binding, target, self._monitor, self._codec)
            originals = {
                name: value
                for name, value in vars(module).items()
                if callable(value) and not isinstance(value, type)
            }
            if self._existing is not None and module.__name__ in sys.modules:
                self._find_imported({module.__name__}, originals)
            for name, original in originals.items():
                shape = binding.shapes.get(name)
                if shape is None:
                    replacement = module_function(original, _unwrapping(original))
                else:
                    replacement = module_function(
                        original, handles.compile(shape, _unwrapping(original))
                    )
                    self.functions += 1
                self._replace(module, name, replacement)
            self.functions += sum("." in name for name in binding.shapes)

        return patch

    def _function_patcher(
        self, spec: Spec, binding: Binding, target: Functions
    ) -> Callable[[ModuleType], None]:
        """Return what patches the functions of one of the modules that have them."""
        calls = spec.by_name() | {name: row for row in binding.rows for name in row.names}
        handles = _NumberHandles(self._monitor, self._codec(binding.codec))

        def patch(module: ModuleType) -> None:
            _last_error()
            # One that is imported by name from a module that is patched already is traced.
            originals = {
                name: found
                for name in binding.shapes
                if (found := vars(module).get(name)) is not None and not _is_proxy(found)
            }
            if self._existing is not None and module.__name__ in sys.modules:
                known = len(self.missed)
                self._find_imported(set(target.modules), originals)
                if len(self.missed) > known:
                    self._monitor.unseen(handed_out(spec.calls), released(spec.calls))
            for name, original in originals.items():
                shape = binding.shapes[name]
                compiled = compile_call(
                    calls[shape.call],
                    CallSite(name, spec.name, binding.name),
                    original,
                    Signature.of_shape(shape),
                    binding.success,
                    self._codec(binding.codec),
                    self._monitor,
                    handles=handles,
                    last_error=_last_error(),
                )
                self._replace(module, name, module_function(original, compiled))
                self.functions += 1

        return patch

    def _methods_patcher(
        self, spec: Spec, binding: Binding, target: Methods
    ) -> Callable[[ModuleType], None]:
        """Return what patches the classes of one module."""

        def patch(module: ModuleType) -> None:
            patcher = MethodsPatcher(
                spec, binding, target, self._monitor, _last_error(), self.journal.add
            )
            patcher.patch(module)
            self.functions += patcher.functions

        return patch

    def _find_imported(self, patched: set[str], originals: dict[str, Any]) -> None:
        """List `from module import function` that ran before tracing began.

        Args:
            patched: the modules that are patched themselves.
            originals: the functions.
        """
        functions = {id(value): getattr(value, "__module__", "") for value in originals.values()}
        for where, other in list(sys.modules.items()):
            namespace = _namespace(other)
            if where in patched or functions.keys().isdisjoint(map(id, list(namespace.values()))):
                continue
            for name, value in list(namespace.items()):
                # The module that a function is defined in is no program that bound it.
                elsewhere = functions.get(id(value), where) != where
                own = getattr(value, "__globals__", None) is namespace
                if elsewhere and not own and f"{where}.{name}" not in self.missed:
                    self.missed.append(f"{where}.{name}")

    # --- libraries named by the program -------------------------------------------------------

    def trace_library(self, library: Any, api: str) -> Any:
        """Trace one library object that the program names itself.

        Args:
            library: a ctypes library, a cffi ABI-mode library, or a compiled cffi library.
            api: the name of the spec that describes its functions.

        Returns:
            The library; for a compiled cffi library, whose attributes cannot be set, a proxy that
            must be used in its place.

        Raises:
            ActivationError: an unknown API or a library of another sort.
        """
        if all(spec.name != api for spec in self.specs):
            raise ActivationError(
                f"trace_library: unknown api {api!r}; known: "
                + ", ".join(sorted(spec.name for spec in self.specs))
            )
        if isinstance(library, _CompiledLibrary):  # named before, perhaps to an earlier tracer
            library = library.__wrapped__
        cls = type(library)
        ctypes = sys.modules.get("ctypes")
        site = CallSite("trace_library", api, "")
        if ctypes is not None and issubclass(cls, ctypes.CDLL):
            with Sheltered(self._monitor, site):
                specs = self._library_rows.beside(api, Codec.CTYPES)
                self._named[library] = specs
                if specs[0].scoped:
                    self._rows_within(library, specs)
                self._adopt_cdll(library)
            return library
        if hasattr(cls, "__cffi_close__"):
            with Sheltered(self._monitor, site):
                specs = self._library_rows.beside(api, Codec.CFFI)
                self._wrap_cffi(library, self._library_rows.of(specs, Codec.CFFI))
            return library
        if cls.__module__ == "_cffi_backend" and cls.__name__ == "Lib":
            with Sheltered(self._monitor, site):
                return self._compiled(library, api)
            return library
        raise ActivationError(
            f"trace_library: {cls.__module__}.{cls.__qualname__} is no library object; pass a "
            "ctypes.CDLL, the result of ffi.dlopen(), or the lib of a compiled cffi module"
        )

    def _compiled(self, library: Any, api: str) -> _CompiledLibrary:
        """Return the proxy for a compiled cffi library."""
        rows = self._library_rows.of(self._library_rows.beside(api, Codec.CFFI), Codec.CFFI)
        self._codec(Codec.CFFI)

        def trace(name: str, function: Any) -> Any:
            row = rows.get(name)
            if row is not None:
                site = CallSite(name, row.specs[0].name, row.binding.name)
                with Sheltered(self._monitor, site):
                    return self._foreign(name, row, function)
            return function

        made: _CompiledLibrary = disguised(_CompiledLibrary, type(library), {})(library, trace)
        return made

    # --- the journal --------------------------------------------------------------------------

    def _replace(self, owner: Any, name: str, replacement: Any) -> None:
        """Set an attribute and note how to take it back."""
        original = vars(owner)[name]
        setattr(owner, name, replacement)

        def undo() -> None:
            # Somebody may have patched on top; then ours stays below theirs and passes through.
            if vars(owner).get(name) is replacement:
                setattr(owner, name, original)

        where = owner.__name__
        if isinstance(owner, type):
            where = f"{owner.__module__}.{owner.__qualname__}"
        self.journal.add(f"{where}.{name}", undo)


def _new_codec(codec: Codec) -> ArgumentCodec:
    if codec in (Codec.OBJECTS, Codec.NUMBERS):
        return ObjectCodec()
    if codec is Codec.BOXED:
        return BoxedCodec()
    from csptrace.intercept import codecs  # noqa: PLC0415 - imports ctypes, which may not be needed

    return codecs.CtypesCodec() if codec is Codec.CTYPES else codecs.CffiCodec()


class _CompiledLibrary(Proxy):
    """Stands in for a compiled cffi library."""

    def __init__(self, wrapped: Any, trace: Callable[[str, Any], Any]) -> None:
        super().__init__(wrapped)
        self._self_trace = trace
        self._self_functions: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        found = self._self_functions.get(name)
        if found is None:
            found = getattr(self.__wrapped__, name)
            traced = self._self_trace(name, found) if callable(found) else found
            if traced is not found:
                self._self_functions[name] = found = traced
        return found


class _NumberHandles:
    """Handles that are numbers in what Python functions take and return."""

    def __init__(self, monitor: ObjectMonitor, codec: ArgumentCodec) -> None:
        self._monitor = monitor
        self._codec = codec

    def finder(self, kind: Kind) -> Callable[[Any], Handle | None]:
        """Return a function argument → handle."""
        get, value = self._monitor.table(kind).get, self._codec.value
        return lambda argument: get(value(argument))  # type: ignore[arg-type]

    def value(self, kind: Kind, argument: Any) -> int | None:
        """Return the number, `None` for a null one."""
        number = self._codec.value(argument)
        return None if number is None or number in kind.null else number

    def adopt(self, result: Any, handle: Handle, args: tuple[Any, ...]) -> Any:  # noqa: ARG002
        """Return the result as it is."""
        return result


class _ObjectHandles:
    """Handles that are Python objects: identified by the object, not by a number."""

    def __init__(
        self,
        spec: Spec,
        binding: Binding,
        target: Objects,
        monitor: ObjectMonitor,
        codec: Callable[[Codec], ArgumentCodec],
    ) -> None:
        self._spec = spec
        self._binding = binding
        self._target = target
        self._monitor = monitor
        self._codec = codec
        self._calls = spec.by_name()
        self._members = {name: self._methods(name) for name in target.classes}
        self._makers: dict[type, Callable[..., Any]] = {}

    # --- Handles protocol ---------------------------------------------------------------------

    def finder(self, kind: Kind) -> Callable[[Any], Handle | None]:
        """Return a function argument → handle."""
        get = self._monitor.table(kind).get
        classes = self._target.classes

        def find(argument: Any) -> Handle | None:
            cls = type(argument)
            if issubclass(cls, HandleObject):
                handle: Handle = argument._self_handle
                return handle if handle.kind is kind else None
            return get(~id(argument)) if classes.get(cls.__name__) is kind else None

        return find

    def value(self, kind: Kind, argument: Any) -> int | None:
        """Return the value that stands for an object; negative, since no provider gives it out."""
        cls = type(argument)
        if issubclass(cls, HandleObject):
            argument = argument.__wrapped__
            cls = type(argument)
        return ~id(argument) if self._target.classes.get(cls.__name__) is kind else None

    def adopt(self, result: Any, handle: Handle, args: tuple[Any, ...]) -> Any:
        """Return the proxy for a handle object that a call returned."""
        cls = type(result)
        name = cls.__name__
        parent: HandleObject | None = None
        if name in self._target.parents and args and isinstance(args[0], HandleObject):
            receiver = args[0]
            parent = receiver if receiver._self_handle is handle.parent else receiver._self_parent
        make = self._makers.get(cls)
        if make is None:
            make = self._makers[cls] = disguised(HandleObject, cls, self._members[name])
        return make(result, handle, parent, self._collected)

    # --- classes ------------------------------------------------------------------------------

    def _methods(self, name: str) -> dict[str, Any]:
        """Return the traced methods of one object type."""
        members: dict[str, Any] = {}
        for shape in self._binding.shapes.values():
            owner, dot, method = shape.python.partition(".")
            if dot and owner == name:
                native = _reading(method) if shape.reads else _calling(method)
                traced = self.compile(shape, native)
                traced.__name__, traced.__qualname__ = method, shape.python
                members[method] = property(traced) if shape.reads else traced
        attribute = self._target.parents.get(name)
        if attribute is not None:
            members[attribute] = property(_parent_getter(attribute))
        return members

    def compile(self, shape: Shape, native: Callable[..., Any]) -> Callable[..., Any]:
        """Compile one Python callable of the binding."""
        call = self._calls[shape.call]
        site = CallSite(shape.python.rpartition(".")[2], self._spec.name, self._binding.name)
        traced = compile_call(
            call,
            site,
            native,
            Signature.of_shape(shape),
            self._binding.success,
            self._codec(self._binding.codec),
            self._monitor,
            handles=self,
            last_error=_last_error(),
        )
        if self._binding.quarantine and any(isinstance(e, Releases) for e in call.effects):
            return self._quarantining(traced, site)
        return traced

    def _quarantining(self, traced: Callable[..., Any], site: CallSite) -> Callable[..., Any]:
        """Keep an explicitly released object alive, so that its destructor never runs.

        The destructor would release the value again, which by then may be somebody else's
        (measured with pywin32: 20 of 20 new contexts dead, none with the quarantine).
        """
        monitor, quarantine, last_error = self._monitor, self._quarantine, _last_error()

        def method(self: HandleObject, *args: Any, **kwargs: Any) -> Any:
            handle = self._self_handle
            was = handle.state
            try:
                return traced(self, *args, **kwargs)
            finally:
                if was != RELEASED and handle.state == RELEASED:
                    code = 0 if last_error is None else last_error.save()
                    with Sheltered(monitor, site):
                        quarantine(self)
                        monitor.quarantined(handle, site)
                    if last_error is not None:
                        last_error.restore(code)

        return method

    @staticmethod
    def _quarantine(proxy: HandleObject) -> None:
        keep_for_ever(proxy.__wrapped__)
        if proxy._self_parent is not None:  # whose object is referred to, and so kept alive, too
            proxy._self_parent._self_held = True

    def _collected(self, proxy: HandleObject) -> None:
        monitor = self._monitor
        if proxy._self_held and proxy._self_handle.state == LIVE:
            # Its destructor, which would release it now, cannot run.
            with contextlib.suppress(Exception):
                getattr(proxy.__wrapped__, proxy._self_handle.kind.release)()
        if monitor.active:
            site = CallSite(COLLECTION, self._spec.name, self._binding.name)
            with Sheltered(monitor, site):
                if self._binding.quarantine and proxy._self_handle.state == INVALIDATED:
                    # Its destructor would release a value that died with its parent and may be
                    # somebody else's by now.
                    self._quarantine(proxy)
                released = self._binding.on_collect is Collects.RELEASES
                monitor.collected(proxy._self_handle, site, released=released)


def _parent_getter(attribute: str) -> Callable[[HandleObject], Any]:
    def get(self: HandleObject) -> Any:
        parent = self._self_parent
        return getattr(self.__wrapped__, attribute) if parent is None else parent

    return get


def _reading(attribute: str) -> Callable[..., Any]:
    def native(self: HandleObject) -> Any:
        return getattr(self.__wrapped__, attribute)

    return native


def _calling(method: str) -> Callable[..., Any]:
    def native(self: HandleObject, *args: Any, **kwargs: Any) -> Any:
        return getattr(self.__wrapped__, method)(*map(unwrap, args), **unwrap(kwargs))

    return native


def _unwrapping(function: Callable[..., Any]) -> Callable[..., Any]:
    def native(*args: Any, **kwargs: Any) -> Any:
        return function(*map(unwrap, args), **unwrap(kwargs))

    return native


def _namespace(module: Any) -> dict[str, Any]:
    """Return what a module binds, without waking a lazy one."""
    try:
        found = object.__getattribute__(module, "__dict__")
    except Exception:  # noqa: BLE001 - anything may stand in sys.modules
        return {}
    return found if isinstance(found, dict) else {}


def _plain(found: Any) -> Any:
    """Return what an earlier tracer, which is active or was not undone, has put proxies around."""
    while _is_proxy(found):
        found = found.__wrapped__
    return found


def _is_proxy(value: Any) -> bool:
    return issubclass(type(value), ForeignFunction)


class _WindowsLastError:
    """The thread's last error, which any call in between may change."""

    def __init__(self) -> None:
        import ctypes  # noqa: PLC0415 - Windows only

        kernel32 = ctypes.WinDLL("kernel32")  # type: ignore[attr-defined]
        self.save = kernel32.GetLastError
        self.save.restype = ctypes.c_uint32
        self.restore = kernel32.SetLastError
        self.restore.argtypes = [ctypes.c_uint32]
        self.restore.restype = None


_windows_last_error: list[Any] = []


def _last_error() -> LastError | None:
    # cffi and pywin32 keep a copy of their own, but a program may ask the system all the same.
    if os.name != "nt":
        return None
    if not _windows_last_error:
        _windows_last_error.append(_WindowsLastError())
    return _windows_last_error[0]  # type: ignore[no-any-return]
