"""The words in which a spec states what an API promises: three objects, five effects, conditions.

A spec is data. It names C functions and parameters verbatim and never contains control flow, so
that one engine serves every API and a new API is one new file. What a row can say:

* objects: `Kind` (a type of handle), `call` (one C function), `Binding` (how Python reaches it);
* effects: `acquires`, `begins`, `finds`, `uses`, `adds_ref`, `releases`, `releases_all`, `ends`,
  `exposes`;
* references: a parameter name, `parent_of(param)`, `needs_of(param)`, `RETURN`, `LIBRARY` (the
  loaded library that the call goes to) or `OWNER` (the Python object it is called on);
* conditions: `flag`, `nonzero`, `given`, `stored`, `stored_equals`, combined by `negation`,
  `every` and `either`;
* questions, which are asked of the provider itself when a parent ends: `Question`.

The values of a `Spec` that is `scoped` are those of one loaded library: 1 in one module is another
session than 1 in another. `Spec.within(realm)` gives the spec as it holds for one of them, with
kinds of its own, so that everything which goes by kind tells them apart without looking.

Every constructor refuses what cannot be true and names file, function and parameter.
"""

from __future__ import annotations

import dataclasses
import enum
import sys
from typing import TYPE_CHECKING, Final, TypeAlias

from csptrace.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import FrameType

__all__ = [
    "LIBRARY",
    "OWNER",
    "RETURN",
    "Acquires",
    "AddsRef",
    "Binding",
    "Call",
    "Cascade",
    "Codec",
    "Collects",
    "Condition",
    "Dll",
    "Effect",
    "Ends",
    "Exposes",
    "Finds",
    "Kind",
    "LibraryObjects",
    "Objects",
    "Question",
    "Reference",
    "Releases",
    "ReleasesAll",
    "Shape",
    "Spec",
    "Success",
    "Target",
    "Uses",
    "acquires",
    "adds_ref",
    "always",
    "begins",
    "call",
    "either",
    "ends",
    "equals",
    "every",
    "exposes",
    "finds",
    "flag",
    "given",
    "needs_of",
    "negation",
    "nonzero",
    "parent_of",
    "releases",
    "releases_all",
    "shapes",
    "stored",
    "stored_equals",
    "uses",
]

RETURN: Final = "return"
"""Stands for the function's return value where a parameter name is expected."""
LIBRARY: Final = "library"
"""Stands for the loaded library itself, which no C function takes as a parameter."""
OWNER: Final = "owner"
"""Stands for the Python object through which a library is called."""


class Cascade(enum.Enum):
    """What happens to a child when the last reference to its parent is released."""

    INVALIDATE = "invalidate"
    """The child's handle is dead from then on (CryptReleaseContext: its keys and hashes)."""
    RETAIN = "retain"
    """The child keeps the parent's object alive and stays valid (a certificate and its store)."""
    DETACH = "detach"
    """The child lives on without a parent (a PKCS#11 token object after its session)."""


class Success(enum.Enum):
    """How a binding tells a successful call from a failed one."""

    NONZERO = "nonzero"
    """A BOOL or a handle: 0, FALSE and NULL mean failure."""
    ZERO = "zero"
    """A status code: 0 means success (CKR_OK, ERROR_SUCCESS, STATUS_SUCCESS)."""
    NO_EXCEPTION = "no exception"
    """A Python API that raises when the call failed."""


class Codec(enum.Enum):
    """How a binding carries handles."""

    CTYPES = "ctypes"
    CFFI = "cffi"
    OBJECTS = "objects"
    BOXED = "boxed"
    """Numbers in objects of their own, read by a method `value()` (SWIG)."""


class Collects(enum.Enum):
    """What a binding's handle object does when the last Python reference to it goes."""

    NOTHING = "nothing"
    RELEASES = "releases"


