"""What counts: the marker, severities, the baseline."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from csptrace.findings.catalogue import Code, Severity
from csptrace.frontends.pytest_plugin.options import LEAK_POLICIES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pytest

    from csptrace.findings.finding import Finding
    from csptrace.frontends.pytest_plugin.options import Options
    from csptrace.spec.bindings import Spec

__all__ = ["BadMarkerError", "Policy", "Rule", "Ruling", "rule_of"]

_ORDER: Final = {Severity.INFO: 0, Severity.WARNING: 1, Severity.ERROR: 2}
_CODES: Final = tuple(code.value for code in Code)
_LEAKS: Final = tuple(code.value for code in Code if code.is_leak)


class BadMarkerError(Exception):
    """A csptrace marker has arguments that mean nothing; the message names those that do."""


class Rule(NamedTuple):
    """What one marker says.

    Attributes:
        leaks: `allow`, `forbid` or `only-mine`.
        codes: finding codes that it is about.
        kinds: kinds of handles that it is about, empty for all.
        reason: why.
    """

    leaks: str
    codes: tuple[str, ...]
    kinds: tuple[str, ...]
    reason: str


class Ruling(NamedTuple):
    """What a finding means.

    Attributes:
        verdict: `fail`, `allowed`, `known` (in the baseline) or `noted` (reported only).
        reason: why it does not fail, or why it fails all the same.
    """

    verdict: str
    reason: str


def kinds_of(specs: Iterable[Spec]) -> tuple[str, ...]:
    """Return the names of every kind of handle, sorted."""
    return tuple(sorted({kind.name for spec in specs for kind in spec.kinds}))


def rule_of(mark: pytest.Mark, kinds: tuple[str, ...]) -> Rule:
    """Read a marker.

    Args:
        mark: the marker.
        kinds: the kinds of handles that there are.

    Raises:
        BadMarkerError: an argument is unknown or has a value that is not allowed.
    """
    known = ("leaks", "codes", "kinds", "reason")
    if mark.args:
        raise BadMarkerError(
            f"csptrace marker: takes keywords only ({', '.join(known)}), not {mark.args[0]!r}"
        )
    for name in mark.kwargs:
        if name not in known:
            raise BadMarkerError(
                f"csptrace marker: unknown argument {name!r}; known are {', '.join(known)}"
            )
    leaks = mark.kwargs.get("leaks", "forbid")
    if leaks not in LEAK_POLICIES:
        raise BadMarkerError(
            f"csptrace marker: leaks={leaks!r}: allowed are {', '.join(LEAK_POLICIES)}"
        )
    reason = mark.kwargs.get("reason", "")
    if not isinstance(reason, str):
        raise BadMarkerError(f"csptrace marker: reason={reason!r}: must be a text")
    return Rule(
        leaks,
        tuple(_names("codes", mark.kwargs.get("codes"), _CODES)) or _LEAKS,
        tuple(_names("kinds", mark.kwargs.get("kinds"), kinds)),
        reason,
    )


def _names(argument: str, given: Any, known: tuple[str, ...]) -> Iterator[str]:
    if given is None:
        return
    names = (given,) if isinstance(given, str) else given
    if not isinstance(names, list | tuple | set | frozenset):
        raise BadMarkerError(f"csptrace marker: {argument}={given!r}: a name, or several")
    for name in names:
        if name not in known:
            raise BadMarkerError(
                f"csptrace marker: {argument}: unknown {argument[:-1]} {name!r}; known are "
                + ", ".join(known)
            )
        yield str(name)


class Policy:
    """Decides what a finding means.

    Args:
        options: the options.
        kinds: the kinds of handles that there are.
    """

    def __init__(self, options: Options, kinds: tuple[str, ...]) -> None:
        self._options = options
        self._kinds = kinds
        entries = {entry.fingerprint: entry for entry in options.entries}
        self._accepted = {name: one for name, one in entries.items() if not one.is_expired()}
        self._expired = {name: one for name, one in entries.items() if one.is_expired()}
        self._seen: Counter[str] = Counter()

    def check_markers(self, node: pytest.Item | pytest.Collector) -> None:
        """Check what is marked on one node itself.

        Raises:
            BadMarkerError: a marker of it has arguments that mean nothing.
        """
        for mark in node.own_markers:
            if mark.name == "csptrace":
                rule_of(mark, self._kinds)

    def rules(self, item: pytest.Item | None) -> tuple[Rule, ...]:
        """Return what is said about a test, the closest first; the ini default is the last."""
        rules = []
        if item is not None:
            rules = [rule_of(mark, self._kinds) for mark in item.iter_markers("csptrace")]
        if self._options.leaks:
            rules.append(Rule(self._options.leaks, _LEAKS, (), "csptrace_leaks in the ini file"))
        return tuple(rules)

    def rule_on(
        self, finding: Finding, rules: tuple[Rule, ...], *, mine: bool, doubtful: bool = False
    ) -> tuple[tuple[Ruling, int], ...]:
        """Decide what a finding means.

        Args:
            finding: the finding.
            rules: what is said about its owner.
            mine: whether the call it is about came straight from the user's own code.
            doubtful: whether the tracer has had an internal error, so that nothing may fail.

        Returns:
            The ruling, and on how many of the handles that the finding stands for: a baseline may
            accept only some of them.
        """
        rulings = self._rulings(finding, rules, mine=mine)
        if not doubtful:
            return rulings
        return tuple(
            (
                Ruling("noted", "csptrace had an internal error")
                if ruling.verdict == "fail"
                else ruling,
                times,
            )
            for ruling, times in rulings
        )

    def _rulings(
        self, finding: Finding, rules: tuple[Rule, ...], *, mine: bool
    ) -> tuple[tuple[Ruling, int], ...]:
        ruling = self._rule_by_marker(finding, rules, mine=mine)
        if ruling is None and _ORDER[finding.severity] < _ORDER[self._options.fail_on]:
            ruling = Ruling("noted", f"only {finding.severity.value}")
        if ruling is not None:
            return ((ruling, finding.times),)
        name, times = finding.fingerprint, finding.times
        entry = self._accepted.get(name)
        left = 0 if entry is None else max(0, entry.count - self._seen[name])
        self._seen[name] += times
        known = min(left, times)
        rulings = []
        if entry is not None and known:
            rulings.append((Ruling("known", entry.reason), known))
        if known < times:
            rulings.append((self._rule_by_baseline(name), times - known))
        return tuple(rulings)

    def _rule_by_marker(
        self, finding: Finding, rules: tuple[Rule, ...], *, mine: bool
    ) -> Ruling | None:
        code, kind = finding.code.value, finding.handle.kind
        for rule in rules:
            if code not in rule.codes or (rule.kinds and kind not in rule.kinds):
                continue
            if rule.leaks == "allow":
                return Ruling("allowed", rule.reason)
            if rule.leaks == "only-mine":
                if mine:
                    break
                return Ruling("allowed", rule.reason or "acquired by an installed library")
            return Ruling("fail", rule.reason)
        return None

    def _rule_by_baseline(self, fingerprint: str) -> Ruling:
        """Decide on findings that the baseline does not accept, or not any more."""
        if self._options.update_baseline:
            return Ruling("noted", "the baseline is being rewritten")
        if self._options.soft:
            return Ruling("noted", "--csptrace-soft")
        entry = self._accepted.get(fingerprint)
        if entry is not None:
            return Ruling("fail", f"more than the {entry.count} that the baseline accepts")
        expired = self._expired.get(fingerprint)
        if expired is not None:
            return Ruling("fail", f"the entry in the baseline expired on {expired.expires}")
        return Ruling("fail", "")
