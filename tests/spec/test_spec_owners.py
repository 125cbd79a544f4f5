"""Handles that are handed over to another handle, and handles that are lent by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fictitious.vault import Vault

import csptrace
from csptrace.apis import registry
from csptrace.errors import SpecError
from csptrace.findings.errors import UseAfterInvalidation
from csptrace.spec import (
    RETURN,
    Binding,
    Codec,
    Dll,
    Kind,
    Spec,
    Success,
    acquires,
    adds_ref,
    always,
    call,
    equals,
    exports,
    finds,
    negation,
    releases,
    uses,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from csptrace import Tracer

VAULT = Kind("HVAULT", "vault", params="hVault", space="vault", release="VaultClose")
KEY = Kind(
    "HKEY",
    "key",
    under=VAULT,
    params="hKey hObject",
    orderly=True,
    space="vault",
    release="VaultFree",
)
DRIVE = Kind("HDRIVE", "drive", params="hDrive", space="vault", release="DriveClose")
vault = exports("vault", VAULT, KEY)
drive = exports("vault", DRIVE)
BINDINGS = (
    Binding("ctypes", Dll(("vault",)), success=Success.ZERO, codec=Codec.CTYPES),
    Binding("cffi", Dll(("vault",)), success=Success.ZERO, codec=Codec.CFFI),
)
VAULTS = Spec(
    "vaults",
    "vaults",
    kinds=(VAULT, KEY),
    calls=(
        vault("VaultOpen", "phVault"),
        vault("VaultAddRef", "hVault", adds_ref(VAULT, "hVault")),
        vault("VaultClose", "hVault", releases(VAULT, "hVault")),
        vault("VaultMakeKey", "hVault phKey"),
        vault(
            "VaultMasterKey",
            "hVault dwFlags phKey",
            uses(VAULT, "hVault"),
            acquires(KEY, "phKey", when=equals("dwFlags", 1)),
            finds(KEY, "phKey", under="hVault", unless=equals("dwFlags", 1)),
        ),
        vault("VaultUse", "hObject"),
        vault("VaultFree", "hObject", releases(KEY, "hObject")),
        # What a drive is, another spec knows.
        vault(
            "DriveOpen",
            "hVault dwFlags phDrive",
            uses(VAULT, "hVault", hands_over=negation(equals("dwFlags", 1)), to="phDrive"),
        ),
    ),
    bindings=BINDINGS,
)
DRIVES = Spec(
    "drives",
    "drives",
    kinds=(DRIVE,),
    calls=(
        drive("DriveOpen", "hMounted dwFlags phDrive"),
        drive("DriveClose", "hDrive", releases(DRIVE, "hDrive")),
    ),
    bindings=BINDINGS,
)


@pytest.fixture(params=["ctypes", "cffi"])
def traced(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, trace: Callable[..., Tracer]
) -> Iterator[tuple[Tracer, Vault]]:
    """Return a tracer and the library, through one binding."""
    if request.param == "cffi":
        pytest.importorskip("cffi")
    for spec in (VAULTS, DRIVES):
        registry.validate(spec)
    monkeypatch.setattr(registry, "load", lambda *_: (VAULTS, DRIVES))
    yield trace(), Vault(request.param)
    csptrace.stop()


def kinds(tracer: Tracer) -> list[str]:
    """Return the kinds of what is owed."""
    return [handle.kind for handle in tracer.live()]


def test_the_new_owner_owes_it(traced: tuple[Tracer, Vault]) -> None:
    """What was handed over ends with its owner: no leak, no false alarm."""
    tracer, lib = traced
    box = lib.get("VaultOpen")
    mounted = lib.get("DriveOpen", box, 0)
    assert kinds(tracer) == ["HDRIVE"]
    lib.call("DriveClose", mounted)

    assert kinds(tracer) == []
    assert tracer.check() == ()


def test_its_use_after_the_owners_end_is_wrong(traced: tuple[Tracer, Vault]) -> None:
    """The release of the owner is named as what has ended it."""
    _, lib = traced
    box = lib.get("VaultOpen")
    lib.call("DriveClose", lib.get("DriveOpen", box, 0))

    with pytest.raises(UseAfterInvalidation, match="HDRIVE"):
        lib.get("VaultMakeKey", box)


def test_what_lives_under_it_leaks_with_the_owner(traced: tuple[Tracer, Vault]) -> None:
    """A key in a vault that a drive owns goes with the drive."""
    tracer, lib = traced
    box = lib.get("VaultOpen")
    lib.get("VaultMakeKey", box)
    lib.call("DriveClose", lib.get("DriveOpen", box, 0))

    (found,) = tracer.check()
    assert (found.code.value, found.handle.kind) == ("leaked-at-release", "HKEY")


def test_what_is_kept_is_still_owed(traced: tuple[Tracer, Vault]) -> None:
    """Under the condition that hands nothing over, the end of the drive ends the drive alone."""
    tracer, lib = traced
    box = lib.get("VaultOpen")
    lib.call("DriveClose", lib.get("DriveOpen", box, 1))
    lib.call("VaultFree", lib.get("VaultMakeKey", box))

    assert kinds(tracer) == ["HVAULT"]
    lib.call("VaultClose", box)
    assert tracer.check() == ()


def test_a_further_reference_is_not_handed_over(traced: tuple[Tracer, Vault]) -> None:
    """Who has counted one more reference may go on when the owner has ended."""
    tracer, lib = traced
    box = lib.get("VaultOpen")
    lib.call("VaultAddRef", box)
    lib.call("DriveClose", lib.get("DriveOpen", box, 0))
    lib.call("VaultAddRef", box)

    assert tracer.check() == ()


def test_what_is_lent_ends_with_its_lender(traced: tuple[Tracer, Vault]) -> None:
    """It is the same each time, nobody owes it, and it is dead when its lender is."""
    tracer, lib = traced
    box = lib.get("VaultOpen")
    lent = lib.get("VaultMasterKey", box, 0)
    assert lib.get("VaultMasterKey", box, 0) == lent
    lib.call("VaultUse", lent)
    assert kinds(tracer) == ["HVAULT"]
    lib.call("VaultClose", box)
    assert tracer.check() == ()

    with pytest.raises(UseAfterInvalidation):
        lib.call("VaultUse", lent)


def test_what_is_lent_again_lives_again(traced: tuple[Tracer, Vault]) -> None:
    """A value that has died is alive as soon as it is handed out anew, by whomever."""
    tracer, lib = traced
    box = lib.get("VaultOpen")
    old = lib.get("VaultMakeKey", box)
    lib.call("VaultFree", old)
    assert lib.get("VaultMasterKey", box, 0) == old, "the library hands values out again"
    lib.call("VaultUse", old)
    lib.call("VaultClose", box)

    assert tracer.check() == ()


@pytest.mark.parametrize(
    ("effect", "why"),
    [
        (lambda: uses(VAULT, "hVault", to="phDrive"), "hands_over= does not say when"),
        (lambda: uses(VAULT, "hVault", hands_over=always(), to="x"), "unknown parameter 'x' (to=)"),
        (lambda: finds(KEY, "phDrive", under="x"), "unknown parameter 'x' (under=)"),
        (lambda: finds(KEY, "phDrive", under="hVault"), "does not say what handle is there"),
    ],
)
def test_an_owner_that_cannot_be_told_is_refused(effect: Callable[[], object], why: str) -> None:
    """The message names the parameter and what is missing."""
    with pytest.raises(SpecError) as caught:
        call("F", "hVault phDrive", effect(), library="vault")  # type: ignore[arg-type]

    assert why in str(caught.value)


def test_a_returned_handle_may_be_the_owner() -> None:
    """`RETURN` is a place like any other."""
    effect = uses(VAULT, "hVault", hands_over=always(), to=RETURN)

    assert call("F", "hVault", effect, library="vault").effects == (effect,)
