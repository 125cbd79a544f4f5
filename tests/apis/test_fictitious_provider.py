"""An API is added by one folder of data and an entry point; no line of csptrace knows of it.

The provider is made up and its library is compiled here. Everything else is real: the package lies
in a folder of packages, and each program, test run and report is a process of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fictitious.vault import library

import csptrace
from csptrace.causes.exit_monitor import unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(csptrace.__file__).parents[1]
API = ROOT / "tests" / "fictitious" / "vault_api"
CLIENT = """
import ctypes, os
from ctypes import byref, c_size_t, c_uint32

lib = ctypes.CDLL(os.environ["VAULT_LIBRARY"])


def get(function, *arguments):
    out = c_size_t()
    assert function(*arguments, byref(out)) == 0
    return out


def opened():
    return get(lib.VaultOpen)
"""

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the library is built by cc for Unix")


@pytest.fixture
def python(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs Python where the fictitious package is installed."""
    site = tmp_path / "site"
    shutil.copytree(API, site / API.name)
    info = site / f"{API.name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: vault-api\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[csptrace.specs]\nvaults = vault_api.spec:SPEC\n")
    (tmp_path / "client.py").write_text(CLIENT)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(site), str(tmp_path))),
        "VAULT_LIBRARY": str(library()),
        "CSPTRACE_LOG": str(tmp_path / "logs"),
        "NO_COLOR": "1",
        "COLUMNS": "200",
    }

    def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env={**environment, **more},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


@pytest.fixture
def traced(
    tmp_path: Path, python: Callable[..., subprocess.CompletedProcess[str]]
) -> Callable[..., str]:
    """Return a function that traces a program and returns what it says on stderr."""

    def run(body: str) -> str:
        program = tmp_path / "program.py"
        program.write_text(f"from client import *\n\n{body}", encoding="utf-8")
        done = python("-m", "csptrace", "run", "--on-misuse", "log", "program.py")
        assert done.returncode == 0, done.stderr
        return done.stderr

    return run


def codes(tmp_path: Path) -> list[tuple[str, str]]:
    """Return code and kind of the findings in the event logs."""
    events = [
        json.loads(line)
        for path in sorted((tmp_path / "logs").glob("*.jsonl"))
        for line in path.read_text("utf-8").splitlines()
    ]
    return [
        (event["code"], event["kind"]) for event in events if event["event"] == "csptrace.finding"
    ]


def test_nothing_of_csptrace_knows_it() -> None:
    """No file of the package names the provider, its functions or its kinds."""
    for path in Path(csptrace.__file__).parent.rglob("*"):
        if path.is_file() and path.suffix in (".py", ".json", ".md", ".pth", ".html"):
            text = path.read_text("utf-8").lower()
            assert "hvault" not in text, path
            assert "vaultfree" not in text, path
    assert {path.name for path in API.iterdir() if path.suffix == ".py"} == {
        "__init__.py",
        "queries.py",
        "spec.py",
    }


def test_a_correct_program_is_clean(traced: Callable[..., str], tmp_path: Path) -> None:
    """Both kinds through one function, an operation to its end, a key that is only lent."""
    traced(
        """
vault = opened()
for make in (lib.VaultMakeKey, lib.VaultMakeSecret, lib.VaultMakeKey):
    handle = get(make, vault)
    assert lib.VaultUse(handle) == 0
    assert lib.VaultFree(handle) == 0
lent, again = (get(lib.VaultMasterKey, vault, c_uint32(0)) for _ in range(2))
assert lent.value == again.value
copy = get(lib.VaultMasterKey, vault, c_uint32(1))
for key in (lent, copy):
    assert lib.VaultSignStart(key) == lib.VaultSignUpdate(key) == lib.VaultSignFinish(key) == 0
assert lib.VaultFree(copy) == 0
assert lib.VaultClose(vault) == 0
"""
    )

    assert codes(tmp_path) == []


def test_a_leak_is_told_in_its_words(traced: Callable[..., str], tmp_path: Path) -> None:
    """What leaked, why, what it costs and what to do: kind, function and harm are the spec's."""
    told = traced(
        """
def sign(vault, wanted):
    key = get(lib.VaultMakeKey, vault)
    if not wanted:
        return None
    lib.VaultUse(key)
    lib.VaultFree(key)

vault = opened()
sign(vault, False)
lib.VaultClose(vault)
"""
    )

    assert codes(tmp_path) == [("leaked-at-release", "HVAULTKEY")]
    assert "leaked-at-release: HVAULTKEY" in told
    assert ", a vault key" in told
    assert "acquired by VaultMakeKey" in told
    assert "vault released by VaultClose" in told
    assert "cost: one of the vault's ten pegs stays taken" in told
    if not unavailable():
        assert "sign(), which returned at line 7; VaultFree at line 9 was never reached" in told
        assert "fix: call VaultFree before the return at line 7 too" in told


