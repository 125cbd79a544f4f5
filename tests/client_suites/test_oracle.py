"""What became of handles, from hand-written traces."""

from __future__ import annotations

import oracle
import pytest
from native import SLOT, call, close, destroy, finalize, history, make, open_session, use


def values(handles: list[oracle.Handle]) -> list[int]:
    """Return the values of handles."""
    return [each.value for each in handles]


def test_a_session_that_is_closed_owes_nothing() -> None:
    """C_CloseSession and C_CloseAllSessions of its slot end a session."""
    seen = history(
        open_session(1, 1),
        open_session(2, 2),
        close(3, 1),
        call("C_CloseAllSessions", 4, slotID=SLOT),
    )
    assert seen.leaked_sessions() == []


def test_a_session_that_is_open_at_the_end_is_leaked() -> None:
    """C_Finalize and the end of the process leak what is open; another slot's close is no help."""
    seen = history(
        open_session(1, 1),
        call("C_CloseAllSessions", 2, slotID=SLOT + 1),
        finalize(3),
        call("C_Initialize", 4),
        open_session(5, 1),
        open_session(6, 2),
        close(7, 2),
    )
    assert [(each.value, each.ended) for each in seen.leaked_sessions()] == [
        (1, "finalized"),
        (1, ""),
    ]


def test_a_close_that_was_refused_closes_nothing() -> None:
    """Only a call that succeeded changes anything."""
    refused = close(2, 1, result="CKR_GENERAL_ERROR")
    assert values(history(open_session(1), refused).leaked_sessions()) == [1]


@pytest.mark.parametrize(
    ("template", "left"), [({}, [2]), ({"CKA_TOKEN": "False"}, [2]), ({"CKA_TOKEN": "True"}, [])]
)
def test_session_objects_are_left_over(template: dict[str, str], left: list[int]) -> None:
    """A session object that is not destroyed is left over, one on the token is not."""
    assert values(history(open_session(1), make(2, 2, **template), close(3)).left_objects()) == left


def test_a_destroyed_object_owes_nothing() -> None:
    """It may be destroyed through another session, but not by a call that is refused."""
    seen = history(
        open_session(1, 1),
        open_session(2, 9),
        make(3, 2),
        make(4, 3),
        destroy(5, 2, session=9),
        destroy(6, 3, result="CKR_ACTION_PROHIBITED"),
    )
    assert values(seen.left_objects()) == [3]


def test_found_objects_owe_nothing() -> None:
    """A search hands out objects of others."""
    seen = history(open_session(1), call("C_FindObjects", 2, hSession=1, found=(5,)), close(3))
    assert seen.left_objects() == []
    assert seen.alive(oracle.OBJECT, 5, 2.5)
    assert seen.alive(oracle.OBJECT, 5, 3.5) is None


def test_a_copy_lives_where_its_original_does() -> None:
    """A template without CKA_TOKEN takes it over; of an object that was found it is not known."""
    seen = history(
        open_session(1),
        make(2, 2, CKA_TOKEN="True"),
        call("C_FindObjects", 3, hSession=1, found=(8,)),
        call("C_CopyObject", 4, template={}, hSession=1, hObject=2, phNewObject=3),
        call("C_CopyObject", 5, template={}, hSession=1, hObject=8, phNewObject=4),
    )
    assert [each.token for each in seen.handles if each.kind == oracle.OBJECT] == [
        True,
        None,
        True,
        None,
    ]
    assert seen.left_objects() == []


def test_a_logout_ends_what_is_private() -> None:
    """Private objects of the slot die, public ones live, of others nobody knows."""
    seen = history(
        open_session(1, 1),
        open_session(2, 9),
        make(3, 2, CKA_PRIVATE="True"),
        make(4, 3, CKA_PRIVATE="False"),
        make(5, 4),
        call("C_Logout", 6, hSession=9),
    )
    assert [seen.alive(oracle.OBJECT, value, 7) for value in (2, 3, 4)] == [False, True, None]
    assert values(seen.left_objects()) == [2, 3, 4]


def test_a_refused_handle_that_was_valid_is_stale() -> None:
    """Sessions, objects and the library, in calls of any sort."""
    seen = history(
        open_session(1),
        make(2, 2),
        destroy(3, 2),
        use(4, 2, result="CKR_KEY_HANDLE_INVALID"),
        close(5),
        close(6, result="CKR_SESSION_HANDLE_INVALID"),
        finalize(7),
        call("C_GetSlotList", 8, result="CKR_CRYPTOKI_NOT_INITIALIZED"),
    )
    assert [(each.kind, each.value) for each in seen.stale] == [
        (oracle.OBJECT, 2),
        (oracle.SESSION, 1),
        (oracle.LIBRARY, 0),
    ]


def test_a_refused_handle_that_never_was_valid_is_not_stale() -> None:
    """Neither is one that is alive, nor what csptrace asks of the token."""
    question = call(
        "C_GetAttributeValue",
        5,
        result="CKR_OBJECT_HANDLE_INVALID",
        template={"CKA_TOKEN": "00007f5472ac13e0 / 1"},
        hSession=1,
        hObject=2,
    )
    seen = history(
        open_session(1),
        make(2, 2),
        use(3, 77, result="CKR_KEY_HANDLE_INVALID"),
        use(4, 2, result="CKR_KEY_HANDLE_INVALID"),
        destroy(4.5, 2),
        question,
        close(6, 55, result="CKR_SESSION_HANDLE_INVALID"),
    )
    assert seen.stale == []


def test_a_second_life_has_new_handles() -> None:
    """After C_Finalize the same number is another session."""
    seen = history(open_session(1), finalize(2), call("C_Initialize", 3), open_session(4), close(5))
    first, second = (each for each in seen.handles if each.kind == oracle.SESSION)
    assert (first.ended, second.ended) == ("finalized", "closed")
    assert [seen.alive(oracle.SESSION, 1, at) for at in (1.5, 3.5, 4.5, 5.5)] == [
        True,
        False,
        True,
        False,
    ]
    assert [seen.alive(oracle.LIBRARY, 0, at) for at in (0.05, 1, 2.5, 4)] == [
        None,
        True,
        False,
        True,
    ]


def test_a_fork_inherits_and_owes_nothing_for_it() -> None:
    """What the parent had opened is alive in the child, and what the child does stays there."""
    before = history(open_session(1), make(2, 2))
    seen = oracle.replay([open_session(3, 3), close(4, 1)], before)
    assert values(seen.leaked_sessions()) == [3]
    assert seen.left_objects() == []
    assert seen.alive(oracle.SESSION, 1, 3.5)
    assert not seen.alive(oracle.SESSION, 1, 4.5)
    assert before.alive(oracle.SESSION, 1, 4.5)
