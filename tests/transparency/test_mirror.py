"""Traced objects look as they do without the tracer: copied, pickled, asked for their types.

`mirror.py` looks at each object in every way, without the tracer, with it, with one that has been
stopped, and with a second one after that. What the first of these runs sees is what is right.
"""

from __future__ import annotations

import functools
import json
import multiprocessing
import os
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import pytest
import windows_python
from conformance import fakecsp, softhsm
from mirror import MODES

HERE: Final = Path(__file__).parent
HANDLES = ("context", "key", "hash", "method of a context")
FUNCTIONS = (
    "win32crypt function",
    "win32crypt function without handles",
    "partial of a win32crypt function",
)
LIBRARIES = ("ctypes function", "ctypes library", "cffi function", "cffi library")
GROUPS: Final = {
    "softcsp": (*FUNCTIONS, *HANDLES, "softcsp ctypes function"),
    "compiled": (*LIBRARIES, "compiled cffi function", "compiled cffi library"),
    "python-pkcs11": (
        *("pkcs11.lib", "pkcs11 library", "pkcs11 session", "pkcs11 key"),
        *("pkcs11 class", "pkcs11 method"),
    ),
    "PyKCS11": ("PyKCS11 class", "PyKCS11 method", "PyKCS11 box"),
    "genuine": (*FUNCTIONS, *HANDLES, *LIBRARIES),
}

# What differs all the same: group, object, look, mode → why. Each is seen to differ.
KNOWN: Final[dict[tuple[str, str, str, str], str]] = {
    ("softcsp", "* function*", "__reduce_ex__", "*"): (
        "pickle itself asks no function of Python, so that only a program's own call sees it"
    ),
    ("*", "*", "weak dictionaries", "*"): "every proxy of wrapt's can be referred to weakly",
    ("*", "context", "weak reference", "*"): "as above",
    ("*", "key", "weak reference", "*"): "as above",
    ("*", "hash", "weak reference", "*"): "as above",
    ("compiled", "compiled cffi library", "weak reference", "*"): "as above",
    ("python-pkcs11", "pkcs11 library", "weak reference", "*"): "as above",
    ("python-pkcs11", "pkcs11 session", "weak reference", "*"): "as above",
    ("*", "*", "protocols", "*"): "every proxy of wrapt's has the special methods of all operators",
    ("*", "*", "special names", "*"): "as above",
    ("*", "*", "unwrapped", "*"): "every proxy of wrapt's has __wrapped__",
    ("*", "*", "help", "*"): "pydoc compares classes by identity, and says where methods come from",
    ("*", "*", "type compared", "stopped"): "a proxy's class equals the plain one, but is another",
    ("*", "*", "type compared", "again"): "as above",
    (
        "compiled",
        "compiled *",
        "type compared",
        "on",
    ): "each function and library has one of its own",
    ("softcsp", "win32crypt *", "in types", "*"): (
        "pickle takes whatever has a type that equals that of functions for a function"
    ),
    ("softcsp", "win32crypt *", "type as a key", "*"): "as above",
    ("*", "*", "pickled", "stopped"): "a reference to what is found elsewhere is written as a call",
    ("*", "*", "pickled", "again"): "as above",
    ("genuine", "*", "__reduce_ex__", "stopped"): "as above",
    ("genuine", "*", "__reduce_ex__", "again"): "as above",
    ("genuine", "method of a context", "*", "*"): "a method of C is one of Python when traced",
    ("compiled", "cffi library", "vars", "*"): "everything declared is looked up at once",
    ("compiled", "cffi library", "__getstate__", "*"): "as above",
    ("compiled", "compiled cffi library", "pickle in Python", "*"): (
        "the two picklers spell their refusal in two ways"
    ),
    ("compiled", "compiled cffi library", "__reduce_ex__", "*"): (
        "the library has no such attribute, and pickle says what it says then"
    ),
    ("compiled", "compiled cffi library", "called wrongly", "*"): (
        "words of the interpreter name the class of a proxy without its module"
    ),
    ("python-pkcs11", "pkcs11 library", "called wrongly", "*"): "as above",
    ("python-pkcs11", "pkcs11 session", "called wrongly", "*"): "as above",
    ("python-pkcs11", "pkcs11.lib", "__reduce_ex__", "*"): "pickle itself asks no class",
    ("python-pkcs11", "pkcs11.lib", "in types", "*"): "as for functions: a type of pickle's table",
    ("python-pkcs11", "pkcs11.lib", "type as a key", "*"): "as above",
    ("python-pkcs11", "pkcs11.lib", "singledispatch", "*"): "as above",
    ("python-pkcs11", "pkcs11.lib", "autospec", "*"): (
        "inspect.getattr_static takes a proxy of a class neither for a class nor for an object"
    ),
    ("python-pkcs11", "pkcs11 key", "vars", "*"): "its handle is noted on it",
    ("python-pkcs11", "pkcs11 key", "__getstate__", "*"): "as above",
    ("python-pkcs11", "pkcs11 key", "members", "*"): "as above",
    ("python-pkcs11", "pkcs11 key", "*attributes", "*"): "as above",
    ("python-pkcs11", "pkcs11 library", "derived from its maker", "stopped"): (
        "the class of a proxy is derived from nothing but proxies"
    ),
    ("PyKCS11", "PyKCS11 box", "vars", "*"): "its handle is noted on it",
    ("PyKCS11", "PyKCS11 box", "__getstate__", "*"): "as above",
    ("PyKCS11", "PyKCS11 box", "members", "*"): "as above",
    ("PyKCS11", "PyKCS11 box", "*attributes", "*"): "as above",
    ("PyKCS11", "PyKCS11 method", "vars", "*"): "functools.update_wrapper",
    ("PyKCS11", "PyKCS11 method", "__getstate__", "*"): "as above",
    ("PyKCS11", "PyKCS11 method", "members", "*"): "as above",
    ("PyKCS11", "PyKCS11 method", "*attributes", "*"): "as above",
    ("PyKCS11", "PyKCS11 method", "called wrongly", "*"): (
        "a call without its object is refused for that first"
    ),
    ("PyKCS11", "PyKCS11 method", "pickle*", "stopped"): (
        "a method in Python that was taken from its class while it was patched is another function"
    ),
    ("PyKCS11", "PyKCS11 method", "pickle*", "again"): "as above",
    ("PyKCS11", "PyKCS11 method", "equal to another", "stopped"): "as above",
    ("PyKCS11", "PyKCS11 method", "equal to another", "again"): "as above",
    ("PyKCS11", "PyKCS11 method", "as a key", "stopped"): "as above",
    ("PyKCS11", "PyKCS11 method", "as a key", "again"): "as above",
}
if sys.version_info >= (3, 13):  # before, a class of C without a signature was said to have one
    KNOWN["python-pkcs11", "pkcs11.lib", "signature", "*"] = "a function stands for the class"
    KNOWN["python-pkcs11", "pkcs11.lib", "mock with spec*", "*"] = "as for autospec"


