"""Known answers: published vectors of every algorithm, and published answers of real CryptoAPI."""

from __future__ import annotations

import ctypes
import hmac
from typing import TYPE_CHECKING

import pytest

from csptrace.softcsp import ciphers, digests, rsakeys
from csptrace.softcsp import constants as c

if TYPE_CHECKING:
    from conftest import Client

COUNTING = bytes(i & 0xFF for i in range(2048))


def _digest(algid: int, data: bytes) -> str:
    made = digests.DIGESTS[algid]()
    made.update(data)
    return made.digest().hex()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "8350e5a3e24c153df2275c9f80692773"),
        (b"a", "32ec01ec4a6dac72c0ab96fb34c0b5d1"),
        (b"abc", "da853b0d3f88d99b30283a69e6ded6bb"),
        (b"message digest", "ab4f496bfb2a530b219ff33031fe06b0"),
        (b"abcdefghijklmnopqrstuvwxyz", "4e8ddff3650292ab5a4108c3aa47940b"),
    ],
)
def test_md2_gives_the_answers_of_rfc_1319(data: bytes, expected: str) -> None:
    """MD2 gives the answers of RFC 1319, A.5."""
    assert expected == _digest(c.CALG_MD2, data)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "31d6cfe0d16ae931b73c59d7e0c089c0"),
        (b"a", "bde52cb31de33e46245e05fbdbd6fb24"),
        (b"abc", "a448017aaf21d8525fc10ae87aa6729d"),
        (b"message digest", "d9130a8164549fe818874806e1c7014b"),
        (b"1234567890" * 8, "e33b4ddc9c38f2199c3e7b164fcc0536"),
    ],
)
def test_md4_gives_the_answers_of_rfc_1320(data: bytes, expected: str) -> None:
    """MD4 gives the answers of RFC 1320, A.5."""
    assert expected == _digest(c.CALG_MD4, data)


@pytest.mark.parametrize("algid", [c.CALG_MD2, c.CALG_MD4])
def test_hashes_do_not_depend_on_how_data_is_cut(algid: int) -> None:
    """The handwritten hashes give the same value however the data is cut into pieces."""
    for size in (1, 7, 16, 63, 64, 65):
        made = digests.DIGESTS[algid]()
        for start in range(0, len(COUNTING), size):
            made.update(COUNTING[start : start + size])
        assert _digest(algid, COUNTING) == made.digest().hex()


@pytest.mark.parametrize(
    ("key", "bits", "plain", "expected"),
    [
        ("0000000000000000", 63, "0000000000000000", "ebb773f993278eff"),
        ("ffffffffffffffff", 64, "ffffffffffffffff", "278b27e42e2f0d49"),
        ("3000000000000000", 64, "1000000000000001", "30649edf9be7d2c2"),
        ("88", 64, "0000000000000000", "61a8a244adacccf0"),
        ("88bca90e90875a", 64, "0000000000000000", "6ccf4308974c267f"),
        ("88bca90e90875a7f0f79c384627bafb2", 64, "0000000000000000", "1a807d272bbe5db1"),
        ("88bca90e90875a7f0f79c384627bafb2", 128, "0000000000000000", "2269552ab0f85ca6"),
    ],
)
def test_rc2_gives_the_answers_of_rfc_2268(key: str, bits: int, plain: str, expected: str) -> None:
    """RC2 gives the answers of RFC 2268, 5, both ways."""
    cipher = ciphers.block_cipher(c.CALG_RC2, bytes.fromhex(key), bits)
    assert expected == cipher.crypt(bytes.fromhex(plain), encrypt=True).hex()
    assert plain == cipher.crypt(bytes.fromhex(expected), encrypt=False).hex()


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("0102030405", "b2396305f03dc027ccc3524a0a1118a8"),
        ("01020304050607", "293f02d47f37c9b633f2af5285feb46b"),
        ("0102030405060708090a0b0c0d0e0f10", "9ac7cc9a609d1ef7b2932899cde41b97"),
    ],
)
def test_rc4_gives_the_answers_of_rfc_6229(key: str, expected: str) -> None:
    """RC4 gives the key streams of RFC 6229."""
    assert expected == ciphers.rc4_stream(bytes.fromhex(key)).update(bytes(16)).hex()


def test_both_forms_of_rc4_agree() -> None:
    """A key of a length OpenSSL refuses gives what the same key repeated gives there."""
    short = ciphers.rc4_stream(b"sixbyt")
    repeated = ciphers.rc4_stream(b"sixbyt" * 4)
    assert repeated.update(COUNTING) == short.update(COUNTING)


