"""The pywin32 face: names, types, errors and lifetimes of pywin32's win32crypt."""

from __future__ import annotations

import copy
import gc
import importlib
import inspect
import pickle
import subprocess
import sys
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from csptrace.softcsp import constants as c
from csptrace.softcsp import installing, pywintypes, win32crypt

if TYPE_CHECKING:
    from csptrace.softcsp.provider import Provider

DATA = bytes(range(50))
RSA_1024 = 1024


def _prov(flags: int = c.CRYPT_VERIFYCONTEXT, name: str | None = None) -> Any:
    return win32crypt.CryptAcquireContext(name, None, c.PROV_RSA_AES, flags)


def _error(call: Any, *arguments: Any) -> tuple[int, str]:
    with pytest.raises(pywintypes.error) as caught:
        call(*arguments)
    return caught.value.winerror & 0xFFFFFFFF, caught.value.funcname


@pytest.mark.parametrize("kind", ["PyCRYPTPROV", "PyCRYPTKEY", "PyCRYPTHASH"])
def test_types_behave_like_static_c_types(kind: str) -> None:
    """No instances, attributes, weak references, copies, pickles or patches, as in pywin32."""
    prov = _prov()
    key = prov.CryptGenKey(c.CALG_AES_128, 0)
    item = {"PyCRYPTPROV": prov, "PyCRYPTKEY": key, "PyCRYPTHASH": prov.CryptCreateHash(c.CALG_SHA)}
    one = item[kind]
    type_ = type(one)
    assert ("builtins", kind) == (type_.__module__, type_.__name__)
    assert not hasattr(one, "__dict__")
    assert one == one  # noqa: PLR0124 - identity is the point
    assert one != prov or one is prov
    assert {one: 1}[one]
    for attempt in (
        type_,
        lambda: weakref.ref(one),
        lambda: copy.copy(one),
        lambda: pickle.dumps(one),
        lambda: setattr(type_, "CryptGenKey", None),
        lambda: delattr(type_, "__init__"),
    ):
        with pytest.raises(TypeError):
            attempt()
    with pytest.raises(AttributeError):
        one.anything = 1
    assert not hasattr(win32crypt, kind)


def test_keyword_names_are_those_of_pywin32() -> None:
    """Methods and functions have exactly the parameters that pywin32's have."""
    prov = _prov()
    key = prov.CryptGenKey(c.CALG_AES_128, 0)
    made = prov.CryptCreateHash(c.CALG_SHA)
    expected = {
        prov: {
            "CryptReleaseContext": "Flags",
            "CryptGenKey": "Algid Flags KeyLen",
            "CryptGetProvParam": "Param Flags",
            "CryptGetUserKey": "KeySpec",
            "CryptGenRandom": "Len SeedData",
            "CryptCreateHash": "Algid Key Flags",
            "CryptImportKey": "Data PubKey Flags",
            "CryptExportPublicKeyInfo": "KeySpec CertEncodingType",
            "CryptImportPublicKeyInfo": "Info CertEncodingType",
        },
        key: {
            "CryptDestroyKey": "",
            "CryptExportKey": "ExpKey BlobType Flags",
            "CryptGetKeyParam": "Param Flags",
            "CryptDuplicateKey": "Reserved Flags",
            "CryptEncrypt": "Final Data Hash Flags",
            "CryptDecrypt": "Final Data Hash Flags",
        },
        made: {
            "CryptDestroyHash": "",
            "CryptDuplicateHash": "Flags",
            "CryptHashData": "Data Flags",
            "CryptHashSessionKey": "Key Flags",
            "CryptSignHash": "KeySpec Flags",
            "CryptVerifySignature": "Signature PubKey Flags",
            "CryptGetHashParam": "Param Flags",
        },
    }
    for item, methods in expected.items():
        public = {name for name in dir(item) if not name.startswith("_")}
        assert methods.keys() == public - {"HCRYPTPROV", "HCRYPTKEY"}
        for name, parameters in methods.items():
            assert parameters.split() == list(inspect.signature(getattr(item, name)).parameters)
    acquire = inspect.signature(win32crypt.CryptAcquireContext)
    assert list(acquire.parameters) == ["Container", "Provider", "ProvType", "Flags"]