class Question(enum.Enum):
    """What a provider can be asked about a live handle; `csptrace.patch.questions` asks.

    A question is an extra native call. It is asked only where the answer decides what is a leak,
    when the parent ends, and never on the way to or from a failed call.
    """

    CKA_TOKEN = 0x1
    """C_GetAttributeValue: is it stored on the token, and outlives its session?"""
    CKA_PRIVATE = 0x2
    """C_GetAttributeValue: is it private, and ends with the login?"""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """One type of handle. Two kinds are the same only if they are the same object.

    Attributes:
        name: the C type, verbatim (`"HCRYPTKEY"`).
        title: what people call it, for messages (`"key"`).
        under: the kind this one lives under, `None` for a root.
        cascade: what happens to it when its parent's last reference is released.
        orderly: whether it must be released before its parent is.
        must_release: whether whoever acquires it owes a release.
        secret: whether it stands for key material, so that a leak leaves a secret in memory.
        null: values that mean "no handle" and are never tracked.
        space: kinds of one space never share a live value (heap addresses); `""` is a space of
            the kind's own.
        release: the function that releases it, for messages (`"CryptDestroyKey"`).
        harm: what a leak of this kind costs, in words, for findings and `csptrace specs --json`.
        given: whether callers name it without having acquired it (a slot); it can never be dead.
        library: whether it stands for a loaded library, of which each realm has one.
        exclusive: whether it must not be released while another thread is in a call on it.
        implied: whether its parent's release destroys it by specification, so that leaving it to
            that is a matter of taste (setting `implied`).
        survives: the question whose answer "yes" means that it outlives its parent.
        counted: whether there is a limit to how many may live under one parent.
        home: the kind that it lives under when it outlives its parent, or belongs to nobody here (a
            token); its value is that of the parent's parent.
        opens: the kind, with the value of the parent, that can be reached while one of this kind
            is alive. When the last one has ended, it is in doubt whether what lives there has.
        realm: the library whose values these are; empty where all libraries share them.
        source: file and line of the declaration, for messages; filled in by itself.
    """

    name: str
    title: str
    under: Kind | None = None
    cascade: Cascade = Cascade.INVALIDATE
    orderly: bool = False
    must_release: bool = True
    secret: bool = False
    null: frozenset[int] = frozenset({0})
    space: str = ""
    release: str = ""
    harm: str = ""
    given: bool = False
    library: bool = False
    exclusive: bool = False
    implied: bool = False
    survives: Question | None = None
    counted: bool = False
    home: Kind | None = None
    opens: Kind | None = None
    realm: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        """Refuse a kind that contradicts itself.

        Raises:
            SpecError: `orderly` without a parent, or a value of the wrong type.
        """
        if not self.source:
            object.__setattr__(self, "source", _caller())
        where = f"{self.source}: kind {self.name}"
        if not isinstance(self.name, str) or not self.name.isidentifier():
            raise SpecError(f"{where}: {self.name!r} is not the name of a C type")
        if self.under is not None and not isinstance(self.under, Kind):
            raise SpecError(f"{where}: under={self.under!r} is not a Kind")
        if not isinstance(self.cascade, Cascade):
            raise SpecError(f"{where}: cascade={self.cascade!r} is not a Cascade")
        if not isinstance(self.null, frozenset):
            raise SpecError(f"{where}: null={self.null!r} is not a frozenset of numbers")
        if self.orderly and self.under is None:
            raise SpecError(
                f"{where}: orderly=True needs under=, the kind it must be released before"
            )
        if self.given and self.must_release:
            raise SpecError(f"{where}: given=True, but whoever names it owes no release")
        if (self.implied or self.counted or self.survives) and self.under is None:
            raise SpecError(f"{where}: implied=, counted= and survives= speak of a parent")
        if self.survives is not None and not isinstance(self.survives, Question):
            raise SpecError(f"{where}: survives={self.survives!r} is not a Question")
        if self.home is not None and (self.under is None or self.under.under is None):
            raise SpecError(f"{where}: home= is found by the parent's parent, which it has not")
        for field, kind in (("home", self.home), ("opens", self.opens)):
            if kind is not None and not (isinstance(kind, Kind) and kind.given):
                raise SpecError(f"{where}: {field}={kind!r} is not a Kind that is given")

    def __repr__(self) -> str:
        """Return the C name."""
        return f"<Kind {self.name}>"


