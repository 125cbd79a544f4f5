# ruff: noqa: D102 - `Client` documents the methods, once
"""One small client of CryptoAPI, spoken through every binding there is.

Handles are whatever the binding hands out: numbers here, objects there. A refused call raises
`Refused`. A binding that cannot do something says so in `lacks`, with the reason.
"""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING, Any, Final, Protocol

import fakecsp

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PROV_RSA_AES: Final = 24
CRYPT_VERIFYCONTEXT: Final = 0xF0000000
CRYPT_NEWKEYSET: Final = 0x8
CRYPT_DELETEKEYSET: Final = 0x10
CRYPT_EXPORTABLE: Final = 0x1
CRYPT_DESTROYKEY: Final = 0x4
CALG_AES_128: Final = 0x660E
CALG_SHA1: Final = 0x8004
CALG_HMAC: Final = 0x8009
AT_SIGNATURE: Final = 2
RSA_1024: Final = 1024 << 16
PLAINTEXTKEYBLOB: Final = 8
OPAQUEKEYBLOB: Final = 9
BAD_FLAGS: Final = 0x80090009
NO_SUCH_CONTAINER: Final = 0x80090016


class Refused(Exception):
    """The provider refused a call.

    Attributes:
        code: the Windows error code, unsigned.
    """

    def __init__(self, code: int) -> None:
        super().__init__(f"{code & 0xFFFFFFFF:#010x}")
        self.code = code & 0xFFFFFFFF


class Client(Protocol):
    """What every binding can say, up to what it `lacks`."""

    lacks: Mapping[str, str]
    """Case → why this binding cannot do it."""
    settings: dict[str, Any]
    """What the tracer has to be told so that it finds the binding."""
    binding: str
    """The binding's name in findings."""

    def acquire(self, container: str | None = None, flags: int = CRYPT_VERIFYCONTEXT) -> Any:
        """CryptAcquireContext; `None` if no handle was handed out."""

    def add_ref(self, prov: Any) -> None:
        """CryptContextAddRef."""

    def release(self, prov: Any, flags: int = 0) -> None:
        """CryptReleaseContext."""

    def random(self, prov: Any) -> None:
        """CryptGenRandom."""

    def gen_key(self, prov: Any, algorithm: int = CALG_AES_128, flags: int = 1) -> Any:
        """CryptGenKey."""

    def user_key(self, prov: Any) -> Any:
        """CryptGetUserKey of the signature key."""

    def derive(self, prov: Any, hashed: Any) -> Any:
        """CryptDeriveKey."""

    def import_key(self, prov: Any, blob: bytes) -> Any:
        """CryptImportKey."""

    def export_size(self, key: Any, kind: int = PLAINTEXTKEYBLOB, flags: int = 0) -> int:
        """CryptExportKey without a buffer."""

    def export_key(self, key: Any, kind: int = PLAINTEXTKEYBLOB, flags: int = 0) -> bytes:
        """CryptExportKey."""

    def duplicate_key(self, key: Any) -> Any:
        """CryptDuplicateKey."""

    def destroy_key(self, key: Any) -> None:
        """CryptDestroyKey."""

    def create_hash(self, prov: Any, algorithm: int = CALG_SHA1, key: Any = None) -> Any:
        """CryptCreateHash."""

    def duplicate_hash(self, hashed: Any) -> Any:
        """CryptDuplicateHash."""

    def hash_data(self, hashed: Any, data: bytes = b"data") -> None:
        """CryptHashData."""

    def destroy_hash(self, hashed: Any) -> None:
        """CryptDestroyHash."""

    def number(self, handle: Any) -> int | None:
        """Return the native value of a handle, `None` if it does not show."""

    def calls(self, function: str) -> Callable[[], int] | None:
        """Return a counter of native calls, `None` if they cannot be counted from inside."""


