"""Codecs, asked directly: whatever a program passes is read or left alone, never an error."""

from __future__ import annotations

import ctypes
import sys
from typing import Any

import pytest

from csptrace.intercept.codecs import CffiCodec, CtypesCodec, plain_number, plain_numbers
from csptrace.intercept.object_codecs import BoxedCodec, ObjectCodec

WORD = 8 * ctypes.sizeof(ctypes.c_void_p)
MASK = (1 << WORD) - 1


class Unreadable:
    """Everything that one asks of it fails."""

    def __getattr__(self, name: str) -> Any:
        """Refuse; pytest asks for the names of parameters."""
        raise AttributeError(name) if name.startswith("__") else RuntimeError(name)

    def __int__(self) -> int:
        """Refuse."""
        raise ValueError

    def __len__(self) -> int:
        """Refuse."""
        raise TypeError


class Pair(ctypes.Structure):
    """Two handles."""

    _fields_ = (("first", ctypes.c_size_t), ("second", ctypes.c_size_t))


# --- the machine words in a ctypes object ---------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (ctypes.c_void_p(0x1234), 0x1234),
        (ctypes.c_ulong(7), 7),
        (ctypes.c_size_t(MASK), MASK),
        (ctypes.c_void_p(None), None),
        (ctypes.c_char_p(b"text"), None),
        (ctypes.c_double(1.5), None),
        (Pair(1, 2), None),
        (Pair(1, 2).first, None),
        (object(), None),
    ],
)
def test_plain_number(value: Any, number: int | None) -> None:
    """The number in a simple object that owns its memory, and in nothing else."""
    assert plain_number(value, type(value)) == number


def test_plain_number_of_borrowed_memory() -> None:
    """An object that lies in another one's memory is not read: the owner may be gone."""
    pair = Pair(1, 2)
    foreign = ctypes.c_size_t.from_address(ctypes.addressof(pair))
    assert plain_number(foreign, type(foreign)) is None
    assert plain_numbers(foreign) == ()


def test_plain_numbers() -> None:
    """Every whole word of a structure, an array, a `byref`, and a DWORD by itself."""
    assert plain_numbers(Pair(1, MASK)) == (1, MASK)
    assert plain_numbers((ctypes.c_size_t * 3)(7, 8, 9)) == (7, 8, 9)
    assert plain_numbers(ctypes.byref(ctypes.c_size_t(5))) == (5,)
    assert plain_numbers(ctypes.c_uint32(0xFFFFFFFF)) == (0xFFFFFFFF,)
    array = (ctypes.c_size_t * 2)(3, 4)
    assert plain_numbers(ctypes.byref(array)) == (3, 4)
    word = (4).to_bytes(4, sys.byteorder)
    assert plain_numbers((ctypes.c_char * 4)(*word)) == (4,)


@pytest.mark.parametrize(
    "value", [ctypes.c_uint16(7), (ctypes.c_size_t * 1000)(), ctypes.c_byte(1), object(), 7]
)
def test_plain_numbers_of_nothing(value: Any) -> None:
    """What is smaller than a DWORD, larger than a page, or no object of ctypes holds no handle."""
    assert plain_numbers(value) == ()


# --- ctypes ---------------------------------------------------------------------------------------


class Wrapper:
    """What ctypes passes on as its `_as_parameter_`."""

    def __init__(self, inner: Any) -> None:
        self._as_parameter_ = inner


@pytest.mark.parametrize(
    ("argument", "number"),
    [
        (-1, MASK),
        (True, 1),
        (None, 0),
        (ctypes.c_void_p(None), 0),
        (ctypes.c_char_p(b"text"), None),
        (ctypes.c_long(-1), MASK),
        (ctypes.POINTER(ctypes.c_int)(), 0),
        (Wrapper(ctypes.c_ulong(9)), 9),
        (Wrapper(None), None),
        (1.5, None),
        ("text", None),
        (Unreadable(), None),
    ],
)
def test_ctypes_value(argument: Any, number: int | None) -> None:
    """The number as the callee sees it, `None` for what cannot be one."""
    assert CtypesCodec().value(argument) == number


