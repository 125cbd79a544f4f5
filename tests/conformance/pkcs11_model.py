"""A reference model of PKCS#11 as SoftHSM answers, and of what a tracer can know of it.

Written from the text of PKCS#11 v3.1 (5.4 library, 5.6 sessions, 5.7 objects) and from what SoftHSM
2.6 was measured to do; it shares no code with csptrace. It follows a program step by step, as
`pkcs11_player` has played it; `pkcs11_rules` holds the program against it.

Measured, where the text leaves it open: sessions and objects are counted together, from 1 in each
life of the library, and no number comes again within a life; an object has one number, in every
session; with the last session of a slot the numbers of its token objects go, too; a forked child
goes on with a copy of everything but the token, and notices late what another process has stored.
"""

from __future__ import annotations

import copy
import dataclasses
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

LIBRARY: Final = "CRYPTOKI"
WAY: Final = "CK_FUNCTION_LIST"
SESSION: Final = "CK_SESSION_HANDLE"
OBJECT: Final = "CK_OBJECT_HANDLE"
ENCRYPTION: Final = "ENCRYPT_OPERATION"
SEARCH: Final = "SEARCH_OPERATION"

EARLY: Final = "early"
PYKCS11: Final = "PyKCS11"
PYTHON_PKCS11: Final = "python-pkcs11"

OK: Final = "ok"
SKIPPED: Final = "skipped"
CRASHED: Final = "crashed"
OPERATION_ACTIVE: Final = "0x90"
REFUSALS: Final = {"0x190": LIBRARY, "0xb3": SESSION, "0x82": OBJECT, "0x60": OBJECT}
"""What is said not to be valid by CKR_CRYPTOKI_NOT_INITIALIZED, CKR_SESSION_HANDLE_INVALID,
CKR_OBJECT_HANDLE_INVALID and CKR_KEY_HANDLE_INVALID."""


class Leak(NamedTuple):
    """A leak as it is told; the number is 0 where nobody knows it."""

    code: str
    severity: str
    kind: str
    number: int


class Step(NamedTuple):
    """One step of a program, as it was played.

    Attributes:
        at: its place.
        verb: what is done.
        arguments: how; the first is the place of the client, if there is one.
        answer: `ok`, a CKR value, `crashed`, `misuse …`, or another error.
        session: which reference to a session was used, `None` for none.
        object: which reference to an object, likewise.
        made: what was handed out: reference, kind, number, label.
        misuses: the misuses told: code, kind and number.
        leaks: the leaks told.
        others: the codes of any other findings.
    """

    at: str
    verb: str
    arguments: list[Any]
    answer: str
    session: int | None
    object: int | None
    made: list[tuple[int, str, int, str]]
    misuses: list[tuple[str, str, int]]
    leaks: Counter[Leak]
    others: list[str]


# --- what there is --------------------------------------------------------------------------------


@dataclasses.dataclass(eq=False)
class Record:
    """A handle.

    Attributes:
        number: its value.
        seen: whether the tracer has seen it come.
        unreleased: whether its release is owed, as far as the tracer can know; `None` for perhaps.
        alive: whether it is valid.
        told: whether the tracer has seen it go.
    """

    number: int
    seen: bool
    unreleased: bool | None
    alive: bool = True
    told: bool = False


@dataclasses.dataclass(eq=False)
class Session(Record):
    """A session.

    Attributes:
        operations: what is active in it → whether its end is owed; `None` for perhaps.
    """

    operations: dict[str, bool | None] = dataclasses.field(default_factory=dict)


class Thing:
    """What handles of objects stand for.

    Args:
        label: its CKA_LABEL, which no other has.
        maker: the session that it goes with; `None` if it is stored on the token.
        private: its CKA_PRIVATE.
    """

    def __init__(self, label: str, maker: Session | None, *, private: bool) -> None:
        self.label = label
        self.maker = maker
        self.private = private
        self.exists = True

    def __deepcopy__(self, memo: dict[int, Any]) -> Thing:
        """Return a copy for the child of a fork; what is stored on the token is everybody's."""
        if self.maker is None:
            return self
        copied = memo[id(self)] = copy.copy(self)
        copied.maker = copy.deepcopy(self.maker, memo)
        return copied


@dataclasses.dataclass(eq=False)
class Object(Record):
    """A handle of an object.

    Attributes:
        thing: what it stands for.
        session: the session through which it was made; `None` if it was found.
        found: whether the tracer has seen it being found.
    """

    thing: Any = None
    session: Session | None = None
    found: bool = False


