"""Measure what csptrace costs and write README.md beside this file.

    python -m pip install -e '.[bench]' && python reports/overhead/measure.py

Everything is measured in one run and stated as a ratio within it. The calls are timed by pyperf
(several processes, warm-ups, calibrated loops); memory and interpreter start in processes of their
own.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
LIVE = (100, 10_000, 1_000_000)
CHILDREN = 10
MILLION = 1_000_000


# --- calls, by pyperf -----------------------------------------------------------------------------


def calls(output: Path) -> dict[str, float]:
    """Run the call benchmarks; return benchmark → median seconds."""
    command = [sys.executable, HERE / "calls.py", "--fast", "--quiet", "-o", output]
    subprocess.run(
        [*command, "--inherit-environ", "PYTHONPATH"],
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    import pyperf  # noqa: PLC0415 - the extra is only needed to measure

    return {bench.get_name(): bench.median() for bench in pyperf.BenchmarkSuite.load(str(output))}


# --- releasing a context ------------------------------------------------------------------------

RELEASE = """
import sys, time
sys.path[:0] = [{here!r}, {root!r}]
import csptrace
from workload import Library, acquire_context, byref, c_void_p
csptrace.start(libraries=["tracedlib"], quiet=True, depth=16, tombstones=1000)
library = Library("tracedlib")
others = acquire_context(library)
hash_ = c_void_p()
for _ in range({live}):
    library.CryptCreateHash(others, 1, 0, 0, byref(hash_))
best = []
for _ in range(200):
    context = acquire_context(library)
    for _ in range({children}):
        library.CryptCreateHash(context, 1, 0, 0, byref(hash_))
    start = time.perf_counter()
    library.CryptReleaseContext(context, 0)
    best.append(time.perf_counter() - start)
import statistics
print(statistics.median(best))
import os; os._exit(0)
"""


def release(live: int) -> float:
    """Return the median seconds of releasing a context with ten leaked children."""
    text = RELEASE.format(here=str(HERE), root=str(ROOT), live=live, children=CHILDREN)
    return float(_python(text))


# --- memory -------------------------------------------------------------------------------------

MEMORY = """
import sys, gc
sys.path[:0] = [{here!r}, {root!r}]
import csptrace
from workload import Library, acquire_context, alone, at_depth, byref, c_void_p
import os
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
csptrace.start(libraries=["tracedlib"], quiet=True)
library = Library("tracedlib")
context = acquire_context(library)
hash_ = c_void_p()
def some(number):
    for _ in range(number):
        library.CryptCreateHash(context, 1, 0, 0, byref(hash_))