def test_errors_are_those_of_pywin32() -> None:
    """A refusal is error(winerror, funcname, strerror) with a signed code and no OSError."""
    prov = _prov()
    with pytest.raises(pywintypes.error) as caught:
        prov.CryptGetUserKey(c.AT_SIGNATURE)
    problem = caught.value
    text = "Key does not exist."
    assert (-2146893811, "PyCRYPTPROV::CryptGetUserKey", text) == problem.args
    assert problem.args == (problem.winerror, problem.funcname, problem.strerror)
    assert not isinstance(problem, OSError)
    assert (type(problem).__module__, type(problem).__name__) == ("pywintypes", "error")
    prov.CryptReleaseContext()
    assert _error(prov.CryptReleaseContext) == (87, "CryptReleaseContext")
    assert _error(prov.CryptGenRandom, 1) == (87, "PyCRYPTPROV::CryptGenRandom")
    missing = _error(win32crypt.CryptAcquireContext, "none", None, 24, 0)
    assert missing == (c.NTE_BAD_KEYSET, "CryptAcquireContext")


def test_arguments_are_taken_by_exact_type() -> None:
    """A proxy around a key or hash is refused, even if isinstance is satisfied."""

    class Proxy:
        def __init__(self, item: Any) -> None:
            self.item = item

        @property
        def __class__(self) -> Any:
            return type(self.item)

    prov = _prov()
    key = prov.CryptGenKey(c.CALG_AES_128, 1)
    made = prov.CryptCreateHash(c.CALG_SHA)
    assert isinstance(Proxy(key), type(key))
    for call in (
        lambda: prov.CryptCreateHash(c.CALG_MAC, Proxy(key)),
        lambda: made.CryptHashSessionKey(Proxy(key)),
        lambda: made.CryptHashSessionKey(None),
        lambda: prov.CryptImportKey(b"", Proxy(key)),
        lambda: key.CryptExportKey(Proxy(key), c.SIMPLEBLOB),
        lambda: made.CryptVerifySignature(b"", Proxy(key)),
    ):
        with pytest.raises(TypeError, match="Object must be of type PyCRYPTKEY"):
            call()
    with pytest.raises(TypeError, match="Object must be of type PyCRYPTHASH"):
        key.CryptEncrypt(1, DATA, Proxy(made))


def test_encryption_and_hashing() -> None:
    """Keys encrypt, decrypt, export, import and duplicate; hashes hash."""
    prov = _prov()
    key = prov.CryptGenKey(Algid=c.CALG_AES_256, Flags=c.CRYPT_EXPORTABLE, KeyLen=256)
    made = prov.CryptCreateHash(Algid=c.CALG_SHA_256)
    hidden = key.CryptEncrypt(True, DATA, made)
    assert key.CryptDecrypt(Final=1, Data=memoryview(hidden)) == DATA
    twin = prov.CryptImportKey(key.CryptExportKey(None, c.PLAINTEXTKEYBLOB))
    assert (
        hidden
        == twin.CryptEncrypt(1, bytearray(DATA))
        == key.CryptDuplicateKey().CryptEncrypt(1, DATA)
    )
    again = prov.CryptCreateHash(c.CALG_SHA_256)
    again.CryptHashData(DATA)
    again.CryptHashData(b"ignored", c.CRYPT_USERDATA)
    assert made.CryptDuplicateHash().CryptGetHashParam(2) == again.CryptGetHashParam(2)
    assert again.CryptGetHashParam(c.HP_HASHSIZE) == 32
    assert again.CryptGetHashParam(c.HP_ALGID) == c.CALG_SHA_256
    assert key.CryptGetKeyParam(c.KP_KEYLEN) == 256
    assert bytes(16) == key.CryptGetKeyParam(c.KP_IV)
    assert len(prov.CryptGenRandom(10, b"seed")) == 10
    with pytest.raises(TypeError):
        made.CryptHashData("text")


def test_signing_and_public_key_info() -> None:
    """A signature verifies with a public key taken through a blob and through its info."""
    prov = _prov()
    pair = prov.CryptGenKey(c.AT_SIGNATURE, 0, RSA_1024)
    made = prov.CryptCreateHash(c.CALG_SHA)
    made.CryptHashData(DATA)
    signature = made.CryptSignHash(c.AT_SIGNATURE)
    info = prov.CryptExportPublicKeyInfo(c.AT_SIGNATURE)
    assert info["Algorithm"]["ObjId"] == "1.2.840.113549.1.1.1"
    for public in (
        prov.CryptImportKey(pair.CryptExportKey(None, c.PUBLICKEYBLOB)),
        prov.CryptImportPublicKeyInfo(info),
    ):
        assert made.CryptVerifySignature(signature, public) is None
    refused = _error(made.CryptVerifySignature, signature[::-1], pair)
    assert refused == (c.NTE_BAD_SIGNATURE, "PyCRYPTHASH::CryptVerifySignature")
    bad = {"Algorithm": {"ObjId": "1.2.3", "Parameters": b""}, "PublicKey": info["PublicKey"]}
    assert _error(prov.CryptImportPublicKeyInfo, bad)[0] == c.ERROR_FILE_NOT_FOUND


