"""A program that handles secrets and does everything wrong, through both faces.

`python secretive.py FOLDER`: the secrets are made up here and now, and left in FOLDER/secrets.json
for whoever looks for them; what csptrace raised and warned is left in FOLDER/said.bin.
"""

from __future__ import annotations

import contextlib
import copy
import ctypes
import gc
import json
import os
import pickle
import random
import string
import struct
import sys
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import csptrace
from csptrace.errors import CspTraceError, CspTraceWarning
from csptrace.softcsp import advapi32, inject_fault, win32crypt

if TYPE_CHECKING:
    from collections.abc import Iterator

PROV_RSA_AES = 24
VERIFYCONTEXT, NEWKEYSET, EXPORTABLE = 0xF0000000, 0x8, 0x1
CALG_SHA1, CALG_HMAC, CALG_AES_256, CALG_RC4 = 0x8004, 0x8009, 0x6610, 0x6801
PLAINTEXTKEYBLOB, PRIVATEKEYBLOB = 8, 7
PP_KEYEXCHANGE_PIN, PP_SIGNATURE_PIN, KP_IV, HP_HASHVAL = 32, 33, 1, 2
AT_SIGNATURE = 2
HARDLY_LARGE = 1024 << 16

secrets: dict[str, bytes] = {}
said: list[bytes] = []


def secret(name: str, size: int) -> bytes:
    """Make up a secret."""
    secrets[name] = os.urandom(size)
    return secrets[name]


def password(name: str) -> bytes:
    """Make up a secret that a person could type."""
    letters = random.SystemRandom().choices(string.ascii_letters + string.digits, k=14)
    secrets[name] = "".join(letters).encode()
    return secrets[name]


def note(error: BaseException | Warning) -> None:
    """Keep everything that an exception says about itself."""
    texts = [str(error), repr(error), repr(error.args), repr(getattr(error, "__notes__", None))]
    texts += traceback.format_exception(error)
    for finding in (getattr(error, "finding", None), *getattr(error, "findings", ())):
        texts.append(repr(finding))
    said.extend(text.encode("utf-8", "backslashreplace") for text in texts)
    if isinstance(error, CspTraceError | CspTraceWarning):
        said.append(pickle.dumps(error))
        again = pickle.loads(pickle.dumps(error))
        said.extend((repr(again).encode("utf-8", "backslashreplace"), repr(vars(again)).encode()))
    if isinstance(error, csptrace.HandleError):
        said.append(repr(copy.copy(error)).encode("utf-8", "backslashreplace"))


