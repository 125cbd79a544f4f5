# ruff: noqa: D102 - `Client` documents the methods, once
"""One small client of PKCS#11, spoken through every binding there is.

Run as a program it plays one of `STORIES`, for tests that need a process of their own:
`pkcs11_clients.py BINDING MODULE STORY TRACED`, where TRACED is a reaction (`raise`, `log`) or 0.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from ctypes import POINTER, byref, c_char_p, c_ubyte, c_ulong, c_void_p
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CKF_RW_SERIAL: Final = 6
CKM_AES_KEY_GEN: Final = 0x1080
CKM_AES_ECB: Final = 0x1081
CKM_SHA256: Final = 0x250
VALUE: Final = bytes(range(16))
LABEL: Final = "csptrace tests"


class Refused(Exception):
    """The provider refused a call, with a CKR value or an exception's name."""


class Client(Protocol):
    """What every binding can say, up to what it `lacks`."""

    lacks: Mapping[str, str]
    """Case → why this binding cannot do it, or does it otherwise."""
    binding: str
    """The binding's name in findings."""

    def load(self, module: str) -> None:
        """Load the library and initialise it, or join one that is."""

    def unload(self) -> None:
        """Finalise the library, and unload it if the binding can."""

    def finalize(self) -> None:
        """C_Finalize alone."""

    def initialize(self) -> None:
        """C_Initialize alone."""

    def slots(self) -> Any:
        """C_GetSlotList."""

    def open(self, pin: str | None = None) -> Any:
        """C_OpenSession, and C_Login with a PIN."""

    def close(self, session: Any) -> None:
        """C_CloseSession."""

    def close_all(self) -> None:
        """C_CloseAllSessions."""

    def logout(self, session: Any) -> None:
        """C_Logout."""

    def use(self, session: Any) -> None:
        """Make a cheap call on the session."""

    def slow(self, session: Any) -> None:
        """Make a call on the session that takes its time."""

    def login(self, session: Any, pin: str) -> None:
        """C_Login."""

    def gen_key(self, session: Any, *, token: bool = False, private: bool = True) -> Any:
        """C_GenerateKey, an AES key."""

    def create(self, session: Any, label: str, *, token: bool, private: bool) -> Any:
        """C_CreateObject, an AES key."""

    def copy(self, session: Any, key: Any, label: str) -> Any:
        """C_CopyObject."""

    def use_key(self, session: Any, key: Any) -> None:
        """C_GetAttributeValue."""

    def encrypt(self, session: Any, key: Any) -> bytes:
        """C_EncryptInit and C_Encrypt."""

    def destroy(self, session: Any, key: Any) -> None:
        """C_DestroyObject."""

    def begin(self, session: Any, key: Any) -> Any:
        """Begin an operation that stays active (C_EncryptInit); return what keeps it."""

    def finish(self, session: Any, operation: Any) -> None:
        """Complete it."""

    def begin_search(self, session: Any) -> Any:
        """C_FindObjectsInit and C_FindObjects; return what keeps the search."""

    def find(self, session: Any) -> list[Any]:
        """Search to the end; return the objects."""

    def begin_search_for(self, session: Any, label: str) -> Any:
        """Begin a search that stays active; return what it has found first, `None` if nothing."""

    def number(self, handle: Any) -> int:
        """Return the native value of a handle."""


# --- ctypes -----------------------------------------------------------------------------------


class Mechanism(ctypes.Structure):
    """CK_MECHANISM."""

    _fields_ = (("mechanism", c_ulong), ("pParameter", c_void_p), ("ulParameterLen", c_ulong))


class Attribute(ctypes.Structure):
    """CK_ATTRIBUTE."""

    _fields_ = (("type", c_ulong), ("pValue", c_void_p), ("ulValueLen", c_ulong))


def template(*rows: tuple[int, Any]) -> Any:
    """Return an array of attributes; each value is a ctypes object."""
    array = (Attribute * len(rows))(
        *(Attribute(kind, ctypes.addressof(value), ctypes.sizeof(value)) for kind, value in rows)
    )
    array.kept = rows
    return array


