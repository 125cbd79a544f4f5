"""What the provider refuses, function by function, and the corners of parameters."""

from __future__ import annotations

import ctypes
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from csptrace.softcsp import constants as c
from csptrace.softcsp import pyhandles, uselocks

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Client

DATA = bytes(range(64))


def test_unknown_flags_are_refused_everywhere(client: Client) -> None:
    """Every function with reserved flags answers NTE_BAD_FLAGS to a bit it does not know."""
    context = client.acquire()
    key = client.plaintext_key(context, c.CALG_AES_128, DATA[:16])
    made = client.hashed(context, c.CALG_SHA, b"x")
    size = ctypes.byref(ctypes.c_uint32(64))
    buffer = ctypes.create_string_buffer(64)
    out = ctypes.byref(ctypes.c_size_t())
    bit = 0x800
    blob = bytes.fromhex("0602000000a40000") + DATA
    for name, arguments in (
        ("CryptGetProvParam", (context, c.PP_NAME, None, size, bit)),
        ("CryptSetProvParam", (context, c.PP_CLIENT_HWND, buffer, bit)),
        ("CryptGetKeyParam", (key, c.KP_MODE, None, size, bit)),
        ("CryptGetHashParam", (made, c.HP_HASHVAL, None, size, bit)),
        ("CryptSetHashParam", (made, c.HP_HASHVAL, buffer, bit)),
        ("CryptCreateHash", (context, c.CALG_SHA, 0, bit, out)),
        ("CryptHashSessionKey", (made, key, bit)),
        ("CryptEncrypt", (key, 0, 1, bit, None, size, 0)),
        ("CryptDecrypt", (key, 0, 1, bit, buffer, size)),
        ("CryptExportKey", (key, 0, c.PLAINTEXTKEYBLOB, bit, None, size)),
        ("CryptExportKey", (key, 0, c.PLAINTEXTKEYBLOB, c.CRYPT_DESTROYKEY, None, size)),
        ("CryptImportKey", (context, blob, len(blob), 0, c.CRYPT_IPSEC_HMAC_KEY, out)),
        ("CryptSignHashA", (made, c.AT_SIGNATURE, None, bit, None, size)),
        ("CryptVerifySignatureA", (made, buffer, 64, key, None, bit)),
        ("CryptEnumProvidersA", (0, None, bit, None, None, size)),
        ("CryptGetDefaultProviderW", (1, None, bit, None, size)),
        ("CryptSetProviderExW", (c.MS_DEF_PROV, 1, None, c.CRYPT_DELETE_DEFAULT)),
    ):
        assert client.refused(name, *arguments) == c.NTE_BAD_FLAGS, name


def test_other_refusals(client: Client) -> None:
    """Wrong kinds of keys, parameters, types and pointers have their own codes."""
    context = client.acquire()
    key = client.plaintext_key(context, c.CALG_AES_128, DATA[:16])
    made = client.hashed(context, c.CALG_SHA, b"x")
    pair = client.handle("CryptGenKey", context, c.AT_SIGNATURE, 512 << 16)
    size = ctypes.byref(ctypes.c_uint32(64))
    buffer = ctypes.create_string_buffer(64)
    out = ctypes.byref(ctypes.c_size_t())
    spare = ctypes.byref(ctypes.c_uint32())
    for code, name, *arguments in (
        (c.NTE_BAD_TYPE, "CryptSetProvParam", context, 0xBAD, buffer, 0),
        (c.NTE_BAD_TYPE, "CryptGetKeyParam", pair, c.KP_IV, None, size, 0),
        (c.NTE_BAD_TYPE, "CryptSetKeyParam", pair, c.KP_IV, buffer, 0),
        (c.NTE_BAD_TYPE, "CryptSetKeyParam", key, c.KP_EFFECTIVE_KEYLEN, buffer, 0),
        (c.NTE_BAD_KEY, "CryptSetKeyParam", key, c.KP_SALT, buffer, 0),
        (c.NTE_BAD_KEY, "CryptGetKeyParam", key, c.KP_SALT, None, size, 0),
        (c.NTE_BAD_KEY, "CryptHashSessionKey", made, pair, 0),
        (c.NTE_BAD_KEY, "CryptVerifySignatureA", made, buffer, 16, key, None, 0),
        (c.NTE_BAD_KEY, "CryptExportKey", pair, 0, c.PLAINTEXTKEYBLOB, 0, None, size),
        (c.NTE_BAD_KEY, "CryptExportKey", key, 0, c.PRIVATEKEYBLOB, 0, None, size),
        (c.NTE_BAD_KEY, "CryptCreateHash", context, c.CALG_HMAC, pair, 0, out),
        (c.NTE_BAD_HASH, "CryptSetHashParam", made, c.HP_HMAC_INFO, bytes(40), 0),
        (c.NTE_BAD_ALGID, "CryptCreateHash", context, c.CALG_RC4, 0, 0, out),
        (c.NTE_BAD_ALGID, "CryptCreateHash", context, 0x80FF, 0, 0, out),
        (c.NTE_BAD_PROV_TYPE, "CryptGetDefaultProviderA", 1000, None, 0, None, size),
        (c.NTE_PROV_TYPE_NOT_DEF, "CryptGetDefaultProviderA", 99, None, 0, None, size),
        (c.NTE_BAD_PROV_TYPE, "CryptSetProviderA", c.MS_DEF_PROV.encode(), 1000),
        (c.NTE_BAD_PROVIDER, "CryptSetProviderW", c.MS_DEF_PROV, 99),
        (c.ERROR_INVALID_PARAMETER, "CryptSetProviderA", None, 1),
        (c.ERROR_INVALID_PARAMETER, "CryptEnumProvidersW", 0, spare, 0, None, None, size),
        (c.ERROR_INVALID_PARAMETER, "CryptDecrypt", key, 0, 1, 0, None, size),
    ):
        assert client.refused(name, *arguments) == code, (name, arguments)


