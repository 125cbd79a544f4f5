"""Handle objects and functions of the `win32crypt` face.

Names, keyword names, object types, error tuples and lifetimes are pywin32's, warts included:

* the three object types can neither be made by hand, nor weakly referenced, nor given attributes,
  nor patched, nor pickled;
* arguments are accepted by exact type, so that a proxy around a key is refused;
* objects release their handle when they are collected, even if it was released explicitly before
  and its value belongs to somebody else by then;
* a key keeps its context alive, a hash does not, and a collected key lets go of its context first;
* DWORD values of CryptGetProvParam are cut to one byte.

One thing is better here on purpose: CryptDuplicateKey and CryptDuplicateHash work. pywin32 passes
them a pointer that must be NULL, so there they always fail with ERROR_INVALID_PARAMETER.

Source: https://github.com/mhammond/pywin32, win32/src/win32crypt (PyCRYPTPROV.cpp, PyCRYPTKEY.cpp,
PyCRYPTHASH.cpp, win32cryptmodule.cpp).
"""

from __future__ import annotations

import functools
import operator
import struct
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

from csptrace.softcsp import constants as c
from csptrace.softcsp import faults, pywintypes
from csptrace.softcsp.errors import CspError
from csptrace.softcsp.lasterror import keep_traceback, last_error
from csptrace.softcsp.provider import engine

if TYPE_CHECKING:
    from collections.abc import Callable

Readable = bytes | bytearray | memoryview

_DWORD_PROV_PARAMS: Final = (
    c.PP_KEYSPEC,
    c.PP_KEYSTORAGE,
    c.PP_SIG_KEYSIZE_INC,
    c.PP_KEYX_KEYSIZE_INC,
    c.PP_PROVTYPE,
    c.PP_IMPTYPE,
    c.PP_KEYSET_TYPE,
    c.PP_SYM_KEYSIZE,
)
_TEXT_PROV_PARAMS: Final = (
    c.PP_NAME,
    c.PP_CONTAINER,
    c.PP_UNIQUE_CONTAINER,
    c.PP_KEYEXCHANGE_PIN,
    c.PP_SIGNATURE_PIN,
    c.PP_ADMIN_PIN,
)
_DWORD_KEY_PARAMS: Final = (
    c.KP_ALGID,
    c.KP_MODE,
    c.KP_MODE_BITS,
    c.KP_EFFECTIVE_KEYLEN,
    c.KP_BLOCKLEN,
    c.KP_PERMISSIONS,
    c.KP_PADDING,
    c.KP_KEYLEN,
)
_BYTES_KEY_PARAMS: Final = (c.KP_P, c.KP_Q, c.KP_G, c.KP_IV, c.KP_SALT)


_ENCODING: Final = c.X509_ASN_ENCODING | c.PKCS_7_ASN_ENCODING
_DER_NULL: Final = b"\x05\x00"


def _native(funcname: str, function: str, *arguments: Any) -> Any:
    """Call the provider; a refusal becomes `pywintypes.error` with *funcname*."""
    try:
        if faults.armed:
            faults.check(function)
        return getattr(engine(), function)(*arguments)
    except CspError as problem:
        code = last_error.code = problem.code
    except Exception:  # noqa: BLE001 - a bug of our own must look like a provider's failure
        code = keep_traceback()
    raise pywintypes.make_error(code, funcname)


def _native_or_nothing(function: str, handle: int) -> None:
    """Call the provider from a destructor, which has nobody to tell about failures."""
    try:
        if faults.armed:
            faults.check(function)
        getattr(engine(), function)(handle)
    except CspError as problem:
        last_error.code = problem.code
    except Exception:  # noqa: BLE001, S110 - modules are being torn down at interpreter exit
        pass


def _dword(number: Any) -> int:
    """Convert as the format unit ``k`` does: any int, cut to 32 bits."""
    return operator.index(number) & 0xFFFFFFFF