class Functions:
    """What the bindings with plain C functions have in common; handles are ints.

    Args:
        lib: a library object.
    """

    binding = "ctypes"
    acquire_function = "CryptAcquireContextW"
    settings: dict[str, Any] = {}  # noqa: RUF012 - replaced, never changed
    lacks: Mapping[str, str] = {}

    def __init__(self, lib: Any) -> None:
        self.lib = lib

    # --- what differs -------------------------------------------------------------------------

    def box(self) -> Any:
        """Return something that can receive a handle."""
        return ctypes.c_size_t(0)

    def out(self, box: Any) -> Any:
        """Return what is passed so that the callee can write into a box."""
        return ctypes.byref(box)

    def read(self, box: Any) -> int:
        """Return what was written into a box."""
        return int(box.value)

    def dword(self, value: int) -> Any:
        """Return a DWORD that can be written to."""
        return ctypes.c_uint32(value)

    def buffer(self, size: int) -> Any:
        """Return memory for the callee to write into."""
        return ctypes.create_string_buffer(size)

    def bytes_of(self, buffer: Any, size: int) -> bytes:
        """Return what was written into memory."""
        return bytes(buffer.raw[:size])

    def handle(self, value: int | None) -> Any:
        """Return a handle as it is passed."""
        return ctypes.c_size_t(value or 0)

    def flags(self, value: int) -> Any:
        """Return a DWORD as it is passed."""
        return ctypes.c_uint32(value)

    def text(self, value: str | None) -> Any:
        """Return text as it is passed."""
        return value

    def null(self) -> Any:
        """Return a null pointer as it is passed."""
        return None

    def last_error(self) -> int:
        """Return why the last call failed."""
        return int(self.lib.GetLastError())

    # --- the calls ----------------------------------------------------------------------------

    def _call(self, function: str, *arguments: Any) -> None:
        if not getattr(self.lib, function)(*arguments):
            raise Refused(self.last_error())

    def _new(self, function: str, *arguments: Any) -> int:
        box = self.box()
        self._call(function, *arguments, self.out(box))
        return self.read(box)

    def acquire(self, container: str | None = None, flags: int = CRYPT_VERIFYCONTEXT) -> Any:
        box = self.box()
        self._call(
            self.acquire_function,
            self.out(box),
            self.text(container),
            self.text(None),
            self.flags(PROV_RSA_AES),
            self.flags(flags),
        )
        return None if flags & CRYPT_DELETEKEYSET and flags < 0xF0000000 else self.read(box)

    def add_ref(self, prov: Any) -> None:
        self._call("CryptContextAddRef", self.handle(prov), self.null(), self.flags(0))

    def release(self, prov: Any, flags: int = 0) -> None:
        self._call("CryptReleaseContext", self.handle(prov), self.flags(flags))

    def random(self, prov: Any) -> None:
        self._call("CryptGenRandom", self.handle(prov), self.flags(4), self.buffer(4))

    def gen_key(self, prov: Any, algorithm: int = CALG_AES_128, flags: int = 1) -> Any:
        return self._new("CryptGenKey", self.handle(prov), self.flags(algorithm), self.flags(flags))

    def user_key(self, prov: Any) -> Any:
        return self._new("CryptGetUserKey", self.handle(prov), self.flags(AT_SIGNATURE))

    def derive(self, prov: Any, hashed: Any) -> Any:
        return self._new(
            "CryptDeriveKey",
            self.handle(prov),
            self.flags(CALG_AES_128),
            self.handle(hashed),
            self.flags(0),
        )

    def import_key(self, prov: Any, blob: bytes) -> Any:
        return self._new(
            "CryptImportKey",
            self.handle(prov),
            blob,
            self.flags(len(blob)),
            self.handle(0),
            self.flags(CRYPT_EXPORTABLE),
        )

    def _export(self, key: Any, kind: int, flags: int, buffer: Any, size: int) -> int:
        length = self.dword(size)
        self._call(
            "CryptExportKey",
            self.handle(key),
            self.handle(0),
            self.flags(kind),
            self.flags(flags),
            buffer,
            self.out(length),
        )
        return self.read(length)

    def export_size(self, key: Any, kind: int = PLAINTEXTKEYBLOB, flags: int = 0) -> int:
        return self._export(key, kind, flags, self.null(), 0)

    def export_key(self, key: Any, kind: int = PLAINTEXTKEYBLOB, flags: int = 0) -> bytes:
        size = self.export_size(key, kind, flags)
        buffer = self.buffer(size)
        return self.bytes_of(buffer, self._export(key, kind, flags, buffer, size))

    def duplicate_key(self, key: Any) -> Any:
        return self._new("CryptDuplicateKey", self.handle(key), self.null(), self.flags(0))

    def destroy_key(self, key: Any) -> None:
        self._call("CryptDestroyKey", self.handle(key))

    def create_hash(self, prov: Any, algorithm: int = CALG_SHA1, key: Any = None) -> Any:
        return self._new(
            "CryptCreateHash",
            self.handle(prov),
            self.flags(algorithm),
            self.handle(key),
            self.flags(0),
        )

    def duplicate_hash(self, hashed: Any) -> Any:
        return self._new("CryptDuplicateHash", self.handle(hashed), self.null(), self.flags(0))

    def hash_data(self, hashed: Any, data: bytes = b"data") -> None:
        self._call("CryptHashData", self.handle(hashed), data, self.flags(len(data)), self.flags(0))

    def destroy_hash(self, hashed: Any) -> None:
        self._call("CryptDestroyHash", self.handle(hashed))

    def number(self, handle: Any) -> int | None:
        return int(handle)

    def calls(self, function: str) -> Callable[[], int] | None:
        return None


