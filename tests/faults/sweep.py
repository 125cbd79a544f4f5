"""Plays one program again and again, each time with another operation of csptrace failing.

`sweep.py PROGRAM SORT MODULE SETTINGS MOST`: SORT is what fails, see `injector.py`, MODULE the path
of a PKCS#11 module, SETTINGS a JSON object for `csptrace.start`, MOST how many runs there may be of
each series; if that is fewer than there are operations, they are spread over them. Everything is
imported once; each run is a fork. Without settings, tracing begins in each fork, as at the start of
an interpreter.

Writes a JSON object: how many runs there were, and how those ended that were not like the program
without csptrace.
"""

from __future__ import annotations

import atexit
import faulthandler
import gc
import importlib
import importlib.util
import json
import os
import signal
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
_source = HERE / "injector.py"
injector: dict[str, object] = {"__name__": "injector"}
exec(compile(_source.read_text(encoding="utf-8"), "<injector>", "exec"), injector)
faults = injector["faults"]
injector["install"]()

import traced_programs as programs  # noqa: E402 - what csptrace binds by name must be wrapped before

from csptrace import _startup  # noqa: E402


class Ended:
    """How a run has ended: exit status, output, errors, and what failed."""

    def __init__(self, status: int, out: str, err: str, report: str) -> None:
        self.status, self.out, self.err = status, out, err
        lines = [line.split(" ", 2) for line in report.splitlines()]
        self.count = max((int(line[0]) for line in lines), default=-1)
        self.fired = sum(int(line[1]) for line in lines)
        self.first = next((line[2] for line in lines if line[2]), "")


def play(
    program: programs.Program,
    module: str,
    sort: str,
    at: int,
    *,
    lasting: bool = False,
    starting: bool = False,
) -> Ended:
    """Run the program in a fork."""
    with (
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
        tempfile.TemporaryFile() as report,
    ):
        sys.stdout.flush()
        child = os.fork()
        if not child:
            faults.arm(sort, at, lasting=lasting)
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            os.dup2(report.fileno(), 9)
            signal.alarm(60)
            faulthandler.enable(2)
            if starting:
                os.environ["CSPTRACE"] = "1"
                _startup.start()
            raise Play(program, module)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        texts = []
        for file in (out, err, report):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
        return Ended(status, *texts)


class Play(BaseException):
    """Leads the child out of the loop, so that it ends like a program."""


parent = os.getpid()


def note() -> None:
    """Say in the fork what has failed; runs behind csptrace's own exit handler."""
    if os.getpid() == parent:
        return
    faults.disarm()
    os.write(9, f"{faults.count} {faults.fired} {faults.first}\n".encode())


def differs(run: Ended, plain: Ended, sure: Ended, *, misuses: bool, quiet: bool) -> str:
    """Return in what a run differs from the untraced one, empty if in nothing."""
    if run.status not in (plain.status, sure.status):
        return f"status {run.status}, not {plain.status}: {run.err[-2000:]}"
    lines, wanted = run.out.splitlines(), plain.out.splitlines()
    also = sure.out.splitlines()
    if len(lines) != len(wanted):
        return f"output {run.out!r}, not {plain.out!r}"
    for number, line in enumerate(lines):
        allowed = {wanted[number]}
        if misuses and line.startswith("misuse") and number < len(also):
            allowed.add(also[number])
        if line not in allowed:
            return f"line {line!r}, not {wanted[number]!r}"
    err = (
        run.err
        if quiet
        else "".join(
            line for line in run.err.splitlines(keepends=True) if "Exception ignored" in line
        )
    )
    ignored = plain.err if quiet else ""
    return "" if err == ignored else f"stderr {run.err!r}, not {plain.err!r}"


def main() -> None:
    """Play everything."""
    name, sort, module, settings = sys.argv[1], sys.argv[2], sys.argv[3], json.loads(sys.argv[4])
    program = programs.PROGRAMS[name]
    for warm in (*programs.WARM, *program.warm):
        if importlib.util.find_spec(warm.partition(".")[0]) is not None:
            importlib.import_module(warm)
    atexit.register(note)
    util = sys.modules.get("multiprocessing.util")
    if util is not None:  # which ends its processes without exit handlers
        util.register_after_fork(faults, lambda _: util.Finalize(None, note, exitpriority=-(10**7)))
    gc.collect()
    gc.freeze()
    plain = play(program, module, "", 0)
    if settings:
        import csptrace

        csptrace.start(**settings)
        gc.freeze()
    found: dict[str, object] = {"runs": 0, "failed": 0, "deviations": []}
    sure = play(program, module, sort, 0, starting=not settings)
    quiet = settings.get("quiet", False)
    step = -(-max(sure.count, 1) // int(sys.argv[5]))
    for lasting in (False,) if sort == "bug" else (True, False):
        at = 0
        while True:
            run = sure
            if at:
                run = play(program, module, sort, at, lasting=lasting, starting=not settings)
            found["runs"] += 1
            found["failed"] += run.fired
            wrong = differs(run, plain, sure, misuses=program.misuses, quiet=quiet)
            if wrong:
                found["deviations"].append([at, lasting, run.first, wrong])
            if at and not run.fired:
                break
            at += step
    found["operations"] = sure.count
    if settings:
        csptrace.stop()
    sys.stdout.write(json.dumps(found) + "\n")


def end(program: programs.Program, module: str) -> None:
    """Run the program in the fork, to its end."""
    status = 0
    try:
        program.run(module)
    except SystemExit as ended:
        status = ended.code
        if program.whole:
            raise
    if not program.whole:
        # The rest of the interpreter's end takes longer than the program.
        atexit._run_exitfuncs()
        os._exit(status)


if __name__ == "__main__":
    try:
        main()
    except Play as play_:
        played = play_.args
    else:
        played = None
    if played is not None:
        end(*played)
