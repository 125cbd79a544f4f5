"""Measure what the pytest plugin costs; writes pytest_plugin.md beside this file.

    python -m pip install -e '.[test]' && python reports/overhead/pytest_plugin.py [ROUNDS]

Four suites of 2,000 tests. Two of ordinary tests: in one each test does what the test of a program
that uses a CSP does (import a private key, hash, sign, verify, encrypt, decrypt, release
everything), in the other none touches a CSP (JSON, sqlite in memory, files). And the worst case of
either: tests with next to nothing in them.

Each is run without the plugin (`-p no:csptrace`), with it on, and without it again, to show how far
two equal runs differ; the empty ones, where it would show, also with the plugin installed and off.
What is compared runs at the same time, one process on each of two processors, and then once more
with the processors exchanged: what else happens on the machine meets both alike. (One after the
other, equal runs differed by up to 13 % here.) CPU time of the processes is compared.
"""

import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from ctypes import byref, c_uint32, c_void_p, create_string_buffer
from pathlib import Path
from typing import NamedTuple

import pytest

from csptrace.softcsp import advapi32

TESTS = 2000
FILES = 20
HERE = Path(__file__).parent

CSP = '''
"""A program that uses a CSP."""
from contextlib import contextmanager
from ctypes import byref, c_uint32, c_void_p, create_string_buffer

from csptrace.softcsp import advapi32

PRIVATE_KEY = bytes.fromhex("{private_key}")


class Refused(Exception):
    pass


def check(done):
    if not done:
        raise Refused(hex(advapi32.GetLastError() & 0xFFFFFFFF))


@contextmanager
def context():
    hProv = c_void_p()
    check(advapi32.CryptAcquireContextW(byref(hProv), None, None, 24, 0xF0000000))
    try:
        yield hProv
    finally:
        check(advapi32.CryptReleaseContext(hProv, 0))


@contextmanager
def signature_key(hProv):
    hKey = c_void_p()
    check(advapi32.CryptImportKey(hProv, PRIVATE_KEY, len(PRIVATE_KEY), 0, 0, byref(hKey)))
    try:
        yield hKey
    finally:
        check(advapi32.CryptDestroyKey(hKey))


@contextmanager
def hashed(hProv, text):
    hHash = c_void_p()
    check(advapi32.CryptCreateHash(hProv, 0x800C, 0, 0, byref(hHash)))
    try:
        check(advapi32.CryptHashData(hHash, text, len(text), 0))
        yield hHash
    finally:
        check(advapi32.CryptDestroyHash(hHash))


def sign(hProv, text):
    with hashed(hProv, text) as hHash:
        signature, size = create_string_buffer(512), c_uint32(512)
        check(advapi32.CryptSignHashW(hHash, 2, None, 0, signature, byref(size)))
        return signature.raw[: size.value]


def verify(hProv, hKey, text, signature):
    with hashed(hProv, text) as hHash:
        return bool(
            advapi32.CryptVerifySignatureW(hHash, signature, len(signature), hKey, None, 0)
        )


@contextmanager
def aes_key(hProv):
    hKey = c_void_p()
    check(advapi32.CryptGenKey(hProv, 0x6610, 1, byref(hKey)))
    try:
        yield hKey
    finally:
        check(advapi32.CryptDestroyKey(hKey))


def encrypt(hKey, text):
    data, size = create_string_buffer(text, len(text) + 64), c_uint32(len(text))
    check(advapi32.CryptEncrypt(hKey, 0, 1, 0, data, byref(size), len(data)))
    return data.raw[: size.value]


def decrypt(hKey, secret):
    data, size = create_string_buffer(secret, len(secret)), c_uint32(len(secret))
    check(advapi32.CryptDecrypt(hKey, 0, 1, 0, data, byref(size)))
    return data.raw[: size.value]
'''
USES = """
def test_{number}(hProv):
    text = b"invoice {number}"
    with csp.signature_key(hProv) as hKey:
        signature = csp.sign(hProv, text)
        assert len(signature) == 256
        assert csp.verify(hProv, hKey, text, signature)
        assert not csp.verify(hProv, hKey, text + b"0", signature)
    with csp.aes_key(hProv) as hKey:
        secret = csp.encrypt(hKey, text)
        assert secret != text
        assert csp.decrypt(hKey, secret) == text
"""
USES_HEAD = """
import pytest
import csp

@pytest.fixture
def hProv():
    with csp.context() as hProv:
        yield hProv
"""
ORDINARY = """
def test_{number}(orders, tmp_path):
    text = json.dumps([dict(order, batch={number}) for order in orders])
    (tmp_path / "orders.json").write_text(text, encoding="utf-8")
    read = json.loads((tmp_path / "orders.json").read_text(encoding="utf-8"))
    assert len(read) == len(orders)
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute("create table orders (number integer primary key, city text, price real)")
        database.executemany("insert into orders values (:number, :city, :price)", read)
        rows = database.execute("select city, sum(price) from orders group by city").fetchall()
    assert len(rows) == 7
    assert sum(price for _, price in rows) == pytest.approx(sum(one["price"] for one in read))
"""
ORDINARY_HEAD = """
import json
import sqlite3
from contextlib import closing

import pytest

@pytest.fixture
def orders():
    return [
        {"number": number, "city": f"city {number % 7}", "price": number * 1.25, "tags": ["a", "b"]}
        for number in range(200)
    ]
"""
EMPTY_USES = """
def test_{number}():
    with csp.context() as hProv, csp.aes_key(hProv) as hKey:
        assert len(csp.encrypt(hKey, b"text")) == 16
"""
EMPTY_IDLE = """
def test_{number}():
    assert sorted(range({number} % 50, 0, -1))[:1] in ([], [1])
"""
WAYS = {
    "without the plugin": ("-p", "no:csptrace"),
    "again without": ("-p", "no:csptrace"),
    "installed, off": (),
    "on": ("--csptrace",),
}
PLAIN = [
    option
    for name in (
        "randomly",
        "cacheprovider",
        "cov",
        "asyncio",
        "rerunfailures",
        "xdist",
        "hypothesispytest",
    )
    for option in ("-p", f"no:{name}")
]


