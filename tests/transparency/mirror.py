"""Looks at objects as a program may, and prints what it sees: run with and without the tracer.

    python mirror.py MODE SUBJECT...

MODE says what becomes of the tracer: `off` (none), `on` (traced), `stopped` (the objects are from
a traced time that is over), `again` (from a traced time before this one).
"""

from __future__ import annotations

import contextlib
import copy
import copyreg
import ctypes
import functools
import inspect
import json
import multiprocessing.reduction
import os
import pickle
import re
import sys
import types
import typing
import weakref
from typing import TYPE_CHECKING, Any

import csptrace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MODES = ("off", "on", "stopped", "again")
CRYPT_VERIFYCONTEXT = 0xF0000000


# --- what is looked at ----------------------------------------------------------------------------


def _win32crypt() -> Any:
    if os.name == "nt":
        import pywintypes
        import win32crypt

        return win32crypt if pywintypes else None
    from csptrace.softcsp import win32crypt as soft

    return soft


def _context() -> Any:
    return _win32crypt().CryptAcquireContext(None, None, 24, CRYPT_VERIFYCONTEXT)


def _advapi32() -> Any:
    if os.name == "nt":
        return ctypes.WinDLL("advapi32")
    from csptrace.softcsp import advapi32

    return advapi32


@functools.cache
def _cffi() -> Any:
    import cffi

    ffi = cffi.FFI()
    if os.name == "nt":
        ffi.cdef("int CryptGenKey(size_t, unsigned int, unsigned int, size_t *);")
        return ffi.dlopen("advapi32")
    ffi.cdef(os.environ["MIRROR_DECLARATIONS"])
    return ffi.dlopen(os.environ["MIRROR_LIBRARY"])


def _compiled() -> Any:
    sys.path.insert(0, os.environ["MIRROR_COMPILED"])
    import mirror_compiled

    library = mirror_compiled.lib
    return csptrace.trace_library(library, "cryptoapi")


@functools.cache
def _c_library() -> Any:
    return ctypes.CDLL(os.environ["MIRROR_LIBRARY"])


def _pkcs11() -> Any:
    import pkcs11
    import pkcs11._pkcs11

    return pkcs11


@functools.cache
def _token_session() -> Any:
    token = _pkcs11().lib(os.environ["MIRROR_PKCS11"]).get_token(token_label="csptrace tests")
    return token.open(rw=True, user_pin=os.environ["MIRROR_PIN"])


@functools.cache
def _token_key() -> Any:
    return _token_session().generate_key(_pkcs11().KeyType.AES, 128)


def _PyKCS11() -> Any:
    import PyKCS11

    return PyKCS11


@functools.cache
def _PyKCS11_library() -> Any:
    library = _PyKCS11().PyKCS11Lib()
    library.load(os.environ["MIRROR_PKCS11"])
    return library


@functools.cache
def _PyKCS11_session() -> Any:
    library = _PyKCS11_library()
    session = library.openSession(
        library.getSlotList(tokenPresent=True)[0], _PyKCS11().CKF_RW_SESSION
    )
    session.login(os.environ["MIRROR_PIN"])
    return session


SUBJECTS: dict[str, Callable[[], Any]] = {
    "win32crypt function": lambda: _win32crypt().CryptAcquireContext,
    "win32crypt function without handles": lambda: _win32crypt().CryptEnumProviders,
    "partial of a win32crypt function": lambda: functools.partial(
        _win32crypt().CryptAcquireContext, None
    ),
    "context": _context,
    "key": lambda: _context().CryptGenKey(0x660E, 0),
    "hash": lambda: _context().CryptCreateHash(0x800C),
    "method of a context": lambda: _context().CryptGenKey,
    "softcsp ctypes function": lambda: _advapi32().CryptGenKey,
    "ctypes function": lambda: (_advapi32() if os.name == "nt" else _c_library()).CryptGenKey,
    "ctypes library": lambda: _advapi32() if os.name == "nt" else _c_library(),
    "cffi function": lambda: _cffi().CryptGenKey,
    "cffi library": _cffi,
    "compiled cffi function": lambda: _compiled().CryptGenKey,
    "compiled cffi library": _compiled,
    "pkcs11.lib": lambda: _pkcs11()._pkcs11.lib,
    "pkcs11 library": lambda: _pkcs11().lib(os.environ["MIRROR_PKCS11"]),
    "pkcs11 session": _token_session,
    "pkcs11 key": _token_key,
    "pkcs11 class": lambda: _pkcs11()._pkcs11.SecretKey,
    "pkcs11 method": lambda: _pkcs11()._pkcs11.SecretKey.destroy,
    # Neither its libraries nor its sessions: a copy of one unloads the original when it goes.
    "PyKCS11 class": lambda: _PyKCS11().LowLevel.CPKCS11Lib,
    "PyKCS11 method": lambda: _PyKCS11().LowLevel.CPKCS11Lib.Load,
    "PyKCS11 box": lambda: _PyKCS11_session().generateKey(
        [
            (_PyKCS11().CKA_CLASS, _PyKCS11().CKO_SECRET_KEY),
            (_PyKCS11().CKA_KEY_TYPE, _PyKCS11().CKK_AES),
            (_PyKCS11().CKA_VALUE_LEN, 16),
        ],
        _PyKCS11().MechanismAESGENERATEKEY,
    ),
}


