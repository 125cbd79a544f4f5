"""What became of every handle, worked out from the native calls alone.

Knows nothing of csptrace: what is here follows from PKCS #11 v3.1, sections 5.4 to 5.7, and from
what the provider answered. A session that is not closed (C_CloseSession, C_CloseAllSessions) before
C_Finalize or the end of the process is leaked. An object that was made as a session object
(CKA_TOKEN false, the default) and not destroyed by C_DestroyObject is left over: to the close of
its session, which destroys it, or leaked with that. Objects stored on the token and objects that
were found owe nothing. A use is stale if the provider refuses the handle as invalid and it was
valid before.
"""

from __future__ import annotations

import copy
import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from spy_log import Call

SESSION = "session"
OBJECT = "object"
LIBRARY = "library"

_SESSION_REFUSED = frozenset({"CKR_SESSION_HANDLE_INVALID", "CKR_SESSION_CLOSED"})
_OBJECT_REFUSED = frozenset(
    {
        "CKR_OBJECT_HANDLE_INVALID",
        "CKR_KEY_HANDLE_INVALID",
        "CKR_WRAPPING_KEY_HANDLE_INVALID",
        "CKR_UNWRAPPING_KEY_HANDLE_INVALID",
    }
)
_LIBRARY_REFUSED = frozenset({"CKR_CRYPTOKI_NOT_INITIALIZED"})
REFUSED = {
    # A dead session or library takes what is under it along.
    LIBRARY: _LIBRARY_REFUSED,
    SESSION: _LIBRARY_REFUSED | _SESSION_REFUSED,
    OBJECT: _LIBRARY_REFUSED | _SESSION_REFUSED | _OBJECT_REFUSED,
}
"""The return codes that say that a handle is not valid, by kind."""

_OBJECTS = frozenset({"hObject", "hKey", "hBaseKey", "hWrappingKey", "hUnwrappingKey"})

# The parameter with the new handle, and the template that says where the object lives. A `hKey`
# that is printed as a result is one.
_MADE = {
    "C_CreateObject": (("phObject", "in pTemplate"),),
    "C_CopyObject": (("phNewObject", "in pTemplate"),),
    "C_GenerateKey": (("hKey", "in pTemplate"),),
    "C_GenerateKeyPair": (
        ("hPublicKey", "in pPublicKeyTemplate"),
        ("hPrivateKey", "in pPrivateKeyTemplate"),
    ),
    "C_UnwrapKey": (("hKey", "in pTemplate"),),
    "C_DeriveKey": (("hKey", "in pTemplate"),),
}


@dataclasses.dataclass(eq=False)
class Handle:
    """One life of one handle.

    `ended` says what ended it, empty while it lives; `doubtful` is the time from which it may be
    dead and nothing in the trace says so. `token` and `private` are None where the trace does not
    tell. `inherited` handles were another process's before a fork.
    """

    kind: str
    value: int
    began: float
    slot: int
    session: Handle | None = None
    found: bool = False
    token: bool | None = False
    private: bool | None = None
    ended: str = ""
    ended_at: float = float("inf")
    doubtful: float = float("inf")
    inherited: bool = False

    def end(self, how: str, at: float) -> None:
        """Note its end, unless it had ended before."""
        if not self.ended:
            self.ended, self.ended_at = how, at


@dataclasses.dataclass(frozen=True)
class StaleUse:
    """A call that the provider refused because of a handle that had been valid before."""

    call: Call
    kind: str
    value: int
    known_dead: bool


@dataclasses.dataclass
class History:
    """All handles of one process, and what was done with them after their end."""

    handles: list[Handle] = dataclasses.field(default_factory=list)
    stale: list[StaleUse] = dataclasses.field(default_factory=list)
    calls: list[Call] = dataclasses.field(default_factory=list)
    library: list[tuple[float, bool]] = dataclasses.field(default_factory=list)

    def leaked_sessions(self) -> list[Handle]:
        """Return the sessions that this process opened and never closed."""
        return [
            each
            for each in self.handles
            if each.kind == SESSION and not each.inherited and each.ended in ("", "finalized")
        ]

    def left_objects(self) -> list[Handle]:
        """Return the session objects that this process made and never destroyed."""
        return [
            each
            for each in self.handles
            if each.kind == OBJECT
            and not each.inherited
            and not each.found
            and each.token is False
            and each.ended != "destroyed"
        ]

    def at(self, kind: str, value: int, when: float) -> Handle | None:
        """Return the last handle with this value that began by then."""
        return next(
            (
                each
                for each in reversed(self.handles)
                if each.kind == kind and each.value == value and each.began <= when
            ),
            None,
        )

    def alive(self, kind: str, value: int, when: float) -> bool | None:
        """Return whether a handle was valid at a time; None if the trace does not say."""
        if kind == LIBRARY:
            return next((state for at, state in reversed(self.library) if at <= when), None)
        handle = self.at(kind, value, when)
        if handle is None:
            return None
        if handle.ended_at <= when:
            return False
        return None if handle.doubtful <= when else True


def replay(calls: Iterable[Call], before: History | None = None) -> History:
    """Return the history that a sequence of calls makes.

    Args:
        calls: of one process, in order.
        before: the history that a fork inherited.
    """
    history = History()
    if before is not None:
        history.handles = copy.deepcopy(before.handles)
        history.library = list(before.library)
        for each in history.handles:
            each.inherited = True
    for call in calls:
        history.calls.append(call)
        if call.ok:
            _apply(history, call)
        elif not is_question(call):
            history.stale += _stale(history, call)
    return history


