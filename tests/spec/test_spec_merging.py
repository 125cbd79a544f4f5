"""One function that several specs describe, and one parameter that takes one of several kinds."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

import pytest
import required
from fictitious.vault import Vault

import csptrace
from csptrace.apis import registry
from csptrace.errors import SpecError
from csptrace.findings.errors import DoubleRelease, UseAfterRelease, WrongRelease
from csptrace.spec import (
    RETURN,
    Binding,
    Call,
    Codec,
    Dll,
    Kind,
    Spec,
    Success,
    acquires,
    adds_ref,
    any_of,
    call,
    finds,
    flag,
    nonzero,
    parent_of,
    releases,
    uses,
)
from csptrace.spec.effects import Acquires, Releases, Uses
from csptrace.spec.merging import check_together, merged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from csptrace import Tracer

VAULT = Kind("HVAULT", "vault", space="vault", release="VaultClose")
KEY = Kind("HKEY", "key", under=VAULT, orderly=True, space="vault", release="VaultFree")
SECRET = Kind("HSECRET", "secret", under=VAULT, orderly=True, space="vault", release="VaultFree")
BINDINGS = (
    Binding("ctypes", Dll(("vault",)), success=Success.ZERO, codec=Codec.CTYPES),
    Binding("cffi", Dll(("vault",)), success=Success.ZERO, codec=Codec.CFFI),
)


def row(names: str, params: str, *effects: Any) -> Call:
    """Return a row of the vault's library."""
    return call(names, params, *effects, library="vault")


KEYS = Spec(
    "vault",
    "vaults and keys",
    kinds=(VAULT, KEY),
    calls=(
        row("VaultOpen", "phVault", acquires(VAULT, "phVault")),
        row("VaultClose", "hVault", releases(VAULT, "hVault")),
        row(
            "VaultMakeKey",
            "hVault phKey",
            uses(VAULT, "hVault"),
            acquires(KEY, "phKey", under="hVault"),
        ),
        row("VaultFree", "hObject", releases(KEY, "hObject")),
        row("VaultUse", "hObject", uses(KEY, "hObject")),
    ),
    bindings=BINDINGS,
)
SECRETS = Spec(
    "secrets",
    "secrets in vaults",
    kinds=(SECRET,),
    calls=(
        row(
            "VaultMakeSecret",
            "hVault phSecret",
            uses(VAULT, "hVault"),
            acquires(SECRET, "phSecret", under="hVault"),
        ),
        row("VaultFree", "hSecret", releases(SECRET, "hSecret")),
        row("VaultUse", "hSecret", uses(SECRET, "hSecret")),
    ),
    bindings=BINDINGS,
    foreign=(VAULT,),
)
WHOLE = Spec(
    "vault",
    "vaults",
    kinds=(VAULT, KEY, SECRET),
    calls=(
        *(each for each in KEYS.calls if each.name not in ("VaultFree", "VaultUse")),
        SECRETS.calls[0],
        row("VaultFree", "hObject", releases(any_of(KEY, SECRET), "hObject")),
        row("VaultUse", "hObject", uses(any_of(KEY, SECRET), "hObject")),
    ),
    bindings=BINDINGS,
)


@pytest.fixture(params=["two specs", "two specs, the other first", "any_of"])
def specs(request: pytest.FixtureRequest) -> tuple[Spec, ...]:
    """Return specs that say the same in different ways."""
    return {
        "two specs": (KEYS, SECRETS),
        "two specs, the other first": (SECRETS, KEYS),
        "any_of": (WHOLE,),
    }[request.param]


@pytest.fixture(params=["ctypes", "cffi"])
def traced(
    request: pytest.FixtureRequest,
    specs: tuple[Spec, ...],
    monkeypatch: pytest.MonkeyPatch,
    trace: Callable[..., Tracer],
) -> Iterator[tuple[Tracer, Vault]]:
    """Return a tracer of these specs, and the library, through one binding."""
    if request.param == "cffi" and importlib.util.find_spec("cffi") is None:
        required.missing("cc", "cffi is not installed")
    for spec in specs:
        registry.validate(spec)
    monkeypatch.setattr(registry, "load", lambda *_: specs)
    yield trace(), Vault(request.param)
    csptrace.stop()


def test_the_effects_of_every_spec_apply(traced: tuple[Tracer, Vault]) -> None:
    """A release releases what it is given, whichever spec knows that kind."""
    tracer, vault = traced
    box = vault.get("VaultOpen")
    key, secret = vault.get("VaultMakeKey", box), vault.get("VaultMakeSecret", box)
    assert [unreleased.kind for unreleased in tracer.live()] == ["HVAULT", "HKEY", "HSECRET"]
    vault.call("VaultUse", key)
    vault.call("VaultUse", secret)
    vault.call("VaultFree", secret)
    assert [unreleased.kind for unreleased in tracer.live()] == ["HVAULT", "HKEY"]
    vault.call("VaultFree", key)
    vault.call("VaultClose", box)

    assert tracer.live() == ()
    assert tracer.check() == ()


