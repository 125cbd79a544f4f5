"""Microsoft CryptoAPI: provider contexts, keys and hashes (advapi32, crypt32).

Vendor rules: learn.microsoft.com/windows/win32/api/wincrypt, in particular
nf-wincrypt-cryptreleasecontext ("all existing session keys and hash objects that were created by
using the hProv handle become invalid. In practice, all of these objects should be destroyed …
before"), -cryptcontextaddref, -cryptdestroykey, -cryptdestroyhash, -cryptcreatehash,
-cryptgetuserkey, -cryptexportkey.
"""

from __future__ import annotations

from typing import Final

from csptrace.spec import (
    RETURN,
    Binding,
    Codec,
    Collects,
    Dll,
    Kind,
    Objects,
    Spec,
    Success,
    acquires,
    adds_ref,
    either,
    equals,
    every,
    exports,
    finds,
    flag,
    given,
    needs_of,
    negation,
    nonzero,
    releases,
    shapes,
    stored,
    stored_equals,
    uses,
)

CRYPT_DELETEKEYSET: Final = 0x10
CRYPT_DESTROYKEY: Final = 0x4
CERT_STORE_NO_CRYPT_RELEASE_FLAG: Final = 0x1
CMSG_CRYPT_RELEASE_CONTEXT_FLAG: Final = 0x8000
CERT_NCRYPT_KEY_SPEC: Final = 0xFFFFFFFF
CERT_KEY_PROV_HANDLE_PROP_ID: Final = 1

PROV: Final = Kind(
    "HCRYPTPROV",
    "provider context",
    params="hProv hCryptProv hCryptProvOrNCryptKey",
    space="address",
    release="CryptReleaseContext",
    harm="the provider stays loaded; an HSM session or smart card stays in use",
)
KEY: Final = Kind(
    "HCRYPTKEY",
    "key",
    under=PROV,
    params="hKey hUserKey hPubKey hExpKey",
    orderly=True,
    secret=True,
    space="address",
    release="CryptDestroyKey",
    harm="the key material stays in memory unwiped, and a key slot stays in use",
)
HASH: Final = Kind(
    "HCRYPTHASH",
    "hash",
    under=PROV,
    params="hHash hBaseData",
    orderly=True,
    space="address",
    release="CryptDestroyHash",
    harm="the hash object's memory stays allocated",
)

_advapi32: Final = exports("advapi32", PROV, KEY, HASH)
_crypt32: Final = exports("crypt32", PROV, KEY, HASH)

