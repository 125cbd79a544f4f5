"""One ctypes client program for two libraries: softcsp, and the genuine advapi32.

Runs *sequences*: lists of calls, each ``[function, argument, ...]``. As a program (under Windows
Python) it reads one sequence per line of standard input, as JSON, and answers each with a line of
results; imported, `run` does the same with any library object. Nothing but the standard library.

Arguments of a call:

=====================  ==========================================================================
``7``, ``None``        a number; NULL
``"$name"``            the handle kept under that name, 0 if there is none
``">name"``            a place for a handle, to be kept under that name
``["s", text]``        char * or wchar_t *, as the function takes it; ``{}`` is a prefix of its own
``["b", hex]``         bytes
``["kept", name]``     bytes kept from an earlier call
``["out", n, name?]``  room for n bytes; what is written there is kept under the name
``["io", hex, n, …]``  the same, with content
``["io*", kept, n, …]``  the same, with content kept from an earlier call
``["n", number]``      a DWORD that goes in and comes out
``["n*", name]``       likewise, going in as the length of bytes kept earlier
``["size*", name]``    the length of bytes kept earlier, by value
``["chars", n]``       room for n characters of the function's kind, with its length in `["nc", n]`
``["hmac", a, i, o]``  HMAC_INFO
``["blob", hex]``      CRYPT_DATA_BLOB
=====================  ==========================================================================

A result is ``[returned, error, outputs, random]``: the outputs are handles (as whether there is
one), numbers, and written bytes in hexadecimal. What depends on random numbers is left out, and
`random` says so: 1, only bytes were; 2, the whole result is a matter of chance.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import sys
from ctypes import c_char_p, c_int, c_size_t, c_uint32, c_void_p, c_wchar_p
from typing import Any

KINDS = {
    "h": c_size_t,
    "d": c_uint32,
    "p": c_void_p,
    "s": c_char_p,
    "w": c_wchar_p,
    "i": c_int,
}
SIGNATURES = {
    "CryptAcquireContextA": "pssdd",
    "CryptAcquireContextW": "pwwdd",
    "CryptContextAddRef": "hpd",
    "CryptReleaseContext": "hd",
    "CryptGenRandom": "hdp",
    "CryptGetProvParam": "hdppd",
    "CryptSetProvParam": "hdpd",
    "CryptGenKey": "hddp",
    "CryptDeriveKey": "hdhdp",
    "CryptGetUserKey": "hdp",
    "CryptImportKey": "hpdhdp",
    "CryptDuplicateKey": "hpdp",
    "CryptExportKey": "hhddpp",
    "CryptEncrypt": "hhidppd",
    "CryptDecrypt": "hhidpp",
    "CryptGetKeyParam": "hdppd",
    "CryptSetKeyParam": "hdpd",
    "CryptDestroyKey": "h",
    "CryptCreateHash": "hdhdp",
    "CryptDuplicateHash": "hpdp",
    "CryptHashData": "hpdd",
    "CryptHashSessionKey": "hhd",
    "CryptGetHashParam": "hdppd",
    "CryptSetHashParam": "hdpd",
    "CryptSignHashA": "hdsdpp",
    "CryptSignHashW": "hdwdpp",
    "CryptVerifySignatureA": "hpdhsd",
    "CryptVerifySignatureW": "hpdhwd",
    "CryptDestroyHash": "h",
    "CryptEnumProvidersA": "dpdppp",
    "CryptEnumProvidersW": "dpdppp",
    "CryptEnumProviderTypesA": "dpdppp",
    "CryptEnumProviderTypesW": "dpdppp",
    "CryptGetDefaultProviderA": "dpdpp",
    "CryptGetDefaultProviderW": "dpdpp",
    "CryptSetProviderA": "sd",
    "CryptSetProviderW": "wd",
    "CryptSetProviderExA": "sdpd",
    "CryptSetProviderExW": "wdpd",
}
PREFIX = "csptrace-differential-"
CRASHED = "crashed"

_DELETE = 0x10
_MORE_DATA = 234
_MACHINE = 0x20
_FILL = 0xA5


class _Blob(ctypes.Structure):
    _fields_ = (("cbData", c_uint32), ("pbData", c_void_p))


class _HmacInfo(ctypes.Structure):
    _fields_ = (
        ("HashAlgid", c_uint32),
        ("pbInnerString", c_void_p),
        ("cbInnerString", c_uint32),
        ("pbOuterString", c_void_p),
        ("cbOuterString", c_uint32),
    )


class Genuine:
    """The real advapi32, with the thread's last error."""

    def __init__(self) -> None:
        self.library = ctypes.WinDLL("advapi32", use_last_error=True)  # type: ignore[attr-defined]
        self.set_error = ctypes.set_last_error  # type: ignore[attr-defined]
        self.error = ctypes.get_last_error  # type: ignore[attr-defined]


