"""Makes random functions that acquire a key and release some of what they have, on some path.

    python random_programs.py FIRST LAST OUT

Each is a mutation of a correct one: its releases are put anywhere, left out, guarded, skipped by
a `return` or an exception, repeated, or put behind the release of the context. Those with the
seeds from FIRST to LAST are played, with tracing on and once more under a line tracer; for each
leak of a key, what it was told and the lines that the functions came to are written to OUT.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib.util
import json
import os
import sys
import tempfile
from pathlib import Path
from random import Random
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parent))

HEAD: Final = """\
import contextlib
from ctypes import byref, c_void_p

from csptrace.softcsp import advapi32 as lib


class Stop(Exception):
    pass


def fails():
    raise Stop


def nothing():
    pass


def destroy(handle):
    if handle:
        lib.CryptDestroyKey(handle)


def release(handle):
    lib.CryptReleaseContext(handle, 0)


def end(first, second):
    {end}


def generate(prov):
    key = c_void_p()
    lib.CryptGenKey(prov, 0x6610, 1, byref(key))
    return key


def work(prov, one, two):
"""
ACQUIRE: Final = (
    ("key = c_void_p()", "lib.CryptGenKey(prov, 0x6610, 1, byref(key))"),
    ("key = generate(prov)",),
    ("pointer = c_void_p()", "lib.CryptGenKey(prov, 0x6610, 1, byref(pointer))", "key = pointer"),
)
RELEASES: Final = (
    *("lib.CryptDestroyKey(key)", "lib.CryptDestroyKey(key)", "destroy(key)"),
    *("lib.CryptReleaseContext(prov, 0)", "release(prov)", "end(prov, key)"),
)
OTHERS: Final = (
    "nothing()",
    "fails()",
    "return one",
    "raise Stop",
    "key = c_void_p()",
    "nothing()",
)
CONDITIONS: Final = ("one", "two", "not one", "not two", "one and two", "key", "one or not two")
BLOCKS: Final = ("if", "else", "try", "finally", "except", "with", "for", "while", "both")


class Program:
    """One random function.

    Args:
        seed: what it is made from.

    Attributes:
        text: its source, and what it needs.
        arguments: what it is called with, besides a context.
    """

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._loops = 0
        order = ["lib.CryptReleaseContext(first, 0)", "lib.CryptDestroyKey(second)"]
        self._random.shuffle(order)
        head = HEAD.replace("{end}", "\n    ".join(order))
        acquire = self._random.choice(ACQUIRE)
        body = [*acquire, *self._block(3)]
        if self._random.random() < 0.3:
            body = self._around(body)
        self.text = head + "".join(f"    {line}\n" for line in body)
        self.arguments = (self._random.random() < 0.5, self._random.random() < 0.5)

    def _block(self, depth: int) -> list[str]:
        lines: list[str] = []
        for _ in range(self._random.randint(1, 3)):
            lines += self._statement(depth)
        return lines

    def _statement(self, depth: int) -> list[str]:
        choose = self._random
        kind = choose.random()
        if depth and kind < 0.45:
            return self._compound(depth)
        if kind < 0.75:
            return [choose.choice(RELEASES)]
        return [choose.choice(OTHERS)]

    def _compound(self, depth: int) -> list[str]:
        block = self._block(depth - 1)
        return self._around(block, depth)

    def _around(self, block: list[str], depth: int = 1) -> list[str]:
        choose = self._random
        inside = [f"    {line}" for line in block]
        other = [f"    {line}" for line in self._block(max(0, depth - 1))]
        match choose.choice(BLOCKS):
            case "if":
                return [f"if {choose.choice(CONDITIONS)}:", *inside]
            case "else":
                return [f"if {choose.choice(CONDITIONS)}:", *inside, "else:", *other]
            case "try" | "except":
                return ["try:", *inside, "except Stop:", *other]
            case "finally":
                return ["try:", *inside, "finally:", *other]
            case "both":
                return ["try:", *inside, "except Stop:", "    nothing()", "finally:", *other]
            case "with":
                return ["with contextlib.suppress(Stop):", *inside]
            case "for":
                return ["for _ in range(2):", *inside]
        self._loops += 1
        name = f"left{self._loops}"
        return [f"{name} = 2", f"while {name}:", f"    {name} -= 1", *inside]


def played(seed: int, folder: Path) -> list[dict[str, Any]]:
    """Play one function; return what was said of the keys that it leaked, and what it did."""
    import lines

    import csptrace
    from csptrace.softcsp import advapi32

    program = Program(seed)
    path = folder / f"random_{seed}.py"
    path.write_text(program.text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def play() -> None:
        prov = ctypes.c_void_p()
        advapi32.CryptAcquireContextW(ctypes.byref(prov), None, None, 24, 0xF0000000)
        with contextlib.suppress(module.Stop, UnboundLocalError):
            module.work(prov, *program.arguments)
        advapi32.CryptReleaseContext(prov, 0)

    with csptrace.tracing(quiet=True, strict=True, on_misuse="log") as tracer:
        play()
        gc.collect()
    runs = lines.runs(play, str(path))
    return [
        {
            "words": finding.cause.words,
            "function": finding.cause.function,
            "line": finding.cause.at.line,
            "text": program.text,
            "runs": runs,
        }
        for finding in tracer.findings
        if finding.code.is_leak and finding.handle.kind == "HCRYPTKEY" and finding.cause is not None
    ]


def main(first: int, last: int, out: str) -> None:
    """Play functions, and write down what was said of them."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.environ["SOFTCSP_HOME"] = os.path.join(folder, "home")
        found = [each for seed in range(first, last + 1) for each in played(seed, Path(folder))]
    Path(out).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
