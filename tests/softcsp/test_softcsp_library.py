"""The ctypes face behaves like a library that was loaded from a file."""

from __future__ import annotations

import ctypes
import subprocess
import threading
from typing import TYPE_CHECKING, Any

import pytest

from csptrace import softcsp
from csptrace.softcsp import constants as c
from csptrace.softcsp.lasterror import internal_errors
from csptrace.softcsp.library import EXPORTS, SoftLibrary

if TYPE_CHECKING:
    from conftest import Client
    from csptrace.softcsp.provider import Provider


def test_functions_are_fresh_c_function_pointers() -> None:
    """Every look-up by name gives a new C function pointer without argtypes, returning int."""
    library = softcsp.advapi32
    first, second = library["CryptGenKey"], library["CryptGenKey"]
    assert isinstance(first, ctypes._CFuncPtr)  # type: ignore[attr-defined]
    assert first is not second
    assert first.argtypes is None
    assert ctypes.c_int is first.restype
    assert first.__name__ == "CryptGenKey"
    assert library.CryptGenKey is library.CryptGenKey


def test_it_is_a_cdll_that_loads_nothing() -> None:
    """The library is a ctypes.CDLL that inherits both ways to look a function up."""
    assert isinstance(softcsp.advapi32, ctypes.CDLL)
    assert softcsp.advapi32._name == "softcsp"
    assert "__getattr__" not in vars(SoftLibrary)
    assert "__getitem__" not in vars(SoftLibrary)
    assert "softcsp" in repr(softcsp.advapi32)