# --- references -------------------------------------------------------------------------------


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


# --- conditions -------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class Condition:
    """A named predicate over the arguments of one call.

    Attributes:
        test: the predicate's name; `csptrace.patch.codecs` holds one compiled form for each.
        param: the parameter it reads, empty for a combination.
        value: the mask or value it compares with, where it has one.
        parts: the conditions it combines.
    """

    test: str
    param: str = ""
    value: int = 0
    parts: tuple[Condition, ...] = ()

    def params(self) -> Iterable[str]:
        """Yield every parameter that is read."""
        if self.param:
            yield self.param
        for part in self.parts:
            yield from part.params()

    def reads_result(self) -> bool:
        """Return whether it can only be judged after the call (it reads an out parameter)."""
        return self.test.startswith("stored") or any(part.reads_result() for part in self.parts)

    def __str__(self) -> str:
        """Return the condition in words."""
        if self.parts:
            joined = {"every": " and ", "either": " or ", "negation": ""}[self.test].join(
                map(str, self.parts)
            )
            return f"not ({joined})" if self.test == "negation" else f"({joined})"
        return {
            "always": "always",
            "flag": f"{self.param} has {self.value:#x}",
            "nonzero": f"{self.param} is not 0",
            "equals": f"{self.param} is {self.value:#x}",
            "given": f"{self.param} is not NULL",
            "stored": f"*{self.param} is not 0",
            "stored_equals": f"*{self.param} is {self.value:#x}",
        }[self.test]


def flag(param: str, mask: int) -> Condition:
    """Return a condition: all bits of `mask` are set in the DWORD `param`."""
    return Condition("flag", param, mask)


def nonzero(param: str) -> Condition:
    """Return a condition: the number in `param` is not 0."""
    return Condition("nonzero", param)


def equals(param: str, value: int) -> Condition:
    """Return a condition: the DWORD `param` is `value`."""
    return Condition("equals", param, value)


def given(param: str) -> Condition:
    """Return a condition: the pointer in `param` is not NULL (NULL asks for a size)."""
    return Condition("given", param)


def stored(param: str) -> Condition:
    """Return a condition: the call has written a number other than 0 through `param`."""
    return Condition("stored", param)


def stored_equals(param: str, value: int) -> Condition:
    """Return a condition: the call has written `value` through `param`."""
    return Condition("stored_equals", param, value)


def always() -> Condition:
    """Return a condition that holds for every call."""
    return Condition("always")


def negation(condition: Condition) -> Condition:
    """Return the opposite of a condition."""
    return Condition("negation", parts=(condition,))


def every(*conditions: Condition) -> Condition:
    """Return a condition that holds when all of `conditions` do."""
    return Condition("every", parts=conditions)


def either(*conditions: Condition) -> Condition:
    """Return a condition that holds when at least one of `conditions` does."""
    return Condition("either", parts=conditions)


# --- effects ----------------------------------------------------------------------------------


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
    With `count`, `out` is an array, of which so many were filled.
    """

    kind: Kind
    out: str
    count: str = ""
    beside: str = ""
    when: Condition | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Uses:
    """The call needs a valid handle; with `hands_over` the provider takes over the release.

    A call that `waits` is meant to be ended by the handle's release in another thread.
    """

    kind: Kind
    param: str
    hands_over: Condition | None = None
    when: Condition | None = None
    waits: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class AddsRef:
    """A successful call adds one reference to the handle; the value stays the same."""

    kind: Kind
    param: str


@dataclasses.dataclass(frozen=True, slots=True)
class Releases:
    """A successful call takes one reference away; the last one ends the handle.

    With `again` the call does nothing, and is not wrong, if the handle has ended before.
    """

    kind: Kind
    param: str
    when: Condition | None = None
    even_on_failure: Condition | None = None
    again: bool = False


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
    asking: Question | None = None
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


Effect: TypeAlias = Acquires | Finds | Uses | AddsRef | Releases | ReleasesAll | Ends | Exposes


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
    param: str,
    *,
    needs: str | Reference | None = None,
    when: Condition | None = None,
) -> Acquires:
    """State that a successful call begins something which has no handle but its parent's.

    Args:
        kind: the kind of what is begun (a search, a multi-part operation).
        param: the parameter with the parent, whose value it shares.
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
    when: Condition | None = None,
    unless: Condition | None = None,
) -> Finds:
    """State that a successful call hands out handles that nobody has to release because of it.

    Args:
        kind: the kind of the handles.
        out: the out parameter that receives them, or `RETURN`.
        count: the out parameter that says how many there are, where `out` is an array.
        beside: a parameter under whose parent they are found; they live in that parent's `home`.
        when: only if this holds.
        unless: only if this does not hold.

    Returns:
        The effect.
    """
    return Finds(kind, out, count, beside, _when(when, unless))


