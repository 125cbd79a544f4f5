"""`csptrace run` runs a program as the interpreter would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LEAK = """
import sys
from ctypes import byref, c_void_p
from csptrace.softcsp import advapi32
hProv = c_void_p()
assert advapi32.CryptAcquireContextW(byref(hProv), None, None, 24, 0xF0000000)
"""


def run(*arguments: str | Path, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    import os

    return subprocess.run(
        [sys.executable, "-m", "csptrace", "run", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def program(folder: Path, text: str, name: str = "program.py") -> Path:
    """Write a program."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_findings_and_own_arguments(tmp_path: Path) -> None:
    """The program sees its own arguments, options included, and its leak is reported."""
    program(tmp_path, LEAK + "print(sys.argv)")
    done = run("--level", "full", "program.py", "--level", "x", "-m", cwd=tmp_path)

    assert done.stdout == "['program.py', '--level', 'x', '-m']\n"
    assert "leaked-at-exit: HCRYPTPROV" in done.stderr
    assert done.returncode == 0


def test_module_with_arguments(tmp_path: Path) -> None:
    """-m runs a module of the working directory with its own arguments."""
    package = tmp_path / "pkg"
    package.mkdir()
    program(package, "")
    program(package, "import sys; print(__name__, sys.argv[1:])", "__main__.py")
    done = run("-m", "pkg", "--log", "x", cwd=tmp_path)

    assert done.stdout == "__main__ ['--log', 'x']\n"
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("text", "status", "message"),
    [
        ("raise SystemExit(5)", 5, ""),
        ("import sys; sys.exit()", 0, ""),
        ("import sys; sys.exit('no')", 1, "no\n"),
        ("import sys; sys.exit(True)", 1, ""),
        ("1 / 0", 1, "ZeroDivisionError: division by zero\n"),
        ("raise KeyboardInterrupt", 130, "KeyboardInterrupt\n"),
        ("x = (", 1, "SyntaxError: '(' was never closed\n"),
    ],
)
def test_exit_status_and_message_are_the_programs_own(
    tmp_path: Path, text: str, status: int, message: str
) -> None:
    """Exit status and last line are what the interpreter would give."""
    program(tmp_path, text)
    done = run("program.py", cwd=tmp_path)

    assert done.returncode == status
    assert done.stderr.endswith(message)
    assert "csptrace/frontends" not in done.stderr


def test_traceback_has_only_the_programs_frames(tmp_path: Path) -> None:
    """An uncaught exception is shown as without csptrace."""
    program(tmp_path, "def f():\n    raise ValueError('x')\nf()\n")
    plain = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    done = run("program.py", cwd=tmp_path)

    assert done.stderr == plain.stderr.replace(f"{tmp_path}/", "")


