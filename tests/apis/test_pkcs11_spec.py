"""What the PKCS#11 spec states, against the headers' function lists and the vendor's rules."""

from __future__ import annotations

import importlib
import inspect

import pytest

from csptrace.apis import registry
from csptrace.apis.pkcs11.spec import LIBRARY_STATE, OBJECT, SEARCH, SESSION, SLOT, SPEC
from csptrace.spec.bindings import LibraryObjects
from csptrace.spec.effects import Acquires, Ends, Releases, ReleasesAll, Uses
from csptrace.spec.kinds import LIBRARY, OWNER

# pkcs11f.h of v2.40, in its order, and what v3.0 to v3.2 add.
# fmt: off
V2 = [
    "C_Initialize", "C_Finalize", "C_GetInfo", "C_GetFunctionList", "C_GetSlotList",
    "C_GetSlotInfo", "C_GetTokenInfo", "C_GetMechanismList", "C_GetMechanismInfo", "C_InitToken",
    "C_InitPIN", "C_SetPIN", "C_OpenSession", "C_CloseSession", "C_CloseAllSessions",
    "C_GetSessionInfo", "C_GetOperationState", "C_SetOperationState", "C_Login", "C_Logout",
    "C_CreateObject", "C_CopyObject", "C_DestroyObject", "C_GetObjectSize", "C_GetAttributeValue",
    "C_SetAttributeValue", "C_FindObjectsInit", "C_FindObjects", "C_FindObjectsFinal",
    "C_EncryptInit", "C_Encrypt", "C_EncryptUpdate", "C_EncryptFinal", "C_DecryptInit",
    "C_Decrypt", "C_DecryptUpdate", "C_DecryptFinal", "C_DigestInit", "C_Digest",
    "C_DigestUpdate", "C_DigestKey", "C_DigestFinal", "C_SignInit", "C_Sign", "C_SignUpdate",
    "C_SignFinal", "C_SignRecoverInit", "C_SignRecover", "C_VerifyInit", "C_Verify",
    "C_VerifyUpdate", "C_VerifyFinal", "C_VerifyRecoverInit", "C_VerifyRecover",
    "C_DigestEncryptUpdate", "C_DecryptDigestUpdate", "C_SignEncryptUpdate",
    "C_DecryptVerifyUpdate", "C_GenerateKey", "C_GenerateKeyPair", "C_WrapKey", "C_UnwrapKey",
    "C_DeriveKey", "C_SeedRandom", "C_GenerateRandom", "C_GetFunctionStatus", "C_CancelFunction",
    "C_WaitForSlotEvent",
]
V3 = [
    "C_GetInterfaceList", "C_GetInterface", "C_LoginUser", "C_SessionCancel",
    "C_MessageEncryptInit", "C_EncryptMessage", "C_EncryptMessageBegin", "C_EncryptMessageNext",
    "C_MessageEncryptFinal", "C_MessageDecryptInit", "C_DecryptMessage", "C_DecryptMessageBegin",
    "C_DecryptMessageNext", "C_MessageDecryptFinal", "C_MessageSignInit", "C_SignMessage",
    "C_SignMessageBegin", "C_SignMessageNext", "C_MessageSignFinal", "C_MessageVerifyInit",
    "C_VerifyMessage", "C_VerifyMessageBegin", "C_VerifyMessageNext", "C_MessageVerifyFinal",
    "C_EncapsulateKey", "C_DecapsulateKey", "C_VerifySignatureInit", "C_VerifySignature",
    "C_VerifySignatureUpdate", "C_VerifySignatureFinal", "C_GetSessionValidationFlags",
    "C_AsyncComplete", "C_AsyncGetID", "C_AsyncJoin", "C_WrapKeyAuthenticated",
    "C_UnwrapKeyAuthenticated",
]
# fmt: on
CALLS = SPEC.by_name()


def test_every_function_is_there() -> None:
    """The whole v2.40 function list and the additions of v3.x are described, and nothing else."""
    assert sorted(CALLS) == sorted([*V2, *V3])


@pytest.mark.parametrize("name", sorted(CALLS))
def test_every_handle_parameter_is_used(name: str) -> None:
    """A function with a session or object among its parameters says so."""
    call = CALLS[name]
    known = {getattr(effect, "param", "") for effect in call.effects}
    for param in call.params:
        if param.startswith("h") and param[1:2].isupper():
            assert param in known


