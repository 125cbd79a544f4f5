"""Specs of other packages, found by entry point: good, broken, and asked for by name."""

from __future__ import annotations

import functools
import importlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import csptrace
from csptrace.apis.registry import BUILT_IN, covered, covered_effects, load
from csptrace.errors import SettingsError, SpecError
from csptrace.spec.bindings import Spec
from csptrace.spec.kinds import Kind

ROOT = Path(csptrace.__file__).parents[1]
GOOD = """
from csptrace.spec import (
    Binding, Codec, Dll, Kind, Spec, Success, acquires, call, releases, uses,
)
BOX = Kind("HBOX", "box", release="BoxClose")
SPEC = Spec(
    "boxes",
    "Boxes",
    (BOX,),
    (
        call("BoxOpen", "phBox", acquires(BOX, "phBox"), library="box"),
        call("BoxUse", "hBox", uses(BOX, "hBox"), library="box"),
        call("BoxClose", "hBox", releases(BOX, "hBox"), library="box"),
    ),
    (Binding("ctypes", Dll(("box",)), success=Success.NONZERO, codec=Codec.CTYPES),),
)
"""
BROKEN = {
    "does not exist": (None, "ModuleNotFoundError"),
    "syntax error": ("SPEC = (", "SyntaxError"),
    "raises": ("raise RuntimeError('no luck')", "RuntimeError: no luck"),
    "exits": ("import sys; sys.exit(3)", "SystemExit: 3"),
    "interrupts": ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    "interrupts in words": ("raise KeyboardInterrupt('no')", "KeyboardInterrupt: no"),
    "interrupts in a block": (
        "try:\n    raise KeyboardInterrupt\nfinally:\n    x = 1",
        "KeyboardInterrupt",
    ),
    "interrupts again": (
        "try:\n    raise KeyboardInterrupt\nexcept KeyboardInterrupt as e:\n    raise e",
        "KeyboardInterrupt",
    ),
    "ends a generator": ("raise GeneratorExit('x')", "GeneratorExit: x"),
    "own base": ("class Odd(BaseException): pass\nraise Odd('x')", "Odd: x"),
    "group": ("raise BaseExceptionGroup('x', [KeyboardInterrupt()])", "BaseExceptionGroup: x"),
    "no words": (
        "class Odd(Exception):\n    def __str__(self): raise SystemExit\nraise Odd",
        "Odd (which cannot be put into words)",
    ),
    "no such name": ("spec = 1", "AttributeError"),
    "no spec": ("SPEC = {'name': 'boxes'}", "it is dict, not a Spec"),
    "bad row": (GOOD.replace('uses(BOX, "hBox")', 'uses(BOX, "hBxo")'), "'hBxo' (param=)"),
    "bad whole": (GOOD.replace('release="BoxClose"', 'release="X"'), "unknown function 'X'"),
    "garbage inside": (GOOD.replace("(BOX,)", "(3,)"), "AttributeError"),
    "name taken": (GOOD.replace('"boxes"', '"cryptoapi"'), "already a spec named 'cryptoapi'"),
}
_numbers = iter(range(1, 1000))


class Packages:
    """Installs pretended packages that offer specs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, entry: str, source: str | None) -> str:
        """Install a package whose module has this source; return the module's name."""
        module = f"csptrace_test_plugin_{next(_numbers)}"
        if source is not None:
            (self._folder / f"{module}.py").write_text(source, encoding="utf-8")
        info = self._folder / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[csptrace.specs]\n{entry} = {module}:SPEC\n")
        importlib.invalidate_caches()
        return module


@pytest.fixture(name="packages")
def _packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Packages:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return Packages(folder)


def _names(specs: tuple[Spec, ...]) -> list[str]:
    return [spec.name for spec in specs]


def test_built_in_specs_load() -> None:
    """Every built-in spec is valid and comes first, in a fixed order."""
    assert tuple(_names(load()))[: len(BUILT_IN)] == BUILT_IN


