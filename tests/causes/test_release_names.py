"""What handles are released with, in the words of each binding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from csptrace.apis.cryptoapi import spec as cryptoapi
from csptrace.apis.pkcs11 import spec as pkcs11
from csptrace.causes.release_names import Vocabulary
from csptrace.graph.handle import CallRecord
from csptrace.graph.sites import CallSite, Thread
from csptrace.stacks.ownership import Ownership
from csptrace.stacks.stack import Stack

if TYPE_CHECKING:
    from pathlib import Path

    from csptrace.spec.kinds import Kind

WRAPPER = """
class Session:
    def __init__(self, lib):
        self.lib = lib

    def openSession(self):
        self.handle = self.lib.C_OpenSession()

    def closeSession(self):
        self.lib.C_CloseSession(self.handle)

    def reopen(self):
        self.lib.C_CloseSession(self.handle)
        self.handle = self.lib.C_OpenSession()

    def digest(self):
        self.lib.C_Digest(self.handle)
"""


def call_record(call: str, binding: str, *codes: Any, api: str = "pkcs11") -> CallRecord:
    """Return an acquisition."""
    stack = Stack(tuple(codes), (0,) * len(codes), 0)
    return CallRecord(CallSite(call, api, binding), stack, Thread(1, "MainThread"), "", 0, None)


def names(kind: Kind, begin: CallRecord) -> Any:
    """Return what releases a handle."""
    return Vocabulary([cryptoapi.SPEC, pkcs11.SPEC], Ownership()).of(kind, begin)


@pytest.mark.parametrize("binding", ["ctypes", "cffi"])
def test_a_c_function_is_called_with_the_handle(binding: str) -> None:
    """Its name is enough, wherever the handle stands in the call."""
    found = names(cryptoapi.KEY, call_record("CryptGenKey", binding, api="cryptoapi"))

    assert found.word == "CryptDestroyKey"
    assert "CryptDestroyKey" in found.functions
    assert not found.methods
    assert "CryptEncrypt" in found.harmless


def test_a_method_is_called_on_the_handle_itself() -> None:
    """A common name like close() counts only there."""
    found = names(pkcs11.SESSION, call_record("C_OpenSession", "python-pkcs11"))

    assert found.word == "close"
    assert {"close", "__exit__"} <= found.methods
    assert "close" not in found.functions
    assert names(pkcs11.OBJECT, call_record("C_GenerateKey", "python-pkcs11")).word == "destroy"


def test_another_binding_has_other_names() -> None:
    """A handle that came through ctypes is not closed by a method."""
    assert "close" not in names(pkcs11.SESSION, call_record("C_OpenSession", "ctypes")).methods


def test_the_words_of_python_around_a_binding_are_read_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What calls the release and nothing else is what its user types."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    path = folder / "wrapper.py"
    path.write_text(WRAPPER, encoding="utf-8")
    space: dict[str, Any] = {}
    exec(compile(WRAPPER, str(path), "exec"), space)
    code = space["Session"].openSession.__code__
    found = names(pkcs11.SESSION, call_record("C_OpenSession", "PyKCS11", code))

    assert found.word == "closeSession"
    assert "closeSession" in found.functions
    assert "reopen" not in found.functions  # it acquires, too
    assert "digest" in found.harmless


def test_what_adds_a_reference_is_known() -> None:
    """One release is not the end of what is counted."""
    found = names(cryptoapi.PROV, call_record("CryptAcquireContextW", "ctypes", api="cryptoapi"))

    assert "CryptContextAddRef" in found.shares
