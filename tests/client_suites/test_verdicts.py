"""Findings are held against the native calls: what is right, FALSE, MISSED or not to be judged."""

from __future__ import annotations

import dataclasses

import event_log
import native
from native import call, close, destroy, finalize, history, make, misuse, open_session, said, use
from verdicts import judge

SESSION, OBJECT = "CK_SESSION_HANDLE", "CK_OBJECT_HANDLE"


def leak(kind: str, value: int, acquired: float, at: float = 9.0) -> event_log.Finding:
    """Return a finding about a leak."""
    return native.leak(kind, value, acquired, at)


LEAKY = (open_session(1, 1), make(2, 2), make(3, 3), destroy(4, 3), open_session(5, 4), close(6, 4))
RIGHT = (leak(SESSION, 1, 1.001), leak(OBJECT, 2, 2.001))


def test_right_leaks_are_right() -> None:
    """What the oracle has and csptrace told is counted."""
    verdict = judge(history(*LEAKY), said(*RIGHT))
    assert (verdict.leaks, verdict.left) == (1, 1)
    assert verdict.false == verdict.missed == verdict.unjudged == []


def test_a_leak_of_a_released_handle_is_false() -> None:
    """A deliberately wrong finding is refuted, by name: destroyed, closed, or never made."""
    wrong = (leak(OBJECT, 3, 3.001), leak(SESSION, 4, 5.001), leak(SESSION, 99, 5.001))
    verdict = judge(history(*LEAKY), said(*RIGHT, *wrong))
    assert [each.split(" at ")[0] for each in verdict.false] == [
        "leaked-at-exit CK_OBJECT_HANDLE 0x3",
        "leaked-at-exit CK_SESSION_HANDLE 0x4",
        "leaked-at-exit CK_SESSION_HANDLE 0x63",
    ]


def test_a_leak_that_is_not_told_is_missed() -> None:
    """A finding that is taken away leaves its handle missed."""
    for index, what in enumerate(("session 0x1", "object 0x2")):
        verdict = judge(history(*LEAKY), said(*RIGHT[:index], *RIGHT[index + 1 :]))
        (missed,) = verdict.missed
        assert missed.startswith(f"leak of {what}, made at ")


def test_a_leak_of_a_found_or_stored_object_is_false() -> None:
    """Objects on the token and objects of others owe nothing."""
    seen = history(
        open_session(1, 1),
        make(2, 2, CKA_TOKEN="True"),
        call("C_FindObjects", 3, hSession=1, found=(5,)),
        close(4, 1),
    )
    verdict = judge(seen, said(leak(OBJECT, 2, 2.001), leak(OBJECT, 5, 3.001)))
    assert len(verdict.false) == 2


def test_lives_are_told_apart() -> None:
    """A leak of the first life does not stand for that of the second with the same number."""
    seen = history(open_session(1), finalize(2), call("C_Initialize", 3), open_session(4))
    first, second = leak(SESSION, 1, 1.001, 2.0), leak(SESSION, 1, 4.001)
    assert judge(seen, said(first, second)).missed == []
    (missed,) = judge(seen, said(first)).missed
    assert "made at 4.000, never ended" in missed
    (missed,) = judge(seen, said(second)).missed
    assert "made at 1.000, finalized at 2.000" in missed


def test_lives_that_follow_at_once_are_told_apart() -> None:
    """An acquisition is never that of a call which was made after it."""
    seen = history(
        open_session(1), finalize(1.002), call("C_Initialize", 1.002), open_session(1.003)
    )
    first, second = leak(SESSION, 1, 1.0025, 1.0026), leak(SESSION, 1, 1.0039)
    assert judge(seen, said(first, second)).missed == []


def test_a_leak_without_a_value_stands_for_one_handle() -> None:
    """`lost` of a session that csptrace never had is matched once, and false the second time."""
    lost = dataclasses.replace(leak(SESSION, -1, 0.0, 1.5), code="lost")
    seen = history(open_session(1, 1))
    assert judge(seen, said(lost)).leaks == 1
    verdict = judge(seen, said(lost, lost))
    assert (len(verdict.false), verdict.missed) == (1, [])


def test_a_finding_may_stand_for_several() -> None:
    """`times` handles that are alike are told by one finding."""
    seen = history(open_session(1, 1), make(2, 2), make(3, 3), make(4, 4), close(5))
    many = dataclasses.replace(leak(OBJECT, 2, 2.001), times=3)
    assert judge(seen, said(many)).left == 3
    assert len(judge(seen, said(dataclasses.replace(many, times=4))).false) == 1
    assert len(judge(seen, said(dataclasses.replace(many, times=2))).missed) == 1


def test_a_withdrawn_leak_does_not_count() -> None:
    """What a scope left alive and the program released later is no leak."""
    seen = history(open_session(1), close(2))
    early = leak(SESSION, 1, 1.001, 1.5)
    assert judge(seen, said(early)).false
    assert not judge(seen, said(dataclasses.replace(early, withdrawn=True))).false


