"""Findings in words: what leaked, where it came from, where it died, what to do."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING

import pytest

from csptrace.apis.cryptoapi.spec import HASH, KEY, PROV
from csptrace.findings.catalogue import Code
from csptrace.findings.errors import HandleLeak
from csptrace.findings.judgement import held_too_long, leaked_at_exit
from csptrace.findings.misuse import Misused
from csptrace.findings.text import as_lines, as_text, explain, summary
from csptrace.graph.handle import Scope
from csptrace.graph.sites import Thread
from csptrace.terminal import Span, escape, render

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Bench
    from csptrace import Tracer
    from csptrace.findings.finding import Finding

HERE = os.path.relpath(__file__)


def below() -> int:
    """Return the number of the line after the caller's."""
    return sys._getframe(1).f_lineno + 1


def text_of(finding: Finding, *, redact: bool = False) -> str:
    """Return a finding as it is printed."""
    return as_text(explain(finding, redact=redact))


def fix_of(finding: Finding) -> str:
    """Return the line that says what to do."""
    (line,) = [line for line in text_of(finding).splitlines() if line.startswith("  fix: ")]
    return line.removeprefix("  fix: ")


# --- one test for each code ------------------------------------------------------------------


def test_leaked_at_release(bench: Bench) -> None:
    """It names the key, its acquisition, the context's release, and the order to keep."""
    context = bench.acquire(PROV, 0x10)
    made = below()
    bench.acquire(KEY, 0x20, context)
    gone = below()
    (finding,) = bench.release(context)
    text = text_of(finding)
    assert text.startswith("leaked-at-release: HCRYPTKEY 0x00000020, a key\n")
    assert "still alive when HCRYPTPROV 0x00000010 was released" in text
    assert "acquired by CryptGenKey" in text
    assert f"> {HERE}:{made} in test_leaked_at_release" in text
    assert "provider context released by CryptReleaseContext" in text
    assert f"> {HERE}:{gone} in test_leaked_at_release" in text
    assert fix_of(finding).startswith(
        f"call CryptDestroyKey before CryptReleaseContext at {HERE}:{gone}"
    )
    assert text.endswith(
        f"  more: csptrace guide leaked-at-release\n  fingerprint: {finding.fingerprint}"
    )


@pytest.mark.parametrize(
    ("scope", "when"), [("", "the program ended"), ("a\nb", "scope 'a\\nb' ended")]
)
def test_leaked_at_exit(bench: Bench, scope: str, when: str) -> None:
    """It names the acquisition and what ended: the program or a scope."""
    made = below()
    key = bench.acquire(KEY, 0x20)
    (finding,) = leaked_at_exit([key], bench.ownership.resolve, 0, scope)
    text = text_of(finding)
    assert f"It was still alive when {when}." in text
    assert f"> {HERE}:{made} in test_leaked_at_exit" in text
    assert fix_of(finding).startswith("call CryptDestroyKey when")


@pytest.mark.parametrize(
    ("released", "end"), [(True, "; its destructor released it."), (False, ".")]
)
def test_lost(bench: Bench, end: str, *, released: bool) -> None:
    """It says that the object went, what its destructor did, and not to rely on that."""
    (finding,) = bench.collect(bench.acquire(KEY, 0x20), released=released)
    text = text_of(finding)
    assert f"The last Python reference to it went away before it was released{end}\n" in text
    assert "  acquired by CryptGenKey" in text
    assert "  collected by garbage collection" in text
    assert fix_of(finding).startswith("call CryptDestroyKey yourself")


def test_use_after_release(bench: Bench) -> None:
    """It names the three places: acquired, released, misused."""
    key = bench.acquire(KEY, 0x20)
    gone = below()
    bench.release(key)
    finding = bench.misuse(key, Code.USE_AFTER_RELEASE, "CryptEncrypt")
    text = text_of(finding)
    assert "CryptEncrypt was called with it after it had been released." in text
    places = [place.title for place in explain(finding).places]
    assert places == [
        "acquired by CryptGenKey",
        "released by CryptDestroyKey",
        "misused by CryptEncrypt",
    ]
    assert f"after CryptDestroyKey at {HERE}:{gone};" in fix_of(finding)


def test_use_after_invalidation(bench: Bench) -> None:
    """It blames the context's release and says where that was."""
    context = bench.acquire(PROV, 0x10)
    key = bench.acquire(KEY, 0x20, context)
    gone = below()
    bench.release(context)
    finding = bench.misuse(key, Code.USE_AFTER_INVALIDATION, "CryptEncrypt", context)
    text = text_of(finding)
    assert "CryptEncrypt was called with it, but the release of HCRYPTPROV 0x00000010" in text
    assert "provider context released by CryptReleaseContext" in text
    assert fix_of(finding).startswith(f"use it before CryptReleaseContext at {HERE}:{gone},")


