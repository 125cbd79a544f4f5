"""Objects that release their handle when they go: judged when whoever holds them has let go."""

from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from sampled import sampled

if TYPE_CHECKING:
    from conftest import Suite

OWNER = """
from csp import context, release
class Context:
    def __init__(self): self.handle = context()
    def __del__(self, release=release): release(self.handle)
class Hoarder(Context):
    def __del__(self): pass  # knows the handle, and does not release it
"""


def _test(text: str) -> dict[str, str]:
    """Return a module of tests and what it needs."""
    return {"owner": OWNER, "test_it": f"from owner import Context, Hoarder\n{dedent(text)}"}


PASSING = {
    "fixture that returns": """
        @pytest.fixture
        def value(): return Context()
        def test_a(value): pass
        def test_b(value): pass
        """,
    "fixture that yields": """
        @pytest.fixture
        def value():
            made = Context()
            yield made
        def test_a(value): pass
        """,
    "fixture of a fixture": """
        @pytest.fixture
        def inner(): return Context()
        @pytest.fixture
        def outer(inner): return {"in": [inner, Context()]}
        def test_a(outer): pass
        """,
    "parametrised fixture": """
        @pytest.fixture(params=[1, 2])
        def value(request): return Context()
        def test_a(value): pass
        """,
    "parametrised module fixture": """
        @pytest.fixture(params=[1, 2], scope="module")
        def value(request): return Context()
        def test_a(value): pass
        def test_b(value): pass
        """,
    "fixture that is only used": """
        @pytest.fixture
        def value(): return Context()
        @pytest.mark.usefixtures("value")
        def test_a(): pass
        """,
    "autouse fixture": """
        @pytest.fixture(autouse=True)
        def value(): return Context()
        def test_a(): pass
        """,
    "fixture that is asked for": """
        @pytest.fixture
        def value(): return Context()
        def test_a(request): request.getfixturevalue("value")
        """,
    "class fixture": """
        @pytest.fixture(scope="class")
        def value(): return Context()
        class TestIt:
            def test_a(self, value): pass
            def test_b(self, value): pass
        def test_c(value): pass
        """,
    "module fixture": """
        @pytest.fixture(scope="module")
        def value(): return Context()
        def test_a(value): pass
        def test_b(): pass
        """,
    "session fixture": """
        @pytest.fixture(scope="session")
        def value(): return Context()
        def test_a(value): pass
        def test_b(): pass
        def test_c(value): pass
        """,
    "attribute by setup_method": """
        class TestIt:
            def setup_method(self): self.made = Context()
            def test_a(self): pass
            def test_b(self): pass
        """,
    "attribute of the class": """
        class TestIt:
            def setup_method(self): type(self).made = Context()
            def test_a(self): pass
            def test_b(self): pass
        """,
    "attribute by setup_class": """
        class TestIt:
            def setup_class(cls): cls.made = Context()
            def test_a(self): pass
        """,
    "attribute by a fixture": """
        class TestIt:
            @pytest.fixture(autouse=True)
            def value(self): self.made = Context()
            def test_a(self): pass
            def test_b(self): pass
        """,
    "attribute by setUp": """
        import unittest
        class TestIt(unittest.TestCase):
            def setUp(self): self.made = Context()
            def test_a(self): self.other = Context()
            def test_b(self): pass
        """,
    "finalizer": """
        import weakref
        class Lean: pass
        @pytest.fixture
        def value():
            made, handle = Lean(), context()
            weakref.finalize(made, release, handle)
            return made
        def test_a(value): pass
        """,
    "suspended generator": """
        def managed():
            handle = context()
            try: yield
            finally: release(handle)
        @pytest.fixture
        def value():
            made = managed()
            next(made)
            return made
        def test_a(value): pass
        """,
    "handle object": """
        from csptrace.softcsp import win32crypt
        @pytest.fixture
        def value(): return win32crypt.CryptAcquireContext(None, None, 24, 0xF0000000)
        def test_a(value): pass
        def test_b(value): assert value
        """,
}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, ("-x",)) for name in PASSING),
        ("fixture that returns", ()),
        ("fixture that returns", ("-n1", "--maxfail=1")),
        ("session fixture", ("-n1",)),
    ],
)
def test_what_pytest_still_holds_is_no_leak(
    suite: Suite, name: str, options: tuple[str, ...]
) -> None:
    """A passing test whose object goes with pytest's last reference is all that is reported."""
    if name == "handle object":
        pytest.importorskip("cryptography")
    suite.write(**_test(PASSING[name]))
    plugins = ["xdist"] if "-n1" in options else []
    plain = suite.run(*options, on=False) if not plugins else None
    run = suite.spawn(*options, plugins=plugins) if plugins else suite.run(*options)

    assert set(run.counts) == {"passed"}
    assert run.status == 0
    assert "leaked" not in run.out
    assert plain is None or run.words == plain.words


