"""Test suites in which everything happens that can happen to a test, for comparing two runs.

The fixed ones have one of each; the random ones mix them. Each has the same outcomes whether it is
traced or not, unless csptrace says something about a test that it must not say.
"""

from __future__ import annotations

import random
from textwrap import indent
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["BROKEN", "CLEAN", "GUILTY", "LEAKS", "RECORDER", "SUPPORT", "WRONG", "random_suite"]

BROKEN: Final = """
@pytest.fixture(autouse=True, scope="session")
def broken():
    from csptrace.frontends.pytest_plugin import traced_session
    before = traced_session.TracedSession.record
    traced_session.TracedSession.record = lambda *args: 1 / 0
    yield
    traced_session.TracedSession.record = before
"""
"""What breaks the plugin while the tests behind it run."""

SUPPORT: Final = """
from pathlib import Path
from csp import advapi32, context, key, release

class Context:
    def __init__(self): self.handle = context()
    def __enter__(self): return self
    def __exit__(self, *_): self.close()
    def __del__(self, release=release): self.close(release)
    def close(self, release=release):
        handle, self.handle = self.handle, None
        if handle is not None: release(handle)

def fails():
    made = Context()
    raise ValueError("in what was called")

def fails_again():
    try: fails()
    except ValueError as error: raise KeyError("with a cause") from error

def fails_often():
    errors = []
    for _ in range(3):
        try: fails()
        except ValueError as error: errors.append(error)
    raise ExceptionGroup("several", errors)

def note(request, times):
    with Path(__file__).with_name("leaks.txt").open("a") as file:
        file.write(f"{request.node.nodeid}\\n" * times)

def leak(request, times):
    note(request, times)
    for _ in range(times): context()

def leak_keys(request, times):
    note(request, times)
    prov = context()
    for _ in range(times): key(prov)
    release(prov)

def leak_in_turn(request, times):  # each in a cycle, in a function of its own
    note(request, 1)
    prov = context()
    itself = [prov]
    itself.append(itself)
    if times > 1: leak_in_turn(request, times - 1)

def release_twice():
    prov = context()
    release(prov)
    advapi32.CryptReleaseContext(prov, 0)

def lose_a_key():
    prov = context()
    key(prov)
    release(prov)
"""
"""What the suites are about: an object that releases its handle, failures, and wrong calls."""

RECORDER: Final = '''
import json, re
from pathlib import Path
import pytest

def pytest_configure(config):
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder(Path(__file__).with_name("reports.jsonl")))

def plain(text):
    """Leave out addresses, and the frames of pluggy, which there are more of with more plugins."""
    lines, inside = [], False
    for line in re.sub("0x[0-9a-f]+", "0x", text).splitlines():
        content = line.lstrip(" |+")
        indent = len(line) - len(content)
        if content.startswith('File "'):
            inside = "pluggy" in content and indent
        if not inside or (indent <= inside and not content.startswith('File "')):
            inside = False
            lines.append(line)
    return lines

class Recorder:
    """Writes down each report, as a plugin of the user's would see it."""

    def __init__(self, path):
        self.file = path.open("a")

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report):
        text = plain(str(report.longrepr))
        sections = [(name, content) for name, content in report.sections]
        fields = [report.nodeid, report.when, report.outcome, getattr(report, "wasxfail", None)]
        context = getattr(report, "context", None)
        self.file.write(json.dumps([*fields, str(context), text, sections]) + "\\n")

    def pytest_unconfigure(self):
        self.file.close()
'''
"""A conftest.py that records what a run reports, in its order."""

CLEAN: Final = {
    "test_outcomes": """
        import unittest
        @pytest.fixture
        def value(): return Context()
        @pytest.fixture
        def broken():
            made = Context()
            raise ValueError
        @pytest.fixture
        def breaks():
            made = Context()
            yield made
            raise ValueError
        @pytest.fixture(scope="module", params=["a", "b"])
        def wide(request): return Context()
        @pytest.fixture(scope="session", autouse=True)
        def widest():
            with Context() as made: yield made
        def test_passes(value): print("said")
        def test_fails(value):
            made = Context()
            assert not made
        def test_breaks(broken): pass
        def test_breaks_in_the_end(breaks): pass
        def test_fails_and_breaks(breaks): assert not breaks
        def test_skips(value): pytest.skip("why")
        @pytest.mark.skip(reason="why")
        def test_is_skipped(): pass
        def test_fails_by_name():
            made = Context()
            pytest.fail("why")
        @pytest.mark.xfail(reason="why")
        def test_xfails(value): assert not value
        @pytest.mark.xfail(reason="why")
        def test_xpasses(value): pass
        @pytest.mark.xfail(reason="why", strict=True)
        def test_xpasses_strictly(value): pass
        @pytest.mark.xfail(raises=KeyError, reason="why")
        def test_xfails_otherwise(value): raise ValueError
        def test_xfails_by_name(value): pytest.xfail("why")
        @pytest.mark.parametrize("number", [1, 2, 3])
        def test_many(value, number): assert number != 2
        def test_each(wide): assert wide
        @pytest.mark.parametrize("call", [fails, fails_again, fails_often])
        def test_called(call): call()
        class TestClass:
            def setup_method(self): self.made = Context()
            def teardown_method(self): self.gone = True
            def test_passes(self): pass
            def test_fails(self): assert not self.made
        class TestUnits(unittest.TestCase):
            def setUp(self): self.made = Context()
            def test_passes(self): pass
            def test_fails(self):
                made = Context()
                self.fail()
            def test_raises(self): fails_again()
            @unittest.expectedFailure
            def test_expected(self):
                made = Context()
                self.fail()
            @unittest.expectedFailure
            def test_unexpected(self): pass
            @unittest.skip("why")
            def test_skipped(self): pass
            def test_parts(self):
                for number in range(3):
                    with self.subTest(number=number):
                        made = Context()
                        self.assertNotEqual(number, 1)
        """,
    "test_reports": """
        @pytest.fixture
        def value(): return Context()
        def test_first(value): pass
        def test_second(value):
            made = Context()
            assert not made
        def test_third(value): pass
        def test_fourth(value): assert not value
        def test_fifth(value): pass
        """,
    "test_subtests": """
        def test_parts(subtests):
            for number in range(3):
                with subtests.test(number=number):
                    made = Context()
                    assert number != 1
        """,
}
"""Suites that leak nothing and make no wrong call, whatever else happens in them."""