def test_double_release(bench: Bench) -> None:
    """It shows the first release, and warns if the value belongs to somebody else by now."""
    key = bench.acquire(KEY, 0x20)
    gone = below()
    bench.release(key)
    finding = bench.misuse(key, Code.DOUBLE_RELEASE, "CryptDestroyKey")
    assert "CryptDestroyKey was called with it, but it had been released" in text_of(finding)
    assert fix_of(finding) == f"remove one of the two releases; the first is at {HERE}:{gone}"
    new = bench.acquire(HASH, 0x20)
    finding = bench.misuse(key, Code.DOUBLE_RELEASE, "CryptDestroyKey", reused_by=new)
    assert fix_of(finding).endswith("was meant, release it with CryptDestroyHash")
    assert "the value belongs to another handle now: HCRYPTHASH #1, a hash" in text_of(finding)


def test_double_release_without_a_stack(bench: Bench) -> None:
    """At level `count` there is no place to name."""
    key = bench.acquire(KEY, 0x20)
    bench.release(key)
    finding = bench.misuse(key, Code.DOUBLE_RELEASE, "CryptDestroyKey")
    bench.graph.begin_release(key)
    assert key.ended is not None
    key.ended = key.ended._replace(stack=None)
    finding = bench.misuse(key, Code.DOUBLE_RELEASE, "CryptDestroyKey")
    assert fix_of(finding) == "remove one of the two releases; the first is shown above"


def test_wrong_release(bench: Bench) -> None:
    """It names the function that would have been right."""
    hash_ = bench.acquire(HASH, 0x20)
    finding = bench.misuse(hash_, Code.WRONG_RELEASE, "CryptDestroyKey")
    assert "CryptDestroyKey was called with it, which does not release a hash." in text_of(finding)
    assert fix_of(finding) == "release it with CryptDestroyHash"


def test_out_of_order_release(bench: Bench) -> None:
    """It says that nothing is freed any more, and what to move where."""
    context = bench.acquire(PROV, 0x10)
    key = bench.acquire(KEY, 0x20, context)
    gone = below()
    bench.release(context)
    finding = bench.misuse(key, Code.OUT_OF_ORDER_RELEASE, "CryptDestroyKey", context)
    assert "only after HCRYPTPROV 0x00000010 had been released" in text_of(finding)
    assert "the handle stays leaked" in text_of(finding)
    wanted = f"move CryptDestroyKey in front of CryptReleaseContext at {HERE}:{gone}"
    assert fix_of(finding) == wanted


def test_stale_dependency(bench: Bench) -> None:
    """It names the key that the HMAC hash needs."""
    key = bench.acquire(KEY, 0x20)
    hmac = bench.acquire(HASH, 0x30, None, key)
    bench.release(key)
    finding = bench.misuse(hmac, Code.STALE_DEPENDENCY, "CryptHashData", key)
    text = text_of(finding)
    assert "but HCRYPTKEY 0x00000020, which it depends on, is gone" in text
    assert "key released by CryptDestroyKey" in text
    assert fix_of(finding) == "keep the key until this hash is finished"


def test_failed_release(bench: Bench) -> None:
    """It says who refused and that the handle lives on."""
    (finding,) = bench.release(bench.acquire(KEY, 0x20), released=False)
    text = text_of(finding)
    assert "CryptDestroyKey failed, and the handle stays alive." in text
    assert "refused by CryptDestroyKey" in text
    assert fix_of(finding) == "check the result of CryptDestroyKey and why the provider refused"


def test_held_too_long(bench: Bench) -> None:
    """It says how old the handle is and where it was acquired."""
    made = below()
    key = bench.acquire(KEY, 0x20)
    (finding,) = held_too_long([key], lambda _key: [], bench.ownership.resolve, 0)
    text = text_of(finding)
    assert re.search(r"It has been alive for [\d,.]+ seconds and was not released yet\.", text)
    assert f"> {HERE}:{made} in test_held_too_long" in text
    assert "cost:" not in text
    assert fix_of(finding).startswith("call CryptDestroyKey as soon as")


def test_what_a_leak_costs_is_said(bench: Bench) -> None:
    """A leak says what it costs, in the words of the spec; a misuse costs nothing of the sort."""
    (finding,) = leaked_at_exit([bench.acquire(KEY, 0x20)], bench.ownership.resolve, 0, "")
    assert f"\n  cost: {KEY.harm}\n" in text_of(finding)
    (refused,) = bench.release(bench.acquire(KEY, 0x30), released=False)
    assert "cost:" not in text_of(refused)


