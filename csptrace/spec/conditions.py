"""Conditions: named predicates over the arguments and results of one call."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "Condition",
    "always",
    "either",
    "equals",
    "every",
    "flag",
    "given",
    "is_set",
    "negation",
    "nonzero",
    "stored",
    "stored_equals",
]


@dataclasses.dataclass(frozen=True, slots=True)
class Condition:
    """A named predicate over the arguments of one call.

    Attributes:
        test: the predicate's name; `csptrace.intercept.codecs` holds one compiled form for each.
        param: the parameter it reads, empty for a combination.
        value: the mask or value it compares with, where it has one.
        parts: the conditions it combines.
        flag: the flag of a handle that it asks for.
    """

    test: str
    param: str = ""
    value: int = 0
    parts: tuple[Condition, ...] = ()
    flag: str = ""

    def params(self) -> Iterable[str]:
        """Yield every parameter that is read."""
        if self.param:
            yield self.param
        for part in self.parts:
            yield from part.params()

    def reads_result(self) -> bool:
        """Return whether it can only be judged after the call (it reads an out parameter)."""
        return self.test.startswith("stored") or any(part.reads_result() for part in self.parts)

    def flags(self) -> Iterable[tuple[str, str]]:
        """Yield the parameter and the flag of each handle that is asked for one."""
        if self.flag:
            yield self.param, self.flag
        for part in self.parts:
            yield from part.flags()

    def __str__(self) -> str:
        """Return the condition in words."""
        if self.parts:
            joined = {"every": " and ", "either": " or ", "negation": ""}[self.test].join(
                map(str, self.parts)
            )
            return f"not ({joined})" if self.test == "negation" else f"({joined})"
        return {
            "always": "always",
            "flag": f"{self.param} has {self.value:#x}",
            "nonzero": f"{self.param} is not 0",
            "equals": f"{self.param} is {self.value:#x}",
            "given": f"{self.param} is not NULL",
            "stored": f"*{self.param} is not 0",
            "stored_equals": f"*{self.param} is {self.value:#x}",
            "is_set": f"{self.param} has {self.flag} set",
        }[self.test]


def flag(param: str, mask: int) -> Condition:
    """Return a condition: all bits of `mask` are set in the DWORD `param`."""
    return Condition("flag", param, mask)


def nonzero(param: str) -> Condition:
    """Return a condition: the number in `param` is not 0."""
    return Condition("nonzero", param)


def equals(param: str, value: int) -> Condition:
    """Return a condition: the DWORD `param` is `value`."""
    return Condition("equals", param, value)


def given(param: str) -> Condition:
    """Return a condition: the pointer in `param` is not NULL (NULL asks for a size)."""
    return Condition("given", param)


def stored(param: str) -> Condition:
    """Return a condition: the call has written a number other than 0 through `param`."""
    return Condition("stored", param)


def stored_equals(param: str, value: int) -> Condition:
    """Return a condition: the call has written `value` through `param`."""
    return Condition("stored_equals", param, value)


def is_set(param: str, flag: str) -> Condition:
    """Return a condition: the handle in `param` has a flag set (`sets`), before the call.

    A condition with a flag does not hold where nobody knows it: the handle was not seen to be
    acquired, so that calls which set flags may have been missed.
    """
    return Condition("is_set", param, flag=flag)


def always() -> Condition:
    """Return a condition that holds for every call."""
    return Condition("always")


def negation(condition: Condition) -> Condition:
    """Return the opposite of a condition."""
    return Condition("negation", parts=(condition,))


def every(*conditions: Condition) -> Condition:
    """Return a condition that holds when all of `conditions` do."""
    return Condition("every", parts=conditions)


def either(*conditions: Condition) -> Condition:
    """Return a condition that holds when at least one of `conditions` does."""
    return Condition("either", parts=conditions)
