"""Fingerprints: equal for the same bug everywhere, different for different bugs."""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING, Any

import pytest

from csptrace.apis.cryptoapi.spec import HASH, KEY, PROV
from csptrace.findings.catalogue import Code
from csptrace.findings.fingerprint import fingerprint
from csptrace.stacks.capture import StackTable
from csptrace.stacks.frames import Frame
from csptrace.stacks.ownership import Ownership

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

    from conftest import Bench

SHOP = """
import sys


def load(take):
    return take(sys._getframe())


def listed(take):
    return [load(take) for _ in range(1)][0]


def called(take):
    return (lambda: load(take))()


def generated(take):
    return next(load(take) for _ in range(1))


class Store:
    key = None

    def open(self, take):
        def inner():
            return load(take)
        return inner()

    def recurse(self, take, depth):
        return self.recurse(take, depth - 1) if depth else load(take)


def ping(take, depth):
    return pong(take, depth - 1) if depth else load(take)


def pong(take, depth):
    return ping(take, depth - 1) if depth else load(take)
"""


def shop(folder: Path, source: str = SHOP) -> ModuleType:
    """Write the module into a package in a folder and import it from there."""
    package = folder / "shop"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    path = package / "app.py"
    path.write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("shop_app", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def call(module: ModuleType, function: str, *arguments: Any) -> str:
    """Return the fingerprint of a plain function or of a method of `Store`."""
    table = StackTable(64)
    target: Any = getattr(module, function, None) or getattr(module.Store(), function)
    stack = target(table.capture, *arguments)
    resolved = Ownership().resolve(stack)
    assert resolved is not None
    users = [frame for frame in resolved.users if frame.filename == module.__file__]
    return fingerprint(Code.LEAKED_AT_RELEASE, "HCRYPTKEY", "cryptoapi", users)


def frames(*names: str) -> list[Frame]:
    """Return frames from `module:qualname`."""
    return [
        Frame(f"/src/{name.partition(':')[0]}.py", 1, *reversed(name.split(":"))) for name in names
    ]


# --- golden ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "arguments", "golden"),
    [
        ("load", (), "1:958b59d21b9e1892"),
        ("listed", (), "1:725855a2a697e5a8"),
        ("called", (), "1:c1b44dc751b9ab6b"),
        ("generated", (), "1:256bf4adbf46fdf4"),
        ("open", (), "1:c84529026f1137ea"),
        ("recurse", (3,), "1:410ddcf3a90c4be7"),
        ("ping", (4,), "1:1ec70d4c61e5aeb5"),
    ],
)
def test_fingerprints_are_equal_in_every_version_of_python(
    tmp_path: Path, function: str, arguments: tuple[int, ...], golden: str
) -> None:
    """A baseline written with one interpreter holds with another: the values are pinned."""
    assert call(shop(tmp_path), function, *arguments) == golden


def test_the_algorithm_is_pinned() -> None:
    """A change of the algorithm needs a new version in front, or every baseline breaks."""
    found = fingerprint(Code.LOST, "HCRYPTHASH", "cryptoapi", frames("shop.app:load", "main:run"))
    assert found == "1:2df6381ede76f9d1"


# --- what does not count ---------------------------------------------------------------------


@pytest.mark.parametrize("function", ["load", "listed", "called", "generated", "open"])
def test_a_fingerprint_survives_edits_and_moves(tmp_path: Path, function: str) -> None:
    """Lines inserted above, another folder and another run make no difference."""
    here = shop(tmp_path / "here")
    moved = shop(tmp_path / "some" / "where else", "# new\n" * 17 + SHOP.replace("\n\n", "\n\n\n"))
    assert call(here, function) == call(moved, function)


def test_names_that_the_compiler_makes_up_do_not_count() -> None:
    """A lambda, a comprehension and a local function's `<locals>` leave no trace."""
    plain = fingerprint(Code.LOST, "K", "api", frames("m:f", "m:main"))
    for made_up in ("m:f.<locals>.<lambda>", "m:f.<locals>.<listcomp>", "m:f.<locals>.<genexpr>"):
        assert fingerprint(Code.LOST, "K", "api", frames(made_up, "m:f", "m:main")) == plain
        assert fingerprint(Code.LOST, "K", "api", frames(made_up, "m:main")) == plain
    at_top = fingerprint(Code.LOST, "K", "api", frames("m:<lambda>", "m:<module>"))
    assert at_top == fingerprint(Code.LOST, "K", "api", frames("m:<module>"))


