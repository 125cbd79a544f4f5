"""The verdicts: what is wrong, what is not, and what a finding then carries."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import pytest

from csptrace.apis.cryptoapi.spec import HASH, KEY, PROV
from csptrace.findings.catalogue import Code, Severity
from csptrace.findings.judgement import (
    leaked_at_exit,
    occurrence,
    verdict_on_release,
    verdict_on_use,
)
from csptrace.graph.changes import Acquired, HandedOver, RefChanged, Untracked
from csptrace.graph.handle import Scope
from csptrace.spec.kinds import Kind

if TYPE_CHECKING:
    from conftest import Bench

LOOSE = Kind("HCRYPTKEY", "key", under=PROV, orderly=False, release="CryptDestroyKey")


# --- uses ------------------------------------------------------------------------------------


def test_a_live_handle_may_be_used(bench: Bench) -> None:
    """Nothing is wrong with it, nor with one whose release another thread has begun."""
    key = bench.acquire(KEY, 0x10)
    assert verdict_on_use(key) is None
    bench.graph.begin_release(key)
    assert verdict_on_use(key) is None


def test_a_released_handle_must_not_be_used(bench: Bench) -> None:
    """It was released itself, so there is no other culprit."""
    key = bench.acquire(KEY, 0x10)
    bench.release(key)
    assert verdict_on_use(key) == (Code.USE_AFTER_RELEASE, None)


def test_an_invalidated_handle_must_not_be_used(bench: Bench) -> None:
    """The culprit is the handle whose release invalidated it."""
    context = bench.acquire(PROV, 0x10)
    key = bench.acquire(KEY, 0x20, context)
    bench.release(context)
    assert verdict_on_use(key) == (Code.USE_AFTER_INVALIDATION, context)


@pytest.mark.parametrize("how", ["released", "invalidated"])
def test_a_handle_whose_dependency_is_gone_must_not_be_used(bench: Bench, how: str) -> None:
    """An HMAC hash needs its key, however the key went."""
    context, other = bench.acquire(PROV, 0x10), bench.acquire(PROV, 0x11)
    key = bench.acquire(KEY, 0x20, other)
    hmac = bench.acquire(HASH, 0x30, context, key)
    bench.release(key if how == "released" else other)
    assert verdict_on_use(hmac) == (Code.STALE_DEPENDENCY, key)


def test_its_own_death_is_named_before_its_dependencys(bench: Bench) -> None:
    """The nearest cause is the verdict."""
    key = bench.acquire(KEY, 0x20)
    hmac = bench.acquire(HASH, 0x30, None, key)
    bench.release(key)
    bench.release(hmac)
    assert verdict_on_use(hmac) == (Code.USE_AFTER_RELEASE, None)


def test_a_handle_that_was_not_seen_to_end_may_be_used(bench: Bench) -> None:
    """Only what the tracer saw die is dead."""
    key = bench.acquire(KEY, 0x10)
    bench.acquire(HASH, 0x10)
    assert verdict_on_use(key) is None
    assert verdict_on_release(key) is None


# --- releases --------------------------------------------------------------------------------


def test_a_second_release_is_wrong(bench: Bench) -> None:
    """Whether the first one is over or just under way in another thread."""
    key = bench.acquire(KEY, 0x10)
    assert verdict_on_release(key) is None
    bench.graph.begin_release(key)
    assert verdict_on_release(key) == (Code.DOUBLE_RELEASE, None)
    bench.graph.settle_release(key, bench.call_record("CryptDestroyKey", None), released=True)
    assert verdict_on_release(key) == (Code.DOUBLE_RELEASE, None)


def test_as_many_releases_as_references_are_right(bench: Bench) -> None:
    """Two threads may release their references at the same time."""
    context = bench.acquire(PROV, 0x10)
    bench.graph.add_ref(context, bench.call_record("CryptContextAddRef", None))
    bench.graph.begin_release(context)
    assert verdict_on_release(context) is None
    bench.graph.begin_release(context)
    assert verdict_on_release(context) == (Code.DOUBLE_RELEASE, None)


def test_a_release_after_the_parents_is_out_of_order(bench: Bench) -> None:
    """The culprit is the parent."""
    context = bench.acquire(PROV, 0x10)
    key = bench.acquire(KEY, 0x20, context)
    bench.release(context)
    assert verdict_on_release(key) == (Code.OUT_OF_ORDER_RELEASE, context)


def test_a_handle_whose_dependency_is_gone_may_be_released(bench: Bench) -> None:
    """Destroying an HMAC hash after its key is the way to clean up."""
    key = bench.acquire(KEY, 0x20)
    hmac = bench.acquire(HASH, 0x30, None, key)
    bench.release(key)
    assert verdict_on_release(hmac) is None


# --- changes ---------------------------------------------------------------------------------


def test_what_lived_under_a_released_context_is_leaked(bench: Bench) -> None:
    """One finding for each, in the order of acquisition, with the context as the culprit."""
    context = bench.acquire(PROV, 0x10)
    hash_ = bench.acquire(HASH, 0x30, context)
    key = bench.acquire(KEY, 0x20, context)
    found = bench.release(context)
    assert [finding.handle.hid for finding in found] == [hash_.hid, key.hid]
    for finding in found:
        assert (finding.code, finding.severity) == (Code.LEAKED_AT_RELEASE, Severity.WARNING)
        assert finding.culprit is not None
        assert finding.culprit.hid == context.hid
        assert [parent.hid for parent in finding.parents] == [context.hid]
        assert finding.ended is not None
        assert finding.ended.site.call == "CryptReleaseContext"
        assert finding.call_record is finding.ended
        assert finding.api == "cryptoapi"


def test_an_orderly_program_leaks_nothing(bench: Bench) -> None:
    """Children first, then the context."""
    context = bench.acquire(PROV, 0x10)
    for handle in (bench.acquire(KEY, 0x20, context), bench.acquire(HASH, 0x30, context), context):
        assert bench.release(handle) == []


def test_what_nobody_owes_is_not_leaked(bench: Bench) -> None:
    """Unowned, handed over, disorderly by permission, or inherited through a fork."""
    inherited = bench.acquire(PROV, 0x11)
    bench.acquire(KEY, 0x21, inherited)
    bench.graph.forked(bench.call_record("os.fork", None))
    assert bench.release(inherited) == []
    context = bench.acquire(PROV, 0x10)
    bench.graph.borrow(KEY, 0x20, context)
    bench.graph.hand_over(bench.acquire(KEY, 0x22, context), bench.call_record("Cert", None))
    bench.acquire(LOOSE, 0x23, context)
    assert bench.release(context) == []


def test_a_refused_release_is_a_finding(bench: Bench) -> None:
    """It belongs to the place that tried."""
    key = bench.acquire(KEY, 0x10)
    (finding,) = bench.release(key, released=False)
    assert (finding.code, finding.severity) == (Code.FAILED_RELEASE, Severity.WARNING)
    assert finding.misused is not None
    assert finding.misused.site.call == "CryptDestroyKey"
    assert not finding.code.is_leak
    assert not finding.code.is_misuse


@pytest.mark.parametrize("released", [True, False])
def test_a_collected_handle_is_lost(bench: Bench, *, released: bool) -> None:
    """Only if somebody owed its release; it is no more than information if a destructor does it."""
    (finding,) = bench.collect(bench.acquire(KEY, 0x10), released=released)
    severity = Severity.INFO if released else Severity.WARNING
    assert (finding.code, finding.severity) == (Code.LOST, severity)
    assert bench.graph.unreleased() == []
    handed_over = bench.acquire(PROV, 0x20)
    bench.graph.hand_over(handed_over, bench.call_record("CertOpenStore", None))
    assert bench.collect(handed_over, released=released) == []
    inherited = bench.acquire(PROV, 0x30)
    bench.graph.forked(bench.call_record("os.fork", None))
    assert bench.collect(inherited, released=released) == []


def test_a_collected_context_takes_its_keys_along(bench: Bench) -> None:
    """The destructor's release is a release: what lived under the context is leaked."""
    context = bench.acquire(PROV, 0x10)
    bench.acquire(KEY, 0x20, context)
    found = bench.collect(context, released=True)
    assert [finding.code for finding in found] == [Code.LOST, Code.LEAKED_AT_RELEASE]


