"""Keys, blobs, encryption, hashes and signatures through the ctypes face."""

from __future__ import annotations

import ctypes
import hashlib
from typing import TYPE_CHECKING

import pytest

from csptrace.softcsp import constants as c

if TYPE_CHECKING:
    from conftest import Client

RSA_1024 = 1024 << 16
DATA = bytes(range(100))


def _blob(client: Client, key: int, kind: int, wrapper: int = 0, flags: int = 0) -> bytes:
    return client.data("CryptExportKey", key, wrapper, kind, flags)


def _imported(client: Client, context: int, blob: bytes, wrapper: int = 0, flags: int = 0) -> int:
    return client.handle("CryptImportKey", context, blob, len(blob), wrapper, flags)


def _refused_import(client: Client, context: int, blob: bytes, wrapper: int = 0) -> int:
    out = ctypes.byref(ctypes.c_size_t())
    return client.refused("CryptImportKey", context, blob, len(blob), wrapper, 0, out)


def _number(client: Client, key: int, parameter: int) -> int:
    return int.from_bytes(client.data("CryptGetKeyParam", key, parameter, flags=(0,)), "little")


@pytest.mark.parametrize(
    ("algid", "bits", "length"),
    [
        (c.CALG_AES_128, 0, 128), (c.CALG_AES_192, 0, 192), (c.CALG_AES_256, 0, 256),
        (c.CALG_AES_256, 256, 256), (c.CALG_DES, 56, 64), (c.CALG_DES, 64, 64),
        (c.CALG_3DES_112, 112, 128), (c.CALG_3DES, 168, 192), (c.CALG_3DES, 192, 192),
        (c.CALG_RC2, 40, 40), (c.CALG_RC2, 0, 128), (c.CALG_RC4, 48, 48),
    ],
)  # fmt: skip
def test_session_keys_of_every_kind(client: Client, algid: int, bits: int, length: int) -> None:
    """A generated key has its length and decrypts what it encrypted, in one piece or several."""
    context = client.acquire()
    key = client.handle("CryptGenKey", context, algid, bits << 16 | c.CRYPT_EXPORTABLE)
    assert length == _number(client, key, c.KP_KEYLEN)
    assert algid == _number(client, key, c.KP_ALGID)
    whole = client.encrypt(key, DATA)
    assert client.decrypt(key, whole) == DATA
    pieces = client.encrypt(key, DATA[:48], final=False) + client.encrypt(key, DATA[48:])
    assert whole == pieces
    assert client.decrypt(key, whole[:64], final=False) + client.decrypt(key, whole[64:]) == DATA


@pytest.mark.parametrize(
    ("algid", "bits", "code"),
    [
        (c.CALG_AES_128, 256, c.NTE_BAD_FLAGS),
        (c.CALG_DES, 40, c.NTE_BAD_FLAGS),
        (c.CALG_RC2, 41, c.NTE_BAD_FLAGS),
        (c.CALG_RC2, 1024, c.NTE_BAD_FLAGS),
        (c.AT_KEYEXCHANGE, 100, c.NTE_BAD_FLAGS),
        (c.CALG_SHA, 0, c.NTE_BAD_ALGID),
        (0x6699, 0, c.NTE_BAD_ALGID),
    ],
)
def test_bad_lengths_and_algorithms(client: Client, algid: int, bits: int, code: int) -> None:
    """A length a provider does not take is NTE_BAD_FLAGS, an algorithm NTE_BAD_ALGID."""
    out = ctypes.byref(ctypes.c_size_t())
    assert code == client.refused("CryptGenKey", client.acquire(), algid, bits << 16, out)


def test_base_provider_offers_weak_keys_only(client: Client) -> None:
    """The Base provider has no AES and no RC2 beyond 56 bits."""
    context = client.acquire(name=c.MS_DEF_PROV.encode(), kind=c.PROV_RSA_FULL)
    out = ctypes.byref(ctypes.c_size_t())
    refused = client.refused("CryptGenKey", context, c.CALG_AES_128, 0, out)
    assert refused == c.NTE_BAD_ALGID
    refused = client.refused("CryptGenKey", context, c.CALG_RC2, 128 << 16, out)
    assert refused == c.NTE_BAD_FLAGS
    key = client.handle("CryptGenKey", context, c.CALG_RC2, 0)
    assert _number(client, key, c.KP_KEYLEN) == 40


