"""Calls: one C function each, with its effects; every row is checked."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

from csptrace.errors import SpecError
from csptrace.spec.conditions import Condition
from csptrace.spec.effects import (
    Acquires,
    AddsRef,
    Effect,
    Ends,
    Exposes,
    Finds,
    Reference,
    Releases,
    ReleasesAll,
    Sets,
    Uses,
)
from csptrace.spec.kinds import LIBRARY, OWNER, RETURN, Kind
from csptrace.spec.origin import caller

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = [
    "Call",
    "call",
    "exports",
]


@dataclasses.dataclass(frozen=True, slots=True)
class Call:
    """One C function, or several that differ in name only (the A and W forms).

    Attributes:
        names: the exported names.
        params: the C parameters in order.
        effects: what a call does to handles.
        library: the library that exports it, without suffix (`"advapi32"`).
        source: file and line of the row, for messages.
    """

    names: tuple[str, ...]
    params: tuple[str, ...]
    effects: tuple[Effect, ...]
    library: str
    source: str

    @property
    def name(self) -> str:
        """The first exported name."""
        return self.names[0]


def call(names: str, params: str, *effects: Effect | tuple[Effect, ...], library: str) -> Call:
    """Describe one C function.

    Args:
        names: its exported name, or several, space-separated (`"CryptSignHashA CryptSignHashW"`).
        params: its C parameters, verbatim, separated by spaces.
        effects: what a call does to handles, in the order in which C performs it; several from
            one word (`any_of`) stand for themselves.
        library: the library that exports it, without suffix.

    Returns:
        The checked call.

    Raises:
        SpecError: an effect names an unknown parameter, a condition cannot be judged in time, or
            a word is missing; the message names file, function and parameter.
    """
    described = Call(tuple(names.split()), tuple(params.split()), _flat(effects), library, caller())
    _check_call(described)
    return described


def exports(library: str, *kinds: Kind) -> Callable[..., Call]:
    """Return what describes the functions of one library, whose parameters say what they carry.

    It is used like `call`, without `library=`. What a parameter's name says (`Kind.params`) need
    not be said again:

    * a parameter that carries a kind is used, unless the row says what else is done with it; a
      release under a condition is a use as well. A kind that is `given` is only named, not used;
    * one that receives a kind acquires it, unless the row says what else comes out of it;
    * what is acquired lives under the first parameter with a handle of its kind's parent; if there
      is none, beside the first handle of its own kind (a duplicate);
    * a call that names no handle which could be dead uses the library itself, if there is a kind
      for that and the row says nothing of it;
    * an operation (`begins`, `ends` and what is made of them) is one of the first parameter with a
      handle of its kind's parent.

    Args:
        library: the library, without suffix.
        kinds: the kinds that its functions take and hand out.

    Returns:
        A function `(names, params, *effects)` that returns the checked call; its effects are the
        uses that follow, those of the row, and the acquisitions that follow.

    Raises:
        SpecError: two kinds name one parameter.
    """
    carried: dict[str, Kind] = {}
    for kind in kinds:
        for param in kind.params.split():
            if carried.setdefault(param, kind) is not kind:
                raise SpecError(
                    f"{kind.source}: params= of kind {kind.name} names {param!r}, and so does "
                    f"that of kind {carried[param].name}; say in each row what it carries"
                )
    whole = next((kind for kind in kinds if kind.library), None)

    def described(names: str, params: str, *effects: Effect | tuple[Effect, ...]) -> Call:
        listed = tuple(params.split())
        complete = _Implied(listed, _flat(effects), carried, whole).effects()
        row = Call(tuple(names.split()), listed, complete, library, caller())
        _check_call(row)
        return row

    return described


class _Implied:
    """What follows for one row from the names of its parameters."""

    def __init__(
        self,
        params: tuple[str, ...],
        said: tuple[Effect, ...],
        carried: Mapping[str, Kind],
        whole: Kind | None,
    ) -> None:
        self._params = params
        self._said = said
        self._carried = carried
        self._whole = whole

    def effects(self) -> tuple[Effect, ...]:
        """Return what the row says, with what follows from the names around it."""
        settled = {
            effect.param
            for effect in self._said
            if isinstance(effect, Uses | AddsRef)
            or (isinstance(effect, Releases) and effect.when is None)
        }
        outs = {
            effect.out for effect in self._said if isinstance(effect, Acquires | Finds | Exposes)
        }
        uses: list[Effect] = [
            Uses(kind, param)
            for param in self._params
            if (kind := self._carried.get(param)) is not None
            and not kind.given
            and param not in settled | outs
        ]
        handles = any(isinstance(effect, Uses | AddsRef | Releases) for effect in self._said)
        spoken = any(effect.kind is self._whole for effect in self._said)
        if self._whole is not None and not (uses or handles or spoken):
            uses.append(Uses(self._whole, LIBRARY))
        acquisitions = [
            Acquires(kind, param)
            for param in self._params
            if (kind := self._carried.get(param.removeprefix("p"))) is not None
            and param not in self._carried
            and param not in outs
        ]
        return (*uses, *map(self._placed, (*self._said, *acquisitions)))

    def _placed(self, effect: Effect) -> Effect:
        """Return an effect with what follows of where its handle lives."""
        if isinstance(effect, Acquires) and not effect.valued:
            if effect.under is not None or effect.kind.under is None:
                return effect
            parent, own = self._first(effect.kind.under), self._first(effect.kind)
            if parent:
                return dataclasses.replace(effect, under=Reference("param", parent))
            return dataclasses.replace(effect, under=Reference("parent", own)) if own else effect
        if isinstance(effect, Acquires | Ends) and effect.kind.under is not None:
            parent = self._first(effect.kind.under)
            if isinstance(effect, Ends) and not effect.param:
                return dataclasses.replace(effect, param=parent)
            if isinstance(effect, Acquires) and not effect.out:
                return dataclasses.replace(effect, out=parent, under=Reference("param", parent))
        return effect

    def _first(self, kind: Kind) -> str:
        """Return the first parameter that carries a kind, empty if there is none."""
        said = {
            effect.param: effect.kind
            for effect in self._said
            if isinstance(effect, Uses | AddsRef | Releases)
        }
        return next(
            (each for each in self._params if said.get(each, self._carried.get(each)) is kind), ""
        )


def _flat(effects: Iterable[Effect | tuple[Effect, ...]]) -> tuple[Effect, ...]:
    """Return effects, several that come from one word by themselves."""
    return tuple(
        each for effect in effects for each in (effect if isinstance(effect, tuple) else (effect,))
    )


def _check_call(described: Call) -> None:
    """Refuse a row that cannot be true.

    Raises:
        SpecError: see `call`.
    """
    if not described.names:
        raise SpecError(f"{described.source}: a call needs at least one name")
    where = f"{described.source}: {described.name}"
    for word in (*described.names, *described.params):
        if not word.isidentifier():
            raise SpecError(f"{where}: {word!r} is not a C name; separate names by blanks only")
    if not described.library:
        raise SpecError(f"{where}: library= is empty; name the library that exports it")
    if len(set(described.params)) != len(described.params):
        raise SpecError(f"{where}: a parameter is listed twice in {' '.join(described.params)!r}")
    for effect in described.effects:
        if not isinstance(effect, Effect):
            raise SpecError(f"{where}: {effect!r} is not an effect; use acquires(), uses(), …")
        verb = type(effect).__name__
        if not isinstance(effect.kind, Kind):
            raise SpecError(f"{where}: {verb} names {effect.kind!r}, which is not a Kind")
        for field, condition in _conditions_of(effect):
            _check_condition(f"{where}: {verb} {field}=", condition)
        if isinstance(effect, Sets) and effect.flag not in effect.kind.flags:
            raise SpecError(
                f"{where}: {verb} names {effect.flag!r}, which is none of the flags= of kind "
                f"{effect.kind.name}"
            )
        for field in ("under", "needs"):
            reference = getattr(effect, field, None)
            if reference is not None and not isinstance(reference, str | Reference):
                raise SpecError(
                    f"{where}: {verb} {field}={reference!r} is neither a parameter nor a reference"
                )
        if isinstance(effect, Uses) and effect.to and effect.hands_over is None:
            raise SpecError(
                f"{where}: {verb} to={effect.to!r} says who owns what is handed over, but "
                "hands_over= does not say when it is"
            )
        for field, param in _params_of(effect):
            if param not in described.params and not (
                (field in ("out", "to", "of") and param == RETURN)
                or _stands_for(effect.kind, param)
            ):
                if not param and effect.kind.under is not None:
                    raise SpecError(
                        f"{where}: {verb} {effect.kind.name}: no parameter carries a "
                        f"{effect.kind.under.name}, to which it would belong; name one"
                    )
                raise SpecError(
                    f"{where}: {verb} names the unknown parameter {param!r} ({field}=); "
                    f"the call has: {' '.join(described.params) or 'none'}"
                )
        for field, condition in _conditions_of(effect):
            if condition.reads_result() and not isinstance(effect, Acquires | Finds | Sets):
                raise SpecError(
                    f"{where}: {verb} {field}={condition} reads a result, which is not known "
                    "before the call; only acquires(), finds() and sets() may do that"
                )
    _check_references(where, described)


def _stands_for(kind: Kind, param: str) -> bool:
    """Return whether a word that no C function has as a parameter can carry a handle of a kind."""
    return param == OWNER or (param == LIBRARY and kind.library)


_TESTS: Final = (
    "always",
    "flag",
    "nonzero",
    "equals",
    "given",
    "stored",
    "stored_equals",
    "is_set",
)


def _check_condition(where: str, condition: object) -> None:
    """Refuse a condition that cannot be judged, or that is always true.

    Raises:
        SpecError: see above.
    """
    if not isinstance(condition, Condition):
        raise SpecError(
            f"{where}{condition!r} is not a condition; use flag(), nonzero(), given() …"
        )
    if condition.test in ("every", "either", "negation"):
        if not condition.parts:
            raise SpecError(f"{where}{condition.test}() combines nothing")
        for part in condition.parts:
            _check_condition(where, part)
    elif condition.test not in _TESTS:
        raise SpecError(f"{where}{condition.test!r} is not one of the conditions there are")
    elif condition.test == "flag" and condition.value <= 0:
        raise SpecError(f"{where}flag({condition.param!r}, {condition.value}) names no bit")


def _check_references(where: str, described: Call) -> None:
    """Refuse a reference that contradicts what the row says elsewhere, or that leads nowhere.

    Raises:
        SpecError: see above.
    """
    known: dict[str, list[Kind]] = {}
    for effect in described.effects:
        if isinstance(effect, Uses | AddsRef | Releases):
            known.setdefault(effect.param, []).append(effect.kind)
    handed_out = {
        effect.out: effect.kind
        for effect in described.effects
        if isinstance(effect, Acquires | Finds)
    }
    for effect in described.effects:
        if isinstance(effect, Sets) and effect.kind not in (
            *known.get(effect.param, ()),
            handed_out.get(effect.param),
        ):
            raise SpecError(
                f"{where}: Sets {effect.flag} of {effect.param!r}, but the row does not say that a "
                f"{effect.kind.name} is there"
            )
        for field, condition in _conditions_of(effect):
            for param, flag in condition.flags():
                if not any(flag in kind.flags for kind in known.get(param, ())):
                    raise SpecError(
                        f"{where}: {type(effect).__name__} {field}={condition}, but the row does "
                        f"not say that a handle with that flag is in {param!r}"
                    )
    for effect in described.effects:
        if not isinstance(effect, Acquires | ReleasesAll) or not effect.under:
            continue
        if effect.under == Reference("param", LIBRARY):
            continue
        kind, under = effect.kind, effect.under
        if isinstance(under, str):
            under = Reference("param", under)
        said = f"{where}: {type(effect).__name__} {kind.name} under="
        if kind.under is None:
            raise SpecError(f"{said}{under.param!r}, but kind {kind.name} has no under=")
        kinds = known.get(under.param, [])
        if under.how == "parent":
            kinds = [child.under for child in kinds if child.under is not None]
        elif under.how != "param":
            raise SpecError(f"{said}{under}: only a parameter or parent_of() can be a parent")
        if kind.under not in kinds and (kinds or under.how == "parent"):
            raise SpecError(
                f"{said}{under.how} {under.param!r}, but the row does not say that a "
                f"{kind.under.name} is there"
            )
    for effect in described.effects:
        if not isinstance(effect, Finds) or effect.under is None:
            continue
        if effect.under.param not in known:
            raise SpecError(
                f"{where}: Finds {effect.kind.name} under={effect.under.param!r}, but the row does "
                f"not say what handle is there; add uses(KIND, {effect.under.param!r})"
            )
    for effect in described.effects:
        if not isinstance(effect, Acquires) or effect.needs is None:
            continue
        said = f"{where}: Acquires {effect.kind.name} needs="
        if effect.needs.how == "parent":
            raise SpecError(f"{said}{effect.needs}: only a parameter or needs_of() can be needed")
        if effect.needs.param not in known:
            raise SpecError(
                f"{said}{effect.needs.param!r}, but the row does not say what handle is there; "
                f"add uses(KIND, {effect.needs.param!r})"
            )


def _params_of(effect: Effect) -> Iterable[tuple[str, str]]:
    if isinstance(effect, Acquires):
        yield "out", effect.out
        if effect.under is not None:
            yield "under", effect.under.param
        if effect.needs is not None:
            yield "needs", effect.needs.param
        if effect.named:
            yield "named", effect.named
    elif isinstance(effect, Finds):
        yield "out", effect.out
        if effect.count:
            yield "count", effect.count
        if effect.beside:
            yield "beside", effect.beside
        if effect.under is not None:
            yield "under", effect.under.param
    elif isinstance(effect, ReleasesAll):
        if effect.under:
            yield "under", effect.under
        if effect.beside:
            yield "beside", effect.beside
    elif isinstance(effect, Exposes):
        yield "out", effect.out
    elif isinstance(effect, Sets):
        yield "of", effect.param
    else:
        yield "param", effect.param
        if isinstance(effect, Uses) and effect.to:
            yield "to", effect.to
    for field, condition in _conditions_of(effect):
        for param in condition.params():
            yield field, param


def _conditions_of(effect: Effect) -> Iterable[tuple[str, Condition]]:
    for field in ("when", "hands_over", "even_on_failure"):
        condition = getattr(effect, field, None)
        if condition is not None:
            yield field, condition
