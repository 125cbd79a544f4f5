"""The words in which a spec states what an API promises: three objects, effects, conditions.

A spec is data. It names C functions and parameters verbatim and never contains control flow, so
that one engine serves every API and a new API is one new file. What a row can say:

* objects: `Kind` (a type of handle), `call` (one C function), `Binding` (how Python reaches it);
  `exports` gives the `call` of one library, whose parameters' names say what they carry;
* effects: `acquires`, `begins`, `finds`, `uses`, `adds_ref`, `releases`, `releases_all`,
  `detaches`, `ends`, `exposes`, and `sets` and `clears` of the flags of a handle; of operations
  without a handle of their own `starts`, `updates`, `finishes`, `cancels`;
* a choice: `any_of(KIND, …)` in the place of a kind, where a function takes one of several;
* targets of a binding: `Dll`, `Functions`, `Methods`, `Objects`, `LibraryObjects`;
* references: a parameter name, `parent_of(param)`, `needs_of(param)`, `RETURN`, `LIBRARY` (the
  loaded library that the call goes to) or `OWNER` (the Python object it is called on);
* conditions: `flag`, `nonzero`, `equals`, `given`, `is_set`, `stored`, `stored_equals`, combined
  by `negation`, `every` and `either`;
* queries, which are asked of the provider itself: `Query`, answered by an `Answer`.

The values of a `Spec` that is `scoped` are those of one loaded library: 1 in one module is another
session than 1 in another. `Spec.within(realm)` gives the spec as it holds for one of them, with
kinds of its own, so that everything which goes by kind tells them apart without looking.

Every constructor refuses what cannot be true and names file, function and parameter.
"""

from __future__ import annotations

from csptrace.spec.bindings import (
    Binding,
    Codec,
    Collects,
    Dll,
    Functions,
    LibraryObjects,
    Methods,
    Objects,
    Shape,
    Spec,
    Success,
    Target,
    shapes,
)
from csptrace.spec.calls import (
    Call,
    call,
    exports,
)
from csptrace.spec.conditions import (
    Condition,
    always,
    either,
    equals,
    every,
    flag,
    given,
    is_set,
    negation,
    nonzero,
    stored,
    stored_equals,
)
from csptrace.spec.effects import (
    Acquires,
    AddsRef,
    AnyOf,
    Effect,
    Ends,
    Exposes,
    Finds,
    Reference,
    Releases,
    ReleasesAll,
    Sets,
    Uses,
    acquires,
    adds_ref,
    any_of,
    begins,
    cancels,
    clears,
    detaches,
    ends,
    exposes,
    finds,
    finishes,
    needs_of,
    parent_of,
    releases,
    releases_all,
    sets,
    starts,
    updates,
    uses,
)
from csptrace.spec.kinds import (
    LIBRARY,
    OWNER,
    RETURN,
    Cascade,
    Fork,
    Kind,
)
from csptrace.spec.queries import Answer, Query

__all__ = [
    "LIBRARY",
    "OWNER",
    "RETURN",
    "Acquires",
    "AddsRef",
    "Answer",
    "AnyOf",
    "Binding",
    "Call",
    "Cascade",
    "Codec",
    "Collects",
    "Condition",
    "Dll",
    "Effect",
    "Ends",
    "Exposes",
    "Finds",
    "Fork",
    "Functions",
    "Kind",
    "LibraryObjects",
    "Methods",
    "Objects",
    "Query",
    "Reference",
    "Releases",
    "ReleasesAll",
    "Sets",
    "Shape",
    "Spec",
    "Success",
    "Target",
    "Uses",
    "acquires",
    "adds_ref",
    "always",
    "any_of",
    "begins",
    "call",
    "cancels",
    "clears",
    "detaches",
    "either",
    "ends",
    "equals",
    "every",
    "exports",
    "exposes",
    "finds",
    "finishes",
    "flag",
    "given",
    "is_set",
    "needs_of",
    "negation",
    "nonzero",
    "parent_of",
    "releases",
    "releases_all",
    "sets",
    "shapes",
    "starts",
    "stored",
    "stored_equals",
    "updates",
    "uses",
]
