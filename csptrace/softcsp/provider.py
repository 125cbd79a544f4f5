"""The engine: every function of the provider as a method, in terms of Python values.

Two faces stand before it and add nothing but their calling convention: `library` (a ctypes
library with the C signatures) and `win32crypt` (pywin32's objects). Methods carry the names and
parameter names of the C functions; a method either returns what the C function would hand out, or
raises `CspError` with the code that GetLastError would give.

Source of the rules: the wincrypt.h reference,
https://learn.microsoft.com/windows/win32/api/wincrypt/ ; where the documentation is silent or
differs from real advapi32, real advapi32 is followed (see `errors.Profile`). In each method the
handle is checked first, as there.
"""

from __future__ import annotations

import getpass
import os
import struct
import threading
from typing import TYPE_CHECKING, Final, TypeVar

from csptrace.softcsp import algorithms, ciphers, digests, faults, rsakeys, store, uselocks
from csptrace.softcsp.constants import (
    ALG_CLASS_DATA_ENCRYPT,
    AT_KEYEXCHANGE,
    AT_SIGNATURE,
    CALG_3DES,
    CALG_3DES_112,
    CALG_AES_128,
    CALG_AES_192,
    CALG_AES_256,
    CALG_DES,
    CALG_HMAC,
    CALG_MAC,
    CALG_RC2,
    CALG_RC4,
    CALG_RSA_KEYX,
    CALG_RSA_SIGN,
    CALG_SHA_256,
    CALG_SHA_384,
    CALG_SHA_512,
    CALG_SSL3_SHAMD5,
    CRYPT_ARCHIVABLE,
    CRYPT_CREATE_SALT,
    CRYPT_DEFAULT_CONTAINER_OPTIONAL,
    CRYPT_DELETE_DEFAULT,
    CRYPT_DELETEKEYSET,
    CRYPT_DESTROYKEY,
    CRYPT_EXPORT,
    CRYPT_EXPORTABLE,
    CRYPT_FIRST,
    CRYPT_IMPL_SOFTWARE,
    CRYPT_IPSEC_HMAC_KEY,
    CRYPT_LITTLE_ENDIAN,
    CRYPT_MACHINE_DEFAULT,
    CRYPT_MACHINE_KEYSET,
    CRYPT_MODE_CBC,
    CRYPT_MODE_CFB,
    CRYPT_MODE_ECB,
    CRYPT_NEWKEYSET,
    CRYPT_NO_SALT,
    CRYPT_NOHASHOID,
    CRYPT_OAEP,
    CRYPT_SILENT,
    CRYPT_USER_DEFAULT,
    CRYPT_USERDATA,
    CRYPT_VERIFYCONTEXT,
    CUR_BLOB_VERSION,
    ERROR_BUSY,
    ERROR_INVALID_HANDLE,
    ERROR_INVALID_PARAMETER,
    ERROR_MORE_DATA,
    ERROR_NO_MORE_ITEMS,
    HP_ALGID,
    HP_HASHSIZE,
    HP_HASHVAL,
    HP_HMAC_INFO,
    KP_ALGID,
    KP_BLOCKLEN,
    KP_EFFECTIVE_KEYLEN,
    KP_IV,
    KP_KEYLEN,
    KP_MODE,
    KP_MODE_BITS,
    KP_PADDING,
    KP_PERMISSIONS,
    KP_SALT,
    KP_SALT_EX,
    NTE_BAD_ALGID,
    NTE_BAD_DATA,
    NTE_BAD_FLAGS,
    NTE_BAD_HASH,
    NTE_BAD_HASH_STATE,
    NTE_BAD_KEY,
    NTE_BAD_KEY_STATE,
    NTE_BAD_LEN,
    NTE_BAD_PROV_TYPE,
    NTE_BAD_PUBLIC_KEY,
    NTE_BAD_SIGNATURE,
    NTE_BAD_TYPE,
    NTE_BAD_UID,
    NTE_BAD_VER,
    NTE_KEYSET_NOT_DEF,
    NTE_NO_KEY,
    NTE_PROV_TYPE_NO_MATCH,
    NTE_PROV_TYPE_NOT_DEF,
    NTE_SILENT_CONTEXT,
    OPAQUEKEYBLOB,
    PKCS5_PADDING,
    PLAINTEXTKEYBLOB,
    PP_CLIENT_HWND,
    PP_CONTAINER,
    PP_ENUMALGS,
    PP_ENUMALGS_EX,
    PP_ENUMCONTAINERS,
    PP_IMPTYPE,
    PP_KEYEXCHANGE_PIN,
    PP_KEYSET_TYPE,
    PP_KEYSPEC,
    PP_KEYX_KEYSIZE_INC,
    PP_NAME,
    PP_PROVTYPE,
    PP_SIG_KEYSIZE_INC,
    PP_SIGNATURE_PIN,
    PP_UNIQUE_CONTAINER,
    PP_VERSION,
    PRIVATEKEYBLOB,
    PUBLICKEYBLOB,
    SIMPLEBLOB,
)
from csptrace.softcsp.errors import CspError, Profile
from csptrace.softcsp.handles import HandleTable, never_reuse_from_environment
from csptrace.softcsp.objects import Context, Hash, Key

if TYPE_CHECKING:
    from collections.abc import Callable

Answer = bytes | int
"""Bytes to hand out, or (for a size query) how many there would be."""

_RSA_OF_SPEC: Final = {AT_KEYEXCHANGE: CALG_RSA_KEYX, AT_SIGNATURE: CALG_RSA_SIGN}
_SPEC_OF_ALGID: Final = {
    AT_KEYEXCHANGE: AT_KEYEXCHANGE,
    CALG_RSA_KEYX: AT_KEYEXCHANGE,
    AT_SIGNATURE: AT_SIGNATURE,
    CALG_RSA_SIGN: AT_SIGNATURE,
}
_SESSION_ALGIDS: Final = (*ciphers.BLOCK_SIZES, CALG_RC4)
_FIXED_LENGTHS: Final = {
    # With and without the parity bits.
    CALG_DES: {56: 8, 64: 8},
    CALG_3DES_112: {112: 16, 128: 16},
    CALG_3DES: {168: 24, 192: 24},
}
_AES_ALGIDS: Final = (CALG_AES_128, CALG_AES_192, CALG_AES_256)
_SHA2_ALGIDS: Final = (CALG_SHA_256, CALG_SHA_384, CALG_SHA_512)
_ACQUIRE_FLAGS: Final = (
    CRYPT_VERIFYCONTEXT
    | CRYPT_NEWKEYSET
    | CRYPT_DELETEKEYSET
    | CRYPT_MACHINE_KEYSET
    | CRYPT_SILENT
    | CRYPT_DEFAULT_CONTAINER_OPTIONAL
)
_LARGEST_TYPE: Final = 999
_SALT_OF_40_BIT_KEYS: Final = 11
_LARGEST_EFFECTIVE: Final = 1024
_HEADER_SIZE: Final = 8
_MAX_PATH: Final = 260
_VERSION: Final = 0x0200

AnyObject = Context | Key | Hash
T = TypeVar("T", Context, Key, Hash)


