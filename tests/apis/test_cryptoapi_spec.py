"""The built-in spec against the vendor's prototypes and against pywin32's signatures."""

from __future__ import annotations

import inspect
import re
from types import FunctionType
from typing import TYPE_CHECKING, Any

import pytest

from csptrace.apis.cryptoapi.spec import HASH, KEY, PROV, SPEC
from csptrace.spec.bindings import Objects, Shape
from csptrace.spec.effects import Acquires, AddsRef, Effect, Reference, Releases, Uses
from csptrace.spec.kinds import Cascade, Kind

if TYPE_CHECKING:
    from csptrace.spec.calls import Call

# wincrypt.h, from the vendor's pages: every function that takes or hands out an HCRYPTPROV,
# HCRYPTKEY or HCRYPTHASH. "A/W" stands for both forms.
PROTOTYPES = """
CryptAcquireContext A/W(HCRYPTPROV *phProv, LPCTSTR szContainer, LPCTSTR szProvider,
    DWORD dwProvType, DWORD dwFlags)
CryptContextAddRef(HCRYPTPROV hProv, DWORD *pdwReserved, DWORD dwFlags)
CryptReleaseContext(HCRYPTPROV hProv, DWORD dwFlags)
CryptGetProvParam(HCRYPTPROV hProv, DWORD dwParam, BYTE *pbData, DWORD *pdwDataLen, DWORD dwFlags)
CryptSetProvParam(HCRYPTPROV hProv, DWORD dwParam, const BYTE *pbData, DWORD dwFlags)
CryptGenRandom(HCRYPTPROV hProv, DWORD dwLen, BYTE *pbBuffer)
CryptGenKey(HCRYPTPROV hProv, ALG_ID Algid, DWORD dwFlags, HCRYPTKEY *phKey)
CryptDeriveKey(HCRYPTPROV hProv, ALG_ID Algid, HCRYPTHASH hBaseData, DWORD dwFlags,
    HCRYPTKEY *phKey)
CryptGetUserKey(HCRYPTPROV hProv, DWORD dwKeySpec, HCRYPTKEY *phUserKey)
CryptImportKey(HCRYPTPROV hProv, const BYTE *pbData, DWORD dwDataLen, HCRYPTKEY hPubKey,
    DWORD dwFlags, HCRYPTKEY *phKey)
CryptDuplicateKey(HCRYPTKEY hKey, DWORD *pdwReserved, DWORD dwFlags, HCRYPTKEY *phKey)
CryptExportKey(HCRYPTKEY hKey, HCRYPTKEY hExpKey, DWORD dwBlobType, DWORD dwFlags, BYTE *pbData,
    DWORD *pdwDataLen)
CryptEncrypt(HCRYPTKEY hKey, HCRYPTHASH hHash, BOOL Final, DWORD dwFlags, BYTE *pbData,
    DWORD *pdwDataLen, DWORD dwBufLen)
CryptDecrypt(HCRYPTKEY hKey, HCRYPTHASH hHash, BOOL Final, DWORD dwFlags, BYTE *pbData,
    DWORD *pdwDataLen)
CryptGetKeyParam(HCRYPTKEY hKey, DWORD dwParam, BYTE *pbData, DWORD *pdwDataLen, DWORD dwFlags)
CryptSetKeyParam(HCRYPTKEY hKey, DWORD dwParam, const BYTE *pbData, DWORD dwFlags)
CryptDestroyKey(HCRYPTKEY hKey)
CryptCreateHash(HCRYPTPROV hProv, ALG_ID Algid, HCRYPTKEY hKey, DWORD dwFlags, HCRYPTHASH *phHash)
CryptDuplicateHash(HCRYPTHASH hHash, DWORD *pdwReserved, DWORD dwFlags, HCRYPTHASH *phHash)
CryptHashData(HCRYPTHASH hHash, const BYTE *pbData, DWORD dwDataLen, DWORD dwFlags)
CryptHashSessionKey(HCRYPTHASH hHash, HCRYPTKEY hKey, DWORD dwFlags)
CryptGetHashParam(HCRYPTHASH hHash, DWORD dwParam, BYTE *pbData, DWORD *pdwDataLen, DWORD dwFlags)
CryptSetHashParam(HCRYPTHASH hHash, DWORD dwParam, const BYTE *pbData, DWORD dwFlags)
CryptSignHash A/W(HCRYPTHASH hHash, DWORD dwKeySpec, LPCTSTR szDescription, DWORD dwFlags,
    BYTE *pbSignature, DWORD *pdwSigLen)
CryptVerifySignature A/W(HCRYPTHASH hHash, const BYTE *pbSignature, DWORD dwSigLen,
    HCRYPTKEY hPubKey, LPCTSTR szDescription, DWORD dwFlags)
CryptDestroyHash(HCRYPTHASH hHash)
CryptImportPublicKeyInfo(HCRYPTPROV hCryptProv, DWORD dwCertEncodingType,
    PCERT_PUBLIC_KEY_INFO pInfo, HCRYPTKEY *phKey)
CryptImportPublicKeyInfoEx(HCRYPTPROV hCryptProv, DWORD dwCertEncodingType,
    PCERT_PUBLIC_KEY_INFO pInfo, ALG_ID aiKeyAlg, DWORD dwFlags, void *pvAuxInfo,
    HCRYPTKEY *phKey)
CryptExportPublicKeyInfo(HCRYPTPROV hCryptProvOrNCryptKey, DWORD dwKeySpec,
    DWORD dwCertEncodingType, PCERT_PUBLIC_KEY_INFO pInfo, DWORD *pcbInfo)
CryptExportPublicKeyInfoEx(HCRYPTPROV hCryptProvOrNCryptKey, DWORD dwKeySpec,
    DWORD dwCertEncodingType, LPSTR pszPublicKeyObjId, DWORD dwFlags, void *pvAuxInfo,
    PCERT_PUBLIC_KEY_INFO pInfo, DWORD *pcbInfo)
CryptSignCertificate(HCRYPTPROV hCryptProvOrNCryptKey, DWORD dwKeySpec, DWORD dwCertEncodingType,
    const BYTE *pbEncodedToBeSigned, DWORD cbEncodedToBeSigned,
    PCRYPT_ALGORITHM_IDENTIFIER pSignatureAlgorithm, const void *pvHashAuxInfo,
    BYTE *pbSignature, DWORD *pcbSignature)
CryptSignAndEncodeCertificate(HCRYPTPROV hCryptProvOrNCryptKey, DWORD dwKeySpec,
    DWORD dwCertEncodingType, LPCSTR lpszStructType, const void *pvStructInfo,
    PCRYPT_ALGORITHM_IDENTIFIER pSignatureAlgorithm, const void *pvHashAuxInfo,
    BYTE *pbEncoded, DWORD *pcbEncoded)
CryptHashCertificate(HCRYPTPROV hCryptProv, ALG_ID Algid, DWORD dwFlags, const BYTE *pbEncoded,
    DWORD cbEncoded, BYTE *pbComputedHash, DWORD *pcbComputedHash)
CryptHashPublicKeyInfo(HCRYPTPROV hCryptProv, ALG_ID Algid, DWORD dwFlags,
    DWORD dwCertEncodingType, PCERT_PUBLIC_KEY_INFO pInfo, BYTE *pbComputedHash,
    DWORD *pcbComputedHash)
CryptVerifyCertificateSignature(HCRYPTPROV hCryptProv, DWORD dwCertEncodingType,
    const BYTE *pbEncoded, DWORD cbEncoded, PCERT_PUBLIC_KEY_INFO pPublicKey)
CryptVerifyCertificateSignatureEx(HCRYPTPROV hCryptProv, DWORD dwCertEncodingType,
    DWORD dwSubjectType, void *pvSubject, DWORD dwIssuerType, void *pvIssuer, DWORD dwFlags,
    void *pvExtra)
CertOpenStore(LPCSTR lpszStoreProvider, DWORD dwEncodingType, HCRYPTPROV hCryptProv,
    DWORD dwFlags, const void *pvPara)
CryptMsgOpenToDecode(DWORD dwMsgEncodingType, DWORD dwFlags, DWORD dwMsgType,
    HCRYPTPROV hCryptProv, PCERT_INFO pRecipientInfo, PCMSG_STREAM_INFO pStreamInfo)
CertSetCertificateContextProperty(PCCERT_CONTEXT pCertContext, DWORD dwPropId, DWORD dwFlags,
    HCRYPTPROV pvData)
CryptAcquireCertificatePrivateKey(PCCERT_CONTEXT pCert, DWORD dwFlags, void *pvParameters,
    HCRYPTPROV *phCryptProvOrNCryptKey, DWORD *pdwKeySpec, BOOL *pfCallerFreeProvOrNCryptKey)
"""
KINDS = {"HCRYPTPROV": PROV, "HCRYPTKEY": KEY, "HCRYPTHASH": HASH}
Parameter = tuple[str, str, bool]


