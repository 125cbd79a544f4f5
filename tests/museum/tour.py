"""Runs every exhibit and prints what was found, as JSON.

    python tour.py softcsp|windows

Each program runs without the tracer, with everything logged, and with misuse raised; so does its
fixed twin. It needs no pytest, since it also runs under Windows Python.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE / "exhibits")]

from catalogue import EXHIBITS, Exhibit  # noqa: E402 - found by the line above

if TYPE_CHECKING:
    from csptrace import Tracer
    from csptrace.findings.finding import Finding

Result: TypeAlias = dict[str, Any]


def library(provider: str, binding: str) -> Any:
    """Return what an exhibit is written against: a library, or a module of pywin32's shape."""
    if provider == "softcsp":
        from csptrace import softcsp

        return softcsp.advapi32 if binding == "ctypes" else softcsp.win32crypt
    if binding == "ctypes":
        return ctypes.WinDLL("advapi32")  # type: ignore[attr-defined]
    importlib.import_module("pywintypes")
    return importlib.import_module("win32crypt")


def mark(exhibit: Exhibit, line: int) -> str:
    """Return the comment on a line of an exhibit."""
    text = (HERE / "exhibits" / f"{exhibit.name}.py").read_text(encoding="utf-8").splitlines()
    return text[line - 1].rpartition("# ")[2] if 0 < line <= len(text) else ""


def described(exhibit: Exhibit, finding: Finding) -> list[str]:
    """Return code, kind and the mark of the line where the handle was acquired."""
    where = ""
    stack = finding.acquired.stack if finding.acquired is not None else None
    if stack is not None:
        frame = stack.frames[0]
        if re.split(r"[\\/]", frame.filename)[-1] == f"{exhibit.name}.py":
            where = mark(exhibit, frame.line)
    return [finding.code.value, finding.handle.kind, where]


def reasons(exhibit: Exhibit, tracer: Tracer) -> list[list[str]]:
    """Return pattern, function and line of the cause of each leak."""
    text = (HERE / "exhibits" / f"{exhibit.name}.py").read_text(encoding="utf-8").splitlines()
    return [
        [
            finding.cause.pattern.value,
            finding.cause.function.rpartition("<locals>.")[2],
            text[finding.cause.at.line - 1].strip(),
            finding.cause.words,
        ]
        for finding in tracer.findings
        if finding.code.is_leak and finding.cause is not None
    ]


def untraced(exhibit: Exhibit, provider: str, *, fixed: bool) -> Result:
    """Run a program as it is."""
    program = importlib.import_module(exhibit.name).program
    return {"returned": repr(program(library(provider, exhibit.binding), fixed=fixed))}


def traced(exhibit: Exhibit, provider: str, folder: str, *, on_misuse: str, fixed: bool) -> Result:
    """Run a program under the tracer; what it leaks at its end counts, too."""
    import csptrace

    program = importlib.import_module(exhibit.name).program
    returned = raised = ""
    before: list[list[str]] | None = None
    tracer: Tracer
    with csptrace.tracing(
        on_misuse=on_misuse, on_leak="log", quiet=True, strict=True, log=folder
    ) as tracer:
        try:
            returned = repr(program(library(provider, exhibit.binding), fixed=fixed))
        except csptrace.HandleError as error:
            raised = error.code
            before = [described(exhibit, finding) for finding in tracer.check()]
    with open(str(tracer.log_path), encoding="utf-8") as log:
        events = [json.loads(line) for line in log]
    return {
        "returned": returned,
        "raised": raised,
        "until": before,
        "findings": [described(exhibit, finding) for finding in tracer.findings],
        "causes": reasons(exhibit, tracer),
        "notices": [event["code"] for event in events if event["event"] == "csptrace.notice"],
    }


def tour(provider: str) -> dict[str, dict[str, Result]]:
    """Run everything; return exhibit → run → what happened."""
    results: dict[str, dict[str, Result]] = {}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.environ["SOFTCSP_HOME"] = os.path.join(folder, "home")
        for exhibit in EXHIBITS:
            runs = results[exhibit.name] = {}
            for fixed in (False, True):
                twin = "fixed " if fixed else ""
                for on_misuse in ("log", "raise"):
                    runs[twin + on_misuse] = traced(
                        exhibit, provider, folder, on_misuse=on_misuse, fixed=fixed
                    )
                runs[twin + "untraced"] = untraced(exhibit, provider, fixed=fixed)
    return results


if __name__ == "__main__":
    print(json.dumps(tour(sys.argv[1])))  # noqa: T201 - its output
