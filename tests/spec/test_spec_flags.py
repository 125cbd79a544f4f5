"""Flags of a handle, on which a release or its cost may depend; handles that are cut off; forks."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import pytest
from fictitious.vault import Vault

import csptrace
from csptrace.apis import registry
from csptrace.errors import SpecError
from csptrace.findings.errors import (
    DoubleRelease,
    OutOfOrderRelease,
    UseAfterInvalidation,
    UseAfterRelease,
)
from csptrace.spec import (
    Binding,
    Codec,
    Dll,
    Fork,
    Kind,
    Spec,
    Success,
    call,
    clears,
    detaches,
    either,
    equals,
    exports,
    is_set,
    releases,
    sets,
    stored,
    uses,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from csptrace import Tracer

VAULT = Kind(
    "HVAULT", "vault", params="hVault", space="vault", release="VaultClose", limit=4, fork=Fork.ENDS
)
TICKET = Kind(
    "HTICKET",
    "ticket",
    under=VAULT,
    params="hTicket",
    orderly=True,
    space="vault",
    release="TicketFree",
    harm="a peg stays taken",
    flags={"keep": "", "exclusive": "nobody else gets into the vault"},
)
vault = exports("vault", VAULT, TICKET)
KEPT = is_set("hTicket", "keep")
EXCLUSIVE = equals("dwMode", 1)
VAULTS = Spec(
    "vaults",
    "vaults",
    kinds=(VAULT, TICKET),
    calls=(
        vault("VaultOpen", "phVault"),
        vault("VaultClose", "hVault", releases(VAULT, "hVault")),
        vault(
            "TicketOpen",
            "hVault dwMode phTicket",
            sets(TICKET, "phTicket", "exclusive", when=EXCLUSIVE),
        ),
        vault(
            "TicketMode",
            "hTicket dwMode",
            sets(TICKET, "hTicket", "exclusive", when=EXCLUSIVE),
            clears(TICKET, "hTicket", "exclusive", unless=EXCLUSIVE),
        ),
        vault(
            "TicketKeep",
            "hTicket dwKeep",
            sets(TICKET, "hTicket", "keep", unless=equals("dwKeep", 0)),
            clears(TICKET, "hTicket", "keep", when=equals("dwKeep", 0)),
        ),
        vault("TicketUse", "hTicket", releases(TICKET, "hTicket", unless=KEPT)),
        vault("TicketDrop", "hTicket", detaches(TICKET, "hTicket")),
        vault("TicketFree", "hTicket", releases(TICKET, "hTicket")),
    ),
    bindings=(
        Binding("ctypes", Dll(("vault",)), success=Success.ZERO, codec=Codec.CTYPES),
        Binding("cffi", Dll(("vault",)), success=Success.ZERO, codec=Codec.CFFI),
    ),
)
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")


@pytest.fixture(params=["ctypes", "cffi"])
def traced(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, trace: Callable[..., Tracer]
) -> Iterator[tuple[Tracer, Vault]]:
    """Return a tracer and the library, through one binding."""
    if request.param == "cffi":
        pytest.importorskip("cffi")
    registry.validate(VAULTS)
    monkeypatch.setattr(registry, "load", lambda *_: (VAULTS,))
    yield trace(), Vault(request.param)
    csptrace.stop()


def test_a_release_may_depend_on_what_was_set_before(traced: tuple[Tracer, Vault]) -> None:
    """A ticket ends with its use, unless it is to be kept; who frees it then is wrong."""
    tracer, lib = traced
    box = lib.get("VaultOpen")
    once, often = lib.get("TicketOpen", box, 0), lib.get("TicketOpen", box, 0)
    assert lib.call("TicketKeep", often, 1) == 0
    for ticket in (once, often, often):
        assert lib.call("TicketUse", ticket) == 0

    assert [handle.value for handle in tracer.live()] == [box, often]
    with pytest.raises(DoubleRelease):
        lib.call("TicketFree", once)
    with pytest.raises(UseAfterRelease):
        lib.call("TicketKeep", once, 1)
    assert lib.call("TicketKeep", often, 0) == 0
    assert lib.call("TicketUse", often) == 0
    lib.call("VaultClose", box)
    assert not any(found.code.is_leak for found in tracer.check())


def test_a_call_that_fails_sets_nothing(traced: tuple[Tracer, Vault]) -> None:
    """The provider's refusal leaves the flag as it was."""
    tracer, lib = traced
    box = lib.get("VaultOpen")
    ticket = lib.get("TicketOpen", box, 0)
    csptrace.stop()
    lib.call("TicketFree", ticket)  # unseen, so that the next call fails
    again = csptrace.start(quiet=True)
    assert lib.call("TicketKeep", ticket, 1) == 1

    assert again.check() == ()
    assert tracer is not again


