"""A program for `test_pkcs11_secrets.py`: PINs, keys and plaintext through every binding, misused.

Usage: secretive_pkcs11.py BINDING MODULE FOLDER. The secrets go to secrets.json, what was said
(exceptions, warnings, reports) to said.bin.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import traceback
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pkcs11_clients import BINDINGS, PyKCS11Client, PythonPkcs11Client, template

import csptrace

if TYPE_CHECKING:
    from collections.abc import Iterator

said: list[bytes] = []
secrets: dict[str, bytes] = {}


@contextmanager
def wrong() -> Iterator[None]:
    """Keep everything that an exception or a warning says."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever it is, it is looked at
            text = "".join(traceback.format_exception_only(error))
            said.append((text + repr(error) + repr(error.args)).encode("utf-8", "replace"))
    said.extend(str(each.message).encode() for each in caught)


def secret(name: str, size: int) -> bytes:
    """Make a secret and remember it."""
    secrets[name] = os.urandom(size)
    return secrets[name]


def encrypt(client: Any, session: Any, key: Any, data: bytes) -> None:
    """Encrypt something that nobody else may see, and leave another operation active."""
    if isinstance(client, PythonPkcs11Client):
        mechanism = client.api.Mechanism.AES_ECB
        secrets["ciphertext"] = key.encrypt(data, mechanism=mechanism)
    elif isinstance(client, PyKCS11Client):
        mechanism = client.api.Mechanism(client.api.CKM_AES_ECB)
        secrets["ciphertext"] = bytes(session.encrypt(key, data, mechanism))
    else:
        client.begin(session, key)
        out, size = ctypes.create_string_buffer(64), ctypes.c_ulong(64)
        client.call("C_Encrypt", session, data, ctypes.c_ulong(len(data)), out, ctypes.byref(size))
        secrets["ciphertext"] = out.raw[: size.value]


def create(client: Any, session: Any, value: bytes) -> Any:
    """Import a key whose value is known."""
    if isinstance(client, PythonPkcs11Client):
        api = client.api
        return session.create_object(
            {
                api.Attribute.CLASS: api.ObjectClass.SECRET_KEY,
                api.Attribute.KEY_TYPE: api.KeyType.AES,
                api.Attribute.VALUE: value,
                api.Attribute.ENCRYPT: True,
                api.Attribute.TOKEN: False,
            }
        )
    if isinstance(client, PyKCS11Client):
        api = client.api
        return session.createObject(
            [
                (api.CKA_CLASS, api.CKO_SECRET_KEY),
                (api.CKA_KEY_TYPE, api.CKK_AES),
                (api.CKA_VALUE, value),
                (api.CKA_ENCRYPT, api.CK_TRUE),
                (api.CKA_TOKEN, api.CK_FALSE),
            ]
        )
    key = ctypes.c_ulong()
    rows = template(
        (0x0, ctypes.c_ulong(4)),
        (0x100, ctypes.c_ulong(0x1F)),
        (0x11, (ctypes.c_ubyte * len(value))(*value)),
        (0x104, ctypes.c_ubyte(1)),
        (0x1, ctypes.c_ubyte(0)),
    )
    client.call("C_CreateObject", session, rows, ctypes.c_ulong(5), ctypes.byref(key))
    return key


def main(binding: str, module: str, folder: Path) -> None:
    """Make every sort of mistake with secrets in the arguments."""
    pin = os.environ["SECRETIVE_PIN"]
    secrets["PIN"] = pin.encode()
    secrets["wrong PIN"] = wrong_pin = os.urandom(6).hex().encode()
    tracer = csptrace.start()
    client = BINDINGS[binding][1]()
    client.load(module)
    session = client.open(pin)
    with wrong():
        client.open(wrong_pin.decode())
    key = create(client, session, secret("key", 32))
    stale = create(client, session, secret("stale key", 32))
    encrypt(client, session, key, secret("plaintext", 32))
    client.destroy(session, stale)
    for use in (client.use_key, client.destroy, client.encrypt):
        with wrong():
            use(session, stale)
    operation = client.begin(session, key)
    client.close(session)
    with wrong():
        client.use(session)
    with wrong():
        client.close(session)
    with wrong():
        encrypt(client, session, key, secrets["plaintext"])
    kept = client.open()
    client.finalize()
    with wrong():
        client.open(pin)
    for finding in tracer.check():
        said.append(repr(finding).encode("utf-8", "backslashreplace"))
        said.append(tracer.explain(finding).encode("utf-8", "backslashreplace"))
    said.append(repr(list(tracer.graph.handles())).encode("utf-8", "backslashreplace"))
    with wrong():
        csptrace.stop()
    (folder / "secrets.json").write_text(
        json.dumps({name: value.hex() for name, value in secrets.items()})
    )
    (folder / "said.bin").write_bytes(b"\n".join(said))
    del operation, kept


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
