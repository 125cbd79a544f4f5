"""Plays drawn programs over PKCS#11, each in a process of its own, and reports step by step.

`pkcs11_player.py MODULE TOKENS` reads programs from stdin, one JSON object a line, and answers each
with a line: what happened, in order, and how the process has ended. TOKENS is a folder with a
token; each program gets a copy. What a program is, see `pkcs11_programs`; nothing is judged here.
"""

from __future__ import annotations

import _ctypes
import contextlib
import ctypes
import dataclasses
import functools
import gc
import json
import os
import shutil
import signal
import sys
import tempfile
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

sys.path.insert(0, str(Path(__file__).parents[1]))
from pkcs11_clients import (
    BINDINGS,
    LABEL,
    Exports,
    PyKCS11Client,
    PythonPkcs11Client,
    Refused,
    template,
)
from softhsm import PIN

import csptrace

if TYPE_CHECKING:
    from csptrace import Finding

PATIENCE: Final = 60
"""Seconds after which a program is ended."""
_ABOUT: Final = {
    **dict.fromkeys(("login", "logout", "close", "use", "create", "find", "finish"), "session"),
    **dict.fromkeys(("copy", "destroy", "use_object", "begin", "search"), "object"),
}
"""What a step needs one of; if its client has none, the client of the newest takes its place."""
_NAMES: Final = {
    "AnotherUserAlreadyLoggedIn": "0x104",
    "AttributeTypeInvalid": "0x12",
    "CryptokiAlreadyInitialized": "0x191",
    "KeyHandleInvalid": "0x60",
    "ObjectHandleInvalid": "0x82",
    "OperationActive": "0x90",
    "OperationNotInitialized": "0x91",
    "SessionHandleInvalid": "0xb3",
    "UserAlreadyLoggedIn": "0x100",
    "UserNotLoggedIn": "0x101",
}


class Early(Exports):
    """Functions that were looked up before tracing began, and kept where nobody looks."""

    def __init__(self, module: str) -> None:
        library = ctypes.CDLL(module)
        names = ("Initialize", "Finalize", "GetSlotList", "OpenSession", "CloseSession")
        names += ("CloseAllSessions", "GetSessionInfo", "Login", "Logout", "CreateObject")
        names += ("CopyObject", "DestroyObject", "GetAttributeValue", "FindObjectsInit")
        names += ("FindObjects", "FindObjectsFinal", "EncryptInit", "EncryptFinal")
        self.lib = types.SimpleNamespace(**{f"C_{name}": library[f"C_{name}"] for name in names})


@dataclasses.dataclass
class Reference:
    """A handle that the program has: it keeps every one, also those that are dead."""

    kind: str
    own: Any
    seat: Seat
    number: int
    session: int
    label: str = ""


class Seat:
    """One client of a program."""

    def __init__(self, name: str, module: str) -> None:
        self.name = name
        self.module = module
        self.client: Any = Early(module) if name == "early" else BINDINGS[name][1]()
        self.by_number = isinstance(self.client, Exports)
        self.operations: dict[int, Any] = {}
        if name == "ctypes exports":
            self.client.lib = ctypes.CDLL(module)

    def retrace(self) -> None:
        """Look functions up again, as a program would that is to be traced from now on."""
        match self.client:
            case PythonPkcs11Client():
                loaded = self.client.api._loaded.get(self.module)
                if loaded is not None:
                    self.client.lib = loaded
                    with contextlib.suppress(Refused):
                        self.client.token = self.client._call(loaded.get_token, token_label=LABEL)
            case Exports() if self.name == "ctypes function list":
                self.client.fetch(self.module)

    def has(self, attribute: str) -> bool:
        """Return whether the client got as far as to have something."""
        return hasattr(self.client, attribute)

    def usable(self, reference: Reference) -> bool:
        """Return whether this client can be given a handle, perhaps another one's."""
        return (
            self.by_number
            or reference.seat is self
            or (isinstance(self.client, PyKCS11Client) and reference.kind == "object")
        )

    def given(self, reference: Reference) -> Any:
        """Return a handle as this client takes it."""
        if self.by_number:
            return ctypes.c_ulong(reference.number)
        if reference.seat is not self:
            box = self.client.api.LowLevel.CK_OBJECT_HANDLE()
            box.assign(reference.number)
            return box
        return reference.own


class Skipped(Exception):
    """The program has nothing yet that a step could be about, or its binding cannot do it."""


