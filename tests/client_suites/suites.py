"""Test suites that nobody here wrote, and how each is run: data only."""

from __future__ import annotations

import dataclasses
from typing import Final

MODULE: Final = "{module}"
LABEL: Final = "{label}"
PIN: Final = "{pin}"
SO_PIN: Final = "{so_pin}"


@dataclasses.dataclass(frozen=True)
class Suite:
    """A source distribution on the package registry whose tests use PKCS#11.

    Args:
        name: of the package.
        version: of the source distribution; empty for the one that is installed, where the suite
            tests the binding itself.
        copied: folders and files of the distribution that are needed beside each other; without
            the package itself, which would stand before the installed one.
        needs: requirements that the tests have beside what csptrace's own tests install.
        variables: of the environment; `{module}`, `{label}`, `{pin}` and `{so_pin}` are filled in.
        parts: arguments of pytest; each part runs in a process of its own, on a token of its own.
        bindings: that it imports, by module.
        quick: those of continuous integration, empty for none.
        label: of the token. pin, so_pin: its PINs.
        wheels: whether the package itself is installed, too.
        note: what is left out and why.
    """

    name: str
    version: str
    copied: tuple[str, ...]
    variables: dict[str, str]
    parts: tuple[tuple[str, ...], ...]
    bindings: tuple[str, ...]
    needs: tuple[str, ...] = ()
    quick: tuple[str, ...] = ()
    label: str = "csptrace"
    pin: str = "1234"
    so_pin: str = "5678"
    wheels: bool = False
    note: str = ""


SUITES: Final = (
    Suite(
        "python-pkcs11",
        "",
        ("tests",),
        {
            "PKCS11_MODULE": MODULE,
            "PKCS11_TOKEN_LABEL": LABEL,
            "PKCS11_TOKEN_PIN": PIN,
            "PKCS11_TOKEN_SO_PIN": SO_PIN,
        },
        (("tests",),),
        ("pkcs11",),
        needs=("parameterized",),
        quick=(
            "tests/test_sessions.py",
            "tests/test_slots_and_tokens.py",
            "tests/test_iterators.py",
            "tests/test_rsa.py",
        ),
    ),
)
"""What runs. Each was looked at for what it does to the library; none is changed."""

SKIPPED: Final[dict[str, str]] = {
    "PKCS11-cryptography-keys": "its source distribution has no tests",
    "wincrypto": "its source distribution has no tests",
    "oscrypto": "its source distribution has no tests",
    "pywin32": "has no source distribution",
    "pypkcs11-tool": "has no source distribution",
    "endesive": "its source distribution has no tests",
    "tokencrypt": "its source distribution has no tests",
    "swarmauri-keyprovider-pkcs11": "its source distribution has no tests",
    "swarmauri-certs-pkcs11": "its source distribution has no tests",
    "swarmauri-crypto-nacl-pkcs11": "its source distribution has no tests",
    "spsdk-pkcs11": "its one test looks at an entry point and calls no library",
    "cloud-auth-pkcs": "its tests need accounts at three cloud providers",
    "opencie-pkcs11": "its tests stand in for the library, which is no part of it",
}
"""Packages whose tests cannot run here, with the reason."""
