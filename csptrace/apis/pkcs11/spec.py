"""PKCS#11 (Cryptoki) v2.40 and v3.x: library, slots, sessions, objects, operations.

Vendor rules: OASIS, PKCS #11 Specification Version 3.1, sections 5.4 (C_Initialize, C_Finalize),
5.6 (C_OpenSession, C_CloseSession: "all session objects … are destroyed", C_CloseAllSessions,
C_Logout), 5.7 (objects), 5.8 to 5.15 (what ends an operation: "a call to C_Encrypt always
terminates the active encryption operation unless it returns CKR_BUFFER_TOO_SMALL or is a
successful call … to determine the length of the buffer").

Handles are numbers of one library: 1 in one module is another session than 1 in another, and the
numbers start again after C_Finalize. The spec is therefore `scoped`; both Python bindings and
ctypes share what they know about a module, which is known by the real path of its file.
"""

from __future__ import annotations

from typing import Final

from csptrace.spec import (
    LIBRARY,
    OWNER,
    Binding,
    Codec,
    Collects,
    Dll,
    Kind,
    LibraryObjects,
    Query,
    Spec,
    Success,
    acquires,
    always,
    call,
    cancels,
    equals,
    exports,
    exposes,
    finds,
    finishes,
    flag,
    given,
    nonzero,
    releases,
    releases_all,
    shapes,
    starts,
    updates,
    uses,
)

CKR_BUFFER_TOO_SMALL: Final = 0x150
CKU_NOBODY: Final = 999
CKF_MESSAGE_ENCRYPT: Final = 0x2
CKF_MESSAGE_DECRYPT: Final = 0x4
CKF_MESSAGE_SIGN: Final = 0x8
CKF_MESSAGE_VERIFY: Final = 0x10
CKF_FIND_OBJECTS: Final = 0x40
CKF_ENCRYPT: Final = 0x100
CKF_DECRYPT: Final = 0x200
CKF_DIGEST: Final = 0x400
CKF_SIGN: Final = 0x800
CKF_SIGN_RECOVER: Final = 0x1000
CKF_VERIFY: Final = 0x2000
CKF_VERIFY_RECOVER: Final = 0x4000

_QUERIES: Final = "csptrace.apis.pkcs11.queries"
_IS_ON_TOKEN: Final = Query(f"{_QUERIES}:is_on_token", "the token says CKA_TOKEN")
_IS_PRIVATE: Final = Query(f"{_QUERIES}:is_private", "the token says CKA_PRIVATE")
_SESSIONS_ALLOWED: Final = Query(f"{_QUERIES}:sessions_allowed", "the token says how many")

# Some of the names below are no C types: the API has none for what they stand for.
LIBRARY_STATE: Final = Kind(
    "CRYPTOKI",
    "library",
    must_release=False,
    library=True,
    exclusive=True,
    release="C_Finalize",
)
MODULE: Final = Kind(
    "CK_FUNCTION_LIST",
    "loaded module",
    must_release=False,
    null=frozenset(),
    harm="the shared library stays loaded",
)
SLOT: Final = Kind(
    "CK_SLOT_ID",
    "slot",
    under=LIBRARY_STATE,
    params="slotID",
    must_release=False,
    given=True,
    null=frozenset(),
)
TOKEN: Final = Kind(
    "TOKEN", "token", under=LIBRARY_STATE, must_release=False, given=True, null=frozenset()
)
SESSION: Final = Kind(
    "CK_SESSION_HANDLE",
    "session",
    under=SLOT,
    params="hSession",
    # C_CloseSession: when the last one is closed, handles to private objects become invalid; in
    # SoftHSM (2.6.1, measured) all of them do.
    opens=TOKEN,
    orderly=True,
    exclusive=True,
    limit=_SESSIONS_ALLOWED,
    release="C_CloseSession",
    harm="one of the token's sessions stays in use; a YubiHSM has 16",
)
OBJECT: Final = Kind(
    "CK_OBJECT_HANDLE",
    "object",
    under=SESSION,
    params="hObject hNewObject hKey hPublicKey hPrivateKey hBaseKey hBase hWrappingKey "
    "hUnwrappingKey hEncryptionKey hAuthenticationKey",
    orderly=True,
    secret=True,
    implied=True,
    survives=_IS_ON_TOKEN,
    home=TOKEN,
    release="C_DestroyObject",
    harm="key material and memory of the token stay in use until the session is closed",
)


def _operation(name: str, title: str, release: str) -> Kind:
    """Return the kind of an operation, which has no handle but its session's."""
    return Kind(
        name,
        title,
        under=SESSION,
        orderly=True,
        null=frozenset(),
        retries=(CKR_BUFFER_TOO_SMALL,),
        release=release,
        harm="the session refuses further operations of the sort (CKR_OPERATION_ACTIVE)",
    )


