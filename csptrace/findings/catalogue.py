"""What there is to find: one row for each code, with everything that is said of it in general.

Text, events, SARIF, the reaction of the tracer, the documentation and the analysis read it here.
A template names what it needs: `{release}`, the function that releases the handle; `{over}`, the
handle whose end made it wrong, or in a remedy the call that ended it; `{there}`, its place, with
" at " in front, empty if it is not known; `{call}`, the call that was wrong. `_Words` of
`csptrace.findings.text` has all of them.

CWE numbers: MITRE, Common Weakness Enumeration, cwe.mitre.org.
"""

from __future__ import annotations

import dataclasses
import enum
from typing import Final

__all__ = ["CATALOGUE", "Code", "Row", "Severity", "Sort", "Variant", "guide", "siblings"]


class Code(enum.StrEnum):
    """What is wrong. The values are what events, baselines and markers use."""

    LEAKED_AT_RELEASE = "leaked-at-release"
    LEAKED_AT_EXIT = "leaked-at-exit"
    LOST = "lost"
    USE_AFTER_RELEASE = "use-after-release"
    USE_AFTER_INVALIDATION = "use-after-invalidation"
    DOUBLE_RELEASE = "double-release"
    WRONG_RELEASE = "wrong-release"
    OUT_OF_ORDER_RELEASE = "out-of-order-release"
    STALE_DEPENDENCY = "stale-dependency"
    FAILED_RELEASE = "failed-release"
    HELD_TOO_LONG = "held-too-long"
    RELEASE_WHILE_IN_USE = "release-while-in-use"

    @property
    def row(self) -> Row:
        """What is said of it in general."""
        return CATALOGUE[self]

    @property
    def is_leak(self) -> bool:
        """Whether it says that something was not released (`on_leak`)."""
        return CATALOGUE[self].sort is Sort.LEAK

    @property
    def is_misuse(self) -> bool:
        """Whether it says that a call was wrong (`on_misuse`)."""
        return CATALOGUE[self].sort is Sort.MISUSE


class Severity(enum.StrEnum):
    """How bad a finding is."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Sort(enum.Enum):
    """What a finding speaks of, which decides what is done about it."""

    LEAK = "something was not released (`on_leak`)"
    MISUSE = "a call was wrong (`on_misuse`)"
    NOTICE = "something to look at"


class Variant(enum.Enum):
    """Where a code has a story of its own."""

    STILLBORN = "the call that acquired it has failed"
    DESTROYED = "its object was collected, and released it"
    IMPLIED = "the parent's release destroys it, as the API says"
    PARENTLESS = "a call that is no release of a parent has made it invalid"
    FORKED = "the process is the child of a fork, which has made it invalid"
    DETACHED = "a call has ended it and left what it stood for"


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One finding code.

    Attributes:
        sort: what it speaks of.
        severity: how bad it is, if nothing makes it better.
        title: what it says, in a sentence without a full stop.
        meaning: what it means, for a table.
        advice: why it matters and what to do about it, in general.
        cwe: the number of the weakness.
        story: what has happened, as a template.
        remedy: what to do about it, as a template.
        variants: story and remedy where they differ.
    """

    sort: Sort
    severity: Severity
    title: str
    meaning: str
    advice: str
    cwe: int
    story: str
    remedy: str
    variants: dict[Variant, tuple[str, str]] = dataclasses.field(default_factory=dict)


_RELEASE_BEFORE: Final = (
    "call {release} before {over_call}{there}, also when an exception is raised in between "
    "(try/finally or a context manager)"
)
_FORKED: Final = (
    "{call} was called with it in the child of a fork, where it is invalid.",
    "acquire one of the child's own, after the fork",
)
_COLLECTED: Final = "The last Python reference to it went away before it was released"
_STILLBORN: Final = (
    "{ended_by} failed{there} and gave out nothing to release: {ends_all} frees it; see that the "
    "call does not fail there"
)
_RELEASE_YOURSELF: Final = (
    "call {release} yourself; do not leave it to garbage collection, whose order is not yours"
)