def test_parameters_of_a_provider() -> None:
    """CryptGetProvParam gives names as bytes, numbers cut to a byte, enumerations as lists."""
    prov = _prov()
    assert c.MS_ENH_RSA_AES_PROV.encode() == prov.CryptGetProvParam(c.PP_NAME)
    assert prov.CryptGetProvParam(c.PP_PROVTYPE) == 24
    algorithms = prov.CryptGetProvParam(c.PP_ENUMALGS)
    assert algorithms[0] == {"Algid": c.CALG_RC2, "BitLen": 128, "Name": "RC2"}
    longer = prov.CryptGetProvParam(c.PP_ENUMALGS_EX)
    assert len(algorithms) == len(longer)
    assert longer[0]["LongName"] == "RSA Data Security's RC2"
    assert prov.CryptGetProvParam(c.PP_ENUMCONTAINERS) == []
    _prov(c.CRYPT_NEWKEYSET, "box")
    assert prov.CryptGetProvParam(c.PP_ENUMCONTAINERS) == ["box"]
    assert prov.CryptGetProvParam(c.PP_USE_HARDWARE_RNG) is False
    with pytest.raises(NotImplementedError):
        prov.CryptGetProvParam(c.PP_VERSION)


def test_functions_of_the_module() -> None:
    """Providers and types are listed, defaults told, and deleting gives None."""
    assert (c.MS_STRONG_PROV, 1) in win32crypt.CryptEnumProviders()
    assert ("RSA Full and AES", 24) in win32crypt.CryptEnumProviderTypes()
    assert win32crypt.CryptGetDefaultProvider(1, c.CRYPT_MACHINE_DEFAULT) == c.MS_STRONG_PROV
    win32crypt.CryptSetProviderEx(c.MS_DEF_PROV, 1, c.CRYPT_USER_DEFAULT)
    assert win32crypt.CryptGetDefaultProvider(1, c.CRYPT_USER_DEFAULT) == c.MS_DEF_PROV
    _prov(c.CRYPT_NEWKEYSET, "box")
    assert _prov(c.CRYPT_DELETEKEYSET, "box") is None
    with pytest.raises(TypeError):
        win32crypt.CryptAcquireContext(b"bytes", None, 24, 0)


def _live(provider: Provider) -> int:
    gc.collect()
    return len(provider.table.live)


def test_collected_objects_release_their_handles(fresh_provider: Provider) -> None:
    """What goes out of scope is released and destroyed."""
    prov = _prov()
    key = prov.CryptGenKey(c.CALG_AES_128, 0)
    made = prov.CryptCreateHash(c.CALG_SHA)
    assert _live(fresh_provider) == 3
    del key
    assert _live(fresh_provider) == 2
    del made
    del prov
    assert _live(fresh_provider) == 0


def test_a_key_keeps_its_context_and_a_hash_does_not(fresh_provider: Provider) -> None:
    """A key holds its PyCRYPTPROV; a hash whose PyCRYPTPROV is collected is dead."""
    prov = _prov()
    key = prov.CryptGenKey(c.CALG_AES_128, 0)
    assert key.HCRYPTPROV is prov
    assert fresh_provider.table.live[key.HCRYPTKEY]
    with pytest.raises(AttributeError):
        key.HCRYPTKEY = 1
    del prov
    key.CryptEncrypt(1, DATA)
    prov = _prov()
    made = prov.CryptCreateHash(c.CALG_SHA)
    del prov
    assert _error(made.CryptHashData, b"x")[0] == 87


