"""Bindings: how Python reaches an API; and the whole `Spec`."""

from __future__ import annotations

import dataclasses
import enum
from typing import TYPE_CHECKING, TypeAlias

from csptrace.errors import SpecError
from csptrace.spec.origin import caller
from csptrace.spec.queries import Query

if TYPE_CHECKING:
    from collections.abc import Mapping

    from csptrace.spec.calls import Call
    from csptrace.spec.effects import Effect
    from csptrace.spec.kinds import Kind

__all__ = [
    "Binding",
    "Codec",
    "Collects",
    "Dll",
    "Functions",
    "LibraryObjects",
    "Methods",
    "Objects",
    "Shape",
    "Spec",
    "Success",
    "Target",
    "shapes",
]


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
    NUMBERS = "numbers"
    """Numbers in what Python functions and methods take and return."""
    BOXED = "boxed"
    """Numbers in objects of their own, read by a method `value()` (SWIG)."""


class Collects(enum.Enum):
    """What a binding's handle object does when the last Python reference to it goes."""

    NOTHING = "nothing"
    RELEASES = "releases"


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
        unwrapped_for: Python classes whose constructors are given wrapped objects and insist on the
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
    unwrapped_for: tuple[str, ...] = ()
    inline: tuple[str, ...] = ()
    links: Mapping[str, str] = dataclasses.field(default_factory=dict)
    loads: tuple[str, ...] = ()
    copies: tuple[str, ...] = ()
    finds: str = ""
    registry: str = ""
    locked: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Functions:
    """Python modules whose plain functions take and return numbers.

    The shapes say which functions are traced.

    Attributes:
        modules: import names of every module that has the functions under their own names: the
            one that defines them, and those of the package that import them from there. None of
            them calls another's.
    """

    modules: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Methods:
    """Python classes whose methods take and return numbers that belong to the object.

    The same number in two objects is two handles. The object stands for the C parameter that
    `self=` of a shape names; the shape of `Class.__init__` says by which call it comes into being.
    An object that exists when tracing begins is first seen in use. The numbers may be of a
    subclass of int; of each the lower 64 bits count.

    Attributes:
        modules: import names of the modules that define the classes.
        classes: the classes' names and the kind that their objects stand for.
    """

    modules: tuple[str, ...]
    classes: Mapping[str, Kind]


Target: TypeAlias = Dll | Objects | LibraryObjects | Functions | Methods


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
        items: for a tuple, what each of its items is: the C out parameter, `"?"` for the status
            and `"_"` for something else.
        reads: whether it is no method, but an attribute: reading it is the call.
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
    items: tuple[str, ...] = ()
    reads: bool = False

    @property
    def outs(self) -> tuple[str, ...]:
        """The C out parameters that the Python call returns."""
        outs = (self.result, *(item for item in self.items if item not in ("?", "_")))
        return tuple(out for out in outs if out)


def shapes(rows: Mapping[str, str]) -> Mapping[str, Shape]:
    """Read the rows that say how a Python signature differs from C's.

    A row is `CName: argument… -> out`. An argument is `name=cname`, `name` (the same in C),
    `name=` (unknown to C) or, first, `self=cname` (the object itself); `self.attribute=cname` is
    an attribute of it. What is handed out without being acquired is written `-> (Class)`, several
    at once `-> out*` or `-> (Class)*`. The items of a tuple are separated by commas, with `?` for
    the status and `_` for what is no handle: `-> ?, phContext`. A generator is
    `Start..Step..End: …`: the C functions of its first step, of the others, and of its end. An
    attribute whose every reading is a call has `get` in front: `get CName: self=cname -> out`.

    Args:
        rows: Python name → row.

    Returns:
        Python name → shape.

    Raises:
        SpecError: a row that cannot be read.
    """
    parsed: dict[str, Shape] = {}
    source = caller()
    for python, row in rows.items():
        where = f"{source}: shape {python}"
        owner, dot, method = python.rpartition(".")
        if not method.isidentifier() or (dot and not owner.isidentifier()):
            raise SpecError(f"{where}: {python!r} is neither 'function' nor 'Class.method'")
        names, colon, rest = row.partition(":")
        reads = names.lstrip().startswith("get ")
        name, *steps = names.strip().removeprefix("get ").split("..")
        if not colon or not all(each.isidentifier() for each in (name, *steps)):
            raise SpecError(f"{where}: {row!r} has no 'CName:' in front")
        if steps and len(steps) != 2:
            raise SpecError(f"{where}: {names!r} is not 'Start..Step..End'")
        words, arrow, handed = rest.partition("->")
        items = tuple(item.strip() for item in handed.split(",")) if "," in handed else ()
        if any(not (item == "?" or item.isidentifier()) for item in items) or (
            items.count("?") > 1
        ):
            raise SpecError(
                f"{where}: {handed.strip()!r} after '->' is not a list of C parameters, with '?' "
                "once for the status and '_' for what is no handle"
            )
        result = "" if items else handed.strip().removesuffix("*")
        returns = result[1:-1] if result.startswith("(") and result.endswith(")") else ""
        if arrow and not items and not (returns or result).isidentifier():
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
        if reads and (arguments or attributes or items or not result.isidentifier()):
            raise SpecError(
                f"{where}: reading an attribute takes self=cname alone and hands out one handle: "
                f"'get CName: self=cname -> out', not {row!r}"
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
            items,
            reads,
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
        lost_on: Python callables and the exceptions after which what they have acquired is lost:
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
    lost_on: Mapping[str, frozenset[str]] = dataclasses.field(default_factory=dict)


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
            if isinstance(target, Objects | LibraryObjects):
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
    def queries(self) -> set[Query]:
        """What is asked of the provider."""
        asked: set[object] = {each for kind in self.kinds for each in (kind.survives, kind.limit)}
        rows = [*self.calls, *(row for binding in self.bindings for row in binding.rows)]
        asked |= {getattr(effect, "asking", None) for row in rows for effect in row.effects}
        return {each for each in asked if isinstance(each, Query)}

    @property
    def marker(self) -> str:
        """A function that each library of the API exports, empty if none is named."""
        targets = (binding.target for binding in self.bindings)
        return next((each.marker for each in targets if isinstance(each, Dll) and each.marker), "")

    @property
    def library(self) -> Kind | None:
        """The kind that stands for the loaded library, `None` if there is none."""
        return next((kind for kind in self.kinds if kind.library), None)