def test_of_an_unseen_handle_no_flag_is_known(traced: tuple[Tracer, Vault]) -> None:
    """A use that may have ended it or not makes no later use wrong."""
    _, lib = traced
    csptrace.stop()
    box = lib.get("VaultOpen")
    ticket = lib.get("TicketOpen", box, 0)
    lib.call("TicketKeep", ticket, 1)
    tracer = csptrace.start(quiet=True)
    for _ in range(3):
        assert lib.call("TicketUse", ticket) == 0
    assert lib.call("TicketFree", ticket) == 0

    assert tracer.check() == ()
    assert not tracer.reporter.counts


def test_what_a_leak_costs_depends_on_what_is_set(traced: tuple[Tracer, Vault]) -> None:
    """The cost names what the flags add, as they are when the leak is found."""
    tracer, lib = traced
    box = lib.get("VaultOpen")
    plain, alone, changed = (lib.get("TicketOpen", box, mode) for mode in (0, 1, 1))
    assert lib.call("TicketMode", changed, 0) == 0
    lib.call("VaultClose", box)
    costs = {found.handle.value: found.harm for found in tracer.check()}

    assert costs[plain] == costs[changed] == "a peg stays taken"
    assert costs[alone] == "a peg stays taken; nobody else gets into the vault"


def test_what_is_cut_off_is_lost(traced: tuple[Tracer, Vault]) -> None:
    """The handle is dead, what it stood for is a leak, and the call that did it is named."""
    tracer, lib = traced
    box = lib.get("VaultOpen")
    ticket = lib.get("TicketOpen", box, 1)
    assert lib.call("TicketDrop", ticket) == 0
    with pytest.raises(DoubleRelease):
        lib.call("TicketFree", ticket)

    (found,) = [each for each in tracer.reporter.findings if each.code.is_leak]
    assert (found.code.value, found.handle.value) == ("lost", ticket)
    text = tracer.explain(found)
    assert "TicketDrop has ended it, but not what it stands for" in text
    assert "call TicketFree in place of TicketDrop at " in text
    assert "nobody else gets into the vault" in text
    lib.call("VaultClose", box)


def test_what_was_freed_cannot_be_cut_off(traced: tuple[Tracer, Vault]) -> None:
    """The call is wrong before it is made."""
    _, lib = traced
    box = lib.get("VaultOpen")
    ticket = lib.get("TicketOpen", box, 0)
    lib.call("TicketFree", ticket)
    with pytest.raises(DoubleRelease):
        lib.call("TicketDrop", ticket)
    lib.call("VaultClose", box)


@needs_fork
def test_a_fork_may_end_handles(traced: tuple[Tracer, Vault]) -> None:
    """In the child they and what is under them are dead; the parent's live on."""
    tracer, lib = traced
    box = lib.get("VaultOpen")
    ticket = lib.get("TicketOpen", box, 0)
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        said = []
        for wrong, name, handle in (
            (UseAfterInvalidation, "TicketKeep", (ticket, 1)),
            (OutOfOrderRelease, "TicketFree", (ticket,)),
            (OutOfOrderRelease, "VaultClose", (box,)),
        ):
            try:
                lib.call(name, *handle)
            except wrong as error:
                said.append("in the child of a fork" in str(error))
        own = lib.get("VaultOpen")
        said.append([handle.value for handle in tracer.live()] == [own])
        os.write(writer, repr(said).encode())
        os._exit(0)
    os.close(writer)
    with open(reader, encoding="utf-8") as answer:
        assert answer.read() == "[True, True, True, True]"
    assert os.waitpid(pid, 0)[1] == 0

    assert lib.call("TicketFree", ticket) == lib.call("VaultClose", box) == 0
    assert tracer.check() == ()