class Exports:
    """The functions that a module exports, through ctypes."""

    binding = "ctypes"
    lacks: Mapping[str, str] = {
        "aliased": "a number does not say which session it was; see the guide, limits",
        "unload": "ctypes cannot unload a library",
        "lost": "the program itself has the handle of a session whose login fails",
    }

    def load(self, module: str) -> None:
        self.lib: Any = ctypes.CDLL(module)
        self.initialize()

    def call(self, name: str, *arguments: Any) -> None:
        result = getattr(self.lib, name)(*arguments)
        if result:
            raise Refused(f"{result & 0xFFFFFFFF:#x}")

    def unload(self) -> None:
        self.finalize()

    def finalize(self) -> None:
        self.call("C_Finalize", None)

    def initialize(self) -> None:
        self.call("C_Initialize", None)

    def slots(self) -> Any:
        count = c_ulong()
        self.call("C_GetSlotList", c_ubyte(1), None, byref(count))
        found = (c_ulong * count.value)()
        self.call("C_GetSlotList", c_ubyte(1), found, byref(count))
        return list(found)

    def open(self, pin: str | None = None) -> Any:
        session = c_ulong()
        slot = c_ulong(self.slots()[0])
        self.call("C_OpenSession", slot, c_ulong(CKF_RW_SERIAL), None, None, byref(session))
        if pin is not None:
            self.login(session, pin)
        return session

    def login(self, session: Any, pin: str) -> None:
        text = pin.encode()
        self.call("C_Login", session, c_ulong(1), c_char_p(text), c_ulong(len(text)))

    def close(self, session: Any) -> None:
        self.call("C_CloseSession", session)

    def close_all(self) -> None:
        self.call("C_CloseAllSessions", c_ulong(self.slots()[0]))

    def logout(self, session: Any) -> None:
        self.call("C_Logout", session)

    def use(self, session: Any) -> None:
        self.call("C_GetSessionInfo", session, ctypes.create_string_buffer(64))

    def slow(self, session: Any) -> None:
        self.call(
            "C_GenerateRandom", session, ctypes.create_string_buffer(1 << 25), c_ulong(1 << 25)
        )

    def gen_key(self, session: Any, *, token: bool = False, private: bool = True) -> Any:
        key = c_ulong()
        rows = template(
            (0x161, c_ulong(16)),
            (0x1, c_ubyte(token)),
            (0x2, c_ubyte(private)),
            (0x104, c_ubyte(1)),
        )
        mechanism = Mechanism(CKM_AES_KEY_GEN, None, 0)
        self.call("C_GenerateKey", session, byref(mechanism), rows, c_ulong(4), byref(key))
        return key

    def create(self, session: Any, label: str, *, token: bool, private: bool) -> Any:
        key = c_ulong()
        rows = template(
            (0x0, c_ulong(4)),
            (0x100, c_ulong(0x1F)),
            (0x11, ctypes.create_string_buffer(VALUE, len(VALUE))),
            (0x3, ctypes.create_string_buffer(label.encode(), len(label))),
            (0x1, c_ubyte(token)),
            (0x2, c_ubyte(private)),
            (0x104, c_ubyte(1)),
        )
        self.call("C_CreateObject", session, rows, c_ulong(len(rows)), byref(key))
        return key

    def copy(self, session: Any, key: Any, label: str) -> Any:
        copied = c_ulong()
        rows = template((0x3, ctypes.create_string_buffer(label.encode(), len(label))))
        self.call("C_CopyObject", session, key, rows, c_ulong(1), byref(copied))
        return copied

    def use_key(self, session: Any, key: Any) -> None:
        rows = template((0x1, c_ubyte()))
        self.call("C_GetAttributeValue", session, key, rows, c_ulong(1))

    def encrypt(self, session: Any, key: Any) -> bytes:
        self.begin(session, key)
        out, size = ctypes.create_string_buffer(16), c_ulong()
        data = c_char_p(b"0123456789abcdef")
        self.call("C_Encrypt", session, data, c_ulong(16), None, byref(size))
        self.call("C_Encrypt", session, data, c_ulong(16), out, byref(size))
        return out.raw

    def destroy(self, session: Any, key: Any) -> None:
        self.call("C_DestroyObject", session, key)

    def begin(self, session: Any, key: Any) -> Any:
        mechanism = Mechanism(CKM_AES_ECB, None, 0)
        self.call("C_EncryptInit", session, byref(mechanism), key)
        return key

    def finish(self, session: Any, operation: Any) -> None:
        out, size = ctypes.create_string_buffer(16), c_ulong(16)
        self.call("C_EncryptFinal", session, out, byref(size))

    def begin_search(self, session: Any) -> Any:
        self.call("C_FindObjectsInit", session, None, c_ulong(0))
        found, count = c_ulong(), c_ulong()
        self.call("C_FindObjects", session, byref(found), c_ulong(1), byref(count))
        return found

    def find(self, session: Any) -> list[Any]:
        self.call("C_FindObjectsInit", session, None, c_ulong(0))
        # One by one, then in an array, as programs do either.
        one, some, count = c_ulong(), (c_ulong * 3)(), c_ulong(1)
        self.call("C_FindObjects", session, byref(one), c_ulong(1), byref(count))
        found = [one] if count.value else []
        while count.value:
            self.call("C_FindObjects", session, some, c_ulong(3), byref(count))
            found += [c_ulong(number) for number in some[: count.value]]
        self.call("C_FindObjectsFinal", session)
        return found

    def begin_search_for(self, session: Any, label: str) -> Any:
        rows = template((0x3, ctypes.create_string_buffer(label.encode(), len(label))))
        self.call("C_FindObjectsInit", session, rows, c_ulong(1))
        found, count = c_ulong(), c_ulong()
        self.call("C_FindObjects", session, byref(found), c_ulong(1), byref(count))
        return found if count.value else None

    def number(self, handle: Any) -> int:
        return int(handle.value)