@functools.cache
def seen(group: str, mode: str) -> dict[str, dict[str, Any]]:
    """Return what `mirror.py` sees of the objects of a group.

    Raises:
        RuntimeError: it failed.
    """
    script, arguments = HERE / "mirror.py", [mode, *GROUPS[group]]
    if group == "genuine":
        done = windows_python.environment().run(
            [windows_python.tool().windows_path(script), *arguments],
            env={"PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1"},
            timeout=300,
        )
    else:
        done = subprocess.run(
            [sys.executable, str(script), *arguments],
            env={**os.environ, "PYTHONPATH": str(windows_python.ROOT), **_needs(group)},
            capture_output=True,
            encoding="utf-8",
            timeout=300,
            check=False,
        )
    if done.returncode:
        raise RuntimeError(f"{group} {mode}: {done.returncode}\n{done.stderr[-4000:]}")
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return found


def _needs(group: str) -> dict[str, str]:
    if group == "compiled":
        return {
            "MIRROR_LIBRARY": str(fakecsp.library()),
            "MIRROR_DECLARATIONS": fakecsp.FAKE_DECLARATIONS,
            "MIRROR_COMPILED": str(fakecsp.extension("mirror_compiled")),
        }
    if group in ("python-pkcs11", "PyKCS11"):
        return {
            "MIRROR_PKCS11": softhsm.module(),
            "MIRROR_PIN": softhsm.PIN,
            **softhsm.environment(),
        }
    return {}


