"""How to read handles, numbers and out parameters from what a program passes.

A codec never raises and never changes what it reads: what it cannot read is not a handle, and the
call goes on untraced in that parameter. Reading needs no native call of the provider.
"""

from __future__ import annotations

import ctypes
import re
import sys
from types import BuiltinMethodType
from typing import Any, Protocol, cast

from csptrace.intercept.object_codecs import UNREADABLE

__all__ = [
    "CffiCodec",
    "Codec",
    "CtypesCodec",
    "plain_number",
    "plain_numbers",
]


class Codec(Protocol):
    """What the interceptor asks of a codec."""

    simple: set[type]
    """Types whose attribute `value` is the number itself, or `None` for NULL."""

    def of(self, function: Any) -> Codec:
        """Return the codec for the arguments of one function."""

    def value(self, argument: Any) -> int | None:
        """Return the number that an argument stands for, `None` if it is none."""

    def stored(self, argument: Any) -> int | None:
        """Return the handle or number behind an out argument, `None` if it cannot be read."""

    def listed(self, argument: Any, count: int | None) -> list[int]:
        """Return the first handles of an array that a call has filled, none if it is unknown."""

    def text(self, argument: Any) -> str:
        """Return a text argument, empty if it is none."""


_MASK = (1 << (8 * ctypes.sizeof(ctypes.c_void_p))) - 1
_PARAM_ADDRESS = re.compile(r"\((?:0x)?([0-9a-fA-F]+)\)>$")
_UNSIGNED = frozenset("BHILQP")
_CArgObject: type = type(ctypes.byref(ctypes.c_int()))
_SimpleCData: type = ctypes.c_int.__mro__[1]
_plain_value: Any = _SimpleCData.value  # type: ignore[attr-defined]
_Pointer: type = ctypes.POINTER(ctypes.c_int).__mro__[1]


_CData: Any = ctypes.c_int.__mro__[2]
_base: Any = _CData.__dict__["_b_base_"].__get__
_order: Any = type.__dict__["__mro__"].__get__
_number: Any = _SimpleCData.__dict__["value"].__get__
_owns: Any = _CData.__dict__["_b_needsfree_"].__get__
_LARGEST = 4096


def plain_number(value: Any, cls: type) -> int | None:
    """Return the number in a ctypes object of a simple type that owns its memory, else `None`.

    Args:
        value: the object.
        cls: its type.
    """
    order = _order(cls)
    if len(order) < 4 or _SimpleCData not in order:
        return None
    if _base(value) is not None or not _owns(value):
        return None
    number = _number(value)
    return number if type(number) is int else None


def plain_numbers(value: object) -> tuple[int, ...]:
    """Return the machine words in a ctypes object, without running code of the program.

    Args:
        value: an instance of a ctypes type, or what `byref` returns.

    Returns:
        The words of the memory that it owns; none for memory of others, which may be gone, and for
        objects larger than 4096 bytes.
    """
    if type(value) is _CArgObject:
        value = cast("Any", value)._obj
    if _CData not in _order(type(value)):
        return ()
    root: Any = value
    while (above := _base(root)) is not None:
        root = above
    size = ctypes.sizeof(cast("Any", value))
    if not _owns(root) or not 4 <= size <= _LARGEST:
        return ()
    data = bytes(memoryview(cast("Any", value)).cast("B"))
    if size == 4:  # a DWORD
        return (int.from_bytes(data, sys.byteorder),)
    width = ctypes.sizeof(ctypes.c_void_p)
    return tuple(
        int.from_bytes(data[at : at + width], sys.byteorder)
        for at in range(0, size - width + 1, width)
    )