def test_release_while_in_use(bench: Bench) -> None:
    """It names the call that another thread is inside of, with its stack."""
    prov = bench.acquire(PROV, 0x10)
    here = sys._getframe()
    meanwhile = bench.call_record("CryptGenRandom", here)._replace(thread=Thread(7, "worker"))
    misused = bench.call_record("CryptReleaseContext", here)
    (finding,) = bench.judge(
        Misused(prov, misused, Code.RELEASE_WHILE_IN_USE, None, None, meanwhile)
    )
    text = text_of(finding)
    assert "CryptReleaseContext was called while another thread was in CryptGenRandom" in text
    assert "in use by CryptGenRandom in thread worker" in text
    assert fix_of(finding) == "wait for the other thread (join it) before CryptReleaseContext"


def test_every_code_has_a_test_here() -> None:
    """A new code needs its words, and a test of them."""
    for code in Code:
        assert f"test_{code.value.replace('-', '_')}" in globals()


def test_a_culprit_without_a_release_function_leaves_no_gap(bench: Bench) -> None:
    """A kind may not name its release; the sentence still reads."""
    from csptrace.spec.kinds import Kind

    session = Kind("HCRYPTPROV", "session")
    object_ = Kind("HCRYPTKEY", "object", under=session, orderly=True)
    parent = bench.acquire(session, 0x10)
    bench.acquire(object_, 0x20, parent)
    (finding,) = bench.release(parent)
    assert fix_of(finding).startswith("call its release function before the parent's release at ")


# --- further hints ---------------------------------------------------------------------------


def test_a_recycled_value_shows_its_generation(bench: Bench) -> None:
    """The number tells handles with one value apart."""
    bench.release(bench.acquire(KEY, 0x20))
    (finding,) = leaked_at_exit([bench.acquire(KEY, 0x20)], bench.ownership.resolve, 0, "")
    assert "HCRYPTKEY 0x00000020 (#2 with this value), a key" in text_of(finding)


def test_children_siblings_and_forks_are_mentioned(bench: Bench) -> None:
    """What else is known stands below the places."""
    contexts = [bench.acquire(PROV, value) for value in (0x10, 0x11, 0x12)]
    stack = contexts[0].acquired.stack if contexts[0].acquired else None
    assert stack is not None
    bench.acquire(KEY, 0x20, contexts[0])
    bench.acquire(KEY, 0x21, contexts[0])
    (finding,) = leaked_at_exit(contexts[:1], bench.ownership.resolve, 1, "")
    text = text_of(finding)
    assert "  under it: 2 HCRYPTKEY" in text
    assert "none of the 3 handles acquired there was released so far" in text
    assert "acquired by the parent process, before a fork" in text
    gone = below()
    bench.release(contexts[1])
    assert contexts[1].ended is not None
    assert contexts[1].ended.stack is not None
    stack.count_release(contexts[1].ended.stack)
    (finding,) = leaked_at_exit(contexts[:1], bench.ownership.resolve, 0, "")
    wanted = f"1 of 3 handles acquired there were released, at {HERE}:{gone}"
    assert wanted in text_of(finding)
    stack.released = 2
    (finding,) = leaked_at_exit(contexts[:1], bench.ownership.resolve, 0, "")
    assert "2 of 3 handles acquired there were released, 1 at " in text_of(finding)


def test_threads_and_tasks_are_named_unless_it_is_the_main_one(bench: Bench) -> None:
    """Who did it matters as soon as there are several."""
    (finding,) = leaked_at_exit([bench.acquire(KEY, 0x20)], bench.ownership.resolve, 0, "")
    assert " in thread " not in text_of(finding)
    bench.thread, bench.task = Thread(2, "worker\x1b[2J"), "task\n1"
    (finding,) = leaked_at_exit([bench.acquire(KEY, 0x30)], bench.ownership.resolve, 0, "")
    assert "in thread worker\\x1b[2J in task task\\n1" in text_of(finding)


def test_long_stacks_are_cut_and_say_so(bench: Bench) -> None:
    """Four frames are shown from the user's first on, the others are counted."""

    def dive(levels: int) -> Finding:
        if levels:
            return dive(levels - 1)
        (finding,) = leaked_at_exit([bench.acquire(KEY, 0x20)], bench.ownership.resolve, 0, "")
        return finding

    finding = dive(8)
    (place,) = explain(finding).places
    assert len(place.lines) == 4
    assert place.more == 12
    assert "… 12 more frames" in text_of(finding)
    assert [line.marked for line in place.lines] == [True, False, False, False]
    assert "bench.acquire(KEY, ...)" in place.lines[0].source
    assert [line.source for line in place.lines[1:]] == [""] * 3


# --- what must not get out -------------------------------------------------------------------

