"""A pytest fixture that makes calls of the provider fail, for testing a program's error paths.

Ask for it in a ``conftest.py``::

    pytest_plugins = ["csptrace.softcsp.pytest_faults"]

and use it in a test::

    def test_no_key_is_left_when_encrypting_fails(csp_faults):
        fault = csp_faults("CryptEncrypt", "NTE_NO_MEMORY", nth=2)
        with pytest.raises(OSError):
            save_encrypted(document)
        assert fault.failures == 1

Every fault ends with its test. `csptrace.softcsp.inject_fault` does the same without pytest.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from csptrace.softcsp.faults import Fault


class Inject(Protocol):
    """What the fixture gives: a function that puts a fault in force until the test ends."""

    def __call__(
        self,
        function: str,
        error: int | str,
        *,
        nth: int | None = None,
        rate: float | None = None,
        seed: int = 0,
    ) -> Fault:
        """Make calls of a function fail.

        Args:
            function: the C name, such as ``CryptGenKey``.
            error: the code to fail with, or its C name, such as ``NTE_NO_MEMORY``.
            nth: fail only this call, counted from 1.
            rate: fail this fraction of the calls.
            seed: what the fraction's choice starts from.

        Returns:
            The rule, which counts calls and failures.

        Raises:
            ValueError: the function or the error does not exist, or the numbers make no sense.

        """


@pytest.fixture
def csp_faults() -> Iterator[Inject]:
    """Give a function that makes calls of the provider fail until the test ends."""
    # pytest imports this module in runs that never ask for the fixture.
    from csptrace.softcsp import faults  # noqa: PLC0415 - as said
    from csptrace.softcsp.errors import NAMES  # noqa: PLC0415 - as said

    codes = {name: code for code, name in NAMES.items()}
    with contextlib.ExitStack() as stack:

        def inject(
            function: str,
            error: int | str,
            *,
            nth: int | None = None,
            rate: float | None = None,
            seed: int = 0,
        ) -> Fault:
            if isinstance(error, str):
                if error not in codes:
                    message = f"{error!r} is not one of: {', '.join(sorted(codes))}"
                    raise ValueError(message)
                error = codes[error]
            fault = faults.inject(function, error, nth=nth, rate=rate, seed=seed)
            return stack.enter_context(fault)

        yield inject
