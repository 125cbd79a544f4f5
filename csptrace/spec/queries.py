"""Queries: what the provider itself is asked about a handle, by a function of the API's folder.

A query is an extra native call. It is made only where the answer decides what is a leak or how many
handles there may be, and never on the way to or from a failed call.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import importlib
import re
from typing import TYPE_CHECKING, Any

from csptrace.errors import SpecError
from csptrace.spec.origin import caller

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Answer", "Query"]


class Answer(enum.Enum):
    """What a provider says to a query about a handle."""

    YES = "yes"
    NO = "no"
    GONE = "gone"
    """The handle has ended behind the tracer's back."""
    ORPHANED = "orphaned"
    """The parent that was named in the query has."""
    UNKNOWN = "unknown"


@dataclasses.dataclass(frozen=True, slots=True)
class Query:
    """One query, and the function that makes it.

    The function is imported when the spec is checked, not when the spec is read. It never loads a
    library, never raises, and is one of these:

    * for `Kind(survives=)` and `releases_all(asking=)`: `(realm, parent's value, value) -> Answer`;
    * for `Kind(limit=)`: `(realm, parent's value) -> int`, 0 if it is unlimited or unknown.

    `realm` is the real path of the library's file for a spec that is `scoped`, otherwise empty.

    Attributes:
        where: `"package.module:function"`.
        words: what an answer "yes" means, for `csptrace specs` (`"the token says CKA_TOKEN"`).
    """

    where: str
    words: str

    def __post_init__(self) -> None:
        """Refuse what names no function.

        Raises:
            SpecError: `where` is not of the form `"package.module:function"`.
        """
        if not re.fullmatch(r"\w+(\.\w+)*:\w+", self.where):
            raise SpecError(
                f"{caller()}: query {self.where!r} is not of the form 'package.module:function'"
            )

    def function(self) -> Callable[..., Any]:
        """Return the function.

        Raises:
            SpecError: there is none of that name.
        """
        return _function(self.where)

    def ask(self, realm: str, *values: int) -> Any:
        """Ask the provider.

        Args:
            realm: the library whose values these are.
            values: the parent's value, and the handle's if it is about a handle.

        Returns:
            What the function returns.
        """
        return _function(self.where)(realm, *values)


@functools.cache
def _function(where: str) -> Callable[..., Any]:
    module, _, name = where.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise SpecError(f"query {where}: there is no such function ({error})") from error
    if not callable(found):
        raise SpecError(f"query {where}: it is {type(found).__name__}, not a function")
    return found  # type: ignore[no-any-return]
