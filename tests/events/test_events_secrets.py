"""No secret of a program ever leaves it through csptrace, in any form."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from csptrace.findings.catalogue import Code

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from event_runs import Run

PROGRAM = Path(__file__).with_name("secretive.py")
WINDOW = 8
EXPECTED = {
    *("key PIN", "signature PIN", "private key", "hashed", "signature", "key", "IV", "plaintext"),
    *("ciphertext", "password", "derived key"),
    *("private key 2", "hashed 2", "signature 2", "key 2", "plaintext 2", "ciphertext 2"),
    *("password 2", "hash value 2", "random 2"),
}


def forms(secret: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield every form in which a part of a secret could be written down."""
    step = 1 if len(secret) <= 64 else 16  # a long one would be written in long parts
    for direction, data in (("", secret), ("reversed ", secret[::-1])):
        for start in range(0, len(data) - WINDOW + 1, step):
            part = data[start : start + WINDOW]
            yield f"{direction}raw", part
            yield f"{direction}hex", part.hex().encode()
            yield f"{direction}HEX", part.hex().upper().encode()
            yield f"{direction}hex with blanks", part.hex(" ").encode()
            yield f"{direction}repr", repr(part)[2:-1].encode()
            yield f"{direction}numbers", str(list(part))[1:-1].encode()
            yield (
                f"{direction}JSON numbers",
                json.dumps(list(part), separators=(",", ":")).encode()[1:-1],
            )
            yield f"{direction}wide", part.decode("latin-1").encode("utf-16-le")
            yield f"{direction}text", part.decode("latin-1").encode()
            # Nine bytes from any offset: one of them falls on a group of base64.
            long = data[start : start + 9]
            if len(long) == 9:
                yield f"{direction}base64", base64.b64encode(long)
                yield f"{direction}base64 for URLs", base64.urlsafe_b64encode(long)


def leaks(secrets: dict[str, bytes], written: dict[str, bytes]) -> list[str]:
    """Return what was found, as names of secrets, forms and places."""
    return sorted(
        {
            f"{name} ({form}) in {place}"
            for name, secret in secrets.items()
            for form, needle in forms(secret)
            for place, text in written.items()
            if needle in text
        }
    )


def test_the_search_finds_every_form() -> None:
    """The search of this file finds a part of a secret in whatever form it is hidden."""
    secret = os.urandom(24)
    other = {"other": os.urandom(24)}
    part = secret[5:17]
    for hidden in (
        part,
        part[::-1],
        part.hex().encode(),
        part.hex().upper().encode(),
        base64.b64encode(b"x" + secret + b"y"),
        base64.b64encode(b"xy" + secret),
        base64.urlsafe_b64encode(secret[::-1]),
        repr(secret).encode(),
        str(list(secret)).encode(),
        part.decode("latin-1").encode("utf-16-le"),
        repr(secret.decode("latin-1").encode()).encode() + part.decode("latin-1").encode(),
    ):
        assert leaks({"it": secret}, {"here": b"before " + hidden + b" after"}), hidden
        assert not leaks(other, {"here": hidden})


@pytest.mark.parametrize("reaction", ["raise", "warn", "log"])
@pytest.mark.parametrize("level", ["count", "acquire", "full"])
def test_secrets_stay_secret(
    level: str, reaction: str, run: Callable[..., Run], tmp_path: Path
) -> None:
    """No secret stands in a log, on stderr, in an exception, a warning, a pickle or a repr."""
    done = run(
        str(PROGRAM),
        str(tmp_path),
        level=level,
        on_misuse=reaction,
        on_leak=reaction,
        environ={"PYTHONWARNINGS": ""},
    )
    assert done.status == 0, done.err
    secrets = {
        name: bytes.fromhex(value)
        for name, value in json.loads((tmp_path / "secrets.json").read_text()).items()
    }
    written = {
        "log": b"".join(path.read_bytes() for path in (tmp_path / "logs").iterdir()),
        "stderr": done.err.encode(),
        "stdout": done.out.encode(),
        "exceptions and warnings": (tmp_path / "said.bin").read_bytes(),
    }
    codes = {event["code"] for event in done.named("finding")}

    assert set(secrets) == EXPECTED
    # No call of this software CSP lasts, and no handle lives for long here.
    assert codes == set(Code) - {Code.RELEASE_WHILE_IN_USE, Code.HELD_TOO_LONG}
    assert len(written["exceptions and warnings"]) > 5000
    assert leaks(secrets, written) == []
    assert len({event["event"] for event in done.log}) >= 4
