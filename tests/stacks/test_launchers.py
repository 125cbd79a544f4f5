"""Fingerprints of one program are equal, however it is started; and those of before still hold."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import zipapp
from pathlib import Path

import pytest

import csptrace

ROOT = Path(csptrace.__file__).parents[1]

PROGRAM = """
from ctypes import byref, c_size_t
from csptrace.softcsp import advapi32


def context():
    h = c_size_t()
    advapi32.CryptAcquireContextW(byref(h), None, None, 24, 0xF0000000)
    return h


def leaking(prov):
    h = c_size_t()
    advapi32.CryptCreateHash(prov, 0x8004, 0, 0, byref(h))


def work():
    prov = context()
    leaking(prov)
    advapi32.CryptReleaseContext(prov, 0)


if __name__ == "__main__":
    prov = context()
    leaking(prov)
    h = c_size_t()
    advapi32.CryptCreateHash(prov, 0x8004, 0, 0, byref(h))
    advapi32.CryptReleaseContext(prov, 0)
    work()
"""
FILES = {
    "app.py": PROGRAM,
    "by_path.py": 'import runpy\nrunpy.run_path("app.py", run_name="__main__")\n',
    "by_name.py": 'import runpy\nrunpy.run_module("app", run_name="__main__", alter_sys=True)\n',
    "by_exec.py": """
        def launch(file):
            with open(file) as source:
                exec(compile(source.read(), file, "exec"), {"__name__": "__main__"})
        launch("app.py")
        """,
    "far_away.py": """
        import os, runpy, sys
        def launch():
            try:
                runpy.run_path("shop/crypto.py", run_name="__main__")
            finally:
                os.chdir("/")
        launch()
        """,
    "shop/__init__.py": "",
    "shop/__main__.py": PROGRAM,
    "shop/crypto.py": PROGRAM,
}


def fingerprints(folder: Path, *arguments: str, traced: bool = True) -> list[str]:
    """Run a program of a folder and return the fingerprints of its findings."""
    log = folder / "log"
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "CSPTRACE_LOG": str(log),
            "CSPTRACE_QUIET": "1",
            "CSPTRACE_STRICT": "1",
            **({"CSPTRACE": "1"} if traced else {}),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    events = [
        json.loads(line)
        for file in log.glob("*.jsonl")
        for line in file.read_text(encoding="utf-8").splitlines()
    ]
    found = [event for event in events if event["event"] == "csptrace.finding"]
    assert found, done.stdout + done.stderr
    return [finding["fingerprint"] for finding in found]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the program and its launchers."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
    return tmp_path


# As they were before launchers were told from programs.
APP = ["1:557a48ac6a756dab", "1:92419eeacdb874e6", "1:bd330b1daef1bdd2"]
CRYPTO = ["1:0a44602feedf29d8", "1:49c350e75ba63694", "1:3d0e41b00a631036"]
SHOP = ["1:fbec5fd1352ec38d", "1:8cef4cf0389d5c1e", "1:8b0a95bd81aec4bd"]
ZIPPED = ["1:e75343e4f4ee1fae", "1:b29ba11025022185", "1:9fa42853cdc2aa1d"]


@pytest.mark.parametrize(
    "arguments",
    [
        "app.py",
        "./app.py",
        "-i app.py",
        "-m app",
        "-X frozen_modules=off -m app",
        "-m runpy app",
        "by_path.py",
        "by_name.py",
        "by_exec.py",
        "-m by_path",
        "-m pdb -c continue app.py",
        "-m pdb -c continue -m app",
        "-m pdb -c continue by_path.py",
        "-m cProfile -o profile app.py",
        "-m cProfile -o profile -m app",
        "-m profile -o profile app.py",
        "-m trace --count --missing -C counts app.py",
        "-m csptrace run app.py",
        "-m csptrace run -m app",
        "-m csptrace run -m pdb -c continue app.py",
        "-m csptrace run by_path.py",
    ],
)
def test_a_script_has_its_fingerprints_however_it_is_started(folder: Path, arguments: str) -> None:
    """A debugger, a profiler, runpy, a launcher or the tracer's own command make no difference."""
    found = fingerprints(folder, *arguments.split(), traced="csptrace" not in arguments)
    assert found == APP