def test_patching_cdll_sees_every_function(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever wraps ctypes.CDLL.__getitem__ sees the functions of softcsp being looked up."""
    seen: list[Any] = []
    original = ctypes.CDLL.__getitem__

    def spy(self: ctypes.CDLL, name: Any) -> Any:
        seen.append(name)
        return original(self, name)

    monkeypatch.setattr(ctypes.CDLL, "__getitem__", spy)
    _ = SoftLibrary().CryptGenRandom
    assert seen == ["CryptGenRandom"]


def test_unknown_functions_are_attribute_errors() -> None:
    """An unknown name and an ordinal raise AttributeError, as in ctypes."""
    for name in ("CryptNothing", 7):
        with pytest.raises(AttributeError):
            softcsp.advapi32[name]  # type: ignore[index]
    assert not hasattr(softcsp.advapi32, "CryptNothing")


def test_handles_are_taken_in_every_form(client: Client) -> None:
    """A handle may be passed as int, c_size_t, c_void_p or c_ulong."""
    context = client.acquire()
    buffer = ctypes.create_string_buffer(8)
    for kind in (int, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_ulong):
        client.CryptGenRandom(kind(context), 8, buffer)
        client.CryptGenRandom(kind(context), 8, ctypes.byref(buffer))


def test_handles_are_received_in_every_form() -> None:
    """A handle may be received in a c_size_t, c_void_p or c_ulong."""
    library = softcsp.advapi32
    for kind in (ctypes.c_size_t, ctypes.c_void_p, ctypes.c_ulong):
        out = kind()
        assert library.CryptAcquireContextA(ctypes.byref(out), None, None, 24, 0xF0000000)
        assert library.CryptReleaseContext(out, 0)


def test_argtypes_restype_and_errcheck_work() -> None:
    """A client may declare argtypes and restype and install an errcheck."""
    release = softcsp.advapi32["CryptReleaseContext"]
    release.argtypes = [ctypes.c_size_t, ctypes.c_uint32]
    release.restype = ctypes.c_bool
    checked: list[Any] = []
    release.errcheck = lambda result, _function, arguments: checked.append((result, arguments))
    release(0, 0)
    assert checked == [(False, (0, 0))]


def test_last_error_is_per_thread_and_kept_by_success(client: Client) -> None:
    """Each thread has its own last error, which a successful call leaves alone."""
    library = client.library
    client.refused("CryptReleaseContext", 0, 0)
    seen: list[int] = []
    thread = threading.Thread(target=lambda: seen.append(library.GetLastError()))
    thread.start()
    thread.join()
    client.acquire()
    assert seen == [0]
    assert library.GetLastError() == c.ERROR_INVALID_PARAMETER
    library.SetLastError(0xDEADBEEF)
    assert library.GetLastError() & 0xFFFFFFFF == 0xDEADBEEF


def test_null_pointers_are_invalid_parameters(client: Client) -> None:
    """A NULL out parameter is ERROR_INVALID_PARAMETER, and creates nothing."""
    context = client.acquire()
    for name, arguments in (
        ("CryptGenKey", (context, c.CALG_AES_128, 0, None)),
        ("CryptCreateHash", (context, c.CALG_SHA, 0, 0, None)),
        ("CryptGetUserKey", (context, 1, None)),
        ("CryptGetProvParam", (context, c.PP_NAME, None, None, 0)),
        ("CryptGenRandom", (context, 4, None)),
        ("CryptGenKey", (context, c.CALG_AES_128, 0, 16)),
    ):
        assert client.refused(name, *arguments) == c.ERROR_INVALID_PARAMETER


def test_a_bug_of_ours_is_a_failure_not_a_crash(
    client: Client, monkeypatch: pytest.MonkeyPatch, fresh_provider: Provider
) -> None:
    """An exception inside the provider fails the call with NTE_FAIL and keeps the traceback."""
    monkeypatch.setattr(fresh_provider, "CryptGenRandom", lambda *_: 1 / 0)
    buffer = ctypes.create_string_buffer(1)
    code = client.refused("CryptGenRandom", client.acquire(), 1, buffer)
    assert code == c.NTE_FAIL
    assert "ZeroDivisionError" in internal_errors.pop()


def test_every_function_of_the_api_is_there() -> None:
    """The library exports all functions of the provider part of wincrypt.h."""
    assert {
        "CryptAcquireContextA", "CryptAcquireContextW", "CryptContextAddRef", "CryptCreateHash",
        "CryptDecrypt", "CryptDeriveKey", "CryptDestroyHash", "CryptDestroyKey",
        "CryptDuplicateHash", "CryptDuplicateKey", "CryptEncrypt", "CryptEnumProviderTypesA",
        "CryptEnumProviderTypesW", "CryptEnumProvidersA", "CryptEnumProvidersW", "CryptExportKey",
        "CryptGenKey", "CryptGenRandom", "CryptGetDefaultProviderA", "CryptGetDefaultProviderW",
        "CryptGetHashParam", "CryptGetKeyParam", "CryptGetProvParam", "CryptGetUserKey",
        "CryptHashData", "CryptHashSessionKey", "CryptImportKey", "CryptReleaseContext",
        "CryptSetHashParam", "CryptSetKeyParam", "CryptSetProvParam", "CryptSetProviderA",
        "CryptSetProviderExA", "CryptSetProviderExW", "CryptSetProviderW", "CryptSignHashA",
        "CryptSignHashW", "CryptVerifySignatureA", "CryptVerifySignatureW", "GetLastError",
        "SetLastError",
    } == EXPORTS  # fmt: skip
    for name in EXPORTS:
        assert softcsp.advapi32[name]


def test_importing_costs_nothing(python: str, child_environment: dict[str, str]) -> None:
    """Importing the package loads neither ctypes nor cryptography."""
    code = (
        "import sys, csptrace.softcsp\n"
        "assert 'cryptography' not in sys.modules\n"
        "assert 'csptrace.softcsp.provider' not in sys.modules\n"
        "assert 'advapi32' in dir(csptrace.softcsp)\n"
    )
    subprocess.run([python, "-c", code], env=child_environment, check=True)


def test_a_bad_environment_is_an_error_at_first_use(
    python: str, child_environment: dict[str, str]
) -> None:
    """A bad SOFTCSP_ERRORS is a ValueError naming the allowed values, at first use."""
    code = "import csptrace.softcsp as s\ntry:\n s.advapi32\nexcept ValueError as e: print(e)\n"
    environment = {**child_environment, "SOFTCSP_ERRORS": "nonsense"}
    done = subprocess.run(
        [python, "-c", code], env=environment, check=True, capture_output=True, text=True
    )
    assert done.stdout == "SOFTCSP_ERRORS='nonsense' is not one of: windows, documented\n"


def test_unknown_attributes_of_the_package() -> None:
    """The package has the names it says and no others."""
    with pytest.raises(AttributeError, match="has no attribute 'advapi64'"):
        softcsp.advapi64  # noqa: B018 - the access is the test
