"""The canary: a leak planted on purpose, to prove that the tracer at hand would catch one.

It runs on three C callbacks made on the spot, so it needs no provider and touches no user's data;
what they promise is a spec of their own. Everything behind them is the real thing: the running
tracer's interceptor, graph and judgement. Nothing of it is counted or logged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from csptrace.specs.vocabulary import (
    Binding,
    Codec,
    Dll,
    Kind,
    Spec,
    Success,
    acquires,
    call,
    releases,
)

if TYPE_CHECKING:
    from csptrace.tracer import Tracer

__all__ = ["catches_canary"]

_CAGE = Kind("CANARY_CAGE", "canary cage", release="CloseCage")
_BIRD = Kind("CANARY", "canary", under=_CAGE, orderly=True, release="FreeCanary")
_SPEC = Spec(
    "canary",
    "self-test of csptrace",
    kinds=(_CAGE, _BIRD),
    calls=(
        call("OpenCage", "phCage", acquires(_CAGE, "phCage"), library="canary"),
        call(
            "AddCanary",
            "hCage phCanary",
            acquires(_BIRD, "phCanary", under="hCage"),
            library="canary",
        ),
        call("CloseCage", "hCage", releases(_CAGE, "hCage"), library="canary"),
    ),
    bindings=(Binding("ctypes", Dll(("canary",)), Success.NONZERO, Codec.CTYPES),),
)
_CAGE_VALUE = 0x0CA6_E000
_BIRD_VALUE = 0x0CA6_E004


def catches_canary(tracer: Tracer) -> str:
    """Leak a handle on purpose and see whether the tracer catches it.

    Args:
        tracer: a running tracer.

    Returns:
        Why it does not; empty if it does.
    """
    import ctypes  # noqa: PLC0415 - only the self-test needs it

    def hand_out(value: int) -> Any:
        def write(out: Any) -> int:
            out[0] = value
            return 1

        return write

    pointer = ctypes.POINTER(ctypes.c_void_p)
    handle = ctypes.c_void_p
    made = {
        "OpenCage": ctypes.CFUNCTYPE(ctypes.c_int, pointer)(hand_out(_CAGE_VALUE)),
        "AddCanary": ctypes.CFUNCTYPE(ctypes.c_int, handle, pointer)(
            lambda _cage, out: hand_out(_BIRD_VALUE)(out)
        ),
        "CloseCage": ctypes.CFUNCTYPE(ctypes.c_int, handle)(lambda _cage: 1),
    }
    with tracer.rehearsal() as found:
        functions = {
            name: tracer.installation.wrapped(_SPEC, name, function)
            for name, function in made.items()
        }
        cage, bird = ctypes.c_void_p(), ctypes.c_void_p()
        functions["OpenCage"](ctypes.byref(cage))
        functions["AddCanary"](cage, ctypes.byref(bird))
        functions["CloseCage"](cage)
        codes = [(finding.code.value, finding.handle.kind) for finding in found]
    if codes != [("leaked-at-release", _BIRD.name)]:
        return f"a handle was leaked on purpose, and this was found: {codes or 'nothing'}"
    return ""
