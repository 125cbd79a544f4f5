"""Names of wincrypt.h that the exhibits use."""

from __future__ import annotations

import ctypes
from typing import Final

HCRYPTPROV = HCRYPTKEY = HCRYPTHASH = ctypes.c_size_t
DWORD = ctypes.c_uint32

PROV_RSA_AES: Final = 24
CRYPT_VERIFYCONTEXT: Final = 0xF0000000
CRYPT_NEWKEYSET: Final = 0x8
CRYPT_DELETEKEYSET: Final = 0x10
CRYPT_EXPORTABLE: Final = 0x1
CALG_SHA1: Final = 0x8004
CALG_MAC: Final = 0x8005
CALG_SHA_256: Final = 0x800C
CALG_AES_128: Final = 0x660E
CALG_UNKNOWN: Final = 0x8FFF
HP_HASHVAL: Final = 2
KP_KEYLEN: Final = 9

KEY_BLOB: Final = bytes([8, 2, 0, 0, 0x0E, 0x66, 0, 0, 16, 0, 0, 0, *range(16)])
"""A PLAINTEXTKEYBLOB with an AES-128 key."""
MALFORMED_BLOB: Final = KEY_BLOB[:10]
