"""Containers on disk: they outlive processes, crashes and each other's changes."""

from __future__ import annotations

import ctypes
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from csptrace.softcsp import constants as c
from csptrace.softcsp import store

if TYPE_CHECKING:
    from conftest import Client

RSA_1024 = 1024 << 16

posix_only = pytest.mark.skipif(os.name != "posix", reason="file modes and signals of Unix")


def _new(client: Client, name: bytes = b"box") -> int:
    return client.acquire(name, flags=c.CRYPT_NEWKEYSET)


def _public(client: Client, context: int, spec: int) -> bytes:
    key = client.handle("CryptGetUserKey", context, spec)
    return client.data("CryptExportKey", key, 0, c.PUBLICKEYBLOB, 0)


def _files() -> list[Path]:
    return sorted(path for path in store.home().rglob("*.json"))


def test_pairs_survive_the_release(client: Client) -> None:
    """A container and its pairs are there after the context is released."""
    context = _new(client)
    client.handle("CryptGenKey", context, c.AT_SIGNATURE, RSA_1024)
    expected = _public(client, context, c.AT_SIGNATURE)
    client.CryptReleaseContext(context, 0)
    assert expected == _public(client, client.acquire(b"box", flags=0), c.AT_SIGNATURE)


CHILD = """
import ctypes, sys
from csptrace.softcsp import advapi32
h, k = ctypes.c_size_t(), ctypes.c_size_t()
assert advapi32.CryptAcquireContextA(ctypes.byref(h), b"box", None, 24, int(sys.argv[1]))
"""


def test_pairs_survive_the_process(
    client: Client, python: str, child_environment: dict[str, str]
) -> None:
    """A pair made by another process is found here, and one made here there."""
    code = CHILD + (
        "assert advapi32.CryptGenKey(h, 1, 1024 << 16, ctypes.byref(k))\n"
        "b = ctypes.create_string_buffer(148); n = ctypes.c_uint32(148)\n"
        "assert advapi32.CryptExportKey(k, 0, 6, 0, b, ctypes.byref(n))\n"
        "print(b.raw.hex())\n"
    )
    command = [python, "-c", code, str(c.CRYPT_NEWKEYSET)]
    done = subprocess.run(
        command, env=child_environment, check=True, capture_output=True, text=True
    )
    context = client.acquire(b"box", flags=0)
    assert done.stdout.strip() == _public(client, context, c.AT_KEYEXCHANGE).hex()


def test_other_contexts_see_a_new_pair(client: Client) -> None:
    """A pair replaced through one context is what another open context gets next."""
    first = _new(client)
    second = client.acquire(b"box", flags=0)
    for _ in range(2):
        client.handle("CryptGenKey", first, c.AT_SIGNATURE, RSA_1024)
        expected = _public(client, first, c.AT_SIGNATURE)
        assert expected == _public(client, second, c.AT_SIGNATURE)


def test_new_on_an_existing_container_is_refused(client: Client) -> None:
    """CRYPT_NEWKEYSET on an existing container is NTE_EXISTS, whatever the case of its name."""
    _new(client)
    out = ctypes.byref(ctypes.c_size_t())
    for name in (b"box", b"BOX"):
        arguments = (out, name, None, 24, c.CRYPT_NEWKEYSET)
        assert client.refused("CryptAcquireContextA", *arguments) == c.NTE_EXISTS


def test_deleting_gives_no_handle_and_spares_open_ones(client: Client) -> None:
    """CRYPT_DELETEKEYSET succeeds with a context open, which goes on in memory."""
    context = _new(client)
    client.handle("CryptGenKey", context, c.AT_SIGNATURE, RSA_1024)
    expected = _public(client, context, c.AT_SIGNATURE)
    assert client.acquire(b"box", flags=c.CRYPT_DELETEKEYSET) == 0
    assert _files() == []
    assert expected == _public(client, context, c.AT_SIGNATURE)
    client.handle("CryptGenKey", context, c.AT_KEYEXCHANGE, RSA_1024)
    _public(client, context, c.AT_KEYEXCHANGE)
    assert _files() == []
    out = ctypes.byref(ctypes.c_size_t())
    refused = client.refused("CryptAcquireContextA", out, b"box", None, 24, 0)
    assert refused == c.NTE_BAD_KEYSET


def test_a_verify_context_touches_no_disk(client: Client) -> None:
    """CRYPT_VERIFYCONTEXT keeps its pairs in memory and leaves nothing behind."""
    context = client.acquire()
    client.handle("CryptGenKey", context, c.AT_SIGNATURE, RSA_1024)
    _public(client, context, c.AT_SIGNATURE)
    assert not store.home().exists()