def _prototypes() -> dict[str, tuple[Parameter, ...]]:
    """Read the table: exported name → (type, name, whether it is a pointer) of each parameter."""
    found: dict[str, tuple[Parameter, ...]] = {}
    for name, both, inside in re.findall(r"^(\w+)( A/W)?\(([^)]*)\)", PROTOTYPES, re.MULTILINE):
        parameters = []
        for text in inside.split(","):
            *kind, last = text.split()
            parameters.append((kind[-1], last.lstrip("*"), last.startswith("*")))
        for suffix in "AW" if both else ("",):
            found[name + suffix] = tuple(parameters)
    return found


C = _prototypes()
CALLS = SPEC.by_name()


def test_every_function_is_covered_and_no_other() -> None:
    """The spec has exactly the vendor's functions that touch one of the three handle types."""
    assert set(CALLS) == set(C)
    assert len(C) == 43


@pytest.mark.parametrize("name", C)
def test_parameters(name: str) -> None:
    """The parameters have the vendor's names, in the vendor's order."""
    assert CALLS[name].params == tuple(parameter for _, parameter, _ in C[name])


def _kinds(call: Call, *types: type[Effect]) -> dict[str, Kind]:
    return {
        effect.out if isinstance(effect, Acquires) else effect.param: effect.kind
        for effect in call.effects
        if isinstance(effect, types) and isinstance(effect, Acquires | Uses | AddsRef | Releases)
    }


