"""Whose code a frame is: the user's, a library's, or the tracer's own."""

from __future__ import annotations

import json
import os
import site
import sys
import sysconfig
from typing import TYPE_CHECKING

import pytest
import wrapt

import csptrace
from csptrace.stacks.frames import Frame
from csptrace.stacks.ownership import Ownership
from csptrace.stacks.stack import Stack

if TYPE_CHECKING:
    from csptrace.stacks.resolved import ResolvedStack

OWN = os.path.dirname(os.path.abspath(csptrace.__file__))
WRAPT = os.path.dirname(os.path.abspath(wrapt.__file__))
PURELIB = sysconfig.get_paths()["purelib"]


class Fixed(Stack):
    """A stack with given frames."""

    def __init__(self, *frames: Frame) -> None:
        super().__init__((), (), 0)
        self._frames = frames


def frame(filename: str, module: str = "mod", qualname: str = "f") -> Frame:
    """Return a frame in a file."""
    return Frame(filename, 1, qualname, module)


USER = frame("/src/shop/app.py", "shop.app")
LIBRARY = frame(os.path.join(PURELIB, "requests", "api.py"), "requests.api")
STDLIB = frame(json.__file__, "json")
TRACER = frame(os.path.join(OWN, "intercept", "interceptor.py"), "csptrace.intercept.interceptor")


def resolved(stack: Stack) -> ResolvedStack:
    """Resolve a stack by the usual rules."""
    found = Ownership().resolve(stack)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("filename", "is_user"),
    [
        ("/src/shop/app.py", True),
        ("<stdin>", True),
        ("<string>", True),
        (json.__file__, False),
        (os.__file__, False),
        ("<frozen importlib._bootstrap>", False),
        (os.path.join(PURELIB, "requests", "api.py"), False),
        (f"/other/venv/lib/python3.11{os.sep}site-packages{os.sep}requests/api.py", False),
        (f"/usr/lib/python3{os.sep}dist-packages{os.sep}requests/api.py", False),
        ("/src/my-site-packages/app.py", True),
        (os.path.join(OWN, "tracer.py"), False),
        (os.path.join(OWN, "softcsp", "win32crypt.py"), False),
        (os.path.join(WRAPT, "wrappers.py"), False),
        (OWN + "_examples/app.py", True),
        (os.path.join(OWN, "examples", "leaky.py"), True),
    ],
)
def test_each_file_is_somebodys(filename: str, *, is_user: bool) -> None:
    """The standard library, installed packages, csptrace and wrapt are not the user's."""
    ownership = Ownership()
    for _ in range(2):  # the second answer comes from memory
        assert ownership.is_user(frame(filename)) is is_user


def test_the_interpreters_own_folders_are_libraries() -> None:
    """Whatever layout this interpreter has."""
    for folder in (*site.getsitepackages(), os.path.dirname(os.__file__)):
        assert not Ownership().is_user(frame(os.path.join(folder, "thing.py")))


def test_a_test_of_the_user_is_the_users() -> None:
    """This very file is nobody's library."""
    assert Ownership().is_user(frame(__file__, __name__))


def test_an_included_package_is_the_users_although_it_is_installed() -> None:
    """The package and what is in it, but not one whose name merely begins alike."""
    ownership = Ownership(include=["requests"])
    assert ownership.is_user(LIBRARY)
    assert ownership.is_user(frame(LIBRARY.filename, "requests"))
    assert not ownership.is_user(frame(os.path.join(PURELIB, "x.py"), "requests_cache.api"))


def test_an_excluded_package_is_never_the_users() -> None:
    """Exclusion wins over inclusion and over the place of the file."""
    assert not Ownership(exclude=["shop"]).is_user(USER)
    assert not Ownership(include=["shop"], exclude=["shop.app"]).is_user(USER)
    assert Ownership(exclude=["shop.application", "sho"]).is_user(USER)


