"""Runs what stands in the fences of a Markdown page: programs, files and command lines.

`python`
    is run in this process; the blocks of a page share their names.
`py`, `toml`, `ini`, `yaml`
    a file, if the first line is a comment with its name; a piece to be read otherwise.
`console`
    command lines behind `$`, and below each what it prints, stderr included. `…` stands for any
    text in a line, and in a line of its own for any lines; addresses, numbers of seconds, and how
    long a rule of `=` is, do not count. A command of which no output is shown has to end with
    status 0.
`shell`
    command lines that no test can run, since they install something or need another machine.
`text`
    nothing to run.

With `UPDATE_GOLDEN=1` the page is written anew where a command prints something else than it shows,
unless parts of that are left out there.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sybil import Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser, SkipParser

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sybil import Example

__all__ = ["Command", "commands", "files", "matches", "run_page"]

_NAMED = re.compile(r"# (?P<name>[\w./-]+\.\w+)\n")
_PATIENCE = 180
"""Seconds that one command may take."""
_UNWANTED = ("asyncio", "cacheprovider", "randomly", "rerunfailures")
"""Plugins of the tests' own environment, which say something or shuffle."""
_SHELL = """
test ! -e .variables || . ./.variables
(exit "$1")
eval "$2"
status=$?
export -p > .variables
exit $status
"""
"""Runs a command line with the variables that those before have exported."""


class Command(NamedTuple):
    """A command line with the output that the page shows."""

    line: str
    output: str


def commands(block: str) -> Iterator[Command]:
    """Yield the command lines of a console block.

    Args:
        block: what stands between the fences.
    """
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        line, _, output = part.partition("\n")
        yield Command(line, output)


def files(block: str) -> tuple[str, str] | None:
    """Return the name and text of a file that a block shows, `None` if it shows none.

    Args:
        block: what stands between the fences.
    """
    named = _NAMED.match(block)
    return None if named is None else (named["name"], block)


def _lines(text: str) -> list[str]:
    stripped = [re.sub("={3,}", "===", line).rstrip() for line in text.splitlines()]
    return "\n".join(stripped).strip("\n").split("\n")


def _pattern(lines: Iterable[str]) -> str:
    """Return a regular expression for the lines that a page shows."""
    parts = []
    for line in lines:
        if line.strip() == "…":
            parts.append(r"(?:[^\n]*\n)*")
            continue
        text = re.escape(line).replace("…", r"[^\n]*")
        text = re.sub(r"0x[0-9a-f]+", r"0x[0-9a-f]+", text)
        parts.append(re.sub(r"\d+(?:\\\.\d+)?\\ seconds", r"[\\d.,]+\\ seconds", text) + r"\n")
    return "".join(parts)


def matches(shown: str, printed: str) -> bool:
    """Return whether what was printed is what a page shows.

    Args:
        shown: the page's text.
        printed: the program's.
    """
    return re.fullmatch(_pattern(_lines(shown)), "\n".join(_lines(printed)) + "\n") is not None


def _environment() -> dict[str, str]:
    """Return an environment in which a user's shell could be."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    for name in ("GITHUB_ACTIONS", "CI", "FORCE_COLOR"):
        kept.pop(name, None)
    return {
        **kept,
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", ""))),
        "PYTEST_ADDOPTS": " ".join(f"-p no:{name}" for name in _UNWANTED),
        "PYTHONUTF8": "1",
        "PYTHONUNBUFFERED": "1",
        "NO_COLOR": "1",
        "COLUMNS": "80",
        "XDG_CACHE_HOME": str(Path.cwd() / ".cache"),
    }


def _run(example: Example) -> None:
    status = 0
    for command in commands(example.parsed):
        done = subprocess.run(
            ["bash", "-c", _SHELL, "bash", str(status), command.line],
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=_PATIENCE,
            check=False,
        )
        status = done.returncode
        if command.output:
            if os.environ.get("UPDATE_GOLDEN") and "…" not in command.output:
                _renew(Path(example.path), command, done.stdout)
                continue
            assert matches(command.output, done.stdout), (
                f"$ {command.line}\nprinted (status {status}):\n{done.stdout}\n"
                f"and the page shows:\n{command.output}"
            )
        else:
            assert status == 0, f"$ {command.line}\nended with {status}:\n{done.stdout}"


def _renew(page: Path, command: Command, printed: str) -> None:
    """Write into a page what a command prints, if it is something else than stands there."""
    if not matches(command.output, printed):
        shown, now = (f"$ {command.line}\n{text.strip()}\n" for text in (command.output, printed))
        text = page.read_text("utf-8")
        assert text.count(shown) == 1, f"{page}: cannot find what to replace:\n{shown}"
        page.write_text(text.replace(shown, now), encoding="utf-8")


def _write(example: Example) -> None:
    file = files(example.parsed)
    if file is not None:
        path = Path(file[0])
        assert not path.is_absolute(), f"{path} lies outside the page's folder"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file[1], encoding="utf-8")


_FILES = ("py", "toml", "ini", "yaml")


def run_page(path: Path) -> int:
    """Run the examples of a page one after the other, in the working folder.

    Args:
        path: the page.

    Returns:
        How many there are.

    Raises:
        AssertionError: a command printed something else, or failed.
        Exception: whatever a Python block raises.
    """
    sybil = Sybil(
        parsers=[
            SkipParser(),
            PythonCodeBlockParser(),
            *(CodeBlockParser(language, _write) for language in _FILES),
            CodeBlockParser("console", _run),
        ]
    )
    count = 0
    for example in sybil.parse(path).examples():
        example.evaluate()
        count += 1
    return count
