"""Tracing starts with the interpreter where the environment asks for it, and nowhere else."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from csptrace import _startup

STARTUP = Path(_startup.__file__).parent / "startup"
HEAVY = (
    "typing",
    "wrapt",
    "structlog",
    "orjson",
    "cryptography",
    "csptrace.process",
    "csptrace.tracer",
    "csptrace.settings",
)


def codes(folder: Path) -> list[list[str]]:
    """Return the finding codes of each log in a folder, sorted."""
    found = []
    for file in folder.glob("*.jsonl"):
        events = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
        assert events[0]["event"] == "csptrace.run_started"
        assert all(event["pid"] == events[0]["pid"] for event in events)
        found.append([event["code"] for event in events if event["event"] == "csptrace.finding"])
    return sorted(found)


def test_the_startup_file_calls_the_function_only_if_asked_to() -> None:
    """Without CSPTRACE the .pth line imports nothing but `os`, which is there already."""
    pth = (STARTUP / "zz_csptrace.pth").read_text("utf-8").strip()
    module, function = _startup.__name__, _startup.start.__name__

    assert pth == (
        'import os; "CSPTRACE" in os.environ and '
        f'__import__("{module}", None, None, ["{function}"]).{function}()'
    )


def test_wheel_puts_the_startup_file_beside_the_package(wheel: Path) -> None:
    """It lies at the top of the wheel, where an installer puts it into site-packages."""
    import zipfile

    names = zipfile.ZipFile(wheel).namelist()

    assert [name for name in names if "/" not in name] == ["zz_csptrace.pth"]
    assert not [name for name in names if name.startswith("csptrace/startup")]
    assert "csptrace/events/schema.json" in names
    assert "csptrace/py.typed" in names


def test_an_interpreter_that_does_not_trace_imports_nothing(installed: Any) -> None:
    """Without CSPTRACE nothing of csptrace is imported, and if it is called, nothing heavy."""
    result = installed.run("-X", "importtime", "-c", "pass")
    called = installed.run(
        "-X", "importtime", "-c", "import csptrace._startup; csptrace._startup.start()"
    )
    imported, imported_by_call = (
        {line.rpartition("|")[2].strip() for line in each.err.splitlines()}
        for each in (result, called)
    )

    assert "site" in imported
    assert not [name for name in imported if name.partition(".")[0] == "csptrace"]
    assert not imported & set(HEAVY)
    assert "csptrace._startup" in imported_by_call
    assert not imported_by_call & set(HEAVY)


def test_pytest_starts_where_each_warning_is_an_error(installed: Any, tmp_path: Path) -> None:
    """That csptrace is installed does not disturb a project which has nothing to do with it.

    pytest warns of a plugin that was imported before it could rewrite its assertions.
    """
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n", encoding="utf-8")
    (tmp_path / "test_other.py").write_text("def test_it():\n    pass\n", encoding="utf-8")
    # Where pytest-asyncio is installed too: some of its releases warn of a missing setting.
    alone = ("-p", "no:cacheprovider", "-p", "no:asyncio")
    result = installed.run("-m", "pytest", "-q", *alone, cwd=tmp_path)

    assert (result.status, result.err) == (0, "")
    assert "1 passed" in result.out


@pytest.mark.parametrize("value", ["0", "", "no", "off", "False"])
def test_a_no_is_a_no(installed: Any, leaky: Path, value: str) -> None:
    """CSPTRACE=0 and its like leave tracing off."""
    result = installed.run(leaky, environ={"CSPTRACE": value})

    assert result.err == ""


@pytest.mark.parametrize("kind", ["installed", "editable"])
def test_environment_variable_traces_a_program(
    kind: str, leaky: Path, request: pytest.FixtureRequest
) -> None:
    """CSPTRACE=1 reports the leak of an unchanged program, from a wheel and an editable install."""
    result = request.getfixturevalue(kind).run(leaky, "a", environ={"CSPTRACE": "1"})

    assert result.status == 0
    assert result.out == "arguments ['a']\n"
    assert "leaked-at-release: HCRYPTKEY" in result.err
    assert "leaky.py:9 in leak" in result.err
    assert result.err.count("2 handles acquired, 1 finding") == 1


@pytest.mark.parametrize("flags", [["-I"], ["-E"], ["-s"], ["-X", "dev"], ["-OO"], ["-u"]])
def test_works_under_interpreter_flags(installed: Any, leaky: Path, flags: list[str]) -> None:
    """Isolation flags do not switch tracing off: the variable is ours, not Python's."""
    result = installed.run(*flags, leaky, environ={"CSPTRACE": "1"})

    assert "1 finding" in result.err


