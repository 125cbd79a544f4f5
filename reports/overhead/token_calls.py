"""Measure what csptrace adds to a cheap PKCS#11 call and write token_calls.md beside this file.

    python -m pip install -e '.[pkcs11]' && python reports/overhead/token_calls.py

Needs SoftHSM (Debian: softhsm2). In one process, in turns: the plain call, the call through a bare
`wrapt.FunctionWrapper` that only calls through, and the traced call.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import wrapt

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

import csptrace  # noqa: E402 - from this checkout

if TYPE_CHECKING:
    from collections.abc import Callable

MODULE = "/usr/lib/softhsm/libsofthsm2.so"
PIN = "0" * 8
ROUNDS, CALLS = 300, 1000
KEPT: list[Any] = []  # PyKCS11 unloads the library with its last object
WAYS = ("plain", "FunctionWrapper", "csptrace")


def through(call: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    """Call through."""
    return call(*args, **kwargs)


def with_ctypes() -> tuple[str, dict[str, Callable[[int], float]]]:
    """Return C_GetSessionInfo through ctypes, three times."""
    library = ctypes.CDLL(MODULE)
    library.C_Initialize(None)
    count, slots = ctypes.c_ulong(8), (ctypes.c_ulong * 8)()
    library.C_GetSlotList(ctypes.c_ubyte(1), slots, ctypes.byref(count))
    session, info = ctypes.c_ulong(), ctypes.create_string_buffer(64)
    library.C_OpenSession(
        ctypes.c_ulong(slots[0]), ctypes.c_ulong(4), None, None, ctypes.byref(session)
    )
    plain = library.C_GetSessionInfo.__wrapped__
    objects = (
        SimpleNamespace(C_GetSessionInfo=plain),
        SimpleNamespace(C_GetSessionInfo=wrapt.FunctionWrapper(plain, through)),
        library,
    )

    def timed(target: Any) -> Callable[[int], float]:
        def run(calls: int) -> float:
            start = time.perf_counter()
            for _ in range(calls):
                target.C_GetSessionInfo(session, info)
            return time.perf_counter() - start

        return run

    return "C_GetSessionInfo, ctypes", dict(zip(WAYS, map(timed, objects), strict=True))


def with_pykcs11() -> tuple[str, dict[str, Callable[[int], float]]]:
    """Return C_GetSessionInfo through PyKCS11's low-level class, three times."""
    import PyKCS11  # noqa: PLC0415 - imported once tracing has begun

    low = PyKCS11.LowLevel
    high = PyKCS11.PyKCS11Lib()
    high.load(MODULE)
    KEPT.append(high)
    session = high.openSession(high.getSlotList(tokenPresent=True)[0]).session
    info = low.CK_SESSION_INFO()

    class Wrapped(low.CPKCS11Lib):  # type: ignore[misc, name-defined]
        C_GetSessionInfo = wrapt.FunctionWrapper(low.CPKCS11Lib.C_GetSessionInfo, through)

    objects = (low.CPKCS11Lib(), Wrapped(), high.lib)
    for each in objects[:2]:
        low.CPKCS11Lib.Load.__wrapped__(each, MODULE)

    def timed(target: Any) -> Callable[[int], float]:
        def run(calls: int) -> float:
            start = time.perf_counter()
            for _ in range(calls):
                target.C_GetSessionInfo(session, info)
            return time.perf_counter() - start

        return run

    assert not objects[0].C_GetSessionInfo(session, info)
    return "C_GetSessionInfo, PyKCS11", dict(zip(WAYS, map(timed, objects), strict=True))


def with_python_pkcs11() -> tuple[str, dict[str, Callable[[int], float]]]:
    """Return Session.generate_random of python-pkcs11, three times."""
    import pkcs11  # noqa: PLC0415 - imported once tracing has begun

    session = pkcs11.lib(MODULE).get_token(token_label="t").open()
    plain = session.__wrapped__

    # A method of an extension type cannot be replaced: what wrapt has for that is a proxy.
    class Wrapped(wrapt.ObjectProxy):  # type: ignore[misc]
        @wrapt.function_wrapper
        def _through(call: Any, _instance: Any, args: Any, kwargs: Any) -> Any:  # noqa: N805
            return call(*args, **kwargs)

        @_through
        def generate_random(self, *args: Any, **kwargs: Any) -> Any:
            return self.__wrapped__.generate_random(*args, **kwargs)

    bound = SimpleNamespace(generate_random=wrapt.FunctionWrapper(plain.generate_random, through))
    objects = (plain, Wrapped(plain), session, bound)

    def timed(target: Any) -> Callable[[int], float]:
        def run(calls: int) -> float:
            start = time.perf_counter()
            for _ in range(calls):
                target.generate_random(64)
            return time.perf_counter() - start

        return run

    names = (*WAYS, "bound")
    return "generate_random, python-pkcs11", dict(zip(names, map(timed, objects), strict=True))


