"""Both faces have what the genuine modules have: exports, names, keywords, answers."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import faces_client
import pytest
import windows_python
from divergences import FACES

from csptrace.softcsp import pywintypes, win32crypt
from csptrace.softcsp.library import EXPORTS

OWN = {"GetLastError", "SetLastError"}


@pytest.fixture(scope="module")
def genuine() -> dict[str, Any]:
    """Give what the genuine modules look like, or skip where there are none."""
    windows_python.need()
    program = windows_python.tool().windows_path(Path(faces_client.__file__))
    variables = {"PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    done = windows_python.environment().run([program], env=variables, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture
def ours() -> dict[str, Any]:
    """Give what softcsp's win32crypt face looks like, seen by the same program."""
    return faces_client.Face(win32crypt, pywintypes.error).look()


def test_the_library_has_every_provider_function_of_the_real_one(genuine: dict[str, Any]) -> None:
    """The ctypes face has all Crypt... functions that advapi32 exports, and no others."""
    assert set(genuine["exports"]) == EXPORTS - OWN


def test_types_and_methods_have_the_same_names(
    genuine: dict[str, Any], ours: dict[str, Any]
) -> None:
    """Types, methods, attributes and functions are called what pywin32 calls them."""
    assert ours["types"] == genuine["types"]
    assert ours["names"] == genuine["names"]


def test_methods_answer_the_same(genuine: dict[str, Any], ours: dict[str, Any]) -> None:
    """Right and wrong arguments, by position and by name, have the same answers or a reason."""
    assert ours["answers"].keys() == genuine["answers"].keys()
    different = {
        call: (answer, genuine["answers"][call])
        for call, answer in ours["answers"].items()
        if answer != genuine["answers"][call]
    }
    assert different.keys() == FACES.keys(), different


def test_the_program_calls_every_method_by_its_parameters(ours: dict[str, Any]) -> None:
    """The arguments that the comparison passes by name are all that our methods take."""
    objects = faces_client.Face(win32crypt, pywintypes.error).objects
    for kind, methods in faces_client.METHODS.items():
        for name, (arguments, _) in methods.items():
            taken = inspect.signature(getattr(objects[kind], name)).parameters
            assert list(taken) == list(arguments), name
    assert len(ours["answers"]) > 400