def test_no_site_means_no_tracing(installed: Any) -> None:
    """Under -S there are no start-up files, so nothing is traced and nothing is said."""
    result = installed.run("-S", "-c", "pass", environ={"CSPTRACE": "1"})

    assert (result.status, result.err) == (0, "")


START = """
import multiprocessing, os, subprocess, sys
import leakage

if __name__ == "__main__":
    how = sys.argv[1]
    if how == "subprocess":
        subprocess.run([sys.executable, "-c", "import leakage; leakage.leak()"], check=True)
    elif how == "exec":
        os.execv(sys.executable, [sys.executable, "-c", "import leakage; leakage.leak()"])
    elif how == "os.fork":
        pid = os.fork()
        if not pid:
            leakage.leak()
            sys.exit()
        os.waitpid(pid, 0)
    else:
        process = multiprocessing.get_context(how).Process(target=leakage.leak)
        process.start()
        process.join()
        assert process.exitcode == 0
"""


@pytest.mark.parametrize("how", ["subprocess", "exec", "os.fork", "spawn", "forkserver", "fork"])
def test_children_are_traced_into_logs_of_their_own(
    installed: Any, leakage: Path, tmp_path: Path, how: str
) -> None:
    """However a child is made, its leak stands in its own log and not in its parent's."""
    if how not in {"subprocess", "spawn"} and sys.platform == "win32":
        pytest.skip("Windows has no fork, and exec starts another process there")
    program = leakage / "start.py"
    program.write_text(START, encoding="utf-8")
    log = tmp_path / "log"
    environ = {
        "CSPTRACE": "1",
        "CSPTRACE_LOG": str(log),
        "PYTHONPATH": str(leakage),
        "PYTHONWARNINGS": "ignore",
    }
    result = installed.run(program, how, environ=environ)

    assert result.status == 0, result.err
    found = codes(log)
    assert [each for each in found if each] == [["leaked-at-release"]]
    assert len(found) >= 2


WIN32CRYPT = """
import csptrace.softcsp
csptrace.softcsp.install()
import win32crypt

def digest(hProv, data):
    hHash = hProv.CryptCreateHash(0x800C, None, 0)
    hHash.CryptHashData(data, 0)
    try:
        return hHash.CryptGetHashParam(2, 0)
    finally:
        hHash.CryptDestroyHash()

kept = []

def main():
    hProv = win32crypt.CryptAcquireContext(None, None, 24, 0xF0000000)
    hKey = hProv.CryptGenKey(0x660E, 1)
    kept.append(hKey)               # never destroyed
    for data in (b"a", b"b"):
        digest(hProv, data)
    hHash = hProv.CryptCreateHash(0x800C, None, 0)
    kept.append(hHash)
    hHash.CryptDestroyHash()
    try:
        hHash.CryptHashData(b"late", 0)
    except Exception as error:
        print(type(error).__name__)
    hProv.CryptReleaseContext()
    try:
        hKey.CryptDestroyKey()
    except Exception as error:
        print(type(error).__name__)

main()
"""


def test_a_pywin32_shaped_program_is_traced(installed: Any, tmp_path: Path) -> None:
    """CSPTRACE=1 on a program that uses win32crypt reports its mistakes and nothing else."""
    program = tmp_path / "service.py"
    program.write_text(WIN32CRYPT, encoding="utf-8")
    log = tmp_path / "log"
    result = installed.run(program, environ={"CSPTRACE": "1", "CSPTRACE_LOG": str(log)})

    assert result.status == 0, result.err
    assert result.out == "UseAfterRelease\nOutOfOrderRelease\n"
    assert codes(log) == [["use-after-release", "leaked-at-release", "out-of-order-release"]]


