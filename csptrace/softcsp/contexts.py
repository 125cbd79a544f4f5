"""Contexts: acquiring, counting, releasing; handles, installed providers, containers' key pairs.

The first of the layers that make up `provider.Provider`; see there for what they have in common.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import struct
from typing import TYPE_CHECKING, Final, TypeVar

from csptrace import forks
from csptrace.softcsp import algorithms, rsakeys, store, uselocks
from csptrace.softcsp.answers import Answer, answer, c_string, dword
from csptrace.softcsp.constants import (
    AT_KEYEXCHANGE,
    AT_SIGNATURE,
    CRYPT_DEFAULT_CONTAINER_OPTIONAL,
    CRYPT_DELETE_DEFAULT,
    CRYPT_DELETEKEYSET,
    CRYPT_FIRST,
    CRYPT_IMPL_SOFTWARE,
    CRYPT_MACHINE_DEFAULT,
    CRYPT_MACHINE_KEYSET,
    CRYPT_NEWKEYSET,
    CRYPT_SEC_DESCR,
    CRYPT_SILENT,
    CRYPT_USER_DEFAULT,
    CRYPT_VERIFYCONTEXT,
    ERROR_BUSY,
    ERROR_INVALID_HANDLE,
    ERROR_INVALID_PARAMETER,
    ERROR_NO_MORE_ITEMS,
    NTE_BAD_FLAGS,
    NTE_BAD_HASH,
    NTE_BAD_KEY,
    NTE_BAD_KEYSET,
    NTE_BAD_PROV_TYPE,
    NTE_BAD_PROVIDER,
    NTE_BAD_TYPE,
    NTE_BAD_UID,
    NTE_KEYSET_NOT_DEF,
    NTE_NO_KEY,
    NTE_PROV_TYPE_NO_MATCH,
    NTE_PROV_TYPE_NOT_DEF,
    NTE_SILENT_CONTEXT,
    PP_CLIENT_HWND,
    PP_CONTAINER,
    PP_ENUMALGS,
    PP_ENUMALGS_EX,
    PP_ENUMCONTAINERS,
    PP_IMPTYPE,
    PP_KEYEXCHANGE_PIN,
    PP_KEYSET_SEC_DESCR,
    PP_KEYSET_TYPE,
    PP_KEYSPEC,
    PP_KEYSTORAGE,
    PP_KEYX_KEYSIZE_INC,
    PP_NAME,
    PP_PROVTYPE,
    PP_SIG_KEYSIZE_INC,
    PP_SIGNATURE_PIN,
    PP_UNIQUE_CONTAINER,
    PP_VERSION,
)
from csptrace.softcsp.errors import CspError, Profile
from csptrace.softcsp.handles import HandleTable, never_reuse_from_environment
from csptrace.softcsp.objects import Context, Hash, Key

if TYPE_CHECKING:
    from collections.abc import Callable

_ACQUIRE_FLAGS: Final = (
    CRYPT_VERIFYCONTEXT
    | CRYPT_NEWKEYSET
    | CRYPT_DELETEKEYSET
    | CRYPT_MACHINE_KEYSET
    | CRYPT_SILENT
    | CRYPT_DEFAULT_CONTAINER_OPTIONAL
)
_LARGEST_TYPE: Final = 999
_MAX_PATH: Final = 260
_VERSION: Final = 0x0200

AnyObject = Context | Key | Hash
T = TypeVar("T", Context, Key, Hash)


class Contexts:
    """Live objects and their handles, contexts, containers.

    Attributes:
        table: the live handles.
        profile: which codes bad handles get.

    """

    def __init__(self, profile: Profile | None = None, *, never_reuse: bool | None = None) -> None:
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
        self._lock = forks.lock()
        self._opaque_key = b""
        # The user's choice, where there is one, goes before the machine's.
        self._user_defaults: dict[int, str] = {}
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

    def _issue_alive(self, context: Context, item: Key | Hash) -> int:
        """Issue a child, unless another thread released the context in the meantime."""
        with self._lock:
            if not context.references:
                raise CspError(self._bad_handle(Context, context.handle, None))
            return self._issue(item)

    # --- installed providers -------------------------------------------------------------------

    def _entry(self, name: str | None, number: int) -> algorithms.ProviderEntry:
        if not name:
            default = self._user_defaults.get(number) or self._defaults.get(number)
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
            dwFlags: CRYPT_MACHINE_DEFAULT or CRYPT_USER_DEFAULT; the user has a default of a type
                only once it was chosen.

        """
        if dwFlags & ~(CRYPT_MACHINE_DEFAULT | CRYPT_USER_DEFAULT):
            raise CspError(NTE_BAD_FLAGS)
        if dwProvType > _LARGEST_TYPE:
            raise CspError(NTE_BAD_PROV_TYPE)
        user = bool(dwFlags & CRYPT_USER_DEFAULT)
        name = (self._user_defaults if user else self._defaults).get(dwProvType)
        if name is None:
            raise CspError(NTE_PROV_TYPE_NOT_DEF)
        return name

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
        if dwProvType > _LARGEST_TYPE:
            raise CspError(NTE_BAD_PROV_TYPE)
        whose = CRYPT_MACHINE_DEFAULT | CRYPT_USER_DEFAULT
        if dwFlags & ~(whose | CRYPT_DELETE_DEFAULT) or dwFlags == CRYPT_DELETE_DEFAULT:
            raise CspError(NTE_BAD_FLAGS)
        if dwProvType not in self._defaults or pszProvName not in algorithms.PROVIDERS:
            raise CspError(NTE_BAD_PROVIDER)
        if dwFlags & CRYPT_USER_DEFAULT:
            if dwFlags & CRYPT_DELETE_DEFAULT:
                self._user_defaults.pop(dwProvType, None)
            else:
                self._user_defaults[dwProvType] = pszProvName
            return
        if dwFlags & CRYPT_DELETE_DEFAULT:
            pszProvName = algorithms.PROVIDER_TYPES[dwProvType].default
        self._defaults[dwProvType] = pszProvName

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

    def CryptGetProvParam(self, hProv: int, dwParam: int, dwFlags: int, room: int | None) -> Answer:
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
        if dwParam == PP_KEYSET_SEC_DESCR:
            # The flags are SECURITY_INFORMATION: which parts of the descriptor are wanted.
            if context.container is None:
                raise CspError(NTE_BAD_KEYSET)
            return answer(_security_descriptor(dwFlags), room)
        if dwFlags:
            raise CspError(NTE_BAD_FLAGS)
        read = _PROV_PARAMS.get(dwParam)
        if read is None:
            raise CspError(NTE_BAD_TYPE)
        return answer(read(context), room)

    def _enumerate(self, context: Context, dwParam: int, dwFlags: int, room: int | None) -> Answer:
        # PP_ENUMALGS and PP_ENUMALGS_EX move one cursor; a size query moves nothing.
        cursor = PP_ENUMALGS if dwParam == PP_ENUMALGS_EX else dwParam
        place = 0 if dwFlags & CRYPT_FIRST else context.cursors.get(cursor, 0)
        if dwParam == PP_ENUMCONTAINERS:
            machine = bool(context.flags & CRYPT_MACHINE_KEYSET)
            items = [c_string(name) for name in store.names(machine=machine)]
            if room is None:
                # Room enough for any item, promised even when there is none.
                return max([_MAX_PATH + 1, *map(len, items)])
        else:
            pack = _pack_algorithm if dwParam == PP_ENUMALGS else _pack_algorithm_ex
            items = [pack(algorithm) for algorithm in context.entry.algorithms]
        if place >= len(items):
            raise CspError(ERROR_NO_MORE_ITEMS)
        item = answer(items[place], room)
        if room is not None:
            context.cursors[cursor] = place + 1
        return item

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
        if dwParam == PP_KEYSET_SEC_DESCR and context.container is not None:
            # Accepted, and without effect: containers are their owner's alone.
            return
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
            # Deleted or damaged meanwhile: the context goes on with what it knows.
            with contextlib.suppress(CspError):
                context.stored = context.container.read()
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
        self, context: Context, spec: int, pair: rsakeys.RsaKey, exportable: bool
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
    return c_string(context.container.name if context.container else "")