class Token:
    """What is stored, for every process of a program."""

    def __init__(self) -> None:
        self.things: list[Thing] = []

    def __deepcopy__(self, _memo: dict[int, Any]) -> Token:
        """Return itself."""
        return self


@dataclasses.dataclass
class Way:
    """How one client reaches the library.

    Attributes:
        name: the binding.
        loaded: whether it has the library loaded.
        loading: how often it has unloaded it.
        told: whether the tracer has seen the last unloading.
        used: whether it has ever had it loaded.
        initialized: whether python-pkcs11 takes the library for initialised.
        token: in which stretch of tracing python-pkcs11's token was looked up, 0 for in none.
    """

    name: str
    loaded: bool = False
    loading: int = 0
    told: bool = False
    used: bool = False
    initialized: bool = False
    token: int = 0

    @property
    def keeps(self) -> bool:
        """Whether it keeps functions, or objects, as they were when it first had the library."""
        return self.name == EARLY or (
            self.used and self.name in ("ctypes function list", PYTHON_PKCS11)
        )

    @property
    def is_ctypes(self) -> bool:
        """Whether handles are plain numbers, and the library is never unloaded."""
        return self.name not in (PYKCS11, PYTHON_PKCS11)


@dataclasses.dataclass
class Reference:
    """A handle as the program has it.

    Attributes:
        record: what it stands for.
        place: which client it came through.
        loading: which loading of the library by that client it belongs to.
        mapping: which mapping of the library's file.
        stretch: the stretch of tracing in which it was seen coming, 0 for in none.
        made: whether the call has made it, so that an object of a binding knows which it is.
        pin: of a session, whether python-pkcs11 logs out when it closes it.
    """

    record: Any
    place: int
    loading: int
    mapping: int
    stretch: int
    made: bool
    pin: bool