class Suite(NamedTuple):
    """One suite.

    Attributes:
        title: its heading.
        text: what its tests do.
        head: how its files begin.
        test: one test.
        target: what the plugin may cost, in percent; 0 if nothing was asked for.
        off: whether it is also run with the plugin installed and off.
    """

    title: str
    text: str
    head: str
    test: str
    target: float = 0
    off: bool = False

    @property
    def ways(self) -> list[str]:
        """The ways in which it is run beside one without the plugin."""
        return [way for way in list(WAYS)[1:] if self.off or way != "installed, off"]


SUITES = {
    "uses": Suite(
        f"{TESTS:,} ordinary tests that use the CSP",
        "Each imports a 2048-bit RSA private key into a context of softcsp, hashes, signs, "
        "verifies twice, makes an AES key, encrypts, decrypts, and releases its six handles: 20 "
        "traced calls.",
        USES_HEAD,
        USES,
        10,
    ),
    "ordinary": Suite(
        f"{TESTS:,} ordinary tests that never touch a CSP",
        "Each writes 200 records as JSON into a file, reads them back, puts them into an sqlite "
        "database in memory and sums them up there.",
        ORDINARY_HEAD,
        ORDINARY,
        1,
    ),
    "empty uses": Suite(
        f"Worst case: {TESTS:,} tests with nothing in them but six calls of the CSP",
        "Each acquires a context and a key from softcsp, encrypts 4 bytes, and releases both.",
        "import csp\n",
        EMPTY_USES,
        off=True,
    ),
    "empty idle": Suite(
        f"Worst case: {TESTS:,} tests with nothing in them",
        "Each sorts at most 50 numbers.",
        "",
        EMPTY_IDLE,
        off=True,
    ),
}


class Cost(NamedTuple):
    """What one run has cost: CPU seconds and wall seconds, and how many tests passed."""

    cpu: float
    wall: float
    passed: int


class Race(NamedTuple):
    """A run and one without the plugin beside it, each the mean of both processors."""

    run: Cost
    base: Cost


def private_key() -> str:
    """Return the PRIVATEKEYBLOB of a new 2048-bit signature key, in hexadecimal."""
    hProv, hKey, size = c_void_p(), c_void_p(), c_uint32()
    assert advapi32.CryptAcquireContextW(byref(hProv), None, None, 24, 0xF0000000)
    assert advapi32.CryptGenKey(hProv, 2, 2048 << 16 | 1, byref(hKey))
    assert advapi32.CryptExportKey(hKey, 0, 7, 0, None, byref(size))
    blob = create_string_buffer(size.value)
    assert advapi32.CryptExportKey(hKey, 0, 7, 0, blob, byref(size))
    advapi32.CryptDestroyKey(hKey)
    advapi32.CryptReleaseContext(hProv, 0)
    return blob.raw[: size.value].hex()


