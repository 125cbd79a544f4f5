"""What csptrace promises about CryptoAPI, stated once and run through every binding.

The same file runs on Linux (softcsp through ctypes and through its `win32crypt` face, a shared
library through cffi) and under Windows Python (genuine ctypes, cffi and pywin32).
"""

from __future__ import annotations

import sys
import threading
import traceback
import uuid
import warnings
from typing import TYPE_CHECKING, Any

import pytest
from clients import (
    AT_SIGNATURE,
    BAD_FLAGS,
    CALG_HMAC,
    CRYPT_DELETEKEYSET,
    CRYPT_DESTROYKEY,
    CRYPT_NEWKEYSET,
    NO_SUCH_CONTAINER,
    OPAQUEKEYBLOB,
    RSA_1024,
    Client,
    Refused,
)

import csptrace
from csptrace.findings.errors import (
    DoubleRelease,
    HandleLeak,
    LeakWarning,
    MisuseWarning,
    OutOfOrderRelease,
    StaleDependency,
    UseAfterInvalidation,
    UseAfterRelease,
    WrongRelease,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from csptrace import Tracer


def need(client: Client, *cases: str) -> None:
    """Skip a case that the binding cannot do, with its reason."""
    for case in cases:
        if case in client.lacks:
            pytest.skip(client.lacks[case])


def codes(tracer: Tracer) -> list[str]:
    """Return the codes of the findings so far."""
    return [finding.code.value for finding in tracer.check()]


def hids(tracer: Tracer) -> list[int]:
    """Return the identities of what is owed now, oldest first."""
    return [handle.hid for handle in tracer.live()]


def kinds(tracer: Tracer) -> list[str]:
    """Return the kinds of what is owed now, oldest first."""
    return [handle.kind for handle in tracer.live()]


@pytest.fixture
def container(client: Client) -> Iterator[str]:
    """Return the name of a key container that does not exist and is deleted afterwards."""
    name = f"csptrace-{uuid.uuid4()}"
    yield name
    try:
        client.acquire(name, CRYPT_DELETEKEYSET)
    except Refused as refused:
        assert refused.code == NO_SUCH_CONTAINER  # noqa: PT017 - the test deleted it itself


# --- leaks at the release of the context ----------------------------------------------------------


def test_orderly_program_has_no_findings(client: Client, tracer: Tracer) -> None:
    """A program that destroys everything before it releases the context is left in peace."""
    prov = client.acquire()
    key, hashed = client.gen_key(prov), client.create_hash(prov)
    client.hash_data(hashed)
    client.random(prov)
    client.destroy_hash(hashed)
    client.destroy_key(key)
    client.release(prov)
    assert codes(tracer) == []
    assert tracer.live() == ()
    assert tracer.graph.live == 0


def test_release_reports_what_was_leaked_and_nothing_else(client: Client, tracer: Tracer) -> None:
    """The release reports exactly the handles still alive, in the order of acquisition."""
    prov = client.acquire()
    first, hashed, second = (client.gen_key(prov), client.create_hash(prov), client.gen_key(prov))
    gone, last = client.create_hash(prov), client.gen_key(prov)
    expected = [*hids(tracer)[1:4], hids(tracer)[5]]
    client.destroy_hash(gone)
    client.release(prov)
    found = tracer.check()
    assert [finding.code.value for finding in found] == ["leaked-at-release"] * 4
    assert [finding.handle.kind for finding in found] == [
        "HCRYPTKEY",
        "HCRYPTHASH",
        "HCRYPTKEY",
        "HCRYPTKEY",
    ]
    assert [finding.handle.hid for finding in found] == expected
    assert tracer.live() == ()
    del first, hashed, second, last


def test_leak_names_where_it_happened(client: Client, tracer: Tracer) -> None:
    """A leak names the calls that acquired and invalidated it, the binding, and its context."""
    prov = client.acquire()
    key = client.gen_key(prov)
    client.release(prov)
    (found,) = tracer.check()
    assert found.acquired is not None
    assert found.ended is not None
    assert found.acquired.site == ("CryptGenKey", "cryptoapi", client.binding)
    assert found.ended.site == ("CryptReleaseContext", "cryptoapi", client.binding)
    assert found.culprit is not None
    assert [parent.kind for parent in found.parents] == [found.culprit.kind] == ["HCRYPTPROV"]
    for call_record in (found.acquired, found.ended):
        assert call_record.stack is not None
        assert test_leak_names_where_it_happened.__name__ in [
            frame.qualname for frame in call_record.stack.frames
        ]
    assert client.number(key) in (None, found.handle.value) or client.binding == "win32crypt"


def test_contexts_are_judged_apart(client: Client, tracer: Tracer) -> None:
    """The release of one context says nothing about the children of another."""
    one, two = client.acquire(), client.acquire()
    key = client.gen_key(two)
    client.release(one)
    assert codes(tracer) == []
    client.destroy_key(key)
    client.release(two)
    assert codes(tracer) == []


def test_leaked_handle_stays_leaked(start: Callable[..., Tracer], client: Client) -> None:
    """Destroying a leaked key afterwards is out of order and does not take the leak back."""
    tracer = start(on_misuse="log")
    prov = client.acquire()
    key = client.gen_key(prov)
    client.release(prov)
    with pytest.raises(Refused):
        client.destroy_key(key)
    assert codes(tracer) == ["leaked-at-release", "out-of-order-release"]


def test_children_die_at_the_last_release(client: Client, tracer: Tracer) -> None:
    """With a reference added, the first release invalidates nothing and the last one does."""
    need(client, "add_ref")
    prov = client.acquire()
    hashed = client.create_hash(prov)
    client.add_ref(prov)
    client.release(prov)
    client.hash_data(hashed)
    assert codes(tracer) == []
    client.release(prov)
    assert codes(tracer) == ["leaked-at-release"]
    with pytest.raises(DoubleRelease):
        client.release(prov)


def test_missing_reference_release_is_a_leak(client: Client, tracer: Tracer) -> None:
    """A context with one release too few is owed at exit."""
    need(client, "add_ref")
    prov = client.acquire()
    client.add_ref(prov)
    client.release(prov)
    leaked = csptrace.stop()
    assert [finding.handle.kind for finding in leaked] == ["HCRYPTPROV"]
    client.release(prov)


def test_release_invalidates_every_child(client: Client, tracer: Tracer) -> None:
    """Every key and hash of a released context is refused, however it was made."""
    prov = client.acquire()
    key = client.gen_key(prov)
    imported = client.import_key(prov, client.export_key(key))
    hashed = client.create_hash(prov)
    client.release(prov)
    for use in (
        lambda: client.export_key(key),
        lambda: client.export_key(imported),
        lambda: client.hash_data(hashed),
        lambda: client.duplicate_hash(hashed),
    ):
        with pytest.raises(UseAfterInvalidation):
            use()


def test_new_keys_of_every_origin_belong_to_the_context(client: Client, tracer: Tracer) -> None:
    """Imported and duplicated keys and hashes are leaks of the context they were made under."""
    prov = client.acquire()
    key = client.gen_key(prov)
    kept = [key, client.import_key(prov, client.export_key(key)), client.create_hash(prov)]
    if "duplicate" not in client.lacks:
        kept += [client.duplicate_key(key), client.duplicate_hash(kept[2])]
    client.release(prov)
    assert codes(tracer) == ["leaked-at-release"] * len(kept)


def test_duplicates_are_independent(client: Client, tracer: Tracer) -> None:
    """A duplicate outlives its original and has to be destroyed itself."""
    need(client, "duplicate")
    prov = client.acquire()
    key, hashed = client.gen_key(prov), client.create_hash(prov)
    twin_key, twin_hash = client.duplicate_key(key), client.duplicate_hash(hashed)
    client.destroy_key(key)
    client.destroy_hash(hashed)
    client.hash_data(twin_hash)
    client.export_key(twin_key)
    client.destroy_hash(twin_hash)
    client.release(prov)
    assert codes(tracer) == ["leaked-at-release"]


def test_derived_key_does_not_depend_on_its_hash(client: Client, tracer: Tracer) -> None:
    """A key derived from a hash lives under the context and survives the hash."""
    need(client, "derive")
    prov = client.acquire()
    hashed = client.create_hash(prov)
    client.hash_data(hashed)
    key = client.derive(prov, hashed)
    client.destroy_hash(hashed)
    client.destroy_key(key)
    client.release(prov)
    assert codes(tracer) == []


# --- values that are handed out again -------------------------------------------------------------


def test_recycled_value_is_a_new_generation(client: Client, tracer: Tracer) -> None:
    """A value that is handed out again is a new handle, one generation later."""
    need(client, "recycled value")
    prov = client.acquire()
    first = client.gen_key(prov)
    client.destroy_key(first)
    kept = []
    for _ in range(50):
        kept.append(client.gen_key(prov))
        if kept[-1] == first:
            break
    assert kept[-1] == first, "the provider hands no value out again"
    newest = tracer.live()[-1]
    assert (newest.value, newest.generation) == (first, 2)
    client.export_key(kept[-1])
    assert codes(tracer) == []
    for key in kept:
        client.destroy_key(key)
    client.release(prov)
    assert codes(tracer) == []


def test_old_death_does_not_taint_the_new_handle(client: Client, tracer: Tracer) -> None:
    """Contexts, keys and hashes made anew after a leak are clean, whatever values they get."""
    graves = []
    for _ in range(20):
        prov = client.acquire()
        graves.append((prov, client.gen_key(prov), client.create_hash(prov)))
        client.release(prov)
    before = codes(tracer)
    assert before == ["leaked-at-release"] * 40
    for _ in range(20):
        prov = client.acquire()
        key, hashed = client.gen_key(prov), client.create_hash(prov)
        client.hash_data(hashed)
        client.export_key(key)
        client.destroy_hash(hashed)
        client.destroy_key(key)
        client.release(prov)
    assert codes(tracer) == before


def test_value_of_a_key_may_become_a_hash(client: Client, tracer: Tracer) -> None:
    """A value that was a key and is a hash now is used and destroyed as a hash without a word."""
    prov = client.acquire()
    for _ in range(20):
        key = client.gen_key(prov)
        client.destroy_key(key)
        hashed = client.create_hash(prov)
        client.hash_data(hashed)
        client.destroy_hash(hashed)
    client.release(prov)
    assert codes(tracer) == []


def test_stale_value_names_its_new_owner(client: Client, tracer: Tracer) -> None:
    """A dead key whose value is a hash now is refused as a key, and the finding names both."""
    need(client, "recycled value")
    prov = client.acquire()
    key = client.gen_key(prov)
    client.destroy_key(key)
    kept = [client.create_hash(prov)]
    while kept[-1] != key and len(kept) < 50:
        kept.append(client.create_hash(prov))
    assert kept[-1] == key, "the provider hands no value out again"
    with pytest.raises(UseAfterRelease) as caught:
        client.export_key(key)
    found = caught.value.finding
    assert (found.handle.kind, found.handle.value) == ("HCRYPTKEY", key)
    assert found.reused_by is not None
    assert (found.reused_by.kind, found.reused_by.value) == ("HCRYPTHASH", key)
    client.hash_data(key)
    for hashed in kept:
        client.destroy_hash(hashed)
    client.release(prov)


# --- calls that release, acquire or change less, or more, than they say ---------------------------


def test_release_with_flags_fails_and_releases(client: Client, tracer: Tracer) -> None:
    """CryptReleaseContext with dwFlags is refused with NTE_BAD_FLAGS, and the context is gone."""
    prov = client.acquire()
    key = client.gen_key(prov)
    with pytest.raises(Refused) as refused:
        client.release(prov, 1)
    assert refused.value.code == BAD_FLAGS
    assert codes(tracer) == ["leaked-at-release"]
    with pytest.raises(UseAfterInvalidation):
        client.export_key(key)
    with pytest.raises(DoubleRelease):
        client.release(prov)


def test_failed_calls_acquire_nothing(client: Client, tracer: Tracer, container: str) -> None:
    """A refused acquisition enters no handle."""
    with pytest.raises(Refused):
        client.acquire(container, 0)
    assert tracer.live() == ()
    prov = client.acquire()
    with pytest.raises(Refused):
        client.user_key(prov)
    assert kinds(tracer) == ["HCRYPTPROV"]
    client.release(prov)
    assert codes(tracer) == []


def test_size_query_changes_nothing(client: Client, tracer: Tracer) -> None:
    """Asking for the size of an export leaves the key alive, also with CRYPT_DESTROYKEY."""
    need(client, "size query")
    prov = client.acquire()
    key = client.gen_key(prov)
    client.export_size(key)
    if "destroy on export" not in client.lacks:
        client.export_size(key, OPAQUEKEYBLOB, CRYPT_DESTROYKEY)
    assert kinds(tracer) == ["HCRYPTPROV", "HCRYPTKEY"]
    client.destroy_key(key)
    client.release(prov)
    assert codes(tracer) == []


def test_export_can_destroy_the_key(client: Client, tracer: Tracer) -> None:
    """An export with CRYPT_DESTROYKEY releases the key: no leak, and no use afterwards."""
    need(client, "destroy on export")
    prov = client.acquire()
    key = client.gen_key(prov)
    client.export_key(key, OPAQUEKEYBLOB, CRYPT_DESTROYKEY)
    assert kinds(tracer) == ["HCRYPTPROV"]
    with pytest.raises(UseAfterRelease):
        client.export_key(key)
    with pytest.raises(DoubleRelease):
        client.destroy_key(key)
    client.release(prov)
    assert codes(tracer) == ["use-after-release", "double-release"]


def test_deleting_a_container_acquires_nothing(
    client: Client, tracer: Tracer, container: str
) -> None:
    """CryptAcquireContext with CRYPT_DELETEKEYSET succeeds without a handle."""
    prov = client.acquire(container, CRYPT_NEWKEYSET)
    client.release(prov)
    client.acquire(container, CRYPT_DELETEKEYSET)
    assert tracer.live() == ()
    assert codes(tracer) == []


def test_container_is_named_in_findings(client: Client, tracer: Tracer, container: str) -> None:
    """A leaked context carries the name of its key container."""
    prov = client.acquire(container, CRYPT_NEWKEYSET)
    (unreleased,) = tracer.live()
    assert unreleased.name == container
    client.release(prov)


def test_user_key_is_a_new_handle_each_time(client: Client, tracer: Tracer, container: str) -> None:
    """CryptGetUserKey gives a handle of its own at each call, each to be destroyed."""
    prov = client.acquire(container, CRYPT_NEWKEYSET)
    pair = client.gen_key(prov, AT_SIGNATURE, RSA_1024)
    keys = [client.user_key(prov), client.user_key(prov)]
    assert kinds(tracer) == ["HCRYPTPROV"] + ["HCRYPTKEY"] * 3
    client.destroy_key(keys[0])
    client.release(prov)
    assert codes(tracer) == ["leaked-at-release"] * 2
    del pair


# --- dependencies -----------------------------------------------------------------------------


def test_hmac_without_its_key_is_stale(client: Client, tracer: Tracer) -> None:
    """An HMAC hash may be destroyed after its key, but not used or duplicated."""
    prov = client.acquire()
    key = client.gen_key(prov)
    hashed = client.create_hash(prov, CALG_HMAC, key)
    other = client.create_hash(prov)
    client.destroy_key(key)
    for use in (client.hash_data, client.duplicate_hash):
        with pytest.raises(StaleDependency):
            use(hashed)
    client.hash_data(other)
    client.destroy_hash(other)
    client.destroy_hash(hashed)
    client.release(prov)
    assert codes(tracer) == ["stale-dependency"] * 2


def test_duplicate_of_an_hmac_needs_the_same_key(client: Client, tracer: Tracer) -> None:
    """A duplicated HMAC hash depends on the original's key."""
    need(client, "duplicate")
    prov = client.acquire()
    key = client.gen_key(prov)
    hashed = client.create_hash(prov, CALG_HMAC, key)
    twin = client.duplicate_hash(hashed)
    client.destroy_hash(hashed)
    client.destroy_key(key)
    with pytest.raises(StaleDependency) as stale:
        client.hash_data(twin)
    assert stale.value.finding.culprit is not None
    assert stale.value.finding.culprit.kind == "HCRYPTKEY"
    client.destroy_hash(twin)
    client.release(prov)


# --- misuse: found before the native call ---------------------------------------------------------


def test_use_after_invalidation_is_stopped(client: Client, tracer: Tracer) -> None:
    """A hash of a released context raises, and the provider is not called."""
    prov = client.acquire()
    hashed = client.create_hash(prov)
    client.release(prov)
    need(client, "count calls")
    count = client.calls("CryptHashData")
    assert count is not None
    before = count()
    with pytest.raises(UseAfterInvalidation) as caught:
        client.hash_data(hashed)
    assert count() == before
    assert caught.value.finding.misused is not None
    assert caught.value.finding.misused.site.call == "CryptHashData"
    assert codes(tracer) == ["leaked-at-release", "use-after-invalidation"]


def test_every_misuse_is_stopped_before_the_native_call(client: Client, tracer: Tracer) -> None:
    """No misuse that raises reaches the provider."""
    need(client, "count calls")
    prov = client.acquire()
    key, hashed = client.gen_key(prov), client.create_hash(prov)
    client.destroy_hash(hashed)
    names = ("CryptHashData", "CryptDestroyHash", "CryptDestroyKey", "CryptReleaseContext")
    counters = [count for count in map(client.calls, names) if count is not None]
    before = [count() for count in counters]
    with pytest.raises(UseAfterRelease):
        client.hash_data(hashed)
    with pytest.raises(DoubleRelease):
        client.destroy_hash(hashed)
    assert [count() for count in counters] == before
    client.release(prov)
    with pytest.raises(OutOfOrderRelease):
        client.destroy_key(key)
    with pytest.raises(DoubleRelease):
        client.release(prov)
    assert [count() for count in counters] == [*before[:3], before[3] + 1]


def test_correct_calls_reach_the_provider_once(client: Client, tracer: Tracer) -> None:
    """The tracer adds no native call and leaves none out."""
    need(client, "count calls")
    prov = client.acquire()
    names = ("CryptGenKey", "CryptDestroyKey", "CryptCreateHash", "CryptHashData", "CryptGenRandom")
    counters = [count for count in map(client.calls, names) if count is not None]
    before = [count() for count in counters]
    key, hashed = client.gen_key(prov), client.create_hash(prov)
    client.hash_data(hashed)
    client.random(prov)
    client.destroy_hash(hashed)
    client.destroy_key(key)
    assert [count() - was for count, was in zip(counters, before, strict=True)] == [1] * 5
    client.release(prov)


def test_use_after_release(client: Client, tracer: Tracer) -> None:
    """Contexts, keys and hashes that were released cannot be used."""
    prov = client.acquire()
    key, hashed = client.gen_key(prov), client.create_hash(prov)
    client.destroy_key(key)
    client.destroy_hash(hashed)
    client.release(prov)
    for use in (
        lambda: client.random(prov),
        lambda: client.export_key(key),
        lambda: client.hash_data(hashed),
        lambda: client.gen_key(prov),
    ):
        with pytest.raises(UseAfterRelease):
            use()
    assert codes(tracer) == ["use-after-release"] * 4


def test_dead_key_as_an_argument(client: Client, tracer: Tracer) -> None:
    """A destroyed key is noticed as a secondary argument, too."""
    prov = client.acquire()
    key = client.gen_key(prov)
    client.destroy_key(key)
    with pytest.raises(UseAfterRelease):
        client.create_hash(prov, CALG_HMAC, key)
    client.release(prov)
    assert codes(tracer) == ["use-after-release"]


def test_double_release(client: Client, tracer: Tracer) -> None:
    """Releasing twice is reported with the place of the first release."""
    prov = client.acquire()
    key = client.gen_key(prov)
    client.destroy_key(key)
    with pytest.raises(DoubleRelease) as caught:
        client.destroy_key(key)
    assert caught.value.finding.ended is not None
    assert caught.value.finding.ended.site.call == "CryptDestroyKey"
    client.release(prov)
    with pytest.raises(DoubleRelease):
        client.release(prov)


def test_wrong_release(client: Client, tracer: Tracer) -> None:
    """A live handle given to another kind's release function is named as what it is."""
    need(client, "wrong release")
    prov = client.acquire()
    key, hashed = client.gen_key(prov), client.create_hash(prov)
    for wrong, handle, kind in (
        (client.destroy_hash, key, "HCRYPTKEY"),
        (client.destroy_key, hashed, "HCRYPTHASH"),
        (client.destroy_key, prov, "HCRYPTPROV"),
        (client.release, key, "HCRYPTKEY"),
    ):
        with pytest.raises(WrongRelease) as caught:
            wrong(handle)
        assert caught.value.finding.handle.kind == kind
    client.destroy_key(key)
    client.destroy_hash(hashed)
    client.release(prov)
    assert codes(tracer) == ["wrong-release"] * 4


def test_out_of_order_release(client: Client, tracer: Tracer) -> None:
    """Destroying a key or hash after its context is out of order."""
    prov = client.acquire()
    key, hashed = client.gen_key(prov), client.create_hash(prov)
    client.release(prov)
    with pytest.raises(OutOfOrderRelease):
        client.destroy_key(key)
    with pytest.raises(OutOfOrderRelease):
        client.destroy_hash(hashed)


def test_handles_from_before_tracing_are_never_errors(
    client: Client, start: Callable[..., Tracer]
) -> None:
    """What was acquired before tracing began may be used and released without a word."""
    prov = client.acquire()
    key, hashed = client.gen_key(prov), client.create_hash(prov)
    tracer = start()
    client.hash_data(hashed)
    client.destroy_hash(hashed)
    client.destroy_key(key)
    client.release(prov)
    assert codes(tracer) == []
    assert csptrace.stop() == []


# --- reactions ----------------------------------------------------------------------------------


def test_logged_misuse_goes_on(client: Client, start: Callable[..., Tracer]) -> None:
    """With on_misuse=log the finding is recorded and the provider gives its own answer."""
    tracer = start(on_misuse="log")
    prov = client.acquire()
    hashed = client.create_hash(prov)
    client.destroy_hash(hashed)
    with pytest.raises(Refused):
        client.hash_data(hashed)
    with pytest.raises(Refused):
        client.destroy_hash(hashed)
    client.release(prov)
    assert codes(tracer) == ["use-after-release", "double-release"]


def test_warned_misuse_goes_on(client: Client, start: Callable[..., Tracer]) -> None:
    """With on_misuse=warn a warning points at the program's call, which is made."""
    tracer = start(on_misuse="warn")
    prov = client.acquire()
    key, hashed = client.gen_key(prov), client.create_hash(prov)
    client.destroy_hash(hashed)
    client.destroy_key(key)
    for misuse in (lambda: client.hash_data(hashed), lambda: client.destroy_key(key)):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with pytest.raises(Refused):
                misuse()
        assert [warning.category for warning in caught] == [MisuseWarning]
    client.release(prov)
    assert codes(tracer) == ["use-after-release", "double-release"]


def test_misuse_warning_as_an_error_stops_the_call(
    client: Client, start: Callable[..., Tracer]
) -> None:
    """A misuse warning that the program turned into an error reaches it before the call."""
    tracer = start(on_misuse="warn")
    prov = client.acquire()
    hashed = client.create_hash(prov)
    client.destroy_hash(hashed)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(MisuseWarning):
            client.hash_data(hashed)
        with pytest.raises(MisuseWarning):
            client.destroy_hash(hashed)
    client.release(prov)
    assert codes(tracer) == ["use-after-release", "double-release"]


def test_raised_misuse_is_recorded_although_it_is_swallowed(client: Client, tracer: Tracer) -> None:
    """A misuse stays on record when the program swallows the exception."""
    prov = client.acquire()
    client.release(prov)
    for _ in range(3):
        with pytest.raises(DoubleRelease):
            client.release(prov)
    assert codes(tracer) == ["double-release"] * 3


def test_leak_that_raises(client: Client, start: Callable[..., Tracer]) -> None:
    """With on_leak=raise the error lists every leak, after the native release was made."""
    tracer = start(on_leak="raise")
    prov = client.acquire()
    kept = [client.gen_key(prov), client.create_hash(prov)]
    with pytest.raises(HandleLeak) as caught:
        client.release(prov)
    assert [leak.handle.kind for leak in caught.value.findings] == ["HCRYPTKEY", "HCRYPTHASH"]
    with pytest.raises(DoubleRelease):
        client.release(prov)
    assert len(tracer.check()) == 3
    del kept


def test_leak_that_warns(client: Client, start: Callable[..., Tracer]) -> None:
    """With on_leak=warn one warning tells all leaks of a release."""
    tracer = start(on_leak="warn")
    prov = client.acquire()
    kept = [client.gen_key(prov), client.create_hash(prov)]
    with pytest.warns(LeakWarning) as caught:
        client.release(prov)
    assert len(caught) == 1
    assert codes(tracer) == ["leaked-at-release"] * 2
    del kept


def test_leak_warning_as_an_error_comes_after_the_release(
    client: Client, start: Callable[..., Tracer]
) -> None:
    """A leak warning that the program turned into an error leaves the context released."""
    tracer = start(on_leak="warn")
    prov = client.acquire()
    key = client.gen_key(prov)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(LeakWarning):
            client.release(prov)
    assert tracer.live() == ()
    with pytest.raises(DoubleRelease):
        client.release(prov)
    del key


# --- scopes and exit ----------------------------------------------------------------------------


def test_leaked_at_exit(client: Client, tracer: Tracer) -> None:
    """What is still owed when tracing stops is reported, oldest first."""
    prov = client.acquire()
    key = client.gen_key(prov)
    leaked = csptrace.stop()
    assert [(leak.code.value, leak.handle.kind) for leak in leaked] == [
        ("leaked-at-exit", "HCRYPTPROV"),
        ("leaked-at-exit", "HCRYPTKEY"),
    ]
    client.destroy_key(key)
    client.release(prov)


def test_an_error_that_is_kept_takes_nothing_from_the_next_tracer(
    client: Client, start: Callable[..., Tracer]
) -> None:
    """A program may keep and show a misuse's traceback, as a notebook does, and is traced anew."""
    missed = start().installation.missed
    prov = client.acquire()
    key = client.gen_key(prov)
    client.destroy_key(key)
    with pytest.raises(DoubleRelease) as kept:
        client.destroy_key(key)
    client.release(prov)
    csptrace.stop()
    shown = [frame.f_locals for frame, _ in traceback.walk_tb(kept.value.__traceback__)]
    tracer = start()
    assert tracer.installation.missed == missed
    prov = client.acquire()
    key = client.gen_key(prov)
    assert [leak.handle.kind for leak in csptrace.stop()] == ["HCRYPTPROV", "HCRYPTKEY"]
    client.destroy_key(key)
    client.release(prov)
    assert shown


def test_leaked_at_exit_raises(client: Client, start: Callable[..., Tracer]) -> None:
    """With on_leak=raise stopping raises, and tracing is over all the same."""
    start(on_leak="raise")
    prov = client.acquire()
    with pytest.raises(HandleLeak):
        csptrace.stop()
    assert csptrace.current() is None
    client.release(prov)


def test_scope_judges_what_was_acquired_inside(client: Client, tracer: Tracer) -> None:
    """A scope reports its own leaks when it ends, once, and nothing from outside."""
    prov = client.acquire()
    with tracer.scope("outer"):
        outer = client.gen_key(prov)
        with tracer.scope("inner"):
            inner = client.gen_key(prov)
            gone = client.gen_key(prov)
            client.destroy_key(gone)
        assert [(f.code.value, f.scope) for f in tracer.check()] == [("leaked-at-exit", "inner")]
    assert [(f.code.value, f.scope) for f in tracer.check()] == [
        ("leaked-at-exit", "inner"),
        ("leaked-at-exit", "outer"),
    ]
    client.destroy_key(inner)
    client.destroy_key(outer)
    client.release(prov)
    assert csptrace.stop() == []


def test_nothing_is_traced_after_stop(client: Client, tracer: Tracer) -> None:
    """After stop the program runs as if there had been no tracer."""
    prov = client.acquire()
    csptrace.stop()
    key = client.gen_key(prov)
    client.destroy_key(key)
    client.release(prov)
    with pytest.raises(Refused):
        client.release(prov)
    assert codes(tracer) == ["leaked-at-exit"]


def test_second_tracer_starts_afresh(client: Client, start: Callable[..., Tracer]) -> None:
    """A tracer knows nothing of the handles of the one before."""
    start()
    prov = client.acquire()
    key = client.gen_key(prov)
    csptrace.stop()
    tracer = start()
    fresh = client.acquire()
    other = client.gen_key(fresh)
    client.release(fresh)
    client.destroy_key(key)
    client.release(prov)
    assert codes(tracer) == ["leaked-at-release"]
    del other


# --- exceptions and threads ---------------------------------------------------------------------


def test_exception_of_the_program_is_its_own(client: Client, tracer: Tracer) -> None:
    """An exception between acquisition and release passes unchanged, and the leak is reported."""
    error = RuntimeError("the program's own")
    kept: list[Any] = []

    def work() -> None:
        prov = client.acquire()
        try:
            kept.append(client.gen_key(prov))
            raise error
        finally:
            client.release(prov)

    with pytest.raises(RuntimeError) as caught:
        work()
    assert caught.value is error
    assert error.__context__ is None
    assert codes(tracer) == ["leaked-at-release"]


def test_threads_are_counted_exactly(client: Client, tracer: Tracer) -> None:
    """Threads with contexts of their own lose nothing and are blamed for nothing."""
    rounds, threads = 10, 4
    failures: list[BaseException] = []
    kept: list[Any] = []

    def work() -> None:
        try:
            for _ in range(rounds):
                prov = client.acquire()
                keys = [client.gen_key(prov) for _ in range(3)]
                kept.extend(keys)
                for key in keys[:2]:
                    client.destroy_key(key)
                client.release(prov)
        except BaseException as error:  # noqa: BLE001 - shown by the main thread
            failures.append(error)

    _run(work, threads)
    assert failures == []
    assert codes(tracer) == ["leaked-at-release"] * (rounds * threads)
    assert {finding.handle.kind for finding in tracer.check()} == {"HCRYPTKEY"}


def test_value_that_moves_to_another_thread(client: Client, tracer: Tracer) -> None:
    """Threads that get each other's freed values at once are not confused with each other."""
    prov = client.acquire()
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(60):
                key = client.gen_key(prov)
                client.export_key(key)
                client.destroy_key(key)
                hashed = client.create_hash(prov)
                client.hash_data(hashed)
                client.destroy_hash(hashed)
        except BaseException as error:  # noqa: BLE001 - shown by the main thread
            failures.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        _run(work, 4)
    finally:
        sys.setswitchinterval(interval)
    assert failures == []
    client.release(prov)
    assert codes(tracer) == []


def test_released_in_another_thread(client: Client, tracer: Tracer) -> None:
    """A handle may be released by another thread than the one that acquired it."""
    prov = client.acquire()
    key = client.gen_key(prov)
    _run(lambda: client.destroy_key(key), 1)
    _run(lambda: client.release(prov), 1)
    assert codes(tracer) == []
    assert tracer.live() == ()


def _run(work: Callable[[], None], count: int) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
