"""Fault injection: make a chosen function fail, to reach the error paths that nobody tests.

A failing call has no effect at all: it is refused before the provider looks at its arguments.
Both faces honour faults. See `inject` (for code), `from_text` (for SOFTCSP_FAULTS).
"""

from __future__ import annotations

import contextlib
import os
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from csptrace import forks
from csptrace.softcsp.errors import NAMES, CspError

if TYPE_CHECKING:
    from collections.abc import Iterator

ENVIRONMENT_VARIABLE: Final = "SOFTCSP_FAULTS"
FUNCTIONS: Final = (
    "CryptAcquireContext",
    "CryptContextAddRef",
    "CryptCreateHash",
    "CryptDecrypt",
    "CryptDeriveKey",
    "CryptDestroyHash",
    "CryptDestroyKey",
    "CryptDuplicateHash",
    "CryptDuplicateKey",
    "CryptEncrypt",
    "CryptEnumProviderTypes",
    "CryptEnumProviders",
    "CryptExportKey",
    "CryptExportPublicKeyInfo",
    "CryptGenKey",
    "CryptGenRandom",
    "CryptGetDefaultProvider",
    "CryptGetHashParam",
    "CryptGetKeyParam",
    "CryptGetProvParam",
    "CryptGetUserKey",
    "CryptHashData",
    "CryptHashSessionKey",
    "CryptImportKey",
    "CryptImportPublicKeyInfo",
    "CryptReleaseContext",
    "CryptSetHashParam",
    "CryptSetKeyParam",
    "CryptSetProvParam",
    "CryptSetProviderEx",
    "CryptSignHash",
    "CryptVerifySignature",
)
"""What can be made to fail: the functions of the provider, without A or W."""

_CODES: Final = {name: code for code, name in NAMES.items()}
_lock = forks.lock()


@dataclass
class Fault:
    """One rule: which calls of one function fail, and how.

    Attributes:
        function: the C name, without A or W: both spellings are meant.
        error: the code to fail with.
        nth: fail this call only, counted from 1; None for every call or a fraction.
        rate: fail this fraction of the calls; None for every call or the Nth.
        seed: what the fraction's choice starts from, so that a run can be repeated.
        calls: calls seen so far.
        failures: calls failed so far.

    """

    function: str
    error: int
    nth: int | None = None
    rate: float | None = None
    seed: int = 0
    calls: int = 0
    failures: int = 0
    _dice: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Check the rule; raises ValueError."""
        if self.nth is not None and self.rate is not None:
            message = "a fault takes nth or rate, not both"
            raise ValueError(message)
        if self.nth is not None and self.nth < 1:
            message = f"nth={self.nth} is not 1 or more"
            raise ValueError(message)
        if self.rate is not None and not 0 <= self.rate <= 1:
            message = f"rate={self.rate} is not between 0 and 1"
            raise ValueError(message)
        self._dice = random.Random(self.seed)  # noqa: S311 - repeatable on purpose

    def strikes(self) -> bool:
        """Count one call; say whether it fails."""
        self.calls += 1
        if self.nth is not None:
            hit = self.calls == self.nth
        elif self.rate is not None:
            hit = self._dice.random() < self.rate
        else:
            hit = True
        self.failures += hit
        return hit


armed: Final[dict[str, list[Fault]]] = {}
"""Function → its rules. The faces look here at every call; empty costs nothing."""


def check(function: str) -> None:
    """Fail this call if a rule says so.

    Args:
        function: the name the call was made by, A or W included.

    Raises:
        CspError: with the rule's code.

    """
    rules = armed.get(function) or armed.get(function[:-1])
    if rules is None:
        return
    with _lock:
        hits = [rule for rule in rules if rule.strikes()]
    if hits:
        raise CspError(hits[0].error)


def arm(fault: Fault) -> Fault:
    """Put a rule in force until `disarm`; return it."""
    with _lock:
        armed.setdefault(fault.function, []).append(fault)
    return fault


def disarm(fault: Fault | None = None) -> None:
    """Take one rule out of force, or all."""
    with _lock:
        if fault is None:
            armed.clear()
            return
        rules = [rule for rule in armed.get(fault.function, ()) if rule is not fault]
        if rules:
            armed[fault.function] = rules
        else:
            armed.pop(fault.function, None)


@contextlib.contextmanager
def inject(
    function: str,
    error: int,
    *,
    nth: int | None = None,
    rate: float | None = None,
    seed: int = 0,
) -> Iterator[Fault]:
    """Make calls of *function* fail inside a ``with`` block.

    Args:
        function: the C name, such as ``CryptGenKey``.
        error: the code to fail with, unsigned, such as 0x8009000E (NTE_NO_MEMORY).
        nth: fail only this call, counted from 1.
        rate: fail this fraction of the calls.
        seed: what the fraction's choice starts from.

    Yields:
        The rule, which counts calls and failures.

    Raises:
        ValueError: the function does not exist, or the numbers make no sense.

    """
    fault = arm(Fault(_function(function), error & 0xFFFFFFFF, nth, rate, seed))
    try:
        yield fault
    finally:
        disarm(fault)


def _function(name: str) -> str:
    for candidate in (name, name[:-1] if name[-1:] in ("A", "W") else name):
        if candidate in FUNCTIONS:
            return candidate
    message = f"{name!r} is not one of: {', '.join(FUNCTIONS)}"
    raise ValueError(message)


def from_text(text: str) -> list[Fault]:
    """Read rules as SOFTCSP_FAULTS holds them.

    Rules are separated by ``;``, the parts of a rule by ``:``. The first part is the function, the
    others are ``error=NAME`` (or a number), ``nth=N``, ``rate=FRACTION`` and ``seed=N``:
    ``CryptGenKey:nth=3:error=NTE_NO_MEMORY;CryptHashData:rate=0.1:seed=7:error=NTE_FAIL``

    Raises:
        ValueError: a part that cannot be read; the message says what is allowed.

    """
    return [_rule(rule.strip()) for rule in text.split(";") if rule.strip()]


def _rule(text: str) -> Fault:
    name, *parts = text.split(":")
    values = dict(part.strip().partition("=")[::2] for part in parts)
    unknown = values.keys() - {"error", "nth", "rate", "seed"}
    if unknown:
        message = f"{ENVIRONMENT_VARIABLE}: {min(unknown)!r} is not one of: error, nth, rate, seed"
        raise ValueError(message)
    if "error" not in values:
        message = f"{ENVIRONMENT_VARIABLE}: {text!r} has no error="
        raise ValueError(message)
    try:
        error = _CODES.get(values["error"]) or int(values["error"], 0)
        nth = int(values["nth"]) if "nth" in values else None
        rate = float(values["rate"]) if "rate" in values else None
        seed = int(values.get("seed", "0"))
    except ValueError as problem:
        message = f"{ENVIRONMENT_VARIABLE}: cannot read {text!r}: {problem}"
        raise ValueError(message) from problem
    return Fault(_function(name.strip()), error & 0xFFFFFFFF, nth, rate, seed)


def arm_from_environment() -> None:
    """Put the rules of SOFTCSP_FAULTS in force; raises ValueError as `from_text` does."""
    for fault in from_text(os.environ.get(ENVIRONMENT_VARIABLE, "")):
        arm(fault)
