"""Eight threads through the whole tracer, on a provider that hands values out again at once."""

from __future__ import annotations

import ctypes
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from csptrace.findings.catalogue import Code
from csptrace.softcsp import advapi32

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from csptrace import Tracer
    from csptrace.graph.changes import Change

THREADS = 8
ROUNDS = 25
CRYPT_VERIFYCONTEXT = 0xF0000000
PROV_RSA_AES = 24
CALG_AES_128 = 0x660E
CALG_SHA_256 = 0x800C
CALG_HMAC = 0x8009


@pytest.fixture(autouse=True)
def switch_often() -> Iterator[None]:
    """Let threads take turns a thousand times as often as usual."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(usual)


def new_context() -> ctypes.c_size_t:
    """Acquire a context."""
    context = ctypes.c_size_t()
    assert advapi32.CryptAcquireContextW(
        ctypes.byref(context), None, None, PROV_RSA_AES, CRYPT_VERIFYCONTEXT
    )
    return context


def new_key(context: ctypes.c_size_t) -> ctypes.c_size_t:
    """Create a key."""
    key = ctypes.c_size_t()
    assert advapi32.CryptGenKey(context, CALG_AES_128, 0, ctypes.byref(key))
    return key


def new_hash(
    context: ctypes.c_size_t, algorithm: int = CALG_SHA_256, key: ctypes.c_size_t | None = None
) -> ctypes.c_size_t:
    """Create a hash, keyed or not."""
    made = ctypes.c_size_t()
    assert advapi32.CryptCreateHash(context, algorithm, key or 0, 0, ctypes.byref(made))
    return made


def leaky_key(context: ctypes.c_size_t) -> int:
    """Create a key that nobody destroys; the one place where that happens."""
    return new_key(context).value


def work(context: ctypes.c_size_t, turn: int) -> None:
    """Create, use and destroy a key, a hash and an HMAC."""
    key = new_key(context)
    hash_ = new_hash(context)
    hmac = new_hash(context, CALG_HMAC, key)
    twin = ctypes.c_size_t()
    assert advapi32.CryptDuplicateKey(key, None, 0, ctypes.byref(twin))
    assert advapi32.CryptHashData(hash_, b"data", 4, 0)
    assert advapi32.CryptHashSessionKey(hash_, key, 0)
    handles = [
        (advapi32.CryptDestroyHash, hmac),
        (advapi32.CryptDestroyHash, hash_),
        (advapi32.CryptDestroyKey, twin),
        (advapi32.CryptDestroyKey, key),
    ]
    turned = turn % len(handles)
    for destroy, handle in handles[turned:] + handles[:turned]:
        assert destroy(handle)


def in_threads(job: Callable[[int], list[int]]) -> list[int]:
    """Run a job in every thread at once; return what they return, together."""
    barrier = threading.Barrier(THREADS)

    def run(number: int) -> list[int]:
        barrier.wait()
        return job(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return [value for found in pool.map(run, range(THREADS)) for value in found]


def test_threads_with_contexts_of_their_own_find_nothing(trace: Callable[..., Tracer]) -> None:
    """A correct program is correct however its threads take turns, and nothing stays alive."""
    tracer = trace()

    def job(number: int) -> list[int]:
        seen = []
        for turn in range(ROUNDS):
            context = new_context()
            seen.append(context.value)
            work(context, turn + number)
            assert advapi32.CryptReleaseContext(context, 0)
        return seen

    seen = in_threads(job)
    assert len(set(seen)) < len(seen), "the provider recycled no value: nothing was tested"
    assert tracer.check() == ()
    assert tracer.graph.live == 0
    assert tracer.graph.acquired == THREADS * ROUNDS * 5


def test_threads_that_share_contexts_find_nothing(trace: Callable[..., Tracer]) -> None:
    """Each thread holds a reference of its own; the last one to let go ends the context."""
    tracer = trace()
    shared = [new_context() for _ in range(ROUNDS)]
    for context in shared:
        for _ in range(THREADS - 1):
            assert advapi32.CryptContextAddRef(context, None, 0)

    def job(number: int) -> list[int]:
        for turn, context in enumerate(shared):
            work(context, turn + number)
            assert advapi32.CryptContextAddRef(context, None, 0)
            assert advapi32.CryptReleaseContext(context, 0)
            assert advapi32.CryptReleaseContext(context, 0)
            own = new_context()  # often at the address of a shared one that has just gone
            work(own, turn)
            assert advapi32.CryptReleaseContext(own, 0)
        return []

    in_threads(job)
    assert tracer.check() == ()
    assert tracer.graph.live == 0


def test_exactly_the_planted_leaks_are_found(trace: Callable[..., Tracer]) -> None:
    """Each leaked key is found once, at its context's release, although values recycle at once."""
    tracer = trace()
    shared = new_context()
    for _ in range(THREADS - 1):
        assert advapi32.CryptContextAddRef(shared, None, 0)

    def job(number: int) -> list[int]:
        leaked = [leaky_key(shared)]
        for turn in range(ROUNDS):
            context = new_context()
            work(context, turn)
            if (turn + number) % 3 == 0:
                leaked.append(leaky_key(context))
            assert advapi32.CryptReleaseContext(context, 0)
            work(shared, turn)
        assert advapi32.CryptReleaseContext(shared, 0)
        return leaked

    leaked = in_threads(job)
    found = tracer.check()
    assert {finding.code for finding in found} == {Code.LEAKED_AT_RELEASE}
    assert sorted(finding.handle.value for finding in found) == sorted(leaked)
    assert len({finding.handle.hid for finding in found}) == len(leaked)
    assert {finding.handle.kind for finding in found} == {"HCRYPTKEY"}
    for finding in found:
        assert finding.acquired is not None
        assert finding.acquired.stack is not None
        assert "leaky_key" in [frame.qualname for frame in finding.acquired.stack.frames]
        assert finding.culprit is not None
        if finding.culprit.value != shared.value:
            assert finding.ended is not None
            assert finding.ended.thread == finding.acquired.thread
    assert tracer.graph.live == 0