def _bytes(data: Any) -> bytes:
    return bytes(memoryview(data))


def _number(data: bytes) -> int:
    return int.from_bytes(data[:4], "little")


def _attempt(
    method: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]
) -> tuple[Any, Exception | None]:
    try:
        return method(*arguments, **keywords), None
    except Exception as problem:  # noqa: BLE001 - raised again by the caller
        return None, problem.with_traceback(None)


def _like_c(method: Callable[..., Any]) -> Callable[..., Any]:
    """Make a method fail as one written in C does: without a frame that holds on to objects.

    A traceback keeps the local variables of its frames alive. A Python method's frame would keep
    ``self``, and a program that keeps an error would keep the handle from being released, which
    with pywin32 it does not.
    """

    @functools.wraps(method)
    def call(*arguments: Any, **keywords: Any) -> Any:
        result, problem = _attempt(method, arguments, keywords)
        if problem is None:
            return result
        del arguments, keywords
        try:
            raise problem
        finally:
            # The traceback now holds this frame; the frame must not hold the error in turn.
            del problem

    return call


class _StaticType(type):
    """Makes a class behave like a static C type: nothing on it can be replaced."""

    def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> _StaticType:
        for attribute, value in namespace.items():
            if attribute.startswith("Crypt"):
                namespace[attribute] = _like_c(value)
        return super().__new__(cls, name, bases, namespace)

    def __setattr__(cls, name: str, value: object) -> None:
        message = f"cannot set {name!r} attribute of immutable type {cls.__name__!r}"
        raise TypeError(message)

    def __delattr__(cls, name: str) -> None:
        message = f"cannot set {name!r} attribute of immutable type {cls.__name__!r}"
        raise TypeError(message)

    def __call__(cls, *_: object, **__: object) -> NoReturn:
        message = f"cannot create {cls.__name__!r} instances"
        raise TypeError(message)


class _Handle(metaclass=_StaticType):
    """What the three types have in common: no copies and no pickles."""

    __slots__ = ("_handle",)

    _handle: int

    def __reduce_ex__(self, _: object) -> NoReturn:
        message = f"cannot pickle {type(self).__name__!r} object"
        raise TypeError(message)


def _exact(kind: type[_Handle], item: object, *, none: bool = False) -> int:
    """Give the handle in *item*, which must be of exactly that type (or None, if allowed)."""
    if none and item is None:
        return 0
    if type(item) is not kind:
        message = f"Object must be of type {kind.__name__}"
        raise TypeError(message)
    return item._handle