def test_a_leak_of_either_kind_is_found(traced: tuple[Tracer, Vault]) -> None:
    """What is not released when the parent goes is a leak, and bears the name of its own API."""
    tracer, vault = traced
    box = vault.get("VaultOpen")
    vault.get("VaultMakeKey", box)
    vault.get("VaultMakeSecret", box)
    vault.call("VaultClose", box)

    apis = {spec.name for spec in tracer.installation.specs}
    own = "secrets" if "secrets" in apis else "vault"
    assert [(found.handle.kind, found.api) for found in tracer.check()] == [
        ("HKEY", "vault"),
        ("HSECRET", own),
    ]


@pytest.mark.parametrize("made", ["VaultMakeKey", "VaultMakeSecret"])
def test_misuse_is_that_of_the_kind_that_had_the_value(
    traced: tuple[Tracer, Vault], made: str
) -> None:
    """A second release and a use after the release are what they are for one kind."""
    _, vault = traced
    box = vault.get("VaultOpen")
    value = vault.get(made, box)
    vault.call("VaultFree", value)

    with pytest.raises(DoubleRelease):
        vault.call("VaultFree", value)
    with pytest.raises(UseAfterRelease):
        vault.call("VaultUse", value)
    vault.call("VaultClose", box)


def test_a_value_that_is_another_kind_now_is_that(traced: tuple[Tracer, Vault]) -> None:
    """The live handle decides, although one of the other kind has died with the same value."""
    tracer, vault = traced
    box = vault.get("VaultOpen")
    for first, second in (("VaultMakeKey", "VaultMakeSecret"), ("VaultMakeSecret", "VaultMakeKey")):
        old = vault.get(first, box)
        vault.call("VaultFree", old)
        new = vault.get(second, box)
        assert new == old, "the library hands values out again"
        vault.call("VaultUse", new)
        vault.call("VaultFree", new)
    vault.call("VaultClose", box)

    assert tracer.check() == ()
    assert tracer.live() == ()


def test_an_unknown_value_is_no_error_the_first_time(traced: tuple[Tracer, Vault]) -> None:
    """What was never seen may be released once; then it is dead."""
    tracer, vault = traced
    unknown = 0x7FF0
    vault.call("VaultUse", unknown)
    vault.call("VaultFree", unknown)

    assert tracer.check() == ()


def test_a_kind_that_is_not_among_them_is_wrong(traced: tuple[Tracer, Vault]) -> None:
    """A context that is given to the function for keys and secrets is released wrongly."""
    _, vault = traced
    box = vault.get("VaultOpen")

    with pytest.raises(WrongRelease):
        vault.call("VaultFree", box)
    vault.call("VaultClose", box)


def test_a_handle_bound_to_one_kind_of_the_rows() -> None:
    """Parameters are matched by position; what is said twice is said once."""
    mine = row("F", "hA dwFlags phB", uses(VAULT, "hA"), acquires(KEY, "phB", under="hA"))
    its = row(
        "F G",
        "hX dwHow phY",
        uses(VAULT, "hX", hands_over=flag("dwHow", 2)),
        finds(SECRET, RETURN, when=nonzero("dwHow")),
    )
    both = merged("F", [mine, its])

    assert both.names == ("F",)
    assert both.params == ("hA", "dwFlags", "phB")
    assert both.effects == (
        uses(VAULT, "hA", hands_over=flag("dwFlags", 2)),
        acquires(KEY, "phB", under="hA"),
        finds(SECRET, RETURN, when=nonzero("dwFlags")),
    )
    assert merged("G", [its]) is its


def test_a_release_is_a_use() -> None:
    """One row says that a handle is used and the other that it is released: it is released."""
    using = row("F", "hA", uses(VAULT, "hA"))
    releasing = row("F", "hB", releases(VAULT, "hB"))

    assert merged("F", [using, releasing]).effects == (Releases(VAULT, "hA"),)
    assert merged("F", [releasing, using]).effects == (Releases(VAULT, "hB"),)


def test_a_reference_to_a_parent_is_renamed() -> None:
    """`parent_of` names a parameter, too."""
    duplicate = row(
        "F", "hKey phKey", uses(KEY, "hKey"), acquires(KEY, "phKey", under=parent_of("hKey"))
    )
    both = merged("F", [row("F", "hA phB", uses(SECRET, "hA")), duplicate])

    assert both.effects == (
        Uses(SECRET, "hA"),
        Uses(KEY, "hA"),
        Acquires(KEY, "phB", parent_of("hA")),
    )


