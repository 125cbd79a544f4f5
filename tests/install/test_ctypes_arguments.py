"""Every way in which a ctypes program can pass a handle, or the place for one."""

from __future__ import annotations

import ctypes
import enum
import os
from ctypes import POINTER, byref, c_size_t, c_uint32, c_void_p, cast, pointer
from typing import TYPE_CHECKING, Any

import pytest

import csptrace
from csptrace.findings.errors import UseAfterRelease

if TYPE_CHECKING:
    from collections.abc import Callable

    from csptrace import Tracer

VERIFY = 0xF0000000


class Opaque(ctypes.Structure):
    """What careful programs declare handles as pointers to."""


class Carrier:
    """An object that ctypes takes its `_as_parameter_` of."""

    def __init__(self, value: Any) -> None:
        self._as_parameter_ = value


class Handle(c_void_p):
    """A handle type of the program's own."""


class Pair(ctypes.Structure):
    """A handle in a struct, not at its beginning."""

    _fields_ = (("size", c_uint32), ("handle", c_size_t))


class Holder(ctypes.Structure):
    """A handle at the beginning of a struct."""

    _fields_ = (("handle", c_size_t), ("size", c_uint32))


def outcome(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> tuple[Any, ...]:
    """Return what a call did: its result, or its exception."""
    try:
        return ("returned", function(*arguments, **keywords))
    except Exception as error:  # noqa: BLE001 - compared
        return ("raised", type(error), str(error))


def acquire(lib: Any) -> int:
    """Acquire a context."""
    box = c_size_t()
    assert lib.CryptAcquireContextW(byref(box), None, None, 24, VERIFY)
    return box.value


# --- handles that are passed in ---------------------------------------------------------------

IN: dict[str, Callable[[int], Any]] = {
    "int": int,
    "IntEnum": lambda value: enum.IntEnum("Handles", {"one": value}).one,  # type: ignore[attr-defined]
    "c_void_p": c_void_p,
    "c_size_t": c_size_t,
    "c_ulong": ctypes.c_ulong,
    "c_long": ctypes.c_long,
    "c_int64": ctypes.c_int64,
    "subclass of c_void_p": Handle,
    "opaque struct pointer": lambda value: cast(value, POINTER(Opaque)),
    "pointer to int": lambda value: cast(value, POINTER(ctypes.c_int)),
    "_as_parameter_ of int": Carrier,
    "_as_parameter_ of c_void_p": lambda value: Carrier(c_void_p(value)),
    "_as_parameter_ twice": lambda value: Carrier(Carrier(c_size_t(value))),
}
DECLARED: dict[str, tuple[Any, tuple[str, ...]]] = {
    "c_size_t": (c_size_t, ("int", "IntEnum", "c_size_t", "_as_parameter_ of int")),
    "c_void_p": (
        c_void_p,
        ("int", "c_void_p", "subclass of c_void_p", "opaque struct pointer", "pointer to int"),
    ),
    "own type": (Handle, ("subclass of c_void_p",)),
    "opaque": (POINTER(Opaque), ("opaque struct pointer",)),
}
PASSED = [(None, form) for form in IN] + [
    (declared, form) for declared, (_, forms) in DECLARED.items() for form in forms
]


@pytest.mark.parametrize(("declared", "form"), PASSED)
def test_handle_is_recognised(
    lib: Any, trace: Callable[..., Tracer], declared: str | None, form: str
) -> None:
    """A release and a use are seen in whatever form the handle is passed."""
    tracer = trace()
    value = acquire(lib)
    make = IN[form]
    if declared is not None:
        argtype = DECLARED[declared][0]
        lib.CryptReleaseContext.argtypes = [argtype, c_uint32]
        lib.CryptGenRandom.argtypes = [argtype, c_uint32, c_void_p]
    buffer = ctypes.create_string_buffer(4)
    assert lib.CryptGenRandom(make(value), 4, buffer)
    assert tracer.graph.live == 1
    assert lib.CryptReleaseContext(make(value), 0)
    assert tracer.live() == ()
    with pytest.raises(UseAfterRelease):
        lib.CryptGenRandom(make(value), 4, buffer)
    assert [finding.code.value for finding in tracer.check()] == ["use-after-release"]


def test_negative_int_is_the_unsigned_handle(lib: Any, trace: Callable[..., Tracer]) -> None:
    """An int that ctypes passes on as unsigned stands for the handle that the callee sees."""
    tracer = trace()
    value = acquire(lib)
    negative = value - (1 << (8 * ctypes.sizeof(c_void_p)))
    lib.CryptGenRandom.argtypes = [c_size_t, c_uint32, c_void_p]
    lib.CryptGenKey.argtypes = [c_size_t, c_uint32, c_uint32, c_void_p]
    lib.CryptReleaseContext.argtypes = [c_size_t, c_uint32]
    box, buffer = c_size_t(), ctypes.create_string_buffer(4)
    assert lib.CryptGenKey(negative, 0x660E, 0, byref(box))
    assert lib.CryptReleaseContext(negative, 0)
    assert [(f.code.value, f.handle.value) for f in tracer.check()] == [
        ("leaked-at-release", box.value)
    ]
    assert tracer.live() == ()
    assert tracer.graph.acquired == 2
    with pytest.raises(UseAfterRelease):
        lib.CryptGenRandom(negative, 4, buffer)


@pytest.mark.parametrize("value", [0, None, False, c_void_p(), c_size_t(), POINTER(Opaque)()])
def test_null_is_no_handle(lib: Any, trace: Callable[..., Tracer], value: Any) -> None:
    """NULL in any form is refused by the provider and never becomes a handle."""
    tracer = trace()
    assert not lib.CryptReleaseContext(value, 0)
    assert not lib.CryptGenRandom(value, 0, None)
    assert tracer.graph.live == 0
    assert tracer.graph.acquired == 0


def test_true_is_one(lib: Any, trace: Callable[..., Tracer]) -> None:
    """True is passed as 1, as ctypes does, and the provider refuses it."""
    tracer = trace()
    assert lib.CryptDestroyKey(True) == 0
    assert tracer.graph.live == 0


class Broken:
    """An object whose `_as_parameter_` cannot be had."""

    @property
    def _as_parameter_(self) -> Any:
        raise ZeroDivisionError("the program's own")


WRONG: dict[str, Callable[[], Any]] = {
    "float": lambda: 1.5,
    "object": object,
    "list": list,
    "dict": dict,
    "type": lambda: int,
    "broken": Broken,
    "huge": lambda: 1 << 200,
    "too long": lambda: (1 << 64) + 5,
    "complex": lambda: 1j,
}


@pytest.mark.parametrize("declared", [None, c_size_t, c_void_p, POINTER(Opaque)])
@pytest.mark.parametrize(
    "name", ["CryptReleaseContext", "CryptGenRandom", "CryptDestroyKey", "CryptContextAddRef"]
)
def test_wrong_types_fail_as_without_tracing(
    lib: Any, trace: Callable[..., Tracer], declared: Any, name: str
) -> None:
    """What ctypes refuses is refused with the same exception, and nothing is entered."""
    function = getattr(lib, name)
    if declared is not None:
        function.argtypes = [declared, c_uint32, c_void_p][: 1 if "Destroy" in name else 3]

    def outcomes() -> dict[str, Any]:
        rest = () if "Destroy" in name else (0, None)
        return {wrong: outcome(getattr(lib, name), make(), *rest) for wrong, make in WRONG.items()}

    without = outcomes()
    tracer = trace()
    assert getattr(lib, name) is not function
    assert outcomes() == without
    assert tracer.live() == ()


@pytest.mark.parametrize(
    ("arguments", "keywords"), [((), {}), ((), {"hKey": 1}), ((1, 2, 3, 4), {}), ((0,), {"x": 1})]
)
def test_wrong_number_of_arguments(
    lib: Any, trace: Callable[..., Tracer], arguments: Any, keywords: Any
) -> None:
    """Too few, too many and keyword arguments do what they do without tracing."""
    lib.CryptDestroyKey.argtypes = [c_size_t]
    without = outcome(lib.CryptDestroyKey, *arguments, **keywords)
    tracer = trace()
    assert outcome(lib.CryptDestroyKey, *arguments, **keywords) == without
    assert tracer.live() == ()


# --- places for a handle ----------------------------------------------------------------------


def _struct_with_offset() -> tuple[Any, Callable[[], int]]:
    pair = Pair()
    return byref(pair, Pair.handle.offset), lambda: int(pair.handle)


def _of(target: Any, passed: Any, read: Callable[[], Any]) -> tuple[Any, Callable[[], int]]:
    return passed, lambda: int(read() or 0) & ((1 << 64) - 1)


def _out_forms() -> dict[str, Callable[[], tuple[Any, Callable[[], int]]]]:
    def simple(kind: Any, how: Callable[[Any], Any] = byref) -> Callable[[], Any]:
        def make() -> Any:
            box = kind()
            return _of(box, how(box), lambda: box.value)

        return make

    def memory(make: Callable[[], Any], how: Callable[[Any], Any]) -> Callable[[], Any]:
        def made() -> Any:
            box = make()
            return how(box), lambda: c_size_t.from_buffer(box).value

        return made

    forms: dict[str, Callable[[], tuple[Any, Callable[[], int]]]] = {
        "byref(c_size_t)": simple(c_size_t),
        "byref(c_void_p)": simple(c_void_p),
        "byref(c_int64)": simple(ctypes.c_int64),
        "byref(own type)": simple(Handle),
        "pointer(c_size_t)": simple(c_size_t, pointer),
        "pointer(c_void_p)": simple(c_void_p, pointer),
        "c_void_p(address)": simple(c_size_t, lambda box: c_void_p(ctypes.addressof(box))),
        "_as_parameter_ of byref": simple(c_size_t, lambda box: Carrier(byref(box))),
        "_as_parameter_ of pointer": simple(c_size_t, lambda box: Carrier(pointer(box))),
        "byref(struct, offset)": _struct_with_offset,
        "byref(struct)": memory(Holder, byref),
        "pointer(struct)": memory(Holder, pointer),
        "byref(opaque pointer)": memory(POINTER(Opaque), byref),
        "pointer(opaque pointer)": memory(POINTER(Opaque), pointer),
        "array of handles": memory(c_size_t * 2, lambda box: box),
        "byref(array)": memory(c_size_t * 2, byref),
        "array of pointers": memory(c_void_p * 1, lambda box: box),
        "string buffer": memory(lambda: ctypes.create_string_buffer(8), lambda box: box),
        "byref(string buffer)": memory(lambda: ctypes.create_string_buffer(8), byref),
        "bytes array": memory(ctypes.c_ubyte * 8, lambda box: box),
        "array of DWORDs": memory(c_uint32 * 2, lambda box: box),
        "pointer to char": memory(
            lambda: ctypes.create_string_buffer(8), lambda box: cast(box, POINTER(ctypes.c_char))
        ),
        "pointer to byte": memory(
            ctypes.c_ubyte * 8, lambda box: cast(box, POINTER(ctypes.c_ubyte))
        ),
    }
    if os.name != "nt":  # 32 bits there: the callee would write behind it
        forms["byref(c_ulong)"] = simple(ctypes.c_ulong)
    return forms


@pytest.mark.parametrize("form", list(_out_forms()))
def test_new_handle_is_read_back(lib: Any, trace: Callable[..., Tracer], form: str) -> None:
    """A new handle is read from whatever place the callee wrote it to."""
    tracer = trace()
    passed, read = _out_forms()[form]()
    assert lib.CryptAcquireContextW(passed, None, None, 24, VERIFY)
    assert [handle.value for handle in tracer.live()] == [read()]
    assert lib.CryptReleaseContext(c_size_t(read()), 0)
    assert csptrace.stop() == []


@pytest.mark.parametrize(
    ("argtype", "make"),
    [
        (POINTER(c_size_t), lambda box: box),
        (POINTER(c_size_t), byref),
        (POINTER(c_size_t), pointer),
        (c_void_p, byref),
        (c_void_p, ctypes.addressof),
        (c_void_p, lambda box: c_void_p(ctypes.addressof(box))),
        (c_size_t, ctypes.addressof),
    ],
)
def test_new_handle_is_read_back_with_argtypes(
    lib: Any, trace: Callable[..., Tracer], argtype: Any, make: Callable[[Any], Any]
) -> None:
    """With argtypes a place may also be the variable itself, or an address as an int."""
    tracer = trace()
    lib.CryptAcquireContextW.argtypes = [argtype, c_void_p, c_void_p, c_uint32, c_uint32]
    box = c_size_t()
    assert lib.CryptAcquireContextW(make(box), None, None, 24, VERIFY)
    assert [handle.value for handle in tracer.live()] == [box.value]


@pytest.mark.parametrize("kind", [c_size_t, c_void_p, Handle, POINTER(Opaque), Holder])
@pytest.mark.parametrize("how", ["itself", "byref", "pointer"])
def test_argtypes_pass_by_reference(
    lib: Any, trace: Callable[..., Tracer], kind: Any, how: str
) -> None:
    """Where argtypes say POINTER(T), a T is passed by reference and read as what it holds."""
    tracer = trace()
    handle = c_size_t if kind is Holder else kind
    lib.CryptAcquireContextW.argtypes = [POINTER(kind), c_void_p, c_void_p, c_uint32, c_uint32]
    lib.CryptGenKey.argtypes = [handle, c_uint32, c_uint32, POINTER(kind)]
    lib.CryptReleaseContext.argtypes = [handle, c_uint32]
    make = {"itself": lambda box: box, "byref": byref, "pointer": pointer}[how]
    box, key = kind(), kind()
    assert lib.CryptAcquireContextW(make(box), None, None, 24, VERIFY)
    prov = box.handle if kind is Holder else box
    assert lib.CryptGenKey(prov, 0x660E, 0, make(key))
    values = [c_size_t.from_buffer(place).value for place in (box, key)]
    assert [unreleased.value for unreleased in tracer.live()] == values
    assert lib.CryptReleaseContext(prov, 0)
    assert [finding.handle.value for finding in tracer.check()] == values[1:]


def test_converters_of_the_program_are_not_guessed(lib: Any, trace: Callable[..., Tracer]) -> None:
    """Behind a from_param of the program's own a place is not read: nothing is entered."""

    class Out:
        @classmethod
        def from_param(cls, box: Any) -> Any:
            return byref(box)

    tracer = trace()
    lib.CryptAcquireContextW.argtypes = [Out, c_void_p, c_void_p, c_uint32, c_uint32]
    box = c_size_t()
    assert lib.CryptAcquireContextW(box, None, None, 24, VERIFY)
    assert box.value
    assert tracer.live() == ()
    assert lib.CryptReleaseContext(box, 0)
    assert csptrace.stop() == []


def test_second_element_of_an_array(lib: Any, trace: Callable[..., Tracer]) -> None:
    """byref() with an offset into an array reads that element."""
    tracer = trace()
    boxes = (c_size_t * 3)(1, 2, 3)
    assert lib.CryptAcquireContextW(byref(boxes, 8), None, None, 24, VERIFY)
    assert [handle.value for handle in tracer.live()] == [boxes[1]]
    assert (boxes[0], boxes[2]) == (1, 3)


def test_null_place_is_refused(lib: Any, trace: Callable[..., Tracer]) -> None:
    """Without a place for the handle the provider refuses, and nothing is entered."""
    tracer = trace()
    for place in (None, 0, c_void_p(), POINTER(c_size_t)()):
        assert not lib.CryptAcquireContextW(place, None, None, 24, VERIFY)
    assert tracer.live() == ()


def test_undefined_place_is_not_read(lib: Any, trace: Callable[..., Tracer]) -> None:
    """With CRYPT_DELETEKEYSET what stands in the place is no handle, whatever it is."""
    box = c_size_t()
    assert lib.CryptAcquireContextW(byref(box), "to be deleted", None, 24, 8)
    assert lib.CryptReleaseContext(box, 0)
    tracer = trace()
    garbage = c_size_t(0xBAD0)
    deleted = lib.CryptAcquireContextW(byref(garbage), "to be deleted", None, 24, 0x10)
    assert deleted
    assert tracer.live() == ()


def test_container_name_in_every_form(lib: Any, trace: Callable[..., Tracer]) -> None:
    """The name of a container is kept, whatever it is passed as, and only if it is text."""
    tracer = trace()
    names: list[tuple[str, Any]] = [
        ("CryptAcquireContextW", "one"),
        ("CryptAcquireContextW", ctypes.c_wchar_p("two")),
        ("CryptAcquireContextW", ctypes.create_unicode_buffer("three")),
        ("CryptAcquireContextA", b"four"),
        ("CryptAcquireContextA", ctypes.c_char_p(b"five")),
        ("CryptAcquireContextA", ctypes.create_string_buffer(b"six")),
    ]
    for function, name in names:
        box = c_size_t()
        assert getattr(lib, function)(byref(box), name, None, 24, 8)
    found = [handle.name for handle in tracer.live()]
    assert found == ["one", "two", "three", "four", "five", "six"]


def test_arguments_are_passed_on_unchanged(lib: Any, trace: Callable[..., Tracer]) -> None:
    """The callee gets the program's own objects: an errcheck sees them by identity."""
    trace()
    seen: list[Any] = []
    function = lib.CryptAcquireContextW
    function.errcheck = lambda result, _function, arguments: seen.append(arguments) or result
    box = c_size_t()
    place = byref(box)
    assert function(place, None, None, 24, VERIFY)
    assert seen[0][0] is place
