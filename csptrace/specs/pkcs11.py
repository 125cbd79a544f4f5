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

from csptrace.specs.vocabulary import (
    LIBRARY,
    OWNER,
    Binding,
    Codec,
    Collects,
    Dll,
    Kind,
    LibraryObjects,
    Question,
    Spec,
    Success,
    acquires,
    always,
    begins,
    call,
    ends,
    equals,
    exposes,
    finds,
    flag,
    given,
    negation,
    nonzero,
    releases,
    releases_all,
    shapes,
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
    "CK_SLOT_ID", "slot", under=LIBRARY_STATE, must_release=False, given=True, null=frozenset()
)
TOKEN: Final = Kind(
    "TOKEN", "token", under=LIBRARY_STATE, must_release=False, given=True, null=frozenset()
)
SESSION: Final = Kind(
    "CK_SESSION_HANDLE",
    "session",
    under=SLOT,
    # C_CloseSession: when the last one is closed, handles to private objects become invalid; in
    # SoftHSM (2.6.1, measured) all of them do.
    opens=TOKEN,
    orderly=True,
    exclusive=True,
    counted=True,
    release="C_CloseSession",
    harm="one of the token's sessions stays in use; a YubiHSM has 16",
)
OBJECT: Final = Kind(
    "CK_OBJECT_HANDLE",
    "object",
    under=SESSION,
    orderly=True,
    secret=True,
    implied=True,
    survives=Question.CKA_TOKEN,
    home=TOKEN,
    release="C_DestroyObject",
    harm="key material and memory of the token stay in use until the session is closed",
)
_BUSY: Final = "the session refuses further operations of the sort (CKR_OPERATION_ACTIVE)"
SEARCH: Final = Kind(
    "SEARCH_OPERATION",
    "search",
    under=SESSION,
    orderly=True,
    null=frozenset(),
    release="C_FindObjectsFinal",
    harm=_BUSY,
)
ENCRYPTION: Final = Kind(
    "ENCRYPT_OPERATION",
    "encryption",
    under=SESSION,
    orderly=True,
    null=frozenset(),
    release="C_EncryptFinal",
    harm=_BUSY,
)
DECRYPTION: Final = Kind(
    "DECRYPT_OPERATION",
    "decryption",
    under=SESSION,
    orderly=True,
    null=frozenset(),
    release="C_DecryptFinal",
    harm=_BUSY,
)
DIGEST: Final = Kind(
    "DIGEST_OPERATION",
    "digest",
    under=SESSION,
    orderly=True,
    null=frozenset(),
    release="C_DigestFinal",
    harm=_BUSY,
)
SIGNATURE: Final = Kind(
    "SIGN_OPERATION",
    "signature",
    under=SESSION,
    orderly=True,
    null=frozenset(),
    release="C_SignFinal",
    harm=_BUSY,
)
SIGNATURE_RECOVER: Final = Kind(
    "SIGN_RECOVER_OPERATION",
    "signature with recovery",
    under=SESSION,
    orderly=True,
    null=frozenset(),
    release="C_SignRecover",
    harm=_BUSY,
)
VERIFICATION: Final = Kind(
    "VERIFY_OPERATION",
    "verification",
    under=SESSION,
    orderly=True,
    null=frozenset(),
    release="C_VerifyFinal",
    harm=_BUSY,
)
VERIFICATION_RECOVER: Final = Kind(
    "VERIFY_RECOVER_OPERATION",
    "verification with recovery",
    under=SESSION,
    orderly=True,
    null=frozenset(),
    release="C_VerifyRecover",
    harm=_BUSY,
)
MESSAGE_ENCRYPTION: Final = Kind(
    "MESSAGE_ENCRYPT_OPERATION",
    "message encryption",
    under=SESSION,
    orderly=True,
    null=frozenset(),
    release="C_MessageEncryptFinal",
    harm=_BUSY,
)
MESSAGE_DECRYPTION: Final = Kind(
    "MESSAGE_DECRYPT_OPERATION",
    "message decryption",
    under=SESSION,
    orderly=True,
    null=frozenset(),
    release="C_MessageDecryptFinal",
    harm=_BUSY,
)
MESSAGE_SIGNATURE: Final = Kind(
    "MESSAGE_SIGN_OPERATION",
    "message signature",
    under=SESSION,
    orderly=True,
    null=frozenset(),
    release="C_MessageSignFinal",
    harm=_BUSY,
)
MESSAGE_VERIFICATION: Final = Kind(
    "MESSAGE_VERIFY_OPERATION",
    "message verification",
    under=SESSION,
    orderly=True,
    null=frozenset(),
    release="C_MessageVerifyFinal",
    harm=_BUSY,
)

_CRYPTOKI: Final = "pkcs11"

