"""The rules of vaults: keys and secrets live in one, and signatures in a key."""

from __future__ import annotations

from csptrace.spec import (
    Binding,
    Codec,
    Dll,
    Kind,
    Query,
    Spec,
    Success,
    acquires,
    any_of,
    equals,
    exports,
    finds,
    finishes,
    releases,
    starts,
    updates,
    uses,
)

VAULT = Kind(
    "HVAULT",
    "vault",
    params="hVault",
    space="vault",
    release="VaultClose",
    harm="the vault's door stays open",
)
KEY = Kind(
    "HVAULTKEY",
    "vault key",
    under=VAULT,
    params="hKey",
    orderly=True,
    secret=True,
    space="vault",
    limit=Query("vault_api.queries:keys_allowed", "the vault says how many"),
    release="VaultFree",
    harm="one of the vault's ten pegs stays taken",
)
SECRET = Kind(
    "HSECRET",
    "vault secret",
    under=VAULT,
    params="hSecret",
    orderly=True,
    secret=True,
    space="vault",
    release="VaultFree",
)
SIGNING = Kind(
    "SIGNING",
    "signature in the vault",
    under=KEY,
    orderly=True,
    release="VaultSignFinish",
    harm="the key signs nothing else",
)

vault = exports("vault", VAULT, KEY, SECRET)
EITHER = any_of(KEY, SECRET)

SPEC = Spec(
    "vaults",
    "Vaults",
    kinds=(VAULT, KEY, SECRET, SIGNING),
    calls=(
        vault("VaultOpen", "phVault"),
        vault("VaultClose", "hVault", releases(VAULT, "hVault")),
        vault("VaultMakeKey", "hVault phKey"),
        vault("VaultMakeSecret", "hVault phSecret"),
        vault(
            "VaultMasterKey",
            "hVault dwFlags phKey",
            # The vault's own is only lent; a copy is the caller's.
            acquires(KEY, "phKey", when=equals("dwFlags", 1)),
            finds(KEY, "phKey", under="hVault", unless=equals("dwFlags", 1)),
            uses(VAULT, "hVault"),
        ),
        vault("VaultUse", "hObject", uses(EITHER, "hObject")),
        vault("VaultFree", "hObject", releases(EITHER, "hObject")),
        vault("VaultSignStart", "hKey", starts(SIGNING)),
        vault("VaultSignUpdate", "hKey", updates(SIGNING)),
        vault("VaultSignFinish", "hKey", finishes(SIGNING)),
    ),
    bindings=(
        Binding("ctypes", Dll(("vault",)), success=Success.ZERO, codec=Codec.CTYPES),
        Binding("cffi", Dll(("vault",)), success=Success.ZERO, codec=Codec.CFFI),
    ),
    source="https://vaults.example/rules",
)