@pytest.mark.parametrize("name", ["a/../b", "...", "ünï", "x" * 500, "nul", " ", "a\\b:c*?"])
def test_names_may_hold_anything(client: Client, name: str) -> None:
    """Any text is a container name, and no name leaves the directory."""
    context = _new(client, name.encode())
    found = client.data("CryptGetProvParam", context, c.PP_CONTAINER, flags=(0,))
    assert name.encode() + b"\0" == found
    client.acquire(name.encode(), flags=0)
    assert [store.home() / "user"] == [path.parent for path in _files()]


def test_the_default_container_has_the_users_name(client: Client) -> None:
    """Without a name the container is the one named after the user."""
    context = client.acquire(None, flags=c.CRYPT_NEWKEYSET)
    found = client.data("CryptGetProvParam", context, c.PP_CONTAINER, flags=(0,))
    assert len(found) > 1
    client.acquire(b"", flags=0)


def test_containers_are_enumerated(client: Client) -> None:
    """PP_ENUMCONTAINERS lists the user's containers, the machine's being apart."""
    for name in (b"b", b"a"):
        _new(client, name)
    client.acquire(b"m", flags=c.CRYPT_NEWKEYSET | c.CRYPT_MACHINE_KEYSET)
    for flags, expected in ((0, [b"a", b"b"]), (c.CRYPT_MACHINE_KEYSET, [b"m"])):
        context = client.acquire(flags=c.CRYPT_VERIFYCONTEXT | flags)
        found = []
        first = c.CRYPT_FIRST
        buffer = ctypes.create_string_buffer(300)
        while client.library.CryptGetProvParam(
            context, c.PP_ENUMCONTAINERS, buffer, ctypes.byref(ctypes.c_uint32(300)), first
        ):
            found.append(buffer.value)
            first = 0
        assert client.library.GetLastError() == c.ERROR_NO_MORE_ITEMS
        assert expected == found


@posix_only
def test_only_the_owner_can_read(client: Client) -> None:
    """Files have mode 0600 and directories 0700."""
    client.handle("CryptGenKey", _new(client), c.AT_SIGNATURE, RSA_1024)
    (path,) = _files()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(store.home().stat().st_mode) == 0o700


def test_a_password_encrypts_the_stored_pair(client: Client) -> None:
    """With a PIN a pair is stored as encrypted PKCS #8 and cannot be used without it."""
    context = _new(client)
    client.CryptSetProvParam(context, c.PP_SIGNATURE_PIN, b"1234", 0)
    client.handle("CryptGenKey", context, c.AT_SIGNATURE, RSA_1024)
    expected = _public(client, context, c.AT_SIGNATURE)
    (path,) = _files()
    assert "BEGIN ENCRYPTED PRIVATE KEY" in path.read_text()
    other = client.acquire(b"box", flags=0)
    out = ctypes.byref(ctypes.c_size_t())
    get = ("CryptGetUserKey", other, c.AT_SIGNATURE, out)
    assert client.refused(*get) == c.NTE_SILENT_CONTEXT
    pin = ("CryptSetProvParam", other, c.PP_SIGNATURE_PIN, b"4321", 0)
    assert client.refused(*pin) == c.SCARD_W_WRONG_CHV
    client.CryptSetProvParam(other, c.PP_SIGNATURE_PIN, b"1234", 0)
    assert expected == _public(client, other, c.AT_SIGNATURE)


def test_a_password_given_later_encrypts_what_is_there(client: Client) -> None:
    """Giving a PIN to a container whose pair has none stores the pair again, encrypted."""
    context = _new(client)
    client.handle("CryptGenKey", context, c.AT_KEYEXCHANGE, RSA_1024)
    (path,) = _files()
    assert "BEGIN PRIVATE KEY" in path.read_text()
    client.CryptSetProvParam(context, c.PP_KEYEXCHANGE_PIN, b"1234", 0)
    assert "BEGIN ENCRYPTED PRIVATE KEY" in path.read_text()


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"format": "softcsp container 1"}'])
def test_a_damaged_file_is_told(client: Client, content: str) -> None:
    """A damaged container file is NTE_KEYSET_ENTRY_BAD, and can be deleted."""
    client.CryptReleaseContext(_new(client), 0)
    (path,) = _files()
    path.write_text(content)
    out = ctypes.byref(ctypes.c_size_t())
    refused = client.refused("CryptAcquireContextA", out, b"box", None, 24, 0)
    assert refused == c.NTE_KEYSET_ENTRY_BAD
    client.acquire(b"box", flags=c.CRYPT_DELETEKEYSET)


