"""Measure what it costs to watch how functions are left, and write causes.md beside this file.

    python reports/overhead/causes.py

Every measurement is made in a process of its own, with the setting `causes` on and off in turn, so
that what the machine does meanwhile meets both alike; processor time of the thread is counted,
since other work shares the machine. Ratios are of medians within the one run.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ROUNDS = 9
TARGET = 1.3

PROGRAM = """
import sys, time, statistics
sys.path[:0] = [{here!r}, {root!r}]
import csptrace
from workload import Library, acquire_context, alone, at_depth, byref, c_void_p
what, causes = sys.argv[1], sys.argv[2]
if causes != "untraced":
    tracer = csptrace.start(libraries=["tracedlib"], quiet=True, causes=causes == "on")
library = Library("tracedlib")
context = acquire_context(library)
create, destroy = library.CryptCreateHash, library.CryptDestroyHash

def pair(count):
    for _ in range(count):
        h = c_void_p()
        create(context, 1, 0, 0, byref(h))
        destroy(h)

def one():
    h = c_void_p()
    create(context, 1, 0, 0, byref(h))
    destroy(h)

def calls(count):
    for _ in range(count):
        one()

def made():
    h = c_void_p()
    create(context, 1, 0, 0, byref(h))
    return h

def handed(count):
    for _ in range(count):
        destroy(made())

def add(a, b):
    return a + b

def plain(count):
    total = 0
    for number in range(count):
        total = add(total, number)

def dive(depth):
    if depth:
        dive(depth - 1)
    else:
        raise ValueError

def raising(count):
    for _ in range(count):
        try:
            dive(18)
        except ValueError:
            pass

def numbers(count):
    h = c_void_p()
    create(context, 1, 0, 0, byref(h))
    for number in range(count):
        yield number
    destroy(h)

def yielding(count):
    for _ in numbers(count):
        pass

function, count = {{
    "pair": (pair, 2000), "calls": (calls, 2000), "handed": (handed, 2000),
    "plain": (plain, 200000), "raising": (raising, 2000), "yielding": (yielding, 50000),
}}[what]

def measured():
    h = c_void_p()
    create(context, 1, 0, 0, byref(h))  # something is watched meanwhile
    function(count)
    best = []
    for _ in range(20):
        begin = time.thread_time()
        function(count)
        best.append((time.thread_time() - begin) / count)
    destroy(h)
    return statistics.median(best)

print(alone(at_depth, measured) * 1e6)
import os; sys.stdout.flush(); os._exit(0)
"""

ROWS = {
    "pair": "acquire and release in one function",
    "calls": "the same, in a function that is called for each pair",
    "handed": "acquire in a function that returns the handle, release in its caller",
    "yielding": "a yield of a generator that has a handle",
    "plain": "a call of a function that acquires nothing and raises nothing",
    "raising": "an exception that passes 20 frames and is caught",
}


def once(what: str, causes: str) -> float:
    """Return the median microseconds of one process."""
    text = PROGRAM.format(here=str(HERE), root=str(ROOT))
    done = subprocess.run(
        [sys.executable, "-c", text, what, causes],
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return float(done.stdout)


def summarised(values: list[float]) -> dict[str, Any]:
    """Return median and quartiles."""
    return {
        "median": round(statistics.median(values), 4),
        "quartiles": [round(q, 4) for q in statistics.quantiles(values, n=4)],
    }


def main() -> None:
    """Measure everything and write the report."""
    sys.path.insert(0, str(HERE))
    from measure import _machine  # noqa: PLC0415 - found by the line above

    times: dict[str, dict[str, list[float]]] = {what: {"off": [], "on": []} for what in ROWS}
    for turn in range(ROUNDS):
        for what, kept in times.items():
            for causes in ("off", "on") if turn % 2 else ("on", "off"):
                kept[causes].append(once(what, causes))
    result = {
        "machine": _machine(),
        "rounds": ROUNDS,
        "us": {
            what: {causes: summarised(values) for causes, values in kept.items()}
            for what, kept in times.items()
        },
    }
    (HERE / "causes.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    (HERE / "causes.md").write_text(render(result), encoding="utf-8")
    print((HERE / "causes.md").read_text("utf-8"))


def render(result: dict[str, Any]) -> str:
    """Return the report."""
    lines = []
    for what, text in ROWS.items():
        off, on = result["us"][what]["off"], result["us"][what]["on"]
        ratio = on["median"] / off["median"]
        target = {"pair": "yes", "calls": "yes", "handed": "yes"}.get(what, "")
        if target:
            target = "yes" if ratio <= TARGET else "no"
        if what == "plain":
            (low, _, high) = off["quartiles"]
            target = "yes" if low <= on["median"] <= high else "no"
        cells = [
            text,
            f"{off['median']:.3f} ({off['quartiles'][0]:.3f} to {off['quartiles'][2]:.3f})",
            f"{on['median']:.3f} ({on['quartiles'][0]:.3f} to {on['quartiles'][2]:.3f})",
            f"{ratio:.2f}",
            target,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    machine = ", ".join(f"{name} {value}" for name, value in result["machine"].items())
    raising = result["us"]["raising"]
    each = (raising["on"]["median"] - raising["off"]["median"]) / 20
    return TEXT.format(
        rows="\n".join(lines), machine=machine, rounds=result["rounds"], target=TARGET, each=each
    )


TEXT = """\
# What watching how functions are left costs

Regenerate with `python reports/overhead/causes.py`. The machine: {machine}. Medians of {rounds}
processes each, with quartiles; `causes` on and off in turn; processor time.

The native functions do next to nothing (`workload.py`), so that what is compared is the tracer
alone; level `acquire`, stacks of 16 frames, no log. Something is watched all the time, so that the
events are switched on. Target for acquisition and release: at most {target} of what they take
without; for code that acquires nothing and raises nothing: within the quartiles of "off".

| what is timed | off µs | on µs | ratio | target met |
|---|---|---|---|---|
{rows}

An exception pays {each:.2f} µs for each frame that it leaves. That is paid only while a
function that has acquired a handle is watched; the events are switched off again when 4096 frames
in a row were left by exceptions with nothing watched.

What is kept for a live handle: a reference to the function's run and a place in its list. For a
handle that outlives its function: at most eight small records, shared by the handles
that left the function with it; no frame, no exception and no value.
"""


if __name__ == "__main__":
    main()
