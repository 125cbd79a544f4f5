"""The names and numbers of wincrypt.h and winerror.h that a provider answers with.

C names are verbatim, so that code written against the vendor's headers (or against pywin32's
``win32cryptcon``) can be read side by side with this package.

Sources: wincrypt.h and winerror.h of the Windows SDK, as documented under
https://learn.microsoft.com/windows/win32/seccrypto/cryptography-constants
"""

from __future__ import annotations

from typing import Final

# --- error codes (winerror.h) ------------------------------------------------------------------

ERROR_SUCCESS: Final = 0
ERROR_FILE_NOT_FOUND: Final = 2
ERROR_INVALID_HANDLE: Final = 6
ERROR_NOT_ENOUGH_MEMORY: Final = 8
ERROR_INVALID_PARAMETER: Final = 87
ERROR_CALL_NOT_IMPLEMENTED: Final = 120
ERROR_INSUFFICIENT_BUFFER: Final = 122
ERROR_BUSY: Final = 170
ERROR_MORE_DATA: Final = 234
ERROR_NO_MORE_ITEMS: Final = 259
NTE_BAD_UID: Final = 0x80090001
NTE_BAD_HASH: Final = 0x80090002
NTE_BAD_KEY: Final = 0x80090003
NTE_BAD_LEN: Final = 0x80090004
NTE_BAD_DATA: Final = 0x80090005
NTE_BAD_SIGNATURE: Final = 0x80090006
NTE_BAD_VER: Final = 0x80090007
NTE_BAD_ALGID: Final = 0x80090008
NTE_BAD_FLAGS: Final = 0x80090009
NTE_BAD_TYPE: Final = 0x8009000A
NTE_BAD_KEY_STATE: Final = 0x8009000B
NTE_BAD_HASH_STATE: Final = 0x8009000C
NTE_NO_KEY: Final = 0x8009000D
NTE_NO_MEMORY: Final = 0x8009000E
NTE_EXISTS: Final = 0x8009000F
NTE_PERM: Final = 0x80090010
NTE_NOT_FOUND: Final = 0x80090011
NTE_DOUBLE_ENCRYPT: Final = 0x80090012
NTE_BAD_PROVIDER: Final = 0x80090013
NTE_BAD_PROV_TYPE: Final = 0x80090014
NTE_BAD_PUBLIC_KEY: Final = 0x80090015
NTE_BAD_KEYSET: Final = 0x80090016
NTE_PROV_TYPE_NOT_DEF: Final = 0x80090017
NTE_PROV_TYPE_ENTRY_BAD: Final = 0x80090018
NTE_KEYSET_NOT_DEF: Final = 0x80090019
NTE_KEYSET_ENTRY_BAD: Final = 0x8009001A
NTE_PROV_TYPE_NO_MATCH: Final = 0x8009001B
NTE_SIGNATURE_FILE_BAD: Final = 0x8009001C
NTE_PROVIDER_DLL_FAIL: Final = 0x8009001D
NTE_PROV_DLL_NOT_FOUND: Final = 0x8009001E
NTE_BAD_KEYSET_PARAM: Final = 0x8009001F
NTE_FAIL: Final = 0x80090020
NTE_SYS_ERR: Final = 0x80090021
NTE_SILENT_CONTEXT: Final = 0x80090022
NTE_FIXEDPARAMETER: Final = 0x80090025
NTE_INVALID_HANDLE: Final = 0x80090026
NTE_INVALID_PARAMETER: Final = 0x80090027
NTE_NOT_SUPPORTED: Final = 0x80090029
SCARD_W_WRONG_CHV: Final = 0x8010006B

# --- CryptAcquireContext -----------------------------------------------------------------------

CRYPT_VERIFYCONTEXT: Final = 0xF0000000
CRYPT_NEWKEYSET: Final = 0x8
CRYPT_DELETEKEYSET: Final = 0x10
CRYPT_MACHINE_KEYSET: Final = 0x20
CRYPT_SILENT: Final = 0x40
CRYPT_DEFAULT_CONTAINER_OPTIONAL: Final = 0x80

CRYPT_MACHINE_DEFAULT: Final = 1
CRYPT_USER_DEFAULT: Final = 2
CRYPT_DELETE_DEFAULT: Final = 4

PROV_RSA_FULL: Final = 1
PROV_RSA_SIG: Final = 2
PROV_DSS: Final = 3
PROV_FORTEZZA: Final = 4
PROV_MS_EXCHANGE: Final = 5
PROV_SSL: Final = 6
PROV_RSA_SCHANNEL: Final = 12
PROV_DSS_DH: Final = 13
PROV_DH_SCHANNEL: Final = 18
PROV_RSA_AES: Final = 24

MS_DEF_PROV: Final = "Microsoft Base Cryptographic Provider v1.0"
MS_ENHANCED_PROV: Final = "Microsoft Enhanced Cryptographic Provider v1.0"
MS_STRONG_PROV: Final = "Microsoft Strong Cryptographic Provider"
MS_DEF_RSA_SCHANNEL_PROV: Final = "Microsoft RSA SChannel Cryptographic Provider"
MS_ENH_RSA_AES_PROV: Final = "Microsoft Enhanced RSA and AES Cryptographic Provider"
MS_ENH_RSA_AES_PROV_XP: Final = "Microsoft Enhanced RSA and AES Cryptographic Provider (Prototype)"