def test_a_directory_that_cannot_be_made_is_a_failure(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing can be written the call fails with NTE_FAIL, not with an exception."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("SOFTCSP_HOME", str(blocked))
    out = ctypes.byref(ctypes.c_size_t())
    arguments = (out, b"box", None, 24, c.CRYPT_NEWKEYSET)
    assert client.refused("CryptAcquireContextA", *arguments) == c.NTE_FAIL


def test_the_platforms_directory_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without SOFTCSP_HOME containers are in the user's data directory."""
    monkeypatch.delenv("SOFTCSP_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    monkeypatch.setattr(sys, "platform", "linux")
    assert Path("/data/softcsp") == store.home()
    monkeypatch.delenv("XDG_DATA_HOME")
    assert Path.home() / ".local/share/softcsp" == store.home()
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "Application Support" in str(store.home())
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", "/local")
    assert Path("/local/softcsp") == store.home()


WRITER = """
import sys
from csptrace.softcsp import store
box = store.ContainerFile("box")
n = 0
while True:
    n += 1
    box.update({int(sys.argv[1]): store.StoredPair("X" * 20000 + str(n), True)})
    if n == 1:
        print("writing", flush=True)
"""


@posix_only
def test_a_killed_writer_leaves_the_old_or_the_new(
    python: str, child_environment: dict[str, str]
) -> None:
    """However often two writers are killed, the file is whole and no lock stays behind."""
    box = store.ContainerFile("box")
    box.create()
    for round_ in range(8):
        children = [
            subprocess.Popen(
                [python, "-c", WRITER, spec], env=child_environment, stdout=subprocess.PIPE
            )
            for spec in ("1", "2")
        ]
        for child in children:
            assert child.stdout is not None
            child.stdout.readline()
        time.sleep(0.011 * round_)
        for child in children:
            child.send_signal(signal.SIGKILL)
            child.wait()
            assert child.stdout is not None
            child.stdout.close()
        pairs = store.ContainerFile("box").read()
        assert {1, 2} == set(pairs)
        assert all(pair.pem.startswith("X" * 20000) for pair in pairs.values())
    box.update({1: store.StoredPair("end", exportable=False)})
    assert box.read()[1].pem == "end"
    assert list(store.home().rglob("*.tmp")) == []


def test_only_leftovers_of_its_own_are_removed() -> None:
    """What a killed writer has left goes; other files of the user's in the folder stay."""
    box = store.ContainerFile("box")
    box.create()
    leftover = box.path.with_name(f"{box.path.name}.{'0' * 16}.tmp")
    others = [box.path.with_name(name) for name in ("notes.tmp", "box.json.tmp", "x.json.0.tmp")]
    for path in (leftover, *others):
        path.write_text("half")
    box.update({1: store.StoredPair("new", exportable=False)})

    assert not leftover.exists()
    assert [path.read_text() for path in others] == ["half"] * 3


HOLDER = CHILD + "print('open', flush=True)\nsys.stdin.read()\n"


@posix_only
@pytest.mark.usefixtures("documented")
def test_busy_while_another_process_uses_the_container(
    client: Client, python: str, child_environment: dict[str, str]
) -> None:
    """A container that another process opened first cannot be released or deleted here."""
    client.CryptReleaseContext(_new(client), 0)
    environment = {**child_environment, "SOFTCSP_ERRORS": "documented"}
    with subprocess.Popen(
        [python, "-c", HOLDER, "0"],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"open\n"
        context = client.acquire(b"box", flags=0)
        assert client.refused("CryptReleaseContext", context, 0) == c.ERROR_BUSY
        out = ctypes.byref(ctypes.c_size_t())
        delete = (out, b"box", None, 24, c.CRYPT_DELETEKEYSET)
        assert client.refused("CryptAcquireContextA", *delete) == c.ERROR_BUSY
        client.CryptGenRandom(context, 1, ctypes.create_string_buffer(1))
        child.kill()
        child.wait()
    client.CryptReleaseContext(context, 0)
    client.acquire(b"box", flags=c.CRYPT_DELETEKEYSET)


@pytest.mark.usefixtures("documented")
def test_one_process_is_never_busy_with_itself(client: Client) -> None:
    """Two contexts of one process on one container release each other's way."""
    first = _new(client)
    second = client.acquire(b"box", flags=0)
    client.CryptReleaseContext(first, 0)
    client.CryptReleaseContext(second, 0)
