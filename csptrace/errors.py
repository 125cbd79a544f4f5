"""Every error that csptrace raises.

`CspTraceError` is the base of all. `HandleError` is raised *into the program* at a misuse, one
subclass for each misuse code; `HandleLeak` where `on_leak = "raise"`. Both carry their findings,
and their text is built in one place (`csptrace.detect.wording`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from csptrace.terminal import escape

if TYPE_CHECKING:
    from csptrace.model import Finding

__all__ = [
    "ActivationError",
    "AnalysisError",
    "BaselineError",
    "CspTraceError",
    "CspTraceWarning",
    "DoubleRelease",
    "HandleError",
    "HandleLeak",
    "LeakWarning",
    "MissingExtraError",
    "MisuseWarning",
    "OutOfOrderRelease",
    "ReleaseWhileInUse",
    "SettingsError",
    "SpecError",
    "StaleDependency",
    "UseAfterInvalidation",
    "UseAfterRelease",
    "WrongRelease",
]


class CspTraceError(Exception):
    """Base of everything that csptrace raises.

    The text is escaped, line by line: whoever shows it (the interpreter, if nobody catches it)
    does not, and there may be a path or a name in it that somebody else has chosen.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__("\n".join(map(escape, str(message).split("\n"))))


class SpecError(CspTraceError):
    """A spec states something that cannot be true; names file, function and parameter."""


class SettingsError(CspTraceError):
    """An unknown setting or a value that is not allowed; lists the allowed ones."""


class BaselineError(CspTraceError):
    """A baseline file cannot be read, written or understood; names file, line and field."""


class ActivationError(CspTraceError):
    """Tracing could not be started or is in the wrong state for the call."""


class AnalysisError(CspTraceError):
    """Logs cannot be analysed as asked: no such file, nothing in it, or an engine that fails."""


class MissingExtraError(CspTraceError):
    """A feature needs a package that is not installed; names the extra to install."""


class HandleError(CspTraceError):
    """The program misused a handle. Raised before the native call, which is not made.

    Attributes:
        finding: everything known about the misuse.
        code: the finding code that this class stands for.
    """

    code: ClassVar[str] = ""

    def __init__(self, message: str, finding: Finding) -> None:
        super().__init__(message)
        self.finding = finding

    def __reduce__(self) -> tuple[type[HandleError], tuple[str, None]]:
        """Pickle as text alone: a finding points at code objects of this process."""
        return (type(self), (str(self), None))


class UseAfterRelease(HandleError):
    """A handle was used after its own release."""

    code = "use-after-release"


class UseAfterInvalidation(HandleError):
    """A handle was used after the release of its parent had made it invalid."""

    code = "use-after-invalidation"


class DoubleRelease(HandleError):
    """A handle was released once more than it was acquired."""

    code = "double-release"


class WrongRelease(HandleError):
    """A handle was passed to the release function of another kind."""

    code = "wrong-release"


class OutOfOrderRelease(HandleError):
    """A handle was released only after its parent, when nothing can be freed any more."""

    code = "out-of-order-release"


class StaleDependency(HandleError):
    """A handle was used although a handle that it depends on is gone."""

    code = "stale-dependency"


class ReleaseWhileInUse(HandleError):
    """A handle was about to be released while another thread was inside a call on it."""

    code = "release-while-in-use"


class HandleLeak(CspTraceError):
    """Handles were leaked and `on_leak` is `raise`. Raised after the native release.

    Attributes:
        findings: what has leaked; one finding may stand for many handles (`Finding.times`).
    """

    def __init__(self, message: str, findings: tuple[Finding, ...]) -> None:
        super().__init__(message)
        self.findings = findings

    def __reduce__(self) -> tuple[type[HandleLeak], tuple[str, tuple[()]]]:
        """Pickle as text alone: findings point at code objects of this process."""
        return (type(self), (str(self), ()))


class CspTraceWarning(UserWarning):
    """Base of the warnings that csptrace issues."""


class LeakWarning(CspTraceWarning):
    """Handles were leaked and `on_leak` is `warn`."""


class MisuseWarning(CspTraceWarning):
    """A handle was misused and `on_misuse` is `warn`."""