class Provider:
    """A cryptographic service provider with all its live objects.

    Every method named ``Crypt…`` raises `CspError`; the codes are those of the C function.

    Attributes:
        table: the live handles.
        profile: which codes bad handles get.

    """

    def __init__(
        self, profile: Profile | None = None, *, never_reuse: bool | None = None
    ) -> None:
        """Make a provider without live objects.

        Args:
            profile: the error profile; None reads SOFTCSP_ERRORS.
            never_reuse: give out no handle value twice; None reads SOFTCSP_NEVER_REUSE.

        Raises:
            ValueError: a variable read has a value that is not allowed.

        """
        self.profile = profile or Profile.from_environment()
        if never_reuse is None:
            never_reuse = never_reuse_from_environment()
        self.table: HandleTable[AnyObject] = HandleTable(never_reuse=never_reuse)
        # Orphans whose value has not been given out again, to tell "its context is gone" from
        # "never issued" in the documented profile.
        self._orphans: set[int] = set()
        # Reentrant: a destructor run by the garbage collector may release while we release.
        self._lock = threading.RLock()
        self._opaque_key = b""
        self._defaults = {
            number: kind.default for number, kind in algorithms.PROVIDER_TYPES.items()
        }

    # --- handles -------------------------------------------------------------------------------

    def _find(self, kind: type[T], handle: int) -> T:
        found = self.table.live.get(handle)
        if type(found) is kind:
            return found
        raise CspError(self._bad_handle(kind, handle, found))

    def _bad_handle(self, kind: type[T], handle: int, found: AnyObject | None) -> int:
        if self.profile is Profile.WINDOWS or not handle:
            return ERROR_INVALID_PARAMETER
        if found is not None:
            return ERROR_INVALID_HANDLE
        if kind is Context or handle in self._orphans:
            return NTE_BAD_UID
        return NTE_BAD_KEY if kind is Key else NTE_BAD_HASH

    def _issue(self, item: AnyObject) -> int:
        handle = self.table.add(item)
        item.handle = handle
        if self._orphans:
            self._orphans.discard(handle)
        if not isinstance(item, Context):
            item.context.children[handle] = None
        return handle

    # --- installed providers -------------------------------------------------------------------

    def _entry(self, name: str | None, number: int) -> algorithms.ProviderEntry:
        if not name:
            default = self._defaults.get(number)
            if default is None:
                raise CspError(NTE_PROV_TYPE_NOT_DEF)
            return algorithms.PROVIDERS[default]
        entry = algorithms.PROVIDERS.get(name)
        if entry is None:
            raise CspError(NTE_KEYSET_NOT_DEF)
        if entry.type != number:
            raise CspError(NTE_PROV_TYPE_NO_MATCH)
        return entry

    def CryptEnumProviders(self, dwIndex: int) -> tuple[int, str]:
        """Give type number and name of an installed provider; ERROR_NO_MORE_ITEMS at the end."""
        entries = list(algorithms.PROVIDERS.values())
        if dwIndex >= len(entries):
            raise CspError(ERROR_NO_MORE_ITEMS)
        return entries[dwIndex].type, entries[dwIndex].name

    def CryptEnumProviderTypes(self, dwIndex: int) -> tuple[int, str]:
        """Give number and name of a provider type; ERROR_NO_MORE_ITEMS at the end."""
        entries = list(algorithms.PROVIDER_TYPES.values())
        if dwIndex >= len(entries):
            raise CspError(ERROR_NO_MORE_ITEMS)
        return entries[dwIndex].number, entries[dwIndex].name

    def CryptGetDefaultProvider(self, dwProvType: int, dwFlags: int) -> str:
        """Name the default provider of a type.

        Args:
            dwProvType: the type's number.
            dwFlags: CRYPT_MACHINE_DEFAULT or CRYPT_USER_DEFAULT; both have the same answer here.

        """
        _check_type(dwProvType)
        if dwFlags not in (CRYPT_MACHINE_DEFAULT, CRYPT_USER_DEFAULT):
            raise CspError(NTE_BAD_FLAGS)
        return self._entry(None, dwProvType).name

    def CryptSetProviderEx(self, pszProvName: str | None, dwProvType: int, dwFlags: int) -> None:
        """Choose the default provider of a type, for this process only.

        Args:
            pszProvName: an installed provider of that type.
            dwProvType: the type's number.
            dwFlags: CRYPT_MACHINE_DEFAULT or CRYPT_USER_DEFAULT; with CRYPT_DELETE_DEFAULT the
                choice is undone.

        """
        if not pszProvName:
            raise CspError(ERROR_INVALID_PARAMETER)
        _check_type(dwProvType)
        whose = CRYPT_MACHINE_DEFAULT | CRYPT_USER_DEFAULT
        if dwFlags & ~(whose | CRYPT_DELETE_DEFAULT) or dwFlags & whose in (0, whose):
            raise CspError(NTE_BAD_FLAGS)
        entry = self._entry(pszProvName, dwProvType)
        if dwFlags & CRYPT_DELETE_DEFAULT:
            self._defaults[dwProvType] = algorithms.PROVIDER_TYPES[dwProvType].default
        else:
            self._defaults[dwProvType] = entry.name

    # --- contexts ------------------------------------------------------------------------------

    def CryptAcquireContext(
        self,
        szContainer: str | None,
        szProvider: str | None,
        dwProvType: int,
        dwFlags: int,
        *,
        wanted: bool = True,
    ) -> int:
        """Open, create or delete a key container.

        Args:
            szContainer: its name; None or empty is the user's default container.
            szProvider: the provider's name; None or empty is the type's default provider.
            dwProvType: PROV_RSA_FULL, PROV_RSA_SCHANNEL or PROV_RSA_AES.
            dwFlags: CRYPT_VERIFYCONTEXT and so on.
            wanted: False when the caller gave no place for the handle; an error that is found
                only after the provider type was checked, as in advapi32.

        Returns:
            A handle with one reference; 0 for CRYPT_DELETEKEYSET.

        """
        _check_type(dwProvType)
        if not wanted:
            raise CspError(ERROR_INVALID_PARAMETER)
        entry = self._entry(szProvider, dwProvType)
        if dwFlags & ~_ACQUIRE_FLAGS:
            raise CspError(NTE_BAD_FLAGS)
        action = dwFlags & (CRYPT_VERIFYCONTEXT | CRYPT_NEWKEYSET | CRYPT_DELETEKEYSET)
        if action & CRYPT_VERIFYCONTEXT:
            if szContainer or action & ~CRYPT_NEWKEYSET != CRYPT_VERIFYCONTEXT:
                raise CspError(NTE_BAD_FLAGS)
            return self._issue(Context(entry, None, dwFlags))
        container = store.ContainerFile(
            szContainer or _default_container(), machine=bool(dwFlags & CRYPT_MACHINE_KEYSET)
        )
        if action == CRYPT_DELETEKEYSET:
            self._delete(container)
            return 0
        if action == CRYPT_NEWKEYSET:
            container.create()
        elif action:
            raise CspError(NTE_BAD_FLAGS)
        context = Context(entry, container, dwFlags)
        context.stored = container.read()
        if self.profile is Profile.DOCUMENTED:
            uselocks.enter(container.path)
        return self._issue(context)

    def _delete(self, container: store.ContainerFile) -> None:
        if self.profile is Profile.DOCUMENTED and uselocks.used_elsewhere(container.path):
            raise CspError(ERROR_BUSY)
        container.delete()

    def CryptContextAddRef(self, hProv: int, dwFlags: int = 0, *, reserved: bool = False) -> None:
        """Add a reference to a context.

        Args:
            hProv: the context.
            dwFlags: must be 0.
            reserved: whether the caller gave a pdwReserved; it must be NULL.

        """
        context = self._find(Context, hProv)
        if reserved:
            raise CspError(ERROR_INVALID_PARAMETER)
        if dwFlags:
            raise CspError(NTE_BAD_FLAGS)
        with self._lock:
            context.references += 1

    def CryptReleaseContext(self, hProv: int, dwFlags: int = 0) -> None:
        """Drop a reference; with the last one, every key and hash of the context goes.

        Containers and their key pairs stay. With *dwFlags* other than 0 the call fails, but the
        last reference is released all the same; earlier ones ignore the flags.

        Args:
            hProv: the context.
            dwFlags: must be 0.

        """
        context = self._find(Context, hProv)
        with self._lock:
            if context.references > 1:
                context.references -= 1
                return
            if self.profile is Profile.DOCUMENTED and not self._leave(context):
                raise CspError(ERROR_BUSY)
            # Another thread may have released it since it was found.
            if self.table.live.get(hProv) is not context:
                raise CspError(self._bad_handle(Context, hProv, None))
            context.references = 0
            for child in context.children:
                orphan = self.table.remove(child)
                if isinstance(orphan, Key):
                    orphan.wipe()
                self._orphans.add(child)
            context.children.clear()
            context.pins.clear()
            context.opened.clear()
            self.table.remove(hProv)
        if dwFlags:
            raise CspError(NTE_BAD_FLAGS)

    def _leave(self, context: Context) -> bool:
        return context.container is None or uselocks.leave(context.container.path)

    def CryptGenRandom(self, hProv: int, dwLen: int) -> bytes:
        """Give *dwLen* random bytes from the operating system."""
        self._find(Context, hProv)
        return os.urandom(dwLen)

    def CryptGetProvParam(
        self, hProv: int, dwParam: int, dwFlags: int, room: int | None
    ) -> Answer:
        """Ask something of a provider or of a context.

        Args:
            hProv: the context.
            dwParam: a PP_* constant; for an enumeration each call gives the next item.
            dwFlags: CRYPT_FIRST starts an enumeration again.
            room: how many bytes the caller has room for; None asks for the size.

        """
        context = self._find(Context, hProv)
        if dwParam in _ENUMERATIONS:
            return self._enumerate(context, dwParam, dwFlags, room)
        if dwFlags:
            raise CspError(NTE_BAD_FLAGS)
        read = _PROV_PARAMS.get(dwParam)
        if read is None:
            raise CspError(NTE_BAD_TYPE)
        return _answer(read(context), room)

    def _enumerate(
        self, context: Context, dwParam: int, dwFlags: int, room: int | None
    ) -> Answer:
        if dwFlags & CRYPT_FIRST or dwParam not in context.cursors:
            context.cursors[dwParam] = 0
        place = context.cursors[dwParam]
        if dwParam == PP_ENUMCONTAINERS:
            machine = bool(context.flags & CRYPT_MACHINE_KEYSET)
            items = [_c_string(name) for name in store.names(machine=machine)]
            largest = max([_MAX_PATH + 1, *map(len, items)])
        else:
            pack = _pack_algorithm if dwParam == PP_ENUMALGS else _pack_algorithm_ex
            items = [pack(algorithm) for algorithm in context.entry.algorithms]
            largest = len(items[0])
        if room is None and place < len(items):
            # A size query promises room enough for any item, and moves nothing.
            return largest
        if place >= len(items):
            raise CspError(ERROR_NO_MORE_ITEMS)
        answer = _answer(items[place], room)
        context.cursors[dwParam] = place + 1
        return answer

    def CryptSetProvParam(
        self, hProv: int, dwParam: int, read: Callable[[int | None], bytes], dwFlags: int
    ) -> None:
        """Tell a context something: the passwords of its key pairs.

        PP_KEYEXCHANGE_PIN and PP_SIGNATURE_PIN give the password of a key pair. A pair that is
        stored without one is stored again under it; pairs made later are stored under it.

        Args:
            hProv: the context; 0 is allowed for PP_CLIENT_HWND.
            dwParam: a PP_* constant.
            read: reads that many bytes of the caller's data; None reads up to the first NUL.
            dwFlags: must be 0.

        """
        if dwParam == PP_CLIENT_HWND and not hProv:
            return
        context = self._find(Context, hProv)
        if dwFlags:
            raise CspError(NTE_BAD_FLAGS)
        if dwParam == PP_CLIENT_HWND:
            return
        spec = {PP_KEYEXCHANGE_PIN: AT_KEYEXCHANGE, PP_SIGNATURE_PIN: AT_SIGNATURE}.get(dwParam)
        if spec is None:
            raise CspError(NTE_BAD_TYPE)
        self._present_pin(context, spec, read(None))

    def _present_pin(self, context: Context, spec: int, pin: bytes) -> None:
        stored = self._stored(context).get(spec)
        if stored is not None and rsakeys.is_encrypted(stored.pem):
            # Refuses a wrong password now, not at some later use.
            pair = rsakeys.from_pem(stored.pem, pin)
            context.pins[spec] = pin
            context.opened[spec] = (stored, pair)
            return
        context.pins[spec] = pin
        if stored is not None:
            self._keep_pair(context, spec, self._pair(context, spec), stored.exportable)

    # --- key pairs of the container ------------------------------------------------------------

    def _stored(self, context: Context) -> store.Pairs:
        if context.container is not None:
            try:
                context.stored = context.container.read()
            except CspError:
                # Deleted or damaged meanwhile: the context goes on with what it knows.
                pass
        return context.stored

    def _pair(self, context: Context, spec: int) -> rsakeys.RsaKey:
        """Give the container's key pair, or raise NTE_NO_KEY; a password may be missing."""
        stored = self._stored(context).get(spec)
        opened = context.opened.get(spec)
        if stored is None:
            if opened is None or opened[0] is not None:
                raise CspError(NTE_NO_KEY)
            return opened[1]
        if opened is not None and opened[0] == stored:
            return opened[1]
        pin = context.pins.get(spec)
        if rsakeys.is_encrypted(stored.pem) and pin is None:
            # A real provider would ask the user; this one has nobody to ask.
            raise CspError(NTE_SILENT_CONTEXT)
        pair = rsakeys.from_pem(stored.pem, pin)
        context.opened[spec] = (stored, pair)
        return pair

    def _keep_pair(
        self, context: Context, spec: int, pair: rsakeys.RsaKey, exportable: bool  # noqa: FBT001
    ) -> None:
        """Make *pair* the container's; only in memory for CRYPT_VERIFYCONTEXT."""
        pem = ""
        if context.container is not None:
            pem = rsakeys.to_pem(pair, context.pins.get(spec))
        stored = store.StoredPair(pem, exportable)
        if context.container is not None:
            context.container.update({spec: stored})
        context.stored = {**context.stored, spec: stored}
        context.opened[spec] = (stored, pair)

    # --- keys ----------------------------------------------------------------------------------

    def CryptGenKey(self, hProv: int, Algid: int, dwFlags: int) -> int:
        """Generate a session key, or a key pair that becomes the container's.

        Args:
            hProv: the context.
            Algid: CALG_* of a cipher, or AT_KEYEXCHANGE or AT_SIGNATURE.
            dwFlags: length in bits in the upper half (0 is the default length); CRYPT_EXPORTABLE,
                CRYPT_CREATE_SALT, CRYPT_NO_SALT and so on in the lower.

        Returns:
            A handle, to be destroyed with CryptDestroyKey.

        """
        context = self._find(Context, hProv)
        spec = _SPEC_OF_ALGID.get(Algid)
        exportable = bool(dwFlags & (CRYPT_EXPORTABLE | CRYPT_ARCHIVABLE))
        if spec is not None:
            algid = _RSA_OF_SPEC[spec]
            pair = rsakeys.generate(_rsa_bits(context, algid, dwFlags >> 16))
            self._keep_pair(context, spec, pair, exportable)
            return self._issue_rsa(context, algid, pair, exportable=exportable)
        if Algid not in _SESSION_ALGIDS:
            raise CspError(NTE_BAD_ALGID)
        length = _key_length(context, Algid, dwFlags >> 16)
        key = self._session_key(context, Algid, os.urandom(length), dwFlags)
        return self._issue_alive(context, key)

    def _session_key(self, context: Context, algid: int, material: bytes, dwFlags: int) -> Key:
        key = Key(context, algid, exportable=bool(dwFlags & CRYPT_EXPORTABLE))
        key.material[:] = material
        if algid in (CALG_RC2, CALG_RC4) and not dwFlags & CRYPT_NO_SALT:
            if dwFlags & CRYPT_CREATE_SALT:
                key.salt[:] = os.urandom(_SALT_OF_40_BIT_KEYS)
            elif len(material) == 5:  # noqa: PLR2004 - 40 bits
                key.salt[:] = bytes(_SALT_OF_40_BIT_KEYS)
        return key

    def _issue_rsa(
        self, context: Context, algid: int, rsa: rsakeys.RsaKey, *, exportable: bool
    ) -> int:
        key = Key(context, algid, exportable=exportable)
        key.rsa = rsa
        return self._issue_alive(context, key)

    def _issue_alive(self, context: Context, item: Key | Hash) -> int:
        """Issue a child, unless another thread released the context in the meantime."""
        with self._lock:
            if not context.references:
                raise CspError(self._bad_handle(Context, context.handle, None))
            return self._issue(item)

    def CryptDeriveKey(self, hProv: int, Algid: int, hBaseData: int, dwFlags: int) -> int:
        """Make a session key from a hash value; finishes the hash.

        Args:
            hProv: the context.
            Algid: CALG_* of a cipher.
            hBaseData: the hash.
            dwFlags: as for CryptGenKey.

        Returns:
            A handle, to be destroyed with CryptDestroyKey.

        """
        context = self._find(Context, hProv)
        base = self._find(Hash, hBaseData)
        if Algid not in _SESSION_ALGIDS:
            raise CspError(NTE_BAD_ALGID)
        length = _key_length(context, Algid, dwFlags >> 16)
        value = self._finish(base)
        # The documented exception for AES: expand although the value is long enough, except for
        # the SHA-2 family.
        expand = Algid in _AES_ALGIDS and base.inner_algid not in _SHA2_ALGIDS
        material = digests.derive(base.inner_algid, value, length, expand=expand)
        key = self._session_key(context, Algid, material.ljust(length, b"\0"), dwFlags)
        return self._issue_alive(context, key)

    def CryptGetUserKey(self, hProv: int, dwKeySpec: int) -> int:
        """Give a new handle on a key pair of the container; NTE_NO_KEY if it has none."""
        context = self._find(Context, hProv)
        algid = _RSA_OF_SPEC.get(dwKeySpec)
        if algid is None:
            raise CspError(NTE_NO_KEY)
        pair = self._pair(context, dwKeySpec)
        exportable = context.stored[dwKeySpec].exportable
        return self._issue_rsa(context, algid, pair, exportable=exportable)

    def CryptDuplicateKey(self, hKey: int, dwFlags: int = 0, *, reserved: bool = False) -> int:
        """Copy a key with its state; the copy lives and dies on its own.

        Args:
            hKey: the key.
            dwFlags: must be 0.
            reserved: whether the caller gave a pdwReserved; it must be NULL.

        """
        key = self._find(Key, hKey)
        if reserved:
            raise CspError(ERROR_INVALID_PARAMETER)
        if dwFlags:
            raise CspError(NTE_BAD_FLAGS)
        return self._issue_alive(key.context, key.copy())

    def CryptDestroyKey(self, hKey: int) -> None:
        """Give a key's handle back and overwrite its bytes; a container's pair stays."""
        key = self._find(Key, hKey)
        if self.table.remove(hKey) is None:
            raise CspError(self._bad_handle(Key, hKey, None))
        key.context.children.pop(hKey, None)
        key.wipe()

    def CryptGetKeyParam(self, hKey: int, dwParam: int, dwFlags: int, room: int | None) -> Answer:
        """Ask something of a key.

        Args:
            hKey: the key.
            dwParam: a KP_* constant.
            dwFlags: must be 0.
            room: how many bytes the caller has room for; None asks for the size.

        """
        key = self._find(Key, hKey)
        if dwFlags:
            raise CspError(NTE_BAD_FLAGS)
        return _answer(_key_param(key, dwParam), room)

    def CryptSetKeyParam(
        self, hKey: int, dwParam: int, read: Callable[[int | None], bytes], dwFlags: int
    ) -> None:
        """Tell a key something: mode, initialization vector, salt and so on.

        Args:
            hKey: the key.
            dwParam: a KP_* constant.
            read: reads that many bytes of the caller's data; for KP_SALT_EX, where the data is a
                structure with its own length, None reads what it points to.
            dwFlags: must be 0.

        """
        key = self._find(Key, hKey)
        if dwFlags:
            raise CspError(NTE_BAD_FLAGS)
        if dwParam == KP_SALT_EX:
            self._set_salt(key, read(None))
        elif dwParam == KP_SALT:
            if key.algid not in (CALG_RC2, CALG_RC4):
                raise CspError(NTE_BAD_KEY)
            self._set_salt(key, read(len(key.salt) or _SALT_OF_40_BIT_KEYS))
        elif dwParam == KP_IV:
            if key.rsa:
                raise CspError(NTE_BAD_TYPE)
            key.iv = read(key.block)
            key.stream = None
        elif dwParam in (KP_PADDING, KP_MODE, KP_MODE_BITS, KP_PERMISSIONS, KP_EFFECTIVE_KEYLEN):
            _set_key_number(key, dwParam, int.from_bytes(read(4), "little"))
        else:
            raise CspError(NTE_BAD_TYPE)

    def _set_salt(self, key: Key, salt: bytes) -> None:
        if key.rsa or key.algid not in (CALG_RC2, CALG_RC4):
            raise CspError(NTE_BAD_KEY)
        if len(key.material) + len(salt) > 16:  # noqa: PLR2004 - room of the providers
            raise CspError(NTE_BAD_DATA)
        key.salt[:] = salt
        key.rekey()

    # --- blobs ---------------------------------------------------------------------------------

    def CryptExportKey(
        self, hKey: int, hExpKey: int, dwBlobType: int, dwFlags: int, room: int | None
    ) -> Answer:
        """Write a key as a blob.

        CRYPT_DESTROYKEY with an OPAQUEKEYBLOB destroys *hKey* once the blob was handed out.

        Args:
            hKey: the key.
            hExpKey: what to encrypt the blob with; 0 for nothing.
            dwBlobType: PUBLICKEYBLOB, PRIVATEKEYBLOB, SIMPLEBLOB, PLAINTEXTKEYBLOB or
                OPAQUEKEYBLOB.
            dwFlags: CRYPT_OAEP, CRYPT_DESTROYKEY or 0.
            room: how many bytes the caller has room for; None asks for the size.

        """
        key = self._find(Key, hKey)
        wrapper = self._find(Key, hExpKey) if hExpKey else None
        if dwFlags & ~(CRYPT_OAEP | CRYPT_DESTROYKEY):
            raise CspError(NTE_BAD_FLAGS)
        if dwFlags & CRYPT_DESTROYKEY and dwBlobType != OPAQUEKEYBLOB:
            raise CspError(NTE_BAD_FLAGS)
        body = self._blob_body(key, wrapper, dwBlobType, oaep=bool(dwFlags & CRYPT_OAEP))
        header = struct.pack("<BBHI", dwBlobType, CUR_BLOB_VERSION, 0, key.algid)
        answer = _answer(header + body, room)
        if dwFlags & CRYPT_DESTROYKEY and room is not None:
            self.CryptDestroyKey(hKey)
        return answer

    def _blob_body(self, key: Key, wrapper: Key | None, dwBlobType: int, *, oaep: bool) -> bytes:
        if dwBlobType == PUBLICKEYBLOB:
            if wrapper is not None or key.rsa is None:
                raise CspError(NTE_BAD_KEY)
            return rsakeys.public_blob(key.rsa)
        if dwBlobType not in (PRIVATEKEYBLOB, SIMPLEBLOB, PLAINTEXTKEYBLOB, OPAQUEKEYBLOB):
            raise CspError(NTE_BAD_TYPE)
        if dwBlobType == PRIVATEKEYBLOB:
            if key.rsa is None or key.rsa.private is None:
                raise CspError(NTE_BAD_KEY)
        elif key.rsa is not None:
            raise CspError(NTE_BAD_KEY)
        if not key.permissions & CRYPT_EXPORT:
            raise CspError(NTE_BAD_KEY_STATE)
        if dwBlobType == PLAINTEXTKEYBLOB:
            return struct.pack("<I", len(key.material)) + bytes(key.material)
        if dwBlobType == OPAQUEKEYBLOB:
            return self._seal(key)
        if dwBlobType == PRIVATEKEYBLOB:
            assert key.rsa is not None  # noqa: S101 - checked above
            return _wrap(rsakeys.private_blob(key.rsa), wrapper)
        if wrapper is None or wrapper.rsa is None or wrapper.algid != CALG_RSA_KEYX:
            raise CspError(NTE_BAD_KEY)
        wrapped = wrapper.rsa.encrypt(bytes(key.material), oaep=oaep)
        return struct.pack("<I", wrapper.algid) + wrapped

    def _seal(self, key: Key) -> bytes:
        """Wrap a key so that only this process can take it back ("nontransferable")."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

        if not self._opaque_key:
            self._opaque_key = AESGCM.generate_key(128)
        nonce = os.urandom(12)
        plain = bytes(key.material) + bytes(key.salt)
        sealed = AESGCM(self._opaque_key).encrypt(nonce, plain, None)
        return struct.pack("<I", len(key.material)) + nonce + sealed

    def _unseal(self, body: bytes) -> tuple[bytes, bytes]:
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

        if not self._opaque_key or len(body) < 32:  # noqa: PLR2004 - length, nonce and tag
            raise CspError(NTE_BAD_DATA)
        (length,) = struct.unpack_from("<I", body)
        try:
            plain = AESGCM(self._opaque_key).decrypt(body[4:16], body[16:], None)
        except InvalidTag:
            raise CspError(NTE_BAD_DATA) from None
        return plain[:length], plain[length:]

    def CryptImportKey(self, hProv: int, data: bytes, hPubKey: int, dwFlags: int) -> int:
        """Take a key from a blob; a PRIVATEKEYBLOB becomes the container's key pair.

        Args:
            hProv: the context.
            data: the blob.
            hPubKey: what decrypts the blob; 0 for nothing, or for the container's exchange pair.
            dwFlags: CRYPT_EXPORTABLE, CRYPT_OAEP, CRYPT_NO_SALT, CRYPT_IPSEC_HMAC_KEY.

        Returns:
            A handle, to be destroyed with CryptDestroyKey.

        """
        context = self._find(Context, hProv)
        wrapper = self._find(Key, hPubKey) if hPubKey else None
        if len(data) < _HEADER_SIZE:
            raise CspError(NTE_BAD_DATA)
        blob_type, version, _, algid = struct.unpack_from("<BBHI", data)
        if version != CUR_BLOB_VERSION:
            documented = self.profile is Profile.DOCUMENTED
            raise CspError(NTE_BAD_VER if documented else NTE_BAD_DATA)
        body = data[_HEADER_SIZE:]
        if blob_type == PUBLICKEYBLOB:
            if algid not in (CALG_RSA_KEYX, CALG_RSA_SIGN):
                raise CspError(NTE_BAD_ALGID)
            rsa = rsakeys.parse_public(body)
            return self._issue_rsa(context, algid, rsa, exportable=True)
        if blob_type == PRIVATEKEYBLOB:
            return self._import_pair(context, algid, _unwrap(body, wrapper), dwFlags)
        if blob_type not in (SIMPLEBLOB, PLAINTEXTKEYBLOB, OPAQUEKEYBLOB):
            raise CspError(NTE_BAD_TYPE)
        if algid not in _SESSION_ALGIDS:
            raise CspError(NTE_BAD_ALGID)
        salt: bytes | None = None
        if blob_type == SIMPLEBLOB:
            material = self._open_simple(context, wrapper, body, dwFlags)
        elif blob_type == OPAQUEKEYBLOB:
            material, salt = self._unseal(body)
        else:
            material = _plaintext(body)
        _check_imported_length(context, algid, len(material), dwFlags)
        key = self._session_key(context, algid, material, dwFlags)
        if salt is not None:
            key.salt[:] = salt
        return self._issue_alive(context, key)

    def _import_pair(self, context: Context, algid: int, body: bytes, dwFlags: int) -> int:
        spec = _SPEC_OF_ALGID.get(algid)
        if spec is None:
            raise CspError(NTE_BAD_ALGID)
        pair = rsakeys.parse_private(body)
        exportable = bool(dwFlags & CRYPT_EXPORTABLE)
        self._keep_pair(context, spec, pair, exportable)
        return self._issue_rsa(context, algid, pair, exportable=exportable)

    def _open_simple(
        self, context: Context, wrapper: Key | None, body: bytes, dwFlags: int
    ) -> bytes:
        if len(body) < 4:  # noqa: PLR2004 - the ALG_ID of the wrapping key
            raise CspError(NTE_BAD_DATA)
        (algid,) = struct.unpack_from("<I", body)
        if algid != CALG_RSA_KEYX:
            raise CspError(NTE_BAD_ALGID)
        rsa = wrapper.rsa if wrapper else self._pair(context, AT_KEYEXCHANGE)
        if rsa is None or rsa.private is None:
            raise CspError(NTE_BAD_PUBLIC_KEY)
        return rsa.decrypt(body[4:], oaep=bool(dwFlags & CRYPT_OAEP))

    # --- encryption ----------------------------------------------------------------------------

    def CryptEncrypt(
        self,
        hKey: int,
        hHash: int,
        Final: bool,  # noqa: FBT001 - the C function's parameter
        dwFlags: int,
        data: bytes | None,
        dwDataLen: int,
        dwBufLen: int,
    ) -> Answer:
        """Encrypt a piece of a message, hashing the plaintext if asked.

        Args:
            hKey: the key.
            hHash: a hash that gets the data too; 0 for none.
            Final: whether this is the last piece; pads it and starts a new message.
            dwFlags: CRYPT_OAEP for RSA, else 0.
            data: the piece; None asks how long the result would be, and changes nothing.
            dwDataLen: its length.
            dwBufLen: how many bytes the caller has room for.

        """
        key = self._find(Key, hKey)
        hash_ = self._find(Hash, hHash) if hHash else None
        if dwFlags & ~CRYPT_OAEP or (dwFlags and key.rsa is None):
            raise CspError(NTE_BAD_FLAGS)
        size = _encrypted_size(key, dwDataLen, final=Final)
        if data is None:
            return size
        if dwBufLen < size:
            raise CspError(ERROR_MORE_DATA, size)
        if hash_ is not None:
            self._update(hash_, data)
        if key.rsa is not None:
            return key.rsa.encrypt(data, oaep=bool(dwFlags & CRYPT_OAEP))
        stream = key.stream or key.start(encrypt=True)
        if Final and key.block:
            missing = key.block - len(data) % key.block
            data += bytes([missing]) * missing
        result = stream.update(data)
        key.stream = None if Final else stream
        return result

    def CryptDecrypt(
        self,
        hKey: int,
        hHash: int,
        Final: bool,  # noqa: FBT001 - the C function's parameter
        dwFlags: int,
        data: bytes,
    ) -> bytes:
        """Decrypt a piece of a message, hashing the plaintext if asked.

        Args:
            hKey: the key.
            hHash: a hash that gets the plaintext too; 0 for none.
            Final: whether this is the last piece; removes its padding and starts a new message.
            dwFlags: CRYPT_OAEP for RSA, else 0.
            data: the piece.

        """
        key = self._find(Key, hKey)
        hash_ = self._find(Hash, hHash) if hHash else None
        if dwFlags & ~CRYPT_OAEP or (dwFlags and key.rsa is None):
            raise CspError(NTE_BAD_FLAGS)
        if key.rsa is not None:
            if key.rsa.private is None or key.algid != CALG_RSA_KEYX:
                raise CspError(NTE_BAD_KEY)
            result = key.rsa.decrypt(data, oaep=bool(dwFlags & CRYPT_OAEP))
        else:
            result = _decrypt_session(key, data, final=Final)
        if hash_ is not None:
            self._update(hash_, result)
        return result

    # --- hashes --------------------------------------------------------------------------------

    def CryptCreateHash(self, hProv: int, Algid: int, hKey: int = 0, dwFlags: int = 0) -> int:
        """Start a hash, a MAC or an HMAC.

        Args:
            hProv: the context.
            Algid: CALG_* of a hash.
            hKey: the key of a MAC or HMAC, kept by reference; 0 otherwise.
            dwFlags: must be 0.

        Returns:
            A handle, to be destroyed with CryptDestroyHash.

        """
        context = self._find(Context, hProv)
        key = self._find(Key, hKey) if hKey else None
        if dwFlags:
            raise CspError(NTE_BAD_FLAGS)
        if context.entry.find(Algid) is None:
            raise CspError(NTE_BAD_ALGID)
        digest: digests.Digest | None
        if Algid in (CALG_MAC, CALG_HMAC):
            if key is None or key.rsa is not None:
                raise CspError(NTE_BAD_KEY)
            digest = None if Algid == CALG_HMAC else _mac(key)
        elif Algid in digests.DIGESTS:
            key = None
            digest = digests.DIGESTS[Algid]()
        else:
            raise CspError(NTE_BAD_ALGID)
        return self._issue_alive(context, Hash(context, Algid, digest, key))

    def CryptDuplicateHash(self, hHash: int, dwFlags: int = 0, *, reserved: bool = False) -> int:
        """Copy a hash with its state; the copy lives and dies on its own, with the same MAC key.

        Args:
            hHash: the hash.
            dwFlags: must be 0.
            reserved: whether the caller gave a pdwReserved; it must be NULL.

        """
        hash_ = self._find(Hash, hHash)
        if reserved:
            raise CspError(ERROR_INVALID_PARAMETER)
        if dwFlags:
            raise CspError(NTE_BAD_FLAGS)
        return self._issue_alive(hash_.context, hash_.copy())

    def CryptHashData(self, hHash: int, data: bytes, dwFlags: int = 0) -> None:
        """Hash more data.

        Args:
            hHash: the hash; must not be finished.
            data: the data.
            dwFlags: 0, or CRYPT_USERDATA, which makes no difference.

        """
        hash_ = self._find(Hash, hHash)
        if dwFlags & ~CRYPT_USERDATA:
            raise CspError(NTE_BAD_FLAGS)
        self._update(hash_, data)

    def CryptHashSessionKey(self, hHash: int, hKey: int, dwFlags: int = 0) -> None:
        """Hash the bytes of a session key, which never leave the provider.

        Args:
            hHash: the hash; must not be finished.
            hKey: the session key.
            dwFlags: CRYPT_LITTLE_ENDIAN, or 0 for the reverse order.

        """
        hash_ = self._find(Hash, hHash)
        key = self._find(Key, hKey)
        if dwFlags & ~CRYPT_LITTLE_ENDIAN:
            raise CspError(NTE_BAD_FLAGS)
        if key.rsa is not None:
            raise CspError(NTE_BAD_KEY)
        material = bytes(key.material)
        self._update(hash_, material if dwFlags & CRYPT_LITTLE_ENDIAN else material[::-1])

    def CryptGetHashParam(
        self, hHash: int, dwParam: int, dwFlags: int, room: int | None
    ) -> Answer:
        """Ask something of a hash.

        Args:
            hHash: the hash.
            dwParam: HP_ALGID, HP_HASHSIZE or HP_HASHVAL; handing out the last one (not asking
                for its size) finishes the hash.
            dwFlags: must be 0.
            room: how many bytes the caller has room for; None asks for the size.

        """
        hash_ = self._find(Hash, hHash)
        if dwFlags:
            raise CspError(NTE_BAD_FLAGS)
        if dwParam == HP_ALGID:
            return _answer(_dword(hash_.algid), room)
        if dwParam not in (HP_HASHSIZE, HP_HASHVAL):
            raise CspError(NTE_BAD_TYPE)
        size = _hash_size(hash_)
        if dwParam == HP_HASHSIZE:
            return _answer(_dword(size), room)
        if room is None:
            return size
        if room < size:
            raise CspError(ERROR_MORE_DATA, size)
        return self._finish(hash_)

    def CryptSetHashParam(
        self, hHash: int, dwParam: int, read: Callable[[int | None], bytes], dwFlags: int
    ) -> None:
        """Set a hash's value, or the hash inside an HMAC.

        Args:
            hHash: the hash.
            dwParam: HP_HASHVAL or HP_HMAC_INFO.
            read: reads that many bytes of the caller's data; for HP_HMAC_INFO, where the data is
                a structure with pointers, None reads it packed as by `pack_hmac_info`.
            dwFlags: must be 0.

        """
        hash_ = self._find(Hash, hHash)
        if dwFlags:
            raise CspError(NTE_BAD_FLAGS)
        if dwParam == HP_HASHVAL:
            hash_.value = read(_hash_size(hash_))
        elif dwParam == HP_HMAC_INFO:
            if hash_.algid != CALG_HMAC:
                raise CspError(NTE_BAD_HASH)
            key = _live_key(hash_)
            algid, inner, outer = _unpack_hmac_info(read(None))
            if algid not in algorithms.HASH_BLOCKS or not hash_.context.entry.find(algid):
                raise CspError(NTE_BAD_ALGID)
            hash_.inner_algid = algid
            hash_.digest = digests.Hmac(algid, bytes(key.material), inner, outer)
            hash_.value = None
        else:
            raise CspError(NTE_BAD_TYPE)

    def CryptDestroyHash(self, hHash: int) -> None:
        """Give a hash's handle back."""
        hash_ = self._find(Hash, hHash)
        if self.table.remove(hHash) is None:
            raise CspError(self._bad_handle(Hash, hHash, None))
        hash_.context.children.pop(hHash, None)

    def _update(self, hash_: Hash, data: bytes) -> None:
        if hash_.value is not None:
            raise CspError(NTE_BAD_HASH_STATE)
        if hash_.key is not None:
            _live_key(hash_)
        if hash_.digest is None:
            raise CspError(NTE_BAD_HASH_STATE)
        hash_.digest.update(data)

    def _finish(self, hash_: Hash) -> bytes:
        if hash_.value is None:
            if hash_.key is not None:
                _live_key(hash_)
            if hash_.digest is None:
                raise CspError(NTE_BAD_HASH_STATE)
            hash_.value = hash_.digest.digest()
        return hash_.value

    # --- signatures ----------------------------------------------------------------------------

    def CryptSignHash(
        self, hHash: int, dwKeySpec: int, sDescription: str | None, dwFlags: int, room: int | None
    ) -> Answer:
        """Sign a hash with a key pair of the container; finishes the hash.

        Args:
            hHash: the hash.
            dwKeySpec: AT_KEYEXCHANGE or AT_SIGNATURE.
            sDescription: text that is hashed in addition; obsolete, None.
            dwFlags: CRYPT_NOHASHOID or 0.
            room: how many bytes the caller has room for; None asks for the size.

        """
        hash_ = self._find(Hash, hHash)
        if dwFlags & ~CRYPT_NOHASHOID:
            raise CspError(NTE_BAD_FLAGS)
        if dwKeySpec not in _RSA_OF_SPEC:
            raise CspError(NTE_BAD_ALGID)
        pair = self._pair(hash_.context, dwKeySpec)
        if room is None:
            return pair.size
        if room < pair.size:
            raise CspError(ERROR_MORE_DATA, pair.size)
        return pair.sign(self._payload(hash_, sDescription, dwFlags))

    def CryptVerifySignature(
        self,
        hHash: int,
        signature: bytes,
        hPubKey: int,
        sDescription: str | None,
        dwFlags: int,
    ) -> None:
        """Check a signature of a hash; finishes the hash. NTE_BAD_SIGNATURE if it does not fit.

        Args:
            hHash: the hash.
            signature: the signature, little-endian.
            hPubKey: the signer's public key.
            sDescription: as it was signed.
            dwFlags: as it was signed.

        """
        hash_ = self._find(Hash, hHash)
        key = self._find(Key, hPubKey)
        if dwFlags & ~CRYPT_NOHASHOID:
            raise CspError(NTE_BAD_FLAGS)
        if key.rsa is None:
            raise CspError(NTE_BAD_KEY)
        if len(signature) != key.rsa.size:
            raise CspError(NTE_BAD_SIGNATURE)
        if not key.rsa.verify(signature, self._payload(hash_, sDescription, dwFlags)):
            raise CspError(NTE_BAD_SIGNATURE)

    def _payload(self, hash_: Hash, sDescription: str | None, dwFlags: int) -> bytes:
        if sDescription:
            self._update(hash_, sDescription.encode("utf-16-le", "surrogatepass"))
        value = self._finish(hash_)
        if dwFlags & CRYPT_NOHASHOID or hash_.algid == CALG_SSL3_SHAMD5:
            return value
        prefix = algorithms.DIGEST_INFO.get(hash_.inner_algid)
        if prefix is None:
            raise CspError(NTE_BAD_ALGID)
        return prefix + value