class CtypesCodec:
    """Reads ctypes arguments: ints, simple data, typed pointers, byref(), arrays, addresses.

    Args:
        function: whose arguments; its `argtypes` decide what some of them mean.
    """

    def __init__(self, function: Any = None) -> None:
        self.simple: set[type] = set()
        self._function = function

    def of(self, function: Any) -> CtypesCodec:
        """Return the codec for the arguments of one function."""
        return CtypesCodec(function)

    def value(self, argument: Any) -> int | None:
        """Return the number that an argument stands for.

        Args:
            argument: what the program passes for a handle or DWORD.

        Returns:
            The value as the callee sees it, `None` if it cannot be one.
        """
        try:
            return self._value(argument)
        except UNREADABLE:
            return None

    def _value(self, argument: Any) -> int | None:
        if isinstance(argument, int):
            return int(argument) & _MASK
        if argument is None:
            return 0
        if isinstance(argument, _SimpleCData):
            cls = type(argument)
            if getattr(cls, "_type_", "") in _UNSIGNED and cls.value is _plain_value:  # type: ignore[attr-defined]
                self.simple.add(cls)
            number = argument.value  # type: ignore[attr-defined]
            if number is None:
                return 0
            return int(number) & _MASK if isinstance(number, int) else None
        if isinstance(argument, _Pointer):
            return ctypes.c_void_p.from_buffer(cast("Any", argument)).value or 0
        if isinstance(argument, ctypes.Array | ctypes.Structure | ctypes.Union):
            return ctypes.addressof(argument)
        if isinstance(argument, _CArgObject):
            return self._address(argument)
        inner = getattr(argument, "_as_parameter_", None)
        return None if inner is None else self._value(inner)

    def stored(self, argument: Any) -> int | None:
        """Return what the callee has written through an out argument.

        Args:
            argument: `byref(x)`, `pointer(x)`, an array, or an address.

        Returns:
            The value written, `None` for NULL or something else.
        """
        try:
            if (
                type(argument) is _CArgObject
                and type(target := cast("Any", argument)._obj) in self.simple
            ):
                return target.value  # type: ignore[no-any-return]  # byref(c_void_p()), mostly
            return self._stored(argument)
        except UNREADABLE:
            return None

    def _stored(self, argument: Any) -> int | None:
        if argument is None:
            return None
        if isinstance(argument, _CArgObject):
            target = argument._obj  # type: ignore[attr-defined]
            address = self._address(argument)
            if address == ctypes.addressof(target):
                return self._content(target)
            return None if address is None else ctypes.c_size_t.from_address(address).value
        if isinstance(argument, _SimpleCData | _Pointer | ctypes.Structure | ctypes.Union):
            for argtype in self._function.argtypes or () if self._function is not None else ():
                if _converts(argtype):
                    return None  # only the program's own from_param knows what is passed
                if issubclass(argtype, _Pointer) and isinstance(argument, argtype._type_):
                    return self._content(argument)  # POINTER(T) takes a T by reference
        if isinstance(argument, _Pointer):
            return self._content(argument.contents) if argument else None  # type: ignore[attr-defined]
        if isinstance(argument, ctypes.Array | ctypes.Structure | ctypes.Union):
            return self._content(argument)
        if hasattr(argument, "_as_parameter_"):
            return self._stored(argument._as_parameter_)
        address = self._value(argument)  # c_void_p(addressof(x)), an int
        return ctypes.c_size_t.from_address(address).value if address else None

    def listed(self, argument: Any, count: int | None) -> list[int]:
        """Return what the callee has written into an array of `unsigned long`.

        Args:
            argument: the array, `byref()` of it or of one number, a pointer, or an address.
            count: how many it has written.

        Returns:
            The numbers; none if there are none or it cannot be told where they are.
        """
        if not count:
            return []
        try:
            by_reference = self._is_passed_by_reference(argument)
            address = ctypes.addressof(argument) if by_reference else self._value(argument)
            if not address:
                return []
            return list((ctypes.c_ulong * count).from_address(address))
        except UNREADABLE:
            return []

    def _is_passed_by_reference(self, argument: Any) -> bool:
        """Return whether ctypes itself passes the address of an object: POINTER(T) takes a T."""
        argtypes = self._function.argtypes or () if self._function is not None else ()
        return isinstance(argument, _SimpleCData | ctypes.Structure | ctypes.Union) and any(
            not _converts(each) and issubclass(each, _Pointer) and isinstance(argument, each._type_)
            for each in argtypes
        )

    def _content(self, target: Any) -> int | None:
        """Return the handle or DWORD in a ctypes object, whatever the object is declared as."""
        size = ctypes.sizeof(target)
        if isinstance(target, _SimpleCData | _Pointer) and size >= ctypes.sizeof(ctypes.c_uint32):
            return self._value(target)
        if isinstance(target, ctypes.Array) and size < ctypes.sizeof(ctypes.c_size_t):
            return self._value(target[0])
        # A byte, of which only the address counts, a buffer, or a struct that begins with it.
        return ctypes.c_size_t.from_address(ctypes.addressof(target)).value

    @staticmethod
    def _address(argument: Any) -> int | None:
        # byref(struct, offset) keeps the offset to itself; only its repr tells the address.
        found = _PARAM_ADDRESS.search(repr(argument))
        return int(found[1], 16) if found else None

    def text(self, argument: Any) -> str:
        """Return a text argument, empty for NULL and for what is not text."""
        try:
            argument = getattr(argument, "value", argument)
        except UNREADABLE:
            return ""
        if isinstance(argument, bytes):
            return argument.decode(errors="replace")
        return argument if isinstance(argument, str) else ""