alone(at_depth, lambda: some(1000))
gc.collect()
before = resident()
alone(at_depth, lambda: some({live}))
gc.collect()
print((resident() - before) / {live})
os._exit(0)
"""


def memory() -> float:
    """Return the bytes of resident memory that a live handle takes, at one million."""
    return float(_python(MEMORY.format(here=str(HERE), root=str(ROOT), live=MILLION)))


# --- interpreter start ----------------------------------------------------------------------------


def start() -> dict[str, list[float]]:
    """Time interpreter starts in three environments in turn; return name → seconds."""
    folder = Path(tempfile.mkdtemp(prefix="csptrace-start-"))
    pythons = {}
    try:
        for name in ("without", "again without", "with"):
            venv.create(folder / name, with_pip=False)
            pythons[name] = folder / name / "bin" / "python"
            site = next((folder / name / "lib").glob("python*/site-packages"))
            if name == "with":
                shutil.copytree(ROOT / "csptrace", site / "csptrace")
                for file in (ROOT / "csptrace" / "startup").iterdir():
                    shutil.copy(file, site / file.name)
        environ = {k: v for k, v in os.environ.items() if not k.startswith(("CSPTRACE", "PYTHON"))}
        times: dict[str, list[float]] = {name: [] for name in pythons}
        for turn in range(310):
            for name, python in pythons.items():
                begin = time.perf_counter()
                subprocess.run([python, "-c", "pass"], check=True, env=environ)
                if turn >= 10:
                    times[name].append(time.perf_counter() - begin)
        return times
    finally:
        shutil.rmtree(folder)


def _python(text: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", text], check=True, capture_output=True, text=True
    ).stdout


# --- the report -----------------------------------------------------------------------------------


def main() -> None:
    """Measure everything and write the report."""
    with tempfile.TemporaryDirectory() as folder:
        times = calls(Path(folder) / "calls.json")
    releases = {live: release(live) for live in LIVE}
    bytes_each = memory()
    starts = start()
    result = {
        "machine": _machine(),
        "calls_us": {name: round(seconds * 1e6, 3) for name, seconds in times.items()},
        "release_us": {str(live): round(seconds * 1e6, 1) for live, seconds in releases.items()},
        "bytes_per_handle": round(bytes_each),
        "start_ms": {
            name: {
                "median": round(statistics.median(each) * 1e3, 3),
                "quartiles": [round(q * 1e3, 3) for q in statistics.quantiles(each, n=4)],
            }
            for name, each in starts.items()
        },
    }
    (HERE / "results.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    (HERE / "README.md").write_text(render(result), encoding="utf-8")
    print((HERE / "README.md").read_text("utf-8"))


def _machine() -> dict[str, str]:
    import wrapt  # noqa: PLC0415 - from this checkout, not from an installation

    sys.path.insert(0, str(ROOT))
    import csptrace  # noqa: PLC0415 - as above

    processor = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = [line for line in info.read_text("utf-8").splitlines() if "model name" in line]
        processor = lines[0].partition(":")[2].strip() if lines else processor
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor,
        "cores": str(os.cpu_count()),
        "csptrace": csptrace.__version__,
        "wrapt": wrapt.__version__,
    }


def render(result: dict[str, Any]) -> str:
    """Return the report."""
    us = result["calls_us"]

    def added(name: str, raw: str) -> float:
        return float(us[name] - us[raw])

    uses, pairs = [], []
    for kind in ("int", "c_void_p"):
        raw, floor, ours = (f"use {kind}: {what}" for what in ("raw", "wrapper", "csptrace"))
        ratio = added(ours, raw) / added(floor, raw)
        uses.append(
            f"| {kind} | {us[raw]:.3f} | {added(floor, raw):.3f} | {added(ours, raw):.3f} "
            f"| {ratio:.2f} | {_met(ratio, 0.8)} |"
        )
    for where in ("1 file", "a file per frame"):
        raw, hand, ours = (f"pair, {where}: {what}" for what in ("raw", "hand", "csptrace"))
        ratio = added(ours, raw) / added(hand, raw)
        pairs.append(
            f"| {where} | {us[raw]:.2f} | {added(hand, raw):.2f} | {added(ours, raw):.2f} "
            f"| {ratio:.2f} | {_met(ratio, 0.25)} |"
        )
    raw = "pair, 1 file: raw"
    starts = [
        f"| {name} csptrace | {each['median']} | {each['quartiles'][0]} to {each['quartiles'][2]} |"
        for name, each in result["start_ms"].items()
    ]
    return TEMPLATE.format(
        machine=", ".join(f"{key} {value}" for key, value in result["machine"].items()),
        uses="\n".join(uses),
        pairs="\n".join(pairs),
        wrapper=added("pair, 1 file: wrapper", raw),
        count=added("pair, 1 file: count", raw),
        log=added("pair, 1 file: log", raw),
        children=CHILDREN,
        releases="\n".join(
            f"| {int(live):,} | {value} |" for live, value in result["release_us"].items()
        ),
        memory=result["bytes_per_handle"],
        memory_met="met" if result["bytes_per_handle"] <= 700 else "not met",
        starts="\n".join(starts),
    )


def _met(ratio: float, target: float) -> str:
    return "yes" if ratio <= target else "no"


TEMPLATE = """\
# What csptrace costs

Regenerate with `python -m pip install -e '.[bench]' && python reports/overhead/measure.py`.
All numbers are from one run; the machine: {machine}.

The native functions do next to nothing (`workload.py`), so that what is added is the interception.
*Adds* is the time of a traced call less that of the same call untraced; ratios are of what is
added.

## A call that only uses a handle

Level `acquire`, no log. The floor is a bare `wrapt.FunctionWrapper` that only calls through.
Target: at most 0.8 of what the floor adds.

| handle passed as | untraced µs | FunctionWrapper adds µs | csptrace adds µs | ratio | target met |
|---|---|---|---|---|---|
{uses}

## Acquire and release, below a stack of 16 frames

Against what people write by hand: wrappers that keep `traceback.extract_stack()` in a dict and drop
it on release. Target: at most 0.25. What the hand-written tracker costs depends on how many source
files the stack runs through, since `extract_stack` asks for the status of each; real stacks lie
between the two rows.

| stack runs through | untraced µs | by hand adds µs | csptrace adds µs | ratio | target met |
|---|---|---|---|---|---|
{pairs}

Where the target is missed: a release costs csptrace as much as an acquisition, since it is judged,
marked before the call and settled after it, and keeps a stack of its own (half as deep); the
hand-written tracker only drops an entry.

For comparison, on the stack in one file: a bare FunctionWrapper, without any bookkeeping, adds
{wrapper:.2f} µs to the pair; csptrace at level `count` (no stacks) {count:.2f} µs; with an event
log (two events, two writes) {log:.2f} µs.

## Releasing a context

A context with {children} leaked children, their findings included, against the number of other live
handles. Target: flat.

| other live handles | µs (median) |
|---|---|
{releases}

## Memory

{memory} bytes of resident memory for each live handle, at one million, with its (shared) stack of
16 frames. Target: at most 700; {memory_met}.

## Interpreter start with `CSPTRACE` unset

300 starts each of `python -c pass` in three virtual environments in turn: two without csptrace,
to show the noise, and one with it. Target: within the noise.

| environment | median ms | quartiles ms |
|---|---|---|
{starts}
"""


if __name__ == "__main__":
    main()