def _unique_name(context: Context) -> bytes:
    return c_string(context.container.path.stem if context.container else "")


_PROV_PARAMS: Final[dict[int, Callable[[Context], bytes]]] = {
    PP_NAME: lambda context: c_string(context.entry.name),
    PP_CONTAINER: _container_name,
    PP_UNIQUE_CONTAINER: _unique_name,
    PP_VERSION: lambda _: dword(_VERSION),
    PP_IMPTYPE: lambda _: dword(CRYPT_IMPL_SOFTWARE),
    PP_PROVTYPE: lambda context: dword(context.entry.type),
    PP_KEYSPEC: lambda _: dword(AT_KEYEXCHANGE | AT_SIGNATURE),
    PP_KEYSTORAGE: lambda _: dword(CRYPT_SEC_DESCR),
    PP_KEYSET_TYPE: lambda context: dword(context.flags & CRYPT_MACHINE_KEYSET),
    PP_SIG_KEYSIZE_INC: lambda _: dword(8),
    PP_KEYX_KEYSIZE_INC: lambda _: dword(8),
}


_OWNER, _GROUP, _DACL = 1, 2, 4  # SECURITY_INFORMATION
_OWNER_RIGHTS: Final = struct.pack("<BB6BI", 1, 1, 0, 0, 0, 0, 0, 3, 4)  # the SID S-1-3-4
_SELF_RELATIVE, _DACL_PRESENT = 0x8000, 0x4
_ALL_KEY_ACCESS: Final = 0xF003F


