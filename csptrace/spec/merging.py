"""One function that several specs describe: what each says of it holds.

`CertOpenStore` hands out a store (a matter of certificate stores) and takes over a provider context
(a matter of CryptoAPI). Parameters are matched by position, since each spec names them as it likes.
"""

from __future__ import annotations

import dataclasses
from itertools import combinations
from typing import TYPE_CHECKING, Final

from csptrace.errors import SpecError
from csptrace.spec.bindings import Dll
from csptrace.spec.conditions import Condition, either
from csptrace.spec.effects import Acquires, AddsRef, Effect, Finds, Reference, Releases, Sets, Uses

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from csptrace.spec.bindings import Binding, Codec, Spec
    from csptrace.spec.calls import Call

__all__ = ["check_together", "merged", "shares_library"]

_NAMING: Final = ("param", "out", "under", "beside", "count", "named", "to")
_SAYS_NOTHING: Final = {"under": None, "needs": None, "named": "", "hands_over": None, "to": ""}
"""Fields that one row may leave to another."""


def merged(name: str, rows: Sequence[Call]) -> Call:
    """Return one row that does what several rows say of one function.

    Args:
        name: the function.
        rows: what each spec says of it.

    Returns:
        The row, with the parameter names of the first.

    Raises:
        SpecError: they contradict each other; the message names file and line of both.
    """
    first, *others = rows
    effects = list(first.effects)
    for other in others:
        if len(other.params) != len(first.params):
            raise _conflict(
                name,
                first,
                other,
                f"it has {len(first.params)} parameters there and {len(other.params)} here",
            )
        names = dict(zip(other.params, first.params, strict=True))
        for each in other.effects:
            _take_in(name, effects, _renamed(each, names), first, other)
    if not others:
        return first
    return dataclasses.replace(first, names=(name,), effects=tuple(effects))


def check_together(specs: Sequence[Spec], *, everywhere: bool = False) -> None:
    """Check that specs which describe one function of a library can be used together.

    Args:
        specs: the specs.
        everywhere: whether each of them describes libraries that the others describe, too.

    Raises:
        SpecError: two of them contradict each other; the message names file and line of both.
    """
    for one, other in combinations(specs, 2):
        here, there = one.by_name(), other.by_name()
        common = [name for name in here if name in there]
        for mine, its in _pairs(one, other, everywhere=everywhere) if common else ():
            for name in common:
                rows = here[name], there[name]
                if one.scoped != other.scoped:
                    raise _conflict(
                        name, *rows, "the values of one spec belong to one library (scoped=True)"
                    )
                if mine.success is not its.success:
                    raise _conflict(
                        name,
                        *rows,
                        f"success is {mine.success.value!r} there and {its.success.value!r} here",
                    )
                merged(name, rows)


def shares_library(one: Spec, other: Spec, codec: Codec) -> bool:
    """Return whether two specs describe functions of one library.

    Args:
        one: a spec.
        other: another one.
        codec: how the library is reached.
    """
    mine, its = (
        {
            name
            for binding in spec.bindings
            if binding.codec is codec and isinstance(binding.target, Dll)
            for name in (*binding.target.libraries, binding.target.marker)
            if name
        }
        for spec in (one, other)
    )
    return bool(mine & its)


def _pairs(one: Spec, other: Spec, *, everywhere: bool = False) -> list[tuple[Binding, Binding]]:
    return [
        (mine, its)
        for mine in one.bindings
        for its in other.bindings
        if mine.codec is its.codec
        and isinstance(mine.target, Dll)
        and isinstance(its.target, Dll)
        and (
            everywhere
            or set(mine.target.libraries) & set(its.target.libraries)
            or mine.target.marker  # any library may be one of these
            or its.target.marker
        )
    ]


def _conflict(name: str, first: Call, other: Call, why: str) -> SpecError:
    return SpecError(
        f"{other.source}: {name} is described in {first.source}, too, and the two cannot both be "
        f"true: {why}; make the rows agree, or leave one of the specs out by the setting apis"
    )


def _take_in(name: str, effects: list[Effect], new: Effect, first: Call, other: Call) -> None:
    """Add what another row says of a handle to what is said already."""
    for at, known in enumerate(effects):
        if known == new:
            return
        if _place(known) != _place(new):
            continue
        if known.kind is new.kind and type(known) is type(new):
            both = _both(known, new)
            if both is None:
                raise _conflict(name, first, other, _said(known, new))
            effects[at] = both
            return
        if _contradicts(known, new):
            raise _conflict(name, first, other, _said(known, new))
        if known.kind is new.kind and isinstance(new, Uses) and _ends(known):
            return  # a release is a use
        if known.kind is new.kind and isinstance(known, Uses) and _ends(new):
            effects[at] = new
            return
    effects.append(new)


def _place(effect: Effect) -> str:
    if isinstance(effect, Acquires | Finds):
        return effect.out
    if isinstance(effect, Sets):
        return f"{effect.param}.{effect.flag} = {effect.value}"
    return getattr(effect, "param", "")


def _ends(effect: Effect) -> bool:
    return isinstance(effect, Releases) and effect.when is None


def _said(known: Effect, new: Effect) -> str:
    return (
        f"of {_place(known)} it says {type(known).__name__} {known.kind.name} there and "
        f"{type(new).__name__} {new.kind.name} here, on other terms"
    )


def _both(known: Effect, new: Effect) -> Effect | None:
    """Return the effect that says what two of one sort say, `None` if they contradict."""
    changes: dict[str, object] = {}
    for field in dataclasses.fields(known):
        mine, its = getattr(known, field.name), getattr(new, field.name)
        if mine == its:
            continue
        if field.name == "when" and isinstance(known, Uses | Sets):
            changes["when"] = None if mine is None or its is None else either(mine, its)
        elif field.name in _SAYS_NOTHING and mine == _SAYS_NOTHING[field.name]:
            changes[field.name] = its
        elif field.name not in _SAYS_NOTHING or its != _SAYS_NOTHING[field.name]:
            return None
    return dataclasses.replace(known, **changes)  # type: ignore[arg-type]


def _contradicts(known: Effect, new: Effect) -> bool:
    """Return whether two effects of different sorts or kinds cannot hold for one parameter."""
    outs = isinstance(known, Acquires | Finds) and isinstance(new, Acquires | Finds)
    if outs:
        shared = getattr(known, "valued", False) or getattr(new, "valued", False)
        return not shared and (_always(known) or _always(new))
    if known.kind is not new.kind:
        return False
    return {type(known), type(new)} == {Releases, AddsRef} and (_always(known) or _always(new))


def _always(effect: Effect) -> bool:
    return getattr(effect, "when", None) is None


def _renamed(effect: Effect, names: Mapping[str, str]) -> Effect:
    """Return an effect in the parameter names of another row."""
    changes: dict[str, object] = {}
    for field in dataclasses.fields(effect):
        value = getattr(effect, field.name)
        if isinstance(value, Reference):
            changes[field.name] = Reference(value.how, names.get(value.param, value.param))
        elif isinstance(value, Condition):
            changes[field.name] = _renamed_condition(value, names)
        elif field.name in _NAMING and isinstance(value, str):
            changes[field.name] = names.get(value, value)
    return dataclasses.replace(effect, **changes)  # type: ignore[arg-type]


def _renamed_condition(condition: Condition, names: Mapping[str, str]) -> Condition:
    parts: Iterable[Condition] = (_renamed_condition(each, names) for each in condition.parts)
    return dataclasses.replace(
        condition, param=names.get(condition.param, condition.param), parts=tuple(parts)
    )