def _converts(argtype: Any) -> bool:
    """Return whether an entry of `argtypes` converts arguments by Python code of its own."""
    return not (isinstance(argtype, type) and isinstance(argtype.from_param, BuiltinMethodType))  # type: ignore[attr-defined]


class CffiCodec:
    """Reads cffi arguments: int, integer and pointer cdata, `ffi.new("HCRYPTPROV *")`."""

    def __init__(self) -> None:
        import _cffi_backend  # noqa: PLC0415 - only a program that uses cffi has it

        self.simple: set[type] = set()
        self._ffi = _cffi_backend.FFI()
        self._cdata: Any = self._ffi.CData

    def of(self, function: Any) -> CffiCodec:  # noqa: ARG002 - protocol
        """Return itself: cffi has one meaning for each type."""
        return self

    def value(self, argument: Any) -> int | None:
        """Return the number that an argument stands for, `None` if it cannot be one."""
        if isinstance(argument, int):
            return int(argument) & _MASK
        if not isinstance(argument, self._cdata):
            return self._converted(argument)
        try:
            return int(argument) & _MASK
        except TypeError:
            try:
                return int(self._ffi.cast("uintptr_t", argument))
            except TypeError:
                return None

    @staticmethod
    def _converted(argument: Any) -> int | None:
        # cffi takes whatever has an __int__ for an integer, except a float.
        if isinstance(argument, float | str | bytes) or not hasattr(type(argument), "__int__"):
            return None
        try:
            return int(argument) & _MASK
        except UNREADABLE:
            return None

    def stored(self, argument: Any) -> int | None:
        """Return what the callee has written through a pointer, `None` for NULL."""
        if not isinstance(argument, self._cdata) or not argument:
            return None
        try:
            item = self._ffi.typeof(argument).item
            if item.kind in ("primitive", "pointer") and self._ffi.sizeof(item) >= 4:
                return self.value(argument[0])
            # void *, bytes, or a struct that begins with it: only the address counts.
            return int(self._ffi.cast("uintptr_t *", argument)[0])
        except (TypeError, IndexError, RuntimeError, ValueError, AttributeError):
            return None

    def listed(self, argument: Any, count: int | None) -> list[int]:
        """Return what the callee has written into an array."""
        try:
            return [int(argument[index]) & _MASK for index in range(count or 0)]
        except UNREADABLE:
            return []

    def text(self, argument: Any) -> str:
        """Return a text argument, empty for NULL and for what is not text."""
        if isinstance(argument, bytes):
            return argument.decode(errors="replace")
        try:
            found = self._ffi.string(argument)
        except (TypeError, RuntimeError, ValueError):
            return ""
        return found.decode(errors="replace") if isinstance(found, bytes) else str(found)