def _security_descriptor(wanted: int) -> bytes:
    """Write a self-relative SECURITY_DESCRIPTOR that says what the container's file is like.

    Its owner has all rights and nobody else has any. The owner is S-1-3-4, "owner rights": users
    of other systems have no SID.

    Args:
        wanted: SECURITY_INFORMATION.

    """
    control, body = _SELF_RELATIVE, b""
    places = [0, 0, 0]
    for place, part in enumerate((_OWNER, _GROUP)):
        if wanted & part:
            places[place] = 20 + len(body)
            body += _OWNER_RIGHTS
    if wanted & _DACL:
        control |= _DACL_PRESENT
        places[2] = 20 + len(body)
        ace = struct.pack("<BBHI", 0, 0, 8 + len(_OWNER_RIGHTS), _ALL_KEY_ACCESS) + _OWNER_RIGHTS
        body += struct.pack("<BBHHH", 2, 0, 8 + len(ace), 1, 0) + ace
    owner, group, dacl = places
    return struct.pack("<BBHIIII", 1, 0, control, owner, group, 0, dacl) + body


_ENUMERATIONS: Final = (PP_ENUMALGS, PP_ENUMALGS_EX, PP_ENUMCONTAINERS)


def _pack_algorithm(a: algorithms.Algorithm) -> bytes:
    """Write a PROV_ENUMALGS; name lengths count the NUL."""
    name = a.name.encode("ascii")
    return struct.pack("<III20s", a.algid, a.default, len(name) + 1, name)


def _pack_algorithm_ex(a: algorithms.Algorithm) -> bytes:
    """Write a PROV_ENUMALGS_EX; name lengths count the NUL."""
    name, long_name = a.name.encode("ascii"), a.long_name.encode("ascii")
    numbers = (a.algid, a.default, a.smallest, a.largest, a.protocols)
    return struct.pack("<6I20sI40s", *numbers, len(name) + 1, name, len(long_name) + 1, long_name)
