"""Handle objects of pywin32's shape: proxies that the program cannot tell from the objects."""

from __future__ import annotations

import collections
import copy
import gc
import operator
import pickle
import threading
import weakref
from typing import TYPE_CHECKING, Any

import pytest

import csptrace
from csptrace.findings.errors import UseAfterRelease

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from csptrace import Tracer

VERIFY = 0xF0000000
AES_128 = 0x660E
SHA1 = 0x8004
HMAC = 0x8009
EXPORTABLE = 1
PLAIN = 8


def outcome(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> tuple[Any, ...]:
    """Return what a call did: the type of its result, or its exception."""
    try:
        return ("returned", type(function(*arguments, **keywords)).__name__)
    except Exception as error:  # noqa: BLE001 - compared
        return ("raised", type(error), str(error))


def codes(tracer: Tracer) -> list[str]:
    """Return the codes of the findings so far."""
    return [finding.code.value for finding in tracer.check()]


def acquire(win32crypt: ModuleType) -> Any:
    """Acquire a context."""
    return win32crypt.CryptAcquireContext(None, None, 24, VERIFY)


# --- the proxies ----------------------------------------------------------------------------------


def test_proxy_looks_like_the_object(win32crypt: ModuleType, trace: Callable[..., Tracer]) -> None:
    """Type, text, equality, hash and attributes are the object's own."""
    plain = acquire(win32crypt)
    plain_key = plain.CryptGenKey(AES_128, 0)
    trace()
    prov = acquire(win32crypt)
    key = prov.CryptGenKey(AES_128, 0)
    raw = key.__wrapped__
    assert isinstance(prov, type(plain))
    assert isinstance(key, type(plain_key))
    assert not isinstance(key, type(plain))
    assert key.__class__ is type(raw)
    assert type(key).__name__ == "PyCRYPTKEY"
    assert (repr(key), str(key), f"{key}") == (repr(raw), str(raw), f"{raw}")
    assert key == key  # noqa: PLR0124 - what is tested
    assert key == raw
    assert raw == key
    assert key != plain_key
    assert key != prov
    assert hash(key) == hash(raw)
    assert {key: 1}[raw] == 1
    assert bool(key)
    assert dir(key) == dir(raw)
    assert raw.HCRYPTKEY == key.HCRYPTKEY
    assert key.CryptDestroyKey.__name__ == "CryptDestroyKey"
    assert prov.CryptGenKey.__qualname__ == "PyCRYPTPROV.CryptGenKey"


def test_parent_attribute_is_the_proxy(
    win32crypt: ModuleType, trace: Callable[..., Tracer]
) -> None:
    """`key.HCRYPTPROV` is the very object that the program acquired, also of a duplicate."""
    tracer = trace()
    prov = acquire(win32crypt)
    key = prov.CryptGenKey(AES_128, 0)
    twin = key.CryptDuplicateKey()
    assert key.HCRYPTPROV is prov
    assert twin.HCRYPTPROV is prov
    through = key.HCRYPTPROV.CryptGenKey(AES_128, 0)
    for one in (key, twin, through):
        one.CryptDestroyKey()
    key.HCRYPTPROV.CryptReleaseContext()
    assert codes(tracer) == []


ODD_USES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": pickle.dumps,
    "set attribute": lambda item: setattr(item, "mine", 1),
    "unknown attribute": lambda item: item.nothing,
    "call": lambda item: item(),
    "index": lambda item: item[0],
    "length": len,
    "iterate": iter,
    "int": int,
    "index value": operator.index,
    "add": lambda item: item + 1,
    "vars": vars,
    "new": lambda item: item.__class__(),
    "too few": lambda item: item.CryptGenKey(),
    "too many": lambda item: item.CryptGenKey(1, 2, 3, 4),
    "unknown keyword": lambda item: item.CryptGenKey(AES_128, Nothing=1),
    "wrong type of number": lambda item: item.CryptGenKey("x", 0),
    "wrong type of key": lambda item: item.CryptCreateHash(HMAC, 5),
    "wrong kind of object": lambda item: item.CryptCreateHash(HMAC, item),
    "text for a key": lambda item: item.CryptImportKey(b"blob", "key"),
    "refused": lambda item: item.CryptGetUserKey(1),
}