def _need(group: str) -> None:
    if group == "compiled":
        fakecsp.need()
    elif group == "python-pkcs11":
        softhsm.need("pkcs11")
    elif group == "PyKCS11":
        softhsm.need("PyKCS11")
    elif group == "genuine":
        windows_python.need()


def _differences(group: str, mode: str) -> dict[tuple[str, str, str, str], tuple[Any, Any]]:
    plain, traced = seen(group, "off"), seen(group, mode)
    return {
        (group, name, look, mode): (right, traced[name][look])
        for name, looks in plain.items()
        for look, right in looks.items()
        if traced[name][look] != right
    }


def _is_known(difference: tuple[str, ...], known: tuple[str, ...]) -> bool:
    return all(map(fnmatchcase, difference, known))


@pytest.mark.parametrize("mode", MODES[1:])
@pytest.mark.parametrize("group", GROUPS)
def test_objects_look_as_without_the_tracer(group: str, mode: str) -> None:
    """Every look at every object sees the same, but for what is listed with its reason."""
    _need(group)
    unknown = {
        where: what
        for where, what in _differences(group, mode).items()
        if not any(_is_known(where, known) for known in KNOWN)
    }
    assert unknown == {}


@pytest.mark.parametrize("group", GROUPS)
def test_what_is_said_to_differ_does(group: str) -> None:
    """No reason stands in the list for nothing."""
    _need(group)
    found = {where for mode in MODES[1:] for where in _differences(group, mode)}
    stale = [
        known
        for known in KNOWN
        if known[0] == group and not any(_is_known(where, known) for where in found)
    ]
    assert stale == []


@pytest.mark.parametrize("group", ["softcsp", "genuine"])
def test_a_function_is_copied_and_pickled(group: str) -> None:
    """What is right is right: a function is its own copy, and its pickle leads back to it."""
    _need(group)
    for mode in MODES:
        for name in FUNCTIONS[:2]:
            looks = seen(group, mode)[name]
            assert looks["copy"] == looks["deepcopy"] == "itself"
            assert looks["pickle 0"] == looks["pickle 5"] == "what the program finds"


# --- from process to process ----------------------------------------------------------------------

WRITER = """
import csptrace, functools, pickle, sys
mode = sys.argv[1]
if mode != "off":
    csptrace.start(quiet=True)
from csptrace.softcsp import win32crypt
function = win32crypt.CryptEnumProviders
if mode in ("stopped", "again"):
    csptrace.stop()
if mode == "again":
    csptrace.start(quiet=True)
for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
    print(pickle.dumps([function, functools.partial(function)], protocol).hex())
"""
READER = """
import csptrace, pickle, sys
if sys.argv[1] == "on":
    csptrace.start(quiet=True)
for line in sys.argv[2:]:
    function, partial = pickle.loads(bytes.fromhex(line))
    from csptrace.softcsp import win32crypt
    assert function is partial.func is win32crypt.CryptEnumProviders
    assert partial() == win32crypt.CryptEnumProviders()
"""


def _run(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": str(windows_python.ROOT)},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("mode", MODES)
def test_pickles_are_read_with_and_without_the_tracer(mode: str) -> None:
    """Whoever wrote it, a reader gets the function that its own module has."""
    pickles = _run(WRITER, mode).split()
    assert len(pickles) >= 6
    for reader in ("off", "on"):
        _run(READER, reader, *pickles)


def test_traced_pickles_are_those_without_the_tracer() -> None:
    """As long as tracing goes on, a pickle is the same to the byte."""
    assert _run(WRITER, "off") == _run(WRITER, "on")


@pytest.mark.parametrize("traced", ["neither", "parent", "child", "parent and child"])
@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_functions_are_handed_to_other_processes(method: str, traced: str) -> None:
    """A process can be given a function as its target, a pool as its task."""
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(HERE / "workers.py"), method],
        env={
            **os.environ,
            "PYTHONPATH": str(windows_python.ROOT),
            "MIRROR_TRACED": traced,
        },
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == _expected()


@functools.cache
def _expected() -> str:
    from csptrace.softcsp import win32crypt

    default = win32crypt.CryptGetDefaultProvider(24, 1)
    return repr([0, win32crypt.CryptEnumProviders(), default, [default], True])
