"""Measure what the pytest plugin costs; writes pytest_plugin.md beside this file.

    python -m pip install -e '.[test]' && python reports/overhead/pytest_plugin.py [ROUNDS]

Two suites of 2,000 tests: in one each test acquires a context and a key from softcsp, uses the key
and releases both; in the other no test touches a CSP. Each is run without the plugin
(`-p no:csptrace`), with it installed and off, and with it on, in turn, in processes of their own.
CPU time of the process is compared, since the machine is not idle; wall time is given beside it.
"""

import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TESTS = 2000
FILES = 20
HERE = Path(__file__).parent

CSP = """
from ctypes import byref, c_uint32, c_void_p, create_string_buffer
from csptrace.softcsp import advapi32

def sign(text):
    hProv, hKey, hHash = c_void_p(), c_void_p(), c_void_p()
    assert advapi32.CryptAcquireContextW(byref(hProv), None, None, 24, 0xF0000000)
    try:
        assert advapi32.CryptGenKey(hProv, 0x660E, 1, byref(hKey))
        try:
            data, size = create_string_buffer(text, 64), c_uint32(len(text))
            assert advapi32.CryptEncrypt(hKey, 0, 1, 0, data, byref(size), 64)
            return data.raw[: size.value]
        finally:
            advapi32.CryptDestroyKey(hKey)
    finally:
        advapi32.CryptReleaseContext(hProv, 0)
"""
USES = """
def test_{number}():
    assert len(csp.sign(b"text {number}")) == 16
"""
IDLE = """
def test_{number}():
    assert sorted(range({number} % 50, 0, -1))[:1] in ([], [1])
"""
WAYS = {
    "without the plugin": ["-p", "no:csptrace"],
    "again without": ["-p", "no:csptrace"],
    "installed, off": [],
    "on": ["--csptrace"],
}


