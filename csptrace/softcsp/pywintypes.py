"""What programs need of pywin32's ``pywintypes`` to handle errors of `win32crypt`.

Source: https://github.com/mhammond/pywin32 (win32/src/PyWinTypesmodule.cpp); texts of the codes are
those of FormatMessage on Windows.
"""

from __future__ import annotations

from typing import Any, Final

from csptrace.softcsp import constants as c

_NO_TEXT: Final = "No error message is available"

_TEXTS: Final = {
    c.ERROR_FILE_NOT_FOUND: "The system cannot find the file specified.",
    c.ERROR_INVALID_HANDLE: "The handle is invalid.",
    c.ERROR_NOT_ENOUGH_MEMORY: "Not enough memory resources are available to process this command.",
    c.ERROR_INVALID_PARAMETER: "The parameter is incorrect.",
    c.ERROR_CALL_NOT_IMPLEMENTED: "This function is not supported on this system.",
    c.ERROR_INSUFFICIENT_BUFFER: "The data area passed to a system call is too small.",
    c.ERROR_BUSY: "The requested resource is in use.",
    c.ERROR_MORE_DATA: "More data is available.",
    c.ERROR_NO_MORE_ITEMS: "No more data is available.",
    c.NTE_BAD_UID: "Bad UID.",
    c.NTE_BAD_HASH: "Bad Hash.",
    c.NTE_BAD_KEY: "Bad Key.",
    c.NTE_BAD_LEN: "Bad Length.",
    c.NTE_BAD_DATA: "Bad Data.",
    c.NTE_BAD_SIGNATURE: "Invalid Signature.",
    c.NTE_BAD_VER: "Bad Version of provider.",
    c.NTE_BAD_ALGID: "Invalid algorithm specified.",
    c.NTE_BAD_FLAGS: "Invalid flags specified.",
    c.NTE_BAD_TYPE: "Invalid type specified.",
    c.NTE_BAD_KEY_STATE: "Key not valid for use in specified state.",
    c.NTE_BAD_HASH_STATE: "Hash not valid for use in specified state.",
    c.NTE_NO_KEY: "Key does not exist.",
    c.NTE_NO_MEMORY: "Insufficient memory available for the operation.",
    c.NTE_EXISTS: "Object already exists.",
    c.NTE_PERM: "Access denied.",
    c.NTE_NOT_FOUND: "Object was not found.",
    c.NTE_BAD_PROV_TYPE: "Invalid provider type specified.",
    c.NTE_BAD_PUBLIC_KEY: "Provider's public key is invalid.",
    c.NTE_BAD_KEYSET: "Keyset does not exist",
    c.NTE_PROV_TYPE_NOT_DEF: "Provider type not defined.",
    c.NTE_PROV_TYPE_ENTRY_BAD: "Provider type as registered is invalid.",
    c.NTE_KEYSET_NOT_DEF: "The keyset is not defined.",
    c.NTE_KEYSET_ENTRY_BAD: "Keyset as registered is invalid.",
    c.NTE_PROV_TYPE_NO_MATCH: "Provider type does not match registered value.",
    c.NTE_FAIL: "An internal error occurred.",
    c.NTE_SYS_ERR: "A base error occurred.",
    c.NTE_SILENT_CONTEXT: (
        "Provider could not perform the action because the context was acquired as silent."
    ),
    c.NTE_FIXEDPARAMETER: "The parameter is not valid for this operation.",
    c.SCARD_W_WRONG_CHV: ("The card cannot be accessed because the wrong PIN was presented."),
}


class error(Exception):  # noqa: N801 - pywin32's name
    """``pywintypes.error(winerror, funcname, strerror)``; not an OSError.

    Attributes:
        winerror: the code, signed: 0x80090016 is -2146893802.
        funcname: the function that failed, as pywin32 spells it.
        strerror: the code in words.

    """

    __module__ = "pywintypes"

    def __init__(self, *args: object) -> None:
        """Take the three parts; pywin32 lets fewer pass, too."""
        super().__init__(*args)
        padded = (*args, None, None, None)
        self.winerror: Any = padded[0]
        self.funcname: Any = padded[1]
        self.strerror: Any = padded[2]


def make_error(code: int, funcname: str) -> error:
    """Make the error for a code.

    Args:
        code: the Windows error code, unsigned.
        funcname: what goes into the error's `funcname`.

    """
    signed = code - (1 << 32) if code & 0x80000000 else code
    return error(signed, funcname, _TEXTS.get(code, _NO_TEXT))