class Player:
    """Plays one program in this process."""

    def __init__(self, program: dict[str, Any], module: str, out: int) -> None:
        self.program = program
        self.module = module
        self.out = out
        self.path = ""
        self.references: list[Reference] = []
        self.serial = 0
        self.seats = [Seat(name, module) for name in program["clients"]]

    def say(self, **fields: Any) -> None:
        """Report, at once: the next thing may be a crash."""
        os.write(self.out, json.dumps(fields).encode() + b"\n")

    def play(self) -> None:
        """Play the program to its end."""
        self.start()
        self.play_all(self.program["steps"])

    def play_all(self, steps: list[list[Any]]) -> None:
        """Play steps, and end tracing as a process does that exits."""
        for at, step in enumerate(steps):
            self.play_one(f"{self.path}{at}", step)
        self.play_one(f"{self.path}end", ["stop"])

    def play_one(self, at: str, step: list[Any]) -> None:
        """Play one step and report what came of it."""
        verb, *arguments = step
        report: dict[str, Any] = {"session": None, "object": None, "made": []}
        if verb in _ABOUT and not self.able(self.seats[arguments[0]], _ABOUT[verb]):
            newest = next((e for e in self.references[::-1] if e.kind == _ABOUT[verb]), None)
            arguments[0] = arguments[0] if newest is None else self.seats.index(newest.seat)
        self.say(begins=at, step=[verb, *([] if verb == "fork" else arguments)])
        try:
            getattr(self, verb)(report, at, *arguments)
            answer = "ok"
        except Skipped:
            answer = "skipped"
        except Refused as error:
            answer = str(error)
            answer = _NAMES.get(answer, answer)
            if "not initialized" in str(error.__cause__):  # python-pkcs11 has no name for it
                answer = "0x190"
        except csptrace.HandleError as error:
            answer = f"misuse {error.finding.code.value}"
        except Exception as error:  # noqa: BLE001 - whatever it is, the model did not expect it
            answer = f"error {type(error).__name__}: {error}"
        self.say(ends=at, answer=answer, made=report["made"])

    def start(self) -> None:
        """Begin to trace."""
        tracer = csptrace.start(
            apis=["pkcs11"],
            on_misuse=self.program["reaction"],
            quiet=True,
            strict=True,
            causes=False,
        )
        tracer.reporter.observer = self.found
        for seat in self.seats:
            seat.retrace()

    def found(self, finding: Finding) -> None:
        """Report a finding."""
        self.say(
            finding=[
                finding.code.value,
                finding.severity.value,
                finding.handle.kind,
                finding.handle.value,
                finding.times,
            ]
        )

    # --- choosing -----------------------------------------------------------------------------

    def pick(self, report: dict[str, Any], seat: Seat, kind: str, index: int) -> Reference:
        """Return one of the handles that a client can be given, the newest for 0."""
        able = self.able(seat, kind)
        if not able:
            raise Skipped
        self.note(report, kind, at := able[-1 - index % len(able)])
        return self.references[at]

    def able(self, seat: Seat, kind: str) -> list[int]:
        """Return which handles a client can be given."""
        if not seat.has("lib"):
            return []
        return [
            at for at, each in enumerate(self.references) if each.kind == kind and seat.usable(each)
        ]

    def note(self, report: dict[str, Any], kind: str, at: int) -> None:
        """Report which handle is about to be used."""
        report[kind] = at
        self.say(uses=kind, reference=at)

    def pair(
        self, report: dict[str, Any], seat: Seat, session: int, key: int
    ) -> tuple[Any, Reference]:
        """Return a session and an object; where the object knows its session, that one."""
        chosen = self.pick(report, seat, "object", key)
        if isinstance(seat.client, PythonPkcs11Client):
            self.note(report, "session", chosen.session)
            return self.references[chosen.session].own, chosen
        return seat.given(self.pick(report, seat, "session", session)), chosen

    def keep(
        self, report: dict[str, Any], seat: Seat, kind: str, own: Any, label: str = ""
    ) -> None:
        """Keep a handle that a call has handed out, and report it."""
        number = seat.client.number(own)
        session = report["session"] if kind == "object" else -1
        report["made"].append([len(self.references), kind, number, label])
        self.references.append(Reference(kind, own, seat, number, session, label))

    def label(self) -> str:
        """Return a name that no object has yet, in no process of the program."""
        self.serial += 1
        return f"{os.getpid()}.{self.serial}"

    # --- the library --------------------------------------------------------------------------

    def load(self, report: dict[str, Any], at: str, place: int) -> None:
        """Load the library and initialise it, or join one that is."""
        seat = self.seats[place]
        if seat.by_number:
            seat.client.initialize()
        elif isinstance(seat.client, PyKCS11Client) and seat.has("lib"):
            if seat.client.lib.pkcs11dll_filename is not None:
                raise Skipped  # it would unload first
            seat.client._call(seat.client.lib.load, self.module)
        else:
            seat.client.load(self.module)

    def unload(self, report: dict[str, Any], at: str, place: int) -> None:
        """Finalise and unload."""
        self.loaded(place).client.unload()

    def finalize(self, report: dict[str, Any], at: str, place: int) -> None:
        """C_Finalize."""
        self.loaded(place).client.finalize()

    def initialize(self, report: dict[str, Any], at: str, place: int) -> None:
        """C_Initialize."""
        self.loaded(place).client.initialize()

    def reinitialize(self, report: dict[str, Any], at: str, place: int) -> None:
        """C_Finalize and C_Initialize in one call."""
        seat = self.loaded(place)
        if not isinstance(seat.client, PythonPkcs11Client):
            raise Skipped
        seat.client._call(seat.client.lib.reinitialize)

    def loaded(self, place: int) -> Seat:
        """Return a client that has had its library loaded."""
        seat = self.seats[place]
        if not seat.has("lib"):
            raise Skipped
        return seat

    # --- sessions -----------------------------------------------------------------------------

    def open(self, report: dict[str, Any], at: str, place: int, login: bool) -> None:
        """C_OpenSession, and C_Login."""
        seat = self.loaded(place)
        if isinstance(seat.client, PythonPkcs11Client):
            if not seat.has("token"):
                raise Skipped
            own = seat.client.open(PIN if login else None)
        else:
            own = seat.client.open()
        self.keep(report, seat, "session", own)
        if login and not isinstance(seat.client, PythonPkcs11Client):
            seat.client.login(own, PIN)

    def login(self, report: dict[str, Any], at: str, place: int, session: int) -> None:
        """C_Login."""
        self.with_session("login", report, place, session, PIN)

    def logout(self, report: dict[str, Any], at: str, place: int, session: int) -> None:
        """C_Logout."""
        self.with_session("logout", report, place, session)

    def close(self, report: dict[str, Any], at: str, place: int, session: int) -> None:
        """C_CloseSession."""
        self.with_session("close", report, place, session)

    def use(self, report: dict[str, Any], at: str, place: int, session: int) -> None:
        """Make a cheap call on a session."""
        self.with_session("use", report, place, session)

    def with_session(
        self, what: str, report: dict[str, Any], place: int, session: int, *more: Any
    ) -> None:
        """Call a method of a client with a session."""
        seat = self.seats[place]
        if what in seat.client.lacks:
            raise Skipped
        chosen = self.pick(report, seat, "session", session)
        getattr(seat.client, what)(seat.given(chosen), *more)

    def close_all(self, report: dict[str, Any], at: str, place: int) -> None:
        """C_CloseAllSessions."""
        seat = self.loaded(place)
        if "close all" in seat.client.lacks:
            raise Skipped
        seat.client.close_all()

    # --- objects ------------------------------------------------------------------------------

    def create(
        self, report: dict[str, Any], at: str, place: int, session: int, token: bool, private: bool
    ) -> None:
        """C_CreateObject."""
        seat = self.seats[place]
        own = seat.given(self.pick(report, seat, "session", session))
        label = self.label()
        made = seat.client.create(own, label, token=token, private=private)
        self.keep(report, seat, "object", made, label)

    def copy(self, report: dict[str, Any], at: str, place: int, session: int, key: int) -> None:
        """C_CopyObject."""
        seat = self.seats[place]
        if "copy" in seat.client.lacks:
            raise Skipped
        own, chosen = self.pair(report, seat, session, key)
        label = self.label()
        self.keep(report, seat, "object", seat.client.copy(own, seat.given(chosen), label), label)

    def destroy(self, report: dict[str, Any], at: str, place: int, session: int, key: int) -> None:
        """C_DestroyObject."""
        self.with_object("destroy", report, place, session, key)

    def use_object(
        self, report: dict[str, Any], at: str, place: int, session: int, key: int
    ) -> None:
        """C_GetAttributeValue."""
        self.with_object("use_key", report, place, session, key)

    def with_object(
        self, what: str, report: dict[str, Any], place: int, session: int, key: int
    ) -> None:
        """Call a method of a client with a session and an object."""
        seat = self.seats[place]
        own, chosen = self.pair(report, seat, session, key)
        getattr(seat.client, what)(own, seat.given(chosen))

    def find(self, report: dict[str, Any], at: str, place: int, session: int) -> None:
        """Search to the end."""
        seat = self.seats[place]
        own = seat.given(chosen := self.pick(report, seat, "session", session))
        found = seat.client.find(own)
        for each in found:
            label = label_of(self.module, chosen.number, seat.client.number(each))
            self.keep(report, seat, "object", each, label)

    # --- operations ---------------------------------------------------------------------------

    def begin(self, report: dict[str, Any], at: str, place: int, session: int, key: int) -> None:
        """C_EncryptInit; the operation is left active."""
        seat = self.seats[place]
        own, chosen = self.pair(report, seat, session, key)
        operation = seat.client.begin(own, seat.given(chosen))
        self.operations(seat).append((report["session"], operation))

    def finish(self, report: dict[str, Any], at: str, place: int, session: int) -> None:
        """C_EncryptFinal."""
        seat = self.seats[place]
        own = seat.given(self.pick(report, seat, "session", session))
        going = self.operations(seat)
        mine = [each for each in going if each[0] == report["session"]]
        if isinstance(seat.client, PythonPkcs11Client):
            if not mine:
                raise Skipped
            going.remove(mine[-1])
        seat.client.finish(own, mine[-1][1] if mine else None)

    def search(self, report: dict[str, Any], at: str, place: int, session: int, key: int) -> None:
        """C_FindObjectsInit and C_FindObjects for one object; the search is left active."""
        seat = self.seats[place]
        own, chosen = self.pair(report, seat, session, key)
        found = seat.client.begin_search_for(own, chosen.label)
        if found is not None:
            self.keep(report, seat, "object", found, chosen.label)

    @functools.cache  # noqa: B019 - the process is gone soon
    def operations(self, seat: Seat) -> list[Any]:
        """Return the operations that a client has begun; what is let go of would be completed."""
        return []

    # --- processes ----------------------------------------------------------------------------

    def fork(self, report: dict[str, Any], at: str, steps: list[list[Any]]) -> None:
        """Let a child go on with what there is; it is waited for, so that the order is certain."""
        child = os.fork()
        if not child:
            signal.alarm(PATIENCE)
            self.path = f"{at}."
            self.play_all(steps)
            os._exit(0)
        os.waitpid(child, 0)

    def stop(self, report: dict[str, Any], at: str) -> None:
        """Stop tracing."""
        if csptrace.current() is None:
            raise Skipped
        csptrace.stop()

    def resume(self, report: dict[str, Any], at: str) -> None:
        """Trace again."""
        if csptrace.current() is not None:
            raise Skipped
        self.start()


