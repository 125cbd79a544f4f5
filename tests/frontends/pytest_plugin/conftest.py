"""Suites that leak, run by a real pytest: in this process, or in one of their own."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest

import csptrace.analysis.grouping
import csptrace.analysis.sarif
import csptrace.causes.inquiry
import csptrace.events.log
import csptrace.findings.baseline
import csptrace.frontends.pytest_plugin.traced_session
import csptrace.intercept.codecs
import csptrace.softcsp
import csptrace.tracer

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

# An inner run in this process drops every module that it imports first. What csptrace imports only
# when it is needed must not be among them: later tests would have it twice, or not find it.
assert csptrace.softcsp.advapi32
with contextlib.suppress(ImportError):  # without cryptography it has no use
    assert csptrace.softcsp.win32crypt

CSP = '''
"""A program that talks to the CSP."""
from ctypes import byref, c_void_p
from csptrace.softcsp import advapi32

def context():
    hProv = c_void_p()
    assert advapi32.CryptAcquireContextW(byref(hProv), None, None, 24, 0xF0000000)
    return hProv

def key(hProv):
    hKey = c_void_p()
    assert advapi32.CryptGenKey(hProv, 0x660E, 1, byref(hKey))
    return hKey

def destroy(hKey):
    assert advapi32.CryptDestroyKey(hKey)

def release(hProv):
    assert advapi32.CryptReleaseContext(hProv, 0)

def misuse():
    """Release a context twice and say nothing about it."""
    hProv = context()
    release(hProv)
    try:
        release(hProv)
    except Exception:
        pass

def tidy():
    hProv = context()
    destroy(key(hProv))
    release(hProv)
'''
_WORDS = "PASSED|FAILED|ERROR|LEAKED|MISUSED|RERUN|SKIPPED|XFAIL|XPASS"
_LINE = re.compile(
    rf"^(?:\[gw\d+\] \[ *\d+%\] ({_WORDS}) (.+?)|"
    rf"(\S.*?) ({_WORDS})(?: \(.*\))?(?: *\[ *\d+%\])?) *$"
)
_PLAIN = (*("-p", "no:cacheprovider", "-p", "no:cov", "-p", "no:hypothesispytest"),)


class Run:
    """What a run of an inner suite has said.

    Attributes:
        result: pytester's result.
        folder: where the suite lies.
        counts: what the last line counts (`{"passed": 2, "leaked": 1}`).
        out: standard output.
        err: standard error.
        status: the exit status.
    """

    def __init__(self, result: pytest.RunResult, folder: Path) -> None:
        self.result = result
        self.folder = folder
        self.out = result.stdout.str()
        self.err = result.stderr.str()
        self.status = int(result.ret)

    @property
    def counts(self) -> dict[str, int]:
        """What the last line counts; a run without one fails the test."""
        found = self.result.parseoutcomes()
        found.pop("deselected", None)
        return {name: count for name, count in found.items() if "warning" not in name}

    @property
    def words(self) -> dict[str, list[str]]:
        """Test → the words that were said about it, with `-v`."""
        found: dict[str, list[str]] = {}
        for line in self.result.outlines:
            match = _LINE.match(line)
            if match is not None:
                name = (match[2] or match[3]).strip().rpartition("::")[2]
                found.setdefault(name, []).append(match[1] or match[4])
        return found

    @property
    def blamed(self) -> set[str]:
        """Whom csptrace fails: the names behind the last `::`."""
        return {name for name, words in self.words.items() if {"LEAKED", "MISUSED"} & set(words)}

    def events(self, folder: str = "logs") -> list[dict[str, Any]]:
        """The events of every log in a folder."""
        files = sorted((self.folder / folder).glob("*.jsonl"))
        lines = [line for file in files for line in file.read_text("utf-8").splitlines()]
        return [json.loads(line) for line in lines]

    def json(self, name: str) -> Any:
        """A JSON file that the run has written."""
        return json.loads((self.folder / name).read_text("utf-8"))


class Suite:
    """A suite in a folder of its own."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        self.path = pytester.path
        pytester.makepyfile(csp=CSP)

    def write(self, **files: str) -> None:
        """Write Python files; those called `test_…` begin with what they need."""
        head = (
            "import pytest\nimport csp\n"
            "from csp import context, key, destroy, release, misuse, tidy\n"
        )
        for name, text in files.items():
            is_test = name.rpartition("/")[2].startswith("test_")
            content = (head if is_test else "") + _dedent(text)
            path = self.path / f"{name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")

    def ini(self, *lines: str) -> None:
        """Write pytest.ini."""
        text = "\n".join(("[pytest]", *lines)) + "\n"
        (self.path / "pytest.ini").write_text(text, encoding="utf-8")

    def run(
        self,
        *arguments: str | Path,
        on: bool = True,
        plugins: Iterable[str] = (),
        loud: Iterable[str] = ("-v",),
    ) -> Run:
        """Run it in this process, with `-v` and `--csptrace`."""
        given = self._arguments(arguments, on, plugins, loud)
        return Run(self.pytester.runpytest_inprocess(*given), self.path)

    def spawn(self, *arguments: str | Path, on: bool = True, plugins: Iterable[str] = ()) -> Run:
        """Run it in a process of its own."""
        given = self._arguments(arguments, on, plugins, ("-v",))
        return Run(self.pytester.runpytest_subprocess(*given, timeout=240), self.path)

    def forget(self) -> None:
        """Remove what pytest remembers of earlier runs."""
        shutil.rmtree(self.path / ".pytest_cache", ignore_errors=True)

    @staticmethod
    def _arguments(
        arguments: Iterable[str | Path], on: bool, plugins: Iterable[str], loud: Iterable[str]
    ) -> list[str]:
        off = [name for name in ("asyncio", "rerunfailures", "xdist") if name not in plugins]
        # `-p no:randomly` does not reach the workers.
        order = ["--randomly-dont-reorganize"] if "xdist" in plugins else ["-p", "no:randomly"]
        blocked = [part for name in off for part in ("-p", f"no:{name}")]
        switch = ["--csptrace"] if on else []
        return [*loud, *_PLAIN, *order, *blocked, *switch, *map(str, arguments)]


def _dedent(text: str) -> str:
    lines = text.splitlines()
    indent = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    return "\n".join(line[indent:] for line in lines) + "\n"


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Suite:
    """Return an empty suite with a module `csp` that talks to the CSP."""
    for name in ("PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER", "GITHUB_ACTIONS", "GITHUB_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CSPTRACE_STRICT", "1")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    pytester.syspathinsert()  # `-o pythonpath=` needs an ini file in pytest 8.0
    monkeypatch.setenv("PYTHONPATH", str(pytester.path))
    return Suite(pytester)
