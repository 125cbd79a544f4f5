# ruff: noqa: D102 - `Client` documents the methods, once
"""Plays client programs through one binding, traced or not, and writes down what a program sees.

    python player.py BINDING off|log|full|raise SEED COUNT

Each step is announced and then reported on stderr, as one line of JSON: with Wine's `+crypt` trace
the native calls of the step stand between the two lines. It needs no pytest, since it also runs
under Windows Python.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import sys
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

sys.path.insert(0, str(Path(__file__).parent))

from programs import DATA, Step, programs

if TYPE_CHECKING:
    from collections.abc import Callable

    from csptrace import Tracer

CALGS: Final = {"sha1": 0x8004, "sha256": 0x800C, "mac": 0x8005, "nonsense": 0x8FFF}
CALG_AES_128: Final = 0x660E
PROV_RSA_AES: Final = 24
VERIFYCONTEXT: Final = 0xF0000000
NEWKEYSET, DELETEKEYSET = 0x8, 0x10
AT_SIGNATURE: Final = 2
RSA_512: Final = 512 << 16
PLAINTEXTKEYBLOB: Final = 8
KP_KEYLEN, HP_HASHVAL = 9, 2
KEY_BLOB: Final = bytes([8, 2, 0, 0, 0x0E, 0x66, 0, 0, 16, 0, 0, 0, *range(16)])
CONTAINER: Final = f"csptrace-transparency-{uuid.uuid4()}"
MISSING: Final = "csptrace-transparency-no-such-container"
CELLS, ROOM = 512, 1024

DECLARATIONS: Final = """
typedef uintptr_t HANDLE_; typedef uint32_t DWORD; typedef int BOOL;
BOOL CryptAcquireContextW(HANDLE_ *, const wchar_t *, const wchar_t *, DWORD, DWORD);
BOOL CryptAcquireContextA(HANDLE_ *, const char *, const char *, DWORD, DWORD);
BOOL CryptContextAddRef(HANDLE_, DWORD *, DWORD);
BOOL CryptReleaseContext(HANDLE_, DWORD);
BOOL CryptGenRandom(HANDLE_, DWORD, unsigned char *);
BOOL CryptGenKey(HANDLE_, DWORD, DWORD, HANDLE_ *);
BOOL CryptGetUserKey(HANDLE_, DWORD, HANDLE_ *);
BOOL CryptDeriveKey(HANDLE_, DWORD, HANDLE_, DWORD, HANDLE_ *);
BOOL CryptImportKey(HANDLE_, const unsigned char *, DWORD, HANDLE_, DWORD, HANDLE_ *);
BOOL CryptExportKey(HANDLE_, HANDLE_, DWORD, DWORD, unsigned char *, DWORD *);
BOOL CryptGetKeyParam(HANDLE_, DWORD, unsigned char *, DWORD *, DWORD);
BOOL CryptEncrypt(HANDLE_, HANDLE_, BOOL, DWORD, unsigned char *, DWORD *, DWORD);
BOOL CryptDuplicateKey(HANDLE_, DWORD *, DWORD, HANDLE_ *);
BOOL CryptDestroyKey(HANDLE_);
BOOL CryptCreateHash(HANDLE_, DWORD, HANDLE_, DWORD, HANDLE_ *);
BOOL CryptDuplicateHash(HANDLE_, DWORD *, DWORD, HANDLE_ *);
BOOL CryptHashData(HANDLE_, const unsigned char *, DWORD, DWORD);
BOOL CryptGetHashParam(HANDLE_, DWORD, unsigned char *, DWORD *, DWORD);
BOOL CryptSignHashW(HANDLE_, DWORD, const wchar_t *, DWORD, unsigned char *, DWORD *);
BOOL CryptDestroyHash(HANDLE_);
"""


class Client(Protocol):
    """What plays the steps."""

    def prepare(self, number: int) -> None:
        """Give every last error a value that no call leaves behind."""

    def errors(self) -> list[int]:
        """Return every last error that a program can read."""

    def play(self, step: Step) -> dict[str, Any]:
        """Play one step and return what the program saw."""

    def forget(self) -> None:
        """Release what a program has left, after its last step."""


# --- C functions ----------------------------------------------------------------------------------


class Functions:
    """What ctypes and cffi have in common. Memory for results is allocated once."""

    def __init__(self) -> None:
        self.values: dict[str, int] = {}
        self.number = 0
        self.used = 0

    # What differs: how arguments are carried.

    def function(self, name: str) -> Any:
        raise NotImplementedError

    def handle(self, value: int) -> Any:
        return value

    def cell(self, index: int) -> Any:
        raise NotImplementedError

    def read(self, index: int) -> int:
        raise NotImplementedError

    def size(self, value: int) -> Any:
        raise NotImplementedError

    def read_size(self) -> int:
        raise NotImplementedError

    def room(self, data: bytes = b"") -> Any:
        raise NotImplementedError

    def content(self, size: int) -> bytes:
        raise NotImplementedError

    def text(self, text: str | None, *, wide: bool) -> Any:
        raise NotImplementedError

    def null(self) -> Any:
        return None

    # The calls.

    def prepare(self, number: int) -> None:
        self.number = number

    def call(self, name: str, *arguments: Any) -> dict[str, Any]:
        return {"ret": int(self.function(name)(*arguments))}

    def new(self, slot: str, name: str, *arguments: Any, first: bool = False) -> dict[str, Any]:
        index, self.used = self.used % CELLS, self.used + 1
        out = self.cell(index)
        seen = self.call(name, *((out, *arguments) if first else (*arguments, out)))
        if seen["ret"]:
            self.values[slot] = seen["value"] = self.read(index)
            seen["new"] = slot
        else:
            seen["left"] = self.read(index)
        return seen

    def fetch(self, name: str, *before: Any, after: tuple[Any, ...] = ()) -> dict[str, Any]:
        """Ask for the size of a result, then for the result."""
        asked = self.call(name, *before, self.null(), self.size(0), *after)
        needed = self.read_size()
        seen = self.call(name, *before, self.room(), self.size(min(needed, ROOM)), *after)
        size = self.read_size()
        return {"asked": asked, "needed": needed, **seen, "size": size} | (
            {"bytes": self.content(size).hex()} if seen["ret"] else {}
        )

    def play(self, step: Step) -> dict[str, Any]:
        if any(slot not in self.values for slot in step.slots):
            return {"skipped": True}
        handles = [self.handle(self.values[slot]) for slot in step.slots]
        wide = self.number % 2 == 0
        acquire = "CryptAcquireContextW" if wide else "CryptAcquireContextA"

        def text(value: str | None) -> Any:
            return self.text(value, wide=wide)

        def context(name: str | None, flags: int, kind: int = PROV_RSA_AES) -> dict[str, Any]:
            return self.new(
                step.new, acquire, text(name), text(None), kind, flags, first=True
            )  # fmt: skip

        match step.op:
            case "acquire":
                return context(None, VERIFYCONTEXT)
            case "acquire_bad_type":
                return context(None, VERIFYCONTEXT, 998)
            case "acquire_missing":
                return context(MISSING, 0)
            case "new_container":
                return context(CONTAINER, NEWKEYSET)
            case "delete_container":
                return self.call(
                    acquire, self.cell(0), text(CONTAINER), text(None), PROV_RSA_AES, DELETEKEYSET
                )
            case "add_ref":
                return self.call("CryptContextAddRef", *handles, self.null(), 0)
            case "release":
                return self.call("CryptReleaseContext", *handles, int(step.detail))
            case "random":
                return self.call("CryptGenRandom", *handles, 8, self.room())
            case "gen_key":
                return self.new(step.new, "CryptGenKey", *handles, CALG_AES_128, 1)
            case "gen_bad_key":
                return self.new(step.new, "CryptGenKey", *handles, 0xEEEE, 1)
            case "gen_signature_key":
                return self.new(step.new, "CryptGenKey", *handles, AT_SIGNATURE, RSA_512)
            case "user_key":
                return self.new(step.new, "CryptGetUserKey", *handles, AT_SIGNATURE)
            case "import_key":
                null = self.handle(0)
                return self.new(
                    step.new, "CryptImportKey", *handles, KEY_BLOB, len(KEY_BLOB), null, 1
                )
            case "derive":
                prov, hashed = handles
                return self.new(step.new, "CryptDeriveKey", prov, CALG_AES_128, hashed, 0)
            case "duplicate_key":
                return self.new(step.new, "CryptDuplicateKey", *handles, self.null(), 0)
            case "duplicate_hash":
                return self.new(step.new, "CryptDuplicateHash", *handles, self.null(), 0)
            case "key_param":
                return self.fetch("CryptGetKeyParam", *handles, KP_KEYLEN, after=(0,))
            case "export":
                seen = self.fetch("CryptExportKey", *handles, self.handle(0), PLAINTEXTKEYBLOB, 0)
                seen.pop("bytes", None)  # of a key that may be random
                return seen
            case "encrypt":
                data = DATA[int(step.detail)]
                room, size = self.room(data), self.size(len(data))
                return self.call("CryptEncrypt", *handles, self.handle(0), 1, 0, room, size, ROOM)
            case "create_hash":
                prov, *key = handles
                algorithm = CALGS[str(step.detail)]
                return self.new(
                    step.new, "CryptCreateHash", prov, algorithm, *(key or [self.handle(0)]), 0
                )
            case "hash_data":
                data = DATA[int(step.detail)]
                return self.call("CryptHashData", *handles, data, len(data), 0)
            case "hash_value":
                return self.fetch("CryptGetHashParam", *handles, HP_HASHVAL, after=(0,))
            case "mac_value":
                seen = self.fetch("CryptGetHashParam", *handles, HP_HASHVAL, after=(0,))
                seen.pop("bytes", None)  # under a key that may be random
                return seen
            case "sign":
                seen = self.fetch("CryptSignHashW", *handles, AT_SIGNATURE, self.null(), 0)
                seen.pop("bytes", None)  # by a key that is random
                return seen
            case "destroy_key":
                return self.call("CryptDestroyKey", *handles)
            case "destroy_hash":
                return self.call("CryptDestroyHash", *handles)
            case "wrong_release":
                more = (0,) if step.detail == "CryptReleaseContext" else ()
                return self.call(str(step.detail), *handles, *more)
            case "null":
                return {
                    name: self.call(name, self.handle(0), *more)
                    for name, *more in (
                        ("CryptDestroyKey",),
                        ("CryptDestroyHash",),
                        ("CryptReleaseContext", 0),
                        ("CryptGenRandom", 8, self.room()),
                    )
                }
            case "flawed":
                return self.flawed(int(step.detail), handles[0])
            case "drop":
                return {}  # a number is nobody's
        raise AssertionError(step)

    def flawed(self, detail: int, handle: Any) -> dict[str, Any]:
        """Pass arguments that the binding itself refuses."""
        match detail:
            case 0:
                return self.call("CryptDestroyKey", object())
            case 1:
                return self.call("CryptHashData", handle, {"no": "bytes"}, 1, 0)
            case 2:
                return self.call("CryptReleaseContext", handle, "zero", [])
            case _:
                return self.call("CryptGenRandom", handle, 8, 1.5)

    def forget(self) -> None:
        self.values.clear()


class Ctypes(Functions):
    """A library through ctypes, in every style that programs use."""

    def __init__(self) -> None:
        super().__init__()
        self.cells = (ctypes.c_size_t * CELLS)()
        self.void_cells = (ctypes.c_void_p * CELLS).from_buffer(self.cells)
        self.length = ctypes.c_uint32()
        self.memory = ctypes.create_string_buffer(ROOM)
        self.libraries: list[Any] = []

    def function(self, name: str) -> Any:
        return getattr(self.libraries[self.number % len(self.libraries)], name)

    def handle(self, value: int) -> Any:
        match self.number % 3:
            case 0:
                return ctypes.c_void_p(value)
            case 1:
                return ctypes.c_size_t(value)
        return value

    def cell(self, index: int) -> Any:
        # byref() of an array's item would take a new object each time; the memory is the same.
        self.cells[index] = 0
        kind = ctypes.c_void_p if self.number % 2 else ctypes.c_size_t
        return ctypes.byref(kind.from_buffer(self.cells, index * ctypes.sizeof(kind)))

    def read(self, index: int) -> int:
        return self.cells[index]

    def size(self, value: int) -> Any:
        self.length.value = value
        return ctypes.byref(self.length)

    def read_size(self) -> int:
        return self.length.value

    def room(self, data: bytes = b"") -> Any:
        ctypes.memmove(self.memory, data, len(data))
        return self.memory

    def content(self, size: int) -> bytes:
        return self.memory.raw[:size]

    def text(self, text: str | None, *, wide: bool) -> Any:
        return text if wide or text is None else text.encode()


class SoftCtypes(Ctypes):
    """softcsp's library object."""

    def __init__(self) -> None:
        super().__init__()
        from csptrace.softcsp import advapi32

        self.libraries = [advapi32]
        self.get, self.set = advapi32.GetLastError, advapi32.SetLastError

    def prepare(self, number: int) -> None:
        super().prepare(number)
        self.set(0x2000 + number)
        ctypes.set_errno(0x3000 + number)

    def errors(self) -> list[int]:
        return [int(self.get()), ctypes.get_errno()]


