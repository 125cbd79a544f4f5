"""Which specs there are: the built-in ones and those of other packages.

Another package adds an API by an entry point in the group `csptrace.specs` whose value is a
`Spec`. A spec that cannot be loaded is left out with one warning; the others are used. That holds
whatever its module raises, `SystemExit` and `KeyboardInterrupt` too, which would otherwise keep a
traced interpreter from starting; only what a signal raises meanwhile (Ctrl-C, a handler of the
program) goes on its way.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final

from csptrace import apis
from csptrace.errors import SettingsError, SpecError
from csptrace.interruption import came_by_signal, told
from csptrace.spec.bindings import (
    Codec,
    Dll,
    Functions,
    LibraryObjects,
    Methods,
    Objects,
    Spec,
)
from csptrace.spec.effects import (
    Acquires,
    AddsRef,
    Ends,
    Finds,
    Releases,
    ReleasesAll,
    Sets,
    Uses,
)
from csptrace.spec.kinds import LIBRARY, OWNER, RETURN
from csptrace.spec.merging import check_together
from csptrace.spec.queries import Query

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from importlib.metadata import EntryPoint

    from csptrace.spec.bindings import Binding, Shape
    from csptrace.spec.calls import Call
    from csptrace.spec.kinds import Kind

__all__ = ["BUILT_IN", "GROUP", "covered", "covered_effects", "load", "places", "validate"]

GROUP: Final = "csptrace.specs"
BUILT_IN: Final = tuple(
    sorted(module.name for module in pkgutil.iter_modules(apis.__path__) if module.ispkg)
)
"""The APIs that come with csptrace: each folder beside this file is one."""


def load(
    apis: Iterable[str] = (), complain: Callable[[str], None] | None = None
) -> tuple[Spec, ...]:
    """Load the specs.

    Args:
        apis: names of the wanted ones; empty for all.
        complain: is told, once each, why a third-party spec is left out.

    Returns:
        The specs, built-in ones first.

    Raises:
        SettingsError: an unknown name in `apis`.
        SpecError: a built-in spec is wrong, or a third-party one that was asked for by name.
    """
    wanted = tuple(apis)
    specs: dict[str, Spec] = {}
    broken: dict[str, str] = {}
    for name in BUILT_IN:
        spec = importlib.import_module(f"csptrace.apis.{name}.spec").SPEC
        validate(spec)
        specs[name] = spec
    check_together(tuple(specs.values()))
    for entry in _entries(complain):
        try:
            spec = _third_party(entry, specs)
        except BaseException as error:
            if came_by_signal(error):
                raise
            why = str(error) if isinstance(error, SpecError) else told(error)
            message = f"spec {entry.name!r} ({entry.value}) is left out: {why}"
            if entry.name in wanted and entry.name not in specs:
                raise SpecError(message) from error
            broken[entry.name] = message
            if complain is not None:
                complain(message)
        else:
            specs[spec.name] = spec
    unknown = [name for name in wanted if name not in specs]
    if unknown:
        reasons = "".join(f"; {message}" for message in broken.values())
        raise SettingsError(
            f"apis: unknown api {', '.join(map(repr, unknown))}; known: "
            f"{', '.join(sorted(specs))}{reasons}"
        )
    return tuple(specs[name] for name in wanted or specs)


def _entries(complain: Callable[[str], None] | None) -> list[EntryPoint]:
    """Return what other packages offer; finders of others look for it, and may fail."""
    try:
        return sorted(entry_points(group=GROUP), key=lambda entry: entry.name)
    except BaseException as error:
        if came_by_signal(error):
            raise
        if complain is not None:
            complain(f"no spec of another package can be found: {told(error)}")
        return []


def _third_party(entry: EntryPoint, known: Mapping[str, Spec]) -> Spec:
    spec = entry.load()
    if not isinstance(spec, Spec):
        raise SpecError(f"it is {type(spec).__name__}, not a Spec")
    validate(spec)
    if spec.name in known:
        raise SpecError(f"there is already a spec named {spec.name!r}")
    check_together((*known.values(), spec))
    return spec


def validate(spec: Spec) -> None:
    """Check a spec as a whole; `call()` has checked each row.

    Args:
        spec: the spec.

    Raises:
        SpecError: a kind that nothing acquires, or that must be released but cannot be; a
            parent that is declared after its child; a shape for an unknown function, class or
            parameter; two rows for one function; a binding that reaches nothing. The message
            names the file, and the function and parameter where there is one.
    """
    place = _place(spec)
    if not spec.bindings:
        raise SpecError(f"{place}: no binding says how Python reaches it")
    seen: set[str] = set()
    for row in spec.calls:
        for name in row.names:
            if name in seen:
                raise SpecError(f"{row.source}: {name} is described twice in spec {spec.name!r}")
            seen.add(name)
    effects = [effect for row in _rows(spec) for effect in row.effects]
    acquired = {e.kind for e in effects if isinstance(e, Acquires)}
    released = {
        e.kind
        for e in effects
        if isinstance(e, ReleasesAll | Ends) or (isinstance(e, Releases) and not e.detaches)
    }
    declared: set[Kind] = set(spec.foreign)
    for kind in spec.kinds:
        if kind.under is not None and kind.under in spec.kinds and kind.under not in declared:
            raise SpecError(f"{place}: kind {kind.name} stands before its parent")
        if not {kind.home, kind.opens} - {None} <= declared:
            raise SpecError(f"{place}: kind {kind.name} stands before its home= or opens=")
        if any(kind.name == other.name for other in declared):
            raise SpecError(f"{place}: two kinds are named {kind.name}")
        declared.add(kind)
        if kind not in acquired and not kind.given:
            raise SpecError(f"{place}: no call acquires a {kind.name}")
        if kind.must_release and kind not in released:
            raise SpecError(f"{place}: no call releases a {kind.name}")
        if kind.release and kind.release not in seen:
            raise SpecError(f"{place}: kind {kind.name}: unknown function {kind.release!r}")
    for row in _rows(spec):
        for effect in row.effects:
            if effect.kind not in declared:
                raise SpecError(
                    f"{row.source}: {row.name} names the kind {effect.kind.name}, which spec "
                    f"{spec.name!r} does not list in kinds= or foreign="
                )
    for query in spec.queries:
        try:
            query.function()
        except SpecError as error:
            raise SpecError(f"{place}: {error}") from error
    _validate_bindings(spec)


def _rows(spec: Spec) -> list[Call]:
    """Return every row: the API's functions, and what a binding makes of several of them."""
    return [*spec.calls, *(row for binding in spec.bindings for row in binding.rows)]


