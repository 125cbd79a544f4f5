"""How the parameters of one row are read off a Python call, with one binding.

Everything is decided before the first call: what reads a parameter, finds its handle, or tests a
condition is one function of the arguments.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from csptrace.graph.states import LIVE
from csptrace.intercept.contract import THE_LIBRARY, Arguments, Keywords
from csptrace.spec.effects import Acquires, AddsRef, Finds, Releases, Uses
from csptrace.spec.kinds import LIBRARY, OWNER, RETURN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from csptrace.graph.handle import Handle
    from csptrace.intercept.codecs import Codec
    from csptrace.intercept.contract import Finder, Handles, Monitor
    from csptrace.spec.bindings import Shape
    from csptrace.spec.calls import Call
    from csptrace.spec.conditions import Condition
    from csptrace.spec.effects import Reference
    from csptrace.spec.kinds import Kind

__all__ = ["Numbers", "Parameters", "Signature", "item_of", "newest_alive", "place_of"]

Reader: TypeAlias = "Callable[[Arguments, Keywords], Any]"
Predicate: TypeAlias = "Callable[[Arguments, Keywords], bool]"
Locator: TypeAlias = "Callable[[Arguments, Keywords], Handle | None]"
Relative: TypeAlias = "Callable[[Arguments, Keywords, list[Handle | None]], Handle | None]"
"""Is given the handles that a call uses, too, which have been found already."""
Relatives: TypeAlias = "Callable[[Arguments, Keywords, list[Handle | None]], tuple[Handle, ...]]"


class Signature(NamedTuple):
    """Where a Python call carries each C parameter.

    Attributes:
        positions: C parameter → position among the positional arguments.
        keywords: C parameter → keyword name, for callables that accept keywords.
        result: the C out parameter that the Python call returns, empty if none.
        many: whether it returns several of them.
        attributes: C parameter → attribute of the object that the call is made on.
        owner: the value that stands for the object through which a library is called.
        items: C out parameter → index of it in the tuple that the call returns.
        status: index of the status in that tuple, `None` if the result itself says it.
    """

    positions: dict[str, int]
    keywords: dict[str, str]
    result: str = ""
    many: bool = False
    attributes: dict[str, str] = {}  # noqa: RUF012 - never changed
    owner: int | None = None
    items: dict[str, int] = {}  # noqa: RUF012 - never changed
    status: int | None = None

    @classmethod
    def of(cls, call: Call) -> Signature:
        """Return C's own signature."""
        return cls({name: index for index, name in enumerate(call.params)}, {})

    @classmethod
    def of_shape(cls, shape: Shape) -> Signature:
        """Return where a Python callable carries what C takes and gives."""
        receiver = [("self", shape.receiver)] if shape.receiver else []
        arguments = [*receiver, *shape.arguments]
        return cls(
            {c_name: index for index, (_, c_name) in enumerate(arguments) if c_name},
            {c_name: own for own, c_name in arguments if c_name},
            shape.result,
            items={item: at for at, item in enumerate(shape.items) if item not in ("?", "_")},
            status=shape.items.index("?") if "?" in shape.items else None,
        )

    def reader(self, param: str) -> Reader | None:
        """Return the accessor of a C parameter, `None` if this signature lacks it."""
        if param in (LIBRARY, OWNER):
            constant = THE_LIBRARY if param == LIBRARY else self.owner
            return lambda _args, _kwargs: constant
        attribute = self.attributes.get(param)
        if attribute is not None:
            return lambda args, _kwargs: getattr(args[0], attribute) if args else None
        position = self.positions.get(param)
        if position is None:
            return None
        keyword = self.keywords.get(param, "")

        def read(args: Arguments, kwargs: Keywords) -> Any:
            return args[position] if position < len(args) else kwargs.get(keyword)

        return read


class Numbers:
    """Handles that are numbers, the same for every C-like binding."""

    def __init__(self, codec: Codec, monitor: Monitor) -> None:
        self._codec = codec
        self._monitor = monitor

    def finder(self, kind: Kind) -> Finder:
        """Return a function argument → handle."""
        get, value = self._monitor.table(kind).get, self._codec.value
        return lambda argument: get(value(argument))  # type: ignore[arg-type]

    def value(self, kind: Kind, argument: Any) -> int | None:
        """Return the number, `None` for a null one."""
        number = self._codec.value(argument)
        return None if number is None or number in kind.null else number

    def adopt(self, result: Any, handle: Handle, args: Arguments) -> Any:  # noqa: ARG002
        """Return the result as it is."""
        return result


