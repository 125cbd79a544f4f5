"""What a call of softcsp costs, and that it does not grow with the number of live handles.

    python reports/conformance/softcsp_cost.py

writes ``reports/conformance/softcsp_cost.md``. All numbers come from one run, taken in turns, so
that a slow moment of the machine hits all of them.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from csptrace.softcsp import constants as c
from csptrace.softcsp.library import SoftLibrary

if TYPE_CHECKING:
    from collections.abc import Callable

REPORT = Path(__file__).with_suffix(".md")
LIVE = (10, 1_000, 30_000)
CALLS = 300
ROUNDS = 30
LARGEST_GROWTH = 1.5


class Bench:
    """One context with one key and one hash, among many others."""

    def __init__(self) -> None:
        """Make the context and what the calls need."""
        self.library = SoftLibrary()
        self.context = ctypes.c_size_t()
        self._call("CryptAcquireContextA", ctypes.byref(self.context), None, None, 24, 0xF0000000)
        self.key = self.made("CryptGenKey", c.CALG_AES_128, 1)
        self.hash = self.made("CryptCreateHash", c.CALG_SHA_256, 0, 0)
        self._others: list[ctypes.c_size_t] = []
        self.buffer = ctypes.create_string_buffer(64)
        self.size = ctypes.c_uint32()

    def _call(self, name: str, *arguments: Any) -> None:
        if not self.library[name](*arguments):
            raise OSError(f"{name}: {self.library.GetLastError() & 0xFFFFFFFF:#x}")

    def made(self, name: str, *arguments: int) -> ctypes.c_size_t:
        """Create something in the context."""
        out = ctypes.c_size_t()
        self._call(name, self.context, *arguments, ctypes.byref(out))
        return out

    def have(self, live: int) -> None:
        """Make or destroy hashes until that many handles are live."""
        while len(self._others) + 3 < live:
            self._others.append(self.made("CryptCreateHash", c.CALG_MD5, 0, 0))
        while len(self._others) + 3 > live:
            self._call("CryptDestroyHash", self._others.pop())

    def operations(self) -> dict[str, Callable[[], object]]:
        """Give what is measured: calls as a program makes them."""
        functions = {name: self.library[name] for name in _NAMES}
        out, size, buffer = ctypes.c_size_t(), self.size, self.buffer
        key, made, context = self.key, self.hash, self.context
        by_out, by_size = ctypes.byref(out), ctypes.byref(size)

        def look_up() -> object:
            return functions["CryptGetKeyParam"](key, c.KP_ALGID, buffer, by_size, 1)

        def hash_data() -> object:
            return functions["CryptHashData"](made, buffer, 64, 0)

        def create_and_destroy() -> object:
            functions["CryptCreateHash"](context, c.CALG_SHA_256, 0, 0, by_out)
            return functions["CryptDestroyHash"](out)

        def encrypt() -> object:
            size.value = 32
            return functions["CryptEncrypt"](key, 0, 0, 0, buffer, by_size, 64)

        def acquire_and_release() -> object:
            functions["CryptAcquireContextA"](by_out, None, None, 24, 0xF0000000)
            return functions["CryptReleaseContext"](out, 0)

        return {
            "refused CryptGetKeyParam (look-up only)": look_up,
            "CryptHashData, 64 bytes": hash_data,
            "CryptCreateHash + CryptDestroyHash": create_and_destroy,
            "CryptEncrypt, 32 bytes of AES-128": encrypt,
            "CryptAcquireContext + CryptReleaseContext": acquire_and_release,
        }


_NAMES = (
    "CryptGetKeyParam",
    "CryptHashData",
    "CryptCreateHash",
    "CryptDestroyHash",
    "CryptEncrypt",
    "CryptAcquireContextA",
    "CryptReleaseContext",
)


def _timed(operation: Callable[[], object]) -> float:
    start = time.thread_time()
    for _ in range(CALLS):
        operation()
    return (time.thread_time() - start) / CALLS


def measure(live: tuple[int, ...] = LIVE, rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Measure every operation at every number of live handles, in microseconds."""
    bench = Bench()
    taken: dict[str, list[list[float]]] = {}
    for _ in range(rounds):
        for place, count in enumerate(live):
            bench.have(count)
            for name, operation in bench.operations().items():
                columns = taken.setdefault(name, [[] for _ in live])
                columns[place].append(_timed(operation) * 1e6)
    return {name: [min(costs) for costs in columns] for name, columns in taken.items()}


def machine() -> str:
    """Name the processor and the interpreter."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    version = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{model}, {os.cpu_count()} processors, {platform.system()}, {version}"


def render(results: dict[str, list[float]]) -> str:
    """Write the report."""
    heads = " | ".join(f"{count:,} live" for count in LIVE)
    rows = [
        f"| {name} | {' | '.join(f'{cost:.1f}' for cost in costs)} | {costs[-1] / costs[0]:.2f} |"
        for name, costs in results.items()
    ]
    largest = max(costs[-1] / costs[0] for costs in results.values())
    verdict = "does not grow" if largest < LARGEST_GROWTH else "GROWS"
    return f"""\
# What a call of softcsp costs

Microseconds of processor time per call through the ctypes face, with so many handles live in the
process: the best of {ROUNDS} rounds of {CALLS:,} calls, where every round goes through all numbers
of handles. The last column is the ratio of the last to the first.

The cost of a call {verdict} with the number of live handles: the largest ratio is {largest:.2f}
(growth would be {LIVE[-1] // LIVE[0]:,}; up to {LARGEST_GROWTH} counts as none).

| call | {heads} | ratio |
|---|{"---|" * (len(LIVE) + 1)}
{chr(10).join(rows)}

Measured on: {machine()}.
Written by `python reports/conformance/softcsp_cost.py`.
"""


def main() -> None:
    """Measure and write the report."""
    with tempfile.TemporaryDirectory() as home:
        os.environ["SOFTCSP_HOME"] = home
        REPORT.write_text(render(measure()), encoding="utf-8")
    print(REPORT.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