def test_good_third_party_spec(packages: Packages) -> None:
    """A package adds an API by an entry point and nothing else."""
    packages.add("boxes", GOOD)
    told: list[str] = []

    assert _names(load(complain=told.append)) == [*BUILT_IN, "boxes"]
    assert _names(load(("boxes",))) == ["boxes"]
    assert told == []


@pytest.mark.parametrize("badness", BROKEN)
def test_broken_third_party_spec_is_left_out(badness: str, packages: Packages) -> None:
    """A broken spec is left out with one complaint; the others are used."""
    source, words = BROKEN[badness]
    module = packages.add("bad", source)
    packages.add("other", GOOD.replace('"boxes"', '"others"'))
    told: list[str] = []

    assert _names(load(complain=told.append)) == [*BUILT_IN, "others"]
    (message,) = told
    assert message.startswith(f"spec 'bad' ({module}:SPEC) is left out: ")
    assert words in message
    assert _names(load()) == [*BUILT_IN, "others"], "and without anybody to tell"


@pytest.mark.parametrize("badness", BROKEN)
def test_broken_third_party_spec_that_was_asked_for(badness: str, packages: Packages) -> None:
    """A broken spec that was asked for by name is an error."""
    source, words = BROKEN[badness]
    packages.add("bad", source)

    with pytest.raises(SpecError) as caught:
        load(("bad",))
    assert words in str(caught.value)
    assert _names(load(BUILT_IN)) == list(BUILT_IN), "the others can still be asked for"


def test_broken_namesake_does_not_hide_a_built_in_spec(packages: Packages) -> None:
    """A broken package under a built-in name cannot keep the built-in spec from loading."""
    packages.add("cryptoapi", "raise RuntimeError")
    told: list[str] = []

    assert _names(load(("cryptoapi",), told.append)) == ["cryptoapi"]
    assert len(told) == 1


def test_two_packages_with_one_name(packages: Packages) -> None:
    """The second spec of a name is left out."""
    packages.add("a", GOOD)
    packages.add("b", GOOD)
    told: list[str] = []

    assert _names(load(complain=told.append)) == [*BUILT_IN, "boxes"]
    (message,) = told
    assert message.startswith("spec 'b' ")
    assert "already a spec named 'boxes'" in message


def test_unknown_api_lists_the_known_ones_and_why_others_are_missing(packages: Packages) -> None:
    """Asking for an unknown API tells the known ones, and which packages are broken."""
    packages.add("entry", "raise RuntimeError('no luck')")

    with pytest.raises(SettingsError) as caught:
        load(("boxes",))
    message = str(caught.value)
    assert "unknown api 'boxes'; known: cryptoapi" in message
    assert "spec 'entry'" in message
    assert "no luck" in message


def test_order_of_the_wanted_ones(packages: Packages) -> None:
    """Wanted specs come in the order in which they were asked for."""
    packages.add("boxes", GOOD)

    assert _names(load(("boxes", "cryptoapi"))) == ["boxes", "cryptoapi"]


PROGRAM = """
import ctypes
import csptrace
from csptrace.softcsp import advapi32
tracer = csptrace.start()
handle = ctypes.c_size_t()
assert advapi32.CryptAcquireContextW(ctypes.byref(handle), None, None, 24, 0xF0000000)
assert advapi32.CryptReleaseContext(handle, 0)
assert not tracer.check()
print("went on", tracer.graph.acquired)
csptrace.stop()
"""


@pytest.mark.parametrize("badness", ["raises", "exits", "bad row"])
def test_program_goes_on_with_a_broken_spec(
    badness: str, packages: Packages, tmp_path: Path
) -> None:
    """A traced program with a broken third-party spec goes on, with one line on stderr."""
    packages.add("bad", BROKEN[badness][0])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(tmp_path / "site")))},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout == "went on 1\n"
    assert done.stderr.count("is left out") == 1
    assert done.stderr.count("csptrace: ") == 2, "the complaint and the closing line"