def test_the_tracers_own_code_cannot_be_included() -> None:
    """What nobody is shown is nobody's bug."""
    assert not Ownership(include=["csptrace"]).is_user(TRACER)


def test_the_tracers_frames_are_not_shown() -> None:
    """Neither inside a stack nor around it, nor what started the program."""
    runpy = frame("<frozen runpy>", "<frozen runpy>")
    stack = Fixed(TRACER, STDLIB, USER, runpy, TRACER, runpy)
    assert resolved(stack).frames == (STDLIB, USER)
    assert Ownership().resolve(None) is None


def test_runpy_inside_the_program_is_shown() -> None:
    """Only the outermost frames are what started the program."""
    runpy = frame("<frozen runpy>", "<frozen runpy>")
    assert resolved(Fixed(USER, runpy, USER)).frames == (USER, runpy, USER)


def test_the_first_frame_is_the_innermost_of_the_users() -> None:
    """That is where the user looks first."""
    outer = frame("/src/main.py", "main")
    assert resolved(Fixed(TRACER, LIBRARY, USER, STDLIB, outer)).first == USER
    assert resolved(Fixed(LIBRARY, USER, STDLIB, outer)).users == (USER, outer)
    assert resolved(Fixed(TRACER)).first is None


def test_a_stack_without_user_code_is_shown_as_it_is() -> None:
    """A leak inside a library has a place and a fingerprint too."""
    assert resolved(Fixed(TRACER, LIBRARY, STDLIB)).users == (LIBRARY, STDLIB)
    assert resolved(Fixed(LIBRARY, STDLIB)).first == LIBRARY


def test_a_stack_is_resolved_once_and_anew_by_other_rules() -> None:
    """What was settled stays, until packages or launchers are told apart in another way."""
    ownership, stack = Ownership(), Fixed(USER, LIBRARY)
    first = ownership.resolve(stack)
    assert first is not None
    assert ownership.resolve(stack) is first
    assert first.own == (True, False)
    ownership.change((), ("shop",))
    second = ownership.resolve(stack)
    assert second is not None
    assert second.own == (False, False)
    assert (second.first, second.is_users) == (USER, False)
    ownership.add_launchers(LIBRARY.filename)
    third = ownership.resolve(stack)
    assert third is not None
    assert third.frames == (USER,)


def test_every_finding_is_wanted_by_default() -> None:
    """Also one that a library made, and one without any stack (level `count`)."""
    ownership = Ownership()
    for stacks in ([Fixed(USER)], [Fixed(LIBRARY)], [None], [], [Fixed(TRACER)]):
        assert ownership.wanted(map(ownership.resolve, stacks))


def test_only_findings_that_touch_an_included_package_are_wanted() -> None:
    """Any of the stacks may touch it."""
    ownership = Ownership(include=["shop"])
    assert ownership.wanted(map(ownership.resolve, [Fixed(LIBRARY), Fixed(STDLIB, USER)]))
    assert not ownership.wanted(map(ownership.resolve, [Fixed(LIBRARY), None]))
    assert ownership.wanted(map(ownership.resolve, [None]))


def test_findings_of_excluded_packages_alone_are_not_wanted() -> None:
    """They are, as soon as other code of the user's is in it."""
    ownership = Ownership(exclude=["shop"])
    assert not ownership.wanted(map(ownership.resolve, [Fixed(USER, LIBRARY)]))
    assert ownership.wanted(
        map(ownership.resolve, [Fixed(USER), Fixed(frame("/src/main.py", "main"))])
    )
    assert ownership.wanted(map(ownership.resolve, [Fixed(LIBRARY)]))


def test_a_users_own_stack_is_the_users() -> None:
    """A stack that was really captured ends in this function."""
    from csptrace.stacks.capture import StackTable

    first = resolved(StackTable(16).capture(sys._getframe())).first
    assert first is not None
    assert (first.filename, first.qualname) == (
        __file__,
        "test_a_users_own_stack_is_the_users",
    )
