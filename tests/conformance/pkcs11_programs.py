"""Programs over PKCS#11, as hypothesis draws them and `pkcs11_player` plays them.

A program is a JSON object: `clients`, which of the bindings are in the process (`early` stands for
functions that were looked up before tracing began); `reaction`, what csptrace does about a misuse;
and `steps`. A step is a verb and its arguments, of which the first is the place of the client.
Handles are counted from the newest one that this client can be given, dead or alive, so that a step
means something wherever it stands.

`pkcs11_programs.py COUNT` prints programs, one a line: the same ones each time. In a process that
has loaded other modules hypothesis would draw others, since it draws what it finds in their source.
"""

from __future__ import annotations

import functools
import json
import sys
from itertools import product
from typing import Any, Final, TypeAlias

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pkcs11_model import EARLY, PYKCS11, PYTHON_PKCS11

Step: TypeAlias = list[Any]
Phrase: TypeAlias = tuple[Step, ...]

TRACED: Final = ("ctypes exports", "ctypes function list", PYKCS11, PYTHON_PKCS11)
_MOST_FORKS: Final = 2
_BOTH: Final = (True, False)
_NEWEST: Final = (0, 0, 0, 1, 1, 2, 3)
_STORED: Final[Phrase] = (
    *(["open", 0, True], ["create", 0, 0, True, True], ["create", 0, 0, True, False]),
    *(["finalize", 0], ["initialize", 0], ["open", 0, True], ["open", 0, False]),
)
_FIRST: Final[tuple[Phrase, ...]] = (
    (),
    (*_STORED, ["find", 0, 0]),
    (*_STORED, ["find", 0, 0], ["logout", 0, 0], ["use_object", 0, 0, 0], ["use_object", 0, 0, 1]),
    (["open", 0, True],),
    (["open", 0, True], ["create", 0, 0, True, True]),
    (["open", 0, True], ["create", 0, 0, True, False], ["open", 0, False]),
    (["open", 0, True], ["create", 0, 0, False, True], ["open", 0, False]),
)
"""How many programs begin, so that there is something to be used."""
_STOP: Final[Phrase] = (["stop"],)
_RESUME: Final[Phrase] = (["resume"],)


def _each(*verbs: str, many: int, arguments: tuple[tuple[Any, ...], ...] = ()) -> list[Phrase]:
    """Return each of some steps, with every choice of arguments."""
    return [
        ([verb, place, *chosen],)
        for verb, place, *chosen in product(verbs, range(many), *arguments)
    ]


def _after(*parts: list[Phrase]) -> list[Phrase]:
    """Return every phrase that has one of each part."""
    return [tuple(step for phrase in chosen for step in phrase) for chosen in product(*parts)]


@functools.cache
def _phrases(many: int) -> list[list[Phrase]]:
    """Return what a process with so many clients may do next: sorts of phrases, each as likely."""
    newest, old = (_NEWEST,), (_NEWEST, _NEWEST)
    opened = _each("open", many=many, arguments=((True, True, False),))
    made = _each("create", many=many, arguments=((0, 1), _BOTH, _BOTH))
    used = _each("use_object", many=many, arguments=old)
    found = _each("find", many=many, arguments=newest)
    closed = _each("close", many=many, arguments=newest)
    destroyed = _each("destroy", many=many, arguments=old)
    logged = _each("login", "logout", many=many, arguments=newest)
    ended = _each("finalize", "unload", many=many)
    begun = _each("load", "load", "initialize", many=many)
    again = _each("reinitialize", many=many)
    encrypting = _each("begin", many=many, arguments=old)
    ended_login = _after(
        _each("find", many=many, arguments=((0, 1),)),
        _each("logout", "close", many=many, arguments=((0, 1),)),
        _each("use_object", many=many, arguments=((0, 1), (0, 1, 2))),
    )
    return [
        ended_login,
        *(opened, made, made, _after(opened, made), _after(opened, made), _after(made, made)),
        *(used, used, used, _after(destroyed, used), _after(logged, used), _after(closed, used)),
        *(found, _after(found, used), _after(opened, found), logged, closed, destroyed),
        *(_each("use", many=many, arguments=newest), _each("copy", many=many, arguments=old)),
        *(encrypting, _each("search", many=many, arguments=old)),
        _after(encrypting, _each("finish", many=many, arguments=((0,),))),
        *(_each("close_all", many=many), _after(_each("close_all", many=many), opened)),
        *(_after(ended, begun, opened), _after(ended, begun, opened, made)),
        *(_after(again, opened), ended, begun),
        *(_after([_STOP], [_RESUME]), [_STOP, _RESUME]),
        _after([_STOP], [*opened, *made, *ended, *begun, *again], [_RESUME]),
    ]


def _steps(many: int, forks: int) -> st.SearchStrategy[list[Step]]:
    """Draw the steps of a process with so many clients, below which are so many forks at most."""
    sorts = _phrases(many)
    phrase = st.integers(0, len(sorts) - 1 + bool(forks)).flatmap(
        lambda sort: (
            st.sampled_from(sorts[sort])
            if sort < len(sorts)
            else _steps(many, forks - 1).map(lambda below: (["fork", below],))
        )
    )
    some = st.lists(phrase, max_size=8)
    if forks == _MOST_FORKS:
        some = st.tuples(some, some, some).map(lambda parts: [*parts[0], *parts[1], *parts[2]])
    return some.map(lambda phrases: [step for phrase in phrases for step in phrase])


@st.composite
def programs(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a program."""
    clients = draw(st.lists(st.sampled_from(TRACED), min_size=1, max_size=2, unique=True))
    # python-pkcs11 cannot join a library that somebody else has initialised.
    first = sorted(range(len(clients)), key=lambda place: clients[place] != PYTHON_PKCS11)
    clients += draw(st.sampled_from(([], [], [], [], [EARLY])))
    return {
        "clients": clients,
        "reaction": draw(st.sampled_from(("log", "raise"))),
        "steps": [
            *(["load", place] for place in first),
            *draw(st.sampled_from(_FIRST)),
            *draw(_steps(len(clients), _MOST_FORKS)),
        ],
    }


def _show(count: int) -> None:
    """Print so many programs."""

    @settings(
        max_examples=count,
        phases=[Phase.generate],
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(programs())
    def show(program: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(program) + "\n")

    show()


if __name__ == "__main__":
    _show(int(sys.argv[1]))
