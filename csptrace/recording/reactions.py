"""What the program gets to see of a finding: nothing, a warning or an exception."""

from __future__ import annotations

import os
import sys
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING

import csptrace
from csptrace.findings.catalogue import Code
from csptrace.findings.errors import HandleError, HandleLeak, LeakWarning, MisuseWarning
from csptrace.findings.text import summary
from csptrace.graph.sites import CallSite, UnloadableSite
from csptrace.intercept.contract import is_deliberate
from csptrace.recording.diagnostics import is_foreign

if TYPE_CHECKING:
    from types import FrameType

    from csptrace.findings.finding import Finding
    from csptrace.graph.handle import Handle
    from csptrace.recording.diagnostics import Diagnostics
    from csptrace.settings import Settings

__all__ = ["Reactions"]

__tracebackhide__ = is_deliberate
_ERRORS = {cls.code: cls for cls in HandleError.__subclasses__()}


class Reactions:
    """Carries out the settings `on_misuse` and `on_leak`.

    After a bug of the tracer that may have made a correct call look wrong, nothing is raised or
    warned of any more.

    Args:
        settings: the settings.
        diagnostics: knows of the tracer's bugs.

    Attributes:
        settings: as above.
    """

    def __init__(self, settings: Settings, diagnostics: Diagnostics) -> None:
        self.settings = settings
        self._diagnostics = diagnostics

    def to_misuse(self, finding: Finding | None, handle: Handle | None, site: CallSite) -> None:
        """React to a call that is about to be made and is wrong.

        Args:
            finding: what is wrong; `None` if nothing is to be reported.
            handle: whose handle is wrong.
            site: the call.

        Raises:
            HandleError: `on_misuse` says so.
        """
        settings = self.settings
        if finding is None or settings.on_misuse == "log" or self._diagnostics.doubtful:
            return
        if settings.on_misuse == "fatal" and not _is_fatal(finding.code, handle, site):
            return
        text = self._in_words(finding)
        if settings.on_misuse != "warn":
            raise _ERRORS[finding.code](text, finding)
        warnings.warn(text, MisuseWarning, stacklevel=_stacklevel())

    def to_leaks(self, findings: list[Finding], *, exiting: bool = False) -> HandleLeak | None:
        """React to leaks.

        Args:
            findings: what has leaked.
            exiting: whether nothing may be raised, since the program ends or raises itself.

        Returns:
            The error that is to be raised, `None` for none.

        Raises:
            LeakWarning: `on_leak` is `warn`, and a filter makes warnings errors.
        """
        settings = self.settings
        if not findings or settings.on_leak == "log" or self._diagnostics.doubtful:
            return None
        text = self._in_words(*findings)
        if settings.on_leak == "warn":
            try:
                warnings.warn(text, LeakWarning, stacklevel=_stacklevel())
            except LeakWarning:  # a filter has made it an error
                if not exiting:
                    raise
            return None
        return None if exiting else HandleLeak(text, tuple(findings))

    def _in_words(self, *findings: Finding) -> str:
        """Return the message of an exception; without words, it is at least of the right sort."""
        try:
            return summary(findings, redact=self.settings.redact_names)
        except Exception as error:
            if is_foreign(error):
                raise
            self._diagnostics.complain_of_bug(
                CallSite("putting findings into words", "", ""), error
            )
            return ", ".join(f"{each.code.value}: {each.handle.kind}" for each in findings)


def _is_fatal(code: Code, handle: Handle | None, site: CallSite) -> bool:
    """Return whether a wrong call crashes the process, as far as that is known.

    Args:
        code: what is wrong.
        handle: whose handle is wrong.
        site: the call.
    """
    if code is Code.RELEASE_WHILE_IN_USE:  # of the library that the other call is inside of
        return handle is not None and handle.kind.library
    return isinstance(site, UnloadableSite) and site.is_gone()


_HERE = os.path.join(os.path.dirname(os.path.abspath(csptrace.__file__)), "")
_EXAMPLES = os.path.join(_HERE, "examples", "")


def _stacklevel() -> int:
    """Return the `stacklevel` with which a warning points at the program's own line."""
    level = 1
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        with suppress(OSError):  # the working directory is gone
            name = os.path.abspath(name)
        if not name.startswith(_HERE) or name.startswith(_EXAMPLES):
            return level
        level += 1
        frame = frame.f_back
    return 1
