"""What others have named reaches no terminal raw: every command, every sort of input."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from sampled import sampled

import csptrace
from csptrace.frontends import cli
from csptrace.terminal import escape

ROOT = Path(csptrace.__file__).parents[1]
MARK = "pLaNt"
"""Stands in front of what is planted: it must be seen, and nothing raw may follow it."""
PARTS = (
    *(
        "\x1b[31m",
        "\x1b]52;c;b3duZWQ=\x07",
        "\x9b31m",
        "\x07\x08\r",
        "\u202e\u2066",
        "\u200b\u200d",
    ),
    *("\ufe0f\U000e0100", "\u2028\x85", "\t\x0b\x0c"),
)
NASTY = MARK + "".join(PARTS)
IN_LINES = NASTY + "\ncsptrace: forged line\n"


def check(text: str, *, seen: bool = True) -> None:
    """Check that a text holds nothing that a terminal would obey or hide, and no forged line."""
    raw = [char for char in text if char != "\n" and escape(char) != char]
    assert raw == []
    assert "forged line" not in [line.removeprefix("csptrace: ") for line in text.splitlines()]
    if seen:
        assert MARK in text


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run a command in this process."""
    try:
        status = cli.main(list(arguments))
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    out, err = capsys.readouterr()
    return status, out, err


def python(
    folder: Path, *arguments: str, status: int | None = 0, **environ: str
) -> tuple[str, str]:
    """Run an interpreter of its own; return what it wrote."""
    keep = {name: value for name, value in os.environ.items() if not name.startswith("CSPTRACE")}
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**keep, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "PYTHONUTF8": "1", **environ},
        cwd=folder,
        capture_output=True,
        timeout=120,
        check=False,
    )
    out, err = (part.decode("utf-8", "surrogateescape") for part in (done.stdout, done.stderr))
    assert status is None or done.returncode == status, err
    return out.replace("\r\n", "\n"), err.replace("\r\n", "\n")


@pytest.fixture(name="logs", scope="module")
def _logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the log of a run in which every text is hostile."""
    folder = tmp_path_factory.mktemp("logs")
    program = folder / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    python(folder, "program.py", CSPTRACE="1", CSPTRACE_LOG=str(folder / "logs"), status=None)
    (log,) = (folder / "logs").glob("*.jsonl")
    spoiled = []
    for line in log.read_text("utf-8").splitlines():
        event = json.loads(line)
        for name in ("host", "program", "kind", "name", "thread", "task", "message", "remedy"):
            if name in event:
                event[name] = IN_LINES
        if event["event"] == "csptrace.stack":
            for frame in event["frames"]:
                for place, value in enumerate(frame):
                    if isinstance(value, str):
                        frame[place] = IN_LINES
        spoiled.append(json.dumps(event))
    log.write_text("\n".join(spoiled) + "\n", encoding="utf-8")
    return folder / "logs"


PROGRAM = """
import ctypes, threading
from ctypes import byref, c_void_p
from csptrace.softcsp import advapi32

def leak():
    hProv, hKey = c_void_p(), c_void_p()
    advapi32.CryptAcquireContextW(byref(hProv), None, None, 24, 0xF0000000)
    advapi32.CryptGenKey(hProv, 0x660E, 1, byref(hKey))
    advapi32.CryptReleaseContext(hProv, 0)

leak()
"""

COMMANDS = (
    ("report", NASTY),
    ("report", ".", "--cache", NASTY),
    ("report", ".", "--engine", NASTY),
    ("report", ".", "--memory-limit", NASTY),
    ("report", ".", "--format", NASTY),
    ("report", ".", "--weight", NASTY),
    ("report", ".", f"--{NASTY}"),
    ("report", ".", "--run", NASTY),
    ("report", ".", "-o", NASTY + "/x"),
    ("report", ".", "--title", NASTY, "--source", NASTY),
    ("compare", NASTY, NASTY),
    ("compare", ".", NASTY),
    ("baseline", NASTY),
    ("baseline", ".", "-o", NASTY + "/x"),
    ("compact", NASTY, "-o", "out"),
    ("compact", ".", "-o", NASTY),
    ("compact", ".", "-o", "out", "--memory-limit", NASTY),
    ("watch", NASTY),
    ("watch", ".", "--interval", NASTY),
    ("watch", ".", "--once", NASTY),
    ("specs", NASTY),
    ("specs", f"--{NASTY}"),
    ("doctor", NASTY),
    ("demo", "--api", NASTY),
    ("demo", NASTY),
    ("run", NASTY),
    ("run", "-m", NASTY),
    ("run", "--level", NASTY, "x.py"),
    ("run", "--depth", NASTY, "x.py"),
    ("run", "--apis", NASTY, "x.py"),
    ("run", f"--{NASTY}", "x.py"),
    (NASTY,),
    (f"--{NASTY}",),
)


@pytest.mark.parametrize("lines", [False, True], ids=["controls", "line ends"])
@pytest.mark.parametrize("arguments", sampled(COMMANDS, 2), ids=lambda each: escape(" ".join(each)))
def test_arguments(
    arguments: tuple[str, ...],
    lines: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What was typed is quoted in no error raw, wherever it was typed."""
    monkeypatch.chdir(tmp_path)
    given = [each.replace(NASTY, IN_LINES) if lines else each for each in arguments]
    if given[0] == "run":  # which traces this process
        out, err = python(tmp_path, "-m", "csptrace", *given, status=None)
    else:
        _status, out, err = command(capsys, *given)

    check(out, seen=False)
    check(err, seen=False)
    assert out or err


