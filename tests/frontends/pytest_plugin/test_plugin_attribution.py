"""A finding belongs to the test whose code acquired or misused the handle, and to nobody else.

Each rule has a run in which another test would be blamed if the rule were broken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Suite


def test_the_test_that_leaks_fails_and_no_other(suite: Suite) -> None:
    """Neither the test before nor the one behind it is blamed, whichever way it leaks."""
    suite.write(
        test_it="""
        def test_before(): tidy()
        def test_leaks_a_context(): context()
        def test_between(): tidy()
        def test_leaks_a_key():
            prov = context()
            key(prov)
            release(prov)
        def test_behind(): tidy()
        """
    )
    run = suite.run()

    assert run.blamed == {"test_leaks_a_context", "test_leaks_a_key"}
    assert run.counts == {"passed": 5, "leaked": 2}
    assert run.status == 1


def test_phase_and_fixture_are_named(suite: Suite) -> None:
    """What a fixture of the test acquires in its setup is said to be the fixture's."""
    suite.write(
        test_it="""
        @pytest.fixture
        def inner(): return context()
        @pytest.fixture
        def outer(inner):
            yield context()
            context()
        def test_it(outer): context()
        """
    )
    run = suite.run()

    assert run.blamed == {"test_it"}
    run.result.stdout.fnmatch_lines_random(
        [
            "  in test_it.py::test_it (setup, fixture inner)",
            "  in test_it.py::test_it (setup, fixture outer)",
            "  in test_it.py::test_it (call)",
            "  in test_it.py::test_it (teardown)",
        ]
    )


def test_released_by_a_fixture_of_the_test_is_no_leak(suite: Suite) -> None:
    """A handle of the call may be released in the teardown, and a fixture's by another fixture."""
    suite.write(
        test_it="""
        @pytest.fixture
        def bin():
            handles = []
            yield handles
            for handle in handles: release(handle)
        @pytest.fixture
        def prov(bin):
            bin.append(context())
            return bin[0]
        def test_call(bin): bin.append(context())
        def test_fixture(prov): pass
        """
    )
    assert suite.run().counts == {"passed": 2}


def test_a_class_fixture_of_a_function_is_judged_behind_it(suite: Suite) -> None:
    """Without a class, class scope ends with the test, also if the module goes on."""
    suite.write(
        test_it="""
        @pytest.fixture(scope="class")
        def leaky(): return context()
        def test_first(leaky): pass
        def test_second(): tidy()
        """
    )
    run = suite.run()

    assert run.counts == {"passed": 2, "leaked": 1}
    assert run.out.index("fixture leaky (class)") < run.out.index("::test_second")


def test_handles_that_a_thread_releases_in_the_next_test(suite: Suite) -> None:
    """A test that has released everything is not judged again for what its thread does later."""
    suite.write(
        test_it="""
        import threading
        go, done = threading.Event(), threading.Event()
        def late():
            go.wait(30)
            context()
            done.set()
        def test_starts():
            threading.Thread(target=late).start()
            tidy()
        def test_next():
            go.set()
            assert done.wait(30)
            tidy()
        """
    )
    run = suite.run()

    assert run.counts == {"passed": 2, "leaked": 1}
    assert "in test_it.py::test_starts (after the test)" in run.out


