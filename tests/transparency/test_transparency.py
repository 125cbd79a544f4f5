"""A traced program sees what it sees without the tracer, and so does the provider.

`player.py` plays the same programs with and without the tracer; return values, results, every last
error and every exception have to be equal, and on the genuine parts the sequence of native calls
with their arguments, too (Wine writes it down).
"""

from __future__ import annotations

import pytest
import windows_python
from programs import SCRIPTED, programs
from running import COUNT, GENUINE, MODES, SEED, SOFT, judge, play
from streams import compare, read

import csptrace


@pytest.fixture
def windows() -> None:
    """Skip without the genuine parts; fail if they are required."""
    windows_python.need()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("binding", SOFT)
def test_softcsp_programs_see_no_difference(binding: str, mode: str) -> None:
    """On softcsp, each step returns, leaves behind and raises the same with the tracer."""
    compared = judge(binding, mode)
    assert compared.differences == []
    assert compared.steps > (400 if mode == "raise" else 2000)
    assert play(binding, mode).findings


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("binding", GENUINE)
def test_windows_programs_make_the_same_native_calls(
    binding: str, mode: str, windows: None
) -> None:
    """On the genuine parts, the native calls, results and last errors are those without tracer."""
    compared = judge(binding, mode)
    assert compared.differences == []
    assert compared.calls > (400 if mode == "raise" else 2000)
    assert (compared.raised > 0) == (mode == "raise")
    assert (compared.second_releases > 0) == (binding == "win32crypt")
    assert play(binding, mode).findings


@pytest.mark.parametrize("binding", GENUINE)
def test_windows_programs_repeat_themselves(binding: str, windows: None) -> None:
    """Two untraced runs are equal, so that a difference of a traced one means something."""
    first, second = play(binding, "off"), play(binding, "off", 1)
    assert compare(first, second, quarantine=False).differences == []
    assert first.calls > 2000


def test_programs_depend_on_nothing_but_the_seed() -> None:
    """Equal seeds give equal programs, other seeds give others."""
    assert programs(SEED, COUNT) == programs(SEED, COUNT)
    assert programs(SEED, COUNT) != programs(SEED + 1, COUNT)
    assert len(programs(SEED, COUNT)) == len(SCRIPTED) + COUNT


# --- what destructors release -----------------------------------------------------------------


def _releases_of_a_forgotten_provider() -> int:
    """Destroy a key explicitly, forget its provider, and count the releases of the context."""
    from csptrace.softcsp import faults, win32crypt

    counter = faults.arm(faults.Fault("CryptReleaseContext", 1, nth=1 << 60))
    try:
        provider = win32crypt.CryptAcquireContext(None, None, 24, 0xF0000000)
        key = provider.CryptGenKey(0x660E, 0)
        key.CryptDestroyKey()
        del key, provider
        return counter.calls
    finally:
        faults.disarm()


def test_quarantine_of_a_key_does_not_keep_its_context() -> None:
    """A forgotten context is released by its object, although a quarantined key refers to it."""
    assert _releases_of_a_forgotten_provider() == 1
    with csptrace.tracing(quiet=True, strict=True) as tracer:
        assert _releases_of_a_forgotten_provider() == 1
        assert [finding.code.value for finding in tracer.check()] == ["lost"]
    assert _releases_of_a_forgotten_provider() == 1


# --- the comparison itself ------------------------------------------------------------------------

_RUN = """\
client {"program": 0}
client {"begin": 0, "op": "acquire", "slots": []}
0024:trace:crypt:CryptAcquireContextW (000000000170F098, (null), (null), 24, f0000000)
client {"end": 0, "seen": {"ret": 1, "value": 4419792, "new": "c1"}, "errors": [1]}
client {"begin": 1, "op": "release", "slots": ["c1"]}
0024:trace:crypt:CryptReleaseContext (0x4370d0, 00000000)
0024:trace:crypt:RSAENH_CPReleaseContext (hProv=00000001, dwFlags=00000000)
client {"end": 1, "seen": {"ret": 1}, "errors": [2]}
client {"begin": 2, "op": "drop", "slots": ["c1"]}
0024:trace:crypt:CryptReleaseContext (0x4370d0, 00000000)
client {"end": 2, "seen": {}, "errors": [87]}
client {"between": 0}
"""


def _differences(changed: str, *, quarantine: bool = False) -> list[str]:
    plain, traced = read(_RUN.splitlines()), read(changed.splitlines())
    return compare(plain, traced, quarantine=quarantine).differences


def test_comparison_overlooks_addresses() -> None:
    """Other values of handles and memory, and what the inner layers do, are no difference."""
    moved = _RUN.replace("4419792", "5000000").replace("0x4370d0", "0x4c4b40")
    moved = moved.replace("000000000170F098", "000000000170F0A8")
    assert _differences(moved) == []
    assert _differences(moved.replace("RSAENH_CPReleaseContext", "RSAENH_CPOther")) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("(0x4370d0, 00000000)", "(0x4370d0, 00000001)"),
        ("(0x4370d0, 00000000)", "(0x4370e0, 00000000)"),
        ("CryptReleaseContext", "CryptContextAddRef"),
        ('"ret": 1}, "errors": [2]', '"ret": 0}, "errors": [2]'),
        ('"errors": [2]', '"errors": [0]'),
        ("24, f0000000", "24, 00000000"),
        (
            'client {"begin": 1',
            '0024:trace:crypt:CryptGenRandom (0x4370d0, 8, 0)\nclient {"begin": 1',
        ),
    ],
)
def test_comparison_sees_every_change(old: str, new: str) -> None:
    """Another call, argument, result or last error is a difference."""
    assert len(_differences(_RUN.replace(old, new, 1))) == 1


def test_comparison_takes_away_the_second_release_only() -> None:
    """The quarantine explains one missing release of a dead handle, not a missing first one."""
    second = '0024:trace:crypt:CryptReleaseContext (0x4370d0, 00000000)\nclient {"end": 2'
    without = _RUN.replace(second, 'client {"end": 2').replace("[87]", "[9]")
    assert _differences(without) != []
    assert _differences(without, quarantine=True) == []
    first = "0024:trace:crypt:CryptReleaseContext (0x4370d0, 00000000)\n"
    assert _differences(without.replace(first, ""), quarantine=True) != []


def test_comparison_ends_at_a_raise() -> None:
    """What comes after a raise of the tracer is not compared, and it must precede the call."""
    start = _RUN[: _RUN.index("0024:trace:crypt:CryptReleaseContext")]
    raised = 'client {"raised": 1, "error": "DoubleRelease"}\nclient {"between": 0}\n'
    assert _differences(start + raised) == []
    call = "0024:trace:crypt:CryptReleaseContext (0x4370d0, 00000000)\n"
    assert len(_differences(start + call + raised)) == 1
    assert _differences(start + call + raised.replace("DoubleRelease", "HandleLeak")) == []