@pytest.mark.parametrize(
    ("value", "words"), [("Context", ["PASSED"]), ("Hoarder", ["PASSED", "LEAKED"])]
)
def test_what_is_not_released_then_is_a_leak(suite: Suite, value: str, words: list[str]) -> None:
    """When pytest has let go and the handle is still alive, its own test fails, before the next."""
    suite.write(
        **_test(
            f"""
        @pytest.fixture
        def value(): return {value}()
        def test_a(value): pass
        def test_b(): pass
        """
        )
    )
    run = suite.run("--junitxml=junit.xml")

    assert run.words == {"test_a": words, "test_b": ["PASSED"]}
    assert run.status == len(words) - 1
    if len(words) > 1:
        assert run.out.index("::test_a LEAKED") < run.out.index("::test_b")
        assert "(setup, fixture value)" in run.out


@pytest.mark.parametrize("workers", [(), ("-n1",)])
def test_a_leak_beside_what_pytest_holds(suite: Suite, workers: tuple[str, ...]) -> None:
    """What is certain at the teardown is told there, once, although something else has to wait."""
    suite.write(
        **_test(
            """
        @pytest.fixture
        def value(): return Context()
        @pytest.fixture(scope="module")
        def wide(): return Context()
        def test_a(value, wide): context()
        def test_b(value, wide): pass
        def test_c(value, wide): misuse()
        def test_d(value, wide): context()
        """
        )
    )
    run = suite.spawn(*workers, plugins=["xdist"]) if workers else suite.run()

    assert run.counts == {"passed": 4, "leaked": 2, "misused": 1}
    assert run.blamed == {"test_a", "test_c", "test_d"}
    assert run.out.count("(call)") == 3


@pytest.mark.parametrize("scope", ["class", "module", "session"])
def test_a_wide_fixture_whose_value_stays_is_judged_behind_its_last_test(
    suite: Suite, scope: str
) -> None:
    """It is judged when pytest has let go of the value, and reported by itself."""
    suite.write(
        **_test(
            f"""
        @pytest.fixture(scope={scope!r})
        def value(): return Hoarder()
        class TestIt:
            def test_a(self, value): pass
        """
        )
    )
    run = suite.run()

    assert run.counts == {"passed": 1, "leaked": 1}
    assert f"in fixture value ({scope})" in run.out


def test_what_a_destructor_does_wrong_is_its_tests(suite: Suite) -> None:
    """The last words of a test's objects belong to the test, also behind its teardown."""
    suite.write(
        **_test(
            """
        class Clumsy(Context):
            def __del__(self):
                release(self.handle)
                try: release(self.handle)
                except Exception: pass
        @pytest.fixture
        def value(): return Clumsy()
        def test_a(value): pass
        def test_b(): pass
        """
        )
    )
    run = suite.run()

    assert run.counts == {"passed": 2, "misused": 1}
    assert run.words["test_a"] == ["PASSED", "MISUSED"]


FAILING = {
    "local": """
        def test_it():
            made = Context()
            assert not made
        """,
    "local of what it called": """
        def work():
            made = Context()
            raise ValueError(made)
        def test_it(): work()
        """,
    "fixture": """
        @pytest.fixture
        def value(): return Context()
        def test_it(value): assert not value
        """,
    "fixture that is only used": """
        @pytest.fixture(autouse=True)
        def value(): return Context()
        def test_it(): assert False
        """,
    "failing setup": """
        @pytest.fixture
        def value():
            made = Context()
            raise ValueError
        def test_it(value): pass
        """,
    "failing teardown": """
        @pytest.fixture
        def value():
            made = Context()
            yield
            raise ValueError
        def test_it(value): pass
        """,
    "cause": """
        def work():
            made = Context()
            raise ValueError
        def test_it():
            try: work()
            except ValueError as error: raise KeyError from error
        """,
    "context": """
        def work():
            made = Context()
            raise ValueError
        def test_it():
            try: work()
            except ValueError: raise KeyError
        """,
    "group": """
        def work():
            made = Context()
            raise ValueError
        def test_it():
            errors = []
            for _ in range(2):
                try: work()
                except ValueError as error: errors.append(error)
            raise ExceptionGroup("several", errors)
        """,
    "unittest": """
        import unittest
        class TestIt(unittest.TestCase):
            def setUp(self): self.made = Context()
            def test_it(self):
                made = Context()
                self.fail()
        """,
    "class": """
        class TestIt:
            def setup_method(self): self.made = Context()
            def test_it(self): assert False
        """,
    "pytest.fail": """
        def test_it():
            made = Context()
            pytest.fail()
        """,
    "expected": """
        @pytest.mark.xfail
        def test_it():
            made = Context()
            assert not made
        """,
    "skipped": """
        def test_it():
            made = Context()
            pytest.skip()
        """,
    "kept by a plugin": """
        def test_it(request):
            made = Context()
            request.node.everything = [made]
            assert not made
        """,
}


