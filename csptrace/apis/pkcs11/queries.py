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
import os
from typing import TYPE_CHECKING, Any, Final

from csptrace.loader import loaded, symbol
from csptrace.spec.queries import Answer

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["is_on_token", "is_private", "sessions_allowed"]

_CKA_TOKEN: Final = 0x1
_CKA_PRIVATE: Final = 0x2
_CKR_OK: Final = 0
_CKR_OBJECT_HANDLE_INVALID: Final = 0x82
_CKR_SESSION_HANDLE_INVALID: Final = 0xB3
_LABELS_OF_TOKEN_INFO: Final = 96
"""Bytes of label, manufacturer, model and serial number in front of CK_TOKEN_INFO.flags."""
_PLACE_IN_LIST: Final = {"C_GetTokenInfo": 6, "C_GetAttributeValue": 24}
"""Where CK_FUNCTION_LIST has a function; a library need export C_GetFunctionList alone."""


def is_on_token(library: str, session: int, value: int) -> Answer:
    """Ask whether an object is stored on the token, and outlives its session (CKA_TOKEN).

    Args:
        library: the real path of the library's file.
        session: the session that the object belongs to.
        value: the object.

    Returns:
        The answer; `UNKNOWN` if the library is not loaded or refuses.
    """
    return _attribute(_CKA_TOKEN, library, session, value)


def is_private(library: str, session: int, value: int) -> Answer:
    """Ask whether an object is private, and ends with the login (CKA_PRIVATE).

    Args:
        library: as above.
        session: as above.
        value: as above.

    Returns:
        As above.
    """
    return _attribute(_CKA_PRIVATE, library, session, value)


def _attribute(attribute: int, library: str, session: int, value: int) -> Answer:
    """Ask for a boolean attribute of an object (C_GetAttributeValue)."""
    import ctypes  # noqa: PLC0415 - a program may have no other use for it

    class Attribute(ctypes.Structure):
        if os.name == "nt":
            _pack_ = 1
        _fields_ = (
            ("type", ctypes.c_ulong),
            ("pValue", ctypes.c_void_p),
            ("ulValueLen", ctypes.c_ulong),
        )

    flag = ctypes.c_ubyte(0)
    wanted = Attribute(attribute, ctypes.addressof(flag), 1)
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


def sessions_allowed(library: str, slot: int) -> int:
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


# --- finding a function of a library that is loaded already ------------------------------------


@contextlib.contextmanager
def _function(library: str, name: str) -> Iterator[Any]:
    """Yield a function of a loaded library, `None` if there is none; the library may go after."""
    import ctypes  # noqa: PLC0415 - as above

    prototype = ctypes.CFUNCTYPE(ctypes.c_ulong)
    with loaded(library) as handle:
        address = 0 if handle is None else symbol(handle, name)
        if handle is not None and not address:
            address = _listed(handle, name)
        yield prototype(address) if address else None


def _listed(handle: int, name: str) -> int:
    import ctypes  # noqa: PLC0415 - as above

    getter = symbol(handle, "C_GetFunctionList")
    table = ctypes.c_void_p()
    if not getter or ctypes.CFUNCTYPE(ctypes.c_ulong)(getter)(ctypes.byref(table)) != _CKR_OK:
        return 0
    size = ctypes.sizeof(ctypes.c_void_p)
    first = 2 if os.name == "nt" else size  # behind CK_VERSION, two bytes
    place = (table.value or 0) + first + size * _PLACE_IN_LIST[name]
    return ctypes.c_size_t.from_address(place).value
