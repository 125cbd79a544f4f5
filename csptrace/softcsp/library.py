"""The ctypes face: a library object whose attributes are true C function pointers.

`advapi32` stands where a program would have ``ctypes.WinDLL("advapi32")``. Its functions are C
callbacks with the vendor's signatures, reached through their addresses, so that everything a
program can do with a function of a real DLL works: byref, argtypes set or not, restype, errcheck.

Differences a Unix program sees, because it is not Windows there:

* ``GetLastError`` and ``SetLastError`` are functions of this library (per thread);
* text in the W functions is the platform's ``wchar_t``, which is what ``ctypes.c_wchar_p`` passes;
* text in the A functions is UTF-8;
* a wild pointer crashes the process, as in any DLL; only NULL and the first 64 KiB are refused.
"""

from __future__ import annotations

import _thread
import ctypes
import threading
from ctypes import c_char_p, c_int, c_size_t, c_uint32, c_void_p, c_wchar_p
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from csptrace.softcsp import faults
from csptrace.softcsp.constants import (
    CRYPT_USER_DEFAULT,
    ERROR_INVALID_PARAMETER,
    ERROR_MORE_DATA,
    HP_HMAC_INFO,
    KP_SALT_EX,
    NTE_BAD_FLAGS,
    NTE_FAIL,
)
from csptrace.softcsp.errors import CspError
from csptrace.softcsp.hashing import pack_hmac_info
from csptrace.softcsp.lasterror import keep_traceback, last_error
from csptrace.softcsp.provider import engine

if TYPE_CHECKING:
    from collections.abc import Callable

    from csptrace.softcsp.answers import Answer

HANDLE: Final = c_size_t
DWORD: Final = c_uint32
BOOL: Final = c_int
POINTER: Final = c_void_p
LPCSTR: Final = c_char_p
LPCWSTR: Final = c_wchar_p

_HANDLE_SIZE: Final = ctypes.sizeof(c_size_t)
_LOWEST_ADDRESS: Final = 0x10000
_LONGEST_PIN: Final = 1024
_LONGEST_SIGNATURE: Final = 2048
_BEHIND_THE_CALL: Final = 0.01  # seconds

_bodies: dict[str, tuple[tuple[Any, ...], Callable[..., None]]] = {}


