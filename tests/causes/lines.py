"""Runs programs under a line tracer, without csptrace, and writes down which lines they came to.

    python lines.py OUT PROGRAM…      whole programs, one after the other
    python lines.py OUT leaks         the functions of leaks.py, on softcsp

Writes, as JSON: name → the runs of its functions, each as qualified name and lines in order.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import inspect
import json
import os
import runpy
import shutil
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE / "programs")]

_RESUMABLE = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType


def runs(
    do: Callable[[], object], filename: str, *, ends: bool = False
) -> list[tuple[str, list[int]]]:
    """Return the runs of a file's functions while something is done.

    Args:
        do: does it.
        filename: the file.
        ends: whether what is registered for the end of the process is done, too.
    """
    found: list[tuple[str, list[int]]] = []
    known: dict[FrameType, list[int]] = {}
    own: dict[int, list[int]] = {}

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        if frame.f_code.co_filename != filename:
            return None
        if event == "call" and frame not in known:
            run: list[int] = []
            found.append((frame.f_code.co_qualname, run))
            own[id(frame)] = run
            if frame.f_code.co_flags & _RESUMABLE:
                known[frame] = run  # it is called again when it goes on
        elif event == "line":
            (known.get(frame) or own[id(frame)]).append(frame.f_lineno)
        return trace

    threading.settrace(trace)
    sys.settrace(trace)
    try:
        with contextlib.suppress(Exception, SystemExit):
            do()
        gc.collect()
        if ends:
            atexit._run_exitfuncs()
    finally:
        sys.settrace(None)
        threading.settrace(None)  # type: ignore[arg-type]
    return found


def of_leaks() -> dict[str, list[tuple[str, list[int]]]]:
    """Return the runs for each function of leaks.py."""
    import leaks
    import play

    play.provide("softcsp")
    found = {}
    for name in play.NAMES:
        prov = ctypes.c_size_t()
        leaks.lib.CryptAcquireContextW(ctypes.byref(prov), None, None, 24, 0xF0000000)
        leaks.lib.prov = prov
        function = getattr(leaks, name)
        found[name] = runs(lambda f=function, p=prov: f(p), leaks.__file__)
    return found


def main(out: str, names: list[str]) -> None:
    """Run what is named, and write it down."""
    folder = tempfile.mkdtemp()  # a finalizer would remove it among what is done at the end
    os.environ["SOFTCSP_HOME"] = os.path.join(folder, "home")
    try:
        if names == ["leaks"]:
            found = of_leaks()
        else:
            found = {
                Path(name).stem: runs(
                    lambda name=name: runpy.run_path(name, run_name="__main__"), name, ends=True
                )
                for name in names
            }
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    Path(out).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