@pytest.mark.parametrize("name", sorted(CALLS))
def test_nothing_but_initialize_works_without_the_library(name: str) -> None:
    """A function without handles needs the library, but for those before C_Initialize."""
    call = CALLS[name]
    handles = [e for e in call.effects if isinstance(e, Uses | Releases | ReleasesAll)]
    before = {"C_Initialize", "C_GetFunctionList", "C_GetInterface", "C_GetInterfaceList"}
    assert bool(handles) == (name not in before)


def test_every_operation_is_begun_and_ended() -> None:
    """Each sort of operation has functions that begin it and functions that end it."""
    operations = [kind for kind in SPEC.kinds if kind.name.endswith("_OPERATION")]
    assert len(operations) == 12
    for kind in operations:
        effects = [e for row in SPEC.calls for e in row.effects if e.kind is kind]
        assert any(isinstance(effect, Acquires) and effect.valued for effect in effects)
        assert any(isinstance(effect, Ends) for effect in effects)
        assert kind.under is SESSION
        assert kind.orderly


def test_kinds_hang_together() -> None:
    """Objects live under sessions, sessions under slots, slots under the library."""
    assert [OBJECT.under, SESSION.under, SLOT.under, LIBRARY_STATE.under] == [
        SESSION,
        SLOT,
        LIBRARY_STATE,
        None,
    ]
    assert SEARCH.under is SESSION
    assert SLOT.given
    assert 0 not in SLOT.null, "slot 0 is a slot"


def test_a_realm_has_kinds_of_its_own() -> None:
    """Within two libraries nothing is shared; within one it is the same spec but for the kinds."""
    one, two = SPEC.within("/one.so"), SPEC.within("/two.so")
    assert not {*one.kinds} & {*two.kinds}
    assert not {*one.kinds} & {*SPEC.kinds}
    for spec in (one, two):
        registry.validate(spec)
        assert registry.covered(spec) == registry.covered(SPEC)
        for row in [*spec.calls, *(row for b in spec.bindings for row in b.rows)]:
            assert all(effect.kind in spec.kinds for effect in row.effects)
        assert all(kind.under is None or kind.under in spec.kinds for kind in spec.kinds)
    assert {kind.realm for kind in one.kinds} == {"/one.so"}


@pytest.mark.parametrize(("module", "name"), [("PyKCS11.LowLevel", "CPKCS11Lib")])
def test_every_method_of_the_low_level_class_has_a_shape(module: str, name: str) -> None:
    """Every C function of PyKCS11 has a shape, with the names of the binding's own parameters."""
    pytest.importorskip(module)
    cls = getattr(importlib.import_module(module), name)
    binding = next(each for each in SPEC.bindings if each.name == "PyKCS11")
    methods = {each for each in vars(cls) if each.startswith("C_")}
    methods |= {"Load", "Unload", "Duplicate"}
    assert {shape.partition(".")[2] for shape in binding.shapes} == methods
    for shape in binding.shapes.values():
        method = vars(cls)[shape.python.partition(".")[2]]
        parameters = list(inspect.signature(method).parameters)[1:]
        assert [own for own, _ in shape.arguments] == parameters
        assert shape.receiver == OWNER


def test_every_shape_of_python_pkcs11_exists() -> None:
    """Every class and method that a shape names is there, and a proxied one is C's."""
    pytest.importorskip("pkcs11")
    module = importlib.import_module("pkcs11._pkcs11")
    binding = next(each for each in SPEC.bindings if each.name == "python-pkcs11")
    target = binding.target
    assert isinstance(target, LibraryObjects)
    for shape in binding.shapes.values():
        owner, dot, method = shape.python.partition(".")
        cls = getattr(module, owner)
        if not dot:
            continue
        assert hasattr(cls, method), shape.python
        if owner in target.proxied:
            with pytest.raises(TypeError):
                cls._csptrace_probe = None
        else:
            assert method in vars(cls), shape.python


def test_the_library_is_a_parameter_of_none() -> None:
    """No C function has a parameter of the names that stand for the library and its object."""
    assert not {LIBRARY, OWNER} & {param for row in SPEC.calls for param in row.params}
