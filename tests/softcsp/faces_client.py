"""What the two faces look like from outside: one program for softcsp and for the genuine modules.

As a program (under Windows Python) it prints what it found as JSON; imported, `win32crypt_face`
does the same with any module. Nothing but the standard library.
"""

from __future__ import annotations

import ctypes
import json
import struct
import sys
from pathlib import Path
from typing import Any

VERIFYCONTEXT = 0xF0000000
AES_128 = 0x660E
SHA1 = 0x8004
PLAINTEXTKEYBLOB = 8

PLAIN = struct.pack("<BBHII", PLAINTEXTKEYBLOB, 2, 0, AES_128, 16) + bytes(range(16))

# Object → method → (valid arguments by name, how many of them are required).
METHODS: dict[str, dict[str, tuple[dict[str, Any], int]]] = {
    "prov": {
        "CryptGenKey": ({"Algid": AES_128, "Flags": 1, "KeyLen": 128}, 2),
        "CryptGetProvParam": ({"Param": 4, "Flags": 0}, 1),
        "CryptGetUserKey": ({"KeySpec": 2}, 1),
        "CryptGenRandom": ({"Len": 8, "SeedData": b"seed"}, 1),
        "CryptCreateHash": ({"Algid": SHA1, "Key": None, "Flags": 0}, 1),
        "CryptImportKey": ({"Data": PLAIN, "PubKey": None, "Flags": 1}, 1),
        "CryptExportPublicKeyInfo": ({"KeySpec": 2, "CertEncodingType": 0x10001}, 1),
        "CryptImportPublicKeyInfo": ({"Info": {}, "CertEncodingType": 0x10001}, 1),
        "CryptReleaseContext": ({"Flags": 0}, 0),
    },
    "key": {
        "CryptExportKey": ({"ExpKey": None, "BlobType": PLAINTEXTKEYBLOB, "Flags": 0}, 2),
        "CryptGetKeyParam": ({"Param": 7, "Flags": 0}, 1),
        "CryptDuplicateKey": ({"Reserved": 0, "Flags": 0}, 0),
        "CryptEncrypt": ({"Final": 1, "Data": b"text", "Hash": None, "Flags": 0}, 2),
        "CryptDecrypt": ({"Final": 0, "Data": bytes(16), "Hash": None, "Flags": 0}, 2),
        "CryptDestroyKey": ({}, 0),
    },
    "hash": {
        "CryptHashData": ({"Data": b"abc", "Flags": 0}, 1),
        "CryptHashSessionKey": ({"Key": "<key>", "Flags": 0}, 1),
        "CryptDuplicateHash": ({"Flags": 0}, 0),
        "CryptSignHash": ({"KeySpec": 2, "Flags": 0}, 1),
        "CryptVerifySignature": ({"Signature": b"x" * 64, "PubKey": "<key>", "Flags": 8}, 2),
        "CryptGetHashParam": ({"Param": 2, "Flags": 0}, 1),
        "CryptDestroyHash": ({}, 0),
    },
    "module": {
        "CryptAcquireContext": (
            {"Container": None, "Provider": None, "ProvType": 24, "Flags": VERIFYCONTEXT},
            4,
        ),
        "CryptEnumProviders": ({}, 0),
        "CryptEnumProviderTypes": ({}, 0),
        "CryptGetDefaultProvider": ({"ProvType": 24, "Flags": 1}, 2),
        "CryptSetProviderEx": ({"ProvName": "Nobody's", "ProvType": 24, "Flags": 2}, 3),
    },
}


