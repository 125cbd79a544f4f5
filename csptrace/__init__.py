"""csptrace: a runtime leak tracer for cryptographic provider handles.

    provider call → intercept → graph → findings → events → frontends

* `spec`, `apis`  WHAT each API promises: the language, and one folder of data for each API.
* `install`       where the functions are; `intercept` what happens when one is called.
* `stacks`        where a call was made, and whose code that is.
* `graph`         what is alive and whose child it is.
* `findings`      what is wrong, from a change of the graph to its words.
* `causes`        why a handle was not released.
* `events`        what leaves the process: structlog, one JSON Lines file a process, stderr.
* `frontends`     the command line and the pytest plugin; `analysis` what the logs say.

`tracer` is the only module that knows them all. Importing this package imports none of them: the
public names below are resolved when they are first used, so that an interpreter that does not
trace pays nothing.

PYTEST_DONT_REWRITE: there is no assertion for pytest to rewrite here, and with `CSPTRACE=1` the
package is imported before pytest is, of which it would warn.
"""

from __future__ import annotations

TYPE_CHECKING = False  # importing typing would cost every interpreter start
if TYPE_CHECKING:
    from csptrace.errors import ActivationError, CspTraceError, SettingsError
    from csptrace.findings.errors import (
        DoubleRelease,
        HandleError,
        HandleLeak,
        LeakWarning,
        MisuseWarning,
        OutOfOrderRelease,
        ReleaseWhileInUse,
        StaleDependency,
        UseAfterInvalidation,
        UseAfterRelease,
        WrongRelease,
    )
    from csptrace.process import current, start, stop, trace_library, tracing
    from csptrace.settings import Settings
    from csptrace.tracer import Tracer

__version__ = "0.1.0"

__all__ = [
    "ActivationError",
    "CspTraceError",
    "DoubleRelease",
    "HandleError",
    "HandleLeak",
    "LeakWarning",
    "MisuseWarning",
    "OutOfOrderRelease",
    "ReleaseWhileInUse",
    "Settings",
    "SettingsError",
    "StaleDependency",
    "Tracer",
    "UseAfterInvalidation",
    "UseAfterRelease",
    "WrongRelease",
    "current",
    "start",
    "stop",
    "trace_library",
    "tracing",
]

_PLACES = {
    "Settings": "csptrace.settings",
    "Tracer": "csptrace.tracer",
    **dict.fromkeys(("ActivationError", "CspTraceError", "SettingsError"), "csptrace.errors"),
    **dict.fromkeys(("current", "start", "stop", "trace_library", "tracing"), "csptrace.process"),
}


def __getattr__(name: str) -> object:
    """Resolve a public name on first use."""
    if name not in __all__:
        raise AttributeError(f"module 'csptrace' has no attribute {name!r}")
    import importlib  # noqa: PLC0415 - nothing is imported before it is used

    return getattr(importlib.import_module(_PLACES.get(name, "csptrace.findings.errors")), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
