"""Which specs there are: the built-in ones and those of other packages.

Another package adds an API by an entry point in the group `csptrace.specs` whose value is a
`Spec`. A spec that cannot be loaded is left out with one warning; the others are used.
"""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final

from csptrace.errors import SettingsError, SpecError
from csptrace.specs.vocabulary import Acquires, Dll, Objects, Releases, ReleasesAll, Spec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from importlib.metadata import EntryPoint

__all__ = ["BUILT_IN", "GROUP", "covered", "load", "validate"]

GROUP: Final = "csptrace.specs"
BUILT_IN: Final = ("cryptoapi",)


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
        spec = importlib.import_module(f"csptrace.specs.{name}").SPEC
        validate(spec)
        specs[name] = spec
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            spec = _third_party(entry, specs)
        except Exception as error:
            message = f"spec {entry.name!r} ({entry.value}) is left out: {error}"
            if entry.name in wanted:
                raise SpecError(message) from error
            broken[entry.name] = message
            if complain is not None:
                complain(message)
        else:
            specs[spec.name] = spec
    unknown = [name for name in wanted if name not in specs]
    if unknown:
        raise SettingsError(
            f"apis: unknown api {', '.join(map(repr, unknown))}; known: {', '.join(sorted(specs))}"
        )
    return tuple(specs[name] for name in wanted or specs)


def _third_party(entry: EntryPoint, known: Mapping[str, Spec]) -> Spec:
    spec = entry.load()
    if not isinstance(spec, Spec):
        raise SpecError(f"{entry.value} is {type(spec).__name__}, not a Spec")
    validate(spec)
    if spec.name in known:
        raise SpecError(f"there is already a spec named {spec.name!r}")
    return spec


def validate(spec: Spec) -> None:
    """Check a spec as a whole; `call()` has checked each row.

    Args:
        spec: the spec.

    Raises:
        SpecError: a kind that nothing acquires, or that must be released but cannot be; a
            parent that is declared after its child; a shape for an unknown function, class or
            parameter; two rows for one function.
    """
    seen: set[str] = set()
    for row in spec.calls:
        for name in row.names:
            if name in seen:
                raise SpecError(f"{row.source}: {name} is described twice in spec {spec.name!r}")
            seen.add(name)
    acquired = {e.kind for row in spec.calls for e in row.effects if isinstance(e, Acquires)}
    released = {
        e.kind for row in spec.calls for e in row.effects if isinstance(e, Releases | ReleasesAll)
    }
    declared: set[object] = set()
    for kind in spec.kinds:
        if kind.under is not None and kind.under in spec.kinds and kind.under not in declared:
            raise SpecError(f"spec {spec.name!r}: kind {kind.name} stands before its parent")
        declared.add(kind)
        if kind not in acquired:
            raise SpecError(f"spec {spec.name!r}: no call acquires a {kind.name}")
        if kind.must_release and kind not in released:
            raise SpecError(f"spec {spec.name!r}: no call releases a {kind.name}")
    for row in spec.calls:
        for effect in row.effects:
            if effect.kind not in declared:
                raise SpecError(
                    f"{row.source}: {row.name} names the kind {effect.kind.name}, which spec "
                    f"{spec.name!r} does not list in kinds="
                )
    _validate_bindings(spec)


def _validate_bindings(spec: Spec) -> None:
    calls = spec.by_name()
    for binding in spec.bindings:
        where = f"spec {spec.name!r}: binding {binding.name!r}"
        if isinstance(binding.target, Dll):
            if not binding.target.libraries:
                raise SpecError(f"{where} names no library")
            continue
        _check_objects(where, binding.target)
        for shape in binding.shapes.values():
            call = calls.get(shape.call)
            if call is None:
                raise SpecError(f"{where}: shape {shape.python}: unknown function {shape.call}")
            owner, dot, _ = shape.python.partition(".")
            if dot and owner not in binding.target.classes:
                raise SpecError(f"{where}: shape {shape.python}: unknown class {owner}")
            used = [c_name for _, c_name in shape.arguments if c_name]
            used += [name for name in (shape.receiver, shape.result) if name]
            for name in used:
                if name not in call.params:
                    raise SpecError(
                        f"{where}: shape {shape.python}: {shape.call} has no parameter {name!r}; "
                        f"it has: {' '.join(call.params)}"
                    )


def _check_objects(where: str, target: Objects) -> None:
    if not target.modules:
        raise SpecError(f"{where} names no module")
    for name in target.parents:
        if name not in target.classes:
            raise SpecError(f"{where}: parents= names the unknown class {name}")


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
                "release": kind.release,
            }
            for kind in spec.kinds
        ],
        "calls": [
            {
                "name": name,
                "library": row.library,
                "params": list(row.params),
                "effects": [_effect(effect) for effect in row.effects],
            }
            for row in spec.calls
            for name in row.names
        ],
        "bindings": [
            {
                "name": binding.name,
                "codec": binding.codec.value,
                "success": binding.success.value,
                "where": list(
                    binding.target.libraries
                    if isinstance(binding.target, Dll)
                    else binding.target.modules
                ),
                "functions": sorted(binding.shapes) or sorted(spec.by_name()),
            }
            for binding in spec.bindings
        ],
    }


def _effect(effect: object) -> dict[str, object]:
    plain: dict[str, object] = {"effect": type(effect).__name__.lower()}
    for name in ("kind", "param", "out", "under", "needs", "when", "hands_over", "even_on_failure"):
        value = getattr(effect, name, None)
        if value is None or value == "":
            continue
        if name == "kind":
            value = value.name
        elif name in ("under", "needs") and not isinstance(value, str):
            value = value.param if value.how == "param" else f"{value.how} of {value.param}"
        plain[name] = str(value)
    return plain