@pytest.mark.parametrize("scope", ["class", "module", "package", "session"])
def test_a_wide_fixture_is_judged_when_its_scope_ends(suite: Suite, scope: str) -> None:
    """No test is blamed for what a wide fixture holds or leaks; the fixture is."""
    suite.write(
        **{
            "pkg/__init__": "",
            "pkg/conftest": f"""
            import pytest, csp
            @pytest.fixture(scope={scope!r})
            def held():
                prov = csp.context()
                yield prov
                csp.release(prov)
            @pytest.fixture(scope={scope!r})
            def leaky(): return csp.context()
            """,
            "pkg/test_it": """
            class TestIt:
                def test_first(self, held, leaky): pass
                def test_second(self, held): csp.key(held)
                def test_third(self, leaky): csp.tidy()
            """,
            "test_last": """
            def test_last(): tidy()
            """,
        }
    )
    run = suite.run()

    of = {
        "class": "pkg/test_it.py::TestIt",
        "module": "pkg/test_it.py",
        "package": "pkg",
        "session": "the session",
    }[scope]
    assert run.counts == {"passed": 4, "leaked": 2}
    late = scope == "session"
    assert (run.out.index("fixture leaky") > run.out.index("::test_last")) is late
    assert run.words["test_second"] == ["PASSED", "LEAKED"]
    assert run.words["test_first"] == run.words["test_third"] == ["PASSED"]
    run.result.stdout.fnmatch_lines([f"  in fixture leaky ({scope}) of {of}"])
    assert "fixture held" not in run.out


def test_a_wide_fixture_may_leave_the_release_to_another(suite: Suite) -> None:
    """It is judged at the end of its scope, not when it is finalised itself."""
    suite.write(
        test_it="""
        @pytest.fixture(scope="module")
        def bin():
            handles = []
            yield handles
            for handle in handles: release(handle)
        @pytest.fixture(scope="module")
        def prov(bin):
            bin.append(context())
            return bin[0]
        def test_it(prov): pass
        """
    )
    assert suite.run().counts == {"passed": 1}


def test_a_fixture_is_judged_once_for_each_parameter(suite: Suite) -> None:
    """Each instance of a parametrised fixture is an owner of its own."""
    suite.write(
        test_it="""
        @pytest.fixture(scope="module", params=["a", "b"])
        def prov(request):
            prov = context()
            yield prov
            if request.param == "a": release(prov)
        def test_it(prov): pass
        """
    )
    run = suite.run()

    assert run.counts == {"passed": 2, "leaked": 1}
    run.result.stdout.fnmatch_lines(["  in fixture prov[[]1] (module) of test_it.py"])


def test_acquired_in_a_test_by_way_of_a_wide_fixture(suite: Suite) -> None:
    """A factory is called by the test, so the test is blamed, not the fixture that made it."""
    suite.write(
        test_it="""
        @pytest.fixture(scope="module")
        def make(): return context
        def test_first(make): release(make())
        def test_second(make): make()
        def test_third(make): release(make())
        """
    )
    assert suite.run().blamed == {"test_second"}


def test_a_wide_fixture_that_is_set_up_late(suite: Suite) -> None:
    """What a test acquires before and after it asks for a wide fixture stays the test's."""
    suite.write(
        test_it="""
        @pytest.fixture(scope="session")
        def prov():
            prov = context()
            yield prov
            release(prov)
        def test_first(request):
            context()
            request.getfixturevalue("prov")
            context()
        def test_second(prov): pass
        """
    )
    run = suite.run()

    assert run.blamed == {"test_first"}
    assert "2 leaked-at-exit" in run.out


def test_teardown_of_a_wide_fixture_is_its_own(suite: Suite) -> None:
    """What a module's fixture does wrong in its teardown is not the last test's fault."""
    suite.write(
        test_it="""
        @pytest.fixture(scope="module")
        def prov():
            yield
            context()
            misuse()
        def test_first(prov): pass
        def test_last(prov): pass
        """
    )
    run = suite.run()

    assert run.counts == {"passed": 2, "misused": 1}
    assert run.blamed == {"fixture prov (module)"}
    assert "1 double-release, 1 leaked-at-exit" in run.out