class Soft:
    """A library object that has GetLastError and SetLastError of its own."""

    def __init__(self, library: Any) -> None:
        self.library = library
        self.set_error = library.SetLastError
        self.error = library.GetLastError


class Client:
    """Runs sequences against one library."""

    def __init__(self, target: Any) -> None:
        self._target = target
        self._functions = {}
        for name, kinds in SIGNATURES.items():
            function = target.library[name]
            function.argtypes = [KINDS[kind] for kind in kinds]
            function.restype = c_int
            self._functions[name] = function

    def run(self, calls: list[Any], prefix: str = PREFIX) -> list[Any]:
        """Run one sequence; leave nothing behind."""
        one = _Sequence(self._functions, self._target, prefix)
        try:
            return [one.call(name, arguments) for name, *arguments in calls]
        finally:
            one.clean_up()


class _Sequence:
    def __init__(self, functions: Any, target: Any, prefix: str) -> None:
        self._functions = functions
        self._target = target
        self._prefix = prefix
        self._handles: dict[str, int] = {}
        self._kept: dict[str, bytes] = {}
        self._chance = _Chance()
        self._containers: set[tuple[str, int, int]] = set()

    def call(self, name: str, arguments: list[Any]) -> list[Any]:
        wide = name.endswith("W")
        native: list[Any] = []
        outputs: list[Any] = []
        for argument, kind in zip(arguments, SIGNATURES[name], strict=True):
            native.append(self._argument(argument, kind, outputs, wide=wide))
        if name.startswith("CryptAcquireContext") and isinstance(arguments[1], list):
            self._containers.add((arguments[1][1], arguments[3], arguments[4] & _MACHINE))
        self._target.set_error(0)
        try:
            returned = self._functions[name](*native)
        except OSError:
            return [CRASHED, 0, [], 0]
        error = 0 if returned else self._target.error() & 0xFFFFFFFF
        randomness = self._chance.after(name, arguments, bool(returned), self._handles)
        done = [self._output(item, outputs, bool(returned), randomness) for item in outputs]
        if randomness == 2:
            return [0, 0, [], 2]
        if error not in (0, _MORE_DATA):
            # What a refused call leaves in its outputs is nobody's business.
            done = []
        return [int(bool(returned)), error, done, randomness]

    def _argument(self, argument: Any, kind: str, outputs: list[Any], *, wide: bool) -> Any:
        if argument is None or isinstance(argument, int):
            return argument
        if isinstance(argument, str):
            if argument[0] == "$":
                return self._handles.get(argument[1:], 0)
            place = c_size_t()
            outputs.append((">", argument[1:], place))
            return ctypes.addressof(place)
        form, *rest = argument
        if form == "s":
            text = rest[0].replace("{}", self._prefix)
            return text if kind == "w" else text.encode()
        if form in ("b", "kept"):
            data = bytes.fromhex(rest[0]) if form == "b" else self._remember(rest[0])
            buffer = ctypes.create_string_buffer(data, max(len(data), 1))
            outputs.append(("alive", None, buffer))
            return ctypes.addressof(buffer)
        if form in ("out", "io", "io*"):
            return self._room(form, rest, outputs)
        if form in ("n", "n*", "nc"):
            number = len(self._remember(rest[0])) if form == "n*" else rest[0]
            unit = ctypes.sizeof(ctypes.c_wchar) if form == "nc" and wide else 1
            length = c_uint32(number * unit)
            outputs.append(("n", unit, length))
            return ctypes.addressof(length)
        if form == "size*":
            return len(self._remember(rest[0]))
        if form == "chars":
            text_type = ctypes.create_unicode_buffer if wide else ctypes.create_string_buffer
            room = text_type(rest[0] + 1)
            outputs.append(("text", None, room))
            return ctypes.addressof(room)
        return self._structure(form, rest, outputs)

    def _room(self, form: str, rest: list[Any], outputs: list[Any]) -> int:
        data = b""
        if form != "out":
            data = bytes.fromhex(rest[0]) if form == "io" else self._remember(rest[0])
            rest = rest[1:]
        room = max(rest[0], len(data))
        content = data + bytes([_FILL]) * (room + 64 - len(data))
        buffer = ctypes.create_string_buffer(content, len(content))
        outputs.append(("bytes", rest[1] if len(rest) > 1 else None, buffer, room))
        return ctypes.addressof(buffer)

    def _remember(self, name: str) -> bytes:
        return self._kept.get(name) or bytes(16)

    def _structure(self, form: str, rest: list[Any], outputs: list[Any]) -> int:
        parts = [bytes.fromhex(part) for part in rest if isinstance(part, str)]
        buffers = [ctypes.create_string_buffer(part, max(len(part), 1)) for part in parts]
        places = [ctypes.addressof(buffer) for buffer in buffers]
        made: ctypes.Structure
        if form == "blob":
            made = _Blob(len(parts[0]), places[0])
        else:
            made = _HmacInfo(rest[0], places[0], len(parts[0]), places[1], len(parts[1]))
            if not parts[0]:
                made.pbInnerString = None
            if not parts[1]:
                made.pbOuterString = None
        outputs.append(("alive", None, (made, buffers)))
        return ctypes.addressof(made)

    def _output(self, item: Any, outputs: list[Any], done: bool, randomness: int) -> Any:
        form, name, place, *rest = item
        if form == ">":
            if done:
                self._handles[name] = place.value
            return bool(place.value) if done else None
        if form == "n":
            return place.value // name
        if form == "text" and done:
            return place.value if isinstance(place.value, str) else place.value.decode()
        if form == "bytes" and done:
            numbers = [other[2].value for other in outputs if other[0] == "n"]
            length = min([rest[0], *numbers[-1:]])
            data = place.raw[:length]
            if any(byte != _FILL for byte in place.raw[rest[0] :]):
                return "beyond the end"
            if name and randomness != 2:
                self._kept[name] = data
                self._chance.keep(name, randomness)
            return length if randomness else data.hex()
        return None

    def clean_up(self) -> None:
        functions = self._functions
        handles = dict(self._handles)
        for name, handle in handles.items():
            if name[0] == "h":
                functions["CryptDestroyHash"](handle)
        for name, handle in handles.items():
            if name[0] == "k":
                functions["CryptDestroyKey"](handle)
        for name, handle in handles.items():
            if name[0] == "p":
                while functions["CryptReleaseContext"](handle, 0):
                    pass
        for text, kind, machine in self._containers:
            name = text.replace("{}", self._prefix).encode()
            with contextlib.suppress(OSError):
                functions["CryptAcquireContextA"](
                    ctypes.addressof(c_size_t()), name, None, kind, _DELETE | machine
                )

    def forget(self, name: str) -> None:
        self._handles.pop(name, None)


