"""What a test asks for by the name `csptrace`."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from csptrace.findings.catalogue import Code
from csptrace.findings.errors import HandleError, HandleLeak
from csptrace.frontends.pytest_plugin.attribution import Owner
from csptrace.frontends.pytest_plugin.expectation import Expectation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from csptrace.findings.finding import Finding, HandleRef
    from csptrace.frontends.pytest_plugin.traced_session import TracedSession
    from csptrace.softcsp.faults import Fault
    from csptrace.tracer import Snapshot

__all__ = ["Csptrace"]


class Csptrace:
    """The handles of one test, while it runs.

    Args:
        traced: what follows the tests.
        request: pytest's request.
    """

    def __init__(self, traced: TracedSession, request: pytest.FixtureRequest) -> None:
        self._traced = traced
        self._request = request
        assert traced.attempt is not None  # noqa: S101 - fixtures are set up for a test
        self._attempt = traced.attempt

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What this test was found guilty of so far, without what it expects.

        One may stand for many (`Finding.times`).
        """
        tracer = self._traced.tracer
        tracer.check()  # enters what the garbage collector has taken
        return tuple(find.finding for find in self._attempt.finds)

    def live(self) -> tuple[HandleRef, ...]:
        """Return the handles that this test has acquired and still has to release."""
        tracer = self._traced.tracer
        mine = {handle.hid for handle in tracer.unreleased_in((self._attempt,))}
        return tuple(handle for handle in tracer.live() if handle.hid in mine)

    def snapshot(self) -> Snapshot:
        """Return what is alive in the process; `snapshot.diff()` tells what has come since."""
        return self._traced.tracer.snapshot()

    def assert_no_leaks(self) -> None:
        """Fail now if this test holds a handle or has leaked one.

        Raises:
            AssertionError: it does; names each, with the place where it was acquired.
        """
        __tracebackhide__ = True
        tracer = self._traced.tracer
        leaks = [finding for finding in self.findings if finding.code.is_leak]
        lines = [tracer.explain(finding) for finding in leaks]
        for handle in self.live():
            user = tracer.place_of(handle)
            at = f", acquired at {user.filename}:{user.line}" if user is not None else ""
            lines.append(f"alive: {handle.kind} 0x{handle.value:08x}, a {handle.title}{at}")
        if lines:
            raise AssertionError("\n".join(lines))

    @contextmanager
    def expect(
        self,
        *codes: str,
        kind: str | tuple[str, ...] = (),
        count: int | None = None,
    ) -> Iterator[Expectation]:
        """Expect findings in a block, for a test that misuses handles on purpose.

        An exception that csptrace raises for an expected misuse ends the block and goes no
        further, like in `pytest.raises`. With `leaked-at-exit` among the codes, what was acquired
        in the block must still be alive at its end.

        Args:
            codes: the finding codes (`"double-release"`).
            kind: only for this kind of handle, or these.
            count: how many there must be; at least one of them if not given.

        Yields:
            The expectation, with the findings that came.

        Raises:
            ValueError: an unknown code or kind; names those that there are.
            Failed: they did not come.
        """
        __tracebackhide__ = True
        expectation = Expectation(_codes(codes), self._kinds(kind))
        traced = self._traced
        scope = None
        if Code.LEAKED_AT_EXIT in expectation._codes:
            scope = Owner("test", self._attempt.name, 0, self._attempt.nodeid)
        around = traced.where.current
        if scope is not None:
            traced.where.enter(scope)
        traced.expected.append(expectation)
        try:
            yield expectation
        except (HandleError, HandleLeak) as error:
            if not _is_expected(error, expectation):
                raise
            expectation.error = error
        finally:
            try:
                if scope is not None:
                    traced.where.enter(around)
                    tracer = traced.tracer
                    tracer.judge(tracer.unreleased_in((scope,)), self._attempt.name)
                    for find in scope.finds:  # what was not expected is the test's
                        self._attempt.take(find.finding)
            finally:
                traced.expected.remove(expectation)
        found = sum(finding.times for finding in expectation.findings)
        if found != count if count is not None else not found:
            wanted = "at least one" if count is None else str(count)
            pytest.fail(
                f"expected {wanted} of: {', '.join(codes)}; found {found or 'none'}", pytrace=False
            )

    def _kinds(self, kind: str | tuple[str, ...]) -> frozenset[str]:
        kinds = (kind,) if isinstance(kind, str) else tuple(kind)
        for name in kinds:
            if name not in self._traced.kinds:
                known = ", ".join(self._traced.kinds)
                raise ValueError(f"csptrace.expect: unknown kind {name!r}; known are {known}")
        return frozenset(kinds)

    def inject_fault(self, function: str, error: int | str, **how: Any) -> Fault:
        """Make calls of a function of softcsp fail until the test ends, to reach an error path.

        Args:
            function: the C name (`"CryptGenKey"`).
            error: the code to fail with, or its C name (`"NTE_NO_MEMORY"`).
            how: `nth`, `rate` and `seed`, see `csptrace.softcsp.inject_fault`.

        Returns:
            The rule, which counts calls and failures.
        """
        fault: Fault = self._request.getfixturevalue("csp_faults")(function, error, **how)
        return fault


def _codes(codes: tuple[str, ...]) -> frozenset[Code]:
    known = [code.value for code in Code]
    for code in codes:
        if code not in known:
            raise ValueError(
                f"csptrace.expect: unknown code {code!r}; known are {', '.join(known)}"
            )
    if not codes:
        raise ValueError(f"csptrace.expect: which code? Known are {', '.join(known)}")
    return frozenset(Code(code) for code in codes)


def _is_expected(error: HandleError | HandleLeak, expectation: Expectation) -> bool:
    findings = error.findings if isinstance(error, HandleLeak) else (error.finding,)
    return any(finding is one for finding in findings for one in expectation.findings)