@pytest.mark.parametrize("function", ["recurse", "ping"])
def test_the_depth_of_a_recursion_does_not_count(tmp_path: Path, function: str) -> None:
    """The same bug found two or six levels down is the same bug, for mutual recursion too."""
    module = shop(tmp_path)
    assert call(module, function, 2) == call(module, function, 6)


def test_only_the_innermost_five_names_count() -> None:
    """What is further out than that says who called, not where the bug is."""
    inner = [f"m:f{n}" for n in range(5)]
    assert fingerprint(Code.LOST, "K", "api", frames(*inner, "m:main")) == fingerprint(
        Code.LOST, "K", "api", frames(*inner, "m:other", "m:main")
    )
    assert fingerprint(Code.LOST, "K", "api", frames(*inner[:4], "m:main")) != fingerprint(
        Code.LOST, "K", "api", frames(*inner[:4], "m:other")
    )


def test_values_and_counts_do_not_count(bench: Bench) -> None:
    """A leak in a loop is one bug."""
    found = []
    for value in (0x10, 0x20, 0x30):
        context = bench.acquire(PROV, value)
        bench.acquire(KEY, value + 1, context)
        found.extend(bench.release(context))
    assert len(found) == 3
    assert len({finding.fingerprint for finding in found}) == 1


# --- what counts -----------------------------------------------------------------------------


def test_code_kind_api_and_place_count() -> None:
    """Each of them alone makes another fingerprint."""
    found = {
        fingerprint(Code.LOST, "HCRYPTKEY", "cryptoapi", frames("m:f")),
        fingerprint(Code.LEAKED_AT_EXIT, "HCRYPTKEY", "cryptoapi", frames("m:f")),
        fingerprint(Code.LOST, "HCRYPTHASH", "cryptoapi", frames("m:f")),
        fingerprint(Code.LOST, "HCRYPTKEY", "cng", frames("m:f")),
        fingerprint(Code.LOST, "HCRYPTKEY", "cryptoapi", frames("m:g")),
        fingerprint(Code.LOST, "HCRYPTKEY", "cryptoapi", frames("n:f")),
        fingerprint(Code.LOST, "HCRYPTKEY", "cryptoapi", frames("m:C.f")),
        fingerprint(Code.LOST, "HCRYPTKEY", "cryptoapi", frames("m:f", "m:g")),
        fingerprint(Code.LOST, "HCRYPTKEY", "cryptoapi", frames("m:g", "m:f")),
        fingerprint(Code.LOST, "HCRYPTKEY", "cryptoapi", []),
    }
    assert len(found) == 10


def test_a_leak_is_named_after_its_acquisition_and_a_misuse_after_its_use(bench: Bench) -> None:
    """The place to mend is where the key was made, or where it was misused."""

    def released_here(context_value: int) -> str:
        context = bench.acquire(PROV, context_value)
        key = make_key(context)
        (finding,) = bench.release(context)
        late.append(bench.misuse(key, Code.USE_AFTER_INVALIDATION, "CryptEncrypt", context))
        return finding.fingerprint

    def released_there(context_value: int) -> str:
        context = bench.acquire(PROV, context_value)
        key = make_key(context)
        (finding,) = bench.release(context)
        late.append(bench.misuse(key, Code.USE_AFTER_INVALIDATION, "CryptEncrypt", context))
        return finding.fingerprint

    late: list[Any] = []
    make_key = _key_maker(bench)
    assert released_here(0x10) != released_there(0x20), "the way to the acquisition counts"
    assert late[0].fingerprint != late[1].fingerprint
    names = [frame.qualname for frame in late[0].misused.stack.users]
    assert names[0].endswith("released_here")


def _key_maker(bench: Bench) -> Any:
    def make_key(context: Any) -> Any:
        return bench.acquire(KEY, context.value + 1, context)

    return make_key


def test_findings_of_one_release_differ_by_kind(bench: Bench) -> None:
    """A leaked key and a leaked hash of one function are two bugs."""
    context = bench.acquire(PROV, 0x10)
    bench.acquire(KEY, 0x20, context)
    bench.acquire(HASH, 0x30, context)
    assert len({finding.fingerprint for finding in bench.release(context)}) == 2


def test_frames_outside_the_users_code_do_not_count() -> None:
    """Library frames between the user's do not show up, so that an update changes nothing."""
    library = Frame(sys.modules["json"].__file__ or "", 5, "dumps", "json")
    frame = Frame("/src/app.py", 3, "f", "app")

    class Fixed:
        number = 1
        resolved = None
        frames = (frame, library)

    resolved = Ownership().resolve(Fixed())  # type: ignore[arg-type]
    assert resolved is not None
    assert resolved.users == (frame,)