def is_question(call: Call) -> bool:
    """Return whether a call is one that csptrace documents as its own: CKA_TOKEN or CKA_PRIVATE.

    Its refusal says nothing about the program.
    """
    template = call.templates.get("in pTemplate", {})
    return call.name == "C_GetAttributeValue" and (
        len(template) == 1
        and next(iter(template)) in ("CKA_TOKEN", "CKA_PRIVATE")
        and next(iter(template.values())).endswith("/ 1")
    )


def handles_of(call: Call) -> Iterator[tuple[str, int]]:
    """Yield the handles that a call was given."""
    made = {name for name, _ in _MADE.get(call.name, ())}
    for name, value in call.numbers.items():
        if name == "hSession":
            yield SESSION, value
        elif name in _OBJECTS and not (call.ok and name in made):
            yield OBJECT, value


def _apply(history: History, call: Call) -> None:
    """Change the history by a call that succeeded."""
    numbers = call.numbers
    if call.name == "C_Initialize":
        history.library.append((call.at, True))
    elif call.name == "C_Finalize":
        history.library.append((call.at, False))
        for each in history.handles:
            each.end("finalized", call.at)
    elif call.name == "C_OpenSession":
        history.handles.append(
            Handle(SESSION, numbers["phSession"], call.at, numbers.get("slotID", 0))
        )
    elif call.name == "C_CloseSession":
        _close(history, [_session(history, call)], call.at)
    elif call.name in ("C_CloseAllSessions", "C_InitToken"):
        slot = numbers.get("slotID", 0)
        _close(history, [each for each in _living(history, SESSION) if each.slot == slot], call.at)
        if call.name == "C_InitToken":
            for each in _living(history, OBJECT):
                if each.slot == slot:
                    each.end("destroyed", call.at)
    elif call.name == "C_Logout":
        _logged_out(history, _slot(history, call), call.at)
    elif call.name == "C_DestroyObject":
        handle = history.at(OBJECT, numbers["hObject"], call.at)
        if handle is not None:
            handle.end("destroyed", call.at)
    elif call.name == "C_FindObjects":
        for value in call.found:
            _found(history, call, value)
    for name, template in _MADE.get(call.name, ()):
        if name in numbers:
            _made(history, call, numbers[name], call.templates.get(template, {}))


def _made(history: History, call: Call, value: int, template: dict[str, str]) -> None:
    token: bool | None = template.get("CKA_TOKEN") == "True"
    private = {"True": True, "False": False}.get(template.get("CKA_PRIVATE", ""))
    if call.name == "C_CopyObject":
        copied = history.at(OBJECT, call.numbers["hObject"], call.at)
        if "CKA_TOKEN" not in template:
            token = copied.token if copied is not None else None
        if private is None and copied is not None:
            private = copied.private
    session = _session(history, call)
    history.handles.append(
        Handle(OBJECT, value, call.at, _slot(history, call), session, False, token, private)
    )


def _found(history: History, call: Call, value: int) -> None:
    """Enter an object that a search found, unless it is known and alive: then it surely is."""
    handle = history.at(OBJECT, value, call.at)
    if handle is not None and not handle.ended:
        handle.doubtful = float("inf")
        return
    session = _session(history, call)
    history.handles.append(
        Handle(OBJECT, value, call.at, _slot(history, call), session, True, None, None)
    )


def _close(history: History, sessions: list[Handle | None], at: float) -> None:
    """End sessions, the session objects that were made through them, and the last one's login."""
    for session in sessions:
        if session is None:
            continue
        session.end("closed", at)
        for each in _living(history, OBJECT):
            if each.session is not session:
                continue
            if each.token is False:
                each.end("closed with its session", at)
            elif each.token is None:
                each.doubtful = min(each.doubtful, at)
        if not any(each.slot == session.slot for each in _living(history, SESSION)):
            _logged_out(history, session.slot, at, everything=True)


def _logged_out(history: History, slot: int, at: float, *, everything: bool = False) -> None:
    """End what is private in a slot; what may be is doubtful from then on."""
    for each in _living(history, OBJECT):
        if each.slot != slot:
            continue
        if each.private:
            each.end("logged out", at)
        elif each.private is None or everything:
            each.doubtful = min(each.doubtful, at)


def _living(history: History, kind: str) -> list[Handle]:
    return [each for each in history.handles if each.kind == kind and not each.ended]


def _session(history: History, call: Call) -> Handle | None:
    return history.at(SESSION, call.numbers.get("hSession", 0), call.at)


def _slot(history: History, call: Call) -> int:
    session = _session(history, call)
    return session.slot if session is not None else -1


def _stale(history: History, call: Call) -> Iterator[StaleUse]:
    """Yield what a refused call says about handles that were valid before."""
    if call.result in _LIBRARY_REFUSED:
        # To finalize what is not initialized reaches nothing; PyKCS11's unload does, and throws
        # the answer away.
        if call.name != "C_Finalize" and history.library and not history.library[-1][1]:
            yield StaleUse(call, LIBRARY, 0, known_dead=True)
        return
    refused = {SESSION: _SESSION_REFUSED, OBJECT: _OBJECT_REFUSED}
    for kind, value in handles_of(call):
        if call.result in refused[kind] and history.at(kind, value, call.at) is not None:
            alive = history.alive(kind, value, call.at)
            if alive is not True:
                yield StaleUse(call, kind, value, known_dead=alive is False)