def _place(spec: Spec) -> str:
    """Return where a spec stands, for messages: its file and its name."""
    sources = [*(row.source for row in spec.calls), *(kind.source for kind in spec.kinds)]
    file = f"{sources[0].rpartition(':')[0]}: " if sources else ""
    return f"{file}spec {spec.name!r}"


def _validate_bindings(spec: Spec) -> None:
    calls = spec.by_name()
    names: set[str] = set()
    for binding in spec.bindings:
        where = f"{_place(spec)}: binding {binding.name!r}"
        if binding.name in names:
            raise SpecError(f"{where} is there twice")
        names.add(binding.name)
        if isinstance(binding.target, Dll) != (binding.codec in (Codec.CTYPES, Codec.CFFI)):
            raise SpecError(f"{where}: codec {binding.codec.value!r} does not fit its target")
        if isinstance(binding.target, Dll):
            _check_libraries(where, binding.target)
            continue
        if isinstance(binding.target, Functions | Methods) != (binding.codec is Codec.NUMBERS):
            raise SpecError(f"{where}: codec {binding.codec.value!r} does not fit its target")
        _check_objects(where, spec, binding.target)
        known = {**calls, **{name: row for row in binding.rows for name in row.names}}
        for shape in binding.shapes.values():
            for name in (shape.call, *shape.steps):
                if name not in known:
                    raise SpecError(f"{_shape(spec, binding, shape)}: unknown function {name}")
            call = known[shape.call]
            _check_shape(_shape(spec, binding, shape), binding.target, shape, call)
        if isinstance(binding.target, Methods):
            _check_methods(where, spec, binding, binding.target)