class SoftFunctions(Functions):
    """softcsp through ctypes."""

    def calls(self, function: str) -> Callable[[], int] | None:
        return soft_calls(function)


class WindowsFunctions(Functions):
    """The genuine advapi32 through ctypes."""

    lacks: Mapping[str, str] = {
        "destroy on export": "Wine's provider ignores CRYPT_DESTROYKEY",
        "count calls": "native calls cannot be counted from inside; test_windows.py counts them",
    }

    def last_error(self) -> int:
        return int(ctypes.get_last_error())  # type: ignore[attr-defined]


class CffiFunctions(Functions):
    """A shared library through cffi's ABI mode.

    Args:
        ffi: the `FFI` that declares the functions.
        lib: what its `dlopen` returned.
    """

    binding = "cffi"
    acquire_function = "CryptAcquireContextA"

    def __init__(self, ffi: Any, lib: Any) -> None:
        super().__init__(lib)
        self.ffi = ffi

    def box(self) -> Any:
        return self.ffi.new("uintptr_t *")

    def out(self, box: Any) -> Any:
        return box

    def read(self, box: Any) -> int:
        return int(box[0])

    def dword(self, value: int) -> Any:
        return self.ffi.new("DWORD *", value)

    def buffer(self, size: int) -> Any:
        return self.ffi.new("unsigned char[]", size)

    def bytes_of(self, buffer: Any, size: int) -> bytes:
        return bytes(self.ffi.buffer(buffer, size))

    def handle(self, value: int | None) -> Any:
        return value or 0

    def flags(self, value: int) -> Any:
        return value

    def text(self, value: str | None) -> Any:
        return self.ffi.NULL if value is None else value.encode()

    def null(self) -> Any:
        return self.ffi.NULL


class FakeCffi(CffiFunctions):
    """`fakecsp.c` through cffi."""

    settings: dict[str, Any] = {"libraries": (fakecsp.LIBRARY,)}  # noqa: RUF012 - never changed

    def calls(self, function: str) -> Callable[[], int] | None:
        return lambda: int(self.lib.fake_calls(function.encode()))


class WindowsCffi(CffiFunctions):
    """The genuine advapi32 through cffi."""

    lacks = WindowsFunctions.lacks

    def last_error(self) -> int:
        code, _text = self.ffi.getwinerror()
        return int(code)