SEARCH: Final = _operation("SEARCH_OPERATION", "search", "C_FindObjectsFinal")
ENCRYPTION: Final = _operation("ENCRYPT_OPERATION", "encryption", "C_EncryptFinal")
DECRYPTION: Final = _operation("DECRYPT_OPERATION", "decryption", "C_DecryptFinal")
DIGEST: Final = _operation("DIGEST_OPERATION", "digest", "C_DigestFinal")
SIGNATURE: Final = _operation("SIGN_OPERATION", "signature", "C_SignFinal")
SIGNATURE_RECOVER: Final = _operation(
    "SIGN_RECOVER_OPERATION", "signature with recovery", "C_SignRecover"
)
VERIFICATION: Final = _operation("VERIFY_OPERATION", "verification", "C_VerifyFinal")
VERIFICATION_RECOVER: Final = _operation(
    "VERIFY_RECOVER_OPERATION", "verification with recovery", "C_VerifyRecover"
)
MESSAGE_ENCRYPTION: Final = _operation(
    "MESSAGE_ENCRYPT_OPERATION", "message encryption", "C_MessageEncryptFinal"
)
MESSAGE_DECRYPTION: Final = _operation(
    "MESSAGE_DECRYPT_OPERATION", "message decryption", "C_MessageDecryptFinal"
)
MESSAGE_SIGNATURE: Final = _operation(
    "MESSAGE_SIGN_OPERATION", "message signature", "C_MessageSignFinal"
)
MESSAGE_VERIFICATION: Final = _operation(
    "MESSAGE_VERIFY_OPERATION", "message verification", "C_MessageVerifyFinal"
)

_cryptoki: Final = exports("pkcs11", LIBRARY_STATE, SLOT, SESSION, OBJECT)
# Without a mechanism each of the …Init functions cancels what is active (v3.0).
_MECHANISM: Final = given("pMechanism")
_KEY: Final = uses(OBJECT, "hKey")