def measure(ways: dict[str, Callable[[int], float]]) -> dict[str, float]:
    """Return the least nanoseconds of a call each way, measured in turns.

    The machine does other things at the same time, which only ever add.
    """
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(ROUNDS + 5):
        for name, run in ways.items():
            took = run(CALLS) / CALLS * 1e9
            if turn >= 5:
                times[name].append(took)
    return {name: round(min(each), 1) for name, each in times.items()}


def child() -> None:
    """Measure one binding in this process and print the result."""
    makers = {"ctypes": with_ctypes, "PyKCS11": with_pykcs11, "python-pkcs11": with_python_pkcs11}
    csptrace.start(quiet=True, apis=["pkcs11"])
    title, ways = makers[sys.argv[1]]()
    print(json.dumps({"call": title, "ns": measure(ways)}), flush=True)
    os._exit(0)


def main() -> None:
    """Measure every binding and write the report."""
    rows = []
    with tempfile.TemporaryDirectory() as home:
        Path(home, "tokens").mkdir()
        conf = Path(home, "softhsm2.conf")
        conf.write_text(f"directories.tokendir = {home}/tokens\n", encoding="utf-8")
        environ = {**os.environ, "SOFTHSM2_CONF": str(conf)}
        make = ["softhsm2-util", "--init-token", "--free", "--label", "t", "--so-pin", PIN]
        subprocess.run([*make, "--pin", PIN], check=True, env=environ, stdout=subprocess.DEVNULL)
        for binding in ("ctypes", "PyKCS11", "python-pkcs11"):
            done = subprocess.run(
                [sys.executable, __file__, binding],
                check=True,
                env=environ,
                stdout=subprocess.PIPE,
                text=True,
            )
            rows.append(json.loads(done.stdout))
    machine = f"{platform.python_implementation()} {platform.python_version()}, "
    machine += f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, "
    machine += f"csptrace {csptrace.__version__}, wrapt {wrapt.__version__}"
    lines = []
    for row in rows:
        plain, floor, ours = (row["ns"][way] for way in WAYS)
        row["ratio"] = round((ours - plain) / (floor - plain), 2)
        lines.append(
            f"| {row['call']} | {plain:.0f} | {floor - plain:.0f} | {ours - plain:.0f} "
            f"| {row['ratio']:.2f} | {'yes' if row['ratio'] <= 1 else 'no'} |"
        )
        if "bound" in row["ns"]:
            bound = row["ns"]["bound"] - plain
    result = {"machine": machine, "calls": rows}
    (HERE / "token_calls.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    (HERE / "token_calls.md").write_text(
        TEMPLATE.format(machine=machine, lines="\n".join(lines), bound=bound), encoding="utf-8"
    )
    print((HERE / "token_calls.md").read_text("utf-8"))


TEMPLATE = """\
# What csptrace adds to a cheap PKCS#11 call

Regenerate with
`python -m pip install -e '.[pkcs11]' && python reports/overhead/token_calls.py` (needs SoftHSM).
All numbers are from one run, the ways in turns, each the least of 300 rounds, since other programs
of the machine only ever add; the machine: {machine}.

Level `acquire`, no log, SoftHSM 2. *Adds* is the time of the call less that of the plain call. The
floor is a bare `wrapt.FunctionWrapper` that only calls through; target: at most what that adds.
`generate_random` belongs to an extension type, whose methods cannot be replaced; there the floor is
such a wrapper as a method of a `wrapt.ObjectProxy`. (A FunctionWrapper around the bound method,
which a program would have to call instead of the method, adds {bound:.0f} ns.)
That the calls of other threads are known when something is released costs nothing here: it is read
off their stacks at the release.

| call | plain ns | FunctionWrapper adds ns | csptrace adds ns | ratio | target met |
|---|---|---|---|---|---|
{lines}
"""


if __name__ == "__main__":
    child() if len(sys.argv) > 1 else main()
