"""Contexts: acquiring, counting, releasing, and what a release does to everything under it."""

from __future__ import annotations

import contextlib
import ctypes
import threading
from typing import TYPE_CHECKING

import pytest

from csptrace import softcsp
from csptrace.softcsp import constants as c
from csptrace.softcsp.errors import Profile
from csptrace.softcsp.provider import Provider

if TYPE_CHECKING:
    from conftest import Client


def _acquire_code(client: Client, *arguments: object) -> int:
    out = ctypes.c_size_t()
    return client.refused("CryptAcquireContextA", ctypes.byref(out), *arguments)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((None, None, 0, 0), c.NTE_BAD_PROV_TYPE),
        ((None, None, 1000, 0), c.NTE_BAD_PROV_TYPE),
        ((None, None, 999, 0), c.NTE_PROV_TYPE_NOT_DEF),
        ((None, b"Nobody's Provider", 1, 0), c.NTE_KEYSET_NOT_DEF),
        ((None, b"Microsoft Strong Cryptographic Provider", 24, 0), c.NTE_PROV_TYPE_NO_MATCH),
        ((b"missing", None, 24, 0), c.NTE_BAD_KEYSET),
        ((b"missing", None, 24, c.CRYPT_DELETEKEYSET), c.NTE_BAD_KEYSET),
        ((b"named", None, 24, c.CRYPT_VERIFYCONTEXT), c.NTE_BAD_FLAGS),
        ((None, None, 24, c.CRYPT_VERIFYCONTEXT | c.CRYPT_DELETEKEYSET), c.NTE_BAD_FLAGS),
        ((b"x", None, 24, c.CRYPT_NEWKEYSET | c.CRYPT_DELETEKEYSET), c.NTE_BAD_FLAGS),
        ((None, None, 24, 0x1000), c.NTE_BAD_FLAGS),
    ],
)
def test_acquire_refuses_as_documented(
    client: Client, arguments: tuple[object, ...], code: int
) -> None:
    """Each wrong argument of CryptAcquireContext has its own code."""
    assert code == _acquire_code(client, *arguments)


def test_provider_type_is_checked_before_the_pointer(client: Client) -> None:
    """A bad provider type wins over a NULL phProv, a good one does not."""
    assert client.refused("CryptAcquireContextA", None, None, None, 0, 0) == c.NTE_BAD_PROV_TYPE
    verify = (None, None, 24, c.CRYPT_VERIFYCONTEXT)
    assert client.refused("CryptAcquireContextA", None, *verify) == c.ERROR_INVALID_PARAMETER


@pytest.mark.parametrize("kind", [1, 12, 24])
@pytest.mark.parametrize("name", [None, b""])
def test_no_or_empty_name_is_the_default_provider(
    client: Client, kind: int, name: bytes | None
) -> None:
    """Both no provider name and an empty one give the type's default provider."""
    context = client.acquire(name=name, kind=kind)
    expected = {1: c.MS_STRONG_PROV, 12: c.MS_DEF_RSA_SCHANNEL_PROV, 24: c.MS_ENH_RSA_AES_PROV}
    found = client.data("CryptGetProvParam", context, c.PP_NAME, flags=(0,))
    assert expected[kind].encode() + b"\0" == found


def test_wide_and_narrow_names_are_the_same_containers(client: Client) -> None:
    """A container made through the A function is found through the W function."""
    client.acquire("çontainer".encode(), flags=c.CRYPT_NEWKEYSET)
    out = ctypes.c_size_t()
    client.CryptAcquireContextW(ctypes.byref(out), "çontainer", None, 24, 0)
    found = client.data("CryptGetProvParam", out.value, c.PP_CONTAINER, flags=(0,))
    assert "çontainer".encode() + b"\0" == found


def test_two_acquires_give_two_independent_contexts(client: Client) -> None:
    """Releasing one of two contexts leaves the other alone."""
    first, second = client.acquire(), client.acquire()
    client.CryptReleaseContext(first, 0)
    client.CryptGenRandom(second, 1, ctypes.create_string_buffer(1))


def test_references_are_counted(client: Client) -> None:
    """A context goes with its last reference, and only then."""
    context = client.acquire()
    client.CryptContextAddRef(context, None, 0)
    client.CryptReleaseContext(context, 0)
    client.CryptGenRandom(context, 1, ctypes.create_string_buffer(1))
    client.CryptReleaseContext(context, 0)
    code = client.refused("CryptReleaseContext", context, 0)
    assert code == c.ERROR_INVALID_PARAMETER