def test_size_queries_change_nothing(client: Client) -> None:
    """Asking how long a result will be does not move a message on."""
    key = client.plaintext_key(client.acquire(), c.CALG_AES_128, DATA[:16])
    whole = client.encrypt(key, DATA)
    size = ctypes.c_uint32(5)
    for _ in range(3):
        client.CryptEncrypt(key, 0, 1, 0, None, ctypes.byref(size), 0)
    assert size.value > 16
    assert whole == client.encrypt(key, DATA)


def test_encryption_needs_room_and_whole_blocks(client: Client) -> None:
    """Too little room is ERROR_MORE_DATA, a broken block before the end NTE_BAD_DATA."""
    key = client.plaintext_key(client.acquire(), c.CALG_AES_128, DATA[:16])
    buffer, size = ctypes.create_string_buffer(16), ctypes.c_uint32(16)
    arguments = (key, 0, 1, 0, buffer, ctypes.byref(size), 16)
    assert client.refused("CryptEncrypt", *arguments) == c.ERROR_MORE_DATA
    assert size.value == 32
    size.value = 15
    arguments = (key, 0, 0, 0, buffer, ctypes.byref(size), 16)
    assert client.refused("CryptEncrypt", *arguments) == c.NTE_BAD_DATA
    size.value = 0
    arguments = (key, 0, 1, 0, buffer, ctypes.byref(size))
    assert client.refused("CryptDecrypt", *arguments) == c.NTE_BAD_LEN


def test_bad_padding_restores_the_key(client: Client) -> None:
    """Bad padding is NTE_BAD_DATA, and the next message starts afresh."""
    key = client.plaintext_key(client.acquire(), c.CALG_3DES, DATA[:24])
    whole = client.encrypt(key, DATA)
    buffer = ctypes.create_string_buffer(whole[:-1] + bytes([whole[-1] ^ 1]), len(whole))
    size = ctypes.c_uint32(len(whole))
    arguments = (key, 0, 1, 0, buffer, ctypes.byref(size))
    assert client.refused("CryptDecrypt", *arguments) == c.NTE_BAD_DATA
    assert len(whole) == size.value
    assert client.decrypt(key, whole) == DATA


def test_encryption_hashes_the_plaintext(client: Client) -> None:
    """A hash given to CryptEncrypt and CryptDecrypt gets the plaintext both times."""
    context = client.acquire()
    key = client.plaintext_key(context, c.CALG_AES_128, DATA[:16])
    first = client.handle("CryptCreateHash", context, c.CALG_SHA_256, 0, 0)
    second = client.handle("CryptCreateHash", context, c.CALG_SHA_256, 0, 0)
    client.decrypt(key, client.encrypt(key, DATA, hashed=first), hashed=second)
    expected = hashlib.sha256(DATA).digest()
    assert expected == client.value(first) == client.value(second)


def test_duplicate_keys_go_their_own_way(client: Client) -> None:
    """A copy made in the middle of a message goes on alone and outlives the original."""
    context = client.acquire()
    for algid, length in ((c.CALG_AES_128, 16), (c.CALG_RC4, 16), (c.CALG_RC2, 16)):
        key = client.plaintext_key(context, algid, DATA[:length])
        whole = client.encrypt(key, DATA)
        client.encrypt(key, DATA[:32], final=False)
        twin = client.handle("CryptDuplicateKey", key, None, 0)
        assert whole[32:] == client.encrypt(key, DATA[32:])
        client.CryptDestroyKey(key)
        assert whole[32:] == client.encrypt(twin, DATA[32:])
        client.CryptDestroyKey(twin)