def test_xunit_and_unittest_setups(suite: Suite) -> None:
    """Its setUp belongs to its test; setup_module and setUpClass are judged at their own end."""
    suite.write(
        test_xunit="""
        def setup_module(module): module.prov = context()
        def teardown_module(module): release(module.prov)
        def setup_function(function):
            if function.__name__ == "test_second": context()
        def test_first(): pass
        def test_second(): pass
        def test_third(): pass
        """,
        test_unit="""
        import unittest
        class TestUnit(unittest.TestCase):
            @classmethod
            def setUpClass(cls): cls.prov = context(); cls.lost = context()
            @classmethod
            def tearDownClass(cls): release(cls.prov)
            def setUp(self): self.key = key(self.prov)
            def tearDown(self): destroy(self.key)
            def test_a(self): pass
            def test_b(self): context()
            def test_c(self): pass
        """,
    )
    run = suite.run()

    assert run.blamed == {
        "test_second",
        "test_b",
        "fixture setUpClass (class)",
    }


def test_a_key_leaked_by_the_release_in_a_later_test(suite: Suite) -> None:
    """The test that made the key is blamed, not the one that released the context above it."""
    suite.write(
        test_it="""
        @pytest.fixture(scope="module")
        def provs(): return [context()]
        def test_makes_the_key(provs): key(provs[0])
        def test_between(provs): destroy(key(provs[0]))
        def test_releases_the_context(provs): release(provs.pop())
        """
    )
    run = suite.run()

    assert run.blamed == {"test_makes_the_key"}
    assert run.counts == {"passed": 3, "leaked": 1}
    assert "withdrawn" not in run.out


def test_the_last_test_under_a_context_is_judged_like_the_others(suite: Suite) -> None:
    """Its leak is found before the module's fixture releases the context: one bug, one finding."""
    suite.write(
        test_it="""
        @pytest.fixture(scope="module")
        def prov():
            prov = context()
            yield prov
            release(prov)
        def leak(prov): key(prov)
        @pytest.mark.parametrize("number", [1, 2])
        def test_it(prov, number): leak(prov)
        """
    )
    run = suite.run()

    assert run.blamed == {"test_it[1]", "test_it[2]"}
    assert "2 findings (2 leaked-at-exit) at 1 place" in run.out


def test_a_key_of_a_fixture_leaked_by_a_test(suite: Suite) -> None:
    """A leak belongs to the acquirer: the fixture, although a test released the context."""
    suite.write(
        test_it="""
        @pytest.fixture(scope="module")
        def prov():
            prov = context()
            key(prov)
            return prov
        def test_first(prov): pass
        def test_second(prov): release(prov)
        def test_third(prov): pass
        """
    )
    assert suite.run().blamed == {"fixture prov (module)"}


def test_released_in_a_later_test(suite: Suite) -> None:
    """It is reported to the test that acquired it, and withdrawn in the end, with the reason."""
    suite.write(
        test_it="""
        kept = []
        def test_acquires(): kept.append(context())
        def test_between(): pass
        def test_releases(): release(kept.pop())
        """
    )
    run = suite.run()

    assert run.words["test_acquires"] == ["PASSED", "LEAKED"]
    assert run.words["test_releases"] == ["PASSED"]
    assert run.counts == {"passed": 3, "withdrawn": 1}
    run.result.stdout.fnmatch_lines(
        [
            (
                "withdrawn: leaked-at-exit: HCRYPTPROV *of test_it.py::test_acquires: "
                "released after all in test_it.py::test_releases"
            )
        ]
    )
    assert run.status == 0


def test_withdrawn_only_if_everything_was_released(suite: Suite) -> None:
    """A test that leaked two handles of which one was released later still fails."""
    suite.write(
        test_it="""
        kept = []
        def test_acquires():
            kept.append(context())
            context()
        def test_releases(): release(kept.pop())
        """
    )
    run = suite.run()

    assert run.counts == {"passed": 2, "leaked": 1}
    assert run.status == 1
    assert "1 withdrawn" in run.out


