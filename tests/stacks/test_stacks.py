"""Call stacks: one object each, cheap to take, right when they are read."""

from __future__ import annotations

import importlib.util
import os
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import wrapt

import csptrace
from csptrace.stacks.capture import StackTable
from csptrace.stacks.frames import module_name
from csptrace.stacks.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType

    from csptrace import Tracer


def here(table: StackTable) -> Stack:
    """Capture the caller's stack."""
    stack = table.capture(sys._getframe(1))
    assert stack is not None
    return stack


def of_the_program(frames: list[traceback.FrameSummary]) -> list[traceback.FrameSummary]:
    """Leave out what has started the program, where that is `python -m pytest`."""
    return [frame for frame in frames if frame.filename != "<frozen runpy>"]


def imported(path: Path) -> ModuleType:
    """Import a file under a name that nobody else uses."""
    spec = importlib.util.spec_from_file_location(f"stacks_{id(path)}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- one object for each stack ---------------------------------------------------------------


def test_equal_stacks_are_one_object() -> None:
    """The same place reached in the same way is the same stack each time."""
    table = StackTable(16)
    first, second = [here(table) for _ in range(2)]
    assert first is second
    assert list(table) == [first]


def test_what_is_cleared_is_forgotten() -> None:
    """A cleared table holds nothing, and takes stacks anew."""
    table = StackTable(16)
    stacks = [here(table) for _ in range(2)]
    table.clear()
    assert list(table) == []
    again = here(table)
    assert again is not stacks[0]
    assert again.peers == [again]
    assert list(table) == [again]


def test_places_of_release_are_counted_one_by_one() -> None:
    """The first place, the second and the eighth are counted; the number of places is bounded."""
    table = StackTable(16)
    begin = here(table)
    places = [Stack((), (), number) for number in range(10)]
    assert begin.release_places() == []
    for number, place in enumerate(places):
        for _ in range(number + 1):
            begin.count_release(place)
    assert begin.released == 55
    assert begin.release_places() == [(places[n], n + 1) for n in range(8)]


def test_each_way_to_a_place_is_a_stack_of_its_own() -> None:
    """Two lines that call the same function make two stacks."""
    table = StackTable(16)

    def take() -> Stack:
        return here(table)

    one = take()
    two = take()
    assert one is not two
    assert one.number != two.number
    assert one.frames[0] == two.frames[0]
    assert two.frames[1].line == one.frames[1].line + 1


def test_equal_offsets_in_different_functions_are_different_stacks() -> None:
    """Functions whose bytecode looks alike are told apart, and each keeps its one stack."""
    table = StackTable(2)

    def left() -> Stack:
        return here(table)

    def right() -> Stack:
        return here(table)

    taken = [function() for _ in range(3) for function in (left, right)]
    assert taken[0].offsets == taken[1].offsets
    assert taken[0] is not taken[1]
    assert taken == [taken[0], taken[1]] * 3
    assert [stack.frames[0].qualname.rpartition(".")[2] for stack in taken[:2]] == ["left", "right"]


@pytest.mark.parametrize("copied", ["inner.py", "outer.py"])
def test_two_copies_of_a_file_are_two_places(tmp_path: Path, copied: str) -> None:
    """Code objects of copies compare equal, whether innermost or not, and are not the same."""
    sources = {
        "inner.py": "import sys\ndef take(table):\n    return table.capture(sys._getframe())\n",
        "outer.py": "def call(take, table):\n    return take(table)\n",
    }
    modules: dict[str, list[Any]] = {}
    for name, source in sources.items():
        for folder in ("a", "b"):
            path = tmp_path / folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(source, encoding="utf-8")
            modules.setdefault(name, []).append(imported(path))
    table = StackTable(2)
    found = []
    for which in (0, 1):
        take = modules["inner.py"][which if copied == "inner.py" else 0].take
        call = modules["outer.py"][which if copied == "outer.py" else 0].call
        found.append(call(take, table))
    one, two = found
    assert one.offsets == two.offsets
    assert one is not two
    level = 0 if copied == "inner.py" else 1
    assert [stack.frames[level].filename for stack in found] == [
        str(tmp_path / folder / copied) for folder in ("a", "b")
    ]


def test_threads_that_meet_at_a_place_share_its_stack() -> None:
    """Whoever enters a stack first, everybody gets the same object."""
    for _ in range(20):
        table = StackTable(1)

        def take(table: StackTable = table) -> list[Stack]:
            return [here(table) for _ in range(20)]

        with ThreadPoolExecutor(4) as pool:
            found = [future.result() for future in [pool.submit(take) for _ in range(4)]]
        assert len({stack.number for taken in found for stack in taken}) == 1


def test_a_lost_race_for_a_new_stack_yields_the_winners() -> None:
    """Two threads that both find nothing enter one stack between them."""
    table = StackTable(4)
    stack = here(table)
    again = table._intern(stack.offsets, tuple(stack.codes))
    assert again is stack


# --- depth -----------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 3, 16])
def test_only_so_many_frames_are_kept(depth: int) -> None:
    """The innermost frames are kept."""
    table = StackTable(depth)

    def dive(levels: int) -> Stack:
        return here(table) if levels == 0 else dive(levels - 1)

    stack = dive(20)
    assert len(stack.codes) == len(stack.offsets) == len(stack.frames) == depth
    assert {frame.qualname.rpartition(".")[2] for frame in stack.frames} == {"dive"}


def test_a_short_stack_is_kept_whole() -> None:
    """A depth that no stack reaches loses nothing."""
    frames = here(StackTable(10_000)).frames
    assert len(frames) == len(of_the_program(traceback.extract_stack()))


def test_depth_0_captures_nothing() -> None:
    """Level `count` costs no stack."""
    table = StackTable(0)
    assert table.capture(sys._getframe()) is None
    assert list(table) == []


def test_no_frame_is_no_stack() -> None:
    """A destructor has no caller; asking again and again for nothing is nothing."""
    table = StackTable(16)
    assert [table.capture(None) for _ in range(3)] == [None] * 3
    assert list(table) == []


def test_many_objects_may_be_collected(trace: Callable[..., Tracer]) -> None:
    """Each collected handle object is entered, the second as well as the first."""
    from csptrace.softcsp import win32crypt

    tracer = trace()
    for _ in range(3):
        win32crypt.CryptAcquireContext(None, None, 24, 0xF0000000)
    assert [finding.code.value for finding in tracer.check()] == ["lost"] * 3
    assert tracer.graph.live == 0


# --- text ------------------------------------------------------------------------------------


def test_text_is_computed_when_it_is_read_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Capturing formats nothing, and reading twice formats once."""
    asked: list[int] = []

    def counting(code: Any, offset: int) -> Any:
        asked.append(offset)
        return original(code, offset)

    import csptrace.stacks.frames

    original = csptrace.stacks.frames.frame_at
    monkeypatch.setattr(csptrace.stacks.stack, "frame_at", counting)
    stack = here(StackTable(4))
    assert asked == []
    assert stack.frames is stack.frames
    assert asked == list(stack.offsets)


def test_frames_are_those_of_traceback() -> None:
    """File, line and function are what the standard library says, innermost first."""
    stack, expected = here(StackTable(100)), of_the_program(traceback.extract_stack())
    assert [(frame.filename, frame.line) for frame in stack.frames] == [
        (frame.filename, frame.lineno) for frame in reversed(expected)
    ]
    assert stack.frames[0].qualname == "test_frames_are_those_of_traceback"


def test_lines_of_calls_that_span_several_lines() -> None:
    """The line is the one that Python itself names for the running instruction."""
    table = StackTable(1)
    seen: list[tuple[int, int]] = []

    def take(*_: object) -> None:
        frame = sys._getframe(1)
        stack = table.capture(frame)
        assert stack is not None
        seen.append((stack.frames[0].line, frame.f_lineno))

    class Fluent:
        def step(self, *_: object) -> Fluent:
            take_at = sys._getframe(1)
            stack = table.capture(take_at)
            assert stack is not None
            seen.append((stack.frames[0].line, take_at.f_lineno))
            return self

    take(
        1,
        2,
    )
    (
        Fluent()
        .step(
            1,
        )
        .step()
    )
    [
        take()
        for _ in range(2)
        if _
        or
        _ is not None
    ]  # fmt: skip
    with_lambda = lambda: take(  # noqa: E731
        3,
    )
    with_lambda()
    assert len(seen) == 6
    assert [line for line, _ in seen] == [line for _, line in seen]
    assert len({line for line, _ in seen}) == 5


def test_an_unknown_offset_is_the_functions_first_line() -> None:
    """A frame that has not begun to run is shown where its function starts."""
    code = here.__code__
    frame = Stack((code,), (-2,), 1).frames[0]
    assert frame.line == code.co_firstlineno


def test_the_tracers_own_frames_are_left_out(trace: Callable[..., Tracer]) -> None:
    """A reader sees the program's frames only, although wrapt and csptrace were in between."""
    from csptrace.softcsp import win32crypt

    tracer = trace(depth=64)
    context = win32crypt.CryptAcquireContext(None, None, 24, 0xF0000000)
    context.CryptGenKey(0x6610, 0, 0)
    line = sys._getframe().f_lineno - 1
    finding = tracer.check()[0]
    assert finding.acquired is not None
    assert finding.acquired.stack is not None
    shown = finding.acquired.stack.frames
    assert (shown[0].line, shown[0].filename) == (line, __file__)
    own = tuple(os.path.join(os.path.dirname(m.__file__), "") for m in (csptrace, wrapt))
    assert not [frame for frame in shown if frame.filename.startswith(own)]
    context.CryptReleaseContext(0)


# --- bounds ----------------------------------------------------------------------------------


def test_the_table_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stacks beyond the bound are made for the moment and not kept; known ones stay known."""
    monkeypatch.setattr("csptrace.stacks.capture._MOST_STACKS", 3)
    table = StackTable(1)
    codes = [
        compile(f"def f{n}():\n    return take()\nresult = f{n}", "<test>", "exec")
        for n in range(6)
    ]
    functions = []
    for code in codes:
        namespace: dict[str, Any] = {"take": lambda: table.capture(sys._getframe(1))}
        exec(code, namespace)
        functions.append(namespace["result"])
    first = [function() for function in functions]
    second = [function() for function in functions]
    assert len(list(table)) == 3
    assert [a is b for a, b in zip(first, second, strict=True)] == [True] * 3 + [False] * 3
    assert [stack.codes for stack in first] == [stack.codes for stack in second]


def test_stacks_from_one_line_know_each_other() -> None:
    """The peers of a stack are those with the same innermost frame, however they got there."""
    table = StackTable(8)

    def take() -> Stack:
        return here(table)

    one = take()
    two = take()
    other = here(table)
    assert one.peers is two.peers
    assert one.peers == [one, two]
    assert other.peers == [other]


def test_a_stack_ends_where_a_launcher_called(tmp_path: Path) -> None:
    """What a test runner does below a test is no part of the stack; fewer stacks are told apart."""
    runner = tmp_path / "runner.py"
    runner.write_text(
        "def one(test):\n    return test()\ndef two(test):\n    return one(test)\n", "utf-8"
    )
    run = imported(runner)
    table = StackTable(16, lambda filename: filename == str(runner))

    def test() -> Stack:
        return here(table)

    first, again, other = [run.one(test), run.one(test), run.two(test)]
    assert first is again is other
    assert [frame.qualname.rpartition(".")[2] for frame in first.frames] == ["test"]


def test_a_launcher_may_become_known_late(tmp_path: Path) -> None:
    """What was no launcher when a stack was taken ends the next new one, once the table is told."""
    path = tmp_path / "runner.py"
    path.write_text("def call(take, table):\n    return take(table)\n", encoding="utf-8")
    launchers: set[str] = set()
    table = StackTable(16, launchers.__contains__)
    call = imported(path).call

    def take(table: StackTable) -> Stack:
        return here(table)

    def take_again(table: StackTable) -> Stack:
        return here(table)

    before = call(take, table)
    launchers.add(str(path))
    table.ask_again()
    after = call(take_again, table)

    assert [code.co_name for code in before.codes[:2]] == ["take", "call"]
    assert [code.co_name for code in after.codes] == ["take_again"]


def test_a_launcher_that_calls_by_itself_is_a_stack_all_the_same(tmp_path: Path) -> None:
    """The innermost frame is always there, whosever it is."""
    runner = tmp_path / "runner.py"
    runner.write_text(
        "import sys\ndef call(table):\n    return table.capture(sys._getframe())\n", "utf-8"
    )
    run = imported(runner)
    table = StackTable(16, lambda filename: filename == str(runner))

    first, second = [run.call(table) for _ in range(2)]
    assert first is second
    assert first.frames[0].qualname == "call"
    assert len(first.frames) > 1  # what calls it is a test, not the launcher


# --- where the program begins ----------------------------------------------------------------


def as_main(text: str, filename: str, **known: object) -> dict[str, Any]:
    """Run a text as a main program's file."""
    space = {"__name__": "__main__", "sys": sys, **known}
    exec(compile(text, filename, "exec"), space)
    return space


TAKE = "def take():\n    return table.capture(sys._getframe())\n"


def test_a_stack_ends_where_a_file_runs_as_the_main_program() -> None:
    """What has started the program is left out, and equal stacks are one object all the same."""
    table = StackTable(64)
    text = TAKE + "found = [take() for _ in range(3)]\n"
    stacks = as_main(text, "program.py", table=table)["found"]

    assert [code.co_name for code in stacks[0].codes if code.co_name[0] != "<"] == ["take"]
    assert stacks[0].codes[-1].co_filename == "program.py"
    assert stacks[0] is stacks[1] is stacks[2]
    assert list(table) == [stacks[0]]


@pytest.mark.parametrize("name", ["other", "__mp_main__", 7, None])
def test_a_module_by_another_name_is_no_beginning(name: object) -> None:
    """What is imported, or run under another name, was asked for by the program."""
    table = StackTable(64)
    space = {"__name__": name, "sys": sys, "table": table}
    exec(compile(TAKE + "found = take()", "module.py", "exec"), space)

    assert "test_a_module_by_another_name_is_no_beginning" in [
        code.co_name
        for code in space["found"].codes  # type: ignore[attr-defined]
    ]


def test_a_program_goes_on_outside_of_what_it_runs_in_its_namespace() -> None:
    """Text and files that are run in the program's own namespace are parts of it."""
    table = StackTable(64)
    inner = 'exec(compile("found = take()", "part.py", "exec"), globals())'
    text = TAKE + f"def run():\n    exec({inner!r}, globals())\nrun()\n"
    stack = as_main(text, "program.py", table=table)["found"]
    names = [(code.co_filename, code.co_name) for code in stack.codes]

    assert names == [
        ("program.py", "take"),
        ("part.py", "<module>"),
        ("<string>", "<module>"),
        ("program.py", "run"),
        ("program.py", "<module>"),
    ]


def test_an_installed_launcher_is_no_program() -> None:
    """A debugger that lends its own namespace to the program is left out."""
    table = StackTable(64, is_library=lambda filename: filename == "debugger.py")
    program = TAKE + "found = take()"
    text = f'exec(compile({program!r}, "program.py", "exec"), globals())'
    stack = as_main(text, "debugger.py", table=table)["found"]

    assert [code.co_filename for code in stack.codes] == ["program.py", "program.py"]


def test_a_relative_file_is_named_before_the_program_goes_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its module's name is that of the folder in which the stack was taken."""
    (tmp_path / "relative_shop").mkdir()
    (tmp_path / "relative_shop" / "__init__.py").touch()
    monkeypatch.chdir(tmp_path)
    text = TAKE + "found = take()"
    stack = as_main(text, "relative_shop/keys.py", table=StackTable(64))["found"]
    monkeypatch.chdir("/")

    assert stack.frames[0].module == "relative_shop.keys"


# --- module names ----------------------------------------------------------------------------


def test_a_module_is_named_after_the_packages_it_lies_in(tmp_path: Path) -> None:
    """The name depends on the files around it, not on `sys.path` or how it was started."""
    inner = tmp_path / "shop" / "crypto"
    inner.mkdir(parents=True)
    for package in (inner, inner.parent):
        (package / "__init__.py").touch()
    names = {
        inner / "keys.py": "shop.crypto.keys",
        inner / "__init__.py": "shop.crypto",
        inner / "__main__.py": "shop.crypto.__main__",
        tmp_path / "script.py": "script",
        inner / "no.package" / "tool.py": "tool",
    }
    assert {path: module_name(str(path)) for path in names} == names


@pytest.mark.parametrize(
    ("filename", "name"),
    [
        ("<stdin>", "<stdin>"),
        ("<string>", "<string>"),
        ("<python-input-12>", "<python>"),
        ("<ipython-input-3-0a1b2c>", "<ipython>"),
        ("<frozen runpy>", "<frozen runpy>"),
        ("C:\\shop\\keys.py", "keys"),
    ],
)
def test_code_without_a_file_has_a_stable_module_name(filename: str, name: str) -> None:
    """Numbers that a shell counts up are left out."""
    assert module_name(filename) == name