# fmt: off
_NAMES: Final = (
    "C_Initialize", "C_Finalize", "C_GetInfo", "C_GetFunctionList", "C_GetSlotList",
    "C_GetSlotInfo", "C_GetTokenInfo", "C_GetMechanismList", "C_GetMechanismInfo", "C_InitToken",
    "C_InitPIN", "C_SetPIN", "C_OpenSession", "C_CloseSession", "C_CloseAllSessions",
    "C_GetSessionInfo", "C_GetOperationState", "C_SetOperationState", "C_Login", "C_Logout",
    "C_CreateObject", "C_CopyObject", "C_DestroyObject", "C_GetObjectSize",
    "C_GetAttributeValue", "C_SetAttributeValue", "C_FindObjectsInit", "C_FindObjects",
    "C_FindObjectsFinal", "C_EncryptInit", "C_Encrypt", "C_EncryptUpdate", "C_EncryptFinal",
    "C_DecryptInit", "C_Decrypt", "C_DecryptUpdate", "C_DecryptFinal", "C_DigestInit",
    "C_Digest", "C_DigestUpdate", "C_DigestKey", "C_DigestFinal", "C_SignInit", "C_Sign",
    "C_SignUpdate", "C_SignFinal", "C_SignRecoverInit", "C_SignRecover", "C_VerifyInit",
    "C_Verify", "C_VerifyUpdate", "C_VerifyFinal", "C_VerifyRecoverInit", "C_VerifyRecover",
    "C_DigestEncryptUpdate", "C_DecryptDigestUpdate", "C_SignEncryptUpdate",
    "C_DecryptVerifyUpdate", "C_GenerateKey", "C_GenerateKeyPair", "C_WrapKey", "C_UnwrapKey",
    "C_DeriveKey", "C_SeedRandom", "C_GenerateRandom",
)
# fmt: on


def function_list() -> type[ctypes.Structure]:
    """Return a new CK_FUNCTION_LIST class, as every program declares its own."""
    function = ctypes.CFUNCTYPE(c_ulong)
    return type(
        "CK_FUNCTION_LIST",
        (ctypes.Structure,),
        {"_fields_": [("version", c_ubyte * 2), *((name, function) for name in _NAMES)]},
    )