def test_a_root_may_be_limited(traced: tuple[Tracer, Vault]) -> None:
    """A process that has nearly as many open as it may is told so; closed ones do not count."""
    tracer, lib = traced
    for _ in range(20):
        lib.call("VaultClose", lib.get("VaultOpen"))
    assert tracer.diagnostics.complaints("limit") == []
    boxes = [lib.get("VaultOpen") for _ in range(4)]

    (said,) = tracer.diagnostics.complaints("limit")
    assert said.startswith("4 of 4 vaults are open at once; close each with VaultClose")
    (peak,) = [each for each in tracer.recorder.peaks() if each.kind == "HVAULT"]
    assert peak.line() == "at most 4 of 4 HVAULT open at once"
    for box in boxes:
        lib.call("VaultClose", box)


def test_threads_that_set_flags(traced: tuple[Tracer, Vault]) -> None:
    """Each thread's handles have flags of their own."""
    tracer, lib = traced
    box = lib.get("VaultOpen")
    errors: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(100):
                ticket = lib.get("TicketOpen", box, 0)
                lib.call("TicketKeep", ticket, 1)
                lib.call("TicketUse", ticket)
                lib.call("TicketUse", ticket)
                lib.call("TicketFree", ticket)
        except BaseException as error:  # noqa: BLE001 - told below
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lib.call("VaultClose", box)

    assert not errors
    assert tracer.check() == ()


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: sets(TICKET, "hTicket", "kept"), "'kept', which is none of the flags= of kind"),
        (lambda: sets(TICKET, "hOther", "keep"), "unknown parameter 'hOther' (of=)"),
        (lambda: sets(VAULT, "hTicket", "keep"), "none of the flags= of kind HVAULT"),
        (lambda: sets(TICKET, "dwFlags", "keep"), "does not say that a HTICKET is there"),
        (
            lambda: releases(TICKET, "hTicket", when=is_set("dwFlags", "keep")),
            "does not say that a handle with that flag is in 'dwFlags'",
        ),
        (
            lambda: releases(TICKET, "hTicket", when=either(is_set("hTicket", "kept"), KEPT)),
            "does not say that a handle with that flag is in 'hTicket'",
        ),
        (lambda: detaches(TICKET, "hTicket", when=stored("dwFlags")), "reads a result"),
    ],
)
def test_what_cannot_be_judged_is_refused(make: Callable[[], Any], why: str) -> None:
    """The message names the parameter and the flag."""
    with pytest.raises(SpecError) as caught:
        call("F", "hTicket dwFlags", uses(TICKET, "hTicket"), make(), library="vault")

    assert why in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"flags": {"two words": ""}}, "flags= maps names to words"),
        ({"flags": {"keep": None}}, "flags= maps names to words"),
        ({"fork": "ends"}, "fork='ends' is not a Fork"),
    ],
)
def test_a_kind_that_cannot_be_is_refused(arguments: dict[str, Any], why: str) -> None:
    """The message names the field."""
    with pytest.raises(SpecError) as caught:
        Kind("HX", "x", **arguments)

    assert why in str(caught.value)


def test_a_kind_that_can_only_be_cut_off_is_not_released() -> None:
    """A call that leaves what a handle stands for is no release of it."""
    kind = Kind("HX", "x", params="hX")
    row = exports("vault", kind)
    spec = Spec(
        "x",
        "x",
        kinds=(kind,),
        calls=(row("XOpen", "phX"), row("XDrop", "hX", detaches(kind, "hX"))),
        bindings=VAULTS.bindings,
    )
    with pytest.raises(SpecError, match="no call releases a HX"):
        registry.validate(spec)


def test_specs_show_them(capsys: pytest.CaptureFixture[str]) -> None:
    """`csptrace specs` names the flags that calls set and ask for."""
    effects = {row.name: registry.covered_effects(row) for row in VAULTS.calls}

    assert effects["TicketDrop"][0] == {"effect": "detaches", "kind": "HTICKET", "param": "hTicket"}
    assert effects["TicketKeep"][-1] == {
        "effect": "clears",
        "kind": "HTICKET",
        "param": "hTicket",
        "flag": "keep",
        "when": "dwKeep is 0x0",
    }
    assert effects["TicketUse"][-1]["when"] == "not (hTicket has keep set)"