def test_a_collected_key_releases_its_context_first(fresh_provider: Provider) -> None:
    """With the last reference to the context the key's own destruction comes too late."""
    order: list[str] = []
    for name in ("CryptReleaseContext", "CryptDestroyKey"):
        original = getattr(fresh_provider, name)

        def spy(*arguments: Any, name: str = name, original: Any = original) -> Any:
            order.append(name)
            return original(*arguments)

        setattr(fresh_provider, name, spy)
    key = _prov().CryptGenKey(c.CALG_AES_128, 0)
    del key
    gc.collect()
    assert order == ["CryptReleaseContext", "CryptDestroyKey"]


def test_an_explicit_release_is_repeated_at_collection() -> None:
    """An object released by hand releases its successor's handle when it is collected."""
    prov = _prov()
    prov.CryptReleaseContext()
    successor = _prov()
    del prov
    gc.collect()
    assert _error(successor.CryptGenRandom, 1)[0] == 87
    prov = _prov()
    key = prov.CryptGenKey(c.CALG_AES_128, 0)
    key.CryptDestroyKey()
    successor = prov.CryptGenKey(c.CALG_AES_128, 0)
    del key
    gc.collect()
    assert _error(successor.CryptEncrypt, 1, DATA)[0] == 87


def _kept(method: Any, *arguments: Any) -> Exception:
    try:
        method(*arguments)
    except (pywintypes.error, TypeError) as problem:
        del method, arguments
        return problem
    pytest.fail("the call succeeded")


def test_a_kept_error_keeps_no_object(fresh_provider: Provider) -> None:
    """An error that a program keeps does not keep the objects of the failed call alive."""
    prov = _prov()
    made = prov.CryptCreateHash(c.CALG_SHA)
    key = prov.CryptGenKey(c.CALG_AES_128, 0)
    kept = [
        _kept(prov.CryptGetUserKey, 1),
        _kept(key.CryptExportKey, key, 99),
        _kept(made.CryptHashSessionKey, prov),
    ]
    assert len(kept) == 3
    assert len(fresh_provider.table.live) == 3
    del key, made
    del prov
    assert len(fresh_provider.table.live) == 0


def test_nothing_is_printed_at_interpreter_exit(
    python: str, child_environment: dict[str, str]
) -> None:
    """Objects that live until the interpreter ends are collected silently."""
    code = (
        "from csptrace.softcsp import win32crypt as w\n"
        "p = w.CryptAcquireContext(None, None, 24, 0xF0000000)\n"
        "k = p.CryptGenKey(0x660E, 0); h = p.CryptCreateHash(0x8004); c = [p, k, h]; c.append(c)\n"
    )
    done = subprocess.run(
        [python, "-c", code], env=child_environment, check=True, capture_output=True
    )
    assert (done.stdout, done.stderr) == (b"", b"")


@pytest.fixture
def no_pywin32(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Undo whatever a test installs; skip where pywin32 really is."""
    if sys.platform == "win32":
        pytest.skip("pywin32 may be there")
    yield
    installing.uninstall()


@pytest.mark.usefixtures("no_pywin32")
def test_install_makes_the_modules_importable() -> None:
    """After install() the pywin32 names are our modules; after uninstall() they are gone."""
    installing.install()
    installing.install()
    assert importlib.import_module("win32crypt") is win32crypt
    assert importlib.import_module("pywintypes") is pywintypes
    assert importlib.import_module("win32cryptcon").CALG_AES_256 == 0x6610
    assert win32crypt.__name__ == "win32crypt"
    assert win32crypt.__spec__.name == "csptrace.softcsp.win32crypt"  # type: ignore[union-attr]
    installing.uninstall()
    installing.uninstall()
    assert "win32crypt" not in sys.modules
    assert win32crypt.__name__ == "csptrace.softcsp.win32crypt"
    with pytest.raises(ImportError):
        importlib.import_module("win32crypt")


@pytest.mark.usefixtures("no_pywin32")
def test_install_refuses_to_shadow(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a win32crypt exists already install() is an ImportError and changes nothing."""
    (tmp_path / "win32crypt.py").write_text("real = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = list(sys.meta_path)
    with pytest.raises(ImportError, match="refusing to shadow"):
        installing.install()
    assert before == sys.meta_path


@pytest.mark.usefixtures("no_pywin32")
def test_import_hooks_see_the_installed_module() -> None:
    """A post-import hook for win32crypt fires when the installed module is imported."""
    wrapt = pytest.importorskip("wrapt")
    seen: list[Any] = []
    installing.install()
    wrapt.register_post_import_hook(seen.append, "win32crypt")
    assert [importlib.import_module("win32crypt")] == seen