@pytest.mark.parametrize("name", C)
def test_every_handle_parameter_has_an_effect_of_its_kind(name: str) -> None:
    """A handle that goes in is used, counted or released; one that comes out is acquired."""
    ins = {param: KINDS[kind] for kind, param, star in C[name] if kind in KINDS and not star}
    outs = {param: KINDS[kind] for kind, param, star in C[name] if kind in KINDS and star}

    assert _kinds(CALLS[name], Uses, AddsRef, Releases) == ins
    assert _kinds(CALLS[name], Acquires) == outs


@pytest.mark.parametrize("name", [n for n in C if n.endswith("A") and n[:-1] + "W" in C])
def test_both_forms_are_one_row(name: str) -> None:
    """The A and the W form do the same."""
    assert CALLS[name] is CALLS[name[:-1] + "W"]


def test_libraries() -> None:
    """The certificate functions are exported by crypt32, the others by advapi32."""
    crypt32 = {"PublicKeyInfo", "Certificate", "CertOpenStore", "CryptMsg"}
    for name, call in CALLS.items():
        expected = "crypt32" if any(part in name for part in crypt32) else "advapi32"
        assert call.library == expected, name


def _only(name: str, kind: type[Effect]) -> Any:
    (found,) = (effect for effect in CALLS[name].effects if isinstance(effect, kind))
    return found


def test_kinds() -> None:
    """Keys and hashes live under a context and must be destroyed before it is released."""
    assert SPEC.kinds == (PROV, KEY, HASH)
    assert PROV.under is None
    assert not PROV.orderly
    for kind in (KEY, HASH):
        assert kind.under is PROV
        assert kind.orderly
        assert kind.cascade is Cascade.INVALIDATE
    assert [kind.secret for kind in SPEC.kinds] == [False, True, False]
    assert all(kind.must_release and kind.null == {0} for kind in SPEC.kinds)
    assert len({kind.space for kind in SPEC.kinds}) == 1
    assert PROV.space


@pytest.mark.parametrize(
    ("name", "kind"),
    [("CryptReleaseContext", PROV), ("CryptDestroyKey", KEY), ("CryptDestroyHash", HASH)],
)
def test_release_functions(name: str, kind: Kind) -> None:
    """Each kind has its release function, which messages name."""
    assert kind.release == name
    release = _only(name, Releases)
    assert release.kind is kind
    assert release.when is None
    assert len(CALLS[name].effects) == 1


def test_release_with_flags_releases_although_it_fails() -> None:
    """CryptReleaseContext with dwFlags returns FALSE but releases."""
    assert str(_only("CryptReleaseContext", Releases).even_on_failure) == "dwFlags is not 0"
    assert _only("CryptDestroyKey", Releases).even_on_failure is None


