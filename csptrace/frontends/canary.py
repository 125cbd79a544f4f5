"""The canary: a leak planted on purpose, to prove that the tracer at hand would catch one.

Its provider is a module of its own, `csptrace.frontends.canary_provider`: it needs no library and
touches no user's data. What that promises is a spec of its own. Everything else is the real thing:
the hook that patches a module when it is imported, the wrapper around a call, the running tracer's
graph and its judgement. Nothing of it is counted or logged, and nothing of it stays patched.
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

_MODULE: Final = "csptrace.frontends.canary_provider"
_CONTEXT: Final = Kind("CANARY_CONTEXT", "canary context", release="CloseCanaryContext")
_CANARY: Final = Kind("CANARY", "canary", under=_CONTEXT, orderly=True, release="FreeCanary")
_SPEC: Final = Spec(
    "canary",
    "self-test of csptrace",
    kinds=(_CONTEXT, _CANARY),
    calls=(
        call("OpenCanaryContext", "", acquires(_CONTEXT, RETURN), library="canary_provider"),
        call(
            "AddCanary",
            "hContext",
            acquires(_CANARY, RETURN, under="hContext"),
            library="canary_provider",
        ),
        call(
            "CloseCanaryContext",
            "hContext",
            releases(_CONTEXT, "hContext"),
            library="canary_provider",
        ),
    ),
    bindings=(
        Binding(
            "canary_provider",
            Objects((_MODULE,), classes={"CanaryContext": _CONTEXT, "Canary": _CANARY}),
            success=Success.NO_EXCEPTION,
            codec=Codec.OBJECTS,
            shapes=shapes(
                {
                    "open_canary_context": "OpenCanaryContext: -> return",
                    "CanaryContext.add_canary": "AddCanary: self=hContext -> return",
                    "CanaryContext.close": "CloseCanaryContext: self=hContext",
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
            provider = importlib.import_module(_MODULE)
            context = provider.open_canary_context()
            canary = context.add_canary()
            context.close()
            del context, canary
        finally:
            installation.uninstall()
        codes = [(finding.code.value, finding.handle.kind) for finding in found]
    if codes != [(Code.LEAKED_AT_RELEASE.value, _CANARY.name)]:
        return f"a handle was leaked on purpose, and this was found: {codes or 'nothing'}"
    return ""