class Listed(Exports):
    """The table of functions that C_GetFunctionList hands out, through ctypes."""

    def load(self, module: str) -> None:
        self.fetch(module)
        self.initialize()

    def fetch(self, module: str) -> None:
        """C_GetFunctionList."""
        library = ctypes.CDLL(module)
        table = POINTER(function_list())()
        if library.C_GetFunctionList(byref(table)):
            raise Refused("C_GetFunctionList")
        self.lib = table.contents


# --- PyKCS11 ----------------------------------------------------------------------------------


class PyKCS11Client:
    """PyKCS11."""

    binding = "PyKCS11"
    lacks: Mapping[str, str] = {
        "lost": "the program itself has the Session object whose login fails",
        "copy": "no C_CopyObject",
        "threads": "PyKCS11 holds the GIL during every call",
    }

    def __init__(self) -> None:
        import PyKCS11

        self.api = PyKCS11

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except self.api.PyKCS11Error as error:
            raise Refused(f"{error.value:#x}") from error

    def load(self, module: str) -> None:
        self.lib = self.api.PyKCS11Lib()
        self._call(self.lib.load, module)

    def unload(self) -> None:
        self._call(self.lib.unload)

    def finalize(self) -> None:
        self._raw("C_Finalize")

    def initialize(self) -> None:
        self._raw("C_Initialize")

    def _raw(self, name: str, *arguments: Any) -> None:
        result = getattr(self.lib.lib, name)(*arguments)
        if result:
            raise Refused(f"{result:#x}")

    def slots(self) -> Any:
        return list(self._call(self.lib.getSlotList, True))

    def open(self, pin: str | None = None) -> Any:
        session = self._call(self.lib.openSession, self.slots()[0], self.api.CKF_RW_SESSION)
        if pin is not None:
            self.login(session, pin)
        return session

    def login(self, session: Any, pin: str) -> None:
        self._call(session.login, pin)

    def close(self, session: Any) -> None:
        self._call(session.closeSession)

    def close_all(self) -> None:
        self._call(self.lib.closeAllSessions, self.slots()[0])

    def logout(self, session: Any) -> None:
        self._call(session.logout)

    def use(self, session: Any) -> None:
        self._call(session.getSessionInfo)

    def slow(self, session: Any) -> None:
        self._call(session.generateRandom, 1 << 22)

    def gen_key(self, session: Any, *, token: bool = False, private: bool = True) -> Any:
        api = self.api
        rows = [
            (api.CKA_CLASS, api.CKO_SECRET_KEY),
            (api.CKA_KEY_TYPE, api.CKK_AES),
            (api.CKA_VALUE_LEN, 16),
            (api.CKA_TOKEN, token),
            (api.CKA_PRIVATE, private),
            (api.CKA_ENCRYPT, True),
        ]
        return self._call(session.generateKey, rows, api.MechanismAESGENERATEKEY)

    def create(self, session: Any, label: str, *, token: bool, private: bool) -> Any:
        api = self.api
        rows = [
            (api.CKA_CLASS, api.CKO_SECRET_KEY),
            (api.CKA_KEY_TYPE, api.CKK_AES),
            (api.CKA_VALUE, VALUE),
            (api.CKA_LABEL, label),
            (api.CKA_TOKEN, token),
            (api.CKA_PRIVATE, private),
            (api.CKA_ENCRYPT, True),
        ]
        return self._call(session.createObject, rows)

    def copy(self, session: Any, key: Any, label: str) -> Any:
        raise NotImplementedError

    def use_key(self, session: Any, key: Any) -> None:
        if self._call(session.getAttributeValue, key, [self.api.CKA_TOKEN]) == [None]:
            raise Refused("CKA_TOKEN")

    def encrypt(self, session: Any, key: Any) -> bytes:
        mechanism = self.api.Mechanism(self.api.CKM_AES_ECB)
        return bytes(self._call(session.encrypt, key, b"0123456789abcdef", mechanism))

    def destroy(self, session: Any, key: Any) -> None:
        self._call(session.destroyObject, key)

    def begin(self, session: Any, key: Any) -> Any:
        mechanism = self.api.Mechanism(self.api.CKM_AES_ECB)
        self._call(session.encryptInit, mechanism, key)
        return key

    def finish(self, session: Any, operation: Any) -> None:
        self._call(session.encryptFinal)

    def begin_search(self, session: Any) -> Any:
        low = self.api.LowLevel
        self._raw("C_FindObjectsInit", session.session, low.ckattrlist(0))
        found = low.ckulonglist(1)
        self._raw("C_FindObjects", session.session, found)
        return found

    def find(self, session: Any) -> list[Any]:
        return list(self._call(session.findObjects))

    def begin_search_for(self, session: Any, label: str) -> Any:
        low = self.api.LowLevel
        rows = session._template2ckattrlist([(self.api.CKA_LABEL, label)])
        self._raw("C_FindObjectsInit", session.session, rows)
        found = low.ckulonglist(1)
        self._raw("C_FindObjects", session.session, found)
        if not len(found):
            return None
        key = low.CK_OBJECT_HANDLE()
        key.assign(found[0])
        return key

    def number(self, handle: Any) -> int:
        return int((handle if hasattr(handle, "value") else handle.session).value())