def test_delete_keyset_acquires_nothing() -> None:
    """With CRYPT_DELETEKEYSET the out parameter is undefined."""
    acquired = _only("CryptAcquireContextW", Acquires)

    assert str(acquired.when) == "not (dwFlags has 0x10)"
    assert acquired.named == "szContainer"
    assert acquired.under is None


def test_added_reference() -> None:
    """CryptContextAddRef adds a reference to the same value."""
    assert _only("CryptContextAddRef", AddsRef).kind is PROV


@pytest.mark.parametrize(
    ("name", "under"),
    [(n, "hProv") for n in ("CryptGenKey", "CryptDeriveKey", "CryptGetUserKey", "CryptImportKey")]
    + [("CryptCreateHash", "hProv")]
    + [(n, "hCryptProv") for n in ("CryptImportPublicKeyInfo", "CryptImportPublicKeyInfoEx")],
)
def test_children_live_under_their_context(name: str, under: str) -> None:
    """What a function makes lives under the context it was given."""
    assert _only(name, Acquires).under == Reference("param", under)


@pytest.mark.parametrize(
    ("name", "param"), [("CryptDuplicateKey", "hKey"), ("CryptDuplicateHash", "hHash")]
)
def test_duplicates_live_under_the_same_context(name: str, param: str) -> None:
    """A duplicate is independent of its original, but lives under the same context."""
    assert _only(name, Acquires).under == Reference("parent", param)


def test_hmac_needs_its_key() -> None:
    """A MAC hash keeps its key by reference, and so does its duplicate; a derived key does not."""
    assert _only("CryptCreateHash", Acquires).needs == Reference("param", "hKey")
    duplicate = _only("CryptDuplicateHash", Acquires)
    assert duplicate.needs == Reference("needs", "hHash")
    assert duplicate.under == Reference("parent", "hHash")
    assert _only("CryptDeriveKey", Acquires).needs is None


def test_hidden_release() -> None:
    """CRYPT_DESTROYKEY releases the exported key, but not in a size query."""
    release = _only("CryptExportKey", Releases)

    assert (release.kind, release.param) == (KEY, "hKey")
    assert str(release.when) == "(dwFlags has 0x4 and pbData is not NULL)"


def test_ownership() -> None:
    """A store or message takes the context over, or only borrows it, as the flags say."""
    store = _only("CertOpenStore", Uses)
    message = _only("CryptMsgOpenToDecode", Uses)
    private = _only("CryptAcquireCertificatePrivateKey", Acquires)

    assert str(store.hands_over) == "not (dwFlags has 0x1)"
    assert str(message.hands_over) == "dwFlags has 0x8000"
    assert str(private.when) == (
        "(*pfCallerFreeProvOrNCryptKey is not 0 and not (*pdwKeySpec is 0xffffffff))"
    )
    handing = [
        n for n, call in CALLS.items() if any(getattr(e, "hands_over", 0) for e in call.effects)
    ]
    assert set(handing) == {
        "CertOpenStore",
        "CryptMsgOpenToDecode",
        "CertSetCertificateContextProperty",
    }
    prop = _only("CertSetCertificateContextProperty", Uses)
    assert str(prop.when) == "dwPropId is 0x1"
    assert str(prop.hands_over) == "(dwPropId is 0x1 and not (dwFlags has 0x1))"


# --- pywin32's face -----------------------------------------------------------------------------