CALLS: Final = (
    # --- the library ---
    _cryptoki("C_Initialize", "pInitArgs", acquires(LIBRARY_STATE, LIBRARY)),
    _cryptoki("C_Finalize", "pReserved", releases(LIBRARY_STATE, LIBRARY)),
    _cryptoki("C_GetInfo", "pInfo"),
    _cryptoki("C_GetFunctionList", "ppFunctionList", exposes(LIBRARY_STATE, "ppFunctionList")),
    _cryptoki(
        "C_GetInterfaceList",
        "pInterfacesList pulCount",
        exposes(LIBRARY_STATE, "pInterfacesList", traced=False),
    ),
    _cryptoki(
        "C_GetInterface",
        "pInterfaceName pVersion ppInterface flags",
        exposes(LIBRARY_STATE, "ppInterface", traced=False),
    ),
    # --- slots and tokens ---
    _cryptoki("C_GetSlotList", "tokenPresent pSlotList pulCount"),
    _cryptoki("C_GetSlotInfo", "slotID pInfo"),
    _cryptoki("C_GetTokenInfo", "slotID pInfo"),
    # A blocked call is meant to be ended by C_Finalize in another thread.
    _cryptoki(
        "C_WaitForSlotEvent", "flags pSlot pReserved", uses(LIBRARY_STATE, LIBRARY, waits=True)
    ),
    _cryptoki("C_GetMechanismList", "slotID pMechanismList pulCount"),
    _cryptoki("C_GetMechanismInfo", "slotID type pInfo"),
    _cryptoki("C_InitToken", "slotID pPin ulPinLen pLabel"),
    _cryptoki("C_InitPIN", "hSession pPin ulPinLen"),
    _cryptoki("C_SetPIN", "hSession pOldPin ulOldLen pNewPin ulNewLen"),
    # --- sessions ---
    _cryptoki("C_OpenSession", "slotID flags pApplication Notify phSession"),
    _cryptoki("C_CloseSession", "hSession", releases(SESSION, "hSession")),
    _cryptoki("C_CloseAllSessions", "slotID", releases_all(SESSION, under="slotID")),
    _cryptoki("C_GetSessionInfo", "hSession pInfo"),
    _cryptoki(
        "C_SessionCancel",
        "hSession flags",
        cancels(SEARCH, flag("flags", CKF_FIND_OBJECTS)),
        cancels(ENCRYPTION, flag("flags", CKF_ENCRYPT)),
        cancels(DECRYPTION, flag("flags", CKF_DECRYPT)),
        cancels(DIGEST, flag("flags", CKF_DIGEST)),
        cancels(SIGNATURE, flag("flags", CKF_SIGN)),
        cancels(SIGNATURE_RECOVER, flag("flags", CKF_SIGN_RECOVER)),
        cancels(VERIFICATION, flag("flags", CKF_VERIFY)),
        cancels(VERIFICATION_RECOVER, flag("flags", CKF_VERIFY_RECOVER)),
        cancels(MESSAGE_ENCRYPTION, flag("flags", CKF_MESSAGE_ENCRYPT)),
        cancels(MESSAGE_DECRYPTION, flag("flags", CKF_MESSAGE_DECRYPT)),
        cancels(MESSAGE_SIGNATURE, flag("flags", CKF_MESSAGE_SIGN)),
        cancels(MESSAGE_VERIFICATION, flag("flags", CKF_MESSAGE_VERIFY)),
    ),
    _cryptoki("C_GetOperationState", "hSession pOperationState pulOperationStateLen"),
    _cryptoki(
        "C_SetOperationState",
        "hSession pOperationState ulOperationStateLen hEncryptionKey hAuthenticationKey",
    ),
    _cryptoki("C_Login", "hSession userType pPin ulPinLen"),
    _cryptoki("C_LoginUser", "hSession userType pPin ulPinLen pUsername ulUsernameLen"),
    # Vendor: "When C_Logout successfully executes, any of the application's handles to private
    # objects become invalid (even if a user is later logged back into the token …). In
    # addition, all private session objects … are destroyed." It holds for every session.
    _cryptoki("C_Logout", "hSession", releases_all(OBJECT, beside="hSession", asking=_IS_PRIVATE)),
    _cryptoki("C_GetSessionValidationFlags", "hSession type pFlags"),
    # --- objects ---
    _cryptoki("C_CreateObject", "hSession pTemplate ulCount phObject"),
    _cryptoki("C_CopyObject", "hSession hObject pTemplate ulCount phNewObject"),
    _cryptoki("C_DestroyObject", "hSession hObject", releases(OBJECT, "hObject")),
    _cryptoki("C_GetObjectSize", "hSession hObject pulSize"),
    _cryptoki("C_GetAttributeValue", "hSession hObject pTemplate ulCount"),
    _cryptoki("C_SetAttributeValue", "hSession hObject pTemplate ulCount"),
    _cryptoki("C_FindObjectsInit", "hSession pTemplate ulCount", starts(SEARCH)),
    # What a search finds was made by somebody else, who may still need it: it need not be released.
    _cryptoki(
        "C_FindObjects",
        "hSession phObject ulMaxObjectCount pulObjectCount",
        finds(OBJECT, "phObject", count="pulObjectCount", beside="hSession"),
    ),
    _cryptoki("C_FindObjectsFinal", "hSession", cancels(SEARCH)),
    # --- encryption ---
    _cryptoki(
        "C_EncryptInit", "hSession pMechanism hKey", starts(ENCRYPTION, _KEY, when=_MECHANISM)
    ),
    _cryptoki(
        "C_Encrypt",
        "hSession pData ulDataLen pEncryptedData pulEncryptedDataLen",
        finishes(ENCRYPTION, "pEncryptedData"),
    ),
    _cryptoki(
        "C_EncryptUpdate",
        "hSession pPart ulPartLen pEncryptedPart pulEncryptedPartLen",
        updates(ENCRYPTION),
    ),
    _cryptoki(
        "C_EncryptFinal",
        "hSession pLastEncryptedPart pulLastEncryptedPartLen",
        finishes(ENCRYPTION, "pLastEncryptedPart"),
    ),
    # --- decryption ---
    _cryptoki(
        "C_DecryptInit", "hSession pMechanism hKey", starts(DECRYPTION, _KEY, when=_MECHANISM)
    ),
    _cryptoki(
        "C_Decrypt",
        "hSession pEncryptedData ulEncryptedDataLen pData pulDataLen",
        finishes(DECRYPTION, "pData"),
    ),
    _cryptoki(
        "C_DecryptUpdate",
        "hSession pEncryptedPart ulEncryptedPartLen pPart pulPartLen",
        updates(DECRYPTION),
    ),
    _cryptoki(
        "C_DecryptFinal", "hSession pLastPart pulLastPartLen", finishes(DECRYPTION, "pLastPart")
    ),
    # --- digests ---
    _cryptoki("C_DigestInit", "hSession pMechanism", starts(DIGEST, when=_MECHANISM)),
    _cryptoki(
        "C_Digest", "hSession pData ulDataLen pDigest pulDigestLen", finishes(DIGEST, "pDigest")
    ),
    _cryptoki("C_DigestUpdate", "hSession pPart ulPartLen", updates(DIGEST)),
    _cryptoki("C_DigestKey", "hSession hKey", updates(DIGEST)),
    _cryptoki("C_DigestFinal", "hSession pDigest pulDigestLen", finishes(DIGEST, "pDigest")),
    # --- signatures ---
    _cryptoki("C_SignInit", "hSession pMechanism hKey", starts(SIGNATURE, _KEY, when=_MECHANISM)),
    _cryptoki(
        "C_Sign",
        "hSession pData ulDataLen pSignature pulSignatureLen",
        finishes(SIGNATURE, "pSignature"),
    ),
    _cryptoki("C_SignUpdate", "hSession pPart ulPartLen", updates(SIGNATURE)),
    _cryptoki(
        "C_SignFinal", "hSession pSignature pulSignatureLen", finishes(SIGNATURE, "pSignature")
    ),
    _cryptoki(
        "C_SignRecoverInit",
        "hSession pMechanism hKey",
        starts(SIGNATURE_RECOVER, _KEY, when=_MECHANISM),
    ),
    _cryptoki(
        "C_SignRecover",
        "hSession pData ulDataLen pSignature pulSignatureLen",
        finishes(SIGNATURE_RECOVER, "pSignature"),
    ),
    # --- verification ---
    _cryptoki(
        "C_VerifyInit", "hSession pMechanism hKey", starts(VERIFICATION, _KEY, when=_MECHANISM)
    ),
    _cryptoki(
        "C_Verify", "hSession pData ulDataLen pSignature ulSignatureLen", finishes(VERIFICATION)
    ),
    _cryptoki("C_VerifyUpdate", "hSession pPart ulPartLen", updates(VERIFICATION)),
    _cryptoki("C_VerifyFinal", "hSession pSignature ulSignatureLen", finishes(VERIFICATION)),
    _cryptoki(
        "C_VerifyRecoverInit",
        "hSession pMechanism hKey",
        starts(VERIFICATION_RECOVER, _KEY, when=_MECHANISM),
    ),
    _cryptoki(
        "C_VerifyRecover",
        "hSession pSignature ulSignatureLen pData pulDataLen",
        finishes(VERIFICATION_RECOVER, "pData"),
    ),
    _cryptoki(
        "C_VerifySignatureInit",
        "hSession pMechanism hKey pSignature ulSignatureLen",
        starts(VERIFICATION),
    ),
    _cryptoki("C_VerifySignature", "hSession pData ulDataLen", finishes(VERIFICATION)),
    _cryptoki("C_VerifySignatureUpdate", "hSession pPart ulPartLen", updates(VERIFICATION)),
    _cryptoki("C_VerifySignatureFinal", "hSession", finishes(VERIFICATION)),
    # --- two operations at once ---
    _cryptoki(
        "C_DigestEncryptUpdate",
        "hSession pPart ulPartLen pEncryptedPart pulEncryptedPartLen",
        updates(DIGEST, ENCRYPTION),
    ),
    _cryptoki(
        "C_DecryptDigestUpdate",
        "hSession pEncryptedPart ulEncryptedPartLen pPart pulPartLen",
        updates(DECRYPTION, DIGEST),
    ),
    _cryptoki(
        "C_SignEncryptUpdate",
        "hSession pPart ulPartLen pEncryptedPart pulEncryptedPartLen",
        updates(SIGNATURE, ENCRYPTION),
    ),
    _cryptoki(
        "C_DecryptVerifyUpdate",
        "hSession pEncryptedPart ulEncryptedPartLen pPart pulPartLen",
        updates(DECRYPTION, VERIFICATION),
    ),
    # --- messages (v3.0): the operation lasts until its C_Message…Final ---
    _cryptoki(
        "C_MessageEncryptInit",
        "hSession pMechanism hKey",
        starts(MESSAGE_ENCRYPTION, _KEY, when=_MECHANISM),
    ),
    _cryptoki(
        "C_EncryptMessage",
        "hSession pParameter ulParameterLen pAssociatedData ulAssociatedDataLen "
        "pPlaintext ulPlaintextLen pCiphertext pulCiphertextLen",
    ),
    _cryptoki(
        "C_EncryptMessageBegin",
        "hSession pParameter ulParameterLen pAssociatedData ulAssociatedDataLen",
    ),
    _cryptoki(
        "C_EncryptMessageNext",
        "hSession pParameter ulParameterLen pPlaintextPart ulPlaintextPartLen "
        "pCiphertextPart pulCiphertextPartLen flags",
    ),
    _cryptoki("C_MessageEncryptFinal", "hSession", finishes(MESSAGE_ENCRYPTION)),
    _cryptoki(
        "C_MessageDecryptInit",
        "hSession pMechanism hKey",
        starts(MESSAGE_DECRYPTION, _KEY, when=_MECHANISM),
    ),
    _cryptoki(
        "C_DecryptMessage",
        "hSession pParameter ulParameterLen pAssociatedData ulAssociatedDataLen "
        "pCiphertext ulCiphertextLen pPlaintext pulPlaintextLen",
    ),
    _cryptoki(
        "C_DecryptMessageBegin",
        "hSession pParameter ulParameterLen pAssociatedData ulAssociatedDataLen",
    ),
    _cryptoki(
        "C_DecryptMessageNext",
        "hSession pParameter ulParameterLen pCiphertextPart ulCiphertextPartLen "
        "pPlaintextPart pulPlaintextPartLen flags",
    ),
    _cryptoki("C_MessageDecryptFinal", "hSession", finishes(MESSAGE_DECRYPTION)),
    _cryptoki(
        "C_MessageSignInit",
        "hSession pMechanism hKey",
        starts(MESSAGE_SIGNATURE, _KEY, when=_MECHANISM),
    ),
    _cryptoki(
        "C_SignMessage",
        "hSession pParameter ulParameterLen pData ulDataLen pSignature pulSignatureLen",
    ),
    _cryptoki("C_SignMessageBegin", "hSession pParameter ulParameterLen"),
    _cryptoki(
        "C_SignMessageNext",
        "hSession pParameter ulParameterLen pData ulDataLen pSignature pulSignatureLen",
    ),
    _cryptoki("C_MessageSignFinal", "hSession", finishes(MESSAGE_SIGNATURE)),
    _cryptoki(
        "C_MessageVerifyInit",
        "hSession pMechanism hKey",
        starts(MESSAGE_VERIFICATION, _KEY, when=_MECHANISM),
    ),
    _cryptoki(
        "C_VerifyMessage",
        "hSession pParameter ulParameterLen pData ulDataLen pSignature ulSignatureLen",
    ),
    _cryptoki("C_VerifyMessageBegin", "hSession pParameter ulParameterLen"),
    _cryptoki(
        "C_VerifyMessageNext",
        "hSession pParameter ulParameterLen pData ulDataLen pSignature ulSignatureLen",
    ),
    _cryptoki("C_MessageVerifyFinal", "hSession", finishes(MESSAGE_VERIFICATION)),
    # --- keys ---
    _cryptoki("C_GenerateKey", "hSession pMechanism pTemplate ulCount phKey"),
    _cryptoki(
        "C_GenerateKeyPair",
        "hSession pMechanism pPublicKeyTemplate ulPublicKeyAttributeCount "
        "pPrivateKeyTemplate ulPrivateKeyAttributeCount phPublicKey phPrivateKey",
        acquires(OBJECT, "phPublicKey", under="hSession"),
    ),
    _cryptoki("C_WrapKey", "hSession pMechanism hWrappingKey hKey pWrappedKey pulWrappedKeyLen"),
    _cryptoki(
        "C_UnwrapKey",
        "hSession pMechanism hUnwrappingKey pWrappedKey ulWrappedKeyLen pTemplate "
        "ulAttributeCount phKey",
    ),
    _cryptoki("C_DeriveKey", "hSession pMechanism hBaseKey pTemplate ulAttributeCount phKey"),
    _cryptoki(
        "C_EncapsulateKey",
        "hSession pMechanism hPublicKey pTemplate ulAttributeCount pCiphertext "
        "pulCiphertextLen phKey",
        acquires(OBJECT, "phKey", when=given("pCiphertext")),
    ),
    _cryptoki(
        "C_DecapsulateKey",
        "hSession pMechanism hPrivateKey pTemplate ulAttributeCount pCiphertext "
        "ulCiphertextLen phKey",
    ),
    _cryptoki(
        "C_WrapKeyAuthenticated",
        "hSession pMechanism hWrappingKey hKey pAssociatedData ulAssociatedDataLen "
        "pWrappedKey pulWrappedKeyLen",
    ),
    _cryptoki(
        "C_UnwrapKeyAuthenticated",
        "hSession pMechanism hUnwrappingKey pWrappedKey ulWrappedKeyLen pTemplate "
        "ulAttributeCount pAssociatedData ulAssociatedDataLen phKey",
    ),
    # --- random numbers, and what is left of parallel functions ---
    _cryptoki("C_SeedRandom", "hSession pSeed ulSeedLen"),
    _cryptoki("C_GenerateRandom", "hSession pRandomData ulRandomLen"),
    _cryptoki("C_GetFunctionStatus", "hSession"),
    _cryptoki("C_CancelFunction", "hSession"),
    _cryptoki("C_AsyncComplete", "hSession pFunctionName pResult"),
    _cryptoki("C_AsyncGetID", "hSession pFunctionName pulID"),
    _cryptoki("C_AsyncJoin", "hSession pFunctionName ulID pData ulData"),
)

