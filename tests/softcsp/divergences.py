"""Where softcsp answers differently from the advapi32 it is compared with, and why.

Each entry is shown by its `demonstration`, a sequence whose last call diverges. The report
``reports/conformance/softcsp.md`` is made from this list.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from differential_cases import plaintext_blob, private_blob, public_blob, rsa_encrypted, simple_blob

from csptrace.softcsp import constants as c

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from differential_cases import Call

CRASHED = "crashed"


@dataclass(frozen=True)
class Divergence:
    """One divergence.

    Attributes:
        name: what the tests and the report call it.
        functions: where it occurs, without A or W.
        softcsp: what softcsp does.
        genuine: what the other does.
        reason: why softcsp does not do the same.
        demonstration: a sequence whose last call shows it.
        ours: softcsp's error codes (0 is success).
        theirs: the other's; None is any.
        same_code: both answer with the same code and differ in their outputs.
        content: what softcsp's output begins with, one of these.
        outputs: softcsp's outputs, exactly.
        arguments: place in the call → values that it must have.
        parts_ways: the two are in different states afterwards.

    """

    name: str
    functions: Sequence[str]
    softcsp: str
    genuine: str
    reason: str
    demonstration: list[Call]
    ours: Sequence[int | str] = ()
    theirs: Sequence[int | str] | None = None
    same_code: bool = False
    content: tuple[str, ...] = ()
    outputs: list[Any] | None = None
    arguments: Mapping[int, Sequence[Any]] = field(default_factory=dict)
    parts_ways: bool = False


def _context(
    provider: str = c.MS_ENH_RSA_AES_PROV, kind: int = c.PROV_RSA_AES, name: str = ">p"
) -> Call:
    return ["CryptAcquireContextA", name, None, ["s", provider], kind, c.CRYPT_VERIFYCONTEXT]


def _import(blob: str, flags: int = c.CRYPT_EXPORTABLE, name: str = ">k", wrapper: Any = 0) -> Call:
    return ["CryptImportKey", "$p", ["b", blob], len(blob) // 2, wrapper, flags, name]


_AES = plaintext_blob(c.CALG_AES_128, bytes(range(16)))
_RC4 = plaintext_blob(c.CALG_RC4, bytes(range(16)))
_PAIR = private_blob(512, c.CALG_RSA_KEYX)
_HMAC_SHA_512 = hmac.digest(bytes(range(16)), b"", "sha512").hex()
_CIPHERTEXT = rsa_encrypted(512, b"text").hex()

DIVERGENCES: tuple[Divergence, ...] = (
    Divergence(
        name="refused key length",
        functions=("CryptGenKey", "CryptDeriveKey", "CryptImportKey"),
        softcsp="NTE_BAD_FLAGS where the length comes in the flags, NTE_BAD_DATA where it comes in "
        "a blob",
        genuine="NTE_BAD_DATA, but NTE_BAD_FLAGS for DES and triple DES, wherever the length is",
        reason="the documented codes: the flags, or the blob, hold a value that is not valid",
        ours=(c.NTE_BAD_FLAGS, c.NTE_BAD_DATA),
        theirs=(c.NTE_BAD_DATA, c.NTE_BAD_FLAGS),
        demonstration=[_context(), ["CryptGenKey", "$p", c.CALG_AES_128, 100 << 16, ">k"]],
    ),
    Divergence(
        name="export of a key that is not exportable",
        functions=("CryptExportKey",),
        softcsp="NTE_BAD_KEY_STATE for SIMPLEBLOB and PLAINTEXTKEYBLOB",
        genuine="hands the key out",
        reason="documented: NTE_BAD_KEY_STATE; CRYPT_EXPORTABLE would mean nothing otherwise",
        ours=(c.NTE_BAD_KEY_STATE,),
        theirs=(0, c.ERROR_MORE_DATA),
        arguments={3: (c.SIMPLEBLOB, c.PLAINTEXTKEYBLOB)},
        demonstration=[
            _context(),
            _import(_AES, flags=0),
            ["CryptExportKey", "$k", 0, c.PLAINTEXTKEYBLOB, 0, ["out", 28], ["n", 28]],
        ],
    ),
    Divergence(
        name="decryption with a public key",
        functions=("CryptDecrypt", "CryptImportKey"),
        softcsp="NTE_BAD_KEY; NTE_BAD_PUBLIC_KEY for a blob",
        genuine="computes with what it has, and finds NTE_BAD_DATA",
        reason="documented: NTE_BAD_KEY, not a valid key for the operation",
        ours=(c.NTE_BAD_KEY, c.NTE_BAD_PUBLIC_KEY),
        theirs=(c.NTE_BAD_DATA,),
        demonstration=[
            _context(),
            _import(public_blob(512, c.CALG_RSA_KEYX), name=">kr"),
            ["CryptDecrypt", "$kr", 0, 1, 0, ["io", _CIPHERTEXT, 64], ["n", 64]],
        ],
    ),
    Divergence(
        name="HMAC with an RSA key",
        functions=("CryptCreateHash",),
        softcsp="NTE_BAD_KEY",
        genuine="takes the key, whose bytes are then all zero",
        reason="documented: NTE_BAD_KEY, the key must be a session key",
        ours=(c.NTE_BAD_KEY,),
        theirs=(0,),
        arguments={2: (c.CALG_HMAC,)},
        parts_ways=True,
        demonstration=[
            _context(),
            _import(_PAIR, name=">kr"),
            ["CryptCreateHash", "$p", c.CALG_HMAC, "$kr", 0, ">h"],
        ],
    ),
    Divergence(
        name="RSA encryption into too little room",
        functions=("CryptEncrypt",),
        softcsp="ERROR_MORE_DATA, and says how much room is needed",
        genuine="ERROR_MORE_DATA, the length unchanged",
        reason="documented: with ERROR_MORE_DATA the length needed is stored",
        ours=(c.ERROR_MORE_DATA,),
        same_code=True,
        demonstration=[
            _context(),
            _import(_PAIR, name=">kr"),
            ["CryptEncrypt", "$kr", 0, 1, 0, ["io", "61", 8], ["n", 1], 8],
        ],
    ),
    Divergence(
        name="flags of queries and exports",
        functions=("CryptGetProvParam", "CryptExportKey"),
        softcsp="NTE_BAD_FLAGS for flags that mean nothing there",
        genuine="ignores them",
        reason="documented: NTE_BAD_FLAGS",
        ours=(c.NTE_BAD_FLAGS,),
        demonstration=[
            _context(),
            ["CryptGetProvParam", "$p", c.PP_VERSION, ["out", 4], ["n", 4], 8],
        ],
    ),
    Divergence(
        name="unknown flags of CryptAcquireContext",
        functions=("CryptAcquireContext",),
        softcsp="NTE_BAD_FLAGS",
        genuine="ignores them",
        reason="documented: NTE_BAD_FLAGS",
        ours=(c.NTE_BAD_FLAGS,),
        theirs=(0, c.NTE_BAD_KEYSET),
        parts_ways=True,
        demonstration=[["CryptAcquireContextA", ">p", ["s", "{}x"], None, 24, 4]],
    ),
    Divergence(
        name="KP_IV of an RSA key",
        functions=("CryptGetKeyParam", "CryptSetKeyParam"),
        softcsp="NTE_BAD_TYPE",
        genuine="reads and writes as many bytes as the modulus has, past the key's own",
        reason="documented for block ciphers only; reading past an object is a defect",
        ours=(c.NTE_BAD_TYPE,),
        arguments={2: (c.KP_IV,)},
        demonstration=[
            _context(),
            _import(_PAIR, name=">kr"),
            ["CryptGetKeyParam", "$kr", c.KP_IV, ["out", 64], ["n", 64], 0],
        ],
    ),
    Divergence(
        name="verification with a session key",
        functions=("CryptVerifySignature",),
        softcsp="NTE_BAD_KEY",
        genuine="reads the session key as an RSA key, and crashes",
        reason="documented: NTE_BAD_KEY, not a valid public key",
        ours=(c.NTE_BAD_KEY,),
        theirs=(CRASHED,),
        demonstration=[
            _context(),
            _import(_AES),
            ["CryptCreateHash", "$p", c.CALG_SHA1, 0, 0, ">h"],
            ["CryptVerifySignatureA", "$h", ["b", "11" * 16], 16, "$k", None, 0],
        ],
    ),
    Divergence(
        name="opaque blobs",
        functions=("CryptImportKey", "CryptExportKey"),
        softcsp="has OPAQUEKEYBLOB, readable by the process that wrote it",
        genuine="NTE_BAD_TYPE",
        reason="documented as a blob type of session keys",
        ours=(0, c.NTE_BAD_DATA, c.NTE_BAD_ALGID, c.NTE_BAD_KEY, c.ERROR_MORE_DATA),
        theirs=(c.NTE_BAD_TYPE,),
        demonstration=[
            _context(),
            _import(_AES),
            ["CryptExportKey", "$k", 0, c.OPAQUEKEYBLOB, 0, ["out", 200], ["n", 200]],
        ],
    ),
    Divergence(
        name="blob type and algorithm that do not go together",
        functions=("CryptImportKey",),
        softcsp="NTE_BAD_ALGID",
        genuine="looks at the length first, and may take a public key as a session key",
        reason="documented: NTE_BAD_ALGID",
        ours=(c.NTE_BAD_ALGID,),
        theirs=(0, c.NTE_BAD_DATA, c.NTE_BAD_FLAGS),
        parts_ways=True,
        demonstration=[_context(), _import(plaintext_blob(c.CALG_RSA_KEYX, bytes(16)))],
    ),
    Divergence(
        name="signatures in the format of ANSI X9.31",
        functions=("CryptSignHash", "CryptVerifySignature"),
        softcsp="CRYPT_X931_FORMAT pads as ANSI X9.31 says, for the SHA family",
        genuine="ignores the flag",
        reason="documented: the padding of ANSI X9.31",
        ours=(0, c.NTE_BAD_SIGNATURE, c.NTE_BAD_ALGID),
        arguments={4: (c.CRYPT_X931_FORMAT,)},
        demonstration=[
            _context(),
            _import(private_blob(512, c.CALG_RSA_SIGN), name=">kr"),
            ["CryptCreateHash", "$p", c.CALG_SHA1, 0, 0, ">h"],
            ["CryptSignHashA", "$h", 2, None, c.CRYPT_X931_FORMAT, ["out", 64], ["n", 64]],
        ],
    ),
    Divergence(
        name="SIMPLEBLOB without hPubKey",
        functions=("CryptImportKey",),
        softcsp="decrypts it with the container's exchange pair",
        genuine="NTE_BAD_PUBLIC_KEY",
        reason="documented: the container's exchange pair is used",
        ours=(0, c.NTE_BAD_DATA, c.NTE_BAD_ALGID),
        theirs=(c.NTE_BAD_PUBLIC_KEY,),
        parts_ways=True,
        demonstration=[
            _context(),
            _import(_PAIR, name=">kr"),
            _import(simple_blob(512, c.CALG_AES_128, bytes(16))),
        ],
    ),
    Divergence(
        name="hash value asked for in too little room",
        functions=(
            "CryptHashData",
            "CryptHashSessionKey",
            "CryptEncrypt",
            "CryptDecrypt",
        ),
        softcsp="the hash is finished once its value was handed out",
        genuine="the question for its size, and a refusal with ERROR_MORE_DATA, finish it, so that "
        "more data is refused",
        reason="documented: the value ends the hash; asking for a size has no effect",
        ours=(0,),
        theirs=(c.NTE_BAD_HASH_STATE,),
        parts_ways=True,
        demonstration=[
            _context(),
            ["CryptCreateHash", "$p", c.CALG_SHA1, 0, 0, ">h"],
            ["CryptGetHashParam", "$h", c.HP_HASHVAL, None, ["n", 0], 0],
            ["CryptHashData", "$h", ["b", "61"], 1, 0],
        ],
    ),
    Divergence(
        name="private blob of a public key",
        functions=("CryptExportKey",),
        softcsp="NTE_BAD_KEY",
        genuine="writes a blob whose secret numbers are zero",
        reason="there is no private half to export",
        ours=(c.NTE_BAD_KEY,),
        theirs=(0, c.ERROR_MORE_DATA),
        arguments={3: (c.PRIVATEKEYBLOB,)},
        demonstration=[
            _context(),
            _import(public_blob(512, c.CALG_RSA_KEYX), name=">kr"),
            ["CryptExportKey", "$kr", 0, c.PRIVATEKEYBLOB, 0, ["out", 400], ["n", 400]],
        ],
    ),
    Divergence(
        name="session key blob of an RSA key",
        functions=("CryptExportKey",),
        softcsp="NTE_BAD_KEY",
        genuine="writes as many zero bytes as the modulus has, or fails to encrypt them",
        reason="documented: PLAINTEXTKEYBLOB and SIMPLEBLOB are for session keys",
        ours=(c.NTE_BAD_KEY,),
        theirs=(0, c.ERROR_MORE_DATA, c.NTE_BAD_DATA, c.NTE_BAD_LEN),
        arguments={3: (c.PLAINTEXTKEYBLOB, c.SIMPLEBLOB)},
        demonstration=[
            _context(),
            _import(_PAIR, name=">kr"),
            ["CryptExportKey", "$kr", 0, c.PLAINTEXTKEYBLOB, 0, ["out", 400], ["n", 400]],
        ],
    ),
    Divergence(
        name="40-bit keys imported without salt",
        functions=("CryptGetKeyParam",),
        softcsp="CRYPT_NO_SALT leaves an imported key of 40 bits without salt",
        genuine="gives it eleven zero bytes of salt all the same",
        reason="documented: no salt value gets allocated",
        same_code=True,
        outputs=["", 0],
        arguments={2: (c.KP_SALT,)},
        demonstration=[
            _context(),
            _import(plaintext_blob(c.CALG_RC4, b"12345"), flags=c.CRYPT_NO_SALT),
            ["CryptGetKeyParam", "$k", c.KP_SALT, ["out", 16], ["n", 16], 0],
        ],
    ),
    Divergence(
        name="signature that is no number of the key",
        functions=("CryptVerifySignature",),
        softcsp="NTE_BAD_SIGNATURE",
        genuine="NTE_FAIL where the signature as a number is not below the modulus",
        reason="documented: NTE_BAD_SIGNATURE",
        ours=(c.NTE_BAD_SIGNATURE,),
        theirs=(c.NTE_FAIL,),
        demonstration=[
            _context(),
            _import(public_blob(512, c.CALG_RSA_SIGN), name=">kr"),
            ["CryptCreateHash", "$p", c.CALG_SHA1, 0, 0, ">h"],
            ["CryptVerifySignatureA", "$h", ["b", "ff" * 64], 64, "$kr", None, 0],
        ],
    ),
    Divergence(
        name="keys derived from a short MAC",
        functions=("CryptDeriveKey",),
        softcsp="NTE_BAD_HASH where the value of a MAC is too short for the key",
        genuine="expands it with a hash function that it does not have, to undefined bytes",
        reason="the expansion is defined by the hash algorithm, and a MAC is none",
        ours=(c.NTE_BAD_HASH,),
        theirs=(0,),
        parts_ways=True,
        demonstration=[
            _context(),
            _import(plaintext_blob(c.CALG_DES, b"12345678")),
            ["CryptCreateHash", "$p", c.CALG_MAC, "$k", 0, ">h"],
            ["CryptDeriveKey", "$p", c.CALG_AES_256, "$h", 0, ">kd"],
        ],
    ),
    Divergence(
        name="encrypted private blob",
        functions=("CryptExportKey",),
        softcsp="encrypts a PRIVATEKEYBLOB with hExpKey",
        genuine="ignores hExpKey and writes the pair as plain text",
        reason="documented: the blob is encrypted with that key",
        ours=(0,),
        same_code=True,
        arguments={2: ("$k",), 3: (c.PRIVATEKEYBLOB,)},
        demonstration=[
            _context(),
            _import(_AES),
            _import(_PAIR, name=">kr"),
            ["CryptExportKey", "$kr", "$k", c.PRIVATEKEYBLOB, 0, ["out", 400], ["n", 400]],
        ],
    ),
    Divergence(
        name="HMAC of a hash that the provider does not have",
        functions=("CryptSetHashParam",),
        softcsp="NTE_BAD_ALGID",
        genuine="succeeds, and the hash is of no use",
        reason="documented: NTE_BAD_ALGID",
        ours=(c.NTE_BAD_ALGID,),
        theirs=(0,),
        arguments={2: (c.HP_HMAC_INFO,)},
        parts_ways=True,
        demonstration=[
            _context(c.MS_STRONG_PROV, c.PROV_RSA_FULL),
            _import(_RC4),
            ["CryptCreateHash", "$p", c.CALG_HMAC, "$k", 0, ">h"],
            ["CryptSetHashParam", "$h", c.HP_HMAC_INFO, ["hmac", c.CALG_SHA_256, "", ""], 0],
        ],
    ),
    Divergence(
        name="RSA lengths",
        functions=("CryptGetProvParam",),
        softcsp="every provider has RSA pairs of 384 to 16384 bits, 2048 where none is asked for",
        genuine="512 bits (Base provider) or 1024 where none is asked for; at most 1024 for the "
        "Base provider's exchange pair",
        reason="the default length of Windows since 2012; shorter ones are refused by today's "
        "peers",
        same_code=True,
        content=("0024", "00a4"),
        arguments={2: (c.PP_ENUMALGS, c.PP_ENUMALGS_EX)},
        demonstration=[
            _context(c.MS_DEF_RSA_SCHANNEL_PROV, c.PROV_RSA_SCHANNEL),
            ["CryptGetProvParam", "$p", c.PP_ENUMALGS, ["out", 32], ["n", 32], c.CRYPT_FIRST],
            *[["CryptGetProvParam", "$p", c.PP_ENUMALGS, ["out", 32], ["n", 32], 0]] * 9,
        ],
    ),
    Divergence(
        name="enumeration without CRYPT_FIRST",
        functions=("CryptGetProvParam",),
        softcsp="the first PP_ENUMALGS call of a context gives the first algorithm",
        genuine="gives the second one unless CRYPT_FIRST was passed",
        reason="an enumeration that leaves its first item out is a defect",
        same_code=True,
        content=("02660000",),
        arguments={2: (c.PP_ENUMALGS, c.PP_ENUMALGS_EX)},
        parts_ways=True,
        demonstration=[
            _context(),
            ["CryptGetProvParam", "$p", c.PP_ENUMALGS, ["out", 32], ["n", 32], 0],
        ],
    ),
    Divergence(
        name="master keys of the schannel-type provider",
        functions=("CryptGetProvParam",),
        softcsp="ends its list of algorithms with HMAC: the provider is there by name and number, "
        "without the handshake algorithms",
        genuine="goes on with PCT1_MASTER to TLS1PRF",
        reason="protocols that nobody should speak any more; their keys are made by schannel only",
        ours=(c.ERROR_NO_MORE_ITEMS,),
        theirs=(0, c.ERROR_MORE_DATA),
        arguments={2: (c.PP_ENUMALGS, c.PP_ENUMALGS_EX)},
        parts_ways=True,
        demonstration=[
            _context(c.MS_DEF_RSA_SCHANNEL_PROV, c.PROV_RSA_SCHANNEL),
            ["CryptGetProvParam", "$p", c.PP_ENUMALGS, ["out", 32], ["n", 32], c.CRYPT_FIRST],
            *[["CryptGetProvParam", "$p", c.PP_ENUMALGS, ["out", 32], ["n", 32], 0]] * 12,
        ],
    ),
    Divergence(
        name="PP_PROVTYPE",
        functions=("CryptGetProvParam",),
        softcsp="the type's number",
        genuine="1, whatever the provider",
        reason="documented: the type of the provider",
        same_code=True,
        arguments={2: (c.PP_PROVTYPE,)},
        demonstration=[
            _context(),
            ["CryptGetProvParam", "$p", c.PP_PROVTYPE, ["out", 4], ["n", 4], 0],
        ],
    ),
    Divergence(
        name="default provider of PROV_RSA_FULL",
        functions=("CryptGetDefaultProvider", "CryptAcquireContext", "CryptGetProvParam"),
        softcsp="the Strong provider",
        genuine="the Enhanced provider",
        reason="documented: the Strong provider is the default RSA Full provider",
        same_code=True,
        content=("4d6963726f736f6674205374726f6e67",),
        demonstration=[
            ["CryptAcquireContextA", ">p", None, None, c.PROV_RSA_FULL, c.CRYPT_VERIFYCONTEXT],
            ["CryptGetProvParam", "$p", c.PP_NAME, ["out", 60], ["n", 60], 0],
        ],
    ),
    Divergence(
        name="installed providers",
        functions=("CryptEnumProviders", "CryptEnumProviderTypes"),
        softcsp="six RSA providers of three types",
        genuine="DSS and Diffie-Hellman providers too, in an order of its own",
        reason="only the RSA providers are implemented",
        same_code=True,
        demonstration=[
            ["CryptEnumProvidersA", 1, None, 0, ["n", 0], ["chars", 100], ["nc", 100]],
        ],
    ),
    Divergence(
        name="HMAC with SHA-384 and SHA-512",
        functions=("CryptGetHashParam",),
        softcsp="pads the key to the hash's block of 128 bytes",
        genuine="pads it to 64 bytes, whatever the hash",
        reason="RFC 2104, and the test cases of RFC 4231",
        same_code=True,
        outputs=[_HMAC_SHA_512, 64],
        demonstration=[
            _context(),
            _import(_RC4),
            ["CryptCreateHash", "$p", c.CALG_HMAC, "$k", 0, ">h"],
            ["CryptSetHashParam", "$h", c.HP_HMAC_INFO, ["hmac", c.CALG_SHA_512, "", ""], 0],
            ["CryptGetHashParam", "$h", c.HP_HASHVAL, ["out", 64], ["n", 64], 0],
        ],
    ),
    Divergence(
        name="choosing a default provider",
        functions=("CryptSetProvider", "CryptSetProviderEx"),
        softcsp="remembers it for the process",
        genuine="NTE_BAD_PROVIDER for a provider that is installed",
        reason="documented: sets the default; the registry of an installation is not softcsp's",
        ours=(0,),
        theirs=(c.NTE_BAD_PROVIDER,),
        parts_ways=True,
        demonstration=[
            [
                "CryptSetProviderExA",
                ["s", c.MS_ENH_RSA_AES_PROV],
                c.PROV_RSA_AES,
                None,
                c.CRYPT_USER_DEFAULT,
            ],
        ],
    ),
    Divergence(
        name="DSS and Diffie-Hellman",
        functions=("CryptAcquireContext",),
        softcsp="NTE_PROV_TYPE_NOT_DEF",
        genuine="has providers of the types 3, 13 and 18",
        reason="only the RSA providers are implemented",
        ours=(c.NTE_PROV_TYPE_NOT_DEF,),
        arguments={4: (c.PROV_DSS, c.PROV_DSS_DH, c.PROV_DH_SCHANNEL)},
        parts_ways=True,
        demonstration=[
            ["CryptAcquireContextA", ">p", None, None, c.PROV_DSS, c.CRYPT_VERIFYCONTEXT],
        ],
    ),
    Divergence(
        name="HMAC keys of any length",
        functions=("CryptGetKeyParam", "CryptEncrypt", "CryptDecrypt", "CryptExportKey"),
        softcsp="a key imported with CRYPT_IPSEC_HMAC_KEY is the RC2 key that the blob says",
        genuine="it is a key of the algorithm CALG_HMAC, and no cipher",
        reason="documented: such keys are imported as RC2 keys",
        same_code=True,
        content=("02660000",),
        arguments={2: (c.KP_ALGID,)},
        demonstration=[
            _context(),
            _import(plaintext_blob(c.CALG_RC2, bytes(40)), flags=c.CRYPT_IPSEC_HMAC_KEY),
            ["CryptGetKeyParam", "$k", c.KP_ALGID, ["out", 4], ["n", 4], 0],
        ],
    ),
    Divergence(
        name="blobs with too short a key",
        functions=("CryptImportKey",),
        softcsp="NTE_BAD_DATA for a key of no bytes, and for a DES key without its parity bits",
        genuine="takes them and fills up with zero bytes",
        reason="documented: NTE_BAD_DATA; a key that nobody chose protects nothing",
        ours=(c.NTE_BAD_DATA,),
        theirs=(0,),
        parts_ways=True,
        demonstration=[_context(), _import(plaintext_blob(c.CALG_AES_128, b""))],
    ),
    Divergence(
        name="decryption of nothing",
        functions=("CryptDecrypt",),
        softcsp="NTE_BAD_LEN for a last piece without content",
        genuine="reads before the data: NTE_BAD_DATA, success or a crash, as it happens",
        reason="documented: NTE_BAD_LEN; later versions of Wine do the same",
        ours=(c.NTE_BAD_LEN,),
        parts_ways=True,
        demonstration=[
            _context(),
            _import(_RC4),
            ["CryptDecrypt", "$k", 0, 1, 0, ["io", "", 8], ["n", 0]],
        ],
    ),
    Divergence(
        name="part of a block",
        functions=("CryptDecrypt",),
        softcsp="NTE_BAD_DATA for data that is no multiple of the block length",
        genuine="goes on past the end of the data",
        reason="documented: NTE_BAD_DATA; writing past the end is a defect",
        ours=(c.NTE_BAD_DATA,),
        theirs=(0,),
        parts_ways=True,
        demonstration=[
            _context(),
            _import(_AES),
            ["CryptDecrypt", "$k", 0, 0, 0, ["io", "00" * 15, 32], ["n", 15]],
        ],
    ),
    Divergence(
        name="KP_SALT_EX of a key without salt",
        functions=("CryptSetKeyParam",),
        softcsp="NTE_BAD_KEY for anything but RC2 and RC4",
        genuine="writes the salt behind the key, where nothing reads it",
        reason="documented for RC2 and RC4 keys only",
        ours=(c.NTE_BAD_KEY,),
        theirs=(0,),
        arguments={2: (c.KP_SALT_EX,)},
        parts_ways=True,
        demonstration=[
            _context(),
            _import(_AES),
            ["CryptSetKeyParam", "$k", c.KP_SALT_EX, ["blob", "0102"], 0],
        ],
    ),
    Divergence(
        name="reserved arguments of CryptContextAddRef",
        functions=("CryptContextAddRef",),
        softcsp="ERROR_INVALID_PARAMETER for a reserved pointer, NTE_BAD_FLAGS for flags",
        genuine="ignores both",
        reason="documented: must be NULL and zero",
        ours=(c.ERROR_INVALID_PARAMETER, c.NTE_BAD_FLAGS),
        theirs=(0,),
        parts_ways=True,
        demonstration=[_context(), ["CryptContextAddRef", "$p", ["n", 0], 0]],
    ),
    Divergence(
        name="KP_SALT of the providers that ignore it",
        functions=("CryptEncrypt",),
        softcsp="the Enhanced, AES and schannel-type providers ignore KP_SALT",
        genuine="they use it for one message, and ignore it from the next one on",
        reason="no message can be read that was not written right after KP_SALT was set",
        same_code=True,
        outputs=["e99c40f947e219cc", 8],
        demonstration=[
            _context(),
            _import(_RC4),
            ["CryptSetKeyParam", "$k", c.KP_SALT, ["b", "0102030405060708090a0b"], 0],
            ["CryptEncrypt", "$k", 0, 1, 0, ["io", "00" * 8, 8], ["n", 8], 8],
        ],
    ),
    Divergence(
        name="size query of a stream cipher",
        functions=("CryptEncrypt",),
        softcsp="the length of the data",
        genuine="gives dwBufLen back",
        reason="documented: the number of bytes needed",
        ours=(0,),
        same_code=True,
        outputs=[5],
        demonstration=[
            _context(),
            _import(_RC4),
            ["CryptEncrypt", "$k", 0, 1, 0, None, ["n", 5], 0],
        ],
    ),
    Divergence(
        name="HMAC whose hash was not named",
        functions=("CryptHashData", "CryptHashSessionKey", "CryptEncrypt", "CryptDecrypt"),
        softcsp="NTE_BAD_HASH_STATE until HP_HMAC_INFO was set",
        genuine="takes the data and forgets it",
        reason="data that the program believes to be authenticated must not be lost",
        ours=(c.NTE_BAD_HASH_STATE,),
        theirs=(0,),
        parts_ways=True,
        demonstration=[
            _context(),
            _import(_AES),
            ["CryptCreateHash", "$p", c.CALG_HMAC, "$k", 0, ">h"],
            ["CryptHashData", "$h", ["b", "61"], 1, 0],
        ],
    ),
    Divergence(
        name="SIMPLEBLOB for a signature key",
        functions=("CryptExportKey",),
        softcsp="NTE_BAD_PUBLIC_KEY",
        genuine="encrypts with any RSA key",
        reason="documented: hExpKey is an exchange key; nothing could read the blob",
        ours=(c.NTE_BAD_PUBLIC_KEY,),
        theirs=(0, c.ERROR_MORE_DATA),
        arguments={3: (c.SIMPLEBLOB,)},
        demonstration=[
            _context(),
            _import(_AES),
            _import(private_blob(512, c.CALG_RSA_SIGN), name=">kr"),
            ["CryptExportKey", "$k", "$kr", c.SIMPLEBLOB, 0, ["out", 200], ["n", 200]],
        ],
    ),
    Divergence(
        name="HMAC with a destroyed key",
        functions=("CryptHashData",),
        softcsp="NTE_BAD_KEY",
        genuine="goes on, with a wrong result",
        reason="documented: NTE_BAD_KEY",
        ours=(c.NTE_BAD_KEY,),
        theirs=(0,),
        parts_ways=True,
        demonstration=[
            _context(),
            _import(_AES),
            ["CryptCreateHash", "$p", c.CALG_MAC, "$k", 0, ">h"],
            ["CryptDestroyKey", "$k"],
            ["CryptHashData", "$h", ["b", "00" * 16], 16, 0],
        ],
    ),
)

_POINTER = "pywin32 passes a pointer where NULL is required, so that it always fails there"

FACES: dict[str, str] = {
    "prov.CryptGenKey KeyLen=3": "refused key length",
    "prov.CryptGetProvParam Flags=3": "flags of queries and exports",
    "key.CryptExportKey Flags=3": "flags of queries and exports",
    "key.CryptDuplicateKey by position": _POINTER,
    "key.CryptDuplicateKey shortest": _POINTER,
    "key.CryptDuplicateKey by name": _POINTER,
    "key.CryptDuplicateKey Reserved=3": _POINTER,
    "hash.CryptDuplicateHash by position": _POINTER,
    "hash.CryptDuplicateHash shortest": _POINTER,
    "hash.CryptDuplicateHash by name": _POINTER,
    "module.CryptAcquireContext ProvType=3": "DSS and Diffie-Hellman",
    "module.CryptAcquireContext Flags=3": "unknown flags of CryptAcquireContext",
    "module.CryptGetDefaultProvider ProvType=3": "DSS and Diffie-Hellman",
}
"""Call of the win32crypt face that answers differently → why; see `faces_client`."""
