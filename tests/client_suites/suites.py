"""Test suites that nobody here wrote, and how each is run: data only."""

from __future__ import annotations

import dataclasses
from typing import Final

MODULE: Final = "{module}"
LABEL: Final = "{label}"
PIN: Final = "{pin}"
SO_PIN: Final = "{so_pin}"
PYTHON: Final = "{python}"

_CERTIFICATES: Final = "pyhanko_testing_commons/test_data/data/crypto/certomancer.yml"


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
        variables: of the environment. Here, in arguments and in commands `{module}` (the spy,
            except in commands) and what else is named above are filled in.
        parts: arguments of pytest; each part runs in a process of its own, on a token of its own.
        bindings: that it imports, by module.
        quick: those of continuous integration, empty for none.
        label: of the token. pin, so_pin: its PINs.
        itself: whether the package itself is installed, too.
        prepared: commands that fill the token, without the spy and the tracer.
        note: what is left out and why.
    """

    name: str
    version: str
    copied: tuple[str, ...]
    variables: tuple[tuple[str, str], ...]
    parts: tuple[tuple[str, ...], ...]
    bindings: tuple[str, ...]
    needs: tuple[str, ...] = ()
    quick: tuple[str, ...] = ()
    label: str = "csptrace"
    pin: str = "1234"
    so_pin: str = "5678"
    itself: bool = False
    prepared: tuple[tuple[str, ...], ...] = ()
    note: str = ""


SUITES: Final = (
    Suite(
        "python-pkcs11",
        "",
        ("tests",),
        (
            ("PKCS11_MODULE", MODULE),
            ("PKCS11_TOKEN_LABEL", LABEL),
            ("PKCS11_TOKEN_PIN", PIN),
            ("PKCS11_TOKEN_SO_PIN", SO_PIN),
        ),
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
    Suite(
        "PyKCS11",
        "",
        ("test",),
        (("PYKCS11LIB", MODULE),),
        (("test",),),
        ("PyKCS11",),
        quick=tuple(
            f"test/test_{name}.py"
            for name in ("gc", "init", "load", "objects", "pin", "symetric", "wrap", "digest")
        ),
        so_pin="123456",
    ),
    Suite(
        "hsmkey",
        "0.2.0",
        ("tests",),
        (("HSM_MODULE", MODULE), ("HSM_TOKEN_LABEL", LABEL), ("HSM_PIN", PIN)),
        (("tests",),),
        ("pkcs11",),
        needs=("jwcrypto",),
        itself=True,
        prepared=tuple(
            (
                *("softhsm2-util", "--import", f"tests/data/privatekeys/{name}.pem"),
                *("--token", LABEL, "--label", name, "--id", number, "--pin", PIN),
            )
            for name, number in (
                ("rsa-2048", "10"),
                ("rsa-3072", "11"),
                ("rsa-4096", "12"),
                ("ec-p256", "01"),
                ("ec-p384", "02"),
                ("ec-p521", "03"),
                ("ed25519", "08"),
                ("ed448", "09"),
            )
        ),
    ),
    Suite(
        "python-x509-pkcs11",
        "0.9.0",
        ("tests", "src"),
        (("PKCS11_MODULE", MODULE), ("PKCS11_TOKEN", LABEL), ("PKCS11_PIN", PIN)),
        tuple(
            (f"tests/test_{name}.py",)
            for name in ("ca", "crl", "crypto", "csr", "ocsp", "pkcs11_handle", "privatekeys")
        ),
        ("pkcs11",),
        needs=("asn1crypto", "aiohttp"),
        note="each file in a process of its own. It finalises the library under the objects of its "
        "own sessions, again and again; `test_privatekeys.py` fails with these versions anyway.",
    ),
    Suite(
        "pyhanko",
        "0.38.0",
        ("tests", "pyhanko_testing_commons"),
        (("PKCS11_TEST_MODULE", MODULE),),
        (("tests/test_pkcs11.py",),),
        ("pkcs11",),
        needs=(
            "certomancer[pkcs11,web-api-async]>=0.16.0",
            "freezegun",
            "requests-mock",
            "pytest-asyncio",
            "pytest-aiohttp",
        ),
        itself=True,
        label="testrsa",
        note="`test_pkcs11.py`. SoftHSM 2.6 has no ML-DSA: three tests end with an error.",
        prepared=tuple(
            command
            for name in ("rsa", "ecdsa", "dsa", "ed25519", "ed448")
            for command in (
                *(
                    (
                        *("softhsm2-util", "--init-token", "--free", "--label", f"test{name}"),
                        *("--pin", PIN, "--so-pin", SO_PIN),
                    )
                    for _ in range(name != "rsa")
                ),
                (
                    *(PYTHON, "-m", "certomancer", "--config", _CERTIFICATES, "alch"),
                    *("--cert", "signer1", "--include-chain", "--pin", PIN, "--module", MODULE),
                    *("--token-label", f"test{name}"),
                    "testing-ca" if name == "rsa" else f"testing-ca-{name}",
                ),
            )
        ),
    ),
)
"""What runs. Each was looked at for what it does to the library; none is changed."""

SKIPPED: Final[dict[str, str]] = {
    "pkcs11-check": "reads the addresses of functions out of the library's table and calls them "
    "past everything that csptrace traces, which the guide names as a limit",
    "asyncssh": "its tests stand in for the library",
    "PKCS11-cryptography-keys": "its source distribution has no tests",
    "wincrypto": "its source distribution has no tests",
    "oscrypto": "its source distribution has no tests, and those of oscrypto-tests import `imp`, "
    "which Python has not had since 3.12",
    "pywin32": "has no source distribution, and the tests of win32crypt in its wheel call nothing "
    "that is traced",
    "pypkcs11-tool": "has no source distribution",
    "endesive": "its source distribution has no tests",
    "tokencrypt": "its source distribution has no tests",
    "swarmauri-keyprovider-pkcs11": "its source distribution has no tests",
    "swarmauri-certs-pkcs11": "its source distribution has no tests",
    "swarmauri-crypto-nacl-pkcs11": "its source distribution has no tests",
    "spsdk-pkcs11": "its one test looks at an entry point and calls no library",
    "cloud-auth-pkcs": "its tests need accounts at three cloud providers",
    "opencie-pkcs11": "its tests stand in for the library",
}
"""Packages whose tests cannot run here, with the reason."""
