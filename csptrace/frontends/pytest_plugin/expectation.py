"""Findings that a test provokes on purpose (`csptrace.expect`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from csptrace.errors import ReactionError
    from csptrace.findings.catalogue import Code
    from csptrace.findings.finding import Finding

__all__ = ["Expectation"]


class Expectation:
    """Findings that a test provokes on purpose.

    Attributes:
        findings: those that came; one may stand for many (`Finding.times`).
        error: the exception that ended the block, if it was one of them.
    """

    def __init__(self, codes: frozenset[Code], kinds: frozenset[str]) -> None:
        self.findings: list[Finding] = []
        self.error: ReactionError | None = None
        self._codes = codes
        self._kinds = kinds

    def takes(self, finding: Finding) -> bool:
        """Take a finding if it is one of the expected ones."""
        if finding.code not in self._codes:
            return False
        if self._kinds and finding.handle.kind not in self._kinds:
            return False
        self.findings.append(finding)
        return True