def _export(*argtypes: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a body under its own name; it fails by raising CspError."""

    def register(body: Callable[..., None]) -> Callable[..., None]:
        _bodies[body.__name__] = (argtypes, body)
        return body

    return register


# --- memory of the caller ----------------------------------------------------------------------


def _check(pointer: int | None) -> int:
    """Refuse what cannot be a pointer; real advapi32 answers 87 for it."""
    if pointer is None or pointer < _LOWEST_ADDRESS:
        raise CspError(ERROR_INVALID_PARAMETER)
    return pointer


def _read(pointer: int | None, length: int) -> bytes:
    return ctypes.string_at(_check(pointer), length) if length else b""


def _read_dword(pointer: int | None) -> int:
    return c_uint32.from_address(_check(pointer)).value


def _write(pointer: int | None, data: bytes) -> None:
    ctypes.memmove(_check(pointer), data, len(data))


def _write_dword(pointer: int | None, number: int) -> None:
    c_uint32.from_address(_check(pointer)).value = number


def _write_handle(pointer: int | None, handle: int) -> None:
    c_size_t.from_address(_check(pointer)).value = handle


def _read_parameter(pointer: int | None) -> Callable[[int | None], bytes]:
    """Make the reader that `Provider.CryptSetProvParam` and its like ask for."""

    def read(length: int | None) -> bytes:
        if length is not None:
            return _read(pointer, length)
        return ctypes.string_at(_check(pointer))[:_LONGEST_PIN]

    return read


def _read_blob(pointer: int | None) -> Callable[[int | None], bytes]:
    """Make a reader for CRYPT_DATA_BLOB: a DWORD length and a pointer."""

    def read(_: int | None) -> bytes:
        base = _check(pointer)
        length = _read_dword(base)
        return _read(c_void_p.from_address(base + _HANDLE_SIZE).value, length)

    return read


class _HmacInfo(ctypes.Structure):
    _fields_: ClassVar = [
        ("HashAlgid", c_uint32),
        ("pbInnerString", c_void_p),
        ("cbInnerString", c_uint32),
        ("pbOuterString", c_void_p),
        ("cbOuterString", c_uint32),
    ]


def _read_hmac_info(pointer: int | None) -> Callable[[int | None], bytes]:
    """Make a reader for HMAC_INFO that packs what its pointers point to."""

    def read(_: int | None) -> bytes:
        info = _HmacInfo.from_address(_check(pointer))
        inner = _read(info.pbInnerString, info.cbInnerString)
        outer = _read(info.pbOuterString, info.cbOuterString)
        return pack_hmac_info(info.HashAlgid, inner, outer)

    return read


def _deliver(
    ask: Callable[[int | None], Answer], pbData: int | None, pdwDataLen: int | None
) -> None:
    """Hand data out the way every CryptGet… function does.

    NULL *pbData* asks for the length; too little room is ERROR_MORE_DATA and tells the length.
    """
    room = _read_dword(pdwDataLen)
    try:
        answer = ask(None if pbData is None else room)
    except CspError as error:
        if error.needed is not None:
            _write_dword(pdwDataLen, error.needed)
        raise
    if isinstance(answer, int):
        _write_dword(pdwDataLen, answer)
        return
    _write(pbData, answer)
    _write_dword(pdwDataLen, len(answer))


def _text(value: bytes | str | None) -> str | None:
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return value


# --- the functions -----------------------------------------------------------------------------
# Bodies take what the C function takes, in its order. Order of checks: what advapi32 itself checks
# (pointers), then the provider (handle, flags, the rest).


def _acquire(
    phProv: int | None,
    szContainer: bytes | str | None,
    szProvider: bytes | str | None,
    dwProvType: int,
    dwFlags: int,
) -> None:
    handle = engine().CryptAcquireContext(
        _text(szContainer),
        _text(szProvider),
        dwProvType,
        dwFlags,
        wanted=phProv is not None and phProv >= _LOWEST_ADDRESS,
    )
    _write_handle(phProv, handle)


@_export(POINTER, LPCSTR, LPCSTR, DWORD, DWORD)
def CryptAcquireContextA(*arguments: Any) -> None:  # noqa: D103
    _acquire(*arguments)


@_export(POINTER, LPCWSTR, LPCWSTR, DWORD, DWORD)
def CryptAcquireContextW(*arguments: Any) -> None:  # noqa: D103
    _acquire(*arguments)


@_export(HANDLE, POINTER, DWORD)
def CryptContextAddRef(hProv: int, pdwReserved: int | None, dwFlags: int) -> None:  # noqa: D103
    engine().CryptContextAddRef(hProv, dwFlags, reserved=pdwReserved is not None)


@_export(HANDLE, DWORD)
def CryptReleaseContext(hProv: int, dwFlags: int) -> None:  # noqa: D103
    engine().CryptReleaseContext(hProv, dwFlags)


@_export(HANDLE, DWORD, POINTER)
def CryptGenRandom(hProv: int, dwLen: int, pbBuffer: int | None) -> None:  # noqa: D103
    random = engine().CryptGenRandom(hProv, dwLen)
    if dwLen:
        _write(pbBuffer, random)


@_export(HANDLE, DWORD, POINTER, POINTER, DWORD)
def CryptGetProvParam(  # noqa: D103
    hProv: int, dwParam: int, pbData: int | None, pdwDataLen: int | None, dwFlags: int
) -> None:
    _deliver(
        lambda room: engine().CryptGetProvParam(hProv, dwParam, dwFlags, room), pbData, pdwDataLen
    )


@_export(HANDLE, DWORD, POINTER, DWORD)
def CryptSetProvParam(  # noqa: D103
    hProv: int, dwParam: int, pbData: int | None, dwFlags: int
) -> None:
    engine().CryptSetProvParam(hProv, dwParam, _read_parameter(pbData), dwFlags)


@_export(HANDLE, DWORD, DWORD, POINTER)
def CryptGenKey(hProv: int, Algid: int, dwFlags: int, phKey: int | None) -> None:  # noqa: D103
    _check(phKey)
    _write_handle(phKey, engine().CryptGenKey(hProv, Algid, dwFlags))


@_export(HANDLE, DWORD, HANDLE, DWORD, POINTER)
def CryptDeriveKey(  # noqa: D103
    hProv: int, Algid: int, hBaseData: int, dwFlags: int, phKey: int | None
) -> None:
    _check(phKey)
    _write_handle(phKey, engine().CryptDeriveKey(hProv, Algid, hBaseData, dwFlags))


@_export(HANDLE, DWORD, POINTER)
def CryptGetUserKey(hProv: int, dwKeySpec: int, phUserKey: int | None) -> None:  # noqa: D103
    _check(phUserKey)
    _write_handle(phUserKey, engine().CryptGetUserKey(hProv, dwKeySpec))


@_export(HANDLE, POINTER, DWORD, HANDLE, DWORD, POINTER)
def CryptImportKey(  # noqa: D103
    hProv: int,
    pbData: int | None,
    dwDataLen: int,
    hPubKey: int,
    dwFlags: int,
    phKey: int | None,
) -> None:
    _check(phKey)
    blob = _read(pbData, dwDataLen)
    if not blob:
        raise CspError(ERROR_INVALID_PARAMETER)
    _write_handle(phKey, engine().CryptImportKey(hProv, blob, hPubKey, dwFlags))


@_export(HANDLE, POINTER, DWORD, POINTER)
def CryptDuplicateKey(  # noqa: D103
    hKey: int, pdwReserved: int | None, dwFlags: int, phKey: int | None
) -> None:
    _check(phKey)
    twin = engine().CryptDuplicateKey(hKey, dwFlags, reserved=pdwReserved is not None)
    _write_handle(phKey, twin)


@_export(HANDLE, HANDLE, DWORD, DWORD, POINTER, POINTER)
def CryptExportKey(  # noqa: D103
    hKey: int,
    hExpKey: int,
    dwBlobType: int,
    dwFlags: int,
    pbData: int | None,
    pdwDataLen: int | None,
) -> None:
    _deliver(
        lambda room: engine().CryptExportKey(hKey, hExpKey, dwBlobType, dwFlags, room),
        pbData,
        pdwDataLen,
    )


@_export(HANDLE, HANDLE, BOOL, DWORD, POINTER, POINTER, DWORD)
def CryptEncrypt(  # noqa: D103
    hKey: int,
    hHash: int,
    Final: int,
    dwFlags: int,
    pbData: int | None,
    pdwDataLen: int | None,
    dwBufLen: int,
) -> None:
    length = _read_dword(pdwDataLen)
    # A buffer shorter than its data is refused by the provider, so reading only what is there
    # loses nothing.
    data = None if pbData is None else _read(pbData, min(length, dwBufLen))
    try:
        answer = engine().CryptEncrypt(hKey, hHash, bool(Final), dwFlags, data, length, dwBufLen)
    except CspError as error:
        if error.needed is not None:
            _write_dword(pdwDataLen, error.needed)
        raise
    if isinstance(answer, int):
        _write_dword(pdwDataLen, answer)
        return
    _write(pbData, answer)
    _write_dword(pdwDataLen, len(answer))


@_export(HANDLE, HANDLE, BOOL, DWORD, POINTER, POINTER)
def CryptDecrypt(  # noqa: D103
    hKey: int,
    hHash: int,
    Final: int,
    dwFlags: int,
    pbData: int | None,
    pdwDataLen: int | None,
) -> None:
    data = _read(_check(pbData), _read_dword(pdwDataLen))
    plain = engine().CryptDecrypt(hKey, hHash, bool(Final), dwFlags, data)
    if plain:
        _write(pbData, plain)
    _write_dword(pdwDataLen, len(plain))


@_export(HANDLE, DWORD, POINTER, POINTER, DWORD)
def CryptGetKeyParam(  # noqa: D103
    hKey: int, dwParam: int, pbData: int | None, pdwDataLen: int | None, dwFlags: int
) -> None:
    _deliver(
        lambda room: engine().CryptGetKeyParam(hKey, dwParam, dwFlags, room), pbData, pdwDataLen
    )


@_export(HANDLE, DWORD, POINTER, DWORD)
def CryptSetKeyParam(  # noqa: D103
    hKey: int, dwParam: int, pbData: int | None, dwFlags: int
) -> None:
    read = _read_blob(pbData) if dwParam == KP_SALT_EX else _read_parameter(pbData)
    engine().CryptSetKeyParam(hKey, dwParam, read, dwFlags)


@_export(HANDLE)
def CryptDestroyKey(hKey: int) -> None:  # noqa: D103
    engine().CryptDestroyKey(hKey)


@_export(HANDLE, DWORD, HANDLE, DWORD, POINTER)
def CryptCreateHash(  # noqa: D103
    hProv: int, Algid: int, hKey: int, dwFlags: int, phHash: int | None
) -> None:
    _check(phHash)
    _write_handle(phHash, engine().CryptCreateHash(hProv, Algid, hKey, dwFlags))


@_export(HANDLE, POINTER, DWORD, POINTER)
def CryptDuplicateHash(  # noqa: D103
    hHash: int, pdwReserved: int | None, dwFlags: int, phHash: int | None
) -> None:
    _check(phHash)
    twin = engine().CryptDuplicateHash(hHash, dwFlags, reserved=pdwReserved is not None)
    _write_handle(phHash, twin)


@_export(HANDLE, POINTER, DWORD, DWORD)
def CryptHashData(  # noqa: D103
    hHash: int, pbData: int | None, dwDataLen: int, dwFlags: int
) -> None:
    engine().CryptHashData(hHash, _read(pbData, dwDataLen), dwFlags)


@_export(HANDLE, HANDLE, DWORD)
def CryptHashSessionKey(hHash: int, hKey: int, dwFlags: int) -> None:  # noqa: D103
    engine().CryptHashSessionKey(hHash, hKey, dwFlags)


@_export(HANDLE, DWORD, POINTER, POINTER, DWORD)
def CryptGetHashParam(  # noqa: D103
    hHash: int, dwParam: int, pbData: int | None, pdwDataLen: int | None, dwFlags: int
) -> None:
    _deliver(
        lambda room: engine().CryptGetHashParam(hHash, dwParam, dwFlags, room), pbData, pdwDataLen
    )


@_export(HANDLE, DWORD, POINTER, DWORD)
def CryptSetHashParam(  # noqa: D103
    hHash: int, dwParam: int, pbData: int | None, dwFlags: int
) -> None:
    read = _read_hmac_info(pbData) if dwParam == HP_HMAC_INFO else _read_parameter(pbData)
    engine().CryptSetHashParam(hHash, dwParam, read, dwFlags)


def _sign(
    hHash: int,
    dwKeySpec: int,
    szDescription: bytes | str | None,
    dwFlags: int,
    pbSignature: int | None,
    pdwSigLen: int | None,
) -> None:
    _deliver(
        lambda room: engine().CryptSignHash(hHash, dwKeySpec, _text(szDescription), dwFlags, room),
        pbSignature,
        pdwSigLen,
    )


@_export(HANDLE, DWORD, LPCSTR, DWORD, POINTER, POINTER)
def CryptSignHashA(*arguments: Any) -> None:  # noqa: D103
    _sign(*arguments)


@_export(HANDLE, DWORD, LPCWSTR, DWORD, POINTER, POINTER)
def CryptSignHashW(*arguments: Any) -> None:  # noqa: D103
    _sign(*arguments)


def _verify(
    hHash: int,
    pbSignature: int | None,
    dwSigLen: int,
    hPubKey: int,
    szDescription: bytes | str | None,
    dwFlags: int,
) -> None:
    # A length no key has is refused before the pointer is looked at.
    signature = None
    if pbSignature is not None and dwSigLen <= _LONGEST_SIGNATURE:
        signature = _read(pbSignature, dwSigLen)
    engine().CryptVerifySignature(
        hHash, signature, dwSigLen, hPubKey, _text(szDescription), dwFlags
    )


@_export(HANDLE, POINTER, DWORD, HANDLE, LPCSTR, DWORD)
def CryptVerifySignatureA(*arguments: Any) -> None:  # noqa: D103
    _verify(*arguments)


@_export(HANDLE, POINTER, DWORD, HANDLE, LPCWSTR, DWORD)
def CryptVerifySignatureW(*arguments: Any) -> None:  # noqa: D103
    _verify(*arguments)


@_export(HANDLE)
def CryptDestroyHash(hHash: int) -> None:  # noqa: D103
    engine().CryptDestroyHash(hHash)


# --- providers and their types -----------------------------------------------------------------


def _ansi(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape") + b"\0"


def _wide(text: str) -> bytes:
    return bytes(ctypes.create_unicode_buffer(text))


def _named(
    ask: Callable[[], tuple[int, str]],
    encode: Callable[[str], bytes],
    pdwProvType: int | None,
    name: int | None,
    pcbName: int | None,
) -> None:
    """Hand out a provider's number and name; NULL *name* asks for the name's length in bytes."""
    number, text = ask()
    data = encode(text)
    room = _read_dword(pcbName)
    _write_dword(pcbName, len(data))
    if name is not None:
        if room < len(data):
            raise CspError(ERROR_MORE_DATA, len(data))
        _write(name, data)
    if pdwProvType is not None:
        _write_dword(pdwProvType, number)


def _reserved(pdwReserved: int | None, dwFlags: int, *wanted: int | None) -> None:
    if pdwReserved is not None or None in wanted:
        raise CspError(ERROR_INVALID_PARAMETER)
    if dwFlags:
        raise CspError(NTE_BAD_FLAGS)


_ENUM: Final = (DWORD, POINTER, DWORD, POINTER, POINTER, POINTER)


@_export(*_ENUM)
def CryptEnumProvidersA(  # noqa: D103
    dwIndex: int,
    pdwReserved: int | None,
    dwFlags: int,
    pdwProvType: int | None,
    szProvName: int | None,
    pcbProvName: int | None,
) -> None:
    _reserved(pdwReserved, dwFlags)
    _named(
        lambda: engine().CryptEnumProviders(dwIndex), _ansi, pdwProvType, szProvName, pcbProvName
    )


@_export(*_ENUM)
def CryptEnumProvidersW(  # noqa: D103
    dwIndex: int,
    pdwReserved: int | None,
    dwFlags: int,
    pdwProvType: int | None,
    szProvName: int | None,
    pcbProvName: int | None,
) -> None:
    _reserved(pdwReserved, dwFlags)
    _named(
        lambda: engine().CryptEnumProviders(dwIndex), _wide, pdwProvType, szProvName, pcbProvName
    )


@_export(*_ENUM)
def CryptEnumProviderTypesA(  # noqa: D103
    dwIndex: int,
    pdwReserved: int | None,
    dwFlags: int,
    pdwProvType: int | None,
    szTypeName: int | None,
    pcbTypeName: int | None,
) -> None:
    _reserved(pdwReserved, dwFlags, pdwProvType, pcbTypeName)
    _named(
        lambda: engine().CryptEnumProviderTypes(dwIndex),
        _ansi,
        pdwProvType,
        szTypeName,
        pcbTypeName,
    )


@_export(*_ENUM)
def CryptEnumProviderTypesW(  # noqa: D103
    dwIndex: int,
    pdwReserved: int | None,
    dwFlags: int,
    pdwProvType: int | None,
    szTypeName: int | None,
    pcbTypeName: int | None,
) -> None:
    _reserved(pdwReserved, dwFlags, pdwProvType, pcbTypeName)
    _named(
        lambda: engine().CryptEnumProviderTypes(dwIndex),
        _wide,
        pdwProvType,
        szTypeName,
        pcbTypeName,
    )


@_export(DWORD, POINTER, DWORD, POINTER, POINTER)
def CryptGetDefaultProviderA(  # noqa: D103
    dwProvType: int,
    pdwReserved: int | None,
    dwFlags: int,
    pszProvName: int | None,
    pcbProvName: int | None,
) -> None:
    _reserved(pdwReserved, 0)
    _named(
        lambda: (0, engine().CryptGetDefaultProvider(dwProvType, dwFlags)),
        _ansi,
        None,
        pszProvName,
        pcbProvName,
    )


@_export(DWORD, POINTER, DWORD, POINTER, POINTER)
def CryptGetDefaultProviderW(  # noqa: D103
    dwProvType: int,
    pdwReserved: int | None,
    dwFlags: int,
    pszProvName: int | None,
    pcbProvName: int | None,
) -> None:
    _reserved(pdwReserved, 0)
    _named(
        lambda: (0, engine().CryptGetDefaultProvider(dwProvType, dwFlags)),
        _wide,
        None,
        pszProvName,
        pcbProvName,
    )


@_export(LPCSTR, DWORD)
def CryptSetProviderA(pszProvName: bytes | None, dwProvType: int) -> None:  # noqa: D103
    engine().CryptSetProviderEx(_text(pszProvName), dwProvType, CRYPT_USER_DEFAULT)


@_export(LPCWSTR, DWORD)
def CryptSetProviderW(pszProvName: str | None, dwProvType: int) -> None:  # noqa: D103
    engine().CryptSetProviderEx(pszProvName, dwProvType, CRYPT_USER_DEFAULT)


@_export(LPCSTR, DWORD, POINTER, DWORD)
def CryptSetProviderExA(  # noqa: D103
    pszProvName: bytes | None, dwProvType: int, pdwReserved: int | None, dwFlags: int
) -> None:
    _reserved(pdwReserved, 0)
    engine().CryptSetProviderEx(_text(pszProvName), dwProvType, dwFlags)


@_export(LPCWSTR, DWORD, POINTER, DWORD)
def CryptSetProviderExW(  # noqa: D103
    pszProvName: str | None, dwProvType: int, pdwReserved: int | None, dwFlags: int
) -> None:
    _reserved(pdwReserved, 0)
    engine().CryptSetProviderEx(pszProvName, dwProvType, dwFlags)


# --- from bodies to C functions ----------------------------------------------------------------


def _callback(name: str, argtypes: tuple[Any, ...], body: Callable[..., None]) -> Any:
    """Make the C function: 1 on success, else 0 and the last error. Nothing escapes it."""
    armed = faults.armed

    def function(*arguments: Any) -> int:
        try:
            if armed:
                faults.check(name)
            body(*arguments)
        except CspError as error:
            last_error.code = error.code
        except KeyboardInterrupt:
            # It cannot pass through C: fail the call, and interrupt again behind it. Not at once,
            # or it would be raised in here again.
            last_error.code = NTE_FAIL
            again = threading.Timer(_BEHIND_THE_CALL, _thread.interrupt_main)
            again.daemon = True
            again.start()
        except BaseException:  # noqa: BLE001 - see the docstring
            keep_traceback()
        else:
            return 1
        return 0

    return ctypes.CFUNCTYPE(BOOL, *argtypes)(function)


def _get_last_error() -> int:
    return last_error.code


def _set_last_error(dwErrCode: int) -> None:
    last_error.code = dwErrCode


def _callbacks() -> dict[str, Any]:
    made = {name: _callback(name, *parts) for name, parts in _bodies.items()}
    made["GetLastError"] = ctypes.CFUNCTYPE(DWORD)(_get_last_error)
    made["SetLastError"] = ctypes.CFUNCTYPE(None, DWORD)(_set_last_error)
    return made


_functions: Final = _callbacks()
_addresses: Final = {
    name: ctypes.cast(function, c_void_p).value or 0 for name, function in _functions.items()
}


class _FuncPtr(ctypes._CFuncPtr):  # type: ignore[name-defined,misc]
    """What `ctypes.CDLL.__getitem__` makes functions with, here from our own addresses.

    A C int is returned and no argtypes are set, as for any function of a library just loaded.
    """

    _flags_ = ctypes._FUNCFLAG_CDECL  # type: ignore[attr-defined]
    _restype_ = c_int

    def __new__(cls, *arguments: Any) -> Self:
        """Look the function up; raises AttributeError for an unknown one, as ctypes does."""
        match arguments:
            case ((name, SoftLibrary()), *_):
                address = _addresses.get(name)
                if address is None:
                    message = f"softcsp: undefined symbol: {name}"
                    raise AttributeError(message)
                return super().__new__(cls, address)  # type: ignore[no-any-return]
        return super().__new__(cls, *arguments)  # type: ignore[no-any-return]


class SoftLibrary(ctypes.CDLL):
    """A library that was loaded from nowhere: attributes are the functions of the provider.

    Attribute access and indexing are inherited from `ctypes.CDLL` on purpose: whoever wraps those
    wraps this library too.
    """

    def __init__(self) -> None:
        """Make a library object; any number of them share one provider."""
        # Not calling CDLL.__init__, which would load a file. It sets exactly these.
        self._name = "softcsp"
        self._handle = 0
        self._FuncPtr = _FuncPtr


EXPORTS: Final = frozenset(_functions)
"""Names of all functions of the library."""

advapi32: Final = SoftLibrary()