def _shape(spec: Spec, binding: Binding, shape: Shape) -> str:
    source = shape.source or _place(spec)
    return f"{source}: binding {binding.name!r}: shape {shape.python}"


def _check_libraries(where: str, target: Dll) -> None:
    if not target.libraries and not target.marker:
        raise SpecError(f"{where} names no library")
    for name in target.libraries:
        if name != name.lower() or not name or re.search(r"[\\/]|\.(dll|so|dylib)\b", name):
            raise SpecError(
                f"{where}: library {name!r} would never be found; lower case, without folder, "
                "prefix and suffix"
            )


def _check_objects(
    where: str, spec: Spec, target: Objects | LibraryObjects | Functions | Methods
) -> None:
    if not target.modules:
        raise SpecError(f"{where} names no module")
    if isinstance(target, Functions | Methods) and spec.scoped:
        raise SpecError(f"{where}: nothing says to which library a number of scoped=True belongs")
    if isinstance(target, Functions):
        return
    for name, kind in target.classes.items():
        if kind not in spec.kinds:
            raise SpecError(f"{where}: class {name} stands for a kind that kinds= does not list")
    if isinstance(target, Methods):
        return
    for name in target.parents if isinstance(target, Objects) else (target.owner, *target.proxied):
        if name not in target.classes:
            raise SpecError(f"{where}: parents= names the unknown class {name}")
    for path in target.locked if isinstance(target, LibraryObjects) else ():
        if not re.fullmatch(r"\w+(\.\w+){2,}", path):
            raise SpecError(f"{where}: locked= takes module.Class.method, not {path!r}")


def _check_methods(where: str, spec: Spec, binding: Binding, target: Methods) -> None:
    """Refuse a class whose objects come from nowhere, and what numbers of objects cannot say."""
    if spec.queries:
        raise SpecError(
            f"{where}: the numbers of {', '.join(target.classes)} mean nothing without their "
            "object, and a Query is given numbers alone"
        )
    calls = spec.by_name() | {name: row for row in binding.rows for name in row.names}
    for shape in binding.shapes.values():
        if not shape.receiver:
            raise SpecError(
                f"{_shape(spec, binding, shape)}: no method of a class, as Methods have"
            )
        if shape.many or shape.steps or shape.attributes or shape.returns:
            raise SpecError(
                f"{_shape(spec, binding, shape)}: a method of Methods hands out one number, or "
                "several in a tuple"
            )
    for name, kind in target.classes.items():
        made_by = binding.shapes.get(f"{name}.__init__")
        if made_by is None or not any(
            isinstance(effect, Acquires) and (effect.kind, effect.out) == (kind, made_by.receiver)
            for effect in calls[made_by.call].effects
        ):
            raise SpecError(
                f"{where}: {name}.__init__ needs a shape whose self= is the parameter in which "
                f"the call hands out the {kind.name}"
            )