def test_a_leaked_copy_of_what_is_lent(traced: Callable[..., str], tmp_path: Path) -> None:
    """The argument decides whether a handle is owed: the copy is, and the original is not."""
    traced(
        """
vault = opened()
get(lib.VaultMasterKey, vault, c_uint32(0))
get(lib.VaultMasterKey, vault, c_uint32(1))
lib.VaultClose(vault)
"""
    )

    assert codes(tmp_path) == [("leaked-at-release", "HVAULTKEY")]


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (
            "key = get(lib.VaultMakeKey, vault); lib.VaultFree(key); lib.VaultFree(key)",
            ("double-release", "HVAULTKEY"),
        ),
        (
            "it = get(lib.VaultMakeSecret, vault); lib.VaultFree(it); lib.VaultUse(it)",
            ("use-after-release", "HSECRET"),
        ),
        ("lib.VaultFree(vault)", ("wrong-release", "HVAULT")),
        (
            """key = get(lib.VaultMasterKey, vault, c_uint32(0))
lib.VaultClose(vault)
lib.VaultUse(key)
vault = opened()""",
            ("use-after-invalidation", "HVAULTKEY"),
        ),
    ],
)
def test_misuse(
    traced: Callable[..., str], tmp_path: Path, body: str, found: tuple[str, str]
) -> None:
    """Each misuse is what it is for every API, by the kind that the live handle has told."""
    told = traced(f"vault = opened()\n{body}\nlib.VaultClose(vault)\n")

    assert codes(tmp_path) == [found]
    assert found[1] in told


def test_an_operation_that_is_left(traced: Callable[..., str], tmp_path: Path) -> None:
    """A signature that is begun and not finished leaks with its key's release."""
    told = traced(
        """
vault = opened()
key = get(lib.VaultMakeKey, vault)
lib.VaultSignStart(key)
lib.VaultFree(key)
lib.VaultClose(vault)
"""
    )

    assert codes(tmp_path) == [("leaked-at-release", "SIGNING")]
    assert "the key signs nothing else" in told


def test_a_limit_is_asked_of_the_provider(traced: Callable[..., str], tmp_path: Path) -> None:
    """A program that comes near the limit is told so before the provider refuses."""
    told = traced(
        """
vault = opened()
keys = [get(lib.VaultMakeKey, vault) for _ in range(9)]
for key in keys:
    lib.VaultFree(key)
lib.VaultClose(vault)
"""
    )

    assert codes(tmp_path) == []
    assert "8 of 10 vault keys of vault" in told
    assert "close each with VaultFree" in told


def test_pytest_fails_the_test_that_leaks(
    tmp_path: Path, python: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """The plugin knows the API like any other."""
    (tmp_path / "test_vaults.py").write_text(
        "from client import *\n\n"
        "def test_leaks():\n    get(lib.VaultMakeSecret, opened())\n\n"
        "def test_is_clean():\n    assert lib.VaultClose(opened()) == 0\n"
    )
    done = python("-m", "pytest", "--csptrace", "-p", "no:cacheprovider", "test_vaults.py")

    assert "2 passed, 1 leaked" in done.stdout, done.stdout
    assert "leaked-at-exit: HSECRET" in done.stdout
    assert unavailable() or "keep the result of line 4 and call VaultFree on it" in done.stdout
    assert done.returncode == 1


def test_a_report_and_the_list_of_apis(
    traced: Callable[..., str], python: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """What was logged is reported, and `csptrace specs` lists what the API promises."""
    traced("get(lib.VaultMakeKey, opened())\n")
    report = python("-m", "csptrace", "report", "logs")
    assert "HVAULTKEY" in report.stdout, report.stdout + report.stderr
    assert "2 handles acquired" in report.stdout
    listed = python("-m", "csptrace", "specs", "vaults", "--json")

    (spec,) = json.loads(listed.stdout)
    free = next(each for each in spec["calls"] if each["name"] == "VaultFree")
    assert [effect["kind"] for effect in free["effects"]] == ["HVAULTKEY", "HSECRET"]