def test_duplicating_wants_its_reserved_arguments_empty(client: Client) -> None:
    """CryptDuplicateKey and CryptDuplicateHash answer 87 for a pointer or flags."""
    context = client.acquire()
    key = client.plaintext_key(context, c.CALG_AES_128, DATA[:16])
    made = client.hashed(context, c.CALG_SHA, b"x")
    spare, out = ctypes.byref(ctypes.c_uint32()), ctypes.byref(ctypes.c_size_t())
    for name, handle in (("CryptDuplicateKey", key), ("CryptDuplicateHash", made)):
        assert client.refused(name, handle, spare, 0, out) == c.ERROR_INVALID_PARAMETER
        assert client.refused(name, handle, None, 1, out) == c.ERROR_INVALID_PARAMETER


def test_key_parameters(client: Client) -> None:
    """Mode, padding, initialization vector, permissions and lengths can be asked and set."""
    key = client.plaintext_key(client.acquire(), c.CALG_AES_128, DATA[:16])
    assert _number(client, key, c.KP_MODE) == c.CRYPT_MODE_CBC
    assert _number(client, key, c.KP_BLOCKLEN) == 128
    assert _number(client, key, c.KP_PADDING) == c.PKCS5_PADDING
    client.CryptSetKeyParam(key, c.KP_IV, DATA[:16], 0)
    assert DATA[:16] == client.data("CryptGetKeyParam", key, c.KP_IV, flags=(0,))
    permissions = _number(client, key, c.KP_PERMISSIONS)
    client.set_key(key, c.KP_PERMISSIONS, permissions & ~c.CRYPT_EXPORT)
    assert permissions == _number(client, key, c.KP_PERMISSIONS)
    two = ctypes.byref(ctypes.c_uint32(2))
    refused = client.refused("CryptSetKeyParam", key, c.KP_PADDING, two, 0)
    assert refused == c.NTE_BAD_DATA
    assert client.refused("CryptSetKeyParam", key, 0xBAD, two, 0) == c.NTE_BAD_TYPE
    assert client.refused("CryptSetKeyParam", key, c.KP_MODE, two, 1) == c.NTE_BAD_FLAGS


def test_an_unexportable_key_cannot_become_exportable(client: Client) -> None:
    """KP_PERMISSIONS cannot add CRYPT_EXPORT, and every blob of such a key is refused."""
    context = client.acquire()
    key = client.handle("CryptGenKey", context, c.CALG_AES_128, 0)
    export = ctypes.byref(ctypes.c_uint32(0x3F))
    refused = client.refused("CryptSetKeyParam", key, c.KP_PERMISSIONS, export, 0)
    assert refused == c.NTE_BAD_DATA
    size = ctypes.byref(ctypes.c_uint32())
    arguments = (key, 0, c.PLAINTEXTKEYBLOB, 0, None, size)
    assert client.refused("CryptExportKey", *arguments) == c.NTE_BAD_KEY_STATE


class Blob(ctypes.Structure):
    """CRYPT_INTEGER_BLOB of wincrypt.h."""

    _fields_ = (("cbData", ctypes.c_uint32), ("pbData", ctypes.c_void_p))


def test_salt_can_be_set_up_to_24_bytes(client: Client) -> None:
    """KP_SALT_EX takes 0 to 24 bytes and changes what the key encrypts to."""
    key = client.derived(client.enhanced(), c.CALG_RC4, 56)
    salt = ctypes.create_string_buffer(DATA, 100)
    seen = set()
    for length in (0, 11, 24):
        blob = Blob(length, ctypes.addressof(salt))
        client.CryptSetKeyParam(key, c.KP_SALT_EX, ctypes.byref(blob), 0)
        assert DATA[:length] == client.data("CryptGetKeyParam", key, c.KP_SALT, flags=(0,))
        seen.add(client.encrypt(key, DATA))
    assert len(seen) == 3
    blob = Blob(25, ctypes.addressof(salt))
    arguments = (key, c.KP_SALT_EX, ctypes.byref(blob), 0)
    assert client.refused("CryptSetKeyParam", *arguments) == c.NTE_BAD_DATA