def test_a_misuse_is_an_error(bench: Bench) -> None:
    """It carries where the handle ended, and who has its value now."""
    key = bench.acquire(KEY, 0x10)
    bench.release(key)
    new = bench.acquire(KEY, 0x10)
    finding = bench.misuse(key, Code.USE_AFTER_RELEASE, "CryptEncrypt", reused_by=new)
    assert finding.severity is Severity.ERROR
    assert finding.code.is_misuse
    assert key.ended is not None
    assert finding.ended == occurrence(key.ended, bench.ownership.resolve)
    assert finding.reused_by is not None
    assert (finding.handle.generation, finding.reused_by.generation) == (1, 2)
    assert finding.call_record is finding.misused


def test_ordinary_changes_are_no_findings(bench: Bench) -> None:
    """To acquire, to count, to hand over and not to have seen an end is all right."""
    key, call_record = bench.acquire(KEY, 0x10), bench.call_record("Call", None)
    for change in (Acquired, RefChanged, HandedOver, Untracked):
        assert bench.judge(change(key, call_record)) == []


def test_what_is_owed_when_a_scope_ends_is_leaked(bench: Bench) -> None:
    """A handle whose release another thread has begun is not."""
    key, going = bench.acquire(KEY, 0x10), bench.acquire(KEY, 0x20)
    bench.graph.begin_release(going)
    (finding,) = leaked_at_exit(bench.graph.unreleased(), bench.ownership.resolve, 0, "test_x")
    assert (finding.code, finding.handle.hid, finding.scope) == (
        Code.LEAKED_AT_EXIT,
        key.hid,
        "test_x",
    )
    assert finding.call_record is finding.acquired


