"""Scripted sequences: what the documentation and its example programs do with the API.

Sources: the example programs under https://learn.microsoft.com/windows/win32/seccrypto/
(example-c-program-...), and the remarks of the wincrypt.h reference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from differential_cases import (
    CIPHERS,
    HASHES,
    KEY_BYTES,
    plaintext_blob,
    private_blob,
    public_blob,
    rsa_encrypted,
    simple_blob,
)

from csptrace.softcsp import constants as c

if TYPE_CHECKING:
    from differential_cases import Call

TEXT = b"This is the message to be encrypted and decrypted, in several pieces.".hex()


def _acquire(
    name: str = ">p", provider: str = c.MS_ENH_RSA_AES_PROV, kind: int = c.PROV_RSA_AES
) -> Call:
    flags = c.CRYPT_VERIFYCONTEXT
    return ["CryptAcquireContextW", name, None, ["s", provider], kind, flags]


def _import(blob: str, name: str, flags: int = c.CRYPT_EXPORTABLE, wrapper: Any = 0) -> Call:
    return ["CryptImportKey", "$p", ["b", blob], len(blob) // 2, wrapper, flags, name]


def _hashed(algid: int, name: str = "h", key: Any = 0) -> list[Call]:
    return [
        ["CryptCreateHash", "$p", algid, key, 0, f">{name}"],
        ["CryptHashData", f"${name}", ["b", TEXT], len(TEXT) // 2, 0],
    ]


def _value(name: str = "h") -> Call:
    return ["CryptGetHashParam", f"${name}", c.HP_HASHVAL, ["out", 64], ["n", 64], 0]


def _encrypt(key: str, data: str, kept: str, *, final: int = 1) -> Call:
    length = len(data) // 2
    room = length + 16
    place: list[Any] = ["io", data, room, kept]
    return ["CryptEncrypt", f"${key}", 0, final, 0, place, ["n", length], room]


def _decrypt(key: str, kept: str, *, final: int = 1) -> Call:
    return ["CryptDecrypt", f"${key}", 0, final, 0, ["io*", kept, 200], ["n*", kept]]


def _number(key: str, param: int, value: int) -> Call:
    data = value.to_bytes(4, "little").hex()
    return ["CryptSetKeyParam", f"${key}", param, ["b", data], 0]


def _hashes() -> list[Call]:
    """Hash a message with every algorithm, in one piece and in two, and duplicate in between."""
    calls = [_acquire()]
    for algid in HASHES:
        name = f"h{algid}"
        twin = f"h{algid}b"
        calls += _hashed(algid, name)
        calls.append(["CryptDuplicateHash", f"${name}", None, 0, f">{twin}"])
        calls.append(["CryptHashData", f"${name}", ["b", TEXT], len(TEXT) // 2, 0])
        for param in (c.HP_ALGID, c.HP_HASHSIZE):
            calls.append(["CryptGetHashParam", f"${name}", param, ["out", 4], ["n", 4], 0])
        calls += [_value(name), _value(name), _value(twin)]
        calls.append(["CryptHashData", f"${name}", ["b", "61"], 1, 0])
        calls.append(["CryptDestroyHash", f"${name}"])
    return calls


def _passwords() -> list[Call]:
    """Derive a key of every cipher from a hashed password and encrypt with it."""
    calls = [_acquire()]
    for place, (algid, digest) in enumerate((a, d) for a in CIPHERS for d in HASHES):
        key, made, kept = f"k{place}", f"h{place}", f"b{place}"
        calls += _hashed(digest, made)
        calls.append(["CryptDeriveKey", "$p", algid, f"${made}", c.CRYPT_EXPORTABLE, f">{key}"])
        calls.append(
            ["CryptExportKey", f"${key}", 0, c.PLAINTEXTKEYBLOB, 0, ["out", 60], ["n", 60]]
        )
        calls += [_encrypt(key, TEXT, kept), _decrypt(key, kept)]
        calls += [["CryptDestroyKey", f"${key}"], ["CryptDestroyHash", f"${made}"]]
    return calls


def _modes() -> list[Call]:
    """Encrypt a long message in pieces, in every mode, with an initialization vector."""
    calls = [_acquire()]
    for algid in (one for one in CIPHERS if one != c.CALG_RC4):
        for mode in (c.CRYPT_MODE_CBC, c.CRYPT_MODE_ECB, c.CRYPT_MODE_CFB):
            key = f"k{algid}x{mode}"
            blob = plaintext_blob(algid, bytes(range(KEY_BYTES[algid][0])))
            calls += [
                _import(blob, f">{key}"),
                _number(key, c.KP_MODE, mode),
                ["CryptSetKeyParam", f"${key}", c.KP_IV, ["b", "0f" * 16], 0],
                _encrypt(key, "11" * 32, "b1", final=0),
                ["CryptDuplicateKey", f"${key}", None, 0, f">{key}d"],
                _encrypt(key, "22" * 16, "b2", final=0),
                _encrypt(key, "33" * 5, "b3"),
                _encrypt(f"{key}d", "22" * 16, "b4", final=0),
                _decrypt(key, "b1", final=0),
                _decrypt(key, "b2", final=0),
                _decrypt(key, "b3"),
            ]
            for param in (c.KP_IV, c.KP_MODE, c.KP_PADDING, c.KP_BLOCKLEN, c.KP_KEYLEN):
                calls.append(["CryptGetKeyParam", f"${key}", param, ["out", 16], ["n", 16], 0])
    return calls


def _macs() -> list[Call]:
    """Authenticate a message: MAC with every block cipher, HMAC with every hash."""
    calls = [_acquire()]
    for algid in (c.CALG_DES, c.CALG_3DES, c.CALG_AES_128, c.CALG_AES_256):
        blob = plaintext_blob(algid, bytes(range(KEY_BYTES[algid][0])))
        calls.append(_import(blob, f">k{algid}"))
        calls += [*_hashed(c.CALG_MAC, f"h{algid}", f"$k{algid}"), _value(f"h{algid}")]
    calls.append(_import(plaintext_blob(c.CALG_RC4, bytes(range(16))), ">kh"))
    for algid in HASHES[:5]:
        name = f"h{algid}"
        info = ["hmac", algid, "", ""]
        calls += [
            ["CryptCreateHash", "$p", c.CALG_HMAC, "$kh", 0, f">{name}"],
            ["CryptSetHashParam", f"${name}", c.HP_HMAC_INFO, info, 0],
            ["CryptHashData", f"${name}", ["b", TEXT], len(TEXT) // 2, 0],
            ["CryptHashSessionKey", f"${name}", "$kh", c.CRYPT_LITTLE_ENDIAN],
            _value(name),
        ]
    return calls


def _signatures() -> list[Call]:
    """Sign and verify with every hash, with and without its object identifier."""
    blob = private_blob(1024, c.CALG_RSA_SIGN)
    calls = [_acquire(), _import(blob, ">krpair")]
    calls.append(_import(public_blob(1024, c.CALG_RSA_SIGN), ">krpublic"))
    for algid in HASHES:
        for flags in (0, c.CRYPT_NOHASHOID):
            name, kept = f"h{algid}x{flags}", f"s{algid}x{flags}"
            calls += _hashed(algid, name)
            calls.append(
                ["CryptSignHashW", f"${name}", 2, None, flags, ["out", 128, kept], ["n", 128]]
            )
            for key in ("$krpublic", "$krpair"):
                signature = [["kept", kept], ["size*", kept]]
                calls.append(["CryptVerifySignatureW", f"${name}", *signature, key, None, flags])
            wrong = ["b", "5a" * 128]
            calls.append(["CryptVerifySignatureA", f"${name}", wrong, 128, "$krpair", None, flags])
    for kind in (c.PUBLICKEYBLOB, c.PRIVATEKEYBLOB):
        calls.append(["CryptExportKey", "$krpair", 0, kind, 0, None, ["n", 0]])
        calls.append(["CryptExportKey", "$krpair", 0, kind, 0, ["out", 800], ["n", 800]])
    return calls


def _exchange() -> list[Call]:
    """Take session keys out of SIMPLEBLOBs, and decrypt with an exchange pair."""
    calls = [_acquire(), _import(private_blob(1024, c.CALG_RSA_KEYX), ">krpair")]
    for algid in CIPHERS:
        blob = simple_blob(1024, algid, bytes(range(KEY_BYTES[algid][0])))
        key = f"k{algid}"
        calls.append(_import(blob, f">{key}", wrapper="$krpair"))
        calls.append(
            ["CryptExportKey", f"${key}", 0, c.PLAINTEXTKEYBLOB, 0, ["out", 60], ["n", 60]]
        )
        calls.append(
            ["CryptExportKey", f"${key}", "$krpair", c.SIMPLEBLOB, 0, ["out", 300], ["n", 300]]
        )
    secret = rsa_encrypted(1024, b"secret").hex()
    calls.append(["CryptDecrypt", "$krpair", 0, 1, 0, ["io", secret, 128], ["n", 128]])
    calls.append(["CryptEncrypt", "$krpair", 0, 1, 0, ["io", "61" * 6, 128], ["n", 6], 128])
    calls.append(["CryptEncrypt", "$krpair", 0, 1, 0, ["io", "61" * 118, 128], ["n", 118], 128])
    return calls


def _containers() -> list[Call]:
    """Make a container, keep pairs in it, find them again, delete it while it is open."""

    def acquire(name: str, flags: int, container: str = "{}Mine") -> Call:
        return ["CryptAcquireContextA", name, ["s", container], None, c.PROV_RSA_AES, flags]

    blob = private_blob(512, c.CALG_RSA_SIGN)
    export = ["CryptExportKey", "$kruser", 0, c.PUBLICKEYBLOB, 0, ["out", 84], ["n", 84]]
    return [
        acquire(">p0", 0),
        acquire(">p", c.CRYPT_NEWKEYSET),
        acquire(">p0", c.CRYPT_NEWKEYSET),
        acquire(">p0", c.CRYPT_NEWKEYSET, "{}mine"),
        ["CryptGetUserKey", "$p", c.AT_SIGNATURE, ">krnone"],
        _import(blob, ">krpair"),
        ["CryptGetUserKey", "$p", c.AT_SIGNATURE, ">kruser"],
        export,
        ["CryptReleaseContext", "$p", 0],
        acquire(">p2", 0, "{}MINE"),
        ["CryptGetUserKey", "$p2", c.AT_SIGNATURE, ">kruser"],
        export,
        ["CryptGetProvParam", "$p2", c.PP_CONTAINER, ["out", 100], ["n", 100], 0],
        acquire(">p3", c.CRYPT_DELETEKEYSET),
        ["CryptGetUserKey", "$p2", c.AT_SIGNATURE, ">krafter"],
        acquire(">p4", 0),
        acquire(">p4", c.CRYPT_DELETEKEYSET),
    ]


def _references() -> list[Call]:
    """Count references; the last release fails with flags and releases all the same."""
    random = ["CryptGenRandom", "$p", 4, ["out", 4]]
    return [
        _acquire(),
        ["CryptContextAddRef", "$p", None, 0],
        ["CryptReleaseContext", "$p", 7],
        random,
        *_hashed(c.CALG_SHA1),
        ["CryptReleaseContext", "$p", 7],
        random,
        ["CryptHashData", "$h", ["b", "61"], 1, 0],
        ["CryptDestroyHash", "$h"],
        ["CryptReleaseContext", "$p", 0],
        ["CryptReleaseContext", 0, 0],
        ["CryptReleaseContext", 0, 7],
        ["CryptReleaseContext", 1, 0],
    ]


def _defaults() -> list[Call]:
    """Ask for the default providers of the machine and of the user, who has none."""
    user = c.CRYPT_USER_DEFAULT
    ask = [
        *("CryptGetDefaultProviderA", c.PROV_RSA_AES, None, user),
        *(["chars", 100], ["nc", 100]),
    ]
    return [
        ask,
        ["CryptGetDefaultProviderW", *ask[1:3], c.CRYPT_MACHINE_DEFAULT, *ask[4:]],
    ]


SCRIPTS: dict[str, list[Call]] = {
    "hashes": _hashes(),
    "passwords": _passwords(),
    "modes": _modes(),
    "macs": _macs(),
    "signatures": _signatures(),
    "exchange": _exchange(),
    "containers": _containers(),
    "references": _references(),
    "defaults": _defaults(),
}