def test_ctypes_addresses() -> None:
    """A structure, an array, a pointer and a `byref` stand for where they are."""
    pair, codec = Pair(1, 2), CtypesCodec()
    address = ctypes.addressof(pair)
    assert codec.value(pair) == address
    assert codec.value(ctypes.pointer(pair)) == address
    assert codec.value(ctypes.byref(pair)) == address
    assert codec.value(ctypes.byref(pair, 8)) == address + 8


def test_ctypes_stored() -> None:
    """What was written is read through every way to pass an address."""
    pair, codec = Pair(1, 2), CtypesCodec()
    address = ctypes.addressof(pair)
    for argument in (
        ctypes.byref(pair),
        ctypes.pointer(pair),
        pair,
        address,
        ctypes.c_void_p(address),
        Wrapper(ctypes.byref(pair)),
    ):
        assert codec.stored(argument) == 1
    assert codec.stored(ctypes.byref(pair, ctypes.sizeof(ctypes.c_size_t))) == 2
    small = (ctypes.c_uint16 * 2)(3, 4)
    assert codec.stored(small) == 3


@pytest.mark.parametrize(
    "argument", [None, 0, ctypes.POINTER(Pair)(), "text", Unreadable(), Wrapper(None)]
)
def test_ctypes_stored_nowhere(argument: Any) -> None:
    """NULL, and what is no address, hold nothing."""
    assert CtypesCodec().stored(argument) is None


def test_ctypes_text() -> None:
    """Bytes, strings and pointers to them are text; NULL and the unreadable are empty."""
    codec = CtypesCodec()
    assert codec.text(b"caf\xc3\xa9") == codec.text(ctypes.c_wchar_p("café")) == "café"
    assert codec.text(b"\xff") == "\N{REPLACEMENT CHARACTER}"
    assert codec.text(None) == codec.text(Unreadable()) == codec.text(7) == ""


# --- cffi -----------------------------------------------------------------------------------------


def test_cffi() -> None:
    """Integers, pointers and what has an `__int__` are read; a float and the unreadable are not."""
    cffi = pytest.importorskip("cffi", reason="cffi is not installed")
    ffi, codec = cffi.FFI(), CffiCodec()
    ffi.cdef("struct two { uintptr_t first, second; };")
    out = ffi.new("uintptr_t *", 5)
    address = int(ffi.cast("uintptr_t", out))
    both = ffi.new("struct two *", (6, 7))

    assert codec.of(None) is codec
    assert codec.value(-1) == MASK
    assert codec.value(ffi.cast("uint32_t", 8)) == 8
    assert codec.value(out) == address
    assert codec.value(both[0]) is None  # a structure by value
    assert codec.value(Unreadable()) is codec.value(1.5) is codec.value("1") is None
    assert codec.stored(out) == 5
    assert codec.stored(both) == 6
    assert codec.stored(ffi.cast("void *", out)) == 5
    assert codec.stored(ffi.NULL) is codec.stored(7) is codec.stored(ffi.cast("int", 7)) is None
    assert codec.text(b"a") == codec.text(ffi.new("char[]", b"a")) == "a"
    assert codec.text(ffi.new("wchar_t[]", "ä")) == "ä"
    assert codec.text(ffi.NULL) == codec.text(out) == codec.text(None) == ""


# --- Python APIs ----------------------------------------------------------------------------------


def test_objects() -> None:
    """Numbers are ints already; `None` is 0, and nothing is written to an argument."""
    codec = ObjectCodec()
    assert codec.of(None) is codec
    assert [codec.value(each) for each in (7, None, "7")] == [7, 0, None]
    assert codec.stored(7) is None
    assert [codec.text(each) for each in ("a", None, 7)] == ["a", "", ""]


def test_boxes() -> None:
    """A box has its number in a method `value()`; a buffer counts by its length."""

    class Box:
        def __init__(self, number: Any) -> None:
            self.number = number

        def value(self) -> Any:
            return self.number

    codec = BoxedCodec()
    assert codec.of(None) is codec
    assert [codec.value(each) for each in (7, None, Box(8), b"123")] == [7, 0, 8, 3]
    assert [codec.value(each) for each in (Box("8"), object(), Unreadable())] == [None] * 3
    assert codec.stored(Box(9)) == 9
    assert [codec.text(each) for each in ("a", b"a")] == ["a", ""]
