"""Fixtures of the software CSP's tests: a provider of one's own and a plain ctypes client."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from csptrace.softcsp import faults, provider
from csptrace.softcsp.errors import Profile
from csptrace.softcsp.lasterror import internal_errors, last_error
from csptrace.softcsp.library import advapi32

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CRYPT_VERIFYCONTEXT = 0xF0000000
PROV_RSA_FULL = 1
PROV_RSA_AES = 24
MS_ENHANCED_PROV = b"Microsoft Enhanced Cryptographic Provider v1.0"


class Refused(Exception):
    """A call that returned FALSE; `code` is its last error."""

    def __init__(self, code: int) -> None:
        super().__init__(hex(code))
        self.code = code


class Client:
    """What a ctypes program does with advapi32: out parameters, size queries, last error."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self.library = library

    def __getattr__(self, name: str) -> Callable[..., None]:
        """Give a function of the library that raises `Refused` where it returns FALSE."""
        function = self.library[name]

        def call(*arguments: Any) -> None:
            if not function(*arguments):
                raise Refused(self.library.GetLastError() & 0xFFFFFFFF)

        return call

    def refused(self, name: str, *arguments: Any) -> int:
        """Call a function that must fail; return its last error."""
        with pytest.raises(Refused) as caught:
            getattr(self, name)(*arguments)
        return caught.value.code

    def handle(self, name: str, *arguments: Any) -> int:
        """Call a function whose last parameter receives a handle."""
        out = ctypes.c_size_t()
        getattr(self, name)(*arguments, ctypes.byref(out))
        return out.value

    def acquire(
        self,
        container: bytes | None = None,
        name: bytes | None = None,
        kind: int = PROV_RSA_AES,
        flags: int = CRYPT_VERIFYCONTEXT,
    ) -> int:
        """Acquire a context."""
        out = ctypes.c_size_t()
        self.CryptAcquireContextA(ctypes.byref(out), container, name, kind, flags)
        return out.value

    def enhanced(self) -> int:
        """Acquire the context that the published conformance answers were made with."""
        return self.acquire(name=MS_ENHANCED_PROV, kind=PROV_RSA_FULL)

    def data(self, name: str, *arguments: Any, flags: tuple[int, ...] = ()) -> bytes:
        """Call a function that ends in (pbData, pdwDataLen, *flags), asking for the size first."""
        size = ctypes.c_uint32()
        getattr(self, name)(*arguments, None, ctypes.byref(size), *flags)
        buffer = ctypes.create_string_buffer(size.value)
        getattr(self, name)(*arguments, buffer, ctypes.byref(size), *flags)
        return buffer.raw[: size.value]

    def encrypt(
        self, key: int, data: bytes, *, final: bool = True, flags: int = 0, hashed: int = 0
    ) -> bytes:
        """Encrypt in place, as the API wants it."""
        size = ctypes.c_uint32(len(data))
        self.CryptEncrypt(key, hashed, final, flags, None, ctypes.byref(size), 0)
        buffer = ctypes.create_string_buffer(data, max(size.value, len(data), 1))
        used = ctypes.c_uint32(len(data))
        self.CryptEncrypt(key, hashed, final, flags, buffer, ctypes.byref(used), len(buffer))
        return buffer.raw[: used.value]

    def decrypt(
        self, key: int, data: bytes, *, final: bool = True, flags: int = 0, hashed: int = 0
    ) -> bytes:
        """Decrypt in place, as the API wants it."""
        buffer = ctypes.create_string_buffer(data, max(len(data), 1))
        used = ctypes.c_uint32(len(data))
        self.CryptDecrypt(key, hashed, final, flags, buffer, ctypes.byref(used))
        return buffer.raw[: used.value]

    def hashed(self, context: int, algid: int, data: bytes, key: int = 0) -> int:
        """Make a hash of *data*."""
        made = self.handle("CryptCreateHash", context, algid, key, 0)
        self.CryptHashData(made, data, len(data), 0)
        return made

    def value(self, made: int) -> bytes:
        """Read HP_HASHVAL."""
        return self.data("CryptGetHashParam", made, 2, flags=(0,))

    def derived(self, context: int, algid: int, bits: int = 0) -> int:
        """Derive the key of the published answers: from MD2 of 2000 bytes 0, 1, 2 and so on."""
        base = self.hashed(context, 0x8001, bytes(i & 0xFF for i in range(2000)))
        key = self.handle("CryptDeriveKey", context, algid, base, bits << 16 | 1)
        self.CryptDestroyHash(base)
        return key

    def set_key(self, key: int, parameter: int, number: int) -> None:
        """Set a key parameter that is a DWORD."""
        self.CryptSetKeyParam(key, parameter, ctypes.byref(ctypes.c_uint32(number)), 0)

    def plaintext_key(self, context: int, algid: int, material: bytes, flags: int = 1) -> int:
        """Import a session key from its bytes."""
        header = bytes((8, 2, 0, 0)) + algid.to_bytes(4, "little")
        blob = header + len(material).to_bytes(4, "little") + material
        return self.handle("CryptImportKey", context, blob, len(blob), 0, flags)


@pytest.fixture(autouse=True)
def fresh_provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[provider.Provider]:
    """Give each test a provider and containers of its own; fail it on internal errors."""
    monkeypatch.setenv("SOFTCSP_HOME", str(tmp_path / "softcsp"))
    for variable in ("SOFTCSP_ERRORS", "SOFTCSP_NEVER_REUSE", "SOFTCSP_FAULTS"):
        monkeypatch.delenv(variable, raising=False)
    # Objects of earlier tests release their handles when they are collected: not into this one.
    gc.collect()
    made = provider.Provider()
    monkeypatch.setattr(provider, "_engine", made)
    last_error.code = 0
    internal_errors.clear()
    yield made
    faults.disarm()
    assert internal_errors == []


@pytest.fixture
def documented(monkeypatch: pytest.MonkeyPatch) -> provider.Provider:
    """Switch the test to the documented error profile."""
    made = provider.Provider(Profile.DOCUMENTED)
    monkeypatch.setattr(provider, "_engine", made)
    return made


@pytest.fixture
def client() -> Client:
    """Give a ctypes client of softcsp."""
    return Client(advapi32)


@pytest.fixture
def child_environment() -> dict[str, str]:
    """Give the environment for a child process that shares this test's containers."""
    root = str(Path(__file__).parents[2])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


@pytest.fixture
def python() -> str:
    """Give the interpreter for child processes."""
    return sys.executable
