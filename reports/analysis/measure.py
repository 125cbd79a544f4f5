"""Measure the analysis of logs, side by side in one run; write results.json.

    python reports/analysis/measure.py [--events 10000000] [--files 8] [--scale]

Every measurement is a process of its own, so that its peak memory is its own; they take turns in
rounds, and the best round of each counts. `--scale` adds the cost per event on Parquet from a
tenth to ten times of the events. What is generated is deleted at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

PARSE = """
import json, os, sys, tempfile, time
from csptrace.analysis import embedded, queries, reading
begin = time.perf_counter()
names = list(questions.READ)
with tempfile.TemporaryDirectory() as folder:
    database = embedded.connect(folder, 1_000_000_000)
    for log in reading.find(sys.argv[1:]):
        counts = ", ".join(f'COUNT("{name}")' for name in names)
        database.execute(f"SELECT {counts} FROM {embedded.json_source(log.path)}").fetchall()
print(json.dumps({"seconds": time.perf_counter() - begin}))
"""
REPORT = """
import json, sys, time
from csptrace.analysis import engines
begin = time.perf_counter()
report = engines.analyse(sys.argv[2:], cache=sys.argv[1])
seconds = time.perf_counter() - begin
print(json.dumps({"seconds": seconds, "answer": {
    "events": report.cost.events,
    "sites": {f"{s.kind} {s.where}": [s.acquired, s.released, s.leaked] for s in
              sorted(report.sites, key=lambda s: f"{s.kind} {s.where}")},
    "groups": {g.fingerprint: g.count for g in sorted(report.groups, key=lambda g: g.fingerprint)},
    "longest": report.held[0].age,
    "peaks": {r.run: r.peak for r in sorted(report.runs, key=lambda r: r.run)},
}}))
"""
COMPACT = """
import json, sys, time
from csptrace.analysis import compaction
begin = time.perf_counter()
compaction.compact([sys.argv[1]], sys.argv[2])
print(json.dumps({"seconds": time.perf_counter() - begin}))
"""
COPY = """
import sys
from csptrace.analysis import embedded
source, target, tag = sys.argv[1:]
database = embedded.connect(target + ".spill", 2_000_000_000)
database.execute("SET preserve_insertion_order = true")
database.execute(
    f"COPY (SELECT * REPLACE (run || '-{tag}' AS run) FROM read_parquet('{source}', "
    f"hive_partitioning = false)) TO '{target}' (FORMAT parquet, COMPRESSION zstd)"
)
"""


def child(*arguments: str) -> dict[str, object]:
    """Run a measurement in a process of its own; return what it printed, and its peak memory."""
    with tempfile.TemporaryFile() as out:
        begin = time.perf_counter()
        process = subprocess.Popen(arguments, stdout=out)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{arguments[:3]} ended with {process.returncode}")
        out.seek(0)
        text = out.read()
    found = json.loads(text) if text else {"seconds": time.perf_counter() - begin}
    found["peak_mb"] = round(usage.ru_maxrss / 1000)
    found["cpu_s"] = round(usage.ru_utime + usage.ru_stime, 2)
    return found


def program(text: str, *arguments: object) -> dict[str, object]:
    """Run a measurement that is given as a program."""
    return child(sys.executable, "-c", text, *map(str, arguments))


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--files", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--scale", action="store_true")
    parser.add_argument("--folder", type=Path, help="where to generate (default: temporary)")
    options = parser.parse_args()
    import generate  # noqa: PLC0415 - beside this file
    import writing  # noqa: PLC0415

    folder = options.folder or Path(tempfile.mkdtemp(prefix="csptrace-measure-"))
    try:
        results = measure(generate, writing, folder, options)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    (HERE / "results.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(results, indent=2))


def measure(generate, writing, folder: Path, options: argparse.Namespace) -> dict[str, object]:  # noqa: ANN001
    """Generate logs, and measure everything on them."""
    logs, parquet, cache = folder / "logs", folder / "parquet", folder / "cache"
    events = generate.generate(logs, options.events, options.files)
    size = sum(path.stat().st_size for path in logs.iterdir())
    say(f"{events} events, {size >> 20} MiB")
    rounds: dict[str, list[dict[str, object]]] = {}

    def turn(name: str, result: dict[str, object]) -> None:
        rounds.setdefault(name, []).append(result)
        say(f"{name}: {result['seconds']:.2f} s, {result['peak_mb']} MB, {result['cpu_s']} CPU s")

    turn("compact", program(COMPACT, logs, parquet))
    for _ in range(options.rounds):
        turn("python_loop", child(sys.executable, str(HERE / "loop.py"), str(logs)))
        turn("duckdb_parse", program(PARSE, logs))
        turn("report_jsonl", program(REPORT, "", logs))
        turn("report_parquet", program(REPORT, "", parquet))
    turn("report_jsonl_filling_cache", program(REPORT, cache, logs))
    turn("report_jsonl_cached", program(REPORT, cache, logs))
    answers = [
        {name: one["answer"][name] for name in ("events", "sites", "groups", "longest", "peaks")}
        for name in ("python_loop", "report_jsonl", "report_parquet", "report_jsonl_cached")
        for one in rounds[name]
    ]
    if any(answer != answers[0] for answer in answers):
        raise SystemExit("the answers differ")
    best = {name: min(one["seconds"] for one in many) for name, many in rounds.items()}
    results: dict[str, object] = {
        "events": events,
        "files": options.files,
        "jsonl_mb": round(size / 1e6),
        "parquet_mb": round(sum(path.stat().st_size for path in parquet.rglob("*.parquet")) / 1e6),
        "seconds": {name: round(seconds, 2) for name, seconds in best.items()},
        "cpu_seconds": {name: min(o["cpu_s"] for o in many) for name, many in rounds.items()},
        "peak_mb": {name: max(o["peak_mb"] for o in many) for name, many in rounds.items()},
        "ratios": {
            "python_loop / report_jsonl (wanted: at least 2.5)": round(
                best["python_loop"] / best["report_jsonl"], 2
            ),
            "report_jsonl / duckdb_parse (wanted: at most 3)": round(
                best["report_jsonl"] / best["duckdb_parse"], 2
            ),
            "report_jsonl / report_parquet (wanted: at least 2)": round(
                best["report_jsonl"] / best["report_parquet"], 2
            ),
        },
        "writing": writing.measure(),
        "machine": {
            "cpus": os.cpu_count(),
            "load_at_the_end": [round(one, 1) for one in os.getloadavg()],
            "python": platform.python_version(),
            "max_rss_of_children_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
            // 1000,
        },
    }
    if options.scale:
        results["scale"] = scale(generate, parquet, folder / "many", events)
    return results


def scale(generate, parquet: Path, place: Path, events: int) -> dict[str, object]:  # noqa: ANN001
    """Measure the report on Parquet for fewer and for more events.

    Ten times the files; one of the files; and as many files with a tenth of the events each, in
    which the same sites, stacks and processes share fewer events. A report on next to nothing
    gives the start: importing DuckDB, opening a database, putting answers together.
    """
    sources = sorted(parquet.rglob("*.parquet"))
    folders = {name: place / name for name in ("start", "one file", "small files", "more files")}
    for folder in folders.values():
        folder.mkdir(parents=True)
    generate.generate(place / "nothing", 200, 1)
    program(COMPACT, place / "nothing", folders["start"])
    shutil.copy(sources[0], folders["one file"])
    generate.generate(place / "tenths", events // 10, len(sources))
    program(COMPACT, place / "tenths", folders["small files"])
    for tag in range(10):
        for number, source in enumerate(sources):
            program(COPY, source, folders["more files"] / f"{tag}-{number}.parquet", tag)
    folders["all files"] = parquet
    rounds: dict[str, list[dict[str, object]]] = {name: [] for name in folders}
    for _ in range(3):
        for name, folder in folders.items():
            result = program(REPORT, "", folder)
            rounds[name].append(result)
            say(f"{name}: {result['seconds']:.2f} s, {result['peak_mb']} MB")
    found: dict[str, dict[str, object]] = {
        name: {
            "events": many[0]["answer"]["events"],
            "seconds": round(min(one["seconds"] for one in many), 3),
            "peak_mb": max(one["peak_mb"] for one in many),
        }
        for name, many in rounds.items()
    }
    start = found["start"]["seconds"]
    for about in found.values():
        about["microseconds_per_event"] = round(about["seconds"] / about["events"] * 1e6, 3)
        about["without_start"] = round((about["seconds"] - start) / about["events"] * 1e6, 3)
    return found


def say(text: str) -> None:
    """Say how far it has come."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
