"""Looks at objects as a program may, and prints what it sees: run with and without the tracer.

    python mirror.py MODE SUBJECT...

MODE says what becomes of the tracer: `off` (none), `on` (traced), `stopped` (the objects are from
a traced time that is over), `again` (from a traced time before this one).
"""

from __future__ import annotations

import abc
import collections.abc
import contextlib
import copy
import copyreg
import ctypes
import dataclasses
import functools
import inspect
import json
import multiprocessing.reduction
import numbers
import operator
import os
import pickle
import pydoc
import re
import sys
import types
import typing
import unittest.mock
import weakref
from typing import TYPE_CHECKING, Any

import wrapt

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
    module = subject.__module__ or pickle.whichmodule(subject, subject.__qualname__)
    found = sys.modules[module]
    for part in subject.__qualname__.split("."):
        found = getattr(found, part)
    return f"{module}: {found is fresh}"


def _mocked(make: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    """Look at a stand-in of unittest.mock, which has what the original has and refuses the rest."""

    def look(subject: Any, _: Any) -> Any:
        mock = make(subject)
        refusals = []
        for attempt in (lambda: mock.csptrace_mirror, lambda: mock(1, 2, 3, 4, 5, 6, 7, 8, 9)):
            try:
                refusals.append(type(attempt()).__name__)
            except Exception as error:  # noqa: BLE001 - what it is, is what matters
                refusals.append(f"{type(error).__name__}: {error}")
        return [isinstance(mock, type(subject)), mock.__class__, refusals]

    return look


def _dispatched(subject: Any, fresh: Any) -> Any:
    """Register the type, and let it be found for objects of it."""

    @functools.singledispatch
    def kind(_: object) -> str:
        return "something"

    kind.register(type(subject), lambda _: "registered")
    return [kind(subject), kind(fresh), kind(1), kind.dispatch(subject.__class__)(subject)]


def _abstract(subject: Any, fresh: Any) -> Any:
    """Register the type as one of an abstract class."""

    class Abstract(abc.ABC):  # noqa: B024 - for its registry
        pass

    Abstract.register(type(subject))
    return [
        isinstance(subject, Abstract),
        isinstance(fresh, Abstract),
        issubclass(type(subject), Abstract),
        issubclass(subject.__class__, Abstract),
        isinstance(1, Abstract),
    ]


def _typed(subject: Any, fresh: Any) -> Any:
    """Use the type where types are written."""
    cls = type(subject)
    wanted = cls | None
    return [
        isinstance(fresh, wanted),
        isinstance(1, wanted),
        str(wanted),
        str(list[cls]),  # type: ignore[valid-type]
        str(typing.Optional[cls]),  # noqa: UP045 - programs do
        typing.get_args(dict[str, cls])[1] == subject.__class__,  # type: ignore[valid-type]
    ]


def _matched(subject: Any, fresh: Any) -> Any:
    cls = type(subject)
    match fresh:
        case cls():
            return "matched"
    return "not matched"


def _as_data(subject: Any, _: Any) -> Any:
    """Keep it in a data class, which copies what it is turned into."""

    @dataclasses.dataclass
    class Kept:
        it: Any

    kept = Kept(subject)
    return [
        kept == Kept(subject),
        dataclasses.replace(kept).it is subject,
        dataclasses.asdict(kept)["it"],
    ]


def _derived(cls: Any) -> Any:
    derived = type("Derived", (cls,), {})
    return [derived.__mro__[1].__name__, issubclass(derived, cls)]


def _class_set(subject: Any, _: Any) -> Any:
    before = subject.__class__
    try:
        subject.__class__ = int
    finally:
        with contextlib.suppress(TypeError):
            subject.__class__ = before
    return subject.__class__


def _attribute_set(subject: Any, fresh: Any) -> Any:
    subject.csptrace_mirror = 1
    found = subject.csptrace_mirror
    del subject.csptrace_mirror
    return [found, hasattr(subject, "csptrace_mirror")]


def _wrapped(subject: Any, _: Any) -> Any:
    @functools.wraps(subject)
    def wrapping() -> None: ...

    names = ("__module__", "__name__", "__qualname__", "__doc__")
    return [*(getattr(wrapping, each) for each in names), wrapping.__wrapped__ is subject]


def _through_wrapt(subject: Any, fresh: Any) -> Any:
    outer = wrapt.ObjectProxy(subject)
    return [
        isinstance(outer, type(subject)),
        isinstance(outer, subject.__class__),
        isinstance(outer, type(fresh)),
        repr(outer.__wrapped__) == repr(subject),
        outer == subject,
        subject == outer,
        hash(outer) == hash(subject),
    ]


def _operators(subject: Any, _: Any) -> Any:
    """Try operators, most of which are not there; the words of a refusal may turn them round."""
    two = (
        *(operator.add, operator.sub, operator.mul, operator.or_, operator.and_, operator.lt),
        *(operator.getitem, operator.contains, operator.matmul, operator.floordiv, divmod, pow),
    )
    one = (
        *(len, iter, next, reversed, operator.neg, operator.pos, operator.invert, abs, round),
        *(
            operator.index,
            int,
            float,
            complex,
            bytes,
            bool,
            format,
            contextlib.ExitStack().enter_context,
        ),
    )
    attempts: list[Callable[[], Any]] = [functools.partial(each, subject) for each in one]
    for each in two:
        attempts += [functools.partial(each, subject, "x"), functools.partial(each, "x", subject)]
    attempts += [
        lambda: subject.csptrace_mirror,
        lambda: delattr(subject, "csptrace_mirror"),
        lambda: subject.__dict__ is None,
        lambda: format(subject, ">80"),
    ]
    return [_refusal(each).partition(":")[0] for each in attempts]


def _refusal(attempt: Callable[[], Any]) -> str:
    """Say what sort of thing comes out, or which exception, in its words."""
    try:
        return type(attempt()).__name__
    except Exception as error:  # noqa: BLE001 - what it is, is what matters
        return f"{type(error).__name__}: {_scrubbed(error)}"


def _called_wrongly(subject: Any, _: Any) -> Any:
    return [
        _refusal(lambda: subject(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13)),
        _refusal(lambda: subject(csptrace_mirror=1)),
    ]


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
    "mock with spec": _mocked(lambda subject: unittest.mock.Mock(spec=subject)),
    "mock with spec_set": _mocked(lambda subject: unittest.mock.MagicMock(spec_set=subject)),
    "mock with its type": _mocked(
        lambda subject: unittest.mock.NonCallableMock(spec=type(subject))
    ),
    "autospec": _mocked(unittest.mock.create_autospec),
    "autospec of its type": _mocked(
        lambda subject: unittest.mock.create_autospec(type(subject), instance=True)
    ),
    "singledispatch": _dispatched,
    "abstract class": _abstract,
    "in types": _typed,
    "matched": _matched,
    "in a data class": _as_data,
    "type derived": _on_the_type(_derived),
    "type called with an argument": _on_the_type(lambda cls: cls(1)),
    "type called with a name": _on_the_type(lambda cls: cls(name=1)),
    "type's new": _on_the_type(lambda cls: cls.__new__(cls)),
    "type of its type": _on_the_type(
        lambda cls: [isinstance(cls, type), callable(cls), inspect.isclass(cls)]
    ),
    "order of its type": _on_the_type(lambda cls: [each.__name__ for each in cls.__mro__]),
    "bases of its type": _on_the_type(lambda cls: [each.__name__ for each in cls.__bases__]),
    "order of its class": lambda subject, _: [each.__name__ for each in subject.__class__.__mro__],
    "type compared": lambda subject, fresh: [
        type(subject) == type(fresh),  # noqa: E721 - as programs do
        type(subject) is type(fresh),
        len({type(subject), type(fresh)}),
    ],
    "type as a key": lambda subject, fresh: {type(subject): 1, subject.__class__: 2}.get(
        type(fresh)
    ),
    "type's attributes": _on_the_type(lambda cls: sorted(dir(cls))),
    "type's own attributes": _on_the_type(lambda cls: sorted(vars(cls))),
    "type's size": _on_the_type(
        lambda cls: [
            cls.__basicsize__,
            cls.__itemsize__,
            cls.__flags__ & (1 << 8 | 1 << 9 | 1 << 10),
        ]
    ),
    "type's deletion": _on_the_type(lambda cls: delattr(cls, "csptrace_mirror")),
    "type's signature": _on_the_type(lambda cls: str(inspect.signature(cls))),
    "class set": _class_set,
    "attribute set": _attribute_set,
    "wraps": _wrapped,
    "partial": lambda subject, _: repr(functools.partial(subject)),
    "documented": lambda subject, _: [subject.__doc__, inspect.getdoc(subject)],
    "help": lambda subject, _: pydoc.plain(pydoc.render_doc(subject)),
    "getmodule": lambda subject, _: inspect.getmodule(subject),
    "source": lambda subject, _: inspect.getsource(subject),
    "members": lambda subject, _: sorted(name for name, _ in inspect.getmembers(subject)),
    "inspected": lambda subject, _: [
        name
        for name, test in inspect.getmembers(inspect, inspect.isfunction)
        if name.startswith("is") and name != "istraceback" and test(subject)
    ],
    "unwrapped": lambda subject, _: inspect.unwrap(subject) is subject,
    "attributes": lambda subject, _: sorted(dir(subject)),
    "size": lambda subject, _: sys.getsizeof(subject),
    "own attributes": lambda subject, _: sorted(subject.__dict__),
    "slots": lambda subject, _: getattr(subject, "__slots__", "none"),
    "as a key": lambda subject, fresh: [
        {subject: 1}[subject],
        subject in {subject, 1},
        {subject: 1, fresh: 2}[fresh],
        [fresh, subject].index(subject),
    ],
    "equal to another": lambda subject, fresh: [
        subject == fresh,
        hash(subject) == hash(fresh),
        fresh == subject,
        subject != fresh,
    ],
    "operators": _operators,
    "called wrongly": _called_wrongly,
    "str": lambda subject, _: [
        str(subject),
        f"{subject}",
        ascii(subject),
    ],
    "weak dictionaries": lambda subject, _: len(weakref.WeakKeyDictionary({subject: 1})),
    "through wrapt": _through_wrapt,
    "instance by issubclass": lambda subject, fresh: issubclass(subject.__class__, type(fresh)),
    "collections": lambda subject, _: [
        isinstance(subject, each)
        for each in (
            *(collections.abc.Callable, collections.abc.Hashable, collections.abc.Iterable),
            *(collections.abc.Sized, collections.abc.Awaitable, contextlib.AbstractContextManager),
            *(numbers.Number, os.PathLike),
        )
    ],
    "protocols": lambda subject, _: [
        isinstance(subject, each) for each in (typing.SupportsInt, typing.SupportsIndex)
    ],
    "special names": lambda subject, _: [
        hasattr(subject, each) for each in ("__enter__", "__len__", "__int__", "__call__")
    ],
    "json": lambda subject, _: json.dumps(subject),
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