def test_main_module_looks_as_the_interpreter_makes_it(tmp_path: Path) -> None:
    """The program finds itself, its sources and its folder as without csptrace."""
    text = """
import os, sys
os.chdir("/")
print(__name__, __file__, __package__, __spec__, __doc__, globals().get("__cached__", "none"))
print(type(__loader__), __loader__.name, __loader__.path, __loader__.get_data(__file__)[:9])
print(sys.argv, sys.path[0], sys.modules["__main__"].__dict__ is globals())
"""
    program(tmp_path, text)
    plain = subprocess.run(
        [sys.executable, "program.py", "x"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    done = run("program.py", "x", cwd=tmp_path)

    assert (done.stdout, done.stderr) == (plain.stdout, plain.stderr)


def test_main_module_is_the_program(tmp_path: Path) -> None:
    """Pickling and multiprocessing find the program's functions in __main__."""
    text = """
import multiprocessing, pickle, sys
def f(x): return x + 1
class C: pass
if __name__ == "__main__":
    assert pickle.loads(pickle.dumps(f)) is f
    assert sys.modules["__main__"].C is C
    assert sys.path[0] == __import__("os").path.dirname(__import__("os").path.abspath(__file__))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.map(f, [1]))
"""
    program(tmp_path, text)
    done = run("program.py", cwd=tmp_path)

    assert done.stdout == "[2]\n", done.stderr


def test_fingerprint_does_not_depend_on_the_way_in(tmp_path: Path) -> None:
    """The same leak has the same fingerprint under CSPTRACE=1, as script and as module."""
    import os

    program(tmp_path, "import csptrace\n" + LEAK + "if not csptrace.current(): raise SystemExit(9)")
    ways = {
        "run": ["-m", "csptrace", "run", "program.py"],
        "run -m": ["-m", "csptrace", "run", "-m", "program"],
        "console script": [
            "-c",
            "from csptrace.frontends import cli; raise SystemExit(cli.main(['run', 'program.py']))",
        ],
        "startup": ["program.py"],
    }
    (tmp_path / "sitecustomize.py").write_text(
        "import csptrace._startup; csptrace._startup.start()", encoding="utf-8"
    )
    found = {}
    for way, arguments in ways.items():
        environ = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
        if way == "startup":
            environ["CSPTRACE"] = "1"
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=environ,
            capture_output=True,
            text=True,
            check=True,
        )
        (line,) = [line for line in done.stderr.splitlines() if "fingerprint:" in line]
        found[way] = line

    assert len(set(found.values())) == 1, found


def test_log_and_exit_code_options(tmp_path: Path) -> None:
    """--log writes an event log, and --exit-code speaks only where the program has not failed."""
    program(tmp_path, LEAK)
    done = run("--log", "log", "--exit-code", "9", "program.py", cwd=tmp_path)
    (file,) = (tmp_path / "log").iterdir()
    events = [json.loads(line)["event"] for line in file.read_text("utf-8").splitlines()]

    assert done.returncode == 9
    assert events[0] == "csptrace.run_started"
    assert events[-1] == "csptrace.run_ended"
    assert str(file) in done.stderr

    program(tmp_path, LEAK + "raise SystemExit(4)")
    done = run("--exit-code", "9", "program.py", cwd=tmp_path)
    assert done.returncode == 4


@pytest.mark.parametrize("way", ["script", "module", "environment"])
def test_log_names_the_program(tmp_path: Path, way: str) -> None:
    """The log tells which program or module was traced, however it was started."""
    (tmp_path / "pkg").mkdir()
    program(tmp_path / "pkg", LEAK, "__main__.py")
    program(tmp_path, LEAK)
    if way == "environment":
        start = "import csptrace._startup; csptrace._startup.start()"
        program(tmp_path, start, "sitecustomize.py")
        environ = {"CSPTRACE": "1", "CSPTRACE_LOG": "logs"}
        subprocess.run(
            [sys.executable, "-m", "pkg", "an argument"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", **environ},
            capture_output=True,
            timeout=60,
            check=True,
        )
    else:
        target = ["program.py"] if way == "script" else ["-m", "pkg"]
        run("--log", "logs", *target, "an argument", cwd=tmp_path)
    (log,) = (tmp_path / "logs").iterdir()
    first = json.loads(log.read_text(encoding="utf-8").splitlines()[0])

    assert first["program"] == ("program.py" if way == "script" else "pkg")


def test_settings_reach_children(tmp_path: Path) -> None:
    """A child process gets the settings of the command line through its environment."""
    program(tmp_path, "import os; print(os.environ['CSPTRACE'], os.environ['CSPTRACE_DEPTH'])")
    done = run("--depth", "7", "program.py", cwd=tmp_path)

    assert done.stdout == "1 7\n"


def test_command_line_wins_over_environment(tmp_path: Path) -> None:
    """Options on the command line take the place of a tracer that the environment has started."""
    program(tmp_path, "import csptrace; print(csptrace.current().settings.level)")
    done = run("--level", "full", "program.py", cwd=tmp_path, CSPTRACE="1", CSPTRACE_LEVEL="count")

    assert done.stdout == "full\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "which program?"),
        (["missing.py"], "cannot read missing.py"),
        (["-m", "missing.module"], "run: "),
        (["-m", "missing\x1b"], r"No module named missing\x1b"),
        (["--level", "all", "program.py"], "level = 'all': allowed are count, acquire, full"),
        (["--apis", "nothing", "program.py"], "unknown api 'nothing'; known: cryptoapi"),
    ],
)
def test_wrong_command_lines_say_what_is_allowed(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    """A wrong command line ends with status 2 and one line that helps."""
    program(tmp_path, "")
    done = run(*arguments, cwd=tmp_path)

    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_directories_and_archives_run(tmp_path: Path) -> None:
    """A folder or zip file with a __main__ is a program, too."""
    import zipfile

    folder = tmp_path / "app"
    folder.mkdir()
    program(folder, "import sys; print('hello', sys.argv[1:])", "__main__.py")
    with zipfile.ZipFile(tmp_path / "app.zip", "w") as archive:
        archive.write(folder / "__main__.py", "__main__.py")

    for name in ("app", "app.zip"):
        assert run(name, "a", cwd=tmp_path).stdout == "hello ['a']\n"