@pytest.mark.parametrize("use", list(ODD_USES))
def test_errors_are_the_objects_own(
    win32crypt: ModuleType, trace: Callable[..., Tracer], use: str
) -> None:
    """What fails on the object fails on the proxy, with the same exception and text."""
    plain = acquire(win32crypt)
    without = outcome(ODD_USES[use], plain)
    assert without[0] == "raised"
    trace()
    prov = acquire(win32crypt)
    assert outcome(ODD_USES[use], prov) == without


@pytest.mark.parametrize(
    "arguments",
    [(), (None,), (None, None, 24), (None, None, "x", 0), (5, None, 24, 0), (1, 2, 3, 4, 5)],
)
def test_errors_of_module_functions_are_their_own(
    win32crypt: ModuleType, trace: Callable[..., Tracer], arguments: Any
) -> None:
    """Wrong arguments of a module function raise what they raise without tracing."""
    without = outcome(win32crypt.CryptAcquireContext, *arguments)
    tracer = trace()
    assert outcome(win32crypt.CryptAcquireContext, *arguments) == without
    assert tracer.live() == ()


def test_module_functions_look_like_themselves(
    win32crypt: ModuleType, trace: Callable[..., Tracer]
) -> None:
    """A patched module function keeps its name, documentation and representation."""
    plain = win32crypt.CryptAcquireContext
    trace()
    function = win32crypt.CryptAcquireContext
    assert function is not plain
    assert (function.__name__, function.__doc__) == (plain.__name__, plain.__doc__)
    assert repr(function) == repr(plain)
    assert function == plain
    assert callable(function)


# --- proxies as arguments -------------------------------------------------------------------------


def test_proxies_are_unwrapped_as_arguments(
    win32crypt: ModuleType, trace: Callable[..., Tracer]
) -> None:
    """Positional and keyword arguments reach the object's method as objects."""
    tracer = trace()
    prov = acquire(win32crypt)
    key = prov.CryptGenKey(Algid=AES_128, Flags=EXPORTABLE)
    one = prov.CryptCreateHash(HMAC, key)
    two = prov.CryptCreateHash(Algid=HMAC, Key=key, Flags=0)
    three = prov.CryptCreateHash(SHA1)
    three.CryptHashSessionKey(key)
    three.CryptHashSessionKey(Key=key)
    assert key.CryptEncrypt(Final=0, Data=b"", Hash=three) == b""
    assert [unreleased.kind for unreleased in tracer.live()] == [
        "HCRYPTPROV",
        "HCRYPTKEY",
        "HCRYPTHASH",
        "HCRYPTHASH",
        "HCRYPTHASH",
    ]
    for made in (one, two, three):
        made.CryptDestroyHash()
    key.CryptDestroyKey()
    prov.CryptReleaseContext(Flags=0)
    assert codes(tracer) == []


class Named(tuple[Any, ...]):
    """A tuple type of the program."""

    __slots__ = ()


@pytest.mark.parametrize(
    "wrap",
    [
        lambda item: {"CryptProv": item},
        lambda item: [item],
        lambda item: (item,),
        lambda item: {"a": [({"b": item},)]},
        lambda item: collections.OrderedDict(a=item),
        lambda item: collections.defaultdict(list, a=item),
        lambda item: collections.namedtuple("Row", "one two")(1, item),  # noqa: PYI024
        lambda item: Named([item]),
    ],
)
def test_proxies_are_unwrapped_in_containers(
    win32crypt: ModuleType,
    trace: Callable[..., Tracer],
    monkeypatch: pytest.MonkeyPatch,
    wrap: Callable[[Any], Any],
) -> None:
    """A handle inside dicts, lists and tuples, at any depth, reaches the function as an object."""
    seen: list[Any] = []
    monkeypatch.setattr(win32crypt, "CryptSignMessage", seen.append, raising=False)
    trace()
    prov = acquire(win32crypt)
    given = wrap(prov)
    before = repr(given)
    win32crypt.CryptSignMessage(given)
    assert all(type(leaf) is not type(prov) for leaf in _leaves(seen[0]))
    assert any(leaf is prov.__wrapped__ for leaf in _leaves(seen[0]))
    assert repr(given) == before
    assert any(leaf is prov for leaf in _leaves(given))


def _leaves(item: Any) -> list[Any]:
    if isinstance(item, dict):
        return [leaf for value in item.values() for leaf in _leaves(value)]
    if isinstance(item, list | tuple):
        return [leaf for value in item for leaf in _leaves(value)]
    return [item]