NASTY = "evil\x1b]0;title\x07\r\n\u202ename\ud800"


def test_escape_leaves_nothing_that_a_terminal_obeys() -> None:
    """Control characters, line ends, directions and lone surrogates are made visible."""
    assert escape(NASTY) == "evil\\x1b]0;title\\x07\\r\\n\\u202ename\\ud800"
    assert escape("Schlüssel №1 鍵") == "Schlüssel №1 鍵"


def test_everything_from_the_program_is_escaped(bench: Bench, tmp_path: Path) -> None:
    """Container, scope, file, function, thread and source line cannot move the cursor."""
    path = tmp_path / "na\x1b[1mme\n.py"
    source = "def f\u00e9(bench, kind):\n    return bench.acquire(kind, 32, name=N) #\x1b[31m\n"
    path.write_text(source, encoding="utf-8")
    namespace = {"N": NASTY}
    exec(compile(source, str(path), "exec"), namespace)
    bench.thread = Thread(2, NASTY)
    bench.scope = Scope(NASTY, 1, None)
    key = namespace["fé"](bench, PROV)  # type: ignore[operator]
    (finding,) = leaked_at_exit([key], bench.ownership.resolve, 0, NASTY)
    lines = text_of(finding).splitlines()
    assert all(line.isprintable() for line in lines)
    (place,) = explain(finding).places
    assert len(lines) == 2 + 1 + len(place.lines) + 1 + (1 if place.more else 0) + 2 + 2
    assert "'evil\\x1b]0;title\\x07\\r\\n\\u202ename\\ud800'" in lines[0]


def test_container_names_can_be_left_out(bench: Bench) -> None:
    """With `redact` a name is in no part of the text, alone or in a summary."""
    name = "salary-key"
    contexts = [bench.acquire(PROV, value, name=name) for value in (0x10, 0x20)]
    found = leaked_at_exit(contexts, bench.ownership.resolve, 0, "")
    assert f"HCRYPTPROV 0x00000010 {name!r}, a provider context" in text_of(found[0])
    assert "HCRYPTPROV 0x00000010 <redacted>, a" in text_of(found[0], redact=True)
    assert name not in text_of(found[0], redact=True)
    assert summary(found).count(name) == 2
    assert name not in summary(found, redact=True)


def test_a_summary_counts_and_lists(bench: Bench) -> None:
    """One leak is told by itself, several under a head line."""
    handles = [bench.acquire(KEY, 0x20), bench.acquire(HASH, 0x30)]
    found = leaked_at_exit(handles, bench.ownership.resolve, 0, "")
    assert summary(found[:1]) == text_of(found[0])
    text = summary(found)
    assert text.splitlines()[0] == "2 handles were leaked"
    assert text.endswith("\n".join(map(text_of, found)))


def test_paint_gets_each_part_with_its_role(bench: Bench) -> None:
    """Colour is added from outside and changes no word."""
    (finding,) = leaked_at_exit([bench.acquire(KEY, 0x20)], bench.ownership.resolve, 0, "")
    explanation = explain(finding)
    lines = as_lines(explanation)
    spans = [
        piece
        for line in lines
        for piece in (line if isinstance(line, tuple) else (line,))
        if isinstance(piece, Span) and piece.tone
    ]
    assert {span.tone for span in spans} == {
        *("headline", "place", "mark", "source", "aside", "remedy"),
    }
    coloured = render(lines, colour=True)
    assert re.sub(r"\x1b\[[0-9]+m", "", coloured) == as_text(explanation) + "\n"


def test_files_below_the_working_directory_are_relative(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Elsewhere they are absolute, also when the working directory is gone."""
    (finding,) = leaked_at_exit([bench.acquire(KEY, 0x20)], bench.ownership.resolve, 0, "")
    monkeypatch.chdir(os.path.dirname(__file__))
    assert f"> {os.path.basename(__file__)}:" in text_of(finding)
    monkeypatch.chdir(tmp_path)
    assert f"> {__file__}:" in text_of(finding)

    def gone() -> str:
        raise FileNotFoundError

    monkeypatch.setattr(os, "getcwd", gone)
    assert f"> {__file__}:" in text_of(finding)


def test_a_leak_that_is_raised_says_the_same(trace: Callable[..., Tracer]) -> None:
    """The error's text is built by the same words, with the leaked key in it."""
    from csptrace.softcsp import win32crypt

    trace(on_leak="raise")
    context = win32crypt.CryptAcquireContext(None, None, 24, 0xF0000000)
    key = context.CryptGenKey(0x6610, 0, 0)
    with pytest.raises(HandleLeak) as caught:
        context.CryptReleaseContext(0)
    (finding,) = caught.value.findings
    assert str(caught.value) == text_of(finding)
    assert key is not None
