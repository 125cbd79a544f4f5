"""Fault injection: chosen calls fail, and nothing else does."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from csptrace import softcsp
from csptrace.softcsp import constants as c
from csptrace.softcsp import faults, pywintypes, win32crypt

if TYPE_CHECKING:
    from conftest import Client


def test_the_nth_call_fails(client: Client) -> None:
    """With nth only that call fails, with the chosen code, and has no effect."""
    context = client.acquire()
    with softcsp.inject_fault("CryptGenKey", c.NTE_NO_MEMORY, nth=2) as fault:
        first = client.handle("CryptGenKey", context, c.CALG_AES_128, 0)
        code = client.refused("CryptGenKey", context, c.CALG_AES_128, 0, 0)
        third = client.handle("CryptGenKey", context, c.CALG_AES_128, 0)
    assert code == c.NTE_NO_MEMORY
    assert (fault.calls, fault.failures) == (3, 1)
    assert first != third
    client.handle("CryptGenKey", context, c.CALG_AES_128, 0)


def _run(client: Client, seed: int) -> list[bool]:
    context = client.acquire()
    hash_data = client.library.CryptHashData
    with softcsp.inject_fault("CryptHashData", c.NTE_FAIL, rate=0.5, seed=seed):
        made = client.handle("CryptCreateHash", context, c.CALG_SHA, 0, 0)
        return [bool(hash_data(made, b"x", 1, 0)) for _ in range(50)]


def test_a_fraction_fails_repeatably(client: Client) -> None:
    """With rate a fraction fails, the same calls for the same seed."""
    first = _run(client, 1)
    assert first == _run(client, 1)
    assert first != _run(client, 2)
    assert 10 < sum(first) < 40


def test_both_spellings_are_meant(client: Client) -> None:
    """A fault of CryptAcquireContext meets the A and the W function, and may be named so."""
    for name in ("CryptAcquireContext", "CryptAcquireContextA"):
        with softcsp.inject_fault(name, c.ERROR_FILE_NOT_FOUND):
            for spelling in ("CryptAcquireContextA", "CryptAcquireContextW"):
                code = client.refused(spelling, None, None, None, 0, 0)
                assert code == c.ERROR_FILE_NOT_FOUND


def test_the_pywin32_face_is_met_too() -> None:
    """A fault raises pywintypes.error there, and a failing destructor says nothing."""
    prov = win32crypt.CryptAcquireContext(None, None, 24, c.CRYPT_VERIFYCONTEXT)
    with (
        softcsp.inject_fault("CryptGenRandom", c.NTE_FAIL),
        pytest.raises(pywintypes.error) as caught,
    ):
        prov.CryptGenRandom(1)
    assert caught.value.winerror & 0xFFFFFFFF == c.NTE_FAIL
    with softcsp.inject_fault("CryptReleaseContext", c.ERROR_BUSY) as fault:
        del prov
    assert fault.failures == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("CryptNothing:error=NTE_FAIL", "'CryptNothing' is not one of: CryptAcquireContext"),
        ("CryptGenKey", "has no error="),
        ("CryptGenKey:error=NTE_WHAT", "cannot read"),
        ("CryptGenKey:error=5:when=2", "'when' is not one of: error, nth, rate, seed"),
        ("CryptGenKey:error=5:nth=x", "cannot read"),
        ("CryptGenKey:error=5:nth=0", "nth=0 is not 1 or more"),
        ("CryptGenKey:error=5:rate=2", "rate=2.0 is not between 0 and 1"),
        ("CryptGenKey:error=5:rate=1:nth=1", "nth or rate, not both"),
    ],
)
def test_bad_rules_are_errors(text: str, message: str) -> None:
    """A rule that cannot be read is a ValueError that says what is allowed."""
    with pytest.raises(ValueError, match=message):
        faults.from_text(text)


def test_rules_are_read_from_text() -> None:
    """SOFTCSP_FAULTS holds several rules, codes by name or number."""
    rules = faults.from_text("CryptGenKey:nth=3:error=NTE_NO_MEMORY; CryptHashData:error=0x5;")
    assert [(rule.function, rule.error, rule.nth) for rule in rules] == [
        ("CryptGenKey", c.NTE_NO_MEMORY, 3),
        ("CryptHashData", 5, None),
    ]


def test_faults_come_from_the_environment(python: str, child_environment: dict[str, str]) -> None:
    """SOFTCSP_FAULTS is in force in a process from its first call."""
    code = (
        "from csptrace.softcsp import advapi32 as a\n"
        "assert not a.CryptAcquireContextA(None, None, None, 0, 0)\n"
        "print(a.GetLastError())\n"
    )
    environment = {**child_environment, "SOFTCSP_FAULTS": "CryptAcquireContext:error=ERROR_BUSY"}
    done = subprocess.run(
        [python, "-c", code], env=environment, check=True, capture_output=True, text=True
    )
    assert done.stdout == "170\n"


def test_several_rules_can_meet_one_function(client: Client) -> None:
    """Rules of one function count on their own and are taken away one by one."""
    with softcsp.inject_fault("CryptReleaseContext", c.ERROR_BUSY, nth=1):
        with softcsp.inject_fault("CryptReleaseContext", c.NTE_FAIL, nth=2):
            context = client.acquire()
            assert client.refused("CryptReleaseContext", context, 0) == c.ERROR_BUSY
            assert client.refused("CryptReleaseContext", context, 0) == c.NTE_FAIL
        assert list(faults.armed) == ["CryptReleaseContext"]
        client.CryptReleaseContext(context, 0)
    assert faults.armed == {}