class PyCRYPTPROV(_Handle):
    """Handle to a cryptographic provider, created using CryptAcquireContext."""

    __slots__ = ()
    __module__ = "builtins"

    def __del__(self) -> None:
        """Release the handle, whether or not it was released before: pywin32 does not remember."""
        _native_or_nothing("CryptReleaseContext", self._handle)

    def CryptReleaseContext(self, Flags: int = 0) -> None:
        """Release the CSP handle; *Flags* must be 0."""
        _native("CryptReleaseContext", "CryptReleaseContext", self._handle, _dword(Flags))

    def CryptGenKey(self, Algid: int, Flags: int, KeyLen: int = 0) -> PyCRYPTKEY:
        """Generate a key pair or a session key; *KeyLen* is in bits, 0 is the default."""
        flags = _dword(Flags) | (_dword(KeyLen) << 16) & 0xFFFFFFFF
        handle = _native("CryptGenKey", "CryptGenKey", self._handle, _dword(Algid), flags)
        return _key(handle, self)

    def CryptGetProvParam(self, Param: int, Flags: int = 0) -> Any:
        """Retrieve an attribute of the provider; the result's type depends on *Param*.

        Raises:
            NotImplementedError: pywin32 cannot convert this attribute.

        """
        param, flags = _dword(Param), _dword(Flags)
        if param == c.PP_USE_HARDWARE_RNG:
            return False
        if param in (c.PP_ENUMALGS, c.PP_ENUMALGS_EX, c.PP_ENUMCONTAINERS):
            return self._enumerate(param, flags)
        size = self._prov_param(param, flags, None)
        data = self._prov_param(param, flags, size)
        if param in _DWORD_PROV_PARAMS:
            return data[0]
        if param in _TEXT_PROV_PARAMS:
            return data.partition(b"\0")[0]
        message = "The provider parameter specified is not yet implemented"
        raise NotImplementedError(message)

    def _prov_param(self, param: int, flags: int, room: int | None) -> Any:
        return _native("CryptGetProvParam", "CryptGetProvParam", self._handle, param, flags, room)

    def _enumerate(self, param: int, flags: int) -> list[Any]:
        flags |= c.CRYPT_FIRST
        if param == c.PP_ENUMALGS:
            size = struct.calcsize("<III20s")
        elif param == c.PP_ENUMALGS_EX:
            size = struct.calcsize("<6I20sI40s")
        else:
            size = self._prov_param(param, flags, None)
        items: list[Any] = []
        while True:
            try:
                data = self._prov_param(param, flags, size)
            except pywintypes.error as problem:
                if problem.winerror != c.ERROR_NO_MORE_ITEMS:
                    raise
                return items
            items.append(_ENUMERATED[param](data))
            flags &= ~c.CRYPT_FIRST

    def CryptGetUserKey(self, KeySpec: int) -> PyCRYPTKEY:
        """Return a handle to one of the user's key pairs."""
        name = "PyCRYPTPROV::CryptGetUserKey"
        return _key(_native(name, "CryptGetUserKey", self._handle, _dword(KeySpec)), self)

    def CryptGenRandom(self, Len: int, SeedData: bytes | str | None = None) -> bytes:
        """Generate random data; *SeedData* is accepted and makes no difference."""
        if SeedData is not None and not isinstance(SeedData, (bytes, str)):
            message = f"argument 2 must be read-only bytes-like object or None, not {SeedData!r}"
            raise TypeError(message)
        name = "PyCRYPTPROV::CryptGenRandom"
        return cast("bytes", _native(name, "CryptGenRandom", self._handle, _dword(Len)))

    def CryptCreateHash(
        self, Algid: int, Key: PyCRYPTKEY | None = None, Flags: int = 0
    ) -> PyCRYPTHASH:
        """Create a hash object; *Key* is for MAC and HMAC only."""
        key = _exact(PyCRYPTKEY, Key, none=True)
        name = "PyCRYPTPROV::CryptCreateHash"
        arguments = (self._handle, _dword(Algid), key, _dword(Flags))
        return _hash(_native(name, "CryptCreateHash", *arguments))

    def CryptImportKey(
        self, Data: Readable, PubKey: PyCRYPTKEY | None = None, Flags: int = 0
    ) -> PyCRYPTKEY:
        """Import a key exported by PyCRYPTKEY.CryptExportKey."""
        wrapper = _exact(PyCRYPTKEY, PubKey, none=True)
        name = "PyCRYPTPROV::CryptImportKey"
        arguments = (self._handle, _bytes(Data), wrapper, _dword(Flags))
        return _key(_native(name, "CryptImportKey", *arguments), self)

    def CryptExportPublicKeyInfo(
        self, KeySpec: int, CertEncodingType: int = _ENCODING
    ) -> dict[str, dict[str, Any]]:
        """Export a public key to send to other users, as a PyCERT_PUBLIC_KEY_INFO dict."""
        _dword(CertEncodingType)
        name = "CryptExportPublicKeyInfo"
        data = _native(name, name, self._handle, _dword(KeySpec))
        return {
            "Algorithm": {"ObjId": c.szOID_RSA_RSA, "Parameters": _DER_NULL},
            "PublicKey": {"Data": data, "UnusedBits": 0},
        }

    def CryptImportPublicKeyInfo(
        self, Info: dict[str, dict[str, Any]], CertEncodingType: int = _ENCODING
    ) -> PyCRYPTKEY:
        """Import another user's public key."""
        _dword(CertEncodingType)
        if not isinstance(Info, dict):
            message = "Object used to construct a CERT_PUBLIC_KEY_INFO must be a dict"
            raise TypeError(message)
        try:
            oid, data = Info["Algorithm"]["ObjId"], Info["PublicKey"]["Data"]
        except KeyError as problem:
            message = f"function missing required argument {problem}"
            raise TypeError(message) from None
        data = _bytes(data)
        name = "CryptImportPublicKeyInfo"
        return _key(_native(name, name, self._handle, oid, data), self)