@pytest.mark.parametrize(
    ("name", "behind", "option"),
    [
        *((name, "", "--tb=no") for name in FAILING),
        *((name, "def test_next(): pass\n", "--tb=no") for name in sampled(FAILING, 3)),
        ("local", "", "-l"),
        ("local", "", "--tb=native"),
    ],
)
def test_what_a_traceback_holds_is_no_leak_of_its_own(
    suite: Suite, name: str, behind: str, option: str
) -> None:
    """A test that fails is said to have failed, as without csptrace, and nothing else."""
    suite.write(**_test(FAILING[name]))
    suite.write(test_next=behind)
    plain, run = suite.run(option, on=False), suite.run(option)

    assert run.words == plain.words
    assert run.counts == plain.counts
    assert run.status == plain.status
    assert "finding" not in run.out


def test_what_holds_it_in_the_end_is_said(suite: Suite) -> None:
    """What a traceback or pytest holds until the end is told, and no log says that it leaked."""
    suite.write(
        **_test(
            """
        class TestIt:
            def setup_method(self): self.made = Context()
            def test_a(self): pass
        def test_it():
            made = Context()
            assert not made
        """
        )
    )
    run = suite.spawn("--csptrace-log", "logs")

    run.result.stdout.fnmatch_lines(
        [
            "held by the failure's traceback: HCRYPTPROV acquired at csp.py:* in *::test_it",
            "held by pytest until the session is over: HCRYPTPROV * csp.py:* in *::test_a",
        ]
    )
    assert not [event for event in run.events() if event["event"] == "csptrace.finding"]


@pytest.mark.parametrize("option", [(), ("--pdb",)])
def test_a_failure_does_not_excuse_what_nobody_releases(
    suite: Suite, option: tuple[str, ...]
) -> None:
    """What a failed test leaves behind for good is its leak, wherever the traceback is."""
    suite.write(
        conftest="import pdb\npdb.Pdb.interaction = lambda *_: None",
        **_test(
            """
        def test_a():
            made, prov = Context(), context()
            assert not made
        def test_b():
            made, prov = Hoarder(), context()
            assert not made
        def test_c(): pass
        def test_d():
            made, prov = Context(), context()
            assert not made
        """
        ),
    )
    run = suite.spawn("--tb=no", *option)  # pytester keeps what it has called in this process

    assert run.words["test_a"] == run.words["test_d"] == ["FAILED", "LEAKED"]
    assert run.words["test_b"] == ["FAILED", "LEAKED", "LEAKED"]
    assert run.counts == {"failed": 3, "passed": 1, "leaked": 4}


def test_pytest_asyncio(suite: Suite) -> None:
    """Asynchronous fixtures and tests let go like others."""
    pytest.importorskip("pytest_asyncio", minversion="1.0")
    suite.write(
        **_test(
            """
        import asyncio, pytest_asyncio
        pytestmark = pytest.mark.asyncio
        @pytest_asyncio.fixture
        async def returned(): return Context()
        @pytest_asyncio.fixture
        async def yielded():
            made = Context()
            yield made
        @pytest_asyncio.fixture(scope="module", loop_scope="module")
        async def wide(): return Context()
        async def test_a(returned): await asyncio.sleep(0)
        async def test_b(yielded): await asyncio.sleep(0)
        async def test_c(wide): await asyncio.sleep(0)
        async def test_d(returned):
            made = Context()
            assert not made
        async def test_e(returned): context()
        async def test_f(wide): pass
        """
        )
    )
    run = suite.run("-o", "asyncio_default_fixture_loop_scope=function", plugins=["asyncio"])

    assert run.counts == {"passed": 5, "failed": 1, "leaked": 1}
    assert run.blamed == {"test_e"}


