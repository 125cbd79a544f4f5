"""Effects: what a call does to handles."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, TypeAlias

from csptrace.errors import SpecError
from csptrace.spec.conditions import Condition, every, given, negation
from csptrace.spec.origin import caller

if TYPE_CHECKING:
    from collections.abc import Iterable

    from csptrace.spec.kinds import Kind
    from csptrace.spec.queries import Query

__all__ = [
    "Acquires",
    "AddsRef",
    "AnyOf",
    "Effect",
    "Ends",
    "Exposes",
    "Finds",
    "Reference",
    "Releases",
    "ReleasesAll",
    "Sets",
    "Uses",
    "acquires",
    "adds_ref",
    "any_of",
    "begins",
    "cancels",
    "clears",
    "detaches",
    "ends",
    "exposes",
    "finds",
    "finishes",
    "needs_of",
    "parent_of",
    "releases",
    "releases_all",
    "sets",
    "starts",
    "updates",
    "uses",
]


@dataclasses.dataclass(frozen=True, slots=True)
class Reference:
    """A handle that a row points at without being one of its parameters.

    Attributes:
        how: `"param"` (the handle in the parameter), `"parent"` (its parent) or `"needs"` (the
            handles it depends on).
        param: the parameter that carries the handle.
    """

    how: str
    param: str


def parent_of(param: str) -> Reference:
    """Point at the parent of the handle in `param` (a duplicate lives under the same parent)."""
    return Reference("parent", param)


def needs_of(param: str) -> Reference:
    """Point at what the handle in `param` depends on (a duplicated HMAC needs its key)."""
    return Reference("needs", param)


@dataclasses.dataclass(frozen=True, slots=True)
class AnyOf:
    """Several kinds of which a parameter takes one: the live handle with its value says which.

    Attributes:
        kinds: the kinds.
    """

    kinds: tuple[Kind, ...]


def any_of(*kinds: Kind) -> AnyOf:
    """Say that a parameter takes a handle of one of several kinds (NCryptFreeObject's hObject).

    Args:
        kinds: the kinds. They share a `space`, so that no two of them have a live value in common.

    Returns:
        What stands in the place of a kind in `uses`, `adds_ref` and `releases`.

    Raises:
        SpecError: there are fewer than two, or they can have a live value in common.
    """
    where = f"{caller()}: any_of({', '.join(getattr(kind, 'name', repr(kind)) for kind in kinds)})"
    if len(set(kinds)) < 2 or not all(hasattr(kind, "space") for kind in kinds):
        raise SpecError(f"{where}: name two kinds or more")
    if len({kind.space for kind in kinds}) > 1 or not kinds[0].space:
        raise SpecError(
            f"{where}: a value says of which kind it is only if no two of them can have it at "
            "once; give them one space="
        )
    return AnyOf(kinds)


@dataclasses.dataclass(frozen=True, slots=True)
class Acquires:
    """A successful call hands out a new handle, which the caller must release.

    With `valued`, `out` is an in parameter whose value the new handle shares (an operation has
    no handle of its own but its session's). With `shared`, one that is alive already stays as it
    is (a library that somebody has initialised before).
    """

    kind: Kind
    out: str
    under: Reference | None = None
    needs: Reference | None = None
    when: Condition | None = None
    named: str = ""
    valued: bool = False
    shared: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Finds:
    """A successful call hands out handles that are alive and that its caller need not release.

    What was found is known from then on: one that was thought dead has been handed out again.
    With `count`, `out` is an array, of which so many were filled. With `under`, it belongs to the
    handle in that parameter, of whatever kind, and ends with it.
    """

    kind: Kind
    out: str
    count: str = ""
    beside: str = ""
    when: Condition | None = None
    under: Reference | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Uses:
    """The call needs a valid handle; with `hands_over` the provider takes over the release.

    With `to`, it is the handle there that owns it from then on, and ends it with its own end. A
    call that `waits` is meant to be ended by the handle's release in another thread.
    """

    kind: Kind
    param: str
    hands_over: Condition | None = None
    when: Condition | None = None
    waits: bool = False
    to: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class AddsRef:
    """A successful call adds one reference to the handle; the value stays the same."""

    kind: Kind
    param: str


@dataclasses.dataclass(frozen=True, slots=True)
class Releases:
    """A successful call takes one reference away; the last one ends the handle.

    With `again` the call does nothing, and is not wrong, if the handle has ended before. With
    `detaches` it ends the handle only: what that stood for stays, and nobody can release it.
    """

    kind: Kind
    param: str
    when: Condition | None = None
    even_on_failure: Condition | None = None
    again: bool = False
    detaches: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class ReleasesAll:
    """A successful call ends every live handle of a kind (under one parent).

    With `beside`, those anywhere under the parent of the handle in that parameter; with `asking`,
    only those for which the provider answers yes. It is asked before the call about what somebody
    owes the release of, and about what was only found at its next use.
    """

    kind: Kind
    under: str = ""
    beside: str = ""
    asking: Query | None = None
    when: Condition | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Ends:
    """The call completes what `begins` has begun: on success and on failure, with exceptions.

    A success completes it if `when` holds (a size query does not), a failure unless the result is
    one of `survives` (a buffer that was too small).
    """

    kind: Kind
    param: str
    when: Condition | None = None
    on_success: bool = True
    on_failure: bool = True
    survives: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Exposes:
    """A successful call writes the address of a table of the library's functions.

    If they are not `traced`, what they hand out is not seen, and a value that has died may stand
    for something else.
    """

    kind: Kind
    out: str
    traced: bool = True


@dataclasses.dataclass(frozen=True, slots=True)
class Sets:
    """A successful call sets a flag of the handle in `param`, or clears it.

    What the handle is named by may be an out parameter. See `Kind.flags`.
    """

    kind: Kind
    param: str
    flag: str
    value: bool = True
    when: Condition | None = None


Effect: TypeAlias = (
    Acquires | Finds | Uses | AddsRef | Releases | ReleasesAll | Ends | Exposes | Sets
)


def acquires(
    kind: Kind,
    out: str,
    *,
    under: str | Reference | None = None,
    needs: str | Reference | None = None,
    when: Condition | None = None,
    unless: Condition | None = None,
    named: str = "",
    shared: bool = False,
) -> Acquires:
    """State that a successful call hands out a new handle.

    Args:
        kind: the kind of the new handle.
        out: the out parameter that receives it, or `RETURN`.
        under: its parent: a parameter or `parent_of(param)`.
        needs: a handle it depends on without being its child: a parameter or `needs_of(param)`.
        when: only if this holds.
        unless: only if this does not hold.
        named: the parameter that names the object (a key container), for reports.
        shared: one that is alive already stays as it is.

    Returns:
        The effect.
    """
    return Acquires(
        kind,
        out,
        _reference(under),
        _reference(needs),
        _when(when, unless),
        named=named,
        shared=shared,
    )


def begins(
    kind: Kind,
    param: str = "",
    *,
    needs: str | Reference | None = None,
    when: Condition | None = None,
) -> Acquires:
    """State that a successful call begins something which has no handle but its parent's.

    Args:
        kind: the kind of what is begun (a search, a multi-part operation).
        param: the parameter with the parent, whose value it shares; where `exports` is told which
            parameters carry the parent's kind, it need not be named.
        needs: a handle it depends on (the key of a signature).
        when: only if this holds.

    Returns:
        The effect.
    """
    return Acquires(kind, param, Reference("param", param), _reference(needs), when, valued=True)


def finds(
    kind: Kind,
    out: str,
    *,
    count: str = "",
    beside: str = "",
    under: str = "",
    when: Condition | None = None,
    unless: Condition | None = None,
) -> Finds:
    """State that a successful call hands out handles that nobody has to release because of it.

    Args:
        kind: the kind of the handles.
        out: the out parameter that receives them, or `RETURN`.
        count: the out parameter that says how many there are, where `out` is an array.
        beside: a parameter under whose parent they are found; they live in that parent's `home`.
        under: a parameter with the handle that they are lent by (a store's provider, a
            certificate's key): when that ends, they do.
        when: only if this holds.
        unless: only if this does not hold.

    Returns:
        The effect.
    """
    owner = Reference("param", under) if under else None
    return Finds(kind, out, count, beside, _when(when, unless), owner)


def uses(
    kind: Kind | AnyOf,
    param: str,
    *,
    hands_over: Condition | None = None,
    when: Condition | None = None,
    unless: Condition | None = None,
    waits: bool = False,
    to: str = "",
) -> Uses | tuple[Uses, ...]:
    """State that the call needs the handle in `param` to be valid.

    Args:
        kind: the kind of the handle, or `any_of` several.
        param: the parameter; a null value there is skipped.
        hands_over: if this holds and the call succeeds, the callee releases the handle later and
            the program owes nothing any more (CertOpenStore's hCryptProv).
        when: only if this holds; otherwise the parameter carries something else.
        unless: only if this does not hold.
        waits: releasing the handle in another thread is how the call is ended.
        to: with `hands_over`, what owns it from then on: the parameter with that handle, the out
            parameter that receives it, or `RETURN` (the store of CertOpenStore, which releases its
            hCryptProv when it is closed). It may be a handle that another spec knows.

    Returns:
        The effect.
    """
    condition = _when(when, unless)
    if isinstance(kind, AnyOf):
        return tuple(Uses(each, param, hands_over, condition, waits, to) for each in kind.kinds)
    return Uses(kind, param, hands_over, condition, waits, to)


def adds_ref(kind: Kind | AnyOf, param: str) -> AddsRef | tuple[AddsRef, ...]:
    """State that a successful call adds a reference to the handle in `param`."""
    if isinstance(kind, AnyOf):
        return tuple(AddsRef(each, param) for each in kind.kinds)
    return AddsRef(kind, param)


def releases(
    kind: Kind | AnyOf,
    param: str,
    *,
    when: Condition | None = None,
    unless: Condition | None = None,
    even_on_failure: Condition | None = None,
    again: bool = False,
) -> Releases | tuple[Releases, ...]:
    """State that the call releases the handle in `param`.

    Args:
        kind: the kind of the handle, or `any_of` several.
        param: the parameter; a null value there is skipped.
        when: only if this holds (CRYPT_DESTROYKEY).
        unless: only if this does not hold.
        even_on_failure: if this holds the handle is gone although the call failed
            (CryptReleaseContext with dwFlags other than 0).
        again: the call does nothing if the handle has ended before.

    Returns:
        The effect.
    """
    condition = _when(when, unless)
    if isinstance(kind, AnyOf):
        return tuple(
            Releases(each, param, condition, even_on_failure, again) for each in kind.kinds
        )
    return Releases(kind, param, condition, even_on_failure, again)


def detaches(
    kind: Kind,
    param: str,
    *,
    when: Condition | None = None,
    unless: Condition | None = None,
) -> Releases:
    """State that a successful call ends the handle and leaves what it stands for as it is.

    An object that stays in its TPM when the number for it is closed (Esys_TR_Close) cannot be
    released any more: a handle whose release somebody owes is `lost` then.

    Args:
        kind: the kind of the handle.
        param: the parameter; a null value there is skipped.
        when: only if this holds.
        unless: only if this does not hold.

    Returns:
        The effect.
    """
    return Releases(kind, param, _when(when, unless), detaches=True)


def sets(
    kind: Kind,
    param: str,
    flag: str,
    *,
    when: Condition | None = None,
    unless: Condition | None = None,
) -> Sets:
    """State that a successful call sets a flag of a handle, of which each handle has its own.

    A later call asks for it with `is_set`; and a leak may cost more while it is set (`Kind.flags`).

    Args:
        kind: the kind of the handle.
        param: the parameter with the handle, or the one that receives it; or `RETURN`.
        flag: one of the kind's `flags`.
        when: only if this holds.
        unless: only if this does not hold.

    Returns:
        The effect.
    """
    return Sets(kind, param, flag, True, _when(when, unless))


def clears(
    kind: Kind,
    param: str,
    flag: str,
    *,
    when: Condition | None = None,
    unless: Condition | None = None,
) -> Sets:
    """State that a successful call clears a flag of a handle; the arguments are those of `sets`."""
    return Sets(kind, param, flag, False, _when(when, unless))


def releases_all(
    kind: Kind,
    *,
    under: str = "",
    beside: str = "",
    asking: Query | None = None,
    unless: Condition | None = None,
) -> ReleasesAll:
    """State that a successful call releases every live handle of `kind`.

    Args:
        kind: the kind of the handles.
        under: only those whose parent is the handle in this parameter; empty for all.
        beside: only those anywhere under the parent of the handle in this parameter.
        asking: only those for which the provider answers yes, asked before the call.
        unless: only if this does not hold.

    Returns:
        The effect.
    """
    return ReleasesAll(kind, under, beside, asking, _when(None, unless))


def ends(
    kind: Kind,
    param: str = "",
    *,
    when: Condition | None = None,
    on_success: bool = True,
    on_failure: bool = True,
    survives: Iterable[int] = (),
) -> Ends:
    """State that the call completes what `begins` has begun under the handle in `param`.

    Args:
        kind: the kind of what was begun.
        param: the parameter with the parent; as for `begins`.
        when: a success completes it only if this holds, judged before the call.
        on_success: whether a success can complete it at all (an update does not).
        on_failure: whether a failure completes it (a cancellation that fails does not).
        survives: results of a failed call that leave it as it is.

    Returns:
        The effect.
    """
    return Ends(kind, param, when, on_success, on_failure, tuple(survives))


def starts(
    kind: Kind, *using: Uses | tuple[Uses, ...], when: Condition | None = None
) -> tuple[Effect, ...]:
    """State that a successful call starts an operation, or cancels the one that is under way.

    Args:
        kind: the kind of the operation, which has no handle but its parent's.
        using: further handles that it needs (a key).
        when: it starts one if this holds, and cancels the one under way if not (C_EncryptInit
            without a mechanism); if not given, it always starts one.

    Returns:
        The effects.
    """
    needed = [use for each in using for use in (each if isinstance(each, tuple) else (each,))]
    if when is None:
        return (*needed, begins(kind))
    needed = [dataclasses.replace(use, when=when) for use in needed]
    return (*needed, begins(kind, when=when), ends(kind, when=negation(when), on_failure=False))


def updates(*kinds: Kind) -> tuple[Effect, ...]:
    """State that the call goes on with operations, which end if it fails.

    Args:
        kinds: the kinds of the operations; their `retries` are failures that end none.

    Returns:
        The effects.
    """
    return tuple(ends(kind, on_success=False, survives=kind.retries) for kind in kinds)


def finishes(kind: Kind, out: str = "") -> Ends:
    """State that the call completes an operation, whether it succeeds or fails.

    Args:
        kind: the kind of the operation.
        out: the buffer for the result, if there is one: without it the call asks for its size, and
            a failure that is one of the kind's `retries` ends nothing.

    Returns:
        The effect.
    """
    return ends(kind, when=given(out), survives=kind.retries) if out else ends(kind)


def cancels(kind: Kind, when: Condition | None = None) -> Ends:
    """State that a successful call gives up an operation; one that fails leaves it as it is.

    Args:
        kind: the kind of the operation.
        when: only if this holds.

    Returns:
        The effect.
    """
    return ends(kind, when=when, on_failure=False)


def exposes(kind: Kind, out: str, *, traced: bool = True) -> Exposes:
    """State that a successful call writes the address of a table of functions through `out`.

    Args:
        kind: the kind that stands for the library.
        out: the out parameter.
        traced: whether the functions of the table can be traced.

    Returns:
        The effect.
    """
    return Exposes(kind, out, traced)


def _reference(what: str | Reference | None) -> Reference | None:
    return Reference("param", what) if isinstance(what, str) else what


def _when(when: Condition | None, unless: Condition | None) -> Condition | None:
    if unless is None:
        return when
    return negation(unless) if when is None else every(when, negation(unless))