def test_addref_checks_its_reserved_arguments(client: Client) -> None:
    """CryptContextAddRef wants NULL and 0, and adds nothing otherwise."""
    context = client.acquire()
    spare = ctypes.byref(ctypes.c_uint32())
    code = client.refused("CryptContextAddRef", context, spare, 0)
    assert code == c.ERROR_INVALID_PARAMETER
    assert client.refused("CryptContextAddRef", context, None, 1) == c.NTE_BAD_FLAGS
    client.CryptReleaseContext(context, 0)
    client.refused("CryptReleaseContext", context, 0)


def test_release_with_flags_fails_and_releases(client: Client) -> None:
    """CryptReleaseContext with flags returns FALSE, but the context is gone."""
    context = client.acquire()
    assert client.refused("CryptReleaseContext", context, 1) == c.NTE_BAD_FLAGS
    assert client.refused("CryptReleaseContext", context, 0) == c.ERROR_INVALID_PARAMETER


def test_release_with_flags_is_an_ordinary_one_before_the_last(client: Client) -> None:
    """Flags count for nothing while other references remain."""
    context = client.acquire()
    client.CryptContextAddRef(context, None, 0)
    client.CryptReleaseContext(context, 1)
    client.CryptReleaseContext(context, 0)


def test_keys_and_hashes_are_invalid_after_the_release(client: Client) -> None:
    """Every key and hash of a released context answers 87, its destruction included."""
    context = client.acquire()
    key = client.handle("CryptGenKey", context, c.CALG_AES_128, 0)
    made = client.handle("CryptCreateHash", context, c.CALG_SHA, 0, 0)
    client.CryptReleaseContext(context, 0)
    for name, arguments in (
        ("CryptHashData", (made, b"x", 1, 0)),
        ("CryptDestroyHash", (made,)),
        ("CryptDestroyKey", (key,)),
        ("CryptDuplicateKey", (key, None, 0, ctypes.byref(ctypes.c_size_t()))),
    ):
        assert client.refused(name, *arguments) == c.ERROR_INVALID_PARAMETER


def test_values_are_recycled_at_once(client: Client) -> None:
    """What was freed last is given out next, whatever kind it was."""
    context = client.acquire()
    key = client.handle("CryptGenKey", context, c.CALG_AES_128, 0)
    client.CryptDestroyKey(key)
    made = client.handle("CryptCreateHash", context, c.CALG_SHA, 0, 0)
    assert key == made
    client.CryptReleaseContext(context, 0)
    assert context == client.acquire()
    assert made == client.acquire()


def test_a_stale_handle_hits_its_successor(client: Client) -> None:
    """Releasing twice releases whoever got the value in between: the bug to be found."""
    old = client.acquire()
    client.CryptReleaseContext(old, 0)
    new = client.acquire()
    client.CryptReleaseContext(old, 0)
    client.refused("CryptGenRandom", new, 1, ctypes.create_string_buffer(1))


def test_values_look_like_pointers_and_fit_a_c_int(client: Client) -> None:
    """Handles are aligned and below 2**31, for clients that declare no argtypes."""
    for _ in range(100):
        handle = client.acquire()
        assert 0x10000 < handle < 2**31
        assert handle % 16 == 0


def test_never_reuse_gives_no_value_twice(client: Client) -> None:
    """With never_reuse_handles no stale handle can be taken for a live one."""
    softcsp.never_reuse_handles()
    seen = set()
    for _ in range(50):
        context = client.acquire()
        client.CryptReleaseContext(context, 0)
        seen.add(context)
    assert len(seen) == 50


def test_never_reuse_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """SOFTCSP_NEVER_REUSE=1 sets it, and nonsense is an error that says what is allowed."""
    monkeypatch.setenv("SOFTCSP_NEVER_REUSE", "1")
    assert Provider().table.never_reuse
    monkeypatch.setenv("SOFTCSP_NEVER_REUSE", "yes")
    with pytest.raises(ValueError, match="is not one of: 0, 1"):
        Provider()