# --- python-pkcs11 ----------------------------------------------------------------------------


class PythonPkcs11Client:
    """python-pkcs11."""

    binding = "python-pkcs11"
    lacks: Mapping[str, str] = {
        "logout": "no logout but that of a session opened with a PIN, when it is closed",
        "close all": "no C_CloseAllSessions",
        "login": "no login but that of a session that is opened with a PIN",
        "kept": "a traceback keeps the Session object, and what opens others through it",
    }

    def __init__(self) -> None:
        import pkcs11

        self.api = pkcs11

    def _call(self, function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
        try:
            return function(*arguments, **keywords)
        except self.api.PKCS11Error as error:
            raise Refused(type(error).__name__) from error

    def load(self, module: str) -> None:
        self.file = module
        self.lib = self._call(self.api.lib, module)
        self.token = self._call(self.lib.get_token, token_label=LABEL)

    def unload(self) -> None:
        self._call(self.api.unload, self.file)

    def finalize(self) -> None:
        self._call(self.lib.finalize)

    def initialize(self) -> None:
        self._call(self.lib.initialize)

    def slots(self) -> Any:
        return self._call(self.lib.get_slots)

    def open(self, pin: str | None = None) -> Any:
        return self._call(self.token.open, rw=True, user_pin=pin)

    def login(self, session: Any, pin: str) -> None:
        raise NotImplementedError

    def close(self, session: Any) -> None:
        self._call(session.close)

    def close_all(self) -> None:
        raise NotImplementedError

    def logout(self, session: Any) -> None:
        raise NotImplementedError

    def use(self, session: Any) -> None:
        self._call(session.generate_random, 64)

    def slow(self, session: Any) -> None:
        self._call(session.generate_random, 1 << 28)

    def gen_key(self, session: Any, *, token: bool = False, private: bool = True) -> Any:
        rows = {self.api.Attribute.PRIVATE: private}
        return self._call(
            session.generate_key, self.api.KeyType.AES, 128, store=token, template=rows
        )

    def create(self, session: Any, label: str, *, token: bool, private: bool) -> Any:
        api = self.api
        rows = {
            api.Attribute.CLASS: api.ObjectClass.SECRET_KEY,
            api.Attribute.KEY_TYPE: api.KeyType.AES,
            api.Attribute.VALUE: VALUE,
            api.Attribute.LABEL: label,
            api.Attribute.TOKEN: token,
            api.Attribute.PRIVATE: private,
            api.Attribute.ENCRYPT: True,
        }
        return self._call(session.create_object, rows)

    def copy(self, session: Any, key: Any, label: str) -> Any:
        return self._call(key.copy, {self.api.Attribute.LABEL: label})

    def use_key(self, session: Any, key: Any) -> None:
        self._call(lambda: key[self.api.Attribute.TOKEN])

    def encrypt(self, session: Any, key: Any) -> bytes:
        mechanism = self.api.Mechanism.AES_ECB
        return bytes(self._call(key.encrypt, b"0123456789abcdef", mechanism=mechanism))

    def destroy(self, session: Any, key: Any) -> None:
        self._call(key.destroy)

    def begin(self, session: Any, key: Any) -> Any:
        chunks = [b"0123456789abcdef"] * 2
        operation = key.encrypt(chunks, mechanism=self.api.Mechanism.AES_ECB)
        self._call(next, operation)
        return operation

    def finish(self, session: Any, operation: Any) -> None:
        self._call(list, operation)

    def begin_search(self, session: Any) -> Any:
        found = session.get_objects(batch_size=1)
        self._call(next, found)
        return found

    def find(self, session: Any) -> list[Any]:
        return list(self._call(list, session.get_objects()))

    def begin_search_for(self, session: Any, label: str) -> Any:
        found = session.get_objects({self.api.Attribute.LABEL: label}, batch_size=1)
        self.searches = [*getattr(self, "searches", ()), found]  # its own end would end the search
        return self._call(next, found, None)

    def number(self, handle: Any) -> int:
        return int(handle.handle)


BINDINGS: Final[dict[str, tuple[str, type[Any]]]] = {
    "ctypes exports": ("", Exports),
    "ctypes function list": ("", Listed),
    "PyKCS11": ("PyKCS11", PyKCS11Client),
    "python-pkcs11": ("pkcs11", PythonPkcs11Client),
}
"""Name → the package that it needs, and the client."""


def say(*words: object) -> None:
    """Write a line that is compared between runs."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")


# --- stories for a process of its own -------------------------------------------------------------


def crash(client: Client, what: str, pin: str) -> None:
    """Do what crashes a process, or reaches somebody else's session; see `CRASHES`."""
    session = client.open(pin)
    key = client.gen_key(session)
    search = client.begin_search(session)
    client.unload()
    match what:
        case "use":
            client.use(session)
        case "key":
            client.use_key(session, key)
        case "encrypt":
            client.encrypt(session, key)
        case "close":
            client.close(session)
        case "slots":
            client.slots()
        case "open":
            client.open()
        case "initialize":
            client.initialize()
        case "search":
            client.finish(session, search)
        case "collect":
            del search
            gc.collect()
            client.slots()
        case _:
            raise SystemExit(what)


CRASHES: Final = ("use", "key", "encrypt", "close", "slots", "open", "initialize", "collect")


def ordinary(client: Client, pin: str) -> None:
    """Do a bit of everything, correctly or nearly so, and say what came of it."""
    session = client.open(pin)
    say("session", client.number(session))
    key = client.gen_key(session)
    stored = client.gen_key(session, token=True)
    client.use(session)
    client.use_key(session, key)
    say(len(client.encrypt(session, key)))
    say("objects", len(client.find(session)))
    other = client.open()
    client.destroy(other, stored)
    for attempt in (lambda: client.use_key(session, stored), lambda: client.open("00000000")):
        try:
            attempt()
        except Exception as error:  # noqa: BLE001 - what is raised is what is compared
            say(type(error).__name__, error)
    operation = client.begin(session, key)
    client.finish(session, operation)
    client.close(other)
    leaked = client.open()
    client.close(session)
    try:
        client.close(session)
    except Exception as error:  # noqa: BLE001 - as above
        say(type(error).__name__, error)
    say("leaked", client.number(leaked))


def main() -> None:
    """Play a story."""
    binding, module, story, pin, traced, *more = sys.argv[1:]
    tracer: Any = None
    if traced != "0":
        import csptrace

        tracer = csptrace.start(on_misuse=traced, strict=True)
    client = BINDINGS[binding][1]()
    client.load(module)
    if story == "ordinary":
        ordinary(client, pin)
    elif story == "crash":
        crash(client, more[0], pin)
    if tracer is not None:
        live = [h.value for h in tracer.live() if h.kind == "CK_SESSION_HANDLE"]
        lost = sum(f.code.value == "lost" for f in tracer.check())
        sys.stderr.write(f"open sessions: {sorted(live)} and {lost} lost\n")


if __name__ == "__main__":
    main()