class WindowsCtypes(Ctypes):
    """The genuine advapi32: with both copies of the last error, declared and not, checked."""

    def __init__(self) -> None:
        super().__init__()
        load: Callable[..., Any] = ctypes.WinDLL  # type: ignore[attr-defined]
        copying, plain, declared, checked = (
            load("advapi32", use_last_error=copying) for copying in (True, False, True, False)
        )
        size, dword = ctypes.c_size_t, ctypes.c_uint32
        for name, argtypes in {
            "CryptReleaseContext": [size, dword],
            "CryptDestroyKey": [size],
            "CryptDestroyHash": [size],
            "CryptGenRandom": [size, dword, ctypes.c_void_p],
            "CryptHashData": [size, ctypes.c_char_p, dword, dword],
            "CryptGenKey": [size, dword, dword, ctypes.POINTER(size)],
        }.items():
            getattr(declared, name).argtypes = argtypes
            getattr(declared, name).restype = ctypes.c_int32
        for name in ("CryptReleaseContext", "CryptDestroyKey", "CryptGenKey", "CryptHashData"):
            getattr(checked, name).errcheck = self.check
        self.libraries = [copying, plain, declared, checked]
        self.SetLastError = load("kernel32").SetLastError
        self.GetLastError: Callable[[], int] = ctypes.GetLastError  # type: ignore[attr-defined]

    def cell(self, index: int) -> Any:
        out = super().cell(index)
        if self.number % len(self.libraries) == 2:  # declared POINTER(c_size_t)
            cell = ctypes.c_size_t.from_buffer(self.cells, index * ctypes.sizeof(ctypes.c_size_t))
            out = ctypes.byref(cell)
        return out

    def handle(self, value: int) -> Any:
        if self.number % len(self.libraries) == 2:  # declared c_size_t
            return value
        return super().handle(value)

    @staticmethod
    def check(result: int, function: Any, _arguments: tuple[Any, ...]) -> int:
        if not result:
            raise ctypes.WinError()  # type: ignore[attr-defined]
        return result

    def prepare(self, number: int) -> None:
        super().prepare(number)
        ctypes.set_last_error(0x1000 + number)  # type: ignore[attr-defined]
        self.SetLastError(0x2000 + number)

    def errors(self) -> list[int]:
        system = self.GetLastError()
        return [system, int(ctypes.get_last_error())]  # type: ignore[attr-defined]