def test_plaintext_blobs_have_the_real_layout(client: Client) -> None:
    """A PLAINTEXTKEYBLOB is BLOBHEADER, length and bytes, and comes back as it was."""
    context = client.acquire()
    key = client.plaintext_key(context, c.CALG_AES_256, DATA[:32])
    expected = bytes.fromhex("080200001066000020000000") + DATA[:32]
    assert expected == _blob(client, key, c.PLAINTEXTKEYBLOB)


def test_public_and_private_blobs_have_the_real_layout(client: Client) -> None:
    """RSA blobs carry RSA1 and RSA2, little-endian numbers, and come back as the same pair."""
    context = client.acquire()
    pair = client.handle("CryptGenKey", context, c.AT_KEYEXCHANGE, RSA_1024 | 1)
    public = _blob(client, pair, c.PUBLICKEYBLOB)
    private = _blob(client, pair, c.PRIVATEKEYBLOB)
    assert bytes.fromhex("0602000000a40000") + b"RSA1" == public[:12]
    assert bytes.fromhex("0702000000a40000") + b"RSA2" == private[:12]
    assert public[12:] == private[12 : len(public)]
    assert len(public) == 8 + 12 + 128
    assert len(private) == 8 + 12 + 128 * 2 + 64 * 5
    numbers = [int.from_bytes(private[148 + i * 64 :][:64], "little") for i in range(5)]
    p, q = numbers[:2]
    assert p * q == int.from_bytes(public[20:], "little")
    other = client.acquire()
    for blob in (private, private[:-128]):
        twin = _imported(client, other, blob, flags=c.CRYPT_EXPORTABLE)
        assert public == _blob(client, twin, c.PUBLICKEYBLOB)
    known = client.handle("CryptGetUserKey", other, c.AT_KEYEXCHANGE)
    assert private == _blob(client, known, c.PRIVATEKEYBLOB)


@pytest.mark.parametrize("flags", [0, c.CRYPT_OAEP])
def test_simple_blobs_carry_session_keys(client: Client, flags: int) -> None:
    """A SIMPLEBLOB can be opened with the pair, or with the container's pair when none is given."""
    context = client.acquire()
    pair = client.handle("CryptGenKey", context, c.AT_KEYEXCHANGE, RSA_1024)
    key = client.plaintext_key(context, c.CALG_AES_128, DATA[:16])
    public = _imported(client, context, _blob(client, pair, c.PUBLICKEYBLOB))
    simple = _blob(client, key, c.SIMPLEBLOB, public, flags)
    assert bytes.fromhex("010200000e66000000a40000") == simple[:12]
    assert len(simple) == 12 + 128
    for wrapper in (pair, 0):
        twin = _imported(client, context, simple, wrapper, flags | c.CRYPT_EXPORTABLE)
        assert DATA[:16] == _blob(client, twin, c.PLAINTEXTKEYBLOB)[12:]


def test_private_blobs_can_be_encrypted(client: Client) -> None:
    """A PRIVATEKEYBLOB under a session key hides everything after its header."""
    context = client.acquire()
    pair = client.handle("CryptGenKey", context, c.AT_SIGNATURE, RSA_1024 | 1)
    wrapper = client.plaintext_key(context, c.CALG_AES_256, DATA[:32])
    hidden = _blob(client, pair, c.PRIVATEKEYBLOB, wrapper)
    assert b"RSA2" not in hidden
    twin = _imported(client, client.acquire(), hidden, wrapper, c.CRYPT_EXPORTABLE)
    clear = _blob(client, pair, c.PRIVATEKEYBLOB)
    assert clear == _blob(client, twin, c.PRIVATEKEYBLOB)


def test_opaque_blobs_can_destroy_their_key(client: Client) -> None:
    """CRYPT_DESTROYKEY with an OPAQUEKEYBLOB destroys the key, not at the size query."""
    context = client.acquire(kind=c.PROV_RSA_SCHANNEL)
    key = client.plaintext_key(context, c.CALG_RC4, DATA[:16])
    expected = client.encrypt(key, DATA)
    sealed = _blob(client, key, c.OPAQUEKEYBLOB, flags=c.CRYPT_DESTROYKEY)
    assert DATA[:16] not in sealed
    assert client.refused("CryptDestroyKey", key) == c.ERROR_INVALID_PARAMETER
    assert expected == client.encrypt(_imported(client, context, sealed), DATA)
    damaged = sealed[:-1] + bytes([sealed[-1] ^ 1])
    assert _refused_import(client, context, damaged) == c.NTE_BAD_DATA