class Parameters:
    """The parameters of one row, as one binding carries them.

    Args:
        call: the row.
        signature: where the Python call carries C's parameters.
        codec: how numbers and out parameters are carried.
        handles: how handles are found in arguments.
        monitor: has the tables of handles.

    Attributes:
        kinds: parameter → the kinds of which the row itself says that it takes them.
    """

    def __init__(
        self,
        call: Call,
        signature: Signature,
        codec: Codec,
        handles: Handles,
        monitor: Monitor,
    ) -> None:
        self.signature = signature
        self.kinds: dict[str, list[Kind]] = {}
        self._codec = codec
        self._handles = handles
        self._monitor = monitor
        for effect in call.effects:
            if isinstance(effect, Uses | AddsRef | Releases):
                kinds = self.kinds.setdefault(place_of(effect), [])
                if effect.kind not in kinds:
                    kinds.append(effect.kind)

    def reader(self, param: str) -> Reader | None:
        """Return what reads a parameter, `None` if this binding does not carry it."""
        return self.signature.reader(param)

    def is_plain(self, place: str) -> bool:
        """Return whether a parameter takes handles of one kind."""
        return len(self.kinds.get(place, ())) == 1

    def finder(self, place: str) -> Finder:
        """Return what finds a handle, of whichever of the kinds that a parameter takes."""
        finders = [self._handles.finder(kind) for kind in self.kinds.get(place, ())]
        if len(finders) == 1:
            return finders[0]
        return lambda argument: newest_alive(find(argument) for find in finders)

    def locator(self, param: str, place: str) -> Locator | None:
        """Return what finds the handle that a call has in a parameter, `None` as for `reader`.

        A value that is out of range for the arguments, of a foreign type or unknown is left to the
        provider. While tracing is stopped the tables are empty, so that nothing is found.
        """
        kinds = self.kinds.get(place, ())
        if len(kinds) == 1:
            return self.locator_of(param, kinds[0])
        read, find = self.reader(param), self.finder(place)
        return None if read is None else lambda args, kwargs: find(read(args, kwargs))

    def locator_of(self, param: str, kind: Kind) -> Locator | None:
        """Return what finds the handle of a kind in a parameter, `None` as for `reader`."""
        read, find = self.reader(param), self._handles.finder(kind)
        return None if read is None else lambda args, kwargs: find(read(args, kwargs))

    def number_at(
        self, param: str, kind: Kind | None
    ) -> tuple[int, Callable[[Any], Handle | None]]:
        """Return where a handle's number is among the arguments, and the table to look it up in.

        Returns:
            A position that no call has, if the handle is no number or is not passed by position.
        """
        if kind is None or not isinstance(self._handles, Numbers):
            return sys.maxsize, _nothing
        position = self.signature.positions.get(param, sys.maxsize)
        return position, self._monitor.table(kind).get

    def chosen(self, param: str, uses: dict[Kind, Predicate | None]) -> Locator | None:
        """Return what finds the handle in a parameter that takes one of several kinds.

        Which of them are meant depends on the other arguments, too.

        Args:
            param: the parameter.
            uses: the kinds that the call uses, each with the condition on which it does.
        """
        read = self.reader(param)
        if read is None:
            return None
        finders = [(kind, self._handles.finder(kind)) for kind in self.kinds[param]]

        def locate(args: Arguments, kwargs: Keywords) -> Handle | None:
            argument = read(args, kwargs)
            handle = newest_alive(
                find(argument)
                for kind, find in finders
                if (when := uses.get(kind)) is None or when(args, kwargs)
            )
            return handle if handle is not None and handle.kind in uses else None

        return locate

    def known_in(self, param: str, args: Arguments, kwargs: Keywords) -> Handle | None:
        """Return the handle in a parameter, `None` if none is known to be there."""
        read = self.reader(param) if param in self.kinds else None
        return None if read is None else self.finder(param)(read(args, kwargs))

    def predicate(self, condition: Condition | None) -> Predicate | None:
        """Turn a condition into a function of the arguments.

        A parameter that this binding's signature lacks counts as 0 for numbers and as given for
        pointers, since the binding then fills it itself. Where a flag is asked for of a handle that
        was not seen to be acquired, the whole condition does not hold.
        """
        if condition is None:
            return None
        test, asked = self._predicate(condition), {param for param, _ in condition.flags()}
        if not asked:
            return test

        def predicate(args: Arguments, kwargs: Keywords) -> bool:
            handles = [self.known_in(param, args, kwargs) for param in asked]
            seen = all(each is not None and each.acquired is not None for each in handles)
            return seen and test(args, kwargs)

        return predicate

    def _predicate(self, condition: Condition) -> Predicate:
        if condition.parts:
            parts = list(map(self._predicate, condition.parts))
            if condition.test == "every":
                return lambda args, kwargs: all(part(args, kwargs) for part in parts)
            if condition.test == "either":
                return lambda args, kwargs: any(part(args, kwargs) for part in parts)
            (only,) = parts
            return lambda args, kwargs: not only(args, kwargs)
        if condition.test == "always":
            return lambda _args, _kwargs: True
        if condition.test == "is_set":
            return self._asks_flag(condition.param, condition.flag)
        read = self.reader(condition.param)
        if read is None:
            absent = condition.test == "given"
            return lambda _args, _kwargs: absent
        wanted, value, stored = condition.value, self._codec.value, self._codec.stored
        match condition.test:
            case "flag":
                return lambda args, kwargs: (value(read(args, kwargs)) or 0) & wanted == wanted
            case "equals":
                return lambda args, kwargs: (value(read(args, kwargs)) or 0) & 0xFFFFFFFF == wanted
            case "nonzero":
                return lambda args, kwargs: bool(value(read(args, kwargs)))
            case "given":
                return lambda args, kwargs: value(read(args, kwargs)) != 0
            case "stored":  # a BOOL or DWORD; what lies behind it is read, too
                return lambda args, kwargs: bool((stored(read(args, kwargs)) or 0) & 0xFFFFFFFF)
            case _:  # a DWORD that a program may have declared signed
                return lambda args, kwargs: (stored(read(args, kwargs)) or 0) & 0xFFFFFFFF == wanted

    def _asks_flag(self, param: str, flag: str) -> Predicate:
        def predicate(args: Arguments, kwargs: Keywords) -> bool:
            handle = self.known_in(param, args, kwargs)
            return handle is not None and flag in handle.flags

        return predicate

    def out(self, effect: Acquires | Finds) -> Callable[[Arguments, Keywords, Any], int | None]:
        """Return what gives the value that a call has handed out, by arguments and result."""
        kind, handles, stored = effect.kind, self._handles, self._codec.stored
        valued = isinstance(effect, Acquires) and effect.valued
        if valued or effect.out in (LIBRARY, OWNER):
            number = self.number(effect.out)
            if number is None:
                return lambda _args, _kwargs, _result: None
            return lambda args, kwargs, _result: number(args, kwargs)
        if effect.out in self.signature.items:
            at = self.signature.items[effect.out]
            return lambda _args, _kwargs, result: handles.value(kind, item_of(result, at))
        if effect.out in (RETURN, self.signature.result):
            return lambda _args, _kwargs, result: handles.value(kind, result)
        read, position = self.reader(effect.out), self.signature.positions.get(effect.out)
        if read is None:
            return lambda _args, _kwargs, _result: None
        null = kind.null

        def out(args: Arguments, kwargs: Keywords, _result: Any) -> int | None:
            at_hand = position is not None and position < len(args)
            value = stored(args[position] if at_hand else read(args, kwargs))  # type: ignore[index]
            return None if value is None or value in null else value

        return out

    def listed(self, effect: Finds) -> Callable[[Arguments, Keywords, Any], list[int]]:
        """Return what gives the values that a call has handed out, one or an array of them."""
        read = self.reader(effect.out)
        if effect.count and effect.out != self.signature.result and read is not None:
            size, listed = self.reader(effect.count), self._codec.listed
            stored, null = self._codec.stored, effect.kind.null

            def values(args: Arguments, kwargs: Keywords, _result: Any) -> list[int]:
                count = None if size is None else stored(size(args, kwargs))
                return [each for each in listed(read(args, kwargs), count) if each not in null]

            return values
        one = self.out(effect)

        def value(args: Arguments, kwargs: Keywords, result: Any) -> list[int]:
            found = one(args, kwargs, result)
            return [] if found is None else [found]

        return value

    def number(self, param: str) -> Callable[[Arguments, Keywords], int | None] | None:
        """Return what gives the value of the handle in a parameter, known or not."""
        read = self.reader(param)
        if read is None or param in (LIBRARY, OWNER):
            return read
        if param not in self.kinds:
            return None
        kind, find, handles = self.kinds[param][0], self.finder(param), self._handles

        def number(args: Arguments, kwargs: Keywords) -> int | None:
            argument = read(args, kwargs)
            handle = find(argument)
            return handles.value(kind, argument) if handle is None else handle.value

        return number

    def one(self, reference: Reference, kind: Kind | None) -> Locator | None:
        """Return what gives the handle that a row refers to, entering an unknown one."""
        read = self.reader(reference.param)
        if read is None or kind is None:
            return None
        if reference.how == "parent":
            find_child = self.finder(reference.param)

            def parent(args: Arguments, kwargs: Keywords) -> Handle | None:
                child = find_child(read(args, kwargs))
                return None if child is None else child.parent

            return parent
        find, enter = self._handles.finder(kind), self._enters(kind)

        def one(args: Arguments, kwargs: Keywords) -> Handle | None:
            argument = read(args, kwargs)
            return enter(find(argument), argument)

        return one

    def parent(self, reference: Reference, kind: Kind | None, at: int | None) -> Relative | None:
        """Return what gives the parent of a new handle, entering an unknown one.

        Args:
            reference: what the row says of it.
            kind: its kind.
            at: its index among the handles that a call uses, `None` if it is none of them.
        """
        read = self.reader(reference.param)
        if at is None or reference.how == "parent" or read is None or kind is None:
            one = self.one(reference, kind)
            return None if one is None else lambda args, kwargs, _found: one(args, kwargs)
        enter = self._enters(kind)

        def parent(args: Arguments, kwargs: Keywords, found: list[Handle | None]) -> Handle | None:
            handle = found[at]
            if handle is not None and handle.state == LIVE:
                return handle
            return enter(handle, read(args, kwargs))

        return parent

    def _enters(self, kind: Kind) -> Callable[[Handle | None, Any], Handle | None]:
        value, borrowed = self._handles.value, self._monitor.borrowed

        def enter(handle: Handle | None, argument: Any) -> Handle | None:
            # What callers name without having acquired it (a slot) is there again whenever its
            # library is.
            if handle is None or (handle.kind.given and handle.state != LIVE):
                number = value(kind, argument)
                if number is not None:
                    return borrowed(kind, number)
            return handle

        return enter

    def needs(self, reference: Reference, at: int | None) -> Relatives | None:
        """Return what gives the handles that a new one depends on besides its parent.

        Args:
            reference: what the row says of them.
            at: the index of the one that is referred to among the handles that a call uses.
        """
        locate = self.locator(reference.param, reference.param)
        if locate is None:
            return None
        inherited = reference.how == "needs"

        def needs(
            args: Arguments, kwargs: Keywords, found: list[Handle | None]
        ) -> tuple[Handle, ...]:
            handle = locate(args, kwargs) if at is None else found[at]
            if handle is None:
                return ()
            return handle.needs if inherited else (handle,)

        return needs

    def text(self, param: str) -> Callable[[Arguments, Keywords], str] | None:
        """Return what gives the text in a parameter, `None` as for `reader`."""
        read = self.reader(param) if param else None
        if read is None:
            return None
        text = self._codec.text
        return lambda args, kwargs: text(read(args, kwargs))


def _nothing(_value: Any) -> None:
    return None


def place_of(effect: Uses | AddsRef | Releases) -> str:
    """Return what effects have in common that are about one argument, of whatever kind it is."""
    if effect.param in (LIBRARY, OWNER):
        return f"{effect.param} {effect.kind.name}"
    return effect.param


def item_of(result: Any, at: int) -> Any:
    """Return one item of a tuple, `None` if it has none there."""
    return result[at] if isinstance(result, tuple) and len(result) > at else None


def newest_alive(handles: Iterable[Handle | None]) -> Handle | None:
    """Return which of several handles with one value is meant: the live one, else the newest."""
    newest: Handle | None = None
    for handle in handles:
        if handle is None:
            continue
        if handle.state == LIVE:
            return handle
        if newest is None or handle.hid > newest.hid:
            newest = handle
    return newest