def test_an_hmac_needs_a_hash_that_the_provider_has(client: Client) -> None:
    """HP_HMAC_INFO with a cipher, or a hash of another provider, is NTE_BAD_ALGID."""
    context = client.enhanced()
    key = client.plaintext_key(context, c.CALG_RC2, DATA[:16])
    made = client.handle("CryptCreateHash", context, c.CALG_HMAC, key, 0)
    for algid in (c.CALG_RC4, c.CALG_SHA_256):
        info = algid.to_bytes(40, "little")
        arguments = (made, c.HP_HMAC_INFO, info, 0)
        assert client.refused("CryptSetHashParam", *arguments) == c.NTE_BAD_ALGID


def test_a_window_may_be_set_without_a_context(client: Client) -> None:
    """PP_CLIENT_HWND is accepted with and without a context, and means nothing here."""
    client.CryptSetProvParam(0, c.PP_CLIENT_HWND, bytes(8), 0)
    client.CryptSetProvParam(client.acquire(), c.PP_CLIENT_HWND, bytes(8), 0)


def _effective(client: Client, key: int, bits: int) -> int | None:
    value = ctypes.byref(ctypes.c_uint32(bits))
    if client.library.CryptSetKeyParam(key, c.KP_EFFECTIVE_KEYLEN, value, 0):
        return None
    return int(client.library.GetLastError()) & 0xFFFFFFFF


def test_effective_key_lengths(client: Client) -> None:
    """RC2 takes 1 to 1024 effective bits; the Base provider insists on 40."""
    key = client.derived(client.enhanced(), c.CALG_RC2, 56)
    whole = client.encrypt(key, DATA)
    assert _effective(client, key, 40) is None
    assert client.encrypt(key, DATA) != whole
    found = client.data("CryptGetKeyParam", key, c.KP_EFFECTIVE_KEYLEN, flags=(0,))
    assert int.from_bytes(found, "little") == 40
    assert _effective(client, key, 0) == _effective(client, key, 1025) == c.NTE_BAD_DATA
    base = client.acquire(name=c.MS_DEF_PROV.encode(), kind=c.PROV_RSA_FULL)
    key = client.derived(base, c.CALG_RC2, 56)
    assert _effective(client, key, 56) == c.NTE_BAD_DATA
    found = client.data("CryptGetKeyParam", key, c.KP_EFFECTIVE_KEYLEN, flags=(0,))
    assert int.from_bytes(found, "little") == 40


@pytest.mark.parametrize(
    ("name", "flags", "length"),
    [
        (c.MS_DEF_PROV, 0, 11),
        (c.MS_DEF_PROV, c.CRYPT_NO_SALT, 0),
        (c.MS_DEF_PROV, c.CRYPT_CREATE_SALT, 11),
        (c.MS_ENHANCED_PROV, 0, 11),
        (c.MS_ENHANCED_PROV, c.CRYPT_CREATE_SALT, 0),
        (c.MS_STRONG_PROV, c.CRYPT_CREATE_SALT, 11),
    ],
)
def test_salt_of_40_bit_keys(client: Client, name: str, flags: int, length: int) -> None:
    """40-bit keys have 11 bytes of salt, which flags and the Enhanced provider change."""
    context = client.acquire(name=name.encode(), kind=c.PROV_RSA_FULL)
    key = client.handle("CryptGenKey", context, c.CALG_RC4, 40 << 16 | flags)
    salt = client.data("CryptGetKeyParam", key, c.KP_SALT, flags=(0,))
    assert len(salt) == length
    assert any(salt) == bool(flags & c.CRYPT_CREATE_SALT and length)
    client.CryptSetKeyParam(key, c.KP_SALT, DATA[:11], 0)
    kept = DATA[:11] if name != c.MS_ENHANCED_PROV else b""
    assert client.data("CryptGetKeyParam", key, c.KP_SALT, flags=(0,)) == kept