CALLS: Final = (
    # --- the library ---
    call(
        "C_Initialize",
        "pInitArgs",
        acquires(LIBRARY_STATE, LIBRARY),
        library=_CRYPTOKI,
    ),
    call(
        "C_Finalize",
        "pReserved",
        releases(LIBRARY_STATE, LIBRARY),
        library=_CRYPTOKI,
    ),
    call(
        "C_GetInfo",
        "pInfo",
        uses(LIBRARY_STATE, LIBRARY),
        library=_CRYPTOKI,
    ),
    call(
        "C_GetFunctionList",
        "ppFunctionList",
        exposes(LIBRARY_STATE, "ppFunctionList"),
        library=_CRYPTOKI,
    ),
    call(
        "C_GetInterfaceList",
        "pInterfacesList pulCount",
        exposes(LIBRARY_STATE, "pInterfacesList", traced=False),
        library=_CRYPTOKI,
    ),
    call(
        "C_GetInterface",
        "pInterfaceName pVersion ppInterface flags",
        exposes(LIBRARY_STATE, "ppInterface", traced=False),
        library=_CRYPTOKI,
    ),
    # --- slots and tokens ---
    call(
        "C_GetSlotList",
        "tokenPresent pSlotList pulCount",
        uses(LIBRARY_STATE, LIBRARY),
        library=_CRYPTOKI,
    ),
    call(
        "C_GetSlotInfo",
        "slotID pInfo",
        uses(LIBRARY_STATE, LIBRARY),
        library=_CRYPTOKI,
    ),
    call(
        "C_GetTokenInfo",
        "slotID pInfo",
        uses(LIBRARY_STATE, LIBRARY),
        library=_CRYPTOKI,
    ),
    call(
        # A blocked call is meant to be ended by C_Finalize in another thread.
        "C_WaitForSlotEvent",
        "flags pSlot pReserved",
        uses(LIBRARY_STATE, LIBRARY, waits=True),
        library=_CRYPTOKI,
    ),
    call(
        "C_GetMechanismList",
        "slotID pMechanismList pulCount",
        uses(LIBRARY_STATE, LIBRARY),
        library=_CRYPTOKI,
    ),
    call(
        "C_GetMechanismInfo",
        "slotID type pInfo",
        uses(LIBRARY_STATE, LIBRARY),
        library=_CRYPTOKI,
    ),
    call(
        "C_InitToken",
        "slotID pPin ulPinLen pLabel",
        uses(LIBRARY_STATE, LIBRARY),
        library=_CRYPTOKI,
    ),
    call(
        "C_InitPIN",
        "hSession pPin ulPinLen",
        uses(SESSION, "hSession"),
        library=_CRYPTOKI,
    ),
    call(
        "C_SetPIN",
        "hSession pOldPin ulOldLen pNewPin ulNewLen",
        uses(SESSION, "hSession"),
        library=_CRYPTOKI,
    ),
    # --- sessions ---
    call(
        "C_OpenSession",
        "slotID flags pApplication Notify phSession",
        uses(LIBRARY_STATE, LIBRARY),
        acquires(SESSION, "phSession", under="slotID"),
        library=_CRYPTOKI,
    ),
    call(
        "C_CloseSession",
        "hSession",
        releases(SESSION, "hSession"),
        library=_CRYPTOKI,
    ),
    call(
        "C_CloseAllSessions",
        "slotID",
        uses(LIBRARY_STATE, LIBRARY),
        releases_all(SESSION, under="slotID"),
        library=_CRYPTOKI,
    ),
    call(
        "C_GetSessionInfo",
        "hSession pInfo",
        uses(SESSION, "hSession"),
        library=_CRYPTOKI,
    ),
    call(
        "C_SessionCancel",
        "hSession flags",
        uses(SESSION, "hSession"),
        ends(SEARCH, "hSession", when=flag("flags", CKF_FIND_OBJECTS), on_failure=False),
        ends(ENCRYPTION, "hSession", when=flag("flags", CKF_ENCRYPT), on_failure=False),
        ends(DECRYPTION, "hSession", when=flag("flags", CKF_DECRYPT), on_failure=False),
        ends(DIGEST, "hSession", when=flag("flags", CKF_DIGEST), on_failure=False),
        ends(SIGNATURE, "hSession", when=flag("flags", CKF_SIGN), on_failure=False),
        ends(SIGNATURE_RECOVER, "hSession", when=flag("flags", CKF_SIGN_RECOVER), on_failure=False),
        ends(VERIFICATION, "hSession", when=flag("flags", CKF_VERIFY), on_failure=False),
        ends(
            VERIFICATION_RECOVER,
            "hSession",
            when=flag("flags", CKF_VERIFY_RECOVER),
            on_failure=False,
        ),
        ends(
            MESSAGE_ENCRYPTION,
            "hSession",
            when=flag("flags", CKF_MESSAGE_ENCRYPT),
            on_failure=False,
        ),
        ends(
            MESSAGE_DECRYPTION,
            "hSession",
            when=flag("flags", CKF_MESSAGE_DECRYPT),
            on_failure=False,
        ),
        ends(MESSAGE_SIGNATURE, "hSession", when=flag("flags", CKF_MESSAGE_SIGN), on_failure=False),
        ends(
            MESSAGE_VERIFICATION,
            "hSession",
            when=flag("flags", CKF_MESSAGE_VERIFY),
            on_failure=False,
        ),
        library=_CRYPTOKI,
    ),
    call(
        "C_GetOperationState",
        "hSession pOperationState pulOperationStateLen",
        uses(SESSION, "hSession"),
        library=_CRYPTOKI,
    ),
    call(
        "C_SetOperationState",
        "hSession pOperationState ulOperationStateLen hEncryptionKey hAuthenticationKey",
        uses(SESSION, "hSession"),
        uses(OBJECT, "hEncryptionKey"),
        uses(OBJECT, "hAuthenticationKey"),
        library=_CRYPTOKI,
    ),
    call(
        "C_Login",
        "hSession userType pPin ulPinLen",
        uses(SESSION, "hSession"),
        library=_CRYPTOKI,
    ),
    call(
        "C_LoginUser",
        "hSession userType pPin ulPinLen pUsername ulUsernameLen",
        uses(SESSION, "hSession"),
        library=_CRYPTOKI,
    ),
    call(
        # Vendor: "When C_Logout successfully executes, any of the application's handles to private
        # objects become invalid (even if a user is later logged back into the token …). In
        # addition, all private session objects … are destroyed." It holds for every session.
        "C_Logout",
        "hSession",
        uses(SESSION, "hSession"),
        releases_all(OBJECT, beside="hSession", asking=Question.CKA_PRIVATE),
        library=_CRYPTOKI,
    ),
    call(
        "C_GetSessionValidationFlags",
        "hSession type pFlags",
        uses(SESSION, "hSession"),
        library=_CRYPTOKI,
    ),
    # --- objects ---
    call(
        "C_CreateObject",
        "hSession pTemplate ulCount phObject",
        uses(SESSION, "hSession"),
        acquires(OBJECT, "phObject", under="hSession"),
        library=_CRYPTOKI,
    ),
    call(
        "C_CopyObject",
        "hSession hObject pTemplate ulCount phNewObject",
        uses(SESSION, "hSession"),
        uses(OBJECT, "hObject"),
        acquires(OBJECT, "phNewObject", under="hSession"),
        library=_CRYPTOKI,
    ),
    call(
        "C_DestroyObject",
        "hSession hObject",
        uses(SESSION, "hSession"),
        releases(OBJECT, "hObject"),
        library=_CRYPTOKI,
    ),
    call(
        "C_GetObjectSize",
        "hSession hObject pulSize",
        uses(SESSION, "hSession"),
        uses(OBJECT, "hObject"),
        library=_CRYPTOKI,
    ),
    call(
        "C_GetAttributeValue",
        "hSession hObject pTemplate ulCount",
        uses(SESSION, "hSession"),
        uses(OBJECT, "hObject"),
        library=_CRYPTOKI,
    ),
    call(
        "C_SetAttributeValue",
        "hSession hObject pTemplate ulCount",
        uses(SESSION, "hSession"),
        uses(OBJECT, "hObject"),
        library=_CRYPTOKI,
    ),
    call(
        "C_FindObjectsInit",
        "hSession pTemplate ulCount",
        uses(SESSION, "hSession"),
        begins(SEARCH, "hSession"),
        library=_CRYPTOKI,
    ),
    call(
        # What a search finds was made by somebody else, who may still need it: no duty.
        "C_FindObjects",
        "hSession phObject ulMaxObjectCount pulObjectCount",
        uses(SESSION, "hSession"),
        finds(OBJECT, "phObject", count="pulObjectCount", beside="hSession"),
        library=_CRYPTOKI,
    ),
    call(
        "C_FindObjectsFinal",
        "hSession",
        uses(SESSION, "hSession"),
        ends(SEARCH, "hSession", on_failure=False),
        library=_CRYPTOKI,
    ),
    # --- encryption ---
    call(
        # Without a mechanism it cancels what is active (v3.0).
        "C_EncryptInit",
        "hSession pMechanism hKey",
        uses(SESSION, "hSession"),
        uses(OBJECT, "hKey", when=given("pMechanism")),
        begins(ENCRYPTION, "hSession", when=given("pMechanism")),
        ends(ENCRYPTION, "hSession", when=negation(given("pMechanism")), on_failure=False),
        library=_CRYPTOKI,
    ),
    call(
        "C_Encrypt",
        "hSession pData ulDataLen pEncryptedData pulEncryptedDataLen",
        uses(SESSION, "hSession"),
        ends(
            ENCRYPTION, "hSession", when=given("pEncryptedData"), survives=(CKR_BUFFER_TOO_SMALL,)
        ),
        library=_CRYPTOKI,
    ),
    call(
        "C_EncryptUpdate",
        "hSession pPart ulPartLen pEncryptedPart pulEncryptedPartLen",
        uses(SESSION, "hSession"),
        ends(ENCRYPTION, "hSession", on_success=False, survives=(CKR_BUFFER_TOO_SMALL,)),
        library=_CRYPTOKI,
    ),
    call(
        "C_EncryptFinal",
        "hSession pLastEncryptedPart pulLastEncryptedPartLen",
        uses(SESSION, "hSession"),
        ends(
            ENCRYPTION,
            "hSession",
            when=given("pLastEncryptedPart"),
            survives=(CKR_BUFFER_TOO_SMALL,),
        ),
        library=_CRYPTOKI,
    ),
    # --- decryption ---
    call(
        # Without a mechanism it cancels what is active (v3.0).
        "C_DecryptInit",
        "hSession pMechanism hKey",
        uses(SESSION, "hSession"),
        uses(OBJECT, "hKey", when=given("pMechanism")),
        begins(DECRYPTION, "hSession", when=given("pMechanism")),
        ends(DECRYPTION, "hSession", when=negation(given("pMechanism")), on_failure=False),
        library=_CRYPTOKI,
    ),
    call(
        "C_Decrypt",
        "hSession pEncryptedData ulEncryptedDataLen pData pulDataLen",
        uses(SESSION, "hSession"),
        ends(DECRYPTION, "hSession", when=given("pData"), survives=(CKR_BUFFER_TOO_SMALL,)),
        library=_CRYPTOKI,
    ),
    call(
        "C_DecryptUpdate",
        "hSession pEncryptedPart ulEncryptedPartLen pPart pulPartLen",
        uses(SESSION, "hSession"),
        ends(DECRYPTION, "hSession", on_success=False, survives=(CKR_BUFFER_TOO_SMALL,)),
        library=_CRYPTOKI,
    ),
    call(
        "C_DecryptFinal",
        "hSession pLastPart pulLastPartLen",
        uses(SESSION, "hSession"),
        ends(DECRYPTION, "hSession", when=given("pLastPart"), survives=(CKR_BUFFER_TOO_SMALL,)),
        library=_CRYPTOKI,
    ),
    # --- digests ---
    call(
        # Without a mechanism it cancels what is active (v3.0).
        "C_DigestInit",
        "hSession pMechanism",
        uses(SESSION, "hSession"),
        begins(DIGEST, "hSession", when=given("pMechanism")),
        ends(DIGEST, "hSession", when=negation(given("pMechanism")), on_failure=False),
        library=_CRYPTOKI,
    ),
    call(
        "C_Digest",
        "hSession pData ulDataLen pDigest pulDigestLen",
        uses(SESSION, "hSession"),
        ends(DIGEST, "hSession", when=given("pDigest"), survives=(CKR_BUFFER_TOO_SMALL,)),
        library=_CRYPTOKI,
    ),
    call(
        "C_DigestUpdate",
        "hSession pPart ulPartLen",
        uses(SESSION, "hSession"),
        ends(DIGEST, "hSession", on_success=False, survives=(CKR_BUFFER_TOO_SMALL,)),
        library=_CRYPTOKI,
    ),
    call(
        "C_DigestKey",
        "hSession hKey",
        uses(SESSION, "hSession"),
        uses(OBJECT, "hKey"),
        ends(DIGEST, "hSession", on_success=False, survives=(CKR_BUFFER_TOO_SMALL,)),
        library=_CRYPTOKI,
    ),
    call(
        "C_DigestFinal",
        "hSession pDigest pulDigestLen",
        uses(SESSION, "hSession"),
        ends(DIGEST, "hSession", when=given("pDigest"), survives=(CKR_BUFFER_TOO_SMALL,)),
        library=_CRYPTOKI,
    ),
    # --- signatures ---
    call(
        # Without a mechanism it cancels what is active (v3.0).
        "C_SignInit",
        "hSession pMechanism hKey",
        uses(SESSION, "hSession"),
        uses(OBJECT, "hKey", when=given("pMechanism")),
        begins(SIGNATURE, "hSession", when=given("pMechanism")),
        ends(SIGNATURE, "hSession", when=negation(given("pMechanism")), on_failure=False),
        library=_CRYPTOKI,
    ),
    call(
        "C_Sign",
        "hSession pData ulDataLen pSignature pulSignatureLen",
        uses(SESSION, "hSession"),
        ends(SIGNATURE, "hSession", when=given("pSignature"), survives=(CKR_BUFFER_TOO_SMALL,)),
        library=_CRYPTOKI,
    ),
    call(
        "C_SignUpdate",
        "hSession pPart ulPartLen",
        uses(SESSION, "hSession"),
        ends(SIGNATURE, "hSession", on_success=False, survives=(CKR_BUFFER_TOO_SMALL,)),
        library=_CRYPTOKI,
    ),
    call(
        "C_SignFinal",
        "hSession pSignature pulSignatureLen",
        uses(SESSION, "hSession"),
        ends(SIGNATURE, "hSession", when=given("pSignature"), survives=(CKR_BUFFER_TOO_SMALL,)),
        library=_CRYPTOKI,
    ),
    call(
        "C_SignRecoverInit",
        "hSession pMechanism hKey",
        uses(SESSION, "hSession"),
        uses(OBJECT, "hKey", when=given("pMechanism")),
        begins(SIGNATURE_RECOVER, "hSession", when=given("pMechanism")),
        ends(SIGNATURE_RECOVER, "hSession", when=negation(given("pMechanism")), on_failure=False),
        library=_CRYPTOKI,
    ),
    call(
        "C_SignRecover",
        "hSession pData ulDataLen pSignature pulSignatureLen",
        uses(SESSION, "hSession"),
        ends(
            SIGNATURE_RECOVER,
            "hSession",
            when=given("pSignature"),
            survives=(CKR_BUFFER_TOO_SMALL,),
        ),
        library=_CRYPTOKI,
    ),
    # --- verification ---
    call(
        # Without a mechanism it cancels what is active (v3.0).
        "C_VerifyInit",
        "hSession pMechanism hKey",
        uses(SESSION, "hSession"),
        uses(OBJECT, "hKey", when=given("pMechanism")),
        begins(VERIFICATION, "hSession", when=given("pMechanism")),
        ends(VERIFICATION, "hSession", when=negation(given("pMechanism")), on_failure=False),
        library=_CRYPTOKI,
    ),
    call(
        "C_Verify",
        "hSession pData ulDataLen pSignature ulSignatureLen",
        uses(SESSION, "hSession"),
        ends(VERIFICATION, "hSession"),
        library=_CRYPTOKI,
    ),
    call(
        "C_VerifyUpdate",
        "hSession pPart ulPartLen",
        uses(SESSION, "hSession"),
        ends(VERIFICATION, "hSession", on_success=False, survives=(CKR_BUFFER_TOO_SMALL,)),
        library=_CRYPTOKI,
    ),
    call(
        "C_VerifyFinal",
        "hSession pSignature ulSignatureLen",
        uses(SESSION, "hSession"),
        ends(VERIFICATION, "hSession"),
        library=_CRYPTOKI,
    ),
    call(
        "C_VerifyRecoverInit",
        "hSession pMechanism hKey",
        uses(SESSION, "hSession"),
        uses(OBJECT, "hKey", when=given("pMechanism")),
        begins(VERIFICATION_RECOVER, "hSession", when=given("pMechanism")),
        ends(
            VERIFICATION_RECOVER, "hSession", when=negation(given("pMechanism")), on_failure=False
        ),
        library=_CRYPTOKI,
    ),
    call(
        "C_VerifyRecover",
        "hSession pSignature ulSignatureLen pData pulDataLen",
        uses(SESSION, "hSession"),
        ends(
            VERIFICATION_RECOVER, "hSession", when=given("pData"), survives=(CKR_BUFFER_TOO_SMALL,)
        ),
        library=_CRYPTOKI,
    ),
    call(
        "C_VerifySignatureInit",
        "hSession pMechanism hKey pSignature ulSignatureLen",
        uses(SESSION, "hSession"),
        uses(OBJECT, "hKey"),
        begins(VERIFICATION, "hSession"),
        library=_CRYPTOKI,
    ),
    call(
        "C_VerifySignature",
        "hSession pData ulDataLen",
        uses(SESSION, "hSession"),
        ends(VERIFICATION, "hSession"),
        library=_CRYPTOKI,
    ),
    call(
        "C_VerifySignatureUpdate",
        "hSession pPart ulPartLen",
        uses(SESSION, "hSession"),
        ends(VERIFICATION, "hSession", on_success=False, survives=(CKR_BUFFER_TOO_SMALL,)),
        library=_CRYPTOKI,
    ),
    call(
        "C_VerifySignatureFinal",
        "hSession",
        uses(SESSION, "hSession"),
        ends(VERIFICATION, "hSession"),
        library=_CRYPTOKI,
    ),
    # --- two operations at once ---
    call(
        "C_DigestEncryptUpdate",
        "hSession pPart ulPartLen pEncryptedPart pulEncryptedPartLen",
        uses(SESSION, "hSession"),
        ends(DIGEST, "hSession", on_success=False, survives=(CKR_BUFFER_TOO_SMALL,)),
        ends(ENCRYPTION, "hSession", on_success=False, survives=(CKR_BUFFER_TOO_SMALL,)),
        library=_CRYPTOKI,
    ),
    call(
        "C_DecryptDigestUpdate",
        "hSession pEncryptedPart ulEncryptedPartLen pPart pulPartLen",
        uses(SESSION, "hSession"),
        ends(DECRYPTION, "hSession", on_success=False, survives=(CKR_BUFFER_TOO_SMALL,)),
        ends(DIGEST, "hSession", on_success=False, survives=(CKR_BUFFER_TOO_SMALL,)),
        library=_CRYPTOKI,
    ),
    call(
        "C_SignEncryptUpdate",
        "hSession pPart ulPartLen pEncryptedPart pulEncryptedPartLen",
        uses(SESSION, "hSession"),
        ends(SIGNATURE, "hSession", on_success=False, survives=(CKR_BUFFER_TOO_SMALL,)),
        ends(ENCRYPTION, "hSession", on_success=False, survives=(CKR_BUFFER_TOO_SMALL,)),
        library=_CRYPTOKI,
    ),
    call(
        "C_DecryptVerifyUpdate",
        "hSession pEncryptedPart ulEncryptedPartLen pPart pulPartLen",
        uses(SESSION, "hSession"),
        ends(DECRYPTION, "hSession", on_success=False, survives=(CKR_BUFFER_TOO_SMALL,)),
        ends(VERIFICATION, "hSession", on_success=False, survives=(CKR_BUFFER_TOO_SMALL,)),
        library=_CRYPTOKI,
    ),
    # --- messages (v3.0): the operation lasts until its C_Message…Final ---
    call(
        "C_MessageEncryptInit",
        "hSession pMechanism hKey",
        uses(SESSION, "hSession"),
        uses(OBJECT, "hKey", when=given("pMechanism")),
        begins(MESSAGE_ENCRYPTION, "hSession", when=given("pMechanism")),
        ends(MESSAGE_ENCRYPTION, "hSession", when=negation(given("pMechanism")), on_failure=False),
        library=_CRYPTOKI,
    ),
    call(
        "C_EncryptMessage",
        "hSession pParameter ulParameterLen pAssociatedData ulAssociatedDataLen pPlaintext "
        "ulPlaintextLen pCiphertext pulCiphertextLen",
        uses(SESSION, "hSession"),
        library=_CRYPTOKI,
    ),
    call(
        "C_EncryptMessageBegin",
        "hSession pParameter ulParameterLen pAssociatedData ulAssociatedDataLen",
        uses(SESSION, "hSession"),
        library=_CRYPTOKI,
    ),
    call(
        "C_EncryptMessageNext",
        "hSession pParameter ulParameterLen pPlaintextPart ulPlaintextPartLen pCiphertextPart "
        "pulCiphertextPartLen flags",
        uses(SESSION, "hSession"),
        library=_CRYPTOKI,
    ),
    call(
        "C_MessageEncryptFinal",
        "hSession",
        uses(SESSION, "hSession"),
        ends(MESSAGE_ENCRYPTION, "hSession"),
        library=_CRYPTOKI,
    ),
    call(
        "C_MessageDecryptInit",
        "hSession pMechanism hKey",
        uses(SESSION, "hSession"),
        uses(OBJECT, "hKey", when=given("pMechanism")),
        begins(MESSAGE_DECRYPTION, "hSession", when=given("pMechanism")),
        ends(MESSAGE_DECRYPTION, "hSession", when=negation(given("pMechanism")), on_failure=False),
        library=_CRYPTOKI,
    ),
    call(
        "C_DecryptMessage",
        "hSession pParameter ulParameterLen pAssociatedData ulAssociatedDataLen pCiphertext "
        "ulCiphertextLen pPlaintext pulPlaintextLen",
        uses(SESSION, "hSession"),
        library=_CRYPTOKI,
    ),
    call(
        "C_DecryptMessageBegin",
        "hSession pParameter ulParameterLen pAssociatedData ulAssociatedDataLen",
        uses(SESSION, "hSession"),
        library=_CRYPTOKI,
    ),
    call(
        "C_DecryptMessageNext",
        "hSession pParameter ulParameterLen pCiphertextPart ulCiphertextPartLen pPlaintextPart "
        "pulPlaintextPartLen flags",
        uses(SESSION, "hSession"),
        library=_CRYPTOKI,
    ),
    call(
        "C_MessageDecryptFinal",
        "hSession",
        uses(SESSION, "hSession"),
        ends(MESSAGE_DECRYPTION, "hSession"),
        library=_CRYPTOKI,
    ),
    call(
        "C_MessageSignInit",
        "hSession pMechanism hKey",
        uses(SESSION, "hSession"),
        uses(OBJECT, "hKey", when=given("pMechanism")),
        begins(MESSAGE_SIGNATURE, "hSession", when=given("pMechanism")),
        ends(MESSAGE_SIGNATURE, "hSession", when=negation(given("pMechanism")), on_failure=False),
        library=_CRYPTOKI,
    ),
    call(
        "C_SignMessage",
        "hSession pParameter ulParameterLen pData ulDataLen pSignature pulSignatureLen",
        uses(SESSION, "hSession"),
        library=_CRYPTOKI,
    ),
    call(
        "C_SignMessageBegin",
        "hSession pParameter ulParameterLen",
        uses(SESSION, "hSession"),
        library=_CRYPTOKI,
    ),
    call(
        "C_SignMessageNext",
        "hSession pParameter ulParameterLen pData ulDataLen pSignature pulSignatureLen",
        uses(SESSION, "hSession"),
        library=_CRYPTOKI,
    ),
    call(
        "C_MessageSignFinal",
        "hSession",
        uses(SESSION, "hSession"),
        ends(MESSAGE_SIGNATURE, "hSession"),
        library=_CRYPTOKI,
    ),
    call(
        "C_MessageVerifyInit",
        "hSession pMechanism hKey",
        uses(SESSION, "hSession"),
        uses(OBJECT, "hKey", when=given("pMechanism")),
        begins(MESSAGE_VERIFICATION, "hSession", when=given("pMechanism")),
        ends(
            MESSAGE_VERIFICATION, "hSession", when=negation(given("pMechanism")), on_failure=False
        ),
        library=_CRYPTOKI,
    ),
    call(
        "C_VerifyMessage",
        "hSession pParameter ulParameterLen pData ulDataLen pSignature ulSignatureLen",
        uses(SESSION, "hSession"),
        library=_CRYPTOKI,
    ),
    call(
        "C_VerifyMessageBegin",
        "hSession pParameter ulParameterLen",
        uses(SESSION, "hSession"),
        library=_CRYPTOKI,
    ),
    call(
        "C_VerifyMessageNext",
        "hSession pParameter ulParameterLen pData ulDataLen pSignature ulSignatureLen",
        uses(SESSION, "hSession"),
        library=_CRYPTOKI,
    ),
    call(
        "C_MessageVerifyFinal",
        "hSession",
        uses(SESSION, "hSession"),
        ends(MESSAGE_VERIFICATION, "hSession"),
        library=_CRYPTOKI,
    ),
    # --- keys ---
    call(
        "C_GenerateKey",
        "hSession pMechanism pTemplate ulCount phKey",
        uses(SESSION, "hSession"),
        acquires(OBJECT, "phKey", under="hSession"),
        library=_CRYPTOKI,
    ),
    call(
        "C_GenerateKeyPair",
        "hSession pMechanism pPublicKeyTemplate ulPublicKeyAttributeCount pPrivateKeyTemplate "
        "ulPrivateKeyAttributeCount phPublicKey phPrivateKey",
        uses(SESSION, "hSession"),
        acquires(OBJECT, "phPublicKey", under="hSession"),
        acquires(OBJECT, "phPrivateKey", under="hSession"),
        library=_CRYPTOKI,
    ),
    call(
        "C_WrapKey",
        "hSession pMechanism hWrappingKey hKey pWrappedKey pulWrappedKeyLen",
        uses(SESSION, "hSession"),
        uses(OBJECT, "hWrappingKey"),
        uses(OBJECT, "hKey"),
        library=_CRYPTOKI,
    ),
    call(
        "C_UnwrapKey",
        "hSession pMechanism hUnwrappingKey pWrappedKey ulWrappedKeyLen pTemplate "
        "ulAttributeCount phKey",
        uses(SESSION, "hSession"),
        uses(OBJECT, "hUnwrappingKey"),
        acquires(OBJECT, "phKey", under="hSession"),
        library=_CRYPTOKI,
    ),
    call(
        "C_DeriveKey",
        "hSession pMechanism hBaseKey pTemplate ulAttributeCount phKey",
        uses(SESSION, "hSession"),
        uses(OBJECT, "hBaseKey"),
        acquires(OBJECT, "phKey", under="hSession"),
        library=_CRYPTOKI,
    ),
    call(
        "C_EncapsulateKey",
        "hSession pMechanism hPublicKey pTemplate ulAttributeCount pCiphertext "
        "pulCiphertextLen phKey",
        uses(SESSION, "hSession"),
        uses(OBJECT, "hPublicKey"),
        acquires(OBJECT, "phKey", under="hSession", when=given("pCiphertext")),
        library=_CRYPTOKI,
    ),
    call(
        "C_DecapsulateKey",
        "hSession pMechanism hPrivateKey pTemplate ulAttributeCount pCiphertext "
        "ulCiphertextLen phKey",
        uses(SESSION, "hSession"),
        uses(OBJECT, "hPrivateKey"),
        acquires(OBJECT, "phKey", under="hSession"),
        library=_CRYPTOKI,
    ),
    call(
        "C_WrapKeyAuthenticated",
        "hSession pMechanism hWrappingKey hKey pAssociatedData ulAssociatedDataLen pWrappedKey "
        "pulWrappedKeyLen",
        uses(SESSION, "hSession"),
        uses(OBJECT, "hWrappingKey"),
        uses(OBJECT, "hKey"),
        library=_CRYPTOKI,
    ),
    call(
        "C_UnwrapKeyAuthenticated",
        "hSession pMechanism hUnwrappingKey pWrappedKey ulWrappedKeyLen pTemplate "
        "ulAttributeCount pAssociatedData ulAssociatedDataLen phKey",
        uses(SESSION, "hSession"),
        uses(OBJECT, "hUnwrappingKey"),
        acquires(OBJECT, "phKey", under="hSession"),
        library=_CRYPTOKI,
    ),
    # --- random numbers, and what is left of parallel functions ---
    call(
        "C_SeedRandom",
        "hSession pSeed ulSeedLen",
        uses(SESSION, "hSession"),
        library=_CRYPTOKI,
    ),
    call(
        "C_GenerateRandom",
        "hSession pRandomData ulRandomLen",
        uses(SESSION, "hSession"),
        library=_CRYPTOKI,
    ),
    call(
        "C_GetFunctionStatus",
        "hSession",
        uses(SESSION, "hSession"),
        library=_CRYPTOKI,
    ),
    call(
        "C_CancelFunction",
        "hSession",
        uses(SESSION, "hSession"),
        library=_CRYPTOKI,
    ),
    call(
        "C_AsyncComplete",
        "hSession pFunctionName pResult",
        uses(SESSION, "hSession"),
        library=_CRYPTOKI,
    ),
    call(
        "C_AsyncGetID",
        "hSession pFunctionName pulID",
        uses(SESSION, "hSession"),
        library=_CRYPTOKI,
    ),
    call(
        "C_AsyncJoin",
        "hSession pFunctionName ulID pData ulData",
        uses(SESSION, "hSession"),
        library=_CRYPTOKI,
    ),
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
                call(
                    "Load",
                    "szLib",
                    acquires(MODULE, OWNER),
                    acquires(LIBRARY_STATE, LIBRARY, shared=True),
                    library=_CRYPTOKI,
                ),
                # C_Finalize and dlclose; what C_Finalize says is thrown away.
                call(
                    "Unload",
                    "",
                    releases(LIBRARY_STATE, LIBRARY, even_on_failure=always(), again=True),
                    releases(MODULE, OWNER, even_on_failure=always(), again=True),
                    library=_CRYPTOKI,
                ),
                call("Duplicate", "ref", library=_CRYPTOKI),
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
                takers=("LocalDomainParameters",),
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
                call(
                    "load",
                    "so",
                    acquires(MODULE, OWNER),
                    acquires(LIBRARY_STATE, LIBRARY, shared=True),
                    library=_CRYPTOKI,
                ),
                call(
                    "initialize",
                    "initialized",
                    acquires(LIBRARY_STATE, LIBRARY, shared=True, unless=nonzero("initialized")),
                    library=_CRYPTOKI,
                ),
                call(
                    "finalize",
                    "initialized",
                    releases(LIBRARY_STATE, LIBRARY, when=nonzero("initialized"), again=True),
                    library=_CRYPTOKI,
                ),
                call(
                    "reinitialize",
                    "",
                    releases(LIBRARY_STATE, LIBRARY, again=True),
                    acquires(LIBRARY_STATE, LIBRARY),
                    library=_CRYPTOKI,
                ),
                call(
                    "unload",
                    "initialized",
                    releases(LIBRARY_STATE, LIBRARY, when=nonzero("initialized"), again=True),
                    releases(MODULE, OWNER, again=True),
                    library=_CRYPTOKI,
                ),
                # C_Logout of the whole slot, if the session was opened with a PIN; then
                # C_CloseSession.
                call(
                    "close",
                    "hSession user_type",
                    releases_all(
                        OBJECT,
                        beside="hSession",
                        asking=Question.CKA_PRIVATE,
                        unless=equals("user_type", CKU_NOBODY),
                    ),
                    releases(SESSION, "hSession"),
                    library=_CRYPTOKI,
                ),
                call("use_session", "hSession", uses(SESSION, "hSession"), library=_CRYPTOKI),
                # C_FindObjectsInit and C_FindObjects, whose handles come one by one.
                call(
                    "find_first",
                    "hSession phObject",
                    uses(SESSION, "hSession"),
                    begins(SEARCH, "hSession"),
                    finds(OBJECT, "phObject", beside="hSession"),
                    library=_CRYPTOKI,
                ),
                call(
                    "find_next",
                    "hSession phObject",
                    uses(SESSION, "hSession"),
                    finds(OBJECT, "phObject", beside="hSession"),
                    library=_CRYPTOKI,
                ),
                # An operation that begins and ends within the call.
                call(
                    "use_key",
                    "hSession hKey",
                    uses(SESSION, "hSession"),
                    uses(OBJECT, "hKey"),
                    library=_CRYPTOKI,
                ),
                call(
                    "generate_pair",
                    "hSession hBase phKey",
                    uses(SESSION, "hSession"),
                    uses(OBJECT, "hBase"),
                    acquires(OBJECT, "phKey", under="hSession"),
                    library=_CRYPTOKI,
                ),
                call(
                    "encapsulate",
                    "hSession hPublicKey phKey",
                    uses(SESSION, "hSession"),
                    uses(OBJECT, "hPublicKey"),
                    acquires(OBJECT, "phKey", under="hSession"),
                    library=_CRYPTOKI,
                ),
            ),
            loses={"Token.open": _OPENED_AND_THROWN_AWAY},
        ),
    ),
    source="https://docs.oasis-open.org/pkcs11/pkcs11-spec/v3.1/pkcs11-spec-v3.1.html",
    scoped=True,
)
