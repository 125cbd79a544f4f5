"""A program for `test_windows.py`: correct calls and misuses, counted by Wine's own trace.

Usage: native_calls.py BINDING TRACED, where TRACED is 0 or 1.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from clients import BINDINGS

import csptrace
from csptrace.findings.errors import HandleError

if TYPE_CHECKING:
    from collections.abc import Callable

END = "the story ends here"


def main(binding: str, traced: bool) -> None:
    """Run the story; without the tracer the misuses are left out."""
    client = BINDINGS[binding]()
    if traced:
        tracer = csptrace.start(quiet=True, strict=True)
    kept: list[Any] = []  # pywin32's destructors release again what was released
    for _ in range(3):
        prov = client.acquire()
        key, hashed = client.gen_key(prov), client.create_hash(prov)
        client.hash_data(hashed)
        client.export_key(key)
        client.random(prov)
        leaked = client.create_hash(prov)
        kept += [prov, key, hashed, leaked]
        client.destroy_hash(hashed)
        client.destroy_key(key)
        client.release(prov)
        if traced:
            misuses: list[tuple[Callable[..., Any], Any]] = [
                (client.hash_data, leaked),
                (client.destroy_hash, leaked),
                (client.hash_data, hashed),
                (client.destroy_hash, hashed),
                (client.export_key, key),
                (client.destroy_key, key),
                (client.gen_key, prov),
                (client.random, prov),
                (client.release, prov),
            ]
            for misuse, handle in misuses:
                with contextlib.suppress(HandleError):
                    misuse(handle)
                    raise SystemExit("a misuse was not found")
    sys.stderr.write(f"{END}\n")
    sys.stderr.flush()
    if traced:
        sys.stdout.write(f"{len(tracer.check())} findings\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2] == "1")