# --- algorithm identifiers ---------------------------------------------------------------------

ALG_CLASS_ANY: Final = 0
ALG_CLASS_SIGNATURE: Final = 1 << 13
ALG_CLASS_MSG_ENCRYPT: Final = 2 << 13
ALG_CLASS_DATA_ENCRYPT: Final = 3 << 13
ALG_CLASS_HASH: Final = 4 << 13
ALG_CLASS_KEY_EXCHANGE: Final = 5 << 13
ALG_TYPE_ANY: Final = 0
ALG_TYPE_RSA: Final = 2 << 9
ALG_TYPE_BLOCK: Final = 3 << 9
ALG_TYPE_STREAM: Final = 4 << 9
ALG_TYPE_SECURECHANNEL: Final = 6 << 9

CALG_MD2: Final = 0x8001
CALG_MD4: Final = 0x8002
CALG_MD5: Final = 0x8003
CALG_SHA: Final = 0x8004
CALG_SHA1: Final = 0x8004
CALG_MAC: Final = 0x8005
CALG_SSL3_SHAMD5: Final = 0x8008
CALG_HMAC: Final = 0x8009
CALG_TLS1PRF: Final = 0x800A
CALG_HASH_REPLACE_OWF: Final = 0x800B
CALG_SHA_256: Final = 0x800C
CALG_SHA_384: Final = 0x800D
CALG_SHA_512: Final = 0x800E
CALG_RSA_SIGN: Final = 0x2400
CALG_DSS_SIGN: Final = 0x2200
CALG_NO_SIGN: Final = 0x2000
CALG_RSA_KEYX: Final = 0xA400
CALG_DH_SF: Final = 0xAA01
CALG_DH_EPHEM: Final = 0xAA02
CALG_DES: Final = 0x6601
CALG_RC2: Final = 0x6602
CALG_3DES: Final = 0x6603
CALG_DESX: Final = 0x6604
CALG_3DES_112: Final = 0x6609
CALG_CYLINK_MEK: Final = 0x660C
CALG_RC5: Final = 0x660D
CALG_AES_128: Final = 0x660E
CALG_AES_192: Final = 0x660F
CALG_AES_256: Final = 0x6610
CALG_AES: Final = 0x6611
CALG_RC4: Final = 0x6801
CALG_SEAL: Final = 0x6802
CALG_SSL3_MASTER: Final = 0x4C01
CALG_SCHANNEL_MASTER_HASH: Final = 0x4C02
CALG_SCHANNEL_MAC_KEY: Final = 0x4C03
CALG_PCT1_MASTER: Final = 0x4C04
CALG_SSL2_MASTER: Final = 0x4C05
CALG_TLS1_MASTER: Final = 0x4C06
CALG_SCHANNEL_ENC_KEY: Final = 0x4C07

AT_KEYEXCHANGE: Final = 1
AT_SIGNATURE: Final = 2

# --- flags of key functions --------------------------------------------------------------------

CRYPT_EXPORTABLE: Final = 0x1
CRYPT_USER_PROTECTED: Final = 0x2
CRYPT_CREATE_SALT: Final = 0x4
CRYPT_UPDATE_KEY: Final = 0x8
CRYPT_NO_SALT: Final = 0x10
CRYPT_PREGEN: Final = 0x40
CRYPT_RECIPIENT: Final = 0x10
CRYPT_INITIATOR: Final = 0x40
CRYPT_ONLINE: Final = 0x80
CRYPT_SF: Final = 0x100
CRYPT_CREATE_IV: Final = 0x200
CRYPT_KEK: Final = 0x400
CRYPT_DATA_KEY: Final = 0x800
CRYPT_VOLATILE: Final = 0x1000
CRYPT_ARCHIVABLE: Final = 0x4000
CRYPT_FORCE_KEY_PROTECTION_HIGH: Final = 0x8000
RSA1024BIT_KEY: Final = 0x04000000

CRYPT_Y_ONLY: Final = 0x1
CRYPT_SSL2_FALLBACK: Final = 0x2
CRYPT_DESTROYKEY: Final = 0x4
CRYPT_OAEP: Final = 0x40
CRYPT_BLOB_VER3: Final = 0x80
CRYPT_IPSEC_HMAC_KEY: Final = 0x100
CRYPT_DECRYPT_RSA_NO_PADDING_CHECK: Final = 0x20

SIMPLEBLOB: Final = 1
PUBLICKEYBLOB: Final = 6
PRIVATEKEYBLOB: Final = 7
PLAINTEXTKEYBLOB: Final = 8
OPAQUEKEYBLOB: Final = 9
PUBLICKEYBLOBEX: Final = 0xA
SYMMETRICWRAPKEYBLOB: Final = 0xB
KEYSTATEBLOB: Final = 0xC
CUR_BLOB_VERSION: Final = 2