@pytest.mark.parametrize(
    ("algid", "key", "plain", "expected"),
    [
        (c.CALG_AES_128, "000102030405060708090a0b0c0d0e0f",
         "00112233445566778899aabbccddeeff", "69c4e0d86a7b0430d8cdb78070b4c55a"),
        (c.CALG_AES_192, "000102030405060708090a0b0c0d0e0f1011121314151617",
         "00112233445566778899aabbccddeeff", "dda97ca4864cdfe06eaf70a0ec0d7191"),
        (c.CALG_AES_256, "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
         "00112233445566778899aabbccddeeff", "8ea2b7ca516745bfeafc49904b496089"),
        (c.CALG_DES, "133457799bbcdff1", "0123456789abcdef", "85e813540f0ab405"),
        (c.CALG_3DES, "0123456789abcdef23456789abcdef01456789abcdef0123",
         "5468652071756663", "a826fd8ce53b855f"),
    ],
)  # fmt: skip
def test_block_ciphers_give_their_published_answers(
    algid: int, key: str, plain: str, expected: str
) -> None:
    """AES (FIPS 197, C), DES and triple DES (SP 800-67, B.1) give their published answers."""
    cipher = ciphers.block_cipher(algid, bytes.fromhex(key), 0)
    assert expected == cipher.crypt(bytes.fromhex(plain), encrypt=True).hex()
    assert plain == cipher.crypt(bytes.fromhex(expected), encrypt=False).hex()


@pytest.mark.parametrize("algid", sorted(ciphers.BLOCK_SIZES))
@pytest.mark.parametrize("mode", [c.CRYPT_MODE_CBC, c.CRYPT_MODE_ECB, c.CRYPT_MODE_CFB])
def test_a_stream_can_be_copied_in_the_middle(algid: int, mode: int) -> None:
    """A copied message goes on as the original does, and pieces give what the whole gives."""
    lengths = {c.CALG_AES_192: 24, c.CALG_AES_256: 32, c.CALG_DES: 8, c.CALG_3DES: 24}
    cipher = ciphers.block_cipher(algid, COUNTING[1 : 1 + lengths.get(algid, 16)], 128)
    iv = COUNTING[7 : 7 + cipher.block]
    for encrypt in (True, False):
        whole = ciphers.block_stream(cipher, mode, iv, encrypt=encrypt).update(COUNTING[:96])
        stream = ciphers.block_stream(cipher, mode, iv, encrypt=encrypt)
        first = stream.update(COUNTING[:48])
        twin = stream.copy()
        assert whole == first + stream.update(COUNTING[48:96])
        assert whole == first + twin.update(COUNTING[48:96])


@pytest.mark.parametrize(
    ("algid", "expected"),
    [
        (c.CALG_MD2, "12cb1b08c848a4a9aaf3f19ffc292868"),
        (c.CALG_MD4, "8e2a58bff2f5262379d292361b23e381"),
        (c.CALG_MD5, "1576a94d6cb334dd126cb1c27f19e0f2"),
        (c.CALG_SHA, "f10ccfde60c17db26e7d85d35665c7661dbbeb2c"),
        (c.CALG_SHA_256, "10fc3c51a152e90e5b90319b601d92ccf37290ef53c35ff92507687d8a911a08"),
        (c.CALG_SHA_384, ("98d33f890b23334461325a7ca30389b511d741c8546b120c4015b62a0343e564"
                         "7f101eae47a939056f406094d6ad8055")),
        (c.CALG_SHA_512, ("37860e7d25d9f9843e3dc71395734204fd13ad233916325f993e3cee3f1136f9"
                         "c9660870cc49d8e07da1576271a6c9a42460fcde9db2f1d2c2fb2dbfb7f481d4")),
    ],
)  # fmt: skip
def test_hashes_give_the_answers_of_real_providers(
    client: Client, algid: int, expected: str
) -> None:
    """Hashes of 2048 counting bytes are those in the conformance tests of Wine."""
    made = client.hashed(client.acquire(), algid, COUNTING)
    assert expected == client.value(made).hex()