def test_bad_blobs_are_refused(client: Client) -> None:
    """Damaged headers, magics and lengths have their documented codes."""
    context = client.acquire()
    pair = client.handle("CryptGenKey", context, c.AT_SIGNATURE, RSA_1024 | 1)
    public = _blob(client, pair, c.PUBLICKEYBLOB)
    private = _blob(client, pair, c.PRIVATEKEYBLOB)
    for blob, code in (
        (public[:7], c.NTE_BAD_DATA),
        (public[:1] + b"\x07" + public[2:], c.NTE_BAD_DATA),
        (b"\x63" + public[1:], c.NTE_BAD_TYPE),
        (public[:8] + b"XXXX" + public[12:], c.NTE_BAD_DATA),
        (public[:-1], c.NTE_BAD_DATA),
        (private[:300], c.NTE_BAD_DATA),
        (bytes.fromhex("080200000e66000010000000") + DATA[:15], c.NTE_BAD_DATA),
        (bytes.fromhex("080200000e6600000f000000") + DATA[:15], c.NTE_BAD_DATA),
        (bytes.fromhex("080200000480000010000000") + DATA[:16], c.NTE_BAD_ALGID),
        (bytes.fromhex("010200000e66000000a40000") + DATA[:64], c.NTE_BAD_PUBLIC_KEY),
    ):
        assert code == _refused_import(client, context, blob), blob[:12].hex()
    out = ctypes.byref(ctypes.c_size_t())
    nothing = (context, None, 0, 0, 0, out)
    assert client.refused("CryptImportKey", *nothing) == c.ERROR_INVALID_PARAMETER


@pytest.mark.usefixtures("documented")
def test_a_wrong_blob_version_has_its_documented_code(client: Client) -> None:
    """In the documented profile a wrong blob version is NTE_BAD_VER."""
    blob = bytes.fromhex("080700000e66000010000000") + DATA[:16]
    assert _refused_import(client, client.acquire(), blob) == c.NTE_BAD_VER


def test_wrong_exports_are_refused(client: Client) -> None:
    """Each blob type wants its kind of key."""
    context = client.acquire()
    pair = client.handle("CryptGenKey", context, c.AT_SIGNATURE, RSA_1024)
    key = client.plaintext_key(context, c.CALG_AES_128, DATA[:16])
    public = _imported(client, context, _blob(client, pair, c.PUBLICKEYBLOB))
    size = ctypes.byref(ctypes.c_uint32())
    for one, wrapper, kind, code in (
        (key, 0, c.PUBLICKEYBLOB, c.NTE_BAD_KEY),
        (pair, key, c.PUBLICKEYBLOB, c.NTE_BAD_KEY),
        (pair, 0, c.PRIVATEKEYBLOB, c.NTE_BAD_KEY_STATE),
        (public, 0, c.PRIVATEKEYBLOB, c.NTE_BAD_KEY_STATE),
        (key, 0, c.SIMPLEBLOB, c.NTE_BAD_PUBLIC_KEY),
        (key, public, c.SIMPLEBLOB, c.NTE_BAD_PUBLIC_KEY),
        (key, 0, 99, c.NTE_BAD_TYPE),
    ):
        arguments = (one, wrapper, kind, 0, None, size)
        assert code == client.refused("CryptExportKey", *arguments)