@pytest.mark.parametrize("how", ["spawn", "forkserver", "fork"])
def test_workers_of_multiprocessing_are_judged_when_they_end(
    installed: Any, tmp_path: Path, how: str
) -> None:
    """A context that a worker never releases is leaked at exit, however the worker is ended."""
    if how != "spawn" and sys.platform == "win32":
        pytest.skip("Windows has no fork")
    program = tmp_path / "workers.py"
    program.write_text(
        "import multiprocessing\n"
        "from ctypes import byref, c_void_p\n"
        "def work():\n"
        "    from csptrace.softcsp import advapi32\n"
        "    advapi32.CryptAcquireContextW(byref(c_void_p()), None, None, 24, 0xF0000000)\n"
        "if __name__ == '__main__':\n"
        f"    process = multiprocessing.get_context({how!r}).Process(target=work)\n"
        "    process.start(); process.join()\n",
        encoding="utf-8",
    )
    log = tmp_path / "log"
    environ = {"CSPTRACE": "1", "CSPTRACE_LOG": str(log), "PYTHONWARNINGS": "ignore"}
    result = installed.run(program, environ=environ)

    assert result.status == 0, result.err
    assert [each for each in codes(log) if each] == [["leaked-at-exit"]]


def test_a_bad_setting_is_one_line_and_the_program_runs(installed: Any, leaky: Path) -> None:
    """A wrong setting at interpreter start is one line on stderr; the program is not disturbed."""
    environ = {"CSPTRACE": "1", "CSPTRACE_LEVEL": "everything"}
    result = installed.run(leaky, environ=environ)

    assert result.status == 0
    (line,) = result.err.splitlines()
    assert "CSPTRACE_LEVEL = 'everything': allowed are count, acquire, full" in line
    assert "doctor" in line


def test_a_bad_switch_is_one_line(installed: Any) -> None:
    """A CSPTRACE that is neither yes nor no is said to be so."""
    result = installed.run("-c", "pass", environ={"CSPTRACE": "perhaps"})

    assert result.status == 0
    assert "CSPTRACE = 'perhaps'" in result.err
    assert len(result.err.splitlines()) == 1


def test_an_unwritable_log_is_said_once_and_the_program_runs(
    installed: Any, leaky: Path, tmp_path: Path
) -> None:
    """A log folder that cannot be made costs the log, not the findings and not the program."""
    in_the_way = tmp_path / "file"
    in_the_way.write_text("", encoding="utf-8")
    environ = {"CSPTRACE": "1", "CSPTRACE_LOG": str(in_the_way)}
    result = installed.run(leaky, environ=environ)

    assert result.status == 0
    assert result.err.count("no event log") == 1
    assert "1 finding" in result.err


@pytest.mark.parametrize("code", ["0", "3"])
def test_exit_code_setting(installed: Any, leaky: Path, code: str) -> None:
    """With the setting exit_code a program with findings ends with that status."""
    result = installed.run(leaky, environ={"CSPTRACE": "1", "CSPTRACE_EXIT_CODE": code})

    assert result.status == int(code)
    assert result.out == "arguments []\n"


def test_exit_code_is_left_alone_without_findings(installed: Any) -> None:
    """With the setting exit_code a clean program ends with its own status."""
    result = installed.run(
        "-c", "raise SystemExit(7)", environ={"CSPTRACE": "1", "CSPTRACE_EXIT_CODE": "3"}
    )

    assert result.status == 7


def test_handles_released_in_the_programs_own_exit_handlers_are_no_leaks(
    installed: Any, leakage: Path
) -> None:
    """The tracer judges after the program's exit handlers have run."""
    program = leakage / "tidy.py"
    program.write_text(
        "import atexit, leakage\n"
        "from ctypes import byref, c_void_p\n"
        "hProv = c_void_p()\n"
        "assert leakage.advapi32.CryptAcquireContextW(byref(hProv), None, None, 24, 0xF0000000)\n"
        "atexit.register(lambda: leakage.advapi32.CryptReleaseContext(hProv, 0))\n",
        encoding="utf-8",
    )
    result = installed.run(program, environ={"CSPTRACE": "1"})

    assert "1 handle acquired, no findings" in result.err


