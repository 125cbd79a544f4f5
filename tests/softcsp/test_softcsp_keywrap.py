"""Key wrapping, signatures of ANSI X9.31 and security descriptors."""

from __future__ import annotations

import ctypes
import struct
from typing import TYPE_CHECKING

import pytest

from csptrace.softcsp import ciphers, keywrap
from csptrace.softcsp import constants as c
from csptrace.softcsp.errors import CspError

if TYPE_CHECKING:
    from conftest import Client

ANSWERS = {
    # RFC 3217, sections 3.3 and 4.3.
    c.CALG_3DES: (
        "2923bf85e06dd6ae529149f1f1bae9eab3a7da3d860d3e98",
        "255e0d1c07b646dfb3134cc843ba8aa71f025b7c0838251f",
        "5dd4cbfc96f5453b",
        "",
        "690107618ef092b3b48ca1796b234ae9fa33ebb4159604037db5d6a84eb3aac2768c632775a467d4",
    ),
    c.CALG_RC2: (
        "b70a25fbc9d86a86050ce0d711ead4d9",
        "fd04fd08060707fb0003fefffd02fe05",
        "c7d90059b29e97f7",
        "4845cce7fd1250",
        "70e699fb5701f7833330fb71e87c85a420bdc99af05d22af5a0e48d35f3138986cbaafb4b28d4f35",
    ),
}


@pytest.mark.parametrize("algid", ANSWERS)
def test_published_answers_of_key_wrapping(algid: int) -> None:
    """Wrapping gives the answers published in RFC 3217, and unwrapping takes them back."""
    key, wrapper, iv, padding, wrapped = (bytes.fromhex(text) for text in ANSWERS[algid])
    effective = 40 if algid == c.CALG_RC2 else 0
    cipher = ciphers.block_cipher(algid, wrapper, effective)
    assert keywrap.wrap(algid, key, cipher, iv=iv, padding=padding) == wrapped
    assert keywrap.unwrap(algid, wrapped, cipher) == key


def test_wrapped_keys_are_checked() -> None:
    """A changed, cut or wrongly declared wrapped key is NTE_BAD_DATA or NTE_BAD_KEY."""
    cipher = ciphers.block_cipher(c.CALG_3DES, bytes(range(24)), 0)
    good = keywrap.wrap(c.CALG_3DES, bytes(range(24)), cipher)
    loud = keywrap.wrap(c.CALG_3DES, b"\xff" * 24, cipher)
    short = keywrap.wrap(c.CALG_RC2, b"12345", cipher)
    for algid, wrapped, code in (
        (c.CALG_3DES, good[:-1] + bytes([good[-1] ^ 1]), c.NTE_BAD_DATA),
        (c.CALG_3DES, good[:-1], c.NTE_BAD_DATA),
        (c.CALG_3DES, b"", c.NTE_BAD_DATA),
        (c.CALG_3DES, short, c.NTE_BAD_DATA),
        (c.CALG_RC2, loud, c.NTE_BAD_DATA),
        (c.CALG_AES_128, good, c.NTE_BAD_KEY),
    ):
        with pytest.raises(CspError) as caught:
            keywrap.unwrap(algid, wrapped, cipher)
        assert caught.value.code == code
    with pytest.raises(CspError, match="NTE_BAD_KEY"):
        keywrap.wrap(c.CALG_DES, bytes(8), cipher)


@pytest.mark.parametrize(
    ("algid", "length"), [(c.CALG_3DES, 24), (c.CALG_3DES_112, 16), (c.CALG_RC2, 16)]
)
def test_keys_travel_in_symmetric_wrap_blobs(client: Client, algid: int, length: int) -> None:
    """A session key exported under another one comes back the same, with odd parity for DES."""
    context = client.acquire()
    material = bytes(1 + 2 * (i % 3) if i % 3 else 1 for i in range(length))
    key = client.plaintext_key(context, algid, material)
    wrapper = client.plaintext_key(context, c.CALG_3DES, bytes(range(24)))
    blob = client.data("CryptExportKey", key, wrapper, c.SYMMETRICWRAPKEYBLOB, 0)
    header = struct.unpack_from("<BBHII", blob)
    assert header == (c.SYMMETRICWRAPKEYBLOB, 2, 0, algid, c.CALG_3DES)
    back = client.handle("CryptImportKey", context, blob, len(blob), wrapper, 1)
    texts = [client.encrypt(one, b"the same key") for one in (key, back)]
    assert texts[0] == texts[1]
    arguments = (key, 0, c.SYMMETRICWRAPKEYBLOB, 0, None, ctypes.byref(ctypes.c_uint32()))
    assert client.refused("CryptExportKey", *arguments) == c.NTE_BAD_KEY