# --- what the methods share --------------------------------------------------------------------


def _answer(data: bytes, room: int | None) -> Answer:
    if room is None:
        return len(data)
    if room < len(data):
        raise CspError(ERROR_MORE_DATA, len(data))
    return data


def _dword(number: int) -> bytes:
    return number.to_bytes(4, "little")


def _c_string(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape") + b"\0"


def _check_type(dwProvType: int) -> None:
    if not 0 < dwProvType <= _LARGEST_TYPE:
        raise CspError(NTE_BAD_PROV_TYPE)


def _default_container() -> str:
    """Name the user's default container: the login name, as the vendor's providers do."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # No such user in the password database and no LOGNAME: a bare container.
        return "default"


def _container_name(context: Context) -> bytes:
    return _c_string(context.container.name if context.container else "")


def _unique_name(context: Context) -> bytes:
    return _c_string(context.container.path.stem if context.container else "")


_PROV_PARAMS: Final[dict[int, Callable[[Context], bytes]]] = {
    PP_NAME: lambda context: _c_string(context.entry.name),
    PP_CONTAINER: _container_name,
    PP_UNIQUE_CONTAINER: _unique_name,
    PP_VERSION: lambda _: _dword(_VERSION),
    PP_IMPTYPE: lambda _: _dword(CRYPT_IMPL_SOFTWARE),
    PP_PROVTYPE: lambda context: _dword(context.entry.type),
    PP_KEYSPEC: lambda _: _dword(AT_KEYEXCHANGE | AT_SIGNATURE),
    PP_KEYSET_TYPE: lambda context: _dword(context.flags & CRYPT_MACHINE_KEYSET),
    PP_SIG_KEYSIZE_INC: lambda _: _dword(8),
    PP_KEYX_KEYSIZE_INC: lambda _: _dword(8),
}

_ENUMERATIONS: Final = (PP_ENUMALGS, PP_ENUMALGS_EX, PP_ENUMCONTAINERS)


def _pack_algorithm(a: algorithms.Algorithm) -> bytes:
    """Write a PROV_ENUMALGS; name lengths count the NUL."""
    name = a.name.encode("ascii")
    return struct.pack("<III20s", a.algid, a.default, len(name) + 1, name)


def _pack_algorithm_ex(a: algorithms.Algorithm) -> bytes:
    """Write a PROV_ENUMALGS_EX; name lengths count the NUL."""
    name, long_name = a.name.encode("ascii"), a.long_name.encode("ascii")
    numbers = (a.algid, a.default, a.smallest, a.largest, a.protocols)
    return struct.pack(
        "<6I20sI40s", *numbers, len(name) + 1, name, len(long_name) + 1, long_name
    )


def _rsa_bits(context: Context, algid: int, bits: int) -> int:
    algorithm = context.entry.find(algid)
    if algorithm is None:
        raise CspError(NTE_BAD_ALGID)
    bits = bits or algorithm.default
    if not algorithm.smallest <= bits <= algorithm.largest or bits % 8:
        raise CspError(NTE_BAD_FLAGS)
    return bits


def _key_length(context: Context, algid: int, bits: int) -> int:
    """Turn a length in bits, 0 for the default, into the length of the key in bytes."""
    algorithm = context.entry.find(algid)
    if algorithm is None:
        raise CspError(NTE_BAD_ALGID)
    bits = bits or algorithm.default
    fixed = _FIXED_LENGTHS.get(algid)
    if fixed is not None:
        if bits not in fixed:
            raise CspError(NTE_BAD_FLAGS)
        return fixed[bits]
    if not algorithm.smallest <= bits <= algorithm.largest or bits % 8:
        raise CspError(NTE_BAD_FLAGS)
    return bits // 8


def _check_imported_length(context: Context, algid: int, length: int, dwFlags: int) -> None:
    if algid == CALG_RC2 and dwFlags & CRYPT_IPSEC_HMAC_KEY:
        # "CRYPT_IPSEC_HMAC_KEY allows for the import of an RC2 key that is larger than 16 bytes",
        # and that is how HMAC keys of any length come in.
        if not length:
            raise CspError(NTE_BAD_DATA)
        return
    if context.entry.find(algid) is None:
        raise CspError(NTE_BAD_ALGID)
    if not length:
        raise CspError(NTE_BAD_DATA)
    try:
        expected = _key_length(context, algid, length * 8)
    except CspError:
        raise CspError(NTE_BAD_DATA) from None
    if expected != length:
        raise CspError(NTE_BAD_DATA)


def _plaintext(body: bytes) -> bytes:
    if len(body) < 4:  # noqa: PLR2004 - dwKeySize
        raise CspError(NTE_BAD_DATA)
    (length,) = struct.unpack_from("<I", body)
    if len(body) < 4 + length:
        raise CspError(NTE_BAD_DATA)
    return body[4 : 4 + length]


def _wrap(body: bytes, wrapper: Key | None) -> bytes:
    """Encrypt a private key blob's body with a session key, as one message."""
    if wrapper is None:
        return body
    if wrapper.rsa is not None:
        raise CspError(NTE_BAD_KEY)
    if wrapper.block:
        missing = wrapper.block - len(body) % wrapper.block
        body += bytes([missing]) * missing
    return wrapper.start(encrypt=True).update(body)


def _unwrap(body: bytes, wrapper: Key | None) -> bytes:
    if wrapper is None:
        return body
    if wrapper.rsa is not None:
        raise CspError(NTE_BAD_KEY)
    if wrapper.block and len(body) % wrapper.block:
        raise CspError(NTE_BAD_DATA)
    plain = wrapper.start(encrypt=False).update(body)
    return _unpad(plain, wrapper.block) if wrapper.block else plain


def _unpad(data: bytes, block: int) -> bytes:
    count = data[-1] if data else 0
    if not 0 < count <= block or data[-count:] != bytes([count]) * count:
        raise CspError(NTE_BAD_DATA)
    return data[:-count]


def _encrypted_size(key: Key, length: int, *, final: bool) -> int:
    if key.rsa is not None:
        if key.algid != CALG_RSA_KEYX:
            raise CspError(NTE_BAD_KEY)
        return key.rsa.size
    if not key.block:
        return length
    if final:
        return (length // key.block + 1) * key.block
    if length % key.block:
        raise CspError(NTE_BAD_DATA)
    return length


def _decrypt_session(key: Key, data: bytes, *, final: bool) -> bytes:
    if key.block and (len(data) % key.block or (final and not data)):
        raise CspError(NTE_BAD_DATA if data else NTE_BAD_LEN)
    stream = key.stream or key.start(encrypt=False)
    result = stream.update(data)
    key.stream = None if final else stream
    if final and key.block:
        return _unpad(result, key.block)
    return result


def _key_param(key: Key, dwParam: int) -> bytes:
    bits = key.rsa.declared_bits if key.rsa else len(key.material) * 8
    if dwParam == KP_ALGID:
        return _dword(key.algid)
    if dwParam == KP_KEYLEN:
        return _dword(bits)
    if dwParam == KP_BLOCKLEN:
        return _dword(bits if key.rsa else key.block * 8)
    if dwParam == KP_PERMISSIONS:
        return _dword(key.permissions)
    if dwParam == KP_EFFECTIVE_KEYLEN:
        return _dword(bits if key.rsa else key.effective)
    if key.rsa is None:
        if dwParam == KP_IV:
            return key.iv
        if dwParam == KP_SALT:
            return bytes(key.salt)
        if dwParam == KP_PADDING:
            return _dword(key.padding)
        if dwParam == KP_MODE:
            return _dword(key.mode)
        if dwParam == KP_MODE_BITS:
            return _dword(key.mode_bits)
    raise CspError(NTE_BAD_TYPE)


def _set_key_number(key: Key, dwParam: int, number: int) -> None:
    if dwParam == KP_PERMISSIONS:
        if number & CRYPT_EXPORT and not key.permissions & CRYPT_EXPORT:
            raise CspError(NTE_BAD_DATA)
        key.permissions = number
    elif key.rsa is not None:
        raise CspError(NTE_BAD_TYPE)
    elif dwParam == KP_PADDING:
        if number != PKCS5_PADDING:
            raise CspError(NTE_BAD_DATA)
        key.padding = number
    elif dwParam == KP_MODE:
        if number not in (CRYPT_MODE_CBC, CRYPT_MODE_ECB, CRYPT_MODE_CFB):
            raise CspError(NTE_BAD_DATA)
        key.mode = number
        key.stream = None
    elif dwParam == KP_MODE_BITS:
        key.mode_bits = number
    else:
        if key.algid != CALG_RC2:
            raise CspError(NTE_BAD_TYPE)
        if not 0 < number <= _LARGEST_EFFECTIVE:
            raise CspError(NTE_BAD_DATA)
        key.effective_bits = number
        key.rekey()


def _mac(key: Key) -> digests.Mac:
    if not key.block or key.algid & ALG_CLASS_DATA_ENCRYPT != ALG_CLASS_DATA_ENCRYPT:
        raise CspError(NTE_BAD_KEY)
    cipher = key.cipher()
    return digests.Mac(lambda block: cipher.crypt(block, encrypt=True), key.block, key.iv)


def _live_key(hash_: Hash) -> Key:
    """Give the key of a MAC or HMAC; NTE_BAD_KEY once it was destroyed, as documented."""
    if hash_.key is None or not hash_.key.alive:
        raise CspError(NTE_BAD_KEY)
    return hash_.key


def _hash_size(hash_: Hash) -> int:
    if hash_.algid == CALG_MAC:
        return hash_.key.block if hash_.key else 0
    return algorithms.HASH_SIZES.get(hash_.inner_algid, 0)


def pack_hmac_info(algid: int, inner: bytes = b"", outer: bytes = b"") -> bytes:
    """Pack an HMAC_INFO without pointers, for `Provider.CryptSetHashParam`."""
    return struct.pack("<II", algid, len(inner)) + inner + outer


def _unpack_hmac_info(packed: bytes) -> tuple[int, bytes, bytes]:
    algid, length = struct.unpack_from("<II", packed)
    return algid, packed[8 : 8 + length], packed[8 + length :]


# --- the one provider of the process -----------------------------------------------------------

_engine: Provider | None = None
_engine_lock = threading.Lock()


def engine() -> Provider:
    """Give the provider that both faces of this process share, made at first need.

    Raises:
        ValueError: SOFTCSP_ERRORS, SOFTCSP_NEVER_REUSE or SOFTCSP_FAULTS has a value that is
            not allowed.

    """
    global _engine  # noqa: PLW0603 - one provider per process is the point
    if _engine is None:
        with _engine_lock:
            if _engine is None:
                faults.arm_from_environment()
                _engine = Provider()
    return _engine