class WindowsCffi(Functions):
    """The genuine advapi32 through cffi's ABI mode."""

    def __init__(self) -> None:
        super().__init__()
        import cffi

        self.ffi = cffi.FFI()
        self.ffi.cdef(DECLARATIONS)
        self.library = self.ffi.dlopen("advapi32.dll")
        self.cells = self.ffi.new("HANDLE_[]", CELLS)
        self.length = self.ffi.new("DWORD *")
        self.memory = self.ffi.new("unsigned char[]", ROOM)
        self.SetLastError = ctypes.WinDLL("kernel32").SetLastError  # type: ignore[attr-defined]
        self.GetLastError: Callable[[], int] = ctypes.GetLastError  # type: ignore[attr-defined]
        self.texts: dict[str, Any] = {}

    def function(self, name: str) -> Any:
        return getattr(self.library, name)

    def handle(self, value: int) -> Any:
        return self.ffi.cast("HANDLE_", value) if self.number % 3 == 0 else value

    def cell(self, index: int) -> Any:
        self.cells[index] = 0
        return self.cells + index

    def read(self, index: int) -> int:
        return int(self.cells[index])

    def size(self, value: int) -> Any:
        self.length[0] = value
        return self.length

    def read_size(self) -> int:
        return int(self.length[0])

    def room(self, data: bytes = b"") -> Any:
        self.ffi.memmove(self.memory, data, len(data))
        return self.memory

    def content(self, size: int) -> bytes:
        return bytes(self.ffi.buffer(self.memory, size))

    def text(self, text: str | None, *, wide: bool) -> Any:
        if text is None:
            return self.ffi.NULL
        kind = "wchar_t[]" if wide else "char[]"
        return self.ffi.new(kind, text if wide else text.encode())

    def null(self) -> Any:
        return self.ffi.NULL

    def prepare(self, number: int) -> None:
        super().prepare(number)
        self.ffi.errno = 0x3000 + number
        self.SetLastError(0x2000 + number)

    def errors(self) -> list[int]:
        system = self.GetLastError()
        return [system, int(self.ffi.getwinerror()[0]), int(self.ffi.errno)]