def test_other_arguments_are_passed_on_by_identity(
    win32crypt: ModuleType, trace: Callable[..., Tracer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Containers without a handle are not copied."""
    seen: list[Any] = []
    monkeypatch.setattr(
        win32crypt,
        "CryptProtectData",
        lambda *args, **kwargs: seen.extend((args, kwargs)),
        raising=False,
    )
    trace()
    data, prompt = bytearray(b"data"), {"flags": [1, (2,)]}
    win32crypt.CryptProtectData(data, None, PromptStruct=prompt)
    assert seen[0][0] is data
    assert seen[1]["PromptStruct"] is prompt


def test_objects_from_before_tracing_are_arguments_too(
    win32crypt: ModuleType, trace: Callable[..., Tracer]
) -> None:
    """Untraced objects and proxies work together, and the untraced ones are never errors."""
    old_prov = acquire(win32crypt)
    old_key = old_prov.CryptGenKey(AES_128, EXPORTABLE)
    tracer = trace()
    prov = acquire(win32crypt)
    hashed = prov.CryptCreateHash(SHA1)
    hashed.CryptHashSessionKey(old_key)
    hashed.CryptDestroyHash()
    old_key.CryptDestroyKey()
    prov.CryptReleaseContext()
    old_prov.CryptReleaseContext()
    assert codes(tracer) == []


def test_proxies_outlive_the_tracer(win32crypt: ModuleType, trace: Callable[..., Tracer]) -> None:
    """Proxies of a stopped tracer work on, also as arguments while the next one traces."""
    trace()
    prov = acquire(win32crypt)
    key = prov.CryptGenKey(AES_128, EXPORTABLE)
    csptrace.stop()
    made = prov.CryptCreateHash(HMAC, key)
    made.CryptDestroyHash()
    tracer = trace()
    other = acquire(win32crypt)
    hashed = other.CryptCreateHash(SHA1)
    hashed.CryptHashSessionKey(key)
    hashed.CryptDestroyHash()
    key.CryptDestroyKey()
    other.CryptReleaseContext()
    prov.CryptReleaseContext()
    assert codes(tracer) == []


# --- recycled values, garbage collection, quarantine ----------------------------------------------


def test_stale_proxy_after_recycling_is_told_apart(
    win32crypt: ModuleType, trace: Callable[..., Tracer]
) -> None:
    """A stale key whose value belongs to a new key is refused, and the new one is not touched."""
    trace()
    prov = acquire(win32crypt)
    stale = prov.CryptGenKey(AES_128, EXPORTABLE)
    stale.CryptDestroyKey()
    fresh = prov.CryptGenKey(AES_128, EXPORTABLE)
    assert fresh.HCRYPTKEY == stale.HCRYPTKEY
    with pytest.raises(UseAfterRelease):
        stale.CryptExportKey(None, PLAIN)
    assert fresh.CryptExportKey(None, PLAIN)
    fresh.CryptDestroyKey()


def test_collected_key_is_lost(win32crypt: ModuleType, trace: Callable[..., Tracer]) -> None:
    """A key whose last reference goes is lost, once, and no leak of its context."""
    tracer = trace()
    prov = acquire(win32crypt)
    for _ in range(3):
        prov.CryptGenKey(AES_128, 0)
    gc.collect()
    prov.CryptReleaseContext()
    assert codes(tracer) == ["lost"] * 3


def test_collected_context_takes_its_hash_along(
    win32crypt: ModuleType, trace: Callable[..., Tracer]
) -> None:
    """A collected context is lost, and a hash that is still held is leaked by it."""
    tracer = trace()
    prov = acquire(win32crypt)
    hashed = prov.CryptCreateHash(SHA1)
    del prov
    gc.collect()
    assert [(f.code.value, f.handle.kind) for f in tracer.check()] == [
        ("lost", "HCRYPTPROV"),
        ("leaked-at-release", "HCRYPTHASH"),
    ]
    del hashed
    gc.collect()
    assert len(tracer.check()) == 2


def test_held_key_keeps_its_context(win32crypt: ModuleType, trace: Callable[..., Tracer]) -> None:
    """A context lives as long as one of its keys is held, as in pywin32."""
    tracer = trace()
    key = acquire(win32crypt).CryptGenKey(AES_128, 0)
    gc.collect()
    assert codes(tracer) == []
    key.CryptDestroyKey()
    key.HCRYPTPROV.CryptReleaseContext()
    assert codes(tracer) == []


def test_collected_object_is_nobody_elses_leak(
    win32crypt: ModuleType, trace: Callable[..., Tracer]
) -> None:
    """Objects collected in between, whose addresses are used again, are told apart."""
    tracer = trace()
    prov = acquire(win32crypt)
    for _ in range(50):
        prov.CryptCreateHash(SHA1)
        hashed = prov.CryptCreateHash(SHA1)
        hashed.CryptHashData(b"data")
        hashed.CryptDestroyHash()
    prov.CryptReleaseContext()
    assert set(codes(tracer)) == {"lost"}
    assert len(codes(tracer)) == 50


def test_tracer_keeps_no_object_alive(win32crypt: ModuleType, trace: Callable[..., Tracer]) -> None:
    """Unreleased objects are collected exactly when the program lets go of them."""
    trace()
    prov = acquire(win32crypt)
    key = prov.CryptGenKey(AES_128, 0)
    dead = [weakref.ref(prov), weakref.ref(key)]
    gc.disable()
    try:
        del prov
        assert dead[0]() is not None
        del key
        assert [reference() for reference in dead] == [None, None]
    finally:
        gc.enable()


def _survivors(win32crypt: ModuleType) -> int:
    """Count keys that survive the collection of an object released before, out of 20."""
    error = win32crypt.CryptGenKey_error
    prov = acquire(win32crypt)
    alive = 0
    for _ in range(20):
        key = prov.CryptGenKey(AES_128, EXPORTABLE)
        key.CryptDestroyKey()
        fresh = prov.CryptGenKey(AES_128, EXPORTABLE)
        del key  # its destructor releases the value again, which is the fresh key's
        gc.collect()
        try:
            fresh.CryptExportKey(None, PLAIN)
            fresh.CryptDestroyKey()
            alive += 1
        except error:
            pass
    prov.CryptReleaseContext()
    return alive


def test_quarantine_saves_recycled_handles(
    win32crypt: ModuleType, trace: Callable[..., Tracer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the tracer a destructor kills the new owner 20 times of 20, with it never."""
    from csptrace.softcsp import pywintypes

    monkeypatch.setattr(win32crypt, "CryptGenKey_error", pywintypes.error, raising=False)
    assert _survivors(win32crypt) == 0
    tracer = trace()
    assert _survivors(win32crypt) == 20
    assert codes(tracer) == []


def test_quarantine_is_said_once(win32crypt: ModuleType) -> None:
    """That released objects are kept alive is reported, once for the binding."""
    from csptrace.settings import Settings
    from csptrace.tracer import Tracer as Root

    said: list[str] = []
    tracer = Root(Settings(quiet=True, strict=True), said.append)
    tracer.start()
    try:
        for _ in range(3):
            prov = acquire(win32crypt)
            prov.CryptReleaseContext()
    finally:
        tracer.stop()
    kept = [message for message in said if "keeps released ones alive" in message]
    assert len(kept) == 1


def test_refused_release_is_not_quarantined(
    win32crypt: ModuleType, trace: Callable[..., Tracer]
) -> None:
    """After a refused release the object is collected as usual, and its handle is released."""
    from csptrace.softcsp import faults, pywintypes

    tracer = trace()
    prov = acquire(win32crypt)
    key = prov.CryptGenKey(AES_128, 0)
    with faults.inject("CryptDestroyKey", 0x80090020), pytest.raises(pywintypes.error):
        key.CryptDestroyKey()
    gone = weakref.ref(key)
    del key
    assert gone() is None
    prov.CryptReleaseContext()
    assert codes(tracer) == ["failed-release", "lost"]


def test_objects_in_threads(win32crypt: ModuleType, trace: Callable[..., Tracer]) -> None:
    """Threads that make, use, lose and destroy objects are counted exactly."""
    tracer = trace()
    prov = acquire(win32crypt)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(25):
                key = prov.CryptGenKey(AES_128, EXPORTABLE)
                hashed = prov.CryptCreateHash(HMAC, key)
                hashed.CryptDestroyHash()
                key.CryptExportKey(None, PLAIN)
                key.CryptDestroyKey()
                prov.CryptCreateHash(SHA1)
        except BaseException as error:  # noqa: BLE001 - shown by the main thread
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    prov.CryptReleaseContext()
    assert codes(tracer) == ["lost"] * 100