_PYKCS11: Final = shapes(
    {
        "CPKCS11Lib.Load": "Load: self=owner szLib",
        "CPKCS11Lib.Unload": "Unload: self=owner",
        "CPKCS11Lib.Duplicate": "Duplicate: self=owner ref",
        "CPKCS11Lib.C_Initialize": "C_Initialize: self=owner",
        "CPKCS11Lib.C_Finalize": "C_Finalize: self=owner",
        "CPKCS11Lib.C_GetInfo": "C_GetInfo: self=owner pInfo",
        "CPKCS11Lib.C_GetSlotList": "C_GetSlotList: self=owner tokenPresent slotList=pSlotList",
        "CPKCS11Lib.C_GetSlotInfo": "C_GetSlotInfo: self=owner slotID pInfo",
        "CPKCS11Lib.C_GetTokenInfo": "C_GetTokenInfo: self=owner slotID pInfo",
        "CPKCS11Lib.C_InitToken": "C_InitToken: self=owner slotID pin= pLabel=",
        "CPKCS11Lib.C_InitPIN": "C_InitPIN: self=owner hSession pin=",
        "CPKCS11Lib.C_SetPIN": "C_SetPIN: self=owner hSession OldPin= NewPin=",
        "CPKCS11Lib.C_OpenSession": "C_OpenSession: self=owner slotID flags outhSession=phSession",
        "CPKCS11Lib.C_CloseSession": "C_CloseSession: self=owner hSession",
        "CPKCS11Lib.C_CloseAllSessions": "C_CloseAllSessions: self=owner slotID",
        "CPKCS11Lib.C_GetSessionInfo": "C_GetSessionInfo: self=owner hSession pInfo",
        "CPKCS11Lib.C_Login": "C_Login: self=owner hSession userType pin=",
        "CPKCS11Lib.C_Logout": "C_Logout: self=owner hSession",
        "CPKCS11Lib.C_CreateObject": (
            "C_CreateObject: self=owner hSession Template= outhObject=phObject"
        ),
        "CPKCS11Lib.C_DestroyObject": "C_DestroyObject: self=owner hSession hObject",
        "CPKCS11Lib.C_GetObjectSize": "C_GetObjectSize: self=owner hSession hObject pulSize",
        "CPKCS11Lib.C_GetAttributeValue": (
            "C_GetAttributeValue: self=owner hSession hObject Template="
        ),
        "CPKCS11Lib.C_SetAttributeValue": (
            "C_SetAttributeValue: self=owner hSession hObject Template="
        ),
        "CPKCS11Lib.C_FindObjectsInit": "C_FindObjectsInit: self=owner hSession Template=",
        "CPKCS11Lib.C_FindObjects": "C_FindObjects: self=owner hSession objectsList=phObject",
        "CPKCS11Lib.C_FindObjectsFinal": "C_FindObjectsFinal: self=owner hSession",
        "CPKCS11Lib.C_EncryptInit": "C_EncryptInit: self=owner hSession pMechanism hKey",
        "CPKCS11Lib.C_Encrypt": (
            "C_Encrypt: self=owner hSession inData= outEncryptedData=pEncryptedData"
        ),
        "CPKCS11Lib.C_EncryptUpdate": (
            "C_EncryptUpdate: self=owner hSession inData= outEncryptedData="
        ),
        # An empty buffer asks for a size, but here, where the binding brings one itself.
        "CPKCS11Lib.C_EncryptFinal": "C_EncryptFinal: self=owner hSession outEncryptedData=",
        "CPKCS11Lib.C_DecryptInit": "C_DecryptInit: self=owner hSession pMechanism hKey",
        "CPKCS11Lib.C_Decrypt": "C_Decrypt: self=owner hSession inEncryptedData= outData=pData",
        "CPKCS11Lib.C_DecryptUpdate": (
            "C_DecryptUpdate: self=owner hSession inEncryptedData= outData="
        ),
        "CPKCS11Lib.C_DecryptFinal": "C_DecryptFinal: self=owner hSession outData=",
        "CPKCS11Lib.C_DigestInit": "C_DigestInit: self=owner hSession pMechanism",
        "CPKCS11Lib.C_Digest": "C_Digest: self=owner hSession inData= outDigest=pDigest",
        "CPKCS11Lib.C_DigestUpdate": "C_DigestUpdate: self=owner hSession inData=",
        "CPKCS11Lib.C_DigestKey": "C_DigestKey: self=owner hSession hKey",
        "CPKCS11Lib.C_DigestFinal": "C_DigestFinal: self=owner hSession outDigest=pDigest",
        "CPKCS11Lib.C_SignInit": "C_SignInit: self=owner hSession pMechanism hKey",
        "CPKCS11Lib.C_Sign": "C_Sign: self=owner hSession inData= outSignature=pSignature",
        "CPKCS11Lib.C_SignUpdate": "C_SignUpdate: self=owner hSession inData=",
        "CPKCS11Lib.C_SignFinal": "C_SignFinal: self=owner hSession outSignature=pSignature",
        "CPKCS11Lib.C_VerifyInit": "C_VerifyInit: self=owner hSession pMechanism hKey",
        "CPKCS11Lib.C_Verify": "C_Verify: self=owner hSession inData= inSignature=",
        "CPKCS11Lib.C_VerifyUpdate": "C_VerifyUpdate: self=owner hSession inData=",
        "CPKCS11Lib.C_VerifyFinal": "C_VerifyFinal: self=owner hSession inSignature=",
        "CPKCS11Lib.C_GenerateKey": (
            "C_GenerateKey: self=owner hSession pMechanism Template= outhKey=phKey"
        ),
        "CPKCS11Lib.C_GenerateKeyPair": (
            "C_GenerateKeyPair: self=owner hSession pMechanism PublicKeyTemplate= "
            "PrivateKeyTemplate= outhPublicKey=phPublicKey outhPrivateKey=phPrivateKey"
        ),
        "CPKCS11Lib.C_WrapKey": (
            "C_WrapKey: self=owner hSession pMechanism hWrappingKey hKey WrappedKey="
        ),
        "CPKCS11Lib.C_UnwrapKey": (
            "C_UnwrapKey: self=owner hSession pMechanism hUnwrappingKey WrappedKey= Template= "
            "outhKey=phKey"
        ),
        "CPKCS11Lib.C_DeriveKey": (
            "C_DeriveKey: self=owner hSession pMechanism hBaseKey Template= outkey=phKey"
        ),
        "CPKCS11Lib.C_SeedRandom": "C_SeedRandom: self=owner hSession Seed=",
        "CPKCS11Lib.C_GenerateRandom": "C_GenerateRandom: self=owner hSession RandomData=",
        "CPKCS11Lib.C_WaitForSlotEvent": "C_WaitForSlotEvent: self=owner flags INOUT=",
        "CPKCS11Lib.C_GetMechanismList": "C_GetMechanismList: self=owner slotID mechanismList=",
        "CPKCS11Lib.C_GetMechanismInfo": "C_GetMechanismInfo: self=owner slotID type pInfo",
    }
)