def test_error_profile_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """SOFTCSP_ERRORS chooses the profile, and nonsense is an error that says what is allowed."""
    monkeypatch.setenv("SOFTCSP_ERRORS", "documented")
    assert Profile.DOCUMENTED is Provider().profile
    monkeypatch.setenv("SOFTCSP_ERRORS", "unix")
    with pytest.raises(ValueError, match="is not one of: windows, documented"):
        Provider()


def test_windows_profile_answers_87_for_every_bad_handle(client: Client) -> None:
    """NULL, garbage, wrong kind and stale are all ERROR_INVALID_PARAMETER in real advapi32."""
    context = client.acquire()
    key = client.handle("CryptGenKey", context, c.CALG_AES_128, 0)
    stale = client.acquire()
    client.CryptReleaseContext(stale, 0)
    for bad in (0, 0x1234, key, stale):
        assert client.refused("CryptReleaseContext", bad, 0) == c.ERROR_INVALID_PARAMETER
    assert client.refused("CryptDestroyKey", context) == c.ERROR_INVALID_PARAMETER


@pytest.mark.usefixtures("documented")
def test_documented_profile_tells_bad_handles_apart(client: Client) -> None:
    """In the documented profile each documented code has its own trigger."""
    context = client.acquire()
    key = client.handle("CryptGenKey", context, c.CALG_AES_128, 0)
    made = client.handle("CryptCreateHash", context, c.CALG_SHA, 0, 0)
    stale = client.acquire()
    client.CryptReleaseContext(stale, 0)
    release = "CryptReleaseContext"
    assert client.refused(release, 0, 0) == c.ERROR_INVALID_PARAMETER
    assert client.refused(release, key, 0) == c.ERROR_INVALID_HANDLE
    assert client.refused(release, stale, 0) == c.NTE_BAD_UID
    assert client.refused(release, 0x7FFF0000, 1) == c.NTE_BAD_UID
    assert client.refused("CryptDestroyKey", 0x7FFF0000) == c.NTE_BAD_KEY
    assert client.refused("CryptDestroyHash", 0x7FFF0000) == c.NTE_BAD_HASH
    assert client.refused(release, context, 1) == c.NTE_BAD_FLAGS
    assert client.refused("CryptDestroyKey", key) == c.NTE_BAD_UID
    assert client.refused("CryptDestroyHash", made) == c.NTE_BAD_UID


def test_parameters_of_a_context(client: Client) -> None:
    """CryptGetProvParam knows version, type, implementation and key specs."""
    context = client.acquire()
    for parameter, expected in (
        (c.PP_VERSION, 0x200),
        (c.PP_PROVTYPE, 24),
        (c.PP_IMPTYPE, c.CRYPT_IMPL_SOFTWARE),
        (c.PP_KEYSPEC, 3),
        (c.PP_KEYSET_TYPE, 0),
        (c.PP_SIG_KEYSIZE_INC, 8),
    ):
        found = client.data("CryptGetProvParam", context, parameter, flags=(0,))
        assert expected == int.from_bytes(found, "little")
    size = ctypes.byref(ctypes.c_uint32())
    arguments = (context, 0xBAD, None, size, 0)
    assert client.refused("CryptGetProvParam", *arguments) == c.NTE_BAD_TYPE


def test_too_little_room_tells_the_length(client: Client) -> None:
    """ERROR_MORE_DATA leaves the length that would do, and no data."""
    context = client.acquire()
    buffer, size = ctypes.create_string_buffer(4), ctypes.c_uint32(4)
    arguments = (context, c.PP_NAME, buffer, ctypes.byref(size), 0)
    assert client.refused("CryptGetProvParam", *arguments) == c.ERROR_MORE_DATA
    assert len(c.MS_ENH_RSA_AES_PROV) + 1 == size.value
    assert bytes(4) == buffer.raw


