"""What csptrace raises and warns of, apart from findings (`csptrace.findings.errors`).

`CspTraceError` is the base of all. `ReactionError` is the base of what is raised into the program
on purpose.
"""

from __future__ import annotations

from csptrace.terminal import escape

__all__ = [
    "ActivationError",
    "AnalysisError",
    "BaselineError",
    "CspTraceError",
    "CspTraceWarning",
    "GuideError",
    "MissingExtraError",
    "ReactionError",
    "SettingsError",
    "SpecError",
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


class GuideError(CspTraceError):
    """The guide has no such page; names the nearest."""


class MissingExtraError(CspTraceError):
    """A feature needs a package that is not installed; names the extra to install."""


class ReactionError(CspTraceError):
    """Raised into the program on purpose: the settings `on_leak` and `on_misuse` say so."""


class CspTraceWarning(UserWarning):
    """Base of the warnings that csptrace issues."""