_PYTHON_PKCS11: Final = shapes(
    {
        "lib": "load: so",
        "lib.initialize": "initialize: self=owner self.initialized=initialized",
        "lib.finalize": "finalize: self=owner self.initialized=initialized",
        "lib.reinitialize": "reinitialize: self=owner",
        "lib.unload": "unload: self=owner self.initialized=initialized",
        "lib.get_slots": "C_GetSlotList: self=owner token_present=tokenPresent -> (Slot)*",
        "lib.get_tokens": (
            "C_GetSlotList..C_GetTokenInfo..C_GetTokenInfo: self=owner token_label= "
            "token_serial= token_flags= slot_flags= mechanisms= -> (Token)*"
        ),
        "lib.get_token": "C_GetTokenInfo: self=owner -> (Token)",
        "lib.wait_for_slot_event": "C_WaitForSlotEvent: self=owner blocking= -> (Slot)",
        "Slot.get_token": "C_GetTokenInfo: self=slotID -> (Token)",
        "Slot.get_mechanisms": "C_GetMechanismList: self=slotID",
        "Slot.get_mechanism_info": "C_GetMechanismInfo: self=slotID mechanism=type",
        "Token.open": (
            "C_OpenSession: self=slotID rw= user_pin= so_pin= user_type= attribute_mapper= "
            "cancel_strategy= -> phSession"
        ),
        "Session.close": "close: self=hSession self.user_type=user_type",
        "Session.__enter__": "use_session: self=hSession -> (Session)",
        "Session.__exit__": (
            "close: self=hSession self.user_type=user_type type_= value= traceback="
        ),
        "Session.get_objects": (
            "find_first..find_next..C_FindObjectsFinal: self=hSession attrs= batch_size= "
            "-> phObject*"
        ),
        "Session.get_key": (
            "find_next: self=hSession object_class= key_type= label= id= -> phObject"
        ),
        "Session.reaffirm_credentials": "C_Login: self=hSession pin=",
        "Session.create_object": "C_CreateObject: self=hSession attrs= -> phObject",
        "Session.create_domain_parameters": (
            "C_CreateObject: self=hSession key_type= attrs= local= store= -> phObject"
        ),
        "Session.generate_domain_parameters": "C_GenerateKey: self=hSession -> phKey",
        "Session.generate_key": "C_GenerateKey: self=hSession -> phKey",
        "Session.generate_keypair": "generate_pair: self=hSession -> phKey*",
        "Session._generate_keypair": "generate_pair: self=hSession -> phKey*",
        "Session.seed_random": "C_SeedRandom: self=hSession seed=",
        "Session.generate_random": "C_GenerateRandom: self=hSession nbits=",
        "Session.digest": "use_session: self=hSession data=",
        "Session._digest": "use_session: self=hSession data=",
        "Session._digest_generator": "use_session: self=hSession data=",
        "Session.set_pin": "C_SetPIN: self=hSession old_pin= new_pin=",
        "Session.init_pin": "C_InitPIN: self=hSession pin=",
        "Object.__getitem__": "C_GetAttributeValue: self=hObject self.session=hSession item=",
        "Object.__setitem__": "C_SetAttributeValue: self=hObject self.session=hSession key= value=",
        "Object.get_attributes": "C_GetAttributeValue: self=hObject self.session=hSession keys=",
        "Object.copy": "C_CopyObject: self=hObject self.session=hSession attrs= -> phNewObject",
        "Object.destroy": "C_DestroyObject: self=hObject self.session=hSession",
        "EncryptMixin._encrypt": "use_key: self=hKey self.session=hSession data=",
        "EncryptMixin._encrypt_generator": (
            "C_EncryptInit..C_EncryptUpdate..C_EncryptFinal: self=hKey self.session=hSession data="
        ),
        "DecryptMixin._decrypt": "use_key: self=hKey self.session=hSession data=",
        "DecryptMixin._decrypt_generator": (
            "C_DecryptInit..C_DecryptUpdate..C_DecryptFinal: self=hKey self.session=hSession data="
        ),
        "SignMixin._sign": "use_key: self=hKey self.session=hSession data=",
        "SignMixin._sign_generator": "use_key: self=hKey self.session=hSession data=",
        "VerifyMixin._verify": "use_key: self=hKey self.session=hSession data= signature=",
        "VerifyMixin._verify_generator": (
            "use_key: self=hKey self.session=hSession data= signature="
        ),
        "WrapMixin.wrap_key": "C_WrapKey: self=hWrappingKey self.session=hSession key=hKey",
        "UnwrapMixin.unwrap_key": "C_UnwrapKey: self=hUnwrappingKey self.session=hSession -> phKey",
        "DeriveMixin.derive_key": "C_DeriveKey: self=hBaseKey self.session=hSession -> phKey",
        "EncapsulateMixin.encapsulate_key": (
            "encapsulate: self=hPublicKey self.session=hSession -> phKey*"
        ),
        "DecapsulateMixin.decapsulate_key": (
            "C_DecapsulateKey: self=hPrivateKey self.session=hSession -> phKey"
        ),
        "GenerateWithParametersMixin.generate_keypair": (
            "generate_pair: self=hBase self.session=hSession -> phKey*"
        ),
    }
)

