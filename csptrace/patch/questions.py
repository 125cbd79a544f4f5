"""What a provider is asked about its handles: the only native calls that csptrace makes itself.

A question is asked through the library's own functions, found by the real path of its file in
memory, never by loading it: a library that is not loaded is not asked. It goes past every binding
and past the patches, so it works for whatever way the program came in, and no binding's object is
touched. Nothing is asked unless the session is alive, as far as csptrace knows, and no other
thread is inside a call on it.

Layouts: OASIS, PKCS #11 Specification Version 3.1, sections 3.2 (CK_TOKEN_INFO), 3.5 (CK_ATTRIBUTE)
and 3.6 (CK_FUNCTION_LIST); structures are packed to one byte on Windows.
"""

from __future__ import annotations

import contextlib
import enum
import functools
import os
import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from csptrace.specs.vocabulary import Question

__all__ = ["Answer", "ask", "ask_limit", "foresee", "library_file"]

_CKR_OK: Final = 0
_CKR_OBJECT_HANDLE_INVALID: Final = 0x82
_CKR_SESSION_HANDLE_INVALID: Final = 0xB3
_LABELS_OF_TOKEN_INFO: Final = 96
"""Bytes of label, manufacturer, model and serial number in front of CK_TOKEN_INFO.flags."""
_PLACE_IN_LIST: Final = {"C_GetTokenInfo": 6, "C_GetAttributeValue": 24}
"""Where CK_FUNCTION_LIST has a function; a library need export C_GetFunctionList alone."""


class Answer(enum.Enum):
    """What a provider says to a question about a handle."""

    YES = "yes"
    NO = "no"
    GONE = "gone"
    """The handle has ended behind the tracer's back."""
    ORPHANED = "orphaned"
    """The session that was named in the question has."""
    UNKNOWN = "unknown"


def foresee() -> None:
    """Import what questions need, while modules can be imported; they may be asked at any time."""
    import ctypes  # noqa: F401, PLC0415 - a program may have no other use for it

    if sys.platform != "win32":
        _dladdr()


def ask(question: Question, library: str, session: int, value: int) -> Answer:
    """Ask for a boolean attribute of an object (C_GetAttributeValue).

    Args:
        question: the attribute.
        library: the real path of the library's file.
        session: the session that the object belongs to.
        value: the object.

    Returns:
        The answer; `UNKNOWN` if the library is not loaded or refuses.
    """
    import ctypes  # noqa: PLC0415 - as above

    class Attribute(ctypes.Structure):
        if os.name == "nt":
            _pack_ = 1
        _fields_ = (
            ("type", ctypes.c_ulong),
            ("pValue", ctypes.c_void_p),
            ("ulValueLen", ctypes.c_ulong),
        )

    flag = ctypes.c_ubyte(0)
    wanted = Attribute(question.value, ctypes.addressof(flag), 1)
    with _function(library, "C_GetAttributeValue") as function:
        if function is None:
            return Answer.UNKNOWN
        result = function(
            ctypes.c_ulong(session), ctypes.c_ulong(value), ctypes.byref(wanted), ctypes.c_ulong(1)
        )
    if result == _CKR_OBJECT_HANDLE_INVALID:
        return Answer.GONE
    if result == _CKR_SESSION_HANDLE_INVALID:
        return Answer.ORPHANED
    if result != _CKR_OK or wanted.ulValueLen != 1:
        return Answer.UNKNOWN
    return Answer.YES if flag.value else Answer.NO


def ask_limit(library: str, slot: int) -> int:
    """Ask how many sessions a token allows (C_GetTokenInfo, ulMaxSessionCount).

    Args:
        library: the real path of the library's file.
        slot: the slot with the token.

    Returns:
        The number; 0 if it is unlimited, unavailable, or the library refuses.
    """
    import ctypes  # noqa: PLC0415 - as above

    info = ctypes.create_string_buffer(1024)
    with _function(library, "C_GetTokenInfo") as function:
        if function is None or function(ctypes.c_ulong(slot), info) != _CKR_OK:
            return 0
    place = _LABELS_OF_TOKEN_INFO + ctypes.sizeof(ctypes.c_ulong)
    most = ctypes.c_ulong.from_buffer(info, place).value
    unavailable = ctypes.c_ulong(-1).value
    return 0 if most == unavailable else int(most)


