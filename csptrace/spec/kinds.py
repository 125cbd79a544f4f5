"""Kinds: the types of handle, and what becomes of each when its parent goes."""

from __future__ import annotations

import dataclasses
import enum
from typing import TYPE_CHECKING, Final

from csptrace.errors import SpecError
from csptrace.spec.origin import caller
from csptrace.spec.queries import Query

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = [
    "LIBRARY",
    "OWNER",
    "RETURN",
    "Cascade",
    "Fork",
    "Kind",
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


class Fork(enum.Enum):
    """What a fork does to the child's copy of a handle."""

    SHARES = "shares"
    """It reaches the same thing as the parent's (a file descriptor, a connection)."""
    ENDS = "ends"
    """It is dead in the child (the kernel's or the vendor's rule)."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """One type of handle. Two kinds are the same only if they are the same object.

    Attributes:
        name: the C type, verbatim (`"HCRYPTKEY"`).
        title: what people call it, for messages (`"key"`).
        under: the kind this one lives under, `None` for a root.
        params: the C parameters that carry one, verbatim, separated by blanks (`"hKey hPubKey"`);
            with a `p` in front they receive one (`phKey`). See `exports`.
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
        retries: results of a failed call after which the program calls again, so that an operation
            goes on (a buffer that was too small); see `updates` and `finishes`.
        survives: the query whose answer "yes" means that it outlives its parent. It is asked when
            something `exclusive` above it is released.
        limit: how many may live under one parent: a number, or the query that asks for it; 0 for
            no limit. Of a root it is the number that one process may have.
        home: the kind that it lives under when it outlives its parent, or belongs to nobody here (a
            token); its value is that of the parent's parent.
        opens: the kind, with the value of the parent, that can be reached while one of this kind
            is alive. When the last one has ended, it is in doubt whether what lives there has.
        fork: what a fork does to the child's copy.
        flags: what a call can set on a handle (`sets`), each with what a leak costs as long as it
            is set, in words; empty if it costs no more.
        realm: the library whose values these are; empty where all libraries share them.
        source: file and line of the declaration, for messages; filled in by itself.
    """

    name: str
    title: str
    under: Kind | None = None
    params: str = ""
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
    retries: tuple[int, ...] = ()
    survives: Query | None = None
    limit: int | Query = 0
    home: Kind | None = None
    opens: Kind | None = None
    fork: Fork = Fork.SHARES
    flags: Mapping[str, str] = dataclasses.field(default_factory=dict)
    realm: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        """Refuse a kind that contradicts itself.

        Raises:
            SpecError: `orderly` without a parent, or a value of the wrong type.
        """
        if not self.source:
            object.__setattr__(self, "source", caller())
        where = f"{self.source}: kind {self.name}"
        if not isinstance(self.name, str) or not self.name.isidentifier():
            raise SpecError(f"{where}: {self.name!r} is not the name of a C type")
        if self.under is not None and not isinstance(self.under, Kind):
            raise SpecError(f"{where}: under={self.under!r} is not a Kind")
        for param in self.params.split():
            if not param.isidentifier():
                raise SpecError(f"{where}: params= names {param!r}, which is no C parameter")
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
        if (self.implied or self.survives) and self.under is None:
            raise SpecError(f"{where}: implied= and survives= speak of a parent")
        if isinstance(self.limit, Query) and self.under is None:
            raise SpecError(f"{where}: limit= asks about a parent, which it has not; give a number")
        if not isinstance(self.fork, Fork):
            raise SpecError(f"{where}: fork={self.fork!r} is not a Fork")
        for flag, harm in self.flags.items():
            if not (isinstance(flag, str) and flag.isidentifier() and isinstance(harm, str)):
                raise SpecError(f"{where}: flags= maps names to words, and not {flag!r}: {harm!r}")
        if self.survives is not None and not isinstance(self.survives, Query):
            raise SpecError(f"{where}: survives={self.survives!r} is not a Query")
        if self.survives is not None and not any(above.exclusive for above in self._above()):
            raise SpecError(
                f"{where}: survives= is asked when something exclusive=True above it is released, "
                "and nothing above it is"
            )
        if not isinstance(self.limit, Query) and (type(self.limit) is not int or self.limit < 0):
            raise SpecError(f"{where}: limit={self.limit!r} is neither a number nor a Query")
        if self.home is not None and (self.under is None or self.under.under is None):
            raise SpecError(f"{where}: home= is found by the parent's parent, which it has not")
        for field, kind in (("home", self.home), ("opens", self.opens)):
            if kind is not None and not (isinstance(kind, Kind) and kind.given):
                raise SpecError(f"{where}: {field}={kind!r} is not a Kind that is given")

    def _above(self) -> Iterator[Kind]:
        above = self.under
        while above is not None:
            yield above
            above = above.under

    def __repr__(self) -> str:
        """Return the C name."""
        return f"<Kind {self.name}>"