def test_rerunfailures(suite: Suite) -> None:
    """A test is run again for what only the end of its fixtures has decided, too."""
    suite.write(
        **_test(
            """
        kinds = iter([Hoarder, Context])
        @pytest.fixture
        def value(): return next(kinds)()
        def test_leaks_at_first(value): pass
        tried = []
        def test_fails_at_first():
            tried.append(1)
            made = Context()
            assert len(tried) == 2
        @pytest.fixture
        def hoarder(): return Hoarder()
        def test_leaks(hoarder): pass
        """
        )
    )
    run = suite.run("--reruns", "1", plugins=["rerunfailures"])

    assert run.blamed == {"test_leaks"}
    assert run.words["test_leaks_at_first"] == ["PASSED", "RERUN", "PASSED"]
    assert run.words["test_fails_at_first"] == ["RERUN", "PASSED"]
    assert run.out.count("in an earlier attempt: ") == 2
    assert run.status == 1


def test_a_plugin_that_reports_the_last_attempt_only(suite: Suite) -> None:
    """What an attempt that is never reported has left behind counts as little as ever."""
    suite.write(
        conftest="""
        from _pytest.runner import runtestprotocol
        def pytest_runtest_protocol(item, nextitem):
            for _ in range(2): reports = runtestprotocol(item, nextitem=nextitem, log=False)
            for report in reports: item.ihook.pytest_runtest_logreport(report=report)
            return True
        """,
        **_test(
            """
        kinds = iter([Hoarder, Context, Context, Hoarder])
        @pytest.fixture
        def value(): return next(kinds)()
        def test_leaks_at_first(value): pass
        def test_leaks_at_last(value): pass
        """
        ),
    )
    run = suite.run()

    assert run.counts == {"passed": 2, "leaked": 1}
    assert run.blamed == {"test_leaks_at_last"}
    assert "1 in earlier attempts" in run.out


def test_junit_has_one_test_case_for_a_test(suite: Suite) -> None:
    """What is told behind the teardown's own report stands in the test case of the test."""
    suite.write(
        **_test(
            """
        @pytest.fixture
        def value(): return Hoarder()
        def test_a(value): pass
        def test_b(value): context()
        def test_c(): pass
        kept = []
        def test_d():
            made = Hoarder()
            kept.append(made)
        """
        )
    )
    run = suite.run("--junitxml=junit.xml")
    (whole,) = ET.parse(run.folder / "junit.xml").getroot()

    assert run.counts == {"passed": 4, "leaked": 4}
    cases = [(case.get("name"), [child.tag for child in case]) for case in whole]
    assert cases[0] == ("test_a", ["properties", "error"])
    assert cases[1:3] == [("test_b", ["properties", "error"])] * 2
    assert cases[3] == ("test_c", [])
    assert int(whole.get("tests", "")) == len(cases)
    assert int(whole.get("errors", "")) == 4


def test_junit_does_not_have_what_was_withdrawn(suite: Suite) -> None:
    """A leak that was told behind the teardown, and released after all, leaves no trace."""
    suite.write(
        **_test(
            """
        kept = []
        @pytest.fixture
        def value():
            made = Hoarder()
            kept.append(made.handle)
            return made
        def test_a(value): pass
        def test_b(): release(kept.pop())
        """
        )
    )
    run = suite.run("--junitxml=junit.xml")
    (whole,) = ET.parse(run.folder / "junit.xml").getroot()

    assert run.counts == {"passed": 2, "withdrawn": 1}
    assert [(case.get("name"), len(case)) for case in whole] == [("test_a", 0), ("test_b", 0)]
    assert (whole.get("tests"), whole.get("errors")) == ("2", "0")


def test_the_number_of_reports_is_that_of_pytest(suite: Suite) -> None:
    """A further report comes only where a test fails for what has to wait; a leak needs none."""
    suite.write(
        conftest="""
        def pytest_runtest_logreport(report):
            print(f"\\nreport {report.nodeid} {report.when} {report.outcome}")
        """,
        **_test(
            """
        @pytest.fixture
        def good(): return Context()
        @pytest.fixture
        def bad(): return Hoarder()
        def test_a(good): pass
        def test_b(): context()
        def test_c(bad): pass
        """
        ),
    )
    run = suite.run("-s")

    found = [line.split()[1:] for line in run.result.outlines if line.startswith("report ")]
    phases = [("setup", "passed"), ("call", "passed"), ("teardown", "passed")]
    leaked = [*phases[:2], ("teardown", "failed")]
    assert [tuple(each[1:]) for each in found] == [
        *phases,
        *leaked,
        *phases,
        ("teardown", "failed"),
    ]