def library_file(name: str) -> str:
    """Return the real path of a loaded library.

    Args:
        name: what it was loaded by: a path, or a name that the system's loader has searched for.

    Returns:
        The path of its file, links resolved; `name` itself if the loader does not say.
    """
    if os.path.exists(name):
        return os.path.realpath(name)
    with _loaded(name) as handle:
        address = 0 if handle is None else _symbol(handle, "C_GetFunctionList")
        found = _file_at(address) if address else ""
    return os.path.realpath(found) if found else name


# --- finding a function of a library that is loaded already ------------------------------------


@contextlib.contextmanager
def _function(library: str, name: str) -> Iterator[Any]:
    """Yield a function of a loaded library, `None` if there is none; the library may go after."""
    import ctypes  # noqa: PLC0415 - as above

    prototype = ctypes.CFUNCTYPE(ctypes.c_ulong)
    with _loaded(library) as handle:
        address = 0 if handle is None else _symbol(handle, name)
        if handle is not None and not address:
            address = _listed(handle, name)
        yield prototype(address) if address else None


def _listed(handle: int, name: str) -> int:
    import ctypes  # noqa: PLC0415 - as above

    getter = _symbol(handle, "C_GetFunctionList")
    table = ctypes.c_void_p()
    if not getter or ctypes.CFUNCTYPE(ctypes.c_ulong)(getter)(ctypes.byref(table)) != _CKR_OK:
        return 0
    size = ctypes.sizeof(ctypes.c_void_p)
    first = 2 if os.name == "nt" else size  # behind CK_VERSION, two bytes
    place = (table.value or 0) + first + size * _PLACE_IN_LIST[name]
    return ctypes.c_size_t.from_address(place).value


if sys.platform == "win32":  # pragma: no cover - no PKCS#11 module for Windows here

    @contextlib.contextmanager
    def _loaded(name: str) -> Iterator[int | None]:
        import ctypes  # noqa: PLC0415 - as above

        find = ctypes.windll.kernel32.GetModuleHandleW
        find.restype = ctypes.c_void_p
        yield find(ctypes.c_wchar_p(name))

    def _symbol(handle: int, name: str) -> int:
        import ctypes  # noqa: PLC0415 - as above

        find = ctypes.windll.kernel32.GetProcAddress
        find.restype = ctypes.c_void_p
        return find(ctypes.c_void_p(handle), name.encode()) or 0

    def _file_at(_address: int) -> str:
        return ""

else:

    @contextlib.contextmanager
    def _loaded(name: str) -> Iterator[int | None]:
        """Yield the loader's handle of a library that is loaded already, `None` if it is not."""
        import _ctypes  # noqa: PLC0415 - as above

        try:
            handle = _ctypes.dlopen(name, os.RTLD_NOLOAD | os.RTLD_NOW)
        except OSError:
            handle = 0
        if not handle:
            yield None
            return
        try:
            yield handle
        finally:
            _ctypes.dlclose(handle)

    def _symbol(handle: int, name: str) -> int:
        import _ctypes  # noqa: PLC0415 - as above

        try:
            return int(_ctypes.dlsym(handle, name))
        except OSError:
            return 0

    @functools.cache
    def _dladdr() -> Any:
        import ctypes  # noqa: PLC0415 - as above

        return getattr(ctypes.CDLL(None), "dladdr", None)

    def _file_at(address: int) -> str:
        """Return the file that the code at an address was loaded from, empty if unknown."""
        import ctypes  # noqa: PLC0415 - as above

        class Info(ctypes.Structure):
            _fields_ = (
                ("dli_fname", ctypes.c_char_p),
                ("dli_fbase", ctypes.c_void_p),
                ("dli_sname", ctypes.c_char_p),
                ("dli_saddr", ctypes.c_void_p),
            )

        dladdr, info = _dladdr(), Info()
        if dladdr is None or not dladdr(ctypes.c_void_p(address), ctypes.byref(info)):
            return ""
        return os.fsdecode(info.dli_fname or b"")