def _check_shape(
    where: str, target: Objects | LibraryObjects | Functions | Methods, shape: Shape, call: Call
) -> None:
    owner, dot, _ = shape.python.partition(".")
    classes: Mapping[str, Kind] = {} if isinstance(target, Functions) else target.classes
    if dot and owner not in classes:
        raise SpecError(f"{where}: unknown class {owner}")
    if shape.reads and not isinstance(target, Objects):
        raise SpecError(
            f"{where}: an attribute is read as a call (get) of the classes of Objects alone"
        )
    used = [c_name for _, c_name in (*shape.arguments, *shape.attributes) if c_name]
    used += [name for name in (shape.receiver, *shape.outs) if name]
    allowed = [*call.params, *([RETURN] if shape.result == RETURN else [])]
    if isinstance(target, LibraryObjects):
        allowed += [LIBRARY, OWNER]
    for name in used:
        if name not in allowed:
            raise SpecError(
                f"{where}: {shape.call} has no parameter {name!r}; it has: {' '.join(call.params)}"
            )
    handles = {
        effect.kind
        for effect in call.effects
        if isinstance(effect, Uses | AddsRef | Releases) and effect.param == shape.receiver
    }
    if handles and classes[owner] not in handles:
        raise SpecError(
            f"{where}: {shape.call} takes no {classes[owner].name} in {shape.receiver!r}"
        )
    if shape.returns and shape.returns not in classes:
        raise SpecError(f"{where}: unknown class {shape.returns} after '->'")
    for out in shape.outs:
        results = [
            effect.kind
            for effect in call.effects
            if isinstance(effect, Acquires | Finds) and effect.out == out
        ]
        if not results:
            raise SpecError(f"{where}: {shape.call} hands out nothing in {out!r}")
        for kind in results:
            if isinstance(target, Objects | LibraryObjects) and kind not in classes.values():
                raise SpecError(f"{where}: no class stands for the {kind.name} in {out!r}")


def covered(spec: Spec) -> dict[str, object]:
    """Return a spec as plain data, for `csptrace specs --json`.

    Args:
        spec: the spec.

    Returns:
        Names, kinds, calls with their effects in words, and bindings; JSON-serialisable.
    """
    return {
        "name": spec.name,
        "title": spec.title,
        "source": spec.source,
        "kinds": [
            {
                "name": kind.name,
                "title": kind.title,
                "under": kind.under.name if kind.under else None,
                "cascade": kind.cascade.value,
                "orderly": kind.orderly,
                "must_release": kind.must_release,
                "secret": kind.secret,
                "implied": kind.implied,
                "release": kind.release,
                "harm": kind.harm,
                "flags": dict(kind.flags),
                "fork": kind.fork.value,
            }
            for kind in spec.kinds
        ],
        "calls": [
            {
                "name": name,
                "library": row.library,
                "params": list(row.params),
                "effects": covered_effects(row),
            }
            for row in spec.calls
            for name in row.names
        ],
        "bindings": [
            {
                "name": binding.name,
                "codec": binding.codec.value,
                "success": binding.success.value,
                "where": places(binding),
                "functions": sorted(binding.shapes) or sorted(spec.by_name()),
            }
            for binding in spec.bindings
        ],
    }


def places(binding: Binding) -> list[str]:
    """Return where a binding finds the functions: names of libraries or modules.

    Args:
        binding: a binding.
    """
    if not isinstance(binding.target, Dll):
        return list(binding.target.modules)
    marker = binding.target.marker
    return [*binding.target.libraries, *([f"any library that exports {marker}"] if marker else [])]


def covered_effects(call: Call) -> list[dict[str, str]]:
    """Return what a call does, each effect as plain text fields; `effect` is the verb.

    Args:
        call: a row of a spec.
    """
    return [_effect(effect) for effect in call.effects]


_FURTHER: Final = ("count", "beside", "asking", "hands_over", "to", "even_on_failure")


def _effect(effect: object) -> dict[str, str]:
    plain: dict[str, str] = {"effect": type(effect).__name__.lower()}
    if isinstance(effect, Acquires) and effect.valued:
        plain["effect"] = "begins"
    if isinstance(effect, Releases) and effect.detaches:
        plain["effect"] = "detaches"
    if isinstance(effect, Sets) and not effect.value:
        plain["effect"] = "clears"
    for name in ("kind", "param", "flag", "out", "under", "needs", "when", *_FURTHER):
        value = getattr(effect, name, None)
        if value is None or value == "":
            continue
        if isinstance(value, Query):
            plain[name] = value.words
            continue
        if name == "kind":
            value = value.name
        elif name in ("under", "needs") and not isinstance(value, str):
            value = value.param if value.how == "param" else f"{value.how} of {value.param}"
        plain[name] = str(value)
    return plain