def test_what_threads_forget_is_alive_until_its_context_is_released(
    trace: Callable[..., Tracer],
) -> None:
    """A forgotten key is owed while its context lives, and leaked when another thread ends it."""
    tracer = trace()
    contexts: list[ctypes.c_size_t] = []

    def forget(number: int) -> list[int]:
        for turn in range(ROUNDS):
            context = new_context()
            work(context, turn)
            if turn < ROUNDS - 1:
                assert advapi32.CryptReleaseContext(context, 0)
        contexts.append(context)
        return [leaky_key(context)]

    def release(number: int) -> list[int]:
        assert advapi32.CryptReleaseContext(contexts[number], 0)
        return []

    keys = in_threads(forget)
    assert tracer.check() == ()
    unreleased = sorted([*keys, *(context.value for context in contexts)])
    assert sorted(handle.value for handle in tracer.live()) == unreleased
    assert tracer.graph.live == 2 * THREADS
    in_threads(release)
    found = tracer.check()
    assert {finding.code for finding in found} == {Code.LEAKED_AT_RELEASE}
    assert sorted(finding.handle.value for finding in found) == sorted(keys)
    assert (tracer.live(), tracer.graph.live) == ((), 0)


def test_a_value_handed_out_before_its_release_is_settled_is_the_new_one(
    trace: Callable[..., Tracer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The leak belongs to the old handle, and the new one with the same value works on."""
    tracer = trace()
    context = new_context()
    leaked = leaky_key(context)
    settle = tracer.graph.settle_release
    taken: list[ctypes.c_size_t] = []

    def meanwhile(*args: Any, **kwargs: Any) -> list[Change]:
        # The native call has been made; another thread is handed the values just now.
        monkeypatch.setattr(tracer.graph, "settle_release", settle)
        taken.append(new_context())
        taken.append(new_key(taken[0]))
        return settle(*args, **kwargs)

    monkeypatch.setattr(tracer.graph, "settle_release", meanwhile)
    assert advapi32.CryptReleaseContext(context, 0)
    new, key = taken
    assert new.value == context.value, "the provider did not recycle the value"
    (finding,) = tracer.check()
    assert (finding.code, finding.handle.value) == (Code.LEAKED_AT_RELEASE, leaked)
    assert finding.culprit is not None
    assert finding.culprit.generation == 1
    work(new, 0)
    assert advapi32.CryptDestroyKey(key)
    assert advapi32.CryptReleaseContext(new, 0)
    assert (len(tracer.check()), tracer.graph.live) == (1, 0)