CONFLICTS = {
    "number of parameters": (
        row("F", "hA", uses(VAULT, "hA")),
        row("F", "hA dwFlags", uses(VAULT, "hA")),
        "1 parameters there and 2 here",
    ),
    "two handles in one place": (
        row("F", "phA", acquires(VAULT, "phA")),
        row("F", "phA", acquires(KEY, "phA")),
        "of phA it says Acquires HVAULT there and Acquires HKEY here",
    ),
    "owed or not": (
        row("F", "phA", acquires(VAULT, "phA")),
        row("F", "phA", finds(VAULT, "phA")),
        "Acquires HVAULT there and Finds HVAULT here",
    ),
    "released or kept": (
        row("F", "hA", releases(VAULT, "hA")),
        row("F", "hA", adds_ref(VAULT, "hA")),
        "Releases HVAULT there and AddsRef HVAULT here",
    ),
    "released on other terms": (
        row("F", "hA dwFlags", releases(VAULT, "hA", when=flag("dwFlags", 1))),
        row("F", "hA dwFlags", releases(VAULT, "hA", when=flag("dwFlags", 2))),
        "on other terms",
    ),
}


@pytest.mark.parametrize("case", CONFLICTS)
def test_what_cannot_both_be_true_is_refused(case: str) -> None:
    """The error names both places, says what differs, and what to do."""
    first, other, why = CONFLICTS[case]
    with pytest.raises(SpecError, match="too, and the two cannot both be true") as caught:
        merged("F", [first, other])

    told = str(caught.value)
    assert why in told
    assert first.source in told
    assert other.source in told
    assert "setting apis" in told


def _spec(name: str, effect: Any, success: Success, *libraries: str, scoped: bool = False) -> Spec:
    return Spec(
        name,
        name,
        kinds=(),
        calls=(row("F", "hA", effect),),
        bindings=(Binding("ctypes", Dll(libraries), success=success, codec=Codec.CTYPES),),
        scoped=scoped,
    )


def test_specs_of_one_library_are_checked_together() -> None:
    """Success that is told in two ways, and values of two sorts, cannot be merged."""
    one = _spec("one", uses(VAULT, "hA"), Success.ZERO, "vault")
    for other, why in (
        (_spec("b", uses(KEY, "hA"), Success.NONZERO, "vault"), "success is 'zero' there"),
        (_spec("b", uses(KEY, "hA"), Success.ZERO, "vault", scoped=True), "scoped=True"),
    ):
        with pytest.raises(SpecError, match=why):
            check_together((one, other))


def test_one_name_in_two_libraries_is_two_functions(
    monkeypatch: pytest.MonkeyPatch, trace: Callable[..., Tracer]
) -> None:
    """A spec says nothing of a library that it does not name."""
    other = Spec(
        "other",
        "functions of the same names in another library",
        kinds=(),
        calls=(row("VaultFree", "a b c", uses(VAULT, "a")),),
        bindings=(Binding("ctypes", Dll(("other",)), success=Success.NONZERO, codec=Codec.CTYPES),),
        foreign=(VAULT,),
    )
    check_together((other, WHOLE))
    monkeypatch.setattr(registry, "load", lambda *_: (other, WHOLE))
    tracer, vault = trace(), Vault("ctypes")
    box = vault.get("VaultOpen")
    vault.call("VaultFree", vault.get("VaultMakeKey", box))
    vault.call("VaultClose", box)

    assert tracer.live() == ()


def test_a_library_that_both_are_said_of_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The setting `libraries` makes every spec speak of the library that it names."""
    one = _spec("one", uses(VAULT, "hA"), Success.ZERO, "one")
    other = _spec("other", uses(KEY, "hA"), Success.NONZERO, "other")
    monkeypatch.setattr(registry, "load", lambda *_: (one, other))

    with pytest.raises(SpecError, match="success is"):
        csptrace.start(quiet=True, libraries=("vendor",))


@pytest.mark.parametrize(
    ("kinds", "why"),
    [
        ((KEY,), "name two kinds or more"),
        ((KEY, KEY), "name two kinds or more"),
        ((KEY, Kind("OTHER", "other", space="elsewhere")), "give them one space="),
        ((Kind("A", "a"), Kind("B", "b")), "give them one space="),
    ],
)
def test_any_of_needs_kinds_that_a_value_tells_apart(kinds: tuple[Kind, ...], why: str) -> None:
    """Two kinds that may have one live value in common cannot be told apart by it."""
    with pytest.raises(SpecError, match=why):
        any_of(*kinds)


def test_any_of_stands_for_one_effect_of_each_kind() -> None:
    """Whatever reads the effects of a row sees kinds."""
    described = row("F", "h", adds_ref(any_of(KEY, SECRET), "h"))

    assert [effect.kind for effect in described.effects] == [KEY, SECRET]