# Methods and their keyword names, from pywin32's sources; "=" marks an optional one.
METHODS = """
PyCRYPTPROV.CryptReleaseContext Flags=
PyCRYPTPROV.CryptGenKey Algid Flags KeyLen=
PyCRYPTPROV.CryptGetProvParam Param Flags=
PyCRYPTPROV.CryptGetUserKey KeySpec
PyCRYPTPROV.CryptGenRandom Len SeedData=
PyCRYPTPROV.CryptCreateHash Algid Key= Flags=
PyCRYPTPROV.CryptImportKey Data PubKey= Flags=
PyCRYPTPROV.CryptExportPublicKeyInfo KeySpec CertEncodingType=
PyCRYPTPROV.CryptImportPublicKeyInfo Info CertEncodingType=
PyCRYPTKEY.CryptDestroyKey
PyCRYPTKEY.CryptExportKey ExpKey BlobType Flags=
PyCRYPTKEY.CryptGetKeyParam Param Flags=
PyCRYPTKEY.CryptDuplicateKey Reserved= Flags=
PyCRYPTKEY.CryptEncrypt Final Data Hash= Flags=
PyCRYPTKEY.CryptDecrypt Final Data Hash= Flags=
PyCRYPTHASH.CryptDestroyHash
PyCRYPTHASH.CryptDuplicateHash Flags=
PyCRYPTHASH.CryptHashData Data Flags=
PyCRYPTHASH.CryptHashSessionKey Key Flags=
PyCRYPTHASH.CryptSignHash KeySpec Flags=
PyCRYPTHASH.CryptVerifySignature Signature PubKey Flags=
PyCRYPTHASH.CryptGetHashParam Param Flags=
"""
PYTHON = {row.split()[0]: tuple(row.split()[1:]) for row in METHODS.strip().splitlines()} | {
    "CryptAcquireContext": ("Container", "Provider", "ProvType", "Flags")
}
(BINDING,) = (binding for binding in SPEC.bindings if isinstance(binding.target, Objects))
SHAPES = BINDING.shapes


def test_every_method_has_a_shape() -> None:
    """The binding has a shape for each method of pywin32's provider, key and hash objects."""
    assert set(SHAPES) == set(PYTHON)


@pytest.mark.parametrize("python", PYTHON)
def test_shape_has_the_keyword_names(python: str) -> None:
    """A shape has exactly the Python callable's keyword names, in their order."""
    expected = tuple(word.rstrip("=") for word in PYTHON[python])

    assert tuple(own for own, _ in SHAPES[python].arguments) == expected


@pytest.mark.parametrize("python", PYTHON)
def test_shape_stands_for_the_function_of_its_name(python: str) -> None:
    """A method stands for the C function of its name, in the W form where there are two."""
    name = python.rpartition(".")[2]

    assert SHAPES[python].call in (name, f"{name}W")


@pytest.mark.parametrize("python", PYTHON)
def test_shape_carries_every_handle(python: str) -> None:
    """Each handle parameter of the C function is carried by the shape, in the right place."""
    shape = SHAPES[python]
    carried = {c_name for _, c_name in shape.arguments} | {shape.receiver, shape.result}
    handles = {param for kind, param, _ in C[shape.call] if kind in KINDS}

    assert handles <= carried
    if "." in python:
        owner = python.partition(".")[0]
        kind = next(kind for kind, param, _ in C[shape.call] if param == shape.receiver)
        assert KINDS[kind] is BINDING.target.classes[owner]  # type: ignore[union-attr]


def _softcsp_types() -> dict[str, type]:
    from csptrace.softcsp import pyhandles

    return {name: getattr(pyhandles, name) for name in ("PyCRYPTPROV", "PyCRYPTKEY", "PyCRYPTHASH")}


def _softcsp_callables() -> dict[str, Any]:
    from csptrace.softcsp import win32crypt

    found: dict[str, Any] = {
        name: value
        for name, value in vars(win32crypt).items()
        if isinstance(value, FunctionType) and name.startswith("CryptAcquire")
    }
    for owner, cls in _softcsp_types().items():
        for name, value in vars(cls).items():
            if isinstance(value, FunctionType) and name.startswith("Crypt"):
                found[f"{owner}.{name}"] = value
    return found


def test_software_provider_has_no_method_without_a_shape() -> None:
    """Everything that the software provider's objects offer is described by the spec."""
    assert set(_softcsp_callables()) <= set(SHAPES)


@pytest.mark.parametrize("python", PYTHON)
def test_software_provider_has_the_same_signature(python: str) -> None:
    """The software provider's methods take exactly the keywords of the shape."""
    function = _softcsp_callables().get(python)
    if function is None:
        pytest.skip("the software provider does not have it")
    shape: Shape = SHAPES[python]
    names = [name for name in inspect.signature(function).parameters if name != "self"]

    assert names == [own for own, _ in shape.arguments]
    optional = [
        parameter.default is not inspect.Parameter.empty
        for name, parameter in inspect.signature(function).parameters.items()
        if name != "self"
    ]
    assert optional == [word.endswith("=") for word in PYTHON[python]]


def test_software_provider_exports_what_the_spec_describes() -> None:
    """Every function of advapi32 in the spec exists in the software provider's library."""
    from csptrace.softcsp import advapi32

    for name, call in CALLS.items():
        if call.library == "advapi32":
            assert callable(getattr(advapi32, name)), name