class Model:
    """One process of a program.

    Args:
        clients: the program's.

    Attributes:
        ways: the clients.
        early: whether one has functions from before tracing, so that anything may be released
            unseen, and no leak is certain.
        up: whether the library is initialised.
        down_told: whether it is not, and the tracer has seen why.
        believed: whether it is up by the last that the tracer has seen, `None` if it has not.
        tracing: whether there is a tracer.
        blind: whether the program has what was looked up before this stretch of tracing began, so
            that anything may be handed out unseen, and no number is certain to be a dead one's.
        stretch: how many there were.
        mapping: how often the library's file was gone from memory.
        logged_in: whether the user is.
        sessions, objects: every handle there ever was, oldest first.
        references: the handles that the program has, as the player counts them.
        certain: the leaks of the last step.
        possible: those that may have been told as well.
        oddities: what the last step has done that the model did not expect.
    """

    def __init__(self, clients: list[str]) -> None:
        self.ways = [Way(name) for name in clients]
        self.early = EARLY in clients
        self.token = Token()
        self.up = False
        self.down_told = False
        self.believed: bool | None = None
        self.tracing = True
        self.blind = self.early
        self.stretch = 1
        self.mapping = 0
        self.logged_in = False
        self.sessions: list[Session] = []
        self.objects: list[Object] = []
        self.references: list[Reference] = []
        self.certain: Counter[Leak] = Counter()
        self.possible: Counter[Leak] = Counter()
        self.oddities: list[str] = []
        self._next = 1
        self._listed: set[Thing] = set()

    def forked(self) -> Model:
        """Return the child's model; what is there is its parent's to release."""
        child = copy.deepcopy(self)
        for record in (*child.sessions, *child.objects):
            record.unreleased = False
        for session in child.sessions:
            session.operations = dict.fromkeys(session.operations, False)
        return child

    # --- what a step is about -----------------------------------------------------------------

    def way(self, step: Step) -> Way:
        """Return the client that makes the call of a step."""
        return self.ways[step.arguments[0]]

    def is_python(self, step: Step) -> bool:
        """Return whether that is python-pkcs11."""
        return self.way(step).name == PYTHON_PKCS11

    def used(self, step: Step) -> Reference | None:
        """Return the innermost handle that a step uses."""
        at = step.session if step.object is None else step.object
        return None if at is None else self.references[at]

    def record(self, at: int | None) -> Any:
        """Return what a reference stands for."""
        assert at is not None
        return self.references[at].record

    def session_of(self, step: Step) -> Session | None:
        """Return the session that the number used stands for now."""
        if step.session is None or not self.up:
            return None
        number = self.record(step.session).number
        return next((each for each in self.sessions if each.alive and each.number == number), None)

    def object_of(self, step: Step) -> Object | None:
        """Return the object that the number used stands for now."""
        if step.object is None or not self.up:
            return None
        number = self.record(step.object).number
        return next(
            (e for e in self.objects if e.alive and e.thing.exists and e.number == number), None
        )

    def newest(self, record: Record) -> Any:
        """Return the last handle that had the number of another one."""
        pool = self.objects if isinstance(record, Object) else self.sessions
        return [each for each in pool if each.number == record.number][-1]

    def seen(self, step: Step) -> bool:
        """Return whether the tracer sees the call of a step."""
        if not self.tracing or self.way(step).name == EARLY:
            return False
        if self.is_python(step):  # its objects stay with the tracer under which they came
            used = self.used(step)
            if used is not None:
                return used.stretch == self.stretch
            if step.verb == "open":
                return self.way(step).token == self.stretch
        return True

    def identified(self, step: Step) -> list[tuple[Reference, Callable[[Step], Record | None]]]:
        """Return the objects of a binding that a step uses, each with what finds its meaning.

        An object of python-pkcs11 knows its session as a number only.
        """
        found: list[tuple[Reference, Callable[[Step], Record | None]]] = []
        if self.way(step).is_ctypes:
            return found
        searching = step.verb == "search"
        by_number = step.object is not None and self.is_python(step) and not searching
        if step.session is not None and not by_number:
            found.append((self.references[step.session], self.session_of))
        if step.object is not None and not searching:
            found.append((self.references[step.object], self.object_of))
        return found

    def reaches(self, step: Step) -> bool:
        """Return whether the tracer sees what a step does to the handle that is meant.

        An object of a binding that is dead is another handle to the tracer than the newer one that
        has its number now; it complains, and what is done is done to another one.
        """
        return self.seen(step) and all(
            reference.record is find(step)
            for reference, find in self.identified(step)
            if reference.made and reference.stretch == self.stretch
        )

    # --- what the provider answers ------------------------------------------------------------

    def refusal(self, step: Step) -> str | None:
        """Return what is not valid of what a step uses, `None` if all is."""
        if step.verb in ("fork", "stop", "resume"):
            return None
        way, python = self.way(step), self.is_python(step)
        if way.name == PYKCS11 and not way.loaded and step.verb not in ("load", "unload"):
            return WAY
        match step.verb:
            case "initialize":
                return None
            case "load":
                return LIBRARY if python and way.initialized and not self.up else None
            case "unload" if not way.is_ctypes:
                return None
            case "finalize" | "unload" | "reinitialize":
                idle = python and not (way.loaded and way.initialized)
                return None if self.up or idle else LIBRARY
        if python and not self.is_mapped():
            return WAY
        if not self.up:
            return LIBRARY
        if step.session is not None and self.session_of(step) is None:
            return SESSION
        if step.object is not None and step.verb != "search" and self.object_of(step) is None:
            # That an operation is active is noticed first.
            return None if (step.verb, step.answer) == ("begin", OPERATION_ACTIVE) else OBJECT
        return None

    def is_mapped(self) -> bool:
        """Return whether the library's file is in memory."""
        return any(way.loaded or way.is_ctypes for way in self.ways)

    def dangles(self, step: Step) -> bool:
        """Return whether a step goes through pointers into an earlier mapping of the library."""
        used = self.used(step)
        return used is not None and self.is_python(step) and used.mapping != self.mapping

    # --- what goes ----------------------------------------------------------------------------

    def _leak(self, leak: Leak, *, certain: bool) -> None:
        """Enter a leak that is told now, or may be; what may be released unseen is not certain."""
        pool = self.certain if certain and not self.early else self.possible
        pool[leak] += 1

    def _leaks(self, session: Session, code: str) -> None:
        """Enter a session as leaked, if it is, and what leaks with it."""
        if session.unreleased is not False and not session.told:
            certain = bool(session.unreleased and session.alive)
            self._leak(Leak(code, "warning", SESSION, session.number), certain=certain)
        self._leaks_below(session, code, "warning")

    def _leaks_below(
        self, session: Session, code: str, severity: str, *, certain: bool = True
    ) -> None:
        """Enter what leaks below a session, which is certain only if the tracer knows that one."""
        for kind, unreleased in session.operations.items():
            if unreleased is None or (unreleased and not session.told):
                sure = bool(certain and unreleased and session.alive)
                self._leak(Leak(code, "warning", kind, session.number), certain=sure)
        for each in self.objects:
            if each.session is not session or each.told or each.unreleased is False:
                continue
            lives = each.alive and each.thing.exists
            stored = each.thing.maker is None
            if not (stored and lives and each.unreleased):
                sure = bool(certain and lives and each.unreleased and not stored)
                self._leak(Leak(code, severity, OBJECT, each.number), certain=sure)

    @staticmethod
    def _gone(record: Record, *, told: bool) -> None:
        """End a handle."""
        record.alive = False
        if told and record.unreleased is not None:
            record.told = True
            record.unreleased = False

    @staticmethod
    def _operations_gone(session: Session, *, told: bool) -> None:
        """End what is active in a session; the tracer may have some of it elsewhere."""
        session.operations = {
            kind: None
            for kind, unreleased in session.operations.items()
            if unreleased is None or not told
        }

    def _session_gone(self, session: Session, *, seen: bool, own: bool) -> None:
        """End a session, by its own release or by what ends all, and what goes with it."""
        known = seen and (own or session.seen)  # else nobody knows of which slot it is
        if seen:
            self._leaks_below(session, "leaked-at-release", "info", certain=known)
        for each in self.objects:
            if each.thing.maker is session:
                each.thing.exists = False
                self._gone(
                    each, told=known and each.alive and each.session is session and each.seen
                )
        self._operations_gone(session, told=known)
        self._gone(session, told=known)
        if not any(each.alive for each in self.sessions):
            self.logged_in = False
            for each in self.objects:
                if each.alive:
                    self._gone(each, told=seen and self._has_slot(each))

    @staticmethod
    def _has_slot(made: Object) -> bool:
        """Return whether the tracer knows of which slot an object is: of its session's."""
        known = made.session is not None and made.session.seen and made.seen
        return known or made.found

    def _logged_out(self, *, seen: bool) -> None:
        """End every handle of a private object, and the private objects of sessions."""
        self.logged_in = False
        for each in self.objects:
            if each.alive and each.thing.private:
                self._gone(each, told=seen and self._has_slot(each))
                if each.thing.maker is not None:
                    each.thing.exists = False
        for session in self.sessions:  # the text leaves open whether they are active still
            session.operations = dict.fromkeys(session.operations)

    def _finalized(self, *, seen: bool) -> None:
        """End the life of the library."""
        self.up = False
        self.down_told = seen
        if seen:
            self.believed = False
            for session in self.sessions:
                self._leaks(session, "leaked-at-release")
        for session in self.sessions:
            self._operations_gone(session, told=seen)
            self._gone(session, told=seen and session.seen)
        for each in self.objects:
            if each.thing.maker is not None:
                each.thing.exists = False
            self._gone(each, told=seen and each.alive and (each.seen or each.found))

    # --- what comes ---------------------------------------------------------------------------

    def _started(self, *, seen: bool, joining: bool = False) -> None:
        """Begin a life of the library; who may also join one does not learn that one has ended."""
        if seen and self.believed is not False and not joining:
            # What the tracer takes for alive must be dead, or this would not have succeeded; how
            # it went was not seen.
            for record in (*self.sessions, *self.objects):
                record.seen = record.unreleased = False
            for session in self.sessions:
                session.operations = dict.fromkeys(session.operations, False)
        self.up = True
        self.believed = True if seen else self.believed
        self.down_told = False
        self.logged_in = False
        self._next = 1
        self._listed = set(self.token.things)

    def _number(self, number: int) -> None:
        """Compare a number that was handed out with the one that is next."""
        if number != self._next:
            self.oddities.append(f"number {number} instead of {self._next}")
        self._next = number + 1

    def _refer(
        self, step: Step, entry: tuple[int, str, int, str], record: Record, *, made: bool, pin: bool
    ) -> None:
        """Enter a reference."""
        assert len(self.references) == entry[0]
        loading = self.way(step).loading
        if step.session is not None and not self.way(step).is_ctypes:
            loading = self.references[step.session].loading  # it goes the way of its session
        stretch = self.stretch if self.seen(step) else 0
        self.references.append(
            Reference(record, step.arguments[0], loading, self.mapping, stretch, made, pin)
        )

    def _owes(self, step: Step) -> bool | None:
        """Return whether what a step has made is owed: perhaps, if it came to the wrong session."""
        return self.reaches(step) or (None if self.seen(step) else False)

    def visible(self) -> list[Thing]:
        """Return what a search finds."""
        return [
            thing
            for thing in dict.fromkeys(self._things())
            if thing.exists and (self.logged_in or not thing.private)
        ]

    def _things(self) -> list[Thing]:
        return [*self.token.things, *(each.thing for each in self.objects)]

    # --- what each step does ------------------------------------------------------------------

    def do(self, step: Step) -> None:
        """Do what a step has done, unless it was not made or nobody knows."""
        self.certain, self.possible, self.oddities = Counter(), Counter(), []
        if step.answer != CRASHED and not step.answer.startswith(("misuse", "error")):
            getattr(self, f"_{step.verb}")(step)

    def _initialize(self, step: Step) -> None:
        """C_Initialize."""
        way = self.way(step)
        if self.is_python(step):
            if not way.loaded or way.initialized:
                return
            way.initialized = step.answer == OK
        if step.answer == OK:
            self._started(seen=self.seen(step), joining=self.is_python(step))

    def _load(self, step: Step) -> None:
        """Load and C_Initialize."""
        way = self.way(step)
        way.used = True
        if way.is_ctypes:
            self._initialize(step)
        elif step.answer == OK:
            if not self.up:
                self._started(seen=self.seen(step), joining=True)
            way.loaded, way.told = True, False
            way.initialized = self.is_python(step)
            way.token = self.stretch if self.tracing else 0

    def _finalize(self, step: Step) -> None:
        """C_Finalize."""
        way = self.way(step)
        if self.is_python(step):
            if not way.loaded or not way.initialized:
                return
            way.initialized = False
        if step.answer == OK:
            self._finalized(seen=self.seen(step))

    def _unload(self, step: Step) -> None:
        """C_Finalize and unload."""
        way = self.way(step)
        if way.is_ctypes:
            self._finalize(step)
        elif way.loaded:
            believed = self.seen(step) and self.believed is True
            if (self.up or believed) and (way.initialized or way.name == PYKCS11):
                self._finalized(seen=self.seen(step))
            way.loaded = way.initialized = False
            way.told = self.seen(step)
            way.loading += 1
            if not self.is_mapped():
                self.mapping += 1
                self.up = False

    def _reinitialize(self, step: Step) -> None:
        """C_Finalize and C_Initialize."""
        way = self.way(step)
        if not way.loaded:
            return
        if way.initialized and self.up:
            self._finalized(seen=self.seen(step))
        way.initialized = step.answer == OK
        if step.answer == OK:
            self._started(seen=self.seen(step))

    def _open(self, step: Step) -> None:
        """C_OpenSession, and C_Login."""
        seen = self.seen(step)
        _, login = step.arguments
        pin = login and self.is_python(step)
        session = Session(self._next, seen, seen)
        if step.made:
            self._number(step.made[0][2])
        elif pin and step.answer not in REFUSALS:
            # C_Login was refused, and the binding has thrown the session away.
            session.unreleased = False
            self._next += 1
            if seen:
                self._leak(Leak("lost", "warning", SESSION, 0), certain=True)
        else:
            return
        self.sessions.append(session)
        if seen:
            self.believed = self.believed is not False
        if login and step.answer == OK:
            self.logged_in = True
        if step.made:
            self._refer(step, step.made[0], session, made=True, pin=pin)

    def _login(self, step: Step) -> None:
        """C_Login."""
        if step.answer == OK:
            self.logged_in = True

    def _logout(self, step: Step) -> None:
        """C_Logout."""
        session = self.session_of(step)
        if step.answer == OK and session is not None:
            self._logged_out(seen=self.reaches(step) and session.seen)

    def _close(self, step: Step) -> None:
        """C_CloseSession, and C_Logout before it where python-pkcs11 has logged in."""
        session = self.session_of(step)
        if step.answer == OK and session is not None:
            assert step.session is not None
            seen, known = self.reaches(step), session.seen
            self._session_gone(session, seen=seen, own=True)
            if self.is_python(step) and self.references[step.session].pin:
                self._logged_out(seen=seen and known)

    def _close_all(self, step: Step) -> None:
        """C_CloseAllSessions."""
        if step.answer == OK:
            for session in self.sessions:
                if session.alive or not session.told:
                    self._session_gone(session, seen=self.seen(step), own=False)

    def _nothing(self, step: Step) -> None:
        """Change nothing."""

    _use = _use_object = _fork = _nothing

    def _create(self, step: Step) -> None:
        """C_CreateObject."""
        if step.answer == OK:
            _, _, token, private = step.arguments
            self._make(step, token=token, private=private)

    def _copy(self, step: Step) -> None:
        """C_CopyObject."""
        original = self.object_of(step)
        if step.answer == OK and original is not None:
            thing = original.thing
            self._make(step, token=thing.maker is None, private=thing.private)

    def _make(self, step: Step, *, token: bool, private: bool) -> None:
        """Enter an object that was made."""
        (entry,) = step.made
        session = self.session_of(step)
        thing = Thing(entry[3], None if token else session, private=private)
        if token:
            self.token.things.append(thing)
            self._listed.add(thing)
        seen = self.reaches(step)
        made = Object(self._next, seen, self._owes(step), thing=thing, session=session)
        self._number(entry[2])
        self.objects.append(made)
        self._refer(step, entry, made, made=True, pin=False)

    def _destroy(self, step: Step) -> None:
        """C_DestroyObject."""
        destroyed = self.object_of(step)
        if step.answer == OK and destroyed is not None:
            destroyed.thing.exists = False
            self._gone(destroyed, told=self.reaches(step))

    def _find(self, step: Step) -> None:
        """C_FindObjectsInit, C_FindObjects to the end, C_FindObjectsFinal."""
        if step.answer != OK:
            self._cut_short(step)
            return
        labels = {label for _, _, _, label in step.made}
        wanted = self.visible()
        least = {thing.label for thing in wanted if thing.maker or thing in self._listed}
        if not least <= labels <= {thing.label for thing in wanted}:
            self.oddities.append(f"found {labels} instead of {least}")
        self._found(step)

    def _search(self, step: Step) -> None:
        """C_FindObjectsInit and one C_FindObjects; python-pkcs11 ends one that finds nothing."""
        if step.answer != OK:
            self._cut_short(step)
            return
        session = self.session_of(step)
        if session is not None and (step.made or not self.is_python(step)):
            session.operations[SEARCH] = self._owes(step)
        self._found(step)

    def _found(self, step: Step) -> None:
        """Enter what a search has handed out."""
        seen, fresh = self.reaches(step), []
        for entry in step.made:
            _, _, number, label = entry
            thing = next((each for each in self._things() if each.label == label), None)
            if thing is None:
                self.oddities.append(f"found {label}")
                thing = Thing(label, None, private=False)
            known = [each for each in self.objects if each.alive and each.thing is thing]
            record = (
                known[-1] if known else Object(number, seen=False, unreleased=False, thing=thing)
            )
            if not known:
                self.objects.append(record)
                fresh.append(number)
            if record.number != number:
                self.oddities.append(f"{label} is {number} instead of {record.number}")
            record.found = record.found or seen
            self._listed.add(thing)
            self._refer(step, entry, record, made=False, pin=False)
        if sorted(fresh) != list(range(self._next, self._next + len(fresh))):
            self.oddities.append(f"new numbers {fresh}, but {self._next} is next")
        self._next += len(fresh)

    def _begin(self, step: Step) -> None:
        """C_EncryptInit."""
        session = self.session_of(step)
        if step.answer != OK:
            self._cut_short(step)
        elif session is not None:
            session.operations[ENCRYPTION] = self._owes(step)

    def _finish(self, step: Step) -> None:
        """C_EncryptFinal."""
        session = self.session_of(step)
        if session is None or ENCRYPTION not in session.operations:
            return
        if step.answer == OK and self.reaches(step):
            del session.operations[ENCRYPTION]
        else:
            session.operations[ENCRYPTION] = None

    def _cut_short(self, step: Step) -> None:
        """Where python-pkcs11 cannot begin an operation, it may end the one that is active."""
        session = self.session_of(step)
        if session is not None and self.is_python(step):
            session.operations = dict.fromkeys(session.operations)

    def _stop(self, _step: Step) -> None:
        """The end of tracing: what is owed is told."""
        for session in self.sessions:
            self._leaks(session, "leaked-at-exit")
        self.tracing = False

    def _resume(self, _step: Step) -> None:
        """The beginning of another stretch of tracing: everything before it is forgotten."""
        for session in self.sessions:
            session.operations = dict.fromkeys(session.operations, False)
            session.seen = session.unreleased = session.told = False
        for each in self.objects:
            each.seen = each.unreleased = each.told = each.found = False
        for way in self.ways:
            way.told = False
            if way.loaded and self.up:
                way.token = self.stretch + 1
        self.down_told = False
        self.believed = None
        self.tracing = True
        self.blind = any(way.keeps for way in self.ways)
        self.stretch += 1
