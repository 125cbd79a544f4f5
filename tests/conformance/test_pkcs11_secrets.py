"""No PIN, key or plaintext of a PKCS#11 program ever leaves it through csptrace, in any form."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import softhsm
from pkcs11_clients import BINDINGS

PROGRAM = Path(__file__).with_name("secretive_pkcs11.py")


def forms(secret: bytes) -> list[bytes]:
    """Return every form in which a part of a secret could be written down."""
    found = []
    for data in (secret, secret[::-1]):
        for start in range(len(data) - 7):
            part = data[start : start + 8]
            found += [
                part,
                part.hex().encode(),
                part.hex().upper().encode(),
                part.hex(" ").encode(),
                repr(part)[2:-1].encode(),
                str(list(part))[1:-1].encode(),
                json.dumps(list(part), separators=(",", ":")).encode()[1:-1],
                part.decode("latin-1").encode(),
                part.decode("latin-1").encode("utf-16-le"),
            ]
            if len(data) - start > 8:
                found.append(base64.b64encode(data[start : start + 9]))
    return found


@pytest.mark.parametrize("reaction", ["raise", "log"])
@pytest.mark.parametrize("level", ["acquire", "full"])
@pytest.mark.parametrize("binding", ["ctypes exports", "PyKCS11", "python-pkcs11"])
def test_pins_and_keys_stay_secret(binding: str, level: str, reaction: str, tmp_path: Path) -> None:
    """No secret stands in a log, on stderr, in an exception, a warning or a repr."""
    package, _ = BINDINGS[binding]
    softhsm.need(*([package] if package else []))
    done = subprocess.run(
        [sys.executable, PROGRAM, binding, softhsm.module(), tmp_path],
        capture_output=True,
        timeout=120,
        check=False,
        env={
            **os.environ,
            **softhsm.environment(),
            "SECRETIVE_PIN": softhsm.PIN,
            "CSPTRACE_LOG": str(tmp_path / "logs"),
            "CSPTRACE_LEVEL": level,
            "CSPTRACE_ON_MISUSE": reaction,
            "CSPTRACE_STRICT": "1",
        },
    )
    assert done.returncode == 0, done.stderr
    logs = list((tmp_path / "logs").iterdir())
    written = {
        "log": b"".join(path.read_bytes() for path in logs),
        "stderr": done.stderr,
        "stdout": done.stdout,
        "exceptions and warnings": (tmp_path / "said.bin").read_bytes(),
    }
    secrets = {
        name: bytes.fromhex(value)
        for name, value in json.loads((tmp_path / "secrets.json").read_text()).items()
    }
    assert set(secrets) == {"PIN", "wrong PIN", "key", "stale key", "plaintext", "ciphertext"}
    codes = {
        event["code"]
        for line in written["log"].splitlines()
        if (event := json.loads(line))["event"] == "csptrace.finding"
    }
    assert codes >= {"leaked-at-release", "use-after-release", "double-release"}
    assert len(written["exceptions and warnings"]) > 2000
    found = [
        (name, place)
        for name, secret in secrets.items()
        for place, text in written.items()
        if any(form in text for form in forms(secret))
    ]
    assert found == []