def test_a_process_that_was_killed_could_not_tell() -> None:
    """What was alive at its end is not missed; what a C_Finalize before that left is."""
    seen = history(open_session(1), finalize(2), call("C_Initialize", 3), open_session(4))
    (missed,) = judge(seen, said(ended=False)).missed
    assert "finalized" in missed


STALE = (
    open_session(1),
    make(2, 2),
    use(2.5, 2),
    destroy(3, 2),
    use(4, 2, result="CKR_KEY_HANDLE_INVALID"),
    close(5),
)


def test_a_right_misuse_is_right() -> None:
    """The provider refused the call after it, or it was stopped and the trace knows of the end."""
    assert judge(history(*STALE), said(misuse(OBJECT, 2, 3.999))).misuses == 1
    stopped = (*STALE[:4], *STALE[5:])
    assert judge(history(*stopped), said(misuse(OBJECT, 2, 3.999)), raising=True).misuses == 1


def test_a_misuse_of_a_valid_handle_is_false() -> None:
    """The provider took the call, or the trace knows that the handle lives."""
    accepted = said(misuse(OBJECT, 2, 2.499), misuse(OBJECT, 2, 3.999))
    (false,) = judge(history(*STALE), accepted).false
    assert false.endswith("at 2.499: it was valid")
    stopped = said(misuse(OBJECT, 2, 2.499), misuse("CRYPTOKI", 1, 2.499))
    assert len(judge(history(*STALE), stopped, raising=True).false) == 2


def test_the_provider_is_believed_more_than_the_model() -> None:
    """A handle that the model calls dead and the provider takes is valid."""
    seen = history(*STALE[:4], use(4, 2), close(5))
    assert len(judge(seen, said(misuse(OBJECT, 2, 3.999))).false) == 1


def test_a_misuse_that_is_not_told_is_missed() -> None:
    """A refused use without a finding just before it is missed, unless all are stopped."""
    (missed,) = judge(history(*STALE, use(90, 0)), said(misuse(OBJECT, 2, 80.0))).missed
    assert missed == "C_SignInit refused object 0x2 with CKR_KEY_HANDLE_INVALID"
    assert judge(history(*STALE), said(), raising=True).missed == []


def test_a_finding_about_either_handle_tells_of_a_call() -> None:
    """A use of a dead session with its dead key is told by the key or by the session."""
    seen = history(
        open_session(1), make(2, 2), close(3), use(4, 2, result="CKR_SESSION_HANDLE_INVALID")
    )
    left = leak(OBJECT, 2, 2.001)
    for kind, value in ((OBJECT, 2), (SESSION, 1)):
        verdict = judge(seen, said(left, misuse(kind, value, 3.999)))
        assert (verdict.misuses, verdict.missed) == (1, [])


def test_what_the_calls_do_not_show_is_not_judged() -> None:
    """Other kinds, and handles of which nobody knows whether they live."""
    seen = history(open_session(1), call("C_FindObjects", 2, hSession=1, found=(5,)), close(3, 1))
    verdict = judge(seen, said(misuse("SEARCH_OPERATION", 1, 4.0), misuse(OBJECT, 5, 4.0)))
    assert len(verdict.unjudged) == 2
    assert verdict.false == []


EVENT = {"schema": 1, "run": "r", "pid": 1, "seq": 1, "mono": 0}


def test_the_event_log_is_read() -> None:
    """Findings have the time of their acquisition, and are withdrawn if a release follows."""
    handle = {"hid": 4, "kind": SESSION, "value": "0x00000001", "gen": 1}
    finding = {**EVENT, **handle, "event": "csptrace.finding", "severity": "warning"}
    finding |= {"code": "leaked-at-exit", "inherited": False, "ts": 2_000_000_000}
    events = [
        {**EVENT, **handle, "event": "csptrace.handle_acquired", "ts": 1_000_000_000},
        finding,
        {
            **(EVENT | handle),
            "event": "csptrace.handle_released",
            "how": "released",
            "ts": 3_000_000_000,
        },
        {**EVENT, "event": "csptrace.run_ended", "ts": 4_000_000_000},
    ]
    parsed = event_log.parse(events)
    (each,) = parsed.findings
    assert (each.value, each.acquired, each.at, each.withdrawn) == (1, 1.0, 2.0, True)
    assert parsed.ended
    (each,) = event_log.parse([events[0], {**finding, "value": "object 0x7f"}]).findings
    assert (each.value, each.withdrawn) == (-1, False)


def test_a_frozen_clock_is_put_right() -> None:
    """What a test's frozen clock dates before or after the run has the time of what follows."""
    times = [1_000, 5, 2_000, 9_000, 3_000]
    events = [
        {**EVENT, "event": "csptrace.handle_acquired", "hid": each, "ts": ts}
        for each, ts in enumerate(times)
    ]
    real = [each["ts"] for each in event_log._in_real_time(events)]
    assert real == [1_000, 2_000, 2_000, 3_000, 3_000]
    assert event_log._in_real_time([]) == []
