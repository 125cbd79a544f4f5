"""Tables of functions that a library hands out: structures of function pointers, in ctypes.

A field of such a structure is a new function pointer at every access, made by a descriptor of the
structure's class. The descriptor is replaced by one that hands out traced functions for the tables
that a traced call has returned, and what the descriptor says for every other structure.
"""

from __future__ import annotations

import contextlib
import ctypes
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from csptrace.install.journal import Journal

__all__ = ["FunctionTables"]

_CArgObject: Final[type] = type(ctypes.byref(ctypes.c_int()))
_Pointer: Final[type] = ctypes.POINTER(ctypes.c_int).__mro__[1]


class FunctionTables:
    """Traces the functions of tables.

    Args:
        journal: notes which classes are patched.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._traced: dict[int, dict[str, Any]] = {}
        self._tracers: dict[int, Callable[[str, Any], Any]] = {}
        self._classes: set[type] = set()

    def adopt(self, argument: Any, trace: Callable[[str, Any], Any], names: Container[str]) -> None:
        """Trace the table behind an out argument.

        Args:
            argument: `byref(p)` or `pointer(p)`, where `p` is a pointer to the structure; anything
                else is not known to be a table and left alone.
            trace: returns the traced form of a function of that name.
            names: which fields to trace.
        """
        target = argument
        if type(argument) is _CArgObject:
            target = cast("Any", argument)._obj
        elif isinstance(argument, _Pointer) and argument:
            target = cast("Any", argument).contents
        if not isinstance(target, _Pointer) or not target:
            return
        cls = cast("Any", target)._type_
        if not issubclass(cls, ctypes.Structure):
            return
        address = ctypes.addressof(cast("Any", target).contents)
        self._traced[address] = {}
        self._tracers[address] = trace
        if cls not in self._classes:
            self._patch(cls, names)

    def _patch(self, cls: type, names: Container[str]) -> None:
        originals = {
            name: vars(cls)[name]
            for name, *_ in getattr(cls, "_fields_", ())
            if name in names and name in vars(cls)
        }
        self._classes.add(cls)
        for name, original in originals.items():
            setattr(cls, name, property(self._getter(name, original), original.__set__))

        def undo() -> None:
            for name, original in originals.items():
                with contextlib.suppress(AttributeError):
                    setattr(cls, name, original)
            self._classes.discard(cls)

        self._journal.add(f"{cls.__module__}.{cls.__qualname__}", undo)

    def _getter(self, name: str, original: Any) -> Callable[[Any], Any]:
        def get(table: Any) -> Any:
            address = ctypes.addressof(table)
            known = self._traced.get(address)
            if known is None:
                return original.__get__(table)
            function = known.get(name)
            if function is None:
                function = original.__get__(table)
                if callable(function) and function:
                    function = known[name] = self._tracers[address](name, function)
            return function

        return get