def uses(
    kind: Kind,
    param: str,
    *,
    hands_over: Condition | None = None,
    when: Condition | None = None,
    unless: Condition | None = None,
    waits: bool = False,
) -> Uses:
    """State that the call needs the handle in `param` to be valid.

    Args:
        kind: the kind of the handle.
        param: the parameter; a null value there is skipped.
        hands_over: if this holds and the call succeeds, the callee releases the handle later and
            the program owes nothing any more (CertOpenStore's hCryptProv).
        when: only if this holds; otherwise the parameter carries something else.
        unless: only if this does not hold.
        waits: releasing the handle in another thread is how the call is ended.

    Returns:
        The effect.
    """
    return Uses(kind, param, hands_over, _when(when, unless), waits)


def adds_ref(kind: Kind, param: str) -> AddsRef:
    """State that a successful call adds a reference to the handle in `param`."""
    return AddsRef(kind, param)


def releases(
    kind: Kind,
    param: str,
    *,
    when: Condition | None = None,
    unless: Condition | None = None,
    even_on_failure: Condition | None = None,
    again: bool = False,
) -> Releases:
    """State that the call releases the handle in `param`.

    Args:
        kind: the kind of the handle.
        param: the parameter; a null value there is skipped.
        when: only if this holds (CRYPT_DESTROYKEY).
        unless: only if this does not hold.
        even_on_failure: if this holds the handle is gone although the call failed
            (CryptReleaseContext with dwFlags other than 0).
        again: the call does nothing if the handle has ended before.

    Returns:
        The effect.
    """
    return Releases(kind, param, _when(when, unless), even_on_failure, again)


def releases_all(
    kind: Kind,
    *,
    under: str = "",
    beside: str = "",
    asking: Question | None = None,
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
    param: str,
    *,
    when: Condition | None = None,
    on_success: bool = True,
    on_failure: bool = True,
    survives: Iterable[int] = (),
) -> Ends:
    """State that the call completes what `begins` has begun under the handle in `param`.

    Args:
        kind: the kind of what was begun.
        param: the parameter with the parent.
        when: a success completes it only if this holds, judged before the call.
        on_success: whether a success can complete it at all (an update does not).
        on_failure: whether a failure completes it (a cancellation that fails does not).
        survives: results of a failed call that leave it as it is.

    Returns:
        The effect.
    """
    return Ends(kind, param, when, on_success, on_failure, tuple(survives))


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


# --- calls ------------------------------------------------------------------------------------


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


def call(names: str, params: str, *effects: Effect, library: str) -> Call:
    """Describe one C function.

    Args:
        names: its exported name, or several, space-separated (`"CryptSignHashA CryptSignHashW"`).
        params: its C parameters, verbatim, separated by spaces.
        effects: what a call does to handles, in the order in which C performs it.
        library: the library that exports it, without suffix.

    Returns:
        The checked call.

    Raises:
        SpecError: an effect names an unknown parameter, a condition cannot be judged in time, or
            a word is missing; the message names file, function and parameter.
    """
    described = Call(tuple(names.split()), tuple(params.split()), effects, library, _caller())
    _check_call(described)
    return described