def test_covered_is_plain_data() -> None:
    """A spec can be written as JSON and has every function, kind and binding in it."""
    for spec in load():
        plain: dict[str, Any] = json.loads(json.dumps(covered(spec)))

        assert {row["name"] for row in plain["calls"]} == set(spec.by_name())
        assert [kind["name"] for kind in plain["kinds"]] == [kind.name for kind in spec.kinds]
        assert [b["name"] for b in plain["bindings"]] == [b.name for b in spec.bindings]
        assert all(row["library"] for row in plain["calls"])
        idle = [row["name"] for row in plain["calls"] if not row["effects"]]
        # They describe the library, before it is initialised too.
        assert idle in ([], ["C_GetInterfaceList", "C_GetInterface"])


def test_covered_says_what_a_call_does() -> None:
    """The effects are told in words that a person can check against the vendor's page."""
    (spec,) = load(("cryptoapi",))
    calls = spec.by_name()

    assert covered_effects(calls["CryptReleaseContext"]) == [
        {
            "effect": "releases",
            "kind": "HCRYPTPROV",
            "param": "hProv",
            "even_on_failure": "dwFlags is not 0",
        }
    ]
    assert covered_effects(calls["CryptDuplicateHash"])[1] == {
        "effect": "acquires",
        "kind": "HCRYPTHASH",
        "out": "phHash",
        "under": "parent of hHash",
        "needs": "needs of hHash",
    }


def test_spec_without_anything_is_named(packages: Packages) -> None:
    """An empty spec has no file to name, and is refused all the same."""
    empty = Spec("empty", "Empty", (), (), ())
    from csptrace.apis.registry import validate

    with pytest.raises(SpecError, match=r"^spec 'empty': no binding"):
        validate(empty)
    lone = Spec("lone", "Lone", (Kind("HX", "x"),), (), ())
    with pytest.raises(SpecError, match=f"^{__file__}: spec 'lone': no binding"):
        validate(lone)


def test_finders_of_others_that_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no package can be looked for, the built-in specs are used, and it is said why."""

    class Finder:
        def find_spec(self, *_args: object) -> None:
            return None

        def find_distributions(self, *_args: object) -> None:
            raise SystemExit(3)

    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
    told: list[str] = []

    assert _names(load(complain=told.append)) == list(BUILT_IN)
    assert told == ["no spec of another package can be found: SystemExit: 3"]
    assert _names(load()) == list(BUILT_IN)


INTERRUPTED = """
import os, signal, sys
signal.raise_signal(signal.{signal})
for _ in range(10_000_000):
    pass
SPEC = None
"""
HANDLER = "def handler(number, frame):\n    raise {what}\n"


@pytest.mark.parametrize(
    ("number", "handler", "expected"),
    [
        ("SIGINT", None, KeyboardInterrupt),
        ("SIGINT", "KeyboardInterrupt", KeyboardInterrupt),
        ("SIGTERM", "SystemExit(4)", SystemExit),
        ("SIGTERM", "TimeoutError('too long')", TimeoutError),
    ],
)
@pytest.mark.parametrize("wrapped", [False, True], ids=["function", "partial"])
def test_what_a_signal_raises_is_not_the_specs(
    number: str,
    handler: str | None,
    expected: type[BaseException],
    wrapped: object,
    packages: Packages,
) -> None:
    """Ctrl-C, and what the program's own signal handlers raise, is not taken for the spec's."""
    packages.add("slow", INTERRUPTED.format(signal=number))
    what: Any = signal.default_int_handler
    if handler is not None:
        names: dict[str, Any] = {}
        exec(HANDLER.format(what=handler), names)
        what = functools.partial(names["handler"]) if wrapped else names["handler"]
    before = signal.signal(getattr(signal, number), what)
    told: list[str] = []
    try:
        with pytest.raises(expected):
            load(complain=told.append)
    finally:
        signal.signal(getattr(signal, number), before)
    assert told == []


def test_an_interrupted_wait_is_the_users(packages: Packages) -> None:
    """Ctrl-C while the spec's code waits inside a function of C is the user's, too."""
    packages.add("slow", "import signal\nsignal.raise_signal(signal.SIGINT)\nSPEC = None\n")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            load()
    finally:
        signal.signal(signal.SIGINT, before)