CALLS: Final = (
    # --- contexts ---
    # With CRYPT_DELETEKEYSET the out parameter is undefined and nothing has to be released.
    _advapi32(
        "CryptAcquireContextA CryptAcquireContextW",
        "phProv szContainer szProvider dwProvType dwFlags",
        acquires(PROV, "phProv", unless=flag("dwFlags", CRYPT_DELETEKEYSET), named="szContainer"),
    ),
    _advapi32("CryptContextAddRef", "hProv pdwReserved dwFlags", adds_ref(PROV, "hProv")),
    # Vendor: "If dwFlags is not set to zero, this function returns FALSE but the CSP is
    # released."
    _advapi32(
        "CryptReleaseContext",
        "hProv dwFlags",
        releases(PROV, "hProv", even_on_failure=nonzero("dwFlags")),
    ),
    _advapi32("CryptGetProvParam", "hProv dwParam pbData pdwDataLen dwFlags"),
    _advapi32("CryptSetProvParam", "hProv dwParam pbData dwFlags"),
    _advapi32("CryptGenRandom", "hProv dwLen pbBuffer"),
    # --- keys ---
    _advapi32("CryptGenKey", "hProv Algid dwFlags phKey"),
    _advapi32("CryptDeriveKey", "hProv Algid hBaseData dwFlags phKey"),
    # A new handle at each call, although the key pair is the container's.
    _advapi32("CryptGetUserKey", "hProv dwKeySpec phUserKey"),
    _advapi32("CryptImportKey", "hProv pbData dwDataLen hPubKey dwFlags phKey"),
    _advapi32("CryptDuplicateKey", "hKey pdwReserved dwFlags phKey"),
    # A hidden release; a size query (pbData NULL) changes nothing.
    _advapi32(
        "CryptExportKey",
        "hKey hExpKey dwBlobType dwFlags pbData pdwDataLen",
        releases(KEY, "hKey", when=every(flag("dwFlags", CRYPT_DESTROYKEY), given("pbData"))),
    ),
    _advapi32("CryptEncrypt", "hKey hHash Final dwFlags pbData pdwDataLen dwBufLen"),
    _advapi32("CryptDecrypt", "hKey hHash Final dwFlags pbData pdwDataLen"),
    _advapi32("CryptGetKeyParam", "hKey dwParam pbData pdwDataLen dwFlags"),
    _advapi32("CryptSetKeyParam", "hKey dwParam pbData dwFlags"),
    _advapi32("CryptDestroyKey", "hKey", releases(KEY, "hKey")),
    # --- hashes ---
    # A MAC or HMAC hash keeps its key by reference; hKey is 0 for every other algorithm.
    _advapi32(
        "CryptCreateHash", "hProv Algid hKey dwFlags phHash", acquires(HASH, "phHash", needs="hKey")
    ),
    _advapi32(
        "CryptDuplicateHash",
        "hHash pdwReserved dwFlags phHash",
        acquires(HASH, "phHash", needs=needs_of("hHash")),
    ),
    _advapi32("CryptHashData", "hHash pbData dwDataLen dwFlags"),
    _advapi32("CryptHashSessionKey", "hHash hKey dwFlags"),
    _advapi32("CryptGetHashParam", "hHash dwParam pbData pdwDataLen dwFlags"),
    _advapi32("CryptSetHashParam", "hHash dwParam pbData dwFlags"),
    _advapi32(
        "CryptSignHashA CryptSignHashW",
        "hHash dwKeySpec szDescription dwFlags pbSignature pdwSigLen",
    ),
    _advapi32(
        "CryptVerifySignatureA CryptVerifySignatureW",
        "hHash pbSignature dwSigLen hPubKey szDescription dwFlags",
    ),
    _advapi32("CryptDestroyHash", "hHash", releases(HASH, "hHash")),
    # --- crypt32 functions that touch a provider context or a key ---
    _crypt32("CryptImportPublicKeyInfo", "hCryptProv dwCertEncodingType pInfo phKey"),
    _crypt32(
        "CryptImportPublicKeyInfoEx",
        "hCryptProv dwCertEncodingType pInfo aiKeyAlg dwFlags pvAuxInfo phKey",
    ),
    _crypt32(
        "CryptExportPublicKeyInfo",
        "hCryptProvOrNCryptKey dwKeySpec dwCertEncodingType pInfo pcbInfo",
    ),
    _crypt32(
        "CryptExportPublicKeyInfoEx",
        "hCryptProvOrNCryptKey dwKeySpec dwCertEncodingType pszPublicKeyObjId dwFlags "
        "pvAuxInfo pInfo pcbInfo",
    ),
    _crypt32(
        "CryptSignCertificate",
        "hCryptProvOrNCryptKey dwKeySpec dwCertEncodingType pbEncodedToBeSigned "
        "cbEncodedToBeSigned pSignatureAlgorithm pvHashAuxInfo pbSignature pcbSignature",
    ),
    _crypt32(
        "CryptSignAndEncodeCertificate",
        "hCryptProvOrNCryptKey dwKeySpec dwCertEncodingType lpszStructType pvStructInfo "
        "pSignatureAlgorithm pvHashAuxInfo pbEncoded pcbEncoded",
    ),
    _crypt32(
        "CryptHashCertificate",
        "hCryptProv Algid dwFlags pbEncoded cbEncoded pbComputedHash pcbComputedHash",
    ),
    _crypt32(
        "CryptHashPublicKeyInfo",
        "hCryptProv Algid dwFlags dwCertEncodingType pInfo pbComputedHash pcbComputedHash",
    ),
    _crypt32(
        "CryptVerifyCertificateSignature",
        "hCryptProv dwCertEncodingType pbEncoded cbEncoded pPublicKey",
    ),
    _crypt32(
        "CryptVerifyCertificateSignatureEx",
        "hCryptProv dwCertEncodingType dwSubjectType pvSubject dwIssuerType pvIssuer "
        "dwFlags pvExtra",
    ),
    # CertCloseStore releases the context, unless the flag says otherwise.
    _crypt32(
        "CertOpenStore",
        "lpszStoreProvider dwEncodingType hCryptProv dwFlags pvPara",
        uses(
            PROV,
            "hCryptProv",
            hands_over=negation(flag("dwFlags", CERT_STORE_NO_CRYPT_RELEASE_FLAG)),
            to=RETURN,
        ),
    ),
    _crypt32(
        "CryptMsgOpenToDecode",
        "dwMsgEncodingType dwFlags dwMsgType hCryptProv pRecipientInfo pStreamInfo",
        uses(
            PROV,
            "hCryptProv",
            hands_over=flag("dwFlags", CMSG_CRYPT_RELEASE_CONTEXT_FLAG),
            to=RETURN,
        ),
    ),
    # For this property pvData is the handle itself; the certificate context takes it over.
    _crypt32(
        "CertSetCertificateContextProperty",
        "pCertContext dwPropId dwFlags pvData",
        uses(
            PROV,
            "pvData",
            when=equals("dwPropId", CERT_KEY_PROV_HANDLE_PROP_ID),
            hands_over=every(
                equals("dwPropId", CERT_KEY_PROV_HANDLE_PROP_ID),
                negation(flag("dwFlags", CERT_STORE_NO_CRYPT_RELEASE_FLAG)),
            ),
            to="pCertContext",
        ),
    ),
    # An NCRYPT_KEY_HANDLE is not an HCRYPTPROV.
    # Vendor: with pfCallerFree FALSE the certificate context keeps it, and releases it when
    # its last copy is freed.
    _crypt32(
        "CryptAcquireCertificatePrivateKey",
        "pCert dwFlags pvParameters phCryptProvOrNCryptKey pdwKeySpec pfCallerFreeProvOrNCryptKey",
        acquires(
            PROV,
            "phCryptProvOrNCryptKey",
            when=stored("pfCallerFreeProvOrNCryptKey"),
            unless=stored_equals("pdwKeySpec", CERT_NCRYPT_KEY_SPEC),
        ),
        finds(
            PROV,
            "phCryptProvOrNCryptKey",
            unless=either(
                stored("pfCallerFreeProvOrNCryptKey"),
                stored_equals("pdwKeySpec", CERT_NCRYPT_KEY_SPEC),
            ),
        ),
    ),
)

