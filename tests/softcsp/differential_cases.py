"""What the two providers are asked: generated sequences, and scripted ones.

The generator follows the names that a sequence has in use, so that most calls are about something
that exists; it never looks at an answer. It keeps off what a real heap decides: a handle is used
after its end only before anything else is made, since its value may be given out again.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from csptrace.softcsp import constants as c

if TYPE_CHECKING:
    from collections.abc import Callable

Call = list[Any]

PROVIDERS = (
    (None, c.PROV_RSA_AES),
    (None, c.PROV_RSA_AES),
    (None, c.PROV_RSA_SCHANNEL),
    (c.MS_DEF_PROV, c.PROV_RSA_FULL),
    (c.MS_ENHANCED_PROV, c.PROV_RSA_FULL),
    (c.MS_STRONG_PROV, c.PROV_RSA_FULL),
    (c.MS_ENH_RSA_AES_PROV, c.PROV_RSA_AES),
    (c.MS_ENH_RSA_AES_PROV_XP, c.PROV_RSA_AES),
    (c.MS_DEF_RSA_SCHANNEL_PROV, c.PROV_RSA_SCHANNEL),
)
CIPHERS = (
    c.CALG_RC2,
    c.CALG_RC4,
    c.CALG_DES,
    c.CALG_3DES_112,
    c.CALG_3DES,
    c.CALG_AES_128,
    c.CALG_AES_192,
    c.CALG_AES_256,
)
KEY_BYTES = {
    c.CALG_RC2: (16, 5, 7, 8),
    c.CALG_RC4: (16, 5, 7, 8),
    c.CALG_DES: (8,),
    c.CALG_3DES_112: (16,),
    c.CALG_3DES: (24,),
    c.CALG_AES_128: (16,),
    c.CALG_AES_192: (24,),
    c.CALG_AES_256: (32,),
}
HASHES = (
    c.CALG_MD2,
    c.CALG_MD4,
    c.CALG_MD5,
    c.CALG_SHA1,
    c.CALG_SHA_256,
    c.CALG_SHA_384,
    c.CALG_SHA_512,
)
_SHORT = (*HASHES[:5], c.CALG_SSL3_SHAMD5, c.CALG_MAC)
ODD_ALGIDS = (0, 7, c.CALG_DESX, c.CALG_RC5, c.CALG_SEAL, c.CALG_DSS_SIGN, c.CALG_AES, 0xFFFF)

_PRIMES = {
    512: (
        int("fcf6d1e570c2d1e6bb8628830aae11d919e38ac1b97b3fde24ffadfb13bbe667", 16),
        int("eba2dc0b61b00bc61c495760b37678a88af7980af626c79cbc888eb27ceef093", 16),
    ),
    1024: (
        int(
            "cd7a4283056b72e9d0653ddf1b7da9542e7f9807439ab1bd8c17e1dad505d2eb60d557771f13b5a784cdac0f2a618e9f5964ec75b7cb2f6b58a7ef3ef6c7153b",
            16,
        ),
        int(
            "cb3fca3d21f51ed03f88ddc1354f6286273e17b6ecd9630da74bf739c4e2c03fc3708b111c78a1e22ccd2b14a45bf9bc3014343b6dd2b00d7faf94e76bc02c77",
            16,
        ),
    ),
}
_EXPONENT = 65537


def blob_header(blob_type: int, algid: int, version: int = 2) -> bytes:
    """Write a BLOBHEADER."""
    return struct.pack("<BBHI", blob_type, version, 0, algid)


def plaintext_blob(algid: int, key: bytes) -> str:
    """Write a PLAINTEXTKEYBLOB in hexadecimal."""
    header = blob_header(c.PLAINTEXTKEYBLOB, algid)
    return (header + struct.pack("<I", len(key)) + key).hex()


def private_blob(bits: int, algid: int) -> str:
    """Write the PRIVATEKEYBLOB of the fixed pair of that length, in hexadecimal."""
    p, q = _PRIMES[bits]
    d = pow(_EXPONENT, -1, (p - 1) * (q - 1))
    half = bits // 16
    numbers = [(p * q, half * 2), (p, half), (q, half), (d % (p - 1), half)]
    numbers += [(d % (q - 1), half), (pow(q, -1, p), half), (d, half * 2)]
    body = b"RSA2" + struct.pack("<II", bits, _EXPONENT)
    body += b"".join(number.to_bytes(size, "little") for number, size in numbers)
    return (blob_header(c.PRIVATEKEYBLOB, algid) + body).hex()


def public_blob(bits: int, algid: int) -> str:
    """Write the PUBLICKEYBLOB of the fixed pair of that length, in hexadecimal."""
    p, q = _PRIMES[bits]
    body = b"RSA1" + struct.pack("<II", bits, _EXPONENT) + (p * q).to_bytes(bits // 8, "little")
    return (blob_header(c.PUBLICKEYBLOB, algid) + body).hex()


def rsa_encrypted(bits: int, data: bytes) -> bytes:
    """Encrypt with the fixed pair and a padding that is not random."""
    p, q = _PRIMES[bits]
    size = bits // 8
    block = b"\0\2" + b"\x5a" * (size - len(data) - 3) + b"\0" + data
    return pow(int.from_bytes(block, "big"), _EXPONENT, p * q).to_bytes(size, "little")


def simple_blob(bits: int, algid: int, key: bytes) -> str:
    """Write a SIMPLEBLOB for the fixed pair of that length, in hexadecimal."""
    header = blob_header(c.SIMPLEBLOB, algid) + struct.pack("<I", c.CALG_RSA_KEYX)
    return (header + rsa_encrypted(bits, key)).hex()


@dataclass
class _Thing:
    """What the generator knows of a handle."""

    name: str
    context: str = ""
    algid: int = 0
    bits: int = 0
    needs: str = ""
    references: int = 1
    enumerated: bool = False
    children: list[str] = field(default_factory=list)


class Maker:
    """Draws one sequence."""

    def __init__(self, draw: Callable[[st.SearchStrategy[Any]], Any]) -> None:
        self._draw = draw
        self._contexts: dict[str, _Thing] = {}
        self._keys: dict[str, _Thing] = {}
        self._hashes: dict[str, _Thing] = {}
        self._made = 0
        self._kept: list[str] = []
        self.calls: list[Call] = []

    def make(self, length: int) -> list[Call]:
        """Draw a sequence of at least *length* calls."""
        self._acquire()
        while len(self.calls) < length:
            actions = list(_ALWAYS)
            if self._contexts:
                actions += _WITH_CONTEXT
            if self._keys:
                actions += _WITH_KEY
            if self._hashes:
                actions += _WITH_HASH
            getattr(self, self._one(actions))()
        return self.calls

    # --- drawing -------------------------------------------------------------------------------

    def _one(self, choices: Any) -> Any:
        return self._draw(st.sampled_from(list(choices)))

    def _rarely(self, usual: Any, *others: Any) -> Any:
        """Draw *usual* nine times of ten."""
        return self._one([usual] * 9 + [self._one(others)])

    def _data(self) -> str:
        length = self._one((0, 1, 3, 7, 8, 9, 15, 16, 17, 24, 32, 40, 64, 100))
        start = self._draw(st.integers(0, 255))
        return bytes((start + 7 * i) & 0xFF for i in range(length)).hex()

    def _key_bytes(self, length: int) -> bytes:
        start = self._draw(st.integers(0, 255))
        return bytes((start + 11 * i) & 0xFF for i in range(length))

    def _new(self, kind: str) -> str:
        self._made += 1
        return f"{kind}{self._made}"

    def _add(self, name: str, context: _Thing, **facts: Any) -> _Thing:
        thing = _Thing(name, context.name, **facts)
        context.children.append(name)
        (self._hashes if name[0] == "h" else self._keys)[name] = thing
        return thing

    def _context(self) -> _Thing:
        return self._contexts[self._one(self._contexts)]

    def _key(self) -> _Thing:
        return self._keys[self._one(self._keys)]

    def _hash(self) -> _Thing:
        return self._hashes[self._one(self._hashes)]

    def _handle(self, things: dict[str, _Thing]) -> str | int:
        """Draw a handle of one kind, or, rarely, of another kind or none."""
        everything = [f"${name}" for name in (*self._contexts, *self._keys, *self._hashes)]
        usual = f"${self._one(things)}" if things else 0
        return self._one([usual] * 19 + [self._one([0, *everything])])

    def _room(self, size: int) -> list[Any]:
        """Draw (pbData, pdwDataLen): asking for the size, enough room, or too little."""
        room = self._one((None, size, size, size, size, 4, 3, 0))
        if room is None:
            return [None, ["n", self._one((0, 5, size))]]
        return [["out", room], ["n", room]]

    def _keeping(self, size: int) -> tuple[str, list[Any]]:
        name = self._new("b")
        self._kept.append(name)
        return name, [["out", size, name], ["n", size]]

    # --- contexts ------------------------------------------------------------------------------

    def _acquire(self) -> None:
        provider, kind = self._one(PROVIDERS)
        name = self._new("p")
        letter = self._one("AAW")
        self.calls.append(
            [
                f"CryptAcquireContext{letter}",
                f">{name}",
                None,
                provider and ["s", provider],
                kind,
                self._one((c.CRYPT_VERIFYCONTEXT, c.CRYPT_VERIFYCONTEXT | c.CRYPT_SILENT)),
            ]
        )
        self._contexts[name] = _Thing(name)

    def _acquire_odd(self) -> None:
        names = [None, "", c.MS_DEF_PROV, c.MS_ENH_RSA_AES_PROV, "No such provider"]
        provider = self._one(names)
        flags = self._one((0xF0000000, 0xF0000008, 0xF0000010, 0xF0000002, 0x18, 4, 0x10000000))
        kind = self._one((0, 2, 5, 6, 12, 24, 25, 999, 1000, 0xFFFFFFFF))
        name = self._new("p")
        container = self._one((None, ["s", ""], ["s", "{}odd"]))
        place = self._rarely(f">{name}", None)
        letter = self._one("AW")
        text = None if provider is None else ["s", provider]
        self.calls.append([f"CryptAcquireContext{letter}", place, container, text, kind, flags])
        if place is not None:
            self._contexts[name] = _Thing(name)

    def _container(self) -> None:
        flags = self._one((c.CRYPT_NEWKEYSET, c.CRYPT_NEWKEYSET, 0, c.CRYPT_DELETEKEYSET))
        kind = self._one((c.PROV_RSA_FULL, c.PROV_RSA_AES))
        container = ["s", self._one(("{}one", "{}one", "{}Two", "{}TWO"))]
        name = self._new("p")
        letter = self._one("AW")
        extra = self._rarely(0, c.CRYPT_SILENT, c.CRYPT_MACHINE_KEYSET)
        self.calls.append(
            [f"CryptAcquireContext{letter}", f">{name}", container, None, kind, flags | extra]
        )
        if not flags & c.CRYPT_DELETEKEYSET:
            self._contexts[name] = _Thing(name)

    def _add_reference(self) -> None:
        context = self._context()
        self.calls.append(["CryptContextAddRef", f"${context.name}", None, 0])
        context.references += 1

    def _release(self) -> None:
        context = self._context()
        flags = self._rarely(0, 1, 0xFFFFFFFF)
        self.calls.append(["CryptReleaseContext", f"${context.name}", flags])
        context.references -= 1
        if context.references:
            return
        for child in context.children:
            if child in self._keys or child in self._hashes:
                self._after_the_end(child)
        self._after_the_end(context.name)
        del self._contexts[context.name]
        for child in context.children:
            self._keys.pop(child, None)
            self._hashes.pop(child, None)

    def _after_the_end(self, name: str) -> None:
        """Use a handle that is none any more."""
        uses: dict[str, tuple[Call, ...]] = {
            "p": (
                ["CryptReleaseContext", f"${name}", 0],
                ["CryptGenRandom", f"${name}", 4, ["out", 4]],
                ["CryptContextAddRef", f"${name}", None, 0],
            ),
            "k": (
                ["CryptDestroyKey", f"${name}"],
                ["CryptGetKeyParam", f"${name}", c.KP_ALGID, ["out", 4], ["n", 4], 0],
            ),
            "h": (
                ["CryptDestroyHash", f"${name}"],
                ["CryptHashData", f"${name}", ["b", "61"], 1, 0],
                ["CryptGetHashParam", f"${name}", c.HP_HASHSIZE, ["out", 4], ["n", 4], 0],
            ),
        }
        if self._one((True, False, False)):
            self.calls.append(self._one(uses[name[0]]))

    def _random(self) -> None:
        length = self._one((0, 1, 8, 100))
        self.calls.append(["CryptGenRandom", self._handle(self._contexts), length, ["out", length]])

    def _prov_param(self) -> None:
        param = self._one(
            (
                c.PP_NAME,
                c.PP_CONTAINER,
                c.PP_VERSION,
                c.PP_IMPTYPE,
                c.PP_ENUMALGS,
                c.PP_ENUMALGS_EX,
                c.PP_KEYSPEC,
                c.PP_KEYSTORAGE,
                c.PP_SIG_KEYSIZE_INC,
                c.PP_KEYX_KEYSIZE_INC,
                c.PP_KEYSET_TYPE,
                c.PP_CERTCHAIN,
                0,
                77,
            )
        )
        flags = self._rarely(0, 1, 2, 8)
        context = self._context()
        room = self._room(260)
        if param in (c.PP_ENUMALGS, c.PP_ENUMALGS_EX):
            # The first one without CRYPT_FIRST is a known divergence.
            flags = self._one((0, 0, 0, c.CRYPT_FIRST, c.CRYPT_NEXT))
            if not context.enumerated:
                flags, room = c.CRYPT_FIRST, [["out", 260], ["n", 260]]
            context.enumerated = True
        self.calls.append(["CryptGetProvParam", f"${context.name}", param, *room, flags])

    def _enum_providers(self) -> None:
        function = self._one(("CryptEnumProviders", "CryptEnumProviderTypes"))
        letter = self._one("AW")
        # Which providers there are is a matter of the machine: see the scripted cases.
        index, flags = self._one(((1000, 0), (0, 1), (1000, 1)))
        reserved = self._rarely(None, ["n", 0])
        kind = self._rarely(["n", 0], None)
        self.calls.append([function + letter, index, reserved, flags, kind, None, ["nc", 0]])

    def _default_provider(self) -> None:
        kind = self._one((0, 12, 24, 2, 5, 999, 1000))
        room = self._one((0, 5, 100))
        name = ["chars", room] if room else None
        self.calls.append(
            [
                f"CryptGetDefaultProvider{self._one('AW')}",
                kind,
                self._rarely(None, ["n", 0]),
                self._one((1, 2, 1, 2, 0, 4)),
                name,
                ["nc", room],
            ]
        )

    # --- keys ----------------------------------------------------------------------------------

    def _import_plain(self) -> None:
        context = self._context()
        algid = self._rarely(self._one(CIPHERS), *ODD_ALGIDS)
        length = self._one(KEY_BYTES.get(algid, (8,)))
        length = self._rarely(length, 1, 4, 10, 17, 33)
        blob = plaintext_blob(algid, self._key_bytes(length))
        flags = self._one((c.CRYPT_EXPORTABLE,) * 4 + (0, c.CRYPT_OAEP))
        name = self._new("k")
        self.calls.append(
            [
                "CryptImportKey",
                f"${context.name}",
                ["b", blob],
                len(blob) // 2 - self._rarely(0, 1, 8, 12),
                0,
                flags,
                self._rarely(f">{name}", None),
            ]
        )
        self._add(name, context, algid=algid)

    def _import_pair(self) -> None:
        context = self._context()
        algid = self._one((c.CALG_RSA_KEYX, c.CALG_RSA_SIGN))
        bits = self._one((512, 512, 1024))
        make = self._one((private_blob, private_blob, public_blob))
        blob = make(bits, algid)
        flags = self._one((c.CRYPT_EXPORTABLE, c.CRYPT_EXPORTABLE, 0))
        name = self._new("kr")
        self.calls.append(
            [
                "CryptImportKey",
                f"${context.name}",
                ["b", blob],
                len(blob) // 2 - self._rarely(0, 1, 40, bits // 8),
                0,
                flags,
                f">{name}",
            ]
        )
        self._add(name, context, algid=algid, bits=bits)

    def _import_damaged(self) -> None:
        algid = self._one((c.CALG_RC2, c.CALG_RSA_KEYX, c.CALG_AES_128, 0))
        blob = bytearray.fromhex(
            self._one((plaintext_blob(algid, bytes(16)), public_blob(512, algid)))
        )
        place = self._one((0, 1, 4, 5, 8, 9, 12))
        blob[place] = self._one((0, 1, 2, 7, 9, 0xFF))
        length = self._one((0, 1, 7, 8, 11, 12, len(blob), len(blob)))
        name = self._new("k" if blob[0] != 6 else "kr")
        context = self._context()
        self.calls.append(
            ["CryptImportKey", f"${context.name}", ["b", blob.hex()], length, 0, 0, f">{name}"]
        )
        self._add(name, context)

    def _import_simple(self) -> None:
        context = self._context()
        pairs = [k for k in self._keys.values() if k.bits]
        pair = self._one(pairs) if pairs else None
        algid = self._rarely(self._one(CIPHERS), *ODD_ALGIDS)
        key = self._key_bytes(self._one(KEY_BYTES.get(algid, (8,))))
        blob = simple_blob(pair.bits if pair else 512, algid, key)
        name = self._new("k")
        wrapper = f"${pair.name}" if pair else 0
        self.calls.append(
            [
                "CryptImportKey",
                f"${context.name}",
                ["b", blob],
                len(blob) // 2 - self._rarely(0, 1, 20),
                wrapper,
                self._one((c.CRYPT_EXPORTABLE, c.CRYPT_EXPORTABLE, 0)),
                f">{name}",
            ]
        )
        self._add(name, context, algid=algid)

    def _generate(self) -> None:
        context = self._context()
        algid = self._one((*CIPHERS, *ODD_ALGIDS))
        bits = self._one((0, 0, 40, 56, 64, 128, 192, 256, 100))
        flags = bits << 16 | self._one(
            (c.CRYPT_EXPORTABLE, 0, c.CRYPT_NO_SALT, c.CRYPT_CREATE_SALT)
        )
        name = self._new("k")
        place = self._rarely(f">{name}", None)
        self.calls.append(["CryptGenKey", f"${context.name}", algid, flags, place])
        self._add(name, context, algid=algid)

    def _generate_pair(self) -> None:
        context = self._context()
        algid = self._one((c.AT_KEYEXCHANGE, c.AT_SIGNATURE, c.CALG_RSA_KEYX, c.CALG_RSA_SIGN))
        bits = self._one((512, 512, 520, 376, 500, 8))
        name = self._new("kr")
        self.calls.append(
            ["CryptGenKey", f"${context.name}", algid, bits << 16 | c.CRYPT_EXPORTABLE, f">{name}"]
        )
        self._add(name, context, algid=algid)

    def _derive(self) -> None:
        if not self._hashes:
            return self._hash_text()
        base = self._hash()
        algid = self._rarely(self._one(CIPHERS), *ODD_ALGIDS)
        bits = self._rarely(0, 40, 56, 64, 128, 100)
        kind = (c.CRYPT_EXPORTABLE,) * 3 + (0, c.CRYPT_NO_SALT, c.CRYPT_CREATE_SALT)
        flags = bits << 16 | self._one(kind)
        name = self._new("k")
        context = self._contexts.get(base.context) or self._context()
        place = self._rarely(f">{name}", None)
        self.calls.append(
            ["CryptDeriveKey", f"${context.name}", algid, f"${base.name}", flags, place]
        )
        self._add(name, context, algid=algid)
        return None

    def _user_key(self) -> None:
        context = self._context()
        spec = self._one((c.AT_KEYEXCHANGE, c.AT_SIGNATURE, 0, 3))
        name = self._new("kr")
        place = self._rarely(f">{name}", None)
        self.calls.append(["CryptGetUserKey", f"${context.name}", spec, place])
        self._add(name, context)

    def _duplicate_key(self) -> None:
        key = self._key()
        name = self._new("kr" if key.name.startswith("kr") else "k")
        reserved, flags = self._rarely((None, 0), (["n", 0], 0), (None, 1))
        place = self._rarely(f">{name}", None)
        self.calls.append(["CryptDuplicateKey", f"${key.name}", reserved, flags, place])
        self._add(name, self._contexts[key.context], algid=key.algid, bits=key.bits)

    def _export(self) -> None:
        key = self._key()
        pair = key.name.startswith("kr")
        usual = (c.PUBLICKEYBLOB, c.PRIVATEKEYBLOB) if pair else (c.PLAINTEXTKEYBLOB, c.SIMPLEBLOB)
        kind = self._rarely(
            self._one(usual),
            c.SIMPLEBLOB,
            c.PUBLICKEYBLOB,
            c.PRIVATEKEYBLOB,
            c.PLAINTEXTKEYBLOB,
            0,
            77,
        )
        wrappers = [0, 0, *(f"${k}" for k in self._keys if k.startswith("kr"))]
        if kind == c.SIMPLEBLOB:
            wrappers = wrappers[1:]
        wrapper = self._one(wrappers)
        flags = self._rarely(0, c.CRYPT_OAEP, 1, 0x1000)
        room = self._room(800)
        self.calls.append(["CryptExportKey", f"${key.name}", wrapper, kind, flags, *room])

    def _hashes_of(self, key: _Thing) -> list[str]:
        """List the hashes of a key's context: one of another provider may not know it."""
        return [f"${h.name}" for h in self._hashes.values() if h.context == key.context]

    def _encrypt(self) -> None:
        key = self._key()
        data = self._data()
        length = len(data) // 2
        hashed = self._rarely(0, *self._hashes_of(key) or [0])
        final = self._one((1, 1, 0))
        flags = self._rarely(0, c.CRYPT_OAEP) if key.name.startswith("kr") else 0
        flags = self._rarely(flags, 1, 0x40)
        handle = self._handle({key.name: key})
        if self._rarely(False, True):
            self.calls.append(
                ["CryptEncrypt", handle, 0, final, flags, None, ["n", length], length]
            )
            return
        room = self._one((length + 16, 200, 200, 200, length))
        name = self._new("b")
        self._kept.append(name)
        self.calls.append(
            [
                "CryptEncrypt",
                handle,
                hashed,
                final,
                flags,
                ["io", data, room, name],
                ["n", length],
                room,
            ]
        )

    def _decrypt(self) -> None:
        key = self._key()
        hashed = self._rarely(0, *self._hashes_of(key) or [0])
        final = self._one((1, 1, 0))
        flags = self._rarely(0, c.CRYPT_OAEP, 1)
        if key.bits and self._one((True, False)):
            data = rsa_encrypted(key.bits, self._key_bytes(9)).hex()
            content: list[Any] = [["io", data, len(data) // 2], ["n", len(data) // 2]]
        elif self._kept and self._one((True, True, False)):
            kept = self._one(self._kept[-3:])
            content = [["io*", kept, 300], ["n*", kept]]
        else:
            data = self._key_bytes(self._one((16, 32, 48, 64))).hex()
            content = [["io", data, 300], ["n", len(data) // 2]]
        self.calls.append(
            ["CryptDecrypt", self._handle({key.name: key}), hashed, final, flags, *content]
        )

    def _key_param(self) -> None:
        param = self._one(
            (
                c.KP_IV,
                c.KP_SALT,
                c.KP_PADDING,
                c.KP_MODE,
                c.KP_MODE_BITS,
                c.KP_PERMISSIONS,
                c.KP_ALGID,
                c.KP_BLOCKLEN,
                c.KP_KEYLEN,
                c.KP_EFFECTIVE_KEYLEN,
                0,
                77,
            )
        )
        room = self._room(self._one((4, 8, 16, 40)))
        self.calls.append(
            ["CryptGetKeyParam", self._handle(self._keys), param, *room, self._rarely(0, 1)]
        )

    def _set_key_param(self) -> None:
        values = {
            c.KP_IV: ("00" * 16, "0102030405060708" * 2, "ff" * 16),
            c.KP_PADDING: (1, 2, 3, 0),
            c.KP_MODE: (1, 2, 4, 2, 4, 3, 5, 0, 99),
            c.KP_MODE_BITS: (0, 1, 8, 64),
            c.KP_PERMISSIONS: (0, 1, 0x3B, 0x3F, 4, 0xFFFFFFFF),
            c.KP_EFFECTIVE_KEYLEN: (0, 1, 40, 56, 63, 128, 1024, 1025),
            c.KP_ALGID: (c.CALG_RC4,),
            77: (0,),
        }
        handle = self._handle(self._keys)
        if str(handle).startswith("$kr"):
            del values[c.KP_IV]  # the genuine one would write past the end of the key
        param = self._one(values)
        value = self._one(values[param])
        data = value if isinstance(value, str) else value.to_bytes(4, "little").hex()
        self.calls.append(
            [
                "CryptSetKeyParam",
                handle,
                param,
                ["b", data],
                self._rarely(0, 1),
            ]
        )

    def _set_salt(self) -> None:
        keys = [k.name for k in self._keys.values() if k.algid in (c.CALG_RC2, c.CALG_RC4)]
        if not keys:
            return
        length = self._one((0, 1, 11, 16, 24, 25))
        salt = self._key_bytes(length).hex()
        self.calls.append(
            ["CryptSetKeyParam", f"${self._one(keys)}", c.KP_SALT_EX, ["blob", salt], 0]
        )

    def _destroy_key(self) -> None:
        key = self._key()
        for dependent in [h for h in self._hashes.values() if h.needs == key.name]:
            self.calls.append(["CryptDestroyHash", f"${dependent.name}"])
            del self._hashes[dependent.name]
        self.calls.append(["CryptDestroyKey", f"${key.name}"])
        self._after_the_end(key.name)
        del self._keys[key.name]

    # --- hashes --------------------------------------------------------------------------------

    def _create_hash(self) -> None:
        context = self._context()
        algid = self._rarely(self._one(HASHES), c.CALG_SSL3_SHAMD5, *ODD_ALGIDS)
        key = self._rarely(0, *[f"${name}" for name in self._keys] or [0])
        name = self._new("h")
        flags, place = self._rarely((0, f">{name}"), (1, f">{name}"), (0, None))
        self.calls.append(["CryptCreateHash", f"${context.name}", algid, key, flags, place])
        self._add(name, context, algid=algid, needs=key[1:] if key else "")

    def _create_mac(self) -> None:
        if not self._keys:
            return self._import_plain()
        key = self._key()
        context = self._contexts[key.context]
        algid = self._one((c.CALG_MAC, c.CALG_HMAC))
        name = self._new("h")
        self.calls.append(
            ["CryptCreateHash", f"${context.name}", algid, f"${key.name}", 0, f">{name}"]
        )
        self._add(name, context, algid=algid, needs=key.name)
        if algid == c.CALG_HMAC and self._rarely(True, False):
            self._set_hmac(self._hashes[name])
        return None

    def _set_hmac(self, made: _Thing) -> None:
        # Those with longer blocks are a known divergence.
        algid = self._rarely(self._one(HASHES[:5]), 0, c.CALG_HMAC)
        strings = self._rarely(("", ""), ("aabb", ""), ("", "ccdd" * 8), ("11" * 64, "22" * 64))
        self.calls.append(
            ["CryptSetHashParam", f"${made.name}", c.HP_HMAC_INFO, ["hmac", algid, *strings], 0]
        )

    def _hash_text(self) -> None:
        """Hash something in one go: what most programs do."""
        context = self._context()
        algid = self._one(HASHES)
        name = self._new("h")
        data = self._data()
        self.calls.append(["CryptCreateHash", f"${context.name}", algid, 0, 0, f">{name}"])
        self.calls.append(["CryptHashData", f"${name}", ["b", data], len(data) // 2, 0])
        self._add(name, context, algid=algid)

    def _hash_data(self) -> None:
        data = self._data()
        flags = self._rarely(0, c.CRYPT_USERDATA, 2)
        self.calls.append(
            ["CryptHashData", self._handle(self._hashes), ["b", data], len(data) // 2, flags]
        )

    def _hash_key(self) -> None:
        if not self._keys:
            return self._import_plain()
        self.calls.append(
            [
                "CryptHashSessionKey",
                self._handle(self._hashes),
                self._handle(self._keys),
                self._one((0, 0, c.CRYPT_LITTLE_ENDIAN, 2)),
            ]
        )
        return None

    def _hash_param(self) -> None:
        param = self._one((c.HP_HASHVAL, c.HP_HASHVAL, c.HP_HASHSIZE, c.HP_ALGID, 5, 77))
        # Too little room for the value is a known divergence.
        room = 64 if param == c.HP_HASHVAL else self._one((64, 4, 3))
        self.calls.append(
            [
                "CryptGetHashParam",
                self._handle(self._hashes),
                param,
                ["out", room],
                ["n", room],
                self._rarely(0, 1),
            ]
        )

    def _hash_size(self) -> None:
        """Ask for a length, of anything but the value: that would be a known divergence."""
        param = self._one((c.HP_HASHSIZE, c.HP_ALGID))
        self.calls.append(
            ["CryptGetHashParam", self._handle(self._hashes), param, None, ["n", 0], 0]
        )

    def _set_hash_value(self) -> None:
        value = self._key_bytes(64).hex()
        param = self._rarely(c.HP_HASHVAL, c.HP_ALGID, 77)
        self.calls.append(["CryptSetHashParam", self._handle(self._hashes), param, ["b", value], 0])

    def _duplicate_hash(self) -> None:
        made = self._hash()
        name = self._new("h")
        reserved, flags = self._rarely((None, 0), (["n", 0], 0), (None, 1))
        place = self._rarely(f">{name}", None)
        self.calls.append(["CryptDuplicateHash", f"${made.name}", reserved, flags, place])
        self._add(name, self._contexts[made.context], algid=made.algid, needs=made.needs)

    def _short_hash(self) -> _Thing | None:
        """Draw a hash whose signature fits a key of 512 bits; too long ones crash the other."""
        short = [h for h in self._hashes.values() if h.algid in _SHORT]
        return self._one(short) if short else None

    def _sign(self) -> None:
        made = self._short_hash()
        if made is None:
            return self._hash_text()
        spec = self._one((c.AT_KEYEXCHANGE, c.AT_SIGNATURE, c.AT_SIGNATURE, 0, 3))
        flags = self._rarely(0, c.CRYPT_NOHASHOID, 2, 8)
        if self._one((True, False, False, False)):
            room: list[Any] = self._room(128)
        else:
            _, room = self._keeping(128)
        self.calls.append(
            [
                f"CryptSignHash{self._one('AW')}",
                f"${made.name}",
                spec,
                self._rarely(None, ["s", "text"], ["s", ""]),
                flags,
                *room,
            ]
        )
        return None

    def _verify(self) -> None:
        made = self._short_hash()
        if made is None:
            return self._hash_text()
        pairs = [f"${name}" for name in self._keys if name.startswith("kr")]
        key = self._rarely(self._one(pairs or [0]), 0)
        signature: list[Any] = [["b", "11" * 64], self._one((64, 0, 63))]
        if self._kept and self._rarely(True, False):
            kept = self._one(self._kept[-3:])
            signature = [["kept", kept], ["size*", kept]]
        self.calls.append(
            [
                f"CryptVerifySignature{self._one('AW')}",
                f"${made.name}",
                *signature,
                key,
                self._rarely(None, ["s", "text"]),
                self._rarely(0, c.CRYPT_NOHASHOID, 2),
            ]
        )
        return None

    def _destroy_hash(self) -> None:
        made = self._hash()
        self.calls.append(["CryptDestroyHash", f"${made.name}"])
        self._after_the_end(made.name)
        del self._hashes[made.name]

    def _wrong_kind(self) -> None:
        """Give a function a handle of another kind, or none."""
        things = [*self._contexts, *self._keys, *self._hashes]
        handle = self._one([0, 1, *(f"${name}" for name in things)])
        kind = handle[1] if isinstance(handle, str) else ""
        uses: list[tuple[str, Call]] = [
            ("p", ["CryptGenRandom", handle, 4, ["out", 4]]),
            ("p", ["CryptContextAddRef", handle, None, 0]),
            ("p", ["CryptReleaseContext", handle, 0]),
            ("p", ["CryptCreateHash", handle, c.CALG_SHA1, 0, 0, ">h0"]),
            ("k", ["CryptDestroyKey", handle]),
            ("k", ["CryptDuplicateKey", handle, None, 0, ">k0"]),
            ("h", ["CryptDestroyHash", handle]),
            ("h", ["CryptDuplicateHash", handle, None, 0, ">h0"]),
        ]
        self.calls.append(self._one([call for wanted, call in uses if wanted != kind]))


_ALWAYS = ("_acquire", "_acquire_odd", "_container", "_default_provider", "_enum_providers")
_WITH_CONTEXT = (
    *("_import_plain",) * 5,
    *("_hash_text",) * 4,
    *("_import_pair",) * 3,
    *("_prov_param",) * 3,
    *("_create_hash",) * 2,
    "_add_reference",
    "_release",
    "_random",
    "_import_damaged",
    "_import_simple",
    "_generate",
    "_generate_pair",
    "_user_key",
    "_wrong_kind",
)
_WITH_KEY = (
    *("_encrypt",) * 7,
    *("_decrypt",) * 7,
    *("_key_param",) * 4,
    *("_set_key_param",) * 4,
    *("_export",) * 4,
    *("_create_mac",) * 2,
    "_duplicate_key",
    "_set_salt",
    "_destroy_key",
)
_WITH_HASH = (
    *("_hash_data",) * 5,
    *("_hash_param",) * 4,
    *("_derive",) * 3,
    *("_sign",) * 3,
    *("_verify",) * 3,
    *("_duplicate_hash",) * 2,
    "_hash_key",
    "_hash_size",
    "_set_hash_value",
    "_destroy_hash",
)


@st.composite
def sequences(draw: Callable[[st.SearchStrategy[Any]], Any]) -> list[Call]:
    """Draw a sequence of calls."""
    return Maker(draw).make(draw(st.integers(2, 80)))