GUILTY: Final = {
    "test_leaks": """
        def test_passes(): context()
        def test_fails():
            context()
            assert False
        def test_loses(): lose_a_key()
        def test_skips():
            context()
            pytest.skip("why")
        @pytest.mark.xfail(reason="why", strict=True)
        def test_xfails():
            context()
            assert False
        @pytest.fixture(scope="module")
        def wide(): return context()
        def test_wide(wide): pass
        @pytest.fixture
        def breaks():
            yield context()
            raise ValueError
        def test_breaks(breaks): pass
        kept = []
        def test_keeps(): kept.append(context())
        def test_releases(): release(kept.pop())
        """,
    "test_misuses": """
        import unittest
        def test_double(): release_twice()
        def test_caught():
            prov = context()
            release(prov)
            with pytest.raises(AssertionError): release(prov)
        class TestUnits(unittest.TestCase):
            def test_refused(self):
                prov = context()
                release(prov)
                self.assertRaises(AssertionError, release, prov)
            def test_asked(self):
                prov = context()
                release(prov)
                self.assertFalse(advapi32.CryptGenRandom(prov, 0, None))
        @pytest.fixture
        def clumsy():
            yield
            release_twice()
        def test_teardown(clumsy): pass
        @pytest.mark.xfail(strict=True, raises=AssertionError)
        def test_expected():
            prov = context()
            release(prov)
            release(prov)
        """,
}
"""Suites that leak and make wrong calls, which are only reported in soft mode."""

_HELD: Final = (
    "made = Context()",
    "made = [Context(), {'in': Context()}]",
    "with Context(): pass",
    "request.getfixturevalue('asked')",
    "request.node.kept_by_a_plugin = Context()",
    "made = (Context() for _ in range(2)); next(made)",
)
_ENDS: Final = (
    *("pass", "pass", "pass", "assert False", "pytest.skip('why')", "pytest.fail('why')"),
    *("fails()", "fails_again()", "fails_often()", "pytest.xfail('why')"),
)
WRONG: Final = ("context()", "release_twice()", "lose_a_key()", "key(context())")
LEAKS: Final = ("leak(request, 2)", "leak_keys(request, 3)", "leak_in_turn(request, 3)")
_MARKS: Final = (
    *("", "", ""),
    *("@pytest.mark.xfail", "@pytest.mark.xfail(strict=True)"),
    "@pytest.mark.parametrize('number', [1, 2])",
)


def random_suite(seed: int, wrong: Sequence[str] = ()) -> str:
    """Return a module of tests.

    Args:
        seed: the same seed makes the same module.
        wrong: what some of the tests do: `WRONG`, or `LEAKS`, which are written to `leaks.txt`.
    """
    dice = random.Random(seed)
    fixtures, names = _fixtures(dice)
    parts = [fixtures]
    number = 0
    for group in range(4):
        kind = dice.choice(("functions", "class"))
        lines = []
        for _ in range(dice.randint(2, 4)):
            number += 1
            lines.append(_test(dice, number, names, wrong, method=kind == "class"))
        text = "\n".join(lines)
        if kind == "class":
            setup = dice.choice(("self.made = Context()", "pass"))
            text = f"class TestGroup{group}:\n" + indent(
                f"def setup_method(self): {setup}\n{text}", "    "
            )
        parts.append(text)
    return "\n".join(parts)


def _fixtures(dice: random.Random) -> tuple[str, list[str]]:
    lines, names = ["@pytest.fixture\ndef asked(): return Context()"], []
    for number in range(5):
        name = f"value{number}"
        scope = dice.choice(("function", "function", "class", "module", "session"))
        options = [f"scope={scope!r}"]
        if dice.random() < 0.2:
            options.append("autouse=True")
        arguments = ""
        if dice.random() < 0.2:
            options.append("params=[1, 2]")
            arguments = "request"
        body = dice.choice(
            (
                "return Context()",
                "made = Context()\nyield made",
                "with Context() as made: yield made",
                "made = Context()\nyield\nraise ValueError",
            )
        )
        lines.append(
            f"@pytest.fixture({', '.join(options)})\ndef {name}({arguments}):\n"
            + indent(body, "    ")
        )
        names.append(name)
    return "\n".join(lines), names


def _test(
    dice: random.Random, number: int, names: list[str], wrong: Sequence[str], *, method: bool
) -> str:
    mark = dice.choice(_MARKS)
    arguments = ["self"] if method else []
    arguments += ["request", *dice.sample(names, dice.randint(0, 2))]
    if "number" in mark:
        arguments.append("number")
    steps = [dice.choice(_HELD) for _ in range(dice.randint(0, 2))]
    if wrong and dice.random() < 0.6:
        steps.insert(dice.randint(0, len(steps)), dice.choice(wrong))
    steps.append(dice.choice(_ENDS))
    head = f"{mark}\n" if mark else ""
    return f"{head}def test_{number}({', '.join(arguments)}):\n" + indent("\n".join(steps), "    ")