class PyCRYPTKEY(_Handle):
    """Handle to a cryptographic key."""

    __slots__ = ("_parent",)
    __module__ = "builtins"

    _parent: PyCRYPTPROV | None

    def __del__(self) -> None:
        """Let go of the context, then destroy the handle: in this order, as in pywin32.

        If that was the context's last reference, the context is released before its key.
        """
        self._parent = None
        _native_or_nothing("CryptDestroyKey", self._handle)

    @property
    def HCRYPTPROV(self) -> PyCRYPTPROV | None:
        """CSP used by the key."""
        return self._parent

    @property
    def HCRYPTKEY(self) -> int:
        """Plain integer handle to the key."""
        return self._handle

    def CryptDestroyKey(self) -> None:
        """Release the handle to the key (does not delete permanent keys)."""
        _native("CryptDestroyKey", "CryptDestroyKey", self._handle)

    def CryptExportKey(self, ExpKey: PyCRYPTKEY | None, BlobType: int, Flags: int = 0) -> bytes:
        """Export the key or key pair as a blob, encrypted with *ExpKey* unless that is None."""
        wrapper = _exact(PyCRYPTKEY, ExpKey, none=True)
        arguments = (self._handle, wrapper, _dword(BlobType), _dword(Flags))
        size = _native("CryptExportKey", "CryptExportKey", *arguments, None)
        return cast("bytes", _native("CryptExportKey", "CryptExportKey", *arguments, size))

    def CryptGetKeyParam(self, Param: int, Flags: int = 0) -> Any:
        """Retrieve a key parameter: an int, or bytes.

        Raises:
            NotImplementedError: pywin32 cannot convert this parameter.

        """
        arguments = (self._handle, _dword(Param), _dword(Flags))
        size = _native("CryptGetKeyParam", "CryptGetKeyParam", *arguments, None)
        data = _native("CryptGetKeyParam", "CryptGetKeyParam", *arguments, size)
        if Param in _DWORD_KEY_PARAMS:
            return _number(data)
        if Param in _BYTES_KEY_PARAMS:
            return data
        message = "The Param specified is not yet supported"
        raise NotImplementedError(message)

    def CryptDuplicateKey(self, Reserved: int = 0, Flags: int = 0) -> PyCRYPTKEY:
        """Create an independent copy of the key."""
        _dword(Reserved)
        handle = _native("CryptDuplicateKey", "CryptDuplicateKey", self._handle, _dword(Flags))
        return _key(handle, self._parent)

    def CryptEncrypt(
        self, Final: int, Data: Readable, Hash: PyCRYPTHASH | None = None, Flags: int = 0
    ) -> bytes:
        """Encrypt and optionally hash data; two native calls, the first asks for the size."""
        final = bool(operator.index(Final))
        hash_ = _exact(PyCRYPTHASH, Hash, none=True)
        data, flags = _bytes(Data), _dword(Flags)
        length = len(data)
        name = "CryptEncrypt"
        # Without the hash, or it would get the data twice.
        size = _native(name, name, self._handle, 0, final, flags, None, length, length)
        result = _native(name, name, self._handle, hash_, final, flags, data, length, size)
        return cast("bytes", result)

    def CryptDecrypt(
        self, Final: int, Data: Readable, Hash: PyCRYPTHASH | None = None, Flags: int = 0
    ) -> bytes:
        """Decrypt and optionally hash data."""
        final = bool(operator.index(Final))
        hash_ = _exact(PyCRYPTHASH, Hash, none=True)
        arguments = (self._handle, hash_, final, _dword(Flags), _bytes(Data))
        return cast("bytes", _native("CryptDecrypt", "CryptDecrypt", *arguments))


