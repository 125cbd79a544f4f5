"""Hand-written native calls and findings for the tests of the oracle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import oracle
from event_log import Finding, Said
from spy_log import Call

if TYPE_CHECKING:
    from oracle import History

SLOT = 7


def call(
    name: str,
    at: float,
    *,
    result: str = "CKR_OK",
    template: dict[str, str] | None = None,
    found: tuple[int, ...] = (),
    **numbers: int,
) -> Call:
    """Return a call with the parameters that matter."""
    templates = {} if template is None else {"in pTemplate": template}
    return Call(
        int(at * 10), name, at, numbers, templates, found=list(found), mechanism=True, result=result
    )


def initialize(at: float = 0.1) -> Call:
    """Return a start of the library."""
    return call("C_Initialize", at)


def finalize(at: float) -> Call:
    """Return an end of the library."""
    return call("C_Finalize", at)


def open_session(at: float, value: int = 1) -> Call:
    """Return an opening of a session."""
    return call("C_OpenSession", at, slotID=SLOT, phSession=value)


def close(at: float, value: int = 1, **more: str) -> Call:
    """Return a close of a session."""
    return call("C_CloseSession", at, hSession=value, **more)


def make(at: float, value: int, session: int = 1, **attributes: str) -> Call:
    """Return the generation of a key."""
    return call("C_GenerateKey", at, template=attributes, hSession=session, hKey=value)


def use(at: float, value: int, session: int = 1, result: str = "CKR_OK") -> Call:
    """Return a use of a key."""
    return call("C_SignInit", at, result=result, hSession=session, hKey=value)


def destroy(at: float, value: int, session: int = 1, result: str = "CKR_OK") -> Call:
    """Return a destruction of an object."""
    return call("C_DestroyObject", at, result=result, hSession=session, hObject=value)


def history(*calls: Call) -> History:
    """Return what calls after a start of the library come to."""
    return oracle.replay((initialize(), *calls))


def leak(
    kind: str, value: int, acquired: float, at: float, code: str = "leaked-at-exit"
) -> Finding:
    """Return a finding about a leak."""
    return Finding(code, kind, value, at, acquired, "warning")


def misuse(kind: str, value: int, at: float, code: str = "use-after-release") -> Finding:
    """Return a finding about a misuse."""
    return Finding(code, kind, value, at, by="C_SignInit")


def said(*findings: Finding, ended: bool = True) -> Said:
    """Return findings as what one process said."""
    return Said(list(findings), ended=ended)
