"""The client under test, once for each binding of this machine."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import pytest
from clients import BINDINGS, Client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from csptrace import Tracer


@pytest.fixture(params=list(BINDINGS))
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    """Return a client of one binding; softcsp's call counters are disarmed afterwards."""
    from csptrace.softcsp import faults

    made = BINDINGS[request.param]()
    yield made
    faults.disarm()
    if made.binding == "win32crypt":
        # A destructor releases its value again, which by then may be a later test's.
        gc.collect()


@pytest.fixture
def start(client: Client, trace: Callable[..., Tracer]) -> Callable[..., Tracer]:
    """Return a function that starts a tracer which knows the client's library."""

    def begin(**settings: Any) -> Tracer:
        return trace(**client.settings, **settings)

    return begin


@pytest.fixture
def tracer(start: Callable[..., Tracer]) -> Tracer:
    """Return a running tracer with the default reactions."""
    return start()