def make(folder: Path, head: str, test: str) -> None:
    """Write a suite."""
    folder.mkdir()
    (folder / "csp.py").write_text(CSP, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    each = TESTS // FILES
    for file in range(FILES):
        text = head + "".join(test.format(number=file * each + one) for one in range(each))
        (folder / f"test_{file:02}.py").write_text(text, encoding="utf-8")


def run(folder: Path, options: list[str]) -> tuple[float, float]:
    """Run a suite; return its CPU seconds and wall seconds."""
    plain = ["-q", "-p", "no:randomly", "-p", "no:cacheprovider", "-p", "no:cov"]
    plain += [
        "-p",
        "no:asyncio",
        "-p",
        "no:rerunfailures",
        "-p",
        "no:xdist",
        "-p",
        "no:hypothesispytest",
    ]
    # With byte code on disk, as everybody has it from the second run on.
    env = {
        name: text
        for name, text in os.environ.items()
        if not name.startswith("CSPTRACE") and name != "PYTHONDONTWRITEBYTECODE"
    }
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *plain, *options],
        cwd=folder,
        env={**env, "SOFTCSP_HOME": str(folder / "home")},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode or f"{TESTS} passed" not in done.stdout:
        sys.exit(f"the suite failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, wall


def quartiles(values: list[float]) -> str:
    """Return the quartiles as text."""
    low, _, high = statistics.quantiles(values, n=4)
    return f"{low:.3f} to {high:.3f}"


def table(times: dict[str, list[tuple[float, float]]], target: float) -> list[str]:
    """Return the lines of one suite's table."""
    lines = [
        (
            "| suite | CPU s (median) | quartiles | wall s (median) | against without (median of "
            "the rounds' ratios) | quartiles | target |"
        ),
        "|---|---|---|---|---|---|---|",
    ]
    base = [cpu for cpu, _ in times["without the plugin"]]
    for way, rounds in times.items():
        cpus = [cpu for cpu, _ in rounds]
        ratios = [100 * (cpu / own - 1) for cpu, own in zip(cpus, base, strict=True)]
        middle = statistics.median(ratios)
        low, _, high = statistics.quantiles(ratios, n=4)
        verdict = ""
        if way == "on":
            verdict = f"{target:g} %: {'met' if middle <= target else 'missed'}"
        wall = statistics.median(seconds for _, seconds in rounds)
        share = "" if way == "without the plugin" else f"{middle:+.1f} %"
        spread = "" if way == "without the plugin" else f"{low:+.1f} to {high:+.1f} %"
        lines.append(
            f"| {way} | {statistics.median(cpus):.3f} | {quartiles(cpus)} | {wall:.3f} | {share} | "
            f"{spread} | {verdict} |"
        )
    return lines


def main() -> None:
    """Run everything and write the report."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    suites = {"uses": ("import csp\n", USES, 10.0), "idle": ("", IDLE, 1.0)}
    times: dict[str, dict[str, list[tuple[float, float]]]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for name, (head, test, _) in suites.items():
            make(Path(temporary) / name, head, test)
            times[name] = {way: [] for way in WAYS}
        # One test, to see what is paid once: by the tracer's imports and the self-test.
        make_one(Path(temporary) / "one")
        times["one"] = {way: [] for way in WAYS}
        for number in range(rounds + 1):
            for name in times:
                folder = Path(temporary) / name
                order = list(WAYS)
                for way in order[number % 4 :] + order[: number % 4]:
                    one = run(folder, WAYS[way]) if name != "one" else run_one(folder, WAYS[way])
                    if number:  # the first round warms the caches
                        times[name][way].append(one)
            print(f"round {number} of {rounds}", flush=True)
    (HERE / "pytest_plugin.md").write_text(report(times, suites, rounds), encoding="utf-8")


def make_one(folder: Path) -> None:
    """Write a suite of one test."""
    folder.mkdir()
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    (folder / "test_one.py").write_text("def test_one():\n    pass\n", encoding="utf-8")


def run_one(folder: Path, options: list[str]) -> tuple[float, float]:
    """Run the suite of one test."""
    global TESTS  # noqa: PLW0603 - what `run` expects to have passed
    many, TESTS = TESTS, 1
    try:
        return run(folder, options)
    finally:
        TESTS = many


def report(
    times: dict[str, dict[str, list[tuple[float, float]]]],
    suites: dict[str, tuple[str, str, float]],
    rounds: int,
) -> str:
    """Return the report."""

    def middle(name: str, way: str) -> float:
        base = [cpu for cpu, _ in times[name]["without the plugin"]]
        own = [cpu for cpu, _ in times[name][way]]
        return statistics.median(one - other for one, other in zip(own, base, strict=True))

    once = middle("one", "on")
    each = {name: 1e6 * (middle(name, "on") - once) / TESTS for name in suites}
    import pytest  # noqa: PLC0415 - only for its version

    lines = [
        "# What the pytest plugin costs",
        "",
        (
            "Regenerate with `python -m pip install -e '.[test]' && python "
            "reports/overhead/pytest_plugin.py`."
        ),
        (
            f"{rounds} rounds, the four ways in turn within each; the machine: "
            f"{platform.python_implementation()} {platform.python_version()}, pytest "
            f"{pytest.__version__}, {platform.system()} {platform.machine()}, "
            f"{os.cpu_count()} cores."
        ),
        "",
        f"## {TESTS:,} tests that each use the CSP",
        "",
        "Each acquires a context and a key from softcsp, encrypts, and releases both.",
        "",
        *table(times["uses"], suites["uses"][2]),
        "",
        f"## {TESTS:,} tests that never touch a CSP",
        "",
        *table(times["idle"], suites["idle"][2]),
        "",
        "## Where it goes",
        "",
        (
            f"Switching it on costs {1000 * once:.0f} ms of CPU time once (a suite of one "
            "empty test, "
            "on against without: importing the tracer, patching, the self-test), and then "
            f"{each['idle']:.1f} µs for each test that touches no CSP "
            f"and {each['uses']:.1f} µs for "
            "each one that does, the tracing of its six calls included."
        ),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