@contextlib.contextmanager
def wrong() -> Iterator[None]:
    """Do something wrong, whatever csptrace does about it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        except Exception as error:  # noqa: BLE001 - the provider's own errors, too
            note(error)
    for warning in caught:
        assert isinstance(warning.message, Warning)
        note(warning.message)


class Face:
    """The C face, with the calls that the program makes."""

    def out(self, name: str, *arguments: Any) -> ctypes.c_size_t:
        """Call a function whose last parameter receives a handle."""
        handle = ctypes.c_size_t()
        assert getattr(advapi32, name)(*arguments, ctypes.byref(handle)), name
        return handle

    def acquire(self, name: str | None = None) -> ctypes.c_size_t:
        """Acquire a context."""
        handle = ctypes.c_size_t()
        flags = VERIFYCONTEXT if name is None else NEWKEYSET
        assert advapi32.CryptAcquireContextW(ctypes.byref(handle), name, None, PROV_RSA_AES, flags)
        return handle

    def release(self, handle: Any) -> None:
        """Release a context."""
        advapi32.CryptReleaseContext(handle, 0)

    def hash(self, context: Any, data: bytes) -> ctypes.c_size_t:
        """Hash data."""
        handle = self.out("CryptCreateHash", context, CALG_SHA1, None, 0)
        assert advapi32.CryptHashData(handle, data, len(data), 0)
        return handle

    def blob(self, key: Any, sort: int) -> bytes:
        """Export a key."""
        size = ctypes.c_uint32()
        assert advapi32.CryptExportKey(key, None, sort, 0, None, ctypes.byref(size))
        data = ctypes.create_string_buffer(size.value)
        assert advapi32.CryptExportKey(key, None, sort, 0, data, ctypes.byref(size))
        return data.raw

    def encrypt(self, key: Any, data: bytes) -> bytes:
        """Encrypt data."""
        buffer = ctypes.create_string_buffer(data, len(data) + 32)
        size = ctypes.c_uint32(len(data))
        advapi32.CryptEncrypt(key, None, 1, 0, buffer, ctypes.byref(size), len(buffer))
        return buffer.raw[: size.value]


def plaintext_key(key: bytes) -> bytes:
    """Return a PLAINTEXTKEYBLOB."""
    return struct.pack("<BBHII", PLAINTEXTKEYBLOB, 2, 0, CALG_AES_256, len(key)) + key


def c_face() -> None:
    """Use and misuse secrets through the C functions."""
    face = Face()
    box = face.acquire("box")
    for name, param in (("key PIN", PP_KEYEXCHANGE_PIN), ("signature PIN", PP_SIGNATURE_PIN)):
        assert advapi32.CryptSetProvParam(box, param, password(name), 0)
    pair = face.out("CryptGenKey", box, AT_SIGNATURE, EXPORTABLE | HARDLY_LARGE)
    secrets["private key"] = face.blob(pair, PRIVATEKEYBLOB)[20:]
    digest = face.hash(box, secret("hashed", 40))
    signature = ctypes.create_string_buffer(512)
    size = ctypes.c_uint32(512)
    assert advapi32.CryptSignHashW(digest, AT_SIGNATURE, None, 0, signature, ctypes.byref(size))
    secrets["signature"] = signature.raw[: size.value]

    blob = plaintext_key(secret("key", 32))
    key = face.out("CryptImportKey", box, blob, len(blob), None, EXPORTABLE)
    iv = secret("IV", 16)
    assert advapi32.CryptSetKeyParam(key, KP_IV, iv, 0)
    secrets["ciphertext"] = face.encrypt(key, secret("plaintext", 45))
    base = face.hash(box, password("password"))
    derived = face.out("CryptDeriveKey", box, CALG_RC4, base, EXPORTABLE)
    secrets["derived key"] = face.blob(derived, PLAINTEXTKEYBLOB)[12:]
    hmac = face.out("CryptCreateHash", box, CALG_HMAC, derived, 0)

    plain, data, pin = secrets["plaintext"], secrets["hashed"], secrets["key PIN"]
    with wrong(), inject_fault("CryptDestroyKey", 0x80090020):  # failed-release
        advapi32.CryptDestroyKey(key)
    advapi32.CryptDestroyKey(derived)
    with wrong():  # stale-dependency
        advapi32.CryptHashData(hmac, data, len(data), 0)
    advapi32.CryptDestroyKey(key)
    for _ in range(2):
        with wrong():  # use-after-release
            face.encrypt(key, plain)
    with wrong():
        advapi32.CryptSetKeyParam(key, KP_IV, iv, 0)
    with wrong():  # double-release
        advapi32.CryptDestroyKey(key)
    with wrong():  # wrong-release
        advapi32.CryptDestroyHash(pair)
    with wrong():  # leaked-at-release
        face.release(box)
    with wrong():  # use-after-invalidation
        advapi32.CryptVerifySignatureW(
            digest, signature, size.value, pair, secrets["password"].decode(), 0
        )
    with wrong():
        advapi32.CryptHashData(base, data, len(data), 0)
    with wrong():  # out-of-order-release
        advapi32.CryptDestroyHash(digest)
    with wrong():
        advapi32.CryptSetProvParam(box, PP_KEYEXCHANGE_PIN, pin, 0)
    with wrong():
        face.out("CryptImportKey", box, blob, len(blob), None, 0)
    with wrong():
        advapi32.CryptSetProvParam(None, PP_KEYEXCHANGE_PIN, pin, 0)
    face.acquire()  # leaked-at-exit


def object_face() -> None:
    """Use and misuse secrets through handle objects."""
    box = win32crypt.CryptAcquireContext("box 2", None, PROV_RSA_AES, NEWKEYSET)
    pair = box.CryptGenKey(AT_SIGNATURE, EXPORTABLE | HARDLY_LARGE)
    secrets["private key 2"] = pair.CryptExportKey(None, PRIVATEKEYBLOB)[20:]
    digest = box.CryptCreateHash(CALG_SHA1)
    digest.CryptHashData(secret("hashed 2", 40))
    secrets["signature 2"] = signature = digest.CryptSignHash(AT_SIGNATURE)
    blob = plaintext_key(secret("key 2", 32))
    key = box.CryptImportKey(blob, None, EXPORTABLE)
    secrets["ciphertext 2"] = key.CryptEncrypt(Final=True, Data=secret("plaintext 2", 45))
    base = box.CryptCreateHash(CALG_SHA1)
    base.CryptHashData(password("password 2"))
    secrets["hash value 2"] = base.CryptGetHashParam(HP_HASHVAL)
    secrets["random 2"] = box.CryptGenRandom(24)

    with wrong(), inject_fault("CryptDestroyKey", 0x80090020):
        key.CryptDestroyKey()
    box.CryptImportKey(blob, None, EXPORTABLE)  # lost at once
    gc.collect()
    key.CryptDestroyKey()
    with wrong():
        key.CryptEncrypt(True, secrets["plaintext 2"])
    with wrong():
        key.CryptDecrypt(Final=True, Data=secrets["ciphertext 2"])
    with wrong():
        key.CryptDestroyKey()
    with wrong():
        box.CryptReleaseContext()
    with wrong():
        digest.CryptVerifySignature(signature, pair)
    with wrong():
        base.CryptHashData(secrets["password 2"])
    with wrong():
        base.CryptDestroyHash()
    with wrong():
        box.CryptImportKey(Data=blob)
    with wrong():
        box.CryptImportKey(secrets["password 2"].decode(), secrets["key 2"])
    globals()["kept"] = win32crypt.CryptAcquireContext(None, None, PROV_RSA_AES, VERIFYCONTEXT)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    tracer = csptrace.start()
    try:
        c_face()
        object_face()
        with wrong(), tracer.scope("scope"):
            Face().acquire()
        for finding in tracer.check():
            said.append(repr(finding).encode("utf-8", "backslashreplace"))
            said.append(tracer.explain(finding).encode("utf-8", "backslashreplace"))
        said.append(repr(tracer.snapshot()).encode("utf-8", "backslashreplace"))
        said.append(repr(list(tracer.graph.handles())).encode("utf-8", "backslashreplace"))
        with wrong():
            csptrace.stop()
    finally:
        (folder / "secrets.json").write_text(
            json.dumps({name: value.hex() for name, value in secrets.items()})
        )
        (folder / "said.bin").write_bytes(b"\n".join(said))