def _caller() -> str:
    """Return file and line of the spec that is being read."""
    frame: FrameType | None = sys._getframe(1)
    own = frame.f_code.co_filename if frame is not None else ""
    # "<string>": the constructor that dataclasses generates.
    while frame is not None and frame.f_code.co_filename in (own, "<string>"):
        frame = frame.f_back
    return "<unknown>" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"


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
        for field in ("under", "needs"):
            reference = getattr(effect, field, None)
            if reference is not None and not isinstance(reference, str | Reference):
                raise SpecError(
                    f"{where}: {verb} {field}={reference!r} is neither a parameter nor a reference"
                )
        for field, param in _params_of(effect):
            if param not in described.params and not (
                (field == "out" and param == RETURN) or _stands_for(effect.kind, param)
            ):
                raise SpecError(
                    f"{where}: {verb} names the unknown parameter {param!r} ({field}=); "
                    f"the call has: {' '.join(described.params) or 'none'}"
                )
        for field, condition in _conditions_of(effect):
            if condition.reads_result() and not isinstance(effect, Acquires | Finds):
                raise SpecError(
                    f"{where}: {verb} {field}={condition} reads a result, which is not known "
                    "before the call; only acquires() and finds() may do that"
                )
    _check_references(where, described)


def _stands_for(kind: Kind, param: str) -> bool:
    """Return whether a word that no C function has as a parameter can carry a handle of a kind."""
    return param == OWNER or (param == LIBRARY and kind.library)


_TESTS: Final = ("always", "flag", "nonzero", "equals", "given", "stored", "stored_equals")


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
    elif isinstance(effect, ReleasesAll):
        if effect.under:
            yield "under", effect.under
        if effect.beside:
            yield "beside", effect.beside
    elif isinstance(effect, Exposes):
        yield "out", effect.out
    else:
        yield "param", effect.param
    for field, condition in _conditions_of(effect):
        for param in condition.params():
            yield field, param


def _conditions_of(effect: Effect) -> Iterable[tuple[str, Condition]]:
    for field in ("when", "hands_over", "even_on_failure"):
        condition = getattr(effect, field, None)
        if condition is not None:
            yield field, condition


# --- bindings ---------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class Dll:
    """Functions that Python looks up by name in a loaded library.

    Attributes:
        libraries: library names without prefix or suffix, lower case (`"advapi32"`). Each serves
            every call of the spec, since forwarders and vendor libraries mix what Windows splits.
        marker: a function that tells any library which exports it to be one of these, whatever
            its name (`"C_GetFunctionList"`); empty for none.
    """

    libraries: tuple[str, ...] = ()
    marker: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Objects:
    """A Python module whose functions hand out handle objects.

    Attributes:
        modules: import names under which such a module is found, the genuine one first.
        classes: the handle objects' type names and the kind that each stands for.
        parents: type names whose objects keep their parent object alive, with the attribute that
            holds it.
    """

    modules: tuple[str, ...]
    classes: Mapping[str, Kind]
    parents: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class LibraryObjects:
    """A Python module whose objects stand for loaded libraries and what is in them.

    The shapes say which methods are traced. A class in `proxied` is one that cannot be patched
    (a C extension type): its objects are wrapped when a traced call hands them out. Any other
    class is patched in place.

    Attributes:
        modules: import names under which such a module is found.
        owner: the class whose objects are loaded libraries.
        classes: type names and the kind that each stands for; the owner's first.
        file: where the library's file name is found: an attribute of the owner, or the parameter
            of the shape in `loads`.
        values: type names and the attribute that holds the handle's number, dotted.
        proxied: the classes whose objects are wrapped.
        takers: Python classes whose constructors are given wrapped objects and insist on the
            object itself.
        inline: `Class.method`s of wrapped classes that call others of the object's methods: where
            one is written in Python it runs on the wrapper, and those that it calls are traced.
        links: `Class.attribute` of wrapped objects that hold further ones, and their class.
        loads: methods of the owner that load a library into it; empty if its constructor does.
        copies: methods that make the owner a second way into the library of their argument.
        finds: `module.Class.owner attribute.file attribute`: objects that know which file the
            owners that exist already have loaded.
        registry: `module.name` of a dictionary that keeps owners alive.
        locked: `module.Class.method`s of Python classes that hold a lock which a finalizer takes
            too. The garbage collector, which runs finalizers, waits until they have returned.
    """

    modules: tuple[str, ...]
    owner: str
    classes: Mapping[str, Kind]
    file: str
    values: Mapping[str, str] = dataclasses.field(default_factory=dict)
    proxied: tuple[str, ...] = ()
    takers: tuple[str, ...] = ()
    inline: tuple[str, ...] = ()
    links: Mapping[str, str] = dataclasses.field(default_factory=dict)
    loads: tuple[str, ...] = ()
    copies: tuple[str, ...] = ()
    finds: str = ""
    registry: str = ""
    locked: tuple[str, ...] = ()


