"""Microsoft CryptoAPI: provider contexts, keys and hashes (advapi32, crypt32).

Vendor rules: learn.microsoft.com/windows/win32/api/wincrypt, in particular
nf-wincrypt-cryptreleasecontext ("all existing session keys and hash objects that were created by
using the hProv handle become invalid. In practice, all of these objects should be destroyed …
before"), -cryptcontextaddref, -cryptdestroykey, -cryptdestroyhash, -cryptcreatehash,
-cryptgetuserkey, -cryptexportkey.
"""

from __future__ import annotations

from typing import Final

from csptrace.specs.vocabulary import (
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
    call,
    either,
    equals,
    every,
    finds,
    flag,
    given,
    needs_of,
    negation,
    nonzero,
    parent_of,
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
    space="address",
    release="CryptReleaseContext",
    harm="the provider stays loaded; an HSM session or smart card stays in use",
)
KEY: Final = Kind(
    "HCRYPTKEY",
    "key",
    under=PROV,
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
    orderly=True,
    space="address",
    release="CryptDestroyHash",
    harm="the hash object's memory stays allocated",
)

_ADVAPI32: Final = "advapi32"
_CRYPT32: Final = "crypt32"

CALLS: Final = (
    # --- contexts ---
    call(
        "CryptAcquireContextA CryptAcquireContextW",
        "phProv szContainer szProvider dwProvType dwFlags",
        # With CRYPT_DELETEKEYSET the out parameter is undefined and nothing has to be released.
        acquires(PROV, "phProv", unless=flag("dwFlags", CRYPT_DELETEKEYSET), named="szContainer"),
        library=_ADVAPI32,
    ),
    call(
        "CryptContextAddRef",
        "hProv pdwReserved dwFlags",
        adds_ref(PROV, "hProv"),
        library=_ADVAPI32,
    ),
    call(
        "CryptReleaseContext",
        "hProv dwFlags",
        # Vendor: "If dwFlags is not set to zero, this function returns FALSE but the CSP is
        # released."
        releases(PROV, "hProv", even_on_failure=nonzero("dwFlags")),
        library=_ADVAPI32,
    ),
    call(
        "CryptGetProvParam",
        "hProv dwParam pbData pdwDataLen dwFlags",
        uses(PROV, "hProv"),
        library=_ADVAPI32,
    ),
    call(
        "CryptSetProvParam", "hProv dwParam pbData dwFlags", uses(PROV, "hProv"), library=_ADVAPI32
    ),
    call("CryptGenRandom", "hProv dwLen pbBuffer", uses(PROV, "hProv"), library=_ADVAPI32),
    # --- keys ---
    call(
        "CryptGenKey",
        "hProv Algid dwFlags phKey",
        uses(PROV, "hProv"),
        acquires(KEY, "phKey", under="hProv"),
        library=_ADVAPI32,
    ),
    call(
        "CryptDeriveKey",
        "hProv Algid hBaseData dwFlags phKey",
        uses(PROV, "hProv"),
        uses(HASH, "hBaseData"),
        acquires(KEY, "phKey", under="hProv"),
        library=_ADVAPI32,
    ),
    call(
        # A new handle at each call, although the key pair is the container's.
        "CryptGetUserKey",
        "hProv dwKeySpec phUserKey",
        uses(PROV, "hProv"),
        acquires(KEY, "phUserKey", under="hProv"),
        library=_ADVAPI32,
    ),
    call(
        "CryptImportKey",
        "hProv pbData dwDataLen hPubKey dwFlags phKey",
        uses(PROV, "hProv"),
        uses(KEY, "hPubKey"),
        acquires(KEY, "phKey", under="hProv"),
        library=_ADVAPI32,
    ),
    call(
        "CryptDuplicateKey",
        "hKey pdwReserved dwFlags phKey",
        uses(KEY, "hKey"),
        acquires(KEY, "phKey", under=parent_of("hKey")),
        library=_ADVAPI32,
    ),
    call(
        "CryptExportKey",
        "hKey hExpKey dwBlobType dwFlags pbData pdwDataLen",
        uses(KEY, "hKey"),
        uses(KEY, "hExpKey"),
        # A hidden release; a size query (pbData NULL) changes nothing.
        releases(KEY, "hKey", when=every(flag("dwFlags", CRYPT_DESTROYKEY), given("pbData"))),
        library=_ADVAPI32,
    ),
    call(
        "CryptEncrypt",
        "hKey hHash Final dwFlags pbData pdwDataLen dwBufLen",
        uses(KEY, "hKey"),
        uses(HASH, "hHash"),
        library=_ADVAPI32,
    ),
    call(
        "CryptDecrypt",
        "hKey hHash Final dwFlags pbData pdwDataLen",
        uses(KEY, "hKey"),
        uses(HASH, "hHash"),
        library=_ADVAPI32,
    ),
    call(
        "CryptGetKeyParam",
        "hKey dwParam pbData pdwDataLen dwFlags",
        uses(KEY, "hKey"),
        library=_ADVAPI32,
    ),
    call("CryptSetKeyParam", "hKey dwParam pbData dwFlags", uses(KEY, "hKey"), library=_ADVAPI32),
    call("CryptDestroyKey", "hKey", releases(KEY, "hKey"), library=_ADVAPI32),
    # --- hashes ---
    call(
        "CryptCreateHash",
        "hProv Algid hKey dwFlags phHash",
        uses(PROV, "hProv"),
        uses(KEY, "hKey"),
        # A MAC or HMAC hash keeps its key by reference; hKey is 0 for every other algorithm.
        acquires(HASH, "phHash", under="hProv", needs="hKey"),
        library=_ADVAPI32,
    ),
    call(
        "CryptDuplicateHash",
        "hHash pdwReserved dwFlags phHash",
        uses(HASH, "hHash"),
        acquires(HASH, "phHash", under=parent_of("hHash"), needs=needs_of("hHash")),
        library=_ADVAPI32,
    ),
    call("CryptHashData", "hHash pbData dwDataLen dwFlags", uses(HASH, "hHash"), library=_ADVAPI32),
    call(
        "CryptHashSessionKey",
        "hHash hKey dwFlags",
        uses(HASH, "hHash"),
        uses(KEY, "hKey"),
        library=_ADVAPI32,
    ),
    call(
        "CryptGetHashParam",
        "hHash dwParam pbData pdwDataLen dwFlags",
        uses(HASH, "hHash"),
        library=_ADVAPI32,
    ),
    call(
        "CryptSetHashParam", "hHash dwParam pbData dwFlags", uses(HASH, "hHash"), library=_ADVAPI32
    ),
    call(
        "CryptSignHashA CryptSignHashW",
        "hHash dwKeySpec szDescription dwFlags pbSignature pdwSigLen",
        uses(HASH, "hHash"),
        library=_ADVAPI32,
    ),
    call(
        "CryptVerifySignatureA CryptVerifySignatureW",
        "hHash pbSignature dwSigLen hPubKey szDescription dwFlags",
        uses(HASH, "hHash"),
        uses(KEY, "hPubKey"),
        library=_ADVAPI32,
    ),
    call("CryptDestroyHash", "hHash", releases(HASH, "hHash"), library=_ADVAPI32),
    # --- crypt32 functions that touch a provider context or a key ---
    call(
        "CryptImportPublicKeyInfo",
        "hCryptProv dwCertEncodingType pInfo phKey",
        uses(PROV, "hCryptProv"),
        acquires(KEY, "phKey", under="hCryptProv"),
        library=_CRYPT32,
    ),
    call(
        "CryptImportPublicKeyInfoEx",
        "hCryptProv dwCertEncodingType pInfo aiKeyAlg dwFlags pvAuxInfo phKey",
        uses(PROV, "hCryptProv"),
        acquires(KEY, "phKey", under="hCryptProv"),
        library=_CRYPT32,
    ),
    call(
        "CryptExportPublicKeyInfo",
        "hCryptProvOrNCryptKey dwKeySpec dwCertEncodingType pInfo pcbInfo",
        uses(PROV, "hCryptProvOrNCryptKey"),
        library=_CRYPT32,
    ),
    call(
        "CryptExportPublicKeyInfoEx",
        "hCryptProvOrNCryptKey dwKeySpec dwCertEncodingType pszPublicKeyObjId dwFlags pvAuxInfo "
        "pInfo pcbInfo",
        uses(PROV, "hCryptProvOrNCryptKey"),
        library=_CRYPT32,
    ),
    call(
        "CryptSignCertificate",
        "hCryptProvOrNCryptKey dwKeySpec dwCertEncodingType pbEncodedToBeSigned "
        "cbEncodedToBeSigned pSignatureAlgorithm pvHashAuxInfo pbSignature pcbSignature",
        uses(PROV, "hCryptProvOrNCryptKey"),
        library=_CRYPT32,
    ),
    call(
        "CryptSignAndEncodeCertificate",
        "hCryptProvOrNCryptKey dwKeySpec dwCertEncodingType lpszStructType pvStructInfo "
        "pSignatureAlgorithm pvHashAuxInfo pbEncoded pcbEncoded",
        uses(PROV, "hCryptProvOrNCryptKey"),
        library=_CRYPT32,
    ),
    call(
        "CryptHashCertificate",
        "hCryptProv Algid dwFlags pbEncoded cbEncoded pbComputedHash pcbComputedHash",
        uses(PROV, "hCryptProv"),
        library=_CRYPT32,
    ),
    call(
        "CryptHashPublicKeyInfo",
        "hCryptProv Algid dwFlags dwCertEncodingType pInfo pbComputedHash pcbComputedHash",
        uses(PROV, "hCryptProv"),
        library=_CRYPT32,
    ),
    call(
        "CryptVerifyCertificateSignature",
        "hCryptProv dwCertEncodingType pbEncoded cbEncoded pPublicKey",
        uses(PROV, "hCryptProv"),
        library=_CRYPT32,
    ),
    call(
        "CryptVerifyCertificateSignatureEx",
        "hCryptProv dwCertEncodingType dwSubjectType pvSubject dwIssuerType pvIssuer dwFlags "
        "pvExtra",
        uses(PROV, "hCryptProv"),
        library=_CRYPT32,
    ),
    call(
        "CertOpenStore",
        "lpszStoreProvider dwEncodingType hCryptProv dwFlags pvPara",
        # CertCloseStore releases the context, unless the flag says otherwise.
        uses(
            PROV,
            "hCryptProv",
            hands_over=negation(flag("dwFlags", CERT_STORE_NO_CRYPT_RELEASE_FLAG)),
        ),
        library=_CRYPT32,
    ),
    call(
        "CryptMsgOpenToDecode",
        "dwMsgEncodingType dwFlags dwMsgType hCryptProv pRecipientInfo pStreamInfo",
        uses(PROV, "hCryptProv", hands_over=flag("dwFlags", CMSG_CRYPT_RELEASE_CONTEXT_FLAG)),
        library=_CRYPT32,
    ),
    call(
        "CertSetCertificateContextProperty",
        "pCertContext dwPropId dwFlags pvData",
        # For this property pvData is the handle itself; the certificate context takes it over.
        uses(
            PROV,
            "pvData",
            when=equals("dwPropId", CERT_KEY_PROV_HANDLE_PROP_ID),
            hands_over=every(
                equals("dwPropId", CERT_KEY_PROV_HANDLE_PROP_ID),
                negation(flag("dwFlags", CERT_STORE_NO_CRYPT_RELEASE_FLAG)),
            ),
        ),
        library=_CRYPT32,
    ),
    call(
        "CryptAcquireCertificatePrivateKey",
        "pCert dwFlags pvParameters phCryptProvOrNCryptKey pdwKeySpec pfCallerFreeProvOrNCryptKey",
        # An NCRYPT_KEY_HANDLE is not an HCRYPTPROV.
        acquires(
            PROV,
            "phCryptProvOrNCryptKey",
            when=stored("pfCallerFreeProvOrNCryptKey"),
            unless=stored_equals("pdwKeySpec", CERT_NCRYPT_KEY_SPEC),
        ),
        # Vendor: with pfCallerFree FALSE the certificate context keeps it, and releases it when
        # its last copy is freed.
        finds(
            PROV,
            "phCryptProvOrNCryptKey",
            unless=either(
                stored("pfCallerFreeProvOrNCryptKey"),
                stored_equals("pdwKeySpec", CERT_NCRYPT_KEY_SPEC),
            ),
        ),
        library=_CRYPT32,
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