# --- handle objects -------------------------------------------------------------------------------


class Objects:
    """A module of pywin32's shape."""

    def __init__(self, module: Any, error: type[Exception]) -> None:
        self.module = module
        self.error = error
        self.values: dict[str, Any] = {}

    def prepare(self, number: int) -> None:
        pass

    def errors(self) -> list[int]:
        return []

    def new(self, step: Step, made: Any) -> dict[str, Any]:
        self.values[step.new] = made
        return {"new": step.new, "type": type(made).__name__}

    def play(self, step: Step) -> dict[str, Any]:
        if any(slot not in self.values for slot in step.slots):
            return {"skipped": True}
        if step.op == "drop":
            del self.values[step.slots[0]]
            return {}
        first, *rest = [self.values[slot] for slot in step.slots] or [None]
        acquire = self.module.CryptAcquireContext
        match step.op:
            case "acquire":
                return self.new(step, acquire(None, None, PROV_RSA_AES, VERIFYCONTEXT))
            case "acquire_bad_type":
                return self.new(step, acquire(None, None, 998, VERIFYCONTEXT))
            case "acquire_missing":
                return self.new(step, acquire(MISSING, None, PROV_RSA_AES, 0))
            case "new_container":
                return self.new(step, acquire(CONTAINER, None, PROV_RSA_AES, NEWKEYSET))
            case "delete_container":
                return {"ret": repr(acquire(CONTAINER, None, PROV_RSA_AES, DELETEKEYSET))}
            case "release":
                return {"ret": repr(first.CryptReleaseContext(int(step.detail)))}
            case "random":
                return {"ret": len(first.CryptGenRandom(8))}
            case "gen_key":
                return self.new(step, first.CryptGenKey(CALG_AES_128, 1))
            case "gen_bad_key":
                return self.new(step, first.CryptGenKey(Algid=0xEEEE, Flags=1))
            case "gen_signature_key":
                return self.new(step, first.CryptGenKey(AT_SIGNATURE, 0, 512))
            case "user_key":
                return self.new(step, first.CryptGetUserKey(KeySpec=AT_SIGNATURE))
            case "import_key":
                return self.new(step, first.CryptImportKey(KEY_BLOB, None, 1))
            case "duplicate_key":
                return self.new(step, first.CryptDuplicateKey())
            case "duplicate_hash":
                return self.new(step, first.CryptDuplicateHash())
            case "key_param":
                return {"ret": repr(first.CryptGetKeyParam(KP_KEYLEN))}
            case "export":
                return {"ret": len(first.CryptExportKey(None, PLAINTEXTKEYBLOB))}
            case "encrypt":
                return {"ret": len(first.CryptEncrypt(True, DATA[int(step.detail)], None, 0))}
            case "create_hash":
                key = rest[0] if rest else None
                return self.new(step, first.CryptCreateHash(CALGS[str(step.detail)], key))
            case "hash_data":
                return {"ret": repr(first.CryptHashData(DATA[int(step.detail)]))}
            case "hash_value":
                return {"ret": first.CryptGetHashParam(HP_HASHVAL).hex()}
            case "mac_value":
                return {"ret": len(first.CryptGetHashParam(HP_HASHVAL))}
            case "sign":
                return {"ret": len(first.CryptSignHash(AT_SIGNATURE))}
            case "destroy_key":
                return {"ret": repr(first.CryptDestroyKey())}
            case "destroy_hash":
                return {"ret": repr(first.CryptDestroyHash())}
            case "flawed":
                return self.flawed(int(step.detail), first)
            case "add_ref" | "derive" | "wrong_release" | "null":
                return {"skipped": "no such call in this binding"}
        raise AssertionError(step)

    def flawed(self, detail: int, first: Any) -> dict[str, Any]:
        match detail:
            case 0:
                return {"ret": first.CryptGenKey()}
            case 1:
                return {"ret": first.CryptCreateHash(CALGS["sha1"], first)}
            case 2:
                return {"ret": first.CryptReleaseContext(Flag=0)}
            case _:
                return {"ret": first.CryptNoSuchMethod}

    def forget(self) -> None:
        # Keys first, so that no destructor meets a context that is gone.
        for slot in sorted(self.values, key=lambda slot: "khc".index(slot[0])):
            del self.values[slot]