class PyCRYPTHASH(_Handle):
    """Handle to a cryptographic hash."""

    __slots__ = ()
    __module__ = "builtins"

    def __del__(self) -> None:
        """Destroy the handle, whether or not it was destroyed before."""
        _native_or_nothing("CryptDestroyHash", self._handle)

    def CryptDestroyHash(self) -> None:
        """Free the hash object."""
        _native("CryptDestroyHash", "CryptDestroyHash", self._handle)

    def CryptDuplicateHash(self, Flags: int = 0) -> PyCRYPTHASH:
        """Clone the hash object."""
        name = "CryptDuplicateHash"
        return _hash(_native(name, name, self._handle, _dword(Flags)))

    def CryptHashData(self, Data: Readable, Flags: int = 0) -> None:
        """Add data to the hash; with CRYPT_USERDATA nothing is added."""
        data, flags = _bytes(Data), _dword(Flags)
        if flags & c.CRYPT_USERDATA:
            data = b""
        _native("CryptHashData", "CryptHashData", self._handle, data, flags)

    def CryptHashSessionKey(self, Key: PyCRYPTKEY, Flags: int = 0) -> None:
        """Hash a session key."""
        key = _exact(PyCRYPTKEY, Key)
        name = "CryptHashSessionKey"
        _native(name, name, self._handle, key, _dword(Flags))

    def CryptSignHash(self, KeySpec: int, Flags: int = 0) -> bytes:
        """Sign the hash (not the data that it represents) with a key pair of the container."""
        arguments = (self._handle, _dword(KeySpec), None, _dword(Flags))
        name = "PyCRYPTHASH::CryptSignHash"
        try:
            size = _native(name, "CryptSignHash", *arguments, None)
        except pywintypes.error:
            size = 0  # pywin32 goes on, and reports what the second call says
        return cast("bytes", _native(name, "CryptSignHash", *arguments, size))

    def CryptVerifySignature(self, Signature: Readable, PubKey: PyCRYPTKEY, Flags: int = 0) -> None:
        """Verify that a signature matches the hash; raises `pywintypes.error` if not."""
        key = _exact(PyCRYPTKEY, PubKey)
        name = "PyCRYPTHASH::CryptVerifySignature"
        signature = _bytes(Signature)
        arguments = (self._handle, signature, len(signature), key, None, _dword(Flags))
        _native(name, "CryptVerifySignature", *arguments)

    def CryptGetHashParam(self, Param: int, Flags: int = 0) -> Any:
        """Retrieve HP_ALGID, HP_HASHSIZE (int) or HP_HASHVAL (bytes; finishes the hash).

        Raises:
            NotImplementedError: pywin32 cannot convert this parameter.

        """
        name = "PyCRYPTHASH::CryptGetHashParam"
        arguments = (self._handle, _dword(Param), _dword(Flags))
        size = _native(name, "CryptGetHashParam", *arguments, None)
        data = _native(name, "CryptGetHashParam", *arguments, size)
        if Param in (c.HP_ALGID, c.HP_HASHSIZE):
            return _number(data)
        if Param == c.HP_HASHVAL:
            return data
        message = f"Hash parameter {Param} is not yet supported"
        raise NotImplementedError(message)


# object.__new__ goes round the metaclass, which refuses calls to everybody else.


def _prov(handle: int) -> PyCRYPTPROV:
    item: PyCRYPTPROV = object.__new__(PyCRYPTPROV)
    item._handle = handle
    return item


