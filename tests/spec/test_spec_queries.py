"""What a spec says about limits, and what it asks the provider."""

from __future__ import annotations

import ctypes
import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
from fictitious.vault import Vault, library

from csptrace.apis import registry
from csptrace.errors import SpecError
from csptrace.spec import (
    Answer,
    Binding,
    Codec,
    Dll,
    Kind,
    Query,
    Spec,
    Success,
    acquires,
    any_of,
    call,
    releases,
    uses,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from csptrace import Tracer

asked: list[tuple[Any, ...]] = []


def keys_allowed(realm: str, vault: int) -> int:
    """Ask a vault how many keys it allows."""
    asked.append((realm, vault))
    most = ctypes.c_size_t()
    function = ctypes.CFUNCTYPE(ctypes.c_int)(_address("VaultKeysAllowed"))
    return most.value if not function(ctypes.c_size_t(vault), ctypes.byref(most)) else 0


def survives(realm: str, vault: int, key: int) -> Answer:
    """Say of every key that it outlives its vault."""
    asked.append((realm, vault, key))
    return Answer.YES


def _address(name: str) -> int:
    import _ctypes

    return _ctypes.dlsym(_ctypes.dlopen(str(library()), 0), name)


def spec(**key: Any) -> Spec:
    """Return the spec of a vault whose keys are described so."""
    vault = Kind("HVAULT", "vault", space="vault", exclusive=True, release="VaultClose")
    made = Kind("HKEY", "key", under=vault, space="vault", orderly=True, release="VaultFree", **key)
    secret = Kind("HSECRET", "secret", under=vault, space="vault", release="VaultFree")

    def make(name: str, out: str, kind: Kind) -> Any:
        return call(
            name,
            f"hVault {out}",
            uses(vault, "hVault"),
            acquires(kind, out, under="hVault"),
            library="vault",
        )

    described = Spec(
        "vault",
        "vaults",
        kinds=(vault, made, secret),
        calls=(
            call("VaultOpen", "phVault", acquires(vault, "phVault"), library="vault"),
            call("VaultClose", "hVault", releases(vault, "hVault"), library="vault"),
            make("VaultMakeKey", "phKey", made),
            make("VaultMakeSecret", "phSecret", secret),
            call("VaultFree", "h", releases(any_of(made, secret), "h"), library="vault"),
        ),
        bindings=(Binding("ctypes", Dll(("vault",)), success=Success.ZERO, codec=Codec.CTYPES),),
    )
    registry.validate(described)
    return described


@pytest.fixture
def start(
    monkeypatch: pytest.MonkeyPatch, trace: Callable[..., Tracer]
) -> Callable[..., tuple[Tracer, Vault]]:
    """Return a function that traces a vault whose keys are described so."""
    asked.clear()

    def started(settings: dict[str, Any] | None = None, **key: Any) -> tuple[Tracer, Vault]:
        monkeypatch.setattr(registry, "load", lambda *_: (spec(**key),))
        return trace(on_leak="log", **(settings or {})), Vault("ctypes")

    return started


def complaints(tracer: Tracer) -> list[str]:
    """Return what was said about limits."""
    return tracer.diagnostics.complaints("limit")


def test_a_number_is_the_limit(start: Callable[..., tuple[Tracer, Vault]]) -> None:
    """Who comes near a declared limit is told once for each parent; other kinds do not count."""
    tracer, vault = start(limit=4)
    box = vault.get("VaultOpen")
    for _ in range(3):
        vault.get("VaultMakeSecret", box)
        vault.get("VaultMakeKey", box)
    assert complaints(tracer) == []
    vault.get("VaultMakeKey", box)
    vault.get("VaultMakeKey", box)

    (said,) = complaints(tracer)
    assert said.startswith(f"4 of 4 keys of vault 0x{box:08x} are open at once; close each with ")
    assert "VaultFree" in said
    assert "session_limit" not in said, "the user cannot raise what the API declares"
    (peak,) = tracer.recorder.peaks()
    assert (peak.kind, peak.peak, peak.limit) == ("HKEY", 5, 4)
    assert peak.line() == f"at most 5 of 4 HKEY open at once under HVAULT 0x{box:08x}"


def test_the_users_limit_is_for_what_is_asked(start: Callable[..., tuple[Tracer, Vault]]) -> None:
    """A limit that the API declares is not that of the setting for sessions."""
    tracer, vault = start({"session_limit": 1}, limit=4)
    vault.get("VaultMakeKey", vault.get("VaultOpen"))

    assert complaints(tracer) == []


def test_a_query_asks_for_the_limit(start: Callable[..., tuple[Tracer, Vault]]) -> None:
    """A limit that only the provider knows is asked for, once, when that can matter."""
    query = Query(f"{__name__}:keys_allowed", "the vault says how many")
    tracer, vault = start(limit=query)
    box = vault.get("VaultOpen")
    for _ in range(7):
        vault.get("VaultMakeKey", box)
    assert asked == []
    vault.get("VaultMakeKey", box)
    vault.get("VaultMakeKey", box)

    assert asked == [("", box)]
    (said,) = complaints(tracer)
    assert said.startswith("8 of 10 keys")
    assert "session_limit" in said


def test_a_query_decides_what_survives(start: Callable[..., tuple[Tracer, Vault]]) -> None:
    """What the provider says outlives its parent is no leak."""
    query = Query(f"{__name__}:survives", "the vault keeps it")
    tracer, vault = start(survives=query)
    box = vault.get("VaultOpen")
    key = vault.get("VaultMakeKey", box)
    vault.call("VaultClose", box)

    assert asked == [("", box, key)]
    assert tracer.check() == ()


def test_words_of_a_query_are_shown() -> None:
    """`csptrace specs --json` says in words what is asked for."""
    (query,) = spec(limit=Query(f"{__name__}:keys_allowed", "as the vault says")).queries

    assert query.words == "as the vault says"


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ("no.such.module:f", "No module named"),
        (f"{__name__}:no_such_function", "no_such_function"),
        (f"{__name__}:asked", "it is list, not a function"),
    ],
)
def test_a_query_that_leads_nowhere_is_refused(where: str, why: str) -> None:
    """The spec is refused when it is loaded, and the message names its file and the query."""
    with pytest.raises(SpecError, match="query") as caught:
        spec(limit=Query(where, "x"))

    assert why in str(caught.value)
    assert __file__ in str(caught.value)
    assert where in str(caught.value)


def test_queries_of_effects_count() -> None:
    """What is asked before many handles end is among a spec's queries."""
    from csptrace.apis.pkcs11.spec import SPEC

    assert {query.where.partition(":")[2] for query in SPEC.queries} == {
        "is_on_token",
        "is_private",
        "sessions_allowed",
    }
    assert dataclasses.replace(SPEC, kinds=(), calls=(), bindings=()).queries == set()