def test_start_is_idempotent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second call does nothing, since the .pth line runs twice in a virtual environment."""
    import csptrace

    monkeypatch.setenv("CSPTRACE", "1")
    monkeypatch.setenv("CSPTRACE_QUIET", "1")
    monkeypatch.setitem(_startup.state, "ran", "")
    _startup.start()
    first = csptrace.current()
    _startup.start()

    assert first is not None
    assert csptrace.current() is first
    csptrace.stop()


def test_a_process_with_borrowed_rights_is_not_traced(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The environment of a less privileged user does not control a set-user-ID process."""
    import csptrace

    if sys.platform == "win32":
        pytest.skip("Windows has no set-user-ID")
    monkeypatch.setenv("CSPTRACE", "1")
    monkeypatch.setitem(_startup.state, "ran", "")
    monkeypatch.setitem(_startup.state, "error", "")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    _startup.start()

    assert csptrace.current() is None
    assert "set-user-ID" in capsys.readouterr().err


def test_an_error_that_refuses_to_be_put_into_words() -> None:
    """Whatever its text raises, it is at least named."""

    class Odd(Exception):
        def __str__(self) -> str:
            raise GeneratorExit

    assert _startup._words(Odd()) == "Odd"


SPEC_THAT_RAISES = {
    "SystemExit": "raise SystemExit(3)",
    "sys.exit": "import sys; sys.exit('over')",
    "KeyboardInterrupt": "raise KeyboardInterrupt",
    "GeneratorExit": "raise GeneratorExit",
    "own": "class Odd(BaseException):\n    pass\nraise Odd('x')",
    "no words": "class Odd(Exception):\n    def __str__(self): raise KeyboardInterrupt\nraise Odd",
}


def _offer(folder: Path, source: str) -> None:
    """Make a package whose spec's module has this source, on the path of a child."""
    (folder / "rude.py").write_text(source, encoding="utf-8")
    info = folder / "rude-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: rude\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[csptrace.specs]\nrude = rude:SPEC\n")


@pytest.mark.parametrize("how", SPEC_THAT_RAISES)
def test_a_spec_never_keeps_the_interpreter_from_starting(
    how: str, installed: Any, leaky: Path, tmp_path: Path
) -> None:
    """Whatever a third-party spec raises, it is left out by name, and the rest is traced."""
    _offer(tmp_path, SPEC_THAT_RAISES[how])
    environ = {"CSPTRACE": "1", "PYTHONPATH": str(tmp_path)}
    result = installed.run(leaky, environ=environ)

    assert result.status == 0, result.err
    assert result.out == "arguments []\n"
    assert result.err.count("csptrace: spec 'rude' (rude:SPEC) is left out: ") == 1
    assert "1 finding" in result.err


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no SIGINT to one process")
def test_ctrl_c_during_the_start_ends_the_interpreter(
    installed: Any, leaky: Path, tmp_path: Path
) -> None:
    """The user's Ctrl-C while a slow spec loads is not swallowed."""
    _offer(
        tmp_path,
        "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)\n",
    )
    environ = {"CSPTRACE": "1", "PYTHONPATH": str(tmp_path)}
    result = installed.run(leaky, environ=environ)

    assert result.status != 0
    assert "KeyboardInterrupt" in result.err
    assert "arguments" not in result.out


@pytest.mark.parametrize("what", ["SystemExit(3)", "KeyboardInterrupt", "BaseException('x')"])
def test_what_the_start_needs_may_raise_anything(
    what: str, installed: Any, leaky: Path, tmp_path: Path
) -> None:
    """A dependency that cannot be imported, in whatever way, costs the tracing only."""
    (tmp_path / "wrapt.py").write_text(f"raise {what}\n", encoding="utf-8")
    environ = {"CSPTRACE": "1", "PYTHONPATH": str(tmp_path)}
    result = installed.run(leaky, environ=environ)

    assert result.status == 0, result.err
    assert result.out == "arguments []\n"
    (line,) = result.err.splitlines()
    assert line.startswith("csptrace: not tracing: ")


def test_strict_lets_everything_out(installed: Any, leaky: Path, tmp_path: Path) -> None:
    """For tests of csptrace itself nothing is hidden."""
    (tmp_path / "wrapt.py").write_text("raise SystemExit(3)\n", encoding="utf-8")
    environ = {"CSPTRACE": "1", "CSPTRACE_STRICT": "1", "PYTHONPATH": str(tmp_path)}

    result = installed.run(leaky, environ=environ)

    assert result.status != 0
    assert "SystemExit: 3" in result.err
