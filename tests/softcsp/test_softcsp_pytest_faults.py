"""The pytest fixture for fault injection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from csptrace.softcsp import constants as c
from csptrace.softcsp import faults
from csptrace.softcsp.pytest_faults import csp_faults  # noqa: F401 - a fixture

if TYPE_CHECKING:
    from conftest import Client
    from csptrace.softcsp.pytest_faults import Inject


def test_a_fault_named_by_its_error_strikes_once(client: Client, csp_faults: Inject) -> None:  # noqa: F811
    """The Nth call of the function fails with the named error, and the rule counts it."""
    context = client.acquire()
    fault = csp_faults("CryptCreateHash", "NTE_NO_MEMORY", nth=2)
    client.hashed(context, c.CALG_SHA, b"")
    assert client.refused("CryptCreateHash", context, c.CALG_SHA, 0, 0, None) == c.NTE_NO_MEMORY
    client.hashed(context, c.CALG_SHA, b"")
    assert (fault.calls, fault.failures) == (3, 1)


def test_a_fault_may_be_given_by_number(client: Client, csp_faults: Inject) -> None:  # noqa: F811
    """An error code as a number does as well, for a fraction of the calls."""
    fault = csp_faults("CryptReleaseContext", c.ERROR_BUSY, rate=1.0, seed=3)
    assert client.refused("CryptReleaseContext", client.acquire(), 0) == c.ERROR_BUSY
    assert fault.failures == 1


def test_an_unknown_error_is_refused(csp_faults: Inject) -> None:  # noqa: F811
    """A misspelt error name is a ValueError that lists the allowed ones."""
    with pytest.raises(ValueError, match="'NTE_NONSENSE' is not one of: ERROR_BUSY"):
        csp_faults("CryptGenKey", "NTE_NONSENSE")


def test_faults_end_with_their_test(pytester: pytest.Pytester) -> None:
    """A program's own test suite gets the fixture by naming the plugin, and faults do not stay."""
    pytester.makeconftest('pytest_plugins = ["csptrace.softcsp.pytest_faults"]')
    pytester.makepyfile(
        """
        from csptrace.softcsp import faults

        def test_one(csp_faults):
            csp_faults("CryptGenKey", "NTE_FAIL")
            assert faults.armed

        def test_two():
            assert not faults.armed
        """
    )
    result = pytester.runpytest_inprocess("-p", "no:randomly", "-p", "no:xdist")
    result.assert_outcomes(passed=2)
    assert not faults.armed