def test_rsa_encryption(client: Client) -> None:
    """RSA encrypts with the public key, decrypts with the pair, and only with exchange keys."""
    context = client.acquire()
    pair = client.handle("CryptGenKey", context, c.AT_KEYEXCHANGE, RSA_1024)
    public = _imported(client, context, _blob(client, pair, c.PUBLICKEYBLOB))
    for flags in (0, c.CRYPT_OAEP):
        hidden = client.encrypt(public, b"short", flags=flags)
        assert len(hidden) == 128
        assert client.decrypt(pair, hidden, flags=flags) == b"short"
    buffer, size = ctypes.create_string_buffer(128), ctypes.c_uint32(118)
    arguments = (public, 0, 1, 0, buffer, ctypes.byref(size), 128)
    assert client.refused("CryptEncrypt", *arguments) == c.NTE_BAD_LEN
    size.value = 128
    arguments = (pair, 0, 1, 0, buffer, ctypes.byref(size))
    assert client.refused("CryptDecrypt", *arguments) == c.NTE_BAD_DATA
    signer = client.handle("CryptGenKey", context, c.AT_SIGNATURE, RSA_1024)
    arguments = (signer, 0, 1, 0, None, ctypes.byref(size), 0)
    assert client.refused("CryptEncrypt", *arguments) == c.NTE_BAD_KEY


@pytest.mark.parametrize(
    "algid",
    [c.CALG_MD2, c.CALG_MD4, c.CALG_MD5, c.CALG_SHA, c.CALG_SHA_256, c.CALG_SHA_384,
     c.CALG_SHA_512],
)  # fmt: skip
@pytest.mark.parametrize("spec", [c.AT_KEYEXCHANGE, c.AT_SIGNATURE])
def test_signatures(client: Client, algid: int, spec: int) -> None:
    """A signature fits its hash and key, with or without the hash's OID, and no other."""
    context = client.acquire()
    pair = client.handle("CryptGenKey", context, spec, RSA_1024)
    made = client.hashed(context, algid, DATA)
    for flags in (0, c.CRYPT_NOHASHOID):
        signature = client.data("CryptSignHashA", made, spec, None, flags)
        client.CryptVerifySignatureW(made, signature, 128, pair, None, flags)
        client.CryptVerifySignatureA(made, signature, 128, pair, None, 0)
        other = client.hashed(context, algid, b"other")
        for arguments in (
            (other, signature, 128, pair, None, flags),
            (made, signature[::-1], 128, pair, None, flags),
            (made, signature, 127, pair, None, flags),
            (made, None, 127, pair, None, flags),
        ):
            refused = client.refused("CryptVerifySignatureA", *arguments)
            assert refused == c.NTE_BAD_SIGNATURE
    arguments = (made, None, 128, pair, None, 0)
    refused = client.refused("CryptVerifySignatureA", *arguments)
    assert refused == c.ERROR_INVALID_PARAMETER


def test_a_description_is_signed_too(client: Client) -> None:
    """The obsolete description is hashed in, the same through both spellings."""
    context = client.acquire()
    pair = client.handle("CryptGenKey", context, c.AT_SIGNATURE, RSA_1024)
    made = client.hashed(context, c.CALG_SHA, DATA)
    signature = client.data("CryptSignHashA", made, 2, b"text", 0)
    again = client.hashed(context, c.CALG_SHA, DATA)
    client.CryptVerifySignatureW(again, signature, 128, pair, "text", 0)


def test_signing_needs_a_pair(client: Client) -> None:
    """A container without the pair asked for is NTE_NO_KEY."""
    context = client.acquire()
    made = client.hashed(context, c.CALG_SHA, DATA)
    size = ctypes.byref(ctypes.c_uint32())
    for spec in (c.AT_KEYEXCHANGE, c.AT_SIGNATURE, 7):
        arguments = (made, spec, None, 0, None, size)
        assert client.refused("CryptSignHashA", *arguments) == c.NTE_NO_KEY
        out = ctypes.byref(ctypes.c_size_t())
        assert client.refused("CryptGetUserKey", context, spec, out) == c.NTE_NO_KEY