@pytest.mark.parametrize(
    ("algid", "expected"),
    [
        (c.CALG_3DES_112, "8e0c3ca305885f7a32a1065264d2441c"),
        (c.CALG_3DES, "7bbadda239d37bb3c751814153e8cfeb"),
    ],
)
def test_derived_keys_give_the_answers_of_real_providers(
    client: Client, algid: int, expected: str
) -> None:
    """Triple DES keys derived from MD2 encrypt as in the conformance tests of Wine."""
    key = client.derived(client.enhanced(), algid)
    assert expected == client.encrypt(key, COUNTING[:13]).hex()


def test_derived_des_key_gives_the_answer_of_real_providers(client: Client) -> None:
    """A DES key derived from MD2 encrypts in ECB as in the conformance tests of Wine."""
    key = client.derived(client.enhanced(), c.CALG_DES)
    client.set_key(key, c.KP_MODE, c.CRYPT_MODE_ECB)
    assert client.encrypt(key, COUNTING[:13]).hex() == "58864246654b9262cf0f6537437a82b9"


@pytest.mark.parametrize(
    ("algid", "expected"),
    [
        (c.CALG_AES_128, ("fe853be1f5e15875d5a974e309eaa5042335a23b5cf16c6fb9cd64063e4183ef"
                         "2afeeab56c1720798c513e56ede14768")),
        (c.CALG_AES_192, ("6bf0fd32eec60613a8e63c8185b82ea1d43be822a5744abe9dcfcc3726195ad1"
                         "7f76bf9428ce27216187ebb98ba8b457")),
        (c.CALG_AES_256, ("2057170b1776d83b26908b4cf2007933292b139ce29509c1cd20872232709d75"
                         "9a94f5765cb1622ce1767c8673e67a23")),
    ],
)  # fmt: skip
def test_derived_aes_keys_give_the_answers_of_real_providers(
    client: Client, algid: int, expected: str
) -> None:
    """AES keys derived from MD2, with their expansion, encrypt as in Wine's tests."""
    key = client.derived(client.acquire(), algid)
    plain = b"AES Test With 2 Blocks Of Data.\0"
    assert expected == client.encrypt(key, plain).hex()
    assert plain == client.decrypt(key, bytes.fromhex(expected))


def test_rc2_modes_give_the_answers_of_real_providers(client: Client) -> None:
    """A 40-bit RC2 key with its salt encrypts in ECB, CBC and CFB as in Wine's tests."""
    key = client.derived(client.enhanced(), c.CALG_RC2, 40)
    assert bytes(11) == client.data("CryptGetKeyParam", key, c.KP_SALT, flags=(0,))
    client.set_key(key, c.KP_MODE, c.CRYPT_MODE_ECB)
    ecb = "c09ae42f0a476711f2b25d5f08ff49a4453a6814ca18e5f4"
    assert ecb == client.encrypt(key, COUNTING[:23]).hex()
    client.set_key(key, c.KP_MODE, c.CRYPT_MODE_CBC)
    cbc = "c09ae42f0a47671110f5da614e3dabc09785011297a4f7d3"
    assert cbc == client.encrypt(key, COUNTING[:23]).hex()
    client.set_key(key, c.KP_MODE, c.CRYPT_MODE_CFB)
    first = client.encrypt(key, COUNTING[:16], final=False)
    last = client.encrypt(key, COUNTING[16:23])
    assert (first + last).hex() == "29b567850b1bec07672da1a41a47246a54e1e092f90ef6eb"
    plain = client.decrypt(key, (first + last)[:8], final=False)
    assert COUNTING[:23] == plain + client.decrypt(key, (first + last)[8:])


def test_an_unknown_mode_is_taken_and_refused_later(client: Client) -> None:
    """OFB can be set, and encrypting then fails with NTE_BAD_ALGID, as real providers do."""
    key = client.derived(client.enhanced(), c.CALG_RC2, 40)
    client.set_key(key, c.KP_MODE, c.CRYPT_MODE_OFB)
    buffer, size = ctypes.create_string_buffer(24), ctypes.c_uint32(23)
    arguments = (key, 0, 1, 0, buffer, ctypes.byref(size), 24)
    assert client.refused("CryptEncrypt", *arguments) == c.NTE_BAD_ALGID


def test_mac_gives_the_answer_of_real_providers(client: Client) -> None:
    """CALG_MAC with a 40-bit RC2 key gives the answer in Wine's tests."""
    context = client.enhanced()
    key = client.derived(context, c.CALG_RC2, 40)
    made = client.hashed(context, c.CALG_MAC, COUNTING[:256], key)
    assert client.value(made).hex() == "b7a246e91131e0ad"