class _Chance:
    """Which handles and bytes depend on random numbers.

    A call that takes something random gives something random, in its bytes and in the state of
    every key and hash that it was given.
    """

    def __init__(self) -> None:
        self._random: set[str] = set()
        self._owner: dict[str, str] = {}
        self._spare: set[str] = set()

    def keep(self, name: str, randomness: int) -> None:
        (self._random.add if randomness else self._random.discard)("=" + name)

    def after(self, name: str, arguments: list[Any], done: bool, handles: dict[str, int]) -> int:
        given = [a[1:] for a in arguments if isinstance(a, str) and a[0] == "$"]
        made = [a[1:] for a in arguments if isinstance(a, str) and a[0] == ">"]
        taken = ["=" + a[-1 if a[0] != "io*" else 1] for a in arguments if _takes_kept(a)]
        for one in made:
            self._owner[one] = self._owner.get(given[0], given[0]) if given else one
        source = any(one in self._random for one in given + taken)
        if name == "CryptGenKey" and done and arguments[1] in (1, 2, 0x2400, 0xA400):
            self._random.add(f"pairs of {given[0]}")
        if name == "CryptGetUserKey" and given:
            source = source or f"pairs of {given[0]}" in self._random
        if name.startswith("CryptSignHash") and given:
            source = source or f"pairs of {self._owner.get(given[0])}" in self._random
        if name in ("CryptGenKey", "CryptGenRandom"):
            source = True
        # PKCS #1 encryption puts random bytes into its result, but not into its parties.
        padded = name == "CryptEncrypt" and any(one.startswith("kr") for one in given[:1])
        padded = padded or (name == "CryptExportKey" and arguments[2] in (1, 9))
        if source:
            spoiled = given + made if done else given
            self._random.update(one for one in spoiled if one[0] in "kh")
        if source and name.startswith(("CryptDecrypt", "CryptImportKey", "CryptVerify")):
            return 2
        return int(source or padded)


def _takes_kept(argument: Any) -> bool:
    return isinstance(argument, list) and argument[0] in ("kept", "io*", "n*", "size*")


def main() -> None:
    """Answer each line of standard input; the first line of output says ready."""
    client = Client(Genuine())
    sys.stdout.write(json.dumps("ready") + "\n")
    sys.stdout.flush()
    for line in sys.stdin:
        prefix, calls = json.loads(line)
        sys.stdout.write(json.dumps(client.run(calls, prefix)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