@pytest.mark.parametrize("algid", [c.CALG_SHA, c.CALG_SHA_256, c.CALG_SHA_384, c.CALG_SHA_512])
def test_signatures_of_x931_have_its_padding(client: Client, algid: int) -> None:
    """A signature in X9.31 format verifies as such only, and has the standard's padding."""
    context = client.acquire()
    pair = client.handle("CryptGenKey", context, c.AT_SIGNATURE, 1024 << 16)
    made = client.hashed(context, algid, b"abc")
    arguments = (made, c.AT_SIGNATURE, None, c.CRYPT_X931_FORMAT)
    signature = client.data("CryptSignHashA", *arguments)
    check = (made, signature, len(signature), pair, None)
    client.CryptVerifySignatureA(*check, c.CRYPT_X931_FORMAT)
    assert client.refused("CryptVerifySignatureA", *check, 0) == c.NTE_BAD_SIGNATURE
    plain = client.data("CryptSignHashA", made, c.AT_SIGNATURE, None, 0)
    wrong = (made, plain, len(plain), pair, None, c.CRYPT_X931_FORMAT)
    assert client.refused("CryptVerifySignatureA", *wrong) == c.NTE_BAD_SIGNATURE
    above = (made, b"\xff" * 128, 128, pair, None, c.CRYPT_X931_FORMAT)
    assert client.refused("CryptVerifySignatureA", *above) == c.NTE_BAD_SIGNATURE
    blob = client.data("CryptExportKey", pair, 0, c.PUBLICKEYBLOB, 0)
    modulus = int.from_bytes(blob[20:], "little")
    number = pow(int.from_bytes(signature, "little"), 65537, modulus)
    block = next(
        found
        for found in (number.to_bytes(128, "big"), (modulus - number).to_bytes(128, "big"))
        if found[-1] == 0xCC
    )
    value = client.value(made)
    assert block[:2] == b"\x6b\xbb"
    assert block[-3 - len(value) : -2] == b"\xba" + value


def test_x931_has_limits(client: Client) -> None:
    """X9.31 knows the SHA family only, and needs a key that is long enough."""
    context = client.acquire()
    client.handle("CryptGenKey", context, c.AT_SIGNATURE, 512 << 16)
    size = ctypes.c_uint32(64)
    rest = (c.AT_SIGNATURE, None, c.CRYPT_X931_FORMAT, ctypes.create_string_buffer(64))
    for algid, code in ((c.CALG_MD5, c.NTE_BAD_ALGID), (c.CALG_SHA_512, c.NTE_BAD_LEN)):
        made = client.hashed(context, algid, b"")
        assert client.refused("CryptSignHashA", made, *rest, ctypes.byref(size)) == code


def test_a_container_has_a_security_descriptor(client: Client) -> None:
    """PP_KEYSET_SEC_DESCR gives the parts asked for; a context without a container has none."""
    context = client.acquire(container=b"secured", flags=c.CRYPT_NEWKEYSET)
    for wanted, length, control in ((0, 20, 0x8000), (1, 32, 0x8000), (7, 72, 0x8004)):
        found = client.data("CryptGetProvParam", context, c.PP_KEYSET_SEC_DESCR, flags=(wanted,))
        revision, _, flags, owner, group, sacl, dacl = struct.unpack_from("<BBHIIII", found)
        assert (len(found), revision, flags, sacl) == (length, 1, control, 0)
        assert (bool(owner), bool(group), bool(dacl)) == (
            wanted & 1 > 0,
            wanted & 2 > 0,
            wanted > 3,
        )
    client.CryptSetProvParam(context, c.PP_KEYSET_SEC_DESCR, found, 4)
    nameless = client.acquire()
    size = ctypes.byref(ctypes.c_uint32())
    arguments = (nameless, c.PP_KEYSET_SEC_DESCR, None, size, 4)
    assert client.refused("CryptGetProvParam", *arguments) == c.NTE_BAD_KEYSET
    arguments = (nameless, c.PP_KEYSET_SEC_DESCR, found, 0)
    assert client.refused("CryptSetProvParam", *arguments) == c.NTE_BAD_TYPE
