"""The errors and warnings that tell of a finding.

`HandleError` is raised *into the program* at a misuse, one subclass for each misuse code;
`HandleLeak` where `on_leak = "raise"`. Both carry their findings, and their text is built in one
place (`csptrace.findings.text`). All are public names of `csptrace`, and known by these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from csptrace.errors import CspTraceWarning, ReactionError
from csptrace.findings.catalogue import Code

if TYPE_CHECKING:
    from csptrace.findings.finding import Finding

__all__ = [
    "DoubleRelease",
    "HandleError",
    "HandleLeak",
    "LeakWarning",
    "MisuseWarning",
    "OutOfOrderRelease",
    "ReleaseWhileInUse",
    "StaleDependency",
    "UseAfterInvalidation",
    "UseAfterRelease",
    "WrongRelease",
]


class HandleError(ReactionError):
    """The program misused a handle. Raised before the native call, which is not made.

    Attributes:
        finding: everything known about the misuse.
        code: the finding code that this class stands for.
    """

    code: ClassVar[Code]

    def __init__(self, message: str, finding: Finding) -> None:
        super().__init__(message)
        self.finding = finding

    def __reduce__(self) -> tuple[type[HandleError], tuple[str, None]]:
        """Pickle as text alone: a finding points at code objects of this process."""
        return (type(self), (str(self), None))


class UseAfterRelease(HandleError):
    """A handle was used after its own release."""

    code = Code.USE_AFTER_RELEASE


class UseAfterInvalidation(HandleError):
    """A handle was used after the release of its parent had made it invalid."""

    code = Code.USE_AFTER_INVALIDATION


class DoubleRelease(HandleError):
    """A handle was released once more than it was acquired."""

    code = Code.DOUBLE_RELEASE


class WrongRelease(HandleError):
    """A handle was passed to the release function of another kind."""

    code = Code.WRONG_RELEASE


class OutOfOrderRelease(HandleError):
    """A handle was released only after its parent, when nothing can be freed any more."""

    code = Code.OUT_OF_ORDER_RELEASE


class StaleDependency(HandleError):
    """A handle was used although a handle that it depends on is gone."""

    code = Code.STALE_DEPENDENCY


class ReleaseWhileInUse(HandleError):
    """A handle was about to be released while another thread was inside a call on it."""

    code = Code.RELEASE_WHILE_IN_USE


class HandleLeak(ReactionError):
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


class LeakWarning(CspTraceWarning):
    """Handles were leaked and `on_leak` is `warn`."""


class MisuseWarning(CspTraceWarning):
    """A handle was misused and `on_misuse` is `warn`."""


for _public in (HandleError, *HandleError.__subclasses__(), HandleLeak, LeakWarning, MisuseWarning):
    _public.__module__ = "csptrace"
