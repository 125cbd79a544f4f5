"""Which rows hold for the functions of a library: those of every spec that describes it."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

from csptrace.graph.sites import CallSite
from csptrace.spec.bindings import Dll
from csptrace.spec.merging import check_together, merged, shares_library

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from csptrace.spec.bindings import Binding, Codec, Spec
    from csptrace.spec.calls import Call
    from csptrace.spec.kinds import Kind

__all__ = ["LibraryRows", "Row", "library_name"]


class Row(NamedTuple):
    """What one function of a library does.

    Attributes:
        specs: the specs that say so; the first one's name stands for the call in reports.
        binding: the first one's.
        call: what all of them say.
    """

    specs: tuple[Spec, ...]
    binding: Binding
    call: Call

    @property
    def scoped(self) -> bool:
        """Whether the values of its handles belong to one library."""
        return self.specs[0].scoped

    def site(self, name: str) -> CallSite:
        """Return what a call of the function is named in reports.

        Args:
            name: the function's exported name.
        """
        return CallSite(name, self.specs[0].name, self.binding.name)

    def sites(self, name: str) -> dict[Kind, CallSite]:
        """Return what a call is named where it is about handles of another spec than the first.

        Args:
            name: the function's exported name.
        """
        return {
            kind: CallSite(name, spec.name, binding.name)
            for spec in self.specs[1:]
            for binding in spec.bindings
            if binding.codec is self.binding.codec
            for kind in spec.kinds
        }


class LibraryRows:
    """The rows of a set of specs, by the library that they are looked up in.

    Args:
        specs: the specs.
        libraries: further library names; each spec describes what it knows in these.

    Raises:
        SpecError: two specs contradict each other about a function of a library.
    """

    def __init__(self, specs: Sequence[Spec], libraries: Iterable[str]) -> None:
        self._specs = tuple(specs)
        self._further = frozenset(map(library_name, libraries)) - {""}
        self._merged: dict[tuple[Codec, tuple[Spec, ...]], dict[str, Row]] = {}
        check_together(self._specs, everywhere=bool(self._further))

    def described(self, codec: Codec) -> dict[str, list[Row]]:
        """Return the rows of every function that any spec describes.

        Args:
            codec: how the library is reached.
        """
        found: dict[str, list[Row]] = {}
        for spec in self._specs:
            for name, row in self.of((spec,), codec).items():
                found.setdefault(name, []).append(row)
        return found

    def of(self, specs: Iterable[Spec], codec: Codec) -> dict[str, Row]:
        """Return what some specs say of the functions of one library.

        Args:
            specs: those that describe the library.
            codec: how it is reached.
        """
        wanted = tuple(specs)
        rows = self._merged.get((codec, wanted))
        if rows is None:
            rows = self._merged[codec, wanted] = _rows(wanted, codec)
        return rows

    def names(self, spec: Spec, codec: Codec, library: object) -> bool:
        """Return whether a spec describes a library of this name.

        Args:
            spec: the spec.
            codec: how the library is reached.
            library: what the program has loaded it by.
        """
        plain = library_name(library)
        return any(
            plain in self._further or plain in binding.target.libraries
            for binding in spec.bindings
            if binding.codec is codec and isinstance(binding.target, Dll)
        )

    def covering(self, codec: Codec, library: object) -> tuple[Spec, ...]:
        """Return the specs that describe a library of this name.

        Args:
            codec: how the library is reached.
            library: what the program has loaded it by.
        """
        return tuple(spec for spec in self._specs if self.names(spec, codec, library))

    def beside(self, api: str, codec: Codec) -> tuple[Spec, ...]:
        """Return the spec of a name, and those that describe functions of the same libraries.

        Args:
            api: the name.
            codec: how the libraries are reached.
        """
        named = next(spec for spec in self._specs if spec.name == api)
        return (
            named,
            *(
                spec
                for spec in self._specs
                if spec is not named
                and spec.scoped == named.scoped
                and shares_library(named, spec, codec)
            ),
        )


def _rows(specs: tuple[Spec, ...], codec: Codec) -> dict[str, Row]:
    found: dict[str, list[tuple[Spec, Binding, Call]]] = {}
    for spec in specs:
        for binding in spec.bindings:
            if binding.codec is codec:
                for name, call in spec.by_name().items():
                    found.setdefault(name, []).append((spec, binding, call))
    return {
        name: Row(
            tuple(spec for spec, _, _ in each),
            each[0][1],
            merged(name, [call for _, _, call in each]),
        )
        for name, each in found.items()
    }


def library_name(name: object) -> str:
    """Return a library's name without folder, `lib` prefix and suffix, in lower case.

    Args:
        name: what the program loaded (`"ADVAPI32.DLL"`, `"/opt/csp/libcapi20.so.4"`), or a
            setting.

    Returns:
        `"advapi32"`, `"capi20"`; empty for `None`, which loads the program itself.
    """
    if not isinstance(name, str | bytes | os.PathLike):
        return ""
    last = re.split(r"[\\/]", os.fsdecode(name))[-1].lower()
    return re.sub(r"^lib|\.(dll|dylib|drv|so(\.[\w.]+)?)$", "", last)