Target: TypeAlias = Dll | Objects | LibraryObjects


@dataclasses.dataclass(frozen=True, slots=True)
class Shape:
    """How one Python callable maps onto a C function.

    Attributes:
        python: the Python name: `"function"` or `"Class.method"`.
        call: the C name of the function it stands for.
        arguments: Python's parameter names in order with the C parameter of each, which is empty
            where C has no counterpart.
        receiver: the C parameter that the object itself fills, empty for a module function.
        result: the C out parameter that the Python call returns, empty if it returns no handle.
        source: file and line of the table it stands in, for messages.
        attributes: C parameters that an attribute of the object fills.
        returns: the class of what it hands out, where that is wrapped or adopted, not acquired.
        many: whether it hands out a sequence or an iterator of results, not one.
        steps: for a generator, the C function of each step and of its end.
    """

    python: str
    call: str
    arguments: tuple[tuple[str, str], ...]
    receiver: str
    result: str
    source: str = ""
    attributes: tuple[tuple[str, str], ...] = ()
    returns: str = ""
    many: bool = False
    steps: tuple[str, ...] = ()


def shapes(rows: Mapping[str, str]) -> Mapping[str, Shape]:
    """Read the rows that say how a Python signature differs from C's.

    A row is `CName: argument… -> out`. An argument is `name=cname`, `name` (the same in C),
    `name=` (unknown to C) or, first, `self=cname` (the object itself); `self.attribute=cname` is
    an attribute of it. What is handed out without being acquired is written `-> (Class)`, several
    at once `-> out*` or `-> (Class)*`. A generator is `Start..Step..End: …`: the C functions of
    its first step, of the others, and of its end.

    Args:
        rows: Python name → row.

    Returns:
        Python name → shape.

    Raises:
        SpecError: a row that cannot be read.
    """
    parsed: dict[str, Shape] = {}
    source = _caller()
    for python, row in rows.items():
        where = f"{source}: shape {python}"
        owner, dot, method = python.rpartition(".")
        if not method.isidentifier() or (dot and not owner.isidentifier()):
            raise SpecError(f"{where}: {python!r} is neither 'function' nor 'Class.method'")
        names, colon, rest = row.partition(":")
        name, *steps = names.strip().split("..")
        if not colon or not all(each.isidentifier() for each in (name, *steps)):
            raise SpecError(f"{where}: {row!r} has no 'CName:' in front")
        if steps and len(steps) != 2:
            raise SpecError(f"{where}: {names!r} is not 'Start..Step..End'")
        words, arrow, handed = rest.partition("->")
        result = handed.strip().removesuffix("*")
        returns = result[1:-1] if result.startswith("(") and result.endswith(")") else ""
        if arrow and not (returns or result).isidentifier():
            raise SpecError(f"{where}: {handed.strip()!r} after '->' is not one C parameter")
        receiver, arguments, attributes = "", [], []
        for word in words.split():
            own, equals, c_name = word.partition("=")
            if own.startswith("self.") and own.removeprefix("self.").isidentifier() and c_name:
                attributes.append((own.removeprefix("self."), c_name))
                continue
            if not own.isidentifier() or (c_name and not c_name.isidentifier()):
                raise SpecError(f"{where}: {word!r} is not 'name', 'name=cname' or 'name='")
            if own != "self":
                arguments.append((own, c_name if equals else own))
            elif arguments or receiver or not c_name:
                raise SpecError(f"{where}: {word!r}; self=cname stands first and once")
            else:
                receiver = c_name
        if bool(dot) != bool(receiver):
            raise SpecError(
                f"{where}: a method needs self=cname, the C parameter that its object fills"
                if dot
                else f"{where}: a function of a module has no self="
            )
        for words_of in ([own for own, _ in arguments], [receiver, *(c for _, c in arguments)]):
            twice = [word for word in words_of if word and words_of.count(word) > 1]
            if twice:
                raise SpecError(f"{where}: {twice[0]!r} is listed twice in {row!r}")
        parsed[python] = Shape(
            python,
            name,
            tuple(arguments),
            receiver,
            "" if returns else result,
            source,
            tuple(attributes),
            returns,
            handed.strip().endswith("*"),
            tuple(steps),
        )
    return parsed