def test_a_path_that_does_not_exist_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """The text stays readable, so that the user sees what was wrong."""
    status, _out, err = command(capsys, "report", "\x1b[31mkeys\nand more\u202e")

    assert status == 2
    assert r"\x1b[31mkeys\nand more\u202e" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("form", ["terminal", "markdown", "json", "sarif", "html", "junit"])
def test_reports_of_hostile_logs(
    form: str, logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every text of a log is hostile; no form of the report lets it through."""
    options = ("--no-cache", "--format", form, "-vv")
    status, out, err = command(capsys, "report", str(logs), *options, "--title", IN_LINES)

    assert status == 0, err
    check(out)
    check(err, seen=False)
    status, out, err = command(capsys, "compare", str(logs), str(logs), *options)
    check(out + err, seen=False)


def test_other_commands_on_hostile_logs(
    logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Watching, compacting and accepting show names of a log, all of them escaped."""
    _status, out, err = command(capsys, "watch", "--once", str(logs))
    check(out + err)
    target = tmp_path / IN_LINES.replace("\x00", "")
    _status, out, err = command(capsys, "compact", str(logs), "-o", str(target))
    check(out + err)
    _status, out, err = command(
        capsys, "baseline", "--no-cache", str(logs), "-o", str(tmp_path / NASTY)
    )
    check(out + err)
    _status, out, err = command(
        capsys, "baseline", "--no-cache", str(logs), "-o", str(tmp_path / NASTY)
    )
    check(out + err)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_the_live_view_is_escaped(logs: Path) -> None:
    """On a terminal only rich's own escape sequences are written: attributes and the screen's."""
    ours, theirs = os.openpty()
    with subprocess.Popen(
        [
            sys.executable,
            "-m",
            "csptrace",
            "watch",
            "--until-ended",
            "--interval",
            "0.01",
            str(logs),
        ],
        stdout=theirs,
        stderr=theirs,
        stdin=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "300", "PYTHONUTF8": "1"},
    ) as child:
        os.close(theirs)
        parts = []
        with contextlib.suppress(OSError):  # what Linux says at the end
            while part := os.read(ours, 65536):
                parts.append(part)
        os.close(ours)
    text = b"".join(parts).decode()
    assert child.returncode == 0
    check(re.sub(r"\x1b\[[?0-9;]*[A-Za-z]|\r", "", text))


BAD_SPEC = f"raise ValueError({IN_LINES!r})"


@pytest.fixture(name="spoiled")
def _spoiled(tmp_path: Path) -> Path:
    """Return a folder with a package whose spec fails with a hostile text."""
    (tmp_path / "badspec.py").write_text(BAD_SPEC, encoding="utf-8")
    info = tmp_path / "badspec-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: badspec\nVersion: 1.0\n")
    name = MARK + "\x1b[31m\u202e"
    (info / "entry_points.txt").write_text(
        f"[csptrace.specs]\n{name} = badspec:SPEC\n", encoding="utf-8"
    )
    return tmp_path


@pytest.mark.parametrize(
    "arguments",
    [
        ("-m", "csptrace", "specs"),
        ("-m", "csptrace", "doctor"),
        ("-m", "csptrace", "doctor", "--json"),
        ("-m", "csptrace", "run", "program.py"),
        ("-c", "import csptrace._startup; csptrace._startup.start()"),
        ("-c", "import csptrace; csptrace.start(apis=['none'])"),
    ],
    ids=" ".join,
)
def test_spec_of_another_package(arguments: tuple[str, ...], spoiled: Path) -> None:
    """Neither the name nor the error of somebody else's spec comes through."""
    (spoiled / "program.py").write_text(PROGRAM, encoding="utf-8")
    out, err = python(spoiled, *arguments, status=None, CSPTRACE="1")

    check(out, seen=False)
    check(err, seen=False)
    assert MARK in out + err


