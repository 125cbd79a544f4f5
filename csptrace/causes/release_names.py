"""What handles are released with, in the words of each binding.

The names are those of the specs. Where a binding is Python that is written around them (PyKCS11's
`Session.closeSession` calls `C_CloseSession`), its own names are read from the source of the files
through which the handle was acquired.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

from csptrace.causes.source import callers_of, functions_in
from csptrace.spec.bindings import Dll
from csptrace.spec.effects import Acquires, AddsRef, Ends, Releases, ReleasesAll
from csptrace.stacks.frames import frame_at

if TYPE_CHECKING:
    from collections.abc import Iterable

    from csptrace.graph.handle import CallRecord
    from csptrace.spec.bindings import Binding, Spec
    from csptrace.spec.calls import Call
    from csptrace.spec.effects import Effect
    from csptrace.spec.kinds import Kind
    from csptrace.stacks.ownership import Ownership

__all__ = ["Names", "Vocabulary"]


class Names(NamedTuple):
    """The names that matter for one kind of handle, through one binding.

    Attributes:
        functions: what releases it wherever the handle stands in the call.
        methods: what releases it if it is called on the handle itself; too common a name otherwise.
        harmless: other functions of the API and the binding, which release nothing of the kind.
        shares: those of them that add a reference: then one release is not the end.
        word: what a user of the binding types to release it.
    """

    functions: frozenset[str]
    methods: frozenset[str]
    harmless: frozenset[str]
    shares: frozenset[str]
    word: str


class Vocabulary:
    """Knows the names by which handles are released.

    Args:
        specs: the APIs.
        ownership: tells a binding's own files from the user's.
    """

    def __init__(self, specs: Iterable[Spec], ownership: Ownership) -> None:
        self._ownership = ownership
        self._names: dict[tuple[str, str, str], Names] = {}
        self._acquiring: dict[str, set[str]] = {}
        self._outs: dict[tuple[str, str, str], int] = {}
        self._unlearned = tuple((spec, binding) for spec in specs for binding in spec.bindings)

    def _learn_all(self) -> None:
        """Read the specs, when the first leak is described: most runs have none."""
        for spec, binding in self._unlearned:
            self._learn(spec, binding)
        self._unlearned = ()

    def _learn(self, spec: Spec, binding: Binding) -> None:
        rows = (*spec.calls, *binding.rows)
        called: dict[str, list[str]] = {}
        for shape in binding.shapes.values():
            for name in (shape.call, *shape.steps):
                called.setdefault(name, []).append(shape.python)
        everything = {name for row in rows for name in row.names}
        everything.update(shape.python.rpartition(".")[2] for shape in binding.shapes.values())
        for kind in spec.kinds:
            functions: set[str] = set()
            methods: dict[str, None] = {}
            for row in rows:
                params = [param for effect in row.effects for param in _ends(effect, kind)]
                if not params:
                    continue
                functions.update(row.names)
                for python in (each for name in row.names for each in called.get(name, ())):
                    own = python.rpartition(".")[2]
                    if binding.shapes[python].receiver in params:
                        methods[own] = None
                    else:
                        functions.add(own)
            functions.difference_update(methods)
            words = [*methods, *(each.rpartition(".")[2] for each in called.get(kind.release, ()))]
            word = next((name for name in words if not name.startswith("__")), kind.release)
            self._names[kind.name, spec.name, binding.name] = Names(
                frozenset(functions),
                frozenset(methods),
                frozenset(everything - functions - set(methods)),
                frozenset(name for row in rows if _shares(row, kind) for name in row.names),
                word or "its release function",
            )
        for row in rows:
            for effect in row.effects:
                if isinstance(effect, Acquires):
                    self._acquiring.setdefault(effect.kind.name, set()).update(row.names)
        if isinstance(binding.target, Dll):
            self._learn_outs(spec.calls, spec.name, binding.name)

    def _learn_outs(self, rows: Iterable[Call], api: str, binding: str) -> None:
        for row in rows:
            for effect in row.effects:
                if isinstance(effect, Acquires) and effect.out in row.params:
                    at = row.params.index(effect.out)
                    for name in row.names:
                        self._outs[name, api, binding] = at

    def out_of(self, call_record: CallRecord) -> int | None:
        """Return the position of the parameter through which a call gave out a handle."""
        self._learn_all()
        site = call_record.site
        return self._outs.get((site.call, site.api, site.binding))

    def of(self, kind: Kind, begin: CallRecord) -> Names:
        """Return the names for a handle.

        Args:
            kind: its kind.
            begin: where it was acquired.
        """
        self._learn_all()
        site = begin.site
        names = self._names.get((kind.name, site.api, site.binding))
        if names is None:
            none: frozenset[str] = frozenset()
            release = kind.release or "its release function"
            names = Names(frozenset({kind.release} - {""}), none, none, none, release)
        for filename in self._files(begin):
            names = self._around(names, filename, kind)
        return names

    def _files(self, begin: CallRecord) -> list[str]:
        """Return the files of a library through which a handle was acquired."""
        files: dict[str, None] = {}
        for code in begin.stack.codes if begin.stack is not None else ():
            frame = frame_at(code, 0)
            if self._ownership.is_user(frame):
                break
            if not self._ownership.is_internal(frame):
                files[code.co_filename] = None
        return list(files)

    def _around(self, names: Names, filename: str, kind: Kind) -> Names:
        """Add the names of a file's functions that call what is known."""
        acquiring = frozenset(self._acquiring.get(kind.name, ()))
        found = _wrappers(filename, names.functions, acquiring, kind.release)
        if found is None:
            return names
        releasing, harmless, word = found
        return Names(
            names.functions | releasing,
            names.methods,
            names.harmless | harmless,
            names.shares,
            word or names.word,
        )


def _ends(effect: Effect, kind: Kind) -> list[str]:
    """Return by which parameter an effect ends a kind of handle, empty for no parameter of it."""
    if effect.kind is not kind:
        return []
    if isinstance(effect, ReleasesAll):
        return [""]
    if isinstance(effect, Releases) and effect.when is None and not effect.detaches:
        return [effect.param]
    if isinstance(effect, Ends) and effect.when is None and effect.on_success:
        return [effect.param]
    return []


def _shares(row: Call, kind: Kind) -> bool:
    return any(isinstance(effect, AddsRef) and effect.kind is kind for effect in row.effects)


@functools.lru_cache(maxsize=256)
def _wrappers(
    filename: str, releasing: frozenset[str], acquiring: frozenset[str], release: str
) -> tuple[frozenset[str], frozenset[str], str] | None:
    """Return which functions of a file release, which do not, and the one that does only that."""
    everything = functions_in(filename)
    if not everything:
        return None
    found = callers_of(filename, releasing) - callers_of(filename, acquiring)
    plain = sorted(
        name for name in callers_of(filename, frozenset({release})) & found if name[:1] != "_"
    )
    word = plain[0] if len(plain) == 1 else ""
    return frozenset(found), frozenset(everything - found), word