@dataclasses.dataclass(frozen=True, slots=True)
class Binding:
    """How Python reaches an API. One API has several bindings.

    Attributes:
        name: for reports (`"ctypes"`).
        target: where the functions are found.
        success: how success is told from failure.
        codec: how handles are carried.
        on_collect: what happens when the last reference to a handle object goes.
        quarantine: keep explicitly released objects alive, because their destructor would release
            the value a second time.
        shapes: only where Python's signature differs from C's.
        rows: what a Python callable does that makes several C calls at once, or none.
        loses: Python callables and the exceptions after which what they have acquired is lost:
            nobody is told its value. An exception is given by its class's name, or by that and
            the beginning of its text (`"Name: beginning"`).
    """

    name: str
    target: Target
    success: Success
    codec: Codec
    on_collect: Collects = Collects.NOTHING
    quarantine: bool = False
    shapes: Mapping[str, Shape] = dataclasses.field(default_factory=dict)
    rows: tuple[Call, ...] = ()
    loses: Mapping[str, frozenset[str]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Spec:
    """Everything csptrace knows about one API.

    Attributes:
        name: the API's name in settings, events and reports (`"cryptoapi"`).
        title: the API's name for people.
        kinds: its handle types, parents first.
        calls: its functions.
        bindings: the ways in.
        source: the vendor page that states the rules.
        foreign: handle types of other specs whose handles pass through these functions.
        scoped: whether values belong to one loaded library; see `within`.
    """

    name: str
    title: str
    kinds: tuple[Kind, ...]
    calls: tuple[Call, ...]
    bindings: tuple[Binding, ...]
    source: str = ""
    foreign: tuple[Kind, ...] = ()
    scoped: bool = False

    def by_name(self) -> dict[str, Call]:
        """Return exported name → call."""
        return {name: row for row in self.calls for name in row.names}

    def within(self, realm: str) -> Spec:
        """Return the spec as it holds for one loaded library, with kinds of its own.

        Args:
            realm: what the library is known by (the real path of its file).
        """
        local: dict[Kind, Kind] = {}
        for kind in self.kinds:
            above = {
                field: local.get(other, other)
                for field in ("under", "home", "opens")
                if (other := getattr(kind, field)) is not None
            }
            local[kind] = dataclasses.replace(kind, realm=realm, **above)

        def effect(each: Effect) -> Effect:
            return dataclasses.replace(each, kind=local.get(each.kind, each.kind))

        def row(each: Call) -> Call:
            return dataclasses.replace(each, effects=tuple(map(effect, each.effects)))

        def binding(each: Binding) -> Binding:
            target = each.target
            if not isinstance(target, Dll):
                classes = {name: local.get(kind, kind) for name, kind in target.classes.items()}
                target = dataclasses.replace(target, classes=classes)
            return dataclasses.replace(each, target=target, rows=tuple(map(row, each.rows)))

        return dataclasses.replace(
            self,
            kinds=tuple(local.values()),
            calls=tuple(map(row, self.calls)),
            bindings=tuple(map(binding, self.bindings)),
        )

    @property
    def library(self) -> Kind | None:
        """The kind that stands for the loaded library, `None` if there is none."""
        return next((kind for kind in self.kinds if kind.library), None)