# Forwarders (cryptsp) and the software CSP export the same functions under the same rules; further
# libraries are named in the setting `libraries`.
_LIBRARIES: Final = ("advapi32", "crypt32", "cryptsp", "softcsp")

SPEC: Final = Spec(
    "cryptoapi",
    "Microsoft CryptoAPI",
    kinds=(PROV, KEY, HASH),
    calls=CALLS,
    bindings=(
        Binding("ctypes", Dll(_LIBRARIES), success=Success.NONZERO, codec=Codec.CTYPES),
        Binding("cffi", Dll(_LIBRARIES), success=Success.NONZERO, codec=Codec.CFFI),
        Binding(
            "win32crypt",
            Objects(
                ("win32crypt", "csptrace.softcsp.win32crypt"),
                classes={"PyCRYPTPROV": PROV, "PyCRYPTKEY": KEY, "PyCRYPTHASH": HASH},
                # PyCRYPTHASH holds no reference to its provider (PyCRYPTHASH.cpp).
                parents={"PyCRYPTKEY": "HCRYPTPROV"},
            ),
            success=Success.NO_EXCEPTION,
            codec=Codec.OBJECTS,
            on_collect=Collects.RELEASES,
            # ~PyCRYPTPROV, ~PyCRYPTKEY and ~PyCRYPTHASH release again after an explicit release.
            quarantine=True,
            shapes=shapes(
                {
                    "CryptAcquireContext": (
                        "CryptAcquireContextW: Container=szContainer Provider=szProvider "
                        "ProvType=dwProvType Flags=dwFlags -> phProv"
                    ),
                    "PyCRYPTPROV.CryptReleaseContext": (
                        "CryptReleaseContext: self=hProv Flags=dwFlags"
                    ),
                    "PyCRYPTPROV.CryptGenKey": (
                        "CryptGenKey: self=hProv Algid Flags=dwFlags KeyLen= -> phKey"
                    ),
                    "PyCRYPTPROV.CryptGetProvParam": (
                        "CryptGetProvParam: self=hProv Param=dwParam Flags=dwFlags"
                    ),
                    "PyCRYPTPROV.CryptGetUserKey": (
                        "CryptGetUserKey: self=hProv KeySpec=dwKeySpec -> phUserKey"
                    ),
                    "PyCRYPTPROV.CryptGenRandom": (
                        "CryptGenRandom: self=hProv Len=dwLen SeedData="
                    ),
                    "PyCRYPTPROV.CryptCreateHash": (
                        "CryptCreateHash: self=hProv Algid Key=hKey Flags=dwFlags -> phHash"
                    ),
                    "PyCRYPTPROV.CryptImportKey": (
                        "CryptImportKey: self=hProv Data=pbData PubKey=hPubKey Flags=dwFlags "
                        "-> phKey"
                    ),
                    "PyCRYPTPROV.CryptExportPublicKeyInfo": (
                        "CryptExportPublicKeyInfo: self=hCryptProvOrNCryptKey KeySpec=dwKeySpec "
                        "CertEncodingType=dwCertEncodingType"
                    ),
                    "PyCRYPTPROV.CryptImportPublicKeyInfo": (
                        "CryptImportPublicKeyInfo: self=hCryptProv Info=pInfo "
                        "CertEncodingType=dwCertEncodingType -> phKey"
                    ),
                    "PyCRYPTKEY.CryptDestroyKey": "CryptDestroyKey: self=hKey",
                    "PyCRYPTKEY.CryptExportKey": (
                        # The binding makes the size query itself: a call that returns has
                        # exported.
                        "CryptExportKey: self=hKey ExpKey=hExpKey BlobType=dwBlobType Flags=dwFlags"
                    ),
                    "PyCRYPTKEY.CryptGetKeyParam": (
                        "CryptGetKeyParam: self=hKey Param=dwParam Flags=dwFlags"
                    ),
                    "PyCRYPTKEY.CryptDuplicateKey": (
                        "CryptDuplicateKey: self=hKey Reserved=pdwReserved Flags=dwFlags -> phKey"
                    ),
                    "PyCRYPTKEY.CryptEncrypt": (
                        "CryptEncrypt: self=hKey Final Data=pbData Hash=hHash Flags=dwFlags"
                    ),
                    "PyCRYPTKEY.CryptDecrypt": (
                        "CryptDecrypt: self=hKey Final Data=pbData Hash=hHash Flags=dwFlags"
                    ),
                    "PyCRYPTHASH.CryptDestroyHash": "CryptDestroyHash: self=hHash",
                    "PyCRYPTHASH.CryptDuplicateHash": (
                        "CryptDuplicateHash: self=hHash Flags=dwFlags -> phHash"
                    ),
                    "PyCRYPTHASH.CryptHashData": (
                        "CryptHashData: self=hHash Data=pbData Flags=dwFlags"
                    ),
                    "PyCRYPTHASH.CryptHashSessionKey": (
                        "CryptHashSessionKey: self=hHash Key=hKey Flags=dwFlags"
                    ),
                    "PyCRYPTHASH.CryptSignHash": (
                        "CryptSignHashW: self=hHash KeySpec=dwKeySpec Flags=dwFlags"
                    ),
                    "PyCRYPTHASH.CryptVerifySignature": (
                        "CryptVerifySignatureW: self=hHash Signature=pbSignature PubKey=hPubKey "
                        "Flags=dwFlags"
                    ),
                    "PyCRYPTHASH.CryptGetHashParam": (
                        "CryptGetHashParam: self=hHash Param=dwParam Flags=dwFlags"
                    ),
                }
            ),
        ),
    ),
    source="https://learn.microsoft.com/windows/win32/api/wincrypt/nf-wincrypt-cryptreleasecontext",
)
