"""The canary: a leak planted on purpose, to prove that the tracer at hand would catch one.

Its provider is a module of its own, `csptrace.frontends.aviary`, so it needs no library and touches
no user's data; what that promises is a spec of its own. Everything behind it is the real thing: the
hook that patches a module when it is imported, the wrapper around a call, and the running tracer's
graph and judgement. Nothing of it is counted or logged, and nothing of it stays patched.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

from csptrace.findings.catalogue import Code
from csptrace.install.targets import Installation
from csptrace.spec.bindings import Binding, Codec, Objects, Spec, Success, shapes
from csptrace.spec.calls import call
from csptrace.spec.effects import acquires, releases
from csptrace.spec.kinds import RETURN, Kind

if TYPE_CHECKING:
    from csptrace.tracer import Tracer

__all__ = ["catches_canary"]

_AVIARY: Final = "csptrace.frontends.aviary"
_CAGE: Final = Kind("CANARY_CAGE", "canary cage", release="CloseCage")
_BIRD: Final = Kind("CANARY", "canary", under=_CAGE, orderly=True, release="FreeCanary")
_SPEC: Final = Spec(
    "canary",
    "self-test of csptrace",
    kinds=(_CAGE, _BIRD),
    calls=(
        call("OpenCage", "", acquires(_CAGE, RETURN), library="aviary"),
        call(
            "AddCanary",
            "hCage",
            acquires(_BIRD, RETURN, under="hCage"),
            library="aviary",
        ),
        call("CloseCage", "hCage", releases(_CAGE, "hCage"), library="aviary"),
    ),
    bindings=(
        Binding(
            "aviary",
            Objects((_AVIARY,), classes={"Cage": _CAGE, "Canary": _BIRD}),
            success=Success.NO_EXCEPTION,
            codec=Codec.OBJECTS,
            shapes=shapes(
                {
                    "open_cage": "OpenCage: -> return",
                    "Cage.add_canary": "AddCanary: self=hCage -> return",
                    "Cage.close": "CloseCage: self=hCage",
                }
            ),
        ),
    ),
)


def catches_canary(tracer: Tracer) -> str:
    """Leak a handle on purpose and see whether the tracer catches it.

    Args:
        tracer: a running tracer.

    Returns:
        Why it does not; empty if it does.
    """
    installation = Installation((_SPEC,), (), tracer.recorder)
    with tracer.rehearsal() as found:
        installation.install()
        try:
            aviary = importlib.import_module(_AVIARY)
            cage = aviary.open_cage()
            bird = cage.add_canary()
            cage.close()
            del cage, bird
        finally:
            installation.uninstall()
        codes = [(finding.code.value, finding.handle.kind) for finding in found]
    if codes != [(Code.LEAKED_AT_RELEASE.value, _BIRD.name)]:
        return f"a handle was leaked on purpose, and this was found: {codes or 'nothing'}"
    return ""