def test_ssl3_shamd5_takes_a_value_only(client: Client) -> None:
    """CALG_SSL3_SHAMD5 refuses data, takes a value, and is signed without an OID."""
    context = client.acquire()
    pair = client.handle("CryptGenKey", context, c.AT_KEYEXCHANGE, RSA_1024)
    made = client.handle("CryptCreateHash", context, c.CALG_SSL3_SHAMD5, 0, 0)
    assert client.refused("CryptHashData", made, b"x", 1, 0) == c.NTE_BAD_ALGID
    value = hashlib.md5(DATA).digest() + hashlib.sha1(DATA).digest()
    client.CryptSetHashParam(made, c.HP_HASHVAL, value, 0)
    assert value == client.value(made)
    signature = client.data("CryptSignHashA", made, 1, None, 0)
    client.CryptVerifySignatureA(made, signature, 128, pair, None, c.CRYPT_NOHASHOID)


def test_a_finished_hash_takes_no_more_data(client: Client) -> None:
    """Reading the value finishes a hash; asking for its size does not."""
    context = client.acquire()
    made = client.hashed(context, c.CALG_SHA_256, b"a")
    size = ctypes.c_uint32()
    client.CryptGetHashParam(made, c.HP_HASHVAL, None, ctypes.byref(size), 0)
    assert size.value == 32
    client.CryptHashData(made, b"b", 1, 0)
    assert hashlib.sha256(b"ab").digest() == client.value(made) == client.value(made)
    assert client.refused("CryptHashData", made, b"c", 1, 0) == c.NTE_BAD_HASH_STATE


def test_duplicate_hashes_go_their_own_way(client: Client) -> None:
    """A copied hash goes on alone and outlives the original."""
    context = client.acquire()
    made = client.hashed(context, c.CALG_MD2, b"a")
    twin = client.handle("CryptDuplicateHash", made, None, 0)
    client.CryptHashData(made, b"x", 1, 0)
    client.CryptDestroyHash(made)
    client.CryptHashData(twin, b"b", 1, 0)
    expected = client.value(client.hashed(context, c.CALG_MD2, b"ab"))
    assert expected == client.value(twin)


def test_hash_parameters(client: Client) -> None:
    """Algorithm and size can be asked; other parameters, flags and data are refused."""
    context = client.acquire()
    made = client.hashed(context, c.CALG_SHA_384, b"")
    algid = client.data("CryptGetHashParam", made, c.HP_ALGID, flags=(0,))
    assert int.from_bytes(algid, "little") == c.CALG_SHA_384
    size = client.data("CryptGetHashParam", made, c.HP_HASHSIZE, flags=(0,))
    assert int.from_bytes(size, "little") == 48
    length = ctypes.byref(ctypes.c_uint32())
    arguments = (made, 0xBAD, None, length, 0)
    assert client.refused("CryptGetHashParam", *arguments) == c.NTE_BAD_TYPE
    assert client.refused("CryptHashData", made, b"x", 1, 0xFFFFFFFF) == c.NTE_BAD_FLAGS
    assert client.refused("CryptSetHashParam", made, 0xBAD, DATA, 0) == c.NTE_BAD_TYPE


def test_session_keys_can_be_hashed(client: Client) -> None:
    """CryptHashSessionKey hashes the key's bytes, reversed unless CRYPT_LITTLE_ENDIAN."""
    context = client.acquire()
    key = client.plaintext_key(context, c.CALG_AES_128, DATA[:16], 0)
    for flags, expected in ((c.CRYPT_LITTLE_ENDIAN, DATA[:16]), (0, DATA[15::-1])):
        made = client.handle("CryptCreateHash", context, c.CALG_SHA_256, 0, 0)
        client.CryptHashSessionKey(made, key, flags)
        assert hashlib.sha256(expected).digest() == client.value(made)