@pytest.mark.skipif(sys.platform == "win32", reason="Windows allows no such name")
def test_a_traced_program_with_hostile_names(tmp_path: Path) -> None:
    """Files, functions, threads, scopes, log folders and container names are shown escaped."""
    name = NASTY.replace("\x00", "")
    code = (
        "import ctypes, threading, csptrace, sys\n"
        "from ctypes import byref, c_void_p\n"
        "from csptrace.softcsp import advapi32\n"
        f"NAME = {IN_LINES!r}\n"
        "def leak():\n"
        "    hProv, hKey = c_void_p(), c_void_p()\n"
        "    advapi32.CryptAcquireContextW(byref(hProv), NAME, None, 24, 8)\n"
        "    advapi32.CryptGenKey(hProv, 0x660E, 1, byref(hKey))\n"
        "    advapi32.CryptReleaseContext(hProv, 0)\n"
        "leak.__code__ = leak.__code__.replace(co_qualname=NAME, co_name=NAME)\n"
        "with csptrace.current().scope(NAME):\n"
        "    thread = threading.Thread(target=leak, name=NAME)\n"
        "    thread.start(); thread.join()\n"
        "    leaked = c_void_p()\n"
        "    advapi32.CryptAcquireContextW(byref(leaked), NAME, None, 24, 0)\n"
    )
    (tmp_path / f"{name}.py").write_text(code, encoding="utf-8")
    environ = {
        "CSPTRACE_LOG": str(tmp_path / f"log{name}"),
        "SOFTCSP_HOME": str(tmp_path / "home"),
    }
    out, err = python(tmp_path, "-m", "csptrace", "run", f"{name}.py", status=None, **environ)

    check(out, seen=False)
    check(err)
    assert "leaked-at-release" in err


@pytest.mark.parametrize("where", ["value", "key", "broken", "type"])
def test_settings_files(where: str, tmp_path: Path) -> None:
    """Keys and values of a settings file, and a parser's word on it, are quoted escaped."""
    folder = tmp_path / (NASTY if sys.platform != "win32" else "folder")
    folder.mkdir()
    quoted = json.dumps(IN_LINES)
    text = {
        "value": f"[tool.csptrace]\nlevel = {quoted}\n",
        "key": f"[tool.csptrace]\n{quoted} = 1\n",
        "broken": f"[tool.csptrace]\nlevel = {MARK}\x1b\u202e\n",
        "type": f"[tool.csptrace]\ndepth = [{quoted}]\n",
    }[where]
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")
    for arguments in (
        ("-c", "import csptrace._startup; csptrace._startup.start()"),
        ("-c", "import csptrace; csptrace.start()"),
        ("-m", "csptrace", "doctor"),
    ):
        out, err = python(folder, *arguments, status=None, CSPTRACE="1")
        check(out, seen=False)
        check(err, seen=False)
        assert MARK in out + err


@pytest.mark.skipif(sys.platform == "win32", reason="Windows allows no such variable")
@pytest.mark.parametrize(
    "variable", ["CSPTRACE", "CSPTRACE_LEVEL", "CSPTRACE_" + NASTY.replace("=", "")]
)
def test_environment_variables(variable: str, tmp_path: Path) -> None:
    """Values and names of variables are quoted escaped."""
    for arguments in (
        ("-c", "import csptrace._startup; csptrace._startup.start()"),
        ("-m", "csptrace", "doctor"),
        ("-m", "csptrace", "doctor", "--json"),
        ("-m", "csptrace", "run", "-m", "this"),
    ):
        out, err = python(
            tmp_path, *arguments, status=None, **{"CSPTRACE": "1", variable: IN_LINES}
        )
        check(out, seen=False)
        check(err, seen=False)
        assert MARK in out + err


def test_baseline_files(tmp_path: Path, capsys: pytest.CaptureFixture[str], logs: Path) -> None:
    """What stands in a baseline is quoted escaped."""
    path = tmp_path / "known.toml"
    entry = "version = 1\n[[finding]]\nfingerprint = '1:0123456789abcdef'\ncount = 1\n"
    for text in (
        f"version = {json.dumps(IN_LINES)}\n",
        f"{json.dumps(IN_LINES)} = 1\nversion = 1\n",
        f"version = 1\n[[finding]]\nfingerprint = {json.dumps(IN_LINES)}\ncount = 1\n",
        f"{entry}expires = {json.dumps(IN_LINES)}\n",
        f"version = 1 {MARK}\x1b\n",
    ):
        path.write_text(text, encoding="utf-8")
        status, out, err = command(capsys, "baseline", str(logs), "-o", str(path))
        assert status == 2
        check(out + err, seen=False)
        assert err.count("\n") == 1


def test_stdout_of_an_old_terminal(
    logs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A terminal whose character set lacks arrows and marks gets the report all the same."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, "ascii", newline="\n")
    monkeypatch.setattr(sys, "stdout", stream)
    assert cli.main(["report", "--no-cache", str(logs)]) == 0
    text = raw.getvalue().decode("ascii")

    assert "leaked-at-release" in text
    check(text)