@pytest.mark.parametrize(
    ("arguments", "golden"),
    [
        ("-m shop", SHOP),
        ("shop", SHOP),
        ("shop/__main__.py", SHOP),
        ("-m pdb -c continue -m shop", SHOP),
        ("-m csptrace run -m shop", SHOP),
        ("-m csptrace run shop", SHOP),
        ("-m shop.crypto", CRYPTO),
        ("shop/crypto.py", CRYPTO),
        ("-m pdb -c continue shop/crypto.py", CRYPTO),
        ("-m pdb -c continue -m shop.crypto", CRYPTO),
        ("-m csptrace run shop/crypto.py", CRYPTO),
        ("-m csptrace run -m shop.crypto", CRYPTO),
        ("far_away.py", CRYPTO),
    ],
)
def test_a_package_has_its_fingerprints_however_it_is_started(
    folder: Path, arguments: str, golden: list[str]
) -> None:
    """The same holds for `python -m pkg`, and for a module inside a package."""
    found = fingerprints(folder, *arguments.split(), traced="csptrace" not in arguments)
    assert found == golden


@pytest.mark.parametrize("arguments", ["z.pyz", "-m csptrace run z.pyz", "z"])
def test_a_zip_application_has_its_fingerprints(folder: Path, arguments: str) -> None:
    """An archive is a program like its folder."""
    (folder / "z").mkdir()
    (folder / "z" / "__main__.py").write_text(PROGRAM, encoding="utf-8")
    zipapp.create_archive(folder / "z", folder / "z.pyz")
    found = fingerprints(folder, *arguments.split(), traced="csptrace" not in arguments)
    assert found == ZIPPED


# --- what goes on outside of what it runs ---------------------------------------------------------

ORDINARY = {
    "text in its own namespace": (
        """
        from app import context, leaking, advapi32
        def run(text):
            exec(text, globals())
        run("prov = context()")
        run("leaking(prov)")
        run("advapi32.CryptReleaseContext(prov, 0)")
        """,
        "",
    ),
    "a file in its own namespace": (
        """
        from app import context, leaking, advapi32
        def run(file):
            with open(file) as source:
                exec(compile(source.read(), file, "exec"), globals())
        prov = context()
        run("other.py")
        advapi32.CryptReleaseContext(prov, 0)
        """,
        "leaking(prov)",
    ),
    "a file in its namespace, by another module": (
        """
        from app import context, leaking, advapi32
        import helper
        prov = context()
        helper.run("other.py", globals())
        advapi32.CryptReleaseContext(prov, 0)
        """,
        "leaking(prov)",
    ),
    "a plug-in by its name": (
        """
        import runpy
        def plug_in():
            runpy.run_path("other.py", run_name="plug-in")
        plug_in()
        """,
        "import app\napp.work()",
    ),
    "a module at its import": (
        """
        def load():
            import other
        load()
        """,
        "import app\napp.work()",
    ),
    "text as another main program": (
        """
        def run(text):
            exec(text, {"__name__": "__main__"})
        run("import app; app.work()")
        """,
        "",
    ),
    "a profile of a part": (
        """
        import cProfile, io, contextlib
        from app import work
        with contextlib.redirect_stdout(io.StringIO()):
            cProfile.run("work()")
        """,
        "",
    ),
    "a console": (
        """
        import code
        from app import work
        def ask():
            code.InteractiveConsole(globals()).push("work()")
        ask()
        """,
        "",
    ),
    "a thread": (
        """
        import threading
        from app import work
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        """,
        "",
    ),
    "callbacks": (
        """
        import functools
        from app import work
        def each(_):
            work()
        list(map(each, sorted([1], key=lambda one: 0)))
        """,
        "",
    ),
}
GOLDEN = {
    "text in its own namespace": "1:1c6af0a00428f82b",
    "a file in its own namespace": "1:e0e42a752f8bd901",
    "a file in its namespace, by another module": "1:1ec5bb1f4978f4d2",
    "a plug-in by its name": "1:81c3ed27aa849607",
    "a module at its import": "1:4954b0f57f612bc8",
    "text as another main program": "1:8dc2bca591db564c",
    "a profile of a part": "1:f4301484b68eef1b",
    "a console": "1:e2c41c5016d0efed",
    "a thread": "1:039ec74ec793319a",
    "callbacks": "1:08ecf2db87e87c22",
}


@pytest.mark.parametrize("name", ORDINARY)
def test_programs_that_run_code_keep_their_fingerprints(folder: Path, name: str) -> None:
    """Where a program itself runs text, a file or a module, its baselines of before hold."""
    program, other = ORDINARY[name]
    (folder / "main.py").write_text(textwrap.dedent(program), encoding="utf-8")
    (folder / "other.py").write_text(other, encoding="utf-8")
    (folder / "helper.py").write_text(
        "def run(file, space):\n"
        "    with open(file) as source:\n"
        '        exec(compile(source.read(), file, "exec"), space)\n',
        encoding="utf-8",
    )
    assert fingerprints(folder, "main.py") == [GOLDEN[name]]