class Objects:
    """A module of pywin32's shape; handles are objects.

    Args:
        module: the module.
        error: what it raises.
        calls: makes a counter of native calls.
    """

    binding = "win32crypt"
    settings: dict[str, Any] = {}  # noqa: RUF012 - never changed
    lacks: Mapping[str, str] = {
        "add_ref": "pywin32 does not wrap CryptContextAddRef",
        "derive": "pywin32 does not wrap CryptDeriveKey",
        "wrong release": "a handle object has the release method of its own kind only",
        "recycled value": "handle objects are told apart by identity, and released ones are kept",
        "size query": "pywin32 makes the size query itself",
    }

    def __init__(
        self,
        module: Any,
        error: type[Exception],
        calls: Callable[[str], Callable[[], int] | None] = lambda _function: None,
    ) -> None:
        self.module = module
        self.error = error
        self.calls = calls

    def _do(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except self.error as error:
            raise Refused(error.winerror) from error  # type: ignore[attr-defined]

    def acquire(self, container: str | None = None, flags: int = CRYPT_VERIFYCONTEXT) -> Any:
        return self._do(self.module.CryptAcquireContext, container, None, PROV_RSA_AES, flags)

    def add_ref(self, prov: Any) -> None:
        raise NotImplementedError

    def release(self, prov: Any, flags: int = 0) -> None:
        self._do(prov.CryptReleaseContext, flags)

    def random(self, prov: Any) -> None:
        self._do(prov.CryptGenRandom, 4)

    def gen_key(self, prov: Any, algorithm: int = CALG_AES_128, flags: int = 1) -> Any:
        return self._do(prov.CryptGenKey, algorithm, flags)

    def user_key(self, prov: Any) -> Any:
        return self._do(prov.CryptGetUserKey, AT_SIGNATURE)

    def derive(self, prov: Any, hashed: Any) -> Any:
        raise NotImplementedError

    def import_key(self, prov: Any, blob: bytes) -> Any:
        return self._do(prov.CryptImportKey, blob, None, CRYPT_EXPORTABLE)

    def export_size(self, key: Any, kind: int = PLAINTEXTKEYBLOB, flags: int = 0) -> int:
        raise NotImplementedError

    def export_key(self, key: Any, kind: int = PLAINTEXTKEYBLOB, flags: int = 0) -> bytes:
        return bytes(self._do(key.CryptExportKey, None, kind, flags))

    def duplicate_key(self, key: Any) -> Any:
        return self._do(key.CryptDuplicateKey)

    def destroy_key(self, key: Any) -> None:
        self._do(key.CryptDestroyKey)

    def create_hash(self, prov: Any, algorithm: int = CALG_SHA1, key: Any = None) -> Any:
        return self._do(prov.CryptCreateHash, algorithm, key)

    def duplicate_hash(self, hashed: Any) -> Any:
        return self._do(hashed.CryptDuplicateHash)

    def hash_data(self, hashed: Any, data: bytes = b"data") -> None:
        self._do(hashed.CryptHashData, data)

    def destroy_hash(self, hashed: Any) -> None:
        self._do(hashed.CryptDestroyHash)

    def number(self, handle: Any) -> int | None:
        return getattr(handle, "HCRYPTKEY", None)


class WindowsObjects(Objects):
    """The genuine pywin32."""

    lacks: Mapping[str, str] = {
        **Objects.lacks,
        "duplicate": "pywin32 passes a reserved pointer that must be NULL; always refused",
        "destroy on export": WindowsFunctions.lacks["destroy on export"],
        "count calls": WindowsFunctions.lacks["count calls"],
    }


def soft_calls(function: str) -> Callable[[], int]:
    """Count calls of one softcsp function with a fault that never strikes."""
    from csptrace.softcsp import faults

    fault = faults.arm(faults.Fault(function, 1, nth=1 << 60))
    return lambda: fault.calls


# --- the bindings of this machine ---------------------------------------------------------------


def _softcsp_ctypes() -> Client:
    from csptrace import softcsp

    return SoftFunctions(softcsp.advapi32)


def _softcsp_objects() -> Client:
    from csptrace.softcsp import pywintypes, win32crypt

    return Objects(win32crypt, pywintypes.error, soft_calls)


def _fake_cffi() -> Client:
    fakecsp.need()
    import cffi

    ffi = cffi.FFI()
    ffi.cdef(fakecsp.FAKE_DECLARATIONS)
    return FakeCffi(ffi, ffi.dlopen(str(fakecsp.library())))


def _windows_ctypes() -> Client:
    return WindowsFunctions(ctypes.WinDLL("advapi32", use_last_error=True))  # type: ignore[attr-defined]


def _windows_cffi() -> Client:
    import cffi

    ffi = cffi.FFI()
    ffi.cdef(fakecsp.DECLARATIONS)
    return WindowsCffi(ffi, ffi.dlopen("advapi32.dll"))


def _windows_objects() -> Client:
    import pywintypes
    import win32crypt

    return WindowsObjects(win32crypt, pywintypes.error)


BINDINGS: Final[Mapping[str, Callable[[], Client]]] = {
    "softcsp-ctypes": _softcsp_ctypes,
    "softcsp-win32crypt": _softcsp_objects,
    **(
        {
            "windows-ctypes": _windows_ctypes,
            "windows-cffi": _windows_cffi,
            "windows-win32crypt": _windows_objects,
        }
        if os.name == "nt"
        else {"fakecsp-cffi": _fake_cffi}
    ),
}