class HmacInfo(ctypes.Structure):
    """HMAC_INFO of wincrypt.h."""

    _fields_ = (
        ("HashAlgid", ctypes.c_uint32),
        ("pbInnerString", ctypes.c_void_p),
        ("cbInnerString", ctypes.c_uint32),
        ("pbOuterString", ctypes.c_void_p),
        ("cbOuterString", ctypes.c_uint32),
    )


def test_hmac_gives_the_answer_of_real_providers(client: Client) -> None:
    """CALG_HMAC with a 56-bit RC2 key and MD5 gives the answer in Wine's tests."""
    context = client.enhanced()
    key = client.derived(context, c.CALG_RC2, 56)
    made = client.handle("CryptCreateHash", context, c.CALG_HMAC, key, 0)
    info = HmacInfo(c.CALG_MD5)
    client.CryptSetHashParam(made, c.HP_HMAC_INFO, ctypes.byref(info), 0)
    client.CryptHashData(made, COUNTING, 256, 0)
    assert client.value(made).hex() == "1a7d49c59b2d0b9ccf106bb67d0f1332"


@pytest.mark.parametrize("length", [1, 16, 64, 65, 200])
@pytest.mark.parametrize(
    ("algid", "name"),
    [(c.CALG_MD5, "md5"), (c.CALG_SHA, "sha1"), (c.CALG_SHA_256, "sha256"),
     (c.CALG_SHA_512, "sha512")],
)  # fmt: skip
def test_hmac_is_the_one_of_rfc_2104(client: Client, algid: int, name: str, length: int) -> None:
    """An HMAC with an imported key of any length is that of Python's own hmac module."""
    context = client.acquire()
    key = client.plaintext_key(context, c.CALG_RC2, COUNTING[:length], c.CRYPT_IPSEC_HMAC_KEY)
    made = client.handle("CryptCreateHash", context, c.CALG_HMAC, key, 0)
    client.CryptSetHashParam(made, c.HP_HMAC_INFO, ctypes.byref(HmacInfo(algid)), 0)
    client.CryptHashData(made, b"data", 4, 0)
    assert hmac.digest(COUNTING[:length], b"data", name) == client.value(made)


def test_hmac_takes_other_pad_strings(client: Client) -> None:
    """HMAC_INFO's strings replace the pads: the usual ones given explicitly change nothing."""
    context = client.acquire()
    key = client.plaintext_key(context, c.CALG_AES_128, COUNTING[:16])
    values = []
    inner, outer = ctypes.create_string_buffer(b"6" * 64), ctypes.create_string_buffer(b"\\" * 64)
    for info in (
        HmacInfo(c.CALG_SHA),
        HmacInfo(c.CALG_SHA, ctypes.addressof(inner), 64, ctypes.addressof(outer), 64),
    ):
        made = client.handle("CryptCreateHash", context, c.CALG_HMAC, key, 0)
        client.CryptSetHashParam(made, c.HP_HMAC_INFO, ctypes.byref(info), 0)
        client.CryptHashData(made, b"data", 4, 0)
        values.append(client.value(made))
    assert values[0] == values[1] == hmac.digest(COUNTING[:16], b"data", "sha1")


@pytest.mark.parametrize("bits", [384, 512, 1024])
def test_generated_rsa_pairs_work(bits: int) -> None:
    """A generated pair of any length signs, verifies, encrypts, decrypts and survives PEM."""
    pair = rsakeys.generate(bits)
    assert bits == pair.n.bit_length()
    signature = pair.sign(b"x" * 20)
    assert pair.public().verify(signature, b"x" * 20)
    assert not pair.verify(signature, b"y" * 20)
    assert pair.decrypt(pair.public().encrypt(b"key")) == b"key"
    assert pair == rsakeys.from_pem(rsakeys.to_pem(pair, b"pin"), b"pin")


def test_signatures_are_those_of_the_cryptography_package() -> None:
    """A signature read big-endian is a PKCS #1 v1.5 signature that others accept."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding, utils

    from csptrace.softcsp.algorithms import DIGEST_INFO

    pair = rsakeys.generate(1024)
    value = bytes.fromhex(_digest(c.CALG_SHA_256, b"data"))
    signature = pair.sign(DIGEST_INFO[c.CALG_SHA_256] + value)
    pair.library_key.public_key().verify(
        signature[::-1], value, padding.PKCS1v15(), utils.Prehashed(hashes.SHA256())
    )