CATALOGUE: Final[dict[Code, Row]] = {
    Code.LEAKED_AT_RELEASE: Row(
        Sort.LEAK,
        Severity.WARNING,
        title="A handle was still alive when its context was released",
        meaning="still alive when its context's last reference was released: it can never be "
        "freed again",
        advice="Once a context is released, every session key and hash created with it is invalid "
        "and can never be freed. Destroy them first, also on error paths (try/finally).",
        cwe=772,
        story="It was still alive when {over} was released. It is invalid now and nothing can "
        "free it any more.",
        remedy=_RELEASE_BEFORE,
        variants={
            Variant.IMPLIED: (
                "It was still alive when {over} was released, which has destroyed it.",
                _RELEASE_BEFORE,
            )
        },
    ),
    Code.LEAKED_AT_EXIT: Row(
        Sort.LEAK,
        Severity.WARNING,
        title="A handle was still alive when its scope ended",
        meaning="still alive when its scope (the process, a `with tracing()` block) ended",
        advice="Release the handle when it is no longer needed, also on error paths (try/finally).",
        cwe=772,
        story="It was still alive when {scope} ended.",
        remedy="call {release} when the handle is no longer needed (try/finally)",
    ),
    Code.LOST: Row(
        Sort.LEAK,
        Severity.WARNING,
        title="The last reference to a handle went away before it was released",
        meaning="the last Python reference to a handle object went away before the handle was "
        "released",
        advice="Release the handle yourself; the order of garbage collection is not yours.",
        cwe=772,
        story=_COLLECTED + ".",
        remedy=_RELEASE_YOURSELF,
        variants={
            Variant.STILLBORN: (
                "{ended_by} acquired it and then failed, so that nobody has got it.",
                _STILLBORN,
            ),
            Variant.DESTROYED: (
                _COLLECTED + "; its destructor released it.",
                _RELEASE_YOURSELF,
            ),
            Variant.DETACHED: (
                "{ended_by} has ended it, but not what it stands for; nothing can release that.",
                "call {release} in place of {ended_by}{there}, or before it",
            ),
        },
    ),
    Code.USE_AFTER_RELEASE: Row(
        Sort.MISUSE,
        Severity.ERROR,
        title="A handle was used after its release",
        meaning="used after its own release",
        advice="The provider may have given the same value to another handle. Do not use a handle "
        "after its release.",
        cwe=672,
        story="{call} was called with it after it had been released.",
        remedy="do not use the handle after {gone}{there}; acquire a new one, or release later",
    ),
    Code.USE_AFTER_INVALIDATION: Row(
        Sort.MISUSE,
        Severity.ERROR,
        title="A handle was used after the release of its context",
        meaning="used after the release of its context",
        advice="The release of a context makes every key and hash under it invalid. Keep the "
        "context open for as long as they are needed.",
        cwe=672,
        story="{call} was called with it, but the release of {over} had made it invalid.",
        remedy="use it before {over_call}{there}, or keep the context open for as long as it is "
        "needed",
        variants={
            Variant.PARENTLESS: (
                "{call} was called with it, but {ended_by} had made it invalid.",
                "use it before {gone}{there}, or look it up anew afterwards",
            ),
            Variant.FORKED: _FORKED,
        },
    ),
    Code.DOUBLE_RELEASE: Row(
        Sort.MISUSE,
        Severity.ERROR,
        title="A handle was released twice",
        meaning="released once more than it was acquired",
        advice="The second release may hit another handle with the same value. Remove one of the "
        "two.",
        cwe=1341,
        story="{call} was called with it, but it had been released already.",
        remedy="remove one of the two releases; the first is{there_or_above}{newer}",
    ),
    Code.WRONG_RELEASE: Row(
        Sort.MISUSE,
        Severity.ERROR,
        title="A handle was passed to the release function of another kind",
        meaning="passed to the release function of another kind",
        advice="Release each handle with the function that belongs to its kind.",
        cwe=763,
        story="{call} was called with it, which does not release {a_title}.",
        remedy="release it with {release}",
    ),
    Code.OUT_OF_ORDER_RELEASE: Row(
        Sort.MISUSE,
        Severity.ERROR,
        title="A handle was destroyed only after its context was released",
        meaning="destroyed, but only after its context was released",
        advice="The late release frees nothing any more. Destroy keys and hashes before their "
        "context.",
        cwe=826,
        story="{call} was called only after {over} had been released; it frees nothing any more, "
        "and the handle stays leaked.",
        remedy="move {release} in front of {over_call}{there}",
        variants={
            Variant.PARENTLESS: (
                "{call} was called with it, but {ended_by} had made it invalid.",
                "use it before {gone}{there}, or look it up anew afterwards",
            ),
            Variant.FORKED: _FORKED,
        },
    ),
    Code.STALE_DEPENDENCY: Row(
        Sort.MISUSE,
        Severity.ERROR,
        title="A handle was used although a handle that it depends on is gone",
        meaning="used although a handle it depends on is gone (an HMAC without its key)",
        advice="Keep what a handle depends on (the key of an HMAC) until the handle is finished.",
        cwe=672,
        story="{call} was called with it, but {over}, which it depends on, is gone.",
        remedy="keep the {needed} until this {title} is finished",
    ),
    Code.FAILED_RELEASE: Row(
        Sort.NOTICE,
        Severity.WARNING,
        title="The provider refused a release",
        meaning="the provider refused a release",
        advice="Check the result of the release and why the provider refused.",
        cwe=252,
        story="{call} failed, and the handle stays alive.",
        remedy="check the result of {release} and why the provider refused",
    ),
    Code.HELD_TOO_LONG: Row(
        Sort.NOTICE,
        Severity.WARNING,
        title="A handle was held for longer than the configured threshold",
        meaning='alive for longer than `held_too_long` seconds; followed by an "unheld" line when '
        "it is released after all",
        advice="Release the handle when it is no longer needed, or raise the threshold.",
        cwe=772,
        story="It has been alive for {age} and was not released yet.",
        remedy="call {release} as soon as the handle is not needed, or set held_too_long higher "
        "if it is meant to live this long",
    ),
    Code.RELEASE_WHILE_IN_USE: Row(
        Sort.MISUSE,
        Severity.ERROR,
        title="A handle was released while another thread was using it",
        meaning="released while another thread is inside a call on it",
        advice="Let the other thread finish first; the provider may crash or use memory that is "
        "gone.",
        cwe=362,
        story="{call} was called while another thread was{inside}, which uses it or something "
        "under it; the {title} would be taken away from under that call.",
        remedy="wait for the other thread (join it) before {release}",
    ),
}
"""Everything that csptrace finds, in the order in which it is documented."""


def guide(code: str) -> str:
    """Return the command that shows the page about a finding.

    Args:
        code: the finding code; a log may have one of a newer csptrace.

    Returns:
        The command line, empty if the guide of this csptrace has no such page.
    """
    return f"csptrace guide {code}" if code in CATALOGUE else ""


def siblings(
    acquired: int,
    released: int,
    *,
    at: str = "there",
    released_at: str = "",
    released_there: int = 0,
    so_far: bool = True,
) -> str:
    """Say what became of the handles that were acquired in one place.

    Args:
        acquired: how many were acquired there.
        released: how many of them the program released.
        at: where that is: `there`, or `at` and a place.
        released_at: the place that released most of them, empty if it is not known.
        released_there: how many that was.
        so_far: whether more may still happen, or happened later.

    Returns:
        A sentence without its full stop.
    """
    if not released:
        if acquired == 1 and not so_far:
            return f"no other handle was acquired {at}"
        return f"none of the {acquired:,} handles acquired {at} was released{' so far' * so_far}"
    text = f"{released:,} of {acquired:,} handles acquired {at} were released"
    if released_at:
        some = "" if released_there == released else f"{released_there:,} "
        text += f", {some}at {released_at}"
    return text