def make(folder: Path, suite: Suite, tests: int = TESTS) -> None:
    """Write a suite, twice: tests that run at the same time must not meet in one folder."""
    _write(folder / "0", suite, tests)
    shutil.copytree(folder / "0", folder / "1")


def _write(folder: Path, suite: Suite, tests: int) -> None:
    folder.mkdir(parents=True)
    (folder / "csp.py").write_text(CSP.replace("{private_key}", private_key()), encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    each = max(1, tests // FILES)
    for file in range(tests // each):
        bodies = (
            suite.test.replace("{number}", str(file * each + number)) for number in range(each)
        )
        text = suite.head + "".join(bodies)
        (folder / f"test_{file:02}.py").write_text(text, encoding="utf-8")


def race(folder: Path, way: str, home: Path) -> Race:
    """Run a suite in some way and without the plugin, at the same time, on either processor."""
    first = side_by_side(folder, (WAYS[way], WAYS["without the plugin"]), home)
    second = side_by_side(folder, (WAYS["without the plugin"], WAYS[way]), home)
    return Race(mean(first[0], second[1]), mean(first[1], second[0]))


def mean(one: Cost, other: Cost) -> Cost:
    """Return the mean of two runs."""
    return Cost((one.cpu + other.cpu) / 2, (one.wall + other.wall) / 2, one.passed)


def side_by_side(folder: Path, ways: tuple[tuple[str, ...], ...], home: Path) -> list[Cost]:
    """Run a suite in several ways at the same time, each on a processor of its own."""
    # With byte code on disk, as everybody has it from the second run on.
    env = {
        name: text
        for name, text in os.environ.items()
        if not name.startswith("CSPTRACE") and name != "PYTHONDONTWRITEBYTECODE"
    }
    runs = []
    for number, options in enumerate(ways):
        out = (folder / f"out{number}.txt").open("w+", encoding="utf-8")
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", "-q", *PLAIN, *options],
            cwd=folder / str(number),
            env={**env, "SOFTCSP_HOME": str(home / str(number))},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        if len(ways) > 1 and hasattr(os, "sched_setaffinity"):
            processors = sorted(os.sched_getaffinity(0))
            os.sched_setaffinity(process.pid, {processors[number % len(processors)]})
        runs.append((process, out, start))
    costs: dict[int, Cost] = {}
    while len(costs) < len(runs):
        pid, status, usage = os.wait3(0)
        at = next(i for i, (process, _, _) in enumerate(runs) if process.pid == pid)
        process, out, start = runs[at]
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        text = out.read()
        out.close()
        words = [word.strip(",") for word in text.split()]
        if process.returncode or "passed" not in words:
            for other, _, _ in runs:
                if other.returncode is None:
                    other.kill()
            sys.exit(f"the suite failed:\n{text[-3000:]}")
        passed = int(words[words.index("passed") - 1])
        costs[at] = Cost(usage.ru_utime + usage.ru_stime, wall, passed)
    return [costs[at] for at in range(len(runs))]


def quartiles(values: list[float], form: str) -> str:
    """Return the quartiles as text."""
    low, _, high = statistics.quantiles(values, n=4)
    return f"{low:{form}} to {high:{form}}"


def ratio(one: Race) -> float:
    """Return what a run has cost more than the one beside it, in percent."""
    return 100 * (one.run.cpu / one.base.cpu - 1)


def more(races: list[Race]) -> float:
    """Return the median of what runs have cost more than those beside them, in seconds."""
    return statistics.median(one.run.cpu - one.base.cpu for one in races)


def judge(cost: float, target: float, noise: float) -> str:
    """Say whether a target is met; not if it is nearer than equal runs are to each other.

    Args:
        cost: the median of what it has cost more, in percent.
        target: what it may cost more, in percent.
        noise: how far the quartiles of equal runs reach, in percent.
    """
    if abs(cost - target) <= noise:
        return f"cannot be told, the quartiles of equal runs reach {noise:.1f} %"
    return "met" if cost <= target else f"missed by {cost - target:.1f} points"


def table(times: dict[str, list[Race]], target: float) -> list[str]:
    """Return the lines of one suite's table."""
    bases = [one.base for races in times.values() for one in races]
    lines = [
        (
            "| suite | CPU s (median) | wall s (median) | against without, beside it (median) | "
            "quartiles | µs per test | target |"
        ),
        "|---|---|---|---|---|---|---|",
        (
            f"| without the plugin | {statistics.median(one.cpu for one in bases):.3f} | "
            f"{statistics.median(one.wall for one in bases):.3f} | | | | |"
        ),
    ]
    equal = [ratio(one) for one in times["again without"]]
    noise = max(map(abs, statistics.quantiles(equal, n=4)))
    for way, races in times.items():
        ratios = [ratio(one) for one in races]
        middle = statistics.median(ratios)
        verdict = f"{target:g} %: {judge(middle, target, noise)}" if way == "on" and target else ""
        lines.append(
            f"| {way} | {statistics.median(one.run.cpu for one in races):.3f} | "
            f"{statistics.median(one.run.wall for one in races):.3f} | {middle:+.1f} % | "
            f"{quartiles(ratios, '+.1f')} % | {1e6 * more(races) / races[0].run.passed:+.0f} | "
            f"{verdict} |"
        )
    return lines


def main() -> None:
    """Run everything and write the report."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    times: dict[str, dict[str, list[Race]]] = {}
    loads: list[float] = []
    with tempfile.TemporaryDirectory() as temporary:
        top = Path(temporary)
        # Of one test, to see what is paid once: for imports, patching and the self-test.
        suites = {**SUITES, "one": Suite("", "", "", EMPTY_IDLE)}
        for name, suite in suites.items():
            times[name] = {way: [] for way in suite.ways}
            make(top / name, suite, 1 if name == "one" else TESTS)
            side_by_side(top / name, (WAYS["on"],) * 2, top / "home")  # writes the byte code
        for number in range(rounds):
            for name, suite in suites.items():
                for way in suite.ways:
                    for _ in range(5 if name == "one" else 1):
                        times[name][way].append(race(top / name, way, top / "home"))
            loads.append(os.getloadavg()[0])
            print(f"round {number + 1} of {rounds}, load {loads[-1]:.1f}", flush=True)
    (HERE / "pytest_plugin.md").write_text(report(times, loads), encoding="utf-8")


def report(times: dict[str, dict[str, list[Race]]], loads: list[float]) -> str:
    """Return the report; `loads` are the load averages behind each round."""

    def each(name: str) -> str:
        return f"{1e6 * (more(times[name]['on']) - more(times['one']['on'])) / TESTS:.0f} µs"

    lines = [
        "# What the pytest plugin costs",
        "",
        (
            "Regenerate with `python -m pip install -e '.[test]' && python "
            "reports/overhead/pytest_plugin.py`."
        ),
        (
            f"{len(loads)} rounds; what is compared runs at the same time, on a processor each, "
            "and once more with the processors exchanged. The machine: "
            f"{platform.python_implementation()} {platform.python_version()}, pytest "
            f"{pytest.__version__}, {platform.system()} {platform.machine()}, "
            f"{os.cpu_count()} cores, load {min(loads):.1f} to {max(loads):.1f} (2 are this run's "
            'own). The row "again without" shows how far two equal runs differ.'
        ),
    ]
    for name, suite in SUITES.items():
        rows = times[name]
        base = statistics.median(one.base.cpu for races in rows.values() for one in races)
        passed = rows["on"][0].base.passed
        lines += [
            "",
            f"## {suite.title}",
            "",
            suite.text,
            (
                f"{passed:,} tests; without the plugin one takes {1000 * base / passed:.2f} ms of "
                "CPU time, pytest's own share and start included."
            ),
            "",
            *table(rows, suite.target),
        ]
    lines += [
        "",
        "## Where it goes",
        "",
        (
            f"Switching it on costs {1000 * more(times['one']['on']):.0f} ms of CPU time once (a "
            "suite of one empty test, on against without: importing the tracer, reading the specs, "
            "the self-test, and letting go of it all). What is left of the difference, for each "
            "test: "
            f"{each('empty idle')} if it is empty, {each('ordinary')} if it is "
            f"ordinary and touches no CSP, {each('empty uses')} if it makes six calls, "
            f"{each('uses')} if it is ordinary and uses the CSP. The start alone is 1 % of a suite "
            f"of {100 * more(times['one']['on']):.0f} s."
        ),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