def test_a_misuse_belongs_to_the_test_that_misused(suite: Suite) -> None:
    """Not to the one that acquired or released the handle."""
    suite.write(
        test_it="""
        kept = []
        def test_releases():
            kept.append(context())
            release(kept[0])
        def test_uses_it():
            try: release(kept[0])
            except Exception: pass
        def test_behind(): tidy()
        """
    )
    run = suite.run()

    assert run.blamed == {"test_uses_it"}
    assert run.words["test_uses_it"] == ["PASSED", "MISUSED"]


def test_threads_of_a_test(suite: Suite) -> None:
    """A thread inherits no context, but what it acquires is the test's that has started it."""
    suite.write(
        test_it="""
        import threading
        def test_before(): tidy()
        def test_thread():
            thread = threading.Thread(target=context)
            thread.start(); thread.join(60)
        def test_behind(): tidy()
        """
    )
    assert suite.run().blamed == {"test_thread"}


def test_a_thread_that_outlives_its_test(suite: Suite) -> None:
    """What it does while another test runs still belongs to the test that has started it."""
    suite.write(
        test_it="""
        import threading
        go, done = threading.Event(), threading.Event()
        def work():
            go.wait(60)
            misuse()
            csp.kept = context()
            done.set()
        def test_starts(): threading.Thread(target=work).start()
        def test_meanwhile():
            go.set()
            assert done.wait(60)
        def test_behind(): tidy()
        """
    )
    run = suite.run()

    assert run.blamed == {"test_starts"}
    assert run.words["test_meanwhile"] == run.words["test_behind"] == ["PASSED"]
    assert "test_it.py::test_starts (after the test)" in run.out
    assert "1 double-release, 1 leaked-at-exit" in run.out


def test_a_thread_of_a_wide_fixture(suite: Suite) -> None:
    """A server's thread belongs to the fixture that has started it, whoever talks to it."""
    suite.write(
        test_it="""
        import threading, queue
        @pytest.fixture(scope="module")
        def server():
            asked, answered = queue.Queue(), queue.Queue()
            def serve():
                while asked.get(timeout=60): answered.put(context())
            thread = threading.Thread(target=serve)
            thread.start()
            yield lambda: (asked.put(1), answered.get(timeout=60))[1]
            asked.put(0)
            thread.join(60)
        def test_first(server): server()
        def test_second(server): release(server())
        """
    )
    assert suite.run().blamed == {"fixture server (module)"}


def test_a_thread_pool_works_for_whoever_is_running(suite: Suite) -> None:
    """Workers of a pool that an earlier test has started are not that test's."""
    suite.write(
        test_it="""
        from concurrent.futures import ThreadPoolExecutor
        pool = ThreadPoolExecutor(1)
        def test_first(): release(pool.submit(context).result(60))
        def test_second(): pool.submit(context).result(60)
        def test_third(): release(pool.submit(context).result(60))
        def test_end(): pool.shutdown()
        """
    )
    assert suite.run().blamed == {"test_second"}


def test_asyncio_inside_a_test(suite: Suite) -> None:
    """Tasks and to_thread inherit the test's context."""
    suite.write(
        test_it="""
        import asyncio
        async def leak(): context()
        async def both():
            await asyncio.gather(leak(), asyncio.to_thread(context))
        def test_before(): tidy()
        def test_tasks(): asyncio.run(both())
        def test_behind(): tidy()
        """
    )
    run = suite.run()

    assert run.blamed == {"test_tasks"}
    assert "2 leaked-at-exit" in run.out


def test_a_task_that_outlives_its_test(suite: Suite) -> None:
    """A task of a loop that several tests share belongs to the test that has made it."""
    suite.write(
        test_it="""
        import asyncio
        loop = asyncio.new_event_loop()
        gate, tasks = asyncio.Event(), []
        async def later():
            await gate.wait()
            misuse()
        async def start(): tasks.append(asyncio.create_task(later()))
        async def wait():
            gate.set()
            await tasks[0]
        def test_starts(): loop.run_until_complete(start())
        def test_meanwhile(): loop.run_until_complete(wait())
        def test_end(): loop.close()
        """
    )
    assert suite.run().blamed == {"test_starts"}


