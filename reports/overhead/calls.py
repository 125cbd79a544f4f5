"""The call benchmarks, for pyperf; `measure.py` runs them."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any

import pyperf
import wrapt
from workload import (
    Library,
    acquire_context,
    alone,
    at_depth,
    byref,
    c_void_p,
    handmade,
    through_files,
)

import csptrace

if TYPE_CHECKING:
    from collections.abc import Callable


def pair(create: Any, destroy: Any, context: Any, below: Any) -> Callable[[int], float]:
    """Return a benchmark of an acquisition and its release."""

    def timed(loops: int) -> float:
        def run() -> float:
            hash_ = c_void_p()
            rounds = range(loops)
            start = pyperf.perf_counter()
            for _ in rounds:
                create(context, 1, 0, 0, byref(hash_))
                destroy(hash_)
            return float(pyperf.perf_counter() - start)

        return float(alone(below, run))

    return timed


def use(function: Any, handle: Any) -> Callable[[int], float]:
    """Return a benchmark of a call that only uses a handle."""

    def timed(loops: int) -> float:
        rounds = range(loops)
        start = pyperf.perf_counter()
        for _ in rounds:
            function(handle, None, 0, 0)
        return float(pyperf.perf_counter() - start)

    return timed


def wrapped(function: Any) -> Any:
    """Return the floor: a wrapper that only calls through."""
    return wrapt.FunctionWrapper(
        function, lambda call, _instance, args, kwargs: call(*args, **kwargs)
    )


def main() -> None:
    """Register every benchmark; pyperf runs each in processes of its own."""
    runner = pyperf.Runner()
    raw = Library("rawlib")
    context = acquire_context(raw)
    hash_ = c_void_p()
    raw.CryptCreateHash(context, 1, 0, 0, byref(hash_))
    create, destroy, hash_data = raw.CryptCreateHash, raw.CryptDestroyHash, raw.CryptHashData
    for kind, handle in (("int", hash_.value), ("c_void_p", hash_)):
        runner.bench_time_func(f"use {kind}: raw", use(hash_data, handle))
        runner.bench_time_func(f"use {kind}: wrapper", use(wrapped(hash_data), handle))
    files = {"1 file": at_depth, "a file per frame": through_files}
    by_hand = handmade(create, destroy)
    for where, below in files.items():
        runner.bench_time_func(f"pair, {where}: raw", pair(create, destroy, context, below))
        runner.bench_time_func(f"pair, {where}: hand", pair(*by_hand, context, below))
    runner.bench_time_func(
        "pair, 1 file: wrapper", pair(wrapped(create), wrapped(destroy), context, at_depth)
    )

    with tempfile.TemporaryDirectory() as log:
        for level in ("acquire", "count", "log"):
            settings = {"level": level} if level != "log" else {"log": log}
            with csptrace.tracing(libraries=["tracedlib"], quiet=True, **settings):
                library = Library("tracedlib")
                context = acquire_context(library)
                library.CryptCreateHash(context, 1, 0, 0, byref(hash_))
                create, destroy = library.CryptCreateHash, library.CryptDestroyHash
                if level == "acquire":
                    for kind, handle in (("int", hash_.value), ("c_void_p", hash_)):
                        runner.bench_time_func(
                            f"use {kind}: csptrace", use(library.CryptHashData, handle)
                        )
                    for where, below in files.items():
                        runner.bench_time_func(
                            f"pair, {where}: csptrace", pair(create, destroy, context, below)
                        )
                else:
                    runner.bench_time_func(
                        f"pair, 1 file: {level}", pair(create, destroy, context, at_depth)
                    )


if __name__ == "__main__":
    main()