def test_keys_can_be_derived_from_an_hmac_but_not_from_a_mac(client: Client) -> None:
    """A MAC's short value cannot be expanded: NTE_BAD_HASH."""
    context = client.acquire()
    key = client.plaintext_key(context, c.CALG_RC2, DATA[:16])
    made = client.hashed(context, c.CALG_MAC, b"x", key)
    out = ctypes.byref(ctypes.c_size_t())
    refused = client.refused("CryptDeriveKey", context, c.CALG_AES_128, made, 0, out)
    assert refused == c.NTE_BAD_HASH


def test_mode_bits_and_padding_can_be_set(client: Client) -> None:
    """KP_MODE_BITS is kept, PKCS5_PADDING accepted, and RSA keys tell their length."""
    context = client.acquire()
    key = client.plaintext_key(context, c.CALG_AES_128, DATA[:16])
    client.set_key(key, c.KP_MODE_BITS, 8)
    found = client.data("CryptGetKeyParam", key, c.KP_MODE_BITS, flags=(0,))
    assert int.from_bytes(found, "little") == 8
    client.set_key(key, c.KP_PADDING, c.PKCS5_PADDING)
    pair = client.handle("CryptGenKey", context, c.AT_KEYEXCHANGE, 512 << 16)
    for parameter in (c.KP_KEYLEN, c.KP_BLOCKLEN, c.KP_EFFECTIVE_KEYLEN):
        found = client.data("CryptGetKeyParam", pair, parameter, flags=(0,))
        assert int.from_bytes(found, "little") == 512


def test_a_key_too_short_for_its_hash_is_refused(client: Client) -> None:
    """A 384-bit pair cannot sign SHA-512 with its OID: NTE_BAD_LEN."""
    context = client.acquire()
    client.handle("CryptGenKey", context, c.AT_SIGNATURE, 384 << 16)
    made = client.hashed(context, c.CALG_SHA_512, b"x")
    buffer, size = ctypes.create_string_buffer(48), ctypes.c_uint32(47)
    arguments = (made, c.AT_SIGNATURE, None, 0, buffer, ctypes.byref(size))
    assert client.refused("CryptSignHashA", *arguments) == c.ERROR_MORE_DATA
    assert size.value == 48
    assert client.refused("CryptSignHashA", *arguments) == c.NTE_BAD_LEN


def test_an_interrupt_passes_the_callback(python: str, child_environment: dict[str, str]) -> None:
    """Ctrl-C inside the provider fails the call and interrupts the program behind it."""
    code = (
        "import signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from csptrace.softcsp import advapi32, provider\n"
        "def interrupted(*_): raise KeyboardInterrupt\n"
        "provider.engine().CryptDestroyKey = interrupted\n"
        "try:\n"
        "    assert not advapi32.CryptDestroyKey(1)\n"
        "    for _ in range(10**9): pass\n"
        "except KeyboardInterrupt: print('interrupted', hex(advapi32.GetLastError() % 2**32))\n"
    )
    done = subprocess.run(
        [python, "-c", code], env=child_environment, check=True, capture_output=True, text=True
    )
    assert done.stdout == "interrupted 0x80090020\n"


def test_names_in_enumerations_of_pywin32_can_be_any_text(client: Client) -> None:
    """Container names come back from the enumeration as they were given."""
    client.acquire("ünï".encode(), flags=c.CRYPT_NEWKEYSET)
    prov = pyhandles.CryptAcquireContext(None, None, 24, c.CRYPT_VERIFYCONTEXT)
    assert prov is not None
    assert prov.CryptGetProvParam(c.PP_ENUMCONTAINERS) == ["ünï"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_does_not_own_its_parents_lock(
    tmp_path: Path, python: str, child_environment: dict[str, str]
) -> None:
    """A container that the parent opened is busy for its forked child, not the other way."""
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from csptrace.softcsp import uselocks\n"
        "path = Path(sys.argv[1])\n"
        "uselocks.enter(path)\n"
        "pid = os.fork()\n"
        "if not pid:\n"
        "    os._exit(10 + uselocks.used_elsewhere(path))\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), uselocks.leave(path))\n"
    )
    done = subprocess.run(
        [python, "-c", code, str(tmp_path / "box.json")],
        env=child_environment, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout == "11 True\n"


def test_locks_that_were_never_taken_are_free(tmp_path: Path) -> None:
    """Leaving what was not entered is nothing, and a missing directory is used by nobody."""
    assert uselocks.leave(tmp_path / "box.json")
    assert not uselocks.used_elsewhere(tmp_path / "none" / "box.json")