# --- how it is looked at --------------------------------------------------------------------------


def _loaded(dumps: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    def look(subject: Any, fresh: Any) -> Any:
        found = pickle.loads(bytes(dumps(subject)))
        return "what the program finds" if found is fresh else found

    return look


def _on_the_type(job: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda subject, _: job(type(subject))


def _set_on_type(cls: Any) -> str:
    cls.csptrace_mirror = 1
    found = cls.csptrace_mirror
    del cls.csptrace_mirror
    return f"set {found}, then {hasattr(cls, 'csptrace_mirror')}"


def _plain_type(subject: Any) -> Any:
    """Return the type as it is found under its name."""
    cls = type(subject)
    return functools.reduce(getattr, cls.__qualname__.split("."), sys.modules[cls.__module__])


class _Outer:
    """A proxy of the program's."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    @property
    def __class__(self) -> Any:
        return self.inner.__class__


def _registered(subject: Any, fresh: Any) -> Any:
    """Pickle with a reducer that the program has registered for the plain object's class."""
    cls = subject.__class__
    before = copyreg.dispatch_table.get(cls)
    copyreg.pickle(cls, lambda one: (complex, (1, len(type(one).__name__))))
    try:
        return look("pickle 2", subject, fresh), copy.copy(subject)
    finally:
        del copyreg.dispatch_table[cls]
        if before is not None:
            copyreg.dispatch_table[cls] = before


def _by_name(subject: Any, fresh: Any) -> str:
    """Look a subject up as pickling by reference does outside of the standard library."""
    module = pickle.whichmodule(subject, subject.__qualname__)
    found = sys.modules[module]
    for part in subject.__qualname__.split("."):
        found = getattr(found, part)
    return f"{module}: {found is fresh}"


LOOKS: dict[str, Callable[[Any, Any], Any]] = {
    "copy": lambda subject, _: copy.copy(subject),
    "deepcopy": lambda subject, _: copy.deepcopy(subject),
    "deepcopy in a configuration": lambda subject, _: copy.deepcopy({"call": [subject]})["call"][0],
    **{
        f"pickle {protocol}": _loaded(functools.partial(pickle.dumps, protocol=protocol))
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    },
    "pickled": lambda subject, _: pickle.dumps(subject, 2),
    "pickle in Python": _loaded(pickle._dumps),  # type: ignore[attr-defined]
    "pickle for multiprocessing": _loaded(multiprocessing.reduction.ForkingPickler.dumps),
    "pickle by a registered reducer": _registered,
    "by name": _by_name,
    "__reduce__": lambda subject, _: subject.__reduce__(),
    "__reduce_ex__": lambda subject, _: subject.__reduce_ex__(2),
    "__getstate__": lambda subject, _: sorted(map(str, subject.__getstate__() or ())),
    "names": lambda subject, _: [
        getattr(subject, each, None) for each in ("__module__", "__name__", "__qualname__")
    ],
    "repr": lambda subject, _: repr(subject),
    "hash": lambda subject, _: hash(subject) == hash(subject),
    "equal": lambda subject, _: (subject == subject, subject != subject, subject == 1),  # noqa: PLR0124
    "annotations": lambda subject, _: (
        getattr(subject, "__annotations__", None),
        getattr(subject, "__annotate__", None) is None,
    ),
    "type annotations": _on_the_type(lambda cls: getattr(cls, "__annotations__", None)),
    "type hints": lambda subject, _: typing.get_type_hints(subject),
    "type hints of its type": _on_the_type(typing.get_type_hints),
    "signature": lambda subject, _: str(inspect.signature(subject)),
    "vars": lambda subject, _: sorted(vars(subject)),
    "weak reference": lambda subject, _: weakref.ref(subject)() is subject,
    "class": lambda subject, _: subject.__class__,
    "isinstance of its class": lambda subject, _: isinstance(subject, subject.__class__),
    "isinstance of its type": lambda subject, fresh: isinstance(fresh, type(subject)),
    "isinstance through a proxy": lambda subject, _: isinstance(_Outer(subject), type(subject)),
    "isinstance of another": _on_the_type(lambda cls: isinstance(1, cls)),
    "subclass of its type": lambda subject, fresh: issubclass(type(fresh), type(subject)),
    "subclass of another": _on_the_type(lambda cls: issubclass(int, cls)),
    "derived from its maker": lambda subject, _: (
        [
            isinstance(subject, _pkcs11()._pkcs11.lib),
            issubclass(type(subject), _pkcs11()._pkcs11.lib),
            issubclass(int, _pkcs11()._pkcs11.lib),
        ]
        if "MIRROR_PKCS11" in os.environ
        else None
    ),
    "type names": _on_the_type(lambda cls: (cls.__module__, cls.__name__, cls.__qualname__)),
    "type shown": _on_the_type(repr),
    "type documented": _on_the_type(lambda cls: cls.__doc__),
    "type set": _on_the_type(_set_on_type),
    "type called": _on_the_type(lambda cls: cls()),
    "type pickled": lambda subject, _: (
        pickle.loads(pickle.dumps(type(subject))) is _plain_type(subject)
    ),
    "kinds": lambda subject, _: [
        isinstance(subject, each)
        for each in (types.FunctionType, types.BuiltinFunctionType, types.MethodType, type)
    ],
    "callable": lambda subject, _: (callable(subject), inspect.isroutine(subject)),
}


def _scrubbed(value: object) -> str:
    """Write something without addresses."""
    return re.sub(r"\b(0x[0-9a-fA-F]+|[0-9a-f]{6,})\b", "0x…", str(value))


def _said(value: Any, subject: Any) -> Any:
    """Describe what was seen, without what differs from run to run."""
    if value is subject:
        return "itself"
    if isinstance(value, tuple | list):
        return [_said(each, subject) for each in value]
    if isinstance(value, str | int | bytes | bool | type | types.NoneType | complex):
        return _scrubbed(value)
    return f"a {type(value).__module__}.{type(value).__qualname__}"


def look(name: str, subject: Any, fresh: Any) -> Any:
    """Look in one way; an exception is something seen, too."""
    try:
        return _said(LOOKS[name](subject, fresh), subject)
    except Exception as error:  # noqa: BLE001 - what it is, is what matters
        return f"{type(error).__module__}.{type(error).__qualname__}: {_scrubbed(error)}"


@contextlib.contextmanager
def _traced(wanted: bool) -> Iterator[None]:
    if not wanted:
        yield
        return
    library = os.environ.get("MIRROR_LIBRARY")
    settings = {"libraries": [library]} if library else {}
    csptrace.start(quiet=True, strict=True, on_misuse="log", **settings)
    try:
        yield
    finally:
        csptrace.stop()


def main(mode: str, names: list[str]) -> dict[str, dict[str, Any]]:
    """Look at subjects.

    Args:
        mode: one of `MODES`.
        names: which subjects.

    Returns:
        What was seen, by subject and look.
    """
    seen: dict[str, dict[str, Any]] = {}
    with contextlib.ExitStack() as stack:
        stack.enter_context(_traced(mode != "off"))
        subjects = {name: SUBJECTS[name]() for name in names}
        if mode in ("stopped", "again"):
            stack.close()
            stack.enter_context(_traced(mode == "again"))
        for name, subject in subjects.items():
            fresh = SUBJECTS[name]()
            seen[name] = {each: look(each, subject, fresh) for each in LOOKS}
        subjects.clear()
    return seen


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1], sys.argv[2:])))