def _key(handle: int, parent: PyCRYPTPROV | None) -> PyCRYPTKEY:
    item: PyCRYPTKEY = object.__new__(PyCRYPTKEY)
    item._handle = handle
    item._parent = parent
    return item


def _hash(handle: int) -> PyCRYPTHASH:
    item: PyCRYPTHASH = object.__new__(PyCRYPTHASH)
    item._handle = handle
    return item


def _algorithm(data: bytes) -> dict[str, Any]:
    algid, bits, length, name = struct.unpack("<III20s", data)
    return {"Algid": algid, "BitLen": bits, "Name": name[: length - 1].decode("ascii")}


def _algorithm_ex(data: bytes) -> dict[str, Any]:
    algid, default, smallest, largest, protocols, length, name, long_length, long_name = (
        struct.unpack("<6I20sI40s", data)
    )
    return {
        "Algid": algid,
        "DefaultLen": default,
        "MinLen": smallest,
        "MaxLen": largest,
        "Protocols": protocols,
        "Name": name[: length - 1].decode("ascii"),
        "LongName": long_name[: long_length - 1].decode("ascii"),
    }


def _container(data: bytes) -> str:
    return data.partition(b"\0")[0].decode("utf-8", "surrogateescape")


_ENUMERATED: Final[dict[int, Any]] = {
    c.PP_ENUMALGS: _algorithm,
    c.PP_ENUMALGS_EX: _algorithm_ex,
    c.PP_ENUMCONTAINERS: _container,
}


# --- functions of the module -------------------------------------------------------------------


def CryptAcquireContext(
    Container: str | None, Provider: str | None, ProvType: int, Flags: int
) -> PyCRYPTPROV | None:
    """Retrieve a handle to a cryptographic service provider.

    Args:
        Container: name of the key container; None for the default one.
        Provider: name of the provider; None for the type's default.
        ProvType: PROV_RSA_FULL and so on.
        Flags: CRYPT_VERIFYCONTEXT and so on.

    Returns:
        The context; None for CRYPT_DELETEKEYSET.

    Raises:
        pywintypes.error: the provider refused.

    """
    for text in (Container, Provider):
        if text is not None and not isinstance(text, str):
            message = f"Objects of type {type(text).__name__!r} can not be converted to Unicode."
            raise TypeError(message)
    name = "CryptAcquireContext"
    handle = _native(name, name, Container, Provider, _dword(ProvType), _dword(Flags))
    if _dword(Flags) & c.CRYPT_DELETEKEYSET:
        return None
    return _prov(handle)


def CryptEnumProviders() -> list[tuple[str, int]]:
    """List the installed providers as (name, type)."""
    return [(name, number) for number, name in _all("CryptEnumProviders")]


def CryptEnumProviderTypes() -> list[tuple[str, int]]:
    """List the provider types as (name, type)."""
    return [(name, number) for number, name in _all("CryptEnumProviderTypes")]


def _all(function: str) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    while True:
        try:
            found.append(_native(function, function, len(found)))
        except pywintypes.error as problem:
            if problem.winerror != c.ERROR_NO_MORE_ITEMS:
                raise
            return found


def CryptGetDefaultProvider(ProvType: int, Flags: int) -> str:
    """Name the default provider of a type, for the machine or the user."""
    name = "CryptGetDefaultProvider"
    return cast("str", _native(name, name, _dword(ProvType), _dword(Flags)))


def CryptSetProviderEx(ProvName: str, ProvType: int, Flags: int) -> None:
    """Choose the default provider of a type; in this process only, unlike on Windows."""
    if ProvName is not None and not isinstance(ProvName, str):
        message = f"Objects of type {type(ProvName).__name__!r} can not be converted to Unicode."
        raise TypeError(message)
    name = "CryptSetProviderEx"
    _native(name, name, ProvName, _dword(ProvType), _dword(Flags))