class WindowsObjects(Objects):
    """The genuine pywin32."""

    def __init__(self) -> None:
        import pywintypes
        import win32crypt

        super().__init__(win32crypt, pywintypes.error)
        self.SetLastError = ctypes.WinDLL("kernel32").SetLastError  # type: ignore[attr-defined]
        self.GetLastError: Callable[[], int] = ctypes.GetLastError  # type: ignore[attr-defined]

    def prepare(self, number: int) -> None:
        self.SetLastError(0x2000 + number)

    def errors(self) -> list[int]:
        return [self.GetLastError()]


def _soft_objects() -> Client:
    from csptrace.softcsp import pywintypes, win32crypt

    return Objects(win32crypt, pywintypes.error)


CLIENTS: Final[dict[str, Callable[[], Client]]] = {
    "softcsp-ctypes": SoftCtypes,
    "softcsp-win32crypt": _soft_objects,
    "ctypes": WindowsCtypes,
    "cffi": WindowsCffi,
    "win32crypt": WindowsObjects,
}


# --- the run --------------------------------------------------------------------------------------


def say(**line: Any) -> None:
    """Write one line between those of the native trace."""
    sys.stderr.write("client " + json.dumps(line) + "\n")
    sys.stderr.flush()


def play(client: Client, number: int, program: list[Step], deliberate: tuple[type, ...]) -> bool:
    """Play one program up to its end, or up to the first raise of the tracer.

    Returns:
        Whether the tracer raised.
    """
    say(program=number)
    for index, step in enumerate(program):
        say(begin=index, op=step.op, slots=step.slots)
        client.prepare(index)
        try:
            seen = client.play(step)
        except Exception as error:  # noqa: BLE001 - whatever the program would see
            errors = client.errors()
            if isinstance(error, deliberate):
                say(raised=index, error=type(error).__name__)
                return True
            seen = {"exception": [f"{type(error).__module__}.{type(error).__name__}", str(error)]}
        else:
            errors = client.errors()
        say(end=index, seen=seen, errors=errors)
    return False


def main(binding: str, mode: str, seed: int, count: int) -> None:
    """Play all programs through one binding."""
    tracer: Tracer | None = None
    deliberate: tuple[type, ...] = ()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.environ.setdefault("SOFTCSP_HOME", os.path.join(folder, "home"))
        if mode != "off":
            import csptrace

            reaction = "raise" if mode == "raise" else "log"
            deliberate = (csptrace.HandleError, csptrace.HandleLeak)
            tracer = csptrace.start(
                on_misuse=reaction,
                on_leak=reaction,
                level="full" if mode == "full" else "acquire",
                log=os.path.join(folder, "log") if mode == "full" else None,
                quiet=True,
                strict=True,
            )
        client = CLIENTS[binding]()
        counted = not binding.endswith("win32crypt")
        for number, program in enumerate(programs(seed, count, counted=counted)):
            play(client, number, program, deliberate)
            say(between=number)
            client.forget()
        if tracer is not None:
            import csptrace

            findings = len(tracer.check())
            with contextlib.suppress(csptrace.HandleLeak):
                csptrace.stop()
            say(findings=findings)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
