"""How to read handles and numbers from what Python APIs take that need no ctypes.

Apart from `csptrace.intercept.codecs`, so that a program without ctypes does not import it.
"""

from __future__ import annotations

from typing import Any

__all__ = ["UNREADABLE", "BoxedCodec", "ObjectCodec"]

# What reading an argument may raise if it is no handle. Anything else is the program's own (an
# argument's property, a signal handler), and the program has to see it.
UNREADABLE = (
    TypeError,
    ValueError,
    AttributeError,
    LookupError,
    ArithmeticError,
    BufferError,
    RuntimeError,
    SystemError,
)


class ObjectCodec:
    """Reads the arguments of a Python API with handle objects; numbers are ints already."""

    def __init__(self) -> None:
        self.simple: set[type] = set()

    def of(self, function: Any) -> ObjectCodec:  # noqa: ARG002 - protocol
        """Return itself."""
        return self

    def value(self, argument: Any) -> int | None:
        """Return an int argument, 0 for `None`."""
        if isinstance(argument, int):
            return int(argument)
        return 0 if argument is None else None

    def stored(self, argument: Any) -> int | None:  # noqa: ARG002 - protocol
        """Return nothing: this kind of API has no out parameters."""
        return None

    def listed(self, argument: Any, count: int | None) -> list[int]:  # noqa: ARG002 - protocol
        """Return nothing, as `stored`."""
        return []

    def text(self, argument: Any) -> str:
        """Return a text argument, empty for `None`."""
        return argument if isinstance(argument, str) else ""


class BoxedCodec:
    """Reads numbers in objects of their own with a method `value()`, as SWIG makes them."""

    def __init__(self) -> None:
        self.simple: set[type] = set()

    def of(self, function: Any) -> BoxedCodec:  # noqa: ARG002 - protocol
        """Return itself."""
        return self

    def value(self, argument: Any) -> int | None:
        """Return an int, the number in a box, how long a buffer is; 0 for `None`.

        An empty buffer is passed on as a null pointer, to ask for a size.
        """
        if isinstance(argument, int):
            return int(argument)
        if argument is None:
            return 0
        try:
            inner = getattr(argument, "value", None)
            number = inner() if callable(inner) else len(argument)
        except UNREADABLE:
            return None
        return number if isinstance(number, int) else None

    def stored(self, argument: Any) -> int | None:
        """Return the number in a box that a call has filled."""
        return self.value(argument)

    def listed(self, argument: Any, count: int | None) -> list[int]:  # noqa: ARG002 - it knows
        """Return the numbers in a list that a call has filled, which is as long as they are."""
        try:
            return [int(number) for number in argument]
        except UNREADABLE:
            return []

    def text(self, argument: Any) -> str:
        """Return a text argument, empty if it is none."""
        return argument if isinstance(argument, str) else ""