# --- what a finding carries ------------------------------------------------------------------


def test_a_leak_names_the_scope_of_its_acquisition(bench: Bench) -> None:
    """A leak belongs to the scope in which the key was made, not to that of the release."""
    context = bench.acquire(PROV, 0x10)
    bench.scope = Scope("making", 1, None)
    bench.acquire(KEY, 0x20, context)
    bench.scope = Scope("releasing", 2, None)
    assert [finding.scope for finding in bench.release(context)] == ["making"]


def test_a_finding_counts_uses_children_and_age(bench: Bench) -> None:
    """What lived under the handle is counted by kind, in the order of acquisition."""
    call_record = bench.call_record(
        "CryptAcquireContextW", sys._getframe(), time.monotonic_ns() - 5
    )
    context, _ = bench.graph.acquire(PROV, 0x10, None, (), call_record)
    for value, kind in enumerate((HASH, KEY, HASH), 0x20):
        bench.acquire(kind, value, context)
    context.uses = 7
    (finding,) = leaked_at_exit([context], bench.ownership.resolve, 0, "")
    assert finding.children == (("HCRYPTHASH", 2), ("HCRYPTKEY", 1))
    assert finding.uses == 7
    assert 5 <= finding.age < 60_000_000_000
    assert abs(finding.time - time.time_ns()) < 60_000_000_000


def test_a_finding_about_an_unowned_handle_knows_no_age(bench: Bench) -> None:
    """What was first seen in use has no acquisition to point at."""
    key = bench.graph.borrow(KEY, 0x10)
    bench.release(key)
    finding = bench.misuse(key, Code.DOUBLE_RELEASE, "CryptDestroyKey")
    assert (finding.acquired, finding.age, finding.siblings) == (None, -1, None)
    assert finding.api == "cryptoapi"


def test_an_inherited_handle_is_marked(bench: Bench) -> None:
    """A misuse in the child of a fork says that the handle is the parent's."""
    key = bench.acquire(KEY, 0x10)
    bench.graph.forked(bench.call_record("os.fork", None))
    bench.release(key)
    assert bench.misuse(key, Code.USE_AFTER_RELEASE, "CryptEncrypt").inherited


def test_siblings_tell_what_became_of_the_others(bench: Bench) -> None:
    """997 of 1000 were released there: the number and the commonest place."""
    context = bench.acquire(PROV, 0x1)
    keys = [bench.acquire(KEY, 0x10 + n, context) for n in range(4)]
    stack = keys[0].acquired.stack if keys[0].acquired is not None else None
    assert stack is not None
    releases = []
    for key in keys[:3]:
        bench.release(key)
        assert key.ended is not None
        assert key.ended.stack is not None
        releases.append(key.ended.stack)
        stack.count_release(releases[0])
    (finding,) = bench.release(context)
    siblings = finding.siblings
    assert siblings is not None
    assert (siblings.acquired, siblings.released, siblings.where_count) == (4, 3, 3)
    place = bench.ownership.resolve(releases[0])
    assert place is not None
    assert siblings.where == place.first


def test_an_only_child_has_no_siblings(bench: Bench) -> None:
    """There is nothing to compare with."""
    context = bench.acquire(PROV, 0x1)
    bench.acquire(KEY, 0x10, context)
    (finding,) = bench.release(context)
    assert finding.siblings is None


def test_a_finding_keeps_no_handle_alive(bench: Bench) -> None:
    """It quotes handles by value, so that the graph can forget them."""
    context = bench.acquire(PROV, 0x10)
    bench.acquire(KEY, 0x20, context)
    (finding,) = bench.release(context)
    quoted = (finding.handle, *finding.parents, finding.culprit)
    assert {type(one).__name__ for one in quoted} == {"HandleRef"}
    with pytest.raises(AttributeError):
        finding.uses = 1  # type: ignore[misc]