_OPENED_AND_THROWN_AWAY: Final = frozenset(
    # What C_Login raises after C_OpenSession has succeeded; the binding closes nothing then.
    {
        "AnotherUserAlreadyLoggedIn",
        "ArgumentsBad: Protected authentication",  # other bad arguments are refused before
        "PinExpired",
        "PinIncorrect",
        "PinInvalid",
        "PinLenRange",
        "PinLocked",
        "SessionReadOnlyExists",
        "UserAlreadyLoggedIn",
        "UserPinNotInitialized",
        "UserTooManyTypes",
    }
)

SPEC: Final = Spec(
    "pkcs11",
    "PKCS#11",
    (
        LIBRARY_STATE,
        MODULE,
        SLOT,
        TOKEN,
        SESSION,
        OBJECT,
        SEARCH,
        ENCRYPTION,
        DECRYPTION,
        DIGEST,
        SIGNATURE,
        SIGNATURE_RECOVER,
        VERIFICATION,
        VERIFICATION_RECOVER,
        MESSAGE_ENCRYPTION,
        MESSAGE_DECRYPTION,
        MESSAGE_SIGNATURE,
        MESSAGE_VERIFICATION,
    ),
    CALLS,
    (
        Binding(
            "ctypes", Dll(marker="C_GetFunctionList"), success=Success.ZERO, codec=Codec.CTYPES
        ),
        Binding(
            "PyKCS11",
            LibraryObjects(
                modules=("PyKCS11.LowLevel",),
                owner="CPKCS11Lib",
                classes={
                    "CPKCS11Lib": MODULE,
                    "CK_SESSION_HANDLE": SESSION,
                    "CK_OBJECT_HANDLE": OBJECT,
                },
                file="szLib",
                loads=("Load",),
                copies=("Duplicate",),
                finds="PyKCS11.PyKCS11Lib.lib.pkcs11dll_filename",
                # One lock for all, which is not reentrant (1.5.20: without the tracer, a loop
                # that loads and unloads beside objects for the collector blocks for ever).
                locked=(
                    "PyKCS11.PyKCS11Lib.load",
                    "PyKCS11.PyKCS11Lib.unload",
                    "PyKCS11.PyKCS11Lib.__del__",
                ),
            ),
            success=Success.ZERO,
            codec=Codec.BOXED,
            shapes=_PYKCS11,
            rows=(
                # dlopen and C_Initialize, which may have been called before.
                _cryptoki(
                    "Load",
                    "szLib",
                    acquires(MODULE, OWNER),
                    acquires(LIBRARY_STATE, LIBRARY, shared=True),
                ),
                # C_Finalize and dlclose; what C_Finalize says is thrown away.
                _cryptoki(
                    "Unload",
                    "",
                    releases(LIBRARY_STATE, LIBRARY, even_on_failure=always(), again=True),
                    releases(MODULE, OWNER, even_on_failure=always(), again=True),
                ),
                call("Duplicate", "ref", library="pkcs11"),
            ),
        ),
        Binding(
            "python-pkcs11",
            LibraryObjects(
                modules=("pkcs11._pkcs11",),
                owner="lib",
                classes={
                    "lib": MODULE,
                    "Slot": SLOT,
                    "Token": SLOT,
                    "Session": SESSION,
                    "Object": OBJECT,
                    "EncryptMixin": OBJECT,
                    "DecryptMixin": OBJECT,
                    "SignMixin": OBJECT,
                    "VerifyMixin": OBJECT,
                    "WrapMixin": OBJECT,
                    "UnwrapMixin": OBJECT,
                    "DeriveMixin": OBJECT,
                    "EncapsulateMixin": OBJECT,
                    "DecapsulateMixin": OBJECT,
                    "GenerateWithParametersMixin": OBJECT,
                },
                file="so",
                values={
                    "Slot": "slot_id",
                    "Token": "slot.slot_id",
                    "Session": "handle",
                    "Object": "handle",
                },
                proxied=("lib", "Slot", "Token", "Session"),
                unwrapped_for=("LocalDomainParameters",),
                # For DSA it makes domain parameters first, which are an object, too.
                inline=("Session.generate_keypair",),
                links={"Token.slot": "Slot", "Session.token": "Token"},
                registry="pkcs11._loaded",
            ),
            success=Success.NO_EXCEPTION,
            codec=Codec.OBJECTS,
            on_collect=Collects.RELEASES,
            shapes=_PYTHON_PKCS11,
            rows=(
                _cryptoki(
                    "load",
                    "so",
                    acquires(MODULE, OWNER),
                    acquires(LIBRARY_STATE, LIBRARY, shared=True),
                ),
                _cryptoki(
                    "initialize",
                    "initialized",
                    acquires(LIBRARY_STATE, LIBRARY, shared=True, unless=nonzero("initialized")),
                ),
                _cryptoki(
                    "finalize",
                    "initialized",
                    releases(LIBRARY_STATE, LIBRARY, when=nonzero("initialized"), again=True),
                ),
                _cryptoki(
                    "reinitialize",
                    "",
                    releases(LIBRARY_STATE, LIBRARY, again=True),
                    acquires(LIBRARY_STATE, LIBRARY),
                ),
                _cryptoki(
                    "unload",
                    "initialized",
                    releases(LIBRARY_STATE, LIBRARY, when=nonzero("initialized"), again=True),
                    releases(MODULE, OWNER, again=True),
                ),
                # C_Logout of the whole slot, if the session was opened with a PIN; then
                # C_CloseSession.
                _cryptoki(
                    "close",
                    "hSession user_type",
                    releases_all(
                        OBJECT,
                        beside="hSession",
                        asking=_IS_PRIVATE,
                        unless=equals("user_type", CKU_NOBODY),
                    ),
                    releases(SESSION, "hSession"),
                ),
                _cryptoki("use_session", "hSession"),
                # C_FindObjectsInit and C_FindObjects, whose handles come one by one.
                _cryptoki(
                    "find_first",
                    "hSession phObject",
                    starts(SEARCH),
                    finds(OBJECT, "phObject", beside="hSession"),
                ),
                _cryptoki(
                    "find_next", "hSession phObject", finds(OBJECT, "phObject", beside="hSession")
                ),
                # An operation that begins and ends within the call.
                _cryptoki("use_key", "hSession hKey"),
                _cryptoki("generate_pair", "hSession hBase phKey"),
                _cryptoki("encapsulate", "hSession hPublicKey phKey"),
            ),
            lost_on={"Token.open": _OPENED_AND_THROWN_AWAY},
        ),
    ),
    source="https://docs.oasis-open.org/pkcs11/pkcs11-spec/v3.1/pkcs11-spec-v3.1.html",
    scoped=True,
)