KP_IV: Final = 1
KP_SALT: Final = 2
KP_PADDING: Final = 3
KP_MODE: Final = 4
KP_MODE_BITS: Final = 5
KP_PERMISSIONS: Final = 6
KP_ALGID: Final = 7
KP_BLOCKLEN: Final = 8
KP_KEYLEN: Final = 9
KP_SALT_EX: Final = 10
KP_P: Final = 11
KP_G: Final = 12
KP_Q: Final = 13
KP_X: Final = 14
KP_Y: Final = 15
KP_EFFECTIVE_KEYLEN: Final = 19

PKCS5_PADDING: Final = 1
RANDOM_PADDING: Final = 2
ZERO_PADDING: Final = 3

CRYPT_MODE_CBC: Final = 1
CRYPT_MODE_ECB: Final = 2
CRYPT_MODE_OFB: Final = 3
CRYPT_MODE_CFB: Final = 4
CRYPT_MODE_CTS: Final = 5

CRYPT_ENCRYPT: Final = 0x1
CRYPT_DECRYPT: Final = 0x2
CRYPT_EXPORT: Final = 0x4
CRYPT_READ: Final = 0x8
CRYPT_WRITE: Final = 0x10
CRYPT_MAC: Final = 0x20
CRYPT_EXPORT_KEY: Final = 0x40
CRYPT_IMPORT_KEY: Final = 0x80
CRYPT_ARCHIVE: Final = 0x100

# --- hashes and signatures ---------------------------------------------------------------------

HP_ALGID: Final = 1
HP_HASHVAL: Final = 2
HP_HASHSIZE: Final = 4
HP_HMAC_INFO: Final = 5
HP_TLS1PRF_LABEL: Final = 6
HP_TLS1PRF_SEED: Final = 7

CRYPT_USERDATA: Final = 1
CRYPT_LITTLE_ENDIAN: Final = 1
CRYPT_NOHASHOID: Final = 1
CRYPT_TYPE2_FORMAT: Final = 2
CRYPT_X931_FORMAT: Final = 4

# --- provider parameters -----------------------------------------------------------------------

CRYPT_FIRST: Final = 1
CRYPT_NEXT: Final = 2
CRYPT_SGC_ENUM: Final = 4

PP_CLIENT_HWND: Final = 1
PP_ENUMALGS: Final = 1
PP_ENUMCONTAINERS: Final = 2
PP_IMPTYPE: Final = 3
PP_NAME: Final = 4
PP_VERSION: Final = 5
PP_CONTAINER: Final = 6
PP_CHANGE_PASSWORD: Final = 7
PP_KEYSET_SEC_DESCR: Final = 8
PP_CERTCHAIN: Final = 9
PP_KEY_TYPE_SUBTYPE: Final = 10
PP_CONTEXT_INFO: Final = 11
PP_DELETEKEY: Final = 24
PP_PROVTYPE: Final = 16
PP_KEYSTORAGE: Final = 17
PP_APPLI_CERT: Final = 18
PP_SYM_KEYSIZE: Final = 19
PP_SESSION_KEYSIZE: Final = 20
PP_UI_PROMPT: Final = 21
PP_ENUMALGS_EX: Final = 22
PP_ENUMMANDROOTS: Final = 25
PP_ENUMELECTROOTS: Final = 26
PP_KEYSET_TYPE: Final = 27
PP_ADMIN_PIN: Final = 31
PP_KEYEXCHANGE_PIN: Final = 32
PP_SIGNATURE_PIN: Final = 33
PP_SIG_KEYSIZE_INC: Final = 34
PP_KEYX_KEYSIZE_INC: Final = 35
PP_UNIQUE_CONTAINER: Final = 36
PP_SGC_INFO: Final = 37
PP_USE_HARDWARE_RNG: Final = 38
PP_KEYSPEC: Final = 39
PP_ENUMEX_SIGNING_PROT: Final = 40
PP_CRYPT_COUNT_KEY_USE: Final = 41
PP_USER_CERTSTORE: Final = 42
PP_ROOT_CERTSTORE: Final = 46

CRYPT_SEC_DESCR: Final = 1

CRYPT_IMPL_HARDWARE: Final = 1
CRYPT_IMPL_SOFTWARE: Final = 2
CRYPT_IMPL_MIXED: Final = 3
CRYPT_IMPL_UNKNOWN: Final = 4

CRYPT_FLAG_PCT1: Final = 0x1
CRYPT_FLAG_SSL2: Final = 0x2
CRYPT_FLAG_SSL3: Final = 0x4
CRYPT_FLAG_TLS1: Final = 0x8
CRYPT_FLAG_IPSEC: Final = 0x10
CRYPT_FLAG_SIGNING: Final = 0x20

# --- crypt32 constants that pywin32's method defaults name -------------------------------------

X509_ASN_ENCODING: Final = 0x1
PKCS_7_ASN_ENCODING: Final = 0x10000
szOID_RSA_RSA: Final = "1.2.840.113549.1.1.1"  # noqa: N816 - the vendor's name