@pytest.mark.parametrize("algid", [c.CALG_MAC, c.CALG_HMAC])
def test_a_keyed_hash_dies_with_its_key(client: Client, algid: int) -> None:
    """Once its key is destroyed a MAC or HMAC is NTE_BAD_KEY, but can still be destroyed."""
    context = client.acquire()
    key = client.plaintext_key(context, c.CALG_AES_128, DATA[:16])
    made = client.handle("CryptCreateHash", context, algid, key, 0)
    if algid == c.CALG_HMAC:
        info = c.CALG_SHA.to_bytes(40, "little")
        client.CryptSetHashParam(made, c.HP_HMAC_INFO, info, 0)
    client.CryptHashData(made, b"x", 1, 0)
    client.CryptDestroyKey(key)
    assert client.refused("CryptHashData", made, b"x", 1, 0) == c.NTE_BAD_KEY
    buffer, size = ctypes.create_string_buffer(64), ctypes.c_uint32(64)
    arguments = (made, c.HP_HASHVAL, buffer, ctypes.byref(size), 0)
    assert client.refused("CryptGetHashParam", *arguments) == c.NTE_BAD_KEY
    client.CryptDestroyHash(made)


def test_keyed_hashes_need_the_right_key(client: Client) -> None:
    """A MAC or HMAC without a key, and a MAC with a stream cipher's key, are NTE_BAD_KEY."""
    context = client.acquire()
    rc4 = client.plaintext_key(context, c.CALG_RC4, DATA[:16])
    out = ctypes.byref(ctypes.c_size_t())
    for algid, key in ((c.CALG_MAC, 0), (c.CALG_HMAC, 0), (c.CALG_MAC, rc4)):
        refused = client.refused("CryptCreateHash", context, algid, key, 0, out)
        assert refused == c.NTE_BAD_KEY
    made = client.handle("CryptCreateHash", context, c.CALG_HMAC, rc4, 0)
    assert client.refused("CryptHashData", made, b"x", 1, 0) == c.NTE_BAD_HASH_STATE


def test_deriving_from_a_hash_finishes_it(client: Client) -> None:
    """Keys derived from equal hashes are equal, and the hash takes no more data."""
    context = client.acquire()
    keys = []
    for _ in range(2):
        made = client.hashed(context, c.CALG_SHA_256, b"password")
        keys.append(client.handle("CryptDeriveKey", context, c.CALG_AES_256, made, 1))
        assert client.refused("CryptHashData", made, b"x", 1, 0) == c.NTE_BAD_HASH_STATE
    blobs = [_blob(client, key, c.PLAINTEXTKEYBLOB) for key in keys]
    assert blobs[0] == blobs[1]
    assert hashlib.sha256(b"password").digest() == blobs[0][12:]
    made = client.hashed(context, c.CALG_SHA, b"password")
    out = ctypes.byref(ctypes.c_size_t())
    refused = client.refused("CryptDeriveKey", context, c.CALG_SHA, made, 0, out)
    assert refused == c.NTE_BAD_ALGID


def test_key_bytes_are_overwritten(client: Client, fresh_provider: object) -> None:
    """Destroying a key overwrites its bytes, and so does releasing its context."""
    from csptrace.softcsp.objects import Key

    context = client.acquire()
    keys = [client.plaintext_key(context, c.CALG_AES_128, DATA[1:17]) for _ in range(2)]
    found = [fresh_provider.table.live[key] for key in keys]  # type: ignore[attr-defined]
    assert all(isinstance(key, Key) and key.material == DATA[1:17] for key in found)
    client.CryptDestroyKey(keys[0])
    client.CryptReleaseContext(context, 0)
    assert [bytes(16)] * 2 == [bytes(key.material) for key in found]


def test_nothing_secret_is_printed(client: Client, fresh_provider: object) -> None:
    """No repr of an object or error shows key bytes or numbers."""
    from csptrace.softcsp.errors import CspError

    context = client.acquire()
    client.plaintext_key(context, c.CALG_AES_128, b"SECRETSECRETSECR")
    pair = client.handle("CryptGenKey", context, c.AT_SIGNATURE, RSA_1024 | 1)
    table = fresh_provider.table.live  # type: ignore[attr-defined]
    printed = " ".join(map(repr, table.values())) + repr(table[pair].rsa)
    assert "SECRET" not in printed
    assert str(table[pair].rsa.private.p) not in printed + repr(table[pair].rsa.private)
    assert str(CspError(c.NTE_BAD_KEY)) == "NTE_BAD_KEY"
    assert str(CspError(0x1234)) == "error 0x1234"