def label_of(module: str, session: int, key: int) -> str:
    """Ask the provider for an object's CKA_LABEL, through no function that anybody traces."""
    library = _ctypes.dlopen(module, os.RTLD_NOLOAD | os.RTLD_NOW)
    try:
        ask = ctypes.CFUNCTYPE(ctypes.c_ulong)(_ctypes.dlsym(library, "C_GetAttributeValue"))
        text = ctypes.create_string_buffer(64)
        rows = template((0x3, text))
        result = ask(ctypes.c_ulong(session), ctypes.c_ulong(key), rows, ctypes.c_ulong(1))
        return text.value.decode() if result == 0 else f"refused {result:#x}"
    finally:
        _ctypes.dlclose(library)


# --- the worker -----------------------------------------------------------------------------------


def play(program: dict[str, Any], module: str, tokens: str) -> dict[str, Any]:
    """Play a program in a new process, on a copy of the tokens; return what it reported."""
    with tempfile.TemporaryDirectory(dir=os.path.dirname(tokens)) as home:
        shutil.copytree(tokens, os.path.join(home, "tokens"))
        conf = os.path.join(home, "softhsm2.conf")
        Path(conf).write_text(f"directories.tokendir = {home}/tokens\nobjectstore.backend = file\n")
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.close(reading)
            signal.alarm(PATIENCE)
            os.environ["SOFTHSM2_CONF"] = conf
            Player(program, module, writing).play()
            os._exit(0)
        os.close(writing)
        with open(reading, "rb") as said:
            lines = [json.loads(line) for line in said]
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return {"status": status, "said": lines}


def main() -> None:
    """Play what is asked for."""
    module, tokens = sys.argv[1:]
    for package, _ in BINDINGS.values():
        if package:
            with contextlib.suppress(ImportError):
                __import__(package)
    csptrace.start(apis=["pkcs11"], quiet=True)  # imports what every program's start would import
    csptrace.stop()
    gc.freeze()  # a collection in a fork would copy it all
    for line in sys.stdin:
        sys.stdout.write(json.dumps(play(json.loads(line), module, tokens)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