@pytest.mark.parametrize(("parameter", "size"), [(c.PP_ENUMALGS, 32), (c.PP_ENUMALGS_EX, 88)])
def test_algorithms_are_enumerated_with_a_cursor(client: Client, parameter: int, size: int) -> None:
    """An enumeration goes on until ERROR_NO_MORE_ITEMS and starts again with CRYPT_FIRST."""
    context = client.acquire()

    def step(flags: int) -> bytes:
        buffer, length = ctypes.create_string_buffer(size), ctypes.c_uint32(size)
        client.CryptGetProvParam(context, parameter, buffer, ctypes.byref(length), flags)
        return buffer.raw

    first = step(c.CRYPT_FIRST)
    found = [first]
    with contextlib.suppress(Exception):
        found.extend(iter(lambda: step(0), None))
    assert client.library.GetLastError() == c.ERROR_NO_MORE_ITEMS
    algids = [int.from_bytes(item[:4], "little") for item in found]
    assert len(algids) == len(set(algids))
    assert {c.CALG_AES_256, c.CALG_SHA_512, c.CALG_RSA_KEYX, c.CALG_HMAC} < set(algids)
    assert first == step(c.CRYPT_FIRST)


def test_providers_and_their_types_are_enumerated(client: Client) -> None:
    """CryptEnumProviders and CryptEnumProviderTypes list what can be acquired."""
    for wide in (False, True):
        suffix = "W" if wide else "A"
        index, found = 0, {}
        while True:
            kind, size = ctypes.c_uint32(), ctypes.c_uint32()
            references = (ctypes.byref(kind), None, ctypes.byref(size))
            name = f"CryptEnumProviders{suffix}"
            if not client.library[name](index, None, 0, *references):
                assert client.library.GetLastError() == c.ERROR_NO_MORE_ITEMS
                break
            make = ctypes.create_unicode_buffer if wide else ctypes.create_string_buffer
            buffer = make(size.value)
            references = (ctypes.byref(kind), buffer, ctypes.byref(size))
            getattr(client, name)(index, None, 0, *references)
            value = buffer.value
            found[value if isinstance(value, str) else value.decode()] = kind.value
            index += 1
        assert len(found) == 6
        for name, number in found.items():
            client.acquire(name=name.encode(), kind=number)
    kind, size = ctypes.c_uint32(), ctypes.c_uint32()
    last = (3, None, 0, ctypes.byref(kind), None, ctypes.byref(size))
    assert client.refused("CryptEnumProviderTypesA", *last) == c.ERROR_NO_MORE_ITEMS


def test_default_provider_can_be_asked_and_changed(client: Client) -> None:
    """CryptSetProviderEx changes what CryptGetDefaultProvider and acquiring answer."""

    def default(whose: int) -> bytes:
        size = ctypes.c_uint32()
        client.CryptGetDefaultProviderA(1, None, whose, None, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        client.CryptGetDefaultProviderA(1, None, whose, buffer, ctypes.byref(size))
        return buffer.value

    def acquired() -> bytes:
        context = client.acquire(kind=c.PROV_RSA_FULL)
        return client.data("CryptGetProvParam", context, c.PP_NAME, flags=(0,))[:-1]

    user, machine = c.CRYPT_USER_DEFAULT, c.CRYPT_MACHINE_DEFAULT
    nobody = (1, None, user, None, ctypes.byref(ctypes.c_uint32()))
    strong, weak = c.MS_STRONG_PROV.encode(), c.MS_DEF_PROV.encode()
    assert strong == default(machine) == acquired()
    assert client.refused("CryptGetDefaultProviderA", *nobody) == c.NTE_PROV_TYPE_NOT_DEF
    client.CryptSetProviderExA(weak, 1, None, user)
    assert weak == default(user) == acquired()
    assert strong == default(machine)
    client.CryptSetProviderExA(weak, 1, None, user | c.CRYPT_DELETE_DEFAULT)
    assert strong == acquired()
    client.CryptSetProviderExA(weak, 1, None, machine)
    assert weak == default(machine) == acquired()
    client.CryptSetProviderExA(weak, 1, None, machine | c.CRYPT_DELETE_DEFAULT)
    assert strong == default(machine)
    bad = (b"Nobody's Provider", 1, None, c.CRYPT_USER_DEFAULT)
    assert client.refused("CryptSetProviderExA", *bad) == c.NTE_BAD_PROVIDER


def test_threads_can_share_everything(client: Client) -> None:
    """Many threads acquire, use and release without disturbing each other."""
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(100):
                context = client.acquire()
                made = client.hashed(context, c.CALG_SHA, b"abc")
                assert client.value(made).hex()[:8] == "a9993e36"
                client.CryptDestroyHash(made)
                client.CryptReleaseContext(context, 0)
        except BaseException as problem:  # noqa: BLE001 - reported by the main thread
            failures.append(problem)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