def test_parametrised_tests(suite: Suite) -> None:
    """Each set of parameters is a test of its own."""
    suite.write(
        test_it="""
        @pytest.mark.parametrize("leak", [False, True, False])
        def test_it(leak):
            prov = context()
            if not leak: release(prov)
        """
    )
    assert suite.run().blamed == {"test_it[True]"}


def test_doctests(suite: Suite) -> None:
    """A docstring is a test."""
    suite.write(
        good='''
        """
        >>> import csp
        >>> csp.tidy()
        """
        ''',
        bad='''
        """
        >>> import csp
        >>> _ = csp.context()
        """
        ''',
    )
    run = suite.run("--doctest-modules", "good.py", "bad.py")

    assert run.words == {"good": ["PASSED"], "bad": ["PASSED", "LEAKED"]}


def test_collection_and_conftest(suite: Suite) -> None:
    """What is acquired by an import or a conftest.py is collection's, under its own heading."""
    suite.write(
        conftest="import csp\nprov = csp.context()\ngood = csp.context()\n"
        "def pytest_sessionfinish(): csp.release(good)\n",
        test_it="""
        prov = context()
        misuse()
        def test_first(): pass
        def test_last(): pass
        """,
    )
    run = suite.run()

    assert run.words["test_first"] == run.words["test_last"] == ["PASSED"]
    assert run.counts == {"passed": 2, "misused": 1}
    run.result.stdout.fnmatch_lines(["*in collection (import-time code, conftest files)*"])
    assert run.out.count("  in collection") == 3
    assert run.status == 1


def test_the_session_itself(suite: Suite) -> None:
    """What the hooks of a conftest.py acquire between the tests is the session's."""
    suite.write(
        conftest="""
        import csp
        def pytest_runtest_logstart(nodeid):
            if "first" in nodeid: csp.context()
        def pytest_runtest_logfinish(nodeid):
            if "first" in nodeid: csp.key(csp.context())
        """,
        test_it="""
        def test_first(): pass
        def test_last(): pass
        """,
    )
    run = suite.run()

    assert run.counts == {"passed": 2, "leaked": 1}
    run.result.stdout.fnmatch_lines(["*in the session itself*", "  in pytest session"])
    assert run.out.count("  in pytest session") == 3


def test_scopes_of_the_program_itself(suite: Suite) -> None:
    """A `tracer.scope` inside a test is judged by itself, and is the test's."""
    suite.write(
        test_it="""
        import csptrace
        def test_first(): tidy()
        def test_scope():
            with csptrace.tracing():
                context()
        def test_last(): tidy()
        """
    )
    run = suite.run()

    assert run.blamed == {"test_scope"}
    assert "1 leaked-at-exit" in run.out


def test_objects_in_cycles_are_no_leaks_if_their_destructor_releases(suite: Suite) -> None:
    """The collector has run before a test is blamed."""
    suite.write(
        test_it="""
        class Owner:
            def __init__(self):
                self.prov = context()
                self.me = self
            def __del__(self): release(self.prov)
        def test_cycle(): Owner()
        def test_behind(): tidy()
        """
    )
    assert suite.run().counts == {"passed": 2}


def test_a_skipped_and_an_expected_failure(suite: Suite) -> None:
    """What a test leaks before it skips or fails as expected is its leak; a clean one is clean."""
    suite.write(
        test_it="""
        def test_skips():
            context()
            pytest.skip("enough")
        @pytest.mark.xfail
        def test_fails():
            context()
            assert False
        @pytest.mark.xfail
        def test_misuses():
            prov = context()
            release(prov)
            release(prov)
        def test_skips_clean(): pytest.skip("enough")
        """
    )
    run = suite.run()

    assert run.blamed == {"test_skips", "test_fails"}
    assert run.words["test_misuses"] == ["XFAIL"]