class Face:
    """Calls every method of a module in many ways and notes how it answers."""

    def __init__(self, module: Any, error: type[Exception]) -> None:
        self.module = module
        self.error = error
        self._all: list[Any] = []
        self._objects()

    def _objects(self) -> None:
        """Make a context, a key and a hash to call methods of."""
        prov = self.module.CryptAcquireContext(None, None, 24, VERIFYCONTEXT)
        key = prov.CryptImportKey(PLAIN, None, 1)
        self.objects = {
            "prov": prov,
            "key": key,
            "hash": prov.CryptCreateHash(SHA1),
            "module": self.module,
        }
        # An object of pywin32 whose handle was released explicitly releases it again when it is
        # collected, and by then it is somebody else's: none may be collected.
        self._all.append(self.objects)

    def look(self) -> dict[str, Any]:
        """Note names and answers."""
        found: dict[str, Any] = {"answers": {}, "names": {}, "types": {}}
        for kind, methods in METHODS.items():
            item = self.objects[kind]
            names = {name for name in dir(item) if not name.startswith("_")}
            found["names"][kind] = sorted(names if kind != "module" else names & methods.keys())
            if kind != "module":
                found["types"][kind] = [type(item).__module__, type(item).__name__]
            for method, (arguments, required) in methods.items():
                for way, (positional, named) in _ways(arguments, required).items():
                    answer = self._answer(kind, method, positional, named)
                    found["answers"][f"{kind}.{method} {way}"] = answer
        return found

    def _answer(
        self, kind: str, method: str, positional: list[Any], named: dict[str, Any]
    ) -> list[Any]:
        self._objects()  # some calls destroy or finish them
        live = [self.objects["key"] if value == "<key>" else value for value in positional]
        live_named = {
            name: self.objects["key"] if value == "<key>" else value
            for name, value in named.items()
        }
        try:
            result = getattr(self.objects[kind], method)(*live, **live_named)
        except self.error as problem:
            return ["error", problem.args[0] & 0xFFFFFFFF, problem.args[1]]
        except Exception as problem:  # noqa: BLE001 - its kind is the answer
            return [type(problem).__name__]
        if isinstance(result, (bytes, int, str)) and method != "CryptGenRandom":
            return ["returned", type(result).__name__, repr(result)]
        return ["returned", type(result).__name__]


def _ways(arguments: dict[str, Any], required: int) -> dict[str, tuple[list[Any], dict[str, Any]]]:
    """List ways to call a method: right ones and wrong ones."""
    names = list(arguments)
    values = list(arguments.values())
    ways: dict[str, tuple[list[Any], dict[str, Any]]] = {
        "by position": (values, {}),
        "shortest": (values[:required], {}),
        "too many": ([*values, 0], {}),
        "unknown keyword": (values[:required], {"Nothing": 1}),
    }
    if names:
        ways["by name"] = ([], arguments)
        ways["first twice"] = (values[:1], {names[0]: values[0]})
    if required:
        ways["too few"] = (values[: required - 1], {})
    for place, name in enumerate(names):
        for wrong in (1.5, object, "text", None, b"sixteen bytes...", 3):
            if wrong == arguments[name] or (wrong is None and arguments[name] is None):
                continue
            label = getattr(wrong, "__name__", None) or repr(wrong)
            changed = [*values[:place], wrong, *values[place + 1 :]]
            ways[f"{name}={label}"] = (changed, {})
    return ways


def exports(path: Path) -> list[str]:
    """Read the names that a 64-bit Windows library exports."""
    data = path.read_bytes()

    def number(place: int, form: str = "<I") -> int:
        return int(struct.unpack_from(form, data, place)[0])

    header = number(0x3C)
    sections = header + 24 + number(header + 20, "<H")

    def place(address: int) -> int:
        for index in range(number(header + 6, "<H")):
            section = sections + 40 * index
            start, size = number(section + 12), number(section + 16)
            if start <= address < start + max(size, number(section + 8)):
                return address - start + number(section + 20)
        raise ValueError(address)

    directory = place(number(header + 24 + 112))
    names = place(number(directory + 32))
    found = []
    for index in range(number(directory + 24)):
        start = place(number(names + 4 * index))
        found.append(data[start : data.index(b"\0", start)].decode("ascii"))
    return found


def main() -> None:
    """Print what the genuine modules look like."""
    import pywintypes
    import win32crypt

    library = ctypes.WinDLL("advapi32")  # type: ignore[attr-defined]
    path = ctypes.create_unicode_buffer(260)
    kernel = ctypes.WinDLL("kernel32")  # type: ignore[attr-defined]
    kernel.GetModuleFileNameW(ctypes.c_void_p(library._handle), path, 260)
    found = Face(win32crypt, pywintypes.error).look()
    found["exports"] = [name for name in exports(Path(path.value)) if name.startswith("Crypt")]
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
